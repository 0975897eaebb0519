"""The definition of the RNN: a plain loop, the measure for every other version."""

import torch
from torch.nn import functional

from throughtime.kernels import steps
from throughtime.shapes import Bool, Float, Tensor

ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu, "sigmoid": torch.sigmoid}


def rnn(
    x: Float[Tensor, "batch time input"],
    hidden: Float[Tensor, "batch hidden"],
    weight_input: Float[Tensor, "hidden input"],
    weight_hidden: Float[Tensor, "hidden hidden"],
    bias: Float[Tensor, " hidden"],
    initial: Float[Tensor, "batch hidden"],
    mask: Bool[Tensor, "batch time"] | None,
    reset: Bool[Tensor, "batch time"] | None,
    activation: str,
    touch: steps.Touch = steps.leave,
) -> tuple[Float[Tensor, "batch time hidden"], Float[Tensor, "batch hidden"]]:
    """h_t = act(W x_t + U h_(t-1) + b)."""
    act = ACTIVATIONS[activation]
    projected = functional.linear(steps.hide_padding(x, mask), weight_input, bias)
    time = x.shape[1]
    outputs = []
    for t, p, real, new in zip(
        *(range(time), projected.unbind(1)),
        *(steps.columns(mask, time), steps.columns(reset, time)),
        strict=True,
    ):
        h = steps.begin(new, hidden, initial)
        h_next = touch("hidden", act(p + functional.linear(h, weight_hidden)).to(h.dtype), t)
        hidden = steps.keep(real, h_next, h)
        outputs.append(hidden)
    return steps.join(outputs, hidden, mask), hidden
