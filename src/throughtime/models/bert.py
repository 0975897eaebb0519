"""BERT: an encoder of texts, and the heads it is trained and used with."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.functional import linear

from throughtime.errors import InputError
from throughtime.layers.base import Layer, check_ids, check_size
from throughtime.layers.position import Position
from throughtime.layers.stateless import Embedding, Linear, Norm
from throughtime.layers.transformer import Encoder
from throughtime.shapes import Bool, Float, Int, Tensor
from throughtime.state import State
from throughtime.taps import tap


class Bert(Layer):
    r"""A Transformer that reads a text in both directions.

    A vector for each token, one for its type (which of two sentences it is of) and one for its
    position are added and normed; an encoder with norms after the sums follows:

    $$h_t^0 = \operatorname{Norm}(E_{x_t} + S_{s_t} + P_t), \qquad
    h = \operatorname{Encoder}(h^0)$$

    The model gives $h$. Its heads take that: `pooled`, `token_logits`, `sentence_logits` and
    `answer`, each of which a model may be made without.

    Positions count real steps, so padding may stand anywhere; the published model knows padding at
    the right only. A row may hold several texts, each begun by a `reset`.

    Args:
        tokens: size of the vocabulary.
        size: features per step; a multiple of `heads`.
        heads: of attention.
        layers: blocks.
        types: how many types of tokens there are.
        length: positions; no text may be longer.
        hidden_size: of the feed-forward layers; None: four times the size.
        activation: of the feed-forward layers and of the head of masked tokens.
        norm_epsilon: of all norms.
        dropout: of the input, of what is added in the blocks and before the classes, in [0, 1).
        pooler: whether there is a layer for the first step, which stands for the text.
        masked: whether there is a head for masked tokens; its matrix is that of the vectors.
        tied: False gives that head a matrix of its own.
        sentences: whether there is a head that says if a second sentence follows the first.
        classes: of a last matrix; 0: there is none.
        tagging: whether each step has a class, and not the text.

    Attributes:
        embedding, types, position, norm, encoder: the body.
        pooler, masked, sentences, classes: the heads; None where there is none.

    Shapes:
        - `x`: `[batch, time]` of token ids; `types` likewise, zeros if not given.
        - `state`: `()`.
        - `mask`, `reset`: `[batch, time]`, see [`Layer`][throughtime.layers.Layer].
        - `output`: `[batch, time, size]`; zeros in padded steps.

    Laws:
        - Padding-invariant: what stands in a padded step changes nothing.

    Errors:
        InputError: a text of more than `length` steps, or a head that the model was made without.

    Examples:
        >>> model = Bert(50, 16, heads=2, layers=2, pooler=True, masked=True)
        >>> x = torch.randint(50, (3, 7))
        >>> hidden, _ = model(x)
        >>> model.pooled(hidden).shape, model.token_logits(hidden).shape
        (torch.Size([3, 16]), torch.Size([3, 7, 50]))

    References:
        Devlin et al. 2019, "BERT: pre-training of deep bidirectional Transformers for language
        understanding".
    """

    causal = False
    knows_none = True
    taps: Mapping[str, str] = {
        "embedded": "tokens, types and positions, normed: [batch, time, size]",
        "output": "what the encoder makes of them: [batch, time, size]",
    }

    def __init__(
        self,
        tokens: int,
        size: int,
        heads: int,
        layers: int,
        *,
        types: int = 2,
        length: int = 512,
        hidden_size: int | None = None,
        activation: str = "gelu",
        norm_epsilon: float = 1e-12,
        dropout: float = 0.0,
        pooler: bool = False,
        masked: bool = False,
        tied: bool = True,
        sentences: bool = False,
        classes: int = 0,
        tagging: bool = False,
    ) -> None:
        super().__init__()
        self.input_size = None
        self.output_size = size
        self.length = length
        self.embedding = Embedding(tokens, size)
        self.types = Embedding(types, size)
        self.position = Position(size, "learned", length=length)
        self.norm = Norm(size, epsilon=norm_epsilon)
        self.encoder = Encoder(
            size,
            heads,
            layers,
            position="none",
            hidden_size=hidden_size,
            activation=activation,
            norm_first=False,
            norm_epsilon=norm_epsilon,
            dropout=dropout,
        )
        if classes:
            check_size("Bert", "classes", classes)
        if (sentences or (classes and not tagging)) and not pooler:
            raise InputError("Bert: sentences and classes of texts are for a model with a pooler")
        self.tagging = tagging
        self.dropout = nn.Dropout(dropout)
        self.pooler = Linear(size, size, activation="tanh") if pooler else None
        self.masked = (
            MaskedHead(tokens, size, activation, norm_epsilon, tied=tied) if masked else None
        )
        self.sentences = Linear(size, 2) if sentences else None
        self.classes = Linear(size, classes) if classes else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Small vectors; the layers draw their own."""
        for vectors in (self.embedding, self.types):
            nn.init.normal_(vectors.weight, std=0.02)

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> tuple[()]:
        """Nothing: it sees the whole text at once."""
        return ()

    def forward(
        self,
        x: Tensor,
        state: State = None,
        mask: Tensor | None = None,
        reset: Tensor | None = None,
        types: Tensor | None = None,
    ) -> tuple[Tensor, tuple[()]]:
        """What the encoder makes of each step.

        Args:
            x: `[batch, time]`, token ids.
            state: None or `()`; the model has none.
            mask: `[batch, time]`, True where a step is real.
            reset: `[batch, time]`, True where another text begins inside a row.
            types: `[batch, time]`, the type of each token; None: all are of type 0.
        """
        self.check(x, state, mask, reset)
        if types is not None:
            check_ids("Bert", types, "types")
            if types.shape != x.shape:
                raise InputError(
                    f"Bert: types has shape {list(types.shape)}, expected {list(x.shape)}, as of x"
                )
        return self._read(x, types, mask, reset), ()

    def run(
        self,
        x: Int[Tensor, "batch time"],
        state: Any,
        mask: Bool[Tensor, "batch time"] | None,
        reset: Bool[Tensor, "batch time"] | None,
    ) -> tuple[Float[Tensor, "batch time size"], tuple[()]]:
        """The same, all tokens of one type."""
        return self._read(x, None, mask, reset), ()

    def check(self, x: Tensor, state: State, mask: Tensor | None, reset: Tensor | None) -> None:
        """Token ids have no axis of features, and positions end somewhere."""
        check_ids("Bert", x)
        if x.shape[1] > self.length:
            raise InputError(f"Bert: x has {x.shape[1]} steps, expected at most {self.length}")
        self.check_marks(x, mask, reset)
        self.check_state(state, x.shape[0])

    def pooled(
        self,
        hidden: Float[Tensor, "batch time size"],
        mask: Bool[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch size"]:
        """One vector of each text: what the pooler makes of its first real step."""
        pooler = self._has("pooler", self.pooler)
        if not hidden.shape[1]:
            hidden, mask = hidden.new_zeros(len(hidden), 1, hidden.shape[2]), None
        first = hidden[:, 0]
        if mask is not None:
            rows = torch.arange(len(hidden), device=hidden.device)
            first = hidden[rows, mask.long().argmax(1)]
        return pooler(first.unsqueeze(1))[0].squeeze(1)

    def token_logits(
        self, hidden: Float[Tensor, "batch time size"]
    ) -> Float[Tensor, "batch time tokens"]:
        """Which token stands behind each step, for those that are masked."""
        return self._has("masked", self.masked)(hidden, self.embedding.weight)

    def sentence_logits(
        self,
        hidden: Float[Tensor, "batch time size"],
        mask: Bool[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch two"]:
        """Whether the second sentence follows the first (0) or is another (1)."""
        head = self._has("sentences", self.sentences)
        return head(self.pooled(hidden, mask).unsqueeze(1))[0].squeeze(1)

    def answer(
        self,
        hidden: Float[Tensor, "batch time size"],
        mask: Bool[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch *time classes"]:
        """Logits of the classes of each text, or of each step."""
        head = self._has("classes", self.classes)
        if self.tagging:
            return head(self.dropout(hidden))[0]
        return head(self.dropout(self.pooled(hidden, mask)).unsqueeze(1))[0].squeeze(1)

    def _read(
        self, x: Tensor, types: Tensor | None, mask: Tensor | None, reset: Tensor | None
    ) -> Float[Tensor, "batch time size"]:
        types = torch.zeros_like(x) if types is None else types
        vectors = self.embedding(x, (), mask)[0] + self.types(types, (), mask)[0]
        placed, _ = self.position(vectors, None, mask, reset)
        embedded = tap(self, "embedded", self.norm(placed, (), mask)[0], mask)
        return tap(self, "output", self.encoder(embedded, None, mask, reset)[0], mask)

    def _has(self, name: str, head: Any) -> Any:
        if head is None:
            raise InputError(f"Bert: has no head for this, for it was made without {name}")
        return head


class MaskedHead(nn.Module):
    r"""Scores of all tokens: $W \operatorname{Norm}(\operatorname{act}(V h + c)) + b$.

    Args:
        tokens: size of the vocabulary.
        size: features per step.
        activation: of the layer.
        norm_epsilon: of the norm.
        tied: whether W is the vectors of the tokens, or a matrix of its own.

    Attributes:
        layer: V and c.
        norm: the norm.
        weight: W, `[tokens, size]`; None where it is tied.
        bias: b, `[tokens]`; zeros.
    """

    def __init__(
        self, tokens: int, size: int, activation: str, norm_epsilon: float, *, tied: bool
    ) -> None:
        super().__init__()
        self.layer = Linear(size, size, activation=activation)
        self.norm = Norm(size, epsilon=norm_epsilon)
        self.weight = None if tied else nn.Parameter(0.02 * torch.randn(tokens, size))
        self.bias = nn.Parameter(torch.zeros(tokens))

    def forward(
        self,
        hidden: Float[Tensor, "batch time size"],
        vectors: Float[Tensor, "tokens size"],
    ) -> Float[Tensor, "batch time tokens"]:
        """Scores; `vectors` are those of the tokens."""
        normed = self.norm(self.layer(hidden)[0])[0]
        return linear(normed, vectors if self.weight is None else self.weight, self.bias)
