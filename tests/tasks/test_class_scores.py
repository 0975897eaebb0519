"""Scores of classes against scikit-learn's, and against counts by hand."""

import math

import numpy as np
import pytest

from throughtime.errors import InputError
from throughtime.tasks.class_scores import (
    LEAST,
    class_scores,
    confusion,
    early_accuracy,
    most_wrong,
    reliability,
    several_scores,
)


def drawn(seed, rows=200, classes=5, sharp=2.0):
    """Probabilities and targets that agree somewhat; the last class is never the truth."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(rows, classes)) * sharp
    targets = random.integers(0, classes - 1, rows)
    logits[np.arange(rows), targets] += sharp
    weights = np.exp(logits)
    return weights / weights.sum(1, keepdims=True), targets


def refused(message, function, *args, **options):
    with pytest.raises(InputError, match=message) as caught:
        function(*args, **options)
    assert "\n" not in str(caught.value)


class TestOneClass:
    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize(("rows", "classes"), [(1, 3), (40, 2), (300, 7)])
    def test_as_scikit_learn(self, seed, rows, classes):
        metrics = pytest.importorskip("sklearn.metrics")
        p, y = drawn(seed, rows, classes)
        answers = p.argmax(1)
        found = class_scores(p, y)
        assert found["accuracy"] == pytest.approx(100 * metrics.accuracy_score(y, answers))
        expected = metrics.f1_score(y, answers, average="macro", zero_division=0)
        assert found["f1"] == pytest.approx(100 * expected)
        known = np.unique(y)
        recall = metrics.recall_score(y, answers, labels=known, average="macro", zero_division=0)
        assert found["balanced"] == pytest.approx(100 * recall)
        expected = metrics.log_loss(y, p, labels=range(classes))
        assert found["log_loss"] == pytest.approx(expected)
        one_hot = np.eye(classes)[y]
        assert found["brier"] == pytest.approx(((p - one_hot) ** 2).sum(1).mean())

    def test_by_hand(self):
        p = np.array([[0.9, 0.1, 0.0], [0.6, 0.4, 0.0], [0.5, 0.25, 0.25], [0.2, 0.7, 0.1]])
        found = class_scores(p, np.array([0, 1, 0, 1]))
        assert found["accuracy"] == 75
        assert found["balanced"] == pytest.approx(75)  # 2 of 2 and 1 of 2; the third never occurs
        assert found["f1"] == pytest.approx(100 * (0.8 + 2 / 3) / 2)
        expected = -sum(map(math.log, (0.9, 0.4, 0.5, 0.7))) / 4
        assert found["log_loss"] == pytest.approx(expected)
        # Bins of 1/15: each claim has its own.
        assert found["ece"] == pytest.approx(100 * (0.1 + 0.6 + 0.5 + 0.3) / 4)
        brier = (0.01 + 0.01) + (0.36 + 0.36) + (0.25 + 0.0625 + 0.0625) + (0.04 + 0.09 + 0.01)
        assert found["brier"] == pytest.approx(brier / 4)

    def test_an_answer_that_never_occurs_counts_in_f1_alone(self):
        p = np.array([[1.0, 0, 0], [0, 0, 1.0]])
        found = class_scores(p, np.array([0, 0]))
        assert found["balanced"] == 50
        assert found["f1"] == pytest.approx(100 * (2 / 3 + 0) / 2)

    def test_perfect_and_wholly_wrong(self):
        y = np.array([0, 1, 2, 1])
        perfect = class_scores(np.eye(3)[y], y)
        assert perfect == {
            "accuracy": 100, "balanced": 100, "f1": 100, "log_loss": 0, "ece": 0, "brier": 0,
        }  # fmt: skip
        wrong = class_scores(np.eye(3)[(y + 1) % 3], y)
        assert wrong["accuracy"] == wrong["f1"] == 0
        assert wrong["log_loss"] == pytest.approx(-math.log(LEAST))
        assert wrong["ece"] == 100
        assert wrong["brier"] == 2

    def test_of_equals_the_first(self):
        p = np.full((2, 2), 0.5)
        assert class_scores(p, np.array([0, 1]))["accuracy"] == 50
        assert class_scores(p, np.array([1, 1]))["accuracy"] == 0

    def test_order_of_rows_means_nothing(self):
        p, y = drawn(3)
        order = np.random.default_rng(0).permutation(len(y))
        assert class_scores(p[order], y[order]) == pytest.approx(class_scores(p, y))

    def test_refuses(self):
        p, y = drawn(0, rows=4, classes=3)
        refused(r"shape \[0, 3\], expected \[rows, classes\]", class_scores, p[:0], y[:0])
        refused(r"shape \[4\], expected", class_scores, p[:, 0], y)
        refused(r"int64 of shape \[3\], expected integers of shape \[4\]", class_scores, p, y[:3])
        refused("targets are float64", class_scores, p, y.astype(float))
        refused("targets lie from -1 to -1, expected 0 to 2", class_scores, p, np.full(4, -1))
        refused("targets lie from 3 to 3", class_scores, p, np.full(4, 3))
        refused("lie from -0.1 to 1.1, expected 0 to 1", class_scores,
                np.array([[-0.1, 1.1]]), np.array([0]))  # fmt: skip
        refused("lie from nan", class_scores, np.array([[np.nan, 1]]), np.array([0]))
        odd = p.copy()
        odd[2] *= 0.5
        refused("row 2 sum to 0.5, expected 1", class_scores, odd, y)

    def test_takes_sums_of_half_precision(self):
        p, y = drawn(1)
        rounded = p.astype(np.float16).astype(np.float64)
        assert class_scores(rounded, y)["log_loss"] == pytest.approx(
            class_scores(p, y)["log_loss"], rel=1e-2
        )


class TestSeveralClasses:
    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize(("rows", "classes"), [(1, 1), (3, 2), (200, 6)])
    def test_as_scikit_learn(self, seed, rows, classes):
        metrics = pytest.importorskip("sklearn.metrics")
        random = np.random.default_rng(seed)
        p = random.random((rows, classes))
        y = (random.random((rows, classes)) < 0.3 + 0.4 * p).astype(np.float32)
        y[:, 0] = y[0, 0]  # one class always or never is
        answers = (p >= 0.5).astype(int)
        found = several_scores(p, y)
        exact = (answers == y).all(1).mean()
        assert found["accuracy"] == pytest.approx(100 * exact)
        either = [k for k in range(classes) if answers[:, k].any() or y[:, k].any()]
        if either:
            f1 = [metrics.f1_score(y[:, k], answers[:, k], zero_division=0) for k in either]
            assert found["f1"] == pytest.approx(100 * np.mean(f1))
            micro = metrics.f1_score(y.ravel(), answers.ravel(), zero_division=0)
            assert found["f1_micro"] == pytest.approx(100 * micro)
        balanced = [
            np.mean([(answers[y[:, k] == v, k] == v).mean() for v in np.unique(y[:, k])])
            for k in range(classes)
        ]
        assert found["balanced"] == pytest.approx(100 * np.mean(balanced))
        log_loss = metrics.log_loss(y.ravel(), p.ravel(), labels=[0, 1])
        assert found["log_loss"] == pytest.approx(log_loss)
        assert found["brier"] == pytest.approx(((p - y) ** 2).mean())

    def test_half_is_yes(self):
        y = np.array([[1.0, 0.0]])
        assert several_scores(np.array([[0.5, 0.49]]), y)["accuracy"] == 100
        assert several_scores(np.array([[0.49, 0.5]]), y)["accuracy"] == 0

    def test_nothing_to_find(self):
        none = np.zeros((3, 2))
        found = several_scores(none, none)
        assert found["f1"] == found["f1_micro"] == found["accuracy"] == found["balanced"] == 100
        assert several_scores(none + 1, none)["f1"] == 0

    def test_calibration_of_cells(self):
        # Cells at 0.2, of which one in two is true; and at 0.9, all true.
        p = np.array([[0.2, 0.9], [0.2, 0.9]])
        found = several_scores(p, np.array([[1, 1], [0, 1]]))
        assert found["ece"] == pytest.approx(100 * (0.5 * 0.3 + 0.5 * 0.1))

    def test_refuses(self):
        p = np.full((2, 3), 0.5)
        refused(r"targets have shape \[2\], expected \[2, 3\]", several_scores, p, np.zeros(2))
        refused("a target is 2.0, expected 0 or 1", several_scores, p, np.full((2, 3), 2.0))
        refused("a target is nan", several_scores, p, np.full((2, 3), np.nan))
        refused("at least one", several_scores, p[:0], np.zeros((0, 3)))


class TestConfusion:
    def test_as_scikit_learn(self):
        metrics = pytest.importorskip("sklearn.metrics")
        p, y = drawn(4)
        expected = metrics.confusion_matrix(y, p.argmax(1), labels=range(5))
        assert (confusion(p, y, 5) == expected).all()
        assert (confusion(p.argmax(1), y, 5) == expected).all()

    def test_truth_is_down_and_answer_across(self):
        found = confusion(np.array([2, 2]), np.array([1, 0]), 3)
        assert found.tolist() == [[0, 0, 1], [0, 0, 1], [0, 0, 0]]
        assert confusion(np.zeros(0, int), np.zeros(0, int), 2).tolist() == [[0, 0], [0, 0]]

    def test_refuses(self):
        y = np.array([0, 1])
        refused(r"expected \[rows, 3\]", confusion, np.full((2, 2), 0.5), y, 3)
        refused("answers lie from 0 to 2, expected 0 to 1", confusion, np.array([0, 2]), y, 2)
        refused("targets lie from -1 to 0", confusion, y, np.array([0, -1]), 2)
        refused(r"expected integers of shape \[2\]", confusion, np.array([0]), y, 2)


class TestReliability:
    def test_bins_hold_their_upper_edge(self):
        p = np.array([[0.5, 0.5], [0.75, 0.25], [1.0, 0.0], [0.76, 0.24]])
        found = reliability(p, np.array([0, 1, 0, 0]), bins=4)
        assert found.edges.tolist() == [0, 0.25, 0.5, 0.75, 1]
        assert found.count.tolist() == [0, 1, 1, 2]
        assert np.isnan(found.confidence[0])
        assert np.isnan(found.accuracy[0])
        assert found.confidence[1:] == pytest.approx([0.5, 0.75, 0.88])
        assert found.accuracy[1:].tolist() == [1, 0, 1]

    def test_cells_of_several(self):
        found = reliability(np.array([[0.0, 0.3], [1.0, 0.3]]), np.array([[0, 0], [1, 1]]), bins=2)
        assert found.count.tolist() == [3, 1]
        assert found.accuracy == pytest.approx([1 / 3, 1])
        assert found.confidence == pytest.approx([0.2, 1])

    def test_sums_to_the_error(self):
        p, y = drawn(5)
        found = reliability(p, y)
        assert len(found.count) == 15
        assert found.count.sum() == len(y)
        gap = np.nansum(np.abs(found.accuracy - found.confidence) * found.count) / len(y)
        assert class_scores(p, y)["ece"] == pytest.approx(100 * gap)

    def test_calibrated_claims_have_no_error(self):
        random = np.random.default_rng(0)
        claim = random.uniform(0.5, 1, 20_000)
        y = (random.random(20_000) > claim).astype(np.int64)
        p = np.stack([claim, 1 - claim], axis=1)
        assert class_scores(p, y)["ece"] < 2
        bold = np.stack([claim * 0 + 0.99, claim * 0 + 0.01], axis=1)
        assert class_scores(bold, y)["ece"] == pytest.approx(24, abs=2)

    def test_refuses(self):
        p, y = drawn(0, rows=2)
        refused("bins is 0", reliability, p, y, bins=0)
        refused("targets lie", reliability, p, y - 9)


class TestMostWrong:
    def test_wrong_answers_come_first(self):
        p = np.array(
            [
                [0.6, 0.4, 0.0],
                [0.2, 0.3, 0.5],
                [0.34, 0.33, 0.33],
                [0.05, 0.9, 0.05],
                [0.2, 0.3, 0.5],
            ]
        )
        y = np.array([1, 0, 0, 2, 0])
        # Row 2 is right with little belief; row 0 is wrong with more.
        assert most_wrong(p, y, 9).tolist() == [3, 1, 4, 0, 2]
        assert most_wrong(p, y, 2).tolist() == [3, 1]
        assert most_wrong(p, y, 0).tolist() == []

    def test_refuses(self):
        p, y = drawn(0, rows=2)
        refused("count is -1", most_wrong, p, y, -1)


class TestEarlyAccuracy:
    def test_steps_are_rounded_up(self):
        answers = [np.array([0] * 3 + [1] * 27), np.array([1])]
        found = early_accuracy(answers, np.array([1, 1]), (0.1, 0.11, 1.0))
        # 0.1 of 30 is 3 steps, though the product is a rounding above; the single step always is.
        assert found == {0.1: 50, 0.11: 100, 1.0: 100}

    def test_shares_of_ten(self):
        found = early_accuracy([np.arange(10)], np.array([6]))
        assert [share for share, score in found.items() if score == 100] == [0.7]
        assert len(found) == 10

    def test_refuses(self):
        one, y = [np.array([0])], np.array([0])
        refused("0 sequences and 0 targets", early_accuracy, [], np.zeros(0, int))
        refused("1 sequences and 2 targets", early_accuracy, one, np.array([0, 1]))
        refused("a share is 0.0, expected", early_accuracy, one, y, (0.0,))
        refused("a share is 1.5", early_accuracy, one, y, (1.5,))
        refused("a share is nan", early_accuracy, one, y, (math.nan,))
        refused(r"sequence 1 have shape \[0\]", early_accuracy, [*one, np.zeros(0, int)],
                np.array([0, 0]))  # fmt: skip
