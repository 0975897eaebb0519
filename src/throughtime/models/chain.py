"""What the chain rule needs: what comes before what, drawing step by step, parts that fit."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from throughtime.errors import InputError
from throughtime.shapes import Bool, Tensor
from throughtime.state import State


def befores(
    begin: Tensor, x: Tensor, mask: Bool[Tensor, "batch time"] | None = None
) -> tuple[Tensor, Bool[Tensor, "batch after"]]:
    """The last real value before each step, and before the step that follows the last one.

    Padding is passed over.

    Args:
        begin: `[batch, 1]` or `[batch, 1, size]`, what stands where there is none.
        x: `[batch, time]` or `[batch, time, size]`.
        mask: `[batch, time]`, True where a step is real.

    Returns:
        The values, one step longer than `x`, and whether there is one.
    """
    line = torch.cat([begin.to(x.device), x], dim=1)
    places = torch.arange(line.shape[1], device=x.device).expand(line.shape[:2])
    if mask is None:
        return line, places > 0
    real = torch.cat([torch.zeros_like(places[:, :1], dtype=torch.bool), mask], dim=1)
    latest = torch.where(real, places, 0).cummax(dim=1).values
    index = latest if x.ndim == 2 else latest.unsqueeze(-1).expand_as(line)
    return line.gather(1, index), latest > 0


def hide(x: Tensor, mask: Bool[Tensor, "batch time"] | None) -> Tensor:
    """`x` as targets: missing (-1, or NaN) in padded steps."""
    if mask is None:
        return x
    if x.is_floating_point():
        return torch.where(mask.unsqueeze(-1), x, torch.nan)
    return torch.where(mask, x, -1)


def draw(
    model: Any,
    steps: int,
    state: State,
    last: Tensor,
    covariates: Tensor | None,
    generator: torch.Generator | None,
    temperature: float,
) -> Tensor:
    """Feed the last value, draw the next from what the model then expects, and again.

    Args:
        model: an `Autoregressive`.
        steps: how many values.
        state: after everything before `last` was fed.
        last: `[batch]` or `[batch, size]`.
        covariates: `[batch, steps, covariates]`.
        generator: where randomness comes from.
        temperature: see `Head.temper`.

    Returns:
        `[batch, steps]` or `[batch, steps, size]`.
    """
    if covariates is not None and covariates.shape[1] != steps:
        raise InputError(f"covariates reach {covariates.shape[1]} steps ahead, expected {steps}")
    drawn = last.unsqueeze(1).repeat_interleave(steps, dim=1)
    with evaluating(model):
        for t in range(steps):
            ahead = None if covariates is None else covariates[:, t : t + 1]
            parameters, state = model(last.unsqueeze(1), state, None, None, ahead)
            last = model.head.sample(model.head.temper(parameters[:, 0], temperature), generator)
            drawn[:, t] = last
    return drawn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Dropout off for a while, where it was on."""
    training = [module for module in model.modules() if module.training]
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module in training:
            module.training = True


def check_parts(inputs: Any, body: Any, head: Any) -> None:
    """Refuse an input layer, a body and a head that do not fit together."""
    if not body.causal:
        raise InputError(
            f"Autoregressive: {type(body).__name__} sees later steps, expected a causal body"
        )
    if body.input_size not in (None, inputs.output_size):
        raise InputError(
            f"Autoregressive: the body takes {body.input_size} features, "
            f"the input layer gives {inputs.output_size}"
        )
    if None not in (head.width, body.output_size) and head.width != body.output_size:
        raise InputError(
            f"Autoregressive: the head takes {head.width} features, "
            f"the body gives {body.output_size}"
        )
    if (inputs.discrete, inputs.size) != (head.discrete, head.size):
        raise InputError(
            f"Autoregressive: the input layer has {_kind(inputs)}, the head {_kind(head)}"
        )


def _kind(part: Any) -> str:
    return f"{part.size} tokens" if part.discrete else f"{part.size} numbers per step"


def check_covariates(name: str, x: Tensor, covariates: Tensor | None, count: int) -> None:
    """Refuse covariates that are not those a model was made for: `count` of them at each step."""
    expected = [*x.shape[:2], count]
    came = [*x.shape[:2], 0] if covariates is None else list(covariates.shape)
    if came != expected:
        came_words = "none" if covariates is None else f"shape {came}"
        raise InputError(
            f"{name}: covariates: got {came_words}, "
            + (
                f"expected [batch, time, covariates] = {expected}"
                if count
                else "expected none, for the model was made without"
            )
        )
