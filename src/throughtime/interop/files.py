"""Folders and state dicts as Hugging Face's transformers writes them: a config and tensors."""

import json
import os
import pickle
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save_file

from throughtime.errors import InputError
from throughtime.shapes import Tensor

Names = dict[str, Tensor]
"""Tensors by their names in a file."""

Source = str | os.PathLike[str] | Mapping[str, Tensor]
"""A folder with config.json and weights, or a state dict, whose config comes beside it."""

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Looked for in this order; each may be cut into parts, which an index lists."""


def read_source(source: Source, config: Mapping[str, Any] | None) -> tuple[dict[str, Any], Names]:
    """The config and the tensors.

    Args:
        source: a folder, or a state dict.
        config: the options; None reads them from config.json of the folder.

    Errors:
        InputError: what is missing, or no such file.
    """
    if config is not None and not isinstance(config, Mapping):
        came = type(config).__name__
        raise InputError(f"config is a {came}, expected options by name, such as config.to_dict()")
    if isinstance(source, Mapping):
        if config is None:
            raise InputError("config is None, expected the options beside a state dict")
        for name, tensor in source.items():
            if not isinstance(tensor, Tensor):
                raise InputError(f"{name} is a {type(tensor).__name__}, expected a tensor")
        return dict(config), dict(source)
    if not isinstance(source, str | os.PathLike):
        came = type(source).__name__
        raise InputError(f"source is a {came}, expected a folder or a state dict of tensors")
    folder = Path(source)
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder, expected one with config.json and weights")
    return dict(read_json(folder / "config.json") if config is None else config), _weights(folder)


def write_folder(folder: str | os.PathLike[str], tensors: Names, config: Mapping[str, Any]) -> None:
    """Write model.safetensors and config.json.

    Args:
        folder: made where it does not exist.
        tensors: by their names; copied to the CPU.
        config: the options.

    Errors:
        InputError: a file of that name, or options that JSON does not hold.
    """
    place = Path(folder)
    if place.exists() and not place.is_dir():
        raise InputError(f"{place} is a file, expected a folder to write to")
    try:
        json.dumps(dict(config))
    except (TypeError, ValueError) as error:
        raise InputError(f"config cannot be written: {error}") from None
    place.mkdir(parents=True, exist_ok=True)
    # A copy of each: tensors that share memory cannot be written.
    kept = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    save_file(kept, place / WEIGHTS[0], metadata={"format": "pt"})
    write_json(place / "config.json", config)


def read_json(path: Path) -> dict[str, Any]:
    """An object of a JSON file.

    Errors:
        InputError: no file, no JSON, or no object in it.
    """
    if not path.parent.is_dir():
        why = "is a file" if path.parent.exists() else "is not there, and nothing is downloaded"
        raise InputError(f"{path.parent} {why}; expected a folder with {path.name}")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise InputError(f"{path} cannot be read, expected a JSON file") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error})") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: holds a {type(found).__name__}, expected an object")
    return found


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object, its names in order."""
    path.write_text(json.dumps(dict(content), indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _weights(folder: Path) -> Names:
    """The tensors of a folder, from one file or from parts."""
    for name in WEIGHTS:
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            return _tensors(folder / name)
        if index.is_file():
            return _parts(folder, index)
    raise InputError(f"{folder} has no weights, expected {' or '.join(WEIGHTS)}")


def _parts(folder: Path, index: Path) -> Names:
    """The tensors of all parts that an index lists."""
    listed = read_json(index).get("weight_map")
    if not isinstance(listed, dict):
        raise InputError(f"{index} has no weight_map, expected one from tensors to files")
    names: Collection[str] = sorted({str(name) for name in listed.values()})
    for name in names:  # what a file says must not lead out of its folder
        if Path(name).name != name:
            raise InputError(f"{index}: lists {name!r}, expected a file of the same folder")
    return {key: value for name in names for key, value in _tensors(folder / name).items()}


def _tensors(path: Path) -> Names:
    """The tensors of one file; nothing that it holds is run."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {_line(error)}") from None
    except (safetensors.SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise InputError(f"{path} does not hold tensors alone: {_line(error)}") from None
    if not isinstance(found, Mapping) or not all(isinstance(x, Tensor) for x in found.values()):
        raise InputError(f"{path} holds a {type(found).__name__}, expected a state dict of tensors")
    return {str(name): tensor for name, tensor in found.items()}


def _line(error: Exception) -> str:
    """What an error says first."""
    return (str(error).splitlines() or [type(error).__name__])[0]
