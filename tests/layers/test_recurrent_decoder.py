"""Decoders of recurrent layers: where they begin, and what they look at."""

import pytest
import torch

from throughtime.errors import InputError
from throughtime.layers import (
    GRU,
    LSTM,
    AnnotationState,
    CrossAttention,
    GlobalAttention,
    LSTMState,
    RecurrentDecoder,
    Residual,
)
from throughtime.layers.pooling import ends, mean

MASK = torch.tensor(
    [[True, True, True, False], [False, True, True, False], [False, False, False, False]]
)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("attention", ["additive", "multiplicative", "none"])
@pytest.mark.parametrize("bridge", ["ends", "mean"])
def test_padding_of_the_memory_changes_nothing(cell, attention, bridge):
    decoder = RecurrentDecoder(
        3, 4, 2, cell=cell, memory_size=6, attention=attention, bridge=bridge
    ).double()
    memory, x = torch.randn(1, 3, 6).double(), torch.randn(1, 5, 3).double()
    expected, _ = decoder(x, decoder.remember(memory))
    padded = torch.full((1, 7, 6), torch.nan).double()
    padded[:, [1, 2, 5]] = memory
    mask = torch.tensor([[False, True, True, False, False, True, False]])
    got, _ = decoder(x, decoder.remember(padded, mask))
    torch.testing.assert_close(got, expected)


def test_ends_are_where_the_two_directions_end():
    memory = torch.arange(3 * 4 * 2.0).view(3, 4, 2)
    assert ends(memory, MASK).tolist() == [[4, 1], [12, 11], [0, 0]]
    assert ends(memory).tolist() == [[6, 1], [14, 9], [22, 17]]
    assert ends(memory[:, :0]).tolist() == [[0, 0]] * 3


def test_mean_is_of_the_real_steps():
    memory = torch.arange(3 * 4 * 2.0).view(3, 4, 2)
    assert mean(memory, MASK).tolist() == [[2, 3], [11, 12], [0, 0]]


def test_the_bridge_begins_every_layer():
    decoder = RecurrentDecoder(3, 4, 2, memory_size=6, bridge="mean")
    memory = torch.randn(2, 5, 6)
    states = decoder.remember(memory)
    found = memory.mean(1) @ decoder.weight_bridge.T + decoder.bias_bridge
    assert [type(state) for state in states] == [LSTMState, AnnotationState, LSTMState]
    torch.testing.assert_close(states[0].hidden, found[:, :4].tanh())
    torch.testing.assert_close(states[0].cell, found[:, 4:8])
    torch.testing.assert_close(states[2].hidden, found[:, 8:12].tanh())
    torch.testing.assert_close(states[2].cell, found[:, 12:])


def test_a_longer_way_round_gives_the_same():
    """The decoder by hand: cell, attention, cell on top of what was found."""
    decoder = RecurrentDecoder(3, 4, 2, cell="gru", memory_size=6, attention="multiplicative")
    memory, x = torch.randn(2, 5, 6), torch.randn(2, 7, 3)
    first, attend, second = decoder.layers
    assert isinstance(second, Residual)
    assert isinstance(first, GRU)
    assert isinstance(attend, GlobalAttention)
    state = decoder.remember(memory)
    h, _ = first(x, state[0])
    found, _ = attend(h, state[1])
    h, _ = second.layer(found, state[2])
    torch.testing.assert_close(decoder(x, state)[0], found + h)


def test_all_parameters_learn():
    decoder = RecurrentDecoder(3, 4, 2, memory_size=6, dropout=0.1)
    output, _ = decoder(torch.randn(2, 7, 3), decoder.remember(torch.randn(2, 5, 6)))
    output.sum().backward()
    assert all(weight.grad is not None for weight in decoder.parameters())


@pytest.mark.parametrize("layer", [GlobalAttention(4, 6), CrossAttention(4, 2, memory_size=6)])
def test_a_memory_of_another_form_is_refused(layer):
    name = type(layer).__name__
    with pytest.raises(InputError, match=rf"{name}: memory has shape \[2, 5, 4\], expected"):
        layer.remember(torch.randn(2, 5, 4))
    state = layer.remember(torch.randn(2, 5, 6))
    shorter = state._replace(real=state.real[:, 1:])
    for wrong in (shorter, state._replace(real=state.real.long()), (1, 2, 3), tuple(state)):
        with pytest.raises(InputError, match=f"{name}: state is "):
            layer(torch.randn(2, 3, 4), wrong)
    with pytest.raises(InputError, match=f"{name}: state is "):
        layer(torch.randn(3, 3, 4), state)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"cell": "elman"}, "RecurrentDecoder: cell is 'elman', expected one of"),
        ({"attention": "soft"}, "RecurrentDecoder: attention is 'soft', expected one of"),
        ({"bridge": "wide"}, "RecurrentDecoder: bridge is 'wide', expected one of"),
        ({"memory_size": 0}, "RecurrentDecoder: memory_size is 0, expected"),
        ({"layers": 0}, "RecurrentDecoder: layers is 0, expected"),
    ],
)
def test_options_that_cannot_be(options, told):
    with pytest.raises(InputError, match=told):
        RecurrentDecoder(3, 4, **{"memory_size": 6, **options})


def test_other_refusals():
    with pytest.raises(InputError, match="GlobalAttention: score is 'dot', expected one of"):
        GlobalAttention(4, score="dot")
    with pytest.raises(
        InputError, match=r"RecurrentDecoder: memory has shape \[2, 5, 4\], expected"
    ):
        RecurrentDecoder(3, 4, memory_size=6).remember(torch.randn(2, 5, 4))


def test_without_steps_there_is_nothing_to_find():
    layer = GlobalAttention(4, 6)
    x = torch.randn(2, 3, 4)
    output, state = layer(x)
    assert state.keys.shape == (2, 0, 4)
    mixed = torch.nn.functional.linear(x, layer.weight_output[:, 6:], layer.bias).tanh()
    torch.testing.assert_close(output, mixed)
    blind = torch.zeros(2, 5, dtype=torch.bool)
    seen, _ = layer(x, layer.remember(torch.randn(2, 5, 6), blind))
    torch.testing.assert_close(seen, output)


def test_a_decoder_is_as_fast_as_its_layers():
    """Its recurrent layers run over whole sequences: one call each, however long they are."""
    calls = []
    decoder = RecurrentDecoder(3, 4, 2, memory_size=6)
    for layer in decoder.modules():
        if isinstance(layer, LSTM):
            layer.register_forward_hook(lambda layer, given, _: calls.append(given[0].shape[1]))
    decoder(torch.randn(2, 9, 3), decoder.remember(torch.randn(2, 5, 6)))
    assert calls == [9, 9]
