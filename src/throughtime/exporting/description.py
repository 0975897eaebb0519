"""What lies beside exported files: enough to run them without throughtime."""

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import throughtime
from throughtime.data.calendar import feature_names
from throughtime.data.columns import Columns
from throughtime.data.pair_vocabulary import PairVocabulary
from throughtime.data.text import Vocabulary
from throughtime.exporting.graphs import Graph, Step
from throughtime.exporting.ports import NEXT, named
from throughtime.training.run import Run

FORMAT = 1
NAME = "export.json"
STATE = "initial_state.npz"


def write_description(
    folder: Path,
    run: Run,
    graphs: Sequence[Graph],
    files: Mapping[str, Mapping[str, Any]],
) -> None:
    """`export.json`, and the state before the first step as `initial_state.npz`.

    Args:
        folder: where the files lie.
        run: what was exported.
        graphs: the graphs of it.
        files: of each graph, by its name: file names and differences.
    """
    found: dict[str, Any] = {
        "format": FORMAT,
        "throughtime": throughtime.__version__,
        "task": run.config.data.task,
        "model": run.config.model.kind,
        "graphs": {graph.name: _graph(graph) | dict(files[graph.name]) for graph in graphs},
        **_meaning(run),
    }
    state = initial_state(graphs)
    if state:
        np.savez(folder / STATE, **state)  # pyright: ignore[reportArgumentType]
        found["initial_state"] = STATE
    text = json.dumps(found, indent=1, ensure_ascii=False)
    (folder / NAME).write_text(text + "\n", encoding="utf-8")


def _graph(graph: Graph) -> dict[str, Any]:
    found: dict[str, Any] = {
        "inputs": [port.to_json() for port in graph.takes],
        "outputs": [port.to_json() for port in graph.gives],
    }
    if isinstance(graph, Step):
        given = {port.name for port in graph.gives}
        found["state"] = {
            port.name: port.name + NEXT if port.name + NEXT in given else port.name
            for port in graph.memory
        }
    return found


@torch.no_grad()
def initial_state(graphs: Sequence[Graph]) -> dict[str, np.ndarray]:
    """The state before the first step, of one row; none where an encoder makes it."""
    steps = [graph for graph in graphs if isinstance(graph, Step)]
    if not steps or any(graph.name == "encoder" for graph in graphs):
        return {}
    begun = named(steps[0].model.initial_state(1))
    return {name: part.detach().numpy() for name, part in begun}


def _meaning(run: Run) -> dict[str, Any]:
    """What ids and numbers stand for."""
    vocabulary = run.vocabulary
    found: dict[str, Any] = {}
    if isinstance(vocabulary, PairVocabulary):
        found["source"] = {**_tokens(vocabulary.source), "end": vocabulary.source_end}
        found["target"] = {
            **_tokens(vocabulary.target), "begin": vocabulary.begin, "end": vocabulary.target_end,
        }  # fmt: skip
    elif isinstance(vocabulary, Vocabulary):
        found["target"] = {**_tokens(vocabulary), "begin": vocabulary.begin}
    elif not run.config.model.classes:
        columns = run.config.data.columns
        told = columns.to_json()
        found["columns"] = {name: value for name, value in told.items() if value}
        found["x"] = [*columns.targets, *columns.past]
        found["covariates"] = covariate_names(columns)
        found["begin"] = "NaN"
    elif run.config.data.features:
        found["x"] = run.config.data.features.split(",")
    if run.labels is not None:
        found["labels"] = {"kind": run.labels.kind, "names": list(run.labels.names)}
    return found


def covariate_names(columns: Columns) -> list[str]:
    """What each covariate is, in the order in which a model reads them.

    Known columns as they are; sine and cosine of each cycle of the calendar; what does not change
    within a series, a word as 1 where the series has it and 0 elsewhere.
    """
    words = dict(columns.categories)
    fixed = [
        [f"{name}={word}" for word in words[name]] if name in words else [name]
        for name in columns.static
    ]
    return [*columns.known, *feature_names(columns.calendar or ()), *itertools.chain(*fixed)]


def _tokens(vocabulary: Vocabulary) -> dict[str, Any]:
    """The tokens by their ids; of pieces of words also what cuts texts into them."""
    found = json.loads(vocabulary.to_json())
    found.pop("format")
    found["tokens"] = [vocabulary.name(number) for number in range(len(vocabulary))]
    return {name: value for name, value in found.items() if value is not None}
