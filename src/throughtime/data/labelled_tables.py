"""Labelled texts and series in tables: a row for each, or for each step of a series.

    review,label        id,time,x,y,label        v0,v1,v2,class
    a good film,1       a,0,1.5,2,walk           1,2,3,up
    never again,0       a,1,1.6,2,walk           3,2,1,down

From the left: texts; a long table of series, whose rows with one id are one series; and a wide
table, each row of which is a series of one number per step.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from throughtime.data.examples import Examples
from throughtime.data.labelled_objects import (
    ID_NAMES,
    TEXT_NAMES,
    TIME_NAMES,
    Roles,
    check_steps,
    likeliest,
    listed,
    several,
)
from throughtime.data.reading import read_lines
from throughtime.data.ts_format import moment, number, short, to_numbers
from throughtime.errors import InputError

SAMPLE = 1000
"""So many cells tell what a column holds."""


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of text under names.

    Attributes:
        path: the file.
        names: of the columns.
        rows: cells of each row, as many as there are names.
        lines: the number of each row's line in the file.
        header: whether the file has the names; else they were made up.
        unit: what `lines` count.
    """

    path: Path
    names: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]
    header: bool = True
    unit: str = "line"

    @cached_property
    def places(self) -> dict[str, int]:
        """From name to column."""
        return {name: at for at, name in enumerate(self.names)}

    @cached_property
    def kinds(self) -> dict[str, str]:
        """What each column holds, by its first cells: `numbers`, `words`, or `nothing`."""
        return {name: _kind(self.rows, at) for name, at in self.places.items()}

    def column(self, name: str) -> list[str]:
        """Cells of a column, without white space at their ends."""
        at = self.places[name]
        return [row[at].strip() for row in self.rows]

    def where(self, row: int) -> str:
        """What an error on a row begins with."""
        return f"read_labelled: {self.unit} {self.lines[row]:,} of {self.path}"

    @property
    def listed(self) -> str:
        """Its columns, for errors."""
        return f"it has {listed(self.names)}{self.note}"

    @property
    def note(self) -> str:
        """Why its columns are called so."""
        return "" if self.header else " (made up, the first line is no header)"


def read_table(path: Path, encoding: str = "utf-8") -> Table:
    r"""A `.csv`, or a `.tsv` or `.txt` with tabs, in which nothing is a quotation mark.

    A first line of numbers only is no header: columns are `column_1`, `column_2` and so on.

    Args:
        path: the file, perhaps packed.
        encoding: of its characters.

    Errors:
        InputError: no rows, a row of another length, two columns with one name, quotation marks
            that do not end; or as `read_text`.

    Examples:
        >>> _ = Path("a.tsv").write_text("text\tlabel\n\"so\tbad\n")
        >>> read_table(Path("a.tsv")).rows
        [['"so', 'bad']]
    """
    lines = read_lines("read_labelled", path, encoding)
    while not lines[-1].strip(" \r"):
        lines.pop()
    tabs = not path.name.lower().removesuffix(".gz").endswith(".csv")
    found = _tabs(lines) if tabs else _commas(path, lines)
    first, head = next((each for each in found if any(map(str.strip, each[1]))), (1, []))
    if not head:
        raise InputError(f"read_labelled: {path} has empty cells only, expected names of columns")
    head = [cell.strip() for cell in head]
    header = not all(number(cell) is not None for cell in head)
    names = head if header else [f"column_{at}" for at in range(1, len(head) + 1)]
    twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
    if twice is not None:
        raise InputError(
            f"read_labelled: line {first} of {path} calls two columns {short(twice)!r}, expected "
            "different names"
        )
    table = Table(path, tuple(names), [] if header else [head], [] if header else [first], header)
    for line, row in found:
        # A blank line is no row, unless it could be the empty cell of an only column.
        row = row or [""]
        if len(head) > len(row) == 1 and not row[0].strip():
            continue
        if len(row) != len(head):
            raise InputError(
                f"read_labelled: line {line:,} of {path} has {len(row)} columns, expected "
                f"{len(head)} as in line {first}"
            )
        table.rows.append(row)
        table.lines.append(line)
    if not table.rows:
        raise InputError(f"read_labelled: {path} has the names of columns and no rows")
    return table


def table_examples(table: Table, roles: Roles) -> Examples:
    """What a table holds: texts or series, and their classes; see `read_labelled`.

    Args:
        table: the rows.
        roles: which columns are what.

    Errors:
        InputError: columns that are not there or cannot be told, labels that are missing or of
            another form, or cells that are no numbers.

    Examples:
        >>> table = Table(Path("a.csv"), ("v0", "v1", "y"), [["1", "2", "up"]], [2])
        >>> found = table_examples(table, Roles())
        >>> found.kind, found.values[0].tolist(), found.labels
        ('series', [[1.0], [2.0]], ['up'])
    """
    roles.check(table.path, table.names)
    label = roles.label_of(table.path, table.names, table.note)
    id_, long = _id(table, roles, label)
    text = _text(table, roles, label, long=long)
    if text is not None:
        return _texts(table, roles, label, text, id_)
    if long:
        assert id_ is not None
        return _long(table, roles, label, id_)
    return _wide(table, roles, label, id_)


def _texts(table: Table, roles: Roles, label: str | None, text: str, id_: str | None) -> Examples:
    values = table.column(text)
    if label is not None and roles.labelled and roles.labels == "steps":
        labels = [cell.split() for cell in table.column(label)]
        for row, (each, value) in enumerate(zip(labels, values, strict=True)):
            check_steps(table.where(row), each, len(value.split()), "words")
    else:
        labels = _row_labels(table, roles, label)
    return Examples("texts", values, labels, _names(table, roles, id_))


def _wide(table: Table, roles: Roles, label: str | None, id_: str | None) -> Examples:
    """A series in each row."""
    if roles.time is not None:
        raise InputError(
            f"read_labelled: time is {roles.time!r}, expected id as well, with the column that "
            f"tells the series of {table.path} apart; {table.listed}"
        )
    if roles.labels == "steps":
        raise InputError(
            "read_labelled: labels is 'steps', expected one or several: each row of "
            f"{table.path} is a whole series; rows that are steps need an id that repeats"
        )
    features = roles.features or _numeric(table, {label, id_}, ("numbers", "nothing"))
    if not roles.features and not any(table.kinds[name] == "numbers" for name in features):
        raise InputError(
            f"read_labelled: {table.path} has no numbers besides id and label, expected series, or "
            f"text with the name of a column of texts; {table.listed}"
        )

    def series(row: int) -> NDArray[np.float64]:
        cells = [table.rows[row][table.places[name]] for name in features]
        return to_numbers(cells, lambda step: f"{table.where(row)}: {features[step]!r}")[:, None]

    labels = _row_labels(table, roles, label)
    values = [*map(series, range(len(table.rows)))]
    return Examples("series", values, labels, _names(table, roles, id_), ("value",))


def _long(table: Table, roles: Roles, label: str | None, id_: str) -> Examples:
    """A step in each row."""
    likely = [
        name for name in _called(table, TIME_NAMES) if name not in (label, id_, *roles.features)
    ]
    # One that does not begin with a time is none.
    times = [name for name in likely if moment(table.column(name)[0]) is not None]
    time = roles.time or next(iter(times), None)
    features = roles.features or _numeric(table, {label, id_, time, *_called(table, ID_NAMES)})
    if not features:
        raise InputError(
            f"read_labelled: {table.path} has no columns of numbers besides id, time and label, "
            f"expected features; {table.listed}"
        )
    where = table.where
    matrix = np.stack([
        to_numbers(table.column(name), lambda row, name=name: f"{where(row)}: {name!r}")
        for name in features
    ], axis=1)  # fmt: skip
    groups = _groups(table, id_, time)
    labels = _group_labels(table, roles, label, groups)
    return Examples(
        "series", [matrix[rows] for rows in groups.values()], labels, list(groups), features
    )


def _groups(table: Table, id_: str, time: str | None) -> dict[str, list[int]]:
    """Rows of each series in order of time."""
    groups: dict[str, list[int]] = {}
    for row, name in enumerate(table.column(id_)):
        if not name:
            raise InputError(f"{table.where(row)} has no {id_!r}, expected which series it is of")
        groups.setdefault(name, []).append(row)
    if time is None:
        return groups
    when = _times(table, time)
    for name, rows in groups.items():
        rows.sort(key=when.__getitem__)
        for first, second in pairwise(rows):
            if when[first] == when[second]:
                raise InputError(
                    f"{table.where(second)} has the {time!r} of {table.unit} "
                    f"{table.lines[first]:,}, expected different ones within {short(name)!r}"
                )
    return groups


def _group_labels(
    table: Table, roles: Roles, label: str | None, groups: dict[str, list[int]]
) -> list[Any] | None:
    """One label for each series, or one for each of its steps."""
    if label is None or not roles.labelled:
        return None
    cells = table.column(label)
    changing = {name: {cells[row] for row in rows} for name, rows in groups.items()}
    changed = next((name for name, found in changing.items() if len(found) > 1), None)
    if roles.labels == "steps" or (roles.labels is None and changed is not None):
        return [[cells[row] for row in rows] for rows in groups.values()]
    if changed is not None:
        rows = groups[changed]
        row = next(row for row in rows if cells[row] != cells[rows[0]])
        raise InputError(
            f"{table.where(row)} has {label!r} {short(cells[row])!r}, expected "
            f"{short(cells[rows[0]])!r} as in other rows of {short(changed)!r}, or labels 'steps'"
        )
    return _row_labels(table, roles, label, [rows[0] for rows in groups.values()])


def _row_labels(
    table: Table, roles: Roles, label: str | None, rows: Sequence[int] | None = None
) -> list[Any] | None:
    """Cells of some rows to one class each, or several; None where labels are not wanted."""
    if label is None or not roles.labelled:
        return None
    column = table.column(label)
    rows = range(len(column)) if rows is None else rows
    cells = [column[row] for row in rows]
    if roles.labels == "several":
        return several(cells)
    if not all(cells):
        row = rows[cells.index("")]
        raise InputError(f"{table.where(row)} has no {label!r}, expected a class")
    return cells


def _id(table: Table, roles: Roles, label: str | None) -> tuple[str | None, bool]:
    """The column of ids, and whether each row is only a step."""
    taken = {label, *roles.named}
    likely = [name for name in _called(table, ID_NAMES) if name not in taken]
    likely = [roles.id] if roles.id is not None else likely
    for name in likely:
        if len(set(table.column(name))) < len(table.rows):
            return name, True
    found = likely[0] if likely else None
    return found, found is not None and roles.time is not None


def _names(table: Table, roles: Roles, id_: str | None) -> list[str]:
    """Ids of rows, else their lines: an id that was only guessed has to be one."""
    ids = table.column(id_) if id_ is not None else []
    own = all(ids) and len(set(ids)) == len(table.rows)
    return ids if own or roles.id else [str(line) for line in table.lines]


def _text(table: Table, roles: Roles, label: str | None, *, long: bool) -> str | None:
    """The column of texts; None where there is none."""
    if roles.named:
        return roles.text
    words = [name for name, kind in table.kinds.items() if kind == "words" and name != label]
    numbers = _numeric(table, {label, *_called(table, ID_NAMES)})
    texts = [name for name in table.names if name in words or name.lower() == "text"]
    named = likeliest(texts, TEXT_NAMES, {label or ""})
    if named is not None:
        return named
    words = [name for name in words if name.lower() not in ID_NAMES + TIME_NAMES]
    if len(words) > 1 and not (long and numbers):
        raise InputError(
            f"read_labelled: {table.path} has several columns of words, expected text with the "
            f"name of one, or features with those of numbers; {listed(words)}"
        )
    return words[0] if words and not (long and numbers) else None


def _numeric(
    table: Table, taken: set[str | None], kinds: tuple[str, ...] = ("numbers",)
) -> tuple[str, ...]:
    """Columns of numbers with a name and no role."""
    free = [name for name in table.names if name and name not in taken]
    return tuple(name for name in free if table.kinds[name] in kinds)


def _called(table: Table, likely: Sequence[str]) -> list[str]:
    return [name for each in likely for name in table.names if name.lower() == each]


def _times(table: Table, time: str) -> list[float]:
    """Moments to sort by: all numbers or all dates."""
    cells = table.column(time)
    kinds: set[bool] = set()
    found: list[float] = []
    for row, cell in enumerate(cells):
        at = moment(cell)
        kinds.add(number(cell) is None)
        if at is None or len(kinds) > 1:
            raise InputError(
                f"{table.where(row)} has {short(cell)!r} as {time!r}, expected numbers in "
                "all rows, or in all dates such as 2026-01-31 08:00"
            )
        found.append(at)
    return found


def _kind(rows: list[list[str]], at: int) -> str:
    count = words = 0
    for row in rows:
        value = number(row[at])
        if value is None or not np.isnan(value):
            count += 1
            words += value is None
        if count == SAMPLE:
            break
    return "nothing" if not count else "numbers" if words * 2 < count else "words"


def _tabs(lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    return ((line, text.split("\t")) for line, text in enumerate(lines, 1))


def _commas(path: Path, lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Rows of CSV and the line on which each begins; its mark is the first line's commonest."""
    first = next(line for line in lines if line.strip())
    mark = max(",;\t", key=first.count)
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=mark, strict=True)
    begins, rows = [1], []
    # The bound on the length of a cell is one for the whole process.
    bound = csv.field_size_limit(1 << 30)
    try:
        for row in reader:
            rows.append(row)
            begins.append(reader.line_num + 1)
    except csv.Error as error:
        raise InputError(
            f"read_labelled: line {begins[-1]:,} of {path} is no row of CSV ({error}); within "
            "quotation marks one is doubled"
        ) from None
    finally:
        csv.field_size_limit(bound)
    return zip(begins, rows, strict=False)
