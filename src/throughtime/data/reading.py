"""Files of text: packed or not, in any encoding, with any ends of lines."""

import gzip
import os
import zlib
from pathlib import Path

from throughtime.errors import InputError


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
    text = _decoded(what, Path(path), encoding).replace("\r\n", "\n")
    if "\n" not in text:
        text = text.replace("\r", "\n")
    return text.removesuffix("\n").split("\n")


def _decoded(what: str, path: Path, encoding: str) -> str:
    """The characters of a file."""
    if not path.is_file():
        raise InputError(f"{what}: there is no file {path}")
    data = path.read_bytes()
    if path.suffix == ".gz":
        try:
            data = gzip.decompress(data)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise InputError(f"{what}: {path} is not whole gzip ({error})") from None
    try:
        text = data.decode(encoding)
    except LookupError:
        raise InputError(
            f"{what}: encoding is {encoding!r}, expected one Python knows, such as utf-8"
        ) from None
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
