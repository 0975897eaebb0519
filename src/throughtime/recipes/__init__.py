"""Recipes: functions that each return one complete, frozen configuration of one run."""

from throughtime.recipes.forecast import forecast
from throughtime.recipes.language import language
from throughtime.recipes.published import ptb_small_lstm, shakespeare_transformer

__all__ = ["PUBLISHED", "forecast", "language", "ptb_small_lstm", "shakespeare_transformer"]

PUBLISHED = {
    "ptb-small-lstm": ptb_small_lstm,
    "shakespeare-transformer": shakespeare_transformer,
}
"""Recipes of published models by the names that commands know them by."""
