"""Calls of the compiled kernels, on tensors that are just numbers."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from throughtime.errors import InputError
from throughtime.kernels import native

TYPES = (torch.float32, torch.float64)
POOLED = 1 << 16
"""Bytes from which on memory comes from the pool: fresh pages cost more than the call."""


class Inputs(NamedTuple):
    """What a recurrence takes, None where it has no such thing; in the native order."""

    x: Tensor
    mask: Tensor | None
    reset: Tensor | None
    weight_input: Tensor
    weight_hidden: Tensor
    bias: Tensor
    bias_hidden: Tensor | None
    hidden: Tensor
    cell: Tensor | None
    initial_hidden: Tensor | None
    initial_cell: Tensor | None


Gradients = Sequence[Tensor | None]
"""One for each of `Inputs`, or for each of output, last hidden and last cell state."""


class Saved(NamedTuple):
    """What the backward pass needs beside the inputs.

    Attributes:
        output: all hidden states.
        gates: a row per step, in the native order; empty where it was not saved.
        cells: likewise, the cell state before each step.
        threads: how many the steps were dealt out to, which decides the order of rows.
    """

    output: Tensor
    gates: Tensor
    cells: Tensor
    threads: int


class Recurrence:
    """What all of the calls need to know of a recurrence.

    Args:
        name: of the operator.
        blocks: blocks of rows in the weights.
        gates: numbers saved per unit and step.
        codes: of its native cells.
        parts: which inputs it has beside those that every recurrence has: cell, bias_hidden.
        reference: computes the same from a native code and inputs: output, last hidden state, last
            cell state or None, and with `return_gates` the gates.
    """

    def __init__(
        self,
        name: str,
        *,
        blocks: int,
        gates: int,
        codes: Sequence[int],
        parts: Sequence[str] = (),
        reference: Callable[..., tuple[Tensor | None, ...]],
    ) -> None:
        self.name, self.blocks, self.gates, self.reference = name, blocks, gates, reference
        self.codes, self.parts = codes, parts


def forward(
    operation: Recurrence, code: int, inputs: Inputs, *, save: bool
) -> tuple[tuple[Tensor, Tensor, Tensor], Saved]:
    """Output, last hidden and last cell state; and what the backward pass needs, if asked for."""
    _check(operation, code, inputs)
    inputs = _contiguous(inputs)
    x, size = inputs.x, inputs.hidden.shape[1]
    batch, time, features = x.shape
    has_cell = inputs.cell is not None
    row, block = row_sizes(operation, size, x.itemsize)
    output = empty((batch, time, size), x)
    hidden = empty((batch, size), x)
    cell = empty((batch, size) if has_cell else (0,), x)
    gates = empty((batch * time, row) if save else (0,), x)
    cells = empty((batch * time, block) if save and has_cell else (0,), x)
    threads = native.library.forward(
        *(code, x.itemsize, torch.get_num_threads(), batch, time, features, size),
        *map(_pointer, (*inputs, output, hidden, cell, gates, cells)),
    )
    return (output, hidden, cell), Saved(output, gates, cells, threads)


def backward(
    operation: Recurrence,
    code: int,
    inputs: Inputs,
    saved: Saved,
    gradients: Gradients,
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """Gradients of the inputs from those of output, last hidden and last cell state."""
    _check(operation, code, inputs)
    inputs = _contiguous(inputs)
    if operation.gates and not saved.gates.numel():
        _, saved = forward(operation, code, inputs, save=True)
    gradients = [None if g is None else g.contiguous() for g in gradients]
    found = [
        empty(t.shape, t) if t is not None and want else None
        for t, want in zip(inputs, wanted, strict=True)
    ]
    x = inputs.x
    native.library.backward(
        *(code, x.itemsize, saved.threads, *x.shape, inputs.hidden.shape[1]),
        *map(_pointer, (*_without(inputs, "bias"), *saved[:3], *gradients)),
        *map(_pointer, _without(found, "mask", "reset")),
    )
    return found


def unpack(code: int, mask: Tensor | None, reset: Tensor | None, saved: Saved) -> Tensor:
    """The gates of each step in torch's order, `[batch, time, gates * hidden]`."""
    output, gates, _, threads = saved
    batch, time, size = output.shape
    found = empty((batch, time, 4 * size), output)
    native.library.unpack_gates(
        *(code, output.itemsize, batch, time, size, threads),
        *map(_pointer, (mask, reset, gates, found)),
    )
    return found


def row_sizes(operation: Recurrence, hidden: int, itemsize: int) -> tuple[int, int]:
    """Numbers per step that are saved as gates, and as cell state: blocks of whole 64 bytes."""
    lanes = 64 // itemsize
    block = (hidden + lanes - 1) // lanes * lanes
    return operation.gates * block, block


def empty(shape: Sequence[int], like: Tensor) -> Tensor:
    """Memory for results, reused where it is large."""
    count = 1
    for length in shape:
        count *= length
    if count * like.itemsize < POOLED:
        return torch.empty(shape, dtype=like.dtype, device="cpu")
    return native.library.empty(tuple(shape), like.itemsize)


def _pointer(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _contiguous(inputs: Inputs) -> Inputs:
    return Inputs._make(None if t is None else t.contiguous() for t in inputs)


def _without(values: Sequence[Any], *names: str) -> list[Any]:
    """`Inputs` or their gradients without some."""
    return [v for v, name in zip(values, Inputs._fields, strict=True) if name not in names]


def _check(operation: Recurrence, code: int, inputs: Inputs) -> None:
    """Refuse what a kernel would read beyond its end, or not at all."""
    x, hidden, name = inputs.x, inputs.hidden, operation.name
    if code not in operation.codes:
        raise InputError(f"{name}: code is {code}, expected one of {[*operation.codes]}")
    if x.ndim != 3 or hidden.ndim != 2:
        raise InputError(
            f"{name}: x and hidden have shapes {list(x.shape)} and {list(hidden.shape)}, "
            "expected [batch, time, input] and [batch, hidden]"
        )
    if x.dtype not in TYPES:
        raise InputError(f"{name}: x is {x.dtype}, expected torch.float32 or torch.float64")
    (batch, time, features), size = x.shape, hidden.shape[1]
    rows, marks, state = operation.blocks * size, (batch, time), (batch, size)
    shapes = (x.shape, marks, marks, (rows, features), (rows, size), (rows,), (size,), *[state] * 4)
    cell, resets = "cell" in operation.parts, inputs.reset is not None
    there = {
        "bias_hidden": "bias_hidden" in operation.parts,
        "cell": cell,
        "initial_hidden": resets,
        "initial_cell": resets and cell,
    }
    for argument, tensor, shape in zip(Inputs._fields, inputs, shapes, strict=True):
        if there.get(argument, tensor is not None) != (tensor is not None):
            came = "is missing" if tensor is None else "was given, expected none"
            raise InputError(f"{name}: {argument} {came}")
        if tensor is None:
            continue
        dtype = torch.bool if shape is marks else x.dtype
        if tensor.shape != shape or tensor.dtype != dtype or not tensor.is_cpu:
            raise InputError(
                f"{name}: {argument} is {tensor.dtype} {list(tensor.shape)} on "
                f"{tensor.device}, expected {dtype} {list(shape)} on cpu"
            )
