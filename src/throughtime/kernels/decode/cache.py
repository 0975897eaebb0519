"""What the compiled step remembers, as native code lays it out, and as a layer's state has it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch.nn.functional import pad

from throughtime.kernels import native
from throughtime.kernels.decode.network import Network, RecurrentNetwork
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
    """What some rows remember, each at a place of its own, and the memories that they look at.

    A step changes it in place. When rows are taken, one that goes on stays where it lies, and only
    what goes on in several ways is copied, as much of it as is in use. A memory is not copied at
    all: rows say which one they look at.

    Args:
        plan: native, of the network.
        kept: what native code changes, the first axis is that of places.

    Attributes:
        places: `[rows]`, where each row lies.
    """

    def __init__(self, plan: Any, kept: dict[str, Tensor]) -> None:
        self._plan = plan
        self._kept = kept
        self._capacity = len(next(iter(kept.values())))
        self.places = torch.arange(self._capacity)
        self._looks_at = torch.arange(self._capacity)  # which memory, by place
        self._memory: tuple[Tensor, ...] = ()
        self.memory_steps = 0
        self._addresses: tuple[int, ...] | None = None
        self._scratch: tuple[tuple[int, ...], Tensor] | None = None  # for so many rows and threads

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self.places)

    @property
    def memories(self) -> Int[Tensor, " rows"]:
        """Which memory each row looks at."""
        return self._looks_at[self.places]

    def select(self, rows: Sequence[int]) -> None:
        """Go on with these rows only, in this order; a row may be taken many times."""
        wanted = self.places[torch.as_tensor(rows, dtype=torch.long)].tolist()
        if len(wanted) > self._capacity:
            self._become(self._at(wanted, range(len(wanted)), len(wanted)))
            return
        unused = iter(set(range(self._capacity)).difference(wanted))
        stayed: set[int] = set()
        sources, targets, places = [], [], []
        for place in wanted:
            at = place
            if place in stayed:
                at = next(unused)
                sources.append(place)
                targets.append(at)
            stayed.add(place)
            places.append(at)
        if sources:
            self._move(sources, self, targets)
        self.places = torch.tensor(places, dtype=torch.long)

    def spread(self, width: int) -> "Cache":
        """A copy in which each row has so many places, and lies at the first of them."""
        places = range(0, width * self.rows, width)
        return self._at(self.places.tolist(), places, width * self.rows)

    def _at(self, sources: Sequence[int], targets: Sequence[int], capacity: int) -> "Cache":
        """A copy of what lies at some places, at others; it looks at the same memories."""
        kept = {
            name: part.new_zeros(capacity, *part.shape[1:]) for name, part in self._kept.items()
        }
        other = Cache(self._plan, kept)
        other._memory, other.memory_steps = self._memory, self.memory_steps
        self._move(sources, other, targets)
        other.places = torch.tensor([*targets], dtype=torch.long)
        return other

    def _become(self, other: "Cache") -> None:
        self._kept, self._looks_at = other._kept, other._looks_at
        self._capacity, self.places = other._capacity, other.places
        self._addresses = None

    def _move(self, sources: Sequence[int], to: "Cache", targets: Sequence[int]) -> None:
        native.library.decode_move(
            self._plan, self.addresses(), [*sources], to.addresses(), [*targets]
        )

    def addresses(self) -> tuple[int, ...]:
        """For native code; looked up once, for a step is short."""
        if self._addresses is None:
            kept = (self._kept.get(name) for name in ("keys", "values", "counts", "states"))
            own = (0 if part is None else part.data_ptr() for part in kept)
            memory = [part.data_ptr() for part in self._memory] or [0, 0, 0]
            self._addresses = *own, self._looks_at.data_ptr(), *memory, self.memory_steps
        return self._addresses

    def scratch(self, rows: int, threads: int) -> int:
        """The address of room for a step."""
        form = rows, threads, self.memory_steps
        if self._scratch is None or self._scratch[0] != form:
            self._scratch = form, torch.empty(self._plan.scratch(*form))
        return self._scratch[1].data_ptr()

    def _look_at(self, *memory: Tensor) -> None:
        """Keys, values and what of them is seen, of a memory for each row."""
        self._addresses = None
        self._memory = tuple(part.contiguous() for part in memory)


class Rings(Cache):
    """Keys and values of a Transformer, in rings: the step of index i lies in slot `i % slots`.

    There is one slot more than the horizon, for the step itself.

    Args:
        plan: native, of the network.
        network: whose.
        rows: how many.
    """

    def __init__(self, plan: Any, network: Network, rows: int) -> None:
        self._kv_heads, self._size = network.kv_heads, network.head_size
        self._horizon, self._slots = network.horizon, network.horizon + 1
        heads = rows, len(network.blocks), self._kv_heads
        kept = {
            "keys": torch.zeros(*heads, whole(self._slots) // PANEL, self._size, PANEL),
            "values": torch.zeros(*heads, whole(self._size) // PANEL, self._slots, PANEL),
            "counts": torch.zeros(rows, dtype=torch.long),
        }
        super().__init__(plan, kept)

    @property
    def counts(self) -> Int[Tensor, " rows"]:
        """Steps so far; a copy."""
        return self._kept["counts"][self.places]

    def take(self, counts: Int[Tensor, " rows"], blocks: Sequence[Remembered]) -> None:
        """Go on from what blocks remember; nothing may have been taken before."""
        self._kept["counts"].copy_(counts)
        index, place = self._slots_of(counts)
        place = torch.where(index >= 0, place, self._slots)  # nothing: into a slot that is cut off
        at = place[:, None, :, None].expand(-1, self._kv_heads, -1, self._size)
        for block, (keys, values) in enumerate(blocks):
            shape = self.rows, self._kv_heads, self._slots + 1, self._size
            ring = keys.new_zeros(shape).scatter_(2, at, keys)[:, :, :-1]
            self._kept["keys"][:, block] = _key_panels(ring)
            ring = values.new_zeros(shape).scatter_(2, at, values)[:, :, :-1]
            self._kept["values"][:, block] = _value_panels(ring)

    def give(self) -> list[Remembered]:
        """What the blocks remember now."""
        index, place = self._slots_of(self.counts)
        at = place[:, None, :, None].expand(-1, self._kv_heads, -1, self._size)
        real = (index >= 0)[:, None, :, None]
        all_keys, all_values = self._kept["keys"], self._kept["values"]
        blocks = []
        for block in range(all_keys.shape[1]):
            keys = all_keys[self.places, block].transpose(-1, -2).flatten(2, 3)
            values = all_values[self.places, block].transpose(2, 3).flatten(3)[..., : self._size]
            kept = (torch.where(real, ring.gather(2, at), 0) for ring in (keys, values))
            blocks.append(Remembered(*kept))
        return blocks

    def look_at(
        self, real: Bool[Tensor, "rows blocks steps"], blocks: Sequence[Remembered]
    ) -> None:
        """Keys and values of another sequence, and which of its steps are real."""
        self.memory_steps = real.shape[2]
        if self.memory_steps:
            self._look_at(
                torch.stack([_key_panels(one.keys) for one in blocks], 1),
                torch.stack([_value_panels(one.values) for one in blocks], 1),
                _missing(real),
            )

    def _slots_of(
        self, counts: Int[Tensor, " rows"]
    ) -> tuple[Int[Tensor, "rows horizon"], Int[Tensor, "rows horizon"]]:
        """The index of each remembered step, below zero where there is none, and its slot."""
        index = counts.unsqueeze(1) + torch.arange(-self._horizon, 0)
        return index, index % self._slots


class States(Cache):
    """What recurrent layers remember.

    Args:
        plan: native, of the network.
        network: whose.
        rows: how many.
    """

    def __init__(self, plan: Any, network: RecurrentNetwork, rows: int) -> None:
        self._size = network.hidden
        shape = len(network.layers), network.parts, whole(network.hidden)
        super().__init__(plan, {"states": torch.zeros(rows, *shape)})

    def take(self, states: Float[Tensor, "rows layers parts units"]) -> None:
        """Go on from the states of all layers; nothing may have been taken before."""
        self._kept["states"][..., : self._size] = states

    def give(self) -> Float[Tensor, "rows layers parts units"]:
        """The states of all layers now."""
        return self._kept["states"][self.places][..., : self._size]

    def look_at(
        self,
        keys: Float[Tensor, "rows steps size"],
        values: Float[Tensor, "rows steps memory"],
        real: Bool[Tensor, "rows steps"],
    ) -> None:
        """Another sequence, and which of its steps are real."""
        self.memory_steps = real.shape[1]
        if self.memory_steps:
            self._look_at(_whole_rows(keys), _whole_rows(values), _missing(real))


def _whole_rows(x: Float[Tensor, "rows steps size"]) -> Float[Tensor, "rows steps whole"]:
    return pad(x, (0, whole(x.shape[2]) - x.shape[2]))


def _missing(real: Bool[Tensor, "*rows steps"]) -> Float[Tensor, "*rows whole"]:
    """What is added to scores: minus infinity where a step is not real, up to whole panels."""
    steps = real.shape[-1]
    return pad(torch.where(real, 0.0, -torch.inf), (0, whole(steps) - steps), value=-torch.inf)


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
