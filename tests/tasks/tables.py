"""Tables and models that several tests use."""

from dataclasses import replace

import numpy as np
import torch

from throughtime.data.series import from_array
from throughtime.data.splits import split
from throughtime.data.table import Series, SeriesTable
from throughtime.models import ModelConfig, build
from throughtime.tasks.forecasting import Forecasting

HORIZON = 4


def values(steps, seed=0, width=1):
    random = np.random.default_rng(seed)
    day = np.sin(2 * np.pi * np.arange(steps) / 12)[:, None]
    return day + 0.3 * random.standard_normal((steps, width))


def single(steps=120, width=1):
    return from_array(values(steps, width=width), source="single.npy", season=12)


def hourly(matrix, begin=0, name="one", future=0, **parts):
    """A series on the hours of 2020, with what else a `Series` holds."""
    count = len(matrix)
    hours = np.datetime64("2020-01-01", "us") + np.timedelta64(1, "h") * (
        begin + np.arange(count + future)
    )
    fields = {"covariates": np.empty((count + future, 0)), "static": np.empty(0), **parts}
    return Series(name, hours[:count], matrix, future=hours[count:], **fields)


def several(lengths=(120, 90, 100), covariates=False, static=False, future=0):
    """Series that end together (but for what `without` cuts off) and begin apart.

    With covariates each holds its own step, counted from 0 in hours, so that misplacing shows.
    """
    longest = max(lengths)
    series = []
    for index, length in enumerate(lengths):
        begin = longest - length
        steps = begin + np.arange(length + future, dtype=np.float64)
        parts = {}
        if covariates:
            parts["covariates"] = steps[:, None]
        if static:
            parts["static"] = np.array([float(index)])
        matrix = values(length, seed=index)
        series.append(hourly(matrix, begin, f"s{index}", future, **parts))
    return SeriesTable(
        tuple(series),
        targets=("y",),
        known=("step",) if covariates else (),
        static=("which",) if static else (),
        frequency="1h",
        season=12,
        source="several",
    )


def changed(table, index, matrix):
    series = list(table.series)
    series[index] = replace(series[index], values=matrix)
    return replace(table, series=tuple(series))


def task_of(table, horizon=HORIZON, parts="0.6,0.2,0.2"):
    return Forecasting(table, split(table, parts), horizon, torch.float64)


def model_of(task, kind="gru", scaling=None, **more):
    torch.manual_seed(3)
    scaling = scaling or ("standard" if len(task.table) > 1 else "fixed")
    config = ModelConfig(
        kind, targets=task.channels, covariates=task.covariates, width=5, scaling=scaling,
        window=6, **more,
    )  # fmt: skip
    model = build(config).double().eval()
    task.prepare(model)
    for weight in model.parameters():  # far from where training begins, so that all parts matter
        torch.nn.init.normal_(weight, std=0.5)
    return model


def steady(model):
    """The model drawing always the same quantile, as far from its median as a sample may be.

    Random draws of one row depend on those of the rows before it, for some distributions reject
    draws; so they cannot tell whether two forecasts are the same.
    """
    head = model.head
    head.sample = lambda parameters, _: head.quantile(parameters, [0.8])[..., 0]
    return model
