"""Which implementation of an operation runs, and why."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from throughtime.errors import InputError


@dataclass(frozen=True)
class Implementation:
    """One way to compute an operation.

    Args:
        name: what `use` and `active` call it.
        function: the computation; every implementation of an operation has the same signature.
        refuses: the reason why it cannot run on a device and type, or None where it can.
    """

    name: str
    function: Callable[..., Any]
    refuses: Callable[[torch.device, torch.dtype], str | None]


class Choice(NamedTuple):
    """What runs for one operation, and why."""

    name: str
    reason: str


_OPERATIONS: dict[str, list[Implementation]] = {}  # the fastest first, the reference last
_forced: str | None = None


def register(operation: str, *implementations: Implementation) -> None:
    """Declare the implementations of `operation`, the preferred one first."""
    _OPERATIONS[operation] = list(implementations)


def always(device: torch.device, dtype: torch.dtype) -> None:
    """Refuse nothing: the reference runs everywhere."""


def names() -> list[str]:
    """The names of all implementations there are, of any operation."""
    return sorted({one.name for every in _OPERATIONS.values() for one in every})


class use:
    """Force one implementation for every operation; `None` returns to the free choice.

    As a call it holds from then on in the whole process; as a context it ends with the block.

    Errors:
        InputError: no operation has an implementation of that name.

    Examples:
        >>> with use("reference"):
        ...     active()["lstm"].name
        'reference'
    """

    def __init__(self, name: str | None) -> None:
        global _forced
        known = names()
        if name is not None and name not in known:
            raise InputError(f"use: no implementation is called {name!r}, there are {known}")
        self._before, _forced = _forced, name

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        global _forced
        _forced = self._before


def forced() -> str | None:
    """The name of the implementation that is forced, if one is."""
    return _forced


def choose(operation: str, device: torch.device, dtype: torch.dtype) -> Implementation:
    """The implementation that runs for this device and type.

    Errors:
        InputError: one is forced that cannot run there.
    """
    for one in _OPERATIONS[operation]:
        reason = one.refuses(device, dtype)
        if _forced is None and reason is None:
            return one
        if one.name == _forced:
            if reason is None:
                return one
            raise InputError(f"{operation}: {_forced} was forced, but {reason}")
    return _OPERATIONS[operation][-1]


def active(
    device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> dict[str, Choice]:
    """What runs for each operation on a device and type, and why.

    Examples:
        >>> sorted(active())
        ['attention', 'gru', 'lstm', 'rnn']
    """
    device = torch.device(device)
    report = {}
    for operation, implementations in _OPERATIONS.items():
        chosen = choose(operation, device, dtype)
        if chosen.name == _forced:
            reason = "forced by kernels.use"
        else:
            passed = [
                f"{one.name}: {why}"
                for one in implementations
                if (why := one.refuses(device, dtype)) is not None
            ]
            reason = "; ".join(passed) or f"the fastest of {len(implementations)} installed"
        report[operation] = Choice(chosen.name, reason)
    return report
