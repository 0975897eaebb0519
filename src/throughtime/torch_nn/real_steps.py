"""The real steps of padded rows side by side, so that a Transformer does nothing for the others.

What treats each step by itself runs on `[steps, features]`. Attention needs the rows again: there
they are set out in groups of about one length, the longest first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from throughtime.shapes import Bool, Float, Tensor

WASTE = 20_000
"""Pairs of steps that a group may compare in vain; another call would cost about as much."""


@dataclass(frozen=True)
class Group:
    """Rows that attention takes together.

    Attributes:
        rows: how many.
        time: steps in a row, padding included.
        steps: which of all the real steps are theirs.
        place: where each of these stands in `rows * time`; None: in order, nothing is padded.
        real: True where a step is real; None: everywhere.
    """

    rows: int
    time: int
    steps: slice
    place: Tensor | None
    real: Bool[Tensor, "rows 1 1 time"] | None

    def set_out(self, x: Float[Tensor, "steps size"], heads: int) -> Tensor:
        """This group's part of all real steps as `[rows, heads, time, head]`; zeros in padding."""
        x = x[self.steps]
        if self.place is not None:
            x = spread(x, self.place, self.rows * self.time)
        return x.view(self.rows, self.time, heads, x.shape[1] // heads).transpose(1, 2)

    def take_back(self, x: Float[Tensor, "rows heads time head"]) -> Tensor:
        """Its real steps, `[steps, size]`."""
        x = x.transpose(1, 2).flatten(2).flatten(0, 1)
        return x if self.place is None else pick(x, self.place)


class RealSteps:
    """Which steps of a padded batch are real, and in which order they are put side by side.

    Args:
        real: `[batch, time]`, True where a step is real.
        batch_first: whether the batch that is packed is `[batch, time, features]`; else
            `[time, batch, features]`.
        like: the order and groups of rows of another; None: groups of about one length.
        in_place: one group of all rows as they are, for masks that speak of places.
    """

    def __init__(
        self,
        real: Bool[Tensor, "batch time"],
        *,
        batch_first: bool,
        like: "RealSteps | None" = None,
        in_place: bool = False,
    ) -> None:
        rows, time = real.shape
        self.padded = (rows, time) if batch_first else (time, rows)
        lengths = real.sum(1)
        if in_place:
            self.order, self.parts = None, [rows]
            row, step = real.nonzero(as_tuple=True)
            self.groups = [_whole(real)]
        else:
            if like is None:
                self.order = lengths.argsort(descending=True, stable=True)
                self.parts = None
            else:
                self.order, self.parts = like.order, like.parts
            assert self.order is not None
            row, step = real[self.order].nonzero(as_tuple=True)
            row = self.order[row]
            lengths = lengths[self.order]
            counts = lengths.tolist()
            if self.parts is None:
                self.parts = _parts(counts)
            self.groups = _groups(counts, lengths, self.parts)
        self.index = row * time + step if batch_first else step * rows + row

    def pack(self, x: Tensor) -> Float[Tensor, "steps size"]:
        """The real steps of a padded batch."""
        return pick(x.reshape(-1, x.shape[-1]), self.index)

    def unpack(self, x: Float[Tensor, "steps size"]) -> Tensor:
        """A padded batch of them, with zeros in padded steps."""
        flat = spread(x, self.index, self.padded[0] * self.padded[1])
        return flat.view(*self.padded, x.shape[-1])


def _parts(lengths: Sequence[int]) -> list[int]:
    """How many rows each group has, of lengths from long to short; rows without steps have none."""
    parts, longest, waste = [], 0, 0
    for length in lengths:
        if not length:
            break
        waste += longest**2 - length**2
        if not parts or waste > WASTE:
            parts.append(0)
            longest, waste = length, 0
        parts[-1] += 1
    return parts


def _groups(counts: Sequence[int], lengths: Tensor, parts: Sequence[int]) -> list[Group]:
    groups, row, first = [], 0, 0
    for rows in parts:
        part = counts[row : row + rows]
        time, count = max(part), sum(part)
        steps = slice(first, first + count)
        if count == rows * time:
            groups.append(Group(rows, time, steps, None, None))
        else:
            real = torch.arange(time) < lengths[row : row + rows].unsqueeze(1)
            place = real.flatten().nonzero().squeeze(1)
            groups.append(Group(rows, time, steps, place, real[:, None, None]))
        row, first = row + rows, first + count
    return groups


def _whole(real: Bool[Tensor, "batch time"]) -> Group:
    place = real.flatten().nonzero().squeeze(1)
    rows, time = real.shape
    return Group(rows, time, slice(0, len(place)), place, real[:, None, None])


def pick(x: Float[Tensor, "rows size"], index: Tensor) -> Float[Tensor, "picked size"]:
    """Some rows of a matrix, none twice."""
    if torch.is_grad_enabled() and x.requires_grad:
        return _Pick.apply(x, index)
    return x.index_select(0, index)


def spread(x: Float[Tensor, "picked size"], index: Tensor, rows: int) -> Float[Tensor, "rows size"]:
    """Rows put in their places in a matrix of zeros."""
    if torch.is_grad_enabled() and x.requires_grad:
        return _Spread.apply(x, index, rows)
    return x.new_zeros(rows, x.shape[1]).index_copy_(0, index, x)


class _Pick(torch.autograd.Function):
    """Some rows of a matrix, none twice: what comes back is put in their place, not added."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.rows = x.shape[0]
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (index,) = ctx.saved_tensors
        return spread(gradient, index, ctx.rows), None


class _Spread(torch.autograd.Function):
    """Rows put in their places in a matrix of zeros."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, rows: int) -> Tensor:
        ctx.save_for_backward(index)
        return x.new_zeros(rows, x.shape[1]).index_copy_(0, index, x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (index,) = ctx.saved_tensors
        return pick(gradient, index), None, None
