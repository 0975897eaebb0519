"""From a name to what it holds: a table of series, a text, pairs, or labelled examples."""

import gzip
import zlib
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path
from typing import Any

from throughtime.data import builtin
from throughtime.data.columns import Columns
from throughtime.data.corpus import TextParts, candidates, part_files, read_parts
from throughtime.data.examples import ExampleParts, Examples
from throughtime.data.image_files import resize
from throughtime.data.pairs import PAIRED, PairParts, PairTexts, read_pair_parts, read_pairs
from throughtime.data.reading import read_text
from throughtime.data.series import read_like
from throughtime.data.table import SeriesTable
from throughtime.errors import InputError
from throughtime.tasks.data_config import DataConfig
from throughtime.tasks.labelled import image_size, load_labelled, looks_labelled

TABLES = (".csv", ".tsv", ".parquet", ".npy")
TEXTS = (".txt", ".text", ".md", ".rst", ".log")

GLANCE = 50
"""Lines of a `.tsv` by which series and pairs are told apart."""

DATES = {b"date", b"datetime", b"ds", b"time", b"timestamp"}
"""Names of columns that only a table of series has."""

Loaded = SeriesTable | str | TextParts | PairTexts | PairParts | Examples | ExampleParts
"""What data may be."""


def load_source(config: DataConfig) -> Loaded:
    """The table, text, pairs or examples of a file, of built-in data or of a folder.

    Errors:
        InputError: nothing of that name, or something else than was said of it.
    """
    loaded = _load(config)
    _check_told(config, loaded)
    return loaded


def _load(config: DataConfig) -> Loaded:
    name, path = config.source, Path(config.source)
    if name in builtin.names():
        loaded = builtin.load(name)
        if isinstance(loaded, SeriesTable) and config.columns not in (Columns(), loaded.columns):
            loaded = builtin.load(name, **_told(config.columns))
        kind, task = _kind(loaded)
        if config.task not in (None, task):
            raise InputError(f"{name} is {kind}, it cannot be used for --task {config.task}")
        for part in ("validation", "test"):
            if getattr(config, part) is not None:
                raise InputError(f"{name} is built in, and {part} is for files; --split cuts it")
        size = image_size(config)
        if isinstance(loaded, Examples) and size is not None:
            loaded = replace(loaded, values=resize(loaded.values, size))
        return loaded
    if not path.exists() and "," not in name:
        near = ", ".join(builtin.names())
        raise InputError(f"{name}: there is no such file; built-in data are {near}")
    if _classifies(config, path):
        return load_labelled(config)
    if path.is_dir():
        return _load_folder(path, config)
    task = config.task or ("translate" if _told_of_pairs(config) else _task_of(path))
    if task == "translate":
        return _load_pairs(config)
    if task == "language":
        return read_text(path, config.encoding)
    return read_like(path, config.columns, encoding=config.encoding, sort=config.sort)


def _classifies(config: DataConfig, path: Path) -> bool:
    """Whether classes are asked for, or the data are for nothing else."""
    if config.task is not None:
        return config.task == "classify"
    pairs = [name for name in _said(config, OF_PAIRS) if name not in OF_BOTH]
    if pairs or _names_two(config):
        return False
    return bool(_said(config, OF_CLASSES)) or looks_labelled(path)


def _load_pairs(config: DataConfig) -> PairTexts | PairParts:
    """Pairs of one name that will be cut, or of three."""
    if (config.validation is None) != (config.test is None):
        missing, there = ("validation", "test") if config.test else ("test", "validation")
        raise InputError(f"{missing} is not given, expected it beside {there}")
    if config.validation is None or config.test is None:
        return read_pairs(config.source, direction=config.direction, encoding=config.encoding)
    if config.split != DataConfig.split:
        raise InputError("split is for a single file, and there is one for each part")
    return PairParts(
        *(
            read_pairs(name, direction=config.direction, encoding=config.encoding)
            for name in (config.source, config.validation, config.test)
        )
    )


def _load_folder(folder: Path, config: DataConfig) -> TextParts | PairParts:
    """The texts or pairs of a folder that holds some for each part."""
    if config.split != DataConfig.split:
        raise InputError(f"{folder} has a file for each part, and split is for a single file")
    for part in ("validation", "test"):
        if getattr(config, part) is not None:
            raise InputError(f"{folder} is a folder with all parts, and {part} is for one file")
    if config.task == "translate" or _told_of_pairs(config) or _has_pairs(folder):
        return read_pair_parts(folder, direction=config.direction, encoding=config.encoding)
    tasks = {config.task or _task_of(path) for path in part_files(folder).values()}
    if tasks != {"language"}:
        raise InputError(f"{folder} is a folder, expected a file of series: time parts them")
    return read_parts(folder, config.encoding)


def _has_pairs(folder: Path) -> bool:
    """Whether the parts of a folder are files of pairs, or two texts each."""
    for paths in candidates(folder).values():
        paired = [path for path in paths if _endings(path) & {*PAIRED}]
        if not paired and len({frozenset(_endings(path)) for path in paths}) < 2:
            return False
    return True


def _endings(path: Path) -> set[str]:
    return {suffix.lower() for suffix in path.suffixes[-2:]} - {".gz"}


def _told(columns: Columns) -> dict[str, Any]:
    """The fields that differ from their defaults."""
    both = ((each.name, getattr(columns, each.name), each.default) for each in fields(Columns))
    return {name: value for name, value, default in both if value != default}


OF_TEXTS = ("tokens", "vocabulary")
OF_PAIRS = ("validation", "test", "direction", "joint", "form", "measure", "tokenize", "longest")
OF_CLASSES = ("label", "text", "features", "labels", "weighted", "image_size", "augment")
OF_BOTH = ("validation", "test", "longest")
OF_ROWS = ("id", "time")
"""Columns that labelled series have too."""
OF_COLUMNS = ("label", "text", "features")
"""What only files with columns or fields have; images have folders, or arrays."""


def _said(config: DataConfig, names: tuple[str, ...]) -> list[str]:
    """Which of some fields differ from their defaults."""
    return [name for name in names if getattr(config, name) != getattr(DataConfig, name)]


def _told_of_pairs(config: DataConfig) -> bool:
    """Whether something was said that only pairs have, or two files were named."""
    return _names_two(config) or bool(_said(config, OF_PAIRS))


def _names_two(config: DataConfig) -> bool:
    """Whether the source is two files, one of each side of pairs."""
    return "," in config.source and not Path(config.source).exists()


def _kind(loaded: Loaded) -> tuple[str, str]:
    """What data are, in words, and the task they are for."""
    if isinstance(loaded, SeriesTable):
        return "a table of series", "forecast"
    if isinstance(loaded, PairTexts | PairParts):
        return "pairs", "translate"
    if isinstance(loaded, Examples | ExampleParts):
        return "labelled examples", "classify"
    return "text", "language"


def _check_told(config: DataConfig, loaded: Loaded) -> None:
    """Refuse what was said of one kind of data and given for another."""
    kind, task = _kind(loaded)
    told, classes = _told(config.columns), task == "classify"
    wrong = [
        (name, "series")
        for name in told
        if task != "forecast" and not (classes and name in OF_ROWS)
    ]
    if isinstance(loaded, Examples | ExampleParts):
        kind = f"labelled {_kind_of(loaded)}"
        wrong += _wrong_of_examples(config, _kind_of(loaded))
    else:
        wrong += [(name, "classes") for name in _said(config, OF_CLASSES)]
    if task == "forecast":
        wrong += [(name, "text") for name in _said(config, OF_TEXTS)]
    if task != "translate":
        wrong += [
            (name, "pairs") for name in _said(config, OF_PAIRS) if not (classes and name in OF_BOTH)
        ]
        if config.tokens is not None and "," in config.tokens:
            wrong.append((f"tokens {config.tokens}", "pairs"))
    if wrong:
        raise InputError(f"{config.source} is {kind}, and {wrong[0][0]} is for {wrong[0][1]}")


def _kind_of(loaded: Examples | ExampleParts) -> str:
    return loaded.kind if isinstance(loaded, Examples) else loaded.training.kind


def _wrong_of_examples(config: DataConfig, kind: str) -> list[tuple[str, str]]:
    """What was said of examples that only those of another kind have, and which."""
    wrong = []
    if kind == "images":
        told = [*_said(config, OF_COLUMNS), *(name for name in _told(config.columns))]
        wrong = [(name, "texts and series") for name in told]
        if config.labels not in (None, "one"):
            wrong.append((f"labels {config.labels}", "texts and series"))
    if kind != "texts":
        wrong += [(name, "texts") for name in _said(config, ("longest",))]
    return wrong


def _task_of(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    last = suffixes[-1] if suffixes else ""
    if last == ".jsonl" or (last == ".tsv" and _looks_like_pairs(path)):
        return "translate"
    if last in TABLES:
        return "forecast"
    if last in TEXTS:
        return "language"
    raise InputError(
        f"{path.name}: its name does not say what it is; add --task forecast or --task language "
        "(or classify), or name both files of pairs: train.de,train.en"
    )


def _looks_like_pairs(path: Path) -> bool:
    """Whether the first lines of a table are two texts each: no dates, and few numbers."""
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            lines = [line.strip(b"\r\n") for line in islice(file, GLANCE)]
    except (OSError, EOFError, zlib.error):
        return False  # whoever reads it will say what is wrong
    rows = [line.split(b"\t") for line in lines if line.strip()]
    if not rows or any(len(row) != 2 for row in rows):
        return False
    dated = any(name.strip().lower() in DATES for name in rows[0])
    told = [row[1] for row in rows if row[1].strip()]
    return not dated and 2 * sum(map(_is_number, told)) < len(told)


def _is_number(cell: bytes) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
