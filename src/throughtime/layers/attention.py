"""Self-attention: each step looks at the steps before it."""

from collections.abc import Mapping
from functools import reduce
from typing import Any

import torch
from torch import nn
from torch.nn.functional import linear

from throughtime import kernels
from throughtime.errors import InputError
from throughtime.kernels.attention.reference import attention as scaled_dot_product
from throughtime.kernels.attention.reference import weights as softmax_weights
from throughtime.kernels.compiled import plain
from throughtime.layers.base import Layer, check_size, on_real_steps
from throughtime.layers.line import (
    Line,
    SelfAttentionState,
    line_of,
    pieces,
    remembered,
    wanted,
)
from throughtime.layers.maps import MAPS, by_maps
from throughtime.layers.position import (
    ABSOLUTE,
    POSITIONS,
    Position,
    Steps,
    check_position,
    count_steps,
    rotate,
    slopes,
    turn,
)
from throughtime.shapes import Bool, Float, Tensor
from throughtime.state import State
from throughtime.taps import tap, watched

BLOCK = 128
"""Steps of a long call that are attended to at a time; as many as the horizon if that is more."""

__all__ = ["SelfAttention", "SelfAttentionState", "scaled_dot_product"]


class SelfAttention(Layer):
    r"""Each step looks at the steps before it and takes a mean of what it finds.

    Three matrices make a query, a key and a value of each step; a query is compared with the keys
    by their inner product, and the softmax of that weighs the values. This happens in several heads
    at once, whose answers are put side by side and mixed by a last matrix:

    $$Q, K, V = X W_Q, X W_K, X W_V$$
    $$\mathrm{head} = \operatorname{softmax}\left(\frac{Q K^\top}{\sqrt{d_k}}\right) V, \qquad
    Y = [\mathrm{head}_1, \ldots, \mathrm{head}_H] W_O$$

    Causal attention sees its own step and up to `horizon` real steps before it, in training as in
    streaming: its memory has a fixed form, and a sequence may be of any length.

    Args:
        size: features per step, in and out.
        heads: H; `size` is a multiple of it, $d_k$ is `size / heads`.
        horizon: real steps that a step sees before itself; for causal attention.
        position: how the order of steps is told: `none`; `rotary` or `alibi`, which act on the
            scores; `sinusoidal` or `learned`, added to what comes in.
        kv_heads: heads of keys and values, each shared by `heads / kv_heads` heads of queries; None
            is as many as `heads`.
        causal: False lets every step see the whole input; there is no state then.
        bias: whether the matrices have shifts.
        length: learned positions, after which they begin again; None: twice the horizon.

    Attributes:
        weight_input: $W_Q$, $W_K$, $W_V$ from the top, `[(heads + 2 kv_heads) * d_k, size]`; Glorot
            uniform per block.
        bias_input: `[(heads + 2 kv_heads) * d_k]`; zeros, or None.
        weight_output: $W_O$, `[size, size]`; Glorot uniform.
        bias_output: `[size]`; zeros, or None.
        encoding: the layer of positions that are added, or None.

    Shapes:
        - `x`: `[batch, time, size]`; time is counted in steps.
        - `state`: `SelfAttentionState`; `None` means that nothing came before. `()` unless causal.
        - `mask`, `reset`: `[batch, time]`, see [`Layer`][throughtime.layers.Layer]. Padded steps
          are neither seen nor counted.
        - `output`: `[batch, time, size]`.

    Laws:
        - Causal, with a receptive field of `horizon + 1` real steps.
        - Chunkable: any split of time gives the same outputs, state and gradients.
        - Padding-invariant: what stands in a padded step changes nothing.

    Gradients flow through the keys and values of the state; `detach(state)` cuts them.

    Errors:
        InputError: sizes that do not divide, or a position nobody knows.

    Examples:
        >>> layer = SelfAttention(8, heads=2, horizon=16, position="rotary")
        >>> x = torch.randn(3, 7, 8)
        >>> output, state = layer(x)
        >>> first, state = layer(x[:, :4])
        >>> rest, state = layer(x[:, 4:], state)
        >>> torch.allclose(torch.cat([first, rest], dim=1), output, atol=1e-6)
        True

    References:
        Vaswani et al. 2017, "Attention is all you need"; shared heads: Ainslie et al. 2023, "GQA:
        training generalized multi-query Transformer models from multi-head checkpoints"; memory
        across calls: Dai et al. 2019, "Transformer-XL".
    """

    knows_none = True
    taps: Mapping[str, str] = {
        "queries": "of each head, turned where positions are rotary: [batch, heads, time, head]",
        "keys": "of the steps of the call, likewise: [batch, kv_heads, time, head]",
        "values": "of the steps of the call: [batch, kv_heads, time, head]",
        **MAPS,
        "heads": "what each head found: [batch, heads, time, head]",
        "output": "the heads, mixed: [batch, time, size]",
    }

    def __init__(
        self,
        size: int,
        heads: int,
        *,
        horizon: int = 256,
        position: str = "none",
        kv_heads: int | None = None,
        causal: bool = True,
        bias: bool = True,
        length: int | None = None,
    ) -> None:
        super().__init__()
        check_size("SelfAttention", "horizon", horizon)
        self.kv_heads, self.head_size = check_heads("SelfAttention", size, heads, kv_heads)
        check_position(
            "SelfAttention", position, self.head_size if position == "rotary" else size, POSITIONS
        )
        self.input_size = self.output_size = size
        self.heads = heads
        self.horizon = horizon
        self.position = position
        self.causal = causal
        length = 2 * horizon if length is None else length
        added = position in ABSOLUTE
        self.encoding = Position(size, position, length=length) if added else None
        self.blocks = (size, self.kv_heads * self.head_size, self.kv_heads * self.head_size)
        self.weight_input = nn.Parameter(torch.empty(sum(self.blocks), size))
        self.weight_output = nn.Parameter(torch.empty(size, size))
        self.bias_input = nn.Parameter(torch.empty(sum(self.blocks))) if bias else None
        self.bias_output = nn.Parameter(torch.empty(size)) if bias else None
        self.slopes = slopes(heads) if position == "alibi" else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot per block, zero shifts."""
        draw_blocks(self.weight_input, self.blocks, self.bias_input)
        draw_blocks(self.weight_output, (self.weight_output.shape[0],), self.bias_output)

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Any:
        """Nothing seen."""
        if not self.causal:
            return ()
        like = self.weight_input
        device = like.device if device is None else device
        shape = (batch_size, self.kv_heads, self.horizon, self.head_size)
        return SelfAttentionState(
            like.new_zeros(shape, device=device, dtype=dtype),
            like.new_zeros(shape, device=device, dtype=dtype),
            torch.zeros(batch_size, self.horizon, dtype=torch.bool, device=device),
            torch.zeros(batch_size, dtype=torch.long, device=device),
        )

    def check_state(self, state: State, batch_size: int) -> None:
        """Read the form of a good state without making one to compare it with."""
        like = self.weight_input
        good = (
            isinstance(state, SelfAttentionState)
            and self.causal
            and state.keys.shape == (batch_size, self.kv_heads, self.horizon, self.head_size)
            and state.values.shape == state.keys.shape
            and state.keys.dtype == state.values.dtype == like.dtype
            and state.keys.device == state.values.device == like.device
            and state.real.shape == (batch_size, self.horizon)
            and state.seen.shape == (batch_size,)
            and (state.real.dtype, state.seen.dtype) == (torch.bool, torch.long)
            and state.real.device == state.seen.device == like.device
        )
        if not good:
            super().check_state(state, batch_size)

    def run(
        self,
        x: Float[Tensor, "batch time size"],
        state: Any,
        mask: Bool[Tensor, "batch time"] | None,
        reset: Bool[Tensor, "batch time"] | None,
    ) -> tuple[Float[Tensor, "batch time size"], State]:
        """Queries, keys and values; look; mix."""
        q, k, v, steps = self._project(x, state, mask, reset)
        q = tap(self, "queries", q, mask)
        k, v = tap(self, "keys", k, mask), tap(self, "values", v, mask)
        line = line_of(state or None, k, v, steps, mask)
        head = self._by_maps(q, line, steps, mask) if watched(self, *MAPS) else None
        if head is None:
            head = self._heads(q, line, steps, mask)
        head = tap(self, "heads", head, mask)
        output = on_real_steps(self._mix, head.transpose(1, 2).flatten(2), mask)
        output = tap(self, "output", output, mask)
        if not self.causal or (plain() and not wanted.state):
            return output, ()
        dtype = self.weight_input.dtype  # not that of x, which autocast may have narrowed
        return output, remembered(line, steps, mask, reset, self.horizon, dtype)

    def weights(
        self,
        x: Float[Tensor, "batch time size"],
        state: Any = None,
        mask: Bool[Tensor, "batch time"] | None = None,
        reset: Bool[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch heads time steps"]:
        """How much each step attends to each, for looking at; what `forward` weighs values with.

        Args:
            x: `[batch, time, size]`.
            state: what came before, as of `forward`.
            mask: True where a step is real.
            reset: True where a new sequence begins.

        Returns:
            `[batch, heads, time, steps]`, each row with a sum of 1; rows of padded steps mean
            nothing. `steps` are those of the call, after the `horizon` steps of a state if one was
            given.
        """
        self.check(x, state, mask, reset)
        q, k, v, steps = self._project(x, state, mask, reset)
        line = line_of(state or None, k, v, steps, mask)
        return softmax_weights(q, line.keys, *self._visible(line, steps, q.dtype))

    def _project(
        self, x: Tensor, state: Any, mask: Tensor | None, reset: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Steps]:
        """Queries, keys and values, `[batch, heads, time, head]`, and where the steps stand."""
        past = state or None
        steps = count_steps(x, None if past is None else past.seen, mask, reset)
        if self.encoding is not None:
            x = x + self.encoding.encode(steps.place, x.dtype)
        made = on_real_steps(lambda x: linear(x, self.weight_input, self.bias_input), x, mask)
        q, k, v = (
            part.unflatten(-1, (-1, self.head_size)).transpose(1, 2)  # (B, H, T, D)
            for part in made.split(self.blocks, dim=-1)
        )
        if self.position == "rotary":
            by = turn(steps.place, self.head_size, q.dtype)
            q, k = rotate(q, by), rotate(k, by)
        return q, k, v, steps

    def _heads(
        self, q: Tensor, line: Line, steps: Steps, mask: Tensor | None
    ) -> Float[Tensor, "batch heads time head"]:
        """What each head finds."""
        block = max(self.horizon, BLOCK)
        if self.causal and self.slopes is None and self._begins(line):
            return kernels.attention(q, line.keys, line.values, causal=True)
        if self.causal and mask is None and plain() and q.shape[2] > 2 * block:
            stretches = pieces(q, line, steps, self.horizon, block)
            return torch.cat([self._look(*stretch) for stretch in stretches], dim=2)
        return self._look(q, line, steps)

    def _by_maps(
        self, q: Tensor, line: Line, steps: Steps, mask: Tensor | None
    ) -> Float[Tensor, "batch heads time head"] | None:
        """The same, where it must follow from the maps that are shown."""
        allowed, bias = self._visible(line, steps, q.dtype)
        return by_maps(self, q, line.keys, line.values, allowed, bias, mask)

    def _begins(self, line: Line) -> bool:
        """Whether nothing came before, and nothing lies further back than the horizon.

        What is exported must not depend on how long the example was.
        """
        alone = line.real is None and line.segment is None and not torch.compiler.is_exporting()
        return alone and line.keys.shape[2] <= self.horizon + 1

    def _look(self, q: Tensor, line: Line, steps: Steps) -> Float[Tensor, "batch heads time head"]:
        allowed, bias = self._visible(line, steps, q.dtype)
        return kernels.attention(q, line.keys, line.values, allowed=allowed, bias=bias)

    def _mix(self, heads: Tensor) -> Tensor:
        return linear(heads, self.weight_output, self.bias_output)

    def _visible(
        self, line: Line, steps: Steps, dtype: torch.dtype
    ) -> tuple[Bool[Tensor, "rows 1 #time steps"] | None, Tensor | None]:
        """Which steps each may attend to, and by how much the scores fall with distance."""
        distance = (steps.place.unsqueeze(2) - line.place.unsqueeze(1)).unsqueeze(1)
        conditions = []  # each (B, 1, T, S), or to be expanded to it
        if self.causal:
            conditions += [distance >= 0, distance <= self.horizon]
        if line.real is not None:
            conditions.append(line.real[:, None, None])
        if steps.segment is not None and line.segment is not None:
            conditions.append(steps.segment[:, None, :, None] == line.segment[:, None, None])
        allowed = reduce(torch.logical_and, conditions) if conditions else None
        if self.slopes is None:
            return allowed, None
        wide = torch.promote_types(dtype, torch.float32)
        fall = torch.tensor(self.slopes, dtype=wide, device=distance.device).view(-1, 1, 1)
        return allowed, (-fall * distance.abs()).to(dtype)

    def extra_repr(self) -> str:
        """Sizes, for printing."""
        words = [f"size={self.input_size}", f"heads={self.heads}"]
        words += [f"horizon={self.horizon}"] if self.causal else ["causal=False"]
        words += [f"kv_heads={self.kv_heads}"] if self.kv_heads != self.heads else []
        words += [f"position={self.position!r}"] if self.position != "none" else []
        return ", ".join(words)


def check_heads(layer: str, size: int, heads: int, kv_heads: int | None) -> tuple[int, int]:
    """Heads of keys and values, and features per head; or a refusal of what does not divide."""
    check_size(layer, "size", size)
    check_size(layer, "heads", heads)
    if size % heads:
        raise InputError(f"{layer}: size is {size}, expected a multiple of heads, {heads}")
    if kv_heads is None:
        kv_heads = heads
    check_size(layer, "kv_heads", kv_heads)
    if heads % kv_heads:
        raise InputError(f"{layer}: heads is {heads}, expected a multiple of kv_heads, {kv_heads}")
    return kv_heads, size // heads


def draw_blocks(weight: Tensor, blocks: tuple[int, ...], bias: Any) -> None:
    """Glorot for each block of rows, zeros for the shifts."""
    for block in weight.split(blocks):
        nn.init.xavier_uniform_(block)
    if bias is not None:
        nn.init.zeros_(bias)
