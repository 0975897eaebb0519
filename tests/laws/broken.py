"""Layers that break the contract on purpose, and the laws that must catch each.

They are tests of the tests: a law that lets its layer pass has stopped biting.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from tests.laws import peers
from tests.laws.broken_attention import (
    AttendsAcrossResets,
    CountsPadding,
    ForgetsPosition,
    IgnoresResetsAtTheStart,
    LooksAhead,
    LooksAtPadding,
    SeesAllInTraining,
)
from throughtime.layers import GRU, LSTM, Bidirectional, Dropout, LSTMState, Norm, Window
from throughtime.state import detach, map_tensors


class IgnoresMask(LSTM):
    def run(self, x, state, mask, reset):
        return super().run(x, state, None, reset)


class MultipliesMask(LSTM):
    """Blends old and new by multiplication: zero times NaN is NaN."""

    def run(self, x, state, mask, reset):
        if mask is None:
            return super().run(x, state, mask, reset)
        output, now = x.new_zeros(x.shape[0], x.shape[1], self.hidden_size), state
        for t in range(x.shape[1]):
            cut, real = slice(t, t + 1), mask[:, t, None].to(x.dtype)
            again = None if reset is None else reset[:, cut]
            step, after = super().run(x[:, cut], now, None, again)
            now = map_tensors(lambda a, b, real=real: real * a + (1 - real) * b, after, now)
            output = torch.cat([output[:, :t], step * real[:, None], output[:, t + 1 :]], 1)
        return output, now


class ShowsPaddedSteps(LSTM):
    """Holds its output through padded steps instead of giving zeros."""

    def run(self, x, state, mask, reset):
        if mask is None:
            return super().run(x, state, mask, reset)
        outputs, now = [], state
        for t in range(x.shape[1]):
            cut = None if reset is None else reset[:, t : t + 1]
            _, now = super().run(x[:, t : t + 1], now, mask[:, t : t + 1], cut)
            outputs.append(now.hidden)
        return torch.stack(outputs, 1) if outputs else super().run(x, state, None, None)[0], now


class IgnoresReset(GRU):
    def run(self, x, state, mask, reset):
        return super().run(x, state, mask, None)


class ResetsToZero(GRU):
    """Forgets at a reset, but not to the state it has learned."""

    def __init__(self):
        super().__init__(3, 5, learn_initial_state=True)

    def run(self, x, state, mask, reset):
        if reset is None:
            return super().run(x, state, mask, None)
        outputs, now = [], state
        for t in range(x.shape[1]):
            gone = reset[:, t : t + 1]
            now = map_tensors(lambda part, gone=gone: torch.where(gone, 0, part), now)
            cut = None if mask is None else mask[:, t : t + 1]
            output, now = super().run(x[:, t : t + 1], now, cut, None)
            outputs.append(output)
        return torch.cat(outputs, 1) if outputs else super().run(x, state, mask, None)[0], now


class Forgetful(LSTM):
    def run(self, x, state, mask, reset):
        return super().run(x, self.initial_state(x.shape[0]), mask, reset)


class KeepsStateOnModule(LSTM):
    def run(self, x, state, mask, reset):
        last = getattr(self, "last", None)
        if last is not None and last.hidden.shape == state.hidden.shape:
            state = last
        output, after = super().run(x, state, mask, reset)
        self.last = detach(after)
        return output, after


class CountsCalls(LSTM):
    """Its output does not change, but a buffer does."""

    def __init__(self):
        super().__init__(3, 5)
        self.register_buffer("calls", torch.zeros(()))

    def run(self, x, state, mask, reset):
        self.calls += 1
        return super().run(x, state, mask, reset)


class DetachesState(LSTM):
    """The usual mistake with truncated back-propagation: the values are right everywhere."""

    def run(self, x, state, mask, reset):
        return super().run(x, detach(state), mask, reset)


class DetachesInside(LSTM):
    """As above, but only at its own end."""

    def run(self, x, state, mask, reset):
        output, after = super().run(x, state, mask, reset)
        return output, detach(after)


class SpoilsPartialBlock(LSTM):
    """As a kernel that works on four steps at a time and mishandles a remainder above one."""

    def run(self, x, state, mask, reset):
        output, after = super().run(x, state, mask, reset)
        if x.shape[1] > 4 and x.shape[1] % 4 > 1:
            after = LSTMState(after.hidden, after.cell * 1.001)
        return output, after


class WrongGateOrder(LSTM):
    def run(self, x, state, mask, reset):
        order = [0, 1, 3, 2]  # i, f, o, g
        names = ("weight_input", "weight_hidden", "bias")
        swapped = {n: torch.cat([getattr(self, n).chunk(4)[k] for k in order]) for n in names}
        return torch.func.functional_call(Plain(self), swapped, (x, state, mask, reset))


class Plain(LSTM):
    """A copy of a layer's form, for running it with other weights."""

    def __init__(self, like):
        super().__init__(like.input_size, like.hidden_size)


class ForgetsGradientOfCell(torch.autograd.Function):
    """A hand-written backward pass that is wrong by a factor and right in its values."""

    @staticmethod
    def forward(ctx, cell):
        return cell.clone()

    @staticmethod
    def backward(ctx, gradient):  # pyright: ignore[reportIncompatibleMethodOverride]
        return gradient * 0.5


class WrongBackward(LSTM):
    def run(self, x, state, mask, reset):
        return super().run(ForgetsGradientOfCell.apply(x), state, mask, reset)


class ConstantBackward(torch.autograd.Function):
    """A right first derivative and no second: the backward pass is not differentiable."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.tanh(x)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):  # pyright: ignore[reportIncompatibleMethodOverride]
        (x,) = ctx.saved_tensors
        return gradient * (1 - torch.tanh(x) ** 2)


class NoSecondDerivative(LSTM):
    def run(self, x, state, mask, reset):
        return super().run(ConstantBackward.apply(x), state, mask, reset)


class PeeksAhead(GRU):
    def run(self, x, state, mask, reset):
        ahead = torch.cat([x[:, 1:], x[:, -1:]], dim=1)
        return super().run(x + 0.01 * ahead, state, mask, reset)


class CentresOverTime(GRU):
    def run(self, x, state, mask, reset):
        return super().run(x - x.mean(1, keepdim=True), state, mask, reset)


class MixesRows(GRU):
    def run(self, x, state, mask, reset):
        return super().run(x + 0.01 * x.flip(0), state, mask, reset)


class ShortWindow(Window):
    """Claims four steps and sees three."""

    def run(self, x, state, mask, reset):
        output, after = super().run(x, state, mask, reset)
        return functional.pad(output[..., self.features :], (self.features, 0)), after


class StateInSinglePrecision(GRU):
    def run(self, x, state, mask, reset):
        output, after = super().run(x, state, mask, reset)
        return output, map_tensors(lambda part: part.float(), after)


class StateAsList(GRU):
    def run(self, x, state, mask, reset):  # pyright: ignore[reportIncompatibleMethodOverride]
        output, after = super().run(x, state, mask, reset)
        return output, [after.hidden]


class TimeFirstState(GRU):
    """Hands back the state as torch.nn would, with an axis in front of the batch."""

    def run(self, x, state, mask, reset):
        output, after = super().run(x, state, mask, reset)
        return output, type(after)(after.hidden[None])


class ForgetsInitialState(GRU):
    """Learns an initial state and starts from zeros."""

    def __init__(self):
        super().__init__(3, 5, learn_initial_state=True)

    def forward(self, x, state=None, mask=None, reset=None):
        if state is None:
            state = map_tensors(torch.zeros_like, self.initial_state(x.shape[0]))
        return super().forward(x, state, mask, reset)


class LastStepOnly(GRU):
    """As Keras without return_sequences."""

    def run(self, x, state, mask, reset):
        output, after = super().run(x, state, mask, reset)
        return output[:, -1:], after


class DropsInEval(Dropout):
    def each(self, x):
        return functional.dropout(x, self.p, training=True)


class OwnSeed(Dropout):
    """Draws from a generator of its own, so that no seed repeats it."""

    generator = torch.Generator()

    def each(self, x):
        if not self.training:
            return x
        keep = torch.rand(x.shape, dtype=x.dtype, generator=self.generator) > self.p
        return torch.where(keep, x, 0)


class HidesWeight(Norm):
    """A weight that is no parameter is lost when saving."""

    def __init__(self):
        super().__init__(4)
        self.hidden_scale = torch.tensor(2.0)

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        del destination[prefix + "weight"]

    def load_state_dict(self, state_dict, strict=True, assign=False):
        return super().load_state_dict(state_dict, strict=False, assign=assign)


class HoldsLambda(Norm):
    """A function without a name cannot be pickled, so no worker process can be handed the layer."""

    def __init__(self):
        super().__init__(4)
        self.after = lambda x: x

    def each(self, x):
        return self.after(super().each(x))


class BackwardSeesPadding(Bidirectional):
    """Flips time without flipping the mask."""

    def run(self, x, state, mask, reset):
        first, _ = self.over(x, None, mask, reset)
        second, _ = self.against(x.flip(1), None, mask, None)
        return torch.cat([first, second.flip(1)], dim=-1), ()


class Bystander(Bidirectional):
    """Declares to see both directions and sees one."""

    def run(self, x, state, mask, reset):
        first, _ = self.over(x, None, mask, reset)
        return torch.cat([first, torch.zeros_like(first)], dim=-1), ()


@dataclass(frozen=True)
class Broken:
    """A broken layer, and laws each of which must catch it."""

    make: Any
    caught_by: tuple[str, ...]
    claims: dict[str, Any] = field(default_factory=dict)
    # Laws that cannot see the mistake: what looks right to them is why several laws are needed.
    missed_by: tuple[str, ...] = ()

    @property
    def name(self):
        layer = self.make()
        return type(layer).__name__ if isinstance(layer, nn.Module) else str(layer)


BROKEN = [
    Broken(lambda: IgnoresMask(3, 5), ("padding",), missed_by=("chunkable", "gradients")),
    Broken(lambda: MultipliesMask(3, 5), ("padding",), missed_by=("form", "rows")),
    Broken(lambda: ShowsPaddedSteps(3, 5), ("padding",), missed_by=("chunkable",)),
    Broken(lambda: IgnoresReset(3, 5), ("resets",), missed_by=("padding", "gradients")),
    Broken(ResetsToZero, ("resets",), missed_by=("chunkable", "padding")),
    Broken(lambda: Forgetful(3, 5), ("chunkable", "detach"), missed_by=("padding",)),
    Broken(lambda: KeepsStateOnModule(3, 5), ("independent_calls", "form")),
    Broken(CountsCalls, ("independent_calls",), missed_by=("chunkable", "rows")),
    Broken(lambda: DetachesState(3, 5), ("chunkable", "detach"), missed_by=("rows", "form")),
    Broken(lambda: DetachesInside(3, 5), ("chunkable", "detach"), missed_by=("rows", "form")),
    Broken(lambda: SpoilsPartialBlock(3, 5), ("chunkable",), missed_by=("gradients", "form")),
    Broken(
        lambda: WrongGateOrder(3, 5),
        ("agreement",),
        {"peer": peers.torch_lstm},
        missed_by=("chunkable", "padding", "gradients", "rows", "resets"),
    ),
    Broken(lambda: WrongBackward(3, 5), ("gradients",), missed_by=("chunkable", "padding")),
    Broken(lambda: NoSecondDerivative(3, 5), ("gradients",), missed_by=("chunkable", "rows")),
    Broken(lambda: PeeksAhead(3, 5), ("causal", "chunkable"), missed_by=("gradients", "form")),
    Broken(lambda: CentresOverTime(3, 5), ("causal", "chunkable", "padding")),
    Broken(lambda: MixesRows(3, 5), ("rows", "padding"), missed_by=("chunkable", "causal")),
    Broken(
        lambda: ShortWindow(4, 2), ("causal",), {"receptive_field": 4}, missed_by=("chunkable",)
    ),
    Broken(lambda: StateInSinglePrecision(3, 5), ("form",)),
    Broken(lambda: StateAsList(3, 5), ("form",)),
    Broken(lambda: TimeFirstState(3, 5), ("form",)),
    Broken(ForgetsInitialState, ("form",), missed_by=("chunkable", "padding")),
    Broken(lambda: LastStepOnly(3, 5), ("form",)),
    Broken(lambda: DropsInEval(0.4), ("round_trips", "independent_calls")),
    Broken(lambda: OwnSeed(0.4), ("round_trips",), missed_by=("padding", "rows", "form")),
    Broken(HidesWeight, ("round_trips",), missed_by=("padding", "rows", "form")),
    Broken(HoldsLambda, ("round_trips",), missed_by=("padding", "rows", "form")),
    Broken(lambda: BackwardSeesPadding(GRU(3, 4)), ("padding", "resets"), missed_by=("causal",)),
    Broken(lambda: Bystander(GRU(3, 4)), ("causal",), missed_by=("padding", "gradients")),
    Broken(lambda: LooksAhead(4, 2, horizon=30), ("causal", "chunkable"), missed_by=("form",)),
    Broken(CountsPadding, ("padding",), missed_by=("gradients", "causal", "rows")),
    Broken(ForgetsPosition, ("chunkable",), missed_by=("causal", "gradients")),
    Broken(lambda: SeesAllInTraining(4, 2, horizon=3), ("chunkable",), missed_by=("padding",)),
    Broken(
        lambda: SeesAllInTraining(4, 2, horizon=3),
        ("causal",),
        {"receptive_field": 4},
        missed_by=("gradients",),
    ),
    Broken(lambda: AttendsAcrossResets(4, 2), ("resets",), missed_by=("padding", "gradients")),
    Broken(
        lambda: LooksAtPadding(4, 3),
        ("agreement",),
        {"peer": peers.additive_attention, "memory": False},
        missed_by=("chunkable", "padding", "rows"),
    ),
    Broken(lambda: IgnoresResetsAtTheStart(4, 2), ("resets",), missed_by=("chunkable", "padding")),
]
