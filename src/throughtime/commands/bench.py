"""`throughtime bench`: how fast our layers are here, beside torch.nn and what else there is."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import torch
import typer

from throughtime.commands import options
from throughtime.commands.clocks import (
    Times,
    geometric_mean,
    in_turn,
    machine,
    matrix_rates,
    significant,
)
from throughtime.commands.console import Console, RichTable, Text, say, show_pairs
from throughtime.commands.peers import (
    LAYERS,
    OURS,
    PACKED,
    THEIRS,
    forward,
    operations,
    pair,
    ragged,
    streaming,
    training,
)


@dataclass(frozen=True)
class Plan:
    """How much is timed.

    Attributes:
        sizes: hidden size and batch of each case.
        time: steps per sequence.
        features: per step.
        longest: steps of the longest of ragged sequences.
        seconds: per case.
    """

    sizes: tuple[tuple[int, int], ...] = ((64, 1), (64, 32), (256, 32))
    time: int = 100
    features: int = 64
    longest: int = 500
    seconds: float = 0.8


FULL = Plan()
QUICK = Plan(sizes=((64, 32),), longest=200, seconds=0.3)


def bench(
    quick: Annotated[bool, typer.Option("--quick", help="Less of it: some ten seconds.")] = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Time our layers beside torch.nn's, in this process and in turn; under a minute.

    Whole sequences (training step and forward pass), sequences of different lengths, and one step
    at a time. The benchmarks folder of the source has the long form.
    """
    plan = QUICK if quick else FULL
    found: dict[str, Any] = {"machine": machine()}
    rates = matrix_rates(seconds=plan.seconds / 4)
    found["peak"] = {"rates": rates, "best": max(rates.values())}
    for name, rows in (("recurrent", _recurrent), ("ragged", _ragged), ("streaming", _streaming)):
        found[name] = []
        for row in rows(plan):
            say(f"{name}: {row['layer']} {row['case']}", quiet=quiet or as_json)
            found[name].append(row)
        if name == "recurrent":
            for row in found[name]:
                row["peak"] = row["operations"] / row["seconds"][OURS] / found["peak"]["best"]
    found["mean"] = {
        what: geometric_mean([r["times"] for r in found["recurrent"] if r["pass"] == what])
        for what in ("training", "forward")
    }
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        _show(found)


def _recurrent(plan: Plan) -> Iterator[dict[str, Any]]:
    for kind in LAYERS:
        for hidden, batch in plan.sizes:
            ours, theirs = pair(kind, plan.features, hidden)
            x = torch.randn(batch, plan.time, plan.features)
            runs = {OURS: forward(ours, x), THEIRS: forward(theirs, x)}
            steps = {OURS: training(ours, runs[OURS]), THEIRS: training(theirs, runs[THEIRS])}
            for what, timed in (("training", steps), ("forward", runs)):
                learns = what == "training"
                with contextlib.nullcontext() if learns else torch.inference_mode():
                    times = in_turn(timed, seconds=plan.seconds)
                work = operations(kind, plan.features, hidden, batch * plan.time, training=learns)
                case = {"case": f"H={hidden} B={batch}, {what}", "pass": what, "operations": work}
                yield _row(kind, times, THEIRS, case)


def _ragged(plan: Plan) -> Iterator[dict[str, Any]]:
    hidden, batch = 64, 32
    lengths = torch.randint(plan.longest // 4, plan.longest + 1, (batch,))
    for kind in LAYERS:
        runs = ragged(kind, plan.features, hidden, lengths, plan.longest)
        case = f"H={hidden} B={batch}, {plan.longest // 4} to {plan.longest} steps, training"
        yield _row(kind, in_turn(runs, seconds=2 * plan.seconds, least=3), PACKED, {"case": case})


def _streaming(plan: Plan) -> Iterator[dict[str, Any]]:
    hidden = 128
    for kind in LAYERS:
        runs = streaming(kind, plan.features, hidden)
        with torch.inference_mode():
            times = in_turn(runs, seconds=plan.seconds, least=2, block=50)
        rare = {name: each.quantile(0.99) for name, each in times.items()}
        case = {"case": f"H={hidden} B=1, one step", "p99": rare}
        yield _row(kind, times, f"nn.{kind.upper()}", case)


def _row(kind: str, times: dict[str, Times], peer: str, more: dict[str, Any]) -> dict[str, Any]:
    """Medians of one case, and how many times faster than a peer ours is."""
    seconds = {name: each.median for name, each in times.items()}
    return {"layer": kind, **more, "seconds": seconds, "times": seconds[peer] / seconds[OURS]}


def _show(found: dict[str, Any]) -> None:
    about, peak = found["machine"], found["peak"]
    kernels = ", ".join(f"{name} {which}" for name, which in about["kernels"].items())
    kernels += f" ({about['kernel instructions']})"
    keys = ("processor", "cores", "threads", "vector instructions", "torch", "throughtime")
    facts = [(key, str(about[key])) for key in keys]
    best = max(peak["rates"], key=peak["rates"].get)
    facts += [("kernels", kernels), ("peak", f"{peak['best'] / 1e9:.0f} GFLOP/s ({best})")]
    show_pairs("This machine", facts, result=True)
    _table("Whole sequences, ms", found["recurrent"], 1e3)
    _table("Sequences of different lengths, ms", found["ragged"], 1e3)
    _table("One step at a time, µs", found["streaming"], 1e6)
    mean = found["mean"]
    Console(highlight=False).print(
        f"Whole sequences against torch.nn, geometric mean: training {mean['training']:.2f}x, "
        f"forward {mean['forward']:.2f}x."
    )


def _table(title: str, rows: list[dict[str, Any]], unit: float) -> None:
    """Medians in a row per case, the shortest bold."""
    shown = RichTable(title=title, title_justify="left", caption=_caption(rows[0]))
    names = list(dict.fromkeys(_place(name) for row in rows for name in row["seconds"]))
    for name in ("layer", "case", *names, "times"):
        shown.add_column(name, justify="left" if name in ("layer", "case") else "right")
    if "peak" in rows[0]:
        shown.add_column("of peak", justify="right")
    for row in rows:
        took = {_place(name): seconds for name, seconds in row["seconds"].items()}
        cells = [row["layer"], row["case"]]
        for name in names:
            style = "bold" if took.get(name) == min(took.values()) else ""
            cells.append(Text(significant(unit * took[name]) if name in took else "–", style=style))
        cells.append(f"{row['times']:.2f}x")
        cells += [f"{row['peak']:.0%}"] if "peak" in row else []
        shown.add_row(*cells)
    Console(highlight=False, width=None if Console().is_terminal else 140).print(shown)


def _place(name: str) -> str:
    """The column of a contestant: `nn.LSTM` and `nn.GRU` share one."""
    if not name.startswith("nn."):
        return name
    return "nn cell" if name.endswith("Cell") else "nn layer"


def _caption(row: dict[str, Any]) -> str:
    return f"times: how much longer {PACKED if PACKED in row['seconds'] else THEIRS} takes"
