"""Forecasting: training data out of a table, and honest forecasts from rolling origins.

A model is run over the history once. At each origin its state is a value that can be kept, so all
forecasts start from states that were never recomputed, and run together as rows of one batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from throughtime.data.batches import RaggedBatches, Record, Source
from throughtime.data.calendar import IRREGULAR, extend
from throughtime.data.sources import ArraySource, FileArray, SlicedSource, StepSource
from throughtime.data.splits import Split
from throughtime.data.streams import Streams
from throughtime.data.table import Series, SeriesTable
from throughtime.errors import InputError
from throughtime.models.autoregressive import Autoregressive
from throughtime.shapes import Tensor
from throughtime.state import State, concatenate
from throughtime.tasks import metrics
from throughtime.tasks.backtest import Backtest
from throughtime.tasks.likelihood import Score, evaluate
from throughtime.tasks.metrics import Array
from throughtime.tasks.rows import Rows, known_ahead

LONGEST_CONTEXT = 20_000
"""Steps of history a model is shown before it forecasts; more changes no forecast noticeably."""

LONGEST_PART = 20_000
"""Steps of a validation or test part that are looked at, its first ones; a series of millions of
steps would take longer to evaluate than to learn."""

ROWS_AT_ONCE = 20_000
"""Sample paths drawn in one batch; bounds the memory of a backtest."""

SCALE_SAMPLE = 1_000_000
"""Numbers of a very long series from which its scale is taken, in blocks over its whole length."""


@dataclass(frozen=True, eq=False)
class Forecasting:
    """Series to learn from and to forecast.

    Args:
        table: the series.
        split: where training, validation and test end.
        horizon: steps to forecast.
        dtype: the type of batches.
        device: where models are.
    """

    table: SeriesTable
    split: Split
    horizon: int
    dtype: torch.dtype = torch.float32
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.horizon < 1:
            raise InputError(f"horizon is {self.horizon}, expected at least 1 step")

    @property
    def lengths(self) -> tuple[int, ...]:
        """Where the training part of each series ends."""
        return tuple(stops[0] for stops in self.split.stops)

    @property
    def covariates(self) -> int:
        """Numbers per step that are known in the future: known columns and static ones."""
        return len(self.table.known) + len(self.table.static)

    @property
    def channels(self) -> int:
        """Numbers per step that are modelled: targets, then past covariates."""
        return len(self.table.targets) + len(self.table.past)

    @property
    def scaled(self) -> bool:
        """Whether errors are compared in deviations of each series rather than in its units."""
        return len(self.table) > 1 or len(self.table.targets) > 1

    # -- training -----------------------------------------------------------------------------

    def prepare(self, model: Autoregressive) -> None:
        """Give the model the scales of the training data."""
        blocks = [
            (each, rows)
            for each, stop in self._training()
            for rows in _blocks(stop, max(10, SCALE_SAMPLE // (len(self.table) * self.channels)))
        ]
        values = [torch.from_numpy(np.array(each.values[rows])) for each, rows in blocks]
        known = [
            torch.from_numpy(known_ahead(each, rows.start, rows.stop)) for each, rows in blocks
        ]
        model.fit_scaling(values, known if self.covariates else None)

    def source(self, batch_size: int, window: int, seed: int, *, shuffle: bool = True) -> Source:
        """The training part: one series as parallel streams, several as shuffled batches.

        Args:
            batch_size: rows.
            window: steps per window.
            seed: of what is shuffled.
            shuffle: False keeps one order, for fits in closed form.
        """
        training = self._training()
        if len(training) == 1:
            each, stop = training[0]
            known = known_ahead(each, 0, stop) if self.covariates else None
            return Streams(
                _steps(each.values, stop),
                batch_size=max(1, min(batch_size, stop // window)),
                window=window,
                covariates=None if known is None else ArraySource(known),
                seed=seed,
                shift=shuffle,
                dtype=self.dtype,
            )
        records = [
            Record(each.values[:stop], known_ahead(each, 0, stop) if self.covariates else None)
            for each, stop in training
        ]
        return RaggedBatches(
            records, batch_size, window, seed=seed, shuffle=shuffle, dtype=self.dtype
        )

    def _training(self) -> list[tuple[Series, int]]:
        found = [
            (each, stop)
            for each, stop in zip(self.table.series, self.lengths, strict=True)
            if stop > 0
        ]
        if not found:
            raise InputError(f"{self.table.source}: no series has steps before the first border")
        return found

    # -- evaluation ---------------------------------------------------------------------------

    def validate(self, model: Autoregressive, part: str = "validation") -> Score:
        """One step ahead over validation or test, the state carried over from before."""
        starts, stops = self.borders(part)
        context = min(max(starts), 20 * max(self.table.season, 24))
        rows = self._rows(starts, stops, context)
        state = self.read(model, rows, 0, rows.evaluated)
        return evaluate(model, rows.windows(512), state, self.device, self.dtype)

    def backtest(
        self,
        model: Autoregressive,
        part: str = "test",
        *,
        origins: int = 50,
        paths: int = 200,
        seed: int = 0,
    ) -> Backtest:
        """Forecast from rolling origins: never a value after the origin is seen.

        Args:
            model: the model.
            part: `validation` or `test`.
            origins: how many per series at most, evenly spread; each forecasts `horizon` steps.
            paths: sample paths per forecast.
            seed: of the paths.

        Errors:
            InputError: no series has `horizon` steps in that part.
        """
        starts, stops = self.borders(part)
        room = self._room(part)
        if room < 0:
            raise InputError(
                f"{self.table.source}: the {part} part has at most {room + self.horizon} steps, "
                f"expected at least the horizon of {self.horizon}"
            )
        # Counted from the end, where all series meet.
        behind = np.unique(np.linspace(0, room, min(origins, room + 1)).round().astype(int))[::-1]
        context = min(max(stops), LONGEST_CONTEXT + room + self.horizon)
        rows = self._rows(starts, stops, context)
        generator = torch.Generator(self.device).manual_seed(seed)
        pending: list[tuple[int, State, Tensor]] = []
        drawn: list[tuple[int, Array]] = []

        def flush() -> None:
            if not pending:
                return
            ahead = [rows.covariates_of(at, self.horizon) for at, _, _ in pending]
            samples = model.forecast(
                self.horizon,
                concatenate([state for _, state, _ in pending]),
                torch.cat([last for _, _, last in pending]),
                None if ahead[0] is None else torch.cat([one for one in ahead if one is not None]),
                paths,
                generator,
            )
            parts = samples[..., : len(self.table.targets)].double().cpu().numpy()
            size = len(self.table)
            for index, (at, _, _) in enumerate(pending):
                drawn.append((at, parts[index * size : (index + 1) * size]))
            pending.clear()

        at, state = 0, None
        for back in behind.tolist():
            origin = rows.time - self.horizon - back
            state = self.read(model, rows, at, origin, state)
            at = origin
            pending.append((origin, state, rows.values[:, origin - 1]))
            if (len(pending) + 1) * len(self.table) * paths > ROWS_AT_ONCE:
                flush()
        flush()
        return self._collect(rows, drawn, starts, stops)

    def _collect(
        self, rows: Rows, drawn: list[tuple[int, Array]], starts: list[int], stops: list[int]
    ) -> Backtest:
        width = len(self.table.targets)
        series, origins, actual, samples = [], [], [], []
        for at, paths in drawn:
            for index, (start, stop) in enumerate(zip(starts, stops, strict=True)):
                origin = stop - (rows.time - at)
                if origin < max(start, 1):
                    continue  # this series has fewer steps in this part
                series.append(index)
                origins.append(origin)
                actual.append(
                    self.table.series[index].values[origin : origin + self.horizon, :width]
                )
                samples.append(paths[index])
        if not actual:
            raise InputError(
                f"{self.table.source}: no series with steps before its first origin has "
                f"{self.horizon} steps to forecast"
            )
        training = self._training_values()
        season = self.table.season
        with np.errstate(invalid="ignore", divide="ignore"):
            naive = np.array(
                [
                    [
                        metrics.naive_error(v[:, d], min(season, max(1, len(v) - 1)))
                        for d in range(width)
                    ]
                    for v in training
                ]
            )
        mean = np.array([_centre(v) for v in training])
        return Backtest(
            np.array(series), np.array(origins), np.stack(actual), np.stack(samples), naive,
            self.spread, mean,
        )  # fmt: skip

    def _training_values(self) -> list[Array]:
        """The targets of the training part of each series; of very long ones the last part."""
        width = len(self.table.targets)
        return [
            np.asarray(each.values[_sample(stop, self.channels), :width], dtype=np.float64)
            for each, stop in zip(self.table.series, self.lengths, strict=True)
        ]

    @cached_property
    def spread(self) -> Array:
        """`[series, D]`, the deviation of the training values; NaN where they never change."""
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = np.array([_deviation(values) for values in self._training_values()])
        return np.where(spread > 0, spread, np.nan)

    def can_backtest(self, part: str) -> bool:
        """Whether some series has `horizon` steps in that part."""
        return self._room(part) >= 0

    def _room(self, part: str) -> int:
        """Steps from the first origin to the last, of the series with the most."""
        starts, stops = self.borders(part)
        return max(b - a for a, b in zip(starts, stops, strict=True)) - self.horizon

    def borders(self, part: str) -> tuple[list[int], list[int]]:
        """Where validation or test begins and ends in each series."""
        if part not in ("validation", "test"):
            raise InputError(f"part is {part!r}, expected 'validation' or 'test'")
        at = 0 if part == "validation" else 1
        starts = [stops[at] for stops in self.split.stops]
        stops = [stops[at + 1] for stops in self.split.stops]
        most = LONGEST_PART + self.horizon
        return starts, [min(stop, a + most) for a, stop in zip(starts, stops, strict=True)]

    def _rows(self, starts: Sequence[int], stops: Sequence[int], context: int) -> Rows:
        """All series as rows that end together; those that begin later are padded on the left."""
        room = max(stop - start for start, stop in zip(starts, stops, strict=True))
        time = max(min(stop, context + room) for stop in stops)
        return Rows.make(self, self.table.series, stops, time, room)

    def read(
        self, model: Autoregressive, rows: Rows, start: int, stop: int, state: State = None
    ) -> State:
        """Predict steps `start` to `stop` from those before them, in pieces that fit in memory."""
        pieces = (rows.batch(a, min(a + 2048, stop)) for a in range(start, stop, 2048))
        return evaluate(model, pieces, state, self.device, self.dtype).state


def _steps(values: Array | FileArray, stop: int) -> StepSource:
    """A series in memory, or one on disk that is read as it is used."""
    if isinstance(values, FileArray):
        return SlicedSource(values.source, 0, stop)
    return ArraySource(values[:stop])


def _blocks(stop: int, limit: int) -> list[slice]:
    """All steps, or ten blocks of them spread over the whole."""
    if stop <= limit:
        return [slice(0, stop)]
    size = limit // 10
    return [slice(a, a + size) for a in np.linspace(0, stop - size, 10).astype(int).tolist()]


def _sample(stop: int, channels: int) -> slice:
    return slice(max(0, stop - SCALE_SAMPLE // channels), stop)


def _centre(values: Array) -> Array:
    return np.asarray(np.ma.masked_invalid(values).mean(0).filled(np.nan), dtype=np.float64)


def _deviation(values: Array) -> Array:
    known = np.ma.masked_invalid(values)
    return np.asarray(known.std(0).filled(np.nan), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Future:
    """Forecasts beyond the end of the data.

    Attributes:
        samples: `[series, S, H, D]`, sample paths.
        times: per series the times of its steps; None where times are irregular.
    """

    samples: Array
    times: list[Any]


def future(
    model: Autoregressive,
    table: SeriesTable,
    horizon: int,
    *,
    paths: int = 500,
    seed: int = 0,
    device: str = "cpu",
) -> Future:
    """Forecast each series from its end.

    Args:
        model: made for such a table.
        table: the series; columns known ahead must reach `horizon` steps beyond them.
        horizon: steps.
        paths: sample paths per series.
        seed: of the paths.
        device: where the model is.

    Errors:
        InputError: known columns that end before.
    """
    table = table.reach(horizon)
    ends = table.lengths
    task = Forecasting(
        table,
        Split(tuple((end, end, end) for end in ends), None, None),
        horizon,
        model.like().dtype,
        device,
    )
    rows = Rows.make(task, table.series, ends, min(max(ends), LONGEST_CONTEXT), 0)
    state = task.read(model, rows, 0, rows.time)
    ahead = None
    if task.covariates:
        known = [
            known_ahead(each, end, end + horizon)
            for each, end in zip(table.series, ends, strict=True)
        ]
        ahead = torch.from_numpy(np.stack(known)).to(device, task.dtype)
    generator = torch.Generator(device).manual_seed(seed)
    drawn = model.forecast(horizon, state, rows.values[:, -1], ahead, paths, generator)
    times = [
        None if table.frequency == IRREGULAR else extend(each.times, horizon, table.frequency)
        for each in table.series
    ]
    return Future(drawn[..., : len(table.targets)].double().cpu().numpy(), times)
