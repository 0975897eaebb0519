import json
import signal
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from throughtime.errors import InputError
from throughtime.layers import GRU, LSTM, RNN, Embedding, Linear, Norm, Stack
from throughtime.training import (
    TrainingConfig,
    TrainingDiverged,
    evaluate,
    train,
    train_seeds,
)

from .toy import TOKENS, Batch, Source, build, loss

SHORT = TrainingConfig(epochs=4, learning_rate=0.06, window=5, log_every=1)


def losses(result):
    return [record["loss"] for record in result.history if "loss" in record]


@pytest.mark.parametrize(
    "values",
    [
        {"optimizer": "adamw", "weight_decay": 0.01},
        {"optimizer": "sgd", "learning_rate": 1.0},
        {"optimizer": "sgd", "learning_rate": 0.3, "momentum": 0.9},
        {"schedule": "cosine", "warmup": 5},
        {"schedule": "plateau", "decay_after": 1},
        {"schedule": "halving", "decay": 1.2},
        {"truncation": "full", "epochs": 10, "learning_rate": 0.1},
        {"depth": 8},
        {"truncation": "random", "depth": 8, "epochs": 6},
        {"truncation": "unbiased", "depth": 8, "epochs": 6},
        {"precision": "bfloat16"},
        {"dtype": "float64"},
    ],
    ids=str,
)
def test_every_choice_learns(values):
    model = build(dropout=0.0)
    before = evaluate(loss, model, Source(seed=9))["loss"]
    result = train(model, Source(), loss, replace(SHORT, **values), validate=Source(seed=9))
    after = result.validation["loss"]
    assert after < 0.75 * before
    dtype = torch.float64 if values.get("dtype") else torch.float32
    assert all(p.dtype == dtype for p in model.parameters())
    assert evaluate(loss, model, Source(seed=9))["loss"] == pytest.approx(
        after, rel=0.02 if "precision" in values else 1e-6
    )


def rates(**values):
    config = replace(SHORT, epochs=4, learning_rate=0.5, optimizer="sgd", **values)
    validations = iter([3.0, 2.0, 2.0, 2.0])
    result = train(
        build(), Source(items=1), loss, config, validate=lambda model: {"loss": next(validations)}
    )
    return [record["learning_rate"] for record in result.history if "loss" in record]


def test_learning_rates_step_by_step():
    # An epoch is one batch of 22 steps of time in windows of 5: five updates.
    assert rates() == [0.5] * 20
    halved = [0.5] * 5 + [0.25] * 5 + [0.125] * 5 + [0.0625] * 5
    assert rates(schedule="halving", decay_after=1) == halved
    assert rates(schedule="plateau", decay_after=0) == [0.5] * 15 + [0.25] * 5
    assert rates(warmup=4)[:6] == [0.125, 0.25, 0.375, 0.5, 0.5, 0.5]
    root = [0.5 * (4 / step) ** 0.5 for step in range(5, 21)]
    assert rates(schedule="inverse_root", warmup=4)[4:] == pytest.approx(root)
    wave = torch.cos(torch.arange(20, dtype=torch.float64) / 20 * torch.pi)
    assert rates(schedule="cosine") == pytest.approx((0.25 * (1 + wave)).tolist())
    assert rates(schedule="cosine", max_steps=10)[-1] < 0.5 * 0.05


def test_clipping_by_norm():
    class One(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(2))

    def slope(model, batch, state):
        return (model.weight * torch.tensor([30.0, 40.0])).sum(), 1.0, None

    for clip, step in ((None, 50.0), (5.0, 5.0), (100.0, 50.0)):
        model = One()
        config = replace(SHORT, optimizer="sgd", learning_rate=1.0, clip=clip, max_steps=1)
        result = train(model, Source(), slope, config)
        assert model.weight.detach().norm().item() == pytest.approx(step, rel=1e-5)
        assert result.history[0]["gradient_norm"] == pytest.approx(50.0)


def test_weight_decay_leaves_shifts_alone():
    torch.manual_seed(0)
    model = Stack(Embedding(TOKENS, 4), Norm(4), LSTM(4, 3, learn_initial_state=True), Linear(3, 5))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}

    def flat(model, batch, state):
        return torch.stack([p.sum() * 0 for p in model.parameters()]).sum(), 1.0, None

    config = replace(SHORT, optimizer="sgd", learning_rate=0.5, weight_decay=0.1, max_steps=1)
    train(model, Source(), flat, config)
    for name, p in model.named_parameters():
        share = 0.95 if p.ndim >= 2 else 1.0
        torch.testing.assert_close(p.detach(), before[name] * share)


def test_early_stopping_gives_back_the_best_weights():
    seen = []

    def validate(model):
        assert not model.training
        assert not torch.is_grad_enabled()
        seen.append([p.detach().clone() for p in model.parameters()])
        return {"loss": [5.0, 3.0, 4.0, float("nan"), 3.5, 1.0][len(seen) - 1], "other": 7.0}

    model = build()
    result = train(
        model, Source(items=1), loss, replace(SHORT, epochs=8, patience=3), validate=validate
    )
    assert result.stopped == "patience"
    assert len(seen) == 5
    assert result.best_step == 10
    assert result.validation == {"loss": 3.0, "other": 7.0}
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), seen[1], strict=True))
    assert not all(torch.equal(p, q) for p, q in zip(model.parameters(), seen[4], strict=True))
    assert not model.training


def test_validation_every_so_many_steps_and_at_the_end():
    result = train(
        build(),
        Source(items=1),
        loss,
        replace(SHORT, validate_every=3, max_steps=11),
        validate=Source(seed=9),
    )
    assert result.stopped == "steps"
    at = [record["step"] for record in result.history if "validation_loss" in record]
    assert at == [3, 6, 9, 11]
    assert result.best_step in at


def test_validation_carries_the_state():
    model, source = build(dropout=0.0), Source(items=1, steps=5, length=20)
    (whole,) = Source(items=1, steps=20, length=20).epoch(0)
    total, count, _ = loss(model, whole[0], None)
    assert evaluate(loss, model, source)["loss"] == pytest.approx(total.item() / count, rel=1e-5)
    assert model.training


def test_metrics_say_what_happened(tmp_path):
    config = replace(SHORT, epochs=2, log_every=4)
    moments = []
    result = train(
        build(), Source(), loss, config, folder=tmp_path, validate=Source(), progress=moments.append
    )
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == result.history
    trained = [line for line in lines if "loss" in line]
    # 3 batches of 5 windows: 15 steps an epoch, the last record of each is what remained.
    assert [line["step"] for line in trained] == [4, 8, 12, 15, 16, 20, 24, 28, 30]
    assert {line["epoch"] for line in trained[:4]} == {0}
    assert trained[0].keys() == {
        "step",
        "epoch",
        "seconds",
        "loss",
        "learning_rate",
        "gradient_norm",
        "values_per_second",
    }
    assert [line["step"] for line in lines if "validation_loss" in line] == [15, 30]
    assert all(a["seconds"] <= b["seconds"] for a, b in pairwise(lines))
    assert [moment.step for moment in moments] == [*range(1, 31)]
    assert all(a.done < b.done for a, b in pairwise(moments))
    assert moments[-1].done == 1
    assert moments[0].validation is None
    assert moments[15].validation == moments[-1].validation == lines[4]["validation_loss"]
    assert (result.step, result.stopped) == (30, "epochs")


def test_a_record_is_the_mean_over_its_steps():
    alone = losses(train(build(dropout=0.0), Source(), loss, replace(SHORT, epochs=1)))
    by_four = losses(
        train(build(dropout=0.0), Source(), loss, replace(SHORT, epochs=1, log_every=4))
    )
    # Windows of 5, 5, 5, 5 and 2 steps of time.
    assert by_four[0] == pytest.approx(sum(alone[:4]) / 4)
    weights = [2, 5, 5, 5]
    mean = sum(w * value for w, value in zip(weights, alone[4:8], strict=True)) / sum(weights)
    assert by_four[1] == pytest.approx(mean)


@pytest.mark.parametrize("what", ["loss", "gradient", "data"])
def test_what_is_not_finite_stops_with_reasons(what, tmp_path):
    calls = []

    def breaks(model, batch, state):
        total, count, state = loss(model, batch, state)
        calls.append(1)
        if len(calls) < 8:
            return total, count, state
        if what == "gradient":
            # A finite loss whose slope is infinite: the root at zero.
            return total + (next(model.parameters()).sum() * 0).sqrt(), count, state
        return total * (float("inf") if what == "data" else float("nan")), count, state

    class Infinite(Source):
        def epoch(self, number):
            parts = super().epoch(number)
            if what != "data":
                return parts
            numbers = torch.full((4, 5), torch.inf)
            return [[replace(batch, reset=None) for batch in windows] for windows in parts[:-1]] + [
                [Numbers(**vars(batch), numbers=numbers) for batch in parts[-1]]
            ]

    model = build()
    kept = []
    config = replace(SHORT, checkpoint_every=1, clip=None)
    source = Infinite(items=2)
    with pytest.raises(TrainingDiverged) as error:
        train(
            model,
            source,
            breaks,
            config,
            folder=tmp_path,
            progress=lambda moment: kept.append([p.detach().clone() for p in model.parameters()]),
        )
    message = str(error.value)
    assert "\n" not in message
    assert "at step 8" in message
    assert {"loss": "loss nan", "gradient": "norm nan", "data": "loss inf"}[what] in message
    expected = {"data": "infinite numbers"}.get(what, "no clipping (clip is None; try 1)")
    assert expected in message
    assert str(tmp_path) in message
    # The step was not taken, and the checkpoint from before it is good.
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), kept[-1], strict=True))
    result = train(build(1), source, loss, config, folder=tmp_path, resume=True)
    assert result.history[6]["step"] == 7
    assert result.stopped == "epochs"


class Numbers(Batch):
    def __init__(self, numbers, **parts):
        super().__init__(**parts)
        object.__setattr__(self, "numbers", numbers)

    def to(self, device=None, dtype=None):
        return self


def test_a_learning_rate_too_high_is_told():
    def square(model, batch, state):
        return torch.stack([p.square().sum() for p in model.parameters()]).sum(), 1.0, None

    config = replace(SHORT, optimizer="sgd", learning_rate=1e30, clip=1e30)
    with pytest.raises(TrainingDiverged, match=r"learning rate 1e\+30 is too high.*no folder"):
        train(build(), Source(), square, config)


def test_ctrl_c_leaves_a_checkpoint_and_a_result(tmp_path):
    def press(moment):
        if moment.step == 7:
            signal.raise_signal(signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    config = replace(SHORT, epochs=2, schedule="cosine")
    model = build()
    result = train(model, Source(), loss, config, folder=tmp_path, progress=press)
    assert result.stopped == "interrupted"
    assert result.step in (7, 8)
    assert signal.getsignal(signal.SIGINT) is handler
    resumed = build(1)
    end = train(resumed, Source(), loss, config, folder=tmp_path, resume=True)
    straight = build()
    train(straight, Source(), loss, config)
    assert end.step == 30
    for p, q in zip(resumed.parameters(), straight.parameters(), strict=True):
        assert torch.equal(p, q)


def test_a_second_ctrl_c_stops_at_once(tmp_path):
    def press_twice(model, batch, state):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        return loss(model, batch, state)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(build(), Source(), press_twice, SHORT, folder=tmp_path)
    assert signal.getsignal(signal.SIGINT) is handler


def test_max_seconds_stops_at_a_cut():
    result = train(build(), Source(), loss, replace(SHORT, epochs=10**6, max_seconds=0.2))
    assert result.stopped == "seconds"
    assert 0.2 <= result.seconds < 5
    assert result.step >= 1


def test_windows_where_nothing_counts_change_nothing():
    class Gaps(Source):
        def epoch(self, number):
            return [
                [windows[0], replace(windows[1], mask=torch.zeros(4, 5, dtype=torch.bool))]
                for windows in super().epoch(number)
            ]

    def masked(model, batch, state):
        total, count, state = loss(model, batch, state)
        return (total, count, state) if batch.mask is None else (total * 0, 0.0, state)

    config = replace(SHORT, epochs=1)
    result = train(build(), Gaps(), masked, config)
    assert result.step == 3  # a step per window that counts, three batches


def test_several_seeds(tmp_path):
    config = replace(SHORT, epochs=1)

    def make():
        return Stack(Embedding(TOKENS, 4), GRU(4, 3), Linear(3, TOKENS))

    runs = train_seeds(make, Source(), loss, config, [0, 1], folder=tmp_path)
    again = train_seeds(make, Source(), loss, config, [1])
    weights = [torch.cat([p.flatten() for p in model.parameters()]) for model, _ in runs + again]
    assert torch.equal(weights[1], weights[2])
    assert not torch.equal(weights[0], weights[1])
    assert (tmp_path / "seed-1" / "metrics.jsonl").exists()


@pytest.mark.parametrize("layer", [RNN, LSTM, GRU])
def test_bfloat16_keeps_the_state_in_float32(layer):
    states = []

    def watched(model, batch, state):
        total, count, state = loss(model, batch, state)
        states.extend(part.dtype for part in state[1])
        return total, count, state

    model = Stack(Embedding(TOKENS, 4), layer(4, 6), Linear(6, TOKENS))
    config = replace(SHORT, epochs=1, precision="bfloat16")
    result = train(model, Source(), watched, config)
    assert set(states) == {torch.float32}
    exact = train(build(dropout=0.0), Source(), loss, replace(config, precision="full"))
    assert losses(result)[0] != losses(exact)[0]
    assert all(p.dtype == torch.float32 for p in model.parameters())


class Empty(Source):
    def epoch(self, number):
        return []


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: train(build(), Empty(), loss, SHORT), "has 0 batches, expected at least one"),
        (lambda: train(build(), Source(), loss, replace(SHORT, patience=1)), "patience is set"),
        (lambda: train(build(), Source(), loss, SHORT, resume=True), "expected the folder"),
        (
            lambda: train(build(), Source(), loss, SHORT, validate=lambda model: {"error": 1.0}),
            "expected a 'loss' among them",
        ),
        (lambda: train(nn.Identity(), Source(), loss, SHORT), "nothing to train"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(call, says):
    with pytest.raises(InputError, match=says) as error:
        call()
    assert "\n" not in str(error.value)


def test_a_folder_holds_one_run(tmp_path):
    config = replace(SHORT, epochs=1)
    train(build(), Source(), loss, config, folder=tmp_path)
    with pytest.raises(InputError, match="holds a checkpoint already"):
        train(build(), Source(), loss, config, folder=tmp_path)
    with pytest.raises(InputError, match="there is no checkpoint in"):
        train(build(), Source(), loss, config, folder=tmp_path / "other", resume=True)
    with pytest.raises(InputError, match="seed is 3, but the checkpoint was made with 0"):
        train(build(), Source(), loss, replace(config, seed=3), folder=tmp_path, resume=True)
    with pytest.raises(InputError, match=r"the model has \[28, 4\] for layers\.1\.weight_input"):
        train(build(hidden=7), Source(), loss, config, folder=tmp_path, resume=True)
