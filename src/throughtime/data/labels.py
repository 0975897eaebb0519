"""What classes are called, and which number each has: for labels what vocabularies are for text."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from throughtime.data.examples import Examples, Label
from throughtime.errors import InputError

KINDS = ("one", "several", "steps")
"""How many classes an example has: one, any number, or one for each of its steps."""

UNKNOWN = -1
"""The number of a step whose class nobody knows."""

FORMAT = 1


@dataclass(frozen=True)
class Labels:
    """Names of classes and their numbers.

    Attributes:
        names: of the classes, each at the place of its number.
        kind: `one`, `several` or `steps`.

    Errors:
        InputError: fewer than two classes (of `several`: none), one that occurs twice, or another
            kind.

    Examples:
        >>> labels = Labels.fit(["cat", "dog", "cat"])
        >>> labels.names, labels.encode(["dog"]).tolist()
        (('cat', 'dog'), [1])
    """

    names: tuple[str, ...]
    kind: str = "one"

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        if self.kind not in KINDS:
            raise InputError(f"labels are {self.kind!r}, expected one of {', '.join(KINDS)}")
        if len(set(self.names)) < len(self.names):
            twice = Counter(self.names).most_common(1)[0][0]
            raise InputError(f"the class {twice!r} occurs twice, expected different classes")
        if not self.names:
            raise InputError("there is no class, expected at least one label")
        if len(self.names) == 1 and self.kind != "several":
            raise InputError(
                f"all examples are of one class, {self.names[0]!r}; expected at least two: there "
                "is nothing to tell apart"
            )

    @classmethod
    def fit(cls, labels: Sequence[Label]) -> "Labels":
        """The classes of the training part: numbers in their order, else words in theirs.

        Errors:
            InputError: labels of different forms, or as the class.
        """
        kind = labelling(labels)
        every: Any = labels if kind == "one" else (name for each in labels for name in each if name)
        return cls(tuple(sorted(set(every), key=_order)), kind)

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """From name to number."""
        return {name: number for number, name in enumerate(self.names)}

    def encode(self, labels: Sequence[Label], where: str = "") -> Any:
        """Numbers of labels.

        Args:
            labels: of the form they were fitted to.
            where: what they are labels of, for errors.

        Returns:
            `[rows]` of numbers; of `several` `[rows, classes]` of 0 and 1; of `steps` a list of
            `[time]`, -1 where the class is unknown.

        Errors:
            InputError: a class that training does not know, or another form.
        """
        if labels and labelling(labels) != self.kind:
            raise InputError(
                f"{where or 'labels'}: there is {FORMS[labelling(labels)]}, expected "
                f"{FORMS[self.kind]} as in training"
            )
        if self.kind == "one":
            return np.array([self._number(label, where) for label in labels], dtype=np.int64)
        if self.kind == "several":
            table = np.zeros((len(labels), len(self)), dtype=np.float32)
            for row, each in enumerate(labels):
                table[row, [self._number(label, where) for label in each]] = 1
            return table
        return [
            np.array([self._number(one, where) if one else UNKNOWN for one in each], dtype=np.int64)
            for each in labels
        ]

    def _number(self, label: Any, where: str) -> int:
        if label not in self.numbers:
            known = ", ".join(self.names[:8]) + (", ..." if len(self.names) > 8 else "")
            raise InputError(
                f"{where or 'labels'}: the class {label!r} does not occur in training, which has "
                f"{known}"
            )
        return self.numbers[label]

    def to_json(self) -> str:
        """As text."""
        return json.dumps({"format": FORMAT, **asdict(self)}, ensure_ascii=False, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Labels":
        """What `to_json` wrote.

        Errors:
            InputError: not such a text, or written by a newer throughtime.
        """
        try:
            fields = json.loads(text)
            written = fields.pop("format")
            if written > FORMAT:
                raise InputError(
                    f"labels: written by a newer throughtime (format {written}, this one reads up "
                    f"to {FORMAT}); update throughtime"
                )
            return cls(tuple(map(str, fields["names"])), str(fields["kind"]))
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"labels: damaged, not the classes of a run ({error})") from None


FORMS = {
    "one": "one class for each example",
    "several": "any number of classes for each example",
    "steps": "a class for each step",
}


def labelling(labels: Sequence[Label]) -> str:
    """Which form labels have: one class, several, or one for each step.

    Errors:
        InputError: none, or several forms.
    """
    forms = {str: "one", tuple: "several", list: "steps"}
    found = {forms.get(type(label), "") for label in labels}
    if len(found) != 1 or "" in found:
        raise InputError(f"labels have {len(found)} forms, expected one of {', '.join(KINDS)}")
    return found.pop()


def check_missing(labels: Labels, parts: Sequence[tuple[str, Examples]]) -> None:
    """Refuse parts with classes that training has not: no model could ever give them.

    Errors:
        InputError: the class, the part, and how many examples it has there.
    """
    for name, part in parts:
        every = [
            one
            for each in part.labels or []
            for one in ([each] if isinstance(each, str) else each)
            if one
        ]
        missing = Counter(one for one in every if one not in labels.numbers)
        if missing:
            label, count = missing.most_common(1)[0]
            raise InputError(
                f"the class {label!r} is missing from training, the {name} part has {count:,} of it"
            )


def _order(name: str) -> tuple[int, float, str]:
    """Numbers before words, each in their order."""
    try:
        return 0, float(name), name
    except ValueError:
        return 1, 0.0, name
