"""Series as rows of one batch that end together; those that begin later are padded on the left."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from throughtime.data.batches import Batch
from throughtime.data.table import Series
from throughtime.shapes import Tensor
from throughtime.tasks.metrics import Array


@dataclass(frozen=True, eq=False)
class Rows:
    """Series side by side, right-aligned: `values[:, -1]` is each one's last step.

    Attributes:
        values: `[series, time, D]`; NaN is missing.
        mask: `[series, time]`, False where a series has not begun.
        covariates: `[series, time, C]`, or None.
        evaluated: the step from which on a model is judged; before it lies context.
        time: steps.
    """

    values: Tensor
    mask: Tensor
    covariates: Tensor | None
    evaluated: int
    time: int

    @classmethod
    def make(
        cls, task: Any, series: Sequence[Series], stops: Sequence[int], time: int, room: int
    ) -> "Rows":
        """Lay the series side by side.

        Args:
            task: a forecasting task: its numbers per step, device and type.
            series: one per row; a series may stand in several.
            stops: where each series ends.
            time: steps at most.
            room: steps of it that are evaluated, the last ones.
        """
        count, width = len(series), task.channels
        values = torch.full((count, time, width), torch.nan, dtype=task.dtype)
        mask = torch.zeros(count, time, dtype=torch.bool)
        known = torch.zeros(count, time, task.covariates, dtype=task.dtype)
        for row, (each, stop) in enumerate(zip(series, stops, strict=True)):
            start = max(0, stop - time)
            if stop == start:
                continue
            values[row, time - (stop - start) :] = torch.from_numpy(
                np.array(each.values[start:stop])
            ).to(task.dtype)
            mask[row, time - (stop - start) :] = True
            if task.covariates:
                known[row, time - (stop - start) :] = torch.from_numpy(
                    known_ahead(each, start, stop)
                ).to(task.dtype)
        parts = [part.to(task.device) for part in (values, mask, known)]
        return cls(parts[0], parts[1], parts[2] if task.covariates else None, time - room, time)

    def batch(self, start: int, stop: int) -> Batch:
        """Steps `start` to `stop`: each predicted from the one before."""
        before = self.values[:, max(start - 1, 0) : stop - 1]
        if start == 0:
            before = torch.cat([torch.full_like(self.values[:, :1], torch.nan), before], dim=1)
        return Batch(
            before,
            self.values[:, start:stop],
            self.mask[:, start:stop],
            None,
            None if self.covariates is None else self.covariates[:, start:stop],
        )

    def windows(self, size: int) -> list[Batch]:
        """The part that is evaluated, in windows."""
        return [
            self.batch(a, min(a + size, self.time)) for a in range(self.evaluated, self.time, size)
        ]

    def covariates_of(self, start: int, steps: int) -> Tensor | None:
        """What is known of the steps to forecast."""
        return None if self.covariates is None else self.covariates[:, start : start + steps]


def known_ahead(series: Series, start: int, stop: int) -> Array:
    """Known and static columns side by side, `[stop - start, C]`."""
    rows = np.asarray(series.covariates[start:stop], dtype=np.float64)
    if rows.ndim != 2 or len(rows) != stop - start:
        rows = np.zeros((stop - start, 0))
    static = np.broadcast_to(series.static, (stop - start, len(series.static)))
    return np.concatenate([rows, static], axis=1)
