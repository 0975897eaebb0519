"""How far back a model remembers."""

import io
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from throughtime.data import Batch, FreshProbes, Probe, adding, copying, first_symbol, parity
from throughtime.errors import InputError
from throughtime.inspect import (
    ContextCurve,
    context_curve,
    draw_context_curve,
    probe_error,
    probe_loss,
    success,
)
from throughtime.inspect.drawing import style
from throughtime.inspect.theme import THEMES
from throughtime.layers import GRU, LSTM, Dropout, Stack
from throughtime.models.autoregressive import Autoregressive
from throughtime.models.classifier import Classifier
from throughtime.models.heads import Categorical, Normal
from throughtime.models.inputs import NumberInputs, TokenInputs
from throughtime.models.ngram import NGram
from throughtime.tasks import evaluate
from throughtime.training import TrainingConfig, train
from throughtime.training import evaluate as mean_loss

TOKENS = 5


def gru(seed=0):
    torch.manual_seed(seed)
    model = Autoregressive(TokenInputs(TOKENS, 6), GRU(6, 8), Categorical(8, TOKENS)).double()
    for weight in model.parameters():  # larger than at first, so that the past matters
        torch.nn.init.normal_(weight, std=0.8)
    return model.requires_grad_(False)


def of_numbers(covariates=0):
    torch.manual_seed(1)
    inputs = NumberInputs(2, covariates=covariates, scaling="standard")
    model = Autoregressive(inputs, LSTM(inputs.output_size, 6), Normal(6, 2)).double()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return model.requires_grad_(False)


def ids(rows=3, time=14, seed=0):
    return torch.randint(TOKENS, (rows, time), generator=torch.Generator().manual_seed(seed))


# -- by how much is shown ---------------------------------------------------------------------


@pytest.mark.parametrize("last", [1, 5, 14])
def test_all_of_the_context_is_the_ordinary_evaluation(last):
    model, x = gru(), ids()
    curve = context_curve(model, x, [13, 50], last=last)
    assert curve.nats == (curve.full, curve.full)
    previous, _ = model.shift(x)
    batch = Batch(previous, x)
    before = evaluate(model, [batch.narrow(0, 14 - last)])
    score = evaluate(model, [batch.narrow(14 - last, 14)], before.state)
    assert curve.full == pytest.approx(score.nats, abs=1e-12)
    assert curve.values == score.counted == 3 * last


def test_one_step_by_hand():
    """The last step given the 3 before it: the marker, they, and what is then expected."""
    model, x = gru(), ids(rows=1, time=9)
    with torch.no_grad():
        expected, state = model.step(None)
        for value in x[0, 5:8]:
            expected, state = model.step(value.view(1), state)
        nats = -float(expected.log_prob(x[0, 8]))
    curve = context_curve(model, x, [3], last=1)
    assert curve.nats[0] == pytest.approx(nats, abs=1e-12)
    assert abs(curve.nats[0] - curve.full) > 1e-4


@pytest.mark.parametrize("chunk", [1, 20, 4096])
def test_every_step_given_only_the_k_before_it(chunk):
    model, x, last = gru(), ids(), 12
    curve = context_curve(model, x, [6, 0, 1, 3, 1], last=last, chunk=chunk)
    assert curve.lengths == (0, 1, 3, 6)
    for k, nats in zip(curve.lengths, curve.nats, strict=True):
        each = [model.log_prob(x[:, max(0, t - k) : t + 1])[:, -1] for t in range(14 - last, 14)]
        assert nats == pytest.approx(-float(torch.stack(each).mean()), abs=1e-12)


@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize("shuffled", [False, True])
def test_an_n_gram_makes_no_use_of_more_than_it_sees(order, shuffled):
    text = ids(rows=20, time=60, seed=3).cummax(1).values + ids(rows=20, time=60, seed=4)
    text = text % TOKENS
    model = NGram(order, TOKENS).fit(text)
    curve = context_curve(model, text, range(8), last=30, shuffled=shuffled)
    sees = order - 1
    assert curve.nats[sees:] == (curve.full,) * (8 - sees)  # to the last bit
    if sees:
        assert abs(curve.nats[sees - 1] - curve.full) > 1e-3
    else:
        assert curve.effective == 0


def test_numbers_covariates_and_what_is_missing():
    model = of_numbers(covariates=1)
    g = torch.Generator().manual_seed(2)
    x = torch.randn(2, 10, 2, generator=g).double().cumsum(1)
    x[0, 8, 0] = x[1, 3] = torch.nan
    known = torch.randn(2, 10, 1, generator=g).double()
    curve = context_curve(model, x, [2, 9], last=4, covariates=known)
    assert curve.values == 2 * 4 * 2 - 1
    total = 0.0
    for t in range(6, 10):
        part = slice(t - 2, t + 1)
        total -= float(model.log_prob(x[:, part], None, known[:, part])[:, -1].sum())
    assert curve.nats[0] == pytest.approx(total / 15, abs=1e-12)
    assert curve.nats[1] == curve.full
    whole = -float(model.log_prob(x, None, known)[:, 6:].sum()) / 15
    assert curve.full == pytest.approx(whole, abs=1e-12)


def test_shuffled_is_some_other_order_of_what_lies_further_back():
    """Each loss is that of one of the orders, and over seeds all of them occur."""
    model, x, k = gru(), ids(rows=1, time=6, seed=5), 2
    x[0] = torch.tensor([0, 1, 2, 3, 4, 0])
    known = {}
    for order in itertools.permutations(range(3)):  # step 5 is scored, 3 and 4 stay
        other = x[:, [*order, 3, 4, 5]]
        known[round(-float(model.log_prob(other)[0, -1]), 9)] = order
    assert len(known) == 6
    curves = [context_curve(model, x, [k], last=1, shuffled=True, seed=s) for s in range(30)]
    assert {round(curve.nats[0], 9) for curve in curves} == set(known)


def test_shuffled_by_hand_for_numbers_and_covariates_that_stay():
    model = of_numbers(covariates=1)
    g = torch.Generator().manual_seed(2)
    x = torch.randn(1, 5, 2, generator=g).double()
    known = torch.randn(1, 5, 1, generator=g).double()
    orders = ([0, 1], [1, 0])
    wanted = {
        round(-float(model.log_prob(x[:, [*order, 2, 3, 4]], None, known)[0, -1]) / 2, 9)
        for order in orders
    }
    found = {
        round(
            context_curve(
                model, x, [2], last=1, shuffled=True, covariates=known, seed=s
            ).nats[0],
            9,
        )
        for s in range(12)
    }  # fmt: skip
    assert len(wanted) == 2
    assert found == wanted


def test_a_shuffle_depends_on_the_seed_alone():
    model, x = gru(), ids()
    curve = context_curve(model, x, [0, 2, 5], last=6, shuffled=True, seed=1)
    alone = context_curve(model, x, [2], last=6, shuffled=True, seed=1, chunk=20)
    assert alone.nats[0] == pytest.approx(curve.nats[1], abs=1e-12)
    assert context_curve(model, x, [2], last=6, shuffled=True, seed=2).nats != alone.nats
    assert context_curve(model, x, [12, 13], last=6, shuffled=True).nats == (curve.full,) * 2
    assert curve.shuffled
    assert context_curve(model, x, [2], last=6).nats != alone.nats


@pytest.mark.parametrize("shuffled", [False, True])
def test_dropout_is_off_meanwhile_and_no_gradient_is_left(shuffled):
    model, x = gru(), ids()
    plain = context_curve(model, x, [2], last=4, shuffled=shuffled)
    model.body = Stack(model.body, Dropout(0.9))
    model.requires_grad_().train()
    assert context_curve(model, x, [2], last=4, shuffled=shuffled) == plain
    assert all(part.training for part in model.modules())
    assert float(model.log_prob(x).detach().mean()) != float(model.log_prob(x).detach().mean())


def curve_of(*nats, full=1.0, lengths=(1, 2, 4, 8), **options):
    return ContextCurve("gru", lengths, nats, full, 100, **options)


def test_the_effective_context_is_the_first_from_which_one_percent_does():
    assert curve_of(1.5, 1.0101, 1.0099, 1.0).effective == 4
    assert curve_of(1.0, 1.2, 1.1, 0.9).effective == 8  # 1 is near by chance; less is near too
    assert curve_of(1.0, 1.0, 1.0, 1.0).effective == 1
    assert curve_of(2.0, 1.5, 1.2, 1.1).effective is None
    assert curve_of(-0.9, -0.98, -0.992, -1.0, full=-1.0).effective == 4  # densities
    assert curve_of(math.nan, 1.0, 1.0, math.nan).effective is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lengths": []}, r"lengths are \[\], expected some, from 0 on"),
        ({"lengths": [3, -1]}, r"lengths are \[3, -1\]"),
        ({"last": 0}, "last is 0, expected 1 to 14"),
        ({"last": 15}, "last is 15, expected 1 to 14"),
        ({"chunk": 0}, "chunk is 0"),
        ({"x": torch.zeros(0, 14, dtype=torch.long)}, r"x has shape \[0, 14\]"),
        ({"x": torch.zeros(14, dtype=torch.long)}, r"x has shape \[14\]"),
        ({"x": torch.zeros(2, 14)}, "expected token ids"),
    ],
)
def test_what_does_not_fit_is_refused(options, said):
    with pytest.raises(InputError, match=said):
        context_curve(gru(), **{"x": ids(), "lengths": [1], "last": 3, **options})


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_a_picture_shows_every_curve_and_where_it_counts(theme):
    with style():
        figure = Figure(figsize=(4.2, 2.9), layout="constrained")
        ax = figure.subplots()
        curves = [
            curve_of(1.5, 1.2, 1.005, 1.0),
            curve_of(1.4, 1.3, 1.2, 1.1, shuffled=True),
            ContextCurve("lstm", (0, 16), (1.3, 0.9), 0.9, 100),
        ]
        assert draw_context_curve(ax, curves, theme=theme) is ax
        figure.savefig(io.BytesIO(), format="svg")
    lines = {line.get_label(): line for line in ax.get_lines()}
    assert lines["gru"].get_color() == lines["gru, rest shuffled"].get_color()
    assert lines["gru"].get_color() != lines["lstm"].get_color()
    assert lines["gru"].get_linestyle() == "-"
    assert lines["gru, rest shuffled"].get_linestyle() == "--"
    marked = [line for line in ax.get_lines() if line.get_marker() == "o"]
    dots = [np.asarray(line.get_xydata()).tolist() for line in marked]
    assert dots == [[[4, 1.005]], [[16, 0.9]]]
    assert [text.get_text() for text in ax.texts] == [
        "gru 4; gru, rest shuffled beyond 8; lstm 16",
    ]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "1", "2", "4", "8", "16"]


def test_a_picture_of_one_curve_needs_no_legend_and_of_none_no_picture():
    ax = Figure().subplots()
    draw_context_curve(ax, [curve_of(1.5, 1.2, 1.1, 1.0)], palette={"gru": "#123456"})
    assert ax.get_legend() is None
    assert ax.get_lines()[0].get_color() == "#123456"
    assert ax.get_title(loc="left") == "gru: 8 steps of context count"
    assert [text.get_text() for text in ax.texts] == [
        "dot: within 1 % of the loss given all, the thin line"
    ]
    draw_context_curve(ax, [curve_of(1.5, 1.2, 1.1, 1.1, shuffled=True)])
    assert ax.get_title(loc="left") == "gru: the order of more than 8 steps counts"
    with pytest.raises(InputError, match="curves are empty"):
        draw_context_curve(ax, [])


# -- by what it solves ------------------------------------------------------------------------


def classifier(probe: Probe, hidden=16, seed=0):
    torch.manual_seed(seed)
    inputs = TokenInputs(probe.tokens, 8) if probe.tokens else NumberInputs(2)
    pooling = "none" if probe.kind == "steps" else "last"
    return Classifier(inputs, GRU(inputs.output_size, hidden), probe.classes, pooling=pooling)


PROBES = [adding(50, 8, 0), copying(50, 4, 0), parity(50, 8, 0), first_symbol(50, 8, 0)]
probes = pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)


@probes
def test_the_error_is_the_mean_of_the_loss(probe):
    model = classifier(probe)
    torch.nn.init.normal_(model.weight)
    expected = mean_loss(probe_loss, model, probe.source(rows=7))["loss"]
    assert probe_error(model, probe) == pytest.approx(expected, rel=1e-5)


def test_trivial_answers_cost_their_baseline():
    """Without weights a model says what its bias says, whatever it sees."""
    one = classifier(add := adding(4000, 2, 1))
    torch.nn.init.ones_(one.bias)
    assert probe_error(one, add) == pytest.approx(add.baseline, abs=0.016)
    within = (abs(add.targets - 1) < 0.08).mean()
    assert success(one, add) == pytest.approx(within)
    for probe in (parity(20, 9, 0), first_symbol(20, 9, 0, symbols=3)):
        model = classifier(probe)
        assert probe_error(model, probe) == pytest.approx(probe.baseline, rel=1e-6)


def test_a_row_is_solved_where_all_its_steps_are_right():
    probe = parity(1000, 3, seed=0)
    model = classifier(probe)
    with torch.no_grad():
        model.bias[1] = 1.0  # it always says odd: right in all steps of 1, 0, 0 alone
    assert success(model, probe) == pytest.approx(
        (probe.inputs == [1, 0, 0]).all(1).mean(), abs=1e-12
    )
    assert 0.08 < success(model, probe) < 0.17
    whole = first_symbol(1000, 3, 0)
    assert success(classifier(whole), whole) == pytest.approx((whole.targets == 0).mean())


def test_the_tolerance_of_a_number():
    probe = adding(1000, 4, seed=0)
    model = classifier(probe)
    torch.nn.init.ones_(model.bias)
    for tolerance in (0.01, 0.3, 1.1):
        expected = (abs(probe.targets - 1) < tolerance).mean()
        assert success(model, probe, tolerance=tolerance) == pytest.approx(expected)


@probes
def test_the_gradient_of_the_loss_is_that_of_finite_differences(probe):
    model = classifier(probe, hidden=3).double()
    torch.nn.init.normal_(model.weight)
    (batch,) = probe.source(rows=5).epoch(0)[0]
    batch = batch.to(dtype=torch.float64)
    probe_loss(model, batch, None)[0].backward()
    assert model.bias.grad is not None
    with torch.no_grad():
        ends = []
        for step in (1e-5, -1e-5):
            model.bias[0] += step
            ends.append(float(probe_loss(model, batch, None)[0]))
            model.bias[0] -= step
    assert float(model.bias.grad[0]) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5)


def test_a_gru_learns_to_keep_the_first_symbol():
    source = FreshProbes(lambda seed: first_symbol(320, 5, seed), rows=32)
    test = first_symbol(200, 5, seed=2**40)  # beyond the seeds drawn in training
    model = classifier(test)
    assert success(model, test) < 0.4
    train(model, source, probe_loss, TrainingConfig(learning_rate=0.02, epochs=10))
    assert success(model, test) > 0.95
    assert probe_error(model, test) < 0.2 * test.baseline


def test_a_model_of_other_answers_is_refused():
    model = classifier(PROBES[3])
    with pytest.raises(InputError, match="parity: the model has 4 classes, expected 2"):
        success(model, PROBES[2])
    with pytest.raises(InputError, match="pooling is 'last', expected none, for each step has"):
        probe_error(model, replace(PROBES[2], classes=4))
    steps = Classifier(TokenInputs(4, 8), GRU(8, 4), 4, pooling="none")
    with pytest.raises(InputError, match="pooling is 'none', expected another one"):
        probe_error(steps, PROBES[3])
