"""What is solved by length, what arrives of the gradient, and what is said of both."""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from throughtime.errors import InputError
from throughtime.inspect.drawing import style
from throughtime.inspect.long_dependencies import LongDependencies, ProbeRun
from throughtime.inspect.long_dependency_figures import (
    draw_flows,
    draw_long_dependencies,
    draw_success,
)
from throughtime.inspect.theme import LIGHT, THEMES, colours

LENGTHS = (20, 40, 80)


def made(model, time, seed, factor, error=0.001, after=None):
    """A run whose gradient changes by a factor at each step."""
    lags = (*range(0, time, 4), time - 1)
    return ProbeRun(
        model=model, time=time, seed=seed, rate=0.01, updates=100, stopped="steps", seconds=1.5,
        error=error, success=0.98 if error < 0.01 else 0.16, lags=lags,
        before=tuple(2 * factor**k for k in lags),
        after=tuple(3 * (after or factor) ** k for k in lags),
    )  # fmt: skip


def rnn_and_gru(seeds=3):
    """The RNN solves the shortest for two of three seeds, and dies; the GRU solves all."""
    runs = []
    for seed in reversed(range(seeds)):
        for time in LENGTHS:
            short = time == LENGTHS[0] and seed < 2
            runs.append(made("RNN", time, seed, 0.5, 0.002 if short else 0.15 + 0.01 * seed))
            runs.append(made("GRU", time, seed, 0.99 + 0.005 * seed))
    return LongDependencies("adding", tuple(runs), baseline=1 / 6, guessed=0.15)


def test_runs_are_found_by_model_length_and_seed():
    found = rnn_and_gru()
    assert found.models == ["RNN", "GRU"]
    assert found.lengths == [*LENGTHS]
    assert [run.seed for run in found.of("RNN", 40)] == [0, 1, 2]
    assert found.solved("RNN", 20) == (2, 3)
    assert found.solved("RNN", 40) == (0, 3)
    assert found.solved("GRU", 80) == (3, 3)
    assert found.solved("LSTM", 80) == (0, 0)
    assert found.only(["GRU"]).models == ["GRU"]
    assert found.only(["GRU", "RNN"]).models == ["GRU", "RNN"]
    assert len(found.only(["GRU", "RNN"]).runs) == len(found.runs)


def test_the_mark_itself_is_not_below_the_mark():
    run = made("RNN", 20, 0, 0.5, error=0.01)
    assert LongDependencies("adding", (run,), 1 / 6, 0.15).solved("RNN", 20) == (0, 1)
    assert LongDependencies("adding", (run,), 1 / 6, 0.15, mark=0.011).solved("RNN", 20) == (1, 1)
    lost = replace(run, error=math.nan)
    found = LongDependencies("adding", (lost,), 1 / 6, 0.15)
    assert found.solved("RNN", 20) == (0, 1)
    assert "where it fails its error is nan" in found.explain()[0]


def test_where_rows_decide_the_error_does_not():
    runs = [made("A", 20, 0, 0.9, error=0.3), made("A", 20, 1, 0.9), made("A", 20, 2, 0.9)]
    shares = (0.99, 0.989, 0.25)
    runs = [replace(run, success=share) for run, share in zip(runs, shares, strict=True)]
    found = LongDependencies("parity", (*runs,), 0.69, 0.0001, least_success=0.99)
    assert found.solved("A", 20) == (1, 3)
    assert found.criterion == "at least 99 % of rows right"
    assert found.explain()[0] == (
        "A solves 1 of 3 seeds at T = 20; where it fails it gets 25 % to 98.9 % of rows right "
        "(without memory: 0 %)."
    )
    assert LongDependencies.from_json(found.to_json()) == found
    ax = draw_success(Figure().subplots(), found)
    assert "numbers: seeds of 3 with at least 99 % of rows right" in written(ax)
    one = LongDependencies("parity", (runs[2],), 0.69, 0.25, least_success=0.99).explain()[0]
    assert one.endswith("where it fails it gets 25 % of rows right (without memory: 25 %).")


def test_what_was_kept_before_rows_could_decide_is_judged_by_its_error():
    kept = json.loads(rnn_and_gru().to_json())
    del kept["least_success"]
    assert LongDependencies.from_json(json.dumps(kept)) == rnn_and_gru()


def test_shares_are_of_the_last_step_and_curves_are_medians():
    found = rnn_and_gru()
    lags = np.array(found.of("GRU", 40)[0].lags)
    factors = np.array([[0.99], [0.995], [1.0]])
    for when in ("before", "after"):
        shares = found.shares("GRU", 40, when)
        assert shares == pytest.approx(factors**lags)
        flow = found.flow(40, when)
        assert flow.lags == tuple(lags)
        assert [*flow.curves] == ["RNN", "GRU"]
        assert flow.curves["GRU"] == pytest.approx(0.995**lags)
        assert flow.rate["RNN"] == pytest.approx(0.5)


def test_before_and_after_are_not_mixed_up():
    runs = made("RNN", 20, 0, 0.5, after=0.9), made("RNN", 20, 1, 0.5, after=0.9)
    found = LongDependencies("adding", runs, 1 / 6, 0.15)
    assert found.left("RNN", 20, "before") == (8, pytest.approx(0.5**8))
    assert found.left("RNN", 20, "after") == (8, pytest.approx(0.9**8))
    assert found.left("RNN", 20) == found.left("RNN", 20, "after")
    assert found.flow(20).rate["RNN"] == pytest.approx(0.9)


def test_the_words_come_from_the_numbers():
    rnn, gru, rnn_flow, gru_flow, together = rnn_and_gru().explain()
    assert rnn == (
        "RNN solves 2 of 3 seeds at T = 20, none of 3 seeds at T = 40 and 80; where it fails its "
        "error is 0.15 to 0.17 (of no memory: 0.167)."
    )
    assert gru == "GRU solves all 3 seeds at T = 20, 40 and 80."
    assert rnn_flow == (
        "RNN at T = 80: 40 steps back 9e-13 of the last step's gradient is left before training, "
        "9e-13 after it."
    )
    percents = [100 * factor**40 for factor in (0.995, 0.99, 1)]
    told = "{:.0f} % ({:.0f} % to {:.0f} % by seed)".format(*percents)
    assert f"40 steps back {told} of the last step's gradient" in gru_flow
    assert together == (
        "At T = 80, halfway back, the gradient of RNN has vanished (1 % or less) and that of GRU "
        "carries on before and after training; GRU solved for most seeds, RNN not."
    )
    assert str(rnn_and_gru()).splitlines() == rnn_and_gru().explain()


def test_other_numbers_give_other_words():
    def conclusion(*runs):
        return LongDependencies("adding", runs, 1 / 6, 0.15).explain()[-1]

    assert conclusion(made("A", 20, 0, 0.999)) == (
        "At T = 20, halfway back, the gradient of A carries on before and after training; A solved "
        "for most seeds."
    )
    assert conclusion(made("A", 20, 0, 0.1, 0.2)) == (
        "At T = 20, halfway back, the gradient of A has vanished (1 % or less) before and after "
        "training; nothing solved."
    )
    turned = conclusion(made("A", 20, 0, 0.1, after=0.99), made("B", 20, 0, 0.99, 0.2))
    assert turned == (
        "At T = 20, halfway back, before training the gradient of A has vanished (1 % or less) and "
        "that of B carries on; after training the gradient of A and B carries on; A solved for "
        "most seeds, B not."
    )
    [one, *_] = LongDependencies("adding", (made("A", 20, 0, 0.9, 0.2),), 1 / 6, 0.15).explain()
    assert one.startswith("A solves not its one seed at T = 20; where it fails its error is 0.2 (")


def test_half_of_the_seeds_are_not_most():
    runs = made("A", 20, 0, 0.9), made("A", 20, 1, 0.9, 0.2)
    assert "nothing solved" in LongDependencies("adding", runs, 1 / 6, 0.15).explain()[-1]


def test_nothing_is_said_of_no_runs():
    nothing = LongDependencies("adding", (), 1 / 6, 0.15)
    assert nothing.explain() == []
    assert nothing.models == nothing.lengths == []


def test_json_keeps_everything():
    found = rnn_and_gru()
    again = LongDependencies.from_json(found.to_json())
    assert again == found
    assert isinstance(again.runs[0].lags, tuple)
    infinite = replace(found, runs=(replace(found.runs[0], error=math.inf),))
    assert LongDependencies.from_json(infinite.to_json()) == infinite


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"runs": [{}]}', '{"runs": 3}', "null"])
def test_other_json_is_refused(text):
    with pytest.raises(InputError, match="LongDependencies: expected what to_json wrote") as error:
        LongDependencies.from_json(text)
    assert "\n" not in str(error.value)


def test_runs_that_do_not_fit_are_refused():
    run = made("RNN", 20, 0, 0.5)
    with pytest.raises(InputError, match="ProbeRun: there are 2 lags"):
        replace(run, lags=(0, 1))
    with pytest.raises(InputError, match="expected as many, from lag 0 on"):
        replace(run, lags=(1, *run.lags[1:]))
    with pytest.raises(InputError, match="expected as many"):
        replace(run, lags=(), before=(), after=())
    other = replace(run, lags=(0, 1), before=(1.0, 0.5), after=(1.0, 0.5), seed=1)
    mixed = LongDependencies("adding", (run, other), 1 / 6, 0.15)
    with pytest.raises(InputError, match="runs of RNN at T = 20 have different lags"):
        mixed.shares("RNN", 20)
    beside = LongDependencies("adding", (run, replace(other, model="GRU")), 1 / 6, 0.15)
    with pytest.raises(InputError, match="runs at T = 20 have different lags"):
        beside.flow(20)
    found = rnn_and_gru()
    with pytest.raises(InputError, match="there is no run of LSTM at T = 20"):
        found.shares("LSTM", 20)
    with pytest.raises(InputError, match="there is no run at T = 21"):
        found.flow(21)
    with pytest.raises(InputError, match="when is 'during', expected before or after"):
        found.left("RNN", 20, "during")


# -- figures ----------------------------------------------------------------------------------


def written(ax):
    return [text.get_text() for text in ax.texts]


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_success_has_a_bar_for_each_model_and_a_dot_for_each_seed(theme):
    found = rnn_and_gru()
    ax: Any = Figure().subplots()
    assert draw_success(ax, found, theme=theme) is ax
    heights = sorted(bar.get_height() for bar in ax.patches)
    assert heights == pytest.approx(sorted([100 * (0.98 * 2 + 0.16) / 3, *[16.0] * 2, *[98.0] * 3]))
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert [len(line.get_ydata()) for line in dots] == [3] * 6
    assert [word for word in written(ax) if len(word) == 1] == [*"200333"]
    assert "numbers: seeds of 3 with an error below 0.01" in written(ax)
    (guess,) = (line for line in ax.lines if line.get_marker() != "o")
    assert [*guess.get_ydata()] == [15.0, 15.0]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["20", "40", "80"]
    assert ax.get_title("left") == "RNN fails from T = 40 on"
    shown = ax.get_legend().get_texts()
    assert [label.get_text() for label in shown] == ["RNN", "GRU"]
    assert {to_hex(label.get_color()) for label in shown} == {theme.ink}


def test_numbers_of_seeds_that_differ_are_said():
    runs = [*rnn_and_gru().runs, made("RNN", 20, 3, 0.5, 0.2)]
    ax = draw_success(Figure().subplots(), LongDependencies("adding", tuple(runs), 1 / 6, 0.15))
    assert [word for word in written(ax) if len(word) == 3] == ["2/4", *["0/3"] * 2, *["3/3"] * 3]
    assert "numbers: seeds with an error below 0.01" in written(ax)


def title(*runs):
    ax = draw_success(Figure().subplots(), LongDependencies("adding", runs, 1 / 6, 0.15))
    return ax.get_title("left")


def test_a_title_says_what_fails_from_where_on():
    assert title(made("A", 20, 0, 0.9), made("B", 20, 0, 0.9)) == "Solved up to T = 20: A and B"
    assert title(made("A", 20, 0, 0.9, 0.2), made("B", 20, 0, 0.9, 0.2)) == (
        "A and B fail from T = 20 on"
    )
    # A failure below a length that is solved is not the end.
    assert title(made("A", 20, 0, 0.9, 0.2), made("A", 40, 0, 0.9)) == "Solved up to T = 40: A"
    long = [made(f"a model with a long name {n}", 20, 0, 0.9, 0.2) for n in range(3)]
    assert title(*long, made("B", 20, 0, 0.9)) == "3 of 4 models fail at T = 20"


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_gradients_are_shares_with_a_band_over_seeds(theme):
    found = rnn_and_gru()
    ax: Any = Figure().subplots()
    assert draw_flows(ax, found, time=40, when="before", theme=theme) is ax
    rnn, gru = (line for line in ax.lines if len(line.get_xdata()) > 2)
    lags = np.array(found.of("GRU", 40)[0].lags)
    assert [*gru.get_xdata()] == [*lags]
    assert gru.get_ydata() == pytest.approx(0.995**lags)
    assert rnn.get_ydata() == pytest.approx(0.5**lags)
    band = ax.collections[1].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(0.99**39)
    assert band[:, 1].max() == pytest.approx(1.0)
    assert ax.get_yscale() == "log"
    assert ax.get_title("left") == "Vanished halfway: RNN"
    assert {"RNN", "GRU", "1 %"} < {*written(ax)}
    assert gru.get_color() == colours(["RNN", "GRU"], theme=theme)["GRU"]


def test_the_longest_is_shown_and_lines_that_sink_are_named_where_they_do():
    found = rnn_and_gru()
    ax: Any = draw_flows(Figure().subplots(), found)
    assert ax.get_xlim() == (0, 79)
    name = next(text for text in ax.texts if text.get_text() == "RNN")
    lag, share = name.xy
    assert share == pytest.approx(0.5**lag)
    assert 1e-12 <= share < 16e-12  # the last that lies in the figure
    assert ax.get_ylim()[0] == pytest.approx(1e-12)


def test_all_that_carry_on_are_said_to():
    runs = made("A", 20, 0, 0.99), made("B", 20, 0, 0.98)
    found = LongDependencies("adding", runs, 1 / 6, 0.15)
    ax = draw_flows(Figure().subplots(), found)
    assert ax.get_title("left") == "Halfway all still have more than 1 %"
    many = [made(f"a model with a name of length {n}", 20, 0, 0.1) for n in range(3)]
    ax = draw_flows(Figure().subplots(), LongDependencies("adding", (*many,), 1 / 6, 0.15))
    assert ax.get_title("left") == "Vanished halfway: 3 of 3"


def boxes(ax, renderer):
    return [(text.get_text(), text.get_window_extent(renderer)) for text in ax.texts]


def test_the_whole_figure_has_no_names_that_overlap():
    runs = [*rnn_and_gru().runs]
    for seed in range(3):
        for time in LENGTHS:
            runs.append(made("LSTM", time, seed, 0.991))
            runs.append(made("RNN (other start)", time, seed, 0.49, 0.2))
    found = LongDependencies("adding", tuple(runs), 1 / 6, 0.15)
    with style():
        figure = Figure(figsize=(11.4, 3.5), layout="constrained")
        axes: Any = figure.subplots(1, 3, width_ratios=(1.2, 1, 1))
    assert draw_long_dependencies(axes, found) == [*axes]
    with style():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    renderer = canvas.get_renderer()
    assert [ax.get_title("left") for ax in axes[1:]] == [
        "Vanished halfway: RNN and RNN (other start)"
    ] * 2
    whole = figure.bbox
    for ax in axes:
        found_boxes = boxes(ax, renderer)
        for number, (name, box) in enumerate(found_boxes):
            assert box.x1 <= whole.x1, name
            for other, beside in found_boxes[number + 1 :]:
                assert not box.overlaps(beside), (name, other)


def test_gradients_that_are_no_numbers_are_drawn_all_the_same():
    run = made("A", 20, 0, 0.9)
    odd = [
        replace(
            run, before=(0.0,) * len(run.lags), after=(1.0, *(math.inf,) * (len(run.lags) - 1))
        ),
        replace(run, model="B", after=(math.nan,) * len(run.lags)),
    ]
    found = LongDependencies("adding", tuple(odd), 1 / 6, 0.15)
    figure = Figure()
    draw_long_dependencies(figure.subplots(1, 3), found)
    figure.canvas.draw()
    assert "A at T = 20: 8 steps back no number of the last step's gradient is left" in str(found)


def test_nothing_is_said_to_be_nothing():
    run = made("A", 20, 0, 0.9)
    run = replace(run, after=(1.0, *(0.0,) * (len(run.lags) - 1)))
    said = LongDependencies("adding", (run,), 1 / 6, 0.15).explain()
    assert said[1] == (
        "A at T = 20: 8 steps back 43 % of the last step's gradient is left before training, "
        "nothing after it."
    )


def test_colours_can_be_chosen():
    found = rnn_and_gru()
    palette = {"RNN": "#112233", "GRU": "#445566"}
    axes: Any = draw_long_dependencies(Figure().subplots(1, 3), found, palette=palette)
    names = {text.get_text(): text.get_color() for text in axes[1].texts}
    assert names["RNN"] == "#112233"
    assert names["GRU"] == "#445566"
    assert names["1 %"] == LIGHT.ink


def test_what_cannot_be_drawn_is_refused():
    nothing = LongDependencies("adding", (), 1 / 6, 0.15)
    ax = Figure().subplots()
    for draw in (draw_success, draw_flows):
        with pytest.raises(InputError, match=f"{draw.__name__}: there are no runs"):
            draw(ax, nothing)
    with pytest.raises(InputError, match="there are 2 axes, expected 3"):
        draw_long_dependencies([ax, ax], rnn_and_gru())
    with pytest.raises(InputError, match="there is no run at T = 21"):
        draw_flows(ax, rnn_and_gru(), time=21)
