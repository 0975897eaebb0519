"""Predict of runs on classes: files, and lines as they come."""

import csv
import io
import json
import queue
import threading
from typing import Any

import numpy as np
import pytest

from tests.commands.conftest import call, fine, one_line, refusal, start
from tests.serving.class_runs import (
    make_class_run,
    series_data,
    text_data,
)
from throughtime.serving import ClassSession, feature_names, verdict
from throughtime.tasks.class_logits import Encoder, logits, probabilities
from throughtime.tasks.data_config import DataConfig
from throughtime.tasks.labelled import load_labelled


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("classes")


@pytest.fixture(scope="module")
def texts(folder):
    return make_class_run(folder / "texts", text_data(folder, tokens="words"))


@pytest.fixture(scope="module")
def series(folder):
    return make_class_run(folder / "series", series_data(folder))


@pytest.fixture(scope="module")
def steps(folder):
    (folder / "steps").mkdir()
    data = series_data(folder / "steps", steps=True)
    return make_class_run(folder / "steps" / "run", data)


@pytest.fixture(scope="module")
def several(folder):
    (folder / "several").mkdir()
    data = series_data(folder / "several", several=True)
    return make_class_run(folder / "several" / "run", data)


def expected(run, source, **changes) -> tuple[Any, Any]:
    """What the model says of a file, by its own functions."""
    data = DataConfig(str(source), task="classify", labels=run.labels.kind, **changes)
    examples: Any = load_labelled(data)
    values = Encoder(examples.kind, run.vocabulary, dtype=run.model.like().dtype)(examples)
    found = logits(run.model, values)
    kind = run.labels.kind
    steps = kind == "steps"
    return examples, [probabilities(e) for e in found] if steps else probabilities(found, kind)


def table(text):
    return [*csv.DictReader(io.StringIO(text))]


def objects(text):
    return [json.loads(line) for line in text.splitlines()]


# -- files -----------------------------------------------------------------------------------------


def test_a_run_that_was_fitted(folder, texts, tmp_path):
    fine("fit", folder / "film.csv", "--steps", 3, "--width", 4, "--causal", "--quiet", "--out",
         tmp_path / "run")  # fmt: skip
    found = table(fine("predict", tmp_path / "run", folder / "film.csv"))
    assert len(found) == 30
    answer = objects(fine("stream", tmp_path / "run", stdin="a fine\n film\n"))[-1]
    assert set(answer["probabilities"]) == {"bad", "good"}


def test_rows_and_objects(folder, texts):
    source = folder / "film.csv"
    examples, shares = expected(texts, source)
    done = call("predict", texts.folder, source)
    found = table(done.out)
    assert [*found[0]] == ["name", "label", "probability", "truth"]
    assert [row["name"] for row in found] == examples.names == [str(at) for at in range(2, 32)]
    assert [row["truth"] for row in found] == examples.labels
    answers = [verdict(each, texts.labels) for each in shares]
    assert [row["label"] for row in found] == [answer["label"] for answer in answers]
    for row, answer in zip(found, answers, strict=True):
        assert float(row["probability"]) == pytest.approx(answer["probability"], rel=1e-5)
    right = sum(row["label"] == row["truth"] for row in found)
    assert (
        one_line(done.err) == f"accuracy {100 * right / 30:.4g} %: {right} of 30 labels are right"
    )

    as_json = objects(fine("predict", texts.folder, source, "--json"))
    for row, answer, one in zip(found, answers, as_json, strict=True):
        assert [*one] == ["name", "label", "probability", "probabilities", "truth"]
        assert (one["name"], one["truth"]) == (row["name"], row["truth"])
        assert one["label"] == answer["label"]
        assert one["probabilities"] == pytest.approx(answer["probabilities"], abs=1e-6)
        assert one["probability"] == max(one["probabilities"].values())


def test_batches_change_nothing(folder, texts):
    whole = fine("predict", texts.folder, folder / "film.csv", "--json", "--no-labels")
    small = fine(
        "predict", texts.folder, folder / "film.csv", "--json", "--no-labels", "--batch", 4
    )
    for one, other in zip(objects(whole), objects(small), strict=True):
        assert one["name"] == other["name"]
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-6)


def test_labels_that_are_not_there_or_not_wanted(folder, texts, tmp_path):
    bare = tmp_path / "bare.csv"
    lines = (folder / "film.csv").read_text().splitlines()
    bare.write_text("\n".join(line.rsplit(",", 1)[0] for line in lines) + "\n")
    unlabelled = call("predict", texts.folder, bare)
    assert one_line(unlabelled.err) == f"{bare}: no labels were read; --labels says why"
    left_out = call("predict", texts.folder, folder / "film.csv", "--no-labels")
    assert left_out.err == call("predict", texts.folder, bare, "--no-labels").err == ""
    assert unlabelled.out == left_out.out
    assert [*table(left_out.out)[0]] == ["name", "label", "probability"]
    assert "truth" not in objects(fine("predict", texts.folder, bare, "--json"))[0]
    assert "has nothing called label, class" in refusal("predict", texts.folder, bare, "--labels")


def test_a_class_that_training_has_not(texts, tmp_path):
    path = tmp_path / "new.csv"
    path.write_text("text,label\na film,middling\n")
    said = refusal("predict", texts.folder, path)
    assert said.startswith(f"{path}: the class 'middling' does not occur in training, which has ")
    assert said.endswith("has bad, good; --no-labels leaves labels out")
    assert len(table(fine("predict", texts.folder, path, "--no-labels"))) == 1


def test_a_file_for_the_answers(folder, texts, tmp_path):
    expected_rows = fine("predict", texts.folder, folder / "film.csv")
    out = tmp_path / "more" / "out.csv"
    assert fine("predict", texts.folder, folder / "film.csv", "--out", out) == ""
    assert out.read_text() == expected_rows
    source = tmp_path / "film.csv"
    source.write_text((folder / "film.csv").read_text())
    said = refusal("predict", texts.folder, source, "--out", source)
    assert said == f"--out {source} is the file of the examples, expected another one"
    # What was there stays until all is well.
    refusal("predict", texts.folder, tmp_path / "none.csv", "--out", out)
    assert out.read_text() == expected_rows


WIDE = "v0,v1,label\n" + "1,2,p\n3,?,q\n" * 4
TS = "@problemName x\n@dimensions 2\n@classLabel true p q\n@data\n" + (
    "1,?:2,3:p\n4,5,6:7,8,9:q\n" * 4
)
FIELD = '{"v": [1, 2, null], "label": "p"}\n{"v": [4], "label": "q"}\n' * 4
LISTS = '{"values": [[1, 2], [null, 3]], "label": "p"}\n{"values": [[4, 5]], "label": "q"}\n' * 4


@pytest.mark.parametrize(
    ("name", "content", "features", "names"),
    [
        ("some.csv", WIDE, "", ("value",)),
        ("some.csv", WIDE, "v1,v0", ("value",)),
        ("some.ts", TS, "", ("dim_0", "dim_1")),
        ("some.jsonl", LISTS, "", ("dim_0", "dim_1")),
        ("some.jsonl", LISTS, "values", ("dim_0", "dim_1")),
        ("some.jsonl", FIELD, "v", ("v",)),
    ],
)
def test_features_without_names(tmp_path, name, content, features, names):
    """Readers make names up where a file has none, and runs ask for none then."""
    path = tmp_path / name
    path.write_text(content)
    data = DataConfig(str(path), task="classify", features=features)
    run = make_class_run(tmp_path / "run", data)
    found = table(fine("predict", run.folder, path))
    _, shares = expected(run, path, features=features)
    np.testing.assert_allclose([float(row["probability"]) for row in found], shares.max(1), 1e-5)
    assert feature_names(run) == names


def test_series_of_a_long_table(folder, series, tmp_path):
    examples, shares = expected(series, folder / "walks.csv")
    found = objects(fine("predict", series.folder, folder / "walks.csv", "--json"))
    assert [one["name"] for one in found] == examples.names
    given = [[*one["probabilities"].values()] for one in found]
    np.testing.assert_allclose(given, shares, atol=1e-6)


def test_steps_have_a_row_each(folder, steps):
    source = folder / "steps" / "walks.csv"
    examples, shares = expected(steps, source)
    done = call("predict", steps.folder, source)
    found = table(done.out)
    assert [*found[0]] == ["name", "step", "label", "probability", "truth"]
    numbered = [(name, at + 1) for name, v in zip(examples.names, examples.values, strict=True)
                for at in range(len(v))]  # fmt: skip
    assert [(row["name"], int(row["step"])) for row in found] == numbered
    assert [row["truth"] for row in found] == [one for each in examples.labels for one in each]
    likeliest = [steps.labels.names[at] for each in shares for at in each.argmax(1)]
    assert [row["label"] for row in found] == likeliest
    right = sum(row["label"] == row["truth"] for row in found)
    assert f"{right} of {len(found)} steps are right" in one_line(done.err)


def test_steps_whose_class_is_unknown(folder, steps, tmp_path):
    path = tmp_path / "part.csv"
    path.write_text("id,t,x,y,label\ns,0,1,2,a\ns,1,1,2,\ns,2,0,1,b\n")
    done = call("predict", steps.folder, path)
    assert [row["truth"] for row in table(done.out)] == ["a", "", "b"]
    assert " of 2 steps are right" in one_line(done.err)
    answers = objects(fine("predict", steps.folder, path, "--json"))
    assert [(one["step"], one["truth"]) for one in answers] == [(1, "a"), (2, None), (3, "b")]
    path.write_text("id,t,x,y,label\ns,0,1,2,\ns,1,1,2,\n")
    assert one_line(call("predict", steps.folder, path).err) == "no step has a label"


def test_words_with_labels_are_cut_with_their_text(tmp_path):
    rows = [{"text": "a dog ran on", "tags": ["D", "N", "V", "P"]}] * 8
    path = tmp_path / "tags.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = DataConfig(str(path), task="classify", labels="steps", tokens="words", longest=3)
    run = make_class_run(tmp_path / "run", data)
    found = table(fine("predict", run.folder, path))
    assert [row["truth"] for row in found[:3]] == ["D", "N", "V"]
    assert len(found) == 24


def test_several_classes_of_one_example(folder, several):
    source = folder / "several" / "walks.csv"
    examples, shares = expected(several, source)
    done = call("predict", several.folder, source)
    found = table(done.out)
    assert [row["truth"] for row in found] == ["|".join(each) for each in examples.labels]
    named = ["|".join(n for n, p in zip("ab", each, strict=True) if p >= 0.5) for each in shares]
    assert [row["label"] for row in found] == named
    assert len({*named}) > 1
    sure = np.maximum(shares, 1 - shares).min(1)
    np.testing.assert_allclose([float(row["probability"]) for row in found], sure, 1e-5)
    right = sum(row["label"] == row["truth"] for row in found)
    assert f"{right} of 30 sets of labels are right" in one_line(done.err)
    one = objects(fine("predict", several.folder, source, "--json"))[2]
    assert (one["truth"], one["label"]) == (["a", "b"], [*filter(None, named[2].split("|"))])


# -- lines -----------------------------------------------------------------------------------------


LINES = "a good film\n\n quite bad , unheard \n"


def test_lines_of_standard_input_and_of_a_file(texts, tmp_path):
    asked = ["a good film", "", "quite bad , unheard"]
    found = objects(fine("predict", texts.folder, "--json", stdin=LINES))
    assert [one["name"] for one in found] == ["1", "2", "3"]
    for text, one in zip(asked, found, strict=True):
        answer = ClassSession(texts).observe(text)
        assert one["probabilities"] == pytest.approx(answer["probabilities"], abs=1e-6)
    for name in ("some.txt", "some.md", "some"):
        path = tmp_path / name
        path.write_text(LINES)
        for options in ((), ("--batch", 1)):
            rows = table(fine("predict", texts.folder, path, *options))
            assert [row["label"] for row in rows] == [one["label"] for one in found]


def test_no_lines_are_no_rows(texts):
    assert fine("predict", texts.folder) == "name,label,probability\n"
    assert fine("predict", texts.folder, "--json") == ""


def test_a_text_file_with_tabs_is_a_table(texts, tmp_path):
    path = tmp_path / "some.txt"
    path.write_text("id\tdocument\tlabel\n7\ta film\tgood\n")
    (row,) = table(fine("predict", texts.folder, path))
    assert (row["name"], row["truth"]) == ("7", "good")


def test_what_came_before_a_bad_line_is_answered(texts, tmp_path):
    path = tmp_path / "some.txt"
    path.write_bytes(b"a film\nbad\n\xff\n")
    done = call("predict", texts.folder, path)
    assert [row["name"] for row in table(done.out)] == ["1", "2"]
    assert one_line(done.err) == f"predict: line 3 of {path} is not utf-8"


def test_each_line_is_answered_as_it_comes(texts):
    process = start("predict", texts.folder)
    came = queue.Queue()
    reader = threading.Thread(target=lambda: [*map(came.put, process.stdout)], daemon=True)
    reader.start()
    try:
        for number, line in enumerate(("a film\n", "good\n"), 1):
            process.stdin.write(line)
            process.stdin.flush()
            if number == 1:
                assert came.get(timeout=60) == "name,label,probability\n"
            assert came.get(timeout=60).startswith(f"{number},")
    finally:
        process.stdin.close()
        assert process.wait(60) == 0
        reader.join()
        process.stdout.close()
        process.stderr.close()
