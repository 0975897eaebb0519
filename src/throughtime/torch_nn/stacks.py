"""What encoder and decoder share: batches in any layout, and layers turned into ours."""

from typing import Any

import torch
from torch import nn

from throughtime.errors import InputError
from throughtime.shapes import Float, Tensor
from throughtime.torch_nn.adopting import patches
from throughtime.torch_nn.bare import by_steps
from throughtime.torch_nn.masks import EVERYTHING, Visible, adds, check_kind, shown, visible
from throughtime.torch_nn.real_steps import RealSteps


class Side:
    """A batch in torch.nn's layout, and which of its steps are real.

    Args:
        layer: who asks, for errors.
        x: `[time, batch, features]`, `[batch, time, features]` or `[time, features]`.
        padding: its key padding mask.
        batch_first: the layout.
    """

    def __init__(self, layer: str, x: Tensor, padding: Tensor | None, *, batch_first: bool) -> None:
        self.layer = layer
        self.alone = x.ndim == 2
        self.batch_first = batch_first or self.alone
        self.x = x.unsqueeze(0) if self.alone else x
        self.rows, self.time = self.x.shape[:2] if self.batch_first else self.x.shape[1::-1]
        self.padding = self.real = None
        if padding is None:
            return
        check_kind(layer, "key_padding_mask", padding)
        self.padding = padding.unsqueeze(0) if self.alone else padding
        if self.padding.shape != (self.rows, self.time):
            raise InputError(
                f"{layer}: key_padding_mask has shape {list(padding.shape)}, "
                f"expected {[self.time] if self.alone else [self.rows, self.time]}"
            )
        self.real = shown(self.padding)

    @property
    def adds(self) -> bool:
        """Whether the padding mask adds something to the scores of real steps; eagerly only."""
        return self.padding is not None and adds(self.padding)

    def visible(self, mask: Tensor | None, keys: "Side", *, causal: bool, heads: int) -> Visible:
        """What is seen of the real steps of `keys`.

        Args:
            mask: as torch.nn has it.
            keys: what is looked at.
            causal: steps up to one's own place, instead of what the mask says.
            heads: of attention.
        """
        padding = keys.padding if keys.adds else None
        if mask is None and padding is None and not causal:
            return EVERYTHING
        return visible(
            self.layer,
            mask,
            padding,
            causal=causal,
            rows=self.rows,
            heads=heads,
            time=self.time,
            keys=keys.time,
            dtype=self.x.dtype,
        )

    def blank(self, x: Tensor) -> Tensor:
        """A batch of this layout with zeros in hidden steps."""
        if self.real is None:
            return x
        real = self.real if self.batch_first else self.real.T
        return torch.where((real[0] if self.alone else real).unsqueeze(-1), x, 0)

    def all_real(self) -> Tensor:
        """Which steps are real, also where no mask says so."""
        if self.real is not None:
            return self.real
        return torch.ones(self.rows, self.time, dtype=torch.bool)


def together(side: Side, other: Side | None, *, in_place: bool) -> tuple[RealSteps, RealSteps]:
    """The real steps of a batch and of what it looks at, in the same groups of rows.

    Args:
        side: the queries.
        other: the keys; None: the queries themselves.
        in_place: one group of all rows as they are.
    """
    rows = RealSteps(side.all_real(), batch_first=side.batch_first, in_place=in_place)
    if other is None:
        return rows, rows
    like = None if in_place else rows
    return rows, RealSteps(
        other.all_real(), batch_first=other.batch_first, like=like, in_place=in_place
    )


def finish(
    x: Float[Tensor, "steps size"], rows: RealSteps, side: Side, norm: nn.Module | None
) -> Tensor:
    """The last norm, and the layout that came in."""
    each = norm is None or by_steps(norm)
    if each and norm is not None:
        x = norm(x)
    x = rows.unpack(x)
    x = x[0] if side.alone else x
    return x if each or norm is None else side.blank(norm(x))


def adopt_layers(stack: Any, kind: type[nn.Module], ours: Any) -> None:
    """Layers of torch.nn turned into ours, what is one staying one."""
    made: dict[nn.Module, nn.Module] = {}
    for layer in stack.layers:
        if layer not in made:
            fits = type(layer) is kind and not patches(layer)
            made[layer] = ours.from_torch(layer) if fits else layer
    layers = nn.ModuleList([made[layer] for layer in stack.layers])
    layers.training = stack.layers.training
    stack.layers = layers
