"""The compiled kernels as an implementation: where they run, and by which way they are called.

Each recurrence is an operator, `torch.ops.throughtime.lstm` and so on, with another for its
gradient: compiled and exported graphs hold these. Eagerly the same functions run below a plain
`autograd.Function`, at a quarter of an operator's cost, and single steps of one row straight away.
What has no compiled version is computed by the reference: forward-mode derivatives, the transforms
of `torch.func`, gradients of gradients.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from throughtime.kernels import native
from throughtime.kernels.calls import TYPES, Inputs, Recurrence, forward, unpack
from throughtime.kernels.operators import Eager, define, gates_operator
from throughtime.kernels.recompute import Recomputed


class Operation(Recurrence):
    """A recurrence with compiled kernels, known to torch as two operators."""

    def __init__(self, name: str, **about: Any) -> None:
        super().__init__(name, **about)
        self.operator, self.gradient = define(self)


def refuses(device: torch.device, dtype: torch.dtype) -> str | None:
    """Why the compiled kernels cannot run there; None where they can."""
    if native.library is None:
        return native.missing
    if device.type != "cpu":
        return f"it runs on the CPU, not on {device.type}"
    if dtype not in TYPES:
        return f"it computes float32 and float64, not {str(dtype).removeprefix('torch.')}"
    return None


def run(
    operation: Operation,
    code: int,
    inputs: Inputs,
    *,
    return_gates: bool = False,
    recompute: bool = False,
) -> tuple[Tensor, ...]:
    """Output, last hidden state, last cell state if there is one, and the gates if asked for.

    With `recompute` the backward pass computes the gates again instead of keeping them.
    """
    if torch.is_autocast_enabled("cpu"):
        inputs = _of_one_type(inputs)
    if transformed():
        found = operation.reference(code, inputs, return_gates=return_gates)
        return tuple(part for part in found if part is not None)
    learns = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in inputs)
    if not plain() or not _PLAIN.issuperset(map(type, inputs)):
        # An exported graph is for inference; should it be trained, backward computes the gates.
        save = return_gates or (learns and not recompute and not torch.compiler.is_exporting())
        *outputs, gates, cells, threads = operation.operator(code, *inputs, save)
        if return_gates:
            marks = inputs.mask, inputs.reset
            gates = gates_operator(code, outputs[0].detach(), gates, cells, threads, *marks)
        else:
            gates = None
    elif learns and recompute and not return_gates:
        outputs, gates = Recomputed.apply(operation, code, *inputs), None
    elif learns:
        *outputs, gates = Eager.apply(operation, code, return_gates, *inputs)
    else:
        outputs, saved = forward(operation, code, inputs, save=return_gates)
        gates = unpack(code, inputs.mask, inputs.reset, saved) if return_gates else None
    outputs = outputs if inputs.cell is not None else outputs[:2]
    return tuple(outputs) if gates is None else (*outputs, gates)


# When a kernel may be called directly


def transformed() -> bool:
    """Whether derivatives are being taken that only the reference knows."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def plain() -> bool:
    """Whether nothing records the operations: no compiler, no exporter, no dispatch mode."""
    return not (
        torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack()
        or torch._C._is_tracing()
    )


_PLAIN = frozenset((Tensor, nn.Parameter, type(None)))


def _of_one_type(inputs: Inputs) -> Inputs:
    """Everything in the type of the weights: what comes from an autocast layer is narrower."""
    dtype = inputs.weight_hidden.dtype
    return Inputs._make(
        t if t is None or t.dtype in (dtype, torch.bool) else t.to(dtype) for t in inputs
    )
