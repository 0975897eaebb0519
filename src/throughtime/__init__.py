"""Sequence models that carry their state through time.

`output, state = layer(x, state)`: what runs whole also runs in chunks, one step at a time, padded,
ragged, from a checkpoint and over the network, with the same answer.
"""

from throughtime import kernels, state
from throughtime.accelerating import accelerate
from throughtime.errors import InputError
from throughtime.layers import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    CrossAttention,
    Decoder,
    Dropout,
    Embedding,
    Encoder,
    FeedForward,
    Layer,
    Linear,
    Norm,
    PatchEmbedding,
    Position,
    Residual,
    SelfAttention,
    Stack,
    TransformerBlock,
    Window,
)
from throughtime.state import concatenate, detach, select

__version__ = "0.1.0"

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Bidirectional",
    "CrossAttention",
    "Decoder",
    "Dropout",
    "Embedding",
    "Encoder",
    "FeedForward",
    "InputError",
    "Layer",
    "Linear",
    "Norm",
    "PatchEmbedding",
    "Position",
    "Residual",
    "SelfAttention",
    "Stack",
    "TransformerBlock",
    "Window",
    "accelerate",
    "concatenate",
    "detach",
    "kernels",
    "select",
    "state",
]
