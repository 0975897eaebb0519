"""Classes on public data: all bodies by the same recipe, or a published model by its own.

    python -m benchmarks.classification speakers JAPANESE_VOWELS_FOLDER
    python -m benchmarks.classification reviews NSMC_FOLDER
    python -m benchmarks.classification clothing FASHION_MNIST_FOLDER

Every fit has a run folder in `--runs`. One that is finished is measured, one that is not goes on
where it stopped. Baselines are fitted to the same training part.
"""

import argparse
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.record import RESULTS, Number, add_options, headline, save, short, table, versions
from throughtime import recipes
from throughtime.models.sizing import parameters
from throughtime.tasks.class_baselines import RULES
from throughtime.tasks.data_config import DataConfig
from throughtime.tasks.opening import open_data
from throughtime.training.checkpoint import has_checkpoint
from throughtime.training.fitting import fit
from throughtime.training.run import load_run, read_config

DATA = {
    "speakers": {},
    "reviews": {"tokens": "characters", "vocabulary": 2500, "longest": 140, "validation": "0.02"},
    "clothing": {"augment": "shift=1,flip", "validation": "0.02"},
}
KINDS = {
    "speakers": "window,rnn,lstm,gru,transformer",
    "reviews": "gru",
    "clothing": "gru,transformer",
}
SEEDS = {"speakers": 5}
PUBLISHED = {
    "speakers": {"LSTM-FCN": 99.0, "dynamic time warping": 94.9},
    "reviews": {"BiLSTM": 86.5, "self-attention": 87.7, "logistic regression, n-grams": 87.4},
    "clothing": {"vision Transformer of 210,000": 92.3, "recurrent over rows": 89.7},
}
MEASURES = {"accuracy": "accuracy, %", "f1": "macro F1, %", "log_loss": "log loss", "ece": "ECE, %"}


def config_of(what, kind, data, options):
    """By the recipe."""
    training = {"epochs": options.epochs} if options.epochs else {}
    if what == "speakers":
        return recipes.classification(data, kind, training=training)
    return recipes.PUBLISHED[f"{what}-{kind}"](data, training=training)


def trained(config, data, folder):
    """The model of a run folder, trained to the end."""
    if (folder / "model.safetensors").exists():
        return load_run(folder).model
    resume = has_checkpoint(folder)
    if resume:
        config = replace(read_config(folder), data=data.config)
    started = time.process_time()
    fitted = fit(config, data, folder, resume=resume)
    spent = folder / "processor.json"
    before = json.loads(spent.read_text()) if spent.exists() else 0.0
    spent.write_text(json.dumps(before + time.process_time() - started))
    if fitted.result is not None and fitted.result.stopped == "interrupted":
        raise KeyboardInterrupt
    return fitted.model


def measure(what, kind, data, options):
    """One kind of model over its seeds."""
    found: dict[str, Any] = {"metrics": [], "processor": []}
    for seed in range(options.seeds or SEEDS.get(what, 1)):
        config = config_of(what, kind, data, options)
        config = replace(config, training=replace(config.training, seed=seed))
        folder = options.runs / f"{what}-{kind}-{seed}"
        model = trained(config, data, folder)
        found["parameters"] = parameters(model)
        found["metrics"].append(data.task.metrics(model))
        found["processor"].append(json.loads((folder / "processor.json").read_text()))
        found["early"] = data.task.early(model)
        print(kind, seed, found["metrics"][-1], flush=True)
    return found


def baselines(data):
    task, found = data.task, {}
    for name, rule in RULES.items():
        if not rule.applies(task.labels.kind):
            continue
        started = time.process_time()
        fitted = rule(task.parts.training, task.labels, validation=task.parts.validation)
        answers = fitted.probabilities(task.parts.test)
        spent = time.process_time() - started
        found[name] = {"note": fitted.note, "processor": spent, "metrics": task.score(answers)}
        print(name, found[name], flush=True)
    return found


def lines(what, found, marks):
    """What was found, beside what was published and what is simple."""
    rows = []
    for kind, one in found.items():
        cells = []
        for key in MEASURES:
            values = [metrics[key] for metrics in one["metrics"]]
            digits = 3 if key == "log_loss" else 1
            spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
            cells.append(Number(f"{statistics.fmean(values):.{digits}f}{spread}"))
        minutes = short(statistics.fmean(one["processor"]) / 60)
        rows.append([kind, Number(f"{one['parameters']:,}"), minutes, *cells])
    for name, accuracy in PUBLISHED[what].items():
        rows.append([f"published {name}", "", "", Number(f"{accuracy:.1f}"), "", "", ""])
    for name, one in marks.items():
        scores = one["metrics"]
        rows.append([
            f"**{name}**", "", short(one["processor"] / 60),
            *(Number(f"{scores[key]:.{3 if key == 'log_loss' else 1}f}") for key in MEASURES),
        ])  # fmt: skip
    return ["model", "parameters", "processor, min", *MEASURES.values()], rows


def main():
    parser = argparse.ArgumentParser(description="Classification of public data by the recipes.")
    parser.add_argument("what", choices=[*DATA])
    parser.add_argument("folder", type=Path, help="of the data")
    parser.add_argument("--models", help="by default all that there are recipes for")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of run folders")
    parser.add_argument("--seeds", type=int, help=f"by default {SEEDS}, and 1")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    add_options(parser)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    what = options.what
    data = open_data(DataConfig(str(options.folder), task="classify", **DATA[what]))
    print(*(f"{name}: {text}" for name, text in data.report.rows()), sep="\n", flush=True)
    kinds = (options.models or KINDS[what]).split(",")
    found = {kind: measure(what, kind, data, options) for kind in kinds}
    marks = baselines(data)
    machine = versions()
    text = f"{headline(machine)}\n\n{table(*lines(what, found, marks))}"
    print(text)
    if options.save:
        content = {"machine": machine, "found": found, "baselines": marks}
        save(options.save or RESULTS, f"classes-{what}", text, content, {})


if __name__ == "__main__":
    main()
