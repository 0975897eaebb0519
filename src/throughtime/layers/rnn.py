"""The plain recurrent layer."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn

from throughtime import kernels
from throughtime.errors import InputError
from throughtime.kernels.rnn.cpu import ACTIVATIONS
from throughtime.layers.base import Recurrent, orthogonal_blocks_
from throughtime.shapes import Bool, Float, Tensor
from throughtime.state import register
from throughtime.taps import tap


@register
class RNNState(NamedTuple):
    """What an RNN remembers.

    Attributes:
        hidden: `[batch, hidden_size]`, the last output.
    """

    hidden: Float[Tensor, "batch hidden"]


class RNN(Recurrent):
    r"""Recurrent layer: the latent variable of one step is handed to the next.

    $$h_t = \operatorname{act}(W x_t + U h_{t-1} + b)$$

    Args:
        input_size: features per step.
        hidden_size: features of the memory, and of the output.
        activation: `tanh`, `relu`, or `sigmoid` (to see a gradient vanish).
        learn_initial_state: make the state before the first step a parameter.

    Attributes:
        weight_input: W, `[hidden_size, input_size]`; Glorot uniform.
        weight_hidden: U, `[hidden_size, hidden_size]`; orthogonal.
        bias: b, `[hidden_size]`; zeros.
        initial_hidden: `[hidden_size]`, zeros before training; None unless learned.

    Shapes:
        - `x`: `[batch, time, input_size]`; time is counted in steps.
        - `state`: `RNNState`, `[batch, hidden_size]`; `None` is the initial state.
        - `mask`, `reset`: `[batch, time]`, see [`Layer`][throughtime.layers.Layer].
        - `output`: `[batch, time, hidden_size]`, between -1 and 1 with `tanh`.

    Laws:
        - Causal: an output depends only on its own step and earlier ones.
        - Chunkable: any split of time gives the same outputs, state and gradients.
        - Padding-invariant: what stands in a padded step changes nothing.

    Gradients flow through the returned state; `detach(state)` cuts them, which is truncated
    back-propagation.

    Examples:
        >>> layer = RNN(input_size=3, hidden_size=5)
        >>> output, state = layer(torch.randn(2, 7, 3))
        >>> output.shape, torch.equal(output[:, -1], state.hidden)
        (torch.Size([2, 7, 5]), True)

    References:
        Elman 1990, "Finding structure in time".
    """

    State = RNNState
    native_cell = 0
    taps: Mapping[str, str] = {"hidden": "h, what each unit hands on: [batch, time, hidden]"}

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        activation: str = "tanh",
        learn_initial_state: bool = False,
    ) -> None:
        super().__init__(input_size, hidden_size, learn_initial_state=learn_initial_state)
        if activation not in ACTIVATIONS:
            raise InputError(f"RNN: activation is {activation!r}, expected one of {ACTIVATIONS}")
        self.activation = activation
        self.native_cell = ACTIVATIONS.index(activation)
        self.weight_input = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hidden = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot input weights, orthogonal recurrent weights, zeros elsewhere."""
        nn.init.xavier_uniform_(self.weight_input)
        orthogonal_blocks_(self.weight_hidden, 1)
        nn.init.zeros_(self.bias)
        self.reset_initial_state()

    def run(
        self,
        x: Float[Tensor, "batch time input"],
        state: RNNState,
        mask: Bool[Tensor, "batch time"] | None,
        reset: Bool[Tensor, "batch time"] | None,
    ) -> tuple[Float[Tensor, "batch time hidden"], RNNState]:
        """One call to the kernel."""
        loop = self.loop(x, mask)
        output, hidden = kernels.rnn(
            x,
            state.hidden,
            self.weight_input,
            self.weight_hidden,
            self.bias,
            initial=self.initial_state(x.shape[0]).hidden,
            mask=mask,
            reset=reset,
            activation=self.activation,
            touch=loop,
        )
        if loop is not None:
            loop.show()
            return output, RNNState(hidden)
        return tap(self, "hidden", output), RNNState(hidden)

    def extra_repr(self) -> str:
        """Sizes and activation, for printing."""
        return f"{super().extra_repr()}, activation={self.activation!r}"
