"""A decoder of recurrent layers: it begins where an encoder ended, and looks back at it."""

from typing import Any

import torch
from torch import nn
from torch.nn.functional import linear

from throughtime.errors import InputError
from throughtime.layers.base import Layer, Recurrent, check_size
from throughtime.layers.global_attention import SCORES, GlobalAttention
from throughtime.layers.gru import GRU
from throughtime.layers.lstm import LSTM
from throughtime.layers.pooling import ends, mean
from throughtime.layers.rnn import RNN
from throughtime.layers.stack import Residual, Stack
from throughtime.layers.stateless import Dropout
from throughtime.shapes import Bool, Float, Tensor
from throughtime.state import State

CELLS: dict[str, type[Recurrent]] = {"rnn": RNN, "lstm": LSTM, "gru": GRU}
BRIDGES = ("ends", "mean")
ATTENTIONS = (*SCORES, "none")


class RecurrentDecoder(Stack):
    r"""Recurrent layers that see the past and a memory.

    The first layer's output looks at the memory by
    [`GlobalAttention`][throughtime.layers.GlobalAttention]; the layers above, each added to its
    input, carry on what was found, as in the decoder of Wu et al. 2016. All of it runs over whole
    sequences at once.

    The first states come from a bridge, $h_0 = \tanh(W s + b)$ (and $c_0 = W s + b$ for an LSTM) in
    every layer, where $s$ sums up the memory:

    - `ends`: what the two directions of a bidirectional encoder hold at the end of their ways: the
      first half of the last real step, the second half of the first one (Cho et al. 2014),
    - `mean`: the mean of its real steps (Sennrich et al. 2017).

    Args:
        input_size: features per step of what comes in.
        size: features per step of every layer.
        layers: recurrent layers.
        cell: `rnn`, `lstm` or `gru`.
        memory_size: features per step of the memory.
        attention: `additive`, `multiplicative` or `none`.
        bridge: `ends` or `mean`.
        dropout: of what comes in and what each layer gives, after attention; in [0, 1).
        activation: of `rnn`, see [`RNN`][throughtime.layers.RNN].
        reset_after: of `gru`, see [`GRU`][throughtime.layers.GRU].

    Attributes:
        weight_bridge: W, `[parts * size, memory_size]`, for the parts of all states from the
            bottom; Glorot uniform.
        bias_bridge: b, `[parts * size]`; zeros.

    Shapes:
        - `x`: `[batch, time, input_size]`.
        - `output`: `[batch, time, size]`; padded steps give zeros.
        - `state`: a tuple with a state for each of `layers`; `None` means nothing seen, and no
          memory.
        - `mask`, `reset`: `[batch, time]`, see [`Layer`][throughtime.layers.Layer].

    Laws:
        - Causal, chunkable, padding-invariant, as its layers are.

    Examples:
        >>> decoder = RecurrentDecoder(4, 8, 2, cell="gru", memory_size=6)
        >>> state = decoder.remember(torch.randn(3, 5, 6))
        >>> output, state = decoder(torch.randn(3, 7, 4), state)
        >>> output.shape
        torch.Size([3, 7, 8])

    References:
        Wu et al. 2016, "Google's neural machine translation system"; Cho et al. 2014, "Learning
        phrase representations using RNN encoder-decoder for statistical machine translation";
        Sennrich et al. 2017, "Nematus: a toolkit for neural machine translation".
    """

    def __init__(
        self,
        input_size: int,
        size: int,
        layers: int = 1,
        *,
        cell: str = "lstm",
        memory_size: int,
        attention: str = "additive",
        bridge: str = "ends",
        dropout: float = 0.0,
        activation: str = "tanh",
        reset_after: bool = True,
    ) -> None:
        for argument, value, known in (
            ("cell", cell, CELLS),
            ("attention", attention, ATTENTIONS),
            ("bridge", bridge, BRIDGES),
        ):
            if value not in known:
                raise InputError(
                    f"RecurrentDecoder: {argument} is {value!r}, expected one of {[*known]}"
                )
        for argument, number in (("layers", layers), ("memory_size", memory_size)):
            check_size("RecurrentDecoder", argument, number)
        own: dict[str, dict[str, Any]] = {
            "rnn": {"activation": activation}, "gru": {"reset_after": reset_after},
        }  # fmt: skip
        parts: list[Layer] = [Dropout(dropout)] if dropout else []
        recurrent: list[Recurrent] = []
        for index in range(layers):
            made: Any = CELLS[cell]
            recurrent.append(made(size if index else input_size, size, **own.get(cell, {})))
            parts.append(Residual(recurrent[-1]) if index else recurrent[-1])
            if index == 0 and attention != "none":
                parts.append(GlobalAttention(size, memory_size, score=attention))
            if dropout:
                parts.append(Dropout(dropout))
        super().__init__(*parts)
        self.size = size
        self.memory_size = memory_size
        self.bridge = bridge
        self.blocks = [size * len(layer.State._fields) for layer in recurrent]
        self.weight_bridge = nn.Parameter(torch.empty(sum(self.blocks), memory_size))
        self.bias_bridge = nn.Parameter(torch.empty(sum(self.blocks)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Of the bridge: Glorot for each part of a state, a zero shift."""
        for block in self.weight_bridge.split(self.size):
            nn.init.xavier_uniform_(block)
        nn.init.zeros_(self.bias_bridge)

    def remember(
        self,
        memory: Float[Tensor, "batch steps memory"],
        mask: Bool[Tensor, "batch steps"] | None = None,
    ) -> tuple[State, ...]:
        """The state before the first step: the bridge, and the memory that attention looks at.

        Args:
            memory: `[batch, steps, memory_size]`, what an encoder gives.
            mask: `[batch, steps]`, True where a step is real.
        """
        if memory.ndim != 3 or memory.shape[2] != self.memory_size:
            raise InputError(
                f"RecurrentDecoder: memory has shape {list(memory.shape)}, "
                f"expected [batch, steps, {self.memory_size}]"
            )
        self.check_dtype(memory)
        self.check_marks(memory, mask, None)
        found = ends(memory, mask) if self.bridge == "ends" else mean(memory, mask)
        across = linear(found, self.weight_bridge, self.bias_bridge).to(self.weight_bridge.dtype)
        begun = iter(across.split(self.blocks, dim=-1))
        states: list[State] = []
        for layer in self.layers:
            inner = layer.layer if isinstance(layer, Residual) else layer
            if isinstance(inner, Recurrent):
                # The first part is what a layer gives, and bounded; a cell is not.
                hidden, *cell = next(begun).split(inner.hidden_size, dim=-1)
                states.append(inner.State(hidden.tanh(), *(part.contiguous() for part in cell)))
            elif isinstance(inner, GlobalAttention):
                states.append(inner.remember(memory, mask))
            else:
                states.append(inner.initial_state(memory.shape[0]))  # pyright: ignore
        return tuple(states)
