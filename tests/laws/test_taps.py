"""Every case names what it computes: what it declares is seen, and seeing changes nothing."""

import pytest
import torch

from tests.laws.trials import TRIALS
from throughtime.errors import InputError
from throughtime.inspect import intervene, record, tap_names
from throughtime.state import tensors
from throughtime.testing import Subject

MASK = torch.tensor([[True] * 5, [True, False, True, True, False], [False] * 5])
RESET = torch.tensor([[False, False, True, False, False], [True] + [False] * 4, [False] * 5])


@pytest.fixture(params=TRIALS, ids=lambda trial: trial.name)
def trial(request):
    with request.param.forced():
        yield request.param


def made(trial, device, dtype):
    """The layer of a trial, an input, and a state that has seen something."""
    trial.skip_where_it_cannot_run(device, dtype)
    claims = {key: value for key, value in trial.case.claims.items() if key == "inputs"}
    subject = Subject(trial.case.make(), device=device, dtype=dtype, **claims)
    subject.layer.train()  # dropout too must draw the same
    return subject, subject.x(3, 5), subject.warm(3)


def run(layer, x, state, marks):
    """Output, state after it, and the gradients of the weights, with the same random numbers."""
    torch.manual_seed(1)
    output, after = layer(x, state, *marks)
    weights = [weight for weight in layer.parameters() if weight.requires_grad]
    found = []
    if output.requires_grad:
        found = torch.autograd.grad(output.square().sum(), weights, allow_unused=True)
    zeros = [torch.zeros_like(w) if g is None else g for w, g in zip(weights, found, strict=False)]
    return [output, *tensors(after), *zeros]


def marks_of(subject, marks):
    return [None if one is None else one.to(subject.device) for one in marks]


@pytest.mark.parametrize(
    ("marks", "detach"),
    [((None, None), True), ((MASK, RESET), True), ((MASK, RESET), False)],
    ids=["plain", "marked", "marked-with-history"],
)
def test_seeing_changes_nothing(trial, marks, detach, device, dtype):
    subject, x, state = made(trial, device, dtype)
    layer, marks = subject.layer, marks_of(subject, marks)
    names = tap_names(layer)
    if not names:
        with pytest.raises(InputError, match="nothing to see"), record(layer):
            pass
        return
    plain = run(layer, x, state, marks)
    with record(layer, detach=detach) as trace:
        watched = run(layer, x, state, marks)
    for one, other in zip(plain, watched, strict=True):
        # The gates come from the same kernel: nothing but rounding may differ, and mostly nothing.
        torch.testing.assert_close(other, one, rtol=1e-9, atol=1e-9)
    assert set(trace) == set(names)
    for name, value in trace.items():
        assert not detach or not value.requires_grad
        assert not value.isnan().any(), name


def test_giving_back_what_came_changes_nothing(trial, device, dtype):
    subject, x, state = made(trial, device, dtype)
    layer, marks = subject.layer, marks_of(subject, (MASK, RESET))
    if not tap_names(layer):
        return
    plain = run(layer, x, state, marks)
    with record(layer) as seen:
        run(layer, x, state, marks)
    with record(layer) as trace, intervene(layer, {"*": lambda value: value}):
        watched = run(layer, x, state, marks)
    for one, other in zip(plain, watched, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-9, atol=1e-9)
    for name, value in seen.items():
        torch.testing.assert_close(trace[name], value, rtol=1e-9, atol=1e-9)


def test_padded_steps_show_zeros(trial, device, dtype):
    subject, x, state = made(trial, device, dtype)
    layer, mask, reset = subject.layer, MASK.to(device), RESET.to(device)
    names = tap_names(layer)
    if not names or "classifier" in trial.name:  # whose body may get other rows, or a token more
        return
    with record(layer) as trace, intervene(layer, {"*": lambda value: value + 1}):
        output, _ = layer(x, state, mask, reset)
    assert (output[~mask] == 0).all()
    for name, value in trace.items():
        tap, owner = name.rpartition(".")[2], name.rpartition(".")[0]
        if tap in ("keys", "values") and "cross" in owner + trial.name + str(type(layer)).lower():
            continue  # of a memory, which has steps of its own
        steps = value if value.ndim == 3 else value.transpose(1, 2)
        padded = steps[~mask]
        assert (padded == 0).all(), name
        assert (steps[mask] != 0).any(), name
