"""Models as files that run elsewhere: ONNX, and packages of `torch.export`.

Importing this makes the operators known that packages of `torch.export` hold.
"""

from throughtime.exporting import operators as operators
from throughtime.exporting.exporter import Export, Written, export_run
from throughtime.exporting.graphs import Graph, graphs_of
from throughtime.exporting.onnx_files import open_session, quantise, run_session, write_onnx
from throughtime.exporting.ports import Port
from throughtime.exporting.programs import open_package, program, write_package

__all__ = [
    "Export",
    "Graph",
    "Port",
    "Written",
    "export_run",
    "graphs_of",
    "open_package",
    "open_session",
    "program",
    "quantise",
    "run_session",
    "write_onnx",
    "write_package",
]
