# ruff: noqa: FBT001, FBT002 - the signatures are torch's
"""Packed sequences of any length, even none; every other name is `torch.nn.utils.rnn`'s.

A `PackedSequence` holds the real steps alone, so a row without steps leaves no trace in its data.
It stands in the order of rows all the same, behind the others: `sorted_indices` names more rows
than have a first step. Our recurrent layers hand such a row's state through.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.utils import rnn
from torch.nn.utils.rnn import PackedSequence, pad_sequence

from throughtime.shapes import Float, Int, Tensor


def pack_padded_sequence(
    input: Tensor,
    lengths: Tensor | Sequence[int],
    batch_first: bool = False,
    enforce_sorted: bool = True,
) -> PackedSequence:
    """`torch.nn.utils.rnn.pack_padded_sequence`, which a length of 0 does not stop.

    Args:
        input: `[time, batch, ...]`, or `[batch, time, ...]` with `batch_first`.
        lengths: real steps of each row, from the first on; at least 0.
        batch_first: the layout of `input`.
        enforce_sorted: whether rows come from long to short already.

    Examples:
        >>> packed = pack_padded_sequence(torch.randn(3, 4, 2), [4, 0, 2], True, False)
        >>> packed.data.shape, packed.batch_sizes.tolist(), packed.sorted_indices.tolist()
        (torch.Size([6, 2]), [2, 2, 1, 1], [0, 2, 1])
    """
    told = lengths if isinstance(lengths, Tensor) else torch.tensor([*lengths], device="cpu")
    order = told.argsort(descending=True, stable=True)
    real = int((told > 0).sum())
    in_order = not enforce_sorted or bool((told.diff() <= 0).all())
    if real == len(told) or bool((told < 0).any()) or not in_order:  # torch has a word for each
        return rnn.pack_padded_sequence(input, told, batch_first, enforce_sorted)
    rows = order[:real].to(input.device)
    x = input.index_select(0 if batch_first else 1, rows)
    order = order.to(input.device)
    if not real:
        return PackedSequence(x.flatten(0, 1), told[:0], order)
    data, sizes, *_ = rnn.pack_padded_sequence(x, told.sort(descending=True)[0][:real], batch_first)
    return PackedSequence(data, sizes, order)


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """`torch.nn.utils.rnn.pack_sequence`, of sequences that may be empty.

    Args:
        sequences: `[steps, ...]` each.
        enforce_sorted: whether they come from long to short already.
    """
    lengths = [len(sequence) for sequence in sequences]
    return pack_padded_sequence(pad_sequence([*sequences]), lengths, enforce_sorted=enforce_sorted)


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Float[Tensor, "..."], Int[Tensor, " batch"]]:
    """`torch.nn.utils.rnn.pad_packed_sequence`, rows without steps included.

    Args:
        sequence: what was packed, by these functions or torch's.
        batch_first: the layout of what comes out.
        padding_value: what stands in padding.
        total_length: steps of what comes out; None: those of the longest row.

    Returns:
        The padded rows, and their lengths.
    """
    data, sizes, _, unsort = sequence
    missing = 0 if unsort is None else len(unsort) - rows_of(sizes)
    if unsort is None or not missing:
        return rnn.pad_packed_sequence(sequence, batch_first, padding_value, total_length)
    if len(sizes):
        there = PackedSequence(data, sizes)
        padded, lengths = rnn.pad_packed_sequence(
            there, padding_value=padding_value, total_length=total_length
        )
    else:
        padded = data.new_empty(total_length or 0, 0, *data.shape[1:])
        lengths = torch.empty(0, dtype=torch.int64)
    padding = padded.new_full((len(padded), missing, *padded.shape[2:]), padding_value)
    padded = torch.cat([padded, padding], dim=1).index_select(1, unsort)
    lengths = torch.cat([lengths, lengths.new_zeros(missing)])[unsort.cpu()]
    return padded.transpose(0, 1) if batch_first else padded, lengths


def rows_of(batch_sizes: Int[Tensor, " time"]) -> int:
    """Rows that have a first step."""
    return int(batch_sizes[0]) if len(batch_sizes) else 0


def __getattr__(name: str) -> Any:
    return getattr(rnn, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(rnn)})
