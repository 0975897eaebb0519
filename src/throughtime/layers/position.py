"""Where a step stands in its sequence, and how attention is told.

Attention sums over a set: without more, the order of the steps makes no difference. Positions count
real steps, so that padding moves nothing, and they go on from call to call with the state.
"""

from typing import NamedTuple

import torch
from torch import nn

from throughtime.errors import InputError
from throughtime.layers.base import Layer, check_size
from throughtime.shapes import Bool, Float, Int, Tensor
from throughtime.state import register

ABSOLUTE = ("sinusoidal", "learned")
"""Added to what comes in."""

RELATIVE = ("rotary", "alibi")
"""Part of the scores, which then depend on the distance between query and key alone."""

POSITIONS = ("none", *ABSOLUTE, *RELATIVE)


class Steps(NamedTuple):
    """Which step of its sequence each step of a call is.

    Attributes:
        place: `[batch, time]`, real steps of the sequence before this one; `[1, time]` where that
            is the same in all rows.
        segment: `[batch, time]`, resets in this call up to each step, itself included; None where
            there are none.
        after: `[batch]`, real steps of the sequence so far, after the call.
    """

    place: Int[Tensor, "rows time"]
    segment: Int[Tensor, "batch time"] | None
    after: Int[Tensor, " batch"]


def count_steps(
    x: Tensor,
    before: Int[Tensor, " batch"] | None,
    mask: Bool[Tensor, "batch time"] | None,
    reset: Bool[Tensor, "batch time"] | None,
) -> Steps:
    """Count real steps; a reset begins again at zero.

    Args:
        x: `[batch, time, ...]`, of which only the form is read.
        before: real steps before the call; None: the call begins the sequences.
        mask: True where a step is real.
        reset: True where a new sequence begins.
    """
    batch, time = x.shape[:2]
    if mask is None and reset is None:
        index = torch.arange(time, device=x.device).unsqueeze(0)
        if before is None:
            return Steps(index, None, torch.full((batch,), time, device=x.device))
        return Steps(before.unsqueeze(1) + index, None, before + time)
    if before is None:
        before = torch.zeros(batch, dtype=torch.long, device=x.device)
    real = torch.ones(batch, time, dtype=torch.bool, device=x.device) if mask is None else mask
    earlier = real.cumsum(1) - real.long()  # real steps of this call before each step
    if reset is None:
        return Steps(before.unsqueeze(1) + earlier, None, before + real.sum(1))
    segment = reset.cumsum(1)
    begun = torch.where(reset, earlier, 0).cummax(1).values  # those before the latest reset
    base = torch.where(segment > 0, -begun, before.unsqueeze(1))
    latest = real & (segment == reset.sum(1, keepdim=True))
    after = torch.where(reset.any(1), 0, before) + latest.sum(1)
    return Steps(earlier + base, segment, after)


def frequencies(size: int, device: torch.device, base: float = 10_000.0) -> Float[Tensor, " half"]:
    """Radians per step of each pair of features, $10000^{-2i/d}$, from 1 down.

    In float64 where the device has it. A position is a whole number of any size: in float32 its
    angle would lose a digit with every power of ten.
    """
    wide = torch.float32 if device.type == "mps" else torch.float64
    return base ** (-torch.arange(0, size, 2, device=device, dtype=wide) / size)


def sinusoidal(
    index: Int[Tensor, "*steps"] | Float[Tensor, "*steps"], size: int, dtype: torch.dtype
) -> Float[Tensor, "*steps size"]:
    r"""Positions as points on circles that turn at different speeds.

    $$p_{2i} = \sin(t / 10000^{2i/d}), \qquad p_{2i+1} = \cos(t / 10000^{2i/d})$$

    Args:
        index: positions t, in steps, or between them.
        size: d, features; even.
        dtype: of what comes out.

    References:
        Vaswani et al. 2017, "Attention is all you need", section 3.5.
    """
    angles = index.unsqueeze(-1) * frequencies(size, index.device)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2).to(dtype)


Turn = tuple[Float[Tensor, "rows 1 time half"], Float[Tensor, "rows 1 time half"]]
"""Cosines and sines of the angles that pairs of features are turned by."""


def turn(place: Int[Tensor, "rows time"], size: int, dtype: torch.dtype) -> Turn:
    r"""The angles of positions: $t \cdot 10000^{-2i/d}$ radians for pair i.

    Args:
        place: positions t, in steps.
        size: d, features per head; even.
        dtype: of what comes out.
    """
    angles = (place.unsqueeze(-1) * frequencies(size, place.device)).unsqueeze(1)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(
    x: Float[Tensor, "batch heads time size"], by: Turn
) -> Float[Tensor, "batch heads time size"]:
    """Turn the pairs of features $(x_i, x_{i + d/2})$.

    The inner product of a query and a key that are turned by their positions depends on these
    through their distance alone.

    References:
        Su et al. 2021, "RoFormer: enhanced transformer with rotary position embedding".
    """
    cos, sin = by
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def slopes(heads: int) -> list[float]:
    r"""How much each head's score falls per step of distance: $2^{-8h/H}$ for $h = 1 \ldots H$.

    References:
        Press, Smith and Lewis 2022, "Train short, test long: attention with linear biases enables
        input length extrapolation".
    """
    return [2.0 ** (-8.0 * (head + 1) / heads) for head in range(heads)]


def check_position(layer: str, position: str, size: int, known: tuple[str, ...]) -> None:
    """Refuse an encoding nobody knows, and pairs of features where one is left over.

    Args:
        layer: who asks.
        position: the encoding.
        size: features that it is about.
        known: the encodings that the layer takes.
    """
    if position not in known:
        raise InputError(f"{layer}: position is {position!r}, expected one of {[*known]}")
    if position in ("sinusoidal", "rotary") and size % 2:
        what = "size" if position == "sinusoidal" else "size per head"
        raise InputError(f"{layer}: {what} is {size}, expected an even number for {position}")


@register
class PositionState(NamedTuple):
    """What a position encoding remembers.

    Attributes:
        seen: `[batch]`, real steps so far; whole numbers.
    """

    seen: Int[Tensor, " batch"]


class Position(Layer):
    r"""A vector for the position added to each step: $y_t = x_t + p_t$.

    The position is the number of real steps before, so that padding anywhere changes nothing and a
    sequence goes on where the last call left it.

    Args:
        size: d, features per step.
        kind: `sinusoidal`, which needs no training and reaches anywhere, or `learned`.
        length: learned vectors. After the last one they begin again, so that a stream may be of any
            length; within a horizon of less than `length` steps no two positions are the same.

    Attributes:
        weight: `[length, size]`, learned vectors; normal with deviation 0.02. None for sinusoidal.

    Shapes:
        - `x`: `[batch, time, size]`; time is counted in steps.
        - `state`: `PositionState`, `[batch]`; `None` means no steps so far.
        - `mask`, `reset`: `[batch, time]`, see [`Layer`][throughtime.layers.Layer].
        - `output`: `[batch, time, size]`; zeros in padded steps.

    Laws:
        - Chunkable: any split of time gives the same outputs, state and gradients.
        - Padding-invariant: what stands in a padded step changes nothing.

    Errors:
        InputError: another kind, or an odd size for `sinusoidal`.

    Examples:
        >>> layer = Position(4)
        >>> output, state = layer(torch.zeros(1, 3, 4))
        >>> state.seen.tolist(), output[0, 0].tolist()
        ([3], [0.0, 1.0, 0.0, 1.0])

    References:
        Vaswani et al. 2017, "Attention is all you need", section 3.5.
    """

    anchor: Tensor
    knows_none = True

    def __init__(self, size: int, kind: str = "sinusoidal", *, length: int = 1024) -> None:
        super().__init__()
        check_size("Position", "size", size)
        check_size("Position", "length", length)
        check_position("Position", kind, size, ABSOLUTE)
        self.input_size = self.output_size = size
        self.kind = kind
        self.length = length
        self.weight = nn.Parameter(torch.empty(length, size)) if kind == "learned" else None
        # Sinusoidal positions have no weights; this empty tensor says where and what the layer is.
        self.register_buffer("anchor", torch.empty(0), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Small learned vectors."""
        if self.weight is not None:
            nn.init.normal_(self.weight, std=0.02)

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> PositionState:
        """No steps so far."""
        where = self.like().device if device is None else device
        return PositionState(torch.zeros(batch_size, dtype=torch.long, device=where))

    def encode(
        self, index: Int[Tensor, "rows time"], dtype: torch.dtype
    ) -> Float[Tensor, "rows time size"]:
        """The vectors of positions."""
        if self.weight is None:
            return sinusoidal(index, self.output_size or 0, dtype)
        return nn.functional.embedding(index % self.length, self.weight)

    def run(
        self,
        x: Float[Tensor, "batch time size"],
        state: PositionState | None,
        mask: Bool[Tensor, "batch time"] | None,
        reset: Bool[Tensor, "batch time"] | None,
    ) -> tuple[Float[Tensor, "batch time size"], PositionState]:
        """Count, look up, add."""
        steps = count_steps(x, None if state is None else state.seen, mask, reset)
        output = x + self.encode(steps.place, x.dtype)
        if mask is not None:
            output = torch.where(mask.unsqueeze(-1), output, 0)
        return output, PositionState(steps.after)

    def extra_repr(self) -> str:
        """Size and kind, for printing."""
        learned = f", length={self.length}" if self.weight is not None else ""
        return f"size={self.input_size}, kind={self.kind!r}{learned}"
