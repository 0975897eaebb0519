"""Our cells are torch.nn's: numbers, gradients, parameters, errors."""

import copy
import pickle
import re
from itertools import product
from typing import Any

import pytest
import torch
from torch import nn
from torch.func import jvp, vmap

from tests.kernels.support import needs_extension
from tests.torch_nn.configurations import beyond, numbers
from throughtime import InputError, kernels, torch_nn
from throughtime.kernels import single

# Of torch itself, when it takes forward-mode derivatives.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")

KINDS = ("RNNCell-tanh", "RNNCell-relu", "GRUCell", "LSTMCell")
USES = [*product((1, 4, None), (torch.float32, torch.float64), (False, True), (False, True))]

each_kind = pytest.mark.parametrize("kind", KINDS)


def make(library, kind, dtype=torch.float32, **options) -> Any:
    name, _, which = kind.partition("-")
    if which:
        options["nonlinearity"] = which
    return getattr(library, name)(3, 5, dtype=dtype, **options)


def trio(kind, dtype, **options):
    """Ours, torch's, and torch's in float64 as the truth, with the same weights."""
    truth = make(nn, kind, torch.float32, **options)
    found = [make(library, kind, dtype, **options) for library in (torch_nn, nn)]
    for module in found:
        module.load_state_dict(truth.state_dict())
    return *found, truth.double()


def answer(cell, kind, batch, stateful, *, grad=True):
    """The state after a step, and all gradients; of `batch` rows, or of an input without rows."""
    dtype = cell.weight_ih.dtype
    rows = () if batch is None else (batch,)
    x = numbers(1, *rows, 3).to(dtype).requires_grad_()
    parts = 2 if kind == "LSTMCell" else 1
    state = [numbers(2 + n, *rows, 5).to(dtype).requires_grad_() for n in range(parts * stateful)]
    hx = (tuple(state) if parts == 2 else state[0]) if state else None
    with torch.set_grad_enabled(grad):
        after = cell(x, hx)
    after = after if parts == 2 else (after,)
    found = {f"state {n}": part for n, part in enumerate(after)}
    if not grad:
        return found
    leaves = {"input": x, **{f"hx {n}": part for n, part in enumerate(state)}}
    leaves |= dict(cell.named_parameters())
    ends = [part * numbers(9 + n, *part.shape).to(dtype) for n, part in enumerate(after)]
    gradients = torch.autograd.grad(
        torch.stack(ends).sum(), [*leaves.values()], materialize_grads=True
    )
    found |= {f"gradient of {n}": g for n, g in zip(leaves, gradients, strict=True)}
    return {name: value.detach() for name, value in found.items()}


@each_kind
@pytest.mark.parametrize("bias", [False, True])
def test_numbers_are_torchs(kind, bias):
    wrong = {}
    for use in USES:
        batch, dtype, stateful, grad = use
        found = [answer(c, kind, batch, stateful, grad=grad) for c in trio(kind, dtype, bias=bias)]
        if worse := beyond(*found):
            wrong[use] = worse
    assert wrong == {}


@each_kind
def test_same_seed_same_weights(kind):
    for options in ({}, {"bias": False}):
        made = []
        for library in (nn, torch_nn):
            torch.manual_seed(5)
            made.append(make(library, kind, torch.float32, **options))
        theirs, ours = made
        assert [*theirs.state_dict()] == [*ours.state_dict()]
        for one, other in zip(theirs.parameters(), ours.parameters(), strict=True):
            assert torch.equal(one, other)
        assert repr(ours) == repr(theirs)
        assert (ours.bias_ih is None) == (theirs.bias_ih is None)


@each_kind
def test_copies_and_from_torch(kind):
    theirs = make(nn, kind).eval()
    ours = getattr(torch_nn, kind.partition("-")[0]).from_torch(theirs)
    assert ours.weight_hh is theirs.weight_hh
    assert not ours.training
    x = torch.randn(2, 3)
    for other in (ours, copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert repr(other) == repr(theirs)
        torch.testing.assert_close(other(x), theirs(x))


@needs_extension
@each_kind
def test_one_row_without_gradients_is_a_native_call(kind, monkeypatch):
    """Which is what makes it faster than torch's."""
    if not single._MEETS:
        pytest.skip("this torch does not let native code look at its tensors")
    calls = []
    original = kernels.single_step
    monkeypatch.setattr(kernels, "single_step", lambda *a: calls.append(original(*a)) or calls[-1])
    cell = make(torch_nn, kind)
    x = torch.randn(1, 3)
    with torch.no_grad():
        cell(x)
        cell(x[0])
    assert len(calls) == 2
    assert None not in calls
    cell(x)  # with gradients
    assert len(calls) == 2


@each_kind
def test_vmap(kind):
    """Over rows, which torch.nn's cells refuse, and over models."""
    cell = make(torch_nn, kind, torch.float64)
    x = torch.randn(4, 3, dtype=torch.float64)
    torch.testing.assert_close(vmap(cell)(x), cell(x))
    cells = [make(torch_nn, kind, torch.float64) for _ in range(2)]
    weights, _ = torch.func.stack_module_state(cells)  # pyright: ignore

    def one(weights):
        return torch.func.functional_call(cells[0], weights, (x,))

    found = vmap(one)(weights)
    expected = [each(x) for each in cells]
    if kind == "LSTMCell":
        expected = tuple(torch.stack(part) for part in zip(*expected, strict=True))
    else:
        expected = torch.stack(expected)
    torch.testing.assert_close(found, expected)


@each_kind
def test_derivatives(kind):
    cell = make(torch_nn, kind, torch.float64)
    x = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)

    def run(x):
        found = cell(x)
        return torch.stack(found) if isinstance(found, tuple) else found

    assert torch.autograd.gradgradcheck(run, (x,), fast_mode=True)
    tangent = torch.randn_like(x)
    _, along = jvp(run, (x.detach(),), (tangent,))  # pyright: ignore
    expected = torch.autograd.functional.jacobian(run, x.detach())
    torch.testing.assert_close(along, torch.tensordot(expected, tangent, 2))


MISTAKES = {
    "LSTMCell: input has shape [2, 4], expected [batch, input_size] or [input_size]": (
        lambda: torch_nn.LSTMCell(3, 5)(torch.randn(2, 4))
    ),
    "GRUCell: input has shape [1, 2, 3], expected": lambda: torch_nn.GRUCell(3, 5)(
        torch.randn(1, 2, 3)
    ),
    "GRUCell: hx has shape [3, 5], expected [2, 5]": lambda: torch_nn.GRUCell(3, 5)(
        torch.randn(2, 3), torch.randn(3, 5)
    ),
    "LSTMCell: hx[1] has shape [2, 4], expected [2, 5]": lambda: torch_nn.LSTMCell(3, 5)(
        torch.randn(2, 3), (torch.randn(2, 5), torch.randn(2, 4))
    ),
    "LSTMCell: hx is Tensor, expected a pair": lambda: torch_nn.LSTMCell(3, 5)(
        torch.randn(2, 3), torch.randn(2, 5)
    ),
    "RNNCell: nonlinearity is 'sin', expected": lambda: torch_nn.RNNCell(3, 5, nonlinearity="sin"),
    "RNNCell: hidden_size is 0, expected": lambda: torch_nn.RNNCell(3, 0),
    "GRUCell: torch.jit.script does not know": lambda: torch.jit.script(torch_nn.GRUCell(3, 5)),
}


@pytest.mark.parametrize("line", MISTAKES)
def test_mistakes_are_told_in_one_line(line):
    with pytest.raises(InputError, match="^" + re.escape(line)) as caught:
        MISTAKES[line]()
    assert "\n" not in str(caught.value)
