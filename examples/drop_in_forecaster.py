"""A GRU forecaster written for torch.nn, with the import changed: same losses, less time.

Two layers read a week of hourly temperatures and say the next day, all 24 hours at once. The model
is built twice from the same code and the same weights, `nn` being `torch.nn` and
`throughtime.torch_nn`.
"""

import time

import numpy as np
import torch

from throughtime import torch_nn
from throughtime.data import builtin

WEEK, DAY, BATCH, STEPS = 168, 24, 32, 25


def build(nn):
    class Forecaster(nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = nn.GRU(1, 64, num_layers=2, batch_first=True)
            self.head = nn.Linear(64, DAY)

        def forward(self, past):
            output, _ = self.gru(past)
            return past[:, -1] + self.head(output[:, -1])

    return Forecaster()


def batches(seed):
    """Weeks and the days after them, from anywhere in the year."""
    series = builtin.load("nyc-temperature").series[0].values[:, 0]  # pyright: ignore
    known = np.flatnonzero(~np.isnan(series))
    series = np.interp(np.arange(len(series)), known, series[known])
    scaled = torch.from_numpy((series - series.mean()) / series.std()).float()
    windows = scaled.unfold(0, WEEK + DAY, 1)
    random = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(windows), (STEPS, BATCH), generator=random)
    return [(windows[rows, :WEEK, None], windows[rows, WEEK:]) for rows in drawn]


def train(model, batches):
    """The loss of each step."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    losses = []
    for past, future in batches:
        loss = torch.nn.functional.mse_loss(model(past), future)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def main():
    torch.manual_seed(0)
    before, after = build(torch.nn), build(torch_nn)
    after.load_state_dict(before.state_dict())
    data, losses = batches(seed=0), []
    for name, model in (("torch.nn", before), ("throughtime.torch_nn", after)):
        start = time.perf_counter()
        losses.append(train(model, data))
        took = time.perf_counter() - start
        print(f"{name:20}  {took:5.2f} s, loss {losses[-1][0]:.4f} to {losses[-1][-1]:.4f}")
    apart = max(abs(a - b) for a, b in zip(*losses, strict=True))
    print(f"losses differ by {apart:.1e} at most")
    assert apart < 1e-3


if __name__ == "__main__":
    main()
