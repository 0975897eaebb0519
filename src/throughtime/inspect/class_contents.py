"""What a report shows of classifiers, as plain data: what was confused, how sure, how early.

Like [`contents`][throughtime.inspect.contents] it knows nothing of how a model is trained or a page
is drawn.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import SupportsFloat

import numpy as np

from throughtime.errors import InputError

Numbers = Sequence[SupportsFloat] | np.ndarray
"""A list of numbers, or an array of one axis."""


@dataclass(frozen=True, eq=False)
class Confusion:
    r"""How often each class was taken for which.

    Of the $n_{tp}$ rows of class t that were taken for p, a figure shows the share

    $$s_{tp} = \frac{n_{tp}}{\sum_q n_{tq}}$$

    Args:
        model: the name it has in every table and figure.
        names: of the classes.
        counts: whole numbers `[truth, predicted]`; on the diagonal is what was right.

    Errors:
        InputError: counts of another shape or type, or below zero.

    Examples:
        >>> seen = Confusion("gru", ("cat", "dog"), np.array([[8, 2], [1, 4]]))
        >>> seen.accuracy, seen.mistakes(1)
        (0.8, [(0, 1, 2)])
    """

    model: str
    names: tuple[str, ...]
    counts: np.ndarray

    def __post_init__(self) -> None:
        wanted, shape = [len(self.names)] * 2, list(self.counts.shape)
        if shape != wanted or not self.names:
            raise InputError(
                f"Confusion: counts of {self.model} have shape {shape}, expected "
                f"{wanted if self.names else 'some'}, [truth, predicted]"
            )
        if not np.issubdtype(self.counts.dtype, np.integer):
            raise InputError(
                f"Confusion: counts of {self.model} are {self.counts.dtype}, expected whole numbers"
            )
        if self.counts.min() < 0:
            raise InputError(
                f"Confusion: counts of {self.model} go down to {self.counts.min()}, expected "
                "none below 0"
            )

    @property
    def shares(self) -> np.ndarray:
        """Of each class the share taken for each; zeros for a class that does not occur."""
        return self.counts / np.maximum(self.counts.sum(1, keepdims=True), 1)

    @property
    def accuracy(self) -> float:
        """The share of all rows that is right; NaN without any."""
        rows = int(self.counts.sum())
        return int(self.counts.trace()) / rows if rows else math.nan

    def mistakes(self, most: int) -> list[tuple[int, int, int]]:
        """The most frequent mistakes: truth, answer and how often, in falling order."""
        wrong = self.counts.copy()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        places = (divmod(int(at), len(self.names)) for at in order)
        return [(t, p, int(wrong[t, p])) for t, p in places if wrong[t, p]]


@dataclass(frozen=True, eq=False)
class Reliability:
    r"""Whether a model is right as often as it says.

    Rows are sorted into bins by their confidence, the probability of the answer. With $n_b$ of n
    rows in bin b, of mean confidence $c_b$ and accuracy $a_b$, the expected calibration error is

    $$\mathrm{ECE} = \sum_b \frac{n_b}{n} \lvert a_b - c_b \rvert$$

    Args:
        model: the name it has in every table and figure.
        edges: of the bins, one more than there are bins, rising within 0 to 1.
        confidence: mean of each bin, from 0 to 1; NaN where it is empty.
        accuracy: of each bin, from 0 to 1; NaN where it is empty.
        count: rows in each bin.
        ece: the error above, a share from 0 to 1 and not in %; may come from other bins.
        temperature: what the logits were divided by before; None where they were left alone.

    Errors:
        InputError: parts of other lengths, or values outside of what is said here.

    Examples:
        >>> Reliability("gru", [0, 0.5, 1], [0.4, 0.9], [0.5, 0.8], [10, 30], ece=0.1).rows
        40
    """

    model: str
    edges: Numbers
    confidence: Numbers
    accuracy: Numbers
    count: Numbers
    ece: float
    temperature: float | None = None

    def __post_init__(self) -> None:
        edges = np.asarray(self.edges, dtype=float)
        rising = edges.size > 1 and edges[0] >= 0 and edges[-1] <= 1 and (np.diff(edges) > 0).all()
        if not rising:
            raise InputError(
                f"Reliability: edges of {self.model} are {_listed(edges)}, expected at least two, "
                "rising from 0 or more to 1 or less"
            )
        for name in ("confidence", "accuracy", "count"):
            values = np.asarray(getattr(self, name), dtype=float)
            if values.shape != (edges.size - 1,):
                raise InputError(
                    f"Reliability: {name} of {self.model} has {values.size} values, expected "
                    f"{edges.size - 1}, one per bin"
                )
            highest = math.inf if name == "count" else 1
            if (values < 0).any() or (values > highest).any():
                wanted = "0 or more" if name == "count" else "values from 0 to 1"
                raise InputError(
                    f"Reliability: {name} of {self.model} is {_listed(values)}, expected {wanted}"
                )
        if self.ece < 0 or self.ece > 1:
            raise InputError(
                f"Reliability: ece of {self.model} is {self.ece:g}, expected a share from 0 to 1"
            )
        if self.temperature is not None and not 0 < self.temperature < math.inf:
            raise InputError(
                f"Reliability: temperature of {self.model} is {self.temperature:g}, expected a "
                "number above 0"
            )

    @property
    def rows(self) -> int:
        """How many there are in all bins."""
        return int(np.nansum(np.asarray(self.count, dtype=float)))


@dataclass(frozen=True)
class Early:
    """How right answers are that are given before the end.

    Args:
        models: model to a mapping from the share of the sequence seen, above 0 up to 1, to the
            accuracy in %.

    Errors:
        InputError: a share or an accuracy outside of that.

    Examples:
        >>> Early({"gru": {0.5: 71.0, 1.0: 90.0}}).models["gru"][0.5]
        71.0
    """

    models: Mapping[str, Mapping[float, float]]

    def __post_init__(self) -> None:
        for model, line in self.models.items():
            for share, accuracy in line.items():
                if not 0 < share <= 1:
                    raise InputError(
                        f"Early: {model} has the share {share:g}, expected one above 0 and up to 1"
                    )
                if accuracy < 0 or accuracy > 100:
                    raise InputError(
                        f"Early: accuracy of {model} at {share:g} is {accuracy:g}, expected 0 to "
                        "100, in %"
                    )


@dataclass(frozen=True, eq=False)
class Wrong:
    """A row that a model is most wrong about, and what was given to it.

    Args:
        name: by which the row is found again.
        truth: its class.
        answer: the class it was taken for.
        probability_of_truth: from 0 to 1.
        probability_of_answer: from 0 to 1.
        text: what was given, if it is a text.
        image: or an image, uint8 `[channels, height, width]`.
        series: or a series `[time, features]`, NaN where a value is missing.

    Errors:
        InputError: a probability outside of 0 to 1, an image or series of another form.

    Examples:
        >>> Wrong("7", "good", "bad", 0.02, 0.98, text="not bad at all").answer
        'bad'
    """

    name: str
    truth: str
    answer: str
    probability_of_truth: float
    probability_of_answer: float
    text: str = ""
    image: np.ndarray | None = None
    series: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in ("probability_of_truth", "probability_of_answer"):
            value = getattr(self, name)
            if value < 0 or value > 1:
                raise InputError(
                    f"Wrong: {name} of {self.name} is {value:g}, expected a share from 0 to 1"
                )
        image, series = self.image, self.series
        if image is not None and (image.ndim != 3 or image.dtype != np.uint8 or not image.size):
            raise InputError(
                f"Wrong: image of {self.name} is {image.dtype} of shape {list(image.shape)}, "
                "expected uint8 of shape [channels, height, width]"
            )
        if series is not None and series.ndim != 2:
            raise InputError(
                f"Wrong: series of {self.name} has shape {list(series.shape)}, expected "
                "[time, features]"
            )


@dataclass(frozen=True)
class ClassPart:
    """What a report shows of classifiers; what is empty is left out.

    Args:
        confusion: of each model that is shown.
        reliability: likewise.
        early: answers before the end.
        wrong: rows that one model is most wrong about, the worst first.
        wrong_model: that model.

    Errors:
        InputError: rows without a model.

    Examples:
        >>> part = ClassPart(early=Early({"gru": {1.0: 90.0}}))
        >>> part.models()
        ['gru']
    """

    confusion: Sequence[Confusion] = ()
    reliability: Sequence[Reliability] = ()
    early: Early | None = None
    wrong: Sequence[Wrong] = ()
    wrong_model: str = ""

    def __post_init__(self) -> None:
        if self.wrong and not self.wrong_model:
            raise InputError(
                "ClassPart: wrong_model is empty, expected the model that is wrong about "
                f"{len(self.wrong)} rows"
            )

    def models(self) -> list[str]:
        """Every model in it, each once, in order of appearance."""
        named = [one.model for part in (self.confusion, self.reliability) for one in part]
        named += [*self.early.models] if self.early else []
        named += [self.wrong_model] if self.wrong else []
        return list(dict.fromkeys(named))


def _listed(values: np.ndarray) -> str:
    """A few numbers for a message."""
    few = ", ".join(f"{value:g}" for value in values.ravel()[:6])
    return f"[{few}{', ...' if values.size > 6 else ''}]"
