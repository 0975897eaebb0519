"""Graphs as programs of torch, traced once, with axes that stay free; and as files of these."""

import warnings
from pathlib import Path
from typing import Any

import torch

from throughtime.exporting.graphs import Graph, blank
from throughtime.exporting.operators import graph_kernels
from throughtime.exporting.ports import BATCH, STEPS, TIME

EXAMPLE = {BATCH: 3, TIME: 5, STEPS: 7}
"""Sizes of the free axes while a graph is traced; none is 1, which would count as fixed."""


def program(graph: Graph) -> torch.export.ExportedProgram:
    """The graph, traced; batch, time and steps of a source are free."""
    free = tuple(
        {at: torch.export.Dim(axis) for at, axis in enumerate(port.shape) if axis in EXAMPLE}
        for port in graph.takes
    )
    with torch.no_grad(), graph_kernels(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(
            graph, tuple(blank(graph, EXAMPLE)), dynamic_shapes={"tensors": free}
        )


def write_package(graph: Graph, path: Path) -> None:
    """A graph as a file of `torch.export`.

    Whoever loads it imports `throughtime.exporting` first: the graph holds its operators.

    Args:
        graph: what to write.
        path: of the file, which ends in `.pt2`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program(graph), path)


def open_package(path: Path) -> Any:
    """What `write_package` wrote, as a module."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.load(path).module()
