"""Models as comparisons and reports show them: fitted, measured, beside their baselines."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from throughtime import recipes
from throughtime.commands import options
from throughtime.inspect.contents import Curve, Row
from throughtime.models.config import BASELINES
from throughtime.models.sizing import parameters
from throughtime.tasks.forecasting import Backtest, Forecasting
from throughtime.tasks.opening import Opened
from throughtime.tasks.timing import time_per_step
from throughtime.training.fitting import Fitted
from throughtime.training.run import RunConfig

FORECAST_BASELINES = ("last", "seasonal", "linear")


@dataclass
class Entry:
    """One model of a comparison: a fit per seed, and what was measured of each."""

    name: str
    config: RunConfig
    metrics: list[dict[str, float]] = field(default_factory=list)
    fits: list[Fitted] = field(default_factory=list)
    backtest: Backtest | None = None

    @property
    def baseline(self) -> bool:
        """Whether it is there as the mark to beat."""
        return self.config.model.kind in BASELINES

    def row(self) -> Row:
        """As a table shows it."""
        values: dict[str, Any] = {
            key: [one[key] for one in self.metrics] for key in self.metrics[0]
        }
        values["parameters"] = values["parameters"][0]
        model = self.config.model
        note = {
            "linear": f"{model.lags} lags",
            "seasonal": f"season of {model.season}",
            "ngram": f"order {model.order}",
            "window": f"width {model.width}, sees {model.window} steps",
        }.get(model.kind, "" if self.baseline else f"width {model.width}")
        return Row(self.name, values, baseline=self.baseline, note=note)

    def measure(self, fitted: Fitted, opened: Opened, origins: int) -> dict[str, float]:
        """Measure one fit on the test part, and remember it."""
        task = opened.task
        measured = {
            "parameters": float(parameters(fitted.model)),
            "seconds": fitted.seconds,
            "step": 1e3 * time_per_step(fitted.model),  # microseconds
            "validation": task.validate(fitted.model).nats,
            "nats": task.validate(fitted.model, "test").nats,
        }
        if isinstance(task, Forecasting):
            backtest = task.backtest(fitted.model, origins=origins)
            measured |= backtest.metrics(scaled=task.scaled)
            self.backtest = self.backtest or backtest
        else:
            measured |= task.measures(measured["nats"])
        self.metrics.append(measured)
        self.fits.append(fitted)
        return measured

    def curves(self) -> list[Curve]:
        """Validation losses of each seed, and the mean training loss since the one before."""
        curves: list[Curve] = []
        for seed, fitted in enumerate(self.fits):
            if fitted.result is None:
                continue
            steps, training, held, recent, measure = [], [], [], [], []
            for record in fitted.result.history:
                if "loss" in record:
                    recent.append(_finite(record["loss"]))
                if "validation_one_step" in record:
                    steps.append(record["step"])
                    training.append(statistics.fmean(recent) if recent else math.nan)
                    measure.append(_finite(record["validation_loss"]))
                    held.append(_finite(record["validation_one_step"]))
                    recent = []
            kept = int(np.nanargmin(measure)) if np.isfinite(measure).any() else None
            curves.append(Curve(self.name, seed, steps, training, held, kept))
        return curves


def model_entries(opened: Opened, kinds: Sequence[str], given: dict[str, Any]) -> list[Entry]:
    """A configuration for each kind of model, from the options of a command."""
    model, training = options.model_fields(given), options.training_fields(given)
    size = {} if given["parameters"] is None else {"parameters": given["parameters"]}
    recipe = recipes.forecast if isinstance(opened.task, Forecasting) else recipes.language
    return [Entry(kind, recipe(opened, kind, model=model, training=training, **size))
            for kind in kinds]  # fmt: skip


def baseline_entries(opened: Opened, given: dict[str, Any]) -> list[Entry]:
    """The marks to beat."""
    placed = {key: given[key] for key in ("device", "dtype")}
    if isinstance(opened.task, Forecasting):
        seasonal = opened.task.table.season > 1
        return [
            Entry(kind, recipes.forecast(opened, kind, training=placed))
            for kind in FORECAST_BASELINES
            if kind != "seasonal" or seasonal
        ]
    one = recipes.language(opened, "ngram", training=placed)
    orders = (1, 3, one.model.order)
    return [
        Entry(f"{order}-gram", replace(one, model=replace(one.model, order=order)))
        for order in orders
    ]


def _finite(value: float | None) -> float:
    """A loss of a record; JSON has null where it was not finite."""
    return math.nan if value is None else value


def plain(value: Any) -> Any:
    """Values for JSON, which has no NaN."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value
