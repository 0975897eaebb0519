"""Drawings for light and for dark surroundings in HTML, and results that show themselves so."""

import base64
import html
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from throughtime.errors import MissingExtra
from throughtime.inspect.theme import LIGHT, THEMES, Theme
from throughtime.state import write_atomically

if TYPE_CHECKING:
    from throughtime.inspect.drawing import Axes
    from throughtime.inspect.drawing import Figure as Drawing
else:
    Axes = Drawing = Any  # matplotlib is imported where something is drawn

__all__ = ["Showing", "Uris", "draw_both", "in_notebook"]

LARGEST_DRAWING = 60_000
"""Bytes up to which a figure is kept as a drawing; one with more lines is kept as pixels."""

SHARP, COARSE = 160, 110
"""Dots per inch of files, and of pixels in a page."""

Draw = Callable[[Axes, Theme], object]


@dataclass(frozen=True)
class Uris:
    """A figure for both surroundings, as data URIs."""

    light: str
    dark: str


class Showing:
    """Shows itself in a notebook: what it prints, below a drawing that is dark where the screen is.

    Mixed into a class, which says how it is drawn:

        class GradientFlow(Showing):
            def draw(self, ax, theme=LIGHT):
                return draw_gradient_flow(ax, self, theme=theme)

    Without matplotlib there is no drawing, and what it prints is all.
    """

    figure_size = (5.2, 3.4)
    """Width and height in inches."""

    def draw(self, ax: Axes, theme: Theme = LIGHT) -> Axes:
        """Draw it.

        Args:
            ax: where.
            theme: where it will be seen.
        """
        raise NotImplementedError

    def _repr_html_(self) -> str:
        return in_notebook(lambda ax, theme: self.draw(ax, theme), str(self), self.figure_size)


def in_notebook(draw: Draw, words: str, size: tuple[float, float] = (5.2, 3.4)) -> str:
    """A drawing and words as HTML.

    A notebook may be light where the screen is dark, so the drawings bring their own ground.

    Args:
        draw: draws on an `ax` by a theme.
        words: what stands below; they are shown as they are.
        size: width and height in inches.
    """
    below = f'<pre style="white-space: pre; overflow-x: auto">{html.escape(words)}</pre>'
    titles = []

    def titled(ax: Axes, theme: Theme) -> None:
        draw(ax, theme)
        titles.append(ax.get_title(loc="left"))

    try:
        drawn = draw_both(titled, *size, ground=True)
    except MissingExtra:
        return below
    title = html.escape(next(filter(None, [*titles, *words.splitlines()]), ""))
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{drawn.dark}">'
        f'<img src="{drawn.light}" alt="{title}" style="max-width: 100%"></picture>{below}'
    )


def draw_both(
    draw: Draw, width: float, height: float, *, ground: bool = False, file: Path | None = None
) -> Uris:
    """Draw for both surroundings.

    Args:
        draw: draws on an `ax` by a theme.
        width: inches.
        height: inches.
        ground: whether the colour of the surroundings is part of it; else it is transparent.
        file: a PNG of the light one with its ground goes here; None: nowhere.

    Returns:
        SVG, or PNG where that is smaller than a drawing with so many lines.
    """
    from throughtime.inspect import drawing

    found = {}
    for theme in THEMES:
        figure, ax = drawing.new(theme, width, height)
        draw(ax, theme)
        kind, data = "svg+xml", _bytes(figure, theme, "svg", ground=ground)
        figure.set_layout_engine("none")  # everything has its place now
        if len(data) > LARGEST_DRAWING:
            kind, data = "png", _bytes(figure, theme, "png", dpi=COARSE, ground=ground)
        found[theme.name] = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
        if file is not None and theme is LIGHT:
            write_atomically(file, _bytes(figure, theme, "png", dpi=SHARP, ground=True))
    return Uris(found["light"], found["dark"])


def _bytes(figure: Drawing, theme: Theme, kind: str, *, ground: bool, dpi: int = 72) -> bytes:
    from throughtime.inspect import drawing

    if kind == "svg":
        drawn = drawing.to_svg(figure)
        if ground:
            begin = drawn.index(">", drawn.index("<svg")) + 1
            below = f'<rect width="100%" height="100%" fill="{theme.surface}"/>'
            drawn = f"{drawn[:begin]}{below}{drawn[begin:]}"
        return drawn.encode()
    figure.patch.set_alpha(1 if ground else 0)
    figure.patch.set_facecolor(theme.surface)
    buffer = io.BytesIO()
    with drawing.style():
        figure.savefig(buffer, format=kind, dpi=dpi)
    return buffer.getvalue()
