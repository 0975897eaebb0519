"""Number columns of a huge CSV or Parquet file to a `.npy` file, in constant memory."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from throughtime.data.sources import FileSource
from throughtime.errors import InputError, MissingExtra

if TYPE_CHECKING:
    import polars as pl

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None")
"""Words of a CSV file that stand for a missing value."""

BLOCK_BYTES = 16 * 2**20
BLOCK_ROWS = 2**20


def to_npy(
    path: str | os.PathLike[str],
    columns: str | Sequence[str],
    into: str | os.PathLike[str],
    *,
    dtype: str = "float32",
    separator: str = ",",
    missing: Sequence[str] = MISSING,
) -> FileSource:
    """Write columns of a table to a `.npy` file, a block at a time, and open that.

    Args:
        path: a `.parquet` file, or else CSV with a header line.
        columns: one name makes `[time]`, several `[time, features]`.
        into: the `.npy` file; it appears whole or not at all.
        dtype: "float32", "float64" (missing values become NaN) or "int64" (they are refused).
        separator: between the columns of a CSV file.
        missing: words of a CSV file that stand for a missing value.

    Errors:
        InputError: no such file or column, no rows, or a value that is no number (with its row).
        MissingExtra: polars is not installed.
    """
    path, into = Path(path), Path(into)
    if not path.is_file():
        raise InputError(f"to_npy: there is no file {path}")
    if dtype not in ("float32", "float64", "int64"):
        raise InputError(f"to_npy: dtype is {dtype!r}, expected float32, float64 or int64")
    if into.suffix != ".npy":
        raise InputError(f"to_npy: {into} should end in .npy")
    try:
        import polars as pl
    except ImportError:
        raise MissingExtra("to_npy", "polars", "data") from None
    names = [columns] if isinstance(columns, str) else list(columns)
    if not names or len(set(names)) < len(names):
        raise InputError(f"to_npy: columns are {names}, expected at least one, each once")
    number = pl.Int64 if dtype == "int64" else pl.Float64
    if path.suffix in (".parquet", ".pq"):
        frames = _parquet(path, names, number)
    else:
        frames = _csv(path, names, number, separator, list(missing))
    # Beside the file it becomes, so that the last step is a rename.
    temporary = into.with_name(f".{into.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            _header(file, (0,), dtype)
            rows = 0
            for frame in frames:
                missed = sum(frame.null_count().row(0))
                if missed and dtype == "int64":
                    raise InputError(
                        f"to_npy: {path} has {missed} missing values within rows {rows + 1} to "
                        f"{rows + len(frame)}, which int64 cannot hold"
                    )
                array = frame.to_numpy().astype(dtype)  # a null becomes NaN
                file.write(np.ascontiguousarray(array).data)
                rows += len(frame)
            if not rows:
                raise InputError(f"to_npy: {path} has no rows")
            file.seek(0)
            _header(file, (rows,) if isinstance(columns, str) else (rows, len(names)), dtype)
        os.replace(temporary, into)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return FileSource(into)


def _header(file: BinaryIO, shape: tuple[int, ...], dtype: str) -> None:
    """A header of 128 bytes whatever the shape, so that the last one fits over the first."""
    descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
    form = {"descr": descr, "fortran_order": False, "shape": shape}
    text = f"{form}".encode().ljust(117) + b"\n"
    file.write(np.lib.format.magic(1, 0) + len(text).to_bytes(2, "little") + text)


def _parquet(
    path: Path, names: list[str], number: "type[pl.Int64 | pl.Float64]"
) -> "Iterator[pl.DataFrame]":
    import polars as pl

    lazy = pl.scan_parquet(path)
    try:
        schema = lazy.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"to_npy: {path} is not a Parquet file ({_line(error)})") from None
    _check_columns(path, names, list(schema))
    for name in names:
        if not (schema[name].is_numeric() or schema[name] == pl.Boolean):
            raise InputError(
                f"to_npy: column {name!r} of {path} is {schema[name]}, expected numbers"
            )
    start = 0
    while len(frame := lazy.select(names).slice(start, BLOCK_ROWS).collect()):
        yield frame.cast(number)
        start += BLOCK_ROWS


def _csv(
    path: Path,
    names: list[str],
    number: "type[pl.Int64 | pl.Float64]",
    separator: str,
    missing: list[str],
) -> "Iterator[pl.DataFrame]":
    # Blocks are read here and not by polars, which maps CSV files into memory.
    import polars as pl

    rows = 0
    header = b""
    for block in _blocks(path):
        if not header:
            header, block = _cut_header(block)
            _check_columns(path, names, _names(path, header, separator))
        if not block.strip():
            continue

        # All columns, if only to see that each row has as many fields as the header: polars skips
        # that check on the columns it is told to leave out, and a decimal comma would go unseen.
        def parse(kind: "type[pl.DataType]", data: bytes = header + block) -> "pl.DataFrame":
            return pl.read_csv(
                data,
                separator=separator,
                schema_overrides=dict.fromkeys(names, kind),
                null_values=missing,
                infer_schema=False,
            ).select(names)

        try:
            frame = parse(number)
        except pl.exceptions.PolarsError as error:
            with suppress(pl.exceptions.PolarsError):
                _name_culprit(path, parse(pl.String), number, rows)
            raise InputError(
                f"to_npy: {path} is not readable as CSV after row {rows:,} ({_line(error)})"
            ) from None
        yield frame
        rows += len(frame)
    if not header:
        raise InputError(f"to_npy: {path} is empty")


def _blocks(path: Path) -> Iterator[bytes]:
    """The file in blocks that end where a row does."""
    rest = b""
    with open(path, "rb") as file:
        while read := file.read(BLOCK_BYTES):
            block = rest + read
            end = block.rfind(b"\n") + 1
            while end and block.count(b'"', 0, end) % 2:  # that line break stands inside quotes
                end = block.rfind(b"\n", 0, end - 1) + 1
            rest = block[end:]
            if end:
                yield block[:end]
            elif len(rest) > 8 * BLOCK_BYTES:
                raise InputError(
                    f"to_npy: {path} has a quote that is not closed for {len(rest):,} bytes"
                )
    if rest:
        yield rest


def _cut_header(block: bytes) -> tuple[bytes, bytes]:
    end = block.find(b"\n") + 1 or len(block)
    while end < len(block) and block.count(b'"', 0, end) % 2:
        end = block.find(b"\n", end) + 1 or len(block)
    header = block[:end]
    return (header if header.endswith(b"\n") else header + b"\n"), block[end:]


def _names(path: Path, header: bytes, separator: str) -> list[str]:
    import polars as pl

    try:
        return pl.read_csv(header, separator=separator, infer_schema=False).columns
    except pl.exceptions.PolarsError as error:
        raise InputError(f"to_npy: {path} has no header line ({_line(error)})") from None


def _name_culprit(
    path: Path,
    words: "pl.DataFrame",
    number: "type[pl.Int64 | pl.Float64]",
    rows: int,
) -> None:
    """Raise the error that names the first value which is no number."""
    for name in words.columns:
        word = words[name]
        wrong = (word.is_not_null() & word.cast(number, strict=False).is_null()).arg_true()
        if len(wrong):
            expected = "a whole number" if number().is_integer() else "a number"
            raise InputError(
                f"to_npy: column {name!r} of {path} has {word[wrong[0]]!r} in row "
                f"{rows + wrong[0] + 1:,}, expected {expected}"
            )


def _check_columns(path: Path, names: list[str], there: list[str]) -> None:
    for name in names:
        if name not in there:
            raise InputError(
                f"to_npy: {path} has no column {name!r}; it has {', '.join(there) or 'none'}"
            )


def _line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
