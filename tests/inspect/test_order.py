"""Whether the order of a source is seen."""

import pytest
import torch

from throughtime.errors import InputError
from throughtime.inspect import OrderSeen, order_seen
from throughtime.inspect.order import _shuffled
from throughtime.models import ModelConfig, build_encoder_decoder


def model_of(**options):
    torch.manual_seed(0)
    sizes = {
        "tokens": 7,
        "source_tokens": 9,
        "width": 16,
        "heads": 2,
        "horizon": 20,
        "dropout": 0.1,
    }
    model = build_encoder_decoder(ModelConfig(**sizes, **options))
    for weight in model.parameters():  # larger than at first, so that answers are decided
        torch.nn.init.normal_(weight, std=0.5)
    return model


def ragged():
    """Padding at both ends and inside; one source without tokens, one with none to shuffle."""
    mask = torch.tensor(
        [[1, 1, 1, 1, 1, 1, 1], [0, 1, 1, 0, 1, 1, 0], [0, 0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0]]
    ).bool()
    x = torch.tensor([[1, 2, 3, 4, 5, 6, 8], [7, 1, 2, 7, 3, 8, 7], [7] * 7, [1, 8, *[7] * 5]])
    return x, mask


@pytest.mark.parametrize("options", [{}, {"layers": 2, "norm_first": False}, {"kv_heads": 1}])
def test_without_positions_the_order_is_not_seen(options):
    found = order_seen(model_of(kind="transformer", position="none", **options), *ragged())
    assert found.largest < 1e-5
    assert max(found.answer, found.first) < 1e-6
    assert found.same
    assert "are the same" in found.explain()


@pytest.mark.parametrize(
    "options",
    [{"kind": "transformer", "position": name} for name in ("rotary", "sinusoidal", "learned")]
    + [{"kind": "transformer", "position": "alibi"}]
    + [{"kind": "lstm"}, {"kind": "gru", "attention": "none"}]
    + [{"kind": "transformer", "encoder": "gru", "position": "none"}],
    ids=lambda options: "-".join(options.values()),
)
def test_with_positions_or_a_recurrence_it_is(options):
    found = order_seen(model_of(**options), *ragged())
    assert 1e-4 < found.answer <= 1  # by alibi's slopes not much, before it has learnt
    assert not found.same
    assert "sees where tokens stand" in found.explain()


def test_an_encoder_of_bags_below_a_recurrent_decoder_sees_no_order_either():
    found = order_seen(model_of(kind="lstm", encoder="transformer", position="none"), *ragged())
    assert found.same


def test_what_stands_in_padding_and_what_was_drawn_before_change_nothing():
    model, (x, mask) = model_of(kind="gru"), ragged()
    model.train()
    found = order_seen(model, x, mask)
    torch.manual_seed(5)
    again = order_seen(model, torch.where(mask, x, 0), mask)
    assert again == pytest.approx(found, abs=1e-6)
    assert model.training
    assert order_seen(model, x, mask, seed=1) != found


def test_a_ragged_batch_says_what_its_rows_say_alone():
    model, (x, mask) = model_of(kind="lstm").double(), ragged()
    found = order_seen(model, x, mask, times=60)
    alone = [order_seen(model, x[row, mask[row]][None], times=60) for row in (0, 1)]
    assert found.first == pytest.approx(sum(one.first for one in alone) / 2, rel=0.2)


def test_a_shuffle_keeps_the_tokens_the_last_one_and_the_padding():
    x, mask = ragged()
    seen = set()
    for seed in range(50):
        other = _shuffled(x, mask, torch.Generator().manual_seed(seed))
        assert torch.equal(other[~mask], x[~mask])
        assert other[0, -1] == 8
        assert other[1, 5] == 8
        assert torch.equal(other[3], x[3])
        for row in (0, 1):
            assert sorted(other[row, mask[row]].tolist()) == sorted(x[row, mask[row]].tolist())
        seen.add(tuple(other[1, mask[1]].tolist()))
    assert len(seen) == 6  # all orders of the three tokens that are free


@pytest.mark.parametrize("x", [[[1, 8]], [[1, 1, 1, 8]], [[8]]])
def test_sources_that_no_shuffle_changes_are_refused(x):
    with pytest.raises(InputError, match="no source changes when it is shuffled"):
        order_seen(model_of(kind="gru"), torch.tensor(x))
    with pytest.raises(InputError, match="times is 0"):
        order_seen(model_of(kind="gru"), torch.tensor(x), times=0)


def test_an_answer_counts_up_to_its_end():
    """A model that ends at once is judged by its first token alone."""
    model = model_of(kind="lstm").double()
    with torch.no_grad():
        model.head.output.bias[-1] = 100.0
    found = order_seen(model, *ragged())
    assert found.answer == found.first
    assert found.orders == 8 - sum(
        torch.equal(_shuffled_like(seed)[row], ragged()[0][row])
        for seed in range(4)
        for row in (0, 1)
    )


def _shuffled_like(times):
    generator = torch.Generator().manual_seed(0)
    return [_shuffled(*ragged(), generator) for _ in range(times + 1)][-1]


def test_the_sentence_says_how_much():
    found = OrderSeen(answer=0.8312, first=0.004, largest=0.99, orders=3, same=False)
    assert "first token of an answer by 0.4 %, and by 83 % on average" in found.explain()
    barely = found._replace(answer=0.001)
    assert barely.explain().endswith("sees where tokens stand, if barely.")
