import math
import xml.etree.ElementTree as ElementTree
from datetime import datetime, timedelta

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from throughtime.inspect import DARK, LIGHT, Column, Curve, Fan, Row, Table
from throughtime.inspect import figures as f
from throughtime.inspect.drawing import to_svg

HOURS = [datetime(2020, 1, 1) + timedelta(hours=hour) for hour in range(60)]


def fan(model="gru", wide=1.0, series="OT", **other):
    median = np.sin(np.arange(12.0))
    bounds = {
        share: (median - wide * size, median + wide * size)
        for share, size in ((0.8, 1.0), (0.95, 2.0))
    }
    parts = {
        "history": np.sin(np.arange(48.0)),
        "actual": median + 0.5,
        "median": median,
        "intervals": bounds,
        "unit": "°C",
    } | other
    return Fan(model, series, HOURS[:48], times=HOURS[48:], **parts)


def data(line):
    return np.asarray(line.get_xdata()), np.asarray(line.get_ydata())


def widths(ax):
    return [bar.get_extents().transformed(ax.transData.inverted()).width for bar in ax.patches]


def labels(ax):
    drawn = ax.get_legend()
    assert drawn is not None
    return [text.get_text() for text in drawn.get_texts()]


def texts(ax):
    return [ax.get_title(loc="left"), *(text.get_text() for text in ax.texts)]


def test_each_function_returns_the_ax_it_was_given():
    table = Table("t", [Column("e", "E", better="lower")], [Row("gru", {"e": [1.0, 2.0]})])
    draws = [
        lambda ax: f.learning_curves(ax, [Curve("gru", 0, [1, 2], [2.0, 1.0], [2.0, 1.5])]),
        lambda ax: f.forecast_fan(ax, fan()),
        lambda ax: f.metric_bars(ax, table, table.columns[0]),
        lambda ax: f.horizon_error(ax, {"gru": [1.0, 2.0]}),
    ]
    for draw in draws:
        _, ax = f.new()
        assert draw(ax) is ax


def test_learning_curves_mark_the_best_step_of_each_seed_and_say_it():
    curves = [
        Curve("gru", 0, [1, 2, 3], [3.0, 2.0, 1.0], [3.0, 1.5, 2.0]),
        Curve("gru", 1, [1, 2], [3.0, 2.0], [3.0, 2.5]),
    ]
    _, ax = f.new()
    f.learning_curves(ax, curves)
    dots = [data(line) for line in ax.lines if line.get_marker() == "o"]
    assert dots == [(2.0, 1.5), (2.0, 2.5)]
    assert texts(ax) == ["gru", "validation loss 2, kept from epoch 2 (2 seeds)"]
    dashed = [line for line in ax.lines if line.is_dashed()]
    assert [data(line)[1].tolist() for line in dashed] == [[3.0, 2.0, 1.0], [3.0, 2.0]]


def test_a_diverged_run_says_so():
    _, ax = f.new()
    f.learning_curves(ax, [Curve("gru", 0, [1], [math.nan], [math.nan])])
    assert texts(ax)[1] == "no finite validation loss (1 seed)"


def test_a_first_loss_far_above_the_rest_does_not_flatten_it():
    losses = [1e6, *np.linspace(2, 1, 99)]
    low, high = f.loss_limits([Curve("gru", 0, list(range(100)), losses, losses)])
    assert low < 1
    assert 2 < high < 3


def test_a_fan_shows_history_what_happened_and_bands():
    _, ax = f.new()
    f.forecast_fan(ax, fan())
    happened = next(line for line in ax.lines if line.get_label() == "what happened")
    assert len(data(happened)[0]) == 24 + 12  # history for two thirds of the figure
    assert to_hex(happened.get_color()) == LIGHT.ink
    assert len(ax.collections) == 2
    wide, narrow = (band.get_datalim(ax.transData).height for band in ax.collections)
    assert wide > narrow
    assert texts(ax) == ["gru: OT", "off by 0.5 °C on average; 12 of 12 steps inside 95 %"]
    assert labels(ax) == [
        "forecast", "what happened", "80 %", "95 %",
    ]  # fmt: skip


def test_intervals_that_explode_do_not_flatten_what_happened():
    low, high = f.fan_limits([fan(wide=1e6)])
    assert -5 < low < -1
    assert 1.4 < high < 5
    assert f.fan_limits([fan(actual=[math.nan] * 12, history=[math.nan] * 48)])[1] > 1


def test_a_fan_without_intervals_or_without_an_outcome():
    _, ax = f.new()
    f.forecast_fan(ax, fan(intervals={}, unit=""))
    assert texts(ax)[1] == "off by 0.5 on average"
    _, ax = f.new()
    f.forecast_fan(ax, fan(actual=[math.nan] * 12))
    assert texts(ax)[1] == "nothing known of what happened"


def test_bars_are_sorted_best_first_with_a_dot_per_seed():
    column = Column("e", "MASE", better="lower")
    rows = [
        Row("last", {"e": 2.0}, baseline=True),
        Row("lstm", {"e": [0.9, 1.1]}),
        Row("gru", {"e": [0.7, 0.9]}),
        Row("window", {"e": [math.nan, 1.0]}),
        Row("unmeasured", {}),
    ]
    _, ax = f.new()
    f.metric_bars(ax, Table("t", [column], rows), column)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["gru", "lstm", "last", "window"]
    assert widths(ax) == pytest.approx([0.8, 1.0, 2.0])
    assert to_hex(ax.patches[2].get_facecolor()) == LIGHT.baseline
    assert [data(line)[0].tolist() for line in ax.lines][:2] == [[0.7, 0.9], [0.9, 1.1]]
    said = texts(ax)
    assert said[0] == "MASE (lower is better)"
    assert "best: gru; grey: baselines" in said
    assert "not a number" in said


def test_a_bar_far_longer_than_the_rest_is_cut_and_says_so():
    column = Column("e", "MASE", better="lower")
    rows = [Row(name, {"e": value}) for name, value in (("a", 1.0), ("b", 1.2), ("c", 500.0))]
    _, ax = f.new()
    f.metric_bars(ax, Table("t", [column], rows), column)
    assert max(widths(ax)) == pytest.approx(4.8)
    assert "▸ 500.000" in texts(ax)


def test_error_by_lead_time_names_the_lowest_and_dashes_baselines():
    errors = {"last": [1.0, 4.0, 5.0], "gru": [1.5, 2.0, 2.5], "naive": [3.0, 3.0, 3.0]}
    _, ax = f.new()
    f.horizon_error(ax, errors, baselines={"last", "naive"}, unit="error, °C")
    assert texts(ax)[1] == "gru is lowest at 2 of 3 lead times"
    patterns = {line.get_label(): line.is_dashed() for line in ax.lines}
    assert patterns == {"last": True, "naive": True, "gru": False}
    assert labels(ax) == ["gru", "last", "naive"]


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_saved_figures_are_transparent_and_drawn_in_the_theme(theme, tmp_path):
    figure, ax = f.new(theme)
    f.forecast_fan(ax, fan(), theme=theme)
    path = f.save(figure, tmp_path / "new" / "fan.png")
    pixels = np.asarray(Image.open(path).convert("RGBA"))
    assert pixels[0, 0, 3] == 0
    ink = [int(theme.ink[place : place + 2], 16) for place in (1, 3, 5)]
    assert ((pixels[..., :3] == ink).all(-1) & (pixels[..., 3] == 255)).sum() > 50


def test_the_same_figure_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        for ending in ("png", "svg"):
            figure, ax = f.new()
            f.forecast_fan(ax, fan())
            f.save(figure, tmp_path / f"{name}.{ending}")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_names_may_hold_anything():
    figure, ax = f.new()
    f.forecast_fan(ax, fan(model="$x_", series="기온 <b> & \"'"))
    drawn = to_svg(figure)
    words = [element.text or "" for element in ElementTree.fromstring(drawn).iter()]
    assert "$x_: 기온 <b> & \"'" in words


def test_long_names_do_not_squeeze_the_figure_away():
    names = [f"a model with quite a long name, number {number}" for number in range(7)]
    table = Table("t", [Column("e", "E", better="lower")], [Row(n, {"e": 1.0}) for n in names])
    draws = [
        lambda ax: f.horizon_error(ax, {name: [1.0, 2.0] for name in names}),
        lambda ax: f.metric_bars(ax, table, table.columns[0]),
    ]
    for draw in draws:
        figure, ax = f.new(height=3.6)
        draw(ax)
        to_svg(figure)
        assert ax.get_position().width > 0.4
        assert ax.get_position().height > 0.2


def test_the_dot_stands_where_training_says_and_not_where_the_loss_is_lowest():
    _, ax = f.new()
    curve = Curve("gru", 0, [10, 20, 30], [3.0, 2.0, 1.0], [3.0, 1.5, 2.0], kept=2)
    f.learning_curves(ax, [curve], step_name="step")
    (dot,) = [line for line in ax.lines if line.get_marker() == "o"]
    assert data(dot) == (30.0, 2.0)
