"""A PackedSequence as rows side by side, and back again.

`torch.nn.utils.rnn.PackedSequence` keeps the real steps only, all first steps before all second
ones. The kernels take rows with a mask. Either way each step is copied once.
"""

from typing import Any, NamedTuple

import torch

from throughtime.kernels.compiled import plain, transformed
from throughtime.shapes import Bool, Float, Int, Tensor


class Packing(NamedTuple):
    """Which packed step stands where in rows.

    Attributes:
        mask: `[batch, time]`, True where a step is real; None where all are.
        unpack: `[batch * time]`, the packed step at each place of the rows; 0 in padding.
        pack: `[steps]`, the place in the rows of each packed step.
        batch: rows.
        time: steps of the longest.
    """

    mask: Bool[Tensor, "batch time"] | None
    unpack: Int[Tensor, " places"]
    pack: Int[Tensor, " steps"]
    batch: int
    time: int

    def rows(self, data: Float[Tensor, "steps features"]) -> Float[Tensor, "batch time features"]:
        """Each sequence in its own row. What stands in padding is any step: it must be masked."""
        return _move(data, self.unpack, self.pack).view(self.batch, self.time, -1)

    def packed(self, rows: Float[Tensor, "batch time features"]) -> Float[Tensor, "steps features"]:
        """The real steps of rows, in the packed order."""
        return _move(rows.flatten(0, 1), self.pack, self.unpack)


def packing(batch_sizes: Int[Tensor, " time"], device: torch.device) -> Packing:
    """The places of a PackedSequence, from how many rows have a first, second, ... step."""
    time, batch = len(batch_sizes), int(batch_sizes[0])
    row = torch.arange(batch).unsqueeze(1)
    mask = row < batch_sizes
    unpack = torch.where(mask, batch_sizes.cumsum(0) - batch_sizes + row, 0)
    step, of_row = mask.T.nonzero(as_tuple=True)
    ragged = int(batch_sizes[-1]) < batch
    return Packing(
        mask.to(device) if ragged else None,
        unpack.flatten().to(device),
        (of_row * time + step).to(device),
        batch,
        time,
    )


def _move(source: Tensor, there: Tensor, back: Tensor) -> Tensor:
    if plain() and not transformed():
        return _Moved.apply(source, there, back)
    return source.index_select(0, there)


class _Moved(torch.autograd.Function):
    """Rows of a matrix picked by index, with a gradient that picks likewise.

    Padding has no gradient, so each row's comes from one place: nothing needs to be summed up.
    """

    @staticmethod
    def forward(ctx: Any, source: Tensor, there: Tensor, back: Tensor) -> Tensor:  # pyright: ignore
        """The rows at `there`."""
        ctx.save_for_backward(there, back)
        return source.index_select(0, there)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore
        """The same the other way round."""
        there, back = ctx.saved_tensors
        return _Moved.apply(gradient, back, there), None, None
