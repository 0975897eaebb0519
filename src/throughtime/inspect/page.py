"""One sequence to point at: a page that holds everything itself, and its figures beside it.

The page needs no network. Its one script reads numbers that stand in the page; where no
script runs, drawings show the same.
"""

import base64
import hashlib
import html
import json
import os
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from throughtime.errors import MissingExtra
from throughtime.inspect.panels import Figure, Looked
from throughtime.inspect.showing import draw_both
from throughtime.inspect.theme import DARK, LIGHT, Theme
from throughtime.state import write_atomically

try:
    import jinja2
    from markupsafe import Markup
except ImportError:
    raise MissingExtra("throughtime.inspect.page", "jinja2", "cli") from None

__all__ = ["Page", "make_page", "write_page"]


SCRIPTS = tuple(
    resources.files("throughtime.inspect").joinpath(name) for name in ("page.js", "page_panels.js")
)
"""What the page's one script is made of."""


@dataclass(frozen=True)
class Drawn:
    """A figure as data of the page, for both surroundings."""

    light: str
    dark: str
    words: str
    wide: bool


@dataclass(frozen=True)
class Page:
    """A page that shows itself in a notebook, in a frame of its own.

    Attributes:
        html: the whole page.
        looked: what it shows.
        figures: the files that were drawn.
    """

    html: str
    looked: Looked
    figures: tuple[Path, ...] = ()

    def _repr_html_(self) -> str:
        return (
            f'<iframe sandbox="allow-scripts" srcdoc="{html.escape(self.html)}" '
            f'title="{html.escape(self.looked.title)}" '
            'style="width: 100%; height: 48rem; border: 0"></iframe>'
        )


def write_page(folder: str | os.PathLike[str], looked: Looked) -> Page:
    """Write `index.html`, and each figure as a PNG beside it; those of an earlier page go.

    Args:
        folder: where; it is made.
        looked: what the page shows. Text in it is text: nothing is read as HTML or as a script.

    Returns:
        The page, which also shows itself in a notebook.
    """
    path = Path(folder) / "index.html"
    before = _figures_of(path)
    page = make_page(looked, Path(folder))
    write_atomically(path, page.html.encode())
    for name in before - {file.name for file in page.figures}:
        (Path(folder) / name).unlink(missing_ok=True)
    return page


def _figures_of(path: Path) -> set[str]:
    """The figures beside an earlier page: what is not drawn anew would be of another sequence."""
    if not path.is_file():
        return set()
    found = re.search('<meta name="figures" content="([^"]*)">', path.read_text("utf-8", "replace"))
    return {name for name in found[1].split("/") if name.endswith(".png")} if found else set()


def make_page(looked: Looked, folder: Path | None = None) -> Page:
    """The page itself.

    Args:
        looked: what it shows.
        folder: where its figures are written as files; None: nowhere.

    Examples:
        >>> from throughtime.inspect.panels import Part
        >>> page = make_page(Looked("Nothing yet", (), (), (Part("First", "a < b"),)))
        >>> "<h2>First</h2>" in page.html, "a &lt; b" in page.html
        (True, True)
    """
    files: list[Path] = []
    sections = []
    panels = 0
    for part in looked.parts:
        drawn = [(figure, draw_figure(figure, folder, files)) for figure in part.figures]
        sections.append(
            {
                "part": part,
                "panel": None if part.panel is None else panels,
                "instead": [one for figure, one in drawn if figure.instead],
                "always": [one for figure, one in drawn if not figure.instead],
            }
        )
        panels += part.panel is not None
    script = "\n".join(resource.read_text("utf-8") for resource in SCRIPTS)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("throughtime.inspect", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    text = environment.get_template("page.html.j2").render(
        looked=looked,
        sections=sections,
        light=_variables(LIGHT),
        dark=_variables(DARK),
        script=Markup(script),  # our own file, word for word
        hash=_hash(script),
        files="/".join(path.name for path in files),
        data=Markup(safe_json(looked.to_json())),
    )
    return Page(text, looked, tuple(files))


def draw_figure(figure: Figure, folder: Path | None, files: list[Path]) -> Drawn:
    """Draw for both surroundings, and as a file for light ones.

    Args:
        figure: what to draw.
        folder: where the file goes; None: nowhere.
        files: those that are there already; the new one is added.
    """
    path = None if folder is None else folder / f"{_unused(figure.name, files)}.png"
    drawn = draw_both(figure.draw, figure.width, figure.height, file=path)
    if path is not None:
        files.append(path)
    return Drawn(drawn.light, drawn.dark, figure.words, figure.wide)


def safe_json(values: Any) -> str:
    r"""JSON that can stand between tags: no letter in it ends a script or begins a comment.

    Examples:
        >>> safe_json({"text": "</script>"})
        '{"text":"\\u003c/script\\u003e"}'
    """
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    # Half a character, as a piece of a text may end with, is no UTF-8.
    return re.sub("[\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)


def _unused(words: str, files: list[Path]) -> str:
    """A file name out of any words, and another one for every figure."""
    plain = re.sub(r"[^\w]+", "-", words.casefold()).strip("-")[:80] or "figure"
    name, number = plain, 1
    while name in {path.stem for path in files}:
        number += 1
        name = f"{plain}-{number}"
    return name


def _hash(script: str) -> str:
    """What the page says its script is; a browser runs no other one."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def _variables(theme: Theme) -> dict[str, str]:
    found = {name: getattr(theme, name) for name in ("surface", "ink", "muted", "grid")}
    found |= {f"c{place}": colour for place, colour in enumerate(theme.palette)}
    return found | {"hot": theme.palette[0], "cold": theme.palette[1]}
