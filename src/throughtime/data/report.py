"""What there is to learn from, told before training starts."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from throughtime.data.calendar import format_time
from throughtime.data.splits import PARTS, Split
from throughtime.data.table import SeriesTable
from throughtime.errors import InputError


@dataclass(frozen=True)
class DataReport:
    """A look at data, for terminals, pages and files.

    Attributes:
        source: the file, or the name of built-in data.
        notes: what a reader should know before trusting a result; full sentences.
    """

    source: str
    notes: tuple[str, ...]

    def rows(self) -> list[tuple[str, str]]:
        """What to print: a label and its text in each row, the notes last."""
        return [("source", self.source), *self._rows(), *(("note", each) for each in self.notes)]

    def _rows(self) -> list[tuple[str, str]]:
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """Plain values: words, numbers, lists and dictionaries."""
        return _plain(asdict(self))


@dataclass(frozen=True)
class TableReport(DataReport):
    """A look at a table of series.

    Attributes:
        series: how many.
        steps: rows over all series, gaps included.
        length_min: steps of the shortest series.
        length_median: of the middle one.
        length_max: of the longest.
        first: the earliest time.
        last: the latest time of a target.
        future: steps of covariates beyond the last target, of the series with the fewest.
        frequency: of the time stamps; None for whole numbers.
        season: steps.
        targets: per target: its smallest, mean and largest value, its missing ones.
        past: names of the past covariates.
        known: names of the known ones.
        static: names of the static ones.
        missing: share of all target values that is missing, from 0 to 1, gaps included.
        gaps: rows put in where a time stamp is missing.
        constant: series, or series and target, that never change.
        padding: share of a rectangle of all series that is padding, from 0 to 1.
        parts: steps of training, validation and test over all series; empty without a split.
        validation_from: first moment of the validation part.
        test_from: first moment of the test part.
        unused: columns of the file that were not read.
    """

    series: int
    steps: int
    length_min: int
    length_median: float
    length_max: int
    first: str
    last: str
    future: int
    frequency: str | None
    season: int
    targets: dict[str, dict[str, float]]
    past: tuple[str, ...]
    known: tuple[str, ...]
    static: tuple[str, ...]
    missing: float
    gaps: int
    constant: tuple[str, ...]
    padding: float
    parts: dict[str, int]
    validation_from: str | None
    test_from: str | None
    unused: tuple[str, ...]

    def _rows(self) -> list[tuple[str, str]]:
        lengths = f"{self.length_min:,} to {self.length_max:,}, median {self.length_median:,g}"
        rows = [
            ("series", f"{self.series:,}"),
            ("steps", f"{self.steps:,}"),
            ("length", f"{self.length_max:,}" if self.length_min == self.length_max else lengths),
            ("time", f"{self.first} to {self.last}"),
            ("frequency", self.frequency or "steps counted by whole numbers"),
            ("season", f"{self.season} steps" if self.season > 1 else "none"),
        ]
        rows += [
            (
                f"target {name}",
                f"{found['min']:g} to {found['max']:g}, mean {found['mean']:g}, "
                f"{found['missing']:,.0f} missing",
            )
            for name, found in self.targets.items()
        ]
        rows += [
            (label, ", ".join(columns))
            for label, columns in (
                ("past", self.past),
                ("known ahead", self.known),
                ("static", self.static),
                ("not used", self.unused),
            )
            if columns
        ]
        rows += [
            ("missing", f"{self.missing:.2%} of target values, {self.gaps:,} rows in gaps"),
            ("padding", f"{self.padding:.1%}"),
        ]
        rows += [("future", f"{self.future:,} steps beyond the last target")] * (self.future > 0)
        begins = {"validation": self.validation_from, "test": self.test_from}
        for part, steps in self.parts.items():
            since = f" from {begins[part]}" if part in begins else ""
            rows.append((part, f"{steps:,} steps{since}"))
        return rows


@dataclass(frozen=True)
class TextReport(DataReport):
    """A look at a text.

    Attributes:
        characters: how many.
        lines: how many.
        distinct: different characters.
        common: the most frequent characters and their share of all.
        unit: what a token is.
        parts: tokens of training, validation and test; empty when not told.
    """

    characters: int
    lines: int
    distinct: int
    common: dict[str, float]
    unit: str
    parts: dict[str, int]

    def _rows(self) -> list[tuple[str, str]]:
        common = ", ".join(f"{each!r} {share:.1%}" for each, share in self.common.items())
        rows = [
            ("characters", f"{self.characters:,}"),
            ("lines", f"{self.lines:,}"),
            ("different characters", f"{self.distinct:,}"),
            ("most common", common),
        ]
        return rows + [(part, f"{count:,} {self.unit}") for part, count in self.parts.items()]


def data_report(
    data: SeriesTable | str,
    split: Split | Mapping[str, int] | None = None,
    *,
    padding: float | None = None,
    source: str = "text",
    unit: str = "characters",
) -> TableReport | TextReport:
    """Look at a table of series or at a text.

    Args:
        data: the table, or the whole text.
        split: of a table, its parts; of a text, how many tokens each part has.
        padding: tables: the share of padding in the batches that will be used; None takes one
            rectangle of all series.
        source: texts: where it comes from. A table knows.
        unit: texts: what a token is.

    Errors:
        InputError: an empty text, or a split of the other kind.
    """
    if isinstance(data, str):
        if isinstance(split, Split):
            raise InputError("data_report: a text is split by counts of tokens, got times")
        return _text_report(data, dict(split or {}), source, unit)
    if split is not None and not isinstance(split, Split):
        raise InputError("data_report: a table is split by time, got counts of tokens")
    return _table_report(data, split, padding)


def _text_report(text: str, parts: dict[str, int], source: str, unit: str) -> TextReport:
    if not text:
        raise InputError(f"{source}: the text is empty")
    counts = Counter(text)
    # Of equally common characters the earlier in the alphabet: the report is the same each time.
    common = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:5]
    return TextReport(
        source=source,
        notes=(),
        characters=len(text),
        lines=len(text.splitlines()),
        distinct=len(counts),
        common={each: count / len(text) for each, count in common},
        unit=unit,
        parts=parts,
    )


def _table_report(table: SeriesTable, split: Split | None, padding: float | None) -> TableReport:
    lengths = table.lengths
    width = len(table.targets)
    count, missing = np.zeros(width), np.zeros(width)
    total, low, high = np.zeros(width), np.full(width, np.inf), np.full(width, -np.inf)
    constant: list[str] = []
    for series in table.series:
        found = series.summary(width)
        count += len(series)
        missing += found.missing
        total += found.total
        low, high = np.minimum(low, found.low), np.maximum(high, found.high)
        constant += [
            series.name if width == 1 else f"{series.name}: {name}"
            for at, name in enumerate(table.targets)
            if found.low[at] >= found.high[at]
        ]
    gaps = sum(series.gaps for series in table.series)
    share = 1 - sum(lengths) / (len(lengths) * max(lengths))
    return TableReport(
        source=table.source,
        notes=tuple(_notes(table, split, gaps, constant)),
        series=len(table),
        steps=sum(lengths),
        length_min=min(lengths),
        length_median=float(np.median(lengths)),
        length_max=max(lengths),
        first=format_time(min(series.times[0] for series in table.series)),
        last=format_time(max(series.times[-1] for series in table.series)),
        future=min(len(series.future) for series in table.series),
        frequency=table.frequency,
        season=table.season,
        targets={
            name: {
                "min": float(low[at]),
                "mean": float(total[at] / max(count[at] - missing[at], 1)),
                "max": float(high[at]),
                "missing": float(missing[at]),
            }
            for at, name in enumerate(table.targets)
        },
        past=table.past,
        known=table.known,
        static=table.static,
        missing=float(missing.sum() / count.sum()),
        gaps=gaps,
        constant=tuple(constant),
        padding=share if padding is None else padding,
        parts={} if split is None else {part: split.steps(part) for part in PARTS},
        validation_from=None if split is None else format_time(split.validation_from),
        test_from=None if split is None else format_time(split.test_from),
        unused=table.unused,
    )


def _notes(table: SeriesTable, split: Split | None, gaps: int, constant: list[str]) -> list[str]:
    notes: list[str] = []
    if gaps:
        notes.append(
            f"{gaps:,} time stamps are missing; their rows count as missing values and are "
            "not filled in."
        )
    if constant:
        notes.append(
            f"{_some(constant)} never changes; its scaled errors are not defined."
            if len(constant) == 1
            else f"{_some(constant)} never change; their scaled errors are not defined."
        )
    if len(table.columns.known) and any(np.isnan(each.covariates).any() for each in table.series):
        notes.append("Some values of columns known ahead of time are missing.")
    if split is not None and split.without_training:
        notes.append(
            f"Nothing to train on before validation begins: {_some(split.without_training)}."
        )
    if split is not None and split.without_test:
        notes.append(f"Nothing to test on: {_some(split.without_test)}.")
    if split is not None and split.until is not None:
        notes.append(f"Rows from {format_time(split.until)} on are not used.")
    return notes


def _some(names: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, tuple | list) else value
