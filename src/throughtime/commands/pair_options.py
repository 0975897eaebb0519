"""Options that are for pairs of texts."""

from typing import Annotated

import typer

from throughtime.commands.options import PAIRS

Validation = Annotated[
    str | None,
    typer.Option(help="Pairs or examples that training is watched on, named like DATA; of "
                 "examples also the share to hold out, 0.1. Default: a part of DATA.",
                 rich_help_panel=PAIRS),
]  # fmt: skip
Test = Annotated[
    str | None,
    typer.Option(help="Pairs or examples that are judged on; of pairs beside --validation.",
                 rich_help_panel=PAIRS),
]  # fmt: skip
Direction = Annotated[
    str | None,
    typer.Option(help="Names of source and target, such as de-en: endings of files, columns or "
                 "fields.", rich_help_panel=PAIRS),
]  # fmt: skip
Joint = Annotated[
    bool, typer.Option("--joint", help="One vocabulary for both sides.", rich_help_panel=PAIRS)
]
Form = Annotated[
    str,
    typer.Option(help="Unicode form of sources: NFC, NFD (letters apart from their accents), NFKC "
                 "or NFKD. Default: as they are.", rich_help_panel=PAIRS),
]  # fmt: skip
Measure = Annotated[
    str | None,
    typer.Option(help="What answers are judged by: bleu, or wer, the share that is not right as a "
                 "whole. Default: wer from characters to words, else bleu.",
                 rich_help_panel=PAIRS),
]  # fmt: skip
Tokenize = Annotated[
    str,
    typer.Option(help="How BLEU cuts texts into words: 13a, intl, zh, ja-mecab, ko-mecab, char; "
                 "none for texts that are cut already.", rich_help_panel=PAIRS),
]  # fmt: skip
Longest = Annotated[
    int,
    typer.Option(help="Tokens of a side in training; longer pairs are left out. Labelled texts are "
                 "cut after so many.",
                 rich_help_panel=PAIRS),
]  # fmt: skip
Encoder = Annotated[
    str | None,
    typer.Option(help="rnn, lstm, gru or transformer. Default: as the model.",
                 rich_help_panel=PAIRS),
]  # fmt: skip
EncoderLayers = Annotated[
    int | None,
    typer.Option(help="Layers of the encoder. Default: as many as --layers.",
                 rich_help_panel=PAIRS),
]  # fmt: skip
Attention = Annotated[
    str | None,
    typer.Option(help="How a recurrent model looks at the source: additive (default), "
                 "multiplicative or none.", rich_help_panel=PAIRS),
]  # fmt: skip
Scheduled = Annotated[
    float | None,
    typer.Option(help="Share of tokens that training feeds as the model foretells them, 0 to 1. "
                 "Default: 0.", rich_help_panel=PAIRS),
]  # fmt: skip
StopOn = Annotated[
    str | None,
    typer.Option(help="What decides over the best weights and when to stop: loss (default), of "
                 "answers bleu, chrf, wer or per, of classes accuracy, balanced or f1.",
                 rich_help_panel=PAIRS),
]  # fmt: skip
