"""Attention, everywhere: signature, shapes and choice of implementation."""

from typing import Any

from throughtime.errors import InputError
from throughtime.kernels import registry
from throughtime.kernels.attention import fused, reference
from throughtime.shapes import Bool, Float, Tensor


def _reference(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    allowed: Tensor | None,
    bias: Tensor | None,
    causal: bool,  # noqa: FBT001
) -> Any:
    return reference.attention(q, k, v, fused.lower(q, k) if causal else allowed, bias)


registry.register(
    "attention",
    registry.Implementation("fused", fused.attention, registry.always),
    registry.Implementation("reference", _reference, registry.always),
)


def attention(
    q: Float[Tensor, "batch heads time size"],
    k: Float[Tensor, "batch kv_heads keys size"],
    v: Float[Tensor, "batch kv_heads keys value_size"],
    *,
    allowed: Bool[Tensor, "#batch #heads #time keys"] | None = None,
    bias: Float[Tensor, "#batch #heads #time keys"] | None = None,
    causal: bool = False,
) -> Float[Tensor, "batch heads time value_size"]:
    r"""Scaled dot-product attention, $\operatorname{softmax}(Q K^\top / \sqrt{d} + B) V$.

    Args:
        q: queries.
        k: keys; each of their heads serves `heads / kv_heads` heads of queries.
        v: values.
        allowed: True where a query may attend to a key; a query that may attend to nothing gives
            zeros. None: everywhere.
        bias: B, added to the scores; a constant, without gradient.
        causal: only keys up to the query's own place; instead of `allowed` and `bias`.
    """
    if causal and (allowed is not None or bias is not None):
        raise InputError("attention: got causal and allowed or bias, expected one or the other")
    chosen = registry.choose("attention", q.device, q.dtype)
    return chosen.function(q, k, v, allowed, bias, causal)
