"""Results that show themselves in a notebook."""

import base64
import re

import pytest

from throughtime.errors import MissingExtra
from throughtime.inspect import showing
from throughtime.inspect.showing import Showing, draw_both, in_notebook
from throughtime.inspect.theme import DARK, LIGHT


class Line(Showing):
    """A line, and words that are no HTML."""

    def draw(self, ax, theme=LIGHT):
        ax.plot([0, 1], color=theme.ink)
        return ax

    def __str__(self):
        return 'a < "b"\nsecond'


def pictures(text):
    return [base64.b64decode(one).decode() for one in re.findall(r"svg\+xml;base64,([^\"]+)", text)]


def test_a_result_shows_a_drawing_for_each_surroundings_and_its_words():
    text = Line()._repr_html_()
    dark, light = pictures(text)
    assert 'media="(prefers-color-scheme: dark)"' in text.split("<img")[0]
    assert LIGHT.ink in light
    assert DARK.ink in dark
    assert f'fill="{LIGHT.surface}"' in light  # a light ground wherever it is shown
    assert f'fill="{DARK.surface}"' in dark
    assert "a &lt; &quot;b&quot;\nsecond</pre>" in text
    assert 'alt="a &lt; &quot;b&quot;"' in text


def test_without_matplotlib_the_words_are_all(monkeypatch):
    def missing(*given, **options):
        raise MissingExtra("drawing", "matplotlib", "plots")

    monkeypatch.setattr(showing, "draw_both", missing)
    assert in_notebook(Line().draw, "words & more") == (
        '<pre style="white-space: pre; overflow-x: auto">words &amp; more</pre>'
    )


def test_a_drawing_with_many_lines_becomes_pixels(tmp_path):
    def draw(ax, theme):
        for at in range(400):
            ax.plot(range(40), [at + (at * step) % 7 for step in range(40)], color=theme.ink)

    drawn = draw_both(draw, 4.0, 3.0, file=tmp_path / "it.png")
    assert drawn.light.startswith("data:image/png;base64,")
    assert len(drawn.light) < 400_000
    assert (tmp_path / "it.png").read_bytes().startswith(b"\x89PNG")


def test_a_class_must_say_how_it_is_drawn():
    with pytest.raises(NotImplementedError):
        Showing()._repr_html_()
