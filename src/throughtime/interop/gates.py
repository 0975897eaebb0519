"""In which order libraries store the blocks of a recurrent weight, and how one becomes another.

A letter is a block of rows from the top: of an LSTM the gates i, f, o and the candidate g, which
others call c; of a GRU the gates r, z and the candidate n, which others call h. An RNN has one.
"""

import torch

from throughtime.shapes import Float, Tensor

TORCH = {"LSTM": "ifgo", "GRU": "rzn", "RNN": "h"}
"""Of `torch.nn`, and ours."""

KERAS = {"LSTM": "ifgo", "GRU": "zrn", "RNN": "h"}
"""Of `get_weights()`."""

ONNX = {"LSTM": "iofg", "GRU": "zrn", "RNN": "h"}
"""Of the operators of these names."""


def places(order: str, wanted: str) -> list[int]:
    """Where each wanted block stands in an order.

    Examples:
        >>> places(TORCH["LSTM"], ONNX["LSTM"])
        [0, 3, 1, 2]
    """
    return [order.index(letter) for letter in wanted]


def reorder(weight: Float[Tensor, "rows ..."], order: str, wanted: str) -> Tensor:
    """A weight whose blocks stand in another order.

    Args:
        weight: its first axis holds the blocks.
        order: their letters from the top.
        wanted: the letters in the order asked for.

    Examples:
        >>> reorder(torch.tensor([1.0, 2.0, 3.0, 4.0]), ONNX["LSTM"], TORCH["LSTM"])
        tensor([1., 3., 4., 2.])
    """
    blocks = weight.chunk(len(order))
    return torch.cat([blocks[place] for place in places(order, wanted)])
