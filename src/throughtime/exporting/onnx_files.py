"""Graphs as ONNX, ONNX in ONNX Runtime, and its weights in eight bits."""

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from throughtime.errors import InputError, MissingExtra
from throughtime.exporting import nodes
from throughtime.exporting.graphs import Graph
from throughtime.exporting.ports import Port
from throughtime.exporting.programs import program

LARGEST = 1 << 40
"""Bytes of what is worked out when a file is written: weights of any size are put in order."""


def check_extra() -> None:
    """Refuse to begin without the packages that are needed.

    Errors:
        MissingExtra: one of them is not there.
    """
    for name in ("onnx", "onnxscript", "onnxruntime"):
        _package(name)


def write_onnx(graph: Graph, path: Path) -> None:
    """A graph as an ONNX file, with the axes `batch`, `time` and `steps` free.

    Args:
        graph: what to write.
        path: of the file. Weights of more than 2 GB go to a second one beside it.

    Errors:
        MissingExtra: without onnx and onnxscript.
        InputError: an operation that ONNX has not.
    """
    onnxscript = _package("onnxscript")
    _package("onnx")
    traced = program(graph)
    with _quiet():
        try:
            made: Any = torch.onnx.export(
                traced,
                dynamo=True,
                input_names=[port.name for port in graph.takes],
                output_names=[port.name for port in graph.gives],
                opset_version=nodes.OPSET,
                custom_translation_table=nodes.table(),
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise InputError(f"export: {graph.name}: {_reason(error)}") from error
        model = made.model
        onnxscript.optimizer.fold_constants(
            model, onnx_shape_inference=False, input_size_limit=LARGEST, output_size_limit=LARGEST
        )
        onnxscript.optimizer.remove_unused_nodes(model)
        _forget(model)
        _name_axes(model.graph.inputs, graph.takes)
        _name_axes(model.graph.outputs, graph.gives)
        made.save(path)


def _forget(model: Any) -> None:
    """Leave out where in which source file each node comes from: that is for debugging."""
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    ClearMetadataAndDocStringPass()(model)


def _name_axes(values: Sequence[Any], ports: Sequence[Port]) -> None:
    """Free axes are called what they are."""
    import onnx_ir

    for value, port in zip(values, ports, strict=True):
        value.shape = onnx_ir.Shape(port.shape)


def _reason(error: BaseException) -> str:
    """What torch found that ONNX has not, out of what it says."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def open_session(path: Path, threads: int = 0) -> Any:
    """A file in ONNX Runtime.

    Args:
        path: of the file.
        threads: of one operator; 0: as many as there are.

    Errors:
        MissingExtra: without onnxruntime.
    """
    onnxruntime = _package("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run_session(session: Any, graph: Graph, tensors: Sequence[Tensor]) -> list[Tensor]:
    """What a file gives."""
    fed = {
        port.name: part.contiguous().numpy()
        for port, part in zip(graph.takes, tensors, strict=True)
    }
    return [torch.from_numpy(part) for part in session.run([p.name for p in graph.gives], fed)]


def quantise(path: Path, to: Path) -> tuple[str, ...]:
    """A file with weights in eight bits; what comes in is rounded as it comes.

    ONNX Runtime has integer versions of products with matrices, LSTM nodes and tables of vectors.
    It has none of GRU and RNN nodes, whose weights stay as they are.

    Args:
        path: a file.
        to: the file to write.

    Returns:
        Kinds of nodes that kept their weights.
    """
    import onnx

    _package("onnxruntime")
    with _quiet():
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(path, to, per_channel=True, weight_type=QuantType.QInt8)
        model = onnx.load(str(to), load_external_data=False)
    there = {node.op_type for node in model.graph.node}
    return tuple(kind for kind in ("GRU", "RNN") if kind in there)


def size_of(path: Path) -> int:
    """Bytes of a file, and of that beside it with its weights."""
    beside = path.with_name(path.name + ".data")
    return path.stat().st_size + (beside.stat().st_size if beside.exists() else 0)


def _package(name: str) -> Any:
    """A package that is not needed but here."""
    try:
        return __import__(name)
    except ImportError:
        raise MissingExtra("export to ONNX", name, "interop") from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what exporters tell their own developers."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
