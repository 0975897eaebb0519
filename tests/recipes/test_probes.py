"""Training on probes: names, gates that start open, and when training ends."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from throughtime import GRU, LSTM, RNN
from throughtime.data.probes import adding, copying, first_symbol, parity
from throughtime.errors import InputError
from throughtime.inspect.gradient_flow import gradient_flow
from throughtime.inspect.memory import probe_error, success
from throughtime.models.sizing import parameters
from throughtime.recipes import probes
from throughtime.recipes.probes import (
    TEST,
    VALIDATION,
    chrono_,
    learn_probe,
    probe_model,
    probe_named,
    run_probe,
)
from throughtime.training import TrainingConfig

MADE = {
    "adding:9": adding,
    "copying:9": copying,
    "parity:9": parity,
    "first-symbol:9": first_symbol,
}
QUICK = TrainingConfig(learning_rate=0.02, max_steps=300, validate_every=20)


# -- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MADE)
def test_a_name_is_a_probe_and_its_time(name):
    probe = probe_named(name)(6, 3)
    expected = MADE[name](rows=6, time=9, seed=3)
    assert np.array_equal(probe.inputs, expected.inputs)
    assert np.array_equal(probe.targets, expected.targets)
    assert not np.array_equal(probe.inputs, probe_named(name)(6, 4).inputs)


@pytest.mark.parametrize(
    "name", ["adding", "adding:", "adding:0", "adding:-3", "adding:2.5", "addition:9", "", ":9"]
)
def test_other_names_are_refused(name):
    with pytest.raises(InputError, match="expected one of adding, copying, parity") as error:
        probe_named(name)
    assert repr(name) in str(error.value)
    assert "\n" not in str(error.value)


# -- gates that start open --------------------------------------------------------------------


def test_chrono_opens_an_lstm_for_times_up_to_those_asked_for():
    torch.manual_seed(0)
    layer = LSTM(2, 400)
    chrono_(layer, 100)
    i, f, g, o = layer.bias.detach().chunk(4)
    assert torch.equal(i, -f)
    assert not g.any()
    assert not o.any()
    times = f.exp()
    assert 1 <= times.min() < 3
    assert 96 < times.max() <= 99
    assert times.mean() == pytest.approx(50, abs=5)  # evenly, not their logarithms
    # At rest a unit keeps T / (T + 1) at each step.
    assert f.sigmoid().tolist() == pytest.approx((times / (times + 1)).tolist(), rel=1e-5)


def test_chrono_opens_the_update_gate_of_a_gru_alone():
    layer = GRU(2, 300)
    before = layer.bias.detach().clone()
    chrono_(layer, 50)
    r, z, n = layer.bias.detach().chunk(3)
    assert torch.equal(r, before.chunk(3)[0])
    assert torch.equal(n, before.chunk(3)[2])
    assert z.min() >= 0
    assert math.log(40) < z.max() <= math.log(49)


@pytest.mark.parametrize("cell", [LSTM, GRU])
def test_more_of_the_gradient_arrives_with_it(cell):
    torch.manual_seed(0)
    layer, x = cell(2, 16), torch.rand(2, 100, 2)

    def left():
        (curve,) = gradient_flow(layer, x, lags=[0, 99]).curves.values()
        return curve[1] / curve[0]

    usual = left()
    chrono_(layer, 100)
    assert usual < 1e-3
    assert left() > 0.05


def test_what_has_no_gates_is_refused():
    with pytest.raises(InputError, match="chrono_: layer is RNN, expected an LSTM or a GRU"):
        chrono_(RNN(2, 3), 100)
    with pytest.raises(InputError, match="chrono_: steps is 2, expected at least 3"):
        chrono_(LSTM(2, 3), 2)


# -- models and training ----------------------------------------------------------------------


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_a_model_answers_its_probe(name, kind):
    probe = probe_named(name)(7, 0)
    model = probe_model(probe, kind, 5)
    assert math.isfinite(probe_error(model, probe))
    assert 0 <= success(model, probe) <= 1
    assert type(model.body).__name__.lower() == kind
    assert model.body.hidden_size == 5


def test_gates_start_as_asked_for():
    probe = adding(2, 50, 0)
    torch.manual_seed(0)
    usual = probe_model(probe, "lstm", 64)
    opened = probe_model(probe, "lstm", 64, chrono=50)
    assert torch.equal(usual.body.bias.detach().chunk(4)[1], torch.ones(64))
    assert opened.body.bias.detach().chunk(4)[1].max() > math.log(30)
    assert parameters(usual) == parameters(opened)
    with pytest.raises(InputError, match="chrono_: layer is RNN"):
        probe_model(probe, "rnn", 64, chrono=50)
    with pytest.raises(InputError, match="kind is 'transformer', expected one of rnn, lstm, gru"):
        probe_model(probe, "transformer", 64)
    with pytest.raises(InputError, match="hidden is 0"):
        probe_model(probe, "gru", 0)


def test_training_ends_when_it_is_good_enough():
    make = probe_named("first-symbol:4")
    torch.manual_seed(0)
    model = probe_model(make(1, 0), "gru", 16)
    moments = []
    learned = learn_probe(model, make, QUICK, enough=0.2, progress=moments.append)
    assert learned.stopped == "enough"
    assert learned.updates == moments[-1].step == len(moments)
    assert learned.updates % 20 == 0
    assert 0 < learned.updates < 300
    found = {one.step: one.validation for one in moments if one.step % 20 == 0}
    assert [step for step, cost in found.items() if cost <= 0.2] == [learned.updates]
    # The weights are those that were good enough.
    held_out = make(500, VALIDATION)
    assert probe_error(model, held_out) == pytest.approx(moments[-1].validation, rel=1e-4)
    assert not model.training


def test_training_ends_when_the_updates_are_spent():
    make = probe_named("adding:6")
    model = probe_model(make(1, 0), "rnn", 4)
    learned = learn_probe(model, make, replace(QUICK, max_steps=45))
    assert learned == (45, "steps")
    assert not model.training


def test_the_best_weights_are_kept():
    """A learning rate that is far too high: the last weights are not the best."""
    make = probe_named("adding:6")
    torch.manual_seed(1)
    model = probe_model(make(1, 0), "rnn", 8)
    costs = {}

    def watch(moment):
        if moment.step % 5 == 0:
            costs[moment.step] = moment.validation

    config = replace(QUICK, learning_rate=0.3, max_steps=60, validate_every=5)
    learn_probe(model, make, config, progress=watch)
    best = min(costs.values())
    assert best < costs[60]
    assert probe_error(model, make(500, VALIDATION)) == pytest.approx(best, rel=1e-4)


def test_training_that_diverges_ends_there():
    make = probe_named("adding:6")
    model = probe_model(make(1, 0), "rnn", 4)
    config = replace(QUICK, learning_rate=1e30, clip=None, max_steps=50)
    learned = learn_probe(model, make, config)
    assert learned.stopped == "diverged"
    assert learned.updates < 50
    assert not model.training


def test_the_seed_draws_the_rows():
    make = probe_named("adding:6")

    def weights(seed):
        torch.manual_seed(0)
        model = probe_model(make(1, 0), "gru", 4)
        learn_probe(model, make, replace(QUICK, max_steps=3), seed=seed)
        return model.weight.detach()

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


@pytest.mark.parametrize("field", ["max_steps", "validate_every"])
def test_a_budget_is_needed(field):
    make = probe_named("adding:6")
    with pytest.raises(InputError, match=f"learn_probe: {field} is None, expected a number"):
        learn_probe(probe_model(make(1, 0), "gru", 4), make, replace(QUICK, **{field: None}))


# -- whole runs -------------------------------------------------------------------------------


def test_a_run_is_told_whole():
    config = replace(QUICK, max_steps=4, validate_every=2)
    run = run_probe(
        probe_named("adding:120"), "lstm", 6, config, name="LSTM", seed=3, chrono=120
    )  # fmt: skip
    assert (run.model, run.time, run.seed, run.rate) == ("LSTM", 120, 3, 0.02)
    assert (run.updates, run.stopped) == (4, "steps")
    assert run.lags == (*range(0, 120, 2), 119)
    assert run.seconds > 0
    assert run.before != run.after
    assert run_probe(probe_named("adding:6"), "gru", 6, config).model == "gru"
    # What comes before training is the gradient of the first weights, on rows of the test.
    torch.manual_seed(3)
    probe = probe_named("adding:120")(16, TEST)
    model = probe_model(probe, "lstm", 6, chrono=120)
    x = torch.from_numpy(probe.inputs)
    features, _, _ = model.inputs(x, model.inputs.initial_state(16))
    flow = gradient_flow(model.body, features, lags=run.lags)
    assert run.before == pytest.approx(flow.curves["LSTM"], rel=1e-5)


def test_a_run_is_the_same_again_and_another_with_another_seed():
    config = replace(QUICK, max_steps=4, validate_every=2)

    def run(seed):
        return replace(run_probe(probe_named("adding:6"), "gru", 6, config, seed=seed), seconds=0.0)

    assert run(0) == run(0)
    assert run(0).error != run(1).error


def test_a_run_may_be_in_double_precision():
    config = replace(QUICK, max_steps=2, validate_every=2, dtype="float64")
    run = run_probe(probe_named("adding:6"), "rnn", 6, config)
    assert all(norm > 0 for norm in run.after)


def test_a_run_solves_what_is_easy():
    run = run_probe(probe_named("first-symbol:3"), "gru", 16, QUICK, enough=0.02)
    assert run.stopped == "enough"
    assert run.success > 0.98
    assert run.error < 0.05


def test_an_interrupted_run_is_no_result(monkeypatch):
    monkeypatch.setattr(probes, "learn_probe", lambda *_, **__: probes.Learned(2, "interrupted"))
    with pytest.raises(KeyboardInterrupt):
        run_probe(probe_named("adding:6"), "gru", 6, QUICK)


# -- when a probe is solved -------------------------------------------------------------------


def test_training_ends_when_enough_rows_are_right():
    make = probe_named("first-symbol:3")
    torch.manual_seed(0)
    model = probe_model(make(1, 0), "gru", 16)
    learned = learn_probe(model, make, QUICK, enough_success=0.97)
    assert learned.stopped == "enough"
    assert learned.updates < 300
    # The weights are those that were good enough, and no error was asked for.
    assert success(model, make(500, VALIDATION)) >= 0.97
    torch.manual_seed(0)
    model = probe_model(make(1, 0), "gru", 16)
    again = learn_probe(model, make, replace(QUICK, max_steps=learned.updates))
    assert again.stopped == "steps"


@pytest.mark.parametrize(("name", "share"), [("first-symbol:3", 1 / 4), ("parity:5", 1 / 32),
                                             ("copying:9", 8.0**-10)])  # fmt: skip
def test_what_guessing_meets(name, share):
    probe = probe_named(name)(3, 0)
    assert probes.guessed(probe) == pytest.approx(share)
    assert probes.good_enough(probe) == {"enough_success": 0.995}


def test_what_always_answering_one_meets():
    probe = adding(20000, 6, 0)
    found = float((abs(probe.targets - 1) < 0.08).mean())
    assert probes.guessed(probe) == pytest.approx(found, abs=0.01)
    assert probes.good_enough(probe) == {"enough": 0.001}


@pytest.mark.parametrize("name", MADE)
def test_runs_are_judged_as_is_usual_for_their_probe(name):
    make = probe_named(name)
    run = run_probe(make, "gru", 4, replace(QUICK, max_steps=2, validate_every=2))
    solved = replace(run, error=0.5, success=0.99)
    close = replace(run, error=0.0099, success=0.98)
    found = probes.judged(make(1, 0), [solved, close])
    assert found.probe == name.partition(":")[0]
    assert found.baseline == make(1, 0).baseline
    by_error = name.startswith("adding")
    assert found.solves(solved) is not by_error
    assert found.solves(close) is by_error
