"""What beginners get wrong with classes: one line that says so, exit status 2, no traceback."""

import json
import sys

import numpy as np
import pytest

from tests.commands.class_files import TINY, texts, write_images, write_texts, write_ts
from tests.commands.conftest import call, refusal


@pytest.fixture
def fit(tmp_path):
    """`fit`, which refuses."""

    def fit(source, *more):
        return refusal("fit", source, *TINY, "--out", tmp_path / "run-bad", *more)

    return fit


# -- what the issue names --------------------------------------------------------------------------


def test_an_unreadable_image(fit, tmp_path):
    folder = write_images(tmp_path / "images")
    (folder / "a" / "zz.png").write_bytes(b"no image")
    said = fit(folder)
    assert "zz.png" in said
    assert "image" in said
    whole = (folder / "a" / "0.png").read_bytes()
    (folder / "a" / "zz.png").write_bytes(whole[: len(whole) // 2])
    assert "zz.png" in fit(folder)


def test_mixed_channels(fit, tmp_path):
    said = fit(write_images(tmp_path / "images", modes=("L", "L", "RGB")))
    assert "channel" in said
    assert ".png" in said


def test_mixed_sizes(fit, tmp_path):
    said = fit(write_images(tmp_path / "images", sizes=((8, 8), (6, 8))))
    assert "--image-size" in said


def test_an_unknown_label_at_prediction(tmp_path):
    source = write_texts(tmp_path / "texts.csv")
    done = call("fit", source, *TINY, "--tokens", "characters", "--out", tmp_path / "run")
    assert done.code in (0, None), done
    other = write_texts(tmp_path / "other.csv", [("good", "maybe"), ("bad", "no")])
    said = refusal("predict", tmp_path / "run", other)
    assert "'maybe' does not occur in training, which has no, yes" in said


def test_one_class_only(fit, tmp_path):
    said = fit(write_texts(tmp_path / "one.csv", [(text, "yes") for text, _ in texts()]))
    assert "all examples are of one class, 'yes'" in said


def test_a_class_missing_from_training(fit, tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    write_texts(folder / "train.csv")
    write_texts(folder / "test.csv", [*texts(6), ("odd", "maybe")])
    said = fit(folder)
    assert said == "the class 'maybe' is missing from training, the test part has 1 of it"


def test_an_empty_sequence(fit, tmp_path):
    rows = ["1,2:1,2:a", "3,4:3,4:b"] * 10 + [":::a"]
    assert "line" in fit(write_ts(tmp_path / "empty.ts", rows=rows))
    lines = [{"values": [1, 2], "label": "a"}, {"values": [], "label": "b"}]
    (tmp_path / "empty.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert "empty" in fit(tmp_path / "empty.jsonl")


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ({"dimensions": "3"}, "3"),
        ({"equalLength": "true"}, "equalLength"),
        ({"equalLength": "true", "seriesLength": "3"}, "@seriesLength 3"),
        ({"classLabel": "true a c"}, "'b'"),
        ({"univariate": "true"}, "univariate"),
    ],
)
def test_a_header_that_lies(fit, tmp_path, head, said):
    assert said in fit(write_ts(tmp_path / "lies.ts", head))


# -- options ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--pooling", "best"), "pooling is 'best', expected one of"),
        (("--pooling", "ends", "--causal"), "for a body that sees the whole input"),
        (("--stop-on", "wer"), "--stop-on is wer, expected one of loss, accuracy, balanced, f1"),
        (("--window", "5"), "--window is for series and text"),
        (("--attention", "none"), "--attention is for pairs"),
        (("--batch-size", "0"), "batch_size is 0, expected at least 1"),
        (("--epochs", "-5"), "epochs is -5, expected at least 1"),
        (("--augment", "flip"), "augment is for images"),
        (("--labels", "two"), "labels is 'two', expected one of one, several, steps"),
        (("--image-size", "32"), "image_size is for images"),
        (("--tokens", "characters,words"), "tokens characters,words is for pairs"),
        (("--label", "mood"), "'mood'"),
        (("--text", "words"), "'words'"),
        (("--target", "label"), "targets is for series"),
        (("--direction", "de-en"), "direction is for pairs"),
        (("--rows",), "rows is for images"),
        (("--grams", "1"), "grams is 1, expected at least 2"),
        (("--letters", "2"), "letters is 2, expected at least 3"),
        (("--letters", "5", "--tokens", "words"), "letters is for tokens that are characters, and"),
        (("--patches",), "--patches is for images, and"),
        (("--patch", "2"), "--patch is for images, and"),
        (("--scaling", "standard"), "--scaling is for series, and"),
        (("--model", "transformer", "--width", "8", "--reach", "2"), "--causal makes one"),
        (("--pooling", "none"), "expected another one, for each example has a class"),
        (("--stochastic-depth", "0.1"), "stochastic_depth is for a transformer"),
    ],
)
def test_options_that_do_not_fit(fit, tmp_path, options, said):
    source = write_texts(tmp_path / "texts.csv")
    found = fit(source, "--task", "classify", *options)
    assert said in found


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--augment", "spin"), "spin"),
        (("--augment", "shift=100"), "shift"),
        (("--image-size", "small"), "image_size is 'small', expected pixels such as 32"),
        (("--model", "transformer", "--width", "8", "--patch", "3"), "3"),
        (("--model", "transformer", "--position", "rotary"), "position is 'rotary'"),
        (("--patch", "2"), "--patch is for squares, and rows of pixels are read"),
        (("--patch", "2", "--rows", "--model", "transformer"), "--patch is for squares"),
        (("--grams", "3"), "--grams is for texts, and digits is images"),
        (("--bag", "3"), "--bag is for texts, and digits is images"),
        (("--letters", "3"), "--letters is for texts, and digits is images"),
        (("--tokens", "words"), "tokens is for texts"),
        (("--vocabulary", "100"), "vocabulary is for texts"),
    ],
)
def test_options_of_images(fit, options, said):
    assert said in fit("digits", *options)


def test_classes_are_not_for_other_data(fit):
    assert "weighted is for classes" in fit("words", "--weighted")
    assert "--pooling is for classes, and words is text" in fit("words", "--pooling", "max")
    assert "--stop-on is for pairs and classes" in fit("words", "--stop-on", "accuracy")
    assert "--stop-on is f1, which is for classes" in fit(
        "copy", "--model", "gru", "--stop-on", "f1"
    )


def test_a_recipe_says_what_the_model_is():
    for option in (
        ("--grams", "3"),
        ("--bag", "3"),
        ("--letters", "5"),
        ("--pooling", "max"),
        ("--causal",),
    ):
        said = refusal("fit", "digits", "--recipe", "clothing-gru", *option)
        assert f"--recipe clothing-gru says what the model is: no {option[0]}" in said


def test_data_for_something_else(fit):
    assert "cannot be used for --task classify" in fit("words", "--task", "classify")
    assert "cannot be used for --task forecast" in fit("digits", "--task", "forecast")


def test_parts_named_by_halves(fit, tmp_path):
    source = write_texts(tmp_path / "texts.csv")
    said = fit(source, "--task", "classify", "--validation", source)
    assert "test is not given, expected it beside validation" in said
    said = fit(source, "--task", "classify", "--test", source, "--split", "0.8,0.1,0.1")
    assert "split is for a single file" in said


def test_a_share_that_cannot_be_held_out(fit, tmp_path):
    source = write_texts(tmp_path / "texts.csv")
    said = fit(source, "--task", "classify", "--validation", "0.2")
    assert "validation is the share 0.2, which is for a test part of its own" in said
    said = fit(source, "--task", "classify", "--test", source, "--validation", "2")
    assert "validation is 2, expected a file, or a share in (0, 1)" in said


def test_parts_of_different_kinds(fit, tmp_path):
    source = write_texts(tmp_path / "texts.csv")
    other = write_ts(tmp_path / "series.ts")
    said = fit(source, "--task", "classify", "--test", other)
    assert "series" in said
    assert "texts" in said


def test_too_few_examples(fit, tmp_path):
    said = fit(write_texts(tmp_path / "few.csv", texts(2)))
    assert "split_examples" in said


def test_labels_that_went_missing(tmp_path):
    source = write_texts(tmp_path / "texts.csv")
    done = call("fit", source, *TINY, "--out", tmp_path / "run", "--tokens", "characters")
    assert done.code in (0, None), done
    labels = tmp_path / "run" / "labels.json"
    kept = labels.read_text()
    labels.write_text(kept.replace('"yes"', '"yes", "perhaps"'))
    said = refusal("predict", tmp_path / "run", source)
    assert "the model knows 2 classes, labels.json has 3" in said
    labels.write_text("{")
    assert "labels.json: labels: damaged" in refusal("predict", tmp_path / "run", source)
    labels.unlink()
    assert "labels.json is missing" in refusal("predict", tmp_path / "run", source)


def test_other_classes_when_a_run_goes_on(tmp_path):
    source, run = write_texts(tmp_path / "texts.csv"), tmp_path / "run"
    done = call("fit", source, *TINY, "--out", run, "--tokens", "characters")
    assert done.code in (0, None), done
    write_texts(source, [(text, {"no": "nay"}.get(label, label)) for text, label in texts()])
    said = refusal("fit", "--resume", run, "--quiet")
    assert f"{source} has other classes than when {run} was begun" in said


def test_baselines_that_miss_something(fit, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    said = fit(write_texts(tmp_path / "texts.csv"))
    assert "scikit-learn: pip install" in said
    assert not (tmp_path / "run-bad").exists()


def test_images_of_another_form(fit, tmp_path):
    np.savez(tmp_path / "odd.npz", images=np.zeros((4, 8), np.uint8), labels=[0, 1, 0, 1])
    assert "odd.npz" in fit(tmp_path / "odd.npz", "--task", "classify")
    np.savez(tmp_path / "less.npz", images=np.zeros((4, 8, 8), np.uint8), labels=[0, 1])
    assert "4" in fit(tmp_path / "less.npz")
