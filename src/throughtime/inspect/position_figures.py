"""Pictures of positions: how alike they are, their waves, and scores by distance."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from throughtime.errors import InputError
from throughtime.inspect.theme import LIGHT, Theme, colours
from throughtime.layers.position import check_position, frequencies, sinusoidal
from throughtime.shapes import Float, Tensor

if TYPE_CHECKING:
    from throughtime.inspect.drawing import Axes
else:
    Axes = Any  # matplotlib is imported where something is drawn

__all__ = ["draw_position_similarity", "draw_position_waves", "draw_score_by_distance"]

FLAT = 8.0
"""A wave so many times as long as what is drawn does not look like one."""

MORE = 0.1
"""Of the way from what others have to 1: by so much a likeness must be more to be told."""

ROUNDING = 1e-6
"""A cosine so little below zero is none."""

LOWEST = -12.0
"""A score so much lower is a weight of less than a hundred-thousandth: figures end here."""


def draw_position_similarity(
    ax: Axes,
    similarity: Float[Tensor, "*steps"],
    *,
    title: str | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Likeness of positions as shades: blue where alike, orange where opposite if any are.

    In two dimensions there is a small map for each patch, at its place in the image: how alike its
    position is to those of all patches.

    Args:
        ax: where to draw.
        similarity: what [`position_similarity`][throughtime.inspect.position_similarity] gave.
        title: by default how far positions are alike.
        theme: where it will be seen.

    Errors:
        InputError: another form.
    """
    from throughtime.inspect.drawing import LinearSegmentedColormap, MaxNLocator, dress, style

    seen = similarity.detach().cpu().double()
    if seen.ndim not in (2, 4) or seen.shape[: seen.ndim // 2] != seen.shape[seen.ndim // 2 :]:
        raise InputError(
            f"draw_position_similarity: similarity has shape {list(seen.shape)}, expected "
            "[steps, steps] or [rows, columns, rows, columns]"
        )
    opposite = bool((seen < -ROUNDING).any())
    hues = [theme.palette[1], theme.surface, theme.palette[0]][0 if opposite else 1 :]
    shades = LinearSegmentedColormap.from_list("alike", hues)
    lowest, flat = -1 if opposite else 0, seen.ndim == 2
    with style():
        drawn = ax.imshow(
            (seen if flat else _tiled(seen)).numpy(), cmap=shades, vmin=lowest, vmax=1
        )
        found = (_reach(seen) if flat else _rows_or_columns(seen)) if title is None else title
        label = "position" if flat else ""
        dress(ax, theme, found, "cosine of their vectors", x=label, y=label)
        ax.grid(visible=False)
        if flat:
            for axis in (ax.xaxis, ax.yaxis):
                axis.set_major_locator(MaxNLocator(5, integer=True))
        else:
            _number_tiles(ax, seen)
        _add_scale(ax, drawn, [*range(lowest, 2)], theme)
    return ax


def _tiled(seen: Float[Tensor, "rows columns rows columns"]) -> Float[Tensor, "down across"]:
    """A map for each patch beside and below each other, with a line of nothing in between."""
    rows, columns = seen.shape[:2]
    apart = seen.new_full((rows, rows + 1, columns, columns + 1), torch.nan)
    apart[:, :rows, :, :columns] = seen.permute(0, 2, 1, 3)
    return apart.flatten(2).flatten(0, 1)[:-1, :-1]


def _number_tiles(ax: Axes, seen: Float[Tensor, "rows columns rows columns"]) -> None:
    """Rows and columns of patches, counted from 1; at most about eight of each."""
    for count, set_ticks in ((seen.shape[0], ax.set_yticks), (seen.shape[1], ax.set_xticks)):
        named = range(0, count, -(-count // 8))
        set_ticks(
            [at * (count + 1) + (count - 1) / 2 for at in named], [str(at + 1) for at in named]
        )
    ax.set_xlabel("column of the patch")
    ax.set_ylabel("row of the patch")


def _add_scale(ax: Axes, drawn: Any, ticks: list[int], theme: Theme) -> None:
    """Which shade is which number, as high as the map."""
    figure = ax.get_figure()
    assert figure is not None
    scale = figure.colorbar(drawn, cax=ax.inset_axes((1.03, 0, 0.04, 1)), ticks=ticks)
    scale.ax.tick_params(colors=theme.muted, length=0, labelsize=8)
    scale.outline.set_edgecolor(theme.grid)  # pyright: ignore


def _by_distance(seen: Float[Tensor, "steps steps"]) -> list[float]:
    return [float(seen.diagonal(away).mean()) for away in range(len(seen))]


def _reach(seen: Float[Tensor, "steps steps"]) -> str:
    """How far positions are alike, as a title."""
    along = _by_distance(seen)
    if len(along) < 2:
        return "How alike positions are"
    apart = float(np.mean(along[1:]))
    if along[1] - apart <= MORE * (1 - apart):
        return "Neighbours are no more alike than others"
    less = next((away for away, alike in enumerate(along) if alike < 0.5), None)
    return (
        "All positions are alike" if less is None else f"Less than half alike from {less} steps on"
    )


def _rows_or_columns(seen: Float[Tensor, "rows columns rows columns"]) -> str:
    """Whether patches of a row, or of a column, are more alike than others, as a title."""
    rows, columns = seen.shape[:2]
    row, column = (torch.arange(count) for count in (rows, columns))
    same_row = (row.view(-1, 1, 1, 1) == row.view(1, 1, -1, 1)).expand_as(seen)
    same_column = (column.view(1, -1, 1, 1) == column.view(1, 1, 1, -1)).expand_as(seen)
    others = seen[~same_row & ~same_column]
    alike = {
        "row": seen[same_row & ~same_column],
        "column": seen[same_column & ~same_row],
    }
    base = float(others.mean()) if len(others) else 0.0
    found = [
        name
        for name, part in alike.items()
        if len(part) and float(part.mean()) - base > MORE * (1 - base)
    ]
    if not found:
        return "Neither rows nor columns are told apart"
    return f"Patches of a {' or a '.join(found)} are more alike"


def draw_position_waves(
    ax: Axes, size: int, steps: int, *, waves: int = 5, theme: Theme = LIGHT
) -> Axes:
    """Sinusoidal positions themselves: pairs of features as waves, each slower than the last.

    The sine of a pair is drawn in full, its cosine dotted. A fast wave tells neighbours apart and
    comes round again; a slow one tells far from near. Of waves too slow to be seen moving within
    these steps one is shown.

    Args:
        ax: where to draw.
        size: features of a position.
        steps: how many.
        waves: how many pairs of features are shown at most, the fastest first.
        theme: where it will be seen.

    Errors:
        InputError: an odd size, or fewer than one wave.
    """
    from throughtime.inspect.drawing import MaxNLocator, dress, style

    check_position("draw_position_waves", "sinusoidal", size, ("sinusoidal",))
    if waves < 1:
        raise InputError(f"draw_position_waves: waves is {waves}, expected at least 1")
    lengths = (2 * math.pi / frequencies(size, torch.device("cpu"))).tolist()
    span = max(steps - 1, 1)
    moving = sum(length < FLAT * span for length in lengths)  # of slower ones the first is enough
    slowest = min(moving, len(lengths) - 1)
    chosen = sorted({*np.linspace(0, slowest, min(waves, slowest + 1)).round().astype(int)})
    times = torch.linspace(0, span, 800, dtype=torch.float64)
    vectors = sinusoidal(times, size, torch.float64)
    downs = [-2.6 * line for line in range(len(chosen))]
    with style():
        for line, (pair, down) in enumerate(zip(chosen, downs, strict=True)):
            colour = theme.palette[line % len(theme.palette)]
            sine, cosine = vectors[:, 2 * pair] + down, vectors[:, 2 * pair + 1] + down
            ax.plot(times, sine, color=colour, linewidth=1.4)
            ax.plot(times, cosine, color=colour, linewidth=1.0, linestyle=":")
        ax.set_xlim(0, span)
        ax.set_yticks(
            downs, [f"{2 * pair}, {2 * pair + 1}: {_steps(lengths[pair])}" for pair in chosen]
        )
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        dress(
            ax, theme, f"Waves of {_steps(lengths[0])} to {_steps(lengths[-1])} steps",
            "sine drawn, cosine dotted", x="position", y="features: length", grid="x",
        )  # fmt: skip
    return ax


def _steps(length: float) -> str:
    return f"{length:,.{1 if length < 100 else 0}f}"


def draw_score_by_distance(
    ax: Axes,
    distances: Sequence[int],
    scores: Mapping[str, Float[Tensor, " distances"]],
    *,
    theme: Theme = LIGHT,
    palette: Mapping[str, str] | None = None,
) -> Axes:
    """By how much the score of the same content falls with distance, a line for each encoding.

    A score that is lower by 0.69 halves the weight that attention gives before it makes them add up
    to 1. Where a score has fallen by 12 the figure ends.

    Args:
        ax: where to draw.
        distances: in steps, ascending; what is drawn is the difference to the first.
        scores: by name, `[distances]`: a row each of
            [`score_by_distance`][throughtime.inspect.score_by_distance].
        theme: where it will be seen.
        palette: name to colour; by default that of these names alone.

    Errors:
        InputError: scores of another number than distances.
    """
    from throughtime.inspect.drawing import MaxNLocator, dress, floats, legend, style

    for name, score in scores.items():
        if len(score) != len(distances) or not len(distances):
            raise InputError(
                f"draw_score_by_distance: {name} has {len(score)} scores, "
                f"expected one for each of {len(distances)} distances, at least 1"
            )
    palette = palette or colours([*scores], theme=theme)
    falls = {name: floats(score.detach().cpu() - score[0].cpu()) for name, score in scores.items()}
    with style():
        for line, (name, fall) in enumerate(falls.items()):
            again = line >= len(theme.palette)  # a colour comes a second time
            ax.plot(
                distances, fall, color=palette[name], linewidth=1.6,
                linestyle="--" if again else "-", label=f"{name}: {_halved(distances, fall)}",
            )  # fmt: skip
        lowest = min((float(fall.min()) for fall in falls.values()), default=-1.0)
        ax.set_ylim(max(lowest, LOWEST) * 1.05 - 0.1, None)
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        dress(
            ax, theme, "The same content counts less far away",
            "a score that is lower by 0.69 gives half the weight",
            x="steps apart", y="score, less that at the start",
        )  # fmt: skip
        legend(ax, theme)
    return ax


def _halved(distances: Sequence[int], fall: np.ndarray) -> str:
    """The first distance at which attention gives half the weight."""
    below = np.flatnonzero(fall <= -math.log(2))
    return f"half at {distances[below[0]]}" if len(below) else "never half"
