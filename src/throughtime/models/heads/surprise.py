"""How surprising each token was, by a linear layer and a softmax in one."""

from typing import Any

import torch

from throughtime.shapes import Float, Int, Tensor


def surprise(
    features: Float[Tensor, "steps width"],
    weight: Float[Tensor, "tokens width"],
    bias: Float[Tensor, " tokens"],
    targets: Int[Tensor, " steps"],
) -> Float[Tensor, " steps"]:
    r"""$-\log \operatorname{softmax}(W h + b)_k$ in nats, 0 where the target is missing.

    The scores of 10,000 words are far larger than all else in a model, so they lie in one array:
    the scores first, then the probabilities, then the slopes, which wait there for the backward
    pass. By single operations there would be four of them.

    Args:
        features: h.
        weight: W.
        bias: b.
        targets: k; below 0 means missing.
    """
    known = targets >= 0
    features = torch.where(known.unsqueeze(-1), features, 0)
    nats: Any = _Surprise.apply(features, weight, bias, torch.where(known, targets, 0))
    return torch.where(known, nats, 0)


class _Surprise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor
    ) -> Tensor:
        chosen = targets.unsqueeze(-1)
        scores = torch.addmm(bias, features, weight.t())
        behind = scores.amax(-1, keepdim=True) - scores.gather(-1, chosen)
        shares = torch.softmax(scores, -1, out=scores)
        # From the largest share: the target's own may be too small for a logarithm.
        nats = behind - shares.amax(-1, keepdim=True).log()
        slopes = shares.scatter_add_(-1, chosen, torch.full_like(behind, -1))
        ctx.save_for_backward(features, weight, bias, chosen, slopes)
        return nats.squeeze(-1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        features, weight, bias, chosen, slopes = ctx.saved_tensors
        scale = gradients[0].unsqueeze(-1)
        if torch.is_grad_enabled():  # for a second derivative: the same slopes, with their history
            shares = torch.addmm(bias, features, weight.t()).softmax(-1)
            slopes = shares.scatter_add(-1, chosen, torch.full_like(scale, -1))
        return (
            (slopes @ weight) * scale,
            slopes.t() @ (features * scale),
            slopes.t() @ gradients[0],
            None,
        )
