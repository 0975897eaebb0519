"""Training, validation and test parts by time: what is learnt from lies before what is judged.

The borders are two moments common to all series. A split by rows of each series would let a
model learn from one series what happens in another during the test.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from throughtime.data.calendar import Times, format_time, whole
from throughtime.data.table import Series, SeriesTable
from throughtime.errors import InputError

PARTS = ("train", "validation", "test")

_ROUND = 1e-9  # 0.7 * 10 is 7.000000000000001 or 6.999999999999999; both mean 7


@dataclass(frozen=True)
class Split:
    """Where the parts of each series end.

    Attributes:
        stops: per series the rows at which training, validation and test end:
            training is `[0, stops[0])`, validation `[stops[0], stops[1])`, and so on.
        validation_from: the first moment of the validation part.
        test_from: the first moment of the test part.
        until: the first moment that is not used any more; None: all are used.
        without_training: series with nothing before `validation_from`.
        without_test: series with nothing from `test_from` on.
    """

    stops: tuple[tuple[int, int, int], ...]
    validation_from: Any
    test_from: Any
    until: Any = None
    without_training: tuple[str, ...] = ()
    without_test: tuple[str, ...] = ()

    def rows(self, series: int, part: str) -> slice:
        """The rows of one part of a series, counted among the series.

        Examples:
            >>> Split(((7, 8, 10),), 7, 8).rows(0, "test")
            slice(8, 10, None)

        Errors:
            InputError: no such part.
        """
        if part not in PARTS:
            raise InputError(f"Split: expected a part among {', '.join(PARTS)}, got {part!r}")
        at = PARTS.index(part)
        stops = self.stops[series]
        return slice(stops[at - 1] if at else 0, stops[at])

    def steps(self, part: str) -> int:
        """Rows of a part over all series."""
        slices = [self.rows(at, part) for at in range(len(self.stops))]
        return sum(each.stop - each.start for each in slices)


def split(table: SeriesTable, parts: str | Sequence[Any] = "0.7,0.1,0.2") -> Split:
    """Cut a table into training, validation and test by time.

    Args:
        table: the series.
        parts: three fractions of the time the table spans, `"0.7,0.1,0.2"`; or three numbers of
            time stamps from the first on, `"8640,2880,2880"`, the rest unused; or the two moments
            at which validation and test begin, `"2017-07-01,2017-11-01"`. With many series
            fractions and numbers count the different time stamps of all.

    Errors:
        InputError: parts of none of these forms, more than there is, borders out of order, or no
            series with anything to train on.
    """
    pieces = [str(part).strip() for part in (parts.split(",") if isinstance(parts, str) else parts)]
    times = _times_of(table)
    if len(pieces) == 3:
        borders = _counted(pieces, times)
    elif len(pieces) == 2:
        borders = (*_moments(pieces, times), None)
    else:
        raise _unclear(pieces)
    stops = tuple(_stops(series, borders) for series in table.series)
    names = [series.name for series in table.series]
    if not any(stop[0] for stop in stops):
        raise InputError(
            f"split: nothing lies before {format_time(borders[0])}, where validation begins; "
            f"{table.source} begins {format_time(times[0])}"
        )
    return Split(
        stops=stops,
        validation_from=borders[0],
        test_from=borders[1],
        until=borders[2],
        without_training=tuple(
            name for name, stop in zip(names, stops, strict=True) if stop[0] == 0
        ),
        without_test=tuple(
            name for name, stop in zip(names, stops, strict=True) if stop[2] == stop[1]
        ),
    )


def _times_of(table: SeriesTable) -> Times | range:
    """The different times of all series, in order."""
    first = table.series[0].times  # ascending, as those of each series are
    if all(series.times is first for series in table.series):
        return first
    return np.unique(np.concatenate([np.asarray(series.times) for series in table.series]))


def _unclear(pieces: Sequence[str]) -> InputError:
    return InputError(
        "split: expected three fractions (0.7,0.1,0.2), three numbers of rows "
        f"(8640,2880,2880) or two moments (2017-07-01,2017-11-01; whole numbers where times are), "
        f"got {','.join(pieces)}"
    )


def _counted(pieces: Sequence[str], times: Times | range) -> tuple[Any, Any, Any]:
    """The borders after fractions or numbers of the time stamps there are."""
    try:
        shares = [float(piece) for piece in pieces]
    except ValueError:
        raise _unclear(pieces) from None
    if not all(0 <= share < np.inf for share in shares) or shares[0] == 0:
        raise InputError(f"split: expected parts of at least 0 and some training, got {pieces}")
    total = sum(shares)
    # What sums to one is fractions. A single row of training makes no sense, so 1,0,0 is too.
    if total <= 1 + _ROUND:
        shares = [share * len(times) for share in shares]
    elif any("." in piece for piece in pieces):
        raise InputError(f"split: fractions must not exceed 1 together, got {total:g}")
    elif total > len(times):
        raise InputError(f"split: {total:.0f} rows asked for, the table has {len(times)} in time")
    ends = [int(end + _ROUND * len(times)) for end in np.cumsum(shares)]
    if ends[0] == 0:
        raise InputError(f"split: {len(times)} rows leave none for training at {','.join(pieces)}")
    beyond = times[-1] + (times[-1] - times[-2] if len(times) > 1 else 1)
    validation, test, until = (times[end] if end < len(times) else beyond for end in ends)
    return validation, test, until if ends[2] < len(times) else None


def _moments(pieces: Sequence[str], times: Times | range) -> tuple[Any, Any]:
    """The borders as they were given: dates, or whole numbers where times are."""
    found: list[Any] = []
    for piece in pieces:
        try:
            found.append(np.int64(piece) if whole(times) else np.datetime64(piece, "us"))
        except ValueError:
            raise _unclear(pieces) from None
    first, second = found
    if not whole(times) and (np.isnat(first) or np.isnat(second)):  # what an empty date becomes
        raise _unclear(pieces)
    if first > second:
        raise InputError(f"split: expected the first of two moments to be earlier, got {pieces}")
    return first, second


def _stops(series: Series, borders: tuple[Any, Any, Any]) -> tuple[int, int, int]:
    train, validation, end = (
        len(series) if border is None else bisect_left(series.times, border) for border in borders
    )
    return train, validation, end


def check_lengths(table: SeriesTable, split: Split, window: int, horizon: int) -> None:
    """Refuse series that are too short to train on and to judge by.

    Args:
        table: the series.
        split: its parts.
        window: steps a model sees at once.
        horizon: steps it forecasts.

    Errors:
        InputError: a series whose training part is shorter than window plus horizon (a series
            without any training part is not trained on and passes), or no series whose test part
            has `horizon` steps.
    """
    needed = window + horizon
    trained = [
        (series.name, stops[0])
        for series, stops in zip(table.series, split.stops, strict=True)
        if stops[0] > 0
    ]
    short = [(name, steps) for name, steps in trained if steps < needed]
    if short:
        name, steps = short[0]
        more = f" (and {len(short) - 1} more series are short)" if len(short) > 1 else ""
        raise InputError(
            f"{table.source}: series {name!r} has {steps} steps before "
            f"{format_time(split.validation_from)}, expected at least window {window} plus "
            f"horizon {horizon}, {needed}{more}"
        )
    longest = max(stops[2] - stops[1] for stops in split.stops)
    if longest < horizon:
        raise InputError(
            f"{table.source}: the test part has {longest} steps from "
            f"{format_time(split.test_from)} on, expected at least the horizon, {horizon}"
        )


def check_scale(table: SeriesTable, split: Split) -> tuple[str, ...]:
    """Find targets that never change in training.

    A constant target among others is legal: models do not divide by its scale of zero. Nothing
    can be learnt where a target is constant in every series, and its scaled errors would divide by
    zero.

    Returns:
        The constant ones, as `series` or, with several targets, `series: target`.

    Errors:
        InputError: a target without two different values in the training part of any series.
    """
    constant: list[str] = []
    names = [series.name for series in table.series]
    training = [
        series.summary(len(table.targets), stops[0])
        for series, stops in zip(table.series, split.stops, strict=True)
    ]
    for at, target in enumerate(table.targets):
        extremes = [(each.low[at], each.high[at]) for each in training]
        still = [name for name, (low, high) in zip(names, extremes, strict=True) if low >= high]
        if len(still) == len(table):
            value = next((low for low, high in extremes if low == high), None)
            said = "no value" if value is None else f"no value but {value:g}"
            raise InputError(
                f"{table.source}: target {target!r} has {said} in the training part of "
                f"{'the' if len(table) == 1 else 'each'} series; there is nothing to learn, and "
                "its scale would be zero"
            )
        many = len(table.targets) > 1
        constant += [f"{name}: {target}" if many else name for name in still]
    return tuple(constant)
