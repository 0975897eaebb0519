"""Where the signal lies beyond the window: which truncations see it, on average."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional

from throughtime.errors import InputError
from throughtime.layers import LSTM, Linear, Stack
from throughtime.training import (
    Full,
    RandomTruncation,
    Truncated,
    bptt,
    truncation_bias,
)

from .toy import Batch, windows

STEPS, TIME = 2, 12
MEAN = 8.0  # steps between cuts: of five borders each is cut with probability 1/4


class Elman(nn.Module):
    """torch's own: any model with a state of tensors can be trained, and this one is quick."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.RNN(2, 4, batch_first=True), nn.Linear(4, 1)

    def forward(self, x, state):
        output, state = self.layer(x, state)
        return self.head(output), state


def recall(kind: Callable[[], nn.Module] = Elman):
    """A number comes at the first step and is asked for at the last; in between there is noise."""
    torch.manual_seed(5)
    model = kind().double()
    numbers = 0.3 * torch.randn(8, TIME, 2, dtype=torch.float64)
    numbers[:, 0, 0] = torch.randn(8, dtype=torch.float64)
    numbers[:, 1:, 0] = 0
    targets = torch.full((8, TIME, 1), torch.nan, dtype=torch.float64)
    targets[:, -1, 0] = numbers[:, 0, 0]
    return model, windows(Batch(numbers, targets), STEPS)


def loss(model, batch, state):
    output, state = model(batch.inputs, state)
    asked = ~batch.targets.isnan()
    error = functional.mse_loss(output, torch.where(asked, batch.targets, 0), reduction="none")
    return torch.where(asked, error, 0).sum(), asked.sum(), state


def draw(model, parts, rule, generator=None):
    model.zero_grad()
    for _ in bptt(loss, model, parts, rule, normaliser=8.0, generator=generator):
        pass
    return torch.cat([p.grad.flatten() for p in model.parameters()]).clone()


def p_value(draws, expected, directions=4):
    """Hotelling's test on random directions, fixed beforehand: is `expected` the mean?

    The loss is at the last step alone, so a draw depends on where the last cut fell: six values,
    which span five directions at most.
    """
    generator = torch.Generator().manual_seed(7)
    size = (draws.shape[1], directions)
    onto = torch.randn(size, generator=generator, dtype=torch.float64)
    away = (draws - expected) @ onto
    n = len(away)
    squared = n * away.mean(0) @ torch.linalg.solve(away.T.cov(), away.mean(0))
    half = squared * (n - directions) / (n - 1) / 2
    return torch.special.gammaincc(torch.tensor(directions / 2, dtype=half.dtype), half).item()


def test_unbiased_random_truncation_meets_the_full_gradient_and_the_others_do_not():
    model, parts = recall()
    exact = draw(model, parts, Full())
    generator = torch.Generator().manual_seed(0)

    def draws(rule):
        return torch.stack([draw(model, parts, rule, generator) for _ in range(300)])

    unbiased = draws(RandomTruncation(MEAN, unbiased=True))
    assert p_value(unbiased, exact) > 0.001
    # The test has teeth: it finds out plain cuts, and a fifth less of what lies beyond the window.
    plain = draw(model, parts, Truncated())
    assert p_value(unbiased, plain + 0.8 * (exact - plain)) < 0.001
    assert p_value(draws(RandomTruncation(MEAN)), exact) < 1e-9
    error = unbiased.std(0).norm() / 300**0.5
    assert (unbiased.mean(0) - exact).norm() < 2.5 * error
    assert (plain - exact).norm() > 10 * error


def test_the_report_says_so():
    model, parts = recall(lambda: Stack(LSTM(2, 4), Linear(4, 1)))
    rules = {
        "whole": Truncated(TIME + STEPS),
        "plain": Truncated(),
        "deeper": Truncated(6),
        "random": RandomTruncation(MEAN),
        "unbiased": RandomTruncation(MEAN, unbiased=True),
    }
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    model.train()
    report = truncation_bias(loss, model, parts, rules, draws=80)
    whole, plain, deeper, random, unbiased = (report.overall(name) for name in rules)
    assert whole.bias < 1e-12
    assert whole.p_value == 1
    assert whole.cosine == pytest.approx(1)
    assert plain.p_value == deeper.p_value == 0
    assert plain.bias > deeper.bias > 0.01
    assert plain.deviation == 0
    assert random.p_value < 1e-6 < 0.01 < unbiased.p_value
    assert unbiased.deviation > random.deviation > 0
    assert unbiased.bias < 2.5 * unbiased.standard_error < random.bias
    assert random.norm < unbiased.norm
    # One row for all, and one for each parameter.
    assert len(report.rows) == len(rules) * (1 + len([*model.parameters()]))
    lines = str(report).splitlines()
    assert len(lines) == len(report.rows) + 1
    assert "p_value" in lines[0]
    # The head after the last step sees no border: no truncation touches its gradient.
    for row in report.rows:
        if row.parameter == "layers.1.bias":
            assert row.bias < 1e-12
            assert row.p_value == 1
    for p in model.parameters():
        assert p.grad is not None
        assert torch.equal(p.grad, torch.ones_like(p))
    assert model.training


def test_the_p_value_is_right_as_often_as_it_says():
    # Under no bias it is below 0.1 in about a tenth of the cases.
    model, parts = recall()
    rule = {"unbiased": RandomTruncation(4.0, unbiased=True)}
    low = 0
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        report = truncation_bias(loss, model, parts[-2:], rule, draws=25, generator=generator)
        low += report.overall("unbiased").p_value < 0.1
    assert low <= 6  # by chance more in one of 400 such tests


def test_too_few_draws():
    model, parts = recall()
    with pytest.raises(InputError, match="draws is 1"):
        truncation_bias(loss, model, parts, {}, draws=1)
    report = truncation_bias(loss, model, parts, {"r": RandomTruncation(MEAN)}, draws=3)
    assert report.overall("r").p_value != report.overall("r").p_value  # NaN


def test_pattern_chances_add_up_to_the_unbiased_mean():
    # The exact expectation over all 2^5 patterns of cuts, as a check on the generator's use.
    model, parts = recall()
    rule = RandomTruncation(MEAN, unbiased=True)
    seen = set()
    generator = torch.Generator().manual_seed(1)
    for _ in range(80):
        cuts = bptt(loss, model, parts, rule, generator=generator)
        seen.add(tuple(cut.place.window for cut in cuts))
    possible = {
        (*(i + 1 for i, cut in enumerate(pattern) if cut), 6)
        for pattern in itertools.product([True, False], repeat=5)
    }
    assert seen <= possible
    assert len(seen) > 12
