"""Gradients of the same losses, cut at several places, and what each of them takes."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn

from throughtime.shapes import Tensor
from throughtime.state import State
from throughtime.training.bptt import Loss, bptt
from throughtime.training.truncation import Full, Truncated, Truncation

Gradient = dict[str, Tensor]
"""By parameter."""

EXACT, HALF = 0, -1
"""In place of a window's length: the gradient that nothing cuts, and the one that goes half as far
back."""


class Measured(NamedTuple):
    """What was found at one place.

    Attributes:
        gradients: by window length, `EXACT` and `HALF`.
        seconds: by window length, that an update takes.
        kept: by window length, bytes that wait for its backward pass.
    """

    gradients: dict[int, Gradient]
    seconds: dict[int, float]
    kept: dict[int, int]


class Place:
    """The gradients of the losses of the last `steps` of a stretch.

    state         middle           after
      |----- span / 2 -----|----- span / 2 -----|-- w --|-- w --|-- w --|
      |<------------------- exact goes back to here ----- losses ------>|
                           |<-- half ---------------------------------->|
    """

    def __init__(self, loss: Loss, model: nn.Module, batch: Any, steps: int, state: State) -> None:
        self.loss, self.model, self.batch, self.state = loss, model, batch, state
        self.rows, total = batch.shape
        self.span, self.steps = total - steps, steps
        self.far = batch.narrow(0, self.span // 2)
        self.near = batch.narrow(self.span // 2, self.span)
        self.losses = batch.narrow(self.span, total)

    def measure(self, lengths: Sequence[int]) -> Measured:
        """All gradients, and what those of windows take."""
        with torch.no_grad():
            half = self.loss(self.model, self.far, self.state)[2]
            after = self.loss(self.model, self.near, half)[2]
        found = {
            EXACT: self.gradient([self.far, self.near, self.losses], Full(), self.state),
            HALF: self.gradient([self.near, self.losses], Full(), half),
        }
        seconds, most = {}, {}
        for w in lengths:
            starts = range(0, self.steps, w)
            parts = [self.losses.narrow(at, min(at + w, self.steps)) for at in starts]
            began = time.perf_counter()
            with _keeping(self.model, self.batch) as kept:
                found[w] = self.gradient(parts, Truncated(), after)
            seconds[w] = (time.perf_counter() - began) / len(parts)
            most[w] = kept.most
        return Measured(found, seconds, most)

    def gradient(self, windows: Sequence[Any], rule: Truncation, state: State) -> Gradient:
        """Of the sum of the losses, by each parameter; `.grad` is left alone."""
        trained = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        sums = {name: torch.zeros_like(p) for name, p in trained.items()}

        def backward(objective: Tensor) -> None:
            parts = torch.autograd.grad(objective, [*trained.values()], materialize_grads=True)
            for whole, part in zip(sums.values(), parts, strict=True):
                whole += part

        options: Any = {"state": state, "normaliser": 1.0, "backward": backward}
        for _ in bptt(self.counted, self.model, windows, rule, **options):
            pass
        return sums

    def counted(self, model: Any, batch: Any, state: State) -> tuple[Tensor, Any, State]:
        """The loss, which is nothing in what only leads to the steps measured."""
        total, count, state = self.loss(model, batch, state)
        if batch is self.far or batch is self.near:
            return total.new_zeros(()), 0.0, state
        return total, count, state


class Kept:
    """Bytes that wait for the next backward pass, each storage once; weights and data not."""

    def __init__(self, model: nn.Module, batch: Any) -> None:
        data = [
            part for part in getattr(batch, "__dict__", {}).values() if isinstance(part, Tensor)
        ]
        self.there = {one.untyped_storage().data_ptr() for one in (*model.parameters(), *data)}
        self.storages: dict[int, int] = {}
        self.most = 0

    def pack(self, part: Tensor) -> Tensor:
        """What is kept, as it is."""
        storage = part.untyped_storage()
        if storage.data_ptr() not in self.there:
            self.storages[storage.data_ptr()] = storage.nbytes()
            self.most = max(self.most, sum(self.storages.values()))
        return part

    def unpack(self, part: Tensor) -> Tensor:
        """What is taken out again."""
        self.storages.clear()  # the backward pass has begun, and frees them
        return part


@contextmanager
def _keeping(model: nn.Module, batch: Any) -> Iterator[Kept]:
    kept = Kept(model, batch)
    with torch.autograd.graph.saved_tensors_hooks(kept.pack, kept.unpack):
        yield kept
