"""Examples to batches: rows of like lengths, each with what class it is of."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn.functional import one_hot

from throughtime.data.arrays import Lazily, check_positive, generator
from throughtime.data.augment import Augment
from throughtime.data.labels import UNKNOWN
from throughtime.errors import InputError
from throughtime.shapes import Tensor

BATCHES_PER_BUCKET = 32
"""Batches that are shuffled among each other; more mix better, fewer pad less."""


@dataclass(frozen=True, eq=False)
class ExampleBatch:
    """Examples side by side.

    Attributes:
        x: `[batch, time]` token ids, padding 0; `[batch, time, features]` of numbers, NaN where
            one is missing and in padding; or `[batch, channels, height, width]` of pixels.
        targets: `[batch]` numbers of classes; `[batch, classes]` of shares, from 0 to 1; or, where
            each step has a class, `[batch, time]`, -1 where unknown and in padding.
        mask: `[batch, time]`, True where a step is real; None: all are.
    """

    x: Tensor
    targets: Tensor
    mask: Tensor | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, and steps with padding; an image counts as one step."""
        return self.x.shape[0], 1 if self.x.ndim == 4 else self.x.shape[1]

    @property
    def steps(self) -> int:
        """Real steps over all rows."""
        rows, time = self.shape
        return rows * time if self.mask is None else int(self.mask.sum())

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> "ExampleBatch":
        """The batch elsewhere; `dtype` is for numbers: ids and whole pixels keep theirs."""

        def move(part: Tensor | None) -> Tensor | None:
            if part is None:
                return None
            return part.to(device=device, dtype=dtype if part.is_floating_point() else None)

        x, targets = move(self.x), move(self.targets)
        assert x is not None
        assert targets is not None
        return replace(self, x=x, targets=targets, mask=move(self.mask))

    def narrow(self, start: int, stop: int) -> "ExampleBatch":
        """Refuses: an example has its class as a whole.

        Errors:
            InputError: any part but the whole.
        """
        if (start, stop) != (0, self.shape[1]):
            raise InputError(
                f"narrow: steps {start} to {stop} of {self.shape[1]}, but examples are not cut in "
                "time; expected truncation full, or truncated without a depth"
            )
        return self


class ExampleBatches:
    """Shuffled batches of examples: a `Source` in which every `Windows` is one batch.

    Rows are shuffled, gathered in buckets of some batches, sorted by length within each and cut:
    rows of like lengths lie together, and which ones do changes from epoch to epoch.

    Args:
        values: of each example `[time]` ids or `[time, features]` numbers; or all images, uint8
            `[rows, channels, height, width]`.
        targets: `[rows]` numbers of classes, `[rows, classes]` of 0 and 1, or a list of `[time]`.
        rows: of a batch.
        seed: of the shuffling; the order depends on it and on the epoch's number alone.
        shuffle: False keeps one order for all epochs, short rows first (for validation).
        augment: how images are altered each time they are seen; None leaves them.
        classes: how many; only where images are mixed.

    Attributes:
        lengths: `[rows]`, steps of each.

    Errors:
        InputError: no rows, one without steps, or other numbers of values than of targets.

    Examples:
        >>> values = [np.arange(length) for length in (2, 5, 3)]
        >>> source = ExampleBatches(values, np.array([0, 1, 0]), rows=2, shuffle=False)
        >>> [(first,), (second,)] = source.epoch(0)
        >>> first.x.tolist(), first.targets.tolist()
        ([[0, 1, 0], [0, 1, 2]], [0, 0])
    """

    def __init__(
        self,
        values: Sequence[np.ndarray] | np.ndarray,
        targets: Any,
        *,
        rows: int = 32,
        seed: int = 0,
        shuffle: bool = True,
        augment: Augment | None = None,
        classes: int = 0,
    ) -> None:
        check_positive("ExampleBatches", rows=rows)
        if not len(values):
            raise InputError("ExampleBatches: values are empty, expected at least one example")
        if len(values) != len(targets):
            raise InputError(
                f"ExampleBatches: there are {len(values):,} values and {len(targets):,} targets, "
                "expected as many"
            )
        self.values = values
        self.targets: Any = targets
        self.rows = rows
        self.seed = seed
        self.shuffle = shuffle
        self.augment = augment
        self.classes = classes
        self.images = values if isinstance(values, np.ndarray) else None
        self.lengths = (
            np.ones(len(values), int)
            if self.images is not None
            else np.fromiter((len(value) for value in values), int, len(values))
        )
        if (self.lengths < 1).any():
            raise InputError(
                f"ExampleBatches: row {int(self.lengths.argmin())} has no steps, expected at least "
                "one"
            )

    def epoch(self, number: int) -> Sequence[Sequence[ExampleBatch]]:
        """The batches of epoch `number`, each made when it is asked for."""
        batches = self._batches(number)
        return Lazily(len(batches), partial(self._windows, number, batches))

    @property
    def padding(self) -> float:
        """The share of the first epoch's steps that is padding, from 0 to 1."""
        padded = sum(len(rows) * int(self.lengths[rows].max()) for rows in self._batches(0))
        return 1 - int(self.lengths.sum()) / padded

    def _batches(self, number: int) -> list[np.ndarray]:
        """Which rows make up each batch."""
        random = generator("ExampleBatches", self.seed, number)
        count = len(self.lengths)
        if not self.shuffle:
            order = np.argsort(self.lengths, kind="stable")
            return [order[at : at + self.rows] for at in range(0, count, self.rows)]
        order = random.permutation(count)
        size = self.rows * BATCHES_PER_BUCKET
        batches = []
        for start in range(0, count, size):
            bucket = order[start : start + size]
            bucket = bucket[np.argsort(self.lengths[bucket], kind="stable")]
            batches += [bucket[at : at + self.rows] for at in range(0, len(bucket), self.rows)]
        return [batches[at] for at in random.permutation(len(batches))]

    def _windows(self, number: int, batches: list[np.ndarray], index: int) -> tuple[ExampleBatch]:
        rows = batches[index]
        if self.images is not None:
            targets = torch.from_numpy(self.targets[rows])
            return (self._altered(torch.from_numpy(self.images[rows]), targets, number, index),)
        lengths = self.lengths[rows]
        time = int(lengths.max())
        mask = torch.from_numpy(np.arange(time) < lengths[:, None])
        x = _padded([self.values[row] for row in rows], time)
        if isinstance(self.targets, np.ndarray):
            targets = torch.from_numpy(self.targets[rows])
        else:
            targets = _padded([self.targets[row] for row in rows], time, UNKNOWN)
        return (ExampleBatch(x, targets, None if bool(mask.all()) else mask),)

    def _altered(self, images: Tensor, targets: Tensor, number: int, index: int) -> ExampleBatch:
        """Images as they are seen this time: the same whenever this batch is asked for again."""
        if self.augment is None:
            return ExampleBatch(images, targets)
        seed = np.random.SeedSequence([self.seed, number, index]).generate_state(1, np.uint64)[0]
        random = torch.Generator().manual_seed(int(seed >> np.uint64(1)))
        images = self.augment(images, random)
        if self.augment.mixup:
            shares = targets if targets.ndim == 2 else one_hot(targets, self.classes)
            return ExampleBatch(*self.augment.mix(images, shares.float(), random))
        return ExampleBatch(images, targets)


def _padded(rows: Sequence[np.ndarray], time: int, fill: int = 0) -> Tensor:
    """Rows as a rectangle `[batch, time, ...]`; numbers are padded by NaN."""
    numbers = rows[0].dtype.kind == "f"
    whole = np.full(
        (len(rows), time, *rows[0].shape[1:]), np.nan if numbers else fill, dtype=rows[0].dtype
    )
    for place, row in zip(whole, rows, strict=True):
        place[: len(row)] = row
    return torch.from_numpy(whole)
