# ruff: noqa: FBT001, FBT002 - the signatures are torch.nn's
"""What the recurrent layers share: torch.nn's arguments, parameters, layouts and states."""

import math
import warnings
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import (
    _VF,  # pyright: ignore[reportPrivateImportUsage, reportAttributeAccessIssue]
    nn,
)
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from throughtime.errors import InputError
from throughtime.kernels import compiled, registry
from throughtime.shapes import Float, Tensor
from throughtime.torch_nn.adopting import adopted
from throughtime.torch_nn.checks import check_dtype, check_tensor
from throughtime.torch_nn.packing import Packing, packing
from throughtime.torch_nn.recurrence import BLOCKS, State, Weights, eager, native_step, run
from throughtime.torch_nn.scripting import Unscriptable
from throughtime.torch_nn.utils.rnn import rows_of

_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
_BY_TORCH = {
    "LSTM": _VF.lstm,
    "GRU": _VF.gru,
    "RNN_TANH": _VF.rnn_tanh,
    "RNN_RELU": _VF.rnn_relu,
}
_FEW, _FEW_IN_TRAINING = 16, 4
"""Steps below which torch's layers are not slower: ours pack the weights in every call."""
_LARGE = 1 if torch.backends.cpu.get_cpu_capability().startswith("AVX512") else 512
"""Units from which on oneDNN's LSTM, which torch takes for inference, is not slower.

With AVX-512 it never is: 1.1 to 1.2 times as fast as ours below 512 units."""
_ONEDNN = torch.backends.mkldnn.is_available()
_COPIES = ("_flat_weights", "_flat_weight_refs", "_flat_weights_names")
"""What torch.nn's layers keep beside their parameters; ours look them up."""

Ours = TypeVar("Ours", bound="RNNBase")


class RNNBase(Unscriptable, nn.Module):
    """What `RNN`, `LSTM` and `GRU` share; the arguments are those of `torch.nn.RNNBase`."""

    of_torch: type[nn.Module] = nn.RNNBase

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.mode = mode
        self.input_size, self.hidden_size, self.proj_size = input_size, hidden_size, proj_size
        self.num_layers, self.bidirectional = num_layers, bidirectional
        self.bias, self.batch_first, self.dropout = bias, batch_first, dropout
        self._check_arguments()
        self.dropout = float(dropout)
        rows, shown = BLOCKS[mode] * hidden_size, proj_size or hidden_size
        self._all_weights: list[list[str]] = []
        for layer in range(num_layers):
            below = shown * self._directions if layer else input_size
            shapes = ((rows, below), (rows, shown), (rows,), (rows,), (proj_size, hidden_size))
            for suffix in ("", "_reverse")[: self._directions]:
                names = []
                for name, shape in zip(_NAMES, shapes, strict=True):
                    if (name.startswith("bias") and not bias) or 0 in shape:
                        continue
                    names.append(f"{name}_l{layer}{suffix}")
                    weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
                    self.register_parameter(names[-1], weight)
                self._all_weights.append(names)
        self.reset_parameters()

    def _check_arguments(self) -> None:
        for argument in ("input_size", "hidden_size", "num_layers"):
            size = getattr(self, argument)
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                self._refuse(f"{argument} is {size!r}, expected a whole number of at least 1")
        for argument in ("bias", "batch_first"):
            flag = getattr(self, argument)
            if not isinstance(flag, bool):
                self._refuse(f"{argument} is {flag!r}, expected True or False")
        if not isinstance(self.proj_size, int) or not 0 <= self.proj_size < self.hidden_size:
            self._refuse(
                f"proj_size is {self.proj_size!r}, expected a whole number from 0 (none) to "
                f"hidden_size - 1 = {self.hidden_size - 1}"
            )
        p = self.dropout
        if isinstance(p, bool) or not isinstance(p, int | float) or not 0 <= p <= 1:
            self._refuse(f"dropout is {p!r}, expected a probability from 0 to 1")
        if p > 0 and self.num_layers == 1:
            warnings.warn(
                f"{type(self).__name__}: dropout={p} does nothing with num_layers=1: it acts "
                "between layers, not after the last",
                stacklevel=4,
            )

    def _refuse(self, why: str) -> None:
        raise InputError(f"{type(self).__name__}: {why}")

    @classmethod
    def from_torch(cls: type[Ours], module: nn.Module) -> Ours:
        """The same layer as a module of torch.nn, on the same parameters.

        Args:
            module: of the class of torch.nn that this one stands for; no subclass of it.

        Errors:
            InputError: it is of another class.
        """
        layer = adopted(cls, module, cls.of_torch)
        for name in _COPIES:
            vars(layer).pop(name)
        return layer

    # What torch.nn's layers have beside forward

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def _flat_weights_names(self) -> list[str]:
        return [name for names in self._all_weights for name in names]

    @property
    def _flat_weights(self) -> list[Any]:
        return [self._weight(name) for name in self._flat_weights_names]

    @property
    def all_weights(self) -> list[list[Any]]:
        """The weights of each layer and direction, as lists."""
        return [[self._weight(name) for name in names] for names in self._all_weights]

    def _weight(self, name: str) -> Any:
        found = self._parameters.get(name)
        return getattr(self, name) if found is None else found  # computed by a hook, say

    @property
    def _dtype(self) -> torch.dtype:
        return self._weight(self._all_weights[0][0]).dtype

    def flatten_parameters(self) -> None:
        """Nothing: the weights need not lie in a row."""

    def reset_parameters(self) -> None:
        """Uniform between -1 / sqrt(hidden_size) and that; the same draws as torch.nn's."""
        bound = 1 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            nn.init.uniform_(weight, -bound, bound)

    def extra_repr(self) -> str:
        """The arguments that are not as usual, for printing."""
        usual = {
            "proj_size": 0,
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0,
            "bidirectional": False,
        }
        changed = (
            f", {name}={value}" for name in usual if (value := getattr(self, name)) != usual[name]
        )
        return f"{self.input_size}, {self.hidden_size}{''.join(changed)}"

    # The pass over time

    def forward(self, input: Tensor | PackedSequence, hx: Any = None) -> tuple[Any, Any]:
        """Run over time.

        Args:
            input: `[time, batch, input_size]`, or `[batch, time, input_size]` with `batch_first`,
                or `[time, input_size]`, or a PackedSequence. Time and batch may be empty.
            hx: the state before, `[layers * directions, batch, size]`, without `batch` for an input
                without; of an LSTM two of these, hidden and cell. None: zeros.

        Returns:
            The outputs of the last layer in the input's own layout, and the state after.

        Errors:
            InputError: one line that names the argument, what was expected and what came.
        """
        self.refuse_trace()
        if isinstance(input, PackedSequence):
            return self._run_packed(input, hx)
        check_tensor(type(self).__name__, "input", input, " or a PackedSequence")
        if input.dim() not in (2, 3):
            self._refuse(
                f"input has shape {list(input.shape)}, expected two or three axes, "
                "or a PackedSequence"
            )
        if hx is not None:
            found = self._streamed(input, hx)
            if found is not None:
                return found
        self._check_input(input)
        unbatched = input.dim() == 2
        batch_first = self.batch_first or unbatched
        x = input.unsqueeze(0) if unbatched else input
        parts = self._parts(hx, x, x.shape[0 if batch_first else 1], unbatched=unbatched)
        if self._by_torch(x, x.shape[1 if batch_first else 0], packed=False):
            output, parts = self._torch(x, None, parts, batch_first=batch_first)
        else:
            rows = x if batch_first else x.transpose(0, 1).contiguous()
            output, parts = self._run(rows, parts, None)
            output = output if batch_first else output.transpose(0, 1).contiguous()
        if unbatched:
            output, parts = output.squeeze(0), tuple(part.squeeze(1) for part in parts)
        return output, self._hx(parts)

    def _streamed(self, x: Tensor, hx: Any) -> tuple[Tensor, Any] | None:
        """One step of one row without gradients, straight from native code; None if it is not."""
        pair = self.mode == "LSTM"
        simple = self.bias and not (self.bidirectional or self.proj_size)
        drops = self.training and self.dropout
        if torch.is_grad_enabled() or not simple or drops or isinstance(hx, tuple) != pair:
            return None
        if not eager() or x.dim() != 3:
            return None
        parts, form = hx if pair else (hx,), (self.num_layers, 1, self.hidden_size)
        if len(parts) != 1 + pair or any(part.shape != form for part in parts):
            return None
        after = []
        for names, *state in zip(self._all_weights, *(p.unbind(0) for p in parts), strict=True):
            weights = [self._parameters.get(name) for name in names]
            found = native_step(self.mode, x, tuple(state), weights)
            if found is None:
                return None
            x, *state = found
            after.append(state)
        return x, self._hx(_stacked(after))

    def _run_packed(self, input: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        data, sizes, sort, unsort = input
        self._check_input(data)
        rows = rows_of(sizes)  # with steps; those without come behind them
        every = rows if sort is None else len(sort)
        parts = self._parts(hx, data, every, unbatched=False)
        if sort is not None and hx is not None:
            parts = tuple(part.index_select(1, sort) for part in parts)
        stay = tuple(part[:, rows:] for part in parts)
        parts = tuple(part[:, :rows] for part in parts) if every > rows else parts
        if not rows:
            output = data.new_empty(0, self._directions * (self.proj_size or self.hidden_size))
        elif self._by_torch(data, len(sizes), packed=True):
            output, parts = self._torch(data, sizes, parts, batch_first=False)
        else:
            places = packing(sizes, data.device)
            output, parts = self._run(places.rows(data), parts, places)
            output = places.packed(output)
        if every > rows:
            parts = tuple(torch.cat(pair, dim=1) for pair in zip(parts, stay, strict=True))
        if unsort is not None:
            parts = tuple(part.index_select(1, unsort) for part in parts)
        return PackedSequence(output, sizes, sort, unsort), self._hx(parts)

    def _run(
        self,
        x: Float[Tensor, "batch time input"],
        parts: State,
        places: Packing | None,
    ) -> tuple[Float[Tensor, "batch time output"], State]:
        """Layer by layer; the second direction on time turned around."""
        mask = None if places is None else places.mask
        before = zip(*(part.unbind(0) for part in parts), self._each(), strict=True)
        turned_mask = None if mask is None else mask.flip(1)
        after = []
        for layer in range(self.num_layers):
            if layer and self.training and self.dropout:
                x = self._dropped(x, places)
            *state, weights = next(before)
            y, state = run(self.mode, x, tuple(state), weights, mask)
            after.append(state)
            if self.bidirectional:
                *state, weights = next(before)
                back, state = run(self.mode, x.flip(1), tuple(state), weights, turned_mask)
                after.append(state)
                y = torch.cat([y, back.flip(1)], dim=-1)
            x = y
        return x, _stacked(after)

    def _dropped(self, x: Float[Tensor, "batch time features"], places: Packing | None) -> Tensor:
        """Dropout by the draws of torch.nn's layers, which go through time first, or as packed."""
        rows, time, size = x.shape
        if places is None:
            drawn = functional.dropout(x.new_ones(time, rows, size), self.dropout).transpose(0, 1)
        else:
            drawn = places.rows(
                functional.dropout(x.new_ones(len(places.pack), size), self.dropout)
            )
        return x * drawn

    def _each(self) -> list[Weights]:
        """The weights of each layer and direction."""
        found = []
        for weights in self.all_weights:
            projection = weights.pop() if self.proj_size else None
            bias_input, bias_hidden = weights[2:] if self.bias else (None, None)
            found.append(Weights(weights[0], weights[1], bias_input, bias_hidden, projection))
        return found

    def _by_torch(self, x: Tensor, time: int, *, packed: bool) -> bool:
        """Whether torch's own layer runs: where our kernels cannot, or are not faster.

        It knows neither `torch.func` nor an empty time, and graphs of free length only without
        projection.
        """
        if registry.forced() is not None or compiled.transformed():
            return False
        dtype = self._dtype
        if compiled.refuses(x.device, dtype) is None and not (
            eager() and self._torch_is_fast(time, dtype, packed=packed)
        ):
            return False
        return x.numel() > 0

    def _torch_is_fast(self, time: int, dtype: torch.dtype, *, packed: bool) -> bool:
        """With projections, over few steps, and where oneDNN has a large LSTM for inference."""
        if self.proj_size:
            return True
        if torch.is_grad_enabled():
            return 1 < time < _FEW_IN_TRAINING  # one step has ways of its own
        large = self.mode == "LSTM" and self.hidden_size >= _LARGE and dtype == torch.float32
        return 1 < time < _FEW or (time > 1 and large and not packed and _ONEDNN)

    def _torch(
        self, x: Tensor, batch_sizes: Tensor | None, parts: State, *, batch_first: bool
    ) -> tuple[Tensor, State]:
        hx = self._hx(tuple(part.contiguous() for part in parts))
        inputs = (x, hx) if batch_sizes is None else (x, batch_sizes, hx)
        options = (self.bias, self.num_layers, self.dropout, self.training, self.bidirectional)
        if batch_sizes is None:
            options += (batch_first,)
        output, *after = _BY_TORCH[self.mode](*inputs, self._flat_weights, *options)
        return output, tuple(after)

    # Checks

    def _check_input(self, input: Tensor) -> None:
        if input.shape[-1] != self.input_size:
            self._refuse(f"input has {input.shape[-1]} features, input_size is {self.input_size}")
        check_dtype(type(self).__name__, "input", input, self._dtype)

    def _parts(self, hx: Any, x: Tensor, batch: int, *, unbatched: bool) -> State:
        """The state as `[layers * directions, batch, size]` each."""
        count, pair = self.num_layers * self._directions, self.mode == "LSTM"
        sizes = [self.proj_size or self.hidden_size, self.hidden_size][: 1 + pair]
        if hx is None:
            return tuple(x.new_zeros(1, batch, size).expand(count, -1, -1) for size in sizes)
        parts, names = (hx, ("hx[0]", "hx[1]")) if pair else ((hx,), ("hx",))
        tensors = isinstance(parts, tuple | list) and all(isinstance(p, Tensor) for p in parts)
        if not tensors or len(parts) != len(sizes):
            what = "a pair of tensors, hidden and cell state" if pair else "a tensor"
            came = f"{len(parts)} of them" if tensors else type(hx).__name__
            self._refuse(f"hx is {came}, expected {what}")
        for name, part, size in zip(names, parts, sizes, strict=True):
            expected = (count, size) if unbatched else (count, batch, size)
            if part.shape != expected:
                axes = f"[layers * directions, {'' if unbatched else 'batch, '}size]"
                self._refuse(
                    f"{name} has shape {list(part.shape)}, expected {axes} = {list(expected)}"
                )
            check_dtype(type(self).__name__, name, part, self._dtype)
        return tuple(part.unsqueeze(1) for part in parts) if unbatched else tuple(parts)

    def _hx(self, parts: State) -> Any:
        return parts if self.mode == "LSTM" else parts[0]


def _stacked(states: Sequence[Sequence[Tensor]]) -> State:
    """The states of all layers and directions in one, `[layers * directions, batch, size]` each."""
    if len(states) == 1:
        return tuple(part.unsqueeze(0) for part in states[0])
    return tuple(torch.stack(part) for part in zip(*states, strict=True))
