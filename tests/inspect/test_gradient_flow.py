"""How much gradient reaches back how far."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from throughtime import GRU, LSTM, RNN
from throughtime.errors import InputError
from throughtime.inspect import (
    GradientFlow,
    diagnose,
    draw_gradient_flow,
    gradient_flow,
    input_flow,
)
from throughtime.inspect.theme import THEMES, colours, contrast
from throughtime.layers import (
    Bidirectional,
    Embedding,
    Linear,
    Norm,
    RecurrentDecoder,
    Residual,
    SelfAttention,
    Stack,
    Stateless,
    Window,
)
from throughtime.state import tensors

CELLS = [RNN, LSTM, GRU, lambda i, h: GRU(i, h, reset_after=False)]
cells = pytest.mark.parametrize("cell", CELLS, ids=["rnn", "lstm", "gru", "gru-before"])


def linear(factor, size=4):
    """An RNN at rest: tanh' is 1 at 0, so each step multiplies by `factor` times a rotation."""
    layer = RNN(2, size).double()
    with torch.no_grad():
        layer.weight_hidden.mul_(factor)
    return layer, torch.zeros(2, 12, 2).double()


def test_a_rotation_times_a_factor_shrinks_by_it():
    for factor in (0.7, 1.0, 1.2):
        layer, x = linear(factor)
        flow = gradient_flow(layer, x)
        assert flow.lags == tuple(range(9))
        assert flow.curves["RNN"] == pytest.approx([factor**k for k in range(9)])
        assert flow.rate["RNN"] == pytest.approx(factor)
        expected = math.log(0.5) / math.log(factor) if factor < 1 else math.inf
        assert flow.half_life["RNN"] == pytest.approx(expected)


def test_so_it_is_where_relu_is_linear():
    layer = RNN(1, 3, activation="relu").double()
    with torch.no_grad():
        layer.weight_hidden.copy_(0.8 * torch.eye(3).roll(1, 0))  # positive numbers stay so
        layer.bias.fill_(1.0)
        layer.weight_input.zero_()
    flow = gradient_flow(layer, torch.randn(1, 20, 1).double())
    assert flow.rate["RNN"] == pytest.approx(0.8)
    assert flow.curves["RNN"][0] == pytest.approx(1)


def test_a_matrix_of_any_form_shrinks_by_its_spectral_radius_in_the_end():
    layer, x = linear(1.0, size=3)
    with torch.no_grad():
        layer.weight_hidden.copy_(torch.tensor([[0.5, 3, 0], [0, 0.2, 1], [0, 0, 0.9]]))
    x = torch.zeros(1, 60, 2).double()
    flow = gradient_flow(layer, x, lags=range(45, 60))
    assert flow.rate["RNN"] == pytest.approx(0.9, rel=1e-6)
    w = torch.tensor([1.0, 2, 3]).double()
    flow = gradient_flow(layer, x, loss=lambda output: output @ w, lags=[0, 1, 4])
    powers = [torch.linalg.matrix_power(layer.weight_hidden.detach().T, k) @ w for k in (0, 1, 4)]
    assert flow.curves["RNN"] == pytest.approx([float(one.norm()) for one in powers])


def brute(layer, x, w, through):
    """By t and s, the norm of d (w output_t) by the state after s, or by x_s, of one sequence."""
    states, outputs, inputs, state = [], [], [], layer.initial_state(1)
    state = type(state)(*(part.clone().requires_grad_() for part in state))
    for t in range(x.shape[1]):
        inputs.append(x[:, t : t + 1].clone().requires_grad_())
        output, state = layer(inputs[-1], state)
        outputs.append(state.hidden)
        states.append(state)
    norms = {}
    for t, output in enumerate(outputs):
        for s in range(t + 1):
            nodes = tensors(states[s]) if through == "state" else [inputs[s]]
            found = torch.autograd.grad(
                (output @ w).sum(), nodes, retain_graph=True, materialize_grads=True
            )
            norms[t, s] = math.hypot(*(float(one.norm()) for one in found))
    return norms


@cells
@pytest.mark.parametrize("through", ["state", "input"])
def test_of_a_ragged_batch_lags_count_real_steps_and_what_stands_in_padding_changes_nothing(
    cell, through
):
    layer = cell(2, 3).double()
    mask = torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 0, 1, 1, 0, 1, 0], [0] * 7]).bool()
    x, w = torch.randn(3, 7, 2).double(), torch.randn(3).double()
    poisoned = torch.where(mask.unsqueeze(-1), x, torch.nan)
    measure = gradient_flow if through == "state" else input_flow
    flow = measure(layer, poisoned, loss=lambda output: output @ w, lags=range(5), mask=mask)
    rows = [brute(layer, x[row, mask[row]].unsqueeze(0), w, through) for row in (0, 1)]
    (curve,) = flow.curves.values()
    for k in range(5):  # rows end together, and the last three steps have four others behind
        long = [rows[0][t, t - k] for t in (4, 5, 6)]
        short = [rows[1][t, t - k] for t in (1, 2, 3) if t - k >= 0]
        assert curve[k] == pytest.approx(sum(long + short) / len(long + short))


@cells
def test_a_loss_finds_outputs_where_they_stand(cell):
    """Targets of padded steps may be anything, and the others meet their own outputs."""
    layer = cell(2, 3).double()
    mask = torch.tensor([[1, 0, 1, 1], [1, 1, 1, 1]]).bool()
    x, y = torch.randn(2, 4, 2).double(), torch.randn(2, 4, 3).double()
    lost = torch.where(mask.unsqueeze(-1), y, torch.nan)
    found = gradient_flow(
        layer, x, loss=lambda out: (out - lost).square().sum(-1), lags=[0], mask=mask
    )
    output, _ = layer(x, None, mask)
    expected = (2 * (output - y)).norm(dim=-1)[mask].mean()
    assert found.curves.popitem()[1] == pytest.approx([expected.item()])  # pyright: ignore


def test_up_to_eight_losses_are_averaged():
    layer = RNN(1, 2).double()
    weights = torch.arange(30.0).double() + 1
    found = gradient_flow(
        layer,
        torch.zeros(1, 30, 1).double(),
        loss=lambda out: out[..., 0] * weights,
        lags=[0, 8],
    )
    # t is 8, 11, ..., 29: tanh' is 1 at rest, so that the loss's own factor is the norm
    assert found.curves["RNN"] == pytest.approx([sum(range(9, 31, 3)) / 8] * 2)


def test_a_state_is_where_it_begins():
    layer, x, w = LSTM(2, 3).double(), torch.randn(1, 9, 2).double(), torch.randn(3).double()
    _, state = layer(x[:, :4])
    options: Any = {"loss": lambda output: output @ w, "lags": range(5)}
    found = gradient_flow(layer, x[:, 4:], state=state, **options)
    norms = brute(layer, x, w, "state")
    assert found.curves["LSTM"] == pytest.approx([norms[8, 8 - k] for k in range(5)])
    cold = gradient_flow(layer, x[:, 4:], **options)
    assert found.curves["LSTM"] != pytest.approx(cold.curves["LSTM"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_layer_is_as_it_was(dtype):
    layer = Stack(Residual(LSTM(4, 4)), Norm(4), GRU(4, 3)).to(dtype)
    layer.train()
    layer.layers[2].eval()
    with torch.no_grad():
        flow = gradient_flow(layer, torch.randn(2, 6, 4, dtype=dtype))
    assert [*flow.curves] == ["0.LSTM", "2.GRU"]
    assert all(p.grad is None for p in layer.parameters())
    assert not any(part._forward_hooks for part in layer.modules())
    assert [part.training for part in layer.layers] == [True, True, False]


def test_frozen_weights_let_gradients_through():
    layer, x = linear(0.9)
    layer.requires_grad_(requires_grad=False)
    assert gradient_flow(layer, x).rate["RNN"] == pytest.approx(0.9)
    assert input_flow(layer, x).rate["input"] == pytest.approx(0.9, rel=0.2)


def test_a_decoder_and_tokens():
    decoder = RecurrentDecoder(4, 6, 2, cell="lstm", memory_size=5, dropout=0.5)
    state = decoder.remember(torch.randn(2, 3, 5))
    flow = gradient_flow(decoder, torch.randn(2, 8, 4), state=state)
    assert [*flow.curves] == ["1.LSTM", "4.LSTM"]
    again = gradient_flow(decoder, torch.randn(2, 8, 4), state=state, seed=1)
    assert flow != again
    tokens = Stack(Embedding(9, 4), GRU(4, 5))
    assert [*gradient_flow(tokens, torch.randint(9, (2, 8))).curves] == ["1.GRU"]


def test_inputs_of_attention_are_reached_as_far_as_its_horizon():
    layer = SelfAttention(4, 2, horizon=3).double()
    x, w = torch.randn(2, 9, 4).double(), torch.randn(4).double()
    flow = input_flow(layer, x, loss=lambda output: output @ w, lags=range(9))
    slopes: Any = torch.autograd.functional.jacobian(
        lambda x: (layer(x)[0] @ w)[:, 8].sum(0), x
    )  # (B, T, F)
    expected = slopes.norm(dim=-1).mean(0).flip(0).tolist()
    assert flow.curves["input"] == pytest.approx(expected)
    reached = [norm > 0 for norm in flow.curves["input"]]
    assert reached == [k <= 3 for k in range(9)] or reached == [k < 3 for k in range(9)]


def test_inputs_of_a_window_are_reached_by_their_own_weights():
    w = torch.arange(1.0, 7.0)
    flow = input_flow(
        Window(size=3, input_size=2),
        torch.randn(2, 8, 2),
        loss=lambda output: output @ w,
        lags=range(5),
    )
    pairs = [math.hypot(5, 6), math.hypot(3, 4), math.hypot(1, 2), 0, 0]
    assert flow.curves["input"] == pytest.approx(pairs)


def test_what_sees_later_steps_has_inputs_all_the_same():
    layer = Bidirectional(GRU(2, 3))
    assert input_flow(layer, torch.randn(1, 8, 2)).curves["input"][3] > 0
    with pytest.raises(InputError, match="layer is Bidirectional, which sees later steps"):
        gradient_flow(layer, torch.randn(1, 8, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lags": [0, 5]}, r"lags are \[0, 5\], expected some from 0 to 4"),
        ({"lags": []}, r"lags are \[\], expected some"),
        ({"lags": [-1]}, r"lags are \[-1\]"),
        ({"loss": lambda output: output.sum()}, r"loss gives shape \[\], expected \[batch, time\]"),
        ({"loss": lambda output: output.detach()[..., 0]}, "loss does not depend on the output"),
        ({"mask": torch.zeros(2, 5).bool()}, "has no real step"),
        ({"mask": torch.ones(2, 4).bool()}, r"mask has shape \[2, 4\]"),
    ],
)
@pytest.mark.parametrize("measure", [gradient_flow, input_flow])
def test_bad_input_is_refused_in_a_line(measure, options, message):
    with pytest.raises(InputError, match=message) as caught:
        measure(GRU(2, 3), torch.randn(2, 5, 2), **options)
    assert "\n" not in str(caught.value)


def test_layers_that_do_not_fit_are_refused():
    x = torch.randn(2, 5, 4)
    with pytest.raises(InputError, match="layer is SelfAttention, expected one with a recurrent"):
        gradient_flow(SelfAttention(4, 2, horizon=3), x)
    with pytest.raises(InputError, match=r"input_flow: x is torch.int64, expected floating point"):
        input_flow(Stack(Embedding(9, 4), GRU(4, 3)), torch.randint(9, (2, 5)))
    with pytest.raises(InputError, match=r"shape \[2, 0, 4\] has no real step"):
        gradient_flow(GRU(4, 3), x[:, :0])
    with pytest.raises(InputError, match="layer gives 1 outputs for 5 steps"):
        input_flow(FirstStep(), x)


class FirstStep(Stateless):
    """Gives one output for all steps."""

    input_size = output_size = None

    def each(self, x):
        return x[:, :1]


# What the numbers say


def falling(factor, steps=30):
    return tuple(factor**k for k in range(steps))


def test_a_table_is_printed():
    flow = GradientFlow(tuple(range(30)), {"0.LSTM": falling(0.9), "1.RNN": falling(0.5)})
    lines = str(flow).splitlines()
    assert " ".join(lines[0].split()).startswith("layer rate half-life lag 0 lag 6 lag 12 ")
    assert lines[0].endswith("lag 29")
    assert lines[1].split()[:4] == ["0.LSTM", "0.9", "6.58", "1"]
    assert len({len(line) for line in lines}) == 1


def test_half_lives_are_where_half_is_first_passed():
    flow = GradientFlow((0, 1, 3, 4), {"a": (1.0, 0.8, 0.2, 0.9), "b": (1.0, 1.0, 1.0, 0.0)})
    assert flow.half_life["a"] == pytest.approx(1 + 2 * math.log(1.6) / math.log(4))
    assert 3 < flow.half_life["b"] < 3.02
    assert flow.rate["b"] == pytest.approx(1)  # what is zero has no logarithm


def test_words_for_what_vanishes_explodes_and_lasts():
    flow = GradientFlow(
        tuple(range(30)),
        {"a": falling(0.5), "b": falling(1.2), "c": falling(0.99), "d": (0.0,) * 30},
    )
    assert diagnose(flow) == [
        "a: vanishing by a factor of 0.5 per step: half is left after 1 steps, 1 % or less from "
        "lag 7 on",
        "b: exploding by a factor of 1.2 per step, to 198 times that of lag 0 at lag 29",
        "c: healthy up to lag 29: 74.7 % arrives there, changing by a factor of 0.99 per step",
        "d: nothing arrives at lag 0, which the other lags are measured by",
    ]
    broken = GradientFlow((0, 1, 2), {"a": (1.0, math.inf, math.nan)})
    assert diagnose(broken, cut=1) == [
        "a: exploding: no finite number at lag 1",
        "a: what a cut after 1 steps loses cannot be told from such norms",
    ]
    back = GradientFlow((0, 1, 2), {"a": (1.0, 0.001, 0.5)})  # a copy from far behind
    assert diagnose(back)[0].startswith("a: healthy up to lag 2: 50 % arrives there")


@pytest.mark.parametrize("lags", [tuple(range(41)), (0, 1, 2, 5, 20, 40)])
def test_a_cut_loses_the_sum_of_what_lies_behind(lags):
    flow = GradientFlow(lags, {"a": tuple(0.9**k for k in lags)})
    lost = (0.9**10 - 0.9**41) / (1 - 0.9**41)  # geometric sums
    assert diagnose(flow, cut=10)[1] == (
        f"a: a cut after 10 steps loses {100 * lost:.3g} % of the gradient (norms up to lag 40)"
    )
    assert diagnose(flow, cut=41)[1].endswith("lies behind the largest lag measured, 40")
    with pytest.raises(InputError, match="cut is 0, expected at least 1 step"):
        diagnose(flow, cut=0)


def test_what_is_cut_is_what_truncation_cuts():
    """A loss that is propagated back k2 steps reaches the inputs of lags 0 to k2 - 1."""
    layer, x = RNN(2, 3).double(), torch.randn(1, 9, 2).double()
    _, state = layer(x[:, :6])
    x = x[:, 6:].clone().requires_grad_()
    output, _ = layer(x, type(state)(state.hidden.detach()))
    (found,) = torch.autograd.grad(output[:, -1].sum(), x)
    assert found.norm(dim=-1).gt(0).sum() == 3


# The figure


@pytest.mark.parametrize("theme", THEMES)
def test_a_figure_has_a_line_for_each_layer_on_a_logarithmic_scale(theme):
    curves = {"RNN": falling(0.05), "LSTM": falling(0.9), "gone": (1.0, *[0.0] * 29)}
    flow = GradientFlow(tuple(range(30)), curves)
    ax = Figure().subplots()
    assert draw_gradient_flow(ax, flow, cut=8, theme=theme) is ax
    assert ax.get_yscale() == "log"
    *lines, cut = ax.lines
    palette = colours([*curves], theme=theme)
    for line, (name, norms) in zip(lines, curves.items(), strict=True):
        assert (line.get_label(), line.get_color()) == (name, palette[name])
        drawn: Any = line.get_ydata()
        known = [norm for norm in norms if norm > 0]
        assert list(drawn[: len(known)]) == known
    assert contrast(str(cut.get_color()), theme.surface) > 4.5
    assert list(np.asarray(cut.get_xdata())) == [
        7.5,
        7.5,
    ]  # between the last lag that is kept and the next
    assert ax.get_ylim()[0] == pytest.approx(5e-10)
    (label,) = [text for text in ax.texts if text.get_text() == "cut after 8"]
    assert label.get_horizontalalignment() == "left"
    assert ax.get_title(loc="left") == "Gradient through time"


def test_a_figure_of_nothing_is_drawn_all_the_same():
    flow = GradientFlow((0, 1), {"a": (0.0, 0.0)})
    figure = Figure()
    ax = draw_gradient_flow(figure.subplots(), flow, cut=1, palette={"a": "#123456"})
    assert len(ax.lines) == 2
    assert ax.texts[0].get_horizontalalignment() == "right"  # at the edge there is no room
    figure.canvas.draw()


def test_layers_without_memory_between_change_no_names():
    flow = gradient_flow(Stack(Linear(2, 3), RNN(3, 3)), torch.randn(1, 6, 2))
    assert [*flow.curves] == ["1.RNN"]
