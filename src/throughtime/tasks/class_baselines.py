"""What any classifier must beat: the frequent class, the nearest example, a logistic regression."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from throughtime.data.examples import Examples
from throughtime.data.labels import Labels
from throughtime.errors import InputError, MissingExtra
from throughtime.tasks.class_encodings import RESAMPLED, Grams, Standard, finder, pixels, summaries
from throughtime.tasks.class_scores import class_scores, several_scores

KNOWN_MOST = 50_000
"""Training texts among which the nearest is looked for."""

ASKED = 500
"""Examples on which the nearest is tried, to learn how far to trust it."""

CHARACTERS_MOST = 20_000_000
"""Characters of the texts that a logistic regression learns from."""

CELLS_MOST = 50_000_000
"""Numbers that are learnt from or looked among: examples times the length of their vectors."""

CLASSES_FREE = 20
"""Classes up to which a logistic regression learns from so many; of twice as many from half."""

WEIGHTS_MOST = 4_000_000
"""Weights of a logistic regression of texts: n-grams times classes."""

CHOICE_MOST = 20_000_000
"""Numbers times classes up to which its strength is chosen on the validation part."""

STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Inverse penalties to choose from."""


class Rule(ABC):
    """A baseline: it learns from a training part and gives probabilities of classes.

    Args:
        training: with labels.
        labels: the classes.
        validation: on which a rule may choose; with labels, or None.

    Attributes:
        kinds: of labels for which the rule can answer.
        note: what it does, in a line.

    Errors:
        InputError: no training examples, or labels of a kind that it is not for.
    """

    kinds: ClassVar[tuple[str, ...]] = ("one", "several", "steps")
    note: str

    def __init__(
        self, training: Examples, labels: Labels, *, validation: Examples | None = None
    ) -> None:
        name = type(self).__name__
        if not self.applies(labels.kind):
            raise InputError(
                f"{name}: labels are of kind {labels.kind!r}, expected {' or '.join(self.kinds)}"
            )
        if not len(training) or training.labels is None:
            raise InputError(f"{name}: training has no examples with labels, expected some")
        if labels.kind == "steps" and training.kind == "images":
            raise InputError(f"{name}: training has images, expected series or texts for steps")
        self.labels, self.like = labels, training.take([0])
        if validation is not None:
            self._check(validation)
        self.unit = _unit(training) if labels.kind == "steps" else ""
        some = validation is not None and len(validation) and validation.labels is not None
        self._fit(training, validation if some else None)

    @classmethod
    def applies(cls, kind: str) -> bool:
        """Whether the rule can answer where labels are of this kind: one, several or steps."""
        return kind in cls.kinds

    def probabilities(self, examples: Examples) -> Any:
        """Probabilities of the classes.

        Args:
            examples: of the kind of the training part.

        Returns:
            float64 `[rows, classes]`; of `steps` a list of `[time, classes]`, also of steps whose
            class is unknown.

        Errors:
            InputError: examples of another kind, other features or another size of images.
        """
        self._check(examples)
        if self.labels.kind == "steps":
            parts = [_steps(examples, row, self.unit) for row in range(len(examples))]
            flat = _joined(parts) if sum(map(len, parts)) else None
            found = np.zeros((0, len(self.labels))) if flat is None else self._answer(flat)
            return np.split(found, np.cumsum([len(part) for part in parts])[:-1]) if parts else []
        if not len(examples):
            return np.zeros((0, len(self.labels)))
        return self._answer(examples.values)

    @abstractmethod
    def _fit(self, training: Examples, validation: Examples | None) -> None: ...

    @abstractmethod
    def _answer(self, values: Any) -> np.ndarray:
        """Probabilities of values, or of steps; there is at least one."""

    def _check(self, examples: Examples) -> None:
        mine, other = _form(self.like), _form(examples)
        if mine != other:
            raise InputError(
                f"{type(self).__name__}: examples are {other}, expected {mine} as in training"
            )

    def _known(self, examples: Examples) -> tuple[Any, np.ndarray]:
        """Values and their targets; of steps those whose class is known."""
        targets = self.labels.encode(examples.labels or [])
        if self.labels.kind != "steps":
            return examples.values, targets
        parts = [_steps(examples, row, self.unit) for row in range(len(examples))]
        for name, part, target in zip(examples.names, parts, targets, strict=True):
            if len(part) != len(target):
                raise InputError(
                    f"{type(self).__name__}: {name} has {len(part):,} {self.unit} and "
                    f"{len(target):,} labels, expected as many"
                )
        flat = np.concatenate(targets)
        return _picked(_joined(parts), np.flatnonzero(flat >= 0)), flat[flat >= 0]


class Majority(Rule):
    """How frequent each class is in training, whatever is asked.

    Of N examples $N_k$ are of class k of K: $(N_k + 1) / (N + K)$, and where an example may have
    several classes $(N_k + 1) / (N + 2)$.

    Examples:
        >>> some = Examples("texts", ["a", "b", "c"], ["yes", "yes", "no"], ["1", "2", "3"])
        >>> Majority(some, Labels(("no", "yes"))).probabilities(some)[0].tolist()
        [0.4, 0.6]
    """

    note = "how frequent each class is in training"

    def _fit(self, training: Examples, validation: Examples | None) -> None:
        _, targets = self._known(training)
        if self.labels.kind == "several":
            self.shares = (targets.sum(0, dtype=np.float64) + 1) / (len(targets) + 2)
        else:
            counts = np.bincount(targets, minlength=len(self.labels)) + 1
            self.shares = counts / counts.sum()

    def _answer(self, values: Any) -> np.ndarray:
        return np.tile(self.shares, (len(values), 1))


class Nearest(Rule):
    r"""The class of the training example most like the one asked for; of equals the first.

    - Texts: by the angle between their n-grams, as
      [`Nearest`][throughtime.tasks.pair_baselines.Nearest] of pairs.
    - Series: each feature with mean 0 and deviation 1, by dynamic time warping: steps are paired
      in order, so that the sum of squared Euclidean distances is least. Where that would take
      long, all are brought to as many steps and the Euclidean distance counts.
    - Images: by the Euclidean distance of their pixels.

    Its class has the probability r, the others share 1 - r alike. Tried on validation (or on a
    tenth of training, asked of the rest) it is right c times out of n, and r = (c + 1) / (n + 2),
    but always above 1 / classes.

    Examples:
        >>> some = Examples("texts", ["a cat", "a dog"], ["x", "y"], ["1", "2"])
        >>> rule = Nearest(some, Labels(("x", "y")))
        >>> rule.probabilities(Examples("texts", ["two dogs"], None, ["1"])).argmax(1).tolist()
        [1]

    References:
        Sakoe and Chiba 1978, "Dynamic programming algorithm optimization for spoken word
        recognition".
        Shokoohi-Yekta et al. 2017, "Generalizing DTW to the multi-dimensional case requires an
        adaptive approach".
    """

    kinds = ("one",)

    def _fit(self, training: Examples, validation: Examples | None) -> None:
        values, targets = self._known(training)
        rows = _evenly(targets, self._most(values))
        values, self.targets = _picked(values, rows), targets[rows]
        find, how = finder(training.kind, values)
        if validation is None:
            asked = _evenly(self.targets, min(ASKED, len(rows) // 10))
            rest = np.setdiff1d(np.arange(len(rows)), asked)
            right = self._right(values, rest, _picked(values, asked), self.targets[asked])
        else:
            asked = _evenly(self._known(validation)[1], ASKED)
            some = self._known(validation.take(asked))
            right = int((self.targets[find(some[0])] == some[1]).sum())
        self.find = find
        self.trust = max((right + 1) / (len(asked) + 2), 1.01 / len(self.labels))
        self.note = f"the class of the nearest training example, {how}" + _cut(rows, targets)

    def _most(self, values: Any) -> int:
        """Rows that it can look among."""
        if self.like.kind == "texts":
            return KNOWN_MOST
        image = self.like.kind == "images"
        size = pixels(values[:1]).size if image else RESAMPLED * len(self.like.features)
        return max(1, CELLS_MOST // max(1, size))

    def _right(self, values: Any, rest: np.ndarray, asked: Any, truths: np.ndarray) -> int:
        """How many of those asked are told rightly by the rest."""
        if not len(truths):
            return 0
        find, _ = finder(self.like.kind, _picked(values, rest))
        return int((self.targets[rest[find(asked)]] == truths).sum())

    def _answer(self, values: Any) -> np.ndarray:
        classes = len(self.labels)
        found = np.full((len(values), classes), (1 - self.trust) / (classes - 1))
        found[np.arange(len(values)), self.targets[self.find(values)]] = self.trust
        return found


class Logistic(Rule):
    """Logistic regression on what can be seen without learning.

    - Texts: weighted [n-grams][throughtime.tasks.class_encodings.Grams] of characters.
    - Series: their [summaries][throughtime.tasks.class_encodings.summary]; images: their
      [pixels][throughtime.tasks.class_encodings.pixels].
    - Steps: each step's own numbers, or the n-grams of its word, and nothing of its neighbours.

    Numbers have mean 0 and deviation 1. Where an example may have several classes, each has a
    regression of its own. How strongly weights are held back is chosen on the validation part, of
    large data it is fixed.

    Errors:
        MissingExtra: scikit-learn is not installed.

    Examples:
        >>> rows = [np.full((3, 1), float(at)) for at in range(10)]
        >>> some = Examples("series", rows, list("xxxxxyyyyy"), list("0123456789"), ("a",))
        >>> Logistic(some, Labels(("x", "y"))).probabilities(some).argmax(1).tolist()
        [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]
    """

    def _fit(self, training: Examples, validation: Examples | None) -> None:
        values, targets = self._known(training)
        classes = 1 if len(self.labels) == 2 else len(self.labels)
        rows = _evenly(targets, self._most(values))
        values, kept = _picked(values, rows), targets[rows]
        self.encode = self._encoding(values, classes)
        vectors = self.encode(values)
        numbers = vectors.nnz if training.kind == "texts" else vectors.size
        strengths = (3.0 if training.kind == "texts" else 1.0,)
        checked = None if validation is None else self._known(validation)
        if checked is not None and len(checked[1]) and numbers * classes <= CHOICE_MOST:
            strengths = STRENGTHS
        tried = [self._models(vectors, kept, strength) for strength in strengths]
        self.models = tried[0]
        if len(tried) > 1 and checked is not None:
            asked = self.encode(checked[0])
            score = several_scores if self.labels.kind == "several" else class_scores
            losses = [score(self._given(each, asked), checked[1])["log_loss"] for each in tried]
            self.models = tried[int(np.argmin(losses))]
        self.note = f"logistic regression on {self.seen}" + _cut(rows, targets)

    def _most(self, values: Any) -> int:
        """Rows that it can learn from: of many classes fewer, each takes its time."""
        if self.like.kind == "texts":
            most, size = CHARACTERS_MOST, sum(map(len, values)) / max(1, len(values))
        else:
            most, size = CELLS_MOST, len(self.like.features)
            if not self.unit:
                size = (pixels if self.like.kind == "images" else summaries)(values[:1]).size
        share = min(1.0, CLASSES_FREE / len(self.labels))
        return max(1, int(most * share / max(1, size)))

    def _encoding(self, values: Any, classes: int) -> Callable[[Any], Any]:
        """From values to vectors."""
        if self.like.kind == "texts":
            self.seen = "n-grams of characters" + (" of each step" if self.unit else "")
            return Grams(values, max(1000, min(300_000, WEIGHTS_MOST // classes)))
        encode: Callable[[Any], np.ndarray] = np.asarray
        self.seen = "each step's own numbers"
        if not self.unit:
            encode = pixels if self.like.kind == "images" else summaries
            self.seen = "pixels" if self.like.kind == "images" else "summaries of series"
        standard = Standard(encode(values))
        return lambda values: standard(encode(values))

    def _models(self, vectors: Any, targets: np.ndarray, strength: float) -> list["_Model"]:
        """One for all classes, or one for each."""
        if targets.ndim == 1:
            return [_Model(vectors, targets, len(self.labels), strength)]
        return [_Model(vectors, column.astype(np.int64), 2, strength) for column in targets.T]

    def _answer(self, values: Any) -> np.ndarray:
        return self._given(self.models, self.encode(values))

    def _given(self, models: list["_Model"], vectors: Any) -> np.ndarray:
        if self.labels.kind != "several":
            return models[0](vectors)
        return np.stack([model(vectors)[:, 1] for model in models], axis=1)


class _Model:
    """A logistic regression that also knows the classes it has never seen.

    Each of these has as much as one example in all that were seen would give it.
    """

    def __init__(self, vectors: Any, targets: np.ndarray, classes: int, strength: float) -> None:
        self.seen, self.classes, self.rows = np.unique(targets), classes, len(targets)
        # With a single class there is nothing to fit.
        self.model = _regression(vectors, targets, strength) if len(self.seen) > 1 else None

    def __call__(self, vectors: Any) -> np.ndarray:
        found = np.full((vectors.shape[0], self.classes), 1 / (self.rows + 1))
        found[:, self.seen] = 1.0 if self.model is None else self.model.predict_proba(vectors)
        return found / found.sum(1, keepdims=True)


RULES: dict[str, type[Rule]] = {"majority": Majority, "nearest": Nearest, "logistic": Logistic}
"""The baselines of classification by name."""


def _regression(vectors: Any, targets: np.ndarray, strength: float) -> Any:
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise MissingExtra("logistic", "scikit-learn", "classify") from None
    model = LogisticRegression(C=strength, max_iter=100, tol=1e-6)
    with warnings.catch_warnings():
        # Steps that are left after so many change the answers of very few examples.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(vectors, targets)


def _evenly(targets: np.ndarray, most: int, seed: int = 0) -> np.ndarray:
    """So many rows at most, by chance, with the same share of each class; in their order."""
    if len(targets) <= most:
        return np.arange(len(targets))
    order = np.arange(len(targets)) if targets.ndim > 1 else np.argsort(targets, kind="stable")
    edges = np.linspace(0, len(targets), most + 1)
    places = edges[:-1] + np.random.default_rng(seed).random(most) * np.diff(edges)
    return np.sort(order[places.astype(int)])


def _cut(rows: np.ndarray, targets: np.ndarray) -> str:
    return "" if len(rows) == len(targets) else f"; of {len(targets):,} for training {len(rows):,}"


def _picked(values: Any, rows: np.ndarray) -> Any:
    return values[rows] if isinstance(values, np.ndarray) else [values[row] for row in rows]


def _joined(parts: Sequence[Any]) -> Any:
    """The steps of all examples, one after another."""
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return [step for part in parts for step in part]


def _steps(examples: Examples, row: int, unit: str) -> Any:
    value = examples.values[row]
    return value.split() if unit == "words" else list(value) if unit == "characters" else value


def _unit(training: Examples) -> str:
    """What the steps are: of texts words, or characters where there are as many as labels."""
    if training.kind != "texts":
        return "steps"
    counts = [len(label) for label in training.labels or []]
    words = [len(text.split()) for text in training.values]
    letters = [len(text) for text in training.values]
    return "characters" if counts == letters and counts != words else "words"


def _form(examples: Examples) -> str:
    """What examples must have in common with those of training."""
    if examples.kind == "series":
        return f"series with {len(examples.features)} features"
    if examples.kind == "images":
        return f"images of shape {list(examples.values.shape[1:])}"
    return "texts"
