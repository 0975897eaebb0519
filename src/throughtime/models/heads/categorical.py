"""One of a vocabulary."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.distributions import Distribution
from torch.nn import functional

from throughtime.errors import InputError
from throughtime.kernels.compiled import transformed
from throughtime.layers.base import check_size
from throughtime.layers.stateless import Linear
from throughtime.models.heads.base import Head
from throughtime.models.heads.surprise import surprise
from throughtime.shapes import Bool, Float, Int, Tensor


class Categorical(Head):
    r"""One of a vocabulary: $p(k) = \operatorname{softmax}(W h + b)_k$.

    Args:
        width: features per step of what comes in; None makes a head without an output layer.
        tokens: size of the vocabulary.
        tied: use the vectors of the embedding as W (Press and Wolf 2017); the input layer hands
            them over, and only the shift belongs to the head.
        smoothing: $\epsilon$, the share of each target that training spreads evenly over all V
            tokens, in [0, 1) (Szegedy et al. 2016): a model that must not be too sure.

    In training mode the loss is that of the smoothed target, in evaluation mode nats:

    $$-(1 - \epsilon) \log p(k) - \frac{\epsilon}{V} \sum_j \log p(j)$$

    Shapes:
        - `parameters`: `[batch, time, tokens]`, logits: any constant may be added to all of them.
        - `targets`: `[batch, time]`, ids; below 0 means missing.

    Errors:
        InputError: a smoothing outside [0, 1).

    Examples:
        >>> head = Categorical(4, 10)
        >>> head(torch.randn(2, 3, 4)).shape
        torch.Size([2, 3, 10])

    References:
        Press and Wolf 2017, "Using the output embedding to improve language models".
        Szegedy et al. 2016, "Rethinking the Inception architecture for computer vision".
    """

    kind = "categorical"
    discrete = True

    def __init__(
        self, width: int | None, tokens: int, *, tied: bool = False, smoothing: float = 0.0
    ) -> None:
        super().__init__()
        check_size("Categorical", "tokens", tokens)
        if not 0 <= smoothing < 1:
            raise InputError(f"Categorical: smoothing is {smoothing}, expected a share in [0, 1)")
        self.width = width
        self.smoothing = smoothing
        self.size = self.output_size = tokens
        self.output = None if width is None or tied else Linear(width, tokens)
        self.bias = nn.Parameter(torch.zeros(tokens)) if tied else None

    def forward(
        self, features: Float[Tensor, "batch time width"], context: Any = None
    ) -> Float[Tensor, "batch time tokens"]:
        """Logits."""
        if self.bias is not None:
            return functional.linear(features, context, self.bias)
        if self.output is None:
            raise self.missing_output()
        return self.output(features)[0]

    def distribution(self, parameters: Float[Tensor, "*steps tokens"]) -> Distribution:
        """Batch shape `[batch, time]`."""
        return torch.distributions.Categorical(logits=parameters, validate_args=False)

    def log_prob(
        self, parameters: Float[Tensor, "*steps tokens"], targets: Int[Tensor, "*steps"]
    ) -> Float[Tensor, "*steps"]:
        """In nats per token."""
        known = targets >= 0
        chosen = torch.where(known, targets, 0).unsqueeze(-1)
        score = _log_shares(parameters).gather(-1, chosen).squeeze(-1)
        return torch.where(known, score, 0)

    def loss(
        self, parameters: Float[Tensor, "*steps tokens"], targets: Int[Tensor, "*steps"]
    ) -> Float[Tensor, "*steps"]:
        """In nats per token; in training mode of the smoothed target."""
        nats = -self.log_prob(parameters, targets)
        if not (self.training and self.smoothing):
            return nats
        even = -_log_shares(parameters).mean(-1)
        return torch.where(targets >= 0, nats.lerp(even, self.smoothing), 0)

    def total_loss(
        self,
        features: Float[Tensor, "batch time width"],
        targets: Int[Tensor, "batch time"],
        context: Any = None,
        mask: Bool[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, ""]:
        """By [`surprise`][throughtime.models.heads.surprise.surprise], which needs less memory."""
        weight, bias = (
            (self.output.weight, self.output.bias) if self.output else (context, self.bias)
        )
        half = features.dtype not in (torch.float32, torch.float64)
        mixed = torch.is_autocast_enabled(features.device.type)
        if bias is None or half or mixed or transformed():
            return super().total_loss(features, targets, context, mask)
        smoothing = self.smoothing if self.training else 0.0
        return surprise(features.flatten(0, 1), weight, bias, targets.flatten(), smoothing).sum()

    def counted(self, targets: Int[Tensor, "*steps"]) -> Float[Tensor, "*steps"]:
        """1, or 0 where the token is missing."""
        return (targets >= 0).to(torch.get_default_dtype())

    def sample(
        self, parameters: Float[Tensor, "*steps tokens"], generator: torch.Generator | None = None
    ) -> Int[Tensor, "*steps"]:
        """Ids."""
        steps = parameters.shape[:-1]
        if steps.numel() == 0:
            return torch.zeros(steps, dtype=torch.long, device=parameters.device)
        probabilities = parameters.softmax(-1).flatten(0, -2)
        return torch.multinomial(probabilities, 1, generator=generator).view(steps)

    def temper(
        self, parameters: Float[Tensor, "*steps tokens"], temperature: float
    ) -> Float[Tensor, "*steps tokens"]:
        """Logits divided by the temperature."""
        if not temperature > 0:
            raise InputError(f"temperature is {temperature}, expected a number above 0")
        return parameters / temperature

    def point(self, parameters: Float[Tensor, "*steps tokens"]) -> Int[Tensor, "*steps"]:
        """The likeliest token; of several the first."""
        return parameters.argmax(-1)

    def quantile(self, parameters: Tensor, levels: Sequence[float]) -> Tensor:
        """Tokens have no order."""
        raise InputError("quantile: tokens have no order, and so no quantiles")

    def check_targets(self, targets: Tensor) -> None:
        """Ids of the vocabulary."""
        if targets.numel() and int(targets.max()) >= self.size:
            raise InputError(
                f"Categorical: targets hold {int(targets.max())}, "
                f"expected ids below {self.size}, the size of the vocabulary"
            )


def _log_shares(parameters: Tensor) -> Tensor:
    """The logarithm of each token's probability; half precision is too coarse for nats."""
    wide = torch.promote_types(parameters.dtype, torch.float32)
    return parameters.log_softmax(-1, dtype=wide)
