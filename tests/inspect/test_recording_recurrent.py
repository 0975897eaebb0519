"""Gates and states seen and replaced in recurrent layers, against their equations by hand."""

import pytest
import torch

from tests.inspect.watching import MASK, RESET, close, warm
from throughtime import kernels
from throughtime.inspect import intervene, record, tap_names
from throughtime.layers import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
)

pytestmark = pytest.mark.usefixtures("double")


def steps_of(layer, x, state, mask, reset, cell):
    """By name, what a cell computes: written for one row at a time, without tensors of marks."""
    rows = []
    for b in range(x.shape[0]):
        now, found = [part[b] for part in state], []
        initial = [part[b] for part in layer.initial_state(x.shape[0])]
        for t in range(x.shape[1]):
            if reset is not None and reset[b, t]:
                now = initial
            seen, after = cell(layer, x[b, t], *now)
            if mask is None or mask[b, t]:
                now = after
            else:
                seen = {name: torch.zeros_like(value) for name, value in seen.items()}
            found.append(seen)
        rows.append({name: torch.stack([one[name] for one in found]) for name in found[0]})
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def lstm_cell(layer, x, h, c):
    i, f, g, o = (layer.weight_input @ x + layer.weight_hidden @ h + layer.bias).chunk(4)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    c = f * c + i * g
    h = o * c.tanh()
    return {"input": i, "forget": f, "candidate": g, "output_gate": o, "cell": c, "hidden": h}, (
        h,
        c,
    )


def gru_cell(layer, x, h):
    from_x = (layer.weight_input @ x + layer.bias).chunk(3)
    u = layer.weight_hidden.chunk(3)
    r, z = ((a + w @ h).sigmoid() for a, w in zip(from_x, u[:2], strict=False))
    if layer.bias_hidden is None:
        n = (from_x[2] + u[2] @ (r * h)).tanh()
    else:
        n = (from_x[2] + r * (u[2] @ h + layer.bias_hidden)).tanh()
    h = (1 - z) * n + z * h
    return {"reset": r, "update": z, "candidate": n, "hidden": h}, (h,)


def rnn_cell(layer, x, h):
    h = (layer.weight_input @ x + layer.weight_hidden @ h + layer.bias).tanh()
    return {"hidden": h}, (h,)


RECURRENT = {
    "lstm": (lambda: LSTM(3, 5, learn_initial_state=True), lstm_cell),
    "lstm-recompute": (lambda: LSTM(3, 5, recompute=True), lstm_cell),
    "gru": (lambda: GRU(3, 5, learn_initial_state=True), gru_cell),
    "gru-of-the-paper": (lambda: GRU(3, 5, reset_after=False), gru_cell),
    "rnn": (lambda: RNN(3, 5), rnn_cell),
}


@pytest.fixture(params=RECURRENT)
def recurrent(request):
    make, cell = RECURRENT[request.param]
    layer = make()
    with torch.no_grad():
        for weight in layer.parameters():
            weight.normal_()
    return layer, cell


@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize("detach", [True, False])
def test_values_are_those_of_the_equations(recurrent, marked, detach, implementation):
    layer, cell = recurrent
    x, state = torch.randn(2, 6, 3), warm(layer)
    marks = (MASK, RESET) if marked else (None, None)
    with record(layer, detach=detach) as trace:
        layer(x, state, *marks)
    expected = steps_of(layer, x, state, *marks, cell)
    assert list(trace) == list(expected) == list(tap_names(layer))
    for name, value in expected.items():
        close(trace[name], value)


def test_without_gradients_and_with(recurrent):
    layer, cell = recurrent
    x, state = torch.randn(2, 6, 3), warm(layer)
    with torch.no_grad(), record(layer) as trace:
        layer(x, state)
    with torch.inference_mode(), record(layer) as inferred:
        layer(x, state)
    for name, value in steps_of(layer, x, state, None, None, cell).items():
        close(trace[name], value.detach())
        close(inferred[name].clone(), value.detach())


def test_single_steps_are_seen(recurrent):
    """One row and one step without gradients go a short way past everything, unless watched."""
    layer, cell = recurrent
    x, state = torch.randn(1, 6, 3), warm(layer, 1)
    before = state
    with torch.no_grad(), record(layer) as trace:
        for t in range(6):
            _, state = layer(x[:, t : t + 1], state)
    for name, value in steps_of(layer, x, before, None, None, cell).items():
        assert len(trace.calls(name)) == 6
        close(trace.joined(name), value.detach())


def test_gradients_stay_what_they_were(recurrent, implementation):
    layer, _ = recurrent
    x = torch.randn(2, 6, 3)

    def gradients():
        return torch.autograd.grad(
            layer(x, None, MASK, RESET)[0].square().sum(), [*layer.parameters()], allow_unused=True
        )

    plain = gradients()
    with record(layer) as trace:
        watched = gradients()
    for one, other in zip(plain, watched, strict=True):
        assert one is None or torch.allclose(one, other, rtol=1e-12, atol=1e-12)
    assert not any(value.requires_grad for value in trace.values())


def test_gates_with_history_have_gradients_of_weights(implementation):
    layer, x = LSTM(3, 5), torch.randn(2, 6, 3)
    with record(layer, "forget", detach=False) as trace:
        layer(x)
    (found,) = torch.autograd.grad(trace["forget"].sum(), layer.weight_hidden)
    by_hand = steps_of(layer, x, layer.initial_state(2), None, None, lstm_cell)["forget"]
    close(found, torch.autograd.grad(by_hand.sum(), layer.weight_hidden)[0])


def test_only_what_is_asked_for_leaves_the_fused_way(monkeypatch):
    """Gates come from the kernel that runs anyway; the loop runs for history alone."""
    from throughtime.kernels.lstm import reference

    def never(*_, **__):
        raise AssertionError("the reference ran")

    layer, x = LSTM(3, 5), torch.randn(2, 6, 3)
    monkeypatch.setattr(reference, "lstm", never)
    if kernels.active()["lstm"].name == "reference":
        pytest.skip("there is no other implementation here")
    with record(layer):
        layer(x)
    with record(layer, "hidden", detach=False) as trace:
        layer(x)
    assert trace["hidden"].requires_grad
    with (
        pytest.raises(AssertionError, match="the reference ran"),
        record(layer, "forget", detach=False),
    ):
        layer(x)


def test_backward_halves_stand_at_the_steps_of_the_input():
    layer = Bidirectional(GRU(3, 4), LSTM(3, 5))
    x = torch.randn(2, 6, 3)
    with record(layer) as trace:
        output, _ = layer(x, None, MASK)
    close(trace["over.hidden"], output[..., :4].detach())
    close(trace["against.hidden"], output[..., 4:].detach())
    mask, turned = MASK.flip(1), x.flip(1)
    by_hand = steps_of(layer.against, turned, layer.against.initial_state(2), mask, None, lstm_cell)
    close(trace["against.forget"], by_hand["forget"].flip(1))


def test_an_intervention_against_time_knows_its_step():
    layer = Bidirectional(RNN(3, 4))
    x, at = torch.randn(1, 6, 3), 2
    with record(layer) as plain:
        layer(x)

    def silence(value, step):
        return torch.zeros_like(value) if step == at else value

    with record(layer) as trace, intervene(layer, {"against.hidden": silence}):
        layer(x)
    changed = (trace["against.hidden"] - plain["against.hidden"]).abs().amax(-1)[0] > 1e-6
    assert changed.tolist() == [True, True, True, False, False, False]  # it and what it hands on
    assert (trace["against.hidden"][:, at] == 0).all()


# Interventions in a recurrence


def test_a_forget_gate_of_one_adds_up(implementation):
    layer, x = LSTM(3, 5), torch.randn(2, 6, 3)
    state = warm(layer)
    with record(layer) as trace, intervene(layer, {"forget": torch.ones_like}):
        output, after = layer(x, state)
    close(trace["cell"], state.cell.unsqueeze(1) + (trace["input"] * trace["candidate"]).cumsum(1))
    close(after.cell.detach(), trace["cell"][:, -1])
    close(output.detach(), trace["output_gate"] * trace["cell"].tanh())
    assert (trace["forget"] == 1).all()


def test_an_update_gate_of_one_keeps_the_past(implementation):
    layer, x = GRU(3, 5), torch.randn(2, 6, 3)
    state = warm(layer)
    with intervene(layer, {"update": torch.ones_like}):
        output, _ = layer(x, state, MASK)
    close(output, (state.hidden.unsqueeze(1) * MASK.unsqueeze(-1)).expand_as(output))


def test_a_silenced_unit_says_nothing_to_later_steps(recurrent, implementation):
    layer, cell = recurrent
    x, state = torch.randn(2, 6, 3), warm(layer)

    def silence(value):
        return value.index_fill(-1, torch.tensor([2]), 0.0)

    def silenced(layer, x, *state):
        seen, (h, *c) = cell(layer, x, *state)
        return seen, (silence(h), *c)

    with intervene(layer, {"hidden": silence}):
        output, after = layer(x, state, MASK, RESET)
    expected = steps_of(layer, x, state, MASK, RESET, silenced)
    close(output, silence(expected["hidden"]))
    assert (output[..., 2] == 0).all()
    assert (after.hidden[0, 2] == 0).all()


def test_what_is_patched_in_gives_the_other_output(recurrent):
    layer, _ = recurrent
    one, two = torch.randn(2, 2, 6, 3)
    with record(layer, "hidden") as trace:
        expected, after = layer(one)
    with intervene(
        layer, {"hidden": lambda value, step: trace["hidden"][:, step : step + value.shape[1]]}
    ):
        output, patched = layer(two)
    close(output, expected)
    close(patched.hidden, after.hidden)


def test_the_gradient_in_a_gate_is_that_of_what_is_added():
    layer, x = LSTM(3, 5), torch.randn(2, 6, 3)
    extra = torch.zeros(2, 6, 5, requires_grad=True)

    def loss(added):
        def nudge(value, step):
            return value + added[:, step : step + value.shape[1]]

        with intervene(layer, {"forget": nudge}):
            return layer(x)[0].square().sum()

    (found,) = torch.autograd.grad(loss(extra), extra)
    step = torch.zeros_like(extra).detach()
    step[1, 3, 2] = 1e-6
    with torch.no_grad():
        slope = (loss(step) - loss(-step)) / 2e-6
    torch.testing.assert_close(found[1, 3, 2], slope, rtol=1e-6, atol=1e-9)


def test_several_functions_act_in_their_order():
    layer, x = RNN(3, 4), torch.randn(1, 1, 3)
    plain, _ = layer(x)
    with intervene(layer, {"hidden": lambda v: v + 1, "hid*": lambda v: 2 * v}):
        output, _ = layer(x)
    close(output, 2 * (plain + 1))


@pytest.mark.parametrize("make", [LSTM, GRU, RNN])
def test_functions_may_write_into_what_they_are_given(make):
    layer, x = make(3, 5), torch.randn(2, 7, 3)

    def written(value):
        value[..., 0] = 0
        return value

    def selected(value):
        return torch.where(torch.arange(5) == 0, 0, value)

    found = []
    for function in (written, selected):
        with intervene(layer, {"*": function}):
            output, _ = layer(x)
        found.append([output, *torch.autograd.grad(output.square().sum(), [*layer.parameters()])])
    for one, other in zip(*found, strict=True):
        close(one, other)
