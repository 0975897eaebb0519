"""What the columns of a table mean: told by the user, guessed where not, remembered for later."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from throughtime.data.calendar import IRREGULAR, feature_names, parse_frequency
from throughtime.data.frames import Frame, check_column, kind_of, repeats
from throughtime.errors import InputError

TIME_NAMES = ("date", "ds", "time", "timestamp", "datetime", "time_hour", "month", "day")
"""Names a time column is likely to have, the likeliest first."""

COUNT_NAMES = ("date", "ds", "time", "timestamp", "step", "index", "t", "year")
"""Names under which whole numbers are times."""

ID_NAMES = ("id", "unique_id", "series", "series_id", "item_id", "name")
"""Names of the column that tells the series of a long table apart."""


@dataclass(frozen=True)
class Columns:
    """How a table is read. What is None or empty is guessed or not there.

    A table remembers the columns it was read with, complete, so that other rows (for a
    prediction) can be read the very same way: same columns, same categories, same calendar.

    Attributes:
        time: dates or whole numbers; None counts rows.
        id: tells the series of a long table apart; None: the table is one series.
        targets: what is to be predicted.
        known: numbers known ahead of time.
        past: numbers known when the targets are.
        static: what does not change within a series: numbers, or words.
        wide: each target column is a series of its own.
        calendar: cycles that become known columns, see `calendar.CYCLES`; None chooses those that
            fit; `()` none.
        categories: words of each static column that holds words, in the order of their columns.
        frequency: of the dates, such as `1h`; `irregular` takes rows as steps.
        season: steps of a season.
        time_format: of dates in text, as for `strftime`.
    """

    time: str | None = None
    id: str | None = None
    targets: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    past: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    wide: bool = False
    calendar: tuple[str, ...] | None = None
    categories: tuple[tuple[str, tuple[str, ...]], ...] = ()
    frequency: str | None = None
    season: int | None = None
    time_format: str | None = None

    def __post_init__(self) -> None:
        roles = [name for name in (self.time, self.id) if name is not None]
        for name in (*roles, *self.targets, *self.known, *self.past, *self.static):
            if [*roles, *self.targets, *self.known, *self.past, *self.static].count(name) > 1:
                raise InputError(f"columns: {name!r} is named for two purposes, expected one")
        if self.wide and (self.id is not None or self.static):
            raise InputError("columns: a wide table has one series per column, no id and no static")
        if self.season is not None and self.season < 1:
            raise InputError(f"season: expected at least 1 step, got {self.season}")
        if self.frequency is not None and self.frequency != IRREGULAR:
            parse_frequency(self.frequency)
        feature_names(self.calendar or ())

    def to_json(self) -> dict[str, Any]:
        """Plain values for a configuration file."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Columns":
        """The inverse of `to_json`, also after a passage through JSON."""
        tuples = {key: _tuples(value) for key, value in values.items()}
        return cls(**tuples)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def complete(frame: Frame, columns: Columns, source: str) -> tuple[Columns, tuple[str, ...]]:
    """Fill in the columns nobody named, and tell which stay unused.

    - time: the first column of dates, those called as in `TIME_NAMES` before others; then a column
      of whole numbers called as in `COUNT_NAMES`, if they do not repeat or series have names.
    - id: a column called as in `ID_NAMES`; else, when time stamps repeat, the one column of words.
    - targets: all other columns of numbers, except a nameless one (the row numbers pandas writes).

    Errors:
        InputError: a named column is not there, several columns may be the id, or no column of
            numbers is left for a target.
    """
    for what in ("time", "id"):
        name = getattr(columns, what)
        if name is not None:
            check_column(frame, name, what, source)
    for what in ("targets", "known", "past", "static"):
        for name in getattr(columns, what):
            check_column(frame, name, what.removesuffix("s"), source)

    named = {columns.time, columns.id, *columns.targets, *columns.known, *columns.past}
    named |= set(columns.static)
    form = columns.time_format
    free = {name: kind_of(frame, name, form) for name in frame.columns if name not in named}

    time = columns.time or _guess_time(frame, free)
    free.pop(time, None)
    columns = replace(columns, time=time)
    if columns.id is None and not columns.wide:
        columns = replace(columns, id=_guess_id(frame, free, columns, source))
        free.pop(columns.id, None)
    if not columns.targets:
        targets = tuple(
            name for name, kind in free.items() if kind in ("whole", "number") and name.strip()
        )
        if not targets:
            names = ", ".join(frame.columns)
            raise InputError(f"{source}: no column of numbers is left for a target among {names}")
        columns = replace(columns, targets=targets)
    return columns, tuple(name for name in free if name not in columns.targets)


def _guess_time(frame: Frame, free: dict[str, str]) -> str | None:
    dates = [name for name, kind in free.items() if kind == "time"]
    texts = [name for name, kind in free.items() if kind == "text"]
    counts = [name for name, kind in free.items() if kind == "whole"]
    if not texts and not _first(free, ID_NAMES):  # one series: its time does not repeat
        counts = [name for name in counts if not repeats(frame, [name])]
    return (
        _first(dates, TIME_NAMES)
        or next(iter(dates), None)
        or _first(texts, TIME_NAMES[:5])  # in words nobody can read: better told than passed over
        or _first(counts, COUNT_NAMES)
    )


def _guess_id(frame: Frame, free: dict[str, str], columns: Columns, source: str) -> str | None:
    texts = [name for name, kind in free.items() if kind == "text"]
    fitting = [name for name, kind in free.items() if kind in ("text", "whole")]
    called = _first(fitting, ID_NAMES)
    if called is not None or not texts or columns.time is None:
        return called
    if not repeats(frame, [columns.time]):
        return None  # one row per time stamp: a single series beside some words
    if len(texts) > 1:
        raise InputError(
            f"{source}: time stamps repeat and {', '.join(texts)} may each tell the series apart; "
            "give id"
        )
    return texts[0]


def _first(names: Iterable[str], wanted: Sequence[str]) -> str | None:
    lowered = {name.lower(): name for name in reversed(list(names))}
    return next((lowered[name] for name in wanted if name in lowered), None)
