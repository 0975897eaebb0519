"""A beam search finds what looking at everything finds, and costs what its live rows cost."""

import warnings

import pytest
import torch

from tests.decoding.models import TOKENS, make, prompts
from tests.decoding.searching import (
    assert_same,
    best_outputs,
    every_output,
    outputs_of,
    search_by_loops,
    tiny,
)
from tests.kernels.support import needs_extension
from throughtime.decoding import (
    CompiledStepper,
    ModelStepper,
    Sampling,
    beam,
    beam_search,
    generate,
)
from throughtime.decoding.hypotheses import GROUP, best
from throughtime.errors import InputError
from throughtime.models import ModelConfig, build

KINDS = ["window", "rnn", "gru", "lstm", "ngram", "transformer"]
LENGTHS = (5, 0, 1, 13, 2)
at_most = pytest.mark.filterwarnings("ignore:beam_search. of")


# -- the outcome -----------------------------------------------------------------------------------


@at_most
@pytest.mark.parametrize("kind", KINDS)
def test_one_beam_is_greedy(kind):
    model, given = make(kind), prompts(*LENGTHS)
    free = generate(model, given, 12, sampling=Sampling(greedy=True))
    at = [[*row, token].index(token) for row in free.tokens.tolist() for token in range(TOKENS)]
    apart = torch.tensor(at).view(len(given), TOKENS)  # where each token comes first
    stop = (max(range(TOKENS), key=lambda token: len(set(apart[:, token].tolist()))),)
    greedy = generate(model, given, 12, sampling=Sampling(greedy=True), stop=stop)
    found = beam_search(model, given, 12, beams=1, stop=stop, length_penalty=0.0)
    assert len(set(greedy.lengths.tolist())) > 1
    assert torch.equal(found.tokens[:, 0], greedy.tokens[:, : found.tokens.shape[2]])
    assert torch.equal(found.lengths[:, 0], greedy.lengths)
    assert torch.allclose(found.log_probs[:, 0], greedy.log_probs.sum(1).to(found.log_probs))


@at_most
@needs_extension
def test_one_beam_is_greedy_with_a_compiled_step():
    model, given = make("transformer").float(), prompts(*LENGTHS)
    greedy = generate(model, given, 12, sampling=Sampling(greedy=True), stop=(3,))
    for stepper in (CompiledStepper, ModelStepper):
        found = beam_search(
            model, given, 12, beams=1, stop=(3,), length_penalty=0.0, stepper=stepper
        )
        assert torch.equal(found.tokens[:, 0], greedy.tokens[:, : found.tokens.shape[2]])


@at_most
@needs_extension
def test_a_compiled_step_finds_the_same():
    model, given = make("transformer").float(), prompts(*LENGTHS)
    fast, plain = (
        beam_search(model, given, 10, beams=5, n_best=3, stop=(3, 7), stepper=stepper)
        for stepper in (CompiledStepper, ModelStepper)
    )
    assert torch.equal(fast.tokens, plain.tokens)
    assert torch.allclose(fast.scores, plain.scores, atol=1e-4)


@at_most
@pytest.mark.parametrize("kind", ["lstm", "transformer"])
@pytest.mark.parametrize("penalty", [-0.5, 0.0, 0.6, 1.0, 2.0])
@pytest.mark.parametrize(("tokens", "steps", "stop"), [(4, 5, (1,)), (5, 4, (0, 3)), (4, 4, ())])
def test_with_all_beams_it_is_a_search_of_everything(kind, penalty, tokens, steps, stop):
    model, given = tiny(kind, tokens, seed=3), [torch.tensor([2, 0]), torch.tensor([])]
    found = beam_search(
        model, given, steps, beams=tokens**steps, n_best=6, stop=stop, length_penalty=penalty
    )
    for row, prompt in enumerate(given):
        outputs = every_output(model, prompt, steps, stop)
        assert_same(outputs_of(found, row), best_outputs(outputs, 6, penalty))


@at_most
@pytest.mark.parametrize(
    ("kind", "beams", "penalty"),
    [("gru", 1, 0.0), ("gru", 3, 0.0), ("gru", 3, 1.5), ("transformer", 3, 1.0)],
)
def test_with_few_beams_it_is_its_definition(kind, beams, penalty):
    searches = []
    for seed in range(4):
        model = tiny(kind, 6, seed)
        stop, prompt = (seed, 5) if seed % 2 else (seed,), torch.tensor([1, 3])
        found = beam_search(
            model, [prompt], 6, beams=beams, n_best=beams, stop=stop, length_penalty=penalty
        )
        expected = search_by_loops(model, prompt, 6, beams, beams, stop, penalty)
        assert_same(outputs_of(found, 0), expected)
        searches += expected
    assert len({ended for _, _, ended in searches}) == 2


@at_most
@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_in_a_batch_is_as_alone(kind):
    model, given = make(kind), prompts(*LENGTHS)
    options = {"beams": 4, "n_best": 3, "stop": (2, 6), "length_penalty": 0.8, "no_repeat": 3}
    together = beam_search(model, given, 9, **options)
    for row, prompt in enumerate(given):
        alone = beam_search(model, [prompt], 9, **options)
        assert_same(outputs_of(alone, 0), outputs_of(together, row))
    mask = torch.zeros(len(given), 15, dtype=torch.bool)
    for row, length in enumerate(LENGTHS):
        mask[row, 1 : length + 1] = True
    padded = torch.full(mask.shape, 99)  # which is no token: it must not be read
    padded[mask] = torch.cat(given)
    masked = beam_search(model, padded, 9, mask=mask, chunk=2, **options)
    assert torch.equal(masked.tokens, together.tokens)


@at_most
@pytest.mark.parametrize("kind", ["lstm", "ngram", "transformer"])
def test_what_is_handed_out_fits_together(kind):
    model, given = make(kind), prompts(4, 2, 7)
    found = beam_search(model, given, 8, beams=6, n_best=6, stop=(3, 10), length_penalty=0.7)
    assert found.ended.any()
    assert int(found.lengths.max()) == found.tokens.shape[2]
    for row, prompt in enumerate(given):
        outputs = outputs_of(found, row)
        assert len({line for line, _, _ in outputs}) == 6
        assert outputs == sorted(outputs, key=lambda one: (not one[2], -one[1]))
        for rank, (line, score, ended) in enumerate(outputs):
            ids = torch.tensor(line)
            with torch.no_grad():
                nats = model.log_prob(torch.cat([prompt, ids])[None])[0, len(prompt) :].sum()
            assert float(found.log_probs[row, rank]) == pytest.approx(float(nats), rel=1e-6)
            assert score == pytest.approx(float(nats) / len(line) ** 0.7, rel=1e-6)
            assert ended == (line[-1] in (3, 10))
            assert not set(line[:-1]) & {3, 10}
            assert (found.tokens[row, rank, len(line) :] == -1).all()


@at_most
def test_of_equals_the_first_comes_first():
    model = tiny("gru", 5)
    for weight in model.head.parameters():
        torch.nn.init.zeros_(weight)
    found = beam_search(model, prompts(0) * 2, 3, beams=4, n_best=4)
    assert found.tokens[0].tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 0, 3]]
    ended = beam_search(model, prompts(0), 3, beams=5, n_best=3, stop=(3, 4), length_penalty=0.0)
    assert ended.tokens[0, :, :2].tolist() == [[3, -1], [4, -1], [0, 3]]


@pytest.mark.parametrize("size", [7, 300, 8 * GROUP + 5])
@pytest.mark.parametrize("count", [1, 6, 40])
def test_the_best_are_those_of_a_stable_sort(size, count):
    values = torch.randint(-30, 0, (20, size)).float()  # full of equals
    values[3:6] = torch.randn(3, size)
    values[6, : size - 2] = -torch.inf
    found, ids = best(values, count)
    expected, order = values.sort(dim=1, descending=True, stable=True)
    expected, order = expected[:, : found.shape[1]], order[:, : found.shape[1]]
    assert found.shape[1] == min(size, count)
    assert torch.equal(found, expected)
    there = expected > -torch.inf
    assert torch.equal(ids[there], order[there])


# -- where it goes on from -------------------------------------------------------------------------


@at_most
@pytest.mark.parametrize("kind", ["rnn", "window", "ngram", "transformer"])
def test_a_state_goes_on_where_it_was_left(kind):
    model, (prompt,) = make(kind), prompts(9)
    options = {"beams": 3, "n_best": 2, "stop": (1,)}
    whole = beam_search(model, [prompt], 7, **options)
    with torch.no_grad():
        _, state = model(torch.cat([model.begin(1)[0], prompt[:5]])[None])
    rest = beam_search(model, [prompt[5:]], 7, state=state, **options)
    assert torch.equal(rest.tokens, whole.tokens)
    empty = beam_search(model, [torch.tensor([])] * 2, 7, **options)
    begun = beam_search(model, model.begin(2), 7, state=model.initial_state(2), **options)
    assert torch.equal(begun.tokens, empty.tokens)


# -- when it ends ----------------------------------------------------------------------------------


@at_most
def test_ending_early_changes_nothing(monkeypatch):
    def never(worst, *rest):
        return torch.zeros_like(worst, dtype=torch.bool)

    fed = []

    class Counted(ModelStepper):
        def __call__(self, tokens):
            fed[-1] += len(tokens)
            return super().__call__(tokens)

    early = beam.settled
    for seed in range(50):
        model = tiny("gru" if seed % 8 else "transformer", 5 + seed % 3, seed, std=1.5 + seed % 2)
        options = {
            "beams": 1 + seed % 4,
            "n_best": 1 + (seed % 4) // 2,
            "stop": (0, 2, 4) if seed % 3 else (1,),
            "length_penalty": (0.0, 1.0, -0.7, 0.6, 2.0)[seed % 5],
            "stepper": Counted,
        }
        given, found = [torch.tensor([]), torch.tensor([3])], []
        for settled in (early, never):
            monkeypatch.setattr(beam, "settled", settled)
            fed.append(0)
            found.append(beam_search(model, given, 8, **options))
        for name in ("tokens", "lengths", "ended"):
            assert torch.equal(getattr(found[0], name), getattr(found[1], name))
        # Fewer rows at a time: the products of the model are rounded elsewhere.
        assert torch.allclose(found[0].scores, found[1].scores, rtol=1e-12)
    saved = [1 - some / all_ for some, all_ in zip(fed[::2], fed[1::2], strict=True)]
    assert sum(share > 0 for share in saved) > 25
    assert sum(share > 0.5 for share in saved) > 5


@at_most
def test_rows_that_are_done_cost_nothing():
    model, given, fed = tiny("gru", 6, seed=6), list(torch.arange(6).split(1)), []

    class Watched(ModelStepper):
        def __call__(self, tokens):
            fed.append(len(tokens))
            return super().__call__(tokens)

    options = {"beams": 3, "stop": (2,), "length_penalty": 0.0}
    beam_search(model, given, 9, stepper=Watched, **options)
    together, alone = fed.copy(), [0] * 9
    for prompt in given:
        fed.clear()
        beam_search(model, [prompt], 9, stepper=Watched, **options)
        assert fed == [1, *[3] * (len(fed) - 1)]  # several beams would be the same at the first
        alone = [a + b for a, b in zip(alone, fed + [0] * (9 - len(fed)), strict=True)]
    assert together == [count for count in alone if count]
    assert len(set(together)) > 2


def test_one_warning_tells_how_many_rows_hit_the_maximum():
    model, given = tiny("gru", 6, seed=6), list(torch.arange(6).split(1))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = beam_search(model, given, 3, beams=2, stop=(2,))
    late = int((~found.ended).sum())
    assert 0 < late < 6
    assert [str(one.message) for one in said] == [
        f"beam_search: of 6 rows, {late} hit the maximum of 3 tokens"
    ]
    free = beam_search(model, given, 3, beams=2)  # without stops that is what was asked for
    assert not free.ended.any()
    assert free.lengths.unique().tolist() == [3]


def test_fewer_outputs_than_wanted():
    model = tiny("gru", 3)
    with pytest.warns(UserWarning, match="1 hit the maximum of 1 tokens"):
        found = beam_search(model, prompts(0), 1, beams=9, n_best=5, stop=(1,))
    assert found.lengths.tolist() == [[1, 1, 1, 0, 0]]
    assert found.scores[0, 3:].tolist() == found.log_probs[0, 3:].tolist() == [-torch.inf] * 2
    assert found.ended.tolist() == [[True, False, False, False, False]]
    assert found.tokens[0, 3:].tolist() == [[-1], [-1]]


def test_dropout_is_off_and_comes_back():
    quiet, model = make("lstm"), make("lstm", dropout=0.5).train()
    found, expected = (beam_search(one, prompts(6, 2), 9) for one in (model, quiet))
    assert torch.equal(found.tokens, expected.tokens)
    assert all(module.training for module in model.modules())


# -- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"beams": 0}, "beams is 0, expected a whole number of at least 1"),
        ({"n_best": 5}, "n_best is 5, expected at most beams = 4"),
        ({"n_best": True}, "n_best is True, expected a whole number of at least 1"),
        ({"steps": 0}, "steps is 0, expected a whole number of at least 1"),
        ({"chunk": 0}, "chunk is 0, expected a whole number of at least 1"),
        ({"stop": (11,)}, "stop holds id 11, expected 0 to 10"),
        ({"no_repeat": -1}, "no_repeat is -1, expected a whole number of at least 0"),
        ({"length_penalty": 9.0}, "length_penalty is 9.0, expected a number from -5 to 5"),
        ({"length_penalty": float("nan")}, "length_penalty is nan, expected a number from -5 to 5"),
        ({"prompts": [torch.tensor([12])]}, "prompts hold id 12, expected 0 to 10, or 11 for"),
        ({"prefix": []}, "prefix has 0 rows, expected 1, one per prompt"),
        ({"prefix": [torch.tensor([[1]])]}, r"prefix 0 is torch.int64 of shape \[1, 1\]"),
        ({"prefix": [torch.tensor([1.0])]}, r"prefix 0 is torch.float32 .* expected ids \[time\]"),
        ({"prefix": [torch.tensor([11])]}, "prefix 0 holds id 11, expected 0 to 10"),
        ({"prefix": [torch.tensor([4, 5])], "stop": (5,)}, "prefix 0 holds the stop token 5"),
        ({"prefix": [torch.ones(4).long()]}, "prefix 0 has 4 tokens, expected at most steps = 3"),
        ({"phrases": [[], []]}, "phrases has 2 rows, expected 1, one per prompt"),
        ({"phrases": [[torch.ones(1, 2).long()]]}, r"phrase 0 of row 0 is torch.int64 of shape"),
        ({"phrases": [[[1], []]]}, "phrase 1 of row 0 is empty, expected at least one id"),
        ({"phrases": [[[-1]]]}, "phrase 0 of row 0 holds id -1, expected 0 to 10"),
        ({"phrases": [[[2, 5]]], "stop": (5,)}, "phrase 0 of row 0 holds the stop token 5"),
        ({"phrases": [[[1] * 4]]}, "phrase 0 of row 0 has 4 tokens, expected at most steps = 3"),
    ],
)
def test_what_cannot_be(change, said):
    given = {"prompts": [torch.tensor([1, 2, 3])], "steps": 3, **change}
    with pytest.raises(InputError, match=said) as caught:
        beam_search(make("rnn"), **given)
    assert "\n" not in str(caught.value)


def test_a_model_of_numbers_or_one_that_diverged_is_refused():
    numbers = build(ModelConfig("rnn", targets=1, width=4))
    with pytest.raises(InputError, match="the model is of numbers, expected one of tokens"):
        beam_search(numbers, [torch.tensor([1])], 2)
    model = make("rnn")
    torch.nn.init.constant_(next(iter(model.head.parameters()))[TOKENS - 1], torch.nan)
    with pytest.raises(InputError, match="the model gives NaN"):
        beam_search(model, prompts(2), 2)
