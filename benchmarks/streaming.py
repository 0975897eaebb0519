"""One step at a time, batch 1, through the public layer: `python -m benchmarks.streaming`.

Every call is timed by itself, in blocks of one contestant after the other's. What reading the clock
takes is measured likewise, shown, and not taken off.
"""

import argparse
import importlib
import math

import torch

from benchmarks import record
from benchmarks.charts import streaming_figure
from throughtime.commands.clocks import in_turn
from throughtime.commands.peers import LAYERS, installed, streaming

BLOCK = 500
CLOCK = "the clock alone"


def measure(kind, features, hidden, given):
    """A row for each way to take a step."""
    runs = streaming(kind, features, hidden) | {CLOCK: lambda: None}
    with torch.inference_mode():
        rounds = math.ceil(given.steps / BLOCK)
        found = in_turn(runs, seconds=0.0, least=rounds, block=BLOCK)
    for name, times in found.items():
        yield {
            "layer": kind,
            "hidden": hidden,
            "input": features,
            "name": name,
            "steps": len(times.seconds),
            "median": 1e6 * times.median,
            "p99": 1e6 * times.quantile(0.99),
        }


def peers():
    """Versions of what is beside ours besides torch, or that it is not there."""
    return {
        name: importlib.import_module(name).__version__ if installed(name) else "not installed"
        for name in ("onnx", "onnxruntime")
    }


def report(found):
    """The Markdown page."""
    rows, machine = found["rows"], found["machine"]
    parts = [
        "# One step at a time\n",
        f"{record.headline(machine)}; ONNX Runtime {machine['onnxruntime']}.\n",
        f"Batch 1, inference mode, the state kept; {rows[0]['steps']:,} steps each, microseconds. "
        "ONNX Runtime runs one node on one thread, called with arrays, or with memory bound "
        "beforehand.\n",
    ]
    for size in dict.fromkeys((row["hidden"], row["input"]) for row in rows):
        shown = [row for row in rows if (row["hidden"], row["input"]) == size]
        lines = [
            (row["layer"], row["name"], record.short(row["median"]), record.short(row["p99"]))
            for row in shown
        ]
        parts += [
            f"## {size[0]} units, {size[1]} features\n",
            record.table(["layer", "through", "median", "99th percentile"], lines),
        ]
    return "\n".join(parts)


def main():
    parser = argparse.ArgumentParser(description="One step at a time, beside other ways.")
    parser.add_argument("--layers", nargs="+", default=[*LAYERS], choices=[*LAYERS])
    parser.add_argument("--hidden", type=int, nargs="+", default=[128])
    parser.add_argument("--input", type=int, nargs="+", default=[128, 64])
    parser.add_argument("--steps", type=int, default=20_000, help="of each, at least")
    record.add_options(parser)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    found = {
        "machine": record.versions(**peers()),
        "arguments": {k: v for k, v in vars(given).items() if k != "save"},
        "rows": [],
    }
    print(record.headline(found["machine"]))
    print(f"ONNX Runtime: {found['machine']['onnxruntime']}\n")
    print("layer  units features  through                     median     p99, microseconds")
    for hidden in given.hidden:
        for features in given.input:
            for kind in given.layers:
                for row in measure(kind, features, hidden, given):
                    found["rows"].append(row)
                    print(f"{kind:5} {hidden:6} {features:8}  {row['name']:25} "
                          f"{row['median']:8.2f}{row['p99']:8.2f}", flush=True)  # fmt: skip
    if given.save:
        shown = [row for row in found["rows"] if row["name"] != CLOCK]
        record.save(given.save, "streaming", report(found), found,
                    {"streaming": streaming_figure(shown)})  # fmt: skip


if __name__ == "__main__":
    main()
