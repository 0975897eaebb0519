"""Attention by torch's fused kernels, with second derivatives by the reference."""

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from throughtime.kernels.attention import reference
from throughtime.kernels.compiled import plain, transformed
from throughtime.shapes import Bool, Float, Tensor


def attention(
    q: Float[Tensor, "batch heads time size"],
    k: Float[Tensor, "batch kv_heads keys size"],
    v: Float[Tensor, "batch kv_heads keys value_size"],
    allowed: Bool[Tensor, "#batch #heads #time keys"] | None,
    bias: Float[Tensor, "#batch #heads #time keys"] | None,
    causal: bool,  # noqa: FBT001
) -> Float[Tensor, "batch heads time value_size"]:
    """As the reference; `causal` stands for keys up to the query's own place."""
    if transformed():
        return reference.attention(q, k, v, allowed if not causal else lower(q, k), bias)
    if allowed is None:
        mask, nothing = bias, None
    else:
        # A row with nothing to attend to attends to everything, so that no NaN arises, and its
        # answer is thrown away.
        nothing = ~allowed.any(-1, keepdim=True)
        mask = allowed | nothing
        if bias is not None:
            mask = torch.where(mask, bias, -torch.inf)
    output: Any = _sdpa(q, k, v, mask, causal)
    if output.requires_grad and plain():
        output = _TwiceDifferentiable.apply(output, q, k, v, mask, causal)
    return output if nothing is None else torch.where(nothing, 0, output)


def lower(q: Tensor, k: Tensor) -> Bool[Tensor, "1 1 time keys"]:
    """True up to each query's own place."""
    return torch.ones(1, 1, q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril()


def _sdpa(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:  # noqa: FBT001
    grouped = q.shape[1] != k.shape[1]
    return scaled_dot_product_attention(q, k, v, mask, is_causal=causal, enable_gqa=grouped)


class _TwiceDifferentiable(torch.autograd.Function):
    """What came out of the fused kernel; its second derivatives by the reference.

    torch's fused attention has a first derivative only. That one goes its own way. Asked for a
    derivative of the derivative, the gradient turns off here into the reference.
    """

    @staticmethod
    def forward(
        ctx: Any,
        output: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor | None,
        causal: bool,  # noqa: FBT001
    ) -> Tensor:
        ctx.save_for_backward(q, k, v, mask)
        ctx.causal = causal
        return output.view_as(output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not torch.is_grad_enabled():
            return gradient, None, None, None, None, None
        q, k, v, mask = ctx.saved_tensors
        allowed, bias = (lower(q, k), None) if ctx.causal else (None, mask)
        if mask is not None and mask.dtype == torch.bool:
            allowed, bias = mask, None
        output = reference.attention(q, k, v, allowed, bias)
        needed = ctx.needs_input_grad[1:4]
        wanted = [x for x, needs in zip((q, k, v), needed, strict=True) if needs]
        found = iter(torch.autograd.grad(output, wanted, gradient, create_graph=True))
        return (None, *(next(found) if needs else None for needs in needed), None, None)
