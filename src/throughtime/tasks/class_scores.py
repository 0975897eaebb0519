"""How good probabilities of classes are: how often they are right, and whether they mean it.

Probabilities are float64 `[rows, classes]`. Of one class per row each row sums to 1, and targets
are int64 `[rows]`; of several each cell stands for itself, and targets are 0 or 1, of the same
shape. Shares are in %.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from throughtime.errors import InputError

LEAST = 1e-15
"""What a probability counts at least in a log loss: one wrong zero shall not outweigh all."""

BINS = 15
"""Bins of the calibration error, as in Guo et al. 2017."""

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Shares of the steps after which a sequence is judged."""


class Reliability(NamedTuple):
    """What was claimed and what was true, by the claim; of an empty bin NaN.

    Attributes:
        edges: of the bins, `[bins + 1]` from 0 to 1; a bin holds its upper edge.
        confidence: mean probability within each bin.
        accuracy: share that is right within each, from 0 to 1.
        count: claims within each.
    """

    edges: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray  # pyright: ignore[reportIncompatibleMethodOverride]


def class_scores(probabilities: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    r"""Scores where each row has one class; the answer is the most probable, of equals the first.

    With $p_{ik}$ the probability of class k in row i of N, and $y_i$ its class:

    $$\mathrm{log\ loss} = -\frac{1}{N}\sum_i \ln p_{i y_i}, \qquad
    \mathrm{Brier} = \frac{1}{N}\sum_i \sum_k (p_{ik} - [k = y_i])^2$$

    Args:
        probabilities: `[rows, classes]`, each row sums to 1.
        targets: number of the class of each row.

    Returns:
        `accuracy`, `balanced` (mean recall of the classes that occur), `f1` (mean over the classes
        that occur in targets or answers) and `ece`, the calibration error (see `reliability`), in
        %; `log_loss` in nats per row; `brier` from 0 to 2.

    Errors:
        InputError: no rows, other shapes, or values that are no probabilities or no classes.

    Examples:
        >>> found = class_scores(np.array([[0.8, 0.2], [0.6, 0.4]]), np.array([0, 1]))
        >>> found["accuracy"], found["balanced"], round(found["f1"], 1), round(found["brier"], 2)
        (50.0, 50.0, 33.3, 0.4)

    References:
        Brier 1950, "Verification of forecasts expressed in terms of probability".
        Guo et al. 2017, "On calibration of modern neural networks".
    """
    _check_one("class_scores", probabilities, targets)
    table = _table(probabilities.argmax(1), targets, probabilities.shape[1])
    right, truths, answers = table.diagonal(), table.sum(1), table.sum(0)
    occur, either = truths > 0, truths + answers > 0
    truth = probabilities[np.arange(len(targets)), targets]
    # Of the right class (1 - p)^2 counts in place of p^2.
    brier = (probabilities**2).sum(1) + 1 - 2 * truth
    return {
        "accuracy": 100 * float(right.sum() / len(targets)),
        "balanced": 100 * float((right[occur] / truths[occur]).mean()),
        "f1": 100 * float((2 * right[either] / (truths + answers)[either]).mean()),
        "log_loss": -float(np.log(truth.clip(LEAST, 1)).mean()),
        "ece": _calibration_error(reliability(probabilities, targets)),
        "brier": float(brier.mean()),
    }


def several_scores(probabilities: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Scores where a row may have any number of classes; the answer is yes from 1/2 on.

    Args:
        probabilities: `[rows, classes]`, each for itself.
        targets: 0 or 1, of the same shape.

    Returns:
        In %: `accuracy` (rows with all classes right), `balanced` (of each class the mean of
        recall and of the same for its absence, or the one there is, and the mean of these), `f1`
        (mean over the classes that occur in targets or answers), `f1_micro` (of all cells
        together; 100, as `f1`, where nothing was to be found and nothing was) and `ece` (of all
        cells). `log_loss` in nats per cell; `brier` per cell, from 0 to 1.

    Errors:
        InputError: no rows, other shapes, or values that are no probabilities or not 0 or 1.

    Examples:
        >>> found = several_scores(np.array([[0.9, 0.2], [0.6, 0.1]]), np.array([[1, 0], [0, 0]]))
        >>> found["accuracy"], found["balanced"], round(found["f1_micro"], 1)
        (50.0, 75.0, 66.7)
    """
    _check_several("several_scores", probabilities, targets)
    yes, true = probabilities >= 0.5, targets > 0
    hits, answered, truths = (yes & true).sum(0), yes.sum(0), true.sum(0)
    either = answered + truths > 0
    with np.errstate(invalid="ignore"):  # a class that always or never is has one of the two
        recalls = np.stack([hits / truths, (~yes & ~true).sum(0) / (~true).sum(0)])
    f1 = 2 * hits[either] / (answered + truths)[either]
    given = np.where(true, probabilities, 1 - probabilities).clip(LEAST, 1)
    return {
        "accuracy": 100 * float((yes == true).all(1).mean()),
        "balanced": 100 * float(np.nanmean(recalls, 0).mean()),
        "f1": 100 * float(f1.mean()) if len(f1) else 100.0,
        "f1_micro": 100 * float(2 * hits.sum() / (answered + truths).sum()) if len(f1) else 100.0,
        "log_loss": -float(np.log(given).mean()),
        "ece": _calibration_error(reliability(probabilities, targets)),
        "brier": float(((probabilities - true) ** 2).mean()),
    }


def confusion(answers: np.ndarray, targets: np.ndarray, classes: int) -> np.ndarray:
    """How often each class was taken for each.

    Args:
        answers: numbers of classes `[rows]`, or probabilities `[rows, classes]`.
        targets: number of the class of each row.
        classes: how many there are.

    Returns:
        int64 `[classes, classes]`: the truth down, the answer across.

    Errors:
        InputError: other shapes, or numbers of no class.

    Examples:
        >>> confusion(np.array([0, 1, 1]), np.array([0, 0, 1]), 2).tolist()
        [[1, 1], [0, 1]]
    """
    if answers.ndim == 2:
        if answers.shape[1] != classes:
            raise InputError(
                f"confusion: answers have shape {list(answers.shape)}, expected [rows, {classes}]"
            )
        answers = answers.argmax(1) if len(answers) else np.zeros(0, np.int64)
    _check_numbers("confusion", "answers", answers, len(targets), classes)
    _check_numbers("confusion", "targets", targets, len(answers), classes)
    return _table(answers, targets, classes)


def reliability(probabilities: np.ndarray, targets: np.ndarray, bins: int = BINS) -> Reliability:
    r"""How often claims of each strength are true.

    Of one class per row a claim is the most probable class, and it is true where it is right. Of
    several each cell is a claim: that the class is there. The calibration error is

    $$\mathrm{ECE} = \sum_b \frac{n_b}{n} \left| \mathrm{accuracy}_b - \mathrm{confidence}_b
    \right|$$

    Args:
        probabilities: `[rows, classes]`.
        targets: numbers `[rows]`, or 0 and 1 `[rows, classes]`.
        bins: of equal width.

    Errors:
        InputError: no bins, or as `class_scores` and `several_scores`.

    Examples:
        >>> found = reliability(np.array([[0.9, 0.1], [0.3, 0.7]]), np.array([0, 0]), bins=2)
        >>> found.count.tolist(), found.confidence[1].round(2).item(), found.accuracy[1].item()
        ([0, 2], 0.8, 0.5)

    References:
        Guo et al. 2017, "On calibration of modern neural networks".
    """
    if bins < 1:
        raise InputError(f"reliability: bins is {bins}, expected at least 1")
    if targets.ndim == 2:
        _check_several("reliability", probabilities, targets)
        claims, true = probabilities.ravel(), targets.ravel() > 0
    else:
        _check_one("reliability", probabilities, targets)
        claims, true = probabilities.max(1), probabilities.argmax(1) == targets
    edges = np.linspace(0, 1, bins + 1)
    place = (np.searchsorted(edges, claims, side="left") - 1).clip(0, bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(place, claims, minlength=bins) / count
        accuracy = np.bincount(place, true, minlength=bins) / count
    return Reliability(edges, confidence, accuracy, count)


def most_wrong(probabilities: np.ndarray, targets: np.ndarray, count: int) -> np.ndarray:
    """Rows in whose class there was least belief, those with a wrong answer first.

    Args:
        probabilities: `[rows, classes]`.
        targets: number of the class of each row.
        count: rows asked for, at most.

    Returns:
        Their numbers, the least probable truth first; of equals in their order.

    Errors:
        InputError: a negative count, or as `class_scores`.

    Examples:
        >>> most_wrong(np.array([[0.9, 0.1], [0.3, 0.7], [0.4, 0.6]]), np.array([0, 0, 0]), 2)
        array([1, 2])
    """
    if count < 0:
        raise InputError(f"most_wrong: count is {count}, expected at least 0")
    _check_one("most_wrong", probabilities, targets)
    truth = probabilities[np.arange(len(targets)), targets]
    return np.lexsort((truth, probabilities.argmax(1) == targets))[:count]


def early_accuracy(
    answers: Sequence[np.ndarray], targets: np.ndarray, shares: Sequence[float] = SHARES
) -> dict[float, float]:
    r"""How many sequences are told rightly after a share of their steps.

    Sequence i of $t_i$ steps is judged by its answer after
    $\max(1, \lceil s\, t_i \rceil)$ of them.

    Args:
        answers: of each sequence the numbers of the classes after each step, `[time]`.
        targets: number of the class of each.
        shares: s, above 0 and up to 1.

    Returns:
        The accuracy in % for each share.

    Errors:
        InputError: no sequences, one without steps, as many targets, or another share.

    Examples:
        >>> early_accuracy([np.array([0, 1]), np.array([1, 1, 1, 0])], np.array([1, 1]), (0.5, 1.0))
        {0.5: 50.0, 1.0: 50.0}
    """
    if not len(answers) or len(answers) != len(targets):
        raise InputError(
            f"early_accuracy: there are {len(answers):,} sequences and {len(targets):,} targets, "
            "expected as many, and at least one"
        )
    for share in shares:
        if not 0 < share <= 1:
            raise InputError(f"early_accuracy: a share is {share}, expected above 0 and up to 1")
    for row, one in enumerate(answers):
        if one.ndim != 1 or not len(one):
            raise InputError(
                f"early_accuracy: answers of sequence {row} have shape {list(one.shape)}, expected "
                "[time] with at least one step"
            )
    found = {}
    for share in shares:
        # A product such as 0.1 · 30 lies a rounding above 3, and is three steps all the same.
        steps = [max(1, math.ceil(share * len(one) - 1e-9)) for one in answers]
        said = np.array([one[step - 1] for one, step in zip(answers, steps, strict=True)])
        found[share] = 100 * float((said == targets).mean())
    return found


def _table(answers: np.ndarray, targets: np.ndarray, classes: int) -> np.ndarray:
    cells = np.bincount(targets * classes + answers, minlength=classes * classes)
    return cells.reshape(classes, classes)


def _calibration_error(found: Reliability) -> float:
    gaps = np.abs(found.accuracy - found.confidence)[found.count > 0]
    return 100 * float((gaps * found.count[found.count > 0]).sum() / found.count.sum())


def _check_numbers(what: str, name: str, numbers: np.ndarray, rows: int, classes: int) -> None:
    if numbers.shape != (rows,) or not np.issubdtype(numbers.dtype, np.integer):
        raise InputError(
            f"{what}: {name} are {numbers.dtype} of shape {list(numbers.shape)}, expected integers "
            f"of shape [{rows}]"
        )
    if rows and not (numbers.min() >= 0 and numbers.max() < classes):
        raise InputError(
            f"{what}: {name} lie from {numbers.min()} to {numbers.max()}, expected 0 to "
            f"{classes - 1}"
        )


def _check_probabilities(what: str, probabilities: np.ndarray) -> None:
    if probabilities.ndim != 2 or not probabilities.size:
        raise InputError(
            f"{what}: probabilities have shape {list(probabilities.shape)}, expected "
            "[rows, classes] with at least one of each"
        )
    least, largest = float(probabilities.min()), float(probabilities.max())
    # Sums of float32 pass 1 by a rounding. NaN fails any comparison.
    if not (least >= 0 and largest <= 1 + 1e-5):
        raise InputError(
            f"{what}: probabilities lie from {least:.6g} to {largest:.6g}, expected 0 to 1"
        )


def _check_one(what: str, probabilities: np.ndarray, targets: np.ndarray) -> None:
    _check_probabilities(what, probabilities)
    _check_numbers(what, "targets", targets, *probabilities.shape)
    sums = probabilities.sum(1)
    row = int(np.abs(sums - 1).argmax())
    if abs(sums[row] - 1) > 1e-3:
        raise InputError(f"{what}: probabilities of row {row} sum to {sums[row]:.6g}, expected 1")


def _check_several(what: str, probabilities: np.ndarray, targets: np.ndarray) -> None:
    _check_probabilities(what, probabilities)
    if targets.shape != probabilities.shape:
        raise InputError(
            f"{what}: targets have shape {list(targets.shape)}, expected "
            f"{list(probabilities.shape)} as the probabilities"
        )
    other = targets[(targets != 0) & (targets != 1)]
    if len(other):
        raise InputError(f"{what}: a target is {other[0]}, expected 0 or 1")
