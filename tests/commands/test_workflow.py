"""fit, predict, stream, compare, data, doctor on files of a newcomer."""

import csv
import io
import json
import re

import numpy as np
import pytest
import torch

from tests.commands.conftest import BRIEF, SMALL, STEPS, call, fine, run_alone, wave
from throughtime.commands.stream import parse_levels


def table(text):
    return list(csv.DictReader(io.StringIO(text)))


# -- compare ---------------------------------------------------------------------------------------

FORECAST = {"mase", "smape", "rmse", "crps", "cover80", "cover95", "validation", "parameters"}
TEXT = {"bits", "perplexity", "validation", "parameters"}


@pytest.mark.parametrize(
    ("name", "baselines", "measures"),
    [("series", {"last", "seasonal", "linear"}, FORECAST),
     ("text", {"gram"}, TEXT)],
)  # fmt: skip
def test_compare(files, tmp_path, name, baselines, measures):
    out = tmp_path / "results"
    outcome = call(
        "compare", getattr(files, name), *BRIEF, "--models", "rnn,gru", "--seeds", 1,
        "--parameters", 400, "--origins", 5, "--out", out, "--json", draw=name == "series",
    )  # fmt: skip
    assert outcome.code in (0, None), outcome
    found = json.loads(outcome.out)  # nothing but JSON
    assert found == json.loads((out / "results.json").read_text())
    marks = {name for name, model in found["models"].items() if model["baseline"]}
    assert set(found["models"]) - marks == {"rnn", "gru"}
    assert {re.sub(".*gram$", "gram", name) for name in marks} == baselines
    for model in found["models"].values():
        (measured,) = model["metrics"]
        assert measures <= set(measured)
        assert all(measured[key] is not None for key in measures)
    counts = [found["models"][kind]["metrics"][0]["parameters"] for kind in ("rnn", "gru")]
    assert counts == pytest.approx([400, 400], rel=0.15)
    page = (out / "report.html").read_text()
    assert page.count("<html") == 1
    assert "gru" in page
    if name == "series":
        assert page.count("data:image/svg+xml;base64,") >= 6
        assert len(list((out / "figures").glob("*.png"))) >= 6
    for kind in found["models"]:
        assert (out / kind / "config.json").is_file()
        assert (out / kind / "model.safetensors").is_file()


def test_a_baseline_of_a_comparison_predicts_and_streams(files, tmp_path):
    out = tmp_path / "results"
    fine("compare", files.plain, *BRIEF, "--models", "rnn", "--seeds", 1, "--parameters", 300,
         "--origins", 3, "--out", out)  # fmt: skip
    (row,) = table(fine("predict", out / "last", "--horizon", 1, "--paths", 2000))
    assert float(row["q0.5"]) == pytest.approx(wave(STEPS)[-1], abs=0.05)
    answer = json.loads(fine("stream", out / "last", stdin="4.5\n"))
    assert answer["y"]["median"] == pytest.approx(4.5, abs=0.05)


def test_seeds_are_runs_of_their_own(files, tmp_path):
    out = tmp_path / "results"
    found = json.loads(fine(
        "compare", files.text, *BRIEF, "--models", "rnn", "--seeds", 2, "--parameters", 400,
        "--out", out, "--json",
    ))  # fmt: skip
    measured = found["models"]["rnn"]["metrics"]
    assert len(measured) == 2
    assert measured[0]["nats"] != measured[1]["nats"]
    weights = [(out / f"rnn-{seed}" / "model.safetensors").read_bytes() for seed in (0, 1)]
    assert weights[0] != weights[1]


@pytest.mark.slow
def test_compare_shows_a_table(files, tmp_path):
    text = fine("compare", files.text, *BRIEF, "--models", "rnn", "--seeds", 1, "--parameters",
                400, "--out", tmp_path / "results")  # fmt: skip
    assert "perplexity" in text
    assert "-gram" in text


# -- fit -------------------------------------------------------------------------------------------


def test_a_run_folder_is_plain_files(runs):
    for name, run in runs.items():
        config = json.loads((run / "config.json").read_text())
        assert config["model"]["width"] == 4
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        assert lines[-1]["step"] == 3
        assert (run / "checkpoint" / "latest.safetensors").is_file()
        assert "<html" in (run / "report.html").read_text()
        assert (run / "vocabulary.json").is_file() == (name == "text")


def test_the_same_seed_gives_the_same_weights(files, runs, tmp_path):
    fine("fit", files.series, *SMALL, "--out", tmp_path / "same")
    fine("fit", files.series, *SMALL, "--seed", 1, "--out", tmp_path / "other")
    first, same, other = (
        (folder / "model.safetensors").read_bytes()
        for folder in (runs["series"], tmp_path / "same", tmp_path / "other")
    )
    assert first == same
    assert first != other


def test_fit_in_json(files, tmp_path):
    found = json.loads(fine(
        "fit", files.series, *SMALL, "--model", "rnn", "--json", "--out", tmp_path / "run"
    ))  # fmt: skip
    assert found["run"] == str(tmp_path / "run")
    assert (found["steps"], found["stopped"]) == (3, "steps")
    assert set(found["metrics"]["rnn"]) >= FORECAST


@pytest.mark.parametrize(
    "model",
    ["lstm", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("window", "rnn", "gru"))],
)
def test_every_option_reaches_the_run(files, tmp_path, model):
    fine(
        "fit", files.series, "--model", model, "--steps", 2, "--horizon", 3, "--window", 7,
        "--depth", 14, "--batch-size", 2, "--lr", 0.01, "--layers", 2, "--dropout", 0.1, "--width",
        3, "--head", "normal", "--scaling", "standard", "--schedule", "constant", "--optimizer",
        "sgd", "--patience", 5, "--seed", 7, "--dtype", "float64", "--checkpoint-every", 1,
        "--split", "0.6,0.2,0.2", "--season", 12, "--quiet", "--out", tmp_path / "run",
    )  # fmt: skip
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    training, made, data = config["training"], config["model"], config["data"]
    assert (training["window"], training["depth"], training["batch_size"]) == (7, 14, 2)
    assert (training["learning_rate"], training["schedule"], training["optimizer"]) == (
        0.01, "constant", "sgd",
    )  # fmt: skip
    assert (training["patience"], training["seed"], training["dtype"]) == (5, 7, "float64")
    assert (made["layers"], made["dropout"], made["width"]) == (2, 0.1, 3)
    assert (made["head"], made["scaling"], made["kind"]) == ("normal", "standard", model)
    assert (data["horizon"], data["split"], data["columns"]["season"]) == (3, "0.6,0.2,0.2", 12)


def test_a_published_recipe_on_a_folder_of_parts(files, tmp_path):
    for part, lines in (("train", 90), ("valid", 20), ("test", 20)):
        (tmp_path / f"{part}.txt").write_text("the cat sat on the mat .\n" * lines)
    found = json.loads(fine(
        "fit", tmp_path, "--tokens", "words", "--recipe", "ptb-small-lstm", "--steps", 2,
        "--lr", 0.5, "--json", "--quiet", "--out", tmp_path / "run",
    ))  # fmt: skip
    assert found["metrics"]["lstm"]["perplexity"] > 1
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    made, training = config["model"], config["training"]
    assert (made["width"], made["layers"], made["uniform"], made["tokens"]) == (200, 2, 0.1, 8)
    assert (training["learning_rate"], training["clip"], training["max_steps"]) == (0.5, 0.25, 2)
    resumed = fine("fit", "--resume", tmp_path / "run", "--quiet")
    assert "lstm" in resumed


def test_float64_weights_are_read_as_they_were_written(files, tmp_path):
    fine("fit", files.plain, *SMALL, "--dtype", "float64", "--out", tmp_path / "run")
    from safetensors.torch import load_file

    from throughtime.training.run import load_run

    written = load_file(tmp_path / "run" / "model.safetensors")
    read = load_run(tmp_path / "run").model.state_dict()
    assert written.keys() == read.keys()
    assert any(value.dtype == torch.float64 for value in written.values())
    for name, value in written.items():
        assert torch.equal(read[name], value), name


def test_a_folder_is_found_for_a_run(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        fine("fit", files.plain, *SMALL, "--steps", 1)
    assert {path.name for path in tmp_path.iterdir()} == {"run-plain", "run-plain-2"}


def test_a_run_without_validation_trains_to_its_end(files, tmp_path):
    found = json.loads(fine(
        "fit", files.series, *SMALL, "--split", "0.8,0,0.2", "--steps", 40, "--patience", 1,
        "--json", "--out", tmp_path / "run",
    ))  # fmt: skip
    assert found["stopped"] == "steps"


# -- predict ---------------------------------------------------------------------------------------


def test_predict_forecasts_from_the_end(runs):
    rows = table(fine("predict", runs["series"]))
    assert [row["step"] for row in rows] == ["1", "2", "3", "4"]
    assert rows[0]["time"] == "2020-01-09 08:00"
    for row in rows:
        levels = [float(row[f"q{level}"]) for level in (0.025, 0.1, 0.5, 0.9, 0.975)]
        assert levels == sorted(levels)
        assert levels[0] < float(row["mean"]) < levels[-1]


def test_predict_beyond_the_horizon_of_the_run(runs):
    rows = table(fine("predict", runs["series"], "--horizon", 30, "--paths", 20))
    assert len(rows) == 30
    assert rows[-1]["time"] == "2020-01-10 13:00"


def test_predict_reads_other_rows_as_those_of_the_run(runs, files, tmp_path):
    other = tmp_path / "other.csv"
    lines = files.series.read_text().splitlines()
    other.write_text("\n".join([lines[0] + ",note", *(line + ",x" for line in lines[1:51])]))
    rows = table(fine("predict", runs["series"], other, "--levels", "0.25,0.75"))
    assert rows[0]["time"] == "2020-01-03 02:00"
    assert list(rows[0]) == ["series", "target", "step", "time", "mean", "q0.25", "q0.75"]


def test_predict_is_repeatable_and_says_the_same_in_json(runs, tmp_path):
    text = fine("predict", runs["series"], "--seed", 3)
    assert fine("predict", runs["series"], "--seed", 3) == text
    assert fine("predict", runs["series"], "--seed", 4) != text
    rows = json.loads(fine("predict", runs["series"], "--seed", 3, "--json"))
    for row, said in zip(table(text), rows, strict=True):
        assert float(row["q0.5"]) == pytest.approx(said["q0.5"], rel=1e-5)
    assert fine("predict", runs["series"], "--seed", 3, "--out", tmp_path / "f.csv") == ""
    assert (tmp_path / "f.csv").read_text() == text


def test_predict_writes_text(runs):
    text = fine("predict", runs["text"], "--prompt", "the cat", "--steps", 20, "--seed", 1)
    assert text.startswith("the cat")
    assert len(text.rstrip("\n")) == pytest.approx(27, abs=1)  # the last may be a line end
    said = fine("predict", runs["text"], "--prompt", "-", "--steps", 20, "--seed", 1,
                stdin="the cat")  # fmt: skip
    assert said == text
    several = json.loads(fine("predict", runs["text"], "--samples", 3, "--steps", 9, "--json"))
    assert [len(each) for each in several] == [9, 9, 9]
    assert len(set(several)) > 1


def test_a_low_temperature_writes_the_likeliest(runs):
    both = {fine("predict", runs["text"], "--prompt", "the ", "--steps", 12, "--temperature",
                 "0.0001", "--seed", seed) for seed in (1, 2)}  # fmt: skip
    assert len(both) == 1


# -- stream ----------------------------------------------------------------------------------------


def answers(text):
    return [json.loads(line) for line in text.splitlines()]


def test_stream_of_bare_numbers(runs):
    found = answers(fine("stream", runs["plain"], stdin="1.5\n\n2\nnull\n"))
    assert len(found) == 3
    assert list(found[0]) == ["y"]
    assert list(found[0]["y"]["quantiles"]) == ["0.025", "0.1", "0.5", "0.9", "0.975"]
    with_start = answers(fine("stream", runs["series"], "--start", "2020-03-01", stdin="1\n2\n"))
    assert [each["time"] for each in with_start] == ["2020-03-01 01:00", "2020-03-01 02:00"]


def test_stream_of_json_and_of_csv_are_the_same(runs, files):
    lines = files.series.read_text().splitlines()[:30]
    rows = [dict(zip(("date", "y"), line.split(","), strict=True)) for line in lines[1:]]
    objects = "\n".join(json.dumps({"date": row["date"], "y": float(row["y"])}) for row in rows)
    first = answers(fine("stream", runs["series"], "--levels", "0.1,0.9", stdin=objects))
    second = table(fine("stream", runs["series"], "--levels", "0.1,0.9", stdin="\n".join(lines)))
    assert len(first) == len(second) == 29
    assert list(second[0]) == ["time", "y.median", "y.q0.1", "y.q0.9"]
    for one, two in zip(first, second, strict=True):
        assert one["time"] == two["time"]
        assert one["y"]["median"] == float(two["y.median"])
        assert one["y"]["quantiles"]["0.9"] == float(two["y.q0.9"])


def test_further_columns_of_a_csv_are_passed_over(runs):
    plain = fine("stream", runs["plain"], stdin="y\n1\n2\n")
    more = fine("stream", runs["plain"], stdin='note,y,z\n"a, b",1,5\nc,2,\n')
    assert plain == more


def test_stream_equals_what_predict_says_next(runs, files, tmp_path):
    lines = files.plain.read_text().splitlines()[:41]
    (tmp_path / "begin.csv").write_text("\n".join(lines))
    last = answers(fine("stream", runs["plain"], stdin="\n".join(lines[1:])))[-1]
    (row,) = table(
        fine("predict", runs["plain"], tmp_path / "begin.csv", "--horizon", 1, "--paths", 4000)
    )
    width = last["y"]["quantiles"]["0.9"] - last["y"]["quantiles"]["0.1"]
    assert float(row["q0.5"]) == pytest.approx(last["y"]["median"], abs=0.1 * width)


@pytest.mark.parametrize("name", ["plain", "series", "text"])
def test_two_streams_with_a_state_are_one(runs, files, tmp_path, name):
    lines = getattr(files, name).read_text().splitlines()
    lines = lines[1:9] if name == "plain" else lines[:9]
    head = lines[:1] if name == "series" else []
    rest = lines[len(head) :]
    whole = fine("stream", runs[name], stdin="\n".join(lines)).splitlines()
    state = tmp_path / "state"
    parts = []
    for part in (rest[:3], rest[3:]):
        found = fine("stream", runs[name], "--state", state, stdin="\n".join([*head, *part]))
        parts += found.splitlines()[len(head) :]
    assert parts == whole[len(head) :]
    assert state.is_file()


def test_a_bad_line_keeps_what_was_observed_before(runs, tmp_path):
    state = tmp_path / "state"
    outcome = call("stream", runs["plain"], "--state", state, stdin="1\n2\noops\n3\n")
    assert outcome.code == 2
    assert outcome.err == "throughtime: line 3: not JSON (Expecting value at character 1)\n"
    assert len(outcome.out.splitlines()) == 2
    rest = fine("stream", runs["plain"], "--state", state, stdin="3\n")
    assert rest == "".join(
        fine("stream", runs["plain"], stdin="1\n2\n3\n").splitlines(keepends=True)[2:]
    )


def test_stream_of_text(runs, files):
    text = files.text.read_text()[:90]
    first, second = text.split("\n")[:2]
    found = answers(fine("stream", runs["text"], stdin=f"{first}\n\n{second}\n"))
    assert [each["tokens"] for each in found] == [len(first), 0, len(second)]
    assert found[0]["next"] == found[1]["next"]
    quoted = answers(fine("stream", runs["text"], stdin=json.dumps(text) + "\n"))
    assert quoted[0]["tokens"] == 90
    assert quoted[0]["bits"] > found[0]["bits"]


def test_text_in_quotes_that_is_no_json_is_text(runs):
    outcome = call("stream", runs["text"], stdin='"the" and "the"\n')
    assert outcome.code == 2  # the model knows no quotation mark: it was read as text
    assert "character '\"' at position 0" in outcome.err


# -- data and doctor -------------------------------------------------------------------------------


def test_data_lists_what_is_built_in():
    text = fine("data")
    listed = json.loads(fine("data", "--json"))
    assert {"seasons", "words", "python-docs"} <= set(listed)
    assert all(name in text for name in listed)


def test_data_reports_on_a_file(files):
    text = fine("data", files.series)
    assert "200" in text
    found = json.loads(fine("data", files.series, "--json"))
    assert found["steps"] == STEPS
    assert found["parts"] == {"train": 140, "validation": 20, "test": 40}
    assert json.loads(fine("data", files.text, "--json"))["characters"] == 30 * 51


def test_doctor():
    text = fine("doctor")
    assert torch.__version__ in text
    found = json.loads(fine("doctor", "--json"))
    assert found["packages"]["torch"] == torch.__version__
    assert set(found["kernels"]) >= {"rnn", "lstm", "gru"}
    assert found["device"] == "cpu, float32"


@pytest.mark.slow
def test_doctor_keeps_standard_error_clean():
    done = run_alone("doctor", "--json")
    assert (done.code, done.err) == (0, "")
    json.loads(done.out)


def test_levels_are_numbers_between_0_and_1():
    assert parse_levels("0.1, 0.5,.9") == (0.1, 0.5, 0.9)
    assert np.isfinite(parse_levels("0.5")).all()
