"""Small models and data for the tests of training. Run as a script it is a run to be killed."""

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from throughtime.layers import LSTM, Dropout, Embedding, Linear, Stack
from throughtime.training import TrainingConfig, train

TOKENS = 5


@dataclass(frozen=True)
class Batch:
    inputs: torch.Tensor
    targets: torch.Tensor
    mask: torch.Tensor | None = None
    reset: torch.Tensor | None = None

    @property
    def shape(self):
        return self.inputs.shape[0], self.inputs.shape[1]

    def change(self, function: Any) -> "Batch":
        return replace(self, **{k: function(v) for k, v in vars(self).items() if v is not None})

    def to(self, device=None, dtype=None) -> "Batch":
        return self.change(lambda v: v.to(device, dtype if v.is_floating_point() else None))

    def narrow(self, start: int, stop: int) -> "Batch":
        return self.change(lambda v: v[:, start:stop])


def windows(batch: Batch, steps: int) -> list[Batch]:
    length = batch.shape[1]
    return [batch.narrow(at, min(at + steps, length)) for at in range(0, length, steps)]


class Source:
    """Each epoch `items` fresh batches of a repeating pattern with noise, in windows."""

    def __init__(self, items=3, rows=4, length=22, steps=5, seed=0):
        self.items, self.rows, self.length, self.steps, self.seed = items, rows, length, steps, seed

    def epoch(self, number: int) -> list[list[Batch]]:
        g = torch.Generator().manual_seed(1000 * self.seed + number)
        found = []
        for _ in range(self.items):
            start = torch.randint(TOKENS, (self.rows, 1), generator=g)
            ids = (start + torch.arange(self.length + 1)) % TOKENS
            noise = torch.rand(ids.shape, generator=g) < 0.1
            ids = torch.where(noise, torch.randint(TOKENS, ids.shape, generator=g), ids)
            found.append(windows(Batch(ids[:, :-1], ids[:, 1:]), self.steps))
        return found


def build(seed=0, hidden=6, dropout=0.3) -> Stack:
    torch.manual_seed(seed)
    return Stack(Embedding(TOKENS, 4), LSTM(4, hidden), Dropout(dropout), Linear(hidden, TOKENS))


def loss(model: nn.Module, batch: Batch, state: Any):
    logits, state = model(batch.inputs, state, batch.mask, batch.reset)
    total = functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), reduction="sum")
    return total, batch.targets.numel(), state


def to_be_killed(folder: str) -> None:
    torch.set_num_threads(1)

    def slowly(moment) -> None:
        print(moment.step, flush=True)
        time.sleep(0.02)

    config = TrainingConfig(**RUN)
    train(build(), Source(), loss, config, folder=Path(folder), progress=slowly)


RUN: dict[str, Any] = {
    "epochs": 4,
    "learning_rate": 0.02,
    "window": 5,
    "checkpoint_every": 2,
    "schedule": "cosine",
    "truncation": "unbiased",
    "depth": 8,
    "log_every": 1,
}

if __name__ == "__main__":
    to_be_killed(sys.argv[1])
