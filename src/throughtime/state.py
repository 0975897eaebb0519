"""Functions on states.

A state is a value: a tensor, or a tuple (named or not) of states, batch first in every part. A
stack's state is the tuple of its layers' states and a layer without memory has the state `()`.
Nothing that depends on earlier calls lives anywhere else, so that

- truncated back-propagation is [`detach`][throughtime.state.detach],
- beam search and sessions are [`select`][throughtime.state.select] and
  [`concatenate`][throughtime.state.concatenate],
- a pause is [`save`][throughtime.state.save] and [`load`][throughtime.state.load].
"""

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import safetensors.torch
import torch

from throughtime.errors import InputError
from throughtime.shapes import Int, Tensor

State = Any
"""A tensor, or a tuple (possibly named, possibly empty) of states."""

S = TypeVar("S")

_NAMED: dict[str, type] = {}


def register(kind: type[S]) -> type[S]:
    """Make a named tuple known to [`load`][throughtime.state.load]; a class decorator.

    Errors:
        InputError: another class of that name is registered already.
    """
    if _NAMED.setdefault(kind.__name__, kind) is not kind and (
        _NAMED[kind.__name__].__module__,
        _NAMED[kind.__name__].__qualname__,
    ) != (kind.__module__, kind.__qualname__):
        raise InputError(f"register: a state named {kind.__name__} exists already")
    _NAMED[kind.__name__] = kind
    return kind


def map_tensors(function: Callable[..., Tensor], state: S, *others: S) -> S:
    """Apply `function` to each tensor of `state`, beside the same tensors of `others`."""
    return _map(function, (state, *others))


def _map(function: Callable[..., Tensor], states: tuple[State, ...]) -> Any:
    first = states[0]
    if isinstance(first, Tensor):
        return function(*states)
    if not isinstance(first, tuple):
        raise InputError(f"state: expected tensors in tuples, got {type(first).__name__}")
    for other in states[1:]:
        if type(other) is not type(first) or len(other) != len(first):
            raise InputError(f"state: structures differ, {structure(first)} and {structure(other)}")
    parts = [_map(function, tuple(column)) for column in zip(*states, strict=True)]
    return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)


def tensors(state: State) -> list[Tensor]:
    """All tensors of `state`, depth first."""
    found: list[Tensor] = []

    def keep(part: Tensor) -> Tensor:
        found.append(part)
        return part

    map_tensors(keep, state)
    return found


def structure(state: State) -> str:
    """The form of `state` in words, for messages: names, shapes and types."""
    if isinstance(state, Tensor):
        return f"{str(state.dtype).removeprefix('torch.')}{list(state.shape)}"
    if isinstance(state, tuple):
        names = getattr(state, "_fields", None)
        parts = [structure(part) for part in state]
        if names:
            parts = [f"{name}={part}" for name, part in zip(names, parts, strict=True)]
            return f"{type(state).__name__}({', '.join(parts)})"
        return f"({', '.join(parts)})"
    return type(state).__name__


def detach(state: S) -> S:
    """The same values without their history: here truncated back-propagation cuts.

    Examples:
        >>> h = torch.ones(1, 2, requires_grad=True) * 2
        >>> detach((h,))[0].requires_grad
        False
    """
    return map_tensors(Tensor.detach, state)


def select(state: S, rows: Int[Tensor, " chosen"] | Sequence[int]) -> S:
    """The chosen rows of a state, in the order given; a row may be chosen many times.

    Examples:
        >>> select((torch.tensor([[1.0], [2.0]]),), [1, 1, 0])[0].flatten().tolist()
        [2.0, 2.0, 1.0]
    """
    index = torch.as_tensor(rows, dtype=torch.long)
    return map_tensors(lambda part: part.index_select(0, index.to(part.device)), state)


def concatenate(states: Sequence[S]) -> S:
    """One state with the rows of all, in order.

    Errors:
        InputError: no states, or states of different structure.
    """
    if not states:
        raise InputError("concatenate: expected at least one state, got none")
    return map_tensors(lambda *parts: torch.cat(parts), *states)


def to(
    state: S,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> S:
    """The state on another device, or its floating-point parts in another type.

    Whole numbers (counts, token ids) and truth values keep their type.
    """

    def move(part: Tensor) -> Tensor:
        return part.to(device=device, dtype=dtype if part.is_floating_point() else None)

    return map_tensors(move, state)


def nbytes(state: State) -> int:
    """The size of the state's tensors in bytes."""
    return sum(part.numel() * part.element_size() for part in tensors(state))


def save(state: State, path: str | os.PathLike[str]) -> None:
    """Write a state to a safetensors file, with its structure.

    The file appears whole or not at all: it is written beside `path` and then renamed.
    """
    save_tree(state, path)


def load(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> State:
    """Read a state back: same structure, same values.

    Errors:
        InputError: no such file, not a state, or a named state nobody registered.
    """
    return load_tree(path, device)


# A tree is what checkpoints are made of: a state, or dictionaries and lists of trees, with numbers,
# words and None as further leaves. Tensors go to the file's body, the form to its header.


def save_tree(tree: Any, path: str | os.PathLike[str]) -> None:
    """Write nested dictionaries, lists, tuples, tensors and plain values to one file at once."""
    bodies: dict[str, Tensor] = {}
    form = json.dumps(_describe(tree, "", bodies))
    data = safetensors.torch.save(bodies, metadata={"throughtime.form": form})
    write_atomically(path, data)


def load_tree(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> Any:
    """Read what [`save_tree`][throughtime.state.save_tree] wrote.

    Errors:
        InputError: no such file, or a file that was not written by `save_tree`.
    """
    try:
        with safetensors.safe_open(os.fspath(path), framework="pt", device=str(device)) as file:
            form = (file.metadata() or {}).get("throughtime.form")
            if form is None:
                raise InputError(f"load: {path} holds tensors but no state")
            return _rebuild(json.loads(form), file.get_tensor)
    except FileNotFoundError:
        raise InputError(f"load: there is no file {path}") from None
    except safetensors.SafetensorError as error:
        raise InputError(f"load: {path} is not a safetensors file ({error})") from None


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path` so that a crash leaves the old file or the new one, never half."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    if hasattr(os, "O_DIRECTORY"):  # the rename itself must survive a power cut
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _describe(tree: Any, name: str, bodies: dict[str, Tensor]) -> Any:
    if isinstance(tree, Tensor):
        # A copy of its own: safetensors refuses tensors that share memory or have gaps.
        bodies[name] = tree.detach().contiguous().clone()
        return {"tensor": name}
    if isinstance(tree, dict):
        if not all(isinstance(key, str | int) for key in tree):
            raise InputError("save: the keys of a dictionary must be words or whole numbers")
        items = [[key, _describe(part, f"{name}.{key}", bodies)] for key, part in tree.items()]
        return {"dict": items}
    if isinstance(tree, tuple | list):
        names = getattr(tree, "_fields", range(len(tree)))
        parts = [
            _describe(part, f"{name}.{key}", bodies) for key, part in zip(names, tree, strict=True)
        ]
        if hasattr(tree, "_fields"):
            return {"named": type(tree).__name__, "parts": parts}
        return {"tuple" if isinstance(tree, tuple) else "list": parts}
    if tree is None or isinstance(tree, bool | int | float | str):
        return {"value": tree}
    raise InputError(f"save: cannot store a {type(tree).__name__}")


def _rebuild(form: dict[str, Any], tensor: Callable[[str], Tensor]) -> Any:
    match form:
        case {"tensor": name}:
            return tensor(name)
        case {"dict": items}:
            return {key: _rebuild(part, tensor) for key, part in items}
        case {"named": name, "parts": parts}:
            if name not in _NAMED:
                raise InputError(
                    f"load: unknown state {name}; import the module that defines it, "
                    "decorated with throughtime.state.register"
                )
            return _NAMED[name](*(_rebuild(part, tensor) for part in parts))
        case {"tuple": parts}:
            return tuple(_rebuild(part, tensor) for part in parts)
        case {"list": parts}:
            return [_rebuild(part, tensor) for part in parts]
        case {"value": value}:
            return value
    raise InputError(f"load: the file's form is damaged at {form}")
