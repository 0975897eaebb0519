"""What a beam search keeps: hypotheses that go on, and those found."""

from typing import NamedTuple

import torch

from throughtime.shapes import Bool, Float, Int, Tensor

GROUP = 128
"""Groups of a vocabulary whose largest are compared first; about the square root of its size."""


class BeamSearch(NamedTuple):
    """The best that was found after each prompt, the best first.

    Where fewer than `n_best` were found the rest has length 0 and the score -inf.

    Attributes:
        tokens: `[rows, n_best, longest]`, ids; -1 after the end of each.
        lengths: `[rows, n_best]`, tokens of each; the one that ended it is counted.
        log_probs: `[rows, n_best]`, of all its tokens under the model, added up, in nats.
        scores: `[rows, n_best]`, the log probability over the length to the power of the penalty.
        ended: `[rows, n_best]`, whether it ended with a stop token, and not at the last step.
    """

    tokens: Int[Tensor, "rows n_best longest"]
    lengths: Int[Tensor, "rows n_best"]
    log_probs: Float[Tensor, "rows n_best"]
    scores: Float[Tensor, "rows n_best"]
    ended: Bool[Tensor, "rows n_best"]


class Hypotheses(NamedTuple):
    """What has been written of each row that goes on, in several ways.

    Attributes:
        rows: `[live]`, which prompts they belong to.
        tokens: `[live, width, length]`, written so far.
        log_probs: `[live, width]`, of them; -inf where there is no such hypothesis.
        node: `[live, width]`, where the phrases of the row stand; see `Phrases`. Unused without.
        met: `[live, width, phrases]`, which of them are written.
    """

    rows: Tensor
    tokens: Tensor
    log_probs: Tensor
    node: Tensor
    met: Tensor

    def keep(self, live: Tensor) -> "Hypotheses":
        """Some of the rows."""
        return Hypotheses(*(part[live] for part in self))


class Candidates(NamedTuple):
    """Hypotheses with one more token, the best of each row first.

    Attributes:
        parents: `[live, candidates]`, which hypothesis of the row each goes on from.
        tokens: `[live, candidates]`, the next one.
        log_probs: `[live, candidates]`, of all its tokens; -inf where there is none.
        node: `[live, candidates]`.
        met: `[live, candidates, phrases]`.
    """

    parents: Tensor
    tokens: Tensor
    log_probs: Tensor
    node: Tensor
    met: Tensor

    def take(self, places: Tensor) -> "Candidates":
        """Some of each row, `[live, chosen]`, in the order given."""
        parents, tokens, log_probs, node = (part.gather(1, places) for part in self[:4])
        return Candidates(
            parents, tokens, log_probs, node, self.met.gather(1, spread(places, self.met))
        )

    def after(self, before: Hypotheses) -> Hypotheses:
        """As hypotheses."""
        tokens = before.tokens.gather(1, spread(self.parents, before.tokens))
        tokens = torch.cat([tokens, self.tokens.unsqueeze(2)], 2)
        return Hypotheses(before.rows, tokens, self.log_probs, self.node, self.met)


class Found:
    """The best hypotheses of each row that go on no further.

    Args:
        rows: prompts.
        n_best: kept of each.
        steps: tokens of each at most.
        like: of the type and device of log probabilities.
    """

    def __init__(self, rows: int, n_best: int, steps: int, like: Tensor) -> None:
        ids = torch.empty(0, dtype=torch.long, device=like.device)
        self.tokens = ids.new_full((rows, n_best, steps), -1)
        self.lengths = ids.new_zeros(rows, n_best)
        self.log_probs = like.new_full((rows, n_best), -torch.inf)
        self.scores = like.new_full((rows, n_best), -torch.inf)
        self.ended = torch.zeros_like(self.lengths, dtype=torch.bool)
        self.complete = torch.zeros_like(self.ended)

    def add(self, some: Hypotheses, scores: Tensor, *, ended: bool) -> None:
        """Keep the best of those found and these, whose score is -inf where they are not meant.

        Of equals the one found first stays first. Those that did not end come after all that were
        found before, in the order in which they are given.
        """
        rows, length = some.rows, some.tokens.shape[2]
        known = self.scores[rows]
        n_best = known.shape[1]
        merged = torch.cat([known, scores], 1)
        key = merged
        if not ended:
            place = torch.arange(merged.shape[1], 0, -1, device=merged.device)
            key = torch.where(merged > -torch.inf, place, 0)
        order = key.argsort(dim=1, descending=True, stable=True)[:, :n_best]
        there = merged.gather(1, order) > -torch.inf

        def choose(old: Tensor, new: Tensor) -> Tensor:
            return torch.cat([old, new.to(old.dtype)], 1).gather(1, order)

        self.scores[rows] = merged.gather(1, order)
        self.log_probs[rows] = choose(self.log_probs[rows], some.log_probs)
        self.lengths[rows] = choose(self.lengths[rows], torch.full_like(some.node, length)) * there
        self.ended[rows] = choose(self.ended[rows], torch.full_like(scores, ended)) & there
        self.complete[rows] = choose(self.complete[rows], some.met.all(2)) & there
        tokens = torch.cat([self.tokens[rows, :, :length], some.tokens], 1)
        chosen = tokens.gather(1, spread(order, tokens))
        self.tokens[rows, :, :length] = torch.where(there.unsqueeze(2), chosen, -1)

    def result(self) -> BeamSearch:
        """As it is handed out."""
        longest = int(self.lengths.max())
        log_probs = torch.where(self.lengths > 0, self.log_probs, -torch.inf)
        tokens = self.tokens[:, :, :longest].clone()
        return BeamSearch(tokens, self.lengths, log_probs, self.scores, self.ended)


def best(
    log_probs: Float[Tensor, "batch tokens"], count: int
) -> tuple[Float[Tensor, "batch count"], Int[Tensor, "batch count"]]:
    """The likeliest tokens and their ids, the likeliest first; of equals the lower id.

    `topk` by itself takes any of equals. So one more is asked for: only where it equals the last
    one wanted is there a choice, and it is made by counting.
    """
    size = log_probs.shape[1]
    if count >= size:
        return log_probs.sort(dim=1, descending=True, stable=True)
    values, ids = _largest(log_probs, count + 1)
    last = values[:, count - 1]
    open_ = ((last == values[:, count]) & (last > -torch.inf)).nonzero().squeeze(1)
    values, ids = values[:, :count], ids[:, :count]
    if len(open_):
        some, limit = log_probs[open_], last[open_].unsqueeze(1)
        above, equal = some > limit, some == limit
        needed = count - above.sum(1, keepdim=True)
        ids[open_] = (above | (equal & (equal.cumsum(1) <= needed))).nonzero()[:, 1].view(-1, count)
    ids = ids.sort(1).values
    values, order = log_probs.gather(1, ids).sort(dim=1, descending=True, stable=True)
    return values, ids.gather(1, order)


def _largest(log_probs: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """As `topk`, in a third of its time for a large vocabulary.

    The largest k of all lie in the k groups whose largest are largest, for each of these holds one
    that no other group exceeds. To know the largest of each group is one pass over all.
    """
    size = log_probs.shape[1]
    groups = GROUP
    if size < 8 * groups or count > groups // 4:
        return log_probs.topk(count, dim=1)
    deep = size // groups
    inside = log_probs[:, : deep * groups].unflatten(1, (deep, groups))
    chosen = inside.amax(1).topk(count, dim=1).indices.unsqueeze(1).expand(-1, deep, -1)
    ids = chosen + groups * torch.arange(deep, device=chosen.device).view(1, -1, 1)
    rest = torch.arange(deep * groups, size, device=ids.device).expand(len(ids), -1)
    ids = torch.cat([ids.flatten(1), rest], 1)
    values, places = log_probs.gather(1, ids).topk(count, dim=1)
    return values, ids.gather(1, places)


def spread(places: Int[Tensor, "rows chosen"], like: Tensor) -> Int[Tensor, "rows chosen last"]:
    """Places along the second axis, for `gather` of what has a third one."""
    return places.unsqueeze(2).expand(-1, -1, like.shape[2])
