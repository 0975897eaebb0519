"""From a name or a file to a task: what to read, how to read it, and where its parts end."""

import re
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, field, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from throughtime.data import builtin
from throughtime.data.columns import Columns
from throughtime.data.corpus import TextParts, part_files, read_parts
from throughtime.data.report import DataReport, data_report
from throughtime.data.series import read_like
from throughtime.data.sources import cut_points
from throughtime.data.splits import PARTS, check_lengths, check_scale, split
from throughtime.data.table import SeriesTable
from throughtime.data.text import KINDS, Vocabulary, read_text
from throughtime.errors import InputError
from throughtime.tasks.forecasting import Forecasting
from throughtime.tasks.language import EVALUATION_ROWS, LanguageModelling

TASKS = ("forecast", "language")
TABLES = (".csv", ".tsv", ".parquet", ".npy")
TEXTS = (".txt", ".text", ".md", ".rst", ".log")
BY_WORDS = ("words", "bpe")
"""Vocabularies that are learnt from the training part."""
EDGE = re.compile(r"(?<=\S)\s")
"""Where a word ends."""


@dataclass(frozen=True)
class DataConfig:
    """What to learn from, and how it is read."""

    source: str
    """A file, the name of built-in data, or a folder of text files for training, validation and
    test (see [`read_parts`][throughtime.data.corpus.read_parts])."""

    task: str | None = None
    """`forecast` or `language`; None follows from the source."""

    columns: Columns = field(default_factory=Columns)
    """Forecasting: what the columns of the table mean; what is not told is guessed."""

    split: str = "0.7,0.1,0.2"
    """Training, validation and test in the order of time: shares, numbers of rows, or (for series)
    the two dates at which validation and test begin."""

    horizon: int = 24
    """Forecasting: steps ahead."""

    tokens: str = "characters"
    """Language: `characters`, `bytes`, `words` or `bpe` (pieces of words)."""

    vocabulary: int | None = None
    """Language: words at most, the others are read as `<unk>`; or tokens of bpe, 2,000 if None."""

    encoding: str = "utf-8"
    """Of text files and CSV."""

    sort: bool = False
    """Put rows in the order of time instead of refusing unsorted ones."""

    def __post_init__(self) -> None:
        if self.task not in (None, *TASKS):
            raise InputError(f"task is {self.task!r}, expected one of {', '.join(TASKS)}")
        for name in ("source", "split", "tokens", "encoding"):
            if not isinstance(getattr(self, name), str):
                raise InputError(f"{name} is {getattr(self, name)!r}, expected text")
        if self.tokens not in KINDS:
            raise InputError(f"tokens is {self.tokens!r}, expected one of {', '.join(KINDS)}")
        for name in ("horizon", "vocabulary"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | None):
                raise InputError(f"{name} is {value!r}, expected a whole number")
        if self.horizon is None or self.horizon < 1:
            raise InputError(f"horizon is {self.horizon}, expected at least 1 step")

    def to_json(self) -> dict[str, Any]:
        """Plain values for a configuration file."""
        return {**asdict(self), "columns": self.columns.to_json()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "DataConfig":
        """The inverse of `to_json`; fields left out take their defaults.

        Errors:
            InputError: an unknown field.
        """
        unknown = set(values) - {each.name for each in fields(cls)}
        if unknown:
            raise InputError(f"data: unknown field {sorted(unknown)[0]!r} in the configuration")
        return cls(**{**values, "columns": Columns.from_json(dict(values.get("columns", {})))})


@dataclass(frozen=True, eq=False)
class Opened:
    """Data that were read, and what was found in them.

    Attributes:
        config: as given, with everything that was guessed filled in.
        task: what to do with them.
        report: what was found.
    """

    config: DataConfig
    task: Forecasting | LanguageModelling
    report: DataReport


def open_data(
    config: DataConfig,
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    vocabulary: Vocabulary | None = None,
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
    return Opened(replace(config, task="language"), task, report)


def _cut(text: str, config: DataConfig) -> TextParts:
    """The parts of one text, one after another; words stay whole where words or pieces count."""
    try:
        shares = [float(share) for share in config.split.split(",")]
    except ValueError:
        raise InputError(
            f"split is {config.split!r}, expected three shares such as 0.8,0.1,0.1 for a text"
        ) from None
    if len(shares) != 3:
        raise InputError(f"split is {config.split!r}, expected three shares, one per part")
    cuts = cut_points("split_text", len(text), shares)
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


def load_source(config: DataConfig) -> SeriesTable | str | TextParts:
    """The table or text of a file or of built-in data, or the texts of a folder."""
    name, path = config.source, Path(config.source)
    if name in builtin.names():
        loaded = builtin.load(name)
        if isinstance(loaded, SeriesTable) and config.columns not in (Columns(), loaded.columns):
            loaded = builtin.load(name, **_told(config.columns))
        if config.task not in (None, "language" if isinstance(loaded, str) else "forecast"):
            kind = "text" if isinstance(loaded, str) else "a table of series"
            raise InputError(f"{name} is {kind}, it cannot be used for --task {config.task}")
        _check_told(config, loaded)
        return loaded
    if not path.exists():
        near = ", ".join(builtin.names())
        raise InputError(f"{name}: there is no such file; built-in data are {near}")
    if path.is_dir():
        return _load_folder(path, config)
    task = config.task or _task_of(path)
    if task == "language":
        loaded = read_text(path, config.encoding)
    else:
        loaded = read_like(path, config.columns, encoding=config.encoding, sort=config.sort)
    _check_told(config, loaded)
    return loaded


def _load_folder(folder: Path, config: DataConfig) -> TextParts:
    """The texts of a folder that holds one for each part."""
    tasks = {config.task or _task_of(path) for path in part_files(folder).values()}
    if tasks != {"language"}:
        raise InputError(f"{folder} is a folder, expected a file of series: time parts them")
    if config.split != DataConfig.split:
        raise InputError(f"{folder} has a file for each part, and split is for a single file")
    texts = read_parts(folder, config.encoding)
    _check_told(config, texts)
    return texts


def _told(columns: Columns) -> dict[str, Any]:
    """The fields that differ from their defaults."""
    both = ((each.name, getattr(columns, each.name), each.default) for each in fields(Columns))
    return {name: value for name, value, default in both if value != default}


def _check_told(config: DataConfig, loaded: SeriesTable | str | TextParts) -> None:
    """Refuse what was said of a text and given for a table, or the other way round."""
    text = not isinstance(loaded, SeriesTable)
    usual = DataConfig(config.source)
    words = [name for name in ("tokens", "vocabulary")
             if getattr(config, name) != getattr(usual, name)]  # fmt: skip
    told = [*_told(config.columns)] if text else words
    if told:
        kinds = ("text", "series") if text else ("a table of series", "text")
        raise InputError(f"{config.source} is {kinds[0]}, and {told[0]} is for {kinds[1]}")


def _task_of(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    last = suffixes[-1] if suffixes else ""
    if last in TABLES:
        return "forecast"
    if last in TEXTS:
        return "language"
    raise InputError(
        f"{path.name}: its name does not say what it is; add --task forecast or --task language"
    )
