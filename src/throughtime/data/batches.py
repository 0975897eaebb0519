"""What training eats: a batch, windows of it in time, and shuffled batches of unequal rows.

A model predicts each step from the ones before it, so a batch holds the sequence twice: `targets`
as it is and `inputs` one step later, with a begin marker in front,

    targets   x_1    x_2  x_3  ...  x_T
    inputs   begin   x_1  x_2  ...  x_{T-1}
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from throughtime.data.arrays import (
    Lazily,
    as_covariates,
    as_values,
    check_positive,
    generator,
    pad,
    shift_right,
)
from throughtime.errors import InputError
from throughtime.shapes import Bool, Int, Tensor

BATCHES_PER_BUCKET = 8
"""Batches that are shuffled among each other; more mix better, fewer pad less."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of a sequence, one step apart.

    Attributes:
        inputs: what the model sees, the value before: `[batch, time]` token ids (the begin id
            is the size of the vocabulary), or `[batch, time, features]` numbers (the begin row is
            NaN).
        targets: what it predicts, of the same form; NaN is a missing number.
        mask: `[batch, time]`, True where a step is real. None: every step is.
        reset: `[batch, time]`, True where a new sequence begins; there inputs hold the begin
            marker. None: nowhere.
        covariates: `[batch, time, columns]`, known ahead of time, aligned with `targets`: row t
            belongs to the step being predicted. None: there are none.
    """

    inputs: Tensor
    targets: Tensor
    mask: Tensor | None = None
    reset: Tensor | None = None
    covariates: Tensor | None = None

    def __post_init__(self) -> None:
        if self.inputs.ndim < 2:
            raise InputError(
                f"Batch: inputs have shape {list(self.inputs.shape)}, expected [batch, time, ...]"
            )
        for name, part in self._parts().items():
            if part.shape[:2] != self.inputs.shape[:2]:
                raise InputError(
                    f"Batch: {name} has shape {list(part.shape)}, expected [batch, time] = "
                    f"{list(self.shape)} in front, as inputs have"
                )
            if name in ("mask", "reset") and (part.dtype != torch.bool or part.ndim != 2):
                raise InputError(
                    f"Batch: {name} is {part.dtype} of shape {list(part.shape)}, expected "
                    "torch.bool [batch, time]"
                )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, and steps of time with padding."""
        return self.inputs.shape[0], self.inputs.shape[1]

    @property
    def steps(self) -> int:
        """Real steps over all rows."""
        return math.prod(self.shape) if self.mask is None else int(self.mask.sum())

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> "Batch":
        """The batch elsewhere, or its floating-point parts in another type; ids keep theirs."""
        return self._map(
            lambda part: part.to(device=device, dtype=dtype if part.is_floating_point() else None)
        )

    def narrow(self, start: int, stop: int) -> "Batch":
        """Steps `start` to `stop` of time, without copying.

        Errors:
            InputError: steps outside the batch.
        """
        if not 0 <= start <= stop <= self.shape[1]:
            raise InputError(
                f"narrow: steps {start} to {stop} do not lie within 0 to {self.shape[1]}"
            )
        return self._map(lambda part: part[:, start:stop])

    def _parts(self) -> dict[str, Tensor]:
        return {name: part for name, part in vars(self).items() if part is not None}

    def _map(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        return replace(self, **{name: function(part) for name, part in self._parts().items()})


@runtime_checkable
class Windows(Protocol):
    """The same rows window after window in time, the state carried from each to the next.

    Any window may be asked for at any time, and is the same each time.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Batch: ...


@runtime_checkable
class Source(Protocol):
    """Where training gets its data: for every epoch a sequence of `Windows`.

    Each `Windows` starts from the initial state. The same epoch is the same data, always.
    """

    def epoch(self, number: int) -> Sequence[Windows]:
        """What epoch `number`, counted from 0, consists of."""
        ...


def mask_from_lengths(
    lengths: Int[Tensor, " batch"] | Sequence[int], time: int | None = None
) -> Bool[Tensor, "batch time"]:
    """True in the first `lengths[b]` steps of each row: the mask of padding on the right.

    Args:
        lengths: real steps per row.
        time: steps of the mask; the longest row's by default.

    Errors:
        InputError: a length below zero or beyond `time`.

    Examples:
        >>> mask_from_lengths([1, 3]).int().tolist()
        [[1, 0, 0], [1, 1, 1]]
    """
    lengths = torch.as_tensor(lengths, dtype=torch.long)
    if lengths.ndim != 1:
        raise InputError(
            f"mask_from_lengths: lengths have shape {list(lengths.shape)}, expected [batch]"
        )
    shortest, longest = (int(lengths.min()), int(lengths.max())) if len(lengths) else (0, 0)
    time = longest if time is None else time
    if shortest < 0 or longest > time:
        raise InputError(
            f"mask_from_lengths: lengths run from {shortest} to {longest}, expected 0 to {time}"
        )
    return torch.arange(time, device=lengths.device) < lengths.unsqueeze(1)


@dataclass(frozen=True, eq=False)
class Record:
    """One sequence.

    Attributes:
        values: `[time]` token ids, or `[time]` or `[time, features]` numbers; NaN is missing.
        covariates: `[time, columns]` numbers known ahead of time, or None.
    """

    values: np.ndarray
    covariates: np.ndarray | None = None


@dataclass(frozen=True)
class PaddingReport:
    """How much of an epoch of ragged batches is padding.

    Attributes:
        rows: sequences.
        batches: batches of rows.
        buckets: groups of like length, among which nothing is mixed.
        steps: real steps.
        padded_steps: steps that only fill up shorter rows.
        shortest: steps of the shortest row.
        longest: steps of the longest row.
    """

    rows: int
    batches: int
    buckets: int
    steps: int
    padded_steps: int
    shortest: int
    longest: int

    @property
    def share(self) -> float:
        """Padded steps among all steps, 0 to 1."""
        return self.padded_steps / (self.steps + self.padded_steps)

    def __str__(self) -> str:
        return (
            f"{self.rows:,} sequences of {self.shortest:,} to {self.longest:,} steps "
            f"({self.steps:,} in all) in {self.batches:,} batches from {self.buckets:,} "
            f"length buckets; {self.share:.1%} of the steps are padding"
        )


class RaggedBatches:
    """Shuffled batches of sequences of unequal length: a `Source`.

    Sequences are sorted by length into buckets of a few batches each. Every epoch shuffles inside
    the buckets, cuts them into batches, and shuffles the batches; rows of a batch are so of like
    length and need little padding. A batch of rows is one `Windows`: from its first window to
    its last the state is carried, and where a row has ended its steps are masked.

    Args:
        records: the sequences. They are asked for when their batch is, so a `Sequence` that
            loads in `__getitem__` keeps one batch in memory.
        batch_size: rows per batch; only the last batch of the longest rows may have fewer.
        window: steps per window; None is all steps in one window.
        begin: the id that marks a beginning, for token ids. None: values are numbers, and a
            beginning is a row of NaN.
        seed: of the shuffling; the order depends on it and on the epoch's number alone.
        shuffle: False keeps one order for all epochs, short rows first (for validation).
        lengths: steps of each record. None: each record is read once to see.
        dtype: of numbers.

    Errors:
        InputError: no records, a record without steps or of another form than the first, ids
            outside the vocabulary, infinite numbers.

    Examples:
        >>> records = [Record(np.arange(length)) for length in (2, 5, 3)]
        >>> source = RaggedBatches(records, batch_size=2, begin=9, shuffle=False)
        >>> [windows] = source.epoch(0)[:1]
        >>> windows[0].inputs.tolist(), windows[0].mask.sum(1).tolist()
        ([[9, 0, 0], [9, 0, 1]], [2, 3])
    """

    def __init__(
        self,
        records: Sequence[Record],
        batch_size: int,
        window: int | None = None,
        *,
        begin: int | None = None,
        seed: int = 0,
        shuffle: bool = True,
        lengths: Sequence[int] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        check_positive("RaggedBatches", batch_size=batch_size, window=window)
        if not len(records):
            raise InputError("RaggedBatches: records are empty, expected at least one sequence")
        if lengths is None:
            lengths = [len(records[index].values) for index in range(len(records))]
        if len(lengths) != len(records):
            raise InputError(
                f"RaggedBatches: there are {len(lengths)} lengths for {len(records)} records"
            )
        self.records = records
        self.batch_size = batch_size
        self.window = window
        self.begin = begin
        self.seed = seed
        self.shuffle = shuffle
        self.lengths = np.asarray(lengths, dtype=np.int64)
        self.dtype = dtype
        if (self.lengths < 1).any():
            raise InputError(
                f"RaggedBatches: record {int(self.lengths.argmin())} has no steps, "
                "expected at least 1"
            )

    def epoch(self, number: int) -> Sequence[Windows]:
        """The batches of epoch `number`, each a `Windows` of its rows."""
        batches = self._batches(number)
        return Lazily(len(batches), partial(self._windows, batches))

    def padding_report(self, number: int = 0) -> PaddingReport:
        """How much of epoch `number` is padding; reads no records."""
        batches = self._batches(number)
        laid_out = sum(len(rows) * int(self.lengths[rows].max()) for rows in batches)
        steps = int(self.lengths.sum())
        return PaddingReport(
            rows=len(self.records),
            batches=len(batches),
            buckets=len(self._buckets()),
            steps=steps,
            padded_steps=laid_out - steps,
            shortest=int(self.lengths.min()),
            longest=int(self.lengths.max()),
        )

    def _buckets(self) -> list[np.ndarray]:
        order = np.argsort(self.lengths, kind="stable")
        size = BATCHES_PER_BUCKET * self.batch_size
        return [order[start : start + size] for start in range(0, len(order), size)]

    def _batches(self, number: int) -> list[np.ndarray]:
        random = generator("RaggedBatches", self.seed, number)
        batches = []
        for bucket in self._buckets():
            rows = random.permutation(bucket) if self.shuffle else bucket
            batches += [
                rows[start : start + self.batch_size]
                for start in range(0, len(rows), self.batch_size)
            ]
        order = random.permutation(len(batches)) if self.shuffle else range(len(batches))
        return [batches[index] for index in order]

    def _windows(self, batches: list[np.ndarray], index: int) -> Windows:
        rows = _Rows(self, batches[index])
        return Lazily(-(-rows.time // rows.window), rows.cut)


class _Rows:
    """One batch of rows, read when the first window is asked for."""

    def __init__(self, source: RaggedBatches, chosen: np.ndarray) -> None:
        self.source = source
        self.chosen = chosen
        self.lengths = source.lengths[chosen]
        self.time = int(self.lengths.max())
        self.window = min(source.window or self.time, self.time)

    def cut(self, index: int) -> Batch:
        start = index * self.window
        stop = min(start + self.window, self.time)
        batch = self.whole.narrow(start, stop)
        if stop <= self.lengths.min():
            batch = replace(batch, mask=None)
        return batch if start == 0 else replace(batch, reset=None)

    @cached_property
    def whole(self) -> Batch:
        source = self.source
        values, covariates = [], []
        for number, length in zip(self.chosen.tolist(), self.lengths.tolist(), strict=True):
            record, name = source.records[number], f"RaggedBatches: record {number}"
            if len(record.values) != length:
                raise InputError(f"{name} has {len(record.values)} steps, lengths say {length}")
            values.append(as_values(name, record.values, source.begin, source.dtype))
            if record.covariates is not None:
                covariates.append(as_covariates(name, record.covariates, length, source.dtype))
            if values[-1].shape[1:] != values[0].shape[1:] or (
                len(covariates) not in (0, len(values))
                or (covariates and covariates[-1].shape[1] != covariates[0].shape[1])
            ):
                raise InputError(f"{name} has other columns than record {int(self.chosen[0])}")
        mask = mask_from_lengths(self.lengths.tolist(), self.time)
        reset = torch.zeros_like(mask)
        reset[:, 0] = True
        return Batch(
            inputs=pad([shift_right(row[None], source.begin)[0] for row in values], self.time),
            targets=pad(values, self.time),
            mask=mask,
            reset=reset,
            covariates=pad(covariates, self.time, fill=0) if covariates else None,
        )
