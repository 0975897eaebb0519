"""From a run to a session."""

from collections.abc import Sequence

from throughtime.data.pair_vocabulary import PairVocabulary
from throughtime.errors import InputError
from throughtime.serving.classes import ClassSession
from throughtime.serving.series import LEVELS, SeriesSession
from throughtime.serving.session import Session
from throughtime.serving.text import TextSession
from throughtime.training.run import Run


def open_session(run: Run, start: str | None = None, levels: Sequence[float] = LEVELS) -> Session:
    """A session on whatever the run is about.

    Args:
        run: the trained model.
        start: of a series: the time of the first observation, where observations come without.
        levels: of a series: quantiles of each answer.

    Errors:
        InputError: a start for text or classes, a run on pairs, or one on classes whose model
            cannot answer before the end.
    """
    if run.labels is not None:
        if start is not None:
            raise InputError(f"start is {start!r}, expected none: this run is about classes")
        return ClassSession(run)
    if isinstance(run.vocabulary, PairVocabulary):
        raise InputError(
            f"{run.folder} is a run on pairs: it answers whole sources and has no session; "
            f"throughtime predict {run.folder} answers them line by line"
        )
    if run.vocabulary is None:
        return SeriesSession(run, start, levels)
    if start is not None:
        raise InputError(f"start is {start!r}, expected none: this run is about text")
    return TextSession(run)
