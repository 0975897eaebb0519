"""Linear layer and softmax in one: the same numbers as by single operations, in less memory."""

import pytest
import torch

from throughtime.data.batches import Batch
from throughtime.models import ModelConfig, build
from throughtime.models.heads import Categorical
from throughtime.models.heads.base import Head
from throughtime.models.heads.surprise import surprise
from throughtime.tasks.likelihood import loss

STEPS, WIDTH, TOKENS = 7, 5, 11


def parts(scale=1.0):
    torch.manual_seed(0)
    shapes = ((STEPS, WIDTH), (TOKENS, WIDTH), (TOKENS,))
    features, weight, bias = (
        (scale * torch.randn(shape)).double().requires_grad_() for shape in shapes
    )
    targets = torch.randint(TOKENS, (STEPS,))
    targets[[1, 4]] = -1
    return (features, weight, bias), targets


def plainly(features, weight, bias, targets, smoothing=0.0):
    scores = torch.nn.functional.linear(features, weight, bias)
    return torch.nn.functional.cross_entropy(
        scores, targets, reduction="none", ignore_index=-1, label_smoothing=smoothing
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("scale", [1.0, 30.0])  # at 30 shares fall below the smallest number
def test_values_and_slopes_are_those_of_single_operations(scale, smoothing):
    inputs, targets = parts(scale)
    weights = torch.rand(STEPS, dtype=torch.float64)
    found, expected = (way(*inputs, targets, smoothing) for way in (surprise, plainly))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert (found[[1, 4]] == 0).all()
    ours = torch.autograd.grad((found * weights).sum(), inputs)
    theirs = torch.autograd.grad((expected * weights).sum(), inputs)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_float32_is_as_near_as_single_operations_are(smoothing):
    inputs, targets = parts(8.0)
    exact = plainly(*inputs, targets, smoothing)
    features, weight, bias = (part.float() for part in inputs)
    error, usual = (
        (way(features, weight, bias, targets, smoothing).double() - exact).abs().max()
        for way in (surprise, plainly)
    )
    assert error <= 2 * usual + 1e-7


def test_a_share_too_small_for_a_number_is_still_measured():
    weight, bias = torch.zeros(2, 1), torch.tensor([0.0, 500.0])
    nats = surprise(torch.zeros(1, 1), weight, bias, torch.tensor([0]))
    assert float(nats) == 500.0


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_what_stands_where_the_target_is_missing_is_not_read(smoothing):
    inputs, targets = parts()
    clean = torch.autograd.grad(surprise(*inputs, targets, smoothing).sum(), inputs)
    poisoned = inputs[0].detach().clone()
    poisoned[[1, 4]] = torch.nan
    inputs = (poisoned.requires_grad_(), *inputs[1:])
    found = torch.autograd.grad(surprise(*inputs, targets, smoothing).sum(), inputs)
    torch.testing.assert_close(found, clean)


def test_backward_twice_is_the_same():
    inputs, targets = parts()
    total = surprise(*inputs, targets).sum()
    first = torch.autograd.grad(total, inputs, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(total, inputs), first, rtol=0, atol=0)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_second_derivatives_are_those_of_single_operations(smoothing):
    inputs, targets = parts()
    found = []
    for way in (surprise, plainly):
        total = way(*inputs, targets, smoothing).square().sum()
        slopes = torch.autograd.grad(total, inputs, create_graph=True)
        steepness = torch.stack([slope.square().sum() for slope in slopes]).sum()
        found.append(torch.autograd.grad(steepness, inputs))
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("tied", [False, True])
def test_the_loss_of_a_batch_is_that_of_the_heads_parameters(tied, smoothing):
    torch.manual_seed(0)
    model = build(ModelConfig("gru", tokens=TOKENS, width=WIDTH, tied=tied)).double()
    head = model.head
    assert isinstance(head, Categorical)
    head.smoothing = smoothing
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    ids = torch.randint(TOKENS, (2, 6))
    batch = Batch(ids, ids.roll(1, 1), mask)
    total, count, _ = loss(model, batch, None)
    assert count == 10
    slopes = torch.autograd.grad(total, list(model.parameters()))
    parameters, _ = model(ids, None, mask)
    expected = head.loss(parameters, model.hide(batch.targets, mask)).sum()
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(slopes, torch.autograd.grad(expected, list(model.parameters())))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_slopes_of_each_row_by_itself(smoothing):
    head = Categorical(WIDTH, TOKENS, smoothing=smoothing)
    features, targets = torch.randn(4, 3, WIDTH), torch.randint(TOKENS, (4, 3))

    def total(features, targets):
        return head.total_loss(features[None], targets[None])

    rows = torch.func.vmap(torch.func.grad(total))(features, targets)
    whole = torch.func.grad(head.total_loss)(features, targets)
    torch.testing.assert_close(rows, whole)
    features.requires_grad_()
    (usual,) = torch.autograd.grad(head.total_loss(features, targets), features)
    torch.testing.assert_close(usual, whole)


def test_smoothing_needs_no_more_memory():
    """One array of scores is kept for the backward pass, and none beside it."""
    inputs, targets = parts()

    def kept(smoothing):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda part: sizes.append(part.numel()) or part, lambda part: part
        ):
            surprise(*inputs, targets, smoothing)
        return sizes

    assert kept(0.1) == kept(0.0)
    assert kept(0.1).count(STEPS * TOKENS) == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("tokens", [TOKENS, 10_000])
def test_on_a_gpu(tokens, smoothing):
    features, weight = torch.randn(STEPS, WIDTH), torch.randn(tokens, WIDTH)
    given = [features, weight, torch.randn(tokens), torch.randint(tokens, (STEPS,))]
    moved = [part.cuda() for part in given]
    here, there = (surprise(*where, smoothing) for where in (given, moved))  # pyright: ignore
    torch.testing.assert_close(there.cpu(), here)


def test_half_precision_goes_by_single_operations(monkeypatch):
    called = []
    usual = Head.total_loss
    monkeypatch.setattr(Head, "total_loss", lambda *given: called.append(1) or usual(*given))
    head = Categorical(WIDTH, TOKENS)
    features, targets = torch.randn(2, 3, WIDTH), torch.randint(TOKENS, (2, 3))
    exact = head.total_loss(features, targets)
    assert not called
    with torch.autocast("cpu", torch.bfloat16):
        near = head.total_loss(features, targets)
    assert called
    torch.testing.assert_close(near, exact, rtol=0.02, atol=0)
