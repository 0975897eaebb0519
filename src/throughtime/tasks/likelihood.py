"""What every autoregressive task shares: the loss of a batch, and of a whole sequence."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch

from throughtime.data.batches import Batch
from throughtime.models.autoregressive import Autoregressive, evaluating
from throughtime.models.heads import Categorical, Head
from throughtime.shapes import Float, Tensor
from throughtime.state import State


def loss(
    model: Autoregressive, batch: Batch, state: State
) -> tuple[Float[Tensor, ""], Float[Tensor, ""], State]:
    """The loss summed over the values that are there, how many these are, and the state after.

    In nats, or what the head's `loss` says (pinball loss for quantiles).
    """
    hidden, context, state = model.features(
        batch.inputs, state, batch.mask, batch.reset, batch.covariates
    )
    targets = model.hide(batch.targets, batch.mask)
    total = model.head.total_loss(hidden, targets, context, batch.mask)
    return total, model.head.counted(targets).sum(), state


NATS = (Head.loss, Categorical.loss)
"""Losses that are just nats in evaluation mode."""


class Score(NamedTuple):
    """How well a model predicts a sequence one step ahead.

    Attributes:
        loss: what training makes small, per value.
        nats: negative log likelihood per value.
        counted: values that were there.
        state: the state after the last step.
    """

    loss: float
    nats: float
    counted: float
    state: Any


@torch.no_grad()
def evaluate(
    model: Autoregressive,
    windows: Iterable[Batch],
    state: State = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Score:
    """Score consecutive windows, the state carried from each to the next. Dropout is off meanwhile.

    Args:
        model: the model.
        windows: of the same rows, in time.
        state: before the first of them.
        device: where the model is.
        dtype: its type.
    """
    total = nats = count = 0.0
    with evaluating(model):
        for batch in windows:
            batch = batch.to(device, dtype)
            parameters, state = model(
                batch.inputs, state, batch.mask, batch.reset, batch.covariates
            )
            targets = model.hide(batch.targets, batch.mask)
            scored = -float(model.head.log_prob(parameters, targets).double().sum())
            nats += scored
            if type(model.head).loss in NATS:
                total += scored
            else:
                total += float(model.head.loss(parameters, targets).double().sum())
            count += float(model.head.counted(targets).sum())
    share = count or float("nan")
    return Score(total / share, nats / share, count, state)
