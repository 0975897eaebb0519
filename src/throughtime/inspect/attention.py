"""Which steps a model attended to: maps of every attention layer, and pictures of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from unicodedata import east_asian_width

import torch
from torch import nn

from throughtime.errors import InputError
from throughtime.inspect.theme import LIGHT, Theme
from throughtime.layers import Bidirectional, CrossAttention, GlobalAttention, SelfAttention
from throughtime.shapes import Bool, Float, Tensor

if TYPE_CHECKING:
    from throughtime.inspect.drawing import Axes, Figure
else:
    Axes = Figure = Any  # matplotlib is imported where something is drawn

__all__ = ["attention_maps", "attention_rollout", "draw_attention", "draw_heads"]

FUSIONS = ("mean", "max", "min")
"""How the heads of a layer are made one."""

NAMED = 24
"""Steps up to which small maps name each of them; longer ones count."""

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
        else they are those of the other sequence. Both axes are in the order of the input.

    Examples:
        >>> from throughtime.layers import Decoder
        >>> maps = attention_maps(Decoder(8, 2, 2, horizon=4), torch.randn(1, 3, 8))
        >>> {name: list(weights.shape) for name, weights in maps.items()}
        {'layers.1.attention': [1, 2, 3, 3], 'layers.2.attention': [1, 2, 3, 3]}
    """
    layers = attention_layers(model)
    maps = watched(layers, lambda: model(*inputs, **options))
    both = (part for part in model.modules() if isinstance(part, Bidirectional))
    turned = {layer for one in both for layer in one.against.modules()}
    return {
        name: weights.flip(-2, -1) if layers[name] in turned else weights
        for name, weights in maps.items()
    }


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


def attention_rollout(
    maps: Mapping[str, Tensor] | Sequence[Tensor],
    mask: Bool[Tensor, "batch time"] | None = None,
    *,
    head_fusion: str = "mean",
    residual: float = 0.5,
) -> Float[Tensor, "batch time steps"]:
    r"""How much of each step at the bottom is in each step at the top, if attention says it all.

    A block adds what it attends to to what was there. With $A^l$ the map of layer l, its heads made
    one, and r the share that stays in its place,

    $$\hat A^l = r I + (1 - r) A^l, \qquad R = \hat A^L \cdots \hat A^2 \hat A^1$$

    Rows of $A^l$ are made to add up to 1 first, so that r is the same however heads are fused; a
    row with nothing to look at stays as it is. A causal model's rollout is causal. It is a sketch:
    that values differ in size, and what feed-forward layers do, is left out.

    Args:
        maps: of self-attention, from the bottom to the top: `[batch, heads, time, time]` each, as
            of [`attention_maps`][throughtime.inspect.attention.attention_maps]; not those of calls
            that a state was given.
        mask: `[batch, time]`, True where a step is real.
        head_fusion: `mean`, or the `max` or `min` over heads.
        residual: r, in [0, 1).

    Returns:
        `[batch, time, steps]`. Rows of real steps add up to 1 over real steps; all else is zero.

    Errors:
        InputError: no maps, maps that do not fit on each other, or another fusion.

    Examples:
        >>> first = torch.tensor([[1.0, 0.0], [1.0, 0.0]]).view(1, 1, 2, 2)  # looked at by both
        >>> attention_rollout([first, first])[0].tolist()
        [[1.0, 0.0], [0.75, 0.25]]

    References:
        Abnar and Zuidema 2020, "Quantifying attention flow in Transformers".
    """
    layers = check_square("attention_rollout", maps, mask)
    if head_fusion not in FUSIONS:
        raise InputError(
            f"attention_rollout: head_fusion is {head_fusion!r}, expected one of {[*FUSIONS]}"
        )
    if not 0 <= residual < 1:
        raise InputError(f"attention_rollout: residual is {residual}, expected a share in [0, 1)")
    first = next(iter(layers.values()))
    real = _all_real(first) if mask is None else mask
    both = real.unsqueeze(2) & real.unsqueeze(1)  # (B, T, T)
    stays = torch.eye(first.shape[-1], dtype=first.dtype, device=first.device)
    rollout = torch.where(real.unsqueeze(-1), stays, 0)
    for weights in layers.values():
        seen = torch.where(both, _fused(weights, head_fusion), 0)
        total = seen.sum(-1, keepdim=True)
        seen = torch.where(total > 0, seen / total, stays)
        rollout = (residual * stays + (1 - residual) * seen) @ rollout
    return torch.where(both, rollout, 0)


def _fused(
    weights: Float[Tensor, "batch heads time steps"], how: str
) -> Float[Tensor, "batch time steps"]:
    if how == "mean":
        return weights.mean(1)
    return weights.amax(1) if how == "max" else weights.amin(1)


def _all_real(weights: Float[Tensor, "batch heads time steps"]) -> Bool[Tensor, "batch time"]:
    return torch.ones(weights.shape[0], weights.shape[2], dtype=torch.bool, device=weights.device)


def check_square(
    name: str, maps: Mapping[str, Tensor] | Sequence[Tensor], mask: Tensor | None
) -> dict[str, Float[Tensor, "batch heads time time"]]:
    """Maps of self-attention by layer, in at least single precision; or a refusal of others.

    Args:
        name: who asks.
        maps: by layer, or one after the other: their numbers are then their names.
        mask: that of all of them.
    """
    layers = maps if isinstance(maps, Mapping) else {str(at): m for at, m in enumerate(maps)}
    if not layers:
        raise InputError(f"{name}: got no maps, expected one for each layer of self-attention")
    kept: dict[str, Tensor] = {}
    for layer, weights in layers.items():
        shape = list(weights.shape)
        if weights.ndim != 4 or shape[2] != shape[3] or not shape[1]:
            raise InputError(
                f"{name}: the map of {layer!r} has shape {shape}, expected "
                "[batch, heads, time, time], as of self-attention without a state"
            )
        first = next(iter(kept.values()), weights)
        batch, _, time, _ = first.shape
        if (shape[0], shape[2]) != (batch, time):
            raise InputError(
                f"{name}: the map of {layer!r} has shape {shape}, expected "
                f"[{batch}, heads, {time}, {time}], as of {next(iter(kept))!r}"
            )
        kept[layer] = weights.detach().to(torch.promote_types(weights.dtype, torch.float32))
        check_mask(name, weights, mask)
    return kept


def check_mask(name: str, weights: Float[Tensor, "batch heads time steps"], mask: Any) -> None:
    """Refuse a mask that is not of these rows."""
    expected = [weights.shape[0], weights.shape[2]]
    if mask is not None and list(mask.shape) != expected:
        raise InputError(f"{name}: mask has shape {list(mask.shape)}, expected {expected}")


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
        ax.imshow(seen, cmap=shades, vmin=0, vmax=largest(weights), aspect="equal")
        turned = 90 if _crowded(ax, seen.shape, columns) else 0
        ax.set_xticks(range(len(columns)), columns, parse_math=False, rotation=turned)
        ax.set_yticks(range(len(rows)), rows, parse_math=False)
        ax.xaxis.tick_top()
        dress(ax, theme, title, x=x, y=y)
        ax.xaxis.set_label_position("top")
        ax.grid(visible=False)
    return ax


def largest(weights: Float[Tensor, "time steps"]) -> float:
    """The largest weight of a row that had a choice; the first step of a causal model has none."""
    if not weights.numel():
        return 0.0
    choice = (weights > 0).sum(-1) > 1
    return float((weights[choice] if choice.any() else weights).max())


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


def draw_heads(
    figure: Figure,
    weights: Float[Tensor, "heads time steps"],
    columns: Sequence[str],
    rows: Sequence[str] | None = None,
    *,
    title: str = "what each head attends to",
    names: Sequence[str] | None = None,
    theme: Theme = LIGHT,
) -> list[Axes]:
    """The maps of all heads of a layer beside each other, each as dark as its own largest weight.

    That weight is written below each map, so that a head that spreads can be told from one that
    points; steps without a choice do not count for it. Steps are named where there are few, and
    counted where there are many.

    Args:
        figure: an empty one, with room: about 1.6 inches for each head.
        weights: `[heads, time, steps]`, of one row of a batch; padding is cut off beforehand.
        columns: a name for each step that is looked at; where there are more steps than names, the
            last ones count.
        rows: a name for each step that looks; by default those of the columns.
        title: what is seen.
        names: of the heads, such as what [`describe_heads`][throughtime.inspect.describe_heads]
            calls them; by default their numbers.
        theme: where it will be seen.

    Returns:
        The axes of the heads, in order.

    Errors:
        InputError: more names than there are steps or heads, or fewer.
    """
    from throughtime.inspect.drawing import short, style

    rows = columns if rows is None else rows
    heads = weights.shape[0]
    names = [f"head {head}" for head in range(heads)] if names is None else names
    if len(columns) > weights.shape[2] or len(rows) != weights.shape[1] or len(names) != heads:
        raise InputError(
            f"draw_heads: weights have shape {list(weights.shape)}, expected "
            f"{[len(names), len(rows), len(columns)]}, by the names of heads, rows and columns"
        )
    seen = weights.detach()[:, :, weights.shape[2] - len(columns) :].float().cpu()
    width, height = figure.get_size_inches()
    across = max(  # as makes the maps largest
        range(1, heads + 1), key=lambda across: min(width / across, height / -(-heads // across))
    )
    down = -(-heads // across)
    with style():
        grid = figure.subplots(down, across, squeeze=False)
        figure.patch.set_alpha(0)
        figure.suptitle(
            short(title, 80), x=0.01, ha="left", color=theme.ink, fontsize=10, fontweight="bold",
            parse_math=False,
        )  # fmt: skip
        for place, ax in enumerate(grid.flat):
            if place >= heads:
                ax.set_axis_off()
                continue
            _draw_small(ax, seen[place], names[place], theme)
            _name_steps(ax, columns if place < across else [], rows if place % across == 0 else [])
    return [*grid.flat][:heads]


def _draw_small(ax: Axes, weights: Float[Tensor, "time steps"], name: str, theme: Theme) -> None:
    from throughtime.inspect.drawing import LinearSegmentedColormap, short

    shades = LinearSegmentedColormap.from_list("attention", [theme.surface, theme.palette[0]])
    top = largest(weights)
    ax.imshow(weights.numpy(), cmap=shades, vmin=0, vmax=top, aspect="equal")
    ax.patch.set_alpha(0)
    ax.spines[:].set_color(theme.grid)
    ax.tick_params(colors=theme.muted, length=0, labelsize=7, pad=2)
    ax.xaxis.tick_top()
    ax.set_xlabel(
        f"{short(name, 24)} · up to {top:.2g}", color=theme.ink, fontsize=7.5, parse_math=False
    )


def _name_steps(ax: Axes, columns: Sequence[str], rows: Sequence[str]) -> None:
    """Names where they are few, numbers where they are many, nothing where there are none."""
    from throughtime.inspect.drawing import MaxNLocator

    turned = 90 if _crowded(ax, (1, max(1, len(columns))), columns) else 0
    for axis, set_ticks, names, rotation in (
        (ax.xaxis, ax.set_xticks, columns, turned),
        (ax.yaxis, ax.set_yticks, rows, 0),
    ):
        if len(names) > NAMED:
            axis.set_major_locator(MaxNLocator(4, integer=True))
        else:
            set_ticks(range(len(names)), names, parse_math=False, rotation=rotation)
