"""The feed-forward layer of a Transformer."""

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional
from torch.nn.functional import linear

from throughtime.errors import InputError
from throughtime.layers.attention import draw_blocks
from throughtime.layers.base import Stateless, check_size
from throughtime.layers.stateless import ACTIVATIONS
from throughtime.shapes import Float, Tensor
from throughtime.taps import tap

FEED_FORWARDS = ("gelu", "gelu_tanh", "relu", "silu", "swiglu")


class FeedForward(Stateless):
    r"""Two matrices with a bend between them, the same at every step.

    $$y = W_2 \operatorname{act}(W_1 x + b_1) + b_2$$
    $$y = W_2 (\operatorname{silu}(G x) \odot W_1 x) \quad\text{(swiglu, without shifts)}$$

    Args:
        size: features per step, in and out.
        hidden_size: features between; None: four times the size, or 8/3 times for `swiglu`, which
            has a third matrix, up to the next multiple of 8.
        activation: `gelu`, `gelu_tanh` (gelu approximated by tanh, as in GPT-2), `relu` (as in the
            paper), `silu` (also called swish) or `swiglu`.
        bias: whether there are shifts; never for `swiglu`.

    Attributes:
        weight_input: $W_1$, `[hidden_size, size]`; for `swiglu` $G$, $W_1$ from the top,
            `[2 * hidden_size, size]`; Glorot uniform per block.
        bias_input: $b_1$; zeros, or None.
        weight_output: $W_2$, `[size, hidden_size]`; Glorot uniform.
        bias_output: $b_2$; zeros, or None.

    Shapes:
        - `x`, `output`: `[batch, time, size]`; zeros in padded steps.

    Examples:
        >>> FeedForward(8, activation="swiglu")(torch.randn(2, 3, 8))[0].shape
        torch.Size([2, 3, 8])

    References:
        Vaswani et al. 2017, section 3.3; Shazeer 2020, "GLU variants improve Transformer";
        Hendrycks and Gimpel 2016, "Gaussian error linear units".
    """

    taps: Mapping[str, str] = {
        "inner": "the features between the matrices: [batch, time, hidden_size]",
        "output": "what comes out: [batch, time, size]",
    }

    def __init__(
        self,
        size: int,
        hidden_size: int | None = None,
        *,
        activation: str = "gelu",
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_size("FeedForward", "size", size)
        if activation not in FEED_FORWARDS:
            raise InputError(
                f"FeedForward: activation is {activation!r}, expected one of {[*FEED_FORWARDS]}"
            )
        gated = activation == "swiglu"
        if hidden_size is None:
            hidden_size = -(-8 * size // 24) * 8 if gated else 4 * size
        check_size("FeedForward", "hidden_size", hidden_size)
        self.input_size = self.output_size = size
        self.hidden_size = hidden_size
        self.activation = activation
        self.blocks = (hidden_size, hidden_size) if gated else (hidden_size,)
        bias = bias and not gated
        self.weight_input = nn.Parameter(torch.empty(sum(self.blocks), size))
        self.weight_output = nn.Parameter(torch.empty(size, hidden_size))
        self.bias_input = nn.Parameter(torch.empty(hidden_size)) if bias else None
        self.bias_output = nn.Parameter(torch.empty(size)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot per block, zero shifts."""
        draw_blocks(self.weight_input, self.blocks, self.bias_input)
        draw_blocks(self.weight_output, (self.weight_output.shape[0],), self.bias_output)

    def each(self, x: Float[Tensor, "batch time size"]) -> Float[Tensor, "batch time size"]:
        """Widen, bend, narrow."""
        inner = linear(x, self.weight_input, self.bias_input)
        if self.activation == "swiglu":
            gate, value = inner.chunk(2, dim=-1)
            inner = functional.silu(gate) * value
        else:
            inner = ACTIVATIONS[self.activation](inner)
        inner = tap(self, "inner", inner)
        return tap(self, "output", linear(inner, self.weight_output, self.bias_output))

    def extra_repr(self) -> str:
        """Sizes, for printing."""
        return f"size={self.input_size}, hidden_size={self.hidden_size}, {self.activation}"
