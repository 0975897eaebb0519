"""The LSTM by compiled kernels."""

from throughtime.kernels import compiled
from throughtime.kernels.calls import Inputs
from throughtime.kernels.lstm import reference
from throughtime.shapes import Bool, Float, Tensor

CELL = 3  # the code of the native cell


def _reference(
    code: int, inputs: Inputs, *, return_gates: bool = False
) -> tuple[Tensor | None, ...]:
    x, mask, reset, weight_input, weight_hidden, bias, _, hidden, cell, *initial = inputs
    assert cell is not None
    initial_hidden, initial_cell = (hidden, cell) if reset is None else initial
    assert initial_hidden is not None
    assert initial_cell is not None
    return reference.lstm(
        *(x, hidden, cell, weight_input, weight_hidden, bias, initial_hidden, initial_cell),
        *(mask, reset),
        return_gates=return_gates,
    )


OPERATION = compiled.Operation(
    "lstm", blocks=4, gates=4, codes=(CELL,), parts=("cell",), reference=_reference
)


def lstm(
    x: Float[Tensor, "batch time input"],
    hidden: Float[Tensor, "batch hidden"],
    cell: Float[Tensor, "batch hidden"],
    weight_input: Float[Tensor, "4*hidden input"],
    weight_hidden: Float[Tensor, "4*hidden hidden"],
    bias: Float[Tensor, " 4*hidden"],
    initial_hidden: Float[Tensor, "batch hidden"],
    initial_cell: Float[Tensor, "batch hidden"],
    mask: Bool[Tensor, "batch time"] | None,
    reset: Bool[Tensor, "batch time"] | None,
    *,
    return_gates: bool = False,
    recompute: bool = False,
) -> tuple[Tensor, ...]:
    """Output, last hidden and last cell state, and the gates if asked for."""
    begin = (None, None) if reset is None else (initial_hidden, initial_cell)
    inputs = Inputs._make(
        (x, mask, reset, weight_input, weight_hidden, bias, None, hidden, cell, *begin)
    )
    return compiled.run(OPERATION, CELL, inputs, return_gates=return_gates, recompute=recompute)
