"""From arrays to checked tensors, and sequences made item by item."""

from collections.abc import Callable, Sequence
from typing import TypeVar, overload

import numpy as np
import torch

from throughtime.errors import InputError
from throughtime.shapes import Tensor

Item = TypeVar("Item")


class Lazily(Sequence[Item]):
    """A sequence whose items are made when they are asked for.

    Args:
        length: number of items.
        make: the item at an index from 0 to `length - 1`.

    Examples:
        >>> squares = Lazily(4, lambda index: index**2)
        >>> list(squares), squares[-1], squares[1:3]
        ([0, 1, 4, 9], 9, [1, 4])
    """

    def __init__(self, length: int, make: Callable[[int], Item]) -> None:
        self.length = length
        self.make = make

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...

    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self.make(each) for each in range(self.length)[index]]
        return self.make(range(self.length)[index])


def check_positive(what: str, **sizes: int | None) -> None:
    """Refuse sizes that are neither None nor whole numbers of at least 1."""
    for argument, size in sizes.items():
        if size is not None and (isinstance(size, bool) or size < 1):
            raise InputError(
                f"{what}: {argument} is {size!r}, expected a whole number of at least 1"
            )


def generator(what: str, seed: int, number: int) -> np.random.Generator:
    """Random numbers that depend on the seed and the epoch's number alone."""
    for argument, value in (("seed", seed), ("the epoch's number", number)):
        if value < 0:
            raise InputError(f"{what}: {argument} is {value}, expected a whole number from 0 on")
    return np.random.default_rng((seed, number))


def as_values(
    what: str,
    values: np.ndarray,
    begin: int | None,
    dtype: torch.dtype,
    place: Callable[[int], int] = int,
) -> Tensor:
    """Ids `[time]` in int64 where there is a begin id, else numbers `[time, features]` in `dtype`.

    Args:
        what: named in errors.
        values: as they were read.
        begin: the begin id, which is also the size of the vocabulary; None for numbers.
        dtype: of numbers.
        place: the step that `values[index]` stands for, named in errors.

    Errors:
        InputError: another form, ids outside the vocabulary, infinite numbers.
    """
    if begin is not None:
        if values.ndim != 1 or values.dtype.kind not in "iu":
            raise InputError(
                f"{what} has {values.dtype} values of shape {list(values.shape)}, expected "
                "whole numbers [time], since a begin id was given"
            )
        wrong = (values < 0) | (values >= begin)
        if wrong.any():
            at = int(wrong.argmax())
            raise InputError(
                f"{what} has id {values[at]} at step {place(at)}, expected 0 to {begin - 1}"
            )
        return torch.from_numpy(values.astype(np.int64))
    if values.ndim not in (1, 2) or values.dtype.kind not in "iufb":
        raise InputError(
            f"{what} has {values.dtype} values of shape {list(values.shape)}, expected "
            "numbers [time] or [time, features]"
        )
    numbers = _numbers(values, dtype)
    infinite = torch.isinf(numbers).flatten(1).any(1)
    if infinite.any():
        at = int(infinite.int().argmax())
        raise InputError(
            f"{what} has an infinite value at step {place(at)}, expected finite numbers "
            f"(within the range of {dtype}) or NaN where one is missing"
        )
    return numbers


def as_covariates(what: str, values: np.ndarray, length: int, dtype: torch.dtype) -> Tensor:
    """Covariates `[time, columns]` in `dtype`, one row for each of `length` steps."""
    if values.ndim not in (1, 2) or len(values) != length or values.dtype.kind not in "iufb":
        raise InputError(
            f"{what} has {values.dtype} covariates of shape {list(values.shape)}, expected "
            f"numbers [{length}, columns]"
        )
    return _numbers(values, dtype)


def _numbers(values: np.ndarray, dtype: torch.dtype) -> Tensor:
    wide = np.float64 if dtype == torch.float64 else np.float32
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is refused as such
        numbers = torch.from_numpy(np.array(values, dtype=wide, order="C"))
    return (numbers.unsqueeze(1) if values.ndim == 1 else numbers).to(dtype)


def pad(rows: Sequence[Tensor], time: int, fill: float | int | None = None) -> Tensor:
    """Rows `[time_b, ...]` filled up on the right: ids with 0, numbers with NaN (missing)."""
    if fill is None:
        fill = float("nan") if rows[0].is_floating_point() else 0
    whole = rows[0].new_full((len(rows), time, *rows[0].shape[1:]), fill)
    for into, row in zip(whole, rows, strict=True):
        into[: len(row)] = row
    return whole


def shift_right(rows: Tensor, begin: int | None) -> Tensor:
    """What the model sees while it predicts rows `[batch, time, ...]`: one step earlier, each.

    In front stands the begin marker; the last step is left out.
    """
    marker = torch.full_like(rows[:, :1], begin_value(begin))
    return torch.cat([marker, rows[:, :-1]], dim=1)


def begin_value(begin: int | None) -> float | int:
    """The begin marker: the begin id, or NaN for numbers."""
    return float("nan") if begin is None else begin
