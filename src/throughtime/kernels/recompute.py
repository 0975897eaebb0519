"""Back-propagation that computes the gates again instead of keeping them.

Time is cut into about sqrt(T) segments. Forward keeps the state at each cut and no gates; backward
goes through the segments from the last to the first, computes each once more from its state, and
keeps the gates of that segment only. One forward pass more is what it costs.

References:
    Chen et al. 2016, "Training deep nets with sublinear memory cost".
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from throughtime.kernels.calls import Gradients, Inputs, Recurrence, backward, empty, forward
from throughtime.kernels.operators import differentiate, keep

SHORTEST = 32
"""Steps of a segment at least: each call packs the weights anew."""


class Recomputed(torch.autograd.Function):
    """The kernels outside of graphs, with the gates of one segment at a time."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, operation: Recurrence, code: int, *tensors: Tensor | None
    ) -> tuple[Tensor, ...]:
        """What came out."""
        inputs = Inputs(*tensors)  # pyright: ignore[reportArgumentType]
        batch, time, _ = inputs.x.shape
        hidden, cell = inputs.hidden, inputs.cell
        output = empty((batch, time, hidden.shape[1]), inputs.x)
        states: list[Tensor | None] = []
        last_cell = inputs.x.new_empty(0)
        for first, last in pairwise(_cuts(time)):
            states += [hidden, cell]
            segment = _segment(inputs, first, last, hidden, cell)
            (part, hidden, last_cell), _ = forward(operation, code, segment, save=False)
            output[:, first:last] = part
            cell = None if cell is None else last_cell
        keep(ctx, operation, code, (*inputs, *states))
        return output, hidden, last_cell

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:  # pyright: ignore
        """Of the inputs, from those of what came out."""
        wanted = ctx.needs_input_grad[2:]

        def compute(inputs: Inputs, states: Sequence[Tensor | None]) -> Gradients:
            return _through_segments(ctx.operation, ctx.code, inputs, states, gradients, wanted)

        return None, None, *differentiate(ctx, gradients, wanted, compute)


def _through_segments(
    operation: Recurrence,
    code: int,
    inputs: Inputs,
    states: Sequence[Tensor | None],
    gradients: Gradients,
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    output, d_hidden, d_cell = gradients
    names = Inputs._fields
    needed = [want or name in ("hidden", "cell") for name, want in zip(names, wanted, strict=True)]
    total: dict[str, Tensor] = {}
    pieces: list[Tensor] = []
    cuts = list(pairwise(_cuts(inputs.x.shape[1])))
    for index in reversed(range(len(cuts))):
        (first, last), state = cuts[index], states[2 * index : 2 * index + 2]
        assert state[0] is not None
        segment = _segment(inputs, first, last, state[0], state[1])
        _, saved = forward(operation, code, segment, save=True)
        given = None if output is None else output[:, first:last]
        found = backward(operation, code, segment, saved, (given, d_hidden, d_cell), needed)
        by_name = dict(zip(names, found, strict=True))
        d_hidden, d_cell = by_name.pop("hidden"), by_name.pop("cell")
        x = by_name.pop("x")
        if x is not None:
            pieces.append(x)
        for name, value in by_name.items():
            if value is not None:
                total[name] = value if name not in total else total[name].add_(value)
    ends = {"hidden": d_hidden, "cell": d_cell}
    ends["x"] = torch.cat(pieces[::-1], dim=1) if pieces else None
    both = total | ends
    return [both.get(name) if want else None for name, want in zip(names, wanted, strict=True)]


def _cuts(time: int) -> list[int]:
    """Where segments begin, and where the last one ends."""
    length = max(SHORTEST, math.isqrt(time))
    return [*range(0, max(time, 1), length), time]


def _segment(inputs: Inputs, first: int, last: int, hidden: Tensor, cell: Tensor | None) -> Inputs:
    x, mask, reset = (
        None if part is None else part[:, first:last].contiguous() for part in inputs[:3]
    )
    assert x is not None
    return inputs._replace(x=x, mask=mask, reset=reset, hidden=hidden, cell=cell)
