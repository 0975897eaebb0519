import gzip
import io
import re
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from throughtime.data.image_files import (
    channels_second,
    label_names,
    npz_forms,
    read_file,
    read_files,
    read_idx,
    read_npz,
    read_size,
    resize,
    to_bytes,
)
from throughtime.errors import InputError, MissingExtra

GREYS = np.arange(35, dtype=np.uint8).reshape(5, 7) * 7
COLOURS = np.stack([GREYS, 255 - GREYS, GREYS[::-1]], axis=2)


@pytest.fixture
def put(tmp_path):
    """Write bytes, an array or an image of Pillow, and give the path."""

    def put(name, content, **options):
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        else:
            image = Image.fromarray(content) if isinstance(content, np.ndarray) else content
            image.save(path, **options)
        return path

    return put


def refused(message, function, *arguments):
    with pytest.raises(InputError, match=message) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)


def outcome(path):
    """The image, or what is said instead of it."""
    try:
        return read_file(path, (8, 8))
    except InputError as error:
        return str(error)


def idx(array, kind=8):
    head = bytes([0, 0, kind, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return head + array.astype(np.uint8).tobytes()


class TestSize:
    def test_one_number_is_a_square(self):
        assert read_size(None) is None
        assert read_size(8) == (8, 8)
        assert read_size([3, 8192]) == (3, 8192)

    @pytest.mark.parametrize("size", [0, -1, 8193, (8,), (8, 8, 3), (8, 0), ()])
    def test_refuses(self, size):
        refused("image_size is .* expected a height and a width of 1 to 8,192", read_size, size)


class TestIdx:
    @pytest.mark.parametrize("name", ["a", "a.gz"])
    def test_shape_and_order(self, put, name):
        array = np.arange(2 * 3 * 5).reshape(2, 3, 5)
        found = read_idx(put(name, idx(array)), 3)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, array)
        assert read_idx(put(name, idx(np.array([7, 9]))), 1).tolist() == [7, 9]

    def test_sizes_above_a_byte(self, put):
        array = np.arange(300 * 260).reshape(1, 300, 260) % 251
        np.testing.assert_array_equal(read_idx(put("a", idx(array)), 3), array)

    def test_refuses(self, put, tmp_path):
        images, labels = idx(np.zeros((2, 3, 5))), idx(np.zeros(2))
        refused("there is no file", read_idx, tmp_path / "none", 3)
        refused("a starts with nothing, expected 00 00 08 03", read_idx, put("a", b""), 3)
        refused("starts with 00 00 08 01, expected 00 00 08 03: an idx .* 3 dimensions",
                read_idx, put("a", labels), 3)  # fmt: skip
        refused("starts with 00 00 08 03, expected 00 00 08 01", read_idx, put("a", images), 1)
        refused("starts with 00 00 0d 03", read_idx, put("a", idx(np.zeros((1, 1, 1)), 13)), 3)
        refused("starts with 1f 8b", read_idx, put("a", gzip.compress(images)), 3)
        refused("ends after 15 bytes", read_idx, put("a", images[:15]), 3)
        refused("ends after 2 bytes", read_idx, put("a", images[:2]), 3)
        refused(r"a has only 29 values, expected 30 for \[2, 3, 5\]",
                read_idx, put("a", images[:-1]), 3)  # fmt: skip
        refused("has more values, expected 30", read_idx, put("a", images + b"x"), 3)
        refused(r"shape \[0, 3, 5\], expected at least", read_idx,
                put("a", idx(np.zeros((0, 3, 5)))), 3)  # fmt: skip

    def test_damaged_packing(self, tmp_path):
        packed = gzip.compress(idx(np.random.default_rng(0).integers(0, 255, (9, 9, 9))))
        path = tmp_path / "b.gz"
        for data in (packed[:-9], packed[:40], b"\0\0\x08\3", packed[:60] + b"xxx" + packed[63:]):
            path.write_bytes(data)
            refused("b.gz is not whole gzip", read_idx, path, 3)

    @pytest.mark.parametrize("name", ["a", "a.gz"])
    def test_a_head_that_promises_more_than_any_memory(self, put, name):
        data = bytes([0, 0, 8, 3]) + b"\xff" * 12 + b"abc"
        refused("has only 3 values, expected 79,228,162,458,", read_idx, put(name, data), 3)


class TestNpz:
    def test_forms_are_read_alone(self, tmp_path):
        path = tmp_path / "a.npz"
        np.savez_compressed(path, x=np.zeros((2, 3), np.uint8), y=np.array(["a", "b"]))
        assert npz_forms(path) == {"x": ((2, 3), np.dtype("u1")), "y": ((2,), np.dtype("<U1"))}
        assert [each.shape for each in read_npz(path, ["y", "x"])] == [(2,), (2, 3)]

    def test_other_files_have_none(self, put, tmp_path):
        assert npz_forms(tmp_path / "none.npz") == {}
        assert npz_forms(tmp_path) == {}
        assert npz_forms(put("a.npz", b"")) == {}
        assert npz_forms(put("a.npz", b"PK\3\4 and no more")) == {}

    def test_refuses(self, put, tmp_path):
        path = tmp_path / "a.npz"
        np.savez(path, x=np.zeros(500), y=np.array([{}], dtype=object))
        refused("a.npz cannot be read at 'z' ", read_npz, path, ["x", "z"])
        refused("a.npz cannot be read at 'y' .*Object arrays", read_npz, path, ["x", "y"])
        data = path.read_bytes()
        refused("cannot be read at 'x'", read_npz, put("a.npz", data[:700]), ["x"])
        spoilt = data[:300] + b"spoilt" + data[306:]
        refused("cannot be read at 'x' .*CRC", read_npz, put("a.npz", spoilt), ["x"])


class TestBytes:
    def test_floats_are_scaled_and_rounded(self):
        for dtype in (np.float16, np.float32, np.float64):
            every = np.arange(256, dtype=np.uint8)
            floats = (every / np.float64(255)).astype(dtype)
            np.testing.assert_array_equal(to_bytes("x", floats), every)
        assert to_bytes("x", GREYS) is GREYS

    def test_refuses(self):
        refused("x is int64, expected uint8 from 0 to 255, or floats", to_bytes, "x", np.array([1]))
        refused("x is bool, expected", to_bytes, "x", np.array([True]))
        refused("x has floats from 0 to 1.1, expected", to_bytes, "x", np.array([0, 1.1]))
        refused("x has floats from -0.1 to 1, expected", to_bytes, "x", np.array([-0.1, 1]))
        for bad in (np.nan, np.inf):
            refused("x has floats from", to_bytes, "x", np.array([0, bad]))


class TestChannels:
    def test_every_order(self):
        assert channels_second("x", np.zeros((9, 5, 7))).shape == (9, 1, 5, 7)
        for count in (1, 2, 3, 4):
            last = np.random.default_rng(0).random((9, 5, 7, count))
            found = channels_second("x", last)
            np.testing.assert_array_equal(found, last.transpose(0, 3, 1, 2))
            np.testing.assert_array_equal(channels_second("x", found), found)
        # Both could be; the last counts.
        assert channels_second("x", np.zeros((9, 3, 7, 4))).shape == (9, 4, 3, 7)

    @pytest.mark.parametrize(
        "shape", [(9,), (9, 8), (9, 5, 7, 5), (9, 5, 5, 7), (9, 1, 5, 7, 1), (0, 5, 7), (9, 0, 7)]
    )
    def test_refuses(self, shape):
        refused(r"x has shape \[.* expected \[images, height, width\], with 1 to 4 channels",
                channels_second, "x", np.zeros(shape))  # fmt: skip


class TestLabels:
    @pytest.mark.parametrize(
        ("labels", "names"),
        [
            (np.array([3, -1], np.int16), ["3", "-1"]),
            (np.array([[3], [2]], np.uint8), ["3", "2"]),
            (np.array([3.0, 0.0]), ["3", "0"]),
            (np.array([True, False]), ["1", "0"]),
            (np.array(["Katze", "犬"]), ["Katze", "犬"]),
            (np.array([b"cat", "犬".encode()]), ["cat", "犬"]),
        ],
    )
    def test_as_text(self, labels, names):
        assert label_names("x", labels, 2) == names

    def test_refuses(self):
        refused(r"x are 3 images and their labels have shape \[2\]", label_names, "x",
                np.zeros(2), 3)  # fmt: skip
        refused(r"have shape \[2, 2\], expected one label for each", label_names, "x",
                np.zeros((2, 2)), 2)  # fmt: skip
        for bad in ([0.5, 1], [np.nan, 1], [np.inf, 1]):
            refused("are float64, expected whole numbers or text", label_names, "x",
                    np.array(bad), 2)  # fmt: skip


class TestResize:
    def test_same_size_is_left_alone(self):
        images = GREYS[None, None]
        assert resize(images, None) is images
        assert resize(images, (5, 7)) is images

    def test_each_channel_as_pillow_does(self):
        # Four channels are no transparency: Pillow would weigh the others with the last.
        images = np.random.default_rng(0).integers(0, 256, (3, 4, 10, 12)).astype(np.uint8)
        found = resize(images, (5, 8))
        assert found.shape == (3, 4, 5, 8)
        for image, small in zip(images.reshape(-1, 10, 12), found.reshape(-1, 5, 8), strict=True):
            expected = Image.fromarray(image).resize((8, 5), Image.Resampling.BILINEAR)
            np.testing.assert_array_equal(small, np.asarray(expected))

    def test_half_of_it_averages(self):
        image = np.zeros((1, 1, 8, 8), np.uint8)
        image[..., ::2] = 200  # every other column; taking one of two would give 0 or 200
        inside = resize(image, (4, 4))[0, 0, :, 1:-1]
        assert ((inside > 60) & (inside < 140)).all()


class TestPillow:
    @pytest.mark.parametrize("ending", ["png", "bmp", "tif", "pgm", "tiff", "gif"])
    def test_grey(self, put, ending):
        ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
        np.testing.assert_array_equal(read_file(put(f"a.{ending}", ramp)), ramp[None])

    @pytest.mark.parametrize("ending", ["png", "bmp", "tif", "ppm"])
    def test_colour(self, put, ending):
        found = read_file(put(f"a.{ending}", COLOURS))
        np.testing.assert_array_equal(found, COLOURS.transpose(2, 0, 1))

    @pytest.mark.parametrize("ending", ["jpg", "jpeg", "webp"])
    def test_lossy(self, put, ending):
        flat = np.full((16, 24, 3), (200, 100, 50), np.uint8)
        found = read_file(put(f"a.{ending}", flat))
        assert found.shape == (3, 16, 24)
        assert np.abs(found.astype(int) - flat.transpose(2, 0, 1)).max() <= 4

    def test_cmyk_is_colour(self, put):
        found = read_file(put("a.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0))))
        assert found.shape == (3, 8, 8)
        assert found[0].min() > 200
        assert found[1:].max() < 50

    def test_one_bit_is_grey(self, put):
        found = read_file(put("a.png", GREYS > 100))
        np.testing.assert_array_equal(found[0], (GREYS > 100) * 255)

    def test_a_palette_is_colour_whatever_it_shows(self, put):
        for array in (COLOURS, np.repeat(GREYS[..., None], 3, axis=2)):
            image = Image.fromarray(array).quantize(256)
            found = read_file(put("a.png", image))
            np.testing.assert_array_equal(
                found, np.asarray(image.convert("RGB")).transpose(2, 0, 1)
            )

    def test_transparency_shows_white(self, put):
        pixels = np.zeros((2, 2, 4), np.uint8)
        pixels[0, 1] = (200, 0, 0, 255)
        pixels[1, 0] = (0, 0, 0, 51)  # a fifth of black
        found = read_file(put("a.png", pixels))
        assert found.tolist() == [
            [[255, 200], [204, 255]],
            [[255, 0], [204, 255]],
            [[255, 0], [204, 255]],
        ]
        grey = read_file(put("b.png", Image.fromarray(pixels).convert("LA")))
        assert grey.shape == (1, 2, 2)
        assert grey[0, 0, 0] == 255
        assert grey[0, 1, 0] == 204

    def test_transparency_of_one_value(self, put):
        image = np.array([[0, 9], [200, 0]], np.uint8)
        assert read_file(put("a.png", image, transparency=0)).tolist() == [[[255, 9], [200, 255]]]
        palette = Image.fromarray(image).convert("P")
        found = read_file(put("b.png", palette, transparency=0))
        assert found[:, 0, 0].tolist() == [255, 255, 255]
        assert found[:, 0, 1].tolist() == [9, 9, 9]

    @pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
    def test_sixteen_bits_are_scaled(self, put, ending):
        deep = np.array([[0, 128, 129], [257, 32768, 65535]], np.uint16)
        found = read_file(put(f"a.{ending}", deep))
        assert found.tolist() == [[[0, 0, 1], [1, 128, 255]]]

    def test_other_numbers(self, put):
        floats = np.array([[0, 0.5, 1]], np.float32)
        assert read_file(put("a.tif", floats)).tolist() == [[[0, 128, 255]]]
        refused("a.tif has floats from 0 to 2, expected", read_file, put("a.tif", 2 * floats))
        refused("a.tif has whole numbers of 32 bits or with a sign", read_file,
                put("a.tif", np.array([[7]], np.int32)))  # fmt: skip

    def test_the_first_frame_counts(self, put):
        frames = [Image.fromarray(np.full((4, 4), v, np.uint8)) for v in (10, 200)]
        for name in ("a.gif", "a.tif"):
            path = put(name, frames[0], save_all=True, append_images=frames[1:])
            assert set(read_file(path).ravel()) == {10}

    def test_photos_are_upright(self, put):
        exif = Image.Exif()
        exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise
        found = read_file(put("a.png", GREYS, exif=exif))
        np.testing.assert_array_equal(found[0], np.rot90(GREYS, -1))
        assert read_file(put("a.png", GREYS, exif=exif), (7, 5)).shape == (1, 7, 5)

    def test_the_content_counts_not_the_name(self, put):
        data = io.BytesIO()
        Image.fromarray(GREYS).save(data, "png")
        np.testing.assert_array_equal(read_file(put("a.jpg", data.getvalue()))[0], GREYS)

    def test_resized_as_pillow_does(self, put):
        path = put("a.png", COLOURS)
        expected = Image.fromarray(COLOURS).resize((6, 3), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(
            read_file(path, (3, 6)), np.asarray(expected).transpose(2, 0, 1)
        )
        assert read_file(put("b.png", np.full((2, 2), 65535, np.uint16)), (4, 5)).shape == (1, 4, 5)


class TestDamaged:
    def test_no_images(self, put, tmp_path):
        refused("there is no file .*none.png", read_file, tmp_path / "none.png")
        refused("a.png is empty, expected one of PNG, JPEG", read_file, put("a.png", b""))
        refused("a.png is no image, expected one of PNG", read_file, put("a.png", b"name,class\n"))

    def test_formats_that_run_programs_are_not_asked(self, put):
        script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"
        refused("a.png is no image", read_file, put("a.png", script))

    @pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "gif", "webp", "ppm", "pgm", "tif"])
    def test_nothing_but_one_line_of_any_damage(self, put, ending):
        random = np.random.default_rng(0)
        noise = random.integers(0, 256, (24, 24, 3)).astype(np.uint8)
        whole = put(f"a.{ending}", noise[..., 0] if ending == "pgm" else noise).read_bytes()
        truncated = put(f"b.{ending}", whole[: len(whole) * 2 // 3])
        refused(rf"b.{ending} (cannot be read \(.+\)|is no image)", read_file, truncated)
        wrong = 0
        for _ in range(60):
            data = bytearray(whole)
            for place in random.integers(0, min(len(data), 400), 4):
                data[place] = random.integers(0, 256)
            path = put(f"c.{ending}", bytes(data))
            found = outcome(path)
            if isinstance(found, str):
                wrong += 1
                assert re.fullmatch(rf"read_images: {path} .*", found)  # a dot is no line end
            else:
                assert found.shape[1:] == (8, 8)
        assert wrong or ending in ("bmp", "ppm", "pgm", "jpg", "tif")

    @pytest.mark.parametrize("factor", [1.5, 3])
    def test_more_pixels_than_are_safe(self, put, monkeypatch, factor):
        path = put("a.png", GREYS)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(35 / factor))
        refused(f"a.png has more than {int(35 / factor)} pixels", read_file, path)

    def test_a_small_file_of_many_pixels(self, put):
        def chunk(name, data):
            body = name + data
            return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

        head = b"".join(side.to_bytes(4, "big") for side in (50_000, 50_000)) + b"\x08\0\0\0\0"
        data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b""))
        refused("has more than 89,478,485 pixels", read_file, put("a.png", data))

    def test_without_pillow(self, put, monkeypatch):
        path = put("a.png", GREYS)
        monkeypatch.setitem(sys.modules, "PIL", None)
        for call in (lambda: read_file(path), lambda: resize(GREYS[None, None], (2, 2))):
            with pytest.raises(MissingExtra, match=r"needs pillow: .*throughtime\[classify\]"):
                call()


class TestFiles:
    def test_one_array(self, put, tmp_path):
        paths = [put(f"{at}.png", np.full((4, 6), at, np.uint8)) for at in range(3)]
        found = read_files(tmp_path, paths, None)
        assert found.shape == (3, 1, 4, 6)
        assert found.dtype == np.uint8
        assert found[:, 0, 0, 0].tolist() == [0, 1, 2]

    def test_different_sizes(self, put, tmp_path):
        paths = [put("a.png", GREYS), put("b.png", GREYS), put("c.png", GREYS.T)]
        refused("a.png has 5x7 pixels and c.png 7x5, expected one size: --image-size HxW",
                read_files, tmp_path, paths, None)  # fmt: skip
        assert read_files(tmp_path, paths, (6, 6)).shape == (3, 1, 6, 6)

    def test_different_channels(self, put, tmp_path):
        paths = [put("a.png", COLOURS), put("b.png", GREYS)]
        for size in (None, (6, 6)):
            refused(r"a.png has 3 channels \(colour\) and b.png 1 channel \(grey\), expected as",
                    read_files, tmp_path, paths, size)  # fmt: skip
