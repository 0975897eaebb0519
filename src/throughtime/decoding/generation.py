"""Generation: feed the last token, choose the next, and again, for many rows side by side."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

import torch

from throughtime.decoding.compiled import CompiledStepper
from throughtime.decoding.compiled import stepper as fastest
from throughtime.decoding.prompts import Prompts, lines_of, read, seen_in
from throughtime.decoding.randomness import Uniforms, row_seeds
from throughtime.decoding.sampling import Sampling
from throughtime.decoding.stepper import Stepper
from throughtime.errors import InputError
from throughtime.models.autoregressive import Autoregressive
from throughtime.shapes import Bool, Float, Int, Tensor
from throughtime.state import State

Until = Callable[[list[int]], bool]
"""Given what was written of a row so far, whether it ends here."""


DIVERGED = "the model gives NaN, expected logits; has it diverged?"


class Step(NamedTuple):
    """One token of every row that has not ended.

    Attributes:
        rows: `[going]`, which prompts they belong to.
        tokens: `[going]`, ids.
        log_probs: `[going]`, of these tokens under the model, in nats; as the model itself expects
            them, before temperature and the like.
        ended: `[going]`, whether the row ends with this token.
    """

    rows: Int[Tensor, " going"]
    tokens: Int[Tensor, " going"]
    log_probs: Float[Tensor, " going"]
    ended: Bool[Tensor, " going"]


class Generation(NamedTuple):
    """What was written after each prompt.

    Attributes:
        tokens: `[batch, steps]`, ids; -1 after the end of a row.
        lengths: `[batch]`, tokens of each row; the one that ended it is counted.
        log_probs: `[batch, steps]`, of the tokens under the model, in nats; 0 after the end.
    """

    tokens: Int[Tensor, "batch steps"]
    lengths: Int[Tensor, " batch"]
    log_probs: Float[Tensor, "batch steps"]


def stream(
    model: Autoregressive,
    prompts: Prompts,
    steps: int,
    *,
    mask: Bool[Tensor, "batch time"] | None = None,
    state: State = None,
    sampling: Sampling | None = None,
    stop: Collection[int] = (),
    until: Until | None = None,
    seed: int | Sequence[int] | None = None,
    chunk: int = 512,
    stepper: Callable[[Autoregressive, State], Stepper] = fastest,
) -> Iterator[Step]:
    """Write token after token; each step is yielded as soon as it is chosen.

    The arguments are those of [`generate`][throughtime.decoding.generate] and checked at once. A
    row that has ended is in no further step; there are no more steps when all have.
    """
    return _steps(
        *_begin(
            model, prompts, steps, mask=mask, state=state, sampling=sampling, stop=stop,
            until=until, seed=seed, chunk=chunk, stepper=stepper,
        )
    )  # fmt: skip


def generate(
    model: Autoregressive,
    prompts: Prompts,
    steps: int,
    *,
    mask: Bool[Tensor, "batch time"] | None = None,
    state: State = None,
    sampling: Sampling | None = None,
    stop: Collection[int] = (),
    until: Until | None = None,
    seed: int | Sequence[int] | None = None,
    chunk: int = 512,
    stepper: Callable[[Autoregressive, State], Stepper] = fastest,
) -> Generation:
    """Write what follows each prompt.

    A prompt gives the same text in a batch as alone, whatever the lengths of the others, up to the
    rounding of the model: it neither sees the others nor shares random numbers with them.

    Args:
        model: an autoregressive model of tokens. Dropout is off meanwhile.
        prompts: a tensor of ids `[time]` for each row, of different lengths, or one
            `[batch, time]`. An empty prompt begins at the beginning.
        steps: tokens to write at most.
        mask: `[batch, time]`, True where a token of prompts `[batch, time]` is real; padding may
            stand anywhere.
        state: where the prompts go on from: the state after all that came before was fed. The first
            token of each prompt is the one that was not fed yet. None: prompts are the beginning.
        sampling: how tokens are chosen; by default as the model expects them.
        stop: ids that end a row; such a token is the last of its row.
        until: called with the ids written of a row after each of them; True ends the row.
        seed: of the random numbers. A whole number gives each row a seed of its own, those of
            [`row_seeds`][throughtime.decoding.row_seeds]; a sequence has one for each row. None
            draws one from torch's own generator.
        chunk: steps of the prompts that are fed at a time; the memory for a long prompt grows with
            this and not with the prompt.
        stepper: what feeds the model step by step: called with the model and the state before the
            first step.

    A state that was made from something else, as that of a decoder that has read a source, goes on
    from the marker of the beginning: `prompts=model.begin(rows)`.

    Returns:
        Tokens, lengths and log probabilities.

    Errors:
        InputError: a model of numbers, ids outside the vocabulary, a state and an empty prompt, or
            an argument of another form.

    Examples:
        >>> from throughtime.models import ModelConfig, build
        >>> model = build(ModelConfig("lstm", tokens=10, width=8))
        >>> prompts = [torch.tensor([1, 2, 3]), torch.tensor([4]), torch.tensor([])]
        >>> both = generate(model, prompts, 5, sampling=Sampling(top_k=3), seed=0)
        >>> alone = generate(model, prompts[1:2], 5, sampling=Sampling(top_k=3),
        ...                  seed=row_seeds(0, 3)[1:2])
        >>> both.tokens.shape, torch.equal(both.tokens[1], alone.tokens[0])
        (torch.Size([3, 5]), True)
    """
    begun = _begin(
        model, prompts, steps, mask=mask, state=state, sampling=sampling, stop=stop,
        until=until, seed=seed, chunk=chunk, stepper=stepper,
    )  # fmt: skip
    if isinstance(begun.step, CompiledStepper) and until is None:
        return _at_once(begun.step, begun)
    written = list(_steps(*begun))
    batch = len(prompts)
    like = model.begin(1)
    tokens = like.new_full((batch, steps), -1)
    lengths = like.new_zeros(batch)
    log_probs = model.like().new_zeros(batch, steps)
    if written:
        log_probs = log_probs.to(written[0].log_probs.dtype)
    for t, step in enumerate(written):
        tokens[step.rows, t] = step.tokens
        log_probs[step.rows, t] = step.log_probs
        lengths[step.rows] += 1
    return Generation(tokens, lengths, log_probs)


class _Begun(NamedTuple):
    """What the loop works on; the prompts have been read but for their last tokens."""

    step: Stepper
    last: Tensor
    steps: int
    sampling: Sampling
    uniforms: Uniforms | None
    seen: Tensor | None
    stop: Collection[int]
    until: Until | None


def _begin(
    model: Autoregressive,
    prompts: Prompts,
    steps: int,
    *,
    mask: Tensor | None,
    state: State,
    sampling: Sampling | None,
    stop: Collection[int],
    until: Until | None,
    seed: int | Sequence[int] | None,
    chunk: int,
    stepper: Callable[[Autoregressive, State], Stepper],
) -> _Begun:
    """Check the arguments and read the prompts."""
    check(model, steps, stop, chunk)
    lines = lines_of(model, prompts, mask)
    sampling = sampling or Sampling()
    batch = len(lines.lengths)
    uniforms = None if sampling.greedy else Uniforms(_seeds(seed, batch), lines.tokens.device)
    seen = seen_in(lines, model.head.size) if sampling.repetition_penalty != 1 else None
    last, state = read(model, lines, state, chunk)
    return _Begun(stepper(model, state), last, steps, sampling, uniforms, seen, stop, until)


def _at_once(step: CompiledStepper, begun: _Begun) -> Generation:
    """All steps in native code, where nothing looks at them one by one."""
    uniforms = None
    if begun.uniforms is not None and begun.steps:
        uniforms = torch.stack([begun.uniforms() for _ in range(begun.steps)], 1)
    tokens, log_probs = step.write(
        begun.last, begun.steps, begun.stop,
        sampling=begun.sampling, uniforms=uniforms, seen=begun.seen,
    )  # fmt: skip
    if log_probs.isnan().any():
        raise InputError(DIVERGED)
    return Generation(tokens, (tokens >= 0).sum(1), log_probs)


@torch.no_grad()
def _steps(
    step: Stepper,
    last: Tensor,
    steps: int,
    sampling: Sampling,
    uniforms: Uniforms | None,
    seen: Tensor | None,
    stop: Collection[int],
    until: Until | None,
) -> Iterator[Step]:
    """The loop."""
    rows = torch.arange(len(last), device=last.device)
    stops = torch.tensor(sorted(stop), dtype=torch.long, device=last.device)
    texts: list[list[int]] = [[] for _ in range(len(last))]
    for _ in range(steps):
        logits = step(last)
        expected = nats(logits)
        last = sampling(logits, seen, None if uniforms is None else uniforms())
        log_probs = expected.gather(-1, last.unsqueeze(-1)).squeeze(-1)
        ended = torch.isin(last, stops)
        if until is not None:
            for text, token in zip(texts, last.tolist(), strict=True):
                text.append(token)
            ended |= torch.tensor([until(text) for text in texts], device=last.device)
        yield Step(rows, last, log_probs, ended)
        if seen is not None:
            seen = seen.scatter(1, last.unsqueeze(1), True)  # noqa: FBT003
        if (stop or until is not None) and bool(ended.any()):
            kept = (~ended).nonzero().squeeze(1)
            going = kept.tolist()
            if not going:
                return
            step.select(going)
            rows, last, texts = rows[kept], last[kept], [texts[row] for row in going]
            seen = None if seen is None else seen[kept]
            if uniforms is not None:
                uniforms.select(going)


def check(
    model: Autoregressive, steps: int, stop: Collection[int], chunk: int, *, least: int = 0
) -> None:
    """Refuse what cannot be, before anything is read; of `steps` there are at least `least`."""
    if not model.inputs.discrete:
        raise InputError("the model is of numbers, expected one of tokens")
    check_whole("steps", steps, least)
    check_whole("chunk", chunk, 1)
    for token in stop:
        if not 0 <= token < model.head.size:
            raise InputError(f"stop holds id {token}, expected 0 to {model.head.size - 1}")


def check_whole(name: str, value: int, least: int) -> None:
    """Refuse what is no whole number, or too small a one."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{name} is {value!r}, expected a whole number of at least {least}")


def nats(logits: Float[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens"]:
    """The log probability of each token.

    Errors:
        InputError: NaN, or infinite logits.
    """
    wide = torch.promote_types(logits.dtype, torch.float32)  # half is too coarse for nats
    expected = logits.log_softmax(-1, dtype=wide)
    # One NaN makes its whole row NaN, by the sum: one column tells of all.
    if expected[:, :1].isnan().any():
        raise InputError(DIVERGED)
    return expected


def _seeds(seed: int | Sequence[int] | None, rows: int) -> Sequence[int]:
    if seed is None:
        seed = int(torch.randint(2**62, ()))
    if isinstance(seed, int):
        return row_seeds(seed, rows)
    if len(seed) != rows:
        raise InputError(f"seed has {len(seed)} numbers, expected {rows}, one per row")
    return seed
