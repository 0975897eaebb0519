"""A model that forecasts series."""

from typing import Any

from throughtime.models.config import ModelConfig
from throughtime.models.sizing import fit_width, usual_width
from throughtime.tasks.forecasting import Forecasting
from throughtime.tasks.opening import Opened
from throughtime.training.config import TrainingConfig
from throughtime.training.run import RunConfig


def forecast(
    opened: Opened,
    kind: str = "lstm",
    *,
    parameters: int | None = 20_000,
    model: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
) -> RunConfig:
    """Forecast with a model of a given kind and size.

    A single series is cut into parallel streams, several are batched whole. The model predicts the
    change from the last value with a Student-t distribution, whose heavy tails keep one outlier
    from deciding a step. Its width is solved for, so that kinds are compared at equal size.

    Args:
        opened: the data.
        kind: `window`, `rnn`, `lstm`, `gru`, `transformer`, or a baseline: `last`, `seasonal`,
            `linear`.
        parameters: how many the model may have; None keeps the width.
        model: fields of `ModelConfig` to set otherwise.
        training: fields of `TrainingConfig` to set otherwise.
    """
    task = opened.task
    assert isinstance(task, Forecasting)
    table, season = task.table, task.table.season
    span = max(24, min(2 * season, 192))  # what the window model and linear autoregression see
    longest = max(task.lengths)
    span = max(1, min(span, longest // 4))
    many = len(table) > 1
    made = ModelConfig(
        **{
            "kind": kind,
            "width": usual_width(kind, (model or {}).get("heads", ModelConfig.heads)),
            "targets": task.channels,
            "covariates": task.covariates,
            "scaling": "standard" if many else "fixed",
            "level": 3.0 * max(season, 8),
            "window": span,
            "horizon": span,
            "patch": max(1, min(span // 2, 12)),
            "lags": span,
            "season": max(1, min(season, longest - 1)),
            **(model or {}),
        }
    )
    if parameters is not None and "width" not in (model or {}):
        made = fit_width(made, parameters)
    settings = {
        "learning_rate": 1e-3,
        "warmup": 50 if kind == "transformer" else 0,
        "schedule": "cosine",
        "final_rate": 0.02,
        "epochs": 100,
        "batch_size": 16,
        "window": max(16, min(96, longest // 4)),
        "patience": 25,
        "clip": 1.0,
        **(training or {}),
    }
    return RunConfig(opened.config, made, TrainingConfig(**settings))
