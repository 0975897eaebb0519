"""Maps of attention, for whoever watches: scores and weights, which fused kernels do not give."""

import torch
from torch import nn

from throughtime.kernels.attention.reference import scores as scaled_scores
from throughtime.kernels.attention.reference import shared, shares
from throughtime.shapes import Bool, Float, Tensor
from throughtime.taps import historic, replaced, tap

MAPS = {
    "scores": "how well steps match, -inf where one may not look: [batch, heads, time, steps]",
    "attention": "the softmax of scores, how much each step takes: [batch, heads, time, steps]",
}


def by_maps(
    layer: nn.Module,
    q: Float[Tensor, "batch heads time size"],
    k: Float[Tensor, "batch kv_heads steps size"],
    v: Float[Tensor, "batch kv_heads steps size"],
    allowed: Bool[Tensor, "#batch #heads #time steps"] | None,
    bias: Float[Tensor, "#batch #heads #time steps"] | None,
    mask: Bool[Tensor, "batch time"] | None,
) -> Float[Tensor, "batch heads time size"] | None:
    """Show the maps of a layer; what its heads find, where that must follow from them.

    It must where a map is replaced or carries its history. Else the fused kernel answers, and the
    maps are computed beside it.

    Args:
        layer: whose maps they are.
        q: queries.
        k: keys.
        v: values.
        allowed: True where a query may attend to a key.
        bias: added to the scores.
        mask: `[batch, time]`, True where a step is real.
    """
    follows = replaced(layer, *MAPS) or historic(layer, *MAPS)
    with torch.set_grad_enabled(follows and torch.is_grad_enabled()):
        scores = scaled_scores(q, k, bias)
        if allowed is not None:
            scores = torch.where(allowed, scores, -torch.inf)
        scores = tap(layer, "scores", scores, mask)
        attention = tap(layer, "attention", shares(scores, allowed), mask)
    return attention @ shared(v, q.shape[1]) if follows else None
