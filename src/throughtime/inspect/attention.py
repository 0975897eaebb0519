"""Which steps a model attended to: maps of every attention layer, and a picture of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from unicodedata import east_asian_width

import torch
from torch import nn

from throughtime.inspect.theme import LIGHT, Theme
from throughtime.layers import CrossAttention, GlobalAttention, SelfAttention
from throughtime.shapes import Float, Tensor

if TYPE_CHECKING:
    from throughtime.inspect.drawing import Axes
else:
    Axes = Any  # matplotlib is imported where something is drawn

__all__ = ["attention_maps", "draw_attention"]

Attention = SelfAttention | CrossAttention | GlobalAttention
"""Layers that weigh steps."""


def attention_maps(
    model: nn.Module, *inputs: Any, **options: Any
) -> dict[str, Float[Tensor, "batch heads time steps"]]:
    """Run a model once, and say for every attention layer how much each step attends to each.

    The model runs as it always does; only these weights are computed again, layer by layer, from
    what each layer was given.

    Args:
        model: any module with layers of attention in it: to itself
            ([`SelfAttention`][throughtime.layers.SelfAttention]) or to another sequence
            ([`CrossAttention`][throughtime.layers.CrossAttention],
            [`GlobalAttention`][throughtime.layers.GlobalAttention], which has one head).
        inputs: what the model is called with.
        options: likewise, by name.

    Returns:
        By the layer's name in the model, `[batch, heads, time, steps]`: rows add up to 1, or are
        zeros where there is nothing to look at; those of padded steps mean nothing. Of attention to
        itself `steps` are those of the call, after the `horizon` steps of a state if one was given;
        else they are those of the other sequence.

    Examples:
        >>> from throughtime.layers import Decoder
        >>> maps = attention_maps(Decoder(8, 2, 2, horizon=4), torch.randn(1, 3, 8))
        >>> {name: list(weights.shape) for name, weights in maps.items()}
        {'layers.1.attention': [1, 2, 3, 3], 'layers.2.attention': [1, 2, 3, 3]}
    """
    return watched(attention_layers(model), lambda: model(*inputs, **options))


def attention_layers(model: nn.Module) -> dict[str, Attention]:
    """All layers of attention, by their names in the model."""
    return {name: part for name, part in model.named_modules() if isinstance(part, Attention)}


@torch.no_grad()
def watched(
    layers: Mapping[str, Attention], run: Callable[[], Any]
) -> dict[str, Float[Tensor, "batch heads time steps"]]:
    """The weights of some layers while something runs that they are part of."""
    maps: dict[str, Tensor] = {}

    def look(name: str) -> Any:
        def hook(layer: Attention, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            find = layer.weights if isinstance(layer, SelfAttention) else of_memory(layer)
            maps[name] = find(*arguments, **named)

        return hook

    hooks = [
        layer.register_forward_pre_hook(look(name), with_kwargs=True)
        for name, layer in layers.items()
    ]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return maps


def of_memory(layer: CrossAttention | GlobalAttention) -> Callable[..., Tensor]:
    """What weighs the steps of a memory, called as the layer is."""

    def weights(
        x: Tensor, state: Any = None, mask: Tensor | None = None, reset: Tensor | None = None
    ) -> Tensor:
        layer.check(x, state, mask, reset)
        memory: Any = layer.initial_state(x.shape[0]) if state is None else state
        if isinstance(layer, CrossAttention):
            found = layer.weights(x, memory, mask)
        else:
            x = x if mask is None else torch.where(mask.unsqueeze(-1), x, 0)
            found = layer.weights(x, memory).unsqueeze(1)  # (B, 1, T, S)
        if reset is None:
            return found
        # From a reset on there is nothing to look at.
        return torch.where((reset.cumsum(1) > 0)[:, None, :, None], 0, found)

    return weights


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
    return draw_map(ax, weights[:, -len(steps) :], steps, steps, title=title, theme=theme)


def draw_map(
    ax: Axes,
    weights: Float[Tensor, "time steps"],
    columns: Sequence[str],
    rows: Sequence[str],
    *,
    title: str,
    theme: Theme,
    x: str = "",
    y: str = "",
) -> Axes:
    """Weights as shades, the first row on top, with a name for each column and row."""
    from throughtime.inspect.drawing import LinearSegmentedColormap, dress, style

    with style():
        seen = weights.detach().float().cpu().numpy()
        shades = LinearSegmentedColormap.from_list("attention", [theme.surface, theme.palette[0]])
        ax.imshow(seen, cmap=shades, vmin=0, vmax=float(seen.max(initial=0)), aspect="equal")
        turned = 90 if _crowded(ax, seen.shape, columns) else 0
        ax.set_xticks(range(len(columns)), columns, parse_math=False, rotation=turned)
        ax.set_yticks(range(len(rows)), rows, parse_math=False)
        ax.xaxis.tick_top()
        dress(ax, theme, title, x=x, y=y)
        ax.xaxis.set_label_position("top")
        ax.grid(visible=False)
    return ax


def _crowded(ax: Axes, shape: tuple[int, int], names: Sequence[str]) -> bool:
    """Whether names of columns would run into each other."""
    figure = ax.get_figure()
    assert figure is not None
    box = ax.get_window_extent()
    square = min(box.height / shape[0], box.width / shape[1]) / figure.dpi  # inches
    return bool(72 * square < max(map(_points, names), default=0))


def _points(name: str) -> int:
    """About how wide a name is drawn; letters of East Asia are wider."""
    return sum(10 if east_asian_width(letter) in "WF" else 6 for letter in name)
