"""Text in, text out, and where it stops."""

import pytest
import torch

from throughtime.data.text import Vocabulary
from throughtime.decoding import ModelStepper, Sampling, write
from throughtime.errors import InputError
from throughtime.models.ngram import NGram

TEXT = "the cat sat on the mat é 고양이.\nthe dog ran to the cat.\n" * 20
GREEDY = Sampling(greedy=True)


def parrot(kind):
    """A model that knows the text by heart, and its vocabulary."""
    size = 270 if kind == "bpe" else None
    vocabulary = Vocabulary.fit(TEXT, kind, max_size=size)
    ids = torch.from_numpy(vocabulary.encode(TEXT))[None]
    return NGram(14, len(vocabulary)).fit(ids), vocabulary


@pytest.fixture(scope="module", params=["characters", "bytes", "words", "bpe"])
def known(request):
    return parrot(request.param)


def written(known, begins, steps, **options):
    model, vocabulary = known
    return write(model, vocabulary, begins, steps, **options)


def test_a_text_is_written_on(known):
    found = written(known, ["the dog ran to", "the cat sat"], 9, sampling=GREEDY)
    for text, begin in zip(found, ("the dog ran to", "the cat sat"), strict=True):
        at = TEXT.index(begin)
        assert len(text) > len(begin)
        assert text.rstrip("\ufffd") == TEXT[at : at + len(text.rstrip("\ufffd"))]


@pytest.mark.parametrize(
    ("stop", "ends"),
    [
        (["mat"], "the cat sat on the mat"),
        (["고양"], "the cat sat on the mat é 고양"),
        (["nothing", ".\nthe d", "ran"], "the cat sat on the mat é 고양이.\nthe d"),
        ([" the"], "the cat sat on the"),
        (["\n"], "the cat sat on the mat é 고양이.\n"),
        (["n the m", "mat"], "the cat sat on the m"),
        (["cat sat"], None),  # the prompt does not count
    ],
)
def test_a_text_ends_behind_a_stop(known, stop, ends):
    text = written(known, ["the cat sat"], 60, sampling=GREEDY, stop=stop)[0]
    if ends is None:
        assert len(text) > 60
        assert text.startswith("the cat sat on the mat é")
    else:
        assert text == ends


def test_the_space_between_words_is_found():
    model, vocabulary = parrot("words")
    fed = []

    class Watched(ModelStepper):
        def __call__(self, tokens):
            fed.append(tokens)
            return super().__call__(tokens)

    (text,) = write(model, vocabulary, ["the cat sat"], 60, sampling=GREEDY, stop=[" "],
                    stepper=Watched)  # fmt: skip
    assert text == "the cat sat on "
    assert len(fed) == 2  # the space stands before the second word


def test_nothing_is_written_after_a_stop(known, monkeypatch):
    model, vocabulary = known
    steps = 0
    forward = model.forward

    def counted(*args):
        nonlocal steps
        steps += 1
        return forward(*args)

    monkeypatch.setattr(model, "forward", counted)
    write(model, vocabulary, ["the cat sat"], 500, sampling=GREEDY, stop=["mat"])
    assert steps == len(vocabulary.encode("the cat sat on the mat")) - len(
        vocabulary.encode("the cat sat")
    )


def test_texts_stop_by_themselves(known):
    begins = ["the cat sat", "the dog", "the dog ran"]
    together = written(known, begins, 40, sampling=GREEDY, stop=["at"])
    alone = [written(known, [one], 40, sampling=GREEDY, stop=["at"])[0] for one in begins]
    assert together == alone
    assert all(text.endswith("at") for text in together)


def test_stopping_at_nothing_is_refused(known):
    with pytest.raises(InputError, match="stop is '', expected some text to stop at"):
        written(known, ["the"], 3, stop=["cat", ""])
