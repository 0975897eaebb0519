"""The adding problem by its length: what an RNN, an LSTM and a GRU solve, and why.

`python -m benchmarks.long_dependencies --save`. Two of T numbers are marked, one in either half of
a row, and their sum is due after the last step. One cell of the same hidden size each; fresh rows
in every batch, Adam, gradients clipped, the same budget of updates. The learning rate of each model
is the best of a few at T = 50, tried with a seed that does not count. Training ends early once the
error on validation rows is a tenth of the mark.

The RNN (tanh) starts with an orthogonal matrix; LSTM and GRU start with gates open for about T
steps (chrono). How they fare with the usual start, a forget bias of 1 and no bias, is shown beside.

What is finished lies in `--runs` as JSON and is not run again; all models and lengths of one seed
come before the next seed, and `--finished` reports what is there.
"""

import argparse
import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
from matplotlib.figure import Figure

from benchmarks.record import Number, add_options, headline, save, table, versions
from throughtime.data.probes import adding_baseline
from throughtime.inspect.drawing import style
from throughtime.inspect.long_dependencies import WHEN, LongDependencies, ProbeRun
from throughtime.inspect.long_dependency_figures import draw_long_dependencies
from throughtime.inspect.memory import TOLERANCE
from throughtime.inspect.theme import colours
from throughtime.models.sizing import parameters
from throughtime.recipes.probes import TEST, probe_model, probe_named, run_probe
from throughtime.training.config import TrainingConfig


class Case(NamedTuple):
    """A cell, and whether its gates are told how long dependencies are."""

    kind: str
    chrono: bool = False


MODELS = {
    "RNN": Case("rnn"),
    "LSTM": Case("lstm", chrono=True),
    "GRU": Case("gru", chrono=True),
    "LSTM (usual start)": Case("lstm"),
    "GRU (usual start)": Case("gru"),
}
MAIN, USUAL = ("RNN", "LSTM", "GRU"), ("RNN", "LSTM (usual start)", "GRU (usual start)")
MARK = 0.01
"""A squared error below it is a solved probe."""
SEARCH_SEED, SEARCH_LENGTH = 100, 50


def file_of(model, time, seed, rate, updates, options):
    """Where a run is kept: its name says all that decides over it."""
    name = re.sub("[^a-z]+", "-", model.lower()).strip("-")
    numbers = f"{time}-{seed}-{rate:g}-{updates}-{options.hidden}"
    return options.runs / f"{name}-{numbers}.json"


def one(model, time, seed, rate, updates, options):
    """A run, from its file if it was made before; None if it was not and none are to be made."""
    path = file_of(model, time, seed, rate, updates, options)
    if path.exists():
        return replace(ProbeRun.from_dict(json.loads(path.read_text())), model=model)
    if options.finished:
        return None
    kind, chrono = MODELS[model]
    config = TrainingConfig(
        learning_rate=rate, batch_size=options.batch, max_steps=updates,
        validate_every=min(100, updates), truncation="full", clip=1.0,
    )  # fmt: skip
    run = run_probe(
        probe_named(f"adding:{time}"), kind, options.hidden, config,
        name=model, seed=seed, chrono=time if chrono else None, enough=MARK / 10,
    )  # fmt: skip
    options.runs.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(asdict(run)))
    part.replace(path)
    told = f"error {run.error:.4f}, {run.updates} updates, {run.stopped}, {run.seconds:.0f} s"
    print(f"{path.stem}: {told}", flush=True)
    return run


def best_rate(model, options):
    """Of those that were tried: solved before unsolved, then the sooner, or the nearer."""
    known = SEARCH_LENGTH, SEARCH_SEED
    made = [one(model, *known, rate, options.updates, options) for rate in options.rates]
    tried = [run for run in made if run is not None]
    if len(tried) < len(made):
        return None
    solved = [run for run in tried if run.error < MARK]
    if solved:
        return min(solved, key=lambda run: (run.updates, run.error)).rate
    return min(tried, key=lambda run: run.error).rate


def seed_by_seed(options):
    """All runs so far, after each seed of each group of models."""
    runs, rates = [], {}
    for group in (MAIN, [name for name in USUAL if name not in MAIN]):
        chosen = [name for name in group if name in options.models]
        for seed in range(options.seeds if chosen else 0):
            for model in chosen:
                if model not in rates:
                    rates[model] = best_rate(model, options)
                if rates[model] is not None:
                    made = (
                        one(model, time, seed, rates[model], options.updates, options)
                        for time in options.lengths
                    )
                    runs += [run for run in made if run is not None]
            yield runs


def lines(found):
    """A row per model and length."""
    head = ["model", "T", "learning rate", "seeds solved", "error", "rows right, %", "updates"]
    head += ["gradient at T/2, before", "after"]
    rows = []
    for model in found.models:
        for time in found.lengths:
            runs = found.of(model, time)
            if not runs:
                continue
            solved, of = found.solved(model, time)
            left = [found.left(model, time, when)[1] for when in WHEN]
            rows.append(
                [
                    model,
                    time,
                    Number(f"{runs[0].rate:g}"),
                    Number(f"{solved} of {of}"),
                    spread([run.error for run in runs], "{:.4f}"),
                    spread([100 * run.success for run in runs], "{:.1f}"),
                    spread([run.updates for run in runs], "{:,.0f}"),
                    *(Number(f"{share:.1e}" if share else "0") for share in left),
                ]
            )
    return head, rows


def spread(values, form):
    """The median, and the least and the greatest of several seeds."""
    least, middle, most = (form.format(of(values)) for of in (min, median, max))
    return Number(least if least == most else f"{middle} ({least} to {most})")


def guessed(time):
    """The share of test rows that 1, always answered, meets."""
    probe = probe_named(f"adding:{time}")(1000, TEST)
    return float((abs(probe.targets - 1) < TOLERANCE).mean())


def rounded(run):
    """Norms to four digits, as they are kept."""
    norms = {when: tuple(float(f"{norm:.4g}") for norm in getattr(run, when)) for when in WHEN}
    return replace(run, **norms)


def write(options, runs):
    order = [name for name in MODELS if any(run.model == name for run in runs)]
    runs = map(rounded, runs)
    guess = sum(map(guessed, options.lengths)) / len(options.lengths)
    found = LongDependencies("adding", tuple(runs), adding_baseline(), guess, MARK).only(order)
    machine = versions()
    probe = probe_named("adding:2")(1, 0)
    sizes = {
        name: parameters(probe_model(probe, MODELS[name].kind, options.hidden)) for name in MAIN
    }
    counts = ", ".join(f"{name} {count:,}" for name, count in sizes.items())
    header = (
        f"{headline(machine)}; {options.hidden} hidden units ({counts} parameters), batches of "
        f"{options.batch} fresh rows, at most {options.updates:,} updates by Adam, gradients "
        f"clipped at 1, learning rate the best of {', '.join(map(str, options.rates))} at "
        f"T = {SEARCH_LENGTH} with another seed"
    )
    said = "\n".join(f"- {sentence}" for sentence in found.explain())
    text = f"{header}\n\n{table(*lines(found))}\n{said}\n"
    if options.save:
        names = ("hidden", "batch", "updates", "rates", "lengths", "seeds")
        settings = {name: getattr(options, name) for name in names}
        kept = {"machine": machine, "settings": settings, "parameters": sizes}
        kept |= {"found": json.loads(found.to_json())}
        save(options.save, "long-dependencies", text, kept, pictures(found))
    return text


def pictures(found):
    """The three kinds of cells; and the same where gates have the usual start."""
    figures = {}
    for name, models in (("long-dependencies", MAIN), ("long-dependencies-usual", USUAL)):
        if set(models) <= set(found.models):
            with style():
                figure = Figure(figsize=(11.4, 3.5), layout="constrained")
                axes = figure.subplots(1, 3, width_ratios=(1.2, 1, 1))
            draw_long_dependencies(axes, found.only(models), palette=colours(found.models))
            figures[name] = figure
    return figures


def numbers(kind):
    return lambda text: [kind(part) for part in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description="The adding problem by its length.")
    parser.add_argument("--models", default=";".join(MODELS), help="with ; between them")
    parser.add_argument("--lengths", type=numbers(int), default=[25, 50, 100, 200, 400])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--hidden", type=int, default=32, help="units of each cell")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--updates", type=int, default=2000, help="of the weights, at most")
    parser.add_argument("--rates", type=numbers(float), default=[1e-3, 3e-3, 1e-2])
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of finished runs")
    parser.add_argument("--finished", action="store_true", help="run nothing: report what is there")
    add_options(parser)
    options = parser.parse_args()
    options.models = options.models.split(";")
    if options.threads:
        torch.set_num_threads(options.threads)
    runs = []
    for runs in seed_by_seed(options):
        if options.save and runs and not options.finished:
            write(options, runs)  # each time: the rest may take long
    print(write(options, runs) if runs else "nothing is finished")


if __name__ == "__main__":
    main()
