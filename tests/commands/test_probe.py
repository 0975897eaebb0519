"""`throughtime probe`: what it says, shows and writes, and what it refuses, in one line."""

import json
import math
import shlex
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.commands.conftest import call, fine, refusal, start
from throughtime.commands import probe, probe_pages
from throughtime.inspect import page
from throughtime.inspect.long_dependencies import LongDependencies
from throughtime.inspect.showing import Uris
from throughtime.recipes.probes import run_probe

TINY = ("--updates", "2", "--hidden", "4", "--seeds", "1")
MODELS = ("RNN", "LSTM", "GRU")


@pytest.fixture
def _blank(monkeypatch):
    """Without pictures, which take most of the time."""

    def draw(*given, file: Path, **options):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
        return Uris("data:,", "data:,")

    monkeypatch.setattr(page, "draw_both", draw)


@pytest.fixture
def asked(monkeypatch):
    """What every run is asked for, and what it answers in no time; `outcomes` says how it went."""
    made = run_probe(
        probe.probe_named("adding:9"), "gru", 3,
        probe.TrainingConfig(max_steps=1, validate_every=1),
    )  # fmt: skip

    class Asked(list):
        outcomes: dict[Any, Any]

    seen = Asked()
    seen.outcomes = {}

    def answer(make, kind, hidden, config, **more):
        seen.append({"kind": kind, "hidden": hidden, "config": config, **more})
        time = make(1, 0).inputs.shape[1]
        run = replace(made, model=more["name"], time=time, seed=more["seed"],
                      lags=(0, time // 2), before=(1.0, 0.5), after=(1.0, 0.25))  # fmt: skip
        outcome = seen.outcomes.get((kind, time), {})
        if isinstance(outcome, BaseException):
            raise outcome
        return replace(run, **outcome)

    monkeypatch.setattr(probe, "run_probe", answer)
    return seen


# -- what it says ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["adding:6", "copying:2", "parity:6", "first-symbol:6"])
def test_every_probe_runs(name):
    found = json.loads(fine("probe", name, *TINY, "--json"))
    assert [row["model"] for row in found["solved"]] == [*MODELS]
    assert {row["length"] for row in found["solved"]} == {int(name.partition(":")[2])}
    assert all(row["solved"] == 0 and row["seeds"] == 1 for row in found["solved"])
    runs = found["found"]["runs"]
    assert [run["updates"] for run in runs] == [2, 2, 2]
    assert {run["time"] for run in runs} == {22 if name == "copying:2" else 6}
    assert all(math.isfinite(run["error"]) and run["seconds"] > 0 for run in runs)
    assert all(0 < norm < math.inf for run in runs for norm in run["after"])
    assert len(found["summary"]) == 7
    assert found["interrupted"] is False


@pytest.mark.parametrize("name", ["first-symbol:2", "parity:2"])
def test_what_is_easy_is_solved_and_ends_early(name):
    options = ("--models", "gru", "--hidden", "16", "--updates", "400", "--seeds", "1")
    found = json.loads(fine("probe", name, *options, "--json"))
    assert found["solved"] == [{"model": "GRU", "length": 2, "solved": 1, "seeds": 1}]
    (run,) = found["found"]["runs"]
    assert run["stopped"] == "enough"
    assert run["updates"] < 400
    assert run["success"] >= 0.99


def test_a_table_and_sentences_are_the_result(asked):
    outcome = call("probe", "adding:9", "--seeds", "2", "--quiet")
    assert outcome.code in (0, None)
    assert outcome.err == ""
    for words in ("adding:9", "1,281", "5,025", "3,809", "without", "0.167", "15.4", "4 steps"):
        assert words in outcome.out
    assert "GRU solves none of 2 seeds at T = 9; where it fails" in outcome.out
    assert outcome.out.splitlines()[-1].startswith("At T = 9, halfway back")


def test_each_run_is_told_for_people(asked):
    asked.outcomes["lstm", 9] = {"error": 0.002, "success": 0.98, "updates": 1100}
    asked.outcomes["rnn", 9] = {"stopped": "diverged", "success": 0.1, "updates": 3}
    err = call("probe", "adding:9", "--seeds", "1").err.splitlines()
    assert err[0].startswith("adding: Two numbers of a row are marked")
    assert err[1].startswith(
        "RNN on adding:9: not solved after 3 updates, diverged, 10.0 % of rows right"
    )
    assert err[2].startswith("LSTM on adding:9: solved after 1,100 updates, 98.0 % of rows right")
    assert len(err) == 4
    assert "GRU on adding:9, seed 2 of 2" in call("probe", "adding:9", "--seeds", "2").err


@pytest.mark.parametrize("name", ["first-symbol", "parity", "copying"])
def test_classes_are_judged_by_rows_and_not_by_their_error(asked, name):
    time = 29 if name == "copying" else 9
    asked.outcomes["rnn", time] = {"error": 0.001, "success": 0.985}
    asked.outcomes["lstm", time] = {"error": 0.3, "success": 0.99}
    asked.outcomes["gru", time] = {"error": math.nan, "success": 0.0}
    found = json.loads(fine("probe", f"{name}:9", "--seeds", "1", "--json"))
    assert [row["solved"] for row in found["solved"]] == [0, 1, 0]
    assert "where it fails it gets 98.5 % of rows right (without memory:" in found["summary"][0]
    assert all(one["enough_success"] == 0.995 and "enough" not in one for one in asked)


def test_a_sum_is_judged_by_its_error(asked):
    asked.outcomes["rnn", 9] = {"error": 0.0099, "success": 0.3}
    asked.outcomes["lstm", 9] = {"error": 0.01, "success": 1.0}
    asked.outcomes["gru", 9] = {"error": math.nan, "success": 0.0}
    found = json.loads(fine("probe", "adding:9", "--seeds", "1", "--json"))
    assert [row["solved"] for row in found["solved"]] == [1, 0, 0]
    assert found["found"]["runs"][2]["error"] is None  # JSON has no NaN
    assert all(one["enough"] == 0.001 and "enough_success" not in one for one in asked)


def test_what_is_copied_stands_in_a_row_twice(asked):
    out = fine("probe", "copying:7", "--seeds", "1", "--models", "gru")
    assert "copying:7 (27 steps in a row)" in out
    assert "at T = 27" in out


# -- what is run -------------------------------------------------------------------------------


def test_the_default_is_small_enough_for_a_minute(asked):
    fine("probe")
    assert [(one["kind"], one["seed"]) for one in asked] == [
        (kind, seed) for seed in range(3) for kind in ("rnn", "lstm", "gru")
    ]  # all models of a seed beside each other
    assert {one["hidden"] for one in asked} == {32}
    assert {one["config"].max_steps for one in asked} == {2000}
    rates = [one["config"].learning_rate for one in asked[:3]]
    assert rates == [0.001, 0.01, 0.01]
    assert {one["chrono"] for one in asked} == {None}
    assert all(one["config"].truncation == "full" for one in asked)


def test_options_reach_the_runs(asked):
    fine("probe", "parity:7", "--models", "gru, rnn,gru", "--hidden", "5", "--updates", "30",
         "--learning-rate", "0.02", "--seeds", "1", "--chrono")  # fmt: skip
    assert [one["kind"] for one in asked] == ["gru", "rnn"]
    assert {one["hidden"] for one in asked} == {5}
    assert {one["config"].learning_rate for one in asked} == {0.02}
    assert {one["config"].validate_every for one in asked} == {30}
    assert [one["chrono"] for one in asked] == [7, None]


def test_chrono_counts_the_steps_of_a_row(asked):
    fine("probe", "copying:7", "--models", "lstm", "--seeds", "1", "--chrono")
    assert asked[0]["chrono"] == 27


def test_several_lengths(asked):
    asked.outcomes["gru", 12] = {"error": 0.001}
    asked.outcomes["gru", 30] = {"error": 0.2}
    given = ("probe", "adding", "--times", "30, 12,30", "--models", "gru", "--seeds", "2")
    out = fine(*given)
    assert out.index("adding:12") < out.index("adding:30")
    assert "GRU solves all 2 seeds at T = 12, none of 2 seeds at T = 30" in out
    found = json.loads(fine(*given, "--json"))
    assert [(row["length"], row["solved"]) for row in found["solved"]] == [(12, 2), (30, 0)]
    assert found["settings"]["lengths"] == [12, 30]


def test_the_same_again_gives_the_same_numbers():
    def numbers():
        runs = json.loads(fine("probe", "adding:6", *TINY, "--json"))["found"]["runs"]
        return [{**run, "seconds": 0} for run in runs]

    assert numbers() == numbers()


# -- what it writes ----------------------------------------------------------------------------


@pytest.mark.usefixtures("_blank")
def test_a_page_its_figures_and_all_numbers(asked, tmp_path):
    out = tmp_path / "deep" / "o ut"
    given = ("probe", "adding", "--times", "9,12", "--seeds", "2", "--out", out)
    said = call(*given)
    assert said.code in (0, None), said
    assert said.err.splitlines()[-1] == f"page: {out / 'report.html'}"
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    figures = {f"figures/{name}.png" for name in ("success", "gradients-before", "gradients-after")}
    assert names == {"report.html", "results.json", *figures}
    text = (out / "report.html").read_text("utf-8")
    assert "adding, 9, 12 steps: how far back RNN, LSTM and GRU remember" in text
    assert "an error below 0.01" in text
    assert "GRU solves none of 2 seeds at T = 9 and 12" in text
    command = shlex.join(["throughtime", *map(str, given)]).replace("'", "&#39;")
    assert f"<pre>{command}</pre>" in text
    kept = json.loads((out / "results.json").read_text())
    again = LongDependencies.from_json(json.dumps(kept["found"]))
    assert again.lengths == [9, 12]
    assert again.explain() == kept["summary"]


def test_figures_are_drawn(asked, tmp_path):
    fine("probe", "parity:9", "--seeds", "2", "--out", tmp_path / "out")
    drawn = [*(tmp_path / "out" / "figures").glob("*.png")]
    assert len(drawn) == 3
    assert all(path.stat().st_size > 5000 for path in drawn)
    text = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert text.count("data:image/svg+xml") == 6  # for light and dark


def test_the_shortest_can_be_drawn(tmp_path):
    fine("probe", "parity:2", *TINY, "--out", tmp_path / "out")
    assert (tmp_path / "out" / "report.html").exists()


def test_nothing_is_written_unless_asked_for(asked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fine("probe", "adding:9")
    assert [*tmp_path.iterdir()] == []


def test_a_page_says_how_gates_start(asked):
    plan = probe_pages.Plan("adding", (9,), ("gru",), 1, 32, 10, None, chrono=True)
    found = probe.judged(plan.probe(9), [*probe._runs(plan, quiet=True)])
    about = dict(probe_pages.probe_page(plan, found, 1.0).about)
    assert "chrono" in about["gates"]
    usual = replace(plan, chrono=False)
    assert "gates" not in dict(probe_pages.probe_page(usual, found, 1.0).about)


# -- Ctrl-C ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_blank")
def test_what_is_finished_is_told_after_ctrl_c(asked, tmp_path):
    asked.outcomes["rnn", 9] = {"error": 0.001}
    asked.outcomes["gru", 9] = KeyboardInterrupt()
    outcome = call("probe", "adding:9", "--out", tmp_path / "out")
    assert outcome.code == 130
    assert "stopped: 2 of 9 runs are finished" in outcome.err
    assert "RNN solves its one seed at T = 9." in outcome.out
    assert "GRU" not in outcome.out
    kept = json.loads((tmp_path / "out" / "results.json").read_text())
    assert kept["interrupted"] is True
    assert [row["model"] for row in kept["solved"]] == ["RNN", "LSTM"]


def test_lengths_that_were_not_reached_are_left_out(asked):
    asked.outcomes["lstm", 12] = KeyboardInterrupt()
    outcome = call("probe", "adding", "--times", "9,12,20", "--models", "rnn,lstm")
    assert outcome.code == 130
    assert "adding:12" in outcome.out
    assert "adding:20" not in outcome.out
    assert "stopped: 3 of 18" in outcome.err


def test_ctrl_c_before_anything_is_finished(asked, tmp_path):
    asked.outcomes["rnn", 9] = KeyboardInterrupt()
    outcome = call("probe", "adding:9", "--out", tmp_path / "out")
    assert outcome.code == 130
    assert outcome.out == ""
    assert "stopped: 0 of 9 runs are finished" in outcome.err
    assert not (tmp_path / "out").exists()


@pytest.mark.timeout(120)
def test_ctrl_c_in_the_middle_of_training():
    options = ("--models", "gru", "--hidden", "4", "--seeds", "2000", "--updates", "20")
    process = start("probe", "parity:6", *options)
    with process:
        lines = [process.stderr.readline() for _ in range(2)]  # the task, and the first run
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=100)
    assert process.returncode == 130
    assert "seed 1 of 2000: not solved after 20 updates" in lines[1]
    assert "of 2000 runs are finished" in err
    assert "Traceback" not in err
    assert "GRU solves" in out


# -- what it refuses ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("adding",), "probe adding has no length, expected adding:100 or --times 25,50"),
        (("ading:20",), "there is no probe 'ading'; did you mean adding? there are adding, copy"),
        (("First_Symbol:9",), "did you mean first-symbol?"),
        (("xyz:9",), "there is no probe 'xyz'; there are adding, copying, parity, first-symbol"),
        (("",), "there is no probe ''"),
        (("adding:1",), "the length of adding is '1', expected a whole number of steps from 2 to"),
        (("parity:5001",), "the length of parity is '5001'"),
        (("copying:-3",), "the length of copying is '-3'"),
        (("adding:2.5",), "the length of adding is '2.5'"),
        (("adding:",), "the length of adding is ''"),
        (("adding:²",), "the length of adding is '²'"),
        (("adding:9", "--times", "3,4"), "has a length and --times gives others, expected one"),
        (("adding", "--times", "3,x"), "--times: the length of adding is 'x'"),
        (("adding", "--times", ","), "--times is empty, expected lengths: 25,50,100"),
        (("adding:9", "--models", "rnn,transformer"), "--models: 'transformer' is not one of rnn"),
        (("adding:9", "--models", "window"), "probes look at the gradient through a recurrent"),
        (("adding:9", "--models", ","), "--models is empty, expected some of rnn, lstm, gru"),
        (("adding:9", "--seeds", "0"), "--seeds is 0, expected at least 1"),
        (("adding:9", "--hidden", "-2"), "--hidden is -2, expected at least 1"),
        (("adding:9", "--updates", "0"), "--updates is 0, expected at least 1"),
        (("adding:9", "--learning-rate", "0"), "--learning-rate is 0, expected a number above 0"),
        (("adding:9", "--lr", "nan"), "--learning-rate is nan, expected a number above 0"),
        (("adding:9", "--models", "rnn", "--chrono"), "--chrono opens gates, and rnn has none"),
        (("adding:2", "--chrono"), "--chrono: a row has 2 steps, expected at least 3"),
    ],
)
def test_mistakes_are_one_line(asked, given, said):
    assert said in refusal("probe", *given)
    assert asked == []


def test_a_folder_that_is_not_empty_is_refused_before_anything_runs(asked, tmp_path):
    (tmp_path / "file").write_text("mine")
    assert "is not empty; choose a new folder" in refusal("probe", "adding:9", "--out", tmp_path)
    assert "is a file" in refusal("probe", "adding:9", "--out", tmp_path / "file")
    assert asked == []


def test_help_names_the_probes():
    text = fine("probe", "--help")
    for words in ("adding", "copying", "parity", "first-symbol", "--chrono", "--times"):
        assert words in text
