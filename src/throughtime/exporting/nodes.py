"""Our operators as nodes of ONNX.

A recurrence becomes the node of that name, which ONNX Runtime runs fast, and not a `Scan` of single
products: the equations are the same ones. The nodes know padding at the end only; the real steps
are moved to the front and their outputs back. Weights come with their blocks in torch's order, and
nodes have another one.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch

from throughtime.errors import MissingExtra
from throughtime.interop.gates import ONNX, TORCH, places

OPSET = 18


@cache
def opset() -> Any:
    """ONNX's operators as functions."""
    try:
        from onnxscript import opset18
    except ImportError:
        raise MissingExtra("export to ONNX", "onnxscript", "interop") from None
    return opset18


def ints(*values: int) -> Any:
    """Whole numbers as a constant."""
    import onnx_ir

    return opset().Constant(value=onnx_ir.tensor(list(values), onnx_ir.DataType.INT64))


def blocks(weight: Any, kind: str) -> Any:
    """A weight with its blocks of rows in ONNX's order, and an axis for directions in front."""
    order = places(TORCH[kind], ONNX[kind])
    size = int(weight.shape[0]) // len(order)
    rows = [row for block in order for row in range(block * size, (block + 1) * size)]
    return front(opset().Gather(weight, ints(*rows), axis=0))


class Packed:
    """Steps in front, `[time, batch, features]`, and the way back.

    Behind them is one spare step, where all padding goes; so there is time where there is none.
    """

    def __init__(self, x: Any, mask: Any) -> None:
        op = opset()
        self.mask = mask
        self.lengths = None
        if mask is None:
            self.x = op.Transpose(x, perm=[1, 0, 2])
            return
        counted = op.Cast(mask, to=7)
        ends = op.CumSum(counted, ints(1))
        time = op.Shape(mask, start=1, end=2)
        place = op.Where(mask, op.Sub(ends, ints(1)), time)  # (B, T)
        self.lengths = op.Cast(op.ReduceSum(counted, ints(1), keepdims=0), to=6)
        self.place = op.Unsqueeze(place, ints(2))
        rows, features = op.Shape(x, start=0, end=1), op.Shape(x, start=2, end=3)
        room = op.Concat(rows, op.Add(time, ints(1)), features, axis=0)
        empty = op.Expand(op.CastLike(op.Constant(value_float=0.0), x), room)
        packed = op.ScatterElements(empty, op.Expand(self.place, op.Shape(x)), x, axis=1)
        self.x = op.Transpose(packed, perm=[1, 0, 2])

    def back(self, output: Any) -> Any:
        """From a node's output, `[time, 1, batch, hidden]`, to `[batch, time, hidden]`."""
        op = opset()
        found = op.Transpose(op.Squeeze(output, ints(1)), perm=[1, 0, 2])
        if self.mask is None:
            return found
        ahead = op.Shape(self.mask)
        wide = op.Concat(ahead, op.Shape(found, start=2, end=3), axis=0)
        spread = op.GatherElements(found, op.Expand(self.place, wide), axis=1)
        zero = op.CastLike(op.Constant(value_float=0.0), found)
        return op.Where(op.Unsqueeze(self.mask, ints(2)), spread, zero)

    def last(self, after: Any, before: Any) -> Any:
        """The state after the last step; that before, in rows without any."""
        op = opset()
        found = op.Squeeze(after, ints(0))
        if self.lengths is None:
            return found
        nothing = op.Equal(self.lengths, op.Constant(value_int=0))
        return op.Where(op.Unsqueeze(nothing, ints(1)), before, found)


def zeros(like: Any, count: int) -> Any:
    """So many zeros of the type of another tensor."""
    import onnx_ir

    return opset().Constant(value=onnx_ir.tensor([0.0] * count, like.dtype))


def front(state: Any) -> Any:
    """A state with an axis for directions."""
    return opset().Unsqueeze(state, ints(0))


def lstm(
    x: Any,
    mask: Any,
    hidden: Any,
    cell: Any,
    weight_input: Any,
    weight_hidden: Any,
    bias: Any,
) -> Any:
    """The node has two biases; ours is that of the input."""
    op = opset()
    packed = Packed(x, mask)
    output, last_hidden, last_cell = op.LSTM(
        packed.x,
        blocks(weight_input, "LSTM"),
        blocks(weight_hidden, "LSTM"),
        op.Concat(blocks(bias, "LSTM"), front(zeros(bias, 4 * size_of(hidden))), axis=1),
        packed.lengths,
        front(hidden),
        front(cell),
        hidden_size=size_of(hidden),
    )
    return (
        packed.back(output),
        packed.last(last_hidden, hidden),
        packed.last(last_cell, cell),
    )


def gru(
    x: Any,
    mask: Any,
    hidden: Any,
    weight_input: Any,
    weight_hidden: Any,
    bias: Any,
    bias_hidden: Any,
) -> Any:
    """The reset gate acts after the product where that has a shift of its own."""
    op = opset()
    packed = Packed(x, mask)
    after, size = bias_hidden is not None, size_of(hidden)
    own = bias_hidden if after else zeros(bias, size)
    output, last = op.GRU(
        packed.x,
        blocks(weight_input, "GRU"),
        blocks(weight_hidden, "GRU"),
        op.Concat(
            blocks(bias, "GRU"), front(op.Concat(zeros(bias, 2 * size), own, axis=0)), axis=1
        ),
        packed.lengths,
        front(hidden),
        hidden_size=size_of(hidden),
        linear_before_reset=int(after),
    )
    return packed.back(output), packed.last(last, hidden)


def rnn(
    x: Any,
    mask: Any,
    hidden: Any,
    weight_input: Any,
    weight_hidden: Any,
    bias: Any,
    activation: str,
) -> Any:
    """One block, so there is no order of these."""
    op = opset()
    packed = Packed(x, mask)
    output, last = op.RNN(
        packed.x,
        front(weight_input),
        front(weight_hidden),
        op.Concat(front(bias), front(zeros(bias, size_of(hidden))), axis=1),
        packed.lengths,
        front(hidden),
        hidden_size=size_of(hidden),
        activations=[activation.capitalize()],
    )
    return packed.back(output), packed.last(last, hidden)


def size_of(hidden: Any) -> int:
    """Features of a state."""
    return int(hidden.shape[1])


def discounted(values: Any, mask: Any, total: Any, factor: float) -> Any:
    """A loop over time, `Scan`, for there is no node for it; of one step the step itself."""
    op = opset()
    if values.shape[1] == 1:
        fade = op.CastLike(op.Constant(value_float=factor), values)
        before = op.Unsqueeze(total, ints(1))
        after = op.Add(op.Mul(before, fade), values)
        return op.Where(op.Unsqueeze(mask, ints(2)), after, before)
    body = _body(
        "fade", [("total", values.dtype), ("value", values.dtype), ("real", mask.dtype)],
        [
            ("Mul", ["total", "factor"], "faded"),
            ("Add", ["faded", "value"], "sum"),
            ("Where", ["real", "sum", "total"], "after"),
        ],
        factor=factor,
    )  # fmt: skip
    return scan(body, total, [values, op.Unsqueeze(mask, ints(2))], axis=1)


def cummax(self: Any, dim: int) -> Any:
    """The largest value so far, by a loop over time; its place nobody asks for."""
    import onnx_ir

    op, boolean = opset(), self.dtype == onnx_ir.DataType.BOOL
    if self.shape[dim] == 1:
        return op.Identity(self), op.Identity(self)
    x = op.Cast(self, to=7) if boolean else self
    kind = onnx_ir.DataType.INT64 if boolean else self.dtype
    lowest = -(1 << 62) if kind == onnx_ir.DataType.INT64 else float("-inf")
    body = _body("climb", [("peak", kind), ("value", kind)], [("Max", ["peak", "value"], "after")])
    start = op.CastLike(op.Constant(value=onnx_ir.tensor(lowest, kind)), x)
    found = scan(body, op.Expand(start, _without(self, dim)), [x], axis=dim)
    found = op.Cast(found, to=9) if boolean else found
    return found, op.Identity(found)


def scan(body: Any, start: Any, over: Sequence[Any], axis: int) -> Any:
    """What a loop shows at each step, side by side.

    The functions of onnxscript give this node one result; it has two, the last of what is carried
    on being the first.
    """
    import onnx_ir
    from onnxscript import evaluator

    settings = {
        "body": body,
        "num_scan_inputs": len(over),
        "scan_input_axes": [axis] * len(over),
        "scan_output_axes": [axis],
    }
    attributes = onnx_ir.convenience.convert_attributes(settings)
    node = onnx_ir.Node("", "Scan", [start, *over], attributes, num_outputs=2, version=OPSET)
    recorder: Any = evaluator.default()
    recorder.nodes.append(node)
    return node.outputs[1]


def _without(x: Any, dim: int) -> Any:
    """The sizes of a tensor without one of its axes."""
    op, rank = opset(), len(x.shape)
    dim = dim % rank
    sizes = [op.Shape(x, start=axis, end=axis + 1) for axis in range(rank) if axis != dim]
    return op.Concat(*sizes, axis=0)


def _body(
    name: str,
    inputs: Sequence[tuple[str, Any]],
    steps: Sequence[tuple[str, list[str], str]],
    **constants: float,
) -> Any:
    """What a `Scan` does at each step: its first input is carried on as its last result."""
    from onnx import helper

    kinds = {key: int(kind) for key, kind in inputs}
    carried = kinds[inputs[0][0]]
    made = [
        helper.make_node("Constant", [], [key], value=helper.make_tensor(key, carried, [], [value]))
        for key, value in constants.items()
    ]
    made += [helper.make_node(kind, given, [gives]) for kind, given, gives in steps]
    last = steps[-1][2]
    made.append(helper.make_node("Identity", [last], ["shown"]))
    return helper.make_graph(
        made,
        name,
        [helper.make_tensor_value_info(key, kind, None) for key, kind in kinds.items()],
        [helper.make_tensor_value_info(key, carried, None) for key in (last, "shown")],
    )


def table() -> dict[Callable[..., Any], Callable[..., Any]]:
    """From operators of torch to what makes nodes of them."""
    ours = torch.ops.throughtime_export
    return {
        ours.lstm.default: lstm,
        ours.gru.default: gru,
        ours.rnn.default: rnn,
        ours.discounted.default: discounted,
        torch.ops.aten.cummax.default: cummax,
    }
