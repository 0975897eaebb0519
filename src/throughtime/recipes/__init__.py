"""Recipes: functions that each return one complete, frozen configuration of one run."""

from throughtime.recipes.classification import classification
from throughtime.recipes.forecast import forecast
from throughtime.recipes.language import language
from throughtime.recipes.published import ptb_small_lstm, shakespeare_transformer
from throughtime.recipes.published_classes import CLASSES, clothing, reviews
from throughtime.recipes.published_pairs import PAIRS, captions, pronunciation
from throughtime.recipes.translation import translation

__all__ = [
    "PUBLISHED",
    "captions",
    "classification",
    "clothing",
    "forecast",
    "language",
    "pronunciation",
    "ptb_small_lstm",
    "reviews",
    "shakespeare_transformer",
    "translation",
]

PUBLISHED = {
    "ptb-small-lstm": ptb_small_lstm,
    "shakespeare-transformer": shakespeare_transformer,
    **PAIRS,
    **CLASSES,
}
"""Recipes of published models by the names that commands know them by."""
