import numpy as np
import pytest

from throughtime.data.examples import Examples
from throughtime.data.labels import UNKNOWN, Labels, check_missing, labelling
from throughtime.errors import InputError


def test_numbers_come_in_their_order_and_words_in_theirs():
    assert Labels.fit(["10", "9", "b", "a"]).names == ("9", "10", "a", "b")


def test_one_class_each():
    labels = Labels.fit(["x", "y", "x"])
    assert labels.kind == "one"
    assert labels.encode(["y", "x"]).tolist() == [1, 0]


def test_several_classes_are_columns():
    labels = Labels.fit([("b", "a"), (), ("c",)])
    assert (labels.kind, labels.names) == ("several", ("a", "b", "c"))
    assert labels.encode([("c", "a"), ()]).tolist() == [[1, 0, 1], [0, 0, 0]]


def test_steps_may_be_unknown():
    labels = Labels.fit([["n", "v", ""], ["v"]])
    assert (labels.kind, labels.names) == ("steps", ("n", "v"))
    coded = labels.encode([["", "v"], []])
    assert [each.tolist() for each in coded] == [[UNKNOWN, 1], []]
    assert all(each.dtype == np.int64 for each in coded)


@pytest.mark.parametrize("kind", ["one", "several", "steps"])
def test_json_and_back(kind):
    labels = Labels(("é", "b"), kind)
    assert Labels.from_json(labels.to_json()) == labels


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "damaged"),
        ("[]", "damaged"),
        ('{"format": 1}', "damaged"),
        ('{"format": 9, "names": ["a", "b"], "kind": "one"}', "newer throughtime"),
        ('{"format": 1, "names": ["a", "a"], "kind": "one"}', "'a' occurs twice"),
        ('{"format": 1, "names": ["a", "b"], "kind": "two"}', "labels are 'two'"),
    ],
)
def test_damaged_json_is_one_line(text, said):
    with pytest.raises(InputError, match=said) as caught:
        Labels.from_json(text)
    assert "\n" not in str(caught.value)


def test_one_class_only_is_refused():
    with pytest.raises(InputError, match="all examples are of one class, 'x'; expected at least"):
        Labels.fit(["x", "x"])
    assert Labels.fit([("x",), ()]).names == ("x",)  # there or not is something to tell
    with pytest.raises(InputError, match="there is no class"):
        Labels.fit([(), ()])


def test_mixed_forms_are_refused():
    with pytest.raises(InputError, match="labels have 2 forms"):
        labelling(["x", ("x",)])
    with pytest.raises(InputError, match="expected one class for each example as in training"):
        Labels.fit(["x", "y"]).encode([("x",)])


def test_a_class_that_training_does_not_know():
    labels = Labels.fit([str(number) for number in range(12)])
    with pytest.raises(InputError, match=r"test: the class 'x' does not occur .* 6, 7, \.\.\.$"):
        labels.encode(["1", "x"], "test")


def test_a_class_missing_from_training():
    labels = Labels.fit(["x", "y"])
    part = Examples("texts", ["a", "b", "c"], ["x", "z", "z"], ["1", "2", "3"])
    check_missing(labels, [("test", part.take([0]))])
    with pytest.raises(InputError, match="'z' is missing from training, the test part has 2 of it"):
        check_missing(labels, [("test", part)])
