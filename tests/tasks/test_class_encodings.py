"""Vectors of examples and what is nearest, against scikit-learn, numpy and the definitions."""

import numpy as np
import pytest

from throughtime.errors import InputError
from throughtime.tasks import class_encodings
from throughtime.tasks.class_encodings import (
    Grams,
    Standard,
    Warped,
    finder,
    pixels,
    resampled,
    summaries,
    summary,
)


class TestGrams:
    TEXTS = ("Ein Hund läuft", "eine  Katze\tsitzt", "너무재밓었다 그래서", "", "aaaa")

    def test_as_scikit_learn(self):
        feature = pytest.importorskip("sklearn.feature_extraction.text")
        padded = [f" {' '.join(text.lower().split())} " for text in self.TEXTS]
        counts = feature.CountVectorizer(analyzer="char", ngram_range=(1, 4))
        assert counts.fit(padded).vocabulary_
        # The vectorizer shrinks white space before it counts, and would lose the empty text.
        known = sorted({text[at : at + n] for text in padded for n in range(1, 5)
                        for at in range(len(text) - n + 1)} - {" "})  # fmt: skip
        cut = feature.TfidfVectorizer(
            analyzer=lambda text: [
                text[at : at + n] for n in range(1, 5) for at in range(len(text) - n + 1)
            ],
            vocabulary=known,
            sublinear_tf=True,
        )
        expected = cut.fit_transform(padded)
        found = Grams(self.TEXTS)(self.TEXTS)
        assert found.shape == expected.shape
        assert found.nnz == expected.nnz
        alike = (found @ found.T).toarray()
        assert alike == pytest.approx((expected @ expected.T).toarray(), abs=1e-6)
        assert alike.diagonal() == pytest.approx(1)
        # Each column is one of theirs, whatever their order.
        assert np.sort(found.sum(0)) == pytest.approx(np.sort(expected.sum(0)), abs=1e-5)

    def test_parts_change_nothing(self, monkeypatch):
        whole = Grams(self.TEXTS)(self.TEXTS)
        monkeypatch.setattr(class_encodings, "CHARACTERS", 10)
        parts = Grams(self.TEXTS)(self.TEXTS)
        assert abs(whole - parts).max() == 0

    def test_unknown_texts_are_zero(self):
        grams = Grams(["abc"])
        assert grams(["xyz", ""]).nnz == 0
        assert grams([]).shape == (0, grams(["abc"]).shape[1])

    def test_most_keeps_what_stands_in_most_texts(self):
        grams = Grams(["ab", "ac", "ad"], most=2)  # "a" and " a"
        assert grams(["a"]).nnz == 2
        assert grams(["b"]).nnz == 0
        with pytest.raises(InputError, match="most is 0, expected at least 1"):
            Grams(["a"], 0)

    def test_single_ones_go_from_a_thousand_texts_on(self, monkeypatch):
        few = Grams(["ab", "ab", "xy"])
        assert few(["xy"]).nnz > 0
        monkeypatch.setattr(class_encodings, "SINGLE_BELOW", 3)
        many = Grams(["ab", "ab", "xy"])
        assert many(["xy"]).nnz == 0
        assert many(["ab"]).nnz == few(["ab"]).nnz


class TestSummary:
    @pytest.mark.parametrize("seed", range(4))
    def test_as_numpy(self, seed):
        random = np.random.default_rng(seed)
        one = random.normal(size=(12, 4)) * (1, 10, 100, 1000)
        one[random.random(one.shape) < 0.3] = np.nan
        found = summary(one)
        table = found[:-1].reshape(7, 4)
        assert found[-1] == 12
        for feature in range(4):
            at = np.flatnonzero(~np.isnan(one[:, feature]))
            x = one[at, feature]
            slope = np.polyfit(at, x, 1)[0]
            expected = (x.mean(), x.std(), x.min(), x.max(), x[0], x[-1], slope)
            assert table[:, feature] == pytest.approx(expected)

    def test_little_is_known(self):
        one = np.array([[np.nan, np.nan], [3.0, np.nan]])
        table = summary(one)[:-1].reshape(7, 2)
        assert table[:, 0].tolist() == [3, 0, 3, 3, 3, 3, 0]
        assert np.isnan(table[:, 1]).all()
        empty = summary(np.zeros((0, 2)))
        assert empty[-1] == 0
        assert np.isnan(empty[:-1]).all()

    def test_many(self):
        found = summaries([np.ones((2, 3), np.float32), np.zeros((5, 3))])
        assert found.shape == (2, 22)
        assert found[:, -1].tolist() == [2, 5]


class TestNumbers:
    def test_resampled(self):
        one = np.array([[0.0, 5.0], [2.0, np.nan], [4.0, 7.0]])
        found = resampled([one, one[:1], one[:0]], 5).reshape(3, 5, 2)
        assert found[0, :, 0].tolist() == [0, 1, 2, 3, 4]
        assert found[0, :, 1].tolist() == [5, 5.5, 6, 6.5, 7]
        assert (found[1] == (0, 5)).all()
        assert np.isnan(found[2]).all()

    def test_pixels(self):
        random = np.random.default_rng(0)
        some = random.integers(0, 256, (3, 2, 8, 6), dtype=np.uint8)
        assert pixels(some) == pytest.approx(some.reshape(3, -1) / 255)
        halved = some.reshape(3, 2, 4, 2, 6).mean(3) / 255
        assert pixels(some, side=4)[:, :8].shape == (3, 8)
        assert pixels(some[..., :4], side=4) == pytest.approx(
            halved[..., :4].reshape(3, -1), abs=1e-6
        )
        odd = pixels(some[:, :, :7], side=4).reshape(3, 2, 4, 4)  # rows 0, 1-2, 3-4, 5-6
        assert odd[:, :, 0, 0] == pytest.approx(some[:, :, 0, 0] / 255)
        assert odd[:, :, 1, 0] == pytest.approx(some[:, :, 1:3, 0].mean(2) / 255)
        assert pixels(np.full((1, 1, 99, 50), 255, np.uint8)).tolist() == [[1.0] * 1024]
        assert pixels(some[:0]).shape == (0, 96)

    def test_standard(self):
        random = np.random.default_rng(0)
        some = random.normal(3, 7, (50, 3))
        some[:, 1] = 0.1  # its mean is another number, by rounding
        some[::3, 2] = np.nan
        found = Standard(some)(some)
        assert found[:, 0].mean() == pytest.approx(0, abs=1e-12)
        assert found[:, 0].std() == pytest.approx(1)
        assert np.abs(found[:, 1]).max() < 1e-9
        assert (found[::3, 2] == 0).all()
        rest = np.delete(found[:, 2], np.s_[::3])
        assert rest.std() == pytest.approx(1)

    def test_standard_bounds_what_lies_far(self):
        standard = Standard(np.array([[0.0], [2.0]]))
        found = standard(np.array([[1e9], [-np.inf], [np.inf], [np.nan]]))
        assert found.ravel().tolist() == [1000, -1000, 1000, 0]
        assert Standard(np.full((3, 1), np.nan))(np.ones((1, 1))).tolist() == [[1]]


def warped_plainly(a, b):
    """The definition."""
    table = np.full((len(a) + 1, len(b) + 1), np.inf)
    table[0, 0] = 0
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            cost = ((a[i - 1] - b[j - 1]) ** 2).sum()
            table[i, j] = cost + min(table[i - 1, j], table[i, j - 1], table[i - 1, j - 1])
    return table[-1, -1]


class TestNearestOf:
    @pytest.mark.parametrize("seed", range(5))
    def test_warped_is_the_definition(self, seed):
        random = np.random.default_rng(seed)
        known = [random.normal(size=(random.integers(1, 9), 2)) for _ in range(12)]
        warped = Warped(known)
        for steps in (1, 2, 5, 13):
            one = random.normal(size=(steps, 2))
            expected = [warped_plainly(one, each) for each in known]
            assert warped.distances(one) == pytest.approx(expected)
            assert warped(one) == int(np.argmin(expected))

    def test_warping_forgives_pace(self):
        ramp, flat = np.arange(6.0)[:, None], np.full((6, 1), 2.5)
        find, how = finder("series", [flat, ramp])
        assert how == "by dynamic time warping"
        assert find([np.repeat(ramp, 3, axis=0), flat[:2]]).tolist() == [1, 0]

    def test_series_without_steps(self):
        find, _ = finder("series", [np.zeros((0, 1)), np.full((3, 1), 9.0), np.full((2, 1), 8.0)])
        assert find([np.full((5, 1), 9.0), np.full((1, 1), 8.1)]).tolist() == [1, 2]
        assert len(find([np.zeros((0, 1))])) == 1
        assert len(finder("series", [np.zeros((0, 1))] * 2)[0]([np.ones((2, 1))])) == 1

    def test_long_series_are_not_warped(self, monkeypatch):
        monkeypatch.setattr(class_encodings, "WARPED_MOST", 100)
        random = np.random.default_rng(0)
        rows = [random.normal(size=(random.integers(20, 31), 2)).cumsum(0) for _ in range(20)]
        rows[3] = np.full_like(rows[3], np.nan)
        find, how = finder("series", rows)
        assert how.startswith("by 2")
        assert find(rows).tolist() == list(range(20))

    @pytest.mark.parametrize("count", [1, 300])
    def test_images_by_all_distances(self, count):
        random = np.random.default_rng(count)
        known = random.integers(0, 256, (40, 3, 5, 5), dtype=np.uint8)
        asked = random.integers(0, 256, (count, 3, 5, 5), dtype=np.uint8)
        find, _ = finder("images", known)
        far = ((pixels(asked)[:, None] - pixels(known)[None]) ** 2).sum(2)
        assert (find(asked) == far.argmin(1)).all()

    def test_texts_and_of_equals_the_first(self):
        find, _ = finder("texts", ["a dog", "a CAT", "a  cat"])
        assert find(["cat", "A Dog"]).tolist() == [1, 0]
