"""The layers the laws are run over. A new layer enters here before it is written."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from tests.laws import peers
from throughtime.layers import (
    GRU,
    LSTM,
    RNN,
    AttentionPooling,
    Bidirectional,
    CrossAttention,
    Decoder,
    Dropout,
    Embedding,
    Encoder,
    FeedForward,
    GlobalAttention,
    GramBag,
    GramEmbedding,
    Linear,
    MaxPooling,
    MeanPooling,
    Norm,
    PatchEmbedding,
    Position,
    RecurrentDecoder,
    Residual,
    SelfAttention,
    Stack,
    TransformerBlock,
    Window,
)
from throughtime.layers.memory import MemoryLayer
from throughtime.layers.position import POSITIONS
from throughtime.models import Classifier, NumberInputs
from throughtime.models.bert import Bert
from throughtime.state import map_tensors


@dataclass(frozen=True)
class Case:
    """A layer, and what it claims to `throughtime.testing.check_layer`."""

    name: str
    make: Callable[[], nn.Module]
    claims: dict[str, Any] = field(default_factory=dict)


def ids(batch, time):
    return torch.randint(9, (batch, time))


def drawn(layer):
    """A layer whose n-grams have learnt something."""
    nn.init.normal_(layer.weight)
    if isinstance(layer, GramEmbedding):
        nn.init.normal_(layer.grams)
    return layer


SPELLED = [[1, 2, 3], [4], [5, 6], [7], [1, 4], [2, 7, 5], [6], [3, 3, 3], [7, 1]]
"""Letters of nine tokens."""


class HasMemory(MemoryLayer):
    """A layer whose initial state has a memory, so that there is something to look at."""

    def __init__(self, *sizes, **options):
        super().__init__(*sizes, **options)
        self.memory = nn.Parameter(torch.randn(5, self.memory_size))
        self.register_buffer("real", torch.tensor([True, False, True, True, True]))

    def initial_state(self, batch_size, *, device=None, dtype=None):
        memory = self.memory.expand(batch_size, -1, -1)
        state = self.remember(memory, self.real.expand(batch_size, -1))  # pyright: ignore
        return map_tensors(
            lambda part: part.to(device, dtype if part.is_floating_point() else None), state
        )


class WithMemory(HasMemory, CrossAttention):
    """Cross-attention with a memory."""


class Annotated(HasMemory, GlobalAttention):
    """Global attention with a memory."""


def decoder_with_memory(**options):
    """A decoder in whose blocks the memory is there from the start."""
    decoder = Decoder(4, 2, 1, memory_size=3, horizon=3, **options)
    for block in decoder.layers:
        if isinstance(block, TransformerBlock):
            block.cross_attention = WithMemory(4, 2, memory_size=3)
    return decoder


def recurrent_decoder_with_memory(*sizes, **options):
    """A recurrent decoder that has something to look at from the start."""
    decoder = RecurrentDecoder(*sizes, memory_size=3, **options)
    for index, layer in enumerate(decoder.layers):
        if isinstance(layer, GlobalAttention):
            decoder.layers[index] = Annotated(4, 3, score=layer.score)
    return decoder


def answering(body, pooling="last"):
    """A classifier with weights at its end, which start at zero."""
    model = Classifier(NumberInputs(3), body, 4, pooling=pooling)
    torch.nn.init.normal_(model.weight, std=0.5)
    return model


def asked(pooling):
    """With a query: an untrained one weighs all steps alike."""
    torch.nn.init.normal_(pooling.query)
    return pooling


CASES = [
    Case("window", lambda: Window(3, 2), {"receptive_field": 3, "peer": peers.shifted_window}),
    Case("window-of-one", lambda: Window(1, 2), {"receptive_field": 1, "memory": False}),
    Case("rnn-tanh", lambda: RNN(3, 5), {"peer": peers.torch_rnn}),
    Case("rnn-relu", lambda: RNN(3, 5, activation="relu"), {"peer": peers.torch_rnn}),
    Case("rnn-sigmoid", lambda: RNN(3, 5, activation="sigmoid")),
    Case("rnn-learned-state", lambda: RNN(3, 5, learn_initial_state=True)),
    Case("lstm", lambda: LSTM(3, 5), {"peer": peers.torch_lstm}),
    Case("lstm-one-unit", lambda: LSTM(1, 1), {"peer": peers.torch_lstm}),
    Case("lstm-learned-state", lambda: LSTM(3, 5, learn_initial_state=True)),
    Case("gru", lambda: GRU(3, 5), {"peer": peers.torch_gru}),
    Case("gru-of-the-paper", lambda: GRU(3, 5, reset_after=False), {"peer": peers.paper_gru}),
    Case("gru-learned-state", lambda: GRU(3, 5, learn_initial_state=True)),
    Case("linear", lambda: Linear(3, 4), {"peer": peers.torch_linear}),
    Case("linear-gelu", lambda: Linear(3, 4, activation="gelu")),
    Case("linear-silu", lambda: Linear(3, 4, activation="silu")),
    Case("embedding", lambda: Embedding(9, 4), {"inputs": ids}),
    Case(
        "grams",
        lambda: drawn(GramEmbedding(9, 4, order=3, buckets=50)),
        {"inputs": ids, "receptive_field": 3},
    ),
    Case("bag", lambda: drawn(GramBag(9, 4, lengths=(1, 3), buckets=50)), {"inputs": ids}),
    Case(
        "bag-of-letters",
        lambda: drawn(GramBag(9, 4, lengths=(2, 5), buckets=50, letters=SPELLED)),
        {"inputs": ids},
    ),
    Case("norm-layer", lambda: Norm(4), {"peer": peers.torch_layer_norm}),
    Case("norm-rms", lambda: Norm(4, kind="rms"), {"peer": peers.torch_rms_norm}),
    Case("dropout", lambda: Dropout(0.4)),
    Case("stack-lstm-lstm", lambda: Stack(LSTM(3, 5), LSTM(5, 4)), {"peer": peers.torch_stack}),
    Case("stack-gru-rnn", lambda: Stack(GRU(3, 5), RNN(5, 4)), {"peer": peers.torch_stack}),
    Case(
        "stack-of-everything",
        lambda: Stack(
            Embedding(9, 4),
            Window(2, 4),
            Norm(8),
            Dropout(0.2),
            GRU(8, 4, learn_initial_state=True),
            Residual(LSTM(4, 4)),
            Linear(4, 3, activation="tanh"),
        ),
        {"inputs": ids},
    ),
    Case("stack-of-windows", lambda: Stack(Window(3), Window(2, 3)), {"receptive_field": 4}),
    Case("residual-gru", lambda: Residual(GRU(3, 3))),
    Case(
        "bidirectional-lstm",
        lambda: Bidirectional(LSTM(3, 4)),
        {"peer": peers.torch_bidirectional_lstm},
    ),
    Case("bidirectional-two-kinds", lambda: Bidirectional(GRU(3, 4), RNN(3, 2))),
    Case(
        "stack-of-bidirectional",
        lambda: Stack(Bidirectional(GRU(3, 2)), Dropout(0.1), LSTM(4, 3)),
    ),
    Case("patches", lambda: PatchEmbedding(3, 2, 4), {"receptive_field": 3}),
    Case("pooling-mean", lambda: MeanPooling(3)),
    # Each step is the largest of one of many features: then each is seen to matter.
    Case("pooling-max", lambda: Stack(Linear(3, 40), MaxPooling(40))),
    Case("pooling-attention", lambda: asked(AttentionPooling(3, 4))),
    Case(
        "block-stochastic-depth",
        lambda: TransformerBlock(4, 2, horizon=4, stochastic_depth=0.4, norm_first=False),
        {"receptive_field": 5},
    ),
    Case("classifier-lstm", lambda: answering(LSTM(9, 5))),
    Case("classifier-gru-attention", lambda: answering(GRU(9, 5), "attention")),
    Case("classifier-bidirectional", lambda: answering(Bidirectional(GRU(9, 5)), "ends")),
    Case("classifier-tagging", lambda: answering(Bidirectional(GRU(9, 5)), "none")),
    Case(
        "classifier-encoder",
        lambda: answering(Stack(Linear(9, 8), Encoder(8, 2, 1)), "token"),
    ),
    Case("position-sinusoidal", lambda: Position(4), {"memory": False}),
    Case("position-learned", lambda: Position(3, "learned", length=7), {"memory": False}),
    *(
        Case(
            f"self-attention-{position}",
            lambda position=position: SelfAttention(4, 2, horizon=5, position=position),
            {"receptive_field": 6, "peer": peers.attention_step_by_step},
        )
        for position in POSITIONS
    ),
    Case(
        "self-attention-shared-heads",
        lambda: SelfAttention(8, 4, horizon=30, position="rotary", kv_heads=2, bias=False),
        {"peer": peers.attention_step_by_step},
    ),
    Case(
        "self-attention-one-head-one-step",
        lambda: SelfAttention(3, 1, horizon=1),
        {"receptive_field": 2, "peer": peers.attention_step_by_step},
    ),
    Case(
        "self-attention-all-around",
        lambda: SelfAttention(4, 2, causal=False),
        {"peer": peers.torch_multihead},
    ),
    Case(
        "self-attention-all-around-alibi",
        lambda: SelfAttention(4, 2, causal=False, position="alibi"),
    ),
    Case("cross-attention", lambda: WithMemory(4, 2), {"peer": peers.torch_cross, "memory": False}),
    Case(
        "cross-attention-shared-heads",
        lambda: WithMemory(8, 4, memory_size=3, kv_heads=2),
        {"memory": False},
    ),
    Case(
        "global-attention-additive",
        lambda: Annotated(4, 3),
        {"memory": False, "peer": peers.additive_attention},
    ),
    Case(
        "global-attention-multiplicative",
        lambda: Annotated(4, score="multiplicative"),
        {"memory": False, "peer": peers.multiplicative_attention},
    ),
    Case("feed-forward-gelu", lambda: FeedForward(4)),
    Case("feed-forward-gelu-tanh", lambda: FeedForward(4, activation="gelu_tanh")),
    Case("feed-forward-silu", lambda: FeedForward(4, activation="silu", bias=False)),
    Case("feed-forward-relu", lambda: FeedForward(3, 5, activation="relu")),
    Case("feed-forward-swiglu", lambda: FeedForward(4, activation="swiglu")),
    Case(
        "block-norm-first",
        lambda: TransformerBlock(4, 2, horizon=4, position="rotary", dropout=0.1),
        {"receptive_field": 5},
    ),
    Case(
        "block-norm-after",
        lambda: TransformerBlock(
            4, 2, horizon=4, position="alibi", norm="rms", norm_first=False, activation="swiglu"
        ),
        {"receptive_field": 5},
    ),
    Case(
        "block-all-around-norm-first",
        lambda: TransformerBlock(4, 2, causal=False),
        {"peer": peers.torch_encoder_layer},
    ),
    Case(
        "block-all-around-norm-after",
        lambda: TransformerBlock(4, 2, causal=False, norm_first=False, activation="relu"),
        {"peer": peers.torch_encoder_layer},
    ),
    Case(
        "block-with-an-epsilon",
        lambda: TransformerBlock(4, 2, horizon=4, norm_epsilon=0.1, activation="gelu_tanh"),
        {"receptive_field": 5},
    ),
    Case("encoder", lambda: Encoder(4, 2, 2, dropout=0.1)),
    Case("bert", lambda: Bert(9, 4, 2, 1, dropout=0.1), {"inputs": ids}),
    Case("decoder", lambda: Decoder(4, 2, 2, horizon=3), {"receptive_field": 7}),
    Case("decoder-rotary", lambda: Decoder(4, 2, 1, horizon=30, position="rotary", norm="rms")),
    Case("decoder-with-memory", decoder_with_memory, {"receptive_field": 4}),
    Case("recurrent-decoder", lambda: recurrent_decoder_with_memory(3, 4, cell="gru")),
    Case(
        "recurrent-decoder-of-two-layers",
        lambda: recurrent_decoder_with_memory(3, 4, 2, attention="multiplicative", dropout=0.1),
    ),
    Case(
        "recurrent-decoder-that-does-not-look",
        lambda: RecurrentDecoder(3, 4, 2, cell="rnn", memory_size=3, attention="none"),
    ),
    Case(
        "stack-of-recurrence-and-attention",
        lambda: Stack(
            LSTM(3, 4),
            TransformerBlock(4, 2, horizon=4, position="rotary"),
            Residual(SelfAttention(4, 1, horizon=2)),
            GRU(4, 3),
        ),
    ),
]
