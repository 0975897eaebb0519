import gzip
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from throughtime.data.pairs import (
    PairParts,
    PairTexts,
    group_pairs,
    read_pair_parts,
    read_pairs,
    split_pairs,
)
from throughtime.errors import InputError

PAIRS = PairTexts(["ein Hund", "zwölf Boxkämpfer"], ["a dog", 'twelve "boxers"'])


@pytest.fixture
def put(tmp_path):
    """Write a file, packed where its name says so, and give its path."""

    def put(name, content):
        data = content if isinstance(content, bytes) else content.encode()
        path = tmp_path / name
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return str(path)

    return put


def lines(texts):
    return "".join(f"{text}\n" for text in texts)


def refused(message, path, **options):
    with pytest.raises(InputError, match=message) as caught:
        read_pairs(path, **options)
    assert "\n" not in str(caught.value)


class TestTwoFiles:
    @pytest.mark.parametrize("packed", ["", ".gz"])
    def test_line_by_line(self, put, packed):
        paths = (put(f"a.de{packed}", lines(PAIRS.sources)), put("a.en", lines(PAIRS.targets)))
        assert read_pairs(",".join(paths)) == PAIRS
        assert read_pairs(", ".join(paths)) == PAIRS
        swapped = read_pairs(",".join(reversed(paths)))
        assert swapped == PairTexts(PAIRS.targets, PAIRS.sources)
        # A direction decides, whichever comes first.
        for two in (paths, paths[::-1]):
            assert read_pairs(",".join(two), direction="de-en") == PAIRS

    def test_marks_and_line_ends(self, put):
        first = put("a", b"\xef\xbb\xbfx \r\n\r\n y\r\n")
        second = put("b", "1\u20281\n\n3\x0b3")
        expected = PairTexts(["x", "", "y"], ["1\u20281", "", "3\x0b3"])
        assert read_pairs(f"{first},{second}") == expected

    def test_another_encoding(self, put):
        first, second = put("a", "zwölf".encode("latin-1")), put("b", b"twelve")
        refused("is not utf-8, at byte 2 stands 0xF6", f"{first},{second}")
        assert read_pairs(f"{first},{second}", encoding="cp1252").sources == ["zwölf"]

    def test_other_numbers_of_lines(self, put):
        # One language takes ten times the letters of the other, and that is no slip.
        sources = [f"{'wort ' * 10 * (1 + at * 7 % 11)}" for at in range(100)]
        targets = [f"{'word ' * (1 + at * 7 % 11)}" for at in range(100) if at != 41]
        first, second = put("a.de", lines(sources)), put("a.en", lines(targets))
        said = r"a.de has 100 lines and .*a.en 99, expected as many; their lengths part at about "
        refused(said + "line 42$", f"{first},{second}")
        refused("a.en has 99 lines .* line 42$", f"{second},{first}")
        short = put("b.en", lines(targets[:3]))
        refused("100 lines and .* 3, .* at about line 4$", f"{first},{short}")

    def test_refuses(self, put, tmp_path):
        first, second, empty = put("a.de", "x\n"), put("a.en", "y\n"), put("b.en", " \n")
        refused(f"there is no file {tmp_path}/c.en", f"{first},{tmp_path}/c.en")
        refused("b.en is empty", f"{first},{empty}")
        refused("a.de was given twice", f"{first},{first}")
        refused("a.de was given twice", f"{first},{tmp_path}/./a.de")
        refused("expected two text files such as train.de,train.en", first)
        refused("expected two text files", f"{first},{second},{second}")
        refused("expected two text files", f"{first},{put('a.tsv', 'x')}")
        refused("direction is de-fr, .* a.de and a.en; expected them to end in .de and .fr",
                f"{first},{second}", direction="de-fr")  # fmt: skip

    @pytest.mark.parametrize("direction", ["", "de", "de-", "-en", "de-en-fr", "de - en"])
    def test_refuses_a_direction_of_another_form(self, put, direction):
        refused(f"direction is '{direction}', expected two names", put("a.tsv", "x\ty"),
                direction=direction)  # fmt: skip
        refused("two different names", put("a.tsv", "x\ty"), direction="de-de")


class TestTabs:
    def test_nothing_is_a_quotation(self, put):
        assert read_pairs(put("a.tsv", '"x\ty"\r\n a b \t\n\n"",\t\'\n')) == PairTexts(
            ['"x', "a b", '"",'], ['y"', "", "'"]
        )
        assert read_pairs(put("a.TSV.gz", "x\ty")) == PairTexts(["x"], ["y"])

    def test_columns_are_picked_by_name(self, put):
        path = put("a.tsv", "id\ten\tde\n1\ta dog\tein Hund\n2\ttwo\tzwei\n")
        assert read_pairs(path, direction="de-en") == PairTexts(
            ["ein Hund", "zwei"], ["a dog", "two"]
        )
        assert read_pairs(path, direction="en-id").targets == ["1", "2"]
        named = put("b.tsv", "target\tsource\ny\tx\n")
        assert read_pairs(named) == PairTexts(["x"], ["y"])

    def test_refuses(self, put):
        refused("line 2 of .*a.tsv has no tab, .* it is only this", put("a.tsv", "x\ty\nonly this"))
        refused("line 1 .* has 3 columns, expected 2; a direction picks", put("a.tsv", "x\ty\tz\n"))
        named = put("a.tsv", "id\tde\ten\n1\tx\ty\n2\tx\n")
        refused("line 3 of .* has 2 columns, expected 3$", named, direction="de-en")
        refused("direction is de-fr, expected these names .* it holds id, de, en", named,
                direction="de-fr")  # fmt: skip
        refused("has no pairs", put("a.tsv", "source\ttarget\n\n"))
        refused("is empty", put("a.tsv", ""))
        refused("no file", "nothing.tsv")
        long = put("a.tsv", "x" * 1000)
        refused(r"it is x{57}\.\.\.$", long)


class TestObjects:
    def test_sides_by_name(self, put):
        rows = [{"source": "x\n\nx ", "target": "y", "id": 1}, {"target": "", "source": 'z"'}]
        path = put("a.jsonl.gz", "\n\n".join(map(json.dumps, rows)))
        assert read_pairs(path) == PairTexts(["x x", 'z"'], ["y", ""])

    def test_sides_by_direction(self, put):
        flat = put("a.jsonl", '{"de": "x", "en": "y", "source": "web"}')
        nested = put("b.jsonl", '{"id": "0", "translation": {"de": "x", "en": "y"}}')
        for path in (flat, nested):
            assert read_pairs(path, direction="de-en") == PairTexts(["x"], ["y"])
            assert read_pairs(path, direction="en-de") == PairTexts(["y"], ["x"])
        both = put("c.jsonl", '{"de": "x", "translation": {"de": "inner", "en": "y"}}')
        assert read_pairs(both, direction="de-en") == PairTexts(["x"], ["y"])

    def test_refuses(self, put):
        good = '{"source": "x", "target": "y"}\n'
        refused(r"line 2 of .*a.jsonl is not JSON \(.*\): \{x", put("a.jsonl", good + "{x\n"))
        refused(r"line 1 of .* is \[\], expected an object", put("a.jsonl", "[]"))
        refused("line 2 .* no 'target', .* there are source, url",
                put("a.jsonl", good + '{"source": "x", "url": "y"}'))  # fmt: skip
        refused("no 'source', .* such as de-en; there are de, en$",
                put("a.jsonl", '{"translation": {"de": "x", "en": "y"}}'))  # fmt: skip
        refused("there are none", put("a.jsonl", "{}"))
        refused("line 1 .* has None as target, expected text",
                put("a.jsonl", '{"source": "x", "target": null}'))  # fmt: skip
        refused("no 'fr'", put("a.jsonl", good), direction="fr-source")


class TestParts:
    def expected(self, names="abc"):
        return PairParts(*(PairTexts([name], [name.upper()]) for name in names))

    @pytest.mark.parametrize(
        "names", [("train", "valid", "test"), ("kor_train", "kor_dev", "kor_test")]
    )
    @pytest.mark.parametrize("ending", [".tsv", ".tsv.gz", ".jsonl"])
    def test_one_file_each(self, put, tmp_path, names, ending):
        for name, (sources, targets) in zip(names, self.expected(), strict=True):
            row = f"{sources[0]}\t{targets[0]}\n"
            if ending == ".jsonl":
                row = json.dumps({"source": sources[0], "target": targets[0]})
            put(name + ending, row)
        put("README.md", "of training and test")
        put("test.md", "how it was measured")
        assert read_pair_parts(tmp_path) == self.expected()

    @pytest.mark.parametrize(
        ("template", "names"),
        [
            ("{}.{}", ("train", "dev", "test")),
            ("{}.lc.norm.tok.{}.gz", ("train", "val", "test_2016_flickr")),
            ("{}.{}.txt", ("training", "validation", "test")),
        ],
    )
    def test_two_files_each(self, put, tmp_path, template, names):
        for name, (sources, targets) in zip(names, self.expected(), strict=True):
            put(template.format(name, "en"), lines(targets))
            put(template.format(name, "de"), lines(sources))
            put(template.format(name, "fr"), "other\n")
        assert read_pair_parts(tmp_path, direction="de-en") == self.expected()
        flipped = read_pair_parts(tmp_path, direction="en-de")
        assert flipped.test == PairTexts(["C"], ["c"])
        with pytest.raises(InputError, match=r"direction is None, .* its files end in de, en, fr$"):
            read_pair_parts(tmp_path)
        with pytest.raises(InputError, match=r"has for training: train.*; .* in \.de and \.it"):
            read_pair_parts(tmp_path, direction="de-it")

    def test_some_endings_tell(self, put, tmp_path):
        for name, (sources, targets) in zip(("train", "dev", "test"), self.expected(), strict=True):
            put(f"{name}.tgt", lines(targets))
            put(f"{name}.src", lines(sources))
        assert read_pair_parts(tmp_path) == self.expected()

    def test_columns_of_all_parts(self, put, tmp_path):
        for name, (sources, targets) in zip(("train", "dev", "test"), self.expected(), strict=True):
            put(f"{name}.tsv", f"en\tid\tde\n{targets[0]}\t1\t{sources[0]}\n")
        assert read_pair_parts(tmp_path, direction="de-en") == self.expected()

    def test_refuses(self, put, tmp_path):
        def refuses(message, **options):
            with pytest.raises(InputError, match=message) as caught:
                read_pair_parts(tmp_path, **options)
            assert "\n" not in str(caught.value)

        refuses("has for training: none; expected for each of training, validation and test train.")
        put("train.tsv", "x\ty\n")
        put("valid.tsv", "x\ty\n")
        refuses("has for test: none")
        put("test.tsv", "x\ty\n")
        put("test2.tsv", "x\ty\n")
        assert read_pair_parts(tmp_path).test.sources == ["x"]  # test2 is no word of a part
        put("test_b.jsonl", '{"source": "x", "target": "y"}')
        refuses("has for test: test.tsv, test_b.jsonl; expected")
        put("train.de", "x\n")
        put("train.en", "x\n")
        refuses("has for training: train.tsv, train.de, train.en", direction="de-en")
        with pytest.raises(InputError, match="there is no folder nowhere"):
            read_pair_parts("nowhere")
        refuses("direction is 'de'", direction="de")

    def test_refuses_several_of_one_side(self, put, tmp_path):
        for name in ("train", "dev", "test_2016", "test_2017"):
            put(f"{name}.de", "x\n")
            put(f"{name}.en", "y\n")
        said = "has for test: test_2016.de, test_2016.en, test_2017.de, test_2017.en; "
        with pytest.raises(InputError, match=re.escape(said)):
            read_pair_parts(tmp_path, direction="de-en")


class TestSplit:
    @settings(deadline=None)
    @given(st.lists(st.tuples(st.text("abc", max_size=4), st.text("xy", max_size=2)), max_size=60),
           st.integers(0, 5))  # fmt: skip
    def test_each_source_falls_into_one_part(self, pairs, seed):
        pairs += [(f"{at}", "") for at in range(10)]  # enough for three parts
        texts = PairTexts([each[0] for each in pairs], [each[1] for each in pairs])
        parts = split_pairs(texts, (0.6, 0.2, 0.2), seed)
        found = [set(part.sources) for part in parts]
        assert all(found)
        assert sum(map(len, found)) == len(set(texts.sources))
        for part, sources in zip(parts, found, strict=True):
            # In the order of the file, each pair that belongs here.
            kept = [pair for pair in pairs if pair[0] in sources]
            assert list(zip(*part, strict=True)) == kept

    def test_depends_on_the_seed_and_not_on_the_order(self):
        words = [f"{at:03}" for at in range(200)]
        texts = PairTexts(words, words)
        parts = split_pairs(texts)
        assert [len(part.sources) for part in parts] == [160, 20, 20]
        assert parts == split_pairs(texts)
        assert parts != split_pairs(texts, seed=1)
        backwards = split_pairs(PairTexts(words[::-1], words[::-1]))
        assert backwards.test.sources == parts.test.sources[::-1]
        # The test is drawn from all over the dictionary.
        assert min(parts.test.sources) < "040"
        assert max(parts.test.sources) > "160"

    def test_refuses(self):
        texts = PairTexts(list("aaab"), list("wxyz"))
        with pytest.raises(InputError, match="one would be empty"):
            split_pairs(texts)
        with pytest.raises(InputError, match="expected three"):
            split_pairs(texts, (0.5, 0.5))
        with pytest.raises(InputError, match="sum to 1"):
            split_pairs(texts, (0.5, 0.5, 0.5))


def test_groups_keep_order_and_every_target_once():
    texts = PairTexts(["b", "a", "b", "b", "a"], ["1", "2", "3", "1", "2"])
    assert group_pairs(texts) == (["b", "a"], [("1", "3"), ("2",)])
    assert group_pairs(PairTexts([], [])) == ([], [])
