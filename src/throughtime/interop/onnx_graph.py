"""What stands in an ONNX graph: its recurrent nodes, and the values that are known beforehand."""

from collections import ChainMap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from throughtime.errors import InputError, MissingExtra

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

RECURRENT = ("LSTM", "GRU", "RNN")
# Operators whose output is zero wherever their first input is.
_MOVING = {"Cast", "Expand", "Identity", "Reshape", "Slice", "Squeeze", "Tile", "Transpose"}
_MOVING |= {"Flatten", "Gather", "Unsqueeze"}
_DRAWN = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike"}
_DRAWN |= {"RandomUniform", "RandomUniformLike"}


def open_onnx(source: "str | Path | ModelProto") -> "ModelProto":
    """A model from a file, its functions written out; a model that is open already as it is."""
    try:
        import onnx
    except ImportError:
        raise MissingExtra("reading ONNX", "onnx", "interop") from None
    if isinstance(source, str | Path):
        try:
            model = onnx.load(str(source))
        except OSError as error:
            raise InputError(f"{source}: cannot be read ({error.strerror or error})") from None
        except Exception:  # protobuf's own errors have no common base
            raise InputError(
                f"{source}: this is no ONNX file, or a part of it is missing"
            ) from None
    elif isinstance(source, onnx.ModelProto):
        model = source
    else:
        raise InputError(
            f"source is {type(source).__name__}, expected the path of an ONNX file or a ModelProto"
        )
    if model.functions:
        from onnx import inliner

        model = inliner.inline_local_functions(model)
    return model


@dataclass(frozen=True)
class Values:
    """What is known of the values that one graph sees: its own, and those of graphs around it.

    Attributes:
        model: whose graph it is.
        stored: initialisers by name.
        made: by the name of a value its place in the model and the node that gives it.
    """

    model: "ModelProto"
    stored: ChainMap[str, Any]
    made: "ChainMap[str, tuple[int, NodeProto]]"

    def constant(self, name: str) -> np.ndarray | None:
        """The value, if it does not depend on the model's inputs; else None.

        Exporters cut weights out of others and join them again, so what leads to the value is
        computed.
        """
        from onnx import numpy_helper

        if name in self.stored:
            return numpy_helper.to_array(self.stored[name])
        nodes, stored, open_names = {}, {}, [name]
        while open_names:
            one = open_names.pop()
            if one in self.stored:
                stored[one] = self.stored[one]
            elif one in self.made and _plain(self.made[one][1]):
                place, node = self.made[one]
                if place not in nodes:
                    open_names += [needed for needed in node.input if needed]
                nodes[place] = node
            else:
                return None
        return self._computed(name, [nodes[place] for place in sorted(nodes)], [*stored.values()])

    def _computed(self, name: str, nodes: list[Any], stored: list[Any]) -> np.ndarray | None:
        from onnx import helper
        from onnx.reference import ReferenceEvaluator

        outputs = [helper.make_empty_tensor_value_info(name)]
        graph = helper.make_graph(nodes, "constant", [], outputs, stored)
        model = helper.make_model(
            graph, opset_imports=self.model.opset_import, ir_version=self.model.ir_version
        )
        try:
            (value,) = ReferenceEvaluator(model).run(None, {})  # pyright: ignore
        except Exception as error:  # each operator has its own
            reason = " ".join(str(error).split())
            raise InputError(f"{name!r} cannot be computed from what is stored: {reason}") from None
        return np.asarray(value)

    def zero(self, name: str) -> bool:
        """Whether the value is zero throughout, even if its size depends on the inputs."""
        value = self.constant(name)
        if value is not None:
            return not np.any(value)
        if name not in self.made:
            return False
        node = self.made[name][1]
        if node.op_type == "ConstantOfShape":
            filling = attributes(node).get("value")
            return filling is None or not np.any(filling)
        if node.op_type == "Concat":
            return all(self.zero(part) for part in node.input)
        return node.op_type in _MOVING and self.zero(node.input[0])


def _plain(node: "NodeProto") -> bool:
    """Whether a node always gives the same from the same inputs, and holds no graph."""
    held = any(a.HasField("g") or a.graphs for a in node.attribute)
    return not held and node.op_type not in _DRAWN and node.domain in ("", "ai.onnx")


def attributes(node: "NodeProto") -> dict[str, Any]:
    """A node's attributes as Python values; tensors as arrays, texts as `str`."""
    from onnx import TensorProto, helper, numpy_helper

    found: dict[str, Any] = {}
    for attribute in node.attribute:
        value: Any = helper.get_attribute_value(attribute)
        if isinstance(value, TensorProto):
            value = numpy_helper.to_array(value)
        elif isinstance(value, bytes):
            value = value.decode()
        elif isinstance(value, list | tuple):
            value = [part.decode() if isinstance(part, bytes) else part for part in value]
        found[attribute.name] = value
    return found


def recurrent_nodes(model: "ModelProto") -> "Iterator[tuple[NodeProto, Values]]":
    """Every LSTM, GRU and RNN node, those inside branches and loops too, with what it sees."""
    yield from _walk(model.graph, Values(model, ChainMap(), ChainMap()), [0])


def _walk(
    graph: "GraphProto", around: Values, count: list[int]
) -> "Iterator[tuple[NodeProto, Values]]":
    stored = {tensor.name: tensor for tensor in graph.initializer}
    seen = Values(around.model, around.stored.new_child(stored), around.made.new_child())
    for node in graph.node:
        count[0] += 1
        seen.made.update({name: (count[0], node) for name in node.output if name})
        if node.op_type in RECURRENT and node.domain in ("", "ai.onnx"):
            yield node, seen
        for attribute in node.attribute:
            inner = [attribute.g] if attribute.HasField("g") else attribute.graphs
            for one in inner:
                yield from _walk(one, seen, count)
