"""Patches: several neighbouring values as one vector."""

from throughtime.layers.base import check_size
from throughtime.layers.stack import Stack
from throughtime.layers.stateless import Linear
from throughtime.layers.window import Window


class PatchEmbedding(Stack):
    r"""The last `patch` real steps of a series as one vector.

    $$y_t = W [x_{t-p+1}, \ldots, x_t] + b$$

    A token of text stands for several letters; a patch stands for several values of a series, and
    attention compares stretches of it instead of single values. There is a patch for every step,
    ending there, so that the model answers at every step.

    Args:
        patch: p, in steps, the present one included.
        input_size: features per step.
        output_size: features of a patch.

    Shapes:
        - `x`: `[batch, time, input_size]`; time is counted in steps.
        - `state`: `(WindowState, ())`, the last `patch - 1` inputs; `None` means zeros.
        - `mask`, `reset`: `[batch, time]`, see [`Layer`][throughtime.layers.Layer]. Padded steps
          take no place in a patch.
        - `output`: `[batch, time, output_size]`.

    Laws:
        - Causal, with a receptive field of exactly `patch` real steps.
        - Chunkable: any split of time gives the same outputs, state and gradients.

    Errors:
        InputError: a size that is not a whole number of at least 1.

    Examples:
        >>> PatchEmbedding(4, 1, 8)(torch.randn(2, 7, 1))[0].shape
        torch.Size([2, 7, 8])

    References:
        Nie et al. 2023, "A time series is worth 64 words: long-term forecasting with Transformers".
    """

    def __init__(self, patch: int, input_size: int, output_size: int) -> None:
        for argument, size in (("patch", patch), ("input_size", input_size)):
            check_size("PatchEmbedding", argument, size)
        super().__init__(Window(patch, input_size), Linear(patch * input_size, output_size))
