"""Files to frames, and single columns of frames to checked numbers, times and words.

Every column of a text file is read as text and understood afterwards, so that a value which is
no number is found by its row, and a column whose first thousand values are whole numbers may
still hold a fraction later. Rows are counted from 1, the header not included.
"""

import csv
import difflib
import gzip
import io
import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from throughtime.data.calendar import Times
from throughtime.errors import InputError, MissingExtra

Frame = Any
"""A polars `DataFrame`; polars is loaded when a table is read and not before."""

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None")
"""What stands for a missing value in a text file."""

TEXT_ENDINGS = (".csv", ".tsv", ".txt")

_TIME_FORMATS = (
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%d",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d %H:%M:%S%.f%z",
    "%Y-%m-%d %H:%M%z",
    "%Y/%m/%d %H:%M:%S%.f",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d",
    "%Y-%m",
    "%Y/%m",
    "%Y%m%d",
    "%d.%m.%Y %H:%M:%S%.f",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y",
)
# Day first or month first: tried in pairs, because many a date can be read both ways.
_EITHER_WAY = tuple(
    (f"%d{mark}%m{mark}%Y{clock}", f"%m{mark}%d{mark}%Y{clock}")
    for mark in "/-"
    for clock in ("", " %H:%M", " %H:%M:%S%.f")
)


def polars() -> ModuleType:
    """The package polars.

    Errors:
        MissingExtra: it is not installed.
    """
    try:
        import polars as pl
    except ImportError:
        raise MissingExtra("reading tables", "polars", "data") from None
    return pl


def read_frame(path: str | Path, encoding: str = "utf-8") -> Frame:
    """Read a CSV file (`.csv`, `.tsv`, `.txt`, each also `.gz`) or a Parquet file.

    The columns of a CSV file come as text. They are parted by comma, semicolon or tab, whichever
    the first line has most of. A first line of numbers only is no header; the columns are then
    called `column_1`, `column_2` and so on.

    Errors:
        InputError: no such file, another ending, not in this encoding, damaged, empty, or the
            same name for two columns.
        MissingExtra: polars is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"data: there is no file {path}")
    pl = polars()
    ending = Path(path.name.lower().removesuffix(".gz")).suffix
    if ending in TEXT_ENDINGS:
        frame = _read_text(path, encoding)
    elif ending == ".parquet" and not path.name.lower().endswith(".gz"):
        try:
            frame = pl.read_parquet(path)
        except pl.exceptions.PolarsError as error:
            raise InputError(f"{path.name}: not a Parquet file ({_line(error)})") from None
    else:
        raise InputError(
            f"data: expected a file ending in .csv, .csv.gz, .tsv, .txt, .parquet or .npy, "
            f"got {path.name}"
        )
    if frame.height == 0:
        raise InputError(f"{path.name}: the file has a header but no rows")
    return frame


def _read_text(path: Path, encoding: str) -> Frame:
    pl = polars()
    raw = path.read_bytes()
    if path.name.lower().endswith(".gz"):
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError) as error:
            raise InputError(f"{path.name}: not a whole gzip file ({_line(error)})") from None
    text = _decode(raw, encoding, path.name).rstrip("\r\n ")
    if not text.strip():
        raise InputError(f"{path.name}: the file is empty")
    first = text.split("\n", 1)[0].rstrip("\r")
    separator = max(",;\t", key=first.count)
    header = next(csv.reader([first], delimiter=separator))
    named = not all(_is_number(name) for name in header)
    repeated = next((name for at, name in enumerate(header) if name in header[:at]), None)
    if named and repeated is not None:
        raise InputError(f"{path.name}: two columns are called {repeated!r}")
    try:
        frame = pl.read_csv(
            io.BytesIO(text.encode()), separator=separator, has_header=named, infer_schema=False
        )
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{path.name}: not a table ({_line(error)})") from None
    names = header if named else [f"column_{at + 1}" for at in range(len(header))]
    return frame.rename(dict(zip(frame.columns, (name.strip() for name in names), strict=True)))


def _decode(raw: bytes, encoding: str, name: str) -> str:
    try:
        return raw.decode("utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding)
    except LookupError:
        raise InputError(f"encoding: Python knows no encoding {encoding!r}") from None
    except UnicodeError as error:
        start = getattr(error, "start", 0)
        line = raw.count(b"\n", 0, start) + 1
        candidates = ["utf-16"] if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else ["utf-8", "cp949"]
        able = [each for each in candidates if _can(raw, each)] or ["latin-1"]
        raise InputError(
            f"{name}: line {line} is not {encoding} (byte 0x{raw[start]:02x}); "
            f"give its encoding, perhaps {' or '.join(map(repr, able))}"
        ) from None


def _can(raw: bytes, encoding: str) -> bool:
    try:
        raw.decode(encoding)
    except UnicodeError:
        return False
    return True


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _line(error: BaseException) -> str:
    return str(error).split("\n", 1)[0]


def check_column(frame: Frame, column: str, what: str, source: str) -> None:
    """Refuse a column that is not there, and say which are and which is meant perhaps."""
    if column not in frame.columns:
        lowered = {name.lower(): name for name in frame.columns}
        near = difflib.get_close_matches(column.lower(), lowered, n=1)
        hint = f"did you mean {lowered[near[0]]!r}? " if near else ""
        names = ", ".join(frame.columns[:20]) + (", ..." if len(frame.columns) > 20 else "")
        raise InputError(f"{source}: there is no {what} column {column!r}; {hint}it has {names}")


def words(frame: Frame, column: str) -> list[str | None]:
    """A column as text, stripped, None where it is missing."""
    return _present(frame[column]).to_list()


def _present(column: Any) -> Any:
    """The column as text, null where a value is missing."""
    pl = polars()
    text = column.cast(pl.String).str.strip_chars()
    return text.set(text.is_in(list(MISSING)).fill_null(value=True), None)


def _as_numbers(text: Any) -> Any:
    pl = polars()
    lower = text.str.to_lowercase()
    numbers = text.cast(pl.Float64, strict=False)
    numbers = numbers.set((lower == "true").fill_null(value=False), 1.0)
    return numbers.set((lower == "false").fill_null(value=False), 0.0)


def numbers(frame: Frame, column: str, what: str, source: str) -> NDArray[np.float64]:
    """A column as numbers, NaN where one is missing; true and false are 1 and 0.

    Errors:
        InputError: a value that is no number, or infinite; the line names its row.
    """
    pl = polars()
    values = frame[column]
    if values.dtype.is_numeric() or values.dtype == pl.Boolean:
        found = values.cast(pl.Float64)
    elif values.dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null):
        text = _present(values)
        found = _as_numbers(text)
        wrong = (text.is_not_null() & found.is_null()).arg_true()
        if len(wrong):
            value = text[wrong[0]]
            comma = " (write a point, not a comma)" if re.fullmatch(r"-?\d+,\d+", value) else ""
            raise InputError(
                f"{source}: {what} column {column!r} must hold numbers, "
                f"row {wrong[0] + 1} has {value!r}{comma}"
            )
    else:
        raise InputError(
            f"{source}: {what} column {column!r} must hold numbers, it holds {values.dtype}"
        )
    result = found.fill_null(float("nan")).to_numpy().astype(np.float64)
    infinite = np.flatnonzero(np.isinf(result))
    if len(infinite):
        raise InputError(
            f"{source}: {what} column {column!r} must hold finite numbers, "
            f"row {infinite[0] + 1} has {result[infinite[0]]}"
        )
    return result


def kind_of(frame: Frame, column: str, time_format: str | None = None) -> str:
    """What a column holds, judged by its first thousand values.

    `"time"`, `"whole"` (whole numbers), `"number"`, `"text"` or `"empty"`. A column most of whose
    values are numbers is a column of numbers, so that a slip in one row is told as such later.
    """
    pl = polars()
    values = frame[column]
    if values.dtype.is_temporal():
        return "time"
    if values.dtype.is_integer():
        return "whole"
    if values.dtype.is_numeric() or values.dtype == pl.Boolean:
        return "number"
    text = _present(values).drop_nulls().head(1000)
    if len(text) == 0:
        return "empty"
    found = _as_numbers(text)
    if found.is_not_null().mean() > 0.5:
        whole = text.str.contains(r"^[+-]?\d+$").all()
        return "whole" if whole else "number"
    forms = _readings(text) if time_format is None else [("", _read_as(text, time_format))]
    share = max((parsed.is_not_null().mean() for _, parsed in forms), default=0.0)
    return "time" if share > 0.5 else "text"


def times(frame: Frame, column: str, source: str, time_format: str | None = None) -> Times:
    """A column of time stamps: `datetime64[us]`, or `int64` for whole numbers.

    Dates are understood in the forms of ISO 8601, year first with slashes, day first with
    points, and day or month first with slashes where only one of the two is possible. A time zone
    is converted to UTC and dropped.

    Errors:
        InputError: a value that is missing, is no date in the form the others have, or dates that
            can be read both day first and month first.
    """
    pl = polars()
    values = frame[column]
    if values.dtype == pl.Datetime and values.dtype.time_zone is not None:
        values = values.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    if values.dtype in (pl.Date, pl.Datetime):
        found = values.cast(pl.Datetime("us"))
    elif values.dtype.is_integer():
        found = values.cast(pl.Int64)
    elif kind_of(frame, column) == "whole" and time_format is None:
        text = _present(values)
        found = text.cast(pl.Int64, strict=False)
        if text.str.contains(r"^(1[89]|2[01])\d{6}$").all():  # 20260131 is a date, not a count
            dates = _read_as(text, "%Y%m%d")
            found = dates if dates.null_count() == text.null_count() else found
    else:
        found = _parse(_present(values), column, source, time_format)
    missing = found.is_null().arg_true()
    if len(missing):
        given = frame[column][missing[0]]
        what = "is empty" if given is None or given in MISSING else f"has {given!r}"
        raise InputError(
            f"{source}: time column {column!r} must hold a date, time or whole number in every "
            f"row, row {missing[0] + 1} {what}"
        )
    return found.to_numpy().astype(np.int64 if found.dtype == pl.Int64 else "datetime64[us]")


def _parse(text: Any, column: str, source: str, time_format: str | None) -> Any:
    """The best reading of the text as dates; null where it has none."""
    if time_format is not None:
        return _read_as(text, time_format)
    # Judged by a sample first: nothing is lost, since the sample's reading must hold for all.
    possible = [(form, _read_as(text, form)) for form, _ in _readings(text.head(1000))]
    if not possible:
        first = text.drop_nulls()
        got = repr(first[0]) if len(first) else "nothing"
        raise InputError(
            f"{source}: time column {column!r} does not look like dates or times (it begins with "
            f"{got}); give time_format, such as '%d %b %Y'"
        )
    best = max(int(parsed.count()) for _, parsed in possible)
    forms = [(form, parsed) for form, parsed in possible if parsed.count() == best]
    if len(forms) > 1 and not forms[0][1].equals(forms[1][1]):
        raise InputError(
            f"{source}: time column {column!r} can be read day first or month first; give "
            f"time_format, {forms[0][0]!r} or {forms[1][0]!r}"
        )
    return forms[0][1]


def _readings(text: Any) -> list[tuple[str, Any]]:
    """The formats that read most of the text as dates: none, one, or two that compete."""
    best: list[tuple[str, Any]] = []
    most = 0
    for forms in (*((form,) for form in _TIME_FORMATS), *_EITHER_WAY):
        found = [(form, _read_as(text, form)) for form in forms]
        count = max(parsed.count() for _, parsed in found)
        if count > most:
            best = [(form, parsed) for form, parsed in found if parsed.count() > 0]
            most = count
        if most == text.count():
            break
    return best


def _read_as(text: Any, form: str) -> Any:
    pl = polars()
    text = text.str.replace(r"^(\S+)T(\d)", "${1} ${2}").str.replace(r"Z$", "+00:00")
    if "%d" not in form and "%j" not in form:  # a month stands for its first day
        text, form = text + " 01", form + " %d"
    try:
        parsed = text.str.to_datetime(form, time_unit="us", strict=False, exact=True)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"time_format: {form!r} cannot be used ({_line(error)})") from None
    if parsed.dtype.time_zone is not None:
        parsed = parsed.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return parsed


def repeats(frame: Frame, columns: Sequence[str]) -> bool:
    """Whether two rows agree in all of these columns."""
    return bool(frame.select(columns).is_duplicated().any())
