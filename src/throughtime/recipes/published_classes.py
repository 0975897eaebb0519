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
    is classified, about 205,000 parameters; label smoothing of 0.1, and what is kept is the mean of
    the weights after three epochs. GRU: one layer of 128 in both directions over the rows of
    pixels. For both the learning rate falls as half a wave; images should be shifted and mirrored
    in training, `--augment shift=1,flip`.

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
        "learning_rate": 3e-3 if attends else 2e-3,
        "warmup": 1000 if attends else 300,
        "epochs": 48 if attends else 12,
        "batch_size": 128,
        "average": 3,
        "measure": "accuracy",
        **(training or {}),
    }
    return classification(opened, kind, parameters=None, model=model, training=settings)


def reviews(
    opened: Opened, kind: str = "gru", *, training: dict[str, Any] | None = None
) -> RunConfig:
    """Short texts, some hundred thousand, such as the film reviews of NSMC.

    One layer of 128 in both directions reads characters, each with the n-grams of two to four that
    end in it (65,536 buckets, half of them left out in training); the maximum over time is
    classified. Beside it answer two linear models, of n-grams of up to five characters and of three
    to nine letters, for most of what is to be known lies in word forms, of which most are rare.
    Four passes: with more the vectors of rare n-grams are learnt by heart.

    On NSMC a BiLSTM has been published at 86.5 %, self-attention at 87.7 %, and logistic regression
    on n-grams of characters comes to 87.4 %.

    Args:
        opened: the data, `--tokens characters --vocabulary 2500`.
        kind: `gru`, `lstm` or `rnn`.
        training: fields of `TrainingConfig` to set otherwise.
    """
    _check(opened, f"reviews-{kind}", "texts")
    model = {
        "width": 128,
        "grams": 4,
        "bag": 5,
        "letters": 9,
        "scores": 4_194_304,
        "pooling": "max",
        "dropout": 0.5,
    }
    settings = {
        "learning_rate": 2e-3,
        "warmup": 300,
        "epochs": 4,
        "batch_size": 128,
        "clip": 0.3,  # of the mean of three losses: for each about what 1 is for one alone
        **(training or {}),
    }
    return classification(opened, kind, parameters=None, model=model, training=settings)


def _check(opened: Opened, name: str, kind: str) -> None:
    task = opened.task
    if not isinstance(task, Classification) or task.kind != kind or task.labels.kind != "one":
        raise InputError(f"{name} is for labelled {kind}, one class for each")


CLASSES = {
    **{f"clothing-{kind}": partial(clothing, kind=kind) for kind in ("transformer", "gru")},
    "reviews-gru": partial(reviews, kind="gru"),
}
"""By the names that commands know them by."""
