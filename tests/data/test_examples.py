import numpy as np
import pytest

from throughtime.data.examples import Examples, hold_out, split_examples
from throughtime.errors import InputError


def texts(labels):
    names = [f"row {number}" for number in range(len(labels))]
    return Examples("texts", names, labels, names)


def test_take_keeps_rows_together():
    values = [np.full((length, 2), length, float) for length in (3, 1, 2)]
    some = Examples("series", values, ["a", "b", "a"], ["x", "y", "z"], ("p", "q")).take([2, 0])
    assert [len(value) for value in some.values] == [2, 3]
    assert (some.labels, some.names, some.features) == (["a", "a"], ["z", "x"], ("p", "q"))
    images = Examples("images", np.arange(8, dtype=np.uint8).reshape(2, 1, 2, 2), None, ["0", "1"])
    assert images.take([1]).values.tolist() == [[[[4, 5], [6, 7]]]]
    assert images.take([1]).labels is None


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (("sounds", [], [], []), "kind is 'sounds', expected one of texts, series, images"),
        (("texts", ["a"], ["x", "y"], ["1"]), "there are 1 values and 2 labels"),
        (("texts", ["a"], ["x"], []), "there are 1 values and 0 names"),
        (("images", np.zeros((1, 2, 2), np.uint8), ["x"], ["1"]), r"of shape \[1, 2, 2\]"),
        (("images", np.zeros((1, 1, 2, 2)), ["x"], ["1"]), "got float64"),
        (
            ("series", [np.zeros((3, 2))], ["x"], ["one"], ("a",)),
            r"one has numbers of shape \[3, 2",
        ),
    ],
)
def test_other_forms_are_refused(fields, said):
    with pytest.raises(InputError, match=said):
        Examples(*fields)


def test_each_class_has_its_share_of_each_part():
    labels = ["rare"] * 20 + ["often"] * 180
    parts = split_examples(texts(labels), (0.7, 0.1, 0.2))
    assert [len(part) for part in parts] == [140, 20, 40]
    assert [(part.labels or []).count("rare") for part in parts] == [14, 2, 4]
    assert sorted(name for part in parts for name in part.names) == sorted(texts(labels).names)


def test_rare_ones_of_several_labels_are_known_to_training():
    rare = [str(number) for number in range(30)]  # each on one example alone
    labels = [("often", rare[at // 10]) if at % 10 == 0 else ("often",) for at in range(300)]
    every = [list(label) for label in labels]
    for said in (labels, every):
        parts = split_examples(texts(said), (0.6, 0.2, 0.2))
        known = {one for label in parts.training.labels or [] for one in label}
        assert known == {"often", *rare}
        assert [len(part) for part in parts] == [180, 60, 60]


def test_unknown_steps_place_nothing():
    labels = [["", "a"], ["", "b"], ["", ""], ["b", "a"]] * 10
    assert (
        split_examples(texts(labels)).training.names
        == split_examples(texts([[one for one in label if one] for label in labels])).training.names
    )


def test_the_order_within_a_part_is_that_of_the_file():
    part = split_examples(texts(["a", "b"] * 20), (0.5, 0.25, 0.25)).training
    numbers = [int(name.split()[1]) for name in part.names]
    assert numbers == sorted(numbers)


def test_splits_are_the_same_everywhere_and_differ_by_seed():
    first, again = (split_examples(texts(["a", "b"] * 50)).test.names for _ in range(2))
    assert first == again
    assert first != split_examples(texts(["a", "b"] * 50), seed=1).test.names


def test_rows_move_with_what_they_hold_not_where_they_stand():
    some = texts(["a"] * 50)
    turned = some.take(range(49, -1, -1))
    assert set(split_examples(some).test.names) == set(split_examples(turned).test.names)


def test_hold_out_takes_a_tenth():
    training, validation = hold_out(texts(["a", "b"] * 50))
    assert (len(training), len(validation)) == (90, 10)
    assert (validation.labels or []).count("a") == 5


def test_no_labels_no_split():
    with pytest.raises(InputError, match="examples have no labels"):
        split_examples(Examples("texts", ["a"], None, ["1"]))
    with pytest.raises(InputError, match="expected three"):
        split_examples(texts(["a"]), (0.5, 0.5))
