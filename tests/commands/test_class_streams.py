"""Stream of runs on classes."""

import csv
import io
import json

import numpy as np
import pytest
import torch

from tests.commands.conftest import call, fine, one_line, refusal
from tests.serving.class_runs import (
    make_class_run,
    series_data,
    text_data,
)
from throughtime.data.images import load_digits
from throughtime.serving import ClassSession
from throughtime.tasks.data_config import DataConfig


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("classes")


@pytest.fixture(scope="module")
def texts(folder):
    return make_class_run(folder / "texts", text_data(folder, tokens="words"))


@pytest.fixture(scope="module")
def bags(folder):
    data = text_data(folder, tokens="characters")
    return make_class_run(folder / "bags", data, bag=3, letters=5, scores=1000)


@pytest.fixture(scope="module")
def series(folder):
    return make_class_run(folder / "series", series_data(folder))


@pytest.fixture(scope="module")
def several(folder):
    (folder / "several").mkdir()
    data = series_data(folder / "several", several=True)
    return make_class_run(folder / "several" / "run", data)


def table(text):
    return [*csv.DictReader(io.StringIO(text))]


def objects(text):
    return [json.loads(line) for line in text.splitlines()]


def test_objects_lists_and_columns(series):
    lines = [[0.5, 1.0], [None, 2.0], [3.0, -1.5]]
    as_lists = fine("stream", series.folder, stdin="".join(json.dumps(one) + "\n" for one in lines))
    named = [{"x": x, "y": y} for x, y in lines]
    as_objects = fine("stream", series.folder, stdin="".join(json.dumps(n) + "\n" for n in named))
    assert as_lists == as_objects
    session = ClassSession(series)
    assert objects(as_lists) == [session.observe(one) for one in lines]

    cells = "\n".join(f"{y},7,{'' if x is None else x}" for x, y in lines)
    rows = table(fine("stream", series.folder, stdin=f"y,else,x\n{cells}\n"))
    assert [*rows[0]] == ["step", "label", "probability"]
    assert [row["label"] for row in rows] == [one["label"] for one in objects(as_lists)]


def test_an_empty_line_begins_the_next_sequence(series, texts):
    found = objects(fine("stream", series.folder, stdin="[1,2]\n[3,4]\n \n[1,2]\n\n\n[3,4]\n"))
    assert [one["step"] for one in found] == [1, 2, 1, 1]
    assert found[2] == found[0]
    assert found[3] not in found[:3]
    found = objects(fine("stream", texts.folder, stdin="a film\n , bad\n\na film\n"))
    assert [one["step"] for one in found] == [2, 4, 2]
    assert found[2] == found[0]
    csv_too = table(fine("stream", series.folder, stdin="x,y\n1,2\n\n1,2\n"))
    assert [row["step"] for row in csv_too] == ["1", "1"]


def test_pieces_are_predicted_as_the_whole(texts):
    (whole,) = objects(fine("predict", texts.folder, "--json", stdin="a film , quite bad\n"))
    pieces = objects(fine("stream", texts.folder, stdin='a film\n" , quite"\n bad\n'))
    assert pieces[-1]["step"] == 5
    assert pieces[-1]["probabilities"] == pytest.approx(whole["probabilities"], abs=1e-6)


def test_bags_of_n_grams_stream_and_go_on(bags, tmp_path):
    (whole,) = objects(fine("predict", bags.folder, "--json", stdin="a quite bad film\n"))
    state = ("--state", tmp_path / "state")
    fine("stream", bags.folder, *state, stdin="a qui\n")
    pieces = objects(fine("stream", bags.folder, *state, stdin="te bad film\n"))
    assert pieces[-1]["probabilities"] == pytest.approx(whole["probabilities"], abs=1e-6)


def test_the_state_is_kept_in_a_file(series, tmp_path):
    whole = objects(fine("stream", series.folder, stdin="[1,2]\n[3,4]\n[5,6]\n"))
    state = ("--state", tmp_path / "state")
    first = objects(fine("stream", series.folder, *state, stdin="[1,2]\n[3,4]\n"))
    assert first + objects(fine("stream", series.folder, *state, stdin="[5,6]\n")) == whole
    # An empty line at the end counts in the next call as well.
    assert fine("stream", series.folder, *state, stdin="\n") == ""
    assert objects(fine("stream", series.folder, *state, stdin="[1,2]\n")) == whole[:1]


def test_columns_of_several_classes(several):
    lines = "[1,2]\n[-3,4]\n"
    answers = objects(fine("stream", several.folder, stdin=lines))
    rows = table(fine("stream", several.folder, stdin="x,y\n1,2\n-3,4\n"))
    assert [row["label"] for row in rows] == ["|".join(one["label"]) for one in answers]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"x": 1, "z": 2}', "unknown feature 'z', expected x, y"),
        ('{"x": "much", "y": 1}', "x is 'much', expected a number"),
        ("[1, 2, 3]", "expected 2 numbers (x, y), got 3"),
        ("[1, ", "not JSON (Expecting value at character 5)"),
        ("5", "expected an object or a list with x, y, got 5"),
    ],
)
def test_a_bad_line(series, tmp_path, line, said):
    state = ("--state", tmp_path / "state")
    done = call("stream", series.folder, *state, stdin=f"[1,2]\n{line}\n")
    assert (done.code, one_line(done.err)) == (2, f"line 2: {said}")
    # What came before it is kept.
    (after,) = objects(fine("stream", series.folder, *state, stdin="[3,4]\n"))
    assert after == objects(fine("stream", series.folder, stdin="[1,2]\n[3,4]\n"))[1]


def test_columns_that_do_not_fit(series):
    said = refusal("stream", series.folder, stdin="x,z\n1,2\n")
    assert said == "line 1: the header has no column 'y', expected x, y among x, z"
    said = refusal("stream", series.folder, stdin="x,y\n1\n")
    assert said == "line 2: 1 values under 2 columns (x, y)"


def test_runs_without_a_stream(series, texts, tmp_path):
    digits = load_digits().take(range(60))
    np.savez(tmp_path / "digits.npz", x=digits.values[:, 0], y=[at % 2 for at in range(60)])
    data = DataConfig(str(tmp_path / "digits.npz"), task="classify")
    images = make_class_run(tmp_path / "images", data, rows=True, around=True)
    said = refusal("stream", images.folder)
    assert "is a run on images, which come whole and have no session" in said
    run = make_class_run(tmp_path / "run", series_data(tmp_path), around=True)
    said = refusal("stream", run.folder, stdin="[1,2]\n")
    assert said.endswith("throughtime fit ... --causal makes one that can")
    said = refusal("stream", series.folder, "--levels", "0.5")
    assert said == "stream: a run on classes takes no --levels"
    said = refusal("stream", series.folder, "--start", "2020-01-01")
    assert said == "start is '2020-01-01', expected none: this run is about classes"
    said = refusal("stream", texts.folder, "--format", "csv")
    assert said == "--format is csv, but the run is about text"
    said = refusal("stream", series.folder, "--format", "text")
    assert said == "--format is text, but the run is about series"


def test_answers_do_not_need_gradients(series):
    """Nothing of a session grows with time."""
    session = ClassSession(series)
    session.observe([1, 2])
    assert not session.state[1].requires_grad
    assert isinstance(session.state[1], torch.Tensor)
