"""`throughtime export`: a trained model as files that run elsewhere."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from throughtime.commands import options
from throughtime.commands.console import say
from throughtime.exporting.exporter import Export, Written, export_run

SHOWN = {
    "nats": "nats",
    "bits": "bits",
    "perplexity": "perplexity",
    "accuracy": "accuracy %",
    "loss": "mean loss",
    "step_microseconds": "µs a step",
    "whole_microseconds": "µs a whole of 1",
    "encoder_microseconds": "µs a source of 1",
}
"""Measures, and what they are called in the table."""


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run.")],
    form: Annotated[
        str, typer.Option("--format", help="onnx, or torch: a package of torch.export.")
    ] = "onnx",
    whole: Annotated[
        bool, typer.Option("--whole", help="Only the graph of whole sequences.")
    ] = False,
    step: Annotated[
        bool, typer.Option("--step", help="Only that of one step, with the state in and out; of "
                           "pairs also the encoder.")
    ] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="Also write ONNX with weights in eight bits, and measure "
                           "what that costs on the validation part.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="The folder to write to. Default: export, in the run's.",
                                  rich_help_panel=options.OUTPUT),
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Write a trained model as ONNX or as a package of torch.export, and check it on its own data.

    Two graphs by default, where the model has both: whole.onnx, from whole padded sequences to
    what is foretold at each step, and step.onnx, for one step, whose inputs and outputs hold the
    state. Rows and time are free. export.json says what goes in and comes out, and what ids mean;
    initial_state.npz is the state before the first step. ONNX files need nothing of throughtime to
    run; packages need import throughtime.exporting, which knows their operators.

    Each file is run on the validation part, and must give what the model gives. An earlier export
    in the folder is replaced when all is written and checked.
    """
    both = whole == step
    found = export_run(
        run, out or run / "export", form=form, whole=whole or both, step=step or both, int8=int8
    )
    if as_json:
        print(json.dumps(_plain(found), ensure_ascii=False))
        return
    checked = f"{found.rows:,} steps of validation" if found.rows else "numbers made up"
    for one in (*found.files, *found.int8):
        print(_line(one, checked))
    if found.measures:
        print()
        for line in table(found.measures):
            print(line)
    for note in found.notes:
        say(note, quiet=quiet)


def _line(one: Written, checked: str) -> str:
    size = f"{one.bytes / 2**20:.2f} MiB" if one.bytes >= 2**20 else f"{one.bytes / 2**10:.1f} KiB"
    if one.path.name.endswith(".int8.onnx"):
        return f"{one.path}: {size}"
    return f"{one.path}: {size}, within {one.difference:.1e} of the model on {checked}"


def table(measures: dict[str, dict[str, float]]) -> list[str]:
    """Versions side by side, as lines of text.

    Examples:
        >>> for line in table({"onnx": {"nats": 1.25}, "int8": {"nats": 1.5}}):
        ...     print(line)
                nats
        onnx  1.2500
        int8  1.5000
    """
    columns = [name for name in SHOWN if any(name in values for values in measures.values())]
    rows = [["", *(SHOWN[name] for name in columns)]]
    for version, values in measures.items():
        digits = {
            name: 1 if "micro" in name else 2 if name == "accuracy" else 4 for name in columns
        }
        rows.append([version, *(f"{values[name]:.{digits[name]}f}" for name in columns)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _plain(found: Export) -> dict[str, Any]:
    return {
        "folder": str(found.folder),
        "files": [
            {
                "path": str(one.path),
                "bytes": one.bytes,
                "difference": None if one in found.int8 else one.difference,
                "microseconds": one.microseconds,
            }
            for one in (*found.files, *found.int8)
        ],
        "steps": found.rows,
        "measures": found.measures,
        "notes": found.notes,
    }
