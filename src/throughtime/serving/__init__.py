"""Trained models at work: sessions that keep their state."""

from throughtime.serving.classes import THRESHOLD, ClassSession, feature_names, verdict
from throughtime.serving.opening import open_session
from throughtime.serving.series import LEVELS, SeriesSession
from throughtime.serving.session import Session
from throughtime.serving.text import TextSession

__all__ = [
    "LEVELS",
    "THRESHOLD",
    "ClassSession",
    "SeriesSession",
    "Session",
    "TextSession",
    "feature_names",
    "open_session",
    "verdict",
]
