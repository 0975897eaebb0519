"""Temperature: probabilities that mean what they say."""

import math

import torch
from torch import Tensor
from torch.func import grad, jacrev

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
    _check("fit_temperature", logits, targets, doubt)
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


def fit_shares(answers: Tensor, targets: Tensor, *, doubt: float = 0.0) -> Tensor:
    r"""How much each of several models should count, found on the validation part.

    $$w = \arg\min_{w \ge 0} \frac{1}{N} \sum_i -\log \mathrm{softmax}\Big(
    \sum_k w_k z^{(k)}_i \Big)_{y_i}, \qquad s = w / \sum_k w_k$$

    The loss is convex in w; its size is left to the temperature.

    Args:
        answers: logits of each model, `[models, rows, classes]`.
        targets: as of [`fit_temperature`][throughtime.tasks.calibration.fit_temperature].
        doubt: the same.

    Returns:
        s, `[models]`, which sum up to 1; alike where nothing is better.

    Errors:
        InputError: as of `fit_temperature`.

    Examples:
        >>> right = torch.tensor([[2.0, 0.0], [0.0, 2.0], [2.0, 0.0], [0.0, 2.0]])
        >>> silent = torch.tensor([[0.0, 1.0], [0.0, 1.0], [0.0, -1.0], [0.0, -1.0]])
        >>> targets = torch.tensor([0, 1, 0, 1])
        >>> fit_shares(torch.stack([right, silent]), targets, doubt=0.2)
        tensor([1., 0.])

    References:
        Genest and Zidek 1986, "Combining probability distributions: a critique and an annotated
        bibliography" (the logarithmic opinion pool).
    """
    if answers.ndim != 3 or not len(answers):
        raise InputError(
            f"fit_shares: answers have shape {list(answers.shape)}, expected [models, rows, "
            "classes] with at least one of each"
        )
    for each in answers:
        _check("fit_shares", each, targets, doubt)
    z, models = answers.detach().double(), len(answers)
    y = targets.detach()
    if y.ndim == 1:
        y = torch.nn.functional.one_hot(y.long(), z.shape[2])
        y = (1 - doubt) * y.double() + doubt / z.shape[2]
        alone = torch.nn.functional.cross_entropy
    else:
        y = (1 - doubt) * y.double() + doubt / 2
        alone = torch.nn.functional.binary_cross_entropy_with_logits

    def loss(w: Tensor) -> Tensor:
        return alone(torch.tensordot(w, z, 1), y)

    alike = torch.full((models,), 1 / models, dtype=torch.float64, device=z.device)
    w = alike
    for _ in range(200):  # Newton's method among those that are not held at zero
        slope, bend = grad(loss)(w), jacrev(grad(loss))(w)
        step = _inside(w, slope, bend)
        ahead = step > 0  # a step ends where the first of these comes to zero
        size = min(1.0, float((w[ahead] / step[ahead]).min())) if bool(ahead.any()) else 1.0
        whole = size == 1
        while size > 1e-12 and loss((w - size * step).clamp(min=0)) > loss(w):
            size, whole = size / 2, False
        before, w = w, (w - size * step).clamp(min=0)
        w = torch.where(w < 1e-12, 0, w)
        if size <= 1e-12 or (whole and float((w - before).abs().max()) < 1e-9):
            break
    return (w / w.sum() if w.sum() > 0 else alike).float()


def _inside(w: Tensor, slope: Tensor, bend: Tensor) -> Tensor:
    """Newton's step, without those that would leave what is allowed: none is below zero."""
    free = (w > 0) | (slope < 0)
    while True:
        step = torch.zeros_like(w)
        count = int(free.sum())
        if not count:
            return step
        damped = bend[free][:, free] + 1e-9 * torch.eye(count, dtype=w.dtype, device=w.device)
        step[free] = torch.linalg.solve(damped, slope[free])
        outwards = free & (w <= 0) & (step > 0)
        if not outwards.any():
            return step
        free = free & ~outwards


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


def _check(name: str, logits: Tensor, targets: Tensor, doubt: float) -> None:
    if not 0 <= doubt < 1:
        raise InputError(f"{name}: doubt is {doubt}, expected a share in [0, 1)")
    if logits.ndim != 2 or not logits.numel():
        raise InputError(
            f"{name}: logits have shape {list(logits.shape)}, expected [rows, classes] "
            "with at least one of each"
        )
    rows, classes = logits.shape
    if targets.shape not in ((rows,), (rows, classes)):
        raise InputError(
            f"{name}: targets have shape {list(targets.shape)}, expected [{rows}] or "
            f"[{rows}, {classes}]"
        )
    if not bool(torch.isfinite(logits).all()):
        raise InputError(f"{name}: logits hold NaN or infinity, expected finite numbers")
    if targets.ndim == 1 and (targets.is_floating_point() or targets.dtype == torch.bool):
        raise InputError(f"{name}: targets are {targets.dtype}, expected integers")
    least, most = targets.min().item(), targets.max().item()
    largest = classes - 1 if targets.ndim == 1 else 1
    if not (least >= 0 and most <= largest):
        raise InputError(f"{name}: targets lie from {least} to {most}, expected 0 to {largest}")
