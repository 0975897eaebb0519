"""What torch sees of the compiled kernels: gradients, and operators for graphs."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from throughtime.kernels.calls import (
    Gradients,
    Inputs,
    Recurrence,
    Saved,
    backward,
    forward,
    row_sizes,
    unpack,
)


def keep(ctx: Any, operation: Recurrence, code: int, tensors: Sequence[Tensor | None]) -> None:
    """Hold on to what the backward pass needs: the inputs, then what else there is."""
    ctx.operation, ctx.code = operation, code
    ctx.save_for_backward(*tensors)
    ctx.set_materialize_grads(False)


class Eager(torch.autograd.Function):
    """The kernels outside of graphs."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,
        operation: Recurrence,
        code: int,
        return_gates: bool,  # noqa: FBT001 - autograd knows no keywords
        *tensors: Tensor | None,
    ) -> tuple[Tensor | None, ...]:
        """What came out, and the gates or None."""
        inputs = Inputs(*tensors)  # pyright: ignore[reportArgumentType]
        outputs, saved = forward(operation, code, inputs, save=True)
        *kept, ctx.threads = saved
        keep(ctx, operation, code, (*inputs, *kept))
        if not return_gates:
            return *outputs, None
        gates = unpack(code, inputs.mask, inputs.reset, saved)
        ctx.mark_non_differentiable(gates)
        return *outputs, gates

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:  # pyright: ignore
        """Of the inputs, from those of what came out."""
        wanted = ctx.needs_input_grad[3:]

        def native(inputs: Inputs, tensors: Sequence[Tensor]) -> Gradients:
            saved = Saved._make((*tensors, ctx.threads))
            return backward(ctx.operation, ctx.code, inputs, saved, gradients[:3], wanted)

        return None, None, None, *differentiate(ctx, gradients[:3], wanted, native)


def differentiate(
    ctx: Any,
    gradients: Gradients,
    wanted: Sequence[bool],
    compute: Callable[[Inputs, Sequence[Tensor]], Gradients],
) -> Gradients:
    """What `compute` finds from inputs and saved tensors, or the reference where it must."""
    tensors = ctx.saved_tensors
    inputs, saved = Inputs(*tensors[: len(Inputs._fields)]), tensors[len(Inputs._fields) :]
    if all(g is None for g in gradients):
        return [None] * len(inputs)
    if not torch.is_grad_enabled():
        return compute(inputs, saved)
    # A graph of the gradient is asked for (create_graph): the reference, differentiated. Views, so
    # that a tensor that is passed twice has a gradient in each place.
    inputs = Inputs(
        *(t.view_as(t) if w else t for t, w in zip(inputs, wanted, strict=True))  # pyright: ignore
    )
    with torch.autocast("cpu", enabled=False):
        outputs = ctx.operation.reference(ctx.code, inputs)
    pairs = [
        (o, g)
        for o, g in zip(outputs, gradients, strict=False)
        if o is not None and o.requires_grad and g is not None
    ]
    if not pairs:
        return [None] * len(inputs)
    ends, weights = zip(*pairs, strict=True)
    leaves = [t for t, want in zip(inputs, wanted, strict=True) if want]
    found = iter(
        torch.autograd.grad(ends, leaves, weights, create_graph=True, allow_unused=True)  # pyright: ignore
    )
    return [next(found) if want else None for want in wanted]


# Operators

_TENSORS = ", ".join(
    f"Tensor{'?' if name in ('mask', 'reset', 'bias_hidden', 'cell') or 'initial' in name else ''} "
    f"{name}"
    for name in Inputs._fields
)
_SAVED = "Tensor output, Tensor gates, Tensor cells, Tensor threads"


def define(operation: Recurrence) -> tuple[Any, Any]:
    """The operator of a recurrence, and that of its gradient."""
    name = f"throughtime::{operation.name}"

    @torch.library.custom_op(
        name,
        mutates_args=(),
        device_types="cpu",
        schema=f"(int code, {_TENSORS}, bool save) -> (Tensor output, Tensor last_hidden, "
        "Tensor last_cell, Tensor gates, Tensor cells, Tensor threads)",
    )
    def operator(code: int, *arguments: Any) -> tuple[Tensor, ...]:
        *inputs, save = arguments
        outputs, saved = forward(operation, code, Inputs(*inputs), save=save)
        return *outputs, saved.gates, saved.cells, torch.tensor(saved.threads, device="cpu")

    @operator.register_fake
    def _(code: int, *arguments: Any) -> tuple[Tensor, ...]:
        *tensors, save = arguments
        inputs = Inputs(*tensors)
        x, size = inputs.x, inputs.hidden.shape[1]
        batch, time, _ = x.shape
        row, block = row_sizes(operation, size, x.itemsize)
        has_cell = inputs.cell is not None
        return (
            x.new_empty(batch, time, size),
            x.new_empty(batch, size),
            x.new_empty((batch, size) if has_cell else 0),
            x.new_empty((batch * time, row) if save else 0),
            x.new_empty((batch * time, block) if save and has_cell else 0),
            x.new_empty((), dtype=torch.int64),
        )

    @torch.library.custom_op(
        f"{name}_backward",
        mutates_args=(),
        device_types="cpu",
        schema=f"(int code, {_TENSORS}, {_SAVED}, Tensor? grad_output, Tensor? grad_hidden, "
        "Tensor? grad_cell, bool[] wanted) -> Tensor[]",
    )
    def gradient(code: int, *arguments: Any) -> list[Tensor]:
        *tensors, wanted = arguments
        inputs = Inputs(*tensors[:11])
        output, gates, cells, threads, *gradients = tensors[11:]
        saved = Saved(output, gates, cells, int(threads))
        found = backward(operation, code, inputs, saved, gradients, wanted)
        return [g for g in found if g is not None]

    @gradient.register_fake
    def _(code: int, *arguments: Any) -> list[Tensor]:
        *tensors, wanted = arguments
        return [t.new_empty(t.shape) for t, want in zip(tensors[:11], wanted, strict=True) if want]

    def keep_saved(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        code, *tensors, _ = inputs
        keep(ctx, operation, code, (*tensors, output[0], *output[3:]))
        ctx.mark_non_differentiable(*output[3:])

    def of_inputs(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        wanted = ctx.needs_input_grad[1:-1]

        def compute(inputs: Inputs, saved: Sequence[Tensor]) -> Gradients:
            found = iter(gradient(ctx.code, *inputs, *saved, *gradients[:3], wanted))
            return [next(found) if want else None for want in wanted]

        return None, *differentiate(ctx, gradients[:3], wanted, compute), None

    operator.register_autograd(of_inputs, setup_context=keep_saved)
    return operator, gradient


@torch.library.custom_op(
    "throughtime::gates",
    mutates_args=(),
    device_types="cpu",
    schema=f"(int code, {_SAVED}, Tensor? mask, Tensor? reset) -> Tensor",
)
def gates_operator(
    code: int,
    output: Tensor,
    gates: Tensor,
    cells: Tensor,
    threads: Tensor,
    mask: Tensor | None,
    reset: Tensor | None,
) -> Tensor:
    """The gates in torch's order, from what a recurrence saved."""
    return unpack(code, mask, reset, Saved(output, gates, cells, int(threads)))


@gates_operator.register_fake
def _(code: int, output: Tensor, *_: Any) -> Tensor:
    batch, time, size = output.shape
    return output.new_empty(batch, time, 4 * size)
