"""Attention: the matrices of one head, several heads, and a look at another sequence."""

import functools
from typing import NamedTuple

import torch

from drawings.canvas import Canvas
from drawings.learned import BACK, HEAD_LETTERS, SOURCE_LETTERS, from_seed, reverser, several_heads
from throughtime import inspect
from throughtime.decoding import Sampling, generate
from throughtime.inspect.drawing import Figure
from throughtime.inspect.theme import Theme
from throughtime.layers import SelfAttention
from throughtime.shapes import Float, Tensor

WORDS = {1: "one", 3: "three"}
SENTENCE = ("the", "cat", "sat", "down")
ALPHABET = "abcdefghijkl"
SOURCE = "chafed"


@from_seed(4)
def one_head() -> dict[str, Float[Tensor, "rows columns"]]:
    """Everything that one head computes of four tokens, by name."""
    layer = SelfAttention(3, heads=1, causal=False, bias=False)
    x = 1.6 * torch.randn(1, len(SENTENCE), 3)
    with inspect.record(layer) as trace:
        layer(x)
    return {name: value.flatten(0, -3)[0] for name, value in trace.items()}


def attention(theme: Theme) -> Figure:
    """Queries, keys, scores, softmax, values: real numbers."""
    seen = one_head()
    canvas = Canvas(
        theme, 350, "Each token takes a mean of values, weighed by how well keys match",
        f"one head, {len(SENTENCE)} tokens, $d_k$ = {seen['queries'].shape[-1]}; "
        "numbers as computed",
    )  # fmt: skip
    upper, lower = 226.0, 76.0
    spread = float(max(seen[name].abs().max() for name in ("queries", "keys", "scores")))

    def table(x: float, y: float, name: str, words: str, rows: bool = False) -> None:  # noqa: FBT001, FBT002
        values = seen[name].T if name == "keys" else seen[name]
        share = name == "attention"
        box = canvas.table(
            x, y, values, (31, 20), "attention" if share else None, form=".2f" if share else ".1f",
            rows=SENTENCE if rows else (), columns=SENTENCE if values.shape[1] == 4 else (),
            scale=1.0 if share else spread,
        )  # fmt: skip
        canvas.text(x, y + box.height / 2 + (21 if values.shape[1] == 4 else 10), words, size=10,
                    weight="bold")  # fmt: skip

    table(84, upper, "queries", "queries $Q$", rows=True)
    canvas.text(144, upper, "·", size=16)
    table(222, upper, "keys", "keys $K^\\top$")
    canvas.text(314, upper, "÷ √$d_k$  =", size=11)
    table(414, upper, "scores", "scores")
    canvas.wire([(414, upper - 44), (414, 156), (100, 156), (100, 146)], "attention", 1.6)
    canvas.text(257, 164, "softmax of each row", "attention")
    table(100, lower, "attention", "attention", rows=True)
    canvas.text(182, lower, "·", size=16)
    table(247, lower, "values", "values $V$")
    canvas.text(318, lower, "=", size=13)
    table(414, lower, "heads", "what each token finds", rows=True)
    canvas.text(4, 12, "blue above 0, yellow below; each row of the attention adds up to 1",
                "muted", ha="left")  # fmt: skip
    return canvas.figure


class HeadsSeen(NamedTuple):
    """Three heads over one sequence.

    Attributes:
        letters: of the sequence.
        maps: `[heads, time, steps]`.
        found: `[heads, head_size]`, what each head found at the last step.
        output: `[size]`, what the last matrix makes of them.
    """

    letters: str
    maps: Float[Tensor, "heads time steps"]
    found: Float[Tensor, "heads head"]
    output: Float[Tensor, " size"]


@from_seed(7)
def heads_seen() -> HeadsSeen:
    """Run the trained layer over a sequence of different letters."""
    network = several_heads()
    x = torch.randperm(HEAD_LETTERS)[:10].unsqueeze(0)
    with inspect.record(network, "*.attention", "*.heads", "*.output") as trace:
        network(x)
    maps, heads, output = (value[0] for value in trace.values())
    letters = "".join(ALPHABET[place] for place in x[0].tolist())
    return HeadsSeen(letters, maps, heads[:, -1], output[-1])


def looks_at(weights: Float[Tensor, "time steps"]) -> tuple[str, float]:
    """Where a head looks, and how much on average, of the places that it could have learnt."""
    late = weights[max(BACK) :]
    shares = {f"{WORDS[k]} back": _share(weights, k) for k in BACK}
    shares["the first"] = float(late[:, 0].mean())
    return max(shares.items(), key=lambda item: item[1])


def _share(weights: Tensor, back: int) -> float:
    return float(weights.diagonal(-back)[max(BACK) - back + 1 :].mean())


def multi_head(theme: Theme) -> Figure:
    """What each head looks at, side by side, and how their answers become one."""
    seen = heads_seen()
    size = len(seen.output)
    canvas = Canvas(
        theme, 380, "Each head has learnt to look elsewhere",
        "one layer, trained to repeat the letter before, the third before, and the first",
    )  # fmt: skip
    for head, (weights, found) in enumerate(zip(seen.maps, seen.found, strict=True)):
        x = 88.0 + 166 * head
        name, share = looks_at(weights)
        causal = torch.where(torch.ones_like(weights).tril().bool(), weights, torch.nan)
        box = canvas.table(x, 238, causal, 13.5, "attention", gap=1,
                           rows=seen.letters, columns=seen.letters)  # fmt: skip
        canvas.text(x, 331, f"head {head + 1}: {name}, {100 * share:.0f} %", size=10, weight="bold")
        canvas.table(x, 126, found, (9.2, 13), scale=float(seen.found.abs().max()), gap=1)
        canvas.arrow((x, box.bottom[1] - 4), (x, 135), "attention", 1.4)
        canvas.wire([(x, 118), (x, 104), (254, 104), (254, 92)], "plain", 1.4, head=head == 1)
    canvas.box(254, 78, 120, 26, f"$W_O$: {size} × {size}")
    canvas.arrow((254, 64), (254, 46), "plain", 1.4)
    canvas.table(254, 36, seen.output, (9.2, 13), scale=float(seen.output.abs().max()), gap=1)
    sizes = f"{len(seen.found)} × {seen.found.shape[1]} = {size}"
    canvas.text(332, 78, f"side by side: {sizes} numbers", "muted", ha="left")  # fmt: skip
    canvas.text(4, 12, f"rows look at columns; the cells below are those of the last step, "
                f"“{seen.letters[-1]}”", "muted", ha="left")  # fmt: skip
    return canvas.figure


class Alignment(NamedTuple):
    """What the decoder looked at in the source.

    Attributes:
        weights: `[time, steps]`, the mean of all heads.
        answer: what it wrote.
        chances: of each letter of it.
    """

    weights: Float[Tensor, "time steps"]
    answer: str
    chances: list[float]


@functools.cache
@torch.no_grad()
def alignment() -> Alignment:
    """Let the trained model write the word backwards, and look at its cross-attention."""
    model = reverser()
    letters = ALPHABET[:SOURCE_LETTERS]
    x = torch.tensor([[letters.index(letter) for letter in SOURCE]])
    written = generate(model.decoder, model.decoder.begin(1), len(SOURCE), state=model.encode(x),
                       sampling=Sampling(greedy=True)).tokens  # fmt: skip
    previous = torch.cat([model.decoder.begin(1), written[:, :-1]], dim=1)
    with inspect.record(model, "*.cross_attention.attention") as trace:
        logits, _ = model(x, previous)
    (weights,) = trace.values()
    best = logits[0].softmax(-1).max(-1)
    answer = "".join(letters[place] for place in best.indices.tolist())
    return Alignment(weights[0].mean(0), answer, best.values.tolist())


def cross_attention(theme: Theme) -> Figure:
    """Queries of the decoder meet keys and values of the encoder."""
    seen = alignment()
    canvas = Canvas(
        theme, 352, "The decoder asks, the encoder’s keys and values answer",
        f"a Transformer that writes “{SOURCE}” backwards has learnt to look from the end",
    )  # fmt: skip
    wide, high, x, y = 42.0, 27.0, 262.0, 112.0
    left, top = x - wide * 3, y + high * 3
    canvas.box(x, top + 84, wide * 6 + 12, 30, "encoder", "state", size=10)
    canvas.text(left - 12, top + 40, "keys, values", "state", ha="right")
    decoder = canvas.box(left - 118, y, 30, high * 6, colour="attention")
    canvas.text(decoder.x, y, "decoder", size=10, rotation=90)
    canvas.text(left - 66, top + 12, "queries", "attention")
    canvas.table(x, y, 100 * seen.weights, (wide, high), "attention", form=".0f", scale=100)
    before = "▸" + seen.answer[:-1]
    for step, letter in enumerate(SOURCE):
        column, row = left + wide * (step + 0.5), top - high * (step + 0.5)
        canvas.text(column, top + 108, letter, "input", size=12)
        canvas.arrow((column, top + 68), (column, top + 6), "state", 1.4)
        canvas.text(left - 84, row, before[step], "input", size=12)
        canvas.arrow((left - 74, row), (left - 6, row), "attention", 1.4)
        canvas.arrow((left + wide * 6 + 6, row), (left + wide * 6 + 36, row), "output", 1.4)
        canvas.text(left + wide * 6 + 44, row, f"{seen.answer[step]}", "output", size=12, ha="left")
        canvas.text(left + wide * 6 + 58, row, f"{100 * seen.chances[step]:.0f} %", "muted",
                    ha="left")  # fmt: skip
    canvas.text(left + wide * 6 + 36, top + 12, "writes", "output", ha="left")
    canvas.text(4, 10, "cells: attention in percent; each row is a step of the answer; ▸ begins it",
                "muted", ha="left")  # fmt: skip
    return canvas.figure
