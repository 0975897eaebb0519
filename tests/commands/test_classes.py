"""Classes on the command line, from a file to a report."""

import json

import numpy as np
import pytest

from tests.commands.class_files import TINY, texts, write_images, write_texts, write_ts
from tests.commands.conftest import fine, refusal
from throughtime.commands.checking import able
from throughtime.models.config import NEURAL, ModelConfig
from throughtime.training.run import load_run


def test_what_is_in_a_file_is_told(tmp_path):
    source = write_texts(tmp_path / "texts.csv", [*texts(), texts()[0]])
    said = json.loads(fine("data", source, "--tokens", "characters", "--json"))
    assert said["kind"] == "texts"
    assert said["classes"] == {"no": 30, "yes": 31} or sum(said["classes"].values()) == 43
    assert sum(said["parts"].values()) == 61
    shown = fine("data", write_ts(tmp_path / "s.ts"))
    assert "2 numbers a step" in shown
    assert "length" in shown
    assert "8 x 8 pixels, grey" in fine("data", "digits")


def test_built_in_names_tell_of_digits():
    assert "handwritten digits" in fine("data")


@pytest.mark.parametrize("kind", ["gru", "transformer"])
def test_fit_writes_a_run_that_can_be_read(tmp_path, kind):
    width = "8" if kind == "transformer" else "4"
    source = write_ts(tmp_path / "s.ts")
    out = fine("fit", source, "--model", kind, "--width", width, "--epochs", "2", "--json",
               "--out", tmp_path / "run")  # fmt: skip
    found = json.loads(out)["metrics"]
    assert {kind, "majority", "nearest", "logistic"} == set(found)
    assert 0 <= found[kind]["accuracy"] <= 100
    run = load_run(tmp_path / "run")
    assert run.labels is not None
    assert run.labels.names == ("a", "b")
    assert float(run.model.temperature) == pytest.approx(found[kind]["temperature"])
    page = (tmp_path / "run" / "report.html").read_text()
    for heading in ("Which classes are confused", "How far the probabilities", "seen"):
        assert heading in page


def test_a_finished_run_is_gone_on_with(tmp_path):
    source = write_texts(tmp_path / "texts.csv")
    fine("fit", source, "--width", "4", "--steps", "2", "--tokens", "words", "--out",
         tmp_path / "run", "--quiet")  # fmt: skip
    before = load_run(tmp_path / "run")
    again = json.loads(fine("fit", "--resume", tmp_path / "run", "--json"))
    assert again["steps"] == 2
    after = load_run(tmp_path / "run")
    assert after.labels == before.labels
    assert after.model.temperature == before.model.temperature


def test_a_folder_with_parts_of_its_own(tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    write_ts(folder / "toy_TRAIN.ts")
    write_ts(folder / "toy_TEST.ts", count=10)
    said = json.loads(fine("data", folder, "--json"))
    assert said["parts"] == {"train": 36, "validation": 4, "test": 10}
    named = ("--validation", folder / "toy_TEST.ts", "--test", folder / "toy_TEST.ts")
    said = json.loads(fine("data", folder / "toy_TRAIN.ts", "--task", "classify", *named, "--json"))
    assert said["parts"] == {"train": 40, "validation": 10, "test": 10}


def test_images_of_a_folder_are_brought_to_one_size(tmp_path):
    folder = write_images(tmp_path / "images", sizes=((8, 8), (6, 9)), count=40)
    fine("fit", folder, *TINY, "--image-size", "6x8", "--augment", "shift=1,cutout=2,mixup=0.2",
         "--smoothing", "0.1", "--weighted", "--out", tmp_path / "run")  # fmt: skip
    assert load_run(tmp_path / "run").config.model.image == (1, 6, 8)


def test_several_classes_and_classes_of_steps(tmp_path):
    rows = [
        {"values": [n % 3, 1, 2], "label": [name for name in "ab" if (n + ord(name)) % 3]}
        for n in range(60)
    ]
    (tmp_path / "several.jsonl").write_text("\n".join(map(json.dumps, rows)))
    out = fine("fit", tmp_path / "several.jsonl", *TINY, "--labels", "several", "--json",
               "--out", tmp_path / "several")  # fmt: skip
    assert "f1" in json.loads(out)["metrics"]["lstm"]
    random = np.random.default_rng(0)
    rows = []
    for _ in range(40):
        values = random.normal(size=random.integers(2, 6)).round(2)
        rows.append({"values": values.tolist(), "label": ["ud"[int(x < 0)] for x in values]})
    (tmp_path / "steps.jsonl").write_text("\n".join(map(json.dumps, rows)))
    out = fine("fit", tmp_path / "steps.jsonl", *TINY, "--labels", "steps", "--json",
               "--out", tmp_path / "steps")  # fmt: skip
    assert {"majority", "logistic"} < set(json.loads(out)["metrics"])
    assert load_run(tmp_path / "steps").config.model.pooling == "none"


def test_compare_has_every_model_and_every_baseline(tmp_path):
    source = write_ts(tmp_path / "s.ts", count=60)
    out = fine("compare", source, "--parameters", "600", "--heads", "1", "--epochs", "1", "--seeds",
               "2", "--json", "--quiet", "--out", tmp_path / "out")  # fmt: skip
    found = json.loads(out)["models"]
    models = {"window", "rnn", "lstm", "gru", "transformer"}
    assert set(found) == models | {"majority", "nearest", "logistic"}
    assert all(len(found[name]["metrics"]) == 2 for name in models)
    assert found["nearest"]["baseline"]
    assert (tmp_path / "out" / "gru-1" / "labels.json").exists()


def test_linear_models_beside_a_body(tmp_path):
    """They come on top of the parameters that were asked for, and are told apart."""
    source = write_texts(tmp_path / "texts.csv")
    asked = ("--tokens", "characters", "--parameters", "2000", "--epochs", "1")
    bags = ("--bag", "2", "--letters", "4")
    found = {}
    for name, options in (("plain", ()), ("run", bags)):
        out = fine("fit", source, *asked, *options, "--model", "gru", "--json", "--out",
                   tmp_path / name)  # fmt: skip
        found[name] = json.loads(out)["metrics"]["gru"]
    model = load_run(tmp_path / "run").config.model
    assert (model.bag, model.letters) == (2, 4)
    assert model.scores < ModelConfig.scores  # as many as so few texts can fill
    assert model.width == load_run(tmp_path / "plain").config.model.width
    more = found["run"]["parameters"] - found["plain"]["parameters"]
    assert more == 2 * model.scores
    assert sum(found["run"]["shares"]) == pytest.approx(1)
    assert "shares" not in found["plain"]
    told = fine("compare", source, *asked, *bags, "--models", "gru,rnn", "--seeds", "1", "--out",
                tmp_path / "out")  # fmt: skip
    assert "linear models beside them included" in " ".join(told.split())
    assert "counts: body" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"pooling": "token"}, "rnn lstm gru transformer"),
        ({"pooling": "ends"}, "rnn lstm gru"),
        ({"causal": False}, "rnn lstm gru transformer"),
        ({"causal": True}, "window rnn lstm gru transformer"),
        ({"stochastic_depth": 0.1}, "transformer"),
    ],
)
def test_kinds_that_cannot_be_what_was_asked_are_left_out(options, left):
    usual = {"pooling": None, "causal": None, "stochastic_depth": None}
    assert " ".join(able({**usual, **options}, NEURAL)) == left


def test_published_recipes_are_for_their_data(tmp_path):
    fine("fit", "digits", "--recipe", "clothing-gru", "--steps", "2", "--out", tmp_path / "run")
    said = refusal("fit", write_ts(tmp_path / "s.ts"), "--recipe", "clothing-gru", "--out",
                   tmp_path / "other", "--quiet")  # fmt: skip
    assert said == "clothing-gru is for labelled images, one class for each"
    said = refusal("fit", "digits", "--recipe", "reviews-gru", "--out", tmp_path / "other", "-q")
    assert said == "reviews-gru is for labelled texts, one class for each"
