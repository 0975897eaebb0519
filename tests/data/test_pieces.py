"""Byte-pair encoding: every text comes back, the same text teaches the same."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from throughtime.data import pieces
from throughtime.data.text import Vocabulary
from throughtime.errors import InputError, MissingExtra

TEXT = "the cat sat on the mat.\n한국어 글도 있어요, the café 😀\n" * 20
SMALL = Vocabulary.fit(TEXT, "bpe", max_size=300)


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_comes_back(text):
    ids = SMALL.encode(text)
    assert ids.dtype == np.int64
    assert SMALL.decode(ids) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n\n  \n",
        "\r\n\ttabs",
        "👩‍👩‍👧 новый ñ 漢字",
        "\x00\x1c\x85\u2028\ufeff",
        "<unk><eos>",
        TEXT,
    ],
)
def test_a_text_that_was_not_learnt_from_comes_back(text):
    assert SMALL.decode(SMALL.encode(text)) == text


def test_frequent_pieces_are_one_token():
    assert [SMALL.name(number) for number in SMALL.encode("the cat").tolist()] == ["the", " cat"]
    assert [SMALL.name(number) for number in SMALL.encode("zq").tolist()] == ["z", "q"]
    assert SMALL.begin == len(SMALL) <= 300
    assert len(SMALL.encode(TEXT)) < len(TEXT) / 2


def test_the_pair_that_is_most_frequent_is_joined_first():
    learnt = Vocabulary.fit("ab ab ab cd cd", "bpe", max_size=257)
    assert len(learnt) == 257
    assert learnt.name(256) == "ab"


def test_a_pair_that_occurs_once_is_not_joined():
    assert len(Vocabulary.fit("abcdef", "bpe")) == 256
    assert Vocabulary.fit("ab ab", "bpe").decode([256]) == "ab"


def test_half_a_character_has_a_name():
    ids = SMALL.encode("漢").tolist()
    assert "".join(SMALL.name(number) for number in ids) == r"\xe6\xbc\xa2"
    assert SMALL.decode(ids[:1]) == "\ufffd"
    assert Vocabulary("bytes").name(0xC3) == r"\xc3"
    assert Vocabulary("bytes").name(ord("a")) == "a"
    assert Vocabulary("words", ("a", "<eos>"), line_end="<eos>").name(1) == "\n"


def test_long_texts_are_cut_where_tokens_begin(monkeypatch):
    text = TEXT + "a  b \n\n c\n  d_ e\u00a0f 1 2\n" * 3
    whole = SMALL.encode(text)
    learnt = Vocabulary.fit(text, "bpe", max_size=300)
    for size in (1, 2, 3, 7, 50):
        monkeypatch.setattr(pieces, "STRETCH", size)
        assert len(list(pieces.stretches(text))) > 5
        assert "".join(pieces.stretches(text)) == text
        assert np.array_equal(SMALL.encode(text), whole)
        assert Vocabulary.fit(text, "bpe", max_size=300) == learnt


def test_the_same_text_teaches_the_same_in_every_process():
    script = (
        "import sys; from throughtime.data.text import Vocabulary;"
        f"sys.stdout.write(Vocabulary.fit({TEXT!r}, 'bpe', max_size=300).to_json())"
    )
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
        assert done.stdout.decode() == SMALL.to_json()


def test_json_keeps_all():
    form = SMALL.to_json()
    assert form.isascii()
    again = Vocabulary.from_json(form)
    assert again == SMALL
    assert again.encode(TEXT).tolist() == SMALL.encode(TEXT).tolist()
    inside = json.loads(json.loads(form)["tokenizer"])  # which the package itself can read
    assert len(inside["model"]["vocab"]) == len(SMALL)


@pytest.mark.parametrize("damage", ["", "{}", "[]", '{"model": {"vocab": {"a": 0}}}', "x"])
def test_a_damaged_tokenizer_is_refused(damage):
    form = {**json.loads(SMALL.to_json()), "tokenizer": damage}
    with pytest.raises(InputError, match="tokenizer is not the JSON of a byte-level BPE"):
        Vocabulary.from_json(json.dumps(form))


def test_what_cannot_be():
    with pytest.raises(InputError, match=r"max_size 256 .* expected at least 257 tokens"):
        Vocabulary.fit(TEXT, "bpe", max_size=256)
    with pytest.raises(InputError, match="and no unknown"):
        Vocabulary.fit(TEXT, "bpe", unknown="?")
    with pytest.raises(InputError, match="the text is empty"):
        Vocabulary.fit("", "bpe")
    with pytest.raises(InputError, match=f"expected 0 to {len(SMALL) - 1}"):
        SMALL.decode([len(SMALL)])


@pytest.mark.parametrize("vocabulary", [SMALL, Vocabulary("bytes")])
def test_half_a_surrogate_is_refused(vocabulary):
    with pytest.raises(InputError, match=r"at position 2 stands half a character, U\+DCFF"):
        vocabulary.encode("ab\udcff")


def test_decoding_needs_no_package_and_encoding_says_which(monkeypatch):
    again = Vocabulary.from_json(SMALL.to_json())
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert again.decode(SMALL.encode("the cat")) == "the cat"
    said = r"byte-pair encoding needs tokenizers: pip install 'throughtime\[text\]'"
    with pytest.raises(MissingExtra, match=said):
        again.encode("the cat")
    with pytest.raises(MissingExtra, match=said):
        Vocabulary.fit(TEXT, "bpe")
