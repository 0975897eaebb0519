"""What every layer is: the contract, its checks, and the two abstract kinds that keep it."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import nn

from throughtime import kernels
from throughtime.errors import InputError
from throughtime.kernels.compiled import plain, transformed
from throughtime.shapes import Bool, Tensor
from throughtime.state import State, map_tensors, structure
from throughtime.taps import Steps, historic, on_steps, replaced, watched


class Layer(nn.Module):
    """The contract: `output, state = layer(x, state, mask, reset)`.

    Subclasses implement `initial_state` and `run`; the checks and the meaning of `None` are
    settled here, once. `None` reaches `run` where `knows_none` says so: a layer that costs less
    when nothing came before, or one that hands its state down to such layers.

    Attributes:
        input_size: features per step of `x`; None where `x` holds token ids or any number will do.
        output_size: features per step of the output; None where it is that of the input.
        causal: whether an output depends on its own step and earlier ones only. A layer that is
            not causal sees the whole input at once, has no state and refuses one.
        knows_none: whether `run` takes None for the initial state.
        taps: the values that can be seen and replaced, from name to description; see
            [`record`][throughtime.inspect.record].
    """

    input_size: int | None
    output_size: int | None
    causal: bool = True
    knows_none: ClassVar[bool] = False
    taps: Mapping[str, str] = MappingProxyType({})

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        """The state before anything was seen: zeros, unless the layer learns it.

        Args:
            batch_size: rows.
            device: where it lies; the layer's own device by default.
            dtype: its type; the layer's own by default.
        """
        raise NotImplementedError

    def run(
        self,
        x: Tensor,
        state: State,
        mask: Bool[Tensor, "batch time"] | None,
        reset: Bool[Tensor, "batch time"] | None,
    ) -> tuple[Tensor, State]:
        """Compute; called with checked arguments, and a state that is None only if `knows_none`."""
        raise NotImplementedError

    def forward(
        self,
        x: Tensor,
        state: State = None,
        mask: Tensor | None = None,
        reset: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Run over time.

        Args:
            x: `[batch, time, features]`, or `[batch, time]` of token ids.
            state: what an earlier call returned; None is the initial state.
            mask: `[batch, time]`, True where a step is real. A padded step outputs zeros and leaves
                the state alone, whatever stands in it. None: every step is real.
            reset: `[batch, time]`, True where a new sequence begins inside a row; the state is the
                initial one before that step, be it real or padded.

        Returns:
            The whole sequence of outputs and the state after the last step.

        Errors:
            InputError: one line that names the argument, what was expected and what came.
        """
        self.check(x, state, mask, reset)
        if state is None and not self.knows_none:
            state = self.initial_state(x.shape[0])
        return self.run(x, state, mask, reset)

    def check(self, x: Tensor, state: State, mask: Tensor | None, reset: Tensor | None) -> None:
        """Refuse what does not fit, in one line.

        Only forms are read, never values: the check costs nothing on a GPU and compiles away.
        """
        name = type(self).__name__
        if x.ndim != 3:
            raise InputError(
                f"{name}: x has shape {list(x.shape)}, expected [batch, time, features]"
            )
        if self.input_size is not None and x.shape[2] != self.input_size:
            raise InputError(
                f"{name}: x has {x.shape[2]} features, input_size is {self.input_size}"
            )
        self.check_dtype(x)
        self.check_marks(x, mask, reset)
        self.check_state(state, x.shape[0])

    def check_marks(self, x: Tensor, mask: Tensor | None, reset: Tensor | None) -> None:
        """Refuse marks that are not one truth value per step."""
        for argument, marks in (("mask", mask), ("reset", reset)):
            if marks is None:
                continue
            if marks.dtype != torch.bool:
                raise InputError(
                    f"{type(self).__name__}: {argument} is {marks.dtype}, expected torch.bool"
                )
            if marks.shape != x.shape[:2]:
                raise InputError(
                    f"{type(self).__name__}: {argument} has shape {list(marks.shape)}, "
                    f"expected [batch, time] = {list(x.shape[:2])}"
                )

    def check_dtype(self, x: Tensor) -> None:
        """Refuse an input of another type than the weights."""
        like = self.like()
        if x.dtype != like.dtype and not torch.is_autocast_enabled(x.device.type):
            raise InputError(
                f"{type(self).__name__}: x is {x.dtype}, the layer is {like.dtype}; "
                "convert one of them with .to()"
            )

    def check_state(self, state: State, batch_size: int) -> None:
        """Refuse a state of another form than this layer's."""
        if state is None:
            return
        if not self.causal and state != ():
            raise InputError(
                f"{type(self).__name__}: got a state, but this layer sees the whole input at once "
                "(its outputs depend on later steps), so it cannot go on from one"
            )
        with torch.no_grad():
            expected = self.initial_state(batch_size)
        if not same_form(state, expected):
            raise InputError(
                f"{type(self).__name__}: state is {structure(state)}, "
                f"expected {structure(expected)}"
            )

    def like(self) -> Tensor:
        """A tensor of this layer's device and type."""
        for tensor in self.parameters():
            if tensor.is_floating_point():
                return tensor
        for tensor in self.buffers():
            if tensor.is_floating_point():
                return tensor
        return torch.empty(0)

    def reset_parameters(self) -> None:
        """Draw fresh weights, as documented on the class."""


def same_form(state: State, expected: State) -> bool:
    """Whether two states have the same structure, shapes, types and devices."""
    if isinstance(expected, Tensor):
        return (
            isinstance(state, Tensor)
            and state.shape == expected.shape
            and state.dtype == expected.dtype
            and state.device == expected.device
        )
    return (
        type(state) is type(expected)
        and len(state) == len(expected)
        and all(same_form(a, b) for a, b in zip(state, expected, strict=True))
    )


class Recurrent(Layer):
    """A layer whose memory is a named tuple of `[batch, hidden_size]` tensors.

    Attributes:
        hidden_size: features of each part of the state, and of the output.
        State: the named tuple; its field names are those of the parts.
        native_cell: the code of its step in the compiled kernels; below zero where they have none.
    """

    State: ClassVar[type[Any]]
    hidden_size: int
    native_cell: int = -1
    _short: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        """A subclass that runs otherwise, but says nothing of a native step, takes no short way."""
        super().__init_subclass__(**options)
        if "run" in vars(cls) or "forward" in vars(cls):
            cls._short = "native_cell" in vars(cls)

    def __init__(self, input_size: int, hidden_size: int, *, learn_initial_state: bool) -> None:
        super().__init__()
        for argument, size in (("input_size", input_size), ("hidden_size", hidden_size)):
            check_size(type(self).__name__, argument, size)
        self.input_size = input_size
        self.hidden_size = self.output_size = hidden_size
        parts: tuple[str, ...] = self.State._fields
        for part in parts:
            value = nn.Parameter(torch.zeros(hidden_size)) if learn_initial_state else None
            self.register_parameter(f"initial_{part}", value)

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Any:
        """Zeros, or what the layer has learned, in every row."""
        like = self.like()
        learned = [getattr(self, f"initial_{part}") for part in self.State._fields]
        if learned[0] is None:
            zeros = (like.new_zeros(batch_size, self.hidden_size) for _ in learned)
            state = self.State(*zeros)
        else:
            state = self.State(*(part.expand(batch_size, -1) for part in learned))
        if device is None and dtype is None:
            return state
        return map_tensors(lambda part: part.to(device=device, dtype=dtype), state)

    def forward(
        self,
        x: Tensor,
        state: Any = None,
        mask: Tensor | None = None,
        reset: Tensor | None = None,
    ) -> tuple[Tensor, Any]:
        """As every [`Layer`][throughtime.layers.Layer]; a single step takes a short way."""
        unmarked = mask is None and reset is None
        if self._short and unmarked and type(state) is self.State and not watched(self):
            found = kernels.single_step(self.native_cell, self._parameters, x, state)
            if found is not None:
                return found[0], self.State(*found[1:])
        return super().forward(x, state, mask, reset)

    def loop(self, x: Tensor, mask: Tensor | None) -> Steps | None:
        """What a plain loop hands its values to; None where the kernel gives all that is asked for.

        A loop is needed where a value is replaced, and where one from inside must have a history.
        """
        if not watched(self):
            return None
        inside = [name for name in self.taps if name != "hidden"]
        if replaced(self) or (inside and historic(self, *inside)):
            return Steps(self, x, self.hidden_size, mask)
        return None

    def reset_initial_state(self) -> None:
        """A learned initial state starts at zero."""
        for part in self.State._fields:
            value = getattr(self, f"initial_{part}")
            if value is not None:
                nn.init.zeros_(value)

    def extra_repr(self) -> str:
        """Sizes, for printing."""
        learned = ", learn_initial_state=True" if self.initial_hidden is not None else ""
        return f"input_size={self.input_size}, hidden_size={self.hidden_size}{learned}"


class Stateless(Layer):
    """A layer that treats each step by itself: its state is `()`."""

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> tuple[()]:
        """Nothing."""
        return ()

    def run(
        self, x: Tensor, state: State, mask: Tensor | None, reset: Tensor | None
    ) -> tuple[Tensor, tuple[()]]:
        """Each step by itself; zeros in padded steps, before and after."""
        if mask is None:
            return self.each(x), ()
        real = mask.unsqueeze(-1) if x.ndim == 3 else mask
        each = on_steps(self.each, mask)
        return torch.where(mask.unsqueeze(-1), each(torch.where(real, x, 0)), 0), ()

    def each(self, x: Tensor) -> Tensor:
        """What the layer does to every step."""
        raise NotImplementedError


def on_real_steps(
    function: Callable[[Tensor], Tensor], x: Tensor, mask: Bool[Tensor, "batch time"] | None
) -> Tensor:
    """What a function makes of each real step; zeros in padded steps, which cost nothing.

    On a CPU the real steps are put side by side. A compiler cannot foresee how many there are, and
    a GPU would have to wait for the answer: there all steps are computed, and padding is zero
    before and after.

    Args:
        function: treats each step of `[batch, time, features]` by itself.
        x: `[batch, time, features]`.
        mask: True where a step is real; None: everywhere.
    """
    if mask is None:
        return function(x)
    if x.device.type == "cpu" and plain() and not transformed():
        y = on_steps(function, mask, packed=True)(x[mask].unsqueeze(0)).squeeze(0)
        return y.new_zeros(*mask.shape, y.shape[-1]).index_put((mask,), y)
    real = mask.unsqueeze(-1)
    return torch.where(real, on_steps(function, mask)(torch.where(real, x, 0)), 0)


def check_size(layer: str, argument: str, size: int) -> None:
    """Refuse sizes that are not whole numbers above zero."""
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise InputError(f"{layer}: {argument} is {size!r}, expected a whole number of at least 1")


def orthogonal_blocks_(weight: Tensor, blocks: int) -> None:
    """Fill a `[blocks * hidden, hidden]` weight with one orthogonal matrix per block.

    References:
        Saxe, McClelland and Ganguli 2014, "Exact solutions to the nonlinear dynamics of learning
        in deep linear neural networks": an orthogonal recurrence neither shrinks nor grows what
        it carries.
    """
    for block in weight.chunk(blocks):
        nn.init.orthogonal_(block)


def check_ids(layer: str, x: Tensor, name: str = "x") -> None:
    """Refuse what are not the ids of tokens, `[batch, time]`."""
    if x.ndim != 2 or x.is_floating_point() or x.dtype == torch.bool:
        raise InputError(
            f"{layer}: {name} is {x.dtype} of shape {list(x.shape)}, "
            "expected token ids [batch, time]"
        )
