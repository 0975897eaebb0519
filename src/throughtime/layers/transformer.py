"""The Transformer: blocks on top of each other, that see all around or the past only."""

from typing import Any

import torch

from throughtime.errors import InputError
from throughtime.layers.base import Layer, check_size
from throughtime.layers.block import TransformerBlock
from throughtime.layers.position import ABSOLUTE, POSITIONS, Position, check_position
from throughtime.layers.stack import Stack
from throughtime.layers.stateless import Dropout, Norm
from throughtime.shapes import Bool, Float, Tensor
from throughtime.state import State


class Encoder(Stack):
    """Blocks that let every step see the whole input.

    Args:
        size: features per step, in and out.
        heads: of attention.
        layers: blocks.
        position: how the order of steps is told; `sinusoidal` or `learned` are added to what comes
            in, once.
        length: learned positions.
        dropout: of what is added in the blocks, and of the input with its positions; in [0, 1).
        stochastic_depth: of the last block, the first has none and those between rise evenly.
        options: of [`TransformerBlock`][throughtime.layers.TransformerBlock].

    Shapes:
        - `x`, `output`: `[batch, time, size]`; padded steps give zeros.
        - `state`: `()`.
        - `mask`, `reset`: `[batch, time]`, see [`Layer`][throughtime.layers.Layer].

    The last matrix of each sum starts smaller, by the root of the number of sums, so that a deep
    encoder starts as calm as a flat one (Radford et al. 2019, section 2.3).

    Examples:
        >>> Encoder(8, heads=2, layers=3)(torch.randn(2, 7, 8))[0].shape
        torch.Size([2, 7, 8])

    References:
        Vaswani et al. 2017, "Attention is all you need".
    """

    def __init__(
        self,
        size: int,
        heads: int,
        layers: int,
        *,
        position: str = "sinusoidal",
        length: int = 1024,
        dropout: float = 0.0,
        **options: Any,
    ) -> None:
        _refuse_causal("Encoder", "Decoder", options)
        super().__init__(
            *_blocks(
                "Encoder", size, heads, layers, position, length, dropout, causal=False, **options
            )
        )
        _calm(self)


class Decoder(Stack):
    """Blocks that see the past only, and a memory where there is one.

    Without `memory_size` this is the body of a language model. With it, an encoder's output goes in
    by [`remember`][throughtime.layers.transformer.Decoder.remember], whose answer is the state to
    start from.

    The last matrix of each sum starts smaller, as in [`Encoder`][throughtime.layers.Encoder].

    Args:
        size: features per step, in and out.
        heads: of attention.
        layers: blocks.
        position: how the order of steps is told; `sinusoidal` or `learned` are added to what comes
            in, once.
        horizon: real steps that each block sees before its own.
        length: learned positions; None: twice the horizon.
        dropout: of what is added in the blocks, and of the input with its positions; in [0, 1).
        stochastic_depth: of the last block, the first has none and those between rise evenly.
        memory_size: features per step of the memory; None: there is none.
        options: of [`TransformerBlock`][throughtime.layers.TransformerBlock].

    Shapes:
        - `x`, `output`: `[batch, time, size]`; padded steps give zeros.
        - `state`: a tuple with a state for each of `layers`; `None` means nothing seen, and no
          memory.
        - `mask`, `reset`: `[batch, time]`, see [`Layer`][throughtime.layers.Layer].

    Laws:
        - Causal, with a receptive field of `layers * horizon + 1` real steps.
        - Chunkable: any split of time gives the same outputs, state and gradients.
        - Padding-invariant: what stands in a padded step changes nothing.

    Examples:
        >>> encoder, decoder = Encoder(8, 2, 1), Decoder(8, 2, 1, memory_size=8)
        >>> memory, _ = encoder(torch.randn(3, 5, 8))
        >>> state = decoder.remember(memory)
        >>> output, state = decoder(torch.randn(3, 7, 8), state)
        >>> output.shape
        torch.Size([3, 7, 8])

    References:
        Vaswani et al. 2017, "Attention is all you need"; Radford et al. 2019, "Language models are
        unsupervised multitask learners".
    """

    def __init__(
        self,
        size: int,
        heads: int,
        layers: int,
        *,
        position: str = "sinusoidal",
        horizon: int = 256,
        length: int | None = None,
        dropout: float = 0.0,
        memory_size: int | None = None,
        **options: Any,
    ) -> None:
        check_size("Decoder", "horizon", horizon)
        _refuse_causal("Decoder", "Encoder", options)
        length = 2 * horizon if length is None else length
        super().__init__(
            *_blocks(
                "Decoder", size, heads, layers, position, length, dropout,
                horizon=horizon, memory_size=memory_size, **options,
            )
        )  # fmt: skip
        self.memory_size = memory_size
        _calm(self)

    def remember(
        self,
        memory: Float[Tensor, "batch steps memory"],
        mask: Bool[Tensor, "batch steps"] | None = None,
    ) -> tuple[State, ...]:
        """The state before the first step, with a memory whose keys and values are computed once.

        Args:
            memory: `[batch, steps, memory_size]`, what an encoder gives.
            mask: `[batch, steps]`, True where a step is real.

        Errors:
            InputError: a decoder that was made without `memory_size`.
        """
        if self.memory_size is None:
            raise InputError("Decoder: has no cross-attention, for it was made without memory_size")
        return tuple(
            layer.remember(memory, mask)
            if isinstance(layer, TransformerBlock)
            else layer.initial_state(memory.shape[0])  # pyright: ignore
            for layer in self.layers
        )


def _refuse_causal(name: str, other: str, options: dict[str, Any]) -> None:
    if "causal" in options:
        raise InputError(f"{name}: got causal, expected {other} for blocks that are otherwise")


def _blocks(
    name: str,
    size: int,
    heads: int,
    layers: int,
    position: str,
    length: int,
    dropout: float,
    stochastic_depth: float = 0.0,
    **options: Any,
) -> list[Layer]:
    """Positions, dropout, blocks, and a last norm where the blocks' own come first."""
    check_size(name, "size", size)
    check_size(name, "layers", layers)
    check_position(name, position, 2 if position == "rotary" else size, POSITIONS)
    parts: list[Layer] = []
    if position in ABSOLUTE:
        parts.append(Position(size, position, length=length))
        position = "none"
    if dropout:
        parts.append(Dropout(dropout))
    for depth in range(layers):
        skipped = stochastic_depth * depth / max(layers - 1, 1)
        block = TransformerBlock(
            size, heads, position=position, dropout=dropout, stochastic_depth=skipped, **options
        )
        parts.append(block)
    if options.get("norm_first", True):
        epsilon = options.get("norm_epsilon", 1e-5)
        parts.append(Norm(size, kind=options.get("norm", "layer"), epsilon=epsilon))
    return parts


def _calm(stack: Stack) -> None:
    """Divide the last matrix of each sum by the root of the number of sums."""
    blocks = [layer for layer in stack.layers if isinstance(layer, TransformerBlock)]
    ends = [
        layer.weight_output
        for block in blocks
        for layer in (block.attention, block.cross_attention, block.feed_forward)
        if layer is not None
    ]
    with torch.no_grad():
        for weight in ends:
            weight.div_(len(ends) ** 0.5)
