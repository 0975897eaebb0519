import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import translators as through
from benchmarks.cells import by_hand
from benchmarks.generators import installed
from benchmarks.translation import LENGTHS, SMALL, sources_of
from tests.kernels.support import needs_extension

FORMS = [*LENGTHS]


@pytest.fixture
def model():
    torch.manual_seed(0)
    return through.transformer_of(SMALL)


def peer(name, model):
    if not installed(name.lower()):
        pytest.skip(f"{name} is not installed")
    return through.libraries(model)[name]


@pytest.mark.parametrize("name", ["transformers", "CTranslate2"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("beams", [1, 4])
@pytest.mark.parametrize("ends", [False, True])
def test_the_peers_write_what_ours_writes(name, form, beams, ends, model):
    sources = sources_of(6, form, SMALL.tokens)
    made = peer(name, model)
    task = through.Task(beams, 40 if ends else 7, ends)
    ours = through.ours(model)(sources, task)()
    assert made(sources, task)() == ours
    lengths = {len(row) for row in ours}
    assert len(lengths) > 1 if ends else lengths == {7}
    assert len({token for row in ours for token in row}) > 2


@needs_extension
@pytest.mark.parametrize("beams", [1, 4])
def test_all_of_ours_write_the_same(beams, model):
    sources, task = (
        sources_of(6, "4 to 36 tokens", SMALL.tokens),
        through.Task(beams, 40, ends=True),
    )
    plain = through.plain(model)(sources, task)()
    for made in (through.compiled(model), through.translated(model)):
        assert made(sources, task)() == plain


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("rows", [1, 5])
def test_the_loop_over_cells_writes_what_ours_writes(cell, rows):
    torch.manual_seed(0)
    size = SMALL._replace(layers=2)
    model = through.recurrent_of(cell, size)
    sources, task = sources_of(rows, "20 tokens", size.tokens), through.Task(1, 9)
    ours = through.ours(model)(sources, task)()
    assert by_hand(cell, model)(sources, task)() == ours
    assert len(set(ours[0])) > 2


def test_outputs_that_differ_are_told_by_how_much(model):
    source, one, other = [3, 4, 5], [7, 8, 9], [7, 6, 9]
    with torch.no_grad():
        expected = model.log_prob(torch.tensor([source] * 2), torch.tensor([one, other]))
    apart = expected[0] - expected[1]
    assert through.gap(model, source, one, other, 4) == pytest.approx(float(apart.sum()), abs=1e-4)
    assert through.gap(model, source, one, other, 1) == pytest.approx(
        float(apart[:2].sum()), abs=1e-4
    )


@pytest.mark.slow
@needs_extension
def test_it_writes_its_results(tmp_path):
    options = ["--small", "--steps", "4", "--sentences", "4", "--seconds", "0.05", "--rounds", "1"]
    subprocess.run(
        [sys.executable, "-m", "benchmarks.translation", *options, "--threads", "1",
         "--save", tmp_path],
        cwd=Path(__file__).parents[2], check=True, capture_output=True,
    )  # fmt: skip
    found = json.loads((tmp_path / "translation.json").read_text())
    page = (tmp_path / "translation.md").read_text()
    assert all(row["name"] in page for row in found["rows"])
    assert all(row["same"] == row["batch"] for row in found["rows"])
    assert all(one["same"] == one["of"] for one in found["agreement"])
    assert (tmp_path / "translation.png").stat().st_size > 10_000
