"""Which hidden units rise with a span of a sequence, and where else in a corpus they do."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from throughtime.errors import InputError
from throughtime.inspect.axis_names import visible, width
from throughtime.inspect.recording import record
from throughtime.models.autoregressive import Autoregressive
from throughtime.models.chain import evaluating
from throughtime.shapes import Float, Tensor
from throughtime.state import State

__all__ = ["Span", "find_spans", "over_corpus", "rising_units", "show_spans"]

SHOWN = 40
"""Tokens of a span; of a longer one the first and the last ones are shown."""


class Span(NamedTuple):
    """Steps at which units are above a threshold together.

    Attributes:
        row: of the corpus.
        start: its first step.
        stop: the step after its last one.
        units: those that are above it throughout.
        score: from 0 to 1, where all units asked for rise and fall exactly here.
    """

    row: int
    start: int
    stop: int
    units: tuple[int, ...]
    score: float


def rising_units(
    values: Float[Tensor, "batch time hidden"],
    row: int,
    start: int,
    stop: int,
    *,
    threshold: float = 0.3,
    before: int = 1,
    after: int = 1,
    mask: Tensor | None = None,
) -> tuple[int, ...]:
    """The units that are above a threshold throughout a span, and not right before and after it.

    What such units have in common with the span is a guess to be tested:
    [`find_spans`][throughtime.inspect.find_spans] says where else they rise. At either end of a row
    there is nothing to be above.

    Args:
        values: hidden values or cells, as [`record`][throughtime.inspect.record] gives them. For
            units that fall, their negatives.
        row: in which the span lies.
        start: its first step.
        stop: the step after its last one.
        threshold: above it a unit is on.
        before: at so many steps before the span it must not be on; 0: it may have risen earlier.
        after: at so many steps after the span it must not be on; 0: it may fall later.
        mask: `[batch, time]`, True where a step is real; the others are passed over.

    Returns:
        Their numbers, the one that rises highest above its surroundings first.

    Errors:
        InputError: no such row; a span that is not in it, or has no real step.

    Examples:
        >>> values = torch.zeros(1, 6, 3)
        >>> values[0, 2:4, 0] = 0.9  # on in steps 2 and 3
        >>> values[0, 2:5, 1] = 0.9  # too long
        >>> rising_units(values, row=0, start=2, stop=4)
        (0,)

    References:
        Strobelt et al. 2018, "LSTMVis: a tool for visual analysis of hidden state dynamics in
        recurrent neural networks".
    """
    batch, time, _ = values.shape
    if not 0 <= row < batch:
        raise InputError(f"rising_units: row is {row}, expected from 0 to {batch - 1}")
    if not 0 <= start < stop <= time:
        raise InputError(
            f"rising_units: start is {start} and stop {stop}, expected a span within 0 to {time}"
        )
    if before < 0 or after < 0:
        raise InputError(
            f"rising_units: before is {before} and after {after}, expected at least 0 steps"
        )
    real = torch.ones(time, dtype=torch.bool, device=values.device)
    if mask is not None:
        real = _checked("rising_units", mask, (batch, time))[row]
    one = values.detach()[row]
    inside = one[start:stop][real[start:stop]]
    if not len(inside):
        raise InputError(f"rising_units: no step from {start} to {stop - 1} is real, expected some")
    left = one[:start][real[:start]]
    around = torch.cat([left[max(len(left) - before, 0) :], one[stop:][real[stop:]][:after]])
    on = (inside > threshold).all(0) & ~(around > threshold).any(0)
    beside = around.amax(0) if len(around) else torch.zeros_like(one[0])
    height = torch.where(on, inside.mean(0) - beside, -torch.inf)
    order = height.argsort(descending=True, stable=True)
    return tuple(order[: int(on.sum())].tolist())


@torch.no_grad()
def over_corpus(
    model: nn.Module,
    x: Tensor,
    name: str,
    *,
    chunk: int = 1024,
    state: State = None,
    mask: Tensor | None = None,
) -> Iterator[Float[Tensor, "batch steps hidden"]]:
    """What a model computes along a corpus, in chunks, so that memory stays bounded.

    The state is carried from chunk to chunk: the values are those of one run over all of it. Those
    of a step are after its token was read. An autoregressive model first reads the marker that
    nothing came before, as in training. Dropout is off.

    Args:
        model: keeps the contract, `output, state = model(x, state)`.
        x: `[batch, time]` of token ids, `[batch, time, features]`, or `[time]`, one stream of ids.
        name: what to record, such as `body.layers.0.cell`.
        chunk: steps that run at once.
        state: where the corpus goes on from; None is its beginning.
        mask: `[batch, time]`, True where a step is real.

    Yields:
        `[batch, steps, hidden]`, the next steps.

    Errors:
        InputError: nothing of that name, or a chunk without steps.

    Examples:
        >>> from throughtime import LSTM
        >>> layer, x = LSTM(3, 5), torch.randn(1, 10, 3)
        >>> [part.shape[1] for part in over_corpus(layer, x, "cell", chunk=4)]
        [4, 4, 2]
    """
    if chunk < 1:
        raise InputError(f"over_corpus: chunk is {chunk}, expected at least 1 step")
    x = x.unsqueeze(0) if x.ndim == 1 else x
    if mask is not None:
        mask = _checked("over_corpus", mask, (x.shape[0], x.shape[1]))
    with evaluating(model):
        if state is None and isinstance(model, Autoregressive) and not model.inputs.covariates:
            _, state = model(model.begin(x.shape[0]))
    for at in range(0, x.shape[1], chunk):
        real = None if mask is None else mask[:, at : at + chunk]
        # Others run between chunks: what is set for a while is set inside.
        with evaluating(model), record(model, name) as trace:
            _, state = model(x[:, at : at + chunk], state, real)
        yield torch.cat(trace.calls(name), dim=1)


def find_spans(
    values: Tensor | Iterable[Tensor],
    units: Sequence[int],
    *,
    threshold: float = 0.3,
    shortest: int = 1,
    longest: int | None = None,
    least: int = 1,
    most: int = 50,
    mask: Tensor | None = None,
) -> list[Span]:
    r"""Where in a corpus the same units rise together, the best places first.

    A unit's runs are the longest stretches of steps at which it is above the threshold. All spans
    are tried in which one or more of the runs meet. Each unit that is on throughout a span $s$
    counts by how well its run $r$ fits at both ends:

    $$\text{score}(s) = \frac{1}{|U|} \sum_{u \in U,\; s \subseteq r_u} \frac{|s|}{|r_u|}$$

    so that more units are better, and one that is on all the time counts next to nothing. Of spans
    that overlap the best one is kept, and of equals the longest comes first. Only whether each unit
    is on is kept of the values: one byte for each of its steps.

    Args:
        values: `[batch, time, hidden]`, or chunks of it, in order, such as those of
            [`over_corpus`][throughtime.inspect.over_corpus].
        units: that are looked for, U.
        threshold: above it a unit is on.
        shortest: steps of a span, at least.
        longest: steps of a span, at most; None: any.
        least: units that are on throughout, at least.
        most: spans, at most.
        mask: `[batch, time]`, True where a step is real; runs go on across the others, which do
            not count as steps.

    Errors:
        InputError: no units, or one that there is not; no values; bounds that nothing meets.

    Examples:
        >>> values = torch.zeros(1, 20, 3)
        >>> values[0, 3:6, :2] = 1
        >>> values[0, 10:13, 0] = 1
        >>> for span in find_spans(values, [0, 1]):
        ...     print(span.start, span.stop, span.units, span.score)
        3 6 (0, 1) 1.0
        10 13 (0,) 0.5
    """
    chosen = list(dict.fromkeys(units))
    _check_bounds(chosen, shortest, longest, least, most)
    chunks = [values] if isinstance(values, Tensor) else values
    parts = [_on(one, chosen, threshold) for one in chunks] or [_nothing()]
    rows = sorted({len(part) for part in parts})
    if len(rows) > 1:
        raise InputError(f"find_spans: chunks have {rows} rows, expected the same in each")
    on = np.concatenate(parts, axis=1)
    if not on.shape[1]:
        raise InputError("find_spans: values are empty, expected at least one step")
    if mask is not None:
        real = _checked("find_spans", mask, on.shape[:2]).cpu().numpy()
    else:
        real = np.ones(on.shape[:2], dtype=bool)
    found: list[Span] = []
    for row, (bits, there) in enumerate(zip(on, real, strict=True)):
        places = np.flatnonzero(there)
        for start, stop, which, score in _best(
            bits[places], shortest, longest or len(places), least, most
        ):
            members = tuple(unit for unit, one in zip(chosen, which, strict=True) if one)
            found.append(Span(row, int(places[start]), int(places[stop - 1]) + 1, members, score))
    return sorted(found, key=_rank)[:most]


def show_spans(
    spans: Sequence[Span],
    tokens: Sequence[str] | Sequence[Sequence[str]],
    *,
    context: int = 20,
    joiner: str = "",
) -> str:
    """Spans with their text and what stands around it, one in a line, below each other.

    Args:
        spans: what [`find_spans`][throughtime.inspect.find_spans] gave.
        tokens: of the corpus; a list for each row where there are several.
        context: how many are shown before and after.
        joiner: what stands between two of them: nothing, or a space between words.

    Errors:
        InputError: a span that lies outside of the tokens.

    Examples:
        >>> span = Span(row=0, start=4, stop=7, units=(2, 5), score=0.9)
        >>> print(show_spans([span], "the cat sat", context=4))
        0.90  2 units  0:4-7  the␣ «cat» ␣sat
    """
    one = all(isinstance(token, str) for token in tokens)
    rows: list[Sequence[str]] = [tokens] if one else list(tokens)  # pyright: ignore
    lines: list[tuple[str, str, str, str, str]] = []
    for span in spans:
        if span.row >= len(rows) or span.stop > len(rows[span.row]):
            raise InputError(
                f"show_spans: a span ends at step {span.stop} of row {span.row}, expected tokens "
                "for it"
            )
        line = rows[span.row]
        before = _text(line[max(span.start - context, 0) : span.start], joiner)
        after = _text(line[span.stop : span.stop + context], joiner)
        many = "unit" if len(span.units) == 1 else "units"
        lines.append(
            (
                f"{span.score:.2f}  {len(span.units)} {many}",
                f"{span.row}:{span.start:,}-{span.stop:,}",
                before,
                _cut(line[span.start : span.stop], joiner),
                after,
            )
        )
    widths = [max((width(line[part]) for line in lines), default=0) for part in range(3)]
    return "\n".join(
        f"{_padded(head, widths[0])}  {_padded(place, widths[1])}  "
        f"{' ' * (widths[2] - width(before))}{before} «{text}» {after}".rstrip()
        for head, place, before, text, after in lines
    )


# Runs and where they meet


def _rank(span: Span) -> tuple[float, int, int, int]:
    """The best first, of equals the longest: it is less likely to be chance."""
    return -span.score, span.start - span.stop, span.row, span.start


def _on(values: Tensor, units: list[int], threshold: float) -> np.ndarray:
    if values.ndim != 3 or not 0 <= min(units) <= max(units) < values.shape[2]:
        raise InputError(
            f"find_spans: values have shape {list(values.shape)}, expected [batch, time, hidden] "
            f"with units {units}"
        )
    return (values.detach()[..., units] > threshold).cpu().numpy()


def _nothing() -> np.ndarray:
    return np.zeros((0, 0, 0), dtype=bool)


def _best(
    on: np.ndarray, shortest: int, longest: int, least: int, most: int
) -> Iterator[tuple[int, int, np.ndarray, float]]:
    """Spans that do not overlap, best first: start, stop, which units, score.

    Wherever runs meet, they do so from the beginning of one of them to the end of one.
    """
    time, units = on.shape
    begins, ends = _runs(on)
    rises = np.flatnonzero((on & (begins == np.arange(time)[:, None])).any(1))
    rises = rises[on[rises].sum(1) >= least]
    at = [rises[on[rises, unit]] for unit in range(units)]
    meetings = [np.stack([one, ends[one, unit]], axis=1) for unit, one in enumerate(at)]
    starts, stops = np.unique(np.concatenate(meetings), axis=0).T
    lengths = stops - starts
    kept = (lengths >= shortest) & (lengths <= longest)
    starts, stops, lengths = starts[kept], stops[kept], lengths[kept]
    within = np.zeros((len(starts), units), dtype=bool)  # on throughout
    scores = np.zeros(len(starts))
    for unit in range(units):
        begin, end = begins[starts, unit], ends[starts, unit]
        within[:, unit] = on[starts, unit] & (end >= stops)
        scores += np.where(within[:, unit], lengths / np.maximum(end - begin, 1), 0)
    scores /= units
    enough = within.sum(1) >= least
    taken = np.zeros(time, dtype=bool)
    for best in np.lexsort((starts, -lengths, -scores)):
        if most == 0:
            return
        if enough[best] and not taken[starts[best] : stops[best]].any():
            taken[starts[best] : stops[best]] = True
            most -= 1
            yield int(starts[best]), int(stops[best]), within[best], float(scores[best])


def _runs(on: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the run that each step is part of begins, and the step after its end."""
    time = len(on)
    steps = np.arange(time, dtype=np.int32)[:, None]
    begins = np.maximum.accumulate(np.where(on, -1, steps), axis=0) + 1
    ends = np.minimum.accumulate(np.where(on, time, steps)[::-1], axis=0)[::-1]
    return begins, ends


def _check_bounds(
    units: list[int], shortest: int, longest: int | None, least: int, most: int
) -> None:
    if not units:
        raise InputError("find_spans: units are empty, expected at least one")
    if not 1 <= shortest <= (longest or shortest) or most < 1:
        raise InputError(
            f"find_spans: shortest is {shortest}, longest {longest} and most {most}, expected "
            "1 <= shortest <= longest, and at least 1 span"
        )
    if not 1 <= least <= len(units):
        raise InputError(
            f"find_spans: least is {least}, expected from 1 to the number of units, {len(units)}"
        )


def _checked(name: str, mask: Tensor, shape: tuple[int, ...]) -> Tensor:
    if mask.dtype != torch.bool or tuple(mask.shape) != tuple(shape):
        raise InputError(
            f"{name}: mask is {mask.dtype} of shape {list(mask.shape)}, expected torch.bool of "
            f"[batch, time] = {list(shape)}"
        )
    return mask


# Text in lines


def _text(tokens: Sequence[str], joiner: str) -> str:
    return visible(joiner.join(tokens)) if not joiner else joiner.join(map(visible, tokens))


def _cut(tokens: Sequence[str], joiner: str) -> str:
    if len(tokens) <= SHOWN:
        return _text(tokens, joiner)
    half = SHOWN // 2
    return f"{_text(tokens[:half], joiner)}{joiner}…{joiner}{_text(tokens[-half:], joiner)}"


def _padded(words: str, columns: int) -> str:
    return words + " " * (columns - width(words))
