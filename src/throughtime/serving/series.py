"""Sessions on series."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from throughtime.data import calendar
from throughtime.data.frames import MISSING, polars
from throughtime.data.frames import times as read_times
from throughtime.errors import InputError
from throughtime.models.autoregressive import Autoregressive
from throughtime.serving.session import Session
from throughtime.training.run import Run

LEVELS = (0.025, 0.1, 0.5, 0.9, 0.975)
"""Quantiles of each answer: the median, and the 80 % and 95 % intervals."""

LONGEST_GAP = 10_000
"""Steps that may be missing between two observations; more means that a time stamp is wrong."""

NOW = "now."
"""Before the name of a column known ahead: its value at the observation itself."""

_ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?)?")


class SeriesSession(Session[Autoregressive]):
    """A session on one series.

    Where observations have times and the frequency is known, steps left out are taken in as
    missing ones, as when a table is read.

    Args:
        run: the trained model.
        start: the time of the first observation, where observations come without times.
        levels: quantiles of each answer.
    """

    def __init__(
        self, run: Run, start: str | None = None, levels: Sequence[float] = LEVELS
    ) -> None:
        super().__init__(run)
        self.columns = run.config.data.columns
        self.levels = tuple(levels)
        self.time: Any = None
        self.series: str | None = None
        self.static: dict[str, Any] = {}
        self.start = None if start is None else self._moment(start)

    @property
    def names(self) -> tuple[str, ...]:
        """What an observation holds: targets, then past covariates."""
        targets = ("value",) if self.columns.wide else self.columns.targets
        return targets + self.columns.past

    @property
    def allowed(self) -> tuple[str, ...]:
        """All names an observation may have."""
        known, time = self.columns.known, self.columns.time or "time"
        named = (*self.names, *known, *(NOW + name for name in known), *self.columns.static)
        labels = (time, "time") if self.columns.id is None else (time, "time", self.columns.id)
        return tuple(dict.fromkeys((*named, *labels)))

    @torch.inference_mode()
    def observe(self, observation: Any) -> dict[str, Any]:
        """One step.

        Args:
            observation: a number (for one target), or an object: each target by its name, None or
                absent where it was not observed; the time under the name of the time column, or
                `time`; past covariates by name; columns known ahead, of the step to be predicted,
                by name, and of the observation itself as `now.NAME` where the one before did not
                tell them; static columns with the first observation.

        Returns:
            `time` of the step predicted where it is known, and per target its `median` and
            `quantiles` by level.
        """
        observation = self._named(observation)
        series = self._series(observation)
        static = {**self.static}
        static |= {name: observation[name] for name in self.columns.static if name in observation}
        time = self._time(observation)
        following = self._following(time)
        missed = self._missed(time)
        here = {name: observation.get(NOW + name) for name in self.columns.known}
        values = [to_number(name, observation.get(name)) for name in self.names]

        # What is fed, each with what is known of the step after it. The first observation itself
        # is foretold from nothing, and a missed step tells nothing.
        nothing = [math.nan] * len(values)
        before = len(missed) if self.state is not None else 1
        fed = [nothing] * before + [values]
        if self.state is None:
            known = [self._known(here, time, static)]
        else:
            known = [self._known({}, moment, static) for moment in missed[1:]]
            known += [self._known(here, time, static)] * (before > 0)
        known.append(self._known(observation, following, static))
        parameters, self.state = self.model(
            self._tensor(fed), self.state, None, None,
            self._tensor(known) if self.model.inputs.covariates else None,
        )  # fmt: skip
        self.time, self.static, self.series = time, static, series
        self.observed += 1
        return self._answer(parameters[:, -1], following)

    def _answer(self, parameters: torch.Tensor, following: Any) -> dict[str, Any]:
        quantiles = self.model.head.quantile(parameters, self.levels)[0].tolist()
        point = self.model.head.point(parameters)[0].tolist()
        targets = self.names[: len(self.names) - len(self.columns.past)]
        answer: dict[str, Any] = {}
        if following is not None:
            answer["time"] = calendar.format_time(following)
        for name, median, row in zip(targets, point, quantiles, strict=False):
            levels = {f"{level:g}": value for level, value in zip(self.levels, row, strict=True)}
            answer[name] = {"median": median, "quantiles": levels}
        return answer

    def _named(self, observation: Any) -> Mapping[str, Any]:
        if not isinstance(observation, Mapping):
            only, *others = self.names
            if others:
                raise InputError(
                    f"expected an object with {', '.join(self.names)}, got {observation!r}"
                )
            return {only: observation}
        unknown = [name for name in observation if name not in self.allowed]
        if unknown:
            raise InputError(f"unknown column {unknown[0]!r}, expected {', '.join(self.allowed)}")
        return observation

    def _series(self, observation: Mapping[str, Any]) -> str | None:
        given = observation.get(self.columns.id or "")
        if given is None:
            return self.series
        if self.series not in (None, str(given)):
            raise InputError(
                f"{self.columns.id} is {given!r} after {self.series!r}; each series needs a "
                "session of its own"
            )
        return str(given)

    # -- time ---------------------------------------------------------------------------------

    def _time(self, observation: Mapping[str, Any]) -> Any:
        given = observation.get(self.columns.time or "time", observation.get("time"))
        if given is not None:
            time = self._moment(given)
            if self.time is not None and time <= self.time:
                raise InputError(
                    f"time {calendar.format_time(time)} does not lie after the one before, "
                    f"{calendar.format_time(self.time)}"
                )
            return time
        if self.time is not None:
            return self._following(self.time)
        if self.start is not None and self.state is None:
            return self.start
        if self.columns.calendar:
            raise InputError(
                f"the model uses the calendar ({', '.join(self.columns.calendar)}); give each "
                f"observation a {self.columns.time or 'time'!r}, or the first one --start"
            )
        return None

    def _moment(self, given: Any) -> Any:
        frequency, text = self.columns.frequency, str(given).strip()
        number = isinstance(given, int | float | np.integer) or text.lstrip("+-").isdigit()
        if frequency is None or (frequency == calendar.IRREGULAR and number):
            try:
                return np.int64(text)
            except ValueError:
                raise InputError(f"time is {given!r}, expected a whole number") from None
        if self.columns.time_format is None and _ISO.fullmatch(text):
            try:
                return np.datetime64(text, "us")
            except ValueError:  # the 31st of February
                text = ""
        if text and not (number and not isinstance(given, str)):
            frame = polars().DataFrame({"time": [text]})
            try:
                (time,) = read_times(frame, "time", "stream", self.columns.time_format)
            except InputError:
                pass
            else:
                if isinstance(time, np.datetime64):
                    return time
        raise InputError(
            f"time is {given!r}, expected a date such as 2020-01-31 or 2020-01-31 13:00"
        )

    def _following(self, time: Any) -> Any:
        """The next point of time; None where it is not known."""
        if time is None or self.columns.frequency == calendar.IRREGULAR:
            return None
        if self.columns.frequency is None:
            # How far numbered steps lie apart is not known, unless they were counted.
            return time + 1 if self.columns.time is None else None
        times = [time] if self.time is None or self.time >= time else [self.time, time]
        return calendar.extend(np.array(times), 1, self.columns.frequency)[0]

    def _missed(self, time: Any) -> list[Any]:
        """The steps between the last observation and this one."""
        frequency = self.columns.frequency
        if None in (time, self.time, frequency) or frequency == calendar.IRREGULAR:
            return []
        both = np.array([self.time, time])
        grid = calendar.Grid.through(both, frequency)
        (last, here), on = grid.index(both)
        said, before = calendar.format_time(time), calendar.format_time(self.time)
        if not on.all():
            raise InputError(
                f"time {said} is no whole number of steps of {frequency} after {before}"
            )
        if here - last > LONGEST_GAP:
            raise InputError(
                f"time {said} lies {here - last:,} steps of {frequency} after the one before, "
                f"{before}; is it right?"
            )
        return list(grid.time(np.arange(last + 1, here), both.dtype))

    # -- numbers ------------------------------------------------------------------------------

    def _known(
        self, values: Mapping[str, Any], time: Any, static: Mapping[str, Any]
    ) -> list[float]:
        """What is known ahead of the step at a time: known columns, calendar, static ones."""
        if not self.model.inputs.covariates:
            return []
        row = [to_number(name, values.get(name)) for name in self.columns.known]
        if self.columns.calendar:
            if time is None:
                raise InputError("the model uses the calendar, and irregular steps have no next")
            row += calendar.features(np.array([time]), self.columns.calendar)[0].tolist()
        categories = dict(self.columns.categories)
        for name in self.columns.static:
            if name not in static:
                raise InputError(f"the first observation must hold the static column {name!r}")
            words = categories.get(name)
            if words is None:
                row.append(to_number(name, static[name]))
                continue
            word = str(static[name]).strip()
            if word not in words:
                raise InputError(f"{name} is {word!r}, expected one of {', '.join(words)}")
            row += [float(word == each) for each in words]
        return row

    def _tensor(self, rows: list[list[float]]) -> torch.Tensor:
        like = self.model.like()
        return torch.tensor([rows], dtype=like.dtype, device=like.device)

    # -- a pause ------------------------------------------------------------------------------

    def _more(self) -> dict[str, Any]:
        time = int(self.time) if isinstance(self.time, np.integer) else self.time
        time = str(time) if isinstance(time, np.datetime64) else time
        return {"time": time, "series": self.series, "static": dict(self.static)}

    def _take(self, tree: Mapping[str, Any]) -> None:
        self.time = None if tree["time"] is None else self._moment(tree["time"])
        self.series, self.static = tree["series"], dict(tree["static"])


def to_number(name: str, value: Any) -> float:
    """A number, NaN where it is missing; true and false are 1 and 0, as in a table."""
    if isinstance(value, str):
        value = {"true": 1.0, "false": 0.0}.get(value.strip().lower(), value.strip())
    if value is None or value in MISSING:
        return math.nan
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InputError(f"{name} is {value!r}, expected a number") from None
    if math.isinf(number):
        raise InputError(f"{name} is {value!r}, expected a finite number")
    return number
