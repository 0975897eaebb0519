"""The machinery of forecasts from the last few values; the models are in `linear`."""

import copy
from typing import Any, NamedTuple

import torch

from throughtime.errors import InputError
from throughtime.layers.window import Window
from throughtime.models.autoregressive import AutoregressiveState
from throughtime.models.baseline import Baseline
from throughtime.models.chain import check_covariates, hide
from throughtime.models.heads import Normal
from throughtime.models.heads.base import SMALLEST
from throughtime.models.inputs import NumberInputs
from throughtime.models.least_squares import NormalEquations
from throughtime.models.scaling import ScaleState, Scaling
from throughtime.shapes import Bool, Float, Tensor

CHUNK = 1 << 21
"""Numbers of windows that are laid out at a time in `fit`: bounds its memory."""

SETTLED = 16
"""Observed values after which the scale of a series is its own. The steps before are not learned
from: in units of a scale that is the prior's, a few of them would outweigh all the others."""


class LagContext(NamedTuple):
    """What the head needs beside the window.

    Attributes:
        scaling: location and scale of each series.
        observed: `[batch, time, size]`, values of the sequence up to each step.
        covariates: `[batch, time, covariates]`, standardised; None where there are none.
    """

    scaling: Scaling
    observed: Tensor
    covariates: Tensor | None


class LagModel(Baseline):
    r"""The next value from the last n: a window, and a normal distribution around a linear map.

    $$x_{t+1} \sim \mathcal{N}\Big(\sum_{k=1}^{n} w_k \, x_{t+1-k} + b, \; \sigma^2\Big)$$

    A missing value is taken to be the last observed one, inside the window. Before anything was
    observed the distribution is that of all training values, whatever their order.

    Args:
        head: says which map; see the subclasses.
        lags: n, in steps.
        size: D, numbers per step.
        covariates: C, numbers per step known in the future.
        scaling: see [`RunningScale`][throughtime.models.scaling.RunningScale]; the noise is in
            units of its scale, so that each series of a table has its own.
    """

    head: Any  # a LagHead; each model has its own kind

    def __init__(
        self, head: "LagHead", lags: int, size: int, *, covariates: int, scaling: str
    ) -> None:
        inputs = LagInputs(size, covariates=covariates, scaling=scaling)
        super().__init__(inputs, Window(lags, 2 * size), head)
        self.lags = lags

    def fit(self, data: Any) -> "LagModel":
        """Learn from one pass over the data; what was learned before is forgotten.

        The sums are kept in float64 and take constant memory. The scales of `fit_scaling` are left
        as they are; where each series has its own, call that first.

        Args:
            data: a source, windows, a batch, or a tensor of numbers `[batch, time, size]`, NaN
                where one is missing.

        Errors:
            InputError: infinite numbers, or no step to learn from.
        """
        self.learn(data, None)
        return self

    def learn(self, data: Any, criterion: str | None) -> None:
        """Gather and settle, in float64 on a copy; see `fit`."""
        twin = copy.deepcopy(self).double()
        twin.head.settle(*twin.gather(data), criterion)
        self.head.load_state_dict(twin.head.state_dict())

    @torch.no_grad()
    def gather(self, data: Any) -> tuple[NormalEquations, NormalEquations, Tensor]:
        """All that the data have to say.

        Returns:
            The sums of the regressions; those of the values, in units of the prior scale; and how
            far values usually lie from their mean, in units of the running scale.
        """
        head, like = self.head, self.like()
        inputs: Any = self.inputs
        settled, early = (NormalEquations.empty(head.size, head.columns, like) for _ in range(2))
        values = NormalEquations.empty(head.size, 1, like)
        state: Any = None
        for fresh, steps in self.windows(data):
            if fresh:
                state = self.initial_state(len(steps.inputs))
            width = len(steps.inputs) * head.size * max(2 * self.lags, head.columns)
            for piece in steps.split(max(1, CHUNK // max(1, width))):
                check_covariates(
                    type(self).__name__, piece.inputs, piece.covariates, self.inputs.covariates
                )
                covariates = None if piece.covariates is None else piece.covariates.double()
                x, y = piece.inputs.double(), hide(piece.targets.double(), piece.mask)
                if y.isinf().any():
                    raise InputError("fit: targets hold infinity, expected finite numbers")
                features, context, scale = inputs(
                    x, state.scale, piece.mask, piece.reset, covariates
                )
                hidden, body = self.body(features, state.body, piece.mask, piece.reset)
                state = AutoregressiveState(scale, body)

                scaling, there = context.scaling, ~y.isnan()
                level = (y - inputs.scale.prior_location) / inputs.scale.prior_scale
                if not values.count.any():
                    head.pivot(_mean(level), _mean((y - scaling.location) / scaling.scale))
                one = torch.ones_like(level).unsqueeze(-1)
                values.add(one, level - head.first_mean, there)
                base, columns, _, complete = head.regressors(hidden, context)
                target = (y - base) / scaling.scale
                old = (context.observed >= SETTLED) | (not inputs.own_scale)
                settled.add(columns, target, there & complete & old)
                early.add(columns, target, there & complete & ~old)
        if (settled.count <= head.columns).any():
            settled = settled.plus(early)
        spread = values.deviation(values.solve())
        return settled, values, torch.ones_like(spread) if inputs.own_scale else spread


class LagInputs(NumberInputs):
    """Each number, or the last observed one where it is missing, and whether there is one.

    Args:
        size, covariates, scaling: see [`NumberInputs`][throughtime.models.inputs.NumberInputs].
    """

    def __init__(self, size: int, *, covariates: int = 0, scaling: str = "none") -> None:
        super().__init__(size, covariates=covariates, scaling=scaling)
        self.output_size = 2 * size

    def forward(
        self,
        x: Float[Tensor, "batch time size"],
        state: Any,
        mask: Bool[Tensor, "batch time"] | None = None,
        reset: Bool[Tensor, "batch time"] | None = None,
        covariates: Float[Tensor, "batch time covariates"] | None = None,
    ) -> tuple[Float[Tensor, "batch time features"], Any, ScaleState]:
        """Values `[batch, time, size]` and, beside them, 1 where known, else 0; a `LagContext`."""
        observed = ~x.isnan() if mask is None else ~x.isnan() & mask.unsqueeze(-1)
        count = running_count(observed, state.count, reset)
        scaling, _, state = self.scale.observe(x, state, mask, reset)
        value = torch.where(observed, x, scaling.last)
        features = torch.cat([value, (count > 0).to(x.dtype)], dim=-1)
        if mask is not None:
            features = torch.where(mask.unsqueeze(-1), features, 0)
        if covariates is not None:
            level = (covariates - self.covariate_location) / self.covariate_scale
            covariates = torch.where(covariates.isnan(), 0, level)
        return features, LagContext(scaling, count, covariates), state


class LagHead(Normal):
    r"""A linear map of the window, and normal noise.

    In units of the series' scale s the location is base / s + columns times coefficients; the
    subclasses say what is base and what are columns.

    Args:
        size: D, numbers per step.
        columns: F, of each number's regression.

    Attributes:
        coefficients: `[size, columns]`.
        deviation: of the noise, `[size]`, in units of the series' scale.
        first_mean: mean of the training values, `[size]`, in units of the prior scale: for the
            first value of a series.
        first_deviation: their deviation, `[size]`, likewise.
    """

    coefficients: Tensor
    deviation: Tensor
    first_mean: Tensor
    first_deviation: Tensor

    def __init__(self, size: int, columns: int) -> None:
        super().__init__(None, size)
        self.columns = columns
        self.register_buffer("coefficients", torch.zeros(size, columns))
        self.register_buffer("deviation", torch.ones(size))
        self.register_buffer("first_mean", torch.zeros(size))
        self.register_buffer("first_deviation", torch.ones(size))

    def forward(
        self, features: Float[Tensor, "batch time window"], context: Any = None
    ) -> Float[Tensor, "batch time parameters"]:
        """Location and scale, in the units of the series."""
        base, columns, known, _ = self.regressors(features, context)
        scaling = context.scaling
        move = torch.einsum("btdf,df->btd", columns, self.coefficients)
        first = scaling.location + scaling.scale * self.first_mean
        location = torch.where(known, base + scaling.scale * move, first)
        scale = scaling.scale * torch.where(known, self.deviation, self.first_deviation)
        return self.pack(location, scale)

    def regressors(
        self, features: Tensor, context: LagContext
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What the location is made of.

        Returns:
            base, `[batch, time, size]`, in the units of the series; columns, `[batch, time, size,
            columns]`; whether any value is known, and whether all that the map wants are,
            `[batch, time, size]`.
        """
        raise NotImplementedError

    def unfold(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Values and whether they are known, each `[batch, time, lags, size]`, lag 1 first."""
        window = features.unflatten(-1, (-1, 2, self.size)).flip(2)
        return window[..., 0, :], window[..., 1, :] > 0

    def pivot(self, first: Tensor, usual: Tensor) -> None:
        """Rough means of the values in both units; sums of distances from them stay precise."""
        self.first_mean.copy_(first)

    def settle(
        self,
        equations: NormalEquations,
        values: NormalEquations,
        usual: Float[Tensor, " size"],
        criterion: str | None,
    ) -> None:
        """Take what the sums of [`LagModel.gather`][throughtime.models.lags.LagModel.gather] say.

        No deviation falls below a small share of the usual one: a series that repeats itself
        exactly has no noise, and its likelihood no upper bound.
        """
        move = values.solve()
        deviation = values.deviation(move)
        self.first_mean += move.squeeze(-1)
        self.first_deviation.copy_(torch.where(deviation > 0, deviation, 1))
        usual = torch.where(usual > 0, usual, 1)
        found = self.solve(equations, usual, criterion)
        self.deviation.copy_(torch.maximum(found, SMALLEST * usual))

    def solve(
        self, equations: NormalEquations, usual: Float[Tensor, " size"], criterion: str | None
    ) -> Float[Tensor, " size"]:
        """Set the coefficients; the deviation of the noise, the usual one without evidence."""
        found = equations.deviation(self.coefficients)
        return torch.where(equations.count > 0, found, usual)


def running_count(
    observed: Bool[Tensor, "batch time size"],
    before: Float[Tensor, "batch size"],
    reset: Bool[Tensor, "batch time"] | None,
) -> Float[Tensor, "batch time size"]:
    """How many values of the sequence were observed, `before` this chunk and up to each step."""
    count = observed.cumsum(1).to(before.dtype)
    if reset is None:
        return count + before.unsqueeze(1)
    begins = reset.unsqueeze(-1)
    earlier = torch.where(begins, count - observed.to(count.dtype), 0).cummax(dim=1).values
    return count - earlier + torch.where(begins.cumsum(1) == 0, before.unsqueeze(1), 0)


def _mean(values: Tensor) -> Tensor:
    """Over rows and time, of what is there."""
    return values.flatten(0, 1).nanmean(0).nan_to_num()
