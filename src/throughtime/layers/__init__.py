"""Layers: `output, state = layer(x, state, mask, reset)`, always."""

from throughtime.layers.base import Layer, Recurrent, Stateless
from throughtime.layers.gru import GRU, GRUState
from throughtime.layers.lstm import LSTM, LSTMState
from throughtime.layers.rnn import RNN, RNNState
from throughtime.layers.stack import Bidirectional, Residual, Stack
from throughtime.layers.stateless import Dropout, Embedding, Linear, Norm
from throughtime.layers.window import Window, WindowState

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Bidirectional",
    "Dropout",
    "Embedding",
    "GRUState",
    "LSTMState",
    "Layer",
    "Linear",
    "Norm",
    "RNNState",
    "Recurrent",
    "Residual",
    "Stack",
    "Stateless",
    "Window",
    "WindowState",
]
