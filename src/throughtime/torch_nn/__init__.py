"""A drop-in for `torch.nn`: change one import, keep the model and its checkpoints.

`from throughtime import torch_nn as nn` gives the recurrent and the attention modules of torch.nn
with its own signatures, parameter names, layouts and numbers, on throughtime's kernels; every other
name is torch.nn's. A `state_dict` loads both ways, and [`accelerate`][throughtime.accelerate] swaps
the modules of a model that is there already.

Examples:
    >>> from throughtime import torch_nn as nn
    >>> model = nn.Sequential(nn.Embedding(10, 4), nn.LSTM(4, 8, batch_first=True))
    >>> output, (hidden, cell) = model(torch.tensor([[1, 2, 3]]))
    >>> output.shape, type(model[0]) is torch.nn.Embedding
    (torch.Size([1, 3, 8]), True)
"""

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch.nn import *  # noqa: F403 # pyright: ignore[reportWildcardImportFromLibrary]

from throughtime.torch_nn import utils as utils
from throughtime.torch_nn.attention import MultiheadAttention
from throughtime.torch_nn.base import RNNBase
from throughtime.torch_nn.cells import GRUCell, LSTMCell, RNNCell, RNNCellBase
from throughtime.torch_nn.recurrent import GRU, LSTM, RNN
from throughtime.torch_nn.transformer import (
    Transformer,
    TransformerDecoder,
    TransformerEncoder,
)
from throughtime.torch_nn.transformer_layers import TransformerDecoderLayer, TransformerEncoderLayer

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "GRUCell",
    "LSTMCell",
    "MultiheadAttention",
    "RNNBase",
    "RNNCell",
    "RNNCellBase",
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
]

attention = torch.nn.attention  # over our own module of that name: `nn.attention` is torch's


def __getattr__(name: str) -> Any:
    return getattr(torch.nn, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(torch.nn)})
