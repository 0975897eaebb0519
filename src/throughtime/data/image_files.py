"""Files of images, one kind at a time: idx, npz, and what Pillow reads.

All become uint8, channels before height and width: 0 is black. What a file is decides how many
channels its image has, never what it shows: else one grey photo would spoil a folder of colours.
"""

import gzip
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from throughtime.data.reading import DAMAGED
from throughtime.errors import InputError, MissingExtra

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
"""Files that Pillow reads, one image each."""

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM", "TIFF")
"""What may be in them, whatever their name: Pillow knows others that start foreign programs."""

MAX_SIDE = 8192
"""Pixels of a side that images may be resized to."""

Size = tuple[int, int]
"""Height and width in pixels."""


def read_size(image_size: int | Sequence[int] | None) -> Size | None:
    """Height and width out of what was asked for: one number means a square.

    Errors:
        InputError: not one or two numbers of pixels.

    Examples:
        >>> read_size(28), read_size((32, 48))
        ((28, 28), (32, 48))
    """
    if image_size is None:
        return None
    sides = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(sides) != 2 or not all(1 <= side <= MAX_SIDE for side in sides):
        raise InputError(
            f"image_size is {image_size}, expected a height and a width of 1 to {MAX_SIDE:,} pixels"
        )
    return int(sides[0]), int(sides[1])


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """The bytes of an idx file, packed with gzip where its name ends in `.gz`.

    The file starts with two bytes 0, the type (8: bytes), the number of dimensions, and the size
    of each as four bytes, the highest first. All else are the values.

    Args:
        path: the file.
        dimensions: 3 of images, 1 of labels.

    Returns:
        uint8 of as many dimensions.

    Errors:
        InputError: another start, nothing in it, damaged packing, or more or fewer values than the
            sizes say.
    """
    if not path.is_file():
        raise InputError(f"read_images: there is no file {path}")
    start = bytes([0, 0, 8, dimensions])
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
        try:
            head = file.read(4 + 4 * dimensions)
            if head[:4] != start[: len(head)] or not head:
                raise InputError(
                    f"read_images: {path} starts with {head[:4].hex(' ') or 'nothing'}, expected "
                    f"{start.hex(' ')}: an idx file of bytes in {dimensions} dimensions"
                )
            if len(head) < 4 + 4 * dimensions:
                raise InputError(
                    f"read_images: {path} ends after {len(head)} bytes, expected the sizes of "
                    f"{dimensions} dimensions"
                )
            shape = [int(size) for size in np.frombuffer(head, ">u4", offset=4)]
            size, found = int(np.prod(shape, dtype=object)), bytearray()
            # A damaged head may say any size: what is there is read, not what it promises.
            while len(found) <= size and (block := file.read(1 << 24)):
                found += block
        except DAMAGED as error:
            raise InputError(f"read_images: {path} is not whole gzip ({error})") from None
    if len(found) != size:
        came = f"only {len(found):,}" if len(found) < size else "more"
        raise InputError(f"read_images: {path} has {came} values, expected {size:,} for {shape}")
    if not size:
        raise InputError(f"read_images: {path} is of shape {shape}, expected at least one value")
    return np.frombuffer(bytes(found), np.uint8).reshape(shape)


def read_npz(path: Path, names: Sequence[str]) -> list[np.ndarray]:
    """Some arrays of an `.npz` file.

    Errors:
        InputError: not such a file, no array of this name, or one that cannot be read.
    """
    found: list[np.ndarray] = []
    try:
        # Opened here: NumPy leaves a file open that it cannot read.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            for name in names:
                found.append(np.asarray(arrays[name]))
    # Whatever a damaged file makes zip, zlib or NumPy raise.
    except Exception as error:
        raise InputError(
            f"read_images: {path} cannot be read at {names[len(found)]!r} ({_reason(error)})"
        ) from None
    return found


def npz_forms(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Shape and type of each array in an `.npz` file, of which nothing else is read.

    Returns:
        By name; nothing of a file that cannot be read.
    """
    found: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
    try:
        with zipfile.ZipFile(path) as packed:
            for name in packed.namelist():
                with packed.open(name) as file:
                    version = np.lib.format.read_magic(file)
                    read = (
                        np.lib.format.read_array_header_1_0
                        if version == (1, 0)
                        else np.lib.format.read_array_header_2_0
                    )
                    shape, _, dtype = read(file)
                    found[name.removesuffix(".npy")] = (shape, dtype)
    except Exception:  # whatever a damaged file makes zip, zlib or NumPy raise
        return {}
    return found


def to_bytes(what: str, values: np.ndarray) -> np.ndarray:
    """Values of images as uint8: they are such, or floats from 0 to 1, where 1 becomes 255.

    Errors:
        InputError: another type, or floats outside.

    Examples:
        >>> to_bytes("x", np.array([0, 0.5, 1])).tolist()
        [0, 128, 255]
    """
    if values.dtype == np.uint8:
        return values
    expected = "expected uint8 from 0 to 255, or floats from 0 to 1"
    if values.dtype.kind != "f":
        raise InputError(f"read_images: {what} is {values.dtype}, {expected}")
    low, high = (values.min(), values.max()) if values.size else (0, 0)
    if not (low >= 0 and high <= 1):  # NaN is neither
        raise InputError(f"read_images: {what} has floats from {low:g} to {high:g}, {expected}")
    return np.rint(values * values.dtype.type(255)).astype(np.uint8)


def channels_second(where: str, images: np.ndarray) -> np.ndarray:
    """`[images, channels, height, width]` out of `[images, height, width]` or channels last.

    Errors:
        InputError: another form, more than 4 channels, or nothing in it.
    """
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and 1 <= images.shape[3] <= 4:
        images = np.moveaxis(images, 3, 1)
    if images.ndim != 4 or not 1 <= images.shape[1] <= 4 or not images.size:
        raise InputError(
            f"read_images: {where} has shape {list(images.shape)}, expected [images, height, "
            "width], with 1 to 4 channels after these or before"
        )
    return np.ascontiguousarray(images)


def label_names(where: str, labels: np.ndarray, count: int) -> list[str]:
    """Labels of an array as text; whole numbers without a point.

    Args:
        where: what they are labels of, for errors.
        labels: `[images]` or `[images, 1]`.
        count: how many images there are.

    Errors:
        InputError: another number of them, or neither whole numbers nor text.
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or len(labels) != count:
        raise InputError(
            f"read_images: {where} are {count:,} images and their labels have shape "
            f"{list(labels.shape)}, expected one label for each"
        )
    if labels.dtype.kind == "f" and np.all(np.isfinite(labels) & (labels == np.rint(labels))):
        labels = labels.astype(np.int64)
    if labels.dtype.kind in "biu":
        return [str(int(label)) for label in labels]
    if labels.dtype.kind == "S":
        return [label.decode("utf-8", "replace") for label in labels.tolist()]
    if labels.dtype.kind == "U":
        return labels.tolist()
    raise InputError(
        f"read_images: labels of {where} are {labels.dtype}, expected whole numbers or text"
    )


def resize(images: np.ndarray, size: Size | None) -> np.ndarray:
    """Images of another size, each channel on its own, bilinear: a smaller one is an average.

    Args:
        images: uint8 `[images, channels, height, width]`.
        size: height and width; None leaves them.

    Errors:
        MissingExtra: pillow is not installed.
    """
    if size is None or size == images.shape[2:]:
        return images
    pillow = _pillow()
    planes = images.reshape(-1, *images.shape[2:])
    found = np.empty((len(planes), *size), np.uint8)
    for at, plane in enumerate(planes):
        found[at] = _resized(pillow, pillow.Image.fromarray(plane), size)
    return found.reshape(*images.shape[:2], *size)


def read_files(folder: Path, files: Sequence[Path], size: Size | None) -> np.ndarray:
    """Images that Pillow reads, as one array.

    Args:
        folder: left out of the names in errors.
        files: at least one.
        size: resized to this height and width; None: all have the same.

    Returns:
        uint8 `[images, channels, height, width]`.

    Errors:
        InputError: several sizes or numbers of channels, or as `read_file`.
        MissingExtra: pillow is not installed.
    """
    first = read_file(files[0], size)
    images = np.empty((len(files), *first.shape), np.uint8)
    for at, path in enumerate(files):
        image = read_file(path, size) if at else first
        if image.shape != first.shape:
            raise _unlike(folder, files[0], first, path, image)
        images[at] = image
    return images


def _unlike(
    folder: Path, first: Path, image: np.ndarray, second: Path, other: np.ndarray
) -> InputError:
    """Two images that do not go into one array."""
    one, two = (path.relative_to(folder).as_posix() for path in (first, second))
    if len(image) != len(other):
        return InputError(
            f"read_images: in {folder} {one} has {_channels(len(image))} and {two} "
            f"{_channels(len(other))}, expected as many in all: store them alike"
        )
    size, another = (f"{each.shape[1]}x{each.shape[2]}" for each in (image, other))
    return InputError(
        f"read_images: in {folder} {one} has {size} pixels and {two} {another}, expected one size: "
        f"--image-size HxW resizes all, such as --image-size {size}"
    )


def read_file(path: Path, size: Size | None = None) -> np.ndarray:
    """One image as bytes, the way a viewer shows it on a white page.

    - Grey stays one channel, 1-bit images as well; all else is red, green, blue. A palette counts
      as colour, except a plain ramp of greys in a GIF or BMP.
    - What is transparent shows white behind it.
    - 16-bit greys are divided by 257; floats from 0 to 1 are multiplied by 255.
    - A photo is turned upright as its EXIF says. Of several frames or pages, the first counts.

    Args:
        path: the file; what is in it decides its kind, not its name.
        size: resized to this height and width.

    Returns:
        uint8 `[channels, height, width]`.

    Errors:
        InputError: no such file, no image, one that is not whole, of more pixels than Pillow thinks
            safe, or of whole numbers of more than 16 bits.
        MissingExtra: pillow is not installed.
    """
    pillow = _pillow()
    if not path.is_file():
        raise InputError(f"read_images: there is no file {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about details that do not matter here
            warnings.simplefilter("error", pillow.Image.DecompressionBombWarning)
            with pillow.Image.open(path, formats=FORMATS) as image:
                plain = _plain(pillow, path, image)
                pixels = np.asarray(plain) if size is None else _resized(pillow, plain, size)
    except InputError:
        raise
    except (pillow.Image.DecompressionBombError, pillow.Image.DecompressionBombWarning):
        limit = pillow.Image.MAX_IMAGE_PIXELS
        raise InputError(
            f"read_images: {path} has more than {limit:,} pixels, expected fewer: unpacked it "
            "might fill the memory"
        ) from None
    except pillow.UnidentifiedImageError:
        came = "is no image" if path.stat().st_size else "is empty"
        raise InputError(
            f"read_images: {path} {came}, expected one of {', '.join(FORMATS)}"
        ) from None
    # Damaged files make the readers of Pillow raise nearly anything.
    except Exception as error:
        raise InputError(f"read_images: {path} cannot be read ({_reason(error)})") from None
    return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)


def _plain(pillow: Any, path: Path, image: Any) -> Any:
    """An image of mode L or RGB; `read_file` says how."""
    mode = image.mode
    if mode == "I" and image.format != "PPM":
        raise InputError(
            f"read_images: {path} has whole numbers of 32 bits or with a sign, expected 8 or 16 "
            "bits without"
        )
    image = pillow.ImageOps.exif_transpose(image)
    if mode.startswith("I"):  # of PGM, Pillow has brought any range to 16 bits
        greys = np.asarray(image).astype(np.uint32)
        return pillow.Image.fromarray(((greys + 128) // 257).astype(np.uint8))
    if mode == "F":
        return pillow.Image.fromarray(to_bytes(str(path), np.asarray(image)))
    if image.has_transparency_data:
        white = pillow.Image.new("RGBA", image.size, "white")
        image = pillow.Image.alpha_composite(white, image.convert("RGBA"))
    # White keeps greys grey, and red = green = blue = v gives exactly v.
    return image.convert("RGB").convert("L" if mode in ("1", "L", "LA", "La") else "RGB")


def _resized(pillow: Any, image: Any, size: Size) -> np.ndarray:
    return np.asarray(image.resize((size[1], size[0]), pillow.Image.Resampling.BILINEAR))


def _pillow() -> Any:
    """Pillow, where it is installed."""
    try:
        import PIL
        import PIL.Image
        import PIL.ImageOps
    except ImportError:
        raise MissingExtra("reading image files", "pillow", "classify") from None
    return PIL


def _channels(count: int) -> str:
    return {1: "1 channel (grey)", 3: "3 channels (colour)"}.get(count, f"{count} channels")


def _reason(error: Exception) -> str:
    """What an error says, as a piece of a line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 100 else f"{text[:97]}..."
