"""From a name or a file to a task: what to read, how to read it, and where its parts end."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch

from throughtime.data import builtin
from throughtime.data.columns import Columns
from throughtime.data.report import DataReport, data_report
from throughtime.data.series import read_like
from throughtime.data.splits import PARTS, check_lengths, check_scale, split
from throughtime.data.table import SeriesTable
from throughtime.data.text import KINDS, Vocabulary, read_text, split_text
from throughtime.errors import InputError
from throughtime.tasks.forecasting import Forecasting
from throughtime.tasks.language import LanguageModelling

TASKS = ("forecast", "language")
TABLES = (".csv", ".tsv", ".parquet", ".npy")
TEXTS = (".txt", ".text", ".md", ".rst", ".log")


@dataclass(frozen=True)
class DataConfig:
    """What to learn from, and how it is read."""

    source: str
    """A file, or the name of built-in data."""

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
    """Language: `characters`, `bytes` or `words`."""

    vocabulary: int | None = None
    """Language, words: how many at most; the others are read as `<unk>`."""

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
    try:
        shares = [float(share) for share in config.split.split(",")]
    except ValueError:
        raise InputError(
            f"split is {config.split!r}, expected three shares such as 0.8,0.1,0.1 for a text"
        ) from None
    if len(shares) != 3:
        raise InputError(f"split is {config.split!r}, expected three shares, one per part")
    if vocabulary is None:
        # Which characters exist is no secret; words of the test part are, and read as unknown.
        words = config.tokens == "words"
        known = loaded[: max(1, int(shares[0] * len(loaded)))] if words else loaded
        vocabulary = Vocabulary.fit(known, config.tokens, max_size=config.vocabulary)  # pyright: ignore[reportArgumentType]
    ids = vocabulary.encode(loaded)
    training, validation, test = split_text(ids, shares)
    task = LanguageModelling(training, validation, test, vocabulary, device)
    parts = zip(PARTS, (training, validation, test), strict=True)
    report = data_report(
        loaded,
        {name: len(part) for name, part in parts},
        source=Path(config.source).name,
        unit=vocabulary.kind,
    )
    return Opened(replace(config, task="language"), task, report)


def load_source(config: DataConfig) -> SeriesTable | str:
    """The table or text of a file or of built-in data."""
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
        raise InputError(f"{name} is a folder, expected a file or the name of built-in data")
    task = config.task or _task_of(path)
    if task == "language":
        loaded = read_text(path, config.encoding)
    else:
        loaded = read_like(path, config.columns, encoding=config.encoding, sort=config.sort)
    _check_told(config, loaded)
    return loaded


def _told(columns: Columns) -> dict[str, Any]:
    """The fields that differ from their defaults."""
    both = ((each.name, getattr(columns, each.name), each.default) for each in fields(Columns))
    return {name: value for name, value, default in both if value != default}


def _check_told(config: DataConfig, loaded: SeriesTable | str) -> None:
    """Refuse what was said of a text and given for a table, or the other way round."""
    text = isinstance(loaded, str)
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
