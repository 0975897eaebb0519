import inspect
import json
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from throughtime.errors import InputError
from throughtime.training import Full, RandomTruncation, TrainingConfig, Truncated


def test_json_there_and_back():
    config = TrainingConfig(
        optimizer="sgd", momentum=0.9, clip=None, max_steps=7, truncation="unbiased", depth=100
    )
    assert TrainingConfig.from_json(config.to_json()) == config
    assert TrainingConfig.from_dict(asdict(config)) == config
    assert TrainingConfig.from_json("{}") == TrainingConfig()
    assert TrainingConfig.from_json('{"learning_rate": 1}').learning_rate == 1.0
    assert json.loads(config.to_json())["clip"] is None


def test_every_field_is_documented_and_checked():
    source = Path(inspect.getfile(TrainingConfig)).read_text()
    for field in fields(TrainingConfig):
        line = source.index(f"\n    {field.name}: ")
        assert source[line:].split("\n")[2].startswith('    """'), field.name


def test_the_truncations():
    assert TrainingConfig(truncation="full").make_truncation() == Full()
    assert TrainingConfig().make_truncation() == Truncated()
    assert TrainingConfig(window=8, depth=20).make_truncation() == Truncated(20)
    random = TrainingConfig(truncation="random", window=8, depth=20)
    assert random.make_truncation() == RandomTruncation(20.0)
    unbiased = TrainingConfig(truncation="unbiased", window=8, depth=20)
    assert unbiased.make_truncation() == RandomTruncation(20.0, unbiased=True)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"optimizer": "adam"}, "optimizer is 'adam', expected one of adamw, sgd"),
        ({"learning_rate": 0}, "learning_rate is 0, expected more than 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan, expected a number"),
        ({"learning_rate": "fast"}, "learning_rate is 'fast', expected a number"),
        ({"learning_rate": None}, "learning_rate is None, expected a number"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0, expected at least 0"),
        ({"momentum": 1.0}, "momentum is 1.0, expected less than 1"),
        ({"beta2": 0.0}, "beta2 is 0.0, expected more than 0"),
        ({"beta2": 1.0}, "beta2 is 1.0, expected less than 1"),
        ({"schedule": "step"}, "schedule is 'step'"),
        ({"schedule": "inverse_root"}, "warmup is 0, expected at least 1 with schedule inverse_r"),
        ({"decay": 1.0}, "decay is 1.0, expected more than 1"),
        ({"final_rate": 2.0}, "final_rate is 2.0, expected at most 1"),
        ({"clip": 0.0}, "clip is 0.0, expected more than 0"),
        ({"epochs": 0}, "epochs is 0, expected at least 1"),
        ({"epochs": 1.5}, "epochs is 1.5, expected a whole number"),
        ({"epochs": True}, "epochs is True, expected a whole number"),
        ({"max_steps": 0}, "max_steps is 0, expected at least 1"),
        ({"window": 0}, "window is 0"),
        ({"depth": 3, "window": 4}, "depth is 3, expected at least the window's 4"),
        ({"truncation": "random"}, "depth is None, expected more than the window's 64"),
        ({"truncation": "unbiased", "depth": 64}, "depth is 64, expected more than"),
        ({"precision": "float16"}, "precision is 'float16', expected full or bfloat16 on cpu"),
        ({"precision": "bfloat16", "dtype": "float64"}, "expected full with dtype float64"),
        ({"dtype": "float8"}, "dtype is 'float8'"),
        ({"device": "gpu please"}, "device is 'gpu please'"),
        ({"seed": -1}, "seed is -1"),
        ({"patience": 0}, "patience is 0"),
        ({"average": 0}, "average is 0, expected at least 1"),
        ({"average": 2.5}, "average is 2.5, expected a whole number"),
        ({"measure": "ter"}, "measure is 'ter', expected one of loss, bleu, chrf, wer, per"),
    ],
)
def test_what_is_out_of_range_is_named(values, says):
    with pytest.raises(InputError) as error:
        TrainingConfig.from_dict(values)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "expected JSON"),
        ("[1]", "expected a JSON object"),
        ('{"lr": 1}', "unknown field 'lr'"),
    ],
)
def test_what_is_no_configuration(text, says):
    with pytest.raises(InputError, match=says):
        TrainingConfig.from_json(text)


def test_a_resumed_run_may_be_longer_but_not_another():
    config = TrainingConfig(epochs=5, max_steps=10)
    config.check_resumes(asdict(TrainingConfig(epochs=2)))
    with pytest.raises(InputError, match=r"learning_rate is 0\.003, but .* made with 0\.1"):
        config.check_resumes(asdict(TrainingConfig(learning_rate=0.1)))


def test_a_field_that_an_older_run_did_not_know_was_at_its_default():
    earlier = asdict(TrainingConfig())
    del earlier["measure"]
    TrainingConfig().check_resumes(earlier)
    with pytest.raises(InputError, match=r"measure is 'wer', but .* made with 'loss'"):
        TrainingConfig(measure="wer").check_resumes(earlier)
