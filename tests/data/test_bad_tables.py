import numpy as np
import pytest

from throughtime.data.series import (
    read_series,
)
from throughtime.errors import InputError, MissingExtra

# What is wrong with it, in one line.

GOOD = "date,y\n2020-01-01,1\n2020-01-02,2\n2020-01-03,3\n"

WRONG = [
    ("empty", "", {}, "table.csv: the file is empty"),
    ("blank", "\n \n", {}, "the file is empty"),
    ("header only", "date,y\n", {}, "the file has a header but no rows"),
    (
        "target not there",
        GOOD,
        {"targets": "Y1"},
        "there is no target column 'Y1'; did you mean 'y'[?] it has date, y",
    ),
    ("time not there", GOOD, {"time": "zebra"}, "no time column 'zebra'; it has date, y"),
    ("id not there", GOOD, {"id": "shop"}, "no id column 'shop'"),
    ("known not there", GOOD, {"known": ["k"]}, "no known column 'k'"),
    ("two purposes", GOOD, {"targets": "y", "known": ["y"]}, "'y' is named for two purposes"),
    ("no number", GOOD.replace(",2\n", ",two\n"), {}, "target column 'y' .*row 2 has 'two'"),
    ("comma", "date;y\n2020-01-01;1,5\n2020-01-02;2\n2020-01-03;3\n", {}, "'1,5' .*a point"),
    ("words", "date,y\n2020-01-01,a\n2020-01-02,b\n", {}, "no column of numbers is left"),
    ("words as target", "date,y\n2020-01-01,a\n2020-01-02,b\n", {"targets": "y"}, "row 1 has 'a'"),
    ("infinite", GOOD.replace(",3\n", ",-inf\n"), {}, "finite numbers, row 3 has -inf"),
    ("nothing", "date,y\n2020-01-01,\n2020-01-02,NA\n", {"targets": "y"}, "'y' has no value"),
    ("unsorted", GOOD + "2020-01-02,4\n", {}, "not sorted, row 4 has 2020-01-02 after 2020-01-03"),
    ("twice", GOOD + "2020-01-03,4\n", {}, "has 2020-01-03 twice, in rows 3 and 4.*give id"),
    ("no date", GOOD + "soon,4\n", {}, "time column 'date' .*row 4 has 'soon'"),
    ("no time", GOOD + ",4\n", {}, "row 4 is empty"),
    ("another form", GOOD, {"time_format": "%d.%m.%Y"}, "row 1 has '2020-01-01'"),
    ("dates in words", "date,y\nJan 2020,1\nFeb 2020,2\n", {}, "'Jan 2020'.; give time_format"),
    ("no dates", "when,y\nJan 2020,1\nFeb 2020,2\n", {"time": "when"}, "give time_format"),
    (
        "either way",
        "date,y\n01/02/2020,1\n02/02/2020,2\n",
        {},
        "day first or month first; give time_format, '%d/%m/%Y' or '%m/%d/%Y'",
    ),
    ("two names", "date,y,y\n2020-01-01,1,2\n", {}, "two columns are called 'y'"),
    ("ragged", GOOD + "2020-01-04,4,5,6\n", {}, "not a table"),
    ("series twice", "id,t,y\na,1,1\na,1,2\n", {}, "series 'a', time column 't' has 1 twice"),
    ("no id", "id,t,y\na,1,1\n,2,2\n", {"id": "id"}, "id column 'id' is empty in row 2"),
    (
        "series without target",
        "id,t,y\na,1,1\na,2,2\nb,1,\nb,2,\n",
        {},
        "series 'b' has no value of its target",
    ),
    (
        "static changes",
        "id,t,y,s\na,1,1,u\na,2,2,v\n",
        {"static": ["s"]},
        "'s' changes within series 'a': 'u' in row 1, 'v' in row 2",
    ),
    (
        "static missing",
        "id,t,y,s\na,1,1,3\na,2,2,\n",
        {"static": ["s"]},
        "static column 's' is empty in row 2",
    ),
    ("moon", GOOD, {"calendar": ["moon"]}, "got 'moon'"),
]


@pytest.mark.parametrize(
    ("text", "options", "message"), [each[1:] for each in WRONG], ids=[each[0] for each in WRONG]
)
def test_wrong_tables_are_refused_in_one_line(write, text, options, message):
    with pytest.raises(InputError, match=message) as caught:
        read_series(write(text), **options)
    assert "\n" not in str(caught.value)


def test_sort(write):
    text = "date,y\n2020-01-03,3\n2020-01-01,1\n2020-01-02,2\n"
    series = read_series(write(text), sort=True).series[0]
    np.testing.assert_array_equal(series.values[:, 0], [1, 2, 3])
    with pytest.raises(InputError, match="set sort"):
        read_series(write(text))
    with pytest.raises(InputError, match="twice"):
        read_series(write(text + "2020-01-02,5\n"), sort=True)


def test_dates_in_other_forms(write):
    def begins(text, **options):
        table = read_series(write(f"date,y\n{text[0]},1\n{text[1]},2\n"), **options)
        return table.series[0].times[0], table.frequency

    first = np.datetime64("2020-01-02", "us")
    assert begins(["2020/01/02", "2020/01/03"]) == (first, "1d")
    assert begins(["02.01.2020", "03.01.2020"]) == (first, "1d")
    assert begins(["01/02/2020", "01/14/2020"]) == (first, "12d")
    assert begins(["02/01/2020", "14/01/2020"]) == (first, "12d")
    assert begins(["02/01/2020", "03/01/2020"], time_format="%d/%m/%Y") == (first, "1d")
    assert begins(["2020-01-02T00:00:00Z", "2020-01-02T01:00:00Z"]) == (first, "1h")
    assert begins(["2020-01-02 01:00:00+01:00", "2020-01-02 02:00:00+01:00"]) == (first, "1h")
    assert begins(["2020-01-02 00:00:00.000", "2020-01-02 00:00:00.250"]) == (first, "250ms")
    assert begins(["Jan 2020", "Feb 2020"], time_format="%b %Y")[1] == "1mo"


def test_files_that_are_no_tables(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        read_series(tmp_path / "none.csv")
    with pytest.raises(InputError, match="there is no file"):
        read_series(tmp_path)
    for name, message in [
        ("a.xlsx", "expected a file ending in .csv"),
        ("a.parquet", "not a Parquet file"),
        ("a.csv.gz", "not a whole gzip file"),
    ]:
        (tmp_path / name).write_bytes(b"something else")
        with pytest.raises(InputError, match=message):
            read_series(tmp_path / name)


def test_too_many_words(write):
    lines = [f"{at},1,5,w{at}\n{at},2,6,w{at}" for at in range(51)]
    with pytest.raises(InputError, match="'s' has 51 different words, expected at most 50"):
        read_series(write("id,t,y,s\n" + "\n".join(lines)), id="id", time="t", static=["s"])


def test_without_polars_the_extra_is_named(write, monkeypatch):
    path = write(GOOD)
    monkeypatch.setitem(__import__("sys").modules, "polars", None)
    with pytest.raises(MissingExtra, match=r"pip install 'throughtime\[data\]'"):
        read_series(path)
