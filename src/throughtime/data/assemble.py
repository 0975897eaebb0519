"""From rows of a frame to series: parted by id, in order, on a grid of time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from throughtime.data import calendar as calendars
from throughtime.data.calendar import IRREGULAR, Grid, Times, format_time
from throughtime.data.columns import Columns
from throughtime.data.frames import Frame, kind_of, numbers, words
from throughtime.data.table import Series
from throughtime.errors import InputError

MAX_CATEGORIES = 50
"""More words than this in a static column are refused: each becomes a column of its own."""

MAX_STRETCH = 100
"""A grid may have this many times more points than there are rows; else a time stamp is wrong."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Group:
    """The rows of one series.

    Attributes:
        name: of the series.
        rows: where they stand in the frame, in the order of time.
        target: the only column of targets that belongs to it; None: all do.
    """

    name: str
    rows: NDArray[np.int64]
    target: int | None = None


def numbers_of(frame: Frame, names: Sequence[str], what: str, source: str) -> Matrix:
    """Columns of numbers side by side, `[rows, len(names)]`.

    Errors:
        InputError: a value that is no finite number, or a column without any value.
    """
    if not names:
        return np.empty((frame.height, 0))
    found = [numbers(frame, name, what, source) for name in names]
    for name, values in zip(names, found, strict=True):
        if np.isnan(values).all():
            raise InputError(f"{source}: {what} column {name!r} has no value, every row is missing")
    return np.stack(found, axis=1)


def group_rows(frame: Frame, columns: Columns, source: str) -> list[Group]:
    """Part the rows by id, series in the order in which they first appear.

    Errors:
        InputError: a row without id.
    """
    if columns.id is None:
        return [Group(source.split(".", 1)[0] or source, np.arange(frame.height))]
    ids = words(frame, columns.id)
    numbered: dict[str, int] = {}
    for row, name in enumerate(ids):
        if name is None:
            raise InputError(f"{source}: id column {columns.id!r} is empty in row {row + 1}")
        numbered.setdefault(name, len(numbered))
    codes = np.array([numbered[name] for name in ids if name is not None])
    order = np.argsort(codes, kind="stable")
    borders = np.flatnonzero(np.diff(codes[order])) + 1
    return [
        Group(name, rows) for name, rows in zip(numbered, np.split(order, borders), strict=True)
    ]


def check_order(group: Group, times: Times, columns: Columns, source: str, *, sort: bool) -> Group:
    """The group with its rows in the order of time.

    Errors:
        InputError: rows out of order (unless `sort`), or two with the same time.
    """
    if sort:
        group = replace(group, rows=group.rows[np.argsort(times[group.rows], kind="stable")])
    steps = np.diff(times[group.rows].astype(np.int64))
    for at in np.flatnonzero(steps <= 0)[:1]:
        first, second = group.rows[at] + 1, group.rows[at + 1] + 1
        where = f"{source}: " + (f"series {group.name!r}, " if columns.id is not None else "")
        time = format_time(times[group.rows[at + 1]])
        if steps[at] == 0:
            hint = "" if columns.id is not None else "; with several series in the table, give id"
            raise InputError(
                f"{where}time column {columns.time!r} has {time} twice, "
                f"in rows {first} and {second}{hint}"
            )
        raise InputError(
            f"{where}time column {columns.time!r} is not sorted, row {second} has {time} after "
            f"{format_time(times[group.rows[at]])}; set sort to put the rows in order"
        )
    return group


def frequency_of(stretches: Sequence[Times], columns: Columns, source: str) -> str | None:
    """The frequency the user gave, or the most common one; None for whole numbers.

    Errors:
        InputError: a frequency for whole numbers, or a single time stamp and no frequency.
    """
    given = columns.frequency
    if calendars.whole(stretches[0]):
        if given not in (None, IRREGULAR):
            raise InputError(
                f"frequency: {source} has no dates, its steps are whole numbers; got {given!r}"
            )
        return given
    if given == IRREGULAR:
        return given
    if given is not None:
        return calendars.name_frequency(*calendars.parse_frequency(given))
    try:
        return calendars.infer_frequency(stretches)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def statics_of(
    frame: Frame, columns: Columns, groups: Sequence[Group], source: str
) -> tuple[Matrix, tuple[str, ...], Columns]:
    """What does not change within each series, `[series, static]`, words as one column each.

    The names of the columns come with it, and the columns with their categories filled in. A
    wide table has none, and one row for each of its series.

    Errors:
        InputError: a value that changes within a series, is missing, or is a new word; too many
            words.
    """
    rows = len(columns.targets) if columns.wide else len(groups)
    parts: list[Matrix] = []
    names: list[str] = []
    categories = dict(columns.categories)
    for column in columns.static:
        if column not in categories and kind_of(frame, column) in ("whole", "number"):
            values = numbers(frame, column, "static", source).tolist()
            parts.append(np.array([[one] for one in _constant(values, column, groups, source)]))
            names.append(column)
            continue
        found = _constant(words(frame, column), column, groups, source)
        known = categories.setdefault(column, tuple(sorted(set(found))))
        if len(known) > MAX_CATEGORIES:
            raise InputError(
                f"{source}: static column {column!r} has {len(known)} different words, "
                f"expected at most {MAX_CATEGORIES}; is it a name?"
            )
        for group, word in zip(groups, found, strict=True):
            if word not in known:
                raise InputError(
                    f"{source}: static column {column!r} of series {group.name!r} has {word!r}, "
                    f"expected one of {', '.join(known)}"
                )
        parts.append(np.array([[float(word == each) for each in known] for word in found]))
        names += [f"{column}={each}" for each in known]
    static = np.concatenate([np.empty((rows, 0)), *parts], axis=1)
    return static, tuple(names), replace(columns, categories=tuple(categories.items()))


def _constant(
    values: Sequence[Any], column: str, groups: Sequence[Group], source: str
) -> list[Any]:
    """The one value of each group; a change within a group or a missing value is refused."""
    found: list[Any] = []
    for group in groups:
        first = values[group.rows[0]]
        for row in group.rows:
            value = values[row]
            if value is None or value != value:
                raise InputError(f"{source}: static column {column!r} is empty in row {row + 1}")
            if value != first:
                raise InputError(
                    f"{source}: static column {column!r} changes within series {group.name!r}: "
                    f"{first!r} in row {group.rows[0] + 1}, {value!r} in row {row + 1}"
                )
        found.append(first)
    return found


def assemble(
    group: Group,
    times: Times,
    values: Matrix,
    past: Matrix,
    known: Matrix,
    static: Matrix,
    frequency: str | None,
    cycles: tuple[str, ...],
    source: str,
) -> Series:
    """One series on its grid; rows after the last target are its future.

    Errors:
        InputError: a time off the grid, a gap that must be a mistake, or no target at all.
    """
    rows = group.rows
    targets = values[rows] if group.target is None else values[rows, group.target, None]
    present = np.flatnonzero(~np.isnan(targets).all(axis=1))
    if len(present) == 0:
        raise InputError(f"{source}: series {group.name!r} has no value of its target")
    if group.target is not None:  # a series of a wide table begins with its first value
        rows, targets = rows[present[0] :], targets[present[0] :]
        present = present - present[0]
    index, every = _place(group.name, rows, times, frequency, source)
    points = int(index[-1]) + 1
    spread = np.full((points, targets.shape[1] + past.shape[1]), np.nan)
    spread[index] = np.concatenate([targets, past[rows]], axis=1)
    ahead = np.full((points, known.shape[1]), np.nan)
    ahead[index] = known[rows]
    stop = int(index[present[-1]]) + 1
    return Series(
        name=group.name,
        times=every[:stop],
        values=spread[:stop],
        covariates=np.concatenate([ahead, calendars.features(every, cycles)], axis=1),
        static=static,
        future=every[stop:],
        gaps=points - len(rows),
    )


def _place(
    name: str, rows: NDArray[np.int64], times: Times, frequency: str | None, source: str
) -> tuple[NDArray[np.int64], Times]:
    """The point of each row, counted from the first, and the times of all points in between."""
    here = times[rows]
    if frequency == IRREGULAR:
        return np.arange(len(rows)), here
    grid = Grid.through(here, frequency)
    index, on = grid.index(here)
    if not on.all():
        row = rows[int(on.argmin())]
        every = frequency or f"{grid.step} apart"
        raise InputError(
            f"{source}: series {name!r} has {int((~on).sum())} of {len(on)} time stamps off its "
            f"grid of {every}, first {format_time(times[row])} in row {row + 1}; set frequency, "
            f"or frequency='{IRREGULAR}' to take rows as steps"
        )
    steps = np.diff(index)
    index = index - index[0]
    points = int(index[-1]) + 1
    if points > MAX_STRETCH * len(rows) + 1000:
        row = rows[int(steps.argmax()) + 1]
        raise InputError(
            f"{source}: series {name!r} jumps to {format_time(times[row])} in row {row + 1}, "
            f"{int(steps.max())} steps of {frequency or grid.step} after the row before; is the "
            f"time stamp right? frequency='{IRREGULAR}' takes rows as steps"
        )
    return index, grid.time(np.arange(points) + grid.index(here[:1])[0][0], here.dtype)
