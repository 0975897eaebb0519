"""Last value, seasonal naive, linear autoregression: against NumPy, as forecasts, as layers."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.torch
import torch

from throughtime.errors import InputError
from throughtime.models.least_squares import NormalEquations
from throughtime.models.linear import LastValue, LinearAutoregression, SeasonalNaive
from throughtime.testing import LAWS, check_layer

MISSING = torch.nan


def autoregression(steps, weights=(0.5, 0.3), rows=1, size=1, noise=1.0, level=0.0):
    """A stationary process, started far before its first step."""
    x = torch.zeros(rows, steps + 200, size, dtype=torch.float64)
    for t in range(len(weights), steps + 200):
        x[:, t] = sum(w * x[:, t - k] for k, w in enumerate(weights, start=1))
        x[:, t] += noise * torch.randn(rows, size, dtype=torch.float64)
    return level + x[:, 200:]


def series(*values):
    return torch.tensor(values, dtype=torch.float64).view(1, -1, 1)


def batch(x, covariates=None, mask=None, reset=None):
    inputs = torch.cat([torch.full_like(x[:, :1], MISSING), x[:, :-1]], dim=1)
    return SimpleNamespace(inputs=inputs, targets=x, mask=mask, reset=reset, covariates=covariates)


def cut(whole, size):
    """A batch as windows in time."""
    return [
        SimpleNamespace(
            **{
                name: None if part is None else part[:, at : at + size]
                for name, part in vars(whole).items()
            }
        )
        for at in range(0, whole.inputs.shape[1], size)
    ]


def points(model, x, steps, covariates=None):
    """The forecast that feeds its own points back."""
    last, state = model.read(x, None, None, covariates)
    found = []
    for _ in range(steps):
        parameters, state = model(last.unsqueeze(1), state)
        last = model.head.point(parameters)[:, 0]
        found.append(last)
    return torch.stack(found, dim=1)


def same(one, other, **tolerance):
    for name, value in one.state_dict().items():
        torch.testing.assert_close(value, other.state_dict()[name], **tolerance)


# -- the naive ones -------------------------------------------------------------------------------


def test_seasonal_naive_repeats_the_last_season_exactly():
    x = torch.randn(3, 31, 2)
    model = SeasonalNaive(7, size=2).fit(x)
    assert torch.equal(points(model, x, 17), x[:, 24:].repeat(1, 3, 1)[:, :17])
    last = LastValue(size=2).fit(x)
    assert torch.equal(points(last, x, 5), x[:, -1:].expand(-1, 5, -1))


def test_seasonal_naive_falls_back_to_the_last_value():
    model = SeasonalNaive(4).double()
    parameters, _ = model(series(3.0, 5.0, 4.0, 6.0, 7.0))
    assert model.head.point(parameters).flatten().tolist() == [3, 5, 4, 3, 5]
    x = series(1.0, 2.0, 3.0)
    assert model.fit(x).head.deviation.item() == pytest.approx(1.0)  # of the values: no season


@pytest.mark.parametrize("season", [1, 5])
def test_the_noise_is_that_of_the_residuals(season):
    x = torch.randn(2, 40, 3, dtype=torch.float64) * torch.tensor([1.0, 5.0, 0.1])
    x[1, 20, 0] = MISSING
    model = SeasonalNaive(season, size=3).double().fit(x)
    filled = x.clone()
    filled[1, 20, 0] = x[1, 19, 0]  # as an input the last value stands for it
    residuals = (x[:, season:] - filled[:, :-season]).flatten(0, 1)
    expected = residuals.square().nanmean(0).sqrt()
    torch.testing.assert_close(model.head.deviation, expected)


def test_a_missing_value_is_the_last_one_inside_the_window():
    x = series(MISSING, 2.0, MISSING, MISSING, 5.0, MISSING)
    for size in (6, 1):
        model, state, found = SeasonalNaive(2).double(), None, []
        for piece in x.split(size, dim=1):
            parameters, state = model(piece, state)
            found += model.head.point(parameters).flatten().tolist()
        assert found == [0, 2, 2, 2, 2, 5]


def test_intervals_of_a_random_walk_widen_with_the_root_of_the_horizon():
    model = LastValue().double().fit(torch.randn(1, 4000, 1, dtype=torch.float64).cumsum(1))
    last, state = model.read(series(3.0, 10.0))
    paths = model.forecast(16, state, last, paths=4000)[0, :, :, 0]
    horizons = torch.arange(1, 17, dtype=torch.float64)
    torch.testing.assert_close(paths.std(0), horizons.sqrt(), rtol=0.1, atol=0)
    torch.testing.assert_close(paths.mean(0), torch.full_like(horizons, 10), rtol=0, atol=0.3)
    parameters, _ = model(last.unsqueeze(1), state)
    low, high = model.head.quantile(parameters, [0.1, 0.9])[0, 0, 0].tolist()
    assert (low, high) == pytest.approx((10 - 1.2816, 10 + 1.2816), abs=0.05)


# -- least squares --------------------------------------------------------------------------------


def test_recovers_the_process():
    n = 20_000
    x = autoregression(n, (0.5, 0.3), noise=2.0, level=7.0)
    model = LinearAutoregression(2).double().fit(x)
    # The asymptotic covariance of the weights is [[1 - b^2, -a(1 + b)], ...] / n.
    standard_error = math.sqrt((1 - 0.3**2) / n)
    expected = torch.tensor([[0.5, 0.3]], dtype=torch.float64)
    assert (model.weights - expected).abs().max() < 3 * standard_error
    assert float(model.head.deviation) == pytest.approx(2, abs=3 * 2 / math.sqrt(2 * n))
    assert float(model.head.mean) == pytest.approx(7, abs=3 * 2 / 0.2 / math.sqrt(n))
    far = points(model, x, 200)[0, -1, 0]
    assert float(far) == pytest.approx(float(model.head.mean), abs=0.1)


def numpy_regression(x, lags, covariates, *, cross):
    """The solution for each number by itself; steps whose target is missing are left out."""
    _, time, size = x.shape
    filled = x.copy()
    for t in range(1, time):
        filled[:, t] = np.where(np.isnan(x[:, t]), filled[:, t - 1], x[:, t])
    found = []
    for d in range(size):
        rows, targets = [], []
        for row in range(len(x)):
            for t in range(lags, time):
                past = filled[row, t - lags : t][::-1]
                values = past.ravel() if cross else past[:, d]
                known = [] if covariates is None else covariates[row, t]
                if not np.isnan(x[row, t, d]) and not np.isnan(values).any():
                    rows.append([*values, *known, 1.0])
                    targets.append(x[row, t, d])
        design, y = np.array(rows), np.array(targets)
        beta = np.linalg.lstsq(design, y, rcond=None)[0]
        rest = y - design @ beta
        found.append((beta, math.sqrt(rest @ rest / (len(y) - len(beta)))))
    return found


@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("columns", [0, 2])
@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_equals_numpy(cross, columns, missing):
    x = autoregression(150, (0.6, -0.2, 0.3), rows=2, size=3, level=50.0)
    x[:, 1:] += x[:, :-1].roll(1, dims=2)
    covariates = torch.randn(2, 150, columns, dtype=torch.float64) if columns else None
    if covariates is not None:
        x = x + covariates.sum(-1, keepdim=True)
    x[torch.rand(x.shape) < missing] = MISSING
    model = LinearAutoregression(4, size=3, covariates=columns, cross=cross).double()
    model.fit([batch(x, covariates)])
    line = torch.cat([model.begin(2), x[:, :-1]], dim=1)
    parameters, _ = model(line, None, None, None, covariates)
    predicted = model.head.point(parameters)
    known = None if covariates is None else covariates.numpy()
    for d, (beta, deviation) in enumerate(numpy_regression(x.numpy(), 4, known, cross=cross)):
        lags = 12 if cross else 4
        assert model.weights[d].tolist() == pytest.approx(beta[:lags].tolist(), abs=1e-8)
        assert float(model.head.deviation[d]) == pytest.approx(deviation, abs=1e-8)
        # And the shift, by way of a prediction.
        if not missing:
            past = x[0, 5:9].flip(0).numpy()
            values = [
                *(past.ravel() if cross else past[:, d]),
                *([] if known is None else known[0, 9]),
            ]
            assert float(predicted[0, 9, d]) == pytest.approx(beta @ [*values, 1.0], abs=1e-8)


@pytest.mark.parametrize("scaling", ["none", "fixed", "mean", "standard"])
def test_windows_of_a_stream_give_the_fit_of_the_whole(scaling, monkeypatch):
    x = autoregression(120, rows=3, size=2, level=20.0)
    x[torch.rand(x.shape) < 0.05] = MISSING
    mask = torch.rand(3, 120) < 0.9
    reset = torch.rand(3, 120) < 0.02
    whole = batch(x, None, mask, reset)

    def fitted(data):
        model = LinearAutoregression(3, size=2, scaling=scaling).double()
        model.fit_scaling(x)
        return model.fit(data)

    reference = fitted([whole])
    for data in (
        cut(whole, 7),
        [cut(whole, 50)],
        SimpleNamespace(epoch=lambda number: [cut(whole, 11)]),
    ):
        same(fitted(data), reference, rtol=1e-9, atol=1e-9)
    monkeypatch.setattr("throughtime.models.lags.CHUNK", 100)
    same(fitted([whole]), reference, rtol=1e-9, atol=1e-9)


def test_windows_of_other_rows_begin_anew():
    x = autoregression(60, rows=2)
    apart = [[batch(x[:1])], [batch(x[1:])]]
    same(
        LinearAutoregression(5).double().fit(apart),
        LinearAutoregression(5).double().fit([batch(x)]),
    )


def test_a_float32_model_learns_in_float64():
    x = (1e4 + autoregression(3000, (1.2, -0.3), noise=0.5)).float()
    model = LinearAutoregression(2).fit(x)
    exact = LinearAutoregression(2).double().fit(x.double())
    assert model.weights.dtype == torch.float32
    torch.testing.assert_close(model.weights.double(), exact.weights, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        points(model, x, 3).double(), points(exact, x.double(), 3), rtol=1e-6, atol=0
    )


def test_a_high_level_costs_no_precision():
    x = autoregression(500)
    low = LinearAutoregression(3).double().fit(x)
    high = LinearAutoregression(3).double().fit(x + 1e7)
    torch.testing.assert_close(high.weights, low.weights, rtol=0, atol=1e-7)


def test_redundant_columns_do_no_harm():
    x = autoregression(200).expand(-1, -1, 2)  # the two numbers are the same
    twice = LinearAutoregression(2, size=2, cross=True).double().fit(x)
    once = LinearAutoregression(2).double().fit(x[..., :1])
    torch.testing.assert_close(twice.weights.unflatten(1, (2, 2)).sum(2)[:1], once.weights)
    assert twice.weights.abs().max() < 1
    still = LinearAutoregression(2).double().fit(torch.full((1, 30, 1), 4.0))
    assert points(still, torch.full((1, 5, 1), 4.0).double(), 3).flatten().tolist() == [4, 4, 4]
    assert float(still.head.deviation) > 0


def test_bic_chooses_the_lags_there_are():
    x = autoregression(5000, (0.5, 0.0, 0.3), size=2)
    model = LinearAutoregression(12, size=2).double().fit(x, criterion="bic")
    assert model.chosen == 3
    assert (model.weights[:, 3:] == 0).all()
    # The sums are over the steps that have 12 values before them; three lags are fitted to these.
    exact = LinearAutoregression(3, size=2).double().fit(x[:, 9:])
    torch.testing.assert_close(model.weights[:, :3], exact.weights)
    torch.testing.assert_close(model.head.deviation, exact.head.deviation)
    assert LinearAutoregression(12, size=2).fit(x, criterion="aic").chosen >= 3


def test_the_criterion_counts_its_columns():
    equations = NormalEquations.empty(1, 2, torch.empty(0))
    x, y = torch.randn(50, 1, 2, dtype=torch.float64), torch.randn(50, 1, dtype=torch.float64)
    equations.add(x, y, torch.ones(50, 1, dtype=torch.bool))
    rest = np.linalg.lstsq(x[:, 0].numpy(), y[:, 0].numpy(), rcond=None)[1][0]
    fit = 50 * math.log(rest / 50)
    assert equations.criterion("aic") == pytest.approx(fit + 4)
    assert equations.criterion("bic") == pytest.approx(fit + 2 * math.log(50))


# -- scales, beginnings, likelihood ---------------------------------------------------------------


def test_each_series_of_a_table_has_noise_of_its_own_size():
    sizes = torch.tensor([1.0, 100.0, 1e4], dtype=torch.float64).view(3, 1, 1)
    x = sizes * (5 + autoregression(400, (0.7,), rows=3, noise=0.5))
    model = LinearAutoregression(1, scaling="standard").double()
    model.fit_scaling(x)
    model.fit(x)
    parameters, _ = model(x)
    _, scale = model.head.split(parameters)
    torch.testing.assert_close(
        scale[:, -1] / sizes[:, 0], scale.new_full((3, 1), 0.5), rtol=0.15, atol=0
    )
    covered = (x[:, 201:] - model.head.point(parameters)[:, 200:-1]).abs() < 1.645 * scale[
        :, 200:-1
    ]
    assert float(covered.double().mean()) == pytest.approx(0.9, abs=0.05)


@pytest.mark.parametrize("scaling", ["mean", "standard"])
def test_short_series_are_learned_from_where_there_are_no_longer_ones(scaling):
    x = 5 + torch.randn(40, 8, 1, dtype=torch.float64)
    model = LinearAutoregression(2, scaling=scaling).double()
    model.fit_scaling(x)
    model.fit(x)
    assert float(model.head.coefficients.abs().sum()) > 0
    _, scale = model.head.split(model(x)[0])
    assert 0.8 < float(scale[:, -1].mean()) < 1.8  # wide: so early the scales are uncertain


def test_the_first_value_comes_from_all_values():
    x = autoregression(5000, (0.9,), level=3.0)
    for model in (LastValue(), LinearAutoregression(2)):
        distribution, _ = model.double().fit(x).step()
        assert float(distribution.mean) == pytest.approx(float(x.mean()))
        assert float(distribution.stddev) == pytest.approx(float(x.std()))


def test_few_known_values_are_completed_by_the_mean():
    model = LinearAutoregression(3).double().fit(autoregression(300, (0.4, 0.2, 0.2), level=9.0))
    parameters, _ = model(series(11.0))
    w, mean = model.weights[0], model.head.mean
    shift = model.head.coefficients[0, -1]
    torch.testing.assert_close(parameters[0, 0, :1], mean + shift + w[0] * (11 - mean))


def test_likelihood_is_that_of_the_process():
    x = autoregression(20_000, (0.5, 0.3), noise=2.0)
    model = LinearAutoregression(2).double().fit(x)
    entropy = 0.5 * math.log(2 * math.pi * math.e * 4)
    assert float(model.nats(x)) == pytest.approx(entropy, abs=0.02)
    assert float(LastValue().double().fit(x).nats(x)) > entropy + 0.05
    line = torch.cat([model.begin(1), x[:, :-1]], dim=1)
    loss = model.head.loss(model(line)[0], x)
    torch.testing.assert_close(-loss, model.log_prob(x))


# -- as layers, saved, refused ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "scaling"),
    [
        ("seasonal", "none"),
        ("seasonal", "mean"),
        ("own", "none"),
        ("own", "standard"),
        ("cross", "fixed"),
    ],
)
def test_keeps_the_contract(kind, scaling):
    x = autoregression(100, rows=2, size=2, level=5.0)
    model = {
        "seasonal": lambda: SeasonalNaive(3, 2, scaling=scaling),
        "own": lambda: LinearAutoregression(3, 2, scaling=scaling),
        "cross": lambda: LinearAutoregression(3, 2, scaling=scaling, cross=True),
    }[kind]()
    model.fit_scaling(x)

    # A seasonal forecast does not depend on the values between; a running scale sees everything.
    laws = [law for law in LAWS if not (kind == "seasonal" and law == "causal")]
    field = 3 if scaling in ("none", "fixed") else None
    check_layer(model.double().fit(x), receptive_field=field, laws=laws)


def test_resets_and_padding_with_missing_values():
    x = autoregression(40, rows=3, size=2)
    x[torch.rand(x.shape) < 0.3] = MISSING
    mask, reset = torch.rand(3, 40) < 0.7, torch.rand(3, 40) < 0.1
    model = LinearAutoregression(3, size=2).double().fit(autoregression(300, size=2))
    whole, after = model(torch.where(mask.unsqueeze(-1), x, 1e30), None, mask, reset)
    for row in range(3):
        state = None
        for t in range(40):
            if reset[row, t]:
                state = None
            if mask[row, t]:
                now, state = model(x[row : row + 1, t : t + 1], state)
                torch.testing.assert_close(now[0, 0], whole[row, t])
            else:
                assert (whole[row, t] == 0).all()
    assert after.body.past.shape == (3, 2, 4)


def test_saved_and_loaded(tmp_path):
    x = autoregression(200, size=2)
    model = LinearAutoregression(6, size=2, scaling="fixed")
    model.fit_scaling(x)
    model.fit(x, criterion="bic")
    safetensors.torch.save_file(model.state_dict(), tmp_path / "model.safetensors")
    other = LinearAutoregression(6, size=2, scaling="fixed")
    other.load_state_dict(safetensors.torch.load_file(tmp_path / "model.safetensors"))
    assert other.chosen == model.chosen
    assert torch.equal(other(x.float())[0], model(x.float())[0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LinearAutoregression(0), "LinearAutoregression: lags is 0"),
        (lambda: SeasonalNaive(0), "SeasonalNaive: season is 0"),
        (lambda: LastValue(0), "size is 0"),
        (lambda: LinearAutoregression(9).fit(torch.randn(3, 9, 1)), "lags is 9, but no step"),
        (lambda: LastValue().fit(torch.full((1, 9, 1), MISSING)), "no step to learn from"),
        (lambda: LastValue().fit([]), "no step to learn from"),
        (lambda: LastValue().fit(torch.full((1, 9, 1), torch.inf)), "targets hold infinity"),
        (lambda: LastValue().fit(3.0), "LastValue: data is a float, expected a source"),
        (
            lambda: LastValue(2).fit(torch.randn(1, 9, 1)),
            r"shape \[1, 9, 1\], expected numbers \[batch, time, 2\]",
        ),
        (
            lambda: LinearAutoregression(1).fit(torch.randn(1, 9, 1), criterion="hqc"),
            "criterion is 'hqc', expected one of",
        ),
        (
            lambda: LinearAutoregression(1, covariates=2).fit(torch.randn(1, 9, 1)),
            "covariates: got none, expected",
        ),
    ],
)
def test_refuses_in_one_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
