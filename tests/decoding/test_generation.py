"""A prompt in a batch is written on as alone, by every kind of model."""

import pytest
import torch

from tests.decoding.models import TOKENS, greedy_loop, logits_after, make, prompts
from throughtime.decoding import ModelStepper, Sampling, generate, row_seeds, stream
from throughtime.decoding.randomness import BLOCK, Uniforms
from throughtime.decoding.sampling import penalise
from throughtime.errors import InputError
from throughtime.models import ModelConfig, build
from throughtime.state import tensors

KINDS = ["window", "rnn", "gru", "lstm", "ngram", "transformer"]
LENGTHS = (5, 0, 1, 13, 2)
GREEDY = Sampling(greedy=True)


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_is_the_loop_that_reads_all_again(kind):
    model, given = make(kind), prompts(*LENGTHS)
    found = generate(model, given, 9, sampling=GREEDY)
    assert found.lengths.tolist() == [9] * len(given)
    for row, prompt in enumerate(given):
        tokens, scores = greedy_loop(model, prompt, 9)
        assert found.tokens[row].tolist() == tokens
        assert found.log_probs[row].tolist() == pytest.approx(scores, rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_in_a_batch_is_as_alone(kind):
    model, given = make(kind), prompts(*LENGTHS)
    sampling = Sampling(temperature=1.3, top_k=7, top_p=0.9, min_p=0.01, repetition_penalty=1.2)
    together = generate(model, given, BLOCK + 5, sampling=sampling, seed=4)
    assert len(set(map(tuple, together.tokens.tolist()))) == len(given)
    for row, prompt in enumerate(given):
        seed = [row_seeds(4, len(given))[row]]
        alone = generate(model, [prompt], BLOCK + 5, sampling=sampling, seed=seed)
        assert torch.equal(alone.tokens[0], together.tokens[row])
        assert torch.allclose(alone.log_probs[0], together.log_probs[row], atol=1e-9)


@pytest.mark.parametrize("kind", ["window", "lstm", "ngram"])
def test_padding_anywhere_is_passed_over(kind):
    model, given = make(kind), prompts(3, 0, 6)
    mask = torch.zeros(3, 8, dtype=torch.bool)
    mask[0, [0, 4, 7]] = mask[2, 1:7] = True
    padded = torch.full((3, 8), 99)  # which is no token: it must not be read
    padded[mask] = torch.cat(given)
    found = generate(model, padded, 6, mask=mask, seed=1, sampling=Sampling(repetition_penalty=2.0))
    listed = generate(model, given, 6, seed=1, sampling=Sampling(repetition_penalty=2.0))
    assert torch.equal(found.tokens, listed.tokens)
    same = generate(model, torch.stack([given[2]] * 2), 6, seed=1)
    assert torch.equal(same.tokens, generate(model, [given[2]] * 2, 6, seed=1).tokens)


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_of_the_prompt_change_nothing(kind):
    model, given = make(kind), prompts(5, 0, 23, 14)
    found = [generate(model, given, 5, seed=3, chunk=chunk) for chunk in (1, 7, 512)]
    for other in found[1:]:
        assert torch.equal(found[0].tokens, other.tokens)
        assert torch.allclose(found[0].log_probs, other.log_probs, atol=1e-9)


def test_no_more_than_a_chunk_of_the_prompt_is_fed_at_a_time(monkeypatch):
    model, fed = make("lstm"), []
    features = model.features

    def watched(x, *rest):
        fed.append(x.shape[1])
        return features(x, *rest)

    monkeypatch.setattr(model, "features", watched)
    generate(model, prompts(20), 2, chunk=8)
    assert fed == [8, 8, 4, 1, 1]  # the last token of the prompt is the first that is fed alone


@pytest.mark.parametrize("kind", ["lstm", "window", "ngram"])
def test_log_probs_are_the_models_own(kind):
    model, (prompt,) = make(kind), prompts(4)
    found = generate(model, [prompt], 8, seed=2, sampling=Sampling(temperature=3.0, top_k=5))
    whole = torch.cat([prompt, found.tokens[0]])
    with torch.no_grad():
        expected = model.log_prob(whole[None])[0, 4:]
    assert torch.allclose(found.log_probs[0], expected.to(found.log_probs), atol=1e-9)


@pytest.mark.parametrize("kind", ["rnn", "window", "ngram"])
def test_a_state_goes_on_where_it_was_left(kind):
    model, (prompt,) = make(kind), prompts(9)
    whole = generate(model, [prompt], 7, sampling=GREEDY)
    fed = torch.cat([model.begin(1)[0], prompt[:5]])
    with torch.no_grad():
        _, state = model(fed[None])
    rest = generate(model, [prompt[5:]], 7, state=state, sampling=GREEDY)
    assert torch.equal(rest.tokens, whole.tokens)


@pytest.mark.parametrize("kind", [*KINDS, "compiled"])
def test_from_a_state_the_marker_of_the_beginning_may_be_fed(kind):
    model = make("transformer").float() if kind == "compiled" else make(kind)
    for sampling in (GREEDY, Sampling(greedy=True, repetition_penalty=1.5)):  # it was never seen
        empty = generate(model, prompts(0, 0), 8, sampling=sampling)
        state = model.initial_state(2)
        begun = generate(model, model.begin(2), 8, state=state, sampling=sampling)
        assert torch.equal(begun.tokens, empty.tokens)
        assert torch.equal(begun.log_probs, empty.log_probs)


@pytest.mark.parametrize("kind", ["gru", "ngram"])
def test_the_penalty_is_for_all_tokens_of_the_row(kind):
    model, given = make(kind), prompts(6, 0, 2, 1)
    sampling = Sampling(repetition_penalty=1.7, greedy=True)

    def expected(prompt, steps):
        ids = prompt.tolist()
        for _ in range(steps):
            logits = logits_after(model, ids)
            seen = torch.isin(torch.arange(TOKENS), torch.tensor(ids, dtype=torch.long))
            ids.append(int(penalise(logits[None], seen[None], 1.7).argmax()))
        return ids[len(prompt) :]

    rows = [expected(prompt, 12) for prompt in given]
    assert len({tuple(row) for row in rows}) == len(rows)
    ends = {tuple(row[:at]) for row, at in zip(rows, (12, 3, 12, 7), strict=True)}
    found = generate(
        model, given, 12, sampling=sampling, until=lambda written: tuple(written) in ends
    )
    for row, tokens in enumerate(rows):
        length = (12, 3, 12, 7)[row]
        assert found.tokens[row, :length].tolist() == tokens[:length]


# -- chance ----------------------------------------------------------------------------------------


def test_a_seed_repeats_and_another_does_not():
    model, given = make("gru"), prompts(3, 3)
    first, same, other = (generate(model, given, 20, seed=seed).tokens for seed in (5, 5, 6))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    torch.manual_seed(3)
    free, next_one = (generate(model, given, 20).tokens for _ in range(2))
    torch.manual_seed(3)
    assert torch.equal(generate(model, given, 20).tokens, free)
    assert not torch.equal(free, next_one)


def test_fewer_steps_are_the_beginning_of_more():
    model, given = make("gru"), prompts(3, 2)
    assert torch.equal(
        generate(model, given, 2 * BLOCK + 3, seed=1).tokens[:, : BLOCK + 1],
        generate(model, given, BLOCK + 1, seed=1).tokens,
    )


def test_tokens_come_as_often_as_the_model_expects():
    model = make("lstm")
    (prompt,) = prompts(4)
    expected = logits_after(model, prompt).softmax(-1)
    found = generate(model, [prompt] * 4000, 1, seed=0).tokens[:, 0]
    shares = torch.bincount(found, minlength=TOKENS) / 4000
    error = (expected * (1 - expected) / 4000).sqrt()
    assert (shares - expected).abs().div(error).max() < 4.5


def test_random_numbers_stay_with_their_rows():
    both, second = Uniforms([7, 8]), Uniforms([8])
    for turn in range(2 * BLOCK):
        if turn == BLOCK // 2:
            both.select([1])
        assert both()[-1] == second()[0]


# -- the end of a row ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lstm", "window", "ngram", "transformer"])
@pytest.mark.parametrize("penalty", [1.0, 1.1])
def test_a_row_ends_with_a_stop_token(kind, penalty):
    model, given = make(kind), prompts(4, 0, 3, 8, 1, 2)
    sampling = Sampling(temperature=9.0, repetition_penalty=penalty)
    free = generate(model, given, 30, sampling=sampling, seed=9)
    stop = (int(free.tokens[0, 6]), int(free.tokens[3, 2]))
    found = generate(model, given, 30, sampling=sampling, seed=9, stop=stop)
    lengths = []
    for row, tokens in enumerate(free.tokens.tolist()):
        places = [at for at, token in enumerate(tokens) if token in stop]
        length = places[0] + 1 if places else 30
        lengths.append(length)
        assert found.tokens[row].tolist() == tokens[:length] + [-1] * (30 - length)
        assert torch.allclose(found.log_probs[row, :length], free.log_probs[row, :length])
        assert not found.log_probs[row, length:].any()
    assert found.lengths.tolist() == lengths
    assert len(set(lengths)) > 2


def test_rows_that_ended_cost_nothing():
    model, fed = make("rnn"), []

    class Watched(ModelStepper):
        def __call__(self, tokens):
            fed.append(len(tokens))
            assert all(len(part) == len(tokens) for part in tensors(self.state))
            return super().__call__(tokens)

    # Three prompts that the first token written tells apart, and how long each goes on.
    first = {greedy_loop(model, one, 1)[0][0]: one for one in torch.arange(TOKENS).split(1)}
    (begins, given), lengths = zip(*list(first.items())[:3], strict=True), (3, 5, 2)
    ends = dict(zip(begins, lengths, strict=True))

    def until(written):
        return len(written) == ends[written[0]]

    found = generate(model, list(given), 30, sampling=GREEDY, until=until, stepper=Watched)
    assert found.lengths.tolist() == [3, 5, 2]
    assert fed == [3, 3, 2, 1, 1]


def test_a_stream_yields_while_the_rest_is_not_yet_written():
    model, given = make("lstm"), prompts(2, 5)
    fed = []

    class Watched(ModelStepper):
        def __call__(self, tokens):
            fed.append(tokens.tolist())
            return super().__call__(tokens)

    whole = generate(model, given, 4, seed=1)
    steps = stream(model, given, 4, seed=1, stepper=Watched)
    for number, step in enumerate(steps, start=1):
        assert len(fed) == number
        assert step.rows.tolist() == [0, 1]
        assert torch.equal(step.tokens, whole.tokens[:, number - 1])
        assert not step.ended.any()
    assert len(fed) == 4
    assert [fed[0][0], fed[0][1]] == [int(given[0][-1]), int(given[1][-1])]


def test_dropout_is_off_and_comes_back():
    quiet, model = make("lstm"), make("lstm", dropout=0.5).train()
    given = prompts(6, 2)
    found = generate(model, given, 12, seed=1)
    assert torch.equal(found.tokens, generate(quiet, given, 12, seed=1).tokens)
    steps = stream(model, given, 12, seed=1)
    next(steps)
    assert all(module.training for module in model.modules())


def test_no_steps():
    found = generate(make("gru"), prompts(3, 0), 0)
    assert found.tokens.shape == found.log_probs.shape == (2, 0)
    assert found.lengths.tolist() == [0, 0]


# -- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prompts": []}, "prompts hold no rows, expected at least one"),
        (
            {"prompts": torch.ones(2, 3)},
            r"prompts is torch.float32 of shape \[2, 3\], expected ids",
        ),
        ({"prompts": torch.ones(3, dtype=torch.long)}, r"expected ids \[batch, time\]"),
        ({"prompts": [torch.ones(1, 2)]}, r"prompt 0 .* expected ids \[time\]"),
        (
            {"prompts": [torch.tensor([1]), torch.tensor([12])]},
            "hold id 12, expected 0 to 10, or 11 for the beginning",
        ),
        ({"prompts": [torch.tensor([-1])]}, "hold id -1, expected 0 to 10"),
        ({"mask": torch.ones(1, 3, dtype=torch.bool)}, "got a mask beside a list"),
        (
            {"prompts": torch.ones(1, 3, dtype=torch.long), "mask": torch.ones(1, 2) > 0},
            r"mask is torch.bool of shape \[1, 2\], expected torch.bool of \[1, 3\]",
        ),
        ({"steps": -1}, "steps is -1, expected a whole number of at least 0"),
        ({"chunk": 0}, "chunk is 0, expected a whole number of at least 1"),
        ({"stop": (11,)}, "stop holds id 11, expected 0 to 10"),
        ({"seed": [1, 2]}, "seed has 2 numbers, expected 1, one per row"),
        ({"seed": -1}, "seed is -1, expected a whole number of at least 0"),
    ],
)
def test_what_cannot_be(change, said):
    given = {"prompts": [torch.tensor([1, 2, 3])], "steps": 2, **change}
    with pytest.raises(InputError, match=said):
        generate(make("rnn"), **given)


def test_a_state_needs_the_last_token():
    model = make("rnn")
    with pytest.raises(InputError, match="got a state and prompt 1 is empty"):
        generate(model, prompts(2, 0), 2, state=model.initial_state(2))


def test_a_model_of_numbers_is_refused():
    model = build(ModelConfig("rnn", targets=1, width=4))
    with pytest.raises(InputError, match="the model is of numbers, expected one of tokens"):
        generate(model, [torch.tensor([1])], 2)


def test_a_model_that_diverged_is_refused():
    model = make("rnn")
    for weight in model.head.parameters():
        torch.nn.init.constant_(weight, torch.nan)
    with pytest.raises(InputError, match="the model gives NaN"):
        generate(model, prompts(2), 2)
