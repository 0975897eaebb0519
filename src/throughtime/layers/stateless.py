"""Layers that treat each step by itself, under the same contract."""

from functools import partial

import torch
from torch import nn
from torch.nn import functional

from throughtime.errors import InputError
from throughtime.kernels.compiled import plain, transformed
from throughtime.layers.base import Stateless, check_size
from throughtime.shapes import Float, Int, Tensor
from throughtime.state import State

ACTIVATIONS = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "gelu": functional.gelu,
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
    "silu": functional.silu,
}


class Linear(Stateless):
    r"""A matrix and a shift, and an activation on request: $y_t = \operatorname{act}(W x_t + b)$.

    Args:
        input_size: features per step.
        output_size: features of the output.
        activation: `relu`, `tanh`, `gelu`, `gelu_tanh` (gelu as Hendrycks and Gimpel 2016
            approximate it, by tanh), `silu`, or None.
        bias: whether there is a shift.

    Attributes:
        weight: W, `[output_size, input_size]`; Glorot uniform.
        bias: b, `[output_size]`; zeros. None without.

    Shapes:
        - `x`: `[batch, time, input_size]`.
        - `output`: `[batch, time, output_size]`; zeros in padded steps.

    Examples:
        >>> Linear(3, 5)(torch.randn(2, 7, 3))[0].shape
        torch.Size([2, 7, 5])
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        activation: str | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_size("Linear", "input_size", input_size)
        check_size("Linear", "output_size", output_size)
        if activation is not None and activation not in ACTIVATIONS:
            raise InputError(
                f"Linear: activation is {activation!r}, expected None or one of {[*ACTIVATIONS]}"
            )
        self.input_size = input_size
        self.output_size = output_size
        self.activation = activation
        self.weight = nn.Parameter(torch.empty(output_size, input_size))
        self.bias = nn.Parameter(torch.empty(output_size)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot weights, zero shift."""
        nn.init.xavier_uniform_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def each(self, x: Float[Tensor, "batch time input"]) -> Float[Tensor, "batch time output"]:
        """Multiply, shift, activate."""
        y = functional.linear(x, self.weight, self.bias)
        return y if self.activation is None else ACTIVATIONS[self.activation](y)

    def extra_repr(self) -> str:
        """Sizes, for printing."""
        return f"input_size={self.input_size}, output_size={self.output_size}"


class Embedding(Stateless):
    r"""A vector for each token: $y_t = E_{x_t}$.

    Args:
        tokens: size of the vocabulary; ids run from 0 to `tokens - 1`.
        output_size: features of each vector.

    Attributes:
        weight: E, `[tokens, output_size]`; normal with deviation 1.

    Shapes:
        - `x`: `[batch, time]`, token ids; anything at all in padded steps.
        - `output`: `[batch, time, output_size]`; zeros in padded steps.

    Errors:
        InputError: ids that are not whole numbers. An id outside the vocabulary is found by
            torch when it is looked up.

    Examples:
        >>> Embedding(10, 4)(torch.tensor([[1, 2, 3]]))[0].shape
        torch.Size([1, 3, 4])
    """

    def __init__(self, tokens: int, output_size: int) -> None:
        super().__init__()
        check_size("Embedding", "tokens", tokens)
        check_size("Embedding", "output_size", output_size)
        self.tokens = tokens
        self.input_size = None
        self.output_size = output_size
        self.weight = nn.Parameter(torch.empty(tokens, output_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Normal with deviation 1."""
        nn.init.normal_(self.weight)

    def check(self, x: Tensor, state: State, mask: Tensor | None, reset: Tensor | None) -> None:
        """Token ids have no axis of features."""
        if x.ndim != 2:
            raise InputError(f"Embedding: x has shape {list(x.shape)}, expected [batch, time]")
        if x.is_floating_point() or x.dtype == torch.bool:
            raise InputError(f"Embedding: x is {x.dtype}, expected token ids (torch.long)")
        self.check_marks(x, mask, reset)
        self.check_state(state, x.shape[0])

    def each(self, x: Int[Tensor, "batch time"]) -> Float[Tensor, "batch time output"]:
        """Look up."""
        return functional.embedding(x, self.weight)

    def extra_repr(self) -> str:
        """Sizes, for printing."""
        return f"tokens={self.tokens}, output_size={self.output_size}"


class Norm(Stateless):
    r"""Each step brought to the same size.

    $$y = \frac{x - \operatorname{mean}(x)}{\sqrt{\operatorname{var}(x) + \epsilon}} \odot w + b
    \quad\text{(layer)}, \qquad
    y = \frac{x}{\sqrt{\operatorname{mean}(x^2) + \epsilon}} \odot w \quad\text{(rms)}$$

    Args:
        size: features per step.
        kind: `layer` (Ba et al. 2016) or `rms` (Zhang and Sennrich 2019).
        epsilon: added under the root.

    Attributes:
        weight: w, `[size]`; ones.
        bias: b, `[size]`; zeros. None with `rms`.

    Shapes:
        - `x`, `output`: `[batch, time, size]`; zeros in padded steps.

    Examples:
        >>> Norm(4)(torch.tensor([[[1.0, 2.0, 3.0, 4.0]]]))[0].mean().abs() < 1e-6
        tensor(True)
    """

    def __init__(self, size: int, *, kind: str = "layer", epsilon: float = 1e-5) -> None:
        super().__init__()
        check_size("Norm", "size", size)
        if kind not in ("layer", "rms"):
            raise InputError(f"Norm: kind is {kind!r}, expected 'layer' or 'rms'")
        self.input_size = self.output_size = size
        self.kind = kind
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size)) if kind == "layer" else None

    def reset_parameters(self) -> None:
        """Ones and zeros."""
        nn.init.ones_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def each(self, x: Float[Tensor, "batch time size"]) -> Float[Tensor, "batch time size"]:
        """Centre and scale."""
        if self.kind == "rms":
            return functional.rms_norm(x, self.weight.shape, self.weight, self.epsilon)
        return functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.epsilon)

    def extra_repr(self) -> str:
        """Size and kind, for printing."""
        return f"size={self.input_size}, kind={self.kind!r}"


class Dropout(Stateless):
    """While training, each value is zero with probability `p`, and the others grow by 1 / (1 - p).

    Args:
        p: a probability in [0, 1).

    Shapes:
        - `x`, `output`: `[batch, time, features]`; zeros in padded steps.

    Errors:
        InputError: p outside [0, 1).

    Examples:
        >>> Dropout(0.5).eval()(torch.ones(1, 1, 3))[0].tolist()
        [[[1.0, 1.0, 1.0]]]

    References:
        Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from
        overfitting". Between the layers of a stack, never inside a recurrence: Zaremba et al. 2014.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise InputError(f"Dropout: p is {p}, expected a probability in [0, 1)")
        self.p = p
        self.input_size = self.output_size = None

    def check_dtype(self, x: Tensor) -> None:
        """Any floating-point type: there are no weights."""
        if not x.is_floating_point():
            raise InputError(f"Dropout: x is {x.dtype}, expected a floating-point type")

    def each(self, x: Float[Tensor, "batch time features"]) -> Float[Tensor, "batch time features"]:
        """Drop while training, pass otherwise."""
        if not (self.training and self.p and x.device.type == "cpu" and plain()) or transformed():
            return functional.dropout(x, self.p, self.training)
        # Torch draws a double for each value on a CPU, which costs more than a small product. Of
        # each 64 random bits four values are decided here; p is rounded to a 65,536th.
        dropped = min(round(self.p * 65536), 65535)
        bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        kept = bits.view(torch.int16)[: x.numel()].view(x.shape) >= dropped - 32768
        return x * kept.to(x.dtype).mul_(65536 / (65536 - dropped))

    def extra_repr(self) -> str:
        """The probability, for printing."""
        return f"p={self.p}"
