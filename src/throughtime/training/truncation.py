"""Truncations: what happens to the gradient at a border between windows, and what is averaged."""

from dataclasses import KW_ONLY, dataclass
from typing import Any

import torch

from throughtime.errors import InputError
from throughtime.shapes import Tensor
from throughtime.state import State, map_tensors


@dataclass(frozen=True)
class Part:
    """What one window adds to a backward pass: its loss in nats, values counted, and steps."""

    total: Tensor
    count: float
    steps: int


@dataclass(frozen=True)
class Full:
    """One backward pass over all windows: the exact gradient; memory grows with their number.

    It is the gradient of the mean over all counted values.
    """

    def crossing(self, steps: int, generator: torch.Generator | None) -> float:
        """The gradient crosses every border."""
        return 1.0

    def objective(self, parts: list[Part]) -> Tensor:
        """All losses over all counts."""
        return mean_of(parts)


@dataclass(frozen=True)
class Truncated:
    """A backward pass per window, of `depth` steps.

    With k1 the steps of a window and k2 = `depth`, every k1 steps the losses of the last k1 steps
    are propagated back through the last k2 steps. With k2 > k1 the run is repeated from a state
    k2 - k1 steps before the window, under the present weights (k2 / k1 times the work), so that
    even the first step of the window sees k2 - k1 steps back. k2 need not be a multiple of k1. A
    last window that is shorter has k2 - k1 steps before it as well.

    Each is the gradient of the mean over the counted values of its window.

    Attributes:
        depth: k2 in steps, at least k1; None is k1, the usual case, in which nothing is repeated.

    References:
        Williams and Peng 1990, "An efficient gradient-based algorithm for on-line training of
        recurrent network trajectories": BPTT(k2; k1).
    """

    depth: int | None = None

    def __post_init__(self) -> None:
        if self.depth is not None and self.depth < 1:
            raise InputError(f"Truncated: depth is {self.depth}, expected at least 1 step")

    def objective(self, parts: list[Part]) -> Tensor:
        """The window's losses over its count."""
        return mean_of(parts)


@dataclass(frozen=True)
class RandomTruncation:
    r"""At each border between windows the gradient is cut with probability c.

    c is the window's steps over `mean`, so that `mean` steps lie between cuts on average. With
    windows of one step this is a throw at every step. The backward pass runs at the cuts.

    Cutting loses what lies beyond, on average as well. The unbiased form (ARTBP) makes up for it:
    a gradient that crosses a border is multiplied by $1 / (1 - c)$, so that its expectation is
    what would have crossed without cuts:

    $$\delta_t = \frac{\partial \ell_t}{\partial s_t} + \frac{X_t}{1 - c}\,
    \frac{\partial s_{t+1}}{\partial s_t}^{\!\top} \delta_{t+1},
    \qquad X_t \sim \mathrm{Bernoulli}(1 - c)$$

    The price is variance, which grows with the distance bridged, as $(1 - c)^{-n}$ over n borders.

    The mean over the values since the last cut would spoil this: its divisor is the random length
    itself, so short stretches, which see little of the past, would weigh more. Instead, every
    window counts with a fixed weight: its own mean, times its steps over `mean`. Those weights add
    up to 1 between cuts, on average. For the gradient of a mean over values give `bptt` a
    `normaliser`.

    Attributes:
        mean: steps between cuts on average; at least the window's, and more when unbiased.
        unbiased: whether what crosses is scaled up.

    References:
        Tallec and Ollivier 2017, "Unbiasing truncated backpropagation through time".
    """

    mean: float
    _: KW_ONLY
    unbiased: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.mean < float("inf"):
            raise InputError(f"RandomTruncation: mean is {self.mean}, expected a number of steps")
        object.__setattr__(self, "mean", float(self.mean))

    def crossing(self, steps: int, generator: torch.Generator | None) -> float:
        """0 with probability c; otherwise 1, or 1 / (1 - c) when unbiased."""
        c = steps / self.mean
        if c > 1 or (c == 1 and self.unbiased):
            raise InputError(
                f"RandomTruncation: mean is {self.mean:g} steps, expected "
                f"{'more than' if self.unbiased else 'at least'} the window's {steps}"
            )
        if _throw(c, generator):
            return 0.0
        return 1 / (1 - c) if self.unbiased else 1.0

    def objective(self, parts: list[Part]) -> Tensor:
        """The windows' own means, weighted by steps over `mean`."""
        return sum_of([mean_of([part]) * (part.steps / self.mean) for part in parts])


Truncation = Full | Truncated | RandomTruncation


def sum_of(totals: list[Tensor]) -> Tensor:
    """Their sum."""
    return totals[0] if len(totals) == 1 else torch.stack(totals).sum()


def mean_of(parts: list[Part]) -> Tensor:
    """All losses over all counts; where nothing counts the sum is zero, and so is the mean."""
    return sum_of([part.total for part in parts]) / (sum(part.count for part in parts) or 1.0)


def _throw(probability: float, generator: torch.Generator | None) -> bool:
    return torch.rand((), generator=generator).item() < probability


class _Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.factor, None


def scale_gradient(state: State, factor: float) -> State:
    """The same values; the gradient that flows back through them is multiplied by `factor`.

    Examples:
        >>> h = torch.ones(2, requires_grad=True)
        >>> scale_gradient((h,), 3.0)[0].sum().backward()
        >>> h.grad.tolist()
        [3.0, 3.0]
    """

    def scale(part: Tensor) -> Tensor:
        return _Scale.apply(part, factor) if part.requires_grad else part  # pyright: ignore

    return state if factor == 1 else map_tensors(scale, state)
