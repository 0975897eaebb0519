"""The Transformer and its block as boxes, with sizes read off real models."""

import functools
from typing import Any, NamedTuple

import torch
from torch import nn

from drawings.canvas import Box, Canvas
from drawings.learned import from_seed
from throughtime import inspect
from throughtime.inspect.drawing import Figure
from throughtime.inspect.theme import Theme
from throughtime.layers import CrossAttention, SelfAttention, TransformerBlock
from throughtime.models import EncoderDecoder, ModelConfig, build_encoder_decoder

BASE = ModelConfig(
    "transformer", tokens=37_000, source_tokens=37_000, width=512, heads=8, layers=6,
    position="sinusoidal", tied=True, shared=True,
)  # fmt: skip
"""The base model of Vaswani et al. 2017, table 3, with one vocabulary for both languages."""


def weights(module: nn.Module) -> str:
    """How many numbers a module learns, in millions from there on."""
    count = sum(parameter.numel() for parameter in module.parameters())
    return f"{count / 1e6:.1f} million" if count >= 1e6 else f"{count:,}"


@functools.cache
def base_model() -> EncoderDecoder:
    """The model in all its sizes, without memory for its numbers."""
    with torch.device("meta"):
        return build_encoder_decoder(BASE)


def blocks(stack: nn.Module) -> list[TransformerBlock]:
    """Those of an encoder or a decoder."""
    return [layer for layer in stack.modules() if isinstance(layer, TransformerBlock)]


def transformer(theme: Theme) -> Figure:
    """Encoder blocks, the memory, decoder blocks."""
    model = base_model()
    encoder, decoder = blocks(model.encoder), blocks(model.decoder)
    canvas = Canvas(
        theme, 466, "The encoder reads, the decoder looks at what it made",
        f"the base model of “Attention is all you need”: {weights(model)} weights, of these "
        f"encoder {weights(model.encoder)}",
    )  # fmt: skip
    left, right = 106.0, 394.0
    _entrance(canvas, left, "source tokens", model.source)
    _entrance(canvas, right, "target tokens so far", model.decoder.inputs)
    _frame(canvas, left, 124, 268, f"{len(encoder)} ×", -1)
    _frame(canvas, right, 124, 336, f"{len(decoder)} ×", 1)

    _sublayer(canvas, left, 166, "self-attention", heads(encoder[0].attention), -1)
    _sublayer(canvas, left, 234, "feed-forward", inner(encoder[0]), -1)
    _sublayer(canvas, right, 166, "causal self-attention", heads(decoder[0].attention), 1)
    cross = decoder[0].cross_attention
    assert cross is not None
    looks = _sublayer(canvas, right, 234, "cross-attention", heads(cross), 1)
    _sublayer(canvas, right, 302, "feed-forward", inner(decoder[0]), 1)

    memory = canvas.box(left, 302, 132, 34, colour="state")
    canvas.text(left, 309, "memory")
    canvas.text(left, 295, f"[steps, {model.encoder.output_size}]", "state")
    canvas.arrow((left, 268), memory.bottom, "state", 1.4)
    canvas.wire([memory.right, (270, 302), (270, 234), looks.left], "state", 1.6)
    canvas.text(264, 268, "keys,\nvalues", "state", ha="right")

    output: Any = model.decoder.head
    head = canvas.box(right, 366, 132, 30, f"linear, softmax: {output.size:,}", "output")
    canvas.arrow((right, 336), head.bottom, "output", 1.4)
    canvas.arrow(head.top, (right, 400), "output", 1.4)
    canvas.text(right, 411, "$p(y_t\\,|\\,y_1, \\ldots, y_{t-1}, x)$", "output", size=10.5)
    return canvas.figure


def heads(attention: SelfAttention | CrossAttention) -> str:
    """Heads and their size."""
    return f"{attention.heads} heads of {attention.head_size}"


def inner(block: TransformerBlock) -> str:
    """Sizes of the feed-forward layer."""
    layer = block.feed_forward
    return f"{layer.input_size} → {layer.hidden_size:,} → {layer.output_size}"


def _entrance(canvas: Canvas, x: float, name: str, inputs: Any) -> None:
    """Tokens become vectors, and are told where they stand."""
    tokens, size = inputs.embedding.weight.shape
    canvas.text(x, 22, name, "input", size=10)
    box = canvas.box(x, 76, 140, 40, colour="input")
    canvas.text(x, 83, f"embedding {tokens:,} × {size}")
    canvas.text(x, 69, "+ position")
    canvas.arrow((x, 30), box.bottom, "input", 1.4)
    canvas.arrow(box.top, (x, 149), "plain", 1.4)


def _frame(canvas: Canvas, x: float, bottom: float, top: float, times: str, side: int) -> None:
    canvas.box(x, (bottom + top) / 2, 196, top - bottom, filled=0, dashed=True)
    canvas.text(x - side * 78, bottom + 13, times, size=12, weight="bold")


def _sublayer(canvas: Canvas, x: float, y: float, name: str, sizes: str, side: int) -> Box:
    """A layer whose answer is added to what it was asked, and normed."""
    colour = "attention" if "attention" in name else "plain"
    box = canvas.box(x, y, 132, 34, colour=colour)
    canvas.text(x, y + 7, name)
    canvas.text(x, y - 7, sizes, "muted")
    canvas.circle(x, y + 26, 5.5, "+", filled=0.04)
    canvas.wire([(x, y - 24), (x + side * 82, y - 24), (x + side * 82, y + 26),
                 (x + side * 5.5, y + 26)], "plain")  # fmt: skip
    canvas.arrow((x, y + 31), (x, y + 51), "plain", 1.1)
    return box


class BlockSeen(NamedTuple):
    """A block, and how large what it adds is beside the stream.

    Attributes:
        block: as it was made.
        attention: the norm of what attention adds over that of the stream it is added to.
        feed_forward: likewise.
        steps: of the sequence.
    """

    block: TransformerBlock
    attention: float
    feed_forward: float
    steps: int


@from_seed(0)
def block_seen() -> BlockSeen:
    """Run a fresh block over random vectors."""
    block, x = TransformerBlock(64, heads=4, causal=False), torch.randn(1, 10, 64)
    with inspect.record(block, "after_attention", "residual") as trace:
        block(x)
    between, after = trace["after_attention"], trace["residual"]
    return BlockSeen(
        block,
        float((between - x).norm() / x.norm()),
        float((after - between).norm() / between.norm()),
        x.shape[1],
    )


def encoder_block(theme: Theme) -> Figure:
    """The stream with what is read from it and added to it."""
    seen = block_seen()
    block, size = seen.block, seen.block.input_size
    canvas = Canvas(
        theme, 270, "A block reads from the stream, and adds to it",
        "attention mixes steps, feed-forward treats each by itself; nothing is overwritten",
    )  # fmt: skip
    low, high = 84.0, 172.0
    canvas.text(14, low, "$x$", "state", size=12)
    for start, end, layer, words, share in (
        (60, 238, block.attention, ["self-attention", heads(block.attention)], seen.attention),
        (276, 454, block.feed_forward, ["feed-forward", inner(block)], seen.feed_forward),
    ):
        add = canvas.circle(end, low, 10, "+", "ink", size=11, filled=0.04)
        norm = canvas.box(start + 34, high, 40, 34, "norm")
        colour = "attention" if layer is block.attention else "plain"
        box = canvas.box(start + 118, high, 96, 46, colour=colour)
        canvas.text(box.x, high + 9, words[0])
        canvas.text(box.x, high - 8, words[1], "muted")
        canvas.text(box.x, high + 36, f"{weights(layer)} weights", "muted")
        canvas.dot(start, low, "state")
        canvas.wire([(start, low), (start, high), norm.left], "plain", 1.4)
        canvas.arrow(norm.right, box.left, "plain", 1.4)
        canvas.wire([box.right, (end, high), add.top], "plain", 1.4)
        canvas.text(end - 6, low + 42, f"adds {share:.2f} of\nthe stream’s size", ha="right")
        canvas.wire([(22 if start == 60 else 248, low), (start, low)], "state", 3, head=False)
        canvas.arrow((start, low), add.left, "state", 3)
    canvas.arrow((464, low), (490, low), "state", 3)
    canvas.text(496, low, "$y$", "state", size=12)
    for x in (36, 264, 476):
        canvas.text(x, low - 16, f"[{seen.steps}, {size}]", "state")
    canvas.text(149, low - 16, "residual stream: steps, features", "muted")
    canvas.text(4, 26, "x′ = x + Attention(Norm(x)),     y = x′ + FeedForward(Norm(x′))", ha="left",
                size=10.5, style="italic")  # fmt: skip
    return canvas.figure
