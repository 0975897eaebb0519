"""`throughtime predict`: what comes next, or what class it is of, by a trained model."""

import csv
import io
import json
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TextIO

import numpy as np
import typer

from throughtime.commands import options
from throughtime.commands.answering import Search, answer_lines
from throughtime.commands.classifying import classify
from throughtime.commands.stream import parse_levels
from throughtime.data.calendar import format_time
from throughtime.data.pair_vocabulary import PairVocabulary
from throughtime.data.table import SeriesTable
from throughtime.data.text import Vocabulary
from throughtime.decoding import Sampling, write
from throughtime.errors import InputError
from throughtime.models.autoregressive import Autoregressive
from throughtime.serving import LEVELS
from throughtime.state import write_atomically
from throughtime.tasks.forecasting import Future, future
from throughtime.tasks.loading import load_source
from throughtime.training.run import Run, load_run


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run.")],
    source: Annotated[
        str | None,
        typer.Argument(metavar="[DATA]", help="Series to forecast, read as those of the run were; "
                       "by default those. Or sources to answer, a text file of one per line; by "
                       "default standard input. Or examples to classify, in any form that can be "
                       "trained on, with or without labels; one image, or a folder of them; texts "
                       "also one per line, by default of standard input. Not for text."),
    ] = None,
    horizon: Annotated[
        int | None, typer.Option(min=1, help="Steps ahead. Default: the run's.")
    ] = None,
    paths: Annotated[int, typer.Option(min=1, help="Sample paths per series.")] = 500,
    levels: Annotated[
        str, typer.Option(help="Quantiles to show.")
    ] = ",".join(f"{level:g}" for level in LEVELS),
    prompt: Annotated[
        str | None, typer.Option(help="Text to go on from; - reads standard input.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Tokens of text to write.")] = 400,
    temperature: Annotated[
        float, typer.Option(help="Of text: below 1 the likely gets likelier.")
    ] = 1.0,
    top_k: Annotated[
        int | None, typer.Option(help="Of text: only so many of the likeliest tokens.")
    ] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Of text: only the likeliest tokens that together have "
                                   "this probability.")
    ] = None,
    min_p: Annotated[
        float | None, typer.Option(help="Of text: only tokens with this share of the likeliest "
                                   "one's probability.")
    ] = None,
    repetition_penalty: Annotated[
        float, typer.Option(help="Of text: above 1, tokens that occurred get less likely.")
    ] = 1.0,
    greedy: Annotated[
        bool, typer.Option("--greedy", help="Of text: always the likeliest token.")
    ] = False,
    stop: Annotated[
        list[str] | None, typer.Option(help="Text to stop behind; may be given several times.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="How many texts.")] = 1,
    beams: Annotated[
        int, typer.Option(help="Hypotheses side by side; 1: always the likeliest token.",
                          rich_help_panel=options.PAIRS),
    ] = Search.beams,
    n_best: Annotated[
        int, typer.Option(help="Answers to each source. With more than 1 each has a line: number "
                          "of the source, tab, score, tab, text.", rich_help_panel=options.PAIRS),
    ] = Search.n_best,
    length_penalty: Annotated[
        float | None, typer.Option(help="Power of the length that the log probability is divided "
                                   "by, -5 to 5; above 0 favours long answers. Default: 1.",
                                   rich_help_panel=options.PAIRS),
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(help="Tokens of an answer. Default: about twice the source.",
                                 rich_help_panel=options.PAIRS),
    ] = None,
    no_repeat: Annotated[
        int, typer.Option(help="So many tokens in a row stand in no answer twice; 0: they may.",
                          rich_help_panel=options.PAIRS),
    ] = Search.no_repeat,
    require: Annotated[
        list[str] | None, typer.Option(help="Phrase that every answer contains; may be given "
                                       "several times.", rich_help_panel=options.PAIRS),
    ] = None,
    prefix: Annotated[
        str, typer.Option(help="What every answer begins with.", rich_help_panel=options.PAIRS)
    ] = "",
    batch: Annotated[
        int, typer.Option(help="Sources, or examples of classes, at a time, at most.",
                          rich_help_panel=options.PAIRS),
    ] = Search.rows,
    alignment: Annotated[
        bool, typer.Option("--alignment", help="With --json: for each token of an answer, how it "
                           "looks at each token of the source.", rich_help_panel=options.PAIRS),
    ] = False,
    labels: Annotated[
        bool | None,
        typer.Option("--labels/--no-labels", help="Read the labels of DATA and say how many "
                     "answers are right, or leave them out. Default: read where there are any.",
                     rich_help_panel=options.CLASSES),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the samples.")] = 0,
    device: options.Device = "cpu",
    out: Annotated[
        Path | None, typer.Option(help="Write here instead of to standard output.")
    ] = None,
    as_json: options.Json = False,
) -> None:  # fmt: skip
    """Forecast series (CSV: one row per series, target and step), write text, answer, or classify.

    Sources are lines. Each is answered by a line, in the same order, as soon as it has come: an
    empty one by an empty one. With --json a line is an object: source, and answers with text,
    score, log_prob and whether the answer ended or was cut.

    Examples to classify have a row of CSV each (name, label, probability, and truth where DATA has
    labels), or one for each step where steps have classes. Of several classes the label is those
    likelier there than not, with | between them, and the probability that of the least sure
    decision. With --json a line is an object, with the probabilities of all classes.
    """
    if out is not None and out.is_dir():
        raise InputError(f"--out {out} is a folder, expected the name of a file to write")
    given: dict[str, Any] = locals()
    loaded = load_run(run, options.check_device(device))
    _check_options(given, loaded)
    if loaded.labels is not None:
        with _writing(out, source, "examples") as file:
            classify(loaded, source, file, rows=batch, labels=labels, as_json=as_json)
        return
    if isinstance(loaded.vocabulary, PairVocabulary):
        search = Search(
            beams, n_best, length_penalty, max_length, no_repeat, tuple(require or ()), prefix,
            batch, as_json, alignment,
        )  # fmt: skip
        with _writing(out, source, "sources") as file:
            answer_lines(loaded, source, search, file)
        return
    if loaded.vocabulary is not None:
        if source is not None:
            raise InputError("predict: a run on text takes no DATA; give --prompt")
        sampling = Sampling(temperature, top_k, top_p, min_p, repetition_penalty, greedy)
        texts = _write(loaded, prompt, steps, sampling, stop or [], samples, seed)
        result = json.dumps(texts, ensure_ascii=False) if as_json else "\n\n".join(texts)
    else:
        config = loaded.config.data
        table = load_source(config if source is None else replace(config, source=source))
        if not isinstance(table, SeriesTable):
            raise InputError(f"{source} is text, this run forecasts series")
        assert isinstance(loaded.model, Autoregressive)
        shown = parse_levels(levels)
        ahead = horizon or config.horizon
        found = future(loaded.model, table, ahead, paths=paths, seed=seed, device=device)
        rows = _rows(table, found, shown)
        result = json.dumps(rows) if as_json else _csv(rows)
    if out is None:
        sys.stdout.write(result if result.endswith("\n") else result + "\n")
    else:
        write_atomically(out, (result.rstrip("\n") + "\n").encode())


ONLY_FOR = {
    "series": ("horizon", "paths", "levels"),
    "text": (
        "prompt", "steps", "temperature", "top_k", "top_p", "min_p", "repetition_penalty",
        "greedy", "stop", "samples",
    ),
    "pairs": (
        "beams", "n_best", "length_penalty", "max_length", "no_repeat", "require", "prefix",
        "alignment",
    ),
    "pairs and classes": ("batch",),
    "classes": ("labels",),
}  # fmt: skip
"""Options by the kinds of run they are for."""

INSTEAD = {
    ("series", "text"): "; give DATA",
    ("pairs", "greedy"): "; give --beams 1",
    ("pairs", "steps"): "; give --max-length",
    ("pairs", "prompt"): "; give sources on standard input, or --prefix",
    ("pairs", "samples"): "; give --n-best",
    ("classes", "prompt"): "; give DATA, or texts on standard input",
}
"""What to do instead, by the kind of run and the kind of the option, or the option."""


def _check_options(given: dict[str, Any], run: Run) -> None:
    """Refuse what is for another kind of run."""
    kind = "series" if run.vocabulary is None else "text"
    if isinstance(run.vocabulary, PairVocabulary):
        kind = "pairs"
    if run.labels is not None:
        kind = "classes"
    by_chance = kind in ("series", "text")
    meant = {name: other for other, listed in ONLY_FOR.items() for name in listed}
    for name in options.told(predict, given):
        if (name == "seed" and not by_chance) or kind not in meant.get(name, kind):
            instead = INSTEAD.get((kind, name), INSTEAD.get((kind, meant.get(name, "")), ""))
            option = name.replace("_", "-")
            raise InputError(f"predict: a run on {kind} takes no --{option}{instead}")


@contextmanager
def _writing(out: Path | None, source: str | None, what: str) -> Iterator[TextIO]:
    """Standard output, or a file, which is not the one that is read."""
    if out is None:
        yield sys.stdout
        return
    if source is not None and out.exists() and Path(source).exists() and out.samefile(source):
        raise InputError(f"--out {out} is the file of the {what}, expected another one")
    with _replacing(out) as file:
        yield file


@contextmanager
def _replacing(path: Path) -> Iterator[TextIO]:
    """A file that takes the place of `path` once it is whole; until then the old one stays."""
    path = path.resolve()  # a link stays one
    if path.exists() and not path.is_file():  # a pipe or a device
        with path.open("w", encoding="utf-8", newline="\n") as file:
            yield file
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("x", encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _write(
    run: Run,
    prompt: str | None,
    steps: int,
    sampling: Sampling,
    stop: list[str],
    samples: int,
    seed: int,
) -> list[str]:
    assert isinstance(run.vocabulary, Vocabulary)
    assert isinstance(run.model, Autoregressive)
    try:
        text = sys.stdin.read() if prompt == "-" else prompt or ""
    except UnicodeDecodeError as error:
        raise InputError(f"--prompt: standard input is not {error.encoding}") from None
    return write(
        run.model, run.vocabulary, [text] * samples, steps, sampling=sampling, stop=stop, seed=seed
    )


def _rows(table: SeriesTable, found: Future, levels: tuple[float, ...]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for index, series in enumerate(table.series):
        for target, name in enumerate(table.targets):
            paths = found.samples[index, :, :, target]
            quantiles = np.quantile(paths, levels, axis=0)
            for step in range(paths.shape[1]):
                time = None if found.times[index] is None else found.times[index][step]
                row: dict[str, Any] = {"series": series.name, "target": name, "step": step + 1}
                row["time"] = None if time is None else format_time(time)
                row["mean"] = float(paths[:, step].mean())
                row |= {
                    f"q{level:g}": float(value)
                    for level, value in zip(levels, quantiles[:, step], strict=True)
                }
                rows.append(row)
    return rows


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
    return text.getvalue()
