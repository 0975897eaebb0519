"""Trained models at work: sessions that keep their state."""

from throughtime.serving.opening import open_session
from throughtime.serving.series import LEVELS, SeriesSession
from throughtime.serving.session import Session
from throughtime.serving.text import TextSession

__all__ = ["LEVELS", "SeriesSession", "Session", "TextSession", "open_session"]
