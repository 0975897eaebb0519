import re

import pytest

from throughtime.errors import InputError
from throughtime.inspect.theme import DARK, LIGHT, THEMES, colours, contrast


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_text_and_data_can_be_read(theme):
    for colour in (theme.ink, theme.muted, theme.baseline, *theme.palette):
        assert contrast(colour, theme.surface) >= 4.5, colour


@pytest.mark.parametrize("mark", ["--mark", "--warn"])
def test_text_on_marked_cells_and_warnings_can_be_read(mark):
    from importlib.resources import files

    template = files("throughtime.inspect").joinpath("report.html.j2").read_text()
    grounds = re.findall(mark + r": (#[0-9a-f]{6})", template)
    assert len(grounds) == 2
    for theme, ground in zip((LIGHT, DARK), grounds, strict=True):
        assert contrast(theme.ink, ground) >= 4.5
        assert contrast(theme.muted, ground) >= 4.5


def test_contrast_is_that_of_the_guidelines():
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=1e-3)
    with pytest.raises(InputError, match="'red', expected #rrggbb"):
        contrast("red", "#ffffff")


def test_a_model_has_its_colour_whatever_stands_beside_it():
    alone = colours(["gru"])["gru"]
    among = colours(["mine", "LSTM", "gru", "yours", "last"], baselines={"last"})
    assert among["gru"] == alone
    assert among["LSTM"] == colours(["lstm"])["lstm"]
    assert among["last"] == LIGHT.baseline
    assert len(set(among.values())) == 5


def test_a_model_keeps_its_hue_from_day_to_night():
    models = ["a", "lstm", "b"]
    day, night = colours(models, theme=LIGHT), colours(models, theme=DARK)
    assert [LIGHT.palette.index(day[m]) for m in models] == [
        DARK.palette.index(night[m]) for m in models
    ]


def test_more_models_than_colours_share_them():
    models = [str(number) for number in range(9)]
    assert len(colours(models)) == 9
    assert set(colours(models).values()) == set(LIGHT.palette)
