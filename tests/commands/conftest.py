"""Small files, runs fitted on them, and the command line called in this process."""

import contextlib
import io
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from throughtime.cli import main
from throughtime.inspect import report

STEPS = 200
BRIEF = ("--steps", "3", "--horizon", "4", "--window", "8", "--quiet")
SMALL = (*BRIEF, "--width", "4")


@dataclass(frozen=True)
class Outcome:
    code: int | str | None
    out: str
    err: str


def call(*args, stdin="", draw=False):
    """`throughtime ARGS`, in this process; without pictures, which take most of the time."""
    out, err = io.StringIO(), io.StringIO()
    code: int | str | None = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["throughtime", *map(str, args)])
        patch.setattr(sys, "stdin", io.StringIO(stdin))
        if not draw:
            patch.setattr(report._Page, "picture", _blank)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as end:
                code = end.code
    return Outcome(code, out.getvalue(), err.getvalue())


def _blank(page, name, words, *args, **options):
    del page, name, args, options
    return report.Picture("data:,", "data:,", words)


def fine(*args, stdin=""):
    """`throughtime ARGS`, which succeeds; what it prints."""
    outcome = call(*args, stdin=stdin)
    assert outcome.code in (0, None), outcome
    return outcome.out


def refusal(*args, stdin=""):
    """`throughtime ARGS`, which is a mistake; the one line that says so, without its front."""
    outcome = call(*args, stdin=stdin)
    assert outcome.code == 2, outcome
    return one_line(outcome.err)


def one_line(err):
    lines = err.splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("throughtime: "), err
    return lines[0].removeprefix("throughtime: ")


def environment(**more):
    # Unbuffered output would answer at once whatever the command does.
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "", **more}


def start(*args, **options) -> Any:
    """`python -m throughtime ARGS`, a process of its own with pipes."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    command = [sys.executable, "-m", "throughtime", *map(str, args)]
    return subprocess.Popen(
        command, env=environment(), text=True, preexec_fn=_hear_ctrl_c, **{**pipes, **options}
    )


def _hear_ctrl_c():
    # Started in the background by a shell, the tests inherit that Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run_alone(*args, stdin=b"", encoding="utf-8", cwd=None):
    """`python -m throughtime ARGS`, to its end; its input and output are in that encoding."""
    done = subprocess.run(
        [sys.executable, "-m", "throughtime", *map(str, args)],
        env=environment(PYTHONIOENCODING=encoding), capture_output=True, input=stdin, cwd=cwd,
        timeout=120, check=False,
    )  # fmt: skip
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())


def hours(count):
    times = np.datetime64("2020-01-01", "s") + np.arange(count) * np.timedelta64(1, "h")
    return [str(time).replace("T", " ") for time in times]


def wave(count):
    noise = np.random.default_rng(0).standard_normal(count)
    return np.sin(2 * np.pi * np.arange(count) / 24) + 0.1 * noise


@dataclass(frozen=True)
class Files:
    """Where the files of a test session lie."""

    folder: Path
    series: Path
    plain: Path
    text: Path


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    found = Files(folder, folder / "hours.csv", folder / "plain.csv", folder / "cat.txt")
    rows = zip(hours(STEPS), wave(STEPS), strict=True)
    found.series.write_text("date,y\n" + "".join(f"{time},{y:.4f}\n" for time, y in rows))
    found.plain.write_text("y\n" + "".join(f"{y:.4f}\n" for y in wave(STEPS)))
    found.text.write_text("the cat sat on the mat and the dog ran to the cat.\n" * 30)
    return found


@pytest.fixture(scope="session")
def runs(files):
    """Runs on the series with and without hours, and on the text."""
    for name in ("series", "plain", "text"):
        fine("fit", getattr(files, name), *SMALL, "--out", files.folder / f"run-{name}")
    return {name: files.folder / f"run-{name}" for name in ("series", "plain", "text")}
