"""Characters of Tiny Shakespeare: a small Transformer, LSTM and GRU in the same time.

`python -m benchmarks.shakespeare FOLDER`, a folder with input.txt or input.txt.gz. The Transformer
is the one that nanoGPT's public code documents for a CPU: 4 layers of 4 heads, width 128, context
64, batch 12, 2,000 updates, no dropout; published validation loss 1.88 nats per character. LSTM and
GRU have as many parameters and are given the seconds that it took. All of them validate on the last
tenth of the text, twice: in windows of 64 that begin with nothing before them, as the public code
does, and as a stream, the state carried from start to end.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import torch

from benchmarks.record import Number, add_options, headline, save, short, table, versions
from throughtime import recipes
from throughtime.data.reading import read_text
from throughtime.data.text import Vocabulary
from throughtime.inspect.theme import colours
from throughtime.models.sizing import count
from throughtime.tasks.data_config import DataConfig
from throughtime.tasks.language import LanguageModelling
from throughtime.tasks.opening import open_data
from throughtime.training.fitting import fit

CONTEXT = 64
PUBLISHED = 1.88


def opened(folder):
    """The text, its first nine tenths to learn from and the last to validate on."""
    path = next(p for p in sorted(Path(folder).iterdir()) if p.name.startswith("input.txt"))
    found = open_data(DataConfig(str(path), task="language", split="0.8,0.1,0.1"))
    text = read_text(path)
    vocabulary = Vocabulary.fit(text)
    ids = vocabulary.encode(text)
    cut = int(0.9 * len(ids))
    task = LanguageModelling(ids[:cut], ids[cut:], ids[cut:], vocabulary)
    return replace(found, task=task)


@torch.no_grad()
def in_windows(model, ids):
    """Nats per character in windows of 64 from nothing; the first of each only feeds the next."""
    rows = (len(ids) - 1) // CONTEXT
    x = torch.from_numpy(ids[: rows * CONTEXT]).view(rows, CONTEXT)
    y = torch.from_numpy(ids[1 : rows * CONTEXT + 1]).view(rows, CONTEXT)
    nats = [
        -model.head.log_prob(model(part)[0], target).double().sum()
        for part, target in zip(x.split(64), y.split(64), strict=True)
    ]
    return float(sum(nats)) / y.numel()


def run(config, data):
    started = time.process_time()
    fitted = fit(config, data)
    spent = time.process_time() - started
    result, ids = fitted.result, data.task.validation
    assert result is not None
    return {
        "parameters": count(config.model),
        "width": config.model.width,
        "updates": result.step,
        "seconds": fitted.seconds,
        "processor": spent,
        "windows": in_windows(fitted.model, ids),
        "stream": data.task.validate(fitted.model).nats,
        "curve": [
            [record["seconds"], record["validation_nats"]]
            for record in result.history
            if "validation_nats" in record
        ],
    }


def in_seconds(config, data, seconds):
    """The same with as many updates as fit into a time; its schedule ends there.

    Seconds of the processor, so that other work on the machine does not count.
    """
    few = replace(config, training=replace(config.training, max_steps=40))
    started = time.process_time()
    fit(few, data)
    steps = max(1, int(40 * seconds / (time.process_time() - started)))
    every = max(1, steps // 8)
    training = replace(config.training, max_steps=steps, epochs=1000, validate_every=every)
    return run(replace(config, training=replace(training, patience=None)), data)


def measure(folder, kinds):
    data = opened(folder)
    base = recipes.shakespeare_transformer(data, training={"epochs": 100, "validate_every": 250})
    found = {"transformer": run(base, data)}
    print("transformer", found["transformer"], flush=True)
    for kind in kinds:
        config = recipes.language(data, kind, parameters=found["transformer"]["parameters"])
        found[kind] = in_seconds(config, data, found["transformer"]["processor"])
        print(kind, found[kind], flush=True)
    return found


def lines(found):
    rows = [
        [
            kind,
            Number(f"{one['parameters']:,}"),
            Number(f"{one['updates']:,}"),
            short(one["processor"]),
            Number(f"{one['windows']:.3f}"),
            Number(f"{one['stream']:.3f}"),
        ]
        for kind, one in found.items()
    ]
    rows.append(["published transformer", "about 0.8 M", "2,000", "", f"{PUBLISHED}", ""])
    head = ["model", "parameters", "updates", "processor, s", "windows of 64, nats", "stream, nats"]
    return head, rows


def loss_against_seconds(found):
    figure, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    hues = colours([*found])
    for kind, one in found.items():
        ax.plot(*zip(*one["curve"], strict=True), color=hues[kind], marker=".", label=kind)
    ax.set(
        xlabel="training, s, other work beside it included", ylabel="validation, nats per character"
    )
    ax.legend()
    return figure


def main():
    parser = argparse.ArgumentParser(
        description="A small Transformer, LSTM and GRU on Tiny Shakespeare."
    )
    parser.add_argument("folder", type=Path, help="with input.txt or input.txt.gz")
    parser.add_argument("--models", default="lstm,gru", help="beside the Transformer")
    add_options(parser)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    found = measure(options.folder, [kind for kind in options.models.split(",") if kind])
    machine = versions()
    text = f"{headline(machine)}\n\n{table(*lines(found))}"
    print(text)
    if options.save:
        figures = {"shakespeare": loss_against_seconds(found)}
        save(options.save, "shakespeare", text, {"machine": machine, "found": found}, figures)


if __name__ == "__main__":
    main()
