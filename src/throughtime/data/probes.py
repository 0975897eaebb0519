"""Probes: made-up tasks of any length that only a model with a memory can solve."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from throughtime.data.arrays import check_positive, generator
from throughtime.data.example_batches import ExampleBatch, ExampleBatches
from throughtime.errors import InputError

__all__ = [
    "FreshProbes",
    "Probe",
    "adding",
    "adding_baseline",
    "copying",
    "copying_baseline",
    "first_symbol",
    "first_symbol_baseline",
    "parity",
    "parity_baseline",
]


@dataclass(frozen=True, eq=False)
class Probe:
    """Rows of a probe, what is to be answered, and what the trivial answer costs.

    Attributes:
        name: of the task.
        inputs: `[rows, time]` token ids, or `[rows, time, features]` numbers.
        targets: `[rows]` numbers or classes, or `[rows, time]` classes.
        kind: `number`: a row has a number; `one`: it has a class; `steps`: each step has one.
        baseline: what the trivial answer costs, which remembers nothing: its mean squared error
            where `kind` is `number`, else its nats per answer.
        tokens: how many ids there are; 0: inputs are numbers.
        classes: how many answers there are; 1: the answer is a number.
    """

    name: str
    inputs: np.ndarray
    targets: np.ndarray
    kind: str
    baseline: float
    tokens: int = 0
    classes: int = 1

    def source(self, rows: int = 32, seed: int = 0, *, shuffle: bool = True) -> ExampleBatches:
        """Batches of these rows, as [`train`][throughtime.training.train] takes them.

        Args:
            rows: of a batch.
            seed: of the shuffling.
            shuffle: False keeps one order.

        Examples:
            >>> source = parity(rows=5, time=3, seed=0).source(rows=2, shuffle=False)
            >>> [tuple(batch.x.shape) for (batch,) in source.epoch(0)]
            [(2, 3), (2, 3), (1, 3)]
        """
        return ExampleBatches([*self.inputs], self.targets, rows=rows, seed=seed, shuffle=shuffle)


class FreshProbes:
    """New rows in every epoch, so that none can be learned by heart: a `Source`.

    Args:
        make: the probe of a seed.
        rows: of a batch.
        seed: the rows depend on it and on the epoch's number alone.

    Examples:
        >>> source = FreshProbes(lambda seed: adding(rows=4, time=10, seed=seed))
        >>> ((first,),), ((other,),) = source.epoch(0), source.epoch(1)
        >>> first.x.shape, bool((first.x == other.x).all())
        (torch.Size([4, 10, 2]), False)
    """

    def __init__(self, make: Callable[[int], Probe], *, rows: int = 32, seed: int = 0) -> None:
        check_positive("FreshProbes", rows=rows)
        self.make = make
        self.rows = rows
        self.seed = seed

    def epoch(self, number: int) -> Sequence[Sequence[ExampleBatch]]:
        """The batches of epoch `number`."""
        seed = generator("FreshProbes", self.seed, number).integers(2**31)
        return self.make(int(seed)).source(self.rows, shuffle=False).epoch(0)


def adding(rows: int, time: int, seed: int) -> Probe:
    r"""Add the two numbers that are marked.

    Step t holds a value $u_t$, even in [0, 1), and a marker $m_t$, which is 1 at one step of either
    half and 0 elsewhere:

    $$y = \sum_t m_t u_t$$

    The answer is due after the last step. See
    [`adding_baseline`][throughtime.data.probes.adding_baseline]; a squared error below 0.01 is
    usually called solved.

    Args:
        rows: how many.
        time: steps of each, at least 2.
        seed: what is drawn depends on it alone.

    Returns:
        Inputs `[rows, time, 2]`, value and marker; targets `[rows]`, numbers.

    Errors:
        InputError: no rows, or fewer than 2 steps.

    Examples:
        >>> probe = adding(rows=100, time=20, seed=0)
        >>> values, markers = probe.inputs[..., 0], probe.inputs[..., 1]
        >>> bool(np.allclose((values * markers).sum(1), probe.targets))
        True

    References:
        Hochreiter and Schmidhuber 1997, "Long short-term memory", section 5.4; with values in
        [0, 1] as in Le, Jaitly and Hinton 2015, "A simple way to initialize recurrent networks of
        rectified linear units".
    """
    check_positive("adding", rows=rows)
    if time < 2:
        raise InputError(f"adding: time is {time}, expected at least 2, a step in either half")
    random = generator("adding", seed, 0)
    values = random.random((rows, time), dtype=np.float32)
    markers = np.zeros_like(values)
    row = np.arange(rows)
    markers[row, random.integers(0, time // 2, rows)] = 1
    markers[row, random.integers(time // 2, time, rows)] = 1
    return Probe(
        name="adding",
        inputs=np.stack([values, markers], axis=-1),
        targets=(values * markers).sum(1),
        kind="number",
        baseline=adding_baseline(),
    )


def adding_baseline() -> float:
    r"""The mean squared error of answering 1 to every row: 1/6.

    1 is the mean of the sum of two even numbers, and its variance is that error:

    $$\mathrm{Var}(u + v) = 2 \cdot \tfrac{1}{12}$$

    Examples:
        >>> round(adding_baseline(), 4)
        0.1667
    """
    return 1 / 6


def copying(rows: int, time: int, seed: int, *, symbols: int = 8, length: int = 10) -> Probe:
    r"""Remember some symbols, wait, and repeat them.

    With S symbols, blank is the id S and the delimiter S + 1. A row of T + 2 L steps is

        inputs    a_1 ... a_L   blank ... blank   delimiter   blank ... blank
        targets   blank ............................. blank   a_1   ...   a_L
        steps         L              T - 1            1              L

    Args:
        rows: how many.
        time: T, from the last of the symbols to the delimiter.
        seed: what is drawn depends on it alone.
        symbols: S, at least 2.
        length: L, how many are to be remembered.

    Returns:
        Inputs `[rows, time + 2 * length]`, ids of S + 2; targets of the same form, of S + 1
        classes.

    Errors:
        InputError: sizes below 1, or a single symbol.

    Examples:
        >>> probe = copying(rows=1, time=3, seed=0, symbols=2, length=2)
        >>> probe.inputs.tolist(), probe.targets.tolist()
        ([[1, 1, 2, 2, 3, 2, 2]], [[2, 2, 2, 2, 2, 1, 1]])

    References:
        Arjovsky, Shah and Bengio 2016, "Unitary evolution recurrent neural networks", section 4.1;
        Hochreiter and Schmidhuber 1997, "Long short-term memory".
    """
    check_positive("copying", rows=rows, time=time)
    baseline = copying_baseline(time, symbols=symbols, length=length)
    blank, delimiter = symbols, symbols + 1
    seen = generator("copying", seed, 0).integers(symbols, size=(rows, length))
    inputs = np.full((rows, time + 2 * length), blank)
    targets = inputs.copy()
    inputs[:, :length] = seen
    inputs[:, length + time - 1] = delimiter
    targets[:, length + time :] = seen
    return Probe("copying", inputs, targets, "steps", baseline, symbols + 2, symbols + 1)


def copying_baseline(time: int, *, symbols: int = 8, length: int = 10) -> float:
    r"""Nats per step of blanks up to the delimiter, and of guessing after it.

    $$\frac{L \log S}{T + 2 L}$$

    for L of the T + 2 L steps cost $\log S$ each, and all others nothing.

    Args:
        time: T.
        symbols: S, at least 2.
        length: L.

    Errors:
        InputError: sizes below 1, or a single symbol.

    Examples:
        >>> round(copying_baseline(100), 4)
        0.1733
    """
    check_positive("copying", time=time, length=length)
    _check_symbols("copying", symbols)
    return length * math.log(symbols) / (time + 2 * length)


def parity(rows: int, time: int, seed: int) -> Probe:
    r"""Say at each step whether there were an odd number of ones so far.

    $$y_t = x_1 \oplus x_2 \oplus \cdots \oplus x_t$$

    One bit of memory will do, but a single slip spoils all that follows, and no look at fewer than
    all steps tells anything: attention over a window and linear recurrences whose factors lie in
    [0, 1] fail at lengths that were not trained on.

    Args:
        rows: how many.
        time: steps of each.
        seed: what is drawn depends on it alone.

    Returns:
        Inputs `[rows, time]`, bits, by a fair coin; targets of the same form, classes 0 and 1.

    Errors:
        InputError: sizes below 1.

    Examples:
        >>> probe = parity(rows=1, time=6, seed=1)
        >>> probe.inputs.tolist(), probe.targets.tolist()
        ([[0, 1, 1, 1, 0, 0]], [[0, 1, 0, 1, 1, 1]])

    References:
        Hahn 2020, "Theoretical limitations of self-attention in neural sequence models"; Grazzi et
        al. 2025, "Unlocking state-tracking in linear RNNs through negative eigenvalues".
    """
    check_positive("parity", rows=rows, time=time)
    bits = generator("parity", seed, 0).integers(2, size=(rows, time))
    return Probe("parity", bits, bits.cumsum(1) % 2, "steps", parity_baseline(), 2, 2)


def parity_baseline() -> float:
    """Nats per step of a coin: log 2.

    Whoever knows which step is the first knows that one, and saves log 2 once in a row.

    Examples:
        >>> round(parity_baseline(), 4)
        0.6931
    """
    return math.log(2)


def first_symbol(rows: int, time: int, seed: int, *, symbols: int = 4) -> Probe:
    r"""Say at the end which symbol came first (a latch).

    $$y = x_1$$

    All steps hold symbols by chance, so what has to be kept looks like what has to be let pass.

    Args:
        rows: how many.
        time: steps of each; the first is time - 1 steps before the last.
        seed: what is drawn depends on it alone.
        symbols: how many there are, at least 2.

    Returns:
        Inputs `[rows, time]`, ids; targets `[rows]`, classes.

    Errors:
        InputError: sizes below 1, or a single symbol.

    Examples:
        >>> probe = first_symbol(rows=2, time=5, seed=0)
        >>> probe.inputs[:, 0].tolist() == probe.targets.tolist()
        True

    References:
        Bengio, Simard and Frasconi 1994, "Learning long-term dependencies with gradient descent is
        difficult" (the latch problem).
    """
    check_positive("first_symbol", rows=rows, time=time)
    baseline = first_symbol_baseline(symbols=symbols)
    ids = generator("first_symbol", seed, 0).integers(symbols, size=(rows, time))
    return Probe("first_symbol", ids, ids[:, 0].copy(), "one", baseline, symbols, symbols)


def first_symbol_baseline(*, symbols: int = 4) -> float:
    """Nats per row of guessing: the logarithm of the number of symbols.

    Args:
        symbols: how many there are, at least 2.

    Errors:
        InputError: a single symbol.

    Examples:
        >>> round(first_symbol_baseline(symbols=4), 4)
        1.3863
    """
    _check_symbols("first_symbol", symbols)
    return math.log(symbols)


def _check_symbols(what: str, symbols: Any) -> None:
    """Refuse an alphabet in which there is nothing to tell apart."""
    if symbols < 2:
        raise InputError(f"{what}: symbols is {symbols}, expected at least 2")
