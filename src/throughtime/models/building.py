"""From a configuration to the model."""

from throughtime.errors import InputError
from throughtime.layers import (
    Decoder,
    Dropout,
    Layer,
    PatchEmbedding,
    RecurrentDecoder,
    Stack,
    Window,
)
from throughtime.models.autoregressive import Autoregressive
from throughtime.models.building_classifier import build_classifier
from throughtime.models.classifier import Classifier
from throughtime.models.config import BASELINES, ModelConfig
from throughtime.models.encoder_decoder import EncoderDecoder
from throughtime.models.heads import (
    Categorical,
    Head,
    NegativeBinomial,
    Normal,
    Quantiles,
    StudentT,
)
from throughtime.models.inputs import Inputs, NumberInputs, TokenInputs
from throughtime.models.parts import (
    block_options,
    draw_evenly,
    encoder_of,
    single_layer,
    token_width,
)

Model = Autoregressive | EncoderDecoder | Classifier
"""What a configuration may describe."""


def make(config: ModelConfig) -> Model:
    """The model of any configuration; weights are drawn from torch's generator."""
    if config.classes:
        return build_classifier(config, _body)
    return build_encoder_decoder(config) if config.source_tokens else build(config)


def build(config: ModelConfig) -> Autoregressive:
    """An autoregressive model; weights are drawn from torch's generator.

    Errors:
        InputError: a configuration with a source or with classes, see `make`.
    """
    if config.classes:
        raise InputError("build: the configuration has classes, expected make")
    if config.source_tokens:
        raise InputError("build: the configuration has a source, expected build_encoder_decoder")
    if config.kind in BASELINES:
        return _baseline(config)
    inputs = _inputs(config)
    model = Autoregressive(inputs, _body(config, inputs.output_size), _head(config))
    draw_evenly(model, config.uniform)
    return model


def build_encoder_decoder(config: ModelConfig) -> EncoderDecoder:
    """An encoder-decoder; weights are drawn from torch's generator.

    Vectors of tokens that the head uses again start small, and are multiplied by the root of the
    width where they are read (Vaswani et al. 2017, section 3.4).
    """
    if not config.source_tokens:
        raise InputError("build_encoder_decoder: source_tokens is 0, expected a source")
    target = TokenInputs(config.tokens, config.width, tied=config.tied, scaled=config.tied)
    source = target if config.shared else TokenInputs(config.source_tokens, config.width)
    kind = config.encoder or config.kind
    encoder = encoder_of(config, config.width, kind, config.encoder_layers or config.layers)
    assert encoder.output_size is not None
    body = _looking(config, encoder.output_size, "mean" if kind == "transformer" else "ends")
    model = EncoderDecoder(source, encoder, Autoregressive(target, body, _head(config)))
    draw_evenly(model, config.uniform)
    return model


def _looking(config: ModelConfig, memory_size: int, bridge: str) -> Layer:
    """A decoder that looks at a memory."""
    if config.kind == "transformer":
        return _decoder(config, memory_size)
    return RecurrentDecoder(
        config.width,
        config.width,
        config.layers,
        cell=config.kind,
        memory_size=memory_size,
        attention=config.attention,
        bridge=bridge,
        dropout=config.dropout,
        activation=config.activation,
        reset_after=config.reset_after,
    )


def _inputs(config: ModelConfig) -> Inputs:
    if config.tokens:
        return TokenInputs(config.tokens, token_width(config), tied=config.tied)
    return NumberInputs(
        config.targets,
        covariates=config.covariates,
        scaling=config.scaling,
        level=config.level,
    )


def _body(config: ModelConfig, features: int) -> Layer:
    """Layers with dropout between them and after the last (Zaremba et al. 2014)."""
    if config.kind == "transformer":
        return _transformer(config, features)
    layers: list[Layer] = []
    if config.kind == "window":
        layers.append(Window(config.window, features))
        features *= config.window
    for _ in range(config.layers + (config.kind == "window")):
        layers.append(single_layer(config, features, config.kind))
        features = config.width
        if config.dropout:
            layers.append(Dropout(config.dropout))
    return Stack(*layers)


def _transformer(config: ModelConfig, features: int) -> Layer:
    """A decoder without a memory; series come in as patches."""
    decoder = _decoder(config)
    if config.tokens:
        return decoder
    return Stack(PatchEmbedding(config.patch, features, config.width), decoder)


def _decoder(config: ModelConfig, memory_size: int | None = None) -> Decoder:
    return Decoder(
        config.width,
        config.heads,
        config.layers,
        horizon=config.horizon,
        memory_size=memory_size,
        **block_options(config),
    )


def _head(config: ModelConfig) -> Head:
    width, size = config.width, config.targets
    match config.head:
        case "categorical":
            return Categorical(width, config.tokens, tied=config.tied, smoothing=config.smoothing)
        case "normal":
            return Normal(width, size, residual=config.residual)
        case "student":
            return StudentT(width, size, residual=config.residual)
        case "quantiles":
            return Quantiles(width, size, config.levels, residual=config.residual)
        case _:
            return NegativeBinomial(width, size)


def _baseline(config: ModelConfig) -> Autoregressive:
    from throughtime.models.linear import LastValue, LinearAutoregression, SeasonalNaive
    from throughtime.models.ngram import NGram

    size, more = config.targets, {"covariates": config.covariates, "scaling": config.scaling}
    match config.kind:
        case "ngram":
            return NGram(config.order, config.tokens)
        case "last":
            return LastValue(size, **more)
        case "seasonal":
            return SeasonalNaive(config.season, size, **more)
        case _:
            return LinearAutoregression(config.lags, size, **more)
