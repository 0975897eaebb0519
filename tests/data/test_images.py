import gzip
import os
import sys

import numpy as np
import pytest
from PIL import Image

from throughtime.data.images import (
    has_image_parts,
    is_images,
    load_digits,
    read_image_parts,
    read_images,
)
from throughtime.errors import InputError, MissingExtra

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (4, 5, 7)).astype(np.uint8)
LABELS = np.array([3, 1, 3, 0], np.uint8)


def refused(message, path, read=read_images, **options):
    with pytest.raises(InputError, match=message) as caught:
        read(path, **options)
    assert "\n" not in str(caught.value)


def idx(array):
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return head + array.astype(np.uint8).tobytes()


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def draw(path, value=0, shape=(5, 7)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(shape, value, np.uint8)).save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    """Two classes, in an order that is not that of the alphabet."""
    root = tmp_path / "animals"
    for value, name in enumerate(["dog/b.png", "cat/10.PNG", "cat/9.bmp", "cat/deep/1.pgm"]):
        draw(root / name, value)
    return root


def put_idx(root, name="train", end="", images=IMAGES, labels=LABELS, mark="-"):
    write(root / f"{name}-labels{mark}idx1-ubyte{end}", idx(labels))
    return write(root / f"{name}-images{mark}idx3-ubyte{end}", idx(images))


class TestIdx:
    @pytest.mark.parametrize("end", ["", ".gz"])
    @pytest.mark.parametrize("mark", ["-", "."])
    def test_images_and_labels(self, tmp_path, end, mark):
        examples = read_images(put_idx(tmp_path, end=end, mark=mark))
        assert examples.kind == "images"
        assert examples.values.dtype == np.uint8
        np.testing.assert_array_equal(examples.values, IMAGES[:, None])
        assert examples.labels == ["3", "1", "3", "0"]
        assert examples.names == ["0", "1", "2", "3"]

    def test_labels_may_be_packed_alone_or_not(self, tmp_path):
        path = put_idx(tmp_path)
        labels = tmp_path / "train-labels-idx1-ubyte"
        write(tmp_path / f"{labels.name}.gz", labels.read_bytes())
        labels.unlink()
        assert read_images(path).labels == ["3", "1", "3", "0"]
        packed = put_idx(tmp_path / "b", end=".gz")
        (packed.parent / f"{labels.name}.gz").unlink()
        refused("there is no file .*b/train-labels-idx1-ubyte.gz", packed)
        write(packed.parent / labels.name, idx(LABELS))
        assert read_images(packed).labels == ["3", "1", "3", "0"]

    def test_without_labels(self, tmp_path):
        path = write(tmp_path / "x-images-idx3-ubyte", idx(IMAGES))
        refused("there is no file .*x-labels-idx1-ubyte", path)
        examples = read_images(path, labelled=False)
        assert examples.labels is None
        assert len(examples) == 4

    def test_refuses(self, tmp_path):
        refused(r"train-images-idx3-ubyte are 4 images and .* shape \[3\], expected one label",
                put_idx(tmp_path, labels=LABELS[:3]))  # fmt: skip
        path = put_idx(tmp_path)
        refused("path is .*labels-idx1-ubyte, expected a folder, or a file whose name ends in",
                tmp_path / "train-labels-idx1-ubyte")  # fmt: skip
        path.write_bytes(idx(LABELS))
        refused("starts with 00 00 08 01, expected 00 00 08 03", path)

    def test_resized(self, tmp_path):
        examples = read_images(put_idx(tmp_path), image_size=(3, 4))
        expected = Image.fromarray(IMAGES[2]).resize((4, 3), Image.Resampling.BILINEAR)
        assert examples.values.shape == (4, 1, 3, 4)
        np.testing.assert_array_equal(examples.values[2, 0], np.asarray(expected))
        refused("image_size is 0, expected", put_idx(tmp_path), image_size=0)


class TestNpz:
    @pytest.mark.parametrize(("x", "y"), [("images", "labels"), ("x", "y"), ("X", "Y"),
                                          ("data", "target"), ("X", "y")])  # fmt: skip
    def test_names(self, tmp_path, x, y):
        path = tmp_path / "a.npz"
        np.savez(path, **{x: IMAGES, y: LABELS, "other": np.zeros(3)})
        examples = read_images(path)
        np.testing.assert_array_equal(examples.values, IMAGES[:, None])
        assert examples.labels == ["3", "1", "3", "0"]
        assert read_images(path, labelled=False).labels is None

    def test_the_first_name_counts(self, tmp_path):
        path = tmp_path / "a.npz"
        np.savez(path, data=np.zeros((4, 35)), images=IMAGES, target=LABELS, y=LABELS[::-1])
        examples = read_images(path)
        assert examples.values.shape == (4, 1, 5, 7)
        assert examples.labels == ["0", "3", "1", "3"]

    @pytest.mark.parametrize("count", [1, 2, 3, 4])
    def test_channels_stay_as_they_are(self, tmp_path, count):
        second = RANDOM.integers(0, 256, (4, count, 5, 7)).astype(np.uint8)
        for images in (second, second.transpose(0, 2, 3, 1), second / 255):
            np.savez_compressed(tmp_path / "a.npz", x=images, y=LABELS)
            examples = read_images(tmp_path / "a.npz")
            np.testing.assert_array_equal(examples.values, second)
        assert read_images(tmp_path / "a.npz", image_size=9).values.shape == (4, count, 9, 9)

    def test_refuses(self, tmp_path):
        def saved(**arrays):
            np.savez(tmp_path / "a.npz", **arrays)
            return tmp_path / "a.npz"

        refused("a.npz has arrays z, y, expected one of images, x, X, data", saved(z=1, y=2))
        refused("a.npz has arrays x, expected one of labels, y, Y, target", saved(x=IMAGES))
        refused("x of .*a.npz is int64, expected uint8 from 0 to 255",
                saved(x=IMAGES.astype(int), y=LABELS))  # fmt: skip
        refused("x of .* has floats from 0 to 2", saved(x=IMAGES / 255 * 0 + [0, 0, 0, 0, 0, 0, 2],
                                                        y=LABELS))  # fmt: skip
        refused(r"x of .* has shape \[4, 35\], expected \[images, height, width\]",
                saved(x=IMAGES.reshape(4, 35), y=LABELS))  # fmt: skip
        refused(r"are 4 images and their labels have shape \[2\]", saved(x=IMAGES, y=LABELS[:2]))
        refused("a.npz cannot be read at 'y' .*Object", saved(x=IMAGES, y=np.array([None] * 4)))
        data = saved(x=IMAGES, y=LABELS).read_bytes()
        for bad in (b"", b"PK", data[:100], b"x" * 50):
            refused("is empty, damaged or no .npz file", write(tmp_path / "b.npz", bad))
        place = data.index(IMAGES.tobytes())
        spoilt = data[:place] + b"spoilt" + data[place + 6 :]
        refused("damaged|cannot be read at 'x'", write(tmp_path / "a.npz", spoilt))


class TestFolder:
    def test_class_by_class(self, folder):
        examples = read_images(str(folder))
        assert examples.names == ["cat/10.PNG", "cat/9.bmp", "cat/deep/1.pgm", "dog/b.png"]
        assert examples.labels == ["cat", "cat", "cat", "dog"]
        assert examples.values.shape == (4, 1, 5, 7)
        assert examples.values[:, 0, 2, 3].tolist() == [1, 2, 3, 0]

    def test_other_and_hidden_files_are_left_out(self, folder):
        expected = read_images(folder).names
        for name in (".DS_Store", "README.txt", "cat/notes.csv", "cat/._9.bmp", ".cache/x.png",
                     "cat/.thumbs/1.png", "__MACOSX/cat/._9.png", "dog/Thumbs.db"):  # fmt: skip
            write(folder / name, b"no image")
        assert read_images(folder).names == expected

    def test_links_to_folders_are_classes(self, folder, tmp_path):
        os.symlink(folder / "dog", folder / "wolf")
        (folder / "dog" / "again").symlink_to(folder)  # a circle is not walked
        assert read_images(folder).labels == ["cat"] * 3 + ["dog", "wolf"]

    def test_without_labels(self, folder, tmp_path):
        examples = read_images(folder, labelled=False)
        assert examples.labels is None
        assert examples.names == read_images(folder).names
        for name in "ba":
            draw(tmp_path / "flat" / f"{name}.png", ord(name))
        flat = read_images(tmp_path / "flat", labelled=False)
        assert (flat.names, flat.labels) == (["a.png", "b.png"], None)
        assert flat.values[:, 0, 0, 0].tolist() == [97, 98]

    def test_one_file(self, folder):
        one = read_images(folder / "cat" / "9.bmp", labelled=False)
        assert (one.names, one.labels, one.values.shape) == (["9.bmp"], None, (1, 1, 5, 7))
        refused("9.bmp is one image without a label, expected a folder with", folder / "cat/9.bmp")

    def test_sizes(self, folder):
        draw(folder / "dog" / "c.png", shape=(8, 9))
        refused("in .*animals cat/10.PNG has 5x7 pixels and dog/c.png 8x9, .*--image-size HxW",
                folder)  # fmt: skip
        assert read_images(folder, image_size=6).values.shape == (5, 1, 6, 6)
        assert read_images(folder, image_size=[4, 6]).values.shape == (5, 1, 4, 6)

    def test_channels(self, folder):
        draw(folder / "dog" / "c.png", shape=(5, 7, 3))
        refused(r"cat/10.PNG has 1 channel \(grey\) and dog/c.png 3 channels \(colour\)", folder)

    def test_refuses(self, folder, tmp_path):
        refused("there is no file or folder .*none", tmp_path / "none")
        refused("path is .*a.csv, expected a folder, or", write(tmp_path / "a.csv", b"x"))
        (empty := tmp_path / "empty").mkdir()
        refused("empty has no folders, expected one with images for each class", empty)
        refused("the folder .*empty has no images: files in .png", empty, labelled=False)
        (folder / "bird").mkdir()
        refused("the folder .*animals/bird has no images, expected some of this class", folder)
        draw(folder / "bird" / "a.png")
        draw(folder / "loose.png")
        refused("animals/loose.png is of no class, expected", folder)

    def test_a_damaged_file_is_named(self, folder):
        for data, message in ((b"", "is empty"), (b"text", "is no image")):
            write(folder / "dog" / "x.jpg", data)
            refused(f"animals/dog/x.jpg {message}", folder)
        whole = draw(folder / "dog" / "x.png", shape=(64, 64)).read_bytes()
        (folder / "dog" / "x.jpg").unlink()
        write(folder / "dog" / "x.png", whole[: len(whole) // 2])
        refused("animals/dog/x.png cannot be read", folder, image_size=8)

    def test_one_class_is_left_to_the_caller(self, tmp_path):
        draw(tmp_path / "only" / "a.png")
        assert read_images(tmp_path).labels == ["only"]

    def test_without_pillow(self, folder, monkeypatch):
        monkeypatch.setitem(sys.modules, "PIL", None)
        with pytest.raises(MissingExtra, match="reading image files needs pillow"):
            read_images(folder)


class TestParts:
    @pytest.mark.parametrize("test", ["t10k", "test"])
    def test_idx(self, tmp_path, test):
        put_idx(tmp_path, "train", ".gz")
        put_idx(tmp_path, test, ".gz", IMAGES[:2], LABELS[:2])
        assert has_image_parts(tmp_path)
        parts = read_image_parts(tmp_path)
        assert list(parts) == ["training", "test"]
        np.testing.assert_array_equal(parts["training"].values, IMAGES[:, None])
        assert parts["test"].labels == ["3", "1"]
        assert read_image_parts(tmp_path, image_size=3)["test"].values.shape == (2, 1, 3, 3)

    def test_packed_and_unpacked_are_one(self, tmp_path):
        for end in ("", ".gz"):
            put_idx(tmp_path, "train", end)
            put_idx(tmp_path, "valid", end)
            put_idx(tmp_path, "t10k", end)
        assert list(read_image_parts(tmp_path)) == ["training", "validation", "test"]

    @pytest.mark.parametrize("valid", ["valid", "val", "validation", "Dev"])
    def test_folders(self, tmp_path, valid):
        for value, part in enumerate(["train", valid, "test"]):
            for name in ("b", "a"):
                draw(tmp_path / part / name / "1.png", value)
        assert has_image_parts(tmp_path)
        parts = read_image_parts(tmp_path)
        assert list(parts) == ["training", "validation", "test"]
        assert parts["test"].labels == ["a", "b"]
        assert parts["validation"].names == [f"{valid}/a/1.png", f"{valid}/b/1.png"]
        assert [parts[part].values.max() for part in parts] == [0, 1, 2]

    def test_npz(self, tmp_path):
        path = tmp_path / "mnist.npz"
        np.savez(path, x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:1], y_test=LABELS[:1])
        assert has_image_parts(path)
        assert read_image_parts(path)["test"].labels == ["3"]
        arrays = dict(np.load(path))
        np.savez(path, **arrays, x_val=IMAGES[2:], y_val=LABELS[2:])
        assert list(read_image_parts(path)) == ["training", "validation", "test"]
        assert read_image_parts(path)["validation"].labels == ["3", "0"]

    def test_one_part_is_asked_for_and_there_are_several(self, tmp_path):
        put_idx(tmp_path, "train")
        put_idx(tmp_path, "t10k")
        refused("has parts for training and others, expected images of one part", tmp_path)
        assert len(read_images(tmp_path / "train-images-idx3-ubyte")) == 4

    def test_refuses(self, tmp_path):
        put_idx(tmp_path, "train")
        put_idx(tmp_path, "val")
        refused("for training, validation, expected some for test", tmp_path, read_image_parts)
        put_idx(tmp_path, "test", images=IMAGES[:, :4])
        refused(r"has for test images of shape \[1, 4, 7\], for training \[1, 5, 7\]", tmp_path,
                read_image_parts)  # fmt: skip
        assert len(read_image_parts(tmp_path, image_size=4)) == 3
        put_idx(tmp_path, "t10k")
        refused("for test t10k-images.*, test-images.*, expected one", tmp_path, read_image_parts)
        refused("there is no file or folder", tmp_path / "none", read_image_parts)
        draw(tmp_path / "e" / "a.png")
        refused("images for no part, .* for training and test", tmp_path / "e", read_image_parts)

    def test_an_empty_class_of_a_part(self, tmp_path):
        for part in ("train", "test"):
            draw(tmp_path / part / "a" / "1.png")
        (tmp_path / "test" / "b").mkdir()
        refused("the folder .*test/b has no images", tmp_path, read_image_parts)

    def test_what_has_none(self, tmp_path, folder):
        for name in ("none", "animals", "animals/dog", "animals/dog/b.png"):
            assert not has_image_parts(tmp_path / name)
        put_idx(tmp_path / "a", "train")
        assert not has_image_parts(tmp_path / "a")
        # Classes that are called like parts, and texts in parts.
        draw(tmp_path / "b" / "train" / "1.png")
        draw(tmp_path / "b" / "test" / "1.png")
        assert not has_image_parts(tmp_path / "b")
        assert read_images(tmp_path / "b").labels == ["test", "train"]
        for name in ("train/pos/1.txt", "train/neg/1.txt", "test/pos/1.txt"):
            write(tmp_path / "imdb" / name, b"good")
        assert not has_image_parts(tmp_path / "imdb")
        np.savez(tmp_path / "a.npz", x_train=IMAGES, y_train=LABELS, x_test=IMAGES)
        assert not has_image_parts(tmp_path / "a.npz")
        assert not has_image_parts(write(tmp_path / "b.npz", b"x"))


class TestIsImages:
    def test_files(self, tmp_path, folder):
        assert is_images(str(folder / "cat" / "10.PNG"))
        assert all(is_images(put_idx(tmp_path, end=end)) for end in ("", ".gz"))
        for name in ("train-labels-idx1-ubyte", "none.png"):
            assert not is_images(tmp_path / name)
        for name in ("a.csv", "a.txt", "a.npz", "a", "a.npy"):
            assert not is_images(write(tmp_path / name, b"x"))

    @pytest.mark.parametrize(
        ("arrays", "sure"),
        [
            ({"x": IMAGES}, True),
            ({"X": IMAGES[..., None] / 255}, True),
            ({"images": IMAGES / 255}, True),
            ({"x_train": IMAGES, "x_test": IMAGES}, True),
            ({"x": IMAGES / 255}, False),  # may be series
            ({"x_train": IMAGES / 255}, False),
            ({"x": IMAGES[..., None].astype(int)}, False),
            ({"x": IMAGES[0]}, False),
            ({"images": IMAGES.astype(str)}, False),
            ({"photos": IMAGES}, False),
        ],
    )
    def test_arrays(self, tmp_path, arrays, sure):
        np.savez(tmp_path / "a.npz", **arrays)
        assert is_images(tmp_path / "a.npz") is sure

    def test_folders(self, tmp_path, folder):
        assert is_images(folder)
        assert is_images(folder / "dog")
        for name in ("README.txt", "LICENSE", "about.md", ".DS_Store", "cat/README"):
            write(folder / name, b"x")
        assert is_images(folder)
        assert not is_images(tmp_path / "none")
        write(tmp_path / "notes" / "README", b"x")
        assert not is_images(tmp_path / "notes")

    @pytest.mark.parametrize("name", ["train.csv", "cat/a.txt", "texts/a.txt", "a.jsonl", "a.txt"])
    def test_other_files_beside_them(self, folder, name):
        write(folder / name, b"x")
        assert not is_images(folder)

    def test_parts(self, tmp_path):
        put_idx(tmp_path / "a", "train")
        put_idx(tmp_path / "a", "t10k")
        assert is_images(tmp_path / "a")
        for name in ("train/x/1.png", "train/y/1.png", "val/x/1.png"):
            draw(tmp_path / "b" / name)
        assert is_images(tmp_path / "b")
        write(tmp_path / "b" / "train" / "1.txt", b"x")
        assert not is_images(tmp_path / "b")
        assert has_image_parts(tmp_path / "b")

    def test_a_large_folder_is_not_read_through(self, tmp_path, monkeypatch):
        for number in range(40):
            write(tmp_path / f"{number:02d}" / "a.png", b"x")
        seen, walk = [], os.walk
        counted = lambda *given: (seen.append(each) or each for each in walk(*given))  # noqa: E731
        monkeypatch.setattr("throughtime.data.images._LOOKED_AT", 10)
        monkeypatch.setattr(os, "walk", counted)
        assert is_images(tmp_path)
        assert len(seen) < 10


class TestDigits:
    def test_all_of_them(self):
        digits = load_digits()
        assert digits.values.shape == (1797, 1, 8, 8)
        assert digits.values.dtype == np.uint8
        assert sorted(set(digits.values.ravel().tolist()))[:3] == [0, 16, 32]
        assert digits.values.max() == 255
        assert digits.labels is not None
        assert digits.labels[:12] == [*"0123456789", "0", "1"]
        assert (digits.names[0], digits.names[-1]) == ("0", "1796")
        # The first is a ring: its middle is empty, its sides are not.
        assert digits.values[0, 0, 4].tolist() == [0, 80, 128, 0, 0, 143, 128, 0]

    def test_without_scikit_learn(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "sklearn", None)
        with pytest.raises(MissingExtra, match=r"the digits needs scikit-learn: .*\[classify\]"):
            load_digits()
