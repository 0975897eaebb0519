"""Temperatures against their definition, looked for by hand."""

import math

import pytest
import torch
from torch.nn import functional as F

from throughtime.errors import InputError
from throughtime.tasks.calibration import COLDEST, HOTTEST, fit_shares, fit_temperature


def loss(logits, targets, temperature):
    z = logits.double() / temperature
    if targets.ndim == 1:
        return float(F.cross_entropy(z, targets))
    return float(F.binary_cross_entropy_with_logits(z, targets.double()))


def slope(logits, targets, temperature):
    """Of the loss, with respect to 1/T, by autograd."""
    scale = torch.tensor(1 / temperature, dtype=torch.float64, requires_grad=True)
    z = logits.double() * scale
    if targets.ndim == 1:
        value = F.cross_entropy(z, targets)
    else:
        value = F.binary_cross_entropy_with_logits(z, targets.double())
    value.backward()
    assert scale.grad is not None
    return scale.grad.item()


def drawn(seed, rows, classes, temperature, several):
    """Targets drawn from logits at a temperature: the best one is near it."""
    torch.manual_seed(seed)
    logits = 3 * torch.randn(rows, classes)
    if several:
        return logits, torch.bernoulli(torch.sigmoid(logits / temperature))
    return logits, torch.multinomial(torch.softmax(logits / temperature, 1), 1)[:, 0]


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5, 8.0])
def test_the_slope_vanishes_there(temperature, classes, several):
    logits, targets = drawn(1, 20_000, classes, temperature, several)
    found = fit_temperature(logits, targets)
    assert found == pytest.approx(temperature, rel=0.15)
    left, right = (slope(logits, targets, found * (1 + step)) for step in (-1e-6, 1e-6))
    assert right < 0 < left  # the loss falls towards it from both sides
    for other in (0.9 * found, 1.1 * found):
        assert loss(logits, targets, found) < loss(logits, targets, other)


@pytest.mark.parametrize("seed", range(10))
def test_small_parts(seed):
    """Few rows have odd losses; none found may be worse than any on a grid."""
    logits, targets = drawn(seed, 6, 3, 1.0, seed % 2 == 1)
    found = fit_temperature(10 * logits, targets)
    assert COLDEST <= found <= HOTTEST
    grid = [loss(10 * logits, targets, math.exp(at / 50)) for at in range(-149, 150)]
    assert loss(10 * logits, targets, found) <= min(grid) + 1e-9


def test_by_hand():
    # Right three times of four, always with the same margin of 4: p = 3/4, 4 / T = ln 3.
    logits = torch.tensor([[4.0, 0.0]] * 4)
    found = fit_temperature(logits, torch.tensor([0, 0, 0, 1]))
    assert found == pytest.approx(4 / math.log(3), rel=1e-6)
    found = fit_temperature(logits[:, :1], torch.tensor([[1.0], [1.0], [1.0], [0.0]]))
    assert found == pytest.approx(4 / math.log(3), rel=1e-6)


def test_bounds():
    right, wrong = torch.tensor([[1000.0, 0.0]] * 3), torch.tensor([1, 1, 1])
    assert fit_temperature(right / 1000, torch.tensor([0, 0, 0])) == pytest.approx(COLDEST)
    assert fit_temperature(right, wrong) == pytest.approx(HOTTEST)
    assert fit_temperature(-right[:, :1], torch.ones(3, 1)) == pytest.approx(HOTTEST)
    assert fit_temperature(right[:, :1] / 1000, torch.ones(3, 1)) == pytest.approx(COLDEST)


@pytest.mark.parametrize("several", [False, True])
def test_doubt_keeps_a_few_right_answers_from_certainty(several):
    # All right by a margin of 4: p = 1 - doubt / 2 is the best that can be said.
    if several:
        logits, targets = torch.full((3, 1), 4.0), torch.ones(3, 1)
    else:
        logits, targets = torch.tensor([[4.0, 0.0]] * 3), torch.zeros(3).long()
    found = fit_temperature(logits, targets, doubt=0.25)
    assert 1 / (1 + math.exp(-4 / found)) == pytest.approx(1 - 0.25 / 2)
    assert fit_temperature(logits, targets) == pytest.approx(COLDEST)


@pytest.mark.parametrize("classes", [2, 5])
def test_doubt_is_label_smoothing(classes):
    logits, targets = drawn(3, 200, classes, 2.0, False)
    found = fit_temperature(logits, targets, doubt=0.1)

    def smoothed(temperature):
        return float(F.cross_entropy(logits.double() / temperature, targets, label_smoothing=0.1))

    assert smoothed(found) < min(smoothed(0.99 * found), smoothed(1.01 * found))
    with pytest.raises(InputError, match=r"doubt is 1\.0, expected a share"):
        fit_temperature(logits, targets, doubt=1.0)


def test_one_where_nothing_is_better():
    same = torch.zeros(5, 3)
    assert fit_temperature(same, torch.tensor([0, 1, 2, 0, 1])) == 1.0
    assert fit_temperature(same, torch.ones(5, 3)) == 1.0
    # Already right beyond the last digit: a colder one changes no loss.
    assert fit_temperature(torch.tensor([[1000.0, 0.0]]), torch.tensor([0])) == 1.0
    assert fit_temperature(torch.tensor([[1.0], [-3.0]]) * 1000, torch.tensor([[1], [0]])) == 1.0


def test_shifted_logits_and_other_types_give_the_same():
    logits, targets = drawn(2, 500, 4, 2.0, False)
    found = fit_temperature(logits, targets)
    shift = 100 * torch.randn(500, 1, dtype=torch.float64)
    assert fit_temperature(logits.double() + shift, targets) == pytest.approx(found, rel=1e-6)
    assert fit_temperature(logits, targets.int()) == found
    assert fit_temperature(logits.bfloat16(), targets) == pytest.approx(found, rel=0.02)
    # Logits twice as large want twice the temperature.
    assert fit_temperature(2 * logits, targets) == pytest.approx(2 * found, rel=1e-6)


def test_leaves_gradients_alone():
    logits, targets = drawn(2, 50, 4, 2.0, False)
    logits.requires_grad_()
    fit_temperature(logits, targets)
    assert logits.grad is None


@pytest.mark.parametrize(
    ("logits", "targets", "message"),
    [
        (torch.zeros(0, 3), torch.zeros(0).long(), r"logits have shape \[0, 3\]"),
        (torch.zeros(3), torch.zeros(3).long(), r"logits have shape \[3\]"),
        (torch.zeros(3, 2), torch.zeros(2).long(), r"targets have shape \[2\], expected \[3\] or "),
        (torch.zeros(3, 2), torch.zeros(3), "targets are torch.float32, expected integers"),
        (torch.zeros(3, 2), torch.full((3,), -1), "from -1 to -1, expected 0 to 1"),
        (torch.zeros(3, 2), torch.full((3,), 2), "from 2 to 2, expected 0 to 1"),
        (torch.zeros(3, 2), torch.full((3, 2), 1.5), "from 1.5 to 1.5, expected 0 to 1"),
        (torch.full((3, 2), math.nan), torch.zeros(3).long(), "logits hold NaN"),
        (torch.full((3, 2), -math.inf), torch.zeros(3).long(), "logits hold NaN or infinity"),
    ],
)
def test_refuses(logits, targets, message):
    with pytest.raises(InputError, match=message) as caught:
        fit_temperature(logits, targets)
    assert "\n" not in str(caught.value)


def pooled_loss(answers, targets, weights):
    z = torch.tensordot(weights, answers.double(), 1)
    if targets.ndim == 1:
        return F.cross_entropy(z, targets)
    return F.binary_cross_entropy_with_logits(z, targets.double())


@pytest.mark.parametrize("several", [False, True])
def test_shares_are_those_of_the_least_loss(several):
    """Beside them, at the best size, every other share is worse."""
    truth, targets = drawn(3, 4000, 3, 1.0, several)
    noises = torch.randn(3, 4000, 3) * torch.tensor([1.0, 2.0, 8.0])[:, None, None]
    answers = truth + noises
    shares = fit_shares(answers, targets)
    assert float(shares.sum()) == pytest.approx(1)
    assert shares[0] > shares[1] > shares[2] > 0

    def best(shares):
        pooled = torch.tensordot(shares.double(), answers.double(), 1)
        return loss(pooled, targets, fit_temperature(pooled, targets))

    least = best(shares)
    for model in range(3):
        for step in (-0.02, 0.02):
            other = shares + step * (torch.arange(3) == model)
            assert least < best(other / other.sum())


def test_what_is_worse_than_nothing_has_no_share():
    truth, targets = drawn(4, 2000, 3, 1.0, several=False)
    against = torch.randn(2000, 3) - 2 * F.one_hot(targets, 3)
    shares = fit_shares(torch.stack([truth, against]), targets)
    assert shares.tolist() == pytest.approx([1, 0], abs=1e-6)


def test_shares_of_few_rows_that_are_all_right_are_alike():
    right = torch.tensor([[9.0, 0.0], [0.0, 9.0]])
    shares = fit_shares(torch.stack([right, right]), torch.tensor([0, 1]), doubt=1 / 3)
    assert shares.tolist() == pytest.approx([0.5, 0.5], abs=1e-3)


@pytest.mark.parametrize("seed", range(30))
def test_shares_of_answers_that_are_much_alike(seed):
    """At the least loss no slope points to where a share may go."""
    random = torch.Generator().manual_seed(seed)
    truth = 2 * torch.randn(50, 3, generator=random)
    noise = torch.randn(4, 50, 3, generator=random) * torch.rand(4, 1, 1, generator=random)
    answers = (truth + noise).double()
    answers[1] = 1.5 * answers[0] + 0.05 * torch.randn(50, 3, generator=random)
    targets = torch.multinomial(truth.softmax(1), 1, generator=random)[:, 0]
    shares = fit_shares(answers, targets)
    pooled = torch.tensordot(shares.double(), answers, 1)
    w = (shares.double() / fit_temperature(pooled, targets)).requires_grad_()
    (slope,) = torch.autograd.grad(pooled_loss(answers, targets, w), w)
    assert bool((slope > -1e-4).all())
    assert bool((slope[shares > 0].abs() < 1e-4).all())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: fit_shares(torch.zeros(2, 2, 2), torch.tensor([0, 4])),
            "fit_shares: targets lie from 0 to 4, expected 0 to 1",
        ),
        (
            lambda: fit_shares(torch.zeros(2, 2), torch.tensor([0, 1])),
            r"fit_shares: answers have shape \[2, 2\], expected \[models, rows, classes\]",
        ),
        (
            lambda: fit_shares(torch.zeros(0, 2, 2), torch.tensor([0, 1])),
            r"fit_shares: answers have shape \[0, 2, 2\]",
        ),
        (
            lambda: fit_shares(torch.zeros(1, 2, 2), torch.tensor([0, 1]), doubt=3.0),
            "fit_shares: doubt is 3.0, expected a share",
        ),
    ],
)
def test_shares_refuse_what_is_none(make, said):
    with pytest.raises(InputError, match=said):
        make()
