"""The running level as an exported graph computes it: a loop over steps, of any number.

The layer itself works in blocks, whose number would be fixed while a graph is traced.
"""

import torch
from torch import nn

from throughtime.exporting.operators import discounted
from throughtime.models.level import LevelState, RunningLevel
from throughtime.shapes import Tensor


class LoopedLevel(RunningLevel):
    """The same level by $S_t = a S_{t-1} + x_t$, step after step, however many there are."""

    def run(
        self, x: Tensor, state: LevelState, mask: Tensor | None, reset: Tensor | None
    ) -> tuple[Tensor, LevelState]:
        """Both sums side by side."""
        real = torch.ones_like(x[..., 0], dtype=torch.bool) if mask is None else mask
        seen = ~x.isnan() & real.unsqueeze(-1)
        given = torch.cat([torch.where(seen, x, 0), seen.to(x.dtype)], dim=-1)
        before = torch.cat(state, dim=-1)
        sums = discounted(given, real, before, 2 ** (-1 / self.half_life))
        total, weight = sums.chunk(2, dim=-1)
        level = torch.where(weight > 0, total / weight.clamp_min(1e-30), 0)
        level = torch.where(real.unsqueeze(-1), level, 0)
        last = torch.cat([before.unsqueeze(1), sums], dim=1)[:, -1]
        return level, LevelState(*last.chunk(2, dim=-1))


def loop_levels(model: nn.Module) -> None:
    """Make the levels of a model loops."""
    for module in model.modules():
        if type(module) is RunningLevel:
            module.__class__ = LoopedLevel
