"""What goes in: positions, patches of images, and text as a product of conditionals."""

import functools
import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from drawings.canvas import Canvas, scientific
from drawings.learned import from_seed
from throughtime.data.builtin import python_docs
from throughtime.data.images import load_digits
from throughtime.inspect.drawing import Figure, floats
from throughtime.inspect.theme import Theme
from throughtime.layers import ImagePatches, SelfAttention
from throughtime.layers.position import sinusoidal
from throughtime.models.ngram import NGram
from throughtime.shapes import Float, Tensor

ORDERS = (("dog", "bites", "man"), ("man", "bites", "dog"))
PLACES, FEATURES = 60, 32
DIGIT = 3
PHRASE = "a value that returns"
ORDER = 5


class Orders(NamedTuple):
    """What attention gives for the same words in two orders.

    Attributes:
        outputs: for each order, `[words, features]`.
        difference: the largest by which the output of a word differs between them.
    """

    outputs: tuple[Float[Tensor, "words features"], Float[Tensor, "words features"]]
    difference: float


@from_seed(1)
def orders(position: str) -> Orders:
    """The same three vectors in two orders."""
    vectors = dict(zip(ORDERS[0], torch.randn(3, 6).double(), strict=True))
    layer = SelfAttention(6, heads=1, causal=False, position=position).double()
    with torch.no_grad():
        first, second = (
            layer(torch.stack([vectors[word] for word in order]).unsqueeze(0))[0][0]
            for order in ORDERS
        )
    moved = [ORDERS[1].index(word) for word in ORDERS[0]]
    return Orders((first, second), float((first - second[moved]).abs().max()))


def positions(theme: Theme) -> Figure:
    """Order is lost without positions; the sinusoids that tell it."""
    without, told = orders("none"), orders("sinusoidal")
    canvas = Canvas(
        theme, 424, "Without positions attention does not see the order",
        "cells: what self-attention gives for each word, in two orders of the same three",
    )  # fmt: skip
    for x, name, seen in ((126, "without positions", without), (378, "with positions", told)):
        canvas.text(x, 376, name, size=10, weight="bold")
        for y, up, order, output in ((340, 17, ORDERS[0], seen.outputs[0]),
                                     (276, -17, ORDERS[1], seen.outputs[1])):  # fmt: skip
            for place, word in enumerate(order):
                column = x + 76 * (place - 1)
                canvas.table(column, y, output[place], (11, 14), scale=1.2)
                canvas.text(column, y + up, word, "input", size=10)
        for place, word in enumerate(ORDERS[0]):
            ends = x + 76 * (place - 1), x + 76 * (ORDERS[1].index(word) - 1)
            canvas.wire([(ends[0], 331), (ends[1], 285)], "plain", 1.2, head=False)
        words = f"a word’s output differs by at most {scientific(seen.difference)}"
        canvas.text(x, 238, words, "ink" if seen is told else "attention")
    _sinusoids(canvas)
    return canvas.figure


def _sinusoids(canvas: Canvas) -> None:
    """All of them as a map, three as curves."""
    waves = floats(sinusoidal(torch.arange(PLACES), FEATURES, torch.float64))  # (T, D)
    canvas.text(126, 206, "sinusoidal positions", size=10, weight="bold")
    canvas.text(378, 206, "three of the features", size=10, weight="bold")
    ax = canvas.plot(36, 40, 202, 152)
    negative, positive = (canvas.shade(sign) for sign in (-1.0, 1.0))
    ax.imshow(waves.T, aspect="auto", cmap=canvas.scale(negative, positive), vmin=-1, vmax=1,
              interpolation="nearest")  # fmt: skip
    ax.grid(visible=False)
    ax.set_yticks([0, 15, 31], ["1", "16", "32"])
    canvas.text(11, 116, "feature", "muted", rotation=90)
    curves = canvas.plot(286, 40, 156, 152)
    for feature, line in ((4, "-"), (8, "--"), (12, ":")):
        curves.plot(waves[:, feature], linestyle=line, color=canvas.colour("input"), linewidth=1.6)
        canvas.text(447, 116 + 69 * float(waves[-1, feature]), f"feature {feature + 1}", "input",
                    ha="left")  # fmt: skip
    curves.set(ylim=(-1.1, 1.1), yticks=(-1, 0, 1), xlim=(0, PLACES - 1))
    for each, middle in ((ax, 137), (curves, 364)):
        each.set_xticks([0, 20, 40])
        canvas.text(middle, 14, "position", "muted")


class Cut(NamedTuple):
    """An image and its patches.

    Attributes:
        image: `[height, width]`, 0 to 1.
        patches: `[steps, pixels]`.
        grid: rows and columns of patches.
        label: what it shows.
    """

    image: NDArray[np.float32]
    patches: Float[Tensor, "steps pixels"]
    grid: tuple[int, int]
    label: str


@functools.cache
def cut() -> Cut:
    """Cut a handwritten digit as the vision Transformer does."""
    digits = load_digits()
    image = torch.tensor(digits.values[DIGIT]).float() / 255  # (1, 8, 8)
    layer, label = ImagePatches((8, 8), 2), digits.labels[DIGIT] if digits.labels else ""
    return Cut(image[0].numpy(), layer(image.unsqueeze(0))[0], layer.grid, label)


def patches(theme: Theme) -> Figure:
    """An image, its patches, and the sequence that they are."""
    seen = cut()
    rows, columns = seen.grid
    steps, pixels = seen.patches.shape
    canvas = Canvas(
        theme, 262, f"An image of {seen.image.size} pixels is a sequence of {steps} patches",
        f"a handwritten {seen.label}, cut into squares of {pixels} pixels, row after row",
    )  # fmt: skip
    canvas.table(72, 142, seen.image, 16, "input", gap=1)
    for row in range(rows):
        for column in range(columns):
            patch = seen.patches[row * columns + column].reshape(2, 2)
            canvas.table(199 + 36 * column, 196 - 36 * row, patch, 14.5, "input", gap=1)
    canvas.arrow((142, 142), (176, 142), "plain", 1.6)
    canvas.arrow((325, 142), (348, 142), "plain", 1.6)
    tokens = [f"{step + 1}" if step in (0, steps - 1) else "" for step in range(steps)]
    canvas.table(426, 142, seen.patches.T, (9, 24), "input", gap=0.8, columns=tokens)
    for x, words in ((72, f"image, {rows * 2} × {columns * 2}"),
                     (253, f"{rows} × {columns} patches"),
                     (426, f"sequence [{steps}, {pixels}]")):  # fmt: skip
        canvas.text(x, 62, words, size=10)
    canvas.text(4, 18, "each patch $x_{ij}$ becomes a vector, and is told where it lies:   "
                "$y_{ij} = W\\,\\mathrm{vec}(x_{ij}) + b + p_{ij}$", ha="left",
                size=10)  # fmt: skip
    return canvas.figure


class Read(NamedTuple):
    """A phrase and what a model expected at each letter.

    Attributes:
        chances: p(x_t | all before).
        characters: of the model's vocabulary.
        trained: characters that it was counted on.
    """

    chances: list[float]
    characters: int
    trained: int


@functools.cache
def read() -> Read:
    """Count n-grams of the reference of Python, and read a phrase that is not in it."""
    text = python_docs()
    letters = sorted({*text, *PHRASE})
    ids = {letter: place for place, letter in enumerate(letters)}
    model = NGram(ORDER, len(letters)).fit(torch.tensor([[ids[letter] for letter in text]]))
    # What stands before the phrase is a space: it begins a word.
    x = torch.tensor([[ids[letter] for letter in " " + PHRASE]])
    chances = model.log_prob(x)[0, 1:].exp().tolist()
    return Read(chances, len(letters), len(text))


def probability(theme: Theme) -> Figure:
    """The chance of each character given those before, and their product."""
    seen = read()
    whole = math.prod(seen.chances)
    mean = whole ** (1 / len(PHRASE))
    canvas = Canvas(
        theme, 290, f"The probability of a text is a product: {scientific(whole)}",
        f"{len(PHRASE)} characters, each given those before, by {ORDER}-grams of "
        f"{seen.trained:,} characters of Python’s reference",
    )  # fmt: skip
    ax = canvas.plot(34, 70, 462, 150)
    places = range(len(PHRASE))
    ax.bar(places, seen.chances, width=0.72, color=canvas.colour("output"))
    ax.set(ylim=(0, 1.08), yticks=(0, 0.5, 1), xlim=(-0.6, len(PHRASE) - 0.4))
    ax.set_xticks(places, [letter if letter != " " else "␣" for letter in PHRASE], fontsize=11,
                  color=canvas.theme.ink)  # fmt: skip
    for place, chance in enumerate(seen.chances):
        ax.text(place, chance + 0.025, f"{chance:.2f}".removeprefix("0"), ha="center", fontsize=9,
                color=canvas.theme.ink)  # fmt: skip
    canvas.text(4, 238, "$p(x_t\\,|\\,x_1, \\ldots, x_{t-1})$", "output", ha="left", size=10)
    canvas.text(4, 28, f"their product is {scientific(whole)}; their geometric mean is {mean:.2f}, "
                f"a perplexity of {1 / mean:.1f}", ha="left", size=10)  # fmt: skip
    canvas.text(4, 8, f"were all {seen.characters} characters equally likely, it would be "
                f"{seen.characters}", "muted", ha="left")  # fmt: skip
    return canvas.figure
