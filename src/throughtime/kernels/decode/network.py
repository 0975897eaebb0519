"""What a decoder is made of, as matrices and vectors: the form that is compiled."""

from dataclasses import dataclass

from throughtime.shapes import Float, Tensor

ACTIVATIONS = ("gelu", "relu", "swiglu", "gelu_tanh", "silu")
"""In the order of their codes in native code."""

CELLS = {"rnn-tanh": 1, "rnn-relu": 1, "rnn-sigmoid": 1, "lstm": 4, "gru": 3}
"""Likewise; with how many blocks of gates each has."""

SCORES = ("none", "additive", "multiplicative")
"""Likewise."""


@dataclass(frozen=True)
class Matrix:
    """$y = W x + b$.

    Args:
        weight: `[rows, depth]`.
        bias: `[rows]`; None is zeros.
    """

    weight: Float[Tensor, "rows depth"]
    bias: Float[Tensor, " rows"] | None = None


@dataclass(frozen=True)
class Norm:
    """A layer norm, or one by the root of the mean of squares.

    Args:
        weight: `[size]`.
        bias: `[size]`, or None.
        epsilon: added under the root.
        rms: whether the mean stays.
    """

    weight: Float[Tensor, " size"]
    bias: Float[Tensor, " size"] | None
    epsilon: float
    rms: bool


@dataclass(frozen=True)
class Block:
    """Attention, then what it looks at beside itself, then feed-forward.

    Args:
        attention_norm, memory_norm, feed_norm: of the stream before the part reads it; None leaves
            it as it is.
        attention_input: queries, keys and values from the top.
        attention_output, memory_output: mix what the heads found.
        memory_query: None where there is no memory.
        feed_input, feed_output: of the feed-forward layer; the first has gates, then values, with
            `swiglu`.
    """

    attention_norm: Norm | None
    attention_input: Matrix
    attention_output: Matrix
    feed_norm: Norm | None
    feed_input: Matrix
    feed_output: Matrix
    memory_norm: Norm | None = None
    memory_query: Matrix | None = None
    memory_output: Matrix | None = None


@dataclass(frozen=True)
class Network:
    """A Transformer from token ids to logits.

    Args:
        heads: of queries.
        kv_heads: of keys and values.
        head_size: features per head.
        horizon: steps that each step sees before itself.
        activation: one of `ACTIVATIONS`.
        norm_first: whether an answer is added to the stream as it was before the norm.
        embedding: `[tokens, size]`, that of the beginning included.
        blocks: at least one.
        last_norm: before the head.
        head: gives the logits.
        learned: `[length, size]`, positions that are added; they begin again after the last.
        waves: `[size / 2]`, radians per step of sinusoidal positions, in float64.
        turns: `[head_size / 2]`, radians per step of rotary positions, in float64.
        slopes: `[heads]`, of alibi.
    """

    heads: int
    kv_heads: int
    head_size: int
    horizon: int
    activation: str
    norm_first: bool
    embedding: Float[Tensor, "tokens size"]
    blocks: tuple[Block, ...]
    last_norm: Norm | None
    head: Matrix
    learned: Float[Tensor, "length size"] | None = None
    waves: Float[Tensor, " half"] | None = None
    turns: Float[Tensor, " half_head"] | None = None
    slopes: Float[Tensor, " heads"] | None = None

    @property
    def size(self) -> int:
        """Features of the stream."""
        return self.embedding.shape[1]

    @property
    def hidden(self) -> int:
        """Features between the matrices of a feed-forward layer."""
        return self.blocks[0].feed_output.weight.shape[1]


@dataclass(frozen=True)
class Attention:
    """What looks at a memory beside recurrent layers.

    Args:
        score: `additive` or `multiplicative`.
        query: what keys are added to, with `additive`.
        weigh: `[hidden]`, how much each feature of that counts.
        mix: of what was found, then of the output; the tanh of it is what goes on.
    """

    score: str
    query: Matrix | None
    weigh: Float[Tensor, " hidden"] | None
    mix: Matrix


@dataclass(frozen=True)
class RecurrentNetwork:
    """A decoder of recurrent layers from token ids to logits.

    Args:
        cell: one of `CELLS`.
        embedding: `[tokens, size]`, that of the beginning included.
        layers: of each the matrix for its input and that for its last output, with gates in
            torch's order; all but the first add to what they read.
        head: gives the logits.
        attention: of the first layer's output; None where there is none.
    """

    cell: str
    embedding: Float[Tensor, "tokens size"]
    layers: tuple[tuple[Matrix, Matrix], ...]
    head: Matrix
    attention: Attention | None = None

    @property
    def hidden(self) -> int:
        """Units of each layer."""
        return self.layers[0][1].weight.shape[1]

    @property
    def memory_size(self) -> int:
        """Features of a step of the memory."""
        return 0 if self.attention is None else self.attention.mix.weight.shape[1] - self.hidden

    @property
    def parts(self) -> int:
        """Of a layer's state."""
        return 2 if self.cell == "lstm" else 1
