"""The laws, one function each."""

import copy
import io
import pickle
import tempfile
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call

from throughtime import kernels, state
from throughtime.errors import InputError
from throughtime.kernels import registry
from throughtime.shapes import Tensor
from throughtime.testing.subject import (
    LawBroken,
    Subject,
    clone,
    gradients_of,
    leaves_of,
    places,
    weigh,
)


def form(s: Subject) -> None:
    """The state keeps structure, shapes, type and device; None is the initial state."""
    x = s.x()
    output, after = s.layer(x)
    if not isinstance(output, Tensor) or output.ndim < 2 or output.shape[:2] != x.shape[:2]:
        raise LawBroken(f"form: output is {state.structure(output)}, expected [3, 16, features]")
    initial = s.layer.initial_state(3)  # pyright: ignore[reportCallIssue]
    if state.structure(after) != state.structure(initial):
        raise LawBroken(
            f"form: the state is {state.structure(after)}, expected {state.structure(initial)}"
        )
    for one, other in zip(state.tensors(after), state.tensors(initial), strict=True):
        if one.device != other.device:
            raise LawBroken(f"form: the state moved from {other.device} to {one.device}")
    if s.causal:
        again, _ = s.layer(x, initial)
        s.same("form", "the output from initial_state, beside that from None,", again, output)
    nothing, kept = s.layer(x[:, :0], s.warm() if s.causal else None)
    if nothing.shape[:2] != (3, 0) or nothing.shape[2:] != output.shape[2:]:
        raise LawBroken(f"form: no steps give an output of shape {list(nothing.shape)}")
    if state.structure(kept) != state.structure(initial):
        raise LawBroken(f"form: no steps change the state to {state.structure(kept)}")


def empty_time(s: Subject) -> None:
    """No steps leave the state as it is."""
    before = s.warm()
    _, after = s.layer(s.x()[:, :0], before)
    s.same_state("empty_time", "the state after no steps", after, before if s.causal else ())


def independent_calls(s: Subject) -> None:
    """Another call in between changes nothing."""
    x = s.x()
    output, after = s.layer(x)
    kept = {name: value.clone() for name, value in s.layer.state_dict().items()}
    s.layer(s.x(2, 7))
    s.layer(s.x())  # of the same form: what is kept by form would be found again
    again, after_again = s.layer(x)
    s.same("independent_calls", "the output after another call", again, output)
    s.same_state("independent_calls", "the state after another call", after_again, after)
    for name, value in s.layer.state_dict().items():
        s.same("independent_calls", f"{name} after a call", value, kept[name])


def chunkable(s: Subject) -> None:
    """Any split of time: the same outputs, last state and gradients; padded and reset as well."""
    if not s.causal:
        return
    mask = s.marks("1111111111110000", "0011101111011011", "1111111111111111")
    reset = s.marks("0000001000000000", "0000000000100001", "1000100000000000")
    x, before = clone(s.x()), s.warm()
    leaves = leaves_of(s, x, before)
    for marks in ((None, None), (mask, reset)):
        output, after = s.layer(x, before, *marks)
        gradients = gradients_of(weigh(output, after), leaves)
        # Off the grid of vector blocks and with remainders above one: (8, 8) alone would not show
        # a kernel that spoils its state after a partial block.
        for split in ((6, 10), (3, 13), (1,) * 16, (8, 8), (5, 0, 11), (15, 1)):
            law = f"chunkable {split if len(split) < 9 else 'one step at a time'}"
            pieces, now = [], before
            for first, size in places(split):
                part = slice(first, first + size)
                cut = [None if mark is None else mark[:, part] for mark in marks]
                piece, now = s.layer(x[:, part], now, *cut)
                pieces.append(piece)
            joined = torch.cat(pieces, dim=1)
            s.same(law, "the output", joined, output)
            s.same_state(law, "the last state", now, after)
            for one, whole in zip(gradients_of(weigh(joined, now), leaves), gradients, strict=True):
                s.same(law, f"a gradient of shape {list(whole.shape)}", one, whole)


def causal(s: Subject) -> None:
    """An output depends on what is declared, exactly, and does depend on its ends."""
    time, at = 12, 7
    x = clone(s.x(2, time))
    output, _ = s.layer(x)
    if x.is_floating_point():
        (gradient,) = torch.autograd.grad(weigh(output[:, at], ()), x, allow_unused=True)
        touched = torch.zeros(time) if gradient is None else gradient.abs().amax(dim=(0, 2))
    else:
        touched = torch.zeros(time)
        for step in range(time):
            other = x.clone()
            other[:, step] = torch.where(x[:, step] == 0, 1, 0)
            touched[step] = (s.layer(other)[0][:, at] - output[:, at]).abs().amax()
    first = 0 if s.receptive_field is None else max(0, at + 1 - s.receptive_field)
    last = at if s.causal else time - 1
    first = first if s.memory or not s.causal else at
    outside = [t for t in range(time) if not first <= t <= last and touched[t] != 0]
    if outside:
        raise LawBroken(f"causal: the output of step {at} depends on steps {outside}")
    missing = [t for t in (first, at, last) if touched[t] == 0]
    if missing:
        raise LawBroken(f"causal: the output of step {at} does not depend on steps {missing}")


_PADDINGS = {
    "on the right": ("11111111", "11111000", "11000000"),
    "on the left": ("11111111", "00011111", "00000011"),
    "with holes": ("10110110", "01010101", "11100111"),
    "with a row of nothing": ("11111111", "00000000", "00110000"),
}


def padding(s: Subject) -> None:
    """NaN in padded steps: the same as if they were not there; gradients finite, and zero there."""
    before = s.warm()
    for name, rows in _PADDINGS.items():
        law, mask = f"padding {name}", s.marks(*rows)
        clean = s.x(3, 8)
        poison = torch.nan if clean.is_floating_point() else -1
        x = clone(torch.where(mask if clean.ndim == 2 else mask.unsqueeze(-1), clean, poison))
        leaves = leaves_of(s, x, before)
        output, after = s.layer(x, before, mask)
        gradients = gradients_of(weigh(output, after), leaves)

        if (output[~mask] != 0).any():  # NaN differs from 0 too
            raise LawBroken(f"{law}: a padded step gives an output that is not zero")
        alone, states, total = torch.zeros_like(output), [], output.new_zeros(())
        for row in range(3):
            start = None if before is None else state.select(before, [row])
            piece, now = s.layer(x[row : row + 1, mask[row]], start)
            index = mask[row].nonzero().squeeze(1)
            alone = alone.index_put((torch.tensor(row, device=x.device), index), piece[0])
            states.append(now)
        s.same(law, "the output", output, alone)
        if s.causal:
            s.same_state(law, "the state", after, state.concatenate(states))
        total = weigh(alone, state.concatenate(states) if s.causal else ())
        for one, other in zip(gradients, gradients_of(total, leaves), strict=True):
            if not one.isfinite().all():
                raise LawBroken(f"{law}: a gradient of shape {list(one.shape)} is not finite")
            s.same(law, f"a gradient of shape {list(one.shape)}", one, other)
    x = s.x()
    every = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
    s.same("padding", "the output with a mask of all real steps", s.layer(x, None, every)[0],
           s.layer(x)[0])  # fmt: skip


def resets(s: Subject) -> None:
    """After a reset it is as if the sequence had only begun, in whichever rows it happens."""
    x = s.x(3, 9)
    reset = s.marks("000010000", "000000000", "100000010")
    for before in (s.warm(), None):
        output, after = s.layer(x, before, None, reset)
        for row, begins in enumerate(([4], [], [0, 7])):
            edges = [0, *begins, 9]
            now = None if before is None else state.select(before, [row])
            for number, (first, last) in enumerate(pairwise(edges)):
                if number:
                    now = None
                piece, now = s.layer(x[row : row + 1, first:last], now)
                s.same("resets", "the output", output[row : row + 1, first:last], piece)
            if s.causal:
                s.same_state("resets", "the state", state.select(after, [row]), now)
    before = s.warm()
    # A reset counts in a padded step too: what begins there has its first real step later.
    mask = s.marks("111100111", "111111111", "011111111")
    early, late = s.marks("000010000", "000000000", "100000010"), reset.clone()
    late[0, 4], late[0, 6] = False, True
    late[2, 0], late[2, 1] = False, True
    one, one_after = s.layer(x, before, mask, early)
    other, other_after = s.layer(x, before, mask, late)
    s.same("resets", "the output after a reset in a padded step", one, other)
    s.same_state("resets", "the state after a reset in a padded step", one_after, other_after)


def rows(s: Subject) -> None:
    """NaN in one row leaves the others; and rows may be picked before or after."""
    x, before = s.x(), s.warm()
    output, after = s.layer(x, before)
    if x.is_floating_point():
        ill = x.clone()
        ill[1] = torch.nan
        spoiled, spoiled_after = s.layer(ill, before)
        s.same("rows", "a neighbour's output", spoiled[[0, 2]], output[[0, 2]])
        if s.causal:
            s.same_state("rows", "a neighbour's state", state.select(spoiled_after, [0, 2]),
                         state.select(after, [0, 2]))  # fmt: skip
    pick = [2, 0, 0]
    picked, picked_after = s.layer(x[pick], None if before is None else state.select(before, pick))
    s.same("rows", "the output of picked rows", picked, output[pick])
    if s.causal:
        s.same_state("rows", "the state of picked rows", picked_after, state.select(after, pick))


def gradients(s: Subject) -> None:
    """Gradients of input, first state and weights are those of finite differences; seconds too."""
    if s.dtype != torch.float64:
        return
    x, before = clone(s.x(2, 3)), s.warm(2)
    names = [name for name, weight in s.layer.named_parameters() if weight.requires_grad]
    leaves = leaves_of(s, x, before)
    first = int(x.is_floating_point())
    count = len(leaves) - len(names)
    # A hole and a reset, so that every path has a gradient of its own.
    mask, reset = s.marks("111", "101"), s.marks("001", "000")

    def run(*values: Tensor) -> tuple[Tensor, ...]:
        states = iter(values[first:count])
        begin = before and state.map_tensors(
            lambda part: next(states) if part.is_floating_point() else part, before
        )
        weights = dict(zip(names, values[count:], strict=True))
        steps = values[0] if first else x
        output, after = functional_call(s.layer, weights, (steps, begin, mask, reset))
        return (output, *(part for part in state.tensors(after) if part.is_floating_point()))

    values = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    if not values:
        return
    for what, check in (("first", gradcheck), ("second", gradgradcheck)):
        if what == "second" and not s.second_derivatives:
            continue
        try:
            check(run, values, fast_mode=True)
        except RuntimeError as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            raise LawBroken(f"gradients: {what} derivatives: {lines[0] if lines else ''}") from None


def detach(s: Subject) -> None:
    """The gradient crosses the state, and stops after `detach`."""
    if not (s.memory and s.causal):
        return
    x = s.x(2, 4)
    if x.is_floating_point():
        x.requires_grad_()
        early: Sequence[Tensor] = [x]
    else:
        early = [weight for weight in s.layer.parameters() if weight.requires_grad]
    _, between = s.layer(x)
    later = s.x(2, 2)
    crossing = [g.abs().max() for g in gradients_of(weigh(s.layer(later, between)[0], ()), early)]
    if not any(crossing):
        raise LawBroken("detach: no gradient crosses the state")
    if any(part.requires_grad for part in state.tensors(state.detach(between))):
        raise LawBroken("detach: a detached state still has a history")
    if x.is_floating_point():
        output, _ = s.layer(later, state.detach(between))
        if gradients_of(weigh(output, ()), early)[0].any():
            raise LawBroken("detach: a gradient reaches past a detached state")


def agreement(s: Subject) -> None:
    """Equals the peer: outputs, state and gradients."""
    if s.peer is None:
        return
    x, before = clone(s.x()), s.warm()
    leaves = leaves_of(s, x, before)
    output, after = s.layer(x, before)
    expected, expected_after = s.peer(s.layer, x, before)
    s.same("agreement", "the output", output, expected)
    s.same_state("agreement", "the state", after, expected_after)
    ours = gradients_of(weigh(output, after), leaves)
    theirs = gradients_of(weigh(expected, expected_after), leaves)
    for one, other in zip(ours, theirs, strict=True):
        s.same("agreement", f"a gradient of shape {list(one.shape)}", one, other)


def implementations(s: Subject) -> None:
    """Every implementation of its kernels gives what the reference gives, gradients too."""
    x, before = clone(s.x(3, 13)), s.warm()
    mask = s.marks("1111111111110", "0011101111011", "0000000000000")
    leaves = leaves_of(s, x, before)
    with kernels.use("reference"):
        output, after = s.layer(x, before, mask)
        expected = gradients_of(weigh(output, after), leaves)
    for name in set(registry.names()) - {"reference"}:
        try:
            with kernels.use(name):
                other, other_after = s.layer(x, before, mask)
                found = gradients_of(weigh(other, other_after), leaves)
        except InputError:
            continue  # that implementation cannot run here, and says so
        s.same(f"implementations {name}", "the output", other, output)
        s.same_state(f"implementations {name}", "the state", other_after, after)
        for one, two in zip(found, expected, strict=True):
            s.same(f"implementations {name}", f"a gradient of shape {list(one.shape)}", one, two)


def round_trips(s: Subject) -> None:
    """Weights and state survive saving; copies and pickles too; eval and seeds repeat."""
    x, before = s.x(), s.warm()
    output, after = s.layer(x, before)
    law = "round_trips"
    s.same(law, "a second call in eval", s.layer(x, before)[0], output)

    file = io.BytesIO()
    torch.save(s.layer.state_dict(), file)
    other = copy.deepcopy(s.layer)
    with torch.no_grad():
        for weight in other.parameters():
            weight.zero_()
    other.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    s.same(law, "the output after saving and loading weights", other(x, before)[0], output)
    try:
        pickled = pickle.loads(pickle.dumps(s.layer))
    except (AttributeError, TypeError, pickle.PicklingError) as error:
        raise LawBroken(f"{law}: the layer cannot be pickled ({error})") from None
    s.same(law, "the output of a pickled layer", pickled(x, before)[0], output)

    if s.causal:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "state.safetensors"
            state.save(after, path)
            s.same_state(law, "the state read back", state.load(path, s.device), after)

    s.layer.train()
    results = []
    for _ in range(2):
        torch.manual_seed(7)
        results.append(s.layer(x, before)[0])
    s.layer.eval()
    s.same(law, "a second training call from the same seed", *results)


LAWS: dict[str, Callable[[Subject], None]] = {
    law.__name__: law
    for law in (
        form,
        empty_time,
        independent_calls,
        chunkable,
        causal,
        padding,
        resets,
        rows,
        gradients,
        detach,
        agreement,
        implementations,
        round_trips,
    )
}
