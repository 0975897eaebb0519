"""Run folders without training: random weights, real files, float64."""

import numpy as np
import torch

from throughtime.data.columns import Columns
from throughtime.data.table import SeriesTable
from throughtime.models import ModelConfig, build
from throughtime.tasks.data_config import DataConfig
from throughtime.tasks.forecasting import Forecasting
from throughtime.tasks.loading import load_source
from throughtime.tasks.opening import open_data
from throughtime.tasks.rows import known_ahead
from throughtime.training.config import TrainingConfig
from throughtime.training.run import RunConfig, load_run, save_model, write_config


def make_run(folder, data, kind="gru", seed=0, **model):
    """A run folder on data, with a model nobody trained; baselines are fitted."""
    baseline = kind in ("last", "seasonal", "linear", "ngram")
    opened = open_data(data, dtype=torch.float64)
    task = opened.task
    if isinstance(task, Forecasting):
        # Normal, for the quantiles of the others take longer than all the rest.
        size = {"targets": task.channels, "covariates": task.covariates, "head": "normal"}
    else:
        size = {"tokens": len(task.vocabulary)}
    fields = {"kind": kind, "width": 6, "window": 5, "lags": 5, "season": 3, "order": 3}
    config = RunConfig(
        opened.config, ModelConfig(**{**fields, **size, **model}), TrainingConfig(dtype="float64")
    )
    torch.manual_seed(seed)
    made = build(config.model).double()
    task.prepare(made)
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    if baseline:
        made.fit(task.source(1, 4096, 0, shuffle=False))  # pyright: ignore[reportCallIssue]
    write_config(folder, config, getattr(task, "vocabulary", None))
    save_model(folder, made)
    return load_run(folder)


def forecast_data(path, horizon=2, **columns):
    return DataConfig(str(path), columns=Columns(**columns), horizon=horizon)


def whole_run(run, index=0):
    """Quantiles of each target after each step of a series: `[time, targets, levels]`.

    One call of the model over the whole series, which knows nothing of sessions.
    """
    table = load_source(run.config.data)
    assert isinstance(table, SeriesTable)
    table = table.reach(1)
    each = table.series[index]
    x = torch.from_numpy(np.array(each.values))
    fed = torch.cat([torch.full_like(x[:1], torch.nan), x])[None]
    known = None
    if run.model.inputs.covariates:
        known = torch.from_numpy(known_ahead(each, 0, len(each) + 1))[None]
    with torch.no_grad():
        parameters, _ = run.model(fed, None, None, None, known)
        found = run.model.head.quantile(parameters[:, 1:], (0.1, 0.5, 0.9))[0]
    return each, found[:, : len(table.targets)].numpy()


def answered(answers, names):
    """The same numbers out of a session's answers."""
    return np.array(
        [[list(answer[name]["quantiles"].values()) for name in names] for answer in answers]
    )
