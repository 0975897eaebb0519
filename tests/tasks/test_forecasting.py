"""Honest forecasts: nothing after an origin is seen, and a kept state is as good as a new run."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.tasks.tables import (
    HORIZON,
    changed,
    hourly,
    model_of,
    several,
    single,
    steady,
    task_of,
    values,
)
from throughtime.data.batches import RaggedBatches
from throughtime.data.splits import Split
from throughtime.data.streams import Streams
from throughtime.errors import InputError
from throughtime.models import ModelConfig, build
from throughtime.state import concatenate, tensors
from throughtime.tasks import forecasting
from throughtime.tasks.forecasting import Forecasting, future
from throughtime.tasks.rows import Rows, known_ahead

TABLES = {
    "one": lambda: single(),
    "two targets": lambda: single(width=2),
    "several": lambda: several(),
    "covariates": lambda: several(covariates=True, static=True),
}
KINDS = ("window", "rnn", "lstm", "gru")


def by_origin(backtest):
    keys = zip(backtest.series.tolist(), backtest.origins.tolist(), strict=True)
    return dict(zip(keys, backtest.samples, strict=True))


# -- the future is not seen ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("after", ["other values", "missing"])
@pytest.mark.parametrize("name", TABLES)
def test_no_forecast_sees_a_value_after_its_origin(name, after, kind):
    table = TABLES[name]()
    task = task_of(table)
    model = steady(model_of(task, kind))
    border = len(table.series[0]) - 12
    matrix = np.array(table.series[0].values)
    matrix[border:] = np.nan if after == "missing" else matrix[border:] + 5
    other = task_of(changed(table, 0, matrix))
    first = by_origin(task.backtest(model, paths=5))
    second = by_origin(other.backtest(model, paths=5))
    assert first.keys() == second.keys()
    before = [key for key in first if key[0] != 0 or key[1] <= border]
    later = [key for key in first if key[0] == 0 and key[1] > border]
    assert len(before) >= 5
    assert len(later) >= 5
    for key in before:
        np.testing.assert_allclose(first[key], second[key], rtol=1e-9, atol=1e-9, err_msg=str(key))
    # The test itself can see: what lies after the change is forecast otherwise.
    assert not any(np.allclose(first[key], second[key], rtol=1e-6) for key in later)


def test_the_scale_comes_from_the_training_part_alone():
    table = single()
    task = task_of(table)
    matrix = np.array(table.series[0].values)
    matrix[task.lengths[0] :] *= 100
    model, other = (
        model_of(task_of(changed(table, 0, rows))) for rows in (table.series[0].values, matrix)
    )
    scales = [dict(each.named_buffers())["inputs.scale.prior_scale"] for each in (model, other)]
    assert torch.equal(*scales)
    one, two = task.backtest(model, paths=3), task_of(changed(table, 0, matrix)).backtest(other)
    assert np.array_equal(one.naive, two.naive)
    assert np.array_equal(one.spread, two.spread)


# -- states taken while running --------------------------------------------------------------------


def alone(table, index):
    return replace(table, series=table.series[index : index + 1])


def fresh_state(task, model, index, origin):
    """The state before the last value of a history, run from its first step in one go."""
    each = task.table.series[index]
    x = torch.from_numpy(np.array(each.values[:origin]))[None]
    known = torch.from_numpy(known_ahead(each, 0, origin))[None] if task.covariates else None
    last, state = model.read(x, covariates=known)
    return last, state


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["one", "two targets"])
def test_forecasts_from_kept_states_equal_those_of_fresh_runs(name, kind):
    task = task_of(TABLES[name]())
    model = model_of(task, kind)
    found = task.backtest(model, origins=6, paths=7, seed=4)
    assert len(found.origins) == 6
    fresh = [fresh_state(task, model, 0, origin) for origin in found.origins.tolist()]
    samples = model.forecast(
        HORIZON,
        concatenate([state for _, state in fresh]),
        torch.cat([last for last, _ in fresh]),
        None,
        7,
        torch.Generator().manual_seed(4),
    )
    np.testing.assert_allclose(found.samples, samples.numpy(), rtol=1e-9, atol=1e-9)
    for index, origin in enumerate(found.origins.tolist()):
        after = task.table.series[0].values[origin : origin + HORIZON]
        assert np.array_equal(found.actual[index], after)


def test_pieces_that_fit_in_memory_change_nothing(monkeypatch):
    task = task_of(single())
    model = steady(model_of(task))
    whole = task.backtest(model, origins=7, paths=3)
    monkeypatch.setattr(forecasting, "ROWS_AT_ONCE", 1)
    np.testing.assert_allclose(task.backtest(model, origins=7, paths=3).samples, whole.samples)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["several", "covariates"])
def test_series_padded_on_the_left_are_as_if_alone(name, kind):
    table = TABLES[name]()
    task = task_of(table)
    model = model_of(task, kind)
    rows = Rows.make(task, table.series, table.lengths, max(table.lengths), 0)
    together = task.read(model, rows, 0, rows.time)
    for index in range(len(table)):
        _, state = fresh_state(task, model, index, len(table.series[index]))
        for part, own in zip(tensors(together), tensors(state), strict=True):
            torch.testing.assert_close(part[index : index + 1], own, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["several", "covariates"])
def test_backtests_of_series_of_unequal_length_are_as_if_alone(name):
    table = TABLES[name]()
    task = task_of(table)
    model = steady(model_of(task))
    together = by_origin(task.backtest(model, paths=2))
    for index in range(len(table)):
        own = Forecasting(
            alone(table, index), Split((task.split.stops[index],), None, None), HORIZON,
            torch.float64,
        )  # fmt: skip
        single_ = by_origin(own.backtest(model, paths=2))
        mine = {origin: paths for (row, origin), paths in together.items() if row == index}
        assert mine.keys() == {origin for _, origin in single_}
        for (_, origin), paths in single_.items():
            np.testing.assert_allclose(mine[origin], paths, rtol=1e-9, atol=1e-9)


# -- missing values --------------------------------------------------------------------------------


def test_missing_values_are_passed_over():
    table = single()
    matrix = np.array(table.series[0].values)
    matrix[10:14] = matrix[80] = matrix[100:103] = np.nan
    task = task_of(changed(table, 0, matrix))
    model = model_of(task)
    found = task.backtest(model, paths=20)
    assert np.isfinite(found.samples).all()
    assert np.isnan(found.actual).any()
    assert all(np.isfinite(value) for value in found.metrics(scaled=False).values())
    start, stop = task.split.stops[0][1:]
    counted = int((~np.isnan(matrix[start:stop])).sum())
    assert task.validate(model, "test").counted == counted


def test_a_series_without_training_is_forecast_and_measured_by_nothing():
    table = several((120, 20))
    task = task_of(table)
    assert task.lengths[1] == 0
    found = task.backtest(model_of(task), paths=5)
    assert 1 in found.series
    assert np.isnan(found.naive[1]).all()
    assert all(np.isfinite(value) for value in found.metrics(scaled=True).values())


# -- covariates ------------------------------------------------------------------------------------


class Seen:
    """All that a model is given, call by call."""

    def __init__(self, model):
        self.calls = []
        model.register_forward_pre_hook(self.keep, with_kwargs=True)

    def keep(self, module, args, kwargs):
        del module
        names = ("x", "state", "mask", "reset", "covariates")
        self.calls.append(
            {**dict.fromkeys(names), **dict(zip(names, args, strict=False)), **kwargs}
        )


def clock(lengths=(60, 45), future=0):
    """Series whose value is their step, beside that step as a known column: t beside t."""
    table = several(lengths, covariates=True, static=True, future=future)
    series = [replace(each, values=each.covariates[: len(each)].copy()) for each in table.series]
    return replace(table, series=tuple(series))


@pytest.mark.parametrize("lengths", [(60,), (60, 45)])
def test_training_batches_hold_the_covariates_of_the_step_predicted(lengths):
    task = task_of(clock(lengths))
    seen = 0
    for windows in task.source(4, 10, 0).epoch(0):
        for index in range(len(windows)):
            batch = windows[index]
            real = torch.ones(batch.shape, dtype=torch.bool) if batch.mask is None else batch.mask
            assert batch.covariates is not None
            assert torch.equal(batch.covariates[real][:, 0], batch.targets[real][:, 0])
            which = batch.covariates[..., 1]
            assert all(len(set(row[keep].tolist())) <= 1
                       for row, keep in zip(which, real, strict=True))  # fmt: skip
            seen += int(real.sum())
    assert seen == sum(task.lengths)


def test_a_backtest_gives_the_covariates_of_the_step_predicted():
    task = task_of(clock())
    model = model_of(task)
    seen = Seen(model)
    found = task.backtest(model, paths=3)
    history = [call for call in seen.calls if call["x"].shape[0] == 2]
    ahead = [call for call in seen.calls if call["x"].shape[0] != 2]
    assert history
    for call in history:
        real = call["mask"] & ~call["x"].isnan()[..., 0]
        assert torch.equal(call["covariates"][real][:, 0], call["x"][real][:, 0] + 1)
        assert (call["covariates"][1, call["mask"][1], 1] == 1).all()  # the static column
    assert len(ahead) == HORIZON
    shorter = len(task.table.series[0]) - len(task.table.series[1])
    expected = found.origins + np.where(found.series == 1, shorter, 0)
    for step, call in enumerate(ahead):
        given = call["covariates"][::3, 0, 0].numpy()  # one of the three paths
        assert sorted(given.tolist()) == sorted((expected + step).tolist())


def test_validation_gives_the_covariates_of_the_step_predicted():
    task = task_of(clock())
    model = model_of(task)
    seen = Seen(model)
    task.validate(model)
    for call in seen.calls:
        real = call["mask"] & ~call["x"].isnan()[..., 0]
        assert torch.equal(call["covariates"][real][:, 0], call["x"][real][:, 0] + 1)


# -- validation ------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["validation", "test"])
@pytest.mark.parametrize("name", TABLES)
def test_validation_goes_on_from_what_came_before(name, part):
    task = task_of(TABLES[name]())
    model = model_of(task)
    total, count = 0.0, 0
    for each, stops in zip(task.table.series, task.split.stops, strict=True):
        start, stop = stops[:2] if part == "validation" else stops[1:]
        x = torch.from_numpy(np.array(each.values[:stop]))[None]
        known = torch.from_numpy(known_ahead(each, 0, stop))[None] if task.covariates else None
        total -= float(model.log_prob(x, None, known)[0, start:].detach().sum())
        count += (stop - start) * task.channels
    score = task.validate(model, part)
    assert score.counted == count
    assert score.nats == pytest.approx(total / count, rel=1e-9)


def test_validation_differs_from_one_that_starts_anew():
    task = task_of(single())
    model = model_of(task)
    start, stop, _ = task.split.stops[0]
    x = torch.from_numpy(np.array(task.table.series[0].values[start:stop]))[None]
    assert task.validate(model).nats != pytest.approx(float(model.nats(x).detach()), rel=1e-3)


def test_several_windows_of_validation_are_one(monkeypatch):
    task = task_of(single(400))
    model = model_of(task)
    whole = task.validate(model).nats
    windows = Rows.windows
    monkeypatch.setattr(Rows, "windows", lambda self, size: windows(self, 7))
    assert task.validate(model).nats == pytest.approx(whole, rel=1e-12)


# -- sources ---------------------------------------------------------------------------------------


def test_one_series_is_streamed_and_several_are_batched():
    assert isinstance(task_of(single()).source(4, 8, 0), Streams)
    assert isinstance(task_of(several()).source(4, 8, 0), RaggedBatches)


@pytest.mark.parametrize("name", TABLES)
def test_training_holds_every_training_value_once_and_no_other(name):
    task = task_of(TABLES[name]())
    found = []
    for windows in task.source(4, 10, seed=1).epoch(3):
        for index in range(len(windows)):
            batch = windows[index]
            real = slice(None) if batch.mask is None else batch.mask
            found += batch.targets[real].flatten().tolist()
    expected = [
        each.values[:stop] for each, stop in zip(task.table.series, task.lengths, strict=True)
    ]
    assert sorted(found) == sorted(np.concatenate(expected).flatten().tolist())


def test_a_short_series_has_fewer_streams_than_asked_for():
    task = task_of(single(40))
    (windows,) = task.source(16, 8, 0).epoch(0)
    assert windows[0].shape[0] == 24 // 8


# -- beyond the end --------------------------------------------------------------------------------


def test_the_future_begins_where_each_series_ends():
    table = clock((60, 45), future=6)
    # The second series ends five hours before the first.
    second = table.series[1]
    cut = replace(second, times=second.times[:-5], values=second.values[:-5],
                  covariates=second.covariates[:-5],
                  future=np.concatenate([second.times[-5:], second.future])[:6])  # fmt: skip
    table = replace(table, series=(table.series[0], cut))
    model = model_of(task_of(table))
    seen = Seen(model)
    found = future(model, table, 6, paths=3)
    assert found.samples.shape == (2, 3, 6, 1)
    ahead = [call["covariates"][::3, 0, 0].tolist() for call in seen.calls[-6:]]
    assert ahead == [[60.0 + step, 55.0 + step] for step in range(6)]
    for each, times in zip(table.series, found.times, strict=True):
        assert np.array_equal(times, each.times[-1] + np.timedelta64(1, "h") * np.arange(1, 7))


def test_the_future_is_what_a_run_over_the_series_says():
    table = several((80, 50))
    task = task_of(table)
    model = model_of(task)
    found = future(model, table, 5, paths=4, seed=2)
    fresh = [fresh_state(task, model, index, len(each)) for index, each in enumerate(table.series)]
    samples = model.forecast(
        5, concatenate([state for _, state in fresh]), torch.cat([last for last, _ in fresh]),
        None, 4, torch.Generator().manual_seed(2),
    )  # fmt: skip
    np.testing.assert_allclose(found.samples, samples.numpy(), rtol=1e-9, atol=1e-9)


def test_known_columns_must_reach_as_far_as_the_forecast():
    table = clock((60,), future=3)
    model = model_of(task_of(table))
    assert future(model, table, 3, paths=1).samples.shape[2] == 3
    with pytest.raises(InputError, match=r"known column 'step' .* reaches 3 steps .* expected 4"):
        future(model, table, 4, paths=1)


def test_past_covariates_are_modelled_and_not_shown():
    one = several((80,))
    both = np.concatenate([one.series[0].values, values(80, seed=9)], axis=1)
    table = replace(changed(one, 0, both), past=("p",))
    task = task_of(table)
    assert task.channels == 2
    found = task.backtest(model_of(task), paths=3)
    assert found.samples.shape[-1] == found.actual.shape[-1] == 1


def test_the_last_value_forecasts_the_last_value():
    table = single()
    task = task_of(table)
    model = build(ModelConfig("last")).double()
    task.prepare(model)
    model.fit(task.source(1, 4096, 0, shuffle=False))  # pyright: ignore[reportCallIssue]
    found = task.backtest(model, paths=400)
    middle = np.median(found.samples[:, :, 0, 0], axis=1)
    last = table.series[0].values[found.origins - 1, 0]
    assert np.abs(middle - last).max() < 0.15  # of a deviation of 0.8
    assert np.corrcoef(middle, last)[0, 1] > 0.99


# -- refusals --------------------------------------------------------------------------------------


def test_a_horizon_longer_than_the_part_is_refused():
    task = task_of(single(), horizon=25)
    with pytest.raises(InputError, match=r"test part has at most 24 steps, .* horizon of 25"):
        task.backtest(model_of(task))


def test_other_parts_and_horizons_are_refused():
    with pytest.raises(InputError, match="horizon is 0, expected at least 1"):
        task_of(single(), horizon=0)
    task = task_of(single())
    with pytest.raises(InputError, match="part is 'train', expected 'validation' or 'test'"):
        task.validate(model_of(task), "train")


def test_origins_are_spread_over_the_whole_part():
    task = task_of(single())
    model = model_of(task)
    start, stop = task.split.stops[0][1:]
    every = task.backtest(model, origins=1000, paths=1)
    assert every.origins.tolist() == list(range(start, stop - HORIZON + 1))
    three = task.backtest(model, origins=3, paths=1)
    assert three.origins.tolist() == [start, (start + stop - HORIZON) // 2, stop - HORIZON]


def test_hours_are_hours():
    one = hourly(np.zeros((3, 1)), begin=2, future=1)
    assert str(one.times[0]) == "2020-01-01T02:00:00.000000"
    assert len(one.future) == 1
