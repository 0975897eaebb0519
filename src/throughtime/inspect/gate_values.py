"""The values that gates took at real steps: a model's own, or recorded ones."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import torch
from torch import nn

from throughtime.errors import InputError
from throughtime.inspect.recording import record, tap_names
from throughtime.layers import RNN, Bidirectional, Recurrent
from throughtime.models.chain import evaluating
from throughtime.shapes import Float, Tensor

__all__ = ["BETWEEN", "SHUTTERS", "Seen", "of_model", "of_tensors"]

SHUTTERS = ("input", "forget", "output_gate", "reset", "update")
"""Gates proper, each value between 0 and 1."""
BETWEEN = ("candidate", "cell", "hidden")
"""What they let through, positive and negative."""


class Seen(NamedTuple):
    """All real values of one gate."""

    layer: str
    gate: str
    values: Float[Tensor, "steps units"]
    activation: str


def of_model(
    model: nn.Module, x: Any, mask: Tensor | None, patterns: Sequence[str] | None
) -> dict[str, Seen]:
    """The model's own values, where its layers are told that a step is real."""
    parts = {path: part for path, part in model.named_modules() if isinstance(part, Recurrent)}
    wanted = {name: at for name, at in _places(tap_names(model)).items() if at[0] in parts}
    wanted = _chosen(wanted, patterns, f"model is {type(model).__name__}")
    inputs = x if isinstance(x, tuple) and not hasattr(x, "_fields") else (x,)
    options = {} if mask is None else {"mask": mask}
    with (
        torch.no_grad(),
        evaluating(model),
        _masks(model, parts) as masks,
        record(model, *wanted) as trace,
    ):
        model(*inputs, **options)
    found = {}
    for name, (path, gate) in wanted.items():
        if name not in trace:  # that layer did not run
            continue
        values = [
            _real(name, one, real) for one, real in zip(trace.calls(name), masks[path], strict=True)
        ]
        layer = path or type(model).__name__
        found[name] = Seen(layer, gate, torch.cat(values), _activation(gate, parts[path]))
    return found


@contextmanager
def _masks(
    model: nn.Module, parts: Mapping[str, nn.Module]
) -> Iterator[dict[str, list[Tensor | None]]]:
    """The mask that each layer is called with, call by call, in the order of the input's steps."""
    masks: dict[str, list[Tensor | None]] = {path: [] for path in parts}
    turned = {
        inner
        for outer in model.modules()
        if isinstance(outer, Bidirectional)
        for inner in outer.against.modules()
    }

    def look(path: str) -> Any:
        def hook(part: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
            mask = given[2] if len(given) > 2 else named.get("mask")
            masks[path].append(mask.flip(1) if part in turned and mask is not None else mask)

        return hook

    hooks = [
        part.register_forward_pre_hook(look(path), with_kwargs=True) for path, part in parts.items()
    ]
    try:
        yield masks
    finally:
        for one in hooks:
            one.remove()


def of_tensors(
    values: Mapping[str, Tensor], mask: Tensor | None, patterns: Sequence[str] | None
) -> dict[str, Seen]:
    """Values that were recorded before."""
    wanted = _places(values)
    wanted = _chosen(wanted, patterns, f"tensors are {[*values]}")
    alone = {path for path, _ in wanted.values()} - {
        path for path, gate in wanted.values() if gate != "hidden"
    }
    found = {}
    for name, (path, gate) in wanted.items():
        real = _real(name, values[name].detach(), mask)
        activation = _activation(gate, None)
        if path in alone and real.numel() and real.min() >= 0 and real.max() > 1:
            activation = "relu"  # an RNN's: no other function gives this
        found[name] = Seen(path, gate, real, activation)
    return found


def _places(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Names of gates and of what they let through: the path of the layer, and the gate's own."""
    found = {}
    for name in names:
        path, _, gate = name.rpartition(".")
        if gate in SHUTTERS + BETWEEN:
            found[name] = path, gate
    return found


def _chosen(
    names: Mapping[str, tuple[str, str]], patterns: Sequence[str] | None, came: str
) -> dict[str, tuple[str, str]]:
    """Those of the layers asked for."""
    if not names:
        raise InputError(f"gate_activity: {came}, expected some of a recurrent layer")
    chosen = {
        name: at
        for name, at in names.items()
        if patterns is None or any(fnmatchcase(at[0], pattern) for pattern in patterns)
    }
    if not chosen:
        known = sorted({path for path, _ in names.values()})
        raise InputError(f"gate_activity: layers is {patterns}, expected some of {known}")
    return chosen


def _activation(gate: str, layer: nn.Module | None) -> str:
    """What a value came out of last."""
    if gate in SHUTTERS:
        return "sigmoid"
    if gate in ("candidate", "cell"):
        return {"candidate": "tanh", "cell": "cell"}[gate]
    return layer.activation if isinstance(layer, RNN) else "bounded"


def _real(name: str, values: Tensor, mask: Tensor | None) -> Float[Tensor, "steps units"]:
    if values.ndim != 3 or not values.is_floating_point():
        raise InputError(
            f"gate_activity: {name} is {values.dtype} of shape {list(values.shape)}, expected "
            "floating point of [batch, time, hidden]"
        )
    if mask is None:
        return values.flatten(0, 1).float()
    if mask.dtype != torch.bool or mask.shape != values.shape[:2]:
        raise InputError(
            f"gate_activity: mask is {mask.dtype} of shape {list(mask.shape)}, expected torch.bool "
            f"of [batch, time] = {list(values.shape[:2])} of {name}"
        )
    return values[mask].float()
