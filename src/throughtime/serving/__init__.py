"""Trained models at work: sessions that keep their state."""

from throughtime.serving.session import SeriesSession, Session, TextSession, open_session

__all__ = ["SeriesSession", "Session", "TextSession", "open_session"]
