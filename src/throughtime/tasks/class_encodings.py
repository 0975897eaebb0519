"""Examples as vectors of numbers, and which are alike: what the baselines see without learning."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from throughtime.data.pairs import PairTexts
from throughtime.errors import InputError, MissingExtra
from throughtime.tasks import pair_baselines

ORDERS = (1, 2, 3, 4)
"""Characters of the n-grams of a text."""

BUCKETS = 1 << 22
"""Numbers that n-grams are spread over; two that share one count as the same."""

CHARACTERS = 1_000_000
"""Characters whose n-grams are counted at a time."""

SINGLE_BELOW = 1000
"""Texts from which on an n-gram must stand in two of them."""

SUMMARY = ("mean", "std", "min", "max", "first", "last", "slope")
"""What a summary says of each feature of a series; its length follows after all of them."""

SIDE = 32
"""Pixels an image has at most from side to side before it becomes a vector."""

WARPED_MOST = 3e9
"""Pairs of steps for which series are warped, were there as many questions as known series."""

RESAMPLED = 64
"""Steps at most to which series are brought where they are not warped."""

SALT = np.uint64(0x9E3779B97F4A7C15)


class Grams:
    r"""Texts as vectors of their n-grams of 1 to 4 characters.

    Letters are small, white space is one blank, and one stands before and after the text:

    $$v_g = (1 + \log c_g) \left(1 + \log\frac{1 + N}{1 + N_g}\right)$$

    where g occurs $c_g$ times in a text and in $N_g$ of the N texts fitted to. Each vector has
    length 1, but for texts without any known n-gram, which are zero.

    Args:
        texts: to learn from which n-grams there are, and how rare each is.
        most: n-grams that are kept: those in most texts. One that stands in a single text is kept
            only of fewer than 1,000 texts.

    Errors:
        InputError: `most` below 1.

    Examples:
        >>> grams = Grams(["a cat", "a dog"])
        >>> vectors = grams(["a cat", "A  CAT", "xyz"])
        >>> vectors.shape[0], float((vectors[0] - vectors[1]).max()), vectors[2].nnz
        (3, 0.0, 0)
    """

    def __init__(self, texts: Sequence[str], most: int = 300_000) -> None:
        if most < 1:
            raise InputError(f"Grams: most is {most}, expected at least 1")
        found = np.zeros(BUCKETS, np.int64)
        for _, cells, _ in _counted(texts):
            found += np.bincount(cells % BUCKETS, minlength=BUCKETS)
        kept = np.flatnonzero(found >= (2 if len(texts) >= SINGLE_BELOW else 1))
        if len(kept) > most:
            kept = np.sort(kept[np.argsort(-found[kept], kind="stable")[:most]])
        self.columns = np.full(BUCKETS, -1, np.int64)
        self.columns[kept] = np.arange(len(kept))
        self.rarity = 1 + np.log((1 + len(texts)) / (1 + found[kept]))

    def __call__(self, texts: Sequence[str]) -> Any:
        """Vectors of texts.

        Args:
            texts: any.

        Returns:
            A sparse matrix of scipy, float32 `[texts, n-grams]`.

        Errors:
            MissingExtra: scikit-learn, which brings scipy, is not installed.
        """
        try:
            from scipy.sparse import csr_matrix, vstack
        except ImportError:
            raise MissingExtra("n-grams of texts", "scikit-learn", "classify") from None
        parts = [csr_matrix((0, len(self.rarity)), dtype=np.float32)]
        for count, cells, times in _counted(texts):
            rows, columns = cells // BUCKETS, self.columns[cells % BUCKETS]
            rows, columns, times = (each[columns >= 0] for each in (rows, columns, times))
            weights = (1 + np.log(times)) * self.rarity[columns]
            lengths = np.sqrt(np.bincount(rows, weights**2, minlength=count))
            weights = (weights / lengths[rows]).astype(np.float32)
            parts.append(csr_matrix((weights, (rows, columns)), shape=(count, len(self.rarity))))
        return vstack(parts, format="csr")


def summary(series: np.ndarray) -> np.ndarray:
    """What a series is like as a whole: of each feature seven numbers, and the number of steps.

    Args:
        series: `[time, features]`, NaN where a number is missing.

    Returns:
        float64 `[7 * features + 1]`: all means, then standard deviations, minima, maxima, first
        and last known numbers and slopes per step (by least squares), then the length. Missing
        numbers are left out; of a feature without any all is NaN.

    Examples:
        >>> summary(np.array([[1.0], [np.nan], [5.0]])).tolist()
        [3.0, 2.0, 1.0, 5.0, 1.0, 5.0, 2.0, 3.0]
    """
    steps, features = series.shape
    known = ~np.isnan(series)
    count = known.sum(0)
    values = np.where(known, series, 0.0).astype(np.float64)
    # 0 / 0 is NaN and means unknown, here and below.
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        mean = values.sum(0) / count
        away = np.where(known, values - mean, 0.0)
        std = np.sqrt((away**2).sum(0) / count)
        time = np.arange(steps, dtype=np.float64)[:, None]
        time = np.where(known, time - (time * known).sum(0) / count, 0.0)
        slope = (time * away).sum(0) / (time**2).sum(0)
    slope[count == 1] = 0.0
    found = np.full((len(SUMMARY), features), np.nan)
    found[:2], found[6] = (mean, std), slope
    if steps:
        least = np.where(known, values, np.inf).min(0)
        largest = np.where(known, values, -np.inf).max(0)
        every = np.arange(features)
        first, last = (
            values[known.argmax(0), every],
            values[steps - 1 - known[::-1].argmax(0), every],
        )
        found[2:6] = np.where(count > 0, (least, largest, first, last), np.nan)
    return np.append(found.ravel(), steps)


def summaries(series: Sequence[np.ndarray]) -> np.ndarray:
    """The summary of each: `[series, 7 * features + 1]`."""
    return np.stack([summary(one) for one in series])


def resampled(series: Sequence[np.ndarray], steps: int) -> np.ndarray:
    """All series with the same number of steps, by linear interpolation.

    Args:
        series: each `[time, features]`; a missing number is drawn from its neighbours too.
        steps: of each series afterwards.

    Returns:
        float64 `[series, steps * features]`, NaN for features without any number.

    Examples:
        >>> resampled([np.array([[0.0], [np.nan], [4.0]])], 5).tolist()
        [[0.0, 1.0, 2.0, 3.0, 4.0]]
    """
    out = np.full((len(series), steps, series[0].shape[1] if len(series) else 0), np.nan)
    for row, one in enumerate(series):
        at = np.linspace(0, max(len(one) - 1, 0), steps)
        for feature in range(one.shape[1]):
            known = np.flatnonzero(~np.isnan(one[:, feature]))
            if len(known):
                out[row, :, feature] = np.interp(at, known, one[known, feature])
    return out.reshape(len(series), -1)


def pixels(images: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Images as vectors: their pixels from 0 to 1; of large images the means of areas.

    Args:
        images: uint8 `[images, channels, height, width]`.
        side: height and width at most; larger ones are cut into so many areas.

    Returns:
        float32 `[images, channels * rows * columns]`.

    Examples:
        >>> pixels(np.array([[[[0, 255, 0, 0], [255, 0, 0, 0]]]], np.uint8), side=2).tolist()
        [[0.5, 0.0, 0.5, 0.0]]
    """
    size = [images.shape[1], *(min(side, each) for each in images.shape[2:])]
    found = np.empty((len(images), *size), np.float32)
    # One at a time: large ones would not all fit as float.
    for row, one in enumerate(images):
        found[row] = _areas(_areas(one, 1, side), 2, side) / 255
    return found.reshape(len(images), int(np.prod(size)))


def _areas(image: np.ndarray, axis: int, side: int) -> np.ndarray:
    """Means along one axis, so that `side` values stay."""
    size = image.shape[axis]
    if size <= side:
        return image.astype(np.float32)
    cuts = np.linspace(0, size, side + 1).astype(int)
    sums = np.add.reduceat(image, cuts[:-1], axis=axis, dtype=np.float32)
    shape = [1, 1, 1]
    shape[axis] = side
    return sums / np.diff(cuts).reshape(shape).astype(np.float32)


class Standard:
    """Vectors with mean 0 and standard deviation 1 in the training part; what is missing is 0.

    Args:
        vectors: `[rows, numbers]` of the training part, NaN where one is missing. A number that
            is always the same, or never known, is only shifted.

    Examples:
        >>> standard = Standard(np.array([[1.0], [3.0], [np.nan]]))
        >>> standard(np.array([[2.0], [4.0], [np.nan]])).tolist()
        [[0.0], [2.0], [0.0]]
    """

    MOST = 1e3
    """Standard deviations from the mean at most: what lies farther would drown all else."""

    def __init__(self, vectors: np.ndarray) -> None:
        known = np.isfinite(vectors)
        count = np.maximum(known.sum(0), 1)
        with np.errstate(over="ignore", invalid="ignore"):  # then all of it is as good as missing
            self.mean = np.where(known, vectors, 0).sum(0, dtype=np.float64) / count
            away = np.where(known, vectors - self.mean, 0)
            std = np.sqrt((away**2).sum(0, dtype=np.float64) / count)
            # A constant differs from its mean by rounding: that is no deviation.
            self.std = np.where(std <= 1e-9 * np.abs(self.mean), 1.0, std)
            self.std[self.std == 0] = 1.0

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Others on the same scale, in their own type."""
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = (vectors - self.mean) / self.std
        scaled = np.nan_to_num(scaled, nan=0.0, posinf=self.MOST, neginf=-self.MOST)
        return scaled.clip(-self.MOST, self.MOST).astype(vectors.dtype)


class Warped:
    r"""Series among which the nearest is found by dynamic time warping.

    The distance of series a and b is $D_{nm}$, with n and m their lengths and

    $$D_{ij} = \lVert a_i - b_j \rVert^2 + \min(D_{i-1,j}, D_{i,j-1}, D_{i-1,j-1})$$

    where $D_{00} = 0$ and all else outside is infinite. One without steps has one of zeros.

    Args:
        series: those known, each `[time, features]`, no number missing.

    Examples:
        >>> known = Warped([np.array([[0.0], [1.0]]), np.array([[0.0], [2.0], [2.0]])])
        >>> known(np.array([[0.0], [0.0], [2.0]]))
        1
        >>> known.distances(np.array([[0.0], [0.0], [2.0]])).tolist()
        [1.0, 0.0]
    """

    def __init__(self, series: Sequence[np.ndarray]) -> None:
        series = [one if len(one) else np.zeros((1, one.shape[1])) for one in series]
        lengths = np.array([len(one) for one in series])
        # By length: those that end on one diagonal lie side by side.
        self.order = np.argsort(lengths, kind="stable")
        self.lengths = lengths[self.order]
        self.known = np.zeros((int(lengths.max()), len(series), series[0].shape[1]))
        for at, row in enumerate(self.order):
            self.known[: lengths[row], at] = series[row]

    def __call__(self, one: np.ndarray) -> int:
        """The place of the nearest, of equals the first."""
        return int(self.distances(one).argmin())

    def distances(self, one: np.ndarray) -> np.ndarray:
        """To each known series, `[series]`."""
        one = one if len(one) else np.zeros((1, one.shape[1]))
        longest, count, _ = self.known.shape
        steps = len(one)
        both = np.tensordot(one, self.known, axes=(1, 2))
        sizes = (self.known**2).sum(2) + (one**2).sum(1)[:, None, None]
        costs = np.maximum(sizes - 2 * both, 0)  # [steps, longest, series]
        # Diagonal after diagonal, i + j = d: all on one are free of each other.
        before, last = np.full((2, steps + 1, count), np.inf)
        before[0] = 0
        found = np.empty(count)
        for d in range(2, steps + longest + 1):
            low, high = max(1, d - longest), min(steps, d - 1)
            i = np.arange(low, high + 1)
            now = np.full((steps + 1, count), np.inf)
            past = np.minimum(last[low - 1 : high], last[low : high + 1])
            now[i] = costs[i - 1, d - i - 1] + np.minimum(past, before[low - 1 : high])
            ends = slice(*np.searchsorted(self.lengths, (d - steps, d - steps + 1)))
            found[self.order[ends]] = now[steps, ends]
            before, last = last, now
        return found


def finder(kind: str, values: Any) -> tuple[Callable[[Any], np.ndarray], str]:
    """Where the nearest of known examples are found.

    Args:
        kind: of the examples: `texts`, `series` or `images`.
        values: those known, at least one.

    Returns:
        A function from others to the rows of the nearest of each, of equals the first, and a few
        words on how it finds them.

    Examples:
        >>> find, how = finder("texts", ["a cat", "a dog"])
        >>> find(["Dogs", "cats"]).tolist(), how
        ([1, 0], 'by n-grams of characters')
    """
    if kind == "texts":
        rows = [str(row) for row in range(len(values))]
        pairs = pair_baselines.Nearest(PairTexts([_plain(text) for text in values], rows))
        return (
            lambda asked: np.array([int(row) for row in pairs.answer([_plain(t) for t in asked])]),
            "by n-grams of characters",
        )
    if kind == "images":
        return _euclidean(pixels, pixels(values)), "by pixels"
    every = [one for one in values if len(one)] or [np.zeros((1, values[0].shape[1]))]
    standard = Standard(np.concatenate(every).astype(np.float64))
    lengths = [len(one) for one in values]
    if (len(values) * np.mean(lengths)) ** 2 <= WARPED_MOST:
        warp = Warped([standard(one.astype(np.float64)) for one in values])
        return (
            lambda asked: np.array([warp(standard(one.astype(np.float64))) for one in asked]),
            "by dynamic time warping",
        )
    steps = int(np.clip(np.median(lengths), 1, RESAMPLED))

    def encode(series: Sequence[np.ndarray]) -> np.ndarray:
        flat = resampled(series, steps).reshape(len(series) * steps, -1)
        return standard(flat).reshape(len(series), -1)

    return _euclidean(encode, encode(values)), f"by {steps} steps of each"


def _euclidean(encode: Callable[[Any], np.ndarray], known: np.ndarray) -> Callable:
    """From values to the rows of the vectors nearest to theirs."""
    mean = known.mean(0)
    known = (known - mean).astype(np.float32)
    size = (known**2).sum(1) / 2

    def find(values: Any) -> np.ndarray:
        # A part at a time: all distances at once would not fit.
        parts = [(size - (encode(values[at : at + 256]) - mean).astype(np.float32) @ known.T)
                 .argmin(1) for at in range(0, len(values), 256)]  # fmt: skip
        return np.concatenate(parts)

    return find


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def _counted(texts: Sequence[str]) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Parts of the texts: how many, their cells `row * BUCKETS + n-gram`, and how often each is."""
    part: list[str] = []
    size = 0
    for text in texts:
        part.append(f" {_plain(text)} ")
        size += len(part[-1])
        if size > CHARACTERS:
            yield len(part), *_cells(part)
            part, size = [], 0
    if part:
        yield len(part), *_cells(part)


def _cells(padded: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The n-grams of texts with a blank at their ends: different cells, and their counts."""
    whole = "".join(padded).encode("utf-32-le", "surrogatepass")
    signs = np.frombuffer(whole, dtype=np.uint32).astype(np.uint64) + np.uint64(1)
    row = np.repeat(np.arange(len(padded)), [len(text) for text in padded])
    cells = []
    for n in ORDERS:
        count = len(signs) - n + 1
        if count < 1:
            continue
        number = np.full(count, n, dtype=np.uint64)
        for at in range(n):
            number = (number ^ signs[at : at + count]) * SALT
            number ^= number >> np.uint64(29)
        inside = row[:count] == row[n - 1 :]
        if n == 1:
            inside &= signs != ord(" ") + 1  # every text has blanks
        buckets = (number[inside] % np.uint64(BUCKETS)).astype(np.int64)
        cells.append(row[:count][inside] * BUCKETS + buckets)
    return np.unique(np.concatenate(cells), return_counts=True)
