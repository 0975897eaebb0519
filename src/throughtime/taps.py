"""Values inside a model, named where they are computed.

A layer says `forget = tap(self, "forget", forget)` at the line that computes a value, and goes on
with what comes back. While nobody watches that is the value itself, at the cost of reading one
variable. [`record`][throughtime.inspect.record] and [`intervene`][throughtime.inspect.intervene]
watch. What a layer can show it declares in `taps`, from name to description:

    class Scale(nn.Module):
        taps = {"scaled": "the input by three, [batch, time, features]"}

        def forward(self, x):
            return tap(self, "scaled", 3 * x)
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from throughtime.shapes import Bool, Float, Tensor

MAPS = ("scores", "attention")
"""Values with two axes of steps: those that look, and those that are looked at."""

Replace = Callable[[Tensor, int], Tensor]
"""From a value and the number of its first step to what takes its place."""
See = Callable[[Tensor], None]


@dataclass(frozen=True, eq=False)
class Watch:
    """What one context asks for, by layer and name.

    Attributes:
        see: who is shown a value.
        replace: what a value goes through before anybody sees it.
        history: whether what is seen must carry the history of its computation.
    """

    see: Mapping[nn.Module, Mapping[str, See]] = field(default_factory=dict)
    replace: Mapping[nn.Module, Mapping[str, Replace]] = field(default_factory=dict)
    history: bool = False


_open = False  # whether anybody watches, in any thread: all that is read while nobody does
_count = 0
_lock = threading.Lock()
_watches: ContextVar[tuple[Watch, ...]] = ContextVar("watches", default=())


@contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Inside, and in this thread, layers answer to `watch`."""
    _count_watches(1)
    _watches.set((*_watches.get(), watch))
    try:
        yield
    finally:
        _watches.set(tuple(one for one in _watches.get() if one is not watch))
        _count_watches(-1)


def _count_watches(change: int) -> None:
    global _count, _open
    with _lock:
        _count += change
        _open = _count > 0


def declared(layer: nn.Module) -> Mapping[str, str]:
    """What a layer can show, from name to description; nothing for modules that name nothing."""
    taps = getattr(layer, "taps", None)
    return taps if isinstance(taps, Mapping) else {}


# For layers


def tap(
    layer: nn.Module, name: str, value: Tensor, mask: Bool[Tensor, "batch time"] | None = None
) -> Tensor:
    """Name a value, and go on with what comes back.

    Args:
        layer: that computes it, `self`.
        name: one of `layer.taps`.
        value: the next to last axis is time, the first is batch.
        mask: `[batch, time]`, True where a step is real; the others are shown as zeros.
    """
    if not _open or torch.compiler.is_compiling():
        return value
    return _tap(layer, name, value, mask)


def watched(layer: nn.Module, *names: str) -> bool:
    """Whether anybody sees or replaces some of these values; of any, if none are named."""
    if not _open or torch.compiler.is_compiling():
        return False
    return any(
        _any(watch.see.get(layer), names) or _any(watch.replace.get(layer), names)
        for watch in _watches.get()
    )


def replaced(layer: nn.Module, *names: str) -> bool:
    """Whether anything takes the place of some of these values, or of any."""
    if not _open or torch.compiler.is_compiling():
        return False
    return any(_any(watch.replace.get(layer), names) for watch in _watches.get())


def historic(layer: nn.Module, *names: str) -> bool:
    """Whether some of these values, or any, must carry their history."""
    if not _open or torch.compiler.is_compiling():
        return False
    return any(watch.history and _any(watch.see.get(layer), names) for watch in _watches.get())


def _any(asked: Mapping[str, Any] | None, names: tuple[str, ...]) -> bool:
    return bool(asked) and (not names or any(name in asked for name in names))


def _tap(layer: nn.Module, name: str, value: Tensor, mask: Tensor | None) -> Tensor:
    if not watched(layer, name):
        return value
    places = _places.get() if mask is None else (*_places.get(), Masked(mask))
    if replaced(layer, name):
        value = _back(_replace(layer, name, _there(value, name, places), 0), name, places)
    shown = _there(value, name, places)
    _show(layer, name, shown)
    # With history the model goes on with what was shown, so that there are gradients in it.
    return _back(shown, name, places) if historic(layer, name) else value


def _replace(layer: nn.Module, name: str, value: Tensor, step: int) -> Tensor:
    for watch in _watches.get():
        function = watch.replace.get(layer, {}).get(name)
        if function is not None:
            # A copy: what is written into it must not reach a state, or what backward needs.
            value = function(value.clone(), step)
    return value


def _show(layer: nn.Module, name: str, value: Tensor) -> None:
    for watch in _watches.get():
        see = watch.see.get(layer, {}).get(name)
        if see is not None:
            see(value)


# Loops over time


class Steps:
    """What a loop computes: each step to whom replaces it, and all of them to whom sees them.

    Args:
        layer: that computes it.
        like: `[batch, time, ...]`, the sequence that the loop runs over.
        size: features of each value.
        mask: True where a step is real.
    """

    def __init__(self, layer: nn.Module, like: Tensor, size: int, mask: Tensor | None) -> None:
        self.layer, self.mask = layer, mask
        self.batch, self.time = like.shape[:2]
        self.nothing = like.new_zeros(self.batch, 0, size)
        self.found: dict[str, list[Tensor]] = {}

    def __call__(
        self, name: str, value: Float[Tensor, "batch size"], step: int
    ) -> Float[Tensor, "batch size"]:
        """A value of one step, and what it goes on with."""
        if not watched(self.layer, name):
            return value
        at = step
        for place in reversed(_places.get()):
            at = place.step(at, self.time)
        one = _replace(self.layer, name, self._hide(value.unsqueeze(1), step), at)
        one = self._hide(one, step)
        self.found.setdefault(name, []).append(one)
        return one.squeeze(1)

    def show(self) -> None:
        """The whole of each value, after the last step."""
        if not self.time:
            self.found = {name: [self.nothing] for name in declared(self.layer)}
        for name, values in self.found.items():
            _show(self.layer, name, _there(torch.cat(values, dim=1), name, _places.get()))

    def _hide(self, value: Tensor, step: int) -> Tensor:
        if self.mask is None:
            return value
        return torch.where(self.mask[:, step : step + 1, None], value, 0)


# Where a value's steps stand, if not where those of the input do


class Place:
    """From a value as a layer has it to what is shown, and back."""

    def there(self, value: Tensor, name: str) -> Tensor:
        """As it is shown."""
        raise NotImplementedError

    def back(self, value: Tensor, name: str) -> Tensor:
        """As the layer has it."""
        raise NotImplementedError

    def step(self, step: int, time: int) -> int:
        """Which step of the input is a step of the layer: the same."""
        return step


_places: ContextVar[tuple[Place, ...]] = ContextVar("places", default=())  # the outermost first


@dataclass(frozen=True)
class Masked(Place):
    """Zeros in padded steps."""

    mask: Tensor

    def there(self, value: Tensor, name: str) -> Tensor:
        """Selected, not multiplied: zero times NaN is NaN."""
        real = self.mask.unsqueeze(-1)
        return torch.where(real if value.ndim == 3 else real.unsqueeze(1), value, 0)

    back = there


@dataclass(frozen=True)
class Packed(Place):
    """Real steps alone, side by side in one row."""

    mask: Tensor

    def there(self, value: Tensor, name: str) -> Tensor:
        """Each in its place, zeros elsewhere."""
        empty = value.new_zeros(*self.mask.shape, *value.shape[2:])
        return empty.index_put((self.mask,), value.squeeze(0))

    def back(self, value: Tensor, name: str) -> Tensor:
        """Side by side."""
        return value[self.mask].unsqueeze(0)


@dataclass(frozen=True)
class Turned(Place):
    """Against time."""

    def there(self, value: Tensor, name: str) -> Tensor:
        """The first step first."""
        return value.flip(-2, -1) if name in MAPS else value.flip(-2)

    back = there

    def step(self, step: int, time: int) -> int:
        """Counted from the other end."""
        return time - 1 - step


def _there(value: Tensor, name: str, places: tuple[Place, ...]) -> Tensor:
    for place in reversed(places):
        value = place.there(value, name)
    return value


def _back(value: Tensor, name: str, places: tuple[Place, ...]) -> Tensor:
    for place in places:
        value = place.back(value, name)
    return value


def on_steps(
    function: Callable[..., Any], mask: Bool[Tensor, "batch time"], *, packed: bool = False
) -> Callable[..., Any]:
    """A function of steps some of which are padded, or all real and `packed` side by side.

    What is tapped inside is shown with a value for each step of `mask`, and zeros in padded ones.
    """
    return _placed(function, Packed(mask) if packed else Masked(mask))


def turned(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose time runs backwards: what is tapped inside is shown turned around again."""
    return _placed(function, Turned())


def unwatched(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function inside which nobody watches: what it computes is not what counts."""
    if not _open or torch.compiler.is_compiling():
        return function

    def inside(*arguments: Any) -> Any:
        token = _watches.set(())
        try:
            return function(*arguments)
        finally:
            _watches.reset(token)

    return inside


def _placed(function: Callable[..., Any], place: Place) -> Callable[..., Any]:
    if not _open or torch.compiler.is_compiling():
        return function

    def inside(*arguments: Any) -> Any:
        token = _places.set((*_places.get(), place))
        try:
            return function(*arguments)
        finally:
            _places.reset(token)

    return inside
