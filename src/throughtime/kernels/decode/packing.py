"""How weights lie in memory for the compiled step: panels of rows, one after the other."""

import mmap

import torch
from torch.nn.functional import pad

from throughtime.shapes import Float, Int, Tensor

PANEL = 32
"""Rows whose sums are computed side by side."""

LINE = 64
"""Bytes of a line of the cache."""

PAGE = 2**21
"""Bytes of a large page."""


def whole(count: int) -> int:
    """Up to the next whole number of panels."""
    return -(-count // PANEL) * PANEL


def padded(vector: Float[Tensor, " count"]) -> Float[Tensor, " whole"]:
    """Zeros up to whole panels."""
    return pad(vector, (0, whole(len(vector)) - len(vector)))


def whole_blocks(
    weight: Float[Tensor, "rows *depth"], blocks: int
) -> Float[Tensor, "whole *depth"]:
    """Rows in so many blocks, each up to whole panels."""
    parts = weight.unflatten(0, (blocks, -1))
    short = whole(parts.shape[1]) - parts.shape[1]
    return pad(parts, (0, 0) * (weight.ndim - 1) + (0, short)).flatten(0, 1)


def panels(weight: Float[Tensor, "rows depth"]) -> Float[Tensor, "panels depth panel"]:
    """A matrix as panels: row `r` is column `r % panel` of panel `r // panel`."""
    rows, depth = weight.shape
    return pad(weight, (0, 0, 0, whole(rows) - rows)).view(-1, PANEL, depth).transpose(1, 2)


def byte_panels(weight: Int[Tensor, "rows depth"]) -> Int[Tensor, "panels fours panel 4"]:
    """Likewise of whole numbers, four of a row side by side."""
    rows, depth = weight.shape
    weight = pad(weight, (0, -depth % 4, 0, whole(rows) - rows))
    fours = weight.view(torch.int32).view(-1, PANEL, weight.shape[1] // 4)  # moved as one
    return fours.transpose(1, 2).contiguous().view(torch.int8).unflatten(-1, (PANEL, 4))


def to_bytes(
    weight: Float[Tensor, "rows depth"],
) -> tuple[Int[Tensor, "rows depth"], Float[Tensor, " rows"]]:
    """Whole numbers from -127 to 127 and how much they count, row by row: the largest is 127."""
    scale = weight.abs().amax(1) / 127
    steps = weight / torch.where(scale > 0, scale, 1).unsqueeze(1)
    return steps.round().clamp(-127, 127).to(torch.int8), scale


class Store:
    """Tensors side by side in one block of memory, in the order in which they are read.

    The block asks for large pages: with small ones a step would look up thousands of addresses.
    """

    def __init__(self) -> None:
        self._pieces: list[tuple[int, Tensor]] = []
        self._size = 0
        self.memory: Tensor | None = None

    def add(self, tensor: Tensor) -> int:
        """Where in the block the tensor will lie, in bytes."""
        at = self._size
        self._pieces.append((at, tensor))
        self._size = at + -(-tensor.numel() * tensor.element_size() // LINE) * LINE
        return at

    def close(self) -> int:
        """Copy all tensors; the address of the block."""
        block = mmap.mmap(-1, self._size + 2 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            block.madvise(mmap.MADV_HUGEPAGE)
        whole_block = torch.frombuffer(block, dtype=torch.uint8)
        self.memory = whole_block[-whole_block.data_ptr() % PAGE :][: self._size]
        for at, tensor in self._pieces:
            bytes_ = self.memory[at : at + tensor.numel() * tensor.element_size()]
            bytes_.view(tensor.dtype).view(tensor.shape).copy_(tensor)
        self._pieces = []
        return self.memory.data_ptr()
