"""Run folders of untrained models on small data: what there is to look into, without training."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import torch

from tests.commands.class_files import texts, write_texts, write_ts
from throughtime import recipes
from throughtime.models.building import make
from throughtime.tasks.data_config import DataConfig
from throughtime.tasks.opening import open_data
from throughtime.training.run import load_run, save_model, write_config

SMALL = {"width": 8}
RECIPES = {
    "language": recipes.language,
    "forecast": recipes.forecast,
    "translate": recipes.translation,
    "classify": recipes.classification,
}


def write_run(folder, source, kind, model=None, training=None, **data):
    """A run folder as `fit` leaves it, but for what training adds."""
    opened = open_data(DataConfig(source=str(source), **data))
    task = opened.task
    config = RECIPES[opened.config.task or ""](
        opened, kind, parameters=None, model={**SMALL, **(model or {})}, training=training or {}
    )
    write_config(folder, config, getattr(task, "vocabulary", None), getattr(task, "labels", None))
    torch.manual_seed(0)
    made = make(config.model)
    task.prepare(made)
    with torch.no_grad():  # a classifier begins with zeros, by which all classes are alike
        for weight in made.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    save_model(folder, made)
    return folder


@functools.cache
def _folder():
    folder = Path(tempfile.mkdtemp(prefix="inside-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def run_of(name):
    """A run by a name of `KINDS`, made once."""
    folder = _folder() / name
    source, kind, options = KINDS[name]
    return load_run(write_run(folder, source() if callable(source) else source, kind, **options))


def _texts():
    return write_texts(_folder() / "texts.csv", texts(40))


def _series():
    return write_ts(_folder() / "series.ts")


KINDS = {
    "lstm": ("words", "lstm", {"training": {"window": 32}}),
    "rnn": ("words", "rnn", {}),
    "window": ("words", "window", {}),
    "transformer": ("words", "transformer", {"model": {"layers": 2, "heads": 2}}),
    "series": ("seasons", "gru", {}),
    "pairs": ("numerals", "lstm", {}),
    "pairs-transformer": ("numerals", "transformer", {"model": {"heads": 2}}),
    "texts": (_texts, "gru", {"tokens": "words"}),
    "early": (_texts, "gru", {"tokens": "words", "model": {"around": False, "pooling": "last"}}),
    "examples": (_series, "lstm", {}),
    "digits": ("digits", "transformer", {"model": {"layers": 2, "heads": 2}}),
    "digits-token": ("digits", "transformer", {"model": {"heads": 2, "pooling": "token"}}),
    "digits-rows": ("digits", "gru", {}),
}
"""Data, kind of model, and what else there is to say."""
