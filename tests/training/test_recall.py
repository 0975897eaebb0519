"""Truncation decides what can be learnt: what lies in the window is, what lies before is not."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from throughtime.training import Full, RandomTruncation, Truncated, bptt

from .toy import Batch, windows

WINDOW, ROWS = 4, 32


class Memory(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.LSTM(2, 6, batch_first=True), nn.Linear(6, 1)

    def forward(self, x, state):
        output, state = self.layer(x, state)
        return self.head(output)[..., 0], state


def batch(delay, generator):
    """A sign at the first step, asked for `delay` steps later; noise comes all the time."""
    sign = torch.randint(2, (ROWS,), generator=generator) * 2.0 - 1
    inputs = torch.randn(ROWS, delay + 1, 2, generator=generator)
    inputs[:, :, 0] = 0
    inputs[:, 0, 0] = sign
    targets = torch.full((ROWS, delay + 1), math.nan)
    targets[:, -1] = (sign + 1) / 2
    return Batch(inputs, targets)


def loss(model, part, state):
    logits, state = model(part.inputs, state)
    asked = ~part.targets.isnan()
    wrong = functional.binary_cross_entropy_with_logits(
        logits, torch.where(asked, part.targets, 0), reduction="none"
    )
    return torch.where(asked, wrong, 0).sum(), asked.sum(), state


def learn(rule, delay, updates=120):
    """The mean loss over the last updates, nats; not knowing costs log 2 = 0.69."""
    torch.manual_seed(0)
    model, generator = Memory(), torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    seen = []
    for _ in range(updates):
        parts = windows(batch(delay, generator), WINDOW)
        for cut in bptt(loss, model, parts, rule, generator=generator):
            if cut.count:
                optimizer.step()
                seen.append(cut.loss)
            optimizer.zero_grad()
    return sum(seen[-20:]) / 20


@pytest.mark.parametrize("rule", [Full(), Truncated()], ids=str)
def test_within_the_window(rule):
    assert learn(rule, delay=3) < 0.2


def test_beyond_the_window():
    assert learn(Truncated(), delay=8) > 0.6
    assert learn(Full(), delay=8) < 0.2
    assert learn(Truncated(12), delay=8) < 0.2
    assert learn(RandomTruncation(12.0, unbiased=True), delay=8) < 0.2
