"""Whole models, put together from layers."""

from throughtime.models.autoregressive import Autoregressive, AutoregressiveState
from throughtime.models.bert import Bert
from throughtime.models.building import build, build_encoder_decoder, make
from throughtime.models.classifier import Classifier, ClassifierState
from throughtime.models.config import ModelConfig
from throughtime.models.encoder_decoder import EncoderDecoder
from throughtime.models.heads import (
    Categorical,
    Head,
    NegativeBinomial,
    Normal,
    Quantiles,
    StudentT,
)
from throughtime.models.image_inputs import ImageInputs
from throughtime.models.inputs import NumberInputs, TokenInputs
from throughtime.models.scaling import RunningScale, ScaleState, Scaling
from throughtime.models.sizing import fit_width, parameters
from throughtime.models.vision_transformer import VisionTransformer

__all__ = [
    "Autoregressive",
    "AutoregressiveState",
    "Bert",
    "Categorical",
    "Classifier",
    "ClassifierState",
    "EncoderDecoder",
    "Head",
    "ImageInputs",
    "ModelConfig",
    "NegativeBinomial",
    "Normal",
    "NumberInputs",
    "Quantiles",
    "RunningScale",
    "ScaleState",
    "Scaling",
    "StudentT",
    "TokenInputs",
    "VisionTransformer",
    "build",
    "build_encoder_decoder",
    "fit_width",
    "make",
    "parameters",
]
