"""Pooling over time: one vector of all steps so far, at every step."""

from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.functional import linear

from throughtime.layers.base import Layer, check_size
from throughtime.shapes import Bool, Float, Tensor
from throughtime.state import register

POOLINGS = ("last", "mean", "max", "attention")
"""How a sequence becomes one vector; `last` needs no layer, it is the last real step itself."""


@register
class MeanState(NamedTuple):
    """What a running mean remembers.

    Attributes:
        total: `[batch, size]`, the sum of the real steps.
        steps: `[batch]`, how many there were.
    """

    total: Float[Tensor, "batch size"]
    steps: Float[Tensor, " batch"]


@register
class MaxState(NamedTuple):
    """What a running maximum remembers.

    Attributes:
        peak: `[batch, size]`; zeros before the first step.
        seen: `[batch]`, whether there was a step.
    """

    peak: Float[Tensor, "batch size"]
    seen: Bool[Tensor, " batch"]


@register
class WeighedState(NamedTuple):
    """What a running weighed mean remembers.

    Attributes:
        mean: `[batch, size]`; zeros before the first step.
        weight: `[batch]`, the logarithm of the sum of all weights; 0 before the first step.
        seen: `[batch]`, whether there was a step.
    """

    mean: Float[Tensor, "batch size"]
    weight: Float[Tensor, " batch"]
    seen: Bool[Tensor, " batch"]


class Pooling(Layer):
    """One vector of all real steps so far, at every step: at the last it is that of the sequence.

    Subclasses give `initial_state`, and `scan` for a row that nothing begins anew in.

    Args:
        size: features per step, in and out.

    Shapes:
        - `x`, `output`: `[batch, time, size]`.
        - `mask`, `reset`: `[batch, time]`, see [`Layer`][throughtime.layers.Layer]. Time is gone
          through step by step where there is a `reset`, and at once otherwise.

    Laws:
        - Causal; chunkable; padding-invariant.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        check_size(type(self).__name__, "size", size)
        self.size = self.input_size = self.output_size = size
        self.register_buffer("anchor", torch.empty(0), persistent=False)

    def run(
        self,
        x: Float[Tensor, "batch time size"],
        state: Any,
        mask: Bool[Tensor, "batch time"] | None,
        reset: Bool[Tensor, "batch time"] | None,
    ) -> tuple[Float[Tensor, "batch time size"], Any]:
        """At once, or step by step where a sequence begins inside a row."""
        if mask is None:
            mask = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        x = torch.where(mask.unsqueeze(-1), x, 0)
        if reset is None:
            return self.scan(x, state, mask)
        fresh, outputs = self.initial_state(len(x)), [x[:, :0]]
        for t in range(x.shape[1]):
            begins = reset[:, t]
            state = type(state)(*(
                torch.where(begins.view(-1, *[1] * (old.ndim - 1)), new.to(old), old)
                for new, old in zip(fresh, state, strict=True)
            ))  # fmt: skip
            output, state = self.scan(x[:, t : t + 1], state, mask[:, t : t + 1])
            outputs.append(output)
        return torch.cat(outputs, 1), state

    def scan(
        self,
        x: Float[Tensor, "batch time size"],
        state: Any,
        mask: Bool[Tensor, "batch time"],
    ) -> tuple[Float[Tensor, "batch time size"], Any]:
        """All steps at once; `x` is zero where it is padded."""
        raise NotImplementedError

    def whole(
        self,
        x: Float[Tensor, "batch time size"],
        mask: Bool[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch size"]:
        """The answer after the last real step, zeros where there is none; nothing else is made."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Size, for printing."""
        return f"size={self.size}"


class MeanPooling(Pooling):
    r"""The mean of all real steps so far: $y_t = \frac1t \sum_{i \le t} x_i$.

    Args:
        size: features per step.

    Shapes:
        - `state`: `MeanState`; `None` means zeros.

    Examples:
        >>> MeanPooling(1)(torch.tensor([[[1.0], [3.0], [8.0]]]))[0].flatten().tolist()
        [1.0, 2.0, 4.0]
    """

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> MeanState:
        """Nothing seen."""
        zeros = self.like().new_zeros
        return MeanState(
            zeros(batch_size, self.size, device=device, dtype=dtype),
            zeros(batch_size, device=device, dtype=dtype),
        )

    def scan(self, x: Tensor, state: Any, mask: Tensor) -> tuple[Tensor, MeanState]:
        """Running sums."""
        totals = torch.cat([state.total.unsqueeze(1), x], 1).cumsum(1)
        counts = torch.cat([state.steps.unsqueeze(1), mask.to(x.dtype)], 1).cumsum(1)
        mean = totals[:, 1:] / counts[:, 1:].clamp(min=1).unsqueeze(-1)
        output = torch.where(mask.unsqueeze(-1), mean, 0)
        return output, MeanState(totals[:, -1], counts[:, -1])

    def whole(self, x: Tensor, mask: Tensor | None = None) -> Float[Tensor, "batch size"]:
        """One sum."""
        return mean(x, mask)


class MaxPooling(Pooling):
    r"""The largest value of each feature so far: $y_t = \max_{i \le t} x_i$.

    Args:
        size: features per step.

    Shapes:
        - `state`: `MaxState`; `None` means that nothing was seen.

    Examples:
        >>> MaxPooling(1)(torch.tensor([[[1.0], [3.0], [-8.0]]]))[0].flatten().tolist()
        [1.0, 3.0, 3.0]
    """

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> MaxState:
        """Nothing seen."""
        like = self.like()
        return MaxState(
            like.new_zeros(batch_size, self.size, device=device, dtype=dtype),
            torch.zeros(batch_size, dtype=torch.bool, device=device or like.device),
        )

    def scan(self, x: Tensor, state: Any, mask: Tensor) -> tuple[Tensor, MaxState]:
        """Running maxima."""
        real = torch.cat([state.seen.unsqueeze(1), mask], 1)
        line = torch.cat([state.peak.unsqueeze(1), x], 1)
        line = torch.where(real.unsqueeze(-1), line, -torch.inf)
        peaks, seen = line.cummax(1).values, real.any(1)
        output = torch.where(mask.unsqueeze(-1), peaks[:, 1:], 0)
        return output, MaxState(torch.where(seen.unsqueeze(-1), peaks[:, -1], 0), seen)

    def whole(self, x: Tensor, mask: Tensor | None = None) -> Float[Tensor, "batch size"]:
        """One maximum."""
        if not x.shape[1]:
            return x.new_zeros(x.shape[0], x.shape[2])
        if mask is None:
            return x.amax(1)
        peak = torch.where(mask.unsqueeze(-1), x, -torch.inf).amax(1)
        return torch.where(mask.any(1, keepdim=True), peak, 0)


class AttentionPooling(Pooling):
    r"""A mean of all real steps so far, by how much each has to say.

    $$e_t = w^\top \tanh(V x_t + b), \qquad
    y_t = \sum_{i \le t} \frac{\exp e_i}{\sum_{j \le t} \exp e_j} x_i$$

    Args:
        size: features per step, in and out.
        hidden_size: rows of V; None: as many as `size`.

    Attributes:
        weight: V, `[hidden_size, size]`; Glorot uniform.
        bias: b, `[hidden_size]`; zeros.
        query: w, `[hidden_size]`; zeros, so that an untrained layer takes the plain mean.

    Shapes:
        - `state`: `WeighedState`; `None` means that nothing was seen.

    Examples:
        >>> AttentionPooling(1)(torch.tensor([[[1.0], [3.0], [8.0]]]))[0].flatten().tolist()
        [1.0, 2.0, 4.0]

    References:
        Yang et al. 2016, "Hierarchical attention networks for document classification".
    """

    def __init__(self, size: int, hidden_size: int | None = None) -> None:
        super().__init__(size)
        hidden_size = size if hidden_size is None else hidden_size
        check_size("AttentionPooling", "hidden_size", hidden_size)
        self.weight = nn.Parameter(torch.empty(hidden_size, size))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        self.query = nn.Parameter(torch.empty(hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot, and zeros."""
        nn.init.xavier_uniform_(self.weight)
        nn.init.zeros_(self.bias)
        nn.init.zeros_(self.query)

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> WeighedState:
        """Nothing seen."""
        like = self.like()
        return WeighedState(
            like.new_zeros(batch_size, self.size, device=device, dtype=dtype),
            like.new_zeros(batch_size, device=device, dtype=dtype),
            torch.zeros(batch_size, dtype=torch.bool, device=device or like.device),
        )

    def scores(self, x: Float[Tensor, "batch time size"]) -> Float[Tensor, "batch time"]:
        """How much each step has to say."""
        return linear(x, self.weight, self.bias).tanh() @ self.query

    def scan(self, x: Tensor, state: Any, mask: Tensor) -> tuple[Tensor, WeighedState]:
        """What came before counts as one step with the sum of its weights.

        Sums are in double: the weights of a prefix may be tiny beside those of the whole.
        """
        real = torch.cat([state.seen.unsqueeze(1), mask], 1)
        scores = torch.cat([state.weight.unsqueeze(1), self.scores(x)], 1).double()
        scores = torch.where(real, scores, -torch.inf)
        peak = torch.where(real.any(1), scores.detach().amax(1), 0)
        shares = (scores - peak.unsqueeze(1)).exp().unsqueeze(-1)
        weights = shares.cumsum(1)
        weights = torch.where(real.cummax(1).values.unsqueeze(-1), weights, 1)
        line = torch.cat([state.mean.unsqueeze(1), x], 1)
        means = ((shares * line).cumsum(1) / weights).to(x.dtype)
        output, seen = torch.where(mask.unsqueeze(-1), means[:, 1:], 0), real.any(1)
        weight = torch.where(seen, peak + weights[:, -1, 0].log(), 0).to(state.weight.dtype)
        return output, WeighedState(means[:, -1], weight, seen)

    def whole(self, x: Tensor, mask: Tensor | None = None) -> Float[Tensor, "batch size"]:
        """One softmax."""
        if mask is None:
            mask = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        x = torch.where(mask.unsqueeze(-1), x, 0)
        return (self.shares(x, mask).unsqueeze(1) @ x).squeeze(1)

    def shares(
        self, x: Float[Tensor, "batch time size"], mask: Bool[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time"]:
        """The share of each step in the whole, with a sum of 1; zeros where no step is real."""
        scores = torch.where(mask, self.scores(x), -torch.inf)
        if not x.shape[1]:
            return scores
        none = ~mask.any(1, keepdim=True)
        return torch.where(none, 0, torch.where(none, 0, scores).softmax(1))


def make_pooling(kind: str, size: int) -> Pooling | None:
    """The layer of a pooling; None for `last`."""
    layers = {"mean": MeanPooling, "max": MaxPooling, "attention": AttentionPooling}
    return layers[kind](size) if kind in layers else None


def mean(
    x: Float[Tensor, "batch time size"], mask: Bool[Tensor, "batch time"] | None = None
) -> Float[Tensor, "batch size"]:
    """The mean of the real steps; zeros where there is none."""
    if mask is None:
        mask = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
    total = torch.where(mask.unsqueeze(-1), x, 0).sum(1)
    return total / mask.sum(1, keepdim=True).clamp(min=1)


def ends(
    x: Float[Tensor, "batch time size"], mask: Bool[Tensor, "batch time"] | None = None
) -> Float[Tensor, "batch size"]:
    """The first half of the last real step, the second half of the first; zeros without steps."""
    batch, time, size = x.shape
    if time == 0:
        return x.new_zeros(batch, size)
    if mask is None:
        mask = torch.ones(batch, time, dtype=torch.bool, device=x.device)
    places = torch.arange(time, device=x.device)
    last = torch.where(mask, places, 0).amax(1)
    first = torch.where(mask, places, time - 1).amin(1)
    rows = torch.arange(batch, device=x.device)
    half = (size + 1) // 2
    both = torch.cat([x[rows, last, :half], x[rows, first, half:]], dim=-1)
    return torch.where(mask.any(1, keepdim=True), both, 0)


def last(
    x: Float[Tensor, "batch time size"], mask: Bool[Tensor, "batch time"] | None = None
) -> Float[Tensor, "batch size"]:
    """The last real step; zeros where there is none."""
    if x.shape[1] == 0:
        return x.new_zeros(x.shape[0], x.shape[2])
    if mask is None:
        return x[:, -1]
    places = torch.where(mask, torch.arange(x.shape[1], device=x.device), 0).amax(1)
    found = x[torch.arange(x.shape[0], device=x.device), places]
    return torch.where(mask.any(1, keepdim=True), found, 0)
