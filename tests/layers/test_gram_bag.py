"""A bag of n-grams beyond the laws: what it sums up, and what it refuses."""

import math

import pytest
import torch

from throughtime.errors import InputError
from throughtime.layers import GramBag
from throughtime.layers.grams import buckets_of
from throughtime.state import load_tree, save_tree

LETTERS = [[1, 2, 3], [4], [5, 6], [7], [1, 4]]


def bag(**options):
    layer = GramBag(5, 2, buckets=1000, **{"lengths": (2, 4), "scale": 3.0, **options})
    torch.nn.init.normal_(layer.weight)
    return layer


def expected(layer, letters, count):
    """By the formula, letter by letter."""
    first, last = layer.lengths
    line = [0] * (last - 1) + letters
    total = torch.zeros(2)
    for end in range(last, len(line) + 1):
        found = buckets_of(torch.tensor([[line[end - last : end]]]), layer.lengths, layer.buckets)
        total += layer.weight[found[0, 0]].sum(0).detach()
    assert count == len(letters) * (last - first + 1)
    return layer.scale / math.sqrt(count) * total


@pytest.mark.parametrize("letters", [None, LETTERS])
def test_the_sum_of_the_formula(letters):
    layer = bag(letters=letters)
    x = torch.tensor([[2, 0, 4, 3, 0]])
    y, state = layer(x)
    line, counts = [], []
    for t, token in enumerate(x[0].tolist()):
        line += letters[token] if letters else [token + 1]
        counts.append(3 * len(line))
        torch.testing.assert_close(y[0, t], expected(layer, line, counts[-1]))
    assert state.past.tolist() == [line[-3:]]
    assert state.seen.tolist() == counts[-1:]


def test_padding_between_letters_and_tokens_takes_no_place():
    layer = bag(letters=LETTERS)
    whole, _ = layer(torch.tensor([[2, 0, 4]]))
    x = torch.tensor([[1, 2, 3, 0, 4, 4]])
    mask = torch.tensor([[False, True, False, True, True, False]])
    y, _ = layer(x, None, mask)
    torch.testing.assert_close(y[0, mask[0]], whole[0])
    assert not y[0, ~mask[0]].any()


def test_a_beginning_inside_a_row_forgets_what_came_before():
    layer = bag(letters=LETTERS)
    _, before = layer(torch.tensor([[1, 1, 0]]))
    reset = torch.tensor([[False, True, False, False]])
    y, state = layer(torch.tensor([[3, 2, 0, 4]]), before, None, reset)
    alone, other = layer(torch.tensor([[2, 0, 4]]))
    torch.testing.assert_close(y[:, 1:], alone)
    assert torch.equal(state.past, other.past)
    assert torch.equal(state.seen, other.seen)


def test_spelling_says_how_long_letters_are():
    plain, spelled = bag(), bag(letters=[[1], [2], [3], [4], [5]])
    assert not plain.spelled
    assert spelled.spelled
    spelled.load_state_dict({**spelled.state_dict(), "weight": plain.weight.detach()})
    x = torch.randint(5, (2, 6))
    torch.testing.assert_close(plain(x)[0], spelled(x)[0])
    spelled.spell(LETTERS)
    assert spelled.letters.tolist()[1:3] == [[4, 0, 0], [5, 6, 0]]
    again = bag(letters=[[1], [2], [3], [4], [5]])
    again.load_state_dict(spelled.state_dict())  # what was spelled is part of what is saved
    torch.testing.assert_close(again(x)[0], spelled(x)[0])


def test_what_was_never_learnt_says_nothing():
    y, _ = GramBag(9, 4)(torch.randint(9, (2, 6)))
    assert not y.any()


def test_a_text_without_a_beginning_or_end_goes_on_from_a_file(tmp_path):
    layer = bag(letters=LETTERS)
    x = torch.randint(5, (2, 7))
    whole, _ = layer(x)
    _, state = layer(x[:, :3])
    save_tree(state, tmp_path / "state")
    rest, _ = layer(x[:, 3:], load_tree(tmp_path / "state"))
    torch.testing.assert_close(rest, whole[:, 3:])


def test_long_texts_are_as_loud_as_short_ones():
    """Where n-grams say nothing in common their sum grows as the root of their number."""
    torch.manual_seed(0)
    layer = GramBag(50, 1, lengths=(2, 3), buckets=100_000)
    torch.nn.init.normal_(layer.weight)
    y = layer(torch.randint(50, (200, 400)))[0][..., 0].detach().std(0)
    assert 0.8 < float(y[20] / y[399]) < 1.25


def test_a_long_text_in_half_precision():
    """Sums are kept in float32: in bfloat16 one of thousands stands still."""
    layer = GramBag(5, 1, lengths=(1, 1), buckets=1000, scale=1.0).to(torch.bfloat16)
    torch.nn.init.constant_(layer.weight, 0.05)
    x = torch.randint(5, (1, 3000))
    whole, state = layer(x)
    assert whole.dtype == torch.bfloat16
    assert state.total.dtype == torch.float32
    _, state = layer(x[:, :2999])
    last, _ = layer(x[:, 2999:], state)
    expected = 0.05 * math.sqrt(3000)
    assert float(whole[0, -1].detach()) == pytest.approx(expected, rel=0.01)
    assert float(last[0, 0].detach()) == pytest.approx(expected, rel=0.01)
    half = layer.half()(torch.randint(5, (1, 70_000)))[0][0, -1]
    assert float(half.detach()) == pytest.approx(0.05 * math.sqrt(70_000), rel=0.01)


def test_nothing_of_a_loud_past_is_left_after_a_reset():
    layer = GramBag(5, 1, lengths=(1, 1), buckets=1000)
    torch.nn.init.normal_(layer.weight)
    with torch.no_grad():
        loud = buckets_of(torch.tensor([[[1]]]), (1, 1), 1000)[0, 0]
        layer.weight[loud] = 1e8
    x = torch.tensor([[0, 0, 0, 3, 2]])
    reset = torch.tensor([[False, False, False, True, False]])
    torch.testing.assert_close(layer(x, None, None, reset)[0][:, 3:], layer(x[:, 3:])[0])


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32])
def test_ids_of_any_whole_type(dtype):
    layer = bag(letters=LETTERS)
    x = torch.randint(5, (2, 6))
    assert torch.equal(layer(x.to(dtype))[0], layer(x)[0])


@pytest.mark.parametrize(
    ("make_layer", "said"),
    [
        (lambda: bag(lengths=(0, 3)), r"lengths are \(0, 3\), expected the shortest \(1 or more\)"),
        (lambda: bag(lengths=(4, 3)), r"lengths are \(4, 3\)"),
        (lambda: bag(scale=0.0), "scale is 0.0, expected a positive number"),
        (lambda: bag(scale=float("nan")), "scale is nan, expected a positive number"),
        (lambda: bag(letters=[*LETTERS[:4], [2**40]]), "expected one to 3 whole numbers"),
        (lambda: GramBag(5, 2, buckets=0), "GramBag: buckets is 0"),
        (lambda: bag(letters=LETTERS[:4]), "letters are of 4 tokens, expected 5"),
        (
            lambda: bag(letters=[*LETTERS[:4], []]),
            r"letters of token 4 are \[\], expected one to 3",
        ),
        (lambda: bag(letters=[*LETTERS[:4], [1, 2, 3, 4]]), r"are \[1, 2, 3, 4\], expected one to"),
        (
            lambda: bag(letters=[*LETTERS[:4], [0]]),
            r"are \[0\], expected .* whole numbers from 1 on",
        ),
        (lambda: bag()(torch.rand(2, 3)), "GramBag: x is torch.float32 of shape"),
        (lambda: bag()(torch.zeros(2, 3, 1).long()), r"of shape \[2, 3, 1\]"),
    ],
)
def test_refused(make_layer, said):
    with pytest.raises(InputError, match=said):
        make_layer()
