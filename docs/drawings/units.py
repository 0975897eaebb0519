"""One unit of a trained LSTM or GRU over a sequence: what its gates did, step by step."""

import functools
from typing import NamedTuple

import torch

from drawings.canvas import Canvas
from drawings.learned import Marked, from_seed, last_marked, rememberer
from throughtime import inspect
from throughtime.inspect.drawing import Figure, floats
from throughtime.inspect.theme import Theme
from throughtime.shapes import Float, Tensor

MARKS = {3: 0.8, 10: -0.6, 17: 0.4}
"""Steps of the sequence that are marked, and their values."""
STEPS = 24
SHOWN = 10
"""The step that the circuits show."""
KEPT = {"lstm": "cell", "gru": "hidden"}


class UnitRun(NamedTuple):
    """What one unit did.

    Attributes:
        unit: which.
        sequence: what came in, and what was to be kept.
        values: by name of the gate or state, `[time]`.
        hidden: `[time, hidden]` of all units.
    """

    unit: int
    sequence: Marked
    values: dict[str, Float[Tensor, " time"]]
    hidden: Float[Tensor, "time hidden"]

    def before(self, name: str, step: int = SHOWN) -> float:
        """A state before a step."""
        return float(self.values[name][step - 1])

    def at(self, name: str, step: int = SHOWN) -> float:
        """A gate or a state at a step."""
        return float(self.values[name][step])


@functools.cache
@torch.no_grad()
def unit_run(cell: str) -> UnitRun:
    """Run the layer over the sequence, and look at the unit that keeps what was to be kept."""
    layer, sequence = rememberer(cell), shown_sequence()
    with inspect.record(layer) as trace:
        layer(sequence.x)
    kept = trace[KEPT[cell]][0]  # (T, H)
    pairs = torch.cat([kept, sequence.target.T], dim=1)
    unit = int(pairs.T.corrcoef()[-1, :-1].abs().argmax())
    values = {name: value[0, :, unit] for name, value in trace.items()}
    return UnitRun(unit, sequence, values, trace["hidden"][0])


@from_seed(5)
def shown_sequence() -> Marked:
    """Noise in which three steps are marked."""
    x = torch.stack([1.6 * torch.rand(1, STEPS) - 0.8, torch.zeros(1, STEPS)], dim=-1)
    for step, value in MARKS.items():
        x[0, step] = torch.tensor([value, 1.0])
    return Marked(x, last_marked(*x.unbind(-1)))


def lstm_run(theme: Theme) -> Figure:
    """The gates of an LSTM's unit, and its cell, over the sequence."""
    gates = {"forget": "gate", "input": "gate", "output_gate": "gate", "candidate": None}
    return _run(
        theme, "lstm", gates, {"cell": "$c_t$", "hidden": "$h_t$"},
        "An LSTM keeps while its forget gate is open, and writes at a mark",
    )  # fmt: skip


def gru_run(theme: Theme) -> Figure:
    """The gates of a GRU's unit, and its state, over the sequence."""
    gates = {"update": "gate", "reset": "gate", "candidate": None}
    return _run(
        theme, "gru", gates, {"hidden": "$h_t$"},
        "A GRU keeps while its update gate is open, and writes at a mark",
    )  # fmt: skip


def _run(
    theme: Theme, cell: str, gates: dict[str, str | None], states: dict[str, str], title: str
) -> Figure:
    run = unit_run(cell)
    wide, high = 16.6, 19.0
    below = f"unit {run.unit + 1} of 2, trained to keep the last marked value until the next mark"
    canvas = Canvas(theme, 250 + high * len(gates), title, below)
    left = 96.0
    middle, top = left + wide * STEPS / 2, canvas.height - 56
    _inputs(canvas, run, left, top - 26, wide)
    for row, (name, colour) in enumerate(gates.items()):
        y = top - 64 - high * row
        canvas.table(middle, y, run.values[name], (wide, high), colour)
        canvas.text(left - 8, y, name.replace("_gate", ""), ha="right")
    _states(canvas, run, states, left, wide)
    return canvas.figure


def _states(canvas: Canvas, run: UnitRun, states: dict[str, str], left: float, wide: float) -> None:
    """Lines over the steps, those that are marked shaded."""
    ax = canvas.plot(left, 26, wide * STEPS, 108)
    most = 1.2 * max(float(run.values[name].abs().max()) for name in states)
    ax.set(xlim=(-0.5, STEPS - 0.5), ylim=(-most, most))
    ax.set_xticks([*MARKS, STEPS - 1], [*(f"{step + 1}" for step in MARKS), f"{STEPS}"])
    ax.locator_params(axis="y", nbins=5)
    ax.tick_params(axis="y", pad=1)
    for step in MARKS:
        ax.axvline(step, color=canvas.theme.grid, linewidth=wide * 0.9, zorder=0)
    for row, (name, line) in enumerate(zip(states, ("-", (0, (2, 1.4))), strict=False)):
        ax.plot(floats(run.values[name]), linestyle=line, color=canvas.colour("state"), linewidth=2)
        y = 94 - 28.0 * row if len(states) > 1 else 80
        canvas.text(left - 40, y, f"{name} {states[name]}", "state", ha="right")
        canvas.ax.plot([left - 92, left - 44], [y - 9, y - 9], linestyle=line, linewidth=2,
                       color=canvas.colour("state"))  # fmt: skip
    canvas.text(left + 6, 16, "step", "muted", ha="left")


def _inputs(canvas: Canvas, run: UnitRun, left: float, y: float, wide: float) -> None:
    """The values that come in as bars from a line; those that are marked stand out."""
    canvas.text(left - 8, y, "input value", ha="right")
    canvas.wire([(left, y), (left + wide * STEPS, y)], "grid", 0.8, head=False)
    for step, (value, mark) in enumerate(run.sequence.x[0].tolist()):
        x, height = left + wide * (step + 0.5), 22 * value
        canvas.bar(x, min(y, y + height), 8, abs(height), "input", 1.0 if mark else 0.25)
        if mark:
            canvas.text(x, y + height + (8 if value > 0 else -8), f"{value:.1f}".replace("-", "−"),
                        "input", weight="bold")  # fmt: skip
