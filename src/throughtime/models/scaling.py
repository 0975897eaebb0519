"""The size of a series, learned as it passes: what makes series of all sizes look alike to a model.

It lives inside the model and in its state, so that a stream is scaled exactly as the whole series
was in training, and it is causal: what is known at a step comes from that step and earlier ones.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from throughtime.errors import InputError
from throughtime.layers.base import Layer, check_size
from throughtime.shapes import Bool, Float, Tensor
from throughtime.state import register

KINDS = ("none", "fixed", "mean", "standard")


class Scaling(NamedTuple):
    """What is known of each series after each step, in the units of the series.

    Attributes:
        location: `[batch, time, size]`, where its values lie.
        scale: `[batch, time, size]`, how far they spread; above 0.
        last: `[batch, time, size]`, the last observed value; the location before there is one.
    """

    location: Float[Tensor, "batch time size"]
    scale: Float[Tensor, "batch time size"]
    last: Float[Tensor, "batch time size"]


@register
class ScaleState(NamedTuple):
    """What a running scale remembers, in units of the prior: (value - location) / scale.

    A part that its kind has no use for is `[batch, 0]`.

    Attributes:
        count: `[batch, size]`, how many values were observed.
        total: `[batch, size]`, their sum: of sizes with `mean`, of distances from `first` with
            `standard`.
        square: `[batch, size]`, the sum of the squared distances; with `standard`.
        first: `[batch, size]`, the first value; with `standard`. Sums of distances from it stay
            precise where a series lies far from the prior.
        last: `[batch, size]`, the last value.
    """

    count: Float[Tensor, "batch size"]  # pyright: ignore[reportIncompatibleMethodOverride]
    total: Float[Tensor, "batch own"]
    square: Float[Tensor, "batch spread"]
    first: Float[Tensor, "batch spread"]
    last: Float[Tensor, "batch size"]


class RunningScale(Layer):
    r"""Location, scale and last value of each series, up to and with each step.

    With $n$ values observed so far, their mean $\bar x$, and the prior location $m_0$ and scale
    $s_0$ taken from the training data:

    | kind | location | scale |
    |---|---|---|
    | `none` | 0 | 1 |
    | `fixed` | $m_0$ | $s_0$ |
    | `mean` | 0 | $\log s = (w \log s_0 + n \log \overline{\lvert x \rvert}) / (w + n)$ |
    | `standard` | $\bar x$ | $\log s = (w \log s_0 + (n-1) \log \hat\sigma) / (w + n - 1)$ |

    The mean of a series and its prior meet as logarithms: among series of very different size an
    arithmetic mean would be the prior's for hundreds of steps.

    Args:
        size: D, numbers per step.
        kind: `none`, `fixed`, `mean` or `standard`.
        weight: w, how many observed steps the prior counts for.

    Attributes:
        prior_location: $m_0$, `[size]`; a buffer, 0 before `fit`.
        prior_scale: $s_0$, `[size]`; a buffer, 1 before `fit`.

    Shapes:
        - `x`: `[batch, time, size]`; NaN is a real step at which nothing was observed.
        - `state`: [`ScaleState`][throughtime.models.scaling.ScaleState]; `None`: nothing observed.
        - `mask`, `reset`: `[batch, time]`, see [`Layer`][throughtime.layers.Layer].
        - `output`: `[batch, time, 3 * size]`: location, scale and last value, in the units of the
          series; see [`Scaling`][throughtime.models.scaling.Scaling].

    Laws:
        - Causal, chunkable, padding-invariant. No loop over time.

    Examples:
        >>> layer = RunningScale(1, kind="mean", weight=0.0)
        >>> output, state = layer(torch.tensor([[[2.0], [-4.0], [torch.nan], [6.0]]]))
        >>> [round(scale, 4) for scale in output[0, :, 1].tolist()]
        [2.0, 3.0, 3.0, 4.0]

    References:
        Scaling each series by its mean: Salinas et al. 2020, "DeepAR".
    """

    prior_location: Tensor
    prior_scale: Tensor

    FLOOR = 1e-3
    """No running scale falls below this share of the prior one: zeros have a scale too."""

    def __init__(self, size: int, kind: str = "fixed", *, weight: float = 2.0) -> None:
        super().__init__()
        check_size("RunningScale", "size", size)
        if kind not in KINDS:
            raise InputError(f"RunningScale: kind is {kind!r}, expected one of {[*KINDS]}")
        if not weight >= 0:
            raise InputError(f"RunningScale: weight is {weight}, expected steps, 0 or more")
        self.kind = kind
        self.weight = weight
        self.size = size
        self.input_size = size
        self.output_size = 3 * size
        self.register_buffer("prior_location", torch.zeros(size))
        self.register_buffer("prior_scale", torch.ones(size))

    @torch.no_grad()
    def fit(self, values: Tensor | Sequence[Tensor]) -> None:
        """Take the prior from training data.

        With `fixed` all values count alike. With `mean` and `standard` it is the middle of the
        series (the geometric mean of their scales), for there each series has its own.

        Args:
            values: `[series, time, size]`, NaN where missing or padded; or one `[time, size]` per
                series.

        Errors:
            InputError: another number of values per step, or infinite ones.
        """
        x = pad(values).to(self.prior_scale.device, torch.float64)
        if x.ndim != 3 or x.shape[-1] != self.size:
            raise InputError(
                f"RunningScale: values have shape {list(x.shape)}, "
                f"expected [series, time, {self.size}]"
            )
        if x.isinf().any():
            raise InputError("RunningScale: values hold infinity, expected finite numbers")
        if self.kind == "none":
            return
        if self.kind == "fixed":
            x = x.flatten(0, 1).unsqueeze(0)
        if self.kind == "mean":
            each = x.abs().nanmean(1)
            location = torch.zeros_like(each)
        else:
            location = x.nanmean(1)
            each = (x - location.unsqueeze(1)).square().nanmean(1).sqrt()
        level = location.nanmean(0).nan_to_num()
        # Where no series moves at all (constant, or empty), its size is the next best unit.
        spread = torch.where(each > 1e-12 * level.abs(), each.log(), torch.nan).nanmean(0).exp()
        spread = torch.where(spread.isnan(), level.abs(), spread)
        self.prior_location.copy_(level)
        self.prior_scale.copy_(torch.where(spread > 0, spread, 1))

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> ScaleState:
        """Nothing observed."""
        own = self.size if self.kind in ("mean", "standard") else 0
        spread = self.size if self.kind == "standard" else 0
        return ScaleState(
            *(
                self.prior_scale.new_zeros(batch_size, size, device=device, dtype=dtype)
                for size in (self.size, own, spread, spread, self.size)
            )
        )

    def run(
        self,
        x: Float[Tensor, "batch time size"],
        state: ScaleState,
        mask: Bool[Tensor, "batch time"] | None,
        reset: Bool[Tensor, "batch time"] | None,
    ) -> tuple[Float[Tensor, "batch time three"], ScaleState]:
        """What `observe` finds, side by side; zeros in padded steps."""
        scaling, _, state = self.observe(x, state, mask, reset)
        output = torch.cat(scaling, dim=-1)
        return output if mask is None else torch.where(mask.unsqueeze(-1), output, 0), state

    def observe(
        self,
        x: Float[Tensor, "batch time size"],
        state: ScaleState,
        mask: Bool[Tensor, "batch time"] | None = None,
        reset: Bool[Tensor, "batch time"] | None = None,
    ) -> tuple[Scaling, Float[Tensor, "batch time size"], ScaleState]:
        """What is known after each step; the last value before each step; the state.

        Nothing is set to zero in padded steps here: they repeat what was known before.
        """
        seen = ~x.isnan() if mask is None else ~x.isnan() & mask.unsqueeze(-1)
        y = torch.where(seen, (x - self.prior_location) / self.prior_scale, 0)
        begins = latest(reset, x)
        known = self.sums(y, seen, state, begins)
        location, scale = self.estimate(known)
        before = torch.cat([state.last.unsqueeze(1), known.last], dim=1)[:, : x.shape[1]]
        if reset is not None:
            before = torch.where(reset.unsqueeze(-1), 0, before)
        return (
            Scaling(location, scale, self.restore(known.last)),
            self.restore(before),
            ScaleState(*(part[:, -1] for part in known)) if x.shape[1] else state,
        )

    def sums(
        self,
        y: Float[Tensor, "batch time size"],
        seen: Bool[Tensor, "batch time size"],
        state: ScaleState,
        begins: Tensor | None,
    ) -> ScaleState:
        """The state after every step: parts `[batch, time, size]`."""
        none = y[..., :0]
        n = running_sum(seen.to(y.dtype), state.count, begins)
        last = _latest_value(y, seen, state.last, begins)
        if self.kind in ("none", "fixed"):
            return ScaleState(n, none, none, none, last)
        if self.kind == "mean":
            total = running_sum(y.abs(), state.total, begins)
            return ScaleState(n, total, none, none, last)
        first = _latest_value(y, seen & (n == 1), state.first, begins)
        distance = torch.where(seen, y - first, 0)
        total = running_sum(distance, state.total, begins)
        square = running_sum(distance.square(), state.square, begins)
        return ScaleState(n, total, square, first, last)

    def estimate(self, known: ScaleState) -> tuple[Tensor, Tensor]:
        """Location and scale in the units of the series, from what is remembered."""
        if self.kind in ("none", "fixed"):
            location = self.restore(torch.zeros_like(known.last))
            return location, self.prior_scale.expand_as(location)
        n = known.count
        centre = known.total / n.clamp_min(1)
        if self.kind == "mean":
            location, own, strength = torch.zeros_like(n), centre, n
        else:
            location = known.first + centre
            spare = known.square - n * centre.square()
            own = (spare / (n - 1).clamp_min(1)).clamp_min(self.FLOOR**2).sqrt()
            strength = (n - 1).clamp_min(0)
        strength = strength / (self.weight + strength).clamp_min(1e-12)  # 0 / 0 is 0: prior only
        relative = (strength * own.clamp_min(self.FLOOR).log()).exp()
        return self.restore(location), self.prior_scale * relative

    def restore(self, y: Tensor) -> Tensor:
        """From units of the prior to those of the series."""
        return self.prior_location + self.prior_scale * y

    def extra_repr(self) -> str:
        """Size and kind, for printing."""
        return f"size={self.size}, kind={self.kind!r}"


def pad(values: Tensor | Sequence[Tensor]) -> Tensor:
    """Series of any lengths, each `[time, size]`, as one `[series, time, size]` with NaN behind."""
    if isinstance(values, Tensor):
        return values
    return torch.nn.utils.rnn.pad_sequence(list(values), batch_first=True, padding_value=torch.nan)


def latest(reset: Tensor | None, x: Tensor) -> Tensor | None:
    """`[batch, time, 1]`, the step at which the present sequence began; -1: before this chunk."""
    if reset is None:
        return None
    steps = torch.arange(x.shape[1], device=x.device)
    return torch.where(reset, steps, -1).cummax(dim=1).values.unsqueeze(-1)


def running_sum(x: Tensor, carried: Tensor, begins: Tensor | None) -> Tensor:
    """Sums over time since the sequence began, the earlier chunks' included."""
    sums = x.cumsum(1)
    if begins is None:
        return carried.unsqueeze(1) + sums
    # What does not belong to a sequence that began at step b: the sum up to b - 1. It stands at
    # place b + 1; the place of "began before this chunk", b = -1, adds what was carried.
    zero = torch.zeros_like(carried)
    outside = torch.cat([-carried.unsqueeze(1), zero.unsqueeze(1), sums], dim=1)
    left_out = outside.gather(1, (begins + 1).expand_as(sums))
    return sums - left_out


def _latest_value(y: Tensor, chosen: Tensor, carried: Tensor, begins: Tensor | None) -> Tensor:
    """The latest chosen value since the sequence began; 0 where there was none."""
    steps = torch.arange(y.shape[1], device=y.device).unsqueeze(-1)
    index = torch.where(chosen, steps, -1).cummax(dim=1).values
    line = torch.cat([carried.unsqueeze(1), y], dim=1)
    value = line.gather(1, index + 1)
    return value if begins is None else torch.where(index >= begins, value, 0)
