"""Generation with a compiled step: where a model is a Transformer of tokens on the CPU."""

from collections.abc import Collection, Sequence

import torch
from torch import nn

from throughtime.decoding.sampling import Sampling
from throughtime.decoding.stepper import ModelStepper, Stepper
from throughtime.errors import InputError
from throughtime.kernels import decode
from throughtime.kernels.decode import Matrix
from throughtime.layers.attention import SelfAttention, SelfAttentionState
from throughtime.layers.base import Layer
from throughtime.layers.cross_attention import CrossAttention, MemoryState
from throughtime.layers.feed_forward import FeedForward
from throughtime.layers.position import ABSOLUTE, Position, PositionState, frequencies, slopes
from throughtime.layers.stack import Stack
from throughtime.layers.stateless import Dropout, Norm
from throughtime.layers.transformer import BlockState, Decoder, TransformerBlock
from throughtime.models.autoregressive import Autoregressive, AutoregressiveState
from throughtime.models.heads.categorical import Categorical
from throughtime.models.inputs import TokenInputs
from throughtime.shapes import Bool, Float, Int, Tensor
from throughtime.state import State

PARTS = (
    Autoregressive, TokenInputs, Categorical, Decoder, Stack, TransformerBlock, SelfAttention,
    CrossAttention, FeedForward, Position, Norm, Dropout,
)  # fmt: skip
"""What a model that can be compiled is made of; a subclass may compute something else."""


def refuses(model: nn.Module) -> str | None:
    """Why a model cannot be compiled; None where it can.

    That depends on what the model is made of, its device and type, and what is installed.
    """
    if type(model) is not Autoregressive or type(model.inputs) is not TokenInputs:
        return f"it steps Transformers of tokens, not a {type(model).__name__}"
    if type(model.head) is not Categorical or model.head.width is None:
        return f"its head is a {type(model.head).__name__} without an output layer"
    if type(model.body) not in (Decoder, Stack):
        return f"its body is a {type(model.body).__name__}, no Decoder"
    reason = _unlike(model.body)
    if reason is not None:
        return reason
    for part in model.modules():
        if part._forward_hooks or part._forward_pre_hooks:
            return f"a hook on {type(part).__name__} would not be called"
    for weight in model.parameters():
        reason = decode.refuses(weight.device, weight.dtype)
        if reason is not None:
            return reason
    return None


class Compiled:
    """A model whose steps are native code; what [`generate`] takes as `stepper`.

    Its weights are packed here, once; what training changes later does not reach it. It writes what
    the model itself would write, up to the rounding of sums.

    [`generate`]: throughtime.decoding.generate

    Args:
        model: an autoregressive model of tokens whose body is a `Decoder`, on the CPU in float32.
        weights: `float32`, or `int8`, which is faster and no longer the same: matrices and what
            they are multiplied with are rounded to 255 steps, row by row.
        threads: that share a step; more than one is for large models and cores that are idle.

    Errors:
        InputError: a model that cannot be compiled, see [`refuses`].

    Examples:
        >>> from throughtime.decoding import Sampling, generate
        >>> from throughtime.models.config import ModelConfig, build
        >>> model = build(ModelConfig("transformer", tokens=10, width=16, heads=2))
        >>> greedy, prompt = Sampling(greedy=True), torch.tensor([[1, 2, 3]])
        >>> plain = generate(model, prompt, 5, sampling=greedy)
        >>> fast = generate(model, prompt, 5, sampling=greedy, stepper=Compiled(model))
        >>> torch.equal(fast.tokens, plain.tokens)
        True
    """

    def __init__(
        self, model: Autoregressive, *, weights: str = "float32", threads: int = 1
    ) -> None:
        reason = refuses(model)
        if reason is not None:
            raise InputError(f"Compiled: the model cannot be compiled: {reason}")
        self.model = model
        self.program = decode.Program(_network(model), weights=weights, threads=threads)

    def __call__(self, model: Autoregressive, state: State) -> "CompiledStepper":
        """Go on from a state."""
        if model is not self.model:
            raise InputError("Compiled: called with another model than it was made from")
        return CompiledStepper(model, state, program=self.program)


def stepper(model: Autoregressive, state: State) -> Stepper:
    """The compiled step of a model where it can run, else the model itself, step by step."""
    if refuses(model) is None:
        return CompiledStepper(model, state)
    return ModelStepper(model, state)


class CompiledStepper:
    """The last token of each row in, the logits of the next one out; see `Stepper`.

    Args:
        model: an autoregressive model of tokens whose body is a `Decoder`.
        state: after everything before the first token to be fed.
        weights: see [`Compiled`][throughtime.decoding.Compiled].
        program: of the model, if it has been compiled before.

    Errors:
        InputError: a model that cannot be compiled, or a state that is not its own.
    """

    def __init__(
        self,
        model: Autoregressive,
        state: State,
        *,
        weights: str = "float32",
        program: decode.Program | None = None,
    ) -> None:
        self.program = program or Compiled(model, weights=weights).program
        self._layers: Sequence[Layer] = list(model.body.layers)  # pyright: ignore
        self._memories: list[MemoryState] = []
        self._cache = self._read(state)

    def __call__(self, tokens: Int[Tensor, " batch"]) -> Float[Tensor, "batch tokens"]:
        """Feed one token a row."""
        if tokens.shape != (self._cache.rows,):
            raise InputError(
                f"CompiledStepper: tokens have shape {list(tokens.shape)}, "
                f"expected [{self._cache.rows}], one per row"
            )
        return self.program.step(self._cache, tokens)

    def write(
        self,
        tokens: Int[Tensor, " batch"],
        steps: int,
        stop: Collection[int] = (),
        *,
        sampling: Sampling | None = None,
        uniforms: Float[Tensor, "batch steps"] | None = None,
        seen: Bool[Tensor, "batch tokens"] | None = None,
    ) -> decode.Written:
        """Feed one token a row, go on with the next that is chosen, and so on, all in native code.

        Args:
            tokens: the last of each row.
            steps: tokens to write at most.
            stop: ids that end a row. The state of such a row stays where it ended.
            sampling: how tokens are chosen; the likeliest by default.
            uniforms: a random number in [0, 1) for each; not for the likeliest.
            seen: which tokens each row has had; for the repetition penalty.
        """
        how = decode.Choosing()
        if sampling is not None:
            how = decode.Choosing(
                sampling.greedy, sampling.temperature, sampling.top_k or 0, sampling.top_p or 0.0,
                sampling.min_p or 0.0, sampling.repetition_penalty, uniforms, seen,
            )  # fmt: skip
        return self.program.write(self._cache, tokens, steps, stop, how)

    def select(self, rows: Sequence[int]) -> None:
        """Go on with these rows only."""
        self._cache.select(rows)
        self._memories = [
            MemoryState(*(part[list(rows)] for part in memory)) for memory in self._memories
        ]

    @property
    def state(self) -> AutoregressiveState:
        """As the model itself would have it; a copy."""
        counts, blocks = self._cache.counts.clone(), iter(self._cache.give())
        memories = iter(self._memories)
        horizon = self.program.network.horizon
        real = counts.unsqueeze(1) + torch.arange(-horizon, 0) >= 0
        states: list[State] = []
        for layer in self._layers:
            if isinstance(layer, Position):
                states.append(PositionState(counts))
            elif isinstance(layer, TransformerBlock):
                past = SelfAttentionState(*next(blocks), real, counts)
                states.append(BlockState(past, next(memories)) if layer.cross_attention else past)
            else:
                states.append(())
        return AutoregressiveState((), tuple(states))

    def _read(self, state: State) -> decode.Cache:
        """A cache that remembers what a state does."""
        if not isinstance(state, AutoregressiveState) or len(state.body) != len(self._layers):
            raise InputError("CompiledStepper: expected a state of the model")
        pasts, counts = [], []
        for layer, one in zip(self._layers, state.body, strict=True):
            if isinstance(layer, Position):
                counts.append(one.seen)
            elif isinstance(layer, TransformerBlock):
                past, memory = one if isinstance(one, BlockState) else (one, None)
                pasts.append(past)
                counts.append(past.seen)
                self._memories += [] if memory is None else [memory]
        horizon = self.program.network.horizon
        real = counts[0].unsqueeze(1) + torch.arange(-horizon, 0) >= 0
        for count in counts:
            if not torch.equal(count, counts[0]):
                raise InputError("CompiledStepper: the layers of the state count different steps")
        for past in pasts:
            if not torch.equal(past.real, real):
                raise InputError("CompiledStepper: the state has gaps, expected its last steps")
        cache = self.program.cache(len(counts[0]))
        cache.take(counts[0], [decode.Remembered(past.keys, past.values) for past in pasts])
        if self._memories:
            seen = torch.stack([memory.real for memory in self._memories], 1)
            cache.look_at(seen, [decode.Remembered(m.keys, m.values) for m in self._memories])
        return cache


def _unlike(body: Layer) -> str | None:
    """Why a stack is not one of positions, blocks and a norm."""
    layers = [layer for layer in body.layers if type(layer) is not Dropout]  # pyright: ignore
    if layers and type(layers[0]) is Position:
        layers = layers[1:]
    if layers and type(layers[-1]) is Norm and getattr(layers[0], "norm_first", False):
        layers = layers[:-1]
    for part in body.modules():
        if type(part) not in PARTS and not isinstance(part, nn.ModuleList):
            return f"its body holds a {type(part).__name__}"
    for layer in layers:
        if type(layer) is not TransformerBlock:
            return f"its body holds a {type(layer).__name__} between the blocks"
        if not layer.causal:
            return "its blocks see later steps"
        if layer.attention.position in ABSOLUTE:
            return "positions are added inside its blocks"
    forms = {_form(layer) for layer in layers}
    return None if len(forms) == 1 else f"its blocks have {len(forms)} forms, expected one"


def _form(block: TransformerBlock) -> tuple[object, ...]:
    attention, feed = block.attention, block.feed_forward
    other = None if block.cross_attention is None else block.cross_attention.kv_heads
    return (
        attention.heads, attention.kv_heads, attention.horizon, attention.position, other,
        block.norm_first, feed.hidden_size, feed.activation,
    )  # fmt: skip


def _network(model: Autoregressive) -> decode.Network:
    """The model as matrices and vectors."""
    layers = list(model.body.layers)  # pyright: ignore
    blocks = [layer for layer in layers if isinstance(layer, TransformerBlock)]
    first = blocks[0]
    attention, position = first.attention, layers[0]
    last = _norm(layers[-1]) if isinstance(layers[-1], Norm) else None
    if not first.norm_first:
        last = _norm(blocks[-1].feed_forward_norm)
    turning = attention.position == "rotary"
    added = position.kind if isinstance(position, Position) else ""
    cpu, inputs, answer = torch.device("cpu"), model.inputs, model.head
    assert isinstance(inputs, TokenInputs)
    assert isinstance(answer, Categorical)
    embedding = inputs.embedding.weight
    if answer.output is not None:
        head = Matrix(answer.output.weight, answer.output.bias)
    else:
        head = Matrix(embedding[: answer.size], answer.bias)
    return decode.Network(
        heads=attention.heads,
        kv_heads=attention.kv_heads,
        head_size=attention.head_size,
        horizon=attention.horizon,
        activation=first.feed_forward.activation,
        norm_first=first.norm_first,
        embedding=embedding,
        blocks=tuple(
            _block(block, below) for block, below in zip(blocks, [None, *blocks], strict=False)
        ),
        last_norm=last,
        head=head,
        learned=position.weight if added == "learned" else None,
        waves=frequencies(embedding.shape[1], cpu) if added == "sinusoidal" else None,
        turns=frequencies(attention.head_size, cpu) if turning else None,
        slopes=torch.tensor(slopes(attention.heads)) if attention.position == "alibi" else None,
    )


def _block(block: TransformerBlock, below: TransformerBlock | None) -> decode.Block:
    """A block's parts, each with the norm that its input comes from."""
    attention, cross, feed = block.attention, block.cross_attention, block.feed_forward
    # Where norms come after the sums, each part reads what the norm of the part before it gave.
    norms = [block.attention_norm, block.cross_attention_norm, block.feed_forward_norm]
    norms = [norm for norm in norms if norm is not None]
    if not block.norm_first:
        norms = [None if below is None else below.feed_forward_norm, *norms[:-1]]
    return decode.Block(
        attention_norm=_norm(norms[0]),
        attention_input=Matrix(attention.weight_input, attention.bias_input),
        attention_output=Matrix(attention.weight_output, attention.bias_output),
        memory_norm=None if cross is None else _norm(norms[1]),
        memory_query=None if cross is None else Matrix(cross.weight_query, cross.bias_query),
        memory_output=None if cross is None else Matrix(cross.weight_output, cross.bias_output),
        feed_norm=_norm(norms[-1]),
        feed_input=Matrix(feed.weight_input, feed.bias_input),
        feed_output=Matrix(feed.weight_output, feed.bias_output),
    )


def _norm(norm: Norm | None) -> decode.Norm | None:
    if norm is None:
        return None
    return decode.Norm(norm.weight, norm.bias, norm.epsilon, norm.kind == "rms")
