"""What each head of attention does, in numbers: how widely it spreads, and how far it looks."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from throughtime.errors import InputError
from throughtime.inspect.attention import check_mask, check_square
from throughtime.inspect.theme import LIGHT, Theme
from throughtime.shapes import Bool, Float, Int, Tensor

if TYPE_CHECKING:
    from throughtime.inspect.drawing import Axes
else:
    Axes = Any  # matplotlib is imported where something is drawn

__all__ = ["attention_distance", "attention_entropy", "draw_head_measures"]

SHORT = 10
"""Letters of a unit up to which there is room for it in a title."""


def attention_entropy(
    weights: Tensor,
    mask: Tensor | None = None,
    *,
    share: bool = False,
    allowed: Tensor | None = None,
) -> Float[Tensor, " heads"]:
    r"""How widely each head spreads what it attends to: 0 where it points at one step.

    $$H_t = -\sum_s a_{ts} \ln a_{ts}, \qquad \text{or as a share} \quad \frac{H_t}{\ln n_t}$$

    in nats, as a mean over all real steps t. Causal attention chooses among few steps at the
    beginning and among many later on; the share of the largest possible entropy, that of a choice
    among $n_t$ steps, makes them comparable. There only steps with a choice count.

    Args:
        weights: `[batch, heads, time, steps]`, a layer's map, of any kind of attention.
        mask: `[batch, time]`, True where a step is real.
        share: divide by the largest possible.
        allowed: `[batch, time, steps]`, what each step may choose from; by default what any head of
            the layer gives weight to, for a softmax gives a little to all that it may see.

    Returns:
        `[heads]`; NaN where no step counts.

    Errors:
        InputError: a mask or `allowed` of another shape.

    Examples:
        >>> even = torch.full((1, 1, 3, 4), 0.25)
        >>> f"{attention_entropy(even).item():.4f}", attention_entropy(even, share=True).item()
        ('1.3863', 1.0)

    References:
        Clark et al. 2019, "What does BERT look at? An analysis of BERT's attention".
    """
    weights, looks = looking("attention_entropy", weights, mask)
    entropy = torch.special.entr(weights).sum(-1)  # (B, H, T)
    if not share:
        return mean_over(entropy, looks)
    if allowed is None:
        allowed = (weights > 0).any(1)
    elif allowed.shape != weights[:, 0].shape:
        raise InputError(
            f"attention_entropy: allowed has shape {list(allowed.shape)}, "
            f"expected {list(weights[:, 0].shape)}"
        )
    choices = allowed.sum(-1)
    return mean_over(entropy / choices.log().unsqueeze(1), looks & (choices > 1))


def attention_distance(
    weights: Tensor,
    mask: Tensor | None = None,
    *,
    places: Tensor | None = None,
) -> Float[Tensor, " heads"]:
    r"""How far each head looks, on average.

    $$d = \frac1T \sum_t \sum_s a_{ts} \lVert p_t - p_s \rVert$$

    over all real steps t, with p the number of real steps before a step: for causal attention these
    are steps back. In an image p is where a patch lies in pixels.

    Args:
        weights: `[batch, heads, time, time]`, a map of self-attention, without a state.
        mask: `[batch, time]`, True where a step is real.
        places: `[time]` or `[time, axes]`, p where it is something else, such as
            [`patch_places`][throughtime.inspect.patch_places]. NaN is nowhere: what attends to a
            step like this, as to the token of a class, is left out, and the rest adds up to 1.

    Returns:
        `[heads]`; NaN where no step counts.

    Errors:
        InputError: a map that is not square; a mask or places of another shape.

    Examples:
        >>> first = torch.eye(4)[[0, 0, 0, 0]].view(1, 1, 4, 4)  # all look at the first step
        >>> attention_distance(first).tolist()  # from 0, 1, 2 and 3 steps away
        [1.5]

    References:
        Dosovitskiy et al. 2021, "An image is worth 16x16 words: Transformers for image recognition
        at scale", figure 7.
    """
    check_square("attention_distance", [weights], mask)
    weights, looks = looking("attention_distance", weights, mask)
    if places is None:
        place = places_of(weights, mask).to(weights.dtype).unsqueeze(-1)  # (B, T, 1)
    elif places.ndim not in (1, 2) or len(places) != weights.shape[-1]:
        raise InputError(
            f"attention_distance: places have shape {list(places.shape)}, "
            f"expected [{weights.shape[-1]}] or [{weights.shape[-1]}, axes]"
        )
    else:
        place = places.to(weights).reshape(1, len(places), -1)
    distance = (place.unsqueeze(2) - place.unsqueeze(1)).norm(dim=-1)  # (B, T, T)
    somewhere = distance.isfinite()
    weights = torch.where(somewhere.unsqueeze(1), weights, 0)
    total = weights.sum(-1)
    mean = (weights * torch.where(somewhere, distance, 0).unsqueeze(1)).sum(-1) / total
    counted = looks.unsqueeze(1) & (total > 0)  # a head may look at nothing that is somewhere
    return torch.where(counted, mean, 0).sum((0, 2)) / counted.sum((0, 2))


def draw_head_measures(
    ax: Axes,
    measures: Mapping[str, Float[Tensor, " heads"]],
    *,
    what: str = "distance",
    unit: str = "steps",
    title: str | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """A dot for each head over the depth of its layer, and a line through the layers' means.

    Of each layer the heads with the lowest and the highest number are named.

    Args:
        ax: where to draw.
        measures: by layer from the bottom to the top, `[heads]` each: what
            [`attention_distance`][throughtime.inspect.attention_distance] or
            [`attention_entropy`][throughtime.inspect.attention_entropy] gave.
        what: has been measured.
        unit: of it.
        title: by default how the means go from the first layer to the last.
        theme: where it will be seen.

    Errors:
        InputError: no layers.

    References:
        Dosovitskiy et al. 2021, "An image is worth 16x16 words: Transformers for image recognition
        at scale", figure 7, right.
    """
    from throughtime.inspect.drawing import dress, floats, style

    if not measures:
        raise InputError("draw_head_measures: got no measures, expected those of a layer at least")
    layers = [floats(measure.detach().cpu()) for measure in measures.values()]
    means = [float(np.nanmean(heads)) if np.isfinite(heads).any() else math.nan for heads in layers]
    with style():
        ax.plot(range(1, len(layers) + 1), means, color=theme.muted, linewidth=1.2, zorder=1)
        for depth, heads in enumerate(layers, start=1):
            beside = (np.arange(len(heads)) - (len(heads) - 1) / 2) * min(0.15, 0.7 / len(heads))
            ax.scatter(
                depth + beside, heads, s=22, color=theme.palette[0], alpha=0.85, linewidths=0
            )
            _name_ends(ax, depth + beside, heads, theme)
        ax.set_xticks(range(1, len(layers) + 1), [str(at) for at in range(1, len(layers) + 1)])
        ax.set_xlim(0.5, len(layers) + 0.5)
        known = np.concatenate(layers)[np.isfinite(np.concatenate(layers))]
        top = float(known.max(initial=0)) or 1.0
        ax.set_ylim(-0.08 * top, 1.15 * top)
        dress(
            ax, theme, _course(what, unit, means) if title is None else title,
            "a dot for each head, a line through their means",
            x="layer, from the bottom", y=f"{what}, {unit}" if unit else what,
        )  # fmt: skip
    return ax


def _name_ends(ax: Axes, across: Any, heads: Any, theme: Theme) -> None:
    """The number of the lowest head below its dot, and of the highest above."""
    known = np.flatnonzero(np.isfinite(heads))
    if len(known) < 2:
        return
    for head, up in ((known[heads[known].argmin()], -1), (known[heads[known].argmax()], 1)):
        ax.annotate(
            str(head), (across[head], heads[head]), xytext=(0, 5 * up),
            textcoords="offset points", ha="center", va="bottom" if up > 0 else "top",
            color=theme.muted, fontsize=7,
        )  # fmt: skip


def _course(what: str, unit: str, means: Sequence[float]) -> str:
    """How a mean goes from the first layer to the last."""
    first, last = means[0], means[-1]
    after = f" {unit}" if unit and len(unit) <= SHORT else ""
    name = what[:1].upper() + what[1:]
    if len(means) == 1 and not math.isnan(first):
        return f"{name}: {first:.2g}{after} on average"
    if math.isnan(last - first):
        return f"{name} of each head"
    rise = last - first
    if abs(rise) <= 0.1 * max(abs(first), abs(last)):
        return f"{name} stays about {last:.2g}{after}"
    return f"{name} {'rises' if rise > 0 else 'falls'} from {first:.2g} to {last:.2g}{after}"


# Rows that count, and means over them; for this module and for kinds of heads


def looking(
    name: str, weights: Tensor, mask: Tensor | None
) -> tuple[Float[Tensor, "batch heads time steps"], Bool[Tensor, "batch time"]]:
    """A map without what stands in padded rows, and which rows look at anything."""
    if weights.ndim != 4:
        raise InputError(
            f"{name}: weights have shape {list(weights.shape)}, "
            "expected [batch, heads, time, steps]"
        )
    check_mask(name, weights, mask)
    weights = weights.detach().to(torch.promote_types(weights.dtype, torch.float32))
    if mask is not None:
        weights = torch.where(mask[:, None, :, None], weights, 0)
    return weights, (weights > 0).any(1).any(-1)


def places_of(weights: Tensor, mask: Tensor | None) -> Int[Tensor, "rows time"]:
    """The real steps before each step of a map of self-attention."""
    if mask is None:
        return torch.arange(weights.shape[-1], device=weights.device).unsqueeze(0)
    return mask.cumsum(1) - mask.long()


def mean_over(
    values: Float[Tensor, "batch heads time"], counted: Bool[Tensor, "batch time"]
) -> Float[Tensor, " heads"]:
    """Over all rows that count; NaN where none does."""
    return torch.where(counted.unsqueeze(1), values, 0).sum((0, 2)) / counted.sum()
