"""Scores of written answers against what their authors published, and against counts by hand."""

import math
import random
import sys
import time
from functools import cache

import pytest

from throughtime.errors import InputError, MissingExtra
from throughtime.tasks.scores import bleu, chrf, edit_distance, error_rates

# The example of sacrebleu's documentation, and what it says there.
ANSWERS = ["The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."]
FIRST = ["The dog bit the man.", "It was not unexpected.", "The man bit him first."]
SECOND = ["The dog had bit the man.", "No one was surprised.", "The man had bitten the dog."]
BOTH = list(zip(FIRST, SECOND, strict=True))


def test_the_documented_example():
    assert bleu(ANSWERS, BOTH).score == pytest.approx(48.53, abs=0.005)
    assert chrf(ANSWERS, BOTH).score == pytest.approx(59.73, abs=0.005)


def test_signatures_say_how():
    for found in (bleu(ANSWERS, BOTH).signature, chrf(ANSWERS, BOTH).signature):
        parts = dict(part.split(":") for part in found.split("|"))
        assert parts["nrefs"] == "2"
        assert parts["case"] == "mixed"
        assert "version" in parts
    assert "tok:13a|smooth:exp" in bleu(ANSWERS, BOTH).signature
    assert "nc:6|nw:0" in chrf(ANSWERS, BOTH).signature
    assert "tok:char" in bleu(ANSWERS, BOTH, tokenize="char").signature


def test_bleu_by_hand():
    # 6 of 7 words, 4 of 6 pairs, 2 of 5 triples, 1 of 4 fours; 7 words for 8 that were wanted.
    answer, wanted = "a b c d x f g", "a b c d f g h i"
    expected = 100 * math.exp(1 - 8 / 7) * (6 / 7 * 4 / 6 * 2 / 5 * 1 / 4) ** 0.25
    assert bleu([answer], [(wanted,)], tokenize="none").score == pytest.approx(expected)


def test_bleu_clips_to_one_reference_and_takes_the_nearest_length():
    # Papineni et al. 2002, example 2: of seven "the" two count, not the three of both references.
    answer = "the the the the the the the"
    cat, mat = "the cat is on the mat", "there is a cat on the mat"
    usual = 100 * (2 / 7 * 1 / 12 * 1 / 20 * 1 / 32) ** 0.25  # halves of a match, and so on
    assert bleu([answer], [(cat, mat)], tokenize="none").score == pytest.approx(usual)
    # Six words lie nearer to seven than to twenty.
    expected = 100 * math.exp(1 - 7 / 6) * (6 / 6 * 4 / 5 * 2 / 4 * 1 / 3) ** 0.25
    found = bleu(["there is a cat the mat"], [(mat, "x " * 20)], tokenize="none")
    assert found.score == pytest.approx(expected)


@pytest.mark.parametrize("score", [bleu, chrf])
def test_references_of_unequal_numbers(score):
    """One that is not there counts nothing: neither as an empty one nor as a copy."""
    ragged = [BOTH[0], BOTH[1][:1], BOTH[2]]
    found = score(ANSWERS, ragged)
    assert "nrefs:var" in found.signature
    assert found.score == pytest.approx(score(ANSWERS, [BOTH[0], (FIRST[1],) * 2, BOTH[2]]).score)
    if score is bleu:  # an empty one would be nearer in length: two tokens, to none or to seven
        answers, long = ["x y", *ANSWERS], "a b c d e f g"
        without = bleu(answers, [(long,), *BOTH]).score
        assert without < bleu(answers, [(long, ""), *BOTH]).score
        assert without == pytest.approx(bleu(answers, [(long, long), *BOTH]).score)


def test_characters_by_hand():
    # Spaces do not count. Of one character: 3 of 3 answered, of 4 wanted; pairs 2 and 3; triples 1
    # and 2; of four there are none in the answer.
    precision, recall = 1.0, (3 / 4 + 2 / 3 + 1 / 2) / 3
    expected = 100 * 5 * precision * recall / (4 * precision + recall)
    assert chrf(["a bc"], [("abcd",)]).score == pytest.approx(expected)
    assert chrf(["a bc"], [("abcd", "zzz", "ab c")]).score == 100


def test_tokens_of_other_scripts():
    answer, wanted = "我喜欢猫和狗", "我喜欢狗和猫"
    assert bleu([answer], [(wanted,)]).score == 0  # one word, and another
    assert bleu([answer], [(wanted,)], tokenize="zh").score > 0
    assert bleu([answer], [(answer,)], tokenize="char").score == pytest.approx(100)


def test_an_unknown_way_to_cut():
    with pytest.raises(InputError, match=r"tokenize is 'words', expected one of .*13a, intl, char"):
        bleu(ANSWERS, BOTH, tokenize="words")


def test_a_language_that_needs_a_package_of_its_own(monkeypatch):
    module = pytest.importorskip("sacrebleu.tokenizers.tokenizer_ja_mecab")
    monkeypatch.setattr(module, "MeCab", None)
    with pytest.raises(InputError, match=r"cannot be used: .*pip install sacrebleu\[ja\]") as error:
        bleu(ANSWERS, BOTH, tokenize="ja-mecab")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("score", [bleu, chrf])
def test_without_sacrebleu(score, monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(MissingExtra, match=r"sacrebleu: pip install 'throughtime\[translate\]'"):
        score(ANSWERS, BOTH)


@pytest.mark.parametrize("score", [bleu, chrf, error_rates])
@pytest.mark.parametrize(
    ("answers", "references", "says"),
    [
        ([], [], "answers are [], expected a list of one or more"),
        ("a text", [("a",)] * 6, "answers are 'a text', expected a list of one or more"),
        (["a", "b"], [("a",)], "references are of 1 answers, expected 2"),
        (["a", "b"], [("a",), ()], "references[1] is (), expected a list of one or more"),
        (["a", "b"], ["a", ("b",)], "references[0] is 'a', expected a list of one or more"),
    ],
)
def test_what_is_no_list_of_answers(score, answers, references, says):
    with pytest.raises(InputError) as error:
        score(answers, references)
    assert str(error.value) == f"{score.__name__}: {says}"


# -- pronunciations --------------------------------------------------------------------------------


def phonemes(*texts):
    return [text.split() for text in texts]


def test_error_rates_by_hand():
    answers = phonemes("K AE T", "D AO G", "B ER D Z", "")
    references = [
        phonemes("K AE T"),  # right
        phonemes("D AA G", "D AO G"),  # right by the second
        phonemes("B ER D"),  # one too many
        phonemes("F IH SH", "F IH"),  # nothing: two wrong of two are fewer than three of three
    ]
    found = error_rates(answers, references)
    assert found.word == 50.0
    assert found.phoneme == pytest.approx(100 * (1 + 2) / (3 + 3 + 3 + 2))
    assert error_rates(phonemes("A B C"), [phonemes("")]).word == 100
    assert math.isnan(error_rates(phonemes("A B C"), [phonemes("")]).phoneme)
    assert error_rates(phonemes("A B C"), [phonemes("A")]).phoneme == 200


def test_of_equally_near_references_the_shortest_counts_in_any_order():
    near = phonemes("A B C D", "A B")  # both one away
    for known in (near, near[::-1]):
        assert error_rates(phonemes("A B C"), [known]).phoneme == 50


def test_lists_and_tuples_are_alike():
    assert error_rates([("A", "B")], [(["A", "B"],)]) == (0.0, 0.0)


def plainly(one, other):
    """By its definition: what to do about the last sign of each."""

    @cache
    def distance(i, j):
        if not i or not j:
            return i + j
        change = distance(i - 1, j - 1) + (one[i - 1] != other[j - 1])
        return min(distance(i - 1, j) + 1, distance(i, j - 1) + 1, change)

    return distance(len(one), len(other))


def test_edit_distance():
    for one, other, expected in (
        ("", "", 0),
        ("", "abc", 3),
        ("kitten", "sitting", 3),
        ("Saturday", "Sunday", 3),
        ("ab", "ba", 2),
    ):
        assert edit_distance(one, other) == edit_distance(other, one) == expected
    draw = random.Random(0)
    for _ in range(300):
        one, other = ("".join(draw.choices("abc", k=draw.randrange(8))) for _ in range(2))
        assert edit_distance(one, other) == plainly(one, other)


def test_a_whole_dictionary_takes_a_moment():
    """As many words as the test part of CMUdict has; most of them wrong."""
    draw = random.Random(0)

    def word():
        return [str(draw.randrange(40)) for _ in range(draw.randrange(3, 12))]

    answers = [word() for _ in range(12_604)]
    references = [tuple(word() for _ in range(draw.choice((1, 1, 1, 2)))) for _ in answers]
    started = time.process_time()
    error_rates(answers, references)
    assert time.process_time() - started < 2
