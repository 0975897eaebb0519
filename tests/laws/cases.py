"""The layers the laws are run over. A new layer enters here before it is written."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from tests.laws import peers
from throughtime.layers import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    Dropout,
    Embedding,
    Linear,
    Norm,
    Residual,
    Stack,
    Window,
)


@dataclass(frozen=True)
class Case:
    """A layer, and what it claims to `throughtime.testing.check_layer`."""

    name: str
    make: Callable[[], nn.Module]
    claims: dict[str, Any] = field(default_factory=dict)


def ids(batch, time):
    return torch.randint(9, (batch, time))


CASES = [
    Case("window", lambda: Window(3, 2), {"receptive_field": 3, "peer": peers.shifted_window}),
    Case("window-of-one", lambda: Window(1, 2), {"receptive_field": 1, "memory": False}),
    Case("rnn-tanh", lambda: RNN(3, 5), {"peer": peers.torch_rnn}),
    Case("rnn-relu", lambda: RNN(3, 5, activation="relu"), {"peer": peers.torch_rnn}),
    Case("rnn-sigmoid", lambda: RNN(3, 5, activation="sigmoid")),
    Case("rnn-learned-state", lambda: RNN(3, 5, learn_initial_state=True)),
    Case("lstm", lambda: LSTM(3, 5), {"peer": peers.torch_lstm}),
    Case("lstm-one-unit", lambda: LSTM(1, 1), {"peer": peers.torch_lstm}),
    Case("lstm-learned-state", lambda: LSTM(3, 5, learn_initial_state=True)),
    Case("gru", lambda: GRU(3, 5), {"peer": peers.torch_gru}),
    Case("gru-of-the-paper", lambda: GRU(3, 5, reset_after=False), {"peer": peers.paper_gru}),
    Case("gru-learned-state", lambda: GRU(3, 5, learn_initial_state=True)),
    Case("linear", lambda: Linear(3, 4), {"peer": peers.torch_linear}),
    Case("linear-gelu", lambda: Linear(3, 4, activation="gelu")),
    Case("embedding", lambda: Embedding(9, 4), {"inputs": ids}),
    Case("norm-layer", lambda: Norm(4), {"peer": peers.torch_layer_norm}),
    Case("norm-rms", lambda: Norm(4, kind="rms"), {"peer": peers.torch_rms_norm}),
    Case("dropout", lambda: Dropout(0.4)),
    Case("stack-lstm-lstm", lambda: Stack(LSTM(3, 5), LSTM(5, 4)), {"peer": peers.torch_stack}),
    Case("stack-gru-rnn", lambda: Stack(GRU(3, 5), RNN(5, 4)), {"peer": peers.torch_stack}),
    Case(
        "stack-of-everything",
        lambda: Stack(
            Embedding(9, 4),
            Window(2, 4),
            Norm(8),
            Dropout(0.2),
            GRU(8, 4, learn_initial_state=True),
            Residual(LSTM(4, 4)),
            Linear(4, 3, activation="tanh"),
        ),
        {"inputs": ids},
    ),
    Case("stack-of-windows", lambda: Stack(Window(3), Window(2, 3)), {"receptive_field": 4}),
    Case("residual-gru", lambda: Residual(GRU(3, 3))),
    Case(
        "bidirectional-lstm",
        lambda: Bidirectional(LSTM(3, 4)),
        {"peer": peers.torch_bidirectional_lstm},
    ),
    Case("bidirectional-two-kinds", lambda: Bidirectional(GRU(3, 4), RNN(3, 2))),
    Case(
        "stack-of-bidirectional",
        lambda: Stack(Bidirectional(GRU(3, 2)), Dropout(0.1), LSTM(4, 3)),
    ),
]
