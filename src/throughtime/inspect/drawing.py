"""What all figures share: fonts, quiet axes, a legend that fits, and files."""

import functools
import io
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np

from throughtime.errors import MissingExtra
from throughtime.inspect.theme import LIGHT, Theme

try:
    import matplotlib
    from matplotlib import dates, font_manager
    from matplotlib.axes import Axes
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator
    from matplotlib.transforms import ScaledTranslation
except ImportError:
    raise MissingExtra("throughtime.inspect.figures", "matplotlib", "plots") from None

__all__ = [
    "Axes",
    "Figure",
    "LinearSegmentedColormap",
    "MaxNLocator",
    "dates",
    "dress",
    "floats",
    "legend",
    "new",
    "save",
    "short",
    "style",
    "styled",
    "to_svg",
]

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def style() -> Iterator[None]:
    """Fonts that are installed, text that stays text, and files that are the same each time."""
    wanted = (
        "DejaVu Sans",
        "Noto Sans CJK KR",
        "NanumGothic",
        "NanumSquareRound",
        "NanumGothicCoding",
        "Malgun Gothic",
        "Apple SD Gothic Neo",
    )
    there = {font.name for font in font_manager.fontManager.ttflist}
    settings: dict[Any, Any] = {
        "font.family": [name for name in wanted if name in there] or ["sans-serif"],
        "font.size": 9,
        "svg.fonttype": "none",  # text stays text: it can be searched, and shrinks with grace
        "svg.hashsalt": "throughtime",  # the same figure gives the same file
        "axes.unicode_minus": True,
        "path.simplify": True,
    }
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # A name in a script that no installed font has is shown by the reader's browser.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Draw in that style whatever the caller's settings are."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> T:
        with style():
            return draw(*args, **kwargs)

    return drawn


def new(theme: Theme = LIGHT, width: float = 4.2, height: float = 2.9) -> tuple[Figure, Axes]:
    """An empty figure with one `ax`; sizes in inches. No window, no global state."""
    with style():
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots()


def dress(
    ax: Axes, theme: Theme, title: str, below: str = "", x: str = "", y: str = "", grid: str = "y"
) -> None:
    """Title at the left with a lesser line below it, labels, a quiet grid and no box."""
    figure = ax.get_figure()
    assert figure is not None
    figure.patch.set_alpha(0)
    ax.patch.set_alpha(0)
    text: dict[str, Any] = {"parse_math": False}  # a name may hold a dollar sign
    pad = 20 if below else 8
    ax.set_title(
        short(title, 46),
        loc="left",
        color=theme.ink,
        fontsize=10,
        fontweight="bold",
        pad=pad,
        **text,
    )
    if below:
        note = ax.annotate(
            short(below, 60), (0, 1), xytext=(0, 6),
            xycoords="axes fraction", textcoords="offset points",
            color=theme.muted, fontsize=8.5, **text,
        )  # fmt: skip
        note.set_in_layout(False)  # its height is the title's pad; its length must not squeeze
    ax.set_xlabel(x, color=theme.muted, fontsize=8.5, **text)
    ax.set_ylabel(y, color=theme.muted, fontsize=8.5, **text)
    ax.tick_params(colors=theme.muted, length=0, labelsize=8.5)
    ax.xaxis.get_offset_text().set_color(theme.muted)
    ax.yaxis.get_offset_text().set_color(theme.muted)
    ax.spines[:].set_visible(False)
    ax.set_axisbelow(True)
    ax.grid(visible=True, axis=grid, color=theme.grid, linewidth=0.8)  # pyright: ignore


def legend(ax: Axes, theme: Theme, order: Sequence[str] = ()) -> None:
    """Below the axis and its label, in as many columns as fit a narrow figure."""
    handles, labels = ax.get_legend_handles_labels()
    if order:
        handles = [handles[labels.index(label)] for label in order]
        labels = list(order)
    labels = [short(label, 40) for label in labels]
    columns = columns_that_fit([30 + 4.6 * len(label) for label in labels], 255.0)  # points
    figure = ax.get_figure()
    assert figure is not None
    below = ax.get_xlabel() or isinstance(
        ax.xaxis.get_major_formatter(), dates.ConciseDateFormatter
    )
    down = 34 if below else 20  # points
    drawn = ax.legend(
        handles, labels, loc="upper left", bbox_to_anchor=(0, 0), ncols=columns, frameon=False,
        bbox_transform=ax.transAxes + ScaledTranslation(0, -down / 72, figure.dpi_scale_trans),
        fontsize=8, labelcolor=theme.ink, handlelength=1.8, columnspacing=1.2,
        borderpad=0, borderaxespad=0,
    )  # fmt: skip
    for text in drawn.get_texts():
        text.set_parse_math(False)


def columns_that_fit(widths: Sequence[float], room: float) -> int:
    """The most columns whose widest entries stand beside each other.

    matplotlib fills them from top to bottom and gives the first columns one entry more.
    """
    for columns in range(len(widths), 1, -1):
        parts = np.array_split(np.asarray(widths, dtype=float), columns)
        if sum(part.max() for part in parts) <= room:
            return columns
    return 1


def floats(values: Any) -> np.ndarray:
    """Numbers of any kind as an array that can hold gaps."""
    return np.asarray(values, dtype=float)


def short(words: str, letters: int) -> str:
    """At most so many letters."""
    return words if len(words) <= letters else f"{words[: letters - 1]}…"


def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure in the format that the file's ending says: transparent, the same each time."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with style():
        nothing = {"Date": None} if path.suffix == ".svg" else {}
        figure.savefig(path, dpi=160, transparent=True, metadata=nothing)
    return path


def to_svg(figure: Figure) -> str:
    """A figure as the text of an SVG image, its letters in the reader's own fonts."""
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    drawn = buffer.getvalue().decode()
    return drawn.replace("'DejaVu Sans'", "system-ui, 'DejaVu Sans'")
