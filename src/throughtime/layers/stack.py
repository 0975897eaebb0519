"""Layers on top of each other, around each other, and in both directions."""

import copy
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from throughtime.errors import InputError
from throughtime.layers.base import Layer
from throughtime.shapes import Bool, Float, Tensor
from throughtime.state import State
from throughtime.taps import turned


class Stack(Layer):
    """Layers on top of each other; the state is the tuple of their states.

    Args:
        layers: from the bottom to the top; at least one. Anything that keeps the contract will do.

    Shapes:
        - `x`: what the first layer takes.
        - `state`: a tuple with one state per layer. `()` where any of the layers sees the whole
          input at once: then the stack does so too.
        - `mask`, `reset`: handed to every layer.
        - `output`: what the last layer gives.

    Errors:
        InputError: no layers, or two whose sizes do not meet.

    Examples:
        >>> from throughtime.layers import GRU, LSTM
        >>> layer = Stack(LSTM(3, 5), GRU(5, 4))
        >>> output, (lstm_state, gru_state) = layer(torch.randn(2, 7, 3))
        >>> output.shape, lstm_state.cell.shape, gru_state.hidden.shape
        (torch.Size([2, 7, 4]), torch.Size([2, 5]), torch.Size([2, 4]))
    """

    knows_none = True

    def __init__(self, *layers: Layer) -> None:
        super().__init__()
        if not layers:
            raise InputError("Stack: expected at least one layer, got none")
        size = layers[0].input_size
        for below, above in pairwise(layers):
            size = below.output_size if below.output_size is not None else size
            if None not in (size, above.input_size) and size != above.input_size:
                raise InputError(
                    f"Stack: {type(below).__name__} gives {size} features, "
                    f"{type(above).__name__} above it takes {above.input_size}"
                )
        self.layers: nn.ModuleList = nn.ModuleList(layers)
        self.input_size = layers[0].input_size
        sizes = [layer.output_size for layer in layers if layer.output_size is not None]
        self.output_size = sizes[-1] if sizes else None
        self.causal = all(layer.causal for layer in layers)

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> tuple[State, ...]:
        """The tuple of the layers' initial states."""
        if not self.causal:
            return ()
        return tuple(
            layer.initial_state(batch_size, device=device, dtype=dtype)  # pyright: ignore
            for layer in self.layers
        )

    def check(self, x: Tensor, state: State, mask: Tensor | None, reset: Tensor | None) -> None:
        """Each layer checks its own input; here only the number of states."""
        if not self.causal:
            self.check_state(state, x.shape[0])
        elif state is not None and (not isinstance(state, tuple) or len(state) != len(self.layers)):
            came = f"{len(state)} states" if isinstance(state, tuple) else type(state).__name__
            raise InputError(
                f"Stack: state has {came}, expected a tuple of {len(self.layers)}, one per layer"
            )

    def run(
        self,
        x: Tensor,
        state: State,
        mask: Bool[Tensor, "batch time"] | None,
        reset: Bool[Tensor, "batch time"] | None,
    ) -> tuple[Tensor, State]:
        """From the bottom to the top."""
        states = state if self.causal and state is not None else (None,) * len(self.layers)
        after = []
        for layer, before in zip(self.layers, states, strict=True):
            x, now = layer(x, before, mask, reset)
            after.append(now)
        return x, tuple(after) if self.causal else ()


class Residual(Layer):
    r"""The input added to the layer's output: $y = x + \mathrm{layer}(x)$.

    Args:
        layer: must give as many features as it takes.

    Shapes:
        - `x`, `output`: `[batch, time, features]`; padded steps give zeros.
        - `state`, `mask`, `reset`: the layer's.

    Errors:
        InputError: the layer's output has another size than its input.

    Examples:
        >>> from throughtime.layers import LSTM
        >>> Residual(LSTM(4, 4))(torch.randn(2, 3, 4))[0].shape
        torch.Size([2, 3, 4])

    References:
        He et al. 2016, "Deep residual learning for image recognition".
    """

    knows_none = True

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        if layer.output_size not in (None, layer.input_size):
            raise InputError(
                f"Residual: {type(layer).__name__} takes {layer.input_size} features "
                f"and gives {layer.output_size}; the two are added, so they must be equal"
            )
        self.layer = layer
        self.input_size = layer.input_size
        self.output_size = layer.output_size
        self.causal = layer.causal

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        """The layer's."""
        return self.layer.initial_state(batch_size, device=device, dtype=dtype)

    def check(self, x: Tensor, state: State, mask: Tensor | None, reset: Tensor | None) -> None:
        """The layer checks."""

    def run(
        self,
        x: Float[Tensor, "batch time features"],
        state: State,
        mask: Bool[Tensor, "batch time"] | None,
        reset: Bool[Tensor, "batch time"] | None,
    ) -> tuple[Float[Tensor, "batch time features"], State]:
        """Run the layer, then add."""
        output, state = self.layer(x, state, mask, reset)
        skip = x if mask is None else torch.where(mask.unsqueeze(-1), x, 0)
        return skip + output, state


class Bidirectional(Layer):
    """One layer over time and another against it; their outputs side by side.

    It sees the whole input, so it has no state and refuses one.

    Args:
        layer: runs forwards.
        backward: runs backwards; by default a copy of `layer` with weights of its own, freshly
            drawn.

    Shapes:
        - `x`: `[batch, time, input_size]`.
        - `mask`: `[batch, time]`; any padding, which neither direction sees.
        - `reset`: `[batch, time]`, True where a new sequence begins; nothing crosses it either way.
        - `output`: `[batch, time, forward output_size + backward output_size]`.

    Errors:
        InputError: layers that are not causal or take inputs of different size; a state.

    Examples:
        >>> from throughtime.layers import GRU
        >>> output, state = Bidirectional(GRU(3, 5))(torch.randn(2, 7, 3))
        >>> output.shape, state
        (torch.Size([2, 7, 10]), ())

    References:
        Schuster and Paliwal 1997, "Bidirectional recurrent neural networks".
    """

    causal = False

    def __init__(self, layer: Layer, backward: Layer | None = None) -> None:
        super().__init__()
        if backward is None:
            backward = copy.deepcopy(layer)
            for module in backward.modules():
                if isinstance(module, Layer):
                    module.reset_parameters()
        for one in (layer, backward):
            if not one.causal:
                raise InputError(
                    f"Bidirectional: {type(one).__name__} sees both directions already"
                )
        if layer.input_size != backward.input_size:
            raise InputError(
                f"Bidirectional: the layers take {layer.input_size} and {backward.input_size} "
                "features, expected the same"
            )
        self.over = layer
        self.against = backward
        self.input_size = layer.input_size
        if layer.output_size is None or backward.output_size is None:
            self.output_size = None
        else:
            self.output_size = layer.output_size + backward.output_size

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
        """The layers check their input; a state is refused here."""
        self.check_state(state, x.shape[0])

    def run(
        self,
        x: Float[Tensor, "batch time features"],
        state: Any,
        mask: Bool[Tensor, "batch time"] | None,
        reset: Bool[Tensor, "batch time"] | None,
    ) -> tuple[Float[Tensor, "batch time both"], tuple[()]]:
        """Turn time around for the second layer, and its output back."""
        first, _ = self.over(x, None, mask, reset)
        return torch.cat([first, against_time(self.against, x, mask, reset)], dim=-1), ()


def against_time(
    layer: Layer,
    x: Float[Tensor, "batch time features"],
    mask: Bool[Tensor, "batch time"] | None,
    reset: Bool[Tensor, "batch time"] | None,
) -> Float[Tensor, "batch time output"]:
    """What a layer gives that meets the last step first, in the order of the input."""
    turned_mask = None if mask is None else mask.flip(1)
    output, _ = turned(layer)(x.flip(1), None, turned_mask, _turn(reset))
    return output.flip(1)


def _turn(reset: Tensor | None) -> Tensor | None:
    """Against time a sequence begins one step before the next one does."""
    if reset is None or reset.shape[1] == 0:
        return reset
    return torch.cat([reset[:, 1:], torch.zeros_like(reset[:, :1])], dim=1).flip(1)
