"""What there is to learn from in examples with labels, told before training starts."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from throughtime.data.examples import ExampleParts, Examples
from throughtime.data.labels import Labels
from throughtime.data.report import DataReport
from throughtime.data.splits import PARTS
from throughtime.data.text import Vocabulary

SHOWN = 10
"""Classes whose shares are told, the others are counted."""

RARE = 10
"""Examples of a class below which a note says that it has few."""

UNITS = {"texts": "tokens", "series": "steps"}


@dataclass(frozen=True)
class ExampleReport(DataReport):
    """A look at examples with labels.

    Attributes:
        kind: `texts`, `series` or `images`.
        parts: examples of training, validation and test.
        labelled: `one` class for each example, `several`, or one for each of its `steps`.
        classes: how often each is in training.
        size: of images: channels, height and width; else empty.
        features: names of a series' numbers.
        lengths: of training: shortest, median and longest, in tokens or steps; of images empty.
        missing: share of the numbers of training that is missing, from 0 to 1.
        vocabulary: of texts: different tokens; else 0.
        unknown: tokens of validation and of test that training does not know.
        duplicates: examples of training that occurred before in it.
        leaked: examples of validation and of test that are in training too.
        padding: share of the training batches that is padding, from 0 to 1.
    """

    kind: str
    parts: dict[str, int]
    labelled: str
    classes: dict[str, int]
    size: tuple[int, ...]
    features: tuple[str, ...]
    lengths: dict[str, float]
    missing: float
    vocabulary: int
    unknown: dict[str, int]
    duplicates: int
    leaked: dict[str, int]
    padding: float

    def _rows(self) -> list[tuple[str, str]]:
        rows = [(part, f"{count:,} {self.kind}") for part, count in self.parts.items()]
        rows.append((f"{len(self.classes):,} classes", self._shares()))
        if self.size:
            channels, height, width = self.size
            colour = {1: "grey", 3: "colour"}.get(channels, f"{channels} channels")
            return [*rows, ("size", f"{height} x {width} pixels, {colour}")]
        low, middle, high = (self.lengths[name] for name in ("min", "median", "max"))
        unit = UNITS[self.kind]
        rows.append(("length", f"{low:,.0f} to {high:,.0f} {unit}, median {middle:,g}"))
        if self.kind == "texts":
            unknown = ", ".join(f"{count:,} in {part}" for part, count in self.unknown.items())
            rows += [("vocabulary", f"{self.vocabulary:,} tokens"), ("unknown tokens", unknown)]
        else:
            names = ", ".join(self.features[:SHOWN]) + (", ..." * (len(self.features) > SHOWN))
            rows.append((f"{len(self.features):,} numbers a step", names))
            rows.append(("missing", f"{self.missing:.1%}"))
        return [*rows, ("padding", f"{self.padding:.1%}")]

    def _shares(self) -> str:
        total = max(sum(self.classes.values()), 1)
        found = Counter(self.classes).most_common()
        said = [f"{name} {count / total:.1%}" for name, count in found[:SHOWN]]
        more = f", {len(found) - SHOWN:,} more" if len(found) > SHOWN else ""
        return ", ".join(said) + more


def example_report(
    parts: ExampleParts,
    labels: Labels,
    vocabulary: Vocabulary | None,
    values: Any,
    padding: float,
    *,
    source: str,
    notes: tuple[str, ...] = (),
) -> ExampleReport:
    """Look at examples.

    Args:
        parts: all of them.
        labels: of the training part.
        vocabulary: of texts.
        values: of the training part, as models read them.
        padding: share of a training batch.
        source: where they come from.
        notes: more of them.
    """
    training = parts.training
    held = {"validation": parts.validation, "test": parts.test}
    seen = Counter(map(_key, training.values))
    leaked = {
        part: sum(_key(value) in seen for value in each.values) for part, each in held.items()
    }
    images = training.kind == "images"
    counts = Counter(dict.fromkeys(labels.names, 0))
    counts.update(
        one
        for label in training.labels or []
        for one in ([label] if isinstance(label, str) else label)
        if one
    )
    lengths = np.array([len(value) for value in values]) if not images else np.ones(1)
    duplicates = sum(seen.values()) - len(seen)
    return ExampleReport(
        source=source,
        notes=(*_notes(parts, leaked, duplicates, counts), *notes),
        kind=training.kind,
        parts=dict(zip(PARTS, map(len, parts), strict=True)),
        labelled=labels.kind,
        classes=dict(counts),
        size=tuple(training.values.shape[1:]) if images else (),
        features=training.features,
        lengths={} if images else {
            "min": float(lengths.min()),
            "median": float(np.median(lengths)),
            "max": float(lengths.max()),
        },
        missing=_missing(training),
        vocabulary=0 if vocabulary is None else len(vocabulary),
        unknown={part: _unknown(vocabulary, each) for part, each in held.items()},
        duplicates=duplicates,
        leaked=leaked,
        padding=padding,
    )  # fmt: skip


def _key(value: Any) -> int:
    """Equal for equal examples."""
    return hash(value if isinstance(value, str) else value.tobytes())


def _missing(training: Examples) -> float:
    if training.kind != "series":
        return 0.0
    total = sum(value.size for value in training.values)
    return sum(int(np.isnan(value).sum()) for value in training.values) / total


def _unknown(vocabulary: Vocabulary | None, examples: Examples) -> int:
    if vocabulary is None or vocabulary.unknown is None:
        return 0
    unknown = vocabulary.tokens.index(vocabulary.unknown)
    return sum(int((vocabulary.encode(text) == unknown).sum()) for text in examples.values if text)


def _notes(
    parts: ExampleParts, leaked: dict[str, int], duplicates: int, counts: Counter[str]
) -> list[str]:
    held = {"validation": parts.validation, "test": parts.test}
    notes = [
        f"{count:,} of {len(held[part]):,} {part} examples are in training too, and may be "
        "remembered."
        for part, count in leaked.items()
        if count
    ]
    if duplicates:
        notes.append(f"{duplicates:,} training examples repeat an earlier one.")
    few = [name for name, count in counts.items() if count < RARE]
    if few:
        named = ", ".join(few[:SHOWN]) + (", ..." if len(few) > SHOWN else "")
        notes.append(f"Fewer than {RARE} training examples of: {named}.")
    return notes
