"""torch.nn's recurrent modules and ours in the same places: `python -m benchmarks.drop_in`.

`throughtime.torch_nn` has torch.nn's signatures, so each case is one piece of code run with both:
layers, packed sequences, cells, and the examples `examples/drop_in_*.py` before and after their
import is changed. `--resemblyzer` takes the speaker encoder of the package resemblyzer, an LSTM of
three layers with the weights that come with it, before and after `throughtime.accelerate`; for that
`pip install --no-deps resemblyzer` is enough.
"""

import argparse
import contextlib
import copy
import importlib.util
import runpy
import time
from itertools import product
from pathlib import Path

import torch
from torch.nn.utils.rnn import pack_padded_sequence

from benchmarks import record
from throughtime import torch_nn
from throughtime.accelerating import accelerate
from throughtime.commands.clocks import geometric_mean, in_turn
from throughtime.commands.peers import CELLS, NN, OURS, THEIRS, training

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("drop_in_*.py"))
PASSES = ("training", "inference")
PARTS = ("layers", "packed", "cells", "examples")


def both(theirs):
    """A module of torch.nn and ours on weights of its own, but the same."""
    ours = getattr(torch_nn, type(theirs).__name__).from_torch(copy.deepcopy(theirs))
    return {OURS: ours, THEIRS: theirs}


def timed(part, name, what, runs, seconds):
    """A row: the median of each, in turn."""
    inference = what == "inference"
    with torch.inference_mode() if inference else contextlib.nullcontext():
        found = in_turn(runs, seconds=seconds)
    took = {name: times.median for name, times in found.items()}
    return {
        "part": part, "name": name, "pass": what, "seconds": took,
        "quartiles": {n: [t.quantile(0.25), t.quantile(0.75)] for n, t in found.items()},
        "rounds": len(found[OURS].seconds), "times": took[THEIRS] / took[OURS],
    }  # fmt: skip


def passes(modules, output, what):
    """The pass of each module, by name."""
    runs = {name: lambda m=module: output(m) for name, module in modules.items()}
    if what == "training":
        runs = {name: training(modules[name], run) for name, run in runs.items()}
    return runs


def layers(given):
    """Whole sequences, time first, as torch.nn has it unless told otherwise."""
    for kind, hidden, what in product(NN, given.hidden, PASSES):
        modules = both(NN[kind](given.input, hidden))
        x = torch.randn(given.time, given.batch, given.input)
        runs = passes(modules, lambda m, x=x: m(x)[0], what)
        yield timed("layers", f"{kind} H={hidden}", what, runs, given.seconds)
    for what in PASSES:  # one that people build: two layers, both directions
        modules = both(NN["lstm"](given.input, 128, 2, bidirectional=True))
        x = torch.randn(given.time, given.batch, given.input)
        runs = passes(modules, lambda m, x=x: m(x)[0], what)
        yield timed("layers", "lstm H=128, 2 layers, both directions", what, runs, given.seconds)


def packed(given):
    """A PackedSequence in and out; lengths from a quarter of the longest to the longest."""
    time = 3 * given.time
    lengths = torch.randint(time // 4, time + 1, (given.batch,))
    x = pack_padded_sequence(
        torch.randn(given.batch, time, given.input), lengths, batch_first=True, enforce_sorted=False
    )
    for kind, what in product(NN, PASSES):
        runs = passes(both(NN[kind](given.input, 64)), lambda m: m(x)[0].data, what)
        yield timed("packed", f"{kind} H=64", what, runs, given.seconds)


def cells(given):
    """A step of a cell: of one row without gradients, and a training step of 20 steps in a loop."""
    for kind, hidden in product(CELLS, given.hidden):
        modules = both(CELLS[kind](given.input, hidden))
        x, many = torch.randn(1, given.input), torch.randn(20, given.batch, given.input)

        def loop(cell, many=many, kind=kind):
            state, total = None, 0.0
            for step in many:
                state = cell(step, state)
                total = total + (state[0] if kind == "lstm" else state).sum()
            return total

        state = {name: module(x) for name, module in modules.items()}
        step = {n: lambda n=n, m=m, s=state, x=x: m(x, s[n]) for n, m in modules.items()}
        name = f"{kind} H={hidden}"
        yield timed("cells", f"{name}, a row", "inference", step, given.seconds / 2)
        yield timed("cells", name, "training", passes(modules, loop, "training"), given.seconds / 2)


def examples(given):
    """The training loops of the examples, each a few times with each import, in turn."""
    for path in EXAMPLES:
        code = runpy.run_path(str(path))
        data, taken, losses = code["batches"](0), {OURS: [], THEIRS: []}, {}
        for _ in range(given.repeats + 1):  # the first warms up
            for name, nn in ((OURS, torch_nn), (THEIRS, torch.nn)):
                torch.manual_seed(0)
                model = code["build"](nn)
                start = time.perf_counter()
                losses[name] = code["train"](model, data)
                taken[name].append(time.perf_counter() - start)
        took = {name: sorted(times[1:])[(given.repeats - 1) // 2] for name, times in taken.items()}
        apart = [abs(a - b) for a, b in zip(losses[OURS], losses[THEIRS], strict=True)]
        yield {
            "part": "examples", "name": path.stem, "pass": "training", "seconds": took,
            "rounds": given.repeats, "times": took[THEIRS] / took[OURS],
            "apart": max(apart), "last": losses[OURS][-1],
        }  # fmt: skip


class SpeakerEncoder(torch.nn.Module):
    """Resemblyzer's voice encoder, with its own weights: spectra to an embedding of the voice."""

    def __init__(self, weights):
        super().__init__()
        self.lstm = torch.nn.LSTM(40, 256, 3, batch_first=True)
        self.linear = torch.nn.Linear(256, 256)
        state = torch.load(weights, map_location="cpu", weights_only=True)["model_state"]
        self.load_state_dict(state, strict=False)

    def forward(self, mels):
        _, (hidden, _) = self.lstm(mels)
        return torch.nn.functional.normalize(self.linear(hidden[-1]).relu(), dim=1)


def resemblyzer():
    """The folder of the package, None where it is not installed; its dependencies need not be."""
    found = importlib.util.find_spec("resemblyzer")
    return None if found is None or found.origin is None else Path(found.origin).parent


def speaker_encoder(given):
    """Resemblyzer's encoder on utterances of 1.6 seconds, before and after `accelerate`."""
    folder = resemblyzer()
    assert folder is not None
    before = SpeakerEncoder(folder / "pretrained.pt").eval()
    after = copy.deepcopy(before)
    print(accelerate(after))
    mels = torch.rand(given.batch, 160, 40)
    with torch.inference_mode():
        apart = float((after(mels) - before(mels)).abs().max())
    modules = {OURS: after, THEIRS: before}
    for (name, x), what in product(
        ((f"{given.batch} utterances", mels), ("1 utterance", mels[:1])), PASSES
    ):
        runs = passes(modules, lambda m, x=x: m(x), what)
        yield timed("resemblyzer", name, what, runs, given.seconds) | {"apart": apart}


def line(row):
    """A case in a line of the terminal."""
    took = "  ".join(f"{n} {record.milliseconds(s):>6} ms" for n, s in row["seconds"].items())
    apart = f"  differ by {row['apart']:.1e}" if "apart" in row else ""
    return f"{row['name']:40} {row['pass']:9} {took}  {record.times(row['times']):>6}{apart}"


def lines(found, part):
    """Header and rows of a part; no rows where it was not measured."""
    shown = [row for row in found["rows"] if row["part"] == part]
    apart = bool(shown) and "apart" in shown[0]
    header = ["case", "pass", f"{THEIRS}, ms", "torch_nn, ms", "times"]
    rows = [
        [row["name"], row["pass"], record.milliseconds(row["seconds"][THEIRS]),
         record.milliseconds(row["seconds"][OURS]), record.times(row["times"]),
         *([record.Number(f"{row['apart']:.1e}")] if apart else [])]
        for row in shown
    ]  # fmt: skip
    return [*header, *["differ by"] * apart], rows


def report(found):
    """The Markdown page."""
    given = found["arguments"]
    titles = {
        "layers": f"Layers, {given['time']} steps, batch {given['batch']}, time first",
        "packed": f"Packed sequences of {3 * given['time'] // 4} to {3 * given['time']} steps",
        "cells": f"Cells: one step of one row, and training on 20 steps of batch {given['batch']}",
        "examples": "The examples, before and after the import is changed",
        "resemblyzer": "Resemblyzer's speaker encoder, before and after `throughtime.accelerate`",
    }
    parts = [
        "# In the place of torch.nn\n",
        f"{record.headline(found['machine'])}.\n",
        f"Input {given['input']}; medians of rounds in turn, milliseconds. Training is forward and "
        "backward; of the examples it is their whole training loop.\n",
    ]
    for part, title in titles.items():
        header, rows = lines(found, part)
        if rows:
            parts += [f"## {title}\n", record.table(header, rows)]
    return "\n".join(parts)


def main():
    parser = argparse.ArgumentParser(description="torch.nn's recurrent modules beside ours.")
    parser.add_argument("--parts", nargs="*", default=[*PARTS], choices=[*PARTS])
    parser.add_argument("--hidden", type=int, nargs="+", default=[32, 64, 128, 256, 512])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--time", type=int, default=100)
    parser.add_argument("--input", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=1.0, help="per case")
    parser.add_argument("--repeats", type=int, default=5, help="of each example")
    parser.add_argument("--resemblyzer", action="store_true", help="its speaker encoder, too")
    record.add_options(parser)
    given = parser.parse_args()
    if given.resemblyzer and resemblyzer() is None:
        parser.error("--resemblyzer: the package resemblyzer is not installed")
    if given.threads:
        torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    rows = []
    found = {
        "machine": record.versions(),
        "arguments": {k: v for k, v in vars(given).items() if k != "save"},
        "rows": rows,
    }
    print(record.headline(found["machine"]), "\n")
    run = {"layers": layers, "packed": packed, "cells": cells, "examples": examples}
    chosen = [run[part] for part in given.parts] + [speaker_encoder] * given.resemblyzer
    for measure in chosen:
        for row in measure(given):
            rows.append(row)
            print(line(row), flush=True)
    groups = dict.fromkeys((row["part"], row["pass"]) for row in rows)
    found["means"] = [
        {"part": part, "pass": what, "times": geometric_mean(
            [row["times"] for row in rows if (row["part"], row["pass"]) == (part, what)]
        )}
        for part, what in groups
    ]  # fmt: skip
    print("\ntimes faster than torch.nn, geometric mean")
    for mean in found["means"]:
        print(f"{mean['part']:12} {mean['pass']:9} {record.times(mean['times'])}")
    if given.save:
        record.save(given.save, "drop-in", report(found), found, {})


if __name__ == "__main__":
    main()
