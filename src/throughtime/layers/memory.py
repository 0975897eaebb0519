"""What layers that look at another sequence, the memory, have in common."""

import torch
from torch.nn.functional import pad

from throughtime.errors import InputError
from throughtime.layers.base import Layer
from throughtime.shapes import Bool, Float, Tensor
from throughtime.state import S, State, map_tensors, tensors
from throughtime.taps import historic, replaced, tap, unwatched


class MemoryLayer(Layer):
    """A layer whose state is a memory: what another sequence says, worked out once.

    A call does not change it, but for sequences that begin inside a row: those have the initial
    state, a memory without steps.

    Attributes:
        memory_size: features per step of the memory.
    """

    memory_size: int

    def look(
        self,
        x: Float[Tensor, "batch time size"],
        memory: State,
        mask: Bool[Tensor, "batch time"] | None,
        begun: Bool[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch time size"]:
        """What each step finds in a memory; zeros in padded steps.

        Args:
            x: what looks.
            memory: what it looks at.
            mask: True where a step is real.
            begun: True in steps of a sequence that began inside its row: those look elsewhere, and
                show nothing of this.
        """
        raise NotImplementedError

    def remember(
        self,
        memory: Float[Tensor, "batch steps memory"],
        mask: Bool[Tensor, "batch steps"] | None = None,
    ) -> State:
        """A memory as a state."""
        raise NotImplementedError

    def check_memory(
        self,
        memory: Float[Tensor, "batch steps memory"],
        mask: Bool[Tensor, "batch steps"] | None,
    ) -> Bool[Tensor, "batch steps"]:
        """Refuse a memory of another form; which of its steps are real."""
        if memory.ndim != 3 or memory.shape[2] != self.memory_size:
            raise InputError(
                f"{type(self).__name__}: memory has shape {list(memory.shape)}, "
                f"expected [batch, steps, {self.memory_size}]"
            )
        self.check_dtype(memory)
        self.check_marks(memory, mask, None)
        if mask is None:
            return torch.ones(memory.shape[:2], dtype=torch.bool, device=memory.device)
        return mask

    def run(
        self,
        x: Float[Tensor, "batch time size"],
        state: State,
        mask: Bool[Tensor, "batch time"] | None,
        reset: Bool[Tensor, "batch time"] | None,
    ) -> tuple[Float[Tensor, "batch time size"], State]:
        """Look; at nothing from a reset on."""
        if reset is None:
            return tap(self, "output", self.look(x, state, mask), mask), state
        begun = reset.cumsum(1) > 0
        initial = self.initial_state(x.shape[0])
        output = self.look(x, state, mask, begun)
        # Of no memory steps find what is shown of them, and go on with that where it must count.
        follows = replaced(self) or historic(self)
        if not follows or any(part.numel() for part in tensors(initial)):
            elsewhere = unwatched(self.look)(x, initial, mask)
            output = torch.where(begun.unsqueeze(-1), elsewhere, output)
        return tap(self, "output", output, mask), _replaced(state, initial, reset.any(1))

    def check_state(self, state: State, batch_size: int) -> None:
        """A memory may have any number of steps."""
        if state is None:
            return
        with torch.no_grad():
            nothing = self.initial_state(batch_size)
        if not _same_but_for_steps(state, nothing):
            super().check_state(state, batch_size)


def _same_but_for_steps(state: State, nothing: State) -> bool:
    """Whether a state has the form of a memory without steps, were it not for its steps."""
    if type(state) is not type(nothing) or len(state) != len(nothing):
        return False
    lengths: list[int] = []  # of a traced call they cannot be hashed
    for part, empty in zip(state, nothing, strict=True):
        if not isinstance(part, Tensor) or part.ndim != empty.ndim:
            return False
        if part.dtype != empty.dtype or part.device != empty.device:
            return False
        axis = _axis(empty)
        lengths.append(part.shape[axis])
        if part.shape[:axis] + part.shape[axis + 1 :] != (
            empty.shape[:axis] + empty.shape[axis + 1 :]
        ):
            return False
    return bool(lengths) and all(length == lengths[0] for length in lengths)


def _axis(empty: Tensor) -> int:
    """The axis of steps of a memory that has none: the last but features, or the only one."""
    return empty.ndim - 2 if empty.ndim > 2 else 1


def _replaced(state: S, other: S, where: Bool[Tensor, " batch"]) -> S:
    """Another memory in the rows that are True; the shorter of the two is padded."""
    axes = iter([_axis(part) for part in tensors(other)])

    def choose(one: Tensor, two: Tensor) -> Tensor:
        axis = next(axes)
        steps = max(one.shape[axis], two.shape[axis])
        after = (0, 0) * (one.ndim - 1 - axis)
        one, two = (pad(part, (*after, 0, steps - part.shape[axis])) for part in (one, two))
        return torch.where(where.view(-1, *[1] * (one.ndim - 1)), two, one)

    return map_tensors(choose, state, other)
