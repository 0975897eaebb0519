"""What the n-grams of a text speak for, summed up as it is read."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from throughtime.errors import InputError
from throughtime.layers.base import Layer, check_ids, check_size
from throughtime.layers.grams import buckets_of, windows_of
from throughtime.layers.window import Window
from throughtime.shapes import Bool, Float, Int, Shaped, Tensor
from throughtime.state import State, register

LETTERS = 3
"""Of a token at most: those of a Korean syllable."""

MOST = 2**31
"""Numbers of letters are smaller: so n-grams find their buckets without an overflow."""


@register
class BagState(NamedTuple):
    """What a bag of n-grams holds.

    Attributes:
        past: `[batch, last - 1]`, the last letters, the oldest first; 0 where nothing came before.
        total: `[batch, output_size]`, the sum of all n-grams so far; float32 at least, for a sum of
            thousands in less would stand still.
        seen: `[batch]`, how many these are.
    """

    past: Int[Tensor, "batch past"]
    total: Float[Tensor, "batch output"]
    seen: Int[Tensor, " batch"]


class GramBag(Layer):
    r"""A linear model of texts: a score for each n-gram, summed over all that were read so far.

    $$y_t = \frac{r}{\sqrt{N_t}} \sum_{i \le t} \sum_{n=a}^{b} W_{h(x_{i-n+1}, \ldots, x_i)}$$

    The N_t n-grams up to step t have a to b tokens, and the function h brings each into one of so
    many buckets, as in [`GramEmbedding`][throughtime.layers.GramEmbedding]; there are b - a + 1 at
    each step, for the beginning of a sequence is part of those that reach back to it. A sum of so
    many grows as the root of their number where they say nothing; so long texts are as loud as
    short ones.

    Tokens that are characters may be spelled: a Korean syllable is two or three letters, and
    n-grams of letters know a stem with whatever ends in it.

    Args:
        tokens: size of the vocabulary; ids run from 0 to `tokens - 1`.
        output_size: scores of each n-gram.
        lengths: a and b, tokens (or letters) of the shortest and of the longest n-grams.
        buckets: how many vectors n-grams have.
        scale: r, by which scores are multiplied. Optimizers like Adam take steps of one size for
            every weight: with r the scores of rare n-grams are learnt in few of them. On short
            reviews 10 was better than 3 and 20 at a learning rate of 2e-3.
        letters: the letters of each token, at most three, numbers from 1 on; None: every token is
            one letter. See [`spell`][throughtime.layers.gram_bag.GramBag.spell].

    Attributes:
        weight: W, `[buckets, output_size]`; zeros, so that what was never seen says nothing.
        letters: `[tokens, 3]` or `[tokens, 1]`, 0 where a token has no more; a buffer.

    Shapes:
        - `x`: `[batch, time]`, token ids; anything at all in padded steps.
        - `state`: `BagState`; `None` means that nothing came before.
        - `mask`, `reset`: `[batch, time]`, see [`Layer`][throughtime.layers.Layer]. Padded steps
          take no place in an n-gram.
        - `output`: `[batch, time, output_size]`; zeros in padded steps.

    Laws:
        - Causal; chunkable; padding-invariant.

    Errors:
        InputError: lengths that are none, letters for another number of tokens, or ids that are
            not whole numbers.

    Examples:
        >>> layer = GramBag(10, 2, lengths=(1, 3), buckets=100)
        >>> output, state = layer(torch.tensor([[1, 2, 3]]))
        >>> output.shape, state.past.tolist(), state.seen.tolist()
        (torch.Size([1, 3, 2]), [[3, 4]], [9])

    References:
        Wang and Manning 2012, "Baselines and bigrams: simple, good sentiment and topic
        classification"; Joulin et al. 2017, "Bag of tricks for efficient text classification".
    """

    letters: Tensor

    def __init__(
        self,
        tokens: int,
        output_size: int,
        *,
        lengths: tuple[int, int] = (1, 5),
        buckets: int = 1_048_576,
        scale: float = 10.0,
        letters: Sequence[Sequence[int]] | None = None,
    ) -> None:
        super().__init__()
        check_size("GramBag", "tokens", tokens)
        check_size("GramBag", "output_size", output_size)
        check_size("GramBag", "buckets", buckets)
        whole = isinstance(lengths, tuple) and [*map(type, lengths)] == [int, int]
        if not whole or not 1 <= lengths[0] <= lengths[1]:
            raise InputError(
                f"GramBag: lengths are {lengths}, expected the shortest (1 or more), the longest"
            )
        if not 0 < scale < math.inf:
            raise InputError(f"GramBag: scale is {scale}, expected a positive number")
        self.tokens = tokens
        self.lengths = lengths
        self.buckets = buckets
        self.scale = scale
        self.input_size = None
        self.output_size = output_size
        self.weight = nn.Parameter(torch.empty(buckets, output_size))
        self.window = Window(lengths[1])
        self.register_buffer("letters", torch.arange(1, tokens + 1).unsqueeze(1))
        if letters is not None:
            self.spell(letters)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Zeros."""
        nn.init.zeros_(self.weight)

    @property
    def spelled(self) -> bool:
        """Whether tokens may have more than one letter."""
        return self.letters.shape[1] > 1

    def spell(self, letters: Sequence[Sequence[int]]) -> None:
        """Say what letters each token consists of.

        Args:
            letters: for each token one to three numbers from 1 on.

        Errors:
            InputError: another number of tokens, a token without letters, or with too many.
        """
        if len(letters) != self.tokens:
            raise InputError(
                f"GramBag: letters are of {len(letters)} tokens, expected {self.tokens}"
            )
        for token, each in enumerate(letters):
            fine = all(isinstance(one, int) and 1 <= one < MOST for one in each)
            if not 1 <= len(each) <= LETTERS or not fine:
                raise InputError(
                    f"GramBag: letters of token {token} are {[*each]}, expected one to {LETTERS} "
                    "whole numbers from 1 on"
                )
        rows = [[*each, *[0] * (LETTERS - len(each))] for each in letters]
        self.letters = torch.tensor(rows, dtype=torch.long, device=self.weight.device)

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> BagState:
        """Nothing read."""
        device = self.weight.device if device is None else device
        past = torch.zeros(batch_size, self.lengths[1] - 1, dtype=torch.long, device=device)
        shape = (batch_size, *self.weight.shape[1:])
        dtype = torch.promote_types(self.weight.dtype if dtype is None else dtype, torch.float32)
        total = torch.zeros(shape, device=device, dtype=dtype)
        return BagState(past, total, past.new_zeros(batch_size))

    def check(self, x: Tensor, state: State, mask: Tensor | None, reset: Tensor | None) -> None:
        """Token ids have no axis of features."""
        check_ids("GramBag", x)
        self.check_marks(x, mask, reset)
        self.check_state(state, x.shape[0])

    def run(
        self,
        x: Int[Tensor, "batch time"],
        state: BagState,
        mask: Bool[Tensor, "batch time"] | None,
        reset: Bool[Tensor, "batch time"] | None,
    ) -> tuple[Float[Tensor, "batch time output"], BagState]:
        """Spell, look back, look up, and sum up."""
        time = x.shape[1]
        if mask is not None:
            x = torch.where(mask, x, 0)
        letters = functional.embedding(x.long(), self.letters)  # -> (B, T, L)
        real = letters > 0
        if mask is not None:
            real = real & mask.unsqueeze(-1)
        begins = None
        if reset is not None:  # a sequence begins with the first letter of its first token
            first = torch.arange(letters.shape[-1], device=x.device) == 0
            begins = (reset.unsqueeze(-1) & first).flatten(1)
        spelled = None if mask is None and letters.shape[-1] == 1 else real.flatten(1)
        windows, past = windows_of(self.window, letters.flatten(1), state.past, spelled, begins)
        found = functional.embedding(buckets_of(windows, self.lengths, self.buckets), self.weight)
        scores = found.sum(-2, dtype=state.total.dtype).unflatten(1, (time, letters.shape[-1]))
        scores = torch.where(real.unsqueeze(-1), scores, 0).sum(2)
        count = real.sum(-1) * (self.lengths[1] - self.lengths[0] + 1)
        total = _running(scores, state.total.unsqueeze(1), reset)
        seen = _running(count, state.seen.unsqueeze(1), reset)
        y = total * (self.scale * seen.clamp(min=1).to(total.dtype).rsqrt()).unsqueeze(-1)
        y = y.to(self.weight.dtype)
        if mask is not None:
            y = torch.where(mask.unsqueeze(-1), y, 0)
        if time:
            state = BagState(past, total[:, -1], seen[:, -1])
        return y, state

    def extra_repr(self) -> str:
        """Sizes, for printing."""
        return (
            f"tokens={self.tokens}, output_size={self.output_size}, lengths={self.lengths}, "
            f"buckets={self.buckets}"
        )


def _running(
    values: Tensor, before: Tensor, reset: Bool[Tensor, "batch time"] | None
) -> Shaped[Tensor, "batch time *size"]:
    """Sums of all steps since the sequence began.

    Args:
        values: `[batch, time, ...]`.
        before: `[batch, 1, ...]`, the sum of what came before the first.
        reset: where a sequence begins.
    """
    # In double: what lies before a reset is taken away again, and leaves nothing behind.
    wide = values.double() if values.is_floating_point() else values
    total = wide.cumsum(1)
    if reset is None:
        return (before + total).to(values.dtype)
    steps = torch.arange(reset.shape[1], device=reset.device)
    begun = torch.where(reset, steps, -1).cummax(1).values  # where the sequence of each step began
    shape = begun.shape + (1,) * (values.ndim - 2)
    place = begun.clamp(min=0).view(shape).expand_as(values)
    earlier = (total - wide).gather(1, place)
    return (total - torch.where(begun.view(shape) >= 0, earlier, -before.to(wide.dtype))).to(
        values.dtype
    )
