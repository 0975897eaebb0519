"""Pairs of texts, a source and what it becomes: files to pairs, and pairs to parts.

    source   ein Hund läuft
    target   a dog runs

Line i of the sources belongs to line i of the targets. White space at the ends of a side means
nothing and is left out; a side may be empty.
"""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from throughtime.data.corpus import candidates
from throughtime.data.reading import read_lines
from throughtime.data.sources import cut_points
from throughtime.errors import InputError

NAMES = ("source", "target")
"""The two sides, where no direction names them."""

SIDES = (("src", "tgt"), ("src", "trg"), NAMES)
"""Endings that say which side a file is."""

PAIRED = (".tsv", ".jsonl")
"""Files that hold both sides."""


class PairTexts(NamedTuple):
    """Sources and targets, line by line.

    Attributes:
        sources: what is given.
        targets: what each becomes; of the same length.
    """

    sources: list[str]
    targets: list[str]


class PairParts(NamedTuple):
    """Pairs in three parts.

    Attributes:
        training: what is learnt from.
        validation: what training is watched on.
        test: what is judged on.
    """

    training: PairTexts
    validation: PairTexts
    test: PairTexts


def read_pairs(
    path: str | os.PathLike[str], *, direction: str | None = None, encoding: str = "utf-8"
) -> PairTexts:
    r"""The pairs of a file, or of two files whose lines belong together.

    - `train.de,train.en`: two text files, the source first.
    - `.tsv`: source, tab, target on each line. There are no quotation marks: `"` is a character.
      More columns are allowed where the first line names them and two are picked by `direction`.
    - `.jsonl`: one object per line, `{"source": ..., "target": ...}`. With a direction its two
      names take their place. Both may also lie within `"translation"`. A line end within a text
      becomes a blank.

    Each name may end in `.gz`. Blank lines of TSV and JSON are left out.

    Args:
        path: one name, or two with a comma between them.
        direction: names of source and target with a hyphen between them, such as `de-en`: of two
            columns or fields; of two files the endings, which then decide the order.
        encoding: of all files.

    Errors:
        InputError: a direction of another form, a missing or empty file, two that are one or have
            different numbers of lines, a line that is no pair (its number is told), or as
            `read_text`.
    """
    names = _names(direction)
    text = os.fspath(path)
    paths = (
        [Path(text)] if Path(text).is_file() else [Path(each.strip()) for each in text.split(",")]
    )
    if len(paths) == 1 and _ending(paths[0]) in PAIRED:
        lines = read_lines("read_pairs", paths[0], encoding)
        read = _tabs if _ending(paths[0]) == ".tsv" else _objects
        return read(paths[0], lines, names)
    if len(paths) != 2 or any(_ending(each) in PAIRED for each in paths):
        if len(paths) == 1 and not paths[0].is_file():
            raise InputError(f"read_pairs: there is no file {paths[0]}")
        raise InputError(
            f"read_pairs: path is {text!r}, expected two text files such as train.de,train.en, "
            f"or one whose name ends in {' or '.join(PAIRED)} (or in .gz after that)"
        )
    return _two(paths[0], paths[1], names, encoding)


def read_pair_parts(
    folder: str | os.PathLike[str], *, direction: str | None = None, encoding: str = "utf-8"
) -> PairParts:
    """The pairs of a folder with files for training, validation and test.

    A part is told by a word in the name of its files, as for
    [`read_parts`][throughtime.data.corpus.read_parts]: train or training; valid, validation, val or
    dev; test. It is one `.tsv` or `.jsonl`, or two text files told apart by their ending, such as
    `train.de` and `train.en`; `.txt` and `.gz` after it do not count.

    Args:
        folder: where the files lie.
        direction: such as `de-en`: endings of text files, or as for `read_pairs`. Not needed for
            endings such as `src` and `tgt`.
        encoding: of all files.

    Errors:
        InputError: no files for a part or several, no direction where the endings do not tell; or
            as `read_pairs`.
    """
    if not Path(folder).is_dir():
        raise InputError(f"read_pair_parts: there is no folder {folder}")
    names = _names(direction)
    found = candidates(folder)
    endings = {_ending(path) for paths in found.values() for path in paths} - {*PAIRED, ""}
    if names is None:
        known = [pair for pair in SIDES if {f".{each}" for each in pair} <= endings]
        sides = known[0] if len(known) == 1 else None
    else:
        sides = names
    parts: list[PairTexts] = []
    for part, paths in found.items():
        paired = [path for path in paths if _ending(path) in PAIRED]
        texts = [
            path for path in paths if sides and _ending(path) in [f".{each}" for each in sides]
        ]
        if len(paired) == 1 and not texts:
            parts.append(read_pairs(paired[0], direction=direction, encoding=encoding))
        elif not paired and sides is None and len(paths) > 1:
            listed = ", ".join(sorted(each[1:] for each in endings))
            raise InputError(
                f"read_pair_parts: direction is None, expected which ending is the source's, such "
                f"as de-en, for {folder}; its files end in {listed}"
            )
        elif not paired and sides and sorted(map(_ending, texts)) == sorted(f".{s}" for s in sides):
            first, second = sorted(texts, key=lambda path: _ending(path) != f".{sides[0]}")
            parts.append(_two(first, second, None, encoding))
        else:
            expected = "train.tsv, or train.de and train.en with direction de-en"
            if sides:
                expected = (
                    f"one ending in .tsv or .jsonl, or one each in .{sides[0]} and .{sides[1]}"
                )
            came = ", ".join(path.name for path in (paired + texts or paths)[:4]) or "none"
            raise InputError(
                f"read_pair_parts: {folder} has for {part}: {came}; expected for each of training, "
                f"validation and test {expected}"
            )
    return PairParts(*parts)


def split_pairs(
    texts: PairTexts, fractions: Sequence[float] = (0.8, 0.1, 0.1), seed: int = 0
) -> PairParts:
    """Training, validation and test; all targets of a source fall into one part.

    The sources are put into the order of a hash of their text and cut there: files of pairs are
    often sorted, so their own order would make a bad split. Within a part the order of the file
    stays.

    Args:
        texts: all pairs.
        fractions: each part's share of the different sources.
        seed: another one gives another split; the same one gives the same on every machine.

    Errors:
        InputError: not three fractions that are positive and sum to 1, or an empty part.

    Examples:
        >>> parts = split_pairs(PairTexts(list("aabcdefghi"), list("0123456789")), (0.6, 0.2, 0.2))
        >>> [len(part.sources) for part in parts]
        [6, 2, 2]
    """
    if len(fractions) != 3:
        raise InputError(f"split_pairs: fractions are {list(fractions)}, expected three")

    def rank(source: str) -> bytes:
        return hashlib.blake2b(f"{seed} {source}".encode("utf-8", "surrogatepass")).digest()

    order = sorted(dict.fromkeys(texts.sources), key=rank)
    cuts = cut_points("split_pairs", len(order), fractions)
    part_of = {source: sum(at >= cut for cut in cuts[1:3]) for at, source in enumerate(order)}
    parts = PairParts(PairTexts([], []), PairTexts([], []), PairTexts([], []))
    for source, target in zip(*texts, strict=True):
        part = parts[part_of[source]]
        part.sources.append(source)
        part.targets.append(target)
    return parts


def group_pairs(texts: PairTexts) -> tuple[list[str], list[tuple[str, ...]]]:
    """The different sources in order, and all different targets of each: any of them is right.

    Examples:
        >>> group_pairs(PairTexts(["live", "cat", "live"], ["L IH V", "K AE T", "L AY V"]))
        (['live', 'cat'], [('L IH V', 'L AY V'), ('K AE T',)])
    """
    found: dict[str, dict[str, None]] = {}
    for source, target in zip(*texts, strict=True):
        found.setdefault(source, {})[target] = None
    return list(found), [tuple(targets) for targets in found.values()]


def _names(direction: str | None) -> tuple[str, str] | None:
    """`de-en` -> ("de", "en")."""
    if direction is None:
        return None
    names = direction.split("-")
    if len(names) != 2 or not all(name and name == name.strip() for name in names):
        raise InputError(
            f"direction is {direction!r}, expected two names with a hyphen between them, such as "
            "de-en"
        )
    if names[0] == names[1]:
        raise InputError(f"direction is {direction!r}, expected two different names")
    return names[0], names[1]


def _ending(path: Path) -> str:
    """The ending that counts: `.de` of `train.de.gz` and of `train.de.txt`."""
    suffixes = [suffix for suffix in path.suffixes if suffix.lower() != ".gz"]
    if len(suffixes) > 1 and suffixes[-1].lower() == ".txt":
        suffixes.pop()
    last = suffixes[-1] if suffixes else ""
    return last.lower() if last.lower() in PAIRED else last


def _two(first: Path, second: Path, names: tuple[str, str] | None, encoding: str) -> PairTexts:
    """Two text files."""
    if names is not None:
        endings = (_ending(first), _ending(second))
        sides = (f".{names[0]}", f".{names[1]}")
        if sorted(endings) != sorted(sides):
            raise InputError(
                f"read_pairs: direction is {'-'.join(names)}, and the files are {first.name} and "
                f"{second.name}; expected them to end in {sides[0]} and {sides[1]}, or no "
                "direction and the source first"
            )
        if endings != sides:
            first, second = second, first
    sources, targets = (
        [line.strip() for line in read_lines("read_pairs", path, encoding)]
        for path in (first, second)
    )
    if os.path.samefile(first, second):
        raise InputError(f"read_pairs: {first} was given twice, expected a source and a target")
    if len(sources) != len(targets):
        raise InputError(
            f"read_pairs: {first} has {len(sources):,} lines and {second} {len(targets):,}, "
            f"expected as many; their lengths part at about line {_slip(sources, targets):,}"
        )
    return PairTexts(sources, targets)


def _slip(sources: Sequence[str], targets: Sequence[str]) -> int:
    """Where lines were lost: up to which line the files agree best, and behind it with a shift."""
    short, long = sorted((sources, targets), key=len)
    a, b = (np.log1p([len(line) for line in side]) for side in (short, long))
    a, b = a - np.median(a), b - np.median(b)  # one language may be longer everywhere
    before = np.cumsum(np.abs(a - b[: len(a)]), dtype=float)
    behind = np.cumsum(np.abs(a - b[len(b) - len(a) :])[::-1], dtype=float)[::-1]
    return int(np.argmin(np.append(0, before) + np.append(behind, 0))) + 1


def _tabs(path: Path, lines: list[str], names: tuple[str, str] | None) -> PairTexts:
    """Columns with tabs between them."""
    texts, width, columns = PairTexts([], []), 2, (0, 1)
    head = [cell.strip() for cell in lines[0].split("\t")]
    sides = names or NAMES
    if set(sides) <= set(head):
        width, columns = len(head), (head.index(sides[0]), head.index(sides[1]))
        lines = ["", *lines[1:]]
    elif names is not None:
        raise InputError(
            f"read_pairs: direction is {'-'.join(names)}, expected these names among the columns "
            f"in the first line of {path}; it holds {_short(', '.join(head))}"
        )
    for number, line in enumerate(lines, 1):
        if not line.strip(" \r"):
            continue
        cells = line.split("\t")
        if len(cells) == 1:
            raise InputError(
                f"read_pairs: line {number:,} of {path} has no tab, expected source, tab, target; "
                f"it is {_short(line)}"
            )
        if len(cells) != width:
            hint = "" if width > 2 or names else "; a direction picks two that the first line names"
            raise InputError(
                f"read_pairs: line {number:,} of {path} has {len(cells)} columns, "
                f"expected {width}{hint}"
            )
        texts.sources.append(cells[columns[0]].strip())
        texts.targets.append(cells[columns[1]].strip())
    return _some(path, texts)


def _objects(path: Path, lines: list[str], names: tuple[str, str] | None) -> PairTexts:
    """An object of JSON on each line."""
    texts = PairTexts([], [])
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"read_pairs: line {number:,} of {path}"
        try:
            whole = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise InputError(f"{where} is not JSON ({error}): {_short(line)}") from None
        if not isinstance(whole, dict):
            raise InputError(f"{where} is {_short(line)}, expected an object")
        for name, side in zip(names or NAMES, texts, strict=True):
            side.append(_field(where, whole, name))
    return _some(path, texts)


def _field(where: str, whole: dict[str, Any], name: str) -> str:
    """One side out of an object."""
    inner = whole.get("translation")
    fields = {**inner, **whole} if isinstance(inner, dict) else whole
    if name not in fields:
        there = [each for each in fields if not isinstance(fields[each], dict)]
        raise InputError(
            f"{where} has no {name!r}, expected source and target, or direction with the names of "
            f"two fields, such as de-en; there are {', '.join(there) or 'none'}"
        )
    if not isinstance(fields[name], str):
        raise InputError(f"{where} has {_short(repr(fields[name]))} as {name}, expected text")
    return re.sub(r"[\r\n]+", " ", fields[name].strip())


def _some(path: Path, texts: PairTexts) -> PairTexts:
    if not texts.sources:
        raise InputError(
            f"read_pairs: {path} has no pairs, only the names of columns or blank lines"
        )
    return texts


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
