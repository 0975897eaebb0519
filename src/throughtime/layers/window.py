"""The fixed past timespan."""

from typing import NamedTuple

import torch

from throughtime.errors import InputError
from throughtime.layers.base import Layer, check_size
from throughtime.shapes import Bool, Float, Tensor
from throughtime.state import register


@register
class WindowState(NamedTuple):
    """What a window remembers.

    Attributes:
        past: `[batch, size - 1, input_size]`, the last real inputs, the oldest first.
    """

    past: Float[Tensor, "batch past input"]


class Window(Layer):
    r"""A fixed past timespan: each output is the last `size` real inputs, side by side.

    $$y_t = [x_{t-n+1}, \ldots, x_{t-1}, x_t]$$

    Everything before the window is forgotten; before the first step there are zeros. Followed by
    a linear layer this is linear autoregression, or a causal convolution.

    Args:
        size: n, in steps, the present one included.
        input_size: features per step; 1 is a single series.

    Shapes:
        - `x`: `[batch, time, input_size]`; time is counted in steps.
        - `state`: `WindowState`, `[batch, size - 1, input_size]`; `None` means zeros.
        - `mask`, `reset`: `[batch, time]`, see [`Layer`][throughtime.layers.Layer]. Padded steps
          take no place in the window.
        - `output`: `[batch, time, size * input_size]`; the oldest step first.

    Laws:
        - Causal, with a receptive field of exactly `size` real steps.
        - Chunkable: any split of time gives the same outputs, state and gradients.
        - Padding-invariant: what stands in a padded step changes nothing.

    Examples:
        >>> layer = Window(3)
        >>> output, state = layer(torch.tensor([[[1.0], [2.0], [3.0], [4.0]]]))
        >>> output[0].tolist()
        [[0.0, 0.0, 1.0], [0.0, 1.0, 2.0], [1.0, 2.0, 3.0], [2.0, 3.0, 4.0]]
        >>> state.past[0].flatten().tolist()
        [3.0, 4.0]
    """

    anchor: Tensor

    def __init__(self, size: int, input_size: int = 1) -> None:
        super().__init__()
        check_size("Window", "size", size)
        check_size("Window", "input_size", input_size)
        self.size = size
        self.input_size = self.features = input_size
        self.output_size = size * input_size
        # A window has no weights; this empty tensor moves with .to() and says where and what it is.
        self.register_buffer("anchor", torch.empty(0), persistent=False)

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> WindowState:
        """Zeros."""
        past = (batch_size, self.size - 1, self.features)
        return WindowState(self.anchor.new_zeros(past, device=device, dtype=dtype))

    def run(
        self,
        x: Float[Tensor, "batch time input"],
        state: WindowState,
        mask: Bool[Tensor, "batch time"] | None,
        reset: Bool[Tensor, "batch time"] | None,
    ) -> tuple[Float[Tensor, "batch time window"], WindowState]:
        """Gather, for every step, the real inputs that stand in its window."""
        batch, time, _ = x.shape
        past = self.size - 1
        if mask is not None:
            x = torch.where(mask.unsqueeze(-1), x, 0)
        line = torch.cat([state.past, x], dim=1)  # -> (B, P + T, I)
        if mask is None and reset is None and time:
            output = line.unfold(1, self.size, 1).transpose(2, 3).flatten(2)
            return output, WindowState(line[:, time:])

        # Write the remembered and the real steps without gaps: `slot` is the place of each.
        real = torch.ones(batch, time, dtype=torch.bool, device=x.device) if mask is None else mask
        taken = real.cumsum(1)  # real steps up to and including t
        slot = torch.where(real, past - 1 + taken, past + time)  # the last place is a dump
        ahead = torch.arange(past, device=x.device).expand(batch, past)
        places = torch.cat([ahead, slot], dim=1).unsqueeze(-1).expand_as(line)
        dense = line.new_zeros(batch, past + time + 1, self.features).scatter(1, places, line)

        # A window ends at the latest real step and starts no earlier than the sequence did.
        back = torch.arange(past, -1, -1, device=x.device)
        begins = torch.zeros_like(taken) if reset is None else _first_slot(reset, real, taken, past)
        ends = past - 1 + torch.cat([taken, taken.new_zeros(batch, 1)], dim=1)
        begins = torch.cat([begins, begins.new_zeros(batch, 1)], dim=1)
        if time:
            ends[:, -1], begins[:, -1] = ends[:, -2], begins[:, -2]
        else:
            ends[:, -1] = past - 1
        index = ends.unsqueeze(-1) - back  # -> (B, T + 1, N); the last row is what is remembered
        inside = index >= begins.unsqueeze(-1)
        rows = torch.arange(batch, device=x.device)[:, None, None]
        windows = torch.where(inside.unsqueeze(-1), dense[rows, index.clamp(min=0)], 0)
        output = windows[:, :-1].flatten(2)
        if mask is not None:
            output = torch.where(mask.unsqueeze(-1), output, 0)
        return output, WindowState(windows[:, -1, 1:])

    def extra_repr(self) -> str:
        """Sizes, for printing."""
        return f"size={self.size}, input_size={self.input_size}"

    def check_dtype(self, x: Tensor) -> None:
        """Refuse what is not a number with a fraction; the window itself has no weights."""
        if not x.is_floating_point():
            raise InputError(f"Window: x is {x.dtype}, expected a floating-point type")
        super().check_dtype(x)


def _first_slot(reset: Tensor, real: Tensor, taken: Tensor, past: int) -> Tensor:
    """The place of the first real step since the latest reset, or 0 where there was none."""
    before = past + taken - real.long()  # where a real step at t would stand
    return torch.where(reset, before, 0).cummax(dim=1).values
