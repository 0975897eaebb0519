"""The training loop."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from throughtime.training.bptt import Loss
from throughtime.training.config import TrainingConfig
from throughtime.training.parts import Source
from throughtime.training.trainer import Moment, Trainer, TrainingResult, Validate


def train(
    model: nn.Module,
    source: Source,
    loss: Loss,
    config: TrainingConfig,
    *,
    validate: Source | Validate | None = None,
    folder: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: Callable[[Moment], None] | None = None,
) -> TrainingResult:
    """Train a model, in place.

    The state is carried through the windows of one `Windows` and starts anew with the next. With a
    folder, metrics and checkpoints are written there, and a run that was stopped anywhere, by
    Ctrl-C, a power cut or `max_steps`, goes on with `resume` as if it had never stopped: on a CPU
    the weights are the same to the last bit. The first Ctrl-C ends training at the next cut; the
    second ends it at once.

    Args:
        model: moved to the device and type of `config`; left in evaluation mode.
        source: the training data.
        loss: `loss(model, batch, state) -> (total, count, state)`.
        config: all numbers.
        validate: validation data, or a function from the model to its measures.
        folder: of the run; None keeps nothing.
        resume: go on from the folder's checkpoint. Model and source must be made as they were.
        progress: called after each step.

    Errors:
        InputError: a folder that holds a checkpoint already, or nothing to resume.
        TrainingDiverged: the loss or its gradient's norm is NaN or infinite. The weights are those
            from before that step; the folder keeps the last checkpoint written.
    """
    run = Trainer(model, source, loss, config, validate, folder)
    run.restore() if resume else run.begin()
    with _ctrl_c() as pressed:
        while run.stopped is None:
            for cut in run.cuts():
                run.update(cut)
                if progress is not None:
                    progress(run.moment(cut))
                run.stopped = "interrupted" if pressed else run.limit()
                if run.stopped:
                    break
                run.save_if_due()
            else:
                run.end_epoch()
    return run.finish()


def train_seeds(
    build: Callable[[], nn.Module],
    source: Source,
    loss: Loss,
    config: TrainingConfig,
    seeds: Sequence[int],
    *,
    folder: str | os.PathLike[str] | None = None,
    **options: Any,
) -> list[tuple[nn.Module, TrainingResult]]:
    """Train one model per seed; the seed draws its first weights, its dropout and its cuts.

    Args:
        build: makes a model with fresh weights.
        source: as for `train`; the same data in the same order for each.
        loss: as for `train`.
        config: its seed is replaced.
        seeds: one run each.
        folder: run n goes into `seed-n` in it.
        options: the rest of `train`'s.
    """
    runs = []
    for seed in seeds:
        torch.manual_seed(seed)
        model = build()
        own = None if folder is None else Path(folder, f"seed-{seed}")
        result = train(model, source, loss, replace(config, seed=seed), folder=own, **options)
        runs.append((model, result))
    return runs


@contextmanager
def _ctrl_c() -> Iterator[list[int]]:
    """A list that is no longer empty once Ctrl-C was pressed; pressed again it stops at once.

    An interruption in the middle of a step would leave weights half updated, so the first waits.
    """
    pressed: list[int] = []

    def note(number: int, frame: Any) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield pressed  # signals reach the main thread only
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before if before is not None else signal.SIG_DFL)
