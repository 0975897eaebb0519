"""The vision Transformer: patches of an image as the steps of an encoder."""

from typing import Any

from throughtime.layers.image_patches import ImagePatches
from throughtime.layers.transformer import Encoder
from throughtime.models.classifier import Classifier
from throughtime.models.image_inputs import ImageInputs


class VisionTransformer(Classifier):
    """A classifier of images whose body is an encoder over patches.

    It is a [`Classifier`][throughtime.models.Classifier] of three usual parts: patches with
    positions in two dimensions, the same encoder as of text and series, and a token or the mean of
    all patches before the classes.

    Args:
        image: height and width in pixels that positions are made for; images of other sizes may
            come, and have theirs interpolated.
        patch: height and width of a patch; one number for squares. The image is a multiple of it.
        size: features of a patch.
        heads: of attention.
        layers: blocks.
        classes: how many.
        channels: of each pixel.
        position: `learned`, `sinusoidal` or `none`.
        pooling: `token`, `mean`, `max` or `attention`.
        dropout: of what is added in the blocks, of their input and before the classes.
        options: of [`Encoder`][throughtime.layers.Encoder], such as `stochastic_depth` or
            `hidden_size`.

    Shapes:
        - `x`: `[batch, channels, height, width]`, uint8 or floating-point numbers of up to 1.
        - `answer(x)`: `[batch, classes]`, logits.

    Examples:
        >>> import torch
        >>> model = VisionTransformer((8, 8), 2, 16, heads=2, layers=2, classes=10)
        >>> model.answer(torch.rand(3, 1, 8, 8)).shape
        torch.Size([3, 10])

    References:
        Dosovitskiy et al. 2021, "An image is worth 16x16 words: Transformers for image recognition
        at scale".
    """

    def __init__(
        self,
        image: tuple[int, int],
        patch: int | tuple[int, int],
        size: int,
        heads: int,
        layers: int,
        classes: int,
        *,
        channels: int = 1,
        position: str = "learned",
        pooling: str = "token",
        dropout: float = 0.0,
        **options: Any,
    ) -> None:
        patches = ImagePatches(image, patch, size, channels=channels, position=position)
        body = Encoder(size, heads, layers, position="none", dropout=dropout, **options)
        super().__init__(ImageInputs(patches), body, classes, pooling=pooling, dropout=dropout)
