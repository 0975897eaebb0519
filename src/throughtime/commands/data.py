"""`throughtime data`: what is built in, and what is in a file."""

import json
from typing import Annotated

import typer

from throughtime.commands import class_options, options, pair_options
from throughtime.commands.console import show_pairs
from throughtime.data import builtin
from throughtime.tasks.data_config import DataConfig
from throughtime.tasks.opening import open_data


def data(
    source: Annotated[
        str | None,
        typer.Argument(metavar="[DATA]", help="A file, two files of pairs (train.de,train.en) or "
                       "built-in data to report on; none lists what is built in."),
    ] = None,
    task: options.Task = None,
    target: options.Target = None,
    horizon: options.Horizon = 1,
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
    as_json: options.Json = False,
) -> None:  # fmt: skip
    """List the built-in data, or report on what is in a file before anything is trained on it."""
    given = locals()
    if source is None:
        if as_json:
            print(json.dumps(builtin.names(), indent=2))
        else:
            show_pairs("Built-in data", list(builtin.names().items()), result=True)
        return
    opened = open_data(options.data_config(given))
    if as_json:
        print(json.dumps(opened.report.to_json(), indent=2))
    else:
        show_pairs("Data", opened.report.rows(), result=True)
