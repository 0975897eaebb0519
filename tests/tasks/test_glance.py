"""A quick look must agree with the thorough one where both can look."""

from typing import Any

import numpy as np
import pytest
import torch

from throughtime.data.series import from_array
from throughtime.data.splits import split
from throughtime.models import ModelConfig, build
from throughtime.tasks.forecasting import Forecasting
from throughtime.tasks.glance import glance


def task_of(values, horizon=6, parts="0.5,0.3,0.2"):
    table = from_array(values, season=12, wide=values.ndim > 1)
    return Forecasting(table, split(table, parts), horizon, torch.float64)


def wave(length=400, phase=0.0):
    steps = np.arange(length)
    noise = np.random.default_rng(0).normal(size=length)
    return np.sin(2 * np.pi * (steps + phase) / 12) + 0.3 * noise


def fitted(task, kind="linear", **fields):
    torch.manual_seed(0)
    many = len(task.table) > 1
    made = build(ModelConfig(kind=kind, scaling="standard" if many else "fixed", **fields))
    model: Any = made.double()
    task.prepare(model)
    if kind in ("linear", "last"):
        model.fit(task.source(1, 4096, 0, shuffle=False))
    return model


def test_it_is_the_backtest_where_the_history_is_long_enough():
    task = task_of(wave())
    model = fitted(task, lags=12)
    thorough = task.backtest(model, "validation", origins=1000, paths=400).metrics(scaled=True)
    quick = glance(task, model, origins=1000, paths=400)
    assert quick["loss"] == pytest.approx(thorough["crps"], rel=0.02)
    assert quick["nats"] == pytest.approx(task.validate(model).nats, rel=0.1)


def test_the_better_forecaster_looks_better():
    task = task_of(wave())
    assert glance(task, fitted(task, lags=12))["loss"] < glance(task, fitted(task, "last"))["loss"]


def test_several_series_weigh_alike_whatever_their_size():
    values = np.stack([wave(), wave(phase=5.0)], axis=1)
    here, there = (task_of(values * np.array([1.0, size])) for size in (1.0, 1000.0))
    one, other = (glance(task, fitted(task, "last"), paths=100)["loss"] for task in (here, there))
    assert one == pytest.approx(other, rel=0.05)


def test_nothing_of_the_test_part_is_seen():
    values = wave()
    poisoned = values.copy()
    poisoned[320:] = 1e6
    clean, other = task_of(values), task_of(poisoned)
    model = fitted(clean, "gru", width=4)
    assert glance(clean, model) == glance(other, model)
