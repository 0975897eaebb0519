"""Label smoothing: the loss of training, and of training alone."""

import math

import pytest
import torch

from throughtime.errors import InputError
from throughtime.models.heads import Categorical


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
def test_categorical_smoothing_is_that_of_torch_in_training_alone(smoothing):
    torch.manual_seed(0)
    head = Categorical(4, 5, smoothing=smoothing).double()
    features = torch.randn(2, 3, 4, dtype=torch.float64)
    targets = torch.tensor([[2, -1, 0], [4, 4, -1]])
    logits = head(features)
    nats, smooth = (
        torch.nn.functional.cross_entropy(
            logits.flatten(0, 1),
            targets.flatten(),
            reduction="none",
            ignore_index=-1,
            label_smoothing=share,
        ).view(2, 3)
        for share in (0.0, smoothing)
    )
    for mode, expected in ((True, smooth), (False, nats)):
        head.train(mode)
        found = head.loss(logits, targets)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
        assert (found[targets < 0] == 0).all()
        total = head.total_loss(features, targets)
        torch.testing.assert_close(total, expected.sum(), rtol=0, atol=1e-12)
        ours, theirs = (
            torch.autograd.grad(one, list(head.parameters()), retain_graph=True)
            for one in (found.sum(), expected.sum())
        )
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(head.log_prob(logits, targets), -nats, rtol=0, atol=1e-12)


def test_categorical_smoothing_by_hand():
    """p = 1/2, 1/4, 1/4; a fifth of the target goes to all three alike."""
    head = Categorical(None, 3, smoothing=0.2)
    logits = torch.tensor([[[2.0, 1.0, 1.0]]]).double() * math.log(2)
    expected = (0.8 * 1 + 0.2 * (1 + 2 + 2) / 3) * math.log(2)
    assert head.loss(logits, torch.tensor([[0]])).item() == pytest.approx(expected, rel=1e-12)


def test_categorical_smoothing_least_where_the_shares_are_the_smoothed_target():
    head = Categorical(None, 4, smoothing=0.2).double()
    share = torch.tensor([0.85, 0.05, 0.05, 0.05], dtype=torch.float64)
    logits = share.log()[None, None].requires_grad_()
    head.loss(logits, torch.tensor([[0]])).sum().backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.zeros_like(logits), rtol=0, atol=1e-15)


@pytest.mark.parametrize("bad", [-0.1, 1.0, math.nan])
def test_categorical_smoothing_is_a_share(bad):
    with pytest.raises(InputError, match=rf"smoothing is {bad}, expected a share in \[0, 1\)"):
        Categorical(None, 3, smoothing=bad)
