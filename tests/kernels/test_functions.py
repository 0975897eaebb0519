"""exp, sigmoid and tanh of every instruction set, over the whole range of numbers."""

import numpy as np
import pytest

from tests.kernels.support import needs_extension
from throughtime.kernels import native

pytestmark = needs_extension

NAMES = ("exp", "sigmoid", "tanh")
# The largest error in units of the last place, on any instruction set: of every float32 that has an
# answer of its own, and of 5e7 float64. Measured, and rounded up.
BOUNDS = {
    ("exp", np.float32): 1.1,
    ("exp", np.float64): 1.1,
    ("sigmoid", np.float32): 2.5,
    ("sigmoid", np.float64): 2.4,
    ("tanh", np.float32): 2.8,
    ("tanh", np.float64): 2.8,
}
each_function = pytest.mark.parametrize("name", NAMES)
each_type = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


def evaluate(name, x):
    y = np.full_like(x, 7)
    native.library.evaluate(NAMES.index(name), x.itemsize, x.size, x.ctypes.data, y.ctypes.data)
    return y


def exact(name, x):
    """In more digits than x has."""
    wide = x.astype(np.float64 if x.dtype == np.float32 else np.longdouble)
    with np.errstate(over="ignore", under="ignore"):
        if name == "exp":
            return np.exp(wide)
        return 1 / (1 + np.exp(-wide)) if name == "sigmoid" else np.tanh(wide)


def points(dtype):
    """Every exponent with many mantissas, random bits, and a dense grid where the curves bend."""
    word, info, random = (
        np.dtype(f"u{dtype().itemsize}").type,
        np.finfo(dtype),
        np.random.default_rng(0),
    )
    bits = random.integers(0, np.iinfo(word).max, 1 << 18, word, endpoint=True)
    exponents = np.arange(1 << info.nexp, dtype=word)[:, None] << word(info.nmant)
    every = (exponents | np.linspace(0, (1 << info.nmant) - 1, 101).astype(word)).ravel()
    edge = 110 if dtype == np.float32 else 760
    grids = [np.linspace(-reach, reach, 1 << 18).astype(dtype) for reach in (1, 20, edge)]
    x = np.concatenate([bits.view(dtype), every.view(dtype), -every.view(dtype), *grids])
    return x[~np.isnan(x)]


@each_type
@each_function
def test_error(isa, name, dtype):
    if dtype == np.float64 and np.finfo(np.longdouble).nmant < 60:
        pytest.skip("needs a type with more digits than float64")
    x, tiny = points(dtype), np.finfo(dtype).tiny
    x = x[(x == 0) | (np.abs(x) >= tiny)]
    y, expected = evaluate(name, x), exact(name, x)
    with np.errstate(over="ignore", under="ignore"):
        near = expected.astype(dtype)

    # Beyond the largest number: infinite. Below the smallest normal one: zero, or for a sigmoid,
    # which is a sum of two numbers, nothing that matters.
    assert np.array_equal(y[np.isinf(near)], near[np.isinf(near)])
    below = np.abs(expected) < tiny
    assert np.all(np.abs(y[below]) <= (2 * tiny if name == "sigmoid" else 0))

    between = np.isfinite(near) & ~below
    difference = np.abs(y[between] - expected[between])
    if name == "sigmoid":
        difference = np.maximum(difference - tiny, 0)
    error = difference / np.spacing(np.abs(near[between])).astype(expected.dtype)
    assert error.max() <= BOUNDS[name, dtype], x[between][error.argmax()]


@each_type
def test_ends(isa, dtype):
    inf, nan, largest = np.inf, np.nan, np.finfo(dtype).max
    x = np.array([0.0, -0.0, inf, -inf, nan, largest, -largest], dtype)
    assert np.array_equal(evaluate("exp", x), [1, 1, inf, 0, nan, inf, 0], equal_nan=True)
    assert np.array_equal(evaluate("sigmoid", x), [0.5, 0.5, 1, 0, nan, 1, 0], equal_nan=True)
    assert np.array_equal(evaluate("tanh", x), [0, 0, 1, -1, nan, 1, -1], equal_nan=True)


@each_type
def test_denormal_numbers_count_as_zero(isa, dtype):
    tiny = np.finfo(dtype).tiny
    x = np.array([tiny / 2, -tiny / 2, np.nextafter(dtype(0), dtype(1)), tiny, -tiny], dtype)
    assert np.array_equal(evaluate("exp", x), [1] * 5)
    assert np.array_equal(evaluate("sigmoid", x), [0.5] * 5)
    assert np.array_equal(evaluate("tanh", x), [0, 0, 0, tiny, -tiny])


@each_type
def test_saturation(isa, dtype):
    """Gates that are fully open or shut are so exactly, and never pass 1."""
    x = np.linspace(0, 40, 100_001).astype(dtype)
    for name, low in (("sigmoid", 0), ("tanh", -1)):
        for sign in (1, -1):
            y = evaluate(name, sign * x)
            assert y.min() >= low
            assert y.max() <= 1
    assert np.all(evaluate("tanh", x[x > 19.1]) == 1)
    assert np.all(evaluate("sigmoid", x[x > 38]) == 1)


@each_type
@each_function
def test_any_count(isa, name, dtype):
    """Nothing beyond the end is written, and each number has the same result at every place."""
    x = np.linspace(-3, 3, 50).astype(dtype)
    whole = evaluate(name, x)
    for count in range(40):
        y = np.full(50, 7, dtype)
        native.library.evaluate(NAMES.index(name), x.itemsize, count, x.ctypes.data, y.ctypes.data)
        assert np.array_equal(y[:count], whole[:count])
        assert np.all(y[count:] == 7)
