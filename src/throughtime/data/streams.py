"""Streams: one long sequence, or many, as rows that go on from window to window.

A sequence of N steps is cut into B parts that follow each other. Row b of every window is the next
stretch of part b, so the state at the end of a window is the state the next one needs:

    row 0:  [ x_1     ... | x_{k+1}   ... | ...  x_{N/B}  ]
    row 1:  [ x_{N/B+1} ..|       ...     | ...  x_{2N/B} ]
              window 0      window 1

Only the window asked for is read, and nothing is kept, so memory does not grow with N.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from throughtime.data.arrays import (
    Lazily,
    as_covariates,
    as_values,
    begin_value,
    check_positive,
    generator,
    shift_right,
)
from throughtime.data.batches import Batch, Windows, mask_from_lengths
from throughtime.data.convert import to_npy
from throughtime.data.sources import (
    ArraySource,
    ConcatenatedSource,
    FileSource,
    SlicedSource,
    StepSource,
    split_source,
    starts_of,
)
from throughtime.errors import InputError
from throughtime.shapes import Tensor

__all__ = [
    "ArraySource",
    "ConcatenatedSource",
    "FileSource",
    "SlicedSource",
    "StepSource",
    "Streams",
    "split_source",
    "to_npy",
]


class Streams:
    """B parallel streams out of one long sequence: a `Source` with one `Windows` per epoch.

    The parts differ in length by at most one step; where one is short, its last step in the last
    window is masked. A part's first step begins a new sequence as far as the model can know, and so
    does each of the sequence's own `starts`: there `reset` is True, the input the begin marker.

    Args:
        sequence: what has a length and `read(start, stop)`, such as a `FileSource`; several of
            them are laid one after another, each beginning anew.
        batch_size: B, the number of rows.
        window: steps per window; None is the whole part in one window.
        begin: the id that marks a beginning, for token ids. None: values are numbers, and a
            beginning is a row of NaN.
        covariates: known ahead of time, of the same length as the sequence; one or several, too.
        shift: True moves the borders of the windows from epoch to epoch, by making the first one
            shorter; every epoch still holds every step once.
        seed: of the shift; it depends on this and on the epoch's number alone.
        dtype: of numbers.

    Errors:
        InputError: fewer steps than rows, covariates of another length. When a window is read:
            ids outside the vocabulary, infinite numbers.

    Examples:
        >>> streams = Streams(ArraySource(np.arange(10)), batch_size=2, window=3, begin=10)
        >>> [windows] = streams.epoch(0)
        >>> windows[1].targets.tolist(), windows[1].inputs.tolist()
        ([[3, 4], [8, 9]], [[2, 3], [7, 8]])
    """

    def __init__(
        self,
        sequence: StepSource | Sequence[StepSource],
        batch_size: int,
        window: int | None = None,
        *,
        begin: int | None = None,
        covariates: StepSource | Sequence[StepSource] | None = None,
        shift: bool = False,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        check_positive("Streams", batch_size=batch_size, window=window)
        self.sequence = _one(sequence)
        self.covariates = None if covariates is None else _one(covariates)
        self.batch_size = batch_size
        self.begin = begin
        self.shift = shift
        self.seed = seed
        self.dtype = dtype
        self.steps = len(self.sequence)
        if self.steps < batch_size:
            raise InputError(
                f"Streams: the sequence has {self.steps:,} steps, expected at least one for each "
                f"of batch_size = {batch_size:,} rows"
            )
        if self.covariates is not None and len(self.covariates) != self.steps:
            raise InputError(
                f"Streams: covariates have {len(self.covariates):,} steps, "
                f"the sequence has {self.steps:,}"
            )
        # N = q B + r: the first r parts have q + 1 steps, the others q.
        rows = np.arange(batch_size + 1)
        self.offsets = rows * (self.steps // batch_size) + np.minimum(rows, self.steps % batch_size)
        self.lengths = np.diff(self.offsets)
        self.time = int(self.lengths[0])
        self.window = min(window or self.time, self.time)
        self.starts = starts_of(self.sequence)

    def epoch(self, number: int) -> Sequence[Windows]:
        """One `Windows` over the whole sequence."""
        random = generator("Streams", self.seed, number)
        first = int(random.integers(1, self.window + 1)) if self.shift else self.window
        count = 1 + -(-(self.time - first) // self.window)
        return (Lazily(count, partial(self._cut, first)),)

    def _cut(self, first: int, index: int) -> Batch:
        """Window `index`, where the windows are `first`, `window`, `window`, ... steps long."""
        start = 0 if index == 0 else first + (index - 1) * self.window
        stop = min(first + index * self.window, self.time)
        stops = np.minimum(self.lengths, stop)
        begins, ends = self.offsets[:-1] + start, self.offsets[:-1] + stops
        short = stops.min() < stop
        mask = mask_from_lengths((stops - start).tolist(), stop - start) if short else None
        reset = self._resets(begins, ends, stop - start, front=start == 0)
        # The window's first input is the last step of the window before, or the begin marker.
        before = 1 if start else 0
        values = self._values(begins - before, ends, stop - start + before)
        targets = values[:, before:].contiguous()
        inputs = values[:, :-1].clone() if before else shift_right(values, self.begin)
        if reset is not None:
            inputs[reset] = begin_value(self.begin)
        if mask is not None:
            fill = 0 if self.begin is not None else float("nan")
            inputs[~mask] = fill
            targets[~mask] = fill
        return Batch(inputs, targets, mask, reset, self._covariates(begins, ends, stop - start))

    def _resets(
        self, begins: np.ndarray, ends: np.ndarray, time: int, *, front: bool
    ) -> Tensor | None:
        """Where a sequence begins in any row; at the `front` of a part, it does in every row."""
        low, high = np.searchsorted(self.starts, begins), np.searchsorted(self.starts, ends)
        rows = np.flatnonzero(high > low)
        if not front and not len(rows):
            return None
        reset = torch.zeros(self.batch_size, time, dtype=torch.bool)
        reset[:, 0] = front
        for row in rows:
            reset[row, self.starts[low[row] : high[row]] - begins[row]] = True
        return reset

    def _values(self, begins: np.ndarray, ends: np.ndarray, time: int) -> Tensor:
        read = _read_rows("sequence", self.sequence, begins, ends, time)
        # All rows at once, as one sequence: checks and conversions cost by the call.
        values = as_values(
            "Streams: sequence",
            read.reshape(-1, *read.shape[2:]),
            self.begin,
            self.dtype,
            place=lambda at: int(begins[at // time]) + at % time,
        )
        return values.unflatten(0, (self.batch_size, time))

    def _covariates(self, begins: np.ndarray, ends: np.ndarray, time: int) -> Tensor | None:
        if self.covariates is None:
            return None
        read = _read_rows("covariates", self.covariates, begins, ends, time)
        flat = read.reshape(-1, *read.shape[2:])
        covariates = as_covariates("Streams", flat, len(flat), self.dtype)
        return covariates.unflatten(0, (self.batch_size, time))


def _read_rows(
    name: str, source: StepSource, begins: np.ndarray, ends: np.ndarray, time: int
) -> np.ndarray:
    """Stretches of a source as rows of one array, filled up with zeros to `time` steps."""
    rows = [
        source.read(start, stop) for start, stop in zip(begins.tolist(), ends.tolist(), strict=True)
    ]
    whole = np.zeros((len(rows), time, *rows[0].shape[1:]), rows[0].dtype)
    for number, row in enumerate(rows):
        expected = (ends[number] - begins[number], *rows[0].shape[1:])
        if row.shape != expected:
            raise InputError(
                f"Streams: {name} gave an array of shape {list(row.shape)} for steps "
                f"{begins[number]} to {ends[number]}, expected {[int(size) for size in expected]}"
            )
        whole[number, : len(row)] = row
    return whole


def _one(sequence: StepSource | Sequence[StepSource]) -> StepSource:
    return sequence if isinstance(sequence, StepSource) else ConcatenatedSource(sequence)
