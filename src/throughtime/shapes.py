"""Shapes in signatures: jaxtyping's names, or plain tensors where it is not installed.

The tests install jaxtyping and check every annotated call with beartype; at run time throughtime
needs neither, and the annotations are inert.
"""

from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, Shaped
else:
    try:
        from jaxtyping import Bool, Float, Int, Shaped
    except ImportError:

        class _Plain:
            def __class_getitem__(cls, item: tuple[type, str]) -> type:
                return item[0]

        Bool = Float = Int = Shaped = _Plain

__all__ = ["Bool", "Float", "Int", "Shaped", "Tensor"]
