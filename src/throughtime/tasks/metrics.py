"""How good a forecast is: of a point, of a distribution, of an interval.

Letters of shapes: N forecasts, H steps ahead, S sample paths. NaN in `actual` is a step that was
never observed; it counts nowhere.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def mean_known(values: Array) -> float:
    """The mean of the values that are not NaN; NaN where there are none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def smape(actual: Array, forecast: Array) -> Array:
    r"""Symmetric absolute percentage error, $200 |y - f| / (|y| + |f|)$, in %, 0 to 200.

    Zero where both are zero.

    References:
        Makridakis 1993, "Accuracy measures: theoretical and practical concerns".
    """
    size = np.abs(actual) + np.abs(forecast)
    return 200 * np.abs(actual - forecast) / np.where(size == 0, 1, size)


def naive_error(values: Array, season: int) -> float:
    """The mean absolute change over one season: the in-sample error of the seasonal naive forecast.

    What MASE divides by. NaN where no two values one season apart are known.

    Args:
        values: `[time]`, the training part of a series.
        season: in steps; 1 compares neighbours.
    """
    change = np.abs(values[season:] - values[:-season])
    return mean_known(change)


def crps(samples: Array, actual: Array) -> Array:
    r"""Continuous ranked probability score of sample paths, in the units of the series.

    $$\mathrm{CRPS} = \operatorname{E}|X - y| - \tfrac12 \operatorname{E}|X - X'|$$

    with the unbiased estimate of the second expectation, so that the number of paths does not
    matter on average. For one sample it is the absolute error.

    Args:
        samples: `[N, S, H]`.
        actual: `[N, H]`.

    Returns:
        `[N, H]`.

    References:
        Gneiting and Raftery 2007, "Strictly proper scoring rules, prediction, and estimation";
        Zamo and Naveau 2018 on estimating it from samples.
    """
    count = samples.shape[1]
    error = np.abs(samples - actual[:, None]).mean(1)
    if count < 2:
        return error
    ordered = np.sort(samples, axis=1)
    # Each ordered value stands above `rank` others and below the rest.
    weight = (2 * np.arange(count) - count + 1)[None, :, None]
    return error - (weight * ordered).sum(1) / (count * (count - 1))


def coverage(samples: Array, actual: Array, share: float) -> Array:
    """Whether what happened lies in the central interval of that share of the samples: 0, 1, NaN.

    Args:
        samples: `[N, S, H]`.
        actual: `[N, H]`.
        share: of outcomes, 0 to 1.
    """
    lower, upper = np.quantile(samples, [(1 - share) / 2, (1 + share) / 2], axis=1)
    inside = (lower <= actual) & (actual <= upper)
    return np.where(np.isnan(actual), np.nan, inside)
