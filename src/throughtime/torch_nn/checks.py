"""Mistakes that all modules of the drop-in tell alike."""

from typing import Any

import torch

from throughtime.errors import InputError
from throughtime.shapes import Tensor


def check_tensor(layer: str, argument: str, x: Any, also: str = "") -> None:
    """Refuse arrays, lists and the like.

    Args:
        layer: who asks.
        argument: its name.
        x: what came.
        also: what it may be, too.
    """
    if not isinstance(x, Tensor):
        raise InputError(f"{layer}: {argument} is {type(x).__name__}, expected a tensor{also}")


def check_dtype(layer: str, argument: str, x: Tensor, dtype: torch.dtype) -> None:
    """Refuse numbers of another type than the weights, but under autocast, which converts them.

    Args:
        layer: who asks.
        argument: its name.
        x: what came.
        dtype: of the weights.
    """
    if x.dtype != dtype and not torch.is_autocast_enabled(x.device.type):
        raise InputError(
            f"{layer}: {argument} is {x.dtype}, the layer is {dtype}; "
            "convert one of them with .to()"
        )
