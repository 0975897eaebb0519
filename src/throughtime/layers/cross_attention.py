"""Cross-attention: each step looks at all steps of another sequence."""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn.functional import linear, pad

from throughtime import kernels
from throughtime.errors import InputError
from throughtime.layers.attention import check_heads, draw_blocks
from throughtime.layers.base import Layer, check_size, on_real_steps
from throughtime.shapes import Bool, Float, Tensor
from throughtime.state import State, register


@register
class MemoryState(NamedTuple):
    """What cross-attention looks at: the keys and values of another sequence.

    Attributes:
        keys: `[batch, kv_heads, steps, head_size]`.
        values: likewise.
        real: `[batch, steps]`, True where a step is real.
    """

    keys: Float[Tensor, "batch kv_heads steps head"]
    values: Float[Tensor, "batch kv_heads steps head"]
    real: Bool[Tensor, "batch steps"]


class CrossAttention(Layer):
    r"""Each step looks at all steps of another sequence, the memory.

    Queries come from the input, keys and values from the memory, as an encoder gives it:

    $$Q = X W_Q, \quad K, V = M W_K, M W_V, \qquad
    Y = \left[\operatorname{softmax}\left(\frac{Q K^\top}{\sqrt{d_k}}\right) V\right] W_O$$

    Keys and values are computed once, by [`remember`][throughtime.layers.CrossAttention.remember],
    and are the state from then on; a call does not change it.

    Args:
        size: features per step, in and out.
        heads: H; `size` is a multiple of it, $d_k$ is `size / heads`.
        memory_size: features per step of the memory; None: `size`.
        kv_heads: heads of keys and values; None is as many as `heads`.
        bias: whether the matrices have shifts.

    Attributes:
        weight_query: $W_Q$, `[size, size]`; Glorot uniform.
        weight_memory: $W_K$, $W_V$ from the top, `[2 kv_heads * d_k, memory_size]`; Glorot uniform
            per block.
        weight_output: $W_O$, `[size, size]`; Glorot uniform.
        bias_query, bias_memory, bias_output: zeros, or None.

    Shapes:
        - `x`: `[batch, time, size]`.
        - `state`: `MemoryState`; `None` is a memory without steps.
        - `mask`, `reset`: `[batch, time]`, see [`Layer`][throughtime.layers.Layer]. A sequence that
          begins at a reset has the initial state, a memory without steps.
        - `output`: `[batch, time, size]`. With nothing to look at the heads give zeros.

    Laws:
        - Chunkable: any split of time gives the same outputs, state and gradients.
        - Padding-invariant, in the input and in the memory.

    Examples:
        >>> layer = CrossAttention(8, heads=2, memory_size=6)
        >>> memory = torch.randn(3, 5, 6)
        >>> output, state = layer(torch.randn(3, 7, 8), layer.remember(memory))
        >>> output.shape, state.keys.shape
        (torch.Size([3, 7, 8]), torch.Size([3, 2, 5, 4]))

    References:
        Vaswani et al. 2017, "Attention is all you need", section 3.2.3.
    """

    def __init__(
        self,
        size: int,
        heads: int,
        *,
        memory_size: int | None = None,
        kv_heads: int | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.kv_heads, self.head_size = check_heads("CrossAttention", size, heads, kv_heads)
        self.memory_size = size if memory_size is None else memory_size
        check_size("CrossAttention", "memory_size", self.memory_size)
        self.input_size = self.output_size = size
        self.heads = heads
        shared = self.kv_heads * self.head_size
        self.weight_query = nn.Parameter(torch.empty(size, size))
        self.weight_memory = nn.Parameter(torch.empty(2 * shared, self.memory_size))
        self.weight_output = nn.Parameter(torch.empty(size, size))
        self.bias_query = nn.Parameter(torch.empty(size)) if bias else None
        self.bias_memory = nn.Parameter(torch.empty(2 * shared)) if bias else None
        self.bias_output = nn.Parameter(torch.empty(size)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot per block, zero shifts."""
        size, shared = self.weight_query.shape[0], self.kv_heads * self.head_size
        draw_blocks(self.weight_query, (size,), self.bias_query)
        draw_blocks(self.weight_memory, (shared, shared), self.bias_memory)
        draw_blocks(self.weight_output, (size,), self.bias_output)

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> MemoryState:
        """A memory without steps."""
        like = self.weight_query
        device = like.device if device is None else device
        nothing = like.new_zeros(
            (batch_size, self.kv_heads, 0, self.head_size), device=device, dtype=dtype
        )
        real = torch.zeros(batch_size, 0, dtype=torch.bool, device=device)
        return MemoryState(nothing, nothing, real)

    def remember(
        self,
        memory: Float[Tensor, "batch steps memory"],
        mask: Bool[Tensor, "batch steps"] | None = None,
    ) -> MemoryState:
        """The keys and values of a memory, as a state.

        Args:
            memory: `[batch, steps, memory_size]`.
            mask: `[batch, steps]`, True where a step is real; None: every step.

        Errors:
            InputError: a memory of another form.
        """
        if memory.ndim != 3 or memory.shape[2] != self.memory_size:
            raise InputError(
                f"CrossAttention: memory has shape {list(memory.shape)}, "
                f"expected [batch, steps, {self.memory_size}]"
            )
        self.check_dtype(memory)
        self.check_marks(memory, mask, None)
        if mask is None:
            mask = torch.ones(memory.shape[:2], dtype=torch.bool, device=memory.device)
        made = on_real_steps(
            lambda x: linear(x, self.weight_memory, self.bias_memory), memory, mask
        )
        keys, values = (
            part.unflatten(-1, (-1, self.head_size)).transpose(1, 2)
            for part in made.chunk(2, dim=-1)
        )
        dtype = self.weight_memory.dtype  # which autocast may have narrowed
        return MemoryState(keys.to(dtype), values.to(dtype), mask)

    def check_state(self, state: State, batch_size: int) -> None:
        """A memory may have any number of steps."""
        like = self.weight_query
        good = (
            isinstance(state, MemoryState)
            and state.keys.ndim == 4
            and state.keys.shape == (batch_size, self.kv_heads, state.keys.shape[2], self.head_size)
            and state.values.shape == state.keys.shape
            and state.real.shape == (batch_size, state.keys.shape[2])
            and state.real.dtype == torch.bool
            and state.keys.dtype == state.values.dtype == like.dtype
            and state.keys.device == state.values.device == state.real.device == like.device
        )
        if not good:
            super().check_state(state, batch_size)

    def run(
        self,
        x: Float[Tensor, "batch time size"],
        state: MemoryState,
        mask: Bool[Tensor, "batch time"] | None,
        reset: Bool[Tensor, "batch time"] | None,
    ) -> tuple[Float[Tensor, "batch time size"], MemoryState]:
        """Queries; look; mix."""
        q = on_real_steps(lambda x: linear(x, self.weight_query, self.bias_query), x, mask)
        q = q.unflatten(-1, (-1, self.head_size)).transpose(1, 2)
        head, after = self._look(q, state), state
        if reset is not None:
            begun = reset.cumsum(1) > 0
            initial = self.initial_state(x.shape[0])
            head = torch.where(begun[:, None, :, None], self._look(q, initial), head)
            after = _replaced(state, initial, reset.any(1))
        return on_real_steps(self._mix, head.transpose(1, 2).flatten(2), mask), after

    def _mix(self, heads: Tensor) -> Tensor:
        return linear(heads, self.weight_output, self.bias_output)

    def _look(self, q: Tensor, memory: MemoryState) -> Float[Tensor, "batch heads time head"]:
        if memory.keys.shape[2] == 0:
            return torch.zeros_like(q)
        keys, values = memory.keys.to(q.dtype), memory.values.to(q.dtype)
        return kernels.attention(q, keys, values, allowed=memory.real[:, None, None])

    def extra_repr(self) -> str:
        """Sizes, for printing."""
        return f"size={self.input_size}, heads={self.heads}, memory_size={self.memory_size}"


def _replaced(state: MemoryState, other: MemoryState, where: Bool[Tensor, " batch"]) -> MemoryState:
    """Another memory in the rows that are True; the shorter of the two is padded."""
    steps = max(state.keys.shape[2], other.keys.shape[2])

    def choose(one: Tensor, two: Tensor, dim: int) -> Tensor:
        after = (0, 0) * (one.ndim - 1 - dim)
        one, two = (pad(part, (*after, 0, steps - part.shape[dim])) for part in (one, two))
        return torch.where(where.view(-1, *[1] * (one.ndim - 1)), two, one)

    return MemoryState(
        choose(state.keys, other.keys, 2),
        choose(state.values, other.values, 2),
        choose(state.real, other.real, 1),
    )
