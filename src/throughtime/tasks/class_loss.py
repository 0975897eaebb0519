"""What a classifier is trained by: cross-entropy of one class, of several, or of shares of them."""

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from throughtime.data.example_batches import ExampleBatch
from throughtime.data.labels import UNKNOWN
from throughtime.layers.line import unremembered
from throughtime.models.classifier import Classifier
from throughtime.shapes import Float, Tensor
from throughtime.state import State


def loss(
    model: Classifier,
    batch: ExampleBatch,
    state: State,
    *,
    several: bool = False,
    smoothing: float = 0.0,
    weights: Float[Tensor, "classes"] | None = None,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""], State]:
    """The loss summed over examples or steps, the weight of these, and no state.

    In training that of a model in which layers answer beside the body is the mean of the losses of
    each.

    Args:
        model: the model.
        batch: examples.
        state: not used: an example is read whole.
        several: each class is there or not, by itself; a mean over the classes.
        smoothing: share of the probability that is spread evenly over all classes, in training.
        weights: of each class.

    References:
        Szegedy et al. 2016, "Rethinking the Inception architecture for computer vision" (label
        smoothing).
    """
    smoothing = smoothing if model.training else 0.0
    with unremembered():
        if model.pool == "none":
            found, _ = model(batch.x, None, batch.mask)
            said, targets = [found.flatten(0, 1)], batch.targets.flatten()
        elif model.training and len(model.beside):
            said, targets = model.answers(batch.x, batch.mask), batch.targets
        else:
            said, targets = [model.answer(batch.x, batch.mask)], batch.targets
    losses = [
        _loss(found, targets, several=several, smoothing=smoothing, weights=weights)
        for found in said
    ]
    total = torch.stack([each for each, _ in losses]).mean()
    return total, losses[0][1], ()


def _loss(
    found: Float[Tensor, "rows classes"],
    targets: Tensor,
    *,
    several: bool,
    smoothing: float,
    weights: Float[Tensor, "classes"] | None,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """The loss of one answer, summed, and its weight."""
    if several:
        smooth = targets * (1 - smoothing) + smoothing / 2
        total = binary_cross_entropy_with_logits(found, smooth.to(found.dtype), reduction="sum")
        return total, total.new_tensor(targets.numel())
    weights = None if weights is None else weights.to(found.device)
    if targets.is_floating_point():  # shares of classes, of images that were mixed
        return _of_shares(found, targets, smoothing, weights)
    found, targets = found[targets != UNKNOWN], targets[targets != UNKNOWN]
    if weights is None:
        total = cross_entropy(found, targets, label_smoothing=smoothing, reduction="sum")
        return total, total.new_tensor(len(targets))
    # Each row by the weight of its own class. `cross_entropy` would weigh the share that smoothing
    # gives to another class by that one's: a rare class would be the best answer everywhere.
    rows = cross_entropy(found, targets, label_smoothing=smoothing, reduction="none")
    return (weights[targets] * rows).sum(), weights[targets].sum()


def _of_shares(
    found: Float[Tensor, "batch classes"],
    shares: Float[Tensor, "batch classes"],
    smoothing: float,
    weights: Float[Tensor, "classes"] | None,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """The loss and the weight of rows that are of several classes by shares."""
    shares = shares if weights is None else shares * weights
    rows = shares.sum(1, keepdim=True)
    smooth = (1 - smoothing) * shares + smoothing * rows / shares.shape[1]
    return -(smooth * found.log_softmax(-1)).sum(), rows.sum()
