"""A model that writes text."""

from typing import Any

from throughtime.models.config import ModelConfig
from throughtime.models.sizing import fit_width, usual_width
from throughtime.tasks.language import LanguageModelling
from throughtime.tasks.opening import Opened
from throughtime.training.config import TrainingConfig
from throughtime.training.run import RunConfig


def language(
    opened: Opened,
    kind: str = "lstm",
    *,
    parameters: int | None = 100_000,
    model: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
) -> RunConfig:
    """Model text with a model of a given kind and size.

    The text is cut into parallel streams, the state is carried from window to window.

    Args:
        opened: the data.
        kind: `window`, `rnn`, `lstm`, `gru`, `transformer`, or the baseline `ngram`.
        parameters: how many the model may have; None keeps the width.
        model: fields of `ModelConfig` to set otherwise.
        training: fields of `TrainingConfig` to set otherwise.
    """
    task = opened.task
    assert isinstance(task, LanguageModelling)
    words = task.vocabulary.kind in ("words", "bpe")
    made = ModelConfig(
        **{
            "kind": kind,
            "width": usual_width(kind, (model or {}).get("heads", ModelConfig.heads)),
            "tokens": len(task.vocabulary),
            "window": 4 if words else 8,
            "horizon": 64,
            "order": 4 if words else 8,
            **(model or {}),
        }
    )
    if parameters is not None and "width" not in (model or {}):
        made = fit_width(made, parameters)
    attends = kind == "transformer"
    settings = {
        "learning_rate": 2e-3 if attends else 4e-3,
        "warmup": 50 if attends else 0,
        "schedule": "cosine",
        "final_rate": 0.05,
        "epochs": 8,
        "batch_size": 32,
        "window": 32 if words else 64,
        "patience": 4,
        "clip": 1.0,
        **(training or {}),
    }
    return RunConfig(opened.config, made, TrainingConfig(**settings))
