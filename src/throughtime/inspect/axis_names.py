"""Names along a figure's axes: of steps and of units."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from unicodedata import east_asian_width

from throughtime.inspect.theme import Theme

if TYPE_CHECKING:
    from throughtime.inspect.drawing import Axes
else:
    Axes = Any  # matplotlib is imported where something is drawn

__all__ = ["name_rows", "name_steps", "visible", "width"]

POINTS = 0.7
"""The width of a letter and of what stands between two, as a share of its size."""


def visible(token: str) -> str:
    """A token whose white space can be seen."""
    return token.replace(" ", "␣").replace("\n", "↵").replace("\t", "⇥").replace("\r", "←")


def width(words: str) -> int:
    """In letters; those of East Asia are twice as wide."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in words)


def name_rows(ax: Axes, units: Sequence[int]) -> None:
    """As many of their numbers as fit."""
    figure = ax.get_figure()
    assert figure is not None
    height = 72 * ax.get_window_extent().height / figure.dpi  # points
    every = max(math.ceil(8 * len(units) / max(height, 1)), 1)
    shown = range(0, len(units), every)
    ax.set_yticks(shown, [str(units[row]) for row in shown])
    ax.tick_params(axis="y", labelsize=7)


def name_steps(ax: Axes, theme: Theme, time: int, steps: Sequence[Any] | None) -> None:
    """The name of each step where there is room for all of them, else of some, or their numbers."""
    from throughtime.inspect.drawing import MaxNLocator

    figure = ax.get_figure()
    assert figure is not None
    room = 0.85 * 72 * ax.get_window_extent().width / figure.dpi / time  # points of each step
    names = None if steps is None else [visible(str(step)) for step in steps]
    if names is None:
        ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        ax.set_xlabel("step", color=theme.muted, fontsize=8.5)
        return
    letters = max((len(name) + width(name)) / 2 for name in names)  # wide ones are drawn 1.5 wide
    for size, turned in ((8.5, 0), (6.5, 0), (6.5, 90)):
        if room >= (size if turned else POINTS * size * letters):
            every = 1
            break
    else:
        size, turned = 8.5, 0
        every = math.ceil(POINTS * size * (letters + 1) / room)
    some = range(0, time, every)
    if every > 1 and letters < 2:  # letters without their neighbours say nothing
        return name_steps(ax, theme, time, None)
    ax.set_xticks(some, [names[at] for at in some], parse_math=False, rotation=turned)
    ax.tick_params(axis="x", labelsize=size)
