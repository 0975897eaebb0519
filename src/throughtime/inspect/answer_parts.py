"""What a model said about one sequence: how likely each token was, quantiles, classes."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from throughtime.data.text import Vocabulary
from throughtime.inspect.panels import (
    Curves,
    Figure,
    Foretold,
    Part,
    curves_panel,
    marked,
    shown_panel,
)
from throughtime.inspect.sequence_figures import draw_curves, draw_image, draw_surprise
from throughtime.inspect.subjects import Example, Pair, Stretch
from throughtime.models.chain import evaluating
from throughtime.shapes import Float, Tensor
from throughtime.tasks.class_logits import probabilities
from throughtime.training.run import Run

__all__ = ["class_parts", "pair_part", "series_part", "shown_part", "text_part"]

LIKELIEST = 5
"""Tokens named at each step."""

SURE = 0.9
"""A token at least so likely was foretold surely."""

INNER = 0.8
"""Share of outcomes that a forecast's band should hold."""

CHARTS = 8
"""Series of numbers shown, at most."""

CLASSES = 7
"""Classes whose probabilities are shown as lines."""


def text_part(run: Run, seen: Stretch) -> Part:
    """How likely each token was by those before it, and which ones were likeliest to follow."""
    parameters = _parameters(run, seen.inputs, None)
    vocabulary: Vocabulary = run.vocabulary
    logs = parameters.double().log_softmax(-1)
    ids = seen.inputs[0]
    # Token t was foretold one step earlier; what the first reads came without being foretold.
    own = torch.full(ids.shape, math.nan, dtype=torch.float64)
    if len(ids) > 1:
        own[1:] = logs[:-1].gather(1, ids[1:, None]).squeeze(1).exp()
    shown = slice(seen.first, None)
    panel = Foretold("text", own[shown].numpy(), _likeliest(logs[shown], vocabulary.name))
    found = _surprise(panel, seen.steps.words, seen.steps.unit)
    return Part(
        "What was foretold",
        f"The stronger the colour of a {seen.steps.unit}, the more it surprised the model. Of the "
        "one pointed at it is told what the model, having read it, expected to follow.",
        tuple(found),
        panel.to_json(),
        (_surprise_figure(panel, seen.steps.words, seen.steps.unit),),
    )


def pair_part(run: Run, seen: Pair) -> Part:
    """How likely each token of the target was, given the source and those before it."""
    model = run.model
    with torch.no_grad(), evaluating(model):
        previous, _ = model.decoder.shift(seen.y)
        logits, _ = model(seen.x, previous)
    logs = logits[0].double().log_softmax(-1)
    own = logs.gather(1, seen.y[0][:, None]).squeeze(1).exp()
    known = run.vocabulary

    def name(number: int) -> str:
        return "<end>" if number == known.target_end else known.target.name(number)

    panel = Foretold("target", own.numpy(), _likeliest(logs, name), of_itself=True)
    found = _surprise(panel, seen.target.words, seen.target.unit)
    source = "".join(seen.source.words[:-1]) if seen.source.form == "joined" else None
    source = source or " ".join(seen.source.words[:-1])
    return Part(
        f"What was foretold of {seen.target.title}",
        f"The source is “{source}”. The stronger the colour of a {seen.target.unit} of the target, "
        "the more it surprised the model, which knew the source and what stands before it.",
        tuple(found),
        panel.to_json(),
        (_surprise_figure(panel, seen.target.words, seen.target.unit),),
    )


def series_part(run: Run, seen: Stretch) -> Part:
    """What happened at each step, and what was foretold one step ahead."""
    model = run.model
    parameters = _parameters(run, seen.inputs, seen.covariates)[seen.first :]
    levels = ((1 - INNER) / 2, 0.5, (1 + INNER) / 2)
    with torch.no_grad():
        low, middle, high = model.head.quantile(parameters, levels).double().unbind(-1)
    actual = seen.targets[0, seen.first :].double()
    known = ~actual.isnan()
    inside = ((low <= actual) & (actual <= high))[known].double().mean()
    charts = [
        Curves(
            "series",
            {"what happened": actual[:, at].numpy(), "median foretold": middle[:, at].numpy()},
            unit=name,
            band=(f"{100 * INNER:.0f} % of outcomes expected", low[:, at].numpy(),
                  high[:, at].numpy()),
            label=name,
        )
        for at, name in enumerate(seen.values[:CHARTS])
    ]  # fmt: skip
    found = [
        f"{100 * float(inside):.3g} % of the values lie in the band that should hold "
        f"{100 * INNER:.0f} % of them, one step ahead"
    ]
    missed = (actual - middle).abs()
    if bool(known.any()):
        worst = int(torch.where(known, missed, -1.0).flatten().argmax())
        step, at = divmod(worst, actual.shape[1])
        came, expected = float(actual[step, at]), float(middle[step, at])
        most = abs(came - expected)
        found.append(
            f"the median missed by {_plain(float(missed[known].mean()))} on average, and most at "
            f"{seen.steps.words[step]}: {seen.values[at]} was {_plain(came, most)} where "
            f"{_plain(expected, most)} was expected"
        )
    return Part(
        "What was foretold",
        "Each step by the model, which had read all steps before it and what is known ahead.",
        tuple(found),
        curves_panel("series", charts),
        tuple(_curves_figure(chart, seen.steps.words) for chart in charts[:2]),
    )


def class_parts(run: Run, seen: Example) -> list[Part]:
    """Which classes the model thinks it is of: of the whole, or of each step."""
    model, labels = run.model, run.labels
    assert labels is not None
    with torch.no_grad(), evaluating(model):
        each = model(seen.x)[0][0] if model.causal or labels.kind == "steps" else None
        whole = None if labels.kind == "steps" else model.answer(seen.x)[0]
    parts = []
    found, charts = [], []
    if whole is not None:
        found.append(_verdict(run, probabilities(whole.float(), labels.kind), seen))
    if each is not None:
        kind = "one" if labels.kind == "steps" else labels.kind
        shares = probabilities(each.float(), kind)
        order = np.argsort(-shares.max(0), kind="stable")[:CLASSES]
        charts.append(
            Curves(
                seen.steps.name, {labels.names[at]: shares[:, at] for at in sorted(order)},
                unit="probability", low=0.0, high=1.0,
            )
        )  # fmt: skip
        found += _of_steps(run, shares, seen)
    text = "After each step, by what came so far." if each is not None else ""
    if labels.kind == "steps":
        text = "Of each step."
    figures = tuple(_curves_figure(chart, seen.steps.words) for chart in charts)
    panel = curves_panel(seen.steps.name, charts) if charts else None
    parts.append(Part("What class it is of", text, tuple(found), panel, figures))
    if seen.values:
        parts.append(_input_part(seen))
    return parts


def shown_part(seen: Example) -> Part:
    """The text or the image itself."""
    what = "image" if seen.steps.image else "text"
    figures = ()
    if seen.steps.image:
        figures = (
            Figure(
                "shown",
                f"The {what} that the model was shown.",
                lambda ax, theme: draw_image(ax, seen.x[0], theme=theme),
                width=3.0, height=3.3, instead=True,
            ),
        )  # fmt: skip
    return Part(f"The {what}", "", (), shown_panel(seen.steps.name), figures)


def _input_part(seen: Example) -> Part:
    """The numbers of a series to be classified."""
    x = seen.x[0].double().numpy()
    gap = np.full((len(seen.steps.words) - len(x), x.shape[1]), np.nan)  # a class token has none
    x = np.concatenate([gap, x])
    charts = [
        Curves(seen.steps.name, {name: x[:, at]}, unit=name, label=name)
        for at, name in enumerate(seen.values[:CHARTS])
    ]
    figures = tuple(_curves_figure(chart, seen.steps.words) for chart in charts[:2])
    return Part("The series", "", (), curves_panel(seen.steps.name, charts), figures)


# -- in words ------------------------------------------------------------------------------------


def _surprise(panel: Foretold, words: Sequence[str], unit: str) -> list[str]:
    known = np.isfinite(panel.probability)
    if not known.any():
        return []
    bits = np.where(known, panel.bits, -np.inf)
    worst = int(bits.argmax())
    sure = int((panel.probability[known] >= SURE).sum())
    return [
        f"{bits[known].mean():.3g} bits of surprise per {unit} on average over {known.sum()}; "
        f"{sure} of them were at least {100 * SURE:.0f} % likely",
        f"the greatest surprise is {words[worst]!r}, {unit} {worst}: {bits[worst]:.3g} bits, "
        f"probability {panel.probability[worst]:.2g}",
    ]


def _verdict(run: Run, shares: np.ndarray, seen: Example) -> str:
    labels = run.labels
    assert labels is not None
    truth = seen.truth
    if labels.kind == "several":
        there = [name for name, share in zip(labels.names, shares, strict=True) if share >= 0.5]
        said = f"it is said to be of {', '.join(there) or 'no class'}"
        return said if truth is None else f"{said}; the truth is {', '.join(truth) or 'no class'}"
    best, second = np.argsort(-shares, kind="stable")[:2]
    said = f"{labels.names[best]} with probability {shares[best]:.3g}"
    if truth is None or truth == labels.names[best]:
        then = f", before {labels.names[second]} with {shares[second]:.2g}"
        return f"it is {said}{then}{'' if truth is None else ', and that is right'}"
    own = shares[labels.names.index(truth)] if truth in labels.names else math.nan
    return f"it is said to be {said}; it is {truth}, which was given {own:.2g}"


def _of_steps(run: Run, shares: np.ndarray, seen: Example) -> list[str]:
    labels = run.labels
    assert labels is not None
    if labels.kind == "steps":
        if seen.truth is None:
            return []
        pairs = [*zip(shares.argmax(1), seen.truth, strict=False)]
        right = sum(labels.names[at] == name for at, name in pairs if name)
        return [f"{right} of {sum(bool(name) for _, name in pairs)} steps are right"]
    if labels.kind == "several":
        return []
    final = int(shares[-1].argmax())
    other = np.flatnonzero(shares.argmax(1) != final)
    since = int(other[-1]) + 1 if len(other) else 0
    where = seen.steps.words[since]
    if since == 0:
        return [f"it was {labels.names[final]} from the first {seen.steps.unit} on"]
    return [f"it is {labels.names[final]} from {seen.steps.unit} {since} on ({where!r})"]


def _plain(value: float, by: float | None = None) -> str:
    """A number with as many digits as tell it from one that is so far off; three of its own."""
    size = abs(value) if by is None else by
    if not size or not 1e-6 < size < 1e12:
        return f"{value:.4g}"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(size)))}f}"


# -- numbers and figures -------------------------------------------------------------------------


def _parameters(
    run: Run, inputs: Tensor, covariates: Tensor | None
) -> Float[Tensor, "time parameters"]:
    with torch.no_grad(), evaluating(run.model):
        return run.model(inputs, None, None, None, covariates)[0][0]


def _likeliest(logs: Float[Tensor, "time tokens"], name: Any) -> list[list[tuple[str, float]]]:
    top = logs.exp().topk(min(LIKELIEST, logs.shape[-1]), dim=-1)
    return [
        [(name(number), share) for number, share in zip(ids, shares, strict=True)]
        for ids, shares in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    ]


def _surprise_figure(panel: Foretold, words: Sequence[str], unit: str) -> Figure:
    return Figure(
        "surprise",
        f"Bits of surprise of each {unit} as bars.",
        lambda ax, theme: draw_surprise(ax, panel.bits, marked(words), unit=unit, theme=theme),
        width=10.0, height=2.4, instead=True, wide=True,
    )  # fmt: skip


def _curves_figure(chart: Curves, words: Sequence[str]) -> Figure:
    return Figure(
        f"curves {chart.label or chart.unit}",
        f"{', '.join(chart.lines)} of {chart.label or chart.unit} over the steps, as lines.",
        lambda ax, theme: draw_curves(ax, chart, marked(words), theme=theme),
        width=10.0, height=2.9, instead=True, wide=True,
    )  # fmt: skip
