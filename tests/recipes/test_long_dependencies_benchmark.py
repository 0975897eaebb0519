"""The benchmark of long dependencies: small, stopped, gone on with, and reported."""

import json
import sys

import pytest

from benchmarks import long_dependencies
from throughtime.inspect.long_dependencies import LongDependencies


def run(monkeypatch, folder, *options):
    small = ["--lengths", "6,12", "--updates", "3", "--rates", "0.01,0.02", "--hidden", "4"]
    given = ["long_dependencies", *small, "--runs", str(folder / "runs"), *options]
    monkeypatch.setattr(sys, "argv", given)
    monkeypatch.setattr(long_dependencies, "SEARCH_LENGTH", 6)
    long_dependencies.main()


def kept(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "runs").glob("*.json"))}


def test_it_goes_on_where_it_stopped_and_reports_what_is_there(monkeypatch, tmp_path, capsys):
    run(monkeypatch, tmp_path, "--models", "RNN;LSTM", "--seeds", "1")
    first = kept(tmp_path)
    assert len(first) == 2 * 2 + 2 * 2  # two rates for each model, and two lengths
    capsys.readouterr()

    run(monkeypatch, tmp_path, "--seeds", "1", "--finished", "--save", str(tmp_path / "saved"))
    assert kept(tmp_path) == first
    table = capsys.readouterr().out
    assert "| RNN | 6 |" in table
    assert "| GRU" not in table
    text = (tmp_path / "saved" / "long-dependencies.md").read_text()
    assert "RNN solves not its one seed at T = 6 and 12" in text
    assert not (tmp_path / "saved" / "long-dependencies.png").exists()  # it has all three cells

    run(monkeypatch, tmp_path, "--seeds", "1", "--save", str(tmp_path / "saved"))
    assert {name: text for name, text in kept(tmp_path).items() if name in first} == first
    assert len(kept(tmp_path)) == 5 * (2 + 2)
    saved = json.loads((tmp_path / "saved" / "long-dependencies.json").read_text())
    found = LongDependencies.from_json(json.dumps(saved["found"]))
    assert found.models == [*long_dependencies.MODELS]
    assert found.lengths == [6, 12]
    assert saved["settings"]["hidden"] == 4
    for name in ("long-dependencies", "long-dependencies-usual"):
        assert (tmp_path / "saved" / f"{name}.png").stat().st_size > 10_000


def test_the_best_rate_is_that_which_solves_soonest_else_that_which_is_nearest(monkeypatch):
    made = {
        0.1: {"error": 0.005, "updates": 200},
        0.2: {"error": 0.009, "updates": 100},
        0.3: {"error": 0.02, "updates": 50},
    }

    class Made:
        def __init__(self, rate):
            self.rate = rate
            self.error, self.updates = made[rate]["error"], made[rate]["updates"]

    monkeypatch.setattr(long_dependencies, "one", lambda m, t, s, rate, u, o: Made(rate))

    class Options:
        rates = (0.1, 0.2, 0.3)
        updates = 300

    assert long_dependencies.best_rate("RNN", Options) == 0.2
    made[0.1]["error"], made[0.2]["error"] = 0.03, 0.04
    assert long_dependencies.best_rate("RNN", Options) == 0.3
    monkeypatch.setattr(long_dependencies, "one", lambda *_: None)
    assert long_dependencies.best_rate("RNN", Options) is None


@pytest.mark.parametrize(
    ("values", "told"), [([100, 3, 2], "3 (2 to 100)"), ([2.1, 2.4], "2"), ([1, 4], "2 (1 to 4)")]
)
def test_a_spread_is_the_median_and_its_ends(values, told):
    assert long_dependencies.spread(values, "{:.0f}") == told
