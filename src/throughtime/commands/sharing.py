"""What several commands do alike."""

import platform
import re
from pathlib import Path
from typing import Any

import torch

import throughtime
from throughtime.commands import options
from throughtime.commands.console import show_pairs
from throughtime.errors import InputError
from throughtime.tasks.opening import Opened, open_data


def open_and_show(given: dict[str, Any], *, quiet: bool) -> Opened:
    """Read the data a command was given, and say what is in them."""
    options.check_device(given["device"])
    check_out(given["out"])  # before anything long begins
    config = options.data_config(given)
    opened = open_data(config, device=given["device"], dtype=options.dtype_of(given["dtype"]))
    show_pairs("Data", opened.report.rows(), quiet=quiet)
    return opened


def check_out(out: Path | None) -> None:
    """A folder that results may be written to.

    Errors:
        InputError: it holds something already, or it is a file, or lies below one.
    """
    if out is None:
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        what = "is not empty" if out.is_dir() else "is a file"
        raise InputError(f"--out {out} {what}; choose a new folder")
    above = next((each for each in out.parents if each.exists()), None)
    if above is not None and not above.is_dir():
        raise InputError(f"--out {out}: {above} is a file, it can hold no folder")


def folder_for(out: Path | None, kind: str, source: str) -> Path:
    """The folder to write to: the one asked for, or the first free `KIND-NAME`.

    Errors:
        InputError: the folder asked for cannot be used.
    """
    check_out(out)
    if out is not None:
        return out
    name = re.sub(r"[^\w.-]+", "-", Path(source).name.split(".")[0]) or "data"
    free = Path(f"{kind}-{name}")
    number = 2
    while free.exists():
        free, number = Path(f"{kind}-{name}-{number}"), number + 1
    return free


def versions(seeds: int, seconds: float) -> list[tuple[str, str]]:
    """What was run, for a report."""
    return [
        ("throughtime", throughtime.__version__),
        ("torch", torch.__version__),
        ("python", platform.python_version()),
        ("threads", str(torch.get_num_threads())),
        ("seeds", f"0 to {seeds - 1}" if seeds > 1 else "0"),
        ("duration", f"{seconds / 60:.1f} minutes"),
    ]
