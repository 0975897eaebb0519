"""A folder with a file for each part."""

import gzip

import pytest

from throughtime.data.corpus import TextParts, read_parts
from throughtime.errors import InputError


def test_names_say_which_part_a_file_is(tmp_path):
    for name in ("ptb.train.txt", "Val-1.md", "the_test.text", "readme.txt", "contest.txt"):
        (tmp_path / name).write_text(name)
    parts = read_parts(tmp_path)
    assert parts == TextParts("ptb.train.txt", "Val-1.md", "the_test.text")


def test_packed_and_in_another_encoding(tmp_path):
    for name in ("train", "dev", "test"):
        packed = gzip.compress(f"{name} 한글\r\n".encode("cp949"))
        (tmp_path / f"{name}.txt.gz").write_bytes(packed)
    assert read_parts(tmp_path, "cp949").validation == "dev 한글\n"


def test_a_part_without_a_file_or_with_two(tmp_path):
    (tmp_path / "train.txt").write_text("a")
    (tmp_path / "test.txt").write_text("a")
    with pytest.raises(InputError, match="for validation it has none"):
        read_parts(tmp_path)
    (tmp_path / "valid.txt").write_text("a")
    (tmp_path / "test.txt.gz").write_text("a")
    with pytest.raises(InputError, match=r"for test it has test\.txt, test\.txt\.gz"):
        read_parts(tmp_path)
