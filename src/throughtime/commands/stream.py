"""`throughtime stream`: one observation a line in, one prediction a line out, the state kept."""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from throughtime.commands import options
from throughtime.errors import InputError
from throughtime.serving import LEVELS, ClassSession, Session, open_session
from throughtime.training.run import load_run


def stream(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run.")],
    state: Annotated[
        Path | None,
        typer.Option(help="Go on from this file if it is there, and write the state to it at the "
                     "end."),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option("--format", help="json, csv or text; by default what the first line is."),
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="Time of the first line, if lines have none.")
    ] = None,
    levels: Annotated[
        str, typer.Option(help="Quantiles of each answer.")
    ] = ",".join(f"{level:g}" for level in LEVELS),
    device: options.Device = "cpu",
) -> None:  # fmt: skip
    """Read observations from standard input, one a line, and answer each with what comes next.

    A line is a JSON object, a bare number, or CSV under a header line, by the names of the run's
    columns; further columns of a CSV are passed over. Columns known ahead are those of the step to
    be predicted; those of the very first step go under now.NAME. Steps left out, by their times,
    count as missing. For text a line is text (in quotes: a JSON string, so that a line end can be
    fed). Answers are JSON, or CSV where observations are.

    A run on classes answers which class the sequence is of as far as it came. Lines are as above,
    or a JSON list of all features. An empty line ends the sequence, and is not answered: what
    follows is the next one. CSV has the likeliest class only, JSON the probabilities of all.
    """
    loaded = load_run(run, options.check_device(device))
    shown = parse_levels(levels)
    if loaded.labels is not None and shown != LEVELS:
        raise InputError("stream: a run on classes takes no --levels")
    session = open_session(loaded, start, shown)
    if state is not None and state.exists():
        session.restore(state)
    try:
        _answer(session, form)
    finally:  # also after a bad line or Ctrl-C: what was observed is not lost
        if state is not None and session.observed:
            session.save(state)


def parse_levels(text: str) -> tuple[float, ...]:
    """`0.1,0.5,0.9` as numbers."""
    try:
        levels = tuple(float(part) for part in text.split(","))
    except ValueError:
        levels = ()
    if not levels or not all(0 < level < 1 for level in levels):
        raise InputError(f"--levels is {text!r}, expected numbers between 0 and 1: 0.1,0.5,0.9")
    return levels


def _answer(session: Session, form: str | None) -> None:
    text = not session.names
    if form not in (None, "json", "csv", "text"):
        raise InputError(f"--format is {form!r}, expected json, csv or text")
    if form == ("csv" if text else "text"):
        raise InputError(f"--format is {form}, but the run is about {'text' if text else 'series'}")
    header: list[str] = []
    columns: list[str] = []
    parsers: dict[str, Callable[[str], Any]] = {
        "json": _json,
        "csv": lambda line: _csv(line, header, session),
        "text": _plain,
    }
    for number, line in _lines():
        if not line.strip() and (not text or (isinstance(session, ClassSession) and not line)):
            if isinstance(session, ClassSession):
                session.begin()
            continue
        try:
            if form is None:
                form = "text" if text else _guess(line)
            if form == "csv" and not header:
                header = _header(line, session)
                continue
            answer = session.observe(parsers[form](line))
        except InputError as error:
            raise InputError(f"line {number}: {error}") from None
        if form == "csv":
            flat = _flat(answer)
            if not columns:
                columns = list(flat)
                print(_row(columns))
            print(_row([flat.get(name, "") for name in columns]), flush=True)
        else:
            print(json.dumps(answer, ensure_ascii=False), flush=True)


def _lines() -> Iterator[tuple[int, str]]:
    number = 0
    try:
        for number, raw in enumerate(sys.stdin, start=1):
            yield number, raw.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise InputError(f"after line {number}: the input is not {error.encoding}") from None


def _guess(line: str) -> str:
    """What the first line of a series is."""
    try:
        json.loads(line)
    except json.JSONDecodeError:
        return "json" if line.lstrip().startswith("{") else "csv"
    return "json"


def _json(line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"not JSON ({error.msg} at character {error.pos + 1})") from None


def _header(line: str, session: Session) -> list[str]:
    header = [name.strip() for name in next(csv.reader([line.removeprefix("\ufeff")]))]
    missing = [name for name in session.names if name not in header]
    if missing:
        raise InputError(
            f"the header has no column {missing[0]!r}, expected {', '.join(session.names)} among "
            f"{', '.join(header)}"
        )
    return header


def _csv(line: str, header: list[str], session: Session) -> dict[str, str]:
    row = next(csv.reader([line]))
    if len(row) != len(header):
        raise InputError(f"{len(row)} values under {len(header)} columns ({', '.join(header)})")
    given = zip(header, row, strict=True)
    return {name: value for name, value in given if name in session.allowed}


def _plain(line: str) -> str:
    """Text as it stands, unless the whole line is a JSON string."""
    if len(line) > 1 and line[0] == line[-1] == '"':
        try:
            return str(json.loads(line))
        except json.JSONDecodeError:
            return line  # it begins and ends with a word in quotes
    return line


def _flat(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer as columns."""
    flat: dict[str, Any] = {}
    for name, value in answer.items():
        if name == "probabilities":
            continue
        if isinstance(value, list):
            flat[name] = "|".join(value)
        elif isinstance(value, dict) and "quantiles" in value:
            flat[f"{name}.median"] = value["median"]
            flat |= {f"{name}.q{level}": one for level, one in value["quantiles"].items()}
        else:
            flat[name] = value
    return flat


def _row(values: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()
