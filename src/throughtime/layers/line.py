"""What causal attention can see: the steps it remembers, and those of the call."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch.nn.functional import pad

from throughtime.layers.position import Steps
from throughtime.shapes import Bool, Float, Int, Tensor
from throughtime.state import register


@register
class SelfAttentionState(NamedTuple):
    """What causal self-attention remembers: a fixed window on the past.

    Attributes:
        keys: `[batch, kv_heads, horizon, head_size]`, of the last real steps, the oldest first;
            zeros where there were none.
        values: likewise.
        real: `[batch, horizon]`, True where there is a step.
        seen: `[batch]`, real steps of the sequence so far; whole numbers.
    """

    keys: Float[Tensor, "batch kv_heads horizon head"]
    values: Float[Tensor, "batch kv_heads horizon head"]
    real: Bool[Tensor, "batch horizon"]
    seen: Int[Tensor, " batch"]


class Line(NamedTuple):
    """What can be seen: the remembered steps and those of the call.

    Attributes:
        keys: `[batch, kv_heads, steps, head_size]`.
        values: likewise.
        place: `[rows, steps]`, which step of its sequence each is.
        real: `[batch, steps]`; None: all are.
        segment: `[batch, steps]`, as of `Steps`; the remembered have 0. None without resets.
    """

    keys: Tensor
    values: Tensor
    place: Tensor
    real: Tensor | None
    segment: Tensor | None


def line_of(
    past: SelfAttentionState | None, k: Tensor, v: Tensor, steps: Steps, mask: Tensor | None
) -> Line:
    """The remembered steps, if there are any, and after them those of the call."""
    if past is None:
        return Line(k, v, steps.place, mask, steps.segment)
    horizon = past.real.shape[1]
    ago = torch.arange(-horizon, 0, device=k.device)
    new = torch.ones(k.shape[0], k.shape[2], dtype=torch.bool, device=k.device)
    return Line(
        torch.cat([past.keys.to(k.dtype), k], dim=2),
        torch.cat([past.values.to(v.dtype), v], dim=2),
        torch.cat([past.seen.unsqueeze(1) + ago, steps.place], dim=1),
        torch.cat([past.real, new if mask is None else mask], dim=1),
        None if steps.segment is None else pad(steps.segment, (horizon, 0)),
    )


def pieces(
    q: Tensor, line: Line, steps: Steps, horizon: int, block: int
) -> Iterator[tuple[Tensor, Line, Steps]]:
    """Stretches of a long call, each with the steps that it can see: cost follows the horizon.

    Without padding a step is as far from another in the line as in its sequence.
    """
    time, reach = q.shape[2], line.keys.shape[2]

    def cut(part: Tensor | None, start: int, stop: int) -> Any:
        return None if part is None else part[:, start:stop]

    for start in range(0, time, block):
        stop = min(start + block, time)
        first, last = max(0, start + reach - time - horizon), stop + reach - time
        seen = slice(first, last)
        yield (
            q[:, :, start:stop],
            Line(
                line.keys[:, :, seen],
                line.values[:, :, seen],
                cut(line.place, first, last),
                cut(line.real, first, last),
                cut(line.segment, first, last),
            ),
            Steps(cut(steps.place, start, stop), cut(steps.segment, start, stop), steps.after),
        )


class _Wanted(threading.local):
    state: bool = True


wanted = _Wanted()
"""Whether the state after a call is asked for, in this thread."""


@contextmanager
def unremembered() -> Iterator[None]:
    """Inside, causal attention gives `()` for the state after a call.

    For a loss over whole sequences, which never goes on: of a Transformer's step on short ones the
    state is a twentieth.
    """
    before, wanted.state = wanted.state, False
    try:
        yield
    finally:
        wanted.state = before


def remembered(
    line: Line,
    steps: Steps,
    mask: Tensor | None,
    reset: Tensor | None,
    horizon: int,
    dtype: torch.dtype,
) -> SelfAttentionState:
    """The last `horizon` real steps of the sequence that goes on."""
    keys, values = line.keys.to(dtype), line.values.to(dtype)
    batch, _, reach, _ = keys.shape
    if mask is None and reset is None:
        real, start = line.real, reach - horizon
        if real is None:  # nothing was remembered: there may be too few steps
            real = torch.ones(batch, reach, dtype=torch.bool, device=keys.device)
            keys, values = pad(keys, (0, 0, horizon, 0)), pad(values, (0, 0, horizon, 0))
            real, start = pad(real, (horizon, 0)), reach
        return SelfAttentionState(
            keys[:, :, start:], values[:, :, start:], real[:, start:], steps.after
        )
    kept = torch.ones(batch, reach, dtype=torch.bool, device=keys.device)
    real = kept if line.real is None else line.real
    if mask is not None:
        kept = torch.cat([kept[:, : reach - mask.shape[1]], mask], dim=1)
    if line.segment is not None and reset is not None:
        kept = kept & (line.segment == reset.sum(1, keepdim=True))
    # Each kept step's place counted from the end; what falls before the window goes to a dump. The
    # remembered places without a step are kept too, so that they move as they do without a mask.
    from_end = kept.flip(1).cumsum(1).flip(1)
    slot = torch.where(kept & (from_end <= horizon), horizon - from_end, horizon)
    wide = slot[:, None, :, None].expand_as(keys)
    empty = keys.new_zeros(batch, keys.shape[1], horizon + 1, keys.shape[3])
    return SelfAttentionState(
        empty.scatter(2, wide, keys)[:, :, :-1],
        empty.scatter(2, wide, values)[:, :, :-1],
        real.new_zeros(batch, horizon + 1).scatter(1, slot, real)[:, :-1],
        steps.after,
    )
