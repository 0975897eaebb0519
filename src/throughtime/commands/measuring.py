"""Models as comparisons and reports show them: fitted, measured, beside their baselines."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from throughtime import recipes
from throughtime.commands import options
from throughtime.commands.checking import check_heeded, check_task
from throughtime.commands.class_entries import (
    check_rules,
    class_measures,
    class_rules,
    classified,
)
from throughtime.commands.entries import Entry, RuleEntry
from throughtime.decoding.translating import prepared, translate
from throughtime.errors import InputError
from throughtime.inspect.contents import Curve
from throughtime.models.config import BASELINES
from throughtime.models.encoder_decoder import EncoderDecoder
from throughtime.models.sizing import parameters
from throughtime.tasks.classification import Classification
from throughtime.tasks.forecasting import Backtest, Forecasting
from throughtime.tasks.language import LanguageModelling
from throughtime.tasks.opening import Opened, Task
from throughtime.tasks.pair_baselines import RULES
from throughtime.tasks.scores import bleu
from throughtime.tasks.timing import time_per_answer, time_per_step
from throughtime.tasks.translation import Translation
from throughtime.training.fitting import Fitted, fit
from throughtime.training.loop import Moment, TrainingResult
from throughtime.training.run import RunConfig

FORECAST_BASELINES = ("last", "seasonal", "linear")

OF_CLASSES = ("loss", "accuracy", "balanced", "f1")
"""Measures that training may go by where classes are told."""

OF_ANSWERS = ("bleu", "chrf")
"""Measures that training may go by only where answers are judged by BLEU."""


@dataclass
class ModelEntry(Entry):
    """A model that a configuration describes."""

    config: RunConfig
    fits: list[Fitted] = field(default_factory=list)
    backtest: Backtest | None = None

    @property
    def baseline(self) -> bool:
        """Whether it is there as the mark to beat."""
        return self.config.model.kind in BASELINES

    @property
    def note(self) -> str:
        """What is peculiar to its kind, or how wide it is, and what answers beside it."""
        model = self.config.model
        own = {
            "linear": f"{model.lags} lags",
            "seasonal": f"season of {model.season}",
            "ngram": f"order {model.order}",
            "window": f"width {model.width}, sees {model.window} steps",
        }.get(model.kind, "" if self.baseline else f"width {model.width}")
        beside = [name for name in ("bag", "letters") if getattr(model, name)]
        if not beside or not self.fits:
            return own
        shares = zip(("body", *beside), self.metrics[0]["shares"], strict=True)
        return f"{own}; counts: " + ", ".join(f"{name} {share:.0%}" for name, share in shares)

    def settings(self) -> dict[str, Any]:
        """Its configuration."""
        return self.config.to_json()

    def run(
        self,
        opened: Opened,
        folder: Path | None = None,
        *,
        origins: int,
        seed: int | None = None,
        resume: bool = False,
        progress: Callable[[Moment], None] | None = None,
    ) -> TrainingResult | None:
        """Fit it by its configuration, and measure it."""
        training = self.config.training
        seeded = replace(training, seed=training.seed if seed is None else seed)
        config = replace(self.config, training=seeded)
        fitted = fit(config, opened, folder, resume=resume, progress=progress)
        if fitted.result is None or fitted.result.stopped != "interrupted":
            self.measure(fitted, opened.task, origins)
        return fitted.result

    def measure(self, fitted: Fitted, task: Task, origins: int) -> None:
        """Measure one fit on the test part, and remember it."""
        measured: dict[str, Any] = {
            "parameters": float(parameters(fitted.model)),
            "seconds": fitted.seconds,
        }
        if isinstance(task, Classification):
            found = task.logits(fitted.model)
            self.told = self.told or classified(fitted.model, task, found)
            measured |= class_measures(fitted.model, task, found)
        elif isinstance(task, Translation):
            measured |= self._answered(fitted, task)
        else:
            measured |= self._foretold(fitted, task, origins)
        self.metrics.append(measured)
        self.fits.append(fitted)

    def _foretold(
        self, fitted: Fitted, task: Forecasting | LanguageModelling, origins: int
    ) -> dict[str, Any]:
        """Steps of series, or tokens of a text."""
        model: Any = fitted.model
        measured = {
            "step": 1e3 * time_per_step(model),  # microseconds
            "validation": task.validate(model).nats,
            "nats": task.validate(model, "test").nats,
        }
        if isinstance(task, LanguageModelling):
            return measured | task.measures(measured["nats"])
        backtest = task.backtest(model, origins=origins)
        self.backtest = self.backtest or backtest
        return measured | backtest.metrics(scaled=task.scaled)

    def _answered(self, fitted: Fitted, task: Translation) -> dict[str, Any]:
        """Answers to the sources of pairs."""
        model = fitted.model
        assert isinstance(model, EncoderDecoder)
        answers = task.answer(model)
        self.answers = self.answers or answers
        stepper = prepared(model)
        return {
            "answer": time_per_answer(
                lambda text: [*translate(model, task.vocabulary, [text], beams=1, stepper=stepper)],
                task.judged("test").sources,
            ),
            "validation": task.validate(model).nats,
            **task.metrics(model, answers=answers),
        }

    def curves(self) -> list[Curve]:
        """Validation losses of each seed, and the mean training loss since the one before."""
        curves: list[Curve] = []
        for seed, fitted in enumerate(self.fits):
            if fitted.result is None:
                continue
            steps, training, held, recent = [], [], [], []
            for record in fitted.result.history:
                if "loss" in record:
                    recent.append(_finite(record["loss"]))
                if "validation_one_step" in record:
                    steps.append(record["step"])
                    training.append(statistics.fmean(recent) if recent else math.nan)
                    held.append(_finite(record["validation_one_step"]))
                    recent = []
            best = fitted.result.best_step
            kept = steps.index(best) if best in steps else None
            curves.append(Curve(self.name, seed, steps, training, held, kept))
        return curves


@dataclass
class PairRuleEntry(RuleEntry):
    """A baseline of pairs, which answers by a rule and foretells nothing."""

    @property
    def note(self) -> str:
        """What it answers."""
        return RULES[self.name].note

    def settings(self) -> dict[str, Any]:
        """The rule."""
        return {"rule": self.name}

    def ask(self, opened: Opened) -> dict[str, Any]:
        """Read the training part, and answer."""
        task = opened.task
        assert isinstance(task, Translation)
        started = time.perf_counter()
        rule = RULES[self.name](task.parts.training)
        seconds, sources = time.perf_counter() - started, task.judged("test").sources
        self.answers = rule.answer(sources)
        return {
            "seconds": seconds,
            "answer": time_per_answer(lambda text: rule.answer([text]), sources),
            **task.score(self.answers),
        }


def kind_of(opened: Opened) -> str:
    """What data are, in the word of the commands."""
    task = opened.task
    if isinstance(task, Forecasting):
        return "series"
    if isinstance(task, Classification):
        return "classes"
    return "pairs" if isinstance(task, Translation) else "text"


def check_measures(opened: Opened, stop_on: str | None) -> None:
    """Refuse, before anything is trained, what could not be measured in the end.

    Errors:
        InputError: a measure to stop on that this data has not, or a way of cutting words that
            sacrebleu does not know.
        MissingExtra: BLEU without sacrebleu, or baselines of classes without scikit-learn.
    """
    task = opened.task
    if isinstance(task, Classification):
        if stop_on not in (None, *OF_CLASSES):
            raise InputError(f"--stop-on is {stop_on}, expected one of {', '.join(OF_CLASSES)}")
        check_rules()
        return
    if stop_on in OF_CLASSES[1:]:
        raise InputError(f"--stop-on is {stop_on}, which is for classes")
    if not isinstance(task, Translation):
        return
    if task.measure == "bleu":
        bleu(["a"], [("a",)], task.tokenize)
    elif stop_on in OF_ANSWERS:
        raise InputError(f"--stop-on is {stop_on}, expected loss, wer or per with --measure wer")


def model_entries(opened: Opened, kinds: Sequence[str], given: dict[str, Any]) -> list[ModelEntry]:
    """A configuration for each kind of model, from the options of a command."""
    check_task(given, kind_of(opened))
    if isinstance(opened.task, Classification):
        check_heeded(given, opened.task.kind, kinds)
    check_measures(opened, given["stop_on"])
    model, training = options.model_fields(given), options.training_fields(given)
    size = {} if given["parameters"] is None else {"parameters": given["parameters"]}
    recipe = {
        "series": recipes.forecast, "text": recipes.language, "pairs": recipes.translation,
        "classes": recipes.classification,
    }[kind_of(opened)]  # fmt: skip
    return [ModelEntry(kind, recipe(opened, kind, model=model, training=training, **size))
            for kind in kinds]  # fmt: skip


def baseline_entries(opened: Opened, given: dict[str, Any]) -> list[Entry]:
    """The marks to beat."""
    if isinstance(opened.task, Classification):
        return [*class_rules(opened.task)]
    placed = {key: given[key] for key in ("device", "dtype")}
    if isinstance(opened.task, Translation):
        return [PairRuleEntry(name) for name in RULES]
    if isinstance(opened.task, Forecasting):
        seasonal = opened.task.table.season > 1
        return [
            ModelEntry(kind, recipes.forecast(opened, kind, training=placed))
            for kind in FORECAST_BASELINES
            if kind != "seasonal" or seasonal
        ]
    one = recipes.language(opened, "ngram", training=placed)
    orders = (1, 3, one.model.order)
    return [
        ModelEntry(f"{order}-gram", replace(one, model=replace(one.model, order=order)))
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
