"""Which steps a model attended to: maps of every self-attention layer, and a picture of them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from throughtime.inspect.drawing import Axes, LinearSegmentedColormap, dress, styled
from throughtime.inspect.theme import LIGHT, Theme
from throughtime.layers import SelfAttention
from throughtime.shapes import Float, Tensor

__all__ = ["attention_maps", "draw_attention"]


@torch.no_grad()
def attention_maps(
    model: nn.Module, *inputs: Any, **options: Any
) -> dict[str, Float[Tensor, "batch heads time steps"]]:
    """Run a model once, and say for every self-attention layer how much each step attends to each.

    The model runs as it always does; only these weights are computed again, layer by layer, from
    what each layer was given.

    Args:
        model: any module with [`SelfAttention`][throughtime.layers.SelfAttention] in it.
        inputs: what the model is called with.
        options: likewise, by name.

    Returns:
        By the layer's name in the model, `[batch, heads, time, steps]`: rows add up to 1. `steps`
        are those of the call, after the `horizon` steps of a state if one was given.

    Examples:
        >>> from throughtime.layers import Decoder
        >>> maps = attention_maps(Decoder(8, 2, 2, horizon=4), torch.randn(1, 3, 8))
        >>> {name: list(weights.shape) for name, weights in maps.items()}
        {'layers.1.attention': [1, 2, 3, 3], 'layers.2.attention': [1, 2, 3, 3]}
    """
    maps: dict[str, Tensor] = {}

    def look(name: str) -> Any:
        def hook(layer: SelfAttention, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            maps[name] = layer.weights(*arguments, **named)

        return hook

    hooks = [
        layer.register_forward_pre_hook(look(name), with_kwargs=True)
        for name, layer in model.named_modules()
        if isinstance(layer, SelfAttention)
    ]
    try:
        model(*inputs, **options)
    finally:
        for hook in hooks:
            hook.remove()
    return maps


@styled
def draw_attention(
    ax: Axes,
    weights: Float[Tensor, "time steps"],
    steps: Sequence[str],
    *,
    title: str = "what each step attends to",
    theme: Theme = LIGHT,
) -> Axes:
    """One head's map: a row for each step, as dark as it attends to the step of the column.

    Args:
        ax: where to draw.
        weights: `[time, steps]`; where there are more columns than names, the last ones count.
        steps: a name for each step.
        title: what is seen.
        theme: where it will be seen.
    """
    seen = weights[:, -len(steps) :].detach().cpu().numpy()
    shades = LinearSegmentedColormap.from_list("attention", [theme.surface, theme.palette[0]])
    ax.imshow(seen, cmap=shades, vmin=0, vmax=float(seen.max()), aspect="equal")
    places = range(len(steps))
    ax.set_xticks(places, steps)
    ax.set_yticks(places, steps)
    ax.xaxis.tick_top()
    dress(ax, theme, title)
    ax.grid(visible=False)
    return ax
