import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from throughtime.data.streams import Streams
from throughtime.data.text import (
    FORMAT,
    Vocabulary,
    encode_documents,
    split_documents,
    split_text,
)
from throughtime.errors import InputError

texts = st.text(min_size=1, max_size=50)


class TestCharacters:
    @settings(deadline=None)
    @given(texts)
    def test_round_trip(self, text):
        vocabulary = Vocabulary.fit(text)
        ids = vocabulary.encode(text)
        assert ids.dtype == np.int64
        assert len(ids) == len(text)
        assert vocabulary.decode(ids) == text
        assert set(ids.tolist()) == set(range(len(vocabulary)))

    def test_the_most_frequent_come_first(self):
        vocabulary = Vocabulary.fit("banana😀")
        assert vocabulary.tokens == ("a", "n", "b", "😀")
        assert vocabulary.encode("😀nab").tolist() == [3, 1, 0, 2]
        assert vocabulary.begin == len(vocabulary) == 4

    def test_an_unknown_one_is_refused_by_name_and_place(self):
        vocabulary = Vocabulary.fit("abc")
        with pytest.raises(
            InputError, match=r"character 'é' at position 2 .* was not in the training text"
        ):
            vocabulary.encode("abéc")

    @pytest.mark.parametrize("unknown", ["\ufffd", "<unk>"])
    def test_an_unknown_one_is_read_as_asked(self, unknown):
        vocabulary = Vocabulary.fit("abca", unknown=unknown)
        assert len(vocabulary) == 4
        ids = vocabulary.encode("aéa\U0010ffff")
        assert vocabulary.decode(ids) == f"a{unknown}a{unknown}"

    def test_limit(self):
        vocabulary = Vocabulary.fit("aaabbc", max_size=3, unknown="?")
        assert vocabulary.tokens == ("a", "b", "?")
        assert vocabulary.encode("cab").tolist() == [2, 0, 1]
        with pytest.raises(InputError, match="so it needs unknown"):
            Vocabulary.fit("abc", max_size=2)

    def test_nothing(self):
        assert Vocabulary.fit("abc").encode("").shape == (0,)
        assert Vocabulary.fit("abc").decode([]) == ""


class TestLetters:
    def test_syllables_are_letters_and_signs_are_themselves(self):
        vocabulary = Vocabulary.fit("각가나 ế", "characters")
        found = dict(zip([*vocabulary.tokens, "begin"], vocabulary.letters(), strict=True))
        assert [len(found[each]) for each in ("각", "가", "나", " ", "ế")] == [3, 2, 2, 1, 3]
        assert found["각"][:2] == found["가"]
        assert found["가"][0] != found["나"][0]
        assert found["가"][1] == found["나"][1]
        letters = {letter for row in found.values() for letter in row}
        assert letters == set(range(1, len(letters) + 1))
        assert found["begin"] == [len(letters)]

    def test_what_stands_for_unknown_characters_is_one_letter(self):
        vocabulary = Vocabulary.fit("가나", "characters", unknown="<unk>")
        assert len(vocabulary.letters()[vocabulary.tokens.index("<unk>")]) == 1

    def test_of_other_tokens_there_are_none(self):
        with pytest.raises(InputError, match="letters are of characters, and the tokens are words"):
            Vocabulary.fit("a b", "words").letters()


class TestBytes:
    @settings(deadline=None)
    @given(texts)
    def test_round_trip(self, text):
        vocabulary = Vocabulary.fit("x", "bytes")
        ids = vocabulary.encode(text)
        assert ids.tolist() == list(text.encode())
        assert vocabulary.decode(ids) == text
        assert vocabulary.begin == len(vocabulary) == 256

    def test_torn_characters_do_not_stop_decoding(self):
        assert Vocabulary("bytes").decode([0x61, 0xC3]) == "a\ufffd"

    def test_refuses_options_without_meaning(self):
        with pytest.raises(InputError, match="always all 256"):
            Vocabulary.fit("abc", "bytes", unknown="?")


class TestWords:
    text = "the cat saw\nthe  dog\n\nthe end\n"

    def test_lines_end_with_a_token(self):
        vocabulary = Vocabulary.fit(self.text, "words")
        assert vocabulary.tokens[:2] == ("<eos>", "the")
        ids = vocabulary.encode(self.text)
        words = " ".join(vocabulary.tokens[number] for number in ids)
        assert words == "the cat saw <eos> the dog <eos> <eos> the end <eos>"
        assert vocabulary.decode(ids) == self.text.replace("  ", " ")

    def test_lines_may_be_ignored(self):
        vocabulary = Vocabulary.fit(self.text, "words", line_end=None)
        assert "<eos>" not in vocabulary.tokens
        assert vocabulary.decode(vocabulary.encode(self.text)) == "the cat saw the dog the end"

    def test_other_words_are_unknown(self):
        vocabulary = Vocabulary.fit(self.text, "words")
        assert vocabulary.decode(vocabulary.encode("a cow saw\n")) == "<unk> <unk> saw\n"

    def test_a_text_may_bring_its_own_tokens(self):
        vocabulary = Vocabulary.fit("a <unk> b <unk> <eos>\n", "words")
        assert vocabulary.tokens == ("<eos>", "<unk>", "a", "b")

    @settings(deadline=None)
    @given(st.lists(st.sampled_from("abcdefgh"), min_size=1), st.integers(3, 12))
    def test_limit_keeps_the_most_frequent(self, words, limit):
        text = " ".join(words) + "\n"
        vocabulary = Vocabulary.fit(text, "words", max_size=limit)
        assert len(vocabulary) == min(limit, len(set(words)) + 2)
        assert {"<unk>", "<eos>"} <= set(vocabulary.tokens)
        counts = {word: words.count(word) for word in set(words)}
        kept = [counts[word] for word in counts if word in vocabulary.tokens]
        left = [counts[word] for word in counts if word not in vocabulary.tokens]
        assert min(kept) >= max(left, default=0)

    @settings(deadline=None)
    @given(st.lists(st.lists(st.text("abc", min_size=1), max_size=4), max_size=4))
    def test_round_trip(self, lines):
        text = "".join(" ".join(line) + "\n" for line in lines)
        vocabulary = Vocabulary.fit(text + "a b\n", "words")
        assert vocabulary.decode(vocabulary.encode(text)) == text

    def test_without_an_unknown_token_words_are_refused(self):
        with pytest.raises(InputError, match="word 'c' at position 1"):
            Vocabulary("words", ("a", "b")).encode("a c b")

    def test_refuses_a_limit_without_room(self):
        with pytest.raises(InputError, match="max_size is 2, expected at least 3"):
            Vocabulary.fit(self.text, "words", max_size=2)


class TestJson:
    @pytest.mark.parametrize(
        "vocabulary",
        [
            Vocabulary.fit("añ日😀\n\x00\ud800"),
            Vocabulary.fit("ab", unknown="<unk>"),
            Vocabulary.fit("a b\nb", "words", max_size=3),
            Vocabulary.fit("x", "bytes"),
        ],
    )
    def test_round_trip(self, vocabulary):
        text = vocabulary.to_json()
        assert text.isascii()  # whatever encoding the file is written in
        assert Vocabulary.from_json(text) == vocabulary

    def test_refuses_a_newer_one(self):
        form = json.loads(Vocabulary.fit("ab").to_json())
        with pytest.raises(InputError, match=f"format {FORMAT + 1} comes from a newer version"):
            Vocabulary.from_json(json.dumps({**form, "format": FORMAT + 1, "more": 1}))

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', '{"format": "1"}', "{"])
    def test_refuses_what_is_none(self, text):
        with pytest.raises(InputError, match="does not hold a vocabulary"):
            Vocabulary.from_json(text)


@pytest.mark.parametrize("ids", [[0, 3], [-1, 0]])
def test_decode_refuses_ids_of_no_token(ids):
    with pytest.raises(InputError, match=r"decode: id -?\d at position \d, expected 0 to 2"):
        Vocabulary.fit("abc").decode(ids)


def test_vocabulary_refuses():
    with pytest.raises(InputError, match="the text has no characters"):
        Vocabulary.fit("")
    with pytest.raises(InputError, match="the text has no words"):
        Vocabulary.fit("  ", "words")
    with pytest.raises(InputError, match="occurs twice"):
        Vocabulary("characters", ("a", "a"))
    with pytest.raises(InputError, match="'<unk>' is not among the tokens"):
        Vocabulary("words", ("a",), unknown="<unk>")
    with pytest.raises(InputError, match="none of the tokens is a character"):
        Vocabulary("characters", ("<unk>",), unknown="<unk>")
    form = json.loads(Vocabulary.fit("ab").to_json())
    with pytest.raises(InputError):
        Vocabulary.from_json(json.dumps({**form, "kind": "syllables"}))


class TestSplitText:
    def test_parts_follow_each_other(self):
        tokens = np.arange(100)
        train, validation, test = split_text(tokens, (0.7, 0.2, 0.1))
        assert (len(train), len(validation), len(test)) == (70, 20, 10)
        assert np.array_equal(np.concatenate([train, validation, test]), tokens)
        assert np.shares_memory(train, tokens)
        assert split_text(["a", "b"], (0.5, 0.5)) == (["a"], ["b"])

    def test_refuses_an_empty_part(self):
        with pytest.raises(InputError, match="one would be empty"):
            split_text("abc")


class TestDocuments:
    def test_between_separators(self):
        text = "---\na\nb\n---\n---\n\nc\n ---  \nd---\n"
        assert split_documents(text, "---") == ["a\nb\n", "\nc\n", "d---\n"]
        assert split_documents("a\n\n\nb") == ["a\n", "b"]
        with pytest.raises(InputError, match="no documents"):
            split_documents("---\n\n", "---")

    def test_each_begins_anew(self):
        documents = ["ab", "c", "abc"]
        vocabulary = Vocabulary.fit("".join(documents))
        source = encode_documents(vocabulary, documents)
        assert source.starts.tolist() == [0, 2, 3]
        batch = Streams(source, 1, begin=vocabulary.begin).epoch(0)[0][0]
        assert vocabulary.decode(batch.targets[0].numpy()) == "abcabc"
        assert batch.inputs.tolist() == [[3, 0, 3, 3, 0, 1]]

    def test_refuses_none(self):
        with pytest.raises(InputError, match="there are no documents"):
            encode_documents(Vocabulary.fit("a"), [])
        with pytest.raises(InputError, match="document 1 has no tokens"):
            encode_documents(Vocabulary.fit("a"), ["a", ""])


def test_data_needs_no_tables():
    script = "import sys, throughtime.data; print('polars' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert answer.stdout.strip() == "False"
