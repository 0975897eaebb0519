"""Recurrent layers from `torch.nn`, or weights with its names, and back to these names."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from throughtime.errors import InputError
from throughtime.interop.gates import TORCH
from throughtime.interop.recurrent import RecurrentWeights, assemble, directions
from throughtime.layers import Layer, Stack
from throughtime.shapes import Tensor

_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
_KINDS = {len(blocks): kind for kind, blocks in TORCH.items()}


def from_torch(
    source: nn.Module | Mapping[str, Tensor], prefix: str = "", *, activation: str | None = None
) -> Layer:
    """Our layer that computes what an LSTM, GRU or RNN of `torch.nn` does, or a cell of it.

    Args:
        source: the module, or a state dict that holds its weights.
        prefix: what stands before its names in the state dict: `encoder.lstm.`
        activation: that of an RNN, `tanh` or `relu`; by default the module's own, else `tanh`. An
            LSTM and a GRU have none to choose.

    Returns:
        An `LSTM`, `GRU` or `RNN`; a `Bidirectional` of two; a `Stack` of these for several layers.
        In the type of the weights. It is batch first; dropout between layers is left to the model.

    Errors:
        InputError: no such names below the prefix; a projection (`proj_size`), which
            [`torch_nn`][throughtime.torch_nn] has and our layers have not.

    Examples:
        >>> module = nn.LSTM(3, 5, num_layers=2, batch_first=True)
        >>> layer = from_torch(module)
        >>> x = torch.randn(2, 7, 3)
        >>> torch.allclose(layer(x)[0], module(x)[0], atol=1e-6)
        True
    """
    state = source.state_dict() if isinstance(source, nn.Module) else source
    if not isinstance(state, Mapping):
        raise InputError(
            f"source is a {type(source).__name__}, expected a module of torch.nn or a state dict"
        )
    if activation is None:
        activation = getattr(source, "nonlinearity", None)
    own = {
        name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)
    }
    if "weight_ih" in own:  # a cell
        return assemble("forward", [_read(own, "", activation)])
    layers = []
    while f"weight_ih_l{len(layers)}" in own:
        end = f"_l{len(layers)}"
        both = f"weight_ih{end}_reverse" in own
        ends = [end, f"{end}_reverse"] if both else [end]
        parts = [_read(own, one, activation) for one in ends]
        layers.append(assemble("bidirectional" if both else "forward", parts))
    if not layers:
        where = f" below {prefix!r}" if prefix else ""
        raise InputError(f"there is no weight_ih_l0{where}; the names are {[*state][:5]}")
    return layers[0] if len(layers) == 1 else Stack(*layers)


def to_torch(layer: Layer) -> dict[str, Tensor]:
    """The weights of our layer under the names of `torch.nn`: `load_state_dict` takes them.

    Args:
        layer: an `LSTM`, `GRU` or `RNN`, a `Bidirectional` of two, or a `Stack` of these.

    Returns:
        Copies. Our one bias goes to `bias_ih`; `bias_hh` is zero but for the part that a GRU's
        reset gate acts on.

    Errors:
        InputError: another layer; a GRU with `reset_after=False`, a learned initial state, a
            sigmoid or layers that differ in form, which `torch.nn` does not have.

    Examples:
        >>> from throughtime import GRU
        >>> module = nn.GRU(3, 5)
        >>> module.load_state_dict(to_torch(GRU(3, 5)))
        <All keys matched successfully>
    """
    layers = [*layer.layers] if isinstance(layer, Stack) else [layer]
    state: dict[str, Tensor] = {}
    forms: set[tuple[str, str, int]] = set()
    for place, one in enumerate(layers):
        direction, found = directions(one)  # pyright: ignore[reportArgumentType]
        if direction == "reverse":
            raise InputError("layer is Reverse, expected one over time, or Bidirectional")
        for weights, end in zip(found, ("", "_reverse"), strict=False):
            _refuse(weights)
            values = weights.weight_input, weights.weight_hidden
            biases = weights.bias_input, weights.bias_hidden
            for name, value in zip(_NAMES, (*values, *biases), strict=True):
                state[f"{name}_l{place}{end}"] = value.clone()
        forms.add((direction, found[0].kind, found[0].weight_hidden.shape[1]))
    if len(forms) > 1:
        raise InputError(
            "Stack: its layers differ in direction, kind or size, which those of torch.nn do not"
        )
    return state


def _refuse(weights: RecurrentWeights) -> None:
    found = {
        "reset_after=False": not weights.reset_after,
        "a learned initial state": bool(weights.initial),
        "activation='sigmoid'": weights.activation == "sigmoid",
    }
    for what, has in found.items():
        if has:
            raise InputError(f"{weights.kind} has {what}, which torch.nn.{weights.kind} has not")


def _read(state: Mapping[str, Any], end: str, activation: str | None) -> RecurrentWeights:
    """The weights whose names end like this; the kind is in their shape."""
    if f"weight_hr{end}" in state:
        raise InputError(
            f"weight_hr{end}: our LSTM has no projection (proj_size); use throughtime.torch_nn.LSTM"
        )
    found = [state.get(f"{name}{end}") for name in _NAMES]
    for name, value in zip(_NAMES, found, strict=True):
        if not isinstance(value, Tensor | None):
            raise InputError(f"{name}{end} is a {type(value).__name__}, expected a tensor")
    w, u, b, b_hidden = found
    if w is None or u is None:
        raise InputError(f"there is no {_NAMES[0 if w is None else 1]}{end}")
    blocks = u.shape[0] // max(u.shape[1], 1) if u.ndim == 2 else 0
    if w.ndim != 2 or blocks not in _KINDS or u.shape != (len(w), len(w) // blocks):
        raise InputError(
            f"weight_ih{end} has shape {list(w.shape)}, weight_hh{end} {list(u.shape)}; expected "
            "[blocks * hidden, features] and [blocks * hidden, hidden] with 1, 3 or 4 blocks"
        )
    kind = _KINDS[blocks]
    if activation is not None and kind != "RNN":
        raise InputError(f"activation is {activation!r}, expected none, for this is of {kind}")
    biases = [w.new_zeros(len(w)) if bias is None else bias for bias in (b, b_hidden)]
    for name, bias in zip(_NAMES[2:], biases, strict=True):
        if bias.shape != w.shape[:1]:
            raise InputError(f"{name}{end} has shape {list(bias.shape)}, expected [{len(w)}]")
    weights = [value.detach() for value in (w, u, *biases)]
    return RecurrentWeights(kind, *weights, activation=activation or "tanh")
