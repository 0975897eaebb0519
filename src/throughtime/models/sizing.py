"""How many parameters a model has, and the model that has so many."""

import dataclasses

import torch
from torch import nn

from throughtime.errors import InputError
from throughtime.models.building import make
from throughtime.models.config import BASELINES, ModelConfig


def parameters(model: nn.Module) -> int:
    """How many numbers training may change."""
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


def usual_width(kind: str, heads: int = 4) -> int:
    """About 64, and for a transformer a multiple of twice its heads."""
    unit = 2 * max(1, heads) if kind == "transformer" else 1
    return unit * max(1, round(64 / unit))


def fit_width(config: ModelConfig, target: int) -> ModelConfig:
    """The config whose model comes nearest to a number of parameters, by its width.

    A transformer's width is a multiple of twice its heads; the rest is in `hidden`.

    Baselines have no width: their config comes back as it is. Nor have linear models of n-grams
    beside a body (`bag`, `letters`): they come on top, and are as many numbers as `scores` says.

    Errors:
        InputError: even the least width has more parameters.
    """
    if config.kind in BASELINES:
        return config
    if config.bag or config.letters:
        plain = dataclasses.replace(config, bag=0, letters=0)
        fitted = fit_width(plain, target)
        return dataclasses.replace(fitted, bag=config.bag, letters=config.letters)

    unit = 2 * config.heads if "transformer" in (config.kind, config.encoder) else 1

    def at(units: int) -> ModelConfig:
        return dataclasses.replace(config, width=units * unit)

    if count(at(1)) > target:
        raise InputError(
            f"parameters: {target} are too few, a {config.kind} of width {unit} has {count(at(1))}"
        )
    low, high = 1, 2
    while count(at(high)) <= target:
        low, high = high, 2 * high
    while high - low > 1:  # count(low) <= target < count(high)
        middle = (low + high) // 2
        low, high = (middle, high) if count(at(middle)) <= target else (low, middle)
    if config.kind == "transformer" and not config.hidden:
        return _fit_hidden(at(low), target)
    return min(at(low), at(high), key=lambda one: abs(count(one) - target))


def _fit_hidden(config: ModelConfig, target: int) -> ModelConfig:
    """Heads make widths coarse; what is left to the target goes into the feed-forward layers."""

    def at(hidden: int) -> ModelConfig:
        return dataclasses.replace(config, hidden=hidden)

    usual = config.width * (8 if config.feed_forward == "swiglu" else 12) // 3
    each = count(at(usual + 1)) - count(at(usual))
    return at(usual + max(0, round((target - count(at(usual))) / each)))


def count(config: ModelConfig) -> int:
    """The parameters of the model that `make` would give; nothing is allocated."""
    with torch.device("meta"):
        return parameters(make(config))
