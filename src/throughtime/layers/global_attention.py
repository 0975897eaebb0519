"""Global attention: what recurrent layers look at another sequence with."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.functional import linear

from throughtime.errors import InputError
from throughtime.layers.base import check_size, on_real_steps
from throughtime.layers.maps import MAPS
from throughtime.layers.memory import MemoryLayer
from throughtime.shapes import Bool, Float, Tensor
from throughtime.state import register
from throughtime.taps import tap, watched

SCORES = ("additive", "multiplicative")
"""How a step and a step of the memory are compared."""


@register
class AnnotationState(NamedTuple):
    """What global attention looks at.

    Attributes:
        keys: `[batch, steps, size]`, what a step is compared with.
        values: `[batch, steps, memory_size]`, the memory itself.
        real: `[batch, steps]`, True where a step is real.
    """

    keys: Float[Tensor, "batch steps size"]
    values: Float[Tensor, "batch steps memory"]
    real: Bool[Tensor, "batch steps"]


class GlobalAttention(MemoryLayer):
    r"""Each step looks at all steps of a memory, and is mixed with what it finds there.

    With the memory $m_1, \ldots, m_S$ and keys $k_s = U m_s$ the step $h_t$ becomes

    $$a_{ts} = \operatorname{softmax}_s e(h_t, k_s), \qquad c_t = \sum_s a_{ts} m_s, \qquad
    y_t = \tanh(W_c [c_t; h_t] + b)$$

    where $e$ is one of two scores:

    - `additive` (Bahdanau et al. 2015): $e = v^\top \tanh(W h_t + k_s)$,
    - `multiplicative` (Luong et al. 2015, "general"): $e = h_t^\top k_s$.

    $h_t$ is the state of the recurrent layer below after its own step, as Luong has it, so that a
    whole sequence is compared at once; a recurrent layer above carries on what was found.

    Keys are computed once, by
    [`remember`][throughtime.layers.global_attention.GlobalAttention.remember].

    Args:
        size: features per step, in and out.
        memory_size: features per step of the memory; None: `size`.
        score: `additive` or `multiplicative`.

    Attributes:
        weight_key: U, `[size, memory_size]`; Glorot uniform.
        weight_query: W, `[size, size]`; None with `multiplicative`.
        weight_score: v, `[size]`; uniform within $\sqrt{3 / \mathrm{size}}$; None likewise.
        weight_output: $W_c$, `[size, memory_size + size]`; Glorot uniform.
        bias: b, `[size]`; zeros.

    Shapes:
        - `x`, `output`: `[batch, time, size]`; padded steps give zeros.
        - `state`: `AnnotationState`; `None` is a memory without steps, in which $c_t$ is zero.
        - `mask`, `reset`: `[batch, time]`, see [`Layer`][throughtime.layers.Layer]. A sequence that
          begins at a reset has a memory without steps.

    Laws:
        - Chunkable: any split of time gives the same outputs, state and gradients.
        - Padding-invariant, in the input and in the memory.

    Examples:
        >>> layer = GlobalAttention(8, 6, score="additive")
        >>> output, state = layer(torch.randn(3, 7, 8), layer.remember(torch.randn(3, 5, 6)))
        >>> output.shape, state.keys.shape
        (torch.Size([3, 7, 8]), torch.Size([3, 5, 8]))

    References:
        Bahdanau, Cho and Bengio 2015, "Neural machine translation by jointly learning to align and
        translate"; Luong, Pham and Manning 2015, "Effective approaches to attention-based neural
        machine translation".
    """

    taps: Mapping[str, str] = {
        **{name: what.replace("heads", "1") for name, what in MAPS.items()},
        "output": "what was found, mixed with the step: [batch, time, size]",
    }

    def __init__(
        self, size: int, memory_size: int | None = None, *, score: str = "additive"
    ) -> None:
        super().__init__()
        memory_size = size if memory_size is None else memory_size
        for argument, number in (("size", size), ("memory_size", memory_size)):
            check_size("GlobalAttention", argument, number)
        if score not in SCORES:
            raise InputError(f"GlobalAttention: score is {score!r}, expected one of {[*SCORES]}")
        self.input_size = self.output_size = size
        self.memory_size = memory_size
        self.score = score
        additive = score == "additive"
        self.weight_key = nn.Parameter(torch.empty(size, memory_size))
        self.weight_query = nn.Parameter(torch.empty(size, size)) if additive else None
        self.weight_score = nn.Parameter(torch.empty(size)) if additive else None
        self.weight_output = nn.Parameter(torch.empty(size, memory_size + size))
        self.bias = nn.Parameter(torch.empty(size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot, a zero shift."""
        for weight in (self.weight_key, self.weight_query, self.weight_output):
            if weight is not None:
                nn.init.xavier_uniform_(weight)
        if self.weight_score is not None:
            bound = (3 / len(self.weight_score)) ** 0.5
            nn.init.uniform_(self.weight_score, -bound, bound)
        nn.init.zeros_(self.bias)

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> AnnotationState:
        """A memory without steps."""
        like = self.weight_key
        device = like.device if device is None else device
        keys, values = (
            like.new_zeros((batch_size, 0, size), device=device, dtype=dtype) for size in like.shape
        )
        real = torch.zeros(batch_size, 0, dtype=torch.bool, device=device)
        return AnnotationState(keys, values, real)

    def remember(
        self,
        memory: Float[Tensor, "batch steps memory"],
        mask: Bool[Tensor, "batch steps"] | None = None,
    ) -> AnnotationState:
        """A memory and its keys, as a state.

        Args:
            memory: `[batch, steps, memory_size]`.
            mask: `[batch, steps]`, True where a step is real; None: every step.

        Errors:
            InputError: a memory of another form.
        """
        mask = self.check_memory(memory, mask)
        keys = on_real_steps(lambda x: linear(x, self.weight_key), memory, mask)
        values = torch.where(mask.unsqueeze(-1), memory, 0)
        dtype = self.weight_key.dtype  # which autocast may have narrowed
        return AnnotationState(keys.to(dtype), values.to(dtype), mask)

    def look(
        self,
        x: Float[Tensor, "batch time size"],
        memory: AnnotationState,
        mask: Bool[Tensor, "batch time"] | None,
        begun: Bool[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch time size"]:
        """Compare; add up; mix."""
        if mask is not None:
            x = torch.where(mask.unsqueeze(-1), x, 0)
        real = memory.real.unsqueeze(1)
        if begun is not None:
            real = real & ~begun.unsqueeze(-1)
        if watched(self, *MAPS):
            found = self._map(x, memory, real, mask) @ memory.values.to(x.dtype)
        elif memory.keys.shape[1]:
            found = _shares(self._scores(x, memory), real) @ memory.values.to(x.dtype)
        else:
            found = x.new_zeros(*x.shape[:2], self.memory_size)
        return on_real_steps(self._mix, torch.cat([found, x], dim=-1), mask)

    def weights(
        self, x: Float[Tensor, "batch time size"], memory: AnnotationState
    ) -> Float[Tensor, "batch time steps"]:
        """$a_{ts}$: how much of each step of the memory each step takes; zeros if none is real."""
        return _shares(self._scores(x, memory), memory.real.unsqueeze(1))

    def _scores(
        self, x: Float[Tensor, "batch time size"], memory: AnnotationState
    ) -> Float[Tensor, "batch time steps"]:
        """e: how well each step of the memory matches each step."""
        keys = memory.keys.to(x.dtype)
        if self.weight_query is None or self.weight_score is None:
            return x @ keys.transpose(1, 2)
        both = linear(x, self.weight_query).unsqueeze(2) + keys.unsqueeze(1)
        return both.tanh() @ self.weight_score

    def _map(
        self, x: Tensor, memory: AnnotationState, real: Tensor, mask: Tensor | None
    ) -> Float[Tensor, "batch time steps"]:
        """The shares, shown to whoever watches: as of one head."""
        scores = torch.where(real, self._scores(x, memory), -torch.inf).unsqueeze(1)
        scores = tap(self, "scores", scores, mask).squeeze(1)
        return tap(self, "attention", _shares(scores, real).unsqueeze(1), mask).squeeze(1)

    def _mix(self, both: Tensor) -> Tensor:
        return linear(both, self.weight_output, self.bias).tanh()

    def extra_repr(self) -> str:
        """Sizes, for printing."""
        return f"size={self.input_size}, memory_size={self.memory_size}, score={self.score!r}"


def _shares(
    scores: Float[Tensor, "batch time steps"], real: Bool[Tensor, "batch #time steps"]
) -> Float[Tensor, "batch time steps"]:
    """The softmax among real steps; zeros where there is none."""
    # The least number and not infinity, of whose softmax nothing at all would be left.
    scores = torch.where(real, scores, torch.finfo(scores.dtype).min)
    return torch.where(real, scores.softmax(-1), 0)
