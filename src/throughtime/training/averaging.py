"""The mean of the weights at the last few points of training."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from throughtime.shapes import Tensor

Weights = dict[str, Tensor]
"""As `state_dict` gives them, in memory of their own."""


class Averaging:
    r"""The weights at the last n points, and their mean.

    $$\bar\theta = \frac{1}{n} \sum_{i=1}^{n} \theta_i$$

    While fewer have been kept, of those there are. Steps at a high learning rate circle around
    where they lead to; their mean lies nearer to it. Whole numbers and masks are the newest's.

    Args:
        count: n; 1 keeps nothing, for the mean of one is what the model holds anyway.

    Attributes:
        kept: the snapshots, oldest first, each a copy of all weights on the model's device: n times
            the memory of the model, and once more for a mean.

    References:
        Vaswani et al. 2017, "Attention is all you need": the last 5 or 20 checkpoints.
        Polyak and Juditsky 1992, "Acceleration of stochastic approximation by averaging".
    """

    def __init__(self, count: int = 1) -> None:
        self.count = count
        self.kept: list[Weights] = []

    def keep(self, model: nn.Module) -> None:
        """The model's weights are the newest; what is more than n old is forgotten."""
        if self.count > 1:
            self.kept = [*self.kept[1 - self.count :], copied(model)]

    def mean(self) -> Weights:
        """Of what is kept, at least one."""
        *_, newest = self.kept
        return {
            name: self._mean(name) if part.is_floating_point() or part.is_complex() else part
            for name, part in newest.items()
        }

    def _mean(self, name: str) -> Tensor:
        # One by one: a stack of all would need their memory a second time.
        first, *others = (weights[name] for weights in self.kept)
        total = first.clone()
        for part in others:
            total += part
        return total.div_(len(self.kept))

    @contextmanager
    def averaged(self, model: nn.Module) -> Iterator[None]:
        """Meanwhile the model holds the mean; then what it held, the newest, to the last bit."""
        if not self.kept:
            yield
            return
        model.load_state_dict(self.mean())
        try:
            yield
        finally:
            model.load_state_dict(self.kept[-1])

    def restore(self, kept: Sequence[Mapping[str, Tensor]], device: torch.device) -> None:
        """Go on from the `kept` of a checkpoint."""
        self.kept = [{name: part.to(device) for name, part in one.items()} for one in kept]


def copied(model: nn.Module) -> Weights:
    """A copy of all that the model holds."""
    return {name: part.clone() for name, part in model.state_dict().items()}
