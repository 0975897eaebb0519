"""Greedy generation, batch 1: `python -m benchmarks.generation --threads 1`.

The same weights through ours, a loop by hand, Hugging Face transformers and CTranslate2, where they
are installed, one after the other in every round. Beside the rates stands the floor: what it takes
to read the weights and the keys and values once per token, at the rate at which this machine reads
as much memory.
"""

import argparse
import importlib.metadata

import torch

from benchmarks import generators, record
from benchmarks.charts import generation_figure
from throughtime.commands.clocks import in_turn, matrix_rates

SIZES = ((4, 128, 4), (6, 384, 6))
"""Layers, width, heads."""

TOKENS = 65
OURS = "throughtime"
PEER = "CTranslate2"
DRAWN = f"{OURS}, float32, drawn"
FLOORED = {f"{OURS}, float32": 4, f"{PEER}, float32": 4, f"{OURS}, int8": 1, f"{PEER}, int8": 1}


def contestants(model, given):
    """Runners by name."""
    steps, threads = given.steps, torch.get_num_threads()
    runs = {
        f"{OURS}, layers": generators.plain(model, steps),
        f"{OURS}, float32": generators.compiled(model, steps, "float32"),
        f"{OURS}, int8": generators.compiled(model, steps, "int8"),
        DRAWN: generators.drawn(model, steps, "float32"),
        "by hand": generators.by_hand(model, steps),
    }
    if generators.installed("transformers"):
        runs["transformers"] = generators.hugging_face(model, steps)
    if generators.installed("ctranslate2"):
        for weights in ("float32", "int8"):
            runs[f"{PEER}, {weights}"] = generators.ctranslate2(model, steps, weights, threads)
    return runs


def measure(size, given, peak):
    """A row for each way to generate."""
    layers, width, heads = size
    model = generators.model_of(layers, width, heads, TOKENS)
    runs = contestants(model, given)
    plain = [int(token) for token in runs[f"{OURS}, layers"]()]
    same = {
        name: sum(int(a) == b for a, b in zip(run(), plain, strict=True)) / given.steps
        for name, run in runs.items()
        if name != DRAWN
    }
    weights = sum(m.numel() for m in model.parameters() if m.ndim == 2) - model.inputs.size * width
    weights -= model.body.layers[0].weight.numel()  # of the vectors only one is read
    past = layers * width * (given.steps + 1)  # keys and values, on average
    reads = {of: memory_rate(of * weights + 4 * past) for of in (1, 4)}
    for name, times in in_turn(runs, seconds=given.seconds).items():
        of = FLOORED.get(name)
        yield {
            "layers": layers, "width": width, "name": name,
            "rate": given.steps / times.median,
            "quartiles": [given.steps / times.quantile(q) for q in (0.75, 0.25)],
            "rounds": len(times.seconds),
            "same": same.get(name),
            **({} if of is None else {
                "bytes": of * weights + 4 * past,
                "reading": reads[of],
                "floor": reads[of] / (of * weights + 4 * past),
                "arithmetic": peak * 4 / of / (2 * (weights + past)),
            }),
        }  # fmt: skip


def memory_rate(size):
    """Bytes per second at which one thread reads so many over and over, the best of two ways."""
    x = torch.randn(size // 4)
    runs = {"sum": x.sum, "dot": lambda: torch.dot(x, x)}
    return max(4 * len(x) / times.best for times in in_turn(runs, seconds=0.5).values())


def ratio(rows, row):
    """Times faster than CTranslate2 with weights of the same kind; None where it is not there."""
    kind = "int8" if "int8" in row["name"] else "float32"
    peers = [r for r in rows if r["width"] == row["width"] and r["name"] == f"{PEER}, {kind}"]
    return row["rate"] / peers[0]["rate"] if peers else None


def peers():
    """Versions of what is beside ours."""
    return {
        name: importlib.metadata.version(name) if generators.installed(name) else "not installed"
        for name in generators.PEERS
    }


def line(row, times):
    """A case in a line of the terminal."""
    text = f"{row['layers']} x {row['width']:<4} {row['name']:26} {row['rate']:8,.0f} tokens/s"
    text += f"  {times:>6}"
    if row["same"] is not None:
        text += f"  same {record.percent(row['same']):>5}"
    if "floor" in row:
        text += f"  floor {row['floor']:7,.0f} by {row['reading'] / 1e9:.0f} GB/s"
    return text


def report(found):
    """The Markdown page."""
    rows, machine = found["rows"], found["machine"]
    parts = [
        "# Generation\n",
        f"{record.headline(machine)}; transformers {machine['transformers']}, "
        f"CTranslate2 {machine['ctranslate2']}.\n",
        f"Batch 1, the likeliest of {TOKENS} tokens, {found['arguments']['steps']} of them, from "
        "the beginning; medians of tokens a second. The models have the form of GPT-2 and the "
        "same weights everywhere. `layers` calls the model step by step; `drawn` draws tokens by "
        "`generate`. The ratio is to CTranslate2 with weights of the same kind. The floor by "
        "memory: weights, keys and values read once per token as fast as one thread reads so "
        "much; by arithmetic: at the rate of a large product, four times that with bytes.\n",
    ]
    for size in dict.fromkeys((row["layers"], row["width"]) for row in rows):
        shown = [row for row in rows if (row["layers"], row["width"]) == size]
        parts += [
            f"## {size[0]} layers of {size[1]}\n",
            record.table(
                ["through", "tokens/s", "to CTranslate2", "same tokens as the layers",
                 "floor by memory", "floor by arithmetic"],
                [(row["name"], record.Number(f"{row['rate']:,.0f}"),
                  "" if (times := ratio(rows, row)) is None else record.times(times),
                  record.Number("" if row["same"] is None else record.percent(row["same"])),
                  *(record.Number(f"{row[k]:,.0f}" if k in row else "")
                    for k in ("floor", "arithmetic"))) for row in shown],
            ),
        ]  # fmt: skip
    return "\n".join(parts)


def main():
    parser = argparse.ArgumentParser(description="Greedy generation, beside other libraries.")
    parser.add_argument("--steps", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=30.0, help="per model")
    parser.add_argument("--small", action="store_true", help="the small model only")
    record.add_options(parser)
    given = parser.parse_args()
    if not 0 < given.steps <= 2 * generators.CONTEXT:
        parser.error(f"--steps: {given.steps}, expected 1 to {2 * generators.CONTEXT}")
    if given.threads:
        torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    found = {
        "machine": record.versions(**peers()),
        "arguments": {k: v for k, v in vars(given).items() if k != "save"},
        "rows": [],
    }
    print(record.headline(found["machine"]), "\n")
    peak = max(matrix_rates().values())
    with torch.inference_mode():
        for size in SIZES[: 1 if given.small else None]:
            found["rows"] += (rows := list(measure(size, given, peak)))
            for row in rows:
                times = ratio(rows, row)
                print(line(row, "" if times is None else record.times(times)), flush=True)
    if given.save:
        figures = {"generation": generation_figure(found["rows"])}
        record.save(given.save, "generation", report(found), found, figures)


if __name__ == "__main__":
    main()
