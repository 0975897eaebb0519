"""Temperature: probabilities that mean what they say."""

import math

import torch
from torch import Tensor

from throughtime.errors import InputError

COLDEST, HOTTEST = 0.05, 20.0
"""The temperatures looked at."""


def fit_temperature(logits: Tensor, targets: Tensor, *, doubt: float = 0.0) -> float:
    r"""The temperature that fits logits to what came true, found on the validation part.

    $$T = \arg\min_T \frac{1}{N} \sum_i -\log \mathrm{softmax}(z_i / T)_{y_i}$$

    The loss is convex in 1/T; Newton's method finds its only minimum, halving where it would leave
    the range. The order of the classes stays, so no answer changes.

    Args:
        logits: `[rows, classes]`.
        targets: numbers of classes `[rows]`; or, where a row may have several, 0 and 1
            `[rows, classes]`, and each logit has a sigmoid of its own.
        doubt: the share of each target that is spread evenly over all classes, in [0, 1). With
            1/(N + 1) it is as if one more row had come of which nobody knows the class: without
            any, a few rows that are all right would make every answer certain.

    Returns:
        T from 0.05 to 20, exact to 1e-6 of its size; 1 where no other one is better.

    Errors:
        InputError: no rows, other shapes, logits that are not finite, or targets of no class.

    Examples:
        >>> logits = torch.tensor([[4.0, 0.0], [4.0, 0.0], [4.0, 0.0], [4.0, 0.0]])
        >>> found = fit_temperature(logits, torch.tensor([0, 0, 0, 1]))
        >>> torch.softmax(logits[0] / found, 0).tolist()  # right three times out of four
        [0.75..., 0.25...]

    References:
        Guo et al. 2017, "On calibration of modern neural networks".
    """
    _check(logits, targets)
    if not 0 <= doubt < 1:
        raise InputError(f"fit_temperature: doubt is {doubt}, expected a share in [0, 1)")
    z, y = logits.detach().double(), targets.detach()
    if y.ndim == 1:
        # Relative to what the targets expect: the loss is then log sum exp, and its slope a mean.
        z = z - (1 - doubt) * z.gather(1, y.long()[:, None]) - doubt * z.mean(1, keepdim=True)
    else:
        z, y = z.flatten(), (1 - doubt) * y.double().flatten() + doubt / 2
    low, high, scale = 1 / HOTTEST, 1 / COLDEST, 1.0
    for _ in range(100):
        slope, bend = _derivatives(z, y, scale)
        low, high = (low, scale) if slope > 0 else (scale, high)
        step = scale - slope / bend if bend > 0 else math.nan
        # At an end of the range the slope still points outwards: then halving runs into it.
        moved = step if low < step < high else (low + high) / 2
        if abs(moved - scale) < 1e-9 * scale:
            break
        scale = moved
    best = min((1.0, scale), key=lambda each: _loss(z, y, each))
    return min(max(1 / best, COLDEST), HOTTEST)


def _loss(z: Tensor, y: Tensor, scale: float) -> float:
    """Mean cross-entropy of logits times a scale."""
    if z.ndim == 2:
        return float(torch.logsumexp(z * scale, 1).mean())
    return float(torch.nn.functional.binary_cross_entropy_with_logits(z * scale, y))


def _derivatives(z: Tensor, y: Tensor, scale: float) -> tuple[float, float]:
    """The first and the second of the loss, with respect to the scale."""
    if z.ndim == 2:
        p = torch.softmax(z * scale, 1)
        mean = (p * z).sum(1)
        return float(mean.mean()), float((p * (z - mean[:, None]) ** 2).sum(1).mean())
    p = torch.sigmoid(z * scale)
    return float(((p - y) * z).mean()), float((p * (1 - p) * z**2).mean())


def _check(logits: Tensor, targets: Tensor) -> None:
    if logits.ndim != 2 or not logits.numel():
        raise InputError(
            f"fit_temperature: logits have shape {list(logits.shape)}, expected [rows, classes] "
            "with at least one of each"
        )
    rows, classes = logits.shape
    if targets.shape not in ((rows,), (rows, classes)):
        raise InputError(
            f"fit_temperature: targets have shape {list(targets.shape)}, expected [{rows}] or "
            f"[{rows}, {classes}]"
        )
    if not bool(torch.isfinite(logits).all()):
        raise InputError("fit_temperature: logits hold NaN or infinity, expected finite numbers")
    if targets.ndim == 1 and (targets.is_floating_point() or targets.dtype == torch.bool):
        raise InputError(f"fit_temperature: targets are {targets.dtype}, expected integers")
    least, most = targets.min().item(), targets.max().item()
    largest = classes - 1 if targets.ndim == 1 else 1
    if not (least >= 0 and most <= largest):
        raise InputError(
            f"fit_temperature: targets lie from {least} to {most}, expected 0 to {largest}"
        )
