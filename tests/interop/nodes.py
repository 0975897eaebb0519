"""ONNX graphs made for the tests: one recurrent node, drawn weights, and what runs them."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FEATURES, HIDDEN, BATCH, TIME = 3, 5, 4, 6
BLOCKS = {"LSTM": 4, "GRU": 3, "RNN": 1}
INPUTS = ("x", "w", "r", "b", "lengths", "h", "c", "p")
TYPES = {np.float32: TensorProto.FLOAT, np.float64: TensorProto.DOUBLE}


@dataclass
class Node:
    """What the node is, and its inputs: arrays are stored in the model, the others are left out."""

    kind: str
    arrays: dict
    attributes: dict = field(default_factory=dict)
    fed: dict = field(default_factory=dict)
    name: str = "node"

    def inputs(self):
        """Names in the operator's order, empty where one is left out."""
        names = [n if n in self.arrays or n in self.fed or n == "x" else "" for n in INPUTS]
        while not names[-1]:
            names.pop()
        return names

    def outputs(self):
        """Y, Y_h, Y_c."""
        return ["y", "y_h", "y_c"][: 3 if self.kind == "LSTM" else 2]

    def proto(self):
        """The node alone."""
        return helper.make_node(
            self.kind, self.inputs(), self.outputs(), self.name, None, **self.attributes
        )

    def model(self, nodes=None, stored=None):
        """A model with this node; other nodes may come before it and give what it takes."""
        arrays = self.arrays if stored is None else stored
        initialisers = [numpy_helper.from_array(value, name) for name, value in arrays.items()]
        dtype = TYPES[self.dtype]
        inputs = [helper.make_tensor_value_info("x", dtype, [None] * 3)]
        for name, value in self.fed.items():
            kind = TensorProto.INT32 if name == "lengths" else dtype
            inputs.append(helper.make_tensor_value_info(name, kind, [None] * value.ndim))
        outputs = [
            helper.make_tensor_value_info(name, dtype, [None] * (4 if name == "y" else 3))
            for name in self.outputs()
        ]
        graph = helper.make_graph(
            [*(nodes or []), self.proto()], "graph", inputs, outputs, initialisers
        )
        opset = helper.make_opsetid("", 17)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=9)
        onnx.checker.check_model(model)
        return model

    @property
    def dtype(self):
        """Of the weights."""
        return self.arrays["w"].dtype.type


def drawn(kind, *, direction="forward", bias=True, dtype: Any = np.float32, seed=7, **attributes):
    """A node with drawn weights and nothing else."""
    generator = np.random.default_rng(seed)
    count, rows = 2 if direction == "bidirectional" else 1, BLOCKS[kind] * HIDDEN
    shapes = {"w": (count, rows, FEATURES), "r": (count, rows, HIDDEN)}
    shapes |= {"b": (count, 2 * rows)} if bias else {}
    arrays = {n: generator.normal(size=shape).astype(dtype) for n, shape in shapes.items()}
    attributes = {"hidden_size": HIDDEN, "direction": direction, **attributes}
    return Node(kind, arrays, attributes)


def x(dtype=np.float32, time=TIME):
    """An input, batch first."""
    return np.random.default_rng(11).normal(size=(BATCH, time, FEATURES)).astype(dtype)


def run(model, values, **fed):
    """Y as `[batch, time, directions * hidden]`; the states as `[directions, batch, hidden]`."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found: list[Any] = [*session.run(None, {"x": values.transpose(1, 0, 2), **fed})]
    y, *states = found
    y = np.asarray(y).transpose(2, 0, 1, 3)  # [batch, time, directions, hidden]
    return y.reshape(*y.shape[:2], -1), states


def close(ours, theirs):
    """Equal to 1e-5."""
    np.testing.assert_allclose(ours.detach(), theirs, atol=1e-5, rtol=1e-5)


def only(layers) -> Any:
    """The one layer that was found."""
    (layer,) = layers.values()
    return layer
