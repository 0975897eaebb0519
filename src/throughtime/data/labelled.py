"""Texts and series with the classes they are of, from files and folders of several forms.

film.csv     text,label         a text in each row
walks.csv    id,time,x,label    a series in the rows of each id, in order of time
beats.csv    v0,v1,v2,label     a series in each row
vowels.ts    1,2,3:4,5,6:a      a series on each line, as in the archives of UCR and UEA
some.jsonl   {"text": ..., "label": ...} or {"values": [...], "label": ...}
"""

import csv
import gzip
import json
import os
import zlib
from pathlib import Path
from typing import Any

from throughtime.data.corpus import PART_WORDS, candidates
from throughtime.data.examples import Examples
from throughtime.data.frames import polars, read_frame
from throughtime.data.labelled_objects import (
    LABEL_NAMES,
    TEXT_NAMES,
    VALUE_NAMES,
    Roles,
    likeliest,
    listed,
    object_examples,
    read_objects,
)
from throughtime.data.labelled_tables import Table, read_table, table_examples
from throughtime.data.labels import KINDS
from throughtime.data.ts_format import read_ts
from throughtime.errors import InputError

TABLES = (".csv", ".tsv", ".txt")

ENDINGS = (".ts", *TABLES, ".parquet", ".jsonl")
"""Files that are read; but for Parquet, each name may end in `.gz` after it."""

GLANCE = 1 << 16
"""So many characters of a header are looked at, of an object of JSON 64 times as many."""


def read_labelled(
    path: str | os.PathLike[str],
    *,
    label: str | None = None,
    text: str | None = None,
    id: str | None = None,
    time: str | None = None,
    features: tuple[str, ...] = (),
    labels: str | None = None,
    labelled: bool = True,
    encoding: str = "utf-8",
) -> Examples:
    r"""The texts or series of a file, and the class of each.

    - `.csv`, `.tsv`, `.txt` and `.parquet`: a table with a header. In `.tsv` and `.txt` tabs part
      the cells, and `"` is a character.
    - `.jsonl`: an object on each line. A text may be a list of words; a series is a list of
      numbers, or of lists of numbers with one list for each step.
    - `.ts`: the form of the archives of UCR and UEA, see `read_ts`.

    A table with a column of texts gives texts, unless id, time or features are named without text.
    Where ids repeat, rows of one id are one series: in order of time if there is such a column,
    else in that of the file; its numbers are all columns of numbers. In any other table each row is
    a series of one number per step, `value`.

    An empty text is kept as `""`, whoever calls decides about it; an empty series is an error.
    Nothing is left out. A missing number (empty, `?`, NaN, NA, null) is NaN.

    Args:
        path: the file.
        label: the column or field of classes. None: one called label, class, target, y, category,
            sentiment, labels or tags, the first of these that is there.
        text: that of texts. None: one called text, document, sentence, review, content or alike,
            or the only one of words.
        id: that of ids. None: one called id, series, case, sample, name or alike; it makes a long
            table only if it repeats or time is named.
        time: the column of numbers or dates by which the steps of a series are in order. None: one
            called time, step, t, date or alike.
        features: the columns of numbers; of JSON the field of values, or one for each feature.
        labels: `one`, `several` or `steps`, how many classes an example has. None: one; or one
            for each step where they change within an id. Several stand in one cell with `|`, `;`
            or `,` between them (the first of these that occurs in the column), or in a list of
            JSON; none is an empty cell. Those of steps stand in the rows of a long table, in a list
            of JSON, or as words in a table of texts; in a text each word is a step.
        labelled: whether labels are needed. Without, the examples have none, whatever the file has.
        encoding: of files of text.

    Returns:
        Examples; named by their id if there is one, else by the number of their line.

    Errors:
        InputError: another ending, a name that is not there, columns that cannot be told (the line
            lists them), a label that is missing or changes within an id, a list of labels with
            `labels` unsaid, an empty series, a value that is no finite number, or as `read_text`.
        MissingExtra: Parquet needs polars.

    Examples:
        >>> _ = Path("film.csv").write_text("text,label\na good one,yes\n\"no, never\",no\n")
        >>> some = read_labelled("film.csv")
        >>> some.kind, some.values, some.labels
        ('texts', ['a good one', 'no, never'], ['yes', 'no'])
        >>> _ = Path("walk.csv").write_text("id,time,x,label\na,2,5,run\na,1,4,run\nb,1,7,rest\n")
        >>> some = read_labelled("walk.csv")
        >>> some.names, [each.tolist() for each in some.values], some.labels
        (['a', 'b'], [[[4.0], [5.0]], [[7.0]]], ['run', 'rest'])
    """
    path = Path(path)
    if labels is not None and labels not in KINDS:
        raise InputError(f"read_labelled: labels is {labels!r}, expected one of {', '.join(KINDS)}")
    ending = _ending(path)
    if ending not in ENDINGS:
        raise InputError(
            f"read_labelled: path is {os.fspath(path)!r}, expected a name that ends in "
            f"{', '.join(ENDINGS)}, or in .gz after that"
        )
    roles = Roles(label, text, id, time, features, labels, labelled)
    if ending == ".ts":
        return _ts(path, roles, encoding)
    if ending == ".jsonl":
        return read_objects(path, roles, encoding)
    if ending == ".parquet":
        return _parquet(path, roles)
    table = read_table(path, encoding)
    only = table.names[0]
    if ending == ".txt" and len(table.names) == 1 and only != text and only not in TEXT_NAMES:
        raise InputError(
            f"read_labelled: the first line of {path} has no tab, expected names of columns with "
            "tabs between them"
        )
    return table_examples(table, roles)


def read_labelled_parts(folder: str | os.PathLike[str], **options: Any) -> dict[str, Examples]:
    r"""The examples of a folder with a file for each part, such as `x_TRAIN.ts` and `x_TEST.ts`.

    A part is told by a word in the name of its file, as for
    [`read_parts`][throughtime.data.corpus.read_parts]: train or training; valid, validation, val or
    dev; test. Where labels change within a series of one part only, all parts have labels for
    steps.

    Args:
        folder: where the files lie.
        **options: as `read_labelled`, for all parts.

    Returns:
        Examples of `training` and `test`, and of `validation` if there is a file for it.

    Errors:
        InputError: no file for training or test, several for a part, one for two parts, parts of
            another kind or with other features; or as `read_labelled`.

    Examples:
        >>> for part in ("train", "test"):
        ...     _ = Path(f"{part}.csv").write_text(f"text,label\na {part},yes\n")
        >>> {part: some.values for part, some in read_labelled_parts(".").items()}
        {'training': ['a train'], 'test': ['a test']}
    """
    if not Path(folder).is_dir():
        raise InputError(f"read_labelled_parts: there is no folder {folder}")
    paths = _part_paths(Path(folder))
    parts = {part: read_labelled(path, **options) for part, path in paths.items()}
    if options.get("labels") is None:
        forms = {part: bool(some.labels) and isinstance(some.labels[0], list)
                 for part, some in parts.items()}  # fmt: skip
        for part in parts if any(forms.values()) else ():
            if not forms[part] and parts[part].labels is not None:
                parts[part] = read_labelled(paths[part], **{**options, "labels": "steps"})
    first, *others = parts
    for part in others:
        for name in ("kind", "features"):
            one, other = (getattr(parts[each], name) for each in (first, part))
            if one != other:
                raise InputError(
                    f"read_labelled_parts: {paths[first].name} has {_told(name, one)}, "
                    f"{paths[part].name} has {_told(name, other)}; expected the same in all parts"
                )
    return parts


def is_labelled(path: str | os.PathLike[str]) -> bool:
    r"""Whether a file, or a folder with one for each part, is surely labelled data.

    That is a `.ts` file; a table with a column called as classes and one called as texts are; or
    JSON whose first object has classes, and a text or values. Only the beginning is read.

    Args:
        path: a file or a folder; anything is allowed.

    Examples:
        >>> _ = Path("a.csv").write_text("id,review,sentiment\n1,fine,good\n")
        >>> is_labelled("a.csv"), is_labelled("nothing.csv")
        (True, False)
    """
    path = Path(path)
    try:
        if path.is_dir():
            found = _part_paths(path).values()
            return all(is_labelled(each) for each in found)
        ending = _ending(path)
        if ending == ".ts" or ending not in ENDINGS or not path.is_file():
            return ending == ".ts" and path.is_file()
        if ending == ".parquet":
            return False
        return _looks_labelled(path, ending)
    # What cannot be read is not surely anything.
    except (OSError, EOFError, ValueError, RecursionError, zlib.error, csv.Error):
        return False


def _looks_labelled(path: Path, ending: str) -> bool:
    """Whether the names at the beginning of a file are those of classes and what they are of."""
    size = GLANCE * 64 if ending == ".jsonl" else GLANCE
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig", errors="replace") as file:
        line = ""
        while not line.strip():
            line = file.readline(size)
            if not line:
                return False
    if ending == ".jsonl":
        first = json.loads(line)
        names = [*first] if isinstance(first, dict) else []
        likely = (*TEXT_NAMES, *VALUE_NAMES)
    else:
        mark = "\t" if ending != ".csv" else max(",;\t", key=line.count)
        quoted = csv.QUOTE_MINIMAL if ending == ".csv" else csv.QUOTE_NONE
        row = next(csv.reader([line], delimiter=mark, quoting=quoted))
        names, likely = [cell.strip() for cell in row], TEXT_NAMES
    lowered = {name.lower() for name in names}
    # Source and target are the two sides of a pair.
    taken = {name for name in names if "source" in lowered and name.lower() == "target"}
    return all(likeliest(names, each, taken) is not None for each in (LABEL_NAMES, likely))


def _ending(path: Path) -> str:
    """The ending that counts: `.ts` of `x.ts.gz`."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def _ts(path: Path, roles: Roles, encoding: str) -> Examples:
    for name in ("label", "text", "id", "time", "features"):
        if getattr(roles, name):
            raise InputError(
                f"read_labelled: {name} is {getattr(roles, name)!r}, expected none for {path}: a "
                ".ts file names no columns"
            )
    if roles.labels in ("several", "steps"):
        raise InputError(
            f"read_labelled: labels is {roles.labels!r}, expected 'one' for {path}: a .ts file has "
            "one class for each series"
        )
    return read_ts(path, labelled=roles.labelled, encoding=encoding)


def _parquet(path: Path, roles: Roles) -> Examples:
    """A table, or objects where cells are lists."""
    frame, pl = read_frame(path), polars()
    numbers = [*range(1, frame.height + 1)]
    if any(isinstance(kind, pl.List | pl.Array) for kind in frame.dtypes):
        return object_examples(path, frame.to_dicts(), numbers, roles, "row")
    rows = [[_cell(value) for value in row] for row in frame.iter_rows()]
    return table_examples(Table(path, tuple(frame.columns), rows, numbers, unit="row"), roles)


def _cell(value: Any) -> str:
    """A value as a file of text would have it."""
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _told(name: str, value: Any) -> str:
    """The kind or the features of a part, for errors."""
    return value if name == "kind" else f"features {listed(value)}"


def _readable(folder: Path) -> dict[str, list[Path]]:
    """Files of each part whose ending is known."""
    return {
        part: [path for path in paths if _ending(path) in ENDINGS]
        for part, paths in candidates(folder).items()
    }


def _part_paths(folder: Path) -> dict[str, Path]:
    """The file of each part."""
    found: dict[str, Path] = {}
    for part, paths in _readable(folder).items():
        if len(paths) > 1 or (not paths and part != "validation"):
            came = ", ".join(path.name for path in paths[:4]) or "none"
            words = " or ".join(sorted(PART_WORDS[part]))
            raise InputError(
                f"read_labelled_parts: {folder} has for {part}: {came}; expected one file with the "
                f"word {words} in its name that ends in {', '.join(ENDINGS)} (or .gz after it)"
            )
        for path in paths:
            twice = next((other for other in found if found[other] == path), None)
            if twice is not None:
                raise InputError(
                    f"read_labelled_parts: {path} is for {twice} and {part} by its name, expected "
                    "a file for each"
                )
            found[part] = path
    return found
