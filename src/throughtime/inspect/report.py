"""A report: one HTML file that holds everything, and its figures beside it.

The page needs no network and no script. Each figure is in it twice, for light and for dark
surroundings, and the reader's setting says which is shown; paper is light.
"""

import base64
import functools
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from throughtime.errors import MissingExtra
from throughtime.inspect import drawing, figures
from throughtime.inspect.class_sections import class_sections, wrong_rows
from throughtime.inspect.contents import (
    Better,
    Column,
    Curve,
    Example,
    Fan,
    Report,
    Row,
    Sample,
    Table,
    number,
)
from throughtime.inspect.pictures import Picture, Section
from throughtime.inspect.theme import DARK, LIGHT, THEMES, Theme, colours
from throughtime.state import write_atomically

try:
    import jinja2
except ImportError:
    raise MissingExtra("throughtime.inspect.report", "jinja2", "cli") from None

__all__ = ["Column", "Curve", "Example", "Fan", "Report", "Row", "Sample", "Table", "write_report"]

LARGEST_DRAWING = 80_000
"""Bytes up to which a figure is kept as a drawing; one with more lines is kept as pixels."""

Draw = Callable[[drawing.Axes, Theme, Mapping[str, str]], object]


@dataclass(frozen=True)
class Cell:
    """What stands in a table; `spread` is None where its column has none at all."""

    mean: str
    spread: str | None
    best: bool


def write_report(path: str | os.PathLike[str], report: Report) -> Path:
    """Write one self-contained HTML file, and its figures as PNG in `figures/` beside it.

    Args:
        path: the file to write; its folder is made.
        report: what it shows. Text in it is text: nothing is read as HTML.

    Returns:
        The path of the page.

    Examples:
        >>> import tempfile
        >>> from throughtime.inspect import Column, Report, Row, Table
        >>> rows = [Row("gru", {"mase": [0.81, 0.84]}), Row("last", {"mase": 1.3}, baseline=True)]
        >>> table = Table("Forecasts", [Column("mase", "MASE", better="lower")], rows)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     page = write_report(f"{folder}/report.html", Report("Two models", tables=[table]))
        ...     page.stat().st_size < 3_000_000
        True
    """
    path = Path(path)
    page = _Page(report, path.parent / "figures")
    write_atomically(path, page.html().encode())
    return path


class _Page:
    """Draws what a report holds and fills the template."""

    def __init__(self, report: Report, folder: Path) -> None:
        self.report = report
        self.folder = folder
        self.files: set[str] = set()
        self.models = report.models()
        self.baselines = report.baselines()
        self.palettes = {
            theme.name: colours(self.models, self.baselines, theme) for theme in THEMES
        }

    def html(self) -> str:
        """The whole page."""
        environment = jinja2.Environment(
            loader=jinja2.PackageLoader("throughtime.inspect", "."),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
        )
        places = {model: f"c{number}" for number, model in enumerate(self.models)}
        classes = class_sections(self.report.classes, self.picture, self.baselines)
        return environment.get_template("report.html.j2").render(
            report=self.report,
            light=_variables(LIGHT),
            dark=_variables(DARK),
            colours=[
                {theme: palette[model] for theme, palette in self.palettes.items()}
                for model in self.models
            ],
            key=places,
            cells=lambda part, row: cells(part["table"], row),
            tables=[self.table(table) for table in self.report.tables],
            sections=[
                part for part in (self.leads(), self.fans(), *classes, self.training()) if part
            ],
            wrong=wrong_rows(self.report.classes),
            worst=next((one.worst for one in self.report.examples if one.worst), ""),
            prefixed=any(sample.prefix for sample in self.report.samples),
        )

    def picture(
        self,
        name: str,
        words: str,
        draw: Draw,
        height: float = 2.9,
        width: float = 4.2,
        caption: str = "",
    ) -> Picture:
        """Draw for both surroundings, keep PNGs, and give back what the page holds."""
        drawn, name = {}, self.unused(name)
        for theme in THEMES:
            figure, ax = drawing.new(theme, width, height)
            draw(ax, theme, self.palettes[theme.name])
            saved = drawing.save(figure, self.folder / f"{name}-{theme.name}.png")
            kind, data = "svg+xml", drawing.to_svg(figure).encode()
            if len(data) > LARGEST_DRAWING:
                kind, data = "png", saved.read_bytes()
            drawn[theme.name] = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
        return Picture(drawn["light"], drawn["dark"], words, caption)

    def unused(self, words: str) -> str:
        """A file name out of any words, and another one for every figure."""
        plain = re.sub(r"[^\w]+", "-", words.casefold()).strip("-")[:80] or "figure"
        name, number = plain, 1
        while name in self.files:
            number += 1
            name = f"{plain}-{number}"
        self.files.add(name)
        return name

    def table(self, table: Table) -> dict[str, Any]:
        """A table's parts in the order the page shows them."""
        heads = [
            {
                "title": column.title,
                "unit": column.unit,
                "arrow": _arrow(column.better),
                "words": _words(column.better),
                "spread": _has_spread(table, column),
            }
            for column in table.columns
        ]
        rows = len(table.rows)
        return {
            "table": table,
            "heads": heads,
            "width": 1 + sum(2 if head["spread"] else 1 for head in heads),
            "models": [row for row in table.rows if not row.baseline],
            "baselines": [row for row in table.rows if row.baseline],
            "notes": _notes(table),
            "figures": [
                self.picture(
                    f"{table.title}-{column.key}",
                    f"{column.title} of {rows} models as bars; the numbers are in the table above.",
                    lambda ax, theme, palette, column=column: figures.metric_bars(
                        ax, table, column, theme=theme, palette=palette
                    ),
                    height=0.9 + 0.32 * rows,
                )
                for column in table.columns
                if column.chart and any(row.each(column.key) for row in table.rows)
            ],
        }

    def leads(self) -> Section | None:
        """Error by lead time."""
        errors = self.report.lead_errors
        if not errors:
            return None
        picture = self.picture(
            "error-by-steps-ahead",
            f"Error against steps ahead for {', '.join(errors)}.",
            lambda ax, theme, palette: figures.horizon_error(
                ax,
                errors,
                baselines=self.baselines,
                theme=theme,
                palette=palette,
                unit=self.report.lead_unit,
            ),
            height=3.4,
        )
        text = "Baselines are grey and dashed. A line that rises is a model that knows less of "
        return Section("How far ahead the forecasts hold", f"{text}later steps.", [picture])

    def fans(self) -> Section | None:
        """Forecasts against what happened."""
        fans = self.report.fans
        limits = {  # one scale per series, so that its forecasts can be compared by eye
            fan.series: figures.fan_limits([one for one in fans if one.series == fan.series])
            for fan in fans
        }

        def draw(ax: drawing.Axes, theme: Theme, palette: Mapping[str, str], fan: Fan) -> None:
            figures.forecast_fan(ax, fan, theme=theme, palette=palette)
            ax.set_ylim(*limits[fan.series])

        drawn = [
            self.picture(
                f"forecast-{place}-{fan.model}-{fan.series}",
                f"Forecast of {fan.series or 'the series'} by {fan.model} with intervals, "
                "beside what happened.",
                functools.partial(draw, fan=fan),
            )
            for place, fan in enumerate(fans, start=1)
        ]
        text = "The dotted line is where the forecast begins; the models saw nothing after it."
        return Section("Forecasts against what happened", text, drawn) if drawn else None

    def training(self) -> Section | None:
        """Losses over the training run, one figure per model, all to one scale."""
        curves = [c for c in self.report.curves if len(c.steps)]
        limits = figures.loss_limits(curves)
        steps = [float(step) for curve in curves for step in curve.steps]
        room = 0.04 * (max(steps, default=1.0) - min(steps, default=0.0)) or 0.5
        span = (min(steps, default=0.0) - room, max(steps, default=1.0) + room)

        def draw(
            ax: drawing.Axes, theme: Theme, palette: Mapping[str, str], runs: list[Curve]
        ) -> None:
            unit, step_name = self.report.loss_unit, self.report.step_name
            figures.learning_curves(
                ax, runs, theme=theme, palette=palette, unit=unit, step_name=step_name
            )
            ax.set(xlim=span, ylim=limits)

        drawn = []
        for model in dict.fromkeys(curve.model for curve in curves):
            runs = [curve for curve in curves if curve.model == model]

            words = f"Training and validation loss of {model} while training."
            one = functools.partial(draw, runs=runs)
            drawn.append(self.picture(f"learning-{model}", words, one))
        text = (
            "Solid: validation loss; dotted: training loss; the dot is the step whose "
            "weights were kept. A line for each seed, all models to one scale."
        )
        return Section("Learning curves", text, drawn) if drawn else None


def cells(table: Table, row: Row) -> list[Cell]:
    """A row's numbers as text: one number of decimals per column, the best marked."""
    made = []
    for column in table.columns:
        mean, spread = row.mean(column.key), row.spread(column.key)
        digits = table.digits(column)
        beside = None
        if _has_spread(table, column):
            beside = "" if spread is None else f"± {number(spread, digits)}"
        best = any(row is one for one in table.best(column))
        made.append(Cell(number(mean, digits), beside, best))
    return made


def _has_spread(table: Table, column: Column) -> bool:
    return any(row.spread(column.key) is not None for row in table.rows)


def _arrow(better: Better) -> str:
    if better is None:
        return ""
    if isinstance(better, str):
        return {"lower": "↓", "higher": "↑"}[better]
    return f"→ {np.format_float_positional(better, trim='-')}"


def _words(better: Better) -> str:
    if better is None:
        return ""
    return f" {better} is better" if isinstance(better, str) else f" nearest to {better:g} is best"


def _notes(table: Table) -> list[str]:
    notes = [table.note] if table.note else []
    notes += [f"{column.title}: {column.help}" for column in table.columns if column.help]
    marks = []
    if any(column.better is not None for column in table.columns):
        marks.append("Bold: best mean of its column; ↓ lower is better, ↑ higher, → nearest.")
    if any(_has_spread(table, column) for column in table.columns):
        marks.append("±: one standard deviation over the seeds.")
    return [*notes, " ".join(marks)] if marks else notes


def _variables(theme: Theme) -> dict[str, str]:
    return {name: getattr(theme, name) for name in ("surface", "ink", "muted", "grid")}
