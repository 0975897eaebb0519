"""How surprising each token was, by a linear layer and a softmax in one."""

from typing import Any

import torch

from throughtime.shapes import Float, Int, Tensor


def surprise(
    features: Float[Tensor, "steps width"],
    weight: Float[Tensor, "tokens width"],
    bias: Float[Tensor, " tokens"],
    targets: Int[Tensor, " steps"],
    smoothing: float = 0.0,
) -> Float[Tensor, " steps"]:
    r"""$-\log \operatorname{softmax}(W h + b)_k$ in nats, 0 where the target is missing.

    With smoothing $\epsilon$ and V tokens it is the surprise of a target that is spread out:

    $$-(1 - \epsilon) \log p_k - \frac{\epsilon}{V} \sum_j \log p_j$$

    The scores of 10,000 words are far larger than all else in a model, so they lie in one array:
    the scores first, then the probabilities, then the slopes, which wait there for the backward
    pass. By single operations there would be four of them.

    Args:
        features: h.
        weight: W.
        bias: b.
        targets: k; below 0 means missing.
        smoothing: the share of the target that is spread evenly over all tokens, in [0, 1).

    References:
        Szegedy et al. 2016, "Rethinking the Inception architecture for computer vision": label
        smoothing.
    """
    known = targets >= 0
    features = torch.where(known.unsqueeze(-1), features, 0)
    targets = torch.where(known, targets, 0)
    nats: Any = _Surprise.apply(features, weight, bias, targets, smoothing)
    return torch.where(known, nats, 0)


class _Surprise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, smoothing: float
    ) -> Tensor:
        chosen = targets.unsqueeze(-1)
        scores = torch.addmm(bias, features, weight.t())
        wanted = scores.gather(-1, chosen)
        if smoothing:  # the mean of -log p lies as far behind as the mean of the scores
            wanted = wanted.lerp(scores.mean(-1, keepdim=True), smoothing)
        behind = scores.amax(-1, keepdim=True) - wanted
        shares = torch.softmax(scores, -1, out=scores)
        # From the largest share: the target's own may be too small for a logarithm.
        nats = behind - shares.amax(-1, keepdim=True).log()
        slopes = shares.scatter_add_(-1, chosen, torch.full_like(behind, smoothing - 1))
        if smoothing:
            slopes -= smoothing / len(weight)
        ctx.smoothing = smoothing
        ctx.save_for_backward(features, weight, bias, chosen, slopes)
        return nats.squeeze(-1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        features, weight, bias, chosen, slopes = ctx.saved_tensors
        scale = gradients[0].unsqueeze(-1)
        if torch.is_grad_enabled():  # for a second derivative: the same slopes, with their history
            shares = torch.addmm(bias, features, weight.t()).softmax(-1)
            slopes = shares.scatter_add(-1, chosen, torch.full_like(scale, ctx.smoothing - 1))
            slopes = slopes - ctx.smoothing / len(weight)
        return (
            (slopes @ weight) * scale,
            slopes.t() @ (features * scale),
            slopes.t() @ gradients[0],
            None,
            None,
        )
