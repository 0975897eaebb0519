import gzip
import json
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.tables import LONG, hourly
from throughtime.data.series import (
    Columns,
    SeriesTable,
    from_array,
    read_like,
    read_series,
)
from throughtime.data.sources import FileArray
from throughtime.errors import InputError

# Reading what is there.


def test_a_csv_is_read_by_guessing(write):
    table = read_series(write(hourly([1, 2.5, "NA", 4])))
    (series,) = table.series
    assert (table.targets, table.frequency, table.season) == (("y",), "1h", 24)
    assert table.source == "table.csv"
    assert series.name == "table"
    np.testing.assert_array_equal(series.values, [[1], [2.5], [np.nan], [4]])
    assert series.times[1] == np.datetime64("2020-01-01T01:00")
    assert series.gaps == 0
    assert table.known == ()
    assert table.lengths == (4,)


def test_gzip_parquet_and_other_separators_say_the_same(write, tmp_path):
    text = hourly([1, 2, 3])
    expected = read_series(write(text)).series[0]
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(text.encode()))
    write(text.replace(",", ";"), "b.csv")
    write(text.replace(",", "\t"), "c.tsv")
    write(text.replace("\n", "\r\n"), "d.txt")
    write("\ufeff" + text, "e.csv")
    frame = pl.read_csv(text.encode(), try_parse_dates=True)
    frame.write_parquet(tmp_path / "f.parquet")
    for name in ("a.csv.gz", "b.csv", "c.tsv", "d.txt", "e.csv", "f.parquet"):
        series = read_series(tmp_path / name).series[0]
        np.testing.assert_array_equal(series.values, expected.values)
        np.testing.assert_array_equal(series.times, expected.times)


def test_encodings(write):
    path = write("date,온도\n2020-01-01,1\n2020-01-02,2\n", encoding="cp949")
    assert read_series(path, encoding="cp949").targets == ("온도",)
    with pytest.raises(InputError, match=r"line 1 is not utf-8 .*perhaps 'cp949'"):
        read_series(path)
    path = write("date,é\n2020-01-01,1\n2020-01-02,\xff\n", encoding="latin-1")
    with pytest.raises(InputError, match=r"line 1 is not utf-8 \(byte 0xe9\).*'latin-1'"):
        read_series(path)
    path = write("date,y\n2020-01-01,1\n", encoding="utf-16")
    with pytest.raises(InputError, match="perhaps 'utf-16'"):
        read_series(path)
    with pytest.raises(InputError, match="no encoding 'klingon'"):
        read_series(path, encoding="klingon")


def test_a_table_without_header_or_time(write):
    table = read_series(write("1.5,2\n2.5,3\n", "numbers.txt"))
    assert table.targets == ("column_1", "column_2")
    assert table.frequency is None
    assert table.season == 1
    np.testing.assert_array_equal(table.series[0].times, [0, 1])
    assert np.asarray(table.series[0].times).dtype == np.int64


def test_a_long_table_becomes_many_series(write):
    table = read_series(
        write(LONG),
        id="store",
        targets="sold",
        known=["promo"],
        past=["price"],
        static=["kind", "area"],
        calendar=False,
    )
    first, second = table.series
    assert [first.name, second.name] == ["A", "B"]
    assert table.past == ("price",)
    assert table.known == ("promo",)
    np.testing.assert_array_equal(first.values, [[1, 2.5], [2, 2.5]])
    # The row without target at the end is the future: its price is not used, its promotion is.
    np.testing.assert_array_equal(second.values, [[5, 3.5], [np.nan, 3.5], [7, 3]])
    np.testing.assert_array_equal(second.covariates, [[0], [1], [0], [1]])
    np.testing.assert_array_equal(second.future, [np.datetime64("2020-01-05", "us")])
    assert table.static == ("kind=big", "kind=small", "area")
    np.testing.assert_array_equal(first.static, [1, 0, 10])
    np.testing.assert_array_equal(second.static, [0, 1, 7])
    assert table.unused == ()


def test_an_id_is_guessed_by_name_or_because_times_repeat(write):
    text = "unique_id,ds,y\n1,2020-01-01,1\n1,2020-01-02,2\n2,2020-01-01,3\n2,2020-01-02,4\n"
    assert [each.name for each in read_series(write(text)).series] == ["1", "2"]
    table = read_series(write(LONG.replace("kind", "store2")), id="store", targets="sold")
    assert len(table) == 2
    assert "store2" in table.unused
    with pytest.raises(InputError, match="store, kind may each tell the series apart; give id"):
        read_series(write(LONG), targets="sold")
    table = read_series(write("date,remark,y\n2020-01-01,fine,1\n2020-01-02,rain,2\n"))
    assert table.unused == ("remark",)
    assert len(table) == 1


def test_interleaved_rows_of_a_long_table(write):
    text = "id,ds,y\nb,2020-01-01,1\na,2020-01-01,10\nb,2020-01-02,2\na,2020-01-02,20\n"
    table = read_series(write(text))
    assert [each.name for each in table.series] == ["b", "a"]
    np.testing.assert_array_equal(table.series[1].values[:, 0], [10, 20])


def test_a_wide_table_is_a_series_per_column(write):
    text = "month,a,b,temp\n2020-01,1,,5\n2020-02,2,20,6\n2020-03,,30,7\n2020-04,,,8\n"
    table = read_series(write(text), wide=True, known=["temp"])
    a, b = table.series
    assert [a.name, b.name] == ["a", "b"]
    assert table.targets == ("value",)
    np.testing.assert_array_equal(a.values[:, 0], [1, 2])
    np.testing.assert_array_equal(b.values[:, 0], [20, 30])  # it begins with its first value
    np.testing.assert_array_equal(b.covariates[:, 0], [6, 7, 8])
    assert table.frequency == "1mo"
    assert table.season == 12
    with pytest.raises(InputError, match="one series per column"):
        read_series(write(text), wide=True, id="a")


def test_targets_given_leave_the_rest_unused(write):
    text = "date,a,b\n2020-01-01,1,2\n2020-01-02,3,4\n"
    assert read_series(write(text)).targets == ("a", "b")
    table = read_series(write(text), targets=["b"])
    assert table.targets == ("b",)
    assert table.unused == ("a",)


def test_pandas_row_numbers_are_no_target(write):
    table = read_series(write(",date,y\n0,2020-01-01,5\n1,2020-01-02,6\n"))
    assert table.targets == ("y",)


def test_truth_values_are_numbers(write):
    text = "date,y,holiday\n2020-01-01,1,true\n2020-01-02,2,False\n"
    table = read_series(write(text), targets="y", known=["holiday"])
    np.testing.assert_array_equal(table.series[0].covariates[:, 0], [1, 0])


def test_a_parquet_file_with_types(tmp_path):
    pl.DataFrame(
        {
            "when": pl.Series(
                [datetime(2020, 1, 1, 1), datetime(2020, 1, 1, 2)]
            ).dt.replace_time_zone("Asia/Seoul"),
            "id": pl.Series(["x", "x"], dtype=pl.Categorical),
            "y": pl.Series([1, None], dtype=pl.Int16),
            "z": pl.Series(["1.25", "2.5"]).cast(pl.Decimal(10, 2)),
        }
    ).write_parquet(tmp_path / "t.parquet")
    table = read_series(tmp_path / "t.parquet")
    assert table.series[0].name == "x"
    np.testing.assert_array_equal(table.series[0].values, [[1, 1.25], [np.nan, 2.5]])
    assert table.series[0].times[0] == np.datetime64("2019-12-31T16:00")


def test_numpy_files_are_not_copied(tmp_path):
    values = np.random.default_rng(0).standard_normal((50, 2))
    values[3, 1] = np.nan
    np.save(tmp_path / "x.npy", values)
    table = read_series(tmp_path / "x.npy", season=7)
    assert table.targets == ("value_1", "value_2")
    assert table.season == 7
    read = table.series[0].values
    assert isinstance(read, FileArray)
    np.testing.assert_array_equal(read, values)
    torch.from_numpy(read[:])  # without a warning about memory that cannot be written
    assert len(read_series(tmp_path / "x.npy", wide=True)) == 2
    assert read_like(tmp_path / "x.npy", table.columns).targets == table.targets


def test_numpy_files_that_are_not_series(tmp_path):
    np.save(tmp_path / "x.npy", np.array([1.0, np.inf]))
    with pytest.raises(InputError, match="row 2"):
        read_series(tmp_path / "x.npy")
    np.save(tmp_path / "x.npy", np.zeros((2, 2, 2)))
    with pytest.raises(InputError, match=r"\[time\] or \[time, features\]"):
        read_series(tmp_path / "x.npy")
    (tmp_path / "x.npy").write_bytes(b"no array")
    with pytest.raises(InputError, match="not an array"):
        read_series(tmp_path / "x.npy")
    with pytest.raises(InputError, match="no file"):
        read_series(tmp_path / "y.npy")
    with pytest.raises(InputError, match=r"time: a .npy file"):
        read_series(tmp_path / "x.npy", time="date")
    with pytest.raises(InputError, match="2 columns, targets names 1"):
        from_array(np.zeros((3, 2)), targets=["a"])


# Other rows, read the same way.


def test_columns_are_remembered_for_other_files(write):
    table = read_series(
        write(LONG), id="store", targets="sold", known=["promo"], static=["kind", "area"]
    )
    columns = Columns.from_json(json.loads(json.dumps(table.columns.to_json())))
    assert columns == table.columns
    fewer = "".join(LONG.splitlines(keepends=True)[:3])  # shop A only: one kind, two days
    again = read_like(write(fewer, "fewer.csv"), columns)
    assert (again.static, again.known, again.frequency) == (table.static, table.known, "1d")
    np.testing.assert_array_equal(again.series[0].static, table.series[0].static)
    with pytest.raises(
        InputError, match="'kind' of series 'A' has 'huge', expected one of big, small"
    ):
        read_like(write(fewer.replace("big", "huge")), columns)


def test_the_calendar_of_a_short_file_follows_the_first(write):
    columns = read_series(write(hourly(range(24 * 15)))).columns
    short = read_like(write(hourly(range(5)), "short.csv"), columns)
    assert short.known == ("hour.sin", "hour.cos", "weekday.sin", "weekday.cos")


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.floats(-1e300, 1e300)), min_size=1, max_size=30).filter(
        lambda values: any(value is not None for value in values)
    )
)
def test_numbers_pass_through_a_file_unchanged(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("numbers") / "t.csv"
    times = [datetime(2020, 1, 1) + timedelta(hours=at) for at in range(len(values))]
    pl.DataFrame({"time": times, "y": pl.Series(values, dtype=pl.Float64)}).write_csv(path)
    table = read_series(path, targets="y", frequency="1h")
    assert isinstance(table, SeriesTable)
    read = table.series[0].values[:, 0]
    last = max(at for at, value in enumerate(values) if value is not None)
    expected = np.array([np.nan if value is None else value for value in values[: last + 1]])
    np.testing.assert_array_equal(read, expected)
