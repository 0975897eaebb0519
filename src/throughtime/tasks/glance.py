"""A quick look at how well a model forecasts, for use while it trains."""

import numpy as np
import torch

from throughtime.models.autoregressive import Autoregressive
from throughtime.tasks import metrics
from throughtime.tasks.forecasting import Forecasting
from throughtime.tasks.likelihood import evaluate
from throughtime.tasks.rows import Rows


def glance(
    task: Forecasting,
    model: Autoregressive,
    *,
    origins: int = 40,
    paths: int = 50,
    seasons: int = 10,
    seed: int = 0,
) -> dict[str, float]:
    """Forecasts from origins all over the validation part, as rows of one batch.

    A backtest reads the history step by step; here each origin is a row with a short history of
    its own, so that a look costs no more than a few updates of the weights.

    Args:
        task: the series.
        model: the model.
        origins: how many over all series, at least one each.
        paths: sample paths of each.
        seasons: the history of each origin, in seasons (of at least 24 steps).
        seed: of the paths.

    Returns:
        `loss`: mean CRPS over the horizon, in training deviations of each series; `one_step` and
        `nats`: loss and negative log likelihood one step ahead, over the same steps.
    """
    horizon, context = task.horizon, seasons * max(24, min(task.table.season, 200))
    each = max(1, origins // len(task.table))
    chosen: list[tuple[int, int]] = []
    for index, (start, stop) in enumerate(zip(*task.borders("validation"), strict=True)):
        first = max(start, 1)
        if stop - horizon >= first:
            places = np.linspace(first, stop - horizon, min(each, stop - horizon - first + 1))
            chosen += [(index, int(place)) for place in np.unique(places.round())]
    context = min(context, max(origin for _, origin in chosen))
    rows = Rows.make(
        task,
        [task.table.series[index] for index, _ in chosen],
        [origin + horizon for _, origin in chosen],
        context + horizon,
        horizon,
    )
    state = task.read(model, rows, 0, context)
    score = evaluate(model, rows.windows(512), state, task.device, task.dtype)
    generator = torch.Generator(task.device).manual_seed(seed)
    ahead = rows.covariates_of(context, horizon)
    last = rows.values[:, context - 1]
    samples = model.forecast(horizon, state, last, ahead, paths, generator).double().cpu().numpy()
    actual = rows.values[:, context:].double().cpu().numpy()
    spread = task.spread[[index for index, _ in chosen]]
    errors = [
        metrics.crps(samples[..., d], actual[..., d]) / spread[:, d, None]
        for d in range(len(task.table.targets))
    ]
    crps = metrics.mean_known(np.stack(errors))
    return {"loss": crps, "one_step": score.loss, "nats": score.nats}
