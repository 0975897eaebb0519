"""The guide's figures, drawn when the pages are built: `python docs/draw.py FOLDER` writes them."""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

# The drawings lie beside this file, from wherever it is loaded.
sys.path.insert(0, str(Path(__file__).parent))

from drawings import DRAWINGS, drawing
from drawings.canvas import role

from throughtime import LSTM, RNN, Layer
from throughtime.inspect.drawing import Axes, dress, legend, new, styled, to_svg
from throughtime.inspect.theme import THEMES, Theme


@styled
def state_carrying(ax: Axes, theme: Theme) -> None:
    """The same twelve steps whole, in chunks, and one at a time."""
    rows = (("whole", [12]), ("in chunks", [5, 4, 3]), ("step by step", [1] * 12))
    for row, (name, chunks) in enumerate(rows):
        y, x = -1.5 * row, 0
        ax.text(-0.5, y, name, ha="right", va="center", color=theme.ink, fontsize=9)
        for place, size in enumerate(chunks):
            _box(ax, theme, x + 0.08, y, size - 0.36, theme.baseline)
            for step in range(size):
                middle = x + 0.08 + (size - 0.36) * (step + 0.5) / size
                ax.plot(middle, y, "o", markersize=4, color=theme.baseline)
            x += size
            if place + 1 < len(chunks):
                _arrow(ax, (x - 0.26, y), (x + 0.06, y), role(theme, "state"))
        _arrow(ax, (11.74, y), (12.5, y), role(theme, "state"))
        ax.text(12.6, y, "state", ha="left", va="center", color=role(theme, "state"), fontsize=9)
    ax.set(xlim=(-2.6, 13.6), ylim=(-3.75, 0.6))
    _blank(ax, theme, "One layer, one answer", "each call hands its state (arrow) to the next")


@styled
def truncation(ax: Axes, theme: Theme) -> None:
    """Full and truncated back-propagation: what is carried, and what is cut."""
    state, gradient = role(theme, "state"), role(theme, "gradient")
    for row, (name, cut) in enumerate((("full", False), ("truncated", True))):
        y = -2.4 * row
        ax.text(-0.7, y, name, ha="right", va="center", color=theme.ink, fontsize=9)
        for step in range(9):
            _box(ax, theme, step - 0.3, y, 0.6, theme.baseline)
            if step < 8:
                _arrow(ax, (step + 0.32, y + 0.14), (step + 0.68, y + 0.14), state)
                border = cut and step % 3 == 2
                if border:
                    ax.plot([step + 0.5] * 2, [y - 0.75, y + 0.75], color=theme.ink, linewidth=1.4)
                else:
                    _arrow(ax, (step + 0.68, y - 0.14), (step + 0.32, y - 0.14), gradient)
    ax.plot([], [], color=state, label="state, forwards")
    ax.plot([], [], color=gradient, label="gradient, backwards")
    ax.plot([], [], color=theme.ink, label="cut")
    ax.set(xlim=(-2.3, 8.6), ylim=(-3.4, 0.9))
    _blank(ax, theme, "Truncation cuts the gradient", "the state goes on through every window")
    legend(ax, theme)


@styled
def vanishing(ax: Axes, theme: Theme) -> None:
    """How much of the gradient is left after so many steps back, for fresh layers."""
    torch.manual_seed(0)
    layers = {
        "rnn, sigmoid": RNN(8, 32, activation="sigmoid"),
        "rnn, relu, weights x 1.7": _scaled(RNN(8, 32, activation="relu"), 1.7),
        "rnn, tanh": RNN(8, 32),
        "lstm": LSTM(8, 32),
    }
    dashes = ["-", "--", "-.", ":"]
    places = [2, 1, 3, 0]
    for (name, layer), place, dash in zip(layers.items(), places, dashes, strict=True):
        sizes = gradient_by_distance(layer)
        ax.semilogy(range(len(sizes)), sizes, dash, color=theme.palette[place], label=name)
    ax.set_ylim(1e-8, 1e6)
    title, below = "A gradient is a product over steps", "below 1 it vanishes, above 1 it explodes"
    dress(ax, theme, title, below, x="steps back", y="size, relative to 0 steps back")
    legend(ax, theme)


def gradient_by_distance(layer: Layer, steps: int = 50) -> list[float]:
    """The gradient of the last output by the input so many steps before; 1 for the last input."""
    x = torch.randn(16, steps, 8, requires_grad=True)
    output, _ = layer(x)
    (gradient,) = torch.autograd.grad(output[:, -1].sum(), x)
    sizes = gradient.norm(dim=(0, 2)).flip(0)
    return (sizes / sizes[0]).tolist()


def _scaled(layer: RNN, factor: float) -> RNN:
    with torch.no_grad():
        layer.weight_hidden.mul_(factor)
    return layer


def _box(ax: Axes, theme: Theme, x: float, y: float, width: float, colour: str) -> None:
    ax.add_patch(
        FancyBboxPatch(
            (x, y - 0.4),
            width,
            0.8,
            boxstyle="round,pad=0,rounding_size=0.16",
            facecolor=f"{colour}22",
            edgecolor=colour,
            linewidth=1.1,
        )
    )


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
    ax.add_patch(
        FancyArrowPatch(
            start, end, arrowstyle="-|>", mutation_scale=7, color=colour, shrinkA=0, shrinkB=0
        )
    )


def _blank(ax: Axes, theme: Theme, title: str, below: str) -> None:
    dress(ax, theme, title, below)
    ax.grid(visible=False)
    ax.set(xticks=[], yticks=[])


FIGURES: dict[str, Callable[[Axes, Theme], None]] = {
    "state-carrying": state_carrying,
    "truncation": truncation,
    "vanishing": vanishing,
}


def draw() -> dict[str, str]:
    """File name to SVG, each figure in both themes."""
    drawn = {}
    for name, function in FIGURES.items():
        for theme in THEMES:
            figure, ax = new(theme, width=5.6, height=2.8)
            function(ax, theme)
            drawn[f"{name}-{theme.name}.svg"] = to_svg(figure)
    for name in DRAWINGS:
        for theme in THEMES:
            drawn[f"{name}-{theme.name}.svg"] = to_svg(drawing(name, theme))
    return drawn


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for file, svg in draw().items():
        (folder / file).write_text(svg, encoding="utf-8")
