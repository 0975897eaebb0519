"""Parts that several kinds of models are built of, out of one configuration."""

from typing import Any

from torch import nn

from throughtime.layers import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    Dropout,
    Encoder,
    Layer,
    Linear,
    Stack,
)
from throughtime.models.config import ModelConfig


def single_layer(config: ModelConfig, features: int, kind: str) -> Layer:
    """One layer of a body that is not a transformer."""
    learn = config.learn_initial_state
    match kind:
        case "window":
            return Linear(features, config.width, activation="relu")
        case "rnn":
            return RNN(
                features, config.width, activation=config.activation, learn_initial_state=learn
            )
        case "lstm":
            return LSTM(features, config.width, learn_initial_state=learn)
        case _:
            return GRU(
                features, config.width, reset_after=config.reset_after, learn_initial_state=learn
            )


def block_options(config: ModelConfig) -> dict[str, Any]:
    """What the blocks of encoders and decoders have alike."""
    return {
        "position": config.position,
        "kv_heads": config.kv_heads or None,
        "norm": config.norm,
        "norm_first": config.norm_first,
        "hidden_size": config.hidden or None,
        "activation": config.feed_forward,
        "dropout": config.dropout,
    }


def token_width(config: ModelConfig) -> int:
    """Features of the vector of a token.

    More than tokens would tell nothing more, and cost a product in every step; a transformer adds
    to them as they are, and a tied head uses them again.
    """
    whole = config.tied or config.kind == "transformer"
    return config.width if whole else min(config.width, config.tokens)


def encoder_of(config: ModelConfig, features: int, kind: str, layers: int) -> Layer:
    """Layers that see the whole input; dropout before the first and after each."""
    if kind == "transformer":
        options: dict[str, Any] = block_options(config)
        options["stochastic_depth"] = config.stochastic_depth
        return Encoder(config.width, config.heads, layers, **options)
    dropped = [Dropout(config.dropout)] if config.dropout else []
    parts: list[Layer] = [*dropped]
    for _ in range(layers):
        parts += [Bidirectional(single_layer(config, features, kind)), *dropped]
        features = 2 * config.width
    return Stack(*parts)


def draw_evenly(model: nn.Module, most: float) -> None:
    """Every first weight between minus and plus this; 0 leaves them."""
    if most:
        for weight in model.parameters():
            nn.init.uniform_(weight, -most, most)
