"""`accelerate` swaps modules in place, says what it did, and changes nothing else."""

import copy
import functools

import pytest
import torch
from torch import nn

from throughtime import torch_nn
from throughtime.accelerating import NAMES, accelerate

pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")


class Reader(nn.Module):
    """A model as people write them."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.lstm = nn.LSTM(8, 6, 2, bidirectional=True, dropout=0.1)
        self.gru = nn.GRU(12, 8, batch_first=True)
        self.cells = nn.ModuleList([nn.LSTMCell(8, 8), nn.GRUCell(8, 8), nn.RNNCell(8, 8)])
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0), 2, enable_nested_tensor=False
        )
        self.out = nn.Linear(8, 11)

    def forward(self, tokens):
        x, _ = self.lstm(self.embedding(tokens))
        x, _ = self.gru(x)
        h, _ = self.cells[0](x[-1])
        x = self.encoder(x + self.cells[2](self.cells[1](h)))
        return self.out(x)


@pytest.fixture
def tokens():
    return torch.randint(11, (7, 3))


def test_numbers_weights_and_objects_stay(tokens):
    model = Reader().eval()
    modules, parameters = dict(model.named_modules()), dict(model.named_parameters())
    before, names = model(tokens), [*model.state_dict()]
    report = accelerate(model)
    assert dict(model.named_modules()) == modules  # the very same objects
    assert all(p is parameters[name] for name, p in model.named_parameters())
    assert [*model.state_dict()] == names
    torch.testing.assert_close(model(tokens), before)
    swapped = {one.name: one for one in report.swapped}
    assert {"lstm", "gru", "cells.0", "cells.1", "cells.2", "encoder"} <= set(swapped)
    assert {"encoder.layers.1", "encoder.layers.1.self_attn"} <= set(swapped)
    assert swapped["lstm"].parameters == sum(p.numel() for p in model.lstm.parameters())
    assert report.left == ()
    for name, one in swapped.items():
        assert type(modules[name]) is getattr(torch_nn, one.kind)
    assert not any(module.training for module in model.modules())


def test_an_optimiser_stays_valid(tokens):
    """Training goes on where it was, as it would without."""
    torch.manual_seed(3)
    model = Reader()
    model.lstm.dropout = 0.0
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    def step(model, optimizer):
        loss = nn.functional.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    step(model, optimizer)
    twin = copy.deepcopy(model)
    its = torch.optim.Adam(twin.parameters(), lr=0.01)
    its.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    accelerate(model)
    for _ in range(3):
        torch.testing.assert_close(step(model, optimizer), step(twin, its))


def test_hooks_stay_and_can_be_removed():
    model = nn.Sequential(nn.GRU(3, 5))
    calls = []
    handles = [
        model[0].register_forward_hook(lambda *_: calls.append("after")),
        model[0].register_forward_pre_hook(lambda *_: calls.append("before")),
    ]
    accelerate(model)
    model(torch.randn(5, 2, 3))
    assert calls == ["before", "after"]
    for handle in handles:
        handle.remove()
    model(torch.randn(5, 2, 3))
    assert len(calls) == 2


def test_old_weight_norm_is_a_hook_that_stays():
    with pytest.warns(FutureWarning, match="weight_norm"):
        layer = nn.utils.weight_norm(nn.LSTM(3, 5), "weight_hh_l0")
    x = torch.randn(5, 2, 3)
    expected, names = layer(x), [*layer.state_dict()]
    accelerate(layer)
    torch.testing.assert_close(layer(x), expected)
    assert [*layer.state_dict()] == names
    layer(x)[0].sum().backward()
    assert layer.weight_hh_l0_g.grad is not None


def test_the_model_itself():
    layer = nn.LSTM(3, 5)
    layer.purpose = "mine"  # pyright: ignore
    report = accelerate(layer)
    assert type(layer) is torch_nn.LSTM
    assert (report.swapped[0].name, layer.purpose) == ("", "mine")
    assert "(the model)  torch.nn.LSTM  torch_nn.LSTM" in str(report)


def test_shared_modules_stay_shared():
    both = nn.GRU(4, 4)
    model = nn.ModuleDict({"a": both, "b": nn.Sequential(both)})
    report = accelerate(model)
    assert model["a"] is both
    assert model["b"][0] is both  # pyright: ignore
    assert type(both) is torch_nn.GRU
    assert [one.name for one in report.swapped] == ["a"]


class Peculiar(nn.LSTM):
    def forward(self, input, hx=None):
        return super().forward(2 * input, hx)


def test_what_may_compute_something_else_is_left_and_named():
    model = nn.ModuleDict(
        {
            "peculiar": Peculiar(3, 5),
            "replaced": nn.GRU(3, 5),
            "compiled": nn.GRU(3, 5),
            "parametrized": nn.utils.parametrizations.weight_norm(nn.GRU(3, 5), "weight_hh_l0"),
            "linear": nn.Linear(3, 5),
        }
    )
    replaced = model["replaced"]
    replaced.forward = functools.partial(type(replaced).forward, replaced)
    model["compiled"].compile(backend="eager")
    kinds = {name: type(module) for name, module in model.items()}
    report = accelerate(model)
    assert {name: type(module) for name, module in model.items()} == kinds
    assert report.swapped == ()
    reasons = {one.name: one.reason for one in report.left}
    assert reasons == {
        "peculiar": "a subclass of torch.nn.LSTM, which may compute something else",
        "replaced": "it has forward of its own",
        "compiled": "it is compiled: accelerate first, then compile",
        "parametrized": "a subclass of torch.nn.GRU, which may compute something else",
    }
    assert "left as it was: peculiar, Peculiar: a subclass of torch.nn.LSTM" in str(report)
    assert "nothing to swap" in str(report)


def test_twice_is_once():
    model = Reader()
    assert len(accelerate(model).swapped) == 10
    again = accelerate(model)
    assert (again.swapped, again.left) == ((), ())


@pytest.mark.parametrize("name", NAMES)
def test_every_class_has_its_double(name):
    assert getattr(torch_nn, name).__module__.startswith("throughtime.torch_nn.")
    assert getattr(torch_nn, name) is not getattr(nn, name)


def test_copies_of_an_accelerated_model(tokens):
    model = Reader().eval()
    accelerate(model)
    other = copy.deepcopy(model)
    torch.testing.assert_close(other(tokens), model(tokens))
    assert type(other.gru) is torch_nn.GRU
