r"""Classification: which class a text, a series or an image is of, or each of its steps.

$$\mathcal L = -\sum_i w_{y_i} \log p(y_i \mid x_i)$$

for one class of several, and the same sum over all classes, each there or not, where an example may
have several.
"""

from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from throughtime.data.augment import Augment
from throughtime.data.example_batches import ExampleBatches
from throughtime.data.examples import ExampleParts, Examples
from throughtime.data.labels import Labels, check_missing
from throughtime.data.text import Vocabulary
from throughtime.errors import InputError
from throughtime.layers.gram_bag import GramBag
from throughtime.models.classifier import Classifier
from throughtime.models.inputs import NumberInputs, TokenInputs
from throughtime.shapes import Float, Tensor
from throughtime.tasks.calibration import fit_shares, fit_temperature
from throughtime.tasks.class_logits import Encoder, answers, logits, probabilities, steps_of
from throughtime.tasks.class_scores import class_scores, early_accuracy, several_scores
from throughtime.tasks.likelihood import Score

SHARES = tuple(share / 10 for share in range(1, 11))
"""Of a sequence, after which its early answers are judged."""


class Classification:
    """Examples to learn from, to validate on, to test on.

    Args:
        parts: training, validation and test, with labels.
        labels: the classes of the training part.
        vocabulary: of texts.
        weighted: weight classes by one over how often they are, so that rare ones count as much.
        augment: how images are altered in training.
        longest: tokens of a text, which is cut after them.
        dtype: of numbers.
        device: where models are.

    Attributes:
        weights: `[classes]` of the loss, their mean over the training part is 1; or None.
        empty: texts of training that were left out, for there is nothing in them.

    Errors:
        InputError: a class that only validation or test has, steps whose labels are not as many,
            or a part of them without any.
    """

    def __init__(
        self,
        parts: ExampleParts,
        labels: Labels,
        vocabulary: Vocabulary | None = None,
        *,
        weighted: bool = False,
        augment: Augment | None = None,
        longest: int = 256,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
    ) -> None:
        check_missing(labels, [("validation", parts.validation), ("test", parts.test)])
        if labels.kind == "steps":
            _check_known(parts)
        training = parts.training
        self.empty = 0
        if training.kind == "texts":
            kept = [row for row, text in enumerate(training.values) if text]
            self.empty = len(training) - len(kept)
            training = training.take(kept)
        if augment is not None and training.kind != "images":
            raise InputError(f"augment is for images, and the examples are {training.kind}")
        if augment is not None:  # what does not fit the images is refused before training
            augment(torch.from_numpy(training.values[:1]), torch.Generator())
        self.parts = parts._replace(training=training)
        self.labels = labels
        self.vocabulary = vocabulary
        self.augment = augment
        self.device = device
        self.encode = Encoder(training.kind, vocabulary, longest, dtype)
        self._coded: dict[str, tuple[Any, Any]] = {}
        self.weights = self._weights() if weighted else None

    @property
    def kind(self) -> str:
        """`texts`, `series` or `images`."""
        return self.parts.training.kind

    def examples(self, part: str) -> Examples:
        """The examples of `training`, `validation` or `test`.

        Errors:
            InputError: another name.
        """
        if part not in ExampleParts._fields:
            raise InputError(f"part is {part!r}, expected one of {', '.join(ExampleParts._fields)}")
        return getattr(self.parts, part)

    def coded(self, part: str) -> tuple[Any, Any]:
        """What models read of a part, and the numbers of its classes; made once."""
        if part not in self._coded:
            examples = self.examples(part)
            values = self.encode(examples)
            targets = self.labels.encode(examples.labels or [], f"the {part} part")
            if self.labels.kind == "steps":
                targets = _aligned(examples, values, targets, self.encode.longest)
            self._coded[part] = values, targets
        return self._coded[part]

    def _weights(self) -> Float[Tensor, "classes"]:
        r"""$w_c = n / (C n_c)$."""
        targets = self.coded("training")[1]
        if self.labels.kind == "several":
            raise InputError("weights: examples have several classes, expected one of each")
        flat = np.concatenate(targets) if self.labels.kind == "steps" else targets
        counts = np.bincount(flat[flat >= 0], minlength=len(self.labels))
        weights = counts.sum() / (len(counts) * np.maximum(counts, 1))
        return torch.tensor(weights, dtype=torch.float32)

    def prepare(self, model: Classifier) -> None:
        """Check that the model knows every class and token, and give it the scale of the data.

        Errors:
            InputError: a model of other classes, tokens or numbers, or one that answers each step
                where examples have a class, or the other way round.
        """
        steps = self.labels.kind == "steps"
        if steps != (model.pool == "none"):
            expected = "none, for each step has" if steps else "another one, for each example has"
            raise InputError(f"pooling is {model.pool!r}, expected {expected} a class")
        if model.classes != len(self.labels):
            raise InputError(
                f"the model knows {model.classes} classes, the data have {len(self.labels)}"
            )
        inputs, values = model.inputs, self.coded("training")[0]
        if self.kind == "texts":
            known = inputs.size if isinstance(inputs, TokenInputs) else 0
            if self.vocabulary is None or known != len(self.vocabulary):
                raise InputError(
                    f"the model knows {known} tokens, the vocabulary has "
                    f"{len(self.vocabulary or ())}"
                )
            for layer in model.beside:
                if isinstance(layer, GramBag):
                    _spell(layer, self.vocabulary)
        elif self.kind == "series":
            assert isinstance(inputs, NumberInputs)
            inputs.fit([torch.from_numpy(value) for value in values])
        else:
            inputs.fit(torch.from_numpy(values))

    def source(
        self, batch_size: int, window: int, seed: int, *, shuffle: bool = True
    ) -> ExampleBatches:
        """Batches of examples of like length.

        Args:
            batch_size: rows.
            window: not for examples.
            seed: of the order.
            shuffle: False keeps the batches the same in every epoch.
        """
        values, targets = self.coded("training")
        return ExampleBatches(
            values, targets, rows=batch_size, seed=seed, shuffle=shuffle, augment=self.augment,
            classes=len(self.labels),
        )  # fmt: skip

    def logits(self, model: Classifier, part: str = "test") -> Any:
        """Logits of a part, in its order: `[rows, classes]`, or of steps a list of `[time, C]`."""
        return logits(model, self.coded(part)[0], self.device)

    def answer(self, model: Classifier, values: Any) -> Any:
        """Logits of examples as models read them, see `coded`."""
        return logits(model, values, self.device)

    def known(self, found: Any, part: str) -> tuple[Tensor, Tensor]:
        """Logits and targets in rows to be scored: examples, or the steps whose class is known."""
        targets = self.coded(part)[1]
        if self.labels.kind != "steps":
            return found, torch.from_numpy(targets)
        flat = torch.from_numpy(np.concatenate(targets))
        return torch.cat(found)[flat >= 0], flat[flat >= 0]

    def validate(self, model: Classifier, part: str = "validation") -> Score:
        """How well the classes of a part are foretold, in nats."""
        return _score(*self.known(self.logits(model, part), part))

    def score(self, probabilities: np.ndarray, part: str = "test") -> dict[str, float]:
        """How good probabilities are, see [`class_scores`][throughtime.tasks.class_scores].

        Args:
            probabilities: `[rows, classes]`; of steps those of all rows one after another.
            part: of the data.
        """
        targets = self.coded(part)[1]
        if self.labels.kind == "several":
            return several_scores(probabilities, targets)
        if self.labels.kind == "steps":
            flat = np.concatenate(targets)
            probabilities, targets = probabilities[flat >= 0], flat[flat >= 0]
        return class_scores(probabilities, targets)

    def metrics(self, model: Classifier, part: str = "test", found: Any = None) -> dict[str, float]:
        """What is told of a model on a part.

        Args:
            model: the model.
            part: of the data.
            found: its `logits` of this part, if they are there; None computes them.
        """
        found = self.logits(model, part) if found is None else found
        scored = self.score(probabilities(flat(found), self.labels.kind), part)
        return {"nats": _score(*self.known(found, part)).nats, **scored}

    def watch(self, model: Classifier, measure: str = "loss") -> dict[str, float]:
        """What training is watched by, on the validation part."""
        found = self.metrics(model, "validation")
        nats = found.pop("nats")
        return {"loss": nats, "one_step": nats, **found}

    def calibrate(self, model: Classifier) -> float:
        """Fit the temperature that the model divides its logits by, on the validation part.

        Where layers answer beside the body, also the share of each; until then, while training is
        watched, all count alike.
        """
        model.temperature.fill_(1.0)
        if len(model.beside):
            values, targets = self.coded("validation")
            said, truths = answers(model, values, self.device), torch.from_numpy(targets)
            model.shares.copy_(fit_shares(said, truths, doubt=1 / (len(targets) + 1)))
        found, targets = self.known(self.logits(model, "validation"), "validation")
        temperature = fit_temperature(found, targets, doubt=1 / (len(targets) + 1))
        model.temperature.fill_(temperature)
        return temperature

    def early(self, model: Classifier, part: str = "test") -> dict[float, float] | None:
        """Accuracy in % by how much of a sequence has been seen; None where there is none.

        A model that sees the past only answers after every step; one that sees all is shown the
        beginnings of the sequences.
        """
        if self.kind == "images" or self.labels.kind != "one":
            return None
        values, targets = self.coded(part)
        if model.causal:
            answers = [each.argmax(-1).numpy() for each in steps_of(model, values, self.device)]
            return early_accuracy(answers, targets, SHARES)
        found = {}
        for share in SHARES:
            steps = (max(1, int(np.ceil(share * len(value) - 1e-9))) for value in values)
            seen = [value[:count] for value, count in zip(values, steps, strict=True)]
            right = logits(model, seen, self.device).argmax(-1).numpy() == targets
            found[share] = 100 * float(right.mean())
        return found

    @cached_property
    def cut(self) -> int:
        """Texts of all parts that are longer than a model is shown."""
        if self.vocabulary is None:
            return 0
        known = self.vocabulary
        return sum(
            len(known.encode(text)) > self.encode.longest
            for part in self.parts
            for text in part.values
            if len(text.encode()) > self.encode.longest
        )


def flat(found: Any) -> Tensor:
    """Logits of all steps of all rows, one after another."""
    return torch.cat(found) if isinstance(found, list) else found


def _score(found: Tensor, targets: Tensor) -> Score:
    """Mean nats of rows, or of each cell where an example may have several classes."""
    if targets.ndim == 2:
        nats = float(binary_cross_entropy_with_logits(found.double(), targets.double()))
    else:
        nats = float(cross_entropy(found.double(), targets))
    return Score(nats, nats, float(targets.numel()), ())


def _spell(bag: GramBag, vocabulary: Vocabulary) -> None:
    """Tell a bag the letters of the tokens, unless somebody has."""
    if bag.tokens != len(vocabulary) + 1:
        raise InputError(
            f"the GramBag beside the body knows {bag.tokens} tokens, expected "
            f"{len(vocabulary) + 1}: those of the vocabulary and the begin marker"
        )
    if bag.spelled and not bag.letters[:, 1:].any():
        bag.spell(vocabulary.letters())


def _check_known(parts: ExampleParts) -> None:
    """Refuse parts in which no class of a step is known: nothing could be judged by them."""
    for name, part in zip(parts._fields, parts, strict=True):
        if not any(one for label in part.labels or [] for one in label):
            raise InputError(f"the {name} part has no step with a label, expected some")


def _aligned(examples: Examples, values: Any, targets: list[Any], longest: int) -> list[Any]:
    """A class for each token or step; refused where there are more or fewer."""
    for name, value, target in zip(examples.names, values, targets, strict=True):
        cut = len(value) == longest < len(target) and examples.kind == "texts"
        if len(value) != len(target) and not cut:
            unit = "tokens" if examples.kind == "texts" else "steps"
            raise InputError(
                f"example {name} has {len(value)} {unit} and {len(target)} labels, expected one of "
                "each"
            )
    return [target[: len(value)] for value, target in zip(values, targets, strict=True)]
