import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.labelled_files import numbers, one_line_or_examples, put, refused
from throughtime.data.ts_format import moment, number, read_ts, short, to_numbers

HEAD = "@problemName Two\n@timeStamps false\n@missing false\n@univariate false\n@dimensions 2\n"
TWO = f"# what it is\n\n{HEAD}@equalLength false\n@classLabel true a b\n@data\n"


def series(dimensions):
    return np.array(dimensions, float).T.tolist()


class TestRead:
    @pytest.mark.parametrize("name", ["x.ts", "x.ts.gz"])
    def test_dimensions_lengths_and_classes(self, tmp_path, name):
        path = put(tmp_path, name, TWO + "1,2,3:4,5,6:a\n# a comment\n\n 7 , -8e1:9,10: b \n")
        some = read_ts(path)
        assert some.kind == "series"
        assert [value.tolist() for value in some.values] == [
            series([[1, 2, 3], [4, 5, 6]]),
            series([[7, -80], [9, 10]]),
        ]
        assert all(value.dtype == np.float64 for value in some.values)
        assert some.labels == ["a", "b"]
        assert some.names == ["11", "14"]  # lines of the file
        assert some.features == ("dim_0", "dim_1")

    def test_names_in_any_letters_and_without_most(self, tmp_path):
        path = put(tmp_path, "x.ts", "@CLASSLABEL TRUE a b\r\n@DATA\r\n1,2:a\r\n3:b\r\n")
        some = read_ts(path)
        assert numbers(some) == [[[1], [2]], [[3]]]
        assert some.features == ("value",)
        path = put(tmp_path, "y.ts", "@univariate true\n@classlabel true\n@data\n1,2:any\n")
        assert read_ts(path).labels == ["any"]  # classes need not be listed

    def test_dimension_is_dimensions(self, tmp_path):
        path = put(tmp_path, "x.ts", "@dimension 3\n@classLabel true a\n@data\n1:a\n")
        refused("line 4 of .* has 1 dimension, expected 3 .line 1 says @dimension 3", read_ts, path)

    def test_missing_values(self, tmp_path):
        path = put(tmp_path, "x.ts", TWO + "?,2,NaN,nan:1, ,3,?:a\n?:?:b\n")
        assert numbers(read_ts(path)) == [
            [[None, 1], [2, None], [None, 3], [None, None]],
            [[None, None]],
        ]

    def test_as_the_header_says(self, tmp_path):
        head = "@univariate true\n@dimensions 1\n@equalLength true\n@seriesLength 3\n"
        path = put(tmp_path, "x.ts", head + "@classLabel true 1 2\n@data\n1,2,3:1\n4,5,6:2\n")
        assert numbers(read_ts(path)) == [[[1], [2], [3]], [[4], [5], [6]]]

    def test_another_encoding(self, tmp_path):
        path = put(tmp_path, "x.ts", "@classLabel true ä b\n@data\n1:ä\n".encode("cp1252"))
        refused("is not utf-8", read_ts, path)
        assert read_ts(path, encoding="cp1252").labels == ["ä"]


class TestWithoutLabels:
    def test_classes_are_left_out(self, tmp_path):
        rows = "1,2:3,4:a\n5:6:?\n7:8:\n"
        some = read_ts(put(tmp_path, "x.ts", TWO + rows), labelled=False)
        assert some.labels is None
        assert numbers(some) == [[[1, 3], [2, 4]], [[5, 6]], [[7, 8]]]

    def test_rows_may_have_none(self, tmp_path):
        some = read_ts(put(tmp_path, "x.ts", TWO + "1,2:3,4\n5:6:a\n"), labelled=False)
        assert numbers(some) == [[[1, 3], [2, 4]], [[5, 6]]]
        path = put(tmp_path, "y.ts", "@classLabel true a\n@data\n1,2:3,4\n5,6:7,8:a\n")
        assert read_ts(path, labelled=False).features == ("dim_0", "dim_1")

    @pytest.mark.parametrize("head", ["", "@classLabel false\n"])
    def test_no_classes_in_the_header(self, tmp_path, head):
        path = put(tmp_path, "x.ts", head + "@data\n1,2:3,4\n")
        assert read_ts(path, labelled=False).features == ("dim_0", "dim_1")
        refused("has no classes", read_ts, path)

    def test_numbers_to_predict_are_no_dimension(self, tmp_path):
        path = put(tmp_path, "x.ts", "@targetLabel true\n@data\n1,2:3,4:0.7\n")
        assert numbers(read_ts(path, labelled=False)) == [[[1, 3], [2, 4]]]
        refused("has no classes .line 1 says @targetLabel true.", read_ts, path)

    def test_dimensions_still_count(self, tmp_path):
        path = put(tmp_path, "x.ts", TWO + "1:2:3:a\n")
        refused("has 3 dimensions, expected 2", read_ts, path, labelled=False)
        path = put(tmp_path, "x.ts", "@dimensions 3\n@data\n1:2\n")
        refused("has 2 dimensions, expected 3", read_ts, path, labelled=False)


class TestHeadersThatLie:
    @pytest.mark.parametrize(
        ("head", "rows", "message"),
        [
            ("@dimensions 3\n@classLabel true a\n", "1:2:3:4:a",
             "line 4 of .*x.ts has 4 dimensions, expected 3 .line 1 says @dimensions 3"),
            ("@univariate true\n@classLabel true a\n", "1:2:a",
             "line 4 of .* has 2 dimensions, expected 1 .line 1 says @univariate true"),
            ("@univariate true\n@dimensions 2\n@classLabel true a\n", "1:2:a",
             "line 1 says @univariate true, but line 2 says @dimensions 2"),
            ("@classLabel true a\n", "1:2:a\n1:a",
             "line 4 of .* has no label behind its last colon, or a dimension too few; expected 2 "
             "dimensions and a class .line 3 has 2; line 1 says @classLabel true a"),
            ("@classLabel true a\n", "1:2:a\n1:2:3:a",
             "line 4 of .* has 3 dimensions, expected 2 .line 3 has 2"),
            ("@equalLength true\n@classLabel true a\n", "1,2:a\n1,2,3:a",
             "line 5 of .* has 3 steps, expected 2 .line 1 says @equalLength true, line 4 has 2"),
            ("@seriesLength 4\n@classLabel true a\n", "1,2:a",
             "line 4 of .* has 2 steps, expected 4 .line 1 says @seriesLength 4"),
            ("@classLabel true a b\n", "1,2:a\n1,2:c",
             "line 4 of .* has class 'c', expected one of the header .line 1 says @class"),
            ("@classLabel true a b\n@dimensions 2\n", "1,2:3,4",
             "line 4 of .* has no label behind its last colon"),
            ("@classLabel true a b\n@dimensions 2\n", "1,2:3,4:",
             "line 4 of .* has no label, expected a class behind its last colon"),
            ("@classLabel true a b\n", "1,2:?", "line 3 of .* has no label"),
            ("@classLabel true a b\n", "1,2", "line 3 of .* has no colon"),
            ("@classLabel false\n", "1,2", "has no classes .line 1 says @classLabel false"),
            ("@problemName x\n", "1,2:a", "has no classes .it says nothing"),
            ("@timestamps true\n@classLabel true a\n", "(0,1),(1,2):a",
             "line 1 says @timestamps true, expected false"),
        ],
    )  # fmt: skip
    def test_a_line_says_so(self, tmp_path, head, rows, message):
        refused(message, read_ts, put(tmp_path, "x.ts", f"{head}@data\n{rows}\n"))

    @pytest.mark.parametrize("said", ["@dimensions", "@dimensions two", "@dimensions 0",
                                      "@dimensions -1", "@seriesLength 1 2", "@dimensions ²",
                                      "@seriesLength " + "9" * 5000])  # fmt: skip
    def test_no_count(self, tmp_path, said):
        path = put(tmp_path, "x.ts", f"@classLabel true a\n{said}\n@data\n1:a\n")
        refused("line 2 says @.*, expected a whole number from 1$", read_ts, path)

    @pytest.mark.parametrize("said", ["@univariate", "@equalLength maybe", "@timestamps 1"])
    def test_neither_true_nor_false(self, tmp_path, said):
        path = put(tmp_path, "x.ts", f"@classLabel true a\n{said}\n@data\n1:a\n")
        refused(f"line 2 says {said}, expected true or false", read_ts, path)

    def test_no_data(self, tmp_path):
        refused("has no line @data", read_ts, put(tmp_path, "x.ts", "@classLabel true a\n"))
        refused("has no series behind @data", read_ts, put(tmp_path, "x.ts", TWO + "\n# no\n"))
        refused("is empty", read_ts, put(tmp_path, "x.ts", ""))
        refused("there is no file", read_ts, tmp_path / "y.ts")
        refused("line 2 of .* is '1,2:a', expected a line with @ or #", read_ts,
                put(tmp_path, "x.ts", "@classLabel true a\n1,2:a\n@data\n"))  # fmt: skip


class TestSeries:
    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ("1,2:3:a", "has 2 steps in dimension 0 and 1 in dimension 1, expected as many"),
            (":3:a", "has an empty sequence as dimension 0"),
            ("1: :a", "has an empty sequence as dimension 1"),
            ("1,x:3,4:a", "dimension 0 at step 1 has 'x', expected a finite number"),
            ("1,2:3,inf:a", "dimension 1 at step 1 has 'inf', expected a finite number"),
            ("1,1e999:3,4:a", "dimension 0 at step 1 has '1e999'"),
            ("1,1_0:3,4:a", "dimension 0 at step 1 has '1_0'"),
            ("(0,1):(0,2):a", r"dimension 0 at step 0 has '\(0'"),
        ],
    )
    def test_refuses(self, tmp_path, row, message):
        refused(f"line 11 of .*x.ts.*{message}", read_ts, put(tmp_path, "x.ts", TWO + row + "\n"))

    def test_damaged_packing(self, tmp_path):
        whole = gzip.compress((TWO + "1:2:a\n" * 100).encode())
        path = tmp_path / "x.ts.gz"
        for data in (whole[:-20], b"no gzip", whole[:40] + b"\xff" * 9 + whole[49:]):
            path.write_bytes(data)
            refused("is not whole gzip", read_ts, path)

    @settings(max_examples=150, deadline=None)
    @given(
        st.lists(st.sampled_from([*HEAD.splitlines(), "@classLabel true a", "@data", "1:2:a", "@",
                                  "1,?:2,3:b", ":", "", "@equalLength true", "#", "x", ":::"])),
        st.binary(max_size=20), st.booleans(),
    )  # fmt: skip
    def test_anything_gives_one_line(self, tmp_path_factory, lines, junk, labelled):
        path = tmp_path_factory.getbasetemp() / "junk.ts"
        path.write_bytes("\n".join(lines).encode() + junk)
        one_line_or_examples(read_ts, path, labelled=labelled)


class TestCells:
    def test_missing_and_blanks(self):
        found = to_numbers([" 1 ", "", "?", "NA", "N/A", "null", "None", "-2"], str)
        assert found.tolist()[::7] == [1, -2]
        assert np.isnan(found[1:7]).all()
        assert to_numbers([], str).shape == (0,)

    def test_the_place_is_told(self):
        refused(
            "^cell 2 has 'two', expected", to_numbers, ["1", "?", "two"], lambda at: f"cell {at}"
        )
        refused("^1 has '-inf'", to_numbers, ["1", "-inf"], str)

    def test_number(self):
        assert number("1e-3") == 0.001
        assert all(number(each) is None for each in ("x", "1 2", "1,5", "infinity", "1_0"))

    def test_moments_are_in_order(self):
        dates = ["2025-12-31", "2026-01-01 00:00:01", "2026-01-01T01:00+00:00", "2026-01-02"]
        found = [at for at in map(moment, dates) if at is not None]
        assert len(found) == 4
        assert found == sorted(found)
        assert all(moment(each) is None for each in ("", "?", "Monday", "2026-13-01", "nan"))

    def test_short(self):
        assert short("a\nb\u2028c") == "a b c"
        assert short("x" * 60) == "x" * 60
        assert short("x" * 61) == "x" * 57 + "..."
