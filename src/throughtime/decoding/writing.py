"""Text in, text out: generation by the tokens of a vocabulary."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from throughtime.data.text import Vocabulary
from throughtime.decoding.generation import generate
from throughtime.errors import InputError
from throughtime.models.autoregressive import Autoregressive


def write(
    model: Autoregressive,
    vocabulary: Vocabulary,
    prompts: Sequence[str],
    steps: int,
    *,
    stop: Sequence[str] = (),
    **options: Any,
) -> list[str]:
    """Go on from texts.

    Args:
        model: an autoregressive model of the vocabulary's tokens.
        vocabulary: the tokens.
        prompts: texts to go on from; an empty one begins at the beginning.
        steps: tokens to write at most.
        stop: pieces of text, of any number of tokens. A text ends behind the first that appears in
            what was written; the prompt does not count.
        options: those of [`generate`][throughtime.decoding.generate]: `sampling`, `seed`, `chunk`,
            `stepper`.

    Returns:
        Each prompt and what follows it.

    Errors:
        InputError: as `Vocabulary.encode` and `generate`; an empty piece of text to stop at.
    """
    if "" in stop:
        raise InputError("stop is '', expected some text to stop at")
    encoded = [torch.from_numpy(vocabulary.encode(prompt)) for prompt in prompts]
    until = _ends_with(vocabulary, stop) if stop else None
    found = generate(model, encoded, steps, until=until, **options)
    lines = zip(encoded, found.tokens.cpu(), found.lengths.tolist(), strict=True)
    return [
        _joined(vocabulary, prompt.numpy(), row[:length].numpy(), stop)
        for prompt, row, length in lines
    ]


def _ends_with(vocabulary: Vocabulary, stop: Sequence[str]) -> Callable[[list[int]], bool]:
    """Whether a stop has just appeared.

    Each token has at least one byte, so a stop that is complete only now lies in the last tokens,
    as many as it has bytes. One more, for between words stand spaces that no token has.
    """
    longest = 1 + max(len(piece.encode("utf-8", "surrogatepass")) for piece in stop)

    def ended(written: list[int]) -> bool:
        tail = vocabulary.decode(written[-longest:])
        return any(piece in tail for piece in stop)

    return ended


def _joined(
    vocabulary: Vocabulary, prompt: np.ndarray, written: np.ndarray, stop: Sequence[str]
) -> str:
    """The text of both, cut behind the first stop in what was written."""
    # Words are joined by the vocabulary, so the prompt is decoded along with what follows it.
    whole = vocabulary.decode(np.concatenate([prompt, written]))
    tail = vocabulary.decode(written)
    ends = [tail.index(piece) + len(piece) for piece in stop if piece in tail]
    return whole[: len(whole) - len(tail) + min(ends)] if ends else whole
