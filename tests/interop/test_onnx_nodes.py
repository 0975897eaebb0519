"""Recurrent nodes of ONNX against ONNX Runtime, and our weights in its order."""

import builtins

import numpy as np
import pytest
import torch

from tests.interop.nodes import BATCH, FEATURES, HIDDEN, TIME, close, drawn, only, run, x
from throughtime import InputError
from throughtime.errors import MissingExtra
from throughtime.interop.onnx_graph import open_onnx
from throughtime.interop.onnx_nodes import read_onnx
from throughtime.layers import LSTMState

import onnx  # isort: skip
from onnx import TensorProto, helper, numpy_helper  # isort: skip
from onnx.reference import ReferenceEvaluator  # isort: skip

DIRECTIONS = ("forward", "reverse", "bidirectional")
KINDS = {
    "lstm": ("LSTM", {}),
    "lstm-named": ("LSTM", {"activations": ["Sigmoid", "Tanh", "Tanh"]}),
    "gru-before": ("GRU", {"linear_before_reset": 0}),
    "gru-after": ("GRU", {"linear_before_reset": 1}),
    "rnn": ("RNN", {}),
    "rnn-relu": ("RNN", {"activations": ["Relu"]}),
    "rnn-sigmoid": ("RNN", {"activations": ["Sigmoid"]}),
}
LENGTHS = [TIME, 3, 1, 0]


def options(name, direction):
    """Kind and attributes, the activations once for each direction."""
    kind, attributes = KINDS[name]
    if "activations" in attributes:
        times = 2 if direction == "bidirectional" else 1
        attributes = {"activations": attributes["activations"] * times}
    return kind, attributes


def mask_of(lengths):
    return torch.arange(TIME) < torch.tensor(lengths)[:, None]


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "bare"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", KINDS)
def test_every_node_computes_what_onnx_runtime_does(name, direction, bias):
    kind, attributes = options(name, direction)
    node = drawn(kind, direction=direction, bias=bias, **attributes)
    node.fed["lengths"] = np.array(LENGTHS, np.int32)
    model = node.model()
    layer = only(read_onnx(model))
    expected, states = run(model, x(), lengths=node.fed["lengths"])
    output, state = layer(torch.from_numpy(x()), mask=mask_of(LENGTHS))
    close(output, expected)
    if direction == "forward":
        for part, last in zip(state, states, strict=True):
            close(part, last[0])
    whole, _ = layer(torch.from_numpy(x()))
    close(whole, run(model, x(), lengths=np.full(BATCH, TIME, np.int32))[0])


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", ["lstm", "gru-before", "gru-after", "rnn"])
def test_constant_initial_states_are_learned_ones(name, direction):
    kind, attributes = options(name, direction)
    node = drawn(kind, direction=direction, **attributes)
    count = 2 if direction == "bidirectional" else 1
    for seed, part in enumerate("hc" if kind == "LSTM" else "h"):
        one = np.random.default_rng(seed).normal(size=(count, 1, HIDDEN)).astype(np.float32)
        node.arrays[part] = one.repeat(BATCH, axis=1)
    model = node.model()
    layer = only(read_onnx(model))
    learned = [name for name, _ in layer.named_parameters() if "initial" in name]
    assert len(learned) == count * (2 if kind == "LSTM" else 1)
    close(layer(torch.from_numpy(x()))[0], run(model, x())[0])


def test_one_constant_part_leaves_the_other_zero():
    node = drawn("LSTM")
    node.arrays["c"] = np.full((1, BATCH, HIDDEN), 0.5, np.float32)
    model = node.model()
    layer = only(read_onnx(model))
    assert torch.count_nonzero(layer.initial_hidden) == 0
    close(layer(torch.from_numpy(x()))[0], run(model, x())[0])


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_zeros_are_no_initial_state(direction):
    node = drawn("LSTM", direction=direction)
    count = 2 if direction == "bidirectional" else 1
    node.arrays["h"] = node.arrays["c"] = np.zeros((count, BATCH, HIDDEN), np.float32)
    assert not any(
        "initial" in name for name, _ in only(read_onnx(node.model())).named_parameters()
    )


def test_a_state_from_outside_is_handed_over_with_the_call():
    node = drawn("LSTM")
    given = np.random.default_rng(1).normal(size=(2, 1, BATCH, HIDDEN)).astype(np.float32)
    node.fed |= {"h": given[0], "c": given[1]}
    model = node.model()
    layer = only(read_onnx(model))
    state = LSTMState(*(torch.from_numpy(part[0]) for part in given))
    output, after = layer(torch.from_numpy(x()), state)
    expected, states = run(model, x(), h=given[0], c=given[1])
    close(output, expected)
    close(after.cell, states[1][0])


def test_layout_with_the_batch_first():
    """ONNX Runtime has no such nodes; the reference of the standard has."""
    node = drawn("LSTM", layout=1)
    node.arrays["h"] = np.full((BATCH, 1, HIDDEN), 0.3, np.float32)
    model = node.model()
    (y, *_) = ReferenceEvaluator(model).run(None, {"x": x()})  # pyright: ignore
    output, _ = only(read_onnx(model))(torch.from_numpy(x()))
    close(output, np.asarray(y).reshape(BATCH, TIME, HIDDEN))


@pytest.mark.parametrize("name", ["lstm", "gru-after", "rnn"])
def test_weights_of_double_precision(name):
    kind, attributes = options(name, "forward")
    layer = only(read_onnx(drawn(kind, dtype=np.float64, **attributes).model()))
    assert {parameter.dtype for parameter in layer.parameters()} == {torch.float64}


def cut_and_joined(node):
    """W out of a wider array, by nodes as exporters write them."""
    w = node.arrays["w"]
    stored = {name: value for name, value in node.arrays.items() if name != "w"}
    stored |= {"flat": np.concatenate([w[0], w[0]], axis=1)}
    for name, value in {"from": 0, "to": FEATURES, "axis": 1, "front": 0}.items():
        stored[name] = np.array([value])
    made = [
        helper.make_node("Slice", ["flat", "from", "to", "axis"], ["cut"]),
        helper.make_node("Unsqueeze", ["cut", "front"], ["w"]),
    ]
    return node.model(made, stored)


def test_weights_that_are_computed_from_what_is_stored():
    node = drawn("GRU", linear_before_reset=1)
    model = cut_and_joined(node)
    close(only(read_onnx(model))(torch.from_numpy(x()))[0], run(model, x())[0])


def zeros_of_the_batch(node):
    """Initial states of zeros, as many as there are rows: `ConstantOfShape`, as exporters write."""
    count = node.arrays["w"].shape[0]
    stored = {**node.arrays, "one": np.array([1]), "hidden": np.array([HIDDEN])}
    stored["count"] = np.array([count])
    made = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["batch"]),
        helper.make_node("Concat", ["count", "batch", "hidden"], ["sizes"], axis=0),
        helper.make_node("ConstantOfShape", ["sizes"], ["zeros"]),
        helper.make_node("Identity", ["zeros"], ["h"]),
    ]
    node.arrays["h"] = np.zeros(0)  # so that the node takes it
    return node.model(made, stored)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_zeros_for_as_many_rows_as_there_are(direction):
    model = zeros_of_the_batch(drawn("GRU", direction=direction))
    close(only(read_onnx(model))(torch.from_numpy(x()))[0], run(model, x())[0])


def branches():
    """Two branches of an If, each with an LSTM of the same name and weights of its own."""
    stored, arms = [], []
    for seed in (1, 2):
        node = drawn("LSTM", seed=seed)
        inside = [numpy_helper.from_array(node.arrays[name], name) for name in "wr"]
        # the bias stands in the graph around the branches
        stored.append(numpy_helper.from_array(node.arrays["b"], f"b{seed}"))
        proto = node.proto()
        proto.input[3] = f"b{seed}"
        output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        arms.append(helper.make_graph([proto], f"arm{seed}", [], [output], inside))
    choose = helper.make_node("If", ["which"], ["y"], then_branch=arms[0], else_branch=arms[1])
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [None] * 3),
        helper.make_tensor_value_info("which", TensorProto.BOOL, []),
    ]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([choose], "graph", inputs, [output], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_nodes_inside_branches_are_found_and_told_apart():
    model = branches()  # whose attributes stand in the order of the alphabet: else, then
    layers = read_onnx(model)
    assert [*layers] == ["y", "y (2)"]
    for layer, which in zip(layers.values(), (False, True), strict=True):
        close(layer(torch.from_numpy(x()))[0], run(model, x(), which=np.array(which))[0])


def test_a_file_is_read_as_the_open_model(tmp_path):
    model = drawn("LSTM").model()
    onnx.save(model, tmp_path / "model.onnx")
    for source in (tmp_path / "model.onnx", str(tmp_path / "model.onnx")):
        layers = read_onnx(source)
        assert [*layers] == ["node"]
        for ours, same in zip(
            only(layers).parameters(), only(read_onnx(model)).parameters(), strict=True
        ):
            assert torch.equal(ours, same)


def with_fed_weight():
    node = drawn("LSTM")
    node.fed["w"] = node.arrays["w"]
    return node.model(stored={name: v for name, v in node.arrays.items() if name != "w"})


def with_arrays(kind="LSTM", direction="forward", **arrays):
    node = drawn(kind, direction=direction)
    node.arrays |= {name: np.asarray(value, np.float32) for name, value in arrays.items()}
    return node.model()


def with_fed_state(direction, **constant):
    node = drawn("LSTM", direction=direction)
    node.fed["h"] = np.zeros((1, BATCH, HIDDEN), np.float32)
    node.arrays |= constant
    return node.model()


def drawn_state():
    """Weights that a node draws anew at each run are none."""
    node = drawn("LSTM")
    shape = [*node.arrays["w"].shape]
    made = helper.make_node("RandomNormal", [], ["w"], shape=shape)
    return node.model([made], {n: v for n, v in node.arrays.items() if n != "w"})


ROWS = np.arange(BATCH * HIDDEN).reshape(1, BATCH, HIDDEN)
HALF = np.full((1, BATCH, HIDDEN), 0.5, np.float32)
REFUSED = {
    "peepholes": (lambda: with_arrays(p=np.ones((1, 3 * HIDDEN))), "ours has no peepholes"),
    "clip": (lambda: drawn("LSTM", clip=3.0).model(), "clip is 3.0"),
    "coupled": (lambda: drawn("LSTM", input_forget=1).model(), "input_forget is 1"),
    "lstm-activations": (
        lambda: drawn("LSTM", activations=["HardSigmoid", "Tanh", "Tanh"]).model(),
        "activations is ['HardSigmoid', 'Tanh', 'Tanh']; ours has ['sigmoid', 'tanh', 'tanh']",
    ),
    "gru-activations": (
        lambda: drawn("GRU", activations=["Sigmoid", "Relu"]).model(),
        "activations is ['Sigmoid', 'Relu']",
    ),
    "rnn-activation": (
        lambda: drawn("RNN", activations=["Softsign"]).model(),
        "ours has one of ['tanh', 'relu', 'sigmoid']",
    ),
    "one-activation-for-two": (
        lambda: drawn("RNN", direction="bidirectional", activations=["Tanh"]).model(),
        "activations is ['Tanh']",
    ),
    "weight-from-outside": (with_fed_weight, "W is 'w', which depends on the model's inputs"),
    "drawn-weight": (drawn_state, "W is 'w', which depends on the model's inputs"),
    "shape": (lambda: with_arrays(b=np.ones((1, 7))), "B has shape [1, 7], expected [1, 40]"),
    "axes": (lambda: with_arrays(b=np.ones(40)), "B has shape [40], expected 2 axes"),
    "hidden-size": (lambda: drawn("LSTM", hidden_size=6).model(), "W has shape [1, 20, 3]"),
    "row-by-row": (lambda: with_arrays(h=ROWS), "initial_h is another constant in each row"),
    "state-against-time": (lambda: with_fed_state("reverse"), "direction is 'reverse'"),
    "half-a-state": (
        lambda: with_fed_state("forward", c=HALF),
        "the other part of the state is a constant",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_ours_has_not_is_refused_by_name(case):
    make, said = REFUSED[case]
    with pytest.raises(InputError) as error:
        read_onnx(make())
    assert said in str(error.value)
    assert str(error.value).startswith("ONNX ")
    assert "'node'" in str(error.value)
    assert "\n" not in str(error.value)


def test_peepholes_of_zeros_are_none():
    model = with_arrays(p=np.zeros((1, 3 * HIDDEN)))
    close(only(read_onnx(model))(torch.from_numpy(x()))[0], run(model, x())[0])


def without_nodes():
    made = helper.make_node("Relu", ["x"], ["y"])
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy"]
    return helper.make_model(helper.make_graph([made], "graph", info[:1], info[1:]))


def test_sources_that_are_none(tmp_path):
    (tmp_path / "noise.onnx").write_bytes(b"\x00noise")
    cases = {
        "missing.onnx: cannot be read (No such file or directory)": tmp_path / "missing.onnx",
        "cannot be read (Is a directory)": tmp_path,
        "noise.onnx: this is no ONNX file": tmp_path / "noise.onnx",
        "no LSTM, GRU or RNN node; it has no nodes": onnx.ModelProto(),
        "source is list": [],
        "no LSTM, GRU or RNN node; it has Relu": without_nodes(),
    }
    for said, source in cases.items():
        with pytest.raises(InputError) as error:
            read_onnx(source)  # pyright: ignore[reportArgumentType]
        assert said in str(error.value)
        assert "\n" not in str(error.value)


def test_nodes_inside_functions_are_found():
    node = drawn("RNN")
    proto = node.proto()
    proto.ClearField("name")
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    names = [*"xwrb"]
    function = helper.make_function("own", "Cell", names, ["y"], [proto], opset)
    call = helper.make_node("Cell", names, ["out"], domain="own")
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("x", "out")]
    stored = [numpy_helper.from_array(node.arrays[name], name) for name in "wrb"]
    graph = helper.make_graph([call], "graph", info[:1], info[1:], stored)
    model = helper.make_model(graph, functions=[function], opset_imports=opset, ir_version=9)
    close(only(read_onnx(model))(torch.from_numpy(x()))[0], run(node.model(), x())[0])
    assert len(model.functions) == 1  # the caller's model stays as it was


def test_a_missing_package_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **keywords):
        if name == "onnx":
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=r"^reading ONNX needs onnx: .*throughtime\[interop\]"):
        open_onnx("model.onnx")
