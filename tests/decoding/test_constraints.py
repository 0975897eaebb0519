"""What an output must hold and must not: the best that does, and nothing that does not."""

import warnings

import pytest
import torch

from tests.decoding.models import make, prompts
from tests.decoding.searching import (
    assert_same,
    best_outputs,
    every_output,
    holds,
    outputs_of,
    tiny,
)
from throughtime.decoding import beam_search
from throughtime.decoding.constraints import Phrases, in_turns

at_most = pytest.mark.filterwarnings("ignore:beam_search. of")


def met_after(phrases, line, size=9):
    """Which phrases the machine has seen after a line, and how far it is."""
    machine = Phrases([phrases], size)
    node, met = machine.begin()
    for token in line:
        node, met = machine.advance(node, met, torch.tensor([[token]]))
    return met[0, 0].tolist(), int(machine.progress(node, met))


def repeated(line, n):
    grams = [tuple(line[k : k + n]) for k in range(len(line) - n + 1)]
    return len(set(grams)) < len(grams)


# -- repeats and beginnings ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lstm", "ngram"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_nothing_is_written_twice(kind, n):
    model, given = make(kind), prompts(3, 0, 5)
    steps = 9 if n == 1 else 25
    free = beam_search(model, given, steps, beams=4, n_best=4)
    found = beam_search(model, given, steps, beams=4, n_best=4, no_repeat=n)
    assert any(repeated(line, n) for row in range(3) for line, _, _ in outputs_of(free, row))
    for row, prompt in enumerate(given):
        for rank, (line, _, _) in enumerate(outputs_of(found, row)):
            assert len(line) == steps
            assert not repeated(line, n)
            with torch.no_grad():  # what was ruled out stays in the sum of probabilities
                nats = model.log_prob(torch.cat([prompt, torch.tensor(line)])[None])
            total = float(nats[0, len(prompt) :].sum())
            assert float(found.log_probs[row, rank]) == pytest.approx(total, rel=1e-6)


@at_most
@pytest.mark.parametrize("n", [1, 2])
def test_without_repeats_it_finds_the_best(n):
    model = tiny("lstm", 4, seed=2)
    found = beam_search(model, prompts(0), 5, beams=4**5, n_best=5, stop=(1,), no_repeat=n)
    outputs = every_output(model, torch.tensor([]), 5, (1,))
    outputs = {line: what for line, what in outputs.items() if not repeated(line, n)}
    assert_same(outputs_of(found, 0), best_outputs(outputs, 5, 1.0))


def test_where_everything_is_ruled_out_nothing_is_found():
    model = tiny("gru", 3)
    with pytest.warns(UserWarning, match="of 2 rows, 2 have no output, for every token was ruled"):
        found = beam_search(model, [torch.tensor([1])] * 2, 4, no_repeat=1)
    assert not found.lengths.any()
    assert found.tokens.shape == (2, 1, 0)


@at_most
@pytest.mark.parametrize("kind", ["gru", "transformer"])
def test_a_prefix_is_what_the_output_begins_with(kind):
    model = tiny(kind, 5, seed=4)
    given = [torch.tensor([2, 0]), torch.tensor([]), torch.tensor([1])]
    prefix = [torch.tensor([3, 3]), torch.tensor([]), torch.tensor([2])]
    found = beam_search(model, given, 4, beams=5**4, n_best=4, stop=(0,), prefix=prefix)
    for row, prompt in enumerate(given):
        outputs = every_output(model, prompt, 4, (0,))
        begin = tuple(prefix[row].tolist())
        outputs = {line: what for line, what in outputs.items() if line[: len(begin)] == begin}
        assert_same(outputs_of(found, row), best_outputs(outputs, 4, 1.0))


@at_most
def test_a_prefix_may_repeat_what_the_rest_may_not():
    model, (prompt,) = make("gru"), prompts(2)
    prefix = [torch.tensor([4, 4, 4])]
    found = beam_search(model, [prompt], 9, prefix=prefix, no_repeat=1)
    line = found.tokens[0, 0].tolist()
    assert line[:3] == [4, 4, 4]
    assert len({*line[3:], 4}) == 7


# -- phrases ---------------------------------------------------------------------------------------


def test_a_phrase_that_breaks_off_is_unwound():
    a, b, c = 1, 2, 3
    assert met_after([[a, c]], [a]) == ([False], 1)
    assert met_after([[a, c]], [a, b]) == ([False], 0)
    assert met_after([[a, c]], [a, b, a, c]) == ([True], 2)
    assert met_after([[a, a, b]], [a, a, a]) == ([False], 2)  # what is left still counts
    assert met_after([[a, a, b]], [a, a, a, b]) == ([True], 3)
    assert met_after([[a, b], [b, c]], [a, b, c]) == ([True, True], 4)
    assert met_after([[a, b], [a, c]], [a, b, c]) == ([True, False], 2)
    assert met_after([[a], [a]], [a]) == ([True, True], 2)
    assert met_after([[a, b, c], [b]], [a, b]) == ([False, True], 3)


def test_the_machine_knows_what_a_line_holds():
    generator = torch.Generator().manual_seed(5)

    def draw(most, tokens):
        length = int(torch.randint(1, most + 1, (), generator=generator))
        return torch.randint(tokens, (length,), generator=generator).tolist()

    outcomes = set()
    for turn in range(300):
        phrases = [draw(4, 2 + turn % 2) for _ in range(1 + turn % 3)]
        line = draw(12, 3)
        met, progress = met_after(phrases, line)
        assert met == [holds(line, phrase) for phrase in phrases]
        begun = [
            next(k for k in range(len(phrase), -1, -1) if line[len(line) - k :] == phrase[:k])
            for phrase, there in zip(phrases, met, strict=True)
            if not there
        ]
        whole = sum(len(phrase) for phrase, there in zip(phrases, met, strict=True) if there)
        assert progress == whole + max(begun, default=0)
        outcomes.add(tuple(met))
    assert len(outcomes) == 2 + 4 + 8


def test_banks_take_turns():
    banks = torch.tensor([[0, 0, 0, 1, 1, 3, 0, 3]])
    nats = torch.tensor([[-1.0, -2, -3, -8, -7, -9, -0.5, -torch.inf]])
    assert in_turns(banks, nats).tolist() == [[5, 4, 6, 3, 0, 1, 2, 7]]


@at_most
@pytest.mark.parametrize("kind", ["lstm", "transformer"])
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_with_all_beams_it_finds_the_best_that_holds_the_phrases(kind, penalty):
    model, given = tiny(kind, 4, seed=5), [torch.tensor([2, 0])] * 4
    phrases = [[[0, 0, 3]], [], [[2, 3], [3, 2]], [[2, 0], [2, 2]]]
    found = beam_search(
        model, given, 5, beams=4**5, n_best=4, stop=(1,), phrases=phrases, length_penalty=penalty
    )
    assert found.ended.all()
    outputs = every_output(model, given[0], 5, (1,))
    best = set()
    for row, wanted in enumerate(phrases):
        there = {
            line: what for line, what in outputs.items() if all(holds(line, one) for one in wanted)
        }
        assert_same(outputs_of(found, row), best_outputs(there, 4, penalty))
        best.add(outputs_of(found, row)[0][0])
    assert len(best) == 4


@at_most
@pytest.mark.parametrize(("kind", "beams"), [("gru", 1), ("gru", 12), ("ngram", 4), ("window", 5)])
def test_with_few_beams_the_phrases_are_there(kind, beams):
    model, given = make(kind), prompts(3, 0, 5, 1)
    phrases = [[[7, 8, 7, 9]], [[3, 4], torch.tensor([3, 5, 6])], [], [[9], [9, 9], [10]]]
    options = {"beams": beams, "stop": (2,)}
    found = beam_search(model, given, 16, phrases=phrases, **options)
    free = beam_search(model, given, 16, **options)
    assert outputs_of(found, 2) == outputs_of(free, 2)
    for row, wanted in enumerate(phrases):
        (line, _, _), (other, _, _) = outputs_of(found, row)[0], outputs_of(free, row)[0]
        assert all(holds(line, list(one)) for one in wanted)
        assert not wanted or not all(holds(other, list(one)) for one in wanted)
        alone = beam_search(model, [given[row]], 16, phrases=[wanted], **options)
        assert outputs_of(alone, 0)[0][0] == line


@at_most
def test_phrases_beside_a_prefix_that_begins_one():
    model, (prompt,) = make("lstm"), prompts(3)
    prefix, phrases = [torch.tensor([5, 6])], [[[6, 6, 8]]]
    found = beam_search(model, [prompt], 4, prefix=prefix, phrases=phrases)
    assert found.tokens[0, 0].tolist() == [5, 6, 6, 8]


def test_a_row_without_its_phrases_is_not_ended_and_warned_of():
    model, given = make("gru"), prompts(3, 2)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = beam_search(model, given, 3, stop=(2,), phrases=[[[4, 5], [6, 7]], [[4]]])
    late = int((~found.ended).sum())
    assert [str(one.message) for one in said] == [
        f"beam_search: of 2 rows, {late} hit the maximum of 3 tokens and 1 lack phrases"
    ]
    assert not found.ended[0].any()
    with pytest.warns(UserWarning, match="^beam_search: of 2 rows, 1 lack phrases$"):
        beam_search(model, given, 3, phrases=[[[4, 5], [6, 7]], [[4]]])
