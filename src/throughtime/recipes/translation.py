"""A model that makes one sequence of another."""

from typing import Any

from throughtime.models.config import ModelConfig
from throughtime.models.sizing import fit_width, usual_width
from throughtime.tasks.opening import Opened
from throughtime.tasks.translation import Translation
from throughtime.training.config import TrainingConfig
from throughtime.training.run import RunConfig


def translation(
    opened: Opened,
    kind: str = "lstm",
    *,
    parameters: int | None = 500_000,
    model: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
) -> RunConfig:
    """Make targets of sources with an encoder-decoder of a given kind and size.

    Args:
        opened: the data.
        kind: of encoder and decoder: `rnn`, `lstm`, `gru` or `transformer`.
        parameters: how many the model may have; None keeps the width.
        model: fields of `ModelConfig` to set otherwise.
        training: fields of `TrainingConfig` to set otherwise.
    """
    task = opened.task
    assert isinstance(task, Translation)
    known = task.vocabulary
    attends = kind == "transformer"
    made = ModelConfig(
        **{
            "kind": kind,
            "width": usual_width(kind, (model or {}).get("heads", ModelConfig.heads)),
            "tokens": known.target_tokens,
            "source_tokens": known.source_tokens,
            "layers": 2 if attends else 1,
            "horizon": max(32, 2 * max(map(len, task.targets))),
            "dropout": 0.1,
            "shared": known.joint,
            "tied": known.joint,
            "smoothing": 0.1,
            **(model or {}),
        }
    )
    if parameters is not None and "width" not in (model or {}):
        made = fit_width(made, parameters)
    tokens = sum(map(len, task.sources)) + sum(map(len, task.targets))
    settings = {
        # About a hundred updates in a pass, where there are few pairs.
        "batch_size": max(256, min(2048, tokens // 100)),
        "epochs": 20,
        **(training or {}),
    }
    updates = settings["epochs"] * tokens // settings["batch_size"]
    settings = {
        "learning_rate": 2e-3 if attends else 3e-3,
        "beta2": 0.98 if attends else 0.999,
        "warmup": min(200, updates // 10) if attends else 0,
        "schedule": "cosine",
        "final_rate": 0.02,
        "patience": 5,
        "clip": 1.0,
        **settings,
    }
    return RunConfig(opened.config, made, TrainingConfig(**settings))
