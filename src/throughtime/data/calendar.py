r"""Time stamps as a grid: the frequency, the season, and what a calendar knows ahead of time.

A time stamp is a `datetime64[us]` without time zone, or a whole number. A frequency is written as
in polars: a count and a unit, `15m`, `1h`, `1d`, `1w`, `1mo`, `1q`, `1y`. Months, quarters and
years are counted on the calendar, everything else in microseconds.

A cycle of the calendar with phase $\phi(t) \in [0, 1)$ enters a model as the pair

$$\sin 2\pi\phi(t), \quad \cos 2\pi\phi(t)$$

so that the end of a day lies beside its beginning.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from throughtime.errors import InputError

IRREGULAR = "irregular"
"""The frequency of rows that are steps however far apart they lie; their times are labels."""

Times = NDArray[Any]
"""`datetime64[us]` or `int64`, one per step."""

SECOND = 1_000_000
DAY = 86_400 * SECOND
_FIXED = {"us": 1, "ms": 1_000, "s": SECOND, "m": 60 * SECOND, "h": 3_600 * SECOND}
_FIXED |= {"d": DAY, "w": 7 * DAY}
_MONTHS = {"mo": 1, "q": 3, "y": 12}


def parse_frequency(frequency: str) -> tuple[int, str]:
    """The step of a frequency: a count of `"us"` (microseconds) or of `"months"`.

    Examples:
        >>> parse_frequency("15m"), parse_frequency("1q")
        ((900000000, 'us'), (3, 'months'))

    Errors:
        InputError: not a count and a unit.
    """
    match = re.fullmatch(r"(\d+)(us|ms|s|mo|m|h|d|w|q|y)", frequency.strip())
    if match is None or int(match[1]) < 1:
        raise InputError(
            f"frequency: expected a count and a unit such as 15m, 1h, 1d, 1w, 1mo, 1q, 1y, or "
            f"{IRREGULAR!r}, got {frequency!r}"
        )
    count, unit = int(match[1]), match[2]
    if unit in _MONTHS:
        return count * _MONTHS[unit], "months"
    return count * _FIXED[unit], "us"


def name_frequency(step: int, unit: str) -> str:
    """The shortest name of a step, the inverse of `parse_frequency`."""
    table = _MONTHS if unit == "months" else _FIXED
    name = max((name for name in table if step % table[name] == 0), key=lambda name: table[name])
    return f"{step // table[name]}{name}"


def season_of(frequency: str | None) -> int:
    """Steps of the shortest season one expects at a frequency; 1 means none.

    A day for steps of a minute up to a day, a week for days, a year for weeks, months and quarters.

    Examples:
        >>> [season_of(each) for each in ("15m", "1h", "1d", "1w", "1mo", "1q", "1y", None)]
        [96, 24, 7, 52, 12, 4, 1, 1]
    """
    if frequency is None or frequency == IRREGULAR:
        return 1
    step, unit = parse_frequency(frequency)
    if unit == "months":
        return 12 // step if 12 % step == 0 else 1
    if step == 7 * DAY:
        return 52
    if step == DAY:
        return 7
    return DAY // step if step >= 60 * SECOND and step < DAY and DAY % step == 0 else 1


def whole(times: Times | range) -> bool:
    """Whether these times are whole numbers and not dates."""
    return isinstance(times, range) or times.dtype.kind == "i"


def format_time(time: Any) -> str:
    """A time stamp in words: a date without the clock where that shows midnight, or the number."""
    if not isinstance(time, np.datetime64):
        return str(int(time))
    text = str(time.astype("datetime64[s]")).replace("T", " ")
    return text.removesuffix(" 00:00:00").removesuffix(":00")


@dataclass(frozen=True)
class Grid:
    """Evenly spaced points of time, numbered.

    Attributes:
        step: distance of two neighbours, in `unit`.
        unit: `"us"` microseconds, `"months"`, or `"whole"` numbers.
        phase: where the points lie within a step: in `unit`, from 0 to `step - 1`.
        within: months only: microseconds from the beginning of the month (or, when negative,
            back from the beginning of the next).
    """

    step: int
    unit: str
    phase: int = 0
    within: int = 0

    @classmethod
    def through(cls, times: Times, frequency: str | None) -> "Grid":
        """The grid of this frequency on which most of the times lie.

        For whole numbers the step is the most common difference.
        """
        if whole(times):
            gaps = np.diff(times)
            step = _most_common(gaps[gaps > 0]) if (gaps > 0).any() else 1
            return cls(step, "whole", _most_common(times % step))
        step, unit = parse_frequency(frequency or "")
        if unit == "us":
            return cls(step, unit, _most_common(times.astype(np.int64) % step))
        within, _ = _within_month(times)
        months = times.astype("datetime64[M]").astype(np.int64)
        return cls(step, unit, _most_common(months % step), within)

    def index(self, times: Times) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The number of each time's point, and whether the time lies on it exactly."""
        if self.unit == "months":
            counts = times.astype("datetime64[M]").astype(np.int64)
        else:
            counts = times.astype(np.int64)
        index = (counts - self.phase) // self.step
        return index, self.time(index, times.dtype) == times

    def time(self, index: NDArray[np.int64], dtype: Any = "datetime64[us]") -> Times:
        """The times of numbered points."""
        counts = index * self.step + self.phase
        if self.unit != "months":
            return counts.astype(dtype)
        if self.within < 0:  # counted from the end: the last day of each month
            counts = counts + 1
        return counts.astype("datetime64[M]").astype(dtype) + np.timedelta64(self.within, "us")


def infer_frequency(series: Sequence[Times]) -> str:
    """The frequency that most neighbouring time stamps of these series show.

    Steps of four weeks or longer are months, quarters or years where most of the time stamps have
    one place in the month: the same day, or the last.

    Errors:
        InputError: no series has two time stamps.
    """
    gaps = np.concatenate([np.diff(times.astype(np.int64)) for times in series])
    if not (gaps > 0).any():
        raise InputError("frequency: cannot be told from a single time stamp, give frequency")
    gap = _most_common(gaps[gaps > 0])
    if gap >= 28 * DAY:
        every = np.concatenate(list(series))
        months = [np.diff(times.astype("datetime64[M]").astype(np.int64)) for times in series]
        between = np.concatenate(months)
        if _within_month(every)[1] > 0.5 and (between > 0).any():
            return name_frequency(_most_common(between[between > 0]), "months")
    return name_frequency(gap, "us")


def extend(times: Times | range, steps: int, frequency: str | None = None) -> Times:
    """The `steps` time stamps that follow the last one.

    Args:
        times: regular times, at least one; whole numbers, or dates with their `frequency`.
        steps: how many more.
        frequency: of the dates; None infers it.

    Errors:
        InputError: the times are irregular, so what follows is not known.
    """
    if frequency == IRREGULAR:
        raise InputError("frequency: irregular time stamps cannot be continued beyond their end")
    if isinstance(times, range):
        return times[-1] + times.step * np.arange(1, steps + 1)
    if frequency is None and not whole(times):
        frequency = infer_frequency([times])
    grid = Grid.through(times, frequency)
    last = grid.index(times[-1:])[0][0]
    return grid.time(last + 1 + np.arange(steps), times.dtype)


def _hour(times: Times) -> NDArray[np.float64]:
    return (times.astype(np.int64) % DAY) / DAY


def _weekday(times: Times) -> NDArray[np.float64]:
    # 1970-01-01, day 0, was a Thursday; Monday has phase 0.
    return ((times.astype("datetime64[D]").astype(np.int64) + 3) % 7) / 7


def _yearday(times: Times) -> NDArray[np.float64]:
    years = times.astype("datetime64[Y]")
    first, following = years.astype("datetime64[us]"), (years + 1).astype("datetime64[us]")
    return (times - first) / (following - first)


def _month(times: Times) -> NDArray[np.float64]:
    return (times.astype("datetime64[M]").astype(np.int64) % 12) / 12


CYCLES: dict[str, Callable[[Times], NDArray[np.float64]]] = {
    "hour": _hour,
    "weekday": _weekday,
    "yearday": _yearday,
    "month": _month,
}
"""The phase of each cycle, from 0 to 1: of the day, the week and (twice) the year."""


def cycles(times: Times, frequency: str | None) -> tuple[str, ...]:
    """The cycles that fit a frequency and that these times run through at least twice.

    A cycle seen less than twice would give a model values in the test part that it never met.
    Irregular times have none of their own accord: what follows them could not be computed.
    """
    if whole(times) or frequency in (None, IRREGULAR) or len(times) < 2:
        return ()
    step, unit = parse_frequency(frequency)
    span = int((times.max() - times.min()).astype(np.int64))
    fitting: list[tuple[str, int]] = []
    if unit == "months":
        fitting = [("month", 365 * DAY)] if step < 12 else []
    else:
        fitting += [("hour", DAY)] if step < DAY else []
        fitting += [("weekday", 7 * DAY)] if step <= DAY else []
        fitting += [("yearday", 365 * DAY)] if step < 182 * DAY else []
    return tuple(name for name, length in fitting if span >= 2 * length)


def feature_names(chosen: Sequence[str]) -> tuple[str, ...]:
    """The columns that `features` makes.

    Errors:
        InputError: a cycle that does not exist.
    """
    for name in chosen:
        if name not in CYCLES:
            raise InputError(f"calendar: expected cycles among {', '.join(CYCLES)}, got {name!r}")
    return tuple(f"{name}.{wave}" for name in chosen for wave in ("sin", "cos"))


def features(times: Times, chosen: Sequence[str]) -> NDArray[np.float64]:
    """Sine and cosine of each chosen cycle, `[time, 2 * len(chosen)]`, each from -1 to 1.

    Errors:
        InputError: a cycle that does not exist, or times that are not dates.
    """
    feature_names(chosen)
    if not chosen:
        return np.empty((len(times), 0))
    if whole(times):
        raise InputError("calendar: the times are whole numbers, expected dates")
    angles = [2 * np.pi * CYCLES[name](times) for name in chosen]
    return np.stack([wave(angle) for angle in angles for wave in (np.sin, np.cos)], axis=1)


def _most_common(values: NDArray[Any]) -> int:
    found, counts = np.unique(values, return_counts=True)
    return int(found[counts.argmax()])


def _within_month(times: Times) -> tuple[int, float]:
    """The commonest place in the month, and the share of the times that have it."""
    months = times.astype("datetime64[M]")
    begin, end = months.astype("datetime64[us]"), (months + 1).astype("datetime64[us]")
    places = [(times - begin).astype(np.int64), (times - end).astype(np.int64)]
    shares = [float((place == _most_common(place)).mean()) for place in places]
    # The same day of each month, or the same distance from its end; the first wins a draw,
    # except from the 29th on, where the end of the month is what people mean.
    late = _most_common(places[0]) >= 28 * DAY
    chosen = int(shares[1] > shares[0] or (shares[1] == shares[0] and late))
    return _most_common(places[chosen]), shares[chosen]
