"""A Transformer of tokens, as what compiled steps are made from, and what they remember of it."""

from collections.abc import Sequence

import torch
from torch import nn

from throughtime.errors import InputError
from throughtime.kernels import decode
from throughtime.kernels.decode import Matrix
from throughtime.kernels.decode.network import ACTIVATIONS
from throughtime.layers.attention import SelfAttention, SelfAttentionState
from throughtime.layers.base import Layer
from throughtime.layers.block import BlockState, TransformerBlock
from throughtime.layers.cross_attention import CrossAttention, MemoryState
from throughtime.layers.feed_forward import FeedForward
from throughtime.layers.position import ABSOLUTE, Position, PositionState, frequencies, slopes
from throughtime.layers.stack import Stack
from throughtime.layers.stateless import Dropout, Norm
from throughtime.layers.transformer import Decoder
from throughtime.models.autoregressive import Autoregressive, AutoregressiveState
from throughtime.models.inputs import TokenInputs
from throughtime.state import State, select

BODIES = (Decoder, Stack)
"""What holds the layers."""

PARTS = (
    *BODIES, TransformerBlock, SelfAttention, CrossAttention, FeedForward, Position, Norm, Dropout,
)  # fmt: skip
"""What a body that can be compiled is made of; a subclass may compute something else."""


def unlike(body: Layer) -> str | None:
    """Why a stack is not one of positions, blocks and a norm."""
    layers = [layer for layer in body.layers if type(layer) is not Dropout]  # pyright: ignore
    if layers and type(layers[0]) is Position:
        layers = layers[1:]
    if layers and type(layers[-1]) is Norm and getattr(layers[0], "norm_first", False):
        layers = layers[:-1]
    for part in body.modules():
        if type(part) not in PARTS and not isinstance(part, nn.ModuleList):
            return f"its body holds a {type(part).__name__}"
    for layer in layers:
        if type(layer) is not TransformerBlock:
            return f"its body holds a {type(layer).__name__} between the blocks"
        if not layer.causal:
            return "its blocks see later steps"
        if layer.attention.position in ABSOLUTE:
            return "positions are added inside its blocks"
        if layer.feed_forward.activation not in ACTIVATIONS:
            return f"its activation is {layer.feed_forward.activation}, not one of {[*ACTIVATIONS]}"
    forms = {_form(layer) for layer in layers}
    return None if len(forms) == 1 else f"its blocks have {len(forms)} forms, expected one"


def _form(block: TransformerBlock) -> tuple[object, ...]:
    attention, feed = block.attention, block.feed_forward
    other = None if block.cross_attention is None else block.cross_attention.kv_heads
    return (
        attention.heads, attention.kv_heads, attention.horizon, attention.position, other,
        block.norm_first, feed.hidden_size, feed.activation,
    )  # fmt: skip


def network(model: Autoregressive, head: Matrix) -> decode.Network:
    """The model as matrices and vectors."""
    layers = list(model.body.layers)  # pyright: ignore
    blocks = [layer for layer in layers if isinstance(layer, TransformerBlock)]
    first = blocks[0]
    attention, position = first.attention, layers[0]
    last = _norm(layers[-1]) if isinstance(layers[-1], Norm) else None
    if not first.norm_first:
        last = _norm(blocks[-1].feed_forward_norm)
    turning = attention.position == "rotary"
    added = position.kind if isinstance(position, Position) else ""
    cpu, inputs = torch.device("cpu"), model.inputs
    assert isinstance(inputs, TokenInputs)
    embedding = inputs.embedding.weight
    return decode.Network(
        heads=attention.heads,
        kv_heads=attention.kv_heads,
        head_size=attention.head_size,
        horizon=attention.horizon,
        activation=first.feed_forward.activation,
        norm_first=first.norm_first,
        embedding=embedding * inputs.factor,
        blocks=tuple(
            _block(block, below) for block, below in zip(blocks, [None, *blocks], strict=False)
        ),
        last_norm=last,
        head=head,
        learned=position.weight if added == "learned" else None,
        waves=frequencies(embedding.shape[1], cpu) if added == "sinusoidal" else None,
        turns=frequencies(attention.head_size, cpu) if turning else None,
        slopes=torch.tensor(slopes(attention.heads)) if attention.position == "alibi" else None,
    )


def _block(block: TransformerBlock, below: TransformerBlock | None) -> decode.Block:
    """A block's parts, each with the norm that its input comes from."""
    attention, cross, feed = block.attention, block.cross_attention, block.feed_forward
    # Where norms come after the sums, each part reads what the norm of the part before it gave.
    norms = [block.attention_norm, block.cross_attention_norm, block.feed_forward_norm]
    norms = [norm for norm in norms if norm is not None]
    if not block.norm_first:
        norms = [None if below is None else below.feed_forward_norm, *norms[:-1]]
    return decode.Block(
        attention_norm=_norm(norms[0]),
        attention_input=Matrix(attention.weight_input, attention.bias_input),
        attention_output=Matrix(attention.weight_output, attention.bias_output),
        memory_norm=None if cross is None else _norm(norms[1]),
        memory_query=None if cross is None else Matrix(cross.weight_query, cross.bias_query),
        memory_output=None if cross is None else Matrix(cross.weight_output, cross.bias_output),
        feed_norm=_norm(norms[-1]),
        feed_input=Matrix(feed.weight_input, feed.bias_input),
        feed_output=Matrix(feed.weight_output, feed.bias_output),
    )


def _norm(norm: Norm | None) -> decode.Norm | None:
    if norm is None:
        return None
    return decode.Norm(norm.weight, norm.bias, norm.epsilon, norm.kind == "rms")


class TransformerCache:
    """What a compiled Transformer remembers.

    Args:
        model: whose body is a `Decoder`.
        program: of it.
        state: that is gone on from; the model's own, checked by its layers.

    Attributes:
        cache: the same as native code has it.

    Errors:
        InputError: layers that do not remember the same steps, or steps that are not the last.
    """

    def __init__(
        self, model: Autoregressive, program: decode.Program, state: AutoregressiveState
    ) -> None:
        self._layers: Sequence[Layer] = list(model.body.layers)  # pyright: ignore
        self._memories: list[MemoryState] = []
        assert isinstance(program.network, decode.Network)
        self._horizon = program.network.horizon
        self.cache = self._read(program, state)

    @property
    def state(self) -> AutoregressiveState:
        """As the model itself would have it; a copy."""
        counts, blocks = self.cache.counts, iter(self.cache.give())
        looked_at = self.cache.memories
        memories = (select(memory, looked_at) for memory in self._memories)
        real = counts.unsqueeze(1) + torch.arange(-self._horizon, 0) >= 0
        states: list[State] = []
        for layer in self._layers:
            if isinstance(layer, Position):
                states.append(PositionState(counts))
            elif isinstance(layer, TransformerBlock):
                past = SelfAttentionState(*next(blocks), real, counts)
                states.append(BlockState(past, next(memories)) if layer.cross_attention else past)
            else:
                states.append(())
        return AutoregressiveState((), tuple(states))

    def _read(self, program: decode.Program, state: AutoregressiveState) -> decode.Rings:
        """A cache that remembers what a state does."""
        pasts, counts = [], []
        for layer, one in zip(self._layers, state.body, strict=True):
            if isinstance(layer, Position):
                counts.append(one.seen)
            elif isinstance(layer, TransformerBlock):
                past, memory = one if isinstance(one, BlockState) else (one, None)
                pasts.append(past)
                counts.append(past.seen)
                self._memories += [] if memory is None else [memory]
        real = counts[0].unsqueeze(1) + torch.arange(-self._horizon, 0) >= 0
        for count in counts:
            if not torch.equal(count, counts[0]):
                raise InputError("CompiledStepper: the layers of the state count different steps")
        if (counts[0] < 0).any():
            raise InputError("CompiledStepper: the state counts fewer steps than none")
        for past in pasts:
            if not torch.equal(past.real, real):
                raise InputError("CompiledStepper: the state has gaps, expected its last steps")
        cache = program.rings(len(counts[0]))
        cache.take(counts[0], [decode.Remembered(past.keys, past.values) for past in pasts])
        if len({memory.real.shape for memory in self._memories}) > 1:
            raise InputError("CompiledStepper: the blocks of the state look at different memories")
        if self._memories:
            seen = torch.stack([memory.real for memory in self._memories], 1)
            cache.look_at(seen, [decode.Remembered(m.keys, m.values) for m in self._memories])
        return cache
