"""Memory while training on one long series: it should not grow with the length.

    python -m benchmarks.memory --steps 1000000,10000000

For each length a seasonal series is written to a `.npy` file, and `throughtime fit` trains on it
in a process of its own, whose resident memory is read from `/proc` (so this runs on Linux only).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

MIB = 2**20
EVERY = 0.1
"""Seconds between two looks at a process."""

FLAT = 30.0
"""MiB by which peaks may differ: allocators and threads differ that much from run to run."""

BLOCK = 1_000_000


@dataclass(frozen=True)
class Course:
    """What one run took.

    Attributes:
        steps: of the series.
        file: size of the file, MiB.
        seconds: of training, validation left out.
        curve: resident memory when training starts and at 25, 50, 75 and 100 % of it, MiB.
        training: the most while the model was trained, MiB.
        peak: the most of the whole command, report and baselines included, MiB.
    """

    steps: int
    file: float
    seconds: float
    curve: tuple[float, ...]
    training: float
    peak: float


def write_series(path: Path, steps: int) -> None:
    """A season of 24 within one of 168, and noise: float64, a block at a time."""
    random = np.random.default_rng(0)
    with open(path, "wb") as file:
        header = {"descr": "<f8", "fortran_order": False, "shape": (steps,)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, steps, BLOCK):
            t = np.arange(start, min(start + BLOCK, steps))
            season = np.sin(2 * np.pi * t / 24) + 0.5 * np.sin(2 * np.pi * t / 168)
            file.write((10 + season + 0.2 * random.standard_normal(len(t))).tobytes())


def measure(steps: int, options: list[str]) -> Course:
    """Train on a series of so many steps and watch the process."""
    with tempfile.TemporaryDirectory() as folder:
        path, run = Path(folder, "series.npy"), Path(folder, "run")
        write_series(path, steps)
        command = [sys.executable, "-m", "throughtime", "fit", str(path), "--out", str(run)]
        process = subprocess.Popen(
            [*command, "--quiet", *options], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        seen: list[tuple[float, float]] = []  # when, and how much
        peak, began = 0.0, None
        while process.poll() is None:
            resident, high = memory_of(process.pid)
            if high:  # 0 while a process ends
                seen.append((time.monotonic(), resident))
                peak = max(peak, high)
            if began is None and (run / "checkpoint").exists():  # written before the first step
                began = time.monotonic()
            time.sleep(EVERY)
        if process.returncode or began is None:
            assert process.stderr is not None
            sys.exit(process.stderr.read().decode())
        # The last training loss is recorded when the epoch ends, before validation.
        lines = (run / "metrics.jsonl").read_text().splitlines()
        seconds = [line["seconds"] for line in map(json.loads, lines) if "loss" in line][-1]
        curve = [nearest(seen, began + share * seconds) for share in (0, 0.25, 0.5, 0.75, 1)]
        during = [resident for when, resident in seen if began <= when <= began + seconds]
        size = path.stat().st_size / MIB
        return Course(steps, size, seconds, tuple(curve), max([*curve, *during]), peak)


def memory_of(process: int) -> tuple[float, float]:
    """Resident memory of a process now and at most so far, MiB."""
    text = Path(f"/proc/{process}/status").read_text()
    found = dict(line.split(":", 1) for line in text.splitlines())
    now, most = (float(found.get(name, "0 kB").split()[0]) for name in ("VmRSS", "VmHWM"))
    return now / 1024, most / 1024


def nearest(seen: list[tuple[float, float]], when: float) -> float:
    """Memory at the look that came closest to a moment."""
    return min(seen, key=lambda look: abs(look[0] - when))[1]


def show(courses: list[Course]) -> None:
    """A line per length, what each takes more than the one before, and the verdict."""
    names = ("steps", "file", "training s", "start", "25 %", "50 %", "75 %", "100 %", "training",
             "command")  # fmt: skip
    print("Resident memory in MiB: while training, then the most in training and in all\n")
    print(f"{names[0]:>12}" + "".join(f"{name:>11}" for name in names[1:]))
    for each in courses:
        shown = (each.file, each.seconds, *each.curve, each.training, each.peak)
        print(f"{each.steps:>12,}" + "".join(f"{number:>11.1f}" for number in shown))
    for less, more in pairwise(courses):
        both = zip(less.curve, more.curve, strict=True)
        shown = [more.file - less.file, more.seconds - less.seconds, *(b - a for a, b in both)]
        shown += [more.training - less.training, more.peak - less.peak]
        print(f"{'difference':>12}" + "".join(f"{number:>+11.1f}" for number in shown))
    if len(courses) > 1:
        first, last = courses[0], courses[-1]
        grown = last.peak - first.peak
        print(
            f"\n{'flat' if grown < FLAT else 'NOT flat'}: {last.steps / first.steps:g} times the "
            f"steps, {last.file - first.file:+.0f} MiB of file, {grown:+.1f} MiB of memory at most "
            f"(allowed {FLAT:g})"
        )


def main() -> None:
    """Measure each length and compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", default="1000000,10000000", help="lengths, shortest first")
    parser.add_argument("--model", default="gru")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--window", type=int, default=200)
    given = parser.parse_args()
    if not os.path.exists("/proc/self/status"):
        sys.exit("benchmarks.memory: this system has no /proc, where memory is read from")
    names = ("model", "width", "batch_size", "window")
    options = [f"--{name.replace('_', '-')}={getattr(given, name)}" for name in names]
    options += ["--epochs=1", "--horizon=24", "--season=24"]
    show([measure(int(float(steps)), options) for steps in given.steps.split(",")])


if __name__ == "__main__":
    main()
