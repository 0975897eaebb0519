"""What a session answers is what a run over the whole series says."""

import csv
import math
from itertools import pairwise

import numpy as np
import pytest

from tests.serving.runs import answered, forecast_data, make_run, whole_run
from throughtime.errors import InputError
from throughtime.serving import SeriesSession, TextSession, open_session

LEVELS = (0.1, 0.5, 0.9)
KINDS = ("window", "rnn", "lstm", "gru", "last", "seasonal", "linear")


def hour(at):
    return f"2020-01-{1 + at // 24:02d} {at % 24:02d}:00"


def y(at):
    return round(math.sin(at / 4) + (at * 7919 % 13) / 20, 4)


def write(path, header, rows):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Steps without times: a number is a whole observation."""
    folder = tmp_path_factory.mktemp("plain")
    path = write(folder / "plain.csv", "y", [(y(at),) for at in range(60)])
    return make_run(folder / "run", forecast_data(path))


@pytest.fixture(scope="module")
def clock(tmp_path_factory):
    """Hours, with the cycle of the day as a covariate, values missing, and rows missing."""
    folder = tmp_path_factory.mktemp("clock")
    gone = {30, 31, 32, 50}
    rows = [(hour(at), "" if at % 11 == 5 else y(at)) for at in range(96) if at not in gone]
    path = write(folder / "clock.csv", "date,y", rows)
    return make_run(folder / "run", forecast_data(path))


def observe_all(session, observations):
    return [session.observe(each) for each in observations]


def rows_of(run):
    with open(run.config.data.source, newline="") as file:
        return list(csv.DictReader(file))


# -- answers equal those of the whole run ----------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_bare_numbers(kind, tmp_path):
    path = write(tmp_path / "plain.csv", "y", [(y(at),) for at in range(60)])
    run = make_run(tmp_path / "run", forecast_data(path), kind)
    series, expected = whole_run(run)
    session = SeriesSession(run, levels=LEVELS)
    answers = observe_all(session, np.asarray(series.values)[:, 0].tolist())
    np.testing.assert_allclose(answered(answers, ["y"]), expected, rtol=1e-9, atol=1e-9)
    assert [answer["y"]["median"] for answer in answers] == pytest.approx(expected[:, 0, 1])
    assert session.observed == 60
    assert "time" not in answers[0]


@pytest.mark.parametrize("kind", ["lstm", "window", "linear", "seasonal"])
def test_hours_with_missing_values_and_missing_rows(kind, tmp_path, clock):
    run = make_run(tmp_path / "run", clock.config.data, kind)
    assert run.config.data.columns.calendar == ("hour",)
    series, expected = whole_run(run)
    assert series.gaps == 4
    rows = rows_of(run)
    answers = observe_all(SeriesSession(run, levels=LEVELS), rows)
    here = [int(row["date"][8:10]) * 24 - 24 + int(row["date"][11:13]) for row in rows]
    np.testing.assert_allclose(answered(answers, ["y"]), expected[here], rtol=1e-9, atol=1e-9)
    assert answers[-1]["time"] == "2020-01-05"
    assert answers[0]["time"] == "2020-01-01 01:00"


def test_a_row_left_out_is_a_missing_value(clock):
    one, two = SeriesSession(clock), SeriesSession(clock)
    for at in (0, 1, 2):
        one.observe({"y": y(at), "time": hour(at)})
        two.observe({"y": y(at), "time": hour(at)})
    for at in (3, 4):
        one.observe({"y": None, "time": hour(at)})
    last = {"y": y(5), "time": hour(5)}
    first, second = one.observe(last), two.observe(last)
    assert first["time"] == second["time"]
    assert answered([first], ["y"]) == pytest.approx(answered([second], ["y"]), rel=1e-9)


def test_times_that_are_not_given_follow_each_other(clock):
    with_times, without = SeriesSession(clock), SeriesSession(clock, start="2020-01-01")
    for at in range(30):
        first = with_times.observe({"y": y(at), "date": hour(at)})
        second = without.observe(y(at))
        assert first == second


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Two series with known, past and static columns; words and numbers; no calendar."""
    folder = tmp_path_factory.mktemp("shop")
    rows = []
    for shop, steps in (("A", 60), ("B", 45)):
        for at in range(steps):
            rows.append((
                shop, at, "" if at % 9 == 4 else y(at + steps), at % 3, y(3 * at),
                {"A": "big", "B": "small"}[shop], {"A": 10, "B": 7.5}[shop],
            ))  # fmt: skip
        rows.append((shop, steps, "", steps % 3, "", rows[-1][5], rows[-1][6]))
    path = write(folder / "shop.csv", "shop,day,sold,promo,visits,kind,area", rows)
    data = forecast_data(
        path, id="shop", time="day", targets=("sold",), known=("promo",), past=("visits",),
        static=("kind", "area"),
    )  # fmt: skip
    return make_run(folder / "run", data, scaling="standard")


@pytest.mark.parametrize("index", [0, 1])
def test_known_past_and_static_columns(shop, index):
    series, expected = whole_run(shop, index)
    rows = [row for row in rows_of(shop) if row["shop"] == series.name]
    session = SeriesSession(shop, levels=LEVELS)
    answers = []
    for at, (row, following) in enumerate(pairwise(rows)):
        observation = {name: row[name] for name in ("sold", "visits", "day", "shop")}
        observation["promo"] = following["promo"]
        if at == 0:
            observation |= {name: row[name] for name in ("kind", "area")}
            observation["now.promo"] = row["promo"]
        answers.append(session.observe(observation))
    np.testing.assert_allclose(answered(answers, ["sold"]), expected, rtol=1e-9, atol=1e-9)


def test_each_part_of_an_observation_matters(shop):
    full = {"sold": 1.0, "visits": 2.0, "promo": 1, "now.promo": 2, "kind": "big", "area": 10}

    def answer(**changes):
        return answered([SeriesSession(shop).observe({**full, **changes})], ["sold"])

    usual = answer()
    for change in ({"sold": 2}, {"visits": 1}, {"promo": 2}, {"now.promo": 1}, {"kind": "small"},
                   {"area": 7.5}):  # fmt: skip
        assert not np.allclose(answer(**change), usual), change
    assert np.array_equal(answer(day=5), usual)  # steps are numbers, and have no calendar


def test_columns_of_a_wide_table_are_called_value(tmp_path):
    path = write(tmp_path / "wide.csv", "a,b", [(y(at), y(2 * at)) for at in range(50)])
    run = make_run(tmp_path / "run", forecast_data(path, wide=True), scaling="standard")
    series, expected = whole_run(run, 1)
    answers = observe_all(
        SeriesSession(run, levels=LEVELS), np.asarray(series.values)[:, 0].tolist()
    )
    np.testing.assert_allclose(answered(answers, ["value"]), expected, rtol=1e-9, atol=1e-9)


def test_several_targets(tmp_path):
    path = write(tmp_path / "two.csv", "a,b", [(y(at), y(2 * at)) for at in range(50)])
    run = make_run(tmp_path / "run", forecast_data(path), "lstm", head="student")
    series, expected = whole_run(run)
    session = SeriesSession(run, levels=LEVELS)
    answers = observe_all(
        session, [{"a": a, "b": b} for a, b in np.asarray(series.values).tolist()]
    )
    np.testing.assert_allclose(answered(answers, ["a", "b"]), expected, rtol=1e-9, atol=1e-9)
    with pytest.raises(InputError, match="expected an object with a, b, got 5"):
        session.observe(5)


@pytest.mark.parametrize("day", ["15", "31"])
def test_months_follow_each_other_where_their_days_do(tmp_path, day):
    ends = np.arange("2015-02", "2021-02", dtype="datetime64[M]").astype("datetime64[D]") - 1
    firsts = np.arange("2015-01", "2021-01", dtype="datetime64[M]").astype("datetime64[D]") + 14
    rows = [(moment, y(at)) for at, moment in enumerate(ends if day == "31" else firsts)]
    run = make_run(tmp_path / "run", forecast_data(write(tmp_path / "m.csv", "date,y", rows)))
    assert run.config.data.columns.frequency == "1mo"
    series, expected = whole_run(run)
    assert len(series) == 72
    session = SeriesSession(run, levels=LEVELS)
    answers = observe_all(session, [{"date": str(moment), "y": value} for moment, value in rows])
    np.testing.assert_allclose(answered(answers, ["y"]), expected, rtol=1e-9, atol=1e-9)
    told = [answer["time"] for answer in answers[1:-1]]
    assert told == [str(moment) for moment, _ in rows[2:]]


# -- a pause ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("pause", [1, 30])
def test_a_pause_changes_nothing(clock, tmp_path, pause):
    rows = rows_of(clock)[:35]  # three are missing after the thirtieth
    expected = observe_all(SeriesSession(clock), rows)
    first = SeriesSession(clock)
    found = observe_all(first, rows[:pause])
    first.save(tmp_path / "state")
    second = SeriesSession(clock)
    second.restore(tmp_path / "state")
    assert second.observed == pause
    assert found + observe_all(second, rows[pause:]) == expected


def test_static_columns_and_the_series_are_kept_over_a_pause(shop, tmp_path):
    first = SeriesSession(shop)
    first.observe({"sold": 1, "visits": 1, "kind": "big", "area": 10, "shop": "A", "day": 3})
    first.save(tmp_path / "state")
    second = SeriesSession(shop)
    second.restore(tmp_path / "state")
    following = {"sold": 2, "visits": 1}
    assert second.observe(following) == first.observe(following)
    with pytest.raises(InputError, match="shop is 'B' after 'A'; each series needs a session"):
        second.observe({"sold": 1, "shop": "B"})


def test_fractions_of_a_second_survive_a_pause(tmp_path):
    start = np.datetime64("2020-01-01T00:00:00.250", "ms")
    moments = [str(start + at * np.timedelta64(500, "ms")) for at in range(40)]
    rows = [(moment, y(at)) for at, moment in enumerate(moments)]
    run = make_run(tmp_path / "run", forecast_data(write(tmp_path / "f.csv", "time,y", rows)))
    session = SeriesSession(run)
    session.observe({"time": moments[0], "y": 1})
    session.save(tmp_path / "state")
    session = SeriesSession(run)
    session.restore(tmp_path / "state")
    session.observe({"time": moments[1], "y": 1})
    assert session.time == np.datetime64(moments[1])


def test_the_state_of_another_model_is_refused(plain, clock, tmp_path):
    session = SeriesSession(clock, start="2020-01-01")
    session.observe(1.0)
    session.save(tmp_path / "state")
    other = make_run(tmp_path / "other", clock.config.data, seed=1)
    for run in (plain, other):
        fresh = SeriesSession(run, start=None)
        with pytest.raises(InputError, match="is the state of a session of another model"):
            fresh.restore(tmp_path / "state")
        assert fresh.state is None
    with pytest.raises(InputError, match="no file, expected the state"):
        session.restore(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no state"):
        session.restore(plain.folder / "model.safetensors")
    (tmp_path / "words").write_text("words")
    with pytest.raises(InputError, match="not a safetensors file"):
        session.restore(tmp_path / "words")


# -- observations that do not fit ------------------------------------------------------------------

BAD = [
    ({"y": "many"}, "y is 'many', expected a number"),
    ({"y": math.inf}, "y is inf, expected a finite number"),
    ({"y": [1]}, r"y is \[1\], expected a number"),
    ({"x": 1}, "unknown column 'x', expected y, date, time"),
    ({"y": 1, "date": "2020-01-01 01:00"}, "2020-01-01 01:00 does not lie after the one before"),
    ({"y": 1, "date": "2020-01-01 05:30"}, "05:30 is no whole number of steps of 1h after"),
    ({"y": 1, "date": "2030-01-01"}, "lies 87,670 steps of 1h after the one before"),
    ({"y": 1, "date": "soon"}, "time is 'soon', expected a date such as"),
    ({"y": 1, "date": "2020-02-31"}, "time is '2020-02-31', expected a date such as"),
    ({"y": 1, "date": ""}, "time is '', expected a date such as"),
    ({"y": 1, "date": 7}, "time is 7, expected a date such as"),
    ({"y": 1, "date": {}}, "expected a date such as"),
    ("many", "y is 'many', expected a number"),
]


@pytest.mark.parametrize(("bad", "message"), BAD)
def test_a_bad_observation_leaves_the_session_as_it_was(clock, tmp_path, bad, message):
    session, same = SeriesSession(clock), SeriesSession(clock)
    for at in range(3):
        for one in (session, same):
            one.observe({"y": y(at), "date": hour(at)})
    session.save(tmp_path / "before")
    with pytest.raises(InputError, match=message):
        session.observe(bad)
    session.save(tmp_path / "after")
    assert (tmp_path / "before").read_bytes() == (tmp_path / "after").read_bytes()
    following = {"y": 0.5, "date": hour(3)}
    assert session.observe(following) == same.observe(following)


def test_a_bad_first_observation_leaves_the_session_fresh(clock, shop):
    session = SeriesSession(clock)
    with pytest.raises(InputError, match=r"uses the calendar \(hour\); give each observation"):
        session.observe(1.0)
    assert (session.state, session.time, session.observed) == (None, None, 0)
    session = SeriesSession(shop)
    with pytest.raises(InputError, match="the first observation must hold the static column 'ki"):
        session.observe({"sold": 1})
    with pytest.raises(InputError, match="kind is 'huge', expected one of big, small"):
        session.observe({"sold": 1, "kind": "huge", "area": 1})
    assert (session.state, session.static, session.observed) == (None, {}, 0)


@pytest.mark.parametrize(
    "word", ["2020-01-01T05:00", "2020-01-01 05:00:00.000", "2020-01-01T05:00:00Z",
             "2020-01-01T06:00:00+01:00", "2020/01/01 05:00", "01.01.2020 05:00"],
)  # fmt: skip
def test_dates_are_read_as_tables_read_them(clock, word):
    session = SeriesSession(clock)
    session.observe({"date": word, "y": 1})
    assert session.time == np.datetime64("2020-01-01T05:00")


@pytest.mark.parametrize("word", [None, "", " ", "NA", "nan", "null", math.nan])
def test_words_for_a_missing_value_are_those_of_tables(plain, word):
    session, missing = SeriesSession(plain), SeriesSession(plain)
    session.observe(1.0)
    missing.observe(1.0)
    assert session.observe({"y": word}) == missing.observe({})


def test_a_start_must_be_a_time(clock, plain):
    with pytest.raises(InputError, match="time is 'soon', expected a date"):
        SeriesSession(clock, start="soon")
    with pytest.raises(InputError, match="time is 'soon', expected a whole number"):
        SeriesSession(plain, start="soon")


# -- the rest --------------------------------------------------------------------------------------


def test_what_is_kept_does_not_grow(plain, tmp_path):
    session = SeriesSession(plain)
    sizes = []
    for count in (10, 90):
        observe_all(session, [y(at) for at in range(count)])
        session.save(tmp_path / "state")
        sizes.append((tmp_path / "state").stat().st_size)
    assert sizes[0] == pytest.approx(sizes[1], abs=8)
    assert sizes[1] < 5000


def test_quantiles_are_those_asked_for(plain):
    answer = SeriesSession(plain, levels=(0.01, 0.5, 0.99)).observe(1.0)["y"]
    assert list(answer["quantiles"]) == ["0.01", "0.5", "0.99"]
    lower, middle, upper = answer["quantiles"].values()
    assert lower < middle < upper
    assert answer["median"] == pytest.approx(middle)


def test_a_run_opens_the_session_it_needs(plain):
    assert isinstance(open_session(plain), SeriesSession)
    assert not isinstance(open_session(plain), TextSession)
