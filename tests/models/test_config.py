"""A config builds its model, goes to text and back, and is solved for its width."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from throughtime.errors import InputError
from throughtime.models import ModelConfig, build
from throughtime.models import config as configs
from throughtime.models.sizing import count, fit_width, parameters

CASES = {
    "window": ModelConfig(kind="window", window=5, width=8),
    "rnn": ModelConfig(kind="rnn", width=8, activation="relu", learn_initial_state=True),
    "lstm": ModelConfig(kind="lstm", width=8, layers=2, dropout=0.2, targets=2, covariates=3),
    "gru": ModelConfig(kind="gru", width=8, reset_after=False, head="quantiles", levels=(0.1, 0.9)),
    "transformer": ModelConfig(
        kind="transformer",
        width=16,
        layers=2,
        heads=4,
        kv_heads=2,
        position="alibi",
        patch=3,
        norm="rms",
        norm_first=False,
        feed_forward="swiglu",
        horizon=7,
        hidden=20,
        dropout=0.1,
    ),
    "counts": ModelConfig(kind="gru", width=8, head="negative_binomial"),
    "tokens": ModelConfig(kind="lstm", width=8, tokens=11),
    "tied": ModelConfig(kind="window", window=3, width=8, tokens=11, tied=True, dropout=0.1),
    "last": ModelConfig(kind="last", targets=2),
    "seasonal": ModelConfig(kind="seasonal", season=3, scaling="mean"),
    "linear": ModelConfig(kind="linear", lags=4, covariates=2),
    "ngram": ModelConfig(kind="ngram", tokens=11, order=3),
}
everyone = pytest.mark.parametrize("name", CASES)


@everyone
def test_what_is_built_runs(name):
    config = CASES[name]
    model = build(config).eval()
    c = torch.randn(2, 7, config.covariates) if config.covariates else None
    shape = (2, 7) if config.tokens else (2, 7, config.targets)
    x = torch.randint(10, shape)
    x = x if config.tokens else x.float()
    assert model.log_prob(x, covariates=c).shape == (2, 7)
    ahead = None if c is None else torch.cat([c, c[:, :3]], dim=1)
    drawn = model.sample(3, prefix=x, covariates=ahead)
    assert drawn.shape == (2, 3, *shape[2:])
    assert (drawn.float().isfinite()).all()


@everyone
def test_text_and_back(name):
    config = CASES[name]
    assert ModelConfig.from_json(config.to_json()) == config
    assert json.loads(config.to_json())["format"] == configs.FORMAT


def test_every_field_is_explained():
    source = Path(configs.__file__).read_text()
    for field in dataclasses.fields(ModelConfig):
        after = source.split(f"    {field.name}: ", 1)[1].split("\n", 2)[1]
        assert after.strip().startswith('"""'), field.name


def test_choices_left_open():
    assert ModelConfig().head == "student"
    assert ModelConfig(tokens=5).head == "categorical"
    assert ModelConfig().scaling == "fixed"
    assert ModelConfig(head="negative_binomial").scaling == "mean"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"kind": "lstm", "widht": 3}', r"unknown fields \['widht'\]"),
        ('{"format": 99}', "written by a newer throughtime .format 99"),
        ("{", "not JSON"),
        ("[1]", "expected fields, got a list"),
        ('{"width": "3"}', "width is '3', expected a int"),
        ('{"kind": "mamba"}', "kind is 'mamba', expected one of"),
    ],
)
def test_text_that_is_no_config(text, words):
    with pytest.raises(InputError, match=words):
        ModelConfig.from_json(text)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"width": 0}, "width is 0, expected a whole number of at least 1"),
        ({"tokens": -1}, "tokens is -1"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"scaling": "max"}, "scaling is 'max'"),
        ({"activation": "gelu"}, "activation is 'gelu'"),
        ({"head": "gamma"}, "head is 'gamma'"),
        ({"head": "categorical"}, "head is 'categorical', which is not for a model of numbers"),
        ({"tokens": 5, "head": "normal"}, "not for a model of 5 tokens"),
        ({"tokens": 5, "covariates": 1}, "covariates is 1, expected 0"),
        ({"tokens": 5, "kind": "linear"}, "kind is 'linear', which is for numbers"),
        ({"kind": "ngram"}, "kind is 'ngram', which is for tokens"),
        ({"kind": "gru", "head": "quantiles", "levels": (0.5,)}, "two or more"),
    ],
)
def test_fields_that_do_not_fit(fields, words):
    with pytest.raises(InputError, match=words):
        build(ModelConfig(**fields))


NEURAL = [name for name, config in CASES.items() if config.kind in configs.NEURAL]


@pytest.mark.parametrize("target", [1500, 20_000, 100_000])
@pytest.mark.parametrize("name", NEURAL)
def test_the_width_comes_nearest_to_the_target(name, target):
    config = CASES[name]
    unit = 2 * config.heads if name == "transformer" else 1
    if target < count(dataclasses.replace(config, width=unit)):
        with pytest.raises(InputError, match=f"a {name} of width {unit} has"):
            fit_width(config, target)
        return
    found = fit_width(config, target)
    assert dataclasses.replace(found, width=config.width) == config
    distance = abs(parameters(build(found)) - target)
    for step in (-unit, unit):
        if found.width + step:
            other = dataclasses.replace(found, width=found.width + step)
            assert distance <= abs(parameters(build(other)) - target)


@pytest.mark.parametrize("name", NEURAL)
def test_counting_is_building(name):
    assert count(CASES[name]) == parameters(build(CASES[name]))


def test_tied_tokens_are_counted_once():
    untied = ModelConfig(tokens=50, width=16)
    tied = dataclasses.replace(untied, tied=True)
    assert count(untied) - count(tied) == 50 * 16


def test_counting_draws_nothing():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    fit_width(CASES["lstm"], 20_000)
    assert torch.equal(torch.rand(3), expected)


def test_too_few_parameters():
    with pytest.raises(InputError, match="parameters: 5 are too few, a lstm of width 1 has"):
        fit_width(ModelConfig(kind="lstm"), 5)


def test_baselines_have_no_width():
    for name in ("last", "seasonal", "linear", "ngram"):
        assert fit_width(CASES[name], 3) == CASES[name]


def test_the_same_seed_builds_the_same_model():
    def weights():
        torch.manual_seed(4)
        return torch.cat([p.flatten() for p in build(CASES["gru"]).parameters()])

    assert torch.equal(weights(), weights())


def test_first_weights_are_drawn_evenly_where_told():
    config = ModelConfig(kind="lstm", tokens=11, width=8, layers=2, uniform=0.1)
    assert ModelConfig.from_json(config.to_json()) == config
    assert count(config) == count(dataclasses.replace(config, uniform=0.0))
    weights = torch.cat([weight.flatten() for weight in build(config).parameters()])
    assert float(weights.abs().max().detach()) < 0.1
    assert float(weights.std().detach()) == pytest.approx(0.1 / 3**0.5, rel=0.05)
    assert (weights != 0).all()
    with pytest.raises(InputError, match=r"uniform is -0.1, expected the largest first weight"):
        ModelConfig(uniform=-0.1)


def test_importing_models_needs_no_extras():
    code = (
        "import sys, throughtime.models.config; "
        "assert not {'polars', 'matplotlib', 'typer', 'rich', 'jinja2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"width": 12}, "width is 12, expected a multiple of 8, twice the heads"),
        ({"kv_heads": 3}, "kv_heads is 3, expected a divisor of 4"),
        ({"position": "absolute"}, "position is 'absolute', expected one of"),
        ({"feed_forward": "tanh"}, "feed_forward is 'tanh', expected one of"),
        ({"norm": "batch"}, "norm is 'batch', expected one of"),
        ({"horizon": 0}, "horizon is 0, expected a whole number of at least 1"),
        ({"patch": 0}, "patch is 0, expected a whole number of at least 1"),
        ({"hidden": -1}, "hidden is -1, expected a whole number of at least 0"),
    ],
)
def test_mistakes_with_a_transformer(fields, says):
    with pytest.raises(InputError) as error:
        ModelConfig("transformer", **fields)
    assert str(error.value).startswith(says)


@pytest.mark.parametrize("feed_forward", ["gelu", "swiglu"])
def test_a_transformers_heads_leave_the_rest_to_the_feed_forward_layers(feed_forward):
    config = ModelConfig("transformer", tokens=30, layers=2, feed_forward=feed_forward)
    for target in (7_000, 50_000, 123_456):
        fitted = fit_width(config, target)
        assert count(fitted) == pytest.approx(target, rel=0.01)
        assert fitted.width % 8 == 0
    assert fit_width(config, count(config)).width == config.width


def test_a_transformer_of_numbers_reads_patches():
    model = build(ModelConfig("transformer", targets=2, width=8, patch=3, horizon=4))
    x = torch.randn(1, 9, 2)
    other = x.clone()
    other[:, 1] += 1
    near, far = (model(part)[0] for part in (x, other))
    # A layer that sees 4 patches back, of 3 steps each; values enter as changes too, one step on.
    reached = (near != far).any(-1)[0].tolist()
    assert reached[0] is False
    assert reached[1:8] == [True] * 7
