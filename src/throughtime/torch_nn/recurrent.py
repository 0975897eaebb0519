# ruff: noqa: FBT001, FBT002 - the signatures are torch.nn's
"""`RNN`, `LSTM` and `GRU` with torch.nn's own signatures, on our kernels."""

import torch
from torch import nn

from throughtime.errors import InputError
from throughtime.torch_nn.base import RNNBase


class RNN(RNNBase):
    r"""`torch.nn.RNN`: signature, parameters, layouts and numbers, on our kernels.

    $$h_t = \operatorname{act}(W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh})$$

    What it adds to `torch.nn.RNN`: `torch.compile(fullgraph=True)`, `torch.export` with a free time
    axis, `torch.func` (`vmap`, forward-mode derivatives), an empty time axis.

    Args:
        input_size: features per step.
        hidden_size: features of the state, and of the output.
        num_layers: layers on top of each other.
        nonlinearity: `tanh` or `relu`.
        bias: whether there are $b_{ih}$ and $b_{hh}$.
        batch_first: `[batch, time, features]` instead of `[time, batch, features]`; of input and
            output, not of the state.
        dropout: probability with which an output of a layer, but the last, is zero in training.
        bidirectional: a second direction against time; outputs side by side.
        device: of the parameters.
        dtype: of the parameters.

    Attributes:
        weight_ih_l0: $W_{ih}$ of the first layer, `[hidden_size, input_size]`; `weight_hh_l0`,
            `bias_ih_l0`, `bias_hh_l0` likewise, `_l1` and so on of the layers above, with
            `_reverse` against time.

    Shapes:
        - `input`: `[time, batch, input_size]`, `[time, input_size]`, or a PackedSequence.
        - `hx`: `[layers * directions, batch, hidden_size]`; None means zeros.
        - Returns: output `[time, batch, directions * hidden_size]`, and the state after.

    Errors:
        InputError: an argument, input or state that does not fit; any use of `torch.jit`.

    Examples:
        >>> layer, theirs = RNN(3, 5, 2), torch.nn.RNN(3, 5, 2)
        >>> _ = layer.load_state_dict(theirs.state_dict())
        >>> x = torch.randn(7, 2, 3)
        >>> torch.allclose(layer(x)[0], theirs(x)[0], atol=1e-6)
        True

    References:
        Elman 1990, "Finding structure in time".
    """

    of_torch = nn.RNN

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise InputError(f"RNN: nonlinearity is {nonlinearity!r}, expected 'tanh' or 'relu'")
        mode = f"RNN_{nonlinearity.upper()}"
        sizes = input_size, hidden_size, num_layers
        super().__init__(mode, *sizes, bias, batch_first, dropout, bidirectional, 0, device, dtype)
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    r"""`torch.nn.LSTM`: signature, parameters, layouts and numbers, on our kernels.

    $$i_t, f_t, o_t = \sigma(W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh}), \qquad
    g_t = \tanh(\ldots)$$
    $$c_t = f_t \odot c_{t-1} + i_t \odot g_t, \qquad h_t = W_{hr} (o_t \odot \tanh(c_t))$$

    where each of the four has its own block of weights, and $W_{hr}$ is there with `proj_size`.

    What it adds to `torch.nn.LSTM`: `torch.compile(fullgraph=True)`, `torch.export` with a free
    time axis, `torch.func` (`vmap`, forward-mode derivatives), an empty time axis. With
    `proj_size` plain calls run torch's own code, and these others an LSTM without projection whose
    recurrent weights are $W_{hh} W_{hr}$.

    Args:
        input_size: features per step.
        hidden_size: features of the cell state, and of the output without projection.
        num_layers: layers on top of each other.
        bias: whether there are $b_{ih}$ and $b_{hh}$.
        batch_first: `[batch, time, features]` instead of `[time, batch, features]`; of input and
            output, not of the state.
        dropout: probability with which an output of a layer, but the last, is zero in training.
        bidirectional: a second direction against time; outputs side by side.
        proj_size: features of the hidden state and the output; 0: `hidden_size`, no projection.
        device: of the parameters.
        dtype: of the parameters.

    Attributes:
        weight_ih_l0: $W_{ih}$ of the first layer, `[4 * hidden_size, input_size]`; blocks i, f, g,
            o; `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0` likewise, `weight_hr_l0`
            `[proj_size, hidden_size]`, `_l1` and so on of the layers above, with `_reverse` against
            time.

    Shapes:
        - `input`: `[time, batch, input_size]`, `[time, input_size]`, or a PackedSequence.
        - `hx`: hidden `[layers * directions, batch, proj_size or hidden_size]` and cell
          `[layers * directions, batch, hidden_size]`; None means zeros.
        - Returns: output `[time, batch, directions * (proj_size or hidden_size)]`, and the state
          after.

    Errors:
        InputError: an argument, input or state that does not fit; any use of `torch.jit`.

    Examples:
        >>> layer = LSTM(3, 5, num_layers=2, batch_first=True)
        >>> output, (hidden, cell) = layer(torch.randn(2, 7, 3))
        >>> output.shape, hidden.shape, torch.equal(output[:, -1], hidden[1])
        (torch.Size([2, 7, 5]), torch.Size([2, 2, 5]), True)

    References:
        Hochreiter and Schmidhuber 1997, "Long short-term memory"; the projection: Sak, Senior and
        Beaufays 2014, "Long short-term memory based recurrent neural network architectures for
        large vocabulary speech recognition".
    """

    of_torch = nn.LSTM

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        sizes = input_size, hidden_size, num_layers
        super().__init__(
            "LSTM", *sizes, bias, batch_first, dropout, bidirectional, proj_size, device, dtype
        )


class GRU(RNNBase):
    r"""`torch.nn.GRU`: signature, parameters, layouts and numbers, on our kernels.

    $$r_t, z_t = \sigma(W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh})$$
    $$n_t = \tanh(W_{ih} x_t + b_{ih} + r_t \odot (W_{hh} h_{t-1} + b_{hh})), \qquad
    h_t = (1 - z_t) \odot n_t + z_t \odot h_{t-1}$$

    where each of the three has its own block of weights.

    What it adds to `torch.nn.GRU`: `torch.compile(fullgraph=True)`, `torch.export` with a free time
    axis, `torch.func` (`vmap`, forward-mode derivatives), an empty time axis.

    Args:
        input_size: features per step.
        hidden_size: features of the state, and of the output.
        num_layers: layers on top of each other.
        bias: whether there are $b_{ih}$ and $b_{hh}$.
        batch_first: `[batch, time, features]` instead of `[time, batch, features]`; of input and
            output, not of the state.
        dropout: probability with which an output of a layer, but the last, is zero in training.
        bidirectional: a second direction against time; outputs side by side.
        device: of the parameters.
        dtype: of the parameters.

    Attributes:
        weight_ih_l0: $W_{ih}$ of the first layer, `[3 * hidden_size, input_size]`; blocks r, z, n;
            `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0` likewise, `_l1` and so on of the layers
            above, with `_reverse` against time.

    Shapes:
        - `input`: `[time, batch, input_size]`, `[time, input_size]`, or a PackedSequence.
        - `hx`: `[layers * directions, batch, hidden_size]`; None means zeros.
        - Returns: output `[time, batch, directions * hidden_size]`, and the state after.

    Errors:
        InputError: an argument, input or state that does not fit; any use of `torch.jit`.

    Examples:
        >>> layer = GRU(3, 5, bidirectional=True)
        >>> output, hidden = layer(torch.randn(7, 2, 3))
        >>> output.shape, hidden.shape
        (torch.Size([7, 2, 10]), torch.Size([2, 2, 5]))

    References:
        Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder for
        statistical machine translation".
    """

    of_torch = nn.GRU

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        sizes = input_size, hidden_size, num_layers
        super().__init__("GRU", *sizes, bias, batch_first, dropout, bidirectional, 0, device, dtype)
