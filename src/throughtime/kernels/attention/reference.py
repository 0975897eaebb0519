"""The definition of attention."""

import torch

from throughtime.shapes import Bool, Float, Tensor


def attention(
    q: Float[Tensor, "batch heads time size"],
    k: Float[Tensor, "batch kv_heads keys size"],
    v: Float[Tensor, "batch kv_heads keys value_size"],
    allowed: Bool[Tensor, "#batch #heads #time keys"] | None,
    bias: Float[Tensor, "#batch #heads #time keys"] | None,
) -> Float[Tensor, "batch heads time value_size"]:
    r"""Each query's mean of the values, weighted by how well their keys match it.

    $$\operatorname{softmax}\left(\frac{Q K^\top}{\sqrt{d}} + B\right) V$$

    A query with nothing to attend to gives zeros.
    """
    return weights(q, k, allowed, bias) @ shared(v, q.shape[1])


def weights(
    q: Float[Tensor, "batch heads time size"],
    k: Float[Tensor, "batch kv_heads keys size"],
    allowed: Bool[Tensor, "#batch #heads #time keys"] | None,
    bias: Float[Tensor, "#batch #heads #time keys"] | None,
) -> Float[Tensor, "batch heads time keys"]:
    """How much each query attends to each key; a row adds up to 1, or is all zeros."""
    return shares(scores(q, k, bias), allowed)


def scores(
    q: Float[Tensor, "batch heads time size"],
    k: Float[Tensor, "batch kv_heads keys size"],
    bias: Float[Tensor, "#batch #heads #time keys"] | None,
) -> Float[Tensor, "batch heads time keys"]:
    """How well each key matches each query."""
    found = q @ shared(k, q.shape[1]).transpose(-2, -1) / q.shape[-1] ** 0.5
    return found if bias is None else found + bias


def shares(
    scores: Float[Tensor, "batch heads time keys"],
    allowed: Bool[Tensor, "#batch #heads #time keys"] | None,
) -> Float[Tensor, "batch heads time keys"]:
    """The softmax of scores among the keys that are allowed; zeros where none is."""
    if allowed is None:
        return scores.softmax(-1)
    # The lowest finite score instead of minus infinity: a row of those would be NaN, and so would
    # every gradient through it.
    lowest = torch.finfo(scores.dtype).min
    return torch.where(allowed, torch.where(allowed, scores, lowest).softmax(-1), 0)


def shared(x: Tensor, heads: int) -> Tensor:
    """Keys or values with each head repeated for the queries that share it."""
    return x if x.shape[1] == heads else x.repeat_interleave(heads // x.shape[1], dim=1)
