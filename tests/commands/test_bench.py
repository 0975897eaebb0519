"""bench: what is timed is what it says, and the table and the JSON show it."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import charts, pages, ragged, record, recurrent, scan
from tests.commands.conftest import environment, fine
from throughtime.commands import bench, clocks, peers
from throughtime.commands.clocks import Times, has_onednn, in_turn

KINDS = ("rnn", "lstm", "gru")
SMALL = replace(bench.QUICK, sizes=((4, 2),), time=6, features=3, longest=8, seconds=0.0)


@pytest.fixture
def at_once(monkeypatch):
    """Nothing is timed for long."""
    monkeypatch.setattr(clocks, "WARM_UP", 0.0)
    monkeypatch.setattr(clocks, "PRODUCTS", ((8, 8, 8),))
    monkeypatch.setattr(bench, "QUICK", SMALL)


def filled(kind, features=3, hidden=4):
    """A pair whose biases are no zeros: a bias in the wrong place would show."""
    ours, theirs = peers.pair(kind, features, hidden)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.uniform_(-0.7, 0.7)
    peers.give_weights(ours, theirs, "_l0")
    return ours, theirs


# -- clocks ----------------------------------------------------------------------------------------


def test_rounds_go_in_turn_and_every_second_one_backwards(at_once):
    calls = []
    runs = {name: lambda name=name: calls.append(name) for name in "ab"}
    times = in_turn(runs, seconds=0.0, least=4, block=2)
    warm, timed = calls[:4], calls[4:]
    assert "".join(warm) == "aabb"
    assert "".join(timed) == "aabb" + "bbaa" + "aabb" + "bbaa"
    assert [len(one.seconds) for one in times.values()] == [8, 8]


def test_time_and_rounds_end_it(at_once):
    started = time.perf_counter()
    (slow,) = in_turn({"slow": lambda: time.sleep(0.01)}, seconds=0.1, least=2).values()
    assert time.perf_counter() - started < 1
    assert 2 <= len(slow.seconds) <= 10
    assert slow.best >= 0.009
    (fast,) = in_turn({"fast": lambda: None}, seconds=10.0, most=7).values()
    assert len(fast.seconds) == 7


def test_quantiles():
    times = Times(tuple(float(n) for n in range(1, 101)))
    assert times.median == 50.5
    assert times.mean == 50.5
    assert times.best == 1
    assert [times.quantile(share) for share in (0.0, 0.25, 0.99, 1.0)] == [1, 25, 99, 100]


def test_rates_of_products_are_of_this_machine(at_once):
    rates = clocks.matrix_rates(seconds=0.01)
    assert any(name.startswith("torch.mm") for name in rates)
    assert all(1e5 < rate < 1e15 for rate in rates.values())


def test_geometric_mean():
    assert clocks.geometric_mean([0.5, 2.0, 8.0]) == pytest.approx(2)


# -- peers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_both_of_a_pair_compute_the_same(kind):
    ours, theirs = filled(kind)
    x = torch.randn(2, 5, 3)
    torch.testing.assert_close(ours(x)[0], theirs(x)[0], atol=1e-5, rtol=1e-5)
    peers.training(ours, peers.forward(ours, x))()
    peers.training(theirs, peers.forward(theirs, x))()
    for mine, other in (("weight_input", "weight_ih_l0"), ("weight_hidden", "weight_hh_l0")):
        found, expected = getattr(ours, mine).grad, getattr(theirs, other).grad
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_is_a_packed_sequence(kind):
    ours, theirs = filled(kind)
    lengths, x = torch.tensor([2, 5, 1]), torch.randn(3, 5, 3)
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    expected, _ = pad_packed_sequence(theirs(packed)[0], batch_first=True)
    found, _ = ours(x, mask=peers.mask_of(lengths, 5))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    runs = peers.ragged(kind, 3, 4, lengths, 5)
    assert list(runs) == [peers.OURS, peers.PACKED, "padding"]
    for run in runs.values():
        run()


def test_a_training_step_starts_without_gradients():
    layer = peers.LAYERS["rnn"](3, 4)
    x = torch.randn(1, 2, 3, requires_grad=True)
    step = peers.training(layer, peers.forward(layer, x), x)
    step()
    first = [layer.bias.grad.clone(), x.grad.clone()]  # pyright: ignore
    step()
    torch.testing.assert_close([layer.bias.grad, x.grad], first)


def test_operations_are_those_of_the_products():
    theirs = torch.nn.RNN(3, 4, batch_first=True)
    x, h = torch.randn(2, 5, 3, requires_grad=True), torch.zeros(1, 2, 4, requires_grad=True)
    with FlopCounterMode(display=False) as seen:
        output = theirs(x, h)[0]
        forward = seen.get_total_flops()
        output.sum().backward()
    assert forward == peers.operations("rnn", 3, 4, 10, training=False)
    whole = peers.operations("rnn", 3, 4, 10, training=True, of_input=True)
    assert whole == seen.get_total_flops()
    without = peers.operations("rnn", 3, 4, 10, training=True)
    assert whole - without == 2 * 10 * 3 * 4
    assert peers.operations("lstm", 3, 4, 10, training=True) == 4 * without


@pytest.mark.parametrize("kind", KINDS)
def test_every_way_to_take_a_step_goes_on_from_its_state(kind):
    runs = peers.streaming(kind, 3, 4)  # compares the states after three steps
    assert list(runs)[:3] == [peers.OURS, f"nn.{kind.upper()}", f"nn.{kind.upper()}Cell"]
    with torch.inference_mode():
        states = [peers.hidden_of(runs[peers.OURS]()).clone() for _ in range(2)]
    assert not torch.equal(*states)


def test_a_way_that_computes_something_else_is_found(monkeypatch):
    monkeypatch.setattr(peers, "give_weights", lambda *_: None)
    with pytest.raises(AssertionError, match=r"nn\.GRU differs"):
        peers.streaming("gru", 3, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_onnx_runtime_takes_the_same_steps(kind, monkeypatch):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    ours, _ = filled(kind)
    monkeypatch.setattr(peers, "pair", lambda *_: (ours, torch.nn.Identity()))
    x = torch.randn(1, 1, 3)
    for run in peers._onnx(ours, kind, x.numpy()).values():
        state = None
        for _ in range(4):
            _, state = ours(x, state)
            torch.testing.assert_close(
                peers.hidden_of(run()), peers.hidden_of(state).detach(), atol=1e-5, rtol=1e-5
            )


@pytest.mark.parametrize("share", [0.1, 0.5, 0.75, 1.0])
def test_lengths_have_the_share_asked_for(share):
    lengths = peers.spread_lengths(32, 500, share)
    assert lengths.sum() / (32 * 500) == pytest.approx(share, abs=0.002)
    assert 1 <= lengths.min() <= lengths.max() <= 500


# -- the command -----------------------------------------------------------------------------------


def test_in_json(at_once):
    found = json.loads(fine("bench", "--quick", "--json"))
    assert [row["layer"] for row in found["streaming"]] == list(KINDS)
    assert {row["pass"] for row in found["recurrent"]} == {"training", "forward"}
    for row in (*found["recurrent"], *found["ragged"], *found["streaming"]):
        assert all(seconds > 0 for seconds in row["seconds"].values())
        assert row["times"] > 0
    assert found["machine"]["torch"] == torch.__version__
    assert set(found["machine"]["kernels"]) == {*KINDS, "attention"}
    assert found["mean"]["training"] > 0


def test_as_a_table(at_once):
    text = fine("bench", "--quick", "--quiet")
    for words in ("Whole sequences", "different lengths", "One step at a time", "PackedSequence",
                  "H=4 B=2, training", "GFLOP/s", "geometric mean"):  # fmt: skip
        assert words in text


# -- the long form ---------------------------------------------------------------------------------


def test_proportion_is_told_from_a_line():
    shares = [0.1, 0.4, 0.7, 1.0]
    found = ragged.fit([{"real": s, "seconds": 3 * s} for s in shares])
    assert found["proportional"] < 1e-6
    found = ragged.fit([{"real": s, "seconds": 3 * s + 1} for s in shares])
    assert found["proportional"] > 0.5
    assert found["line"] < 1e-6


def test_slow_cases_are_listed():
    rows = [{"pass": what, "times": times} for what in recurrent.PASSES for times in (0.95, 1.05)]
    assert recurrent.slow(rows, busy=False) == [rows[0]]
    assert recurrent.slow(rows, busy=True) == [rows[0], rows[2]]


def test_numbers_have_three_digits():
    assert [str(record.milliseconds(s)) for s in (1.2345e-6, 1.2345e-3, 0.1)] == [
        "0.001", "1.23", "100",
    ]  # fmt: skip
    assert [str(record.times(ratio)) for ratio in (0.946, 1.5, 24.21)] == [
        "0.95x",
        "1.50x",
        "24.2x",
    ]


def test_jax_computes_the_same():
    pytest.importorskip("jax")
    for kind in KINDS:
        ours, _ = filled(kind)
        runs = scan.runs(kind, ours, torch.randn(2, 5, 3))  # compares the outputs
        assert runs is not None
        for run in runs.values():
            run()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "pictures"),
    [
        ("recurrent", "--dtypes float32 float64 --batch 2 3 --input 3 --no-jax", 2),
        pytest.param(
            *("recurrent", "--dtypes float32 float64 bfloat16 --batch 2 3 --input 3 --no-jax", 3),
            marks=pytest.mark.skipif(
                not has_onednn(torch.bfloat16), reason="torch.nn has no bfloat16 on this processor"
            ),
        ),
        ("recurrent", "--busy --batch 2 --input 3 --no-jax --input-gradient", 1),
        ("ragged", "--time 20 --batch 4 --input 3", 1),
        ("streaming", "--steps 500 --input 3", 1),
    ],
)
def test_a_benchmark_writes_its_results(tmp_path, name, options, pictures):
    size = ["--hidden", "4", *(["--time", "5"] if name == "recurrent" else [])]
    size += ["--seconds", "0.05"] if name != "streaming" else []
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", f"benchmarks.{name}", *size, *options.split(),
         "--save", tmp_path],
        cwd=Path(__file__).parents[2], env=environment(), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    saved = f"{name}-busy" if "--busy" in options else name
    page = (tmp_path / f"{saved}.md").read_text()
    found = json.loads((tmp_path / f"{saved}.json").read_text())
    assert found["machine"]["date"] in page
    assert str(tmp_path) not in page + json.dumps(found)
    drawn = [path for path in tmp_path.glob("*.png") if path.stat().st_size > 10_000]
    assert len(drawn) == pictures
    assert all(f"]({path.name})" in page for path in drawn)


def test_pictures_show_every_case():
    rows = [
        {"dtype": "float32", "pass": what, "layer": kind, "hidden": size, "batch": 1, "times": 2.0}
        for what in recurrent.PASSES for kind in KINDS for size in (4, 8)
    ]  # fmt: skip
    figure = charts.speed_figure(rows, "float32", busy=False)
    assert len(figure.axes) == 6
    assert [len(ax.get_lines()) for ax in figure.axes] == [2] * 6  # one batch, and 1x


def test_the_guide_shows_what_was_measured_last():
    places = {"en": [], "ko": []}
    for language, path in pages.PAGES:
        page = path.read_text(encoding="utf-8")
        assert pages.fill(page, language) == page, "run python -m benchmarks.pages"
        places[language] += [place[2] for place in pages.PLACE.finditer(page)]
    assert places["en"] == places["ko"]
    assert set(places["en"]) == set(pages.TABLES)


def test_a_table_is_filled_from_its_file(tmp_path):
    case = {"dtype": "float32", "pass": "training", "layer": "gru"}
    rows = [{**case, "hidden": 4, "batch": batch, "times": 2.0 / batch, "share": 0.5}
            for batch in (1, 8)]  # fmt: skip
    (tmp_path / "recurrent.json").write_text(json.dumps({"rows": rows}))
    text = "before\n<!-- table training -->\nold\n<!-- end -->\nafter\n"
    once = pages.fill(text, "ko", tmp_path)
    assert "| 레이어 | 배치 1 | 배치 8 |" in once
    assert "| gru 4 | 2.00x (50 %) | 0.25x (50 %) |" in once
    assert once.startswith("before")
    assert once.endswith("after\n")
    assert "old" not in once
    assert pages.fill(once, "ko", tmp_path) == once
    assert pages.fill(text.replace("training", "ragged"), "ko", tmp_path).count("old") == 1
