"""Tasks that need a memory: rows are as they should be, and baselines cost what they say."""

import math

import numpy as np
import pytest
import torch

from throughtime.data import FreshProbes, Probe, adding, copying, first_symbol, parity
from throughtime.data.probes import (
    adding_baseline,
    copying_baseline,
    first_symbol_baseline,
    parity_baseline,
)
from throughtime.errors import InputError

MAKE = [
    lambda seed: adding(60, 9, seed),
    lambda seed: copying(60, 9, seed),
    lambda seed: parity(60, 9, seed),
    lambda seed: first_symbol(60, 9, seed),
]
makers = pytest.mark.parametrize("make", MAKE, ids=["adding", "copying", "parity", "first"])


@pytest.mark.parametrize("time", [2, 3, 50, 51])
def test_adding_marks_a_step_in_either_half_and_adds_their_values(time):
    probe = adding(500, time, seed=3)
    assert probe.inputs.shape == (500, time, 2)
    values, markers = probe.inputs[..., 0], probe.inputs[..., 1]
    assert set(np.unique(markers)) <= {0, 1}
    assert (markers[:, : time // 2].sum(1) == 1).all()
    assert (markers[:, time // 2 :].sum(1) == 1).all()
    marked = [row[mark == 1].sum() for row, mark in zip(values, markers, strict=True)]
    np.testing.assert_allclose(probe.targets, marked, rtol=1e-6)
    assert markers.any(0).all()  # every step is marked in some row


def test_answering_one_to_adding_costs_a_sixth():
    error = (adding(40_000, 10, seed=0).targets.astype(float) - 1) ** 2
    assert error.mean() == pytest.approx(adding_baseline(), abs=5 * float(error.std()) / 200)
    assert adding_baseline() == adding(1, 2, 0).baseline == 1 / 6
    values = adding(40_000, 10, seed=1).inputs[..., 0]
    assert values.min() >= 0
    assert values.max() < 1
    assert values.var() == pytest.approx(1 / 12, abs=1e-3)


@pytest.mark.parametrize(("time", "symbols", "length"), [(1, 2, 1), (7, 3, 4), (30, 8, 10)])
def test_copying_repeats_what_came_before_the_wait(time, symbols, length):
    probe = copying(200, time, 0, symbols=symbols, length=length)
    inputs, targets, blank = probe.inputs, probe.targets, symbols
    assert inputs.shape == targets.shape == (200, time + 2 * length)
    assert (targets[:, -length:] == inputs[:, :length]).all()
    assert (targets[:, :-length] == blank).all()
    assert set(np.unique(inputs[:, :length])) == set(range(symbols))
    assert (inputs == symbols + 1).sum() == 200  # one delimiter in a row, before the answer
    assert (inputs[:, -length - 1] == symbols + 1).all()
    assert (inputs[:, length : -length - 1] == blank).all()
    assert (inputs[:, -length:] == blank).all()
    assert (probe.tokens, probe.classes) == (symbols + 2, symbols + 1)


def test_blanks_and_then_guessing_cost_the_baseline_of_copying():
    probe = copying(50, 20, 0, symbols=5, length=3)
    after = (probe.inputs == 6).cumsum(1) - (probe.inputs == 6) > 0  # past the delimiter
    p = np.where(after[..., None], np.array([0.2] * 5 + [0]), np.array([0] * 5 + [1.0]))
    chosen = np.take_along_axis(p, probe.targets[..., None], -1)
    assert -np.log(chosen).mean() == pytest.approx(probe.baseline)
    assert probe.baseline == copying_baseline(20, symbols=5, length=3) == 3 * math.log(5) / 26


def test_parity_is_the_running_xor():
    probe = parity(300, 40, seed=0)
    for bits, answers in zip(probe.inputs.tolist(), probe.targets.tolist(), strict=True):
        known = 0
        for bit, answer in zip(bits, answers, strict=True):
            known ^= bit
            assert answer == known
    # A coin costs log 2 at each step, and the bit of that step makes it no cheaper.
    same = probe.targets[:, 1:] == probe.inputs[:, 1:]
    assert same.mean() == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(same.size))
    assert probe.baseline == parity_baseline() == math.log(2)


def test_first_symbol_asks_for_the_first_and_nothing_else_tells():
    probe = first_symbol(8000, 6, 0, symbols=3)
    assert (probe.targets == probe.inputs[:, 0]).all()
    shares = np.bincount(probe.targets, minlength=3) / 8000
    assert -np.log(shares).mean() == pytest.approx(first_symbol_baseline(symbols=3), abs=1e-3)
    for step in range(1, 6):
        agrees = (probe.inputs[:, step] == probe.targets).mean()
        assert agrees == pytest.approx(1 / 3, abs=5 * 0.47 / math.sqrt(8000))


@makers
def test_the_seed_decides(make):
    one, same, other = make(4), make(4), make(5)
    assert np.array_equal(one.inputs, same.inputs)
    assert np.array_equal(one.targets, same.targets)
    assert not np.array_equal(one.inputs, other.inputs)


@makers
def test_a_source_gives_every_row_once_with_its_target(make):
    probe = make(0)
    for shuffle in (True, False):
        seen = []
        for (batch,) in probe.source(rows=16, seed=2, shuffle=shuffle).epoch(3):
            assert batch.mask is None
            seen += [(x.tolist(), y.tolist()) for x, y in zip(batch.x, batch.targets, strict=True)]
        rows = [*zip(probe.inputs.tolist(), probe.targets.tolist(), strict=True)]
        assert (seen == rows) is not shuffle
        assert sorted(seen) == sorted(rows)


@makers
def test_fresh_rows_in_every_epoch_the_same_each_time_asked(make):
    source = FreshProbes(make, rows=25, seed=1)
    sizes = [batch.shape[0] for (batch,) in source.epoch(0)]
    assert sizes == [25, 25, 10]
    first, again, later = (source.epoch(number)[1][0].x for number in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    assert not torch.equal(first, FreshProbes(make, rows=25, seed=2).epoch(0)[1][0].x)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: adding(4, 1, 0), "adding: time is 1, expected at least 2"),
        (lambda: adding(0, 4, 0), "adding: rows is 0, expected a whole number of at least 1"),
        (lambda: adding(4, 4, -1), "adding: seed is -1"),
        (lambda: copying(4, 0, 0), "copying: time is 0"),
        (lambda: copying(4, 4, 0, length=0), "copying: length is 0"),
        (lambda: copying(4, 4, 0, symbols=1), "copying: symbols is 1, expected at least 2"),
        (lambda: copying_baseline(4, symbols=0), "copying: symbols is 0"),
        (lambda: parity(4, 0, 0), "parity: time is 0"),
        (lambda: first_symbol(4, 4, 0, symbols=1), "first_symbol: symbols is 1"),
        (lambda: FreshProbes(MAKE[0], rows=0), "FreshProbes: rows is 0"),
        (lambda: FreshProbes(MAKE[0], seed=-1).epoch(0), "FreshProbes: seed is -1"),
    ],
)
def test_what_makes_no_probe_is_refused(make, said):
    with pytest.raises(InputError, match=said):
        make()


def test_a_probe_is_frozen():
    probe = parity(2, 2, 0)
    assert isinstance(probe, Probe)
    with pytest.raises(AttributeError):
        probe.baseline = 0.0  # pyright: ignore[reportAttributeAccessIssue]
