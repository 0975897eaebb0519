"""From data to a task: what its parts are, and what their tokens mean."""

import re
from dataclasses import astuple, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from throughtime.data import builtin
from throughtime.data.corpus import TextParts
from throughtime.data.examples import ExampleParts, Examples
from throughtime.data.pair_report import pair_report
from throughtime.data.pair_vocabulary import PairVocabulary
from throughtime.data.pairs import PairParts, PairTexts, split_pairs
from throughtime.data.report import DataReport, data_report
from throughtime.data.sources import cut_points
from throughtime.data.splits import PARTS, check_lengths, check_scale, split
from throughtime.data.table import SeriesTable
from throughtime.data.text import Vocabulary
from throughtime.errors import InputError
from throughtime.tasks.classification import Classification
from throughtime.tasks.data_config import DataConfig
from throughtime.tasks.forecasting import Forecasting
from throughtime.tasks.labelled import open_labelled
from throughtime.tasks.language import EVALUATION_ROWS, LanguageModelling
from throughtime.tasks.loading import load_source
from throughtime.tasks.translation import Translation

BY_WORDS = ("words", "bpe")
"""Vocabularies that are learnt from the training part."""
EDGE = re.compile(r"(?<=\S)\s")
"""Where a word ends."""
REPORT_TOKENS = 4096
"""Padded tokens of the batches whose padding is told before training says how large they are."""

Task = Forecasting | LanguageModelling | Translation | Classification


@dataclass(frozen=True, eq=False)
class Opened:
    """Data that were read, and what was found in them.

    Attributes:
        config: as given, with everything that was guessed filled in.
        task: what to do with them.
        report: what was found.
    """

    config: DataConfig
    task: Any  # one of `Task`; which one the configuration says
    report: DataReport


def open_data(
    config: DataConfig,
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    vocabulary: Vocabulary | PairVocabulary | None = None,
    least: int = 1,
) -> Opened:
    """Read the data a configuration names.

    Args:
        config: what to read.
        device: where models will be.
        dtype: the type of numbers.
        vocabulary: of an earlier run; None makes one.
        least: steps that training needs of the longest series, its window.

    Errors:
        InputError: one line on what is wrong with the file, or with what was said of it.
    """
    loaded = load_source(config)
    if isinstance(loaded, SeriesTable):
        parts = split(loaded, config.split)
        check_lengths(loaded, parts, least, config.horizon)
        check_scale(loaded, parts)
        task = Forecasting(loaded, parts, config.horizon, dtype, device)
        known = replace(config, task="forecast", columns=loaded.columns)
        return Opened(known, task, data_report(loaded, parts))
    if isinstance(loaded, Examples | ExampleParts):
        if isinstance(vocabulary, PairVocabulary):
            raise InputError(f"{config.source} is examples, the vocabulary of the run is of pairs")
        shares = _shares(config) if isinstance(loaded, Examples) else None
        return Opened(
            *open_labelled(
                loaded, config, shares=shares, device=device, dtype=dtype, vocabulary=vocabulary
            )
        )
    if isinstance(loaded, PairTexts | PairParts):
        if isinstance(vocabulary, Vocabulary):
            raise InputError(f"{config.source} is pairs, the vocabulary of the run is of a text")
        return _open_pairs(loaded, config, device, vocabulary)
    if isinstance(vocabulary, PairVocabulary):
        raise InputError(f"{config.source} is text, the vocabulary of the run is of pairs")
    return _open_text(loaded, config, device, vocabulary)


def _open_text(
    loaded: str | TextParts, config: DataConfig, device: str, vocabulary: Vocabulary | None
) -> Opened:
    """Texts as streams of tokens."""
    config = replace(config, task="language", tokens=config.tokens or "characters")
    texts = _cut(loaded, config) if isinstance(loaded, str) else loaded
    whole = "".join(astuple(texts))
    if vocabulary is None:
        vocabulary = _vocabulary(config, texts.training, whole)
    training, validation, test = (vocabulary.encode(text) for text in astuple(texts))
    if not len(training) * len(validation) * len(test):
        raise InputError(f"{config.source} is too short, one of its parts has no tokens")
    rows = EVALUATION_ROWS if isinstance(loaded, str) else 1  # 1: as figures are published
    task = LanguageModelling(
        training, validation, test, vocabulary, device, rows,
        characters=(len(texts.validation), len(texts.test)),
    )  # fmt: skip
    report = data_report(
        whole,
        dict(zip(PARTS, map(len, (training, validation, test)), strict=True)),
        source=Path(config.source).name or config.source,
        unit=f"{vocabulary.unit}s",
    )
    return Opened(config, task, report)


def _open_pairs(
    loaded: PairTexts | PairParts,
    config: DataConfig,
    device: str,
    vocabulary: PairVocabulary | None,
) -> Opened:
    """Pairs as batches of like lengths."""
    parts = loaded
    if isinstance(parts, PairTexts):
        parts = split_pairs(parts, _shares(config))
    tokens = config.tokens or builtin.TOKENS.get(config.source, "bpe")
    if vocabulary is None:
        vocabulary = PairVocabulary.fit(
            parts.training, tokens, config.vocabulary, joint=config.joint, form=config.form
        )
    measure = config.measure or (
        "wer" if (vocabulary.source.kind, vocabulary.target.kind) == ("characters", "words")
        else "bleu"
    )  # fmt: skip
    known = replace(config, task="translate", tokens=tokens, measure=measure)
    task = Translation(
        parts, vocabulary, measure=measure, tokenize=config.tokenize, longest=config.longest,
        device=device,
    )  # fmt: skip
    name = Path(config.source.split(",")[0]).name or config.source
    report = pair_report(
        parts, vocabulary, task.source(REPORT_TOKENS, 1, 0), task.dropped, source=name
    )
    return Opened(known, task, report)


def _shares(config: DataConfig) -> list[float]:
    """The shares of training, validation and test."""
    try:
        shares = [float(share) for share in config.split.split(",")]
    except ValueError:
        shares = []
    if len(shares) != 3:
        raise InputError(f"split is {config.split!r}, expected three shares such as 0.8,0.1,0.1")
    return shares


def _cut(text: str, config: DataConfig) -> TextParts:
    """The parts of one text, one after another; words stay whole where words or pieces count."""
    cuts = cut_points("split_text", len(text), _shares(config))
    if config.tokens in BY_WORDS:
        for at in (1, 2):
            edge = EDGE.search(text, cuts[at])
            if edge is not None and edge.start() < cuts[at + 1]:
                cuts[at] = edge.start()
    return TextParts(*(text[start:stop] for start, stop in pairwise(cuts)))


def _vocabulary(config: DataConfig, training: str, whole: str) -> Vocabulary:
    """Which characters exist is no secret; words of the test part are, and read as unknown."""
    known = training if config.tokens in BY_WORDS else whole
    return Vocabulary.fit(known, config.tokens, max_size=config.vocabulary)  # pyright: ignore[reportArgumentType]
