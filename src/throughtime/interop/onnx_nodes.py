"""Recurrent nodes of an ONNX graph as layers, and layers as the weights of such nodes."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from throughtime.errors import InputError
from throughtime.interop.gates import ONNX, TORCH, reorder
from throughtime.interop.onnx_graph import Values, attributes, open_onnx, recurrent_nodes
from throughtime.interop.recurrent import RecurrentWeights, array, assemble, directions, tensor
from throughtime.layers import Layer
from throughtime.shapes import Tensor

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_ACTIVATIONS = {"LSTM": ["sigmoid", "tanh", "tanh"], "GRU": ["sigmoid", "tanh"]}
_RNN_ACTIVATIONS = ("tanh", "relu", "sigmoid")
_DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}


def read_onnx(source: "str | Path | ModelProto") -> dict[str, Layer]:
    r"""Every recurrent node of an ONNX model as a layer of ours.

    What the graph does around them is not read. A node's inputs map to ours like this:

    - `X`: `[batch, time, features]`, whatever the node's `layout` is. The output is `Y` with the
      directions side by side: `[batch, time, directions * hidden]`.
    - `sequence_lens`: `mask = torch.arange(time) < lengths[:, None]`; zeros beyond, as in ONNX.
    - `initial_h`, `initial_c`: constants that are the same in every row become the layer's initial
      state, a parameter (`learn_initial_state`), and zeros none. What the graph computes or takes
      as an input is the caller's to hand over: `layer(x, LSTMState(h, c))`, each
      `[batch, hidden]`.

    Args:
        source: path of an ONNX file, or an `onnx.ModelProto`. Weights may be stored, or computed
            from what is stored.

    Returns:
        By the node's name (of its first output, where it has none or another node has it too): an
        `LSTM`, a `GRU` (`linear_before_reset=1` is `reset_after=True`) or an `RNN`; in a
        [`Bidirectional`][throughtime.Bidirectional] or
        [`Reverse`][throughtime.interop.reverse.Reverse] where the node's direction says so. In the
        type of the weights.

    Errors:
        InputError: one line that names the node and what ours does not have: peepholes, `clip`,
            `input_forget`, other activations, weights that depend on inputs, a state that
            does so where ours takes none; no file, no ONNX file, no recurrent node.
        MissingExtra: `onnx` is not installed.

    Examples:
        >>> from onnx import helper, numpy_helper
        >>> from throughtime import LSTM
        >>> weights = to_onnx_weights(LSTM(3, 5))
        >>> node = helper.make_node("LSTM", [*"xwrb"], ["y"], "encoder", **weights.attributes)
        >>> stored = [numpy_helper.from_array(w, n) for w, n in zip(weights[1:4], "wrb")]
        >>> graph = helper.make_graph([node], "part", [], [], stored)
        >>> read_onnx(helper.make_model(graph))
        {'encoder': LSTM(input_size=3, hidden_size=5)}

    References:
        ONNX operators, https://onnx.ai/onnx/operators/onnx__LSTM.html, and likewise GRU and RNN.
    """
    model = open_onnx(source)
    nodes = [*recurrent_nodes(model)]
    if not nodes:
        kinds = sorted({node.op_type for node in model.graph.node})[:20] or ["no nodes"]
        raise InputError(f"the model has no LSTM, GRU or RNN node; it has {', '.join(kinds)}")
    layers: dict[str, Layer] = {}
    for name, (node, values) in zip(_names([node for node, _ in nodes]), nodes, strict=True):
        try:
            layers[name] = _layer(node, values)
        except InputError as error:
            raise InputError(f"ONNX {node.op_type} {name!r}: {error}") from None
    return layers


def _names(nodes: "list[NodeProto]") -> list[str]:
    """A name for each node; branches of one model may share theirs, then a number tells them."""
    given = Counter(node.name for node in nodes)
    names: list[str] = []
    for node in nodes:
        own = node.name if given[node.name] == 1 else ""
        name = own or next(output for output in node.output if output)
        again = sum(known == name or known.startswith(f"{name} (") for known in names)
        names.append(f"{name} ({again + 1})" if again else name)
    return names


class OnnxWeights(NamedTuple):
    """The arrays and attributes of an ONNX node that computes what a layer does.

    Attributes:
        operator: `LSTM`, `GRU` or `RNN`.
        weight_input: W, `[directions, blocks * hidden, features]`; blocks i, o, f, c or z, r, h.
        weight_hidden: R, `[directions, blocks * hidden, hidden]`.
        bias: B, `[directions, 2 * blocks * hidden]`: that of the input, then that of the state.
        initial: a learned state before the first step, part by part, each `[directions, hidden]`;
            `initial_h` and `initial_c` have a batch axis in the middle. Empty: zeros.
        attributes: `hidden_size`, `direction`; a GRU's `linear_before_reset`, an RNN's
            `activations`.
    """

    operator: str
    weight_input: np.ndarray
    weight_hidden: np.ndarray
    bias: np.ndarray
    initial: tuple[np.ndarray, ...]
    attributes: Mapping[str, Any]


def to_onnx_weights(layer: Layer) -> OnnxWeights:
    """What an ONNX node needs to compute what a layer does; `onnx` itself is not needed.

    Args:
        layer: an `LSTM`, `GRU` or `RNN`, alone, in a `Reverse`, or two in a `Bidirectional`.

    Errors:
        InputError: another layer; two directions that differ in kind, size or reset gate, or of
            which only one learns its initial state.

    Examples:
        >>> from throughtime import Bidirectional, GRU
        >>> node = to_onnx_weights(Bidirectional(GRU(3, 5)))
        >>> node.weight_input.shape, node.bias.shape, node.attributes["linear_before_reset"]
        ((2, 15, 3), (2, 30), 1)
    """
    direction, found = directions(layer)
    kind, hidden = found[0].kind, found[0].weight_hidden.shape[1]
    order, wanted = TORCH[kind], ONNX[kind]
    if len({len(weights.initial) for weights in found}) > 1:
        raise InputError(
            "Bidirectional: one direction learns its initial state, the other does not"
        )

    def stacked(parts: list[Tensor]) -> np.ndarray:
        return array(torch.stack(parts), kind)

    extra: dict[str, Any] = {}
    if kind == "GRU":
        extra["linear_before_reset"] = int(found[0].reset_after)
    elif kind == "RNN":
        extra["activations"] = [weights.activation.capitalize() for weights in found]
    initial = zip(*(weights.initial for weights in found), strict=True)
    return OnnxWeights(
        kind,
        stacked([reorder(w.weight_input, order, wanted) for w in found]),
        stacked([reorder(w.weight_hidden, order, wanted) for w in found]),
        stacked([_both_biases(w, order, wanted) for w in found]),
        tuple(stacked([*part]) for part in initial),
        {"hidden_size": hidden, "direction": direction, **extra},
    )


def _both_biases(weights: RecurrentWeights, order: str, wanted: str) -> Tensor:
    biases = weights.bias_input, weights.bias_hidden
    return torch.cat([reorder(bias, order, wanted) for bias in biases])


def _layer(node: "NodeProto", values: Values) -> Layer:
    """One node as a layer."""
    kind, options = node.op_type, attributes(node)
    names = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
    inputs = {name: value for name, value in zip(names, node.input, strict=False) if value}
    _refuse(options, inputs, values)
    direction = options.get("direction", "forward")
    if direction not in _DIRECTIONS:
        raise InputError(f"direction is {direction!r}, expected one of {[*_DIRECTIONS]}")
    count = _DIRECTIONS[direction]
    activations = _activations(kind, options, count)
    w, r = (_weight(name, 3, inputs, values) for name in "WR")
    hidden = options.get("hidden_size", r.shape[2])
    rows = len(TORCH[kind]) * hidden
    _fit(w, "W", [count, rows, w.shape[2]])
    _fit(r, "R", [count, rows, hidden])
    b = _weight("B", 2, inputs, values) if "B" in inputs else w.new_zeros(count, 2 * rows)
    _fit(b, "B", [count, 2 * rows])
    initial = _initial(kind, inputs, values, options)

    def ours(weight: Tensor) -> Tensor:
        return reorder(weight, ONNX[kind], TORCH[kind])

    parts = [
        RecurrentWeights(
            kind,
            *(ours(w[d]), ours(r[d]), ours(b[d, :rows]), ours(b[d, rows:])),
            reset_after=bool(options.get("linear_before_reset", 0)),
            activation=activations[d],
            initial=tuple(part[d].to(w.dtype) for part in initial),
        )
        for d in range(count)
    ]
    return assemble(direction, parts)


def _refuse(options: Mapping[str, Any], inputs: Mapping[str, str], values: Values) -> None:
    """What nodes may have and our layers do not."""
    if options.get("clip"):
        raise InputError(f"clip is {options['clip']}; ours does not clip what enters its gates")
    if options.get("input_forget"):
        raise InputError("input_forget is 1; ours has a forget gate of its own")
    if "P" in inputs and not values.zero(inputs["P"]):
        raise InputError(f"P is {inputs['P']!r}; ours has no peepholes")


def _activations(kind: str, options: Mapping[str, Any], count: int) -> list[str]:
    """An RNN's activation per direction; refuses others than ours has."""
    each = _ACTIVATIONS.get(kind, ["tanh"])
    found = [name.lower() for name in options.get("activations") or each * count]
    plain = all(name in _RNN_ACTIVATIONS for name in found) if kind == "RNN" else False
    if len(found) != len(each) * count or not (plain or found == each * count):
        ours = f"one of {[*_RNN_ACTIVATIONS]}" if kind == "RNN" else f"{each}"
        raise InputError(f"activations is {options['activations']}; ours has {ours} per direction")
    return found


def _weight(name: str, axes: int, inputs: Mapping[str, str], values: Values) -> Tensor:
    if name not in inputs:
        raise InputError(f"{name} is left out")
    value = values.constant(inputs[name])
    if value is None:
        raise InputError(
            f"{name} is {inputs[name]!r}, which depends on the model's inputs; expected weights"
        )
    if value.ndim != axes:
        raise InputError(f"{name} has shape {list(value.shape)}, expected {axes} axes")
    return tensor(value, name)


def _fit(weight: Tensor, name: str, shape: list[int]) -> None:
    if list(weight.shape) != shape:
        raise InputError(f"{name} has shape {list(weight.shape)}, expected {shape}")


def _initial(
    kind: str, inputs: Mapping[str, str], values: Values, options: Mapping[str, Any]
) -> list[Tensor]:
    """Parts of the initial state, each `[directions, hidden]`; none where they are zeros.

    What the graph computes is handed over with a call, which only a layer that runs over time
    takes.
    """
    parts = ("initial_h", "initial_c") if kind == "LSTM" else ("initial_h",)
    given = [part for part in parts if part in inputs and not values.zero(inputs[part])]
    if not given:
        return []
    known = {part: values.constant(inputs[part]) for part in given}
    handed = [part for part, value in known.items() if value is None]
    if not handed:
        rows = {part: _row(part, value, options) for part, value in known.items()}
        zeros = torch.zeros_like(next(iter(rows.values())))
        return [rows.get(part, zeros) for part in parts]
    came = f"{handed[0]} is {inputs[handed[0]]!r}, which depends on the model's inputs"
    direction = options.get("direction", "forward")
    if direction != "forward":
        raise InputError(
            f"{came}; ours takes a state with a call only where it runs forward, "
            f"direction is {direction!r}"
        )
    if len(handed) < len(given):
        raise InputError(f"{came}, but the other part of the state is a constant")
    return []


def _row(name: str, value: Any, options: Mapping[str, Any]) -> Tensor:
    """The one state of all rows, `[directions, hidden]`."""
    if value.ndim != 3:
        raise InputError(f"{name} has shape {list(value.shape)}, expected 3 axes")
    states = tensor(value, name)
    by_row = states if options.get("layout", 0) else states.transpose(0, 1)
    if by_row.shape[0] == 0 or not bool((by_row == by_row[:1]).all()):
        raise InputError(f"{name} is another constant in each row; ours has one for all rows")
    return by_row[0]
