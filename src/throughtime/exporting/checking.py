"""Whether an exported file gives what the model gives, and how fast."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from throughtime.errors import InputError
from throughtime.exporting.graphs import Graph, blank
from throughtime.exporting.ports import BATCH, NEXT, STEPS, TIME
from throughtime.exporting.rows import Piece

TOLERANCE = 1e-4
"""The largest difference that passes, relative to 1 + |value|."""

SIZES = ({BATCH: 1, TIME: 1, STEPS: 1}, {BATCH: 2, TIME: 23, STEPS: 9})
"""Of what is made up where there are no rows of data."""

Compute = Callable[[Sequence[Tensor]], Sequence[Tensor]]
"""A file, from what goes in to what comes out."""


def difference(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> float:
    """The largest |a - b| / (1 + |a|); infinite where only one of the two is a number."""
    worst = 0.0
    for one, two in zip(ours, theirs, strict=True):
        if one.shape != two.shape or one.dtype != two.dtype:
            raise InputError(
                f"export: the file gives {two.dtype} {list(two.shape)}, "
                f"expected {one.dtype} {list(one.shape)}"
            )
        a, b = one.double(), two.double()
        apart = torch.where(a == b, 0, (a - b).abs() / (1 + a.abs()))
        apart = torch.where(a.isnan() & b.isnan(), 0, apart.nan_to_num(torch.inf, torch.inf))
        worst = max(worst, float(apart.max())) if apart.numel() else worst
    return worst


@torch.no_grad()
def check_rows(graph: Graph, compute: Compute, pieces: Sequence[Piece]) -> float:
    """The largest difference over rows of data."""
    return max(difference(graph(*p.inputs), compute(p.inputs)) for p in pieces)


@torch.no_grad()
def check_made_up(graph: Graph, compute: Compute) -> float:
    """The largest difference over numbers that were made up, at sizes other than the example's."""
    random = torch.Generator().manual_seed(0)
    return max(
        difference(graph(*given), compute(given))
        for given in (made_up(graph, sizes, random) for sizes in SIZES)
    )


def made_up(graph: Graph, sizes: dict[str, int], random: torch.Generator) -> list[Tensor]:
    """Normal numbers with holes, tokens, and masks with gaps."""
    found = []
    for port, zeros in zip(graph.takes, blank(graph, sizes), strict=True):
        if port.dtype == torch.bool:
            found.append(torch.rand(zeros.shape, generator=random) < 0.7)
        elif port.dtype == torch.long:  # every vocabulary has two ids
            found.append(torch.randint(2, zeros.shape, generator=random))
        else:
            numbers = torch.randn(zeros.shape, generator=random)
            if port.name == "x":
                hole = torch.rand(zeros.shape, generator=random) < 0.1
                numbers = torch.where(hole, torch.nan, numbers)
            found.append(numbers.abs() if port.name.startswith("state.scale") else numbers)
    return found


@torch.no_grad()
def check_steps(
    step: Graph, compute: Compute, values: Sequence[Tensor], state: Sequence[Tensor]
) -> float:
    """The largest difference while one step follows the other, each with its own state.

    Args:
        step: the graph of one step.
        compute: the file of it.
        values: what each step takes beside the state: `[batch, time, ...]` of each.
        state: before the first step.
    """
    ours, theirs, worst = [*state], [*state], 0.0
    for at in range(values[0].shape[1]):
        fed = [part[:, at] for part in values]
        mine, other = step(*fed, *ours), compute([*fed, *theirs])
        worst = max(worst, difference(mine, other))
        ours, theirs = go_on(step, ours, mine), go_on(step, theirs, other)
    return worst


def go_on(step: Graph, state: Sequence[Tensor], given: Sequence[Tensor]) -> list[Tensor]:
    """The state after a step."""
    found = dict(zip((port.name for port in step.gives), given, strict=True))
    names = [port.name for port in step.takes if port.name.startswith("state.")]
    return [found.get(name + NEXT, part) for name, part in zip(names, state, strict=True)]


@torch.no_grad()
def time_of(compute: Compute, given: Sequence[Tensor], seconds: float = 0.3) -> float:
    """The median time of a call, in microseconds."""
    for _ in range(5):
        compute(given)
    taken, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until or not taken:
        start = time.perf_counter()
        compute(given)
        taken.append(time.perf_counter() - start)
    return 1e6 * sorted(taken)[len(taken) // 2]


def no_larger(worst: float, what: str) -> float:
    """A difference, unless it is too large.

    Errors:
        InputError: it is.
    """
    if not worst <= TOLERANCE:
        raise InputError(
            f"export: {what} differs from the model by {worst:.2g}, expected at most {TOLERANCE:g}"
        )
    return worst


def example_of(graph: Graph, sizes: dict[str, int] | None = None) -> list[Any]:
    """One row of one step, to time."""
    return made_up(graph, sizes or SIZES[0], torch.Generator().manual_seed(0))
