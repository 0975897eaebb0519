"""Forecasts from the last few values: last value, seasonal naive, linear autoregression."""

from typing import Any

import torch

from throughtime.errors import InputError
from throughtime.layers.base import check_size
from throughtime.models.lags import LagContext, LagHead, LagModel
from throughtime.models.least_squares import NormalEquations, check_criterion, choose
from throughtime.shapes import Float, Tensor


class SeasonalNaive(LagModel):
    r"""The value of one season ago: $x_{t+1} \sim \mathcal{N}(x_{t+1-m}, \sigma^2)$.

    Where the history is shorter than a season it is the last value.

    Args:
        season: m, in steps.
        size: D, numbers per step.
        covariates: C; they are taken and not used.
        scaling: the units of the noise; see
            [`RunningScale`][throughtime.models.scaling.RunningScale].

    Examples:
        >>> x = torch.tensor([[[1.0], [2.0], [3.0], [1.0], [2.0]]])
        >>> parameters, state = (model := SeasonalNaive(season=3))(x)
        >>> model.head.point(parameters)[0, :, 0].tolist()
        [1.0, 2.0, 1.0, 2.0, 3.0]
    """

    def __init__(
        self, season: int, size: int = 1, *, covariates: int = 0, scaling: str = "none"
    ) -> None:
        check_size("SeasonalNaive", "season", season)
        head = SeasonalHead(size)
        super().__init__(head, season, size, covariates=covariates, scaling=scaling)
        self.season = season


class LastValue(SeasonalNaive):
    r"""The last value again, a random walk: $x_{t+1} \sim \mathcal{N}(x_t, \sigma^2)$.

    Args:
        size, covariates, scaling: see [`SeasonalNaive`][throughtime.models.linear.SeasonalNaive].

    Examples:
        >>> x = torch.tensor([[[1.0], [3.0], [torch.nan]]])
        >>> parameters, state = (model := LastValue())(x)
        >>> model.head.point(parameters)[0, :, 0].tolist()
        [1.0, 3.0, 3.0]
    """

    def __init__(self, size: int = 1, *, covariates: int = 0, scaling: str = "none") -> None:
        super().__init__(1, size, covariates=covariates, scaling=scaling)


class SeasonalHead(LagHead):
    """The oldest value of the window, as it is.

    Args:
        size: D, numbers per step.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size, 0)

    def regressors(
        self, features: Tensor, context: LagContext
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The value of one season ago, or the last one; no columns."""
        value, known = self.unfold(features)
        base = torch.where(known[:, :, -1], value[:, :, -1], value[:, :, 0])
        return base, base.new_zeros(*base.shape, 0), known[:, :, 0], known[:, :, -1]


class LinearAutoregression(LagModel):
    r"""Linear autoregression by least squares, in closed form.

    In units of the series' scale, from the mean of the training values,

    $$x_{t+1,d} = b_d + \sum_{k=1}^{n} w_{d,k} \, x_{t+1-k,d} + v_d \cdot c_{t+1} + \epsilon_d,
    \qquad \epsilon_d \sim \mathcal{N}(0, \sigma_d^2)$$

    Each number is regressed on its own past; with `cross` on that of all. Only steps with n values
    before them are learned from; where fewer are known, the mean stands in for the others. The
    noise has the deviation of the residuals.

    Args:
        lags: n, in steps; see `fit` on choosing it.
        size: D, numbers per step.
        covariates: C, numbers per step known in the future, of the step that is predicted.
        scaling: see [`RunningScale`][throughtime.models.scaling.RunningScale]. For one series it
            makes no difference; for a table of series of different size take `mean` or `standard`.
        cross: regress each number on the past of all.

    Examples:
        >>> t = torch.arange(200.0)
        >>> x = torch.sin(t / 3).view(1, -1, 1)  # a sine follows x[t] = 2 cos(1/3) x[t-1] - x[t-2]
        >>> model = LinearAutoregression(lags=2).fit(x)
        >>> [round(w, 3) for w in model.weights[0].tolist()]
        [1.89, -1.0]
    """

    def __init__(
        self,
        lags: int,
        size: int = 1,
        *,
        covariates: int = 0,
        scaling: str = "none",
        cross: bool = False,
    ) -> None:
        check_size("LinearAutoregression", "lags", lags)
        head = RegressionHead(lags, size, covariates, cross=cross)
        super().__init__(head, lags, size, covariates=covariates, scaling=scaling)

    @property
    def weights(self) -> Float[Tensor, "size past"]:
        """`[size, lags]`, lag 1 first; with `cross` `[size, lags * size]`, a lag's together."""
        return self.head.coefficients[:, : self.head.past]

    @property
    def chosen(self) -> int:
        """How many lags `fit` has chosen; the weights of the others are zero."""
        return int(self.head.chosen)

    def fit(self, data: Any, *, criterion: str | None = None) -> "LinearAutoregression":
        """Learn from one pass over the data; what was learned before is forgotten.

        Args:
            data: as for [`LagModel.fit`][throughtime.models.lags.LagModel.fit].
            criterion: `bic` or `aic` chooses how many of the lags to use, from 1 to all, by what
                the fit is worth less what its weights cost; the other weights are zero. All the
                candidates come from the sums of the same pass. None uses all lags.

        Errors:
            InputError: infinite numbers, or no step with enough values before it.
        """
        check_criterion(criterion)
        self.learn(data, criterion)
        return self


class RegressionHead(LagHead):
    """A weight for each value of the window and each covariate, and a shift.

    Args:
        lags: n, in steps.
        size: D, numbers per step.
        covariates: C, numbers per step.
        cross: the values of all D numbers are columns of each regression.

    Attributes:
        coefficients: `[size, columns]`: lags, the latest first, covariates, shift. Before `fit`
            the last value has weight 1 and the others 0.
        chosen: how many lags have weights, at most `lags`.
        mean: of the training values, `[size]`, from the series' location in its scale.
    """

    chosen: Tensor
    mean: Tensor

    def __init__(self, lags: int, size: int, covariates: int, *, cross: bool) -> None:
        past = lags * size if cross else lags
        super().__init__(size, past + covariates + 1)
        self.lags = lags
        self.past = past
        self.cross = cross
        self.register_buffer("chosen", torch.tensor(lags))
        self.register_buffer("mean", torch.zeros(size))
        latest = self.coefficients[:, : size if cross else 1]
        latest.copy_(torch.eye(size) if cross else torch.ones(size, 1))

    def regressors(
        self, features: Tensor, context: LagContext
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The mean of the training values; the values of the window from there, covariates, 1."""
        value, known = self.unfold(features)
        base = context.scaling.location + context.scaling.scale * self.mean
        scale = context.scaling.scale.unsqueeze(2)
        z = torch.where(known, (value - base.unsqueeze(2)) / scale, 0)
        if self.cross:
            past = z.flatten(2).unsqueeze(2).expand(-1, -1, self.size, -1)
            complete = known.flatten(2).all(-1, keepdim=True).expand_as(base)
        else:
            past, complete = z.transpose(2, 3), known.all(2)
        columns = [past]
        if context.covariates is not None:
            columns.append(context.covariates.unsqueeze(2).expand(-1, -1, self.size, -1))
        columns.append(torch.ones_like(past[..., :1]))
        return base, torch.cat(columns, dim=-1), known[:, :, 0], complete

    def pivot(self, first: Tensor, usual: Tensor) -> None:
        """The columns are counted from a mean, too."""
        super().pivot(first, usual)
        self.mean.copy_(usual)

    def solve(
        self, equations: NormalEquations, usual: Float[Tensor, " size"], criterion: str | None
    ) -> Float[Tensor, " size"]:
        """Least squares with the first 1, 2, ... or with all lags."""
        if not equations.count.all():
            raise InputError(
                f"LinearAutoregression: lags is {self.lags}, but no step of the data has that many "
                "values before it; choose fewer"
            )
        each, rest = self.past // self.lags, torch.arange(self.past, self.columns)
        sets = [torch.cat([torch.arange(lags * each), rest]) for lags in range(1, self.lags + 1)]
        best = self.lags if criterion is None else 1 + choose(equations, sets, criterion)
        columns = sets[best - 1].to(self.coefficients.device)
        used = equations.narrow(columns)
        found = used.solve()
        self.chosen.fill_(best)
        self.coefficients.zero_()
        self.coefficients[:, columns] = found
        # From the pivot, p, to the mean: y - p = w (x - p) + b; the last column is that of ones.
        move = used.moment[:, -1] / used.count
        weights = self.coefficients[:, : self.past].unflatten(1, (self.lags, each)).sum(1)
        pulled = weights @ move if self.cross else weights.squeeze(1) * move
        self.coefficients[:, -1] += pulled - move
        self.mean += move
        return used.deviation(found)
