"""How far back a model's memory reaches along one sequence, and how it tells positions apart."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from throughtime.data.batches import Batch
from throughtime.errors import InputError
from throughtime.inspect.gradient_flow import (
    GradientFlow,
    diagnose,
    draw_gradient_flow,
    gradient_flow,
    input_flow,
)
from throughtime.inspect.jacobians import Jacobians, recurrent_jacobians, recurrent_layers
from throughtime.inspect.layer_parts import of_side
from throughtime.inspect.memory import context_curve, draw_context_curve
from throughtime.inspect.panels import Curves, Figure, Part, curves_panel
from throughtime.inspect.position_figures import draw_position_similarity, draw_score_by_distance
from throughtime.inspect.positions import position_similarity, score_by_distance
from throughtime.inspect.sequence_figures import draw_jacobians
from throughtime.inspect.subjects import Pair, Stretch, Subject
from throughtime.inspect.truncation import loss_flow, truncation_report
from throughtime.inspect.truncation_figure import draw_truncation
from throughtime.inspect.window_bias import diagnose_truncation
from throughtime.layers import ImagePatches, Position, SelfAttention
from throughtime.models.autoregressive import Autoregressive
from throughtime.models.chain import evaluating
from throughtime.shapes import Tensor
from throughtime.training.run import Run

__all__ = ["context_part", "flow_part", "jacobian_part", "position_part", "truncation_part"]

SHORTEST = 3
"""Steps with a loss from which on gradients are followed back."""

WORK = 1_500_000_000
"""Steps times the cube of the state's size up to which Jacobians are taken apart."""

FEWEST, MOST = 16, 64
"""Steps whose Jacobians are looked at."""

SCORED = 32
"""Tokens at the end of each row by which it is told how much context counts."""

LEAST = 64
"""Tokens that a row must have for that."""

CONTEXTS = (0, 1, 2, 4, 8, 16, 32, 64)

ROWS, PLACES = 4, 4
"""Rows side by side, and places in the data, at which the cost of cutting is measured."""

AGAINST = ".against"
"""In the path of a layer that reads backwards."""

DISTANCES = 128
"""Steps up to which scores are drawn by distance, and positions compared."""


# -- gradients -----------------------------------------------------------------------------------


def flow_part(run: Run, seen: Subject) -> Part | None:
    """How much of the loss's gradient reaches how far back; None where nothing is carried on."""
    model = run.model
    body = model.decoder.body if isinstance(seen, Pair) else model.body
    if not body.causal or _steps_with_loss(seen) < SHORTEST:
        return None
    cut = _cut(run) if isinstance(seen, Stretch) else None
    recurrent = bool(recurrent_layers(body))
    flow = _by_path(model, body, _flow(run, seen, recurrent=recurrent))
    if cut is not None and (not recurrent or cut > flow.lags[-1]):
        cut = None
    what = "what a layer remembers" if recurrent else "the inputs of the body"
    text = f"The gradient of the loss of a step by {what} so many steps before."
    if cut is not None:
        text += f" In training it was cut after {cut} steps: what lies to the right was lost."
    figure = Figure(
        "gradient flow",
        "The norm of the gradient against how many steps it goes back, a line per layer.",
        lambda ax, theme: draw_gradient_flow(ax, flow, cut=cut, theme=theme),
        width=5.2, height=3.6,
    )  # fmt: skip
    return Part("How far gradients reach", text, tuple(diagnose(flow, cut)), None, (figure,))


def _steps_with_loss(seen: Subject) -> int:
    """Steps shown of which it is known what followed."""
    unknown = isinstance(seen, Stretch) and _ends_unknown(seen.targets)
    return seen.steps_shown - unknown


def _ends_unknown(targets: Tensor) -> bool:
    """Whether nobody knows what follows the last step, as at the end of a text."""
    return not targets.is_floating_point() and int(targets[0, -1]) < 0


def _by_path(model: nn.Module, body: Any, flow: GradientFlow) -> GradientFlow:
    """Layers by their paths in the model, as everywhere else on the page."""
    paths = {part: path for path, part in model.named_modules()}
    names = {name: paths[part] for name, part in recurrent_layers(body).items()}
    return GradientFlow(
        flow.lags, {names.get(name, name): curve for name, curve in flow.curves.items()}
    )


def _cut(run: Run) -> int | None:
    """After how many steps training cut the gradient; None where it is not a fixed number."""
    training = run.config.training
    return (training.depth or training.window) if training.truncation == "truncated" else None


def _flow(run: Run, seen: Subject, *, recurrent: bool) -> GradientFlow:
    model = run.model
    if isinstance(seen, Stretch):
        batch, state = _after(run, seen)
        if recurrent:
            return loss_flow(model, batch, state=state)
        features, context = _features(model, batch.inputs, state, batch.covariates)

        def losses(hidden: Tensor) -> Tensor:
            return model.head.loss(model.head(hidden, context), batch.targets)

        # Of loops over steps no state is needed: attention looks back at the steps themselves.
        return input_flow(model.body, features, loss=losses)
    if isinstance(seen, Pair):
        return _pair_flow(run, seen, recurrent=recurrent)
    with torch.no_grad():
        features, _ = model._features(seen.x, None)
    return (gradient_flow if recurrent else input_flow)(model.body, features)


def _pair_flow(run: Run, seen: Pair, *, recurrent: bool) -> GradientFlow:
    decoder = run.model.decoder
    previous, _ = decoder.shift(seen.y)
    with torch.no_grad():
        state = run.model.encode(seen.x)
    features, context = _features(decoder, previous, state, None)

    def losses(hidden: Tensor) -> Tensor:
        return decoder.head.loss(decoder.head(hidden, context), seen.y)

    flow = gradient_flow if recurrent else input_flow
    return flow(decoder.body, features, loss=losses, state=state.body)


def _after(run: Run, seen: Stretch) -> tuple[Batch, Any]:
    """The steps that are shown and have a loss, and the state before them."""
    shown = slice(seen.first, -1 if _ends_unknown(seen.targets) else None)
    batch = Batch(
        seen.inputs[:, shown], seen.targets[:, shown], None, None,
        None if seen.covariates is None else seen.covariates[:, shown],
    )  # fmt: skip
    if not seen.first:
        return batch, None
    known = None if seen.covariates is None else seen.covariates[:, : seen.first]
    with torch.no_grad(), evaluating(run.model):
        _, state = run.model(seen.inputs[:, : seen.first], None, None, None, known)
    return batch, state


def _features(model: Any, inputs: Tensor, state: Any, covariates: Any) -> tuple[Tensor, Any]:
    scale = model.inputs.initial_state(len(inputs)) if state is None else state.scale
    with torch.no_grad():
        features, context, _ = model.inputs(inputs, scale, None, None, covariates)
    return features, context


def truncation_part(run: Run, data: Any) -> Part:
    """How far the gradient of training is from one that nothing cuts, by window length.

    Args:
        run: with recurrent layers, on a text or on series.
        data: the task that it was fitted to.

    Errors:
        InputError: a run of another kind, or data that are too short.
    """
    if not (isinstance(run.model, Autoregressive) and recurrent_layers(run.model.body)):
        raise InputError(
            f"inspect: {run.folder} carries no state from window to window, expected a recurrent "
            "model of a text or of series for --truncation"
        )
    report = truncation_report(run.model, data, rows=ROWS, places=PLACES)
    figure = Figure(
        "truncation",
        "The distance of the gradient from the exact one against the window's length, as lines.",
        lambda ax, theme: draw_truncation(ax, report, theme=theme),
        width=5.6, height=3.8,
    )  # fmt: skip
    text = (
        f"On {report.places} places of the training part, {report.batch} rows side by side, the "
        f"gradient of truncated back-propagation beside one that goes back {report.span} steps."
    )
    found = tuple(diagnose_truncation(report))
    return Part("What cutting the gradient costs", text, found, None, (figure,))


# -- Jacobians -----------------------------------------------------------------------------------


def jacobian_part(run: Run, calls: Mapping[str, tuple[Tensor, Any]], steps: str,
                  words: tuple[str, ...]) -> Part | None:  # fmt: skip
    """How each recurrent layer carries a small change of its state on.

    Args:
        run: whose layers these are.
        calls: by layer its input and first state.
        steps: the name of the steps.
        words: what they are called.
    """
    modules = dict(run.model.named_modules())
    found: dict[str, Jacobians] = {}
    notes = []
    for path, (x, state) in calls.items():
        if AGAINST in path:
            notes.append(f"{path} reads from the end to the beginning and is left out here.")
            continue
        layer: Any = modules[path]
        size = layer.hidden_size * len(layer.State._fields)
        most = min(MOST, x.shape[1], len(words), WORK // size**3)
        if most < min(FEWEST, x.shape[1]) or most < 2:
            notes.append(f"{path} remembers {size} numbers: too many to take its steps apart here.")
            continue
        with torch.no_grad():
            if x.shape[1] > most:
                _, state = layer(x[:, :-most], state)
        found[path] = recurrent_jacobians(layer, x[:, -most:], state)
    if not found:
        return None
    fewest = min(len(one.matrices) for one in found.values())
    if fewest < len(words):
        notes.append(f"Of the last {fewest} steps only: taking steps apart is slow.")
    lines = {
        path: Curves(
            steps,
            {
                "largest singular value": _at_the_end(one.singular_values[:, 0], len(words)),
                "spectral radius": _at_the_end(one.spectral_radius, len(words)),
            },
            unit="factor", label=path, low=0.0,
        )
        for path, one in found.items()
    }  # fmt: skip
    figures = tuple(
        Figure(
            f"jacobians {path}",
            f"Largest singular value and spectral radius of each step of {path}, as lines.",
            lambda ax, theme, path=path: draw_jacobians(
                ax, found[path], layer=path, theme=theme,
                first=len(words) - len(found[path].matrices),
            ),
            width=5.2, height=3.2, instead=True,
        )
        for path in found
    )  # fmt: skip
    return Part(
        f"How each step carries the state on{of_side(steps)}",
        "By how much the Jacobian of a step stretches a small change of the state: at most (its "
        "largest singular value), and what it would come to if repeated (its spectral radius).",
        tuple(f"{path}: {one}" for path, one in found.items()),
        curves_panel(steps, [*lines.values()]),
        figures,
        tuple(notes),
    )


def _at_the_end(values: Tensor, steps: int) -> np.ndarray:
    line = values.double().cpu().numpy()
    return np.concatenate([np.full(steps - len(line), np.nan), line])


# -- context -------------------------------------------------------------------------------------


def context_part(run: Run, seen: Stretch) -> Part | None:
    """How much context counts, on rows of the test part of a text; None where there are none."""
    rows = seen.others
    if rows is None or rows.shape[1] < LEAST:
        return None
    unit = seen.steps.unit
    lengths = [k for k in CONTEXTS if k < rows.shape[1] - SCORED]
    curve = context_curve(run.model, rows, lengths, last=SCORED, name=run.config.model.kind,
                          chunk=1024)  # fmt: skip
    k = curve.effective
    if k is None:
        said = f"more than {lengths[-1]} {unit}s of context still make it better"
    else:
        what = unit if k == 1 else f"{unit}s"
        said = f"from {k} {what} of context on its loss is within 1 % of that given all"
    return Part(
        "How much context counts",
        f"The loss of the last {SCORED} {unit}s of {len(rows)} rows of the test part, by how many "
        f"{unit}s before each of them the model is shown.",
        (
            f"{said} ({curve.full:.3g} nats, {curve.full / math.log(2):.3g} bits, per {unit}; "
            f"{curve.values:,} of them scored)",
        ),
        None,
        (
            Figure(
                "context",
                "Loss against the number of steps of context, as a line.",
                lambda ax, theme: draw_context_curve(ax, [curve], theme=theme),
                width=5.2, height=3.4,
            ),
        ),
    )  # fmt: skip


# -- positions -----------------------------------------------------------------------------------


def position_part(model: nn.Module) -> Part | None:
    """How attention is told where a step stands; None where there is no attention."""
    modules = [*model.modules()]
    patches = [one for one in modules if isinstance(one, ImagePatches) and one.position != "none"]
    added = [one for one in modules if isinstance(one, Position)]
    scored = [
        one for one in modules
        if isinstance(one, SelfAttention) and one.position in ("rotary", "alibi")
    ]  # fmt: skip
    if patches:
        similarity = position_similarity(patches[0])
        text = f"Positions of patches are {patches[0].position}: a map for each patch."
    elif added:
        count = min(DISTANCES, added[0].length) if added[0].weight is not None else DISTANCES
        similarity = position_similarity(added[0], count)
        text = "How alike the positions are that are added to the steps."
    elif scored:
        return _scores_part(scored[0])
    else:
        return None
    figure = Figure(
        "positions", "Likeness of positions, as shades.",
        lambda ax, theme: draw_position_similarity(ax, similarity, theme=theme),
        width=5.2, height=4.4,
    )  # fmt: skip
    return Part("How positions are told apart", text, (), None, (figure,))


def _scores_part(layer: SelfAttention) -> Part:
    distances = range(DISTANCES)
    scores = score_by_distance(layer, distances)
    names = [layer.position] if len(scores) == 1 else [f"head {at}" for at in range(len(scores))]
    lines = dict(zip(names, scores, strict=True))
    figure = Figure(
        "positions", "The score of the same content by distance, as lines.",
        lambda ax, theme: draw_score_by_distance(ax, distances, lines, theme=theme),
        width=5.2, height=3.4,
    )  # fmt: skip
    text = f"Positions are {layer.position}: part of the scores, and not of what is compared."
    return Part("How positions are told apart", text, (), None, (figure,))
