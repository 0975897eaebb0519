"""Each way of choosing against its definition, spelt out on small vocabularies."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from throughtime.decoding.sampling import (
    Sampling,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    penalise,
    pick,
    temper,
)
from throughtime.errors import InputError

# Far enough apart that no sum of probabilities hangs on rounding.
rows = st.lists(st.integers(-40, 40), min_size=1, max_size=8, unique=True).map(
    lambda values: torch.tensor([values], dtype=torch.float64) / 10
)


def kept(logits):
    return [bool(x > -math.inf) for x in logits[0]]


def softmax(logits):
    weights = [math.exp(x) for x in logits[0].tolist()]
    return [weight / sum(weights) for weight in weights]


@settings(deadline=None)
@given(rows, st.integers(1, 10))
def test_top_k_keeps_tokens_with_fewer_than_k_above(logits, k):
    p = softmax(logits)
    expected = [sum(other > one for other in p) < k for one in p]
    found = keep_top_k(logits, k)
    assert kept(found) == expected
    assert torch.equal(found[0, expected], logits[0, expected])


@settings(deadline=None)
@given(rows, st.floats(0.01, 1))
def test_top_p_keeps_tokens_with_less_than_p_above(logits, p):
    share = softmax(logits)
    expected = [sum(other for other in share if other > one) < p - 1e-12 for one in share]
    found = keep_top_p(logits, p)
    assert kept(found) == expected
    assert torch.equal(found[0, expected], logits[0, expected])


def test_top_p_of_equals_keeps_the_first():
    assert kept(keep_top_p(torch.zeros(1, 4), 0.5)) == [True, True, False, False]
    assert kept(keep_top_p(torch.zeros(1, 4), 0.51)) == [True, True, True, False]


@settings(deadline=None)
@given(rows, st.floats(0, 1))
def test_min_p_keeps_tokens_near_the_likeliest(logits, p):
    share = softmax(logits)
    expected = [one >= p * max(share) - 1e-12 for one in share]
    assert kept(keep_min_p(logits, p)) == expected


def test_rows_are_changed_by_themselves():
    logits = torch.tensor([[0.0, 3.0, 1.0], [5.0, 1.0, 4.9]])
    for change in (lambda x: keep_top_k(x, 2), lambda x: keep_top_p(x, 0.6),
                   lambda x: keep_min_p(x, 0.3), lambda x: temper(x, 0.7)):  # fmt: skip
        both = change(logits)
        assert torch.equal(both, torch.cat([change(logits[:1]), change(logits[1:])]))


def test_the_penalty_is_that_of_ctrl():
    logits = torch.tensor([[2.0, -2.0, 0.0, 2.0]])
    seen = torch.tensor([[True, True, True, False]])
    assert penalise(logits, seen, 4.0).tolist() == [[0.5, -8.0, 0.0, 2.0]]
    assert penalise(logits, seen, 0.5).tolist() == [[4.0, -1.0, 0.0, 2.0]]


def test_temperature_divides():
    logits = torch.tensor([[1.0, 3.0]], dtype=torch.float64)
    assert temper(logits, 0.5).softmax(-1).tolist()[0][1] == pytest.approx(1 / (1 + math.exp(-4)))
    assert temper(logits, 1e-320).argmax() == 1
    assert not temper(logits, 1e-320).isnan().any()


def test_each_token_has_its_share_of_the_random_numbers():
    p = torch.tensor([0.5, 0.0, 0.2, 0.3, 0.0], dtype=torch.float64)
    uniform = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    tokens = pick(p.log().expand(1000, -1), uniform)
    assert torch.bincount(tokens, minlength=5).tolist() == [500, 0, 200, 300, 0]
    assert pick(p.log()[None], torch.tensor([1 - 2**-53], dtype=torch.float64)).tolist() == [3]
    assert pick(p.log()[None], torch.tensor([0.0])).tolist() == [0]
    assert pick(p.log()[None, 1:], torch.tensor([0.0])).tolist() == [1]


def test_the_order_is_penalty_temperature_k_p_min_p():
    logits = torch.tensor([[3.0, 2.5, 2.0, 1.0, 0.9, 0.1]], dtype=torch.float64)
    seen = torch.tensor([[True, False, False, False, False, False]])
    expected = temper(penalise(logits, seen, 1.5), 2.0)
    expected = keep_min_p(keep_top_p(keep_top_k(expected, 4), 0.95), 0.6)
    assert 1 < sum(kept(expected)) < 4
    whole = Sampling(2.0, 4, 0.95, 0.6, 1.5)
    for number in torch.linspace(0, 0.999, 101):
        uniform = number[None]
        assert whole(logits, seen, uniform) == pick(expected, uniform)
    # After top-k, top-p counts what is left only: else it would keep three here.
    flat = torch.tensor([[1.0, 1.0, 1.0, 1.0]]).mul(torch.tensor([1.0, 0.99, 0.98, 0.97]))
    tokens = Sampling(top_k=2, top_p=0.5)(flat.expand(50, -1), uniform=torch.linspace(0, 0.99, 50))
    assert tokens.unique().tolist() == [0]


def test_greedy_takes_the_likeliest_after_the_penalty():
    logits = torch.tensor([[3.0, 2.5, 2.5]])
    seen = torch.tensor([[True, False, False]])
    assert Sampling(greedy=True)(logits, seen).tolist() == [0]
    assert Sampling(repetition_penalty=2.0, greedy=True)(logits, seen).tolist() == [1]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"temperature": 0.0}, "temperature is 0.0, expected a number above 0"),
        ({"temperature": math.nan}, "temperature is nan"),
        ({"temperature": math.inf}, "temperature is inf"),
        ({"repetition_penalty": -1.0}, "repetition_penalty is -1.0, expected a number above 0"),
        ({"top_k": 0}, "top_k is 0, expected at least 1"),
        ({"top_p": 0.0}, "top_p is 0.0, expected a probability above 0, up to 1"),
        ({"top_p": 1.1}, "top_p is 1.1"),
        ({"min_p": -0.1}, "min_p is -0.1, expected a share from 0 to 1"),
        ({"min_p": math.nan}, "min_p is nan"),
        ({"greedy": True, "top_k": 3}, "top_k is 3, expected none: greedy leaves nothing"),
        ({"greedy": True, "temperature": 0.5}, "temperature is 0.5, expected none: greedy"),
    ],
)
def test_what_cannot_be(fields, said):
    with pytest.raises(InputError, match=said):
        Sampling(**fields)
