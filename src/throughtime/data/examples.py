"""Examples with labels: texts, series of any length, or images, and what class each is of."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from throughtime.data.sources import cut_points
from throughtime.errors import InputError

KINDS = ("texts", "series", "images")

HELD_OUT = 0.1
"""The share of a training part that is held out where there is no validation part."""

Label = str | tuple[str, ...] | list[str]
"""One class; several, or none, as a tuple; or one for each step as a list, "" where unknown."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Rows to tell the classes of, and these where they are known.

    Attributes:
        kind: `texts`, `series` or `images`.
        values: texts; or of each series its numbers `[time, features]`, NaN where one is missing;
            or images, uint8 `[images, channels, height, width]`.
        labels: of each; None where nobody knows them. All of one form, see `Label`.
        names: of each, by which it is found again: a file, an id, or the line it stands on.
        features: names of a series' numbers.

    Errors:
        InputError: other numbers of values, labels and names, or values of another form.

    Examples:
        >>> some = Examples("texts", ["good", "bad"], ["yes", "no"], ["1", "2"])
        >>> len(some), some.take([1]).values
        (2, ['bad'])
    """

    kind: str
    values: Any
    labels: list[Any] | None
    names: list[str]
    features: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"Examples: kind is {self.kind!r}, expected one of {', '.join(KINDS)}")
        for name, those in (("labels", self.labels), ("names", self.names)):
            if those is not None and len(those) != len(self.values):
                raise InputError(
                    f"Examples: there are {len(self.values):,} values and {len(those):,} {name}, "
                    "expected as many"
                )
        if self.kind == "images" and (
            getattr(self.values, "ndim", 0) != 4 or self.values.dtype != np.uint8
        ):
            raise InputError(
                "Examples: images are uint8 of shape [images, channels, height, width], got "
                f"{getattr(self.values, 'dtype', type(self.values).__name__)} of shape "
                f"{list(getattr(self.values, 'shape', []))}"
            )
        if self.kind == "series":
            for name, one in zip(self.names, self.values, strict=True):
                if one.ndim != 2 or one.shape[1] != len(self.features):
                    raise InputError(
                        f"Examples: {name} has numbers of shape {list(one.shape)}, expected "
                        f"[time, {len(self.features)}], one for each of {list(self.features)}"
                    )

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: Sequence[int] | np.ndarray) -> "Examples":
        """Some of them, in the order asked for."""
        values = self.values
        return replace(
            self,
            values=values[np.asarray(rows, int)] if self.kind == "images" else [
                values[row] for row in rows
            ],
            labels=None if self.labels is None else [self.labels[row] for row in rows],
            names=[self.names[row] for row in rows],
        )  # fmt: skip

    @property
    def lengths(self) -> np.ndarray:
        """Characters of each text, or steps of each series; of images 1."""
        if self.kind == "images":
            return np.ones(len(self), int)
        return np.fromiter((len(value) for value in self.values), int, len(self))


class ExampleParts(NamedTuple):
    """Examples in three parts.

    Attributes:
        training: what is learnt from.
        validation: what training is watched on.
        test: what is judged on.
    """

    training: Examples
    validation: Examples
    test: Examples


def split_examples(
    examples: Examples, fractions: Sequence[float] = (0.7, 0.1, 0.2), seed: int = 0
) -> ExampleParts:
    """Training, validation and test; each class has the same share of all of them.

    Within a class the order is that of a hash of what the example holds: files are often sorted,
    and the same file is cut alike everywhere. Within a part the order of the file stays. An example
    with several labels, or one for each step, is placed by the rarest of them, which training has
    to know as well.

    Args:
        examples: all, with labels.
        fractions: of training, validation and test; they sum to 1.
        seed: another one gives another split.

    Errors:
        InputError: not three fractions that are positive and sum to 1, no labels, or too few
            examples for one in each part.

    Examples:
        >>> some = Examples("texts", list("abcdefghij"), ["x", "y"] * 5, list("0123456789"))
        >>> [len(part) for part in split_examples(some, (0.6, 0.2, 0.2))]
        [6, 2, 2]
    """
    if len(fractions) != 3:
        raise InputError(f"split_examples: fractions are {list(fractions)}, expected three")
    parts = cut_examples(examples, fractions, seed)
    return ExampleParts(*parts)


def hold_out(
    examples: Examples, share: float = HELD_OUT, seed: int = 0
) -> tuple[Examples, Examples]:
    """Training and validation out of a training part that came without; as `split_examples`."""
    kept, held = cut_examples(examples, (1 - share, share), seed)
    return kept, held


def cut_examples(examples: Examples, fractions: Sequence[float], seed: int) -> list[Examples]:
    """As many parts as there are fractions."""
    if examples.labels is None:
        raise InputError("split_examples: examples have no labels, expected them")
    rows: dict[str, list[int]] = {}
    for row, label in enumerate(_placing(examples.labels)):
        rows.setdefault(label, []).append(row)
    found: list[list[int]] = [[] for _ in fractions]
    # Class after class, cut where the whole order is cut: a rare class has its share too.
    order = [
        row
        for label in sorted(rows)
        for row in sorted(rows[label], key=lambda row: _rank(examples.values[row], seed))
    ]
    turns = _turns([len(rows[label]) for label in sorted(rows)])
    placed = [order[at] for at in turns]
    cuts = cut_points("split_examples", len(placed), fractions)
    for at, part in enumerate(found):
        part += sorted(placed[cuts[at] : cuts[at + 1]])
    return [examples.take(part) for part in found]


def _placing(labels: Sequence[Any]) -> list[str]:
    """The label of each example by which it is placed: its own, or the rarest of several.

    Examples:
        >>> _placing([("a", "b"), ("a",), ()])
        ['b', 'a', '']
    """
    every = [{label} if isinstance(label, str) else {*label} - {""} for label in labels]
    counts = Counter(one for each in every for one in each)
    return [min(each, key=lambda one: (counts[one], one), default="") for each in every]


def _turns(counts: Iterable[int]) -> list[int]:
    """Places of sorted classes in an order in which each is spread evenly.

    Examples:
        >>> _turns([2, 4])
        [2, 0, 3, 4, 1, 5]
    """
    spread, start = [], 0
    for count in counts:
        spread += [((at + 0.5) / count, start + at) for at in range(count)]
        start += count
    return [place for _, place in sorted(spread)]


def _rank(value: Any, seed: int) -> bytes:
    """A place by chance, the same on every machine."""
    said = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value.tobytes()
    return hashlib.blake2b(said, digest_size=8, key=seed.to_bytes(8, "little")).digest()
