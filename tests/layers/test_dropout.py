"""Dropout draws as torch does: the same shares, the same growth, by the same seed."""

import pytest
import torch

from throughtime.layers import Dropout


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_share_and_the_growth(p, dtype):
    x = torch.ones(100, 50, 20, dtype=dtype, requires_grad=True)
    y, _ = Dropout(p).train()(x)
    dropped = (y == 0).double().mean().item()
    assert abs(dropped - p) < 5 * (p * (1 - p) / x.numel()) ** 0.5 + 2**-16
    kept = y[y != 0]
    assert torch.allclose(kept, torch.full_like(kept, 1 / (1 - p)), rtol=2e-4)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(gradient, y.detach())


def test_values_are_dropped_by_themselves():
    """Of four values decided by one draw, each two are dropped together as often as by chance."""
    y, _ = Dropout(0.5).train()(torch.ones(1, 1, 400_000))
    dropped = (y == 0).double().view(-1, 4)
    assert torch.allclose(torch.cov(dropped.T) * 4, torch.eye(4).double(), atol=0.02)


@pytest.mark.parametrize("size", [1, 3, 4, 5, 63])
def test_any_number_of_values_by_the_seed(size):
    layer = Dropout(0.5).train()
    x = torch.randn(1, 2, size)
    torch.manual_seed(3)
    first, _ = layer(x)
    torch.manual_seed(3)
    assert torch.equal(layer(x)[0], first)
    torch.manual_seed(4)
    assert first.shape == layer(x)[0].shape == x.shape


@pytest.mark.parametrize("p", [1e-9, 1 - 1e-9])
def test_probabilities_at_the_edges_stay_finite(p):
    assert Dropout(p).train()(torch.ones(1, 1, 1000))[0].isfinite().all()


def test_other_types_and_transforms_take_torchs_way():
    layer = Dropout(0.5).train()
    assert layer(torch.ones(1, 1, 8, dtype=torch.bfloat16))[0].dtype == torch.bfloat16
    each = torch.func.vmap(lambda x: layer(x)[0], randomness="different")(torch.ones(9, 1, 2, 40))
    assert 0 < (each == 0).double().mean() < 1
