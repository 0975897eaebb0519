"""Recipes: functions that each return one complete, frozen configuration of one run."""

from throughtime.recipes.forecast import forecast
from throughtime.recipes.language import language

__all__ = ["forecast", "language"]
