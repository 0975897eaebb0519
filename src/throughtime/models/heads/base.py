"""What every head can do, and what the heads for numbers share."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import nn
from torch.distributions import Distribution
from torch.nn import functional

from throughtime.errors import InputError
from throughtime.layers.base import check_size
from throughtime.layers.stateless import Linear
from throughtime.models.scaling import Scaling
from throughtime.shapes import Bool, Float, Tensor

SMALLEST = 1e-4
"""No scale falls below this share of the scale of the series: a likelihood has no upper bound
where a series stands still, and a scale of zero would end the training there."""


class Head(nn.Module):
    """What every head can do.

    Attributes:
        kind: its name in a configuration.
        discrete: whether the values are token ids `[batch, time]`; else they are numbers
            `[batch, time, size]`.
        size: tokens in the vocabulary, or numbers per step.
        output_size: P, parameters per step.
        width: features per step of what comes in; None for a head without an output layer, whose
            parameters come from elsewhere (from counts, from least squares).
    """

    kind: ClassVar[str]
    discrete: ClassVar[bool]
    size: int
    output_size: int
    width: int | None

    @property
    def gives(self) -> str:
        """What its parameters are called: of tokens they are logits."""
        return "logits" if self.discrete else "parameters"

    def forward(self, features: Tensor, context: Any = None) -> Tensor:
        """Parameters `[batch, time, P]` from features `[batch, time, width]`.

        Args:
            features: what the body gives.
            context: what the input layer hands over: a
                [`Scaling`][throughtime.models.scaling.Scaling] for numbers, the embedding for
                tied tokens.
        """
        raise NotImplementedError

    def distribution(self, parameters: Tensor) -> Distribution:
        """The distribution of the next value: one per step, and per number within a step."""
        raise NotImplementedError

    def log_prob(self, parameters: Tensor, targets: Tensor) -> Tensor:
        """`[batch, time]`, in nats; a missing target counts nothing."""
        raise NotImplementedError

    def loss(self, parameters: Tensor, targets: Tensor) -> Tensor:
        """`[batch, time]`, what training makes small: nats, unless the class says otherwise."""
        return -self.log_prob(parameters, targets)

    def total_loss(
        self,
        features: Tensor,
        targets: Tensor,
        context: Any = None,
        mask: Bool[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, ""]:
        """`loss` added up over all steps, from features: what training needs, and no more.

        Args:
            features: `[batch, time, width]`, what the body gives.
            targets: missing where padded.
            context: what the input layer hands over.
            mask: `[batch, time]`, True where a step is real.
        """
        parameters = self(features, context)
        if mask is not None:
            parameters = torch.where(mask.unsqueeze(-1), parameters, 0)
        return self.loss(parameters, targets).sum()

    def counted(self, targets: Tensor) -> Tensor:
        """`[batch, time]`, how many values of each step are there and count in the loss."""
        raise NotImplementedError

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """One value per distribution."""
        raise NotImplementedError

    def temper(self, parameters: Tensor, temperature: float) -> Tensor:
        """The parameters at another temperature: below 1 the likely gets likelier.

        Errors:
            InputError: a temperature that is not above 0, or any but 1 for numbers.
        """
        raise NotImplementedError

    def point(self, parameters: Tensor) -> Tensor:
        """One value that stands for the distribution: its median, or the likeliest token."""
        raise NotImplementedError

    def quantile(self, parameters: Tensor, levels: Sequence[float]) -> Tensor:
        """The values below which the next one falls with the given probabilities, on a last axis.

        Errors:
            InputError: levels outside (0, 1), or tokens, which have no order.
        """
        raise NotImplementedError

    def check_targets(self, targets: Tensor) -> None:
        """Refuse values that this distribution cannot produce.

        Reads the values, so it is for the data before training, not for each batch.

        Errors:
            InputError: such a value.
        """
        raise NotImplementedError

    def missing_output(self) -> InputError:
        """What to raise where a head without an output layer is called."""
        return InputError(
            f"{type(self).__name__}: has no output layer, for it was made without width"
        )


class NumberHead(Head):
    """What the heads for numbers share: an output layer, and their parameters in named parts.

    Args:
        width: features per step of what comes in; None makes a head without an output layer.
        size: D, numbers per step; independent given the past.
        residual: the location starts from the last observed value and not from the location of
            the series, so that an untrained model forecasts persistence.

    Attributes:
        parts: names of the parameters, each `[batch, time, size]`; side by side they are
            `parameters`.
        output: the output layer; small weights, so that an untrained model hardly moves from
            where the head starts.
    """

    discrete = False
    parts: tuple[str, ...]

    def __init__(
        self, width: int | None, size: int, *, residual: bool = False, outputs: int | None = None
    ) -> None:
        super().__init__()
        check_size(type(self).__name__, "size", size)
        self.width = width
        self.size = size
        self.residual = residual
        self.output_size = len(self.parts) * size
        self.outputs = len(self.parts) if outputs is None else outputs
        self.output = None if width is None else Linear(width, self.outputs * size)
        if self.output is not None:
            nn.init.xavier_uniform_(self.output.weight, gain=0.1)

    def forward(
        self, features: Float[Tensor, "batch time width"], context: Any = None
    ) -> Float[Tensor, "batch time parameters"]:
        """Parameters in the units of the series."""
        if self.output is None:
            raise self.missing_output()
        raw = self.output(features)[0].unflatten(-1, (self.outputs, self.size)).unbind(-2)
        return self.pack(*self.scaled(raw, context))

    def scaled(self, raw: tuple[Tensor, ...], scaling: Scaling) -> tuple[Tensor, ...]:
        """The parts in the units of the series, from numbers around zero."""
        raise NotImplementedError

    def start(self, scaling: Scaling) -> Tensor:
        """Where the location starts from."""
        return scaling.last if self.residual else scaling.location

    def pack(self, *parts: Tensor) -> Tensor:
        """The parts, each `[..., size]` and in the order of `parts`, as `parameters`."""
        return torch.cat(parts, dim=-1)

    def split(self, parameters: Tensor) -> tuple[Tensor, ...]:
        """The parts of `parameters`, each `[..., size]`."""
        return parameters.unflatten(-1, (len(self.parts), self.size)).unbind(-2)

    def centre(self, parameters: Tensor) -> Tensor:
        """A value of high density, `[..., size]`; it takes the place of a missing target."""
        return self.split(parameters)[0]

    def log_prob(
        self, parameters: Float[Tensor, "*steps parameters"], targets: Float[Tensor, "*steps size"]
    ) -> Float[Tensor, "*steps"]:
        """In nats, added up over the numbers of a step that are there."""
        known = ~targets.isnan()
        filled = torch.where(known, targets, self.centre(parameters).detach())
        return torch.where(known, self.distribution(parameters).log_prob(filled), 0).sum(-1)

    def counted(self, targets: Float[Tensor, "*steps size"]) -> Float[Tensor, "*steps"]:
        """How many of the numbers of a step are there."""
        return (~targets.isnan()).sum(-1).to(targets.dtype)

    def temper(self, parameters: Tensor, temperature: float) -> Tensor:
        """Numbers are drawn as they are."""
        if temperature != 1:
            raise InputError(f"temperature is {temperature}, expected 1: it is for tokens only")
        return parameters

    def point(self, parameters: Float[Tensor, "*steps parameters"]) -> Float[Tensor, "*steps size"]:
        """The median."""
        return self.quantile(parameters, [0.5]).squeeze(-1)

    def quantile(
        self, parameters: Float[Tensor, "*steps parameters"], levels: Sequence[float]
    ) -> Float[Tensor, "*steps size levels"]:
        """In the units of the series."""
        return self.quantiles(parameters, check_levels(levels, parameters))

    def quantiles(
        self, parameters: Float[Tensor, "*steps parameters"], levels: Float[Tensor, " levels"]
    ) -> Float[Tensor, "*steps size levels"]:
        """`quantile`, with levels that are known to be probabilities."""
        raise NotImplementedError

    def check_targets(self, targets: Tensor) -> None:
        """Any finite number, or NaN for a missing one."""
        if targets.isinf().any():
            raise InputError(
                f"{type(self).__name__}: targets hold infinity, expected finite numbers"
            )


def positive(raw: Tensor, start: float | Tensor = 1.0, floor: float = SMALLEST) -> Tensor:
    """A number above `floor` from any number: softplus, moved so that 0 gives `start`."""
    inverse = torch.as_tensor(start - floor, dtype=raw.dtype, device=raw.device).expm1().log()
    return functional.softplus(raw + inverse) + floor


def above_zero(part: Tensor) -> Tensor:
    """1 in place of 0, which stands in padded steps only."""
    return torch.where(part > 0, part, 1)


def normal_like(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal deviates in the form of `like`."""
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)


def check_levels(levels: Sequence[float], like: Tensor) -> Tensor:
    """Levels as a tensor; they must be probabilities between 0 and 1."""
    if not all(0 < level < 1 for level in levels):
        raise InputError(f"levels are {list(levels)}, expected probabilities between 0 and 1")
    return torch.tensor(list(levels), dtype=like.dtype, device=like.device)
