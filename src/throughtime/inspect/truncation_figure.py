"""A picture of what truncation costs by window length, and of the window to choose."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from throughtime.inspect.line_names import name_ends
from throughtime.inspect.theme import LIGHT, Theme
from throughtime.inspect.window_bias import NOTHING, WANTED, TruncationReport, percent

if TYPE_CHECKING:
    from throughtime.inspect.drawing import Axes
else:
    Axes = Any  # matplotlib is imported where something is drawn

__all__ = ["draw_truncation"]


def draw_truncation(
    ax: Axes,
    report: TruncationReport,
    *,
    bias: float = WANTED,
    theme: Theme = LIGHT,
) -> Axes:
    """Distance from the exact gradient by window length, both logarithmic; less is better.

    The bias of all parameters with its spread over places, that of the recurrent weights, and
    1 - cosine. A broad band is what the decay of the gradient lets one expect: its lower edge where
    gradients of different steps agree, its upper edge where they are independent. The wanted bias
    is a dashed line, a dot on it the window to choose.

    Args:
        ax: where to draw.
        report: what was measured.
        bias: the one that is wanted.
        theme: where it will be seen.
    """
    from throughtime.inspect.drawing import dress, floats, style

    rows, chosen = report.of(), report.window_for(bias)
    windows = [row.window for row in rows]
    main, second, third = theme.palette[:3]
    lines: list[tuple[str, Sequence[float], dict[str, Any]]] = [
        (
            "bias, all weights",
            [row.bias for row in rows],
            {"color": main, "linewidth": 2.0, "marker": "o"},
        ),
        ("1 − cosine", [1 - row.cosine for row in rows], {"color": second, "marker": "s"}),
    ]
    if "recurrent weights" in report.groups:
        recurrent = [row.bias for row in report.of("recurrent weights")]
        lines.append(("bias, recurrent weights", recurrent, {"color": third, "marker": "^"}))
    with style():
        ends = []
        for name, values, look in lines:
            shown = floats(values)
            shown[~(shown > NOTHING)] = np.nan
            ax.plot(windows, shown, **{"linewidth": 1.4, "markersize": 4, **look})
            if np.isfinite(shown[-1]):
                ends.append((shown[-1], name, look["color"]))
        if report.estimated:
            agreeing, independent = floats([report.estimated[w] for w in windows]).T
            ax.fill_between(windows, agreeing, independent, color=theme.grid, linewidth=0, zorder=0)
            if np.isfinite(independent[-1]):
                ends.append((independent[-1], "expected from decay", theme.muted))
        spread = floats([row.spread for row in rows])
        middle = floats([row.bias for row in rows])
        low = np.maximum(middle - spread, middle / 10)
        ax.fill_between(windows, low, middle + spread, color=main, alpha=0.2, linewidth=0)
        ax.axhline(bias, color=theme.ink, linewidth=1.0, linestyle=(0, (4, 2)))
        ends.append((bias, f"wanted: {percent(bias)}", theme.ink))
        _scales(ax, windows)
        if chosen is not None:
            first = chosen == windows[0]
            ax.plot(chosen, rows[0].bias if first else bias, "o", color=theme.ink, markersize=7)
            ax.annotate(
                f"{chosen} steps", (chosen, rows[0].bias if first else bias),
                xytext=(6, 6) if first else (-6, -6), textcoords="offset points",
                ha="left" if first else "right", va="bottom" if first else "top",
                color=theme.ink, fontsize=8.5, fontweight="bold",
            )  # fmt: skip
        said = f"at least {chosen} steps" if chosen else f"more than {windows[-1]} steps"
        below = f"against {report.span} steps back; mean of {report.places} places"
        title = f"A bias of {percent(bias)} takes {said}"
        dress(ax, theme, title, below, x="window, steps", y="distance from the exact gradient")
        name_ends(ax, ends)
    return ax


def _scales(ax: Axes, windows: Sequence[int]) -> None:
    """Both logarithmic, with the windows named and their ends to the right left free."""
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(windows, [f"{w:,}" for w in windows])
    ax.set_xticks([], minor=True)
    ax.tick_params(which="minor", length=0)
    ax.margins(x=0.03, y=0.12)
