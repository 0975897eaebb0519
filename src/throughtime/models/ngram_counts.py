"""Counting n-grams: from token ids to a smoothed tree, with sorting and no loop over tokens."""

from typing import NamedTuple

import numpy as np

BUFFER = 1 << 21
"""Steps that are gathered before they are counted together: bounds the memory beside the counts."""


class Tree(NamedTuple):
    """Smoothed n-grams; the buffers of [`GramHead`][throughtime.models.ngram.GramHead].

    Attributes:
        context_keys: `[contexts - 1]`, ascending.
        backoff: `[contexts]`.
        gram_keys: `[n-grams]`, ascending.
        mass: `[n-grams]`.
    """

    context_keys: np.ndarray
    backoff: np.ndarray
    gram_keys: np.ndarray
    mass: np.ndarray


class GramCounts:
    """How often each n-gram occurred; memory grows with the different ones, not with the text.

    Args:
        order: n.
        tokens: V, size of the vocabulary; the begin id is V.

    Attributes:
        grams: `[different n-grams, order]`; a row holds the context, the latest token first, and
            then the token that came after it.
        counts: `[different n-grams]`.
    """

    def __init__(self, order: int, tokens: int) -> None:
        self.order = order
        self.tokens = tokens
        self.grams = np.empty((0, order), dtype=np.int32)
        self.counts = np.empty(0, dtype=np.int64)
        self._waiting: list[np.ndarray] = []
        self._waits = 0

    def add(self, grams: np.ndarray) -> None:
        """Count some more, `[steps, order]`."""
        self._waiting.append(grams.astype(np.int32))
        self._waits += len(grams)
        if self._waits >= max(BUFFER, len(self.grams)):
            self.merge()

    def merge(self) -> None:
        """Bring what was added into `grams` and `counts`."""
        if not self._waits:
            return
        grams = np.concatenate([self.grams, *self._waiting])
        counts = np.concatenate([self.counts, np.ones(self._waits, dtype=np.int64)])
        self._waiting, self._waits = [], 0
        _, first, which = np.unique(
            _row_keys(grams, self.tokens + 1), return_index=True, return_inverse=True
        )
        self.grams = grams[first]
        self.counts = _add_up(which, counts, len(first))

    def tree(self) -> Tree:
        """Smooth the counts of every length up to n.

        A context that reaches back to the beginning of its sequence is not grown further.
        """
        self.merge()
        *past, following = self.grams.T.astype(np.int64)
        alive = np.arange(len(following))  # the rows whose context can be as long as this
        node = np.zeros(len(following), dtype=np.int64)  # the number of that context
        contexts = 1
        context_keys = [np.empty(0, dtype=np.int64)]
        levels = []
        for length in range(self.order):
            if length:
                if length > 1:
                    grows = past[length - 2][alive] < self.tokens
                    alive, node = alive[grows], node[grows]
                oldest = past[length - 1][alive]
                keys, node = np.unique(node * (self.tokens + 1) + oldest, return_inverse=True)
                node += contexts
                contexts += len(keys)
                context_keys.append(keys)
            keys, first, which = np.unique(
                node * self.tokens + following[alive], return_index=True, return_inverse=True
            )
            gram = np.full(len(following), -1)
            gram[alive] = which
            levels.append((keys, gram, alive[first]))

        backoff = np.ones(contexts)
        masses = []
        longer = None  # a row for each different n-gram that is one token longer
        for keys, gram, rows in reversed(levels):
            count = _add_up(gram[gram >= 0], self.counts[gram >= 0], len(keys))
            if longer is not None:
                different = np.bincount(gram[longer], minlength=len(keys))
                count = np.where(different > 0, different, count)
            longer = rows
            node = keys // self.tokens
            taken = discounts(count)[np.minimum(count, 3)]
            total = _add_up(node, count, contexts)
            masses.append((count - taken) / total[node])
            passed_on = np.bincount(node, taken, contexts)
            np.divide(passed_on, total, out=backoff, where=total > 0)
        return Tree(
            context_keys=np.concatenate(context_keys),
            backoff=backoff,
            gram_keys=np.concatenate([keys for keys, _, _ in levels]),
            mass=np.concatenate(masses[::-1]),
        )


def discounts(counts: np.ndarray) -> np.ndarray:
    """D(0), D(1), D(2) and D(3 or more), from how many of the counts are 1, 2, 3 and 4.

    References:
        Chen and Goodman 1999, equation 26; half the count where that gives nothing sensible.
    """
    n = np.bincount(np.minimum(counts, 5), minlength=6).astype(np.float64)
    spared = n[1] / max(n[1] + 2 * n[2], 1)
    found = [0.0]
    for count in (1, 2, 3):
        value = count - (count + 1) * spared * n[count + 1] / max(n[count], 1)
        found.append(value if n[count] and 0 < value < count else count / 2)
    return np.array(found)


def _row_keys(rows: np.ndarray, size: int) -> np.ndarray:
    """One number for each row of ids below `size`, the same for equal rows and only for those."""
    keys, bound = rows[:, 0].astype(np.int64), size
    for column in rows.T[1:]:
        if bound > np.iinfo(np.int64).max // size:  # no room: number the different ones
            different, keys = np.unique(keys, return_inverse=True)
            bound = len(different)
        keys = keys * size + column
        bound *= size
    return keys


def _add_up(which: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """The sum of the whole numbers `values` that belong to each of 0 to `size - 1`."""
    return np.bincount(which, values, size).astype(np.int64)
