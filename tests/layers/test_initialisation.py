"""Fresh layers are as their docstrings say."""

import pytest
import torch

from throughtime.layers import GRU, LSTM, RNN, Bidirectional, Window


@pytest.mark.parametrize(("layer", "blocks"), [(RNN(3, 8), 1), (GRU(3, 8), 3), (LSTM(3, 8), 4)])
def test_recurrent_weights_are_orthogonal_per_gate(layer, blocks):
    for block in layer.weight_hidden.detach().chunk(blocks):
        assert torch.allclose(block @ block.T, torch.eye(8), atol=1e-5)


def test_a_new_lstm_remembers():
    layer = LSTM(3, 5)
    i, f, g, o = layer.bias.detach().chunk(4)
    assert f.tolist() == [1.0] * 5
    assert not torch.cat([i, g, o]).any()


@pytest.mark.parametrize("kind", [RNN, LSTM, GRU])
def test_a_learned_initial_state_is_trained(kind):
    layer = kind(3, 5, learn_initial_state=True)
    output, _ = layer(torch.randn(2, 1, 3))
    output.square().sum().backward()
    assert layer.initial_hidden.grad.any()
    assert kind(3, 5).initial_hidden is None
    with torch.no_grad():
        layer.initial_hidden.fill_(0.5)
    assert (layer.initial_state(3).hidden == 0.5).all()


def test_initial_state_on_request_in_another_type():
    assert LSTM(3, 5).initial_state(2, dtype=torch.float64).cell.dtype == torch.float64
    assert Window(3).double().initial_state(2).past.dtype == torch.float64
    assert Window(3).initial_state(2, dtype=torch.float64).past.dtype == torch.float64


def test_the_two_directions_have_weights_of_their_own():
    layer = Bidirectional(GRU(3, 5))
    assert not torch.equal(layer.over.weight_input, layer.against.weight_input)  # pyright: ignore


@pytest.mark.parametrize("kind", [RNN, LSTM, GRU])
def test_autocast_keeps_the_state_in_single_precision(kind):
    layer = kind(3, 5)
    x = torch.randn(2, 6, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, state = layer(x)
        output, state = layer(x, state)
    exact, _ = layer(x, layer(x)[1])
    assert {part.dtype for part in state} == {torch.float32}
    assert torch.allclose(output, exact, atol=0.05)
