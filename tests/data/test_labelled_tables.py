import csv
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.labelled_files import numbers, one_line_or_examples, put, refused
from throughtime.data.labelled_objects import Roles, likeliest, listed, several
from throughtime.data.labelled_tables import read_table, table_examples

LONG = "id,time,x,y,label\na,2,3,4,walk\nb,1,7,,rest\na,1,1,2,walk\nb,2,8,?,rest\nb,3,9,5,rest\n"
WIDE = "v0,v1,v2,class\n1,2,3,up\n3,,-1e1,down\n"


@pytest.fixture
def read(tmp_path):
    """Examples of a table given as text."""

    def read(content, name="x.csv", **roles):
        return table_examples(read_table(put(tmp_path, name, content)), Roles(**roles))

    return read


class TestTable:
    def test_quotation_marks_of_csv(self, tmp_path):
        content = 'text,label\n"one, ""two""\nthree",a\n\n  ,b\n'
        table = read_table(put(tmp_path, "x.csv.gz", content))
        assert table.names == ("text", "label")
        assert table.column("text") == ['one, "two"\nthree', ""]
        assert table.lines == [2, 5]  # where they begin

    @pytest.mark.parametrize("name", ["x.tsv", "x.txt", "x.TSV.gz"])
    def test_no_quotation_marks_with_tabs(self, tmp_path, name):
        table = read_table(put(tmp_path, name, 'text\tlabel\r\n"a\t"1\r\n""b""\t2\r\n'))
        assert table.rows == [['"a', '"1'], ['""b""', "2"]]

    @pytest.mark.parametrize("mark", [",", ";", "\t"])
    def test_mark_of_csv(self, tmp_path, mark):
        table = read_table(put(tmp_path, "x.csv", f"text{mark}label\na b{mark}1\n"))
        assert table.rows == [["a b", "1"]]

    def test_no_header(self, tmp_path):
        table = read_table(put(tmp_path, "x.tsv", "-1\t0.5\tNaN\n1\t2\t3\n"))
        assert table.names == ("column_1", "column_2", "column_3")
        assert table.rows[0] == ["-1", "0.5", "NaN"]
        assert table.lines == [1, 2]
        refused("it has column_1, column_2, column_3 .made up, the first line is no header",
                table_examples, table, Roles())  # fmt: skip
        some = table_examples(table, Roles(label="column_1"))
        assert some.labels == ["-1", "1"]
        assert numbers(some) == [[[0.5], [None]], [[2], [3]]]

    def test_blank_lines(self, tmp_path):
        table = read_table(put(tmp_path, "x.tsv", "\n\ntext\tlabel\n\na\t1\n\t\n  \nb\t2\n\n\n"))
        # Cells that are empty are a row, whatever comes of it.
        assert table.lines == [5, 6, 8]
        table = read_table(put(tmp_path, "y.tsv", "text\tother\na\t1\n\t\n"))
        assert table.column("text") == ["a", ""]
        only = read_table(put(tmp_path, "x.csv", 'text\na\n\n""\nb\n\n'))
        assert only.column("text") == ["a", "", "", "b"]

    def test_long_cells(self, tmp_path):
        before = csv.field_size_limit(50_000)
        try:
            table = read_table(put(tmp_path, "x.csv", f"text,label\n{'x' * 200_000},a\n"))
            assert len(table.rows[0][0]) == 200_000
            assert csv.field_size_limit() == 50_000  # it is one for the whole process
        finally:
            csv.field_size_limit(before)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("text,label\na,b\na\n", "line 3 of .* has 1 columns, expected 2 as in line 1"),
            ("text,label\na,b\nx,y,z\n", "line 3 of .* has 3 columns, expected 2"),
            ("text,label,text\na,b,c\n", "line 1 of .* calls two columns 'text'"),
            ("text,label\n", "has the names of columns and no rows"),
            (",,\n,,\n", "has empty cells only"),
            ('text,label\na,b\n"x,\ny\n', "line 3 of .* is no row of CSV .unexpected end"),
            ('text,label\n"a"b,c\n', "line 2 of .* is no row of CSV"),
            ("", "is empty"),
        ],
    )
    def test_refuses(self, tmp_path, content, message):
        refused(message, read_table, put(tmp_path, "x.csv", content))


class TestTexts:
    def test_by_name(self, read):
        some = read("id,Document,Label\n7,a good one,1\n8,,0\n")
        assert some.kind == "texts"
        assert some.values == ["a good one", ""]  # empty ones are kept
        assert (some.labels, some.names, some.features) == (["1", "0"], ["7", "8"], ())

    def test_the_only_words(self, read):
        some = read("date,likes,phrase,class\n2026-01-01,3,so good,x\n2026-01-02,4,12,y\n")
        assert some.values == ["so good", "12"]
        assert some.names == ["2", "3"]

    def test_text_may_hold_numbers(self, read):
        assert read("text,label\n12,a\n13,b\n").values == ["12", "13"]
        # but not where only the name suggests it
        assert read("content,title,label\n1.5,so good,a\n").values == ["so good"]
        assert read("content,x,label\n1.5,2,a\n").kind == "series"

    def test_named(self, read):
        content = "first,second,a,b\nx,y,1,2\nz,w,3,4\n"
        some = read(content, text="second", label="a", id="first")
        assert (some.values, some.labels, some.names) == (["y", "w"], ["1", "3"], ["x", "z"])
        assert read(content, text="a", label="second").values == ["1", "3"]

    def test_ids_that_are_none(self, read):
        for ids in ("5,5", "5,"):
            first, second = ids.split(",")
            content = f"id,text,label\n{first},x,a\n{second},y,b\n"
            assert read(content).names == ["2", "3"]
            assert read(content, id="id", text="text").names == [first, second]

    def test_steps_are_words(self, read):
        content = "text,label\na  dog runs,DET NOUN VERB\nstop,VERB\n,\n"
        some = read(content, labels="steps")
        assert some.labels == [["DET", "NOUN", "VERB"], ["VERB"], []]
        refused("line 2 of .* has 3 labels and 2 words, expected one for each", read,
                "text,label\na dog,X Y Z\n", labels="steps")  # fmt: skip

    def test_several(self, read):
        some = read("text,tags\nx,rock | pop\ny,\nz,jazz\n", labels="several")
        assert some.labels == [("rock", "pop"), (), ("jazz",)]
        # unsaid, a cell is one class
        assert read("text,tags\nx,rock|pop\n").labels == ["rock|pop"]

    @pytest.mark.parametrize(
        ("content", "roles", "message"),
        [
            ("text,label\nx,a\ny,\n", {}, "line 3 of .* has no 'label', expected a class"),
            ("one,two,label\nx,y,a\n", {}, "several columns of words, .*; one, two$"),
            ("id,one,two,label\n1,x,y,a\n1,x,y,a\n", {}, "several columns of words, .*; one, two$"),
            ("text,kind\nx,a\n", {}, "nothing called label, class, .*; it has text, kind$"),
            ("text,label\nx,a\n", {"label": "kind"}, "label is 'kind', expected a name from .*"
             "which has text, label"),
            ("text,label\nx,a\n", {"text": "words"}, "text is 'words', expected a name"),
            ("text,label\nx,a\n", {"id": "no"}, "id is 'no', expected a name"),
            ("text,label\nx,a\n", {"text": "label", "label": "label"},
             "'label' is named as text and as label"),
            ("text,label,x\nx,a,1\n", {"text": "text", "features": ("x",)},
             "text is 'text' and features is .'x',., expected one of them"),
            ("text,label,x\nx,a,1\n", {"text": "text", "time": "x"}, "texts have no time"),
            ("u,text,label\nx,y,a\n", {"id": "u"}, "has no numbers besides id and label, .*, or "
             "text with the name"),
            ('"a\nb",c\n1,2\n', {}, "it has a b, c$"),
        ],
    )  # fmt: skip
    def test_refuses(self, read, content, roles, message):
        refused(message, read, content, **roles)


class TestLong:
    def test_rows_of_an_id_in_order_of_time(self, read):
        some = read(LONG)
        assert some.kind == "series"
        assert some.features == ("x", "y")
        assert numbers(some) == [[[1, 2], [3, 4]], [[7, None], [8, None], [9, 5]]]
        assert (some.names, some.labels) == (["a", "b"], ["walk", "rest"])
        assert some.values[0].dtype == np.float64

    def test_order_of_the_file_without_time(self, read):
        some = read("Case,x,label\na,3,u\nb,7,v\na,1,u\n")
        assert numbers(some) == [[[3], [1]], [[7]]]

    def test_a_default_time_that_is_none(self, read):
        some = read("id,date,x,label\na,Tuesday,3,u\na,Monday,1,u\n")
        assert numbers(some) == [[[3], [1]]]
        refused("line 2 of .* has 'Tuesday' as 'date', expected numbers in all rows, or", read,
                "id,date,x,label\na,Tuesday,3,u\n", time="date", id="id")  # fmt: skip

    def test_times_are_numbers_and_dates(self, read):
        rows = [("10", 2), ("9", 1), ("1e1", 3)]
        content = "".join(f"a,{when},{x},u\n" for when, x in rows[:2])
        assert numbers(read("id,t,x,label\n" + content)) == [[[1], [2]]]
        dates = "a,2026-01-10 08:00,2,u\na,2026-01-10 07:30:01.5,1,u\na,2026-01-11,3,u\n"
        assert numbers(read("id,when,x,label\n" + dates, time="when")) == [[[1], [2], [3]]]
        zones = "a,2026-01-10T08:00+09:00,1,u\na,2026-01-10T00:00Z,2,u\n"
        assert numbers(read("id,when,x,label\n" + zones, time="when")) == [[[1], [2]]]

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ("a,1,1,u\na,1.0,2,u\n", "line 3 of .* has the 'time' of line 2, .* within 'a'"),
            ("a,1,1,u\na,2026-01-01,2,u\n", "line 3 of .* has '2026-01-01' as 'time', expected "
             "numbers in all rows, or in all dates"),
            ("a,1,1,u\na,,2,u\n", "line 3 of .* has '' as 'time'"),
            ("a,1,1,u\n,2,2,u\na,3,3,u\n", "line 3 of .* has no 'id', expected which series"),
            ("a,1,1,u\na,2,x,u\na,3,1,u\n", "line 3 of .*: 'x' has 'x', expected a finite number"),
            ("a,1,1,u\na,2,inf,u\na,3,1,u\n", "line 3 of .*: 'x' has 'inf'"),
            ("a,1,1,\na,2,1,\n", "line 2 of .* has no 'label'"),
        ],
    )  # fmt: skip
    def test_refuses(self, read, rows, message):
        refused(message, read, "id,time,x,label\n" + rows)

    def test_named(self, read):
        content = "who,when,x,y,what\na,2,1,9,u\na,1,2,9,u\nb,1,3,9,v\n"
        some = read(content, id="who", time="when", features=("x",), label="what")
        assert (some.features, numbers(some)) == (("x",), [[[2], [1]], [[3]]])
        # With time named even ids that occur once have steps.
        some = read("id,when,x,y,what\na,2,1,9,u\nb,1,2,9,v\n", time="when", label="what")
        assert numbers(some) == [[[1, 9]], [[2, 9]]]
        assert some.features == ("x", "y")

    def test_features_are_numbers_with_a_name(self, read):
        content = ",id,sample,device,none,x,label\n0,a,1,p,,5,u\n1,a,2,q,,6,u\n"
        assert read(content).features == ("x",)
        assert read(content, features=("x", "none")).features == ("x", "none")
        refused("'device' has 'p', expected a finite number", read, content, features=("device",))
        refused("has no columns of numbers besides id, time and label", read,
                "id,time,none,label\na,1,,u\na,2,,u\n")  # fmt: skip

    def test_the_id_that_repeats(self, read):
        some = read("id,series,x,label\n1,a,5,u\n2,a,6,u\n3,b,7,v\n")
        assert (some.names, some.features) == (["a", "b"], ("x",))

    def test_labels_of_steps(self, read):
        content = "id,time,x,label\na,2,1,u\na,1,2,v\nb,1,3,w\nb,2,4,\n"
        for labels in (None, "steps"):  # where they change they are of steps
            assert read(content, labels=labels).labels == [["v", "u"], ["w", ""]]
        assert read(LONG, labels="steps").labels == [["walk"] * 2, ["rest"] * 3]
        refused("line 2 of .* has 'label' 'u', expected 'v' as in other rows of 'a'", read,
                content, labels="one")  # fmt: skip

    def test_several(self, read):
        content = "id,x,label\na,1,u;v\na,2,u;v\nb,3,\n"
        assert read(content, labels="several").labels == [("u", "v"), ()]


class TestWide:
    def test_a_series_in_each_row(self, read):
        some = read(WIDE)
        assert (some.kind, some.features) == ("series", ("value",))
        assert numbers(some) == [[[1], [2], [3]], [[3], [None], [-10]]]
        assert (some.labels, some.names) == (["up", "down"], ["2", "3"])

    def test_ids_are_names_and_no_step(self, read):
        for roles in ({}, {"id": "id"}):
            some = read("id,v0,v1,y\n5,1,2,0\n6,3,4,1\n", **roles)
            assert (some.names, some.labels) == (["5", "6"], ["0", "1"])
            assert numbers(some) == [[[1], [2]], [[3], [4]]]

    def test_a_column_of_missing_values_is_a_step(self, read):
        assert numbers(read("v0,v1,v2,y\n1,,2,0\n3,NA,4,1\n")) == [
            [[1], [None], [2]],
            [[3], [None], [4]],
        ]

    def test_features(self, read):
        some = read("note,v1,v0,other,y\np,1,2,q,0\n", features=("v0", "v1"))
        assert numbers(some) == [[[2], [1]]]

    def test_several(self, read):
        assert read("a,b,y\n1,2,u|v\n3,4,v\n", labels="several").labels == [("u", "v"), ("v",)]

    def test_refuses(self, read):
        refused("line 3 of .*x.csv: 'v1' has 'x', expected a finite number", read,
                "v0,v1,y\n1,2,0\n3,x,0\n4,5,0\n")  # fmt: skip
        refused("line 3 of .* has no 'y'", read, "v0,v1,y\n1,2,0\n3,4,\n")
        refused("labels is 'steps', expected one or several", read, WIDE, labels="steps")
        refused("time is 'v0', expected id as well", read, WIDE, time="v0")


class TestWithoutLabels:
    def test_labels_are_ignored_or_absent(self, read):
        for content, kind in ((LONG, "series"), (WIDE, "series"), ("text,label\nx,\n", "texts")):
            some = read(content, labelled=False)
            assert (some.kind, some.labels) == (kind, None)
        assert read(LONG, labelled=False).features == ("x", "y")
        assert numbers(read(WIDE, labelled=False))[0] == [[1], [2], [3]]
        assert read("text\nx\n\ny\n", labelled=False).values == ["x", "", "y"]
        assert read("text\nx\n", labelled=False, label="class").values == ["x"]

    def test_a_feature_is_no_label(self, read):
        some = read("id,x,y\na,1,2\na,3,4\n", labelled=False, features=("x", "y"))
        assert some.features == ("x", "y")


class TestNames:
    def test_the_likeliest(self):
        assert likeliest(["tags", "CLASS"], ("class", "tags"), set()) == "CLASS"
        assert likeliest(["tags", "CLASS"], ("class", "tags"), {"CLASS"}) == "tags"
        assert likeliest(["Y", "y"], ("y",), set()) == "Y"
        assert likeliest(["x"], ("y",), set()) is None

    def test_listed(self):
        assert listed(["a", "", "b"]) == "a, '', b"
        assert listed([str(at) for at in range(13)]).endswith("10, 11, ...")
        assert listed([]) == "none"

    def test_several_splits_by_one_mark(self):
        assert several(["a,b|c", "d,e"]) == [("a,b", "c"), ("d,e",)]
        assert several(["a,b", "b, a, b,,"]) == [("a", "b"), ("b", "a")]
        assert several(["a b", " "]) == [("a b",), ()]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), min_size=1, max_size=9)
)
def test_texts_of_csv_come_back(tmp_path_factory, texts):
    out = io.StringIO()
    csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(
        [["text", "label"], *([text, "a"] for text in texts)]
    )
    path = put(tmp_path_factory.getbasetemp(), "back.csv", out.getvalue())
    expected = [text.replace("\r\n", "\n").strip() for text in texts]
    assert table_examples(read_table(path), Roles()).values == expected


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from(["id", "time", "x", "label", "text", "1", "2", "?", "a", "", '"',
                                  "2026-01-01", "\n", "inf"]), max_size=4), max_size=6),
    st.sampled_from(["x.csv", "x.tsv"]), st.sampled_from([None, "several", "steps"]),
    st.booleans(), st.binary(max_size=9),
)  # fmt: skip
def test_anything_gives_one_line(tmp_path_factory, rows, name, labels, labelled, junk):
    mark = "," if name == "x.csv" else "\t"
    content = "\n".join(mark.join(row) for row in rows).encode() + junk
    path = put(tmp_path_factory.getbasetemp(), name, content)

    def read():
        return table_examples(read_table(path), Roles(labels=labels, labelled=labelled))

    one_line_or_examples(read)
