"""Train on a probe: fresh rows until it is solved or the updates are spent, and what came of it."""

import math
import re
import time as clock
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch

from throughtime.data.probes import FreshProbes, Probe, adding, copying, first_symbol, parity
from throughtime.errors import InputError
from throughtime.inspect.gradient_flow import gradient_flow
from throughtime.inspect.long_dependencies import LongDependencies, ProbeRun
from throughtime.inspect.memory import TOLERANCE, probe_error, probe_loss, success
from throughtime.layers import GRU, LSTM, RNN, Layer
from throughtime.layers.base import check_size
from throughtime.models.classifier import Classifier
from throughtime.models.inputs import NumberInputs, TokenInputs
from throughtime.training.config import TrainingConfig
from throughtime.training.loop import Moment, train
from throughtime.training.parts import TrainingDiverged

__all__ = [
    "PROBES",
    "Learned",
    "chrono_",
    "good_enough",
    "guessed",
    "judged",
    "learn_probe",
    "probe_model",
    "probe_named",
    "run_probe",
]

MakeProbe = Callable[[int, int], Probe]
"""From a number of rows and a seed to the rows."""

PROBES: dict[str, Callable[..., Probe]] = {
    "adding": adding,
    "copying": copying,
    "parity": parity,
    "first-symbol": first_symbol,
}
"""Probes by name."""

CELLS: dict[str, type[Layer]] = {"rnn": RNN, "lstm": LSTM, "gru": GRU}
WIDTH = 8
"""Features of the vector of a token."""
VALIDATION, TEST = 2**40, 2**40 + 1
"""Seeds beyond those that training draws."""
ROWS = {"validation": 500, "test": 1000, "flow": 16}
LAGS = 50
"""Lags of a gradient flow, evenly over the time."""
MARK, LEAST_SUCCESS = 0.01, 0.99
"""A probe is solved below this squared error or, where answers are classes, from this share of
rows on: nats per answer shrink with the blanks of a row, so that they are no measure of it."""


class Learned(NamedTuple):
    """How training on a probe ended.

    Attributes:
        updates: of the weights.
        stopped: `enough`, `steps` (the budget is spent), `diverged`, or `interrupted`.
    """

    updates: int
    stopped: str


class _Enough(Exception):
    """No error, but the news that ends training: validation found what was asked for."""


def probe_named(name: str) -> MakeProbe:
    """The probe of a name such as `adding:200`: what it is called, and its time.

    Args:
        name: one of `adding`, `copying`, `parity`, `first-symbol`, a colon, and the steps.

    Errors:
        InputError: no such probe, or no whole number of steps behind the colon.

    Examples:
        >>> probe_named("parity:30")(5, 0).inputs.shape
        (5, 30)
    """
    probe, _, steps = name.partition(":")
    if probe not in PROBES or not re.fullmatch(r"[1-9]\d{0,8}", steps):
        raise InputError(
            f"probe is {name!r}, expected one of {', '.join(PROBES)}, with its time: adding:200"
        )
    return partial(_made, PROBES[probe], int(steps))


def _made(make: Callable[..., Probe], time: int, rows: int, seed: int) -> Probe:
    return make(rows=rows, time=time, seed=seed)


def chrono_(layer: Layer, steps: int) -> None:
    r"""Open the gates of an LSTM or a GRU for about as long as dependencies are, in place.

    Each unit draws how long it remembers, $T_i$ evenly from 1 to T - 1, and its bias keeps the
    share $T_i / (T_i + 1)$ at each step:

    $$b_f = \log T_i, \qquad b_i = -b_f$$

    of an LSTM (its other biases are 0); of a GRU $b_z = \log T_i$.

    Args:
        layer: an LSTM or a GRU.
        steps: T, the longest dependency that is expected, above 2.

    Errors:
        InputError: another layer, or fewer steps.

    Examples:
        >>> layer = LSTM(2, 3)
        >>> chrono_(layer, 100)
        >>> i, f, _, _ = layer.bias.detach().chunk(4)
        >>> bool((f >= 0).all()), bool((i == -f).all())
        (True, True)

    References:
        Tallec and Ollivier 2018, "Can recurrent neural networks warp time?", section 3.
    """
    if not isinstance(layer, LSTM | GRU):
        name = type(layer).__name__
        raise InputError(f"chrono_: layer is {name}, expected an LSTM or a GRU: it has gates")
    if steps < 3:
        raise InputError(f"chrono_: steps is {steps}, expected at least 3")
    with torch.no_grad():
        bias = torch.empty(layer.hidden_size).uniform_(1, steps - 1).log()
        if isinstance(layer, LSTM):
            layer.bias.zero_()
            i, f, _, _ = layer.bias.chunk(4)
            f.copy_(bias)
            i.copy_(-bias)
        else:
            _, z, _ = layer.bias.chunk(3)
            z.copy_(bias)


def probe_model(probe: Probe, kind: str, hidden: int, *, chrono: int | None = None) -> Classifier:
    """A recurrent model that answers a probe: inputs, one cell, a last matrix.

    Args:
        probe: what is to be answered.
        kind: `rnn` (tanh), `lstm` or `gru`.
        hidden: units of the cell.
        chrono: start the gates by [`chrono_`][throughtime.recipes.probes.chrono_] with so many
            steps; None: as the layer does.

    Errors:
        InputError: another kind, or a chrono start of an RNN.

    Examples:
        >>> model = probe_model(adding(rows=2, time=20, seed=0), "gru", 16)
        >>> model(torch.rand(2, 20, 2))[0].shape
        torch.Size([2, 20, 1])
    """
    if kind not in CELLS:
        raise InputError(f"probe_model: kind is {kind!r}, expected one of {', '.join(CELLS)}")
    check_size("probe_model", "hidden", hidden)
    if probe.tokens:
        inputs = TokenInputs(probe.tokens, WIDTH)
    else:
        inputs = NumberInputs(probe.inputs.shape[-1])
    cell: Any = CELLS[kind]
    body = cell(inputs.output_size, hidden)
    if chrono is not None:
        chrono_(body, chrono)
    pooling = "none" if probe.kind == "steps" else "last"
    return Classifier(inputs, body, probe.classes, pooling=pooling)


def learn_probe(
    model: Classifier,
    make: MakeProbe,
    config: TrainingConfig,
    *,
    enough: float = 0.0,
    enough_success: float | None = None,
    seed: int = 0,
    progress: Callable[[Moment], None] | None = None,
) -> Learned:
    """Train on fresh rows; the model keeps the weights that validated best.

    Where the loss or its gradient is no longer finite, training ends as well, and the model keeps
    the weights from before that update.

    Args:
        model: trained in place, and left in evaluation mode.
        make: the probe, such as [`probe_named`][throughtime.recipes.probes.probe_named] gives it.
        config: of training; `max_steps` is the budget of updates, and `validate_every` how often it
            is looked whether that was enough.
        enough: training ends once the error on 500 rows of validation is at most this.
        enough_success: or once this share of them is met, see
            [`success`][throughtime.inspect.success], with the weights that did so; None: never.
        seed: of the rows.
        progress: called after each update.

    Errors:
        InputError: no `max_steps` or no `validate_every`.

    Examples:
        >>> make = probe_named("first-symbol:4")
        >>> model = probe_model(make(1, 0), "gru", 16)
        >>> config = TrainingConfig(learning_rate=0.02, max_steps=400, validate_every=20)
        >>> learned = learn_probe(model, make, config, enough=0.1)
        >>> learned.stopped, learned.updates < 400
        ('enough', True)
    """
    every, budget = config.validate_every, config.max_steps
    if every is None or budget is None:
        missing = "max_steps" if budget is None else "validate_every"
        raise InputError(f"learn_probe: {missing} is None, expected a number of updates")
    rows = config.batch_size * every
    source = FreshProbes(lambda seed: make(rows, seed), rows=config.batch_size, seed=seed)
    held_out = make(ROWS["validation"], VALIDATION)
    made = 0

    def watch(moment: Moment) -> None:
        nonlocal made
        made = moment.step
        if progress is not None:
            progress(moment)
        if made % every or moment.validation is None:
            return
        # The weights are those that were validated just now.
        if moment.validation <= enough or (
            enough_success is not None and success(model, held_out) >= enough_success
        ):
            raise _Enough

    validate = held_out.source(250, shuffle=False)
    without_end = replace(config, epochs=budget)
    try:
        stopped = train(
            model, source, probe_loss, without_end, validate=validate, progress=watch
        ).stopped
    except _Enough:
        stopped = "enough"
    except TrainingDiverged:
        stopped = "diverged"
    model.eval()
    return Learned(made, stopped)


def run_probe(
    make: MakeProbe,
    kind: str,
    hidden: int,
    config: TrainingConfig,
    *,
    name: str | None = None,
    seed: int = 0,
    chrono: int | None = None,
    enough: float = 0.0,
    enough_success: float | None = None,
    progress: Callable[[Moment], None] | None = None,
) -> ProbeRun:
    """A model on a probe from its first weights to what it solves, gradients before and after.

    Args:
        make: the probe.
        kind: of the cell, see [`probe_model`][throughtime.recipes.probes.probe_model], as `hidden`
            and `chrono`.
        hidden: units.
        config: of training, see [`learn_probe`][throughtime.recipes.probes.learn_probe].
        name: of the model; its kind by default.
        seed: of its first weights and of the rows it sees.
        chrono: steps, or None.
        enough: an error at which training may end.
        enough_success: a share of rows at which it may, see `learn_probe`.
        progress: called after each update.

    Examples:
        >>> config = TrainingConfig(max_steps=2, validate_every=2)
        >>> run = run_probe(probe_named("adding:20"), "gru", 8, config)
        >>> run.time, run.updates, run.lags[-1]
        (20, 2, 19)
    """
    test, watched = make(ROWS["test"], TEST), make(ROWS["flow"], TEST)
    torch.manual_seed(seed)
    model = probe_model(test, kind, hidden, chrono=chrono)
    lags = _lags(test.inputs.shape[1])
    before = _flow(model, watched, lags)
    started = clock.process_time()
    learned = learn_probe(
        model, make, config,
        enough=enough, enough_success=enough_success, seed=seed, progress=progress,
    )  # fmt: skip
    if learned.stopped == "interrupted":
        raise KeyboardInterrupt
    seconds = clock.process_time() - started
    return ProbeRun(
        model=name or kind,
        time=test.inputs.shape[1],
        seed=seed,
        rate=config.learning_rate,
        updates=learned.updates,
        stopped=learned.stopped,
        seconds=seconds,
        error=probe_error(model, test),
        success=success(model, test),
        lags=lags,
        before=before,
        after=_flow(model, watched, lags),
    )


def good_enough(probe: Probe) -> dict[str, float]:
    """Where training on a probe may end: well beyond the mark of what is solved.

    Args:
        probe: any rows of it.

    Returns:
        What [`run_probe`][throughtime.recipes.probes.run_probe] takes.

    Examples:
        >>> good_enough(adding(rows=1, time=9, seed=0)), good_enough(parity(rows=1, time=9, seed=0))
        ({'enough': 0.001}, {'enough_success': 0.995})
    """
    if probe.kind == "number":
        return {"enough": MARK / 10}
    return {"enough_success": (1 + LEAST_SUCCESS) / 2}


def guessed(probe: Probe) -> float:
    r"""The share of rows that an answer without memory meets by chance.

    With n answers in a row that cost $\ell$ nats each, `probe.baseline`, it is $e^{-n \ell}$. Of
    [`adding`][throughtime.data.probes.adding], where 1 is always answered and $\tau$ is what a sum
    of two even numbers may be missed by, it is $1 - (1 - \tau)^2$.

    Args:
        probe: any rows of it.

    Examples:
        >>> round(guessed(first_symbol(rows=1, time=9, seed=0)), 3)
        0.25
        >>> round(guessed(adding(rows=1, time=9, seed=0)), 3)
        0.154
    """
    if probe.kind == "number":
        return 1 - (1 - TOLERANCE) ** 2
    answers = probe.targets[0].size
    return math.exp(-answers * probe.baseline)


def judged(probe: Probe, runs: Sequence[ProbeRun]) -> LongDependencies:
    """Runs on a probe together, judged as is usual for it.

    A number is to be met with a mean squared error below 0.01; where answers are classes, 99 % of
    rows are to be right throughout.

    Args:
        probe: rows of it, of the largest length.
        runs: with any models, lengths and seeds.

    Examples:
        >>> make = probe_named("parity:6")
        >>> config = TrainingConfig(max_steps=2, validate_every=2)
        >>> found = judged(make(1, 0), [run_probe(make, "gru", 8, config, name="GRU")])
        >>> found.criterion, found.solved("GRU", 6)
        ('at least 99 % of rows right', (0, 1))
    """
    least = None if probe.kind == "number" else LEAST_SUCCESS
    name = probe.name.replace("_", "-")
    return LongDependencies(name, tuple(runs), probe.baseline, guessed(probe), MARK, least)


def _lags(time: int) -> tuple[int, ...]:
    """Evenly from the last step to the first."""
    return tuple(sorted({*range(0, time, max(1, time // LAGS)), time - 1}))


def _flow(model: Classifier, probe: Probe, lags: Sequence[int]) -> tuple[float, ...]:
    """The gradient of what the cell says after the last step by its state so many steps before."""
    (batch,) = probe.source(len(probe.inputs), shuffle=False).epoch(0)[0]
    x = batch.to(model.weight.device, model.weight.dtype).x
    with torch.no_grad():
        features, _, _ = model.inputs(x, model.inputs.initial_state(len(x)))
    (curve,) = gradient_flow(model.body, features, lags=lags).curves.values()
    return curve
