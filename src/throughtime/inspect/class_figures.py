"""Figures of classifiers: functions that draw on an `ax` they are given and return it.

They follow what [`figures`][throughtime.inspect.figures] says of all of them.
"""

import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any
from unicodedata import east_asian_width

import numpy as np

from throughtime.inspect.class_contents import Confusion, Early, Reliability
from throughtime.inspect.contents import number
from throughtime.inspect.drawing import (
    Axes,
    LinearSegmentedColormap,
    MaxNLocator,
    dress,
    floats,
    legend,
    styled,
)
from throughtime.inspect.figures import DASHES
from throughtime.inspect.theme import LIGHT, Theme, colours, contrast

__all__ = ["confusion_matrix", "early_accuracy", "fitted", "percent", "reliability_diagram"]

COUNTED = 20
"""Classes up to which counts are written into the squares."""

NAMED = 25
"""Names at most along an axis."""

READABLE = 7.0
"""Points below which counts are written shorter than they are."""

SMALLEST = 4.5
"""Points below which they are not written: nobody could read them."""

STRIP = 16.0
"""Height in % of the strip that shows how many rows a bin has."""


@styled
def confusion_matrix(ax: Axes, confusion: Confusion, *, theme: Theme = LIGHT) -> Axes:
    """Which class was taken for which: a row for each true class, a column for each answer.

    A square is the darker (by night the brighter) the larger its share of the row; the shade grows
    with the root of the share, or rare mistakes would not show. It says how many rows that are;
    with more than 20 classes it does not, and only some classes are named.

    Args:
        ax: where to draw.
        confusion: the counts.
        theme: where it will be seen.
    """
    names, seen = confusion.names, np.sqrt(confusion.shares)
    shades = shades_of(theme)
    # Not smoothed and not sampled: a drawing holds one pixel for each square.
    ax.imshow(seen, cmap=shades, vmin=0, vmax=1, aspect="auto", interpolation="none")
    if len(names) <= COUNTED:
        _write_counts(ax, confusion, lambda share: _hex(shades(math.sqrt(share))))
        _rule(ax, len(names), theme)
    step = label_step(len(names))
    kept = range(0, len(names), step)
    shown = labels_for([names[place] for place in kept])
    width = 72 * _inches(ax)[0] / len(names) * step
    turned = 90 if max(map(_points, shown)) > width else 0
    ax.set_xticks(kept, shown, rotation=turned, parse_math=False)
    ax.set_yticks(kept, shown, parse_math=False)
    rows = int(confusion.counts.sum())
    said = f"{percent(confusion.accuracy)} of {rows:,} rows right" if rows else "no rows"
    dress(ax, theme, confusion.model, said, x="answer", y="truth")
    ax.grid(visible=False)
    return ax


def shades_of(theme: Theme) -> LinearSegmentedColormap:
    """From the page's ground to one hue, a third on its way to ink: most can be written upon."""
    full = LinearSegmentedColormap.from_list("full", [theme.palette[0], theme.ink])(0.3)
    return LinearSegmentedColormap.from_list("confusion", [theme.surface, full])


def _hex(colour: Sequence[float]) -> str:
    """Red, green and blue from 0 to 1 as `#rrggbb`."""
    return "#" + "".join(f"{round(255 * part):02x}" for part in colour[:3])


def ink_on(ground: str) -> str:
    """Black or white: one of them has a contrast of more than 4.5 with any colour.

    Examples:
        >>> ink_on("#dddddd"), ink_on("#222222")
        ('#000000', '#ffffff')
    """
    return max("#000000", "#ffffff", key=lambda ink: contrast(ink, ground))


def _write_counts(ax: Axes, confusion: Confusion, shade: Callable[[float], str]) -> None:
    """How many rows each square has, where there are any."""
    shares, counts = confusion.shares, confusion.counts
    places = [(truth, answer) for truth, answer in np.argwhere(counts).tolist()]
    width, height = (72 * inches / len(confusion.names) for inches in _inches(ax))
    for write, least in ((lambda count: f"{count:,}", READABLE), (compact, SMALLEST)):
        texts = {place: write(int(counts[place])) for place in places}
        widest = max(map(len, texts.values()), default=1)
        size = min(8.5, 0.85 * width / (0.62 * widest), 0.7 * height)
        if size >= least:
            break
    else:
        return
    for (truth, answer), text in texts.items():
        ink = ink_on(shade(shares[truth, answer]))
        ax.text(answer, truth, text, ha="center", va="center", fontsize=size, color=ink)


def _rule(ax: Axes, classes: int, theme: Theme) -> None:
    """Lines between the squares."""
    for place in range(classes + 1):
        ax.axhline(place - 0.5, color=theme.grid, linewidth=0.5)
        ax.axvline(place - 0.5, color=theme.grid, linewidth=0.5)


def label_step(classes: int) -> int:
    """Every how many classes one is named, so that a reader can count on from it.

    Examples:
        >>> label_step(10), label_step(26), label_step(100), label_step(1000)
        (1, 2, 5, 50)
    """
    steps = (base * 10**power for power in range(9) for base in (1, 2, 5))
    return next(step for step in steps if math.ceil(classes / step) <= NAMED)


def labels_for(names: Sequence[str], room: int = 14) -> list[str]:
    """Names along an axis; where cutting makes them alike, what all begin or end with goes first.

    Examples:
        >>> labels_for(["speaker 1 of the two", "speaker 2 of the two"])
        ['…1…', '…2…']
    """
    shown = [fitted(name, room) for name in names]
    if len(set(shown)) == len(set(names)):
        return shown
    front = _alike(names)
    rests = [name[front:] for name in names]
    back = _alike([rest[::-1] for rest in rests])
    cut = [rest[: len(rest) - back] for rest in rests]
    return [fitted(f"{'…' * (front > 0)}{rest}{'…' * (back > 0)}", room) for rest in cut]


def _alike(names: Sequence[str]) -> int:
    """With how many letters all of them begin."""
    letters = zip(*names, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda each: len(set(each)) == 1, letters))


def compact(count: int) -> str:
    """A count in at most four letters.

    Examples:
        >>> compact(999), compact(1234), compact(56_789), compact(2_500_000)
        ('999', '1.2k', '57k', '2.5M')
    """
    for letter, size in (("M", 1_000_000), ("k", 1000)):
        if count >= size - size // 2000:  # what would be rounded up to it is shown as that
            many = count / size
            return f"{many:.1f}{letter}" if many < 9.95 else f"{many:.0f}{letter}"
    return str(count)


def fitted(name: str, room: int) -> str:
    """A name on one line in so much room, where a letter of East Asia needs twice as much.

    Of a longer one both ends are kept: what tells names apart often stands at the end.

    Examples:
        >>> fitted("speaker number 12", 10), fitted("아주 긴 이름", 8), fitted("", 8)
        ('speak…r 12', '아주…름', '(empty)')
    """
    plain = "".join(letter if letter.isprintable() else " " for letter in name)
    plain = " ".join(plain.split()) or "(empty)"
    if sum(map(_wide, plain)) <= room:
        return plain
    head, tail = _first(plain, room // 2), _first(plain[::-1], (room - 1) // 2)
    return f"{head}…{tail[::-1]}"


def _first(letters: str, room: int) -> str:
    """As many letters from the front as there is room for."""
    ends = np.cumsum([_wide(letter) for letter in letters])
    return letters[: int((ends <= room).sum())]


def _wide(letter: str) -> int:
    return 2 if east_asian_width(letter) in "WF" else 1


def _points(name: str) -> float:
    """About how wide a name is drawn."""
    return 2 + 5.5 * sum(map(_wide, name))


def _inches(ax: Axes) -> tuple[float, float]:
    """Width and height of the space for data, before labels take theirs."""
    figure = ax.get_figure()
    assert figure is not None
    box = ax.get_window_extent()
    return box.width / figure.dpi, box.height / figure.dpi


def percent(share: float) -> str:
    """A share as figures and tables show it.

    Examples:
        >>> percent(0.123), percent(0.0001), percent(math.nan)
        ('12.3 %', '<0.1 %', 'unknown')
    """
    return f"{number(100 * share, 1)} %" if math.isfinite(share) else "unknown"


@styled
def reliability_diagram(
    ax: Axes,
    reliability: Reliability,
    *,
    theme: Theme = LIGHT,
    palette: Mapping[str, str] | None = None,
) -> Axes:
    """Accuracy by confidence: bars that end at the diagonal are of a model that can be trusted.

    A box from the end of a bar to the mean confidence of its bin is what is missing, or too much.
    The strip below tells how many rows the bins have, compared with the fullest.

    Args:
        ax: where to draw.
        reliability: the bins.
        theme: where it will be seen.
        palette: model to colour; by default that of this model alone.
    """
    colour = (palette or colours([reliability.model], theme=theme))[reliability.model]
    edges = 100 * floats(reliability.edges)
    counts = np.nan_to_num(floats(reliability.count))
    accuracy, confidence = 100 * floats(reliability.accuracy), 100 * floats(reliability.confidence)
    filled = (counts > 0) & np.isfinite(accuracy) & np.isfinite(confidence)
    left, wide = edges[:-1][filled], np.diff(edges)[filled]
    accuracy, confidence, counts = accuracy[filled], confidence[filled], counts[filled]
    ax.bar(left, accuracy, wide, align="edge", color=colour, alpha=0.75, linewidth=0)
    ax.bar(
        left, confidence - accuracy, wide, bottom=accuracy, align="edge", fill=False,
        edgecolor=theme.ink, linewidth=0.8, linestyle=(0, DASHES[1]),
    )  # fmt: skip
    many = STRIP * counts / max(counts, default=1.0)
    ax.bar(left, -many, wide, bottom=-2, align="edge", color=theme.muted, alpha=0.6, linewidth=0)
    ax.plot([0, 100], [0, 100], color=theme.ink, linewidth=1.1, linestyle=(0, DASHES[0]))
    ax.set(xlim=(edges[0], edges[-1]), ylim=(-STRIP - 4, 102))
    ax.set_yticks(range(0, 101, 25))
    _corner(ax, reliability, theme)
    said = _how_sure(accuracy, confidence, counts)
    dress(ax, theme, reliability.model, said, x="confidence, %", y="accuracy, %")
    return ax


def _corner(ax: Axes, reliability: Reliability, theme: Theme) -> None:
    """The error, and the temperature if there is one."""
    lines = [f"ECE {percent(reliability.ece)}"]
    if reliability.temperature is not None:
        lines.append(f"temperature {reliability.temperature:.2f}")
    ax.annotate(
        "\n".join(lines), (0, 1), xytext=(6, -6), xycoords="axes fraction",
        textcoords="offset points", va="top", color=theme.ink, fontsize=8.5,
        bbox={"facecolor": theme.surface, "edgecolor": "none", "alpha": 0.85, "pad": 2},
    )  # fmt: skip


def _how_sure(accuracy: np.ndarray, confidence: np.ndarray, counts: np.ndarray) -> str:
    rows = counts.sum()
    if not rows:
        return "no rows"
    right, sure = float(accuracy @ counts / rows), float(confidence @ counts / rows)
    return f"{sure:.1f} % sure, {right:.1f} % right ({rows:,.0f} rows)"


@styled
def early_accuracy(
    ax: Axes,
    early: Early,
    *,
    baselines: Collection[str] = (),
    theme: Theme = LIGHT,
    palette: Mapping[str, str] | None = None,
) -> Axes:
    """Accuracy by how much of a sequence was seen, a line per model.

    Args:
        ax: where to draw.
        early: the accuracies.
        baselines: those models drawn in grey dashes.
        theme: where it will be seen.
        palette: model to colour; by default that of these models alone.
    """
    models = list(early.models)
    palette = palette or colours(models, baselines, theme)
    dashed = [model for model in models if model in baselines]
    # Baselines first, so that they lie below.
    for model in sorted(models, key=lambda model: model not in baselines):
        line = sorted((float(share), float(right)) for share, right in early.models[model].items())
        style: Any = "-"
        if model in baselines:
            style = (0, DASHES[dashed.index(model) % len(DASHES)])
        ax.plot(
            [100 * share for share, _ in line], [right for _, right in line], color=palette[model],
            linestyle=style, marker=None if model in baselines and len(line) > 1 else "o",
            markersize=3.5, linewidth=1.6, label=model,
        )  # fmt: skip
    ax.set_ylim(*_accuracies_shown(early))
    ax.set_xlim(0, 103)
    ax.set_xticks(range(0, 101, 20))
    ax.yaxis.set_major_locator(MaxNLocator(6))
    title, said = "Accuracy by how much was seen", _who_is_highest(early, baselines)
    dress(ax, theme, title, said, x="share of the sequence seen, %", y="accuracy, %")
    legend(ax, theme, order=[*(m for m in models if m not in baselines), *dashed])
    return ax


def _accuracies_shown(early: Early) -> tuple[float, float]:
    """From the lowest to the highest, with some room."""
    known = [
        right for line in early.models.values() for right in line.values() if math.isfinite(right)
    ]
    low, high = min(known, default=0.0), max(known, default=100.0)
    room = max(1.0, 0.08 * (high - low))
    return max(-1.0, low - room), min(101.0, high + room)


def _who_is_highest(early: Early, baselines: Collection[str]) -> str:
    """Who is best at most of the shares that every model has; what stays the same may have less."""
    lines = {model: line for model, line in early.models.items() if model not in baselines}
    shared = set.intersection(*map(set, lines.values())) if lines else set()
    wins = dict.fromkeys(lines, 0)
    for share in shared:
        known = {m: line[share] for m, line in lines.items() if math.isfinite(line[share])}
        if known:
            wins[max(known, key=lambda model: known[model])] += 1
    if len(lines) < 2 or not any(wins.values()):
        return ""
    first = max(wins, key=lambda model: wins[model])
    return f"{fitted(first, 20)} is highest at {wins[first]} of {len(shared)} shares"
