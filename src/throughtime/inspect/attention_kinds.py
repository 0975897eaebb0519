"""What kind of head each is: one that looks at a place, near or fixed, evenly, or by content."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, NamedTuple

import torch
from torch.nn.functional import pad

from throughtime.errors import InputError
from throughtime.inspect.attention import check_square
from throughtime.inspect.attention_measures import (
    attention_distance,
    attention_entropy,
    looking,
    mean_over,
    places_of,
)
from throughtime.shapes import Bool, Float, Int, Tensor

__all__ = ["Head", "Heads", "describe_heads"]

EVEN = 0.95
"""Of the largest possible entropy: from here on a head is said to spread evenly."""

NEAR = 3
"""Steps to either side that are nearby."""

MORE = 1 / 3
"""Of the way from an even spread to all: by so much a place must have more."""

ROUNDING = 1e-5
"""By so much a sum of weights may miss what it is compared with."""


@dataclass(frozen=True)
class Head:
    """What a head of attention does.

    Attributes:
        layer: its layer's name.
        head: its number, from 0.
        kind: what it looks at, in words.
        share: of its weight that goes there; NaN where the kind is no place.
        entropy: as a share of the largest possible.
        distance: mean steps to what it looks at.
        confidence: its largest weight, as a mean over steps.
    """

    layer: str
    head: int
    kind: str
    share: float
    entropy: float
    distance: float
    confidence: float


@dataclass(frozen=True)
class Heads(Sequence[Head]):
    """All heads of some layers; prints as a table."""

    heads: tuple[Head, ...]

    def __getitem__(self, place: Any) -> Any:
        """A head, or some of them."""
        return Heads(self.heads[place]) if isinstance(place, slice) else self.heads[place]

    def __len__(self) -> int:
        return len(self.heads)

    def __str__(self) -> str:
        table = [["layer", "head", "looks at", "share", "entropy", "distance", "confidence"]]
        for one in self.heads:
            numbers = one.share, one.entropy, one.distance, one.confidence
            told = ["-" if math.isnan(number) else f"{number:.2f}" for number in numbers]
            table.append([one.layer, str(one.head), one.kind, *told])
        widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
        sides = (str.ljust, str.rjust, str.ljust, *[str.rjust] * 4)
        return "\n".join(
            "  ".join(
                side(cell, width) for side, cell, width in zip(sides, line, widths, strict=True)
            ).rstrip()
            for line in table
        )

    def _repr_html_(self) -> str:
        """For notebooks."""
        return f"<pre>{escape(str(self))}</pre>"


def describe_heads(
    maps: Mapping[str, Tensor] | Sequence[Tensor],
    mask: Bool[Tensor, "batch time"] | None = None,
    *,
    share: float = 0.5,
) -> Heads:
    """What each head looks at, where a place tells it.

    A head is said to look at a place where at least half of its weight goes there, and that is at
    least a third of the way from what an even spread would put there to all of it. The places are,
    relative to the step that looks: `itself`, `the step before`, `the step after`, `5 steps back`,
    `2 steps ahead`; or fixed: `the first step`, `the last step`. Of several the one with most
    weight counts. Where all of this is too narrow, `nearby` is up to 3 steps to either side.
    `evenly` comes before all of them: an entropy of at least 95 % of the largest possible. What is
    left goes `by content`: what stands in a step must decide, or a place nobody thought of.

    Only steps with a choice count, as means over all of them that have that place; a place that
    less than half of them have says nothing. More than one sequence, and long ones, say more.

    Args:
        maps: of self-attention by layer, without a state, as of
            [`attention_maps`][throughtime.inspect.attention.attention_maps].
        mask: `[batch, time]`, True where a step is real. Places count real steps.
        share: of the weight that must go to a place, in (0, 1].

    Returns:
        A sequence of `Head`, layer by layer, that prints as a table.

    Errors:
        InputError: no maps, or maps that are not square.

    Examples:
        >>> before = torch.eye(6)[[0, 0, 1, 2, 3, 4]].view(1, 1, 6, 6)
        >>> print(describe_heads({"1": before.expand(1, 1, 6, 6)}))
        layer  head  looks at         share  entropy  distance  confidence
        1         0  the step before   1.00     0.00      0.83        1.00

    References:
        Voita et al. 2019, "Analyzing multi-head self-attention: specialized heads do the heavy
        lifting, the rest can be pruned"; Clark et al. 2019, "What does BERT look at? An analysis of
        BERT's attention".
    """
    if not 0 < share <= 1:
        raise InputError(f"describe_heads: share is {share}, expected a share in (0, 1]")
    found: list[Head] = []
    for layer, map_ in check_square("describe_heads", maps, mask).items():
        weights, looks = looking("describe_heads", map_, mask)
        choices = _choices(weights, mask)
        entropy = attention_entropy(weights, mask, share=True, allowed=choices).tolist()
        distance = attention_distance(weights, mask).tolist()
        confidence = mean_over(pad(weights, (0, 1)).amax(-1), looks).tolist()  # also of no steps
        places = _shares(weights, choices, looks, mask)
        for head in range(weights.shape[1]):
            kind, there = _kind(places, head, entropy[head], share)
            found.append(
                Head(layer, head, kind, there, entropy[head], distance[head], confidence[head])
            )
    return Heads(tuple(found))


class _Share(NamedTuple):
    """What each head gives to a place, and what an even spread would give."""

    heads: list[float]
    even: float


def _kind(places: dict[str, _Share], head: int, entropy: float, share: float) -> tuple[str, float]:
    """What a head looks at, and how much of its weight goes there."""
    if entropy >= EVEN:
        return "evenly", math.nan
    known = {
        name: there.heads[head]
        for name, there in places.items()
        if there.even < 1 - ROUNDING  # there is another place
        and there.heads[head] >= max(share, there.even + MORE * (1 - there.even)) - ROUNDING
    }
    nearby = known.pop("nearby", None)
    if known:
        best = max(known, key=lambda name: known[name])  # of equals the first
        return best, known[best]
    return ("by content", math.nan) if nearby is None else ("nearby", nearby)


def _shares(
    weights: Float[Tensor, "batch heads time time"],
    choices: Bool[Tensor, "batch time time"],
    looks: Bool[Tensor, "batch time"],
    mask: Tensor | None,
) -> dict[str, _Share]:
    """How much goes to each place that at least half of the steps with a choice have."""
    place = places_of(weights, mask)
    offset = _offset(place)
    looks = looks & (choices.sum(-1) > 1)
    choices = choices & looks.unsqueeze(-1)
    even = choices / choices.sum(-1, keepdim=True).clamp(min=1)
    # An even spread beside the heads, so that all are added up alike.
    spread = torch.cat([torch.where(choices.unsqueeze(1), weights, 0), even.unsqueeze(1)], dim=1)
    final = place[:, -1:] if mask is None else mask.sum(1, keepdim=True) - 1

    def share(where: Tensor) -> tuple[Tensor, Tensor]:
        having = (where & choices).any(-1).sum()
        return torch.where(where.unsqueeze(1), spread, 0).sum((0, 2, 3)), having

    totals = dict(_by_offset(spread, choices, offset))
    totals["the first step"] = share((place == 0).unsqueeze(1))
    totals["the last step"] = share((place == final).unsqueeze(1))
    totals["nearby"] = share(offset.abs() <= NEAR)
    shares: dict[str, _Share] = {}
    for name, (total, having) in totals.items():
        if having and 2 * having >= looks.sum():
            *heads, alike = (total / having).tolist()
            shares[name] = _Share(heads, alike)
    return shares


def _choices(
    weights: Float[Tensor, "batch heads time time"], mask: Tensor | None
) -> Bool[Tensor, "batch time time"]:
    """What each step may look at: no further ahead or back than any head looks from any step.

    Where none looks back, all that lies there counts: it is a head of its own kind that does not.
    """
    seen = (weights > 0).any(1)
    offset = _offset(places_of(weights, mask)).expand_as(seen)
    ahead, back = _most(offset[seen]), _most(-offset[seen])
    choices = offset <= max(0, ahead)
    if back > 0:
        choices = choices & (-offset <= back)
    return choices if mask is None else choices & mask.unsqueeze(1)


def _offset(place: Int[Tensor, "rows time"]) -> Int[Tensor, "rows time time"]:
    """How many real steps each column lies ahead of each row; back is negative."""
    return place.unsqueeze(1) - place.unsqueeze(2)


def _most(numbers: Int[Tensor, " any"]) -> int:
    return int(numbers.max()) if len(numbers) else 0


def _by_offset(
    spread: Float[Tensor, "batch rows time time"],
    choices: Bool[Tensor, "batch time time"],
    offset: Int[Tensor, "places time time"],
) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    """For each offset, the nearest first: what all give to it in total, and who has it."""
    furthest = int(offset.abs().max()) if offset.numel() else 0
    index = (offset.expand_as(choices) + furthest).flatten()
    size = 2 * furthest + 1
    lines = spread.transpose(0, 1).flatten(1)  # (H + 1, B T S)
    totals = lines.new_zeros(len(lines), size).index_add_(1, index, lines)
    having = index.new_zeros(size).index_add_(0, index, choices.flatten().long())
    for by in sorted(range(-furthest, furthest + 1), key=abs):
        yield _offset_name(by), (totals[:, by + furthest], having[by + furthest])


def _offset_name(by: int) -> str:
    if abs(by) < 2:
        return ("the step before", "itself", "the step after")[by + 1]
    return f"{-by} steps back" if by < 0 else f"{by} steps ahead"
