"""The guide's figures are drawn, and show what the guide says they show."""

import importlib.util
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import torch

from throughtime import LSTM, RNN

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def guide():
    spec = importlib.util.spec_from_file_location("guide_figures", DOCS / "draw.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_figure_the_guide_shows_is_drawn_for_both_themes(guide):
    drawn = guide.draw()
    pages = "".join(path.read_text(encoding="utf-8") for path in DOCS.rglob("*.md"))
    for file, svg in drawn.items():
        assert f"figures/{file}#only-" in pages
        ElementTree.fromstring(svg)
    assert pages.count("#only-") == 2 * len(drawn)  # once in each language


def test_gradients_vanish_explode_and_last_as_the_guide_says(guide):
    torch.manual_seed(0)
    sigmoid = guide.gradient_by_distance(RNN(8, 32, activation="sigmoid"))
    tanh = guide.gradient_by_distance(RNN(8, 32))
    lstm = guide.gradient_by_distance(LSTM(8, 32))
    with torch.no_grad():
        large = RNN(8, 32, activation="relu")
        large.weight_hidden.mul_(1.7)
    relu = guide.gradient_by_distance(large)
    assert sigmoid[10] < 1e-4
    assert relu[49] > 1e3
    assert lstm[49] > 10 * tanh[49]
