"""Jacobians of single steps, and how fast their product grows."""

import math
from typing import Any

import pytest
import torch

from throughtime import GRU, LSTM, RNN
from throughtime.errors import InputError
from throughtime.inspect import gradient_flow, recurrent_jacobians
from throughtime.layers import Linear, Stack
from throughtime.state import tensors

CELLS = [RNN, LSTM, GRU, lambda i, h: GRU(i, h, reset_after=False)]
cells = pytest.mark.parametrize("cell", CELLS, ids=["rnn", "lstm", "gru", "gru-before"])


def at_rest(weight):
    """An RNN whose every Jacobian is its matrix: tanh' is 1 at 0."""
    layer = RNN(1, len(weight)).double()
    with torch.no_grad():
        layer.weight_hidden.copy_(torch.as_tensor(weight))
    return layer


@cells
def test_jacobians_are_those_of_finite_differences(cell):
    layer, x = cell(2, 3).double(), torch.randn(1, 4, 2).double()
    found = recurrent_jacobians(layer, x)
    state = layer.initial_state(1)
    for t in range(4):
        now = x[:, t : t + 1]
        s = torch.cat(tensors(state), dim=-1)[0]

        def after(s, now=now):
            state = layer.State(*s.unsqueeze(0).split(3, dim=-1))
            return torch.cat(tensors(layer(now, state)[1]), dim=-1)[0]

        with torch.no_grad():
            columns = [
                (after(s + step) - after(s - step)) / 2e-5 for step in 1e-5 * torch.eye(len(s))
            ]
            _, state = layer(now, state)
        torch.testing.assert_close(
            found.matrices[t], torch.stack(columns, dim=1), rtol=1e-6, atol=1e-8
        )


@cells
def test_gradient_flow_is_what_they_do_together(cell):
    layer, x = cell(2, 3).double(), torch.randn(1, 7, 2).double()
    w = torch.randn(3).double()
    flow = gradient_flow(layer, x, loss=lambda output: output @ w, lags=range(7))
    found = recurrent_jacobians(layer, x)
    back = torch.cat([w, w.new_zeros(found.matrices.shape[1] - 3)])  # a cell is not the output
    norms = []
    for j in [*found.matrices.flip(0)]:
        norms.append(float(back.norm()))
        back = j.T @ back
    assert flow.curves.popitem()[1] == pytest.approx(norms)  # pyright: ignore


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.5])
def test_a_rotation_times_a_factor(factor):
    layer = at_rest(factor * torch.linalg.qr(torch.randn(4, 4).double()).Q)
    x = torch.zeros(1, 12, 1).double()
    found = recurrent_jacobians(layer, x)
    assert found.spectral_radius.tolist() == pytest.approx([factor] * 12)
    assert found.singular_values.flatten().tolist() == pytest.approx([factor] * 48)
    assert found.exponents.tolist() == pytest.approx([math.log(factor)] * 4, abs=1e-12)
    assert gradient_flow(layer, x).rate["RNN"] == pytest.approx(found.spectral_radius[0].item())
    assert found.lyapunov == pytest.approx(math.log(factor), abs=1e-12)


def test_exponents_are_logarithms_of_eigenvalues_and_not_of_singular_values():
    layer = at_rest([[0.5, 3.0, 0.0], [0.0, 0.2, 1.0], [0.0, 0.0, 0.9]])
    found = recurrent_jacobians(layer, torch.zeros(1, 300, 1))
    expected = [math.log(value) for value in (0.9, 0.5, 0.2)]
    assert found.exponents.tolist() == pytest.approx(expected, abs=2e-2)
    assert found.lyapunov == pytest.approx(math.log(0.9), abs=1e-2)
    assert found.spectral_radius[0] == pytest.approx(0.9)
    assert found.singular_values[0, 0] > 3
    assert (found.singular_values.diff(dim=1) <= 0).all()


def test_a_direction_that_stays_where_it_is_hides_no_faster_one():
    found = recurrent_jacobians(at_rest(torch.diag(torch.tensor([0.3, 0.9]))), torch.zeros(1, 5, 1))
    assert found.exponents.tolist() == pytest.approx([math.log(0.9), math.log(0.3)])


def test_steps_of_a_warm_up_do_not_count():
    layer = at_rest([[0.9, 5.0], [0.0, 0.3]])
    with torch.no_grad():
        layer.weight_hidden.copy_(layer.weight_hidden.T.clone())
    x = torch.zeros(1, 40, 1)
    early, late = (recurrent_jacobians(layer, x, warmup=steps) for steps in (0, 20))
    assert abs(late.lyapunov - math.log(0.9)) < 1e-6 < abs(early.lyapunov - math.log(0.9))


def test_an_lstm_at_rest():
    """At h = c = x = 0: dc'/dc = f, dc'/dh = i U_g, and h' = o tanh(c')."""
    layer = LSTM(1, 3).double()
    found = recurrent_jacobians(layer, torch.zeros(1, 2, 1))
    forget = torch.tensor(1.0).double().sigmoid()  # its bias starts at 1; i and o are 1/2
    by_cell, by_hidden = forget * torch.eye(3).double(), 0.5 * layer.weight_hidden[6:9].detach()
    below = torch.cat([by_hidden, by_cell], dim=1)
    expected = torch.cat([0.5 * below, below])
    torch.testing.assert_close(found.matrices, expected.expand(2, -1, -1))
    radius = torch.linalg.eigvals(0.5 * by_hidden + by_cell).abs().max()
    torch.testing.assert_close(found.spectral_radius, radius.expand(2))


def test_a_chaotic_network_has_a_positive_exponent_which_a_nearby_run_confirms():
    """Sompolinsky, Crisanti and Sommers 1988: a gain well above 1 is chaos."""
    size = 40
    layer = at_rest(3 * torch.randn(size, size) / size**0.5)
    x = torch.zeros(1, 50, 1).double()  # few enough that rounding does not become another run
    state = layer.State(torch.randn(1, size).double())
    found = recurrent_jacobians(layer, x, state, warmup=0)
    assert found.lyapunov > 0.1
    with torch.no_grad():  # two runs, brought back to a small distance after each step
        one, distance, logs = state.hidden, 1e-7, []
        other = one + distance * torch.eye(size).double()[:1]  # where the frame begins as well
        for _ in range(50):
            both = layer(x[:, :1].expand(2, 1, 1), layer.State(torch.cat([one, other])))[1].hidden
            apart = both[1] - both[0]
            logs.append(math.log(float(apart.norm()) / distance))
            one, other = both[:1], both[:1] + distance * apart / apart.norm()
    assert found.lyapunov == pytest.approx(sum(logs) / 50, rel=1e-4)


def test_all_exponents_together_say_how_volumes_change():
    found = recurrent_jacobians(GRU(2, 4), torch.randn(1, 9, 2), warmup=0)
    volume = torch.linalg.slogdet(found.matrices).logabsdet.mean()
    torch.testing.assert_close(found.exponents.sum(), volume)


def test_a_state_is_where_it_begins_and_the_layer_is_as_it_was():
    layer, x = LSTM(2, 3), torch.randn(1, 6, 2)
    layer.train()
    _, state = layer(x[:, :2])
    whole, rest = recurrent_jacobians(layer, x), recurrent_jacobians(layer, x[:, 2:], state)
    torch.testing.assert_close(rest.matrices, whole.matrices[2:], rtol=1e-5, atol=1e-6)
    assert rest.matrices.dtype == torch.float64
    assert layer.weight_hidden.dtype == torch.float32
    assert layer.training
    assert not layer._forward_hooks
    assert not rest.matrices.requires_grad


def test_they_say_what_they_are():
    found = recurrent_jacobians(at_rest(0.5 * torch.eye(2)), torch.zeros(1, 4, 1))
    assert str(found) == (
        "4 steps, 2 numbers in the state: largest Lyapunov exponent -0.693 nats per step (a factor "
        "of 0.5), spectral radius 0.5 and largest singular value 0.5 on average"
    )


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (torch.zeros(2, 4, 1), {}, r"x has shape \[2, 4, 1\], expected \[1, time, features\]"),
        (torch.zeros(1, 0, 1), {}, r"x has shape \[1, 0, 1\]"),
        (torch.zeros(1, 4, 1), {"warmup": 4}, "warmup is 4, expected from 0 to 3"),
        (torch.zeros(1, 4, 3), {}, "x has 3 features, input_size is 1"),
    ],
)
def test_bad_input_is_refused(x, options, message):
    with pytest.raises(InputError, match=message):
        recurrent_jacobians(RNN(1, 2), x, **options)


@pytest.mark.parametrize("layer", [Linear(1, 2), Stack(RNN(1, 2))])
def test_layers_that_are_not_recurrent_are_refused(layer):
    with pytest.raises(InputError, match=r"layer is (Linear|Stack), expected a recurrent one"):
        recurrent_jacobians(layer, torch.zeros(1, 4, 1))


# Through many steps


def differences(layers, x, w, t, s, epsilon=1e-5):
    """Norms of d (w output_t) / d state_s of each layer of a stack, by central differences."""
    states: list[Any] = [layer.initial_state(1) for layer in layers]
    befores = []
    for j in range(s + 1):
        now = x[:, j : j + 1]
        for place, layer in enumerate(layers):
            now, states[place] = layer(now, states[place])
        befores.append(list(states))

    def after(place, part, unit, step):
        """The output at t, had this number of the state of that layer at s been other."""
        states = list(befores[s - 1]) if s else [layer.initial_state(1) for layer in layers]
        now = x
        for j in range(s, t + 1):
            now = x[:, j : j + 1]
            for index, layer in enumerate(layers):
                now, states[index] = layer(now, states[index])
                if (j, index) == (s, place):
                    parts = [one.clone() for one in states[index]]
                    parts[part][0, unit] += step
                    states[index] = type(states[index])(*parts)
                    now = states[index].hidden.unsqueeze(1)
        return float(now[0, 0] @ w)

    found = []
    with torch.no_grad():
        for place, layer in enumerate(layers):
            slopes = [
                (after(place, part, unit, epsilon) - after(place, part, unit, -epsilon))
                / (2 * epsilon)
                for part in range(len(layer.State._fields))
                for unit in range(layer.hidden_size)
            ]
            found.append(math.hypot(*slopes))
    return found


@pytest.mark.parametrize(
    "layers",
    [
        [RNN(2, 3)],
        [LSTM(2, 3)],
        [GRU(2, 3)],
        [GRU(2, 3, reset_after=False)],
        [LSTM(2, 3), GRU(3, 2)],
    ],
    ids=["rnn", "lstm", "gru", "gru-before", "lstm-gru"],
)
def test_norms_are_those_of_finite_differences(layers):
    layers = [layer.double() for layer in layers]
    x, w = torch.randn(1, 6, 2).double(), torch.randn(layers[-1].hidden_size).double()
    # The loss of a single step, so that nothing is averaged.
    flow = gradient_flow(Stack(*layers), x, loss=lambda output: output @ w, lags=range(6))
    each = [differences(layers, x, w, t=5, s=5 - k) for k in range(6)]
    assert [*flow.curves] == [
        f"{place}.{type(layer).__name__}" for place, layer in enumerate(layers)
    ]
    for place, curve in enumerate(flow.curves.values()):
        assert curve == pytest.approx([norms[place] for norms in each], rel=1e-6)
