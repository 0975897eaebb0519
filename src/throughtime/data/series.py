"""Tables of time series: read, checked, put on a grid of time; nothing is filled in silently.

A missing value is NaN everywhere. Where a regular series lacks a time stamp, a row of NaN takes
its place and is counted in `Series.gaps`. Numbers stay as they came: scaling is the model's.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from throughtime.data import calendar as calendars
from throughtime.data.assemble import (
    Group,
    assemble,
    check_order,
    frequency_of,
    group_rows,
    numbers_of,
    statics_of,
)
from throughtime.data.columns import Columns, complete
from throughtime.data.frames import Frame, read_frame
from throughtime.data.frames import times as read_times
from throughtime.data.sources import FileArray
from throughtime.data.table import Series, SeriesTable, blocks
from throughtime.errors import InputError

__all__ = [
    "Columns",
    "Series",
    "SeriesTable",
    "from_array",
    "from_frame",
    "read_like",
    "read_series",
]


def read_series(
    path: str | Path,
    *,
    time: str | None = None,
    id: str | None = None,
    targets: Sequence[str] | str | None = None,
    known: Sequence[str] = (),
    past: Sequence[str] = (),
    static: Sequence[str] = (),
    calendar: bool | Sequence[str] = True,
    encoding: str = "utf-8",
    frequency: str | None = None,
    season: int | None = None,
    time_format: str | None = None,
    wide: bool = False,
    sort: bool = False,
) -> SeriesTable:
    """Read series from CSV (also `.gz`), Parquet or `.npy`.

    Columns that are not named are guessed, see [`complete`][throughtime.data.columns.complete]:
    with an id column the table is long (one row per series and time); without one it is a single
    series whose columns of numbers are all targets, or with `wide` one series per column. Name
    `targets` to predict only some; columns not named then stay unused. Rows at the end without
    any target are the future: they hold what is known ahead of time.

    Args:
        path: the file. A `.npy` file of `[time]` or `[time, features]` is one long series,
            read from disk as it is used.
        time: column of dates or of whole numbers; sorted within each series, without repeats.
        id: column that tells series apart.
        targets: columns to predict.
        known: columns known ahead of time.
        past: columns known when the targets are.
        static: columns that stay the same within a series, numbers or words.
        calendar: add the cycles of the calendar that fit the frequency as known columns; or which.
        encoding: of a text file.
        frequency: such as `15m`, `1h`, `1mo`; None takes the most common distance. `irregular`
            takes rows as steps however far apart they lie.
        season: steps of a season; None follows from the frequency.
        time_format: of dates in text, as for `strftime`; None finds it.
        wide: each target column is a series of its own, with the one target `value`.
        sort: put rows in the order of time instead of refusing unsorted ones.

    Errors:
        InputError: one line that names the file, the column and the row.
        MissingExtra: polars is not installed (only `.npy` is read without).
    """
    path = Path(path)
    cycles = (None if calendar else ()) if isinstance(calendar, bool) else tuple(calendar)
    columns = Columns(
        time=time,
        id=id,
        targets=(targets,) if isinstance(targets, str) else tuple(targets or ()),
        known=tuple(known),
        past=tuple(past),
        static=tuple(static),
        wide=wide,
        calendar=cycles,
        frequency=frequency,
        season=season,
        time_format=time_format,
    )
    return read_like(path, columns, encoding=encoding, sort=sort)


def read_like(
    path: str | Path, columns: Columns, *, encoding: str = "utf-8", sort: bool = False
) -> SeriesTable:
    """Read a file the way another was read: `read_like(path, table.columns)`.

    Errors:
        InputError: as for `read_series`; also a word in a static column that was not there before.
    """
    path = Path(path)
    if path.suffix == ".npy":
        return _read_array(path, columns)
    return from_frame(read_frame(path, encoding), columns, source=path.name, sort=sort)


def from_frame(
    frame: Frame, columns: Columns | None = None, *, source: str = "table", sort: bool = False
) -> SeriesTable:
    """The series of a polars frame; see `read_series`.

    Errors:
        InputError: as for `read_series`.
    """
    columns, unused = complete(frame, columns or Columns(), source)
    values = numbers_of(frame, columns.targets, "target", source)
    past = numbers_of(frame, columns.past, "past", source)
    known = numbers_of(frame, columns.known, "known", source)
    groups = group_rows(frame, columns, source)
    if columns.time is None:  # each series counts its own rows
        times = np.empty(frame.height, dtype=np.int64)
        for group in groups:
            times[group.rows] = np.arange(len(group.rows))
    else:
        times = read_times(frame, columns.time, source, columns.time_format)
    groups = [check_order(group, times, columns, source, sort=sort) for group in groups]
    frequency = frequency_of([times[group.rows] for group in groups], columns, source)
    static, words, columns = statics_of(frame, columns, groups, source)
    if columns.wide:
        groups = [
            Group(name, group.rows, at)
            for group in groups
            for at, name in enumerate(columns.targets)
        ]
    cycles = columns.calendar
    if cycles is None:
        longest = max(groups, key=lambda group: len(group.rows))
        cycles = calendars.cycles(times[longest.rows], frequency)
    series = tuple(
        assemble(group, times, values, past, known, static[at], frequency, cycles, source)
        for at, group in enumerate(groups)
    )
    season = columns.season or calendars.season_of(frequency)
    return SeriesTable(
        series=series,
        targets=("value",) if columns.wide else columns.targets,
        past=columns.past,
        known=(*columns.known, *calendars.feature_names(cycles)),
        static=words,
        frequency=frequency,
        season=season,
        source=source,
        calendar=cycles,
        columns=replace(columns, calendar=cycles, frequency=frequency, season=season),
        unused=unused,
    )


def from_array(
    values: NDArray | FileArray,
    *,
    targets: Sequence[str] = (),
    source: str = "array",
    season: int | None = None,
    wide: bool = False,
) -> SeriesTable:
    """The series in an array `[time]` or `[time, features]`; NaN is missing. Steps are numbered.

    An array of float64 is taken as it is and not copied. A `FileArray` stays in its file: the
    table takes as much memory as that of a short series.

    Args:
        values: numbers.
        targets: a name for each feature; empty: `value`, or `value_1`, `value_2` ...
        source: named in reports and errors.
        season: steps of a season; None: no season.
        wide: each feature is a series of its own.

    Errors:
        InputError: another form or type, no steps, or an infinite value.
    """
    if isinstance(values, FileArray):
        matrix = values[:] if wide else values
    else:
        _check_form(values, source)
        matrix = values.astype(np.float64, copy=False).reshape(len(values), -1)
    before = 0
    for block in blocks(matrix):
        infinite = np.isinf(block).any(axis=1)
        if infinite.any():
            at = int(infinite.argmax())
            raise InputError(
                f"{source}: expected finite numbers, row {before + at + 1} has {block[at]}"
            )
        before += len(block)
    width = matrix.shape[1]
    names = tuple(targets) or tuple(
        f"value_{at + 1}" if width > 1 else "value" for at in range(width)
    )
    if len(names) != width:
        raise InputError(f"{source}: it has {width} columns, targets names {len(names)}")
    times = range(len(matrix))
    empty, future = np.empty((len(matrix), 0)), np.empty(0, dtype=np.int64)
    parts = (
        [(name, matrix[:, at : at + 1]) for at, name in enumerate(names)]
        if wide
        else [(Path(source).stem, matrix)]
    )
    columns = Columns(targets=names, wide=wide, calendar=(), season=season or 1)
    return SeriesTable(
        series=tuple(Series(name, times, part, empty, np.empty(0), future) for name, part in parts),
        targets=("value",) if wide else names,
        season=season or 1,
        source=source,
        columns=columns,
    )


def _read_array(path: Path, columns: Columns) -> SeriesTable:
    for what in ("time", "id", "known", "past", "static", "frequency"):
        if getattr(columns, what):
            raise InputError(f"{what}: a .npy file has numbered columns only, {path.name} has none")
    if not path.is_file():
        raise InputError(f"data: there is no file {path}")
    try:
        # Copy on write: the file stays as it is, and torch may take the memory without a warning.
        values = np.load(path, mmap_mode="c", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path.name}: not an array of numbers ({error})") from None
    _check_form(values, path.name)
    # Pages of a map count as memory once they were touched, so one long series is read instead.
    # Columns that are series of their own do not lie together in the file; they stay mapped.
    read = values.flags.c_contiguous and not columns.wide
    return from_array(
        FileArray(path) if read else values,
        targets=columns.targets,
        source=path.name,
        season=columns.season,
        wide=columns.wide,
    )


def _check_form(values: NDArray, source: str) -> None:
    if values.ndim not in (1, 2) or values.dtype.kind not in "iufb" or values.size == 0:
        raise InputError(
            f"{source}: expected numbers of shape [time] or [time, features], "
            f"got {values.dtype} {list(values.shape)}"
        )
