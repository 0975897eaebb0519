"""From source texts to answers: encode once, search, and put the words together again."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby, islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from throughtime.data.batches import mask_from_lengths
from throughtime.data.pair_vocabulary import PairVocabulary
from throughtime.decoding.beam import BeamSearch, beam_search
from throughtime.decoding.compiled import Compiled, refuses
from throughtime.decoding.generation import check_whole
from throughtime.decoding.stepper import ModelStepper, Stepper
from throughtime.errors import InputError
from throughtime.models.autoregressive import Autoregressive
from throughtime.models.chain import evaluating
from throughtime.models.encoder_decoder import EncoderDecoder
from throughtime.shapes import Bool, Int, Tensor
from throughtime.state import State

HYPOTHESES = 256
"""Rows of a batch times beams: enough to fill a product, few enough for the cache."""

BUCKET = 8
"""Lengths of sources are rounded up to a multiple of it where they bound answers."""


class Answer(NamedTuple):
    """One answer to a source.

    Attributes:
        text: what was written.
        score: log probability over length to the power of the length penalty.
        log_prob: of the whole answer under the model, in nats.
        tokens: of the answer, its end not counted.
        ended: whether it came to an end, or was cut at the most tokens allowed.
    """

    text: str
    score: float
    log_prob: float
    tokens: tuple[int, ...]
    ended: bool


def translate(
    model: EncoderDecoder,
    vocabulary: PairVocabulary,
    texts: Iterable[str],
    *,
    beams: int = 5,
    n_best: int = 1,
    rows: int = 1024,
    most: int | None = None,
    prefix: Sequence[int] = (),
    require: Sequence[Sequence[int]] = (),
    **options: Any,
) -> Iterator[list[Answer]]:
    """Answers to sources, the best first, in the order of the sources.

    Sources are read as they are needed, so many at a time, and those of like length searched
    together; an answer does not depend on its neighbours, up to the rounding of the model. The
    model is in evaluation mode while it searches, and only then.

    Args:
        model: the model.
        vocabulary: of its tokens.
        texts: sources.
        beams: hypotheses of each; 1 takes the likeliest token, always.
        n_best: answers to each.
        rows: sources read at a time.
        most: tokens of an answer at most; None: twice those of its source, rounded up to whole
            eights, and 20, and those of `prefix` and `require`. What hit it is in `Answer.ended`.
        prefix: ids that every answer begins with.
        require: sequences of ids that every answer must contain, wherever.
        options: of [`beam_search`][throughtime.decoding.beam_search].

    Errors:
        InputError: beams, answers or rows below 1, or more answers than beams.
    """
    for name, value in (("beams", beams), ("n_best", n_best), ("rows", rows)):
        check_whole(name, value, 1)
    if n_best > beams:
        raise InputError(f"n_best is {n_best}, expected at most beams = {beams}")
    if prefix:
        options["prefix"] = torch.tensor(prefix)
    if require:
        options["phrases"] = [list(phrase) for phrase in require]
    if beams == 1:  # only then is the likeliest token always taken; see `beam_search`
        options.setdefault("length_penalty", 0.0)
    if "stepper" not in options:
        options["stepper"] = prepared(model)  # once, and not for each batch
    room = 20 + len(prefix) + sum(map(len, require))
    limit = partial(_limit, room) if most is None else lambda source: most
    search = partial(_search, model, vocabulary, beams=beams, n_best=n_best, options=options)
    return _in_order(vocabulary, iter(texts), rows, max(1, HYPOTHESES // beams), limit, search)


def prepared(model: EncoderDecoder) -> Callable[[Autoregressive, State], Stepper]:
    """What answers many texts fastest, as `stepper` of `translate`: compiled, if that is possible.

    Weights are packed here, once; what training changes later does not reach it.
    """
    return Compiled(model.decoder) if refuses(model.decoder) is None else ModelStepper


def _limit(room: int, source: np.ndarray) -> int:
    """Tokens of an answer to a source; the same for sources of like length, which go together."""
    return 2 * BUCKET * -(-len(source) // BUCKET) + room


def _in_order(
    vocabulary: PairVocabulary,
    texts: Iterator[str],
    rows: int,
    together: int,
    limit: Callable[[np.ndarray], int],
    search: Callable[[list[np.ndarray], int], BeamSearch],
) -> Iterator[list[Answer]]:
    """So many texts at a time; those whose answers may be equally long are searched together."""
    while block := [vocabulary.encode_source(text) for text in islice(texts, rows)]:
        answers: dict[int, list[Answer]] = {}
        order = sorted(range(len(block)), key=lambda row: len(block[row]))
        for steps, alike in groupby(order, key=lambda row: limit(block[row])):
            alike = [*alike]
            for start in range(0, len(alike), together):
                chosen = alike[start : start + together]
                found = search([block[row] for row in chosen], steps)
                answers |= {row: _answers(vocabulary, found, at) for at, row in enumerate(chosen)}
        yield from (answers[row] for row in range(len(block)))


def _search(
    model: EncoderDecoder,
    vocabulary: PairVocabulary,
    sources: Sequence[np.ndarray],
    steps: int,
    *,
    beams: int,
    n_best: int,
    options: dict[str, Any],
) -> BeamSearch:
    """One batch, whose rows share all options."""
    options = {
        name: [value] * len(sources) if name in ("prefix", "phrases") else value
        for name, value in options.items()
    }
    device = model.decoder.begin(1).device
    x, mask = (part.to(device) for part in pad_ids(sources))
    with torch.no_grad(), evaluating(model):
        state = model.encode(x, None if bool(mask.all()) else mask)
    with warnings.catch_warnings():  # each answer says whether it ended
        warnings.filterwarnings("ignore", "beam_search: ", UserWarning)
        return beam_search(
            model.decoder,
            model.decoder.begin(len(sources)),
            steps,
            state=state,
            beams=beams,
            n_best=n_best,
            stop=(vocabulary.target_end,),
            **options,
        )


def _answers(vocabulary: PairVocabulary, found: BeamSearch, row: int) -> list[Answer]:
    """The answers to one source."""
    answers = []
    for rank in range(found.tokens.shape[1]):
        length = int(found.lengths[row, rank])
        if length == 0:
            continue
        ids = found.tokens[row, rank, :length].tolist()
        ended = bool(found.ended[row, rank])
        answers.append(
            Answer(
                vocabulary.decode_target(ids),
                float(found.scores[row, rank]),
                float(found.log_probs[row, rank]),
                tuple(ids[:-1] if ended else ids),
                ended,
            )
        )
    return answers


def pad_ids(
    rows: Sequence[np.ndarray],
) -> tuple[Int[Tensor, "rows longest"], Bool[Tensor, "rows longest"]]:
    """Rows of ids as one tensor, padded at the right with 0, and which are real."""
    ids = pad_sequence([torch.from_numpy(row) for row in rows], batch_first=True)
    return ids, mask_from_lengths([len(row) for row in rows])
