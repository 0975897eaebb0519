"""Counts with back-off: against a slow twin made of dictionaries, as a distribution, as a layer."""

import math
import time
from collections import Counter, defaultdict
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from throughtime import state
from throughtime.errors import InputError
from throughtime.models import ngram_counts
from throughtime.models.ngram import NGram
from throughtime.models.ngram_counts import GramCounts, discounts
from throughtime.testing import LAWS, check_layer

# -- a twin: the same model as sentences of the textbook, one dictionary per length ---------------


class Twin:
    """Interpolated modified Kneser-Ney over dictionaries; a sequence begins with None."""

    def __init__(self, order, tokens, texts):
        self.order, self.tokens = order, tokens
        occurred = [Counter() for _ in range(order)]
        before = [defaultdict(set) for _ in range(order)]
        for text in texts:
            line = [None, *text]
            for at in range(1, len(line)):
                for length in range(min(order, at + 1)):
                    gram = tuple(line[at - length : at + 1])
                    occurred[length][gram] += 1
                    if length + 1 < order and at - length - 1 >= 0:
                        before[length][gram].add(line[at - length - 1])
        self.count = [
            {
                gram: n if length == order - 1 or gram[0] is None else len(before[length][gram])
                for gram, n in grams.items()
            }
            for length, grams in enumerate(occurred)
        ]
        self.discount = [self.discounts(Counter(grams.values())) for grams in self.count]

    @staticmethod
    def discounts(n):
        found = {0: 0.0}
        y = n[1] / (n[1] + 2 * n[2]) if n[1] else 0.0
        for k in (1, 2, 3):
            value = k - (k + 1) * y * n[k + 1] / n[k] if n[k] else 0.0
            found[k] = value if 0 < value < k else k / 2
        return found

    def p(self, context, token, length=None):
        """The probability of a token after a whole history, None being its beginning."""
        if length is None:
            length = min(self.order - 1, len(context))
        if length < 0:
            return 1 / self.tokens
        shorter = self.p(context, token, length - 1)
        tail = tuple(context[len(context) - length :])
        counts = {y: self.count[length].get((*tail, y), 0) for y in range(self.tokens)}
        total = sum(counts.values())
        if not total:
            return shorter
        taken = {y: self.discount[length][min(a, 3)] for y, a in counts.items()}
        return (counts[token] - taken[token]) / total + sum(taken.values()) / total * shorter


texts_of = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=30), min_size=1, max_size=4)


def padded(texts):
    time = max(map(len, texts))
    return torch.tensor([[*text, *[-1] * (time - len(text))] for text in texts])


def masked(x):
    return torch.where(x < 0, 0, x), x >= 0


@settings(max_examples=60, deadline=None)
@given(texts=texts_of, order=st.integers(1, 5), probe=st.lists(st.integers(0, 3), max_size=6))
def test_equals_its_twin(texts, order, probe):
    model = NGram(order, tokens=4).double().fit(padded(texts))
    twin = Twin(order, 4, texts)
    parameters, _ = model(torch.tensor([[4, *probe]]))
    for at in range(len(probe) + 1):
        expected = [twin.p([None, *probe[:at]], token) for token in range(4)]
        assert parameters[0, at].exp().tolist() == pytest.approx(expected, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(texts=texts_of, order=st.integers(1, 6), probe=st.lists(st.integers(0, 4), min_size=1))
def test_is_a_distribution_after_every_context(texts, order, probe):
    model = NGram(order, tokens=5).double().fit(padded(texts))  # token 4 never occurs
    parameters, _ = model(torch.tensor([[5, *probe]]))
    assert (parameters.exp() > 0).all()
    torch.testing.assert_close(parameters.exp().sum(-1), torch.ones_like(parameters[..., 0]))


def test_order_one_is_the_frequency_of_each_token():
    x = torch.tensor([[0] * 6 + [1] * 3 + [2]])
    p = NGram(1, tokens=4).double().fit(x)(x[:, :1])[0].exp().flatten()
    # No count is 2 or 4 and one each is 1 and 3: all discounts but the third fall back to a / 2.
    taken = [1.5, 1.5, 0.5, 0.0]
    expected = [(n - d) / 10 + 3.5 / 10 / 4 for n, d in zip([6, 3, 1, 0], taken, strict=True)]
    assert p.tolist() == pytest.approx(expected)


def test_discounts_are_those_of_chen_and_goodman():
    counts = np.repeat([1, 2, 3, 4, 9], [40, 20, 10, 4, 7])
    y = 40 / (40 + 2 * 20)
    expected = [0, 1 - 2 * y * 20 / 40, 2 - 3 * y * 10 / 20, 3 - 4 * y * 4 / 10]
    assert discounts(counts).tolist() == pytest.approx(expected)


# -- scoring ------------------------------------------------------------------------------------


def markov(steps, rows=1, seed=0):
    """Text from a chain of second order over six tokens."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.Generator().manual_seed(99)
    table = torch.distributions.Dirichlet(torch.full((6, 6, 6), 0.2))
    with torch.random.fork_rng():
        torch.manual_seed(int(torch.randint(1000, (1,), generator=weights)))
        chances = table.sample()
    x = torch.zeros(rows, steps, dtype=torch.long)
    for t in range(2, steps):
        x[:, t] = torch.multinomial(chances[x[:, t - 2], x[:, t - 1]], 1, generator=generator)[:, 0]
    logs = chances[x[:, :-2], x[:, 1:-1]].gather(-1, x[:, 2:, None]).log()
    return x, float(-logs.mean() / math.log(2))


def test_log_prob_is_the_head_over_forward():
    x, _ = markov(60, rows=3)
    model = NGram(4, tokens=6).double().fit(markov(300, seed=1)[0])
    mask = torch.rand(3, 60) < 0.7
    mask[2] = False
    parameters, _ = model(torch.cat([model.begin(3), x[:, :-1]], dim=1))
    torch.testing.assert_close(model.log_prob(x), model.head.log_prob(parameters, x))
    scores = model.log_prob(torch.where(mask, x, -9), mask)
    for row in range(3):
        alone = model.log_prob(x[row : row + 1, mask[row]])
        torch.testing.assert_close(scores[row, mask[row]], alone[0])
    assert (scores[~mask] == 0).all()


def test_held_out_text_comes_near_its_entropy():
    train, _ = markov(20_000)
    held_out, entropy = markov(4_000, seed=1)
    bits = [
        float(NGram(order, tokens=6).fit(train).bits_per_step(held_out)) for order in (1, 2, 3, 5)
    ]
    unigram, bigram, trigram, longer = bits
    assert trigram < bigram - 0.1 < unigram - 0.2
    assert trigram == pytest.approx(entropy, abs=0.02)
    assert longer < trigram + 0.05  # more context than there is to know costs little


def test_before_fit_every_token_is_equally_likely():
    model = NGram(3, tokens=4)
    assert float(model.perplexity(torch.randint(4, (2, 9)))) == pytest.approx(4)
    distribution, _ = model.step()
    assert distribution.log_prob(torch.arange(4)).exp().tolist() == pytest.approx([0.25] * 4)


def test_probabilities_in_chunks_are_the_same(monkeypatch):
    x, _ = markov(50, rows=2)
    model = NGram(3, tokens=6).fit(x)
    whole, _ = model(x)
    monkeypatch.setattr("throughtime.models.ngram.CHUNK", 20)
    assert torch.equal(model(x)[0], whole)


def test_sampling_goes_on_as_the_text_did():
    x = torch.arange(300).remainder(7).view(1, -1)
    model = NGram(3, tokens=7).fit(x)
    drawn = model.sample(14, prefix=x[:, :10], temperature=0.3)
    assert torch.equal(drawn[0], torch.arange(10, 24).remainder(7))
    assert model.forecast(5, None, torch.tensor([3, 4]), paths=3).shape == (2, 3, 5)


# -- as a layer ---------------------------------------------------------------------------------


def test_keeps_the_contract():
    model = NGram(3, tokens=5).fit(torch.randint(5, (4, 200)))
    check_layer(
        model,
        lambda batch, time: torch.randint(5, (batch, time)),
        receptive_field=2,
        laws=[law for law in LAWS if law not in ("gradients", "detach")],  # there are no weights
    )
    unigram = NGram(1, tokens=5).fit(torch.randint(5, (4, 200)))
    _, after = unigram(torch.randint(5, (2, 3)))
    assert after.body.tokens.shape == (2, 0)


def test_the_state_is_the_last_tokens():
    model = NGram(4, tokens=5)
    mask = torch.tensor([[True, False, True, False], [True, True, True, True]])
    reset = torch.tensor([[False] * 4, [False, False, True, False]])
    x = torch.tensor([[1, 77, 2, -3], [1, 2, 3, 4]])
    _, after = model(x, None, mask, reset)
    assert after.body.tokens.tolist() == [[5, 1, 2], [5, 3, 4]]


# -- counting -----------------------------------------------------------------------------------


def batch(inputs, targets, mask=None, reset=None):
    return SimpleNamespace(inputs=inputs, targets=targets, mask=mask, reset=reset, covariates=None)


def same(one, other):
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


@pytest.mark.parametrize("size", [1, 7, 100])
def test_windows_of_a_stream_count_as_the_whole(size):
    x, _ = markov(100, rows=2)
    whole = NGram(4, tokens=6).fit(x)
    inputs = torch.cat([torch.full((2, 1), 6), x[:, :-1]], dim=1)
    pieces = [batch(inputs[:, at : at + size], x[:, at : at + size]) for at in range(0, 100, size)]
    same(NGram(4, tokens=6).fit(pieces), whole)
    same(NGram(4, tokens=6).fit([pieces]), whole)
    same(NGram(4, tokens=6).fit(SimpleNamespace(epoch=lambda number: [pieces])), whole)


def test_rows_of_unequal_length_and_resets_count_as_sequences_of_their_own():
    texts = [[0, 1, 2, 0, 1], [2, 1], [0]]
    whole = NGram(3, tokens=3).fit(padded(texts))
    line = torch.tensor([[3, 0, 1, 2, 0, 3, 2, 3]])
    targets = torch.tensor([[0, 1, 2, 0, 1, 2, 1, 0]])
    reset = line == 3
    same(NGram(3, tokens=3).fit([batch(line, targets, None, reset)]), whole)
    x, mask = masked(padded(texts))
    inputs = torch.cat([torch.full((3, 1), 3), x[:, :-1]], dim=1)
    rows = [[batch(inputs[i : i + 1], x[i : i + 1], mask[i : i + 1])] for i in range(3)]
    same(NGram(3, tokens=3).fit(rows), whole)
    hole = torch.tensor([[True, False, True, True, True, True]])
    inputs, targets = torch.tensor([[3, 99, 0, 1, 2, 0]]), torch.tensor([[0, 99, 1, 2, 0, 1]])
    one = NGram(3, tokens=3).fit(torch.tensor([texts[0]]))
    same(NGram(3, tokens=3).fit([batch(inputs, targets, hole)]), one)


def test_merging_early_and_often_counts_the_same(monkeypatch):
    x, _ = markov(400)
    whole = NGram(5, tokens=6).fit(x)
    monkeypatch.setattr(ngram_counts, "BUFFER", 30)
    monkeypatch.setattr("throughtime.models.ngram.CHUNK", 5 * 17)
    same(NGram(5, tokens=6).fit(x), whole)


def test_long_grams_of_a_large_vocabulary_are_told_apart():
    # 40,001 ^ 6 does not fit into 64 bits.
    rows = np.random.default_rng(0).integers(0, 40_001, (50, 6))
    rows = np.concatenate([rows, rows[:20], rows + np.eye(6, dtype=int)[5]])
    counts = GramCounts(6, 40_000)
    counts.add(rows)
    counts.merge()
    expected, times = np.unique(rows, axis=0, return_counts=True)
    order = np.lexsort(counts.grams.T[::-1])
    assert np.array_equal(counts.grams[order], expected)
    assert np.array_equal(counts.counts[order], times)


def test_fitting_again_forgets():
    model = NGram(3, tokens=6).fit(markov(100)[0])
    other = markov(80, seed=5)[0]
    same(model.fit(other), NGram(3, tokens=6).fit(other))


@pytest.mark.slow
def test_five_million_characters_within_seconds():
    x = torch.randint(50, (1, 5_000_000))
    started = time.process_time()
    NGram(6, tokens=50).fit(x)
    assert time.process_time() - started < 30


# -- saving, refusing ---------------------------------------------------------------------------


def test_saved_and_loaded_into_a_model_that_counted_something_else(tmp_path):
    x, _ = markov(200)
    model = NGram(3, tokens=6).fit(x)
    safetensors.torch.save_file(model.state_dict(), tmp_path / "model.safetensors")
    other = NGram(3, tokens=6).fit(markov(50, seed=3)[0])
    other.load_state_dict(safetensors.torch.load_file(tmp_path / "model.safetensors"))
    assert torch.equal(other.log_prob(x), model.log_prob(x))
    _, after = model(x)
    state.save(after, tmp_path / "state")
    assert torch.equal(state.load(tmp_path / "state").body.tokens, after.body.tokens)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: NGram(0, 4), "NGram: order is 0"),
        (lambda: NGram(2, 0), "NGram: tokens is 0"),
        (lambda: NGram(2, 4).fit(torch.tensor([[0, 4]])), "targets hold id 4, expected 0 to 3"),
        (lambda: NGram(2, 4).fit(torch.tensor([[-1, -1]])), "NGram: data hold no tokens"),
        (lambda: NGram(2, 4).fit([]), "NGram: data hold no tokens"),
        (lambda: NGram(2, 4).fit(7), "NGram: data is a int, expected a source"),
        (lambda: NGram(2, 4).fit([torch.tensor([[1]])]), "NGram: data is a list, expected"),
        (lambda: NGram(2, 4)(torch.tensor([[0, 5]])), "x hold id 5, expected 0 to 4"),
        (lambda: NGram(2, 4)(torch.tensor([[0, -2]])), "x hold id -2, expected 0 to 4"),
        (lambda: NGram(2, 4).log_prob(torch.tensor([[0, 4]])), "targets hold id 4"),
        (lambda: NGram(2, 4)(torch.zeros(1, 2)), "expected token ids"),
        (lambda: NGram(2, 4).fit(torch.zeros(1, 2)), "expected token ids"),
    ],
)
def test_refuses_in_one_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
