"""States that are handed on: the RNN unrolled, the latent model, and the window without a state."""

import functools
from typing import NamedTuple

import torch

from drawings.canvas import Canvas, scientific
from drawings.learned import LETTERS, WORD, from_seed, one_by_one, speller, word_model
from throughtime import RNN, Layer, Linear, Stack
from throughtime.inspect.drawing import Figure
from throughtime.inspect.theme import Theme
from throughtime.layers import FeedForward, Window
from throughtime.shapes import Float, Tensor

WORDS = ("states", "estate", "tastes", "assets", "attest", "teases")
"""What the latent model has learnt; the first is shown."""
SEEN = 4
"""Steps of the window."""


class Spelt(NamedTuple):
    """What the RNN made of its word.

    Attributes:
        hidden: `[time, hidden]`.
        chances: `[time, letters]`, of the next letter.
    """

    hidden: Float[Tensor, "time hidden"]
    chances: Float[Tensor, "time letters"]


@functools.cache
@torch.no_grad()
def spelt() -> Spelt:
    """Run the RNN over its word."""
    rnn, head = speller()
    hidden, _ = rnn(one_by_one(WORD, LETTERS))
    return Spelt(hidden[0], head(hidden)[0][0].softmax(-1))


def rnn_unrolled(theme: Theme) -> Figure:
    """Five steps of an RNN: one box, drawn five times."""
    hidden, chances = spelt()
    canvas = Canvas(
        theme, 296, "One cell, the same weights at every step",
        f"an RNN that has learnt to spell “{WORD}”: it meets l twice, in two states, "
        "and answers each rightly",
    )  # fmt: skip
    before = (14.0, 140.0)
    canvas.text(14, 151, "$h_0$", "state")
    for step, letter in enumerate(WORD):
        x = 84 + 95.0 * step
        best = int(chances[step].argmax())
        told = canvas.circle(x, 60, 14, letter, "input", size=12)
        state = canvas.box(x, 140, 72, 44, colour="state")
        answer = canvas.box(x, 218, 60, 26, colour="output")
        canvas.text(x, 152, f"$h_{step + 1}$")
        canvas.table(x, 132, hidden[step], (10.5, 13))
        canvas.text(x, 218, f"{LETTERS[best]}  {100 * float(chances[step, best]):.0f} %", size=10)
        canvas.text(x, 34, f"$x_{step + 1}$", "input")
        canvas.text(x, 242, f"$y_{step + 1}$", "output")
        canvas.arrow(told.top, state.bottom, "input")
        canvas.arrow(state.top, answer.bottom, "output")
        canvas.arrow(before, state.left, "state", 1.6)
        canvas.text(x + 8, 94, "W", "input", weight="bold")
        canvas.text(x + 8, 182, "V", "output", weight="bold")
        canvas.text((before[0] + state.left[0]) / 2, 151 if step else 130, "U", "state",
                    weight="bold")  # fmt: skip
        before = state.right
    canvas.text(4, 5, f"cells: the state’s {hidden.shape[1]} numbers, blue above 0, yellow below; "
                "%: how sure the answer is", "muted", ha="left", va="bottom")  # fmt: skip
    return canvas.figure


class Summed(NamedTuple):
    """What a latent autoregressive model knows before each letter.

    Attributes:
        hidden: `[time, hidden]`, the state after the letters before.
        chances: `[time, letters]`.
        letters: names of the letters.
        size: numbers in the state after each of two lengths of the past.
        difference: largest difference between chances from the state, and from the whole past.
    """

    hidden: Float[Tensor, "time hidden"]
    chances: Float[Tensor, "time letters"]
    letters: str
    size: dict[int, int]
    difference: float


@functools.cache
@torch.no_grad()
def summed() -> Summed:
    """Predict each letter from the state, and once more from all that came before."""
    letters = "".join(sorted(set(WORDS[0])))
    model = word_model(WORDS, letters)
    x = torch.tensor([[letters.index(letter) for letter in WORDS[0]]])
    previous = torch.cat([model.begin(1), x[:, :-1]], dim=1)
    whole, _ = model(previous)
    hidden, chances, state = [], [], None
    for step in previous.split(1, dim=1):
        found, state = model(step, state)
        hidden.append(state.body.hidden[0])
        chances.append(found[0, 0].softmax(-1))
    long = {}
    for length in (len(WORDS[0]), 6000):
        _, state = model(x.repeat(1, length // x.shape[1]))
        long[length] = state.body.hidden.numel()
    difference = (torch.stack(chances) - whole[0].softmax(-1)).abs().max().item()
    return Summed(torch.stack(hidden), torch.stack(chances), letters, long, difference)


def latent(theme: Theme) -> Figure:
    """A state sums up the past, predicts the next value, and takes it in."""
    found = summed()
    short, long = found.size
    canvas = Canvas(
        theme, 300, "A state sums up all of the past",
        f"a GRU that has learnt {len(WORDS)} words: its state has {found.size[short]} numbers "
        f"after {short} letters, and {found.size[long]} after {long:,}",
    )  # fmt: skip
    before: tuple[float, float] | None = None
    for step, letter in enumerate(WORDS[0]):
        x = 46 + 82.0 * step
        state = canvas.box(x, 118, 62, 42, colour="state")
        canvas.text(x, 130, f"$h_{step + 1}$")
        canvas.table(x, 110, found.hidden[step], (9, 13))
        _chances(canvas, x, 176, found.chances[step], found.letters, letter)
        canvas.arrow(state.top, (x, 168), "output")
        value = canvas.circle(x, 48, 13, letter, "input", size=12)
        canvas.text(x - 24, 48, f"$x_{step + 1}$", "input")
        if before:
            canvas.arrow(before, state.left, "state", 1.6)
        before = state.right
        if step + 1 < len(WORDS[0]):
            canvas.wire([value.right, (x + 41, 48), (x + 41, 104), (x + 51, 104)], "input")
    canvas.text(4, 254, "$p(x_t\\,|\\,h_t)$", "output", ha="left")
    canvas.text(
        4, 5, "the chances from the state and from the whole past differ by at most "
        f"{scientific(found.difference)}", "muted", ha="left", va="bottom",
    )  # fmt: skip
    return canvas.figure


def _chances(canvas: Canvas, x: float, y: float, chances: Tensor, letters: str, said: str) -> None:
    """Bars for the next letter above their names; the one that came is filled."""
    for place, (letter, chance) in enumerate(zip(letters, chances.tolist(), strict=True)):
        left = x + (place - (len(letters) - 1) / 2) * 14
        canvas.text(left, y, letter, "ink" if letter == said else "muted")
        canvas.bar(left, y + 8, 10, max(50 * chance, 0.8), "output", 1 if letter == said else 0.3)


class Reached(NamedTuple):
    """Slopes of outputs by inputs.

    Attributes:
        window: `[time, time]`, the absolute slope of each output by each input.
        rnn: the same of an RNN.
    """

    window: Float[Tensor, "time time"]
    rnn: Float[Tensor, "time time"]


@from_seed(2)
def reached() -> Reached:
    """Which inputs each output sees, by its gradient."""
    window = Stack(Window(SEEN), Linear(SEEN, 8), FeedForward(8), Linear(8, 1))
    return Reached(slopes(window), slopes(Stack(RNN(1, 8), Linear(8, 1))))


def slopes(layer: Layer, time: int = 12) -> Float[Tensor, "time time"]:
    """The absolute derivative of each output by each input of one number."""
    x = torch.randn(1, time, 1, requires_grad=True)
    outputs = layer(x)[0].flatten()
    rows = [torch.autograd.grad(each, x, retain_graph=True)[0].flatten() for each in outputs]
    return torch.stack(rows).abs()


def window(theme: Theme) -> Figure:
    """The inputs that an output of a window sees, and those of an RNN."""
    found = reached()
    time, last = len(found.window), len(found.window) - 3
    outside = float(found.window.tril(-SEEN).abs().max())
    canvas = Canvas(
        theme, 372, f"A window sees the last {SEEN} inputs and nothing before",
        f"slopes of outputs by inputs: exactly {scientific(outside)} outside the window; "
        "an RNN’s reach back to the first",
    )  # fmt: skip
    place = [30 + 40.4 * step for step in range(time)]
    output = canvas.circle(place[last], 306, 14, f"$y_{{{last + 1}}}$", "output")
    strongest = float(found.window[last].max())
    for step, x in enumerate(place):
        slope = float(found.window[last, step])
        seen = slope > 0
        top = canvas.circle(x, 242, 13, f"$x_{{{step + 1}}}$", "input" if seen else "plain").top
        canvas.text(x, 220, scientific(slope), "ink" if seen else "muted")
        if seen:
            canvas.arrow(top, output.bottom, "input", 0.8 + 2.4 * slope / strongest)
    slopes = f"$|\\partial y_{{{last + 1}}} / \\partial x_s|$ below each input"
    canvas.text(place[0] - 13, 268, slopes, "muted", ha="left")  # fmt: skip

    def ends(letter: str) -> list[str]:
        return [f"${letter}_1$", *[""] * (time - 2), f"${letter}_{{{time}}}$"]

    for x, name, values in ((132, f"window of {SEEN}", found.window), (385, "RNN", found.rnn)):
        values = torch.where(torch.ones_like(values).tril().bool(), values, torch.nan)
        shown = values / values.nan_to_num().amax()
        canvas.table(
            x, 88, shown.sqrt(), (16, 12.5), "input", gap=1.5, rows=ends("y"), columns=ends("x")
        )
        canvas.text(x, 186, name, size=10, weight="bold")
    return canvas.figure
