"""Rows of different lengths, padding and resets anywhere, and NaN that must stay where it is."""

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
from throughtime import kernels

pytestmark = [needs_extension, pytest.mark.usefixtures("poisoned")]

TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-4}
each_kind = pytest.mark.parametrize("kind", KINDS)


def marks(*rows):
    return torch.tensor([[mark == "1" for mark in row] for row in rows])


MASKS = {
    "all-real": None,
    "right": marks("11111111", "11111000", "10000000", "11111110"),
    "left": marks("11111111", "00011111", "00000001", "00111111"),
    "holes": marks("10110101", "01010101", "11100111", "01111110"),
    "empty-rows": marks("00000000", "11111111", "00000000", "00100000"),
    "all-empty": torch.zeros(4, 8, dtype=torch.bool),
}
RESETS = {
    "no-reset": None,
    "nowhere": torch.zeros(4, 8, dtype=torch.bool),
    "here-and-there": marks("00010000", "10000000", "00000001", "01011010"),
    "everywhere": torch.ones(4, 8, dtype=torch.bool),
}


def check(problem, threads=1):
    gates = not problem.kind.startswith("rnn")
    with kernels.use("cpu"), threads_of(threads):
        found = answer(problem, problem.arguments(), gates=gates)
    expected = reference(problem, problem.arguments(), gates=gates)
    assert not beyond(TOLERANCES[problem.dtype], found, expected)


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("mask", MASKS)
@each_kind
def test_marks(isa, kind, mask, reset):
    check(Problem(kind, 9, 5, 4, 8, torch.float64, MASKS[mask], RESETS[reset]))


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("threads", [1, 2, 3])
@each_kind
def test_many_steps_on_several_threads(isa, kind, threads, dtype):
    """More than a chunk of them, in rows of every length."""
    random = torch.Generator().manual_seed(2)
    kept = torch.linspace(0, 1, 19)[:, None]
    mask = torch.rand(19, 60, generator=random) < kept
    reset = torch.rand(19, 60, generator=random) < 0.05
    check(Problem(kind, 33, 31, 19, 60, dtype, mask, reset), threads)


@pytest.mark.parametrize("threads", [1, 3])
@each_kind
def test_nan_stays_in_its_row(isa, kind, threads):
    """A row of NaN, and one that turns infinite, beside rows that go on as ever."""
    problem = Problem(kind, 33, 31, 13, 40)
    ill, well = [0, 7], [row for row in range(13) if row not in (0, 7)]
    results = []
    for spoil in (True, False):
        arguments = problem.arguments()
        if spoil:
            with torch.no_grad():
                arguments["x"][0] = torch.nan
                arguments["x"][7, 3] = torch.inf
        with kernels.use("cpu"), threads_of(threads):
            results.append(answer(problem, arguments))
    for name in results[0]:
        if "weight" not in name and "bias" not in name:  # these are sums over rows
            spoiled, clean = results[0][name], results[1][name]
            assert torch.equal(spoiled[well], clean[well]), name
    assert results[0]["output"][ill].isnan().any()


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("hidden", [9, 20])
@pytest.mark.parametrize("kind", ["rnn-tanh", "rnn-sigmoid", "lstm", "gru"])
def test_infinity_saturates(isa, kind, hidden, dtype):
    """Gates fully open or shut, gradients that are zero: finite, as by the reference."""
    problem = Problem(kind, hidden, 5, 3, 6, dtype)
    answers = []
    for name in ("cpu", "reference"):
        arguments = problem.arguments()
        with torch.no_grad():
            arguments["x"][1, 3, 2] = torch.inf
        with kernels.use(name):
            answers.append(answer(problem, arguments))
    found, expected = answers
    weight = "gradient of weight_input"  # zero times infinity, in a place of its own
    assert torch.equal(found[weight].isnan(), expected[weight].isnan())
    found[weight], expected[weight] = (one[weight].nan_to_num(0) for one in answers)
    assert not beyond(TOLERANCES[dtype], found, expected)


def test_a_closed_unit_lets_no_gradient_through(isa):
    """Not even an infinite one: it is selected, not multiplied."""
    problem = Problem("rnn-relu", 20, 5, 3, 1)
    gradients = []
    for name in ("cpu", "reference"):
        arguments = problem.arguments()
        with kernels.use(name):
            output, _ = call(problem, arguments)
            cotangent = torch.where(output > 0, 1.0, torch.inf).double()
            gradients.append(torch.autograd.grad(output, [*arguments.values()][:4], cotangent))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@each_kind
def test_states_that_nobody_sees(isa, kind):
    """NaN in a first state that is reset at once, and in an initial one that is never used."""
    reset = marks("10010", "01000", "00000")
    problem = Problem(kind, 9, 5, 3, 5, reset=reset)
    answers = []
    for name in ("cpu", "reference"):
        arguments = problem.arguments()
        with torch.no_grad():
            for part in KINDS[kind].parts:
                arguments[part][0] = torch.nan
            for part in KINDS[kind].initial:
                arguments[part][2] = torch.nan
        with kernels.use(name):
            answers.append(answer(problem, arguments))
    assert not beyond(TOLERANCES[torch.float64], *answers)


@pytest.mark.parametrize("threads", [2, 3])
@each_kind
def test_threads_change_rounding_only(kind, threads):
    problem = Problem(kind, 100, 64, 9, 40)
    answers = []
    for count in (1, threads):
        with kernels.use("cpu"), threads_of(count):
            answers.append(answer(problem, problem.arguments()))
    assert not beyond(1e-13, *answers)
