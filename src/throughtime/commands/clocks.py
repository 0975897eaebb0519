"""How long things take beside each other, and how fast this machine multiplies matrices."""

import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch

from throughtime.commands.doctor import examine
from throughtime.kernels import native

Run = Callable[[], Any]

WARM_UP = 0.05
"""Seconds each thing runs before it is timed, two calls at least."""

PRODUCTS = ((2048, 2048, 2048), (3200, 512, 2048))
"""Rows, inner size and columns: a square, and the input projections of a recurrent layer."""


@dataclass(frozen=True)
class Times:
    """Seconds that single calls took, in ascending order."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.seconds)

    @property
    def mean(self) -> float:
        """What a call takes in the long run, calls that had to wait included."""
        return statistics.fmean(self.seconds)

    @property
    def best(self) -> float:
        """The shortest."""
        return self.seconds[0]

    def quantile(self, share: float) -> float:
        """The shortest time that this share of the calls did not exceed."""
        return self.seconds[max(0, math.ceil(share * len(self.seconds)) - 1)]


def in_turn(
    runs: Mapping[str, Run],
    *,
    seconds: float = 1.0,
    least: int = 5,
    most: int = 300,
    block: int = 1,
) -> dict[str, Times]:
    """Time several things in one process, in rounds: what slows the machine down slows all.

    Every second round goes backwards, so that none always follows the same other.

    Args:
        runs: what is timed, by name.
        seconds: after so many no round begins, once there were enough.
        least: rounds there are in any case.
        most: rounds there are at most.
        block: calls of one thing in a row, each timed by itself.
    """
    for run in runs.values():
        warm_up(run)
    clock = time.perf_counter
    taken: dict[str, list[float]] = {name: [] for name in runs}
    order, done, end = list(runs), 0, clock() + seconds
    while done < least or (done < most and clock() < end):
        for name in order:
            run, note = runs[name], taken[name].append
            for _ in range(block):
                started = clock()
                run()
                note(clock() - started)
        order.reverse()
        done += 1
    return {name: Times(tuple(sorted(each))) for name, each in taken.items()}


def warm_up(run: Run) -> None:
    """Two calls at least: buffers are allocated, code is generated, caches fill."""
    end = time.perf_counter() + WARM_UP
    run()
    run()
    while time.perf_counter() < end:
        run()


def matrix_rates(dtype: torch.dtype = torch.float32, *, seconds: float = 0.4) -> dict[str, float]:
    """Operations per second of large products, the best of each way that torch has.

    `torch.mm` and oneDNN's linear layer may be far apart, so a share of the peak means little
    without saying whose.
    """
    linear = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    rates: dict[str, float] = {}
    for rows, inner, columns in PRODUCTS:
        x, weight = torch.randn(rows, inner).to(dtype), torch.randn(columns, inner).to(dtype)
        across = weight.T.contiguous()
        runs: dict[str, Run] = {"torch.mm": lambda x=x, w=across: torch.mm(x, w)}
        if linear is not None and has_onednn(dtype):
            runs["oneDNN"] = lambda x=x, w=weight: linear(x, w, None, "none", [], "")
        for name, times in in_turn(runs, seconds=seconds).items():
            rate = 2 * rows * inner * columns / times.best
            rates[f"{name} {rows} x {inner} x {columns}"] = rate
    return rates


def has_onednn(dtype: torch.dtype) -> bool:
    """Whether oneDNN multiplies this type here: bfloat16 only on processors that know it."""
    if dtype == torch.bfloat16:
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return dtype == torch.float32


def geometric_mean(values: list[float]) -> float:
    """The mean of ratios; NaN of none."""
    return math.exp(statistics.fmean(map(math.log, values))) if values else math.nan


def significant(value: float) -> str:
    """Three digits, as many of them decimals as it takes; no exponent.

    Examples:
        >>> significant(0.01234), significant(1.239), significant(99.96), significant(1234.5)
        ('0.012', '1.24', '100', '1234')
    """
    decimals = next((n for n, least in enumerate((99.95, 9.995, 0.9995)) if value >= least), 3)
    return f"{value:.{decimals}f}"


def machine() -> dict[str, Any]:
    """What figures depend on; no names of hosts or places."""
    found = examine("cpu", torch.float32)
    available = getattr(os, "sched_getaffinity", None)  # Linux: what this process may use
    library = getattr(native, "library", None)
    return {
        "date": date.today().isoformat(),
        "processor": _processor(),
        "cores": len(available(0)) if available else os.cpu_count(),
        **{key: found[key] for key in ("threads", "vector instructions", "system")},
        "kernel instructions": "none" if library is None else library.isa(),
        **{key: found[key] for key in ("throughtime", "python")},
        "torch": torch.__version__,
        "kernels": {name: one["runs"] for name, one in found["kernels"].items()},
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
