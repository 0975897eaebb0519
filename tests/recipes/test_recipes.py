"""Recipes return whole configurations that fit their data."""

import json

import numpy as np
import pytest

from throughtime import recipes
from throughtime.models.config import NEURAL
from throughtime.models.sizing import count
from throughtime.tasks.data_config import DataConfig
from throughtime.tasks.opening import open_data
from throughtime.training.run import RunConfig

OF_PAIRS = tuple(kind for kind in NEURAL if kind != "window")


@pytest.fixture(scope="module")
def series():
    return open_data(DataConfig("seasons"))


@pytest.fixture(scope="module")
def text():
    return open_data(DataConfig("words"))


@pytest.fixture(scope="module")
def pairs():
    return open_data(DataConfig("numerals", tokens="characters,words"))


@pytest.mark.parametrize("kind", OF_PAIRS)
def test_a_model_of_pairs_has_about_the_parameters_asked_for(pairs, kind):
    config = recipes.translation(pairs, kind, parameters=30_000)
    known = pairs.task.vocabulary
    assert (config.model.source_tokens, config.model.tokens) == (
        known.source_tokens, known.target_tokens,
    )  # fmt: skip
    assert count(config.model) == pytest.approx(30_000, rel=0.05)
    assert RunConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_a_joint_vocabulary_shares_its_vectors():
    joint = open_data(DataConfig("copy", tokens="characters", joint=True))
    model = recipes.translation(joint, "gru", parameters=20_000).model
    assert (model.shared, model.tied) == (True, True)
    told = recipes.translation(joint, "gru", model={"tied": False, "width": 9})
    assert (told.model.tied, told.model.width) == (False, 9)


@pytest.mark.parametrize("kind", NEURAL)
def test_a_forecaster_has_about_the_parameters_asked_for(series, kind):
    config = recipes.forecast(series, kind, parameters=5000)
    assert config.model.kind == kind
    assert config.model.targets == series.task.channels
    assert config.model.covariates == series.task.covariates > 0
    assert count(config.model) == pytest.approx(5000, rel=0.05)


@pytest.mark.parametrize("kind", NEURAL)
def test_a_model_of_text_has_about_the_parameters_asked_for(text, kind):
    config = recipes.language(text, kind, parameters=20_000)
    assert config.model.tokens == len(text.task.vocabulary)
    assert count(config.model) == pytest.approx(20_000, rel=0.05)


def test_what_is_told_goes_before_what_is_usual(series, text):
    one = recipes.forecast(series, "gru", model={"width": 9}, training={"epochs": 2, "window": 5})
    assert (one.model.width, one.training.epochs, one.training.window) == (9, 2, 5)
    two = recipes.language(text, "rnn", model={"width": 9}, training={"batch_size": 3})
    assert (two.model.width, two.training.batch_size) == (9, 3)


def test_several_series_are_scaled_one_by_one(series):
    assert recipes.forecast(series).model.scaling == "standard"


def test_a_short_series_is_seen_through_a_short_window(tmp_path):
    path = tmp_path / "short.csv"
    path.write_text("y\n" + "\n".join(f"{value}" for value in np.arange(30) % 4))
    opened = open_data(DataConfig(str(path), horizon=2))
    for kind in ("linear", "window", "lstm"):
        config = recipes.forecast(opened, kind, parameters=1000)
        longest = max(opened.task.lengths)  # pyright: ignore[reportAttributeAccessIssue]
        assert config.model.lags < longest
        assert config.model.window < longest
        assert config.model.season < longest


@pytest.mark.parametrize("kind", ["last", "seasonal", "linear"])
def test_a_configuration_survives_its_file(series, kind):
    config = recipes.forecast(series, kind)
    again = RunConfig.from_json(json.loads(json.dumps(config.to_json())))
    assert again == config


@pytest.mark.parametrize("heads", [1, 3, 6, 5])
def test_any_number_of_heads_will_do(series, text, heads):
    """The usual width gives way; one that is told does not, and hidden sizes stay usual with it."""
    for recipe, opened in ((recipes.forecast, series), (recipes.language, text)):
        config = recipe(opened, "transformer", parameters=30_000, model={"heads": heads})
        assert config.model.width % (2 * heads) == 0
        assert count(config.model) == pytest.approx(30_000, rel=0.05)
    told = recipes.language(text, "transformer", model={"heads": heads, "width": 4 * heads})
    assert (told.model.width, told.model.hidden) == (4 * heads, 0)
