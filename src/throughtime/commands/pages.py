"""What reports say: columns with their units, sentences from the numbers, forecasts to draw."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from throughtime.commands.measuring import Entry
from throughtime.decoding import write
from throughtime.inspect.contents import Column, Fan, Report, Row, Sample, Table
from throughtime.models.autoregressive import Autoregressive
from throughtime.tasks.forecasting import Backtest, Forecasting
from throughtime.tasks.language import LanguageModelling
from throughtime.tasks.opening import Opened

SHARES = (0.8, 0.95)
SAMPLE_TOKENS = 400


def _common() -> list[Column]:
    return [
        Column("parameters", "parameters", digits=0),
        Column("seconds", "training", "s", digits=1, help="time to fit, validation included"),
        Column("step", "step", "µs", digits=0, help="median time of one streamed step, batch 1"),
    ]


def forecast_columns(task: Forecasting) -> list[Column]:
    """Measures of a forecast."""
    unit = "deviations" if task.scaled else ""
    return [
        *_common(),
        Column("validation", "validation", "nats", help="one step ahead, negative log likelihood"),
        Column(
            "mase", "MASE", better="lower", digits=3, chart=True,
            help="mean absolute error over that of the seasonal naive forecast in training",
        ),
        Column("smape", "sMAPE", "%", better="lower", digits=1),
        Column("rmse", "RMSE", unit, better="lower"),
        Column(
            "crps", "CRPS", unit, better="lower", chart=True,
            help="the error of the whole distribution; for a point it is the absolute error",
        ),
        Column("cover80", "in 80 %", "%", better=80.0, digits=0,
               help="how much of what happened lay in the 80 % interval"),
        Column("cover95", "in 95 %", "%", better=95.0, digits=0),
    ]  # fmt: skip


def text_columns(task: LanguageModelling) -> list[Column]:
    """Measures of a language model."""
    token = task.vocabulary.unit
    compared = Column(
        "bits_per_character", "bits", "per character", better="lower", digits=3,
        help="on the test part: all bits over all characters; vocabularies can be compared by it",
    )  # fmt: skip
    return [
        *_common(),
        Column("validation", "validation", f"nats per {token}"),
        Column(
            "bits", "bits", f"per {token}", better="lower", digits=3, chart=True,
            help=f"on the test part: mean of -log2 p of each {token}",
        ),
        Column(
            "perplexity", "perplexity", better="lower", digits=2,
            help=f"among how many equally likely {token}s the model chooses, on average",
        ),
        *([] if token == "character" else [compared]),
    ]  # fmt: skip


def result_table(opened: Opened, entries: Sequence[Entry], note: str = "") -> Table:
    """The models of a comparison side by side."""
    task, name = opened.task, Path(opened.config.source).name
    rows = [entry.row() for entry in entries]
    if isinstance(task, Forecasting):
        ahead = f"{task.horizon} step{'s' if task.horizon > 1 else ''} ahead"
        return Table(f"{name}, {ahead}", forecast_columns(task), rows, note)
    return Table(f"{name}, {task.vocabulary.unit}s", text_columns(task), rows, note)


def comparison_page(
    opened: Opened, table: Table, entries: Sequence[Entry], *, run: Sequence[tuple[str, str]]
) -> Report:
    """The report of a comparison."""
    task = opened.task
    models = [entry.name for entry in entries if not entry.baseline]
    rows = [(name, text) for name, text in opened.report.rows() if name != "note"]
    shared: dict[str, Any] = {
        "title": f"Comparison on {table.title}"
        if len(models) > 1
        else f"{models[0]} on {table.title}",
        "tables": [table],
        "curves": [curve for entry in entries for curve in entry.curves()],
        "step_name": "step",
        "data": rows,
        "warnings": opened.report.notes,
        "run": run,
        "command": shlex.join(["throughtime", *sys.argv[1:]]),
    }
    if isinstance(task, Forecasting):
        return Report(
            **shared,
            summary=summary(table, "mase", "MASE"),
            loss_unit="nats per value",
            fans=[fan(task, one.name, one.backtest) for one in entries if one.backtest is not None],
            lead_errors={
                one.name: one.backtest.lead_error(scaled=task.scaled).tolist()
                for one in entries
                if one.backtest is not None
            },
            lead_unit="mean absolute error" + (" (deviations)" if task.scaled else ""),
        )
    return Report(
        **shared,
        summary=summary(table, "bits", f"bits per {task.vocabulary.unit}"),
        loss_unit=f"nats per {task.vocabulary.unit}",
        samples=[Sample(one.name, example(task, one.fits[0].model)) for one in entries],
    )


def summary(table: Table, key: str, measure: str) -> list[str]:
    """What came out, in sentences made from the numbers."""

    def mean(row: Row) -> float:
        value = row.mean(key)
        return float("inf") if value is None or np.isnan(value) else value

    models = sorted((row for row in table.rows if not row.baseline), key=mean)
    baselines = sorted((row for row in table.rows if row.baseline), key=mean)
    digits = table.digits(next(column for column in table.columns if column.key == key))
    best = models[0]
    said = [f"Best model: {best.model}, {measure} {mean(best):.{digits}f}."]
    if len(models) > 1:
        spread, second = best.spread(key) or 0.0, models[1]
        gap = mean(second) - mean(best)
        if gap <= max(spread, second.spread(key) or 0.0):
            said.append(
                f"{second.model} at {mean(second):.{digits}f} is no further away than seeds differ."
            )
    if baselines:
        mark = baselines[0]
        change = 100 * (1 - mean(best) / mean(mark))
        verdict = f"{change:.1f} % better" if change > 0 else f"{-change:.1f} % worse"
        said.append(
            f"That is {verdict} than the best baseline, {mark.model} at {mean(mark):.{digits}f}."
        )
        behind = [row.model for row in models if mean(row) > mean(mark)]
        if behind and change > 0:
            said.append(f"Behind that baseline: {', '.join(behind)}.")
    return said


def fan(task: Forecasting, name: str, backtest: Backtest) -> Fan:
    """One forecast of the first series and target: the middle one of its origins."""
    mine = np.flatnonzero(backtest.series == backtest.series[0])
    index = int(mine[len(mine) // 2])
    series = task.table.series[int(backtest.series[index])]
    origin = int(backtest.origins[index])
    samples = backtest.samples[index, :, :, 0]
    start = max(0, origin - 3 * max(task.horizon, task.table.season))
    bounds = {
        share: tuple(np.quantile(samples, [(1 - share) / 2, (1 + share) / 2], axis=0))
        for share in SHARES
    }
    label = task.table.targets[0] if len(task.table) == 1 else series.name
    return Fan(
        name,
        label,
        history_times=series.times[start:origin],
        history=series.values[start:origin, 0],
        times=series.times[origin : origin + task.horizon],
        actual=backtest.actual[index, :, 0],
        median=np.median(samples, axis=0),
        intervals=bounds,  # pyright: ignore[reportArgumentType]
        unit=label,
    )


def example(task: LanguageModelling, model: Autoregressive, seed: int = 0) -> str:
    """A piece of text by a model."""
    long = task.vocabulary.kind in ("words", "bpe")
    steps = SAMPLE_TOKENS // (4 if long else 1)
    return write(model, task.vocabulary, [""], steps, seed=seed)[0]
