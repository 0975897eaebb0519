import gzip
import json
import sys

import pytest

from tests.data.labelled_files import numbers, put, refused
from throughtime.data.labelled import is_labelled, read_labelled, read_labelled_parts
from throughtime.data.labels import Labels
from throughtime.errors import MissingExtra

TS = "@classLabel true a b\n@data\n1,2:a\n3:b\n"
FILES = {
    "x.csv": 'text,label\n"no, not that",a\nyes,b\n',
    "x.tsv": "text\tlabel\nno, not that\ta\nyes\tb\n",
    "x.txt": "id\tdocument\tlabel\n7\tno, not that\ta\n8\tyes\tb\n",
    "x.jsonl": '{"text": "no, not that", "label": "a"}\n{"text": "yes", "label": "b"}\n',
}


class TestRead:
    @pytest.mark.parametrize("packed", ["", ".gz"])
    @pytest.mark.parametrize("name", FILES)
    def test_texts_of_every_form(self, tmp_path, name, packed):
        some = read_labelled(str(put(tmp_path, name + packed, FILES[name])))
        assert (some.kind, some.values) == ("texts", ["no, not that", "yes"])
        assert some.labels == ["a", "b"]
        ids = {"x.txt": ["7", "8"], "x.jsonl": ["1", "2"]}
        assert some.names == ids.get(name, ["2", "3"])

    @pytest.mark.parametrize("name", ["x.ts", "X.TS", "x.ts.gz"])
    def test_series_of_an_archive(self, tmp_path, name):
        some = read_labelled(put(tmp_path, name, TS), labels="one")
        assert numbers(some) == [[[1], [2]], [[3]]]
        assert some.labels == ["a", "b"]
        assert read_labelled(put(tmp_path, name, TS), labelled=False).labels is None

    def test_options_arrive(self, tmp_path):
        path = put(tmp_path, "x.csv", "who,when,p,q,what\na,2,1,5,u\na,1,2,6,v\n")
        some = read_labelled(path, id="who", time="when", features=("q",), label="what",
                             labels="steps")  # fmt: skip
        assert (some.names, numbers(some), some.labels) == (["a"], [[[6], [5]]], [["v", "u"]])
        path = put(tmp_path, "y.csv", "p,q,r\nä,b,c\n".encode("cp1252"))
        some = read_labelled(path, text="p", label="r", encoding="cp1252")
        assert (some.values, some.labels) == (["ä"], ["c"])
        assert read_labelled(path, text="q", labelled=False, encoding="cp1252").values == ["b"]

    def test_texts_alone_in_txt(self, tmp_path):
        path = put(tmp_path, "x.txt", "document\na b\nc\n")
        assert read_labelled(path, labelled=False).values == ["a b", "c"]
        path = put(tmp_path, "y.txt", "lines\na b\n")
        assert read_labelled(path, labelled=False, text="lines").values == ["a b"]

    @pytest.mark.parametrize(
        ("name", "options", "message"),
        [
            ("x.pdf", {}, "path is '.*x.pdf', expected a name that ends in .ts, .csv, "),
            ("x", {}, "expected a name that ends in"),
            ("nothing.csv", {}, "there is no file"),
            ("x.csv", {"labels": "two"}, "labels is 'two', expected one of one, several, steps"),
            ("x.ts", {"text": "t"}, "text is 't', expected none for .*x.ts: a .ts file names no"),
            ("x.ts", {"features": ("f",)}, "features is .'f',., expected none"),
            ("x.ts", {"labels": "several"}, "labels is 'several', expected 'one'"),
            (
                "plain.txt",
                {},
                "the first line of .*plain.txt has no tab, expected names of columns",
            ),
            ("x.csv", {"encoding": "no-such"}, "encoding is 'no-such'"),
        ],
    )
    def test_refuses(self, tmp_path, name, options, message):
        for file, content in {**FILES, "x.ts": TS, "plain.txt": "Only words.\nMore.\n"}.items():
            put(tmp_path, file, content)
        refused(message, read_labelled, tmp_path / name, **options)


class TestParquet:
    def test_texts_and_series(self, tmp_path):
        pl = pytest.importorskip("polars")
        path = tmp_path / "x.parquet"
        pl.DataFrame({"text": [" a", None], "label": [True, False]}).write_parquet(path)
        some = read_labelled(path)
        assert (some.values, some.labels, some.names) == (["a", ""], ["true", "false"], ["1", "2"])
        frame = pl.DataFrame({"id": ["a", "a"], "date": ["2026-01-02", "2026-01-01"],
                              "x": [1e-7, None], "label": [3, 3]})  # fmt: skip
        frame.with_columns(pl.col("date").str.to_date()).write_parquet(path)
        some = read_labelled(path)
        assert (numbers(some), some.labels) == ([[[None], [1e-7]]], ["3"])

    def test_lists(self, tmp_path):
        pl = pytest.importorskip("polars")
        path = tmp_path / "x.parquet"
        pl.DataFrame({"values": [[1.0, None], [2.0]], "label": ["u", "v"]}).write_parquet(path)
        assert numbers(read_labelled(path)) == [[[1], [None]], [[2]]]
        pl.DataFrame({"text": ["t", "u"], "tags": [["a", "b"], []]}).write_parquet(path)
        assert read_labelled(path, labels="several").labels == [("a", "b"), ()]
        refused("row 1 of .* has a list of 2", read_labelled, path)

    def test_refuses(self, tmp_path, monkeypatch):
        pytest.importorskip("polars")
        path = put(tmp_path, "x.parquet", b"PAR1 not at all PAR1" * 9)
        refused("not a Parquet file", read_labelled, path)
        monkeypatch.setitem(sys.modules, "polars", None)
        with pytest.raises(MissingExtra, match=r"polars: pip install 'throughtime\[data\]'"):
            read_labelled(path)


class TestParts:
    def test_by_words_in_names(self, tmp_path):
        put(tmp_path, "Vowels_TRAIN.ts.gz", TS)
        put(tmp_path, "Vowels_TEST.ts.gz", TS.replace("3:b", "3,4:a"))
        put(tmp_path, "Vowels_TRAIN.arff", "another form of it")
        put(tmp_path, "README.txt", "no part")
        parts = read_labelled_parts(str(tmp_path))
        assert list(parts) == ["training", "test"]
        assert parts["training"].labels == ["a", "b"]
        assert parts["test"].labels == ["a", "a"]
        put(tmp_path, "Vowels_dev.ts", TS)
        assert list(read_labelled_parts(tmp_path)) == ["training", "validation", "test"]

    def test_options_count_for_all(self, tmp_path):
        for part in ("train", "test"):
            put(tmp_path, f"{part}.csv", f"a,b,c\nx,{part},1\n")
        parts = read_labelled_parts(tmp_path, text="b", label="c")
        assert {part: some.values for part, some in parts.items()} == {
            "training": ["train"],
            "test": ["test"],
        }
        assert read_labelled_parts(tmp_path, text="a", labelled=False)["test"].labels is None

    @pytest.mark.parametrize("turn", [False, True])
    def test_one_form_of_labels(self, tmp_path, turn):
        change, same = "id,x,label\na,1,u\na,2,v\n", "id,x,label\na,1,u\na,2,u\n"
        put(tmp_path, "train.csv", same if turn else change)
        put(tmp_path, "test.csv", change if turn else same)
        parts = read_labelled_parts(tmp_path)
        known = Labels(("u", "v"), "steps")
        for part, first in (("training", not turn), ("test", turn)):
            found = known.encode(parts[part].labels or [])
            assert found[0].tolist() == ([0, 1] if first else [0, 0])
        refused("labels 'steps'", read_labelled_parts, tmp_path, labels="one")

    @pytest.mark.parametrize(
        ("files", "message"),
        [
            ({"train.csv": ""}, "has for test: none; expected one file with the word test in"),
            ({"test.csv": ""}, "has for training: none; .* the word train or training"),
            ({"train.csv": "", "test.csv": "", "x_train.tsv": ""},
             "has for training: train.csv, x_train.tsv; expected one"),
            ({"train.csv": "", "test.csv": "", "val.csv": "", "dev.csv": ""},
             "has for validation: dev.csv, val.csv; expected one"),
            ({"train_test.csv": ""}, "train_test.csv is for training and test by its name"),
            ({"train.csv": "text,label\nx,a\n", "test.csv": "p,q,label\n1,2,a\n"},
             "train.csv has texts, test.csv has series; expected the same"),
            ({"train.csv": "id,x,y,label\n1,2,3,a\n1,3,4,a\n",
              "test.csv": "id,x,label\n1,2,a\n1,3,a\n"},
             "train.csv has features x, y, test.csv has features x; expected the same"),
        ],
    )  # fmt: skip
    def test_refuses(self, tmp_path, files, message):
        for name, content in files.items():
            put(tmp_path, name, content)
        refused(message, read_labelled_parts, tmp_path)
        refused("there is no folder", read_labelled_parts, tmp_path / "no")


class TestIsLabelled:
    @pytest.mark.parametrize(
        ("name", "content"),
        [
            *FILES.items(),
            ("x.ts", TS),
            ("x.csv", "\n\nSentiment;Review\n1;a\n"),
            ("x.csv", '"text","target"\n1,a\n'),
            ("x.jsonl", json.dumps({"values": [0.123456789] * 50_000, "class": 1})),
            ("x.jsonl", '\n{"tokens": [], "tags": []}'),
        ],
    )
    def test_surely(self, tmp_path, name, content):
        assert is_labelled(put(tmp_path, name, content))
        assert is_labelled(str(put(tmp_path, name + ".gz", content)))

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("x.csv", "date,OT\n2026-01-01,3\n"),
            ("x.csv", "ds,y\n2026-01-01,3\n"),
            ("x.csv", "id,x,label\na,1,u\n"),  # series, or a table to forecast
            ("x.tsv", "source\ttarget\na\tb\n"),
            ("x.tsv", "text\tsource\ttarget\na\tb\n"),
            ("x.jsonl", '{"source": "a", "target": "b"}'),
            ("x.jsonl", '{"text": "a"}'),
            ("x.jsonl", '[{"text": "a", "label": "b"}]'),
            ("x.jsonl", "{"),
            ("x.jsonl", "[" * 100_000),
            ("x.txt", "A text, a label and a sentence.\n"),
            ("x.txt", "text,label\n"),
            ("x.md", "text\tlabel\n"),
            ("x.csv", ""),
            ("x.csv", "\n" * 9),
            ("x.csv", b"\xff\xfe\x00\x00"),
            ("x.parquet", "text,label\n"),
        ],
    )
    def test_not_surely(self, tmp_path, name, content):
        assert not is_labelled(put(tmp_path, name, content))

    def test_damage(self, tmp_path):
        path = put(tmp_path, "x.csv.gz", FILES["x.csv"])
        whole = gzip.compress(b"text,label\n" + bytes(range(256)) * 99)
        for data in (b"text,label\n", whole[:20], b""):
            path.write_bytes(data)
            assert not is_labelled(path)
        for name in ("no.csv", "no.ts", "\0.csv", "", "x" * 5000 + ".csv"):
            assert not is_labelled(tmp_path / name if name else name)

    def test_folders(self, tmp_path):
        assert not is_labelled(tmp_path)
        put(tmp_path, "train.csv", FILES["x.csv"])
        assert not is_labelled(tmp_path)
        put(tmp_path, "test.csv", FILES["x.csv"])
        assert is_labelled(tmp_path)
        put(tmp_path, "valid.csv", "a,b\n1,2\n")
        assert not is_labelled(tmp_path)

    def test_only_the_beginning_is_read(self, tmp_path):
        content = b"text\tlabel\n" + b"x\ty\n" * 100_000
        path = tmp_path / "x.tsv.gz"
        path.write_bytes(gzip.compress(content)[:-9])  # the end is missing
        assert is_labelled(path)
