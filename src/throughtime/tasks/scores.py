"""How good written answers are: against references, of which each answer may have several."""

import math
from collections.abc import Sequence
from itertools import pairwise
from types import ModuleType
from typing import Any, NamedTuple

from throughtime.errors import InputError, MissingExtra


class Scored(NamedTuple):
    """A score, and how it was computed.

    Attributes:
        score: 0 to 100, the higher the better.
        signature: sacrebleu's, to be published beside the score: scores whose signatures differ
            must not be compared.
    """

    score: float
    signature: str


class ErrorRates(NamedTuple):
    """The shares of what is wrong, the lower the better.

    Attributes:
        word: in % of the answers.
        phoneme: in % of the phonemes of the references; above 100 where answers are too long. NaN
            where the references have none.
    """

    word: float
    phoneme: float


def bleu(
    answers: Sequence[str], references: Sequence[Sequence[str]], tokenize: str = "13a"
) -> Scored:
    r"""BLEU of all answers together, by sacrebleu.

    $$100\, \min\left(1, e^{1 - r/c}\right) \left(p_1 p_2 p_3 p_4\right)^{1/4}$$

    with $p_n$ the share of the n-grams of the answers that stand in one of their references (each
    as often as it does in one of them), c the tokens of the answers and r those of the references
    nearest in length. An n for which nothing agrees counts half a match, the next one a quarter.

    Args:
        answers: texts as a reader would see them, not cut into tokens.
        references: for each answer one or more; they need not be equally many.
        tokenize: how sacrebleu cuts: `13a` for most languages, `zh`, `ja-mecab` and `ko-mecab` for
            Chinese, Japanese and Korean, `char`, `intl`, or `none` for what is cut already.

    Errors:
        InputError: no answer, an answer without reference, or an unknown `tokenize`.
        MissingExtra: sacrebleu is not installed.

    Examples:
        >>> found = bleu(["The dog bit the man."], [("The dog had bit the man.",)])
        >>> round(found.score, 1)
        51.2

    References:
        Papineni et al. 2002, "BLEU: a method for automatic evaluation of machine translation".
        Post 2018, "A call for clarity in reporting BLEU scores".
    """
    metrics: Any = _sacrebleu("bleu").metrics
    known = [*metrics.BLEU.TOKENIZERS]
    if tokenize not in known:
        raise InputError(f"bleu: tokenize is {tokenize!r}, expected one of {', '.join(known)}")
    try:
        # `force` keeps it from guessing that answers which end in " ." were cut already.
        metric = metrics.BLEU(tokenize=tokenize, force=True)
    except (ImportError, RuntimeError) as error:  # a language's own package, told on several lines
        reason = " ".join(str(error).split())
        raise InputError(
            f"bleu: tokenize is {tokenize!r}, which cannot be used: {reason}"
        ) from None
    return _scored("bleu", metric, answers, references)


def chrf(answers: Sequence[str], references: Sequence[Sequence[str]]) -> Scored:
    r"""chrF2 of all answers together, by sacrebleu: how far their characters agree.

    $$100\, \frac{5\, P R}{4 P + R}$$

    with P the share of the n-grams of an answer that stand in its reference, R that of the
    reference's that stand in the answer, each the mean over n from 1 to 6; spaces do not count. Of
    several references the one with the best score counts.

    Args:
        answers: texts.
        references: for each answer one or more; they need not be equally many.

    Errors:
        InputError: no answer, or an answer without reference.
        MissingExtra: sacrebleu is not installed.

    Examples:
        >>> chrf(["a cat"], [("a dog", "a cat")]).score
        100.0

    References:
        Popović 2015, "chrF: character n-gram F-score for automatic MT evaluation".
    """
    metric = _sacrebleu("chrf").metrics.CHRF()
    return _scored("chrf", metric, answers, references)


def error_rates(
    answers: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]
) -> ErrorRates:
    r"""Word and phoneme error rate of pronunciations.

    $$\mathrm{WER} = \frac{100}{N} \sum_i \left[a_i \notin R_i\right], \qquad
    \mathrm{PER} = 100\, \frac{\sum_i d(a_i, r_i)}{\sum_i |r_i|}$$

    with d the [edit distance][throughtime.tasks.scores.edit_distance] and $r_i$ the reference of
    $R_i$ nearest to the answer $a_i$, of equally near ones the shortest: the order of references
    changes nothing, and no rate is lower for a choice among them.

    Args:
        answers: N words, each a sequence of phonemes.
        references: for each word one or more pronunciations.

    Errors:
        InputError: no answer, or an answer without reference.

    Examples:
        >>> error_rates(["AH B".split()], [("AH B AW T".split(), "AH B".split())])
        ErrorRates(word=0.0, phoneme=0.0)
        >>> error_rates(["AH B".split()], [("AH B AW T".split(),)])
        ErrorRates(word=100.0, phoneme=50.0)

    References:
        Yao and Zweig 2015, "Sequence-to-sequence neural net models for grapheme-to-phoneme
        conversion": several pronunciations of a word, and the nearest one.
    """
    _check("error_rates", answers, references)
    wrong = distance = length = 0
    for answer, known in zip(answers, references, strict=True):
        nearest = min((edit_distance(answer, one), len(one)) for one in known)
        wrong += nearest[0] > 0
        distance, length = distance + nearest[0], length + nearest[1]
    return ErrorRates(
        word=100 * wrong / len(answers), phoneme=100 * distance / length if length else math.nan
    )


def edit_distance(one: Sequence[str], other: Sequence[str]) -> int:
    r"""The fewest signs to replace, insert or leave out that make one sequence the other.

    Between the first i signs of one and the first j of the other:

    $$d_{ij} = \begin{cases} d_{i-1,j-1} & a_i = b_j \\
    1 + \min(d_{i-1,j-1},\, d_{i-1,j},\, d_{i,j-1}) & \text{else} \end{cases}$$

    Examples:
        >>> edit_distance("kitten", "sitting")
        3

    References:
        Levenshtein 1966, "Binary codes capable of correcting deletions, insertions and reversals".
    """
    one, other = [*one], [*other]
    if one == other:  # which most answers of a good model are
        return 0
    above = [*range(len(other) + 1)]
    for i, sign in enumerate(one, 1):
        row = [i]
        for wanted, (corner, over) in zip(other, pairwise(above), strict=True):
            row.append(corner if sign == wanted else 1 + min(corner, over, row[-1]))
        above = row
    return above[-1]


def _scored(
    name: str, metric: Any, answers: Sequence[str], references: Sequence[Sequence[str]]
) -> Scored:
    _check(name, answers, references)
    # sacrebleu reads references as columns, and leaves out a None; an empty or a repeated one
    # would count, in the length that is nearest and in the signature.
    columns = [
        [one[place] if place < len(one) else None for one in references]
        for place in range(max(map(len, references)))
    ]
    score = metric.corpus_score(answers, columns)
    return Scored(float(score.score), str(metric.get_signature()))


def _check(name: str, answers: Sequence[Any], references: Sequence[Sequence[Any]]) -> None:
    if isinstance(answers, str) or not len(answers):
        raise InputError(f"{name}: answers are {answers[:40]!r}, expected a list of one or more")
    if len(answers) != len(references):
        raise InputError(
            f"{name}: references are of {len(references)} answers, expected {len(answers)}"
        )
    for at, known in enumerate(references):
        if isinstance(known, str) or not len(known):  # a text alone would be a list of letters
            raise InputError(
                f"{name}: references[{at}] is {known[:40]!r}, expected a list of one or more"
            )


def _sacrebleu(what: str) -> ModuleType:
    """The package sacrebleu.

    Errors:
        MissingExtra: it is not installed.
    """
    try:
        import sacrebleu
    except ImportError:
        raise MissingExtra(what, "sacrebleu", "translate") from None
    return sacrebleu
