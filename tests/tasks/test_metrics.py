"""Figures of merit against their definitions."""

import math
from itertools import pairwise

import numpy as np
import pytest

from throughtime.tasks import metrics
from throughtime.tasks.backtest import Backtest


def normal_crps(y):
    """CRPS of the standard normal, in closed form (Gneiting and Raftery 2007, eq. 20's case)."""
    below = 0.5 * (1 + math.erf(y / math.sqrt(2)))
    density = math.exp(-(y**2) / 2) / math.sqrt(2 * math.pi)
    return y * (2 * below - 1) + 2 * density - 1 / math.sqrt(math.pi)


def by_definition(samples, actual):
    """E|X - y| - E|X - X'| / 2 over all pairs of two different samples: O(S^2)."""
    pairs = [abs(a - b) for i, a in enumerate(samples) for j, b in enumerate(samples) if i != j]
    return np.mean(np.abs(samples - actual)) - np.mean(pairs) / 2


@pytest.mark.parametrize("y", [0.0, 0.7, -2.5])
def test_crps_meets_the_closed_form_of_a_normal(y):
    samples = np.random.default_rng(0).standard_normal((1000, 100, 1))
    found = metrics.crps(samples, np.full((1000, 1), y))[:, 0]
    error = found.std(ddof=1) / math.sqrt(len(found))
    assert error < 0.005  # tight enough to see a wrong factor
    assert found.mean() == pytest.approx(normal_crps(y), abs=4 * error)


@pytest.mark.parametrize("paths", [2, 3, 8, 21])
def test_crps_is_its_definition(paths):
    random = np.random.default_rng(paths)
    samples, actual = random.standard_normal((5, paths, 3)), random.standard_normal((5, 3))
    found = metrics.crps(samples, actual)
    for n in range(5):
        for h in range(3):
            assert found[n, h] == pytest.approx(by_definition(samples[n, :, h], actual[n, h]))


def test_crps_does_not_depend_on_how_many_paths_there_are_on_average():
    random = np.random.default_rng(1)
    for paths in (2, 4, 64):
        found = metrics.crps(random.standard_normal((40_000, paths, 1)), np.full((40_000, 1), 0.3))
        error = found.std(ddof=1) / math.sqrt(len(found))
        assert found.mean() == pytest.approx(normal_crps(0.3), abs=4 * error)


def test_crps_of_one_path_is_the_absolute_error():
    samples = np.array([[[1.0, 5.0]], [[-2.0, 0.0]]])
    found = metrics.crps(samples, np.array([[3.0, 5.0], [0.0, -1.5]]))
    assert found.tolist() == [[2.0, 0.0], [2.0, 1.5]]


def test_crps_is_in_units_and_unmoved_by_a_shift():
    random = np.random.default_rng(2)
    samples, actual = random.standard_normal((4, 30, 2)), random.standard_normal((4, 2))
    one = metrics.crps(samples, actual)
    np.testing.assert_allclose(metrics.crps(10 * samples + 7, 10 * actual + 7), 10 * one)


def test_crps_of_what_was_not_observed_is_missing():
    samples = np.random.default_rng(0).standard_normal((1, 9, 2))
    found = metrics.crps(samples, np.array([[np.nan, 0.0]]))
    assert np.isnan(found[0, 0])
    assert np.isfinite(found[0, 1])


def test_smape():
    actual = np.array([100.0, 0.0, -50.0, 3.0, np.nan])
    forecast = np.array([110.0, 0.0, 50.0, 0.0, 1.0])
    found = metrics.smape(actual, forecast)
    assert found[:4] == pytest.approx([200 * 10 / 210, 0.0, 200.0, 200.0])
    assert np.isnan(found[4])


def test_naive_error_is_the_mean_change_over_one_season():
    values = np.array([1.0, 2.0, 4.0, 3.0, 0.0])
    assert metrics.naive_error(values, 1) == pytest.approx((1 + 2 + 1 + 3) / 4)
    assert metrics.naive_error(values, 2) == pytest.approx((3 + 1 + 4) / 3)


def test_naive_error_passes_over_what_is_missing():
    values = np.array([1.0, np.nan, 4.0, 6.0])
    assert metrics.naive_error(values, 1) == pytest.approx(2.0)  # only 4 to 6 is known
    assert math.isnan(metrics.naive_error(np.array([1.0, np.nan, np.nan]), 1))


def test_coverage_of_normal_samples_is_its_share():
    random = np.random.default_rng(0)
    samples, actual = random.standard_normal((4000, 200, 1)), random.standard_normal((4000, 1))
    for share in (0.5, 0.8, 0.95):
        found = metrics.coverage(samples, actual, share)
        assert set(np.unique(found)) <= {0.0, 1.0}
        assert found.mean() == pytest.approx(share, abs=0.02)


def test_coverage_of_what_was_not_observed_is_missing():
    samples = np.linspace(0, 1, 11)[None, :, None].repeat(3, axis=2)
    found = metrics.coverage(samples, np.array([[0.5, 2.0, np.nan]]), 0.8)
    assert found[0, :2].tolist() == [1.0, 0.0]
    assert np.isnan(found[0, 2])


# -- a backtest ------------------------------------------------------------------------------------


def backtest(actual, samples, **changes):
    fields = {
        "series": np.zeros(len(actual), dtype=np.int64),
        "origins": np.arange(len(actual)),
        "naive": np.ones((1, actual.shape[-1])),
        "spread": np.ones((1, actual.shape[-1])),
        "mean": np.zeros((1, actual.shape[-1])),
    }
    return Backtest(actual=actual, samples=samples, **{**fields, **changes})


def test_a_perfect_forecaster():
    actual = np.random.default_rng(0).standard_normal((6, 4, 2))
    found = backtest(actual, actual[:, None].repeat(20, axis=1)).metrics(scaled=False)
    assert found == pytest.approx(
        {"mase": 0, "smape": 0, "rmse": 0, "crps": 0, "cover80": 100, "cover95": 100,
         "mse_scaled": 0, "mae_scaled": 0}, abs=1e-12,
    )  # fmt: skip


def test_a_forecaster_that_is_off_by_three():
    actual = np.full((2, 4, 1), 9.0)
    samples = np.full((2, 10, 4, 1), 12.0)
    one = backtest(actual, samples, naive=np.array([[2.0]]), spread=np.array([[6.0]]))
    found = one.metrics(scaled=False)
    assert found["mase"] == pytest.approx(1.5)
    assert found["smape"] == pytest.approx(200 * 3 / 21)
    assert found["rmse"] == found["crps"] == pytest.approx(3.0)
    assert found["cover95"] == 0
    assert (found["mse_scaled"], found["mae_scaled"]) == pytest.approx((0.25, 0.5))
    scaled = one.metrics(scaled=True)
    assert (scaled["rmse"], scaled["crps"]) == pytest.approx((0.5, 0.5))
    assert scaled["mase"] == found["mase"]


def test_each_series_is_measured_by_its_own_scale():
    actual = np.zeros((2, 1, 1))
    samples = np.array([1.0, 10.0])[:, None, None, None].repeat(5, axis=1)
    own = np.array([[1.0], [10.0]])
    one = Backtest(
        np.array([0, 1]), np.zeros(2, dtype=np.int64), actual, samples, own, own, 0 * own
    )
    found = one.metrics(scaled=True)
    assert found["mase"] == found["rmse"] == found["crps"] == pytest.approx(1.0)


def test_what_was_not_observed_counts_nowhere():
    random = np.random.default_rng(0)
    actual, samples = random.standard_normal((5, 4, 1)), random.standard_normal((5, 9, 4, 1))
    holes = actual.copy()
    holes[1] = np.nan
    kept = [0, 2, 3, 4]
    assert backtest(holes, samples).metrics(scaled=False) == pytest.approx(
        backtest(actual[kept], samples[kept]).metrics(scaled=False)
    )
    holes[:, 2] = np.nan
    lead = backtest(holes, samples).lead_error(scaled=False)
    assert np.isnan(lead).tolist() == [False, False, True, False]


def test_a_series_without_a_scale_is_left_out_of_what_divides_by_it():
    actual, samples = np.zeros((2, 3, 1)), np.ones((2, 4, 3, 1))
    both = np.array([[2.0], [0.0]])
    one = Backtest(
        np.array([0, 1]), np.zeros(2, dtype=np.int64), actual, samples,
        both, np.where(both > 0, both, np.nan), 0 * both,
    )  # fmt: skip
    found = one.metrics(scaled=True)
    assert found["mase"] == found["rmse"] == pytest.approx(0.5)


def test_the_error_grows_with_the_lead_where_it_does():
    actual = np.zeros((3, 5, 1))
    samples = np.arange(5.0)[None, None, :, None].repeat(3, 0).repeat(7, 1)
    lead = backtest(actual, samples).lead_error(scaled=False)
    assert lead.tolist() == [0, 1, 2, 3, 4]
    assert all(a < b for a, b in pairwise(lead))
