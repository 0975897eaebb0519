"""How open gates are, which are stuck, and what is said of it."""

import math

import pytest
import torch
from torch import nn

from throughtime import GRU, LSTM, RNN, inspect
from throughtime.errors import InputError
from throughtime.inspect.gates import BINS, diagnose_gates, gate_activity
from throughtime.layers import Bidirectional, Dropout, Linear, Residual, Stack
from throughtime.models import ModelConfig, build, build_encoder_decoder

CELLS = [RNN, LSTM, GRU, lambda i, h: GRU(i, h, reset_after=False)]
cells = pytest.mark.parametrize("cell", CELLS, ids=["rnn", "lstm", "gru", "gru-before"])
NAMES = {
    RNN: ["hidden"],
    LSTM: ["input", "forget", "candidate", "output_gate", "cell", "hidden"],
    GRU: ["reset", "update", "candidate", "hidden"],
}


def lstm_by_hand(layer, x):
    """Gates and values of one sequence, from the equations."""
    hidden = cell = torch.zeros(layer.hidden_size, dtype=x.dtype)
    found = {name: [] for name in NAMES[LSTM]}
    for step in x:
        total = layer.weight_input @ step + layer.weight_hidden @ hidden + layer.bias
        i, f, g, o = total.chunk(4)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        cell = f * cell + i * g
        hidden = o * cell.tanh()
        for name, value in zip(NAMES[LSTM], (i, f, g, o, cell, hidden), strict=True):
            found[name].append(value.detach())
    return {name: torch.stack(values) for name, values in found.items()}


def same(one, other):
    """Whether two measured gates say the same."""
    assert (one.steps, one.activation) == (other.steps, other.activation)
    for part in ("mean", "spread", "least", "most", "low", "high", "half_life"):
        first, second = getattr(one, part), getattr(other, part)
        assert (first is None) == (second is None)
        if first is not None:
            torch.testing.assert_close(first, second, atol=1e-6, rtol=1e-5)
    assert torch.equal(one.counts, other.counts)


def test_numbers_are_those_of_the_equations():
    torch.manual_seed(0)
    layer, x = LSTM(3, 5), 4 * torch.randn(1, 40, 3)
    activity = gate_activity(layer, x, low=0.2, high=0.7)
    assert [*activity.gates] == NAMES[LSTM]
    for name, values in lstm_by_hand(layer, x[0]).items():
        gate = activity[name]
        assert (gate.layer, gate.name, gate.steps) == ("LSTM", name, 40)
        torch.testing.assert_close(gate.mean, values.mean(0))
        torch.testing.assert_close(gate.spread, values.std(0, correction=0))
        torch.testing.assert_close(gate.least, values.min(0).values)
        torch.testing.assert_close(gate.most, values.max(0).values)
        if name == "cell":
            values = values.tanh()
        if name in ("candidate", "cell", "hidden"):
            values = (values + 1) / 2
        torch.testing.assert_close(gate.low, (values < 0.2).double().mean(0))
        torch.testing.assert_close(gate.high, (values > 0.7).double().mean(0))
        assert 0 < float(gate.low.sum() + gate.high.sum()) < 5


@cells
def test_padded_steps_are_not_counted_whatever_stands_in_them(cell):
    layer = Stack(cell(2, 3), Bidirectional(cell(3, 4)))
    mask = torch.tensor([[1, 1, 0, 1, 1, 0, 0], [0, 1, 1, 1, 0, 0, 1], [0] * 7]).bool()
    x = torch.randn(3, 7, 2)
    found = gate_activity(layer, torch.where(mask.unsqueeze(-1), x, torch.nan), mask)
    rows = torch.stack([x[row, mask[row]] for row in (0, 1)])  # four real steps each
    expected = gate_activity(layer, rows)
    assert [*found.gates] == [*expected.gates]
    assert {gate.layer for gate in found.gates.values()} == {
        "layers.0",
        "layers.1.over",
        "layers.1.against",
    }
    for name in found.gates:
        assert found[name].steps == 8
        same(found[name], expected[name])


@cells
def test_tensors_that_were_recorded_give_the_same(cell):
    layer = Stack(cell(2, 3), cell(3, 3))
    mask = torch.tensor([[1, 0, 1, 1], [1, 1, 0, 0]]).bool()
    x = torch.randn(2, 4, 2)
    with inspect.record(layer) as trace:
        layer(x, None, mask)
    found, expected = gate_activity(trace, mask=mask), gate_activity(layer, x, mask)
    assert [*found.gates] == [*expected.gates]
    for name, gate in found.gates.items():
        # Of an RNN's hidden values alone nobody can tell which function they come out of.
        assert (gate.activation == "bounded") == (gate.name == "hidden")
        torch.testing.assert_close(gate.low, expected[name].low)
        torch.testing.assert_close(gate.mean, expected[name].mean)
        assert (gate.layer, gate.steps) == (expected[name].layer, 5)


def test_a_model_is_run_as_it_is_called():
    config = ModelConfig("gru", tokens=9, source_tokens=7, width=8, encoder="lstm")
    model = build_encoder_decoder(config).train()
    x, y = torch.randint(7, (2, 5)), torch.randint(9, (2, 3))
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]).bool()
    activity = gate_activity(model, (x, y), mask)
    steps = {gate.layer.partition(".")[0]: gate.steps for gate in activity.gates.values()}
    assert steps == {"encoder": 8, "decoder": 6}


class Twice(nn.Module):
    """Runs a layer on the input and on twice the input."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.spare = RNN(2, 2)  # never runs

    def forward(self, x):
        return self.layer(x)[0] + self.layer(2 * x)[0]


def test_all_calls_of_a_layer_count_and_none_is_asked_of_others():
    layer, x = GRU(2, 3), torch.randn(1, 6, 2)
    found = gate_activity(Twice(layer), x)
    both = gate_activity(layer, torch.cat([x, 2 * x]))
    assert [*found.gates] == [f"layer.{name}" for name in NAMES[GRU]]
    for name in NAMES[GRU]:
        same(found[f"layer.{name}"], both[name])


def test_the_model_is_as_it_was():
    model = Stack(Residual(LSTM(4, 4)), Dropout(0.9), GRU(4, 3)).train()
    x = torch.randn(2, 6, 4)
    first, second = gate_activity(model, x), gate_activity(model, x)
    same(first["layers.2.reset"], second["layers.2.reset"])  # dropout is off
    assert model.training
    assert model.layers[1].training
    assert not any(part._forward_pre_hooks for part in model.modules())
    assert all(not gate.mean.requires_grad for gate in first.gates.values())


def test_only_the_layers_asked_for_are_measured():
    model = Stack(LSTM(2, 3), GRU(3, 3), GRU(3, 3))
    x = torch.randn(1, 4, 2)
    assert [*gate_activity(model, x, layers="layers.2").layers] == ["layers.2"]
    assert [*gate_activity(model, x, layers=["*.0", "*.1"]).layers] == ["layers.0", "layers.1"]
    with inspect.record(model) as trace:
        model(x)
    assert [*gate_activity(trace, layers="*.1").layers] == ["layers.1"]


def test_stuck_units_are_told_apart():
    layer = LSTM(2, 4)
    with torch.no_grad():
        layer.bias[0] = -9  # the input gate of unit 0
        layer.bias[4 + 1] = 9  # the forget gate of unit 1
        layer.bias[12 + 2] = -30  # the output gate of unit 2, so that it shows nothing
    activity = gate_activity(layer, torch.randn(2, 30, 2))
    assert activity["input"].dead.tolist() == [True, False, False, False]
    assert activity["forget"].open.tolist() == [False, True, False, False]
    assert activity["output_gate"].dead.tolist() == [False, False, True, False]
    assert activity["hidden"].constant.tolist()[1:] == [False, True, False]
    assert not activity["input"].open.any()


def test_a_unit_that_opens_once_is_not_dead():
    values = torch.full((1, 50, 2), 0.05)
    values[0, 17, 1] = 0.11
    gate = gate_activity({"input": values})["input"]
    assert gate.dead.tolist() == [True, False]
    assert gate.low.tolist() == pytest.approx([1, 0.98])


@pytest.mark.parametrize(
    ("activation", "value", "low", "high"),
    [
        ("tanh", -0.85, 1, 0),
        ("tanh", -0.75, 0, 0),
        ("tanh", 0.85, 0, 1),
        ("sigmoid", 0.05, 1, 0),
        ("sigmoid", 0.95, 0, 1),
        ("relu", 0.0, 1, 0),
        ("relu", 0.05, 0, 0),
        ("relu", 7.0, 0, 0),
    ],
)
def test_an_rnn_saturates_where_its_activation_function_does(activation, value, low, high):
    layer = RNN(1, 1, activation=activation)
    inverse = {"tanh": math.atanh, "sigmoid": lambda v: math.log(v / (1 - v)), "relu": float}
    with torch.no_grad():
        layer.weight_hidden.zero_()
        layer.bias.fill_(inverse[activation](value))
    gate = gate_activity(layer, torch.zeros(1, 5, 1))["hidden"]
    assert (gate.low.item(), gate.high.item()) == (low, high)
    assert gate.constant.all()
    assert gate.activation == activation


def test_relu_is_told_from_its_values():
    relu = gate_activity({"a.hidden": torch.tensor([[[0.0, 3.0]]])})["a.hidden"]
    assert relu.activation == "relu"
    assert relu.low.tolist() == [1, 0]
    gated = {"hidden": torch.tensor([[[0.0, 3.0]]]), "update": torch.full((1, 1, 2), 0.5)}
    assert gate_activity(gated)["hidden"].activation == "bounded"


def test_half_lives_are_of_the_product_of_gates():
    forget = torch.tensor([[0.5, 0.25, 1.0, 0.9], [0.5, 1.0, 1.0, 0.9]]).unsqueeze(0)
    activity = gate_activity({"forget": forget, "input": forget})
    half = activity["forget"].half_life
    assert half is not None
    assert half.tolist() == pytest.approx([1, 1, math.inf, math.log(0.5) / math.log(0.9)])
    assert activity["input"].half_life is None
    assert gate_activity({"update": torch.zeros(1, 2, 1)})["update"].half_life is not None


def test_histograms_count_every_value_once():
    values = torch.tensor([0.0, 0.009, 0.021, 0.999, 1.0]).view(1, 5, 1)
    gate = gate_activity({"input": values})["input"]
    assert gate.counts[0] == 2
    assert gate.counts[1] == 1
    assert gate.counts[-1] == 2
    assert (len(gate.counts), gate.counts.sum()) == (BINS, 5)
    assert (gate.edges[0], gate.edges[-1]) == (0, 1)
    cell = gate_activity({"cell": torch.tensor([[[-4.0], [3.0]]])})["cell"]
    assert (cell.edges[0], cell.edges[-1]) == (-4, 4)
    assert (cell.counts[0], cell.counts.sum()) == (1, 2)


def test_half_precision_and_float64_are_read():
    values = torch.rand(2, 9, 3, dtype=torch.float64)
    same(
        gate_activity({"input": values})["input"], gate_activity({"input": values.float()})["input"]
    )
    assert gate_activity(LSTM(2, 3).bfloat16(), torch.randn(1, 4, 2).bfloat16())["input"].steps == 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: gate_activity(Linear(2, 3), x), "model is Linear, expected some of a recurrent"),
        (lambda x: gate_activity({"logits": x}), r"tensors are \['logits'\], expected some"),
        (lambda x: gate_activity(LSTM(2, 3), x[:, :0]), "input has no real step, expected some"),
        (lambda x: gate_activity(GRU(2, 3), x, torch.zeros(2, 5).bool()), "no real step"),
        (lambda x: gate_activity(GRU(2, 3), x, low=0.6), r"low is 0.6 and high 0.9, expected"),
        (lambda x: gate_activity(GRU(2, 3), x, low=0.1, high=0.3), r"low is 0.1 and high 0.3"),
        (lambda x: gate_activity(Stack(GRU(2, 3)), x, layers="b.*"), r"layers is \['b.\*'\], exp"),
        (lambda x: gate_activity({"hidden": x[0]}), r"hidden is torch.float32 of shape \[5, 2\]"),
        (lambda x: gate_activity({"hidden": x}, mask=torch.ones(2, 4).bool()), r"shape \[2, 4\]"),
        (lambda x: gate_activity({"hidden": x}, mask=torch.ones(2, 5)), "mask is torch.float32"),
    ],
)
def test_bad_input_is_refused_in_a_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call(torch.randn(2, 5, 2))
    assert "\n" not in str(caught.value)


def test_a_table_is_printed():
    config = ModelConfig("lstm", tokens=9, width=8, layers=2)
    activity = gate_activity(build(config), torch.randint(9, (2, 30)))
    head, *lines, last = str(activity).splitlines()
    assert head.split()[:4] == ["layer", "gate", "units", "mean"]
    assert len(lines) == 12
    assert [line.split()[1] for line in lines[:4]] == ["input", "forget", "candidate", "output"]
    gate = next(iter(activity.gates.values()))
    assert lines[0].split()[2:4] == ["8", f"{float(gate.mean.mean()):.3f}"]
    assert len({len(line) for line in [head, *lines]}) == 1
    assert last == "low: below 0.1 of a gate's range, high: above 0.9; 60 real steps"


# What numbers say


def filled(**gates):
    """Activity of gates that have the same value at all nine steps: a number for each unit."""
    tensors = {name: torch.tensor([values] * 9).unsqueeze(0) for name, values in gates.items()}
    return gate_activity({f"body.{name}": values for name, values in tensors.items()})


def test_words_for_an_lstm():
    said = diagnose_gates(
        filled(
            input=[0.05, 0.5, 0.01],
            forget=[0.95, 0.96, 0.5],
            output_gate=[0.5, 0.01, 0.5],
            hidden=[0.5, 0.2, 0.3],
        )
    )
    assert said == [
        "2 of 3 units of body never open their input gate on this data: they take in next to "
        "nothing",
        "2 of 3 units of body always hold their forget gate open on this data: they lose little "
        "from step to step",
        "1 of 3 units of body never open their output gate on this data: next to nothing of their "
        "cell is shown",
        "3 of 3 units of body show the same at every step, within 0.01: they tell the layers above "
        "nothing",
        "body: its forget gates lose half of what is kept in 13.5 steps (median of units); unit 1 "
        "keeps it longest, 17 steps",
    ]


def test_words_for_a_gru():
    said = diagnose_gates(filled(update=[0.05, 0.95], reset=[0.01, 0.99]))
    assert [one.split(" on this data: ")[0] for one in said[:-1]] == [
        "1 of 2 units of body never open their update gate",
        "1 of 2 units of body always hold their update gate open",
        "1 of 2 units of body never open their reset gate",
        "1 of 2 units of body always hold their reset gate open",
    ]
    assert said[-1].startswith("body: its update gates lose half of what is kept in 0.231 steps")


def test_words_where_nothing_is_wrong():
    said = diagnose_gates(filled(update=[0.5, 0.5], reset=[0.5, 0.5]))
    assert said[0] == "body: of 2 units none has a gate that is stuck, or is constant"
    assert len(said) == 2


def test_words_for_saturation():
    layer = RNN(1, 2)
    with torch.no_grad():
        layer.weight_hidden.zero_()
        layer.weight_input.fill_(5)
    x = torch.tensor([1.0, -1, 1, -1, 0]).view(1, 5, 1)
    assert diagnose_gates(gate_activity(layer, x)) == [
        "RNN: 80 % of hidden values are saturated: at most 36 % of a gradient passes there"
    ]
    assert diagnose_gates(gate_activity(layer, x / 50)) == ["RNN: of 2 units none is constant"]
    sigmoid = RNN(1, 2, activation="sigmoid")
    sigmoid.load_state_dict(layer.state_dict())
    assert (
        "80 % of hidden values are saturated: at most 9 %"
        in diagnose_gates(gate_activity(sigmoid, x))[0]
    )
    with inspect.record(layer) as trace:
        layer(x)
    assert diagnose_gates(gate_activity(trace))[0] == "layer: 80 % of hidden values are saturated"


def test_slopes_are_bounded_as_said():
    """At most 36 % of a gradient passes tanh below a tenth and above nine tenths of its range."""
    v = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    saturated = (v < -0.8) | (v > 0.8)
    assert (1 - v**2)[saturated].max() == pytest.approx(0.36, abs=0.002)
    s = (v + 1) / 2
    assert (s * (1 - s))[saturated].max() == pytest.approx(0.09, abs=0.001)


def test_words_for_candidates_and_cells():
    said = diagnose_gates(
        gate_activity(
            {
                "candidate": torch.tensor([[[0.95], [-0.95], [0.0]]]),
                "cell": torch.tensor([[[2.0], [1.5], [0.1]]]),
                "hidden": torch.tensor([[[0.9], [-0.9], [0.9]]]),
            }
        )
    )
    assert said == [
        "layer: 67 % of candidate values are saturated: at most 36 % of a gradient passes there",
        "layer: 67 % of cell values are saturated: at most 36 % of a gradient passes from what is "
        "shown to the cell",
    ]


def test_what_is_not_finite_is_said_and_nothing_else():
    values = torch.full((1, 5, 2), 0.5)
    values[0, 2, 1] = torch.nan
    said = diagnose_gates(gate_activity({"a.output_gate": values, "a.input": values.nan_to_num()}))
    assert said == ["a: output took values that are not finite"]
