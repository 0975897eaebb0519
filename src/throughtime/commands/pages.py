"""What reports say: columns with their units, sentences from the numbers, forecasts to draw."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from throughtime.commands.class_pages import class_columns, class_part, class_sentences
from throughtime.commands.entries import Entry
from throughtime.commands.measuring import ModelEntry
from throughtime.decoding import write
from throughtime.inspect.contents import Column, Example, Fan, Report, Row, Sample, Table
from throughtime.tasks.classification import Classification
from throughtime.tasks.forecasting import Backtest, Forecasting
from throughtime.tasks.language import LanguageModelling
from throughtime.tasks.opening import Opened, Task
from throughtime.tasks.pair_baselines import agreement
from throughtime.tasks.translation import BEAMS, Translation

SHARES = (0.8, 0.95)
SAMPLE_TOKENS = 400
EXAMPLES, WORST = 5, 3
"""Sources in a report whose answers are shown: evenly chosen, and where the best model failed."""


def _common() -> list[Column]:
    return [
        *_fitting(),
        Column("step", "step", "µs", digits=0, help="median time of one streamed step, batch 1"),
    ]


def _fitting() -> list[Column]:
    return [
        Column("parameters", "parameters", digits=0),
        Column("seconds", "training", "s", digits=1, help="time to fit, validation included"),
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


def pair_columns(task: Translation) -> list[Column]:
    """Measures of answers."""
    token = task.vocabulary.target.unit
    columns = [
        *_fitting(),
        Column("answer", "answer", "ms", digits=2,
               help="median time of one answer, batch 1, greedy"),
        Column("validation", "validation", f"nats per {token}"),
        Column("perplexity", "perplexity", digits=2,
               help=f"on the test part: among how many equally likely {token}s the model chooses"),
    ]  # fmt: skip
    if task.measure == "bleu":
        return [
            *columns,
            Column("bleu", "BLEU", better="higher", digits=1, chart=True,
                   help=f"of the answers to the test part, by {BEAMS} beams, 0 to 100"),
            Column("chrf", "chrF", better="higher", digits=1, chart=True,
                   help="how far their characters agree with the targets, 0 to 100"),
        ]  # fmt: skip
    return [
        *columns,
        Column("wer", "WER", "%", better="lower", digits=1, chart=True,
               help=f"answers to the test part, by {BEAMS} beams, that are no target of theirs"),
        Column("per", "PER", "%", better="lower", digits=1, chart=True,
               help="errors in their words (phonemes), over the words of the nearest target"),
    ]  # fmt: skip


CLASS_MEASURE = {"one": "accuracy", "steps": "accuracy", "several": "f1"}
CLASS_NAMES = {"accuracy": "accuracy", "f1": "F1"}


def main_measure(task: Task) -> str:
    """The key of the column that summaries go by."""
    if isinstance(task, Classification):
        return CLASS_MEASURE[task.labels.kind]
    if isinstance(task, Translation):
        return task.measure
    return "mase" if isinstance(task, Forecasting) else "bits"


def told(task: Task, measured: dict[str, Any]) -> str:
    """A fit's main measure in words."""
    value = measured[main_measure(task)]
    if isinstance(task, Classification):
        return f"{CLASS_NAMES[main_measure(task)]} {value:.1f} %"
    if isinstance(task, Translation):
        return f"{task.measure.upper()} {value:.1f}"
    return f"MASE {value:.3f}" if isinstance(task, Forecasting) else f"{value:.3f} bits"


def result_table(opened: Opened, entries: Sequence[Entry], note: str = "") -> Table:
    """The models of a comparison side by side."""
    task, name = opened.task, Path(opened.config.source).name
    rows = [entry.row() for entry in entries]
    if isinstance(task, Forecasting):
        ahead = f"{task.horizon} step{'s' if task.horizon > 1 else ''} ahead"
        return Table(f"{name}, {ahead}", forecast_columns(task), rows, note)
    if isinstance(task, Classification):
        title = f"{name}, {len(task.labels)} classes"
        return Table(title, class_columns(task), rows, note)
    if isinstance(task, Translation):
        known = task.vocabulary
        title = f"{name}, {known.source.unit}s to {known.target.unit}s"
        return Table(
            title, pair_columns(task), rows, " ".join([note, *_signatures(entries)]).strip()
        )
    return Table(f"{name}, {task.vocabulary.unit}s", text_columns(task), rows, note)


def _signatures(entries: Sequence[Entry]) -> list[str]:
    """How sacrebleu computed its scores: with others, no score must be compared."""
    found = entries[0].metrics[0]
    named = {"bleu_signature": "BLEU", "chrf_signature": "chrF"}
    said = [f"{name} {found[key]}" for key, name in named.items() if key in found]
    return [f"sacrebleu: {', '.join(said)}."] if said else []


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
    fitted = [entry for entry in entries if isinstance(entry, ModelEntry)]
    if isinstance(task, Classification):
        measure = main_measure(task)
        return Report(
            **shared,
            summary=[*summary(table, measure, CLASS_NAMES[measure]), *class_sentences(entries)],
            loss_unit="nats",
            classes=class_part(task, table, entries),
        )
    if isinstance(task, Translation):
        return Report(
            **shared,
            summary=summary(table, task.measure, task.measure.upper()),
            loss_unit=f"nats per {task.vocabulary.target.unit}",
            examples=examples(task, table, entries),
        )
    if isinstance(task, Forecasting):
        return Report(
            **shared,
            summary=summary(table, "mase", "MASE"),
            loss_unit="nats per value",
            fans=[fan(task, one.name, one.backtest) for one in fitted if one.backtest is not None],
            lead_errors={
                one.name: one.backtest.lead_error(scaled=task.scaled).tolist()
                for one in fitted
                if one.backtest is not None
            },
            lead_unit="mean absolute error" + (" (deviations)" if task.scaled else ""),
        )
    return Report(
        **shared,
        summary=summary(table, "bits", f"bits per {task.vocabulary.unit}"),
        loss_unit=f"nats per {task.vocabulary.unit}",
        samples=[Sample(one.name, example(task, one.fits[0].model)) for one in fitted],
    )


def summary(table: Table, key: str, measure: str) -> list[str]:
    """What came out, in sentences made from the numbers."""
    column = next(column for column in table.columns if column.key == key)
    sign = -1 if column.better == "higher" else 1

    def badness(row: Row) -> float:
        value = row.mean(key)
        return float("inf") if value is None or np.isnan(value) else sign * value

    def shown(row: Row) -> str:
        return f"{sign * badness(row):.{digits}f}"

    models = sorted((row for row in table.rows if not row.baseline), key=badness)
    baselines = sorted((row for row in table.rows if row.baseline), key=badness)
    digits = table.digits(column)
    best = models[0]
    said = [f"Best model: {best.model}, {measure} {shown(best)}."]
    if len(models) > 1:
        spread, second = best.spread(key) or 0.0, models[1]
        gap = badness(second) - badness(best)
        if gap <= max(spread, second.spread(key) or 0.0):
            said.append(f"{second.model} at {shown(second)} is no further away than seeds differ.")
    if baselines:
        mark = baselines[0]
        ahead = badness(mark) - badness(best)
        if sign < 0 or column.unit == "%":  # shares and scores are told apart by points
            change, unit = ahead, "points"
        else:
            change, unit = 100 * ahead / badness(mark), "%"
        verdict = f"{abs(change):.1f} {unit} {'better' if change > 0 else 'worse'} than"
        if ahead == 0:
            verdict = "no better than"
        said.append(f"That is {verdict} the best baseline, {mark.model} at {shown(mark)}.")
        behind = [row.model for row in models if badness(row) > badness(mark)]
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


def examples(task: Translation, table: Table, entries: Sequence[Entry]) -> list[Example]:
    """Some sources of the test part and what was made of them; last, where the best model failed.

    Failed is told by how far the characters of its answer agree with the nearest target.
    """
    sources, targets, _ = task.judged("test")
    column = next(column for column in table.columns if column.key == task.measure)
    models = replace(table, rows=[row for row in table.rows if not row.baseline])
    best = (models.best(column) or models.rows)[0].model
    answers = next(entry.answers for entry in entries if entry.name == best)
    agreed = [agreement(answer, each) for answer, each in zip(answers, targets, strict=True)]
    order = sorted(range(len(sources)), key=agreed.__getitem__)
    worst = [at for at in order if agreed[at] < 100][:WORST]
    others = [at for at in range(len(sources)) if at not in worst]
    chosen = [others[at] for at in np.linspace(0, len(others) - 1, EXAMPLES).astype(int)]
    return [
        Example(
            sources[at],
            targets[at],
            {entry.name: entry.answers[at] for entry in entries},
            worst=best if at in worst else "",
        )
        for at in [*dict.fromkeys(chosen if others else ()), *worst]
    ]


def example(task: LanguageModelling, model: Any, seed: int = 0) -> str:
    """A piece of text by a model."""
    long = task.vocabulary.kind in ("words", "bpe")
    steps = SAMPLE_TOKENS // (4 if long else 1)
    return write(model, task.vocabulary, [""], steps, seed=seed)[0]
