"""Vanishing and exploding gradients: the rate per step against the recurrence's spectral radius."""

import copy
import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from throughtime.errors import InputError
from throughtime.inspect.gradient_flow import GradientFlow, gradient_flow
from throughtime.inspect.jacobians import recurrent_jacobians
from throughtime.inspect.theme import LIGHT, Theme, colours
from throughtime.layers import Recurrent
from throughtime.shapes import Float, Tensor

if TYPE_CHECKING:
    from throughtime.inspect.drawing import Axes
else:
    Axes = Any  # matplotlib is imported where something is drawn

__all__ = ["RecurrenceRate", "draw_rates", "recurrence_rates", "scaled_recurrence"]

MARKS = "osD^vPX"
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10)
LASTING = 0.01
"""Within so much of 1 a rate neither vanishes nor explodes over the lags of interest."""


class RecurrenceRate(NamedTuple):
    """How fast gradients shrink or grow through one recurrence.

    Attributes:
        name: of the layer.
        scale: what its recurrent weights were multiplied by.
        radius: the spectral radius of the Jacobian of a step, a geometric mean over steps.
        stretch: its largest singular value, likewise: no step carries more.
        rate: r in norm = a r^k, fitted to the gradient by the states k steps before.
        lyapunov: the factor per step of the whole product of Jacobians, exp of the largest Lyapunov
            exponent.
        flow: the norms that the rate was fitted to.
    """

    name: str
    scale: float
    radius: float
    stretch: float
    rate: float
    lyapunov: float
    flow: GradientFlow

    @property
    def verdict(self) -> str:
        """`vanishes`, `explodes`, or `lasts` where the rate is within 1 % of 1."""
        if abs(self.rate - 1) <= LASTING:
            return "lasts"
        return "vanishes" if self.rate < 1 else "explodes"


def recurrence_rates(
    layers: Mapping[str, Recurrent],
    x: Float[Tensor, "1 time features"],
    scales: Sequence[float] = (0.5, 0.75, 1.0, 1.25, 1.5),
    *,
    lags: Sequence[int] | None = None,
) -> tuple[RecurrenceRate, ...]:
    r"""Fit the rate at which gradients change per step, beside the radius that foretells it.

    $$\left\lVert \frac{\partial \ell_t}{\partial s_{t-k}} \right\rVert \approx a\, r^k, \qquad
    \rho = \exp \frac1T \sum_t \log \max_i |\lambda_i(J_t)|, \qquad
    J_t = \frac{\partial s_{t+1}}{\partial s_t}$$

    Where all $J_t$ are one normal matrix, as of a linear recurrence, $r = \rho$. An activation
    multiplies each row of the recurrent matrix by its slope: at most 1 for tanh and ReLU, at most
    1/4 for the sigmoid, so that a sigmoid recurrence needs weights four times as large to keep a
    gradient. Where matrices differ from step to step, or are not normal, r is what their product
    does, $e^{\lambda_1}$ in the long run: it may differ from the radius, and no product of matrices
    is larger than their largest singular values allow.

    Args:
        layers: by name; they are copied, and computed in float64.
        x: `[1, time, features]`, one sequence.
        scales: what the recurrent weights are multiplied by.
        lags: k in steps that the rate is fitted to; by default the second half of all up to three
            quarters of the time, where what is special at first has died away.

    Returns:
        For each layer one for each scale.

    Errors:
        InputError: no layers; a scale that is not above 0; a sequence that is too short.

    Examples:
        >>> from throughtime import RNN
        >>> layer, x = RNN(1, 4), torch.zeros(1, 24, 1)  # at rest tanh' is 1: J is orthogonal
        >>> [found] = recurrence_rates({"rnn": layer}, x, scales=[0.5])
        >>> round(found.radius, 6), round(found.rate, 6), found.verdict
        (0.5, 0.5, 'vanishes')

    References:
        Pascanu, Mikolov and Bengio 2013, "On the difficulty of training recurrent neural networks";
        Hochreiter 1991, "Untersuchungen zu dynamischen neuronalen Netzen".
    """
    if not layers or not scales or not all(0 < scale < math.inf for scale in scales):
        raise InputError(
            f"recurrence_rates: got {len(layers)} layers and scales {[*scales]}, expected some of "
            "each, scales above 0"
        )
    time = x.shape[1] if x.ndim == 3 else 0
    if time < 8:
        raise InputError(
            f"recurrence_rates: x has shape {list(x.shape)}, expected [1, time, features] with at "
            "least 8 steps"
        )
    longest = time - time // 4
    chosen = range(longest // 2, longest) if lags is None else lags
    return tuple(
        _rate(name, scaled_recurrence(layer, scale), scale, x.double(), chosen)
        for name, layer in layers.items()
        for scale in scales
    )


def scaled_recurrence(layer: Recurrent, scale: float) -> Recurrent:
    """A copy in float64 whose recurrent weights are multiplied by a number.

    Args:
        layer: RNN, LSTM, GRU, or another with a `weight_hidden`.
        scale: the number.

    Errors:
        InputError: a layer without recurrent weights.

    Examples:
        >>> from throughtime import GRU
        >>> layer = GRU(2, 3)
        >>> twice = scaled_recurrence(layer, 2.0)
        >>> torch.equal(twice.weight_hidden, 2 * layer.weight_hidden.double())
        True
    """
    made = copy.deepcopy(layer).double().eval()
    weight = getattr(made, "weight_hidden", None)
    if not isinstance(weight, Tensor):
        raise InputError(
            f"scaled_recurrence: layer is {type(layer).__name__}, expected one with weight_hidden, "
            "such as RNN, LSTM or GRU"
        )
    with torch.no_grad():
        weight.mul_(scale)
    return made


def _rate(
    name: str, layer: Recurrent, scale: float, x: Tensor, lags: Sequence[int]
) -> RecurrenceRate:
    jacobians = recurrent_jacobians(layer, x)
    flow = gradient_flow(layer, x, lags=range(max(lags) + 1))
    (curve,) = flow.curves.values()
    fitted = GradientFlow(tuple(lags), {name: tuple(curve[k] for k in lags)})
    warm = x.shape[1] // 4  # as for the exponents: the first steps are of another regime
    return RecurrenceRate(
        name=name,
        scale=scale,
        radius=_geometric(jacobians.spectral_radius[warm:]),
        stretch=_geometric(jacobians.singular_values[warm:, 0]),
        rate=fitted.rate[name],
        lyapunov=math.exp(jacobians.lyapunov),
        flow=GradientFlow(flow.lags, {name: curve}),
    )


def _geometric(values: Tensor) -> float:
    """Of one value that is zero, zero."""
    return float(values.log().mean().exp())


def draw_rates(ax: Axes, rates: Sequence[RecurrenceRate], *, theme: Theme = LIGHT) -> Axes:
    """Fitted rates against spectral radii, both logarithmic, with a line where they are equal.

    Each layer has its own colour and mark, one for each scale. Above the thin line at 1 gradients
    explode, below it they vanish; another is where the radius is 1.

    Args:
        ax: where to draw.
        rates: of some layers, at some scales.
        theme: where it will be seen.

    Errors:
        InputError: no rate and radius that are finite and above 0.
    """
    from throughtime.inspect.drawing import dress, legend, style

    shown = [one for one in rates if all(0 < v < math.inf for v in (one.rate, one.radius))]
    if not shown:
        raise InputError(f"draw_rates: {len(rates)} rates, none above 0, expected some")
    names = list(dict.fromkeys(one.name for one in shown))
    hues = colours(names, theme=theme)
    every = [value for one in shown for value in (one.rate, one.radius)]
    low, high = min(*every, 0.9) / 1.15, max(*every, 1.1) * 1.15
    with style():
        ax.plot([low, high], [low, high], color=theme.ink, linewidth=1.0, linestyle=(0, (4, 2)))
        ax.axhline(1, color=theme.muted, linewidth=1.0)
        ax.axvline(1, color=theme.muted, linewidth=1.0)
        for name, mark in zip(names, cycle(MARKS), strict=False):
            points = sorted((one.radius, one.rate) for one in shown if one.name == name)
            ax.plot(*zip(*points, strict=True), color=hues[name], marker=mark, markersize=5,
                    linewidth=0.8, label=name)  # fmt: skip
        ax.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
        ticks = [tick for tick in TICKS if low <= tick <= high]
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.minorticks_off()
        for words, at, va in (("explodes", 3, "bottom"), ("vanishes", -3, "top")):
            ax.annotate(words, (0, 1), xycoords=("axes fraction", "data"), xytext=(4, at),
                        textcoords="offset points", va=va, color=theme.muted,
                        fontsize=8.5)  # fmt: skip
        times = [one.rate / one.radius for one in shown]
        title = f"Rates are {min(times):.2f} to {max(times):.2f} times the radius"
        dress(ax, theme, title, "dashed: rate = radius", x="spectral radius of a step's Jacobian",
              y="gradient, times per step")  # fmt: skip
        legend(ax, theme)
    return ax
