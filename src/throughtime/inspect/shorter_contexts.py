"""Log probabilities of the last steps of rows, each given less than all that came before."""

from collections.abc import Callable, Sequence
from itertools import repeat
from typing import NamedTuple

import torch

from throughtime.models.autoregressive import Autoregressive
from throughtime.shapes import Float, Tensor

__all__ = ["Rows", "given_recent", "given_shuffled", "log_prob"]


class Rows(NamedTuple):
    """Sequences side by side, and the covariates of the same steps."""

    x: Tensor
    covariates: Tensor | None

    def each(self, change: Callable[[Tensor], Tensor]) -> "Rows":
        """Both of them changed."""
        return Rows(change(self.x), None if self.covariates is None else change(self.covariates))


def log_prob(model: Autoregressive, rows: Rows, chunk: int) -> Float[Tensor, "batch time"]:
    """The log probability of each step, some rows at a time."""
    many = max(1, chunk // rows.x.shape[1])
    known = repeat(None) if rows.covariates is None else rows.covariates.split(many)
    pieces = zip(rows.x.split(many), known, strict=False)  # where there are none, without end
    return torch.cat([model.log_prob(x, None, covariates) for x, covariates in pieces])


def given_recent(
    model: Autoregressive, rows: Rows, k: int, full: Float[Tensor, "batch last"], chunk: int
) -> Float[Tensor, "batch last"]:
    """The log probabilities of the last steps, each given the k before it alone."""
    batch, time = rows.x.shape[:2]
    begin = time - full.shape[1]
    first = max(begin, k + 1)  # up to step k, the k steps before are all there are
    if first >= time:
        return full
    # A window for each step that is scored: the k steps before it, and itself.
    windows = rows.each(
        lambda part: part[:, first - k :].unfold(1, k + 1, 1).movedim(-1, 2).flatten(0, 1)
    )
    cut = log_prob(model, windows, chunk)[:, -1].view(batch, time - first)
    return torch.cat([full[:, : first - begin], cut], dim=1)


def given_shuffled(
    model: Autoregressive,
    rows: Rows,
    ks: Sequence[int],
    full: Float[Tensor, "batch last"],
    seed: int,
    chunk: int,
) -> list[Float[Tensor, "batch last"]]:
    """The log probabilities of the last steps for each k, all before those k in another order."""
    batch, time = rows.x.shape[:2]
    begin = time - full.shape[1]
    generator = torch.Generator().manual_seed(seed)
    row = torch.arange(batch, device=full.device).unsqueeze(1)
    found = [full.clone() for _ in ks]
    for t in range(begin, time):
        drawn = torch.rand(batch, t, generator=generator).to(full.device)
        changed = [at for at, k in enumerate(ks) if t - k >= 2]  # a single step has one order
        if not changed:
            continue
        orders = torch.stack([_order(drawn, t - ks[at]) for at in changed])  # (K, B, t + 1)
        known = rows.covariates
        other = Rows(
            rows.x[row, orders].flatten(0, 1),
            None if known is None else known[:, : t + 1].repeat(len(changed), 1, 1),
        )
        scored = log_prob(model, other, chunk)[:, -1].view(len(changed), batch)
        for at, part in zip(changed, scored, strict=True):
            found[at][:, t - begin] = part
    return found


def _order(drawn: Float[Tensor, "batch steps"], far: int) -> Tensor:
    """The order of steps 0 to t of which the first `far` ones are shuffled; `[batch, t + 1]`."""
    batch, t = drawn.shape
    near = torch.arange(far, t + 1, device=drawn.device).expand(batch, -1)
    return torch.cat([drawn[:, :far].argsort(dim=1), near], dim=1)
