"""Recurrent layers that look at a memory, as what compiled steps are made from and remember."""

from typing import Any

import torch
from torch import nn

from throughtime.kernels import decode
from throughtime.kernels.decode import Matrix
from throughtime.layers.base import Layer, Recurrent
from throughtime.layers.global_attention import AnnotationState, GlobalAttention
from throughtime.layers.gru import GRU
from throughtime.layers.lstm import LSTM
from throughtime.layers.recurrent_decoder import RecurrentDecoder
from throughtime.layers.rnn import RNN
from throughtime.layers.stack import Residual
from throughtime.layers.stateless import Dropout
from throughtime.models.autoregressive import Autoregressive, AutoregressiveState
from throughtime.models.inputs import TokenInputs
from throughtime.state import State, select

PARTS = (RecurrentDecoder, LSTM, GRU, RNN, GlobalAttention, Residual, Dropout)
"""What a body that can be compiled is made of; a subclass may compute something else."""


def unlike(body: Layer) -> str | None:
    """Why a decoder is not made of what can be compiled."""
    for part in body.modules():
        if type(part) not in PARTS and not isinstance(part, nn.ModuleList):
            return f"its body holds a {type(part).__name__}"
        if isinstance(part, GRU) and part.bias_hidden is None:
            return "its reset gates come before the matrix product, which no kernel does"
    return None


def network(model: Autoregressive, head: Matrix) -> decode.RecurrentNetwork:
    """The model as matrices and vectors."""
    inputs: Any = model.inputs
    assert isinstance(inputs, TokenInputs)
    layers = [_inner(layer) for layer in model.body.layers]  # pyright: ignore
    recurrent = [layer for layer in layers if isinstance(layer, Recurrent)]
    looking = [layer for layer in layers if isinstance(layer, GlobalAttention)]
    return decode.RecurrentNetwork(
        cell=_cell(recurrent[0]),
        embedding=inputs.embedding.weight * inputs.factor,
        layers=tuple(_matrices(layer) for layer in recurrent),
        head=head,
        attention=_attention(looking[0]) if looking else None,
    )


class RecurrentCache:
    """What compiled recurrent layers remember.

    Args:
        model: whose body is a `RecurrentDecoder`.
        program: of it.
        state: that is gone on from; the model's own, checked by its layers.

    Attributes:
        cache: the same as native code has it.
    """

    def __init__(
        self, model: Autoregressive, program: decode.Program, state: AutoregressiveState
    ) -> None:
        self._layers = [_inner(layer) for layer in model.body.layers]  # pyright: ignore
        pairs = [*zip(self._layers, state.body, strict=True)]
        states = [torch.stack([*one], 1) for layer, one in pairs if isinstance(layer, Recurrent)]
        self._annotations = [one for _, one in pairs if isinstance(one, AnnotationState)]
        self.cache = program.states(len(states[0]))
        self.cache.take(torch.stack(states, 1))
        for one in self._annotations:
            self.cache.look_at(*one)

    @property
    def state(self) -> AutoregressiveState:
        """As the model itself would have it; a copy."""
        given = iter(self.cache.give().unbind(1))
        looked_at = self.cache.memories
        states: list[State] = []
        for layer in self._layers:
            if isinstance(layer, Recurrent):
                states.append(layer.State(*(part.contiguous() for part in next(given).unbind(1))))
            elif isinstance(layer, GlobalAttention):
                states.append(select(self._annotations[0], looked_at))
            else:
                states.append(())
        return AutoregressiveState((), tuple(states))


def _inner(layer: Layer) -> Layer:
    return layer.layer if isinstance(layer, Residual) else layer


def _cell(layer: Recurrent) -> str:
    if isinstance(layer, RNN):
        return f"rnn-{layer.activation}"
    return "lstm" if isinstance(layer, LSTM) else "gru"


def _matrices(layer: Any) -> tuple[Matrix, Matrix]:
    """For what comes in, and for the last output; a GRU adds to its last block there."""
    shift = None
    if isinstance(layer, GRU):
        shift = torch.cat([torch.zeros(2 * layer.hidden_size), layer.bias_hidden.detach()])  # pyright: ignore
    return Matrix(layer.weight_input, layer.bias), Matrix(layer.weight_hidden, shift)


def _attention(layer: GlobalAttention) -> decode.Attention:
    query = None if layer.weight_query is None else Matrix(layer.weight_query)
    mix = Matrix(layer.weight_output, layer.bias)
    return decode.Attention(layer.score, query, layer.weight_score, mix)
