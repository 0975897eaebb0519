"""From a configuration to a classifier."""

from collections.abc import Callable
from dataclasses import replace

from throughtime.errors import InputError
from throughtime.layers import ImagePatches, Layer, Linear, Stack
from throughtime.models.classifier import Classifier
from throughtime.models.config import ModelConfig
from throughtime.models.image_inputs import ImageInputs
from throughtime.models.inputs import NumberInputs, TokenInputs
from throughtime.models.parts import draw_evenly, encoder_of, token_width

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
    model = Classifier(inputs, body, config.classes, pooling=config.pooling, dropout=config.dropout)
    draw_evenly(model, config.uniform)
    return model


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
