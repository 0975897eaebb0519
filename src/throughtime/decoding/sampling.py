r"""Which token comes next, out of what the model expects.

Each function takes logits $x$, `[batch, tokens]`, of which $p = \operatorname{softmax}(x)$, and
gives them back changed; a token that is ruled out has $-\infty$.
"""

import math
from dataclasses import dataclass

import torch

from throughtime.decoding.randomness import widest
from throughtime.errors import InputError
from throughtime.shapes import Bool, Float, Int, Tensor


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    What is not at its default is applied in the order that Hugging Face transformers keeps:
    repetition penalty, temperature, top-k, top-p, min-p. Each looks at what the ones before it
    left, so that top-p counts only the tokens that top-k kept.

    Errors:
        InputError: a number out of its range, or `greedy` beside what only matters for chance.

    Examples:
        >>> logits = torch.tensor([[2.0, 1.0, 0.0]])
        >>> Sampling(top_k=2)(logits, uniform=torch.tensor([0.99])).tolist()
        [1]
        >>> Sampling(greedy=True)(logits).tolist()
        [0]
    """

    temperature: float = 1.0
    """Logits are divided by it: below 1 the likely gets likelier."""

    top_k: int | None = None
    """Only that many of the likeliest tokens."""

    top_p: float | None = None
    """Only the likeliest tokens that together have at least this probability."""

    min_p: float | None = None
    """Only tokens with at least this share of the likeliest token's probability."""

    repetition_penalty: float = 1.0
    """Above 1, tokens of the prompt and of what was written so far get less likely."""

    greedy: bool = False
    """The likeliest token, always; of several the first."""

    def __post_init__(self) -> None:
        k, p, least = self.top_k, self.top_p, self.min_p
        for name, inside, expected in (
            ("temperature", 0 < self.temperature < math.inf, "a number above 0"),
            ("repetition_penalty", 0 < self.repetition_penalty < math.inf, "a number above 0"),
            ("top_k", k is None or (k >= 1 and not isinstance(k, bool)), "at least 1"),
            ("top_p", p is None or 0 < p <= 1, "a probability above 0, up to 1"),
            ("min_p", least is None or 0 <= least <= 1, "a share from 0 to 1"),
        ):
            if not inside:
                raise InputError(f"{name} is {getattr(self, name)}, expected {expected}")
        if self.greedy:
            for name in ("temperature", "top_k", "top_p", "min_p"):
                value = getattr(self, name)
                if value != getattr(Sampling, name):
                    raise InputError(
                        f"{name} is {value}, expected none: greedy leaves nothing to chance"
                    )

    def __call__(
        self,
        logits: Float[Tensor, "batch tokens"],
        seen: Bool[Tensor, "batch tokens"] | None = None,
        uniform: Float[Tensor, " batch"] | None = None,
    ) -> Int[Tensor, " batch"]:
        """The token of each row.

        Args:
            logits: of all tokens.
            seen: which tokens the row has had; for the repetition penalty.
            uniform: a random number in [0, 1) for each row; not for `greedy`.
        """
        logits = logits.to(widest(logits.device))  # sums over a vocabulary are long
        if self.repetition_penalty != 1 and seen is not None:
            logits = penalise(logits, seen, self.repetition_penalty)
        if self.greedy or uniform is None:
            return logits.argmax(-1)
        if self.temperature != 1:
            logits = temper(logits, self.temperature)
        if self.top_k is not None:
            logits = keep_top_k(logits, self.top_k)
        if self.top_p is not None:
            logits = keep_top_p(logits, self.top_p)
        if self.min_p is not None:
            logits = keep_min_p(logits, self.min_p)
        return pick(logits, uniform)


def penalise(
    logits: Float[Tensor, "batch tokens"], seen: Bool[Tensor, "batch tokens"], penalty: float
) -> Float[Tensor, "batch tokens"]:
    r"""Tokens that were seen get less likely, if the penalty $\theta$ is above 1.

    $x_i / \theta$ where $x_i > 0$, and $x_i \theta$ where it is not. It depends on where the zero
    of the logits lies, which probabilities do not: the same penalty acts more strongly on a model
    whose logits are log probabilities, as those of an n-gram.

    References:
        Keskar et al. 2019, "CTRL: A conditional transformer language model for controllable
        generation", https://arxiv.org/abs/1909.05858
    """
    penalised = torch.where(logits > 0, logits / penalty, logits * penalty)
    return torch.where(seen, penalised, logits)


def temper(
    logits: Float[Tensor, "batch tokens"], temperature: float
) -> Float[Tensor, "batch tokens"]:
    r"""$x / T$, the largest moved to 0 first, so that no temperature is too low.

    References:
        Ackley, Hinton and Sejnowski 1985, "A learning algorithm for Boltzmann machines".
    """
    return (logits - logits.amax(-1, keepdim=True)) / temperature


def keep_top_k(logits: Float[Tensor, "batch tokens"], k: int) -> Float[Tensor, "batch tokens"]:
    """The k largest, and those that equal the last of them.

    References:
        Fan, Lewis and Dauphin 2018, "Hierarchical neural story generation",
        https://arxiv.org/abs/1805.04833
    """
    last = logits.topk(min(k, logits.shape[-1]), dim=-1).values[:, -1:]
    return torch.where(logits < last, -torch.inf, logits)


def keep_top_p(logits: Float[Tensor, "batch tokens"], p: float) -> Float[Tensor, "batch tokens"]:
    """The nucleus: the likeliest tokens, as few as have probability p together.

    A token stays if all that are likelier have less than p; of equals the first comes first.

    References:
        Holtzman et al. 2020, "The curious case of neural text degeneration",
        https://arxiv.org/abs/1904.09751
    """
    ranked, order = logits.sort(dim=-1, descending=True, stable=True)
    share = ranked.softmax(-1)
    likelier = share.cumsum(-1) - share
    ranked = torch.where(likelier < p, ranked, -torch.inf)
    return torch.empty_like(logits).scatter_(-1, order, ranked)


def keep_min_p(logits: Float[Tensor, "batch tokens"], p: float) -> Float[Tensor, "batch tokens"]:
    r"""Tokens with $p_i \ge p \cdot \max_j p_j$.

    References:
        Nguyen et al. 2024, "Turning up the heat: min-p sampling for creative and coherent LLM
        outputs", https://arxiv.org/abs/2407.01082
    """
    share = logits.softmax(-1)
    return torch.where(share < p * share.amax(-1, keepdim=True), -torch.inf, logits)


def pick(
    logits: Float[Tensor, "batch tokens"], uniform: Float[Tensor, " batch"]
) -> Int[Tensor, " batch"]:
    r"""The token in whose part of [0, 1) the random number falls: the inverse of the distribution.

    The first $i$ with $p_0 + \ldots + p_i > u$. One number per token chosen, whatever the size of
    the vocabulary; a token of probability 0 is never chosen.
    """
    mass = logits.softmax(-1).cumsum(-1)
    mass = mass / mass[:, -1:]  # ends at exactly 1, which is above every u
    return torch.searchsorted(
        mass, uniform.to(mass).unsqueeze(-1).contiguous(), right=True
    ).squeeze(-1)
