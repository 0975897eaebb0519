"""Cross-attention: each step looks at all steps of another sequence."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.functional import linear

from throughtime import kernels
from throughtime.kernels.attention.reference import weights as softmax_weights
from throughtime.layers.attention import check_heads, draw_blocks
from throughtime.layers.base import check_size, on_real_steps
from throughtime.layers.maps import MAPS, by_maps
from throughtime.layers.memory import MemoryLayer
from throughtime.shapes import Bool, Float, Tensor
from throughtime.state import register
from throughtime.taps import tap, watched


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


class CrossAttention(MemoryLayer):
    r"""Each step looks at all steps of another sequence, the memory.

    Queries come from the input, keys and values from the memory, as an encoder gives it:

    $$Q = X W_Q, \quad K, V = M W_K, M W_V, \qquad
    Y = \left[\operatorname{softmax}\left(\frac{Q K^\top}{\sqrt{d_k}}\right) V\right] W_O$$

    Keys and values are computed once, by
    [`remember`][throughtime.layers.cross_attention.CrossAttention.remember], and are the state from
    then on; a call does not change it.

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

    taps: Mapping[str, str] = {
        "queries": "of each head: [batch, heads, time, head]",
        "keys": "of the memory: [batch, kv_heads, steps, head]",
        "values": "of the memory: [batch, kv_heads, steps, head]",
        **MAPS,
        "heads": "what each head found: [batch, heads, time, head]",
        "output": "the heads, mixed: [batch, time, size]",
    }

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
        mask = self.check_memory(memory, mask)
        made = on_real_steps(
            lambda x: linear(x, self.weight_memory, self.bias_memory), memory, mask
        )
        keys, values = (
            part.unflatten(-1, (-1, self.head_size)).transpose(1, 2)
            for part in made.chunk(2, dim=-1)
        )
        dtype = self.weight_memory.dtype  # which autocast may have narrowed
        return MemoryState(keys.to(dtype), values.to(dtype), mask)

    def look(
        self,
        x: Float[Tensor, "batch time size"],
        memory: MemoryState,
        mask: Bool[Tensor, "batch time"] | None,
        begun: Bool[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch time size"]:
        """Queries; look; mix."""
        q = tap(self, "queries", self._queries(x, mask), mask)
        keys = tap(self, "keys", memory.keys.to(q.dtype), memory.real)
        values = tap(self, "values", memory.values.to(q.dtype), memory.real)
        allowed = memory.real[:, None, None]
        if begun is not None:
            allowed = allowed & ~begun[:, None, :, None]
        found = None
        if watched(self, *MAPS):
            found = by_maps(self, q, keys, values, allowed, None, mask)
        if found is None and keys.shape[2]:
            found = kernels.attention(q, keys, values, allowed=allowed)
        found = tap(self, "heads", torch.zeros_like(q) if found is None else found, mask)
        return on_real_steps(self._mix, found.transpose(1, 2).flatten(2), mask)

    def weights(
        self,
        x: Float[Tensor, "batch time size"],
        memory: MemoryState,
        mask: Bool[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch heads time steps"]:
        """How much each step looks at each step of a memory, for looking at.

        Args:
            x: `[batch, time, size]`.
            memory: what `remember` gave.
            mask: `[batch, time]`, True where a step of `x` is real.

        Returns:
            `[batch, heads, time, steps]`, each row with a sum of 1, or zeros if no step of the
            memory is real; rows of padded steps mean nothing.
        """
        q = self._queries(x, mask)
        return softmax_weights(q, memory.keys.to(q.dtype), memory.real[:, None, None], None)

    def _queries(self, x: Tensor, mask: Tensor | None) -> Float[Tensor, "batch heads time head"]:
        q = on_real_steps(lambda x: linear(x, self.weight_query, self.bias_query), x, mask)
        return q.unflatten(-1, (-1, self.head_size)).transpose(1, 2)

    def _mix(self, heads: Tensor) -> Tensor:
        return linear(heads, self.weight_output, self.bias_output)

    def extra_repr(self) -> str:
        """Sizes, for printing."""
        return f"size={self.input_size}, heads={self.heads}, memory_size={self.memory_size}"
