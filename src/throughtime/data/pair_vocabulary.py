"""The vocabularies of both sides of pairs, and where a sequence begins and ends."""

import json
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from throughtime.data.pairs import PairTexts
from throughtime.data.text import KINDS, UNKNOWN, Vocabulary
from throughtime.errors import InputError

FORMAT = 1
"""Of the JSON; a larger number comes from a newer version."""

FORMS = ("NFC", "NFD", "NFKC", "NFKD")
"""Of Unicode."""


@dataclass(frozen=True)
class PairVocabulary:
    """Tokens of sources and targets, and two ids beside them.

    The id after a side's last token, `end`, ends each of its sequences: a model of the target
    predicts it, and so knows when to stop. The id after that, `begin`, stands before a target and
    is never predicted. So the layers of a side are made for `source_tokens` or `target_tokens`,
    one more than there are tokens, and `begin` is the id after the last, as for every sequence.

    Attributes:
        source: of what is given.
        target: of what it becomes.
        joint: both are one vocabulary, learnt from both sides.
        form: the form of Unicode that sources are brought into, one of `FORMS`; empty leaves them.

    Examples:
        >>> texts = PairTexts(["4 2", "7"], ["four two", "seven"])
        >>> vocabulary = PairVocabulary.fit(texts, "characters,words")
        >>> vocabulary.encode_target("two four").tolist(), vocabulary.target_end
        ([2, 0, 4], 4)
        >>> vocabulary.decode_target([2, 0, 4, -1, -1])
        'two four'
    """

    source: Vocabulary
    target: Vocabulary
    joint: bool
    form: str = ""

    def __post_init__(self) -> None:
        if self.form not in ("", *FORMS):
            raise InputError(
                f"PairVocabulary: form is {self.form!r}, expected one of {', '.join(FORMS)}"
            )
        if self.joint and self.source != self.target:
            raise InputError("PairVocabulary: joint, but source and target differ")

    @classmethod
    def fit(
        cls,
        texts: PairTexts,
        tokens: str = "bpe",
        size: int | None = None,
        *,
        joint: bool = False,
        form: str = "",
    ) -> "PairVocabulary":
        """The vocabularies of training pairs.

        Characters and words that do not occur in them are read as `<unk>`. Words are told apart by
        white space of any width.

        Args:
            texts: the training part only.
            tokens: "characters", "bytes", "words" or "bpe", or one for each side, source first,
                such as "characters,words".
            size: tokens of each side at most, `<unk>` counted; None: 2,000 for bpe, else all.
                Bytes are always 256.
            joint: learn one vocabulary from both sides: for languages that share words and names.
            form: the form of Unicode for sources. NFD takes letters apart from their accents, and
                Korean syllables into their letters, of which there are few.

        Errors:
            InputError: other tokens, joint with two kinds, or as `Vocabulary.fit`.
            MissingExtra: bpe without the package `tokenizers`.
        """
        kinds = [kind.strip() for kind in tokens.split(",")]
        if len(kinds) > 2 or not set(kinds) <= set(KINDS):
            raise InputError(
                f"PairVocabulary: tokens is {tokens!r}, expected one of {', '.join(KINDS)}, or two "
                "with a comma between them"
            )
        if joint and len(set(kinds)) > 1:
            raise InputError(f"PairVocabulary: tokens is {tokens!r}, expected one kind where joint")
        if form in FORMS:
            texts = texts._replace(sources=[unicodedata.normalize(form, s) for s in texts.sources])
        if joint:
            both = _fit("", [*texts.sources, *texts.targets], kinds[0], size)
            return cls(both, both, joint, form)
        return cls(
            _fit("source: ", texts.sources, kinds[0], size),
            _fit("target: ", texts.targets, kinds[-1], size),
            joint,
            form,
        )

    @property
    def source_end(self) -> int:
        """The id that ends a source."""
        return len(self.source)

    @property
    def target_end(self) -> int:
        """The id that ends a target."""
        return len(self.target)

    @property
    def source_tokens(self) -> int:
        """Ids that occur in a source: all tokens and the end."""
        return len(self.source) + 1

    @property
    def target_tokens(self) -> int:
        """Ids that are predicted: all tokens and the end."""
        return len(self.target) + 1

    @property
    def begin(self) -> int:
        """The id before a target; equal to `target_tokens`."""
        return len(self.target) + 1

    def encode_source(self, text: str) -> np.ndarray:
        """Ids `[time]` of a source, int64; the last is its end."""
        return np.append(self.source.encode(self.formed(text)), self.source_end)

    def formed(self, text: str) -> str:
        """A source in the form of Unicode that the vocabulary was learnt in."""
        form: Any = self.form
        return unicodedata.normalize(form, text) if form else text

    def encode_target(self, text: str) -> np.ndarray:
        """Ids `[time]` of a target, int64; the last is its end."""
        return np.append(self.target.encode(text), self.target_end)

    def decode_target(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of a target's ids, up to its end or to the padding of -1.

        Errors:
            InputError: an id that stands for no token.
        """
        numbers = np.asarray(ids, dtype=np.int64).reshape(-1)
        stops = np.flatnonzero((numbers == self.target_end) | (numbers == -1))
        return self.target.decode(numbers[: stops[0]] if len(stops) else numbers)

    def to_json(self) -> str:
        """One JSON text, as a run folder keeps it."""
        source, target = (json.loads(side.to_json()) for side in (self.source, self.target))
        form = {"format": FORMAT, "joint": self.joint, "form": self.form, "source": source}
        return json.dumps(form if self.joint else {**form, "target": target})

    @classmethod
    def from_json(cls, text: str) -> "PairVocabulary":
        """The vocabularies that `to_json` wrote.

        Errors:
            InputError: no such JSON, or one from a newer version.
        """
        try:
            form: dict[str, Any] = json.loads(text)
            number, joint = form["format"], form["joint"]
            if number > FORMAT:
                raise InputError(
                    f"PairVocabulary: format {number} comes from a newer version of throughtime, "
                    f"this one reads up to {FORMAT}; upgrade it"
                )
            if not isinstance(joint, bool):
                raise TypeError
            source = Vocabulary.from_json(json.dumps(form["source"]))
            target = source if joint else Vocabulary.from_json(json.dumps(form["target"]))
            return cls(source, target, joint, form["form"])
        except (KeyError, TypeError, json.JSONDecodeError):
            raise InputError(
                "PairVocabulary: the JSON text does not hold vocabularies of pairs"
            ) from None


def count_unknown(vocabulary: Vocabulary, texts: Iterable[str]) -> int:
    """How many tokens of some texts are read as `<unk>`.

    Examples:
        >>> count_unknown(Vocabulary.fit("a b", "words", line_end=None), ["a c", "d"])
        2
    """
    if vocabulary.unknown is None:
        return 0
    number = vocabulary.tokens.index(vocabulary.unknown)
    return sum(int((vocabulary.encode(text) == number).sum()) for text in texts)


def _fit(side: str, lines: Sequence[str], kind: str, size: int | None) -> Vocabulary:
    # A line end is no token of a line; pieces of words need one, or lines would run together.
    text = "".join(lines) if kind == "characters" else "\n".join(line for line in lines if line)
    try:
        return Vocabulary.fit(
            text,
            kind,  # pyright: ignore[reportArgumentType]
            max_size=None if kind == "bytes" else size,
            unknown=UNKNOWN if kind in ("characters", "words") else None,
            line_end=None,
        )
    except InputError as error:
        if type(error) is not InputError or not side:
            raise
        raise InputError(
            f"PairVocabulary: {side}{str(error).removeprefix('Vocabulary: ')}"
        ) from None
