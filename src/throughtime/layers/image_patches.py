"""Patches of images: rectangles of pixels as the steps of a sequence."""

import torch
from torch import nn
from torch.nn import functional
from torch.nn.functional import linear

from throughtime.errors import InputError
from throughtime.layers.base import check_size
from throughtime.layers.position import sinusoidal
from throughtime.shapes import Float, Tensor

POSITIONS = ("learned", "sinusoidal", "none")


class ImagePatches(nn.Module):
    r"""An image as a sequence of patches, row after row, with where each lies.

    $$y_{ij} = W \operatorname{vec}(x_{ij}) + b + p_{ij}$$

    An image of another size than the layer was made for is cut into more patches or fewer; its
    positions are those of the grid that was learnt, interpolated (Dosovitskiy et al. 2021,
    section 3.2). Patches as wide as the image are its rows.

    Args:
        image: height and width that positions are made for, in pixels.
        patch: height and width of a patch, in pixels; one number for squares.
        output_size: features of a patch; None leaves the pixels as they are.
        channels: of each pixel.
        position: `learned`, `sinusoidal` (half of the features tell the row, half the column), or
            `none`.

    Attributes:
        grid: rows and columns of patches.
        weight: W, `[output_size, channels * height * width]` of a patch; Glorot uniform; None
            without `output_size`.
        bias: b, `[output_size]`; zeros.
        position_weight: p, `[rows, columns, output_size]`, of learned positions; deviation 0.02.

    Shapes:
        - `x`: `[batch, channels, height, width]`.
        - output: `[batch, rows * columns, output_size]`.

    Errors:
        InputError: an image that patches do not fill, with the nearest sizes that they do.

    Examples:
        >>> ImagePatches((28, 28), 4, 16)(torch.randn(2, 1, 28, 28)).shape
        torch.Size([2, 49, 16])
        >>> ImagePatches((28, 28), (1, 28))(torch.randn(2, 1, 28, 28)).shape  # rows of pixels
        torch.Size([2, 28, 28])

    References:
        Dosovitskiy et al. 2021, "An image is worth 16x16 words: Transformers for image recognition
        at scale".
    """

    def __init__(
        self,
        image: tuple[int, int],
        patch: int | tuple[int, int],
        output_size: int | None = None,
        *,
        channels: int = 1,
        position: str = "none",
    ) -> None:
        super().__init__()
        self.patch = (patch, patch) if isinstance(patch, int) else patch
        sizes = {"height": image[0], "width": image[1], "channels": channels}
        for name, size in {**sizes, "patch": self.patch[0], "patch width": self.patch[1]}.items():
            check_size("ImagePatches", name, size)
        if position not in POSITIONS:
            raise InputError(
                f"ImagePatches: position is {position!r}, expected one of {[*POSITIONS]}"
            )
        self.image = image
        self.channels = channels
        self.position = position
        self.grid = self.cut(*image)
        pixels = channels * self.patch[0] * self.patch[1]
        self.output_size = pixels if output_size is None else output_size
        check_size("ImagePatches", "output_size", self.output_size)
        if position == "sinusoidal" and self.output_size % 4:
            raise InputError(
                f"ImagePatches: output_size is {self.output_size}, expected a multiple of 4 "
                "with sinusoidal positions"
            )
        made = output_size is not None
        self.weight = nn.Parameter(torch.empty(self.output_size, pixels)) if made else None
        self.bias = nn.Parameter(torch.empty(self.output_size)) if made else None
        learned = position == "learned"
        self.position_weight = (
            nn.Parameter(torch.empty(*self.grid, self.output_size)) if learned else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot; zeros; small positions."""
        if self.weight is not None and self.bias is not None:
            nn.init.xavier_uniform_(self.weight)
            nn.init.zeros_(self.bias)
        if self.position_weight is not None:
            nn.init.normal_(self.position_weight, std=0.02)

    def cut(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of patches of an image.

        Errors:
            InputError: a size that is not a multiple of the patch's.
        """
        for size, each, words in (
            (height, self.patch[0], "high"),
            (width, self.patch[1], "wide"),
        ):
            if size % each or not size:
                below = size // each * each
                nearest = f"{below} and {below + each}" if below else str(each)
                raise InputError(
                    f"ImagePatches: the image is {size} pixels {words}, expected a multiple of "
                    f"the patch's {each}; the nearest are {nearest}"
                )
        return height // self.patch[0], width // self.patch[1]

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch steps features"]:
        """Cut, project, add positions."""
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise InputError(
                f"ImagePatches: x has shape {list(x.shape)}, "
                f"expected [batch, {self.channels}, height, width]"
            )
        rows, columns = self.cut(*x.shape[2:])
        high, wide = self.patch
        cut = x.view(x.shape[0], self.channels, rows, high, columns, wide)
        patches = cut.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
        if self.weight is not None:
            patches = linear(patches, self.weight, self.bias)
        if self.position == "none":
            return patches
        return patches + self.positions(rows, columns, patches).flatten(0, 1)

    def positions(
        self, rows: int, columns: int, like: Tensor
    ) -> Float[Tensor, "rows columns features"]:
        """Where each patch of a grid lies, in the frame of the grid that the layer was made for."""
        if self.position_weight is not None:
            learned = self.position_weight
            if (rows, columns) == self.grid:
                return learned
            planes = learned.permute(2, 0, 1).unsqueeze(0)
            other = functional.interpolate(
                planes, (rows, columns), mode="bicubic", align_corners=False
            )
            return other.squeeze(0).permute(1, 2, 0)
        sides = [
            # The middle of each patch keeps its share of the side.
            (torch.arange(now, device=like.device) + 0.5) * (made / now) - 0.5
            for now, made in zip((rows, columns), self.grid, strict=True)
        ]
        down, across = (sinusoidal(side, self.output_size // 2, like.dtype) for side in sides)
        return torch.cat(
            [
                down.unsqueeze(1).expand(-1, columns, -1),
                across.unsqueeze(0).expand(rows, -1, -1),
            ],
            dim=-1,
        )

    def extra_repr(self) -> str:
        """Sizes, for printing."""
        return (
            f"image={self.image}, patch={self.patch}, channels={self.channels}, "
            f"output_size={self.output_size}, position={self.position!r}"
        )
