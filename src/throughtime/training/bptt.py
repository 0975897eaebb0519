r"""Back-propagation through time, whole and truncated.

The gradient of a long sequence runs back through every step. Truncation keeps the state and cuts
the gradient. Here a truncation is a factor on the gradient at each border between two windows:

- 1: the gradient crosses ([`Full`][throughtime.training.Full]),
- 0: it is cut ([`Truncated`][throughtime.training.Truncated]),
- either, by a throw of the dice ([`RandomTruncation`][throughtime.training.RandomTruncation]).

    for cut in bptt(loss, model, windows, Truncated()):
        optimizer.step()
        optimizer.zero_grad()

`bptt` computes gradients and nothing else; whoever iterates decides what becomes of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import nn

from throughtime.errors import InputError
from throughtime.shapes import Tensor
from throughtime.state import State, map_tensors, register
from throughtime.training.truncation import (
    Full,
    Part,
    RandomTruncation,
    Truncated,
    Truncation,
    scale_gradient,
    sum_of,
)

Loss = Callable[[Any, Any, State], tuple[Tensor, Tensor | float, State]]
"""`loss(model, batch, state) -> (total, count, state)`: the loss summed over the counted values of
the batch, in nats; how many values counted; the state after the batch."""


@runtime_checkable
class Windows(Protocol):
    """Consecutive windows in time of the same rows; reading one twice gives the same.

    Each window has `.shape == (batch, time)` and `.narrow(start, stop)`, its steps from `start` up
    to but not including `stop`.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


@register
class Place(NamedTuple):
    """All that is needed to go on from a cut; `save_tree` stores it.

    Attributes:
        window: index of the next window.
        position: steps before that window.
        behind: how many steps before `position` the next run starts; 0 unless the gradient goes
            deeper than the window.
        state: the state there, without history; None is the model's initial state.
        generator: the state of the generator of random cuts; None where nothing is random.
    """

    window: int = 0
    position: int = 0
    behind: int = 0
    state: State = None
    generator: Tensor | None = None


@dataclass(frozen=True)
class Cut:
    """One backward pass has been done: its gradients are in `.grad`.

    Attributes:
        total: the loss summed over the counted values since the last cut, in nats.
        count: how many values counted.
        state: the state after the last step, without history.
        place: where to go on from; see [`bptt`][throughtime.training.bptt].
    """

    total: float
    count: float
    state: State
    place: Place

    @property
    def loss(self) -> float:
        """Nats per counted value; NaN where nothing counted."""
        return self.total / self.count if self.count else float("nan")


def bptt(
    loss: Loss,
    model: nn.Module,
    windows: Windows,
    truncation: Truncation,
    *,
    state: State = None,
    place: Place | None = None,
    normaliser: float | None = None,
    generator: torch.Generator | None = None,
    backward: Callable[[Tensor], None] = torch.Tensor.backward,
) -> Iterator[Cut]:
    """Back-propagate through consecutive windows; yield after each backward pass.

    Gradients add up in `.grad`. Between two cuts the weights may change: step the optimiser there
    and set the gradients to zero, or let them add up.

    Args:
        loss: `loss(model, batch, state) -> (total, count, state)`.
        model: handed to `loss`.
        windows: consecutive in time, the state is carried from each to the next.
        truncation: `Full()`, `Truncated(depth)` or `RandomTruncation(mean)`.
        state: before the first window; its history is cut. None: the model's initial state.
        place: `cut.place` of an earlier call, to go on from there as if never stopped; it brings
            its own state.
        normaliser: what the sum of the losses is divided by in every backward pass, a fixed number.
            None: what the truncation says, a mean per backward pass. A fixed one makes the passes
            add up to the gradient of (sum of losses) / normaliser over all windows.
        generator: of random cuts. None: a new one, seeded by torch's.
        backward: called with what is to be minimised; a place for a gradient scaler.

    Examples:
        >>> from throughtime import RNN
        >>> def loss(model, x, state):
        ...     output, state = model(x, state)
        ...     return output.square().sum(), output.numel(), state
        >>> layer, x = RNN(1, 3), torch.randn(2, 12, 1)
        >>> cuts = list(bptt(loss, layer, x.split(4, dim=1), Truncated()))
        >>> [cut.place.position for cut in cuts]
        [4, 8, 12]
    """
    if normaliser is not None and not normaliser > 0:
        raise InputError(f"bptt: normaliser is {normaliser}, expected a number above 0")
    if place is None:
        place = Place(state=_without_history(state))
    elif state is not None:
        raise InputError("bptt: got both a state and a place; a place brings its own state")
    if isinstance(truncation, RandomTruncation) and generator is None:
        generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
    if generator is not None and place.generator is not None:
        generator.set_state(place.generator)

    def propagate(parts: list[Part]) -> tuple[float, float]:
        if normaliser is None:
            objective = truncation.objective(parts)
        else:
            objective = sum_of([part.total for part in parts]) / normaliser
        if objective.requires_grad:  # not where every value is missing
            backward(objective)
        return sum(part.total.item() for part in parts), sum(part.count for part in parts)

    if isinstance(truncation, Truncated):
        return _strided(loss, model, windows, truncation.depth, place, propagate)
    return _bordered(loss, model, windows, truncation, place, propagate, generator)


Propagate = Callable[[list[Part]], tuple[float, float]]


def _bordered(
    loss: Loss,
    model: nn.Module,
    windows: Windows,
    truncation: Full | RandomTruncation,
    place: Place,
    propagate: Propagate,
    generator: torch.Generator | None,
) -> Iterator[Cut]:
    """Each border is cut or crossed; a backward pass at each cut and at the end."""
    state, position, parts = place.state, place.position, []
    for index in range(place.window, len(windows)):
        batch = windows[index]
        total, count, state = loss(model, batch, state)
        steps = batch.shape[1]
        position += steps
        parts.append(Part(total, float(count), steps))
        end = index + 1 == len(windows)
        factor = 0.0 if end else truncation.crossing(steps, generator)
        if factor:
            state = scale_gradient(state, factor)
            continue
        sums = propagate(parts)
        state, parts = _without_history(state), []
        random = None if generator is None else generator.get_state()
        yield Cut(*sums, state, Place(index + 1, position, 0, state, random))


def _strided(
    loss: Loss,
    model: nn.Module,
    windows: Windows,
    depth: int | None,
    place: Place,
    propagate: Propagate,
) -> Iterator[Cut]:
    """Every window, and `depth` - k1 steps before it.

    A run covers `behind + k1` steps, the last k1 of which are the window's:

        start          next start    window           end
          |----- k1 -----|--- ... -----|----- k1 -------|
          |<-------- behind ---------->|
    """
    for index in range(place.window, len(windows)):
        window = windows[index]
        steps = window.shape[1]
        if depth is not None and depth < steps:
            raise InputError(f"Truncated: depth is {depth}, expected at least the window's {steps}")
        behind = min(place.behind + steps, (depth or steps) - steps)  # of the next run
        keep = place.behind + steps - behind  # steps from this start to the next one
        state = start = place.state
        parts, done = [], 0
        for batch in [*_past(windows, index, place.behind), window]:
            for piece in _split(batch, keep - done):
                total, count, state = loss(model, piece, state)
                done += piece.shape[1]
                if done == keep:
                    start = _without_history(state)
                if batch is window:
                    parts.append(Part(total, float(count), piece.shape[1]))
        sums = propagate(parts)
        place = Place(index + 1, place.position + steps, behind, start)
        yield Cut(*sums, _without_history(state), place)


def _past(windows: Windows, index: int, steps: int) -> list[Any]:
    """The last `steps` steps before window `index`, window by window."""
    past = []
    while steps > 0:
        index -= 1
        batch = windows[index]
        length = batch.shape[1]
        past.insert(0, batch.narrow(max(length - steps, 0), length) if steps < length else batch)
        steps -= length
    return past


def _split(batch: Any, at: int) -> list[Any]:
    """Two pieces that meet at step `at`, or the whole where that is not inside."""
    length = batch.shape[1]
    return [batch.narrow(0, at), batch.narrow(at, length)] if 0 < at < length else [batch]


def _without_history(state: State) -> State:
    """Detached, in memory of its own.

    A view would keep its whole window alive; and a state read back from a file must lie in memory
    as this one does for the same sums to the last bit.
    """
    if state is None:
        return None
    return map_tensors(
        lambda part: part.detach().clone(memory_format=torch.contiguous_format), state
    )
