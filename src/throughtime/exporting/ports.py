"""Named tensors: what goes into an exported graph, what comes out, and the state among both."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from throughtime.state import State

BATCH, TIME, STEPS = "batch", "time", "steps"
"""Axes that are free: rows, steps of time, and steps of a source that is looked at."""

NEXT = ".next"
"""What the name of a part of the state ends in where it comes out."""


@dataclass(frozen=True)
class Port:
    """A tensor that goes in or comes out.

    Attributes:
        name: what it is called.
        shape: numbers, and names of axes that are free.
        dtype: its type.
        about: what it is, in words.
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: torch.dtype
    about: str = ""

    def sized(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Its shape where the free axes have these sizes."""
        return tuple(sizes[axis] if isinstance(axis, str) else axis for axis in self.shape)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        dtype = str(self.dtype).removeprefix("torch.")
        found: dict[str, Any] = {"name": self.name, "shape": [*self.shape], "type": dtype}
        return found | ({"about": self.about} if self.about else {})


def named(state: State, name: str = "state") -> Iterator[tuple[str, Tensor]]:
    """The tensors of a state, depth first, by where they are: `state.body.0.hidden`."""
    if isinstance(state, Tensor):
        yield name, state
        return
    fields = getattr(state, "_fields", range(len(state)))
    for field, part in zip(fields, state, strict=True):
        yield from named(part, f"{name}.{field}")


def rebuild(like: State, parts: Iterator[Tensor]) -> State:
    """A state of the form of another, from its tensors in order."""
    if isinstance(like, Tensor):
        return next(parts)
    found = [rebuild(part, parts) for part in like]
    return type(like)(*found) if hasattr(like, "_fields") else tuple(found)


def filled(state: State, initial: State) -> State:
    """A state with the initial one's parts where it has none."""
    if state is None:
        return initial
    if isinstance(state, Tensor):
        return state
    found = [filled(part, other) for part, other in zip(state, initial, strict=True)]
    return type(state)(*found) if hasattr(state, "_fields") else tuple(found)


def state_ports(make: Callable[[int], State]) -> tuple[Port, ...]:
    """The parts of a state of any number of rows, and of any number of steps of a source.

    Args:
        make: a state of two rows that looks at so many steps of a source.
    """
    some, more = (dict(named(make(steps))) for steps in (3, 4))
    found = []
    for name, part in some.items():
        other = more[name].shape
        free = [one if one == two else STEPS for one, two in zip(part.shape, other, strict=True)]
        found.append(Port(name, (BATCH, *free[1:]), part.dtype))
    return tuple(found)
