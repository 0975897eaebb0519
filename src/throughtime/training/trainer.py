"""A model under training: all that changes in a run, what a checkpoint holds, what comes out."""

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from throughtime import state as states
from throughtime.errors import InputError
from throughtime.shapes import Tensor
from throughtime.state import State
from throughtime.training import checkpoint
from throughtime.training.averaging import Averaging, copied
from throughtime.training.bptt import Cut, Loss, Place, bptt
from throughtime.training.config import HIGHER_IS_BETTER, TrainingConfig
from throughtime.training.parts import (
    Moved,
    Source,
    divergence,
    evaluate,
    load_weights,
    make_optimizer,
)
from throughtime.training.schedules import make_schedule, warm

Validate = Callable[[nn.Module], Mapping[str, float]]
"""Measures a model (in evaluation mode, without gradients). What training goes by is among what it
gives: the configuration's `measure`, `"loss"` by default."""


class Moment(NamedTuple):
    """Where training stands; what a progress display is told after each step.

    Attributes:
        step: updates of the weights so far.
        epoch: the epoch under way; the first is 0.
        done: the share of all training that is done, from 0 to 1.
        loss: since the last cut, nats per counted value.
        validation: the loss that validation found last, or another `measure` that was chosen; None
            before the first.
    """

    step: int
    epoch: int
    done: float
    loss: float
    validation: float | None


@dataclass(frozen=True)
class TrainingResult:
    """How training went. The model holds the best weights where validated, else the last.

    With `average`, those are means.

    Attributes:
        step: updates of the weights.
        seconds: of training and validation, those before a resume as well.
        stopped: why it ended: `epochs`, `steps`, `seconds`, `patience` or `interrupted` (Ctrl-C).
        best_step: the step where validation was best; None without validation.
        validation: what validation found there.
        history: the records of `metrics.jsonl`.
    """

    step: int
    seconds: float
    stopped: str
    best_step: int | None
    validation: dict[str, float]
    history: list[dict[str, Any]] = field(repr=False)


@dataclass
class Standing:
    """What is counted during a run."""

    step: int = 0
    epoch: int = 0
    item: int = 0  # which `Windows` of the epoch
    items: int | None = None  # of how many
    passed: float = 0.0  # epochs, with the share of the one under way
    seconds: float = 0.0  # up to the last save
    total: float = 0.0  # loss since the last record, and how many values
    count: float = 0.0
    norm: float = 0.0  # of the latest gradient
    rate: float = 0.0  # the latest learning rate
    validation: float | None = None  # the latest
    validated: int | None = None  # at which step, if only for the mean of weights
    best: dict[str, float] = field(default_factory=dict)
    best_step: int | None = None
    waited: int = 0  # validations since the best


class Trainer:
    """What the loop moves on; arguments as in [`train`][throughtime.training.train]."""

    def __init__(
        self,
        model: nn.Module,
        source: Source,
        loss: Loss,
        config: TrainingConfig,
        validate: Source | Validate | None,
        folder: str | os.PathLike[str] | None,
    ) -> None:
        if validate is None and config.patience is not None:
            raise InputError("train: patience is set, expected validation data as well")
        if config.measure != "loss" and (validate is None or isinstance(validate, Source)):
            raise InputError(
                f"train: measure is {config.measure!r}, expected a function `validate` that gives "
                f"it, got {'no validation' if validate is None else 'data, which give the loss'}"
            )
        self.device, self.dtype = torch.device(config.device), getattr(torch, config.dtype)
        self.model = model.to(device=self.device, dtype=self.dtype).train()
        self.source, self.loss, self.config, self.validate = source, loss, config, validate
        self.folder = None if folder is None else Path(folder)
        self.truncation = config.make_truncation()
        self.schedule = make_schedule(config, validates=validate is not None)
        self.optimizer = make_optimizer(model, config)
        self.scaler = torch.amp.GradScaler(  # pyright: ignore[reportPrivateImportUsage]
            self.device.type, enabled=config.precision == "float16"
        )
        self.generator = torch.Generator().manual_seed(config.seed)  # of random cuts
        self.at, self.place = Standing(), Place()
        self.best_weights: dict[str, Tensor] | None = None
        self.averaging = Averaging(config.average)
        self.windows = Moved([])
        self.metrics = checkpoint.Metrics()
        self.stopped: str | None = None
        self.started = self.saved = self.recorded = time.monotonic()

    # Forward, backward, one step.

    def forward(self, model: nn.Module, batch: Any, state: State) -> tuple[Tensor, Any, State]:
        """The loss, with matrix products in half precision where asked for."""
        half = torch.float16 if self.config.precision == "float16" else torch.bfloat16
        with torch.autocast(self.device.type, half, enabled=self.config.precision != "full"):
            return self.loss(model, batch, state)

    def backward(self, objective: Tensor) -> None:
        """Scaled, where float16 needs it."""
        self.scaler.scale(objective).backward()

    def cuts(self) -> Iterator[Cut]:
        """The rest of the epoch: a cut after every backward pass."""
        batches = self.source.epoch(self.at.epoch)
        if self.at.items not in (None, len(batches)) or not len(batches):
            expected = "at least one" if self.at.items is None else f"{self.at.items} as before"
            raise InputError(
                f"train: epoch {self.at.epoch} of the source has {len(batches)} batches, "
                f"expected {expected}"
            )
        self.at.items = len(batches)
        while self.at.item < len(batches):
            self.windows = Moved(batches[self.at.item], self.device, self.dtype)
            yield from bptt(
                self.forward,
                self.model,
                self.windows,
                self.truncation,
                place=self.place,
                generator=self.generator,
                backward=self.backward,
            )
            self.at.item, self.place = self.at.item + 1, Place()

    def update(self, cut: Cut) -> None:
        """Use the gradients: clip, step, count; record and validate where due."""
        at, config = self.at, self.config
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        if cut.count:
            at.rate = config.learning_rate * self.schedule.share(at.step, at.epoch, self.done())
            at.rate *= warm(at.step, config.warmup)
            for group in self.optimizer.param_groups:
                group["lr"] = at.rate
            self.scaler.unscale_(self.optimizer)
            norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
            at.norm = norm.item()
            self.check_finite(cut)
            if config.clip is not None:
                nn.utils.clip_grads_with_norm_(parameters, config.clip, norm)
            self.scaler.step(self.optimizer)
            self.scaler.update()
            at.step += 1
        self.optimizer.zero_grad()
        self.place = cut.place
        share = (at.item + cut.place.window / len(self.windows)) / (at.items or 1)
        at.passed = at.epoch + share
        at.total, at.count = at.total + cut.total, at.count + cut.count
        if cut.count and at.step % config.log_every == 0:
            self.record_training()
        every = config.validate_every if self.validate is not None else None
        if cut.count and every and at.step % every == 0:
            self.measure()

    def check_finite(self, cut: Cut) -> None:
        """Refuse to step along a gradient that is not finite."""
        if math.isfinite(cut.total) and math.isfinite(self.at.norm):
            return
        if self.scaler.is_enabled() and math.isfinite(cut.total) and self.scaler.get_scale() > 1:
            return  # float16 overflowed: the scaler leaves the step out and lowers the scale
        kept = "nothing was kept (no folder)"
        if self.folder is not None:
            kept = f"the last good checkpoint is in {self.folder}"
        seen = [self.windows[i] for i in range(self.place.window, cut.place.window)]
        raise divergence(self.at.step + 1, cut.loss, self.at.norm, self.config, seen, kept)

    def end_epoch(self) -> None:
        """Record, validate, and begin the next one."""
        if self.at.count:
            self.record_training()
        if self.config.validate_every is None or self.validate is None:
            self.measure()
        at = self.at
        at.epoch, at.item, at.items, at.passed = at.epoch + 1, 0, None, at.epoch + 1.0
        self.stopped = self.limit()

    # Measuring.

    def measure(self) -> None:
        """Validate, the mean of the last weights where asked for; remember the best."""
        at = self.at
        self.averaging.keep(self.model)
        at.validated = at.step
        if self.validate is None:
            return
        with self.averaging.averaged(self.model):
            found = self.measures(self.validate)
            cost = self.cost(found)
            at.validation, at.waited = found[self.config.measure], at.waited + 1
            self.schedule.validated(cost)
            if cost < (self.cost(at.best) if at.best else math.inf):
                at.best, at.best_step, at.waited = found, at.step, 0
                self.best_weights = copied(self.model)
        self.record({f"validation_{key}": value for key, value in found.items()})

    def measures(self, validate: Source | Validate) -> dict[str, float]:
        """What validation finds, in evaluation mode."""
        self.model.eval()
        with torch.no_grad():
            if isinstance(validate, Source):
                options = {"device": self.device, "dtype": self.dtype}
                found = evaluate(self.forward, self.model, validate, **options)
            else:
                found = {key: float(value) for key, value in validate(self.model).items()}
        self.model.train()
        return found

    def cost(self, found: Mapping[str, float]) -> float:
        """The measure to go by, as something of which less is better."""
        measure = self.config.measure
        if measure not in found:
            raise InputError(f"train: validate gave {[*found]}, expected a {measure!r} among them")
        return -found[measure] if measure in HIGHER_IS_BETTER else found[measure]

    def record_training(self) -> None:
        """One record over the steps since the last."""
        at, now = self.at, time.monotonic()
        self.record(
            {
                "loss": at.total / at.count,
                "learning_rate": at.rate,
                "gradient_norm": at.norm,
                "values_per_second": at.count / max(now - self.recorded, 1e-9),
            }
        )
        at.total, at.count, self.recorded = 0.0, 0.0, now

    def record(self, values: Mapping[str, float]) -> None:
        """Add where and when to some values, and keep them."""
        at = {"step": self.at.step, "epoch": self.at.epoch, "seconds": self.seconds()}
        self.metrics.add({**at, **values})

    def seconds(self) -> float:
        """Of this run, before a resume as well."""
        return self.at.seconds + time.monotonic() - self.started

    def done(self) -> float:
        """The share of all training, by epochs or by steps, whichever ends first."""
        by_steps = self.at.step / self.config.max_steps if self.config.max_steps else 0.0
        return min(1.0, max(by_steps, self.at.passed / self.config.epochs))

    def moment(self, cut: Cut) -> Moment:
        """For a progress display."""
        return Moment(self.at.step, self.at.epoch, self.done(), cut.loss, self.at.validation)

    # Beginning, stopping, going on.

    def limit(self) -> str | None:
        """Which limit is reached, if any."""
        at, config = self.at, self.config
        if config.patience is not None and at.waited >= config.patience:
            return "patience"
        if at.epoch >= config.epochs:
            return "epochs"
        if config.max_steps is not None and at.step >= config.max_steps:
            return "steps"
        if config.max_seconds is not None and self.seconds() >= config.max_seconds:
            return "seconds"
        return None

    def begin(self) -> None:
        """Start a run; its first checkpoint is written before the first step."""
        checkpoint.set_seed(self.config.seed)
        if self.folder is not None:
            if checkpoint.has_checkpoint(self.folder):
                raise InputError(
                    f"train: {self.folder} holds a checkpoint already; resume it, or take another"
                )
            self.folder.mkdir(parents=True, exist_ok=True)
            self.metrics = checkpoint.Metrics(self.folder)
        self.save()

    def save_if_due(self) -> None:
        """A checkpoint by steps or by the clock; when makes no difference to the run."""
        every, seconds = self.config.checkpoint_every, self.config.checkpoint_seconds
        by_step = every is not None and self.at.step % every == 0
        if by_step or (seconds is not None and time.monotonic() - self.saved >= seconds):
            self.save()

    def save(self) -> None:
        """All that the rest of the run depends on."""
        if self.folder is None:
            return
        self.metrics.sync()
        content = {
            "config": asdict(self.config),
            "standing": {**asdict(self.at), "seconds": self.seconds()},
            "records": len(self.metrics.records),
            "place": self.place,
            "weights": self.model.state_dict(),
            "best_weights": self.best_weights,
            "averaged_weights": self.averaging.kept,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state(),
            "scaler": self.scaler.state_dict(),
            "cuts": self.generator.get_state(),
            "random": checkpoint.random_states(),
        }
        checkpoint.save_checkpoint(self.folder, content)
        self.saved = time.monotonic()

    def restore(self) -> None:
        """Stand where the folder's checkpoint was written."""
        if self.folder is None:
            raise InputError("resume: expected the folder of a run, got None")
        found = checkpoint.load_checkpoint(self.folder)
        self.config.check_resumes(found["config"])
        self.at, self.place = Standing(**found["standing"]), found["place"]
        if self.place.state is not None:
            self.place = self.place._replace(state=states.to(self.place.state, self.device))
        load_weights(self.model, found["weights"])
        self.best_weights = found["best_weights"]
        self.averaging.restore(found.get("averaged_weights", []), self.device)
        self.optimizer.load_state_dict(found["optimizer"])
        self.schedule.restore(found["schedule"])
        self.scaler.load_state_dict(found["scaler"])
        self.generator.set_state(found["cuts"])
        self.metrics = checkpoint.Metrics(self.folder, keep=found["records"])
        checkpoint.restore_random_states(found["random"])
        self.stopped = self.limit()

    def finish(self) -> TrainingResult:
        """Leave a checkpoint of where training stands; then give the model its best weights.

        What is recorded here comes after the checkpoint and is no part of a run that goes on.
        """
        self.save()
        if self.at.count:
            self.record_training()
        if self.stopped != "interrupted" and self.at.validated != self.at.step:
            self.measure()
        if self.best_weights is not None:
            self.model.load_state_dict(self.best_weights)
        elif self.averaging.kept:
            self.model.load_state_dict(self.averaging.mean())
        self.model.eval()
        at = self.at
        return TrainingResult(
            step=at.step,
            seconds=self.seconds(),
            stopped=self.stopped or "",
            best_step=at.best_step,
            validation=at.best,
            history=self.metrics.records,
        )
