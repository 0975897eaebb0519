"""What the baselines share: they are fitted in closed form, by one pass over the data."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from throughtime.errors import InputError
from throughtime.models.autoregressive import Autoregressive
from throughtime.models.chain import befores
from throughtime.shapes import Bool, Tensor


@dataclass(frozen=True)
class Steps:
    """Some steps of some rows: the parts of a batch that a fit reads."""

    inputs: Tensor
    targets: Tensor
    mask: Bool[Tensor, "batch time"] | None = None
    reset: Bool[Tensor, "batch time"] | None = None
    covariates: Tensor | None = None

    def split(self, size: int) -> Iterator["Steps"]:
        """Pieces of at most `size` steps in time."""
        for start in range(0, self.inputs.shape[1], size):
            parts: dict[str, Any] = {
                name: None if part is None else part[:, start : start + size]
                for name, part in vars(self).items()
            }
            yield Steps(**parts)


class Baseline(Autoregressive):
    """An autoregressive model that is fitted by counting or by least squares, not by gradient.

    It has no trainable weights; what it learned lies in buffers.
    """

    def windows(self, data: Any) -> Iterator[tuple[bool, Steps]]:
        """Every batch of the data, and whether its rows begin there.

        Args:
            data: a source (its first epoch), a sequence of windows, the windows of one set of
                rows (the state is carried from each batch to the next), a batch, or one tensor
                `[batch, time]` of token ids or `[batch, time, size]` of numbers.

        Errors:
            InputError: anything else.
        """
        if isinstance(data, Tensor):
            self.check_data(data)
            line, _ = befores(self.begin(len(data)), data)
            data = Steps(line[:, :-1], data)
        if hasattr(data, "epoch"):
            data = data.epoch(0)
        if hasattr(data, "inputs"):
            data = [data]
        if not hasattr(data, "__getitem__"):
            raise self.no_data(data)
        device = self.like().device
        for first, item in enumerate(data):
            for later, batch in enumerate([item] if hasattr(item, "inputs") else item):
                if not hasattr(batch, "inputs"):
                    raise self.no_data(data)
                parts: dict[str, Any] = {}
                for name in Steps.__dataclass_fields__:
                    part = getattr(batch, name)
                    parts[name] = None if part is None else part.to(device)
                self.check_data(parts["inputs"])
                yield (first if item is batch else later) == 0, Steps(**parts)

    def check_data(self, x: Tensor) -> None:
        """Refuse numbers for tokens, tokens for numbers, and another count of numbers."""
        expected = [] if self.inputs.discrete else [self.inputs.size]
        if [*x.shape[2:]] != expected or x.is_floating_point() == self.inputs.discrete:
            words = (
                "token ids [batch, time]"
                if self.inputs.discrete
                else (f"numbers [batch, time, {self.inputs.size}]")
            )
            raise InputError(
                f"{type(self).__name__}: data is {x.dtype} of shape {[*x.shape]}, expected {words}"
            )

    def no_data(self, data: Any) -> InputError:
        """What to raise for anything that has no batches."""
        return InputError(
            f"{type(self).__name__}: data is a {type(data).__name__}, "
            "expected a source, batches or one tensor"
        )


def real_steps(steps: Steps) -> Bool[Tensor, "batch time"]:
    """True where a step is not padding."""
    if steps.mask is not None:
        return steps.mask
    return torch.ones(steps.inputs.shape[:2], dtype=torch.bool, device=steps.inputs.device)
