"""From a configuration to a fitted model: by gradient, or in closed form."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from throughtime.errors import InputError
from throughtime.models.autoregressive import Autoregressive
from throughtime.models.building import make
from throughtime.models.config import BASELINES
from throughtime.models.encoder_decoder import EncoderDecoder
from throughtime.tasks import class_loss, likelihood, translation
from throughtime.tasks.classification import Classification
from throughtime.tasks.forecasting import Forecasting
from throughtime.tasks.glance import glance
from throughtime.tasks.opening import Opened
from throughtime.tasks.translation import Translation
from throughtime.training.bptt import Loss
from throughtime.training.checkpoint import has_checkpoint
from throughtime.training.config import TrainingConfig
from throughtime.training.loop import Moment, TrainingResult, train
from throughtime.training.run import RunConfig, save_model, write_config


@dataclass(frozen=True, eq=False)
class Fitted:
    """A model that was fitted.

    Attributes:
        model: an `Autoregressive`, of pairs an `EncoderDecoder`, of classes a `Classifier`, with
            the best weights found, in evaluation mode.
        seconds: how long it took.
        result: the course of training; None for baselines.
    """

    model: Any  # whoever knows the task knows which of both
    seconds: float
    result: TrainingResult | None


def fit(
    config: RunConfig,
    opened: Opened,
    folder: Path | None = None,
    *,
    resume: bool = False,
    progress: Callable[[Moment], None] | None = None,
) -> Fitted:
    """Fit the model of a configuration to data that were opened, and keep it in a run folder.

    Args:
        config: what to run.
        opened: its data.
        folder: of the run; None keeps nothing.
        resume: go on from the folder's checkpoint.
        progress: told after each step of training.

    Errors:
        InputError: data or a configuration that training refuses.
    """
    training, task = config.training, opened.task
    torch.manual_seed(training.seed)
    model: Any = make(config.model)
    model.to(device=training.device, dtype=getattr(torch, training.dtype))
    task.prepare(model)
    if folder is not None and not resume:
        if (folder / "config.json").exists():
            raise InputError(
                f"{folder} holds a run already; choose another --out, or --resume {folder}"
            )
        vocabulary = getattr(task, "vocabulary", None)
        write_config(folder, config, vocabulary, getattr(task, "labels", None))
    started = time.perf_counter()
    if config.model.kind in BASELINES:
        _fit_baseline(model, config.training, opened)
        result, seconds = None, time.perf_counter() - started
    else:
        # A split by time may leave nothing to validate on: then the last weights count.
        validates = not isinstance(task, Forecasting) or task.validate(model).counted > 0
        result = train(
            model,
            task.source(training.batch_size, training.window, training.seed),
            _loss(config, opened),
            training if validates else replace(training, patience=None, measure="loss"),
            validate=(lambda held: _measures(held, opened, training)) if validates else None,
            folder=folder,
            resume=resume and not _unstarted(folder),
            progress=progress,
        )
        seconds = result.seconds
    if result is None or result.stopped != "interrupted":
        if isinstance(task, Classification):
            task.calibrate(model)
        if folder is not None:
            save_model(folder, model)
    return Fitted(model.eval(), seconds, result)


def _loss(config: RunConfig, opened: Opened) -> Loss:
    """What training makes small."""
    task, training = opened.task, config.training
    if isinstance(task, Classification):
        return partial(
            class_loss.loss,
            several=task.labels.kind == "several",
            smoothing=config.model.smoothing,
            weights=task.weights,
        )
    if not isinstance(task, Translation):
        return likelihood.loss
    share = training.scheduled
    return partial(translation.loss, scheduled=share) if share else translation.loss


def _unstarted(folder: Path | None) -> bool:
    """Whether a run was stopped before its first checkpoint: then it has nothing to go on from."""
    return (
        folder is not None
        and not has_checkpoint(folder)
        and not (folder / "model.safetensors").exists()
    )


def _measures(model: torch.nn.Module, opened: Opened, training: TrainingConfig) -> dict[str, float]:
    """What training goes by on the validation part, as `loss`, and what is told beside it.

    Forecasts are judged as far ahead as they will be used: a model that is best one step ahead may
    drift away in twenty.
    """
    if isinstance(opened.task, Classification):
        return opened.task.watch(model, training.measure)  # pyright: ignore[reportArgumentType]
    if isinstance(opened.task, Translation):
        assert isinstance(model, EncoderDecoder)
        return opened.task.watch(model, training.measure)
    assert isinstance(model, Autoregressive)
    if isinstance(opened.task, Forecasting) and opened.task.can_backtest("validation"):
        return glance(opened.task, model)
    score = opened.task.validate(model)
    return {"loss": score.loss, "one_step": score.loss, "nats": score.nats}


def _fit_baseline(model: Autoregressive, training: TrainingConfig, opened: Opened) -> None:
    """By one pass over the training data, in order; long windows, for nothing is differentiated."""
    source = opened.task.source(1, 4096, training.seed, shuffle=False)
    model.fit(source)  # pyright: ignore[reportCallIssue]
