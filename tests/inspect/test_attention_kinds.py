"""What kind of head each is."""

import math

import pytest
import torch

from throughtime.errors import InputError
from throughtime.inspect.attention import attention_maps
from throughtime.inspect.attention_kinds import Head, Heads, describe_heads
from throughtime.layers import Decoder

TIME = 16


def pointing(target, time=TIME, noise=0.2):
    """A head whose step t gives all but `noise` to step target(t), and the rest to all alike."""
    rows = [min(max(target(t), 0), time - 1) for t in range(time)]
    return (1 - noise) * torch.eye(time)[rows] + noise / time


def causally(weights):
    kept = weights.tril()
    return kept / kept.sum(-1, keepdim=True)


def kinds(*heads, **options):
    return [head.kind for head in describe_heads([torch.stack(heads)[None]], **options)]


KINDS = {
    "itself": lambda t: t,
    "the step before": lambda t: t - 1,
    "5 steps back": lambda t: t - 5,
    "the first step": lambda t: 0,
}
AHEAD = {
    "the step after": lambda t: t + 1,
    "2 steps ahead": lambda t: t + 2,
    "the last step": lambda t: TIME - 1,
}


def test_each_place_is_told_where_heads_see_all():
    every = KINDS | AHEAD
    assert kinds(*map(pointing, every.values())) == [*every]


def test_each_place_behind_is_told_where_heads_see_the_past():
    assert kinds(*(causally(pointing(each)) for each in KINDS.values())) == [*KINDS]


@pytest.mark.parametrize(("name", "target"), KINDS.items())
def test_a_head_alone_that_gives_nothing_to_others_is_told(name, target):
    assert kinds(pointing(target, noise=0)) == [name]


def test_even_near_and_by_content():
    scattered = torch.eye(TIME)[torch.randperm(TIME)].roll(5, 1)
    near = sum(pointing(lambda t, by=by: t - by, noise=0) for by in range(4)) / 4
    even = torch.full((TIME, TIME), 1 / TIME)
    assert kinds(even, near, 0.9 * scattered + 0.1 * even) == ["evenly", "nearby", "by content"]
    assert kinds(causally(even), causally(near)) == ["evenly", "nearby"]
    assert kinds(causally(near)) == ["evenly"]  # alone: it may see no further


def test_the_share_is_what_goes_to_the_place():
    head = 0.6 * torch.eye(TIME) + 0.4 / TIME
    (found,) = describe_heads([head[None, None]])
    assert found.kind == "itself"
    assert found.share == pytest.approx(0.6 + 0.4 / TIME)
    assert found.confidence == pytest.approx(0.6 + 0.4 / TIME)
    assert kinds(head, share=0.8) == ["by content"]
    apart = 0.4 * sum(abs(t - s) for t in range(TIME) for s in range(TIME)) / TIME**2
    assert found.distance == pytest.approx(apart)


def test_a_share_must_be_well_above_that_of_an_even_spread():
    # Of two steps each has half anyway; a third of the way to all is two thirds.
    for itself, kind in ((0.5, "evenly"), (0.65, "by content"), (0.68, "itself"), (1, "itself")):
        two = torch.tensor([[1.0, 0.0], [1 - itself, itself]])
        assert kinds(two) == [kind]


def test_a_place_that_few_steps_have_says_nothing():
    # Only the last step has one 15 steps back.
    head = causally(torch.full((TIME, TIME), 1.0))
    head[-1] = torch.eye(TIME)[0]
    assert "15 steps back" not in kinds(head)


def test_of_the_first_token_and_a_step_back_the_heavier_counts():
    head = 0.5 * pointing(lambda t: 0, noise=0) + 0.5 * pointing(lambda t: t - 1, noise=0)
    heavier = head + 0.1 * pointing(lambda t: 0, noise=0)
    assert kinds(heavier / heavier.sum(-1, keepdim=True)) == ["the first step"]


def test_padding_is_not_counted():
    for name, target in (KINDS | AHEAD).items():
        few = pointing(lambda t, to=target: min(to(t), 9), time=10)
        mask = torch.zeros(1, TIME, dtype=torch.bool)
        mask[0, [0, 1, 2, 4, 5, 6, 9, 10, 12, 13]] = True
        at = mask[0].nonzero()
        padded = torch.full((1, 1, TIME, TIME), torch.nan)
        padded[:, :, mask[0]] = 0
        padded[:, :, at, at.T] = few
        (found,) = describe_heads({"a": padded}, mask)
        (alone,) = describe_heads({"a": few[None, None]})
        assert found.kind == alone.kind == name
        assert found.share == pytest.approx(alone.share)
        assert found.distance == pytest.approx(alone.distance)


def test_a_fixed_place_is_that_of_each_row():
    # The last real step is another one in each row.
    maps, mask = torch.zeros(2, 1, 8, 8), torch.ones(2, 8, dtype=torch.bool)
    maps[0, 0, :, 7] = maps[1, 0, :5, 4] = 1
    maps = 0.9 * maps
    maps[0] += 0.1 / 8
    maps[1, :, :5, :5] += 0.1 / 5
    mask[1, 5:] = False
    (found,) = describe_heads([maps], mask)
    assert (found.kind, found.share) == (
        "the last step",
        pytest.approx((8 * 0.9125 + 5 * 0.92) / 13),
    )


def test_a_horizon_counts_as_fewer_choices():
    far = torch.arange(40).view(-1, 1) - torch.arange(40)
    weights = ((far >= 0) & (far <= 4)).float()
    assert kinds(weights / weights.sum(-1, keepdim=True)) == ["evenly"]


def test_all_heads_of_a_model_are_described_and_printed():
    maps = attention_maps(Decoder(16, 4, 3, horizon=20), torch.randn(2, 12, 16))
    found = describe_heads(maps)
    assert len(found) == 12
    assert [head.layer for head in found[:5]] == [*[next(iter(maps))] * 4, [*maps][1]]
    assert [head.head for head in found][:5] == [0, 1, 2, 3, 0]
    assert isinstance(found[2:4], Heads)
    assert isinstance(found[-1], Head)
    lines = str(found).splitlines()
    assert len(lines) == 13
    assert lines[0].split() == [
        "layer", "head", "looks", "at", "share", "entropy", "distance", "confidence",
    ]  # fmt: skip


def test_the_table_says_where_there_is_no_number():
    heads = Heads((Head("a<b", 0, "evenly", math.nan, 0.98, 2.5, 0.125),))
    assert str(heads) == (
        "layer  head  looks at  share  entropy  distance  confidence\n"
        "a<b       0  evenly        -     0.98      2.50        0.12"
    )
    assert heads._repr_html_().startswith("<pre>layer")
    assert "a&lt;b  " in heads._repr_html_()


def test_long_sequences_are_fast_and_empty_ones_legal():
    assert len(describe_heads([torch.rand(1, 4, 400, 400).softmax(-1)])) == 4
    (found,) = describe_heads([torch.zeros(2, 1, 0, 0)])
    assert found.kind == "by content"
    (one,) = describe_heads([torch.ones(2, 1, 1, 1)])  # without a choice
    assert (one.kind, one.confidence) == ("by content", 1)


def test_what_cannot_be_described_is_refused():
    with pytest.raises(
        InputError, match=r"^describe_heads: share is 0\.0, expected a share in \(0, 1\]$"
    ):
        describe_heads([torch.ones(1, 1, 1, 1)], share=0.0)
    with pytest.raises(InputError, match=r"^describe_heads: got no maps"):
        describe_heads({})
    with pytest.raises(InputError, match=r"^describe_heads: the map of 'x' has shape"):
        describe_heads({"x": torch.ones(1, 1, 2, 3)})
