"""Whether a model sees in which order the tokens of its source stand."""

from typing import NamedTuple

import torch

from throughtime.errors import InputError
from throughtime.models.chain import evaluating
from throughtime.models.encoder_decoder import EncoderDecoder
from throughtime.shapes import Bool, Float, Int, Tensor

__all__ = ["OrderSeen", "order_seen"]

ROUNDING = 100
"""Steps between two numbers next to 1 within which probabilities count as the same."""


class OrderSeen(NamedTuple):
    """How much answers depend on the order of the source.

    Attributes:
        answer: by how much another order changes the distribution of a token of the answer, on
            average over the answer: 0, not at all, to 1.
        first: the same of the first token alone.
        largest: the largest difference of any probability.
        orders: pairs of a source and another order of it that were compared.
        same: whether all probabilities are the same, but for rounding.
    """

    answer: float
    first: float
    largest: float
    orders: int
    same: bool

    def explain(self) -> str:
        """What these numbers say, in a sentence or two."""
        if self.same:
            return (
                "The answers to a source and to its tokens in another order are the same (largest "
                f"difference of a probability {self.largest:.0e}): the encoder sees which tokens "
                "there are and not where, as one without positions does."
            )
        much = "" if self.answer >= 0.01 else ", if barely"
        return (
            f"In another order the same tokens change the distribution of the first token of an "
            f"answer by {_percent(self.first)}, and by {_percent(self.answer)} on average over the "
            f"answer (0 %: not at all, 100 %: wholly): the encoder sees where tokens stand{much}."
        )


def order_seen(
    model: EncoderDecoder,
    x: Int[Tensor, "batch steps"],
    mask: Bool[Tensor, "batch steps"] | None = None,
    seed: int = 0,
    *,
    times: int = 4,
) -> OrderSeen:
    r"""How much the answers of a model change when its sources are shuffled.

    The tokens of each source but the last, which ends it, are put in another order $\pi$. The model
    writes its likeliest answer $\hat y$ to the source as it is, and is asked at each step how it
    would go on after either:

    $$\delta_t = \tfrac12 \sum_k \left| p(k \mid \hat y_{<t}, x) - p(k \mid \hat y_{<t}, x_\pi)
    \right|$$

    the total variation distance, from 0 to 1. A Transformer's encoder without positions is a
    function of the set of its tokens: what it makes of each goes with it to its new place, and a
    decoder that looks at them all by their content finds the same (Vaswani et al. 2017, section
    3.5). Then $\delta$ is 0 but for rounding, whatever the weights, and no training can teach such
    a model to reverse a word. That it is not 0 does not say that the order is read rightly.

    Args:
        model: its dropout is off meanwhile.
        x: sources, each with the token that ends it.
        mask: `[batch, steps]`, True where a token is real; any padding.
        seed: of the shuffling.
        times: other orders of each source.

    Returns:
        The means of $\delta$ over all sources and other orders; over the steps of an answer up to
        its end, which is the last token of the model, or to as many as its source has.

    Errors:
        InputError: no source with two different tokens before its last one.

    Examples:
        >>> from throughtime.models import ModelConfig, build_encoder_decoder
        >>> config = ModelConfig("transformer", tokens=9, source_tokens=9, position="none")
        >>> order_seen(build_encoder_decoder(config), torch.arange(6).expand(3, 6)).same
        True

    References:
        Vaswani et al. 2017, "Attention is all you need"; Lee et al. 2019, "Set Transformer: a
        framework for attention-based permutation-invariant neural networks".
    """
    if times < 1:
        raise InputError(f"order_seen: times is {times}, expected at least 1")
    real = torch.ones_like(x, dtype=torch.bool) if mask is None else mask
    generator = torch.Generator().manual_seed(seed)
    others = [_shuffled(x, real, generator) for _ in range(times)]
    changed = torch.stack([((other != x) & real).any(1) for other in others])  # (O, B)
    if not changed.any():
        raise InputError(
            "order_seen: no source changes when it is shuffled, expected one with two different "
            "tokens before its last one"
        )
    with torch.no_grad(), evaluating(model):
        found, counted = _side_by_side(model, torch.stack([x, *others]), mask, real)
    difference = (found[1:] - found[:1]).abs()  # (O, B, T, K)
    distance = difference.sum(-1) / 2
    counts = changed.unsqueeze(-1) & counted
    largest = float(difference.amax(-1)[counts].max())
    return OrderSeen(
        answer=float(distance[counts].mean()),
        first=float(distance[..., 0][changed].mean()),
        largest=largest,
        orders=int(changed.sum()),
        same=largest <= ROUNDING * torch.finfo(model.decoder.like().dtype).eps,
    )


def _shuffled(
    x: Int[Tensor, "batch steps"], real: Bool[Tensor, "batch steps"], generator: torch.Generator
) -> Int[Tensor, "batch steps"]:
    """The real tokens of each row but the last in another order; padding stays where it is."""
    after = real.flip(1).cumsum(1).flip(1)  # real tokens from here on
    free = real & (after > 1)
    drawn = torch.rand(x.shape, generator=generator).to(x.device)
    # Free places by chance, and as they stand; the others come after them, both times in order.
    by_chance = torch.where(free, drawn, 2).argsort(dim=1, stable=True)
    in_order = (~free).int().argsort(dim=1, stable=True)
    return x.scatter(1, in_order, x.gather(1, by_chance))


def _side_by_side(
    model: EncoderDecoder,
    sources: Int[Tensor, "orders batch steps"],
    mask: Bool[Tensor, "batch steps"] | None,
    real: Bool[Tensor, "batch steps"],
) -> tuple[Float[Tensor, "orders batch time tokens"], Bool[Tensor, "batch time"]]:
    """Each step's probabilities after every order, along the likeliest answer to the first.

    Beside them which steps belong to that answer.
    """
    orders, batch, steps = sources.shape
    marks = None if mask is None else mask.repeat(orders, 1)
    state = model.encode(sources.flatten(0, 1), marks)
    token = model.decoder.begin(orders * batch)[:, 0]
    goes_on = real.any(1)
    found, counted = [], []
    for time in range(steps):
        logits, state = model.decoder(token.unsqueeze(1), state)
        found.append(logits[:, 0].softmax(-1).unflatten(0, (orders, batch)))
        counted.append(goes_on & (time < real.sum(1)))
        best = found[-1][0].argmax(-1)
        goes_on = goes_on & (best != model.head.size - 1)
        token = best.repeat(orders)
        if not goes_on.any():
            break
    return torch.stack(found, dim=2), torch.stack(counted, dim=1)


def _percent(share: float) -> str:
    """0.834 -> 83 %."""
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"
