"""Sessions on examples of classes, and how an answer is put into words."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from throughtime.data.labels import Labels
from throughtime.data.ts_format import MISSING
from throughtime.errors import InputError
from throughtime.models.classifier import Classifier
from throughtime.models.image_inputs import ImageInputs
from throughtime.serving.series import to_number
from throughtime.serving.session import Session
from throughtime.shapes import Float, Tensor
from throughtime.tasks.class_logits import probabilities
from throughtime.training.run import Run

THRESHOLD = 0.5
"""Of several classes those are named that are at least so likely."""


class ClassSession(Session[Classifier]):
    """A session on one sequence: after each step, which class it is of as far as it came.

    Texts come in pieces of any length, and are judged as text in one if the pieces end where tokens
    do, as for [`TextSession`][throughtime.serving.TextSession]. However long a text gets it is not
    cut. Where each step has a class of its own, an answer is about the last one.

    Its state is the model's, and the logits of the last answer.

    Args:
        run: the trained model, its classes, and of texts its vocabulary.

    Attributes:
        step: steps, or tokens, of this sequence so far.

    Errors:
        InputError: a run on images, or a model that sees whole sequences only.
    """

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        assert run.labels is not None
        if isinstance(self.model.inputs, ImageInputs):
            raise InputError(
                f"{run.folder} is a run on images, which come whole and have no session; "
                f"throughtime predict {run.folder} answers them"
            )
        if not self.model.causal:
            raise InputError(
                f"{run.folder} has a model that sees the whole input and cannot answer before its "
                "end; throughtime fit ... --causal makes one that can"
            )
        self.labels: Labels = run.labels
        self.step = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The features of a series, in their order; none of a text."""
        return feature_names(self.run) if self.run.vocabulary is None else ()

    def begin(self) -> None:
        """Begin the next sequence: what came so far is forgotten."""
        self.state, self.step = None, 0

    @torch.inference_mode()
    def observe(self, observation: Any) -> dict[str, Any]:
        """Take in a step, or a piece of text.

        Args:
            observation: an object with the features by name, None or absent where one is missing;
                a list of them; a number, where there is one feature; or some text.

        Returns:
            `step`, steps of this sequence so far; `label`, `probability` and `probabilities`, see
            [`verdict`][throughtime.serving.verdict]. No text changes nothing.
        """
        x = self._tokens(observation) if self.run.vocabulary else self._numbers(observation)
        if x.shape[1]:
            state = None if self.state is None else self.state[0]
            answers, state = self.model(x, state)
            logits = answers[:, -1]
            self.state = (state, logits)
        elif self.state is not None:
            logits = self.state[1]
        else:  # as a text of no tokens is judged; and what comes next begins the sequence
            begin = x.new_full((1, 1), self.run.vocabulary.begin)
            logits = self.model(begin, None)[0][:, -1]
        self.step += x.shape[1]
        self.observed += x.shape[1]
        shares = probabilities(logits.cpu(), self.labels.kind)[0]
        return {"step": self.step, **verdict(shares, self.labels)}

    def _tokens(self, observation: Any) -> Tensor:
        if not isinstance(observation, str):
            raise InputError(f"expected text, got {observation!r}")
        ids = torch.from_numpy(self.run.vocabulary.encode(observation))[None]
        return ids.to(self.model.like().device)

    def _numbers(self, observation: Any) -> Float[Tensor, "1 1 features"]:
        names = self.names
        if isinstance(observation, Mapping):
            unknown = [name for name in observation if name not in names]
            if unknown:
                raise InputError(f"unknown feature {unknown[0]!r}, expected {', '.join(names)}")
            observation = [observation.get(name) for name in names]
        elif not isinstance(observation, Sequence) or isinstance(observation, str):
            if len(names) > 1:
                raise InputError(
                    f"expected an object or a list with {', '.join(names)}, got {observation!r}"
                )
            observation = [observation]
        if len(observation) != len(names):
            raise InputError(
                f"expected {len(names)} numbers ({', '.join(names)}), got {len(observation)}"
            )
        row = [_number(*each) for each in zip(names, observation, strict=True)]
        like = self.model.like()
        x = torch.tensor([[row]], dtype=like.dtype, device=like.device)
        for name, value, stored in zip(names, row, x.flatten().tolist(), strict=True):
            if math.isinf(stored):
                raise InputError(f"{name} is {value:g}, which is beyond {like.dtype}")
        return x

    def _more(self) -> dict[str, Any]:
        return {"step": self.step}

    def _take(self, tree: Mapping[str, Any]) -> None:
        self.step = tree["step"]


def _number(name: str, value: Any) -> float:
    """A number; NaN for whatever stands for a missing one in labelled files."""
    if isinstance(value, str) and value.strip().lower() in MISSING:
        return math.nan
    return to_number(name, value)


def feature_names(run: Run) -> tuple[str, ...]:
    """What the numbers of a run's series are called: columns of a table or fields of JSON.

    Files without names for them have `value` where there is one, else `dim_0`, `dim_1` and so on.
    """
    named, count = tuple(run.config.data.features.split(",")), run.config.model.targets
    if run.config.data.features and len(named) == count:
        return tuple(name.strip() for name in named)
    return ("value",) if count == 1 else tuple(f"dim_{at}" for at in range(count))


def verdict(shares: np.ndarray, labels: Labels) -> dict[str, Any]:
    """What probabilities of classes say.

    Args:
        shares: `[classes]`, probabilities.
        labels: what classes are called.

    Returns:
        `label`, the likeliest class, and its `probability`; `probabilities` of all by name. Where
        an example may have several classes, `label` is a list of those that are likelier there than
        not, and `probability` that of the least sure decision: of all classes, named or not, the
        one nearest to 1/2.

    Examples:
        >>> verdict(np.array([0.25, 0.75]), Labels(("no", "yes")))["label"]
        'yes'
        >>> found = verdict(np.array([0.9, 0.4]), Labels(("new", "used"), "several"))
        >>> found["label"], found["probability"]
        (['new'], 0.6)
    """
    each = dict(zip(labels.names, shares.tolist(), strict=True))
    if labels.kind == "several":
        there = [name for name, share in each.items() if share >= THRESHOLD]
        sure = min(max(share, 1 - share) for share in each.values())
        return {"label": there, "probability": sure, "probabilities": each}
    likeliest = labels.names[int(shares.argmax())]
    return {"label": likeliest, "probability": each[likeliest], "probabilities": each}
