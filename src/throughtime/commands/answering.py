"""Answers to sources as they arrive: lines in, lines out, in the same order."""

import io
import itertools
import json
import queue
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from throughtime.commands.console import notes, say
from throughtime.data.pair_vocabulary import PairVocabulary
from throughtime.data.reading import stream_lines
from throughtime.data.text import Vocabulary
from throughtime.decoding.beam import STEEPEST
from throughtime.decoding.translating import Answer, prepared, translate
from throughtime.errors import InputError
from throughtime.inspect.alignments import alignment
from throughtime.models.encoder_decoder import EncoderDecoder
from throughtime.training.run import Run

Line = TypeVar("Line", str, bytes, bytes | str)

MOST = {"beams": 1_000, "most": 100_000, "rows": 1_000_000}
"""More than any answer needs, and still in memory."""


@dataclass(frozen=True)
class Search:
    """How answers are looked for, and how they are written.

    Attributes:
        beams: hypotheses side by side.
        n_best: answers to each source.
        length_penalty: None: 1, and 0 with one beam.
        most: tokens of an answer at most.
        no_repeat: no so many tokens twice.
        require: phrases that every answer contains.
        prefix: what every answer begins with.
        rows: sources at a time.
        as_json: a JSON object per source.
        aligned: with the weights of the source in it.
    """

    beams: int = 5
    n_best: int = 1
    length_penalty: float | None = None
    most: int | None = None
    no_repeat: int = 0
    require: tuple[str, ...] = ()
    prefix: str = ""
    rows: int = 256
    as_json: bool = False
    aligned: bool = False

    def __post_init__(self) -> None:
        least = {"beams": 1, "n_best": 1, "most": 1, "no_repeat": 0, "rows": 1}
        options = {"most": "max-length", "rows": "batch"}
        for name, value in least.items():
            given = getattr(self, name)
            if given is not None:
                check_count(options.get(name, name.replace("_", "-")), given, value, MOST.get(name))
        if self.n_best > self.beams:
            raise InputError(f"--n-best is {self.n_best}, expected at most --beams {self.beams}")
        if self.length_penalty is not None and not abs(self.length_penalty) <= STEEPEST:
            raise InputError(
                f"--length-penalty is {self.length_penalty}, expected {-STEEPEST} to {STEEPEST}"
            )
        if self.aligned and not self.as_json:
            raise InputError("--alignment is part of JSON, expected --json beside it")


def check_count(option: str, given: int, least: int, most: int | None) -> None:
    """Refuse a number out of its range, by the name of its option."""
    if given < least:
        raise InputError(f"--{option} is {given}, expected at least {least}")
    if most is not None and given > most:
        raise InputError(f"--{option} is {given}, expected at most {most:,}")


def answer_lines(run: Run, source: str | None, search: Search, out: Any) -> None:
    """Answer every line of a file or of standard input, and write the answers as they are found.

    Args:
        run: on pairs.
        source: a file; None: standard input.
        search: how.
        out: has `write` and `flush`.

    Errors:
        InputError: no such file, damaged packing or lines in another encoding (those before are
            answered), or phrases that the model cannot write.
    """
    assert isinstance(run.vocabulary, PairVocabulary)
    assert isinstance(run.model, EncoderDecoder)
    target = run.vocabulary.target
    options: dict[str, Any] = {
        "beams": search.beams,
        "n_best": search.n_best,
        "rows": search.rows,
        "most": search.most,
        "no_repeat": search.no_repeat,
        "prefix": _ids(target, "prefix", search.prefix) if search.prefix else [],
        "require": [_inner(target, phrase) for phrase in search.require],
    }
    if search.length_penalty is not None:
        options["length_penalty"] = search.length_penalty
    needed = len(options["prefix"]) + max(map(len, options["require"]), default=0)
    if search.most is not None and search.most < needed:
        raise InputError(
            f"--max-length is {search.most}, expected at least the {needed} tokens of --prefix "
            "and --require"
        )
    options["stepper"] = prepared(run.model)  # once, and not for each block
    counted = _Counted()
    for number, texts in batches(source, run.config.data.encoding, search.rows):
        asked = [text for text in texts if text]  # an empty line has an empty answer
        found = translate(run.model, run.vocabulary, asked, **options)
        for place, text in enumerate(texts):
            answers = next(found) if text else []
            if text:
                counted.add(answers, options["require"])
            if search.as_json:
                shown = _object(run, text, answers, aligned=search.aligned)
                line = json.dumps(shown, ensure_ascii=False)
            else:
                line = _plain(number + place, answers, search.n_best)
            out.write(line + "\n")
        out.flush()
    counted.tell(search.most)


@dataclass
class _Counted:
    """What is said once, in the end, and not for every batch."""

    all: int = 0
    cut: int = 0
    lacking: int = 0
    none: int = 0

    def add(self, answers: Sequence[Answer], require: Sequence[Sequence[int]]) -> None:
        self.all += 1
        self.none += not answers
        if answers:
            best = answers[0]
            self.cut += not best.ended
            self.lacking += not all(_holds(best.tokens, phrase) for phrase in require)

    def tell(self, most: int | None) -> None:
        limit = "about twice the source and 20" if most is None else str(most)
        for count, what in (
            (self.cut, f"were cut at the maximum length, {limit} tokens; see --max-length"),
            (self.lacking, "lack what --require asks for; more --beams may find it"),
            (self.none, "are empty, for everything was ruled out"),
        ):
            if count:
                say(f"throughtime: {count:,} of {self.all:,} answers {what}")


def _holds(tokens: Sequence[int], phrase: Sequence[int]) -> bool:
    places = range(len(tokens) - len(phrase) + 1)
    return any([*tokens[at : at + len(phrase)]] == [*phrase] for at in places)


def _ids(target: Vocabulary, option: str, text: str) -> list[int]:
    """The tokens of a text that answers are to hold."""
    ids = target.encode(text).tolist()
    unknown = None if target.unknown is None else target.tokens.index(target.unknown)
    if not ids or unknown in ids:
        why = "which has tokens that no target of the training part has" if ids else "expected text"
        raise InputError(f"--{option} is {text!r}, {why}")
    return ids


def _inner(target: Vocabulary, phrase: str) -> list[int]:
    """The tokens of a phrase as it stands within a text.

    Pieces of words hold the blank before them; in a language that writes none it is a piece alone.
    """
    phrase = phrase.strip()
    if target.kind == "bpe" and phrase:
        ids = _ids(target, "require", f" {phrase}")
        if target.decode(ids[:1]) != " ":
            return ids
    return _ids(target, "require", phrase)


def _plain(number: int, answers: Sequence[Answer], n_best: int) -> str:
    """One line; of several answers one each, with the line of the source and the score."""
    texts = [" ".join(answer.text.splitlines()) for answer in answers]
    if n_best == 1:
        return texts[0] if texts else ""
    scored = zip(answers, texts, strict=True)
    lines = [f"{number}\t{answer.score:.6g}\t{text}" for answer, text in scored]
    return "\n".join(lines or [f"{number}\t\t"])


def _object(run: Run, text: str, answers: Sequence[Answer], *, aligned: bool) -> dict[str, Any]:
    """A source and its answers as JSON has them."""
    assert isinstance(run.vocabulary, PairVocabulary)
    found: dict[str, Any] = {"source": text, "answers": []}
    for answer in answers:
        one = {
            "text": answer.text,
            "score": answer.score,
            "log_prob": answer.log_prob,
            "ended": answer.ended,
        }
        if aligned:
            x, y = _read(run.vocabulary, text, answer)
            found["source_tokens"] = _names(run.vocabulary.source, x)
            one["target_tokens"] = _names(run.vocabulary.target, y)
            one["alignment"] = _weights(run.model, x, y)
        found["answers"].append(one)
    return found


def _read(known: PairVocabulary, text: str, answer: Answer) -> tuple[list[int], list[int]]:
    """The ids of a source with its end, and of an answer with its own if it came to one."""
    ended = [known.target_end] * answer.ended
    return known.encode_source(text).tolist(), [*answer.tokens, *ended]


def _names(vocabulary: Vocabulary, ids: Sequence[int]) -> list[str]:
    """Tokens as words; the id after the last one is the end of the sequence."""
    return [vocabulary.name(one) if one < len(vocabulary) else "<end>" for one in ids]


def _weights(model: Any, x: list[int], y: list[int]) -> list[list[float]]:
    """For each token of the answer, how it looks at each token of the source."""
    device = model.decoder.begin(1).device
    read, written = (torch.tensor([ids], device=device) for ids in (x, y))
    with torch.no_grad():
        weights = alignment(model, read, written)[0]
    return [[round(weight, 4) for weight in row] for row in weights.tolist()]


# -- lines -----------------------------------------------------------------------------------------


def batches(
    source: str | None, encoding: str, most: int, *, unit: str = "source"
) -> Iterator[tuple[int, list[str]]]:
    """Lines as they come, some at a time, and the number of the first.

    Args:
        source: a file; None: standard input.
        encoding: of a file.
        most: lines at a time.
        unit: what a line is.

    Errors:
        InputError: no such file, damaged packing or lines in another encoding, once the lines
            before were handed on.
    """
    if source is None:
        blocks = _arriving_texts(most, unit)
    else:
        blocks = _in_file(Path(source), encoding, most, unit)
    number = 1
    for block in blocks:
        texts: list[str] = []
        try:
            for line in block:
                texts.append(line.strip())
        except InputError:
            yield number, texts  # what came before is answered
            raise
        if not texts:
            return
        yield number, texts
        number += len(texts)


def _arriving_texts(most: int, unit: str) -> Iterator[Iterator[str]]:
    raw, encoding = _standard_input(unit)
    number = itertools.count(1)
    for block in arriving(raw, most):
        yield (_text(line, next(number), encoding) for line in block)


def _standard_input(unit: str) -> tuple[Iterable[bytes | str], str]:
    """Its lines as bytes where it is a file or a pipe, and their encoding."""
    if sys.stdin.isatty():
        notes.print(f"One {unit} per line; end with Ctrl-D.", style="dim")
    try:
        # A reader of its own: the thread may still wait for a line when Python ends, and must not
        # hold the lock of sys.stdin then.
        return open(sys.stdin.fileno(), "rb", closefd=False), sys.stdin.encoding
    except io.UnsupportedOperation:
        return sys.stdin, "utf-8"


def _in_file(path: Path, encoding: str, most: int, unit: str) -> Iterator[Iterator[str]]:
    """Blocks of lines, the last of which is empty."""
    if not path.is_file():
        what = "is a folder, expected a text file" if path.is_dir() else "there is no such file"
        raise InputError(f"predict: {path}: {what} of one {unit} per line")
    lines = stream_lines("predict", path, encoding)
    while True:
        yield itertools.islice(lines, most)


def arriving(lines: Iterable[Line], most: int) -> Iterator[list[Line]]:
    """Lines in batches of whatever has arrived, at most so many.

    A thread reads on meanwhile, up to that many lines ahead: where they come slowly each is handed
    on at once, where they come fast batches are full, and memory does not grow with their number.
    """
    waiting: queue.Queue[list[Line] | BaseException | None] = queue.Queue(maxsize=most)

    def read() -> None:
        try:
            for line in lines:
                waiting.put([line])
        except BaseException as error:
            waiting.put(error)
        else:
            waiting.put(None)

    threading.Thread(target=read, daemon=True).start()
    come = waiting.get()
    while isinstance(come, list):
        block = come
        try:
            while len(block) < most and isinstance(come := waiting.get_nowait(), list):
                block += come
        except queue.Empty:
            pass
        yield block
        if isinstance(come, list):
            come = waiting.get()
    if come is not None:
        raise come


def _text(line: bytes | str, number: int, encoding: str) -> str:
    """One line of standard input."""
    try:
        text = line if isinstance(line, str) else line.decode(encoding)
    except UnicodeDecodeError:
        raise InputError(f"predict: line {number} of standard input is not {encoding}") from None
    return text.removeprefix("\ufeff") if number == 1 else text
