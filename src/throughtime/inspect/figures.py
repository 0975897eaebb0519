"""Figures: functions that draw on an `ax` they are given and return it.

Each says in its title what is seen, draws a model in the same colour as the others do, and is
legible on a light or a dark page: the background is transparent and the colours come from a
[`Theme`][throughtime.inspect.theme.Theme].
"""

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np

from throughtime.inspect.contents import Column, Curve, Fan, Numbers, Table, number
from throughtime.inspect.drawing import (
    Axes,
    MaxNLocator,
    dates,
    dress,
    floats,
    legend,
    new,
    save,
    short,
    styled,
)
from throughtime.inspect.theme import LIGHT, Theme, colours

__all__ = [
    "fan_limits",
    "forecast_fan",
    "horizon_error",
    "learning_curves",
    "loss_limits",
    "metric_bars",
    "new",
    "save",
]

DASHES = ((4, 2), (1, 1.4), (5, 1.5, 1, 1.5), (8, 2), (3, 1, 1, 1, 1, 1))
"""Line patterns that tell apart what shares a colour."""


@styled
def learning_curves(
    ax: Axes,
    curves: Sequence[Curve],
    *,
    theme: Theme = LIGHT,
    palette: Mapping[str, str] | None = None,
    unit: str = "nats per step",
    step_name: str = "epoch",
) -> Axes:
    """Losses over the training run: validation solid, training dotted, the best step a dot.

    Args:
        ax: where to draw.
        curves: runs of one model or of several; a line for each seed.
        theme: where it will be seen.
        palette: model to colour; by default that of these models alone.
        unit: unit of the losses.
        step_name: what the steps count.
    """
    models = list(dict.fromkeys(curve.model for curve in curves))
    palette = palette or colours(models, theme=theme)
    named: set[str] = set()
    for curve in curves:
        label = None if curve.model in named else curve.model
        named.add(curve.model)
        line = {"color": palette[curve.model], "linewidth": 1.3}
        if len(curve.training):
            ax.plot(
                floats(curve.steps),
                floats(curve.training),
                linestyle=(0, DASHES[1]),
                alpha=0.75,
                **line,
            )
        if len(curve.validation):
            losses = floats(curve.validation)
            ax.plot(floats(curve.steps), losses, label=label, **line)
            if curve.best is not None:
                at, loss = float(curve.steps[curve.best]), losses[curve.best]
                ax.plot(at, loss, "o", markersize=4.5, **line)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.set_ylim(*loss_limits(curves))
    title, below = _what_training_shows(curves, models, step_name)
    dress(ax, theme, title, below, x=step_name, y=f"loss, {unit}")
    if len(models) > 1:
        legend(ax, theme)
    return ax


def loss_limits(curves: Sequence[Curve]) -> tuple[float, float]:
    """Lowest and highest loss worth showing: the first few, far above the rest, may be cut off."""
    losses = np.concatenate(
        [floats(part) for c in curves for part in (c.training, c.validation)] or [np.empty(0)]
    )
    losses = losses[np.isfinite(losses)]
    if not losses.size:
        return 0.0, 1.0
    low, high = float(losses.min()), float(np.quantile(losses, 0.97))
    margin = 0.06 * (high - low) or 0.5
    return low - margin, high + margin


def _what_training_shows(
    curves: Sequence[Curve], models: Sequence[str], step_name: str
) -> tuple[str, str]:
    kept = [(c, c.best) for c in curves if c.best is not None]
    known = [(float(c.validation[at]), float(c.steps[at])) for c, at in kept]
    seeds = "1 seed" if len(curves) == 1 else f"{len(curves)} seeds"
    if len(models) != 1:
        return "Validation loss while training", f"{len(models)} models, {len(curves)} runs"
    if not known:
        return models[0], f"no finite validation loss ({seeds})"
    where = sorted({step for _, step in known})
    span = f"{where[0]:g}" if len(where) == 1 else f"{where[0]:g} to {where[-1]:g}"
    mean = statistics.fmean(loss for loss, _ in known)
    return models[0], f"validation loss {mean:.3g}, kept from {step_name} {span} ({seeds})"


@styled
def forecast_fan(
    ax: Axes, fan: Fan, *, theme: Theme = LIGHT, palette: Mapping[str, str] | None = None
) -> Axes:
    """A forecast against what happened: history, median and intervals.

    Of the history as much is shown as makes two thirds of the figure, and the scale is that of what
    happened: an interval may leave it.

    Args:
        ax: where to draw.
        fan: the forecast.
        theme: where it will be seen.
        palette: model to colour; by default that of this model alone.
    """
    colour = (palette or colours([fan.model], theme=theme))[fan.model]
    shares = sorted(fan.intervals, reverse=True)
    for depth, share in enumerate(shares):
        lower, upper = (floats(bound) for bound in fan.intervals[share])
        strength = 0.16 + 0.16 * depth  # the narrow band lies on the wide one
        ax.fill_between(
            list(fan.times), lower, upper, color=colour, alpha=strength, linewidth=0,
            label=f"{share:.0%}".replace("%", " %"),
        )  # fmt: skip
    shown = _history_shown(fan)
    past = floats(fan.history)[len(fan.history) - shown :]
    line = [*past, *floats(fan.actual)]
    ax.plot(
        [*list(fan.history_times)[len(fan.history) - shown :], *fan.times], line,
        color=theme.ink, linewidth=1.1, marker="o", markersize=2.4,
        markevery=slice(shown, None), label="what happened",
    )  # fmt: skip
    ax.plot(list(fan.times), floats(fan.median), color=colour, linewidth=1.8, label="forecast")
    ax.set_ylim(*fan_limits([fan]))
    if len(fan.times):
        ax.axvline(fan.times[0], color=theme.muted, linewidth=0.8, linestyle=(0, DASHES[1]))
        if isinstance(fan.times[0], date | np.datetime64):
            locator = dates.AutoDateLocator(minticks=3, maxticks=6)
            ax.xaxis.set_major_locator(locator)
            ax.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
    title = f"{fan.model}: {fan.series}" if fan.series else fan.model
    dress(ax, theme, title, _what_the_fan_shows(fan, shares), y=fan.unit)
    bands = [f"{share:.0%}".replace("%", " %") for share in reversed(shares)]
    legend(ax, theme, order=["forecast", "what happened", *bands])
    return ax


def _history_shown(fan: Fan) -> int:
    return min(len(fan.history), max(12, 2 * len(fan.times)))


def fan_limits(fans: Sequence[Fan]) -> tuple[float, float]:
    """Lowest and highest value worth showing: all that happened, and forecasts not far from it."""
    happened: list[float] = []
    forecast: list[float] = []
    for fan in fans:
        past = floats(fan.history)[len(fan.history) - _history_shown(fan) :]
        happened += [*past, *floats(fan.actual)]
        for values in (fan.median, *(bound for pair in fan.intervals.values() for bound in pair)):
            forecast += [float(value) for value in values]
    known = [value for value in happened if math.isfinite(value)]
    guessed = [value for value in forecast if math.isfinite(value)]
    if not known:
        known = guessed or [0.0]
    low, high = min(known), max(known)
    room = high - low or abs(high) or 1.0
    low, high = (
        max(min([low, *guessed]), low - 0.8 * room),
        min(max([high, *guessed]), high + 0.8 * room),
    )
    return low - 0.05 * room, high + 0.05 * room


def _what_the_fan_shows(fan: Fan, shares: Sequence[float]) -> str:
    miss = np.abs(floats(fan.median) - floats(fan.actual))
    known = int(np.isfinite(miss).sum())
    if not known:
        return "nothing known of what happened"
    unit = f" {fan.unit}" if fan.unit else ""
    said = f"off by {np.nanmean(miss):.3g}{unit} on average"
    if shares:
        hits = round(fan.inside(shares[0]) * known)
        said += f"; {hits} of {known} steps inside {shares[0]:.0%}".replace("%", " %")
    return said


@styled
def metric_bars(
    ax: Axes,
    table: Table,
    column: Column,
    *,
    theme: Theme = LIGHT,
    palette: Mapping[str, str] | None = None,
) -> Axes:
    """One measure of every model, the best at the top: a bar to the mean, a dot per seed.

    A bar far longer than the rest is cut off and says so by an arrow.

    Args:
        ax: where to draw.
        table: the models.
        column: the measure.
        theme: where it will be seen.
        palette: model to colour; by default that of this table alone.
    """
    baselines = {row.model for row in table.rows if row.baseline}
    palette = palette or colours([row.model for row in table.rows], baselines, theme)
    rows = [row for row in table.rows if row.each(column.key)]
    means = {id(row): row.mean(column.key) or 0.0 for row in rows}
    rows.sort(key=lambda row: _last_if_unknown(means[id(row)], column))
    known = [abs(mean) for mean in means.values() if math.isfinite(mean)]
    end = max(known, default=1.0) or 1.0
    if column.better != "higher":  # there the longest is what everyone looks for
        end = min(end, 4 * statistics.median(known or [1.0])) or 1.0
    digits = table.digits(column)
    for place, row in enumerate(rows):
        mean = means[id(row)]
        cut = math.isfinite(mean) and abs(mean) > end
        length = math.copysign(end, mean) if cut else mean
        value = number(mean, digits)
        seeds = [one for one in row.each(column.key) if abs(one) <= 1.1 * end]
        if math.isfinite(mean):
            ax.barh(place, length, height=0.62, color=palette[row.model], alpha=0.85)
        if len(row.each(column.key)) > 1:
            ax.plot(
                seeds, [place] * len(seeds), "o", markersize=4, markerfacecolor=theme.surface,
                markeredgecolor=theme.ink, markeredgewidth=0.8,
            )  # fmt: skip
        reach = max([0.0, length if math.isfinite(length) else 0.0, *seeds])
        ax.annotate(
            f"▸ {value}" if cut else value, (reach, place), xytext=(6, 0),
            textcoords="offset points", va="center", color=theme.ink, fontsize=8.5,
        )  # fmt: skip
    ax.set_yticks(range(len(rows)), [short(row.model, 24) for row in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.margins(x=0.18)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    best = [row.model for row in table.best(column)]
    unit = f", {column.unit}" if column.unit else ""
    said = [f"best: {', '.join(best)}"] if best else []
    said += ["grey: baselines"] if baselines else []
    direction = f" ({column.better} is better)" if isinstance(column.better, str) else ""
    dress(ax, theme, f"{column.title}{unit}{direction}", short("; ".join(said), 44), grid="x")
    ax.tick_params(axis="y", labelcolor=theme.ink)
    return ax


def _last_if_unknown(mean: float, column: Column) -> tuple[bool, float]:
    if not math.isfinite(mean):
        return True, 0.0
    if isinstance(column.better, int | float):
        return False, abs(mean - column.better)
    return False, -mean if column.better == "higher" else mean


@styled
def horizon_error(
    ax: Axes,
    errors: Mapping[str, Numbers],
    *,
    baselines: Collection[str] = (),
    theme: Theme = LIGHT,
    palette: Mapping[str, str] | None = None,
    unit: str = "mean absolute error",
) -> Axes:
    """Error against lead time, a line per model.

    Args:
        ax: where to draw.
        errors: model to its error at 1, 2, ... steps ahead.
        baselines: those among them drawn in grey dashes.
        theme: where it will be seen.
        palette: model to colour; by default that of these models alone.
        unit: what the errors are, with their unit.
    """
    palette = palette or colours(list(errors), baselines, theme)
    dashed = [model for model in errors if model in baselines]
    # Baselines first, so that they lie below and the legend ends with them all the same.
    for model in sorted(errors, key=lambda model: model not in baselines):
        values = floats(errors[model])
        steps = np.arange(1, len(values) + 1)
        style: Any = "-"
        if model in baselines:
            style = (0, DASHES[dashed.index(model) % len(DASHES)])
        marker = "o" if len(values) == 1 else None
        ax.plot(
            steps, values, color=palette[model], linestyle=style, marker=marker, linewidth=1.6,
            label=model,
        )  # fmt: skip
    ax.set_ylim(bottom=0)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    title, below = _who_is_lowest(errors)
    dress(ax, theme, title, below, x="steps ahead", y=unit)
    legend(ax, theme, order=[*(m for m in errors if m not in baselines), *dashed])
    return ax


def _who_is_lowest(errors: Mapping[str, Numbers]) -> tuple[str, str]:
    steps = min((len(values) for values in errors.values()), default=0)
    wins = dict.fromkeys(errors, 0)
    for step in range(steps):
        known = {m: float(v[step]) for m, v in errors.items() if math.isfinite(float(v[step]))}
        if known:
            wins[min(known, key=lambda model: known[model])] += 1
    if not any(wins.values()):
        return "Error by steps ahead", ""
    first = max(wins, key=lambda model: wins[model])
    return "Error by steps ahead", f"{first} is lowest at {wins[first]} of {steps} lead times"
