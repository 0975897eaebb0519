"""Learn to recall a symbol, with the gradient cut after 5, 10 and 20 steps.

The symbol comes 12 steps before it is asked for. A window of 5 or 10 steps never connects the two,
so nothing is learned; one of 20 does.
"""

import torch
from torch import nn

from throughtime import GRU, Linear, Stack
from throughtime.training import Truncated, bptt

DISTANCE, STEPS = 12, 20


def sequences(batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """One of two symbols at the start, a question mark DISTANCE steps later."""
    symbol = torch.randint(2, (batch,))
    x = torch.zeros(batch, STEPS, 3)
    x[torch.arange(batch), 0, symbol] = 1
    x[:, DISTANCE, 2] = 1
    return x, symbol


def loss(model, window, state):
    """Cross-entropy at the question mark; other steps count nothing."""
    (x, symbol) = window
    output, state = model(x, state)
    asked = x[..., 2] == 1
    wanted = symbol[:, None].expand(asked.shape)[asked]
    return nn.functional.cross_entropy(output[asked], wanted, reduction="sum"), asked.sum(), state


class Window(tuple):
    """A piece of the input in time, with what is to be recalled."""

    @property
    def shape(self):
        return self[0].shape[:2]

    def narrow(self, start: int, stop: int) -> "Window":
        return Window((self[0][:, start:stop], self[1]))


for window in (5, 10, 20):
    torch.manual_seed(0)
    model = Stack(GRU(3, 16), Linear(16, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(80):
        x, symbol = sequences(64)
        pieces = [Window((piece, symbol)) for piece in x.split(window, dim=1)]
        for _cut in bptt(loss, model, pieces, Truncated()):
            optimizer.step()
            optimizer.zero_grad()
    x, symbol = sequences(1000)
    recalled = model(x)[0][:, DISTANCE].argmax(-1)
    print(f"window {window:2d}: {(recalled == symbol).float().mean():.0%} recalled")
