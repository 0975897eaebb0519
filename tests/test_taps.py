"""Values named inside a model: who sees them, who replaces them, and what that costs nobody."""

import contextvars
import threading

import pytest
import torch
from torch import nn

from throughtime import taps
from throughtime.taps import Steps, Watch, declared, on_steps, tap, turned, unwatched, watching


class Scale(nn.Module):
    """The smallest module with something to see."""

    taps = {"scaled": "the input by three: [batch, time, features]"}  # noqa: RUF012

    def forward(self, x, mask=None):
        return tap(self, "scaled", 3 * x, mask)


def seeing(layer, name="scaled", **options):
    """A watch, and the list that what it sees goes to."""
    seen = []
    return Watch(see={layer: {name: seen.append}}, **options), seen


def replacing(layer, function, name="scaled"):
    return Watch(replace={layer: {name: lambda value, step: function(value)}})


@pytest.fixture
def layer():
    return Scale()


@pytest.fixture
def x():
    return torch.arange(1.0, 9.0).view(2, 4, 1)


MASK = torch.tensor([[True, True, False, False], [False, True, False, True]])


def test_nobody_watches_and_the_value_itself_comes_back(layer):
    value = torch.ones(1, 2, 3)
    assert tap(layer, "scaled", value) is value
    assert not taps.watched(layer)
    assert not taps._open


def test_what_is_seen_is_what_goes_on(layer, x):
    watch, seen = seeing(layer)
    with watching(watch):
        assert taps.watched(layer)
        assert taps.watched(layer, "scaled")
        assert not taps.watched(layer, "other")
        output = layer(x)
    assert seen == [output]
    assert layer(x) is not None
    assert len(seen) == 1  # after the block nobody looks
    assert not taps._open


def test_another_layer_is_not_touched(layer, x):
    other = Scale()
    watch, seen = seeing(layer)
    with watching(watch), watching(replacing(layer, torch.zeros_like)):
        assert not taps.watched(other)
        assert torch.equal(other(x), 3 * x)
    assert seen == []


def test_what_is_replaced_is_seen_by_all(layer, x):
    outer, before = seeing(layer)
    inner, after = seeing(layer)
    plus, times = replacing(layer, lambda v: v + 1), replacing(layer, lambda v: 2 * v)
    with watching(outer), watching(plus), watching(times), watching(inner):
        output = layer(x)
    assert torch.equal(output, 2 * (3 * x + 1))  # the outermost first
    assert torch.equal(before[0], output)
    assert torch.equal(after[0], output)


def test_an_error_ends_the_watch(layer):
    watch, _ = seeing(layer)
    with pytest.raises(KeyError), watching(watch):
        raise KeyError
    assert not taps._open
    assert not taps.watched(layer)


def test_watches_may_end_in_any_order(layer, x):
    (first, one), (second, two) = seeing(layer), seeing(layer)
    entered_first, entered_second = watching(first), watching(second)
    entered_first.__enter__()
    entered_second.__enter__()
    entered_first.__exit__(None, None, None)
    layer(x)
    entered_second.__exit__(None, None, None)
    assert (len(one), len(two)) == (0, 1)
    assert not taps._open


def test_threads_do_not_see_each_other(layer, x):
    watch, seen = seeing(layer)
    outputs = []
    with watching(watch), watching(replacing(layer, torch.zeros_like)):
        other = threading.Thread(target=lambda: outputs.append(layer(x)))
        other.start()
        other.join()
        assert torch.equal(layer(x), torch.zeros_like(x))
    assert torch.equal(outputs[0], 3 * x)
    assert len(seen) == 1


def test_a_copied_context_goes_on_watching(layer, x):
    """As asyncio's tasks do, and what runs in `asyncio.to_thread`."""
    watch, seen = seeing(layer)
    with watching(watch):
        contextvars.copy_context().run(layer, x)
    assert len(seen) == 1


def test_padded_steps_are_zeros_whatever_replaces_them(layer, x):
    watch, seen = seeing(layer)
    with watching(watch):
        plain = layer(x, MASK)
    assert torch.equal(plain, 3 * x)  # seeing changes nothing, not even in padded steps
    assert torch.equal(seen[0][MASK], 3 * x[MASK])
    assert (seen[0][~MASK] == 0).all()
    with watching(watch), watching(replacing(layer, torch.ones_like)):
        output = layer(x, MASK)
    assert torch.equal(output, MASK.unsqueeze(-1).float())
    assert torch.equal(seen[1], output)


def test_a_mask_of_steps_fits_values_of_heads(layer):
    value = torch.ones(2, 3, 4, 5)  # batch, heads, time, features
    watch, seen = seeing(layer)
    with watching(watch):
        tap(layer, "scaled", value, MASK)
    assert torch.equal(seen[0][:, 1, :, 2], MASK.float())


def test_nan_in_padding_is_not_seen(layer, x):
    x = x.clone()
    x[~MASK] = torch.nan
    watch, seen = seeing(layer)
    with watching(watch):
        layer(x, MASK)
    assert not seen[0].isnan().any()


def test_packed_steps_are_seen_in_their_places(layer, x):
    watch, seen = seeing(layer)
    with watching(watch), watching(replacing(layer, lambda v: v + torch.arange(4.0).view(4, 1))):
        packed = on_steps(layer, MASK, packed=True)(x[MASK].unsqueeze(0))
    expected = 3 * x + torch.arange(4.0).view(4, 1)  # the function sees where steps stand
    assert torch.equal(packed, expected[MASK].unsqueeze(0))
    assert torch.equal(seen[0][MASK], expected[MASK])
    assert (seen[0][~MASK] == 0).all()


def test_steps_with_padding_among_them(layer, x):
    watch, seen = seeing(layer)
    with watching(watch):
        assert torch.equal(on_steps(layer, MASK)(x), 3 * x)
    assert (seen[0][~MASK] == 0).all()


def test_time_turned_around_is_turned_back(layer, x):
    watch, seen = seeing(layer)
    with watching(watch), watching(replacing(layer, lambda v: v.cumsum(1))):
        output = turned(layer)(x.flip(1), MASK.flip(1))
    expected = (3 * x * MASK.unsqueeze(-1)).cumsum(1) * MASK.unsqueeze(-1)
    assert torch.equal(seen[0], expected)
    assert torch.equal(output, expected.flip(1))


def test_maps_are_turned_on_both_axes(layer):
    value = torch.arange(9.0).view(1, 1, 3, 3)
    watch, seen = seeing(layer, "attention")
    with watching(watch):
        turned(lambda: tap(layer, "attention", value))()
        turned(lambda: tap(layer, "attention", value.flip(-1, -2)))()
    assert torch.equal(seen[0], value.flip(-1, -2))
    assert torch.equal(seen[1], value)


def test_unwatched_hides_and_shows_again(layer, x):
    watch, seen = seeing(layer)
    with watching(watch):
        unwatched(layer)(x)
        assert seen == []
        layer(x)
    assert len(seen) == 1


def test_wrappers_cost_nothing_while_nobody_watches(layer):
    assert on_steps(layer, MASK) is layer
    assert turned(layer) is layer
    assert unwatched(layer) is layer


def test_history_goes_through_what_was_seen(layer, x):
    """With history the model goes on with what was seen: a loss has a gradient in it."""
    x.requires_grad_()
    watch, seen = seeing(layer, history=True)
    with watching(watch):
        output = layer(x, MASK)
    (in_seen,) = torch.autograd.grad(output.sum(), seen[0], retain_graph=True)
    assert torch.equal(in_seen[MASK], torch.ones_like(in_seen[MASK]))
    (in_input,) = torch.autograd.grad(seen[0].sum(), x)
    assert torch.equal(in_input, 3.0 * MASK.unsqueeze(-1))


class TestSteps:
    """What a loop over time hands out step by step."""

    taps = ("sum",)

    @pytest.fixture
    def summing(self):
        class Summing(nn.Module):
            taps = {"sum": "so far"}  # noqa: RUF012

            def forward(self, x, mask=None):
                steps = Steps(self, x, x.shape[2], mask) if taps.watched(self) else None
                total = x.new_zeros(x.shape[0], x.shape[2])
                for t in range(x.shape[1]):
                    total = total + x[:, t]
                    total = total if steps is None else steps("sum", total, t)
                if steps is not None:
                    steps.show()
                return total

        return Summing()

    def test_are_seen_as_one_value(self, summing, x):
        watch, seen = seeing(summing, "sum")
        with watching(watch):
            summing(x)
        assert torch.equal(seen[0], x.cumsum(1))

    def test_what_replaces_one_enters_the_next(self, summing, x):
        watch, seen = seeing(summing, "sum")
        calls = []

        def double(value, step):
            calls.append((step, list(value.shape)))
            return 2 * value

        with watching(watch), watching(Watch(replace={summing: {"sum": double}})):
            last = summing(x)
        assert calls == [(t, [2, 1, 1]) for t in range(4)]
        assert last[0].item() == 2 * (2 * (2 * (2 * 1 + 2) + 3) + 4)
        assert torch.equal(seen[0][:, -1], last)

    def test_padded_ones_are_zeros(self, summing, x):
        watch, seen = seeing(summing, "sum")
        with watching(watch), watching(replacing(summing, torch.ones_like, "sum")):
            summing(x, MASK)
        assert torch.equal(seen[0], MASK.unsqueeze(-1).float())

    def test_none_at_all_is_seen_too(self, summing):
        watch, seen = seeing(summing, "sum")
        with watching(watch):
            summing(torch.zeros(2, 0, 3))
        assert seen[0].shape == (2, 0, 3)

    def test_count_from_the_other_end_where_time_is_turned(self, summing, x):
        watch, seen = seeing(summing, "sum")
        steps = []

        def note(value, step):
            steps.append(step)
            return value

        with watching(watch), watching(Watch(replace={summing: {"sum": note}})):
            turned(summing)(x.flip(1))
        assert steps == [3, 2, 1, 0]
        assert torch.equal(seen[0], x.flip(1).cumsum(1).flip(1))


def test_only_mappings_declare(layer):
    class Taps(nn.Module):
        """A module that calls something else so."""

        def __init__(self):
            super().__init__()
            self.taps = nn.ModuleList()

    assert declared(layer) == Scale.taps
    assert declared(Taps()) == {}
    assert declared(nn.Linear(1, 1)) == {}
