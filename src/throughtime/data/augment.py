"""Training images changed by chance, so that a model cannot learn them by heart."""

import math
import re
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch.nn import functional

from throughtime.errors import InputError
from throughtime.shapes import Float, Shaped, Tensor

NONE = "none"
"""How no change at all is written."""


@dataclass(frozen=True)
class Augment:
    r"""Changes by chance of a batch of images; every image has draws of its own.

    In this order, with $x_{cij}$ the value of channel $c$ in row $i$ and column $j$, and 0 where
    an index lies outside of the image:

    - flip, of one image in two: $x_{cij} \leftarrow x_{c,i,W-1-j}$.
    - shift, by whole numbers $a, b$, each one of $-s, \ldots, s$ with the same chance:
      $x_{cij} \leftarrow x_{c,i+a,j+b}$.
    - cutout, of a square with $k$ pixels a side around a pixel $(p, q)$ that is any with the same
      chance, so that it may lie partly outside: $x_{cij} \leftarrow 0$ where
      $0 \le i - p + \lfloor k/2 \rfloor < k$ and $0 \le j - q + \lfloor k/2 \rfloor < k$.

    `mix` is a step of its own, for it changes the classes as well.

    Attributes:
        shift: $s$, pixels at most in each direction; what comes in is 0, the background.
        flip: mirror left and right. Not for letters or digits.
        cutout: $k$, pixels of a side.
        mixup: $\alpha$ of `mix`; 0 mixes nothing.

    Shapes:
        - `images`: uint8 or float, `[batch, channels, height, width]`.
        - `output`: of the same shape and type.

    Errors:
        InputError: a negative number, or a shift or cutout that is larger than the images.

    Examples:
        >>> augment = Augment(shift=2, flip=True)
        >>> images = torch.zeros(8, 1, 28, 28, dtype=torch.uint8)
        >>> changed = augment(images, torch.Generator().manual_seed(0))
        >>> changed.shape, changed.dtype
        (torch.Size([8, 1, 28, 28]), torch.uint8)

    References:
        - DeVries and Taylor 2017, Improved Regularization of Convolutional Neural Networks with
          Cutout, https://arxiv.org/abs/1708.04552
        - Zhang et al. 2018, mixup: Beyond Empirical Risk Minimization,
          https://arxiv.org/abs/1710.09412
    """

    shift: int = 0
    flip: bool = False
    cutout: int = 0
    mixup: float = 0.0

    def __post_init__(self) -> None:
        for name in ("shift", "cutout"):
            if getattr(self, name) < 0:
                raise InputError(f"augment: {name} is {getattr(self, name)}, expected 0 or more")
        if not (math.isfinite(self.mixup) and self.mixup >= 0):
            raise InputError(f"augment: mixup is {self.mixup}, expected a number of 0 or more")

    @classmethod
    def parse(cls, text: str) -> "Augment":
        """Changes as they are written on the command line; `str` writes them so.

        Args:
            text: names with their values and commas between them; `none`, or nothing, for none.

        Errors:
            InputError: a name that does not exist or comes twice, or a value of another form.

        Examples:
            >>> Augment.parse("shift=2,flip,cutout=4,mixup=0.2")
            Augment(shift=2, flip=True, cutout=4, mixup=0.2)
            >>> str(Augment.parse("flip, shift=2"))
            'shift=2,flip'
        """
        if text.strip() in ("", NONE):
            return cls()
        found: dict[str, int | float | bool] = {}
        for each in text.split(","):
            name, equals, value = (part.strip() for part in each.partition("="))
            if name not in _VALUES:
                raise InputError(
                    f"augment: there is no {name!r} in {text!r}, expected some of "
                    f"{', '.join(_VALUES)}, such as shift=2,flip"
                )
            if name in found:
                raise InputError(f"augment: {name} comes twice in {text!r}, expected it once")
            expected, form = _VALUES[name]
            if not re.fullmatch(form, equals + value, re.ASCII):
                raise InputError(f"augment: {each.strip()!r} in {text!r}, expected {expected}")
            number = float if name == "mixup" else int
            found[name] = number(value) if equals else True
        return cls(**found)  # pyright: ignore[reportArgumentType]

    def __str__(self) -> str:
        said = [
            field.name if field.name == "flip" else f"{field.name}={getattr(self, field.name)}"
            for field in fields(self)
            if getattr(self, field.name)
        ]
        return ",".join(said) or NONE

    def __call__(
        self, images: Shaped[Tensor, "batch channels height width"], generator: torch.Generator
    ) -> Shaped[Tensor, "batch channels height width"]:
        """Images changed by chance, in fresh memory where any change is asked for.

        Args:
            images: uint8 or float.
            generator: all chance comes from it: the same state of it gives the same changes.
        """
        for name in ("shift", "cutout"):
            if getattr(self, name) > min(images.shape[2:]):
                raise InputError(
                    f"augment: {name} is {getattr(self, name)}, expected at most the "
                    f"{min(images.shape[2:])} pixels of an image's shorter side"
                )
        if self.flip:
            images = _flipped(images, generator)
        if self.shift:
            images = _shifted(images, self.shift, generator)
        if self.cutout:
            images = images.masked_fill(_squares(images, self.cutout, generator), 0)
        return images

    def mix(
        self,
        images: Shaped[Tensor, "batch channels height width"],
        targets: Float[Tensor, "batch classes"],
        generator: torch.Generator,
    ) -> tuple[
        Float[Tensor, "batch channels height width"],
        Float[Tensor, "batch classes"],
    ]:
        r"""Each image blended with another of the batch, and so are their classes (mixup).

        $$\tilde x_n = \lambda x_n + (1 - \lambda) x_{\pi(n)}, \qquad
          \tilde y_n = \lambda y_n + (1 - \lambda) y_{\pi(n)}, \qquad
          \lambda \sim \mathrm{Beta}(\alpha, \alpha)$$

        with one $\lambda$ and one permutation $\pi$ for the batch.

        Args:
            images: uint8 or float; the scale stays, so that uint8 give floats from 0 to 255.
            targets: the probability of each class.
            generator: all chance comes from it.

        Returns:
            Blended images, and blended targets; where `mixup` is 0 as they came.

        Examples:
            >>> images, targets = torch.rand(4, 1, 8, 8), torch.eye(4)
            >>> generator = torch.Generator().manual_seed(0)
            >>> images, targets = Augment(mixup=0.2).mix(images, targets, generator)
            >>> targets.sum(dim=1).tolist()
            [1.0, 1.0, 1.0, 1.0]
        """
        if not images.is_floating_point():
            images = images.float()
        if not self.mixup:
            return images, targets
        share = _beta(self.mixup, generator)
        draw = torch.randperm(len(images), generator=generator, device=generator.device)
        other = draw.to(images.device)
        return images[other].lerp(images, share), targets[other].lerp(targets, share)


_VALUES = {
    "shift": ("shift=PIXELS", r"=\d+"),
    "flip": ("flip, without a value", ""),
    "cutout": ("cutout=PIXELS", r"=\d+"),
    "mixup": ("mixup=ALPHA", r"=(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?"),
}
"""How each value is asked for, and what matches it."""


def _draw(below: int, shape: tuple[int, ...], images: Tensor, generator: torch.Generator) -> Tensor:
    """Whole numbers from 0, where the images are: those are drawn where the generator is."""
    drawn = torch.randint(below, shape, generator=generator, device=generator.device)
    return drawn.to(images.device)


def _flipped(images: Tensor, generator: torch.Generator) -> Tensor:
    chosen = _draw(2, (len(images), 1, 1, 1), images, generator).bool()
    return torch.where(chosen, images.flip(-1), images)


def _shifted(images: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """A window of the image's size, somewhere in the image with a border around it."""
    batch, _, height, width = images.shape
    down, right = _draw(2 * most + 1, (2, batch), images, generator)
    bordered = functional.pad(images, (most,) * 4)
    windows = bordered.unfold(2, height, 1).unfold(3, width, 1)  # a view; nothing is copied
    # [batch, channels, places, places, height, width] -> [batch, channels, height, width]
    return windows[torch.arange(batch, device=images.device), :, down, right]


def _squares(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """True where a square of each image lies: `[batch, 1, height, width]`."""
    inside: list[Tensor] = []
    for length in images.shape[2:]:
        first = _draw(length, (len(images), 1), images, generator) - side // 2
        place = torch.arange(length, device=images.device)
        inside.append((place >= first) & (place < first + side))
    rows, columns = inside
    return (rows[:, :, None] & columns[:, None, :])[:, None]


def _beta(alpha: float, generator: torch.Generator) -> float:
    """A draw of Beta(alpha, alpha); torch's own takes no generator, so NumPy's takes a seed."""
    seed = torch.randint(2**62, (), generator=generator, device=generator.device)
    return float(np.random.default_rng(int(seed)).beta(alpha, alpha))
