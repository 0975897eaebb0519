"""Rows of validation, judged by a graph, are judged as the task judges the model."""

import numpy as np
import pytest
import torch

from tests.commands.pair_files import write_pairs
from tests.serving.class_runs import write_series, write_texts
from tests.serving.runs import forecast_data, make_run
from throughtime.data.columns import Columns
from throughtime.exporting.description import covariate_names
from throughtime.exporting.exporter import _count
from throughtime.exporting.graphs import graphs_of
from throughtime.exporting.rows import judged, validation
from throughtime.models import ModelConfig
from throughtime.models.building import make
from throughtime.tasks.class_logits import probabilities
from throughtime.tasks.data_config import DataConfig
from throughtime.tasks.opening import open_data


class Held:
    """What `validation` reads of a run."""

    def __init__(self, model):
        self.model = model


def made(config):
    torch.manual_seed(0)
    model = make(config).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return model


def judge(task, model, *, several=False):
    whole = graphs_of(model, step=False, several=several)[0]
    pieces, how = validation(Held(model), task)
    return pieces, judged(how, pieces, lambda piece: whole(*piece.inputs))


def test_pairs(tmp_path):
    source = write_pairs(tmp_path) / "pairs.tsv"
    data = DataConfig(str(source), split="0.8,0.1,0.1", tokens="characters,words")
    task = open_data(data).task
    known = task.vocabulary
    model = made(ModelConfig(
        kind="gru", width=6, tokens=known.target_tokens, source_tokens=known.source_tokens
    ))  # fmt: skip
    pieces, found = judge(task, model)
    assert found["nats"] == pytest.approx(task.validate(model).nats, rel=1e-5)
    assert sum(map(_count, pieces)) == sum(map(len, task.judged("validation").ids[1]))


@pytest.mark.parametrize("labels", ["one", "steps", "several"])
def test_classes(tmp_path, labels):
    path = write_series(
        tmp_path / "series.csv", steps=labels == "steps", several=labels == "several"
    )
    task = open_data(DataConfig(str(path), labels=labels)).task
    pooling = "none" if labels == "steps" else "mean"
    model = made(ModelConfig(
        kind="gru", width=6, targets=2, classes=len(task.labels), pooling=pooling,
        scaling="standard",
    ))  # fmt: skip
    task.prepare(model)
    _, found = judge(task, model, several=labels == "several")
    logits, targets = task.known(task.logits(model, "validation"), "validation")
    assert found["nats"] == pytest.approx(task.validate(model).nats, rel=1e-4)
    shares = probabilities(logits, labels)
    right = (shares > 0.5) == targets.numpy() if labels == "several" else (
        shares.argmax(1) == targets.numpy()
    )  # fmt: skip
    assert found["accuracy"] == pytest.approx(100 * right.mean())


def test_texts_of_classes(tmp_path):
    task = open_data(DataConfig(str(write_texts(tmp_path / "texts.csv")), tokens="words")).task
    model = made(ModelConfig(kind="lstm", width=6, tokens=len(task.vocabulary), classes=2))
    _, found = judge(task, model)
    assert found["nats"] == pytest.approx(task.validate(model).nats, rel=1e-4)


def test_a_text_is_read_in_rows_without_loss(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("the cat sat on the mat and the dog ran.\n" * 60)
    run = make_run(tmp_path / "run", DataConfig(str(path)))
    task, model = open_data(run.config.data, vocabulary=run.vocabulary).task, run.model.float()
    pieces, found = judge(task, model)
    assert sum(map(_count, pieces)) == len(task.validation)
    targets = np.concatenate([part[part >= 0].numpy() for p in pieces for part in [p.targets]])
    assert sorted(targets) == sorted(task.validation)
    assert found["nats"] == pytest.approx(task.validate(model).nats, rel=0.2)  # fresh rows
    assert all(not bool(p.inputs[1].all()) for p in pieces)


def test_covariates_are_told_in_the_order_of_the_table(tmp_path):
    path = tmp_path / "sales.csv"
    days = np.datetime64("2024-01-01") + np.arange(40)
    rows = ["day,shop,price,size,kind,visitors,units"]
    for shop in ("a", "b"):
        kind = {"a": "large", "b": "small"}[shop]
        rows += [f"{day},{shop},{n % 7},{ord(shop)},{kind},{n},{n}" for n, day in enumerate(days)]
    path.write_text("\n".join(rows) + "\n")
    columns = Columns(
        time="day", id="shop", targets=("units",), known=("price",), past=("visitors",),
        static=("size", "kind"), calendar=("weekday",),
    )  # fmt: skip
    data = open_data(DataConfig(str(path), columns=columns, horizon=2))
    table = data.task.table
    assert covariate_names(data.config.columns) == [*table.known, *table.static]
    assert len(covariate_names(data.config.columns)) == data.task.covariates == 6


def test_series_are_read_in_rows_without_loss(tmp_path, files):
    run = make_run(tmp_path / "run", forecast_data(files.series))
    task, model = open_data(run.config.data).task, run.model.float()
    pieces, found = judge(task, model)
    starts, stops = task.borders("validation")
    assert sum(map(_count, pieces)) == sum(stops) - sum(starts)
    assert np.isfinite(found["loss"])
    firsts = pieces[0].inputs[0][pieces[0].inputs[1].cumsum(1) * pieces[0].inputs[1] == 1]
    assert firsts.isnan().all()
