# ruff: noqa: FBT001, FBT002 - the signatures are torch.nn's
"""`RNNCell`, `LSTMCell` and `GRUCell` with torch.nn's own signatures."""

import math
from typing import Any, TypeVar

import torch
from torch import nn

from throughtime.errors import InputError
from throughtime.shapes import Tensor
from throughtime.torch_nn.adopting import adopted
from throughtime.torch_nn.checks import check_dtype, check_tensor
from throughtime.torch_nn.recurrence import BLOCKS, State, Weights, eager, native_step, run, step
from throughtime.torch_nn.scripting import Unscriptable

Ours = TypeVar("Ours", bound="RNNCellBase")


class RNNCellBase(Unscriptable, nn.Module):
    """What the cells share; the arguments are those of `torch.nn.RNNCellBase`."""

    of_torch: type[nn.Module] = nn.RNNCellBase
    parts: tuple[str, ...] = ("hx",)
    bias_ih: nn.Parameter | None
    bias_hh: nn.Parameter | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        for argument in ("input_size", "hidden_size"):
            size = getattr(self, argument)
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                self._refuse(f"{argument} is {size!r}, expected a whole number of at least 1")
        rows = num_chunks * hidden_size
        self.weight_ih = nn.Parameter(torch.empty(rows, input_size, device=device, dtype=dtype))
        self.weight_hh = nn.Parameter(torch.empty(rows, hidden_size, device=device, dtype=dtype))
        for name in ("bias_ih", "bias_hh"):
            empty = nn.Parameter(torch.empty(rows, device=device, dtype=dtype)) if bias else None
            self.register_parameter(name, empty)
        self.reset_parameters()

    def _refuse(self, why: str) -> None:
        raise InputError(f"{type(self).__name__}: {why}")

    @classmethod
    def from_torch(cls: type[Ours], module: nn.Module) -> Ours:
        """The same cell as a module of torch.nn, on the same parameters.

        Args:
            module: of the class of torch.nn that this one stands for; no subclass of it.

        Errors:
            InputError: it is of another class.
        """
        return adopted(cls, module, cls.of_torch)

    @property
    def mode(self) -> str:
        """The recurrence, as the layers name it."""
        raise NotImplementedError

    def reset_parameters(self) -> None:
        """Uniform between -1 / sqrt(hidden_size) and that; the same draws as torch.nn's."""
        bound = 1 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            nn.init.uniform_(weight, -bound, bound)

    def extra_repr(self) -> str:
        """The arguments that are not as usual, for printing."""
        changed = "" if self.bias else f", bias={self.bias}"
        if getattr(self, "nonlinearity", "tanh") != "tanh":
            changed += f", nonlinearity={self.nonlinearity}"
        return f"{self.input_size}, {self.hidden_size}{changed}"

    def _step(self, input: Tensor, hx: State | None) -> State:
        """The state after one step of `[batch, input_size]` or `[input_size]`."""
        check_tensor(type(self).__name__, "input", input)
        if hx is not None and not torch.is_grad_enabled() and input.dim() == 2:
            get = self._parameters.get
            weights = get("weight_ih"), get("weight_hh"), get("bias_ih"), get("bias_hh")
            found = native_step(self.mode, input.unsqueeze(1), hx, weights)
            if found is not None:
                return found[1:]
        self.refuse_trace()
        self._check(input, hx)
        batched = input.dim() == 2
        x = input if batched else input.unsqueeze(0)
        if hx is None:
            hx = (x.new_zeros(x.shape[0], self.hidden_size),) * len(self.parts)
        elif not batched:
            hx = tuple(part.unsqueeze(0) for part in hx)
        every = Weights(self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        if eager():
            state = step(self.mode, x, hx, every)
        else:
            state = run(self.mode, x.unsqueeze(1), hx, every, None)[1]
        return state if batched else tuple(part.squeeze(0) for part in state)

    def _check(self, input: Tensor, hx: Any) -> None:
        if input.dim() not in (1, 2) or input.shape[-1] != self.input_size:
            axes = f"[batch, input_size] or [input_size], input_size = {self.input_size}"
            self._refuse(f"input has shape {list(input.shape)}, expected {axes}")
        layer, dtype = type(self).__name__, self.weight_ih.dtype
        check_dtype(layer, "input", input, dtype)
        if hx is None:
            return
        expected = (*input.shape[:-1], self.hidden_size)
        for name, part in zip(self.parts, hx, strict=True):
            check_tensor(layer, name, part)
            if part.shape != expected:
                self._refuse(f"{name} has shape {list(part.shape)}, expected {list(expected)}")
            check_dtype(layer, name, part, dtype)


class RNNCell(RNNCellBase):
    r"""`torch.nn.RNNCell`: signature, parameters and numbers.

    $$h' = \operatorname{act}(W_{ih} x + b_{ih} + W_{hh} h + b_{hh})$$

    A step of one row without gradients is a native call; any other is torch's own, and a plain
    formula under `torch.func`, where torch.nn's cells refuse `vmap`.

    Args:
        input_size: features of the input.
        hidden_size: features of the state.
        bias: whether there are $b_{ih}$ and $b_{hh}$.
        nonlinearity: `tanh` or `relu`.
        device: of the parameters.
        dtype: of the parameters.

    Shapes:
        - `input`: `[batch, input_size]` or `[input_size]`.
        - `hx`: `[batch, hidden_size]` or `[hidden_size]`; None means zeros.
        - Returns: the state after, of the same shape.

    Errors:
        InputError: an argument, input or state that does not fit; any use of `torch.jit`.

    Examples:
        >>> cell = RNNCell(3, 5)
        >>> cell(torch.randn(2, 3)).shape
        torch.Size([2, 5])

    References:
        Elman 1990, "Finding structure in time".
    """

    of_torch = nn.RNNCell

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise InputError(
                f"RNNCell: nonlinearity is {nonlinearity!r}, expected 'tanh' or 'relu'"
            )
        super().__init__(input_size, hidden_size, bias, BLOCKS["RNN_TANH"], device, dtype)
        self.nonlinearity = nonlinearity

    @property
    def mode(self) -> str:
        """The recurrence, as the layers name it."""
        return "RNN_TANH" if self.nonlinearity == "tanh" else "RNN_RELU"

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The state after one step."""
        return self._step(input, None if hx is None else (hx,))[0]


class LSTMCell(RNNCellBase):
    r"""`torch.nn.LSTMCell`: signature, parameters and numbers.

    $$i, f, o = \sigma(W_{ih} x + b_{ih} + W_{hh} h + b_{hh}), \qquad g = \tanh(\ldots)$$
    $$c' = f \odot c + i \odot g, \qquad h' = o \odot \tanh(c')$$

    A step of one row without gradients is a native call; any other is torch's own, and a plain
    formula under `torch.func`, where torch.nn's cells refuse `vmap`.

    Args:
        input_size: features of the input.
        hidden_size: features of each part of the state.
        bias: whether there are $b_{ih}$ and $b_{hh}$.
        device: of the parameters.
        dtype: of the parameters.

    Shapes:
        - `input`: `[batch, input_size]` or `[input_size]`.
        - `hx`: a pair, hidden and cell, `[batch, hidden_size]` or `[hidden_size]`; None means
          zeros.
        - Returns: the pair after, of the same shapes.

    Errors:
        InputError: an argument, input or state that does not fit; any use of `torch.jit`.

    Examples:
        >>> cell = LSTMCell(3, 5)
        >>> hidden, state = cell(torch.randn(2, 3))
        >>> hidden.shape, state.shape
        (torch.Size([2, 5]), torch.Size([2, 5]))

    References:
        Hochreiter and Schmidhuber 1997, "Long short-term memory".
    """

    of_torch = nn.LSTMCell
    parts = ("hx[0]", "hx[1]")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, BLOCKS["LSTM"], device, dtype)

    @property
    def mode(self) -> str:
        """The recurrence, as the layers name it."""
        return "LSTM"

    def forward(self, input: Tensor, hx: Any = None) -> tuple[Tensor, Tensor]:
        """The state after one step."""
        if hx is not None and (not isinstance(hx, tuple | list) or len(hx) != 2):
            self._refuse(f"hx is {type(hx).__name__}, expected a pair of tensors, hidden and cell")
        hidden, cell = self._step(input, None if hx is None else tuple(hx))
        return hidden, cell


class GRUCell(RNNCellBase):
    r"""`torch.nn.GRUCell`: signature, parameters and numbers.

    $$r, z = \sigma(W_{ih} x + b_{ih} + W_{hh} h + b_{hh})$$
    $$n = \tanh(W_{ih} x + b_{ih} + r \odot (W_{hh} h + b_{hh})), \qquad
    h' = (1 - z) \odot n + z \odot h$$

    A step of one row without gradients is a native call; any other is torch's own, and a plain
    formula under `torch.func`, where torch.nn's cells refuse `vmap`.

    Args:
        input_size: features of the input.
        hidden_size: features of the state.
        bias: whether there are $b_{ih}$ and $b_{hh}$.
        device: of the parameters.
        dtype: of the parameters.

    Shapes:
        - `input`: `[batch, input_size]` or `[input_size]`.
        - `hx`: `[batch, hidden_size]` or `[hidden_size]`; None means zeros.
        - Returns: the state after, of the same shape.

    Errors:
        InputError: an argument, input or state that does not fit; any use of `torch.jit`.

    Examples:
        >>> cell = GRUCell(3, 5)
        >>> cell(torch.randn(3)).shape
        torch.Size([5])

    References:
        Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder for
        statistical machine translation".
    """

    of_torch = nn.GRUCell

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, BLOCKS["GRU"], device, dtype)

    @property
    def mode(self) -> str:
        """The recurrence, as the layers name it."""
        return "GRU"

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The state after one step."""
        return self._step(input, None if hx is None else (hx,))[0]
