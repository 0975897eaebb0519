"""What a page says and shows of one sequence: its names, its numbers, and what it leaves out."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure as Drawing

from tests.inspect.inside_runs import run_of
from throughtime.errors import InputError
from throughtime.inspect import page, subjects
from throughtime.inspect.answer_parts import _plain, series_part
from throughtime.inspect.layer_parts import TELL, _sentence
from throughtime.inspect.looking import look
from throughtime.inspect.memory_parts import _after
from throughtime.inspect.page import write_page
from throughtime.inspect.panels import Curves, Figure, Looked, Part
from throughtime.inspect.sequence_figures import draw_image
from throughtime.inspect.showing import Uris
from throughtime.inspect.theme import LIGHT


def looked(name, text=None):
    run = run_of(name)
    return look(run, subjects.row_of(run, 0) if text is None else subjects.given_text(run, text))


def part_of(found, title):
    return next(part for part in found.parts if part.title.startswith(title))


@pytest.mark.parametrize("name", ["lstm", "series", "early"])
def test_a_layer_has_one_name_on_the_whole_page(name):
    found = looked(name)
    names = {said.partition(":")[0] for said in part_of(found, "How far gradients reach").found}
    gates = part_of(found, "Gates").panel
    assert gates is not None
    assert names == {one["layer"] for one in gates["maps"]}


def test_layers_of_a_decoder_have_its_name():
    (said,) = part_of(looked("pairs"), "How far gradients reach").found
    assert said.startswith("decoder.body.layers.")


@pytest.mark.parametrize(("name", "title"), [("texts", "The text"), ("digits-rows", "The image")])
def test_what_has_no_heads_to_show_it_is_shown_by_itself(name, title):
    part = looked(name).parts[0]
    assert part.title == title
    assert part.panel == {"kind": "shown", "steps": "text" if name == "texts" else "image"}
    assert [figure.instead for figure in part.figures] == [True] * (name == "digits-rows")


@pytest.mark.parametrize("name", ["digits", "examples", "lstm"])
def test_what_is_seen_elsewhere_is_not_shown_twice(name):
    kinds = [part.panel["kind"] for part in looked(name).parts if part.panel]
    assert "shown" not in kinds


def test_layers_that_read_backwards_are_said_to_be_left_out():
    part = part_of(looked("texts"), "How each step carries the state on")
    assert part.panel is not None
    assert [chart["label"] for chart in part.panel["charts"]] == ["body.layers.1.over"]
    assert any("body.layers.1.against reads from the end" in note for note in part.notes)


def test_few_steps_say_nothing_of_gates_and_gradients():
    few, enough = looked("lstm", "b"), looked("lstm", "bana"[: TELL - 1])
    assert part_of(few, "Gates").found == ()
    assert any("2 steps are too few to tell" in note for note in part_of(few, "Gates").notes)
    assert "How far gradients reach" not in [part.title for part in few.parts]
    assert part_of(enough, "Gates").found
    assert not any("too few" in note for note in part_of(enough, "Gates").notes)


def test_the_end_of_a_text_which_nothing_follows_has_no_gradient():
    run = run_of("lstm")
    whole = subjects.given_text(run, "banane")
    assert isinstance(whole, subjects.Stretch)
    batch, _ = _after(run, whole)
    assert batch.inputs.shape[1] == len("banane")  # from the beginning to the n
    assert (batch.targets >= 0).all()
    later = subjects.row_of(run, 1)
    assert isinstance(later, subjects.Stretch)
    batch, state = _after(run, later)
    assert batch.inputs.shape[1] == later.steps_shown - 1
    assert state is not None
    series = subjects.row_of(run_of("series"), 0)
    assert isinstance(series, subjects.Stretch)
    batch, _ = _after(run_of("series"), series)
    assert batch.inputs.shape[1] == series.steps_shown


def test_saturation_says_of_which_layer_it_is():
    part = part_of(looked("texts"), "Gates")
    titles = []
    for figure in part.figures:
        if figure.name.startswith("saturation"):
            ax = Drawing().subplots()
            figure.draw(ax, LIGHT)
            titles.append(ax.get_title(loc="left").splitlines()[0])
    assert titles == ["body.layers.1.over", "body.layers.1.against"]


def test_heads_are_described_in_english():
    said = _sentence("a", ["looks 2 steps back", "looks by content", "looks 2 steps back"])
    assert said == "a: heads 0 and 2 look 2 steps back, head 1 looks by content"
    from throughtime.inspect.layer_parts import _at

    kinds = ["evenly", "by content", "nearby", "5 steps back", "2 steps ahead"]
    assert [_at(kind) for kind in kinds] == kinds
    assert [_at(kind) for kind in ("itself", "the first step")] == [
        "at itself",
        "at the first step",
    ]


# -- numbers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "by", "shown"),
    [
        (141545.3, 178.9, "141,545"),
        (43.1599, 6.16, "43.16"),
        (0.012345, None, "0.0123"),
        (78.31, None, "78.3"),
        (0.0, None, "0"),
        (3.0, 0.0, "3"),
        (math.inf, None, "inf"),
        (2e-9, None, "2e-09"),
    ],
)
def test_numbers_have_the_digits_that_tell_them_apart(value, by, shown):
    assert _plain(value, by) == shown


def test_large_values_that_differ_by_little_stay_apart():
    chart = Curves("s", {"a": np.array([141545.25, 141366.5, np.nan])}).to_json()
    assert chart["lines"] == [["a", [141545.2, 141366.5, None]]]


def test_the_worst_step_is_told(monkeypatch):
    run = run_of("series")
    seen = subjects.row_of(run, 0)
    assert isinstance(seen, subjects.Stretch)
    seen.targets[0, seen.first + 3, 0] = 5000.0
    (_, said) = series_part(run, seen).found
    assert f"most at {seen.steps.words[3]}: {seen.values[0]} was 5,000 where" in said


def test_an_image_is_drawn_from_black_to_white():
    image = torch.tensor([[[2.0, 4.0], [3.0, 2.0]]])
    ax = draw_image(Drawing().subplots(), image)
    shown: Any = ax.images[0].get_array()
    assert shown.tolist() == [[0.0, 1.0], [0.5, 0.0]]
    ax = draw_image(Drawing().subplots(), torch.zeros(3, 2, 2))  # all alike, and in colour
    shown = ax.images[0].get_array()
    assert shown.shape == (2, 2, 3)
    assert shown.max() == 0


# -- what is refused, and what goes ---------------------------------------------------------------


@pytest.mark.parametrize("source", ["", "  \n"])
def test_an_empty_source_is_refused(source):
    with pytest.raises(InputError, match=r"--source is '.*', expected some with \w+s in it") as no:
        subjects.given_pair(run_of("pairs"), source, None)
    assert "\n" not in str(no.value)


def test_figures_of_an_earlier_page_go_and_other_files_stay(tmp_path, monkeypatch):
    def drawn(*_, file, **__):
        file.write_bytes(b"PNG")
        return Uris("data:,", "data:,")

    def shown(*names):
        figures = tuple(Figure(name, "", lambda ax, theme: ax) for name in names)
        return Looked("It", (), (), (Part("A", figures=figures),))

    monkeypatch.setattr(page, "draw_both", drawn)
    (tmp_path / "mine.png").write_bytes(b"mine")
    write_page(tmp_path, shown("one", "two"))
    write_page(tmp_path, shown("two", "three"))
    there = sorted(path.name for path in tmp_path.iterdir())
    assert there == ["index.html", "mine.png", "three.png", "two.png"]


def test_a_page_cannot_name_files_of_other_folders(tmp_path):
    below = tmp_path / "below"
    below.mkdir()
    (tmp_path / "mine.png").write_bytes(b"mine")
    (below / "index.html").write_text('<meta name="figures" content="../mine.png/..">')
    write_page(below, Looked("It", (), (), ()))
    assert (tmp_path / "mine.png").exists()
