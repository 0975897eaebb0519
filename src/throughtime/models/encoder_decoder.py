"""From one sequence to another: an encoder, and a decoder that looks at what it made."""

from typing import Any

import torch
from torch import nn

from throughtime.errors import InputError
from throughtime.layers.base import Layer
from throughtime.models.autoregressive import Autoregressive, AutoregressiveState
from throughtime.models.inputs import TokenInputs
from throughtime.shapes import Bool, Float, Int, Tensor


class EncoderDecoder(nn.Module):
    r"""Sequences given others: $p(y \mid x) = \prod_t p(y_t \mid y_1, \ldots, y_{t-1}, x)$.

    The encoder reads the source, the whole of it at once. The decoder is an
    [`Autoregressive`][throughtime.models.Autoregressive] model of the target whose state before the
    first step knows what the encoder made of the source: that is all that
    [`encode`][throughtime.models.encoder_decoder.EncoderDecoder.encode] gives, and a value like
    every other state. So the decoder streams, samples and searches as any autoregressive model
    does.

    Args:
        source: a vector for each token of the source.
        encoder: any layer over these vectors.
        decoder: a model of tokens whose body takes a memory, by a method `remember`: a
            [`Decoder`][throughtime.layers.Decoder] or a
            [`RecurrentDecoder`][throughtime.layers.RecurrentDecoder].

    Shapes:
        - `x`: the source, `[batch, steps]` of token ids, with `mask`.
        - `previous`: the target one step late, `[batch, time]` of token ids; the first is
          `decoder.begin`.

    Errors:
        InputError: parts that do not fit together.

    Examples:
        >>> from throughtime.decoding import Sampling, generate
        >>> from throughtime.layers import GRU, Bidirectional, RecurrentDecoder
        >>> from throughtime.models import Categorical
        >>> model = EncoderDecoder(
        ...     TokenInputs(10, 8), Bidirectional(GRU(8, 6)),
        ...     Autoregressive(TokenInputs(9, 8), RecurrentDecoder(8, 6, memory_size=12),
        ...                    Categorical(6, 9)))
        >>> x, y = torch.randint(10, (2, 7)), torch.randint(9, (2, 5))
        >>> model.log_prob(x, y).shape
        torch.Size([2, 5])
        >>> begin = model.decoder.begin(2)
        >>> generate(model.decoder, begin, 3, state=model.encode(x)).tokens.shape
        torch.Size([2, 3])

    References:
        Sutskever, Vinyals and Le 2014, "Sequence to sequence learning with neural networks";
        Bahdanau, Cho and Bengio 2015, "Neural machine translation by jointly learning to align and
        translate"; Vaswani et al. 2017, "Attention is all you need".
    """

    def __init__(self, source: TokenInputs, encoder: Layer, decoder: Autoregressive) -> None:
        super().__init__()
        body: Any = decoder.body
        if not decoder.inputs.discrete:
            raise InputError("EncoderDecoder: decoder is a model of numbers, expected of tokens")
        if not hasattr(body, "remember") or not getattr(body, "memory_size", None):
            raise InputError(
                f"EncoderDecoder: the decoder's body is a {type(body).__name__}, "
                "expected one that takes a memory, such as Decoder with memory_size"
            )
        if encoder.input_size not in (None, source.output_size):
            raise InputError(
                f"EncoderDecoder: source gives {source.output_size} features, "
                f"the encoder takes {encoder.input_size}"
            )
        if body.memory_size != encoder.output_size:
            raise InputError(
                f"EncoderDecoder: the encoder gives {encoder.output_size} features, "
                f"the decoder's memory_size is {body.memory_size}"
            )
        self.source = source
        self.encoder = encoder
        self.decoder = decoder

    @property
    def head(self) -> Any:
        """Of the decoder."""
        return self.decoder.head

    def memory(
        self,
        x: Int[Tensor, "batch steps"],
        mask: Bool[Tensor, "batch steps"] | None = None,
    ) -> Float[Tensor, "batch steps memory"]:
        """What the encoder makes of each step of the source."""
        if x.ndim != 2 or x.is_floating_point() or x.dtype == torch.bool:
            raise InputError(
                f"EncoderDecoder: x is {x.dtype} of shape {list(x.shape)}, "
                "expected token ids [batch, steps]"
            )
        features, _, _ = self.source(x, (), mask)
        return self.encoder(features, None, mask)[0]

    def encode(
        self,
        x: Int[Tensor, "batch steps"],
        mask: Bool[Tensor, "batch steps"] | None = None,
    ) -> AutoregressiveState:
        """The decoder's state before the first token of the target.

        Args:
            x: the source.
            mask: `[batch, steps]`, True where a token is real; any padding.
        """
        memory = self.memory(x, mask)
        body: Any = self.decoder.body
        return AutoregressiveState((), body.remember(memory.to(self.decoder.like().dtype), mask))

    def forward(
        self,
        x: Int[Tensor, "batch steps"],
        previous: Int[Tensor, "batch time"],
        mask: Bool[Tensor, "batch steps"] | None = None,
        previous_mask: Bool[Tensor, "batch time"] | None = None,
    ) -> tuple[Float[Tensor, "batch time tokens"], AutoregressiveState]:
        """Logits of each token of the target given all before it, and the decoder's state."""
        return self.decoder(previous, self.encode(x, mask), previous_mask)

    def features(
        self,
        x: Int[Tensor, "batch steps"],
        previous: Int[Tensor, "batch time"],
        mask: Bool[Tensor, "batch steps"] | None = None,
        previous_mask: Bool[Tensor, "batch time"] | None = None,
    ) -> tuple[Tensor, Any, AutoregressiveState]:
        """What the head reads, and its context; and the state after it."""
        return self.decoder.features(previous, self.encode(x, mask), previous_mask)

    def log_prob(
        self,
        x: Int[Tensor, "batch steps"],
        y: Int[Tensor, "batch time"],
        mask: Bool[Tensor, "batch steps"] | None = None,
        y_mask: Bool[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch time"]:
        """The log probability of each token of the target given all before it, in nats.

        Args:
            x: the source.
            y: the target.
            mask: `[batch, steps]`, True where a token of the source is real.
            y_mask: `[batch, time]`, likewise of the target; padded steps count nothing.
        """
        previous, _ = self.decoder.shift(y, y_mask)
        parameters, _ = self(x, previous, mask, y_mask)
        return self.head.log_prob(parameters, self.decoder.hide(y, y_mask))
