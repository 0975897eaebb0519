"""The GRU by compiled kernels."""

from throughtime.kernels import compiled
from throughtime.kernels.calls import Inputs
from throughtime.kernels.gru import reference
from throughtime.shapes import Bool, Float, Tensor

CELL = 4  # the code of the native cell, whose reset gate acts after the matrix product


def _reference(
    code: int, inputs: Inputs, *, return_gates: bool = False
) -> tuple[Tensor | None, ...]:
    x, mask, reset, weight_input, weight_hidden, bias, bias_hidden, hidden, _, initial, _ = inputs
    initial = hidden if initial is None else initial
    output, last, *gates = reference.gru(
        *(x, hidden, weight_input, weight_hidden, bias, bias_hidden, initial, mask, reset),
        return_gates=return_gates,
    )
    return output, last, None, *gates


OPERATION = compiled.Operation(
    "gru", blocks=3, gates=4, codes=(CELL,), parts=("bias_hidden",), reference=_reference
)


def gru(
    x: Float[Tensor, "batch time input"],
    hidden: Float[Tensor, "batch hidden"],
    weight_input: Float[Tensor, "3*hidden input"],
    weight_hidden: Float[Tensor, "3*hidden hidden"],
    bias: Float[Tensor, " 3*hidden"],
    bias_hidden: Float[Tensor, " hidden"] | None,
    initial: Float[Tensor, "batch hidden"],
    mask: Bool[Tensor, "batch time"] | None,
    reset: Bool[Tensor, "batch time"] | None,
    *,
    return_gates: bool = False,
    recompute: bool = False,
) -> tuple[Tensor, ...]:
    """Output and last hidden state, and the gates if asked for."""
    if bias_hidden is None:  # the reset gate before the product: the reference alone has it
        return reference.gru(
            *(x, hidden, weight_input, weight_hidden, bias, None, initial, mask, reset),
            return_gates=return_gates,
        )
    begin = None if reset is None else initial
    inputs = Inputs(
        *(x, mask, reset, weight_input, weight_hidden, bias, bias_hidden, hidden, None, begin, None)
    )
    return compiled.run(OPERATION, CELL, inputs, return_gates=return_gates, recompute=recompute)
