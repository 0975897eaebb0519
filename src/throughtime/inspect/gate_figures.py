"""Pictures of gates and of what they let through: over a sequence, and all values together."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from throughtime.errors import InputError
from throughtime.inspect.axis_names import name_rows, name_steps
from throughtime.inspect.gate_values import SHUTTERS
from throughtime.inspect.gates import Gate, GateActivity, spoken
from throughtime.inspect.line_names import name_ends
from throughtime.inspect.theme import LIGHT, Theme
from throughtime.shapes import Float, Tensor

if TYPE_CHECKING:
    from throughtime.inspect.drawing import Axes
else:
    Axes = Any  # matplotlib is imported where something is drawn

__all__ = ["draw_gate_histogram", "draw_gates", "draw_saturation", "draw_units"]

PLACES = {
    "input": 2, "forget": 0, "output_gate": 1, "candidate": 3, "cell": 4, "hidden": 5,
    "reset": 1, "update": 0,
}  # fmt: skip
"""In a theme's palette, so that a gate has one colour in all figures."""
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))
"""Of what is drawn of one unit."""
DECADES = (0.001, 0.01, 0.1, 1, 10, 100)
"""Marks of a logarithmic axis, in percent."""
LINES = 12
"""In one figure, at most."""


def draw_gates(
    ax: Axes,
    values: Float[Tensor, "time hidden"],
    steps: Sequence[Any] | None = None,
    *,
    units: Sequence[int] | None = None,
    most: int = 40,
    span: tuple[int, int] | None = None,
    title: str = "units over the sequence",
    theme: Theme = LIGHT,
) -> Axes:
    """A gate, a cell or hidden values over one sequence: a row for each unit, a column per step.

    Values between 0 and 1 are the darker the larger; where some are negative, there is one colour
    on either side of zero. Units whose values go along with each other stand together.

    Args:
        ax: where to draw.
        values: of one row, real steps only.
        steps: a name for each step: its token, or its time; None: their numbers.
        units: which units, in this order; None: those that change most, sorted.
        most: so many of them.
        span: its first step and the one after its last, framed.
        title: what is seen.
        theme: where it will be seen.

    Errors:
        InputError: no values, or not as many names as steps.
    """
    from throughtime.inspect.drawing import LinearSegmentedColormap, dress, floats, style

    seen = floats(values.detach().float().cpu())
    _check("draw_gates", seen, steps, units)
    chosen = _order(seen, most) if units is None else [*units]
    shown = seen[:, chosen].T  # -> (units, T)
    signed = bool(np.nanmin(seen) < 0)
    largest = max(float(np.nanmax(np.abs(shown))), 1e-9)
    end = 1.0 if largest <= 1 else largest
    sides = [theme.surface, theme.palette[0]]
    with style():
        shades = LinearSegmentedColormap.from_list(
            "gates", [theme.palette[1], *sides] if signed else sides
        )
        image = ax.imshow(
            shown, cmap=shades, vmin=-end if signed else 0, vmax=end,
            aspect="auto", interpolation="nearest",
        )  # fmt: skip
        dress(ax, theme, title, _kept(len(chosen), seen, units), y="unit")
        ax.grid(visible=False)
        name_rows(ax, chosen)
        name_steps(ax, theme, len(seen), steps)
        if span is not None:
            _frame(ax, theme, span)
        _scale(ax, theme, image)
    return ax


def draw_units(
    ax: Axes,
    values: Mapping[str, Float[Tensor, "time hidden"]],
    units: Sequence[int],
    steps: Sequence[Any] | None = None,
    *,
    span: tuple[int, int] | None = None,
    title: str = "",
    theme: Theme = LIGHT,
) -> Axes:
    """What a few units do over one sequence: a line for each unit and each kind of value.

    Args:
        ax: where to draw.
        values: of one row, by what they are: `{"cell": ..., "forget": ...}`. A unit has a colour,
            a kind of value a dash; of a single unit each kind has its own colour.
        units: which ones.
        steps: a name for each step: its token, or its time; None: their numbers.
        span: its first step and the one after its last, shaded.
        title: what is seen; by default which units.
        theme: where it will be seen.

    Errors:
        InputError: nothing to draw, or more lines than can be told apart; not as many names as
            steps.
    """
    from throughtime.inspect.drawing import dress, floats, style

    kinds = {name: floats(one.detach().float().cpu()) for name, one in values.items()}
    if not 1 <= len(kinds) * len(units) <= LINES:
        raise InputError(
            f"draw_units: {len(kinds)} kinds of values of {len(units)} units, expected from 1 to "
            f"{LINES} lines"
        )
    for one in kinds.values():
        _check("draw_units", one, steps, units)
    time = len(next(iter(kinds.values())))
    alone = len(units) == 1
    with style():
        ends: list[tuple[float, str, str]] = []
        for number, unit in enumerate(units):
            for kind, (name, one) in enumerate(kinds.items()):
                place = PLACES.get(name.rpartition(".")[2], kind) if alone else number
                colour = theme.palette[place % len(theme.palette)]
                dash = "-" if alone else DASHES[kind % len(DASHES)]
                words = spoken(name.rpartition(".")[2])
                label = words if alone else f"{words} {unit}"
                ax.plot(
                    range(time), one[:, unit], color=colour, linestyle=dash, linewidth=1.4,
                    label=label,
                )  # fmt: skip
                ends.append((float(one[-1, unit]), label, colour))
        ax.set_xlim(-0.5, time - 0.5)
        if min(float(line.min()) for one in kinds.values() for line in [one[:, [*units]]]) < 0:
            ax.axhline(0, color=theme.muted, linewidth=0.7)
        if span is not None:
            ax.axvspan(span[0] - 0.5, span[1] - 0.5, color=theme.grid, linewidth=0, zorder=0)
        numbers = ", ".join(map(str, units))
        dress(ax, theme, title or f"{'unit' if alone else 'units'} {numbers}", y="value")
        name_steps(ax, theme, time, steps)
        name_ends(ax, ends)
    return ax


def draw_saturation(
    ax: Axes,
    activity: GateActivity,
    *,
    layer: str | None = None,
    gates: Sequence[str] | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """How often each unit's gates are open against how often they are closed: a dot for each.

    To the right are gates that are often closed, on top those that are often open; at the corners
    they are always so. Near the origin they are in between, where they can still change.

    Args:
        ax: where to draw.
        activity: what [`gate_activity`][throughtime.inspect.gate_activity] found.
        layer: which one; None: all of them together.
        gates: which ones, by their names; by default the gates proper, or an RNN's hidden values.
        theme: where it will be seen.

    Errors:
        InputError: no such layer or gate.

    References:
        Karpathy, Johnson and Fei-Fei 2015, "Visualizing and understanding recurrent networks",
        figure 3.
    """
    from throughtime.inspect.drawing import dress, legend, style

    chosen = _of("draw_saturation", activity, layer, gates)
    with style():
        for name, parts in chosen.items():
            low = np.concatenate([part.low.cpu().numpy() for part in parts])
            high = np.concatenate([part.high.cpu().numpy() for part in parts])
            ax.scatter(
                100 * low, 100 * high, s=16, color=theme.palette[PLACES[name]], alpha=0.7,
                linewidths=0, label=spoken(name), clip_on=False, zorder=3,
            )  # fmt: skip
        ax.plot([0, 100], [100, 0], color=theme.grid, linewidth=1.0, zorder=1)
        ax.set_xlim(0, 100)
        ax.set_ylim(0, 100)
        ends = f"below {activity.low:g}", f"above {activity.high:g}"
        dress(
            ax, theme, _most_saturated(chosen), _stuck(chosen), grid="both",
            x=f"% of steps {ends[0]}", y=f"% of steps {ends[1]}",
        )  # fmt: skip
        legend(ax, theme)
    return ax


def draw_gate_histogram(
    ax: Axes,
    activity: GateActivity,
    *,
    layer: str | None = None,
    gates: Sequence[str] | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """How the values of each gate are distributed, of all units and steps together.

    Args:
        ax: where to draw.
        activity: what [`gate_activity`][throughtime.inspect.gate_activity] found.
        layer: which one; None: all of them together.
        gates: which ones, by their names; by default the gates proper, or an RNN's hidden values.
        theme: where it will be seen.

    Errors:
        InputError: no such layer or gate, or some that range over different values.
    """
    from throughtime.inspect.drawing import dress, legend, style

    chosen = _of("draw_gate_histogram", activity, layer, gates)
    edges = next(iter(chosen.values()))[0].edges.cpu().numpy()
    for name, parts in chosen.items():
        if any(not np.allclose(part.edges.cpu(), edges) for part in parts):
            raise InputError(
                f"draw_gate_histogram: {name} ranges over other values, expected gates or layers "
                "of the same range"
            )
    with style():
        for name, parts in chosen.items():
            counts = np.sum([part.counts.cpu().numpy() for part in parts], axis=0)
            low, high = _shares(parts)
            ax.stairs(
                100 * counts / counts.sum(), edges, color=theme.palette[PLACES[name]],
                linewidth=1.6, label=f"{spoken(name)}: {low:.0f} % low, {high:.0f} % high",
            )  # fmt: skip
        first, last = edges[0], edges[-1]
        for begin, end in ((0, activity.low), (activity.high, 1)):
            ax.axvspan(
                first + begin * (last - first), first + end * (last - first),
                color=theme.grid, alpha=0.5, linewidth=0, zorder=0,
            )  # fmt: skip
        ax.set_xlim(first, last)
        ax.set_yscale("log")  # the ends would hide what lies between
        lowest, highest = ax.get_ylim()
        ticks = [tick for tick in DECADES if lowest <= tick <= highest]
        ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.set_yticks([], minor=True)
        below = f"low: below {activity.low:g} of the range, high: above {activity.high:g}"
        dress(ax, theme, _most_saturated(chosen), below, x="value", y="% of values")
        legend(ax, theme)
    return ax


# Which gates, and what is said of them


def _of(
    name: str, activity: GateActivity, layer: str | None, gates: Sequence[str] | None
) -> dict[str, list[Gate]]:
    """By a gate's name its layers."""
    layers = activity.layers
    if layer is not None and layer not in layers:
        raise InputError(f"{name}: layer is {layer!r}, expected one of {[*layers]}")
    parts = [*layers.values()] if layer is None else [layers[layer]]
    known = list(dict.fromkeys(gate for part in parts for gate in part))
    proper = [gate for gate in known if gate in SHUTTERS] or ["hidden"]
    chosen = proper if gates is None else [*gates]
    if not chosen or any(gate not in known for gate in chosen):
        raise InputError(f"{name}: gates are {chosen}, expected some of {known}")
    return {gate: [part[gate] for part in parts if gate in part] for gate in chosen}


def _shares(parts: Sequence[Gate]) -> tuple[float, float]:
    """Of values that are low and high, in percent."""
    low = np.concatenate([part.low.cpu().numpy() for part in parts]).mean()
    high = np.concatenate([part.high.cpu().numpy() for part in parts]).mean()
    return 100 * float(low), 100 * float(high)


def _most_saturated(chosen: Mapping[str, Sequence[Gate]]) -> str:
    shares = {name: _shares(parts) for name, parts in chosen.items()}
    name = max(shares, key=lambda one: sum(shares[one]))
    low, high = shares[name]
    most = " most" if len(shares) > 1 else ""
    return f"{spoken(name)} saturates{most}: {low:.0f} % low, {high:.0f} % high"


def _stuck(chosen: Mapping[str, Sequence[Gate]]) -> str:
    dead = sum(int(part.dead.sum()) for parts in chosen.values() for part in parts)
    held = sum(int(part.open.sum()) for parts in chosen.values() for part in parts)
    many = sum(len(part.mean) for parts in chosen.values() for part in parts)
    return f"of {many} gates {dead} always low, {held} always high"


# Rows, columns and lines


def _check(
    name: str, values: np.ndarray, steps: Sequence[Any] | None, units: Sequence[int] | None
) -> None:
    if values.ndim != 2 or 0 in values.shape:
        raise InputError(f"{name}: values have shape {list(values.shape)}, expected [time, hidden]")
    time, there = values.shape
    if steps is not None and len(steps) != time:
        raise InputError(f"{name}: {len(steps)} names, expected one for each of {time} steps")
    if units is not None and (not len(units) or not {*units} <= {*range(there)}):
        raise InputError(f"{name}: units are {[*units]}, expected some from 0 to {there - 1}")


def _order(values: np.ndarray, most: int) -> list[int]:
    """Those that change most, sorted by how they go along with the strongest change of all."""
    spread = values.std(0)
    chosen = np.sort(np.argsort(-spread, kind="stable")[:most])
    centred = values[:, chosen] - values[:, chosen].mean(0)
    weights = np.linalg.svd(centred, full_matrices=False)[2][0]
    return [int(unit) for unit in chosen[np.argsort(weights, kind="stable")]]


def _kept(shown: int, values: np.ndarray, named: Sequence[int] | None) -> str:
    units = values.shape[1]
    if named is not None or shown == units:
        return f"from {np.nanmin(values):.2f} to {np.nanmax(values):.2f}".replace("-", "−")
    return f"the {shown} of {units} units that change most"


def _frame(ax: Axes, theme: Theme, span: tuple[int, int]) -> None:
    for edge in span:
        ax.axvline(edge - 0.5, color=theme.ink, linewidth=1.0)


def _scale(ax: Axes, theme: Theme, image: Any) -> None:
    """What shades mean, at the right."""
    figure = ax.get_figure()
    assert figure is not None
    bar = figure.colorbar(image, ax=ax, fraction=0.03, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=theme.muted, length=0, labelsize=7.5)
