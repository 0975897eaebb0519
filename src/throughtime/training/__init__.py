"""Training through time: gradients whole and truncated, one loop, checkpoints."""

from throughtime.training.bias import Bias, BiasReport, truncation_bias
from throughtime.training.bptt import Cut, Place, bptt
from throughtime.training.checkpoint import has_checkpoint
from throughtime.training.config import TrainingConfig
from throughtime.training.loop import train, train_seeds
from throughtime.training.parts import TrainingDiverged, evaluate
from throughtime.training.trainer import Moment, TrainingResult
from throughtime.training.truncation import (
    Full,
    RandomTruncation,
    Truncated,
    Truncation,
    scale_gradient,
)

__all__ = [
    "Bias",
    "BiasReport",
    "Cut",
    "Full",
    "Moment",
    "Place",
    "RandomTruncation",
    "TrainingConfig",
    "TrainingDiverged",
    "TrainingResult",
    "Truncated",
    "Truncation",
    "bptt",
    "evaluate",
    "has_checkpoint",
    "scale_gradient",
    "train",
    "train_seeds",
    "truncation_bias",
]
