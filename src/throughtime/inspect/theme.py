"""Two sets of colours, for light and for dark surroundings, and one colour per model in each."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from throughtime.errors import InputError


@dataclass(frozen=True)
class Theme:
    """Colours for one kind of surroundings.

    Every colour that carries text or data has a contrast of at least 4.5 to 1 with `surface`
    (Web Content Accessibility Guidelines 2.2, level AA); figures themselves are transparent.

    Args:
        name: `light` or `dark`.
        surface: the background they are made for.
        ink: text and what really happened.
        muted: lesser text.
        grid: lines that help the eye and carry no data.
        baseline: models that are there as the mark to beat.
        palette: all other models.
    """

    name: str
    surface: str
    ink: str
    muted: str
    grid: str
    baseline: str
    palette: tuple[str, ...]


# The same hues in the same order, so that a model keeps its colour from day to night.
LIGHT = Theme(
    name="light",
    surface="#ffffff",
    ink="#1b2127",
    muted="#56616b",
    grid="#dde2e7",
    baseline="#66717b",
    palette=("#0b63c5", "#b34700", "#1a7a42", "#8a3ab9", "#c01f5b", "#08747f", "#776300"),
)
DARK = Theme(
    name="dark",
    surface="#15191d",
    ink="#e8ecf0",
    muted="#a3adb7",
    grid="#353c43",
    baseline="#98a3ad",
    palette=("#6cb0ff", "#ff9d4d", "#5fd08a", "#cfa0ff", "#ff86ac", "#5cd3df", "#dac64f"),
)
THEMES = (LIGHT, DARK)

# These have a place of their own, so that two reports agree; others take the places left.
_PLACES = {"lstm": 0, "gru": 1, "rnn": 2, "window": 3, "transformer": 4}


def colours(
    models: Sequence[str], baselines: Collection[str] = (), theme: Theme = LIGHT
) -> dict[str, str]:
    """One colour per model, the same in every figure that is given the same models.

    Args:
        models: all models of a report, in any order that stays the same.
        baselines: those among them that share the baselines' grey.
        theme: where it will be seen.

    Examples:
        >>> chosen = colours(["gru", "last value"], baselines=["last value"])
        >>> chosen["gru"], chosen["last value"] == LIGHT.baseline
        ('#b34700', True)
    """
    chosen: dict[str, int] = {}
    for model in models:
        place = _PLACES.get(model.casefold())
        if model not in baselines and place is not None and place not in chosen.values():
            chosen[model] = place
    free = [place for place in range(len(theme.palette)) if place not in chosen.values()]
    others = [model for model in models if model not in baselines and model not in chosen]
    for number, model in enumerate(others):
        chosen[model] = free[number] if number < len(free) else number % len(theme.palette)
    return {
        model: theme.palette[chosen[model]] if model in chosen else theme.baseline
        for model in models
    }


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, from 1 to 21, by the guidelines' relative luminance.

    Examples:
        >>> contrast("#ffffff", "#000000")
        21.0
    """
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    if len(colour) != 7 or not colour.startswith("#"):
        raise InputError(f"contrast: colour is {colour!r}, expected #rrggbb")
    red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
