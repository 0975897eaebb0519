"""Images at the input of a model."""

from typing import Any

import torch
from torch import nn

from throughtime.errors import InputError
from throughtime.layers.image_patches import ImagePatches
from throughtime.shapes import Float, Tensor


class ImageInputs(nn.Module):
    """Pixels at a common scale, cut into patches that are the steps of a sequence.

    Args:
        patches: how images are cut.

    Attributes:
        location, scale: `[channels]`, mean and deviation of the training images, as shares of full
            brightness; buffers, 0 and 1 before `fit`.

    Shapes:
        - `x`: `[batch, channels, height, width]`; uint8 from 0 to 255, or floating-point numbers
          whose full brightness is 1.
    """

    discrete = False
    covariates = 0
    location: Tensor
    scale: Tensor

    def __init__(self, patches: ImagePatches) -> None:
        super().__init__()
        self.patches = patches
        self.size = patches.channels
        self.output_size = patches.output_size
        self.register_buffer("location", torch.zeros(patches.channels))
        self.register_buffer("scale", torch.ones(patches.channels))

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Take mean and deviation of each channel from training images."""
        count, mean, square = 0, 0.0, 0.0
        for some in images.split(1024):  # as double, all at once would take eight times the memory
            x = brightness(some, torch.float64).transpose(0, 1).flatten(1)
            count, mean, square = (
                count + x.shape[1], mean + x.sum(1), square + x.square().sum(1)
            )  # fmt: skip
        location = torch.as_tensor(mean / max(count, 1))
        scale = (torch.as_tensor(square / max(count, 1)) - location.square()).clamp(min=0).sqrt()
        self.location.copy_(location)
        self.scale.copy_(torch.where(scale > 1e-6, scale, 1))

    def forward(
        self,
        x: Tensor,
        state: Any = (),
        mask: Tensor | None = None,
        reset: Tensor | None = None,
    ) -> tuple[Float[Tensor, "batch steps features"], None, tuple[()]]:
        """Features of each patch; there is no context for a head, and no state."""
        if x.ndim != 4 or x.shape[1] != self.size:
            raise InputError(
                f"images have shape {list(x.shape)}, expected [batch, {self.size}, height, width]"
            )
        bright = brightness(x, self.location.dtype)
        centred = (bright - self.location.view(-1, 1, 1)) / self.scale.view(-1, 1, 1)
        return self.patches(centred), None, ()

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> tuple[()]:
        """Nothing."""
        return ()


def brightness(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Pixels as shares of full brightness."""
    return x.to(dtype) / 255 if x.dtype == torch.uint8 else x.to(dtype)
