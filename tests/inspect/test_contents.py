import math

import pytest

from throughtime.errors import InputError
from throughtime.inspect import Column, Curve, Fan, Report, Row, Sample, Table
from throughtime.inspect.contents import number

LOW = Column("error", "Error", better="lower")


def table(*rows, column=LOW):
    return Table("t", [column], rows)


def test_a_row_gives_mean_and_sample_deviation_over_seeds():
    row = Row("gru", {"error": [1.0, 2.0, 3.0], "size": 7})
    assert row.mean("error") == 2.0
    assert row.spread("error") == 1.0
    assert (row.mean("size"), row.spread("size")) == (7.0, None)
    assert row.mean("absent") is None


def test_a_diverged_seed_is_not_averaged_away():
    row = Row("gru", {"error": [1.0, math.nan]})
    mean = row.mean("error")
    assert mean is not None
    assert math.isnan(mean)
    assert row.spread("error") is None


@pytest.mark.parametrize(
    ("better", "expected"), [("lower", "a"), ("higher", "c"), (2.2, "b"), (None, None)]
)
def test_best_follows_the_direction_of_the_column(better, expected):
    rows = [Row("a", {"error": 1.0}), Row("b", {"error": 2.0}), Row("c", {"error": 3.0})]
    rows += [Row("nan", {"error": math.nan}), Row("inf", {"error": -math.inf}), Row("none", {})]
    column = Column("error", "Error", better=better)
    best = [row.model for row in table(*rows, column=column).best(column)]
    assert best == ([expected] if expected else [])


def test_a_baseline_may_be_best_and_a_tie_marks_both():
    rows = [Row("a", {"error": 1.0}), Row("naive", {"error": 1.0}, baseline=True)]
    assert table(*rows).best(LOW) == rows


@pytest.mark.parametrize(
    ("values", "digits"),
    [([0.8123, 1.6], 3), ([21.9, 23.0, 0.03], 1), ([10034, 0, 49], 0), ([1e-9], 4), ([], 0)],
)
def test_digits_show_three_significant_ones_of_the_middle_value(values, digits):
    rows = [Row(str(place), {"error": value}) for place, value in enumerate(values)]
    assert table(*rows).digits(LOW) == digits


def test_digits_can_be_said():
    assert table(Row("a", {"error": 1.0})).digits(Column("error", "Error", digits=3)) == 3


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [
        (1234.5, 0, "1,234"),
        (0.0, 1, "0.0"),
        (-0.001, 2, ">−0.01"),
        (math.nan, 1, "not a number"),
        (math.inf, 1, "∞"),
        (-math.inf, 1, "−∞"),
    ],
)
def test_numbers_are_shown_honestly(value, digits, shown):
    assert number(value, digits) == shown


def test_inside_counts_known_steps_only():
    fan = Fan("m", "s", [], [], [1, 2, 3, 4], [0.0, 5.0, math.nan, 1.0], [0.0] * 4,
              {0.8: ([-1.0] * 4, [1.0] * 4)})  # fmt: skip
    assert fan.inside(0.8) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Curve("m", 0, [1, 2], [1.0], [1.0, 2.0]), "training has 1 losses, expected 2"),
        (lambda: Fan("m", "s", [1], [], [1], [1.0], [1.0]), "history has 0 values, expected 1"),
        (lambda: Fan("m", "s", [], [], [1], [1.0], []), "median has 0 values, expected 1"),
        (
            lambda: Fan("m", "s", [], [], [1], [1.0], [1.0], {80.0: ([1.0], [1.0])}),
            "interval 80.0, expected a share between 0 and 1",
        ),
        (
            lambda: Fan("m", "s", [], [], [1], [1.0], [1.0], {0.8: ([1.0], [])}),
            "upper bound 0.8 has 0 values",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_a_report_knows_its_models_in_order_and_its_baselines():
    report = Report(
        "r",
        tables=[table(Row("gru", {}), Row("last", {}, baseline=True))],
        curves=[Curve("lstm", 0, [1], [1.0], [1.0])],
        samples=[Sample("gru", "text")],
        lead_errors={"linear": [1.0]},
    )
    assert report.models() == ["gru", "last", "lstm", "linear"]
    assert report.baselines() == {"last"}
