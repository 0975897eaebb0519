"""Pictures of gates, and names along their axes."""

from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from throughtime import GRU, LSTM, RNN
from throughtime.errors import InputError
from throughtime.inspect.axis_names import visible, width
from throughtime.inspect.drawing import new, style
from throughtime.inspect.gate_figures import (
    PLACES,
    draw_gate_histogram,
    draw_gates,
    draw_saturation,
    draw_units,
)
from throughtime.inspect.gate_values import BETWEEN, SHUTTERS
from throughtime.inspect.gates import gate_activity
from throughtime.inspect.theme import DARK, LIGHT, THEMES, contrast
from throughtime.layers import Stack

themes = pytest.mark.parametrize("theme", THEMES, ids=["light", "dark"])


def rgb(colour):
    return tuple(int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))


def drawn(ax):
    """Draws the figure, which fails on what cannot be drawn."""
    with style():
        FigureCanvasAgg(ax.get_figure()).draw()


def names(ax):
    return [label.get_text() for label in ax.get_xticklabels()]


def boxes(ax, labels):
    """Where texts are in the figure as it is drawn."""
    drawn(ax)
    return [label.get_window_extent() for label in labels]


def overlap(found):
    return any(one.overlaps(other) for at, one in enumerate(found) for other in found[at + 1 :])


# Heat maps


@themes
def test_gates_have_one_colour_and_signed_values_two(theme):
    values = torch.tensor([[0.0, 1.0], [0.25, 0.5]])
    for signed, low in ((False, theme.surface), (True, theme.palette[1])):
        ax = Figure().subplots()
        assert draw_gates(ax, 2 * values - 1 if signed else values, units=[0, 1], theme=theme) is ax
        (image,) = ax.images
        assert image.get_clim() == (-1 if signed else 0, 1)
        colours: Any = image.get_cmap()
        assert colours(0.0)[:3] == pytest.approx(rgb(low), abs=0.01)
        assert colours(1.0)[:3] == pytest.approx(rgb(theme.palette[0]), abs=0.01)
        middle = colours(0.5)[:3]
        if signed:
            assert middle == pytest.approx(rgb(theme.surface), abs=0.02)
        data: Any = image.get_array()
        assert np.asarray(data) == pytest.approx((2 * values - 1 if signed else values).T.numpy())
        drawn(ax)


def test_large_values_have_room_on_both_sides():
    ax = draw_gates(Figure().subplots(), torch.tensor([[-3.0, 7.0]]))
    assert ax.images[0].get_clim() == (-7, 7)


def test_units_that_change_most_are_shown_side_by_side_with_their_like():
    time = torch.linspace(0, 6, 60)
    waves = [
        time.sin(),
        0 * time,
        -time.sin(),
        0.9 * time.sin(),
        -1.1 * time.sin(),
        0.1 * time.cos(),
    ]
    ax = draw_gates(Figure().subplots(), torch.stack(waves, dim=1), most=4)
    rows = [int(label.get_text()) for label in ax.get_yticklabels()]
    assert {frozenset(rows[:2]), frozenset(rows[2:])} == {frozenset({0, 3}), frozenset({2, 4})}
    (note,) = [text.get_text() for text in ax.texts]
    assert note == "the 4 of 6 units that change most"
    data: Any = ax.images[0].get_array()
    for row, unit in enumerate(rows):
        assert np.asarray(data)[row] == pytest.approx(waves[unit].numpy())


def test_units_are_shown_as_they_are_asked_for():
    ax = draw_gates(Figure().subplots(), torch.rand(5, 9), units=[7, 2], title="forget $x$")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["7", "2"]
    assert ax.get_title(loc="left") == "forget $x$"
    drawn(ax)


def test_a_span_is_framed():
    ax = draw_gates(Figure().subplots(), torch.rand(9, 3), span=(2, 5))
    assert [list(np.asarray(line.get_xdata())) for line in ax.lines] == [[1.5] * 2, [4.5] * 2]


def test_a_single_value_is_drawn():
    drawn(draw_gates(Figure().subplots(), torch.zeros(1, 1), ["a"]))
    drawn(draw_gates(Figure().subplots(), torch.full((3, 2), -2.0)))


# Names of steps


@pytest.mark.parametrize("wide", [4.2, 8.4])
@pytest.mark.parametrize(
    "steps",
    [
        list("the cat\nsat"),
        list("가나다 라마바사"),
        ["a", "longer", "words", "than", "others"] * 2,
        [f"word{number}" for number in range(30)],
        [f"2024-01-{number:02}" for number in range(1, 29)] * 5,
        list("many letters " * 20),
        [f"단어{number}" for number in range(50)],
    ],
)
def test_names_of_steps_do_not_overlap(steps, wide):
    _, ax = new(LIGHT, wide, 2.9)
    draw_gates(ax, torch.rand(len(steps), 4), steps)
    drawn(ax)
    labels = [label for label in ax.get_xticklabels() if label.get_text()]
    assert len(labels) > 2
    assert not overlap(boxes(ax, labels))


def test_every_token_is_named_where_there_is_room():
    steps = ["the", " ", "cat", "\n", "$x$"]
    ax = draw_gates(Figure().subplots(), torch.rand(5, 4), steps)
    assert names(ax) == ["the", "␣", "cat", "↵", "$x$"]
    assert ax.get_xlabel() == ""
    drawn(ax)


def test_letters_are_all_named_or_none():
    _, ax = new(LIGHT, 8.4, 2.9)
    draw_gates(ax, torch.rand(80, 4), list("x" * 80))
    assert names(ax) == ["x"] * 80
    _, ax = new(LIGHT, 4.2, 2.9)
    draw_gates(ax, torch.rand(80, 4), list("x" * 80))
    drawn(ax)
    assert "x" not in names(ax)
    assert ax.get_xlabel() == "step"


def test_single_letters_are_not_turned():
    for letters in ("x" * 24, "가" * 24):
        _, ax = new(LIGHT, 4.2, 2.9)
        draw_gates(ax, torch.rand(24, 4), list(letters))
        assert names(ax) == list(letters)
        assert all(label.get_rotation() == 0 for label in ax.get_xticklabels())


def test_of_many_times_some_are_named():
    steps = [f"2024-{number:03}" for number in range(300)]
    ax = draw_gates(Figure().subplots(), torch.rand(300, 4), steps)
    assert names(ax)[0] == "2024-000"
    assert 2 < len(names(ax)) < 20
    assert all(
        name == steps[int(tick)] for name, tick in zip(names(ax), ax.get_xticks(), strict=True)
    )


def test_white_space_is_made_visible_and_widths_are_in_letters():
    assert visible("a b\n\t\r") == "a␣b↵⇥←"
    assert width("abc") == 3
    assert width("의존a") == 5


# Lines


@themes
def test_a_few_units_have_a_line_each_with_its_name_at_the_end(theme):
    cell, hidden = torch.randn(12, 9), torch.randn(12, 9)
    _, ax = new(theme)
    assert draw_units(ax, {"a.cell": cell, "a.hidden": hidden}, [4, 7], theme=theme) is ax
    lines = {line.get_label(): line for line in ax.lines[:4]}
    assert [*lines] == ["cell 4", "hidden 4", "cell 7", "hidden 7"]
    assert np.asarray(lines["hidden 7"].get_ydata()) == pytest.approx(hidden[:, 7].numpy())
    assert lines["cell 4"].get_color() == lines["hidden 4"].get_color() == theme.palette[0]
    assert lines["cell 7"].get_color() == theme.palette[1]
    styles = [line._dash_pattern for line in lines.values()]  # pyright: ignore
    assert styles[0] == styles[2] != styles[1] == styles[3]
    said = [text for text in ax.texts if text.get_text() in lines]
    assert {text.get_text(): text.get_color() for text in said} == {
        name: line.get_color() for name, line in lines.items()
    }
    assert not overlap(boxes(ax, said))
    assert ax.get_title(loc="left") == "units 4, 7"


def test_of_one_unit_each_kind_has_its_own_colour():
    kinds = {name: torch.rand(6, 3) for name in ("input", "forget", "output_gate", "hidden")}
    ax = draw_units(Figure().subplots(), kinds, [1], list("tokens"), span=(2, 4))
    assert len({line.get_color() for line in ax.lines}) == 4
    for line, name in zip(ax.lines, kinds, strict=True):
        assert line.get_color() == LIGHT.palette[PLACES[name]]
    assert ax.lines[2].get_label() == "output"
    assert names(ax) == list("tokens")
    assert ax.get_title(loc="left") == "unit 1"
    (shade,) = ax.patches
    assert shade.get_window_extent().x0 == pytest.approx(ax.transData.transform((1.5, 0))[0])
    assert shade.get_window_extent().x1 == pytest.approx(ax.transData.transform((3.5, 0))[0])


# All values together


@themes
def test_saturation_has_a_dot_for_each_unit_and_gate(theme):
    layer = LSTM(2, 6)
    with torch.no_grad():
        layer.bias[:2] = -9  # never open
        layer.bias[6] = 20  # always open
    activity = gate_activity(layer, torch.randn(3, 30, 2))
    ax = Figure().subplots()
    assert draw_saturation(ax, activity, theme=theme) is ax
    dots = {group.get_label(): np.asarray(group.get_offsets()) for group in ax.collections}
    assert [*dots] == ["input", "forget", "output"]
    assert dots["input"] == pytest.approx(
        100 * torch.stack([activity["input"].low, activity["input"].high], dim=1).numpy()
    )
    assert dots["input"][0] == pytest.approx([100, 0])
    assert dots["forget"][0] == pytest.approx([0, 100])
    (note,) = [text.get_text() for text in ax.texts]
    assert note == "of 18 gates 2 always low, 1 always high"
    assert "input saturates most: " in ax.get_title(loc="left")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("% of steps below 0.1", "% of steps above 0.9")
    drawn(ax)


def test_layers_are_drawn_together_or_by_themselves():
    activity = gate_activity(Stack(LSTM(2, 3), GRU(3, 4)), torch.randn(1, 9, 2))
    ax = draw_saturation(Figure().subplots(), activity)
    dots = {group.get_label(): len(np.asarray(group.get_offsets())) for group in ax.collections}
    assert dots == {"input": 3, "forget": 3, "output": 3, "reset": 4, "update": 4}
    ax = draw_saturation(Figure().subplots(), activity, layer="layers.1", gates=["update"])
    assert [group.get_label() for group in ax.collections] == ["update"]
    assert ax.get_title(loc="left").startswith("update saturates: ")


def test_an_rnn_is_drawn_by_its_hidden_values():
    activity = gate_activity(RNN(2, 5), torch.randn(2, 20, 2))
    ax = draw_saturation(Figure().subplots(), activity)
    assert [group.get_label() for group in ax.collections] == ["hidden"]
    ax = draw_gate_histogram(Figure().subplots(), activity)
    assert ax.get_xlim() == (-1, 1)


@themes
def test_histograms_are_shares_of_all_values(theme):
    activity = gate_activity(Stack(GRU(2, 3), GRU(3, 4)), torch.randn(2, 50, 2))
    ax = Figure().subplots()
    assert draw_gate_histogram(ax, activity, theme=theme) is ax
    stairs: list[Any] = [patch for patch in ax.patches if hasattr(patch, "get_data")]
    assert [one.get_label().partition(":")[0] for one in stairs] == ["reset", "update"]
    for one, name in zip(stairs, ("reset", "update"), strict=True):
        heights, edges, _ = one.get_data()
        counts = activity[f"layers.0.{name}"].counts + activity[f"layers.1.{name}"].counts
        assert heights == pytest.approx(100 * counts.numpy() / 700)  # 100 steps of 7 units
        assert (edges[0], edges[-1]) == (0, 1)
    low = torch.cat([activity[f"layers.{at}.reset"].low for at in (0, 1)]).mean()
    assert stairs[0].get_label().startswith(f"reset: {100 * float(low):.0f} % low, ")
    assert ax.get_yscale() == "log"
    drawn(ax)
    assert all("$" not in label.get_text() for label in ax.get_yticklabels())


def test_values_of_other_ranges_are_not_mixed():
    activity = gate_activity(LSTM(2, 3), torch.randn(1, 9, 2))
    draw_gate_histogram(Figure().subplots(), activity, gates=["candidate", "hidden"])
    with pytest.raises(InputError, match="hidden ranges over other values"):
        draw_gate_histogram(Figure().subplots(), activity, gates=["forget", "hidden"])


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda ax, a: draw_saturation(ax, a, layer="b"), r"layer is 'b', expected one of \['GRU'"),
        (lambda ax, a: draw_saturation(ax, a, gates=["forget"]), r"gates are \['forget'\], exp"),
        (lambda ax, a: draw_gate_histogram(ax, a, gates=[]), r"gates are \[\], expected some of"),
        (lambda ax, a: draw_gates(ax, torch.rand(3, 2), ["a"]), "1 names, expected one for each"),
        (lambda ax, a: draw_gates(ax, torch.rand(0, 2)), r"values have shape \[0, 2\]"),
        (lambda ax, a: draw_units(ax, {"cell": torch.rand(3, 2)}, []), "values of 0 units"),
        (lambda ax, a: draw_units(ax, {}, [0]), "0 kinds of values of 1 units"),
        (lambda ax, a: draw_units(ax, {"cell": torch.rand(3, 20)}, range(13)), "1 to 12 lines"),
        (lambda ax, a: draw_units(ax, {"cell": torch.rand(3, 2)}, [0], "ab"), "2 names, expected"),
        (lambda ax, a: draw_units(ax, {"cell": torch.rand(3, 2)}, [2]), r"units are \[2\]"),
        (lambda ax, a: draw_gates(ax, torch.rand(3, 2), units=[2]), r"units are \[2\]"),
        (lambda ax, a: draw_gates(ax, torch.rand(3, 2), units=[]), r"units are \[\]"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_line(draw, message):
    activity = gate_activity(GRU(2, 3), torch.randn(1, 4, 2))
    with pytest.raises(InputError, match=message) as caught:
        draw(Figure().subplots(), activity)
    assert "\n" not in str(caught.value)


def test_gates_keep_their_colours_apart():
    for layer in (["input", "forget", "output_gate", *BETWEEN], ["reset", "update", *BETWEEN]):
        assert len({PLACES[name] for name in layer}) == len(layer)
    assert {*PLACES} == {*SHUTTERS, *BETWEEN}
    for theme in (LIGHT, DARK):
        for place in PLACES.values():
            assert contrast(theme.palette[place], theme.surface) > 4.5
