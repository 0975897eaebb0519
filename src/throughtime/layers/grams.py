"""Vectors of tokens and of what stands right before them."""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from throughtime.errors import InputError
from throughtime.layers.base import Layer, check_ids, check_size
from throughtime.layers.window import Window, WindowState
from throughtime.shapes import Bool, Float, Int, Tensor
from throughtime.state import State, register

MULTIPLIER = 0x9E3779B1
"""Odd, and its bits look like chance: products with it spread over all buckets."""


@register
class GramState(NamedTuple):
    """What n-grams reach back to.

    Attributes:
        past: `[batch, order - 1]`, one more than each of the last ids, the oldest first; 0 where
            nothing came before.
    """

    past: Int[Tensor, "batch past"]


class GramEmbedding(Layer):
    r"""A vector for each token, and one for each n-gram that ends in it, up to a length.

    $$y_t = E_{x_t} + \sum_{n=2}^{N} G_{h(x_{t-n+1}, \ldots, x_t)}$$

    The function h brings every n-gram into one of so many buckets, by chance but always the same
    one. Those that meet in a bucket share its vector, which other n-grams around them make up for.
    The beginning of a sequence is part of the n-grams that reach back to it. So words of frequent
    forms are known as wholes, as by a vocabulary of pieces, and none is cut at the wrong place.

    Args:
        tokens: size of the vocabulary; ids run from 0 to `tokens - 1`.
        output_size: features of each vector.
        order: N, tokens of the longest n-grams, at least 2.
        buckets: how many vectors n-grams have.
        dropout: the share of n-grams that are left out in training, each as a whole, in [0, 1):
            rare ones are learnt by heart otherwise.

    Attributes:
        weight: E, `[tokens, output_size]`; normal with deviation 1.
        grams: G, `[buckets, output_size]`; zeros, so that what was never seen adds nothing.

    Shapes:
        - `x`: `[batch, time]`, token ids; anything at all in padded steps.
        - `state`: `GramState`; `None` means that nothing came before.
        - `mask`, `reset`: `[batch, time]`, see [`Layer`][throughtime.layers.Layer]. Padded steps
          take no place in an n-gram.
        - `output`: `[batch, time, output_size]`; zeros in padded steps.

    Laws:
        - Causal, with a receptive field of exactly `order` real steps.
        - Chunkable, padding-invariant.

    Errors:
        InputError: an order below 2, or ids that are not whole numbers.

    Examples:
        >>> layer = GramEmbedding(10, 4, order=3, buckets=100)
        >>> output, state = layer(torch.tensor([[1, 2, 3]]))
        >>> output.shape, state.past.tolist()
        (torch.Size([1, 3, 4]), [[3, 4]])

    References:
        Bojanowski et al. 2017, "Enriching word vectors with subword information"; Joulin et al.
        2017, "Bag of tricks for efficient text classification" (n-grams in buckets).
    """

    def __init__(
        self,
        tokens: int,
        output_size: int,
        *,
        order: int = 4,
        buckets: int = 65_536,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_size("GramEmbedding", "tokens", tokens)
        check_size("GramEmbedding", "output_size", output_size)
        check_size("GramEmbedding", "buckets", buckets)
        if isinstance(order, bool) or not isinstance(order, int) or order < 2:
            raise InputError(f"GramEmbedding: order is {order!r}, expected at least 2 tokens")
        if not 0 <= dropout < 1:
            raise InputError(
                f"GramEmbedding: dropout is {dropout}, expected a probability in [0, 1)"
            )
        self.dropout = dropout
        self.tokens = tokens
        self.order = order
        self.buckets = buckets
        self.input_size = None
        self.output_size = output_size
        self.weight = nn.Parameter(torch.empty(tokens, output_size))
        self.grams = nn.Parameter(torch.empty(buckets, output_size))
        self.window = Window(order)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Normal with deviation 1; zeros for n-grams."""
        nn.init.normal_(self.weight)
        nn.init.zeros_(self.grams)

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> GramState:
        """Nothing before; ids have no `dtype` to choose."""
        device = self.weight.device if device is None else device
        return GramState(torch.zeros(batch_size, self.order - 1, dtype=torch.long, device=device))

    def check(self, x: Tensor, state: State, mask: Tensor | None, reset: Tensor | None) -> None:
        """Token ids have no axis of features."""
        check_ids("GramEmbedding", x)
        self.check_marks(x, mask, reset)
        self.check_state(state, x.shape[0])

    def run(
        self,
        x: Int[Tensor, "batch time"],
        state: GramState,
        mask: Bool[Tensor, "batch time"] | None,
        reset: Bool[Tensor, "batch time"] | None,
    ) -> tuple[Float[Tensor, "batch time output"], GramState]:
        """Look up, and look back."""
        if mask is not None:
            x = torch.where(mask, x, 0)
        windows, past = windows_of(self.window, x + 1, state.past, mask, reset)
        grams = functional.embedding(self.bucket(windows), self.grams)
        if self.training and self.dropout:
            kept = torch.rand(grams.shape[:-1], device=grams.device) >= self.dropout
            grams = grams * (kept.unsqueeze(-1) / (1 - self.dropout))
        y = functional.embedding(x, self.weight) + grams.sum(-2)
        if mask is not None:
            y = torch.where(mask.unsqueeze(-1), y, 0)
        return y, GramState(past)

    def bucket(self, windows: Int[Tensor, "batch time order"]) -> Int[Tensor, "batch time lengths"]:
        """The bucket of the n-grams of each length from 2 on."""
        return buckets_of(windows, (2, self.order), self.buckets)

    def extra_repr(self) -> str:
        """Sizes, for printing."""
        return (
            f"tokens={self.tokens}, output_size={self.output_size}, order={self.order}, "
            f"buckets={self.buckets}, dropout={self.dropout}"
        )


def buckets_of(
    windows: Int[Tensor, "batch time last"], lengths: tuple[int, int], buckets: int
) -> Int[Tensor, "batch time lengths"]:
    """The bucket of each n-gram that ends where a window does.

    Args:
        windows: numbers of tokens from 1 on, 0 before the beginning; the newest last.
        lengths: of the shortest n-grams and of the longest.
        buckets: how many there are.
    """
    first, last = lengths
    found, seen = [], windows[..., -1]
    for back in range(1, last + 1):
        if back > 1:
            seen = (seen * MULTIPLIER + windows[..., -back]) & 0x7FFFFFFF
        if back >= first:
            found.append((seen ^ (seen >> 15)) * MULTIPLIER % buckets)
    return torch.stack(found, -1)


def windows_of(
    window: Window,
    numbers: Int[Tensor, "batch time"],
    past: Int[Tensor, "batch past"],
    mask: Bool[Tensor, "batch time"] | None,
    reset: Bool[Tensor, "batch time"] | None,
) -> tuple[Int[Tensor, "batch time size"], Int[Tensor, "batch past"]]:
    """The numbers that stand in the window of each step, and those that the next one reaches to."""
    # Whole numbers below 2**53: as doubles they pass a window of numbers unharmed.
    before = WindowState(past.double().unsqueeze(-1))
    found, after = window.run(numbers.double().unsqueeze(-1), before, mask, reset)
    return found.long(), after.past.squeeze(-1).long()
