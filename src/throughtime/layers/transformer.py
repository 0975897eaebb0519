"""The Transformer: attention and feed-forward in turn, each added to what comes in."""

from typing import Any, NamedTuple

import torch

from throughtime.errors import InputError
from throughtime.layers.attention import SelfAttention
from throughtime.layers.base import Layer, check_size, on_real_steps
from throughtime.layers.cross_attention import CrossAttention
from throughtime.layers.feed_forward import FeedForward
from throughtime.layers.position import ABSOLUTE, POSITIONS, Position, check_position
from throughtime.layers.stack import Stack
from throughtime.layers.stateless import Dropout, Norm
from throughtime.shapes import Bool, Float, Tensor
from throughtime.state import State, register


@register
class BlockState(NamedTuple):
    """What a block with cross-attention remembers.

    Attributes:
        past: the state of self-attention; None before the first step.
        memory: the keys and values that cross-attention looks at.
    """

    past: State
    memory: State


class TransformerBlock(Layer):
    r"""Attention, then feed-forward; each is added to its input, with a norm before or after.

    $$x' = x + \operatorname{Attention}(\operatorname{Norm}(x)), \qquad
    y = x' + \operatorname{FeedForward}(\operatorname{Norm}(x'))$$

    With `norm_first=False` the norm is where the paper has it, $\operatorname{Norm}(x +
    \operatorname{Attention}(x))$, and so on. With `memory_size` cross-attention comes in between,
    likewise added and normed: that is the decoder's block.

    Args:
        size: features per step, in and out.
        heads: of attention.
        hidden_size: of the feed-forward layer; None is its default.
        activation: of the feed-forward layer: `gelu`, `relu` or `swiglu`.
        norm: `layer` or `rms`.
        norm_first: norms inside the sum (Xiong et al. 2020), or after it as first published.
        dropout: of what is added, in [0, 1).
        memory_size: features per step of a memory to look at; None: there is none.
        horizon, position, kv_heads, causal, bias, length: of
            [`SelfAttention`][throughtime.layers.SelfAttention].

    Attributes:
        attention, cross_attention, feed_forward: the layers; the second may be None.
        attention_norm, cross_attention_norm, feed_forward_norm: their norms.

    Shapes:
        - `x`, `output`: `[batch, time, size]`; padded steps give zeros.
        - `state`: that of self-attention, or `BlockState` where there is a memory. `()` unless
          causal.
        - `mask`, `reset`: `[batch, time]`, see [`Layer`][throughtime.layers.Layer].

    Laws:
        - Those of [`SelfAttention`][throughtime.layers.SelfAttention].

    Examples:
        >>> block = TransformerBlock(8, heads=2, horizon=4, position="rotary")
        >>> output, state = block(torch.randn(2, 3, 8))
        >>> state.seen.tolist()
        [3, 3]

    References:
        Vaswani et al. 2017, "Attention is all you need"; Xiong et al. 2020, "On layer
        normalization in the Transformer architecture".
    """

    knows_none = True

    def __init__(
        self,
        size: int,
        heads: int,
        *,
        hidden_size: int | None = None,
        activation: str = "gelu",
        norm: str = "layer",
        norm_first: bool = True,
        dropout: float = 0.0,
        memory_size: int | None = None,
        horizon: int = 256,
        position: str = "none",
        kv_heads: int | None = None,
        causal: bool = True,
        bias: bool = True,
        length: int | None = None,
    ) -> None:
        super().__init__()
        if memory_size is not None and not causal:
            raise InputError(
                "TransformerBlock: a memory is for causal blocks, whose state it is part of"
            )
        self.input_size = self.output_size = size
        self.causal = causal
        self.norm_first = norm_first
        self.attention = SelfAttention(
            size,
            heads,
            horizon=horizon,
            position=position,
            kv_heads=kv_heads,
            causal=causal,
            bias=bias,
            length=length,
        )
        self.attention_norm = Norm(size, kind=norm)
        self.cross_attention = self.cross_attention_norm = None
        if memory_size is not None:
            self.cross_attention = CrossAttention(
                size, heads, memory_size=memory_size, kv_heads=kv_heads, bias=bias
            )
            self.cross_attention_norm = Norm(size, kind=norm)
        self.feed_forward = FeedForward(size, hidden_size, activation=activation, bias=bias)
        self.feed_forward_norm = Norm(size, kind=norm)
        self.dropout = Dropout(dropout)

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        """Nothing seen, and a memory without steps."""
        past = self.attention.initial_state(batch_size, device=device, dtype=dtype)
        if self.cross_attention is None:
            return past
        memory = self.cross_attention.initial_state(batch_size, device=device, dtype=dtype)
        return BlockState(past, memory)

    def remember(
        self,
        memory: Float[Tensor, "batch steps memory"],
        mask: Bool[Tensor, "batch steps"] | None = None,
    ) -> BlockState:
        """The state before the first step, with a memory to look at.

        Args:
            memory: `[batch, steps, memory_size]`, what an encoder gives.
            mask: `[batch, steps]`, True where a step is real.
        """
        if self.cross_attention is None:
            raise InputError(
                "TransformerBlock: has no cross-attention, for there is no memory_size"
            )
        return BlockState(None, self.cross_attention.remember(memory, mask))

    def check_state(self, state: State, batch_size: int) -> None:
        """Its layers check their parts; here only whether there are two."""
        if state is not None and (self.cross_attention is not None) != isinstance(
            state, BlockState
        ):
            super().check_state(state, batch_size)

    def run(
        self,
        x: Float[Tensor, "batch time size"],
        state: Any,
        mask: Bool[Tensor, "batch time"] | None,
        reset: Bool[Tensor, "batch time"] | None,
    ) -> tuple[Float[Tensor, "batch time size"], State]:
        """Each layer's answer added to what it was asked."""
        past, memory = state if isinstance(state, BlockState) else (state, None)
        if mask is not None:
            x = torch.where(mask.unsqueeze(-1), x, 0)

        def attended(x: Tensor, layer: Layer, norm: Layer, state: State) -> tuple[Tensor, State]:
            asked = norm(x, (), mask)[0] if self.norm_first else x
            answer, state = layer(asked, state, mask, reset)
            x = x + self.dropout(answer)[0]
            return (x if self.norm_first else norm(x, (), mask)[0]), state

        x, after = attended(x, self.attention, self.attention_norm, past)
        if self.cross_attention is not None and self.cross_attention_norm is not None:
            x, memory = attended(x, self.cross_attention, self.cross_attention_norm, memory)
            after = BlockState(after, memory)
        return on_real_steps(self._feed, x, mask), after

    def _feed(self, x: Float[Tensor, "batch time size"]) -> Float[Tensor, "batch time size"]:
        """Feed-forward, at every step by itself."""
        asked = self.feed_forward_norm(x)[0] if self.norm_first else x
        x = x + self.dropout(self.feed_forward(asked)[0])[0]
        return x if self.norm_first else self.feed_forward_norm(x)[0]


class Encoder(Stack):
    """Blocks that let every step see the whole input.

    Args:
        size: features per step, in and out.
        heads: of attention.
        layers: blocks.
        position: how the order of steps is told; `sinusoidal` or `learned` are added to what comes
            in, once.
        length: learned positions.
        dropout: of what is added in the blocks, and of the input with its positions; in [0, 1).
        options: of [`TransformerBlock`][throughtime.layers.TransformerBlock].

    Shapes:
        - `x`, `output`: `[batch, time, size]`; padded steps give zeros.
        - `state`: `()`.
        - `mask`, `reset`: `[batch, time]`, see [`Layer`][throughtime.layers.Layer].

    The last matrix of each sum starts smaller, by the root of the number of sums, so that a deep
    encoder starts as calm as a flat one (Radford et al. 2019, section 2.3).

    Examples:
        >>> Encoder(8, heads=2, layers=3)(torch.randn(2, 7, 8))[0].shape
        torch.Size([2, 7, 8])

    References:
        Vaswani et al. 2017, "Attention is all you need".
    """

    def __init__(
        self,
        size: int,
        heads: int,
        layers: int,
        *,
        position: str = "sinusoidal",
        length: int = 1024,
        dropout: float = 0.0,
        **options: Any,
    ) -> None:
        _refuse_causal("Encoder", "Decoder", options)
        super().__init__(
            *_blocks(
                "Encoder", size, heads, layers, position, length, dropout, causal=False, **options
            )
        )
        _calm(self)


class Decoder(Stack):
    """Blocks that see the past only, and a memory where there is one.

    Without `memory_size` this is the body of a language model. With it, an encoder's output goes in
    by [`remember`][throughtime.layers.Decoder.remember], whose answer is the state to start from.

    The last matrix of each sum starts smaller, as in [`Encoder`][throughtime.layers.Encoder].

    Args:
        size: features per step, in and out.
        heads: of attention.
        layers: blocks.
        position: how the order of steps is told; `sinusoidal` or `learned` are added to what comes
            in, once.
        horizon: real steps that each block sees before its own.
        length: learned positions; None: twice the horizon.
        dropout: of what is added in the blocks, and of the input with its positions; in [0, 1).
        memory_size: features per step of the memory; None: there is none.
        options: of [`TransformerBlock`][throughtime.layers.TransformerBlock].

    Shapes:
        - `x`, `output`: `[batch, time, size]`; padded steps give zeros.
        - `state`: a tuple with a state for each of `layers`; `None` means nothing seen, and no
          memory.
        - `mask`, `reset`: `[batch, time]`, see [`Layer`][throughtime.layers.Layer].

    Laws:
        - Causal, with a receptive field of `layers * horizon + 1` real steps.
        - Chunkable: any split of time gives the same outputs, state and gradients.
        - Padding-invariant: what stands in a padded step changes nothing.

    Examples:
        >>> encoder, decoder = Encoder(8, 2, 1), Decoder(8, 2, 1, memory_size=8)
        >>> memory, _ = encoder(torch.randn(3, 5, 8))
        >>> state = decoder.remember(memory)
        >>> output, state = decoder(torch.randn(3, 7, 8), state)
        >>> output.shape
        torch.Size([3, 7, 8])

    References:
        Vaswani et al. 2017, "Attention is all you need"; Radford et al. 2019, "Language models are
        unsupervised multitask learners".
    """

    def __init__(
        self,
        size: int,
        heads: int,
        layers: int,
        *,
        position: str = "sinusoidal",
        horizon: int = 256,
        length: int | None = None,
        dropout: float = 0.0,
        memory_size: int | None = None,
        **options: Any,
    ) -> None:
        check_size("Decoder", "horizon", horizon)
        _refuse_causal("Decoder", "Encoder", options)
        length = 2 * horizon if length is None else length
        super().__init__(
            *_blocks(
                "Decoder", size, heads, layers, position, length, dropout,
                horizon=horizon, memory_size=memory_size, **options,
            )
        )  # fmt: skip
        self.memory_size = memory_size
        _calm(self)

    def remember(
        self,
        memory: Float[Tensor, "batch steps memory"],
        mask: Bool[Tensor, "batch steps"] | None = None,
    ) -> tuple[State, ...]:
        """The state before the first step, with a memory whose keys and values are computed once.

        Args:
            memory: `[batch, steps, memory_size]`, what an encoder gives.
            mask: `[batch, steps]`, True where a step is real.

        Errors:
            InputError: a decoder that was made without `memory_size`.
        """
        if self.memory_size is None:
            raise InputError("Decoder: has no cross-attention, for it was made without memory_size")
        return tuple(
            layer.remember(memory, mask)
            if isinstance(layer, TransformerBlock)
            else layer.initial_state(memory.shape[0])  # pyright: ignore
            for layer in self.layers
        )


def _refuse_causal(name: str, other: str, options: dict[str, Any]) -> None:
    if "causal" in options:
        raise InputError(f"{name}: got causal, expected {other} for blocks that are otherwise")


def _blocks(
    name: str,
    size: int,
    heads: int,
    layers: int,
    position: str,
    length: int,
    dropout: float,
    **options: Any,
) -> list[Layer]:
    """Positions, dropout, blocks, and a last norm where the blocks' own come first."""
    check_size(name, "size", size)
    check_size(name, "layers", layers)
    check_position(name, position, 2 if position == "rotary" else size, POSITIONS)
    parts: list[Layer] = []
    if position in ABSOLUTE:
        parts.append(Position(size, position, length=length))
        position = "none"
    if dropout:
        parts.append(Dropout(dropout))
    for _ in range(layers):
        parts.append(TransformerBlock(size, heads, position=position, dropout=dropout, **options))
    if options.get("norm_first", True):
        parts.append(Norm(size, kind=options.get("norm", "layer")))
    return parts


def _calm(stack: Stack) -> None:
    """Divide the last matrix of each sum by the root of the number of sums."""
    blocks = [layer for layer in stack.layers if isinstance(layer, TransformerBlock)]
    ends = [
        layer.weight_output
        for block in blocks
        for layer in (block.attention, block.cross_attention, block.feed_forward)
        if layer is not None
    ]
    with torch.no_grad():
        for weight in ends:
            weight.div_(len(ends) ** 0.5)
