"""The recurrent layer with gates and no cell."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn

from throughtime import kernels
from throughtime.kernels.gru.cpu import CELL
from throughtime.layers.base import Recurrent, orthogonal_blocks_
from throughtime.shapes import Bool, Float, Tensor
from throughtime.state import register
from throughtime.taps import tap, watched

GATES = ("reset", "update", "candidate")


@register
class GRUState(NamedTuple):
    """What a GRU remembers.

    Attributes:
        hidden: `[batch, hidden_size]`, the last output.
    """

    hidden: Float[Tensor, "batch hidden"]


class GRU(Recurrent):
    r"""Recurrent layer with two gates and no cell: fewer parameters than an LSTM.

    The reset gate $r$ decides how much of the past enters the candidate $n$, the update gate $z$
    how much of the past stays:

    $$r_t, z_t = \sigma(W x_t + U h_{t-1} + b)$$
    $$n_t = \tanh(W x_t + b + r_t \odot (U h_{t-1} + b_h))$$
    $$h_t = (1 - z_t) \odot n_t + z_t \odot h_{t-1}$$

    where each of the three has its own block of $W$, $U$ and $b$.

    Args:
        input_size: features per step.
        hidden_size: features of the memory, and of the output.
        reset_after: whether the reset gate acts after the matrix product, as above and in
            `torch.nn.GRU`, or before it as in the original paper:
            $n_t = \tanh(W x_t + b + U (r_t \odot h_{t-1}))$.
        learn_initial_state: make the state before the first step a parameter.
        recompute: let training compute the gates again instead of keeping them: much less memory
            over long times for about a third more work.

    Attributes:
        weight_input: W, `[3 * hidden_size, input_size]`; blocks r, z, n from the top, as in
            `torch.nn.GRU`; Glorot uniform per block.
        weight_hidden: U, `[3 * hidden_size, hidden_size]`; the same blocks; orthogonal per block.
        bias: b, `[3 * hidden_size]`; zeros.
        bias_hidden: $b_h$, `[hidden_size]`, zeros; None with `reset_after=False`.
        initial_hidden: `[hidden_size]`, zeros before training; None unless learned.

    Shapes:
        - `x`: `[batch, time, input_size]`; time is counted in steps.
        - `state`: `GRUState`, `[batch, hidden_size]`; `None` is the initial state.
        - `mask`, `reset`: `[batch, time]`, see [`Layer`][throughtime.layers.Layer].
        - `output`: `[batch, time, hidden_size]`, each value between -1 and 1.

    Laws:
        - Causal: an output depends only on its own step and earlier ones.
        - Chunkable: any split of time gives the same outputs, state and gradients.
        - Padding-invariant: what stands in a padded step changes nothing.

    Gradients flow through the returned state; `detach(state)` cuts them, which is truncated
    back-propagation.

    Examples:
        >>> layer = GRU(input_size=3, hidden_size=5)
        >>> mask = torch.tensor([[True, True, False], [True, False, False]])
        >>> output, state = layer(torch.randn(2, 3, 3), mask=mask)
        >>> torch.equal(state.hidden[1], output[1, 0])
        True

    References:
        Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder for
        statistical machine translation".
    """

    State = GRUState
    native_cell = CELL
    taps: Mapping[str, str] = {
        "reset": "r, how much of the past enters the candidate, 0 to 1: [batch, time, hidden]",
        "update": "z, how much of the past stays, 0 to 1: [batch, time, hidden]",
        "candidate": "n, what there is to take in, -1 to 1: [batch, time, hidden]",
        "hidden": "h, what each unit keeps and shows, -1 to 1: [batch, time, hidden]",
    }

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        reset_after: bool = True,
        learn_initial_state: bool = False,
        recompute: bool = False,
    ) -> None:
        super().__init__(input_size, hidden_size, learn_initial_state=learn_initial_state)
        self.recompute = recompute
        self.weight_input = nn.Parameter(torch.empty(3 * hidden_size, input_size))
        self.weight_hidden = nn.Parameter(torch.empty(3 * hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(3 * hidden_size))
        self.bias_hidden = nn.Parameter(torch.empty(hidden_size)) if reset_after else None
        if not reset_after:
            self.native_cell = -1
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot input weights, orthogonal recurrent weights, zeros elsewhere."""
        for block in self.weight_input.chunk(3):
            nn.init.xavier_uniform_(block)
        orthogonal_blocks_(self.weight_hidden, 3)
        nn.init.zeros_(self.bias)
        if self.bias_hidden is not None:
            nn.init.zeros_(self.bias_hidden)
        self.reset_initial_state()

    def run(
        self,
        x: Float[Tensor, "batch time input"],
        state: GRUState,
        mask: Bool[Tensor, "batch time"] | None,
        reset: Bool[Tensor, "batch time"] | None,
    ) -> tuple[Float[Tensor, "batch time hidden"], GRUState]:
        """One call to the kernel."""
        loop = self.loop(x, mask)
        output, hidden, *gates = kernels.gru(
            x,
            state.hidden,
            self.weight_input,
            self.weight_hidden,
            self.bias,
            self.bias_hidden,
            initial=self.initial_state(x.shape[0]).hidden,
            mask=mask,
            reset=reset,
            return_gates=loop is None and watched(self, *GATES),
            recompute=self.recompute,
            touch=loop,
        )
        if loop is not None:
            loop.show()
            return output, GRUState(hidden)
        for kept in gates:  # r, z, n, and what only the kernel needs
            for name, gate in zip(GATES, kept.chunk(4, dim=-1), strict=False):
                tap(self, name, gate)
        return tap(self, "hidden", output), GRUState(hidden)

    def extra_repr(self) -> str:
        """Sizes and place of the reset gate, for printing."""
        return f"{super().extra_repr()}, reset_after={self.bias_hidden is not None}"
