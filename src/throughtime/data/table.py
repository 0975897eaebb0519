"""What reading a table gives: series on a grid of time, with named columns."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from throughtime.data import calendar as calendars
from throughtime.data.calendar import Times
from throughtime.data.columns import Columns
from throughtime.data.sources import FileArray
from throughtime.errors import InputError

BLOCK = 1 << 18
"""Numbers that are looked at together; bounds the memory for a look at a long series."""


class Summary(NamedTuple):
    """What there is in each column of some values, `[columns]`; NaN counts as missing.

    Attributes:
        missing: how many are missing.
        total: the sum of the others.
        low: the smallest; infinity where there is none.
        high: the largest; minus infinity where there is none.
    """

    missing: NDArray[np.int64]
    total: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Series:
    """One series: equally long columns over steps of time.

    Attributes:
        name: the value of the id column, or the file's name.
        times: `[time]`, `datetime64[us]` or `int64`; a `range` where steps are numbered.
        values: `[time, targets + past]`, targets first; NaN where a value is missing. In memory,
            or in a file of which slices are read.
        covariates: `[time + future, known]`, known ahead of time: they may reach beyond the last
            target. NaN where the table has none (also in rows that were put into gaps).
        static: `[static]`.
        future: `[future]`, the times of the covariates beyond the last target.
        gaps: rows of NaN that were put in where a time stamp is missing.
    """

    name: str
    times: Times | range
    values: NDArray[np.float64] | FileArray
    covariates: NDArray[np.float64]
    static: NDArray[np.float64]
    future: Times
    gaps: int = 0

    def __len__(self) -> int:
        return len(self.times)

    def summary(self, columns: int, stop: int | None = None) -> Summary:
        """A look at the first columns of the values, up to a row: in the same memory at any length.

        Args:
            columns: how many.
            stop: the row after the last; None takes all.
        """
        found = Summary(
            np.zeros(columns, np.int64),
            np.zeros(columns),
            np.full(columns, np.inf),
            np.full(columns, -np.inf),
        )
        for block in blocks(self.values, stop):
            values = block[:, :columns]
            absent = np.isnan(values)
            found = Summary(
                found.missing + absent.sum(axis=0),
                found.total + np.where(absent, 0, values).sum(axis=0),
                np.minimum(found.low, np.where(absent, np.inf, values).min(axis=0)),
                np.maximum(found.high, np.where(absent, -np.inf, values).max(axis=0)),
            )
        return found


def blocks(
    values: NDArray[np.float64] | FileArray, stop: int | None = None
) -> Iterator[NDArray[np.float64]]:
    """Values `[time, columns]` up to a row, so many rows at a time."""
    stop = len(values) if stop is None else stop
    rows = max(1, BLOCK // max(1, values.shape[1]))
    for start in range(0, stop, rows):
        yield values[start : min(start + rows, stop)]


@dataclass(frozen=True, eq=False)
class SeriesTable:
    """Series with the same columns.

    Attributes:
        series: at least one.
        targets: names of the first columns of `Series.values`.
        past: names of its other columns.
        known: names of the columns of `Series.covariates`; those of the calendar come last.
        static: names of the values in `Series.static`; `column=word` for a word.
        frequency: such as `1h`; `irregular`; None where times are whole numbers.
        season: steps of the shortest season one expects; 1: none.
        source: the file, or the name of the built-in data.
        calendar: cycles behind the last columns of `known`, two each.
        columns: how the table was read, complete.
        unused: columns of the file that were not read.
    """

    series: tuple[Series, ...]
    targets: tuple[str, ...]
    past: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    frequency: str | None = None
    season: int = 1
    source: str = "table"
    calendar: tuple[str, ...] = ()
    columns: Columns = field(default_factory=Columns)
    unused: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.series)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Steps of each series."""
        return tuple(len(each) for each in self.series)

    def reach(self, steps: int) -> "SeriesTable":
        """The table with covariates for at least `steps` steps beyond the last target.

        The calendar is computed; columns of the user's own must hold their values already.

        Errors:
            InputError: known columns end before, or irregular times cannot be continued.
        """
        return replace(self, series=tuple(self._reach(each, steps) for each in self.series))

    def _reach(self, series: Series, steps: int) -> Series:
        missing = steps - len(series.future)
        if missing <= 0 or not self.known:
            return series
        own = self.known[: len(self.known) - 2 * len(self.calendar)]
        if own:
            raise InputError(
                f"{self.source}: known column {own[0]!r} of series {series.name!r} reaches "
                f"{len(series.future)} steps beyond the last target, expected {steps}; add rows "
                "with its values and empty targets"
            )
        times = np.concatenate([np.asarray(series.times), series.future])
        more = calendars.extend(times, missing, self.frequency)
        rows = calendars.features(more, self.calendar)
        return replace(
            series,
            covariates=np.concatenate([series.covariates, rows]),
            future=np.concatenate([series.future, more]),
        )
