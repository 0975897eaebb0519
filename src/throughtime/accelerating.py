"""Swap the modules of a model that is there already: `throughtime.accelerate(model)`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from throughtime import torch_nn
from throughtime.errors import InputError
from throughtime.torch_nn.adopting import patches

NAMES = (
    "RNN",
    "LSTM",
    "GRU",
    "RNNCell",
    "LSTMCell",
    "GRUCell",
    "MultiheadAttention",
    "TransformerEncoderLayer",
    "TransformerEncoder",
    "TransformerDecoderLayer",
    "TransformerDecoder",
    "Transformer",
)
"""The classes of torch.nn that have a faster double in `throughtime.torch_nn`."""

_DOUBLES: Mapping[type[nn.Module], Any] = {
    getattr(nn, name): getattr(torch_nn, name) for name in NAMES
}


@dataclass(frozen=True)
class Swapped:
    """A module that computes on throughtime's kernels now.

    Attributes:
        name: its path in the model; empty for the model itself.
        kind: the name of its class, in torch.nn as in `throughtime.torch_nn`.
        parameters: numbers that it can learn.
    """

    name: str
    kind: str
    parameters: int


@dataclass(frozen=True)
class Left:
    """A module that stays as it was.

    Attributes:
        name: its path in the model; empty for the model itself.
        kind: the name of its class.
        reason: why.
    """

    name: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Report:
    """What `accelerate` did. It prints as a table.

    Attributes:
        swapped: modules that compute on throughtime's kernels now, in the model's own order.
        left: modules that look as if they could, with the reason why they do not.
    """

    swapped: tuple[Swapped, ...]
    left: tuple[Left, ...]

    def __str__(self) -> str:
        rows = [
            (one.name or "(the model)", f"torch.nn.{one.kind}", f"torch_nn.{one.kind}",
             f"{one.parameters:,}")
            for one in self.swapped
        ]  # fmt: skip
        lines = [*_aligned([("name", "from", "to", "parameters"), *rows])] if rows else []
        if not rows:
            lines = ["nothing to swap: no recurrent or attention module of torch.nn itself"]
        lines += [
            f"left as it was: {one.name or '(the model)'}, {one.kind}: {one.reason}"
            for one in self.left
        ]
        return "\n".join(lines)


def accelerate(model: nn.Module) -> Report:
    """Let the recurrent and attention modules of a model run on throughtime's kernels, in place.

    Each stays the object it was and only changes its class, from `torch.nn.LSTM` to
    [`throughtime.torch_nn.LSTM`][throughtime.torch_nn.LSTM] and so on: parameters, buffers, hooks,
    the training flag and every reference to it are kept, optimisers stay valid, modules that are
    shared stay shared, and the model may itself be such a module. Numbers stay the same to
    rounding, and so do the names in a `state_dict`.

    Recurrent layers and cells are no instances of `torch.nn.LSTM` and its like any more, for
    `torch.compile` refuses those by their class. Code that looks for them, to draw first weights,
    say, looks before, or for both classes.

    Left alone, and reported with the reason: subclasses of these modules, which may compute
    something else; modules whose `forward` was replaced, or that were compiled by
    `module.compile()`.

    Args:
        model: anything made of modules.

    Returns:
        What was swapped, and what was not and why.

    Errors:
        InputError: `model` is no module.

    Examples:
        >>> from torch import nn
        >>> model = nn.ModuleDict({"read": nn.LSTM(3, 5), "say": nn.Linear(5, 2)})
        >>> print(accelerate(model))
        name  from           to             parameters
        read  torch.nn.LSTM  torch_nn.LSTM         200
        >>> type(model["read"]).__module__
        'throughtime.torch_nn.recurrent'
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"accelerate: model is {_what(model)}, expected a torch.nn.Module")
    swapped: list[Swapped] = []
    left: list[Left] = []
    for name, module in reversed([*model.named_modules()]):  # parts before what they are part of
        kind = type(module).__name__
        if type(module) in _DOUBLES:
            reason = _obstacle(module)
            if reason is None:
                _turn(module)
                count = sum(p.numel() for p in module.parameters())
                swapped.append(Swapped(name, kind, count))
            else:
                left.append(Left(name, f"torch.nn.{kind}", reason))
        elif isinstance(module, tuple(_DOUBLES)) and not _is_ours(module):
            above = next(c.__name__ for c in type(module).__mro__ if c in _DOUBLES)
            why = f"a subclass of torch.nn.{above}, which may compute something else"
            left.append(Left(name, kind, why))
    return Report(tuple(reversed(swapped)), tuple(reversed(left)))


def _what(x: object) -> str:
    return f"the class {x.__name__}" if isinstance(x, type) else type(x).__name__


def _obstacle(module: nn.Module) -> str | None:
    """Why this one cannot change its class; None where it can."""
    changed = patches(module)
    if "_compiled_call_impl" in changed:
        return "it is compiled: accelerate first, then compile"
    return f"it has {' and '.join(changed)} of its own" if changed else None


def _is_ours(module: nn.Module) -> bool:
    return isinstance(module, tuple(_DOUBLES.values()))


def _turn(module: nn.Module) -> None:
    """Make a module of torch.nn one of ours; its parts, swapped before, stay the objects they are.

    So do its tables of parameters and hooks, and what else was put on it.
    """
    ours = _DOUBLES[type(module)].from_torch(module)
    kept = {name: vars(module)[name] for name in ("_parameters", "_buffers", "_modules")}
    vars(module).clear()
    vars(module).update(vars(ours) | kept)
    module.__class__ = type(ours)


def _aligned(rows: list[tuple[str, ...]]) -> Iterator[str]:
    """Columns under each other, numbers in the last one to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for *words, number in rows:
        cells = [word.ljust(width) for word, width in zip(words, widths, strict=False)]
        yield "  ".join([*cells, number.rjust(widths[-1])])
