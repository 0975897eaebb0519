"""How much gradient reaches back how far: whether it vanishes, explodes or lasts."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from throughtime.errors import InputError
from throughtime.inspect.decay import SMALLEST, half_life_of, rate_of
from throughtime.inspect.jacobians import (
    Nodes,
    in_line,
    leaf,
    mean_norms,
    recurrent_layers,
    step_by_step,
    taken,
)
from throughtime.inspect.showing import Showing
from throughtime.inspect.theme import LIGHT, Theme, colours
from throughtime.layers import Layer
from throughtime.models.chain import evaluating
from throughtime.shapes import Float, Tensor
from throughtime.state import State, map_tensors

if TYPE_CHECKING:
    from throughtime.inspect.drawing import Axes
else:
    Axes = Any  # matplotlib is imported where something is drawn

__all__ = ["GradientFlow", "diagnose", "draw_gradient_flow", "gradient_flow", "input_flow"]

GONE, EXPLODED = 0.01, 10.0
"""Times what arrives at the first lag: at most this is nothing; at least this is too much."""
SHOWN = 1e-9
"""Times the largest norm: a figure ends here."""

Loss = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class GradientFlow(Showing):
    r"""Norms of gradients against how far back they reach; prints as a table.

    Those of the same lags may stand together: `GradientFlow(a.lags, {**a.curves, **b.curves})`.

    Attributes:
        lags: k in steps, ascending.
        curves: for each layer, by its name, the norm at each lag.
    """

    lags: tuple[int, ...]
    curves: Mapping[str, tuple[float, ...]]

    @property
    def rate(self) -> dict[str, float]:
        r"""For each layer $r$ in $\text{norm}_k \approx a\,r^k$, by least squares of its logarithm.

        All lags count whose norm is above zero; NaN with fewer than two of them.
        """
        return {name: rate_of(self.lags, curve) for name, curve in self.curves.items()}

    @property
    def half_life(self) -> dict[str, float]:
        """For each layer the steps until its norm is first half of what it is at the first lag.

        Between two lags it falls exponentially; infinite where it stays above half. First steps may
        fall faster than the rate says: an LSTM's cell keeps what its hidden state loses at once.
        """
        return {name: half_life_of(self.lags, curve) for name, curve in self.curves.items()}

    def __str__(self) -> str:
        places = sorted({*np.linspace(0, len(self.lags) - 1, 6).round().astype(int)})
        rate, half_life = self.rate, self.half_life
        table = [["layer", "rate", "half-life", *(f"lag {self.lags[place]}" for place in places)]]
        for name, curve in self.curves.items():
            numbers = rate[name], half_life[name], *(curve[place] for place in places)
            table.append([name, *(f"{number:.3g}" for number in numbers)])
        widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
        return "\n".join(
            "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
            for line in table
        )

    def draw(self, ax: Axes, theme: Theme = LIGHT) -> Axes:
        """[`draw_gradient_flow`][throughtime.inspect.draw_gradient_flow], as notebooks show it."""
        return draw_gradient_flow(ax, self, theme=theme)


def gradient_flow(
    layer: Layer,
    x: Tensor,
    *,
    loss: Loss | None = None,
    lags: Sequence[int] | None = None,
    state: State = None,
    mask: Tensor | None = None,
    seed: int = 0,
) -> GradientFlow:
    r"""How much of a loss's gradient reaches the states of k steps before, in each recurrent layer.

    $$\left\lVert \frac{\partial \ell_t}{\partial s_{t-k}} \right\rVert = \left\lVert
    J_{t-k}^\top \cdots J_{t-1}^\top\, \frac{\partial \ell_t}{\partial s_t} \right\rVert,
    \qquad J_j = \frac{\partial s_{j+1}}{\partial s_j}$$

    where $s_j$ is what a layer remembers after step j: of an LSTM its hidden state and its cell
    together. (The product is that of a single layer; below others, gradients come from above as
    well.) A product of many matrices shrinks or grows exponentially; that is why long dependencies
    are hard to learn. The layer runs step by step, without dropout, and the gradients are exact.

    Args:
        layer: causal, with at least one recurrent layer in it: alone, in a stack, in a decoder.
        x: `[batch, time, features]`, or token ids if that is what the layer takes.
        loss: gives `[batch, time]` losses for `[batch, time, features]` outputs; by default each is
            the output times one random direction of length 1, so that no targets are needed.
        lags: k in steps; by default all up to three quarters of the time.
        state: before the first step; the initial one by default.
        mask: `[batch, time]`, True where a step is real. Lags count real steps.
        seed: of the random direction.

    Returns:
        The mean over all rows and up to 8 evenly chosen t, each with all lags behind it. Layers are
        named by their place and type: `0.LSTM`.

    Errors:
        InputError: a layer that is not causal, or has no recurrent layer in it; lags that are
            longer than any row; a loss of another form, or one the output has no part in.

    Examples:
        >>> from throughtime import LSTM, RNN
        >>> from throughtime.layers import Stack
        >>> flow = gradient_flow(Stack(LSTM(3, 8), RNN(8, 8)), torch.randn(2, 20, 3))
        >>> [*flow.curves], flow.lags[-1]
        (['0.LSTM', '1.RNN'], 14)

    References:
        Hochreiter 1991, "Untersuchungen zu dynamischen neuronalen Netzen"; Bengio, Simard and
        Frasconi 1994, "Learning long-term dependencies with gradient descent is difficult";
        Pascanu, Mikolov and Bengio 2013, "On the difficulty of training recurrent neural networks".
    """
    if not layer.causal:
        raise InputError(
            f"gradient_flow: layer is {type(layer).__name__}, which sees later steps, expected a "
            "causal one; input_flow takes any"
        )
    names = recurrent_layers(layer)
    if not names:
        raise InputError(
            f"gradient_flow: layer is {type(layer).__name__}, expected one with a recurrent layer "
            "in it; input_flow takes any"
        )

    def run(x: Tensor, real: Tensor | None) -> tuple[Tensor, Nodes]:
        first = layer.initial_state(x.shape[0]) if state is None else state
        return step_by_step(layer, names, x, map_tensors(leaf, first), real)

    return _flow("gradient_flow", run, layer, x, loss, lags, mask, seed)


def input_flow(
    layer: Layer,
    x: Tensor,
    *,
    loss: Loss | None = None,
    lags: Sequence[int] | None = None,
    state: State = None,
    mask: Tensor | None = None,
    seed: int = 0,
) -> GradientFlow:
    r"""How much of a loss's gradient reaches the inputs of k steps before, through any layer.

    $$\left\lVert \frac{\partial \ell_t}{\partial x_{t-k}} \right\rVert$$

    It needs no state of a fixed size to look at, so that attention and windows can be put beside
    recurrent layers.

    Args:
        layer: anything that keeps the contract, causal or not.
        x: `[batch, time, features]`; where a layer takes token ids, start above its embedding.
        loss: see [`gradient_flow`][throughtime.inspect.gradient_flow], as all that follows.
        lags: k in steps.
        state: before the first step.
        mask: `[batch, time]`.
        seed: of the random direction.

    Returns:
        One curve, `input`.

    Errors:
        InputError: as `gradient_flow`; an `x` that has no gradients.

    Examples:
        >>> from throughtime.layers import Window
        >>> flow = input_flow(Window(size=3, input_size=2), torch.randn(1, 8, 2), lags=range(5))
        >>> [norm > 0 for norm in flow.curves["input"]]
        [True, True, True, False, False]
    """
    if not x.is_floating_point():
        raise InputError(f"input_flow: x is {x.dtype}, expected floating point, as gradients are")

    def run(x: Tensor, real: Tensor | None) -> tuple[Tensor, Nodes]:
        steps = [leaf(one) for one in x.unbind(1)]
        output, _ = layer(torch.stack(steps, dim=1), state, real)
        return output, {"input": [(one,) for one in steps]}

    return _flow("input_flow", run, layer, x, loss, lags, mask, seed)


def diagnose(flow: GradientFlow, cut: int | None = None) -> list[str]:
    """What the numbers say, a sentence for each layer, and one more for each with a cut.

    A gradient has vanished where at most 1 % of what there is at the first lag arrives, for good;
    it has exploded where it is 10 times that. With a cut, what is lost is the sum of norms from lag
    `cut` on, as a share of that of all lags up to the largest; those that were not measured count
    too, as if norms changed exponentially in between. It is a share of norms: as vectors, gradients
    of different lags may cancel or add up.

    Args:
        flow: what was measured.
        cut: k2 of truncated back-propagation: the gradient goes that many steps back.

    Examples:
        >>> flow = GradientFlow(tuple(range(9)), {"RNN": tuple(0.5**k for k in range(9))})
        >>> for sentence in diagnose(flow, cut=2):
        ...     print(sentence)
        RNN: vanishing by a factor of 0.5 per step: half is left after 1 steps, 1 % or less from lag 7 on
        RNN: a cut after 2 steps loses 24.9 % of the gradient (norms up to lag 8)
    """  # noqa: E501
    if cut is not None and cut < 1:
        raise InputError(f"diagnose: cut is {cut}, expected at least 1 step")
    said = [f"{name}: {_verdict(flow, name)}" for name in flow.curves]
    if cut is not None:
        said += [
            f"{name}: {_loss_by(cut, flow.lags, norms)}" for name, norms in flow.curves.items()
        ]
    return said


def draw_gradient_flow(
    ax: Axes,
    flow: GradientFlow,
    *,
    cut: int | None = None,
    theme: Theme = LIGHT,
    palette: Mapping[str, str] | None = None,
) -> Axes:
    """Norms against lags, a line per layer, on a logarithmic scale: exponentials are straight.

    Norms below a billionth of the largest are not shown.

    Args:
        ax: where to draw.
        flow: what was measured.
        cut: k2 of truncated back-propagation; what lies to the right of its line is lost.
        theme: where it will be seen.
        palette: layer to colour; by default that of these layers alone.
    """
    from throughtime.inspect.drawing import MaxNLocator, dress, floats, legend, style

    palette = palette or colours([*flow.curves], theme=theme)
    with style():
        for name, curve in flow.curves.items():
            norms = floats(curve)
            norms[~(norms > 0)] = np.nan  # nothing arrives, and a logarithm has no place for it
            marker = "o" if np.isfinite(norms).sum() == 1 else None
            ax.plot(flow.lags, norms, color=palette[name], linewidth=1.6, marker=marker, label=name)
        ax.set_yscale("log")
        known = [norm for curve in flow.curves.values() for norm in curve if 0 < norm < math.inf]
        if known:
            top = max(known)
            ax.set_ylim(max(min(known), SHOWN * top) / 2, 2 * top)
        if cut is not None:
            ax.axvline(cut - 0.5, color=theme.ink, linewidth=1.0, linestyle=(0, (4, 2)))
            right = 2 * cut < flow.lags[-1]  # there is more room at this side
            ax.annotate(
                f"cut after {cut}", (cut - 0.5, 1), xycoords=("data", "axes fraction"),
                xytext=(4 if right else -4, -9), textcoords="offset points", color=theme.ink,
                fontsize=8, ha="left" if right else "right",
            )  # fmt: skip
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        rates = [f"{name} × {rate:.3g}" for name, rate in flow.rate.items() if rate == rate]
        below = f"per step: {', '.join(rates)}" if rates else ""
        dress(ax, theme, "Gradient through time", below, x="steps back", y="norm of the gradient")
        ax.tick_params(which="minor", length=0)
        legend(ax, theme)
    return ax


# Which steps count, and what is taken of them


def _flow(
    name: str,
    run: Callable[[Tensor, Tensor | None], tuple[Tensor, Nodes]],
    layer: Layer,
    x: Tensor,
    loss: Loss | None,
    lags: Sequence[int] | None,
    mask: Tensor | None,
    seed: int,
) -> GradientFlow:
    layer.check_marks(x, mask, None)
    line = in_line(name, x, mask)
    chosen = _lags(name, lags, line.order.shape[1])
    with torch.enable_grad(), evaluating(layer):
        output, nodes = run(taken(x, line.order), None if mask is None else line.real)
        if output.shape[:2] != line.real.shape:
            came = f"{output.shape[1]} outputs for {line.real.shape[1]} steps"
            raise InputError(f"{name}: layer gives {came}, expected one for each")
        if loss is None:
            losses = output @ _direction(output, seed)
        else:
            losses = _own_losses(name, loss, output, x.shape[1], line.order)
        if not losses.requires_grad:
            raise InputError(f"{name}: loss does not depend on the output, expected that it does")
        return GradientFlow(chosen, mean_norms(losses, nodes, line.real, chosen))


def _lags(name: str, lags: Sequence[int] | None, steps: int) -> tuple[int, ...]:
    chosen = range(steps - steps // 4) if lags is None else sorted(set(lags))
    if not chosen or chosen[0] < 0 or chosen[-1] >= steps:
        some = f"some from 0 to {steps - 1}, as the longest row has {steps} steps"
        raise InputError(f"{name}: lags are {[*chosen]}, expected {some}")
    return tuple(chosen)


def _direction(output: Tensor, seed: int) -> Float[Tensor, " features"]:
    """The same on every device."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(output.shape[-1], generator=generator, dtype=torch.float64)
    return (drawn / drawn.norm()).to(output)


def _own_losses(
    name: str, loss: Loss, output: Tensor, steps: int, order: Tensor
) -> Float[Tensor, "batch steps"]:
    """The caller's losses of outputs that stand where they stood."""
    batch, _, features = output.shape
    index = order.unsqueeze(-1).expand_as(output)
    losses = loss(output.new_zeros(batch, steps, features).scatter(1, index, output))
    if losses.shape != (batch, steps):
        came = f"shape {list(losses.shape)}"
        raise InputError(f"{name}: loss gives {came}, expected [batch, time] = {[batch, steps]}")
    return losses.gather(1, order)


# What curves say


def _verdict(flow: GradientFlow, name: str) -> str:
    lags, norms = flow.lags, np.array(flow.curves[name])
    finite = np.isfinite(norms)
    if not finite.all():
        return f"exploding: no finite number at lag {lags[int(finite.argmin())]}"
    if norms[0] == 0:
        return f"nothing arrives at lag {lags[0]}, which the other lags are measured by"
    shares, rate = norms / norms[0], flow.rate[name]
    peak, left = int(shares.argmax()), np.flatnonzero(shares > GONE)[-1]
    by = "" if math.isnan(rate) else f" by a factor of {rate:.3g} per step"
    if shares[peak] >= EXPLODED:
        times = f"{shares[peak]:.3g} times that of lag {lags[0]}"
        return f"exploding{by}, to {times} at lag {lags[peak]}"
    if left + 1 < len(lags):
        half = f"half is left after {flow.half_life[name]:.3g} steps"
        return f"vanishing{by}: {half}, 1 % or less from lag {lags[left + 1]} on"
    changing = by and f", changing{by}"
    return f"healthy up to lag {lags[-1]}: {100 * shares[-1]:.3g} % arrives there{changing}"


def _loss_by(cut: int, lags: Sequence[int], norms: Sequence[float]) -> str:
    if cut > lags[-1]:
        return f"a cut after {cut} steps lies behind the largest lag measured, {lags[-1]}"
    if not 0 < sum(norms) < math.inf:
        return f"what a cut after {cut} steps loses cannot be told from such norms"
    every = np.arange(lags[0], lags[-1] + 1)
    logs = np.log(np.maximum(norms, SMALLEST * max(norms)))
    filled = np.exp(np.interp(every, lags, logs))
    lost = f"{100 * filled[every >= cut].sum() / filled.sum():.3g} %"
    return f"a cut after {cut} steps loses {lost} of the gradient (norms up to lag {lags[-1]})"
