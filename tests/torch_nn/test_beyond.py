"""What torch.nn's recurrent layers cannot do and ours can."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, jvp, vmap

from tests.alone import report_of
from tests.kernels.support import needs_extension
from tests.torch_nn.configurations import KINDS, Layer
from tests.torch_nn.graphs import CHECKS
from throughtime import torch_nn
from throughtime.torch_nn.recurrence import Weights, run

# Of torch itself, when it takes forward-mode derivatives.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")

each_kind = pytest.mark.parametrize("kind", KINDS)
DOUBLE = torch.float64


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def made(kind, **options):
    return Layer(kind, 2, True, True).make(torch_nn, DOUBLE, **options)


# Compiled and exported


@pytest.fixture(scope="module")
def results():
    return report_of("tests.torch_nn.graphs")


@needs_extension
@pytest.mark.parametrize("name", CHECKS)
def test_graph(name, results):
    assert results[name] is None


# torch.func


@each_kind
def test_vmap_over_rows(kind):
    layer = made(kind)
    x = torch.randn(4, 6, 3, dtype=DOUBLE)
    output, _ = layer(x.transpose(0, 1))
    close(vmap(lambda row: layer(row)[0])(x), output.transpose(0, 1))


@each_kind
def test_vmap_over_models(kind):
    layers = [made(kind) for _ in range(3)]
    weights, _ = torch.func.stack_module_state(layers)  # pyright: ignore
    x = torch.randn(6, 2, 3, dtype=DOUBLE)
    found = vmap(lambda w: functional_call(layers[0], w, (x,))[0])(weights)
    close(found, torch.stack([layer(x)[0] for layer in layers]))


@each_kind
def test_gradients_per_sample(kind):
    layer = made(kind)
    x = torch.randn(4, 5, 3, dtype=DOUBLE)
    weights = {name: w.detach() for name, w in layer.named_parameters()}

    def loss(weights, row):
        output, after = functional_call(layer, weights, (row,))
        parts = after if isinstance(after, tuple) else (after,)
        return output.square().sum() + sum(part.sin().sum() for part in parts)

    found = vmap(grad(loss), in_dims=(None, 0))(weights, x)
    for n, row in enumerate(x):
        layer.zero_grad()
        loss(dict(layer.named_parameters()), row).backward()
        for name, weight in layer.named_parameters():
            close(found[name][n], weight.grad)


@each_kind
def test_forward_mode(kind):
    layer = made(kind)
    x, along = torch.randn(2, 5, 2, 3, dtype=DOUBLE)
    output, tangent = jvp(lambda x: layer(x)[0], (x,), (along,))  # pyright: ignore
    close(output, layer(x)[0])
    step = 1e-6
    close_to = (layer(x + step * along)[0] - layer(x - step * along)[0]) / (2 * step)
    torch.testing.assert_close(tangent, close_to, rtol=1e-6, atol=1e-7)


@each_kind
def test_second_derivatives(kind):
    layer = Layer(kind, 1, True, True).make(torch_nn, DOUBLE)
    x = torch.randn(4, 2, 3, dtype=DOUBLE, requires_grad=True)
    names, weights = zip(*layer.named_parameters(), strict=True)

    def output(x, *weights):
        return functional_call(layer, dict(zip(names, weights, strict=True)), (x,))[0]

    assert torch.autograd.gradgradcheck(output, (x, *weights), fast_mode=True)


# Nothing in time, nothing in a batch


@each_kind
@pytest.mark.parametrize("unbatched", [False, True])
def test_empty_time_hands_the_state_through(kind, unbatched):
    layer = Layer(kind, 2, True, True)
    ours = layer.make(torch_nn)
    rows = () if unbatched else (3,)
    hx = [torch.randn(4, *rows, size, requires_grad=True) for size in layer.sizes]
    given = tuple(hx) if len(hx) > 1 else hx[0]
    output, after = ours(torch.randn(0, *rows, 3), given)
    assert output.shape == (0, *rows, 2 * layer.sizes[0])
    torch.testing.assert_close(after, given)
    for part, before in zip(after if len(hx) > 1 else (after,), hx, strict=True):
        (gradient,) = torch.autograd.grad(part.sum(), before, retain_graph=True)
        assert torch.equal(gradient, torch.ones_like(before))
    with pytest.raises(RuntimeError, match="sequence length"):
        layer.make(nn)(torch.randn(0, *rows, 3))


@each_kind
def test_empty_batch(kind):
    layer = Layer(kind, 2, True, True)
    ours = layer.make(torch_nn, batch_first=True)
    output, after = ours(torch.randn(0, 7, 3))
    parts = after if isinstance(after, tuple) else (after,)
    assert output.shape == (0, 7, 2 * layer.sizes[0])
    assert [part.shape for part in parts] == [(4, 0, size) for size in layer.sizes]


@each_kind
def test_rows_with_nothing_real(kind):
    """What a PackedSequence cannot hold: their state stays, their output is zero."""
    layer = Layer(kind, 1, False, True)
    ours = layer.make(torch_nn, DOUBLE)
    mode = ours.mode
    (weights,) = ours.all_weights
    x = torch.randn(3, 5, 3, dtype=DOUBLE)
    mask = torch.arange(5) < torch.tensor([[4], [0], [5]])
    x[~mask] = torch.nan
    hx = tuple(torch.randn(3, size, dtype=DOUBLE) for size in layer.sizes)
    output, after = run(mode, x, hx, Weights(*weights), mask)
    assert not output[~mask].any()
    for part, before in zip(after, hx, strict=True):
        assert torch.equal(part[1], before[1])
    for row, length in ((0, 4), (2, 5)):
        before = [part[row, None] for part in hx]
        found, _ = ours(x[row, :length], tuple(before) if len(hx) > 1 else before[0])
        close(output[row, :length], found)
