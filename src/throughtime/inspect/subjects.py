"""What a run is shown when one looks inside: a text, a row of its data, a pair, or an image."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from throughtime.data.calendar import format_time
from throughtime.data.examples import Examples
from throughtime.data.pair_vocabulary import PairVocabulary
from throughtime.data.text import Vocabulary
from throughtime.decoding.translating import translate
from throughtime.errors import InputError
from throughtime.inspect.panels import Steps
from throughtime.inspect.pictures import png_uri
from throughtime.shapes import Tensor
from throughtime.tasks.class_logits import Encoder
from throughtime.tasks.forecasting import Forecasting
from throughtime.tasks.opening import open_data
from throughtime.tasks.rows import Rows
from throughtime.training.run import Run

__all__ = [
    "Example",
    "Pair",
    "Stretch",
    "Subject",
    "given_image",
    "given_pair",
    "given_text",
    "kind_of_run",
    "row_of",
    "task_of",
]

TOKENS, TIMES = 128, 192
"""Steps of a row of a test part, of a text and of a series."""

LONGEST = 256
"""Steps that are shown at most."""

BEFORE = 256
"""Steps that a model reads before a row, and which are not shown."""

BEGIN = "<begin>"
"""What a step is called at which nothing came before."""

TOKEN = "<class>"
"""The learned vector before a sequence, by which its class is told."""

ROWS = 8
"""Other rows of the same text, for what a single one says too little about."""


@dataclass(frozen=True, eq=False)
class Stretch:
    """Some steps of a text or of a series, which a model reads and foretells.

    Attributes:
        name: which ones, in words.
        inputs: `[1, time]` token ids or `[1, time, size]` numbers, what is read.
        targets: likewise, what is foretold; of a text -1 where nobody knows.
        covariates: `[1, time, columns]`, or None.
        first: the first step that is shown.
        steps: what those are called.
        values: of a series, the names of its numbers.
        others: `[rows, time]`, more of the same text; None where there is none.
        notes: what was cut off.
    """

    name: str
    inputs: Tensor
    targets: Tensor
    covariates: Tensor | None
    first: int
    steps: Steps
    values: tuple[str, ...] = ()
    others: Tensor | None = None
    notes: tuple[str, ...] = ()

    @property
    def steps_shown(self) -> int:
        """How many."""
        return len(self.steps.words)


@dataclass(frozen=True, eq=False)
class Pair:
    """A source and a target.

    Attributes:
        name: which one, in words.
        x: `[1, steps]`, ids of the source with its end.
        y: `[1, time]`, ids of the target, with its end where it has one.
        answered: whether the target is the model's own answer.
        source, target: what the steps are called.
    """

    name: str
    x: Tensor
    y: Tensor
    answered: bool
    source: Steps
    target: Steps

    @property
    def steps_shown(self) -> int:
        """Of the target."""
        return len(self.target.words)


@dataclass(frozen=True, eq=False)
class Example:
    """Something to tell the class of.

    Attributes:
        name: which one, in words.
        x: `[1, time]` ids, `[1, time, size]` numbers, or `[1, channels, height, width]` pixels.
        truth: the classes it is of, by their names; None where nobody knows.
        steps: what its steps are called; of an image the patches.
        values: of a series, the names of its numbers.
        notes: what was cut off.
    """

    name: str
    x: Tensor
    truth: Any
    steps: Steps
    values: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def steps_shown(self) -> int:
        """How many."""
        return len(self.steps.words)


Subject = Stretch | Pair | Example


def kind_of_run(run: Run) -> str:
    """What a run is about: `text`, `series`, `pairs`, or `texts`, `series` or `images` of classes.

    Returns:
        The kind in words: `text`, `series`, `pairs`, `classes of texts`, `classes of series`,
        `classes of images`.
    """
    if run.labels is not None:
        model = run.config.model
        return f"classes of {'texts' if model.tokens else 'images' if model.image else 'series'}"
    if isinstance(run.vocabulary, PairVocabulary):
        return "pairs"
    return "series" if run.vocabulary is None else "text"


# -- what is given -------------------------------------------------------------------------------


def given_text(run: Run, text: str) -> Stretch | Example:
    """A text of one's own, for a run on text or on classes of texts.

    Errors:
        InputError: no tokens in it, or one that the run does not know.
    """
    vocabulary: Vocabulary = run.vocabulary
    ids = _encoded("--text", vocabulary.encode, text)
    if not len(ids):
        raise InputError(f"--text is {text!r}, expected some with {vocabulary.unit}s in it")
    if run.labels is not None:
        examples = Examples("texts", [text], None, ["the text given"])
        return _example(run, examples, 0, "the text given")
    notes = _cut_note(len(ids), LONGEST, f"{vocabulary.unit}s")
    return _text_stretch(run, "the text given", ids[:LONGEST], 0, notes=notes)


def given_pair(run: Run, source: str, target: str | None) -> Pair:
    """A source, and a target or the model's own answer.

    Errors:
        InputError: a token that the run does not know, or an empty answer.
    """
    vocabulary: PairVocabulary = run.vocabulary
    if not source.strip():
        unit = vocabulary.source.unit
        raise InputError(f"--source is {source!r}, expected some with {unit}s in it")
    x = _encoded("--source", vocabulary.encode_source, source)
    if target is not None:
        y = _encoded("--target", vocabulary.encode_target, target)
        return _pair(run, "the pair given", x, y, answered=False)
    [answers] = translate(run.model, vocabulary, [source])
    best = answers[0] if answers else None
    ids = [] if best is None else [*best.tokens, *[vocabulary.target_end] * best.ended]
    if not ids:
        raise InputError(f"the answer to --source {source!r} is empty; give --target")
    return _pair(run, "the source given", x, np.array(ids), answered=True)


def given_image(run: Run, examples: Examples, name: str) -> Example:
    """The one image of a file.

    Errors:
        InputError: none, or several.
    """
    if len(examples) != 1:
        raise InputError(f"--image {name}: there are {len(examples)} images, expected one")
    return _example(run, examples, 0, name)


def _encoded(option: str, encode: Any, text: str) -> np.ndarray:
    try:
        return encode(text)
    except InputError as error:
        raise InputError(f"{option}: {str(error).removeprefix('encode: ')}") from None


# -- rows of the data ----------------------------------------------------------------------------


def row_of(run: Run, row: int) -> Subject:
    """A row of the test part of what a run was fitted on.

    Of a text a row is so many tokens, one after another; of one series so many steps; of several
    series the last steps of each; else it is one pair or example.

    Errors:
        InputError: data that are no longer there, or no such row.
    """
    task = task_of(run)
    if run.labels is not None:
        examples = task.examples("test")
        _check_row(row, len(examples), "examples")
        named = examples.names[row]
        beside = "" if named.isdecimal() else f" ({named})"
        return _example(run, examples, row, f"row {row} of the test part{beside}")
    if isinstance(run.vocabulary, PairVocabulary):
        sources, targets = task.judged("test").ids
        _check_row(row, len(sources), "pairs")
        name = f"pair {row} of the test part"
        return _pair(run, name, sources[row], targets[row], answered=False)
    if run.vocabulary is None:
        return _series_stretch(run, task, row)
    tokens = task.test
    _check_row(row, -(-len(tokens) // TOKENS), f"stretches of {TOKENS} {run.vocabulary.unit}s")
    name = f"stretch {row} of the test part"
    rows = [tokens[at * TOKENS :][:TOKENS] for at in range(min(ROWS, len(tokens) // TOKENS))]
    others = torch.from_numpy(np.stack(rows)) if rows else None
    return _text_stretch(run, name, tokens[: (row + 1) * TOKENS], row * TOKENS, others=others)


def task_of(run: Run) -> Any:
    """The task of a run, its data read again.

    Errors:
        InputError: data that are no longer there, or are others.
    """
    instead = {
        "text": "; give --text", "pairs": "; give --source", "classes of texts": "; give --text",
        "classes of images": "; give --image",
    }.get(kind_of_run(run), "")  # fmt: skip
    try:
        opened = open_data(
            run.config.data,
            device="cpu",
            dtype=getattr(torch, run.config.training.dtype),
            vocabulary=run.vocabulary,
        )
    except InputError as error:
        raise InputError(
            f"the data that {run.folder} was fitted on cannot be read ({error}){instead}"
        ) from None
    return opened.task


def _check_row(row: int, count: int, what: str) -> None:
    if not 0 <= row < count:
        raise InputError(f"--row is {row}, expected 0 to {count - 1}: there are {count:,} {what}")


# -- into what a model reads ---------------------------------------------------------------------


def _text_stretch(
    run: Run,
    name: str,
    tokens: np.ndarray,
    start: int,
    *,
    others: Tensor | None = None,
    notes: tuple[str, ...] = (),
) -> Stretch:
    """Tokens from `start` on, each read and the next one foretold; some before are read as well."""
    vocabulary: Vocabulary = run.vocabulary
    begin = max(0, start - BEFORE)
    ids = tokens[begin:].astype(np.int64)
    words = [vocabulary.name(number) for number in tokens[start:].tolist()]
    if begin == 0:
        ids = np.append(vocabulary.begin, ids)
    if start == 0:
        words = [BEGIN, *words]
    targets = np.append(ids[1:], -1)
    read = torch.from_numpy(ids.copy())[None]
    steps = Steps(
        "text", name, tuple(words), vocabulary.unit,
        form="apart" if vocabulary.kind == "words" else "joined",
    )  # fmt: skip
    first = read.shape[1] - len(words)
    return Stretch(name, read, torch.from_numpy(targets)[None], None, first, steps,
                   others=others, notes=notes)  # fmt: skip


def _series_stretch(run: Run, task: Forecasting, row: int) -> Stretch:
    """Steps of one series, and those before it."""
    starts, stops = task.borders("test")
    if len(task.table) == 1:
        places = [(0, at, min(at + TIMES, stops[0])) for at in range(starts[0], stops[0], TIMES)]
        what = f"stretches of {TIMES} steps"
    else:
        places = [
            (at, max(start, stop - TIMES), stop)
            for at, (start, stop) in enumerate(zip(starts, stops, strict=True)) if stop > start
        ]  # fmt: skip
        what = "series"
    _check_row(row, len(places), what)
    number, start, stop = places[row]
    series = task.table.series[number]
    rows = Rows.make(task, [series], [stop], min(stop, stop - start + BEFORE), stop - start)
    batch = rows.batch(0, rows.time)
    words = tuple(format_time(time) for time in series.times[start:stop])
    title = f"{series.name}, {words[0]} to {words[-1]}"
    columns = (*task.table.targets, *task.table.past)
    return Stretch(
        title, batch.inputs, batch.targets, batch.covariates, rows.evaluated,
        Steps("series", title, words, "step", form="times"), values=columns,
    )  # fmt: skip


def _pair(run: Run, name: str, x: np.ndarray, y: np.ndarray, *, answered: bool) -> Pair:
    vocabulary: PairVocabulary = run.vocabulary
    sides = {}
    for side, known, ids, end in (
        ("source", vocabulary.source, x, vocabulary.source_end),
        ("target", vocabulary.target, y, vocabulary.target_end),
    ):
        words = tuple("<end>" if one == end else known.name(one) for one in ids.tolist())
        form = "apart" if known.kind == "words" else "joined"
        title = "the model's answer" if side == "target" and answered else f"the {side}"
        sides[side] = Steps(side, title, words, known.unit, form=form)
    read, written = (torch.from_numpy(ids.astype(np.int64))[None] for ids in (x, y))
    return Pair(name, read, written, answered, sides["source"], sides["target"])


def _example(run: Run, examples: Examples, row: int, name: str) -> Example:
    """One of some examples, as the model reads it."""
    config, vocabulary = run.config, run.vocabulary
    one = replace(examples.take([row]), labels=None)
    dtype = run.model.like().dtype
    value = Encoder(examples.kind, vocabulary, config.data.longest, dtype)(one)[0]
    truth = None if examples.labels is None else examples.labels[row]
    notes: tuple[str, ...] = ()
    token = () if run.model.token is None else (TOKEN,)
    if examples.kind == "images":
        return Example(name, torch.from_numpy(value[None]), truth, _patches(run, value, name))
    if examples.kind == "texts":
        words = tuple(
            BEGIN if number == vocabulary.begin else vocabulary.name(number)
            for number in value.tolist()
        )
        form = "apart" if vocabulary.kind == "words" else "joined"
        steps = Steps("text", name, (*token, *words), vocabulary.unit, form=form)
        notes = _cut_note(len(vocabulary.encode(one.values[0])), config.data.longest,
                          f"{vocabulary.unit}s")  # fmt: skip
    else:
        words = tuple(str(step) for step in range(len(value)))
        steps = Steps("series", name, (*token, *words), "step", form="times")
    x = torch.from_numpy(np.ascontiguousarray(value))[None]
    return Example(name, x, truth, steps, examples.features, notes)


def _patches(run: Run, image: np.ndarray, name: str) -> Steps:
    """The patches of an image, row after row."""
    rows, columns = run.model.inputs.patches.cut(*image.shape[1:])
    words = tuple(
        f"row {at // columns + 1}" if columns == 1
        else f"patch in row {at // columns + 1}, column {at % columns + 1}"
        for at in range(rows * columns)
    )  # fmt: skip
    before = int(run.model.token is not None)
    return Steps(
        "image", name, (*[TOKEN] * before, *words), "row" if columns == 1 else "patch",
        form="apart", image=png_uri(image, longest=512), grid=(rows, columns), before=before,
    )  # fmt: skip


def _cut_note(count: int, most: int, what: str) -> tuple[str, ...]:
    if count <= most:
        return ()
    return (f"There are {count:,} {what}; the first {most:,} are looked at.",)
