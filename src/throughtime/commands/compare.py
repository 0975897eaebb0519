"""`throughtime compare`: every model on the same data, at the same size, beside baselines."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from throughtime.commands import class_options, options, pair_options
from throughtime.commands.checking import able, check_attends, check_pairs
from throughtime.commands.class_entries import ClassRuleEntry
from throughtime.commands.console import progress_bar, say, show_table
from throughtime.commands.entries import Entry
from throughtime.commands.measuring import (
    PairRuleEntry,
    baseline_entries,
    model_entries,
    plain,
)
from throughtime.commands.pages import comparison_page, result_table, told
from throughtime.commands.sharing import folder_for, open_and_show, versions
from throughtime.errors import InputError
from throughtime.inspect.report import write_report
from throughtime.models.config import NEURAL
from throughtime.state import write_atomically
from throughtime.tasks.classification import Classification
from throughtime.tasks.data_config import DataConfig
from throughtime.tasks.opening import Opened
from throughtime.tasks.translation import Translation

OF_PAIRS = ("lstm", "gru", "transformer")
"""Models that are compared on pairs unless others are named."""


def compare(
    source: options.Source,
    models: Annotated[
        str | None,
        typer.Option(
            help="Any of window, rnn, lstm, gru, transformer. Default: all; for pairs "
            "lstm,gru,transformer.",
            rich_help_panel=options.MODEL,
        ),
    ] = None,
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
    tokens: options.Tokens = None,
    vocabulary: options.VocabularySize = None,
    encoding: options.Encoding = "utf-8",
    sort: options.Sort = False,
    validation: pair_options.Validation = None,
    test: pair_options.Test = None,
    direction: pair_options.Direction = None,
    joint: pair_options.Joint = False,
    form: pair_options.Form = DataConfig.form,
    measure: pair_options.Measure = None,
    tokenize: pair_options.Tokenize = DataConfig.tokenize,
    longest: pair_options.Longest = DataConfig.longest,
    label: class_options.Label = None,
    text: class_options.Text = None,
    features: class_options.Features = "",
    labels: class_options.LabelKind = None,
    weighted: class_options.Weighted = False,
    image_size: class_options.ImageSize = None,
    augment: class_options.Augmentation = "",
    parameters: options.Parameters = None,
    layers: options.Layers = None,
    dropout: options.Dropout = None,
    heads: options.Heads = None,
    reach: options.Reach = None,
    position: options.Position = None,
    head: options.Head = None,
    scaling: options.Scaling = None,
    tied: options.Tied = None,
    smoothing: options.Smoothing = None,
    encoder: pair_options.Encoder = None,
    encoder_layers: pair_options.EncoderLayers = None,
    attention: pair_options.Attention = None,
    pooling: class_options.Pooling = None,
    grams: class_options.Grams = None,
    bag: class_options.Bag = None,
    letters: class_options.Letters = None,
    patch: class_options.Patch = None,
    causal: class_options.Causal = None,
    rows: class_options.Rows = None,
    stochastic_depth: class_options.StochasticDepth = None,
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
    warmup: options.Warmup = None,
    average: options.Average = None,
    scheduled: pair_options.Scheduled = None,
    stop_on: pair_options.StopOn = None,
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
    from rolling origins, text by how well each token is foretold, pairs by their answers, examples
    by how many classes are told right.
    """
    given: dict[str, Any] = locals()
    started = time.perf_counter()
    chosen = NEURAL if models is None else _kinds(models)
    check_attends(given, chosen)
    opened = open_and_show(given, quiet=quiet)
    if isinstance(opened.task, Translation):
        chosen = OF_PAIRS if models is None else check_pairs("--models", chosen)
    elif isinstance(opened.task, Classification) and models is None:
        chosen = able(given, chosen)
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
                "config": entry.settings(),
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
        folder = out / (entry.name if seeds == 1 else f"{entry.name}-{seed}")
        label = entry.name if seeds == 1 else f"{entry.name}, seed {seed + 1} of {seeds}"
        with progress_bar(label, quiet=quiet) as progress:
            result = entry.run(opened, folder, origins=origins, seed=seed, progress=progress)
        if result is not None and result.stopped == "interrupted":
            raise KeyboardInterrupt
        measured = entry.metrics[-1]
        said = f"{told(opened.task, measured)}, {measured['seconds']:.0f} s of training"
        say(f"{label}: {said}", quiet=quiet)


def _matched(entries: Sequence[Entry]) -> str:
    counts = [int(entry.metrics[0]["parameters"]) for entry in entries if not entry.baseline]
    beside = any("shares" in entry.metrics[0] for entry in entries)
    return (
        f"Widths were solved for so that all models have about as many parameters: "
        f"{min(counts):,} to {max(counts):,}{', linear models beside them included' * beside}. "
        f"{_baselines(entries)}"
    )


def _baselines(entries: Sequence[Entry]) -> str:
    if any(isinstance(entry, ClassRuleEntry) for entry in entries):
        return "Baselines are fitted to the same training part."
    if any(isinstance(entry, PairRuleEntry) for entry in entries):
        return "Baselines answer by a rule and foretell no token."
    return "Baselines are fitted in closed form."
