"""The task of making one sequence of another."""

import math

import pytest
import torch

from throughtime.data.pair_vocabulary import PairVocabulary
from throughtime.data.pairs import PairParts, PairTexts
from throughtime.decoding.translating import translate
from throughtime.errors import InputError
from throughtime.models import ModelConfig, build_encoder_decoder
from throughtime.tasks.translation import Translation, loss, own_tokens

TRAINING = PairTexts(
    ["ab", "abc", "b", "cab", "ab", "", "a" * 20], ["B A", "C B A", "B", "B A C", "A B", "x", "A"]
)
HELD = PairTexts(["ba", "ab", "ba", "c"], ["A B", "B A", "A A B", "C"])


def task_of(**options):
    vocabulary = PairVocabulary.fit(TRAINING, "characters,words")
    return Translation(PairParts(TRAINING, HELD, HELD), vocabulary, **options)


def model_of(task, kind="gru", **options):
    torch.manual_seed(0)
    known = task.vocabulary
    config = ModelConfig(
        kind, tokens=known.target_tokens, source_tokens=known.source_tokens, width=16, heads=2,
        **options,
    )  # fmt: skip
    return build_encoder_decoder(config)


def test_pairs_that_teach_nothing_are_left_out():
    task = task_of(longest=10)
    assert task.dropped == {"blank": 1, "too long": 1, "lopsided": 0}
    assert len(task.sources) == 5
    with pytest.raises(InputError, match="no pair is left to learn from, dropped were"):
        Translation(PairParts(PairTexts([""], ["A"]), HELD, HELD), task.vocabulary)


def test_validation_is_the_mean_over_all_tokens_alone():
    """Batches and padding make no difference; each pair by itself gives the same."""
    task = task_of()
    model = model_of(task).double().eval()
    score = task.validate(model)
    total, count = 0.0, 0
    for source, target in zip(*HELD, strict=True):
        x = torch.from_numpy(task.vocabulary.encode_source(source))[None]
        y = torch.from_numpy(task.vocabulary.encode_target(target))[None]
        total, count = total - model.log_prob(x, y).sum().item(), count + y.numel()
    assert score.counted == count
    assert math.isclose(score.nats, total / count, rel_tol=1e-9)


def test_the_loss_of_a_batch_is_its_pairs():
    task = task_of()
    model = model_of(task).double()
    batches = task.source(20, 1, 0, shuffle=False).epoch(0)
    assert len(batches) > 1
    for (batch,) in batches:
        total, count, state = loss(model, batch, None)
        expected = -model.log_prob(
            batch.source, batch.targets.clamp(min=0), batch.source_mask, batch.mask
        ).sum()
        torch.testing.assert_close(total, expected)
        assert count == batch.mask.sum()
        assert state == ()


def test_smoothing_is_for_training_alone():
    task = task_of()
    model = model_of(task, smoothing=0.3)
    ((batch,),) = task.source(1000, 1, 0).epoch(0)
    smoothed, _, _ = loss(model.train(), batch, None)
    plain, _, _ = loss(model.eval(), batch, None)
    assert smoothed.item() != pytest.approx(plain.item())


@pytest.mark.parametrize("kind", ["lstm", "transformer"])
def test_own_tokens_are_what_the_model_foretells(kind):
    task = task_of()
    model = model_of(task, kind)
    ((batch,),) = task.source(1000, 1, 0).epoch(0)
    assert torch.equal(own_tokens(model, batch, 0.0), batch.inputs)
    fed = own_tokens(model, batch, 1.0)
    logits, _ = model.eval()(batch.source, batch.inputs, batch.source_mask, batch.mask)
    assert torch.equal(fed[:, 0], batch.inputs[:, 0])  # the beginning is never replaced
    inside = batch.mask[:, 1:]
    assert torch.equal(fed[:, 1:][inside], logits.argmax(-1)[:, :-1][inside])
    torch.manual_seed(1)
    some = own_tokens(model, batch, 0.5)[:, 1:][inside]
    replaced = (some != batch.inputs[:, 1:][inside]).float().mean().item()
    assert 0.1 < replaced < 0.9


def test_scheduled_sampling_changes_training_alone():
    task = task_of()
    model = model_of(task)
    ((batch,),) = task.source(1000, 1, 0).epoch(0)
    plain, _, _ = loss(model.train(), batch, None)
    assert loss(model, batch, None, scheduled=1.0)[0].item() != pytest.approx(plain.item())
    assert loss(model.eval(), batch, None, scheduled=1.0)[0].item() == pytest.approx(plain.item())


def test_any_target_of_a_source_is_right():
    task = task_of(measure="wer")
    # Sources are ba, ab, c; of ba there are two targets.
    found = task.score(["A A B", "B A", "B"])
    assert found == {"wer": pytest.approx(100 / 3), "per": pytest.approx(100 / 6)}


def test_bleu_has_its_signature():
    pytest.importorskip("sacrebleu")
    task = task_of(measure="bleu", tokenize="none")
    found = task.score(["A B", "B A", "C"])
    assert found["bleu"] == pytest.approx(100) or found["bleu"] < 100
    assert "tok:none" in found["bleu_signature"]
    assert found["wer"] == 0
    assert found["chrf"] == pytest.approx(100)


@pytest.mark.filterwarnings("ignore:beam_search")
def test_what_training_is_watched_by():
    task = task_of(measure="wer")
    model = model_of(task)
    assert set(task.watch(model)) == {"loss", "one_step"}
    assert set(task.watch(model, "wer")) == {"loss", "one_step", "wer", "per"}
    with pytest.raises(InputError, match="measure is 'bleu', expected loss or one of wer, per"):
        task.watch(model, "bleu")


def test_what_cannot_be():
    with pytest.raises(InputError, match="measure is 'rouge', expected one of bleu, wer"):
        task_of(measure="rouge")
    task = task_of()
    with pytest.raises(InputError, match="part is 'train', expected"):
        task.validate(model_of(task), "train")
    known = task.vocabulary
    for side, source, tokens in (
        ("source", 3, known.target_tokens), ("target", known.source_tokens, 3),
    ):  # fmt: skip
        other = build_encoder_decoder(ModelConfig(tokens=tokens, source_tokens=source))
        with pytest.raises(InputError, match=f"knows 3 tokens of the {side}, the vocabulary has"):
            task.prepare(other)


@pytest.mark.filterwarnings("ignore:beam_search")
@pytest.mark.parametrize("kind", ["gru", "transformer"])
@pytest.mark.parametrize("beams", [1, 3])
def test_answers_do_not_depend_on_their_neighbours(kind, beams):
    """In order, whatever is searched together, and however many are read at a time."""
    task = task_of()
    model = model_of(task, kind).eval()
    texts = ["ab", "", "abcabc", "q", "ba", "c"]
    options = {"beams": beams, "n_best": beams, "most": 6}
    together = list(translate(model, task.vocabulary, texts, **options))
    parts = list(translate(model, task.vocabulary, iter(texts), rows=2, **options))
    alone = [next(translate(model, task.vocabulary, [text], **options)) for text in texts]
    for answers in (parts, alone):
        assert [[one.text for one in each] for each in answers] == [
            [one.text for one in each] for each in together
        ]
    assert all(len(each) == beams for each in together)


def test_answers_say_how_likely_they_are():
    task = task_of()
    model = model_of(task).eval()
    ((best, *_),) = translate(model, task.vocabulary, ["abc"], beams=3, most=9, length_penalty=0.5)
    ids = [*best.tokens, *([task.vocabulary.target_end] if best.ended else [])]
    x = torch.from_numpy(task.vocabulary.encode_source("abc"))[None]
    expected = model.log_prob(x, torch.tensor([ids])).sum().item()
    assert best.log_prob == pytest.approx(expected, abs=1e-4)
    assert best.score == pytest.approx(expected / len(ids) ** 0.5, abs=1e-4)
    assert best.text == task.vocabulary.decode_target(ids)


def test_sources_are_read_as_they_are_needed():
    task = task_of()
    model = model_of(task).eval()
    read = []

    def texts():
        for number in range(6):
            read.append(number)
            yield "ab"

    answers = translate(model, task.vocabulary, texts(), rows=2, beams=1, most=3)
    next(answers)
    assert read == [0, 1]


@pytest.mark.filterwarnings("ignore:beam_search")
def test_a_long_neighbour_gives_no_more_room():
    """An answer that never ends is cut where it is cut alone."""
    task = task_of()
    model = model_of(task).eval()
    with torch.no_grad():
        model.head.output.bias[task.vocabulary.target_end] = -100.0
    both = [*translate(model, task.vocabulary, ["ab", "abc" * 9], beams=2)]
    ((alone,),) = translate(model, task.vocabulary, ["ab"], beams=2)
    assert both[0][0].tokens == alone.tokens
    assert len(both[1][0].tokens) > len(alone.tokens)


def test_a_model_goes_on_training_between_answers():
    task = task_of()
    model = model_of(task).train()
    next(translate(model, task.vocabulary, ["ab", "ba"], beams=1, most=3))
    assert model.training


@pytest.mark.parametrize(
    ("options", "told"),
    [({"rows": 0}, "rows is 0"), ({"beams": 2, "n_best": 3}, "n_best is 3, expected at most")],
)
def test_options_are_checked_at_once(options, told):
    task = task_of()
    with pytest.raises(InputError, match=told):
        translate(model_of(task), task.vocabulary, ["ab"], **options)
