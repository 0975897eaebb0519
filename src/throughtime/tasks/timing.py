"""How long one streamed step takes, and one answer."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from throughtime.models.autoregressive import Autoregressive

Source = TypeVar("Source")

WARM_UP, REPEATS = 5, 30
ANSWERS = 20


@torch.inference_mode()
def time_per_step(model: Autoregressive) -> float:
    """Milliseconds from one value to the parameters of the next one's distribution, batch 1.

    The median of 30 steps, after 5 to warm up.
    """
    x, state = model.begin(1), None
    known = model.inputs.covariates
    like = model.like()
    covariates = like.new_zeros(1, 1, known) if known else None
    times = []
    for _ in range(WARM_UP + REPEATS):
        started = time.perf_counter()
        _, state = model(x, state, None, None, covariates)
        if like.is_cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return 1e3 * statistics.median(times[WARM_UP:])


def time_per_answer(answer: Callable[[Source], object], sources: Sequence[Source]) -> float:
    """Milliseconds from one source to its answer.

    The median of up to 20 sources, evenly chosen, after one to warm up.
    """
    chosen = sources[:: max(1, len(sources) // ANSWERS)][:ANSWERS]
    answer(chosen[0])
    times = []
    for source in chosen:
        started = time.perf_counter()
        answer(source)
        times.append(time.perf_counter() - started)
    return 1e3 * statistics.median(times)
