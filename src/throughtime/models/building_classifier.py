"""From a configuration to a classifier."""

from collections.abc import Callable
from dataclasses import replace

from throughtime.errors import InputError
from throughtime.layers import GramBag, ImagePatches, Layer, Linear, Stack
from throughtime.models.classifier import Classifier
from throughtime.models.config import ModelConfig
from throughtime.models.image_inputs import ImageInputs
from throughtime.models.inputs import NumberInputs, TokenInputs
from throughtime.models.parts import draw_evenly, encoder_of, token_width

SHORTEST = 3
"""N-grams of letters, in letters: what is shorter occurs everywhere."""

Causal = Callable[[ModelConfig, int], Layer]
"""From a configuration and the features it reads to a body that sees the past."""


def build_classifier(config: ModelConfig, causal: Causal) -> Classifier:
    """A classifier; weights are drawn from torch's generator.

    Args:
        config: of the model.
        causal: makes the body of one that sees the past only, as an autoregressive model has it.

    Errors:
        InputError: a configuration without classes, or parts that do not fit together.
    """
    if not config.classes:
        raise InputError("build_classifier: classes is 0, expected at least 2")
    inputs = _inputs(config)
    # Squares and their positions, in two dimensions, are the input layer's: one is one step.
    placed = replace(config, position="none", patch=1) if config.image else config
    features = inputs.output_size
    if not config.around:
        body = causal(placed, features)
    elif config.kind == "transformer" and features != config.width:
        seen = encoder_of(placed, config.width, config.kind, config.layers)
        body = Stack(Linear(features, config.width), seen)
    else:
        body = encoder_of(placed, features, config.kind, config.layers)
    model = Classifier(
        inputs, body, config.classes,
        pooling=config.pooling, dropout=config.dropout, beside=_beside(config),
    )  # fmt: skip
    draw_evenly(model, config.uniform)
    for layer in model.beside:
        layer.reset_parameters()  # pyright: ignore
    return model


def _beside(config: ModelConfig) -> list[GramBag]:
    """Linear models of n-grams, of tokens and of letters: those that data spell, see `prepare`."""
    tokens, buckets = config.tokens + 1, max(1, config.scores // config.classes)
    found = []
    if config.bag:
        found.append(GramBag(tokens, config.classes, lengths=(1, config.bag), buckets=buckets))
    if config.letters:
        letters = [[token + 1] for token in range(tokens)]
        lengths = SHORTEST, config.letters
        bag = GramBag(tokens, config.classes, lengths=lengths, buckets=buckets, letters=letters)
        found.append(bag)
    return found


def _inputs(config: ModelConfig) -> TokenInputs | NumberInputs | ImageInputs:
    if config.tokens:
        return TokenInputs(
            config.tokens, token_width(config),
            grams=config.grams, buckets=config.buckets, dropout=config.dropout,
        )  # fmt: skip
    if config.image:
        channels, height, width = config.image
        patch = (1, width) if config.rows else config.patch
        position = config.position if config.kind == "transformer" else "none"
        patches = ImagePatches(
            (height, width), patch, config.width, channels=channels, position=position
        )
        return ImageInputs(patches)
    return NumberInputs(config.targets, scaling=config.scaling)
