import math

import pytest

from throughtime.errors import InputError
from throughtime.training import TrainingConfig
from throughtime.training.schedules import (
    Cosine,
    Halving,
    InverseRoot,
    Plateau,
    Schedule,
    make_schedule,
    warm,
)


def test_constant():
    assert [Schedule().share(step, 0, 0.5) for step in range(3)] == [1, 1, 1]


def test_halving_is_constant_and_then_divided_each_epoch():
    shares = [Halving(factor=2.0, after=3).share(0, epoch, 0.0) for epoch in range(6)]
    assert shares == [1, 1, 1, 1 / 2, 1 / 4, 1 / 8]
    medium = [Halving(factor=1.2, after=6).share(0, epoch, 0.0) for epoch in range(8)]
    assert medium == pytest.approx([1] * 6 + [1 / 1.2, 1 / 1.44])


def test_plateau_divides_after_patience():
    schedule = Plateau(factor=10.0, after=1)
    losses = [3.0, 2.0, 2.0, 2.5, 1.9, math.nan, 1.95, 1.9, 1.9, 1.0]
    shares = []
    for loss in losses:
        schedule.validated(loss)
        shares.append(schedule.share(0, 0, 0.0))
    #                  3  2  2  2.5  1.9  nan  1.95  1.9   1.9  1.0
    assert shares == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_plateau_goes_on_from_its_state():
    one, other = Plateau(2.0, 1), Plateau(2.0, 1)
    for loss in (3.0, 4.0):
        one.validated(loss)
    other.restore(one.state())
    for schedule in (one, other):
        schedule.validated(4.0)
    assert one == other
    assert other.share(0, 0, 0.0) == 0.5


def test_cosine_is_half_a_wave():
    schedule = Cosine(final=0.1)
    assert [schedule.share(0, 0, done) for done in (0.0, 0.5, 1.0, 1.1)] == pytest.approx(
        [1, 0.55, 0.1, 0.1]
    )


def test_inverse_root_is_full_until_the_peak():
    schedule = InverseRoot(warmup=4)
    shares = [schedule.share(step, 0, 0.0) for step in (0, 3, 4, 15, 63)]
    assert shares == pytest.approx([1, 1, math.sqrt(4 / 5), 1 / 2, 1 / 4])


def test_inverse_root_is_that_of_vaswani():
    width, warmup = 512, 4000
    peak = (width * warmup) ** -0.5
    schedule = InverseRoot(warmup)
    for n in (1, 2, 1000, 3999, 4000, 4001, 16_000, 100_000):  # their steps, counted from 1
        rate = peak * schedule.share(n - 1, 0, 0.0) * warm(n - 1, warmup)
        assert rate == pytest.approx(width**-0.5 * min(n**-0.5, n * warmup**-1.5), rel=1e-12)


def test_warm_up_is_a_line():
    assert [warm(step, 4) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert warm(0, 0) == 1


def test_made_from_the_configuration():
    def make(**values):
        return make_schedule(TrainingConfig(**values), validates=True)

    assert make() == Schedule()
    assert make(schedule="cosine", final_rate=0.2) == Cosine(0.2)
    assert make(schedule="inverse_root", warmup=7) == InverseRoot(7)
    assert make(schedule="halving", decay=1.5, decay_after=2) == Halving(1.5, 2)
    assert make(schedule="plateau", decay=1.5, decay_after=2) == Plateau(1.5, 2)
    with pytest.raises(InputError, match="validation"):
        make_schedule(TrainingConfig(schedule="plateau"), validates=False)
