"""A decoder's step, compiled: a token of each row in, logits out, without Python in between.

What runs is a [`Program`][throughtime.kernels.decode.Program]: the weights of a
[`Network`][throughtime.kernels.decode.Network] or of a
[`RecurrentNetwork`][throughtime.kernels.decode.RecurrentNetwork], packed once as numbers or as
bytes. What it remembers is a [`Cache`][throughtime.kernels.decode.Cache].
"""

import torch

from throughtime.kernels import compiled, registry
from throughtime.kernels.decode.cache import Cache, Remembered, Rings, States
from throughtime.kernels.decode.network import (
    Attention,
    Block,
    Matrix,
    Network,
    Norm,
    RecurrentNetwork,
)
from throughtime.kernels.decode.program import WEIGHTS, Choosing, Program, Searched, Written

__all__ = [
    "WEIGHTS",
    "Attention",
    "Block",
    "Cache",
    "Choosing",
    "Matrix",
    "Network",
    "Norm",
    "Program",
    "RecurrentNetwork",
    "Remembered",
    "Rings",
    "Searched",
    "States",
    "Written",
    "refuses",
]


def refuses(device: torch.device, dtype: torch.dtype) -> str | None:
    """Why the compiled step cannot run there; None where it can."""
    reason = compiled.refuses(device, dtype)
    if reason is None and dtype != torch.float32:
        reason = f"it computes float32, not {str(dtype).removeprefix('torch.')}"
    if reason is None and registry.forced() == "reference":
        reason = "kernels.use('reference') is in force"
    return reason
