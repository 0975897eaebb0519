"""Files of text: packed or not, in any encoding, with any ends of lines."""

import codecs
import gzip
import io
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from throughtime.errors import InputError

BAD = "\udfff"
"""Stands for bytes that are of no character; no encoding has it."""

codecs.register_error("throughtime.bad", lambda error: (BAD, getattr(error, "end")))  # noqa: B009


def read_text(path: str | os.PathLike[str], encoding: str = "utf-8") -> str:
    r"""The text of a file, packed with gzip where its name ends in `.gz`; line ends become `\n`.

    Args:
        path: the file.
        encoding: how its characters are stored; a byte order mark is left out.

    Errors:
        InputError: no such file, no text in it, damaged packing, an encoding nobody knows, or bytes
            that are not of this encoding.
    """
    text = _decoded("read_text", Path(path), encoding)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_lines(what: str, path: str | os.PathLike[str], encoding: str = "utf-8") -> list[str]:
    r"""The lines of a file, for files whose lines count: blank ones are lines as well.

    A line ends at `\n` or `\r\n` and nowhere else: a stray `\r`, or one of the other characters
    that `str.splitlines` takes for a line end, would move all lines after it. Where there is no
    `\n` at all, `\r` ends a line.

    Args:
        what: named in errors.
        path: the file, packed with gzip where its name ends in `.gz`.
        encoding: how its characters are stored; a byte order mark is left out.

    Errors:
        InputError: as `read_text`.
    """
    return [*_lines(io.StringIO(_decoded(what, Path(path), encoding), newline="\n"))]


def stream_lines(what: str, path: str | os.PathLike[str], encoding: str = "utf-8") -> Iterator[str]:
    """The lines of a file as `read_lines` has them, one by one, and of an empty file none.

    Args:
        what: named in errors.
        path: the file, packed with gzip where its name ends in `.gz`.
        encoding: how its characters are stored; a byte order mark is left out.

    Errors:
        InputError: as `read_text`, once the lines before are read; with the number of a line that
            is not of this encoding.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{what}: there is no file {path}")
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        try:
            text = io.TextIOWrapper(file, encoding, "throughtime.bad", newline="\n")
        except LookupError:
            raise _unknown(what, encoding) from None
        try:
            for number, line in enumerate(_lines(text), 1):
                if BAD in line:
                    raise InputError(f"{what}: line {number} of {path} is not {encoding}")
                yield line.removeprefix("\ufeff") if number == 1 else line
        except DAMAGED as error:
            raise _damaged(what, path, error) from None


def _lines(file: Iterable[str]) -> Iterator[str]:
    r"""Lines without their ends, of a text that was cut behind each `\n`."""
    for number, line in enumerate(file):
        if line.endswith("\n"):
            yield line[:-1].removesuffix("\r")
        elif number:
            yield line
        else:  # there is no `\n` at all
            yield from line.removesuffix("\r").split("\r")


DAMAGED = (gzip.BadGzipFile, EOFError, zlib.error)
"""What is raised where packed data are not whole."""


def _damaged(what: str, path: Path, error: Exception) -> InputError:
    return InputError(f"{what}: {path} is not whole gzip ({error})")


def _unknown(what: str, encoding: str) -> InputError:
    return InputError(f"{what}: encoding is {encoding!r}, expected one Python knows, such as utf-8")


def _decoded(what: str, path: Path, encoding: str) -> str:
    """The characters of a file."""
    if not path.is_file():
        raise InputError(f"{what}: there is no file {path}")
    data = path.read_bytes()
    if path.suffix == ".gz":
        try:
            data = gzip.decompress(data)
        except DAMAGED as error:
            raise _damaged(what, path, error) from None
    try:
        text = data.decode(encoding)
    except LookupError:
        raise _unknown(what, encoding) from None
    except UnicodeDecodeError as error:
        likely = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "cp1252"
        raise InputError(
            f"{what}: {path} is not {encoding}, at byte {error.start} stands "
            f"0x{data[error.start]:02X}; say how it is encoded, for instance --encoding {likely}"
        ) from None
    text = text.removeprefix("\ufeff")
    if not text.strip():
        raise InputError(f"{what}: {path} is empty, expected text")
    return text
