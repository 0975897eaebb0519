from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.tables import LONG, hourly
from throughtime.data import calendar as calendars
from throughtime.data.series import (
    Columns,
    from_frame,
    read_series,
)
from throughtime.errors import InputError

# The grid of time.


def test_gaps_become_rows_of_nan_and_are_counted(write):
    text = hourly([1, 2, 3, 4, 5, 6]).splitlines()
    del text[3:5]
    series = read_series(write("\n".join(text))).series[0]
    np.testing.assert_array_equal(series.values[:, 0], [1, 2, np.nan, np.nan, 5, 6])
    assert series.gaps == 2
    assert (np.diff(series.times) == np.timedelta64(1, "h")).all()


@pytest.mark.parametrize(
    ("every", "frequency", "season"),
    [
        (["2020-01-31", "2020-02-29", "2020-03-31", "2020-05-31"], "1mo", 12),
        (["2020-01-15", "2020-02-15", "2020-04-15", "2020-05-15"], "1mo", 12),
        (["2020-03-31", "2020-06-30", "2020-09-30", "2021-03-31"], "1q", 4),
        (["2019-01-01", "2020-01-01", "2022-01-01", "2023-01-01"], "1y", 1),
        (["2020-01-06", "2020-01-13", "2020-01-27", "2020-02-03"], "1w", 52),
        (["2020-01-06", "2020-01-07", "2020-01-09", "2020-01-10"], "1d", 7),
        (
            ["2020-01-01 00:00", "2020-01-01 00:15", "2020-01-01 00:45", "2020-01-01 01:00"],
            "15m",
            96,
        ),
    ],
)
def test_frequencies_are_inferred_and_the_missing_step_found(write, every, frequency, season):
    text = "date,y\n" + "\n".join(f"{time},{at}" for at, time in enumerate(every))
    table = read_series(write(text))
    series = table.series[0]
    assert (table.frequency, table.season) == (frequency, season)
    assert series.gaps == 1
    assert len(series) == 5
    given = np.array(every, dtype="datetime64[us]")
    assert set(given.tolist()) < set(np.asarray(series.times).tolist())


def test_whole_numbers_are_times_too(write):
    table = read_series(write("step,y\n10,1\n20,2\n40,4\n50,5\n"))
    series = table.series[0]
    np.testing.assert_array_equal(series.times, [10, 20, 30, 40, 50])
    assert table.frequency is None
    assert series.gaps == 1
    assert np.isnan(series.values[2, 0])
    table = read_series(write("date,y\n20200131,1\n20200229,2\n20200331,3\n"))
    assert table.frequency == "1mo"


def test_a_season_can_be_given(write):
    assert read_series(write(hourly(range(9))), season=12).season == 12
    with pytest.raises(InputError, match="season: expected at least 1"):
        read_series(write(hourly(range(9))), season=0)


def test_irregular_times(write):
    days = ["01 00:00", "02 00:00", "03 07:13", "04 00:00", "05 00:00"]
    text = "date,y\n" + "".join(f"2020-01-{day},{at}\n" for at, day in enumerate(days))
    with pytest.raises(
        InputError, match="1 of 5 time stamps off its grid of 1d, first 2020-01-03 07:13 in row 3"
    ):
        read_series(write(text))
    table = read_series(write(text), frequency="irregular")
    assert len(table.series[0]) == 5
    assert table.frequency == "irregular"
    assert table.season == 1
    assert table.reach(3) is not None  # nothing known ahead: nothing to reach
    with pytest.raises(InputError, match="cannot be continued"):
        read_series(write(text), frequency="irregular", calendar=["hour"]).reach(3)


def test_a_time_stamp_that_must_be_wrong(write):
    text = "date,y\n" + "\n".join(f"2020-01-0{day},1" for day in range(1, 8)) + "\n3020-01-08,2\n"
    with pytest.raises(InputError, match=r"jumps to 3020-01-08 in row 8, \d+ steps of 1d"):
        read_series(write(text))


def test_a_given_frequency(write):
    text = "date,y\n2020-01-01 00:00,1\n2020-01-01 02:00,2\n"
    series = read_series(write(text), frequency="60m").series[0]
    assert series.gaps == 1
    assert read_series(write(text), frequency="60m").frequency == "1h"
    with pytest.raises(InputError, match=r"expected a count and a unit .*got 'hourly'"):
        read_series(write(text), frequency="hourly")
    with pytest.raises(InputError, match="no dates"):
        read_series(write("step,y\n1,1\n2,2\n"), frequency="1h")
    with pytest.raises(InputError, match="single time stamp, give frequency"):
        read_series(write("date,y\n2020-01-01,1\n"))
    assert len(read_series(write("date,y\n2020-01-01,1\n"), frequency="1d").series[0]) == 1


units = st.sampled_from(["1s", "5m", "1h", "6h", "1d", "1w", "1mo", "1q", "1y"])


@settings(max_examples=60, deadline=None)
@given(frequency=units, length=st.integers(5, 60), data=st.data())
def test_any_regular_series_with_holes_is_put_back_on_its_grid(frequency, length, data):
    whole = calendars.extend(np.array(["1999-12-31"], "datetime64[us]"), length, frequency)
    holes = data.draw(st.sets(st.integers(1, length - 2), max_size=length // 5))
    kept = np.array([at for at in range(length) if at not in holes])
    frame = pl.DataFrame({"date": whole[kept], "y": kept.astype(float)})
    table = from_frame(frame, Columns(frequency=frequency))
    series = table.series[0]
    np.testing.assert_array_equal(series.times, whole)
    assert series.gaps == len(holes)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(series.values[:, 0])), sorted(holes))
    np.testing.assert_array_equal(series.values[kept, 0], kept)


# The calendar.


def test_calendar_columns_are_known_and_reach_beyond_the_end(write):
    table = read_series(write(hourly(range(24 * 15))))
    assert table.calendar == ("hour", "weekday")
    assert table.known == ("hour.sin", "hour.cos", "weekday.sin", "weekday.cos")
    series = table.reach(30).series[0]
    assert len(series) == 360
    assert series.covariates.shape == (390, 4)
    assert len(series.future) == 30
    assert series.future[0] - series.times[-1] == np.timedelta64(1, "h")
    # 2020-01-01 was a Wednesday; six in the morning is a quarter of a day.
    np.testing.assert_allclose(series.covariates[6, :2], [1, 0], atol=1e-12)
    angle = 2 * np.pi * 2 / 7
    np.testing.assert_allclose(series.covariates[6, 2:], [np.sin(angle), np.cos(angle)])
    np.testing.assert_allclose(series.covariates[24 * 7 :], series.covariates[: -24 * 7])
    assert table.reach(0) is not None
    assert len(table.reach(0).series[0].future) == 0
    assert read_series(write(hourly(range(24 * 15))), calendar=False).known == ()


def test_rows_of_the_future_count_for_the_reach(write):
    table = read_series(write(hourly([*range(22), "", ""])), calendar=["hour"])
    assert (len(table.series[0]), len(table.series[0].future)) == (22, 2)
    series = table.reach(5).series[0]
    assert series.covariates.shape == (27, 2)
    times = np.concatenate([series.times, series.future])
    assert (np.diff(times) == np.timedelta64(1, "h")).all()
    np.testing.assert_allclose(series.covariates, calendars.features(times, ["hour"]))


def test_a_cycle_needs_two_rounds():
    def fitting(frequency, steps):
        begin = np.array(["2019-12-31"], "datetime64[us]")
        return calendars.cycles(calendars.extend(begin, steps, frequency), frequency)

    assert fitting("1h", 49) == ("hour",)
    assert fitting("1d", 14) == ()
    assert fitting("1d", 15) == ("weekday",)
    assert fitting("1d", 800) == ("weekday", "yearday")
    assert fitting("1w", 120) == ("yearday",)
    assert fitting("1mo", 25) == ("month",)
    assert fitting("1mo", 20) == ()
    assert fitting("1y", 50) == ()
    assert calendars.cycles(np.arange(1000), None) == ()


def test_phases_of_the_year():
    times = np.array(["2021-01-01", "2021-07-02T12:00", "2021-10-01"], "datetime64[us]")
    np.testing.assert_allclose(calendars.CYCLES["yearday"](times)[:2], [0, 0.5])
    np.testing.assert_allclose(calendars.CYCLES["month"](times), [0, 0.5, 0.75])
    with pytest.raises(InputError, match=r"expected cycles among hour, .*got 'moon'"):
        calendars.features(times, ["moon"])
    with pytest.raises(InputError, match="whole numbers, expected dates"):
        calendars.features(np.arange(3), ["hour"])


def test_extend():
    ends = np.array(["2020-01-31", "2020-02-29"], "datetime64[us]")
    assert calendars.extend(ends, 2, "1mo").astype("datetime64[D]").tolist() == [
        date(2020, 3, 31),
        date(2020, 4, 30),
    ]
    middle = np.array(["2020-07-15", "2020-08-15"], "datetime64[us]")  # as far from either end
    assert calendars.extend(middle, 1)[0] == np.datetime64("2020-09-15")
    np.testing.assert_array_equal(calendars.extend(np.array([3, 5]), 2), [7, 9])
    assert len(calendars.extend(ends, 0, "1mo")) == 0


@given(st.integers(1, 500), st.sampled_from(["us", "ms", "s", "m", "h", "d", "w", "mo", "q", "y"]))
def test_frequencies_have_one_name(count, unit):
    step = calendars.parse_frequency(f"{count}{unit}")
    name = calendars.name_frequency(*step)
    assert calendars.parse_frequency(name) == step
    assert len(name) <= len(f"{count}{unit}") + 1


def test_known_columns_of_ones_own_must_reach(write):
    path = write(LONG)
    table = read_series(path, id="store", targets="sold", known=["promo"], static=["kind"])
    with pytest.raises(InputError, match=r"'promo' of series 'A' reaches 0 steps .*expected 1"):
        table.reach(1)
