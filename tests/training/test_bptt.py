import itertools
import math
from typing import Any

import pytest
import torch
from torch.nn import functional

from throughtime.errors import InputError
from throughtime.layers import LSTM, RNN, Linear, Stack
from throughtime.state import load_tree, save_tree, tensors
from throughtime.training import (
    Full,
    Place,
    RandomTruncation,
    Truncated,
    bptt,
    scale_gradient,
    truncation,
)

from .toy import Batch, windows


class Masked(Batch):
    mask: torch.Tensor


def model_and_batch(time=13, *, learn=True):
    model = Stack(LSTM(2, 3, learn_initial_state=learn), Linear(3, 1)).double()
    generator = torch.Generator().manual_seed(1)
    numbers = torch.randn(4, time, 3, generator=generator, dtype=torch.float64)
    mask = torch.rand(4, time, generator=generator) > 0.2
    reset = torch.rand(4, time, generator=generator) > 0.9
    return model, Masked(numbers[..., :2], numbers[..., 2:], mask, reset)


def loss(model, batch, state):
    output, state = model(batch.inputs, state, batch.mask, batch.reset)
    error = functional.mse_loss(output, batch.targets, reduction="none")[..., 0]
    return torch.where(batch.mask, error, 0).sum(), batch.mask.sum(), state


def gradient(model):
    found = torch.cat([p.grad.flatten() for p in model.parameters()])
    model.zero_grad()
    return found


def run(model, batch, steps, rule, **options):
    cuts = list(bptt(loss, model, windows(batch, steps), rule, **options))
    return gradient(model), cuts


def by_hand(model, batch):
    total, count, _ = loss(model, batch, None)
    (total / count).backward()
    return gradient(model)


def test_one_window_is_full_back_propagation():
    model, batch = model_and_batch()
    exact = by_hand(model, batch)
    torch.testing.assert_close(run(model, batch, 13, Truncated())[0], exact, rtol=1e-12, atol=0)
    torch.testing.assert_close(run(model, batch, 13, Full())[0], exact, rtol=1e-12, atol=0)


def test_full_is_the_same_over_any_windows():
    model, batch = model_and_batch()
    exact = by_hand(model, batch)
    for steps in (1, 4, 6):
        found, cuts = run(model, batch, steps, Full())
        torch.testing.assert_close(found, exact, rtol=1e-10, atol=1e-14)
        assert len(cuts) == 1
        assert cuts[0].count == batch.mask.sum()


def test_truncated_cuts_the_gradient_and_carries_the_state():
    model, batch = model_and_batch()
    found, cuts = run(model, batch, 5, Truncated(), normaliser=2.0)
    state, total = None, torch.zeros(())
    for part in windows(batch, 5):
        detached = None if state is None else tuple(type(s)(*map(torch.detach, s)) for s in state)
        value, _, state = loss(model, part, detached)
        total = total + value
    (total / 2.0).backward()
    torch.testing.assert_close(found, gradient(model), rtol=1e-12, atol=1e-15)
    assert [cut.place.position for cut in cuts] == [5, 10, 13]
    assert sum(cut.total for cut in cuts) == pytest.approx(total.item())
    for ours, theirs in zip(tensors(cuts[-1].state), tensors(state), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
    assert not any(part.requires_grad for cut in cuts for part in tensors(cut.state))
    assert not torch.allclose(found, by_hand(model, batch) * batch.mask.sum() / 2.0, rtol=1e-3)


@pytest.mark.parametrize("depth", [4, 5, 7, 8, 11, 16, 40])
def test_depth_goes_back_k2_steps_every_k1(depth):
    # Cuts by hand: the state `depth - k1` steps before a window comes without history.
    model, batch = model_and_batch()
    steps = 4
    found, cuts = run(model, batch, steps, Truncated(depth), normaliser=1.0)
    starts = range(0, 13, steps)
    for at in starts:
        begin = max(at - (depth - steps), 0)
        state = None
        if begin:
            with torch.no_grad():
                state = loss(model, batch.narrow(0, begin), None)[2]
        if begin < at:
            state = loss(model, batch.narrow(begin, at), state)[2]
        loss(model, batch.narrow(at, min(at + steps, 13)), state)[0].backward()
    torch.testing.assert_close(found, gradient(model), rtol=1e-10, atol=1e-14)
    assert len(cuts) == len(starts)
    if depth - steps >= 12:
        exact = by_hand(model, batch) * batch.mask.sum()
        torch.testing.assert_close(found, exact, rtol=1e-10, atol=1e-14)


def test_a_mean_per_window_by_default():
    model, batch = model_and_batch()
    found, cuts = run(model, batch, 5, Truncated())
    summed = 0
    for part, cut in zip(windows(batch, 5), cuts, strict=True):
        options = {"state": None if cut is cuts[0] else cuts[cuts.index(cut) - 1].state}
        summed = summed + run(model, part, 5, Truncated(), **options)[0]
        assert isinstance(part, Masked)
        assert cut.count == part.mask.sum()
        assert cut.loss == pytest.approx(cut.total / cut.count)
    # A learned initial state gets its gradient from the first window and from resets alone.
    torch.testing.assert_close(found, summed, rtol=1e-10, atol=1e-14)


def scripted(monkeypatch, model, batch, steps, rule, pattern):
    throws = iter(pattern)
    monkeypatch.setattr(truncation, "_throw", lambda probability, generator: next(throws))
    return run(model, batch, steps, rule, normaliser=1.0)


def test_unbiased_truncation_is_exact_over_all_patterns_of_cuts(monkeypatch):
    model, batch = model_and_batch(12)
    exact = by_hand(model, batch) * batch.mask.sum()
    steps, mean = 3, 8.0
    c = steps / mean
    sums: dict[bool, Any] = {False: 0, True: 0}
    for pattern in itertools.product([True, False], repeat=3):
        chance = c ** sum(pattern) * (1 - c) ** (3 - sum(pattern))
        for unbiased in sums:
            rule = RandomTruncation(mean, unbiased=unbiased)
            found, cuts = scripted(monkeypatch, model, batch, steps, rule, pattern)
            assert len(cuts) == 1 + sum(pattern)
            sums[unbiased] = sums[unbiased] + chance * found
    torch.testing.assert_close(sums[True], exact, rtol=1e-11, atol=1e-14)
    assert (sums[False] - exact).norm() > 1e-3 * exact.norm()


def test_random_cuts_come_as_often_as_said():
    model, batch = model_and_batch(12)
    generator = torch.Generator().manual_seed(0)
    cuts = 0
    for _ in range(100):
        found = list(
            bptt(loss, model, windows(batch, 2), RandomTruncation(5.0), generator=generator)
        )
        cuts += len(found) - 1
        assert sum(cut.count for cut in found) == batch.mask.sum()
    c = 2 / 5
    assert abs(cuts - 500 * c) < 4 * (500 * c * (1 - c)) ** 0.5


def test_random_default_is_a_fixed_weight_per_window(monkeypatch):
    # However the cuts fall, each window weighs its own mean times steps / mean.
    model, batch = model_and_batch(12, learn=False)
    throws = iter([False, True, False])
    monkeypatch.setattr(truncation, "_throw", lambda probability, generator: next(throws))
    found, _ = run(model, batch, 3, RandomTruncation(6.0))
    state, objective = None, 0
    for index, part in enumerate(windows(batch, 3)):
        total, count, state = loss(model, part, state)
        objective = objective + total / count * 3 / 6
        if index == 1:
            state = tuple(type(s)(*map(torch.detach, s)) for s in state)
    torch.as_tensor(objective).backward()
    torch.testing.assert_close(found, gradient(model), rtol=1e-10, atol=1e-14)


RULES = [
    Full(),
    Truncated(),
    Truncated(6),
    Truncated(9),
    RandomTruncation(6.0),
    RandomTruncation(6.0, unbiased=True),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_going_on_from_any_place_is_never_having_stopped(rule, tmp_path):
    def steps(model, cuts):
        """Train at each cut; remember where each leaves off."""
        for cut in cuts:
            with torch.no_grad():
                for p in model.parameters():
                    p -= 0.05 * p.grad
            model.zero_grad()
            yield cut.place, [p.detach().clone() for p in model.parameters()]

    model, batch = model_and_batch(17)
    parts = windows(batch, 4)
    generator = torch.Generator().manual_seed(3)
    whole = list(steps(model, bptt(loss, model, parts, rule, generator=generator)))
    for number, (place, weights) in enumerate(whole):
        path = tmp_path / f"{number}.safetensors"
        save_tree(place, path)
        back = load_tree(path)
        assert isinstance(back, Place)
        with torch.no_grad():
            for p, value in zip(model.parameters(), weights, strict=True):
                p.copy_(value)
        other = torch.Generator().manual_seed(99)
        rest = list(steps(model, bptt(loss, model, parts, rule, place=back, generator=other)))
        assert len(rest) == len(whole) - number - 1
        for (_, ours), (_, theirs) in zip(rest, whole[number + 1 :], strict=True):
            assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_window_where_nothing_counts():
    model, batch = model_and_batch(8)
    mask = batch.mask.clone()
    mask[:, :4] = False
    batch = Masked(batch.inputs, batch.targets, mask, batch.reset)
    for rule in (Truncated(), Truncated(6), Full(), RandomTruncation(5.0)):
        found, cuts = run(model, batch, 4, rule, generator=torch.Generator())
        assert found.isfinite().all()
        assert sum(cut.count for cut in cuts) == mask.sum()
    assert math.isnan(run(model, batch, 4, Truncated())[1][0].loss)


def test_the_caller_may_stop_early_and_no_windows_are_no_cuts():
    model, batch = model_and_batch()
    cuts = bptt(loss, model, windows(batch, 4), Truncated())
    assert next(cuts).place.window == 1
    assert list(bptt(loss, model, [], Full())) == []


def test_scale_gradient_keeps_values_and_scales_every_part():
    h = torch.randn(3, requires_grad=True, dtype=torch.float64)
    ids = torch.arange(3)
    scaled, same = scale_gradient((h * 1, ids), 2.5)
    assert torch.equal(scaled, h)
    assert same is ids
    torch.autograd.gradcheck(lambda x: scale_gradient((x,), 1.0)[0].sin(), h)
    (first,) = torch.autograd.grad(scaled.pow(3).sum(), h, create_graph=True)
    torch.testing.assert_close(first, 2.5 * 3 * h**2)
    second = torch.autograd.grad(first.sum(), h)[0]
    torch.testing.assert_close(second, 2.5 * 2.5 * 6 * h)  # h enters by way of `scaled` again


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Truncated(0), "depth is 0"),
        (lambda: RandomTruncation(0.0), "mean is 0"),
        (lambda: RandomTruncation(float("inf")), "mean is inf"),
        (lambda: call(Truncated(3)), "depth is 3, expected at least the window's 4"),
        (lambda: call(RandomTruncation(3.0)), "expected at least the window's 4"),
        (lambda: call(RandomTruncation(4.0, unbiased=True)), "more than the window's 4"),
        (lambda: call(Full(), normaliser=0.0), "normaliser is 0"),
        (lambda: call(Full(), state=(), place=Place()), "both a state and a place"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(make, says):
    with pytest.raises(InputError, match=says) as error:
        make()
    assert "\n" not in str(error.value)


def call(rule, **options):
    model, batch = model_and_batch()
    return list(bptt(loss, model, windows(batch, 4), rule, **options))


def test_an_rnn_without_learned_state_and_a_given_state():
    layer = RNN(2, 3).double()
    x = torch.randn(1, 4, 2, dtype=torch.float64)
    h = torch.randn(1, 3, dtype=torch.float64, requires_grad=True)

    def square(model, batch, state):
        output, state = model(batch, state)
        return output.square().sum(), output.numel(), state

    given = type(layer.initial_state(1))(h * 2)
    list(bptt(square, layer, [x], Full(), state=given))
    assert h.grad is None  # the history of a given state is cut


@pytest.mark.parametrize("rule", [Full(), Truncated()], ids=str)
def test_states_lie_in_memory_of_their_own(rule):
    def turned(model, batch, state):
        # A view: it would keep the whole batch alive, and lies otherwise than one that was saved.
        output, _ = model(batch)
        return output.sum(), 1.0, (batch[:, -1].T,)

    for cut in bptt(turned, Linear(5, 1), torch.randn(2, 6, 4, 5), rule):
        (part,) = cut.state
        assert part.is_contiguous()
        assert part.untyped_storage().nbytes() == part.numel() * part.element_size()
        assert torch.equal(cut.place.state[0], part)
