"""Beam search: the likeliest output, looked for by several hypotheses of each row side by side."""

import warnings
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import torch

from throughtime.decoding.compiled import stepper as fastest
from throughtime.decoding.constraints import (
    Phrases,
    forced,
    in_turns,
    phrase_ids,
    prefix_ids,
    without_repeats,
)
from throughtime.decoding.generation import DIVERGED, check, check_whole, nats
from throughtime.decoding.hypotheses import (
    BeamSearch,
    Candidates,
    Found,
    Hypotheses,
    best,
    spread,
)
from throughtime.decoding.prompts import Prompts, lines_of, read
from throughtime.decoding.stepper import Searching, Stepper
from throughtime.errors import InputError
from throughtime.models.autoregressive import Autoregressive
from throughtime.shapes import Bool, Tensor
from throughtime.state import State

STEEPEST = 5
"""Of the length penalty; beyond it scores leave the range of float32."""


def beam_search(
    model: Autoregressive,
    prompts: Prompts,
    steps: int,
    *,
    mask: Bool[Tensor, "batch time"] | None = None,
    state: State = None,
    beams: int = 4,
    n_best: int = 1,
    stop: Collection[int] = (),
    length_penalty: float = 1.0,
    no_repeat: int = 0,
    prefix: Sequence[Tensor] | None = None,
    phrases: Sequence[Sequence[Sequence[int] | Tensor]] | None = None,
    chunk: int = 512,
    stepper: Callable[[Autoregressive, State], Stepper] = fastest,
) -> BeamSearch:
    r"""Look for the likeliest output after each prompt.

    The score of an output $y$ of $n$ tokens after a prompt $x$, the stop token counted, is

    $$s(y) = \frac{\log p(y \mid x)}{n^\alpha}$$

    with the length penalty $\alpha$: 0 is the log probability itself, which favours short outputs;
    1 is the mean per token.

    At each step every hypothesis of a row is followed by every token. Of the best `beams` of these
    candidates, those that end with a stop token are found; the best `beams` of the others go on. Of
    equals the earlier hypothesis and then the lower id comes first, so the outcome is determined. A
    prompt gives the same in a batch as alone, up to the rounding of the model. With one beam and
    $\alpha = 0$ this is greedy generation.

    A row leaves the batch as soon as nothing better can come, which changes nothing in the result:
    let $y$ be a hypothesis of $t$ tokens that goes on. A token never has a log probability above
    0, so whatever it becomes has $\log p \le \log p(y) \le 0$ and $n$ tokens with $t < n \le N$, N
    being `steps`. For $\alpha \ge 0$ dividing such a number by $n^\alpha$ brings it the closer to 0
    the larger $n$ is, so no score can be above $\log p(y) / N^\alpha$; for $\alpha < 0$ the
    smallest $n$ is the best, and none can be above $\log p(y) / (t + 1)^\alpha$. Where the last
    of the `n_best` outputs found scores at least that for every hypothesis of the row, none can
    replace it, since of equals the one found first stays.

    What goes on after the last step is handed out, not ended, only where fewer than `n_best` were
    found that did end, and after these.

    Args:
        model: an autoregressive model of tokens. Dropout is off meanwhile.
        prompts: a tensor of ids `[time]` for each row, of different lengths, or one
            `[batch, time]`. An empty prompt begins at the beginning.
        steps: tokens to write at most.
        mask: `[batch, time]`, True where a token of prompts `[batch, time]` is real.
        state: where the prompts go on from, as for [`generate`][throughtime.decoding.generate];
            with `prompts=model.begin(rows)` nothing was written after it yet.
        beams: hypotheses of each row that go on.
        n_best: outputs to hand out of each row, at most `beams`.
        stop: ids that end an output; such a token is its last. Without any, all outputs have
            `steps` tokens.
        length_penalty: $\alpha$, from -5 to 5.
        no_repeat: no sequence of so many tokens stands in an output twice; 0 allows all. The
            prompt does not count, and what `prefix` forces is not asked.
        prefix: ids `[time]` for each row, which may be none: the first tokens of its output. They
            count in its length and its log probability.
        phrases: for each row sequences of ids that its output must contain, wherever; they may
            overlap. An output ends only when all are written. The beam is shared among hypotheses
            that have come equally far with them; with few beams these are the furthest.
        chunk: steps of the prompts that are fed at a time.
        stepper: what feeds the model step by step: called with the model and the state before the
            first step.

    Returns:
        The best outputs of each row, the best first, with their scores.

    Warns:
        UserWarning: once, if outputs hit the maximum of `steps` tokens though there are stop
            tokens, if phrases are missing, or if everything was ruled out; with how many rows.

    Errors:
        InputError: as `generate`; more outputs than beams; a prefix or phrases that are not one
            per row, longer than `steps`, outside the vocabulary, or with a stop token in them.

    Examples:
        >>> from throughtime.models import ModelConfig, build
        >>> model = build(ModelConfig("lstm", tokens=10, width=8))
        >>> prompts = [torch.tensor([1, 2, 3]), torch.tensor([])]
        >>> found = beam_search(model, prompts, 5, beams=3, n_best=2)
        >>> found.tokens.shape, bool((found.scores[:, 0] >= found.scores[:, 1]).all())
        (torch.Size([2, 2, 5]), True)
        >>> found = beam_search(model, prompts, 5, phrases=[[[7, 8]], []])
        >>> "7, 8" in str(found.tokens[0, 0].tolist())
        True

    References:
        Sutskever, Vinyals and Le 2014, "Sequence to sequence learning with neural networks",
        https://arxiv.org/abs/1409.3215; Wu et al. 2016, "Google's neural machine translation
        system", https://arxiv.org/abs/1609.08144, on the length penalty; Huang, Zhao and Ma 2017,
        "When to finish? Optimal beam search for neural text generation",
        https://arxiv.org/abs/1809.00069, on stopping.
    """
    check(model, steps, stop, chunk, least=1)
    _check(beams, n_best, length_penalty, no_repeat)
    lines = lines_of(model, prompts, mask)
    rows, size, stops = len(lines.lengths), model.head.size, sorted(set(stop))
    device = lines.tokens.device
    beginning, automaton = None, None
    if prefix is not None:
        beginning = prefix_ids(prefix, rows, size, steps, stops).to(device)
    if phrases is not None:
        listed = phrase_ids(phrases, rows, size, steps, stops)
        automaton = Phrases(listed, size, device) if any(listed) else None
    how = _How(
        beams, torch.tensor(stops, dtype=torch.long, device=device), length_penalty, no_repeat,
        beginning, automaton,
    )  # fmt: skip
    like = model.like()
    wide = torch.promote_types(like.dtype, torch.float32)
    found = Found(rows, n_best, steps, torch.empty(0, dtype=wide, device=device))
    last, state = read(model, lines, state, chunk)
    step = stepper(model, state)
    if isinstance(step, Searching) and how.free:
        _search_at_once(step, last, steps, how, found)
    else:
        _search(step, last, steps, how, found)
    _warn(found, steps, how)
    return found.result()


class _How(NamedTuple):
    """What stays the same over all steps."""

    beams: int
    stops: Tensor
    length_penalty: float
    no_repeat: int
    prefix: Tensor | None
    phrases: Phrases | None

    @property
    def free(self) -> bool:
        """Whether every token may always come next."""
        return not self.no_repeat and self.prefix is None and self.phrases is None


def _search_at_once(step: Searching, last: Tensor, steps: int, how: _How, found: Found) -> None:
    """All steps in native code, where nothing constrains them."""
    outcome = step.search(
        last, steps, how.stops.tolist(), beams=how.beams, n_best=found.lengths.shape[1],
        length_penalty=how.length_penalty,
    )  # fmt: skip
    if outcome is None:
        raise InputError(DIVERGED)
    found.tokens, found.lengths, found.log_probs, found.scores, found.ended = outcome
    found.complete = found.lengths > 0


@torch.no_grad()
def _search(step: Stepper, last: Tensor, steps: int, how: _How, found: Found) -> None:
    """The loop."""
    beam = _beginning(last, how, found)
    for length in range(1, steps + 1):
        expected = nats(step(last)).to(beam.log_probs.dtype)
        width = beam.log_probs.shape[1]
        candidates = _candidates(_allowed(expected, beam, how), beam, how)
        ends = torch.isin(candidates.tokens, how.stops)
        first = slice(min(how.beams, ends.shape[1]))
        finished = ends[:, first] & (candidates.log_probs[:, first] > -torch.inf)
        if bool(finished.any()):
            ended = Candidates(*(part[:, first] for part in candidates)).after(beam)
            scores = ended.log_probs / length**how.length_penalty
            found.add(ended, torch.where(finished, scores, -torch.inf), ended=True)
        going = torch.where(ends, -torch.inf, candidates.log_probs)
        places = ends.byte().argsort(dim=1, stable=True)[:, first]  # those that end come last
        chosen = candidates._replace(log_probs=going).take(places)
        beam = chosen.after(beam)
        if length == steps:
            left = _by_progress(beam, how.phrases)
            found.add(left, left.log_probs / length**how.length_penalty, ended=False)
            return
        closed = settled(found.scores[beam.rows, -1], beam.log_probs, length, steps, how)
        kept = (~closed).nonzero().squeeze(1)
        if not len(kept):
            return
        starts = width * torch.arange(len(closed), device=last.device).unsqueeze(1)
        origins = (starts + chosen.parents)[kept].flatten().tolist()
        if origins != list(range(len(last))):
            step.select(origins)
        if len(kept) < len(closed):
            beam = beam.keep(kept)
        last = beam.tokens[:, :, -1].flatten()


def settled(
    worst: Tensor, log_probs: Tensor, length: int, steps: int, how: _How
) -> Bool[Tensor, " live"]:
    """Whether no hypothesis of a row can still come before its worst output that was found.

    The proof stands at `beam_search`. A row without hypotheses is settled, too.
    """
    best_length = steps if how.length_penalty >= 0 else length + 1
    return worst >= log_probs.amax(1) / best_length**how.length_penalty


def _beginning(last: Tensor, how: _How, found: Found) -> Hypotheses:
    """One hypothesis a row, with nothing written: several would be the same."""
    rows = len(last)
    node, met = last.new_zeros(rows, 1), torch.ones(rows, 1, 0, device=last.device) > 0
    if how.phrases is not None:
        node, met = how.phrases.begin()
    log_probs = torch.zeros_like(found.scores[:, :1])
    every = torch.arange(rows, device=last.device)
    return Hypotheses(every, last.new_zeros(rows, 1, 0), log_probs, node, met)


def _allowed(expected: Tensor, beam: Hypotheses, how: _How) -> Tensor:
    """Log probabilities, -inf for what must not come next."""
    _, width, length = beam.tokens.shape
    free = expected
    if how.no_repeat:
        free = without_repeats(expected, beam.tokens.flatten(0, 1), how.no_repeat)
    if how.prefix is None or length >= how.prefix.shape[1]:
        return free
    ids = how.prefix[beam.rows, length].repeat_interleave(width)
    return torch.where((ids < 0).unsqueeze(1), free, forced(expected, ids))


def _candidates(expected: Tensor, beam: Hypotheses, how: _How) -> Candidates:
    """The best of each row, the best first: so many that `beams` of them do not end.

    A hypothesis ends in at most one way for each stop token; so among its best `beams` plus those,
    and among that many times `beams` of a row, are `beams` that go on, if there are.
    """
    live, width = beam.log_probs.shape
    values, tokens = best(expected, how.beams + len(how.stops))
    if how.phrases is not None:
        wanted = how.phrases.wanted(beam.node.flatten(), beam.met.flatten(0, 1))
        known = (wanted.unsqueeze(2) == tokens.unsqueeze(1)).any(2) | (wanted < 0)
        wanted = wanted.clamp(min=0)
        more = torch.where(known, -torch.inf, expected.gather(1, wanted))
        values, tokens = torch.cat([values, more], 1), torch.cat([tokens, wanted], 1)
    each = tokens.shape[1]
    # Rounding must not bring a log probability above 0: that rows are settled rests on it.
    log_probs = (beam.log_probs.view(-1, 1) + values.clamp(max=0)).view(live, width * each)
    parents = torch.arange(width, device=tokens.device).repeat_interleave(each).expand(live, -1)
    tokens = tokens.view(live, width * each)
    if how.phrases is None:
        node, met = torch.zeros_like(tokens), beam.met.new_ones(live, width * each, 0)
        order = log_probs.argsort(dim=1, descending=True, stable=True)
    else:
        met = beam.met.gather(1, spread(parents, beam.met))
        node, met = how.phrases.advance(beam.node.gather(1, parents), met, tokens)
        early = torch.isin(tokens, how.stops) & ~met.all(2)
        log_probs = torch.where(early, -torch.inf, log_probs)
        order = in_turns(how.phrases.progress(node, met), log_probs)
    enough = how.beams * (1 + len(how.stops))
    return Candidates(parents, tokens, log_probs, node, met).take(order[:, :enough])


def _by_progress(beam: Hypotheses, phrases: Phrases | None) -> Hypotheses:
    """The best first, those with more of their phrases before the others."""
    if phrases is None:
        return beam
    order = beam.log_probs.argsort(dim=1, descending=True, stable=True)
    progress = phrases.progress(beam.node, beam.met).gather(1, order)
    order = order.gather(1, progress.argsort(dim=1, descending=True, stable=True))
    return Hypotheses(
        beam.rows, beam.tokens.gather(1, spread(order, beam.tokens)),
        beam.log_probs.gather(1, order), beam.node.gather(1, order),
        beam.met.gather(1, spread(order, beam.met)),
    )  # fmt: skip


def _warn(found: Found, steps: int, how: _How) -> None:
    """Say in one warning what the outputs are not."""
    there = found.lengths > 0
    counts = (
        (there & ~found.ended & bool(len(how.stops)), f"hit the maximum of {steps} tokens"),
        (there & ~found.complete, "lack phrases"),
        ((~there).all(1, keepdim=True), "have no output, for every token was ruled out"),
    )
    said = [f"{rows} {words}" for flags, words in counts if (rows := int(flags.any(1).sum()))]
    if said:
        warnings.warn(
            f"beam_search: of {len(there)} rows, {' and '.join(said)}", UserWarning, stacklevel=3
        )


def _check(beams: int, n_best: int, length_penalty: float, no_repeat: int) -> None:
    check_whole("beams", beams, 1)
    check_whole("n_best", n_best, 1)
    check_whole("no_repeat", no_repeat, 0)
    if n_best > beams:
        raise InputError(f"n_best is {n_best}, expected at most beams = {beams}")
    number = isinstance(length_penalty, int | float) and not isinstance(length_penalty, bool)
    if not number or not abs(length_penalty) <= STEEPEST:
        raise InputError(
            f"length_penalty is {length_penalty!r}, "
            f"expected a number from {-STEEPEST} to {STEEPEST}"
        )
