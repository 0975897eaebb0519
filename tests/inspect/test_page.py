"""The page to point at: what is in it for each kind of run, and that it holds everything itself."""

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from tests.inspect.inside_runs import KINDS, run_of
from throughtime.errors import InputError
from throughtime.inspect import layer_parts, page, panels, subjects
from throughtime.inspect.looking import look
from throughtime.inspect.page import make_page, safe_json, write_page
from throughtime.inspect.panels import (
    Curves,
    Figure,
    Foretold,
    Heads,
    Looked,
    Map,
    Part,
    Steps,
    curves_panel,
    heads_panel,
    maps_panel,
    packed,
)
from throughtime.inspect.showing import Uris

NASTY = '</script><script>alert(1)</script><!-- & \u2028 "'


@pytest.fixture(autouse=True)
def _blank(monkeypatch):
    """Without pictures, which take most of the time."""
    blank = Uris("data:image/png;base64,", "data:image/png;base64,")
    monkeypatch.setattr(page, "draw_both", lambda *_, **__: blank)


class Reader(HTMLParser):
    """Reads a page the way a browser does, as far as the tests need it."""

    def __init__(self, text):
        super().__init__()
        self.scripts, self.attributes, self.words, self.tags, self.open = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.open.append(tag)
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            attrs, text = self.scripts[-1]
            self.scripts[-1] = (attrs, text + data)
        else:
            self.words.append(data)


def data_of(text):
    """What the script of a page reads."""
    return json.loads(Reader(text).scripts[0][1])


def numbers(values):
    """What `packed` packed."""
    found = np.frombuffer(base64.b64decode(values["data"]), np.uint8).astype(float)
    found[found == panels.MISSING] = np.nan
    shares = found.reshape(values["shape"]) / panels.LEVELS
    return values["low"] + shares * (values["high"] - values["low"])


def tiny(word="a"):
    steps = (Steps("text", "a text", (word, "b", "c")),)
    maps = [Map("layer", "forget", np.array([[0.0, 1.0]] * 3), 0.0, 1.0)]
    heads = [Heads("layer", np.full((2, 3, 3), 1 / 3), "text", "text", ("looks", word))]
    told = Foretold("text", np.array([np.nan, 0.5, 0.25]), [[(word, 0.5)]] * 3)
    lines = [Curves("text", {word: np.array([1.0, np.nan, 2.0])}, word)]
    parts = [
        Part(word, word, (word,), panel, notes=(word,))
        for panel in (
            told.to_json(), maps_panel("text", maps), heads_panel(heads),
            curves_panel("text", lines),
        )
    ]  # fmt: skip
    return Looked(f"Inside {word}", ((word, word),), steps, tuple(parts), (word,), word)


def looked(name, subject=None, **options):
    run = run_of(name)
    return look(run, subjects.row_of(run, 0) if subject is None else subject, **options)


def panels_of(found, kind):
    return [part.panel for part in found.parts if part.panel and part.panel["kind"] == kind]


# -- the page itself -----------------------------------------------------------------------------


def test_words_from_outside_are_text_wherever_they_stand():
    reader = Reader(make_page(tiny(NASTY)).html)
    assert len(reader.scripts) == 2  # the data and ours
    data = json.loads(reader.scripts[0][1])
    assert data["steps"]["text"]["words"][0] == NASTY
    assert data["panels"][0]["likeliest"][0][0][0] == NASTY
    assert not any(name.startswith("on") for _, name, _ in reader.attributes)
    assert "alert(1)" not in reader.scripts[1][1]
    assert sum(NASTY in words for words in reader.words) >= 5


def test_json_between_tags_has_nothing_that_ends_them():
    text = safe_json({NASTY: [NASTY, "\ud800"]})
    assert not re.search("[<>&\u2028\u2029\ud800-\udfff]", text)
    assert json.loads(text) == {NASTY: [NASTY, "\ud800"]}
    with pytest.raises(ValueError, match="JSON"):
        safe_json({"x": float("nan")})


def test_nothing_is_fetched_and_no_other_script_runs():
    text = make_page(tiny()).html
    reader = Reader(text)
    outside = [value for _, name, value in reader.attributes if name in ("href", "src", "srcset")]
    assert all(value.startswith("data:") for value in outside)
    assert not {"link", "iframe", "object", "base", "form"} & set(reader.tags)
    (policy,) = [v for tag, name, v in reader.attributes if (tag, name) == ("meta", "content")
                 and "default-src" in v]  # fmt: skip
    assert "default-src 'none'" in policy
    script = reader.scripts[1][1]
    assert page._hash(script) in policy
    for call in ("fetch(", "XMLHttpRequest", "import(", "WebSocket", "innerHTML", "eval("):
        assert call not in script
    assert "unsafe-inline" not in policy.split("script-src")[1]


def test_the_script_is_small():
    sizes = [len(script.read_text("utf-8")) for script in page.SCRIPTS]
    assert sum(sizes) < 30_000


def test_every_panel_has_its_place_and_its_data():
    text = make_page(tiny()).html
    places = [int(v) for _, name, v in Reader(text).attributes if name == "data-panel"]
    data = data_of(text)
    assert places == [0, 1, 2, 3]
    assert [panel["kind"] for panel in data["panels"]] == ["foretold", "maps", "heads", "curves"]
    assert numbers(data["panels"][1]["maps"][0]["values"]).tolist() == [[0] * 3, [1] * 3]
    assert data["panels"][0]["probability"] == [None, 0.5, 0.25]
    assert data["panels"][3]["charts"][0]["lines"] == [["a", [1.0, None, 2.0]]]


def test_packed_numbers_come_back():
    values = np.linspace(-2, 3, 1000).reshape(10, 100)
    values[3, 4] = np.nan
    back = numbers(packed(values, -2.0, 3.0))
    assert np.isnan(back[3, 4])
    assert np.nanmax(np.abs(back - values)) <= 5 / 508 + 1e-9
    assert numbers(packed(np.array([-9.0, 9.0]), 0.0, 1.0)).tolist() == [0, 1]


def test_patches_must_fill_their_grid():
    with pytest.raises(InputError, match="3 together"):
        Steps("image", "an image", ("a", "b", "c"), image="data:,", grid=(2, 2))


def test_a_notebook_shows_the_page_in_a_frame_of_its_own():
    shown = make_page(tiny(NASTY))._repr_html_()
    reader = Reader(shown)
    assert reader.tags == ["iframe"]
    (inner,) = [value for _, name, value in reader.attributes if name == "srcdoc"]
    assert inner == make_page(tiny(NASTY)).html
    assert ("iframe", "sandbox", "allow-scripts") in reader.attributes


def test_figures_are_drawn_for_both_surroundings_and_as_files(tmp_path, monkeypatch):
    monkeypatch.undo()

    def draw(ax, theme):
        ax.plot([0, 1], color=theme.ink)

    figures = (
        Figure("one / 하나", "a line", draw),
        Figure("One 하나", "another", draw, instead=True),
    )
    whole = Looked("It", (), (), (Part("A", figures=figures),))
    made = write_page(tmp_path / "deep", whole)
    assert sorted(path.name for path in made.figures) == ["one-하나-2.png", "one-하나.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in made.figures)
    text = (tmp_path / "deep" / "index.html").read_text("utf-8")
    sources = [v for tag, name, v in Reader(text).attributes if (tag, name) == ("img", "src")]
    assert len(sources) == 4
    assert len(set(sources)) == 2  # day and night differ, and both figures are the same line
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert 'class="figures instead"' in text


# -- what there is to see of each kind of run ------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_gives_a_page(name):
    found = looked(name)
    text = make_page(found).html
    assert len(text) < 2_000_000
    data = data_of(text)
    assert data == json.loads(json.dumps(found.to_json()))
    assert all(sentence in " ".join(Reader(text).words) for sentence in found.found)
    for panel in data["panels"]:
        _check_panel(panel, data["steps"])


def _check_panel(panel, steps):
    """All shapes agree with the words of their steps."""
    if panel["kind"] == "foretold":
        words = steps[panel["steps"]]["words"]
        assert len(panel["probability"]) == len(panel["likeliest"]) == len(words)
    for each in panel.get("maps", ()):
        time = len(steps[panel["steps"]]["words"])
        assert each["values"]["shape"] == [len(each["units"]), time]
    for each in panel.get("layers", ()):
        rows, columns = (len(steps[each[side]]["words"]) for side in ("rows", "columns"))
        assert each["values"]["shape"][1:] == [rows, columns]
        assert len(each["kinds"]) in (0, each["values"]["shape"][0])
    for each in panel.get("charts", ()):
        time = len(steps[panel["steps"]]["words"])
        assert all(len(line) == time for _, line in each["lines"])


def test_tokens_are_as_likely_as_the_model_says():
    run = run_of("lstm")
    found = looked("lstm", subjects.given_text(run, "banane"))
    (panel,) = panels_of(found, "foretold")
    given: Any = subjects.given_text(run, "banane")
    expected = run.model.log_prob(given.inputs[:, 1:]).exp()[0].tolist()
    assert panel["probability"][0] is None
    assert panel["probability"][1:] == pytest.approx(expected, rel=1e-3)
    first = dict(map(tuple, panel["likeliest"][0]))
    assert panel["probability"][1] <= max(first.values()) * 1.001
    assert found.steps[0].words == ("<begin>", *"banane")


def test_gates_are_those_of_the_run():
    found = looked("lstm", subjects.given_text(run_of("lstm"), "banane"))
    (panel,) = panels_of(found, "maps")
    names = [one["name"] for one in panel["maps"]]
    assert names[:2] == ["cell", "hidden"]
    assert sorted(names) == ["candidate", "cell", "forget", "hidden", "input", "output"]
    by_name = {one["name"]: numbers(one["values"]) for one in panel["maps"]}
    kept = by_name["forget"][:, 1:] * by_name["cell"][:, :-1]
    taken = by_name["input"][:, 1:] * by_name["candidate"][:, 1:]
    assert np.abs(kept + taken - by_name["cell"][:, 1:]).max() < 0.03


def test_what_was_read_before_is_not_shown_but_carried_on():
    run = run_of("lstm")
    later: Any = subjects.row_of(run, 3)
    assert later.first == subjects.BEFORE
    found = look(run, later)
    (panel,) = panels_of(found, "foretold")
    assert None not in panel["probability"]
    assert any("carried on" in note for note in found.notes)
    whole = np.array(run.model.log_prob(later.inputs[:, 1:]).exp()[0].tolist())
    own = np.array(panel["probability"])
    assert own[-20:] == pytest.approx(whole[-20:], rel=0.01)  # the same run but for its first step


def test_the_cut_of_training_is_told():
    assert any("a cut after 32 steps" in said for said in looked("lstm").found)


def test_heads_are_those_of_the_model():
    found = looked("transformer", subjects.given_text(run_of("transformer"), "banane"))
    (panel,) = panels_of(found, "heads")
    names = [layer["layer"] for layer in panel["layers"]]
    assert names[0] == "all layers together (rollout)"
    assert names[1:] == ["body.layers.0.attention", "body.layers.1.attention"]
    for layer in panel["layers"]:
        weights = numbers(layer["values"])
        assert np.abs(weights.sum(-1) - 1).max() < 0.02
        assert np.abs(np.triu(weights, 1)).max() == 0  # causal


def test_pairs_have_an_alignment_and_both_sides():
    for name in ("pairs", "pairs-transformer"):
        found = looked(name)
        crossed = [
            layer
            for panel in panels_of(found, "heads")
            for layer in panel["layers"] if layer["rows"] != layer["columns"]
        ]  # fmt: skip
        assert {(layer["rows"], layer["columns"]) for layer in crossed} == {("target", "source")}
        steps = {one.name: one for one in found.steps}
        assert steps["source"].words[-1] == steps["target"].words[-1] == "<end>"
        assert steps["read"].words == ("<begin>", *steps["target"].words[:-1])
        assert steps["read"].line == "target"


def test_a_source_alone_is_answered():
    run = run_of("pairs")
    given = subjects.given_pair(run, "42", "forty two")
    assert (given.target.words, given.answered) == (("forty", "two", "<end>"), False)
    answer = subjects.given_pair(run, "42", None)
    assert answer.answered
    assert answer.target.title == "the model's answer"


def test_series_show_what_happened_and_what_was_foretold():
    found = looked("series")
    (chart, *_) = panels_of(found, "curves")[0]["charts"]
    assert [name for name, _ in chart["lines"]] == ["what happened", "median foretold"]
    low, high = np.array(chart["band"]["low"]), np.array(chart["band"]["high"])
    middle = np.array(chart["lines"][1][1])
    assert (low < middle).all()
    assert (middle < high).all()


def test_images_are_looked_at_patch_by_patch():
    found = looked("digits-token")
    (steps,) = found.steps
    assert (steps.grid, steps.before, steps.words[0]) == ((4, 4), 1, subjects.TOKEN)
    assert steps.image.startswith("data:image/png")
    assert "Where in the image it looked" in [part.title for part in found.parts]
    (panel,) = panels_of(found, "heads")
    assert panel["layers"][0]["values"]["shape"][1:] == [17, 17]
    assert "How far gradients reach" not in [part.title for part in found.parts]


def test_rows_of_an_image_have_gates_and_no_heads():
    found = looked("digits-rows")
    assert found.steps[0].grid == (8, 1)
    assert panels_of(found, "heads") == []
    (panel,) = panels_of(found, "maps")
    assert {one["layer"].rpartition(".")[2] for one in panel["maps"]} == {"over", "against"}


def test_a_causal_classifier_answers_after_every_step():
    panel = panels_of(looked("early"), "curves")[0]
    shares = np.array([line for _, line in panel["charts"][0]["lines"]])
    assert np.abs(shares.sum(0) - 1).max() < 1e-3


def test_a_window_has_only_what_it_has():
    found = looked("window")
    assert panels_of(found, "maps") == panels_of(found, "heads") == []
    assert [part.title for part in found.parts] == ["What was foretold", "How far gradients reach",
                             "How much context counts"]  # fmt: skip


# -- what is left out ----------------------------------------------------------------------------


def test_layers_are_chosen_by_a_pattern():
    run = run_of("transformer")
    text = subjects.given_text(run, "banane")
    (panel,) = panels_of(look(run, text, "body.layers.1*"), "heads")
    assert [layer["layer"] for layer in panel["layers"]] == ["body.layers.1.attention"]
    with pytest.raises(
        InputError, match=r"--layers is 'nothing'.*body\.layers\.0\.attention"
    ) as no:
        look(run, text, "nothing")
    assert "\n" not in str(no.value)


def test_of_many_units_those_that_change_most_are_shown(monkeypatch):
    monkeypatch.setattr(layer_parts, "UNITS", 3)
    found = looked("lstm", subjects.given_text(run_of("lstm"), "banane"))
    (panel,) = panels_of(found, "maps")
    assert all(len(one["units"]) == 3 for one in panel["maps"])
    assert any("Of 8 units of body.layers.0 the 3 that change most" in note
               for part in found.parts for note in part.notes)  # fmt: skip


def test_where_there_is_no_room_it_says_so(monkeypatch):
    run = run_of("transformer")
    text = subjects.given_text(run, "banane")
    kept = layer_parts.Recorded
    monkeypatch.setattr("throughtime.inspect.looking.Recorded",
                        lambda *given: replace(kept(*given), room=100))  # fmt: skip
    found = look(run, text)
    (panel,) = panels_of(found, "heads")
    assert [layer["layer"] for layer in panel["layers"]] == ["all layers together (rollout)"]
    assert any("no room for all of body.layers.0.attention" in note for note in found.notes)
    assert any("--layers 'body.layers.1.attention'" in note for note in found.notes)


def test_long_texts_are_cut_and_it_says_so():
    found = looked("rnn", subjects.given_text(run_of("rnn"), "banane" * 60))
    assert len(found.steps[0].words) == subjects.LONGEST + 1
    assert any("the first 256 are looked at" in note for note in found.notes)
