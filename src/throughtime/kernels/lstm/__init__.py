"""The LSTM, everywhere: signature, shapes and choice of implementation."""

from throughtime.kernels import compiled, registry, steps
from throughtime.kernels.lstm import cpu, reference
from throughtime.shapes import Bool, Float, Tensor

registry.register(
    "lstm",
    registry.Implementation("cpu", cpu.lstm, compiled.refuses),
    registry.Implementation("reference", reference.lstm, registry.always),
)


def lstm(
    x: Float[Tensor, "batch time input"],
    hidden: Float[Tensor, "batch hidden"],
    cell: Float[Tensor, "batch hidden"],
    weight_input: Float[Tensor, "4*hidden input"],
    weight_hidden: Float[Tensor, "4*hidden hidden"],
    bias: Float[Tensor, " 4*hidden"],
    *,
    initial_hidden: Float[Tensor, "batch hidden"],
    initial_cell: Float[Tensor, "batch hidden"],
    mask: Bool[Tensor, "batch time"] | None = None,
    reset: Bool[Tensor, "batch time"] | None = None,
    return_gates: bool = False,
    recompute: bool = False,
    touch: steps.Touch | None = None,
) -> tuple[Float[Tensor, "batch ..."], ...]:
    """Run an LSTM over time: all outputs, the last hidden state and the last cell state.

    Args:
        x: what comes in.
        hidden: the hidden state before the first step.
        cell: the cell state before the first step.
        weight_input: W; blocks i, f, g, o from the top.
        weight_hidden: U; the same blocks.
        bias: b; the same blocks.
        initial_hidden: the hidden state wherever `reset` begins a new sequence.
        initial_cell: the cell state there.
        mask: True where a step is real.
        reset: True where a new sequence begins.
        return_gates: also return what each step's gates were, without history:
            `[batch, time, 4*hidden]`, blocks i, f, g, o; zeros in padded steps.
        recompute: let the backward pass compute the gates again, a segment of some sqrt(T) steps at
            a time, instead of keeping all of them. For the compiled kernels; the reference keeps.
        touch: sees and may replace the values of each step (input, forget, candidate, output_gate,
            cell, hidden); the reference runs then.
    """
    inputs = (
        *(x, hidden, cell, weight_input, weight_hidden, bias, initial_hidden, initial_cell),
        *(mask, reset),
    )
    if touch is not None:
        return reference.lstm(*inputs, return_gates=return_gates, touch=touch)
    chosen = registry.choose("lstm", x.device, weight_hidden.dtype)
    return chosen.function(*inputs, return_gates=return_gates, recompute=recompute)
