"""Recurrent layers from Keras and to it, by the arrays of `layer.get_weights()`.

Keras stores a kernel as `[features, blocks * units]`, ours is its transpose. The blocks of its LSTM
stand as ours do (i, f, c, o); its GRU begins with the update gate (z, r, h). Keras itself is not
needed.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from throughtime.errors import InputError
from throughtime.interop.gates import KERAS, TORCH, reorder
from throughtime.interop.recurrent import RecurrentWeights, array, assemble, directions, tensor
from throughtime.layers import Layer
from throughtime.shapes import Float, Tensor

Config = Mapping[str, Any]


def lstm_from_keras(weights: Sequence[Any], *, config: Config | None = None) -> Layer:
    """The LSTM that computes what Keras' does.

    Args:
        weights: `layer.get_weights()`: kernel `[features, 4 * units]`, recurrent kernel
            `[units, 4 * units]`, bias `[4 * units]` unless `use_bias=False`. Of a `Bidirectional`:
            the arrays of the forward layer, then those of the backward one.
        config: `layer.get_config()`. The arrays do not say which activations the layer has; with
            the config a layer that differs from the defaults is refused by name, without it the
            defaults are taken for granted.

    Returns:
        An `LSTM`, or a `Bidirectional` of two, in the type of the arrays. Its `mask` is Keras'
        mask, its output that of `return_sequences=True`; padded steps give zeros
        (`zero_output_for_mask=True`). Dropout acts in training only and is left to the model.

    Errors:
        InputError: a number or shape of arrays that no LSTM has; an option that ours has not.

    Examples:
        >>> kernel, recurrent = np.ones((3, 20), "float32"), np.ones((5, 20), "float32")
        >>> lstm_from_keras([kernel, recurrent, np.zeros(20, "float32")])
        LSTM(input_size=3, hidden_size=5)
    """
    return _from_keras("LSTM", weights, config)


def gru_from_keras(
    weights: Sequence[Any], *, reset_after: bool | None = None, config: Config | None = None
) -> Layer:
    r"""The GRU that computes what Keras' does.

    $$h_t = z_t \odot h_{t-1} + (1 - z_t) \odot n_t$$

    with the reset gate after the product with the recurrent kernel (`reset_after=True`, Keras'
    default) or before it.

    Args:
        weights: `layer.get_weights()`: kernel `[features, 3 * units]`, recurrent kernel
            `[units, 3 * units]`, blocks z, r, h; bias `[2, 3 * units]` with `reset_after=True`
            (that of the input, then that of the state), `[3 * units]` with `reset_after=False`,
            none with `use_bias=False`. Of a `Bidirectional`: both layers' arrays.
        reset_after: place of the reset gate; by default read from the config, then from the bias;
            where neither tells, it is True.
        config: `layer.get_config()`; see `lstm_from_keras`.

    Returns:
        A `GRU`, or a `Bidirectional` of two, in the type of the arrays.

    Errors:
        InputError: a number or shape of arrays that no such GRU has; an option that ours has not.

    Examples:
        >>> kernel, recurrent = np.ones((3, 15), "float32"), np.ones((5, 15), "float32")
        >>> gru_from_keras([kernel, recurrent, np.zeros(15, "float32")])
        GRU(input_size=3, hidden_size=5, reset_after=False)
    """
    return _from_keras("GRU", weights, config, reset_after=reset_after)


def rnn_from_keras(
    weights: Sequence[Any], *, activation: str | None = None, config: Config | None = None
) -> Layer:
    """The RNN that computes what Keras' `SimpleRNN` does.

    Args:
        weights: `layer.get_weights()`: kernel `[features, units]`, recurrent kernel
            `[units, units]`, bias `[units]` unless `use_bias=False`. Of a `Bidirectional`: both
            layers' arrays.
        activation: `tanh`, `relu` or `sigmoid`; by default that of the config, else `tanh`.
        config: `layer.get_config()`; see `lstm_from_keras`.

    Returns:
        An `RNN`, or a `Bidirectional` of two, in the type of the arrays.

    Errors:
        InputError: a number or shape of arrays that no such layer has; an option that ours has not.

    Examples:
        >>> kernel, recurrent = np.ones((3, 5), "float32"), np.ones((5, 5), "float32")
        >>> rnn_from_keras([kernel, recurrent], activation="relu")
        RNN(input_size=3, hidden_size=5, activation='relu')
    """
    return _from_keras("RNN", weights, config, activation=activation)


def from_keras(layer: Any) -> Layer:
    """The layer that computes what a Keras layer object does: weights and options in one call.

    Args:
        layer: a built `LSTM`, `GRU`, `SimpleRNN`, or `Bidirectional` around one of them.

    Errors:
        InputError: another layer, or an option that ours has not.

    Examples:
        ```python
        model = keras.saving.load_model("forecaster.keras")
        lstm = throughtime.interop.from_keras(model.layers[0])
        ```
    """
    kind = type(getattr(layer, "forward_layer", layer)).__name__
    readers: dict[str, Callable[..., Layer]] = {
        "LSTM": lstm_from_keras,
        "GRU": gru_from_keras,
        "SimpleRNN": rnn_from_keras,
    }
    if kind not in readers:
        raise InputError(
            f"layer is {kind}, expected Keras' LSTM, GRU, SimpleRNN or a Bidirectional of these"
        )
    return readers[kind](layer.get_weights(), config=layer.get_config())


def to_keras(layer: Layer) -> list[np.ndarray]:
    """The arrays that `set_weights` of the matching Keras layer takes.

    Args:
        layer: an `LSTM` (Keras' `LSTM`), a `GRU` (Keras' `GRU` with the same `reset_after`), an
            `RNN` (`SimpleRNN` with the same activation), or a `Bidirectional` of two of these.

    Returns:
        Kernel, recurrent kernel, bias; a `Bidirectional` gives those of both directions.

    Errors:
        InputError: another layer; one that learns its initial state, which Keras does not store.

    Examples:
        >>> from throughtime import GRU
        >>> [values.shape for values in to_keras(GRU(3, 5))]
        [(3, 15), (5, 15), (2, 15)]
    """
    direction, found = directions(layer)
    if direction == "reverse":
        raise InputError("layer is Reverse, expected a layer that runs over time, or Bidirectional")
    return [values for weights in found for values in _arrays(weights)]


def _arrays(weights: RecurrentWeights) -> list[np.ndarray]:
    """Kernel, recurrent kernel and bias of one direction."""
    if weights.initial:
        raise InputError(
            f"{weights.kind} learns its initial state, which Keras' weights do not hold; "
            "make a layer without learn_initial_state"
        )
    own = weights.weight_input, weights.weight_hidden, weights.bias_input, weights.bias_hidden
    order, wanted = TORCH[weights.kind], KERAS[weights.kind]
    w, u, b, b_hidden = (array(reorder(x, order, wanted), weights.kind) for x in own)
    two = weights.kind == "GRU" and weights.reset_after
    return [w.T.copy(), u.T.copy(), np.stack([b, b_hidden]) if two else b]


def _from_keras(
    kind: str,
    weights: Sequence[Any],
    config: Config | None,
    *,
    reset_after: bool | None = None,
    activation: str | None = None,
) -> Layer:
    """One direction or two, from the arrays of each."""
    if not isinstance(weights, list | tuple):
        came = type(weights).__name__
        raise InputError(f"weights is a {came}, expected the list of arrays of get_weights()")
    if len(weights) not in (2, 3, 4, 6):
        raise InputError(
            f"weights has {len(weights)} arrays, expected 2 or 3 (without or with bias), "
            "or twice as many of a Bidirectional"
        )
    both = len(weights) > 3
    each = len(weights) // 2 if both else len(weights)
    configs = _configs(config, both=both)
    parts = []
    for start, one in zip(range(0, len(weights), each), configs, strict=True):
        _refuse(kind, one)
        place = one.get("reset_after") if reset_after is None else reset_after
        act = one.get("activation", "tanh") if activation is None else activation
        parts.append(_read(kind, weights[start : start + each], reset_after=place, activation=act))
    return assemble("bidirectional" if both else "forward", parts)


def _configs(config: Config | None, *, both: bool) -> list[Config]:
    """The config of each direction; empty ones where there is none."""
    if config is None:
        return [{}, {}] if both else [{}]
    if both != ("layer" in config):
        raise InputError(
            f"config is that of {'one layer' if both else 'a Bidirectional'}, "
            f"but weights has the arrays of {'two layers' if both else 'one'}"
        )
    if not both:
        return [config]
    if config.get("merge_mode", "concat") != "concat":
        raise InputError(
            f"merge_mode is {config['merge_mode']!r}, expected 'concat': "
            "our Bidirectional puts both outputs side by side"
        )
    over = config["layer"]["config"]
    against = config.get("backward_layer", {}).get("config", over)
    return [over, {**against, "go_backwards": False}]


def _refuse(kind: str, config: Config) -> None:
    """What the arrays do not tell and our layers do not do."""
    expected: dict[str, Any] = {"go_backwards": False}
    if kind != "RNN":
        expected |= {"activation": "tanh", "recurrent_activation": "sigmoid"}
    for option, value in expected.items():
        if config.get(option, value) != value:
            raise InputError(
                f"{option} is {config[option]!r} in the config of Keras' layer, "
                f"our {kind} has {value!r} only"
            )


def _read(
    kind: str, weights: Sequence[Any], *, reset_after: bool | None, activation: str
) -> RecurrentWeights:
    """The arrays of one direction, in torch's order."""
    kernel, recurrent = (
        tensor(weight, f"weights[{place}]") for place, weight in enumerate(weights[:2])
    )
    rows = _rows(kind, kernel, recurrent)
    bias = tensor(weights[2], "weights[2]") if len(weights) == 3 else None
    if reset_after is None:
        reset_after = bias is None or bias.ndim == 2
    if bias is None:
        bias = kernel.new_zeros(rows)
    elif kind == "GRU" and reset_after != (bias.ndim == 2):
        raise InputError(
            f"bias has shape {list(bias.shape)}, expected "
            f"{[2, rows] if reset_after else [rows]} with reset_after={reset_after}"
        )
    two = bias if bias.ndim == 2 else torch.stack([bias, torch.zeros_like(bias)])
    if two.shape != (2, rows) or (bias.ndim == 2 and kind != "GRU"):
        expected = f"[{rows}] or [2, {rows}]" if kind == "GRU" else f"[{rows}]"
        raise InputError(f"bias has shape {list(bias.shape)}, expected {expected}")
    order, wanted = KERAS[kind], TORCH[kind]
    w, u, b, b_hidden = (reorder(x, order, wanted) for x in (kernel.T, recurrent.T, *two))
    return RecurrentWeights(kind, w, u, b, b_hidden, reset_after=reset_after, activation=activation)


def _rows(kind: str, kernel: Float[Tensor, "..."], recurrent: Float[Tensor, "..."]) -> int:
    """How many rows the blocks make; refuses shapes that do not fit each other."""
    blocks = len(TORCH[kind])
    if recurrent.ndim != 2 or recurrent.shape[1] != blocks * recurrent.shape[0]:
        raise InputError(
            f"recurrent kernel has shape {list(recurrent.shape)}, expected "
            f"[units, {blocks} * units] of Keras' {'SimpleRNN' if kind == 'RNN' else kind}"
        )
    rows = recurrent.shape[1]
    if kernel.ndim != 2 or kernel.shape[1] != rows:
        raise InputError(f"kernel has shape {list(kernel.shape)}, expected [features, {rows}]")
    return rows
