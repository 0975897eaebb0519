"""Gradients on their way back: the two ways into a state, the cut, and the product over steps."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch

from drawings.canvas import Box, Canvas, scientific
from drawings.learned import from_seed, marked, rememberer
from throughtime import RNN, Layer, Linear
from throughtime.inspect import gradient_flow
from throughtime.inspect.drawing import Figure
from throughtime.inspect.theme import Theme
from throughtime.layers.rnn import RNNState
from throughtime.shapes import Tensor
from throughtime.state import State
from throughtime.training import Full, Truncated, bptt
from throughtime.training.truncation import Truncation

STEPS = 6
WINDOW = 3
FACTORS = 7


class Arrived(NamedTuple):
    """Norms of the gradients that arrive at the state of each step.

    Attributes:
        own: from the loss of its own step.
        onward: from the next state; 0 where nothing arrives.
        whole: of their sum.
    """

    own: tuple[float, ...]
    onward: tuple[float, ...]
    whole: tuple[float, ...]


@from_seed(1)
def arrived(truncation: Truncation) -> Arrived:
    """Back-propagate through six steps in two windows, and watch each state."""
    rnn, head = RNN(1, 8), Linear(8, 1)
    series = torch.sin(torch.arange(STEPS + 1.0)).reshape(1, -1, 1)
    windows = torch.cat([series[:, :-1], series[:, 1:]], dim=-1).split(WINDOW, dim=1)
    norms = {name: [0.0] * STEPS for name in Arrived._fields}
    step = 0

    def watched(state: Tensor, name: str, at: int) -> Tensor:
        def note(gradient: Tensor) -> None:
            norms[name][at] = float(gradient.norm())

        state.register_hook(note)
        return state

    def loss(model: Layer, batch: Tensor, state: State) -> tuple[Tensor, float, State]:
        nonlocal step
        total = torch.zeros(())
        for pair in batch.unbind(1):
            _, after = model(pair[:, None, :1], state)
            hidden = watched(after.hidden, "whole", step)
            found = head(watched(hidden.clone(), "own", step).unsqueeze(1))[0]
            total = total + (found[:, 0] - pair[:, 1:]).square().sum() / 2
            state = RNNState(watched(hidden.clone(), "onward", step))
            step += 1
        return total, float(batch.shape[1]), state

    for _ in bptt(loss, rnn, windows, truncation, normaliser=float(STEPS)):
        pass
    return Arrived(*(tuple(norms[name]) for name in Arrived._fields))


def bptt_whole(theme: Theme) -> Figure:
    """The gradient's two ways into each state."""
    found = arrived(Full())
    canvas = Canvas(
        theme, 286, "Into every state the gradient comes two ways",
        "from the loss of its own step, and from the next state; the last has its own alone",
    )  # fmt: skip
    _ways(canvas, found, 0)
    canvas.text(4, 32, "norm of their sum", "gradient", ha="left")
    for x, norm in zip(_places(), found.whole, strict=True):
        canvas.text(x, 16, f"{norm:.2f}", "gradient", size=10)
    return canvas.figure


def bptt_truncated(theme: Theme) -> Figure:
    """The same with a cut between two windows."""
    found, full = arrived(Truncated()), arrived(Full())
    canvas = Canvas(
        theme, 312, "A cut: the state goes on, the gradient does not come back",
        f"to $h_{WINDOW}$ no gradient arrives from the next state; the loss has not changed",
    )  # fmt: skip
    places = _places()
    _ways(canvas, found, 26)
    x = (places[WINDOW - 1] + places[WINDOW]) / 2
    canvas.wire([(x, 80), (x, 262)], "ink", 1.4, head=False, dashed=True)
    canvas.text(x + 5, 256, "cut", ha="left")
    canvas.text(4, 52, "norm of all that arrives", "muted", ha="left")
    for y, name, norms in ((34, "cut", found.whole), (16, "full", full.whole)):
        canvas.text(4, y, name, ha="left", weight="bold")
        for place, norm, other in zip(places, norms, full.whole, strict=True):
            less = norm < 0.99 * other
            canvas.text(place, y, f"{norm:.2f}", "gradient" if less else "ink", size=10,
                        weight="bold" if less else "normal")  # fmt: skip
    return canvas.figure


def _places() -> list[float]:
    return [58 + 81.0 * step for step in range(STEPS)]


def _ways(canvas: Canvas, found: Arrived, raised: float) -> None:
    """States with their losses, and gradients as thick as their norm."""
    y, strongest = 118 + raised, max(*found.own, *found.onward)

    def width(norm: float) -> float:
        return 0.8 + 3.2 * norm / strongest

    boxes = [canvas.box(x, y, 40, 34, f"$h_{k + 1}$", "state", size=11)
             for k, x in enumerate(_places())]  # fmt: skip
    for step, box in enumerate(boxes):
        top = canvas.circle(box.x, y + 94, 14, f"$\\ell_{step + 1}$", "output", size=11)
        told = (box.x, y - 44)
        canvas.text(box.x, y - 51, f"$x_{step + 1}$", "input", size=10)
        canvas.arrow(told, box.bottom, "input")
        canvas.arrow((box.x - 8, y + 17), (box.x - 8, y + 82), "output")
        canvas.arrow((box.x + 7, y + 81), (box.x + 7, y + 18), "gradient", width(found.own[step]))
        canvas.text(box.x + 13, y + 50, f"{found.own[step]:.2f}", "gradient", ha="left")
        assert top.x == box.x
        _between(canvas, box, boxes[step + 1] if step + 1 < STEPS else None, found.onward[step],
                 width)  # fmt: skip


def _between(
    canvas: Canvas, box: Box, later: Box | None, norm: float, width: Callable[[float], float]
) -> None:
    """The state forwards, and the gradient backwards where one arrives."""
    if later is None:
        return
    (right, y), (left, _) = box.right, later.left
    canvas.arrow((right + 1, y + 7), (left - 1, y + 7), "state", 1.4)
    if norm:
        canvas.arrow((left - 1, y - 7), (right + 1, y - 7), "gradient", width(norm))
        canvas.text((left + right) / 2, y - 20, f"{norm:.2f}", "gradient")
    else:
        canvas.text(right + 9, y - 20, "0", "gradient", size=11, weight="bold")


class Product(NamedTuple):
    """A gradient step by step on its way back.

    Attributes:
        name: of the layer.
        left: how much of it is left after 0, 1, ... steps.
    """

    name: str
    left: tuple[float, ...]

    @property
    def factors(self) -> list[float]:
        """What each step multiplied it by."""
        return [b / a for a, b in zip(self.left, self.left[1:], strict=False)]


@from_seed(0)
def products() -> tuple[Product, ...]:
    """Gradients that vanish and explode in fresh layers, and one that lasts in a trained one."""
    large = RNN(2, 32, activation="relu")
    with torch.no_grad():
        large.weight_hidden.mul_(2.5)
    layers = {
        "RNN, sigmoid": RNN(2, 32, activation="sigmoid"),
        "RNN, relu, weights × 2.5": large,
        "LSTM that has learnt to remember": rememberer("lstm"),
    }
    x, _ = marked(16, 30, often=0.0)
    return tuple(Product(name, _shares(layer, x)) for name, layer in layers.items())


def _shares(layer: Layer, x: Tensor) -> tuple[float, ...]:
    ((curve),) = gradient_flow(layer, x, lags=range(FACTORS + 1)).curves.values()
    return tuple(norm / curve[0] for norm in curve)


@functools.cache
def endings() -> dict[str, str]:
    """What became of each, in a word."""
    return {each.name: _ending(each.left[-1]) for each in products()}


def _ending(left: float) -> str:
    return "vanishes" if left < 0.01 else "explodes" if left > 10 else "lasts"


def gradient_product(theme: Theme) -> Figure:
    """One factor per step: what is left after seven."""
    canvas = Canvas(
        theme, 322, "A gradient is a product with one factor per step",
        "$\\Vert\\partial\\ell_T/\\partial h_{T-k}\\Vert$ relative to $k = 0$: "
        "factors below 1 make it vanish, factors above 1 explode",
    )  # fmt: skip
    for row, product in enumerate(products()):
        y = 226 - 92.0 * row
        canvas.text(4, y + 30, product.name, ha="left", weight="bold")
        canvas.text(500, y + 30, endings()[product.name], "gradient", ha="right", weight="bold")
        places = [476 - 65.0 * step for step in range(FACTORS + 1)]
        for step, (x, left) in enumerate(zip(places, product.left, strict=True)):
            circle = canvas.circle(x, y, 14, f"$h_{{T-{step}}}$" if step else "$h_T$", "state",
                                   filled=0.1)  # fmt: skip
            canvas.text(x, y - 24, scientific(left), "gradient")
            if step:
                canvas.arrow((x + 50, y), circle.right, "gradient", _thickness(left))
                canvas.text(x + 32.5, y + 12, f"×{product.factors[step - 1]:.2f}")
    return canvas.figure


def _thickness(left: float) -> float:
    """By its logarithm, from 10⁻⁴ to 10."""
    return float(torch.tensor(left).log10().add(4).div(5).clamp(0, 1)) * 3.6 + 0.5
