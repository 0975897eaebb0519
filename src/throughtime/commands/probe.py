"""`throughtime probe`: how far back models remember, on made-up tasks of any length."""

import difflib
import json
import math
import re
import time as clock
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from throughtime.commands import options
from throughtime.commands.console import progress_bar, say, show_table
from throughtime.commands.measuring import plain
from throughtime.commands.probe_pages import BATCH, TASKS, Plan, probe_page, probe_table
from throughtime.commands.sharing import check_out
from throughtime.errors import InputError
from throughtime.inspect.long_dependencies import LongDependencies, ProbeRun
from throughtime.recipes.probes import CELLS, PROBES, good_enough, judged, probe_named, run_probe
from throughtime.state import write_atomically
from throughtime.training.config import TrainingConfig

SHORTEST, LONGEST = 2, 5000
"""Steps. So many rows of training are made at a time that longer ones would need gigabytes."""
SHORTEST_CHRONO = 3


def probe(
    probe: Annotated[
        str, typer.Argument(metavar="PROBE", help="adding, copying, parity or first-symbol, a "
                            "colon, and the steps: adding:200; without steps with --times.")
    ] = "adding:100",
    models: Annotated[
        str, typer.Option(help="Any of rnn, lstm, gru.", rich_help_panel=options.MODEL)
    ] = "rnn,lstm,gru",
    times: Annotated[
        str | None, typer.Option(help="Several lengths instead of one: 25,50,100.",
                                 rich_help_panel=options.DATA),
    ] = None,
    hidden: Annotated[
        int, typer.Option(help="Units of the one layer.", rich_help_panel=options.MODEL)
    ] = 32,
    chrono: Annotated[
        bool, typer.Option("--chrono/--no-chrono", help="Start the gates of LSTM and GRU open for "
                           "about as long as a row is.", rich_help_panel=options.MODEL),
    ] = False,
    seeds: Annotated[
        int, typer.Option(help="Seeds per model and length.", rich_help_panel=options.TRAINING)
    ] = 3,
    updates: Annotated[
        int, typer.Option(help="Of the weights, at most; training ends once the probe is solved.",
                          rich_help_panel=options.TRAINING),
    ] = 2000,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", "--lr", rich_help_panel=options.TRAINING,
                                   help="Of all models. Default: 0.001 for rnn, 0.01 for lstm and "
                                   "gru."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for a page, its figures and all numbers. Default: "
                                  "nothing is written.", rich_help_panel=options.OUTPUT),
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Train small recurrent models on a task that needs a memory, and see how far back it reaches.

    Every row is made up afresh, so that none is learned by heart. Says which models solve the
    probe, and how much of the gradient arrives from as far back, before training and after it.
    """
    started = clock.perf_counter()
    name, lengths = _asked(probe, times)
    chosen = _kinds(models)
    _check_numbers(seeds=seeds, hidden=hidden, updates=updates)
    if learning_rate is not None and not 0 < learning_rate < math.inf:
        raise InputError(f"--learning-rate is {learning_rate:g}, expected a number above 0")
    plan = Plan(name, lengths, chosen, seeds, hidden, updates, learning_rate, chrono)
    _check_chrono(plan)
    check_out(out)
    if out is not None:
        _check_drawing()
    say(f"{name}: {TASKS[name]}", quiet=quiet)

    runs: list[ProbeRun] = []
    interrupted = False
    try:
        for run in _runs(plan, quiet=quiet):
            runs.append(run)
            say(_told(plan, run), quiet=quiet)  # not before it is kept: Ctrl-C may come between
    except KeyboardInterrupt:
        interrupted = True
    if runs:
        _tell(plan, runs, clock.perf_counter() - started, out, as_json=as_json, quiet=quiet)
    if interrupted:
        say(f"stopped: {len(runs)} of {plan.count} runs are finished", quiet=quiet)
        raise KeyboardInterrupt


def _asked(probe: str, times: str | None) -> tuple[str, tuple[int, ...]]:
    """The name of a probe and its lengths, ascending."""
    name, colon, length = probe.partition(":")
    if name not in PROBES:
        near = difflib.get_close_matches(name.lower().replace("_", "-"), PROBES, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise InputError(f"there is no probe {name!r}; {hint}there are {', '.join(PROBES)}")
    if times is None:
        if not colon:
            raise InputError(f"probe {name} has no length, expected {name}:100 or --times 25,50")
        return name, (_length(f"probe {probe}", name, length),)
    if colon:
        raise InputError(f"probe {probe} has a length and --times gives others, expected one")
    lengths = {_length("--times", name, part) for part in options.names(times)}
    if not lengths:
        raise InputError("--times is empty, expected lengths: 25,50,100")
    return name, tuple(sorted(lengths))


def _length(where: str, name: str, text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text) or not SHORTEST <= int(text) <= LONGEST:
        expected = f"a whole number of steps from {SHORTEST} to {LONGEST}"
        raise InputError(f"{where}: the length of {name} is {text!r}, expected {expected}")
    return int(text)


def _kinds(models: str) -> tuple[str, ...]:
    chosen = options.names(models)
    known = ", ".join(CELLS)
    for kind in chosen:
        if kind not in CELLS:
            raise InputError(f"--models: {kind!r} is not one of {known}; probes look at the "
                             "gradient through a recurrent state")  # fmt: skip
    if not chosen:
        raise InputError(f"--models is empty, expected some of {known}")
    return tuple(dict.fromkeys(chosen))


def _check_numbers(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise InputError(f"--{name} is {number}, expected at least 1")


def _check_chrono(plan: Plan) -> None:
    """Refuse to open gates where there are none, or where nothing is to be kept."""
    if not plan.chrono:
        return
    if plan.models == ("rnn",):
        raise InputError("--chrono opens gates, and rnn has none; name lstm or gru")
    if (steps := plan.steps(plan.lengths[0])) < SHORTEST_CHRONO:
        raise InputError(f"--chrono: a row has {steps} steps, expected at least {SHORTEST_CHRONO}")


def _check_drawing() -> None:
    """Say which extra is missing before anything long begins."""
    from throughtime.inspect import drawing, page  # noqa: F401


def _runs(plan: Plan, *, quiet: bool) -> Iterator[ProbeRun]:
    """All runs, the models of one seed beside each other: what is finished can be compared."""
    for seed in range(plan.seeds):
        for length in plan.lengths:
            for model in plan.models:
                yield _run(plan, model, length, seed, quiet=quiet)


def _run(plan: Plan, model: str, length: int, seed: int, *, quiet: bool) -> ProbeRun:
    config = TrainingConfig(
        learning_rate=plan.rate_of(model), batch_size=BATCH, max_steps=plan.updates,
        validate_every=min(100, plan.updates), truncation="full",
    )  # fmt: skip
    with progress_bar(_label(plan, model.upper(), length, seed), quiet=quiet) as progress:
        return run_probe(
            probe_named(f"{plan.name}:{length}"), model, plan.hidden, config,
            name=model.upper(), seed=seed, progress=progress,
            chrono=plan.steps(length) if plan.chrono and model != "rnn" else None,
            **good_enough(plan.probe(length)),
        )  # fmt: skip


def _label(plan: Plan, model: str, length: int, seed: int) -> str:
    which = f", seed {seed + 1} of {plan.seeds}" if plan.seeds > 1 else ""
    return f"{model} on {plan.name}:{length}{which}"


def _told(plan: Plan, run: ProbeRun) -> str:
    """How a run ended."""
    length = next(length for length in plan.lengths if plan.steps(length) == run.time)
    solved = judged(plan.probe(length), [run]).solves(run)
    diverged = ", diverged" if run.stopped == "diverged" else ""
    return (
        f"{_label(plan, run.model, length, run.seed)}: {'solved' if solved else 'not solved'} "
        f"after {run.updates:,} updates{diverged}, {100 * run.success:.1f} % of rows right, "
        f"{run.seconds:.0f} s"
    )


def _tell(
    plan: Plan,
    runs: Sequence[ProbeRun],
    seconds: float,
    out: Path | None,
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    """Show, say and keep what was found."""
    lengths = [length for length in plan.lengths if plan.steps(length) in {r.time for r in runs}]
    found = judged(plan.probe(lengths[-1]), runs)
    results = plain({
        "settings": plan.settings(),
        "seconds": seconds,
        "interrupted": len(runs) < plan.count,
        "solved": _solved(plan, found),
        "summary": found.explain(),
        "found": json.loads(found.to_json()),
    })  # fmt: skip
    if as_json:
        print(json.dumps(results))
    else:
        for length in lengths:
            show_table(probe_table(plan, found, length))
        for sentence in results["summary"]:
            print(sentence)
    if out is not None:
        page = _write(out, plan, found, results, seconds)
        say(f"page: {page}", quiet=quiet)


def _solved(plan: Plan, found: LongDependencies) -> list[dict[str, Any]]:
    """How many seeds of each model solve each length, and of how many."""
    rows = []
    for length in plan.lengths:
        for model in found.models:
            solved, seeds = found.solved(model, plan.steps(length))
            if seeds:
                rows.append({"model": model, "length": length, "solved": solved, "seeds": seeds})
    return rows


def _write(
    out: Path, plan: Plan, found: LongDependencies, results: dict[str, Any], seconds: float
) -> Path:
    """`report.html`, its figures as PNG in `figures/`, and `results.json`."""
    from throughtime.inspect.page import make_page

    page = make_page(probe_page(plan, found, seconds), out / "figures")
    write_atomically(out / "report.html", page.html.encode())
    write_atomically(out / "results.json", json.dumps(results, indent=1).encode())
    return out / "report.html"
