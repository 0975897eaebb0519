"""Sessions on text."""

import math
from typing import Any

import torch

from throughtime.data.text import Vocabulary
from throughtime.errors import InputError
from throughtime.models.autoregressive import Autoregressive
from throughtime.serving.session import Session
from throughtime.training.run import Run

LIKELIEST = 5
"""Tokens named in each answer."""


class TextSession(Session[Autoregressive]):
    """A session on text: each observation is a piece of text of any length.

    Text in pieces is judged as text in one if the pieces end where tokens do: anywhere for
    characters, between words for words and bpe, of which each token of bpe has the space before it.

    Its state is the model's, and the parameters of the token to come: by them the first token of
    the next piece is judged.

    Args:
        run: the trained model and its vocabulary.
    """

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        assert run.vocabulary is not None
        self.vocabulary: Vocabulary = run.vocabulary

    @torch.inference_mode()
    def observe(self, observation: Any) -> dict[str, Any]:
        """Take in some text; say how surprising it was, and which tokens are likeliest to follow.

        Returns:
            `tokens`, how many came; `bits`, -log2 of their probability; `next`, the likeliest
            tokens with their probabilities. No text changes nothing.

        Errors:
            InputError: no text, or a token that the model does not know.
        """
        if not isinstance(observation, str):
            raise InputError(f"expected text, got {observation!r}")
        ids = torch.from_numpy(self.vocabulary.encode(observation))[None]
        ids = ids.to(self.model.like().device)
        if self.state is None:
            parameters, state = self.model(self.model.begin(1), None)
            last = parameters[:, -1]
        else:
            state, last = self.state
        bits = 0.0
        if ids.shape[1]:
            parameters, state = self.model(ids, state)
            foretold = torch.cat([last.unsqueeze(1), parameters[:, :-1]], dim=1)
            bits = -float(self.model.head.log_prob(foretold, ids).double().sum()) / math.log(2)
            last = parameters[:, -1]
        self.state = (state, last)
        self.observed += ids.shape[1]
        return {"tokens": ids.shape[1], "bits": bits, "next": self._likeliest(last[0])}

    def _likeliest(self, parameters: torch.Tensor) -> dict[str, float]:
        probabilities = self.model.head.distribution(parameters).probs  # pyright: ignore[reportAttributeAccessIssue]
        top = probabilities.topk(min(LIKELIEST, len(probabilities)))
        pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
        return {self.vocabulary.name(number): share for number, share in pairs}
