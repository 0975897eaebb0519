import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from throughtime.data.pair_vocabulary import FORMAT, PairVocabulary, count_unknown
from throughtime.data.pairs import PairTexts
from throughtime.errors import InputError, MissingExtra
from throughtime.models.inputs import TokenInputs

TEXTS = PairTexts(["4 2", "7", ""], ["four two", "seven", ""])


class TestBytePairs:
    vocabulary = PairVocabulary.fit(
        PairTexts(["der Hund läuft", "der Hut"], ["the dog runs", "the hat"]), size=270, joint=True
    )

    @settings(deadline=None)
    @given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
    def test_round_trip(self, text):
        for encode in (self.vocabulary.encode_source, self.vocabulary.encode_target):
            ids = encode(text)
            assert ids.dtype == np.int64
            assert ids[-1] == self.vocabulary.target_end
            assert (ids[:-1] < self.vocabulary.target_end).all()
            assert self.vocabulary.decode_target(ids) == text
            assert self.vocabulary.decode_target(ids[:-1]) == text

    def test_both_sides_share_it(self):
        assert self.vocabulary.source is self.vocabulary.target
        assert len(self.vocabulary.source) <= 270
        assert len(self.vocabulary.encode_source("der")) < 4  # learnt from the sources
        assert len(self.vocabulary.encode_source("the")) < 4  # and from the targets
        apart = PairVocabulary.fit(PairTexts(["aaaa"], ["bbbb"]), size=258)
        assert len(apart.encode_source("aaaa")) < len(apart.encode_source("bbbb"))
        assert len(apart.encode_target("bbbb")) < len(apart.encode_target("aaaa"))

    def test_lines_do_not_run_together(self):
        vocabulary = PairVocabulary.fit(PairTexts(["ab"] * 9, ["x"]), size=258)
        assert b"ba" not in vocabulary.source._pieces


class TestWordsAndCharacters:
    def test_ids(self):
        vocabulary = PairVocabulary.fit(TEXTS, "characters,words")
        assert set(vocabulary.source.tokens) == {"4", " ", "2", "7", "<unk>"}
        assert set(vocabulary.target.tokens) == {"four", "two", "seven", "<unk>"}
        assert (vocabulary.source_end, vocabulary.source_tokens) == (5, 6)
        assert (vocabulary.target_end, vocabulary.target_tokens, vocabulary.begin) == (4, 5, 5)
        assert vocabulary.encode_source("").tolist() == [5]
        assert vocabulary.decode_target(vocabulary.encode_target(" two  four ")) == "two four"
        # What is new is read as unknown, not refused.
        assert vocabulary.target.decode(vocabulary.encode_target("six")[:-1]) == "<unk>"
        assert vocabulary.encode_source("9")[0] == vocabulary.source.tokens.index("<unk>")

    def test_the_begin_id_is_the_layers(self):
        vocabulary = PairVocabulary.fit(TEXTS, "words")
        layer = TokenInputs(vocabulary.target_tokens, 4)
        assert layer.begin(1).item() == vocabulary.begin
        layer(torch.tensor([[vocabulary.begin, vocabulary.target_end]]), ())

    def test_a_line_end_is_no_token(self):
        for tokens in ("characters", "words"):
            vocabulary = PairVocabulary.fit(TEXTS, tokens, joint=True)
            assert not {"\n", "<eos>"} & set(vocabulary.source.tokens)
            assert {"7", "<unk>"} <= set(vocabulary.target.tokens)

    def test_decoding_stops_at_the_end_or_at_padding(self):
        vocabulary = PairVocabulary.fit(TEXTS, "words")
        four, end = vocabulary.target.tokens.index("four"), vocabulary.target_end
        for ids in ([four, end, four], [four, -1, -1], [four], [four, end, -1, vocabulary.begin]):
            assert vocabulary.decode_target(ids) == "four"
            assert vocabulary.decode_target(torch.tensor(ids).numpy()) == "four"
        assert vocabulary.decode_target([]) == vocabulary.decode_target([end]) == ""
        with pytest.raises(InputError, match="decode: id 5 at position 0"):
            vocabulary.decode_target([vocabulary.begin])

    def test_size_is_of_each_side(self):
        vocabulary = PairVocabulary.fit(TEXTS, "bytes,words", 2)
        assert (len(vocabulary.source), len(vocabulary.target)) == (256, 2)

    def test_unknown_tokens_are_counted(self):
        vocabulary = PairVocabulary.fit(TEXTS, "characters,words")
        assert count_unknown(vocabulary.source, ["4 2", "94 9", ""]) == 2
        assert count_unknown(vocabulary.target, ["four", "five six four"]) == 2
        assert count_unknown(PairVocabulary.fit(TEXTS, "bytes").source, ["ß"]) == 0


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("tokens", ["characters", "bytes", "words", "bpe"])
def test_json_round_trip(tokens, joint):
    vocabulary = PairVocabulary.fit(TEXTS, tokens, joint=joint)
    again = PairVocabulary.from_json(vocabulary.to_json())
    assert again == vocabulary
    assert (again.source is again.target) == joint
    assert again.encode_source("7 2").tolist() == vocabulary.encode_source("7 2").tolist()


def test_json_refuses():
    vocabulary = PairVocabulary.fit(TEXTS, "words")
    form = json.loads(vocabulary.to_json())
    damaged = ["", "[]", "3", json.dumps({**form, "joint": 1}), json.dumps({**form, "format": "1"})]
    damaged += [json.dumps({key: form[key] for key in form if key != left}) for left in form]
    damaged += [json.dumps({**form, "target": wrong}) for wrong in (None, {}, [1])]
    for text in damaged:
        with pytest.raises(InputError, match="does not hold") as caught:
            PairVocabulary.from_json(text)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=f"format {FORMAT + 1} comes from a newer version"):
        PairVocabulary.from_json(json.dumps({**form, "format": FORMAT + 1}))


def test_refuses():
    for tokens in ("syllables", "words,bpe,words", "", "words,"):
        with pytest.raises(InputError, match=r"tokens is '.*', expected one of characters, bytes"):
            PairVocabulary.fit(TEXTS, tokens)
    with pytest.raises(InputError, match="expected one kind where joint"):
        PairVocabulary.fit(TEXTS, "characters,words", joint=True)
    with pytest.raises(InputError, match="target: the text has no words"):
        PairVocabulary.fit(PairTexts(["a"], [""]), "words")
    with pytest.raises(InputError, match="source: bpe with max_size 20"):
        PairVocabulary.fit(TEXTS, "bpe", 20)
    one, other = (PairVocabulary.fit(TEXTS, tokens).source for tokens in ("words", "bytes"))
    with pytest.raises(InputError, match="joint, but source and target differ"):
        PairVocabulary(one, other, joint=True)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(MissingExtra, match=r"throughtime\[text\]"):
        PairVocabulary.fit(TEXTS, "bpe")


def test_korean_syllables_come_apart():
    """A syllable that training never saw is made of letters that it did."""
    texts = PairTexts(["가나", "노다"], ["k a n a", "n o t a"])
    whole = PairVocabulary.fit(texts, "characters,words")
    apart = PairVocabulary.fit(texts, "characters,words", form="NFD")
    unknown = whole.source.tokens.index("<unk>")
    assert whole.encode_source("고").tolist() == [unknown, whole.source_end]
    ids = apart.encode_source("고").tolist()
    assert len(ids) == 3
    assert apart.source.tokens.index("<unk>") not in ids
    again = PairVocabulary.from_json(apart.to_json())
    assert again == apart
    assert again.encode_source("고").tolist() == ids
    with pytest.raises(InputError, match="form is 'nfd', expected one of NFC, NFD, NFKC, NFKD"):
        PairVocabulary.fit(texts, "characters,words", form="nfd")
