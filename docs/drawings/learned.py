"""Small networks that learn something in a second, for the drawings to show."""

import functools
from collections.abc import Callable
from typing import NamedTuple, ParamSpec, TypeVar

import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

from throughtime import GRU, LSTM, RNN, Linear, Stack
from throughtime.layers import Embedding, Position, SelfAttention
from throughtime.models import (
    Autoregressive,
    Categorical,
    EncoderDecoder,
    ModelConfig,
    TokenInputs,
    build_encoder_decoder,
)
from throughtime.shapes import Float, Int, Tensor

P = ParamSpec("P")
T = TypeVar("T")

WORD = "hello"
LETTERS = "helo"
SOURCE_LETTERS = 8
SOURCE_LENGTH = 6
HEAD_LETTERS = 12
BACK = (1, 3)
"""What the heads of `several_heads` have to find: the letters so many steps back, and the first."""


def from_seed(seed: int) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Run once, with chance begun at a seed, and leave chance elsewhere as it was."""

    def wrapped(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> T:
            with torch.random.fork_rng(devices=[]), torch.enable_grad():
                torch.manual_seed(seed)
                return function(*args, **kwargs)

        return functools.cache(run)  # pyright: ignore

    return wrapped


def minimise(
    model: nn.Module, loss: Callable[[], Tensor], steps: int, learning_rate: float
) -> nn.Module:
    """Adam with a clipped gradient and a rate that rises, and falls to nothing in the end."""
    optimiser = torch.optim.Adam(model.parameters(), lr=learning_rate)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=steps)
    for _ in range(steps):
        optimiser.zero_grad()
        loss().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        rates.step()
    return model.eval()


@from_seed(0)
def speller() -> tuple[RNN, Linear]:
    """An RNN that names the next letter of "hello", and after the last the first."""
    rnn, head = RNN(len(LETTERS), 6), Linear(6, len(LETTERS))
    network, x = Stack(rnn, head), one_by_one(WORD, LETTERS)
    target = x[0].argmax(-1).roll(-1)
    minimise(network, lambda: cross_entropy(network(x)[0][0], target), 40, 0.1)
    return rnn, head


def one_by_one(word: str, letters: str) -> Float[Tensor, "1 time letters"]:
    """A word as a sequence of vectors with a single 1."""
    ids = torch.tensor([[letters.index(letter) for letter in word]])
    return one_hot(ids, len(letters)).float()


@from_seed(0)
def word_model(words: tuple[str, ...], letters: str) -> Autoregressive:
    """A latent autoregressive model, a GRU, that has learnt some words of one length by heart."""
    size = len(letters)
    model = Autoregressive(TokenInputs(size, 6), GRU(6, 6), Categorical(6, size))
    x = torch.tensor([[letters.index(letter) for letter in word] for word in words])
    minimise(model, lambda: -model.log_prob(x).mean(), 120, 0.1)
    return model


class Marked(NamedTuple):
    """A sequence in which some steps are marked.

    Attributes:
        x: `[batch, time, 2]`: a value, and 1 where it is marked.
        target: `[batch, time]`: the last value that was marked; 0 before the first.
    """

    x: Float[Tensor, "batch time 2"]
    target: Float[Tensor, "batch time"]


def marked(batch: int, time: int, often: float = 0.15) -> Marked:
    """Values between -1 and 1, of which a few are to be remembered until the next."""
    value = 2 * torch.rand(batch, time) - 1
    mark = (torch.rand(batch, time) < often).float()
    return Marked(torch.stack([value, mark], dim=-1), last_marked(value, mark))


def last_marked(
    value: Float[Tensor, "batch time"], mark: Float[Tensor, "batch time"]
) -> Float[Tensor, "batch time"]:
    """The value of the latest marked step; 0 before the first."""
    steps = torch.arange(value.shape[1])
    since = torch.where(mark > 0, steps, -1).cummax(1).values
    return torch.where(since >= 0, value.gather(1, since.clamp(min=0)), 0)


@from_seed(0)
def rememberer(cell: str) -> LSTM | GRU:
    """An LSTM or a GRU of two units that has learnt to keep the last marked value.

    Their signs are turned so that the answer is a sum of them with positive weights.
    """
    layer = LSTM(2, 2) if cell == "lstm" else GRU(2, 2)
    head = Linear(2, 1)
    network = Stack(layer, head)

    def loss() -> Tensor:
        x, target = marked(32, 24)
        return (network(x)[0].squeeze(-1) - target).square().mean()

    minimise(network, loss, 400, 0.1)
    for unit, weight in enumerate(head.weight[0].tolist()):
        if weight < 0:
            turn(layer, unit)
    return layer


@torch.no_grad()
def turn(layer: LSTM | GRU, unit: int) -> None:
    """Change the sign of what a unit keeps and shows, and nothing else.

    Whether a unit keeps values or their negatives is chance. Gates stay what they are if others
    read the unit with the other sign; its candidate, the third block, is made with the other sign.
    """
    layer.weight_hidden[:, unit] *= -1
    row = 2 * layer.hidden_size + unit
    for weight in (layer.weight_input, layer.weight_hidden, layer.bias):
        weight[row] *= -1
    if isinstance(layer, GRU) and layer.bias_hidden is not None:
        layer.bias_hidden[unit] *= -1


def spelt_backwards(batch: int) -> tuple[Int[Tensor, "batch steps"], Int[Tensor, "batch steps"]]:
    """Random words, and the same backwards."""
    source = torch.randint(SOURCE_LETTERS, (batch, SOURCE_LENGTH))
    return source, source.flip(1)


@from_seed(0)
def reverser() -> EncoderDecoder:
    """A Transformer that spells words of six letters backwards."""
    config = ModelConfig(
        "transformer", tokens=SOURCE_LETTERS, source_tokens=SOURCE_LETTERS, width=32, heads=2,
        layers=1, position="learned",
    )  # fmt: skip
    model = build_encoder_decoder(config)

    def loss() -> Tensor:
        source, target = spelt_backwards(32)
        return -model.log_prob(source, target).mean()

    minimise(model, loss, 220, 0.02)
    return model


@from_seed(0)
def several_heads() -> Stack:
    """Three heads that repeat the letter before, the third before, and the first of a sequence."""
    letters, size, time = HEAD_LETTERS, 48, 10
    attention = SelfAttention(size, heads=3, horizon=time)
    embedding, position, head = Embedding(letters, size), Position(size), Linear(size, 3 * letters)
    network = Stack(embedding, position, attention, head)

    def loss() -> Tensor:
        x = torch.randint(letters, (32, time))
        targets = torch.stack([*(x.roll(k, 1) for k in BACK), x[:, :1].expand_as(x)], dim=-1)
        found = network(x)[0].unflatten(-1, (3, letters))[:, max(BACK) :]
        return cross_entropy(found.flatten(0, 2), targets[:, max(BACK) :].flatten())

    minimise(network, loss, 200, 0.02)
    return network
