"""What generation asks of a model, and the plain way to answer."""

from collections.abc import Collection, Sequence
from typing import Protocol, runtime_checkable

import torch

from throughtime.kernels.decode import Searched
from throughtime.models.autoregressive import Autoregressive
from throughtime.models.chain import evaluating
from throughtime.shapes import Float, Int, Tensor
from throughtime.state import State, select


@runtime_checkable
class Stepper(Protocol):
    """The last token of each row in, the logits of the next one out; the state is kept inside.

    Whatever does this can generate: a model called step by step, or one compiled for it. It is made
    from a model and a state, by the `stepper` of [`generate`][throughtime.decoding.generate].
    """

    def __call__(self, tokens: Int[Tensor, " batch"]) -> Float[Tensor, "batch tokens"]:
        """Feed one token a row; the id after the last of the vocabulary is the beginning."""
        ...

    def select(self, rows: Sequence[int]) -> None:
        """Go on with these rows only, in this order; a row may be taken many times."""
        ...

    @property
    def state(self) -> State:
        """The state of the model after what was fed, as the model itself would have it."""
        ...


@runtime_checkable
class Searching(Protocol):
    """A stepper that does a whole beam search by itself, where nothing constrains it."""

    def search(
        self,
        tokens: Int[Tensor, " batch"],
        steps: int,
        stop: Collection[int] = (),
        *,
        beams: int,
        n_best: int = 1,
        length_penalty: float = 1.0,
    ) -> Searched | None:
        """What is found after these tokens; None where the model gives NaN."""
        ...


class ModelStepper:
    """Calls the model with one step.

    Dropout is off in each call, and on again after it where it was on.

    Args:
        model: an autoregressive model of tokens.
        state: after everything before the first token to be fed.
    """

    def __init__(self, model: Autoregressive, state: State) -> None:
        self.model = model
        self._state = state
        self._modules = list(model.modules())

    @torch.no_grad()
    def __call__(self, tokens: Int[Tensor, " batch"]) -> Float[Tensor, "batch tokens"]:
        """Feed one token a row."""
        x = tokens.unsqueeze(1)
        if any(module.training for module in self._modules):
            with evaluating(self.model):
                logits, self._state = self.model(x, self._state)
        else:
            logits, self._state = self.model(x, self._state)
        return logits[:, 0]

    def select(self, rows: Sequence[int]) -> None:
        """Go on with these rows only."""
        self._state = select(self._state, rows)

    @property
    def state(self) -> State:
        """Of the model."""
        return self._state
