"""The definition of the GRU: a plain loop, the measure for every other version."""

import torch
from torch.nn import functional

from throughtime.kernels import steps
from throughtime.shapes import Bool, Float, Tensor


def gru(
    x: Float[Tensor, "batch time input"],
    hidden: Float[Tensor, "batch hidden"],
    weight_input: Float[Tensor, "3*hidden input"],
    weight_hidden: Float[Tensor, "3*hidden hidden"],
    bias: Float[Tensor, " 3*hidden"],
    bias_hidden: Float[Tensor, " hidden"] | None,
    initial: Float[Tensor, "batch hidden"],
    mask: Bool[Tensor, "batch time"] | None,
    reset: Bool[Tensor, "batch time"] | None,
    *,
    return_gates: bool = False,
    recompute: bool = False,
    touch: steps.Touch = steps.leave,
) -> tuple[Float[Tensor, "batch ..."], ...]:
    """Gates r, z, n; h_t = (1 - z) n + z h_(t-1).

    With `bias_hidden` the reset gate acts after the matrix product, as in torch.nn:
    n = tanh(W x + b + r (U h + b_h)). Without it, before, as in the paper:
    n = tanh(W x + b + U (r h)).
    """
    size = hidden.shape[1]
    projected = functional.linear(steps.hide_padding(x, mask), weight_input, bias)
    weight_gates, weight_new = weight_hidden.split([2 * size, size])
    time = x.shape[1]
    outputs, gates = [], []
    for t, p, real, new in zip(
        *(range(time), projected.unbind(1)),
        *(steps.columns(mask, time), steps.columns(reset, time)),
        strict=True,
    ):
        h = steps.begin(new, hidden, initial)
        p_gates, p_new = p.split([2 * size, size], dim=-1)
        if bias_hidden is None:
            r, z = torch.sigmoid(p_gates + functional.linear(h, weight_gates)).chunk(2, dim=-1)
            r, z = touch("reset", r, t), touch("update", z, t)
            q = functional.linear(r * h, weight_new)
            n = torch.tanh(p_new + q)
        else:
            u_gates, q = functional.linear(h, weight_hidden).split([2 * size, size], dim=-1)
            r, z = torch.sigmoid(p_gates + u_gates).chunk(2, dim=-1)
            r, z = touch("reset", r, t), touch("update", z, t)
            q = q + bias_hidden
            n = torch.tanh(p_new + r * q)
        n = touch("candidate", n, t)
        h_next = touch("hidden", ((1 - z) * n + z * h).to(h.dtype), t)
        hidden = steps.keep(real, h_next, h)
        outputs.append(hidden)
        if return_gates:
            gates.append(torch.cat([r, z, n, q], dim=-1).detach())
    found = steps.join(outputs, hidden, mask), hidden
    return (*found, steps.join(gates, hidden.repeat(1, 4), mask)) if return_gates else found
