"""How far back a model remembers: its loss by how much it is shown, and what it solves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import cross_entropy, mse_loss

from throughtime.data.example_batches import ExampleBatch
from throughtime.data.probes import Probe
from throughtime.errors import InputError
from throughtime.inspect.shorter_contexts import Rows, given_recent, given_shuffled, log_prob
from throughtime.inspect.showing import Showing
from throughtime.inspect.theme import LIGHT, Theme, colours
from throughtime.models.autoregressive import Autoregressive
from throughtime.models.chain import evaluating
from throughtime.models.classifier import Classifier
from throughtime.shapes import Float, Tensor
from throughtime.state import State
from throughtime.tasks.class_logits import logits
from throughtime.tasks.class_loss import loss as class_loss

if TYPE_CHECKING:
    from throughtime.inspect.drawing import Axes
else:
    Axes = Any  # matplotlib is imported where something is drawn

__all__ = [
    "ContextCurve",
    "context_curve",
    "draw_context_curve",
    "probe_error",
    "probe_loss",
    "success",
]

NEAR = 0.01
"""Of the loss given all: by so much it may be worse where a shorter context still does."""

TOLERANCE = 0.08
"""Of an answer to [`adding`][throughtime.data.probes.adding], 4 % of the range of sums."""


@dataclass(frozen=True)
class ContextCurve(Showing):
    """What [`context_curve`][throughtime.inspect.context_curve] found; prints as a table.

    Attributes:
        name: of the model.
        lengths: steps of context k, ascending.
        nats: per value of the steps scored, given so much; one for each of `lengths`.
        full: the same given all.
        values: how many were scored.
        shuffled: whether what lies further back was shuffled rather than left out.
    """

    name: str
    lengths: tuple[int, ...]
    nats: tuple[float, ...]
    full: float
    values: int
    shuffled: bool = False

    @property
    def effective(self) -> int | None:
        """The smallest k from which on the loss is at most 1 % above that given all.

        None where not even the greatest of `lengths` is enough.
        """
        bound = self.full + NEAR * abs(self.full)
        enough = None
        for k, nats in zip(reversed(self.lengths), reversed(self.nats), strict=True):
            if not nats <= bound:
                break
            enough = k
        return enough

    def __str__(self) -> str:
        columns = [("steps of context", "nats per value")]
        columns += [
            (f"{k:,}", f"{nats:.4g}") for k, nats in zip(self.lengths, self.nats, strict=True)
        ]
        columns.append(("all", f"{self.full:.4g}"))
        widths = [max(map(len, column)) for column in columns]
        head = f"{_label(self)}: {_verdict(self)} ({self.values:,} values scored)"
        lines = (
            "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
            for line in zip(*columns, strict=True)
        )
        return "\n".join([head, *lines])

    def draw(self, ax: Axes, theme: Theme = LIGHT) -> Axes:
        """[`draw_context_curve`][throughtime.inspect.draw_context_curve] of this one."""
        return draw_context_curve(ax, [self], theme=theme)


def context_curve(
    model: Autoregressive,
    x: Tensor,
    lengths: Sequence[int],
    *,
    last: int = 32,
    shuffled: bool = False,
    covariates: Float[Tensor, "batch time covariates"] | None = None,
    seed: int = 0,
    name: str = "model",
    chunk: int = 4096,
) -> ContextCurve:
    r"""The loss of a model by how many steps of the past it is shown.

    With A the steps scored, the `last` ones of each sequence, and k the steps shown,

    $$\ell(k) = -\frac{1}{|A|} \sum_{t \in A} \log p(x_t \mid x_{t-k}, \ldots, x_{t-1})$$

    in nats: before each of these steps the model begins afresh k steps earlier, as at the beginning
    of a sequence. Where a sequence has fewer steps before t, all are shown; from $k = T - 1$ on
    $\ell(k)$ is the ordinary loss. Where it no longer falls, the model makes no use of what lies
    further back: it may be that it cannot, or that there is nothing to be known from it.

    With `shuffled` nothing is left out, and what lies further back than k steps comes in another
    order, drawn by chance for each step scored:

    $$\log p(x_t \mid x_{\pi(1)}, \ldots, x_{\pi(t-k-1)}, x_{t-k}, \ldots, x_{t-1})$$

    That loss tells from where on a model knows which values there were, and not their order.

    Each step scored is a run of its own, so this costs about `last` times k steps for each sequence
    and each k; shuffled, `last` times T.

    Args:
        model: its dropout is off meanwhile, and there is no gradient.
        x: `[batch, time]` token ids, or `[batch, time, size]` numbers with NaN where one is
            missing, which is not scored. Each row begins a sequence.
        lengths: the k, each 0 or more, in any order.
        last: steps scored at the end of each row.
        shuffled: see above.
        covariates: `[batch, time, covariates]`, those of the same steps as `x`. They are shown for
            as many steps, and not shuffled.
        seed: of the shuffling, which is the same for all `lengths`.
        name: of the model, for figures.
        chunk: steps that run at a time; bounds the memory, and changes nothing.

    Errors:
        InputError: no rows, no lengths or one below 0, or more steps to score than there are.

    Examples:
        >>> from throughtime.models.ngram import NGram
        >>> text = torch.tensor([[0, 1, 1, 2] * 8])
        >>> curve = context_curve(NGram(3, tokens=3).fit(text), text, [0, 1, 2, 4], last=8)
        >>> curve.effective, curve.nats[2] == curve.full
        (2, True)

    References:
        Khandelwal, He, Qi and Jurafsky 2018, "Sharp nearby, fuzzy far away: how neural language
        models use context".
    """
    ks = _checked(x, lengths, last, chunk)
    device = model.like().device
    rows = Rows(x, covariates).each(lambda part: part.to(device))
    with torch.no_grad(), evaluating(model):
        full = log_prob(model, rows, chunk)[:, -last:]
        if shuffled:
            found = given_shuffled(model, rows, ks, full, seed, chunk)
        else:
            found = [given_recent(model, rows, k, full, chunk) for k in ks]
        values = int(model.head.counted(rows.x[:, -last:]).sum())
    share = values or float("nan")
    nats = [-float(part.double().sum()) / share for part in (*found, full)]
    return ContextCurve(name, ks, tuple(nats[:-1]), nats[-1], values, shuffled)


def _checked(x: Tensor, lengths: Sequence[int], last: int, chunk: int) -> tuple[int, ...]:
    """The lengths, ascending, each once."""
    if x.ndim < 2 or not len(x):
        raise InputError(f"context_curve: x has shape {list(x.shape)}, expected [batch, time, ...]")
    if not 1 <= last <= x.shape[1]:
        raise InputError(f"context_curve: last is {last}, expected 1 to {x.shape[1]}")
    if chunk < 1:
        raise InputError(f"context_curve: chunk is {chunk}, expected at least 1")
    ks = sorted({int(k) for k in lengths})
    if not ks or ks[0] < 0:
        raise InputError(f"context_curve: lengths are {[*lengths]}, expected some, from 0 on")
    return tuple(ks)


def draw_context_curve(
    ax: Axes,
    curves: Sequence[ContextCurve],
    *,
    theme: Theme = LIGHT,
    palette: Mapping[str, str] | None = None,
) -> Axes:
    """Loss by steps of context: a line per model, with a dot at its effective context.

    Dashed lines with hollow dots are with the rest shuffled; a thin line is the loss given all.

    Args:
        ax: where to draw.
        curves: of one model or of several.
        theme: where it will be seen.
        palette: model to colour; by default that of these models alone.

    Errors:
        InputError: no curves.
    """
    from throughtime.inspect.drawing import dress, legend, style

    if not curves:
        raise InputError("draw_context_curve: curves are empty, expected at least one")
    palette = palette or colours(list(dict.fromkeys(curve.name for curve in curves)), theme=theme)
    with style():
        for curve in curves:
            line: dict[str, Any] = {"color": palette[curve.name], "linewidth": 1.6}
            dashes = (0, (4, 2)) if curve.shuffled else "-"
            ax.plot(curve.lengths, curve.nats, linestyle=dashes, label=_label(curve), **line)
            ax.axhline(curve.full, color=palette[curve.name], linewidth=0.8, alpha=0.6)
            if (k := curve.effective) is not None:
                inside = theme.surface if curve.shuffled else palette[curve.name]
                at = k, curve.nats[curve.lengths.index(k)]
                ax.plot(*at, "o", markersize=6, markerfacecolor=inside, **line)
        _scale_by_doubling(ax, sorted({k for curve in curves for k in curve.lengths}))
        title, below = _how_far(curves)
        dress(ax, theme, title, below, x="steps of context", y="nats per value")
        if len(curves) > 1:
            legend(ax, theme)
    return ax


def _label(curve: ContextCurve) -> str:
    return f"{curve.name}, rest shuffled" if curve.shuffled else curve.name


def _scale_by_doubling(ax: Axes, lengths: Sequence[int]) -> None:
    """Each doubling as wide as the next, none from 0 to 1 steps; at most eight are named."""
    ax.set_xscale("symlog", base=2, linthresh=1)
    named = lengths[:: -(-len(lengths) // 8)]
    ax.set_xticks(named, [f"{k:,}" for k in named])
    ax.set_xticks([], minor=True)


def _how_far(curves: Sequence[ContextCurve]) -> tuple[str, str]:
    reach = {_label(curve): _many(curve, "beyond") for curve in curves}
    if len(reach) == 1:
        below = "dot: within 1 % of the loss given all, the thin line"
        return f"{curves[0].name}: {_verdict(curves[0])}", below
    told = "; ".join(f"{label} {steps}" for label, steps in reach.items())
    return "Context that counts, in steps", told


def _verdict(curve: ContextCurve) -> str:
    many, one = _many(curve, "more than"), curve.effective == 1
    if curve.shuffled:
        return f"the order of {many} step{'' if one else 's'} counts"
    return f"{many} step{' of context counts' if one else 's of context count'}"


def _many(curve: ContextCurve, more: str) -> str:
    k = curve.effective
    return f"{more} {curve.lengths[-1]:,}" if k is None else f"{k:,}"


def probe_loss(
    model: Classifier, batch: ExampleBatch, state: State
) -> tuple[Float[Tensor, ""], Float[Tensor, ""], State]:
    """What training on a [`Probe`][throughtime.data.probes.Probe] makes small.

    The squared error added up over rows where targets are numbers, which the one logit of a
    classifier with one class answers; else the nats of the classes. It is a loss as
    [`train`][throughtime.training.train] takes it.

    Args:
        model: with as many classes as the probe; pooling is `none` where each step has one.
        batch: of the probe.
        state: not used: a row is read whole.

    Examples:
        >>> from throughtime.data.probes import first_symbol
        >>> from throughtime.layers import GRU
        >>> from throughtime.models.inputs import TokenInputs
        >>> [batch] = first_symbol(rows=8, time=5, seed=0).source().epoch(0)[0]
        >>> model = Classifier(TokenInputs(4, 8), GRU(8, 16), classes=4)
        >>> total, count, _ = probe_loss(model, batch, None)
        >>> round((total / count).item(), 4)  # it knows nothing yet: log 4
        1.3863
    """
    if batch.targets.ndim != 1 or not batch.targets.is_floating_point():
        return class_loss(model, batch, state)
    found = model.answer(batch.x, batch.mask).squeeze(1)
    total = mse_loss(found, batch.targets, reduction="sum")
    return total, total.new_tensor(len(found)), ()


def probe_error(model: Classifier, probe: Probe) -> float:
    """What a model's answers cost on average, to be compared with `probe.baseline`.

    The mean squared error where a row has a number, else nats per answer.

    Args:
        model: dropout is off meanwhile, and there is no gradient.
        probe: rows it was not trained on.

    Errors:
        InputError: a model with other classes, or that answers once where each step has a class, or
            the other way round.
    """
    found, targets = _answers(model, probe)
    if probe.kind == "number":
        return float(mse_loss(found[:, 0], targets))
    return float(cross_entropy(found.flatten(0, -2), targets.flatten()))


def success(model: Classifier, probe: Probe, *, tolerance: float = TOLERANCE) -> float:
    """The share of rows that a model solves, from 0 to 1.

    A row is solved where its class is the likeliest, where all of its steps are right, or where its
    number is met.

    Args:
        model: dropout is off meanwhile, and there is no gradient.
        probe: rows it was not trained on.
        tolerance: by how much a number may be missed; by default 4 % of the range of sums, as in
            Hochreiter and Schmidhuber 1997.

    Errors:
        InputError: as of [`probe_error`][throughtime.inspect.probe_error].
    """
    found, targets = _answers(model, probe)
    if probe.kind == "number":
        solved = (found[:, 0] - targets).abs() < tolerance
    else:
        solved = (found.argmax(-1) == targets).view(len(targets), -1).all(1)
    return float(solved.double().mean())


def _answers(model: Classifier, probe: Probe) -> tuple[Float[Tensor, "rows *time classes"], Tensor]:
    """Logits of all rows, and their targets."""
    if model.classes != probe.classes:
        raise InputError(
            f"{probe.name}: the model has {model.classes} classes, expected {probe.classes}"
        )
    steps = probe.kind == "steps"
    if steps != (model.pool == "none"):
        expected = "none, for each step has" if steps else "another one, for each row has"
        raise InputError(f"{probe.name}: pooling is {model.pool!r}, expected {expected} an answer")
    found = logits(model, [*probe.inputs], model.weight.device)
    targets = torch.from_numpy(probe.targets)
    if steps:
        return torch.stack(found).double(), targets
    return found.double(), targets.double() if probe.kind == "number" else targets
