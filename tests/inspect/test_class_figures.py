import math
import warnings
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex

from throughtime.inspect import Confusion, Early, Reliability
from throughtime.inspect import class_figures as f
from throughtime.inspect.drawing import new, save, to_svg
from throughtime.inspect.theme import DARK, LIGHT, THEMES, colours, contrast


def confusion(counts, names=None, model="gru"):
    counts = np.array(counts)
    return Confusion(model, tuple(names or map(str, range(len(counts)))), counts)


def reliability(**other):
    parts = {
        "edges": [0.0, 0.5, 0.75, 1.0],
        "confidence": [math.nan, 0.6, 0.9],
        "accuracy": [math.nan, 0.7, 0.5],
        "count": [0, 10, 30],
        "ece": 0.325,
    } | other
    return Reliability("gru", **parts)


def drawn(draw, *args, height=3.0, width=4.2, **options):
    _, ax = new(height=height, width=width)
    assert draw(ax, *args, **options) is ax
    return ax


def figure_of(ax) -> Any:
    return ax.get_figure()


def texts(ax):
    return [text.get_text() for text in ax.texts]


def named(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def bars(ax):
    return [(bar.get_x(), bar.get_y(), bar.get_width(), bar.get_height()) for bar in ax.patches]


class TestConfusion:
    counts = ((8, 2, 0), (0, 5, 0), (0, 0, 0))

    def test_truth_is_down_and_answer_across(self):
        ax = drawn(f.confusion_matrix, confusion(self.counts, ["cat", "dog", "cow"]))
        shown = {text.get_position(): text.get_text() for text in ax.texts if text.get_text()}
        assert {(0, 0): "8", (1, 0): "2", (1, 1): "5"}.items() <= shown.items()
        assert "0" not in shown.values()  # an empty square is empty
        assert named(ax.xaxis) == named(ax.yaxis) == ["cat", "dog", "cow"]
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("answer", "truth")
        low, high = ax.get_ylim()
        assert low > high  # the first class is on top

    def test_shades_are_those_of_the_row_and_a_class_without_rows_has_none(self):
        ax = drawn(f.confusion_matrix, confusion(self.counts))
        shade = np.asarray(ax.images[0].get_array())
        assert shade == pytest.approx(np.sqrt([[0.8, 0.2, 0], [0, 1, 0], [0, 0, 0]]))
        assert ax.images[0].get_clim() == (0, 1)

    def test_says_how_many_are_right(self):
        ax = drawn(f.confusion_matrix, confusion(self.counts))
        assert ax.get_title(loc="left") == "gru"
        assert "86.7 % of 15 rows right" in texts(ax)
        assert "no rows" in texts(drawn(f.confusion_matrix, confusion([[0, 0], [0, 0]])))

    @pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
    def test_a_count_can_be_read_on_every_shade(self, theme):
        shades = f.shades_of(theme)
        assert to_hex(shades(0.0)) == theme.surface
        grounds = [to_hex(shades(share)) for share in np.linspace(0, 1, 101)]
        for ground in grounds:
            assert contrast(f.ink_on(ground), ground) >= 4.5
        from_ground = [contrast(ground, theme.surface) for ground in grounds]
        assert from_ground == sorted(from_ground)  # more is never paler
        assert from_ground[-1] > 5

    @pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
    def test_counts_are_drawn_in_the_ink_that_their_square_needs(self, theme):
        ax = drawn(f.confusion_matrix, confusion([[99, 1], [0, 9]]), theme=theme)
        inks = {text.get_text(): to_hex(str(text.get_color())) for text in ax.texts}
        pale, full = ("#000000", "#ffffff") if theme is LIGHT else ("#ffffff", "#000000")
        assert (inks["99"], inks["1"]) == (full, pale)

    def test_large_counts_are_shortened_only_where_there_is_no_room(self):
        wide = drawn(f.confusion_matrix, confusion([[123456, 0], [0, 1]]))
        assert "123,456" in texts(wide)
        counts = np.diag([123456] * 15)
        close = drawn(f.confusion_matrix, confusion(counts), width=6.4, height=6.2)
        assert "123k" in texts(close)
        tiny = drawn(f.confusion_matrix, confusion(counts), width=1.5, height=1.5)
        assert not {"123k", "123,456"} & set(texts(tiny))

    def test_counts_stay_within_their_squares(self):
        counts = np.full((20, 20), 1234)
        ax = drawn(f.confusion_matrix, confusion(counts), width=6.4, height=6.2)
        figure = figure_of(ax)
        figure.draw_without_rendering()
        squares = ax.get_window_extent()
        numbers = [text for text in ax.texts if text.get_text() == "1.2k"]
        assert len(numbers) == 400
        box = numbers[0].get_window_extent()
        assert box.width < squares.width / 20
        assert box.height < squares.height / 20

    @pytest.mark.parametrize(("classes", "counted"), [(20, True), (21, False), (100, False)])
    def test_many_classes_have_no_counts_and_few_names(self, classes, counted):
        ax = drawn(f.confusion_matrix, confusion(np.eye(classes, dtype=int)), width=6.4, height=6.2)
        assert ("1" in texts(ax)) == counted
        assert len(named(ax.xaxis)) <= 25
        if classes == 100:
            assert named(ax.yaxis) == [str(place) for place in range(0, 100, 5)]
            assert not ax.lines  # no rules: they would hide what is between them

    def test_names_on_the_axis_do_not_run_into_each_other(self):
        short = drawn(f.confusion_matrix, confusion([[1, 0], [0, 1]], ["no", "yes"]))
        names = [f"class {letter}" for letter in "abcdefghi"]
        long = drawn(f.confusion_matrix, confusion(np.eye(9, dtype=int), names))
        assert {label.get_rotation() for label in short.get_xticklabels()} == {0}
        assert {label.get_rotation() for label in long.get_xticklabels()} == {90}

    def test_a_name_is_text_whatever_is_in_it(self):
        names = ["$x^", "긍정", "a\nb", "\ud800", "", "<b>&"]
        ax = drawn(f.confusion_matrix, confusion(np.eye(6, dtype=int), names, model="$\\frac"))
        svg = to_svg(figure_of(ax))
        assert named(ax.yaxis) == ["$x^", "긍정", "a b", "(empty)", "(empty)", "<b>&"]
        assert "긍정" in svg
        assert "&lt;b&gt;" in svg

    @pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
    def test_a_drawing_of_a_hundred_classes_is_small(self, theme):
        rng = np.random.default_rng(0)
        ax = drawn(f.confusion_matrix, confusion(rng.integers(0, 9, (100, 100))), theme=theme)
        assert len(to_svg(figure_of(ax))) < 80_000


@pytest.mark.parametrize(
    ("classes", "step"), [(1, 1), (25, 1), (26, 2), (50, 2), (51, 5), (125, 5), (126, 10)]
)
def test_every_how_many_classes_one_is_named(classes, step):
    assert f.label_step(classes) == step


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.0k"),
        (9949, "9.9k"),
        (9951, "10k"),
        (999_499, "999k"),
        (999_501, "1.0M"),
        (12_345_678, "12M"),
    ],
)
def test_compact_counts(count, shown):
    assert f.compact(count) == shown


class TestNames:
    @pytest.mark.parametrize(
        ("name", "room", "shown"),
        [
            ("abcd", 4, "abcd"),
            ("abcde", 4, "ab…e"),
            ("가나다라", 8, "가나다라"),
            ("가나다라마", 8, "가나…마"),
            ("  a \t b ", 9, "a b"),
            ("\x00", 9, "(empty)"),
        ],
    )
    def test_fit(self, name, room, shown):
        assert f.fitted(name, room) == shown

    def test_what_is_alike_is_cut_first(self):
        names = ["comp.sys.ibm.pc.hardware", "comp.sys.mac.pc.hardware"]
        assert f.labels_for(names) == ["…ibm…", "…mac…"]
        ends = ["one long name, a", "one long name, b"]
        assert f.labels_for(ends) == ["one lon…ame, a", "one lon…ame, b"]
        assert f.labels_for(["short", "other"]) == ["short", "other"]
        assert f.labels_for(["one long name and no other"]) == ["one lon… other"]


class TestReliability:
    def test_bars_boxes_and_rows(self):
        ax = drawn(f.reliability_diagram, reliability())
        found = bars(ax)
        accuracy, gaps, rows = found[:2], found[2:4], found[4:]
        assert np.array(accuracy) == pytest.approx(np.array([(50, 0, 25, 70), (75, 0, 25, 50)]))
        assert np.array(gaps) == pytest.approx(np.array([(50, 70, 25, -10), (75, 50, 25, 40)]))
        assert [height for *_, height in rows] == pytest.approx([-f.STRIP / 3, -f.STRIP])
        assert len(found) == 6  # nothing for the empty bin
        assert ax.get_xlim() == (0, 100)
        bottom, top = ax.get_ylim()
        assert bottom < -f.STRIP - 2
        assert top > 100
        diagonal = np.asarray(ax.lines[-1].get_xydata())
        assert diagonal.tolist() == [[0, 0], [100, 100]]

    def test_words(self):
        ax = drawn(f.reliability_diagram, reliability())
        assert texts(ax) == ["ECE 32.5 %", "82.5 % sure, 55.0 % right (40 rows)"]
        warm = drawn(f.reliability_diagram, reliability(temperature=1.357))
        assert texts(warm)[0] == "ECE 32.5 %\ntemperature 1.36"
        unknown = drawn(f.reliability_diagram, reliability(ece=math.nan))
        assert texts(unknown)[0] == "ECE unknown"

    def test_no_rows(self):
        nothing = [math.nan] * 3
        empty = reliability(confidence=nothing, accuracy=nothing, count=[0, 0, 0], ece=math.nan)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ax = drawn(f.reliability_diagram, empty)
        assert texts(ax)[1] == "no rows"
        assert not ax.patches

    def test_a_model_has_its_colour(self):
        palette = colours(["lstm", "gru"], theme=DARK)
        ax = drawn(f.reliability_diagram, reliability(), theme=DARK, palette=palette)
        assert to_hex(ax.patches[0].get_facecolor()) == palette["gru"]


class TestEarly:
    early = Early(
        {
            "gru": {1.0: 90.0, 0.1: 40.0, 0.5: 80.0},
            "lstm": {0.1: 50.0, 0.5: 70.0, 1.0: math.nan},
            "majority": {0.1: 30.0, 1.0: 30.0},
        }
    )

    def draw(self, early=early, **options):
        return drawn(f.early_accuracy, early, **options)

    def lines(self, ax):
        return {line.get_label(): line for line in ax.lines}

    def test_lines_run_from_little_to_all(self):
        lines = self.lines(self.draw())
        assert np.asarray(lines["gru"].get_xydata()).tolist() == [[10, 40], [50, 80], [100, 90]]

    def test_baselines_are_grey_and_dashed_and_last(self):
        ax = self.draw(baselines={"majority"})
        lines = self.lines(ax)
        assert lines["majority"].get_color() == LIGHT.baseline
        assert lines["majority"].is_dashed()
        assert not lines["gru"].is_dashed()
        legend = ax.get_legend()
        assert legend is not None
        assert [text.get_text() for text in legend.get_texts()] == ["gru", "lstm", "majority"]

    def test_says_who_is_highest(self):
        assert texts(self.draw(baselines={"majority"})) == ["gru is highest at 2 of 3 shares"]
        assert texts(self.draw(Early({"gru": {1.0: 90.0}}))) == []

    @pytest.mark.parametrize(
        ("values", "inside"),
        [([50.0, 60.0], (40, 70)), ([0.0, 100.0], (-1, 101)), ([90.0], (88, 92))],
    )
    def test_the_scale_shows_all_and_no_more(self, values, inside):
        line = {(place + 1) / len(values): value for place, value in enumerate(values)}
        low, high = self.draw(Early({"gru": line})).get_ylim()
        assert inside[0] <= low < min(values)
        assert max(values) < high <= inside[1]

    def test_nothing_known(self):
        ax = self.draw(Early({"gru": {1.0: math.nan}, "lstm": {}}))
        assert texts(ax) == []
        assert np.isfinite(ax.get_ylim()).all()


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_figures_are_transparent_and_the_same_each_time(theme, tmp_path):
    def once(path):
        _, ax = new(theme)
        f.confusion_matrix(ax, confusion([[5, 1], [0, 4]]), theme=theme)
        return save(figure_of(ax), path).read_bytes()

    first = once(tmp_path / "a.svg")
    assert first == once(tmp_path / "b.svg")
    figure, ax = new(theme)
    f.reliability_diagram(ax, reliability(), theme=theme)
    assert figure.patch.get_alpha() == ax.patch.get_alpha() == 0
