"""Pairs of ids to batches: rows of like lengths, as many as a number of tokens allows.

A target stands in a batch twice, as it is and one step later with a begin marker in front:

    source    y_1   y_2  ...  end
    inputs   begin  x_1  ...  x_T
    targets   x_1   x_2  ...  end
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from throughtime.data.arrays import Lazily, check_positive, generator
from throughtime.errors import InputError
from throughtime.shapes import Tensor

LOPSIDED = 10
"""Tokens that one side must be longer by to count as lopsided: short pairs are often uneven."""

REASONS = ("blank", "too long", "lopsided")


class Filtered(NamedTuple):
    """Which pairs are kept.

    Attributes:
        kept: their indices, in order.
        dropped: how many others there are for each of `REASONS`.
    """

    kept: np.ndarray
    dropped: dict[str, int]


def filter_pairs(
    sources: Sequence[np.ndarray],
    targets: Sequence[np.ndarray],
    longest: int = 256,
    ratio: float = 9.0,
) -> Filtered:
    """Leave out training pairs that teach nothing, or the wrong thing. Never to be used on a test.

    Blank pairs have a side without tokens. Too long ones have a side of more than `longest`. In
    lopsided ones a side has more than `ratio` times the tokens of the other, and at least
    10 more: such lines seldom belong together. A pair is counted once, in this order.

    Args:
        sources: ids of each source, with its end, which does not count here.
        targets: ids of each target, likewise.
        longest: tokens of either side.
        ratio: of the longer side to the shorter.

    Errors:
        InputError: numbers of sources and targets that differ, `longest` or `ratio` below 1.

    Examples:
        >>> sides = [np.zeros(length, int) for length in (5, 1, 3)]
        >>> filter_pairs(sides, sides, longest=3)
        Filtered(kept=array([2]), dropped={'blank': 1, 'too long': 1, 'lopsided': 0})
    """
    _check_same("filter_pairs", sources, targets)
    check_positive("filter_pairs", longest=longest)
    if not ratio >= 1:
        raise InputError(f"filter_pairs: ratio is {ratio}, expected a number of at least 1")
    a, b = (_lengths(side) - 1 for side in (sources, targets))
    low, high = np.minimum(a, b), np.maximum(a, b)
    blank = low < 1
    long = ~blank & (high > longest)
    lopsided = ~blank & ~long & (high > ratio * low) & (high - low >= LOPSIDED)
    counts = (int(each.sum()) for each in (blank, long, lopsided))
    return Filtered(
        np.flatnonzero(~(blank | long | lopsided)), dict(zip(REASONS, counts, strict=True))
    )


@dataclass(frozen=True, eq=False)
class PairBatch:
    """Pairs side by side.

    Attributes:
        source: `[batch, source_time]` token ids; padding is 0.
        source_mask: `[batch, source_time]`, True where a token is real.
        inputs: `[batch, time]`, the target one step later, the begin id in front; padding is 0.
        targets: `[batch, time]`, what is predicted; padding is -1.
        mask: `[batch, time]`, True where a step of the target is real.
    """

    source: Tensor
    source_mask: Tensor
    inputs: Tensor
    targets: Tensor
    mask: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, and steps of the target with padding."""
        return self.inputs.shape[0], self.inputs.shape[1]

    @property
    def steps(self) -> int:
        """Real steps of the target over all rows."""
        return int(self.mask.sum())

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> "PairBatch":
        """The batch elsewhere; `dtype` is for numbers, and ids keep theirs."""
        move: Callable[[Tensor], Tensor] = lambda part: part.to(device=device)  # noqa: E731
        return replace(self, **{name: move(part) for name, part in vars(self).items()})

    def narrow(self, start: int, stop: int) -> "PairBatch":
        """Refuses: a target is predicted from its whole source, in one piece.

        Errors:
            InputError: any part but the whole.
        """
        if (start, stop) != (0, self.shape[1]):
            raise InputError(
                f"narrow: steps {start} to {stop} of {self.shape[1]}, but pairs are not cut in "
                "time; expected truncation full, or truncated without a depth"
            )
        return self


class PairBatches:
    """Shuffled batches of pairs: a `Source` in which every `Windows` is one batch.

    Pairs of like lengths lie together: they are sorted by the length of the source, then of the
    target, in turns up and down so that neighbours differ little, and cut where a batch is full.
    From epoch to epoch the order of the batches differs, and which of the pairs of equal lengths
    fall into one; how many batches there are, and of which shapes, stays.

    Args:
        sources: `[time]` ids of each source.
        targets: `[time]` ids of each target, its end included.
        begin: the id that stands before a target; all ids of targets are below it.
        tokens: of a batch at most, padding and both sides counted: rows times the sum of the
            longest source and the longest target. A pair that is longer is a batch of its own.
        seed: of the shuffling; the order depends on it and on the epoch's number alone.
        shuffle: False keeps one order for all epochs, short pairs first (for validation).

    Attributes:
        source_lengths: `[pairs]`, tokens of each source.
        target_lengths: `[pairs]`, tokens of each target.

    Errors:
        InputError: no pairs, other numbers of sources than of targets, a side without ids or with
            ids that cannot be.

    Examples:
        >>> sides = [np.arange(length) for length in (2, 5, 3)]
        >>> source = PairBatches(sides, sides, begin=9, tokens=12, shuffle=False)
        >>> [(first,), (second,)] = source.epoch(0)
        >>> first.inputs.tolist(), first.targets.tolist()
        ([[9, 0, 0], [9, 0, 1]], [[0, 1, -1], [0, 1, 2]])
    """

    def __init__(
        self,
        sources: Sequence[np.ndarray],
        targets: Sequence[np.ndarray],
        begin: int,
        *,
        tokens: int = 4096,
        seed: int = 0,
        shuffle: bool = True,
    ) -> None:
        check_positive("PairBatches", begin=begin, tokens=tokens)
        _check_same("PairBatches", sources, targets)
        if not len(sources):
            raise InputError("PairBatches: sources are empty, expected at least one pair")
        self.begin = begin
        self.tokens = tokens
        self.seed = seed
        self.shuffle = shuffle
        self._sources, self._targets = (
            _Rows("source", sources, None),
            _Rows("target", targets, begin),
        )
        self.source_lengths = self._sources.lengths
        self.target_lengths = self._targets.lengths
        # Odd lengths of sources run up, even ones down: where one ends the next one's targets are
        # as long, and a batch over the border needs little padding.
        a, b = self.source_lengths, self.target_lengths
        self._keys = (np.where(a % 2, b, -b), a)
        self._cuts = self._cut(np.lexsort(self._keys))

    def epoch(self, number: int) -> Sequence[Sequence[PairBatch]]:
        """The batches of epoch `number`, each made when it is asked for."""
        random = generator("PairBatches", self.seed, number)
        count = len(self._cuts) - 1
        if not self.shuffle:
            return Lazily(count, partial(self._windows, np.lexsort(self._keys), np.arange(count)))
        ties = random.random(len(self.source_lengths))
        order = np.lexsort((ties, *self._keys))
        return Lazily(count, partial(self._windows, order, random.permutation(count)))

    @property
    def padding(self) -> float:
        """The share of an epoch's tokens that is padding, from 0 to 1, both sides counted."""
        order, starts = np.lexsort(self._keys), self._cuts[:-1]
        sides = (self.source_lengths, self.target_lengths)
        longest = sum(np.maximum.reduceat(side[order], starts) for side in sides)
        real = sum(int(side.sum()) for side in sides)
        return 1 - real / int((np.diff(self._cuts) * longest).sum())

    def _cut(self, order: np.ndarray) -> np.ndarray:
        """Where batches begin among the sorted pairs, and the end."""
        cuts, rows, a, b = [0], 0, 0, 0
        lengths = zip(
            self.source_lengths[order].tolist(), self.target_lengths[order].tolist(), strict=True
        )
        for at, (source, target) in enumerate(lengths):
            a, b, rows = max(a, source), max(b, target), rows + 1
            if rows > 1 and rows * (a + b) > self.tokens:
                cuts.append(at)
                a, b, rows = source, target, 1
        return np.array([*cuts, len(order)])

    def _windows(self, order: np.ndarray, batches: np.ndarray, index: int) -> tuple[PairBatch]:
        at = batches[index]
        rows = order[self._cuts[at] : self._cuts[at + 1]]
        source, source_mask = self._sources.padded(rows, 0)
        targets, mask = self._targets.padded(rows, -1)
        inputs = np.where(mask, np.roll(targets, 1, axis=1), 0)
        inputs[:, 0] = self.begin
        parts = (source, source_mask, inputs, targets, mask)
        return (PairBatch(*map(torch.from_numpy, parts)),)


class _Rows:
    """Rows of ids, one after another in memory."""

    def __init__(self, side: str, rows: Sequence[np.ndarray], limit: int | None) -> None:
        self.lengths = _lengths(rows)
        if (self.lengths < 1).any():
            raise InputError(
                f"PairBatches: {side} {int(self.lengths.argmin())} has no ids, expected at least "
                "its end"
            )
        for number, row in enumerate(rows):
            if row.ndim != 1 or row.dtype.kind not in "iu":
                raise InputError(
                    f"PairBatches: {side} {number} has {row.dtype} values of shape "
                    f"{list(row.shape)}, expected whole numbers [time]"
                )
        self.ids = np.concatenate(rows).astype(np.int64)
        self.starts = np.cumsum([0, *self.lengths[:-1]])
        wrong = self.ids < 0 if limit is None else (self.ids < 0) | (self.ids >= limit)
        if wrong.any():
            at = int(wrong.argmax())
            row = int(np.searchsorted(self.starts, at, side="right")) - 1
            expected = "from 0 on" if limit is None else f"0 to {limit - 1}"
            raise InputError(
                f"PairBatches: {side} {row} has id {self.ids[at]}, expected {expected}"
            )

    def padded(self, rows: np.ndarray, fill: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows as a rectangle `[batch, time]`, and where it is real."""
        lengths = self.lengths[rows, None]
        steps = np.arange(lengths.max())
        mask = steps < lengths
        whole = np.full(mask.shape, fill, dtype=np.int64)
        whole[mask] = self.ids[(self.starts[rows, None] + steps)[mask]]
        return whole, mask


def _lengths(rows: Sequence[np.ndarray]) -> np.ndarray:
    return np.fromiter((len(row) for row in rows), np.int64, len(rows))


def _check_same(what: str, sources: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> None:
    if len(sources) != len(targets):
        raise InputError(
            f"{what}: there are {len(sources):,} sources and {len(targets):,} targets, expected as "
            "many"
        )
