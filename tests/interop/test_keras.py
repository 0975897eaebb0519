"""Keras' order of weights, against its documented equations in NumPy, and against Keras itself."""

import importlib.util

import numpy as np
import pytest
import torch

from throughtime import GRU, LSTM, RNN, Bidirectional, InputError, Linear
from throughtime.interop.keras import (
    from_keras,
    gru_from_keras,
    lstm_from_keras,
    rnn_from_keras,
    to_keras,
)
from throughtime.interop.reverse import Reverse

FEATURES, UNITS, BATCH, TIME = 3, 5, 4, 7
BLOCKS = {"LSTM": 4, "GRU": 3, "RNN": 1}
LENGTHS = [7, 4, 1, 0]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm_step(x, h, c, weights):
    kernel, recurrent, bias = weights
    i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru_step(x, h, c, weights):
    kernel, recurrent, bias = weights
    b, b_state = bias if bias.ndim == 2 else (bias, 0 * bias)
    xz, xr, xh = np.split(x @ kernel + b, 3, axis=-1)
    uz, ur, uh = np.split(recurrent, 3, axis=-1)
    bz, br, bh = np.split(b_state, 3, axis=-1)
    z, r = sigmoid(xz + h @ uz + bz), sigmoid(xr + h @ ur + br)
    after = bias.ndim == 2
    candidate = np.tanh(xh + (r * (h @ uh + bh) if after else (r * h) @ uh))
    return z * h + (1 - z) * candidate, c


def rnn_step(x, h, c, weights):
    kernel, recurrent, bias = weights
    return np.tanh(x @ kernel + h @ recurrent + bias), c


STEPS = {"LSTM": lstm_step, "GRU": gru_step, "RNN": rnn_step}


def run(kind, weights, x, lengths, *, backward=False):
    """Row by row, step by step; zeros beyond each row's length."""
    units = weights[1].shape[0]
    output, last = np.zeros((*x.shape[:2], units)), np.zeros((len(x), units))
    for row, length in enumerate(lengths):
        h, c = np.zeros(units), np.zeros(units)
        for t in reversed(range(length)) if backward else range(length):
            h, c = STEPS[kind](x[row, t], h, c, weights)
            output[row, t] = h
        last[row] = h
    return output, last


def drawn(kind, generator, *, reset_after=False, dtype=np.float64):
    """Kernel, recurrent kernel and bias with nothing in it that stays hidden: no zeros."""
    rows = BLOCKS[kind] * UNITS
    shapes = [(FEATURES, rows), (UNITS, rows), (2, rows) if reset_after else (rows,)]
    return [generator.normal(size=shape).astype(dtype) for shape in shapes]


@pytest.fixture
def generator():
    return np.random.default_rng(3)


READERS = [
    pytest.param("LSTM", lstm_from_keras, False, id="lstm"),
    pytest.param("GRU", gru_from_keras, True, id="gru-reset-after"),
    pytest.param("GRU", gru_from_keras, False, id="gru-reset-before"),
    pytest.param("RNN", rnn_from_keras, False, id="rnn"),
]


def ragged(generator):
    x = generator.normal(size=(BATCH, TIME, FEATURES))
    mask = torch.arange(TIME) < torch.tensor(LENGTHS)[:, None]
    return x, mask


@pytest.mark.parametrize(("kind", "read", "reset_after"), READERS)
def test_one_direction_computes_the_documented_equations(kind, read, reset_after, generator):
    weights = drawn(kind, generator, reset_after=reset_after)
    x, mask = ragged(generator)
    output, state = read(weights)(torch.from_numpy(x), mask=mask)
    expected, last = run(kind, weights, x, LENGTHS)
    np.testing.assert_allclose(output.detach(), expected, atol=1e-12)
    np.testing.assert_allclose(state.hidden.detach(), last, atol=1e-12)


@pytest.mark.parametrize(("kind", "read", "reset_after"), READERS)
def test_both_directions_stand_side_by_side(kind, read, reset_after, generator):
    over, against = (drawn(kind, generator, reset_after=reset_after) for _ in range(2))
    x, mask = ragged(generator)
    layer = read([*over, *against])
    assert isinstance(layer, Bidirectional)
    output, _ = layer(torch.from_numpy(x), mask=mask)
    forward, _ = run(kind, over, x, LENGTHS)
    backward, _ = run(kind, against, x, LENGTHS, backward=True)
    np.testing.assert_allclose(output.detach(), np.concatenate([forward, backward], -1), atol=1e-12)


@pytest.mark.parametrize(("kind", "read", "reset_after"), READERS)
@pytest.mark.parametrize("both", [False, True])
def test_weights_without_bias(kind, read, reset_after, both, generator):
    kernel, recurrent, bias = drawn(kind, generator, reset_after=reset_after)
    options = {"reset_after": reset_after} if kind == "GRU" else {}
    times = 2 if both else 1
    bare = read([kernel, recurrent] * times, **options)
    zeroed = read([kernel, recurrent, 0 * bias] * times)
    x = torch.from_numpy(ragged(generator)[0])
    assert torch.equal(bare(x)[0], zeroed(x)[0])


@pytest.mark.parametrize(("kind", "read", "reset_after"), READERS)
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_there_and_back(kind, read, reset_after, both, dtype, generator):
    weights = drawn(kind, generator, reset_after=reset_after, dtype=dtype)
    weights += drawn(kind, generator, reset_after=reset_after, dtype=dtype) if both else []
    layer = read(weights)
    back = to_keras(layer)
    assert [w.shape for w in back] == [w.shape for w in weights]
    assert all(w.dtype == dtype for w in back)
    for once, twice in zip(to_keras(read(back)), back, strict=True):
        np.testing.assert_array_equal(once, twice)
    for ours, theirs in zip(back, weights, strict=True):
        if theirs.shape[0] != 2:  # two biases come back as one, and what must stay apart
            np.testing.assert_array_equal(ours, theirs)
        else:
            gates = 2 * UNITS
            np.testing.assert_array_equal(ours[:, gates:], theirs[:, gates:])
            np.testing.assert_allclose(ours.sum(0), theirs.sum(0), rtol=2e-3)


def test_what_is_given_back_is_a_copy():
    layer = LSTM(3, 5)
    before = layer.weight_input.detach().clone()
    for values in to_keras(layer):
        values += 1
    assert torch.equal(layer.weight_input, before)


def test_what_is_read_is_a_copy(generator):
    weights = drawn("LSTM", generator)
    layer = lstm_from_keras(weights)
    before = [weight.copy() for weight in weights]
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter += 1
    for now, then in zip(weights, before, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid"])
def test_activation_by_argument_and_by_config(activation, generator):
    weights = drawn("RNN", generator)
    by_name = rnn_from_keras(weights, activation=activation)
    by_config = rnn_from_keras(weights, config={"activation": activation})
    assert isinstance(by_name, RNN)
    assert isinstance(by_config, RNN)
    assert by_name.activation == by_config.activation == activation


def test_config_tells_the_place_of_the_reset_gate(generator):
    kernel, recurrent, _ = drawn("GRU", generator)
    for reset_after in (False, True):
        layer = gru_from_keras([kernel, recurrent], config={"reset_after": reset_after})
        assert isinstance(layer, GRU)
        assert (layer.bias_hidden is not None) == reset_after


def nested(over, against=None, **options):
    against = {} if against is None else {"backward_layer": {"config": against}}
    return {"layer": {"config": over}, **against, **options}


MISTAKES = [
    ("LSTM", 1, {"config": {"activation": "relu"}}, "activation is 'relu'"),
    ("LSTM", 1, {"config": {"recurrent_activation": "hard_sigmoid"}}, "is 'hard_sigmoid'"),
    ("GRU", 1, {"config": {"recurrent_activation": "relu"}}, "recurrent_activation is 'relu'"),
    ("RNN", 1, {"config": {"activation": "gelu"}}, "activation is 'gelu'"),
    ("LSTM", 1, {"config": {"go_backwards": True}}, "go_backwards is True"),
    ("LSTM", 2, {"config": nested({}, merge_mode="sum")}, "merge_mode is 'sum'"),
    ("LSTM", 2, {"config": nested({}, {"activation": "relu"})}, "activation is 'relu'"),
    ("LSTM", 2, {"config": {}}, "config is that of one layer"),
    ("LSTM", 1, {"config": nested({})}, "config is that of a Bidirectional"),
    ("GRU", 1, {"reset_after": True}, "expected [2, 15] with reset_after=True"),
]


@pytest.mark.parametrize(("kind", "times", "options", "said"), MISTAKES)
def test_options_that_ours_has_not(kind, times, options, said, generator):
    read = {"LSTM": lstm_from_keras, "GRU": gru_from_keras, "RNN": rnn_from_keras}[kind]
    with pytest.raises(InputError) as error:
        read(drawn(kind, generator) * times, **options)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


ZEROS = np.zeros
SHAPES = [
    (lstm_from_keras, [ZEROS((3, 20))], "weights has 1 arrays, expected 2 or 3"),
    (lstm_from_keras, [ZEROS((3, 20)), ZEROS((5, 15))], "recurrent kernel has shape [5, 15]"),
    (lstm_from_keras, [ZEROS((3, 16)), ZEROS((5, 20))], "kernel has shape [3, 16]"),
    (lstm_from_keras, [ZEROS((3, 20)), ZEROS((5, 20)), ZEROS(16)], "bias has shape [16]"),
    (lstm_from_keras, [ZEROS((3, 20)), ZEROS((5, 20)), ZEROS((2, 20))], "expected [20]"),
    (gru_from_keras, [ZEROS((3, 15)), ZEROS((5, 15)), ZEROS((3, 15))], "bias has shape [3, 15]"),
    (gru_from_keras, [ZEROS((3, 20)), ZEROS((5, 20))], "[units, 3 * units] of Keras' GRU"),
    (rnn_from_keras, [ZEROS((3, 20)), ZEROS((5, 20))], "[units, 1 * units] of Keras' SimpleRNN"),
    (lstm_from_keras, [ZEROS((3, 20), int), ZEROS((5, 20))], "weights[0] is of type int64"),
]


@pytest.mark.parametrize(("read", "weights", "said"), SHAPES)
def test_arrays_that_do_not_fit(read, weights, said):
    with pytest.raises(InputError) as error:
        read(weights)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


WRONG = [
    (lambda: Linear(3, 5), "expected an LSTM, GRU or RNN"),
    (lambda: Reverse(LSTM(3, 5)), "layer is Reverse"),
    (lambda: LSTM(3, 5, learn_initial_state=True), "learns its initial state"),
    (lambda: Bidirectional(LSTM(3, 5), GRU(3, 5)), "its directions differ in kind"),
    (lambda: LSTM(3, 5).bfloat16(), "is bfloat16"),
]


@pytest.mark.parametrize(("make", "said"), WRONG)
def test_layers_that_keras_has_not(make, said):
    with pytest.raises(InputError) as error:
        to_keras(make())
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_an_object_of_another_kind():
    with pytest.raises(InputError, match=r"^layer is Linear, expected Keras' LSTM, GRU"):
        from_keras(Linear(3, 5))


@pytest.fixture
def keras(monkeypatch):
    if importlib.util.find_spec("keras") is None:
        pytest.skip("keras is not installed")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    import keras  # pyright: ignore[reportMissingImports]

    if keras.backend.backend() != "torch":
        pytest.skip("keras runs on another backend")
    return keras


KERAS_LAYERS = {
    "lstm": ("LSTM", {}),
    "lstm-no-bias": ("LSTM", {"use_bias": False}),
    "gru": ("GRU", {}),
    "gru-reset-before": ("GRU", {"reset_after": False}),
    "gru-no-bias": ("GRU", {"use_bias": False, "reset_after": False}),
    "rnn": ("SimpleRNN", {}),
    "rnn-relu": ("SimpleRNN", {"activation": "relu"}),
}


def built(keras, name, *, both):
    """A Keras layer with weights drawn everywhere, biases included."""
    kind, options = KERAS_LAYERS[name]
    layer = getattr(keras.layers, kind)(
        UNITS, return_sequences=True, zero_output_for_mask=True, **options
    )
    layer = keras.layers.Bidirectional(layer) if both else layer
    layer.build((None, None, FEATURES))
    generator = np.random.default_rng(5)
    scale = 0.5
    layer.set_weights([scale * generator.normal(size=w.shape) for w in layer.get_weights()])
    return layer


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of NumPy, at Keras' own calls
@pytest.mark.parametrize("name", KERAS_LAYERS)
@pytest.mark.parametrize("both", [False, True], ids=["one", "both"])
def test_keras_itself(keras, name, both, generator):
    theirs = built(keras, name, both=both)
    x, mask = ragged(generator)
    x, lengths = x.astype(np.float32), [7, 4, 2, 1]
    mask = torch.arange(TIME) < torch.tensor(lengths)[:, None]
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x), mask=mask)
        ours = from_keras(theirs)
        output, _ = ours(torch.from_numpy(x), mask=mask)
        torch.testing.assert_close(output, expected.cpu(), atol=1e-6, rtol=1e-5)
        fresh = built(keras, name, both=both)
        back = to_keras(ours)
        used = [back[k] for k in range(len(back)) if k % 3 != 2 or "no-bias" not in name]
        fresh.set_weights(used)
        again = fresh(torch.from_numpy(x), mask=mask)
    torch.testing.assert_close(again.cpu(), expected.cpu(), atol=1e-6, rtol=1e-5)
