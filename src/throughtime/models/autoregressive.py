"""Models of sequences by the chain rule: each value given all before it.

The letters of shapes: B batch, T time, D numbers per step, C covariates, P parameters.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch.distributions import Distribution

from throughtime.errors import InputError
from throughtime.layers.base import Layer, check_ids, same_form
from throughtime.models.chain import (
    befores,
    check_covariates,
    check_parts,
    draw,
    evaluating,
    hide,
)
from throughtime.models.heads import Head
from throughtime.models.inputs import Inputs, NumberInputs
from throughtime.models.scaling import pad
from throughtime.shapes import Bool, Float, Tensor
from throughtime.state import State, register, select, tensors
from throughtime.taps import tap


@register
class AutoregressiveState(NamedTuple):
    """What an autoregressive model remembers.

    Attributes:
        scale: the state of its input layer: the size of each series; `()` for tokens.
        body: the state of its body.
    """

    scale: State
    body: State


class Autoregressive(Layer):
    r"""A model of sequences by the chain rule: $p(x) = \prod_t p(x_t \mid x_1, \ldots, x_{t-1})$.

    An input layer turns the previous value into features, a body (any causal layer) sums up the
    past, a head gives the distribution of the next value. What is fed at the first step is a
    marker that nothing came before: an id of its own for tokens, NaN for numbers.

    The model keeps the contract of a layer, from the previous values to the parameters of the
    distributions of the next ones.

    Args:
        inputs: the input layer.
        body: any causal layer.
        head: the head.

    Shapes:
        - `x`: the previous values, `[batch, time]` of token ids or `[batch, time, size]` of
          numbers, NaN where one is missing.
        - `state`: [`AutoregressiveState`][throughtime.models.autoregressive.AutoregressiveState].
        - `mask`, `reset`: `[batch, time]`, see [`Layer`][throughtime.layers.Layer]. Where `reset`
          is True, `x` must hold the marker of `begin`.
        - `covariates`: `[batch, time, covariates]`, of the steps to be predicted.
        - `output`: `[batch, time, P]`, parameters for the head; zeros in padded steps.

    Laws:
        - Causal, chunkable, padding-invariant, as its body is.

    Errors:
        InputError: a body that sees later steps, or parts that do not fit together.

    Examples:
        >>> from throughtime.layers import GRU
        >>> from throughtime.models.heads import Categorical
        >>> from throughtime.models.inputs import TokenInputs
        >>> model = Autoregressive(TokenInputs(10, 8), GRU(8, 16), Categorical(16, 10))
        >>> x = torch.randint(10, (2, 7))
        >>> model.log_prob(x).shape, model.sample(5, prefix=x).shape
        (torch.Size([2, 7]), torch.Size([2, 5]))
    """

    def __init__(self, inputs: Inputs, body: Layer, head: Head) -> None:
        super().__init__()
        check_parts(inputs, body, head)
        self.inputs = inputs
        self.body = body
        self.head = head
        self.taps = {head.gives: f"of the next value's distribution: [batch, time, {head.gives}]"}
        self.input_size = None if inputs.discrete else inputs.size
        self.output_size = head.output_size

    # -- as a layer ---------------------------------------------------------------------------

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> AutoregressiveState:
        """Nothing seen."""
        return AutoregressiveState(
            self.inputs.initial_state(batch_size, device=device, dtype=dtype),
            self.body.initial_state(batch_size, device=device, dtype=dtype),
        )

    def forward(
        self,
        x: Tensor,
        state: State = None,
        mask: Bool[Tensor, "batch time"] | None = None,
        reset: Bool[Tensor, "batch time"] | None = None,
        covariates: Tensor | None = None,
    ) -> tuple[Float[Tensor, "batch time parameters"], AutoregressiveState]:
        """Parameters of the distributions of the next values, and the state after the last step."""
        hidden, context, state = self.features(x, state, mask, reset, covariates)
        parameters = self.head(hidden, context)
        if mask is not None:
            parameters = torch.where(mask.unsqueeze(-1), parameters, 0)
        return tap(self, self.head.gives, parameters, mask), state

    def features(
        self,
        x: Tensor,
        state: State = None,
        mask: Bool[Tensor, "batch time"] | None = None,
        reset: Bool[Tensor, "batch time"] | None = None,
        covariates: Tensor | None = None,
    ) -> tuple[Tensor, Any, AutoregressiveState]:
        """What the head reads, `[batch, time, width]` and a context; and the state after it."""
        self.check(x, state, mask, reset)
        check_covariates(type(self).__name__, x, covariates, self.inputs.covariates)
        if state is None:  # the body is told so: attention costs less when nothing came before
            state = AutoregressiveState(self.inputs.initial_state(x.shape[0]), None)
        features, context, scale = self.inputs(x, state.scale, mask, reset, covariates)
        hidden, body = self.body(features, state.body, mask, reset)
        return hidden, context, AutoregressiveState(scale, body)

    def check(self, x: Tensor, state: State, mask: Tensor | None, reset: Tensor | None) -> None:
        """Token ids have no axis of features; numbers are as for any layer."""
        if not self.inputs.discrete:
            return super().check(x, state, mask, reset)
        check_ids(type(self).__name__, x)
        self.check_marks(x, mask, reset)
        self.check_state(state, x.shape[0])

    def check_state(self, state: State, batch_size: int) -> None:
        """The body checks its own: a memory in it may have any number of steps."""
        if state is None:
            return
        scale = state.scale if isinstance(state, AutoregressiveState) else None
        if same_form(scale, self.inputs.initial_state(batch_size)):
            return
        super().check_state(state, batch_size)

    # -- as a distribution --------------------------------------------------------------------

    def begin(self, batch_size: int) -> Tensor:
        """What is fed when nothing came before: `[batch, 1]`, or `[batch, 1, size]` of NaN."""
        return self.inputs.begin(batch_size)

    def log_prob(
        self,
        x: Tensor,
        mask: Bool[Tensor, "batch time"] | None = None,
        covariates: Tensor | None = None,
    ) -> Float[Tensor, "batch time"]:
        """The log probability of each step given all before it, in nats; the first one included.

        Args:
            x: `[batch, time]` of token ids, or `[batch, time, size]` of numbers; a missing number
                (NaN) counts nothing.
            mask: `[batch, time]`, True where a step is real. Any padding; padded steps count
                nothing and separate nothing.
            covariates: `[batch, time, covariates]`, those of the same steps as `x`.

        Returns:
            `[batch, time]`; for numbers the log density, added up over the numbers of a step. The
            sum over time is the log probability of the sequence.
        """
        previous, _ = self.shift(x, mask)
        parameters, _ = self(previous, None, mask, None, covariates)
        return self.head.log_prob(parameters, self.hide(x, mask))

    def bits_per_step(
        self,
        x: Tensor,
        mask: Bool[Tensor, "batch time"] | None = None,
        covariates: Tensor | None = None,
    ) -> Float[Tensor, ""]:
        """The mean of -log2 p over all values that are there: bits per character, for text."""
        return self.nats(x, mask, covariates) / math.log(2)

    def perplexity(
        self,
        x: Tensor,
        mask: Bool[Tensor, "batch time"] | None = None,
        covariates: Tensor | None = None,
    ) -> Float[Tensor, ""]:
        """Among how many equally likely values the model chooses, on average: exp of the nats."""
        return self.nats(x, mask, covariates).exp()

    def nats(
        self,
        x: Tensor,
        mask: Bool[Tensor, "batch time"] | None = None,
        covariates: Tensor | None = None,
    ) -> Float[Tensor, ""]:
        """The mean of -log p over all values that are there; NaN where there are none."""
        count = self.head.counted(self.hide(x, mask)).sum()
        return -self.log_prob(x, mask, covariates).sum() / count

    def step(
        self, x: Tensor | None = None, state: State = None, covariates: Tensor | None = None
    ) -> tuple[Distribution, AutoregressiveState]:
        """See one value, and say how the next one is distributed.

        Args:
            x: the value, `[batch]` or `[batch, size]`; None is the marker that nothing came before.
            state: what the previous call returned.
            covariates: `[batch, covariates]`, of the step to be predicted.

        Returns:
            The distribution of the next value, of batch shape `[batch]` or `[batch, size]`, and
            the state.
        """
        batch = covariates.shape[0] if covariates is not None else 1
        fed = self.begin(_rows(state, batch)) if x is None else x.unsqueeze(1)
        ahead = None if covariates is None else covariates.unsqueeze(1)
        parameters, state = self(fed, state, None, None, ahead)
        return self.head.distribution(parameters[:, 0]), state

    # -- drawing from it ----------------------------------------------------------------------

    @torch.no_grad()
    def sample(
        self,
        steps: int,
        prefix: Tensor | None = None,
        mask: Bool[Tensor, "batch time"] | None = None,
        state: State = None,
        covariates: Tensor | None = None,
        generator: torch.Generator | None = None,
        batch_size: int = 1,
        temperature: float = 1.0,
    ) -> Tensor:
        """Draw what follows, step after step. Dropout is off meanwhile.

        Args:
            steps: how many to draw.
            prefix: `[batch, time]` or `[batch, time, size]`, what came before; run once. None
                draws from the beginning.
            mask: `[batch, time]`, True where a step of the prefix is real: prefixes of different
                lengths go in one batch, with padding anywhere.
            state: where the prefix goes on from; the state after everything before it was fed. None
                means that the prefix is the beginning.
            covariates: `[batch, time of the prefix + steps, covariates]`.
            generator: where randomness comes from; torch's own if None.
            batch_size: rows, if there are neither prefix nor covariates to say so.
            temperature: below 1 the likely gets likelier; for tokens only.

        Returns:
            `[batch, steps]` or `[batch, steps, size]`, without the prefix.

        Errors:
            InputError: a state without a prefix: the last value must be given, for it was not fed.
        """
        if prefix is None:
            if state is not None:
                raise InputError(
                    "sample: got a state and no prefix, expected the last value as prefix; "
                    "it is the next to be fed"
                )
            rows = batch_size if covariates is None else covariates.shape[0]
            last, fed = self.begin(rows)[:, 0], 0
        else:
            fed = prefix.shape[1]
            last, state = self.read(
                prefix, mask, state, None if covariates is None else covariates[:, :fed]
            )
        ahead = None if covariates is None else covariates[:, fed:]
        return draw(self, steps, state, last, ahead, generator, temperature)

    @torch.no_grad()
    def forecast(
        self,
        steps: int,
        state: State,
        last: Tensor,
        covariates: Tensor | None = None,
        paths: int = 100,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw several futures of each row. Dropout is off meanwhile.

        Args:
            steps: the horizon, in steps.
            state: after everything before `last` was fed; see `read`.
            last: `[batch]` or `[batch, size]`, the last value.
            covariates: `[batch, steps, covariates]`, of the steps to come.
            paths: futures of each row.
            generator: where randomness comes from; torch's own if None.

        Returns:
            `[batch, paths, steps]` or `[batch, paths, steps, size]`.
        """
        batch = last.shape[0]
        rows = torch.arange(batch, device=last.device).repeat_interleave(paths)
        state = None if state is None else select(state, rows)
        ahead = None if covariates is None else covariates[rows]
        drawn = draw(self, steps, state, last[rows], ahead, generator, 1.0)
        return drawn.unflatten(0, (batch, paths))

    @torch.no_grad()
    def read(
        self,
        x: Tensor,
        mask: Bool[Tensor, "batch time"] | None = None,
        state: State = None,
        covariates: Tensor | None = None,
    ) -> tuple[Tensor, AutoregressiveState]:
        """Take in observed values, to draw what follows them.

        Args:
            x: `[batch, time]` or `[batch, time, size]`.
            mask: `[batch, time]`, True where a step is real.
            state: where `x` goes on from, as for `sample`.
            covariates: `[batch, time, covariates]`, those of the same steps as `x`.

        Returns:
            The last real value of each row (the marker where there is none), which is not fed yet,
            and the state after all before it. Both are what `forecast` wants.

        Errors:
            InputError: a state, and not one value.
        """
        if state is not None and x.shape[1] == 0:
            raise InputError("read: got a state and no values, expected the next to be fed")
        line, has = befores(self.begin(x.shape[0]), x, mask)
        fed = line[:, :-1]
        if state is not None:  # the first value was predicted by the call that made the state
            if mask is None:
                fed, covariates = fed[:, 1:], None if covariates is None else covariates[:, 1:]
            else:
                mask = mask & has[:, :-1]
        with evaluating(self):
            _, state = self(fed, state, mask, None, covariates)
        return line[:, -1], state

    # -- the sequence and what came before ----------------------------------------------------

    def shift(
        self, x: Tensor, mask: Bool[Tensor, "batch time"] | None = None
    ) -> tuple[Tensor, Bool[Tensor, "batch time"]]:
        """What is fed to predict `x`: the real value before each step, else the marker.

        Padding is passed over. The second answer is whether there is a value before.
        """
        line, has = befores(self.begin(x.shape[0]), x, mask)
        return line[:, :-1], has[:, :-1]

    def hide(self, x: Tensor, mask: Bool[Tensor, "batch time"] | None) -> Tensor:
        """`x` as targets: missing (-1, or NaN) in padded steps."""
        return hide(x, mask)

    # -- before training ----------------------------------------------------------------------

    def fit_scaling(
        self,
        targets: Tensor | Sequence[Tensor],
        covariates: Tensor | Sequence[Tensor] | None = None,
    ) -> None:
        """Check the training data and take the scales from it; for tokens, only check.

        Args:
            targets: `[series, time, size]` with NaN where missing or padded, or one `[time, size]`
                per series; ids likewise, without the last axis.
            covariates: likewise.

        Errors:
            InputError: values that the head cannot produce.
        """
        if isinstance(self.inputs, NumberInputs):
            self.head.check_targets(pad(targets))
            self.inputs.fit(targets, covariates)
        else:
            for one in [targets] if isinstance(targets, Tensor) else targets:
                self.head.check_targets(one)


def _rows(state: State, otherwise: int) -> int:
    """The batch size of a state."""
    parts = [] if state is None else tensors(state)
    return parts[0].shape[0] if parts else otherwise
