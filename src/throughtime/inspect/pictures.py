"""Pictures that a page holds itself: pixels as data URIs, series as small lines."""

import base64
import io
from dataclasses import dataclass

import numpy as np

from throughtime.errors import MissingExtra

LONGEST = 128
"""Pixels along the longer side up to which an image is kept as it is."""

LANES = 6
"""Features of a series that are drawn, each in a lane of its own."""

BUCKETS = 80
"""Stretches of a series of which the lowest and the highest value are drawn."""


@dataclass(frozen=True)
class Picture:
    """A figure for both surroundings, as data the page holds itself, and what it shows in words.

    Args:
        light: data URI for light surroundings.
        dark: likewise for dark ones.
        words: for those who cannot see it.
        caption: a sentence below it.
    """

    light: str
    dark: str
    words: str
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """A heading and figures.

    Args:
        title: the heading.
        text: a sentence below it.
        figures: what is shown.
        large: whether they need more room than others.
    """

    title: str
    text: str
    figures: list[Picture]
    large: bool = False


def png_uri(image: np.ndarray, longest: int = LONGEST) -> str:
    """An image as a PNG in a data URI.

    Args:
        image: uint8 `[channels, height, width]`: one channel is grey, three are red, green and
            blue, four have opacity as well; of any other number the mean is shown.
        longest: pixels; an image with a longer side is made smaller.

    Errors:
        MissingExtra: no pillow.

    Examples:
        >>> png_uri(np.zeros((1, 8, 8), np.uint8))[:22]
        'data:image/png;base64,'
    """
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtra("png_uri", "pillow", "classify") from None

    if image.shape[0] not in (1, 3, 4):
        image = image.mean(0, keepdims=True).round().astype(np.uint8)
    pixels = np.ascontiguousarray(image[0] if image.shape[0] == 1 else image.transpose(1, 2, 0))
    drawn = Image.fromarray(pixels)
    drawn.thumbnail((longest, longest))
    buffer = io.BytesIO()
    drawn.save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def spark_paths(series: np.ndarray, width: float = 160.0, height: float = 48.0) -> list[str]:
    """A series as paths of an SVG drawing, a lane for each feature, the first one on top.

    Each lane has a scale of its own. A long series is cut into stretches, of each of which the
    lowest and the highest value are kept, so that no peak is lost. A gap stays a gap.

    Args:
        series: `[time, features]`; only the first `LANES` features are drawn.
        width: of the drawing.
        height: of all lanes together.

    Returns:
        What stands in the attribute `d`; empty for a feature of which nothing is known.

    Examples:
        >>> spark_paths(np.array([[0.0], [1.0], [0.0]]), width=10.0, height=10.0)
        ['M0.0 9.0L5.0 1.0L10.0 9.0']
    """
    lanes = np.asarray(series, dtype=float).T[:LANES]
    tall = height / max(1, len(lanes))
    return [_path(lane, at * tall, tall, width) for at, lane in enumerate(lanes)]


def _path(values: np.ndarray, top: float, tall: float, width: float) -> str:
    """One lane: `M` begins a stretch without gaps, `L` goes on; a value alone is a dot."""
    known = values[np.isfinite(values)]
    if not known.size:
        return ""
    low, high = float(known.min()) / 2, float(known.max()) / 2  # halved, so that none overflows
    stretches: list[list[str]] = [[]]
    for step in _kept(values):
        if not np.isfinite(values[step]):
            stretches.append([])
            continue
        rise = (float(values[step]) / 2 - low) / (high - low) if high > low else 0.5
        x, y = width * step / max(1, len(values) - 1), top + tall * (0.9 - 0.8 * rise)
        stretches[-1].append(f"{x:.1f} {y:.1f}")
    return "".join(f"M{'L'.join(one if len(one) > 1 else one * 2)}" for one in stretches if one)


def _kept(values: np.ndarray) -> list[int]:
    """The steps that are drawn: all of a short series, of a long one its lows, highs and gaps."""
    if len(values) <= 2 * BUCKETS:
        return list(range(len(values)))
    kept: set[int] = {0, len(values) - 1}
    for part in np.array_split(np.arange(len(values)), BUCKETS):
        there = np.isfinite(values[part])
        if there.any():
            kept |= {int(part[np.where(there, values[part], np.inf).argmin()])}
            kept |= {int(part[np.where(there, values[part], -np.inf).argmax()])}
        if not there.all():
            kept.add(int(part[there.argmin()]))
    return sorted(kept)
