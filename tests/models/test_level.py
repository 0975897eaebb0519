"""The running level against a plain loop, and as a layer."""

import pytest
import torch

from throughtime.errors import InputError
from throughtime.models.inputs import NumberInputs
from throughtime.models.level import RunningLevel
from throughtime.testing import LAWS, check_layer


@pytest.mark.parametrize("half_life", [0.4, 3.0])
def test_it_is_the_plain_loop(half_life):
    """With missing values, padding and resets; several blocks, and less than one."""
    layer = RunningLevel(2, half_life).double()
    x = torch.randn(4, 30, 2, dtype=torch.float64)
    x[torch.rand(x.shape) < 0.3] = torch.nan
    mask, reset = torch.rand(4, 30) < 0.7, torch.rand(4, 30) < 0.1
    output, after = layer(x, None, mask, reset)
    a = 2 ** (-1 / half_life)
    for b in range(4):
        for d in range(2):
            total = weight = 0.0
            for t in range(30):
                if reset[b, t]:
                    total = weight = 0.0
                expected = 0.0
                if mask[b, t]:
                    seen = not x[b, t, d].isnan()
                    total = a * total + (float(x[b, t, d]) if seen else 0.0)
                    weight = a * weight + seen
                    expected = total / weight if weight else 0.0
                assert output[b, t, d].item() == pytest.approx(expected, abs=1e-12)
            assert after.total[b, d].item() == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("half_life", [0.5, 4.0])
def test_it_keeps_the_law(law, half_life):
    check_layer(RunningLevel(2, half_life), laws=[law])


def test_single_precision_is_enough_far_from_zero():
    x = 1e4 + torch.randn(1, 2000, 1)
    inputs = NumberInputs(1, level=24)
    inputs.fit(x)
    exact = NumberInputs(1, level=24).double()
    exact.fit(x.double())
    z, *_ = inputs(x, inputs.initial_state(1))
    expected, *_ = exact(x.double(), exact.initial_state(1))
    assert torch.allclose(z.double(), expected, atol=5e-3)


def test_what_the_body_sees_does_not_say_where_the_series_lies():
    inputs = NumberInputs(1, level=5).double()
    x = torch.randn(1, 20, 1, dtype=torch.float64)
    here, *_ = inputs(x, inputs.initial_state(1))
    there, *_ = inputs(x + 100, inputs.initial_state(1))
    assert torch.allclose(here[:, 1:], there[:, 1:], atol=1e-9)


@pytest.mark.parametrize("half_life", [0, -1, float("inf"), float("nan")])
def test_half_life_is_checked(half_life):
    with pytest.raises(InputError, match=r"half_life is .*, expected steps, above 0"):
        RunningLevel(1, half_life)
