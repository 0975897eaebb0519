"""Text as streams of tokens: each one foretold once, and measured as the model itself measures."""

import math

import numpy as np
import pytest
import torch

from throughtime.data.text import Vocabulary
from throughtime.errors import InputError
from throughtime.models import ModelConfig, build
from throughtime.tasks import language
from throughtime.tasks.language import EVALUATION_ROWS, LanguageModelling

TEXT = "the cat sat on the mat and the dog ran to the cat.\n" * 60


def task_of(text=TEXT, stops=(2000, 2100)):
    vocabulary = Vocabulary.fit(text)
    ids = vocabulary.encode(text)
    first, second = stops
    return LanguageModelling(ids[:first], ids[first:second], ids[second:], vocabulary)


def model_of(task, kind="gru"):
    torch.manual_seed(1)
    return build(ModelConfig(kind, tokens=len(task.vocabulary), width=7)).double().eval()


def targets_of(source, number):
    found = []
    (windows,) = source.epoch(number)
    for index in range(len(windows)):
        batch = windows[index]
        mask = torch.ones(batch.shape, dtype=torch.bool) if batch.mask is None else batch.mask
        found += batch.targets[mask].tolist()
    return np.array(found)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(("rows", "window"), [(1, 64), (7, 13), (32, 64), (300, 50)])
def test_every_token_is_a_target_once(rows, window, shuffle):
    task = task_of()
    source = task.source(rows, window, seed=0, shuffle=shuffle)
    for epoch in (0, 1):
        found = targets_of(source, epoch)
        assert len(found) == len(task.training)
        assert np.array_equal(np.sort(found), np.sort(task.training))


def test_windows_move_from_epoch_to_epoch_where_shuffled():
    task = task_of()
    moving, still = (task.source(4, 64, 0, shuffle=shuffle) for shuffle in (True, False))
    sizes = [{source.epoch(n)[0][0].shape[1] for n in range(8)} for source in (moving, still)]
    assert len(sizes[0]) > 1
    assert sizes[1] == {64}


def test_each_token_is_foretold_from_the_one_before():
    task = task_of()
    (windows,) = task.source(4, 16, 0, shuffle=False).epoch(0)
    first, second = windows[0], windows[1]
    assert (first.inputs[:, 0] == task.vocabulary.begin).all()
    assert torch.equal(first.inputs[:, 1:], first.targets[:, :-1])
    assert torch.equal(second.inputs[:, 0], first.targets[:, -1])


@pytest.mark.parametrize("kind", ["rnn", "lstm", "window"])
def test_bits_of_one_stream_are_the_models_own(kind):
    task = task_of()  # 100 tokens of validation: one stream
    model = model_of(task, kind)
    ids = torch.from_numpy(task.validation)[None]
    score = task.validate(model)
    assert score.counted == 100
    assert score.nats == pytest.approx(float(model.nats(ids).detach()), rel=1e-9)
    found = task.metrics(model, "validation")
    assert found["bits"] == pytest.approx(float(model.bits_per_step(ids).detach()), rel=1e-9)
    assert found["perplexity"] == pytest.approx(float(model.perplexity(ids).detach()), rel=1e-9)


def test_bits_of_parallel_streams_are_those_of_their_parts():
    task = task_of(TEXT, (1000, 1100))
    model = model_of(task)
    tokens = torch.from_numpy(task.test)
    rows = min(EVALUATION_ROWS, len(tokens) // 64)
    assert rows > 4
    assert len(tokens) % rows  # parts of two lengths
    nats = sum(
        -float(model.log_prob(part[None]).detach().sum())
        for part in torch.tensor_split(tokens, rows)
    )
    score = task.validate(model, "test")
    assert score.counted == len(tokens)
    assert score.nats == pytest.approx(nats / len(tokens), rel=1e-9)


def test_a_large_vocabulary_is_measured_in_small_pieces(monkeypatch):
    task = task_of()
    model = model_of(task, "lstm")
    usual = task.validate(model, "test")
    monkeypatch.setattr(language, "EVALUATION_SCORES", 1000)
    small = task.validate(model, "test")
    assert small.counted == usual.counted
    assert small.nats == pytest.approx(usual.nats, rel=1e-12)
    assert small.loss == small.nats


def test_bits_of_counting_by_hand():
    task = task_of("ab" * 100, (120, 160))
    model = build(ModelConfig("ngram", tokens=2, order=1))
    task.prepare(model)
    model.fit(task.source(1, 4096, 0, shuffle=False))  # pyright: ignore[reportCallIssue]
    assert task.metrics(model)["bits"] == pytest.approx(1.0, abs=0.02)  # a and b are as likely


def test_perplexity_of_an_impossible_text_is_large_and_not_an_error():
    class Certain(LanguageModelling):
        def validate(self, model, part="validation"):
            return super().validate(model, part)._replace(nats=5000.0)

    task = task_of()
    certain = Certain(task.training, task.validation, task.test, task.vocabulary)
    assert math.isfinite(certain.metrics(model_of(task))["perplexity"])


def test_parts_are_measured_apart():
    task = task_of("ab" * 60 + "ba" * 60 + "aa" * 70, (120, 240))
    model = model_of(task)
    assert task.validate(model, "validation").nats != task.validate(model, "test").nats
    with pytest.raises(InputError, match="part is 'train', expected 'validation' or 'test'"):
        task.validate(model, "train")


def test_a_model_of_fewer_tokens_is_refused():
    task = task_of()
    small = build(ModelConfig("rnn", tokens=3, width=4))
    with pytest.raises(InputError, match="expected"):
        task.prepare(small)


@pytest.mark.parametrize("kind", ["bytes", "words", "bpe"])
@pytest.mark.parametrize("part", ["validation", "test"])
def test_bits_per_character_are_all_bits_over_all_characters(kind, part):
    texts = [TEXT[:1020], TEXT[1020:1275] + "é 고양이\n", TEXT[1275:2040]]
    vocabulary = Vocabulary.fit(texts[0], kind, max_size=None if kind == "bytes" else 270)
    training, validation, test = (vocabulary.encode(text) for text in texts)
    counts = (len(texts[1]), len(texts[2]))
    task = LanguageModelling(training, validation, test, vocabulary, characters=counts)
    model = model_of(task)
    found = task.metrics(model, part)
    score = task.validate(model, part)
    bits = score.nats * score.counted / math.log(2)
    assert found["bits_per_character"] == pytest.approx(bits / counts[part == "test"], rel=1e-9)
    if kind != "bytes":
        assert found["bits_per_character"] < found["bits"]
    if kind != "words":  # of which the decoded text is another, where a word is unknown
        alone = LanguageModelling(training, validation, test, vocabulary)
        assert alone.metrics(model, part) == found


def test_characters_have_bits_per_character_already():
    task = task_of()
    assert set(task.metrics(model_of(task))) == {"bits", "perplexity"}
