"""Decoding: from a model that foretells tokens to text."""

from throughtime.decoding.beam import beam_search
from throughtime.decoding.compiled import Compiled, CompiledStepper, refuses
from throughtime.decoding.generation import Generation, Step, generate, stream
from throughtime.decoding.hypotheses import BeamSearch
from throughtime.decoding.randomness import row_seeds
from throughtime.decoding.sampling import Sampling
from throughtime.decoding.stepper import ModelStepper, Stepper
from throughtime.decoding.writing import write

__all__ = [
    "BeamSearch",
    "Compiled",
    "CompiledStepper",
    "Generation",
    "ModelStepper",
    "Sampling",
    "Step",
    "Stepper",
    "beam_search",
    "generate",
    "refuses",
    "row_seeds",
    "stream",
    "write",
]
