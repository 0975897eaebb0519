import builtins

import numpy as np
import pytest

from throughtime.data import convert
from throughtime.data.convert import to_npy
from throughtime.errors import InputError, MissingExtra

pl = pytest.importorskip("polars")


@pytest.fixture(params=["csv", "parquet"])
def table(request, tmp_path):
    """A table with numbers, a missing one, words and truth values."""
    frame = pl.DataFrame(
        {
            "n": [1, 2, 3],
            "x": [0.5, None, -1e10],
            "w": ["a, b", 'c "d"\ne', "f"],
            "yes": [1, 0, 1],
        }
    )
    path = tmp_path / f"table.{request.param}"
    frame.write_csv(path) if request.param == "csv" else frame.write_parquet(path)
    return path


def test_one_column_is_flat_and_several_are_not(table, tmp_path):
    source = to_npy(table, "n", tmp_path / "n.npy", dtype="int64")
    assert source.read(0, 3).tolist() == [1, 2, 3]
    assert np.load(tmp_path / "n.npy").dtype == np.int64
    source = to_npy(table, ["n"], tmp_path / "n1.npy")
    assert source.shape == (3, 1)
    source = to_npy(table, ["x", "yes", "n"], tmp_path / "xyn.npy")
    expected = np.array([[0.5, 1, 1], [np.nan, 0, 2], [-1e10, 1, 3]], dtype=np.float32)
    np.testing.assert_array_equal(source.read(0, 3), expected)
    np.testing.assert_array_equal(np.load(tmp_path / "xyn.npy"), expected)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_blocks_join_seamlessly(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(convert, "BLOCK_BYTES", 50)
    monkeypatch.setattr(convert, "BLOCK_ROWS", 7)
    values = np.random.default_rng(0).normal(size=500)
    words = ["plain", 'with\nline "and" quote', "comma, inside", "\n\n\n"] * 125
    frame = pl.DataFrame({"a": words, "x": values, "i": range(500)})
    path = tmp_path / f"table.{kind}"
    frame.write_csv(path) if kind == "csv" else frame.write_parquet(path)
    source = to_npy(path, ["i", "x"], tmp_path / "x.npy", dtype="float64")
    np.testing.assert_array_equal(source.read(0, 500), np.stack([np.arange(500), values], axis=1))


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_any_end_of_file(tmp_path, end):
    path = tmp_path / "t.csv"
    path.write_bytes(("a;b\r\n1;2\r\n3;NA" + end).encode())
    source = to_npy(path, ["b", "a"], tmp_path / "t.npy", separator=";")
    np.testing.assert_array_equal(source.read(0, 2), [[2, 1], [np.nan, 3]])


def test_missing_words_may_be_named(tmp_path):
    (tmp_path / "t.csv").write_text("a\n1\n-9999\n")
    source = to_npy(tmp_path / "t.csv", "a", tmp_path / "t.npy", missing=["-9999"])
    np.testing.assert_array_equal(source.read(0, 2), [1, np.nan])


def test_refuses_a_missing_column(table, tmp_path):
    with pytest.raises(InputError, match="has no column 'y'; it has n, x, w, yes"):
        to_npy(table, ["x", "y"], tmp_path / "o.npy")
    assert not list(tmp_path.glob("*.npy"))


def test_refuses_words(table, tmp_path):
    with pytest.raises(InputError, match=r"column 'w' of .* expected (a )?number"):
        to_npy(table, ["x", "w"], tmp_path / "o.npy")


def test_refuses_missing_values_in_whole_numbers(tmp_path):
    (tmp_path / "t.csv").write_text("a\n1\nNA\n")
    with pytest.raises(InputError, match="1 missing values within rows 1 to 2"):
        to_npy(tmp_path / "t.csv", "a", tmp_path / "o.npy", dtype="int64")


def test_names_the_row_of_the_first_word(tmp_path, monkeypatch):
    monkeypatch.setattr(convert, "BLOCK_BYTES", 1000)
    lines = ["a,b", *(f"{i},{i}.5" for i in range(2000))]
    lines[1235] = "1234,oops"  # line 0 is the header
    (tmp_path / "t.csv").write_text("\n".join(lines))
    with pytest.raises(
        InputError, match=r"column 'b' .* has 'oops' in row 1,235, expected a number"
    ):
        to_npy(tmp_path / "t.csv", ["a", "b"], tmp_path / "o.npy")
    with pytest.raises(InputError, match=r"has '0.5' in row 1, expected a whole number"):
        to_npy(tmp_path / "t.csv", "b", tmp_path / "o.npy", dtype="int64")
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]  # nothing half done


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("a,b\n", "has no rows"),
        ("a,b\n1,2\n1,2,3\n", "is not readable as CSV after row 0"),
        ('a,b\n1,"2\n' + "1,2\n" * 9000, "a quote that is not closed"),
    ],
)
def test_refuses_broken_csv(tmp_path, monkeypatch, content, message):
    monkeypatch.setattr(convert, "BLOCK_BYTES", 1000)
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        to_npy(tmp_path / "t.csv", "a", tmp_path / "o.npy")


def test_refuses_broken_parquet(tmp_path):
    (tmp_path / "t.parquet").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="is not a Parquet file"):
        to_npy(tmp_path / "t.parquet", "a", tmp_path / "o.npy")


@pytest.mark.parametrize(
    ("columns", "into", "options", "message"),
    [
        ([], "o.npy", {}, "expected at least one, each once"),
        (["n", "n"], "o.npy", {}, "expected at least one, each once"),
        ("n", "o.bin", {}, "should end in .npy"),
        ("n", "o.npy", {"dtype": "float16"}, "dtype is 'float16'"),
    ],
)
def test_refuses_arguments(table, tmp_path, columns, into, options, message):
    with pytest.raises(InputError, match=message):
        to_npy(table, columns, tmp_path / into, **options)


def test_refuses_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        to_npy(tmp_path / "none.csv", "a", tmp_path / "o.npy")


def test_says_what_to_install(table, tmp_path, monkeypatch):
    real = builtins.__import__

    def without_polars(name, *rest):
        if name == "polars":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_polars)
    with pytest.raises(MissingExtra, match=r"polars: pip install 'throughtime\[data\]'"):
        to_npy(table, "n", tmp_path / "o.npy")
