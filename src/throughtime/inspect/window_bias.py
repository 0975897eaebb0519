"""The bias of truncated gradients by window length: as a table, and in words."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from throughtime.errors import InputError
from throughtime.inspect.gradient_flow import GradientFlow

__all__ = [
    "ExpectedBias",
    "TruncationReport",
    "WindowBias",
    "diagnose_truncation",
    "estimated_bias",
]

WANTED = 0.05
"""The bias that is asked for where nobody says otherwise."""
ROUNDING = 1e-6
"""Below this a distance is rounding, in float32."""
NOTHING = 1e-9
"""Below this it is in any type."""
SMALLEST = 1e-30
"""Times the largest norm: what is below has no logarithm of use."""


class WindowBias(NamedTuple):
    """How far the gradient of one window length is from the exact one.

    Means over places in the data; see [`truncation_report`][throughtime.inspect.truncation_report].

    Attributes:
        window: w in steps.
        group: of parameters; `all` for the whole gradient.
        cosine: of the angle between both; 1 is the same direction.
        norm: |g_w| / |g|.
        bias: |g_w - g| / |g|.
        spread: of `bias` over the places, a standard deviation; NaN with one place.
        pooled: the bias of the gradient of all places together, in which noise averages out.
    """

    window: int
    group: str
    cosine: float
    norm: float
    bias: float
    spread: float
    pooled: float


class ExpectedBias(NamedTuple):
    """What the decay of the gradient lets one expect of a window; see `estimated_bias`.

    Attributes:
        agreeing: where the gradients of all losses point the same way, as at first weights.
        independent: where they have nothing to do with each other, as near the end of training.
    """

    agreeing: float
    independent: float


@dataclass(frozen=True)
class TruncationReport:
    """What [`truncation_report`][throughtime.inspect.truncation_report] found; prints as a table.

    Attributes:
        rows: for each group of parameters one for each window length, ascending.
        span: steps that the exact gradient goes back behind each loss, at least.
        steps: whose losses count at each place.
        places: in the data.
        batch: sequences side by side.
        half_span: the bias of going back half as far: how sure the exact gradient itself is.
        seconds: by window, that one update takes forward and backward; a median.
        kept: by window, bytes that its backward pass needs besides weights and data.
        flow: the decay of the gradient that `estimated` is from; None where nothing is recurrent.
        estimated: by window, the bias that this decay lets one expect.
    """

    rows: tuple[WindowBias, ...]
    span: int
    steps: int
    places: int
    batch: int
    half_span: float
    seconds: Mapping[int, float]
    kept: Mapping[int, int]
    flow: GradientFlow | None
    estimated: Mapping[int, ExpectedBias]

    @property
    def groups(self) -> tuple[str, ...]:
        """Of parameters, `all` first."""
        return tuple(dict.fromkeys(row.group for row in self.rows))

    def of(self, group: str = "all") -> tuple[WindowBias, ...]:
        """The rows of one group.

        Errors:
            InputError: a group that there is none of.
        """
        found = tuple(row for row in self.rows if row.group == group)
        if not found:
            raise InputError(
                f"TruncationReport: group is {group!r}, expected one of {', '.join(self.groups)}"
            )
        return found

    def window_for(
        self, bias: float | None = None, *, cosine: float | None = None, group: str = "all"
    ) -> int | None:
        """The shortest window from which on the gradient is as good as asked for.

        Between measured windows the logarithm of the distance is taken to be a line. Where the
        shortest that was measured does, it is that one.

        Args:
            bias: at most; 0.05 if neither is given.
            cosine: at least, instead of a bias.
            group: of parameters.

        Returns:
            Steps; None where not even the longest window measured will do.

        Errors:
            InputError: both a bias and a cosine, or one that is out of reach.
        """
        if bias is not None and cosine is not None:
            raise InputError("window_for: got a bias and a cosine, expected one of them")
        if cosine is not None:
            if not 0 < cosine < 1:
                raise InputError(f"window_for: cosine is {cosine}, expected between 0 and 1")
            return _crossing(self.of(group), lambda row: 1 - row.cosine, 1 - cosine)
        bias = WANTED if bias is None else bias
        if not bias > 0:
            raise InputError(f"window_for: bias is {bias}, expected more than 0")
        return _crossing(self.of(group), lambda row: row.bias, bias)

    def __str__(self) -> str:
        first = ["window", "cosine", "norm", "bias", "+-", "pooled", "expected", "ms", "MB"]
        table = [first]
        for row in self.of():
            w = row.window
            expected = [_shown(one) for one in self.estimated.get(w, [math.nan])]
            table.append(
                [
                    str(w),
                    *map(_shown, [row.cosine, row.norm, row.bias, row.spread, row.pooled]),
                    " to ".join(dict.fromkeys(expected)),
                    *map(_shown, [1e3 * self.seconds[w], self.kept[w] / 1e6]),
                ]
            )
        windows = [row.window for row in self.of()]
        groups = [["bias of", *(f"w = {w}" for w in windows)]]
        for group in self.groups:
            groups.append([group, *(_shown(row.bias) for row in self.of(group))])
        said = (
            f"against the gradient that goes back {self.span} steps and more (half of that: bias "
            f"{_shown(self.half_span)}), {self.places} places of {self.batch} x {self.steps} steps"
        )
        return "\n".join([*_aligned(table), "", *_aligned(groups), "", said])

    def _repr_html_(self) -> str:
        """For notebooks."""
        from html import escape

        return f"<pre>{escape(str(self))}</pre>"


def _shown(number: float) -> str:
    if math.isnan(number):
        return "-"
    return f"{number:.3g}" if number >= ROUNDING else f"<{ROUNDING:g}"


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """The first column to the left, numbers to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    return [
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
        for line in table
    ]


def _crossing(
    rows: Sequence[WindowBias], distance: Callable[[WindowBias], float], wanted: float
) -> int | None:
    """Where a falling distance passes what is wanted, for good."""
    points = [(row.window, distance(row)) for row in rows]
    if not points[-1][1] <= wanted:
        return None
    for (w, off), (longer, less) in reversed([*pairwise(points)]):
        if not math.isfinite(off):
            return longer
        if off > wanted:
            high, low = math.log(off), math.log(max(less, min(NOTHING, wanted)))
            part = (high - math.log(wanted)) / (high - low)
            return min(longer, math.ceil(w + part * (longer - w) - 1e-9))
    return points[0][0]


def estimated_bias(flow: GradientFlow, windows: Sequence[int]) -> dict[int, ExpectedBias]:
    r"""The bias of windows that the decay of the gradient alone lets one expect.

    With $\phi_k$ the norm of the gradient of a loss by the state k steps before, the loss at step j
    of a window is cut off from all lags above j, and loses the share

    $$q_j = \frac{\sum_{k>j} \phi_k}{\sum_k \phi_k}, \qquad \text{agreeing}_w = \frac1w
    \sum_{j=0}^{w-1} q_j, \qquad \text{independent}_w = \sqrt{\frac1w \sum_{j=0}^{w-1} q_j^2}$$

    Vectors that point the same way add up as their norms do, and the bias falls as 1 / w; those
    that are independent add up as their squares do, and it falls as the root of that. Gradients of
    different losses agree at first weights, and hardly do in the end, when what they agree on has
    been learnt: the bias moves from the one to the other.

    Beyond the largest lag measured, $\phi$ goes on as a geometric series by the rate of the second
    half of the lags. As in Aicher, Foti and Fox, the derivatives of all states by the weights are
    taken to be equally large. It needs no long span, and is no bound.

    Args:
        flow: of [`loss_flow`][throughtime.inspect.loss_flow], or of `gradient_flow`; the states of
            several layers count together.
        windows: lengths in steps.

    Returns:
        By window; NaN where the gradient does not decay.

    Errors:
        InputError: lags that do not begin with 0, or fewer than four; a window below 1 step.

    Examples:
        >>> flow = GradientFlow(tuple(range(9)), {"RNN": tuple(0.5**k for k in range(9))})
        >>> [round(bias, 4) for bias in estimated_bias(flow, [4])[4]]
        [0.2344, 0.2881]

    References:
        Aicher, Foti and Fox 2019, "Adaptively truncating backpropagation through time to control
        gradient bias".
    """
    lags = flow.lags
    if len(lags) < 4 or lags[0] != 0:
        raise InputError(f"estimated_bias: lags are {[*lags]}, expected at least four, from 0 on")
    if not windows or min(windows) < 1:
        raise InputError(
            f"estimated_bias: windows are {[*windows]}, expected lengths of at least 1 step"
        )
    norms = tuple(np.sqrt(sum(np.square(curve) for curve in flow.curves.values())))
    half = len(lags) // 2
    rate = GradientFlow(lags[half:], {"tail": norms[half:]}).rate["tail"]
    rate = 0.0 if math.isnan(rate) else rate  # nothing is left there
    if not (rate < 1 and 0 < sum(norms) < math.inf):
        return dict.fromkeys(windows, ExpectedBias(math.nan, math.nan))
    longest = max(lags[-1] + 1, *windows)
    logs = np.log(np.maximum(norms, SMALLEST * max(norms)))
    phi = np.exp(np.interp(np.arange(longest), lags, logs))
    beyond = np.arange(1, longest - lags[-1])
    phi[lags[-1] + 1 :] = norms[-1] * rate**beyond
    rest = phi[-1] * rate / (1 - rate)
    q = (phi[::-1].cumsum()[::-1] - phi + rest) / (phi.sum() + rest)
    return {
        w: ExpectedBias(float(q[:w].mean()), float(np.sqrt(np.square(q[:w]).mean())))
        for w in windows
    }


def diagnose_truncation(report: TruncationReport, bias: float = WANTED) -> list[str]:
    """What the numbers say: which window to take, who suffers, how sure it is, what it costs.

    Args:
        report: what was measured.
        bias: the one that is wanted.

    Errors:
        InputError: a bias that is not above 0.
    """
    said = [_choice(report, bias), _harm(report), _trust(report, bias)]
    if report.flow is not None:
        said.append(_expected(report, bias))
    first, last = report.of()[0].window, report.of()[-1].window
    if first < last:
        said.append(
            f"an update of {last} steps takes {report.seconds[last] / report.seconds[first]:.3g} "
            f"times as long as one of {first}, and keeps "
            f"{report.kept[last] / max(report.kept[first], 1):.3g} times as much for its backward "
            "pass"
        )
    return said


def _choice(report: TruncationReport, bias: float) -> str:
    rows, window = report.of(), report.window_for(bias)
    asked = f"for a bias of at most {percent(bias)}"
    if window is None:
        last = rows[-1]
        return (
            f"{asked} windows must be longer than all measured: {last.window} steps are off by "
            f"{percent(last.bias)}"
        )
    if window == rows[0].window:
        return (
            f"{asked} the shortest windows measured will do: {window} steps are off by "
            f"{percent(rows[0].bias)}"
        )
    around = [row for row, after in pairwise(rows) if row.window < window <= after.window]
    around += [row for row in rows if row.window >= window][:1]
    measured = ", ".join(f"{row.window} steps: {percent(row.bias)}" for row in around)
    return f"{asked} take windows of {window} steps or more ({measured})"


def _harm(report: TruncationReport) -> str:
    first = report.of()[0]
    between = "" if math.isnan(first.spread) else f" (+- {percent(first.spread)} between places)"
    short = (
        f"windows of {first.window} steps are off by {percent(first.bias)}{between}: cosine "
        f"{first.cosine:.3g}, {first.norm:.3g} times the norm"
    )
    others = [report.of(group)[0] for group in report.groups[1:]]
    worst = max(others, key=lambda row: -1.0 if math.isnan(row.bias) else row.bias, default=first)
    return f"{short}; most of all {worst.group}, by {percent(worst.bias)}"


def _trust(report: TruncationReport, bias: float) -> str:
    far, half = report.span, percent(report.half_span)
    measured = f"measured against a gradient that goes back {far} steps; half of that changes it by"
    if report.half_span > bias / 2:
        return f"{measured} {half}, too much to tell a bias of {percent(bias)}: take a longer span"
    return f"{measured} {half}"


def _expected(report: TruncationReport, bias: float) -> str:
    assert report.flow is not None
    rates = ", ".join(f"{name} {rate:.3g}" for name, rate in report.flow.rate.items())
    alone = f"the decay of the gradient alone (per step: {rates})"
    if any(math.isnan(one) for pair in report.estimated.values() for one in pair):
        return f"{alone} says nothing: it does not decay"
    rows, which = report.of(), []
    for place in (0, 1):
        expected = [row._replace(bias=report.estimated[row.window][place]) for row in rows]
        window = _crossing(expected, lambda row: row.bias, bias)
        which.append(f"more than {rows[-1].window}" if window is None else f"{window}")
    said = f"by {alone} one would take {which[0]} steps for {percent(bias)}"
    if which[0] == which[1]:
        return said
    return f"{said} where gradients of different steps agree, {which[1]} where they are independent"


def percent(share: float) -> str:
    """In three digits; what is rounding is not shown as a number."""
    return f"{100 * share:.3g} %" if share >= ROUNDING else f"less than {100 * ROUNDING:g} %"
