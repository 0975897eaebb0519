"""Generation with a compiled step: where a model is a decoder of tokens on the CPU."""

from collections.abc import Collection, Sequence

import torch
from torch import nn

from throughtime.decoding import compiled_recurrent, compiled_transformer
from throughtime.decoding.compiled_recurrent import RecurrentCache
from throughtime.decoding.compiled_transformer import TransformerCache
from throughtime.decoding.sampling import Sampling
from throughtime.decoding.stepper import ModelStepper, Stepper
from throughtime.errors import InputError
from throughtime.kernels import decode
from throughtime.kernels.decode import Matrix
from throughtime.kernels.decode.program import ids_of
from throughtime.layers.base import Layer
from throughtime.layers.block import BlockState, TransformerBlock
from throughtime.layers.recurrent_decoder import RecurrentDecoder
from throughtime.models.autoregressive import Autoregressive, AutoregressiveState
from throughtime.models.heads.categorical import Categorical
from throughtime.models.inputs import TokenInputs
from throughtime.shapes import Bool, Float, Tensor
from throughtime.state import State
from throughtime.taps import watched


def refuses(model: nn.Module) -> str | None:
    """Why a model cannot be compiled; None where it can.

    That depends on what the model is made of, its device and type, and what is installed.
    """
    if type(model) is not Autoregressive or type(model.inputs) is not TokenInputs:
        return f"it steps decoders of tokens, not a {type(model).__name__}"
    if type(model.head) is not Categorical or model.head.width is None:
        return f"its head is a {type(model.head).__name__} without an output layer"
    if type(model.body) is RecurrentDecoder:
        reason = compiled_recurrent.unlike(model.body)
    elif type(model.body) in compiled_transformer.BODIES:
        reason = compiled_transformer.unlike(model.body)
    else:
        reason = f"its body is a {type(model.body).__name__}, no Decoder or RecurrentDecoder"
    if reason is not None:
        return reason
    for part in model.modules():
        if part._forward_hooks or part._forward_pre_hooks:
            return f"a hook on {type(part).__name__} would not be called"
        if watched(part):
            return f"{type(part).__name__} is watched, and what it computes would not be seen"
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
        model: an autoregressive model of tokens whose body is a `Decoder` or a `RecurrentDecoder`,
            on the CPU in float32.
        weights: `float32`, or `int8`, which is faster and no longer the same: matrices and what
            they are multiplied with are rounded to 255 steps, row by row.
        threads: that share a step; more than one is for large models and cores that are idle.

    Errors:
        InputError: a model that cannot be compiled, see [`refuses`].

    Examples:
        >>> from throughtime.decoding import Sampling, generate
        >>> from throughtime.models import ModelConfig, build
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
        for part in model.modules():
            if watched(part):
                raise InputError(
                    f"Compiled: {type(part).__name__} is watched, expected ModelStepper, "
                    "which runs the layers"
                )
        return CompiledStepper(model, state, program=self.program)


def stepper(model: Autoregressive, state: State) -> Stepper:
    """The compiled step of a model where it can run, else the model itself, step by step."""
    if refuses(model) is None:
        return CompiledStepper(model, state)
    return ModelStepper(model, state)


class CompiledStepper:
    """The last token of each row in, the logits of the next one out; see `Stepper`.

    Args:
        model: an autoregressive model of tokens whose body is a `Decoder` or a `RecurrentDecoder`.
        state: after everything before the first token to be fed; parts that are None are the
            initial ones. It is checked here, once.
        weights: see [`Compiled`][throughtime.decoding.Compiled].
        program: of the model, if it has been compiled before.

    Errors:
        InputError: a model that cannot be compiled, a state that is not its own, or, from a call,
            tokens that are not one id of the vocabulary per row.
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
        self._model, self._given = model, state
        self._kept: RecurrentCache | TransformerCache | None = None
        self._cache: decode.Cache | None = None
        rows = _rows(state)
        if rows is None:  # the first tokens will tell
            _whole(model, state, 1)
        else:
            self._begin(rows)

    def __call__(self, tokens: Tensor) -> Float[Tensor, "batch tokens"]:
        """Feed one token a row, `[batch]`."""
        return self.program.step(self._cache or self._begun(tokens), tokens)

    def write(
        self,
        tokens: Tensor,
        steps: int,
        stop: Collection[int] = (),
        *,
        sampling: Sampling | None = None,
        uniforms: Float[Tensor, "batch steps"] | None = None,
        seen: Bool[Tensor, "batch tokens"] | None = None,
    ) -> decode.Written:
        """Feed one token a row, go on with the next that is chosen, and so on, all in native code.

        Args:
            tokens: `[batch]`, the last of each row.
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
        return self.program.write(self._cache or self._begun(tokens), tokens, steps, stop, how)

    def search(
        self,
        tokens: Tensor,
        steps: int,
        stop: Collection[int] = (),
        *,
        beams: int,
        n_best: int = 1,
        length_penalty: float = 1.0,
    ) -> decode.Searched | None:
        """Look for the likeliest outputs, all in native code; the state stays as it is.

        Args:
            tokens: `[batch]`, the last of each row.
            steps: tokens of each output at most.
            stop: ids that end an output.
            beams: hypotheses of each row that go on.
            n_best: outputs to hand out of each row, at most `beams`.
            length_penalty: see [`beam_search`][throughtime.decoding.beam_search].

        Returns:
            What [`beam_search`][throughtime.decoding.beam_search] finds where nothing constrains
            it; None if the model gives NaN.
        """
        return self.program.search(
            self._cache or self._begun(tokens), tokens, steps, stop,
            beams=beams, n_best=n_best, length_penalty=length_penalty,
        )  # fmt: skip

    def select(self, rows: Sequence[int]) -> None:
        """Go on with these rows only."""
        if self._cache is None:
            raise InputError("CompiledStepper: rows are taken of a state that has none yet")
        self._cache.select(rows)

    @property
    def state(self) -> State:
        """As the model itself would have it; a copy."""
        return self._given if self._kept is None else self._kept.state

    def _begun(self, tokens: Tensor) -> decode.Cache:
        """The cache of a state that does not say how many rows there are."""
        return self._begin(len(ids_of(tokens, tokens.numel())))

    def _begin(self, rows: int) -> decode.Cache:
        kept = RecurrentCache if type(self._model.body) is RecurrentDecoder else TransformerCache
        self._kept = kept(self._model, self.program, _whole(self._model, self._given, rows))
        self._cache, self._given = self._kept.cache, None
        return self._cache


def _rows(state: State) -> int | None:
    """How many rows a state has; None where no part of it says so."""
    if isinstance(state, Tensor):
        return len(state) if state.ndim else None
    parts = state if isinstance(state, tuple) else ()
    return next((rows for part in parts if (rows := _rows(part)) is not None), None)


@torch.no_grad()
def _whole(model: Autoregressive, state: State, rows: int) -> AutoregressiveState:
    """A state with all its parts, each checked by the layer whose it is: native code trusts it.

    Errors:
        InputError: a state of another model, or of another number of rows.
    """
    if state is None:
        state = AutoregressiveState((), None)
    if not isinstance(state, AutoregressiveState):
        raise InputError("CompiledStepper: expected a state of the model")
    model.check_state(state, rows)
    layers: list[Layer] = list(model.body.layers)  # pyright: ignore
    body = (None,) * len(layers) if state.body is None else state.body
    if not isinstance(body, tuple) or len(body) != len(layers):
        raise InputError("CompiledStepper: expected a state of the model")
    pairs = zip(layers, body, strict=True)
    return AutoregressiveState((), tuple(_part(layer, part, rows) for layer, part in pairs))


def _part(layer: Layer, state: State, rows: int) -> State:
    """The state of one layer, checked, or its initial one."""
    if state is None:
        return layer.initial_state(rows)
    layer.check_state(state, rows)
    if isinstance(layer, TransformerBlock):  # it leaves its parts to them
        if layer.cross_attention is None:
            return _part(layer.attention, state, rows)
        past, memory = state
        past = _part(layer.attention, past, rows)
        return BlockState(past, _part(layer.cross_attention, memory, rows))
    return state


def _network(model: Autoregressive) -> decode.Network | decode.RecurrentNetwork:
    """The model as matrices and vectors."""
    inputs, answer = model.inputs, model.head
    assert isinstance(inputs, TokenInputs)
    assert isinstance(answer, Categorical)
    if answer.output is not None:
        head = Matrix(answer.output.weight, answer.output.bias)
    else:
        head = Matrix(inputs.embedding.weight[: answer.size], answer.bias)
    if type(model.body) is RecurrentDecoder:
        return compiled_recurrent.network(model, head)
    return compiled_transformer.network(model, head)
