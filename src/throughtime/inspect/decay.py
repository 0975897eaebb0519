"""How fast norms fall with the lag: a factor per step, and where half is left."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

__all__ = ["SMALLEST", "half_life_of", "rate_of"]

SMALLEST = 1e-30
"""Times the largest norm: below this float32 has no digits left."""


def rate_of(lags: Sequence[int], curve: Sequence[float]) -> float:
    r"""$r$ in $\text{norm}_k \approx a\,r^k$, by least squares; NaN with fewer than two norms."""
    k, norm = np.array(lags, dtype=float), np.array(curve, dtype=float)
    known = np.isfinite(norm)
    known &= norm > SMALLEST * norm[known].max(initial=0)
    if known.sum() < 2:
        return math.nan
    k, log = k[known] - k[known].mean(), np.log(norm[known])
    return math.exp((k @ log) / (k @ k))


def half_life_of(lags: Sequence[int], curve: Sequence[float]) -> float:
    """Lags until a curve is first half of its beginning; infinite where it stays above."""
    half = curve[0] / 2
    for (k, norm), (later, lower) in pairwise(zip(lags, curve, strict=True)):
        if lower <= half < norm:
            passed = math.log(norm / half) / math.log(norm / max(lower, SMALLEST * norm))
            return k + passed * (later - k) - lags[0]
    return math.inf if half > 0 else math.nan
