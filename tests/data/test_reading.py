import gzip

import pytest

from throughtime.data.reading import read_lines, read_text
from throughtime.errors import InputError


class TestReadText:
    def test_reads(self, tmp_path):
        path = tmp_path / "a.txt"
        path.write_bytes("\ufeffzwölf\r\nBoxkämpfer\rjagen".encode())
        assert read_text(path) == "zwölf\nBoxkämpfer\njagen"
        path.write_bytes("zwölf".encode("utf-16"))
        assert read_text(path, "utf-16") == "zwölf"

    def test_reads_packed(self, tmp_path):
        path = tmp_path / "a.txt.gz"
        path.write_bytes(gzip.compress("zwölf\n".encode()))
        assert read_text(path) == "zwölf\n"
        path.write_bytes(gzip.compress(b"a" * 1000)[:-5])
        with pytest.raises(InputError, match="not whole gzip"):
            read_text(path)
        path.write_bytes(b"never packed")
        with pytest.raises(InputError, match="not whole gzip"):
            read_text(path)

    def test_refuses_another_encoding(self, tmp_path):
        path = tmp_path / "a.txt"
        path.write_bytes("zwölf".encode("latin-1"))
        with pytest.raises(
            InputError, match=r"is not utf-8, at byte 2 stands 0xF6; .* --encoding cp1252"
        ):
            read_text(path)
        assert read_text(path, "cp1252") == "zwölf"
        path.write_bytes("zwölf".encode("utf-16"))
        with pytest.raises(InputError, match="--encoding utf-16"):
            read_text(path)
        with pytest.raises(InputError, match="encoding is 'klingon'"):
            read_text(path, "klingon")

    @pytest.mark.parametrize("content", ["", " \n\n"])
    def test_refuses_an_empty_file(self, tmp_path, content):
        (tmp_path / "a.txt").write_text(content)
        with pytest.raises(InputError, match="is empty"):
            read_text(tmp_path / "a.txt")

    def test_refuses_a_missing_file(self, tmp_path):
        for path in (tmp_path / "none.txt", tmp_path):
            with pytest.raises(InputError, match="there is no file"):
                read_text(path)


class TestReadLines:
    @pytest.mark.parametrize(
        ("content", "lines"),
        [
            (b"a\nb", ["a", "b"]),
            (b"\xef\xbb\xbfa\r\n\r\nb\r\n", ["a", "", "b"]),
            (b"a\n\n", ["a", ""]),
            (b"a\rb\n", ["a\rb"]),
            (b"a\rb\r", ["a", "b"]),
            ("a\u2028b\x0bc\x85d\n".encode(), ["a\u2028b\x0bc\x85d"]),
        ],
    )
    def test_only_line_ends_end_lines(self, tmp_path, content, lines):
        (tmp_path / "a.txt").write_bytes(content)
        assert read_lines("me", tmp_path / "a.txt") == lines

    def test_says_who_asked(self, tmp_path):
        with pytest.raises(InputError, match="me: there is no file"):
            read_lines("me", tmp_path / "a.txt")
