"""A model that tells classes apart."""

from dataclasses import replace
from typing import Any

from throughtime.errors import InputError
from throughtime.models.config import ModelConfig
from throughtime.models.sizing import fit_width, usual_width
from throughtime.tasks.classification import Classification
from throughtime.tasks.opening import Opened
from throughtime.training.config import TrainingConfig
from throughtime.training.run import RunConfig

UPDATES = 1500
"""Of the weights, about, where nothing else is said: few examples are passed through more often."""

PASSES = (5, 60)
"""At least and at most."""


def classification(
    opened: Opened,
    kind: str = "gru",
    *,
    parameters: int | None = 50_000,
    model: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
) -> RunConfig:
    """Tell the classes of texts, series or images with a model of a given kind and size.

    Args:
        opened: the data.
        kind: `window`, `rnn`, `lstm`, `gru` or `transformer`. A recurrent model reads in both
            directions, and of an image the rows; a transformer of an image its patches.
        parameters: how many the model may have; None keeps the width.
        model: fields of `ModelConfig` to set otherwise.
        training: fields of `TrainingConfig` to set otherwise.
    """
    task = opened.task
    assert isinstance(task, Classification)
    attends = kind == "transformer"
    said = {"layers": 2 if attends else 1, "dropout": 0.1, **_inputs(task, kind), **(model or {})}
    width = usual_width(kind, said.get("heads", ModelConfig.heads))
    made = ModelConfig(**{"kind": kind, "width": width, "classes": len(task.labels), **said})
    if made.letters and task.vocabulary is not None and task.vocabulary.kind != "characters":
        raise InputError(
            f"letters is for tokens that are characters, and these are {task.vocabulary.kind}; "
            "--tokens characters makes them so"
        )
    if (made.bag or made.letters) and "scores" not in said:
        made = replace(made, scores=_scores(task, made))
    if parameters is not None and "width" not in said:
        made = fit_width(made, parameters)
    count = len(task.parts.training)
    settings = {"batch_size": max(16, min(128, count // 20)), **(training or {})}
    each = max(1, count // max(1, settings["batch_size"]))  # what cannot be is refused below
    settings = {"epochs": max(PASSES[0], min(PASSES[1], UPDATES // each)), **settings}
    updates = settings["epochs"] * each
    settings = {
        "learning_rate": 1.5e-3 if attends else 3e-3,
        "weight_decay": 0.05 if attends else 0.01,
        "warmup": max(0, updates) // 10,
        "schedule": "cosine",
        "final_rate": 0.02,
        "clip": 1.0,
        **settings,
    }
    return RunConfig(opened.config, made, TrainingConfig(**settings))


def _inputs(task: Classification, kind: str) -> dict[str, Any]:
    """What the model reads, and how it sums up."""
    fields: dict[str, Any] = {
        "around": kind != "window",
        "pooling": "none" if task.labels.kind == "steps" else "mean",
    }
    if task.kind == "texts":
        fields["tokens"] = 0 if task.vocabulary is None else len(task.vocabulary)
    elif task.kind == "series":
        fields["targets"] = len(task.parts.training.features)
        fields["horizon"] = int(max(64, task.parts.training.lengths.max()))
    else:
        image = tuple(map(int, task.parts.training.values.shape[1:]))
        fields |= {"image": image, "rows": kind != "transformer", "patch": patch_side(*image[1:])}
        fields["position"] = "learned"
    if kind == "window":
        fields["window"] = 4
    return fields


def _scores(task: Classification, made: ModelConfig) -> int:
    """As many as could be learnt at all: of few texts a large table would only take time.

    For each class one for every n-gram of the training part, and no more than usual.
    """
    tokens = sum(map(len, task.coded("training")[0]))
    grams = tokens * max(made.bag, 3 * made.letters) * made.classes
    return min(ModelConfig.scores, 1 << max(1, grams).bit_length())


def patch_side(height: int, width: int, most: int = 50) -> int:
    """The side of the smallest squares that an image is made of, at most so many of them.

    Where none but single pixels divide both sides the squares are single pixels.

    Examples:
        >>> patch_side(28, 28), patch_side(8, 8), patch_side(32, 48)
        (4, 2, 8)
    """
    sides = [
        side for side in range(1, min(height, width) + 1) if not (height % side or width % side)
    ]
    return next((side for side in sides if height * width // side**2 <= most), sides[-1])
