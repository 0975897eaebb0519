"""Byte-pair encoding: tokens that are pieces of words, learnt from a text.

It begins with the 256 bytes and joins the pair of neighbours that is most frequent in the training
text, again and again. No token reaches over the edge of a word; a space belongs to the word after
it. As every byte is a token there is no text it cannot write.

The package `tokenizers` learns and encodes, and its own JSON is what is kept; decoding needs the
JSON alone.

References:
    Sennrich, Haddow and Birch 2016, "Neural machine translation of rare words with subword units",
    https://arxiv.org/abs/1508.07909; on bytes: Radford et al. 2019, "Language models are
    unsupervised multitask learners".
"""

import json
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from throughtime.errors import InputError, MissingExtra

SIZE = 2000
"""Tokens, unless said otherwise."""

LEAST = 257
"""Tokens at least: the bytes and one pair."""

STRETCH = 1 << 20
"""Characters that are encoded at a time: bounds the memory beside the ids."""

EDGE = re.compile(r"(?<=\w)[ \n]")
"""Where a text may be cut without changing its tokens: they begin at a space and never end in one
that follows a letter."""


def tokenizers() -> ModuleType:
    """The package tokenizers.

    Errors:
        MissingExtra: it is not installed.
    """
    try:
        import tokenizers as package
    except ImportError:
        raise MissingExtra("byte-pair encoding", "tokenizers", "text") from None
    return package


def learn(text: str, size: int) -> str:
    """Learn from a text; the same text gives the same tokens.

    Args:
        text: what to learn from.
        size: tokens at most; fewer where no pair occurs twice any more.

    Returns:
        The JSON of the tokenizer.
    """
    package: Any = tokenizers()
    learner = package.Tokenizer(package.models.BPE())
    learner.pre_tokenizer = package.pre_tokenizers.ByteLevel(add_prefix_space=False)
    learner.decoder = package.decoders.ByteLevel()
    trainer = package.trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        initial_alphabet=sorted(package.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    learner.train_from_iterator(stretches(text), trainer)
    return learner.to_str()


def encoder(form: str) -> Any:
    """The tokenizer of its JSON."""
    return tokenizers().Tokenizer.from_str(form)


def encode(tokenizer: Any, text: str) -> np.ndarray:
    """Ids `[time]` of a text, int64."""
    parts = [
        np.array(tokenizer.encode(part, add_special_tokens=False).ids, dtype=np.int64)
        for part in stretches(text)
    ]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def pieces_of(form: str) -> tuple[bytes, ...]:
    """What each token stands for, out of the JSON of a tokenizer.

    Errors:
        InputError: not such JSON.
    """
    try:
        ids: dict[str, int] = json.loads(form)["model"]["vocab"]
        ranked = sorted(ids, key=ids.__getitem__)
        table = _bytes()
        if [ids[token] for token in ranked] != list(range(len(ids))) or table.keys() - ids.keys():
            raise ValueError
        return tuple(bytes(table[sign] for sign in token) for token in ranked)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InputError("Vocabulary: tokenizer is not the JSON of a byte-level BPE") from None


def stretches(text: str) -> Iterator[str]:
    """A long text in parts whose tokens, one after another, are those of the whole."""
    start = 0
    while start < len(text):
        found = EDGE.search(text, start + STRETCH)
        stop = len(text) if found is None else found.start()
        yield text[start:stop]
        start = stop


def _bytes() -> dict[str, int]:
    """The byte that each sign of a token stands for.

    Bytes that are printable in Latin-1 are written as themselves, the others as the signs from
    number 256 on, in order: so does GPT-2, and so does the package.
    """
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {
        chr(256 + number): byte for number, byte in enumerate(others)
    }
