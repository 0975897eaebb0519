"""How widely heads of attention spread, and how far they look."""

import math

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from throughtime.errors import InputError
from throughtime.inspect.attention import attention_maps
from throughtime.inspect.attention_measures import (
    attention_distance,
    attention_entropy,
    draw_head_measures,
)
from throughtime.inspect.theme import DARK, THEMES
from throughtime.layers import Decoder, Encoder, GlobalAttention


def pointing(*targets):
    """A head whose step t looks at step targets[t] alone."""
    return torch.eye(len(targets)).double()[list(targets)]


def evenly(time, *, causal=False):
    ones = torch.ones(time, time).double()
    ones = ones.tril() if causal else ones
    return ones / ones.sum(-1, keepdim=True)


def layer(*heads):
    return torch.stack(heads)[None]


# Entropy


def test_entropy_is_that_of_the_number_of_steps_looked_at():
    halves = (pointing(0, 1, 2, 3) + pointing(1, 2, 3, 0)) / 2
    found = attention_entropy(layer(pointing(3, 2, 1, 0), halves, evenly(4)))
    assert found.tolist() == pytest.approx([0, math.log(2), math.log(4)])
    share = attention_entropy(layer(pointing(3, 2, 1, 0), halves, evenly(4)), share=True)
    assert share.tolist() == pytest.approx([0, 0.5, 1])


def test_causal_rows_have_as_many_choices_as_steps_so_far():
    heads = layer(evenly(5, causal=True), (evenly(5, causal=True) + pointing(*range(5))) / 2)
    nats, share = attention_entropy(heads), attention_entropy(heads, share=True)
    assert float(nats[0]) == pytest.approx(sum(math.log(n) for n in range(1, 6)) / 5)
    assert float(share[0]) == pytest.approx(1)  # the first row has no choice, and does not count
    expected = []
    for n in range(2, 6):
        itself, others = 0.5 + 0.5 / n, 0.5 / n
        entropy = -itself * math.log(itself) - (n - 1) * others * math.log(others)
        expected.append(entropy / math.log(n))
    assert float(share[1]) == pytest.approx(np.mean(expected))


def test_what_may_be_looked_at_is_told_by_any_head_or_from_outside():
    heads = layer(pointing(0, 0, 0), evenly(3))
    assert attention_entropy(heads, share=True).tolist() == pytest.approx([0, 1])
    alone = heads[:, :1]
    assert attention_entropy(alone, share=True).isnan().all()  # as if there were no choice
    allowed = torch.ones(1, 3, 3, dtype=torch.bool)
    assert attention_entropy(alone, share=True, allowed=allowed).tolist() == [0]
    two = heads[:, 1:] * 0 + torch.tensor([0.5, 0.5, 0])
    assert attention_entropy(two, share=True, allowed=allowed).item() == pytest.approx(
        math.log(2) / math.log(3)
    )


def test_padded_rows_are_not_counted_whatever_stands_in_them():
    maps = layer(evenly(4), pointing(1, 2, 3, 0)).repeat(2, 1, 1, 1)
    maps[1] = layer(evenly(2), pointing(1, 0))[0].new_zeros(2, 4, 4)
    maps[1, :, :2, :2] = layer(evenly(2), pointing(1, 0))[0]
    maps[1, :, 2:] = torch.nan
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    expected = [(4 * math.log(4) + 2 * math.log(2)) / 6, 0]
    assert attention_entropy(maps, mask).tolist() == pytest.approx(expected)
    assert attention_entropy(maps, mask, share=True).tolist() == pytest.approx([1, 0])
    nothing = torch.zeros(2, 4, dtype=torch.bool)
    assert attention_entropy(maps, nothing).isnan().all()


def test_rows_that_look_at_nothing_are_not_counted():
    maps = layer(evenly(3))
    maps[0, 0, 1] = 0
    assert attention_entropy(maps).item() == pytest.approx(math.log(3))


def test_attention_to_another_sequence_has_an_entropy_too():
    memory = torch.randn(2, 6, 5)
    attention = GlobalAttention(4, 5)
    state = attention.remember(memory, torch.arange(6) < torch.tensor([[6], [4]]))
    maps = attention_maps(attention, torch.randn(2, 3, 4), state)[""]
    share = attention_entropy(maps, share=True)
    assert share.shape == (1,)
    assert 0 < float(share) <= 1


def test_an_untrained_model_looks_almost_evenly():
    maps = attention_maps(Encoder(16, 4, 1), torch.zeros(2, 9, 16))
    assert all(attention_entropy(each, share=True).min() > 0.9 for each in maps.values())


# Distance


def test_distance_is_the_mean_number_of_steps():
    heads = layer(pointing(0, 1, 2, 3), pointing(0, 0, 1, 2), pointing(0, 0, 0, 0), evenly(4))
    expected = [0, 3 / 4, 6 / 4, np.mean([abs(t - s) for t in range(4) for s in range(4)])]
    assert attention_distance(heads).tolist() == pytest.approx(expected)


def test_padding_is_no_distance():
    few = layer(pointing(0, 0, 1), evenly(3))
    for real in ([1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [1, 0, 1, 0, 1]):
        mask = torch.tensor([real]).bool()
        padded = torch.full((1, 2, 5, 5), torch.nan).double()
        padded[:, :, mask[0]] = 0
        padded[:, :, mask[0].nonzero(), mask[0].nonzero().T] = few
        torch.testing.assert_close(attention_distance(padded, mask), attention_distance(few))
        nats = attention_entropy(padded, mask)
        torch.testing.assert_close(nats, attention_entropy(few))


def test_places_in_a_plane_are_apart_as_the_crow_flies():
    places = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    heads = layer(pointing(1, 0, 0), pointing(0, 2, 2))
    expected = [(5 + 5 + 1) / 3, (0 + math.hypot(3, 3) + 0) / 3]
    assert attention_distance(heads, places=places).tolist() == pytest.approx(expected)
    line = torch.tensor([0.0, 10.0, 30.0])
    assert attention_distance(heads, places=line).tolist() == pytest.approx([50 / 3, 20 / 3])


def test_what_is_nowhere_is_left_out_and_the_rest_made_whole():
    places = torch.tensor([torch.nan, 0.0, 2.0])
    half = torch.tensor([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [1.0, 0.0, 0.0]]).double()
    # Row 0 is nowhere, row 1 is 2 from what it looks at, row 2 looks only at what is nowhere.
    assert attention_distance(layer(half), places=places).tolist() == [2]
    assert attention_distance(layer(pointing(0, 0, 0)), places=places).isnan().all()


def test_a_horizon_bounds_the_distance():
    decoder = Decoder(8, 2, 1, horizon=3)
    (maps,) = attention_maps(decoder, torch.randn(1, 30, 8)).values()
    assert (attention_distance(maps) < 3).all()


def test_measures_refuse_what_does_not_fit_in_one_line():
    square = torch.rand(2, 3, 4, 4)
    for call, message in (
        (
            lambda: attention_entropy(square[0]),
            "attention_entropy: weights have shape [3, 4, 4], expected [batch, heads, time, steps]",
        ),
        (
            lambda: attention_entropy(square, torch.ones(2, 3).bool()),
            "attention_entropy: mask has shape [2, 3], expected [2, 4]",
        ),
        (
            lambda: attention_entropy(square, share=True, allowed=torch.ones(1, 4, 4).bool()),
            "attention_entropy: allowed has shape [1, 4, 4], expected [2, 4, 4]",
        ),
        (
            lambda: attention_distance(square[:, :, :3]),
            "attention_distance: the map of '0' has shape [2, 3, 3, 4], expected "
            "[batch, heads, time, time], as of self-attention without a state",
        ),
        (
            lambda: attention_distance(square, places=torch.rand(3)),
            "attention_distance: places have shape [3], expected [4] or [4, axes]",
        ),
    ):
        with pytest.raises(InputError) as refused:
            call()
        assert str(refused.value) == message


# The figure


@pytest.mark.parametrize("theme", THEMES)
def test_each_head_is_a_dot_above_its_layer(theme):
    measures = {"low": torch.tensor([1.0, 3.0]), "top": torch.tensor([4.0, 8.0, 6.0])}
    ax = draw_head_measures(Figure().subplots(), measures, theme=theme)
    dots = [np.asarray(each.get_offsets()) for each in ax.collections]
    assert [each[:, 1].tolist() for each in dots] == [[1, 3], [4, 8, 6]]
    assert [each[:, 0].round().tolist() for each in dots] == [[1, 1], [2, 2, 2]]
    assert len({*dots[1][:, 0]}) == 3  # beside each other
    (line,) = ax.get_lines()
    assert np.asarray(line.get_ydata()).tolist() == [2, 6]
    assert ax.get_title(loc="left") == "Distance rises from 2 to 6 steps"
    assert ax.get_ylabel() == "distance, steps"
    ends = [text.get_text() for text in ax.texts if text.get_text().isdigit()]
    assert ends == ["0", "1", "0", "1"]
    assert ax.get_ylim()[0] < 0 < 8 < ax.get_ylim()[1]


@pytest.mark.parametrize(
    ("measures", "options", "title"),
    [
        ([2.0], {}, "Distance: 2 steps on average"),
        ([2.0, 2.1], {}, "Distance stays about 2.1 steps"),
        ([2.0, 1.0], {"what": "entropy", "unit": "nats"}, "Entropy falls from 2 to 1 nats"),
        ([2.0, 9.0], {"unit": "a very long unit"}, "Distance rises from 2 to 9"),
        ([2.0, 9.0], {"unit": ""}, "Distance rises from 2 to 9"),
        ([2.0, 9.0], {"title": "found"}, "found"),
    ],
)
def test_the_title_says_how_the_mean_goes(measures, options, title):
    layers = {str(at): torch.tensor([each]) for at, each in enumerate(measures)}
    ax = draw_head_measures(Figure().subplots(), layers, theme=DARK, **options)
    assert ax.get_title(loc="left") == title


def test_unknown_numbers_are_left_out_of_the_figure():
    nan = math.nan
    layers = {"1": torch.tensor([nan, nan]), "2": torch.tensor([nan, 2.0]), "3": torch.ones(2)}
    figure = Figure()
    ax = draw_head_measures(figure.subplots(), layers)
    np.testing.assert_array_equal(ax.get_lines()[0].get_ydata(), [nan, 2, 1])
    assert "nan" not in ax.get_title(loc="left")
    figure.canvas.draw()
    ax = draw_head_measures(Figure().subplots(), {"1": torch.tensor([nan, nan])})
    assert ax.get_title(loc="left") == "Distance of each head"
    with pytest.raises(InputError, match="got no measures"):
        draw_head_measures(Figure().subplots(), {})
