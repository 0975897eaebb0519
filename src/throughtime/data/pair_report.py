"""What there is to learn from in pairs, told before training starts."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from throughtime.data.pair_batches import PairBatches
from throughtime.data.pair_vocabulary import PairVocabulary, count_unknown
from throughtime.data.pairs import PairParts, PairTexts
from throughtime.data.report import DataReport
from throughtime.data.splits import PARTS


@dataclass(frozen=True)
class PairReport(DataReport):
    """A look at pairs.

    Attributes:
        parts: pairs of training (before any were left out), validation and test.
        distinct: different sources of each.
        duplicates: pairs of training that occurred before in it.
        leaked: pairs of validation and of test whose source is in training too.
        dropped: pairs of training that are left out, by reason.
        tokens: of each side in training: median and most, without the end.
        units: what a token of each side is, such as "words".
        vocabulary: different tokens of each side; one number twice where joint.
        joint: both sides share one vocabulary.
        unknown: tokens of validation and test, both sides, that training does not know.
        padding: share of the training batches that is padding, from 0 to 1.
    """

    parts: dict[str, int]
    distinct: dict[str, int]
    duplicates: int
    leaked: dict[str, int]
    dropped: dict[str, int]
    tokens: dict[str, dict[str, float]]
    units: dict[str, str]
    vocabulary: dict[str, int]
    joint: bool
    unknown: dict[str, int]
    padding: float

    def _rows(self) -> list[tuple[str, str]]:
        rows = [
            (part, f"{count:,} pairs" + (
                f" of {self.distinct[part]:,} sources" if self.distinct[part] < count else ""
            ))
            for part, count in self.parts.items()
        ]  # fmt: skip
        told = [f"{count:,} {reason}" for reason, count in self.dropped.items() if count]
        rows += [("left out", ", ".join(told))] * bool(told)
        rows += [
            (
                f"{side} length",
                f"{found['median']:,g} {self.units[side]} (median), at most {found['max']:,.0f}",
            )
            for side, found in self.tokens.items()
        ]
        sizes = (
            f"{self.vocabulary['source']:,} {self.units['source']} for both sides"
            if self.joint
            else ", ".join(
                f"{count:,} {self.units[side]} ({side})" for side, count in self.vocabulary.items()
            )
        )
        unknown = ", ".join(f"{count:,} in {part}" for part, count in self.unknown.items())
        rows += [("vocabulary", sizes), ("unknown tokens", unknown)]
        return [*rows, ("padding", f"{self.padding:.1%}")]


def pair_report(
    parts: PairParts,
    vocabulary: PairVocabulary,
    batches: PairBatches,
    dropped: Mapping[str, int] | None = None,
    *,
    source: str = "pairs",
) -> PairReport:
    """Look at pairs.

    Args:
        parts: all of them, before any were left out.
        vocabulary: of the training part.
        batches: of what is trained on.
        dropped: as `filter_pairs` counted.
        source: where they come from.
    """
    named: dict[str, PairTexts] = dict(zip(PARTS, parts, strict=True))
    training = set(parts.training.sources)
    judged = {part: texts for part, texts in named.items() if part != "train"}
    leaked = {
        part: sum(source in training for source in texts.sources) for part, texts in judged.items()
    }
    duplicates = len(parts.training.sources) - len(set(zip(*parts.training, strict=True)))
    lengths = {"source": batches.source_lengths - 1, "target": batches.target_lengths - 1}
    sides = {"source": vocabulary.source, "target": vocabulary.target}
    return PairReport(
        source=source,
        notes=tuple(_notes(named, leaked, duplicates)),
        parts={part: len(texts.sources) for part, texts in named.items()},
        distinct={part: len(set(texts.sources)) for part, texts in named.items()},
        duplicates=duplicates,
        leaked=leaked,
        dropped=dict(dropped or {}),
        tokens={
            side: {"median": float(np.median(each)), "max": float(each.max())}
            for side, each in lengths.items()
        },
        units={side: f"{each.unit}s" for side, each in sides.items()},
        vocabulary={side: len(each) for side, each in sides.items()},
        joint=vocabulary.joint,
        unknown={part: _unknown(vocabulary, texts) for part, texts in judged.items()},
        padding=batches.padding,
    )


def _unknown(vocabulary: PairVocabulary, texts: PairTexts) -> int:
    sources = (vocabulary.formed(text) for text in texts.sources)
    return count_unknown(vocabulary.source, sources) + count_unknown(
        vocabulary.target, texts.targets
    )


def _notes(named: Mapping[str, PairTexts], leaked: dict[str, int], duplicates: int) -> list[str]:
    notes = [
        f"The sources of {count:,} of {len(named[part].sources):,} {part} pairs are in training "
        "too, and may be remembered."
        for part, count in leaked.items()
        if count
    ]
    if duplicates:
        notes.append(f"{duplicates:,} training pairs repeat an earlier one.")
    return notes
