"""Run folders of classes without training: random weights, small files."""

import json
from typing import Any

import numpy as np
import torch

from throughtime.models import ModelConfig
from throughtime.models.building import make
from throughtime.tasks.data_config import DataConfig
from throughtime.tasks.labelled import load_labelled, open_labelled
from throughtime.training.config import TrainingConfig
from throughtime.training.run import Run, RunConfig, load_run, save_model, write_config

WORDS = {"good": "a fine film , quite good", "bad": "not a good film , quite bad"}


def write_texts(path, count=30):
    """A table of texts of two classes."""
    rows = [(f"{at} {text}", name) for at in range(count // 2) for name, text in WORDS.items()]
    path.write_text("text,label\n" + "".join(f'"{text}",{name}\n' for text, name in rows))
    return path


def some_series(count=30, features=2, seed=0):
    """Series of 3 to 9 steps, and which of three classes each is of."""
    random = np.random.default_rng(seed)
    lengths = random.integers(3, 10, count)
    return [
        (random.standard_normal((length, features)) + at % 3, "abc"[at % 3])
        for at, length in enumerate(lengths)
    ]


def write_series(path, names=("x", "y"), steps=False, several=False):
    """A long table of series; of classes for each, for each step, or any number."""
    lines = [",".join(("id", "t", *names, "label"))]
    for at, (values, label) in enumerate(some_series(features=len(names))):
        for step, row in enumerate(values):
            said = "abc"[(at + step) % 3] if steps else label
            said = {"a": "", "b": "b", "c": "a|b"}[said] if several else said
            lines.append(",".join((f"s{at}", str(step), *map(str, row), said)))
    path.write_text("\n".join(lines) + "\n")
    return path


def write_lists(path, series):
    """Series as JSON."""
    rows = [json.dumps({"id": name, "values": values}) for name, values in series.items()]
    path.write_text("\n".join(rows) + "\n")
    return path


def make_class_run(folder, data, kind="gru", dtype="float64", **model: Any) -> Run:
    """A run folder on labelled examples, with a model nobody trained."""
    loaded = load_labelled(data)
    opened, task, _ = open_labelled(
        loaded, data, shares=[0.6, 0.2, 0.2], device="cpu", dtype=getattr(torch, dtype),
        vocabulary=None,
    )  # fmt: skip
    fields: dict[str, Any] = {
        "kind": kind,
        "width": 8,
        "heads": 2,
        "window": 3,
        "classes": len(task.labels),
    }
    if task.kind == "texts":
        fields["tokens"] = len(task.vocabulary or ())
    elif task.kind == "series":
        fields["targets"] = len(task.parts.training.features)
    else:
        fields["image"] = tuple(task.parts.training.values.shape[1:])
    if task.labels.kind == "steps":
        fields["pooling"] = "none"
    config = RunConfig(opened, ModelConfig(**{**fields, **model}), TrainingConfig(dtype=dtype))
    torch.manual_seed(0)
    made: Any = make(config.model).to(getattr(torch, dtype))
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    task.prepare(made)
    write_config(folder, config, task.vocabulary, task.labels)
    save_model(folder, made)
    return load_run(folder)


def text_data(folder, **fields):
    return DataConfig(str(write_texts(folder / "film.csv")), task="classify", **fields)


def series_data(folder, names=("x", "y"), **forms):
    fields: dict[str, Any] = {"labels": "several"} if forms.get("several") else {}
    path = write_series(folder / "walks.csv", names, **forms)
    return DataConfig(str(path), task="classify", **fields)
