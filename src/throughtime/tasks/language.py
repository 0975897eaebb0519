"""Language modelling: text as streams of tokens, and how well they are foretold."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from throughtime.data.batches import Source
from throughtime.data.sources import ArraySource
from throughtime.data.streams import Streams
from throughtime.data.text import Vocabulary
from throughtime.errors import InputError
from throughtime.models.autoregressive import Autoregressive
from throughtime.tasks.likelihood import Score, evaluate

EVALUATION_ROWS = 16
"""Parallel streams of an evaluation: each starts without a past, which costs a few tokens' worth
of surprise; one single stream would take sixteen times as long."""

EVALUATION_SCORES = 2**21
"""Scores that an evaluation holds at a time: 8 MB, where 256 steps of 10,000 words take 164."""


@dataclass(frozen=True, eq=False)
class LanguageModelling:
    """A text to learn from, one to validate on, one to test on.

    Args:
        training: `[tokens]`, ids.
        validation: likewise.
        test: likewise.
        vocabulary: what the ids mean.
        device: where models are.
        test_rows: parallel streams at most when the test part is measured; 1 reads it from start to
            end, the state carried all the way.
        characters: of the texts of validation and test; None counts those of the decoded tokens.
    """

    training: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    vocabulary: Vocabulary
    device: str = "cpu"
    test_rows: int = EVALUATION_ROWS
    characters: tuple[int, int] | None = None

    def prepare(self, model: Autoregressive) -> None:
        """Check that the model knows every token."""
        model.fit_scaling(torch.from_numpy(self.training)[None])

    def source(self, batch_size: int, window: int, seed: int, *, shuffle: bool = True) -> Source:
        """Parallel streams over the training text.

        Args:
            batch_size: rows.
            window: tokens per window.
            seed: of where the first window ends.
            shuffle: False keeps the windows the same in every epoch.
        """
        rows = max(1, min(batch_size, len(self.training) // window))
        return self._streams(self.training, rows, window, seed, shuffle=shuffle)

    def validate(self, model: Autoregressive, part: str = "validation") -> Score:
        """One token ahead over validation or test, the state carried along."""
        tokens = self._part(part)
        most = EVALUATION_ROWS if part == "validation" else self.test_rows
        rows = max(1, min(most, len(tokens) // 64))
        window = max(1, min(256, EVALUATION_SCORES // (rows * len(self.vocabulary))))
        (windows,) = self._streams(tokens, rows, window, 0, shuffle=False).epoch(0)
        pieces = (windows[index] for index in range(len(windows)))
        return evaluate(model, pieces, None, self.device)

    def metrics(self, model: Autoregressive, part: str = "test") -> dict[str, float]:
        """How well each token is foretold; see `measures`."""
        return self.measures(self.validate(model, part).nats, part)

    def measures(self, nats: float, part: str = "test") -> dict[str, float]:
        """Nats per token in other units.

        Returns:
            `bits` per token, and `perplexity`; for other tokens than characters also
            `bits_per_character`, which vocabularies can be compared by: all bits over all
            characters of the part. An unknown word costs what `<unk>` costs, so a vocabulary that
            does not know all words comes off too well.
        """
        found = surprise(nats)
        if self.vocabulary.kind != "characters":
            tokens = self._part(part)
            if self.characters is None:
                characters = len(self.vocabulary.decode(tokens))
            else:
                characters = self.characters[part == "test"]
            found["bits_per_character"] = found["bits"] * len(tokens) / characters
        return found

    def _part(self, part: str) -> NDArray[np.int64]:
        if part not in ("validation", "test"):
            raise InputError(f"part is {part!r}, expected 'validation' or 'test'")
        return self.validation if part == "validation" else self.test

    def _streams(
        self, tokens: NDArray[np.int64], rows: int, window: int, seed: int, *, shuffle: bool
    ) -> Streams:
        return Streams(
            ArraySource(tokens),
            batch_size=rows,
            window=window,
            begin=self.vocabulary.begin,
            seed=seed,
            shift=shuffle,
        )


def surprise(nats: float) -> dict[str, float]:
    """Nats per token as `bits` and as `perplexity`."""
    return {"bits": nats / math.log(2), "perplexity": math.exp(min(nats, 700.0))}
