"""The window to choose, what decay lets one expect, words, table and figure."""

import io
import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from throughtime.errors import InputError
from throughtime.inspect.gradient_flow import GradientFlow
from throughtime.inspect.theme import THEMES
from throughtime.inspect.truncation_figure import draw_truncation
from throughtime.inspect.window_bias import (
    ExpectedBias,
    TruncationReport,
    WindowBias,
    diagnose_truncation,
    estimated_bias,
)


def report_of(biases, windows=(5, 10, 20), recurrent=2.0, half_span=1e-4, **options):
    rows = [
        WindowBias(w, group, 1 - (times * b) ** 2 / 2, 1 - b, times * b, b / 10, b)
        for group, times in (("all", 1.0), ("recurrent weights", recurrent))
        for w, b in zip(windows, biases, strict=True)
    ]
    flow = GradientFlow(tuple(range(9)), {"0.LSTM": tuple(0.8**k for k in range(9))})
    values: dict[str, Any] = {
        "rows": tuple(rows),
        "span": 80,
        "steps": 40,
        "places": 8,
        "batch": 4,
        "half_span": half_span,
        "seconds": {w: 1e-3 * w for w in windows},
        "kept": {w: 1000 * w for w in windows},
        "flow": flow,
        "estimated": estimated_bias(flow, windows),
    }
    return TruncationReport(**{**values, **options})


def test_the_window_is_interpolated_where_logarithms_are_lines():
    report = report_of([0.2, 0.1, 0.025])
    assert report.window_for(0.1) == 10
    assert report.window_for(0.05) == report.window_for() == 15  # halfway from 0.1 to 0.025
    assert report.window_for(0.1999) == 6  # a little more than 5 is 6 whole steps
    assert report.window_for(0.5) == 5
    assert report.window_for(0.02) is None
    assert report.window_for(0.1, group="recurrent weights") == 15
    assert report.window_for(cosine=1 - 0.1**2 / 2) == 10
    assert report.window_for(cosine=0.99999) is None


def test_the_window_is_one_from_which_on_it_holds():
    report = report_of([0.02, 0.2, 0.01])  # good at 5 by chance
    found = report.window_for(0.05)
    assert found is not None
    assert 10 < found < 20
    assert report_of([0.2, 0.1, math.nan]).window_for(0.5) is None
    assert report_of([0.2, 0.1, 0.0]).window_for(0.05) == 11  # a bias of nothing has no logarithm
    assert report_of([0.2, 1e-10, 1e-13]).window_for(1e-12) == 20  # of rounding there is no line


@pytest.mark.parametrize("off", [math.nan, math.inf])
def test_nothing_is_interpolated_from_a_window_without_a_number(off):
    assert report_of([off, 0.04, 0.01]).window_for(0.05) == 10
    assert report_of([0.01, off, 0.01]).window_for(0.05) == 20
    assert report_of([off, 0.04, 0.01]).window_for(cosine=0.9) == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bias": 0.0}, "bias is 0.0, expected more than 0"),
        ({"cosine": 1.0}, "cosine is 1.0, expected between 0 and 1"),
        ({"bias": 0.1, "cosine": 0.9}, "got a bias and a cosine"),
        ({"group": "weights"}, "group is 'weights', expected one of all, recurrent weights"),
    ],
)
def test_a_wish_that_cannot_be_granted(options, message):
    with pytest.raises(InputError, match=message):
        report_of([0.2, 0.1, 0.025]).window_for(**options)


# -- what the decay lets one expect -----------------------------------------------------------


def test_of_a_geometric_decay_the_shares_are_known():
    for r in (0.3, 0.9):
        for lags in (tuple(range(30)), (0, 1, 2, 5, 9, 20)):
            flow = GradientFlow(lags, {"a": tuple(3 * r**k for k in lags)})
            found = estimated_bias(flow, [1, 4, 60])  # beyond all lags too
            for w, (agreeing, independent) in found.items():
                shares = [r ** (j + 1) for j in range(w)]
                assert agreeing == pytest.approx(sum(shares) / w, rel=1e-6)
                squares = sum(share**2 for share in shares)
                assert independent == pytest.approx(math.sqrt(squares / w), rel=1e-6)


def test_layers_count_together_and_a_gradient_that_is_gone_goes_no_further():
    lags = tuple(range(8))
    flow = GradientFlow(lags, {"a": (3.0,) + (0.0,) * 7, "b": (4.0, 5.0) + (0.0,) * 6})
    # norms 5, 5, 0, ...: of a window of 2 the first loss loses a half, the second nothing
    found = estimated_bias(flow, [1, 2])
    assert [*found[1], *found[2]] == pytest.approx([0.5, 0.5, 0.25, 0.125**0.5])


def test_what_does_not_decay_has_no_estimate():
    for factor in (1.0, 1.1, math.inf):
        flow = GradientFlow(tuple(range(8)), {"a": tuple(factor**k for k in range(8))})
        assert all(map(math.isnan, estimated_bias(flow, [3])[3]))
    nothing = GradientFlow(tuple(range(8)), {"a": (0.0,) * 8})
    assert all(map(math.isnan, estimated_bias(nothing, [3])[3]))


@pytest.mark.parametrize(
    ("lags", "windows", "message"),
    [
        ((0, 1, 2), [3], r"lags are \[0, 1, 2\], expected at least four, from 0 on"),
        ((1, 2, 3, 4), [3], "expected at least four, from 0 on"),
        ((0, 1, 2, 3), [0], r"windows are \[0\]"),
        ((0, 1, 2, 3), [], r"windows are \[\]"),
    ],
)
def test_estimates_need_lags_and_windows(lags, windows, message):
    flow = GradientFlow(lags, {"a": tuple(0.5**k for k in lags)})
    with pytest.raises(InputError, match=message):
        estimated_bias(flow, windows)


# -- in words, as a table, as a figure --------------------------------------------------------


def test_words_name_the_window_the_worst_the_doubt_and_the_cost():
    said = diagnose_truncation(report_of([0.2, 0.1, 0.025]), 0.05)
    assert said == [
        "for a bias of at most 5 % take windows of 15 steps or more (10 steps: 10 %, 20 steps: "
        "2.5 %)",
        "windows of 5 steps are off by 20 % (+- 2 % between places): cosine 0.98, 0.8 times the "
        "norm; most of all recurrent weights, by 40 %",
        "measured against a gradient that goes back 80 steps; half of that changes it by 0.01 %",
        "by the decay of the gradient alone (per step: 0.LSTM 0.8) one would take more than 20 "
        "steps for 5 %",
        "an update of 20 steps takes 4 times as long as one of 5, and keeps 4 times as much for "
        "its backward pass",
    ]


def test_words_for_steps_that_agree_and_that_do_not():
    expected = {w: ExpectedBias(1 / w, w**-0.5) for w in (5, 10, 20)}
    said = diagnose_truncation(report_of([0.2, 0.1, 0.025], estimated=expected), 0.1)
    assert said[3].endswith(
        "one would take 10 steps for 10 % where gradients of different steps agree, more than 20 "
        "where they are independent"
    )


def test_words_for_what_is_too_short_too_long_and_not_sure():
    long, *_ = diagnose_truncation(report_of([0.2, 0.1, 0.09]), 0.05)
    assert long == (
        "for a bias of at most 5 % windows must be longer than all measured: 20 steps are off by "
        "9 %"
    )
    report = report_of([0.01, 0.005, 0.001], half_span=0.04)
    short, _, doubt, *_ = diagnose_truncation(report, 0.05)
    assert short.endswith("the shortest windows measured will do: 5 steps are off by 1 %")
    assert doubt.endswith("4 %, too much to tell a bias of 5 %: take a longer span")
    nothing = ExpectedBias(math.nan, math.nan)
    quiet = replace(report, estimated=dict.fromkeys((5, 10, 20), nothing), half_span=1e-9)
    said = diagnose_truncation(quiet, 0.05)
    assert "changes it by less than 0.0001 %" in said[2]
    assert said[3].endswith("says nothing: it does not decay")
    assert len(diagnose_truncation(replace(quiet, flow=None, estimated={}), 0.05)) == 4


def test_a_table_is_printed():
    report = report_of([0.2, 0.1, 0.025])
    lines = str(report).splitlines()
    first = "window cosine norm bias +- pooled expected ms MB"
    assert " ".join(lines[0].split()) == first
    assert lines[1].split()[:6] == ["5", "0.98", "0.8", "0.2", "0.02", "0.2"]
    assert lines[1].split()[6:] == ["0.538", "to", "0.563", "5", "0.005"]
    assert lines[5].split() == ["bias", "of", "w", "=", "5", "w", "=", "10", "w", "=", "20"]
    assert lines[7].split() == ["recurrent", "weights", "0.4", "0.2", "0.05"]
    assert lines[-1] == (
        "against the gradient that goes back 80 steps and more (half of that: bias 0.0001), "
        "8 places of 4 x 40 steps"
    )
    assert len({len(line) for line in lines[:4]}) == 1
    assert "<1e-06" in str(replace(report, half_span=1e-12))
    assert report._repr_html_().startswith("<pre>window")
    assert "&lt;1e-06" in replace(report, half_span=1e-12)._repr_html_()


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_a_figure_shows_distances_and_the_window_to_choose(theme):
    figure = Figure(figsize=(5.2, 3.2), layout="constrained")
    ax = figure.subplots()
    report = report_of([0.2, 0.1, 0.025])
    assert draw_truncation(ax, report, theme=theme) is ax
    figure.savefig(io.BytesIO(), format="svg")
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    bias, cosine, recurrent, wanted, dot = (
        [(x, y) for x, y in np.asarray(line.get_xydata()).tolist()] for line in ax.get_lines()
    )
    assert bias == [(5, 0.2), (10, 0.1), (20, 0.025)]
    assert [y for _, y in cosine] == pytest.approx([0.02, 0.005, 0.0003125])
    assert recurrent == [(5, 0.4), (10, 0.2), (20, 0.05)]
    band, _ = ax.collections  # and the spread
    corners = {(round(x, 6), round(y, 6)) for x, y in band.get_paths()[0].vertices.tolist()}  # pyright: ignore
    for w, pair in report.estimated.items():
        assert {(w, round(one, 6)) for one in pair} <= corners
    assert [y for _, y in wanted] == [0.05, 0.05]
    assert dot == [(15, 0.05)]
    assert ax.get_title(loc="left") == "A bias of 5 % takes at least 15 steps"
    words = {text.get_text() for text in ax.texts}
    assert {"15 steps", "wanted: 5 %", "1 − cosine"} <= words
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["5", "10", "20"]


def test_names_at_the_ends_of_lines_do_not_meet():
    figure = Figure(figsize=(5.2, 3.2))
    renderer = FigureCanvasAgg(figure).get_renderer()
    ax = figure.subplots()
    draw_truncation(ax, report_of([0.2, 0.1, 0.05], recurrent=1.01))
    named = [
        text for text in ax.texts if text.get_text().startswith(("bias", "wanted", "1 −", "exp"))
    ]
    boxes = sorted((text.get_window_extent(renderer) for text in named), key=lambda box: box.y0)
    assert len(boxes) == 5
    assert all(low.y1 <= high.y0 + 1 for low, high in pairwise(boxes))


def test_a_figure_where_the_shortest_does_or_none_does():
    ax = Figure().subplots()
    draw_truncation(ax, report_of([0.02, 0.01, 0.0], flow=None, estimated={}), bias=0.1)
    assert ax.get_title(loc="left") == "A bias of 10 % takes at least 5 steps"
    assert ax.get_lines()[-1].get_xydata().tolist() == [[5, 0.02]]  # pyright: ignore
    ax = Figure().subplots()
    draw_truncation(ax, report_of([0.2, 0.1, 0.08]))
    assert ax.get_title(loc="left") == "A bias of 5 % takes more than 20 steps"
    assert not any("steps" in text.get_text() and text.get_text()[0].isdigit() for text in ax.texts)
