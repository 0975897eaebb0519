"""A sheet to draw on: boxes, arrows, wires, cells and tables, measured in points."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, PathPatch, Rectangle
from matplotlib.path import Path
from numpy.typing import ArrayLike

from throughtime.inspect.drawing import Axes, Figure, LinearSegmentedColormap, floats, style
from throughtime.inspect.theme import Theme, contrast

WIDTH = 504.0
"""Of every drawing: 672 pixels in a browser."""
SMALL = 9.0
"""The least size of letters."""
BELOW_ZERO = 6
"""The place in the palette of values below zero; those above have that of the state."""

ROLES = {"state": 0, "gate": 1, "input": 2, "attention": 3, "gradient": 4, "output": 5}
"""The same thing has the same colour in every drawing: places in the palette."""

Point = tuple[float, float]


def role(theme: Theme, name: str) -> str:
    """The colour of a role; `plain` is for what has none."""
    return theme.baseline if name == "plain" else theme.palette[ROLES[name]]


def mix(colour: str, surface: str, share: float) -> str:
    """A share of a colour on a surface.

    Examples:
        >>> mix("#000000", "#ffffff", 0.5)
        '#808080'
    """
    pairs = [(int(colour[k : k + 2], 16), int(surface[k : k + 2], 16)) for k in (1, 3, 5)]
    return "#" + "".join(f"{round(share * a + (1 - share) * b):02x}" for a, b in pairs)


class Box(NamedTuple):
    """Where something was drawn; its sides are where arrows begin and end."""

    x: float
    y: float
    width: float
    height: float

    @property
    def left(self) -> Point:
        """The middle of the left side."""
        return self.x - self.width / 2, self.y

    @property
    def right(self) -> Point:
        """The middle of the right side."""
        return self.x + self.width / 2, self.y

    @property
    def top(self) -> Point:
        """The middle of the upper side."""
        return self.x, self.y + self.height / 2

    @property
    def bottom(self) -> Point:
        """The middle of the lower side."""
        return self.x, self.y - self.height / 2


class Canvas:
    """A transparent sheet of 504 points by `height` with a title; the origin is bottom left.

    Args:
        theme: where it will be seen.
        height: in points, the title's 40 included.
        title: what is found.
        below: a lesser line below it.
    """

    def __init__(self, theme: Theme, height: float, title: str, below: str = "") -> None:
        with style():
            self.figure = Figure(figsize=(WIDTH / 72, height / 72))
            self.ax = self.figure.add_axes((0, 0, 1, 1))
        self.figure.patch.set_alpha(0)
        self.ax.set(xlim=(0, WIDTH), ylim=(0, height))
        self.ax.axis("off")
        self.theme = theme
        self.height = height
        self.text(4, height - 10, title, size=11, ha="left", weight="bold")
        self.text(4, height - 26, below, "muted", ha="left", size=9.5)

    def colour(self, name: str) -> str:
        """Of a role, or of `ink`, `muted`, `grid`."""
        if name in ("ink", "muted", "grid", "surface"):
            return getattr(self.theme, name)
        return role(self.theme, name)

    def text(
        self, x: float, y: float, words: str, colour: str = "ink", size: float = SMALL, **more: Any
    ) -> None:
        """Letters, in the middle of (x, y) unless `ha` or `va` say otherwise."""
        options = {"ha": "center", "va": "center", "zorder": 5, **more}
        self.ax.text(x, y, words, color=self.colour(colour), fontsize=size, **options)

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        words: str = "",
        colour: str = "plain",
        *,
        size: float = SMALL,
        filled: float = 0.14,
        dashed: bool = False,
        zorder: float = 2,
    ) -> Box:
        """A rounded box with its middle at (x, y)."""
        edge = self.colour(colour)
        shape = FancyBboxPatch(
            (x - width / 2, y - height / 2), width, height,
            boxstyle="round,pad=0,rounding_size=5", linewidth=1.1, edgecolor=edge,
            facecolor=mix(edge, self.theme.surface, filled) if filled else "none",
            linestyle=(0, (4, 3)) if dashed else "-", zorder=zorder,
        )  # fmt: skip
        self.ax.add_patch(shape)
        if words:
            self.text(x, y, words, size=size)
        return Box(x, y, width, height)

    def circle(
        self, x: float, y: float, radius: float, words: str = "", colour: str = "plain",
        *, size: float = SMALL, filled: float = 0.14,
    ) -> Box:  # fmt: skip
        """A circle with words in it."""
        edge = self.colour(colour)
        face = mix(edge, self.theme.surface, filled)
        self.ax.add_patch(
            Circle((x, y), radius, facecolor=face, edgecolor=edge, linewidth=1.1, zorder=3)
        )
        self.text(x, y, words, size=size)
        return Box(x, y, 2 * radius, 2 * radius)

    def arrow(
        self, start: Point, end: Point, colour: str = "plain", width: float = 1.1,
        *, bend: float = 0.0, dashed: bool = False, zorder: float = 1.5,
    ) -> None:  # fmt: skip
        """From one point to another, straight or bent to one side."""
        self.ax.add_patch(
            FancyArrowPatch(
                start, end, arrowstyle="-|>", mutation_scale=6 + 2.2 * width, linewidth=width,
                color=self.colour(colour), shrinkA=0, shrinkB=0, zorder=zorder,
                connectionstyle=f"arc3,rad={bend}", linestyle=(0, (3, 2)) if dashed else "-",
            )
        )  # fmt: skip

    def wire(
        self, points: Sequence[Point], colour: str = "plain", width: float = 1.1,
        *, head: bool = True, corner: float = 6.0, zorder: float = 1.5, dashed: bool = False,
    ) -> None:  # fmt: skip
        """Along points with round corners, with a head at the end."""
        path = _rounded(points, corner)
        paint = self.colour(colour)
        line = (0, (3, 2)) if dashed else "-"
        if head:
            patch: Any = FancyArrowPatch(
                path=path, arrowstyle="-|>", mutation_scale=6 + 2.2 * width, linewidth=width,
                color=paint, shrinkA=0, shrinkB=0, zorder=zorder, linestyle=line,
            )  # fmt: skip
        else:
            patch = PathPatch(
                path, facecolor="none", edgecolor=paint, linewidth=width, zorder=zorder,
                capstyle="round", linestyle=line,
            )  # fmt: skip
        self.ax.add_patch(patch)

    def dot(self, x: float, y: float, colour: str) -> None:
        """Where a wire branches."""
        self.ax.add_patch(Circle((x, y), 2.6, color=self.colour(colour), zorder=2.5))

    def shade(self, value: float, colour: str | None = None) -> str:
        """From the surface to a role's colour; without one, two colours for the two signs."""
        if colour is None:
            paint = self.theme.palette[BELOW_ZERO] if value < 0 else self.colour("state")
        else:
            paint = self.colour(colour)
        return mix(paint, self.theme.surface, min(abs(value), 1.0))

    def scale(self, low: str, high: str) -> LinearSegmentedColormap:
        """Shades from one colour over the surface to another."""
        return LinearSegmentedColormap.from_list("values", [low, self.theme.surface, high])

    def on(self, shade: str) -> str:
        """Ink or surface, whichever is easier to read on a shade."""
        return max(self.theme.ink, self.theme.surface, key=lambda ink: contrast(ink, shade))

    def table(
        self, x: float, y: float, values: ArrayLike, cell: float | tuple[float, float],
        colour: str | None = None, *, form: str = "", rows: Sequence[str] = (),
        columns: Sequence[str] = (), scale: float = 1.0, gap: float = 1.2, size: float = SMALL,
    ) -> Box:  # fmt: skip
        """A matrix as shaded cells with its middle at (x, y), with numbers if `form` is given.

        Args:
            x: of the middle, in points.
            y: likewise.
            values: `[rows, columns]`, the first row on top; NaN is left out.
            cell: width and height of one.
            colour: a role; None: two colours for the two signs.
            form: of the numbers, as in `.2f`.
            rows: names at the left.
            columns: names on top.
            scale: the value that has the full colour.
            gap: between cells, in points.
            size: of the numbers and names.
        """
        seen = np.atleast_2d(floats(values))
        wide, high = (cell, cell) if isinstance(cell, int | float) else cell
        height, width = seen.shape[0] * high, seen.shape[1] * wide
        left, top = x - width / 2, y + height / 2
        for (row, column), value in np.ndenumerate(seen):
            if np.isnan(value):
                continue
            paint = self.shade(value / scale, colour)
            corner = left + column * wide + gap / 2, top - (row + 1) * high + gap / 2
            self.ax.add_patch(
                Rectangle(
                    corner, wide - gap, high - gap, facecolor=paint, zorder=3,
                    edgecolor=mix(self.theme.muted, self.theme.surface, 0.55), linewidth=0.5,
                )
            )  # fmt: skip
            if form:
                self.ax.text(
                    corner[0] + (wide - gap) / 2, corner[1] + (high - gap) / 2,
                    number(value, form), color=self.on(paint), fontsize=size,
                    ha="center", va="center_baseline", zorder=5,
                )  # fmt: skip
        for row, name in enumerate(rows):
            self.text(left - 4, top - (row + 0.5) * high, name, ha="right", size=size)
        for column, name in enumerate(columns):
            self.text(left + (column + 0.5) * wide, top + 7, name, size=size)
        return Box(x, y, width, height)

    def bar(
        self, x: float, y: float, width: float, height: float, colour: str, filled: float = 1.0
    ) -> None:
        """A bar that stands on (x, y)."""
        edge = self.colour(colour)
        self.ax.add_patch(
            Rectangle(
                (x - width / 2, y), width, height, linewidth=0.7, edgecolor=edge,
                facecolor=mix(edge, self.theme.surface, filled), zorder=3,
            )
        )  # fmt: skip

    def plot(self, left: float, bottom: float, width: float, height: float) -> Axes:
        """Axes of their own on the sheet, quiet, with letters of the least size."""
        with style():
            ax = self.figure.add_axes(
                (left / WIDTH, bottom / self.height, width / WIDTH, height / self.height)
            )
        ax.patch.set_alpha(0)
        ax.spines[:].set_visible(False)
        ax.tick_params(colors=self.theme.muted, length=0, labelsize=SMALL)
        ax.grid(visible=True, axis="y", color=self.theme.grid, linewidth=0.8)
        ax.set_axisbelow(True)
        return ax


def number(value: float, form: str = ".2f") -> str:
    """A number with a real minus sign, and none before zero.

    Examples:
        >>> number(-0.251), number(-0.001)
        ('−0.25', '0.00')
    """
    words = format(value, form)
    if float(words) == 0:
        words = words.lstrip("-")
    return words.replace("-", "−")


def scientific(value: float) -> str:
    """A number as one would write it by hand.

    Examples:
        >>> scientific(0.25), scientific(0.00004), scientific(31), scientific(123456), scientific(0)
        ('0.25', '4·10⁻⁵', '31', '1·10⁵', '0')
    """
    if value == 0:
        return "0"
    if 0.01 <= abs(value) < 10_000:
        return number(value, ".2f" if abs(value) < 10 else ".0f")
    digits, power = f"{value:.0e}".split("e")
    raised = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{digits.replace('-', '−')}·10{raised}"


def _rounded(points: Sequence[Point], corner: float) -> Path:
    """A path along points whose corners are quarter bends."""
    vertices, codes = [points[0]], [Path.MOVETO]
    for before, here, after in zip(points, points[1:], points[2:], strict=False):
        vertices += [_towards(here, before, corner), here, _towards(here, after, corner)]
        codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
    return Path([*vertices, points[-1]], [*codes, Path.LINETO])


def _towards(here: Point, there: Point, length: float) -> Point:
    """A point on the way, at most half of it away."""
    across, up = there[0] - here[0], there[1] - here[1]
    distance = (across**2 + up**2) ** 0.5
    share = min(length / distance, 0.5) if distance else 0.0
    return here[0] + share * across, here[1] + share * up
