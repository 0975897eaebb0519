"""`throughtime compare`: every model on the same data, at the same size, beside baselines."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from throughtime.commands import options
from throughtime.commands.console import progress_bar, say, show_table
from throughtime.commands.measuring import Entry, baseline_entries, model_entries, plain
from throughtime.commands.pages import comparison_page, result_table
from throughtime.commands.sharing import folder_for, open_and_show, versions
from throughtime.errors import InputError
from throughtime.inspect.report import write_report
from throughtime.models.config import NEURAL
from throughtime.state import write_atomically
from throughtime.tasks.forecasting import Forecasting
from throughtime.tasks.opening import Opened
from throughtime.training.fitting import fit


def compare(
    source: options.Source,
    models: Annotated[
        str,
        typer.Option(
            help="Any of window, rnn, lstm, gru, transformer.", rich_help_panel=options.MODEL
        ),
    ] = "window,rnn,lstm,gru,transformer",
    task: options.Task = None,
    target: options.Target = None,
    horizon: options.Horizon = 24,
    split: options.Split = "0.7,0.1,0.2",
    time_column: options.Time = None,
    id: options.Id = None,
    known: options.Known = "",
    past: options.Past = "",
    static: options.Static = "",
    wide: options.Wide = False,
    frequency: options.Frequency = None,
    season: options.Season = None,
    tokens: options.Tokens = "characters",
    vocabulary: options.VocabularySize = None,
    encoding: options.Encoding = "utf-8",
    sort: options.Sort = False,
    parameters: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Parameters per model; the width is solved for. Default: 20,000 for series, "
            "100,000 for text.",
            rich_help_panel=options.MODEL,
        ),
    ] = None,
    layers: options.Layers = None,
    dropout: options.Dropout = None,
    heads: options.Heads = None,
    reach: options.Reach = None,
    position: options.Position = None,
    head: options.Head = None,
    scaling: options.Scaling = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Seeds per model.", rich_help_panel=options.TRAINING)
    ] = 3,
    epochs: options.Epochs = None,
    steps: options.Steps = None,
    seconds: options.Seconds = None,
    lr: options.LearningRate = None,
    batch_size: options.BatchSize = None,
    window: options.Window = None,
    depth: options.Depth = None,
    truncation: options.Truncation = None,
    schedule: options.Schedule = None,
    optimizer: options.Optimizer = None,
    patience: options.Patience = None,
    precision: options.Precision = None,
    device: options.Device = "cpu",
    dtype: options.Dtype = "float32",
    origins: Annotated[
        int,
        typer.Option(
            min=1, help="Origins of the rolling backtest per series.", rich_help_panel=options.DATA
        ),
    ] = 50,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of results. Default: comparison-NAME.", rich_help_panel=options.OUTPUT
        ),
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Fit several kinds of model to the same data and compare them with honest baselines.

    Every model gets the same number of parameters and several seeds. Series are judged by forecasts
    from rolling origins, text by how well each token is foretold.
    """
    given: dict[str, Any] = locals()
    started = time.perf_counter()
    chosen = _kinds(models)
    options.check_attends(given, chosen)
    opened = open_and_show(given, quiet=quiet)
    out = folder_for(out, "comparison", source)
    entries = [*model_entries(opened, chosen, given), *baseline_entries(opened, given)]
    for entry in entries:
        _run(entry, opened, 1 if entry.baseline else seeds, out, origins, quiet=quiet)

    table = result_table(opened, entries, note=_matched(entries))
    duration = time.perf_counter() - started
    report = comparison_page(opened, table, entries, run=versions(seeds, duration))
    results = {
        "source": source,
        "seconds": duration,
        "seeds": seeds,
        "summary": report.summary,
        "models": {
            entry.name: {
                "baseline": entry.baseline,
                "config": entry.config.to_json(),
                "metrics": entry.metrics,
            }
            for entry in entries
        },
    }
    page = write_report(out / "report.html", report)
    write_atomically(out / "results.json", json.dumps(plain(results), indent=2).encode())
    if as_json:
        print(json.dumps(plain(results)))
    else:
        show_table(table)
    for sentence in report.summary:
        say(sentence, quiet=quiet)
    say(f"report: {page}", quiet=quiet and as_json)


def _kinds(models: str) -> tuple[str, ...]:
    chosen = options.names(models)
    unknown = [kind for kind in chosen if kind not in NEURAL]
    if unknown:
        raise InputError(
            f"--models: {unknown[0]!r} is not one of {', '.join(NEURAL)}; "
            "baselines are always shown"
        )
    if not chosen:
        raise InputError(f"--models is empty, expected some of {', '.join(NEURAL)}")
    return tuple(dict.fromkeys(chosen))


def _run(entry: Entry, opened: Opened, seeds: int, out: Path, origins: int, *, quiet: bool) -> None:
    """Fit one kind of model, a run folder per seed, and measure it."""
    for seed in range(seeds):
        config = replace(entry.config, training=replace(entry.config.training, seed=seed))
        folder = out / (entry.name if seeds == 1 else f"{entry.name}-{seed}")
        label = entry.name if seeds == 1 else f"{entry.name}, seed {seed + 1} of {seeds}"
        with progress_bar(label, quiet=quiet) as progress:
            fitted = fit(config, opened, folder, progress=progress)
        if fitted.result is not None and fitted.result.stopped == "interrupted":
            raise KeyboardInterrupt
        measured = entry.measure(fitted, opened, origins)
        forecast = isinstance(opened.task, Forecasting)
        told = f"MASE {measured['mase']:.3f}" if forecast else f"{measured['bits']:.3f} bits"
        say(f"{label}: {told}, {fitted.seconds:.0f} s of training", quiet=quiet)


def _matched(entries: Sequence[Entry]) -> str:
    counts = [int(entry.metrics[0]["parameters"]) for entry in entries if not entry.baseline]
    return (
        f"Widths were solved for so that all models have about as many parameters: "
        f"{min(counts):,} to {max(counts):,}. Baselines are fitted in closed form."
    )
