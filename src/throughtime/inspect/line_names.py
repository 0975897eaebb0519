"""Names of lines where they end, instead of a legend."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from throughtime.inspect.drawing import Axes
else:
    Axes = Any  # matplotlib is imported where something is drawn

APART = 11.0
"""Points between the middles of two names, at least."""


def name_ends(ax: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Write names beside the right end of the axes, in the order of their lines, none over another.

    Args:
        ax: drawn, with its limits set.
        ends: of each line the value where it ends, its name and its colour.
    """
    figure = ax.get_figure()
    assert figure is not None
    ends = sorted(ends)
    heights = [
        float(ax.transData.transform((1.0, value))[1]) * 72 / figure.dpi for value, *_ in ends
    ]
    for (value, name, colour), height, place in zip(
        ends, heights, spread_out(heights), strict=True
    ):
        ax.annotate(
            name, (1, value), xycoords=("axes fraction", "data"), xytext=(5, place - height),
            textcoords="offset points", color=colour, fontsize=8, va="center", parse_math=False,
        )  # fmt: skip


def spread_out(heights: Sequence[float], apart: float = APART) -> list[float]:
    """Ascending places, none too near to the next, each heap of them around its own middle.

    Examples:
        >>> spread_out([0.0, 4.0, 40.0], apart=10.0)
        [-3.0, 7.0, 40.0]
    """
    heaps: list[list[float]] = []  # of heights that share a heap
    for height in heights:
        heaps.append([height])
        while len(heaps) > 1 and _bottom(heaps[-1], apart) - _top(heaps[-2], apart) < apart:
            last = heaps.pop()
            heaps[-1] += last
    return [_bottom(heap, apart) + apart * at for heap in heaps for at in range(len(heap))]


def _bottom(heap: Sequence[float], apart: float) -> float:
    return math.fsum(heap) / len(heap) - apart * (len(heap) - 1) / 2


def _top(heap: Sequence[float], apart: float) -> float:
    return _bottom(heap, apart) + apart * (len(heap) - 1)
