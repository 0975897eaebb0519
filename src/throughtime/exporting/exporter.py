"""A run as files that others can run: written, checked on the run's own data, and described."""

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from throughtime.errors import InputError
from throughtime.exporting import checking, onnx_files, programs
from throughtime.exporting.checking import Compute, no_larger
from throughtime.exporting.description import NAME, STATE, initial_state, write_description
from throughtime.exporting.graphs import Graph, graphs_of
from throughtime.exporting.rows import Judge, Piece, judged, validation
from throughtime.tasks.opening import open_data
from throughtime.training.run import Run, load_run

FORMS = {"onnx": ".onnx", "torch": ".pt2"}
"""What a run can become, and what the names of such files end in."""

UNFINISHED = ".unfinished-"
"""What the name of a folder begins with while its files are not all there, and checked."""

STEPS = 64
"""Steps that follow one another while the graph of one step is checked."""


@dataclass
class Written:
    """One file.

    Attributes:
        path: where it lies.
        graph: what it computes.
        bytes: its size.
        difference: the largest from the model, relative to 1 + |value|.
        microseconds: the median time of one call on one row and one step; None: not measured.
    """

    path: Path
    graph: Graph
    bytes: int = 0
    difference: float = 0.0
    microseconds: float | None = None


@dataclass
class Export:
    """What was written.

    Attributes:
        folder: where.
        files: as they are.
        int8: those with weights in eight bits.
        rows: steps, rows or images of data that the files were checked on; 0: on numbers made up.
        measures: by name of the version (`throughtime`, `onnx`, `int8`), how well the validation
            part is foretold, and the microseconds of a call.
        notes: what else there is to say, a line each.
    """

    folder: Path
    files: list[Written] = field(default_factory=list)
    int8: list[Written] = field(default_factory=list)
    rows: int = 0
    measures: dict[str, dict[str, float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def export_run(
    source: Path,
    folder: Path,
    *,
    form: str = "onnx",
    whole: bool = True,
    step: bool = True,
    int8: bool = False,
) -> Export:
    """Write the files of a run and check them against it.

    Args:
        source: the folder of the run.
        folder: where the files go. It may hold an earlier export, which is replaced once all files
            are written and checked, and nothing else.
        form: `onnx` or `torch`.
        whole: write the graph of whole sequences.
        step: write the graph of one step, with the state as inputs and outputs; of an
            encoder-decoder also the encoder.
        int8: of onnx, write the same with weights in eight bits, and measure what that costs.

    Errors:
        InputError: no run, a model that cannot be exported, a folder with other files, or a file
            whose answers differ from the model's.
        MissingExtra: onnx without the packages of the extra `interop`.

    Examples:
        >>> export_run(Path("nowhere"), Path("files"), form="paper")
        Traceback (most recent call last):
        throughtime.errors.InputError: export: form is 'paper', expected onnx or torch
    """
    if form not in FORMS:
        raise InputError(f"export: form is {form!r}, expected {' or '.join(FORMS)}")
    if int8 and form != "onnx":
        raise InputError(f"export: int8 is for onnx, and form is {form!r}")
    if form == "onnx":
        onnx_files.check_extra()
    run = load_run(source, dtype=torch.float32)
    _check_folder(folder)
    several = run.labels is not None and run.labels.kind == "several"
    graphs = graphs_of(run.model, whole=whole, step=step, several=several)
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=UNFINISHED, dir=folder) as place:
        found = _written(run, graphs, Path(place), form, int8=int8)
        _replace(folder, Path(place))
    found.folder = folder
    for one in (*found.files, *found.int8):
        one.path = folder / one.path.name
    return found


def _written(run: Run, graphs: Sequence[Graph], folder: Path, form: str, *, int8: bool) -> Export:
    """All files, checked."""
    found = Export(folder)
    pieces, judge = _rows(run, found)
    found.rows = sum(int(_count(piece)) for piece in pieces)
    for graph in graphs:
        path = folder / (graph.name + FORMS[form])
        (onnx_files.write_onnx if form == "onnx" else programs.write_package)(graph, path)
        one = Written(path, graph, onnx_files.size_of(path))
        one.difference = no_larger(_check(graph, opened(one), pieces, graphs), path.name)
        found.files.append(one)
    if int8:
        _write_int8(found, pieces, judge)
    files = {
        one.graph.name: {"file": one.path.name, "difference": one.difference} for one in found.files
    }
    write_description(folder, run, graphs, files)
    return found


def _ours() -> set[str]:
    """The names of all files that an export may have."""
    ends = [*FORMS.values(), ".int8.onnx"]
    files = {name + end for name in ("whole", "step", "encoder") for end in ends}
    return {NAME, STATE, *files, *(f"{name}.data" for name in files)}


def _check_folder(folder: Path) -> None:
    """Refuse a folder that holds anything but an earlier export."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"export: {folder} is a file, expected a folder to write to")
    names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    there = [name for name in names if not name.startswith(UNFINISHED)]
    others = [name for name in there if name not in _ours()]
    if others:
        raise InputError(f"export: {folder} holds {others[0]}, expected an empty folder")
    if there and NAME not in there:  # then somebody else wrote what is called as ours are
        raise InputError(
            f"export: {folder} holds {there[0]} without {NAME}, expected an empty folder"
        )


def _replace(folder: Path, place: Path) -> None:
    """Put finished files in the place of an earlier export, and of what was never finished."""
    for path in folder.iterdir():
        if path.name in _ours():
            path.unlink()
        elif path != place:
            shutil.rmtree(path, ignore_errors=True)
    # The description comes last: where it stands, all that it lists does.
    for path in sorted(place.iterdir(), key=lambda path: path.name == NAME):
        path.replace(folder / path.name)


def _rows(run: Run, found: Export) -> tuple[list[Piece], Judge | None]:
    """Rows of the validation part, if the data are still there."""
    try:
        data = open_data(run.config.data, vocabulary=run.vocabulary, dtype=torch.float32)
    except (InputError, OSError) as error:
        found.notes.append(f"checked on numbers made up, for the data cannot be read: {error}")
        return [], None
    return validation(run, data.task)


def _count(piece: Piece) -> int:
    """Real steps; of images, rows."""
    masks = [part for part in piece.inputs if part.dtype == torch.bool]
    return int(masks[-1].sum()) if masks else len(piece.targets)


def opened(one: Written, threads: int = 0) -> Compute:
    """A file that was written, ready to compute."""
    if one.path.suffix == ".onnx":
        session = onnx_files.open_session(one.path, threads)
        return partial(onnx_files.run_session, session, one.graph)
    module = programs.open_package(one.path)
    return lambda given: module(*given)


def _check(
    graph: Graph, compute: Compute, pieces: Sequence[Piece], graphs: Sequence[Graph]
) -> float:
    """The largest difference, on rows of data where there are some."""
    if not pieces:
        return checking.check_made_up(graph, compute)
    if graph.name == "whole":
        return checking.check_rows(graph, compute, pieces)
    if graph.name == "encoder":
        sources = [dataclasses.replace(piece, inputs=piece.inputs[:2]) for piece in pieces]
        return checking.check_rows(graph, compute, sources)
    return checking.check_steps(graph, compute, *_beginning(pieces[0], graphs))


@torch.no_grad()
def _beginning(piece: Piece, graphs: Sequence[Graph]) -> tuple[list[Tensor], list[Tensor]]:
    """What some rows feed to the graph of one step, and the state before."""
    encoders = [graph for graph in graphs if graph.name == "encoder"]
    if encoders:
        source, source_mask, tokens, _ = piece.inputs
        return [tokens[:4, :STEPS]], list(encoders[0](source[:4], source_mask[:4]))
    values, mask, *more = piece.inputs
    longest = mask.sum(1) == mask.shape[1]  # padded by nothing
    rows = longest.nonzero().flatten()[:4]
    state = [torch.from_numpy(part) for part in initial_state(graphs).values()]
    begun = [part.repeat_interleave(len(rows), dim=0) for part in state]
    return [part[rows, :STEPS] for part in (values, *more)], begun


def _write_int8(found: Export, pieces: Sequence[Piece], judge: Judge | None) -> None:
    """The same files with weights in eight bits, and what that costs."""
    for one in found.files:
        path = one.path.with_suffix(".int8.onnx")
        kept = onnx_files.quantise(one.path, path)
        found.int8.append(Written(path, one.graph, onnx_files.size_of(path)))
        if kept:
            kinds = " and ".join(kept)
            found.notes.append(
                f"{path.name}: {kinds} nodes keep float32 weights; ONNX Runtime has no others"
            )
    if not any(one.graph.name == "whole" for one in found.files):
        found.notes.append("what int8 costs in accuracy is measured with the graph of --whole only")
    by_version: dict[str, list[tuple[Graph, Callable[..., Any]]]] = {
        "throughtime": [(one.graph, lambda given, g=one.graph: g(*given)) for one in found.files],
        "onnx": [(one.graph, opened(one, 1)) for one in found.files],
        "int8": [(one.graph, opened(one, 1)) for one in found.int8],
    }
    for version, computes in by_version.items():
        found.measures[version] = _measured(computes, pieces, judge)
    for files, version in ((found.files, "onnx"), (found.int8, "int8")):
        for one in files:
            one.microseconds = found.measures[version].get(f"{one.graph.name}_microseconds")


@torch.no_grad()
def _measured(
    computes: Sequence[tuple[Graph, Compute]], pieces: Sequence[Piece], judge: Judge | None
) -> dict[str, float]:
    """How well whole rows are foretold, and what a call costs by one thread."""
    measures: dict[str, float] = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for graph, compute in computes:
            if graph.name == "whole" and judge is not None and pieces:
                measures |= judged(judge, pieces, lambda piece, c=compute: c(piece.inputs))
            given = checking.example_of(graph)
            measures[f"{graph.name}_microseconds"] = checking.time_of(compute, given)
    finally:
        torch.set_num_threads(threads)
    return measures
