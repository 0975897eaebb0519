"""Where in an image a classifier looked: attention from its answer back to the patches."""

from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import interpolate

from throughtime.errors import InputError
from throughtime.inspect.attention import attention_layers, attention_rollout, watched
from throughtime.inspect.theme import LIGHT, Theme
from throughtime.layers import AttentionPooling, ImagePatches, MaxPooling, MeanPooling, Recurrent
from throughtime.models.chain import evaluating
from throughtime.models.classifier import Classifier
from throughtime.models.image_inputs import ImageInputs
from throughtime.shapes import Float, Tensor

if TYPE_CHECKING:
    from throughtime.inspect.drawing import Axes
else:
    Axes = Any  # matplotlib is imported where something is drawn

__all__ = ["draw_image_attention", "image_attention", "patch_attention", "patch_places"]

LOOKED_AT = (1.0, 0.42, 0.0)
"""The colour laid over pixels: far from black, from white and from all greys, in both themes."""

LAID_ON = 0.8
"""How much of it where the model looks most; pixels stay visible below."""

DARKEST, BRIGHTEST = 0.12, 0.75
"""Pixels are drawn with less contrast, so that the colour is seen on black and on white."""


def patch_attention(
    model: Classifier, x: Tensor, *, head_fusion: str = "mean", residual: float = 0.5
) -> Float[Tensor, "batch rows columns"]:
    r"""What share each patch of an image has in what a classifier answers from, by attention.

    With R the rollout of its body's attention and q what its pooling takes of each step,

    $$a_s \propto \sum_t q_t R_{ts}$$

    Of a `token` q is 1 at the token, whose share in itself is left out; of the `mean` it is the
    same for all patches; of `attention` it is its own shares; of `max` the share of features whose
    largest value stands there; `last` and `ends` take the last patch, and the first.

    It is the same for whatever class is answered, and says where the answer comes from, not why.

    Args:
        model: a classifier of images, such as
            [`VisionTransformer`][throughtime.models.VisionTransformer], whose body has attention
            and nothing recurrent. Dropout is off meanwhile, and there is no gradient.
        x: `[batch, channels, height, width]`, as the model takes them.
        head_fusion: of [`attention_rollout`][throughtime.inspect.attention_rollout].
        residual: likewise.

    Returns:
        `[batch, rows, columns]` of patches, with a sum of 1 for each image.

    Errors:
        InputError: a model that takes no images, has no attention or something recurrent, or has a
            class for every step.

    Examples:
        >>> from throughtime.models import VisionTransformer
        >>> model = VisionTransformer((8, 8), 2, 16, heads=2, layers=2, classes=10)
        >>> patch_attention(model, torch.rand(3, 1, 8, 8)).shape
        torch.Size([3, 4, 4])

    References:
        Abnar and Zuidema 2020, "Quantifying attention flow in Transformers"; Dosovitskiy et al.
        2021, "An image is worth 16x16 words: Transformers for image recognition at scale",
        figure 6.
    """
    patches = _patches("patch_attention", model)
    rows, columns = patches.cut(*x.shape[2:]) if x.ndim == 4 else patches.grid
    maps, hidden = _run(model, x)
    rollout = attention_rollout(maps, head_fusion=head_fusion, residual=residual)
    taken = torch.einsum("bt,bts->bs", _pooled(model, hidden).to(rollout), rollout)
    if model.token is not None:
        taken = taken[:, 1:]
    total = taken.sum(1, keepdim=True)
    shares = torch.where(total > 0, taken / total, 1 / (rows * columns))
    return shares.unflatten(1, (rows, columns))


def image_attention(
    model: Classifier, x: Tensor, *, head_fusion: str = "mean", residual: float = 0.5
) -> Float[Tensor, "batch height width"]:
    """Where in an image a classifier looked, for each pixel, in times an even share.

    The shares of patches, of which
    [`patch_attention`][throughtime.inspect.patch_attention] tells how they come about, times their
    number, and interpolated between the middles of patches: 1 is what an even look would give each
    pixel, and the mean of all.

    Args:
        model: of [`patch_attention`][throughtime.inspect.patch_attention], as all that follows.
        x: `[batch, channels, height, width]`.
        head_fusion: how heads are made one.
        residual: the share that stays in its place.

    Returns:
        `[batch, height, width]`.

    Errors:
        InputError: as of `patch_attention`.

    Examples:
        >>> from throughtime.models import VisionTransformer
        >>> model = VisionTransformer((8, 8), 2, 16, heads=2, layers=2, classes=10)
        >>> seen = image_attention(model, torch.rand(3, 1, 8, 8))
        >>> seen.shape, [round(mean, 4) for mean in seen.mean((1, 2)).tolist()]
        (torch.Size([3, 8, 8]), [1.0, 1.0, 1.0])
    """
    shares = patch_attention(model, x, head_fusion=head_fusion, residual=residual)
    size = (x.shape[2], x.shape[3])
    if not len(shares):
        return shares.new_zeros(0, *size)
    times_even = (shares * shares[0].numel()).unsqueeze(1)
    return interpolate(times_even, size, mode="bilinear", align_corners=False).squeeze(1)


def patch_places(
    model: Classifier, size: tuple[int, int] | None = None
) -> Float[Tensor, "steps two"]:
    """Where the middle of each step of an image classifier lies, in pixels from the top left.

    The places to measure by how many pixels a head looks away, with
    [`attention_distance`][throughtime.inspect.attention_distance].

    Args:
        model: a classifier of images.
        size: height and width of the images; by default those it was made for.

    Returns:
        `[steps, 2]`, down and across; NaN for the token of a class, which is nowhere.

    Errors:
        InputError: a model that takes no images, or a size that patches do not fill.

    Examples:
        >>> from throughtime.models import VisionTransformer
        >>> model = VisionTransformer((4, 4), 2, 8, heads=2, layers=1, classes=3)
        >>> patch_places(model).tolist()
        [[nan, nan], [1.0, 1.0], [1.0, 3.0], [3.0, 1.0], [3.0, 3.0]]
    """
    patches = _patches("patch_places", model)
    rows, columns = patches.cut(*(patches.image if size is None else size))
    sides = [
        (torch.arange(count) + 0.5) * each
        for count, each in zip((rows, columns), patches.patch, strict=True)
    ]
    places = torch.cartesian_prod(*sides)
    return (
        places if model.token is None else torch.cat([places.new_full((1, 2), torch.nan), places])
    )


def _patches(name: str, model: Classifier) -> ImagePatches:
    """What cuts images, or a refusal of models that take none."""
    if not isinstance(model, Classifier) or not isinstance(model.inputs, ImageInputs):
        raise InputError(
            f"{name}: model is {type(model).__name__}, expected a classifier of images"
        )
    return model.inputs.patches


def _run(
    model: Classifier, x: Tensor
) -> tuple[dict[str, Float[Tensor, "batch heads time time"]], Float[Tensor, "batch time size"]]:
    """The maps of all layers of the body, and what it gives to the pooling."""
    layers = attention_layers(model.body)
    recurrent = [part for part in model.body.modules() if isinstance(part, Recurrent)]
    if not layers or recurrent:
        found = f"has a {type(recurrent[0]).__name__}" if recurrent else "has no attention"
        raise InputError(
            f"patch_attention: the body {found}, expected attention and nothing recurrent: "
            "only attention says which steps it takes from"
        )
    if model.pool == "none":
        raise InputError(
            "patch_attention: pooling is 'none', expected another one, for an answer to the image"
        )
    hidden: list[Tensor] = []
    hook = model.body.register_forward_hook(lambda *called: hidden.append(called[2][0]))
    try:
        with evaluating(model):
            maps = watched(layers, lambda: model.answer(x))
    finally:
        hook.remove()
    return maps, hidden[-1]


@torch.no_grad()
def _pooled(model: Classifier, hidden: Float[Tensor, "batch time size"]) -> Tensor:
    """q: what pooling takes of each step, `[batch, time]`, with a sum of 1."""
    batch, time, size = hidden.shape
    pooling, zeros = model.pooling, hidden.new_zeros(batch, time)
    if isinstance(pooling, MeanPooling):
        return zeros + 1 / time
    if isinstance(pooling, AttentionPooling):
        real = torch.ones(batch, time, dtype=torch.bool, device=hidden.device)
        return pooling.shares(hidden, real)
    if isinstance(pooling, MaxPooling):
        ones = zeros.new_ones(1, 1).expand(batch, size)
        return zeros.scatter_add(1, hidden.argmax(1), ones) / size
    if model.pool == "token":
        zeros[:, 0] = 1
    elif model.pool == "ends":  # half of the features each
        half = (size + 1) // 2 / size
        zeros[:, -1] += half
        zeros[:, 0] += 1 - half
    else:
        zeros[:, -1] = 1
    return zeros


def draw_image_attention(
    ax: Axes,
    image: Tensor,
    attention: Float[Tensor, "height width"],
    *,
    title: str | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """An image, and orange over where the model looked more than an even look would.

    The deepest orange is where it looked most, or twice as much as evenly if that is more: a model
    that looks evenly leaves the image as it is.

    Args:
        ax: where to draw.
        image: `[channels, height, width]`, uint8, or numbers whose full brightness is 1. Of one
            channel it is grey; three are red, green and blue; of others the mean is shown.
        attention: `[height, width]`, what
            [`image_attention`][throughtime.inspect.image_attention] gave for it.
        title: by default on how much of the image half of the attention lies.
        theme: where it will be seen.

    Errors:
        InputError: an image of another form than its attention.
    """
    from throughtime.inspect.drawing import dress, style

    if image.ndim != 3 or image.shape[1:] != attention.shape:
        raise InputError(
            f"draw_image_attention: image has shape {list(image.shape)}, expected "
            f"[channels, {attention.shape[0]}, {attention.shape[1]}], as its attention has"
        )
    seen = attention.detach().float().cpu()
    strength = (seen - 1).clamp(min=0) / (seen.max() - 1).clamp(min=1)
    veil = torch.tensor(LOOKED_AT).expand(*seen.shape, 3)
    veil = torch.cat([veil, LAID_ON * strength.unsqueeze(-1)], dim=-1)
    with style():
        pixels = DARKEST + (BRIGHTEST - DARKEST) * _pixels(image)
        ax.imshow(pixels.numpy(), interpolation="nearest")
        ax.imshow(veil.numpy(), interpolation="nearest")
        below = f"orange: up to {seen.max():.2g} times an even share"
        dress(ax, theme, _half_on(seen) if title is None else title, below)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.grid(visible=False)
        ax.spines[:].set_visible(True)  # where an image as dark as the page ends
        ax.spines[:].set_color(theme.grid)
    return ax


def _pixels(image: Tensor) -> Float[Tensor, "height width three"]:
    """Red, green and blue from 0 to 1."""
    bright = image.detach().float().cpu() / (255 if image.dtype == torch.uint8 else 1)
    if len(bright) != 3:
        bright = bright.mean(0, keepdim=True).expand(3, -1, -1)
    return bright.clamp(0, 1).permute(1, 2, 0)


def _half_on(seen: Float[Tensor, "height width"]) -> str:
    """On how much of the image, in pixels looked at most, half of the attention lies."""
    ranked = seen.flatten().sort(descending=True).values.double()
    needed = int((ranked.cumsum(0) < ranked.sum() / 2).sum()) + 1
    return f"Half of the attention on {100 * needed / len(ranked):.0f} % of it"
