"""Both of torch.nn's conventions of masks, as what each query may attend to.

torch.nn hides where a truth value is True, and adds a mask of floats to the scores; minus infinity
hides there too.
"""

from typing import NamedTuple

import torch
from torch.nn.functional import pad

from throughtime.errors import InputError
from throughtime.kernels.attention.fused import lower
from throughtime.kernels.compiled import plain, transformed
from throughtime.shapes import Bool, Float, Tensor


class Visible(NamedTuple):
    """What the queries see of the keys.

    Attributes:
        allowed: True where a query may attend to a key; None: everywhere.
        bias: added to the scores.
        causal: only keys up to the query's own place; then there is neither of the others.
    """

    allowed: Bool[Tensor, "#batch #heads #time keys"] | None = None
    bias: Float[Tensor, "#batch #heads #time keys"] | None = None
    causal: bool = False

    def added(self, q: Tensor, k: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """One mask to add to the scores, and True for queries that see nothing.

        Nothing is hidden from these, so that no NaN arises. None: there is no such query.
        """
        allowed = lower(q, k) if self.causal else self.allowed
        if allowed is None:
            return self.bias, None
        nothing = ~allowed.any(-1, keepdim=True)
        if eager(q) and not nothing.any():
            nothing = None
        else:
            allowed = allowed | nothing
        bias = 0 if self.bias is None else self.bias
        return torch.where(allowed, bias, -torch.inf).to(q.dtype), nothing

    def among(self, real: Bool[Tensor, "batch 1 1 keys"] | None, q: Tensor, k: Tensor) -> "Visible":
        """The same, of the real keys only."""
        if real is None:
            return self
        allowed = lower(q, k) if self.causal else self.allowed
        return Visible(real if allowed is None else allowed & real, self.bias)

    def and_more(self, count: int, q: Tensor, k: Tensor) -> "Visible":
        """The same, before some keys were put behind that every query sees."""
        allowed = lower(q, k) if self.causal else self.allowed
        return Visible(
            None if allowed is None else pad(allowed, (0, count), value=True),
            None if self.bias is None else pad(self.bias, (0, count)),
        )


EVERYTHING = Visible()


def visible(
    layer: str,
    attn_mask: Tensor | None,
    key_padding_mask: Tensor | None,
    *,
    causal: bool,
    rows: int,
    heads: int,
    time: int,
    keys: int,
    dtype: torch.dtype,
) -> Visible:
    """What two masks of torch.nn leave to be seen.

    Args:
        layer: who asks, for errors.
        attn_mask: `[time, keys]` or `[rows * heads, time, keys]`.
        key_padding_mask: `[rows, keys]`.
        causal: queries see the keys up to their own place, instead of what `attn_mask` says.
        rows: of the batch.
        heads: of attention.
        time: queries in a row.
        keys: keys in a row.
        dtype: of the scores.
    """
    if causal:
        attn_mask = None
    if attn_mask is not None:
        attn_mask = _of_heads(layer, attn_mask, rows, heads, time, keys)
    allowed = bias = None
    if key_padding_mask is not None:
        check_kind(layer, "key_padding_mask", key_padding_mask)
        _check_shape(layer, "key_padding_mask", key_padding_mask, (rows, keys))
        key_padding_mask = key_padding_mask[:, None, None]
        if causal:
            allowed = key_padding_mask.new_ones(time, keys, dtype=torch.bool).tril()[None, None]
    elif causal:
        return Visible(causal=True)
    for mask in (attn_mask, key_padding_mask):
        if mask is None:
            continue
        seen = shown(mask)
        allowed = seen if allowed is None else allowed & seen
        if mask.dtype != torch.bool:
            added = torch.where(seen, mask, 0).to(dtype)
            bias = added if bias is None else bias + added
    return Visible(allowed, bias)


def eager(x: Tensor) -> bool:
    """Whether what a mask says may decide how to go on: a GPU would wait, a graph cannot know."""
    return x.device.type == "cpu" and plain() and not transformed()


def shown(mask: Tensor) -> Bool[Tensor, "*shape"]:
    """True where a mask of torch.nn, of either kind, does not hide."""
    return ~mask if mask.dtype == torch.bool else mask > -torch.inf


def adds(mask: Tensor) -> bool:
    """Whether a mask does more than hide."""
    return mask.dtype != torch.bool and bool(((mask != 0) & (mask != -torch.inf)).any())


def check_kind(layer: str, argument: str, mask: Tensor) -> None:
    """Refuse masks that are neither truth values nor floats."""
    if mask.dtype != torch.bool and not mask.is_floating_point():
        raise InputError(
            f"{layer}: {argument} is {mask.dtype}, expected torch.bool (True is hidden) "
            "or floats (added to the scores)"
        )


def is_causal_mask(mask: Tensor | None, time: int) -> bool:
    """Whether a mask hides exactly the keys behind each query, and adds nothing.

    Only looked at where that can decide how to go on: not in a graph, and not under a transform.
    """
    if mask is None or mask.shape != (time, time) or not plain() or transformed():
        return False
    if mask.dtype == torch.bool:
        return torch.equal(mask, torch.ones_like(mask).triu(1))
    return torch.equal(mask, torch.full_like(mask, -torch.inf).triu(1))


def _of_heads(layer: str, mask: Tensor, rows: int, heads: int, time: int, keys: int) -> Tensor:
    check_kind(layer, "attn_mask", mask)
    if mask.ndim == 2:
        _check_shape(layer, "attn_mask", mask, (time, keys))
        return mask[None, None]
    _check_shape(layer, "attn_mask", mask, (rows * heads, time, keys))
    return mask.unflatten(0, (rows, heads))


def _check_shape(layer: str, argument: str, mask: Tensor, expected: tuple[int, ...]) -> None:
    if tuple(mask.shape) != expected:
        raise InputError(
            f"{layer}: {argument} has shape {list(mask.shape)}, expected {list(expected)}"
        )
