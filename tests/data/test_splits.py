import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from throughtime.data.series import Columns, from_array, from_frame
from throughtime.data.splits import PARTS, check_lengths, check_scale, split
from throughtime.errors import InputError


def table(*spans):
    """Daily series from one day of 2020 to before another, each value the number of its day."""
    days = [np.arange(begin, end) for begin, end in spans]
    since = np.concatenate(days) * np.timedelta64(1, "D")
    frame = pl.DataFrame(
        {
            "id": np.repeat([f"s{at}" for at in range(len(days))], [len(each) for each in days]),
            "date": np.datetime64("2020-01-01", "us") + since,
            "y": np.concatenate(days).astype(float),
        }
    )
    return from_frame(frame, Columns(calendar=(), frequency="1d"))


def test_fractions_counts_and_dates_of_one_series():
    days = table((0, 10))
    assert split(days, "0.7,0.1,0.2").stops == ((7, 8, 10),)
    assert split(days, (0.5, 0.25, 0.25)).stops == ((5, 7, 10),)
    assert split(days, "0.5,0.2,0.1").stops == ((5, 7, 8),)
    counted = split(days, "4,2,3")
    assert counted.stops == ((4, 6, 9),)
    assert counted.until == np.datetime64("2020-01-10", "us")
    dated = split(days, "2020-01-05,2020-01-07")
    assert dated.stops == ((4, 6, 10),)
    assert dated.validation_from == np.datetime64("2020-01-05", "us")
    assert [dated.rows(0, part) for part in PARTS] == [slice(0, 4), slice(4, 6), slice(6, 10)]
    assert [dated.steps(part) for part in PARTS] == [4, 2, 4]
    with pytest.raises(InputError, match="train, validation, test, got 'dev'"):
        dated.rows(0, "dev")


def test_parts_may_be_empty_but_for_training():
    days = table((0, 10))
    assert split(days, "0.8,0,0.2").stops == ((8, 8, 10),)
    empty = split(days, "0.8,0.2,0")
    assert empty.stops == ((8, 10, 10),)
    assert empty.without_test == ("s0",)
    assert split(days, "1,0,0").stops == ((10, 10, 10),)


def test_whole_numbers_are_split_at_numbers():
    steps = from_array(np.arange(10.0))
    assert split(steps, "5,8").stops == ((5, 8, 10),)
    assert split(steps, "0.7,0.1,0.2").stops == ((7, 8, 10),)


def test_borders_are_common_moments():
    many = table((0, 10), (4, 20), (12, 20), (0, 3))
    parts = split(many, "10,5,5")
    assert parts.stops == ((10, 10, 10), (6, 11, 16), (0, 3, 8), (3, 3, 3))
    assert parts.without_training == ("s2",)
    assert parts.without_test == ("s0", "s3")
    assert parts.validation_from == np.datetime64("2020-01-11", "us")


spans = st.lists(
    st.tuples(st.integers(0, 30), st.integers(1, 40)).map(lambda each: (each[0], sum(each))),
    min_size=1,
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(spans, st.floats(0.3, 0.9), st.floats(0, 1))
def test_nothing_leaks_from_later_parts_into_earlier_ones(drawn, train, rest):
    validation = (1 - train) * rest
    days = table(*drawn)
    try:
        parts = split(days, (train, validation, 1 - train - validation))
    except InputError:  # too few moments for any training
        assert len(np.unique(np.concatenate([each.times for each in days.series]))) * train < 1
        return
    when: dict[str, list[int]] = {part: [] for part in PARTS}
    for at, series in enumerate(days.series):
        assert parts.rows(at, "test").stop == len(series)  # fractions of one leave nothing over
        for part in PARTS:
            when[part].extend(np.asarray(series.times[parts.rows(at, part)]).astype(int).tolist())
    for earlier, later in (PARTS[:2], PARTS[1:], PARTS[::2]):
        assert max(when[earlier], default=-1) < min(when[later], default=2**63)
    assert sum(map(len, when.values())) == sum(days.lengths)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ("0.7,0.3", "expected three fractions"),
        ("0.7,0.3,x", "expected three fractions .*got 0.7,0.3,x"),
        ("0.9,0.2,0.1", "must not exceed 1 together, got 1.2"),
        ("5,5,5", "15 rows asked for, the table has 10"),
        ("0,0.5,0.5", "some training"),
        ("-0.1,0.5,0.5", "at least 0"),
        ("nan,0.5,0.5", "at least 0"),
        ("0.01,0.5,0.4", "10 rows leave none for training"),
        ("2020-01-07,2020-01-05", "the first of two moments to be earlier"),
        ("2019-01-01,2020-01-05", "nothing lies before 2019-01-01, .*begins 2020-01-01"),
        ("2020-01-05,soon", "two moments .*got 2020-01-05,soon"),
        ("2020-01-05,", "two moments"),
        ("1,2,3,4", "expected three fractions"),
    ],
)
def test_unclear_parts_are_refused_in_one_line(parts, message):
    with pytest.raises(InputError, match=message) as caught:
        split(table((0, 10)), parts)
    assert "\n" not in str(caught.value)


def test_series_too_short():
    many = table((0, 20), (4, 20), (6, 20), (18, 20))
    parts = split(many, "10,5,5")
    check_lengths(many, parts, window=3, horizon=1)
    with pytest.raises(
        InputError,
        match=r"'s1' has 6 steps before 2020-01-11, .*window 6 plus horizon 1, 7 \(and 1 more",
    ):
        check_lengths(many, parts, window=6, horizon=1)
    with pytest.raises(InputError, match=r"test part has 2 steps from .*the horizon, 3"):
        check_lengths(many, split(many, "15,3,2"), window=1, horizon=3)


def test_constant_series():
    frame = pl.DataFrame(
        {
            "id": ["a"] * 6 + ["b"] * 6,
            "t": [*range(6)] * 2,
            "y": [1.0, 1, 1, 1, 2, 3, 5, 6, 5, 6, 5, 6],
            "z": [0.0, 1, 2, 3, 4, 5, 1, 1, 1, None, 1, 1],
        }
    )
    both = from_frame(frame)
    assert check_scale(both, split(both, "3,1,2")) == ("a: y", "b: z")
    assert check_scale(both, split(both, "5,1,0")) == ("b: z",)
    only = from_frame(frame, Columns(targets=("y",)))
    assert check_scale(only, split(only, "3,1,2")) == ("a",)
    flat = from_frame(frame.filter(pl.col("id") == "a"), Columns(targets=("y",)))
    with pytest.raises(
        InputError, match="target 'y' has no value but 1 in the training part of the series"
    ):
        check_scale(flat, split(flat, "3,1,2"))
    check_scale(flat, split(flat, "5,1,0"))
