"""Heads: from what the body knows to the distribution of the next value.

A head turns features into `parameters` `[batch, time, P]`, and parameters into everything that is
asked of a distribution: density, loss, samples, quantiles. For numbers the parameters are in the
units of the series already; zeros, which is what a padded step holds, stand for some harmless
distribution, so nothing that is computed there can fail.
"""

from throughtime.models.heads.base import Head, NumberHead
from throughtime.models.heads.categorical import Categorical
from throughtime.models.heads.counts import NegativeBinomial
from throughtime.models.heads.normal import Normal, StudentT
from throughtime.models.heads.quantiles import LEVELS, PiecewiseQuantile, Quantiles

__all__ = [
    "LEVELS",
    "Categorical",
    "Head",
    "NegativeBinomial",
    "Normal",
    "NumberHead",
    "PiecewiseQuantile",
    "Quantiles",
    "StudentT",
]
