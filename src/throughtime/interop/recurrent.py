"""The weights of one recurrent layer, whoever wrote them, and the layers made of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from throughtime.errors import InputError
from throughtime.interop.reverse import Reverse
from throughtime.layers import GRU, LSTM, RNN, Bidirectional, Layer, Recurrent
from throughtime.shapes import Float, Tensor


@dataclass(frozen=True)
class RecurrentWeights:
    """The weights of one layer in one direction, in the order and shapes of `torch.nn`.

    Attributes:
        kind: `LSTM`, `GRU` or `RNN`.
        weight_input: `[blocks * hidden, features]`.
        weight_hidden: `[blocks * hidden, hidden]`.
        bias_input: `[blocks * hidden]`.
        bias_hidden: `[blocks * hidden]`.
        reset_after: a GRU's place of the reset gate: after the matrix product or before it.
        activation: an RNN's.
        initial: the state before the first step, part by part, each `[hidden]`; empty: zeros.
    """

    kind: str
    weight_input: Float[Tensor, "rows features"]
    weight_hidden: Float[Tensor, "rows hidden"]
    bias_input: Float[Tensor, " rows"]
    bias_hidden: Float[Tensor, " rows"]
    reset_after: bool = True
    activation: str = "tanh"
    initial: tuple[Float[Tensor, " hidden"], ...] = ()


def layer_from(weights: RecurrentWeights) -> Recurrent:
    """The layer that these weights make."""
    features, hidden = weights.weight_input.shape[1], weights.weight_hidden.shape[1]
    learned = bool(weights.initial)
    layer: Recurrent
    if weights.kind == "LSTM":
        layer = LSTM(features, hidden, learn_initial_state=learned)
    elif weights.kind == "GRU":
        reset_after = weights.reset_after
        layer = GRU(features, hidden, reset_after=reset_after, learn_initial_state=learned)
    else:
        activation = weights.activation
        layer = RNN(features, hidden, activation=activation, learn_initial_state=learned)
    layer.to(weights.weight_input.dtype)
    bias, bias_hidden = _joined(weights)
    values = {
        "weight_input": weights.weight_input,
        "weight_hidden": weights.weight_hidden,
        "bias": bias,
        "bias_hidden": bias_hidden,
        **dict(zip(_initial_names(layer), weights.initial, strict=False)),
    }
    layer.load_state_dict({name: value for name, value in values.items() if value is not None})
    return layer


def _joined(weights: RecurrentWeights) -> tuple[Tensor, Tensor | None]:
    """Two biases made one, and what must stay apart: the one that a GRU's reset gate acts on."""
    both = weights.bias_input + weights.bias_hidden
    if weights.kind != "GRU" or not weights.reset_after:
        return both, None
    gates = 2 * weights.weight_hidden.shape[1]
    return torch.cat([both[:gates], weights.bias_input[gates:]]), weights.bias_hidden[gates:]


def weights_of(layer: Any) -> RecurrentWeights:
    """The weights of a layer: its one bias as that of the input, zeros as that of the state."""
    if not isinstance(layer, LSTM | GRU | RNN):
        raise InputError(
            f"layer is {type(layer).__name__}, expected an LSTM, GRU or RNN of throughtime.layers; "
            "from_torch makes one of torch.nn's"
        )
    initial = [getattr(layer, name) for name in _initial_names(layer)]
    bias_hidden = torch.zeros_like(layer.bias)
    if isinstance(layer, GRU) and layer.bias_hidden is not None:
        bias_hidden[2 * layer.hidden_size :] = layer.bias_hidden.detach()
    return RecurrentWeights(
        kind=next(kind.__name__ for kind in (LSTM, GRU, RNN) if isinstance(layer, kind)),
        weight_input=layer.weight_input.detach(),
        weight_hidden=layer.weight_hidden.detach(),
        bias_input=layer.bias.detach(),
        bias_hidden=bias_hidden.detach(),
        reset_after=not isinstance(layer, GRU) or layer.bias_hidden is not None,
        activation=layer.activation if isinstance(layer, RNN) else "tanh",
        initial=tuple(part.detach() for part in initial if part is not None),
    )


def _initial_names(layer: Recurrent) -> list[str]:
    return [f"initial_{part}" for part in layer.State._fields]


def directions(layer: Layer) -> tuple[str, list[RecurrentWeights]]:
    """What a layer's directions hold: `forward`, `reverse` or `bidirectional`, and their weights.

    Errors:
        InputError: another layer, or two directions that differ in more than their weights.
    """
    if isinstance(layer, Bidirectional):
        found = [weights_of(layer.over), weights_of(layer.against)]
        one, other = ((w.kind, w.weight_hidden.shape, w.reset_after) for w in found)
        if one != other:
            raise InputError(
                "Bidirectional: its directions differ in kind, size or place of the reset gate, "
                "expected the same in both"
            )
        return "bidirectional", found
    if isinstance(layer, Reverse):
        return "reverse", [weights_of(layer.layer)]
    return "forward", [weights_of(layer)]


def assemble(direction: str, weights: Sequence[RecurrentWeights]) -> Layer:
    """The layer of one direction or both; the opposite of `directions`."""
    made = [layer_from(one) for one in weights]
    if direction == "bidirectional":
        return Bidirectional(*made)
    return Reverse(made[0]) if direction == "reverse" else made[0]


def tensor(array: Any, what: str) -> Tensor:
    """A copy of an array as a tensor; one line names what is no array of real numbers."""
    values = np.asarray(array)
    if values.dtype not in (np.float16, np.float32, np.float64):
        raise InputError(f"{what} is of type {values.dtype}, expected float16, float32 or float64")
    return torch.from_numpy(np.array(values, order="C"))


def array(values: Tensor, what: str) -> np.ndarray:
    """A copy of a tensor as an array; NumPy has no bfloat16."""
    if values.dtype == torch.bfloat16:
        raise InputError(f"{what} is bfloat16, which NumPy does not have; convert with .float()")
    return values.detach().cpu().numpy().copy()
