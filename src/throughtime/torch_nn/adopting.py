"""Modules of torch.nn turned into ours, parameters and all."""

from typing import TypeVar

from torch import nn

from throughtime.errors import InputError

Ours = TypeVar("Ours", bound=nn.Module)

PATCHES = frozenset(("forward", "_sa_block", "_mha_block", "_ff_block", "_compiled_call_impl"))
"""What an instance may have instead of its class's own."""


def adopted(cls: type[Ours], module: nn.Module, kind: type[nn.Module]) -> Ours:
    """A module of a subclass of `kind` with everything that `module` has.

    Parameters, buffers, options and the training flag are the same; so are the tables of hooks,
    and a handle of theirs still removes one.

    Args:
        cls: ours.
        module: of torch.nn.
        kind: of exactly this class.
    """
    if type(module) is not kind:
        raise InputError(
            f"{cls.__name__}.from_torch: module is a {type(module).__module__}."
            f"{type(module).__name__}, expected a torch.nn.{kind.__name__}"
        )
    if patched := patches(module):
        raise InputError(
            f"{cls.__name__}.from_torch: module has {' and '.join(patched)} of its own, "
            f"expected those of torch.nn.{kind.__name__}"
        )
    made = cls.__new__(cls)
    vars(made).update(vars(module))
    for name in ("_parameters", "_buffers", "_modules"):
        vars(made)[name] = vars(module)[name].copy()
    return made


def patches(module: nn.Module) -> list[str]:
    """What this one instance does otherwise than its class."""
    return sorted(name for name in PATCHES & vars(module).keys() if vars(module)[name] is not None)
