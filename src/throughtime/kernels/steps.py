"""What the plain loops of all recurrences share: cutting time into steps, and which steps count."""

from collections.abc import Callable, Iterator

import torch

from throughtime.shapes import Bool, Float, Tensor

Column = Bool[Tensor, "batch 1"]

Touch = Callable[[str, Tensor, int], Tensor]
"""Sees a value of a step, `[batch, hidden]`, by name and number of the step; gives back what the
loop goes on with."""


def leave(name: str, value: Tensor, step: int) -> Tensor:
    """Goes on with the value itself."""
    return value


def hide_padding(
    x: Float[Tensor, "batch time features"], mask: Bool[Tensor, "batch time"] | None
) -> Float[Tensor, "batch time features"]:
    """Zeros in padded steps. Selected, not multiplied: zero times NaN is NaN."""
    return x if mask is None else torch.where(mask.unsqueeze(-1), x, 0)


def columns(
    marks: Bool[Tensor, "batch time"] | None, steps: int
) -> Iterator[Bool[Tensor, "batch 1"] | None]:
    """One column of marks per step, or `steps` times None."""
    if marks is None:
        return iter([None] * steps)
    return iter(marks.unsqueeze(-1).unbind(1))


def keep(
    mark: Bool[Tensor, "batch 1"] | None,
    new: Float[Tensor, "batch hidden"],
    old: Float[Tensor, "batch hidden"],
) -> Float[Tensor, "batch hidden"]:
    """`new` in the rows marked, `old` in the others; `new` everywhere without marks."""
    return new if mark is None else torch.where(mark, new, old)


def begin(
    mark: Bool[Tensor, "batch 1"] | None,
    state: Float[Tensor, "batch hidden"],
    initial: Float[Tensor, "batch hidden"],
) -> Float[Tensor, "batch hidden"]:
    """`initial` in the rows where a new sequence begins; `state` in the others."""
    return state if mark is None else torch.where(mark, initial, state)


def join(
    outputs: list[Float[Tensor, "batch hidden"]],
    like: Float[Tensor, "batch hidden"],
    mask: Bool[Tensor, "batch time"] | None,
) -> Float[Tensor, "batch time hidden"]:
    """The steps as one sequence, with zeros in padded steps; none at all is a sequence too."""
    if not outputs:
        return like.new_zeros(like.shape[0], 0, like.shape[1])
    return hide_padding(torch.stack(outputs, dim=1), mask)
