"""Bells: the normal distribution, and Student's t with its heavier tails."""

import math

import torch
from torch.distributions import Distribution

from throughtime.models.heads.base import NumberHead, above_zero, normal_like, positive
from throughtime.models.scaling import Scaling
from throughtime.models.special import student_t_quantile
from throughtime.shapes import Float, Tensor


class Normal(NumberHead):
    r"""The bell curve: $x \sim \mathcal{N}(\mu, \sigma^2)$.

    From two outputs $a, b$ and the location $m$ and scale $s$ of the series:
    $\mu = m + s a$ and $\sigma = s \operatorname{softplus}(b + \text{const})$, which is $s$ at
    $b = 0$.

    Args:
        width, size, residual: see [`NumberHead`][throughtime.models.heads.NumberHead].

    Shapes:
        - `parameters`: `[batch, time, 2 * size]`: location, scale.
    """

    kind = "normal"
    parts = ("location", "scale")

    def scaled(self, raw: tuple[Tensor, ...], scaling: Scaling) -> tuple[Tensor, ...]:
        """Location and scale."""
        move, spread = raw
        return self.start(scaling) + scaling.scale * move, scaling.scale * positive(spread)

    def distribution(self, parameters: Float[Tensor, "*steps parameters"]) -> Distribution:
        """Batch shape `[batch, time, size]`."""
        location, scale = self.split(parameters)
        return torch.distributions.Normal(location, above_zero(scale), validate_args=False)

    def sample(
        self,
        parameters: Float[Tensor, "*steps parameters"],
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "*steps size"]:
        """Location + scale times a normal deviate."""
        location, scale = self.split(parameters)
        return location + above_zero(scale) * normal_like(location, generator)

    def point(self, parameters: Float[Tensor, "*steps parameters"]) -> Float[Tensor, "*steps size"]:
        """The location."""
        return self.split(parameters)[0]

    def quantiles(
        self, parameters: Float[Tensor, "*steps parameters"], levels: Float[Tensor, " levels"]
    ) -> Float[Tensor, "*steps size levels"]:
        """Location + scale times the normal quantile."""
        location, scale = self.split(parameters)
        deviate = math.sqrt(2) * torch.erfinv(2 * levels - 1)
        return location.unsqueeze(-1) + above_zero(scale).unsqueeze(-1) * deviate


class StudentT(Normal):
    r"""A bell with heavier tails, for series with outliers: $(x - \mu) / \sigma \sim t_\nu$.

    As [`Normal`][throughtime.models.heads.Normal], with a third output $c$ for the degrees of
    freedom: $\nu = 2 + \operatorname{softplus}(c + \text{const})$, about 6 at $c = 0$; above 2, so
    that there is a variance.

    Shapes:
        - `parameters`: `[batch, time, 3 * size]`: location, scale, degrees of freedom.
    """

    kind = "student"
    parts = ("location", "scale", "freedom")

    def scaled(self, raw: tuple[Tensor, ...], scaling: Scaling) -> tuple[Tensor, ...]:
        """Location, scale and degrees of freedom."""
        location, scale = super().scaled(raw[:2], scaling)
        return location, scale, 2 + positive(raw[2], start=4.0)

    def distribution(self, parameters: Float[Tensor, "*steps parameters"]) -> Distribution:
        """Batch shape `[batch, time, size]`."""
        location, scale, freedom = self.split(parameters)
        return torch.distributions.StudentT(
            above_zero(freedom), location, above_zero(scale), validate_args=False
        )

    def sample(
        self,
        parameters: Float[Tensor, "*steps parameters"],
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "*steps size"]:
        """A normal deviate over the root of a gamma deviate."""
        location, scale, freedom = self.split(parameters)
        half = above_zero(freedom) / 2
        gamma = torch._standard_gamma(half, generator=generator)  # pyright: ignore
        tiny = torch.finfo(gamma.dtype).tiny
        deviate = normal_like(location, generator) * (half / gamma.clamp_min(tiny)).sqrt()
        return location + above_zero(scale) * deviate

    def quantiles(
        self, parameters: Float[Tensor, "*steps parameters"], levels: Float[Tensor, " levels"]
    ) -> Float[Tensor, "*steps size levels"]:
        """Location + scale times the quantile of the standard distribution."""
        location, scale, freedom = self.split(parameters)
        deviate = student_t_quantile(above_zero(freedom).unsqueeze(-1), levels)
        return location.unsqueeze(-1) + above_zero(scale).unsqueeze(-1) * deviate
