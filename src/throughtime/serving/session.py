"""A session: one observation in, one prediction out, the state kept in between.

What it answers is what a run over the whole sequence would say at that step, and its memory never
grows: it is a model, a state, and the time of the last observation.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from throughtime import state as states
from throughtime.data import calendar
from throughtime.data.text import Vocabulary
from throughtime.errors import InputError
from throughtime.models.autoregressive import Autoregressive
from throughtime.state import State
from throughtime.training.run import Run

LEVELS = (0.025, 0.1, 0.5, 0.9, 0.975)
"""Quantiles of each answer: the median, and the 80 % and 95 % intervals."""

LIKELIEST = 5
"""Tokens named in each answer."""


class Session:
    """What sessions on series and on text share.

    Args:
        run: the trained model and how its data were read.

    Attributes:
        observed: observations so far.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.model: Autoregressive = run.model
        self.state: State = None
        self.observed = 0

    def observe(self, observation: Any) -> dict[str, Any]:
        """Take in one observation and say what comes next.

        Errors:
            InputError: an observation that does not fit; the session is as it was before.
        """
        raise NotImplementedError

    def save(self, path: Path) -> None:
        """Write all that is needed to go on later: a few kilobytes."""
        states.save_tree({"observed": self.observed, "state": self.state, **self._more()}, path)

    def restore(self, path: Path) -> None:
        """Go on where `save` was called.

        Errors:
            InputError: not the state of a session of this model.
        """
        tree = states.load_tree(path, self.model.like().device)
        if not isinstance(tree, dict) or not {"observed", "state"} <= set(tree):
            raise InputError(f"{path} is not the state of a session")
        if tree["state"] is not None:
            self.model.check_state(tree["state"], 1)
        self.observed, self.state = tree["observed"], tree["state"]
        self._take(tree)

    def _more(self) -> dict[str, Any]:
        return {}

    def _take(self, tree: Mapping[str, Any]) -> None:
        pass


class SeriesSession(Session):
    """A session on a series.

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
        self.static: dict[str, Any] = {}
        self.start = None if start is None else self._moment(start)

    @property
    def names(self) -> tuple[str, ...]:
        """What an observation holds: targets, then past covariates."""
        targets = ("value",) if self.columns.wide else self.columns.targets
        return (*targets, *self.columns.past)

    @torch.inference_mode()
    def observe(self, observation: Any) -> dict[str, Any]:
        """One step.

        Args:
            observation: a number (for one target), or an object: each target by its name, None or
                absent where it was not observed; the time under the name of the time column, or
                `time`; past covariates by name; columns known ahead, of the step to be predicted,
                by name; static columns with the first observation.

        Returns:
            `time` of the step predicted where times are known, and per target its `mean`, `median`
            and quantiles by level.
        """
        if not isinstance(observation, Mapping):
            only, *others = self.names
            if others:
                raise InputError(f"expected an object with {', '.join(self.names)}, got a number")
            observation = {only: observation}
        allowed = {*self.names, *self.columns.known, *self.columns.static, "time"}
        allowed |= {self.columns.time or "time"}
        unknown = sorted(set(observation) - allowed)
        if unknown:
            raise InputError(
                f"unknown column {unknown[0]!r}, expected {', '.join(sorted(allowed))}"
            )
        static = {**{k: observation[k] for k in self.columns.static if k in observation}}
        time = self._time(observation)
        following = self._following(time)
        covariates = self._covariates(observation, following, {**self.static, **static})
        values = [_number(name, observation.get(name)) for name in self.names]
        like = self.model.like()
        x = torch.tensor([[values]], dtype=like.dtype, device=like.device)
        if self.state is None:  # the first observation is not predicted: only its state is needed
            first = None if covariates is None else torch.zeros_like(covariates) * math.nan
            _, self.state = self.model(self.model.begin(1), None, None, None, first)
        parameters, self.state = self.model(x, self.state, None, None, covariates)
        self.time, self.static, self.observed = time, {**self.static, **static}, self.observed + 1
        return self._answer(parameters, following)

    def _answer(self, parameters: torch.Tensor, following: Any) -> dict[str, Any]:
        quantiles = self.model.head.quantile(parameters[:, 0], self.levels)[0].tolist()
        targets = self.names[: len(self.names) - len(self.columns.past)]
        point = self.model.head.point(parameters[:, 0])[0].tolist()
        answer: dict[str, Any] = {}
        if following is not None:
            answer["time"] = calendar.format_time(following)
        for name, median, row in zip(targets, point, quantiles, strict=False):
            levels = {f"{level:g}": value for level, value in zip(self.levels, row, strict=True)}
            answer[name] = {"median": median, "quantiles": levels}
        return answer

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
        if self.start is not None:
            return self.start
        if self.columns.calendar:
            raise InputError(
                f"the model uses the calendar ({', '.join(self.columns.calendar)}); give each "
                f"observation a {self.columns.time or 'time'!r}, or the first one --start"
            )
        return None

    def _moment(self, given: Any) -> Any:
        try:
            if self.columns.frequency is None:
                return np.int64(given)
            return np.datetime64(str(given), "us")
        except ValueError:
            what = "a whole number" if self.columns.frequency is None else "a date"
            raise InputError(f"time is {given!r}, expected {what}") from None

    def _following(self, time: Any) -> Any:
        if time is None or self.columns.frequency == calendar.IRREGULAR:
            return None
        return calendar.extend(np.array([time]), 1, self.columns.frequency)[0]

    def _covariates(
        self, observation: Mapping[str, Any], following: Any, static: Mapping[str, Any]
    ) -> torch.Tensor | None:
        if not self.model.inputs.covariates:
            return None
        row = [_number(name, observation.get(name)) for name in self.columns.known]
        if self.columns.calendar:
            row += calendar.features(np.array([following]), self.columns.calendar)[0].tolist()
        words = dict(self.columns.categories)
        for name in self.columns.static:
            if name not in static:
                raise InputError(f"the first observation must hold the static column {name!r}")
            if name in words:
                if str(static[name]) not in words[name]:
                    raise InputError(
                        f"{name} is {static[name]!r}, which was not in the training data"
                    )
                row += [float(str(static[name]) == word) for word in words[name]]
            else:
                row.append(_number(name, static[name]))
        like = self.model.like()
        return torch.tensor([[row]], dtype=like.dtype, device=like.device)

    def _more(self) -> dict[str, Any]:
        time = None if self.time is None else calendar.format_time(self.time)
        return {"time": time, "static": dict(self.static)}

    def _take(self, tree: Mapping[str, Any]) -> None:
        self.time = None if tree.get("time") is None else self._moment(tree["time"])
        self.static = dict(tree.get("static", {}))


class TextSession(Session):
    """A session on text: each observation is a piece of text of any length.

    Args:
        run: the trained model and its vocabulary.
    """

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        assert run.vocabulary is not None
        self.vocabulary: Vocabulary = run.vocabulary

    @torch.inference_mode()
    def observe(self, observation: Any) -> dict[str, Any]:
        """Take in some text; say how surprising it was, and which tokens are likeliest to follow.

        Returns:
            `tokens`, how many came; `bits`, -log2 of their probability; `next`, the likeliest
            tokens with their probabilities.
        """
        if not isinstance(observation, str):
            raise InputError(f"expected text, got {observation!r}")
        ids = torch.from_numpy(self.vocabulary.encode(observation))[None]
        ids = ids.to(self.model.like().device)
        if not ids.shape[1]:
            raise InputError("expected at least one token, got an empty line")
        bits = 0.0
        if self.state is None:
            first = self.model.begin(1)
            parameters, state = self.model(first, None)
            last = parameters[:, -1]
        else:
            state, last = self.state
        parameters, state = self.model(ids, state)
        foretold = torch.cat([last.unsqueeze(1), parameters[:, :-1]], dim=1)
        bits = -float(self.model.head.log_prob(foretold, ids).sum()) / math.log(2)
        self.state = (state, parameters[:, -1])
        self.observed += ids.shape[1]
        probabilities = parameters[0, -1].softmax(-1)
        top = probabilities.topk(min(LIKELIEST, len(probabilities)))
        pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
        likeliest = {self.vocabulary.decode([number]): share for number, share in pairs}
        return {"tokens": ids.shape[1], "bits": bits, "next": likeliest}

    def restore(self, path: Path) -> None:
        """Go on where `save` was called."""
        tree = states.load_tree(path, self.model.like().device)
        if (
            not isinstance(tree, dict)
            or not isinstance(tree.get("state"), tuple)
            or len(tree["state"]) != 2
        ):
            raise InputError(f"{path} is not the state of a session on text")
        state, _ = tree["state"]
        self.model.check_state(state, 1)
        self.observed, self.state = tree["observed"], tree["state"]


def open_session(run: Run, start: str | None = None, levels: Sequence[float] = LEVELS) -> Session:
    """A session on whatever the run is about."""
    if run.vocabulary is not None:
        return TextSession(run)
    return SeriesSession(run, start, levels)


def _number(name: str, value: Any) -> float:
    if value is None or value == "":
        return math.nan
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InputError(f"{name} is {value!r}, expected a number") from None
    if math.isinf(number):
        raise InputError(f"{name} is {value!r}, expected a finite number")
    return number
