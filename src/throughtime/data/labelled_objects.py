"""Labelled texts and series as JSON, an object on each line; and names of fields and columns.

    {"text": "a good film", "label": "yes"}
    {"id": "a", "values": [[1, 0.5], [2, null]], "label": ["rest", "walk"]}

Values are numbers, one for each step, or a list of them for each step; null is a missing one.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from throughtime.data.examples import Examples
from throughtime.data.reading import read_lines
from throughtime.data.ts_format import MISSING, short
from throughtime.errors import InputError

LABEL_NAMES = ("label", "class", "target", "y", "category", "sentiment", "labels", "tags")
"""Names a column or field of classes is likely to have, the likeliest first; and so below."""

TEXT_NAMES = (
    "text", "document", "sentence", "review", "content", "message", "comment", "tweet",
    "utterance", "body", "headline", "title", "description", "words", "tokens",
)  # fmt: skip

VALUE_NAMES = ("values", "series", "sequence")

ID_NAMES = (
    "id", "series", "case", "sample", "name", "unique_id", "series_id", "case_id", "sample_id",
    "item_id",
)  # fmt: skip

TIME_NAMES = ("time", "step", "t", "date", "datetime", "timestamp", "ds", "index")

SEPARATORS = "|;,"
"""What may stand between the classes of one cell; the first that occurs counts."""


@dataclass(frozen=True)
class Roles:
    """Which columns or fields are what, as far as the user says it; see `read_labelled`."""

    label: str | None = None
    text: str | None = None
    id: str | None = None
    time: str | None = None
    features: tuple[str, ...] = ()
    labels: str | None = None
    labelled: bool = True

    @property
    def named(self) -> set[str]:
        """All names that have a role, but the label's."""
        return {*self.features} | {each for each in (self.text, self.id, self.time) if each}

    def check(self, path: Path, names: Sequence[str]) -> None:
        """Refuse what is not there, one name for two roles, and roles that exclude each other."""
        said = [("features", name) for name in self.features]
        said += [(role, getattr(self, role)) for role in ("text", "id", "time", "label")]
        seen: dict[str, str] = {}
        for role, name in said:
            if name is None:
                continue
            if name in seen:
                raise InputError(
                    f"read_labelled: {short(name)!r} is named as {seen[name]} and as {role}, "
                    "expected different names"
                )
            seen[name] = role
            if name not in names and (role != "label" or self.labelled):
                raise InputError(
                    f"read_labelled: {role} is {short(name)!r}, expected a name from {path}, which "
                    f"has {listed(names)}"
                )
        other = "time" if self.time else "features"
        if self.text and (self.time or self.features):
            raise InputError(
                f"read_labelled: text is {self.text!r} and {other} is {getattr(self, other)!r}, "
                f"expected one of them: texts have no {other}"
            )

    def label_of(self, path: Path, names: Sequence[str], note: str = "") -> str | None:
        """The name of the classes; None where there are none and none are needed.

        Errors:
            InputError: there are none; the line lists all names.
        """
        if self.label is not None:
            return self.label if self.label in names else None
        found = likeliest(names, LABEL_NAMES, self.named)
        if found is None and self.labelled:
            raise InputError(
                f"read_labelled: {path} has nothing called {', '.join(LABEL_NAMES)}; expected "
                f"label, the name of what holds the classes; it has {listed(names)}{note}"
            )
        return found


def listed(names: Sequence[str]) -> str:
    """Names for errors; a few of many."""
    shown = [short(name) if name else "''" for name in names[:12]]
    return ", ".join(shown) + (", ..." if len(names) > 12 else "") or "none"


def likeliest(names: Sequence[str], likely: Sequence[str], taken: set[str]) -> str | None:
    """The likeliest name that is there, in small or capital letters, and has no other role.

    Examples:
        >>> likeliest(["Y", "Label", "x"], LABEL_NAMES, set())
        'Label'
    """
    there = {name.lower(): name for name in reversed(names) if name not in taken}
    return next((there[name] for name in likely if name in there), None)


def several(cells: Sequence[str]) -> list[tuple[str, ...]]:
    """Cells that hold any number of classes.

    Examples:
        >>> several(["rock; pop", "", "jazz, blues"])
        [('rock', 'pop'), (), ('jazz, blues',)]
    """
    mark = next((mark for mark in SEPARATORS if any(mark in cell for cell in cells)), None)
    split = [cell.split(mark) if mark else [cell] for cell in cells]
    stripped = [[name.strip() for name in names] for names in split]
    return [tuple(dict.fromkeys(name for name in names if name)) for names in stripped]


def check_steps(where: str, labels: Sequence[str], steps: int, of: str) -> None:
    """Refuse other than one label for each step of a series, or word of a text."""
    if len(labels) != steps:
        raise InputError(
            f"{where} has {len(labels):,} labels and {steps:,} {of}, expected one for each"
        )


def read_objects(path: Path, roles: Roles, encoding: str = "utf-8") -> Examples:
    r"""The examples of a file with an object of JSON on each line; blank lines are left out.

    Args:
        path: the file, perhaps packed.
        roles: which fields are what.
        encoding: of the file.

    Errors:
        InputError: a line that is no object, or as `object_examples` and `read_text`.

    Examples:
        >>> _ = Path("a.jsonl").write_text('{"words": ["a", "dog"], "tags": ["DET", "NOUN"]}\n')
        >>> some = read_objects(Path("a.jsonl"), Roles(labels="steps"))
        >>> some.values, some.labels
        (['a dog'], [['DET', 'NOUN']])
    """
    objects, lines = [], []
    for number, line in enumerate(read_lines("read_labelled", path, encoding), 1):
        if not line.strip():
            continue
        where = f"read_labelled: line {number:,} of {path}"
        try:
            whole = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where} is not JSON ({error}): {short(line)}") from None
        if not isinstance(whole, dict):
            raise InputError(f"{where} is {short(line)}, expected an object")
        objects.append(whole)
        lines.append(number)
    return object_examples(path, objects, lines, roles)


def object_examples(
    path: Path,
    objects: Sequence[dict[str, Any]],
    lines: Sequence[int],
    roles: Roles,
    unit: str = "line",
) -> Examples:
    """The examples that objects are: a text or a series in each.

    Args:
        path: the file they are of, for errors.
        objects: fields by name.
        lines: where each stands.
        roles: which fields are what.
        unit: what `lines` count.

    Errors:
        InputError: fields that are not there or cannot be told, an empty series, values of other
            forms, or labels that are missing or of another form than asked for.
    """
    names = list(dict.fromkeys(name for each in objects for name in each))
    roles.check(path, names)
    if roles.time is not None:
        raise InputError(
            f"read_labelled: time is {roles.time!r}, expected none for {path}: each of its series "
            "is a list in the order of its steps"
        )
    label = roles.label_of(path, names)
    text, fields = _fields(path, objects, names, roles, label)
    wheres = [f"read_labelled: {unit} {line:,} of {path}" for line in lines]
    features: tuple[str, ...] = ()
    if text is not None:
        values = [_text(*each, text) for each in zip(wheres, objects, strict=True)]
    else:
        values = [_series(*each, fields) for each in zip(wheres, objects, strict=True)]
        features = _features(wheres, values, fields)
    labels = None
    if label is not None and roles.labelled:
        labels = [
            _label(where, whole, label, roles.labels, value)
            for where, whole, value in zip(wheres, objects, values, strict=True)
        ]
    taken = {name for name in (label, text, *fields) if name}
    ids = roles.id or likeliest(names, ID_NAMES, taken)
    found = [str(line) for line in lines]
    if ids is not None:
        given = ["" if each.get(ids) is None else str(each[ids]) for each in objects]
        # One that was only guessed has to be one.
        found = given if roles.id or (all(given) and len(set(given)) == len(given)) else found
    return Examples("texts" if text is not None else "series", values, labels, found, features)


def _fields(
    path: Path,
    objects: Sequence[dict[str, Any]],
    names: Sequence[str],
    roles: Roles,
    label: str | None,
) -> tuple[str | None, tuple[str, ...]]:
    """The field of the text, or those of the values."""
    if roles.text or roles.features:
        return roles.text, roles.features
    taken = {label or "", roles.id or ""}
    text, values = likeliest(names, TEXT_NAMES, taken), likeliest(names, VALUE_NAMES, taken)
    if text is not None and values is not None:
        raise InputError(
            f"read_labelled: {path} has {text!r} and {values!r}, expected text or features with "
            "the name of one"
        )
    if text is None and values is None:
        strings = [name for name in names if isinstance(objects[0].get(name), str)]
        strings = [name for name in strings if name not in taken and name.lower() not in ID_NAMES]
        if len(strings) != 1:
            raise InputError(
                f"read_labelled: {path} has neither text nor values, expected text or features "
                f"with the name of a field; it has {listed(names)}"
            )
        text = strings[0]
    return text, (values,) if values is not None else ()


def _text(where: str, whole: dict[str, Any], name: str) -> str:
    """A text, without white space at its ends; words become one, null an empty one."""
    value = whole.get(name)
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        value = " ".join(value)
    if value is None:
        value = ""
    if not isinstance(value, str):
        raise InputError(
            f"{where} has {short(repr(value))} as {name!r}, expected a text or a list of words"
        )
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InputError(f"{where} has half a character in {name!r}, expected text") from None
    return value.strip()


def _series(where: str, whole: dict[str, Any], fields: Sequence[str]) -> NDArray[np.float64]:
    """`[time, features]` of one field, or of several with a feature each."""
    columns: list[NDArray[np.float64]] = []
    for name in fields:
        value, at = whole.get(name), f"{where}: {name!r}"
        if not isinstance(value, list):
            raise InputError(f"{at} is {short(repr(value))}, expected a list of numbers")
        if not value:
            raise InputError(f"{at} is an empty sequence, expected at least one step")
        nested = isinstance(value[0], list)
        rows = value if nested else [[each] for each in value]
        width = len(rows[0])
        for step, row in enumerate(rows):
            if not isinstance(row, list) or len(row) != width or not width:
                came = f"{len(row)} numbers" if isinstance(row, list) else short(repr(row))
                raise InputError(f"{at} has {came} at step {step}, expected {width or 'some'}")
        if width > 1 and len(fields) > 1:
            raise InputError(
                f"{at} has {width} numbers at a step, expected one in each of several features"
            )
        flat = [_number(at, step, each) for step, row in enumerate(rows) for each in row]
        columns.append(np.array(flat, dtype=np.float64).reshape(len(rows), width))
        if len(columns[-1]) != len(columns[0]):
            raise InputError(
                f"{at} has {len(columns[-1]):,} steps and {fields[0]!r} {len(columns[0]):,}, "
                "expected as many"
            )
    return np.concatenate(columns, axis=1)


def _number(where: str, step: int, value: Any) -> float:
    if value is None or (isinstance(value, str) and value.strip().lower() in MISSING):
        return math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isinf(number):
            return number
    raise InputError(
        f"{where} has {short(json.dumps(value, default=str))} at step {step}, expected a finite "
        "number, or null where it is missing"
    )


def _features(
    wheres: Sequence[str], values: Sequence[NDArray[np.float64]], fields: Sequence[str]
) -> tuple[str, ...]:
    """Names of a series' numbers; all series have as many."""
    width = values[0].shape[1]
    for where, value in zip(wheres, values, strict=True):
        if value.shape[1] != width:
            raise InputError(
                f"{where} has {value.shape[1]} numbers at each step, expected {width} as before it"
            )
    if len(fields) > 1:
        return tuple(fields)
    return ("value",) if width == 1 else tuple(f"dim_{at}" for at in range(width))


def _label(where: str, whole: dict[str, Any], name: str, labels: str | None, value: Any) -> Any:
    """The label of an example, in the form asked for."""
    said = whole.get(name)
    if labels == "several":
        each = said if isinstance(said, list) else [said]
        return tuple(dict.fromkeys(one for one in (_class(where, name, n) for n in each) if one))
    if labels == "steps":
        if not isinstance(said, list):
            raise InputError(
                f"{where} has {short(repr(said))} as {name!r}, expected a list, one for each step"
            )
        found = [_class(where, name, each) for each in said]
        if isinstance(value, str):
            check_steps(where, found, len(value.split()), "words")
        else:
            check_steps(where, found, len(value), "steps")
        return found
    if isinstance(said, list):
        hint = "" if labels else "; say --labels several, or --labels steps for one at each step"
        raise InputError(
            f"{where} has a list of {len(said):,} as {name!r}, expected one class{hint}"
        )
    found = _class(where, name, said)
    if not found:
        raise InputError(f"{where} has no {name!r}, expected a class")
    return found


def _class(where: str, name: str, said: Any) -> str:
    """What a class is called; empty where there is none."""
    if isinstance(said, str):
        return said.strip()
    if said is not None and not isinstance(said, bool | int | float):
        raise InputError(f"{where} has {short(repr(said))} in {name!r}, expected a class")
    return "" if said is None else json.dumps(said)
