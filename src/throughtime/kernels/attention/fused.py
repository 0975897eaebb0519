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
    needed = torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad)
    if needed and plain():
        output: Any = _TwiceDifferentiable.apply(q, k, v, mask, causal)
    else:
        output = _sdpa(q, k, v, mask, causal)
    return output if nothing is None else torch.where(nothing, 0, output)


def lower(q: Tensor, k: Tensor) -> Bool[Tensor, "1 1 time keys"]:
    """True up to each query's own place."""
    return torch.ones(1, 1, q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril()


def _sdpa(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:  # noqa: FBT001
    grouped = q.shape[1] != k.shape[1]
    return scaled_dot_product_attention(q, k, v, mask, is_causal=causal, enable_gqa=grouped)


class _TwiceDifferentiable(torch.autograd.Function):
    """The fused kernel and its own gradient; the reference where that gradient is differentiated.

    torch's fused attention has a first derivative only. The kernel's graph is recorded apart and
    kept; asked for a gradient of the gradient, the reference is run instead.
    """

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor | None,
        causal: bool,  # noqa: FBT001
    ) -> Tensor:
        with torch.enable_grad():
            leaves = [x.detach().requires_grad_() for x in (q, k, v)]
            output = _sdpa(leaves[0], leaves[1], leaves[2], mask, causal)
        ctx.graph = output, leaves
        ctx.save_for_backward(q, k, v, mask)
        ctx.causal = causal
        return output.detach()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not torch.is_grad_enabled():
            output, leaves = ctx.graph
            return (*torch.autograd.grad(output, leaves, gradient, retain_graph=True), None, None)
        q, k, v, mask = ctx.saved_tensors
        allowed, bias = (lower(q, k), None) if ctx.causal else (None, mask)
        if mask is not None and mask.dtype == torch.bool:
            allowed, bias = mask, None
        output = reference.attention(q, k, v, allowed, bias)
        found = torch.autograd.grad(output, (q, k, v), gradient, create_graph=True)
        return (*found, None, None)
