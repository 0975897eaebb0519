"""A single step of one row without gradients, which goes straight to native code."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from tests.kernels.support import in_child, needs_extension, needs_fork
from throughtime import GRU, LSTM, RNN, kernels
from throughtime.errors import InputError
from throughtime.kernels import native

pytestmark = needs_extension

LAYERS = {
    "rnn-tanh": RNN,
    "rnn-relu": lambda *sizes: RNN(*sizes, activation="relu"),
    "rnn-sigmoid": lambda *sizes: RNN(*sizes, activation="sigmoid"),
    "lstm": LSTM,
    "gru": GRU,
    "gru-of-the-paper": lambda *sizes: GRU(*sizes, reset_after=False),
}
# Below, at and beyond the width of a vector, whichever it is; and one of every remainder of 16.
SIZES = [(1, 1), (2, 3), (3, 2), (7, 8), (8, 7), (15, 17), (17, 16), (33, 31), (64, 100), (100, 1)]
SIZES += [(hidden, 40 - hidden) for hidden in range(9, 33)]
TOLERANCES = {torch.float64: 1e-13, torch.float32: 2e-6}
each_layer = pytest.mark.parametrize("name", LAYERS)


class Counting:
    """The extension, with a count of its single steps."""

    def __init__(self, library):
        self.library, self.steps = library, 0

    def __getattr__(self, name):
        return getattr(self.library, name)

    def step(self, *arguments):
        found = self.library.step(*arguments)
        self.steps += found is not None
        return found


@pytest.fixture
def counted(monkeypatch):
    counting = Counting(native.library)
    monkeypatch.setattr(native, "library", counting)
    return counting


def made(name, features, hidden, dtype=torch.float64):
    layer = LAYERS[name](features, hidden).to(dtype)
    with torch.no_grad():
        for weight in layer.parameters():
            weight += 0.1 * torch.randn_like(weight)
    return layer


def state_of(layer, batch=1):
    shape, dtype = (batch, layer.hidden_size), layer.weight_input.dtype
    return layer.State(*(torch.rand(shape, dtype=dtype) - 0.5 for _ in layer.State._fields))


def by_reference(layer, x, state):
    with kernels.use("reference"), torch.no_grad():
        return layer(x, state)


def check(layer, x, state, tolerance=1e-13):
    with torch.no_grad():
        output, after = layer(x, state)
    expected, expected_after = by_reference(layer, x, state)
    assert type(after) is type(expected_after)
    assert not output.requires_grad
    for one, other in zip((output, *after), (expected, *expected_after), strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@each_layer
def test_all_sizes(isa, counted, name, dtype):
    for hidden, features in SIZES:
        layer = made(name, features, hidden, dtype)
        x = torch.randn(1, 1, features, dtype=dtype)
        check(layer, x, state_of(layer), TOLERANCES[dtype])
    assert counted.steps == (0 if name == "gru-of-the-paper" else len(SIZES))


@each_layer
def test_step_by_step(isa, counted, name):
    """A long walk ends where a single call does."""
    layer, x = made(name, 5, 20), torch.randn(1, 50, 5, dtype=torch.float64)
    first = state = state_of(layer)
    with torch.no_grad():
        outputs = []
        for step in x.split(1, dim=1):
            output, state = layer(step, state)
            outputs.append(output)
    expected, after = by_reference(layer, x, first)
    torch.testing.assert_close(torch.cat(outputs, 1), expected)
    torch.testing.assert_close(tuple(state), tuple(after))
    assert counted.steps == (0 if name == "gru-of-the-paper" else 50)


@each_layer
def test_nan_and_infinity(isa, name):
    layer = made(name, 3, 20)
    for value in (torch.nan, torch.inf, -torch.inf):
        x = torch.randn(1, 1, 3, dtype=torch.float64)
        x[0, 0, 1] = value
        with torch.no_grad():
            output, after = layer(x, state := state_of(layer))
        expected, expected_after = by_reference(layer, x, state)
        for one, other in zip((output, *after), (expected, *expected_after), strict=True):
            torch.testing.assert_close(one, other, equal_nan=True)


@pytest.mark.parametrize("name", ["rnn-tanh", "lstm", "gru"])
def test_what_it_was_given_stays(name):
    layer, x = made(name, 3, 20), torch.randn(1, 1, 3, dtype=torch.float64)
    state = state_of(layer)
    before = [t.clone() for t in (x, *state, *layer.parameters())]
    with torch.no_grad():
        output, after = layer(x, state)
        output.zero_()
    assert all(map(torch.equal, (x, *state, *layer.parameters()), before))
    assert after.hidden.any()  # nor is the output the state


# What takes the general way gives the same


@pytest.mark.parametrize("name", ["rnn-tanh", "lstm", "gru"])
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda x: x.expand(2, 1, 6), id="two rows"),
        pytest.param(lambda x: x.expand(1, 3, 6), id="three steps"),
        pytest.param(lambda x: x[:, :0], id="no steps"),
        pytest.param(lambda x: x.flip(2).repeat(1, 1, 2)[..., ::2], id="strides"),
        pytest.param(lambda x: torch.complex(x, x).conj().imag, id="a negative view"),
        pytest.param(lambda x: x.expand(3, 1, 6)[1:2], id="a view from the middle"),
        pytest.param(lambda x: x.requires_grad_(), id="a gradient that nobody takes"),
        pytest.param(lambda x: x.as_subclass(type("Own", (torch.Tensor,), {})), id="a subclass"),
        pytest.param(nn.Parameter, id="a parameter"),
    ],
)
def test_inputs(name, change):
    layer = made(name, 6, 20)
    x = change(torch.randn(1, 1, 6, dtype=torch.float64))
    check(layer, x, state_of(layer, len(x)))


def transpose(layer):
    layer.weight_input = nn.Parameter(layer.weight_input.detach().t().contiguous().t())


def negate(layer):
    weight = layer.weight_hidden.detach()
    layer.weight_hidden = nn.Parameter(torch.complex(weight, weight).conj().imag)


@pytest.mark.parametrize("change", [transpose, negate], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", ["rnn-tanh", "lstm", "gru"])
def test_weights(name, change):
    layer = made(name, 6, 20)
    change(layer)
    check(layer, torch.randn(1, 1, 6, dtype=torch.float64), state_of(layer))


class Half(nn.Module):
    def forward(self, weight):
        return weight / 2


@needs_fork
@pytest.mark.parametrize("weight", ["weight_input", "weight_hidden", "bias", "bias_hidden"])
@pytest.mark.parametrize("name", ["rnn-tanh", "lstm", "gru"])
def test_weights_that_are_computed(name, weight):
    """They are no parameters any more: what looks for them there finds nothing."""
    layer = made(name, 6, 20)
    if not hasattr(layer, weight):
        return
    parametrize.register_parametrization(layer, weight, Half())
    x, state = torch.randn(1, 1, 6, dtype=torch.float64), state_of(layer)
    assert in_child(lambda: check(layer, x, state) is None)


@pytest.mark.parametrize("name", ["rnn-tanh", "lstm", "gru"])
def test_state_of_a_learned_start(name):
    layer = type(made(name, 6, 20))(6, 20, learn_initial_state=True).double()
    with torch.no_grad():
        for weight in layer.parameters():
            weight.uniform_(-1, 1)
        state = layer.initial_state(1)
    check(layer, torch.randn(1, 1, 6, dtype=torch.float64), state)
    check(layer, torch.randn(1, 1, 6, dtype=torch.float64), None)


@pytest.mark.parametrize("kind", [RNN, LSTM, GRU], ids=lambda kind: kind.__name__)
def test_a_layer_of_ones_own(kind):
    """What a subclass computes is computed for a single step too."""

    class Twice(kind):
        def run(self, x, state, mask, reset):
            output, after = super().run(x, state, mask, reset)
            return 2 * output, after

    layer, own, x = kind(3, 5), Twice(3, 5), torch.randn(1, 1, 3)
    own.load_state_dict(layer.state_dict())
    with torch.no_grad():
        state = layer.initial_state(1)
        torch.testing.assert_close(own(x, state)[0], 2 * layer(x, state)[0])


@pytest.mark.parametrize("name", ["rnn-tanh", "lstm", "gru"])
def test_types_and_forms_are_checked(counted, name):
    layer = made(name, 3, 5)
    x, state = torch.randn(1, 1, 3, dtype=torch.float64), state_of(layer)
    wrong = [
        (x.float(), state, "x is torch.float32"),
        (x[..., :2], state, "x has 2 features"),
        (x[0], state, "x has shape"),
        (x, state_of(layer, 2), "state is"),
        (x, state_of(made(name, 3, 6)), "state is"),
        (x, layer.State(*(part.float() for part in state)), "state is"),
    ]
    with torch.no_grad():
        for given, before, words in wrong:
            with pytest.raises(InputError, match=words):
                layer(given, before)
    assert counted.steps == 0


@pytest.mark.parametrize("name", ["rnn-tanh", "lstm", "gru"])
def test_other_modes(counted, name):
    layer, x = made(name, 3, 5), torch.randn(1, 1, 3, dtype=torch.float64)
    state = state_of(layer)
    expected, _ = by_reference(layer, x, state)
    assert layer(x, state)[0].requires_grad
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(layer(x, state)[0], expected)
    with torch.inference_mode():
        torch.testing.assert_close(layer(x, state)[0], expected)
    before = counted.steps
    with torch.no_grad(), kernels.use("reference"):
        layer(x, state)
    assert counted.steps == before
    assert layer.bfloat16()(x.bfloat16())[0].dtype == torch.bfloat16
