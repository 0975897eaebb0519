"""Sequence models that carry their state through time.

`output, state = layer(x, state)`: what runs whole also runs in chunks, one step at a time, padded,
ragged, from a checkpoint and over the network, with the same answer.
"""

from throughtime import kernels, state
from throughtime.errors import InputError
from throughtime.layers import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    Dropout,
    Embedding,
    Layer,
    Linear,
    Norm,
    Residual,
    Stack,
    Window,
)
from throughtime.state import concatenate, detach, select

__version__ = "0.1.0"

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Bidirectional",
    "Dropout",
    "Embedding",
    "InputError",
    "Layer",
    "Linear",
    "Norm",
    "Residual",
    "Stack",
    "Window",
    "concatenate",
    "detach",
    "kernels",
    "select",
    "state",
]
