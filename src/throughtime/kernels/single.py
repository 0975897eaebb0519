"""One step of one row without gradients: straight from the layer to native code.

A sensor's next value, a session's next token: what is computed takes a few microseconds, so what
stands around it must not take more. Native code looks at the tensors itself, and declines what it
does not take: other types, devices, shapes or layouts.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from throughtime.kernels import native, registry
from throughtime.kernels.compiled import plain, transformed


def _meets() -> bool:
    """Whether this torch lets native code look at its tensors; older ones do not."""
    published = getattr(Tensor, "__dlpack_c_exchange_api__", None)
    if native.library is None or published is None:
        return False
    return native.library.meet(published, Tensor, nn.Parameter)


_MEETS = _meets()


def single_step(
    cell: int,
    weights: Mapping[str, nn.Parameter | None],
    x: Tensor,
    state: Sequence[Tensor],
) -> tuple[Tensor, ...] | None:
    """Output and the parts of the state after it, or None where the general way must be taken.

    Args:
        cell: the code of the native cell; below zero there is none.
        weights: by name, as a module holds its parameters.
        x: `[1, 1, input]`.
        state: each part `[1, hidden]`.
    """
    if cell < 0 or not _MEETS or torch.is_grad_enabled():
        return None
    if registry.forced() == "reference" or not plain() or transformed():
        return None
    return native.library.step(
        cell,
        x,
        state[0],
        state[1] if len(state) > 1 else None,
        weights.get("weight_input"),  # None where it is computed: it is no parameter then
        weights.get("weight_hidden"),
        weights.get("bias"),
        weights.get("bias_hidden"),
    )
