"""What truncating back-propagation through time costs: the gradient's bias by window length."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from throughtime.errors import InputError
from throughtime.inspect.cuts import EXACT, HALF, Gradient, Measured, Place
from throughtime.inspect.gradient_flow import GradientFlow, gradient_flow
from throughtime.inspect.jacobians import recurrent_layers
from throughtime.inspect.window_bias import TruncationReport, WindowBias, estimated_bias
from throughtime.layers import Recurrent
from throughtime.models.autoregressive import Autoregressive
from throughtime.models.chain import evaluating
from throughtime.shapes import Tensor
from throughtime.state import State
from throughtime.tasks import likelihood
from throughtime.training.bptt import Loss, Windows

__all__ = ["loss_flow", "truncation_report"]

KINDS = {
    "recurrent weights": ("weight_hidden", "weight_hh"),
    "input weights": ("weight_input", "weight_ih"),
    "biases": ("bias",),
}
"""Of parameters of recurrences, by how their names begin: ours, and those of torch.nn."""
OTHER = "all others"


def truncation_report(
    model: nn.Module,
    data: Any,
    windows: Sequence[int] = (5, 10, 20, 35, 70),
    *,
    span: int | None = None,
    rows: int = 8,
    places: int = 8,
    loss: Loss = likelihood.loss,
) -> TruncationReport:
    r"""How far the gradient of truncated back-propagation is from one that reaches far back.

    With g the gradient of the losses of some steps that goes back at least `span` steps behind each
    of them, and $g_w$ that of the same losses cut at the border of each window of w steps,

    $$\text{bias}_w = \frac{\lVert g_w - g \rVert}{\lVert g \rVert}, \qquad
    \text{norm}_w = \frac{\lVert g_w \rVert}{\lVert g \rVert}, \qquad
    \cos_w = \frac{\langle g_w, g \rangle}{\lVert g_w \rVert \lVert g \rVert}$$

    for all parameters, for kinds of them, and for each layer; averaged over places in the data. The
    state is carried over all borders as in training, into each place from the stretch before it;
    the weights stay the same meanwhile, and dropout is off, so that cuts are the only difference.

    With the five windows as they are, one place costs about as much as training on six times `span`
    steps, and needs memory for back-propagation through `span` and two of the longest window.

    Args:
        model: trained or not; its gradients are left as they were.
        data: a task with a training part in time, such as a language model's or a forecaster's, or
            what `open_data` gives; or [`Windows`][throughtime.training.bptt.Windows], each of which
            is one place with the steps that go before.
        windows: lengths w in steps of time.
        span: steps that g goes back at least; by default four times the longest window. Where
            sequences are shorter it is what they have.
        rows: sequences side by side.
        places: in the data, evenly spread; as many as there are at most.
        loss: `loss(model, batch, state) -> (total, count, state)`.

    Returns:
        A [`TruncationReport`][throughtime.inspect.TruncationReport]; prints as a table. For an
        `Autoregressive` model with a recurrent layer it has the bias that the decay of the gradient
        lets one expect, too.

    Errors:
        InputError: windows that are no lengths, or longer than what goes before them in the data; a
            model with nothing to train, or whose loss gives no gradient.

    Examples:
        >>> from throughtime.models import ModelConfig, build
        >>> from throughtime.data.batches import Batch
        >>> model = build(ModelConfig("rnn", tokens=5, width=8))
        >>> ids = torch.randint(5, (4, 91))
        >>> places = [Batch(ids[:, at : at + 45], ids[:, at + 1 : at + 46]) for at in (0, 45)]
        >>> report = truncation_report(model, places, windows=(2, 5, 10), span=25)
        >>> [row.window for row in report.of("all")], report.of("all")[0].bias > 0
        ([2, 5, 10], True)

    References:
        Aicher, Foti and Fox 2019, "Adaptively truncating backpropagation through time to control
        gradient bias"; Tallec and Ollivier 2017, "Unbiasing truncated backpropagation through
        time"; Williams and Peng 1990, "An efficient gradient-based algorithm for on-line training
        of recurrent network trajectories".
    """
    lengths = _lengths(windows)
    steps = _measured(lengths)
    span = 4 * lengths[-1] if span is None else span
    least = max(lengths[-1], 2)
    if span < least or rows < 1 or places < 1:
        raise InputError(
            f"truncation_report: span, rows and places are {span}, {rows} and {places}, expected "
            f"at least {least} (the longest window), 1 and 1"
        )
    if not any(p.requires_grad for p in model.parameters()):
        raise InputError("truncation_report: the model has nothing to train")
    tally = _Tally(parameter_groups(model), lengths)
    flow = None
    with torch.enable_grad(), evaluating(model):
        for before, batch in _chosen(_stretches(data, rows, span + steps), places, lengths, steps):
            state = None if before is None else _after(loss, model, before)
            place = Place(loss, model, _moved(batch, model), steps, state)
            tally.add(place.rows, place.span, place.measure(lengths))
            if flow is None:
                flow = _flow_at(model, place, lengths[-1])
    return tally.report(steps, flow)


def loss_flow(
    model: Autoregressive,
    batch: Any,
    *,
    state: Any = None,
    lags: Sequence[int] | None = None,
) -> GradientFlow:
    r"""How much of a model's own loss reaches what its body remembered k steps before.

    [`gradient_flow`][throughtime.inspect.gradient_flow] of the body under the loss of the head:
    what [`estimated_bias`][throughtime.inspect.estimated_bias] asks for.

    Args:
        model: with a recurrent layer in its body.
        batch: inputs and targets.
        state: of the model, before the batch.
        lags: k in steps; by default all up to three quarters of the time.

    Errors:
        InputError: as of `gradient_flow`.

    Examples:
        >>> from throughtime.models import ModelConfig, build
        >>> from throughtime.data.batches import Batch
        >>> model = build(ModelConfig("gru", tokens=5, width=8))
        >>> ids = torch.randint(5, (2, 21))
        >>> flow = loss_flow(model, Batch(ids[:, :-1], ids[:, 1:]))
        >>> [*flow.curves], flow.lags[-1]
        (['0.GRU'], 14)
    """
    scale = model.inputs.initial_state(len(batch.inputs)) if state is None else state.scale
    with torch.no_grad():
        features, context, _ = model.inputs(
            batch.inputs, scale, batch.mask, batch.reset, batch.covariates
        )
    targets = model.hide(batch.targets, batch.mask)

    def losses(hidden: Tensor) -> Tensor:
        return model.head.loss(model.head(hidden, context), targets)

    body = None if state is None else state.body
    return gradient_flow(model.body, features, loss=losses, lags=lags, state=body, mask=batch.mask)


# Where in the data


def _lengths(windows: Sequence[int]) -> list[int]:
    lengths = sorted({int(w) for w in windows})
    if not lengths or lengths[0] < 1:
        raise InputError(
            f"truncation_report: windows are {[*windows]}, expected lengths of at least 1 step"
        )
    return lengths


def _measured(lengths: Sequence[int]) -> int:
    """Steps whose losses count: whole windows of each length, where that is not too many."""
    longest, whole = lengths[-1], math.lcm(*lengths)
    return 2 * longest if whole > 4 * longest else whole * -(-2 * longest // whole)


def _stretches(data: Any, rows: int, steps: int) -> Sequence[Windows]:
    """Of a task its training part in stretches of so many steps; windows as they are."""
    task = getattr(data, "task", data)
    if hasattr(task, "source"):
        return task.source(rows, steps, 0, shuffle=False).epoch(0)
    if isinstance(data, Windows) and len(data) and not isinstance(data[0], Tensor):
        return [data]
    raise InputError(
        f"truncation_report: data is {type(data).__name__}, expected a task of series or of a "
        "text, or windows of one"
    )


def _chosen(
    stretches: Sequence[Windows], places: int, lengths: Sequence[int], steps: int
) -> Iterator[tuple[Any, Any]]:
    """Evenly chosen stretches that are long enough, each after the one before it, if there is."""
    every = [(at, i) for at, windows in enumerate(stretches) for i in range(len(windows))]
    count, longest, least = min(places, len(every)), 0, max(lengths[-1], 2) + steps
    taken: set[tuple[int, int]] = set()
    for number in range(count):
        at, i = every[(2 * number + 1) * len(every) // (2 * count)]
        windows = stretches[at]
        if i and windows[i].shape[1] < windows[i - 1].shape[1]:
            i -= 1  # the last may be a rest
        batch = windows[i]
        longest = max(longest, batch.shape[1])
        if batch.shape[1] >= least and (at, i) not in taken:
            taken.add((at, i))
            yield windows[i - 1] if i else None, batch
    if longest < least:
        raise InputError(
            f"truncation_report: the longest stretch has {longest} steps, expected at least {least}"
            f" for windows of up to {lengths[-1]}; ask for shorter ones"
        )


def _moved(batch: Any, model: nn.Module) -> Any:
    """Where the model is, of its type."""
    like = next(p for p in model.parameters() if p.is_floating_point())
    return batch.to(like.device, like.dtype) if hasattr(batch, "to") else batch


@torch.no_grad()
def _after(loss: Loss, model: nn.Module, batch: Any) -> State:
    """The state after a stretch."""
    return loss(model, _moved(batch, model), None)[2]


def parameter_groups(model: nn.Module) -> dict[str, list[str]]:
    """Names of parameters: all; those of recurrences by what they do; and those of each layer."""
    groups: dict[str, list[str]] = {"all": [], **{kind: [] for kind in KINDS}, OTHER: []}
    layers: dict[str, list[str]] = {}
    for path, layer in model.named_modules():
        recurrent = isinstance(layer, Recurrent | nn.RNNBase)
        for name, p in layer.named_parameters(recurse=False):
            if not p.requires_grad:
                continue
            full = f"{path}.{name}".lstrip(".")
            groups["all"].append(full)
            groups[_kind(name) if recurrent else OTHER].append(full)
            places = [part for part in path.split(".") if part not in ("", "layers", "layer")]
            layers.setdefault(".".join([*places, type(layer).__name__]), []).append(full)
    if not any(groups[kind] for kind in KINDS):
        groups[OTHER] = []  # nothing is recurrent: these are all
    return {name: members for name, members in (groups | layers).items() if members}


def _kind(name: str) -> str:
    return next((kind for kind, starts in KINDS.items() if name.startswith(starts)), OTHER)


def _flow_at(model: nn.Module, place: Place, lags: int) -> GradientFlow | None:
    """The decay of the gradient at one place; None where nothing is recurrent, or too short."""
    if not isinstance(model, Autoregressive) or not recurrent_layers(model.body):
        return None
    batch = place.batch.narrow(0, min(lags + lags // 2 + 1, place.batch.shape[1]))
    return loss_flow(model, batch, state=place.state, lags=range(lags + 1))


# All places together


class _Tally:
    """What each place has to say, and the gradient of all of them together."""

    def __init__(self, groups: Mapping[str, Sequence[str]], lengths: Sequence[int]) -> None:
        self.groups, self.lengths = groups, lengths
        self.distances: dict[tuple[str, int], list[Tensor]] = {}
        self.sums: dict[int, Gradient] = {}
        self.costs: list[Measured] = []
        self.spans: list[int] = []
        self.rows: list[int] = []

    def add(self, rows: int, span: int, measured: Measured) -> None:
        """One place more."""
        for key, distance in self._distances(measured.gradients):
            self.distances.setdefault(key, []).append(distance)
        for w, gradient in measured.gradients.items():
            whole = self.sums.setdefault(w, gradient)
            if whole is not gradient:
                for name, part in gradient.items():
                    whole[name] += part
        self.costs.append(measured._replace(gradients={}))
        self.spans.append(span)
        self.rows.append(rows)

    def report(self, steps: int, flow: GradientFlow | None) -> TruncationReport:
        """Means over places, and how far these are apart."""
        pooled = dict(self._distances(self.sums))
        rows = {key: _row(*key, found, pooled[key]) for key, found in self.distances.items()}
        return TruncationReport(
            rows=tuple(rows[group, w] for group in self.groups for w in self.lengths),
            span=min(self.spans),
            steps=steps,
            places=len(self.spans),
            batch=max(self.rows),
            half_span=rows["all", HALF].bias,
            seconds={
                w: statistics.median(cost.seconds[w] for cost in self.costs) for w in self.lengths
            },
            kept={w: max(cost.kept[w] for cost in self.costs) for w in self.lengths},
            flow=flow,
            estimated={} if flow is None else estimated_bias(flow, self.lengths),
        )

    def _distances(
        self, gradients: Mapping[int, Gradient]
    ) -> Iterator[tuple[tuple[str, int], Tensor]]:
        """Of each window's gradient from the exact one, for each group of parameters."""
        for w in (HALF, *self.lengths):
            products = {
                name: _products(part, gradients[EXACT][name]) for name, part in gradients[w].items()
            }
            for group, members in self.groups.items():
                yield (group, w), _distance(torch.stack([products[one] for one in members]).sum(0))


def _products(cut: Tensor, exact: Tensor) -> Tensor:
    """What adds up over parameters: `[4]`."""
    cut, exact = cut.detach().double().flatten(), exact.detach().double().flatten()
    off = cut - exact
    return torch.stack([cut @ exact, cut @ cut, exact @ exact, off @ off]).cpu()


def _distance(products: Tensor) -> Tensor:
    """Cosine, norm and bias; NaN where there is no gradient."""
    both, cut, exact, off = products
    return torch.stack([both / (cut * exact).sqrt(), (cut / exact).sqrt(), (off / exact).sqrt()])


def _row(group: str, w: int, distances: Sequence[Tensor], pooled: Tensor) -> WindowBias:
    found = torch.stack([*distances])  # (places, 3)
    cosine, norm, bias = found.mean(0).tolist()
    spread = found[:, 2].std().item() if len(found) > 1 else math.nan
    return WindowBias(w, group, cosine, norm, bias, spread, pooled[2].item())
