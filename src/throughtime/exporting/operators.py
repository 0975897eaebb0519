"""Operators that an exported graph holds where a loop over time would be unrolled.

`torch.ops.throughtime_export.lstm`, `gru`, `rnn` and `discounted` are those of the layers, whatever
implementation is installed: what loads a graph that holds them needs `import throughtime.exporting`
and nothing more. They compute, and have no gradients.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from throughtime import kernels
from throughtime.errors import InputError
from throughtime.kernels import registry

NAMESPACE = "throughtime_export"


def _operator(name: str, schema: str) -> Any:
    return torch.library.custom_op(f"{NAMESPACE}::{name}", mutates_args=(), schema=schema)


def _own(part: Tensor, *inputs: Tensor) -> Tensor:
    """An operator must not give back what it took, as a recurrence does over no time at all."""
    return part.clone() if any(part is one for one in inputs) else part


@_operator(
    "lstm",
    "(Tensor x, Tensor? mask, Tensor hidden, Tensor cell, Tensor weight_input, "
    "Tensor weight_hidden, Tensor bias) -> (Tensor, Tensor, Tensor)",
)
def lstm(
    x: Tensor, mask: Tensor | None, hidden: Tensor, cell: Tensor, *weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Output, last hidden and last cell state."""
    output, *last = kernels.lstm(
        x, hidden, cell, *weights, initial_hidden=hidden, initial_cell=cell, mask=mask
    )
    return output, _own(last[0], hidden), _own(last[1], cell)


@lstm.register_fake
def _(x: Tensor, mask: Any, hidden: Tensor, cell: Tensor, *_: Tensor) -> tuple[Tensor, ...]:
    output = x.new_empty(*x.shape[:2], hidden.shape[1])
    return output, torch.empty_like(hidden), torch.empty_like(cell)


@_operator(
    "gru",
    "(Tensor x, Tensor? mask, Tensor hidden, Tensor weight_input, Tensor weight_hidden, "
    "Tensor bias, Tensor? bias_hidden) -> (Tensor, Tensor)",
)
def gru(
    x: Tensor, mask: Tensor | None, hidden: Tensor, *weights: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Output and last hidden state."""
    given: Any = weights
    output, last = kernels.gru(x, hidden, *given, initial=hidden, mask=mask)
    return output, _own(last, hidden)


@_operator(
    "rnn",
    "(Tensor x, Tensor? mask, Tensor hidden, Tensor weight_input, Tensor weight_hidden, "
    "Tensor bias, str activation) -> (Tensor, Tensor)",
)
def rnn(x: Tensor, mask: Tensor | None, hidden: Tensor, *weights: Any) -> tuple[Tensor, Tensor]:
    """Output and last hidden state."""
    *matrices, activation = weights
    output, last = kernels.rnn(
        x, hidden, *matrices, initial=hidden, mask=mask, activation=activation
    )
    return output, _own(last, hidden)


@gru.register_fake
@rnn.register_fake
def _(x: Tensor, mask: Any, hidden: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return x.new_empty(*x.shape[:2], hidden.shape[1]), torch.empty_like(hidden)


@_operator("discounted", "(Tensor values, Tensor mask, Tensor total, float factor) -> Tensor")
def discounted(values: Tensor, mask: Tensor, total: Tensor, factor: float) -> Tensor:
    """Sums that fade: factor times the last one, and the value; in padded steps the last one."""
    sums = [total.unsqueeze(1)[:, :0]]
    for value, real in zip(values.unbind(1), mask.unsqueeze(-1).unbind(1), strict=True):
        total = torch.where(real, factor * total + value, total)
        sums.append(total.unsqueeze(1))
    return torch.cat(sums, dim=1)


@discounted.register_fake
def _(values: Tensor, mask: Any, total: Any, factor: Any) -> Tensor:
    return torch.empty_like(values)


# In place of the kernels


def _lstm(
    x: Tensor, hidden: Tensor, cell: Tensor, *rest: Any, **options: Any
) -> tuple[Tensor, ...]:
    *weights, _, _, mask, reset = rest
    _check("LSTM", reset, options)
    return lstm(x, mask, hidden, cell, *weights)


def _gru(x: Tensor, hidden: Tensor, *rest: Any, **options: Any) -> tuple[Tensor, ...]:
    *weights, _, mask, reset = rest
    _check("GRU", reset, options)
    return gru(x, mask, hidden, *weights)


def _rnn(x: Tensor, hidden: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    *weights, _, mask, reset, activation = rest
    _check("RNN", reset, {})
    return rnn(x, mask, hidden, *weights, activation)


def _check(layer: str, reset: Tensor | None, options: dict[str, Any]) -> None:
    """Refuse what no graph has."""
    if reset is not None:
        raise InputError(f"export: {layer}: got reset, expected none: rows are whole sequences")
    if options.get("return_gates"):
        raise InputError(f"export: {layer}: its gates are watched, expected nobody watching")


@contextmanager
def graph_kernels() -> Iterator[None]:
    """Inside, recurrences are operators that any graph can hold, and not loops."""
    before = {name: [*registry._OPERATIONS[name]] for name in ("lstm", "gru", "rnn")}
    for name, function in (("lstm", _lstm), ("gru", _gru), ("rnn", _rnn)):
        graph = registry.Implementation("graph", function, registry.always)
        registry.register(name, graph, *before[name])
    with kernels.use(None):  # one that is forced would go before it
        try:
            yield
        finally:
            for name, implementations in before.items():
                registry.register(name, *implementations)
