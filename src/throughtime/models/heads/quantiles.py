"""A distribution by its quantiles: no family is assumed."""

import itertools
from collections.abc import Sequence
from statistics import NormalDist
from typing import ClassVar

import torch
from torch.distributions import Distribution, constraints

from throughtime.errors import InputError
from throughtime.models.heads.base import SMALLEST, NumberHead, above_zero, positive
from throughtime.models.scaling import Scaling
from throughtime.shapes import Float, Tensor

LEVELS = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
"""The median and the limits of the central 50, 80 and 95 per cent."""


class PiecewiseQuantile(Distribution):
    r"""The distribution whose quantile function runs straight between given points.

    Between the knots $(\alpha_k, q_k)$ the density is constant, $(\alpha_{k+1} - \alpha_k) /
    (q_{k+1} - q_k)$. Beyond the outermost it falls exponentially, from the density of the outermost
    segment: $Q(u) = q_1 + \beta \log(u / \alpha_1)$ for $u < \alpha_1$, likewise above.

    Args:
        knots: $q$, `[..., levels]`, rising.
        levels: $\alpha$, `[levels]`, at least two, rising, within (0, 1).

    References:
        Park et al. 2022, "Learning quantile functions without quantile crossing for
        distribution-free time series forecasting".
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}  # type: ignore[misc]
    support = constraints.real  # type: ignore[assignment]

    def __init__(self, knots: Tensor, levels: Tensor) -> None:
        self.knots = knots
        self.levels = levels
        self.gaps = knots.diff(dim=-1)
        self.rises = levels.diff()
        self.lower = levels[0] * self.gaps[..., 0] / self.rises[0]  # beta of the tails
        self.upper = (1 - levels[-1]) * self.gaps[..., -1] / self.rises[-1]
        super().__init__(knots.shape[:-1], validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """In nats."""
        value, segment, _, below, above = self._locate(value)
        gaps = self.gaps.expand(*value.shape, -1).gather(-1, segment).squeeze(-1)
        inside = self.rises[segment.squeeze(-1)].log() - gaps.log()
        # The distance is cut off at the knot, so that no branch that is not taken overflows.
        low = (self.levels[0] / self.lower).log() - below / self.lower
        high = ((1 - self.levels[-1]) / self.upper).log() - above / self.upper
        return torch.where(below > 0, low, torch.where(above > 0, high, inside))

    def cdf(self, value: Tensor) -> Tensor:
        """The probability of at most `value`."""
        value, segment, inner, below, above = self._locate(value)
        rise = self.rises[segment.squeeze(-1)]
        inside = self.levels[segment.squeeze(-1)] + rise * inner.clamp(0, 1)
        low = self.levels[0] * (-below / self.lower).exp()
        high = 1 - (1 - self.levels[-1]) * (-above / self.upper).exp()
        return torch.where(below > 0, low, torch.where(above > 0, high, inside))

    def _locate(self, value: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """The segment of each value, the share of it passed, and how far it lies outside."""
        value = value.expand(torch.broadcast_shapes(value.shape, self.batch_shape))
        knots = self.knots.expand(*value.shape, -1)
        segment = (value.unsqueeze(-1) > knots[..., 1:-1]).sum(-1, keepdim=True)
        start = knots.gather(-1, segment).squeeze(-1)
        gap = self.gaps.expand(*value.shape, -1).gather(-1, segment).squeeze(-1)
        below = (knots[..., 0] - value).clamp_min(0)
        above = (value - knots[..., -1]).clamp_min(0)
        return value, segment, (value - start) / gap, below, above

    def icdf(self, value: Tensor) -> Tensor:
        """The quantile of each level in `value`, which broadcasts against the batch shape."""
        level = value.expand(torch.broadcast_shapes(value.shape, self.batch_shape))
        knots = self.knots.expand(*level.shape, -1)
        segment = (level.unsqueeze(-1) > self.levels[1:-1]).sum(-1, keepdim=True)
        gap = self.gaps.expand(*level.shape, -1).gather(-1, segment).squeeze(-1)
        segment, start = segment.squeeze(-1), knots.gather(-1, segment).squeeze(-1)
        inside = start + gap * (level - self.levels[segment]) / self.rises[segment]
        tiny = torch.finfo(level.dtype).tiny
        first, last = self.levels[0], self.levels[-1]
        low = knots[..., 0] + self.lower * (level.clamp_min(tiny) / first).clamp(max=1).log()
        rest = ((1 - level) / (1 - last)).clamp(tiny, 1)
        high = knots[..., -1] - self.upper * rest.log()
        return torch.where(level < first, low, torch.where(level > last, high, inside))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """The quantile of a uniform deviate."""
        shape = self._extended_shape(torch.Size(sample_shape))
        return self.icdf(torch.rand(shape, dtype=self.knots.dtype, device=self.knots.device))

    has_rsample = True

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:  # type: ignore[override]
        """`rsample` without gradients."""
        with torch.no_grad():
            return self.rsample(sample_shape)


class Quantiles(NumberHead):
    r"""Quantiles at given levels, trained by the pinball loss.

    The quantile nearest the median starts from the location of the series; the others lie above
    and below it by sums of positive gaps, so they never cross.

    The loss of a value $x$ is $2 \operatorname{mean}_k \rho_{\alpha_k}(x - q_k) / s$ with
    $\rho_\alpha(d) = \max(\alpha d, (\alpha - 1) d)$ and the scale $s$ of the series: an
    approximation of the CRPS, in scales of the series and not in nats. `distribution`, and with it
    `log_prob`, is [`PiecewiseQuantile`][throughtime.models.heads.quantiles.PiecewiseQuantile].

    Args:
        width, size, residual: see [`NumberHead`][throughtime.models.heads.NumberHead].
        levels: at least two, rising, within (0, 1).

    Shapes:
        - `parameters`: `[batch, time, (levels + 1) * size]`: the quantiles, the scale.

    References:
        Koenker and Bassett 1978, "Regression quantiles".
    """

    kind = "quantiles"
    levels: Tensor

    def __init__(
        self,
        width: int | None,
        size: int,
        levels: Sequence[float] = LEVELS,
        *,
        residual: bool = False,
    ) -> None:
        rising = all(low < high for low, high in itertools.pairwise(levels))
        if len(levels) < 2 or not rising or not all(0 < level < 1 for level in levels):
            raise InputError(
                f"Quantiles: levels are {list(levels)}, expected two or more probabilities, rising"
            )
        self.parts = (*(f"quantile {level:g}" for level in levels), "scale")
        super().__init__(width, size, residual=residual, outputs=len(levels))
        self.middle = min(range(len(levels)), key=lambda k: abs(levels[k] - 0.5))
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        # An untrained head has the quantiles of a bell one scale wide.
        bell = [NormalDist().inv_cdf(level) for level in levels]
        gaps = [max(high - low, 2 * SMALLEST) for low, high in itertools.pairwise(bell)]
        self.register_buffer("start_gaps", torch.tensor(gaps), persistent=False)
        self.start_middle = bell[self.middle]

    def scaled(self, raw: tuple[Tensor, ...], scaling: Scaling) -> tuple[Tensor, ...]:
        """Quantiles and scale."""
        outputs = torch.stack(raw, dim=-1)  # -> (B, T, D, K)
        k, scale = self.middle, scaling.scale.unsqueeze(-1)
        centre = self.start(scaling).unsqueeze(-1) + scale * (
            outputs[..., k : k + 1] + self.start_middle
        )
        others = torch.cat([outputs[..., :k], outputs[..., k + 1 :]], dim=-1)
        gaps = scale * positive(others, start=self.get_buffer("start_gaps"))
        below = centre - gaps[..., :k].flip(-1).cumsum(-1).flip(-1)
        above = centre + gaps[..., k:].cumsum(-1)
        return *torch.cat([below, centre, above], dim=-1).unbind(-1), scaling.scale

    def knots(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """The quantiles, `[..., size, levels]`, and the scale, `[..., size]`."""
        *quantiles, scale = self.split(parameters)
        knots = torch.stack(quantiles, dim=-1)
        padded = (scale == 0).unsqueeze(-1)
        return torch.where(padded, self.levels.to(knots.dtype), knots), above_zero(scale)

    def centre(self, parameters: Tensor) -> Tensor:
        """The quantile nearest the median."""
        return self.split(parameters)[self.middle]

    def distribution(self, parameters: Float[Tensor, "*steps parameters"]) -> PiecewiseQuantile:
        """Batch shape `[batch, time, size]`."""
        knots, _ = self.knots(parameters)
        return PiecewiseQuantile(knots, self.levels.to(knots.dtype))

    def loss(
        self, parameters: Float[Tensor, "*steps parameters"], targets: Float[Tensor, "*steps size"]
    ) -> Float[Tensor, "*steps"]:
        """Pinball, in scales of the series, added up over the numbers of a step that are there."""
        knots, scale = self.knots(parameters)
        known = ~targets.isnan()
        distance = (
            torch.where(known, targets, knots[..., self.middle].detach()).unsqueeze(-1) - knots
        )
        pinball = torch.maximum(self.levels * distance, (self.levels - 1) * distance)
        return torch.where(known, 2 * pinball.mean(-1) / scale, 0).sum(-1)

    def sample(
        self,
        parameters: Float[Tensor, "*steps parameters"],
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "*steps size"]:
        """The quantile of a uniform deviate."""
        distribution = self.distribution(parameters)
        level = torch.rand(
            distribution.batch_shape,
            generator=generator,
            dtype=parameters.dtype,
            device=parameters.device,
        )
        return distribution.icdf(level)

    def quantiles(
        self, parameters: Float[Tensor, "*steps parameters"], levels: Float[Tensor, " levels"]
    ) -> Float[Tensor, "*steps size levels"]:
        """Between the knots on straight lines."""
        distribution = self.distribution(parameters)
        shape = (-1, *[1] * len(distribution.batch_shape))
        return distribution.icdf(levels.view(shape)).movedim(0, -1)
