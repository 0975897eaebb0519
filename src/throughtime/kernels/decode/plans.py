"""From a network to what native code reads: its weights packed, and where they lie."""

from typing import Any

import torch
from torch.nn.functional import linear

from throughtime.kernels import native
from throughtime.kernels.decode.network import (
    ACTIVATIONS,
    CELLS,
    SCORES,
    Matrix,
    Network,
    Norm,
    RecurrentNetwork,
)
from throughtime.kernels.decode.packing import (
    Store,
    byte_panels,
    padded,
    panels,
    to_bytes,
    whole,
    whole_blocks,
)
from throughtime.shapes import Float, Tensor

TABLE = 2**22
"""Bytes that the products of all tokens' vectors with the first layer's matrix may have: of a large
vocabulary they would take longer to make than they save in a call."""

Offsets = tuple[Any, ...]
"""Where something lies in the block of memory, then its sizes."""

ABSENT = -1


class Packed:
    """Weights in one block of memory.

    What is added has an offset until the block is closed, then an address.

    Args:
        weights: `float32` or `int8`.
    """

    def __init__(self, weights: str) -> None:
        self._weights = weights
        self._store = Store()
        self._base = 0

    def vector(self, tensor: Tensor | None, dtype: torch.dtype = torch.float32) -> Offsets:
        """Numbers as they are."""
        return (ABSENT if tensor is None else self._store.add(tensor.detach().to(dtype)),)

    def norm(self, one: Norm | None) -> Offsets:
        """Weight, bias, epsilon, kind."""
        if one is None:
            return ABSENT, ABSENT, 0.0, False
        bias = None if one.bias is None else padded(one.bias)
        return *self.vector(padded(one.weight)), *self.vector(bias), one.epsilon, one.rms

    def matrix(self, one: Matrix | None) -> Offsets:
        """Weight, scales, bias, rows, depth."""
        if one is None:
            return ABSENT, ABSENT, ABSENT, 0, 0
        weight, scale = one.weight.detach(), (ABSENT,)
        if self._weights == "int8":
            steps, scales = to_bytes(weight)
            packed, scale = self._store.add(byte_panels(steps)), self.vector(padded(scales))
        else:
            packed = self._store.add(panels(weight))
        bias = torch.zeros(len(weight)) if one.bias is None else one.bias
        rows, depth = weight.shape
        return packed, *scale, *self.vector(padded(bias)), rows, depth

    def close(self) -> Tensor:
        """Copy everything; the block, which must live as long as it is read."""
        self._base = self._store.close()
        assert self._store.memory is not None
        return self._store.memory

    def at(self, offsets: Offsets, count: int = 1) -> Offsets:
        """The first `count` offsets as addresses."""
        at = tuple(0 if offset == ABSENT else self._base + offset for offset in offsets[:count])
        return at + offsets[count:]


def plan(network: Network | RecurrentNetwork, weights: str) -> tuple[Any, Tensor]:
    """The native plan, and the memory that it points to."""
    packed = Packed(weights)
    if isinstance(network, Network):
        return _transformer(network, packed)
    return _recurrent(network, packed)


def _transformer(network: Network, packed: Packed) -> tuple[Any, Tensor]:
    norm, matrix = packed.norm, packed.matrix
    embedding = packed.vector(network.embedding)
    positions = [
        packed.vector(network.learned),
        packed.vector(network.waves, torch.float64),
        packed.vector(network.turns, torch.float64),
        packed.vector(network.slopes),
    ]
    blocks = [
        (
            norm(block.attention_norm), matrix(block.attention_input),
            matrix(block.attention_output), norm(block.memory_norm), matrix(block.memory_query),
            matrix(block.memory_output), norm(block.feed_norm), matrix(block.feed_input),
            matrix(block.feed_output),
        )
        for block in network.blocks
    ]  # fmt: skip
    last, head = norm(network.last_norm), matrix(network.head)
    memory = packed.close()
    made = native.library.TransformerPlan()
    for name in ("heads", "kv_heads", "head_size", "hidden", "horizon", "norm_first"):
        setattr(made, name, getattr(network, name))
    made.length = 0 if network.learned is None else len(network.learned)
    made.activation(ACTIVATIONS.index(network.activation))
    made.embedding(*packed.at(embedding), *network.embedding.shape)
    made.positions(*(packed.at(one)[0] for one in positions))
    for parts in blocks:  # a norm has two addresses, a matrix three
        made.block(*(packed.at(part, 2 if len(part) == 4 else 3) for part in parts))
    made.last_norm(packed.at(last, 2))
    made.head(packed.at(head, 3))
    return made, memory


def _recurrent(network: RecurrentNetwork, packed: Packed) -> tuple[Any, Tensor]:
    gates = CELLS[network.cell]
    layers = [
        tuple(
            Matrix(
                whole_blocks(one.weight, gates),
                None if one.bias is None else whole_blocks(one.bias, gates),
            )
            for one in layer
        )
        for layer in network.layers
    ]
    embedding, (first, _) = network.embedding.detach(), layers[0]
    table = None
    if len(embedding) * len(first.weight) * 4 <= TABLE:
        table = linear(embedding, first.weight.detach(), first.bias).detach()
    vectors, products = packed.vector(embedding), packed.vector(table)
    placed = [tuple(packed.matrix(one) for one in layer) for layer in layers]
    looking = network.attention
    if looking is not None:
        asked = packed.matrix(looking.query), packed.vector(_padded(looking.weigh))
        mixed = packed.matrix(_padded_mix(looking.mix, network.hidden))
    head = packed.matrix(network.head)
    memory = packed.close()
    made = native.library.RecurrentPlan()
    made.hidden, made.memory_size = network.hidden, network.memory_size
    made.cell(list(CELLS).index(network.cell))
    made.embedding(*packed.at(vectors), *embedding.shape)
    made.table(*packed.at(products))
    for layer in placed:
        made.layer(*(packed.at(one, 3) for one in layer))
    if looking is not None:
        score = SCORES.index(looking.score)
        query, weigh = asked  # pyright: ignore
        made.attention(score, packed.at(query, 3), *packed.at(weigh), packed.at(mixed, 3))  # pyright: ignore
    made.head(packed.at(head, 3))
    return made, memory


def _padded(vector: Float[Tensor, " count"] | None) -> Float[Tensor, " whole"] | None:
    return None if vector is None else padded(vector)


def _padded_mix(mix: Matrix, hidden: int) -> Matrix:
    """With zeros behind the columns of what was found, and behind those of the output."""
    sizes = mix.weight.shape[1] - hidden, hidden
    parts = [
        torch.nn.functional.pad(part, (0, whole(size) - size))
        for part, size in zip(mix.weight.split(sizes, dim=1), sizes, strict=True)
    ]
    return Matrix(torch.cat(parts, dim=1), mix.bias)
