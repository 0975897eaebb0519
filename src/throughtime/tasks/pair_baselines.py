"""What any model of pairs must beat: the source as it is, and the target of one much like it."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from throughtime.data.pairs import PairTexts

ORDERS = (2, 3, 4)
"""Characters of the n-grams by which sources are alike."""

KNOWN_MOST = 50_000
"""Different sources of the training part that are looked at: memory and time grow with them."""

AGREE = (1, 2, 3)
"""Characters of the n-grams by which an answer agrees with its target."""

LOOKED_AT = 100_000
"""Places in the lists of sources that one question looks at, those of its rarest n-grams first."""

SALT = np.uint64(0x9E3779B97F4A7C15)


class Copy:
    """The source as it is.

    Examples:
        >>> Copy(PairTexts(["a"], ["b"])).answer(["a c"])
        ['a c']
    """

    note = "the source as it is"

    def __init__(self, training: PairTexts) -> None:
        del training  # nothing is learnt

    def answer(self, sources: Sequence[str]) -> list[str]:
        """An answer to each source."""
        return [*sources]


class Nearest:
    r"""The target of the training source that is most like the one asked for.

    A source is the vector of its n-grams of 2 to 4 characters, a blank before and after it, with

    $$v_g = (1 + \log c_g) \log\frac{1 + N}{1 + N_g}$$

    where g occurs $c_g$ times in it and in $N_g$ of the N training sources. Alike is what has a
    small angle between these vectors; of equals the first, of its targets the first. N-grams that
    stand in very many sources tell little, and are left out of a question where there are many
    sources.

    Args:
        training: pairs to look among; of more than 50,000 different sources so many, evenly chosen.

    Examples:
        >>> known = PairTexts(["ein Hund läuft", "eine Katze sitzt"], ["a dog runs", "a cat sits"])
        >>> Nearest(known).answer(["zwei Hunde laufen"])
        ['a dog runs']

    References:
        Salton and Buckley 1988, "Term-weighting approaches in automatic text retrieval".
    """

    note = "the target of the most similar source"

    def __init__(self, training: PairTexts) -> None:
        first: dict[str, str] = {}
        for source, target in zip(*training, strict=True):
            first.setdefault(source, target)
        chosen = [*first.items()]
        if len(chosen) > KNOWN_MOST:
            places = np.linspace(0, len(chosen) - 1, KNOWN_MOST).astype(int)
            chosen = [chosen[place] for place in places]
        self.targets = [target for _, target in chosen]
        count = len(chosen)
        grams, rows = _grams([source for source, _ in chosen])
        # Each gram and the sources it stands in lie together: one list after another.
        self.known, numbers = np.unique(grams, return_inverse=True)
        cells, times = np.unique(numbers * count + rows, return_counts=True)
        numbers, self.rows = np.divmod(cells, count)
        self.sizes = np.bincount(numbers, minlength=len(self.known))
        self.starts = np.cumsum(self.sizes) - self.sizes
        self.rare = np.log((1 + count) / (1 + self.sizes))
        weights = (1 + np.log(times)) * self.rare[numbers]
        lengths = np.sqrt(np.bincount(self.rows, weights**2, minlength=count))
        self.weights = (weights / np.maximum(lengths, 1e-12)[self.rows]).astype(np.float32)

    def answer(self, sources: Sequence[str]) -> list[str]:
        """An answer to each source."""
        return [self.targets[self._nearest(source)] for source in sources]

    def _nearest(self, source: str) -> int:
        grams, times = np.unique(_grams([source])[0], return_counts=True)
        places = np.searchsorted(self.known, grams).clip(max=len(self.known) - 1)
        there = self.known[places] == grams
        places, times = places[there], times[there]
        order = np.argsort(self.sizes[places], kind="stable")
        order = order[np.cumsum(self.sizes[places][order]) <= LOOKED_AT]
        places, times = places[order], times[order]
        sizes = self.sizes[places]
        if not len(sizes):
            return 0
        # All their lists in one: where each begins, less what came before it, and a count.
        shift = np.repeat(self.starts[places] - (np.cumsum(sizes) - sizes), sizes)
        cells = shift + np.arange(len(shift))
        mine = np.repeat((1 + np.log(times)) * self.rare[places], sizes)
        return int(np.bincount(self.rows[cells], mine * self.weights[cells]).argmax())


RULES = {"copy": Copy, "nearest": Nearest}
"""The baselines of pairs by name."""


def agreement(answer: str, targets: Sequence[str]) -> float:
    """How far an answer agrees with the nearest of its targets, in %: the F1 of their n-grams.

    Examples:
        >>> agreement("a dog", ("a cat", "a dog")), agreement("xyz", ("a cat",))
        (100.0, 0.0)
    """
    mine = _counted(answer)
    return max(_f1(mine, _counted(target)) for target in targets)


def _counted(text: str) -> Counter[str]:
    return Counter(text[at : at + n] for n in AGREE for at in range(len(text) - n + 1))


def _f1(one: Counter[str], other: Counter[str]) -> float:
    size = one.total() + other.total()
    return 200 * (one & other).total() / size if size else 100.0


def _grams(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The n-grams of texts as numbers, and which text each stands in.

    A number stands for one n-gram, up to a chance in 2^64 that two share one.
    """
    padded = [f" {text} " for text in texts]
    whole = "".join(padded).encode("utf-32-le", "surrogatepass")
    signs = np.frombuffer(whole, dtype=np.uint32).astype(np.uint64) + np.uint64(1)
    row = np.repeat(np.arange(len(padded)), [len(text) for text in padded])
    grams, rows = [], []
    for n in ORDERS:
        if len(signs) < n:
            continue
        number = np.full(len(signs) - n + 1, n, dtype=np.uint64)
        for at in range(n):
            number = (number ^ signs[at : at + len(number)]) * SALT
            number ^= number >> np.uint64(29)
        inside = row[: len(number)] == row[n - 1 :]
        grams.append(number[inside])
        rows.append(row[: len(number)][inside])
    return np.concatenate(grams), np.concatenate(rows)
