"""The level of a series, followed as it drifts."""

from typing import NamedTuple

import torch

from throughtime.errors import InputError
from throughtime.layers.base import Layer, check_size
from throughtime.models.scaling import latest, running_sum
from throughtime.shapes import Bool, Float, Tensor
from throughtime.state import register


@register
class LevelState(NamedTuple):
    """What a running level remembers.

    Attributes:
        total: `[batch, size]`, the discounted sum of the observed values.
        weight: `[batch, size]`, the discounted count of them.
    """

    total: Float[Tensor, "batch size"]
    weight: Float[Tensor, "batch size"]


class RunningLevel(Layer):
    r"""The mean of the past, in which a value counts half after each half-life.

    $$m_t = \frac{\sum_{s \le t} a^{t-s} x_s}{\sum_{s \le t} a^{t-s}}, \qquad a = 2^{-1/h}$$

    over the values observed; 0 before there is one. It does for a series that drifts what a mean
    does for one that does not: a model that sees values relative to it meets nothing new where
    the series has moved on.

    Args:
        size: D, numbers per step.
        half_life: h, in steps; real steps count, whether or not anything was observed at them.

    Shapes:
        - `x`: `[batch, time, size]`; NaN is a real step at which nothing was observed.
        - `state`: `LevelState`, each part `[batch, size]`; `None` is nothing observed.
        - `mask`, `reset`: `[batch, time]`, see [`Layer`][throughtime.layers.Layer].
        - `output`: `[batch, time, size]`.

    Laws:
        - Causal, chunkable, padding-invariant. No loop over steps, only over blocks of them.

    Examples:
        >>> layer = RunningLevel(1, half_life=1)
        >>> level, _ = layer(torch.tensor([[[4.0], [1.0], [1.0]]]))
        >>> [round(m, 3) for m in level.flatten().tolist()]
        [4.0, 2.0, 1.429]

    References:
        Exponential smoothing inside a network: Smyl 2020, "A hybrid method of exponential
        smoothing and recurrent neural networks for time series forecasting".
    """

    anchor: Tensor

    def __init__(self, size: int, half_life: float | int) -> None:
        super().__init__()
        check_size("RunningLevel", "size", size)
        if not 0 < half_life < float("inf"):
            raise InputError(f"RunningLevel: half_life is {half_life}, expected steps, above 0")
        self.input_size = self.output_size = self.size = size
        self.half_life = float(half_life)
        # Within a block sums grow by 2^4 at most, which costs no precision worth having.
        self.block = max(1, int(4 * half_life))
        self.register_buffer("anchor", torch.empty(0), persistent=False)

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> LevelState:
        """Nothing observed."""
        zeros = self.anchor.new_zeros(batch_size, self.size, device=device, dtype=dtype)
        return LevelState(zeros, zeros.clone())

    def run(
        self,
        x: Float[Tensor, "batch time size"],
        state: LevelState,
        mask: Bool[Tensor, "batch time"] | None,
        reset: Bool[Tensor, "batch time"] | None,
    ) -> tuple[Float[Tensor, "batch time size"], LevelState]:
        """Block after block."""
        pieces: list[Tensor] = []
        for start in range(0, x.shape[1], self.block):
            part = slice(start, start + self.block)
            cut = [None if mark is None else mark[:, part] for mark in (mask, reset)]
            level, state = self._block(x[:, part], state, *cut)
            pieces.append(level)
        level = torch.cat(pieces, dim=1) if pieces else x
        return level if mask is None else torch.where(mask.unsqueeze(-1), level, 0), state

    def _block(
        self, x: Tensor, state: LevelState, mask: Tensor | None, reset: Tensor | None
    ) -> tuple[Tensor, LevelState]:
        """Sums in units that grow while the past fades: a^-t x_t is added up, then scaled back."""
        real = torch.ones_like(x[..., 0], dtype=torch.bool) if mask is None else mask
        seen = ~x.isnan() & real.unsqueeze(-1)
        age = real.cumsum(1).to(x.dtype).unsqueeze(-1)  # steps since the block began
        grown = torch.exp2(age / self.half_life)
        begins = latest(reset, x)
        values = torch.where(seen, x, 0)
        total = running_sum(values * grown, state.total, begins) / grown
        weight = running_sum(seen * grown, state.weight, begins) / grown
        level = torch.where(weight > 0, total / weight.clamp_min(1e-30), 0)
        return level, LevelState(total[:, -1], weight[:, -1])

    def extra_repr(self) -> str:
        """Size and half-life, for printing."""
        return f"size={self.size}, half_life={self.half_life:g}"
