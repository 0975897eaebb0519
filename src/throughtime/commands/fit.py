"""`throughtime fit`: train one model into a run folder."""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from throughtime import recipes
from throughtime.commands import class_options, options, pair_options
from throughtime.commands.checking import check_attends, check_pairs, check_task
from throughtime.commands.console import progress_bar, say, show_pairs, show_table
from throughtime.commands.measuring import (
    ModelEntry,
    baseline_entries,
    check_measures,
    kind_of,
    model_entries,
    plain,
)
from throughtime.commands.pages import comparison_page, result_table
from throughtime.commands.sharing import folder_for, open_and_show, versions
from throughtime.errors import InputError
from throughtime.inspect.report import write_report
from throughtime.models.config import NEURAL
from throughtime.tasks.data_config import DataConfig
from throughtime.tasks.opening import Opened, open_data
from throughtime.tasks.translation import Translation
from throughtime.training.run import RunConfig, read_config, read_labels, read_vocabulary

INTERRUPTED = 130
ORIGINS = 50
"""Of the backtest of a series."""


def fit(
    source: Annotated[
        str | None,
        typer.Argument(metavar="[DATA]", help="A CSV, Parquet, .npy or text file; pairs in a .tsv, "
                       "a .jsonl or two files: train.de,train.en; labelled texts or series in a "
                       ".ts, .csv, .tsv or .jsonl; images in idx, .npz or a folder per class; a "
                       "folder with a file for each of train, valid and test; or the name of "
                       "built-in data; none with --resume."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="window (not for pairs), rnn, lstm (default), gru or transformer.",
                     rich_help_panel=options.MODEL),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help=f"A published model as it was trained: {', '.join(recipes.PUBLISHED)}. "
                     "Options of the model are not for it, those of training go before its own.",
                     rich_help_panel=options.MODEL),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(help="Go on with this run, as if it had never stopped.",
                     rich_help_panel=options.TRAINING),
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
    width: Annotated[
        int | None,
        typer.Option(min=1, help="Features per layer, instead of --parameters.",
                     rich_help_panel=options.MODEL),
    ] = None,
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
    seed: Annotated[
        int, typer.Option(min=0, help="Of everything random.", rich_help_panel=options.TRAINING)
    ] = 0,
    checkpoint_every: Annotated[
        int | None,
        typer.Option(min=1, help="Updates between checkpoints. Default: one a minute.",
                     rich_help_panel=options.TRAINING),
    ] = None,
    device: options.Device = "cpu",
    dtype: options.Dtype = "float32",
    out: Annotated[
        Path | None,
        typer.Option(help="The run's folder. Default: run-NAME.", rich_help_panel=options.OUTPUT),
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Train one model into a run folder: weights, configuration, metrics, checkpoint, report.

    Ctrl-C leaves a checkpoint; fit --resume RUN goes on from it exactly.
    """
    given: dict[str, Any] = locals()
    started = time.perf_counter()
    if resume is not None:
        _check_resumes(given)
        opened, config, folder = _resumed(source, resume, quiet=quiet)
        given |= {"device": config.training.device, "dtype": config.training.dtype}
    else:
        opened, config = _begun(given, quiet=quiet)
        folder = folder_for(out, "run", config.data.source)
    entry = ModelEntry(config.model.kind, config)
    with progress_bar(entry.name, quiet=quiet) as progress:
        result = entry.run(
            opened, folder, origins=ORIGINS, resume=resume is not None, progress=progress
        )
    assert result is not None
    if result.stopped == "interrupted":
        say(f"stopped after {result.step} steps")
        say(f"go on with: throughtime fit --resume {folder}")
        sys.exit(INTERRUPTED)

    entries = [entry, *baseline_entries(opened, given)]
    for baseline in entries[1:]:
        baseline.run(opened, origins=ORIGINS)
    table = result_table(opened, entries)
    duration = time.perf_counter() - started
    report = comparison_page(opened, table, entries, run=versions(1, duration))
    page = write_report(folder / "report.html", report)
    if as_json:
        print(json.dumps(plain({
            "run": str(folder), "steps": result.step, "stopped": result.stopped,
            "metrics": {entry.name: entry.metrics[0] for entry in entries},
        })))  # fmt: skip
    else:
        show_table(table)
    for sentence in report.summary:
        say(sentence, quiet=quiet)
    say(f"run: {folder}\nreport: {page}", quiet=quiet and as_json)


def _begun(given: dict[str, Any], *, quiet: bool) -> tuple[Opened, RunConfig]:
    if given["source"] is None:
        raise InputError("fit: expected DATA, a file or the name of built-in data, or --resume RUN")
    _check_kind(given)
    opened = open_and_show(given, quiet=quiet)
    if given["recipe"] is not None:
        recipe = recipes.PUBLISHED[given["recipe"]]
        check_task(given, kind_of(opened))
        check_measures(opened, given["stop_on"])
        config = recipe(opened, training=options.training_fields(given))
    else:
        kind = given["model"] or "lstm"
        if isinstance(opened.task, Translation):
            check_pairs("--model", [kind])
        (entry,) = model_entries(opened, [kind], given)
        config = entry.config
    training = replace(config.training, seed=given["seed"])
    if given["checkpoint_every"] is not None:
        training = replace(training, checkpoint_every=given["checkpoint_every"])
    return opened, replace(config, training=training)


def _check_kind(given: dict[str, Any]) -> None:
    """Either a published recipe, which says all of the model, or a kind of model.

    Errors:
        InputError: neither, or both.
    """
    if given["recipe"] is None:
        if given["model"] not in (None, *NEURAL):
            raise InputError(f"--model is {given['model']!r}, expected one of {', '.join(NEURAL)}")
        check_attends(given, [given["model"] or "lstm"])
        if given["width"] is not None and given["parameters"] is not None:
            raise InputError("fit: got --width and --parameters, expected one: the other follows")
        return
    if given["recipe"] not in recipes.PUBLISHED:
        known = ", ".join(recipes.PUBLISHED)
        raise InputError(f"--recipe is {given['recipe']!r}, expected one of {known}")
    said = (
        "model", "parameters", "width", "layers", "dropout", "heads", "reach", "position", "head",
        "scaling", "tied", "smoothing", "encoder", "encoder_layers", "attention", "pooling",
        "grams", "bag", "letters", "patch", "causal", "rows", "stochastic_depth",
    )  # fmt: skip
    for option in said:
        if given[option] is not None:
            name = option.replace("_", "-")
            raise InputError(f"--recipe {given['recipe']} says what the model is: no --{name}")


def _check_resumes(given: dict[str, Any]) -> None:
    """A run goes on as it was begun: refuse what would have to be ignored."""
    mine = ("source", "resume", "as_json", "quiet")
    for name in options.told(fit, given):
        if name not in mine:
            option = "time" if name == "time_column" else name.replace("_", "-")
            raise InputError(f"fit --resume goes on with a run as it was begun: no --{option}")


def _resumed(source: str | None, folder: Path, *, quiet: bool) -> tuple[Opened, RunConfig, Path]:
    if source is not None:
        raise InputError("fit --resume takes no DATA: the run knows what it was trained on")
    config = read_config(folder)
    training = config.training
    opened = open_data(
        config.data,
        device=options.check_device(training.device),
        dtype=options.dtype_of(training.dtype),
        vocabulary=read_vocabulary(folder),
    )
    check_measures(opened, training.measure)
    labels = read_labels(folder, config.model.classes)
    if labels is not None and labels != opened.task.labels:
        raise InputError(
            f"fit --resume: {config.data.source} has other classes than when {folder} was begun; "
            "start a new run for that"
        )
    show_pairs("Data", opened.report.rows(), quiet=quiet)
    return opened, config, folder
