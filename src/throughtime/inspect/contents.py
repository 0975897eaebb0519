"""What figures and reports are made of, as plain data.

Nothing here knows how a model is trained or a page is drawn, so a comparison can be kept, sent and
shown elsewhere. Numbers that could not be computed are NaN or infinite; they are shown as such.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, SupportsFloat

import numpy as np

from throughtime.errors import InputError
from throughtime.inspect.class_contents import ClassPart

Numbers = Sequence[SupportsFloat] | np.ndarray
"""A list of numbers, or an array of one axis."""

Better = Literal["lower", "higher"] | float | int | None
"""Which values of a column are good: low ones, high ones, those near a number, or no matter."""


@dataclass(frozen=True)
class Curve:
    """One training run: its losses over time.

    Args:
        model: the name it has in every table and figure.
        seed: what its random numbers started from.
        steps: where the losses were taken, for instance epochs.
        training: loss at each of them on the data the weights were fitted to; empty if not kept.
        validation: loss at each of them on held-out data.
        kept: index into them of the weights that were kept; None: where validation is lowest.
            Training may go by another measure than the loss that is drawn.
    """

    model: str
    seed: int
    steps: Numbers
    training: Numbers
    validation: Numbers
    kept: int | None = None

    @property
    def best(self) -> int | None:
        """The index of the weights that were kept; None where no loss is finite."""
        losses = np.asarray([float(loss) for loss in self.validation])
        if self.kept is not None or not np.isfinite(losses).any():
            return self.kept
        return int(np.nanargmin(np.where(np.isfinite(losses), losses, np.nan)))

    def __post_init__(self) -> None:
        for name, losses in (("training", self.training), ("validation", self.validation)):
            if len(losses) not in (0, len(self.steps)):
                raise InputError(
                    f"Curve: {name} has {len(losses)} losses, expected {len(self.steps)} (or none)"
                )


@dataclass(frozen=True)
class Fan:
    """One forecast of one series against what happened.

    Args:
        model: the name it has in every table and figure.
        series: which series.
        history_times: numbers or dates of the steps before the forecast.
        history: their values; NaN is a gap.
        times: numbers or dates of the steps forecast.
        actual: what happened; NaN is a gap.
        median: the forecast.
        intervals: share of outcomes (for instance 0.8 and 0.95) to lower and upper bound, each with
            one value per forecast step; empty for a forecast without uncertainty.
        unit: unit of the values.
    """

    model: str
    series: str
    history_times: Sequence[Any] | np.ndarray
    history: Numbers
    times: Sequence[Any] | np.ndarray
    actual: Numbers
    median: Numbers
    intervals: Mapping[float, tuple[Numbers, Numbers]] = field(default_factory=dict)
    unit: str = ""

    def __post_init__(self) -> None:
        parts: dict[str, tuple[Any, Any]] = {
            "history": (self.history, self.history_times),
            "actual": (self.actual, self.times),
            "median": (self.median, self.times),
        }
        for share, (lower, upper) in self.intervals.items():
            if not 0 < share < 1:
                raise InputError(f"Fan: interval {share}, expected a share between 0 and 1")
            parts[f"lower bound {share}"] = (lower, self.times)
            parts[f"upper bound {share}"] = (upper, self.times)
        for name, (values, times) in parts.items():
            if len(values) != len(times):
                raise InputError(
                    f"Fan: {name} has {len(values)} values, expected {len(times)}, one per step"
                )

    def inside(self, share: float) -> float:
        """The share of what happened that lies in an interval; gaps do not count."""
        lower, upper = (np.asarray(bound, dtype=float) for bound in self.intervals[share])
        actual = np.asarray(self.actual, dtype=float)
        known = np.isfinite(actual)
        if not known.any():
            return math.nan
        return float(((lower <= actual) & (actual <= upper))[known].mean())


@dataclass(frozen=True)
class Column:
    """A measure that every row of a table may have.

    Args:
        key: what rows call it.
        title: its name in the table.
        unit: shown beside the name.
        better: which values are good; the best row is marked unless this is None.
        digits: decimals shown; by default as many as three significant digits of the middle value
            need, four at most.
        chart: whether the report also draws it.
        help: one sentence on what it means, shown under the table.
    """

    key: str
    title: str
    unit: str = ""
    better: Better = None
    digits: int | None = None
    chart: bool = False
    help: str = ""


@dataclass(frozen=True)
class Row:
    """One model in a table.

    Args:
        model: the name it has in every table and figure.
        values: column key to one number per seed, or to a single number.
        baseline: whether it is there as the mark to beat.
        note: a few words under the name, for instance the width that was solved for.
    """

    model: str
    values: Mapping[str, Sequence[SupportsFloat] | SupportsFloat]
    baseline: bool = False
    note: str = ""

    def each(self, key: str) -> list[float]:
        """The values of a column, one per seed; none where the column is not measured."""
        values = self.values.get(key, ())
        return [float(v) for v in (values if isinstance(values, Sequence) else [values])]

    def mean(self, key: str) -> float | None:
        """Their mean; None without any."""
        values = self.each(key)
        return statistics.fmean(values) if values else None

    def spread(self, key: str) -> float | None:
        """Their sample standard deviation; None for fewer than two or where not finite."""
        values = self.each(key)
        if len(values) < 2 or not all(map(math.isfinite, values)):
            return None
        return statistics.stdev(values)


@dataclass(frozen=True)
class Table:
    """Models side by side.

    Args:
        title: what is compared, and on what.
        columns: from left to right.
        rows: from top to bottom; baselines are shown as a group of their own below.
        note: a sentence under the table, for instance what was matched.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    note: str = ""

    def best(self, column: Column) -> list[Row]:
        """The rows with the best mean; several on a tie, none where no value is better."""
        if column.better is None:
            return []
        scores: list[tuple[float, Row]] = []
        for row in self.rows:
            mean = row.mean(column.key)
            if mean is not None and math.isfinite(mean):
                scores.append((_badness(mean, column.better), row))
        least = min((score for score, _ in scores), default=math.nan)
        return [row for score, row in scores if score == least]

    def digits(self, column: Column) -> int:
        """Decimals to show in a column, the same for all rows."""
        if column.digits is not None:
            return column.digits
        means = [row.mean(column.key) for row in self.rows]
        sizes = [abs(m) for m in means if m is not None and math.isfinite(m) and m != 0]
        if not sizes or all(size == int(size) for size in sizes):
            return 0
        # Halved, so that 1.02 beside 0.998 is shown as finely as that is.
        return min(4, max(0, 2 - math.floor(math.log10(statistics.median(sizes) / 2))))


def _badness(value: float, better: Better) -> float:
    if better == "lower":
        return value
    if better == "higher":
        return -value
    assert isinstance(better, int | float)
    return abs(value - better)


@dataclass(frozen=True)
class Sample:
    """Text a model wrote.

    Args:
        model: the name it has in every table and figure.
        text: what it wrote.
        prefix: what it was given to go on from.
    """

    model: str
    text: str
    prefix: str = ""


@dataclass(frozen=True)
class Example:
    """A source, what it should become, and what models made of it.

    Args:
        source: what was given.
        targets: each of them is right.
        answers: model to its answer, by the name it has in every table and figure.
        worst: the model whose answer this is among the worst of; empty for none.
    """

    source: str
    targets: Sequence[str]
    answers: Mapping[str, str]
    worst: str = ""


@dataclass(frozen=True)
class Report:
    """Everything one page shows; what is empty is left out.

    Args:
        title: what was done, in a line.
        summary: what came out, in sentences.
        tables: comparisons; the first is the main one.
        curves: training runs.
        loss_unit: unit of their losses.
        step_name: what their steps count.
        fans: forecasts against what happened.
        lead_errors: model to its mean error at 1, 2, ... steps ahead.
        lead_unit: what those errors are, with their unit.
        samples: text written by the models.
        examples: sources and the models' answers.
        data: what was found in the data: name and value.
        warnings: what is suspicious about it, in sentences.
        run: what was run: name and value (versions, threads, seeds, duration).
        command: the command line that makes this report again.
        classes: what classifiers confuse, how sure they are, and where they are most wrong.
    """

    title: str
    summary: Sequence[str] = ()
    tables: Sequence[Table] = ()
    curves: Sequence[Curve] = ()
    loss_unit: str = "nats per step"
    step_name: str = "epoch"
    fans: Sequence[Fan] = ()
    lead_errors: Mapping[str, Numbers] = field(default_factory=dict)
    lead_unit: str = "mean absolute error"
    samples: Sequence[Sample] = ()
    examples: Sequence[Example] = ()
    data: Sequence[tuple[str, str]] = ()
    warnings: Sequence[str] = ()
    run: Sequence[tuple[str, str]] = ()
    command: str = ""
    classes: ClassPart | None = None

    def models(self) -> list[str]:
        """Every model in it, each once, in order of appearance."""
        named = [row.model for table in self.tables for row in table.rows]
        named += [one.model for part in (self.curves, self.fans, self.samples) for one in part]
        named += [model for example in self.examples for model in example.answers]
        named += self.classes.models() if self.classes else []
        return list(dict.fromkeys([*named, *self.lead_errors]))

    def baselines(self) -> set[str]:
        """Those that the tables mark as baselines."""
        return {row.model for table in self.tables for row in table.rows if row.baseline}


def number(value: float | None, digits: int) -> str:
    """A number as tables and figures show it.

    Args:
        value: the number; None where nothing was measured.
        digits: decimals. What would be rounded to zero without being zero says so.

    Examples:
        >>> number(12345.678, 1), number(-0.5, 2), number(None, 2), number(0.001, 1)
        ('12,345.7', '−0.50', '–', '<0.1')
    """
    if value is None:
        return "–"
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    shown = f"{value:,.{digits}f}".replace("-", "−")
    if value and not any(digit in shown for digit in "123456789"):
        return f"{'<' if value > 0 else '>−'}{10.0**-digits:.{digits}f}"
    return shown
