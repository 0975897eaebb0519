"""torch.func's transforms and gradients of gradients, which the reference computes."""

import pytest
import torch
from torch.autograd import forward_ad, gradgradcheck
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap

from tests.kernels.support import KINDS, Problem, call, needs_extension
from throughtime import GRU, LSTM, RNN, kernels

pytestmark = [
    needs_extension,
    # torch scripts formulas of its own, and warns of it.
    pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning"),
]

MASK = torch.tensor([[1, 1, 1, 1], [0, 1, 1, 0], [1, 0, 0, 0]]).bool()
RESET = torch.tensor([[0, 0, 1, 0], [1, 0, 1, 0], [0, 0, 0, 1]]).bool()
each_layer = pytest.mark.parametrize("make", [RNN, LSTM, GRU], ids=lambda make: make.__name__)


@pytest.fixture(autouse=True)
def cpu():
    with kernels.use("cpu"):
        yield


@pytest.fixture
def x():
    return torch.randn(3, 4, 2, dtype=torch.float64)


def made(make):
    return make(2, 3, learn_initial_state=True).double()


def loss_of(layer):
    """A number from weights and inputs, as torch.func wants it."""

    def loss(weights, x, mask=MASK, reset=RESET):
        output, state = functional_call(layer, weights, (x, None, mask, reset))
        return output.square().sum() + sum(part.sin().sum() for part in state)

    return loss, {name: w.detach() for name, w in layer.named_parameters()}


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@each_layer
def test_vmap_over_rows(make, x):
    layer = made(make)
    output, _ = layer(x, None, MASK, RESET)

    def one(x, mask, reset):
        return layer(x[None], None, mask[None], reset[None])[0][0]

    close(vmap(one)(x, MASK, RESET), output)


@each_layer
def test_vmap_over_models(make, x):
    layers = [made(make) for _ in range(3)]
    weights, _ = torch.func.stack_module_state(layers)  # pyright: ignore

    def one(weights):
        return functional_call(layers[0], weights, (x, None, MASK, RESET))[0]

    close(vmap(one)(weights), torch.stack([layer(x, None, MASK, RESET)[0] for layer in layers]))


@each_layer
def test_gradients_per_sample(make, x):
    layer = made(make)
    loss, weights = loss_of(layer)

    def one(weights, x, mask, reset):
        return loss(weights, x[None], mask[None], reset[None])

    found = vmap(grad(one), in_dims=(None, 0, 0, 0))(weights, x, MASK, RESET)
    for row in range(3):
        layer.zero_grad()
        rows = slice(row, row + 1)
        loss(dict(layer.named_parameters()), x[rows], MASK[rows], RESET[rows]).backward()
        for name, weight in layer.named_parameters():
            close(found[name][row], weight.grad)


@each_layer
def test_jacobians(make, x):
    layer = made(make)

    def run(x):
        return layer(x, None, MASK, RESET)[0]

    expected = torch.autograd.functional.jacobian(run, x)  # one backward of the kernel per number
    close(jacrev(run)(x), expected)
    close(jacfwd(run)(x), expected)
    tangent = torch.randn_like(x)
    output, along, *_ = jvp(run, (x,), (tangent,))
    close(output, run(x))
    close(along, torch.tensordot(expected, tangent, 3))
    output, pull, *_ = vjp(run, x)
    cotangent = torch.randn_like(output)
    close(pull(cotangent)[0], torch.tensordot(cotangent, expected, 3))


@each_layer
def test_hessian(make, x):
    loss, weights = loss_of(made(make))

    def of_inputs(x):
        return loss(weights, x)

    expected = torch.autograd.functional.hessian(of_inputs, x)  # gradients of the kernel's gradient
    close(hessian(of_inputs)(x), expected)


@each_layer
def test_dual_numbers(make, x):
    layer, tangent = made(make), torch.randn_like(x)
    with forward_ad.dual_level():
        output, _ = layer(forward_ad.make_dual(x, tangent), None, MASK, RESET)
        along = forward_ad.unpack_dual(output).tangent
    close(along, jvp(lambda x: layer(x, None, MASK, RESET)[0], (x,), (tangent,))[1])


@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_second_derivatives(kind, marked):
    """Of every pair of arguments. Without NaN, which finite differences cannot do."""
    mask, reset = (MASK, RESET) if marked else (None, None)
    problem = Problem(kind, 3, 2, 3, 4, torch.float64, mask, reset)
    arguments = problem.arguments()
    with torch.no_grad():
        arguments["x"].nan_to_num_(0.5)
    names = [*arguments]

    def run(*values):
        return call(problem, dict(zip(names, values, strict=True)))

    assert gradgradcheck(run, tuple(arguments.values()), fast_mode=True)


@pytest.mark.parametrize("kind", KINDS)
def test_third_derivatives(kind):
    problem = Problem(kind, 3, 2, 3, 4, torch.float64, MASK, RESET)
    found = []
    for name in ("cpu", "reference"):
        arguments = problem.arguments()
        with kernels.use(name):
            total = call(problem, arguments)[0].square().sum()
        for _ in range(3):
            (gradient,) = torch.autograd.grad(total, arguments["hidden"], create_graph=True)
            total = gradient.square().sum()
        found.append(total.detach())
    close(*found)
