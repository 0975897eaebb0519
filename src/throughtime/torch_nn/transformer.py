# ruff: noqa: FBT001, FBT002 - the signatures are torch.nn's
"""`TransformerEncoder`, `TransformerDecoder` and `Transformer` as torch.nn has them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from throughtime.shapes import Tensor
from throughtime.torch_nn.adopting import adopted
from throughtime.torch_nn.bare import unseen
from throughtime.torch_nn.masks import eager, is_causal_mask
from throughtime.torch_nn.scripting import Unscriptable
from throughtime.torch_nn.stacks import Side, adopt_layers, finish, together
from throughtime.torch_nn.transformer_layers import (
    TransformerDecoderLayer,
    TransformerEncoderLayer,
)

__all__ = [
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
]


class TransformerEncoder(Unscriptable, nn.TransformerEncoder):
    r"""`torch.nn.TransformerEncoder`: signature, parameters and numbers, on our kernels.

    Where it differs from torch.nn: with `src_key_padding_mask` a hidden step outputs zeros, in
    training as in evaluation, whatever stands in it, and on a CPU the cost is that of the real
    steps. torch.nn leaves them out in evaluation only, under some conditions, and gives the shift
    of `norm` there; else it computes what nobody should look at. `enable_nested_tensor=False`
    computes every step, always. A row with nothing real gives zeros.

    Args:
        encoder_layer: a layer, of which copies are made.
        num_layers: how many.
        norm: what the last layer's output goes through; or None.
        enable_nested_tensor: whether hidden steps are left out.
        mask_check: kept; here masks may have any form.

    Attributes:
        layers: the copies. Of another class than
            [`TransformerEncoderLayer`][throughtime.torch_nn.TransformerEncoderLayer] they run as
            torch.nn runs them; with hooks, or parts of another class, every step is computed.
        norm: as given.

    Shapes:
        - `src`: `[time, batch, features]`, or `[batch, time, features]` as the layers have it, or
          `[time, features]`.
        - `mask`: `[time, time]` or `[batch * heads, time, time]`; `src_key_padding_mask`:
          `[batch, time]`. True is hidden; floats are added to the scores.
        - Returns: as `src`.

    Errors:
        InputError: an argument that does not fit; `torch.jit.script`.

    Examples:
        >>> layer = TransformerEncoderLayer(8, 2, 16, batch_first=True)
        >>> encoder = TransformerEncoder(layer, 2)
        >>> hidden = torch.tensor([[False, False, True], [True, True, True]])
        >>> output = encoder(torch.randn(2, 3, 8), src_key_padding_mask=hidden)
        >>> (output == 0).all(-1).tolist()
        [[False, False, True], [True, True, True]]

    References:
        Vaswani et al. 2017, "Attention is all you need".
    """

    def __init__(
        self,
        encoder_layer: nn.Module,
        num_layers: int,
        norm: nn.Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        # False: torch.nn warns where it cannot leave hidden steps out, and we can.
        layer: Any = encoder_layer
        super().__init__(layer, num_layers, norm, enable_nested_tensor=False, mask_check=mask_check)
        self.enable_nested_tensor = enable_nested_tensor

    @classmethod
    def from_torch(cls, module: nn.TransformerEncoder) -> "TransformerEncoder":
        """One with the options and the very parameters of torch.nn's, its layers turned into ours.

        Args:
            module: a `torch.nn.TransformerEncoder`.

        Errors:
            InputError: it is of another class.
        """
        made = adopted(cls, module, nn.TransformerEncoder)
        adopt_layers(made, nn.TransformerEncoderLayer, TransformerEncoderLayer)
        return made

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """Each layer in turn.

        Args:
            src: the steps.
            mask: hides keys from queries.
            src_key_padding_mask: hides keys from all queries of a row.
            is_causal: whether `mask` hides just the keys behind each query; None: look. True
                without a mask means such a mask.
        """
        if src.is_nested or not all(isinstance(x, TransformerEncoderLayer) for x in self.layers):
            return super().forward(src, mask, src_key_padding_mask, is_causal)
        attention: Any = self.layers[0].self_attn
        name, batch_first = type(self).__name__, attention.batch_first
        side = Side(name, src, src_key_padding_mask, batch_first=batch_first)
        causal = is_causal_mask(mask, side.time) if is_causal is None else is_causal
        skip = side.real is not None and getattr(self, "enable_nested_tensor", True)
        if skip and eager(src) and all(unseen(x, TransformerEncoderLayer) for x in self.layers):
            rows, _ = together(side, None, in_place=side.adds or (mask is not None and not causal))
            seen = side.visible(mask, side, causal=causal, heads=attention.num_heads)
            x = rows.pack(side.x)
            layer: Any
            for layer in self.layers:
                x = layer.on_real_steps(x, rows, seen)
            return finish(x, rows, side, self.norm)
        x = side.blank(src) if skip else src
        for layer in self.layers:
            x = layer(x, src_mask=mask, is_causal=causal, src_key_padding_mask=src_key_padding_mask)
        x = x if self.norm is None else self.norm(x)
        return side.blank(x) if skip else x


class TransformerDecoder(Unscriptable, nn.TransformerDecoder):
    r"""`torch.nn.TransformerDecoder`: signature, parameters and numbers, on our kernels.

    Where it differs from torch.nn: with `tgt_key_padding_mask` a hidden step outputs zeros, and on
    a CPU the cost is that of the real steps of target and memory;
    `enable_nested_tensor=False` computes every step. A row with nothing real gives zeros, and so
    does attention to a memory without a real step.

    Args:
        decoder_layer: a layer, of which copies are made.
        num_layers: how many.
        norm: what the last layer's output goes through; or None.
        enable_nested_tensor: whether hidden steps are left out, as in
            [`TransformerEncoder`][throughtime.torch_nn.TransformerEncoder]; torch.nn's decoder has
            no such argument.

    Attributes:
        layers: the copies. Of another class than
            [`TransformerDecoderLayer`][throughtime.torch_nn.TransformerDecoderLayer] they run as
            torch.nn runs them; with hooks, or parts of another class, every step is computed.
        norm: as given.

    Shapes:
        - As [`TransformerDecoderLayer`][throughtime.torch_nn.TransformerDecoderLayer].

    Errors:
        InputError: an argument that does not fit; `torch.jit.script`.

    Examples:
        >>> layer = TransformerDecoderLayer(8, 2, 16, batch_first=True)
        >>> decoder = TransformerDecoder(layer, 2)
        >>> decoder(torch.randn(2, 3, 8), torch.randn(2, 5, 8), tgt_is_causal=True).shape
        torch.Size([2, 3, 8])

    References:
        Vaswani et al. 2017, "Attention is all you need".
    """

    def __init__(
        self,
        decoder_layer: nn.Module,
        num_layers: int,
        norm: nn.Module | None = None,
        enable_nested_tensor: bool = True,
    ) -> None:
        layer: Any = decoder_layer
        super().__init__(layer, num_layers, norm)
        self.enable_nested_tensor = enable_nested_tensor

    @classmethod
    def from_torch(cls, module: nn.TransformerDecoder) -> "TransformerDecoder":
        """One with the options and the very parameters of torch.nn's, its layers turned into ours.

        Args:
            module: a `torch.nn.TransformerDecoder`.

        Errors:
            InputError: it is of another class.
        """
        made = adopted(cls, module, nn.TransformerDecoder)
        made.enable_nested_tensor = True
        adopt_layers(made, nn.TransformerDecoderLayer, TransformerDecoderLayer)
        return made

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Each layer in turn.

        Args:
            tgt: the steps.
            memory: what an encoder gave.
            tgt_mask: hides keys of `tgt` from queries.
            memory_mask: hides keys of `memory` from queries.
            tgt_key_padding_mask: hides keys of `tgt` from all queries of a row.
            memory_key_padding_mask: the same of `memory`.
            tgt_is_causal: whether `tgt_mask` hides just the keys behind each query; None: look.
                True without a mask means such a mask.
            memory_is_causal: the same of `memory_mask`, which is never looked at.
        """
        if not all(isinstance(layer, TransformerDecoderLayer) for layer in self.layers):
            return super().forward(
                tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask,
                memory_key_padding_mask, tgt_is_causal, memory_is_causal,
            )  # fmt: skip
        attention: Any = self.layers[0].self_attn
        name, batch_first = type(self).__name__, attention.batch_first
        side = Side(name, tgt, tgt_key_padding_mask, batch_first=batch_first)
        other = Side(name, memory, memory_key_padding_mask, batch_first=batch_first)
        causal = is_causal_mask(tgt_mask, side.time) if tgt_is_causal is None else tgt_is_causal
        padded = side.real is not None or other.real is not None
        skip = padded and getattr(self, "enable_nested_tensor", True)
        if skip and eager(tgt) and all(unseen(x, TransformerDecoderLayer) for x in self.layers):
            whole = (tgt_mask is not None and not causal) or memory_mask is not None
            whole = whole or memory_is_causal or side.adds or other.adds
            rows, memory_rows = together(side, other, in_place=whole)
            heads = attention.num_heads
            seen = side.visible(tgt_mask, side, causal=causal, heads=heads)
            aligned = memory_is_causal and memory_mask is None
            memory_seen = side.visible(memory_mask, other, causal=aligned, heads=heads)
            x, packed = rows.pack(side.x), memory_rows.pack(other.x)
            layer: Any
            for layer in self.layers:
                x = layer.on_real_steps(x, rows, packed, memory_rows, seen, memory_seen)
            return finish(x, rows, side, self.norm)
        x = side.blank(tgt) if skip else tgt
        for layer in self.layers:
            x = layer(
                x,
                memory,
                tgt_mask=tgt_mask,
                memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask,
                tgt_is_causal=causal,
                memory_is_causal=memory_is_causal,
            )
        x = x if self.norm is None else self.norm(x)
        return side.blank(x) if skip else x


class Transformer(Unscriptable, nn.Transformer):
    r"""`torch.nn.Transformer`: signature, parameters and numbers, on our kernels.

    An encoder, and a decoder that looks at what it gives. What differs from torch.nn is what
    differs in [`TransformerEncoder`][throughtime.torch_nn.TransformerEncoder] and
    [`TransformerDecoder`][throughtime.torch_nn.TransformerDecoder]. So a decoder that is given
    `src_key_padding_mask` but no `memory_key_padding_mask` looks at zeros where torch.nn's looks at
    whatever its encoder made of padding; `encoder.enable_nested_tensor = False` is torch.nn's way.

    Args:
        d_model: features per step, in and out.
        nhead: heads of attention.
        num_encoder_layers: layers of the encoder.
        num_decoder_layers: layers of the decoder.
        dim_feedforward: features inside feed-forward.
        dropout: probability in training.
        activation: `relu`, `gelu` or a function of a tensor.
        custom_encoder: an encoder to use instead of one of ours.
        custom_decoder: a decoder to use instead of one of ours.
        layer_norm_eps: added to the variance by the norms.
        batch_first: `[batch, time, features]` instead of `[time, batch, features]`.
        norm_first: norms inside the sums instead of after them.
        bias: whether there are shifts.
        device: of the parameters.
        dtype: of the parameters.

    Attributes:
        encoder: what `src` goes through.
        decoder: what `tgt` and the encoder's output go through.

    Shapes:
        - `src`: `[source time, batch, d_model]`; `tgt`: `[target time, batch, d_model]`, both also
          without batch; masks as in encoder and decoder.
        - Returns: as `tgt`.

    Errors:
        InputError: an argument that does not fit; `torch.jit.script`.
        RuntimeError: `src` and `tgt` of other sizes than each other, or than `d_model`.

    Examples:
        >>> model = Transformer(8, 2, 1, 1, 16, batch_first=True).eval()
        >>> theirs = torch.nn.Transformer(8, 2, 1, 1, 16, batch_first=True).eval()
        >>> _ = model.load_state_dict(theirs.state_dict())
        >>> src, tgt = torch.randn(3, 7, 8), torch.randn(3, 5, 8)
        >>> torch.allclose(model(src, tgt), theirs(src, tgt), atol=1e-6)
        True

    References:
        Vaswani et al. 2017, "Attention is all you need".
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Tensor], Tensor] = functional.relu,
        custom_encoder: Any | None = None,
        custom_decoder: Any | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        options: Any = (
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first,
            norm_first, bias, device, dtype,
        )  # fmt: skip

        def norm() -> nn.LayerNorm:
            return nn.LayerNorm(d_model, layer_norm_eps, bias=bias, device=device, dtype=dtype)

        # In torch.nn's order, so that the same seed draws the same weights.
        encoder, decoder = custom_encoder, custom_decoder
        if encoder is None:
            layer = TransformerEncoderLayer(*options)
            encoder = TransformerEncoder(layer, num_encoder_layers, norm())
        if decoder is None:
            layer = TransformerDecoderLayer(*options)
            decoder = TransformerDecoder(layer, num_decoder_layers, norm())
        super().__init__(
            d_model, nhead, custom_encoder=encoder, custom_decoder=decoder, batch_first=batch_first
        )

    @classmethod
    def from_torch(cls, module: nn.Transformer) -> "Transformer":
        """One with the options and the very parameters of torch.nn's, its parts turned into ours.

        Args:
            module: a `torch.nn.Transformer`.

        Errors:
            InputError: it is of another class.
        """
        made = adopted(cls, module, nn.Transformer)
        if type(made.encoder) is nn.TransformerEncoder:
            made.encoder = TransformerEncoder.from_torch(made.encoder)
        if type(made.decoder) is nn.TransformerDecoder:
            made.decoder = TransformerDecoder.from_torch(made.decoder)
        return made
