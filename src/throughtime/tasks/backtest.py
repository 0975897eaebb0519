"""What a rolling-origin backtest found: forecasts beside what happened, and what they are worth."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from throughtime.tasks import metrics
from throughtime.tasks.metrics import Array, mean_known


@dataclass(frozen=True)
class Backtest:
    """Forecasts from many origins, and what happened.

    Attributes:
        series: `[N]`, which series of the table each forecast is for.
        origins: `[N]`, the row of its first step.
        actual: `[N, H, D]`; NaN was never observed.
        samples: `[N, S, H, D]`, sample paths.
        naive: `[series, D]`, the in-sample error of the seasonal naive forecast, for MASE.
        spread: `[series, D]`, the deviation of the training values.
        mean: `[series, D]`, their mean.
    """

    series: NDArray[np.int64]
    origins: NDArray[np.int64]
    actual: Array
    samples: Array
    naive: Array
    spread: Array
    mean: Array

    def metrics(self, *, scaled: bool) -> dict[str, float]:
        """The figures of merit, as means over forecasts, steps ahead and targets.

        Args:
            scaled: measure RMSE and CRPS in training deviations of each series rather than in its
                units; for tables of series of different size.

        Returns:
            `mase`, `smape` (%), `rmse`, `crps`, `cover80` and `cover95` (%), and `mse_scaled` and
            `mae_scaled` as the papers on long horizons report them.
        """
        median, mean = np.median(self.samples, axis=1), self.samples.mean(1)
        spread = _per(self.spread[self.series])
        unit = spread if scaled else np.ones_like(spread)
        error = self.actual - median
        naive = _per(self.naive[self.series])
        flat = [self.samples[..., d] for d in range(self.samples.shape[-1])]
        crps = np.stack([metrics.crps(s, self.actual[..., d]) for d, s in enumerate(flat)], -1)
        inside = {
            share: np.stack(
                [metrics.coverage(s, self.actual[..., d], share) for d, s in enumerate(flat)], -1
            )
            for share in (0.8, 0.95)
        }
        return {
            "mase": mean_known(np.abs(error) / np.where(naive > 0, naive, np.nan)),
            "smape": mean_known(metrics.smape(self.actual, median)),
            "rmse": mean_known(((self.actual - mean) / unit) ** 2) ** 0.5,
            "crps": mean_known(crps / unit),
            "cover80": 100 * mean_known(inside[0.8]),
            "cover95": 100 * mean_known(inside[0.95]),
            "mse_scaled": mean_known(((self.actual - mean) / spread) ** 2),
            "mae_scaled": mean_known(np.abs(error) / spread),
        }

    def lead_error(self, *, scaled: bool) -> Array:
        """`[H]`, the mean absolute error of the median at 1, 2, ... steps ahead."""
        error = np.abs(self.actual - np.median(self.samples, axis=1))
        if scaled:
            error = error / _per(self.spread[self.series])
        with np.errstate(invalid="ignore"):
            known = ~np.isnan(error)
            return np.where(known, error, 0).sum((0, 2)) / known.sum((0, 2))


def _per(values: Array) -> Array:
    """`[N, D]` beside `[N, H, D]`."""
    return values[:, None]
