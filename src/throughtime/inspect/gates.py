"""What gates do over a sequence: how open they are, which are stuck, and how long cells keep."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from throughtime.errors import InputError
from throughtime.inspect.gate_values import SHUTTERS, Seen, of_model, of_tensors
from throughtime.inspect.showing import Showing
from throughtime.inspect.theme import LIGHT, Theme
from throughtime.shapes import Bool, Float, Int, Tensor

if TYPE_CHECKING:
    from throughtime.inspect.drawing import Axes
else:
    Axes = Any  # matplotlib is imported where something is drawn

__all__ = ["Gate", "GateActivity", "diagnose_gates", "gate_activity", "spoken"]

KEEPERS = ("forget", "update")
"""Gates that what is remembered is multiplied by from step to step."""
BINS = 50
"""Of a histogram."""
SMALLEST = 1e-30
"""A gate is taken to be at least so open where its logarithm counts."""
MOST = 0.5
"""Of the values of a layer: where more are saturated, it is worth a sentence."""


@dataclass(frozen=True, eq=False)
class Gate:
    r"""One gate of one layer, or one of its values, unit by unit over all real steps.

    Saturated is what lies near an end of the activation function. A gate ranges over (0, 1). What
    comes out of tanh, $v$ in (-1, 1), counts as $(v + 1) / 2$: since $\tanh a = 2\sigma(2a) - 1$,
    the thresholds mean the same for both. A cell counts as its tanh, which is what is shown of it.
    Of a ReLU zero is low, and nothing is high.

    Attributes:
        layer: its path in the model.
        name: of the gate or value: `forget`.
        activation: the function it came out of: `sigmoid`, `tanh`, `relu`; `cell` of a cell, and
            `bounded` of what lies between -1 and 1 otherwise.
        steps: how many were counted, of all rows together.
        mean: `[units]`.
        spread: `[units]`, the standard deviation.
        least, most: `[units]`, the smallest and the largest value.
        low, high: `[units]`, the shares of steps at which it is saturated at either end.
        constant: `[units]`, whether it changes by no more than what was asked for.
        edges: `[bins + 1]`, of the histogram's bins.
        counts: `[bins]`, values of all units in each.
        half_life: `[units]`, of `forget` and `update` the steps in which half of what is kept is
            lost, $\log\frac12 / \overline{\log f}$: what is left after k steps is the product of k
            gates. Infinite where nothing is lost; None of other gates.
    """

    layer: str
    name: str
    activation: str
    steps: int
    mean: Float[Tensor, " units"]
    spread: Float[Tensor, " units"]
    least: Float[Tensor, " units"]
    most: Float[Tensor, " units"]
    low: Float[Tensor, " units"]
    high: Float[Tensor, " units"]
    constant: Bool[Tensor, " units"]
    edges: Float[Tensor, " edges"]
    counts: Int[Tensor, " bins"]
    half_life: Float[Tensor, " units"] | None = None

    @property
    def dead(self) -> Bool[Tensor, " units"]:
        """Units that are low at every step."""
        return self.low == 1

    @property
    def open(self) -> Bool[Tensor, " units"]:
        """Units that are high at every step."""
        return self.high == 1


@dataclass(frozen=True, eq=False)
class GateActivity(Showing):
    """What [`gate_activity`][throughtime.inspect.gate_activity] found; prints as a table.

    Attributes:
        gates: by their names, as [`record`][throughtime.inspect.record] has them.
        low, high: a gate is saturated below the one and above the other.
        constant: by how much a unit may change that is called constant.
    """

    gates: Mapping[str, Gate]
    low: float
    high: float
    constant: float

    def __getitem__(self, name: str) -> Gate:
        return self.gates[name]

    @property
    def layers(self) -> dict[str, dict[str, Gate]]:
        """By layer, and in it by the gate's own name."""
        found: dict[str, dict[str, Gate]] = {}
        for gate in self.gates.values():
            found.setdefault(gate.layer, {})[gate.name] = gate
        return found

    def __str__(self) -> str:
        head = ["layer", "gate", "units", "mean", "spread", "low", "high"]
        table = [[*head, "always low", "always high", "constant"]]
        for gate in self.gates.values():
            numbers = gate.mean.mean(), gate.spread.mean()
            shares = gate.low.mean(), gate.high.mean()
            stuck = gate.dead.sum(), gate.open.sum(), gate.constant.sum()
            table.append(
                [
                    gate.layer or "layer",
                    spoken(gate.name),
                    str(len(gate.mean)),
                    *(f"{float(number):.3f}" for number in numbers),
                    *(f"{100 * float(share):.1f} %" for share in shares),
                    *(str(int(count)) for count in stuck),
                ]
            )
        widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(
                [*map(str.ljust, line[:2], widths[:2]), *map(str.rjust, line[2:], widths[2:])]
            )
            for line in table
        ]
        steps = sorted({gate.steps for gate in self.gates.values()})
        counted = " or ".join(f"{count:,}" for count in steps)
        lines.append(
            f"low: below {self.low:g} of a gate's range, high: above {self.high:g}; "
            f"{counted} real steps"
        )
        return "\n".join(lines)

    def draw(self, ax: Axes, theme: Theme = LIGHT) -> Axes:
        """[`draw_saturation`][throughtime.inspect.draw_saturation], as notebooks show it."""
        from throughtime.inspect.gate_figures import draw_saturation

        return draw_saturation(ax, self, theme=theme)


def gate_activity(
    model: nn.Module | Mapping[str, Tensor],
    x: Any = None,
    mask: Tensor | None = None,
    layers: str | Sequence[str] | None = None,
    *,
    low: float = 0.1,
    high: float = 0.9,
    constant: float = 0.01,
) -> GateActivity:
    r"""How open the gates of recurrent layers are on some data, and which units are stuck.

    Of an LSTM these are input, forget and output gate, of a GRU reset and update; candidate, cell
    and hidden values come with them. An RNN has no gate, and its hidden values are what saturates.
    A gate that is saturated at every step does nothing that depends on the data; where tanh is
    saturated, gradients do not pass. The model runs without dropout and without gradients.

    Args:
        model: any module with recurrent layers in it; or tensors `[batch, time, hidden]` by name,
            as [`record`][throughtime.inspect.record] gives them.
        x: what the model is called with, a tuple where it takes several inputs; None where tensors
            were given.
        mask: `[batch, time]`, True where a step is real: given to the model by that name, or of the
            tensors. A model's layers count the steps that they are told are real.
        layers: patterns for the paths of layers that count (`body.layers.*`); None: all.
        low: below it a gate is closed.
        high: above it a gate is open.
        constant: a unit that changes by no more from its least to its most is constant.

    Errors:
        InputError: no recurrent layer, or none of those names; thresholds that are not in order; a
            mask of another form; nothing real to count.

    Examples:
        >>> from throughtime import LSTM
        >>> layer = LSTM(3, 8)
        >>> with torch.no_grad():
        ...     _ = layer.bias[8:12].fill_(9)  # half of the forget gates
        >>> activity = gate_activity(layer, torch.randn(2, 20, 3))
        >>> activity["forget"].open.tolist()
        [True, True, True, True, False, False, False, False]

    References:
        Karpathy, Johnson and Fei-Fei 2015, "Visualizing and understanding recurrent networks".
    """
    if not (0 <= low <= 0.5 <= high <= 1 and low < high):
        raise InputError(
            f"gate_activity: low is {low:g} and high {high:g}, expected ends of the range from 0 "
            "to 1, at most and at least 0.5"
        )
    patterns = None if layers is None else [layers] if isinstance(layers, str) else [*layers]
    if isinstance(model, Mapping):
        seen = of_tensors(model, mask, patterns)
    else:
        seen = of_model(model, x, mask, patterns)
    return GateActivity(
        {name: _measured(name, one, low, high, constant) for name, one in seen.items()},
        low,
        high,
        constant,
    )


def diagnose_gates(activity: GateActivity) -> list[str]:
    """What the numbers say, in sentences, layer by layer.

    Args:
        activity: what was measured.

    Examples:
        >>> from throughtime import LSTM
        >>> layer = LSTM(3, 8)
        >>> with torch.no_grad():
        ...     _ = layer.bias[:2].fill_(-9)  # of two input gates
        >>> diagnose_gates(gate_activity(layer, torch.randn(1, 20, 3)))[0]
        '2 of 8 units of LSTM never open their input gate on this data: they take in next to nothing'
    """  # noqa: E501
    said: list[str] = []
    for path, gates in activity.layers.items():
        said += _of_layer(path or "layer", gates, activity)
    return said


def spoken(name: str) -> str:
    """A gate's name as one says it."""
    return name.removesuffix("_gate")


# What numbers say

STUCK = {
    ("input", "dead"): "they take in next to nothing",
    ("input", "open"): "they take in every step",
    ("forget", "dead"): "they keep next to nothing of the step before",
    ("forget", "open"): "they lose little from step to step",
    ("output_gate", "dead"): "next to nothing of their cell is shown",
    ("output_gate", "open"): "their cell is always shown",
    ("update", "dead"): "they keep next to nothing of the step before",
    ("update", "open"): "they take in little at any step",
    ("reset", "dead"): "their candidates see next to nothing of the past",
    ("reset", "open"): "their candidates always see the past",
}
SLOPES = {"sigmoid": 1, "tanh": 4, "cell": 4, "relu": 0}
"""Of activation functions, times v (1 - v) where v is what lies between 0 and 1."""
HOW = {"dead": "never open their {} gate", "open": "always hold their {} gate open"}


def _of_layer(layer: str, gates: Mapping[str, Gate], activity: GateActivity) -> list[str]:
    broken = [spoken(name) for name, gate in gates.items() if not bool(gate.mean.isfinite().all())]
    if broken:
        return [f"{layer}: {', '.join(broken)} took values that are not finite"]
    units = len(next(iter(gates.values())).mean)
    said = [
        f"{count} of {units} units of {layer} {HOW[how].format(spoken(name))} on this data: {so}"
        for (name, how), so in STUCK.items()
        if name in gates and (count := int(getattr(gates[name], how).sum()))
    ]
    if "hidden" in gates and (count := int(gates["hidden"].constant.sum())):
        said.append(
            f"{count} of {units} units of {layer} show the same at every step, within "
            f"{activity.constant:g}: they tell the layers above nothing"
        )
    said += _saturation(layer, gates, activity)
    if not said:
        stuck = "has a gate that is stuck, or " if any(name in SHUTTERS for name in gates) else ""
        said.append(f"{layer}: of {units} units none {stuck}is constant")
    said += [_memory(layer, gates[name]) for name in KEEPERS if name in gates]
    return said


def _saturation(layer: str, gates: Mapping[str, Gate], activity: GateActivity) -> list[str]:
    """Where much of what comes out of an activation function lies at its ends."""
    said = []
    # Hidden values are the function's own where there is nothing else: in an RNN.
    for name in ("hidden",) if len(gates) == 1 else ("candidate", "cell"):
        if name not in gates:
            continue
        share = float((gates[name].low + gates[name].high).mean())
        if share <= MOST:
            continue
        words = f"{layer}: {100 * share:.0f} % of {name} values are saturated"
        steepest = SLOPES.get(gates[name].activation)
        if steepest is not None:
            slope = max(end * (1 - end) for end in (activity.low, activity.high))
            # A cell's own gradient goes from step to step past the tanh that shows it.
            where = "from what is shown to the cell" if name == "cell" else "there"
            words += f": at most {100 * steepest * slope:.0f} % of a gradient passes {where}"
        said.append(words)
    return said


def _memory(layer: str, gate: Gate) -> str:
    assert gate.half_life is not None
    longest = int(gate.half_life.argmax())
    return (
        f"{layer}: its {spoken(gate.name)} gates lose half of what is kept in "
        f"{float(gate.half_life.median()):.3g} steps (median of units); unit {longest} keeps it "
        f"longest, {float(gate.half_life[longest]):.3g} steps"
    )


# What is measured of it


def _measured(name: str, seen: Seen, low: float, high: float, constant: float) -> Gate:
    values = seen.values
    if len(values) == 0:
        raise InputError(f"gate_activity: {name} has no real step, expected some")
    least, most = values.aminmax(dim=0)
    closed, opened = _saturated(values, seen.activation, low, high)
    edges = _edges(values, seen.activation)
    # What lies beyond the ends is counted in the outermost bins.
    place = torch.bucketize(values.contiguous(), edges[1:-1])
    keeps = seen.gate in KEEPERS
    return Gate(
        layer=seen.layer,
        name=seen.gate,
        activation=seen.activation,
        steps=len(values),
        mean=values.mean(0),
        spread=values.std(0, correction=0),
        least=least,
        most=most,
        low=closed.double().mean(0),
        high=opened.double().mean(0),
        constant=most - least <= constant,
        edges=edges,
        counts=place.flatten().bincount(minlength=BINS),
        half_life=_half_life(values) if keeps else None,
    )


def _saturated(values: Tensor, activation: str, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Where values are near the lower and the upper end of their activation function."""
    if activation == "relu":
        return values <= 0, torch.zeros_like(values, dtype=torch.bool)
    if activation != "sigmoid":
        low, high = 2 * low - 1, 2 * high - 1
    if activation == "cell":
        values = values.tanh()
    return values < low, values > high


def _edges(values: Tensor, activation: str) -> Float[Tensor, " edges"]:
    """Of bins over the range of the activation function, or over all values where it has none."""
    largest = float(values.abs().nan_to_num(0, 0, 0).max())
    first, last = {
        "sigmoid": (0.0, 1.0),
        "tanh": (-1.0, 1.0),
        "bounded": (-1.0, 1.0),
        "relu": (0.0, largest or 1.0),
        "cell": (-(largest or 1.0), largest or 1.0),
    }[activation]
    return torch.linspace(first, last, BINS + 1, device=values.device)


def _half_life(gate: Float[Tensor, "steps units"]) -> Float[Tensor, " units"]:
    logs = gate.double().clamp(SMALLEST, 1).log().mean(0)
    return (math.log(0.5) / logs.clamp(max=-SMALLEST)).where(logs < 0, math.inf)
