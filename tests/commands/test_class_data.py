"""Predict of runs on classes: images, and what does not fit."""

import csv
import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.commands.conftest import call, fine, one_line, refusal
from tests.serving.class_runs import (
    make_class_run,
    series_data,
    some_series,
    text_data,
    write_lists,
    write_series,
)
from tests.serving.runs import forecast_data, make_run
from throughtime.data.images import load_digits
from throughtime.tasks.class_logits import Encoder, logits, probabilities
from throughtime.tasks.data_config import DataConfig
from throughtime.tasks.labelled import load_labelled

SERIES = {"s0": [[0.5, 1.0], [None, 2.0]], "s1": [[-1.0, 0.0], [0.0, 0.5], [3.0, -2.0]]}


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
def pictures(folder):
    """Sixty digits: even or odd."""
    digits = load_digits().take(range(60))
    labels = [("even", "odd")[int(digit) % 2] for digit in digits.labels or []]
    np.savez(folder / "digits.npz", x=digits.values[:, 0], y=labels)
    return folder / "digits.npz"


@pytest.fixture(scope="module")
def patches(folder, pictures):
    """A transformer over squares of two pixels."""
    data = DataConfig(str(pictures), task="classify")
    return make_class_run(
        folder / "patches", data, "transformer", patch=2, around=True, pooling="token",
        position="learned",
    )  # fmt: skip


@pytest.fixture(scope="module")
def rows(folder, pictures):
    """A recurrent model over the rows of pixels."""
    data = DataConfig(str(pictures), task="classify")
    return make_class_run(folder / "rows", data, rows=True, around=True)


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


def test_images_of_several_forms(patches, pictures, tmp_path):
    examples, shares = expected(patches, pictures)
    found = objects(fine("predict", patches.folder, pictures, "--json"))
    given = [[*one["probabilities"].values()] for one in found]
    np.testing.assert_allclose(given, shares, atol=1e-6)
    assert [one["truth"] for one in found] == examples.labels

    each = tmp_path
    for at in range(4):
        each = tmp_path / "all" / examples.labels[at] / f"{at}.png"
        each.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(examples.values[at, 0]).save(each)
    one = table(fine("predict", patches.folder, each))
    assert [*one[0].values()][:2] == ["3.png", found[3]["label"]]
    flat = table(fine("predict", patches.folder, each.parent))
    assert [row["name"] for row in flat] == ["1.png", "3.png"]
    done = call("predict", patches.folder, tmp_path / "all")
    by_class = table(done.out)
    assert [row["truth"] for row in by_class] == ["even", "even", "odd", "odd"]
    assert "of 4 labels are right" in done.err


def test_built_in_digits(patches, texts, pictures, tmp_path):
    said = refusal("predict", patches.folder, "digits")
    assert "the class '0' does not occur in training, which has even, odd; --no-labels" in said
    assert len(table(fine("predict", patches.folder, "digits", "--no-labels"))) == 1797
    small = make_class_run(
        tmp_path / "small", DataConfig(str(pictures), task="classify", image_size="4"), "gru",
        rows=True, around=True,
    )  # fmt: skip
    assert len(table(fine("predict", small.folder, "digits", "--no-labels"))) == 1797
    assert "digits: there are images, expected texts" in refusal("predict", texts.folder, "digits")
    said = refusal("predict", texts.folder, "seasons")
    assert said == "predict: seasons is no labelled examples, expected some"


def test_images_of_another_size(patches, rows, tmp_path):
    def of(*shape):
        path = tmp_path / f"{'-'.join(map(str, shape))}.npz"
        np.savez(path, x=np.zeros((3, *shape), np.uint8))
        return path

    assert len(table(fine("predict", patches.folder, of(10, 12)))) == 3  # positions interpolated
    said = refusal("predict", patches.folder, of(9, 8))
    assert said.endswith("has images of 9x8; ImagePatches: the image is 9 pixels high, expected a "
                         "multiple of the patch's 2; the nearest are 8 and 10")  # fmt: skip
    assert len(table(fine("predict", rows.folder, of(8, 8)))) == 3
    for other in (of(8, 16), of(16, 8), of(9, 9)):
        said = refusal("predict", rows.folder, other)
        assert "expected 8x8 as in training (height, width); a run fitted with --image-size" in said
    said = refusal("predict", patches.folder, of(8, 8, 3))
    assert said.endswith("has images of 3 channels, expected 1 as in training")


def test_data_that_is_needed(series, patches):
    for run in (series, patches):
        said = refusal("predict", run.folder)
        assert said == f"predict: {run.folder} is no run on texts, expected DATA after it"


def test_data_that_do_not_fit(folder, texts, series, patches, pictures, tmp_path):
    said = refusal("predict", series.folder, tmp_path / "none.csv")
    assert said == f"predict: there is no file or folder {tmp_path}/none.csv"
    for path, run, came, wanted in (
        (folder / "film.csv", patches, "texts", "images"),
        (folder / "walks.csv", texts, "series", "texts"),
        (pictures, series, "images", "series"),
        (pictures, texts, "images", "texts"),
    ):
        said = refusal("predict", run.folder, path)
        assert said == f"predict: {path}: there are {came}, expected {wanted} as in training"
    assert "features is 'x', expected a name" in refusal(
        "predict", series.folder, folder / "film.csv"
    )
    other = write_series(tmp_path / "other.csv", ("x", "z"))
    assert "features is 'y', expected a name from" in refusal("predict", series.folder, other)
    lists = write_lists(tmp_path / "lists.jsonl", SERIES)
    one_line(call("predict", series.folder, lists).err)


def test_other_features_than_made_up_ones(tmp_path):
    path = tmp_path / "lists.jsonl"
    rows = [{"values": values.tolist(), "label": label} for values, label in some_series()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = make_class_run(tmp_path / "run", DataConfig(str(path), task="classify"))
    other = write_series(tmp_path / "walks.csv")
    said = refusal("predict", run.folder, other)
    assert said == f"predict: {other} has features x, y, expected dim_0, dim_1 as in training"


def test_parts_are_not_one_file(patches, series, tmp_path):
    both = np.zeros((2, 8, 8), np.uint8)
    path = tmp_path / "parts.npz"
    np.savez(path, x_train=both, y_train=[0, 1], x_test=both, y_test=[0, 1])
    for options in ((), ("--no-labels",)):
        assert refusal("predict", patches.folder, path, *options) == (
            f"predict: {path} has parts for training and others, expected a file or folder of one"
        )
    (tmp_path / "parts").mkdir()
    for part in ("train", "test"):
        write_series(tmp_path / "parts" / f"{part}.csv")
    assert "has parts for training" in refusal("predict", series.folder, tmp_path / "parts")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--horizon", 3), "predict: a run on classes takes no --horizon"),
        (("--greedy",), "predict: a run on classes takes no --greedy"),
        (("--beams", 3), "predict: a run on classes takes no --beams"),
        (("--seed", 3), "predict: a run on classes takes no --seed"),
        (("--prompt", "a"), "predict: a run on classes takes no --prompt; give DATA, or texts on "
                            "standard input"),
        (("--batch", 0), "--batch is 0, expected at least 1"),
        (("--batch", 1_000_001), "--batch is 1000001, expected at most 1,000,000"),
        (("--labels",), "--labels: lines of text have none, expected DATA with labels"),
    ],
)  # fmt: skip
def test_options_that_cannot_be(texts, options, said):
    assert refusal("predict", texts.folder, *options, stdin="a film\n") == said


def test_labels_are_for_classes(tmp_path):
    path = tmp_path / "plain.csv"
    path.write_text("y\n" + "".join(f"{at % 7}\n" for at in range(60)))
    run = make_run(tmp_path / "run", forecast_data(path), "last")
    said = refusal("predict", run.folder, "--no-labels")
    assert said == "predict: a run on series takes no --labels"
