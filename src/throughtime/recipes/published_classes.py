"""Classifiers as they were published, to measure ourselves by."""

from functools import partial
from typing import Any

from throughtime.errors import InputError
from throughtime.recipes.classification import classification
from throughtime.tasks.classification import Classification
from throughtime.tasks.opening import Opened
from throughtime.training.run import RunConfig


def clothing(
    opened: Opened, kind: str = "transformer", *, training: dict[str, Any] | None = None
) -> RunConfig:
    """Small grey images, some ten thousand, such as Fashion-MNIST.

    Transformer: four blocks of 64 with four heads over squares of 4 x 4 pixels, the mean of which
    is classified, about 205,000 parameters; label smoothing of 0.1. GRU: one layer of 128 in both
    directions over the rows of pixels. For both the learning rate falls as half a wave; images
    should be shifted and mirrored in training, `--augment shift=2,flip`.

    On Fashion-MNIST a vision Transformer of that size has been published at 92.3 %, recurrent
    networks over rows at 89.7 %.

    Args:
        opened: the data.
        kind: `transformer` or `gru`.
        training: fields of `TrainingConfig` to set otherwise.

    References:
        Xiao, Rasul and Vollgraf 2017, "Fashion-MNIST: a novel image dataset for benchmarking
        machine learning algorithms".
    """
    _check(opened, f"clothing-{kind}", "images")
    attends = kind == "transformer"
    model: dict[str, Any] = {"width": 128, "rows": True}
    if attends:
        model = {"width": 64, "layers": 4, "dropout": 0.0, "smoothing": 0.1}
    settings = {
        "learning_rate": 2e-3,
        "epochs": 36 if attends else 15,
        "batch_size": 128,
        **(training or {}),
    }
    return classification(opened, kind, parameters=None, model=model, training=settings)


def _check(opened: Opened, name: str, kind: str) -> None:
    task = opened.task
    if not isinstance(task, Classification) or task.kind != kind or task.labels.kind != "one":
        raise InputError(f"{name} is for labelled {kind}, one class for each")


CLASSES = {
    **{f"clothing-{kind}": partial(clothing, kind=kind) for kind in ("transformer", "gru")},
}
"""By the names that commands know them by."""
