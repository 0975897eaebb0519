"""The RNN by compiled kernels."""

from throughtime.kernels import compiled
from throughtime.kernels.calls import Inputs
from throughtime.kernels.rnn import reference
from throughtime.shapes import Bool, Float, Tensor

ACTIVATIONS = [*reference.ACTIVATIONS]
"""By code of the native cell."""


def _reference(
    code: int, inputs: Inputs, *, return_gates: bool = False
) -> tuple[Tensor | None, ...]:
    x, mask, reset, weight_input, weight_hidden, bias, _, hidden, _, initial, _ = inputs
    initial = hidden if initial is None else initial
    found = reference.rnn(
        x, hidden, weight_input, weight_hidden, bias, initial, mask, reset, ACTIVATIONS[code]
    )
    return *found, None


OPERATION = compiled.Operation(
    "rnn", blocks=1, gates=0, codes=range(len(ACTIVATIONS)), reference=_reference
)


def rnn(
    x: Float[Tensor, "batch time input"],
    hidden: Float[Tensor, "batch hidden"],
    weight_input: Float[Tensor, "hidden input"],
    weight_hidden: Float[Tensor, "hidden hidden"],
    bias: Float[Tensor, " hidden"],
    initial: Float[Tensor, "batch hidden"],
    mask: Bool[Tensor, "batch time"] | None,
    reset: Bool[Tensor, "batch time"] | None,
    activation: str,
) -> tuple[Tensor, ...]:
    """Output and last hidden state."""
    begin = None if reset is None else initial
    inputs = Inputs(
        x, mask, reset, weight_input, weight_hidden, bias, None, hidden, None, begin, None
    )
    return compiled.run(OPERATION, ACTIVATIONS.index(activation), inputs, return_gates=False)
