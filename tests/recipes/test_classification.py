"""Recipes of classifiers fit their data."""

import json
from typing import Any

import pytest
import torch

from tests.commands.class_files import write_texts, write_ts
from throughtime import recipes
from throughtime.errors import InputError
from throughtime.models.building import build, make
from throughtime.models.building_classifier import build_classifier
from throughtime.models.classifier import Classifier
from throughtime.models.config import NEURAL, ModelConfig
from throughtime.models.sizing import count
from throughtime.recipes.classification import patch_side
from throughtime.tasks.data_config import DataConfig
from throughtime.tasks.opening import open_data
from throughtime.training.run import RunConfig


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labelled")
    return {
        "texts": open_data(DataConfig(str(write_texts(folder / "t.csv")), tokens="characters")),
        "series": open_data(DataConfig(str(write_ts(folder / "s.ts")))),
        "images": open_data(DataConfig("digits")),
    }


@pytest.mark.parametrize("data", ["texts", "series", "images"])
@pytest.mark.parametrize("kind", NEURAL)
def test_a_classifier_has_about_the_parameters_asked_for(opened, kind, data):
    config = recipes.classification(opened[data], kind, parameters=20_000)
    assert count(config.model) == pytest.approx(20_000, rel=0.05)
    assert config.model.classes == len(opened[data].task.labels)
    assert config.model.around == (kind != "window")
    assert RunConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    model = make(config.model)
    assert isinstance(model, Classifier)
    opened[data].task.prepare(model)


def test_few_examples_are_passed_through_more_often(opened):
    few, more = (recipes.classification(opened[data]).training for data in ("series", "images"))
    assert few.epochs == 60
    assert few.batch_size == 16
    assert more.batch_size > few.batch_size
    assert recipes.classification(opened["images"], training={"epochs": 3}).training.epochs == 3


def test_models_may_be_told(opened):
    fields = {"around": False, "pooling": "last", "width": 7}
    config = recipes.classification(opened["series"], "lstm", model=fields)
    assert (config.model.width, config.model.pooling) == (7, "last")
    assert make(config.model).causal


@pytest.mark.parametrize(("size", "side"), [((28, 28), 4), ((8, 8), 2), ((32, 48), 8), ((7, 9), 1)])
def test_squares_divide_the_image(size, side):
    assert patch_side(*size) == side


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"pooling": "max"}, "pooling is for a classifier"),
        ({"around": True}, "around is for a classifier"),
        ({"classes": 3, "pooling": "best"}, "pooling is 'best'"),
        ({"classes": 3, "kind": "ngram", "tokens": 5}, "kind is 'ngram'"),
        ({"classes": 3, "kind": "window", "around": True}, "window model sees the past only"),
        ({"classes": 3, "kind": "transformer", "around": True, "pooling": "ends"}, "'ends'"),
        ({"classes": 3, "rows": True}, "rows is for images"),
        ({"classes": 3, "image": (1, 8)}, "expected channels, height and width"),
        ({"classes": 3, "image": (1, 8, 8), "tokens": 5}, "image: a model of images has no tokens"),
        ({"classes": 3, "tokens": 4, "source_tokens": 4}, "a classifier has no source_tokens"),
        ({"classes": 3, "stochastic_depth": 0.1}, "stochastic_depth is for a transformer"),
        (
            {"classes": 3, "kind": "transformer", "image": (1, 8, 8), "patch": 2},
            "position is 'rotary', expected one of",
        ),
        ({"classes": -1}, "classes is -1"),
    ],
)
def test_configurations_that_cannot_be(fields, said):
    with pytest.raises(InputError, match=said):
        ModelConfig(**fields)


def test_a_square_is_one_step_of_a_causal_transformer():
    """A step is a square already; none is put together with those before it."""
    fields: dict[str, Any] = {"kind": "transformer", "classes": 2, "image": (1, 8, 8), "patch": 2}
    model: Any = make(ModelConfig(**fields, position="learned", width=8, horizon=1, layers=1))
    torch.nn.init.normal_(model.weight)
    x = torch.rand(1, 1, 8, 8)
    other = x.clone()
    other[:, :, :2, :2] += 0.5  # the first square: 2 of 16 steps see it, itself and the next
    with torch.no_grad():
        changed = model.eval().body(model.inputs(x)[0])[0] != model.body(model.inputs(other)[0])[0]
    assert changed.any(-1)[0].tolist() == [True, True] + [False] * 14


def test_builders_know_their_kind():
    with pytest.raises(InputError, match="the configuration has classes, expected make"):
        build(ModelConfig(classes=3))
    with pytest.raises(InputError, match="classes is 0"):
        build_classifier(ModelConfig(), lambda config, features: None)  # pyright: ignore
