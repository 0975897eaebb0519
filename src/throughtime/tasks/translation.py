"""Translation, and whatever else makes one sequence of another: pronunciation, transliteration."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from throughtime.data.pair_batches import PairBatch, PairBatches, filter_pairs
from throughtime.data.pair_vocabulary import PairVocabulary
from throughtime.data.pairs import PairParts, PairTexts, group_pairs
from throughtime.decoding.translating import translate
from throughtime.errors import InputError
from throughtime.layers.line import unremembered
from throughtime.models.chain import evaluating
from throughtime.models.encoder_decoder import EncoderDecoder
from throughtime.shapes import Float, Int, Tensor
from throughtime.state import State
from throughtime.tasks.language import surprise
from throughtime.tasks.likelihood import Score
from throughtime.tasks.scores import bleu, chrf, error_rates

MEASURES = ("bleu", "wer")
"""What answers are judged by."""

EVALUATION_TOKENS = 8192
"""Padded tokens of a batch when a part is scored."""

BEAMS = 5
"""Hypotheses when the test part is answered."""


class Judged(NamedTuple):
    """A part that is not learnt from.

    Attributes:
        sources: the different ones, in order.
        references: all targets of each; any of them is right.
        ids: of each pair, of the source and of the target.
    """

    sources: list[str]
    references: list[tuple[str, ...]]
    ids: tuple[list[np.ndarray], list[np.ndarray]]


class Translation:
    """Pairs to learn from, to validate on, to test on.

    Args:
        parts: training, validation and test.
        vocabulary: of both sides.
        measure: `bleu` or `wer`: which measure the report goes by.
        tokenize: how sacrebleu cuts texts into words, for BLEU.
        longest: tokens of a side in training; longer pairs are left out.
        ratio: of the two lengths in training; more lopsided pairs are left out.
        device: where models are.

    Attributes:
        dropped: pairs left out of training, by the reason.
        sources, targets: ids of the pairs to learn from.
    """

    def __init__(
        self,
        parts: PairParts,
        vocabulary: PairVocabulary,
        *,
        measure: str = "bleu",
        tokenize: str = "13a",
        longest: int = 256,
        ratio: float = 9.0,
        device: str = "cpu",
    ) -> None:
        if measure not in MEASURES:
            raise InputError(f"measure is {measure!r}, expected one of {', '.join(MEASURES)}")
        self.parts = parts
        self.vocabulary = vocabulary
        self.measure = measure
        self.tokenize = tokenize
        self.device = device
        self._judged: dict[str, Judged] = {}
        sources, targets = self._ids(parts.training)
        kept, self.dropped = filter_pairs(sources, targets, longest=longest, ratio=ratio)
        if not len(kept):
            raise InputError(f"no pair is left to learn from, dropped were {dict(self.dropped)}")
        self.sources = [sources[index] for index in kept]
        self.targets = [targets[index] for index in kept]

    def prepare(self, model: EncoderDecoder) -> None:
        """Check that the model knows every token."""
        for name, known, needed in (
            ("source", model.source.size, self.vocabulary.source_tokens),
            ("target", model.head.size, self.vocabulary.target_tokens),
        ):
            if known != needed:
                raise InputError(
                    f"the model knows {known} tokens of the {name}, the vocabulary has {needed}"
                )

    def source(
        self, batch_size: int, window: int, seed: int, *, shuffle: bool = True
    ) -> PairBatches:
        """Batches of pairs of like length.

        Args:
            batch_size: padded tokens of both sides.
            window: not for pairs.
            seed: of the order.
            shuffle: False keeps the batches the same in every epoch.
        """
        return self._batches(self.sources, self.targets, batch_size, seed, shuffle=shuffle)

    def validate(self, model: EncoderDecoder, part: str = "validation") -> Score:
        """How well each token of the targets is foretold, given all before it and the source."""
        ids = self.judged(part).ids
        batches = self._batches(*ids, EVALUATION_TOKENS, 0, shuffle=False).epoch(0)
        total = count = 0.0
        with torch.no_grad(), evaluating(model):
            for index in range(len(batches)):
                nats, counted, _ = loss(model, batches[index][0].to(self.device), None)
                total, count = total + float(nats), count + float(counted)
        nats = total / count
        return Score(nats, nats, count, ())

    def answer(self, model: EncoderDecoder, part: str = "test", beams: int = BEAMS) -> list[str]:
        """The best answer to each different source of a part."""
        found = translate(model, self.vocabulary, self.judged(part).sources, beams=beams)
        return [answers[0].text if answers else "" for answers in found]

    def score(self, answers: Sequence[str], part: str = "test") -> dict[str, Any]:
        """How good answers are: `bleu`, `chrf`, `wer` and `per`, all in %.

        `wer` is the share of answers that are none of the targets of their source, `per` the
        errors in their words (phonemes, if these are the words of the target) over the words of
        the nearest target.
        """
        references = self.judged(part).references
        rates = error_rates(
            [answer.split() for answer in answers],
            [[reference.split() for reference in each] for each in references],
        )
        found: dict[str, Any] = {"wer": rates.word, "per": rates.phoneme}
        if self.measure == "bleu":
            for name, one in (
                ("bleu", bleu(answers, references, self.tokenize)),
                ("chrf", chrf(answers, references)),
            ):
                found[name], found[f"{name}_signature"] = one.score, one.signature
        return found

    def metrics(
        self, model: EncoderDecoder, part: str = "test", answers: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """Answers scored, and how well the targets are foretold.

        Args:
            model: the model.
            part: `validation` or `test`.
            answers: of the model to this part, if they are there; None writes them.
        """
        nats = self.validate(model, part).nats
        answers = self.answer(model, part) if answers is None else answers
        return {"nats": nats, **surprise(nats), **self.score(answers, part)}

    def watch(self, model: EncoderDecoder, measure: str = "loss") -> dict[str, float]:
        """What training is watched by, on the validation part; answers by the likeliest tokens.

        Args:
            model: the model.
            measure: what training goes by; answers are written only if it is not `loss`.
        """
        nats = self.validate(model).nats
        found = {"loss": nats, "one_step": nats}
        if measure != "loss":
            scored = self.score(self.answer(model, "validation", beams=1), "validation")
            if measure not in scored:
                raise InputError(
                    f"measure is {measure!r}, expected loss or one of "
                    f"{', '.join(name for name in scored if 'signature' not in name)}"
                )
            found |= {name: value for name, value in scored.items() if isinstance(value, float)}
        return found

    def judged(self, part: str) -> Judged:
        """Validation or test as it is asked for again and again; made once."""
        if part not in ("validation", "test"):
            raise InputError(f"part is {part!r}, expected 'validation' or 'test'")
        if part not in self._judged:
            texts = self.parts.validation if part == "validation" else self.parts.test
            self._judged[part] = Judged(*group_pairs(texts), self._ids(texts))
        return self._judged[part]

    def _ids(self, texts: PairTexts) -> tuple[list[np.ndarray], list[np.ndarray]]:
        known = self.vocabulary
        return (
            [known.encode_source(text) for text in texts.sources],
            [known.encode_target(text) for text in texts.targets],
        )

    def _batches(
        self,
        sources: Sequence[np.ndarray],
        targets: Sequence[np.ndarray],
        tokens: int,
        seed: int,
        *,
        shuffle: bool,
    ) -> PairBatches:
        return PairBatches(
            sources, targets, begin=self.vocabulary.begin, tokens=tokens, seed=seed,
            shuffle=shuffle,
        )  # fmt: skip


def loss(
    model: EncoderDecoder, batch: PairBatch, state: State, scheduled: float = 0.0
) -> tuple[Float[Tensor, ""], Float[Tensor, ""], State]:
    """The loss summed over the tokens of the targets, how many these are, and no state.

    In nats; in training smoothed where the model says so.

    Args:
        model: the model.
        batch: pairs.
        state: not used: a pair is read whole.
        scheduled: the share of tokens that are fed as the model foretells them, in training; see
            [`own_tokens`][throughtime.tasks.translation.own_tokens].
    """
    inputs = own_tokens(model, batch, scheduled) if scheduled and model.training else batch.inputs
    mask = None if bool(batch.mask.all()) else batch.mask
    read = None if bool(batch.source_mask.all()) else batch.source_mask
    with unremembered():
        hidden, context, _ = model.features(batch.source, inputs, read, mask)
    total = model.head.total_loss(hidden, batch.targets, context, mask)
    return total, model.head.counted(batch.targets).sum(), ()


def own_tokens(model: EncoderDecoder, batch: PairBatch, share: float) -> Int[Tensor, "batch time"]:
    """What the decoder is fed: now and then its own likeliest token instead of the target's.

    The model foretells the whole target once from the true tokens; each token it is fed is then
    replaced by what it foretold, with the probability `share` (Mihaylova and Martins 2019: in two
    passes, each over all steps at once, where Bengio et al. 2015 go step by step).

    Args:
        model: in training mode or not; the first pass is without gradient and dropout.
        batch: pairs.
        share: the probability.

    References:
        Bengio et al. 2015, "Scheduled sampling for sequence prediction with recurrent neural
        networks"; Mihaylova and Martins 2019, "Scheduled sampling for Transformers".
    """
    with torch.no_grad(), evaluating(model):
        logits, _ = model(batch.source, batch.inputs, batch.source_mask, batch.mask)
    own = logits.argmax(-1)
    fed = batch.inputs.clone()
    drawn = torch.rand(fed[:, 1:].shape, device=fed.device) < share
    fed[:, 1:] = torch.where(drawn & batch.mask[:, 1:], own[:, :-1], fed[:, 1:])
    return fed
