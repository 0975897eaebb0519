"""The GRU, everywhere: signature, shapes and choice of implementation."""

from throughtime.kernels import compiled, registry, steps
from throughtime.kernels.gru import cpu, reference
from throughtime.shapes import Bool, Float, Tensor

registry.register(
    "gru",
    registry.Implementation("cpu", cpu.gru, compiled.refuses),
    registry.Implementation("reference", reference.gru, registry.always),
)


def gru(
    x: Float[Tensor, "batch time input"],
    hidden: Float[Tensor, "batch hidden"],
    weight_input: Float[Tensor, "3*hidden input"],
    weight_hidden: Float[Tensor, "3*hidden hidden"],
    bias: Float[Tensor, " 3*hidden"],
    bias_hidden: Float[Tensor, " hidden"] | None = None,
    *,
    initial: Float[Tensor, "batch hidden"],
    mask: Bool[Tensor, "batch time"] | None = None,
    reset: Bool[Tensor, "batch time"] | None = None,
    return_gates: bool = False,
    recompute: bool = False,
    touch: steps.Touch | None = None,
) -> tuple[Float[Tensor, "batch ..."], ...]:
    """Run a GRU over time: all outputs, and the last hidden state.

    Args:
        x: what comes in.
        hidden: the hidden state before the first step.
        weight_input: W; blocks r, z, n from the top.
        weight_hidden: U; the same blocks.
        bias: b; the same blocks.
        bias_hidden: b_h of block n. With it the reset gate acts after the matrix product, as in
            torch.nn; without it before, as in Cho et al. 2014.
        initial: the hidden state wherever `reset` begins a new sequence.
        mask: True where a step is real.
        reset: True where a new sequence begins.
        return_gates: also return what each step's gates were, without history:
            `[batch, time, 4*hidden]`, blocks r, z, n and q = U h + b_h of block n; zeros in padded
            steps.
        recompute: let the backward pass compute the gates again, a segment of some sqrt(T) steps at
            a time, instead of keeping all of them. For the compiled kernels; the reference keeps.
        touch: sees and may replace the values of each step (reset, update, candidate, hidden);
            the reference runs then.
    """
    inputs = x, hidden, weight_input, weight_hidden, bias, bias_hidden, initial, mask, reset
    if touch is not None:
        return reference.gru(*inputs, return_gates=return_gates, touch=touch)
    chosen = registry.choose("gru", x.device, weight_hidden.dtype)
    return chosen.function(*inputs, return_gates=return_gates, recompute=recompute)
