"""The parts of a Transformer's layer as plain functions, where nobody can tell the difference.

A module called is some Python around one function: hooks, mostly. Where there are none, and each
part is just torch.nn's, the functions are called themselves.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.functional import linear
from torch.nn.modules import module as globally

from throughtime.shapes import Tensor
from throughtime.torch_nn.adopting import patches
from throughtime.torch_nn.attention import MultiheadAttention

KINDS: dict[str, tuple[type[nn.Module], ...]] = {
    "self_attn": (MultiheadAttention,),
    "multihead_attn": (MultiheadAttention,),
    **dict.fromkeys(("linear1", "linear2"), (nn.Linear,)),
    **dict.fromkeys(("norm1", "norm2", "norm3"), (nn.LayerNorm,)),
    **dict.fromkeys(("dropout", "dropout1", "dropout2", "dropout3"), (nn.Dropout,)),
}


def unseen(layer: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a layer has no hooks, nor parts of another kind.

    Args:
        layer: of a stack.
        kind: what it must be, no less and no more.
    """
    if type(layer) is not kind or hooked(layer) or patches(layer):
        return False
    if globally._has_any_global_hook():
        return False
    for name, part in layer._modules.items():
        if name not in KINDS:  # an activation that is a module
            if part is not None and any(hooked(inner) for inner in part.modules()):
                return False
            continue
        if part is None or type(part) not in KINDS[name] or hooked(part) or patches(part):
            return False
    return True


def hooked(module: nn.Module) -> bool:
    """Whether somebody looks at what goes in or comes out."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )


def by_steps(norm: nn.Module) -> bool:
    """Whether it is known that a norm treats each step by itself, and that nobody looks."""
    return type(norm) in (nn.LayerNorm, nn.RMSNorm, nn.Identity) and not hooked(norm)


def bare_norm(norm: nn.LayerNorm) -> Any:
    """What a norm does."""
    shape, eps = norm.normalized_shape, norm.eps
    weight, bias = norm.weight, norm.bias
    return lambda x: torch.layer_norm(x, shape, weight, bias, eps)


def bare_feed_forward(layer: Any, last: nn.Dropout) -> Callable[[Tensor], Tensor]:
    """What linear1, the activation, and linear2 do, with dropout behind each of the latter.

    Args:
        layer: of the encoder or the decoder.
        last: the dropout of what comes out.
    """
    first, second, inner, activation = layer.linear1, layer.linear2, layer.dropout, layer.activation

    def feed(x: Tensor) -> Tensor:
        x = linear(x, first.weight, first.bias)
        if activation is functional.relu and not torch.is_grad_enabled():
            x = x.relu_()  # nobody else has it
        else:
            x = activation(x)
        x = dropped(x, inner)
        return dropped(linear(x, second.weight, second.bias), last)

    return feed


def dropped(x: Tensor, dropout: nn.Dropout) -> Tensor:
    """What a dropout does."""
    if not (dropout.training and dropout.p):
        return x
    return functional.dropout(x, dropout.p, inplace=dropout.inplace)


def adopt_attention(layer: nn.Module, *names: str) -> None:
    """Attention of torch.nn turned into ours; what is of another class stays what it is."""
    for name in names:
        part = getattr(layer, name)
        if type(part) is nn.MultiheadAttention and not patches(part):
            setattr(layer, name, MultiheadAttention.from_torch(part))
