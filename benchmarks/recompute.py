"""What `recompute=True` saves and costs: `python -m benchmarks.recompute`.

A training step of one layer over long times, each case in a process of its own, so that its peak is
its own: the most memory held beyond what was held before the first step.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import torch

from benchmarks import record
from throughtime.commands.peers import LAYERS, training


def peak():
    """The most memory held so far, MiB."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes / (1024 if sys.platform != "darwin" else 1024**2)


def one(kind, steps, given, *, recompute):
    """A row: milliseconds of a training step and its peak memory."""
    torch.manual_seed(0)
    layer = LAYERS[kind](given.input, given.hidden, recompute=recompute)
    short, x = (
        torch.randn(given.batch, 8, given.input),
        torch.randn(given.batch, steps, given.input),
    )
    training(layer, lambda: layer(short)[0])()  # what is loaded at first use
    before, took = peak(), []
    run = training(layer, lambda: layer(x)[0])
    for _ in range(given.rounds + 1):
        started = time.perf_counter()
        run()
        took.append(time.perf_counter() - started)
    return {
        "layer": kind, "steps": steps, "recompute": recompute, "peak": peak() - before,
        "seconds": statistics.median(took[1:]),
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description="What recompute=True saves and costs.")
    parser.add_argument("--layers", nargs="+", default=["lstm", "gru"], choices=["lstm", "gru"])
    parser.add_argument("--steps", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--input", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    record.add_options(parser)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    if given.case:
        kind, steps, recompute = given.case.split(":")
        print(json.dumps(one(kind, int(steps), given, recompute=recompute == "True")))
        return
    arguments = {k: v for k, v in vars(given).items() if k not in ("save", "case")}
    found = {"machine": record.versions(), "arguments": arguments, "rows": []}
    print(record.headline(found["machine"]), "\n")
    for kind in given.layers:
        for steps in given.steps:
            for recompute in (False, True):
                command = [sys.executable, "-m", "benchmarks.recompute", *sys.argv[1:]]
                command += ["--case", f"{kind}:{steps}:{recompute}"]
                row = json.loads(subprocess.check_output(command, text=True))
                found["rows"].append(row)
                print(f"{kind:5} {steps:6} steps, recompute={recompute!s:5}  "
                      f"{row['peak']:7.0f} MiB  {record.milliseconds(row['seconds'])} ms",
                      flush=True)  # fmt: skip
    if given.save:
        record.save(given.save, "recompute", report(found), found, {})


def lines(found):
    """Header and a row per case, with and without beside each other."""
    header = ["layer", "steps", "kept, MiB", "recomputed, MiB", "kept, ms", "recomputed, ms"]
    rows = []
    for kept, again in zip(found["rows"][::2], found["rows"][1::2], strict=True):
        rows.append([kept["layer"], f"{kept['steps']:,}",
                     *(record.Number(f"{row['peak']:.0f}") for row in (kept, again)),
                     *(record.milliseconds(row["seconds"]) for row in (kept, again))])  # fmt: skip
    return header, rows


def report(found):
    """The Markdown page."""
    given = found["arguments"]
    return "\n".join([
        "# Gates computed again\n",
        f"{record.headline(found['machine'])}.\n",
        f"A training step, batch {given['batch']}, {given['input']} features, "
        f"{given['hidden']} units; "
        "peak memory beyond what was held before it, and its median time.\n",
        record.table(*lines(found)),
    ])  # fmt: skip


if __name__ == "__main__":
    main()
