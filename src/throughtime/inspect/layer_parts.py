"""What the layers of a model did along one sequence: gates and cells, and where heads looked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import nn

from throughtime.inspect.attention import Attention, attention_rollout, draw_heads
from throughtime.inspect.attention_kinds import describe_heads
from throughtime.inspect.attention_measures import (
    attention_distance,
    attention_entropy,
    draw_head_measures,
)
from throughtime.inspect.gate_figures import draw_gates, draw_saturation
from throughtime.inspect.gates import GateActivity, diagnose_gates, gate_activity, spoken
from throughtime.inspect.image_attention import patch_places
from throughtime.inspect.panels import (
    Axes,
    Figure,
    Heads,
    Map,
    Part,
    heads_panel,
    maps_panel,
    marked,
    size_of,
)
from throughtime.inspect.theme import Theme
from throughtime.layers import Recurrent, SelfAttention
from throughtime.models.classifier import Classifier
from throughtime.models.image_inputs import ImageInputs
from throughtime.shapes import Float, Tensor

__all__ = ["Recorded", "attention_parts", "gate_parts", "of_side"]

UNITS = 128
"""Of a layer, shown at most: those that change most."""

ROOM = 1_700_000
"""Letters that numbers of all layers may take in the page."""

LIMITS = {
    "input": (0.0, 1.0), "forget": (0.0, 1.0), "output_gate": (0.0, 1.0),
    "reset": (0.0, 1.0), "update": (0.0, 1.0), "candidate": (-1.0, 1.0),
}  # fmt: skip
"""What values can be; of others it is seen from them."""

FIRST = ("cell", "hidden")
"""Values that are shown before one has chosen."""

TELLING = ("forget", "update", "cell", "hidden")
"""Values that are drawn where no script runs; the first two of a layer that there are."""

TELL = 4
"""Steps from which on it is told in words what gates do."""

DRAWN = 4
"""Layers that are drawn where no script runs, at most."""


@dataclass(eq=False)
class Recorded:
    """What was recorded, and which steps it is about.

    Attributes:
        model: that ran.
        values: by the name of the layer and of the value, `[1, ..., time, ...]`.
        sides: by the front of a layer's name, the steps that the layer runs over, and those that it
            looks at where these are others.
        words: of each sequence of steps.
        first: the first step of a run that is shown; there may be some before.
        room: letters that are left in the page.
        left_out: layers for which there was none.
    """

    model: nn.Module
    values: Mapping[str, Tensor]
    sides: Sequence[tuple[str, str, str]]
    words: Mapping[str, Sequence[str]]
    first: int = 0
    room: int = ROOM
    left_out: list[str] = field(default_factory=list)

    def steps_of(self, path: str) -> tuple[str, str]:
        """The steps of a layer, and those that it looks at if it looks elsewhere."""
        return next((own, other) for front, own, other in self.sides if path.startswith(front))

    def of(self, kind: Any, name: str | None = None) -> dict[str, dict[str, Tensor]]:
        """By layer of a kind what was recorded of it, from the bottom to the top."""
        modules = dict(self.model.named_modules())
        found: dict[str, dict[str, Tensor]] = {}
        for full, value in self.values.items():
            path, _, own = full.rpartition(".")
            if isinstance(modules[path], kind) and name in (None, own):
                found.setdefault(path, {})[own] = value
        return found

    def fits(self, layer: str, shape: Sequence[int]) -> bool:
        """Take room for so many numbers, if there is."""
        if size_of(shape) > self.room:
            if layer not in self.left_out:
                self.left_out.append(layer)
            return False
        self.room -= size_of(shape)
        return True


# -- gates ---------------------------------------------------------------------------------------


def gate_parts(seen: Recorded) -> list[Part]:
    """Gates, cells and hidden values: a part for each sequence that recurrent layers run over."""
    layers = seen.of(Recurrent)
    parts = []
    for steps in dict.fromkeys(seen.steps_of(path)[0] for path in layers):
        some = {path: each for path, each in layers.items() if seen.steps_of(path)[0] == steps}
        parts.append(_gate_part(seen, steps, some))
    return parts


def _gate_part(seen: Recorded, steps: str, layers: Mapping[str, Mapping[str, Tensor]]) -> Part:
    words = seen.words[steps]
    maps: list[Map] = []
    notes = []
    for path, values in layers.items():
        for name in sorted(values, key=_rank):
            value = values[name]
            found = _map(path, name, value[0, -len(words) :])
            if seen.fits(path, found.values.shape):
                maps.append(found)
        units = next(iter(values.values())).shape[-1]
        if units > UNITS:
            notes.append(f"Of {units} units of {path} the {UNITS} that change most are shown.")
    if len(words) < TELL:
        one = "one step is" if len(words) == 1 else f"{len(words)} steps are"
        notes.append(f"What gates do along a sequence is left out: {one} too few to tell.")
    full = {f"{path}.{name}": v for path, each in layers.items() for name, v in each.items()}
    activity = gate_activity(full)
    figures = [_drawn(path, values, words) for path, values in layers.items()][:DRAWN]
    figures = [one for some in figures for one in some]
    for path in [*layers][:DRAWN]:
        figures.append(
            Figure(
                f"saturation {path}",
                f"How often the gates of each unit of {path} are open and closed, as dots.",
                lambda ax, theme, path=path: _draw_saturation(ax, activity, path, theme),
                height=3.8,
            )
        )
    return Part(
        f"Gates and what they keep{of_side(steps)}",
        "A row for each unit, a column for each step. Gates go from 0, closed, to 1, open: the "
        "bluer, the more open. Of other values blue is above zero and orange below.",
        tuple(diagnose_gates(activity)) if len(words) >= TELL else (),
        maps_panel(steps, maps) if maps else None,
        tuple(figures),
        tuple(notes),
    )


def _draw_saturation(ax: Axes, activity: GateActivity, path: str, theme: Theme) -> None:
    """With the layer's name above, as several stand side by side."""
    draw_saturation(ax, activity, layer=path, theme=theme)
    found = ax.get_title(loc="left")
    ax.set_title(f"{path}\n{found}", loc="left", color=theme.ink, fontsize=10,
                 fontweight="bold", pad=20, parse_math=False)  # fmt: skip


def of_side(steps: str) -> str:
    """Which side of an encoder-decoder runs over some steps, for a title."""
    return {"source": ", in the encoder", "read": ", in the decoder"}.get(steps, "")


def _rank(name: str) -> int:
    """What says most comes first."""
    return FIRST.index(name) if name in FIRST else len(FIRST)


def _map(path: str, name: str, value: Float[Tensor, "time units"]) -> Map:
    values = value.double().cpu().numpy()
    low, high = LIMITS.get(name, (-1.0, 1.0))
    if name not in LIMITS:
        largest = float(np.nanmax(np.abs(values), initial=0.0)) or 1.0
        largest = 1.0 if 0.2 < largest <= 1.0 else largest
        low, high = (0.0 if values.min(initial=0.0) >= 0 else -largest), largest
    units: tuple[int, ...] = ()
    if values.shape[1] > UNITS:
        change = values.std(0)
        units = tuple(sorted(np.argsort(-change, kind="stable")[:UNITS].tolist()))
        values = values[:, units]
    return Map(path, spoken(name), values, low, high, units)


def _drawn(path: str, values: Mapping[str, Tensor], words: Sequence[str]) -> list[Figure]:
    telling = [name for name in TELLING if name in values][:2]
    return [
        Figure(
            f"{path} {spoken(name)}",
            f"{spoken(name)} of {path}: units by steps, as shades.",
            lambda ax, theme, name=name: draw_gates(
                ax, values[name][0, -len(words) :], marked(words),
                title=f"{spoken(name)} of {path}", theme=theme,
            ),
            width=10.0, height=4.2, instead=True, wide=True,
        )
        for name in telling
    ]  # fmt: skip


# -- attention -----------------------------------------------------------------------------------


def attention_parts(seen: Recorded) -> list[Part]:
    """Where heads looked: a part for each pair of sequences."""
    layers = {path: each["attention"] for path, each in seen.of(Attention, "attention").items()}
    modules = dict(seen.model.named_modules())
    groups: dict[tuple[str, str], dict[str, Tensor]] = {}
    for path, weights in layers.items():
        own, other = seen.steps_of(path)
        key = (own, own) if isinstance(modules[path], SelfAttention) else (_foretold(own), other)
        groups.setdefault(key, {})[path] = weights
    return [_attention_part(seen, *key, group) for key, group in groups.items()]


def _foretold(steps: str) -> str:
    """A step of the decoder looks at the source for the token that it foretells."""
    return "target" if steps == "read" else steps


def _attention_part(seen: Recorded, rows: str, columns: str, maps: dict[str, Tensor]) -> Part:
    down, over = len(seen.words[rows]), len(seen.words[columns])
    itself = rows == columns
    kinds: dict[str, tuple[str, ...]] = {}
    found: list[str] = []
    if itself:
        for head in describe_heads(maps):
            kinds[head.layer] = (*kinds.get(head.layer, ()), f"looks {_at(head.kind)}")
        found = [_sentence(path, each) for path, each in kinds.items()]
    shown: list[Heads] = []
    if itself and len(maps) > 1:
        whole = attention_rollout(maps)[:, None, -down:, -over:]
        if seen.fits("all layers", whole.shape):
            name = "all layers together (rollout)"
            shown.append(Heads(name, _numbers(whole), rows, columns))
    for path, weights in maps.items():
        cut = weights[:, :, -down:, -over:]
        if seen.fits(path, cut.shape):
            shown.append(Heads(path, _numbers(cut), rows, columns, kinds.get(path, ())))
    text = "Point at a step: the stronger the colour of another one, the more weight it is given."
    if seen.first and itself:
        text += " What lies before the first step shown has the rest of the weight."
    title = "What each step looks at" if itself else f"Where the {rows} looks at the {columns}"
    if itself:
        title += of_side(rows)
    figures = [
        _heads_figure(path, weights[0, :, -down:, -over:], seen, rows, columns)
        for path, weights in [*maps.items()][:DRAWN]
    ]
    if itself:
        figures += _measures(seen.model, maps)
    panel = heads_panel(shown) if shown else None
    return Part(title, text, tuple(found), panel, tuple(figures))


def _numbers(weights: Float[Tensor, "1 heads time steps"]) -> np.ndarray:
    return weights[0].double().cpu().numpy()


def _at(kind: str) -> str:
    """After “looks”: `at the first step`, `2 steps back`."""
    alone = kind in ("evenly", "by content", "nearby") or kind.endswith((" back", " ahead"))
    return kind if alone else f"at {kind}"


def _sentence(path: str, kinds: Sequence[str]) -> str:
    """All heads of a layer, those that do the same together."""
    said = []
    for kind in dict.fromkeys(kinds):
        who = [str(at) for at, one in enumerate(kinds) if one == kind]
        if len(who) == 1:
            said.append(f"head {who[0]} {kind}")
        else:
            said.append(
                f"heads {', '.join(who[:-1])} and {who[-1]} {kind.replace('looks', 'look')}"
            )
    return f"{path}: {', '.join(said)}"


def _heads_figure(
    path: str, weights: Float[Tensor, "heads time steps"], seen: Recorded, rows: str, columns: str
) -> Figure:
    heads = len(weights)

    def draw(ax: Axes, theme: Theme) -> None:
        figure: Any = ax.get_figure()
        ax.remove()
        draw_heads(
            figure, weights, marked(seen.words[columns]), marked(seen.words[rows]),
            title=f"What the heads of {path} look at", theme=theme,
        )  # fmt: skip

    across = min(heads, 4)
    size = 2.6 if heads > 1 else 4.0
    return Figure(
        f"heads {path}",
        f"The maps of {heads} heads of {path}, beside each other.",
        draw, width=size * across + 0.4, height=size * -(-heads // across) + 0.6,
        instead=True, wide=heads > 1,
    )  # fmt: skip


def _measures(model: nn.Module, maps: Mapping[str, Tensor]) -> list[Figure]:
    """How spread out the heads of each layer look, and how far."""
    places, unit = None, "steps"
    if isinstance(model, Classifier) and isinstance(model.inputs, ImageInputs):
        places, unit = patch_places(model), "pixels"
        steps = next(iter(maps.values())).shape[-1]
        if len(places) != steps:  # an image of another size
            places, unit = None, "steps"
    entropy = {path: attention_entropy(weights, share=True) for path, weights in maps.items()}
    distance = {path: attention_distance(weights, places=places) for path, weights in maps.items()}
    return [
        Figure(
            "entropy of heads",
            "Entropy of each head by layer, as dots.",
            lambda ax, theme: draw_head_measures(
                ax, entropy, what="entropy", unit="of the most", theme=theme
            ),
        ),
        Figure(
            "distance of heads",
            "How far each head looks by layer, as dots.",
            lambda ax, theme: draw_head_measures(ax, distance, unit=unit, theme=theme),
        ),
    ]
