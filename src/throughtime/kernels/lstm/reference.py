"""The definition of the LSTM: a plain loop, the measure for every other version."""

import torch
from torch.nn import functional

from throughtime.kernels import steps
from throughtime.shapes import Bool, Float, Tensor


def lstm(
    x: Float[Tensor, "batch time input"],
    hidden: Float[Tensor, "batch hidden"],
    cell: Float[Tensor, "batch hidden"],
    weight_input: Float[Tensor, "4*hidden input"],
    weight_hidden: Float[Tensor, "4*hidden hidden"],
    bias: Float[Tensor, " 4*hidden"],
    initial_hidden: Float[Tensor, "batch hidden"],
    initial_cell: Float[Tensor, "batch hidden"],
    mask: Bool[Tensor, "batch time"] | None,
    reset: Bool[Tensor, "batch time"] | None,
    *,
    return_gates: bool = False,
    recompute: bool = False,
    touch: steps.Touch = steps.leave,
) -> tuple[Float[Tensor, "batch ..."], ...]:
    """Gates i, f, g, o; c_t = f c_(t-1) + i g; h_t = o tanh(c_t)."""
    projected = functional.linear(steps.hide_padding(x, mask), weight_input, bias)
    time = x.shape[1]
    outputs, gates = [], []
    for t, p, real, new in zip(
        *(range(time), projected.unbind(1)),
        *(steps.columns(mask, time), steps.columns(reset, time)),
        strict=True,
    ):
        h = steps.begin(new, hidden, initial_hidden)
        c = steps.begin(new, cell, initial_cell)
        i, f, g, o = (p + functional.linear(h, weight_hidden)).chunk(4, dim=-1)
        i = touch("input", torch.sigmoid(i), t)
        f = touch("forget", torch.sigmoid(f), t)
        g = touch("candidate", torch.tanh(g), t)
        o = touch("output_gate", torch.sigmoid(o), t)
        c_next = touch("cell", f * c + i * g, t)
        h_next = touch("hidden", (o * torch.tanh(c_next)).to(h.dtype), t)
        cell = steps.keep(real, c_next, c)
        hidden = steps.keep(real, h_next, h)
        outputs.append(hidden)
        if return_gates:
            gates.append(torch.cat([i, f, g, o], dim=-1).detach())
    found = steps.join(outputs, hidden, mask), hidden, cell
    return (*found, steps.join(gates, hidden.repeat(1, 4), mask)) if return_gates else found
