"""The notes' drawings: legible, and with numbers that are what they are said to be."""

import copy
import doctest
import importlib
import itertools
import math
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from throughtime import GRU, LSTM, RNN, Linear
from throughtime.inspect.drawing import to_svg
from throughtime.inspect.theme import LIGHT, THEMES, contrast
from throughtime.layers import SelfAttention
from throughtime.training import Full, Truncated

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS))
drawings = importlib.import_module("drawings")
canvas, circuits, gradients, inputs, learned, looking, recurrent, transformers, units = (
    importlib.import_module(f"drawings.{name}")
    for name in (
        "canvas", "circuits", "gradients", "inputs", "learned", "looking", "recurrent",
        "transformers", "units",
    )
)  # fmt: skip
NAMES = [*drawings.DRAWINGS]


@pytest.fixture(scope="module")
def drawn():
    """All of them by name and theme, drawn once."""
    return {
        (name, theme.name): drawings.drawing(name, theme)
        for name in drawings.DRAWINGS
        for theme in THEMES
    }


def written(figure):
    """The letters of a figure that are seen, with the box around each in points."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    scale = 72 / figure.dpi
    found = []
    for text in figure.findobj(Text):
        if text.get_text().strip() and text.get_visible():
            box = text.get_window_extent(renderer)
            found.append((text, [side * scale for side in box.extents]))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_letters_are_large_enough_on_the_sheet_and_apart(drawn, name):
    figure = drawn[name, "light"]
    wide, high = (72 * inches for inches in figure.get_size_inches())
    texts = written(figure)
    assert wide == pytest.approx(canvas.WIDTH)
    for text, (left, bottom, right, top) in texts:
        assert text.get_fontsize() >= canvas.SMALL, text.get_text()
        assert left >= 0, text.get_text()
        assert right <= wide, text.get_text()
        assert bottom >= 0, text.get_text()
        assert top <= high, text.get_text()
    for (one, a), (other, b) in itertools.combinations(texts, 2):
        across = min(a[2], b[2]) - max(a[0], b[0])
        up = min(a[3], b[3]) - max(a[1], b[1])
        assert across < 1 or up < 2.5, (one.get_text(), other.get_text())


@pytest.mark.parametrize("name", NAMES)
def test_light_and_dark_say_the_same_and_are_good_svg(drawn, name):
    said = []
    for theme in THEMES:
        svg = to_svg(drawn[name, theme.name])
        ElementTree.fromstring(svg)
        said.append([text.get_text() for text, _ in written(drawn[name, theme.name])])
        assert theme.ink in svg
    assert said[0] == said[1]


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_numbers_on_shades_can_be_read(theme):
    sheet = canvas.Canvas(theme, 60, "")
    for role in (None, "attention", "input"):
        for share in range(-10, 11):
            shade = sheet.shade(share / 10, role)
            assert contrast(sheet.on(shade), shade) >= 3.5
    for role in canvas.ROLES:
        assert contrast(sheet.colour(role), theme.surface) >= 4.5


def test_examples_in_the_docstrings_run():
    results = doctest.testmod(canvas)
    assert results.attempted >= 3
    assert not results.failed


def test_chance_elsewhere_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = learned.from_seed(1)(lambda: torch.rand(2))()
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first, learned.from_seed(1)(lambda: torch.rand(2))())


# States


def test_the_rnn_spells_its_word_and_tells_its_ls_apart():
    hidden, chances = recurrent.spelt()
    answers = "".join(learned.LETTERS[place] for place in chances.argmax(-1).tolist())
    assert answers == learned.WORD[1:] + learned.WORD[0]
    first, second = (place for place, letter in enumerate(learned.WORD) if letter == "l")
    assert (hidden[first] - hidden[second]).abs().max() > 0.5


def test_the_state_of_the_latent_model_sums_up_the_past():
    found = recurrent.summed()
    assert len(found.size) == 2
    assert len({*found.size.values()}) == 1
    assert found.difference < 1e-4
    assert torch.allclose(found.chances.sum(-1), torch.ones(len(found.chances)))
    said = [found.letters.index(letter) for letter in recurrent.WORDS[0]]
    # One word of six: the chances of its letters multiply to about that.
    whole = math.prod(found.chances[range(len(said)), said].tolist())
    assert whole == pytest.approx(1 / len(recurrent.WORDS), rel=0.4)


def test_a_window_reaches_so_far_and_no_further_and_an_rnn_to_the_first():
    found = recurrent.reached()
    size = recurrent.SEEN
    time = len(found.window)
    for t, s in itertools.product(range(time), range(time)):
        assert (found.window[t, s] > 0) == (t - size < s <= t)
        assert (found.rnn[t, s] > 0) == (s <= t)


# Gradients


def by_hand():
    """The gradients at each state of the same network, by another way."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        rnn, head = RNN(1, 8), Linear(8, 1)
    series = torch.sin(torch.arange(gradients.STEPS + 1.0)).reshape(1, -1, 1)
    assert head.bias is not None
    hidden, _ = rnn(series[:, :-1])
    hidden = hidden.detach()[0].double()
    weight = rnn.weight_hidden.detach().double()
    out, shift = head.weight.detach().double(), head.bias.detach().double()
    errors = hidden @ out.T + shift - series[0, 1:].double()
    own = errors * out / gradients.STEPS  # (T, H)
    return own, lambda t, whole: ((1 - hidden[t + 1].square()) * whole) @ weight


@pytest.mark.parametrize("truncation", [Full(), Truncated()], ids=["full", "truncated"])
def test_both_ways_into_a_state_are_the_chain_rule(truncation):
    found = gradients.arrived(truncation)
    own, through = by_hand()
    onward, whole = torch.zeros_like(own), own.clone()
    for t in reversed(range(gradients.STEPS - 1)):
        if truncation == Full() or (t + 1) % gradients.WINDOW:
            onward[t] = through(t, whole[t + 1])
        whole[t] = own[t] + onward[t]
    for name, expected in (("own", own), ("onward", onward), ("whole", whole)):
        norms = getattr(found, name)
        assert norms == pytest.approx(expected.norm(dim=1).tolist(), rel=1e-4), name


def test_at_a_cut_nothing_arrives():
    found, full = gradients.arrived(Truncated()), gradients.arrived(Full())
    last = gradients.WINDOW - 1
    assert found.onward[last] == 0 < full.onward[last]
    assert found.whole[last] == found.own[last]
    assert found.own == pytest.approx(full.own)


def test_a_product_vanishes_explodes_and_lasts():
    sigmoid, relu, lstm = gradients.products()
    assert [*gradients.endings().values()] == ["vanishes", "explodes", "lasts"]
    assert sigmoid.left[-1] < 1e-3
    assert relu.left[-1] > 10
    assert lstm.left[-1] > 0.5
    for each in (sigmoid, relu, lstm):
        assert math.prod(each.factors) == pytest.approx(each.left[-1])


# Gates


@pytest.mark.parametrize("cell", [LSTM, GRU])
def test_turning_a_unit_changes_its_sign_and_nothing_else(cell):
    layer = cell(2, 3)
    turned, x = copy.deepcopy(layer), torch.randn(2, 6, 2)
    learned.turn(turned, 1)
    expected = layer(x)[0] * torch.tensor([1.0, -1, 1])
    assert torch.allclose(turned(x)[0], expected, atol=1e-6)


def test_the_lstm_keeps_between_marks_and_writes_at_them():
    run = units.unit_run("lstm")
    v = run.values
    before = torch.cat([torch.zeros(1), v["cell"][:-1]])
    cell = v["forget"] * before + v["input"] * v["candidate"]
    assert torch.allclose(v["cell"], cell, atol=1e-5)
    assert torch.allclose(v["hidden"], v["output_gate"] * cell.tanh(), atol=1e-5)
    assert torch.equal(v["hidden"], run.hidden[:, run.unit])
    marked = run.sequence.x[0, :, 1] > 0
    assert marked.nonzero().flatten().tolist() == [*units.MARKS]
    assert v["forget"][~marked].min() > 0.7 > 0.4 > v["forget"][marked].max()
    assert v["input"][marked].min() > 0.6 > 0.3 > v["input"][~marked].max()
    assert torch.stack([v["cell"], run.sequence.target[0]]).corrcoef()[0, 1] > 0.9


def test_the_gru_keeps_between_marks_and_writes_at_them():
    run = units.unit_run("gru")
    v = run.values
    before = torch.cat([torch.zeros(1), v["hidden"][:-1]])
    hidden = v["update"] * before + (1 - v["update"]) * v["candidate"]
    assert torch.allclose(v["hidden"], hidden, atol=1e-5)
    marked = run.sequence.x[0, :, 1] > 0
    assert v["update"][~marked].min() > 0.7 > 0.5 > v["update"][marked].max()
    assert torch.stack([v["hidden"], run.sequence.target[0]]).corrcoef()[0, 1] > 0.9


def test_what_is_to_be_remembered_is_the_last_that_was_marked():
    value = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8]])
    mark = torch.tensor([[0.0, 1, 0, 1], [0, 0, 1, 0]])
    assert learned.last_marked(value, mark).tolist() == [[0, 2, 2, 4], [0, 0, 7, 7]]


def test_a_circuit_shows_the_numbers_of_its_run(monkeypatch):
    """Other gates give another drawing: nothing is typed in."""
    run = units.unit_run("lstm")
    values = {name: value.clone() for name, value in run.values.items()}
    values["forget"][units.SHOWN] = 0.4
    values["cell"][units.SHOWN - 1] = 0.5
    monkeypatch.setattr(circuits, "unit_run", lambda cell: run._replace(values=values))
    said = {text.get_text() for text, _ in written(circuits.lstm_cell(LIGHT))}
    assert "$f$ = 0.40" in said
    assert "$f\\,c$ = 0.20" in said
    assert "0.50" in said


def test_gradients_are_drawn_as_measured(monkeypatch):
    found = gradients.Arrived((0.11,) * 6, (0.22,) * 5 + (0.0,), (0.33,) * 6)
    monkeypatch.setattr(gradients, "arrived", lambda truncation: found)
    said = [text.get_text() for text, _ in written(gradients.bptt_whole(LIGHT))]
    assert [said.count(words) for words in ("0.11", "0.22", "0.33")] == [6, 5, 6]


# Attention


def test_the_matrices_are_those_of_attention():
    seen = looking.one_head()
    size = seen["queries"].shape[-1]
    scores = seen["queries"] @ seen["keys"].T / math.sqrt(size)
    assert torch.allclose(seen["scores"], scores, atol=1e-5)
    assert torch.allclose(seen["attention"], scores.softmax(-1), atol=1e-5)
    assert torch.allclose(seen["heads"], scores.softmax(-1) @ seen["values"], atol=1e-5)


def test_each_head_has_found_a_place_of_its_own():
    seen = looking.heads_seen()
    names, shares = zip(*map(looking.looks_at, seen.maps), strict=True)
    assert {*names} == {"one back", "three back", "the first"}
    assert min(shares) > 0.6
    attention = learned.several_heads().layers[2]
    assert isinstance(attention, SelfAttention)
    mixed = attention.weight_output @ seen.found.flatten() + attention.bias_output
    assert torch.allclose(mixed, seen.output, atol=1e-4)


def test_where_a_head_looks_is_named_by_its_weights():
    eye = torch.eye(10)
    assert looking.looks_at(torch.cat([eye[:1], eye[:-1]]))[0] == "one back"
    assert looking.looks_at(torch.cat([eye[:3], eye[:-3]])) == ("three back", 1)
    assert looking.looks_at(eye[:1].repeat(10, 1)) == ("the first", 1)


def test_cross_attention_reads_the_word_from_its_end():
    seen = looking.alignment()
    assert seen.answer == looking.SOURCE[::-1]
    assert torch.allclose(seen.weights.sum(-1), torch.ones(len(seen.answer)))
    assert seen.weights.argmax(-1).tolist() == [*reversed(range(len(seen.answer)))]
    assert min(seen.chances) > 0.8


def test_the_base_model_has_its_published_sizes():
    model = transformers.base_model()
    d, wide, tokens = 512, 2048, 37_000
    attention, fed, norm = 4 * (d * d + d), 2 * d * wide + d + wide, 2 * d
    expected = (tokens + 1) * d + tokens  # the marker of the beginning, and shifts of the head
    expected += 6 * (attention + fed + 2 * norm) + norm
    expected += 6 * (2 * attention + fed + 3 * norm) + norm
    assert sum(parameter.numel() for parameter in model.parameters()) == expected
    assert transformers.weights(model) == f"{expected / 1e6:.1f} million"
    assert len(transformers.blocks(model.encoder)) == 6


def test_what_a_block_adds_is_beside_its_stream():
    seen = transformers.block_seen()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.TransformerBlock(64, heads=4, causal=False)  # the same numbers are drawn
        x = torch.randn(1, seen.steps, 64)
    with torch.no_grad():
        added = seen.block.attention(seen.block.attention_norm(x)[0])[0]
        between = x + added
        fed = seen.block.feed_forward(seen.block.feed_forward_norm(between)[0])[0]
    assert seen.attention == pytest.approx(float(added.norm() / x.norm()), rel=1e-3)
    assert seen.feed_forward == pytest.approx(float(fed.norm() / between.norm()), rel=1e-3)


# Inputs


def test_order_is_lost_without_positions_and_only_then():
    without, told = inputs.orders("none"), inputs.orders("sinusoidal")
    assert without.difference < 1e-14
    assert told.difference > 0.1
    assert torch.allclose(without.outputs[0], without.outputs[1].flip(0), atol=1e-14)


def test_patches_are_the_image():
    seen = inputs.cut()
    rows, columns = seen.grid
    again = seen.patches.reshape(rows, columns, 2, 2).transpose(1, 2).reshape(2 * rows, -1)
    assert torch.equal(again, torch.from_numpy(seen.image))
    assert seen.label.isdigit()


def test_a_phrase_that_is_not_in_the_text_has_the_chances_of_its_n_grams():
    seen = inputs.read()
    text = inputs.python_docs()
    assert inputs.PHRASE not in text
    assert len(seen.chances) == len(inputs.PHRASE)
    assert all(0 < chance < 1 for chance in seen.chances)
    # After " valu" there is but one way to go on in the text, nearly.
    place = inputs.PHRASE.index("value") + 4
    often = text.count("valu"), text.count("value")
    assert seen.chances[place] == pytest.approx(often[1] / often[0], abs=0.1)
    assert inputs.ORDER == 5


def test_the_product_is_that_of_the_chances(monkeypatch):
    chances = [0.5] * len(inputs.PHRASE)
    found = SimpleNamespace(chances=chances, characters=90, trained=1000)
    monkeypatch.setattr(inputs, "read", lambda: found)
    said = " ".join(text.get_text() for text, _ in written(inputs.probability(LIGHT)))
    assert canvas.scientific(0.5 ** len(chances)) in said
    assert "perplexity of 2.0" in said
