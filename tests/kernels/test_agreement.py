"""The compiled kernels give what the reference gives: outputs, states, gates and all gradients."""

from functools import cache
from typing import Any

import pytest
import torch

from tests.kernels.support import (
    KINDS,
    Problem,
    answer,
    beyond,
    needs_extension,
    reference,
    spread,
    threads_of,
)
from throughtime import kernels

pytestmark = [needs_extension, pytest.mark.usefixtures("poisoned")]

# hidden, features, batch, time, threads. Off and on the grids of vectors (2 to 16 numbers), of
# tiles (3 vectors, 8 rows) and of chunks (256 to 512 real steps). Small work stays on one thread
# (test_threads.py sees to that); large weights or few rows are dealt out by units, not by rows.
SHAPES = [
    (1, 1, 3, 40, 1),
    (1, 100, 33, 40, 2),
    (2, 7, 8, 7, 1),
    (7, 2, 5, 40, 1),
    (8, 15, 13, 7, 1),
    (9, 16, 1, 40, 1),
    (15, 8, 2, 2, 1),
    (16, 31, 33, 40, 3),
    (17, 9, 3, 7, 1),
    (31, 33, 8, 40, 2),
    (33, 17, 13, 40, 3),
    (64, 1, 1, 40, 2),
    (64, 100, 2, 40, 3),
    (100, 64, 5, 40, 2),
    (100, 33, 1, 1, 1),
    (200, 33, 1, 40, 2),
    (137, 60, 2, 40, 3),
    (100, 31, 33, 40, 3),
    (33, 64, 0, 7, 2),
    (16, 2, 5, 0, 1),
]
LARGE = (1024, 300, 3, 2, 2)
# Enough numbers in each result for the size of a rounding error to be no accident.
MANY = [shape for shape in SHAPES if min(shape[:2]) > 8 and shape[2] * shape[3] >= 80]

each_kind = pytest.mark.parametrize("kind", KINDS)
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "-".join(map(str, s)))

# Of the largest number of each result: twenty and more times what was measured.
TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-4}
# As a root mean square, ours may be so many times as far from float64 as torch's own in float32;
# below the floor both are right to rounding.
TIMES, FLOOR = 2, 2 * torch.finfo(torch.float32).eps


def problem_of(kind, shape, dtype=torch.float64):
    hidden, features, batch, time, _ = shape
    return Problem(kind, hidden, features, batch, time, dtype)


def compiled_answer(problem, threads, **options):
    with kernels.use("cpu"), threads_of(threads):
        return answer(problem, problem.arguments(), **options)


def has_gates(kind):
    return {"gates": not kind.startswith("rnn")}


@cache
def exact(kind, shape):
    problem = problem_of(kind, shape)
    return reference(problem, problem.arguments(), **has_gates(kind))


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@each_shape
@each_kind
def test_the_same(isa, kind, shape, dtype):
    found = compiled_answer(problem_of(kind, shape, dtype), shape[-1], **has_gates(kind))
    assert not beyond(TOLERANCES[dtype], found, exact(kind, shape))


@pytest.mark.parametrize("kind", ["rnn-tanh", "lstm", "gru"])
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_large(isa, kind, dtype):
    found = compiled_answer(problem_of(kind, LARGE, dtype), LARGE[-1], **has_gates(kind))
    assert not beyond(TOLERANCES[dtype], found, exact(kind, LARGE))


def torch_nn(problem, arguments):
    """What torch.nn's layers call, on the same weights."""
    a = arguments
    zeros = torch.zeros_like(a["bias"])
    if problem.kind == "gru":
        zeros = torch.cat([zeros[: 2 * problem.hidden], a["bias_hidden"]])
    weights = [a["weight_input"], a["weight_hidden"], a["bias"], zeros]
    before = [a[part][None] for part in KINDS[problem.kind].parts]
    run: Any = getattr(torch, problem.kind.replace("-", "_"))
    state = before if problem.kind == "lstm" else before[0]
    output, *after = run(a["x"], state, weights, True, 1, 0.0, False, False, True)
    return output, *(part[0] for part in after)


@cache
def torch_in_float32(kind, shape):
    problem = problem_of(kind, shape, torch.float32)
    if kind == "rnn-sigmoid":  # torch.nn has none
        return reference(problem, problem.arguments())
    return answer(problem, problem.arguments(), torch_nn)


@pytest.mark.parametrize("shapes", [MANY, [LARGE]], ids=["many", "large"])
@each_kind
def test_float32_is_as_exact_as_torch(isa, kind, shapes):
    ours, theirs = {}, {}
    for shape in shapes:
        expected = exact(kind, shape)
        found = compiled_answer(problem_of(kind, shape, torch.float32), shape[-1])
        for errors, one in ((ours, found), (theirs, torch_in_float32(kind, shape))):
            for name, error in spread(one, expected).items():
                errors[name] = errors.get(name, 0) + error / len(shapes)
    assert ours.keys() == theirs.keys()
    pairs = {name: (error, theirs[name]) for name, error in ours.items()}
    assert not {name: two for name, two in pairs.items() if two[0] > max(FLOOR, TIMES * two[1])}
