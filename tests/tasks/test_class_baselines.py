"""Baselines of classification."""

import builtins
import math

import numpy as np
import pytest

from throughtime.data.examples import Examples
from throughtime.data.labels import Labels
from throughtime.errors import InputError, MissingExtra
from throughtime.tasks import class_baselines
from throughtime.tasks.class_baselines import RULES, Logistic, Majority, Nearest
from throughtime.tasks.class_scores import class_scores


def texts(values, labels=None):
    return Examples("texts", list(values), labels, [str(at) for at in range(len(values))])


def series(values, labels=None):
    features = tuple(f"x{at}" for at in range(values[0].shape[1]))
    return Examples("series", values, labels, [str(at) for at in range(len(values))], features)


def images(values, labels=None):
    return Examples("images", values, labels, [str(at) for at in range(len(values))])


def waves(seed, count=60):
    """Slow and fast waves of any length and phase, on features of very different sizes."""
    random = np.random.default_rng(seed)
    values, labels = [], []
    for at in range(count):
        time = np.arange(random.integers(20, 31))[:, None] * (0.3, 0.9)[at % 2]
        wave = np.sin(time + random.uniform(0, 0.5)) + 0.1 * random.normal(size=time.shape)
        values.append(np.hstack([wave, 1000 * random.normal(size=time.shape).cumsum(0)]))
        labels.append(("slow", "fast")[at % 2])
    return series(values, labels)


def animals(seed, count=60):
    random = np.random.default_rng(seed)
    said = {"cat": ["meows", "purrs", "scratches"], "dog": ["barks", "fetches", "growls"]}
    labels = [("cat", "dog")[at % 2] for at in range(count)]
    ends = ("here", "there", "now", "again")
    return texts(
        [f"it {random.choice(said[label])} {random.choice(ends)}" for label in labels], labels
    )


def squares(seed, count=60):
    """Bright on the left or on the right."""
    random = np.random.default_rng(seed)
    values = random.integers(0, 100, (count, 1, 6, 6), dtype=np.uint8)
    for at, value in enumerate(values):
        value[..., (at % 2) * 3 : (at % 2) * 3 + 3] += np.uint8(100)
    return images(values, [("left", "right")[at % 2] for at in range(count)])


MAKERS = {"texts": animals, "series": waves, "images": squares}


def classes(examples):
    return Labels.fit(examples.labels or [])


def accuracy(rule, examples):
    answers = rule.probabilities(examples).argmax(1)
    return float((answers == rule.labels.encode(examples.labels)).mean())


def refused(message, function, *args, **options):
    with pytest.raises(InputError, match=message) as caught:
        function(*args, **options)
    assert "\n" not in str(caught.value)


class TestMajority:
    def test_one(self):
        rule = Majority(texts("abcd", ["x", "y", "y", "y"]), Labels(("x", "y", "z")))
        found = rule.probabilities(texts("pq"))
        assert found == pytest.approx(np.array([[2, 4, 1]] * 2) / 7)
        assert found.dtype == np.float64

    def test_several(self):
        rule = Majority(texts("abc", [("x",), (), ("x", "y")]), Labels(("x", "y"), "several"))
        assert rule.probabilities(texts("p")) == pytest.approx(np.array([[3 / 5, 2 / 5]]))

    def test_steps(self):
        some = series([np.zeros((3, 1)), np.zeros((2, 1))], [["x", "", "y"], ["y", ""]])
        rule = Majority(some, Labels(("x", "y"), "steps"))
        found = rule.probabilities(some)
        assert [part.shape for part in found] == [(3, 2), (2, 2)]
        assert found[1][0] == pytest.approx([2 / 5, 3 / 5])


class TestNearest:
    @pytest.mark.parametrize("kind", MAKERS)
    def test_tells_classes(self, kind):
        training, test = MAKERS[kind](0), MAKERS[kind](1)
        rule = Nearest(training, classes(training))
        assert accuracy(rule, test) > 0.9
        assert accuracy(rule, training) == 1
        found = rule.probabilities(test)
        assert found.sum(1) == pytest.approx(1)
        assert found.min() > 0
        assert rule.note.startswith("the class of the nearest training example, by ")
        assert ";" not in rule.note

    def test_trust_is_what_validation_says(self):
        training = texts(["cat", "dog", "bird"], ["c", "d", "b"])
        labels = Labels(("b", "c", "d"))
        checked = texts(["cats", "dogs", "birds", "a cat"], ["c", "d", "b", "b"])
        found = Nearest(training, labels, validation=checked).probabilities(texts(["dogs"]))
        assert found[0] == pytest.approx([1 / 6, 1 / 6, 4 / 6])  # 3 of 4 are right: 4 / 6

    def test_the_nearest_stays_the_answer_where_it_is_never_right(self):
        training = texts(["cat", "dog"], ["c", "d"])
        wrong = texts(["cat", "dog"] * 9, ["d", "c"] * 9)
        rule = Nearest(training, Labels(("c", "d")), validation=wrong)
        found = rule.probabilities(training)
        assert found.argmax(1).tolist() == [0, 1]
        assert found.max() < 0.51

    def test_trust_without_validation(self):
        # Labels by chance: one of two is right. Without held-out rows all would be.
        random = np.random.default_rng(0)
        values = random.integers(0, 256, (400, 1, 2, 2), dtype=np.uint8)
        rule = Nearest(images(values, random.choice(["x", "y"], 400).tolist()), Labels(("x", "y")))
        assert 0.5 < rule.trust < 0.75
        few = Nearest(texts(["cat", "dog"], ["c", "d"]), Labels(("c", "d")))
        assert few.trust == pytest.approx(0.505)

    def test_many_are_cut_evenly(self, monkeypatch):
        monkeypatch.setattr(class_baselines, "CELLS_MOST", 36 * 10)
        some = squares(0, 100)
        rule = Nearest(some, classes(some))
        assert np.bincount(rule.targets).tolist() == [5, 5]
        assert rule.note.endswith("; of 100 for training 10")
        again = Nearest(some, classes(some))
        assert (again.targets == rule.targets).all()
        np.testing.assert_array_equal(again.probabilities(some), rule.probabilities(some))

    def test_is_for_one_class_only(self):
        assert [Nearest.applies(kind) for kind in ("one", "several", "steps")] == [True, 0, 0]
        refused("Nearest: labels are of kind 'several', expected one", Nearest,
                texts("a", [("x",)]), Labels(("x",), "several"))  # fmt: skip


class TestLogistic:
    @pytest.mark.parametrize("checked", [False, True])
    @pytest.mark.parametrize("kind", MAKERS)
    def test_tells_classes(self, kind, checked):
        training, test = MAKERS[kind](0), MAKERS[kind](1)
        labels = classes(training)
        rule = Logistic(training, labels, validation=MAKERS[kind](2) if checked else None)
        assert accuracy(rule, test) > 0.9
        found = rule.probabilities(test)
        assert found.sum(1) == pytest.approx(1)
        assert found.dtype == np.float64
        assert rule.note.startswith("logistic regression on ")

    def test_strength_is_chosen_on_validation(self, monkeypatch):
        random = np.random.default_rng(0)
        rows = [random.normal(size=(2, 3)) for _ in range(80)]
        noise = series(rows, random.choice(["x", "y"], 80).tolist())
        sure = series(rows, [("x", "y")[int(row[:, 0].mean() > 0)] for row in rows])
        best = []
        for some in (noise, sure):
            training, checked = some.take(range(40)), some.take(range(40, 80))
            targets = classes(some).encode(checked.labels or [])

            def loss(training=training, checked=checked, targets=targets):
                rule = Logistic(training, Labels(("x", "y")), validation=checked)
                return class_scores(rule.probabilities(checked), targets)["log_loss"]

            chosen, losses = loss(), []
            for strength in class_baselines.STRENGTHS:
                with monkeypatch.context() as only:
                    only.setattr(class_baselines, "STRENGTHS", (strength, strength))
                    losses.append(loss())
            assert chosen == min(losses) < max(losses)
            best.append(int(np.argmin(losses)))
        # Labels by chance want weak weights, labels without doubt strong ones.
        assert best[0] < best[1]

    def test_large_data_have_one_strength(self, monkeypatch):
        some = waves(0)
        fixed = Logistic(some, classes(some)).probabilities(some)
        monkeypatch.setattr(class_baselines, "CHOICE_MOST", 10)
        found = Logistic(some, classes(some), validation=waves(1)).probabilities(some)
        np.testing.assert_array_equal(found, fixed)

    def test_missing_numbers(self):
        some = waves(0)
        for row in some.values[::3]:
            row[::2, 0] = np.nan
        some.values[5][:, 1] = np.nan
        rule = Logistic(some, classes(some))
        assert np.isfinite(rule.probabilities(some)).all()
        assert accuracy(rule, some) > 0.9

    def test_several(self):
        words = [f"{'hot ' * (at % 2)}{'wet ' * (at // 2 % 2)}day" for at in range(40)]
        said = [("hot",) * (at % 2) + ("wet",) * (at // 2 % 2) + ("day",) for at in range(40)]
        labels = Labels(("day", "hot", "never", "wet"), "several")
        some = texts(words, said)
        for validation in (None, some):
            found = Logistic(some, labels, validation=validation).probabilities(texts(words[:4]))
            assert found.round().tolist() == [
                [1, 0, 0, 0],
                [1, 1, 0, 0],
                [1, 0, 0, 1],
                [1, 1, 0, 1],
            ]
            assert 0.9 < found[0, 0] < 1  # always there, and never: sure, but not wholly
            assert 0 < found[0, 2] < 0.1

    def test_steps_of_series(self):
        random = np.random.default_rng(0)
        rows = [random.normal(size=(5, 2)) for _ in range(30)]
        said = [["up" if step[0] > 0 else "down" for step in row] for row in rows]
        said[0][:3] = ["", "", ""]
        some = series(rows, said)
        labels = classes(some)
        for validation in (None, some):
            found = Logistic(some, labels, validation=validation).probabilities(some)
            assert [len(part) for part in found] == [5] * 30
            answers = np.concatenate(found).argmax(1)
            truths = np.concatenate([row[:, 0] > 0 for row in rows])
            assert (answers == truths).mean() > 0.9

    @pytest.mark.parametrize("unit", ["words", "characters"])
    def test_steps_of_texts(self, unit):
        pieces = ["der", "hund", "die", "katze"] if unit == "words" else list("abcd")
        said = ["art", "noun", "art", "noun"]
        join = " " if unit == "words" else ""
        some = texts([join.join(pieces), join.join(pieces[:2])] * 5, [said, said[:2]] * 5)
        rule = Logistic(some, Labels(("art", "noun"), "steps"))
        found = rule.probabilities(texts([join.join(pieces[::-1]), "", pieces[1]]))
        assert found[0].argmax(1).tolist() == [1, 0, 1, 0]
        assert found[1].shape == (0, 2)
        assert found[2].argmax(1).tolist() == [1]
        short = texts(["a b"], [["art"]])
        refused("0 has [23] (words|characters) and 1 labels", Logistic, short, rule.labels)

    def test_classes_that_training_lacks(self):
        some = animals(0)
        labels = Labels(("bird", "cat", "dog"))
        found = Logistic(some, labels).probabilities(some)
        assert found.shape == (60, 3)
        assert found.sum(1) == pytest.approx(1)
        assert 0 < found[:, 0].min() <= found[:, 0].max() < 0.05
        cats = some.take(range(0, 60, 2))
        assert Logistic(cats, labels).probabilities(some)[0] == pytest.approx(
            np.array([1, 31, 1]) / 33, abs=0.01
        )

    def test_many_are_cut_evenly(self, monkeypatch):
        monkeypatch.setattr(class_baselines, "CELLS_MOST", 15 * 20)
        some = waves(0)
        rule = Logistic(some, classes(some))
        assert rule.note == "logistic regression on summaries of series; of 60 for training 20"
        monkeypatch.setattr(
            class_baselines, "CHARACTERS_MOST", 1 + sum(map(len, animals(0).values)) // 3
        )
        rule = Logistic(animals(0), Labels(("cat", "dog")))
        assert rule.note == "logistic regression on n-grams of characters; of 60 for training 20"

    def test_without_scikit_learn(self, monkeypatch):
        real = builtins.__import__

        def none(name, *args, **options):
            if name.split(".")[0] in ("sklearn", "scipy"):
                raise ImportError(name)
            return real(name, *args, **options)

        monkeypatch.setattr(builtins, "__import__", none)
        for some in (animals(0), squares(0)):
            with pytest.raises(MissingExtra, match=r"scikit-learn: pip install '.*\[classify\]'"):
                Logistic(some, classes(some))
            for rule in (Majority, Nearest):
                assert len(rule(some, classes(some)).probabilities(some)) == 60


class TestAll:
    @pytest.mark.parametrize("kind", MAKERS)
    @pytest.mark.parametrize("name", RULES)
    def test_nothing_asked_nothing_answered(self, name, kind):
        some = MAKERS[kind](0, 20)
        rule = RULES[name](some, classes(some))
        assert rule.probabilities(some.take([])).shape == (0, 2)
        one = rule.probabilities(some.take([7]))
        assert one == pytest.approx(rule.probabilities(some)[7:8], abs=1e-6)

    @pytest.mark.parametrize("name", RULES)
    @pytest.mark.parametrize("value", [1e300, 1e308, -math.inf, math.nan])
    def test_numbers_beyond_reason(self, name, value):
        rows = [np.full((3, 1), value), np.array([[-value], [value]]), np.ones((2, 1))]
        some = series(rows, ["x", "x", "y"])
        assert np.isfinite(RULES[name](some, Labels(("x", "y"))).probabilities(some)).all()

    @pytest.mark.parametrize("name", RULES)
    def test_refuses(self, name):
        rule, labels = RULES[name], Labels(("left", "right"))
        some = squares(0)
        refused("training has no examples", rule, some.take([]), labels)
        refused("training has no examples", rule, images(some.values), labels)
        fitted = rule(some, labels)
        refused(r"examples are texts, expected images of shape \[1, 6, 6\]", fitted.probabilities,
                texts("a"))  # fmt: skip
        refused(r"images of shape \[1, 6, 5\]", fitted.probabilities, images(some.values[..., 1:]))
        refused("examples are texts", rule, some, labels, validation=texts("a", ["left"]))
        refused("'left' does not occur in training", rule, some, Labels(("x", "y")))
        rows = [np.zeros((2, 1)), np.ones((2, 1))]
        fitted = rule(series(rows, ["left", "right"]), labels)
        refused("examples are series with 2 features, expected series with 1", fitted.probabilities,
                series([np.zeros((2, 2))]))  # fmt: skip

    @pytest.mark.parametrize("name", ["majority", "logistic"])
    def test_images_have_no_steps(self, name):
        some = images(np.zeros((1, 1, 2, 2), np.uint8), [["x"]])
        refused("training has images", RULES[name], some, Labels(("x", "y"), "steps"))

    @pytest.mark.parametrize("name", ["majority", "logistic"])
    def test_no_step_is_known(self, name):
        some = series([np.ones((2, 1))], [["", ""]])
        found = RULES[name](some, Labels(("x", "y"), "steps")).probabilities(some)
        assert found[0] == pytest.approx(np.full((2, 2), 0.5))
        assert RULES[name](some, Labels(("x", "y"), "steps")).probabilities(some.take([])) == []

    @pytest.mark.parametrize("name", RULES)
    def test_texts_without_a_character(self, name):
        some = texts(["", " ", "a", ""], ["x", "x", "y", "x"])
        found = RULES[name](some, Labels(("x", "y"))).probabilities(some)
        assert np.isfinite(np.log(found)).all()
        assert not math.isnan(found.sum())
