"""Options that several commands share, and what they become."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import torch
import typer

from throughtime.data.columns import Columns
from throughtime.errors import InputError
from throughtime.tasks.data_config import DataConfig

DATA, PAIRS, CLASSES, MODEL, TRAINING, OUTPUT = (
    "Data",
    "Pairs",
    "Classes",
    "Model",
    "Training",
    "Output",
)

Source = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A CSV, Parquet, .npy or text file; pairs in a .tsv, a .jsonl or two files: "
        "train.de,train.en; labelled texts or series in a .ts, .csv, .tsv or .jsonl; images in "
        "idx, .npz or a folder per class; a folder with a file for each of train, valid and test; "
        "or the name of built-in data (throughtime data lists them).",
    ),
]
Task = Annotated[
    str | None,
    typer.Option(help="forecast, language, translate or classify; by default what DATA looks "
                 "like.",
                 rich_help_panel=DATA),
]  # fmt: skip
Target = Annotated[
    str | None,
    typer.Option(
        help="Column to predict, or several: A,B. Default: all columns of numbers.",
        rich_help_panel=DATA,
    ),
]
Time = Annotated[str | None, typer.Option("--time", help="Column of dates.", rich_help_panel=DATA)]
Id = Annotated[
    str | None,
    typer.Option(
        help="Column that tells series apart, or labelled examples.", rich_help_panel=DATA
    ),
]
Known = Annotated[str, typer.Option(help="Columns known ahead of time: A,B.", rich_help_panel=DATA)]
Past = Annotated[
    str, typer.Option(help="Columns known when the target is: A,B.", rich_help_panel=DATA)
]
Static = Annotated[
    str, typer.Option(help="Columns that stay the same in a series: A,B.", rich_help_panel=DATA)
]
Wide = Annotated[
    bool, typer.Option("--wide", help="Each column is a series of its own.", rich_help_panel=DATA)
]
Frequency = Annotated[
    str | None,
    typer.Option(help="Distance of time stamps, such as 1h or 1mo; irregular: rows are steps.",
                 rich_help_panel=DATA),
]  # fmt: skip
Season = Annotated[
    int | None, typer.Option(help="Steps of a season. Default: from the dates.",
                             rich_help_panel=DATA),
]  # fmt: skip
Split = Annotated[
    str,
    typer.Option(
        help="Training, validation, test in time: shares 0.7,0.1,0.2, rows 8640,2880,2880, "
        "or two dates; of pairs and examples shares, by chance.",
        rich_help_panel=DATA,
    ),
]
Horizon = Annotated[int, typer.Option(min=1, help="Steps to forecast.", rich_help_panel=DATA)]
Tokens = Annotated[
    str | None,
    typer.Option(help="Of texts: characters (default), bytes, words or bpe; of pairs one or two, "
                 "such as characters,words. Default for pairs and labelled texts: bpe.",
                 rich_help_panel=DATA),
]  # fmt: skip
VocabularySize = Annotated[
    int | None,
    typer.Option("--vocabulary", help="Words at most, the others count as unknown; or "
                 "tokens of bpe, 2000 by default.", rich_help_panel=DATA),
]  # fmt: skip
Encoding = Annotated[str, typer.Option(help="Of text and CSV.", rich_help_panel=DATA)]
Sort = Annotated[
    bool, typer.Option("--sort", help="Sort rows by time instead of refusing unsorted ones.",
                       rich_help_panel=DATA),
]  # fmt: skip

Parameters = Annotated[
    int | None,
    typer.Option(min=1, help="Parameters per model; the width is solved for. Default: 20,000 for "
                 "series, 100,000 for text, 500,000 for pairs, 50,000 for classes.",
                 rich_help_panel=MODEL),
]  # fmt: skip
Layers = Annotated[
    int | None,
    typer.Option(min=1, help="Layers per model. Default: 1; 2 for a transformer of pairs or "
                 "classes.",
                 rich_help_panel=MODEL),
]  # fmt: skip
Dropout = Annotated[
    float | None,
    typer.Option(help="Between layers, 0 to 1. Default: 0; 0.1 for pairs and classes.",
                 rich_help_panel=MODEL),
]  # fmt: skip
Tied = Annotated[
    bool | None,
    typer.Option("--tied/--untied", help="Of text and pairs: foretell with the vectors that are "
                 "read. Default: tied with --joint.", rich_help_panel=MODEL),
]  # fmt: skip
Smoothing = Annotated[
    float | None,
    typer.Option(help="Of text, pairs and classes: share of label smoothing, 0 to 1. Default: 0; "
                 "0.1 for pairs.", rich_help_panel=MODEL),
]  # fmt: skip
Heads = Annotated[
    int | None,
    typer.Option(min=1, help="Of the transformer: heads of attention. Default: 4.",
                 rich_help_panel=MODEL),
]  # fmt: skip
Reach = Annotated[
    int | None,
    typer.Option(min=1, help="Of the transformer: steps that each layer sees before its own.",
                 rich_help_panel=MODEL),
]  # fmt: skip
Position = Annotated[
    str | None,
    typer.Option(help="Of the transformer: rotary (default), alibi, sinusoidal, learned (default "
                 "of images) or none.",
                 rich_help_panel=MODEL),
]  # fmt: skip
Head = Annotated[
    str | None,
    typer.Option(
        help="Of a forecast: normal, student (default), negative_binomial (counts) or quantiles.",
        rich_help_panel=MODEL,
    ),
]
Scaling = Annotated[
    str | None,
    typer.Option(
        help="Of series: none, fixed (by the training data), mean or standard (each series by "
        "itself). Default: fixed for one series and for classes, standard for several.",
        rich_help_panel=MODEL,
    ),
]

Epochs = Annotated[
    int | None, typer.Option(help="Passes through the data.", rich_help_panel=TRAINING)
]
Steps = Annotated[
    int | None, typer.Option(help="Updates of the weights at most.", rich_help_panel=TRAINING)
]
Seconds = Annotated[
    float | None,
    typer.Option(help="Seconds of training per model at most; not repeatable exactly.",
                 rich_help_panel=TRAINING),
]  # fmt: skip
LearningRate = Annotated[
    float | None, typer.Option("--lr", help="Learning rate.", rich_help_panel=TRAINING)
]
BatchSize = Annotated[
    int | None,
    typer.Option(help="Rows side by side; of pairs: tokens of both sides in a batch.",
                 rich_help_panel=TRAINING),
]  # fmt: skip
Window = Annotated[
    int | None,
    typer.Option(help="k1: steps between cuts of back-propagation; the state is carried over.",
                 rich_help_panel=TRAINING),
]  # fmt: skip
Depth = Annotated[
    int | None,
    typer.Option(help="k2: steps the gradient goes back, at least --window.",
                 rich_help_panel=TRAINING),
]  # fmt: skip
Truncation = Annotated[
    str | None,
    typer.Option(help="full, truncated (default), random or unbiased (ARTBP).",
                 rich_help_panel=TRAINING),
]  # fmt: skip
Schedule = Annotated[
    str | None,
    typer.Option(help="constant, cosine, inverse_root, plateau or halving.",
                 rich_help_panel=TRAINING),
]  # fmt: skip
Warmup = Annotated[
    int | None,
    typer.Option(help="Updates in which the learning rate rises from 0.",
                 rich_help_panel=TRAINING),
]  # fmt: skip
Average = Annotated[
    int | None,
    typer.Option(help="Use the mean of the weights at so many last validations. Default: 1.",
                 rich_help_panel=TRAINING),
]  # fmt: skip
Optimizer = Annotated[str | None, typer.Option(help="adamw or sgd.", rich_help_panel=TRAINING)]
Patience = Annotated[
    int | None,
    typer.Option(help="Validations without improvement before stopping.",
                 rich_help_panel=TRAINING),
]  # fmt: skip
Precision = Annotated[
    str | None,
    typer.Option(help="full, bfloat16, or float16 on CUDA.", rich_help_panel=TRAINING),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.", rich_help_panel=TRAINING)]
Dtype = Annotated[str, typer.Option(help="float32 or float64.", rich_help_panel=TRAINING)]

Json = Annotated[
    bool, typer.Option("--json", help="Results as JSON on standard output, for machines.",
                       rich_help_panel=OUTPUT),
]  # fmt: skip
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Only the result.", rich_help_panel=OUTPUT)
]


def names(text: str | None) -> tuple[str, ...]:
    """`A, B` as names."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def data_config(options: dict[str, Any]) -> DataConfig:
    """The data options of a command, by the names of its parameters."""
    return DataConfig(
        source=options["source"],
        task=options["task"],
        columns=Columns(
            time=options["time_column"],
            id=options["id"],
            targets=names(options["target"]),
            known=names(options["known"]),
            past=names(options["past"]),
            static=names(options["static"]),
            wide=options["wide"],
            frequency=options["frequency"],
            season=options["season"],
        ),
        split=options["split"],
        horizon=options["horizon"],
        tokens=options["tokens"],
        vocabulary=options["vocabulary"],
        validation=options["validation"],
        test=options["test"],
        direction=options["direction"],
        joint=options["joint"],
        form=options["form"],
        measure=options["measure"],
        label=options["label"],
        text=options["text"],
        features=options["features"],
        labels=options["labels"],
        weighted=options["weighted"],
        image_size=options["image_size"],
        augment=options["augment"],
        tokenize=options["tokenize"],
        longest=options["longest"],
        encoding=options["encoding"],
        sort=options["sort"],
    )


def model_fields(options: dict[str, Any]) -> dict[str, Any]:
    """The model options that were given."""
    fields = {
        "layers": "layers",
        "dropout": "dropout",
        "width": "width",
        "heads": "heads",
        "reach": "horizon",
        "position": "position",
        "head": "head",
        "scaling": "scaling",
        "tied": "tied",
        "smoothing": "smoothing",
        "encoder": "encoder",
        "encoder_layers": "encoder_layers",
        "attention": "attention",
        "pooling": "pooling",
        "grams": "grams",
        "bag": "bag",
        "letters": "letters",
        "patch": "patch",
        "causal": "around",
        "rows": "rows",
        "stochastic_depth": "stochastic_depth",
    }
    options = {
        **options,
        "causal": None if options.get("causal") is None else not options["causal"],
    }
    return {name: options[key] for key, name in fields.items() if options.get(key) is not None}


def told(command: Callable[..., Any], given: dict[str, Any]) -> list[str]:
    """The parameters of a command that were given another value than their default."""
    usual = inspect.signature(command).parameters
    return [name for name, value in given.items() if value != usual[name].default]


def training_fields(options: dict[str, Any]) -> dict[str, Any]:
    """The training options that were given."""
    fields = {
        "epochs": "epochs",
        "steps": "max_steps",
        "seconds": "max_seconds",
        "lr": "learning_rate",
        "batch_size": "batch_size",
        "window": "window",
        "depth": "depth",
        "truncation": "truncation",
        "schedule": "schedule",
        "warmup": "warmup",
        "average": "average",
        "scheduled": "scheduled",
        "stop_on": "measure",
        "optimizer": "optimizer",
        "patience": "patience",
        "precision": "precision",
        "device": "device",
        "dtype": "dtype",
    }
    return {name: options[key] for key, name in fields.items() if options[key] is not None}


def dtype_of(name: str) -> torch.dtype:
    """float32 or float64.

    Errors:
        InputError: another name.
    """
    if name not in ("float32", "float64"):
        raise InputError(f"--dtype is {name!r}, expected float32 or float64")
    return getattr(torch, name)


def check_device(name: str) -> str:
    """A device that is there.

    Errors:
        InputError: none of that name, or none on this machine.
    """
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"--device {name} cannot be used here: {reason}") from None
    return name
