"""Heads: densities, losses, samples and quantiles against other ways to the same number."""

import math

import pytest
import torch
from torch import distributions

from throughtime.errors import InputError
from throughtime.models.heads import (
    Categorical,
    NegativeBinomial,
    Normal,
    PiecewiseQuantile,
    Quantiles,
    StudentT,
)
from throughtime.models.scaling import Scaling
from throughtime.models.special import beta_cdf, student_t_quantile

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)


def numbers(*, scale=1.0, location=0.0, last=0.0, steps=3, size=2):
    full = [torch.full((1, steps, size), value).double() for value in (location, scale, last)]
    return Scaling(*full)


def heads(width=4, size=2):
    return [
        Normal(width, size, residual=True),
        StudentT(width, size),
        NegativeBinomial(width, size),
        Quantiles(width, size, LEVELS),
    ]


def name(head):
    return head.kind


def made(head, *, seed=0, steps=3, spread=1.0, **scaling):
    """Parameters as the head makes them, far from where an untrained one starts."""
    torch.manual_seed(seed)
    head.double()
    features = torch.randn(1, steps, head.width, dtype=torch.float64)
    for weight in head.parameters():
        torch.nn.init.normal_(weight, std=spread)
    return head(features, numbers(steps=steps, size=head.size, **scaling)).detach()


# -- tokens ----------------------------------------------------------------------------------------


def test_categorical_scores_are_those_of_torch():
    logits = torch.randn(2, 3, 5, dtype=torch.float64)
    targets = torch.randint(5, (2, 3))
    head = Categorical(None, 5)
    expected = distributions.Categorical(logits=logits).log_prob(targets)
    torch.testing.assert_close(head.log_prob(logits, targets), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(head.loss(logits, targets), -expected, rtol=0, atol=1e-12)


def test_half_precision_logits_give_whole_nats():
    logits = torch.randn(1, 3, 5).bfloat16()
    assert Categorical(None, 5).loss(logits, torch.tensor([[0, 1, 2]])).dtype == torch.float32


def test_categorical_counts_no_missing_token():
    head, logits = Categorical(None, 5), torch.randn(1, 3, 5)
    targets = torch.tensor([[2, -1, 0]])
    assert head.counted(targets).tolist() == [[1.0, 0.0, 1.0]]
    assert head.log_prob(logits, targets)[0, 1] == 0


def test_categorical_frequencies_meet_their_probabilities():
    generator = torch.Generator().manual_seed(3)
    logits = torch.tensor([1.0, 0.0, -1.0, 0.5])
    head, n = Categorical(None, 4), 20_000
    drawn = head.sample(logits.expand(1, n, 4), generator)
    share = torch.bincount(drawn.flatten(), minlength=4) / n
    p = logits.softmax(-1)
    assert ((share - p).abs() < 4 * (p * (1 - p) / n).sqrt()).all()


def test_categorical_temperature():
    head, logits = Categorical(None, 3), torch.tensor([[[2.0, 1.0, 0.0]]])
    assert torch.equal(head.temper(logits, 0.5), 2 * logits)
    assert head.point(logits).item() == 0
    with pytest.raises(InputError, match=r"temperature is 0\.0, expected a number above 0"):
        head.temper(logits, 0.0)


def test_categorical_refuses_ids_outside_the_vocabulary():
    with pytest.raises(InputError, match="targets hold 5, expected ids below 5"):
        Categorical(None, 5).check_targets(torch.tensor([[0, 5]]))


def test_a_head_without_output_layer_says_so():
    with pytest.raises(InputError, match="no output layer"):
        Categorical(None, 5)(torch.zeros(1, 1, 2))
    with pytest.raises(InputError, match="no output layer"):
        Normal(None, 1)(torch.zeros(1, 1, 2), numbers())


# -- numbers: what each is -------------------------------------------------------------------------


def test_normal_density():
    head = Normal(4, 2)
    parameters = made(head)
    location, scale = head.split(parameters)
    x = torch.randn(1, 3, 2, dtype=torch.float64)
    density = (-((x - location) ** 2) / (2 * scale**2)).exp() / (scale * math.sqrt(2 * math.pi))
    torch.testing.assert_close(
        head.log_prob(parameters, x), density.log().sum(-1), rtol=1e-9, atol=1e-9
    )


def test_student_density():
    head = StudentT(4, 1)
    parameters = made(head)
    location, scale, freedom = head.split(parameters)
    assert (freedom > 2).all()
    x = location + scale * torch.randn(1, 3, 1, dtype=torch.float64)
    z = (x - location) / scale
    peak = torch.lgamma((freedom + 1) / 2) - torch.lgamma(freedom / 2)
    expected = peak - 0.5 * (freedom * math.pi).log() - scale.log()
    expected = expected - (freedom + 1) / 2 * (1 + z**2 / freedom).log()
    torch.testing.assert_close(
        head.log_prob(parameters, x), expected.squeeze(-1), rtol=1e-9, atol=1e-9
    )


def test_negative_binomial_mean_and_variance():
    head = NegativeBinomial(4, 1)
    parameters = made(head, scale=3.0)
    mean, count = head.split(parameters)
    k = torch.arange(3000, dtype=torch.float64).view(-1, 1, 1, 1)
    p = head.distribution(parameters).log_prob(k).exp()
    torch.testing.assert_close(p.sum(0), torch.ones_like(mean), rtol=0, atol=1e-9)
    torch.testing.assert_close((k * p).sum(0), mean, rtol=1e-8, atol=0)
    spread = ((k - mean) ** 2 * p).sum(0)
    torch.testing.assert_close(spread, mean + mean**2 / count, rtol=1e-8, atol=0)


def test_pinball_is_the_formula():
    head = Quantiles(4, 1, LEVELS)
    parameters = made(head, scale=7.0)
    x = torch.tensor([[[1.0], [-20.0], [30.0]]], dtype=torch.float64)
    *quantiles, scale = head.split(parameters)
    for t in range(3):
        total = 0.0
        for level, q in zip(head.levels.tolist(), quantiles, strict=True):
            distance = float(x[0, t, 0] - q[0, t, 0])
            total += level * distance if distance > 0 else (level - 1) * distance
        expected = 2 * total / len(LEVELS) / 7.0
        assert float(head.loss(parameters, x)[0, t]) == pytest.approx(expected, rel=1e-9)
    assert torch.equal(scale, torch.full_like(scale, 7.0))


def test_pinball_is_least_at_the_quantiles():
    """Over a sample, no other knots do better than its empirical quantiles."""
    torch.manual_seed(1)
    head = Quantiles(None, 1, (0.1, 0.5, 0.8)).double()
    x = torch.randn(1, 101, 1, dtype=torch.float64)
    best = torch.quantile(x.flatten(), head.levels)
    one = torch.ones(1, dtype=torch.float64)

    def loss(knots):
        return head.loss(torch.cat([knots, one]).expand(1, 101, 4), x).sum()

    for move in 0.05 * torch.randn(50, 3, dtype=torch.float64):
        assert loss(best) <= loss(best + move) + 1e-12


def test_quantiles_never_cross():
    head = Quantiles(4, 2, LEVELS)
    knots, _ = head.knots(made(head, scale=100.0, steps=50))
    assert (knots.diff(dim=-1) > 0).all()


@pytest.mark.parametrize(
    ("levels", "words"),
    [((0.5,), "two or more"), ((0.5, 0.1), "rising"), ((0.0, 0.5), "probabilities")],
)
def test_quantiles_refuse_bad_levels(levels, words):
    with pytest.raises(InputError, match=words):
        Quantiles(4, 1, levels)


# -- numbers: what all can do ----------------------------------------------------------------------


@pytest.mark.parametrize("head", heads(), ids=name)
def test_densities_integrate_to_one(head):
    parameters = made(head, steps=1, spread=0.3)
    distribution = head.distribution(parameters)
    if head.kind == "negative_binomial":
        total = distribution.log_prob(torch.arange(5000.0).double().view(-1, 1, 1, 1)).exp().sum(0)
    else:
        # x = tan(angle) brings the whole line, tails and all, to an interval. The limits of the
        # pieces (knots) do not lie on the grid: the midpoint rule is then as good as its step.
        n = 400_000
        angle = (torch.arange(n, dtype=torch.float64) + 0.5) / n * math.pi - math.pi / 2
        x = angle.tan().view(-1, 1, 1, 1)
        weight = (math.pi / n) / angle.cos().square().view(-1, 1, 1, 1)
        total = (distribution.log_prob(x).exp() * weight).sum(0)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=2e-5)


@pytest.mark.parametrize("head", heads(), ids=name)
def test_a_missing_target_counts_nothing_and_gives_no_gradient(head):
    parameters = made(head).requires_grad_()
    targets = torch.tensor([[[1.0, torch.nan], [2.0, 3.0], [torch.nan, torch.nan]]]).double()
    assert head.counted(targets).tolist() == [[1.0, 2.0, 0.0]]
    loss = head.loss(parameters, targets)
    assert loss[0, 2] == 0
    (gradient,) = torch.autograd.grad(loss.sum(), parameters)
    assert gradient.isfinite().all()
    assert (gradient[0, 2] == 0).all()
    first = gradient[0, 0].unflatten(-1, (len(head.parts), 2))
    assert (first[:, 1] == 0).all()
    assert (first[:, 0] != 0).any()
    alone = head.log_prob(parameters, torch.where(targets.isnan(), torch.nan, targets))
    whole = head.distribution(parameters).log_prob(targets.nan_to_num(1.0))
    torch.testing.assert_close(alone[0, 0], whole[0, 0, 0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("head", heads(), ids=name)
def test_quantiles_cut_off_the_right_share(head):
    """Half the test of a quantile needs no cdf: how much of a large sample lies below it."""
    n = 20_000
    generator = torch.Generator().manual_seed(5)
    parameters = made(head, steps=1, scale=4.0)
    drawn = head.sample(parameters.expand(1, n, -1), generator)
    levels = torch.tensor([0.05, 0.3, 0.5, 0.9], dtype=torch.float64)
    limits = head.quantile(parameters, levels.tolist())
    assert limits.shape == (1, 1, 2, 4)
    at_most = (drawn.unsqueeze(-1) <= limits).double().mean((0, 1))
    below = (drawn.unsqueeze(-1) < limits).double().mean((0, 1))
    margin = 4 * (levels * (1 - levels) / n).sqrt()
    assert (at_most >= levels - margin).all()
    assert (below <= levels + margin).all()
    torch.testing.assert_close(head.point(parameters), limits[..., 2])


@pytest.mark.parametrize("head", heads(), ids=name)
def test_the_parameters_of_padding_are_harmless(head):
    padded = torch.zeros(1, 2, head.output_size, dtype=torch.float64, requires_grad=True)
    head.double()
    targets = torch.full((1, 2, 2), torch.nan, dtype=torch.float64)
    assert head.sample(padded.detach()).isfinite().all()
    assert head.quantile(padded.detach(), [0.1, 0.9]).isfinite().all()
    (gradient,) = torch.autograd.grad(head.loss(padded, targets).sum(), padded)
    assert (gradient == 0).all()


@pytest.mark.parametrize(
    "head", [head for head in heads() if head.kind != "negative_binomial"], ids=name
)
def test_everything_scales_with_the_series(head):
    """Location and scale times 1000: quantiles times 1000, log density less log 1000."""
    small = made(head, scale=2.0, location=1.0, last=3.0)
    large = made(head, scale=2000.0, location=1000.0, last=3000.0)
    x = torch.randn(1, 3, 2, dtype=torch.float64)
    levels = [0.1, 0.5, 0.9]
    torch.testing.assert_close(
        head.quantile(large, levels), 1000 * head.quantile(small, levels), rtol=1e-9, atol=1e-9
    )
    torch.testing.assert_close(
        head.log_prob(large, 1000 * x), head.log_prob(small, x) - 2 * math.log(1000)
    )
    if head.kind == "quantiles":
        torch.testing.assert_close(head.loss(large, 1000 * x), head.loss(small, x))


@pytest.mark.parametrize("head", [Normal(4, 1, residual=True), StudentT(4, 1, residual=True)])
def test_an_untrained_residual_head_forecasts_persistence(head):
    features = torch.randn(1, 1, 4).clamp(-1, 1)
    scaling = Scaling(*(torch.full((1, 1, 1), value) for value in (10.0, 2.0, 17.0)))
    location, scale = head.split(head(features, scaling))[:2]
    assert (location - 17).abs() < 0.5 * 2
    assert (scale.log() - math.log(2)).abs() < 0.5


def test_counts_refuse_what_is_no_count():
    head = NegativeBinomial(4, 1)
    head.check_targets(torch.tensor([0.0, 3.0, torch.nan]))
    for bad, words in ((-1.0, "-1"), (1.5, "1.5"), (torch.inf, "inf")):
        with pytest.raises(InputError, match=f"hold {words}, expected whole numbers"):
            head.check_targets(torch.tensor([1.0, bad]))
    with pytest.raises(InputError, match="infinity"):
        Normal(4, 1).check_targets(torch.tensor([torch.inf]))


def test_numbers_have_no_temperature():
    with pytest.raises(InputError, match="for tokens only"):
        Normal(4, 1).temper(torch.zeros(1, 1, 2), 0.5)


def test_levels_are_probabilities():
    with pytest.raises(InputError, match="levels are"):
        Normal(4, 1).quantile(torch.ones(1, 1, 2), [0.5, 1.0])


# -- the parts -------------------------------------------------------------------------------------


def test_piecewise_quantile_is_one_distribution():
    """cdf is the inverse of icdf and the integral of the density; icdf meets the knots."""
    levels = torch.tensor([0.1, 0.4, 0.9], dtype=torch.float64)
    knots = torch.tensor([-1.0, 0.5, 3.0], dtype=torch.float64)
    d = PiecewiseQuantile(knots, levels)
    torch.testing.assert_close(d.icdf(levels), knots, rtol=0, atol=1e-12)
    u = torch.linspace(0.001, 0.999, 500, dtype=torch.float64)
    torch.testing.assert_close(d.cdf(d.icdf(u)), u, rtol=0, atol=1e-12)
    x = torch.linspace(-6, 9, 400, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(d.cdf(x).sum(), x)
    torch.testing.assert_close(slope, d.log_prob(x).exp(), rtol=1e-9, atol=1e-12)
    tails, inner = (
        d.log_prob(knots[[0, 2]] + torch.tensor([-1e-9, 1e-9])),
        d.log_prob(knots[[0, 2]]),
    )
    torch.testing.assert_close(tails, inner, rtol=0, atol=1e-6)  # the density does not jump there
    drawn = d.sample((20_000,))
    share = (drawn.unsqueeze(-1) < knots).double().mean(0)
    assert ((share - levels).abs() < 4 * (levels * (1 - levels) / 20_000).sqrt()).all()


def test_beta_cdf_in_closed_form():
    x = torch.linspace(0, 1, 21, dtype=torch.float64)
    two, three, half = (torch.full_like(x, value) for value in (2.0, 3.0, 0.5))
    expected = 6 * x**2 - 8 * x**3 + 3 * x**4
    torch.testing.assert_close(beta_cdf(two, three, x), expected, rtol=0, atol=1e-13)
    arcsine = 2 / math.pi * x.sqrt().arcsin()
    torch.testing.assert_close(beta_cdf(half, half, x), arcsine, rtol=0, atol=1e-12)
    large = torch.full_like(x, 1e6)  # a bell of deviation 1 / sqrt(8e6) around one half
    assert beta_cdf(large, large, torch.full_like(x, 0.5)).allclose(half, atol=1e-9)


def test_student_quantile_in_closed_form():
    p = torch.tensor([1e-6, 0.01, 0.3, 0.5, 0.75, 0.999], dtype=torch.float64)
    two = torch.full_like(p, 2.0)
    expected = (2 * p - 1) * (2 / (4 * p * (1 - p))).sqrt()
    torch.testing.assert_close(student_t_quantile(two, p), expected, rtol=1e-8, atol=1e-10)
    many = torch.full_like(p, 1e9)
    torch.testing.assert_close(
        student_t_quantile(many, p), torch.special.ndtri(p), rtol=1e-6, atol=1e-9
    )
