"""What a probe is run with, and what its table and its page show."""

import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from throughtime.commands.sharing import versions
from throughtime.data.probes import Probe
from throughtime.inspect.contents import Column, Row, Table
from throughtime.inspect.long_dependencies import LongDependencies, listed
from throughtime.inspect.long_dependency_figures import draw_flows, draw_success
from throughtime.inspect.panels import Figure, Looked, Part
from throughtime.inspect.theme import LIGHT, Theme
from throughtime.models.sizing import parameters
from throughtime.recipes.probes import guessed, probe_model, probe_named

if TYPE_CHECKING:
    from throughtime.inspect.drawing import Axes
else:
    Axes = Any  # matplotlib is imported where something is drawn

TASKS = {
    "adding": "Two numbers of a row are marked, one in either half: say their sum at the end. The "
    "first lies half a row back or more.",
    "copying": "Ten symbols, a wait of so many steps, and a delimiter: repeat the symbols, each "
    "ten steps and the wait after it stood there.",
    "parity": "Say at each step whether there were an odd number of ones so far. Each step is "
    "answered, so that little has to arrive from afar, but one slip spoils the rest of a row.",
    "first-symbol": "Say at the end which of four symbols came first, a whole row back.",
}
RATES = {"rnn": 0.001, "lstm": 0.01, "gru": 0.01}
"""The best of 0.001, 0.003 and 0.01 on adding:50 with 32 units."""
BATCH = 32


@dataclass(frozen=True)
class Plan:
    """What is run: every model at every length with every seed."""

    name: str
    lengths: tuple[int, ...]
    models: tuple[str, ...]
    seeds: int
    hidden: int
    updates: int
    rate: float | None
    chrono: bool

    @property
    def count(self) -> int:
        """Of runs."""
        return len(self.models) * len(self.lengths) * self.seeds

    def probe(self, length: int) -> Probe:
        """A row of the probe of a length."""
        return probe_named(f"{self.name}:{length}")(1, 0)

    def steps(self, length: int) -> int:
        """Of a row: what is copied stands in it twice."""
        return self.probe(length).inputs.shape[1]

    def parameters(self, model: str) -> int:
        """How many a model has; they do not depend on the length."""
        return parameters(probe_model(self.probe(self.lengths[0]), model, self.hidden))

    def rate_of(self, model: str) -> float:
        """The learning rate of a model."""
        return RATES[model] if self.rate is None else self.rate

    def settings(self) -> dict[str, Any]:
        """All that decides over the results."""
        return {
            "probe": self.name,
            "lengths": list(self.lengths),
            "models": {model: self.parameters(model) for model in self.models},
            "rates": {model: self.rate_of(model) for model in self.models},
            "seeds": self.seeds,
            "hidden": self.hidden,
            "updates": self.updates,
            "batch": BATCH,
            "chrono": self.chrono,
        }


def probe_table(plan: Plan, found: LongDependencies, length: int) -> Table:
    """The models at one length, and an answer that remembers nothing."""
    probe, steps = plan.probe(length), plan.steps(length)
    rows = [_row(plan, found, model, steps) for model in found.models if found.of(model, steps)]
    nothing = {"error": probe.baseline, "right": 100 * guessed(probe)}
    unit = "squared" if probe.kind == "number" else "nats per answer"
    half = f"%, {found.left(rows[0].model, steps)[0]} steps back"
    columns = [
        Column("parameters", "parameters", digits=0),
        Column("rate", "learning rate", digits=3 if plan.rate is None else None),
        Column("seeds", "seeds", digits=0),
        Column("solved", "solved", "seeds", better="higher", digits=0),
        Column("error", "error", unit, better="lower"),
        Column("right", "rows right", "%", better="higher", digits=1),
        Column("updates", "updates", digits=0),
        Column("seconds", "training", "s", digits=1),
        Column("before", "left before", half, digits=1),
        Column("after", "left after", half, digits=1),
    ]
    size = f" ({steps} steps in a row)" if steps != length else ""
    note = f"Solved: {found.criterion}. Left: of the gradient, by the median of the seeds."
    return Table(f"{plan.name}:{length}{size}", columns,
                 [*rows, Row("without memory", nothing, baseline=True)], note)  # fmt: skip


def _row(plan: Plan, found: LongDependencies, model: str, steps: int) -> Row:
    runs = found.of(model, steps)
    solved, seeds = found.solved(model, steps)
    left = {when: 100 * found.left(model, steps, when)[1] for when in ("before", "after")}
    return Row(model, {
        "parameters": plan.parameters(model.lower()),
        "rate": runs[0].rate,
        "seeds": seeds,
        "solved": solved,
        "error": [run.error for run in runs],
        "right": [100 * run.success for run in runs],
        "updates": [run.updates for run in runs],
        "seconds": median(run.seconds for run in runs),
        **left,
    })  # fmt: skip


def probe_page(plan: Plan, found: LongDependencies, seconds: float) -> Looked:
    """What the page shows."""

    def flows(when: str) -> Figure:
        def draw(ax: Axes, theme: Theme = LIGHT) -> None:
            draw_flows(ax, found, when=when, theme=theme)

        words = f"The share of the gradient by steps back, {when} training: a line for each model."
        return Figure(f"gradients-{when}", words, draw, width=4.6, height=3.4)

    def success(ax: Axes, theme: Theme = LIGHT) -> None:
        draw_success(ax, found, theme=theme)

    said, many, time = found.explain(), len(found.models), found.lengths[-1]
    solved = Part(
        "What is solved",
        "A bar for the mean of the seeds, a dot for each of them; dashed: without memory.",
        tuple(said[:many]),
        figures=(Figure("success", "The share of rows answered right, by length.", success,
                        width=min(9.0, 3.6 + 1.0 * len(found.lengths)), height=3.4,
                        wide=len(found.lengths) > 2),),
    )  # fmt: skip
    reach = Part(
        "How far gradients reach",
        f"The gradient of the last step by the state some steps before it, in rows of {time:,} "
        "steps, as a share of that by the last state: the median of the seeds, and their range.",
        tuple(said[many:]),
        figures=(flows("before"), flows("after")),
    )
    lengths = ", ".join(f"{length:,}" for length in plan.lengths)
    title = f"{plan.name}, {lengths} steps: how far back {listed(found.models)} remember"
    command = shlex.join(["throughtime", *sys.argv[1:]])
    return Looked(title, tuple(_about(plan, found, seconds)), (), (solved, reach), (), command)


def _about(plan: Plan, found: LongDependencies, seconds: float) -> Iterator[tuple[str, str]]:
    """What was run."""
    yield "task", TASKS[plan.name]
    yield "solved is", found.criterion
    sizes = [f"{model} {plan.parameters(model.lower()):,}" for model in found.models]
    yield "parameters", f"{', '.join(sizes)}; one layer of {plan.hidden} units"
    rates = [f"{model} {plan.rate_of(model.lower()):g}" for model in found.models]
    yield "learning rate", ", ".join(rates)
    yield "training", f"at most {plan.updates:,} updates of {BATCH} fresh rows each"
    if plan.chrono:
        yield "gates", "those of LSTM and GRU start open for about as long as a row is (chrono)"
    yield from versions(max(run.seed for run in found.runs) + 1, seconds)
