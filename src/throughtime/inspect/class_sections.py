"""The parts of a page that are about classifiers: sections of figures, and a table of mistakes."""

import functools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from throughtime.inspect import class_figures
from throughtime.inspect.class_contents import ClassPart, Confusion, Early, Reliability, Wrong
from throughtime.inspect.drawing import Axes, short
from throughtime.inspect.pictures import LANES, Picture, Section, png_uri, spark_paths
from throughtime.inspect.theme import Theme

FEW = 10
"""Classes up to which a confusion matrix is as large as other figures."""

LETTERS = 200
"""Letters of a text that are shown."""

THUMBNAIL = 64
"""Pixels along the longer side up to which an image is shown enlarged, its pixels as squares."""

Palette = Mapping[str, str]

Make = Callable[..., Picture]
"""Draws a picture: name of its file, what it shows in words, what draws it; height, width and
caption by name."""


@dataclass(frozen=True)
class WrongRow:
    """What the table of mistakes shows of one row.

    Args:
        name: by which it is found again.
        text: cut, on one line; empty for none.
        image: data URI; empty for none.
        small: whether the image is to be enlarged.
        paths: of a drawing of the series, one per feature; empty for none.
        about: how large the series is, in words.
        truth: the true class.
        truth_probability: in %, as text.
        answer: the class it was taken for.
        answer_probability: in %, as text.
    """

    name: str
    text: str
    image: str
    small: bool
    paths: list[str]
    about: str
    truth: str
    truth_probability: str
    answer: str
    answer_probability: str


def class_sections(
    part: ClassPart | None, picture: Make, baselines: Collection[str] = ()
) -> list[Section]:
    """What was confused, how sure the models are, and how early they are right.

    Args:
        part: what is shown; None and empty parts give no section.
        picture: draws one figure for both surroundings.
        baselines: models that are there as the mark to beat.
    """
    if part is None:
        return []
    made = []
    if part.confusion:
        made.append(_confusion(part, picture))
    if part.reliability:
        made.append(_reliability(part, picture))
    if part.early and part.early.models:
        made.append(_early(part.early, picture, baselines))
    return made


def _confusion(part: ClassPart, picture: Make) -> Section:
    def draw(ax: Axes, theme: Theme, palette: Palette, one: Confusion) -> None:
        class_figures.confusion_matrix(ax, one, theme=theme)

    classes = max(len(one.names) for one in part.confusion)
    large = classes > FEW
    size = {"height": 6.2, "width": 6.4} if large else {"height": 2.0 + 0.22 * classes}
    drawn = [
        picture(
            f"confusion-{one.model}",
            f"Confusion matrix of {one.model}: truth against answer, {len(one.names)} classes.",
            functools.partial(draw, one=one),
            caption=_often(one),
            **size,
        )
        for one in part.confusion
    ]
    text = (
        "A row for each true class, a column for each answer; what lies on the diagonal is right. "
        "The shade tells the share of the row, by its root, so that rare mistakes show."
    )
    return Section("Which classes are confused", text, drawn, large)


def _often(confusion: Confusion) -> str:
    """The most frequent mistakes in words."""
    names, rows = confusion.names, confusion.counts.sum(1)
    said = [
        f"{_name(names[truth])} taken for {_name(names[answer])} ({count:,} of {rows[truth]:,})"
        for truth, answer, count in confusion.mistakes(3)
    ]
    return f"Most often: {', '.join(said)}." if said else "No mistakes."


def _reliability(part: ClassPart, picture: Make) -> Section:
    def draw(ax: Axes, theme: Theme, palette: Palette, one: Reliability) -> None:
        class_figures.reliability_diagram(ax, one, theme=theme, palette=palette)

    drawn = [
        picture(
            f"reliability-{one.model}",
            f"Accuracy of {one.model} by its confidence; expected calibration error (ECE) "
            f"{class_figures.percent(one.ece)}.",
            functools.partial(draw, one=one),
            height=3.1,
        )
        for one in part.reliability
    ]
    text = (
        "On the diagonal a model is right as often as it says. Dotted boxes reach to its mean "
        "confidence: above a bar it is too sure, within one not sure enough. ECE is their mean "
        "height; the grey strip shows how many rows a bin has."
    )
    return Section("How far the probabilities can be trusted", text, drawn)


def _early(early: Early, picture: Make, baselines: Collection[str]) -> Section:
    def draw(ax: Axes, theme: Theme, palette: Palette) -> None:
        class_figures.early_accuracy(ax, early, baselines=baselines, theme=theme, palette=palette)

    words = f"Accuracy against the share of the sequence seen for {', '.join(early.models)}."
    text = "The models answer before they have seen everything; baselines are grey and dashed."
    drawn = picture("accuracy-by-share-seen", words, draw, height=3.4)
    return Section("How early the answers are right", text, [drawn])


def wrong_rows(part: ClassPart | None) -> list[WrongRow]:
    r"""The rows that a model is most wrong about, as the page shows them.

    Examples:
        >>> row = Wrong("7", "good", "bad", 0.0004, 0.98, text="not  bad\nat all")
        >>> shown = wrong_rows(ClassPart(wrong=[row], wrong_model="gru"))[0]
        >>> shown.text, shown.truth_probability, shown.answer_probability
        ('not bad at all', '<0.1 %', '98.0 %')
    """
    return [_row(one) for one in part.wrong] if part else []


def _row(one: Wrong) -> WrongRow:
    image, series = one.image, one.series
    return WrongRow(
        name=_name(one.name),
        text=short(_line(one.text), LETTERS),
        image="" if image is None else png_uri(image),
        small=image is not None and max(image.shape[1:]) <= THUMBNAIL,
        paths=[] if series is None else spark_paths(series),
        about="" if series is None else _about(*series.shape),
        truth=_name(one.truth),
        truth_probability=class_figures.percent(one.probability_of_truth),
        answer=_name(one.answer),
        answer_probability=class_figures.percent(one.probability_of_answer),
    )


def _about(steps: int, features: int) -> str:
    counted = f"{steps:,} step{'s' * (steps != 1)}"
    if features > LANES:
        return f"{counted}, {LANES} of {features} features"
    return counted if features == 1 else f"{counted}, {features} features"


def _line(text: str) -> str:
    """Words on one line, without what a page cannot hold."""
    return " ".join(text.encode("utf-8", "replace").decode().split())


def _name(name: str) -> str:
    return class_figures.fitted(name, 60)
