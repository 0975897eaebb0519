"""The Transformer's block: attention and feed-forward in turn, each added to what comes in."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from throughtime.errors import InputError
from throughtime.layers.attention import SelfAttention
from throughtime.layers.base import Layer, on_real_steps
from throughtime.layers.cross_attention import CrossAttention
from throughtime.layers.feed_forward import FeedForward
from throughtime.layers.stateless import Dropout, Norm
from throughtime.shapes import Bool, Float, Tensor
from throughtime.state import State, register
from throughtime.taps import tap


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
        activation: of the feed-forward layer: `gelu`, `gelu_tanh`, `relu`, `silu` or `swiglu`.
        norm: `layer` or `rms`.
        norm_epsilon: of the norms, added under their root.
        norm_first: norms inside the sum (Xiong et al. 2020), or after it as first published.
        dropout: of what is added, in [0, 1).
        stochastic_depth: in training, the probability with which a row goes past each sum without
            what is added, in [0, 1); the others are added 1 / (1 - p) of it (Huang et al. 2016,
            "Deep networks with stochastic depth").
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
    taps: Mapping[str, str] = {
        "after_attention": "the stream after self-attention: [batch, time, size]",
        "after_cross_attention": "the stream after cross-attention: [batch, time, size]",
        "residual": "the stream after the block: [batch, time, size]",
    }

    def __init__(
        self,
        size: int,
        heads: int,
        *,
        hidden_size: int | None = None,
        activation: str = "gelu",
        norm: str = "layer",
        norm_epsilon: float = 1e-5,
        norm_first: bool = True,
        dropout: float = 0.0,
        stochastic_depth: float = 0.0,
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
        if not 0 <= stochastic_depth < 1:
            raise InputError(
                f"TransformerBlock: stochastic_depth is {stochastic_depth}, "
                "expected a probability in [0, 1)"
            )
        self.input_size = self.output_size = size
        self.causal = causal
        self.norm_first = norm_first
        self.stochastic_depth = stochastic_depth
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
        self.attention_norm = Norm(size, kind=norm, epsilon=norm_epsilon)
        self.cross_attention = self.cross_attention_norm = None
        if memory_size is None:
            self.taps = {k: v for k, v in self.taps.items() if k != "after_cross_attention"}
        if memory_size is not None:
            self.cross_attention = CrossAttention(
                size, heads, memory_size=memory_size, kv_heads=kv_heads, bias=bias
            )
            self.cross_attention_norm = Norm(size, kind=norm, epsilon=norm_epsilon)
        self.feed_forward = FeedForward(size, hidden_size, activation=activation, bias=bias)
        self.feed_forward_norm = Norm(size, kind=norm, epsilon=norm_epsilon)
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
            x = x + self._some_rows(self.dropout(answer)[0])
            return (x if self.norm_first else norm(x, (), mask)[0]), state

        x, after = attended(x, self.attention, self.attention_norm, past)
        x = tap(self, "after_attention", x, mask)
        if self.cross_attention is not None and self.cross_attention_norm is not None:
            x, memory = attended(x, self.cross_attention, self.cross_attention_norm, memory)
            x = tap(self, "after_cross_attention", x, mask)
            after = BlockState(after, memory)
        if self.training and self.stochastic_depth:  # which rows: that is lost among real steps
            fed = self._some_rows(on_real_steps(self._fed, x, mask))
            x = on_real_steps(self._normed, x + fed, mask)
        else:
            x = on_real_steps(lambda x: self._normed(x + self._fed(x)), x, mask)
        return tap(self, "residual", x, mask), after

    def _fed(self, x: Float[Tensor, "batch time size"]) -> Float[Tensor, "batch time size"]:
        """What feed-forward adds to each step."""
        asked = self.feed_forward_norm(x)[0] if self.norm_first else x
        return self.dropout(self.feed_forward(asked)[0])[0]

    def _normed(self, x: Float[Tensor, "batch time size"]) -> Float[Tensor, "batch time size"]:
        return x if self.norm_first else self.feed_forward_norm(x)[0]

    def _some_rows(self, x: Float[Tensor, "batch time size"]) -> Float[Tensor, "batch time size"]:
        """All rows, or in training with stochastic depth some, grown by as much as is lost."""
        if not (self.training and self.stochastic_depth):
            return x
        share = 1 - self.stochastic_depth
        kept = torch.rand(x.shape[0], 1, 1, device=x.device) < share
        return x * (kept / share).to(x.dtype)
