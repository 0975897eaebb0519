"""Our weights in ONNX' order, run by ONNX Runtime and read back."""

import pytest
import torch

from tests.interop import nodes
from tests.interop.nodes import BATCH, FEATURES, HIDDEN, close, only, run, x
from throughtime import GRU, LSTM, RNN, Bidirectional, InputError, Linear
from throughtime.interop.onnx_nodes import read_onnx, to_onnx_weights
from throughtime.interop.reverse import Reverse

LAYERS = {
    "lstm": lambda: LSTM(FEATURES, HIDDEN),
    "lstm-learned": lambda: LSTM(FEATURES, HIDDEN, learn_initial_state=True),
    "gru-after": lambda: GRU(FEATURES, HIDDEN),
    "gru-before": lambda: GRU(FEATURES, HIDDEN, reset_after=False),
    "rnn": lambda: RNN(FEATURES, HIDDEN),
    "rnn-relu": lambda: RNN(FEATURES, HIDDEN, activation="relu", learn_initial_state=True),
    "rnn-sigmoid": lambda: RNN(FEATURES, HIDDEN, activation="sigmoid"),
}
AROUND = {"forward": lambda layer: layer, "reverse": Reverse, "bidirectional": Bidirectional}


@pytest.mark.parametrize("direction", AROUND)
@pytest.mark.parametrize("name", LAYERS)
def test_our_weights_as_a_node(name, direction):
    layer = AROUND[direction](LAYERS[name]())
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    weights = to_onnx_weights(layer)
    assert weights.attributes["direction"] == direction
    arrays = dict(zip("wrb", weights[1:4], strict=True))
    for part, value in zip("hc", weights.initial, strict=False):
        arrays[part] = value[:, None].repeat(BATCH, axis=1)
    model = nodes.Node(weights.operator, arrays, dict(weights.attributes)).model()
    close(layer(torch.from_numpy(x()))[0], run(model, x())[0])
    back = only(read_onnx(model))
    assert {n: p.shape for n, p in back.named_parameters()} == {
        n: p.shape for n, p in layer.named_parameters()
    }
    for ours, again in zip(layer.parameters(), back.parameters(), strict=True):
        assert torch.equal(ours, again)


WRONG = [
    (lambda: Linear(3, 5), "expected an LSTM, GRU or RNN"),
    (lambda: Bidirectional(GRU(3, 5), GRU(3, 5, reset_after=False)), "place of the reset gate"),
    (lambda: Bidirectional(GRU(3, 5, learn_initial_state=True), GRU(3, 5)), "one direction learns"),
    (lambda: GRU(3, 5).bfloat16(), "GRU is bfloat16"),
]


@pytest.mark.parametrize(("make", "said"), WRONG)
def test_layers_that_are_no_node(make, said):
    with pytest.raises(InputError) as error:
        to_onnx_weights(make())
    assert said in str(error.value)
    assert "\n" not in str(error.value)
