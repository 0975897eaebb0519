"""Rates of gradients through recurrences, beside the radii of their Jacobians."""

import io
import math
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from benchmarks import recurrence_rates as benchmark
from throughtime import GRU, LSTM, RNN
from throughtime.errors import InputError
from throughtime.inspect.gradient_flow import GradientFlow
from throughtime.inspect.line_names import spread_out
from throughtime.inspect.rates import (
    RecurrenceRate,
    draw_rates,
    recurrence_rates,
    scaled_recurrence,
)
from throughtime.inspect.theme import THEMES, colours
from throughtime.layers import Linear


def noise(steps=24, features=2):
    return torch.randn(1, steps, features, generator=torch.Generator().manual_seed(0))


def always_on(size=4):
    """A ReLU that never closes turns its state round."""
    layer = RNN(2, size, activation="relu")
    with torch.no_grad():
        layer.weight_hidden.copy_(torch.eye(size).roll(1, 0))
        layer.weight_input.zero_()
        layer.bias.fill_(1.0)
    return layer


@pytest.mark.parametrize(
    ("scale", "verdict"), [(0.6, "vanishes"), (1.0, "lasts"), (1.2, "explodes")]
)
def test_of_a_linear_recurrence_rate_and_radius_are_what_it_is_scaled_by(scale, verdict):
    [found] = recurrence_rates({"linear": always_on()}, noise(), [scale])
    for number in (found.rate, found.radius, found.stretch, found.lyapunov):
        assert number == pytest.approx(scale)
    assert found.verdict == verdict
    assert (found.name, found.scale) == ("linear", scale)
    assert found.flow.curves["linear"] == pytest.approx([scale**k for k in range(18)])


def test_a_sigmoid_at_rest_keeps_a_quarter():
    layer = RNN(2, 4, activation="sigmoid")
    with torch.no_grad():
        layer.weight_hidden.copy_(torch.eye(4) - 0.5)  # orthogonal; its rows add up to -1
        layer.weight_input.zero_()
        layer.bias.fill_(0.5)  # h = 1/2 is at rest: -1/2 + 1/2 is where the slope is 1/4
    x = noise(32)
    [found] = recurrence_rates({"sigmoid": layer}, x, [1.0])
    assert found.radius == pytest.approx(0.25, rel=1e-4)
    assert found.rate == pytest.approx(0.25, rel=1e-4)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu"])
def test_no_activation_stretches_by_more_than_its_slope(activation):
    torch.manual_seed(3)
    layer = RNN(2, 5, activation=activation)
    slope = 0.25 if activation == "sigmoid" else 1.0
    rates = recurrence_rates({activation: layer}, noise(), [0.5, 1.0, 2.0])
    for one in rates:
        assert one.radius <= one.stretch * (1 + 1e-9)
        assert one.stretch <= slope * one.scale * (1 + 1e-6)
    assert [one.rate for one in rates] == sorted(one.rate for one in rates)
    # Over many steps the fit and the exponent are two measures of one thing.
    assert rates[1].rate == pytest.approx(rates[1].lyapunov, rel=0.2)


def test_gates_keep_what_a_plain_recurrence_loses():
    torch.manual_seed(0)
    layers: Any = {"lstm": LSTM(2, 6), "gru": GRU(2, 6)}
    lstm, gru = recurrence_rates(layers, noise(), [1.0])
    assert (lstm.name, gru.name) == ("lstm", "gru")
    assert 0.7 < lstm.rate < 1
    assert gru.rate > 0.4


def test_layers_are_copied_and_lags_are_those_asked_for():
    layer = always_on()
    layer.train()
    before = layer.weight_hidden.clone()
    [found] = recurrence_rates({"linear": layer}, noise(), [0.5], lags=[0, 2, 6])
    assert torch.equal(layer.weight_hidden, before)
    assert layer.training
    assert layer.weight_hidden.dtype == torch.float32
    assert found.flow.lags == tuple(range(7))
    assert found.rate == pytest.approx(0.5)
    made: Any = scaled_recurrence(layer, 3.0)
    assert torch.equal(made.weight_hidden, 3 * before.double())
    assert torch.equal(made.bias, layer.bias.double())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": {}}, "got 0 layers and scales"),
        ({"scales": []}, r"got 1 layers and scales \[\]"),
        ({"scales": [1.0, 0.0]}, r"scales \[1.0, 0.0\], expected some of each, scales above 0"),
        ({"scales": [math.inf]}, r"scales \[inf\]"),
        ({"x": torch.zeros(1, 7, 2)}, r"x has shape \[1, 7, 2\], expected .* at least 8 steps"),
        ({"x": torch.zeros(40, 2)}, r"x has shape \[40, 2\]"),
        ({"x": torch.zeros(2, 40, 2)}, r"x has shape \[2, 40, 2\]"),
    ],
)
def test_bad_input_is_refused_in_a_line(options, message):
    arguments: Any = {"layers": {"a": always_on()}, "x": noise(), "scales": [1.0], **options}
    # The shape is also what the annotation says; outside the tests nothing checks that.
    plain = getattr(recurrence_rates, "__wrapped__", recurrence_rates)
    with pytest.raises(InputError, match=message) as caught:
        plain(arguments["layers"], arguments["x"], arguments["scales"])
    assert "\n" not in str(caught.value)


def test_a_layer_without_recurrent_weights_is_refused():
    layer: Any = Linear(2, 2)
    plain = getattr(scaled_recurrence, "__wrapped__", scaled_recurrence)
    with pytest.raises(InputError, match="layer is Linear, expected one with weight_hidden"):
        plain(layer, 1.0)


# The figure


def rate(name, scale, radius, found):
    flow = GradientFlow((0, 1), {name: (1.0, found)})
    return RecurrenceRate(name, scale, radius, radius, found, found, flow)


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_a_figure_has_a_line_of_dots_for_each_layer(theme):
    rates = [
        rate("ReLU", 2.0, 1.4, 1.5),
        rate("ReLU", 1.0, 0.7, 0.7),
        rate("sigmoid", 1.0, 0.25, 0.2),
        rate("dead", 1.0, 0.0, math.nan),
    ]
    figure = Figure(figsize=(4.2, 3.6), layout="constrained")
    ax = figure.subplots()
    assert draw_rates(ax, rates, theme=theme) is ax
    figure.savefig(io.BytesIO(), format="svg")
    equal, one, same, relu, sigmoid = ax.get_lines()
    ends = np.asarray(equal.get_xydata()).tolist()
    assert all(x == y for x, y in ends)
    assert np.asarray(one.get_ydata()).tolist() == [1, 1]
    assert np.asarray(same.get_xdata()).tolist() == [1, 1]
    assert np.asarray(relu.get_xydata()).tolist() == [[0.7, 0.7], [1.4, 1.5]]
    assert np.asarray(sigmoid.get_xydata()).tolist() == [[0.25, 0.2]]
    palette = colours(["ReLU", "sigmoid"], theme=theme)
    assert [relu.get_color(), sigmoid.get_color()] == [*palette.values()]
    assert relu.get_marker() != sigmoid.get_marker()
    assert ax.get_title(loc="left") == "Rates are 0.80 to 1.07 times the radius"
    assert (ax.get_xscale(), ax.get_xlim()) == ("log", ax.get_ylim())
    assert {text.get_text() for text in ax.texts} >= {"explodes", "vanishes"}
    assert "1" in [tick.get_text() for tick in ax.get_yticklabels()]


def test_a_figure_of_nothing_is_refused():
    with pytest.raises(InputError, match="1 rates, none above 0"):
        draw_rates(Figure().subplots(), [rate("dead", 1.0, 0.0, math.nan)])
    with pytest.raises(InputError, match="0 rates"):
        draw_rates(Figure().subplots(), [])


def test_names_are_spread_around_the_middle_of_their_heap():
    assert spread_out([]) == []
    assert spread_out([0.0, 30.0, 31.0], apart=10.0) == [0, 25.5, 35.5]
    assert spread_out([0.0, 9.0, 12.0], apart=10.0) == pytest.approx(
        [-3, 7, 17]
    )  # one heap meets another
    found = spread_out([5.0] * 4, apart=2.0)
    assert found == [2, 4, 6, 8]


# The benchmark


def test_the_benchmark_fills_its_table():
    rates = [
        one
        for name, layer in benchmark.layers().items()
        if name in ("linear", "sigmoid")
        for one in recurrence_rates({name: layer}, noise(16, benchmark.FEATURES), [1.0])
    ]
    head, rows = benchmark.lines([benchmark.plain(one) for one in rates])
    assert all(len(row) == len(head) for row in rows)
    assert rows[0] == ["linear", "1", "1.000", "1.000", "1.000", "1.000", "1.000", "lasts"]
    assert rows[1][-1] == "vanishes"
    assert {*benchmark.SCALES} == {*benchmark.layers()}
    assert all(scale in benchmark.SCALES[name] for name, scale in benchmark.SHOWN.items())
    assert benchmark.rates_from([benchmark.plain(one) for one in rates]) == rates
    figure = benchmark.figure_of([benchmark.plain(one) for one in rates])
    assert len(figure.axes) == 2
    assert figure.axes[0].texts[0].get_text().startswith("weights times: ReLU 1.5")
