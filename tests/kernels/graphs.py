"""Compiled and exported graphs of the kernels; test_graphs.py runs this in a process of its own.

The shape checks of the tests cannot be traced.
"""

import json
import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from tests.kernels.support import KINDS, Problem, call, native_inputs
from throughtime import GRU, LSTM, RNN, kernels
from throughtime.kernels import calls

CODES = {"rnn-tanh": 0, "lstm": 3, "gru": 4}
LAYERS: dict[str, Callable[[], Any]] = {
    "rnn": lambda: RNN(3, 5, learn_initial_state=True),
    "lstm": lambda: LSTM(3, 5, learn_initial_state=True),
    "gru": lambda: GRU(3, 5, learn_initial_state=True),
}


def marks(batch, time):
    random = torch.Generator().manual_seed(4)
    return [torch.rand(batch, time, generator=random) < share for share in (0.7, 0.2)]


def arguments(layer, batch, time):
    x = torch.randn(batch, time, 3)
    _, state = layer(torch.randn(batch, 2, 3))
    return x, type(state)(*(part.detach() for part in state)), *marks(batch, time)


def same(found, expected):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


# Operators


def check_operator(kind, marked, save):
    mask, reset = marks(3, 5) if marked else (None, None)
    problem = Problem(kind, 4, 3, 3, 5, torch.float64, mask, reset)
    inputs = native_inputs(problem, problem.arguments())
    with torch.no_grad():
        inputs.x.nan_to_num_()  # NaN differs from itself
    operator = getattr(torch.ops.throughtime, KINDS[kind].operation)
    torch.library.opcheck(operator.default, (CODES[kind], *inputs, save))


def check_operators_of_gradient_and_gates(kind, marked):
    mask, reset = marks(3, 5) if marked else (None, None)
    problem = Problem(kind, 4, 3, 3, 5, torch.float64, mask, reset)
    inputs = native_inputs(problem, {n: t.detach() for n, t in problem.arguments().items()})
    inputs.x.nan_to_num_()
    operators, name = torch.ops.throughtime, KINDS[kind].operation
    output, hidden, cell, *rest = getattr(operators, name)(CODES[kind], *inputs, True)
    saved = (output, *rest)
    gradients = (output, hidden, None if inputs.cell is None else cell)
    wanted = [t is not None and t.is_floating_point() for t in inputs]
    backward = getattr(operators, f"{name}_backward").default
    torch.library.opcheck(backward, (CODES[kind], *inputs, *saved, *gradients, wanted))
    if not kind.startswith("rnn"):
        torch.library.opcheck(operators.gates.default, (CODES[kind], *saved, mask, reset))


# Compiled


def train(step, model, given):
    """The loss and the gradients of a step."""
    model.zero_grad()
    loss = step(*given)
    loss.backward()
    return loss.detach(), *(p.grad.clone() for p in model.parameters())


def check_training(name, backend):
    layer, head = LAYERS[name](), nn.Linear(5, 2)
    model: Any = nn.ModuleList([layer, head])

    def step(x, state, mask, reset):
        output, after = layer(x, state, mask, reset)
        return head(output).square().mean() + sum(part.sum() for part in after)

    compiled = torch.compile(step, fullgraph=True, backend=backend)
    for batch, time in ((3, 6), (4, 9), (2, 7)):
        given = arguments(layer, batch, time)
        same(train(compiled, model, given), train(step, model, given))


def check_inference(name):
    layer = LAYERS[name]()
    compiled: Any = torch.compile(layer, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        for time in (6, 1, 9):
            output, state = layer(*(given := arguments(layer, 3, time)))
            found, after = compiled(*given)
            same((found, *after), (output, *state))


def check_free_axes(name):
    """One graph for every batch size and number of steps."""
    layer, graphs = LAYERS[name](), []

    def count(module, inputs):
        graphs.append(module)
        return module.forward

    compiled: Any = torch.compile(layer, fullgraph=True, backend=count, dynamic=True)
    for batch, time in ((4, 6), (6, 9), (2, 7)):  # none a size of the layer
        given = arguments(layer, batch, time)
        output, state = layer(*given)
        found, after = compiled(*given)
        same((found, *after), (output, *state))
    assert len(graphs) == 1
    assert f"throughtime.{name}" in graphs[0].print_readable(print_output=False)


def check_gates(kind):
    problem = Problem(kind, 4, 3, 3, 5, torch.float64, *marks(3, 5))
    given = problem.arguments()
    run = torch.compile(
        lambda: call(problem, given, gates=True), fullgraph=True, backend="aot_eager"
    )
    same(run(), call(problem, given, gates=True))


# Exported


def export(layer):
    batch, time = torch.export.Dim("batch"), torch.export.Dim("time")
    given = arguments(layer, 3, 6)
    state = type(given[1])(*({0: batch} for _ in given[1]))
    step = {0: batch, 1: time}
    return torch.export.export(layer, given, dynamic_shapes=(step, state, step, step))


def check_export(name):
    layer = LAYERS[name]()
    exported = export(layer)
    assert f"throughtime.{name}" in str(exported.graph)
    module: Any = exported.module()
    for batch, time in ((3, 6), (5, 11), (2, 40)):
        given = arguments(layer, batch, time)
        output, state = layer(*given)
        found, after = module(*given)
        same((found, *after), (output, *state))


def check_exported_and_trained(name):
    """The graph saved no gates: backward computes them."""
    layer = LAYERS[name]()
    module: Any = export(layer).module()
    given = arguments(layer, 4, 9)
    found = []
    for one in (module, layer):
        one.zero_grad()
        output, after = one(*given)
        (output.square().sum() + sum(part.sum() for part in after)).backward()
        found.append({n: p.grad for n, p in one.named_parameters()})
    assert found[0].keys() == found[1].keys()
    same(found[0].values(), found[1].values())


CHECKS: dict[str, Callable[[], None]] = {}
for _kind in CODES:
    for _marked in (False, True):
        _of = f"{_kind}-{'marked' if _marked else 'plain'}"
        for _save in (False, True):
            CHECKS[f"operator-{_of}-{'saving' if _save else 'not-saving'}"] = (
                lambda k=_kind, m=_marked, s=_save: check_operator(k, m, s)
            )
        CHECKS[f"operators-of-gradient-and-gates-{_of}"] = lambda k=_kind, m=_marked: (
            check_operators_of_gradient_and_gates(k, m)
        )
    if not _kind.startswith("rnn"):
        CHECKS[f"gates-{_kind}"] = lambda k=_kind: check_gates(k)
for _name in LAYERS:
    CHECKS |= {
        f"training-{_name}": lambda n=_name: check_training(n, "aot_eager"),
        f"inference-{_name}": lambda n=_name: check_inference(n),
        f"free-axes-{_name}": lambda n=_name: check_free_axes(n),
        f"export-{_name}": lambda n=_name: check_export(n),
        f"exported-and-trained-{_name}": lambda n=_name: check_exported_and_trained(n),
    }
CHECKS["training-inductor-lstm"] = lambda: check_training("lstm", "inductor")


def main(names):
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    # Zeros in fresh memory: opcheck also compares what was saved for steps that are not there.
    calls.empty = lambda shape, like: torch.zeros(shape, dtype=like.dtype)
    results = {}
    with kernels.use("cpu"):
        for name in names or CHECKS:
            torch.manual_seed(0)
            torch.compiler.reset()
            try:
                CHECKS[name]()
                results[name] = None
            except Exception as error:
                results[name] = f"{type(error).__name__}: {str(error)[:1000]}"
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
