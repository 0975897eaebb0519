"""Counts: whole numbers of at least 0."""

import math

import torch
from torch.distributions import Distribution

from throughtime.errors import InputError
from throughtime.models.heads.base import NumberHead, above_zero, positive
from throughtime.models.scaling import Scaling
from throughtime.models.special import negative_binomial_quantile
from throughtime.shapes import Float, Tensor


class NegativeBinomial(NumberHead):
    r"""Counts that vary more than a Poisson: mean $\mu$, variance $\mu + \mu^2 / r$.

    From two outputs $a, b$ and the location $m$ and scale $s$ of the series:
    $\mu = (\max(m, 0) + s) \operatorname{softplus}(a + \text{const})$ and
    $1 / r = \operatorname{softplus}(b + \text{const})$. Use it with the scaling `mean`, where
    $m = 0$ and $s$ is the mean of the series.

    Args:
        width, size: see [`NumberHead`][throughtime.models.heads.NumberHead]. Counts cannot fall
            below 0, so there is no `residual`.

    Shapes:
        - `parameters`: `[batch, time, 2 * size]`: mean, count r.
        - `targets`: whole numbers of at least 0 (in a floating-point type), or NaN.

    References:
        Salinas et al. 2020, "DeepAR".
    """

    kind = "negative_binomial"
    parts = ("mean", "count")

    def __init__(self, width: int | None, size: int) -> None:
        super().__init__(width, size)

    def scaled(self, raw: tuple[Tensor, ...], scaling: Scaling) -> tuple[Tensor, ...]:
        """Mean and count."""
        level, dispersion = raw
        unit = scaling.location.clamp_min(0) + scaling.scale
        return unit * positive(level), 1 / positive(dispersion, start=0.5)

    def distribution(self, parameters: Float[Tensor, "*steps parameters"]) -> Distribution:
        """Batch shape `[batch, time, size]`."""
        mean, count = (above_zero(part) for part in self.split(parameters))
        return torch.distributions.NegativeBinomial(
            count, logits=mean.log() - count.log(), validate_args=False
        )

    def centre(self, parameters: Tensor) -> Tensor:
        """Zero is always possible."""
        return torch.zeros_like(self.split(parameters)[0])

    def sample(
        self,
        parameters: Float[Tensor, "*steps parameters"],
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "*steps size"]:
        """A Poisson deviate whose rate is a gamma deviate."""
        mean, count = (above_zero(part) for part in self.split(parameters))
        gamma = torch._standard_gamma(count, generator=generator)  # pyright: ignore
        rate = gamma * mean / count
        return torch.poisson(rate, generator=generator)

    def quantiles(
        self, parameters: Float[Tensor, "*steps parameters"], levels: Float[Tensor, " levels"]
    ) -> Float[Tensor, "*steps size levels"]:
        """The smallest whole number with at least that probability at or below it."""
        mean, count = (above_zero(part).unsqueeze(-1) for part in self.split(parameters))
        return negative_binomial_quantile(mean, count, levels)

    def check_targets(self, targets: Tensor) -> None:
        """Whole numbers of at least 0, or NaN."""
        wrong = targets[(targets < 0) | (targets != targets.round()) & ~targets.isnan()]
        if wrong.numel() or targets.isinf().any():
            came = float(wrong[0]) if wrong.numel() else math.inf
            raise InputError(
                f"NegativeBinomial: targets hold {came:g}, expected whole numbers of at least 0"
            )
