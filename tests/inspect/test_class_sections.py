import base64
import io
import math
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from throughtime.errors import InputError, MissingExtra
from throughtime.inspect import ClassPart, Confusion, Early, Reliability, Wrong
from throughtime.inspect.class_sections import class_sections, wrong_rows
from throughtime.inspect.pictures import BUCKETS, LANES, Picture, png_uri, spark_paths


def confusion(classes=3, model="gru"):
    names = tuple(f"class {place}" for place in range(classes))
    return Confusion(model, names, np.eye(classes, dtype=int))


def reliability(**other):
    parts = {"edges": [0.0, 0.5, 1.0], "confidence": [0.4, 0.9], "accuracy": [0.5, 0.8],
             "count": [1, 3], "ece": 0.1} | other  # fmt: skip
    return Reliability("lstm", **parts)


def wrong(name="7", **other):
    parts: dict[str, Any] = {"probability_of_truth": 0.02, "probability_of_answer": 0.9} | other
    return Wrong(name, "good", "bad", **parts)


def pixels(uri):
    assert uri.startswith("data:image/png;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def points(path) -> list[list[tuple[float, ...]]]:
    """Each stretch of a path as its points."""
    stretches = [stretch.split("L") for stretch in path.split("M")[1:]]
    return [[tuple(map(float, point.split())) for point in stretch] for stretch in stretches]


class Asked(list):
    """Stands for what draws: keeps what it was asked for."""

    def __call__(self, name, words, draw, **options):
        self.append((name, words, options))
        return Picture("light", "dark", words, options.get("caption", ""))


class TestSections:
    def test_one_for_each_part_that_is_there(self):
        early = Early({"gru": {1.0: 90.0}})
        whole = ClassPart([confusion(), confusion(model="lstm")], [reliability()], early)
        made = class_sections(whole, Asked())
        assert [(section.title, len(section.figures)) for section in made] == [
            ("Which classes are confused", 2),
            ("How far the probabilities can be trusted", 1),
            ("How early the answers are right", 1),
        ]
        assert [len(class_sections(part, Asked())) for part in (
            None, ClassPart(), ClassPart(early=Early({})), ClassPart([confusion()]),
            ClassPart(reliability=[reliability()]), ClassPart(early=early),
            ClassPart(wrong=[wrong()], wrong_model="gru"),
        )] == [0, 0, 0, 1, 1, 1, 0]  # fmt: skip

    def test_many_classes_have_more_room(self):
        few, many = Asked(), Asked()
        assert not class_sections(ClassPart([confusion(10)]), few)[0].large
        assert class_sections(ClassPart([confusion(11)]), many)[0].large
        assert many[0][2]["width"] > few[0][2].get("width", 4.2)
        assert many[0][2]["height"] > few[0][2]["height"]

    def test_frequent_mistakes_are_said_in_words(self):
        counts = np.array([[9, 1, 0], [0, 5, 0], [1200, 0, 3]])
        one = Confusion("gru", ("cat", "dog", "cow"), counts)
        asked = Asked()
        class_sections(ClassPart([one, confusion()]), asked)
        captions = [options["caption"] for *_, options in asked]
        assert captions == [
            "Most often: cow taken for cat (1,200 of 1,203), cat taken for dog (1 of 10).",
            "No mistakes.",
        ]

    def test_pictures_say_what_they_show(self):
        asked = Asked()
        early = Early({"gru": {1.0: 90.0}, "lstm": {1.0: 80.0}})
        class_sections(ClassPart([confusion()], [reliability()], early), asked)
        words = [words for _, words, _ in asked]
        assert "gru" in words[0]
        assert "3 classes" in words[0]
        assert "lstm" in words[1]
        assert "10.0 %" in words[1]
        assert "gru, lstm" in words[2]


class TestWrongRows:
    def rows(self, *those):
        return wrong_rows(ClassPart(wrong=those, wrong_model="gru"))

    def test_none(self):
        assert wrong_rows(None) == wrong_rows(ClassPart()) == []

    def test_text_is_cut_and_on_one_line(self):
        long, lines = self.rows(wrong(text="가" * 500), wrong(text=" a\n\n b\tc \ud800"))
        assert long.text == "가" * 199 + "…"
        assert lines.text == "a b c ?"
        assert (lines.image, lines.paths) == ("", [])

    def test_probabilities(self):
        row = self.rows(wrong(probability_of_truth=1e-9, probability_of_answer=math.nan))[0]
        assert (row.truth_probability, row.answer_probability) == ("<0.1 %", "unknown")
        assert (row.name, row.truth, row.answer) == ("7", "good", "bad")

    def test_small_images_are_enlarged_as_squares(self):
        small, large = self.rows(
            wrong(image=np.zeros((1, 8, 64), np.uint8)), wrong(image=np.zeros((1, 65, 8), np.uint8))
        )
        assert (small.small, large.small) == (True, False)
        assert pixels(small.image).shape == (8, 64)

    @pytest.mark.parametrize(
        ("shape", "about"),
        [
            ((1, 1), "1 step"),
            ((1234, 1), "1,234 steps"),
            ((9, LANES), f"9 steps, {LANES} features"),
            ((9, 40), f"9 steps, {LANES} of 40 features"),
        ],
    )
    def test_series_say_how_large_they_are(self, shape, about):
        row = self.rows(wrong(series=np.ones(shape)))[0]
        assert row.about == about
        assert len(row.paths) == min(shape[1], LANES)


class TestImages:
    def test_grey_and_colours_keep_their_values(self):
        rng = np.random.default_rng(0)
        for channels in (1, 3, 4):
            image = rng.integers(0, 256, (channels, 5, 7)).astype(np.uint8)
            shown = pixels(png_uri(image))
            expected = image[0] if channels == 1 else image.transpose(1, 2, 0)
            assert np.array_equal(shown, expected)

    def test_other_channels_are_averaged(self):
        image = np.stack([np.full((4, 4), value, np.uint8) for value in (0, 101)])
        assert (pixels(png_uri(image)) == 50).all()

    @pytest.mark.parametrize(("height", "width"), [(300, 200), (1, 5000), (129, 128)])
    def test_large_ones_are_made_smaller(self, height, width):
        shown = pixels(png_uri(np.zeros((3, height, width), np.uint8)))
        assert max(shown.shape[:2]) == 128

    def test_without_pillow(self, monkeypatch):
        import sys

        monkeypatch.setitem(sys.modules, "PIL", None)
        with pytest.raises(
            MissingExtra, match=r"needs pillow: pip install 'throughtime\[classify\]'"
        ):
            png_uri(np.zeros((1, 2, 2), np.uint8))


class TestSparks:
    def test_the_highest_is_on_top_within_its_lane(self):
        series = np.array([[0.0, 5.0], [2.0, -5.0], [1.0, 0.0]])
        first, second = (points(path)[0] for path in spark_paths(series, 20.0, 40.0))
        assert [x for x, _ in first] == [0, 10, 20]
        assert [y for _, y in first] == [18, 2, 10]
        assert [y for _, y in second] == [22, 38, 30]

    def test_gaps_stay_gaps_and_a_value_alone_is_a_dot(self):
        series = np.array([[1.0], [2.0], [math.nan], [1.5], [math.inf], [1.0], [2.0]])
        stretches = points(spark_paths(series)[0])
        assert list(map(len, stretches)) == [2, 2, 2]
        assert stretches[1][0] == stretches[1][1]

    @pytest.mark.parametrize("value", [0.0, 1e300, -5.0])
    def test_a_constant_runs_through_the_middle(self, value):
        path = spark_paths(np.full((3, 1), value), height=10.0)[0]
        assert {y for _, y in points(path)[0]} == {5}

    def test_extremes_do_not_overflow(self):
        path = spark_paths(np.array([[-1.7e308], [1.7e308]]), height=10.0)[0]
        assert [y for _, y in points(path)[0]] == [9, 1]

    def test_nothing_known_and_nothing_there(self):
        assert spark_paths(np.full((3, 1), math.nan)) == [""]
        assert spark_paths(np.zeros((0, 1))) == [""]
        assert spark_paths(np.zeros((3, 0))) == []

    def test_whole_numbers(self):
        assert points(spark_paths(np.array([[1], [3]]))[0])[0][0][0] == 0

    def test_a_long_one_is_short_and_keeps_peaks_and_gaps(self):
        series = np.sin(np.arange(100_000) / 999)[:, None]
        series[54_321], series[77_777] = 9.0, -9.0
        series[20_000:40_000] = math.nan
        path = spark_paths(series, 100.0, 10.0)[0]
        first, second = points(path)
        assert len(first) + len(second) <= 2 * BUCKETS + 2
        assert first[-1][0] == pytest.approx(20, abs=1.5)
        assert second[0][0] == pytest.approx(40, abs=1.5)
        assert {(54.3, 1.0), (77.8, 9.0)} <= set(second)


BAD = [
    (lambda: Confusion("gru", ("a", "b"), np.zeros((2, 3), int)),
     "counts of gru have shape [2, 3], expected [2, 2]"),
    (lambda: Confusion("gru", (), np.zeros((0, 0), int)), "shape [0, 0], expected some"),
    (lambda: Confusion("gru", ("a",), np.zeros((1, 1))), "are float64, expected whole numbers"),
    (lambda: Confusion("gru", ("a",), np.array([[-2]])), "go down to -2, expected none below 0"),
    (lambda: reliability(edges=[0.0]), "edges of lstm are [0], expected at least two"),
    (lambda: reliability(edges=[0.0, 0.5, 0.5]), "edges of lstm are [0, 0.5, 0.5]"),
    (lambda: reliability(edges=[0.0, 50.0, 100.0]), "to 1 or less"),
    (lambda: reliability(edges=[0.0, math.nan, 1.0]), "edges of lstm are [0, nan, 1]"),
    (lambda: reliability(confidence=[0.4]), "confidence of lstm has 1 values, expected 2"),
    (lambda: reliability(accuracy=[50.0, 80.0]), "expected values from 0 to 1"),
    (lambda: reliability(count=[-1, 2]), "count of lstm is [-1, 2], expected 0 or more"),
    (lambda: reliability(ece=3.5), "ece of lstm is 3.5, expected a share from 0 to 1"),
    (lambda: reliability(temperature=0.0), "temperature of lstm is 0, expected a number above 0"),
    (lambda: reliability(temperature=math.nan), "temperature of lstm is nan"),
    (lambda: Early({"gru": {0.0: 50.0}}), "gru has the share 0, expected one above 0"),
    (lambda: Early({"gru": {50.0: 50.0}}), "gru has the share 50"),
    (lambda: Early({"gru": {0.5: 101.0}}), "accuracy of gru at 0.5 is 101, expected 0 to 100"),
    (lambda: wrong(probability_of_truth=1.5), "probability_of_truth of 7 is 1.5"),
    (lambda: wrong(probability_of_answer=-0.1), "probability_of_answer of 7 is -0.1"),
    (lambda: wrong(image=np.zeros((8, 8), np.uint8)), "image of 7 is uint8 of shape [8, 8]"),
    (lambda: wrong(image=np.zeros((1, 8, 8))), "image of 7 is float64"),
    (lambda: wrong(image=np.zeros((1, 0, 8), np.uint8)), "of shape [1, 0, 8]"),
    (lambda: wrong(series=np.zeros(8)), "series of 7 has shape [8], expected [time, features]"),
    (lambda: ClassPart(wrong=[wrong()]), "wrong_model is empty, expected the model that is wrong"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), BAD)
def test_what_is_refused(make, message):
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_mistakes_come_in_falling_order_and_ties_in_that_of_the_classes():
    one = Confusion("gru", ("a", "b", "c"), np.array([[9, 1, 2], [0, 9, 2], [1, 0, 9]]))
    assert one.mistakes(3) == [(0, 2, 2), (1, 2, 2), (0, 1, 1)]
    assert one.mistakes(99)[3:] == [(2, 0, 1)]
    assert one.counts[0, 0] == 9  # it is not changed
    assert math.isnan(Confusion("gru", ("a",), np.array([[0]])).accuracy)


def test_models_are_named_once_in_their_order():
    part = ClassPart([confusion(model="b")], [reliability()], Early({"a": {}, "b": {}}),
                     [wrong()], "c")  # fmt: skip
    assert part.models() == ["b", "lstm", "a", "c"]
    assert ClassPart(wrong_model="c").models() == []
