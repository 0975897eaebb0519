"""What loaders and savers of Transformers ask of a body."""

import math

from throughtime.errors import InputError
from throughtime.interop.options import WRITTEN
from throughtime.layers import Dropout, Norm, Position, Stack, TransformerBlock


def blocks_of(body: Stack) -> list[TransformerBlock]:
    """The blocks of an encoder or a decoder."""
    return [layer for layer in body.layers if isinstance(layer, TransformerBlock)]


def dropout_of(body: Stack) -> float:
    """Of the input and of the sums."""
    return blocks_of(body)[0].dropout.p


def position_of(body: Stack) -> Position | None:
    """Positions that are added to the input."""
    return next((layer for layer in body.layers if isinstance(layer, Position)), None)


def refuse_unlike(kind: str, body: Stack, *, norm_first: bool, position: str, memory: bool) -> None:
    """Refuse a body that the files have no place for.

    Args:
        kind: what errors begin with.
        body: an encoder or a decoder.
        norm_first: where norms must be.
        position: of the input; `none` for an encoder whose input has them already.
        memory: whether blocks must look at one.

    Errors:
        InputError: it names the first difference.
    """

    def differs(what: str, came: object, expected: object) -> InputError:
        return InputError(f"{kind}: {what} is {came!r}, expected {expected}")

    added = position_of(body)
    found = "none" if added is None else added.kind
    if found != position:
        raise differs("position", found, repr(position))
    blocks = blocks_of(body)
    for block in blocks:
        attention, feed = block.attention, block.feed_forward
        if attention.position != "none":
            raise differs("position of attention", attention.position, "'none'")
        if attention.kv_heads != attention.heads:
            raise differs("kv_heads", attention.kv_heads, f"{attention.heads}, as many as heads")
        if attention.bias_input is None:
            raise differs("bias of attention", "off", "shifts")
        if feed.activation not in WRITTEN or feed.bias_input is None:
            raise differs("activation", feed.activation, f"one of {[*WRITTEN]}, with shifts")
        if block.norm_first is not norm_first:
            raise differs("norm_first", block.norm_first, norm_first)
        if (block.cross_attention is not None) is not memory:
            raise differs("memory", block.cross_attention is not None, memory)
    norms = [layer for layer in body.modules() if isinstance(layer, Norm)]
    for norm in norms:
        if norm.kind != "layer":
            raise differs("norm", norm.kind, "'layer'")
    if len({norm.epsilon for norm in norms}) > 1:
        raise differs("norm_epsilon", sorted({norm.epsilon for norm in norms}), "one for all norms")
    forms = {
        (b.attention.heads, b.attention.horizon, b.feed_forward.activation,
         b.feed_forward.hidden_size, b.dropout.p)
        for b in blocks
    }  # fmt: skip
    if len(forms) > 1 or any(type(layer) is not TransformerBlock for layer in blocks):
        raise differs("number of forms of blocks", len(forms), 1)
    known = (Position, Dropout, Norm, TransformerBlock)
    for layer in body.layers:
        if not isinstance(layer, known):
            raise differs("a layer of the body", type(layer).__name__, "positions, blocks, a norm")


def sinusoidal_order(size: int) -> list[int]:
    """Where feature i of ours stands where sines come first and cosines after them.

    Ours are in pairs, sine and cosine of one speed. What a Transformer computes does not depend on
    how the features of its stream are numbered, if all that reads and writes it agrees.
    """
    return [index // 2 + (index % 2) * math.ceil(size / 2) for index in range(size)]
