"""Our recurrent layers are torch.nn's: numbers, gradients, parameters, layouts, errors."""

import copy
import io
import pickle
import re
import warnings
from itertools import product

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from tests.kernels.support import needs_extension
from tests.torch_nn.configurations import (
    KINDS,
    LAYERS,
    USES,
    Layer,
    answer,
    beyond,
    numbers,
    pair,
)
from throughtime import InputError, kernels, torch_nn

# Of torch's own code for projections, also where ours hands over to it.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported")

MADE = [*product((torch.float32, torch.float64), (False, True))]
each_kind = pytest.mark.parametrize("kind", KINDS)


def test_there_are_at_least_500_configurations():
    assert len({(layer, use) for layer in LAYERS for use in USES}) >= 500


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_numbers_are_torchs(layer):
    """Each use of each layer, by twice the error that torch makes itself."""
    wrong = {}
    modules = {(dtype, first): pair(layer, dtype, batch_first=first) for dtype, first in MADE}
    truths = {}
    for use in USES:
        ours, theirs, truth = modules[use.dtype, use.form == "batch first"]
        call = layer, use.form, use.stateful
        if call not in truths:
            truths[call] = answer(truth, *call)
        if found := beyond(answer(ours, *call), answer(theirs, *call), truths[call]):
            wrong[use] = found
    assert wrong == {}


@needs_extension
@pytest.mark.parametrize("forced", ["cpu", "reference"])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("form", ["time first", "packed, unsorted"])
def test_projection_without_torchs_own_code(form, both, forced):
    layer = Layer("LSTM-projected", 2, both, True)
    ours, _, truth = pair(layer, torch.float64)
    with kernels.use(forced):
        found = answer(ours, layer, form, True)
    for name, exact in answer(truth, layer, form, True).items():
        torch.testing.assert_close(found[name], exact, rtol=1e-12, atol=1e-12, msg=name)


@each_kind
@pytest.mark.parametrize("time", [1, 2, 5, 40])
@pytest.mark.parametrize("batch", [1, 3])
def test_without_gradients(kind, time, batch):
    """Few steps take other ways than many, and one of one row another again."""
    for layer in (Layer(kind, 1, False, True), Layer(kind, 2, True, False)):
        ours, theirs, truth = pair(layer, torch.float32)
        x = numbers(3, time, batch, 3)
        with torch.inference_mode():
            found = [module(x.to(dtype)) for module, dtype in (
                (ours, torch.float32), (theirs, torch.float32), (truth, torch.float64),
            )]  # fmt: skip
        assert not beyond(*({"output": output, **named(after)} for output, after in found))


@each_kind
@pytest.mark.parametrize("layers", [1, 2])
def test_streaming_goes_on_from_the_state(kind, layers):
    """Step by step, the state handed on, is the whole sequence."""
    layer = Layer(kind, layers, False, True)
    ours, _, truth = pair(layer, torch.float32)
    x = numbers(3, 9, 1, 3)
    expected, last = truth(x)
    state, found = None, []
    with torch.inference_mode():
        for step in x.float().split(1):
            output, state = ours(step, state)
            found.append(output)
    torch.testing.assert_close(torch.cat(found), expected.float(), rtol=1e-5, atol=1e-6)
    for one, other in zip(named(state).values(), named(last).values(), strict=True):
        torch.testing.assert_close(one, other.float(), rtol=1e-5, atol=1e-6)


def named(after):
    parts = after if isinstance(after, tuple) else (after,)
    return {f"state {n}": part for n, part in enumerate(parts)}


@each_kind
def test_same_seed_same_weights(kind):
    for layer in (layer for layer in LAYERS if layer.kind == kind):
        made = []
        for library in (nn, torch_nn):
            torch.manual_seed(5)
            made.append(layer.make(library))
        theirs, ours = made
        assert [*theirs.state_dict()] == [*ours.state_dict()]
        for one, other in zip(theirs.parameters(), ours.parameters(), strict=True):
            assert torch.equal(one, other)
        assert repr(ours) == repr(theirs)
        for one, other in zip(ours.all_weights, theirs.all_weights, strict=True):
            assert [w.shape for w in one] == [w.shape for w in other]


def test_arguments_by_position():
    """The order of torch.nn's signatures, which is not the same for all."""
    for library in (nn, torch_nn):
        rnn = library.RNN(3, 5, 2, "relu", False, True, 0.5, True)
        assert (rnn.nonlinearity, rnn.bias, rnn.batch_first) == ("relu", False, True)
        assert (rnn.dropout, rnn.bidirectional) == (0.5, True)
        lstm = library.LSTM(3, 5, 2, False, True, 0.5, True, 2, "meta", torch.float64)
        assert (lstm.proj_size, lstm.bidirectional) == (2, True)
        assert {(w.device.type, w.dtype) for w in lstm.parameters()} == {("meta", torch.float64)}
    assert repr(rnn) == repr(nn.RNN(3, 5, 2, "relu", False, True, 0.5, True))


@each_kind
def test_state_dict_both_ways(kind):
    layer = Layer(kind, 2, True, True)
    ours, theirs = layer.make(torch_nn), layer.make(nn)
    x = torch.randn(5, 2, 3)
    theirs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours(x), theirs(x))
    theirs.reset_parameters()
    ours.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(ours(x), theirs(x))


@each_kind
def test_copies_and_pickles(kind):
    ours = Layer(kind, 2, False, True).make(torch_nn, dropout=0.25).eval()
    x = torch.randn(5, 2, 3)
    buffer = io.BytesIO()
    torch.save(ours, buffer)
    buffer.seek(0)
    for other in (
        copy.deepcopy(ours),
        pickle.loads(pickle.dumps(ours)),
        torch.load(buffer, weights_only=False),
    ):
        assert (repr(other), other.training) == (repr(ours), False)
        torch.testing.assert_close(other(x), ours(x))
        with torch.no_grad():
            next(other.parameters()).add_(1)
        assert not torch.allclose(other(x)[0], ours(x)[0])  # its own weights


def test_from_torch_shares_the_parameters():
    theirs = nn.LSTM(3, 5, 2, dropout=0.5, proj_size=2).eval()
    ours = torch_nn.LSTM.from_torch(theirs)
    assert all(a is b for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    assert not ours.training
    assert repr(ours) == repr(theirs)
    assert "_flat_weight_refs" not in vars(ours)
    copy.deepcopy(ours)
    with pytest.raises(InputError, match=r"GRU\.from_torch: module is .*LSTM"):
        torch_nn.GRU.from_torch(theirs)


def test_weights_that_a_hook_computes():
    """torch.nn.utils.parametrizations and the like replace a parameter by what they compute."""
    ours, theirs = torch_nn.GRU(3, 5), nn.GRU(3, 5)
    ours.load_state_dict(theirs.state_dict())
    for module in (ours, theirs):
        nn.utils.parametrizations.weight_norm(module, "weight_hh_l0")
        magnitude, _ = module.parametrizations.weight_hh_l0.parameters()  # pyright: ignore
        with torch.no_grad():
            magnitude.mul_(2)
    x = torch.randn(5, 2, 3)
    torch.testing.assert_close(ours(x), theirs(x))
    ours(x)[0].sum().backward()
    assert ours.parametrizations.weight_hh_l0.original0.grad is not None  # pyright: ignore


def test_flatten_parameters_does_nothing():
    ours = torch_nn.LSTM(3, 5)
    before = [w.data_ptr() for w in ours.parameters()]
    assert ours.flatten_parameters() is None
    assert before == [w.data_ptr() for w in ours.parameters()]


# Packed sequences


def test_packed_output_pads_and_the_state_is_in_the_callers_order():
    ours = torch_nn.LSTM(3, 5, bidirectional=True)
    lengths = [2, 6, 1]
    x = torch.randn(6, 3, 3)
    packed, (hidden, cell) = ours(pack_padded_sequence(x, lengths, enforce_sorted=False))
    output, found = pad_packed_sequence(packed)
    assert found.tolist() == lengths
    for row, length in enumerate(lengths):
        alone, (h, c) = ours(x[:length, row])
        torch.testing.assert_close(output[:length, row], alone)
        assert not output[length:, row].any()
        torch.testing.assert_close((hidden[:, row], cell[:, row]), (h, c))


def test_packed_gradients_do_not_mix_rows():
    """A gradient that is not a number in one row stays there."""
    ours = torch_nn.GRU(3, 5, 2)
    x = torch.randn(6, 3, 3, requires_grad=True)
    packed = pack_padded_sequence(x, [6, 4, 2])
    padded, _ = pad_packed_sequence(ours(packed)[0])
    poison = torch.ones_like(padded)
    poison[:, 0] = torch.nan
    (gradient,) = torch.autograd.grad(padded, x, poison)
    assert gradient[:, 0].isnan().all()
    assert gradient[:, 1:].isfinite().all()


def test_second_derivatives_of_packed():
    ours = torch_nn.LSTM(2, 3, dtype=torch.float64)
    x = torch.randn(5, 2, 2, dtype=torch.float64, requires_grad=True)

    def run(x):
        return ours(pack_padded_sequence(x, [5, 4]))[0].data

    assert torch.autograd.gradcheck(run, (x,), fast_mode=True)
    assert torch.autograd.gradgradcheck(run, (x,), fast_mode=True)


# Dropout


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("form", ["time first", "batch first", "one row", "packed"])
@pytest.mark.parametrize("share", [0.4, 1.0])
def test_dropout_draws_as_torch(name, form, share):
    """The same seed, the same run: neither the layout nor the packing changes what is dropped."""
    options = {"dropout": share, "bidirectional": True, "batch_first": form == "batch first"}
    theirs = getattr(nn, name)(3, 5, 3, **options)
    ours = getattr(torch_nn, name)(3, 5, 3, **options)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(20, 3) if form == "one row" else torch.randn(20, 21, 3)
    if form == "packed":
        x = pack_padded_sequence(x, [*range(1, 21), 20], enforce_sorted=False)
    found = []
    for layer in (ours, theirs):
        torch.manual_seed(7)
        output, _ = layer(x)
        output = output.data if form == "packed" else output
        output.square().sum().backward()
        found.append([output.detach(), *(p.grad for p in layer.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    assert torch.equal(ours.eval()(x)[1][0], ours(x)[1][0])  # none in evaluation


def test_dropout_has_torchs_distribution():
    """Mean and variance of an output over many draws."""
    torch.manual_seed(1)
    ours, theirs = torch_nn.LSTM(3, 6, 3, dropout=0.3), nn.LSTM(3, 6, 3, dropout=0.3)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(6, 1, 3).expand(-1, 4000, -1)
    one, other = ours(x)[0][-1], theirs(x)[0][-1]
    error = (one.var(0) / 4000).sqrt()
    assert ((one.mean(0) - other.mean(0)).abs() < 6 * error).all()
    torch.testing.assert_close(one.std(0), other.std(0), rtol=0.1, atol=1e-3)


def test_dropout_of_one_layer_warns():
    with pytest.warns(UserWarning, match="dropout"):
        nn.GRU(3, 5, dropout=0.5)
    with pytest.warns(UserWarning, match="GRU: dropout=0.5 does nothing"):
        torch_nn.GRU(3, 5, dropout=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch_nn.GRU(3, 5, 2, dropout=0.5)


# Errors


def run(name, *shape, hx=None, dtype=None, **options):
    layer = getattr(torch_nn, name)(3, 5, **options)
    return lambda: layer(torch.randn(shape, dtype=dtype), hx)


MISTAKES = {
    "LSTM: input has 4 features, input_size is 3": run("LSTM", 2, 2, 4),
    "RNN: input has shape [3], expected two or three axes": run("RNN", 3),
    "GRU: input is torch.float64, the layer is torch.float32": run(
        "GRU", 2, 2, 3, dtype=torch.float64
    ),
    "GRU: hx has shape [1, 3, 5], expected [layers * directions, batch, size] = [1, 2, 5]": run(
        "GRU", 2, 2, 3, hx=torch.randn(1, 3, 5)
    ),
    "GRU: hx has shape [1, 2, 5], expected [layers * directions, size] = [1, 5]": run(
        "GRU", 2, 3, hx=torch.randn(1, 2, 5)
    ),
    "GRU: hx is tuple, expected a tensor": run("GRU", 2, 2, 3, hx=(torch.randn(1, 2, 5),)),
    "LSTM: hx is Tensor, expected a pair of tensors": run("LSTM", 2, 2, 3, hx=torch.randn(1, 2, 5)),
    "LSTM: hx is 1 of them, expected a pair": run("LSTM", 2, 2, 3, hx=(torch.randn(1, 2, 5),)),
    "LSTM: hx[1] has shape [1, 2, 2], expected": run(
        "LSTM", 2, 2, 3, hx=(torch.randn(1, 2, 2),) * 2, proj_size=2
    ),
    "RNN: input_size is 0, expected a whole number": lambda: torch_nn.RNN(0, 5),
    "RNN: nonlinearity is 'sigmoid', expected": lambda: torch_nn.RNN(3, 5, nonlinearity="sigmoid"),
    "LSTM: dropout is 1.5, expected a probability": lambda: torch_nn.LSTM(3, 5, dropout=1.5),
    "LSTM: proj_size is 5, expected": lambda: torch_nn.LSTM(3, 5, proj_size=5),
    "LSTM: torch.jit.script does not know": lambda: torch.jit.script(
        nn.Sequential(torch_nn.LSTM(3, 5))
    ),
    "GRU: torch.jit.trace does not know": lambda: torch.jit.trace(
        torch_nn.GRU(3, 5), (torch.randn(2, 2, 3),)
    ),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("line", MISTAKES)
def test_mistakes_are_told_in_one_line(line):
    with pytest.raises(InputError, match="^" + re.escape(line)) as caught:
        MISTAKES[line]()
    assert "\n" not in str(caught.value)


# Types and devices that our kernels do not know


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN"])
def test_bfloat16_is_torchs(name):
    theirs = getattr(nn, name)(3, 5, 2, dtype=torch.bfloat16)
    ours = getattr(torch_nn, name).from_torch(theirs)
    x = torch.randn(20, 2, 3, dtype=torch.bfloat16)
    packed = pack_padded_sequence(x, [20, 7])
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours(packed)[0].data, theirs(packed)[0].data)


@needs_extension
@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN"])
def test_autocast(name):
    ours = getattr(torch_nn, name)(3, 5)
    for time in (1, 5, 20):
        x = torch.randn(time, 2, 3)
        with torch.autocast("cpu", torch.bfloat16):
            output, _ = ours(x.bfloat16())
        assert output.dtype == torch.float32
        torch.testing.assert_close(output, ours(x)[0], rtol=0.05, atol=0.05)


def test_names_of_torch_are_there():
    assert torch_nn.Linear is nn.Linear
    assert torch_nn.functional is nn.functional
    assert torch_nn.utils.rnn.PackedSequence is PackedSequence
    assert torch_nn.attention is nn.attention
    assert {"LSTM", "Linear", "Module"} <= set(dir(torch_nn))
    with pytest.raises(AttributeError, match="Lstm"):
        _ = torch_nn.Lstm
