import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.labelled_files import numbers, one_line_or_examples, put, refused
from throughtime.data.labelled_objects import Roles, object_examples, read_objects


@pytest.fixture
def read(tmp_path):
    """Examples of objects, or of lines given as they are."""

    def read(*objects, name="x.jsonl", **roles):
        lines = [each if isinstance(each, str) else json.dumps(each) for each in objects]
        return read_objects(put(tmp_path, name, "\n".join(lines)), Roles(**roles))

    return read


class TestTexts:
    @pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz"])
    def test_by_name(self, read, name):
        some = read({"Text": " a dog\n", "Label": "x"}, "", {"Label": 0, "Text": ""}, name=name)
        assert (some.kind, some.features) == ("texts", ())
        assert some.values == ["a dog", ""]
        assert (some.labels, some.names) == (["x", "0"], ["1", "3"])

    def test_words_become_one_text(self, read):
        some = read({"tokens": ["a", "dog"], "label": "x"}, {"tokens": [], "label": "y"})
        assert some.values == ["a dog", ""]

    def test_the_only_field_of_words(self, read):
        some = read({"id": "i", "phrase": "x", "stars": 3, "class": "a"})
        assert (some.values, some.names) == (["x"], ["i"])

    def test_named(self, read):
        one = {"text": "no", "a": "yes", "b": True, "label": 1, "key": 7}
        some = read(one, text="a", label="b", id="key")
        assert (some.values, some.labels, some.names) == (["yes"], ["true"], ["7"])

    def test_none_is_empty(self, read):
        assert read({"text": None, "label": "x"}, {"label": "x"}).values == ["", ""]

    def test_ids_that_are_none(self, read):
        rows = [{"text": "x", "label": "a", "id": each} for each in (5, 5)]
        assert read(*rows).names == ["1", "2"]
        assert read(*rows, id="id").names == ["5", "5"]

    @pytest.mark.parametrize(
        ("one", "message"),
        [
            ({"text": 3, "label": "a"}, "has 3 as 'text', expected a text or a list of words"),
            ({"text": ["a", 3], "label": "a"}, r"has \['a', 3\] as 'text'"),
            ('{"text": "\\ud800", "label": "a"}', "has half a character in 'text'"),
            ({"text": "x", "label": {"a": 1}}, "has {'a': 1} in 'label', expected a class"),
            ({"text": "x"}, "has no 'label', expected a class"),
            ({"text": "x", "label": None}, "has no 'label'"),
            ({"text": "x", "label": " "}, "has no 'label'"),
        ],
    )
    def test_refuses(self, read, one, message):
        refused(f"line 2 of .*x.jsonl {message}", read, {"text": "x", "label": "b"}, one)


class TestSeries:
    def test_numbers_of_one_feature(self, read):
        some = read(
            {"values": [1, 2.5, None], "label": "a", "id": "p"},
            {"values": ["?", "NaN", -3], "label": "b", "id": "q"},
            '{"values": [NaN], "label": "b", "id": "r"}',
        )
        assert (some.kind, some.features) == ("series", ("value",))
        assert numbers(some) == [[[1], [2.5], [None]], [[None], [None], [-3]], [[None]]]
        assert (some.labels, some.names) == (["a", "b", "b"], ["p", "q", "r"])
        assert all(value.dtype == np.float64 for value in some.values)

    def test_time_by_features(self, read):
        some = read(
            {"values": [[1, 2], [3, None], [5, 6]], "label": "a"},
            {"values": [[7, 8]], "label": "a"},
        )
        assert some.features == ("dim_0", "dim_1")
        assert numbers(some) == [[[1, 2], [3, None], [5, 6]], [[7, 8]]]
        assert read({"values": [[1], [2]], "label": "a"}).features == ("value",)

    def test_named(self, read):
        one = {"x": [1, 2], "y": [[3], [None]], "label": "a", "text": "no"}
        some = read(one, features=("y", "x"))
        assert (some.features, numbers(some)) == (("y", "x"), [[[3, 1], [None, 2]]])
        some = read(one, features=("x",))
        assert (some.features, numbers(some)) == (("value",), [[[1], [2]]])

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ([], "'values' is an empty sequence, expected at least one step"),
            ([[], []], "'values' has 0 numbers at step 0, expected some"),
            ([[1, 2], [3]], "'values' has 1 numbers at step 1, expected 2"),
            ([[1, 2], 3], "'values' has 3 at step 1, expected 2"),
            ([1, [2]], r"'values' has \[2\] at step 1, expected a finite number"),
            (7, "'values' is 7, expected a list"),
            (None, "'values' is None, expected a list"),
            ([1, True], "'values' has true at step 1"),
            ([1, "two"], "'values' has \"two\" at step 1"),
            ([1, float("inf")], "'values' has Infinity at step 1"),
            ([10**400], r"'values' has 10{56}\.\.\. at step 0"),
            ([[1, 2], [3, {}]], "'values' has {} at step 1"),
        ],
    )
    def test_refuses(self, read, value, message):
        one = {"values": value, "label": "a"}
        refused(f"line 2 of .*x.jsonl: {message}", read, {"values": [[1, 2]], "label": "a"}, one)

    def test_refuses_other_widths(self, read):
        wide, thin = {"values": [[1, 2]], "label": "a"}, {"values": [1], "label": "a"}
        refused("line 2 of .* has 1 numbers at each step, expected 2 as before", read, wide, thin)

    def test_refuses_features_that_do_not_fit(self, read):
        one = {"x": [1, 2], "y": [3], "z": [[1, 2], [3, 4]], "label": "a"}
        refused("'y' has 1 steps and 'x' 2, expected as many", read, one, features=("x", "y"))
        refused("'z' has 2 numbers at a step, expected one in each of several", read, one,
                features=("x", "z"))  # fmt: skip


class TestLabels:
    def test_a_list_has_to_be_told(self, read):
        for one in ({"text": "a b", "label": ["x", "y"]}, {"values": [1, 2], "label": ["x", "y"]}):
            refused("has a list of 2 as 'label', expected one class; say --labels several, or "
                    "--labels steps", read, one)  # fmt: skip
            refused("has a list of 2 as 'label', expected one class$", read, one, labels="one")
            assert read(one, labels="several").labels == [("x", "y")]
            assert read(one, labels="steps").labels == [["x", "y"]]

    def test_several(self, read):
        said = [["x", "x", 2], [], None, "a|b", "", [None, "y"]]
        some = read(*({"text": "t", "tags": each} for each in said), labels="several")
        assert some.labels == [("x", "2"), (), (), ("a|b",), (), ("y",)]

    def test_steps(self, read):
        some = read({"values": [[1, 2], [3, 4]], "label": ["x", None]}, labels="steps")
        assert some.labels == [["x", ""]]
        some = read({"tokens": ["a", "dog"], "tags": ["", 3]}, labels="steps")
        assert some.labels == [["", "3"]]
        refused("line 1 of .* has 1 labels and 2 steps, expected one for each", read,
                {"values": [1, 2], "label": ["x"]}, labels="steps")  # fmt: skip
        refused("has 2 labels and 3 words", read, {"text": "a b c", "label": ["x", "y"]},
                labels="steps")  # fmt: skip
        refused("has 'x' as 'label', expected a list, one for each step", read,
                {"text": "a", "label": "x"}, labels="steps")  # fmt: skip

    def test_without(self, read):
        for one in ({"text": "x"}, {"text": "x", "label": ["not", {}]}):
            some = read(one, labelled=False)
            assert (some.values, some.labels) == (["x"], None)
        assert (
            read({"x": "y", "label": "z"}, labelled=False, text="x", label="label").labels is None
        )


class TestObjects:
    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("{x", "line 2 of .* is not JSON .*: {x$"),
            ("[1]", r"line 2 of .* is \[1\], expected an object"),
            ("[" * 100_000, "line 2 of .* is not JSON"),
            ('{"values": 1' + "0" * 5000 + "}", "line 2 of .* is not JSON"),
        ],
    )
    def test_no_objects(self, read, line, message):
        refused(message, read, {"text": "x", "label": "a"}, line)

    def test_fields_that_cannot_be_told(self, read):
        refused("has nothing called label, .*; it has text, kind$", read, {"text": "", "kind": 1})
        refused("has 'text' and 'values', expected text or features", read,
                {"text": "x", "values": [1], "label": "a"})  # fmt: skip
        refused("neither text nor values, .*; it has a, b, label", read,
                {"a": "x", "b": "y", "label": "z"})  # fmt: skip
        refused("neither text nor values", read, {"x": [1, 2], "label": "z"})
        refused("time is 't', expected none", read, {"t": [1], "values": [1], "label": "a"},
                time="t")  # fmt: skip
        refused("text is 'b', expected a name from .* which has text, label", read,
                {"text": "x", "label": "a"}, text="b")  # fmt: skip
        refused("is empty", read, "")
        refused("no file", read_objects, Path("nothing.jsonl"), Roles())

    def test_rows_of_a_table(self):
        rows = [{"values": [1.0, None], "label": 3}, {"values": [], "label": 3}]
        some = object_examples(Path("x.parquet"), rows[:1], [1], Roles(), "row")
        assert (numbers(some), some.labels) == ([[[1], [None]]], ["3"])
        refused("row 2 of x.parquet: 'values' is an empty", object_examples, Path("x.parquet"),
                rows, [1, 2], Roles(), "row")  # fmt: skip


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
VALUES = st.recursive(PLAIN, lambda some: st.lists(some, max_size=3), max_leaves=4)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.dictionaries(st.sampled_from(["text", "values", "label", "id", "x\ny"]), VALUES),
             min_size=1, max_size=3),
    st.sampled_from([None, "one", "several", "steps"]), st.booleans(), st.booleans(),
)  # fmt: skip
def test_anything_gives_one_line(tmp_path_factory, objects, labels, labelled, cut):
    content = "\n".join(map(json.dumps, objects))
    path = put(tmp_path_factory.getbasetemp(), "any.jsonl", content[: -1 if cut else None])
    some = one_line_or_examples(read_objects, path, Roles(labels=labels, labelled=labelled))
    if some is not None:
        assert len(some) == len(objects)
        assert (some.labels is not None) == labelled
