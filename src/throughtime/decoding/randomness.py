"""Random numbers for each row by itself, so that its text does not depend on its neighbours."""

from collections.abc import Sequence

import numpy as np
import torch

from throughtime.errors import InputError
from throughtime.shapes import Float, Tensor

BLOCK = 64
"""Numbers that are drawn of a row at a time: one by one they cost more than the step."""


def row_seeds(seed: int, rows: int) -> list[int]:
    """The seed of each row of a batch, out of one for all.

    Args:
        seed: of the batch.
        rows: how many.

    Examples:
        >>> row_seeds(0, 3)[:2] == row_seeds(0, 2) and row_seeds(0, 1) != row_seeds(1, 1)
        True
    """
    if isinstance(seed, bool) or seed < 0:
        raise InputError(f"seed is {seed}, expected a whole number of at least 0")
    return [
        int(np.random.SeedSequence((seed, row)).generate_state(1, np.uint64)[0]) >> 1
        for row in range(rows)
    ]


def widest(device: torch.device | str) -> torch.dtype:
    """float64, or float32 where there is none (Apple's GPUs)."""
    return torch.float32 if torch.device(device).type == "mps" else torch.float64


class Uniforms:
    """A stream of numbers in [0, 1) for each row.

    They are drawn on the CPU, so that a seed means the same on every device.

    Args:
        seeds: one per row.
        device: where the numbers go.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device | str = "cpu") -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.device = device
        self.block = torch.empty(len(self.generators), 0, device=device)
        self.used = 0

    def __call__(self) -> Float[Tensor, " rows"]:
        """The next number of each row."""
        if self.used == self.block.shape[1]:
            drawn = [torch.rand(BLOCK, generator=one, dtype=torch.float64)
                     for one in self.generators]  # fmt: skip
            below = torch.stack(drawn).clamp(max=1 - 2**-24)  # also when rounded to float32
            self.block = below.to(widest(self.device)).to(self.device)
            self.used = 0
        self.used += 1
        return self.block[:, self.used - 1]

    def select(self, rows: Sequence[int]) -> None:
        """Go on with these rows only."""
        self.generators = [self.generators[row] for row in rows]
        self.block = self.block[list(rows)]
