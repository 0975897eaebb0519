"""Classes of examples: of a file, of a folder, or of texts as they arrive."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from throughtime.commands.answering import MOST, batches, check_count
from throughtime.commands.console import say
from throughtime.data import builtin
from throughtime.data.examples import Examples
from throughtime.data.image_files import resize
from throughtime.data.images import has_image_parts, is_images
from throughtime.data.labels import UNKNOWN, Labels
from throughtime.data.reading import stream_lines
from throughtime.errors import InputError
from throughtime.serving import THRESHOLD, feature_names, verdict
from throughtime.tasks.class_logits import Encoder, logits, probabilities
from throughtime.tasks.data_config import DataConfig
from throughtime.tasks.labelled import image_size, load_labelled
from throughtime.training.run import Run

TABLES = (".ts", ".csv", ".tsv", ".parquet", ".jsonl")
"""Endings of files that are never one text per line."""


def classify(
    run: Run,
    source: str | None,
    out: Any,
    *,
    rows: int = 256,
    labels: bool | None = None,
    as_json: bool = False,
) -> None:
    """Write which class each example is of: a row of CSV, or a JSON object on a line.

    Args:
        run: on classes.
        source: a file or folder, read as the run's were; of texts also a text file of one per line,
            or None: standard input.
        out: has `write` and `flush`.
        rows: examples at a time.
        labels: whether those of the source are read; None: where there are some.
        as_json: with the probabilities of all classes.

    Errors:
        InputError: no such file, one that cannot be read, or examples that do not fit the run.
    """
    assert run.labels is not None
    check_count("batch", rows, 1, MOST["rows"])
    texts = run.vocabulary is not None
    if source is None and not texts:
        raise InputError(f"predict: {run.folder} is no run on texts, expected DATA after it")
    if texts and (source is None or _is_plain(Path(source), run.config.data.encoding)):
        if labels:
            raise InputError("--labels: lines of text have none, expected DATA with labels")
        _classify_lines(run, source, _Writer(out, run.labels, as_json=as_json), rows)
        return
    assert source is not None
    examples = read_examples(run, source, labels=labels)
    truth = None
    if examples.labels is not None:
        truth = _encoded(run.labels, examples.labels, source)
    found = _shares(run, examples, rows)
    if truth is not None and run.labels.kind == "steps":
        truth = _aligned(examples, found, truth, run.config.data.longest)
    _Writer(out, run.labels, as_json=as_json, judged=truth is not None).write(
        examples.names, found, truth
    )
    if truth is not None:
        say(_accuracy(found, truth, run.labels.kind))
    elif labels is None:
        say(f"throughtime: {source}: no labels were read; --labels says why")


def _classify_lines(run: Run, source: str | None, writer: "_Writer", rows: int) -> None:
    """Texts are answered line by line, in order, as they come."""
    for number, texts in batches(source, run.config.data.encoding, rows, unit="text"):
        names = [str(number + place) for place in range(len(texts))]
        some = Examples("texts", texts, None, names)
        writer.write(names, _shares(run, some, rows) if texts else [])
    writer.write([], [])  # of no lines there are the names of columns


def _is_plain(path: Path, encoding: str) -> bool:
    """Whether a file is one text per line: text by its name, without tabs in its first line."""
    name = path.name.lower().removesuffix(".gz")
    if Path(name).suffix in TABLES or not path.is_file() or is_images(path):
        return False
    return "\t" not in next(stream_lines("predict", path, encoding), "")


# -- reading ---------------------------------------------------------------------------------------


def read_examples(run: Run, source: str, *, labels: bool | None = None) -> Examples:
    """Examples as a run reads them.

    Args:
        run: on classes.
        source: a file, a folder, or the name of built-in data.
        labels: whether to read labels; None: where there are some, and none if they cannot be read.

    Errors:
        InputError: no such file, one with parts, one that cannot be read, or examples of another
            kind, with other features or of another size than the run's.
    """
    config = run.config.data
    told = replace(
        config, source=source, validation=None, test=None, split=DataConfig.split,
        labels=None if run.labels is None else run.labels.kind,
    )  # fmt: skip
    if source in builtin.names():
        examples = builtin.load(source)
        if not isinstance(examples, Examples):
            raise InputError(f"predict: {source} is no labelled examples, expected some")
        examples = replace(examples, labels=None) if labels is False else examples
        size = image_size(config)
        if size is not None:
            examples = replace(examples, values=resize(examples.values, size))
    elif not Path(source).exists():
        raise InputError(f"predict: there is no file or folder {source}")
    else:
        examples = _read(told, labels=labels)
    _check(run, source, examples)
    return examples


def _read(config: DataConfig, *, labels: bool | None) -> Examples:
    """All examples of one file or folder, with labels where there are some."""
    if has_image_parts(config.source):
        raise _parts(config.source)
    if labels is not False:
        try:
            found = load_labelled(config)
        except InputError:
            if labels:
                raise
        else:
            if not isinstance(found, Examples):
                raise _parts(config.source)
            return found
    found = load_labelled(config, labels=False)
    assert isinstance(found, Examples)
    return found


def _parts(source: str) -> InputError:
    return InputError(
        f"predict: {source} has parts for training and others, expected a file or folder of one"
    )


def _check(run: Run, source: str, examples: Examples) -> None:
    """Refuse what the model cannot read."""
    config, model = run.config.data, run.config.model
    kind = "texts" if model.tokens else "images" if model.image else "series"
    if examples.kind != kind:
        raise InputError(f"predict: {source}: there are {examples.kind}, expected {kind} as in "
                         "training")  # fmt: skip
    known = feature_names(run)
    # Where columns are asked for by name the reader has found them.
    same = len(examples.features) == len(known) if config.features else examples.features == known
    if kind == "series" and not same:
        raise InputError(
            f"predict: {source} has features {', '.join(examples.features)}, expected "
            f"{', '.join(known)} as in training"
        )
    if kind == "images":
        _check_images(run, source, examples.values.shape[1:])


def _check_images(run: Run, source: str, shape: tuple[int, ...]) -> None:
    """Channels as in training, and the size too, unless positions of patches can be interpolated.

    Steps of a recurrent model are rows, or patches without positions: another size would be another
    sequence.
    """
    config = run.config.model
    channels, *size = config.image
    if shape[0] != channels:
        raise InputError(
            f"predict: {source} has images of {shape[0]} channels, expected {channels} as in "
            "training"
        )
    came = "x".join(map(str, shape[1:]))
    if config.kind == "transformer" and not config.rows:
        try:
            run.model.inputs.patches.cut(*shape[1:])
        except InputError as error:
            raise InputError(f"predict: {source} has images of {came}; {error}") from None
    elif [*shape[1:]] != size:
        raise InputError(
            f"predict: {source} has images of {came}, expected {'x'.join(map(str, size))} as in "
            "training (height, width); a run fitted with --image-size resizes them"
        )


def _encoded(labels: Labels, said: Sequence[Any], source: str) -> Any:
    """Numbers of classes, all of which the run knows."""
    try:
        return labels.encode(said, source)
    except InputError as error:
        raise InputError(f"{error}; --no-labels leaves labels out") from None


def _aligned(
    examples: Examples, found: Sequence[np.ndarray], truth: Sequence[np.ndarray], longest: int
) -> list[np.ndarray]:
    """A class for each step that was answered; texts are cut, and so are their labels."""
    for name, shares, known in zip(examples.names, found, truth, strict=True):
        cut = examples.kind == "texts" and len(shares) == longest < len(known)
        if len(shares) != len(known) and not cut:
            unit = "tokens" if examples.kind == "texts" else "steps"
            raise InputError(
                f"predict: {name} has {len(shares)} {unit} and {len(known)} labels, expected one "
                "of each; --no-labels leaves labels out"
            )
    return [known[: len(shares)] for shares, known in zip(found, truth, strict=True)]


# -- answering -------------------------------------------------------------------------------------


def _shares(run: Run, examples: Examples, rows: int) -> Any:
    """Probabilities: `[rows, classes]`, or where each step has a class a list of `[time, C]`."""
    assert run.labels is not None
    like, kind = run.model.like(), run.labels.kind
    encode = Encoder(examples.kind, run.vocabulary, run.config.data.longest, like.dtype)
    found = logits(run.model, encode(examples), like.device, rows)
    if kind == "steps":
        return [probabilities(each) for each in found]
    return probabilities(found, kind)


def _accuracy(found: Any, truth: Any, kind: str) -> str:
    """How many answers are right, in a sentence."""
    if kind == "several":
        right = ((found >= THRESHOLD) == (truth > 0)).all(1)
    else:
        if kind == "steps":
            found, truth = np.concatenate(found), np.concatenate(truth)
        known = truth != UNKNOWN
        right = found[known].argmax(1) == truth[known]
    if not len(right):
        return "throughtime: no step has a label"
    what = {"one": "labels are", "several": "sets of labels are", "steps": "steps are"}[kind]
    share, count = 100 * right.mean(), int(right.sum())
    return f"throughtime: accuracy {share:.4g} %: {count:,} of {len(right):,} {what} right"


@dataclass
class _Writer:
    """Rows of CSV, or objects of JSON.

    Attributes:
        out: has `write` and `flush`.
        labels: what classes are called.
        as_json: objects, and not rows.
        judged: with the truth.
        begun: whether the names of columns stand there.
    """

    out: Any
    labels: Labels
    as_json: bool = False
    judged: bool = False
    begun: bool = False

    def write(self, names: Sequence[str], found: Any, truth: Any = None) -> None:
        """Some more examples, each with its probabilities and the number of its class."""
        table = csv.writer(self.out, lineterminator="\n")
        steps = ["step"] * (self.labels.kind == "steps")
        columns = ["name", *steps, "label", "probability", *["truth"] * self.judged]
        if not (self.begun or self.as_json):
            table.writerow(columns)
        self.begun = True
        for row in self._rows(names, found, truth):
            if self.as_json:
                self.out.write(json.dumps(row, ensure_ascii=False) + "\n")
            else:
                table.writerow([_cell(row[name]) for name in columns])
        self.out.flush()

    def _rows(self, names: Sequence[str], found: Any, truth: Any) -> Iterator[dict[str, Any]]:
        for at, name in enumerate(names):
            if self.labels.kind == "steps":
                for step, shares in enumerate(found[at]):
                    known = None if truth is None else truth[at][step]
                    yield {"name": name, "step": step + 1} | self._row(shares, known)
            else:
                yield {"name": name} | self._row(found[at], None if truth is None else truth[at])

    def _row(self, shares: np.ndarray, truth: Any) -> dict[str, Any]:
        row = verdict(shares, self.labels)
        if self.judged:
            row["truth"] = self._name(truth)
        return row

    def _name(self, truth: Any) -> str | list[str] | None:
        """What is true in words; None where nobody knows."""
        if self.labels.kind == "several":
            pairs = zip(self.labels.names, truth, strict=True)
            return [name for name, there in pairs if there]
        return None if truth == UNKNOWN else self.labels.names[int(truth)]


def _cell(value: Any) -> Any:
    """A value as CSV has it."""
    if isinstance(value, list):
        return "|".join(value)
    return f"{value:.6g}" if isinstance(value, float) else value
