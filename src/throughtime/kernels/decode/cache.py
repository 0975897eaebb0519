"""What the compiled step remembers, as native code lays it out, and as a layer's state has it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch.nn.functional import pad

from throughtime.kernels.decode.network import Network
from throughtime.kernels.decode.packing import PANEL, whole
from throughtime.shapes import Bool, Float, Int, Tensor


class Remembered(NamedTuple):
    """What one block remembers, the oldest step first; as the state of causal attention has it.

    Attributes:
        keys: `[rows, kv_heads, horizon, head_size]`, zeros where there is no step.
        values: likewise.
    """

    keys: Float[Tensor, "rows kv_heads horizon head"]
    values: Float[Tensor, "rows kv_heads horizon head"]


class Cache:
    """Keys and values of some rows, in rings: the step of index i lies in slot `i % slots`.

    A step changes it in place. There is one slot more than the horizon, for the step itself.

    Args:
        network: whose.
        rows: how many.

    Attributes:
        counts: `[rows]`, steps so far.
    """

    def __init__(self, network: Network, rows: int) -> None:
        self._kv_heads, self._size = network.kv_heads, network.head_size
        self._horizon, self._slots = network.horizon, network.horizon + 1
        heads = rows, len(network.blocks), self._kv_heads
        self.keys = torch.zeros(*heads, whole(self._slots) // PANEL, self._size, PANEL)
        self.values = torch.zeros(*heads, whole(self._size) // PANEL, self._slots, PANEL)
        self.counts = torch.zeros(rows, dtype=torch.long)
        self.memory: tuple[Tensor, Tensor, Tensor] | None = None
        self.memory_steps = 0
        self._scratch: tuple[int, Tensor] | None = None  # for so many threads
        self._addresses: tuple[int, ...] | None = None

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self.counts)

    def select(self, rows: Sequence[int]) -> None:
        """Go on with these rows only, in this order; a row may be taken many times."""
        self._scratch = self._addresses = None
        at = torch.as_tensor(rows, dtype=torch.long)
        self.keys, self.values, self.counts = self.keys[at], self.values[at], self.counts[at]
        if self.memory is not None:
            keys, values, seen = (part[at] for part in self.memory)
            self.memory = keys, values, seen

    def take(self, counts: Int[Tensor, " rows"], blocks: Sequence[Remembered]) -> None:
        """Go on from what blocks remember."""
        self.counts.copy_(counts)
        index, place = self._places()
        place = torch.where(index >= 0, place, self._slots)  # nothing: into a slot that is cut off
        at = place[:, None, :, None].expand(-1, self._kv_heads, -1, self._size)
        for block, (keys, values) in enumerate(blocks):
            shape = self.rows, self._kv_heads, self._slots + 1, self._size
            ring = keys.new_zeros(shape).scatter_(2, at, keys)[:, :, :-1]
            self.keys[:, block] = _key_panels(ring)
            ring = values.new_zeros(shape).scatter_(2, at, values)[:, :, :-1]
            self.values[:, block] = _value_panels(ring)

    def give(self) -> list[Remembered]:
        """What the blocks remember now."""
        index, place = self._places()
        at = place[:, None, :, None].expand(-1, self._kv_heads, -1, self._size)
        real = (index >= 0)[:, None, :, None]
        blocks = []
        for block in range(self.keys.shape[1]):
            keys = self.keys[:, block].transpose(-1, -2).flatten(2, 3)
            values = self.values[:, block].transpose(2, 3).flatten(3)[..., : self._size]
            kept = (torch.where(real, ring.gather(2, at), 0) for ring in (keys, values))
            blocks.append(Remembered(*kept))
        return blocks

    def look_at(
        self, real: Bool[Tensor, "rows blocks steps"], blocks: Sequence[Remembered]
    ) -> None:
        """Keys and values of another sequence, and which of its steps are real."""
        self._scratch = self._addresses = None
        self.memory_steps = steps = real.shape[2]
        if not steps:
            return
        missing = torch.where(real, 0.0, -torch.inf)
        self.memory = (
            torch.stack([_key_panels(one.keys) for one in blocks], 1).contiguous(),
            torch.stack([_value_panels(one.values) for one in blocks], 1).contiguous(),
            pad(missing, (0, whole(steps) - steps), value=-torch.inf).contiguous(),
        )

    def _places(self) -> tuple[Int[Tensor, "rows horizon"], Int[Tensor, "rows horizon"]]:
        """The index of each remembered step, below zero where there is none, and its slot."""
        index = self.counts.unsqueeze(1) + torch.arange(-self._horizon, 0)
        return index, index % self._slots

    def addresses(self) -> tuple[int, ...]:
        """For native code; looked up once, for a step is short."""
        if self._addresses is None:
            memory = (0, 0, 0) if self.memory is None else (part.data_ptr() for part in self.memory)
            own = (part.data_ptr() for part in (self.keys, self.values, self.counts))
            self._addresses = *own, *memory, self.memory_steps
        return self._addresses

    def scratch(self, threads: int, size: Callable[[int, int, int], int]) -> int:
        """The address of room for a step, so many numbers as `size` says."""
        if self._scratch is None or self._scratch[0] != threads:
            self._scratch = threads, torch.empty(size(self.rows, threads, self.memory_steps))
        return self._scratch[1].data_ptr()


def _key_panels(
    keys: Float[Tensor, "rows heads slots size"],
) -> Float[Tensor, "rows heads panels size panel"]:
    short = whole(keys.shape[2]) - keys.shape[2]
    return pad(keys, (0, 0, 0, short)).unflatten(2, (-1, PANEL)).transpose(-1, -2)


def _value_panels(
    values: Float[Tensor, "rows heads slots size"],
) -> Float[Tensor, "rows heads panels slots panel"]:
    short = whole(values.shape[3]) - values.shape[3]
    return pad(values, (0, short)).unflatten(3, (-1, PANEL)).transpose(2, 3)
