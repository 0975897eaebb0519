"""Functions that torch lacks: the incomplete beta function and the quantiles that rest on it.

For evaluation, not for training: computed in float64, without gradients.
"""

import torch

from throughtime.shapes import Tensor


@torch.no_grad()
def beta_cdf(a: Tensor, b: Tensor, x: Tensor) -> Tensor:
    r"""The regularised incomplete beta function $I_x(a, b)$, a probability.

    Args:
        a: above 0.
        b: above 0.
        x: in [0, 1].

    References:
        The continued fraction and its evaluation by Lentz's method: Press et al. 2007, "Numerical
        recipes", section 6.4. Converges in a few times the root of max(a, b) rounds.
    """
    a, b, x = (part.double() for part in torch.broadcast_tensors(a, b, x))
    mirrored = x > (a + 1) / (a + b + 2)  # I_x(a, b) = 1 - I_(1-x)(b, a); one of the two is quick
    a, b, x = (
        torch.where(mirrored, b, a),
        torch.where(mirrored, a, b),
        torch.where(mirrored, 1 - x, x),
    )

    def guard(value: Tensor) -> Tensor:
        return torch.where(value.abs() < 1e-300, 1e-300, value)

    c = torch.ones_like(x)
    d = 1 / guard(1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, 20_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / guard(1 + even * d)
        c = guard(1 + even / c)
        fraction = fraction * d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1 / guard(1 + odd * d)
        c = guard(1 + odd / c)
        fraction = fraction * d * c
        if x.numel() == 0 or (d * c - 1).abs().max() < 1e-15:
            break
    log_front = torch.lgamma(a + b) - torch.lgamma(a) - torch.lgamma(b) + b * torch.log1p(-x)
    result = (log_front + a * x.log()).exp() * fraction / a
    return torch.where(mirrored, 1 - result, result)


@torch.no_grad()
def student_t_quantile(freedom: Tensor, level: Tensor) -> Tensor:
    """The value below which a standard Student-t deviate falls with probability `level`.

    Newton's method from the normal quantile. For levels above one half that start lies below the
    solution, where the distribution function is concave, so the steps climb to it and never pass.
    """
    nu, p = (part.double() for part in torch.broadcast_tensors(freedom, level))
    sign = torch.where(p < 0.5, -1.0, 1.0)
    p = torch.where(p < 0.5, 1 - p, p)
    half = torch.full_like(nu, 0.5)
    t = torch.special.ndtri(p)
    log_peak = torch.lgamma((nu + 1) / 2) - torch.lgamma(nu / 2) - (nu * torch.pi).log() / 2
    for _ in range(100):
        below = 0.5 + 0.5 * beta_cdf(half, nu / 2, t.square() / (nu + t.square()))
        density = (log_peak - (nu + 1) / 2 * torch.log1p(t.square() / nu)).exp()
        step = (p - below) / density
        t = t + step
        if t.numel() == 0 or (step.abs() <= 1e-12 * (1 + t)).all():
            break
    return (sign * t).to(freedom.dtype)


@torch.no_grad()
def negative_binomial_quantile(mean: Tensor, count: Tensor, level: Tensor) -> Tensor:
    """The smallest whole number with at least probability `level` at or below it.

    Args:
        mean: above 0.
        count: r, above 0; the variance is mean + mean^2 / r.
        level: in (0, 1).
    """
    dtype = mean.dtype
    mean, r, p = (part.double() for part in torch.broadcast_tensors(mean, count, level))

    def below(k: Tensor) -> Tensor:
        return beta_cdf(r, k + 1, r / (r + mean))

    high = (mean + 4 * (mean + mean.square() / r).sqrt()).ceil()
    while (below(high) < p).any():
        high = torch.where(below(high) < p, 2 * high + 1, high)
    low = torch.full_like(high, -1.0)  # below(low) < p <= below(high), always
    while (high - low > 1).any():
        middle = ((low + high) / 2).floor()
        enough = below(middle) >= p
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    return high.to(dtype)
