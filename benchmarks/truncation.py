"""The bias of truncated back-propagation on the Penn Treebank, before and after training.

`python -m benchmarks.truncation FOLDER`, a folder with ptb.train.txt, ptb.valid.txt and
ptb.test.txt (or `.gz`), or any text that `throughtime fit` reads. An RNN, an LSTM and a GRU learn
its characters for some hundred updates; the gradient of windows of 5, 10, 20, 35 and 70 steps is
compared with one that goes back 280 steps and more, at the first weights and at the last.
"""

import argparse
import time
from dataclasses import replace

import torch

from benchmarks.charts import grid
from benchmarks.record import Number, add_options, headline, save, short, table, versions
from throughtime import recipes
from throughtime.inspect.drawing import dress
from throughtime.inspect.line_names import name_ends
from throughtime.inspect.theme import LIGHT, colours
from throughtime.inspect.truncation import truncation_report
from throughtime.inspect.window_bias import diagnose_truncation
from throughtime.models.building import make
from throughtime.tasks.data_config import DataConfig
from throughtime.tasks.opening import open_data
from throughtime.training.fitting import fit

WINDOWS = (5, 10, 20, 35, 70)
WANTED = 0.05
HELD = 20_000
"""Characters of the validation part that are scored, in 16 streams."""
WHEN = ("before", "after")


def nats(model, task):
    """Per character, of the beginning of the validation part."""
    return replace(task, validation=task.validation[:HELD]).validate(model).nats


def looked_at(model, task, places):
    """A report in plain values."""
    report = truncation_report(model, task, WINDOWS, places=places)
    print(report)
    print("\n".join(diagnose_truncation(report, WANTED)), flush=True)
    flow = report.flow
    return {
        "nats": nats(model, task),
        "rows": [row._asdict() for row in report.rows],
        "span": report.span,
        "half_span": report.half_span,
        "places": report.places,
        "batch": report.batch,
        "steps": report.steps,
        "seconds": [report.seconds[w] for w in WINDOWS],
        "kept": [report.kept[w] for w in WINDOWS],
        "estimated": [[*report.estimated[w]] for w in WINDOWS],
        "flow": None if flow is None else {"lags": flow.lags, "curves": dict(flow.curves)},
        "window": report.window_for(WANTED),
        "said": diagnose_truncation(report, WANTED),
    }


def measure(opened, kinds, width, updates, places):
    found = {}
    for kind in kinds:
        config = recipes.language(
            opened,
            kind,
            model={"width": width},
            training={"max_steps": updates, "validate_every": updates, "patience": None},
        )
        torch.manual_seed(config.training.seed)
        model = make(config.model)
        opened.task.prepare(model)
        print(f"\n{kind}, first weights")
        before = looked_at(model, opened.task, places)
        started = time.process_time()
        model = fit(config, opened).model
        spent = time.process_time() - started
        print(f"\n{kind}, after {updates} updates")
        after = looked_at(model, opened.task, places)
        found[kind] = {"updates": updates, "width": width, "processor": spent,
                       "before": before, "after": after}  # fmt: skip
    return found


def rows_of(one, group="all"):
    return [row for row in one["rows"] if row["group"] == group]


def per_cent(share):
    return Number(f"{100 * share:.1f}")


def lines(found):
    """Bias by window, and the window to choose: a row for each model, before and after."""
    head = ["model", "nats", *(f"bias, % at {w}" for w in WINDOWS), "window for 5 %"]
    rows = []
    for kind, both in found.items():
        for when in WHEN:
            one = both[when]
            window = one["window"]
            chosen = Number(f"more than {WINDOWS[-1]}" if window is None else str(window))
            biases = [per_cent(row["bias"]) for row in rows_of(one)]
            rows.append([f"{kind}, {when}", Number(f"{one['nats']:.3f}"), *biases, chosen])
    return head, rows


def all_lines(found):
    """Everything by model, time and window."""
    head = ["model", "window", "cosine", "norm", "bias, %", "+-", "pooled, %",
            "recurrent weights, %", "expected, %", "update, ms", "kept, MB"]  # fmt: skip
    rows = []
    for kind, both in found.items():
        for when in WHEN:
            one = both[when]
            recurrent = rows_of(one, "recurrent weights")
            for at, row in enumerate(rows_of(one)):
                rows.append([
                    f"{kind}, {when}", row["window"], Number(f"{row['cosine']:.4f}"),
                    Number(f"{row['norm']:.3f}"), per_cent(row["bias"]), per_cent(row["spread"]),
                    per_cent(row["pooled"]), per_cent(recurrent[at]["bias"]),
                    Number(" to ".join(map(per_cent, one["estimated"][at]))),
                    short(1e3 * one["seconds"][at]), short(one["kept"][at] / 1e6),
                ])  # fmt: skip
    return head, rows


def bias_by_window(found):
    """Left before training, right after: a line for each model."""
    figure, parts = grid(1, 2, width=4.4, height=3.3, sharey=True)
    hues = colours([*found])
    for when, ax in zip(WHEN, parts[0], strict=True):
        ends = [(100 * WANTED, "wanted: 5 %", LIGHT.ink)]
        for kind, both in found.items():
            points = [100 * row["bias"] for row in rows_of(both[when])]
            ax.plot(WINDOWS, points, color=hues[kind], marker="o", markersize=4)
            ends.append((points[-1], kind, hues[kind]))
        ax.axhline(100 * WANTED, color=LIGHT.ink, linewidth=1, linestyle=(0, (4, 2)))
        ax.set_xscale("log")
        ax.set_yscale("log")
        ticks = (0.5, 1, 2, 5, 10, 20, 50, 100)
        ax.set_yticks(ticks, [f"{tick:g} %" for tick in ticks])
        ax.set_xticks(WINDOWS, [str(w) for w in WINDOWS])
        ax.minorticks_off()
        every = [100 * row["bias"] for both in found.values() for w in WHEN
                 for row in rows_of(both[w])]  # fmt: skip
        ax.set_ylim(min(every) / 1.4, max(every) * 1.4)
        title = {"before": "At the first weights", "after": "After training"}[when]
        dress(ax, LIGHT, title, x="window, steps", y="bias of the gradient")
        name_ends(ax, ends)
    return figure


def main():
    parser = argparse.ArgumentParser(description="The bias of truncation by window length.")
    parser.add_argument("folder", help="with ptb.train.txt, ptb.valid.txt and ptb.test.txt")
    parser.add_argument("--models", default="rnn,lstm,gru")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--updates", type=int, default=400)
    parser.add_argument("--places", type=int, default=8)
    add_options(parser)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    opened = open_data(DataConfig(options.folder, tokens="characters"))
    kinds = [kind for kind in options.models.split(",") if kind]
    found = measure(opened, kinds, options.width, options.updates, options.places)
    machine = versions()
    one = found[kinds[0]]["before"]
    how = (
        f"{options.updates} updates of width {options.width} on characters; gradients of "
        f"{one['places']} places of {one['batch']} x {one['steps']} characters, against one that "
        f"goes back {one['span']} steps and more; nats per character on {HELD:,} of validation"
    )
    text = f"{headline(machine)}\n\n{how}\n\n{table(*lines(found))}\n{table(*all_lines(found))}"
    print(text)
    if options.save:
        figures = {"truncation": bias_by_window(found)}
        save(options.save, "truncation", text, {"machine": machine, "found": found}, figures)


if __name__ == "__main__":
    main()
