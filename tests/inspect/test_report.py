import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from throughtime.inspect import (
    ClassPart,
    Column,
    Confusion,
    Curve,
    Early,
    Fan,
    Reliability,
    Report,
    Row,
    Sample,
    Table,
    Wrong,
)
from throughtime.inspect.report import cells, write_report

NASTY = "<script>alert('x')</script> & \"q\""


class Reader(HTMLParser):
    """Reads a page the way a browser does, as far as the tests need it."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.rows, self.words, self.open = [], [], [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in ("meta", "img", "br", "link", "source"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data


def report(points=20, name="gru"):
    steps = np.arange(points)
    losses = 1 + np.random.default_rng(0).random(points)
    rows = [
        Row(name, {"size": 1000, "mase": [0.8, 0.9]}, note="width 10"),
        Row("naive", {"size": 0, "mase": 1.25}, baseline=True),
        Row("lstm", {"size": 1010, "mase": [math.nan, 1.0]}),
    ]
    columns = [
        Column("size", "Parameters"),
        Column("mase", "MASE", "x", better="lower", chart=True, help="scaled error."),
    ]
    median = [1.0, 2.0]
    return Report(
        "Which is best",
        ["It is gru."],
        [Table("Test", columns, rows, note="Matched at 1000.")],
        [Curve(name, 0, steps, losses, losses + 0.1)],
        fans=[
            Fan(name, "s", [1], [1.0], [2, 3], [1.0, 2.0], median, {0.8: ([0.0] * 2, [3.0] * 2)})
        ],
        lead_errors={name: [1.0, 2.0], "naive": [1.5, 1.5]},
        samples=[Sample(name, f"\n  two spaces {NASTY}", prefix="once ")],
        data=[("Rows", "17,420")],
        warnings=["4 values are missing."],
        run=[("torch", "2.13")],
        command="throughtime compare x.csv",
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_report(tmp_path_factory.mktemp("report") / "deep" / "report.html", report())


def test_the_page_holds_everything_itself(written):
    page = written.read_text()
    reader = Reader(page)
    assert not reader.open
    assert not {"script", "link", "iframe", "source"} & set(reader.tags)
    outside = [value for _, name, value in reader.attributes if name in ("href", "src", "srcset")]
    assert outside
    assert all(value.startswith("data:image/") for value in outside)
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_every_part_is_there(written):
    words = " ".join(Reader(written.read_text()).words)
    expected = ["Which is best", "It is gru.", "4 values are missing.", "Matched at 1000.",
                "MASE: scaled error.", "Learning curves", "Forecasts against what happened",
                "How far ahead the forecasts hold", "Text the models wrote", "17,420", "2.13",
                "throughtime compare x.csv", "width 10", "two spaces"]  # fmt: skip
    assert [part for part in expected if part not in words] == []


def test_what_is_empty_is_left_out(tmp_path):
    page = write_report(tmp_path / "report.html", Report("Nothing yet")).read_text()
    reader = Reader(page)
    assert "h1" in reader.tags
    assert not {"h2", "table", "img", "pre"} & set(reader.tags)
    assert not (tmp_path / "figures").exists()


def test_every_figure_is_there_by_day_by_night_and_as_a_file(written):
    reader = Reader(written.read_text())
    shown = [value for tag, name, value in reader.attributes if (tag, name) == ("img", "class")]
    assert shown == ["by-day", "by-night"] * 4
    assert all(value for tag, name, value in reader.attributes if (tag, name) == ("img", "alt"))
    files = sorted(path.name for path in (written.parent / "figures").iterdir())
    assert files == sorted(
        f"{name}-{theme}.png"
        for name in ("error-by-steps-ahead", "forecast-1-gru-s", "learning-gru", "test-mase")
        for theme in ("light", "dark")
    )


def test_baselines_stand_in_a_group_below_and_the_best_is_marked(written):
    page = written.read_text()
    rows = Reader(page).rows
    assert [row[0] for row in rows] == [
        "Model", "gruwidth 10", "lstm", "Baselines: what any model must beat", "naive",
    ]  # fmt: skip
    assert rows[1][1:] == ["1,000", "0.850 (best)", "± 0.071"]
    assert rows[2][1:] == ["1,010", "not a number", ""]
    assert rows[4][1:] == ["0", "1.250", ""]
    assert len(re.findall(r'<td class="best">', page)) == 1


def test_rows_have_as_many_cells_as_the_head_says(written):
    page = written.read_text()
    head = page[page.index("<thead>") : page.index("</thead>")]
    width = 1 + len(re.findall("<th", head)) - 2 + len(re.findall('colspan="2"', head))
    lengths = {len(row) for row in Reader(page).rows[1:] if len(row) > 1}
    assert lengths == {width}
    assert f'colspan="{width}"' in page


def test_all_numbers_of_a_column_have_the_same_decimals():
    rows = [Row(str(v), {"e": v}) for v in (0.5, 12.345, 1000.0)]
    table = Table("t", [Column("e", "E")], rows)
    assert [cells(table, row)[0].mean for row in rows] == ["0.50", "12.35", "1,000.00"]
    assert cells(table, rows[0])[0].spread is None


def test_text_is_text_wherever_it_stands(tmp_path):
    part = Table(NASTY, [Column("e", NASTY, NASTY, "lower", help=NASTY)],
                 [Row(NASTY, {"e": 1.0}, note=NASTY)], note=NASTY)  # fmt: skip
    nasty = Report(
        NASTY, [NASTY], [part], samples=[Sample(NASTY, NASTY, NASTY)], data=[(NASTY, NASTY)],
        warnings=[NASTY], run=[(NASTY, NASTY)], command=NASTY,
        fans=[Fan(NASTY, "../../" + NASTY, [], [], [1], [1.0], [1.0], unit=NASTY)],
    )  # fmt: skip
    page = write_report(tmp_path / "inner" / "report.html", nasty).read_text()
    reader = Reader(page)
    assert "script" not in reader.tags
    assert sum(words.count(NASTY) for words in reader.words) >= 14
    assert [path.name for path in tmp_path.iterdir()] == [
        "inner"
    ]  # no name leads out of its folder


def test_a_long_and_rough_training_run_stays_small(tmp_path):
    path = write_report(tmp_path / "report.html", report(points=30_000))
    assert path.stat().st_size < 500_000
    assert "data:image/png" in path.read_text()


def test_a_large_comparison_stays_below_three_megabytes(tmp_path):
    models = [f"model {number}" for number in range(8)]
    curves = [Curve(m, s, np.arange(50), np.ones(50), np.ones(50)) for m in models for s in (0, 1)]
    steps = np.arange(96)
    wave = np.sin(steps / 3.0)
    bands = {share: (wave - size, wave + size) for share, size in ((0.8, 1.0), (0.95, 2.0))}
    fans = [
        Fan(model, "s", -np.arange(200)[::-1], np.zeros(200), steps, wave, wave, bands)
        for model in models
    ]
    lead = dict.fromkeys(models, wave + 2)
    big = Report("Large", curves=curves, fans=fans, lead_errors=lead)
    assert write_report(tmp_path / "report.html", big).stat().st_size < 3_000_000


def test_figures_whose_names_look_alike_do_not_overwrite_each_other(tmp_path):
    curves = [
        Curve(model, 0, [1, 2], [1.0, 2.0], [1.0, 2.0]) for model in ("a b", "A-b", "가", "나")
    ]
    write_report(tmp_path / "report.html", Report("Alike", curves=curves))
    assert len(list((tmp_path / "figures").iterdir())) == 2 * len(curves)


def classified(classes=3, name="gru", wrong=()):
    part = ClassPart(
        [Confusion(name, tuple(map(str, range(classes))), np.ones((classes, classes), dtype=int))],
        [Reliability(name, [0.0, 0.5, 1.0], [0.4, 0.9], [0.5, 0.8], [10, 30], 0.1)],
        Early({name: {0.5: 50.0, 1.0: 90.0}}),
        wrong,
        name,
    )
    return Report("Classes", classes=part)


class TestClasses:
    def test_every_part_is_there(self, tmp_path):
        wrong = [
            Wrong("row 7", "good", "bad", 0.001, 0.98, text="not bad at all"),
            Wrong("row 8", "a", "b", 0.2, 0.8, image=np.zeros((1, 8, 8), np.uint8)),
            Wrong("row 9", "a", "b", 0.2, 0.8, series=np.arange(20.0).reshape(10, 2)),
        ]
        page = write_report(tmp_path / "report.html", classified(wrong=wrong)).read_text()
        reader = Reader(page)
        assert not reader.open
        words = " ".join(reader.words)
        expected = ["Which classes are confused", "Most often: 0 taken for 1 (1 of 3)",
                    "How far the probabilities can be trusted", "is most wrong",
                    "How early the answers are right", "10 steps, 2 features"]  # fmt: skip
        assert [part for part in expected if part not in words] == []
        assert reader.rows[0] == ["Row", "Given", "Truth", "Answer"]
        assert reader.rows[1] == ["row 7", "not bad at all", "good0.1 %", "bad98.0 %"]
        assert reader.tags.count("path") == 2
        shown = [value for tag, name, value in reader.attributes if (tag, name) == ("img", "class")]
        assert shown == ["by-day", "by-night"] * 3 + ["small"]
        sources = [value for _, name, value in reader.attributes if name == "src"]
        assert all(value.startswith("data:image/") for value in sources)
        assert len(sources) == 7
        assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == [
            f"{name}-{theme}.png"
            for name in ("accuracy-by-share-seen", "confusion-gru", "reliability-gru")
            for theme in ("dark", "light")
        ]

    def test_what_is_empty_is_left_out(self, tmp_path):
        page = write_report(
            tmp_path / "report.html", Report("None", classes=ClassPart())
        ).read_text()
        assert not {"h2", "table", "img"} & set(Reader(page).tags)

    def test_text_is_text(self, tmp_path):
        wrong = [Wrong(NASTY, NASTY, NASTY, 0.1, 0.9, text=NASTY, series=np.ones((3, 1)))]
        nasty = classified(name=NASTY, wrong=wrong)
        reader = Reader(write_report(tmp_path / "report.html", nasty).read_text())
        assert "script" not in reader.tags
        assert sum(words.count(NASTY) for words in reader.words) == 5

    def test_text_that_is_no_unicode_does_not_stop_it(self, tmp_path):
        wrong = [Wrong("\ud800", "\ud800x", "b\n", 0.1, 0.9, text="a\udfffb")]
        page = write_report(tmp_path / "report.html", classified(wrong=wrong)).read_text()
        assert Reader(page).rows[1] == ["(empty)", "a?b", "x10.0 %", "b90.0 %"]

    def test_a_page_with_a_hundred_classes_and_large_images_stays_small(self, tmp_path):
        rng = np.random.default_rng(0)
        photos = rng.integers(0, 256, (20, 3, 512, 512)).astype(np.uint8)
        wrong = [Wrong(str(at), "a", "b", 0.1, 0.9, image=one) for at, one in enumerate(photos)]
        path = write_report(tmp_path / "report.html", classified(100, wrong=wrong))
        assert path.stat().st_size < 3_000_000
        attributes = Reader(path.read_text()).attributes
        assert ("div", "class", "figures large") in attributes
        assert ("figure", "tabindex", "0") in attributes

    def test_its_models_have_colours_of_their_own(self):
        first = Report("Two", [], [Table("t", [], [Row("lstm", {})])], classes=classified().classes)
        assert first.models() == ["lstm", "gru"]
