"""What a classifier is shown, and what it answers: examples to numbers, and numbers to logits."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from throughtime.data.example_batches import ExampleBatch, ExampleBatches
from throughtime.data.examples import Examples
from throughtime.data.text import Vocabulary
from throughtime.errors import InputError
from throughtime.layers.line import unremembered
from throughtime.models.chain import evaluating
from throughtime.models.classifier import Classifier
from throughtime.shapes import Float, Tensor

ROWS = 256
"""Of a batch when a part is scored."""


class Encoder:
    """From examples to what models read: ids, numbers or pixels.

    Args:
        kind: of the examples: `texts`, `series` or `images`.
        vocabulary: of texts.
        longest: tokens of a text, which is cut after them.
        dtype: of numbers.
    """

    def __init__(
        self,
        kind: str,
        vocabulary: Vocabulary | None = None,
        longest: int = 256,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.kind = kind
        self.vocabulary = vocabulary
        self.longest = longest
        self.number = np.dtype(str(dtype).removeprefix("torch."))

    def __call__(self, examples: Examples) -> Any:
        """A list of `[time]` or `[time, features]`, or images as they are.

        A text without tokens is the begin marker alone.

        Errors:
            InputError: examples of another kind than in training, or numbers beyond the type.
        """
        if examples.kind != self.kind:
            raise InputError(f"there are {examples.kind}, expected {self.kind} as in training")
        if self.kind == "images":
            return examples.values
        if self.kind == "series":
            return [*map(self._numbers, examples.names, examples.values)]
        vocabulary = self.vocabulary
        assert vocabulary is not None
        begin = np.array([vocabulary.begin], dtype=np.int64)
        coded = (vocabulary.encode(text)[: self.longest] for text in examples.values)
        return [ids if len(ids) else begin for ids in coded]

    def _numbers(self, name: str, value: np.ndarray) -> np.ndarray:
        """A series in the type asked for."""
        with np.errstate(over="ignore"):  # told below, by name
            found = value.astype(self.number)
        if np.isinf(found).any():
            beyond = value[np.isinf(found)][0]
            raise InputError(f"example {name} has {beyond:g}, which is beyond {self.number}")
        return found


def logits(
    model: Classifier, values: Any, device: torch.device | str = "cpu", rows: int = ROWS
) -> Any:
    """Logits of examples, in their order.

    Args:
        model: the model; evaluated without dropout.
        values: what it reads, see [`Encoder`][throughtime.tasks.class_logits.Encoder].
        device: where the model is.
        rows: at a time.

    Returns:
        `[rows, classes]`; where each step has a class, a list of `[time, classes]`.
    """
    if model.pool == "none":
        return list(steps_of(model, values, device, rows))
    found = torch.zeros(len(values), model.classes)
    with torch.no_grad(), evaluating(model), unremembered():
        for chosen, batch in _batched(model, values, device, rows):
            found[chosen] = model.answer(batch.x, batch.mask).float().cpu()
    return found


def answers(
    model: Classifier, values: Any, device: torch.device | str = "cpu", rows: int = ROWS
) -> Float[Tensor, "answers rows classes"]:
    """What the body of a model and each layer beside it say to examples, as `logits`."""
    found = torch.zeros(1 + len(model.beside), len(values), model.classes)
    with torch.no_grad(), evaluating(model), unremembered():
        for chosen, batch in _batched(model, values, device, rows):
            found[:, chosen] = torch.stack(model.answers(batch.x, batch.mask)).float().cpu()
    return found


def steps_of(
    model: Classifier, values: Any, device: torch.device | str, rows: int = ROWS
) -> Sequence[Tensor]:
    """Logits after every step of each example: `[time, classes]`."""
    found: list[Any] = [None] * len(values)
    with torch.no_grad(), evaluating(model), unremembered():
        for chosen, batch in _batched(model, values, device, rows):
            answers = model(batch.x, None, batch.mask)[0].float().cpu()
            for row, answer in zip(chosen.tolist(), answers, strict=True):
                found[row] = answer[: len(values[row])]
    return found


def _batched(
    model: Classifier, values: Any, device: torch.device | str, rows: int
) -> Iterator[tuple[Tensor, ExampleBatch]]:
    """Batches of like lengths on the model's device, and which rows are in each."""
    if not len(values):
        return
    batches = ExampleBatches(values, np.arange(len(values)), rows=rows, shuffle=False).epoch(0)
    for index in range(len(batches)):
        batch = batches[index][0]
        yield batch.targets, batch.to(device, model.weight.dtype)


def probabilities(logits: Tensor, kind: str = "one") -> np.ndarray:
    """`[rows, classes]`: by softmax, or of `several` each by itself."""
    found = logits.double()
    return (found.sigmoid() if kind == "several" else found.softmax(-1)).numpy()
