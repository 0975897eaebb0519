import json

import numpy as np
import polars as pl
import pytest

from throughtime.data.report import TableReport, TextReport, data_report
from throughtime.data.series import Columns, from_array, from_frame
from throughtime.data.splits import split
from throughtime.errors import InputError


@pytest.fixture
def table():
    frame = pl.DataFrame(
        {
            "id": ["a"] * 6 + ["b"] * 4 + ["c"] * 2,
            "t": [0, 1, 2, 4, 5, 6, 3, 4, 5, 6, 0, 1],
            "y": [1.0, 2, None, 4, 5, 6, 7, 7, 7, 7, 8, 9],
            "k": [1.0] * 12,
            "word": ["x"] * 12,
        }
    )
    return from_frame(
        frame, Columns(id="id", targets=("y",), known=("k",), season=3), source="some.csv"
    )


def test_a_table_is_counted(table):
    parts = split(table, "3,2,1")
    report = data_report(table, parts)
    assert isinstance(report, TableReport)
    # a runs from 0 to 6 with step 3 put in; b from 3 to 6; c from 0 to 1.
    assert (report.series, report.steps) == (3, 7 + 4 + 2)
    assert (report.length_min, report.length_median, report.length_max) == (2, 4, 7)
    assert report.gaps == 1
    assert report.missing == pytest.approx(2 / 13)
    assert report.targets == {"y": {"min": 1, "mean": 63 / 11, "max": 9, "missing": 2}}
    assert report.padding == pytest.approx(1 - 13 / 21)
    assert report.constant == ("b",)
    assert report.parts == {"train": 3 + 0 + 2, "validation": 2 + 2, "test": 1 + 1}
    assert (report.validation_from, report.test_from) == ("3", "5")
    assert (report.first, report.last, report.season) == ("0", "6", 3)
    assert report.unused == ("word",)
    notes = " ".join(report.notes)
    for part in (
        "1 time stamps are missing",
        "b never changes",
        "Some values of columns known ahead of time are missing",
        "Nothing to train on before validation begins: b.",
        "Nothing to test on: c.",
        "Rows from 6 on are not used.",
    ):
        assert part in notes


def test_rows_and_json(table):
    report = data_report(table, split(table, "3,2,1"), padding=0.125)
    rows = dict(report.rows())
    assert rows["source"] == "some.csv"
    assert rows["length"] == "2 to 7, median 4"
    assert rows["padding"] == "12.5%"
    assert rows["validation"] == "4 steps from 3"
    assert rows["missing"] == "15.38% of target values, 1 rows in gaps"
    assert rows["not used"] == "word"
    assert [label for label, _ in report.rows()].count("note") == len(report.notes)
    plain = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert plain == report.to_json()
    assert plain["targets"]["y"]["max"] == 9


def test_a_clean_table_has_no_notes():
    report = data_report(from_array(np.arange(5.0)))
    assert report.notes == ()
    assert isinstance(report, TableReport)
    assert report.parts == {}
    assert report.padding == 0
    assert dict(report.rows())["length"] == "5"


def test_several_targets_one_of_them_missing_in_a_series():
    frame = pl.DataFrame(
        {
            "id": ["a", "a", "b", "b"],
            "t": [0, 1, 0, 1],
            "y": [1.0, 2, 3, 4],
            "z": [None, None, 5.0, 6],
        }
    )
    report = data_report(from_frame(frame, Columns(id="id", targets=("y", "z"))))
    assert isinstance(report, TableReport)
    assert report.targets["z"] == {"min": 5, "mean": 5.5, "max": 6, "missing": 2}
    assert report.constant == ("a: z",)


def test_a_text_is_counted():
    report = data_report("ab\nba\nb", {"train": 4, "test": 3}, source="t.txt", unit="bytes")
    assert isinstance(report, TextReport)
    assert (report.characters, report.lines, report.distinct) == (7, 3, 3)
    assert list(report.common.items()) == [("b", 3 / 7), ("\n", 2 / 7), ("a", 2 / 7)]
    rows = dict(report.rows())
    assert rows["train"] == "4 bytes"
    assert rows["most common"].startswith("'b' 42.9%")
    json.dumps(report.to_json(), allow_nan=False)


def test_what_cannot_be_reported(table):
    with pytest.raises(InputError, match=r"t.txt: the text is empty"):
        data_report("", source="t.txt")
    with pytest.raises(InputError, match="split by counts"):
        data_report("abc", split(table, "3,2,1"))
    with pytest.raises(InputError, match="split by time"):
        data_report(table, {"train": 3})
