"""Sequences of different lengths, beside torch.nn: `python -m benchmarks.ragged`.

First a training step on lengths between a quarter of the longest and the longest: ours with a mask,
torch.nn on a PackedSequence (packed and padded again in every step, as in real use) and torch.nn on
the padding as if it were data. Then ours by the share of steps that are real: padding on the right,
and holes anywhere.
"""

import argparse

import torch

from benchmarks import record
from benchmarks.charts import ragged_figure
from throughtime.commands.clocks import in_turn
from throughtime.commands.peers import (
    LAYERS,
    OURS,
    PACKED,
    mask_of,
    ragged,
    spread_lengths,
    training,
)

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def beside_torch(kind, given):
    """Lengths drawn once, evenly from a quarter of the longest to the longest."""
    lengths = torch.randint(given.time // 4, given.time + 1, (given.batch,))
    found = in_turn(
        ragged(kind, given.input, given.hidden, lengths, given.time), seconds=given.seconds
    )
    ours = found[OURS].median
    return {
        "layer": kind,
        "real": float(lengths.sum()) / lengths.numel() / given.time,
        "seconds": {name: times.median for name, times in found.items()},
        "quartiles": {n: [t.quantile(0.25), t.quantile(0.75)] for n, t in found.items()},
        "times": {n: times.median / ours for n, times in found.items() if n != OURS},
    }


def masks(pattern, share, given):
    """A mask with exactly this share of real steps, to rounding."""
    batch, time = given.batch, given.time
    if pattern == "right":
        return mask_of(spread_lengths(batch, time, share), time)
    order = torch.randperm(batch * time).view(batch, time)
    return order < round(share * batch * time)


def by_share(kind, given):
    """Training steps of ours by the share of real steps, all in turn."""
    layer = LAYERS[kind](given.input, given.hidden)
    x = torch.randn(given.batch, given.time, given.input)
    drawn = {
        (pattern, share): masks(pattern, share, given)
        for pattern in ("right", "holes")
        for share in SHARES
    }
    runs = {
        f"{pattern} {share}": training(layer, lambda mask=mask: layer(x, mask=mask)[0])
        for (pattern, share), mask in drawn.items()
    }
    found = in_turn(runs, seconds=len(runs) * given.seconds / 2)
    for (pattern, share), mask in drawn.items():
        yield {
            "layer": kind,
            "pattern": pattern,
            "share": share,
            "real": mask.float().mean().item(),
            "seconds": found[f"{pattern} {share}"].median,
        }


def fit(rows):
    """How far times are from lines in the share of real steps, at most and relative to the line.

    One line goes through zero, which is proportion; the other has a fixed part too. Both are fitted
    by least squares of relative distances.
    """
    real = torch.tensor([row["real"] for row in rows], dtype=torch.float64)
    took = torch.tensor([row["seconds"] for row in rows], dtype=torch.float64)
    found = {}
    for name, columns in (("proportional", [real]), ("line", [real, torch.ones_like(real)])):
        factors = torch.stack(columns, dim=1)
        weighted = factors / took[:, None]
        best = torch.linalg.lstsq(weighted, torch.ones_like(took)[:, None]).solution
        found[name] = float((took / (factors @ best).squeeze(1) - 1).abs().max())
    return found


def main():
    parser = argparse.ArgumentParser(description="Ragged sequences beside torch.nn.")
    parser.add_argument("--layers", nargs="+", default=[*LAYERS], choices=[*LAYERS])
    parser.add_argument("--time", type=int, default=500)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--input", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=4.0, help="per layer")
    record.add_options(parser)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    beside, shares, fits = [], [], {}
    found = {
        "machine": record.versions(),
        "arguments": {k: v for k, v in vars(given).items() if k != "save"},
        "beside": beside,
        "shares": shares,
        "fits": fits,
    }
    print(record.headline(found["machine"]), "\n")
    for kind in given.layers:
        beside.append(row := beside_torch(kind, given))
        took = "  ".join(f"{n} {record.milliseconds(s)} ms" for n, s in row["seconds"].items())
        faster = ", ".join(f"{record.times(ratio)} {n}" for n, ratio in row["times"].items())
        print(f"{kind:4} {took}  {faster}", flush=True)
    for kind in given.layers:
        shares += (rows := list(by_share(kind, given)))
        for pattern in ("right", "holes"):
            shown = [row for row in rows if row["pattern"] == pattern]
            fits[f"{kind} {pattern}"] = fit(shown)
            took = " ".join(record.milliseconds(row["seconds"]) for row in shown)
            off = fits[f"{kind} {pattern}"]
            print(f"{kind:4} {pattern:5} 10 to 100 % real, ms: {took}; at most "
                  f"{record.percent(off['proportional'])} from proportional, "
                  f"{record.percent(off['line'])} from a line", flush=True)  # fmt: skip
    if given.save:
        record.save(given.save, "ragged", report(found), found,
                    {"ragged": ragged_figure(beside, shares)})  # fmt: skip


def report(found):
    """The Markdown page."""
    given, beside, shares = found["arguments"], found["beside"], found["shares"]
    names = list(beside[0]["seconds"])
    rows = [
        (row["layer"], *(record.milliseconds(row["seconds"][name]) for name in names),
         record.times(row["times"][PACKED]), record.times(row["times"]["padding"]))
        for row in beside
    ]  # fmt: skip
    header = ["layer", *(f"{n}, ms" for n in names), f"times {PACKED}", "times padding"]
    parts = [
        "# Sequences of different lengths\n",
        f"{record.headline(found['machine'])}.\n",
        f"Training steps, {given['batch']} sequences of {given['time'] // 4} to {given['time']} "
        f"steps ({record.percent(beside[0]['real'])} of the padded batch is real), "
        f"input {given['input']}, {given['hidden']} units; medians of rounds in turn.\n",
        record.table(header, rows),
        "## By the share of real steps\n\nMilliseconds of ours. Off: the largest distance from "
        "time proportional to the real steps, and from a line with a fixed part.\n",
    ]
    lines = []
    for name, off in found["fits"].items():
        kind, pattern = name.split()
        took = [r["seconds"] for r in shares if (r["layer"], r["pattern"]) == (kind, pattern)]
        far = map(record.percent, (off["proportional"], off["line"]))
        lines.append((kind, pattern, *map(record.milliseconds, took), *far))
    columns = [f"{share:.0%}".replace("%", " %") for share in SHARES]
    header = ["layer", "padding", *columns, "off proportional", "off line"]
    return "\n".join([*parts, record.table(header, lines)])


if __name__ == "__main__":
    main()
