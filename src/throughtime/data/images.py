"""Images and what they show: idx and npz files, and folders of image files."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from throughtime.data.corpus import PART_WORDS
from throughtime.data.examples import Examples
from throughtime.data.image_files import (
    ENDINGS,
    Size,
    channels_second,
    label_names,
    npz_forms,
    read_files,
    read_idx,
    read_npz,
    read_size,
    resize,
    to_bytes,
)
from throughtime.errors import InputError, MissingExtra

ARRAYS = (("images", "x", "X", "data"), ("labels", "y", "Y", "target"))
"""Names of images and of labels in an `.npz` file; the first that is there counts."""

NPZ_PARTS = {"training": "train", "validation": "val", "test": "test"}
"""Endings of the names of parts in an `.npz` file: `x_train`, `y_train`."""

WORDS = {**PART_WORDS, "test": PART_WORDS["test"] | {"t10k"}}
"""Words in the name of an idx file, or names of a folder, that say which part it is."""

_IDX = re.compile(r"images.*idx3-ubyte(\.gz)?$", re.IGNORECASE)
_NOTES = re.compile(r"(readme|licen[cs]e|classes|labels|about)\b.*|[^.]*|.*\.(md|rst|pdf)", re.I)
_LOOKED_AT = 1000  # files of a folder until `is_images` is sure


def read_images(
    path: str | os.PathLike[str],
    *,
    image_size: int | Sequence[int] | None = None,
    labelled: bool = True,
) -> Examples:
    """Images of a file or a folder, all in memory, with what each shows.

    - An idx file such as `train-images-idx3-ubyte.gz`; its labels are in the file beside it whose
      name has `labels` and `idx1` instead. Both may be packed with gzip.
    - `.npz`: arrays `images` (or x, X, data) and `labels` (or y, Y, target). Images are
      `[images, height, width]`, or with 1 to 4 channels last or second; where both could be, the
      last are. They are uint8, or floats from 0 to 1. Channels stay as they are: four are no
      transparency here.
    - A folder with a folder of image files for each class, which is called like it. Folders within
      it count as well; files that are no images by their ending, and hidden ones, are left out.
      [`read_file`][throughtime.data.image_files.read_file] says what becomes of colours.
    - Without labels also one image file, or a folder with image files anywhere in it.

    Args:
        path: the file or folder.
        image_size: height and width to resize to, bilinear; one number for a square. None leaves
            images as they are, all of one size.
        labelled: False reads no labels, even where there are some.

    Returns:
        Examples of kind `images`. Their names are paths within the folder, or numbers from 0.
        Labels are names of folders, or of idx and npz what they hold, as text.

    Errors:
        InputError: nothing of these, a file that is no image or damaged, no images of a class,
            several sizes or numbers of channels, or another number of labels than of images.
        MissingExtra: image files or resizing, and pillow is not installed.

    Examples:
        >>> np.savez("two.npz", x=np.zeros((2, 8, 8), np.uint8), y=[7, 3])
        >>> examples = read_images("two.npz")
        >>> examples.values.shape, examples.labels
        ((2, 1, 8, 8), ['7', '3'])
    """
    path, size = Path(path), read_size(image_size)
    if has_image_parts(path):
        raise InputError(
            f"read_images: {path} has parts for training and others, expected images of one part"
        )
    if path.is_dir():
        return _folder(path, size, labelled=labelled)
    if not path.is_file():
        raise InputError(f"read_images: there is no file or folder {path}")
    if _IDX.search(path.name):
        return _idx(path, size, labelled=labelled)
    if path.suffix.lower() == ".npz":
        names = _npz_names(path, labelled=labelled)
        return _npz(path, names, size)
    if path.suffix.lower() not in ENDINGS:
        raise InputError(
            f"read_images: path is {path}, expected a folder, or a file whose name ends in .npz, "
            f"images-idx3-ubyte (or .gz after that), {', '.join(ENDINGS)}"
        )
    if labelled:
        raise InputError(
            f"read_images: {path} is one image without a label, expected a folder with a folder "
            "of images for each class"
        )
    return Examples("images", read_files(path.parent, [path], size), None, [path.name])


def read_image_parts(
    path: str | os.PathLike[str], *, image_size: int | Sequence[int] | None = None
) -> dict[str, Examples]:
    """Images that were parted by whoever published them; `has_image_parts` says where they were.

    - A folder with idx files, told apart by a word in their names: train or training; valid,
      validation, val or dev; test or t10k.
    - A folder with folders of such names, each with a folder for each class.
    - `.npz` with `x_train`, `y_train`, `x_test`, `y_test`, and maybe `x_val`, `y_val`.

    Args:
        path: the file or folder.
        image_size: as for `read_images`.

    Returns:
        By name: `training`, `test`, and maybe `validation`.

    Errors:
        InputError: training or test is missing, a part is there twice, parts have images of
            different form; or as `read_images`.
    """
    path, size = Path(path), read_size(image_size)
    if not path.exists():
        raise InputError(f"read_images: there is no file or folder {path}")
    if path.is_dir():
        sources = _part_sources(path)
        several = [(part, them) for part, them in sources.items() if len(them) > 1]
        for part, them in several:
            raise InputError(
                f"read_images: {path} has for {part} {', '.join(one.name for one in them[:3])}, "
                "expected one of them"
            )
        _check_parts(path, list(sources))
        parts = {part: _part(path, them[0], size) for part, them in sources.items()}
    else:
        named = _npz_parts(path)
        _check_parts(path, list(named))
        parts = {part: _npz(path, names, size) for part, names in named.items()}
    training = parts["training"].values.shape[1:]
    for part, examples in parts.items():
        if examples.values.shape[1:] != training:
            raise InputError(
                f"read_images: {path} has for {part} images of shape "
                f"{list(examples.values.shape[1:])}, for training {list(training)} (channels, "
                "height, width), expected one form; --image-size HxW resizes all"
            )
    return parts


def is_images(path: str | os.PathLike[str]) -> bool:
    """Whether a file or folder surely holds images and nothing else; it is hardly read.

    A folder does where image files are all there is in it and in its folders, but for notes beside
    them such as `README.txt`; or idx files with parts.
    """
    path = Path(path)
    try:
        if path.is_dir():
            parts = _part_sources(path) if has_image_parts(path) else {}
            return any(one.is_file() for them in parts.values() for one in them) or (
                _holds_images(path)
            )
        if not path.is_file():
            return False
    except OSError:
        return False
    if path.suffix.lower() == ".npz":
        return _surely(path)
    return path.suffix.lower() in ENDINGS or bool(_IDX.search(path.name))


def has_image_parts(path: str | os.PathLike[str]) -> bool:
    """Whether a file or folder has images for training, and others for validation or test."""
    path = Path(path)
    try:
        if not path.is_dir():
            found = _npz_parts(path)
            return "training" in found and len(found) > 1
        sources = _part_sources(path)
        # Folders with such names may as well hold texts.
        return len(sources) > 1 and any(
            one.is_file() or _holds_images(one, only=False) for one in sources.get("training", [])
        )
    except OSError:
        return False


def load_digits() -> Examples:
    """Handwritten digits, 1,797 of 8 by 8 pixels, which come with scikit-learn.

    They are the test part of the UCI set Optical Recognition of Handwritten Digits. Their 17 greys
    from 0 to 16 become 0 to 255; labels are "0" to "9".

    Errors:
        MissingExtra: scikit-learn is not installed.
    """
    try:
        from sklearn import datasets
    except ImportError:
        raise MissingExtra("the digits", "scikit-learn", "classify") from None
    greys, digits = datasets.load_digits(return_X_y=True)
    images = np.rint(np.asarray(greys) * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    return _numbered(images, [str(digit) for digit in digits])


def _numbered(images: np.ndarray, labels: list[str] | None) -> Examples:
    return Examples("images", images, labels, [str(number) for number in range(len(images))])


# Folders


def _folder(folder: Path, size: Size | None, *, labelled: bool) -> Examples:
    files = _image_files(folder)
    names = [path.relative_to(folder).as_posix() for path in files]
    loose = [path for path in files if path.parent == folder]
    if labelled:
        classes = _folders(folder)
        if not classes:
            raise InputError(
                f"read_images: {folder} has no folders, expected one with images for each class"
            )
        if loose:
            raise InputError(
                f"read_images: {loose[0]} is of no class, expected each image in the folder of one"
            )
        filled = {name.split("/")[0] for name in names}
        for each in classes:
            if each.name not in filled:
                raise InputError(
                    f"read_images: the folder {each} has no images, expected some of this class: "
                    f"files in {', '.join(ENDINGS)}"
                )
    elif not files:
        raise InputError(
            f"read_images: the folder {folder} has no images: files in {', '.join(ENDINGS)}"
        )
    labels = [name.split("/")[0] for name in names] if labelled else None
    return Examples("images", read_files(folder, files, size), labels, names)


def _folders(folder: Path) -> list[Path]:
    """What counts as folders of classes."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not _hidden(path.name))


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db", "desktop.ini")


def _image_files(folder: Path) -> list[Path]:
    """All image files in a folder, and in the folders of it, class by class."""
    found = [
        Path(place) / name
        for root in [folder, *_folders(folder)]
        for place, names in _walk(root, deep=root != folder)
        for name in names
        if Path(name).suffix.lower() in ENDINGS
    ]
    return sorted(found, key=lambda path: path.relative_to(folder).parts)


def _walk(root: Path, *, deep: bool) -> list[tuple[str, list[str]]]:
    """Folders with the files in them that are not hidden."""
    found: list[tuple[str, list[str]]] = []
    for place, folders, names in os.walk(root):
        folders[:] = [name for name in folders if deep and not _hidden(name)]
        found.append((place, [name for name in names if not _hidden(name)]))
    return found


def _holds_images(folder: Path, *, only: bool = True) -> bool:
    """Whether there are image files in a folder and its folders, and only these but for notes."""
    found = seen = 0
    for _, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not _hidden(name)]
        shown = [name for name in names if not _hidden(name)]
        images = [name for name in shown if Path(name).suffix.lower() in ENDINGS]
        notes = [name for name in shown if _NOTES.fullmatch(name)]
        if only and len(images) + len(notes) < len(shown):
            return False
        found, seen = found + len(images), seen + len(names) + 1
        if seen > _LOOKED_AT:
            break
    return found > 0


# idx files, and parts


def _idx(path: Path, size: Size | None, *, labelled: bool) -> Examples:
    images = resize(read_idx(path, 3)[:, None], size)
    if not labelled:
        return _numbered(images, None)
    beside = path.with_name(
        re.sub("idx3", "idx1", re.sub("images", "labels", path.name, flags=re.I), flags=re.I)
    )
    packed = beside.suffix.lower() == ".gz"
    other = beside.with_suffix("") if packed else beside.with_name(f"{beside.name}.gz")
    labels = read_idx(beside if beside.is_file() or not other.is_file() else other, 1)
    return _numbered(images, label_names(str(path), labels, len(images)))


def _part_sources(folder: Path) -> dict[str, list[Path]]:
    """Of each part the idx files of a folder, or else its folders with folders in them."""
    files = {path.name: path for path in sorted(folder.iterdir()) if _IDX.search(path.name)}
    # The same file packed and unpacked is one file.
    files = [path for name, path in files.items() if name.removesuffix(".gz") not in files
             or not name.endswith(".gz")]  # fmt: skip
    found = {
        part: [path for path in files if words & set(re.split(r"[\W_]+", path.name.lower()))]
        for part, words in WORDS.items()
    }
    if not files:
        folders = _folders(folder)
        found = {
            part: [path for path in folders if path.name.lower() in words and _folders(path)]
            for part, words in WORDS.items()
        }
    return {part: them for part, them in found.items() if them}


def _part(folder: Path, path: Path, size: Size | None) -> Examples:
    if path.is_file():
        return _idx(path, size, labelled=True)
    part = _folder(path, size, labelled=True)
    return replace(part, names=[f"{path.relative_to(folder).as_posix()}/{n}" for n in part.names])


def _check_parts(path: Path, parts: list[str]) -> None:
    missing = [part for part in ("training", "test") if part not in parts]
    if missing:
        raise InputError(
            f"read_images: {path} has images for {', '.join(parts) or 'no part'}, expected some "
            f"for {' and '.join(missing)} as well"
        )


# npz files


def _npz_parts(path: Path) -> dict[str, tuple[str, str]]:
    """Names of images and labels in an `.npz` file, by part."""
    if path.suffix.lower() != ".npz" or not path.is_file():
        return {}
    forms = npz_forms(path)
    pairs = {part: (f"x_{ending}", f"y_{ending}") for part, ending in NPZ_PARTS.items()}
    return {part: names for part, names in pairs.items() if set(names) <= set(forms)}


def _npz_names(path: Path, *, labelled: bool) -> tuple[str, ...]:
    """Names of images, and of labels where these are asked for."""
    forms = npz_forms(path)
    if not forms:
        raise InputError(f"read_images: {path} is empty, damaged or no .npz file")
    names: list[str] = []
    for allowed in ARRAYS if labelled else ARRAYS[:1]:
        known = [name for name in allowed if name in forms]
        if not known:
            raise InputError(
                f"read_images: {path} has arrays {', '.join(list(forms)[:8])}, expected one of "
                f"{', '.join(allowed)}"
            )
        names.append(known[0])
    return tuple(names)


def _npz(path: Path, names: tuple[str, ...], size: Size | None) -> Examples:
    arrays = read_npz(path, names)
    where = f"{names[0]} of {path}"
    images = to_bytes(where, channels_second(where, arrays[0]))
    labels = label_names(where, arrays[1], len(images)) if len(arrays) > 1 else None
    return _numbered(resize(images, size), labels)


def _surely(path: Path) -> bool:
    """Whether an `.npz` file has an array that can be nothing but images."""
    forms = npz_forms(path)
    for name in (*ARRAYS[0], "x_train"):
        if name in forms:
            shape, dtype = forms[name]
            bytes_ = dtype == np.uint8
            return (len(shape) == 4 or (len(shape) == 3 and (bytes_ or name == "images"))) and (
                bytes_ or dtype.kind == "f"
            )
    return False
