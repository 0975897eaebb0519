"""What attention of torch.nn cannot do: graphs with free sizes, transforms, second derivatives."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call, grad, jvp, stack_module_state, vmap

from tests.alone import report_of
from tests.torch_nn.transformer_graphs import CHECKS, SIZE, Both, attention, encoder, masks

# torch scripts formulas of its own, and warns of it.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")


@pytest.fixture(scope="module")
def results():
    return report_of("tests.torch_nn.transformer_graphs")


@pytest.mark.parametrize("name", CHECKS)
def test_graph(name, results):
    assert results[name] is None


MODELS = {
    "attention": lambda: attention(causal=False),
    "attention with weights": lambda: attention(causal=True),
    "encoder": encoder,
    "transformer": Both,
}
each_model = pytest.mark.parametrize("name", MODELS)


def made(name):
    """A model, and what it takes; the last row has nothing real."""
    torch.manual_seed(0)
    model = MODELS[name]().double()
    return model, (torch.randn(3, 4, SIZE).double(), *masks(3, 4))


def output_of(found):
    return found if isinstance(found, torch.Tensor) else found[0]


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@each_model
def test_second_derivatives(name):
    """By differences; real steps side by side, and rows with nothing real, included."""
    model, (x, *marks) = made(name)
    x = x[1:, :3].clone().requires_grad_()
    marks = [marks[0][:3, :3], marks[1][1:, :3]]

    def function(x):
        return output_of(model(x, *marks)).sin().mean()

    assert gradcheck(function, x, fast_mode=True)
    assert gradgradcheck(function, x, fast_mode=True)


@each_model
def test_second_derivatives_of_weights(name):
    """The gradient of a penalty on the gradient, as the transforms find it."""
    model, given = made(name)
    weights = dict(model.named_parameters())

    def loss(weights):
        return output_of(functional_call(model, weights, given)).square().mean()

    first = torch.autograd.grad(loss(weights), [*weights.values()], create_graph=True)
    penalty = torch.stack([g.square().sum() for g in first]).sum()
    found = torch.autograd.grad(penalty, [*weights.values()])
    plain = {name: w.detach() for name, w in weights.items()}
    expected = grad(lambda w: sum(g.square().sum() for g in grad(loss)(w).values()))(plain)
    close(dict(zip(weights, found, strict=True)), expected)
    assert sum(g.norm() for g in found) > 1e-6


@each_model
def test_forward_mode(name):
    model, (x, *marks) = made(name)
    towards = torch.randn_like(x)
    x.requires_grad_()
    output = output_of(model(x, *marks))
    weight = torch.randn_like(output)
    (gradient,) = torch.autograd.grad((output * weight).sum(), x)
    value, change, *_ = jvp(lambda x: output_of(model(x, *marks)), (x.detach(),), (towards,))
    close(value, output.detach())
    close((change * weight).sum(), (gradient * towards).sum())


@each_model
def test_gradients_per_row(name):
    model, (x, mask, hidden) = made(name)
    weights = {name: w.detach() for name, w in model.named_parameters()}

    def loss(weights, x, hidden):
        found = functional_call(model, weights, (x[None], mask, hidden[None]))
        return output_of(found).square().sum()

    found = vmap(grad(loss), (None, 0, 0))(weights, x, hidden)
    for row in range(len(x)):
        leaves = [*model.parameters()]
        total = loss(dict(model.named_parameters()), x[row], hidden[row])
        expected = torch.autograd.grad(total, leaves, materialize_grads=True)
        close([g[row] for g in found.values()], [*expected])


def test_many_models_at_once():
    models = [encoder().double().eval() for _ in range(3)]
    parameters, buffers = stack_module_state(models)  # pyright: ignore[reportArgumentType]
    x = torch.randn(2, 4, SIZE).double()
    mask, hidden = masks(2, 4)

    def call(parameters, buffers):
        return functional_call(models[0], (parameters, buffers), (x, mask, hidden))

    found = vmap(call)(parameters, buffers)
    for output, model in zip(found, models, strict=True):
        close(output, model(x, mask, hidden))


@each_model
def test_the_same_every_time(name):
    model, given = made(name)

    def answer():
        output = output_of(model(*given))
        return output, *torch.autograd.grad(output.square().sum(), [*model.parameters()])

    for one, other in zip(answer(), answer(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
