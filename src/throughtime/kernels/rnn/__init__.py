"""The RNN, everywhere: signature, shapes and choice of implementation."""

from throughtime.kernels import compiled, registry, steps
from throughtime.kernels.rnn import cpu, reference
from throughtime.shapes import Bool, Float, Tensor

registry.register(
    "rnn",
    registry.Implementation("cpu", cpu.rnn, compiled.refuses),
    registry.Implementation("reference", reference.rnn, registry.always),
)


def rnn(
    x: Float[Tensor, "batch time input"],
    hidden: Float[Tensor, "batch hidden"],
    weight_input: Float[Tensor, "hidden input"],
    weight_hidden: Float[Tensor, "hidden hidden"],
    bias: Float[Tensor, " hidden"],
    *,
    initial: Float[Tensor, "batch hidden"],
    mask: Bool[Tensor, "batch time"] | None = None,
    reset: Bool[Tensor, "batch time"] | None = None,
    activation: str = "tanh",
    touch: steps.Touch | None = None,
) -> tuple[Float[Tensor, "batch time hidden"], Float[Tensor, "batch hidden"]]:
    """Run an RNN over time: all outputs, and the last hidden state.

    Args:
        x: what comes in.
        hidden: the hidden state before the first step.
        weight_input: W.
        weight_hidden: U.
        bias: b.
        initial: the hidden state wherever `reset` begins a new sequence.
        mask: True where a step is real.
        reset: True where a new sequence begins.
        activation: `tanh`, `relu` or `sigmoid`.
        touch: sees and may replace the value of each step, `hidden`; the reference runs then.
    """
    inputs = x, hidden, weight_input, weight_hidden, bias, initial, mask, reset, activation
    if touch is not None:
        return reference.rnn(*inputs, touch=touch)
    chosen = registry.choose("rnn", x.device, weight_hidden.dtype)
    return chosen.function(*inputs)
