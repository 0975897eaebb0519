"""Long sequences, read a stretch at a time: from memory, from a file, several laid end to end.

Files are read, not mapped into memory: the pages of a mapped file count as the process's own, so
that memory would grow with every step visited.
"""

import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from throughtime.errors import InputError


@runtime_checkable
class StepSource(Protocol):
    """A sequence of any length: how many steps it has, and any stretch of them.

    It may also have `starts`, the ascending steps at which a new sequence begins; without it, one
    sequence begins at step 0.
    """

    def __len__(self) -> int: ...

    def read(self, start: int, stop: int) -> np.ndarray:
        """Steps `start` to `stop`: `[stop - start]`, or `[stop - start, features]`."""
        ...


class ArraySource:
    """A sequence in memory.

    Args:
        array: `[time]` or `[time, features]`.
        starts: steps at which a new sequence begins; 0 always is one.

    Errors:
        InputError: another form, or starts that are not ascending steps of it.
    """

    def __init__(self, array: np.ndarray, starts: np.ndarray | Sequence[int] = (0,)) -> None:
        check_form("ArraySource", array.shape)
        self.array = array
        self.starts = check_starts("ArraySource", starts, len(array))

    def __len__(self) -> int:
        return len(self.array)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Steps `start` to `stop`."""
        check_range("ArraySource", start, stop, len(self))
        return self.array[start:stop]


class FileSource:
    """A sequence in a file, of which only the steps asked for are in memory.

    Args:
        path: a `.npy` file, or a raw one of nothing but numbers, step after step.
        dtype: type of a raw file's numbers; a `.npy` file says itself.
        shape: `[time]` or `[time, features]` of a raw file; one number per step by default.
        starts: steps at which a new sequence begins; 0 always is one.

    Errors:
        InputError: no such file, not a `.npy` file, one of another form, or a raw file that is
            smaller than its shape.

    Examples:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "ramp.npy"
        >>> np.save(path, np.arange(1_000_000.0))
        >>> FileSource(path).read(500_000, 500_003).tolist()
        [500000.0, 500001.0, 500002.0]
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        dtype: npt.DTypeLike | None = None,
        shape: Sequence[int] | None = None,
        starts: np.ndarray | Sequence[int] = (0,),
    ) -> None:
        self.path = Path(path)
        self._handle: int | None = None
        if not self.path.is_file():
            raise InputError(f"FileSource: there is no file {path}")
        if self.path.suffix == ".npy":
            if dtype is not None or shape is not None:
                raise InputError(
                    "FileSource: dtype and shape are for raw files, a .npy says its own"
                )
            self.shape, self.dtype, self.offset = _read_header(self.path)
        else:
            if dtype is None:
                raise InputError(f"FileSource: {path} is no .npy file, so its dtype is needed")
            self.dtype, self.offset = np.dtype(dtype), 0
            count = self.path.stat().st_size // self.dtype.itemsize
            self.shape = (count,) if shape is None else tuple(shape)
        check_form(f"FileSource: {path}", self.shape)
        if self.dtype.hasobject:
            raise InputError(f"FileSource: {path} holds Python objects, expected numbers")
        self.step_bytes = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
        self._check_size(self.path.stat().st_size)
        self.starts = check_starts("FileSource", starts, len(self))

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, start: int, stop: int) -> np.ndarray:
        """Steps `start` to `stop`, in fresh memory."""
        check_range("FileSource", start, stop, len(self))
        values = np.empty((stop - start, *self.shape[1:]), self.dtype)
        into = values.reshape(-1).view(np.uint8).data
        place = self.offset + start * self.step_bytes
        while len(into):
            count = self._read_into(into, place)
            if not count:
                self._check_size(0)
            into, place = into[count:], place + count
        return values

    def _read_into(self, into: memoryview, place: int) -> int:
        # preadv says where to read, so forked workers may share the handle: it has no place of its
        # own that they would move under each other. Elsewhere the file is opened each time.
        if not hasattr(os, "preadv"):
            with open(self.path, "rb", buffering=0) as file:
                file.seek(place)
                return file.readinto(into) or 0
        if self._handle is None:
            self._handle = os.open(self.path, os.O_RDONLY)
            weakref.finalize(self, os.close, self._handle)
        return os.preadv(self._handle, [into], place)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_handle": None}  # a handle means nothing in another process

    def _check_size(self, size: int) -> None:
        needed = self.offset + len(self) * self.step_bytes
        if size < needed:
            raise InputError(
                f"FileSource: {self.path} ends early, expected {needed:,} bytes for shape "
                f"{list(self.shape)} of {self.dtype}"
            )


class FileArray:
    """A `.npy` file that is indexed like the array in it: what a slice asks for is read.

    Numbers of any type come as float64, in fresh memory, so that a series larger than memory can
    stand where an array is expected.

    Args:
        path: a `.npy` file of numbers; `[time]` counts as `[time, 1]`.

    Attributes:
        source: the file as a source, in its own type and shape.
        shape: `[time, features]`.

    Errors:
        InputError: as [`FileSource`][throughtime.data.sources.FileSource].

    Examples:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "pairs.npy"
        >>> np.save(path, np.arange(2_000_000).reshape(-1, 2))
        >>> array = FileArray(path)
        >>> array.shape, array[-2:].tolist(), array[500_000:500_002, 1].tolist()
        ((1000000, 2), [[1999996.0, 1999997.0], [1999998.0, 1999999.0]], [1000001.0, 1000003.0])
    """

    dtype = np.dtype(np.float64)
    ndim = 2

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.source = FileSource(path)
        self.shape = (len(self.source), *(self.source.shape[1:] or (1,)))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        """`array[start:stop]`, or `array[start:stop, columns]`: rows in order, any columns."""
        rows, columns = index if isinstance(index, tuple) else (index, slice(None))
        if not isinstance(rows, slice) or rows.step not in (None, 1):
            raise InputError(f"FileArray: index is {rows}, expected a slice of rows in order")
        start, stop, _ = rows.indices(len(self))
        read = self.source.read(start, max(start, stop)).astype(self.dtype, copy=False)
        return read.reshape(-1, self.shape[1])[:, columns]

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        """The whole, for `np.asarray`."""
        if copy is False:
            raise ValueError("FileArray: what lies in a file cannot be had without a copy")
        return self[:].astype(dtype or self.dtype, copy=False)


class ConcatenatedSource:
    """Several sequences, one after another; each `starts` a new one.

    Args:
        sources: at least one, each with at least one step, all with the same features.

    Errors:
        InputError: no sources, or an empty one.
    """

    def __init__(self, sources: Sequence[StepSource]) -> None:
        if not len(sources):
            raise InputError(
                "ConcatenatedSource: sources are empty, expected at least one sequence"
            )
        lengths = [len(source) for source in sources]
        if 0 in lengths:
            raise InputError(f"ConcatenatedSource: source {lengths.index(0)} has no steps")
        self.sources = sources
        self.offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        self.starts = np.concatenate(
            [
                starts_of(source) + offset
                for source, offset in zip(sources, self.offsets, strict=False)
            ]
        )

    def __len__(self) -> int:
        return int(self.offsets[-1])

    def read(self, start: int, stop: int) -> np.ndarray:
        """Steps `start` to `stop`, out of as many sequences as they lie in."""
        check_range("ConcatenatedSource", start, stop, len(self))
        number = min(int(np.searchsorted(self.offsets, start, side="right")), len(self.sources)) - 1
        parts: list[np.ndarray] = []
        while not parts or start < stop:
            offset, end = int(self.offsets[number]), int(self.offsets[number + 1])
            parts.append(self.sources[number].read(start - offset, min(stop, end) - offset))
            if parts[-1].shape[1:] != parts[0].shape[1:]:
                raise InputError(
                    f"ConcatenatedSource: a step of source {number} has shape "
                    f"{list(parts[-1].shape[1:])}, of the one before {list(parts[0].shape[1:])}"
                )
            start, number = end, number + 1
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


class SlicedSource:
    """A stretch of a sequence, as a sequence: the training part, the test part.

    Args:
        source: the whole.
        start: its first step.
        stop: the step after its last.

    Errors:
        InputError: a stretch outside the whole.
    """

    def __init__(self, source: StepSource, start: int, stop: int) -> None:
        check_range("SlicedSource", start, stop, len(source))
        self.source, self.start, self.stop = source, start, stop
        starts = starts_of(source)
        inside = starts[(starts > start) & (starts < stop)] - start
        self.starts = np.concatenate([np.zeros(1, dtype=np.int64), inside])

    def __len__(self) -> int:
        return self.stop - self.start

    def read(self, start: int, stop: int) -> np.ndarray:
        """Steps `start` to `stop`, counted from the stretch's first."""
        check_range("SlicedSource", start, stop, len(self))
        return self.source.read(self.start + start, self.start + stop)


def split_source(source: StepSource, fractions: Sequence[float]) -> list[SlicedSource]:
    """Cut a sequence into parts that follow each other in time, such as training and test.

    Errors:
        InputError: as [`cut_points`][throughtime.data.sources.cut_points].
    """
    cuts = cut_points("split_source", len(source), fractions)
    return [SlicedSource(source, *cuts[index : index + 2]) for index in range(len(fractions))]


def cut_points(what: str, length: int, fractions: Sequence[float]) -> list[int]:
    """Where to cut `length` steps so that the parts have these shares of it: 0, ..., `length`.

    Errors:
        InputError: fractions that are not positive or do not sum to 1, or a part without a step.

    Examples:
        >>> cut_points("split", 10, (0.8, 0.1, 0.1))
        [0, 8, 9, 10]
    """
    if not fractions or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise InputError(
            f"{what}: fractions are {list(fractions)}, expected positive numbers that sum to 1"
        )
    # Halves go up, always: round() takes them to even numbers, and could leave a part empty.
    cuts = [0, *(int(length * share + 0.5 + 1e-9) for share in np.cumsum(fractions)[:-1]), length]
    if min(np.diff(cuts)) < 1:
        raise InputError(
            f"{what}: {length} steps are too few for parts of {list(fractions)}, one would be empty"
        )
    return cuts


def starts_of(source: StepSource) -> np.ndarray:
    """The steps at which a sequence begins."""
    return np.asarray(getattr(source, "starts", (0,)), dtype=np.int64)


def check_starts(what: str, starts: np.ndarray | Sequence[int], length: int) -> np.ndarray:
    """Starts as an array, 0 in front.

    Errors:
        InputError: not ascending, or outside the sequence.
    """
    marks = np.asarray(starts, dtype=np.int64).reshape(-1)
    if not len(marks) or marks[0] != 0:
        marks = np.concatenate([np.zeros(1, dtype=np.int64), marks])
    if (np.diff(marks) <= 0).any() or (length and marks[-1] >= length):
        raise InputError(f"{what}: starts are not ascending steps within 0 to {length - 1}")
    return marks


def check_range(what: str, start: int, stop: int, length: int) -> None:
    """Refuse a stretch outside the sequence."""
    if not 0 <= start <= stop <= length:
        raise InputError(f"{what}: steps {start} to {stop} do not lie within 0 to {length}")


def check_form(what: str, shape: Sequence[int]) -> None:
    """Refuse what is neither `[time]` nor `[time, features]`."""
    if len(shape) not in (1, 2):
        raise InputError(f"{what} has shape {list(shape)}, expected [time] or [time, features]")


def _read_header(path: Path) -> tuple[tuple[int, ...], np.dtype, int]:
    with open(path, "rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, columns_first, dtype = read(file)
        except ValueError as error:
            raise InputError(f"FileSource: {path} is not a .npy file ({error})") from None
        if columns_first and len(shape) > 1:
            raise InputError(
                f"FileSource: {path} is stored column by column; save it with "
                "numpy.save(path, numpy.ascontiguousarray(array))"
            )
        return shape, dtype, file.tell()
