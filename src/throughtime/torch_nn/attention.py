# ruff: noqa: FBT001, FBT002 - the signatures are torch.nn's
"""`MultiheadAttention` with torch.nn's own signature, on our kernels."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.functional import dropout as drop
from torch.nn.functional import linear

from throughtime import kernels
from throughtime.errors import InputError
from throughtime.kernels.compiled import transformed
from throughtime.layers.base import check_size, on_real_steps
from throughtime.shapes import Float, Tensor
from throughtime.torch_nn.adopting import adopted
from throughtime.torch_nn.checks import check_dtype, check_tensor
from throughtime.torch_nn.masks import EVERYTHING, Visible, eager, shown, visible
from throughtime.torch_nn.real_steps import RealSteps, pick, spread
from throughtime.torch_nn.scripting import Unscriptable


class MultiheadAttention(Unscriptable, nn.MultiheadAttention):
    r"""`torch.nn.MultiheadAttention`: signature, parameters, masks and numbers, on our kernels.

    $$y = W_O \operatorname{concat}_h\left(\operatorname{softmax}\left(
    \frac{Q_h K_h^\top}{\sqrt{d}} + B\right) V_h\right) + b_O$$

    Where it differs from `torch.nn.MultiheadAttention`:

    - A query that may attend to nothing gets zeros from every head, so $b_O$ comes out, and zeros
      for weights. torch.nn gives NaN there, at times, and NaN gradients to everything else.
    - What stands in a hidden key, be it NaN, changes nothing, unless it is a query, too.
    - `is_causal=True` needs no `attn_mask`.
    - Second derivatives, forward-mode derivatives, `torch.func`, `torch.compile(fullgraph=True)`,
      and `torch.export` with free batch and time; training and evaluation take the same way.

    Args:
        embed_dim: features of queries and of the output.
        num_heads: of attention; divides `embed_dim`.
        dropout: probability with which a weight of attention is zero in training.
        bias: whether the projections have shifts.
        add_bias_kv: one more key and value, learned.
        add_zero_attn: one more key and value, of zeros.
        kdim: features of keys; None is `embed_dim`.
        vdim: features of values; None is `embed_dim`.
        batch_first: `[batch, time, features]` instead of `[time, batch, features]`.
        device: of the parameters.
        dtype: of the parameters.

    Attributes:
        in_proj_weight: projections of queries, keys, values from the top, `[3 * embed_dim,
            embed_dim]`; with `kdim` or `vdim` it is None, and there are `q_proj_weight`,
            `k_proj_weight` and `v_proj_weight`.
        in_proj_bias: their shifts, `[3 * embed_dim]`, or None.
        out_proj: the projection of what the heads find.
        bias_k, bias_v: the learned key and value, `[1, 1, embed_dim]`, or None.

    Shapes:
        - `query`: `[time, batch, embed_dim]`, or `[time, embed_dim]`; `key`, `value`:
          `[keys, batch, kdim]`, `[keys, batch, vdim]`. Any time, and keys, may be 0.
        - Returns: the output, as `query`, and the weights after dropout: `[batch, time, keys]`;
          `[batch, num_heads, time, keys]` with `average_attn_weights=False`; None with
          `need_weights=False`.

    Errors:
        InputError: an argument that does not fit; `torch.jit.script`.

    Examples:
        >>> layer, theirs = MultiheadAttention(8, 2), torch.nn.MultiheadAttention(8, 2)
        >>> _ = layer.load_state_dict(theirs.state_dict())
        >>> x = torch.randn(5, 3, 8)
        >>> torch.allclose(layer(x, x, x)[0], theirs(x, x, x)[0], atol=1e-6)
        True
        >>> hidden = torch.tensor([[True] * 5, [False] * 5, [False] * 5])
        >>> layer(x, x, x, key_padding_mask=hidden)[1][0].sum().item()
        0.0

    References:
        Vaswani et al. 2017, "Attention is all you need", section 3.2.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_heads(type(self).__name__, "embed_dim", embed_dim, "num_heads", num_heads)
        super().__init__(
            embed_dim, num_heads, dropout, bias, add_bias_kv, add_zero_attn, kdim, vdim,
            batch_first, device, dtype,
        )  # fmt: skip

    @classmethod
    def from_torch(cls, module: nn.MultiheadAttention) -> "MultiheadAttention":
        """One with the options and the very parameters of torch.nn's.

        Args:
            module: a `torch.nn.MultiheadAttention`.

        Errors:
            InputError: it is of another class.
        """
        return adopted(cls, module, nn.MultiheadAttention)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend.

        Args:
            query: who asks.
            key: what they are compared with.
            value: what is there to find; as many as keys.
            key_padding_mask: `[batch, keys]`, or `[keys]`; True is hidden, floats are added.
            need_weights: also return the weights, which costs the fused kernel.
            attn_mask: `[time, keys]`, or `[batch * num_heads, time, keys]`; the same conventions.
            average_attn_weights: return the mean of the heads' weights.
            is_causal: says that `attn_mask` hides just the keys behind each query, or that such
                a mask is meant where there is none.
        """
        check_tensor(type(self).__name__, "query", query)
        if query.is_nested:
            return super().forward(
                query, key, value, key_padding_mask, need_weights, attn_mask,
                average_attn_weights, is_causal,
            )  # fmt: skip
        self._check(query, key, value)
        alone, axis = query.ndim == 2, 0 if self.batch_first else 1
        if alone:
            itself = query is key and key is value
            query = query.unsqueeze(axis)
            key, value = (query, query) if itself else (key.unsqueeze(axis), value.unsqueeze(axis))
            if key_padding_mask is not None:
                key_padding_mask = key_padding_mask.unsqueeze(0)
        rows, time = self._batch_time(query)
        seen = visible(
            type(self).__name__,
            attn_mask,
            key_padding_mask,
            causal=is_causal
            and (attn_mask is None or (key_padding_mask is None and not need_weights)),
            rows=rows,
            heads=self.num_heads,
            time=time,
            keys=self._batch_time(key)[1],
            dtype=query.dtype,
        )
        real = None if key_padding_mask is None else shown(key_padding_mask)
        made = self._project(query, key, value, real)
        q, k, v = (self._by_heads(part) for part in made)
        heads, weights = self._look(q, k, v, seen, need_weights=need_weights)
        heads = heads.transpose(1, 2) if self.batch_first else heads.permute(2, 0, 1, 3)
        output = linear(heads.flatten(2), self.out_proj.weight, self.out_proj.bias)
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        if alone:
            output = output.squeeze(axis)
            weights = None if weights is None else weights.squeeze(0)
        return output, weights

    def on_real_steps(
        self,
        query: Float[Tensor, "steps embed"],
        rows: RealSteps,
        key: Float[Tensor, "key_steps embed"],
        key_rows: RealSteps,
        seen: Visible = EVERYTHING,
    ) -> Float[Tensor, "steps embed"]:
        """The same, of the real steps of padded rows; keys and values are one.

        Args:
            query: the real steps side by side.
            rows: which these are.
            key: those of the keys, `query` itself for self-attention.
            key_rows: which these are, in the same groups.
            seen: among the real steps; anything but everything or causal needs `in_place`.
        """
        q, k, v = self._project(query, key, key, None)
        found = []
        for group, keys in zip(rows.groups, key_rows.groups, strict=True):
            asked = group.set_out(q, self.num_heads)
            known, told = (keys.set_out(part, self.num_heads) for part in (k, v))
            among = seen.among(keys.real, asked, known)
            heads, _ = self._look(asked, known, told, among, need_weights=False)
            found.append(group.take_back(heads))
        heads = torch.cat(found) if found else torch.zeros_like(q)
        return linear(heads, self.out_proj.weight, self.out_proj.bias)

    def _look(
        self, q: Tensor, k: Tensor, v: Tensor, seen: Visible, *, need_weights: bool
    ) -> tuple[Float[Tensor, "batch heads time head"], Tensor | None]:
        """What each head finds, and where it looked."""
        if self.bias_k is not None or self.add_zero_attn:
            k, v, seen = self._more_keys(q, k, v, seen)
        share = self.dropout if self.training else 0.0
        learned = seen.bias is not None and seen.bias.requires_grad
        if not (need_weights or share or learned or traced()):
            found = kernels.attention(
                q, k, v, allowed=seen.allowed, bias=seen.bias, causal=seen.causal
            )
            return found, None
        weights = shares(q, k, seen)
        if share:
            weights = drop(weights, share)
        return weights @ v, weights if need_weights else None

    def _more_keys(
        self, q: Tensor, k: Tensor, v: Tensor, seen: Visible
    ) -> tuple[Tensor, Tensor, Visible]:
        """Keys and values behind the others that every query sees."""
        before, rows = k, k.shape[0]
        if self.bias_k is not None and self.bias_v is not None:
            k, v = (
                torch.cat(
                    [x, b.to(x.dtype).view(1, self.num_heads, 1, -1).expand(rows, -1, -1, -1)], 2
                )
                for x, b in ((k, self.bias_k), (v, self.bias_v))
            )
        if self.add_zero_attn:
            k, v = (torch.cat([x, torch.zeros_like(x[:, :, :1])], 2) for x in (k, v))
        return k, v, seen.and_more(k.shape[2] - before.shape[2], q, before)

    def _project(
        self, query: Tensor, key: Tensor, value: Tensor, real: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, `[..., embed_dim]`; zeros for hidden keys of a memory."""
        weight, bias, size = self.in_proj_weight, self.in_proj_bias, self.embed_dim
        if weight is not None and query is key and key is value:
            q, k, v = linear(query, weight, bias).chunk(3, -1)
            return q, k, v
        if real is not None and not self.batch_first:
            real = real.T
        sizes = [size, size, size] if weight is None or key is not value else [size, 2 * size]
        shifts: Any = [None] * 3 if bias is None else bias.split(sizes)
        if weight is None:
            weights: Any = self.q_proj_weight, self.k_proj_weight, self.v_proj_weight
        else:
            weights = weight.split(sizes)
        q = linear(query, weights[0], shifts[0])
        if len(sizes) == 2:
            both = project_real(lambda x: linear(x, weights[1], shifts[1]), key, real)
            k, v = both.chunk(2, -1)
            return q, k, v
        k = project_real(lambda x: linear(x, weights[1], shifts[1]), key, real)
        v = project_real(lambda x: linear(x, weights[2], shifts[2]), value, real)
        return q, k, v

    def _by_heads(self, x: Tensor) -> Float[Tensor, "batch heads time head"]:
        x = x.unflatten(-1, (self.num_heads, self.head_dim))
        return x.transpose(1, 2) if self.batch_first else x.permute(1, 2, 0, 3)

    def _batch_time(self, x: Tensor) -> tuple[int, int]:
        return (x.shape[0], x.shape[1]) if self.batch_first else (x.shape[1], x.shape[0])

    def _check(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        """Refuse what does not fit, in one line; only forms are read."""
        name, order = type(self).__name__, "batch, time" if self.batch_first else "time, batch"
        for argument, x, size in (
            ("query", query, self.embed_dim),
            ("key", key, self.kdim),
            ("value", value, self.vdim),
        ):
            check_tensor(name, argument, x)
            if x.ndim not in (2, 3):
                raise InputError(
                    f"{name}: {argument} has shape {list(x.shape)}, "
                    f"expected [{order}, features] or [time, features]"
                )
            if x.ndim != query.ndim:
                raise InputError(f"{name}: {argument} has {x.ndim} axes, query has {query.ndim}")
            if x.shape[-1] != size:
                raise InputError(f"{name}: {argument} has {x.shape[-1]} features, expected {size}")
            check_dtype(name, argument, x, self.out_proj.weight.dtype)
        if key.shape[:-1] != value.shape[:-1]:
            raise InputError(
                f"{name}: value has shape {list(value.shape)}, expected as many steps as key, "
                f"{list(key.shape)}"
            )
        if query.ndim == 3 and self._batch_time(key)[0] != self._batch_time(query)[0]:
            raise InputError(
                f"{name}: key has {self._batch_time(key)[0]} rows, "
                f"query has {self._batch_time(query)[0]}"
            )


def check_heads(layer: str, name: str, size: int, heads_name: str, heads: int) -> None:
    """Refuse sizes below 1, and heads that do not divide the features."""
    check_size(layer, name, size)
    check_size(layer, heads_name, heads)
    if size % heads:
        raise InputError(f"{layer}: {name} is {size}, expected a multiple of {heads_name}, {heads}")


def shares(
    q: Float[Tensor, "batch heads time size"],
    k: Float[Tensor, "batch heads keys size"],
    seen: Visible,
) -> Float[Tensor, "batch heads time keys"]:
    """How much each query takes of each key: adds up to 1, or is all zeros where it sees none."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    added, nothing = seen.added(q, k)
    if added is not None:
        scores = scores + added if transformed() else scores.add_(added)
    weights = scores.softmax(-1)
    return weights if nothing is None else weights.masked_fill(nothing, 0)


def project_real(function: Callable[[Tensor], Tensor], x: Tensor, real: Tensor | None) -> Tensor:
    """What a function makes of each real step; zeros in the others, which cost nothing eagerly."""
    if real is None or not eager(x):
        return on_real_steps(function, x, real)
    index = real.flatten().nonzero().squeeze(1)
    made = spread(function(pick(x.flatten(0, 1), index)), index, real.numel())
    return made.view(*real.shape, made.shape[1])


def traced() -> bool:
    """Whether `torch.jit.trace` looks on, to which sizes are tensors."""
    return not torch.compiler.is_compiling() and torch._C._is_tracing()
