# ruff: noqa: FBT001, FBT002 - the signatures are torch.nn's
"""The layers of a Transformer with torch.nn's own signatures, on our kernels."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from throughtime.errors import InputError
from throughtime.kernels.compiled import plain
from throughtime.shapes import Float, Tensor
from throughtime.torch_nn.adopting import adopted
from throughtime.torch_nn.attention import MultiheadAttention, check_heads
from throughtime.torch_nn.bare import (
    adopt_attention,
    bare_feed_forward,
    bare_norm,
    dropped,
    unseen,
)
from throughtime.torch_nn.masks import EVERYTHING, Visible
from throughtime.torch_nn.real_steps import RealSteps
from throughtime.torch_nn.scripting import Unscriptable

Activation = str | Callable[[Tensor], Tensor]


class TransformerEncoderLayer(Unscriptable, nn.TransformerEncoderLayer):
    r"""`torch.nn.TransformerEncoderLayer`: signature, parameters and numbers, on our kernels.

    $$x' = \operatorname{Norm}(x + \operatorname{Attention}(x)), \qquad
    y = \operatorname{Norm}(x' + W_2 \operatorname{act}(W_1 x' + b_1) + b_2)$$

    With `norm_first` the norms are inside the sums. What differs from torch.nn is what differs in
    [`MultiheadAttention`][throughtime.torch_nn.MultiheadAttention]; there is one way through, the
    same in training and in evaluation. By itself it computes padded steps, too, as torch.nn's does
    when it learns; [`TransformerEncoder`][throughtime.torch_nn.TransformerEncoder] leaves them out.

    Args:
        d_model: features per step, in and out.
        nhead: heads of attention.
        dim_feedforward: features between $W_1$ and $W_2$.
        dropout: probability in training, of weights of attention, of what comes out of the
            activation, and of what is added.
        activation: `relu`, `gelu` or a function of a tensor.
        layer_norm_eps: added to the variance by the norms.
        batch_first: `[batch, time, features]` instead of `[time, batch, features]`.
        norm_first: norms inside the sums instead of after them.
        bias: whether there are shifts.
        device: of the parameters.
        dtype: of the parameters.

    Attributes:
        self_attn, linear1, linear2, norm1, norm2, dropout, dropout1, dropout2: the parts.

    Shapes:
        - `src`: `[time, batch, d_model]`, or `[time, d_model]`.
        - `src_mask`: `[time, time]` or `[batch * nhead, time, time]`; `src_key_padding_mask`:
          `[batch, time]`. True is hidden; floats are added to the scores.
        - Returns: as `src`.

    Errors:
        InputError: an argument that does not fit; `torch.jit.script`.

    Examples:
        >>> layer = TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
        >>> theirs = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
        >>> _ = layer.load_state_dict(theirs.state_dict())
        >>> x = torch.randn(3, 5, 8)
        >>> torch.allclose(layer(x), theirs(x), atol=1e-6)
        True

    References:
        Vaswani et al. 2017, "Attention is all you need"; Xiong et al. 2020, "On layer
        normalization in the Transformer architecture".
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = functional.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        _check(type(self).__name__, d_model, nhead, activation)
        super().__init__(
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first,
            norm_first, bias, device, dtype,
        )  # fmt: skip
        self.self_attn = MultiheadAttention.from_torch(self.self_attn)

    @classmethod
    def from_torch(cls, module: nn.TransformerEncoderLayer) -> "TransformerEncoderLayer":
        """One with the options and the very parameters of torch.nn's.

        Args:
            module: a `torch.nn.TransformerEncoderLayer`.

        Errors:
            InputError: it is of another class.
        """
        made = adopted(cls, module, nn.TransformerEncoderLayer)
        adopt_attention(made, "self_attn")
        return made

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """Attention, then feed-forward.

        Args:
            src: the steps.
            src_mask: hides keys from queries.
            src_key_padding_mask: hides keys from all queries of a row.
            is_causal: says that `src_mask` hides just the keys behind each query, or that such a
                mask is meant where there is none.
        """
        if src.is_nested:
            return super().forward(src, src_mask, src_key_padding_mask, is_causal)
        bare = plain() and unseen(self, TransformerEncoderLayer)

        def attend(x: Tensor) -> Tensor:
            if not bare:
                return self._sa_block(x, src_mask, src_key_padding_mask, is_causal=is_causal)
            found, _ = self.self_attn.forward(
                x,
                x,
                x,
                src_key_padding_mask,
                False,  # noqa: FBT003
                src_mask,
                is_causal=is_causal,
            )
            return dropped(found, self.dropout1)

        return self._each(src, attend, bare=bare)

    def on_real_steps(
        self, x: Float[Tensor, "steps size"], rows: RealSteps, seen: Visible = EVERYTHING
    ) -> Float[Tensor, "steps size"]:
        """The same, of the real steps of padded rows.

        Args:
            x: the real steps side by side.
            rows: which these are.
            seen: among them.
        """

        def attend(x: Tensor) -> Tensor:
            found = self.self_attn.on_real_steps(x, rows, x, rows, seen)
            return dropped(found, self.dropout1)

        return self._each(x, attend, bare=True)

    def _each(self, x: Tensor, attend: Callable[[Tensor], Tensor], *, bare: bool) -> Tensor:
        norm1, norm2, feed = self.norm1, self.norm2, self._ff_block
        if bare:
            norm1, norm2 = bare_norm(norm1), bare_norm(norm2)
            feed = bare_feed_forward(self, self.dropout2)
        if self.norm_first:
            x = x + attend(norm1(x))
            return x + feed(norm2(x))
        x = norm1(x + attend(x))
        return norm2(x + feed(x))


class TransformerDecoderLayer(Unscriptable, nn.TransformerDecoderLayer):
    r"""`torch.nn.TransformerDecoderLayer`: signature, parameters and numbers, on our kernels.

    As [`TransformerEncoderLayer`][throughtime.torch_nn.TransformerEncoderLayer], with attention to
    a memory between self-attention and feed-forward.

    Args:
        d_model: features per step, in and out, and of the memory.
        nhead: heads of attention.
        dim_feedforward: features inside feed-forward.
        dropout: probability in training, of weights of attention, of what comes out of the
            activation, and of what is added.
        activation: `relu`, `gelu` or a function of a tensor.
        layer_norm_eps: added to the variance by the norms.
        batch_first: `[batch, time, features]` instead of `[time, batch, features]`.
        norm_first: norms inside the sums instead of after them.
        bias: whether there are shifts.
        device: of the parameters.
        dtype: of the parameters.

    Attributes:
        self_attn: looks at the target.
        multihead_attn: looks at the memory.
        linear1, linear2: the feed-forward part.
        norm1, norm2, norm3: of the stream.
        dropout, dropout1, dropout2, dropout3: of what is added.

    Shapes:
        - `tgt`: `[time, batch, d_model]`, or `[time, d_model]`; `memory`: `[keys, batch, d_model]`,
          or `[keys, d_model]`.
        - `tgt_mask`: `[time, time]`, `memory_mask`: `[time, keys]`, or one for each row and head;
          `tgt_key_padding_mask`: `[batch, time]`, `memory_key_padding_mask`: `[batch, keys]`. True
          is hidden; floats are added to the scores.
        - Returns: as `tgt`.

    Errors:
        InputError: an argument that does not fit; `torch.jit.script`.

    Examples:
        >>> layer = TransformerDecoderLayer(8, 2, 16, batch_first=True).eval()
        >>> theirs = torch.nn.TransformerDecoderLayer(8, 2, 16, batch_first=True).eval()
        >>> _ = layer.load_state_dict(theirs.state_dict())
        >>> x, memory = torch.randn(3, 5, 8), torch.randn(3, 7, 8)
        >>> torch.allclose(layer(x, memory), theirs(x, memory), atol=1e-6)
        True

    References:
        Vaswani et al. 2017, "Attention is all you need".
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = functional.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        _check(type(self).__name__, d_model, nhead, activation)
        super().__init__(
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first,
            norm_first, bias, device, dtype,
        )  # fmt: skip
        self.self_attn = MultiheadAttention.from_torch(self.self_attn)
        self.multihead_attn = MultiheadAttention.from_torch(self.multihead_attn)

    @classmethod
    def from_torch(cls, module: nn.TransformerDecoderLayer) -> "TransformerDecoderLayer":
        """One with the options and the very parameters of torch.nn's.

        Args:
            module: a `torch.nn.TransformerDecoderLayer`.

        Errors:
            InputError: it is of another class.
        """
        made = adopted(cls, module, nn.TransformerDecoderLayer)
        adopt_attention(made, "self_attn", "multihead_attn")
        return made

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Attention to itself, then to the memory, then feed-forward.

        Args:
            tgt: the steps.
            memory: what an encoder gave.
            tgt_mask: hides keys of `tgt` from queries.
            memory_mask: hides keys of `memory` from queries.
            tgt_key_padding_mask: hides keys of `tgt` from all queries of a row.
            memory_key_padding_mask: the same of `memory`.
            tgt_is_causal: says that `tgt_mask` hides just the keys behind each query, or that such
                a mask is meant where there is none.
            memory_is_causal: the same of `memory_mask`.
        """

        def attend(x: Tensor) -> Tensor:
            return self._sa_block(x, tgt_mask, tgt_key_padding_mask, tgt_is_causal)

        def look(x: Tensor) -> Tensor:
            return self._mha_block(
                x, memory, memory_mask, memory_key_padding_mask, memory_is_causal
            )

        bare = plain() and unseen(self, TransformerDecoderLayer)
        return self._each(tgt, attend, look, bare=bare)

    def on_real_steps(
        self,
        x: Float[Tensor, "steps size"],
        rows: RealSteps,
        memory: Float[Tensor, "memory_steps size"],
        memory_rows: RealSteps,
        seen: Visible = EVERYTHING,
        memory_seen: Visible = EVERYTHING,
    ) -> Float[Tensor, "steps size"]:
        """The same, of the real steps of padded rows.

        Args:
            x: the real steps side by side.
            rows: which these are.
            memory: its real steps.
            memory_rows: which these are, in the same groups.
            seen: of `x`.
            memory_seen: of the memory.
        """

        def attend(x: Tensor) -> Tensor:
            found = self.self_attn.on_real_steps(x, rows, x, rows, seen)
            return dropped(found, self.dropout1)

        def look(x: Tensor) -> Tensor:
            found = self.multihead_attn.on_real_steps(x, rows, memory, memory_rows, memory_seen)
            return dropped(found, self.dropout2)

        return self._each(x, attend, look, bare=True)

    def _each(
        self,
        x: Tensor,
        attend: Callable[[Tensor], Tensor],
        look: Callable[[Tensor], Tensor],
        *,
        bare: bool,
    ) -> Tensor:
        norm1, norm2, norm3, feed = self.norm1, self.norm2, self.norm3, self._ff_block
        if bare:
            norm1, norm2, norm3 = bare_norm(norm1), bare_norm(norm2), bare_norm(norm3)
            feed = bare_feed_forward(self, self.dropout3)
        if self.norm_first:
            x = x + attend(norm1(x))
            x = x + look(norm2(x))
            return x + feed(norm3(x))
        x = norm1(x + attend(x))
        x = norm2(x + look(x))
        return norm3(x + feed(x))


def _check(layer: str, size: int, heads: int, activation: Activation) -> None:
    check_heads(layer, "d_model", size, "nhead", heads)
    if isinstance(activation, str) and activation not in ("relu", "gelu"):
        raise InputError(
            f"{layer}: activation is {activation!r}, expected 'relu', 'gelu' or a function"
        )
