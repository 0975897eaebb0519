"""What commands show in a terminal. Nothing moves where standard error is not one."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from throughtime.errors import MissingExtra
from throughtime.inspect.contents import Table, number
from throughtime.training.loop import Moment

try:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Table as RichTable
    from rich.text import Text
except ImportError:
    raise MissingExtra("the command line", "rich", "cli") from None

notes = Console(stderr=True, highlight=False)
"""For people: progress, the data report, where things are. Results go to standard output."""


def say(text: str, *, quiet: bool = False) -> None:
    """One line for people."""
    if not quiet:
        notes.print(Text(text), soft_wrap=True)


def show_pairs(
    title: str,
    pairs: Sequence[tuple[str, str]],
    *,
    quiet: bool = False,
    result: bool = False,
) -> None:
    """Names and values under a title; a result goes to standard output."""
    if quiet or not pairs:
        return
    table = RichTable(title=title, title_justify="left", show_header=False, box=None)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(name, value)
    (Console(highlight=False) if result else notes).print(table)


def show_table(table: Table) -> None:
    """A comparison on standard output: best values bold, baselines below a line."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    shown = RichTable(title=table.title, title_justify="left", caption=table.note or None)
    shown.add_column("model")
    for column in table.columns:
        unit = f"\n{column.unit}" if column.unit else ""
        shown.add_column(column.title + unit, justify="right")
    rows = [row for row in table.rows if not row.baseline]
    for group in (rows, [row for row in table.rows if row.baseline]):
        for row in group:
            cells = [Text(row.model)]
            for column in table.columns:
                digits = table.digits(column)
                text, spread = number(row.mean(column.key), digits), row.spread(column.key)
                if spread is not None:
                    text += f" ±{number(spread, digits)}"
                cells.append(Text(text, style="bold" if row in table.best(column) else ""))
            shown.add_row(*cells, end_section=group is rows and row is group[-1])
    console.print(shown)


@contextmanager
def progress_bar(label: str, *, quiet: bool = False) -> Iterator[Callable[[Moment], None]]:
    """A bar on standard error while a model trains."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:3.0f}% {task.fields[loss]}"),
        TimeRemainingColumn(),
        console=notes,
        transient=True,
        disable=quiet or not notes.is_terminal,
    )
    with bar:
        task = bar.add_task(label, total=1.0, loss="")

        def tell(moment: Moment) -> None:
            held = "" if moment.validation is None else f", validation {moment.validation:.4g}"
            bar.update(task, completed=moment.done, loss=f"loss {moment.loss:.4g}{held}")

        yield tell
