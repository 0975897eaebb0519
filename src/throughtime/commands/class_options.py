"""Options that are for classification."""

from typing import Annotated

import typer

from throughtime.commands.options import CLASSES, MODEL

Label = Annotated[
    str | None,
    typer.Option(help="Column or field of the class. Default: label, class, target or the like.",
                 rich_help_panel=CLASSES),
]  # fmt: skip
Text = Annotated[
    str | None,
    typer.Option(help="Column or field of the text. Default: text, document or the like.",
                 rich_help_panel=CLASSES),
]  # fmt: skip
Features = Annotated[
    str,
    typer.Option(help="Columns of numbers: A,B. Default: all but id, time and label.",
                 rich_help_panel=CLASSES),
]  # fmt: skip
LabelKind = Annotated[
    str | None,
    typer.Option("--labels", help="one class for each example, several, or one for each of its "
                 "steps. Default: what they look like.", rich_help_panel=CLASSES),
]  # fmt: skip
Weighted = Annotated[
    bool,
    typer.Option("--weighted", help="Rare classes count as much as frequent ones.",
                 rich_help_panel=CLASSES),
]  # fmt: skip
ImageSize = Annotated[
    str | None,
    typer.Option(help="Pixels that images are brought to: 32, or height and width: 32x48.",
                 rich_help_panel=CLASSES),
]  # fmt: skip
Augmentation = Annotated[
    str,
    typer.Option("--augment", help="How images are altered in training: shift=2,flip,cutout=8,"
                 "mixup=0.2, or some of these.", rich_help_panel=CLASSES),
]  # fmt: skip
Pooling = Annotated[
    str | None,
    typer.Option(help="What is made of all steps: mean (default), max, attention, last, ends (of "
                 "both directions) or token.", rich_help_panel=MODEL),
]  # fmt: skip
Grams = Annotated[
    int | None,
    typer.Option(min=0, help="Of texts: tokens of the longest n-grams that have vectors too; 0 "
                 "(default): none.", rich_help_panel=MODEL),
]  # fmt: skip
Bag = Annotated[
    int | None,
    typer.Option(min=0, help="Of texts: tokens of the longest n-grams in a linear model beside the "
                 "body; 0 (default): none.", rich_help_panel=MODEL),
]  # fmt: skip
Letters = Annotated[
    int | None,
    typer.Option(min=0, help="Of texts of characters: letters of the longest n-grams in another "
                 "such model, into which syllables are spelled; 0 (default): none.",
                 rich_help_panel=MODEL),
]  # fmt: skip
Patch = Annotated[
    int | None,
    typer.Option(min=1, help="Of images: side of the squares that are steps, in pixels. Default: "
                 "at most 50 squares.", rich_help_panel=MODEL),
]  # fmt: skip
Causal = Annotated[
    bool | None,
    typer.Option("--causal/--around", help="See the past only and answer after every step, as "
                 "stream needs it; or see all (default).", rich_help_panel=MODEL),
]  # fmt: skip
Rows = Annotated[
    bool | None,
    typer.Option("--rows/--patches", help="Of images: steps are rows of pixels (default of "
                 "recurrent models) or squares.", rich_help_panel=MODEL),
]  # fmt: skip
StochasticDepth = Annotated[
    float | None,
    typer.Option(help="Of the transformer: share of rows that leave out the last block in "
                 "training. Default: 0.", rich_help_panel=MODEL),
]  # fmt: skip
