"""The running scale against a plain loop, and as a layer."""

import math

import pytest
import torch

from throughtime.errors import InputError
from throughtime.models.scaling import KINDS, RunningScale
from throughtime.testing import LAWS, check_layer


def layer_of(kind, size=2, weight=2.0):
    layer = RunningScale(size, kind, weight=weight).double()
    layer.prior_location += 0.0 if kind == "mean" else torch.tensor([0.5, -3.0])[:size]
    layer.prior_scale *= torch.tensor([2.0, 0.1])[:size]
    return layer


def holes(batch, time, size=2):
    x = 3 * torch.randn(batch, time, size, dtype=torch.float64) + 1
    x[torch.rand(x.shape) < 0.3] = torch.nan
    return x


def by_hand(kind, values, location, scale, weight):
    """Location, scale and last value of one list of numbers, from the equations."""
    n = len(values)
    last = values[-1] if values else location
    if kind == "mean" and n:
        size = max(sum(map(abs, values)) / n / scale, 1e-3)
        return location, scale * math.exp(n / (weight + n) * math.log(size)), last
    if kind == "standard" and n:
        mean = sum(values) / n
        if n == 1:
            return mean, scale, last
        deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1))
        size = max(deviation / scale, 1e-3)
        return mean, scale * math.exp((n - 1) / (weight + n - 1) * math.log(size)), last
    return location, scale, last


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_plain_loop(kind):
    """With missing values, padding and resets, one row and one number at a time."""
    torch.manual_seed(1)
    layer, x = layer_of(kind), holes(4, 12)
    mask, reset = torch.rand(4, 12) < 0.7, torch.rand(4, 12) < 0.2
    output, _ = layer(x, None, mask, reset)
    location, scale, last = output.unflatten(-1, (3, 2)).unbind(-2)
    for b in range(4):
        for d in range(2):
            seen = []
            for t in range(12):
                if reset[b, t]:
                    seen = []
                if mask[b, t] and not x[b, t, d].isnan():
                    seen.append(float(x[b, t, d]))
                m, s = float(layer.prior_location[d]), float(layer.prior_scale[d])
                expected = by_hand(kind, seen, m, s, 2.0) if mask[b, t] else (0.0, 0.0, 0.0)
                came = [float(part[b, t, d]) for part in (location, scale, last)]
                assert came == pytest.approx(expected, rel=1e-9, abs=1e-9)


OWN_PAST_ONLY = {"causal", "detach"}  # `none` and `fixed` look no further than the last value


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("kind", KINDS)
def test_it_keeps_the_law(kind, law):
    if kind in ("none", "fixed") and law in OWN_PAST_ONLY:
        check_layer(layer_of(kind), receptive_field=1, memory=False, laws=["causal"])
    else:
        check_layer(layer_of(kind), laws=[law])
        check_layer(layer_of(kind), lambda b, t: holes(b, t), laws=[law])


@pytest.mark.parametrize("kind", ["mean", "standard"])
def test_the_scale_forgets_its_prior(kind):
    """After enough steps a series that is 10 000 times smaller has its own scale."""
    layer = RunningScale(1, kind).double()
    x = 1e-4 * (1 + torch.randn(1, 2000, 1, dtype=torch.float64))
    layer.prior_scale.fill_(1e-1)
    scale = layer(x)[0][0, -1, 1]
    expected = x.abs().mean() if kind == "mean" else x.std()
    assert float(scale) == pytest.approx(float(expected), rel=0.02)


def test_single_precision_holds_far_from_the_prior():
    """A series at a million, moving by one: the sums are of distances from its first value."""
    layer = RunningScale(1, "standard", weight=0.0)
    x = 1e6 + torch.randn(1, 1000, 1)
    assert float(layer(x)[0][0, -1, 1]) == pytest.approx(float(x.std()), rel=1e-3)


def test_a_series_of_zeros_has_a_scale():
    for kind in KINDS:
        scale = RunningScale(1, kind, weight=0.0)(torch.zeros(1, 50, 1))[0][..., 1]
        assert (scale > 0).all()


def test_the_prior_of_the_training_data():
    x = torch.tensor([[[1.0], [3.0], [torch.nan]], [[100.0], [300.0], [200.0]]])
    fixed, mean, standard, none = (RunningScale(1, kind).double() for kind in KINDS[1:] + KINDS[:1])
    for layer in (fixed, mean, standard, none):
        layer.fit(x)
    values = x[~x.isnan()].double()
    assert float(fixed.prior_location) == pytest.approx(float(values.mean()))
    assert float(fixed.prior_scale) == pytest.approx(float(values.std(correction=0)))
    assert mean.prior_location == 0
    assert float(mean.prior_scale) == pytest.approx(math.sqrt(2 * 200))
    deviations = [1.0, math.sqrt(20000 / 3)]
    assert float(standard.prior_scale) == pytest.approx(math.sqrt(math.prod(deviations)))
    assert (none.prior_location, none.prior_scale) == (0, 1)
    mean.fit([torch.tensor([[1.0], [3.0]]), torch.tensor([[100.0], [300.0], [200.0]])])
    assert float(mean.prior_scale) == pytest.approx(math.sqrt(2 * 200))


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize("value", [0.0, 5.0, torch.nan])
def test_constant_or_empty_training_data_give_a_unit(kind, value):
    layer = RunningScale(1, kind)
    layer.fit(torch.full((2, 3, 1), value))
    assert layer.prior_scale.isfinite().all()
    assert layer.prior_scale > 0
    assert layer.prior_location.isfinite().all()


@pytest.mark.parametrize(
    ("values", "words"),
    [(torch.zeros(2, 3, 2), "shape"), (torch.zeros(3, 1), "shape"),
     (torch.full((1, 1, 1), torch.inf), "infinity")],
)  # fmt: skip
def test_bad_training_data(values, words):
    with pytest.raises(InputError, match=words):
        RunningScale(1, "fixed").fit(values)


def test_bad_arguments():
    with pytest.raises(InputError, match="kind is 'max'"):
        RunningScale(1, "max")
    with pytest.raises(InputError, match="weight is -1"):
        RunningScale(1, "mean", weight=-1.0)
