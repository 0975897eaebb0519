"""Gates computed again in the backward pass: the same gradients from less memory."""

import pytest
import torch

from tests.kernels.support import (
    KINDS,
    Problem,
    answer,
    beyond,
    call,
    needs_extension,
    reference,
    threads_of,
)
from throughtime import GRU, LSTM, kernels

pytestmark = needs_extension

TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-4}
each_kind = pytest.mark.parametrize("kind", ["lstm", "gru"])


@pytest.fixture(autouse=True)
def cpu():
    with kernels.use("cpu"):
        yield


def run(problem, arguments):
    return call(problem, arguments, recompute=True)


def problem_of(kind, time, *, marked, dtype=torch.float64):
    random = torch.Generator().manual_seed(3)
    mask, reset = (torch.rand(5, time, generator=random) < share for share in (0.7, 0.05))
    return Problem(kind, 20, 9, 5, time, dtype, *((mask, reset) if marked else ()))


# Nothing, one segment, one and a step, several of equal length, and of unequal length.
@pytest.mark.parametrize("time", [0, 1, 32, 33, 96, 130])
@pytest.mark.parametrize("marked", [False, True])
@each_kind
def test_the_same(poisoned, kind, marked, time):
    problem = problem_of(kind, time, marked=marked)
    found = answer(problem, problem.arguments(), run)
    assert not beyond(1e-12, found, reference(problem, problem.arguments()))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@each_kind
def test_types_and_threads(isa, poisoned, kind, dtype, threads):
    problem = Problem(kind, 64, 50, 7, 100, dtype)
    with threads_of(threads):
        found = answer(problem, problem.arguments(), run)
    assert not beyond(TOLERANCES[dtype], found, reference(problem, problem.arguments()))


@each_kind
def test_each_gradient_alone(kind):
    problem = problem_of(kind, 70, marked=True)
    everything = reference(problem, problem.arguments())
    for name in problem.arguments():
        arguments = {n: t.requires_grad_(n == name) for n, t in problem.arguments().items()}
        found = answer(problem, arguments, run)
        assert not beyond(1e-12, found, {n: everything[n] for n in found})
        assert f"gradient of {name}" in found


@pytest.mark.parametrize("pick", [0, 1, -1])
@each_kind
def test_each_output_alone(kind, pick):
    problem = problem_of(kind, 70, marked=True)
    found = []
    for name, way in (("cpu", run), ("reference", call)):
        arguments = problem.arguments()
        with kernels.use(name):
            total = way(problem, arguments)[pick].square().sum()
            inputs = [*arguments.values()]
            gradients = torch.autograd.grad(total, inputs, materialize_grads=True)
            found.append(dict(zip(arguments, gradients, strict=True)))
    assert not beyond(1e-12, *found)


@each_kind
def test_second_derivatives(kind):
    problem = problem_of(kind, 40, marked=True)
    found = []
    for way in (run, call):
        arguments = problem.arguments()
        weights = [arguments["hidden"], arguments["weight_hidden"]]
        total = way(problem, arguments)[0].square().sum()
        first = torch.autograd.grad(total, weights, create_graph=True)
        total = torch.stack([gradient.square().sum() for gradient in first]).sum()
        found.append(dict(enumerate(torch.autograd.grad(total, weights))))
    assert not beyond(1e-12, *found)


@each_kind
def test_backward_again(kind):
    problem = problem_of(kind, 70, marked=True)
    arguments = problem.arguments()
    inputs = [*arguments.values()]
    total = run(problem, arguments)[0].square().sum()
    one = torch.autograd.grad(total, inputs, retain_graph=True)
    two = torch.autograd.grad(total, inputs)
    assert all(map(torch.equal, one, two))


def bytes_kept(way, problem):
    """What the graph holds beside the arguments."""
    arguments, kept = problem.arguments(), {}

    def pack(tensor):
        kept[tensor.data_ptr()] = tensor.numel() * tensor.itemsize
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = way(problem, arguments)
    del outputs
    for tensor in arguments.values():
        kept.pop(tensor.data_ptr(), None)
    return sum(kept.values())


@each_kind
def test_less_is_kept(kind):
    """Of the gates, four numbers of each unit and step, nothing; states at some steps instead."""
    problem = Problem(kind, 64, 8, 4, 400)
    gates = 4 * problem.batch * problem.time * problem.hidden * 8
    assert bytes_kept(call, problem) > gates
    assert bytes_kept(run, problem) < gates / 10


@pytest.mark.parametrize("kind", [LSTM, GRU], ids=lambda kind: kind.__name__)
def test_layers_take_it(kind):
    layer, other = kind(3, 5), kind(3, 5, recompute=True)
    other.load_state_dict(layer.state_dict())
    x = torch.randn(2, 70, 3)
    for one in (layer, other):
        output, state = one(x)
        (output.square().sum() + state.hidden.sum()).backward()
    assert "Recomputed" in type(output.grad_fn).__name__  # pyright: ignore
    for one, two in zip(layer.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad)


def test_the_reference_takes_it_too():
    for kind in KINDS:
        if kind.startswith("rnn"):
            continue
        problem = problem_of(kind, 5, marked=True)
        with kernels.use("reference"):
            one, two = run(problem, problem.arguments()), call(problem, problem.arguments())
        assert all(map(torch.equal, one, two))
