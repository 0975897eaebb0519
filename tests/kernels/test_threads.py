"""As many threads as torch says, several callers at once, and children of forked processes."""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from tests.kernels.support import (
    Problem,
    answer,
    beyond,
    call,
    in_child,
    needs_extension,
    needs_fork,
    threads_of,
)
from throughtime import LSTM, kernels
from throughtime.kernels import native

pytestmark = needs_extension

# By rows, by units (few rows, large weights), and too small for a second thread.
ROWS = Problem("lstm", 64, 50, 20, 40)
UNITS = Problem("lstm", 400, 20, 1, 20)
SMALL = Problem("lstm", 5, 4, 3, 7)


@pytest.fixture(autouse=True)
def cpu():
    with kernels.use("cpu"):
        yield


class Watched:
    """The extension, with a look at the calls of one of its functions."""

    def __init__(self, library, name, watch):
        self.library, self.name, self.watch = library, name, watch

    def __getattr__(self, name):
        found = getattr(self.library, name)
        return (lambda *given: self.watch(found, *given)) if name == self.name else found


@pytest.fixture
def dealt(monkeypatch):
    """How the steps of each call were dealt out: so many threads, by rows; below zero by units."""
    codes = []

    def forward(function, *given):
        codes.append(function(*given))
        return codes[-1]

    def backward(function, *given):
        codes.append(given[2])
        return function(*given)

    watched = Watched(native.library, "forward", forward)
    monkeypatch.setattr(native, "library", Watched(watched, "backward", backward))
    return codes


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_as_many_threads_as_torch_says(dealt, threads):
    with threads_of(threads):
        for problem in (ROWS, UNITS, SMALL):
            answer(problem, problem.arguments())
    by_units = 1 if threads == 1 else -threads
    assert dealt == [threads, threads, by_units, by_units, 1, 1]


def test_by_units_and_by_rows_are_the_same():
    """Resets are one reason to deal by rows."""
    never = torch.zeros(UNITS.batch, UNITS.time, dtype=torch.bool)
    rows = Problem(UNITS.kind, UNITS.hidden, UNITS.features, 1, UNITS.time, reset=never)
    with threads_of(2):
        answers = [answer(problem, problem.arguments()) for problem in (UNITS, rows)]
    assert not beyond(1e-13, *answers)


@pytest.mark.parametrize("threads", [1, 2])
def test_several_callers_at_once(threads):
    problems = [ROWS, UNITS, SMALL, Problem("gru", 33, 20, 9, 30), Problem("rnn-tanh", 17, 5, 4, 9)]

    def run(problem):
        # Each thread of Python has a number of threads of its own.
        torch.set_num_threads(threads)
        return answer(problem, problem.arguments())

    with threads_of(threads), ThreadPoolExecutor(3) as pool:
        expected = [run(problem) for problem in problems]
        found = list(pool.map(run, problems * 6))
    for one, other in zip(found, expected * 6, strict=True):
        assert all(torch.equal(one[name], value) for name, value in other.items())


def test_other_threads_go_on_meanwhile(monkeypatch):
    """A counter moves during the native call alone: nobody else is ever preempted."""
    problem = Problem("lstm", 256, 64, 16, 60)
    counter, during = [0], []

    def forward(function, *given):
        before = counter[0]
        result = function(*given)
        during.append(counter[0] - before)
        return result

    monkeypatch.setattr(native, "library", Watched(native.library, "forward", forward))
    arguments = problem.arguments()
    interval = sys.getswitchinterval()
    caller = threading.Thread(target=call, args=(problem, arguments))
    try:
        sys.setswitchinterval(60)  # only who waits for something gives way
        caller.start()
        while caller.is_alive():
            counter[0] += 1
            time.sleep(0)
    finally:
        sys.setswitchinterval(interval)
    caller.join()
    assert during[0] > 0


@needs_fork
@pytest.mark.parametrize("problem", [ROWS, UNITS], ids=["rows", "units"])
def test_a_forked_child_computes(problem):
    """It has none of its parent's threads, and OpenMP would wait for them."""
    arguments = problem.arguments()
    inputs = {name: t.detach() for name, t in arguments.items()}
    with threads_of(2):
        expected = [part.detach() for part in call(problem, arguments)]
        assert torch.get_num_threads() == 2

        def child():
            found = call(problem, inputs)
            # By NumPy: torch's own loops may wait for threads that are gone.
            return all((a.numpy() == b.numpy()).all() for a, b in zip(found, expected, strict=True))

        assert in_child(child)
        assert in_child(lambda: in_child(child))  # a grandchild too
        assert all(map(torch.equal, call(problem, inputs), expected))  # and the parent goes on


@needs_fork
@pytest.mark.parametrize("problem", [ROWS, UNITS], ids=["rows", "units"])
def test_a_forked_child_learns(problem):
    arguments = problem.arguments()
    names = ["x", "hidden", "cell", "weight_input", "weight_hidden", "bias"]
    inputs = [arguments[name] for name in names]
    cotangent = torch.randn(problem.batch, problem.time, problem.hidden, dtype=torch.float64)

    def gradients():
        return torch.autograd.grad(call(problem, arguments)[0], inputs, cotangent)

    def child():
        return all(
            (a.numpy() == b.numpy()).all() for a, b in zip(gradients(), expected, strict=True)
        )

    with threads_of(2):
        expected = gradients()
        assert in_child(child)


class Outputs(Dataset):
    """What a layer makes of each of some inputs."""

    def __init__(self, layer, xs):
        self.layer, self.xs = layer, xs

    def __len__(self):
        return len(self.xs)

    def __getitem__(self, index):
        with torch.no_grad():
            return self.layer(self.xs[index])[0]


@needs_fork
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_in_workers_of_a_loader():
    data = Outputs(LSTM(50, 64), torch.randn(6, 20, 40, 50))
    with threads_of(2):
        expected = [data[index] for index in range(6)]  # so that the parent has used its threads
        loader = DataLoader(data, batch_size=None, num_workers=2, multiprocessing_context="fork")
        found = list(loader)
    torch.testing.assert_close(found, expected)
