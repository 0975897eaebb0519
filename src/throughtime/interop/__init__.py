"""Models in and out: weights that other libraries have written, and files that they read.

Nothing is downloaded: what goes in are local folders, state dicts, arrays and files.
"""

from throughtime.interop.bert import load_bert, save_bert
from throughtime.interop.folders import load, save
from throughtime.interop.gpt2 import load_gpt2, save_gpt2
from throughtime.interop.keras import (
    from_keras,
    gru_from_keras,
    lstm_from_keras,
    rnn_from_keras,
    to_keras,
)
from throughtime.interop.marian import load_marian, save_marian
from throughtime.interop.onnx_nodes import OnnxWeights, read_onnx, to_onnx_weights
from throughtime.interop.reverse import Reverse
from throughtime.interop.torch_names import from_torch, to_torch
from throughtime.interop.vit import load_vit, save_vit

__all__ = [
    "OnnxWeights",
    "Reverse",
    "from_keras",
    "from_torch",
    "gru_from_keras",
    "load",
    "load_bert",
    "load_gpt2",
    "load_marian",
    "load_vit",
    "lstm_from_keras",
    "read_onnx",
    "rnn_from_keras",
    "save",
    "save_bert",
    "save_gpt2",
    "save_marian",
    "save_vit",
    "to_keras",
    "to_onnx_weights",
    "to_torch",
]
