"""Our layers from torch.nn's modules and names, and back."""

import pytest
import torch
from torch import nn

from throughtime import GRU, LSTM, RNN, Bidirectional, InputError, Linear, Stack
from throughtime.interop.recurrent import weights_of
from throughtime.interop.reverse import Reverse
from throughtime.interop.torch_names import from_torch, to_torch

KINDS = {
    "lstm": (nn.LSTM, {}),
    "gru": (nn.GRU, {}),
    "rnn": (nn.RNN, {}),
    "rnn-relu": (nn.RNN, {"nonlinearity": "relu"}),
}


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "bare"])
@pytest.mark.parametrize("both", [True, False], ids=["both", "one"])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("name", KINDS)
def test_a_module_there_and_back(name, layers, both, bias):
    kind, options = KINDS[name]
    theirs = kind(
        *(3, 5, layers), bias=bias, bidirectional=both, batch_first=True, **options
    ).double()
    ours = from_torch(theirs)
    x = torch.randn(4, 6, 3, dtype=torch.float64)
    expected, _ = theirs(x)
    torch.testing.assert_close(ours(x)[0], expected, atol=1e-12, rtol=0)
    again = kind(3, 5, layers, bidirectional=both, batch_first=True, **options).double()
    again.load_state_dict(to_torch(ours))
    torch.testing.assert_close(again(x)[0], expected, atol=1e-12, rtol=0)


CELLS = {"lstm": nn.LSTMCell, "gru": nn.GRUCell, "rnn": nn.RNNCell}


@pytest.mark.parametrize("name", CELLS)
def test_a_cell(name):
    cell = CELLS[name](3, 5)
    x = torch.randn(2, 3)
    found = cell(x)
    hidden = found[0] if name == "lstm" else found
    torch.testing.assert_close(from_torch(cell)(x[:, None])[1].hidden, hidden)


def test_a_prefix_picks_one_of_several():
    model = nn.ModuleDict({"a": nn.GRU(3, 5), "b": nn.LSTM(3, 5)})
    state = model.state_dict()
    assert isinstance(from_torch(state, "a."), GRU)
    layer = from_torch(state, "b.")
    assert isinstance(layer, LSTM)
    assert torch.equal(layer.weight_hidden, state["b.weight_hh_l0"])


def test_activation_where_only_the_weights_are_there():
    state = nn.RNN(3, 5, nonlinearity="relu").state_dict()
    layer = from_torch(state, activation="relu")
    assert isinstance(layer, RNN)
    assert layer.activation == "relu"


def test_weights_are_copies_and_need_no_history():
    module = nn.LSTM(3, 5)
    before = module.state_dict()["weight_ih_l0"].clone()
    layer = from_torch(module)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter += 1
        for value in to_torch(layer).values():
            value += 1
    assert torch.equal(module.state_dict()["weight_ih_l0"], before)
    assert all(parameter.requires_grad for parameter in layer.parameters())


def test_types_stay():
    for dtype in (torch.float64, torch.bfloat16):
        layer = from_torch(nn.GRU(3, 5, dtype=dtype))
        assert {value.dtype for value in layer.parameters()} == {dtype}
        assert {value.dtype for value in to_torch(layer).values()} == {dtype}


SOURCES = [
    (nn.LSTM(3, 5, proj_size=2), "", "weight_hr_l0: our LSTM has no projection"),
    (nn.Linear(3, 5), "", "there is no weight_ih_l0; the names are ['weight', 'bias']"),
    (nn.LSTM(3, 5).state_dict(), "lstm.", "there is no weight_ih_l0 below 'lstm.'"),
    ({"weight_ih_l0": torch.zeros(20, 3)}, "", "there is no weight_hh_l0"),
    (
        {"weight_ih_l0": torch.zeros(10, 3), "weight_hh_l0": torch.zeros(10, 5)},
        "",
        "weight_ih_l0 has shape [10, 3], weight_hh_l0 [10, 5]; expected [blocks * hidden",
    ),
    (
        {"weight_ih_l0": torch.zeros(0, 3), "weight_hh_l0": torch.zeros(0, 0)},
        "",
        "weight_ih_l0 has shape [0, 3], weight_hh_l0 [0, 0]; expected [blocks * hidden",
    ),
    (
        nn.LSTM(3, 5).state_dict() | {"bias_hh_l0": torch.zeros(5)},
        "",
        "bias_hh_l0 has shape [5], expected [20]",
    ),
]


def test_an_activation_is_that_of_an_rnn():
    assert from_torch(nn.RNN(3, 5).state_dict(), activation="relu").activation == "relu"
    with pytest.raises(InputError, match="activation is 'relu', expected none, for this is of GRU"):
        from_torch(nn.GRU(3, 5), activation="relu")


@pytest.mark.parametrize(("source", "prefix", "said"), SOURCES)
def test_sources_that_are_none_of_ours(source, prefix, said):
    with pytest.raises(InputError) as error:
        from_torch(source, prefix)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


LAYERS = [
    (Linear(3, 5), "layer is Linear"),
    (Stack(LSTM(3, 5), Linear(5, 5)), "layer is Linear"),
    (Reverse(LSTM(3, 5)), "layer is Reverse"),
    (GRU(3, 5, reset_after=False), "GRU has reset_after=False, which torch.nn.GRU has not"),
    (LSTM(3, 5, learn_initial_state=True), "LSTM has a learned initial state"),
    (RNN(3, 5, activation="sigmoid"), "RNN has activation='sigmoid'"),
    (Bidirectional(LSTM(3, 5), LSTM(3, 6)), "its directions differ"),
    (Stack(LSTM(3, 5), LSTM(5, 6)), "Stack: its layers differ in direction, kind or size"),
    (Stack(LSTM(3, 5), GRU(5, 5)), "Stack: its layers differ"),
]


def plain(function):
    """Without the checks of annotations, which nobody has outside of these tests."""
    return getattr(function, "__wrapped__", function)


def test_what_is_of_another_type():
    with pytest.raises(InputError, match="source is a str, expected a module of"):
        plain(from_torch)("lstm.pt")
    with pytest.raises(InputError, match="weight_ih_l0 is a list, expected a tensor"):
        plain(from_torch)({"weight_ih_l0": [0.0]})
    with pytest.raises(InputError, match=r"layer is LSTM, expected .*; from_torch makes one"):
        plain(weights_of)(nn.LSTM(3, 5))


@pytest.mark.parametrize(("layer", "said"), LAYERS)
def test_layers_that_torch_has_not(layer, said):
    with pytest.raises(InputError) as error:
        to_torch(layer)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
