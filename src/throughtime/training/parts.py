"""Parts of the training loop: where data come from, measuring, the optimiser, divergence."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from throughtime.errors import InputError
from throughtime.shapes import Tensor
from throughtime.training.bptt import Loss, Windows
from throughtime.training.config import TrainingConfig


@runtime_checkable
class Source(Protocol):
    """Where data come from: for each epoch a list of `Windows`, the same ones each time asked."""

    def epoch(self, number: int, /) -> Any:
        """Epoch `number`; the first is 0."""
        ...


class Moved:
    """Windows that are moved to a device, and their numbers to a type, as they are read."""

    def __init__(
        self,
        windows: Windows,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.windows = windows
        self.device = device
        self.dtype = dtype

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> Any:
        return self.windows[index].to(self.device, self.dtype)


def evaluate(
    loss: Loss,
    model: nn.Module,
    source: Source,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> dict[str, float]:
    """The mean loss over epoch 0 of a source, the state carried from window to window.

    Args:
        loss: `loss(model, batch, state) -> (total, count, state)`.
        model: measured in evaluation mode; its mode is put back.
        source: the data.
        device: where the batches are moved; None leaves them.
        dtype: of their numbers; None leaves it.

    Returns:
        `{"loss": nats per counted value}`; NaN where nothing counts.
    """
    was_training = model.training
    model.eval()
    total, count = 0.0, 0.0
    try:
        with torch.no_grad():
            for windows in source.epoch(0):
                state = None
                moved = Moved(windows, device, dtype)
                for index in range(len(moved)):
                    value, counted, state = loss(model, moved[index], state)
                    total += float(value)
                    count += float(counted)
    finally:
        model.train(was_training)
    return {"loss": total / count if count else math.nan}


def make_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """AdamW or SGD; weight decay on matrices alone."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise InputError("train: the model has nothing to train")
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)
    # In one pass over the weights; by single operations it takes eight times as long on a CPU.
    fused = parameters[0].device.type in ("cpu", "cuda")
    betas = (0.9, config.beta2)
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=betas, fused=fused)


def load_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Put a checkpoint's weights into the model they were taken from.

    Errors:
        InputError: another model; the first weight that differs is named.
    """
    own = model.state_dict()
    for name in [*own, *weights]:
        ours, theirs = (
            list(one[name].shape) if name in one else "nothing" for one in (own, weights)
        )
        if ours != theirs:
            raise InputError(
                f"resume: the model has {ours} for {name}, the checkpoint has {theirs}"
            )
    model.load_state_dict(weights)


class TrainingDiverged(InputError):
    """The loss or the norm of its gradient is no longer finite."""


def divergence(
    step: int, loss: float, norm: float, config: TrainingConfig, seen: Sequence[Any], kept: str
) -> TrainingDiverged:
    """The error that says where training went wrong, and why it probably did.

    Args:
        step: the step that was not taken.
        loss: its loss.
        norm: its gradient's norm.
        config: of the run.
        seen: the batches it came from.
        kept: what is left to go on from, in words.
    """
    if any(_infinite(batch) for batch in seen):
        cause = "the data hold infinite numbers"
    elif step == 1:
        cause = "numbers in the data too large or not finite, or weights that are"
    elif config.clip is None:
        cause = f"no clipping (clip is None; try 1) at learning rate {config.learning_rate:g}"
    else:
        cause = f"learning rate {config.learning_rate:g} is too high; try a tenth of it"
    return TrainingDiverged(
        f"train: loss {loss:g} and gradient norm {norm:g} at step {step}, expected finite numbers; "
        f"likely cause: {cause}; {kept}"
    )


def _infinite(batch: Any) -> bool:
    parts = getattr(batch, "__dict__", {}).values()
    return any(bool(part.isinf().any()) for part in parts if isinstance(part, Tensor))
