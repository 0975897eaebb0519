"""Figures of long dependencies: what is solved by length, and how far gradients reach."""

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from throughtime.errors import InputError
from throughtime.inspect.gradient_flow import GONE, GradientFlow
from throughtime.inspect.long_dependencies import WHEN, LongDependencies, halfway, listed
from throughtime.inspect.theme import LIGHT, Theme, colours

if TYPE_CHECKING:
    from throughtime.inspect.drawing import Axes
else:
    Axes = Any  # matplotlib is imported where something is drawn

__all__ = ["draw_flows", "draw_long_dependencies", "draw_success"]

FLOOR = 1e-12
"""Times what there is at the last step: a figure of gradients ends here."""

TITLE = 46
"""Letters that a title has room for."""


def draw_long_dependencies(
    axes: Iterable[Axes],
    found: LongDependencies,
    *,
    theme: Theme = LIGHT,
    palette: Mapping[str, str] | None = None,
) -> list[Axes]:
    """What is solved, and beside it how far gradients reach, before training and after it.

    Args:
        axes: three, side by side: figures of about 4 x 3 inches each.
        found: what to show; gradients are those at its largest T.
        theme: where it will be seen.
        palette: model to colour; by default that of these models alone.

    Errors:
        InputError: another number of axes, or no runs.
    """
    axes = [*axes]
    if len(axes) != 3:
        raise InputError(f"draw_long_dependencies: there are {len(axes)} axes, expected 3")
    palette = palette or colours(found.models, theme=theme)
    draw_success(axes[0], found, theme=theme, palette=palette)
    for ax, when in zip(axes[1:], WHEN, strict=True):
        draw_flows(ax, found, when=when, theme=theme, palette=palette)
    return axes


def draw_success(
    ax: Axes,
    found: LongDependencies,
    *,
    theme: Theme = LIGHT,
    palette: Mapping[str, str] | None = None,
) -> Axes:
    """The share of test rows that are met by length: a bar for the mean, a dot for each seed.

    Above each bar stands how many seeds have solved the probe, and of how many where that differs.

    Args:
        ax: where to draw.
        found: what to show.
        theme: where it will be seen.
        palette: model to colour; by default that of these models alone.

    Errors:
        InputError: no runs.
    """
    from throughtime.inspect.drawing import dress, legend, style

    _check_runs("draw_success", found)
    palette = palette or colours(found.models, theme=theme)
    lengths, models = found.lengths, found.models
    thick = 0.84 / len(models)
    counts = {found.solved(model, time)[1] for model in models for time in lengths} - {0}
    same = counts.pop() if len(counts) == 1 else 0
    with style():
        for number, model in enumerate(models):
            colour, label = palette[model], model
            for place, time in enumerate(lengths):
                runs = found.of(model, time)
                if not runs:
                    continue
                at = place + (number - (len(models) - 1) / 2) * thick
                rows = 100 * np.array([run.success for run in runs])
                solved, of = found.solved(model, time)
                ax.bar(at, rows.mean(), 0.88 * thick, color=colour, alpha=0.45, label=label)
                beside = at + np.linspace(-0.25, 0.25, len(rows)) * thick
                ax.plot(beside, rows, "o", color=colour, markersize=2.8)
                ax.annotate(
                    str(solved) if same else f"{solved}/{of}", (at, max(rows)), xytext=(0, 4),
                    textcoords="offset points", color=colour, fontsize=7.5, ha="center",
                )  # fmt: skip
                label = "_" + model  # one entry in the legend
        guess = 100 * found.guessed
        ax.axhline(guess, color=theme.ink, linewidth=1.0, linestyle=(0, (4, 2)))
        ax.annotate(
            "without\nmemory", (1, guess), xycoords=("axes fraction", "data"), xytext=(3, 0),
            textcoords="offset points", color=theme.ink, fontsize=7.5, va="center",
        )  # fmt: skip
        ax.set_ylim(0, 112)
        ax.set_yticks(range(0, 101, 25))
        ax.set_xticks(range(len(lengths)), [f"{time:,}" for time in lengths])
        below = f"numbers: seeds{f' of {same}' if same else ''} with {found.criterion}"
        right = "test rows answered right, %"
        dress(ax, theme, _verdict(found), below, x="steps of a row (T)", y=right)
        if len(models) > 1:
            legend(ax, theme)
    return ax


def draw_flows(
    ax: Axes,
    found: LongDependencies,
    *,
    time: int | None = None,
    when: str = "after",
    theme: Theme = LIGHT,
    palette: Mapping[str, str] | None = None,
) -> Axes:
    """The share of the last step's gradient by steps back: a line for each model.

    It is the median over seeds, and the band goes from the least to the greatest of them. Below a
    trillionth nothing is shown.

    Args:
        ax: where to draw.
        found: what to show.
        time: T; the largest by default.
        when: `before` or `after` training.
        theme: where it will be seen.
        palette: model to colour; by default that of these models alone.

    Errors:
        InputError: no runs, or none of that length.
    """
    from throughtime.inspect.drawing import MaxNLocator, dress, floats, style

    _check_runs("draw_flows", found)
    palette = palette or colours(found.models, theme=theme)
    time = found.lengths[-1] if time is None else time
    flow = found.flow(time, when)
    lags, top = floats(flow.lags), 3.0
    with style():
        ends = {}
        for model, curve in flow.curves.items():
            line: dict[str, Any] = {"color": palette[model], "linewidth": 1.6}
            norms, shares = _drawable(curve), _drawable(found.shares(model, time, when))
            ax.plot(lags, norms, **line)
            ax.fill_between(
                lags, shares.min(0), shares.max(0), **line | {"alpha": 0.18, "linewidth": 0}
            )
            top = max(top, 3 * float(shares.max()))
            inside = np.flatnonzero(norms >= FLOOR)
            if len(inside):
                ends[model] = (lags[inside[-1]], norms[inside[-1]])
        ax.set_yscale("log")
        ax.set_ylim(FLOOR, top)
        ax.set_xlim(0, lags[-1])
        _name_ends(ax, ends, palette, theme)
        ax.axhline(GONE, color=theme.ink, linewidth=1.0, linestyle=(0, (4, 2)))
        ax.annotate(
            "1 %", (1, GONE), xycoords=("axes fraction", "data"), xytext=(-3, -3),
            textcoords="offset points", color=theme.ink, fontsize=7.5, ha="right", va="top",
        )  # fmt: skip
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
        dress(ax, theme, _arrives(found, flow, time), f"{WHEN[when]}, T = {time:,}",
              x="steps back", y="share of the last step's gradient")  # fmt: skip
        ax.tick_params(which="minor", length=0)
    return ax


def _drawable(shares: Any) -> np.ndarray:
    """Numbers that a logarithm has a place for: nothing lies far below the figure."""
    return np.clip(np.nan_to_num(np.asarray(shares, dtype=float)), FLOOR / 100, 1 / FLOOR)


def _name_ends(
    ax: Axes,
    ends: Mapping[str, tuple[float, float]],
    palette: Mapping[str, str],
    theme: Theme,
) -> None:
    """Names where lines end, apart from each other: at the right side, or where they sink."""
    low, high = np.log10(ax.get_ylim())
    behind = {"facecolor": theme.surface, "edgecolor": "none", "alpha": 0.7, "pad": 0.6}
    last, height, sunk = ax.get_xlim()[1], -math.inf, 0
    for model, (lag, share) in sorted(ends.items(), key=lambda end: (-end[1][0], end[1][1])):
        said: dict[str, Any] = {"color": palette[model], "fontsize": 8}
        said["textcoords"] = "offset points"
        if lag == last:
            height = max((math.log10(share) - low) / (high - low), height + 0.07)
            at = (1, height)
            ax.annotate(model, at, xycoords="axes fraction", xytext=(3, 0), va="center", **said)
        else:
            ax.annotate(model, (lag, share), xytext=(5, 6 + 12 * sunk), bbox=behind, **said)
            sunk += 1


def _verdict(found: LongDependencies) -> str:
    """From which length on which models fail with most seeds."""
    fails: dict[int, list[str]] = {}
    for model in found.models:
        counts = [(time, *found.solved(model, time)) for time in found.lengths]
        failed = [time for time, solved, runs in counts if runs and 2 * solved <= runs]
        well = [time for time, solved, runs in counts if 2 * solved > runs]
        beyond = [time for time in failed if time > max(well, default=0)]
        if beyond:
            fails.setdefault(beyond[0], []).append(model)
    said = [
        f"{listed(models)} {'fails' if len(models) == 1 else 'fail'} from T = {time:,} on"
        for time, models in sorted(fails.items())
    ]
    told = "; ".join(said) or f"Solved up to T = {found.lengths[-1]:,}: {listed(found.models)}"
    if len(told) <= TITLE:
        return told
    many = sum(map(len, fails.values()))
    return f"{many} of {len(found.models)} models fail at T = {found.lengths[-1]:,}"


def _arrives(found: LongDependencies, flow: GradientFlow, time: int) -> str:
    half = halfway(flow.lags, time)
    gone = [model for model, curve in flow.curves.items() if not curve[half] > GONE]
    if not gone:
        return f"Halfway all still have more than {100 * GONE:.0f} %"
    told = f"Vanished halfway: {listed(gone)}"
    return told if len(told) <= TITLE else f"Vanished halfway: {len(gone)} of {len(flow.curves)}"


def _check_runs(what: str, found: LongDependencies) -> None:
    if not found.runs:
        raise InputError(f"{what}: there are no runs, expected at least one")
