"""Files of the time series archives of UCR and UEA: labelled series as text, ending in `.ts`.

    @dimensions 2
    @classLabel true low high
    @data
    1,2,3:0.5,?,0.7:low

Lines that begin with `@` are the header, those with `#` comments. Each line behind `@data` is one
series: its dimensions with colons between them, their values with commas, and the class last.
"""

import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from throughtime.data.examples import Examples
from throughtime.data.reading import read_lines
from throughtime.errors import InputError

MISSING = frozenset({"", "?", "na", "n/a", "nan", "null", "none"})
"""What stands for a missing number, in small letters."""

ALIASES = {"dimension": "dimensions"}


class Claim(NamedTuple):
    """One line of the header.

    Attributes:
        line: its number.
        said: the line.
        words: what stands behind its name.
    """

    line: int
    said: str
    words: list[str]

    def __str__(self) -> str:
        return f"line {self.line} says {short(self.said)}"


class Format(NamedTuple):
    """What the header says, as far as it says it.

    Attributes:
        classes: whether the last part of a line is a class.
        known: the classes; empty where the header does not list them.
        dimensions: how many, and the line that says so.
        length: steps of each series, and the line that says so.
        equal: the line that says that all have as many steps.
        label: the line on classes.
    """

    classes: bool
    known: frozenset[str]
    dimensions: tuple[int, str] | None
    length: tuple[int, str] | None
    equal: str | None
    label: str | None


def read_ts(
    path: str | os.PathLike[str], *, labelled: bool = True, encoding: str = "utf-8"
) -> Examples:
    r"""The series of a `.ts` file, `[time, dimensions]` each, and their classes.

    The header counts: a series that is not as it says is an error. Names of its lines may be
    written in small or capital letters. A value of `?` or NaN is missing. Series with time stamps
    (`@timestamps true`) are not read.

    Args:
        path: the file, packed with gzip where its name ends in `.gz`.
        labelled: whether classes are needed; without, those in the file are left out.
        encoding: of the file.

    Returns:
        Examples of kind `series`; named by their line; one dimension is called `value`, several
        `dim_0`, `dim_1` and so on.

    Errors:
        InputError: no `@data` or no series; no classes, or numbers instead of them; a line with
            other dimensions, lengths or classes than the header says; an empty series; a value
            that is no finite number; or as `read_text`.

    Examples:
        >>> _ = Path("two.ts").write_text("@classLabel true a b\n@data\n1,2:a\n3,?,5:b\n")
        >>> some = read_ts("two.ts")
        >>> some.labels, some.values[0].tolist(), some.names
        (['a', 'b'], [[1.0], [2.0]], ['3', '4'])
    """
    path = Path(path)
    lines = read_lines("read_ts", path, encoding)
    header, start = _header(path, lines)
    form = _format(path, header, labelled=labelled)
    values, labels, names = [], [], []
    for number, line in enumerate(lines[start:], start + 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        where = f"read_ts: line {number:,} of {path}"
        parts = text.split(":")
        form = _dimensions(where, number, form, parts, labelled=labelled)
        assert form.dimensions is not None
        count = form.dimensions[0]
        values.append(_series(where, parts[:count]))
        form = _length(where, number, form, len(values[-1]))
        if labelled:
            labels.append(_class(where, form, parts[count].strip()))
        names.append(str(number))
    if not values or form.dimensions is None:
        raise InputError(f"read_ts: {path} has no series behind @data, expected one on each line")
    count = form.dimensions[0]
    features = ("value",) if count == 1 else tuple(f"dim_{at}" for at in range(count))
    return Examples("series", values, labels if labelled else None, names, features)


def to_numbers(cells: Sequence[str], where: Callable[[int], str]) -> NDArray[np.float64]:
    """Cells of text as numbers, NaN where one is missing.

    Args:
        cells: the text.
        where: what an error begins with, for the place of a cell.

    Errors:
        InputError: a cell that is no number, or infinite.

    Examples:
        >>> to_numbers(["1", "?", "2e3"], lambda at: f"cell {at}").tolist()
        [1.0, nan, 2000.0]
    """
    try:
        found = np.fromiter(map(float, cells), np.float64, len(cells))
    except ValueError:
        found = None
    if found is None or np.isinf(found).any() or "_" in "".join(cells):
        found = np.fromiter(_each(cells, where), np.float64, len(cells))
    return found


def number(cell: str) -> float | None:
    """A number, NaN for a missing one, and None for what is none.

    Examples:
        >>> number(" 3 "), number("NA"), number("three"), number("1_000"), number("inf")
        (3.0, nan, None, None, None)
    """
    if cell.strip().lower() in MISSING:
        return math.nan
    try:
        value = math.nan if "_" in cell else float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def moment(cell: str) -> float | None:
    """A number, or the seconds of a date; one without a zone counts as of UTC.

    Examples:
        >>> moment("3"), moment("1970-01-02 00:00"), moment("1970-01-02T01:00+01:00"), moment("?")
        (3.0, 86400.0, 86400.0, None)
    """
    value = number(cell)
    if value is not None:
        return None if math.isnan(value) else value
    try:
        date = datetime.fromisoformat(cell.strip())
    except ValueError:
        return None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


def _each(cells: Sequence[str], where: Callable[[int], str]) -> Iterator[float]:
    for at, cell in enumerate(cells):
        value = number(cell)
        if value is None:
            raise InputError(
                f"{where(at)} has {short(cell)!r}, expected a finite number, or ? where it is "
                "missing"
            )
        yield value


def _header(path: Path, lines: list[str]) -> tuple[dict[str, Claim], int]:
    """What the lines before the data say, by name, and where the data begin."""
    header: dict[str, Claim] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if not text.startswith("@"):
            raise InputError(
                f"read_ts: line {number:,} of {path} is {short(text)!r}, expected a line with @ "
                "or # before it; a line @data must stand before the series"
            )
        name, *words = text[1:].split() or [""]
        name = ALIASES.get(name.lower(), name.lower())
        if name == "data":
            return header, number
        header[name] = Claim(number, text, words)
    raise InputError(f"read_ts: {path} has no line @data, expected one before the series")


def _format(path: Path, header: dict[str, Claim], *, labelled: bool) -> Format:
    """The header understood; what it says twice must agree."""
    if _flag(path, header, "timestamps"):
        raise InputError(
            f"read_ts: {path}: {header['timestamps']}, expected false: series with time stamps are "
            "not read, only values at even steps"
        )
    classes, numeric = _flag(path, header, "classlabel"), _flag(path, header, "targetlabel")
    if labelled and not classes:
        claim = header["targetlabel"] if numeric else header.get("classlabel", "it says nothing")
        raise InputError(
            f"read_ts: {path} has no classes ({claim}), expected @classLabel true and their names"
        )
    label = header.get("classlabel")
    dimensions = _count(path, header, "dimensions")
    if _flag(path, header, "univariate"):
        claim = header["univariate"]
        if dimensions is not None and dimensions[0] != 1:
            raise InputError(
                f"read_ts: {path}: {claim}, but {dimensions[1]}; expected them to agree"
            )
        dimensions = (1, str(claim))
    equal = header["equallength"] if _flag(path, header, "equallength") else None
    return Format(
        bool(classes or numeric),
        frozenset(label.words[1:] if label else ()),
        dimensions,
        _count(path, header, "serieslength"),
        str(equal) if equal else None,
        str(label) if label else None,
    )


def _flag(path: Path, header: dict[str, Claim], name: str) -> bool | None:
    """What is said to be true or false; None where nothing is said."""
    if name not in header:
        return None
    said = header[name].words[0].lower() if header[name].words else ""
    if said not in ("true", "false"):
        raise InputError(f"read_ts: {path}: {header[name]}, expected true or false")
    return said == "true"


def _count(path: Path, header: dict[str, Claim], name: str) -> tuple[int, str] | None:
    """A number that is said, and where."""
    if name not in header:
        return None
    words = header[name].words
    # More digits than any file has series or steps: `int` refuses thousands of them.
    if len(words) != 1 or not words[0].isdecimal() or len(words[0]) > 12 or int(words[0]) < 1:
        raise InputError(f"read_ts: {path}: {header[name]}, expected a whole number from 1")
    return int(words[0]), str(header[name])


def _dimensions(
    where: str, number: int, form: Format, parts: list[str], *, labelled: bool
) -> Format:
    """Refuse another number of dimensions; the first series says it where the header does not."""
    if form.dimensions is None:
        # A last part with commas is no class: for a prediction it may be left out.
        count = len(parts) - (form.classes and (labelled or "," not in parts[-1]))
        if count < 1:
            raise InputError(f"{where} has no colon, expected values, a colon and a class")
        return form._replace(dimensions=(count, f"line {number} has {count}"))
    count, said = form.dimensions
    if labelled and len(parts) == count:
        raise InputError(
            f"{where} has no label behind its last colon, or a dimension too few; expected "
            f"{_many(count)} and a class ({said}; {form.label})"
        )
    if len(parts) != count + form.classes and (labelled or len(parts) != count):
        raise InputError(
            f"{where} has {_many(len(parts) - form.classes)}, expected {count} ({said})"
        )
    return form


def _series(where: str, parts: list[str]) -> NDArray[np.float64]:
    """Dimensions to `[time, dimensions]`."""
    columns: list[NDArray[np.float64]] = []
    for at, part in enumerate(parts):
        if not part.strip():
            raise InputError(f"{where} has an empty sequence as dimension {at}, expected values")
        cells = part.split(",")
        columns.append(
            to_numbers(cells, lambda step, at=at: f"{where}: dimension {at} at step {step}")
        )
        if len(columns[-1]) != len(columns[0]):
            raise InputError(
                f"{where} has {len(columns[0]):,} steps in dimension 0 and {len(columns[-1]):,} in "
                f"dimension {at}, expected as many"
            )
    return np.stack(columns, axis=1)


def _length(where: str, number: int, form: Format, steps: int) -> Format:
    """Refuse another length than the header says, or than the first where all are equal."""
    if form.length is not None and steps != form.length[0]:
        count, said = form.length
        raise InputError(f"{where} has {steps:,} steps, expected {count:,} ({said})")
    if form.length is None and form.equal:
        return form._replace(length=(steps, f"{form.equal}, line {number} has {steps:,}"))
    return form


def _class(where: str, form: Format, label: str) -> str:
    if label in ("", "?"):
        raise InputError(f"{where} has no label, expected a class behind its last colon")
    if form.known and label not in form.known:
        raise InputError(
            f"{where} has class {short(label)!r}, expected one of the header ({form.label})"
        )
    return label


def _many(count: int) -> str:
    return f"{count} dimension{'s' * (count != 1)}"


def short(text: str) -> str:
    """At most 60 characters of a text, on one line, for errors."""
    text = re.sub(r"\s", " ", text[:100])
    return text if len(text) <= 60 else f"{text[:57]}..."
