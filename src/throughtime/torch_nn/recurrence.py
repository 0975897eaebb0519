"""One layer in one direction: torch.nn's weights and modes on our kernels."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import _VF  # pyright: ignore[reportPrivateImportUsage, reportAttributeAccessIssue]
from torch.nn import functional

from throughtime import kernels
from throughtime.kernels import registry
from throughtime.kernels.compiled import plain, transformed
from throughtime.kernels.gru.cpu import CELL as GRU_CELL
from throughtime.kernels.lstm.cpu import CELL as LSTM_CELL
from throughtime.shapes import Bool, Float, Tensor

State = tuple[Tensor, ...]
"""The hidden state, and an LSTM's cell state: `[batch, size]` each."""

CELLS = {"LSTM": LSTM_CELL, "GRU": GRU_CELL, "RNN_TANH": 0, "RNN_RELU": 1}
"""The codes of the native cells."""
_ONE = (1, 1)
BLOCKS = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}
"""Blocks of rows in the weights."""


class Weights(NamedTuple):
    """The weights of one direction; None where it has no such thing."""

    input: Tensor
    hidden: Tensor
    bias_input: Tensor | None
    bias_hidden: Tensor | None
    projection: Tensor | None = None


def run(
    mode: str,
    x: Float[Tensor, "batch time input"],
    state: State,
    weights: Weights,
    mask: Bool[Tensor, "batch time"] | None,
) -> tuple[Float[Tensor, "batch time hidden"], State]:
    """All outputs, and the state after the last step of each row."""
    if mask is None and eager() and x.shape[1] == 1 and weights.projection is None:
        h, *c = step(mode, x.squeeze(1), state, weights)
        return h.unsqueeze(1), (h, *c)
    if mode == "LSTM":
        return _lstm(x, state, weights, mask)
    (hidden,) = state
    bias, *bias_hidden = biases(mode, weights)
    if mode == "GRU":
        output, hidden = kernels.gru(
            *(x, hidden, weights.input, weights.hidden, bias, *bias_hidden),
            initial=hidden,
            mask=mask,
        )
    else:
        output, hidden = kernels.rnn(
            *(x, hidden, weights.input, weights.hidden, bias),
            initial=hidden,
            mask=mask,
            activation=mode.removeprefix("RNN_").lower(),
        )
    return output, (hidden,)


def eager() -> bool:
    """Whether torch's own calls may stand in for ours.

    They know no `torch.func`, compiled graphs hold ours, and under autocast theirs are of narrower
    types.
    """
    free = registry.forced() is None and not torch.is_autocast_enabled("cpu")
    return free and plain() and not transformed()


def biases(mode: str, weights: Weights) -> tuple[Tensor, ...]:
    """The bias that our kernels take, and the GRU's own of block n in the recurrent product."""
    rows, size = weights.hidden.shape[0], weights.hidden.shape[0] // BLOCKS[mode]
    if weights.bias_input is None or weights.bias_hidden is None:
        bias = weights.hidden.new_zeros(rows)
        return (bias, bias[:size]) if mode == "GRU" else (bias,)
    if mode != "GRU":
        return (weights.bias_input + weights.bias_hidden,)
    gates, new = weights.bias_hidden.split([2 * size, size])
    return weights.bias_input + functional.pad(gates, (0, size)), new


# A single step


def step(
    mode: str, x: Float[Tensor, "batch input"], state: State, weights: Weights
) -> tuple[Tensor, ...]:
    """The state after one step: one native call for one row without gradients, else torch's cell.

    To pack the weights, as the kernels of whole sequences do, costs more than a step.
    """
    if not torch.is_grad_enabled():
        found = native_step(mode, x.unsqueeze(1), state, weights)
        if found is not None:
            return found[1:]
    if mode == "LSTM":
        return _VF.lstm_cell(x, state, *weights[:4])
    cell = {"GRU": _VF.gru_cell, "RNN_TANH": _VF.rnn_tanh_cell, "RNN_RELU": _VF.rnn_relu_cell}
    return (cell[mode](x, state[0], *weights[:4]),)


def native_step(
    mode: str, x: Tensor, state: State, weights: Sequence[Tensor | None]
) -> tuple[Tensor, ...] | None:
    """Output and state after one step of one row without gradients; None where it is not that.

    Nothing needs to be checked before: native code declines what does not fit.

    Args:
        mode: the recurrence.
        x: `[1, 1, input]`.
        state: each part `[1, hidden]`.
        weights: of the input, of the state, and their biases.
    """
    if torch.is_grad_enabled() or not plain() or transformed() or x.shape[:2] != _ONE:
        return None
    weight_input, weight_hidden, bias_input, bias_hidden, *_ = weights
    if bias_input is None or bias_hidden is None:
        return None
    by_name = {"weight_input": weight_input, "weight_hidden": weight_hidden}
    bias = by_name["bias"] = bias_input + bias_hidden
    if mode == "GRU":  # whose last block of the hidden bias stands inside the product with r
        new = 2 * (len(bias) // 3)
        bias[new:] = bias_input[new:]
        by_name["bias_hidden"] = bias_hidden[new:]
    return kernels.single_step(CELLS[mode], by_name, x, state)  # pyright: ignore


# The LSTM and its projection


def _lstm(
    x: Float[Tensor, "batch time input"],
    state: State,
    weights: Weights,
    mask: Bool[Tensor, "batch time"] | None,
) -> tuple[Float[Tensor, "batch time hidden"], State]:
    if weights.projection is not None:
        return _projected(x, state, weights, weights.projection, mask)
    hidden, cell = state
    output, hidden, cell = kernels.lstm(
        *(x, hidden, cell, weights.input, weights.hidden, *biases("LSTM", weights)),
        initial_hidden=hidden,
        initial_cell=cell,
        mask=mask,
    )
    return output, (hidden, cell)


def _projected(
    x: Float[Tensor, "batch time input"],
    state: State,
    weights: Weights,
    projection: Float[Tensor, "projected hidden"],
    mask: Bool[Tensor, "batch time"] | None,
) -> tuple[Float[Tensor, "batch time projected"], State]:
    """h_t = P m_t with m_t = o tanh(c_t), computed as an LSTM without projection.

    From the second step on U h = (U P) m, so m is the output of an LSTM whose recurrent weights are
    U P. Only U h_0 is no such product: h_0 comes in beside x in the first real step, with U as its
    input weights.
    """
    hidden, cell = state
    time = torch.arange(x.shape[1], device=x.device)
    first = (time == 0).unsqueeze(0) if mask is None else mask & (mask.cumsum(1) == 1)
    begin = torch.where(first.unsqueeze(-1), hidden.unsqueeze(1), 0)
    unprojected = Weights(
        torch.cat([weights.input, weights.hidden], dim=1),
        weights.hidden @ projection,
        *weights[2:4],
    )
    both = torch.cat([x, begin], dim=-1)
    m, (m_last, cell) = run("LSTM", both, (torch.zeros_like(cell), cell), unprojected, mask)
    moved = first.any(dim=1, keepdim=True)  # rows with no real step keep their state
    last = torch.where(moved, functional.linear(m_last, projection), hidden)
    return functional.linear(m, projection), (last, cell)
