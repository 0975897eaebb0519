"""What all benchmarks write: a Markdown table, the same as JSON, and pictures."""

import json
from pathlib import Path

from throughtime.commands.clocks import machine, significant
from throughtime.inspect.drawing import style
from throughtime.inspect.theme import LIGHT

RESULTS = Path(__file__).parent / "results"


def add_options(parser):
    """The options that these benchmarks have."""
    parser.add_argument("--threads", type=int, help="of torch and of our kernels")
    parser.add_argument(
        "--save", nargs="?", type=Path, const=RESULTS, metavar="FOLDER",
        help=f"write table, JSON and pictures to a folder, {RESULTS.name}/ by default",
    )  # fmt: skip


def versions(**peers):
    """The machine, and the versions of what was compared."""
    return machine() | {name.replace("_", "-"): version for name, version in peers.items()}


def headline(machine):
    """The machine in a sentence."""
    kernels = machine["kernels"]
    same = set(kernels.values())
    which = same.pop() if len(same) == 1 else ", ".join(f"{k} {v}" for k, v in kernels.items())
    return (
        f"{machine['date']}, {machine['processor']}, {machine['cores']} cores, "
        f"{machine['threads']} threads, {machine['vector instructions']}, "
        f"{machine['system']}, Python {machine['python']}, torch {machine['torch']}, "
        f"throughtime {machine['throughtime']}, kernels: {which} "
        f"({machine['kernel instructions']})"
    )


def table(header, rows):
    """A Markdown table; numbers to the right."""
    marks = ["--:" if isinstance(cell, int | float | Number) else "---" for cell in rows[0]]
    lines = [header, marks, *([str(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


class Number(str):
    """A number as it is shown."""


def short(value):
    return Number(significant(value))


def milliseconds(seconds):
    return short(1e3 * seconds)


def times(ratio):
    """How many times faster."""
    return Number(f"{significant(ratio)}x" if ratio >= 0.9995 else f"{ratio:.2f}x")


def percent(share):
    return Number(f"{100 * share:.0f} %")


def save(folder, name, text, found, figures):
    """Write `name.md`, `name.json` and the pictures, by name."""
    folder.mkdir(parents=True, exist_ok=True)
    shown = "".join(f"\n![{file}]({file}.png)\n" for file in figures)
    (folder / f"{name}.md").write_text(text.rstrip() + "\n" + shown, encoding="utf-8")
    (folder / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for file, figure in figures.items():
        figure.patch.set(facecolor=LIGHT.surface, alpha=1)
        with style():
            figure.savefig(folder / f"{file}.png", dpi=120, facecolor=LIGHT.surface)
    print(f"\nwritten to {folder}: {name}.md, {name}.json, {len(figures)} pictures")
