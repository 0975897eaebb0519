"""Our layers beside what one would use instead, on the same weights: what `bench` times."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from throughtime import GRU, LSTM, RNN
from throughtime.commands.clocks import Run

OURS, THEIRS = "throughtime", "torch.nn"
PACKED = "PackedSequence"
LAYERS: dict[str, Any] = {"rnn": RNN, "lstm": LSTM, "gru": GRU}
NN: dict[str, Any] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
CELLS: dict[str, Any] = {"rnn": nn.RNNCell, "lstm": nn.LSTMCell, "gru": nn.GRUCell}
BLOCKS = {"rnn": 1, "lstm": 4, "gru": 3}
"""Blocks of rows in the weights of each."""


def pair(
    kind: str, input_size: int, hidden: int, dtype: torch.dtype = torch.float32
) -> tuple[Any, Any]:
    """Our layer and torch.nn's, with the same weights."""
    ours = LAYERS[kind](input_size, hidden).to(dtype)
    theirs = NN[kind](input_size, hidden, batch_first=True).to(dtype)
    give_weights(ours, theirs, "_l0")
    return ours, theirs


@torch.no_grad()
def give_weights(ours: Any, theirs: nn.Module, suffix: str = "") -> None:
    """Copy our weights to a layer or cell of torch.nn."""
    mine = (ours.weight_input, ours.weight_hidden, ours.bias, second_bias(ours))
    for name, values in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), mine, strict=True):
        getattr(theirs, name + suffix).copy_(values)


@torch.no_grad()
def second_bias(ours: Any) -> Tensor:
    """The bias that others add to the recurrent product: zeros but for GRU's of the new value."""
    second = torch.zeros_like(ours.bias)
    if isinstance(ours, GRU) and ours.bias_hidden is not None:
        second[2 * ours.hidden_size :] = ours.bias_hidden
    return second


def operations(
    kind: str, input_size: int, hidden: int, steps: int, *, training: bool, of_input: bool = False
) -> int:
    """Multiplications and additions in the matrix products of a pass.

    Args:
        kind: rnn, lstm or gru.
        input_size: features per step.
        hidden: size of the state.
        steps: real steps of all rows.
        training: also count the backward pass.
        of_input: it asks for the gradient of the input too.
    """
    sizes = input_size + hidden
    if training:  # gradients of both weights, of the state before, and of the input
        sizes += (input_size + hidden) + hidden + of_input * input_size
    return 2 * steps * BLOCKS[kind] * hidden * sizes


# Whole sequences


def forward(layer: nn.Module, x: Tensor, precision: torch.dtype | None = None) -> Run:
    """The pass over whole sequences, under autocast if a precision is given."""
    if precision is None:
        return lambda: layer(x)[0]

    def run() -> Tensor:
        with torch.autocast("cpu", precision):
            return layer(x)[0]

    return run


def training(layer: nn.Module, output: Callable[[], Tensor], x: Tensor | None = None) -> Run:
    """A training step: forward, and backward of the sum of the outputs.

    Args:
        layer: whose gradients are taken.
        output: the forward pass.
        x: the input, if its gradient is taken too.
    """

    def run() -> None:
        layer.zero_grad(set_to_none=True)
        if x is not None:
            x.grad = None
        output().sum().backward()

    return run


# Sequences of different lengths


def spread_lengths(batch: int, time: int, share: float) -> Tensor:
    """Lengths of which a share of all steps is real, evenly spread and in random order.

    From nothing to twice the share for shares up to a half, else up to the whole time.
    """
    low, high = max(0.0, 2 * share - 1), min(1.0, 2 * share)
    spread = torch.linspace(low * time, high * time, batch).round().long().clamp(1, time)
    return spread[torch.randperm(batch)]


def mask_of(lengths: Tensor, time: int) -> Tensor:
    """True where a step is real, padding on the right."""
    return torch.arange(time) < lengths[:, None]


def ragged(kind: str, input_size: int, hidden: int, lengths: Tensor, time: int) -> dict[str, Run]:
    """Training steps on sequences of different lengths: a mask, packed, or padding as data."""
    ours, theirs = pair(kind, input_size, hidden)
    x, mask = torch.randn(len(lengths), time, input_size), mask_of(lengths, time)

    def packed() -> Tensor:
        shorter = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(theirs(shorter)[0], batch_first=True)[0]

    return {
        OURS: training(ours, lambda: ours(x, mask=mask)[0]),
        PACKED: training(theirs, packed),
        "padding": training(theirs, lambda: theirs(x)[0]),
    }


# One step at a time


def streaming(kind: str, input_size: int, hidden: int) -> dict[str, Run]:
    """One step of batch 1, the state kept, by every means that is installed.

    Each returns its state. They are to be called in inference mode.

    Errors:
        AssertionError: two do not compute the same.
    """
    ours, theirs = pair(kind, input_size, hidden)
    cell = CELLS[kind](input_size, hidden)
    give_weights(ours, cell)
    x = torch.randn(1, 1, input_size)
    runs = {
        OURS: _carry(ours, x),
        f"nn.{type(theirs).__name__}": _carry(theirs, x),
        f"nn.{type(cell).__name__}": _carry_cell(cell, x[0]),
        **_onnx(ours, kind, x.numpy()),
    }
    with torch.inference_mode():
        states = {name: [run() for _ in range(3)][-1] for name, run in runs.items()}
    for name, state in states.items():
        found, expected = hidden_of(state), hidden_of(states[OURS])
        torch.testing.assert_close(found, expected, msg=f"{name} differs")
    return runs


def hidden_of(state: Any) -> Tensor:
    """The hidden state, the first part of whatever kind of state."""
    whole = isinstance(state, Tensor | np.ndarray)
    return torch.as_tensor(state if whole else state[0]).flatten()


def _carry(layer: nn.Module, x: Tensor) -> Run:
    state = None

    def run() -> Any:
        nonlocal state
        _, state = layer(x, state)
        return state

    return run


def _carry_cell(cell: nn.Module, x: Tensor) -> Run:
    state = None

    def run() -> Any:
        nonlocal state
        state = cell(x, state)
        return state

    return run


def installed(*names: str) -> bool:
    """Whether all these packages can be imported."""
    try:
        for name in names:
            importlib.import_module(name)
    except ImportError:
        return False
    return True


def _onnx(ours: Any, kind: str, x: np.ndarray) -> dict[str, Run]:
    """ONNX Runtime on one node: called with arrays, and with memory bound beforehand."""
    if not installed("onnx", "onnxruntime"):
        return {}
    runtime = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1  # a step is too small to share
    session = runtime.InferenceSession(
        onnx_model(ours, kind), options, providers=["CPUExecutionProvider"]
    )
    after = [output.name for output in session.get_outputs()]
    before = [name.replace("after", "before") for name in after]
    size = ours.hidden_size
    state = [np.zeros((1, 1, size), np.float32) for _ in after]

    def run() -> Any:
        nonlocal state
        feed = dict(zip(before, state, strict=True))
        feed["x"] = x
        state = session.run(after, feed)
        return state

    # Two sets of memory, each in turn the state before and the state after.
    memory = runtime.OrtValue.ortvalue_from_numpy
    sets = [[memory(np.zeros((1, 1, size), np.float32)) for _ in after] for _ in range(2)]
    bindings = []
    for old, new in (sets, sets[::-1]):
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", memory(x))
        for name, value in zip(before, old, strict=True):
            binding.bind_ortvalue_input(name, value)
        for name, value in zip(after, new, strict=True):
            binding.bind_ortvalue_output(name, value)
        bindings.append(binding)
    turn = 0

    def run_bound() -> Any:
        nonlocal turn
        session.run_with_iobinding(bindings[turn])
        turn = 1 - turn
        return sets[turn][0].numpy()  # a view of the memory

    return {"ONNX Runtime": run, "ONNX Runtime, bound": run_bound}


def onnx_model(ours: Any, kind: str) -> bytes:
    """A model of one recurrent node and one step: x and the state before give the state after."""
    onnx = importlib.import_module("onnx")
    helper, size = onnx.helper, ours.hidden_size
    # ONNX has the blocks in the orders input, output, forget, cell, and update, reset, new.
    order = {"rnn": [0], "lstm": [0, 3, 1, 2], "gru": [1, 0, 2]}[kind]
    weights: Mapping[str, list[Tensor]] = {
        "W": [ours.weight_input],
        "R": [ours.weight_hidden],
        "B": [ours.bias, second_bias(ours)],
    }
    parts = ["hidden", "cell"] if kind == "lstm" else ["hidden"]
    before, after = ([f"{part}_{when}" for part in parts] for when in ("before", "after"))
    node = helper.make_node(
        kind.upper(), ["x", "W", "R", "B", "", *before], ["", *after], hidden_size=size,
        **({"linear_before_reset": 1} if kind == "gru" else {}),
    )  # fmt: skip
    constants = []
    for name, tensors in weights.items():
        blocks = [tensor.detach().split(size)[place] for tensor in tensors for place in order]
        values = torch.cat(blocks)[None].numpy()
        constants.append(onnx.numpy_helper.from_array(values, name))

    def named(names: list[str], features: int) -> list[Any]:
        shape = [1, 1, features]
        return [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, shape) for n in names]

    inputs = named(["x"], ours.input_size) + named(before, size)
    graph = helper.make_graph([node], kind, inputs, named(after, size), constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()
