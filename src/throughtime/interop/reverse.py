"""A layer whose time runs backwards."""

from typing import Any

import torch

from throughtime.errors import InputError
from throughtime.layers import Layer
from throughtime.layers.stack import against_time
from throughtime.shapes import Bool, Float, Tensor
from throughtime.state import State


class Reverse(Layer):
    """One layer run against time: it meets the last real step first.

    The outputs stand in the order of the input. The layer needs the whole input at once, so it has
    no state and refuses one. It is one half of a [`Bidirectional`][throughtime.Bidirectional].

    Args:
        layer: runs backwards; must be causal.

    Shapes:
        - `x`, `output`: the layer's.
        - `mask`: `[batch, time]`; any padding, which the layer does not see.
        - `reset`: `[batch, time]`, True where a new sequence begins; nothing crosses it.

    Errors:
        InputError: a layer that is not causal; a state.

    Examples:
        >>> from throughtime import LSTM
        >>> layer, x = LSTM(3, 5), torch.randn(2, 7, 3)
        >>> torch.equal(Reverse(layer)(x)[0], layer(x.flip(1))[0].flip(1))
        True
    """

    causal = False

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        if not layer.causal:
            raise InputError(f"Reverse: {type(layer).__name__} sees both directions already")
        self.layer = layer
        self.input_size = layer.input_size
        self.output_size = layer.output_size

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> tuple[()]:
        """Nothing: no call goes on from another."""
        return ()

    def check(self, x: Tensor, state: State, mask: Tensor | None, reset: Tensor | None) -> None:
        """The layer checks its input; a state is refused here."""
        self.check_state(state, x.shape[0])

    def run(
        self,
        x: Float[Tensor, "batch time features"],
        state: Any,
        mask: Bool[Tensor, "batch time"] | None,
        reset: Bool[Tensor, "batch time"] | None,
    ) -> tuple[Float[Tensor, "batch time output"], tuple[()]]:
        """Turn time around for the layer, and its output back."""
        return against_time(self.layer, x, mask, reset), ()
