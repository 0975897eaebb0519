"""Least squares from sums: the memory is that of the equations, however long the data."""

import math
from dataclasses import dataclass

import torch

from throughtime.errors import InputError
from throughtime.shapes import Bool, Float, Tensor

CRITERIA = ("aic", "bic")

RANK = 1e-12
"""Directions of less than this share of the greatest eigenvalue count as not there."""


@dataclass
class NormalEquations:
    r"""The sums behind D regressions with F columns each, $y_d \approx X_d \beta_d$.

    $$X_d^\top X_d \, \beta_d = X_d^\top y_d$$

    Attributes:
        gram: $X^\top X$, `[D, F, F]`.
        moment: $X^\top y$, `[D, F]`.
        square: $y^\top y$, `[D]`.
        count: steps, `[D]`.
    """

    gram: Float[Tensor, "size columns columns"]
    moment: Float[Tensor, "size columns"]
    square: Float[Tensor, " size"]
    count: Float[Tensor, " size"]

    @classmethod
    def empty(cls, size: int, columns: int, like: Tensor) -> "NormalEquations":
        """No steps yet; on the device of `like`, always in float64."""
        shapes = ((size, columns, columns), (size, columns), (size,), (size,))
        return cls(*(like.new_zeros(shape, dtype=torch.float64) for shape in shapes))

    def add(
        self,
        columns: Float[Tensor, "*steps size columns"],
        target: Float[Tensor, "*steps size"],
        counted: Bool[Tensor, "*steps size"],
    ) -> None:
        """Some more steps; what stands where `counted` is False plays no part."""
        for d, (x, y, real) in enumerate(
            zip(columns.unbind(-2), target.unbind(-1), counted.unbind(-1), strict=True)
        ):
            x, y = x[real], y[real]
            self.gram[d] += x.mT @ x
            self.moment[d] += x.mT @ y
            self.square[d] += y @ y
            self.count[d] += len(y)

    def plus(self, other: "NormalEquations") -> "NormalEquations":
        """The steps of both."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return NormalEquations(*(one + two for one, two in pairs))

    def narrow(self, columns: Tensor) -> "NormalEquations":
        """The equations of the regressions on some of the columns, by number."""
        gram = self.gram[:, columns][:, :, columns]
        return NormalEquations(gram, self.moment[:, columns], self.square, self.count)

    def solve(self) -> Float[Tensor, "size columns"]:
        """The coefficients; of several equally good the shortest, columns measured by their size.

        Errors:
            InputError: no steps.
        """
        if (self.count == 0).any():
            raise InputError("least squares: there is no step to learn from, expected at least one")
        size = self.gram.diagonal(dim1=-2, dim2=-1).sqrt()
        unit = torch.where(size > 0, size, 1)
        alike = self.gram / unit.unsqueeze(-1) / unit.unsqueeze(-2)
        inverse = torch.linalg.pinv(alike, rtol=RANK, hermitian=True)
        return (inverse @ (self.moment / unit).unsqueeze(-1)).squeeze(-1) / unit

    def residual_square(
        self, coefficients: Float[Tensor, "size columns"]
    ) -> Float[Tensor, " size"]:
        """The sum of the squared residuals of the solution."""
        return (self.square - (coefficients * self.moment).sum(-1)).clamp_min(0)

    def deviation(self, coefficients: Float[Tensor, "size columns"]) -> Float[Tensor, " size"]:
        """The deviation of the noise: what was fitted is no evidence, so steps less columns."""
        freedom = (self.count - coefficients.shape[-1]).clamp_min(1)
        return (self.residual_square(coefficients) / freedom).sqrt()

    def criterion(self, kind: str) -> float:
        r"""How bad the best fit is, its columns counted: $n \log(RSS / n) + k \cdot$ price.

        The price of a column is 2 with `aic` (Akaike 1974), $\log n$ with `bic` (Schwarz 1978).
        """
        rest = self.residual_square(self.solve()).clamp_min(torch.finfo(torch.float64).tiny)
        n, k = self.count, self.moment.shape[-1]
        price = n.log() if kind == "bic" else torch.full_like(n, 2.0)
        return float((n * (rest / n).log() + k * price).sum())


def check_criterion(kind: str | None) -> None:
    """Refuse what is not a criterion."""
    if kind not in (None, *CRITERIA):
        raise InputError(f"fit: criterion is {kind!r}, expected one of {[*CRITERIA]} or None")


def choose(equations: NormalEquations, sets: list[Tensor], kind: str) -> int:
    """Which of some sets of columns fits best by a criterion, all from the same sums."""
    scores = [equations.narrow(columns).criterion(kind) for columns in sets]
    best = min(scores)
    return next(i for i, score in enumerate(scores) if score == best or math.isnan(best))
