"""Problems for the kernels, their answers by several ways, and how far these lie apart."""

import ctypes
import os
import signal
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from throughtime import kernels
from throughtime.kernels import calls, native

needs_extension = pytest.mark.skipif(
    native.library is None, reason=f"needs the compiled kernels, but {native.missing}"
)
ISAS: list[str] = [] if native.library is None else native.library.isas()

Answer = dict[str, Tensor]


@dataclass(frozen=True)
class Kind:
    """A recurrence: blocks of its weights, parts of its state, and how it is called."""

    operation: str
    blocks: int
    parts: tuple[str, ...] = ("hidden",)
    options: tuple[tuple[str, str], ...] = ()

    @property
    def initial(self):
        """The names of the arguments that give the state after a reset."""
        return [f"initial_{part}" for part in self.parts] if len(self.parts) > 1 else ["initial"]


KINDS = {
    "rnn-tanh": Kind("rnn", 1, options=(("activation", "tanh"),)),
    "rnn-relu": Kind("rnn", 1, options=(("activation", "relu"),)),
    "rnn-sigmoid": Kind("rnn", 1, options=(("activation", "sigmoid"),)),
    "lstm": Kind("lstm", 4, ("hidden", "cell")),
    "gru": Kind("gru", 3),
}


@dataclass(frozen=True)
class Problem:
    """Sizes, type and marks of one call."""

    kind: str
    hidden: int
    features: int
    batch: int
    time: int
    dtype: torch.dtype = torch.float64
    mask: Tensor | None = None
    reset: Tensor | None = None

    def arguments(self, seed: int = 0) -> Answer:
        """Random tensors of every argument, ready for gradients; NaN in padded steps.

        The same numbers in every type: those that float32 can hold.
        """
        kind, random = KINDS[self.kind], torch.Generator().manual_seed(seed)

        def uniform(bound, *shape):
            return (2 * torch.rand(shape, generator=random, dtype=torch.float64) - 1) * bound

        rows, bound = kind.blocks * self.hidden, self.hidden**-0.5
        x = uniform(2, self.batch, self.time, self.features)
        if self.mask is not None:
            x = torch.where(self.mask.unsqueeze(-1), x, torch.nan)
        made = {"x": x}
        for part in kind.parts:
            made[part] = uniform(1, self.batch, self.hidden)
        made["weight_input"] = uniform(bound, rows, self.features)
        made["weight_hidden"] = uniform(bound, rows, self.hidden)
        made["bias"] = uniform(bound, rows)
        if self.kind == "gru":
            made["bias_hidden"] = uniform(bound, self.hidden)
        for part in kind.initial:
            made[part] = uniform(1, self.batch, self.hidden)
        return {name: t.float().to(self.dtype).requires_grad_() for name, t in made.items()}


def call(
    problem: Problem, arguments: Answer, *, gates: bool = False, recompute: bool = False
) -> tuple[Tensor, ...]:
    """The kernel on these arguments: output, last states, and the gates if asked for."""
    kind = KINDS[problem.kind]
    options: dict[str, Any] = dict(kind.options)
    if gates:
        options["return_gates"] = True
    if recompute:
        options["recompute"] = True
    function = getattr(kernels, kind.operation)
    return function(**arguments, **options, mask=problem.mask, reset=problem.reset)


def native_inputs(problem: Problem, arguments: Answer) -> calls.Inputs:
    """The arguments in the order of the operators, which take no initial state without a reset."""
    given: dict[str, Any] = {**arguments, "mask": problem.mask, "reset": problem.reset}
    if "initial" in given:
        given["initial_hidden"] = given.pop("initial")
    if problem.reset is None:
        given = {name: value for name, value in given.items() if "initial" not in name}
    return calls.Inputs._make(given.get(name) for name in calls.Inputs._fields)


def cotangents(outputs: tuple[Tensor, ...]) -> list[Tensor]:
    """A weight for each number of each output, the same whatever its type."""
    random = torch.Generator().manual_seed(1)
    return [
        torch.randn(o.shape, generator=random, dtype=torch.float64).to(o.dtype) for o in outputs
    ]


def answer(
    problem: Problem,
    arguments: Answer,
    run: Callable[..., tuple[Tensor, ...]] = call,
    **options: Any,
) -> Answer:
    """All that a kernel gives: output, last states, gates if asked for, and all gradients."""
    outputs = run(problem, arguments, **options)
    names = ["output", *(f"last {part}" for part in KINDS[problem.kind].parts), "gates"]
    found = {name: o.detach().clone() for name, o in zip(names, outputs, strict=False)}
    ends = tuple(o for o in outputs if o.requires_grad)
    leaves = {name: t for name, t in arguments.items() if t.requires_grad}
    # No steps from a fixed state: nothing depends on anything, and an implementation may say so.
    gradients = (
        torch.autograd.grad(ends, [*leaves.values()], cotangents(ends), materialize_grads=True)
        if ends and leaves
        else map(torch.zeros_like, leaves.values())
    )
    found |= {f"gradient of {n}": g for n, g in zip(leaves, gradients, strict=True)}
    return found


def reference(problem: Problem, arguments: Answer, **options: Any) -> Answer:
    """The answer of the reference."""
    with kernels.use("reference"):
        return answer(problem, arguments, **options)


def errors(found: Answer, expected: Answer) -> dict[str, float]:
    """The largest difference of each result, relative to its largest number; infinite for NaN."""
    assert found.keys() == expected.keys()
    worst = {}
    for name, value in found.items():
        exact = expected[name].double()
        assert value.shape == exact.shape, name
        if not exact.numel():
            continue
        difference = (value.double() - exact).abs().nan_to_num(torch.inf).max().item()
        worst[name] = difference / max(exact.abs().max().item(), 1e-30) if difference else 0.0
    return worst


def beyond(tolerance: float, found: Answer, expected: Answer) -> dict[str, float]:
    """The results that differ by more: none of them, one hopes."""
    return {name: e for name, e in errors(found, expected).items() if e > tolerance}


def spread(found: Answer, expected: Answer) -> dict[str, float]:
    """The root mean square of each result's differences, relative to that of its numbers."""
    return {
        name: ((value.double() - expected[name]).norm() / expected[name].norm().clamp(1e-30)).item()
        for name, value in found.items()
    }


@contextmanager
def isa_of(name: str):
    """One instruction set, until the block ends."""
    before = native.library.isa()
    native.library.use_isa(name)
    try:
        yield
    finally:
        native.library.use_isa(before)


@contextmanager
def threads_of(count: int):
    """So many threads, until the block ends."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def in_child(function: Callable[[], bool]) -> bool:
    """Run it in a forked child; whether it returned true, within a minute."""
    with warnings.catch_warnings():
        # From Python 3.12 on, of any fork of a process with threads: that is what this is about.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            os._exit(0 if function() else 1)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(2)
    for _ in range(600):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail("the child hangs")


class Poisoning:
    """The extension, with NaN in all memory that it hands out or takes for itself."""

    # The pool's sizes, and how many blocks of each are filled before a call.
    SIZES = (
        *((4096 * n, 3) for n in range(1, 9)),
        *((n << shift, 3 if shift < 16 else 1) for shift in range(13, 19) for n in range(5, 9)),
    )

    def __init__(self, library: Any) -> None:
        self._library = library

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._library, name)
        if name not in ("forward", "backward", "step", "unpack_gates"):
            return found

        def after_filling(*arguments: Any) -> Any:
            header = 64
            blocks = [
                self.empty(((size - header) // 4,), 4)
                for size, count in self.SIZES
                for _ in range(count)
            ]
            del blocks
            return found(*arguments)

        return after_filling

    def empty(self, shape: tuple[int, ...], itemsize: int) -> Tensor:
        """Fresh memory with all bits set, which is NaN in either type."""
        block = self._library.empty(shape, itemsize)
        ctypes.memset(block.data_ptr(), 0xFF, block.numel() * itemsize)
        return block
