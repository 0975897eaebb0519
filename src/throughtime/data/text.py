"""Text: to token ids and back, and to training, validation and test parts."""

import json
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import chain, pairwise
from typing import Any, Literal, TypeVar

import numpy as np

from throughtime.data import pieces
from throughtime.data.sources import ArraySource, cut_points
from throughtime.errors import InputError

Kind = Literal["characters", "bytes", "words", "bpe"]

KINDS = ("characters", "bytes", "words", "bpe")
UNITS = {"characters": "character", "bytes": "byte", "words": "word", "bpe": "token"}
UNKNOWN = "<unk>"
LINE_END = "<eos>"
FORMAT = 1
"""Of the JSON; a larger number comes from a newer version."""

Whole = TypeVar("Whole", str, bytes, np.ndarray, list)


@dataclass(frozen=True)
class Vocabulary:
    r"""Tokens and their ids.

    Made by [`fit`][throughtime.data.text.Vocabulary.fit]. The id after the last token's, `begin`,
    marks the beginning of a sequence and is never predicted.

    Attributes:
        kind: "characters" (of Unicode), "bytes" (of UTF-8: always 256 tokens, and none unknown),
            "words" (what stands between white space) or "bpe" (pieces of words, see
            [`pieces`][throughtime.data.pieces]: none unknown, and every text comes back as it was).
        tokens: each token at the place of its id; empty for bytes and bpe.
        unknown: the token every other one is read as; None refuses others.
        line_end: words only: the token at the end of each line; None ignores line ends.
        tokenizer: bpe only: the JSON of the package `tokenizers`.

    Examples:
        >>> vocabulary = Vocabulary.fit("the cat saw the dog\n", "words")
        >>> vocabulary.encode("the cow\n").tolist(), vocabulary.begin
        ([0, 5, 1], 6)
        >>> vocabulary.decode([0, 2, 1])
        'the cat\n'
    """

    kind: Kind
    tokens: tuple[str, ...] = ()
    unknown: str | None = None
    line_end: str | None = None
    tokenizer: str = ""

    def __post_init__(self) -> None:
        _check_kind(self.kind)
        if self.kind == "bpe":
            _ = self._pieces  # refuses a tokenizer that is none
        elif not self.tokens and self.kind != "bytes":
            raise InputError("Vocabulary: there are no tokens; was the text empty?")
        if len(set(self.tokens)) < len(self.tokens):
            raise InputError("Vocabulary: a token occurs twice")
        if self.kind == "characters" and not any(len(token) == 1 for token in self.tokens):
            raise InputError("Vocabulary: none of the tokens is a character")
        for token in (self.unknown, self.line_end):
            if token is not None and token not in self.tokens:
                raise InputError(f"Vocabulary: {token!r} is not among the tokens")

    @classmethod
    def fit(
        cls,
        text: str,
        kind: Kind = "characters",
        *,
        max_size: int | None = None,
        unknown: str | None = None,
        line_end: str | None = LINE_END,
    ) -> "Vocabulary":
        """The vocabulary of a training text, the most frequent tokens first.

        Args:
            text: the training part only, so that nothing of the test part is known.
            kind: "characters", "bytes", "words" or "bpe".
            max_size: tokens at most, `unknown` and `line_end` counted; the rarest are left out.
                For bpe at least 257, and 2,000 by default.
            unknown: what a token outside the vocabulary is read as. None: `<unk>` for words;
                characters outside are refused. For characters it may be any word; it is one token.
            line_end: words only: the token that stands for the end of a line, as is customary for
                the Penn Treebank; None lets line ends count as spaces.

        Errors:
            InputError: an empty text, another kind, or a `max_size` that is too small or, for
                characters, without `unknown`.
            MissingExtra: bpe without the package `tokenizers`.
        """
        _check_kind(kind)
        if kind == "bpe":
            size = pieces.SIZE if max_size is None else max_size
            if size < pieces.LEAST or unknown is not None:
                raise InputError(
                    f"Vocabulary: bpe with max_size {size} and unknown {unknown!r}, expected at "
                    f"least {pieces.LEAST} tokens (256 bytes and a pair) and no unknown"
                )
            if not text:
                raise InputError("Vocabulary: the text is empty")
            _utf8(text)
            return cls(kind, tokenizer=pieces.learn(text, size))
        if kind == "bytes":
            if max_size is not None or unknown is not None:
                raise InputError(
                    "Vocabulary: bytes are always all 256, without max_size and unknown"
                )
            return cls(kind)
        if kind == "characters":
            line_end = None
            if max_size is not None and unknown is None:
                raise InputError(
                    "Vocabulary: max_size leaves characters out, so it needs unknown, such as "
                    f"{UNKNOWN!r}"
                )
        elif unknown is None:
            unknown = UNKNOWN
        counts = Counter(text if kind == "characters" else _words(text, line_end))
        if not counts:
            raise InputError(f"Vocabulary: the text has no {kind}")
        needed = [token for token in (unknown, line_end) if token is not None]
        if max_size is not None and max_size <= len(needed):
            raise InputError(
                f"Vocabulary: max_size is {max_size}, expected at least {len(needed) + 1}"
            )
        # Most frequent first, equals by the alphabet: the same text gives the same ids anywhere.
        ranked = sorted(counts, key=lambda token: (-counts[token], token))
        room = len(ranked) if max_size is None else max_size - len(needed)
        kept = set([token for token in ranked if token not in needed][:room])
        tokens = [token for token in ranked if token in kept or token in needed]
        tokens += [token for token in needed if token not in counts]
        return cls(kind, tuple(tokens), unknown, line_end)

    def __len__(self) -> int:
        if self.kind == "bpe":
            return len(self._pieces)
        return 256 if self.kind == "bytes" else len(self.tokens)

    @property
    def unit(self) -> str:
        """What one token is, in a word: character, byte, word or token."""
        return UNITS[self.kind]

    @property
    def begin(self) -> int:
        """The id that marks the beginning of a sequence: the one after the last token's."""
        return len(self)

    def encode(self, text: str) -> np.ndarray:
        """Ids `[time]` of a text, int64.

        Errors:
            InputError: a token outside a vocabulary without `unknown`; it names the token and its
                place.
            MissingExtra: bpe without the package `tokenizers`.
        """
        if self.kind == "bytes":
            return np.frombuffer(_utf8(text), dtype=np.uint8).astype(np.int64)
        if self.kind == "bpe":
            _utf8(text)
            return pieces.encode(self._encoder, text)
        if self.kind == "words":
            words = _words(text, self.line_end)
            unknown = -1 if self.unknown is None else self._ids[self.unknown]
            ids = np.fromiter(
                (self._ids.get(word, unknown) for word in words), np.int64, len(words)
            )
            if self.unknown is None:
                self._refuse(ids, words)
            return ids
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        known, ids_of_known = self._codes
        places = np.minimum(np.searchsorted(known, codes), len(known) - 1)
        ids = ids_of_known[places]
        strange = known[places] != codes
        if strange.any():
            ids[strange] = -1 if self.unknown is None else self._ids[self.unknown]
            self._refuse(ids, text)
        return ids

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of ids; the inverse of `encode` but for unknown tokens and the width of spaces.

        Bytes that form no character, as sampled ones may, become the replacement character.

        Errors:
            InputError: an id that stands for no token.
        """
        numbers = np.asarray(ids, dtype=np.int64).reshape(-1)
        wrong = (numbers < 0) | (numbers >= len(self))
        if wrong.any():
            at = int(wrong.argmax())
            raise InputError(
                f"decode: id {numbers[at]} at position {at}, expected 0 to {len(self) - 1}"
            )
        if self.kind == "bytes":
            return numbers.astype(np.uint8).tobytes().decode("utf-8", "replace")
        if self.kind == "bpe":
            found = self._pieces
            return b"".join(found[number] for number in numbers).decode("utf-8", "replace")
        tokens = [self.tokens[number] for number in numbers.tolist()]
        if self.kind == "characters":
            return "".join(tokens)
        lines = [[]]
        for token in tokens:
            if token == self.line_end:
                lines.append([])
            else:
                lines[-1].append(token)
        return "\n".join(" ".join(line) for line in lines)

    def name(self, number: int) -> str:
        r"""One token as text; bytes that are no character by themselves as `\xe2`."""
        if self.kind == "bytes":
            return bytes([number]).decode("utf-8", "backslashreplace")
        if self.kind == "bpe":
            return self._pieces[number].decode("utf-8", "backslashreplace")
        return self.decode([number])

    def letters(self) -> list[list[int]]:
        """The letters that each character consists of; last the begin marker, one of its own.

        Numbers from 1 on, by canonical decomposition (NFD): a Korean syllable is two or three
        letters, an accented one a letter and its marks. Of more than three the first count; what
        stands for unknown characters is one. Korean letters that are typed alone (ㅋㅋ) are not
        those of syllables, and first and last consonants differ.

        Errors:
            InputError: tokens that are not characters.

        Examples:
            >>> Vocabulary("characters", ("가", "각", "나")).letters()
            [[1, 3], [1, 3, 4], [2, 3], [5]]
        """
        if self.kind != "characters":
            raise InputError(f"letters are of characters, and the tokens are {self.kind}")
        spelled = [
            [token] if token == self.unknown else [*unicodedata.normalize("NFD", token)]
            for token in self.tokens
        ]
        numbers = {each: at for at, each in enumerate(sorted({*chain(*spelled)}), 1)}
        return [*([numbers[each] for each in one[:3]] for one in spelled), [len(numbers) + 1]]

    def to_json(self) -> str:
        """One JSON text, as a run folder keeps it."""
        return json.dumps({"format": FORMAT, **asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> "Vocabulary":
        """The vocabulary that `to_json` wrote.

        Errors:
            InputError: no such JSON, or one from a newer version.
        """
        try:
            form = json.loads(text)
            number = form.pop("format")
            if number > FORMAT:
                raise InputError(
                    f"Vocabulary: format {number} comes from a newer version of throughtime, "
                    f"this one reads up to {FORMAT}; upgrade it"
                )
            return cls(**{**form, "tokens": tuple(form["tokens"])})
        except (AttributeError, KeyError, TypeError, json.JSONDecodeError):
            raise InputError("Vocabulary: the JSON text does not hold a vocabulary") from None

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self.tokens)}

    @cached_property
    def _pieces(self) -> tuple[bytes, ...]:
        return pieces.pieces_of(self.tokenizer)

    @cached_property
    def _encoder(self) -> Any:
        return pieces.encoder(self.tokenizer)

    @cached_property
    def _codes(self) -> tuple[np.ndarray, np.ndarray]:
        """Code points in ascending order, and their ids; the unknown word has none."""
        pairs = sorted(
            (ord(token), number) for token, number in self._ids.items() if len(token) == 1
        )
        codes, ids = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        return codes.astype(np.uint32), ids.copy()

    def _refuse(self, ids: np.ndarray, tokens: Sequence[str]) -> None:
        if (ids < 0).any():
            at = int((ids < 0).argmax())
            raise InputError(
                f"encode: {self.kind[:-1]} {tokens[at]!r} at position {at} (counted from 0) was "
                "not in the training text; leave it out, or fit the vocabulary with unknown=..."
            )


def split_text(tokens: Whole, fractions: Sequence[float] = (0.8, 0.1, 0.1)) -> tuple[Whole, ...]:
    """Parts that follow each other, by default training, validation and test.

    Args:
        tokens: ids, a text, or a list of documents.
        fractions: each part's share of the whole.

    Errors:
        InputError: fractions that are not positive or do not sum to 1, or an empty part.

    Examples:
        >>> split_text("abcdefghij")
        ('abcdefgh', 'i', 'j')
    """
    cuts = cut_points("split_text", len(tokens), fractions)
    return tuple(tokens[start:stop] for start, stop in pairwise(cuts))


def split_documents(text: str, separator: str = "") -> list[str]:
    r"""The documents between lines that hold nothing but `separator`; empty ones are left out.

    Args:
        text: all documents.
        separator: by default empty, so that blank lines separate.

    Errors:
        InputError: no documents.

    Examples:
        >>> split_documents("one\ntwo\n---\nthree\n", "---")
        ['one\ntwo\n', 'three\n']
    """
    documents: list[list[str]] = [[]]
    for line in text.splitlines(keepends=True):
        if line.strip() == separator.strip():
            documents.append([])
        else:
            documents[-1].append(line)
    found = [joined for lines in documents if (joined := "".join(lines)).strip()]
    if not found:
        raise InputError("split_documents: the text has no documents")
    return found


def encode_documents(vocabulary: Vocabulary, documents: Sequence[str]) -> ArraySource:
    """Documents as one sequence of ids for `Streams`, each beginning anew.

    Errors:
        InputError: no documents, one without tokens, or as `Vocabulary.encode`.
    """
    if not documents:
        raise InputError("encode_documents: there are no documents")
    encoded = [vocabulary.encode(document) for document in documents]
    lengths = [len(ids) for ids in encoded]
    if 0 in lengths:
        raise InputError(f"encode_documents: document {lengths.index(0)} has no tokens")
    return ArraySource(np.concatenate(encoded), starts=np.cumsum([0, *lengths[:-1]]))


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise InputError(f"Vocabulary: kind is {kind!r}, expected {', '.join(KINDS)}")


def _utf8(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"encode: at position {error.start} stands half a character, U+"
            f"{ord(text[error.start]):04X}, expected text; how is it encoded?"
        ) from None


def _words(text: str, line_end: str | None) -> list[str]:
    return (text if line_end is None else text.replace("\n", f" {line_end} ")).split()
