"""The compiled kernels below torch: dispatch, gradients of all sorts, autocast, memory, copies."""

import copy
import pickle
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from tests.kernels.support import (
    ISAS,
    KINDS,
    Problem,
    answer,
    beyond,
    call,
    in_child,
    isa_of,
    native_inputs,
    needs_extension,
    needs_fork,
    reference,
    threads_of,
)
from throughtime import GRU, LSTM, RNN, kernels
from throughtime.kernels import native

pytestmark = needs_extension

CODES = {kind: code for code, kind in enumerate(KINDS)}
TOLERANCE = 1e-12
each_kind = pytest.mark.parametrize("kind", KINDS)
MASK = torch.tensor([[1, 1, 1, 1, 1], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0]]).bool()
RESET = torch.tensor([[0, 0, 1, 0, 0], [1, 0, 1, 0, 1], [0, 0, 1, 0, 0]]).bool()


@pytest.fixture(autouse=True)
def cpu():
    with kernels.use("cpu"):
        yield


def small(kind, *, marked=True, dtype=torch.float64):
    return Problem(kind, 4, 3, 3, 5, dtype, MASK if marked else None, RESET if marked else None)


def medium(kind):
    """So large that its memory comes from the pool, and several threads run."""
    return Problem(kind, 64, 50, 20, 40)


class Log(TorchDispatchMode):
    """The operators that ran."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(str(func))
        return func(*args, **kwargs or {})


@each_kind
def test_a_dispatch_mode_sees_the_operators(kind):
    problem = small(kind)
    options: dict[str, Any] = {"gates": not kind.startswith("rnn")}
    with Log() as log:
        found = answer(problem, problem.arguments(), **options)
    name = f"throughtime.{KINDS[kind].operation}"
    assert {f"{name}.default", f"{name}_backward.default"} <= log.names
    assert not beyond(TOLERANCE, found, reference(problem, problem.arguments(), **options))


# Gradients


@each_kind
def test_each_gradient_alone(kind):
    problem = small(kind)
    everything = reference(problem, problem.arguments())
    for name in problem.arguments():
        arguments = {n: t.requires_grad_(n == name) for n, t in problem.arguments().items()}
        found = answer(problem, arguments)
        assert not beyond(TOLERANCE, found, {n: everything[n] for n in found})
        assert f"gradient of {name}" in found


@each_kind
def test_an_output_that_nothing_follows(kind):
    """Gradients of the last state alone, and of the output alone."""
    problem = small(kind)
    for pick in (0, 1, -1):
        found = []
        for name in ("cpu", "reference"):
            arguments = problem.arguments()
            with kernels.use(name):
                call(problem, arguments)[pick].square().sum().backward()
            found.append({n: t.grad for n, t in arguments.items()})
        for name, gradient in found[0].items():
            other = found[1][name]
            torch.testing.assert_close(
                gradient, torch.zeros_like(gradient) if other is None else other
            )


@each_kind
def test_a_tensor_in_two_places(kind):
    """The gradient of each place counts, in the second derivative too."""
    problem = small(kind)
    found = []
    for name in ("cpu", "reference"):
        arguments = problem.arguments()
        for part in (*KINDS[kind].parts, *KINDS[kind].initial):
            arguments[part] = arguments["hidden"]
        with kernels.use(name):
            total = torch.stack([part.square().sum() for part in call(problem, arguments)]).sum()
        weights = list(dict.fromkeys(arguments.values()))
        first = torch.autograd.grad(total, weights, create_graph=True)
        total = torch.stack([gradient.square().sum() for gradient in first]).sum()
        second = torch.autograd.grad(total, weights)
        found.append(dict(enumerate((*first, *second))))
    assert not beyond(1e-10, *found)


@each_kind
def test_strides(kind):
    """Transposed, expanded and sliced arguments, and a gradient without memory of its own."""
    problem = small(kind)
    straight = problem.arguments()

    def bent(name, t):
        if t.ndim == 1:
            return torch.stack([t, t], 1).flatten()[::2]
        t = t.transpose(0, 1).contiguous().transpose(0, 1)
        assert not t.is_contiguous() or 1 in t.shape, name
        return t

    crooked = {n: bent(n, t.detach()).requires_grad_() for n, t in straight.items()}
    mask, reset = (m.t().contiguous().t() for m in (MASK, RESET))
    turned = Problem(problem.kind, 4, 3, 3, 5, torch.float64, mask, reset)
    found = answer(turned, crooked)
    assert not beyond(TOLERANCE, found, reference(problem, straight))
    call(turned, crooked)[0].sum().backward()  # an expanded gradient
    with kernels.use("reference"):
        call(problem, straight)[0].sum().backward()
    torch.testing.assert_close(crooked["x"].grad, straight["x"].grad)


@each_kind
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_same_bits_every_time(kind, threads):
    problem = medium(kind)
    with threads_of(threads):
        one, two = (answer(problem, problem.arguments()) for _ in range(2))
    for name, value in one.items():
        assert torch.equal(value, two[name]), name


@each_kind
@pytest.mark.parametrize(("before", "after"), [(3, 1), (1, 3), (2, 3)])
def test_threads_change_between_forward_and_backward(kind, before, after):
    problem = medium(kind)

    def run(problem, arguments):
        with threads_of(before):
            return call(problem, arguments)

    with threads_of(after):
        found = answer(problem, problem.arguments(), run)
    assert not beyond(TOLERANCE, found, reference(problem, problem.arguments()))


@pytest.mark.parametrize("second", ISAS)
@pytest.mark.parametrize("first", ISAS)
@each_kind
def test_the_instruction_set_changes_in_between(kind, first, second):
    """What one has saved any other reads: backward, and the gates."""
    problem = medium(kind)

    def run(problem, arguments):
        with isa_of(first):
            return call(problem, arguments)

    with isa_of(second):
        found = answer(problem, problem.arguments(), run)
    assert not beyond(TOLERANCE, found, reference(problem, problem.arguments()))
    if kind.startswith("rnn"):
        return
    inputs = native_inputs(problem, problem.arguments())
    operators = torch.ops.throughtime
    with isa_of(first):
        output, *_, gates, cells, threads = getattr(operators, kind)(CODES[kind], *inputs, True)
    with isa_of(second):
        gates = operators.gates(CODES[kind], output, gates, cells, threads, None, None)
    with kernels.use("reference"):
        torch.testing.assert_close(gates, call(problem, problem.arguments(), gates=True)[-1])


@each_kind
def test_backward_again(kind):
    """Backward leaves what was saved as it is."""
    problem = medium(kind)
    arguments = problem.arguments()
    total = call(problem, arguments)[0].square().sum()
    one, two = (
        torch.autograd.grad(
            total, [*arguments.values()], retain_graph=again, materialize_grads=True
        )
        for again in (True, False)
    )
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    with pytest.raises(RuntimeError, match="second time"):
        total.backward()


@each_kind
def test_what_is_changed_in_place_is_noticed(kind):
    problem = small(kind, marked=False)
    for spoil in ("output", "x", "weight_hidden"):
        arguments = {n: t.requires_grad_(n != "x") for n, t in problem.arguments().items()}
        output = call(problem, arguments)[0]
        with torch.no_grad():
            (output if spoil == "output" else arguments[spoil]).mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            output.sum().backward()


@each_kind
def test_checkpointing(kind):
    problem = small(kind)

    def run(problem, arguments):
        return checkpoint(call, problem, arguments, use_reentrant=False)

    found = answer(problem, problem.arguments(), run)
    assert not beyond(TOLERANCE, found, answer(problem, problem.arguments()))


def test_memory_comes_back():
    native.library.release()
    problem, pooled = medium("lstm"), []
    for _ in range(4):
        answer(problem, problem.arguments(), gates=True)
        pooled.append(native.library.pooled())
    assert pooled[1:] == pooled[:1] * 3
    assert native.library.release() == pooled[0] > 0
    assert native.library.pooled() == 0


# Types and devices


@needs_fork
@pytest.mark.parametrize("log", [False, True], ids=["eager", "operators"])
@each_kind
def test_another_default_device(kind, log):
    """Memory lies where the arguments are, wherever new tensors are made."""
    problem = small(kind)
    arguments = problem.arguments()
    expected = reference(problem, problem.arguments())
    inputs = [*arguments.values()]
    cotangent = torch.ones(3, 5, 4, dtype=torch.float64)

    def there():
        with torch.device("meta"), Log() if log else nullcontext():
            output, *_ = call(problem, arguments)
            gradients = torch.autograd.grad(output, inputs, cotangent, materialize_grads=True)
        found = {"output": output.detach()}
        assert {gradient.device.type for gradient in gradients} == {"cpu"}
        return not beyond(TOLERANCE, found, {"output": expected["output"]})

    assert in_child(there)


@pytest.mark.parametrize(
    "layer", [RNN(8, 6), LSTM(8, 6), GRU(8, 6)], ids=lambda m: type(m).__name__
)
def test_autocast(layer):
    """What comes in may be narrow; the state keeps the type of the weights, and so do gradients."""
    x = torch.randn(2, 5, 3)
    before = torch.nn.Linear(3, 8)
    with torch.autocast("cpu", torch.bfloat16):
        narrow = before(x)
        output, state = layer(narrow)
        again, _ = layer(narrow, state)
    assert narrow.dtype == torch.bfloat16
    assert {part.dtype for part in (output, again, *state)} == {torch.float32}
    again.sum().backward()
    assert before.weight.grad is not None
    expected, _ = layer(narrow.float())
    torch.testing.assert_close(output, expected)


@pytest.mark.parametrize(
    "layer", [RNN(3, 6), LSTM(3, 6), GRU(3, 6)], ids=lambda m: type(m).__name__
)
def test_copies(layer):
    x = torch.randn(2, 5, 3)
    output, state = layer(x)
    output.sum().backward()
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        again, after = other(x)
        assert torch.equal(again, output)
        assert all(torch.equal(a, b) for a, b in zip(after, state, strict=True))
        again.sum().backward()
