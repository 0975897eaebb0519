"""How far a truncation's gradient is from the exact one: its bias and its variance."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from throughtime.errors import InputError
from throughtime.shapes import Tensor
from throughtime.state import State
from throughtime.training.bptt import Loss, Windows, bptt
from throughtime.training.truncation import Full, RandomTruncation, Truncation

NOTHING = 1e-9
"""Relative to the exact gradient: below this a difference is rounding."""


class Bias(NamedTuple):
    """The gradient of one parameter, or of all, under a truncation, beside the exact one.

    With g the exact gradient, G one draw of the truncated one and m the mean over n draws:

    Attributes:
        truncation: its name.
        parameter: its name; `all` for the whole gradient.
        cosine: of the angle between m and g; 1 is the same direction.
        norm: |m| / |g|.
        bias: |m - g| / |g|.
        standard_error: what `bias` would be for an unbiased truncation with so many draws (root
            mean square).
        deviation: root mean square of |G - m| / |g|: the noise of a single draw.
        p_value: how likely a mean at least this far off along g is without bias, given the draws;
            below 0.001 the truncation is biased. For all parameters together: Hotelling's test on
            the shares along the exact gradient of each one. Approximate (large n); NaN with too few
            draws to tell. Without any randomness it is 1 or 0.
    """

    truncation: str
    parameter: str
    cosine: float
    norm: float
    bias: float
    standard_error: float
    deviation: float
    p_value: float


@dataclass(frozen=True)
class BiasReport:
    """What [`truncation_bias`][throughtime.training.truncation_bias] found; prints as a table.

    Attributes:
        rows: for each truncation one for all parameters, then one for each.
    """

    rows: tuple[Bias, ...]

    def overall(self, truncation: str) -> Bias:
        """The row for all parameters."""
        return next(r for r in self.rows if (r.truncation, r.parameter) == (truncation, "all"))

    def __str__(self) -> str:
        table = [[*Bias._fields]] + [
            [*row[:2], *(f"{number:.3g}" for number in row[2:])] for row in self.rows
        ]
        widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if place < 2 else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in table
        )


def truncation_bias(
    loss: Loss,
    model: nn.Module,
    windows: Windows,
    truncations: Mapping[str, Truncation],
    *,
    draws: int = 100,
    state: State = None,
    generator: torch.Generator | None = None,
) -> BiasReport:
    """Compare truncations with full back-propagation on the same windows and weights.

    All gradients are of the mean over the counted values of all windows. The model runs in
    evaluation mode, so that cuts are the only randomness; its own gradients are left as they were.

    Args:
        loss: `loss(model, batch, state) -> (total, count, state)`.
        model: float64 is best: what cannot be told from rounding counts as no difference.
        windows: consecutive in time, few enough for full back-propagation.
        truncations: by name.
        draws: gradients drawn of each random truncation.
        state: before the first window.
        generator: of random cuts; a new one with seed 0 by default.

    Examples:
        >>> from throughtime import RNN
        >>> from throughtime.training import Truncated
        >>> def loss(model, x, state):
        ...     output, state = model(x, state)
        ...     return output.square().sum(), output.numel(), state
        >>> layer, x = RNN(1, 3).double(), torch.randn(2, 12, 1).double()
        >>> report = truncation_bias(loss, layer, x.split(4, dim=1), {"plain": Truncated()})
        >>> report.overall("plain").bias > 0
        True
    """
    if draws < 2:
        raise InputError(f"truncation_bias: draws is {draws}, expected at least 2")
    generator = generator or torch.Generator().manual_seed(0)
    was_training = model.training
    model.eval()
    try:
        exact, count = _gradient(loss, model, windows, Full(), state, None, generator)
        rows = []
        for name, truncation in truncations.items():
            times = draws if isinstance(truncation, RandomTruncation) else 1
            drawn = [
                _gradient(loss, model, windows, truncation, state, count, generator)[0]
                for _ in range(times)
            ]
            rows += _compare(name, exact, drawn)
    finally:
        model.train(was_training)
    return BiasReport(tuple(rows))


def _gradient(
    loss: Loss,
    model: nn.Module,
    windows: Windows,
    truncation: Truncation,
    state: State,
    normaliser: float | None,
    generator: torch.Generator,
) -> tuple[dict[str, Tensor], float]:
    """The gradient of each parameter, in float64, and how many values counted."""
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    kept = {name: p.grad for name, p in parameters.items()}
    count = 0.0
    try:
        for p in parameters.values():
            p.grad = None
        for cut in bptt(
            loss,
            model,
            windows,
            truncation,
            state=state,
            normaliser=normaliser,
            generator=generator,
        ):
            count += cut.count
        gradient = {
            name: (torch.zeros_like(p) if p.grad is None else p.grad).double().flatten()
            for name, p in parameters.items()
        }
    finally:
        for name, p in parameters.items():
            p.grad = kept[name]
    return gradient, count


def _compare(name: str, exact: dict[str, Tensor], drawn: list[dict[str, Tensor]]) -> list[Bias]:
    """The row of the whole gradient, then one for each parameter that has one."""
    draws = {key: torch.stack([one[key] for one in drawn]) for key in exact}  # -> (N, P)
    along = {}
    rows = []
    for key, g in exact.items():
        if g.norm() > 0:
            # The share of g that each draw has, less one: zero on average without bias.
            along[key] = ((draws[key] - g) @ g / g.dot(g)).unsqueeze(1)
            rows.append(_row(name, key, g, draws[key], along[key]))
    everything = torch.cat([*exact.values()]), torch.cat([*draws.values()], dim=1)
    shares = torch.cat([*along.values()], dim=1) if along else everything[1][:, :0]
    return [_row(name, "all", *everything, shares), *rows]


def _row(name: str, parameter: str, exact: Tensor, draws: Tensor, shares: Tensor) -> Bias:
    mean, size = draws.mean(0), exact.norm()
    noise = (draws - mean).square().sum(1).mean().sqrt() / size
    if mean.norm() == 0 or size == 0:
        cosine = math.nan
    else:
        cosine = (mean.dot(exact) / (mean.norm() * size)).item()
    return Bias(
        truncation=name,
        parameter=parameter,
        cosine=cosine,
        norm=(mean.norm() / size).item(),
        bias=((mean - exact).norm() / size).item(),
        standard_error=(noise / max(len(draws) - 1, 1) ** 0.5).item(),
        deviation=noise.item(),
        p_value=_p_value(shares),
    )


def _p_value(shares: Tensor) -> float:
    r"""Hotelling's T-squared: is the mean of these vectors zero? `[draws, directions]`.

    $n\,\bar x^\top S^{-1} \\bar x$, which for many draws is chi-squared with as many degrees of
    freedom as there are directions; $(n - k) / (n - 1)$ allows for few.
    """
    n = len(shares)
    mean, deviation = shares.mean(0), (shares - shares.mean(0)).square().mean(0).sqrt()
    random = deviation > NOTHING
    if (mean[~random].abs() > NOTHING).any():
        return 0.0  # off, and always by the same amount
    if not random.any():
        return 1.0
    x = shares[:, random] / deviation[random]
    if n <= 2 * x.shape[1]:
        return math.nan
    values, vectors = torch.linalg.eigh(x.T.cov() if x.shape[1] > 1 else x.var(0).reshape(1, 1))
    free = values > NOTHING  # directions that always move together count once
    k = int(free.sum())
    squared = n * ((x.mean(0) @ vectors[:, free]).square() / values[free]).sum()
    half = squared * (n - k) / (n - 1) / 2
    return torch.special.gammaincc(torch.tensor(k / 2, dtype=half.dtype), half).item()
