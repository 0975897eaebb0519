"""What a page of one sequence holds: steps to point at, values at these steps, and figures.

Everything here is plain data, which [`write_page`][throughtime.inspect.page.write_page] shows.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from throughtime.errors import InputError
from throughtime.inspect.theme import Theme

if TYPE_CHECKING:
    from throughtime.inspect.drawing import Axes
else:
    Axes = Any  # matplotlib is imported where something is drawn

__all__ = ["Curves", "Figure", "Foretold", "Heads", "Looked", "Map", "Part", "Steps", "packed"]

LEVELS = 254
"""A number is kept as one of so many equal steps from the lowest to the highest, and the next."""

MARKS = {"<begin>": "▸", "<end>": "◂"}
"""What steps that are no part of a text are drawn as."""

MISSING = 255
"""What stands for a number that is not there."""


@dataclass(frozen=True)
class Steps:
    """A sequence whose steps can be pointed at.

    Args:
        name: what other parts call it.
        title: what it is, in words.
        words: what each step is called: a token, a time, a patch.
        unit: what one step is: `character`, `step`, `patch`.
        line: steps of two sequences with the same line are the same steps, by their numbers.
        form: `joined` where the words make a text as they stand, `apart` where there is a gap
            between them, `times` where they are too long to be shown side by side.
        image: data URI of the image that the steps are patches of; empty for other sequences.
        grid: rows and columns of these patches.
        before: steps that come before the patches, such as a class token.
    """

    name: str
    title: str
    words: tuple[str, ...]
    unit: str = "token"
    line: str = ""
    form: str = "apart"
    image: str = ""
    grid: tuple[int, int] = (0, 0)
    before: int = 0

    def __post_init__(self) -> None:
        patches = self.grid[0] * self.grid[1]
        if self.image and patches + self.before != len(self.words):
            raise InputError(
                f"Steps: grid {self.grid} has {patches} patches and there are {self.before} steps "
                f"before them, expected {len(self.words)} together, as there are words"
            )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "title": self.title,
            "words": list(self.words),
            "unit": self.unit,
            "line": self.line or self.name,
            "form": self.form,
            "image": self.image,
            "grid": list(self.grid),
            "before": self.before,
        }


@dataclass(frozen=True, eq=False)
class Map:
    """One value of one layer: units by steps.

    Args:
        layer: its name in the model.
        name: of the value, such as `forget`.
        values: `[steps, units]`.
        low: the smallest that it can be; a value is cut off below it.
        high: the largest.
        units: the number of each unit, where only some are shown.
    """

    layer: str
    name: str
    values: np.ndarray
    low: float
    high: float
    units: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values; a row is a unit."""
        units = self.units or tuple(range(self.values.shape[1]))
        return {
            "layer": self.layer,
            "name": self.name,
            "units": list(units),
            "values": packed(self.values.T, self.low, self.high),
        }


@dataclass(frozen=True, eq=False)
class Heads:
    """Where the heads of one layer look.

    Args:
        layer: its name in the model.
        weights: `[heads, rows, columns]`.
        rows: the name of the steps that look.
        columns: the name of the steps that are looked at.
        kinds: what each head does, in words; empty: nothing is known of it.
    """

    layer: str
    weights: np.ndarray
    rows: str
    columns: str
    kinds: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "layer": self.layer,
            "rows": self.rows,
            "columns": self.columns,
            "kinds": list(self.kinds),
            "values": packed(self.weights, 0.0, float(np.nanmax(self.weights, initial=0.0)) or 1.0),
        }


@dataclass(frozen=True, eq=False)
class Foretold:
    """Tokens, how likely each was, and what was expected after it.

    Args:
        steps: the name of the tokens.
        probability: of each token by those before it; NaN where that is not known.
        likeliest: for each token which ones were likeliest to follow it, and their probabilities.
        of_itself: whether the likeliest are those for the token itself, and not for the one after.
    """

    steps: str
    probability: np.ndarray
    likeliest: Sequence[Sequence[tuple[str, float]]]
    of_itself: bool = False

    @property
    def bits(self) -> np.ndarray:
        r"""$-\log_2 p$ of each token: its surprise."""
        with np.errstate(divide="ignore"):
            return -np.log2(self.probability)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "kind": "foretold",
            "steps": self.steps,
            "probability": [_rounded(p) for p in self.probability],
            "likeliest": [[[word, _rounded(p)] for word, p in each] for each in self.likeliest],
            "of_itself": self.of_itself,
        }


@dataclass(frozen=True, eq=False)
class Curves:
    """Numbers over steps, as lines.

    Args:
        steps: the name of the steps.
        lines: name to one number for each step, NaN where there is none.
        unit: of the numbers.
        band: name, lower and upper bounds of a band behind the lines; None: there is none.
        label: what is seen, where several can be chosen from.
        low: where the axis begins; None: at the least number.
        high: where it ends.
    """

    steps: str
    lines: dict[str, np.ndarray]
    unit: str = ""
    band: tuple[str, np.ndarray, np.ndarray] | None = None
    label: str = ""
    low: float | None = None
    high: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        band = None
        if self.band is not None:
            name, low, high = self.band
            band = {"name": name, "low": _fine(low), "high": _fine(high)}
        return {
            "label": self.label,
            "unit": self.unit,
            "lines": [[name, _fine(line)] for name, line in self.lines.items()],
            "band": band,
            "low": self.low,
            "high": self.high,
        }


@dataclass(frozen=True)
class Figure:
    """Something to draw, for both surroundings and as a file.

    Args:
        name: of the file.
        words: what is seen, for those who cannot see it.
        draw: draws on an `ax` by a theme.
        width: inches.
        height: inches.
        instead: the page shows it only where its script does not run.
        wide: whether it needs the whole width.
    """

    name: str
    words: str
    draw: Callable[[Axes, Theme], object]
    width: float = 4.2
    height: float = 2.9
    instead: bool = False
    wide: bool = False


@dataclass(frozen=True)
class Part:
    """A heading, what was found, and what shows it.

    Args:
        title: the heading.
        text: how to read it.
        found: what the numbers say, in sentences.
        panel: what can be pointed at, as plain values with their `kind`; None: nothing.
        figures: drawings.
        notes: what was left out, in sentences.
    """

    title: str
    text: str = ""
    found: tuple[str, ...] = ()
    panel: dict[str, Any] | None = None
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Looked:
    """Everything that was seen of one sequence.

    Args:
        title: what was looked at, in a line.
        about: name and value.
        steps: the sequences whose steps can be pointed at.
        parts: in the order they are shown.
        notes: what holds for all of it, in sentences.
        command: the command line that makes this page again.
    """

    title: str
    about: tuple[tuple[str, str], ...]
    steps: tuple[Steps, ...]
    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()
    command: str = ""
    found: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "found", tuple(one for part in self.parts for one in part.found))

    def to_json(self) -> dict[str, Any]:
        """What the script of the page reads."""
        return {
            "steps": {one.name: one.to_json() for one in self.steps},
            "panels": [part.panel for part in self.parts if part.panel is not None],
        }


def marked(words: Sequence[str]) -> list[str]:
    """Words as drawings have them: begin and end take a letter's room, patches two numbers'.

    Examples:
        >>> marked(["<begin>", "a", "<end>", "patch in row 2, column 3"])
        ['▸', 'a', '◂', '2, 3']
    """
    short = (
        word.removeprefix("patch in row ").replace(", column ", ", ")
        if word.startswith("patch in row ")
        else word
        for word in words
    )
    return [MARKS.get(word, word) for word in short]


def shown_panel(steps: str) -> dict[str, Any]:
    """A sequence by itself."""
    return {"kind": "shown", "steps": steps}


def maps_panel(steps: str, maps: Sequence[Map]) -> dict[str, Any]:
    """Heat maps to choose from."""
    return {"kind": "maps", "steps": steps, "maps": [one.to_json() for one in maps]}


def heads_panel(layers: Sequence[Heads]) -> dict[str, Any]:
    """Layers of heads to choose from."""
    return {"kind": "heads", "layers": [one.to_json() for one in layers]}


def curves_panel(steps: str, charts: Sequence[Curves]) -> dict[str, Any]:
    """Lines to choose from."""
    return {"kind": "curves", "steps": steps, "charts": [one.to_json() for one in charts]}


def packed(values: np.ndarray, low: float, high: float) -> dict[str, Any]:
    """Numbers as bytes in text: each is off by at most a 508th of the range.

    Args:
        values: of any shape; NaN is missing.
        low: what the byte 0 stands for.
        high: what the byte 254 stands for; 255 is missing.

    Examples:
        >>> packed(np.array([[0.0, 1.0], [0.5, np.nan]]), 0.0, 1.0)["data"]
        'AP5//w=='
    """
    shares = (np.asarray(values, dtype=float) - low) / (high - low)
    levels = np.rint(np.clip(shares, 0, 1) * LEVELS)
    found = np.where(np.isnan(levels), MISSING, levels).astype(np.uint8)
    return {
        "shape": list(found.shape),
        "low": low,
        "high": high,
        "data": base64.b64encode(found.tobytes()).decode(),
    }


def size_of(shape: Sequence[int]) -> int:
    """Letters that `packed` needs for numbers of a shape."""
    return 4 * -(-int(np.prod(shape)) // 3)


def _rounded(value: float, digits: int = 4) -> float | None:
    """So many significant digits; None where there is no number."""
    return float(f"{value:.{digits}g}") if np.isfinite(value) else None


def _fine(line: np.ndarray) -> list[float | None]:
    """Values of a series may be large and differ by little."""
    return [_rounded(value, 7) for value in line]
