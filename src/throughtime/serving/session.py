"""A session: one observation in, one prediction out, the state kept in between.

What it answers is what a run over the whole sequence would say at that step, and its memory never
grows: it is a model, a state, and the time of the last observation.
"""

import zlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from throughtime import state as states
from throughtime.errors import InputError
from throughtime.layers.base import Layer
from throughtime.state import State
from throughtime.training.run import Run

M = TypeVar("M", bound=Layer)
"""What the model of a session is."""


class Session(Generic[M]):
    """What sessions on series, on text and on classes share.

    Args:
        run: the trained model and how its data were read.

    Attributes:
        observed: observations so far.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.model: M = run.model
        self.state: State = None
        self.observed = 0

    @property
    def names(self) -> tuple[str, ...]:
        """What the numbers of an observation are called; none of text."""
        return ()

    @property
    def allowed(self) -> tuple[str, ...]:
        """All names that an observation may have."""
        return self.names

    def observe(self, observation: Any) -> dict[str, Any]:
        """Take in one observation and answer it.

        Errors:
            InputError: an observation that does not fit; the session is as it was before.
        """
        raise NotImplementedError

    def save(self, path: Path) -> None:
        """Write all that is needed to go on later: a few kilobytes."""
        tree = {"model": self._model_mark, "observed": self.observed, "state": self.state}
        states.save_tree({**tree, **self._more()}, path)

    def restore(self, path: Path) -> None:
        """Go on where `save` was called.

        Errors:
            InputError: not the state of a session of this model; the session is as it was before.
        """
        if not path.is_file():
            raise InputError(f"{path} is no file, expected the state of a session")
        tree = states.load_tree(path, self.model.like().device)
        if not isinstance(tree, dict) or not {"model", "observed", "state"} <= set(tree):
            raise InputError(f"{path} is not the state of a session")
        if tree["model"] != self._model_mark:
            raise InputError(
                f"{path} is the state of a session of another model than {self.run.folder}; "
                "remove it to start anew"
            )
        self._take(tree)
        self.observed, self.state = tree["observed"], tree["state"]

    @cached_property
    def _model_mark(self) -> int:
        """A number that tells this model's weights from another's, whatever device they are on."""
        mark = 0
        for name, value in sorted(self.model.state_dict().items()):
            mark = zlib.crc32(name.encode() + value.cpu().contiguous().numpy().tobytes(), mark)
        return mark

    def _more(self) -> dict[str, Any]:
        return {}

    def _take(self, tree: Mapping[str, Any]) -> None:
        pass
