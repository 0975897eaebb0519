"""Export models and compare what the files give; run in a process of its own.

The shape checks of the tests cannot be traced. `python -m tests.exporting.alone FOLDER FORM CASE
...` prints, as JSON, by case and graph the largest difference over several sizes.
"""

import contextlib
import functools
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import torch

from tests.exporting.cases import model
from throughtime.exporting import (
    graphs_of,
    open_package,
    open_session,
    run_session,
    write_onnx,
    write_package,
)
from throughtime.exporting.checking import difference, go_on, made_up
from throughtime.state import tensors

SIZES = [(1, 1, 1), (2, 2, 2), (3, 9, 4), (5, 70, 11)]
"""Rows, steps and steps of a source; files are traced at 3, 5 and 7."""


def compare(graph, compute, seed):
    """At all sizes; and with a row and with all rows that have nothing real."""
    random, worst = torch.Generator().manual_seed(seed), 0.0
    for sizes in SIZES:
        given = made_up(graph, dict(zip(("batch", "time", "steps"), sizes, strict=True)), random)
        for blank in (lambda mask: mask, _but_one_row, torch.zeros_like):
            masked = [blank(part) if "mask" in port.name else part
                      for port, part in zip(graph.takes, given, strict=True)]  # fmt: skip
            worst = max(worst, difference(graph(*masked), compute(masked)))
    return worst


def _but_one_row(mask):
    return mask & (torch.arange(len(mask)) > 0).unsqueeze(1)


def streams(graphs, computes):
    """Steps of the file, each going on from the state of the one before, against whole rows."""
    whole, step = graphs["whole"], graphs["step"]
    random = torch.Generator().manual_seed(1)
    given = made_up(whole, {"batch": 2, "time": 12, "steps": 5}, random)
    fed = [part for port, part in zip(whole.takes, given, strict=True) if "mask" not in port.name]
    real = [torch.ones_like(p) if "mask" in port.name else p
            for port, p in zip(whole.takes, given, strict=True)]  # fmt: skip
    if "encoder" in graphs:
        state = computes["encoder"](real[:2])
        fed = fed[1:]
    else:
        state = tensors(whole.model.initial_state(2))
    expected, found = [part[:, -1] if part.ndim > 2 else part for part in whole(*real)], []
    for at in range(12):
        found = computes["step"]([*(part[:, at] for part in fed), *state])
        state = go_on(step, state, found)
    return difference(expected, found[: len(expected)])


def differences(name, folder, form):
    made = {graph.name: graph for graph in graphs_of(model(name))}
    computes, found = {}, {}
    for key, graph in made.items():
        path = folder / f"{name}-{key}.{form}"
        if form == "onnx":
            write_onnx(graph, path)
            session = open_session(path, threads=1)
            computes[key] = lambda given, s=session, g=graph: run_session(s, g, given)
        else:
            write_package(graph, path)
            module = open_package(path)
            computes[key] = lambda given, m=module: m(*given)
        with torch.no_grad():
            found[key] = compare(graph, computes[key], seed=len(name))
    if "step" in made:
        with torch.no_grad():
            found["streamed"] = streams(made, computes)
    return found


def read_registry_once():
    """What torch knows of ONNX it gathers anew for every file, which takes longer than the file."""
    with contextlib.suppress(ImportError, AttributeError):
        from torch.onnx._internal.exporter import _registration

        kind: Any = _registration.ONNXRegistry
        gathered = functools.cache(kind.from_torchlib)
        kind.from_torchlib = staticmethod(lambda *given, **named: gathered(*given, **named))


def main(folder, form, names):
    read_registry_once()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    results = {}
    for name in names:
        try:
            results[name] = differences(name, Path(folder), form)
        except Exception as error:
            results[name] = {"error": f"{type(error).__name__}: {str(error)[:500]}"}
        print(name, results[name], file=sys.stderr, flush=True)
    print(json.dumps(results))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
