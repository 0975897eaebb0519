"""Recurrent layers beside torch.nn's, in one process: `python -m benchmarks.recurrent`.

Each case is timed in turn, ours and theirs one after the other in every round, so that a machine
that slows down slows both. The floor is the arithmetic of the matrix products at the best rate that
torch reaches here with one large product, measured in the same run.
"""

import argparse
import contextlib
import os
import subprocess
import sys
from itertools import product

import torch

from benchmarks import record, scan
from benchmarks.charts import speed_figure
from throughtime.commands.clocks import geometric_mean, has_onednn, in_turn, matrix_rates
from throughtime.commands.peers import LAYERS, OURS, THEIRS, forward, operations, pair, training

PASSES = ("training", "inference")
HALF = "torch.nn, bfloat16"
SPIN = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(100_000))"


def measure(kind, hidden, batch, dtype, given):
    """Rows of one case: the training step and the forward pass."""
    autocast = dtype == torch.bfloat16
    ours, theirs = pair(kind, given.input, hidden, torch.float32 if autocast else dtype)
    x = torch.randn(batch, given.time, given.input, dtype=ours.bias.dtype)
    x.requires_grad_(given.input_gradient)
    passes = {OURS: (ours, dtype if autocast else None), THEIRS: (theirs, None)}
    if autocast:
        passes[HALF] = (theirs, dtype)
    jax = scan.runs(kind, ours, x) if given.jax and dtype == torch.float32 else None
    for what in PASSES:
        runs = {name: forward(layer, x, half) for name, (layer, half) in passes.items()}
        if what == "training":
            wants = x if given.input_gradient else None
            runs = {name: training(passes[name][0], run, wants) for name, run in runs.items()}
        if jax:
            runs[scan.NAME] = jax[what]
        with torch.inference_mode() if what == "inference" else contextlib.nullcontext():
            found = in_turn(runs, seconds=given.seconds)
        work = operations(
            kind, given.input, hidden, batch * given.time,
            training=what == "training", of_input=given.input_gradient,
        )  # fmt: skip
        yield {
            "dtype": str(dtype).removeprefix("torch."), "pass": what, "layer": kind,
            "hidden": hidden, "batch": batch, "operations": work,
            "seconds": (took := {name: typical(one, given) for name, one in found.items()}),
            "quartiles": {n: [t.quantile(0.25), t.quantile(0.75)] for n, t in found.items()},
            "rounds": len(found[OURS].seconds),
            "times": took[THEIRS] / took[OURS],
            **({"error": error(passes, x)} if autocast and what == "training" else {}),
        }  # fmt: skip


def typical(times, given):
    """The median; beside a process that takes its share of the cores, the mean.

    There single calls either run through or wait, and the median is one or the other by chance.
    """
    return times.mean if given.busy else times.median


def error(passes, x):
    """Gradients of the weights in bfloat16: their distance from float32's, relative to its norm."""

    def gradient(layer, half):
        training(layer, forward(layer, x, half))()
        return next(layer.parameters()).grad.clone()

    exact = gradient(*passes[THEIRS])
    wide = {name: gradient(*one) for name, one in passes.items() if one[1] is not None}
    return {name: float((one - exact).norm() / exact.norm()) for name, one in wide.items()}


def torch_product_beside_ours(seconds):
    """Milliseconds of a product of torch's alone, and right after a layer of ours or of theirs.

    Were there a second pool of threads that spins on after its work is done, the product after ours
    would be slower.
    """
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    ours, theirs = pair("gru", 64, 64)
    x = torch.randn(32, 100, 64)
    alone = {"mm": lambda: torch.mm(a, b)}
    found = {"before ours ran": in_turn(alone, seconds=seconds)["mm"]}
    for name, layer in ((THEIRS, theirs), (OURS, ours)):
        both = {"layer": training(layer, forward(layer, x)), **alone}
        found[f"right after each training step of {name}"] = in_turn(both, seconds=seconds)["mm"]
    found["after ours ran"] = in_turn(alone, seconds=seconds)["mm"]
    return {name: 1e3 * times.median for name, times in found.items()}


@contextlib.contextmanager
def one_core_busy():
    """Another process that computes all the time; it ends with this one at the latest."""
    process = subprocess.Popen([sys.executable, "-c", SPIN], env={**os.environ, "PYTHONPATH": ""})
    try:
        yield
    finally:
        process.kill()
        process.wait()


def means(rows):
    """Geometric means over the grid, by type, pass and layer."""
    cases = dict.fromkeys((row["dtype"], row["pass"], row["layer"]) for row in rows)
    return [
        {
            "dtype": dtype, "pass": what, "layer": kind,
            "times": geometric_mean([row["times"] for row in of(rows, dtype, what, kind)]),
        }
        for dtype, what, kind in cases
    ]  # fmt: skip


def of(rows, dtype, what, kind=None):
    """The rows of one type and pass, and of one layer."""
    wanted = ((row["dtype"], row["pass"]) == (dtype, what) for row in rows)
    return [r for r, yes in zip(rows, wanted, strict=True) if yes and kind in (None, r["layer"])]


def slow(rows, busy):
    """Cases behind torch.nn: by any amount, or for the forward pass alone by a tenth."""
    limit = {"training": 1.0, "inference": 1.0 if busy else 0.9}
    return [row for row in rows if row["times"] < limit[row["pass"]]]


def line(row):
    """A case in a line of the terminal."""
    took = "  ".join(f"{name} {record.milliseconds(s):>6} ms" for name, s in row["seconds"].items())
    wrong = "".join(f"  {name} off by {e:.1e}" for name, e in row.get("error", {}).items())
    return (
        f"{row['dtype']:8} {row['pass']:9} {row['layer']:4} H={row['hidden']:<4} "
        f"B={row['batch']:<4} {took}  {record.times(row['times']):>6}  "
        f"{record.percent(row['share']):>5} of peak{wrong}"
    )


def report(found):
    """The Markdown page."""
    rows, given = found["rows"], found["arguments"]
    load = ", one core kept busy by another process" if given["busy"] else ""
    parts = [
        "# Recurrent layers beside torch.nn\n",
        f"{record.headline(found['machine'])}{load}.\n",
        f"T = {given['time']}, input {given['input']}; {'means' if given['busy'] else 'medians'} "
        "of at least 5 rounds in turn. "
        "Training is forward and backward of the sum of the outputs"
        f"{' with the gradient of the input' if given['input_gradient'] else ''}. Floor: the "
        "matrix products at the peak. JAX: " + found["machine"]["jax"] + ".\n",
        "## Peak\n\nThe best rate of each product; the highest of a type is its peak.\n",
        record.table(
            ["type", "product", "GFLOP/s"],
            [
                (dtype, name, record.Number(f"{rate / 1e9:.0f}"))
                for dtype, rates in found["peaks"].items()
                for name, rate in rates.items()
            ],
        ),
        "## Times faster than torch.nn, geometric mean\n",
        record.table(
            ["type", "pass", "layer", "times"],
            [(*[m[k] for k in ("dtype", "pass", "layer")], record.times(m["times"]))
             for m in found["means"]],
        ),
    ]  # fmt: skip
    for dtype, what in dict.fromkeys((row["dtype"], row["pass"]) for row in rows):
        parts += [f"## {dtype}, {what}\n", full_table(of(rows, dtype, what))]
    behind = [f"- {line(row)}" for row in found["slow"]]
    parts += ["## Behind torch.nn\n", "\n".join(behind or ["No case."]) + "\n"]
    parts += [
        "## A product of torch's in the same process\n\n1024 x 1024 x 1024, milliseconds.\n",
        record.table(
            ["when", "ms"], [(n, record.short(ms)) for n, ms in found["torch.mm"].items()]
        ),
    ]
    return "\n".join(parts)


def full_table(rows):
    """Every case of a type and pass."""
    names = list(rows[0]["seconds"])
    wrong = list(rows[0].get("error", {}))
    header = ["layer", "H", "B", *(f"{name}, ms" for name in names), "times", "floor, ms",
              "of peak", *(f"gradient off, {name}" for name in wrong)]  # fmt: skip
    return record.table(header, [
        (row["layer"], row["hidden"], row["batch"],
         *(record.milliseconds(row["seconds"][name]) for name in names),
         record.times(row["times"]), record.milliseconds(row["floor"]),
         record.percent(row["share"]), *(record.Number(f"{e:.1e}") for e in
         row.get("error", {}).values()))
        for row in rows
    ])  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description="Recurrent layers beside torch.nn's.")
    parser.add_argument("--layers", nargs="+", default=[*LAYERS], choices=[*LAYERS])
    parser.add_argument("--hidden", type=int, nargs="+", default=[32, 64, 128, 256, 512])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--time", type=int, default=100)
    parser.add_argument("--input", type=int, default=64)
    parser.add_argument("--dtypes", nargs="+", default=["float32"],
                        choices=["float32", "float64", "bfloat16"])  # fmt: skip
    parser.add_argument("--input-gradient", action="store_true", help="also that of the input")
    parser.add_argument("--seconds", type=float, default=1.0, help="per case and pass")
    parser.add_argument("--no-jax", dest="jax", action="store_false")
    parser.add_argument("--busy", action="store_true", help="beside a process that spins")
    record.add_options(parser)
    given = parser.parse_args()
    if "bfloat16" in given.dtypes and not has_onednn(torch.bfloat16):
        parser.error("--dtypes bfloat16: torch.nn's LSTM cannot compute it on this processor")
    if given.threads:
        torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    found = {
        "machine": record.versions(jax=scan.version() if given.jax else "not asked for"),
        "arguments": {k: v for k, v in vars(given).items() if k != "save"},
        "torch.mm": torch_product_beside_ours(given.seconds),
        "peaks": {name: matrix_rates(getattr(torch, name)) for name in given.dtypes},
    }
    print(record.headline(found["machine"]), "\n")
    for dtype, rates in found["peaks"].items():
        for name, rate in rates.items():
            print(f"{dtype:8} {name:28} {rate / 1e9:6.0f} GFLOP/s")
    for name, ms in found["torch.mm"].items():
        print(f"torch.mm 1024 {name}: {ms:.2f} ms")
    print()
    rows = found["rows"] = []
    cases = product(given.dtypes, given.layers, given.hidden, given.batch)
    with one_core_busy() if given.busy else contextlib.nullcontext():
        for name, kind, hidden, batch in cases:
            peak = max(found["peaks"][name].values())
            for row in measure(kind, hidden, batch, getattr(torch, name), given):
                row["floor"] = row["operations"] / peak
                row["share"] = row["floor"] / row["seconds"][OURS]
                rows.append(row)
                print(line(row), flush=True)
    found["means"], found["slow"] = means(rows), slow(rows, given.busy)
    print("\ntimes faster than torch.nn, geometric mean")
    for mean in found["means"]:
        print(f"{mean['dtype']:8} {mean['pass']:9} {mean['layer']:4} {record.times(mean['times'])}")
    print("\nbehind torch.nn:" if found["slow"] else "\nno case is behind torch.nn")
    for row in found["slow"]:
        print(line(row))
    if given.save:
        name = "recurrent-busy" if given.busy else "recurrent"
        figures = {
            f"{name}-{dtype}": speed_figure(rows, dtype, busy=given.busy) for dtype in given.dtypes
        }
        record.save(given.save, name, report(found), found, figures)


if __name__ == "__main__":
    main()
