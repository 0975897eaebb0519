"""The recurrent layer with a gated memory cell."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn

from throughtime import kernels
from throughtime.kernels import steps
from throughtime.kernels.lstm.cpu import CELL
from throughtime.layers.base import Recurrent, orthogonal_blocks_
from throughtime.shapes import Bool, Float, Tensor
from throughtime.state import register
from throughtime.taps import tap, watched

GATES = ("input", "forget", "candidate", "output_gate")


@register
class LSTMState(NamedTuple):
    """What an LSTM remembers.

    Attributes:
        hidden: `[batch, hidden_size]`, what the cell last showed.
        cell: `[batch, hidden_size]`, what it keeps.
    """

    hidden: Float[Tensor, "batch hidden"]
    cell: Float[Tensor, "batch hidden"]


class LSTM(Recurrent):
    r"""Recurrent layer with a gated memory cell.

    At each step three gates, each between 0 and 1, decide what the cell keeps ($f$, forget), what
    it takes in of a candidate $g$ ($i$, input) and what it shows ($o$, output):

    $$i_t, f_t, o_t = \sigma(W x_t + U h_{t-1} + b), \qquad g_t = \tanh(W x_t + U h_{t-1} + b)$$
    $$c_t = f_t \odot c_{t-1} + i_t \odot g_t, \qquad h_t = o_t \odot \tanh(c_t)$$

    where each of the four has its own block of $W$, $U$ and $b$.

    Args:
        input_size: features per step.
        hidden_size: features of the memory, and of the output.
        learn_initial_state: make the state before the first step a parameter.
        recompute: let training compute the gates again instead of keeping them: much less memory
            over long times for about a third more work.

    Attributes:
        weight_input: W, `[4 * hidden_size, input_size]`; blocks i, f, g, o from the top, as in
            `torch.nn.LSTM`; Glorot uniform per block.
        weight_hidden: U, `[4 * hidden_size, hidden_size]`; the same blocks; orthogonal per block.
        bias: b, `[4 * hidden_size]`; block f starts at 1, so that a new layer remembers
            (Jozefowicz et al. 2015), the others at 0. `torch.nn.LSTM`'s two biases, added.
        initial_hidden: `[hidden_size]`, zeros before training; None unless learned.
        initial_cell: likewise.

    Shapes:
        - `x`: `[batch, time, input_size]`; time is counted in steps.
        - `state`: `LSTMState`, each part `[batch, hidden_size]`; `None` is the initial state.
        - `mask`, `reset`: `[batch, time]`, see [`Layer`][throughtime.layers.Layer].
        - `output`: `[batch, time, hidden_size]`, each value between -1 and 1.

    Laws:
        - Causal: an output depends only on its own step and earlier ones.
        - Chunkable: any split of time gives the same outputs, state and gradients.
        - Padding-invariant: what stands in a padded step changes nothing.

    Gradients flow through the returned state; `detach(state)` cuts them, which is truncated
    back-propagation.

    Examples:
        >>> layer = LSTM(input_size=3, hidden_size=5)
        >>> x = torch.randn(2, 7, 3)
        >>> output, state = layer(x)
        >>> first, state = layer(x[:, :4])
        >>> rest, state = layer(x[:, 4:], state)
        >>> torch.allclose(torch.cat([first, rest], dim=1), output, atol=1e-6)
        True

    References:
        Hochreiter and Schmidhuber 1997, "Long short-term memory"; the forget gate: Gers,
        Schmidhuber and Cummins 2000, "Learning to forget".
    """

    State = LSTMState
    native_cell = CELL
    taps: Mapping[str, str] = {
        "input": "i, how much each unit takes in, 0 to 1: [batch, time, hidden]",
        "forget": "f, how much of its cell each unit keeps, 0 to 1: [batch, time, hidden]",
        "candidate": "g, what there is to take in, -1 to 1: [batch, time, hidden]",
        "output_gate": "o, how much of its cell each unit shows, 0 to 1: [batch, time, hidden]",
        "cell": "c, what each unit keeps: [batch, time, hidden]",
        "hidden": "h, what each unit shows, -1 to 1: [batch, time, hidden]",
    }

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        learn_initial_state: bool = False,
        recompute: bool = False,
    ) -> None:
        super().__init__(input_size, hidden_size, learn_initial_state=learn_initial_state)
        self.recompute = recompute
        self.weight_input = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hidden = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(4 * hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot input weights, orthogonal recurrent weights, forget bias 1, zeros elsewhere."""
        for block in self.weight_input.chunk(4):
            nn.init.xavier_uniform_(block)
        orthogonal_blocks_(self.weight_hidden, 4)
        nn.init.zeros_(self.bias)
        nn.init.ones_(self.bias.chunk(4)[1])
        self.reset_initial_state()

    def run(
        self,
        x: Float[Tensor, "batch time input"],
        state: LSTMState,
        mask: Bool[Tensor, "batch time"] | None,
        reset: Bool[Tensor, "batch time"] | None,
    ) -> tuple[Float[Tensor, "batch time hidden"], LSTMState]:
        """One call to the kernel."""
        initial = self.initial_state(x.shape[0])
        loop = self.loop(x, mask)
        output, hidden, cell, *gates = kernels.lstm(
            x,
            state.hidden,
            state.cell,
            self.weight_input,
            self.weight_hidden,
            self.bias,
            initial_hidden=initial.hidden,
            initial_cell=initial.cell,
            mask=mask,
            reset=reset,
            return_gates=loop is None and watched(self, *GATES, "cell"),
            recompute=self.recompute,
            touch=loop,
        )
        if loop is not None:
            loop.show()
            return output, LSTMState(hidden, cell)
        if gates:
            self._show(state.cell, gates[0], initial.cell, mask, reset)
        return tap(self, "hidden", output), LSTMState(hidden, cell)

    @torch.no_grad()
    def _show(
        self,
        before: Float[Tensor, "batch hidden"],
        gates: Float[Tensor, "batch time 4*hidden"],
        initial: Float[Tensor, "batch hidden"],
        mask: Tensor | None,
        reset: Tensor | None,
    ) -> None:
        """The gates that the kernel kept, and the cell state that follows from them."""
        by_name = dict(zip(GATES, gates.chunk(4, dim=-1), strict=True))
        for name, gate in by_name.items():
            tap(self, name, gate)
        if watched(self, "cell"):
            taken = by_name["input"] * by_name["candidate"]
            tap(self, "cell", _cells(taken, by_name["forget"], before, initial, mask, reset))


def _cells(
    taken: Float[Tensor, "batch time hidden"],
    forget: Float[Tensor, "batch time hidden"],
    cell: Float[Tensor, "batch hidden"],
    initial: Float[Tensor, "batch hidden"],
    mask: Bool[Tensor, "batch time"] | None,
    reset: Bool[Tensor, "batch time"] | None,
) -> Float[Tensor, "batch time hidden"]:
    """c_t = f c_(t-1) + i g, written over the i g taken in; zeros in padded steps."""
    if mask is not None:  # which leave it as it was: their i and g are zero
        forget = torch.where(mask.unsqueeze(-1), forget, 1)
    for f, ig, new in zip(
        forget.unbind(1), taken.unbind(1), steps.columns(reset, taken.shape[1]), strict=True
    ):
        cell = ig.addcmul_(f, steps.begin(new, cell, initial))
    return steps.hide_padding(taken, mask)
