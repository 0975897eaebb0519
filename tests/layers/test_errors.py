"""Bad input gets one line that names the argument, what was expected and what came."""

import pytest
import torch

from throughtime.errors import InputError
from throughtime.layers import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    Dropout,
    Embedding,
    Linear,
    LSTMState,
    Norm,
    Residual,
    Stack,
    Window,
)

X = torch.zeros(2, 4, 3)
MASK = torch.ones(2, 4, dtype=torch.bool)

CALLS = [
    (lambda: LSTM(3, 5)(torch.zeros(2, 4, 5)), "LSTM: x has 5 features, input_size is 3"),
    (lambda: GRU(3, 5)(X[0]), "GRU: x has shape [4, 3], expected [batch, time, features]"),
    (lambda: RNN(3, 5)(X.double()), "RNN: x is torch.float64, the layer is torch.float32"),
    (lambda: Window(2, 3)(X.long()), "Window: x is torch.int64, expected a floating-point type"),
    (lambda: Window(2, 3)(X.double()), "Window: x is torch.float64, the layer is torch.float32"),
    (lambda: LSTM(3, 5)(X, mask=MASK.float()), "LSTM: mask is torch.float32, expected torch.bool"),
    (
        lambda: LSTM(3, 5)(X, mask=MASK[:, :2]),
        "LSTM: mask has shape [2, 2], expected [batch, time] = [2, 4]",
    ),
    (lambda: LSTM(3, 5)(X, reset=MASK[:1]), "LSTM: reset has shape [1, 4], expected [batch, time]"),
    (
        lambda: LSTM(3, 5)(X, (torch.zeros(2, 5), torch.zeros(2, 5))),
        "LSTM: state is (float32[2, 5], float32[2, 5]), expected LSTMState(hidden=float32[2, 5], ",
    ),
    (
        lambda: LSTM(3, 5)(X, LSTMState(torch.zeros(1, 5), torch.zeros(1, 5))),
        "LSTM: state is LSTMState(hidden=float32[1, 5], cell=float32[1, 5]), expected LSTMState(h",
    ),
    (
        lambda: GRU(3, 5)(X, GRU(3, 5).double().initial_state(2)),
        "GRU: state is GRUState(hidden=float64[2, 5]), expected GRUState(hidden=float32[2, 5])",
    ),
    (
        lambda: Bidirectional(GRU(3, 5))(X, GRU(3, 5).initial_state(2)),
        "Bidirectional: got a state, but this layer sees the whole input at once",
    ),
    (
        lambda: Stack(Bidirectional(GRU(3, 5)))(X, ((),)),
        "Stack: got a state, but this layer sees the whole input at once",
    ),
    (lambda: Stack(GRU(3, 5))(X, ()), "Stack: state has 0 states, expected a tuple of 1, one per"),
    (lambda: Norm(3)(X, X), "Norm: state is float32[2, 4, 3], expected ()"),
    (lambda: Embedding(9, 2)(X), "Embedding: x has shape [2, 4, 3], expected [batch, time]"),
    (lambda: Embedding(9, 2)(X[0]), "Embedding: x is torch.float32, expected token ids"),
    (lambda: Dropout(0.5)(X.long()), "Dropout: x is torch.int64, expected a floating-point type"),
    (lambda: LSTM(0, 5), "LSTM: input_size is 0, expected a whole number of at least 1"),
    (lambda: LSTM(3, -2), "LSTM: hidden_size is -2, expected a whole number of at least 1"),
    (lambda: Window(True), "Window: size is True, expected a whole number of at least 1"),
    (lambda: RNN(3, 5, activation="elu"), "RNN: activation is 'elu', expected one of ['tanh', "),
    (lambda: Linear(3, 5, activation="elu"), "Linear: activation is 'elu', expected None or one"),
    (lambda: Norm(3, kind="batch"), "Norm: kind is 'batch', expected 'layer' or 'rms'"),
    (lambda: Dropout(1.0), "Dropout: p is 1.0, expected a probability in [0, 1)"),
    (lambda: Stack(), "Stack: expected at least one layer, got none"),
    (
        lambda: Stack(LSTM(3, 5), Dropout(0.1), GRU(4, 5)),
        "Stack: Dropout gives 5 features, GRU above it takes 4",
    ),
    (lambda: Residual(LSTM(3, 5)), "Residual: LSTM takes 3 features and gives 5; the two are add"),
    (
        lambda: Bidirectional(Bidirectional(GRU(3, 5))),
        "Bidirectional: Bidirectional sees both directions already",
    ),
    (
        lambda: Bidirectional(GRU(3, 5), GRU(4, 5)),
        "Bidirectional: the layers take 3 and 4 features, expected the same",
    ),
]


@pytest.mark.parametrize(("call", "line"), CALLS)
def test_one_clear_line(call, line):
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)
