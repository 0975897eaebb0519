"""Why long dependencies are hard: what is solved by length, and what arrives of the gradient."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import groupby
from typing import Any

import numpy as np

from throughtime.errors import InputError
from throughtime.inspect.gradient_flow import GONE, GradientFlow

__all__ = [
    "LongDependencies",
    "ProbeRun",
]

WHEN = {"before": "before training", "after": "after training"}


@dataclass(frozen=True)
class ProbeRun:
    """One model, trained once on one probe of one length.

    Attributes:
        model: its name.
        time: T, steps of a row.
        seed: of its first weights and of the rows it saw.
        rate: the learning rate.
        updates: of its weights.
        stopped: why training ended: `enough` (it was good enough), `steps`, or `diverged`.
        seconds: of a processor, for training.
        error: on rows of a test, see [`probe_error`][throughtime.inspect.probe_error].
        success: the share of them that it meets, see [`success`][throughtime.inspect.success].
        lags: k in steps, ascending from 0.
        before: the norm of the gradient at each lag with its first weights.
        after: the same with its last.
    """

    model: str
    time: int
    seed: int
    rate: float
    updates: int
    stopped: str
    seconds: float
    error: float
    success: float
    lags: tuple[int, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.lags) == len(self.before) == len(self.after) > 0 or self.lags[0] != 0:
            raise InputError(
                f"ProbeRun: there are {len(self.lags)} lags from {self.lags[:1]} on and "
                f"{len(self.before)} and {len(self.after)} norms, expected as many, from lag 0 on"
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ProbeRun":
        """From a dictionary of fields, as JSON holds what `dataclasses.asdict` gave."""
        sequences = {name: tuple(values[name]) for name in ("lags", "before", "after")}
        return cls(**{**values, **sequences})


@dataclass(frozen=True)
class LongDependencies:
    """Models on one probe at several lengths, with several seeds each.

    Attributes:
        probe: its name.
        runs: all that were made, in any order.
        baseline: the error of an answer that remembers nothing, at the largest T.
        guessed: the share of rows that this answer meets.
        mark: a run whose error is below this has solved its probe; for
            [`adding`][throughtime.data.probes.adding] usually 0.01.
        least_success: where answers are classes: a run that meets at least this share of the rows
            has solved its probe, whatever its error; None: the error decides.

    Examples:
        >>> flow = {"lags": (0, 1, 2), "before": (1.0, 0.1, 0.001), "after": (1.0, 0.1, 0.001)}
        >>> some = {"rate": 0.01, "updates": 9, "stopped": "steps", "seconds": 1.0, **flow}
        >>> runs = [ProbeRun("RNN", 3, n, error=n / 9, success=0.5, **some) for n in (0, 1)]
        >>> found = LongDependencies("adding", tuple(runs), 1 / 6, 0.15)
        >>> found.solved("RNN", 3)
        (1, 2)
    """

    probe: str
    runs: tuple[ProbeRun, ...]
    baseline: float
    guessed: float
    mark: float = 0.01
    least_success: float | None = None

    @property
    def criterion(self) -> str:
        """What a run that solves the probe has: `an error below 0.01`."""
        if self.least_success is None:
            return f"an error below {self.mark:g}"
        return f"at least {_percent(self.least_success)} of rows right"

    @property
    def models(self) -> list[str]:
        """Names, in the order in which they first occur."""
        return list(dict.fromkeys(run.model for run in self.runs))

    @property
    def lengths(self) -> list[int]:
        """All T, ascending."""
        return sorted({run.time for run in self.runs})

    def of(self, model: str, time: int) -> list[ProbeRun]:
        """The runs of a model at a length, by their seeds."""
        chosen = (run for run in self.runs if (run.model, run.time) == (model, time))
        return sorted(chosen, key=lambda run: run.seed)

    def only(self, models: Sequence[str]) -> "LongDependencies":
        """The same of some of the models, in that order."""
        runs = [run for model in models for run in self.runs if run.model == model]
        return replace(self, runs=tuple(runs))

    def solved(self, model: str, time: int) -> tuple[int, int]:
        """How many runs of a model at a length solve the probe, and how many there are."""
        runs = self.of(model, time)
        return sum(map(self.solves, runs)), len(runs)

    def solves(self, run: ProbeRun) -> bool:
        """Whether a run solves the probe."""
        if self.least_success is None:
            return run.error < self.mark  # one may be NaN
        return run.success >= self.least_success

    def shares(self, model: str, time: int, when: str = "after") -> np.ndarray:
        """Norms of gradients as shares of that of lag 0: `[seeds, lags]`.

        Args:
            model: its name.
            time: T.
            when: `before` or `after` training.
        """
        if when not in WHEN:
            raise InputError(f"LongDependencies: when is {when!r}, expected before or after")
        runs = self.of(model, time)
        if not runs:
            raise InputError(f"LongDependencies: there is no run of {model} at T = {time}")
        if len({run.lags for run in runs}) > 1:
            raise InputError(f"LongDependencies: runs of {model} at T = {time} have different lags")
        norms = np.array([getattr(run, when) for run in runs], dtype=float)
        with np.errstate(divide="ignore", invalid="ignore"):
            return norms / norms[:, :1]

    def flow(self, time: int, when: str = "after") -> GradientFlow:
        """The median over seeds of these shares, a curve for each model."""
        runs = [run for run in self.runs if run.time == time]
        if not runs:
            raise InputError(f"LongDependencies: there is no run at T = {time}")
        if len({run.lags for run in runs}) > 1:
            raise InputError(f"LongDependencies: runs at T = {time} have different lags")
        there = dict.fromkeys(run.model for run in runs)
        medians = {model: np.median(self.shares(model, time, when), axis=0) for model in there}
        curves = {model: tuple(curve.tolist()) for model, curve in medians.items()}
        return GradientFlow(runs[0].lags, curves)

    def left(self, model: str, time: int, when: str = "after") -> tuple[int, float]:
        """The lag nearest to half of T, and the median share of the gradient that arrives there.

        In `adding` the first number lies at least half a row before the answer: what does not
        arrive there teaches nothing about it.
        """
        lag, shares = self._halfway(model, time, when)
        return lag, float(np.median(shares))

    def _halfway(self, model: str, time: int, when: str) -> tuple[int, np.ndarray]:
        """The lag nearest to half of T, and the shares of all seeds there, ascending."""
        shares = self.shares(model, time, when)
        lags = self.of(model, time)[0].lags
        at = halfway(lags, time)
        return lags[at], np.sort(shares[:, at])

    def explain(self) -> list[str]:
        """What the numbers say: what is solved, what arrives of the gradient, what follows."""
        if not self.runs:
            return []
        said = [self._solves(model) for model in self.models]
        time = self.lengths[-1]
        there = [model for model in self.models if self.of(model, time)]
        said += [self._reaches(model, time) for model in there]
        return [*said, *self._together(there, time)]

    def _solves(self, model: str) -> str:
        """`RNN: solves all 5 seeds at T = 50, none at T = 100, 200 and 400`."""
        counts = {time: self.solved(model, time) for time in self.lengths}
        told = []
        for count, times in groupby((t for t in counts if counts[t][1]), key=lambda t: counts[t]):
            told.append(f"{_of(*count)} at T = {listed([*times])}")
        failed = [run for run in self.runs if run.model == model and not self.solves(run)]
        said = f"{model} solves {', '.join(told)}"
        return f"{said}; where it fails {self._fails(failed)}." if failed else f"{said}."

    def _fails(self, failed: Sequence[ProbeRun]) -> str:
        """How far from the mark runs are that do not solve the probe."""
        if self.least_success is None:
            spread = _ends([run.error for run in failed], "{:.3g}".format)
            return f"its error is {spread} (of no memory: {self.baseline:.3g})"
        spread = _ends([run.success for run in failed], _percent)
        return f"it gets {spread} of rows right (without memory: {_percent(self.guessed)})"

    def _reaches(self, model: str, time: int) -> str:
        """What is left of the gradient halfway back, over all seeds."""
        lag, before = self._halfway(model, time, "before")
        _, after = self._halfway(model, time, "after")
        return (
            f"{model} at T = {time}: {lag} steps back {_spread(before)} of the last step's "
            f"gradient is left before training, {_spread(after)} after it."
        )

    def _together(self, models: Sequence[str], time: int) -> list[str]:
        """Whether what solves the longest is what keeps its gradient."""
        said = {
            when: _lasting({model: self.left(model, time, when)[1] for model in models})
            for when in WHEN
        }
        if len(set(said.values())) == 1:
            told = f"{said['before']} before and after training"
        else:
            told = "; ".join(f"{WHEN[when]} {one}" for when, one in said.items())
        count = {model: self.solved(model, time) for model in models}
        solving = [model for model, (solved, runs) in count.items() if 2 * solved > runs]
        most = f"{listed(solving)} solved for most seeds" if solving else "nothing solved"
        failing = [model for model in models if model not in solving]
        if solving and failing:
            most += f", {listed(failing)} not"
        return [f"At T = {time}, halfway back, {told}; {most}."]

    def __str__(self) -> str:
        return "\n".join(self.explain())

    def to_json(self) -> str:
        """One JSON object with every run."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "LongDependencies":
        """What `to_json` wrote.

        Errors:
            InputError: something else.
        """
        try:
            known = json.loads(text)
            names = [field.name for field in fields(cls)]
            values = {name: known[name] for name in names if name in known}
            runs = tuple(ProbeRun.from_dict(run) for run in values.pop("runs"))
            return cls(runs=runs, **values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(
                f"LongDependencies: expected what to_json wrote, got {text[:40]!r} ({error})"
            ) from None


def _of(solved: int, runs: int) -> str:
    """`all 5 seeds`, `3 of 5 seeds`, `none of 5 seeds`."""
    if solved in (0, runs) and runs == 1:
        return "its one seed" if solved else "not its one seed"
    if solved == runs:
        return f"all {runs} seeds"
    return f"{solved or 'none'} of {runs} seeds"


def _lasting(left: Mapping[str, float]) -> str:
    """Whose gradient has vanished, and whose carries on."""
    gone = [model for model, share in left.items() if not share > GONE]
    lasting = [model for model in left if model not in gone]
    said = [f"the gradient of {listed(gone)} has vanished (1 % or less)"] if gone else []
    if lasting:
        said.append(f"{'that' if gone else 'the gradient'} of {listed(lasting)} carries on")
    return " and ".join(said)


def halfway(lags: Sequence[int], time: int) -> int:
    """The place of the lag nearest to half of T."""
    return min(range(len(lags)), key=lambda place: abs(lags[place] - time / 2))


def listed(names: Sequence[Any]) -> str:
    """`50`, `50 and 100`, `50, 100 and 200`."""
    *first, last = map(str, names)
    return f"{', '.join(first)} and {last}" if first else last


def _spread(shares: np.ndarray) -> str:
    """The median of some shares, and their range."""
    told, least, most = map(_share, (float(np.median(shares)), shares[0], shares[-1]))
    return told if least == most else f"{told} ({least} to {most} by seed)"


def _ends(values: Sequence[float], form: Callable[[float], str]) -> str:
    """The least of some values, and the greatest."""
    least, most = form(min(values)), form(max(values))
    return least if least == most else f"{least} to {most}"


def _percent(share: float) -> str:
    """A share of rows: three digits, and what is below a twentieth of a percent is nothing."""
    return f"{100 * share:.3g} %" if share >= 0.0005 else "0 %"


def _share(share: float) -> str:
    """As a percentage where that is easily read, else as a power of ten."""
    if not math.isfinite(share):
        return "no number"
    if share == 0:
        return "nothing"
    if share < 0.001:
        return f"{share:.1g}"
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"
