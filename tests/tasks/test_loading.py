"""What a name holds is told by its name, by what was said of it, and by a glance at its lines."""

import gzip
from typing import Any

import pytest

from throughtime.data.columns import Columns
from throughtime.data.corpus import TextParts
from throughtime.data.examples import ExampleParts, Examples
from throughtime.data.pairs import PairParts, PairTexts
from throughtime.data.table import SeriesTable
from throughtime.errors import InputError
from throughtime.tasks.data_config import DataConfig
from throughtime.tasks.loading import load_source

PAIRS = "ein Hund\ta dog\neine Katze\ta cat\n"
SERIES = "date\ty\n" + "".join(f"2020-01-{day:02d}\t{day % 3}\n" for day in range(1, 31))


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        path = tmp_path / name
        data = text.encode()
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
        return path

    return write


def load(path, **told) -> Any:
    return load_source(DataConfig(str(path), **told))


@pytest.mark.parametrize("name", ["a.tsv", "a.tsv.gz", "A.TSV"])
def test_a_tsv_of_two_texts_is_pairs(write, name):
    found = load(write(name, PAIRS))
    assert isinstance(found, PairTexts)
    assert found.targets == ["a dog", "a cat"]


@pytest.mark.parametrize(
    "text",
    [
        SERIES,
        "y\tz\n" + "1\t2\n" * 30,
        "a\tb\n" + "".join(f"{at}\t{at % 4}\n" for at in range(30)),
    ],
)
def test_a_tsv_of_numbers_is_a_table(write, text):
    assert isinstance(load(write("a.tsv", text)), SeriesTable)


@pytest.mark.parametrize(
    "text",
    [
        "date\tweather\n2020-01-01\train\n",  # dates
        "a b\tc\nno tab\nd\te\n",
        "a\tb\tc\nd\te\tf\n",
        "four two\t42\n",
    ],
)
def test_what_may_be_a_table_is_not_taken_for_pairs(write, text):
    with pytest.raises(InputError):
        load(write("a.tsv", text))


def test_a_number_or_a_gap_among_texts_is_still_a_pair(write):
    found = load(write("a.tsv", "MCM\tmany\nMCMLXXXIV\t1984\nx\t\nII\ttwo\n"))
    assert found == PairTexts(["MCM", "MCMLXXXIV", "x", "II"], ["many", "1984", "", "two"])


def test_what_is_said_goes_before_what_it_looks_like(write):
    assert load(write("a.tsv", "four two\t42\nsix\t6\n"), task="translate").targets == ["42", "6"]
    assert load(write("b.tsv", "de\ten\tx\na\tb\tc\n"), direction="en-de").targets == ["a"]
    with pytest.raises(InputError, match=r"a\.tsv"):
        load(write("a.tsv", PAIRS), task="forecast")


def test_two_names_are_pairs(write):
    first, second = write("a.de", "ein Hund\neine Katze\n"), write("a.en", "a dog\na cat\n")
    found = load(f"{first},{second}")
    assert isinstance(found, PairTexts)
    assert found.sources[1] == "eine Katze"
    with pytest.raises(InputError, match=r"split is for a single file"):
        load(f"{first},{second}", validation="x", test="y", split="0.8,0.1,0.1")
    parts = load(*[f"{first},{second}"], validation=f"{first},{second}", test=f"{first},{second}")
    assert isinstance(parts, PairParts)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv.gz"])
def test_what_pairs_and_examples_have_alike_makes_no_pairs(write, name):
    mark = "," if name.endswith(".csv") else "\t"
    films = write(name, f"text{mark}label\n" + f"good{mark}yes\nbad{mark}no\n" * 20)
    assert isinstance(load(films, longest=3), Examples)
    found = load(films, test=str(films))
    assert isinstance(found, ExampleParts)
    assert [len(part) for part in found] == [36, 4, 40]
    found = load(films, validation=str(films), test=str(films))
    assert [len(part) for part in found] == [40, 40, 40]
    pairs = write("b.tsv", PAIRS)
    assert isinstance(load(pairs, longest=3), PairTexts)
    assert isinstance(load(pairs, validation=str(pairs), test=str(pairs)), PairParts)
    for part, other in (("test", "validation"), ("validation", "test")):
        with pytest.raises(InputError, match=f"{other} is not given, expected it beside {part}"):
            load(pairs, **{part: str(pairs)})


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"label": "kind"}, "digits is labelled images, and label is for texts and series"),
        ({"labels": "several"}, "and labels several is for texts and series"),
        ({"columns": Columns(id="n")}, "and id is for texts and series"),
        ({"longest": 9}, "digits is labelled images, and longest is for texts"),
        ({"test": "x.csv"}, "digits is built in, and test is for files"),
        ({"validation": "v.csv", "test": "x.csv"}, "built in, and validation is for files"),
    ],
)
def test_what_images_have_not_is_refused(told, said):
    with pytest.raises(InputError, match=said):
        load("digits", **told)
    assert isinstance(load("digits", labels="one"), Examples)


def test_only_texts_are_cut(write):
    series = write("a.jsonl", '{"values": [1, 2], "label": "a"}\n' * 3)
    with pytest.raises(InputError, match="is labelled series, and longest is for texts"):
        load(series, longest=1)


def test_a_file_that_is_no_table_is_not_read_as_one(write):
    junk = write("a.npz", "junk")
    with pytest.raises(InputError, match=r"read_images: .*a\.npz"):
        load(junk, task="classify")


def test_a_folder_of_pairs_and_one_of_texts(tmp_path):
    pairs, texts = tmp_path / "pairs", tmp_path / "texts"
    for folder in (pairs, texts):
        folder.mkdir()
    for part in ("train", "valid", "test"):
        (pairs / f"{part}.src").write_text("a b\nc\n")
        (pairs / f"{part}.tgt").write_text("d\ne f\n")
        (texts / f"{part}.txt").write_text("a b c\n")
    assert isinstance(load(pairs), PairParts)
    assert isinstance(load(texts), TextParts)
    with pytest.raises(InputError, match=r"read_pair_parts: .* has for training: "):
        load(texts, joint=True)


def test_built_in_pairs():
    assert isinstance(load("copy"), PairTexts)
    with pytest.raises(InputError, match="copy is pairs, it cannot be used for --task language"):
        load("copy", task="language")
    with pytest.raises(InputError, match="copy is pairs, and targets is for series"):
        load("copy", columns=Columns(targets=("y",)))
    with pytest.raises(InputError, match="words is text, and measure is for pairs"):
        load("words", measure="bleu")
    with pytest.raises(InputError, match="words is text, and tokens words,words is for pairs"):
        load("words", tokens="words,words")


def test_a_name_that_does_not_say_what_it_is(write):
    path = write("a.de", "ein Hund\n")
    with pytest.raises(InputError, match=r"or name both files of pairs: train\.de,train\.en"):
        load(path)
    assert load(path, task="language") == "ein Hund\n"
