"""The bias of truncated gradients by window length, against gradients computed by hand."""

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from benchmarks import truncation as benchmark
from throughtime import recipes
from throughtime.data.batches import Batch
from throughtime.errors import InputError
from throughtime.inspect.gradient_flow import gradient_flow
from throughtime.inspect.truncation import loss_flow, parameter_groups, truncation_report
from throughtime.inspect.window_bias import (
    estimated_bias,
)
from throughtime.layers import GRU, LSTM, RNN, Dropout, Linear, Stack
from throughtime.models import ModelConfig, build
from throughtime.state import map_tensors
from throughtime.tasks.data_config import DataConfig
from throughtime.tasks.opening import open_data
from throughtime.training.fitting import fit
from throughtime.training.run import load_run

SPAN, STEPS = 12, 12  # of windows (2, 3, 4): twice the longest is less than their common multiple
WINDOWS = (2, 3, 4)


def batch_of(x, y):
    return Batch(x, y)


def loss(model, batch, state):
    output, state = model(batch.inputs, state)
    return (output - batch.targets).square().sum(), batch.targets.numel(), state


def model_of(cell: Any = LSTM):
    torch.manual_seed(1)
    return Stack(cell(2, 4), Dropout(0.5), GRU(4, 3), Linear(3, 1)).double()


def stretches(count=2, rows=3):
    generator = torch.Generator().manual_seed(2)
    steps = SPAN + STEPS
    x = torch.randn(rows, count * steps, 2, generator=generator, dtype=torch.float64)
    y = x.cumsum(1).mean(-1, keepdim=True).sin()
    return [
        Batch(x[:, at : at + steps], y[:, at : at + steps]) for at in range(0, count * steps, steps)
    ]


def by_hand(model, batch, state, cuts):
    """The gradient of the losses of the last steps, the state cut before some steps."""
    model.eval()
    model.zero_grad()
    total = torch.zeros((), dtype=torch.float64)
    for t in range(SPAN + STEPS):
        if t in cuts:
            state = map_tensors(torch.Tensor.detach, state)
        output, state = model(batch.inputs[:, t : t + 1], state)
        if t >= SPAN:
            total = total + (output - batch.targets[:, t : t + 1]).square().sum()
    total.backward()
    return {name: p.grad.flatten().clone() for name, p in model.named_parameters()}


def expected(exact, cut, names):
    g = torch.cat([exact[name] for name in names])
    w = torch.cat([cut[name] for name in names])
    cosine = functional.cosine_similarity(g, w, dim=0)
    return cosine.item(), (w.norm() / g.norm()).item(), ((w - g).norm() / g.norm()).item()


# -- against gradients computed by hand -------------------------------------------------------


@pytest.mark.parametrize("cell", [RNN, LSTM])
def test_every_number_is_that_of_gradients_cut_by_hand(cell):
    model, places = model_of(cell), stretches()
    report = truncation_report(model, places, WINDOWS, span=SPAN, loss=loss)
    with torch.no_grad():
        _, between = model.eval()(places[0].inputs)
    # The first has nothing before it; the second the state that the first one leaves.
    starts = [model.initial_state(3), between]
    groups = parameter_groups(model)
    exact = [by_hand(model, *at, ()) for at in zip(places, starts, strict=True)]
    assert report.groups == tuple(groups)
    for w in WINDOWS:
        cuts = range(SPAN, SPAN + STEPS, w)
        cut = [by_hand(model, *at, cuts) for at in zip(places, starts, strict=True)]
        for group, names in groups.items():
            (row,) = [row for row in report.of(group) if row.window == w]
            found = torch.tensor(
                [expected(*both, names) for both in zip(exact, cut, strict=True)],
                dtype=torch.float64,
            )
            close: dict[str, Any] = {"rel": 1e-6, "abs": 1e-9}
            assert [*row[2:5]] == pytest.approx(found.mean(0).tolist(), **close)
            assert row.spread == pytest.approx(found[:, 2].std().item(), **close)
            whole, part = ({k: a[k] + b[k] for k in a} for a, b in (exact, cut))
            assert row.pooled == pytest.approx(expected(whole, part, names)[2], **close)
    assert (report.span, report.steps, report.places, report.batch) == (SPAN, STEPS, 2, 3)
    half = [by_hand(model, *at, [SPAN // 2]) for at in zip(places, starts, strict=True)]
    off = [expected(*both, groups["all"])[2] for both in zip(exact, half, strict=True)]
    assert report.half_span == pytest.approx(sum(off) / 2, rel=1e-6)
    assert report.half_span > 1e-6


def decaying(signs):
    """h_t = r h_{t-1} + w in every unit: the gradient of h_t by w is the sum of r^k over lags."""
    layer = RNN(1, signs.shape[2], activation="relu").double()
    with torch.no_grad():
        layer.weight_hidden.copy_(0.7 * torch.eye(signs.shape[2]))
        layer.weight_input.fill_(1.0)
    for name, p in layer.named_parameters():
        p.requires_grad_(name == "weight_input")
    x = torch.ones(1, signs.shape[1], 1, dtype=torch.float64)
    flow = gradient_flow(layer, x[:, :16], loss=lambda output: output[..., 0])

    def total(model, batch, state):
        output, state = model(batch.inputs, state)
        return (output * batch.targets).sum(), output.numel(), state

    # A long stretch before it, so that h is at rest and nothing lies beyond the span.
    report = truncation_report(layer, [Batch(x, signs)] * 2, (3, 6, 24), span=60, loss=total)
    assert report.flow is None  # it is no model with a head of its own
    assert not report.estimated
    return report, estimated_bias(flow, (3, 6, 24))


def test_the_decay_foretells_the_bias_where_all_losses_pull_one_way():
    report, expected = decaying(torch.ones(1, 108, 1, dtype=torch.float64))
    for row in report.of():
        assert row.bias == pytest.approx(expected[row.window].agreeing, rel=1e-5)
        assert row.cosine == pytest.approx(1)
        assert row.norm == pytest.approx(1 - row.bias)


def test_and_where_they_are_independent():
    # By chance each unit's loss pulls up or down at each step.
    report, expected = decaying(torch.randn(1, 108, 150, dtype=torch.float64))
    for row in report.of():
        assert row.bias == pytest.approx(expected[row.window].independent, rel=0.1)
    assert report.of()[-1].bias > 1.5 * expected[24].agreeing


def test_nothing_of_the_model_is_changed():
    model = model_of()
    model.train()
    model.layers[2].eval()
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first = truncation_report(model, stretches(1), WINDOWS, span=SPAN, loss=loss)
    again = truncation_report(model, stretches(1), WINDOWS, span=SPAN, loss=loss)
    assert [r[:5] for r in first.rows] == [r[:5] for r in again.rows]  # dropout is off
    for p in model.parameters():
        assert p.grad is not None
        assert torch.equal(p.grad, torch.ones_like(p))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [part.training for part in model.layers] == [True, True, False, True]
    with torch.no_grad():
        truncation_report(model, stretches(1), WINDOWS, span=SPAN, loss=loss)


def test_the_head_is_not_touched_and_memory_grows_with_the_window():
    report = truncation_report(model_of(), stretches(), WINDOWS, span=SPAN, loss=loss)
    assert all(row.bias < 1e-12 for row in report.of("3.Linear"))
    assert all(row.bias > 0.01 for row in report.of("recurrent weights"))
    assert report.kept[2] < report.kept[3] < report.kept[4] < 2.5 * report.kept[2]
    assert all(seconds > 0 for seconds in report.seconds.values())


def test_bytes_kept_are_those_of_one_update():
    class Square(nn.Module):
        """Keeps the product, for the square; its input is data, the weight a weight."""

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1, dtype=torch.float64))

        def forward(self, x, state):
            return (x * self.weight).square(), state

    def total(model, batch, state):
        output, state = model(batch.inputs, state)
        return output.sum(), output.numel(), state

    report = truncation_report(Square(), stretches(rows=3), (2, 4), span=SPAN, loss=total)
    assert report.kept == {w: 3 * w * 2 * 8 for w in (2, 4)}  # rows, steps, features of float64


def test_groups_of_parameters():
    groups = parameter_groups(build(ModelConfig("lstm", tokens=5, width=4, layers=2)))
    assert [*groups] == [
        "all", "recurrent weights", "input weights", "biases", "all others",
        "inputs.embedding.Embedding", "body.0.LSTM", "body.1.LSTM", "head.output.Linear",
    ]  # fmt: skip
    assert groups["recurrent weights"] == [
        "body.layers.0.weight_hidden",
        "body.layers.1.weight_hidden",
    ]
    torchs = parameter_groups(nn.Sequential(nn.GRU(2, 3)))
    assert torchs["recurrent weights"] == ["0.weight_hh_l0"]
    assert torchs["biases"] == ["0.bias_ih_l0", "0.bias_hh_l0"]
    assert "all others" not in torchs
    assert [*parameter_groups(nn.Linear(2, 3))] == ["all", "Linear"]
    learned = RNN(2, 3, learn_initial_state=True)
    learned.weight_hidden.requires_grad = False
    assert parameter_groups(learned)["all others"] == ["initial_hidden"]
    assert "recurrent weights" not in parameter_groups(learned)


# -- of whole models and tasks ----------------------------------------------------------------


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    generator = torch.Generator().manual_seed(0)
    path.write_text("".join("abcd "[i] for i in torch.randint(5, (900,), generator=generator)))
    return open_data(DataConfig(str(path), task="language"))


def test_a_language_model_from_its_run_folder(text, tmp_path):
    config = recipes.language(
        text, "gru", model={"width": 8}, training={"max_steps": 3, "patience": None}
    )
    fitted = fit(config, text, tmp_path / "run")
    model = load_run(tmp_path / "run").model
    report = truncation_report(model, text, WINDOWS, span=SPAN, rows=4, places=3)
    assert (report.span, report.places, report.batch) == (SPAN, 3, 4)
    biases = [row.bias for row in report.of()]
    assert biases[0] > biases[-1] > 0
    assert report.flow is not None
    assert [*report.flow.curves] == ["0.GRU"]
    assert report.flow.lags == (0, 1, 2, 3, 4)
    assert report.estimated == estimated_bias(report.flow, WINDOWS)
    same = truncation_report(fitted.model, text.task, WINDOWS, span=SPAN, rows=4, places=3)
    assert [r[:7] for r in same.rows] == [r[:7] for r in report.rows]


def test_a_transformer_has_a_state_to_cut_too(text):
    model = build(ModelConfig("transformer", tokens=len(text.task.vocabulary), width=8, heads=2))
    report = truncation_report(model, text, WINDOWS, span=SPAN, rows=2, places=1)
    assert report.flow is None
    assert report.groups[:2] == ("all", "inputs.embedding.Embedding")
    assert report.of()[0].bias > 1e-4
    assert math.isnan(report.of()[0].spread)
    assert str(report).splitlines()[1].split()[4] == "-"


@pytest.mark.parametrize("source", ["nyc-temperature", "us-employment"])
def test_a_forecaster_of_one_series_and_of_several(source):
    opened = open_data(DataConfig(source))
    config = recipes.forecast(opened, "rnn", model={"width": 6})
    torch.manual_seed(0)
    model: Any = build(config.model)
    opened.task.prepare(model)
    report = truncation_report(model, opened, (2, 4), span=20, rows=3, places=2)
    assert report.places == 2
    assert 0 < report.of()[1].bias < report.of()[0].bias
    assert report.span >= 20
    assert report.flow is not None


def test_the_flow_of_a_model_is_that_of_its_body_under_its_loss():
    model = build(ModelConfig("lstm", tokens=5, width=6)).double()
    ids = torch.randint(5, (2, 13))
    with torch.no_grad():
        _, state = model(ids[:, :4])
    batch = Batch(ids[:, 3:-1], ids[:, 4:])
    flow = loss_flow(model, batch, state=state, lags=[0, 2, 5])
    # By hand, at the last step of the first row alone, and of all rows and steps that count.
    features, context, _ = model.inputs(batch.inputs, state.scale, None, None, None)
    found = gradient_flow(
        model.body,
        features.detach(),
        loss=lambda h: -model.head.log_prob(model.head(h, context), batch.targets),
        lags=[0, 2, 5],
        state=state.body,
    )
    assert flow.curves["0.LSTM"] == pytest.approx(found.curves["0.LSTM"])
    assert loss_flow(model, batch, lags=[0, 2, 5]) != flow  # the state counts


def test_a_rest_at_the_end_is_no_place():
    *full, last = stretches(3)
    rest = last.narrow(0, SPAN + STEPS - 2)
    report = truncation_report(model_of(), [*full, rest], WINDOWS, span=SPAN, loss=loss)
    assert (report.places, report.span) == (2, SPAN)
    one = truncation_report(model_of(), [full[0], rest], WINDOWS, span=SPAN, loss=loss, places=1)
    assert (one.places, one.span) == (1, SPAN)


# -- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"windows": ()}, r"windows are \[\], expected lengths of at least 1 step"),
        ({"windows": (0, 3)}, r"windows are \[0, 3\]"),
        ({"span": 3}, r"span, rows and places are 3, 8 and 8, expected at least 4"),
        ({"rows": 0}, "rows and places are 12, 0 and 8"),
        ({"places": 0}, "rows and places are 12, 8 and 0"),
        ({"data": 3}, "data is int, expected a task of series or of a text, or windows of one"),
        ({"data": []}, "data is list"),
        ({"data": torch.zeros(2, 40, 2)}, "data is Tensor"),
        ({"windows": (5, 16)}, r"longest stretch has 24 steps, expected at least 48 for windows"),
    ],
)
def test_bad_input_is_refused_in_a_line(options, message):
    arguments = {"data": stretches(1), "windows": WINDOWS, "span": SPAN, **options}
    if 16 in arguments["windows"]:
        arguments["span"] = 16
    with pytest.raises(InputError, match=message) as caught:
        truncation_report(model_of(), loss=loss, **arguments)
    assert "\n" not in str(caught.value)


def test_a_model_with_nothing_to_train_is_refused():
    model = model_of().requires_grad_(requires_grad=False)
    with pytest.raises(InputError, match="nothing to train"):
        truncation_report(model, stretches(1), WINDOWS, span=SPAN, loss=loss)


# -- the benchmark ----------------------------------------------------------------------------


def test_the_benchmark_fills_its_tables(text, capsys):
    found = benchmark.measure(text, ["rnn"], width=4, updates=2, places=1)
    head, rows = benchmark.lines(found)
    assert [row[0] for row in rows] == ["rnn, before", "rnn, after"]
    assert all(len(row) == len(head) for row in rows)
    head, rows = benchmark.all_lines(found)
    assert all(len(row) == len(head) for row in rows)
    assert [row[1] for row in rows] == [*benchmark.WINDOWS] * 2
    assert found["rnn"]["after"]["nats"] != found["rnn"]["before"]["nats"]
    assert "after 2 updates" in capsys.readouterr().out
    figure = benchmark.bias_by_window(found)
    assert [len(ax.get_lines()) for ax in figure.axes] == [2, 2]
