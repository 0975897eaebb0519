"""Rows of a run's validation part as whole graphs read them, and how well they are foretold."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from throughtime.data.example_batches import ExampleBatches
from throughtime.data.pair_batches import PairBatches
from throughtime.models.image_inputs import brightness
from throughtime.tasks.classification import Classification
from throughtime.tasks.forecasting import Forecasting
from throughtime.tasks.language import LanguageModelling, surprise
from throughtime.tasks.rows import known_ahead
from throughtime.tasks.translation import Translation

ROWS = 32
"""Of a batch."""
LENGTHS = (96, 61, 128, 17)
"""Steps of the rows that long sequences are cut into, in turn: every batch is ragged."""
MOST = 1 << 15
"""Steps that are read, at most; of images and examples, as many numbers of batches as fit."""


@dataclass(frozen=True, eq=False)
class Piece:
    """Some rows.

    Attributes:
        inputs: what a whole graph takes, in order.
        targets: what it foretells.
    """

    inputs: tuple[Tensor, ...]
    targets: Tensor


@dataclass(frozen=True)
class Judge:
    """How well rows are foretold.

    Attributes:
        add: sums over one piece, from what a graph gives and the targets; the last is their count.
        tell: measures by name, from the means.
    """

    add: Callable[[Sequence[Tensor], Tensor], tuple[float, ...]]
    tell: Callable[[Sequence[float]], dict[str, float]]


def validation(run: Any, task: Any, most: int = MOST) -> tuple[list[Piece], Judge]:
    """Rows of the validation part, and how they are judged.

    Args:
        run: the run.
        task: of its data.
        most: steps to read, at most; there is always one piece.
    """
    if isinstance(task, LanguageModelling):
        pieces, judge = _language(task), Judge(_nats, _surprise)
    elif isinstance(task, Translation):
        pieces, judge = _pairs(task), Judge(_nats, _surprise)
    elif isinstance(task, Classification):
        several = task.labels.kind == "several"
        pieces = _examples(run, task)
        judge = Judge(_decisions if several else _right, _accuracy)
    else:
        pieces, judge = _series(task), Judge(_loss_of(run.model.head), _loss)
    return list(_some(pieces, most)), judge


def _some(pieces: Iterator[Piece], most: int) -> Iterator[Piece]:
    read = 0
    for piece in pieces:
        if read >= most:
            return
        read += piece.inputs[0].shape[0] * (piece.inputs[0].shape[1] if piece.inputs[1:] else 1)
        yield piece


# Batches


def _language(task: LanguageModelling) -> Iterator[Piece]:
    """Stretches of the text, each from its beginning."""
    begin = np.array([task.vocabulary.begin])
    rows = [task.validation[a:b] for a, b in _stretches(len(task.validation))]
    for group in _groups(rows):
        fed = [np.concatenate([begin, row[:-1]]) for row in group]
        x, mask = _padded(fed, 0)
        yield Piece((x, mask), _padded(group, -1)[0])


def _series(task: Forecasting) -> Iterator[Piece]:
    """Stretches of the series, each from its beginning."""
    starts, stops = task.borders("validation")
    cut = [
        (each, start + a, start + b)
        for each, start, stop in zip(task.table.series, starts, stops, strict=True)
        for a, b in _stretches(stop - start)
    ]
    for group in _groups(cut):
        values = [np.array(each.values[a:b], np.float32) for each, a, b in group]
        fed = [np.concatenate([np.full_like(row[:1], np.nan), row[:-1]]) for row in values]
        x, mask = _padded(fed, np.nan)
        known = [known_ahead(each, a, b).astype(np.float32) for each, a, b in group]
        ahead = (_padded(known, 0.0)[0],) if task.covariates else ()
        yield Piece((x, mask, *ahead), _padded(values, np.nan)[0])


def _pairs(task: Translation) -> Iterator[Piece]:
    ids = task.judged("validation").ids
    batches = PairBatches(*ids, begin=task.vocabulary.begin, tokens=2048, seed=0, shuffle=False)
    for (batch,) in batches.epoch(0):
        inputs = batch.source, batch.source_mask, batch.inputs, batch.mask
        yield Piece(inputs, batch.targets)


def _examples(run: Any, task: Classification) -> Iterator[Piece]:
    values, targets = task.coded("validation")
    for (batch,) in ExampleBatches(values, targets, rows=ROWS, shuffle=False).epoch(0):
        if batch.x.ndim == 4:
            yield Piece((brightness(batch.x, run.model.like().dtype),), batch.targets)
            continue
        mask = torch.ones(batch.shape).bool() if batch.mask is None else batch.mask
        x = batch.x.float() if batch.x.is_floating_point() else batch.x
        yield Piece((x, mask), batch.targets)


def _stretches(count: int) -> Iterator[tuple[int, int]]:
    """From where to where the rows go that a sequence is cut into."""
    at = 0
    for length in cycle(LENGTHS):
        if at >= count:
            return
        yield at, min(at + length, count)
        at += length


def _groups(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    yield from (rows[at : at + ROWS] for at in range(0, len(rows), ROWS))


def _padded(rows: Sequence[np.ndarray], fill: float | int) -> tuple[Tensor, Tensor]:
    """Rows side by side, every other one moved to the right: padding before and behind."""
    time = max(map(len, rows))
    whole = np.full((len(rows), time, *rows[0].shape[1:]), fill, rows[0].dtype)
    mask = np.zeros((len(rows), time), bool)
    for at, row in enumerate(rows):
        before = (time - len(row)) // 2 if at % 2 else 0
        whole[at, before : before + len(row)] = row
        mask[at, before : before + len(row)] = True
    return torch.from_numpy(whole), torch.from_numpy(mask)


# Measures


def _nats(outputs: Sequence[Tensor], targets: Tensor) -> tuple[float, ...]:
    logits, wanted = outputs[0].flatten(0, 1), targets.flatten()
    total = cross_entropy(logits.double(), wanted, ignore_index=-1, reduction="sum")
    return float(total), float((wanted >= 0).sum())


def _surprise(means: Sequence[float]) -> dict[str, float]:
    return {"nats": means[0], **surprise(means[0])}


def _right(outputs: Sequence[Tensor], targets: Tensor) -> tuple[float, ...]:
    """Of examples, or of the steps whose class is known."""
    shares, wanted = outputs[0].double().flatten(0, -2), targets.flatten()
    shares, wanted = shares[wanted >= 0], wanted[wanted >= 0]
    nats = -shares.gather(1, wanted.unsqueeze(1)).clamp_min(1e-300).log().sum()
    return float(nats), float((shares.argmax(1) == wanted).sum()), float(len(wanted))


def _decisions(outputs: Sequence[Tensor], targets: Tensor) -> tuple[float, ...]:
    """Of each class, there or not."""
    shares, there = outputs[0].double(), targets > 0.5
    right = torch.where(there, shares, 1 - shares)
    nats = -right.clamp_min(1e-300).log().sum()
    return float(nats), float((right > 0.5).sum()), float(right.numel())


def _accuracy(means: Sequence[float]) -> dict[str, float]:
    return {"nats": means[0], "accuracy": 100 * means[1]}


def _loss_of(head: Any) -> Callable[[Sequence[Tensor], Tensor], tuple[float, ...]]:
    def add(outputs: Sequence[Tensor], targets: Tensor) -> tuple[float, ...]:
        parameters = head.pack(*(part.double() for part in outputs))
        known = targets.double()
        return float(head.loss(parameters, known).sum()), float(head.counted(known).sum())

    return add


def _loss(means: Sequence[float]) -> dict[str, float]:
    return {"loss": means[0]}


def judged(
    judge: Judge, pieces: Sequence[Piece], compute: Callable[[Piece], Sequence[Tensor]]
) -> dict[str, float]:
    """How well pieces are foretold by whatever computes them."""
    *sums, count = map(sum, zip(*(judge.add(compute(p), p.targets) for p in pieces), strict=True))
    return judge.tell([total / count if count else math.nan for total in sums])
