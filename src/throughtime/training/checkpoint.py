"""What a run leaves in its folder: a checkpoint to go on from, and its metrics line by line.

    checkpoint/latest.safetensors     the newest
    checkpoint/previous.safetensors   the one before, should the disk spoil the newest
    metrics.jsonl                     one JSON object per line

A checkpoint is written beside the newest, brought to the disk and renamed over it, so that at any
moment a whole one is there.
"""

import json
import math
import os
import random
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch

from throughtime.errors import InputError
from throughtime.shapes import Tensor
from throughtime.state import load_tree, save_tree, write_atomically

FORMAT = 2
"""Raised when a checkpoint's content changes, so that an older throughtime refuses a newer one."""

LATEST = Path("checkpoint", "latest.safetensors")
PREVIOUS = Path("checkpoint", "previous.safetensors")
METRICS = Path("metrics.jsonl")


def has_checkpoint(folder: str | os.PathLike[str]) -> bool:
    """Whether there is something to resume from."""
    return any(Path(folder, name).exists() for name in (LATEST, PREVIOUS))


def save_checkpoint(folder: str | os.PathLike[str], content: dict[str, Any]) -> None:
    """Write a checkpoint; the newest becomes the previous one.

    Args:
        folder: the run's.
        content: nested dictionaries, lists and tuples of tensors and plain values.
    """
    latest, previous = Path(folder, LATEST), Path(folder, PREVIOUS)
    latest.parent.mkdir(parents=True, exist_ok=True)
    for left in latest.parent.glob(f".{latest.name}.*"):  # by a process killed while writing
        left.unlink()
    if latest.exists():
        # A second name for the same file: `latest` is never missing in between.
        second = latest.with_name(f".{previous.name}")
        second.unlink(missing_ok=True)
        try:
            os.link(latest, second)
        except OSError:  # a file system without hard links
            shutil.copyfile(latest, second)
        os.replace(second, previous)
        second.unlink(missing_ok=True)  # a rename between two names of one file does nothing
    save_tree({"format": FORMAT, **content}, latest)


def load_checkpoint(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the newest checkpoint that is whole; its tensors lie in main memory.

    Errors:
        InputError: no checkpoint, none that is whole, or one from a newer throughtime.
    """
    found = [Path(folder, name) for name in (LATEST, PREVIOUS) if Path(folder, name).exists()]
    if not found:
        raise InputError(f"resume: there is no checkpoint in {Path(folder)}")
    for path in found:
        try:
            version = _format(path)
        except safetensors.SafetensorError as error:
            warnings.warn(f"{path} is damaged ({error})", stacklevel=2)
            continue
        if version is None:
            raise InputError(f"resume: {path} is not a checkpoint")
        if version > FORMAT:
            raise InputError(
                f"resume: {path} has format {version}, this throughtime reads up to {FORMAT}; "
                "install a newer one"
            )
        return _own(load_tree(path))
    raise InputError(f"resume: no checkpoint in {Path(folder)} is whole")


def _format(path: Path) -> int | None:
    """The format a checkpoint says it has, read before anything a newer one may have added."""
    with safetensors.safe_open(os.fspath(path), framework="pt") as file:
        form = json.loads((file.metadata() or {}).get("throughtime.form", "{}"))
    return dict(form.get("dict", [])).get("format", {}).get("value")


def _own(tree: Any) -> Any:
    """The same with tensors in memory of their own, aligned as torch aligns it.

    Sums over memory that is aligned otherwise may differ in the last bit.
    """
    if isinstance(tree, Tensor):
        return tree.clone()
    if isinstance(tree, dict):
        return {key: _own(part) for key, part in tree.items()}
    if isinstance(tree, list | tuple):
        parts = [_own(part) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return tree


def set_seed(seed: int) -> None:
    """Seed all global random generators."""
    torch.manual_seed(seed)  # CUDA's too
    random.seed(seed)
    np.random.seed(seed % 2**32)


def random_states() -> dict[str, Any]:
    """The states of all global random generators, as tensors and plain values."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": random.getstate(),
        "numpy": (str(kind), torch.tensor(np.asarray(keys).astype(np.int64)), *rest),
    }


def restore_random_states(states: dict[str, Any]) -> None:
    """Put all global generators where `random_states` found them.

    The generators of CUDA devices are set as far as this machine has as many.
    """
    torch.set_rng_state(states["torch"])
    if torch.cuda.is_available():
        for index, state in enumerate(states["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(state, index)
    random.setstate(states["python"])
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))


class Metrics:
    """Records of a run, in memory and, given a folder, in `metrics.jsonl`.

    Args:
        folder: the run's; None keeps them in memory only.
        keep: how many records of an earlier run to keep: those its checkpoint knows of.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None, keep: int = 0) -> None:
        self.records: list[dict[str, Any]] = []
        self.path = None if folder is None else Path(folder, METRICS)
        if self.path is not None:
            lines = self.path.read_text().splitlines()[:keep] if self.path.exists() else []
            self.records = [json.loads(line) for line in lines]
            write_atomically(self.path, "".join(f"{line}\n" for line in lines).encode())

    def add(self, record: dict[str, Any]) -> None:
        """Keep a record; numbers that JSON has no word for (NaN, infinity) become None."""
        plain = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in record.items()
        }
        self.records.append(plain)
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps(plain) + "\n")

    def sync(self) -> None:
        """Bring all lines to the disk: a checkpoint is about to count on them."""
        if self.path is not None and self.path.exists():
            with self.path.open("a") as file:
                os.fsync(file.fileno())
