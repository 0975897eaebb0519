"""Seeing and replacing what a model computes on its way, by the names that its layers give it."""

import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from throughtime.errors import InputError
from throughtime.inspect.trace import Trace
from throughtime.shapes import Tensor
from throughtime.taps import Watch, declared, watching

__all__ = ["Trace", "intervene", "record", "tap_names"]

Change = Callable[..., Tensor]
"""From a value, and `step` if it asks for that, to what takes its place."""


def tap_names(model: nn.Module) -> dict[str, str]:
    """Every value that can be seen inside a model: its name, what it is and its shape.

    A name is the path of the layer in the model and that of the value in the layer:
    `body.layers.1.forget`; of a layer alone just `forget`.

    Args:
        model: any module with layers of throughtime in it, or such a layer.

    Errors:
        InputError: a compiled model.

    Examples:
        >>> from throughtime import RNN, Stack
        >>> tap_names(Stack(RNN(3, 5)))
        {'layers.0.hidden': 'h, what each unit hands on: [batch, time, hidden]'}
    """
    return {name: declared(layer)[tap] for name, (layer, tap) in named(model, "tap_names").items()}


@contextmanager
def record(model: nn.Module, *patterns: str, detach: bool = True) -> Iterator[Trace]:
    """Keep values that a model computes inside the block.

    Layers that are not asked for run as ever. The gates of a recurrent layer come from its compiled
    kernel, and its cell state from them. Scores and attention are computed beside the fused kernel,
    which gives the answer, in the layers that are asked. Outputs and gradients of the model stay
    what they were.

    Args:
        model: any module with layers of throughtime in it, or such a layer.
        patterns: names of [`tap_names`][throughtime.inspect.tap_names], with `*` for anything, `?`
            for any character and `[...]` for some; `*.attention` is the attention of every layer,
            the model itself included. None: everything.
        detach: give plain numbers. False keeps the history of each value, for gradients of it and,
            but for values inside of a recurrence, in it: the layers that are asked for such values,
            or for maps of attention, then run the plain reference. For the gradient in a gate see
            [`intervene`][throughtime.inspect.intervene].

    Returns:
        What was seen, by name: a [`Trace`][throughtime.inspect.Trace], filled by and by. Padded
        steps are zeros. Values of the backward half of a bidirectional layer stand at the steps of
        the input that they belong to.

    Errors:
        InputError: a pattern that names nothing, a compiled model, a block that computes nothing.

    Examples:
        >>> from throughtime import LSTM, Stack
        >>> model = Stack(LSTM(3, 5), LSTM(5, 4))
        >>> with record(model, "*.forget", "layers.1.cell") as trace:
        ...     output, state = model(torch.randn(2, 7, 3))
        >>> trace
        Trace of 3 values
          layers.0.forget  [2, 7, 5]
          layers.1.forget  [2, 7, 4]
          layers.1.cell    [2, 7, 4]
        >>> torch.allclose(trace["layers.1.cell"][:, -1], state[1].cell, atol=1e-6)
        True
    """
    names = named(model, "record")
    chosen = dict.fromkeys(
        name
        for pattern in patterns or ("*",)
        for name in _matching(pattern, names, model, "record")
    )
    trace = Trace(chosen)
    see: dict[nn.Module, dict[str, Callable[[Tensor], None]]] = {}
    for name in chosen:
        layer, tap = names[name]
        see.setdefault(layer, {})[tap] = _keeper(trace, name, detach=detach)
    with watching(Watch(see=see, history=not detach)):
        yield trace
    if not trace:
        raise InputError(
            "record: nothing was computed inside the block: the model did not run there, or ran as "
            "a compiled program, which passes by its layers (for decoding, stepper=ModelStepper "
            "runs them)"
        )


@contextmanager
def intervene(model: nn.Module, changes: Mapping[str, Change]) -> Iterator[None]:
    """Replace values that a model computes inside the block, and let it go on with others.

    For ablation (`torch.zeros_like`), for patching in what another input gave, for moving a value a
    little. [`record`][throughtime.inspect.record] in the same place sees what the model goes on
    with.

    Values inside of a recurrence (gates, candidates, cell and hidden states) are replaced step by
    step: the function is called once for each, with `[batch, 1, hidden]`, and what it gives enters
    the next step; the layer runs as the plain loop that defines it. All other values are replaced
    as a whole. Padded steps stay zeros.

    The gradient in any value is that of zeros which are added to it, as below.

    Args:
        model: any module with layers of throughtime in it, or such a layer.
        changes: from names or patterns, as of [`record`][throughtime.inspect.record], to functions
            `value -> value` of the same shape and type. One with a parameter `step` is also told
            which step of the call its value begins at: `function(value, step=3)`. Several for one
            value act in their order.

    Errors:
        InputError: a pattern that names nothing, a compiled model, a function that gives another
            shape or type, or one whose value was never computed in the block.

    Examples:
        >>> from throughtime import LSTM
        >>> layer, x = LSTM(3, 5), torch.randn(2, 7, 3)
        >>> with record(layer, "forget") as trace, intervene(layer, {"forget": torch.ones_like}):
        ...     output, _ = layer(x)
        >>> trace["forget"].unique().tolist()
        [1.0]

        The gradient of a loss in the forget gate of each step:

        >>> extra = torch.zeros(2, 7, 5, requires_grad=True)
        >>> def nudge(value, step):
        ...     return value + extra[:, step : step + value.shape[1]]
        >>> with intervene(layer, {"forget": nudge}):
        ...     layer(x)[0].sum().backward()
        >>> extra.grad.shape
        torch.Size([2, 7, 5])

    References:
        Meng et al. 2022, "Locating and editing factual associations in GPT", whose causal tracing
        patches activations; Vig et al. 2020, "Investigating gender bias in language models using
        causal mediation analysis".
    """
    names = named(model, "intervene")
    replace: dict[nn.Module, dict[str, Callable[[Tensor, int], Tensor]]] = {}
    used: set[str] = set()
    for pattern, function in changes.items():
        for name in _matching(pattern, names, model, "intervene"):
            layer, tap = names[name]
            change = checked(function, name, pattern, used)
            first = replace.setdefault(layer, {}).get(tap)
            replace[layer][tap] = change if first is None else _after(first, change)
    with watching(Watch(replace=replace)):
        yield
    for pattern in changes:
        if pattern not in used:
            raise InputError(
                f"intervene: {pattern!r} was never computed inside the block, so nothing took its "
                "place: that part of the model did not run there, or ran as a compiled program"
            )


def _keeper(trace: Trace, name: str, *, detach: bool) -> Callable[[Tensor], None]:
    def keep(value: Tensor) -> None:
        if torch._C._are_functorch_transforms_active():
            raise InputError(
                f"record: {name!r} is computed inside a transform of torch.func, where there are "
                "no plain values; record outside of it"
            )
        trace.add(name, value.detach() if detach else value)

    return keep


def checked(
    function: Any, name: str, pattern: str, used: set[str]
) -> Callable[[Tensor, int], Tensor]:
    """A function that is told the step if it asks for it, and whose answer must fit."""
    if not callable(function):
        raise InputError(
            f"intervene: {pattern!r} is given a {type(function).__name__}, "
            "expected a function from a value to a value"
        )
    asks = _asks_for_step(function)

    def change(value: Tensor, step: int) -> Tensor:
        used.add(pattern)
        found = function(value, step=step) if asks else function(value)
        if not isinstance(found, Tensor):
            came = f"a {type(found).__name__}"
        elif (found.shape, found.dtype) != (value.shape, value.dtype):
            came = f"{_form(found)}"
        else:
            return found
        raise InputError(
            f"intervene: the function for {name!r} gave {came}, expected {_form(value)}"
        )

    return change


def _after(first: Callable[..., Tensor], then: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda value, step: then(first(value, step), step)


def _asks_for_step(function: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # of C: it says nothing of what it takes
        return False
    return "step" in parameters


def _form(value: Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"


# Names


def named(model: Any, asker: str) -> dict[str, tuple[nn.Module, str]]:
    """By name, the layer that computes a value, and what the layer calls it."""
    if not isinstance(model, nn.Module):
        raise InputError(f"{asker}: model is a {type(model).__name__}, expected a torch.nn.Module")
    found = {}
    for path, layer in model.named_modules():
        if hasattr(layer, "_orig_mod") or layer._compiled_call_impl is not None:
            what = f"{path!r} in the model" if path else "the model"
            raise InputError(
                f"{asker}: {what} is compiled, which hides what it computes; "
                "hand over and run the original, model._orig_mod"
            )
        for tap in declared(layer):
            found[f"{path}.{tap}" if path else tap] = layer, tap
    return found


def _matching(pattern: str, names: Mapping[str, Any], model: nn.Module, asker: str) -> list[str]:
    """The names that a pattern stands for; at least one."""
    # The model itself has an empty path: `*.attention` is its attention too.
    found = [
        name for name in names if fnmatchcase(name, pattern) or fnmatchcase(f".{name}", pattern)
    ]
    if found:
        return found
    kind = type(model).__name__
    if not names:
        raise InputError(f"{asker}: there is nothing to see in {kind}, whose layers name no values")
    near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.3) or [*names][:3]
    raise InputError(
        f"{asker}: {pattern!r} names nothing in {kind}; nearest: {', '.join(near)} "
        f"(all {len(names)} by inspect.tap_names)"
    )
