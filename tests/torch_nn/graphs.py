"""Compiled and exported graphs of the drop-in layers; test_beyond.py runs this by itself.

The shape checks of the tests cannot be traced.
"""

import json
import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch

from throughtime import torch_nn

LAYERS: dict[str, Callable[[], Any]] = {
    "rnn": lambda: torch_nn.RNN(3, 5, 2, "relu"),
    "gru": lambda: torch_nn.GRU(3, 5, batch_first=True, bidirectional=True),
    "lstm": lambda: torch_nn.LSTM(3, 5, 2, bidirectional=True),
    "projected": lambda: torch_nn.LSTM(3, 5, proj_size=2, bidirectional=True),
}
CELLS: dict[str, Callable[[], Any]] = {
    "rnn-cell": lambda: torch_nn.RNNCell(3, 5),
    "lstm-cell": lambda: torch_nn.LSTMCell(3, 5),
}


def leaves(found):
    """The tensors in tuples of tuples."""
    if isinstance(found, torch.Tensor):
        return [found]
    return [tensor for part in found for tensor in leaves(part)]


def training(step, layer, x):
    """Output, state, and gradients of a step."""
    layer.zero_grad()
    found = step(x)
    parts = leaves(found)
    torch.cat([part.flatten() for part in parts]).square().sum().backward()
    return [*parts, *(p.grad.clone() for p in layer.parameters())]


def check_compiled(make, *shape):
    layer = make()
    x = torch.randn(shape)
    compiled: Any = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(training(compiled, layer, x), training(layer, layer, x))


def check_exported(name):
    layer = LAYERS[name]().eval()
    state = {1: torch.export.Dim("batch")}
    first, second = ("batch", "time") if layer.batch_first else ("time", "batch")
    axes = {0: torch.export.Dim(first), 1: torch.export.Dim(second)}
    x = torch.randn(6, 4, 3)
    _, hx = layer(x)
    shapes = (axes, (state, state) if isinstance(hx, tuple) else state)
    with torch.no_grad():
        exported: Any = torch.export.export(layer, (x, hx), dynamic_shapes=shapes).module()
        for sizes in ((6, 4), (40, 2), (3, 11)):
            x = torch.randn(*sizes, 3)
            _, hx = layer(x)
            torch.testing.assert_close(exported(x, hx), layer(x, hx))


CHECKS: dict[str, Callable[[], None]] = {}
for _name, _make in LAYERS.items():
    CHECKS[f"compiled-{_name}"] = lambda make=_make: check_compiled(make, 6, 4, 3)
    CHECKS[f"exported-{_name}"] = lambda name=_name: check_exported(name)
for _name, _make in CELLS.items():
    CHECKS[f"compiled-{_name}"] = lambda make=_make: check_compiled(make, 4, 3)


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    results = {}
    for name, check in CHECKS.items():
        torch.manual_seed(0)
        torch.compiler.reset()
        try:
            check()
            results[name] = None
        except Exception as error:
            results[name] = f"{type(error).__name__}: {str(error)[:1000]}"
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
