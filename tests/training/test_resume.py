"""Resuming equals never having stopped, to the last bit."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from throughtime.errors import InputError
from throughtime.training import TrainingConfig, train

from . import toy
from .toy import RUN, Source, build, loss

BASE = TrainingConfig(epochs=2, learning_rate=0.02, window=5, log_every=2)

CASES = [
    {"optimizer": "adamw", "weight_decay": 0.1},
    {"optimizer": "sgd", "learning_rate": 0.5, "momentum": 0.9},
    {"schedule": "cosine", "warmup": 4},
    {"schedule": "plateau", "decay_after": 0, "validate_every": 3},
    {"schedule": "halving", "decay_after": 0},
    {"schedule": "inverse_root", "warmup": 4, "beta2": 0.98, "average": 2},
    {"schedule": "plateau", "decay_after": 0, "validate_every": 4, "average": 3},
    {"truncation": "full", "epochs": 3},
    {"depth": 8},
    {"depth": 13},
    {"truncation": "random", "depth": 8},
    {"truncation": "unbiased", "depth": 8},
    {"precision": "bfloat16"},
    {"dtype": "float64"},
]


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def records(result):
    """Without the clock."""
    return [
        {k: v for k, v in record.items() if k not in ("seconds", "values_per_second")}
        for record in result.history
    ]


def run(config, **options):
    model = build(options.pop("seed", 0))
    result = train(model, Source(), loss, config, **options)
    return model, result


@pytest.mark.parametrize("values", CASES, ids=str)
def test_stopped_anywhere_and_resumed(values, tmp_path):
    config = replace(BASE, **values)
    validate = Source(items=1, seed=9)
    straight, whole = run(config, validate=validate)
    for stop in (1, 18) if values.get("truncation") != "full" else (1, 4):
        folder = tmp_path / str(stop)
        _, part = (
            run(replace(config, max_steps=stop), validate=validate, folder=folder)
            if (config.schedule != "cosine")
            else interrupted(config, stop, folder, validate)
        )
        assert part.step == stop
        torch.manual_seed(1234)  # whatever happened in between
        torch.rand(5)
        resumed, rest = run(config, seed=5, validate=validate, folder=folder, resume=True)
        assert torch.equal(weights(resumed), weights(straight))
        assert rest.step == whole.step
        assert rest.best_step == whole.best_step
        assert rest.validation == whole.validation
        assert records(rest) == records(whole)
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line) for line in lines] == rest.history


def interrupted(config, stop, folder, validate):
    """`max_steps` would bend the cosine; Ctrl-C does not."""

    def press(moment):
        if moment.step == stop:
            signal.raise_signal(signal.SIGINT)

    return run(config, validate=validate, folder=folder, progress=press)


def test_again_and_again(tmp_path):
    straight, _ = run(BASE)
    run(replace(BASE, max_steps=1), folder=tmp_path)
    for stop in range(2, 30, 3):
        model, _ = run(replace(BASE, max_steps=stop), folder=tmp_path, resume=True)
    model, result = run(BASE, folder=tmp_path, resume=True)
    assert torch.equal(weights(model), weights(straight))
    # A finished run stays as it is.
    model, again = run(BASE, folder=tmp_path, resume=True)
    assert torch.equal(weights(model), weights(straight))
    assert again.step == result.step


@pytest.mark.parametrize("truncation", ["truncated", "random"])
def test_a_finished_run_made_longer(truncation, tmp_path):
    # From the end of an epoch, where there is no cut to go on from.
    config = replace(BASE, truncation=truncation, depth=8)
    straight, _ = run(config)
    run(replace(config, epochs=1), folder=tmp_path)
    resumed, _ = run(config, seed=5, folder=tmp_path, resume=True)
    assert torch.equal(weights(resumed), weights(straight))


def test_a_plateau_is_remembered(tmp_path):
    config = replace(BASE, schedule="plateau", decay_after=1, validate_every=2)

    def never_better(model):
        return {"loss": 1.0}

    _, whole = run(config, validate=never_better)
    rates = [record["learning_rate"] for record in whole.history if "loss" in record]
    assert rates[0] > 10 * rates[-1]
    run(replace(config, max_steps=13), folder=tmp_path, validate=never_better)
    _, rest = run(config, seed=5, folder=tmp_path, resume=True, validate=never_better)
    assert records(rest) == records(whole)
    best = next(record for record in whole.history if "validation_loss" in record)
    assert rest.best_step == best["step"] == 2


def test_the_dropout_matters():
    # Without the generators' states the runs above would differ: the test of the test.
    one, _ = run(BASE)
    other, _ = run(replace(BASE, seed=1))
    assert not torch.equal(weights(one), weights(other))


def test_checkpoints_change_nothing(tmp_path):
    straight, _ = run(BASE)
    often, _ = run(replace(BASE, checkpoint_every=1), folder=tmp_path / "often")
    ticking = replace(BASE, checkpoint_seconds=1e-6)
    clock, _ = run(ticking, folder=tmp_path / "clock")
    assert torch.equal(weights(often), weights(straight))
    assert torch.equal(weights(clock), weights(straight))


def test_early_stopping_goes_on_counting(tmp_path):
    config = replace(BASE, epochs=30, patience=2, learning_rate=0.3)
    straight, whole = run(config, validate=Source(seed=9))
    assert whole.stopped == "patience"
    run(replace(config, max_steps=whole.step - 20), validate=Source(seed=9), folder=tmp_path)
    resumed, rest = run(config, seed=5, validate=Source(seed=9), folder=tmp_path, resume=True)
    assert (rest.stopped, rest.step) == ("patience", whole.step)
    assert torch.equal(weights(resumed), weights(straight))


def test_killed_in_the_middle_of_an_epoch(tmp_path):
    config = TrainingConfig(**RUN)
    straight, whole = run(config)
    command = [sys.executable, toy.__file__, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= 11:
                process.kill()  # SIGKILL: nothing is cleaned up
                break
    assert process.returncode == -signal.SIGKILL
    before = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert 10 <= len(before) < whole.step
    model = build(5)
    result = train(model, Source(), loss, config, folder=tmp_path, resume=True)
    assert result.step == whole.step
    assert torch.equal(weights(model), weights(straight))
    assert records(result) == records(whole)


def test_another_source_is_noticed(tmp_path):
    run(replace(BASE, max_steps=3), folder=tmp_path)
    with pytest.raises(InputError, match="has 2 batches, expected 3 as before"):
        train(build(), Source(items=2), loss, BASE, folder=tmp_path, resume=True)


def test_files_are_plain(tmp_path):
    run(replace(BASE, max_steps=3), folder=tmp_path)
    names = sorted(str(path.relative_to(tmp_path)) for path in Path(tmp_path).rglob("*.*"))
    assert names == [
        "checkpoint/latest.safetensors",
        "checkpoint/previous.safetensors",
        "metrics.jsonl",
    ]


def half(config):
    """float16 as on a GPU, with scaled gradients; the configuration refuses it on a CPU."""
    object.__setattr__(config, "precision", "float16")
    return config


def test_scaled_gradients_come_back_as_well(tmp_path):
    def loud(model, batch, state):
        total, count, state = loss(model, batch, state)
        return total * 1e4, count, state

    def go(config, seed=0, **options):
        model = build(seed)
        return model, train(model, Source(), loud, half(replace(config, log_every=1)), **options)

    straight, whole = go(BASE)
    # The first scales overflow float16: those steps are left out and the scale is lowered.
    overflowed = [record["gradient_norm"] is None for record in whole.history]
    assert 2 <= sum(overflowed) < 15
    assert losses_fall(whole)
    # Norms are those of the gradient itself, not of the scaled one.
    model = build()
    exact = train(model, Source(), loud, replace(BASE, max_steps=1, log_every=1)).history[0]
    norms = [record["gradient_norm"] for record in whole.history if record["gradient_norm"]]
    assert norms[0] == pytest.approx(exact["gradient_norm"], rel=0.5)
    for stop in (1, 9):
        go(replace(BASE, max_steps=stop), folder=tmp_path / str(stop))
        resumed, rest = go(BASE, seed=5, folder=tmp_path / str(stop), resume=True)
        assert torch.equal(weights(resumed), weights(straight))
        assert records(rest) == records(whole)


def losses_fall(result):
    found = [record["loss"] for record in result.history]
    return found[-1] < found[0]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["full", "bfloat16", "float16"])
def test_on_a_gpu(precision, tmp_path):
    config = replace(BASE, device="cuda", precision=precision)
    _, whole = run(config)
    run(replace(config, max_steps=9), folder=tmp_path)
    resumed, rest = run(config, seed=5, folder=tmp_path, resume=True)
    assert rest.step == whole.step
    assert losses_fall(rest)
    assert all(p.is_cuda for p in resumed.parameters())
    ours, theirs = records(rest)[-1], records(whole)[-1]
    assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-3)
