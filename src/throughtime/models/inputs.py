"""Input layers: from the previous value to the features that the body reads."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from throughtime.errors import InputError
from throughtime.layers.base import check_size
from throughtime.layers.grams import GramEmbedding, GramState
from throughtime.layers.stateless import Embedding
from throughtime.models.level import LevelState, RunningLevel
from throughtime.models.scaling import RunningScale, ScaleState, Scaling, pad
from throughtime.shapes import Bool, Float, Int, Tensor
from throughtime.state import register


class Inputs(nn.Module):
    """What an input layer does: features for the body, and a context for the head.

    Attributes:
        discrete: whether values are token ids `[batch, time]`; else numbers `[batch, time, size]`.
        size: tokens in the vocabulary, or numbers per step.
        covariates: C, numbers per step that are known in the future.
        output_size: features per step.
    """

    discrete: bool
    size: int
    covariates: int
    output_size: int

    def forward(
        self,
        x: Tensor,
        state: Any,
        mask: Tensor | None = None,
        reset: Tensor | None = None,
        covariates: Tensor | None = None,
    ) -> tuple[Tensor, Any, Any]:
        """Features `[batch, time, output_size]`, context for the head, state."""
        raise NotImplementedError

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Any:
        """The state before anything was seen."""
        raise NotImplementedError

    def begin(self, batch_size: int) -> Tensor:
        """What stands for "nothing came before": `[batch, 1]` or `[batch, 1, size]`."""
        raise NotImplementedError


class TokenInputs(Inputs):
    """A vector for each token, and one for the beginning, which has the id `tokens`.

    Args:
        tokens: size of the vocabulary.
        width: features of each vector.
        tied: hand the vectors to the head, which uses them again; they start smaller then, so that
            the logits of an untrained model are small.
        scaled: multiply vectors by the root of `width` where they are read (Vaswani et al. 2017,
            section 3.4).
        grams: tokens of the longest n-grams that have vectors too, see
            [`GramEmbedding`][throughtime.layers.GramEmbedding]; 0: none has. With them there is a
            state, a `GramState`.
        buckets: how many vectors n-grams have.
        dropout: the share of n-grams that are left out in training.
    """

    discrete = True
    covariates = 0

    def __init__(
        self,
        tokens: int,
        width: int,
        *,
        tied: bool = False,
        scaled: bool = False,
        grams: int = 0,
        buckets: int = 65_536,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_size("TokenInputs", "tokens", tokens)
        self.size = tokens
        self.output_size = width
        self.tied = tied
        self.factor = width**0.5 if scaled else 1.0
        self.grams = grams
        self.embedding: Embedding | GramEmbedding = (
            GramEmbedding(tokens + 1, width, order=grams, buckets=buckets, dropout=dropout)
            if grams
            else Embedding(tokens + 1, width)
        )
        if tied:
            nn.init.normal_(self.embedding.weight, std=width**-0.5)

    def forward(
        self,
        x: Int[Tensor, "batch time"],
        state: tuple[()] | GramState,
        mask: Bool[Tensor, "batch time"] | None = None,
        reset: Bool[Tensor, "batch time"] | None = None,
        covariates: Tensor | None = None,
    ) -> tuple[Float[Tensor, "batch time features"], Tensor | None, tuple[()] | GramState]:
        """Look up; with `tied` the context is the vectors of the vocabulary."""
        features, after = self.embedding(x, state, mask, reset)
        if self.factor != 1:
            features = features * self.factor
        return features, self.embedding.weight[: self.size] if self.tied else None, after

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> tuple[()] | GramState:
        """Nothing; what n-grams reach back to where these have vectors."""
        if isinstance(self.embedding, GramEmbedding):
            return self.embedding.initial_state(batch_size, device=device, dtype=dtype)
        return ()

    def begin(self, batch_size: int) -> Int[Tensor, "batch 1"]:
        """The id after the last of the vocabulary."""
        return torch.full((batch_size, 1), self.size, device=self.embedding.weight.device)


@register
class NumberState(NamedTuple):
    """What is remembered of numbers whose level is followed.

    Attributes:
        scale: the state of the running scale.
        level: the state of the running level.
    """

    scale: ScaleState
    level: LevelState


class NumberInputs(Inputs):
    r"""Numbers at the scale of their series, their change, and what is missing.

    With the location $m$ and scale $s$ of the series as known after the step, three features for
    each number: $z = (x - m) / s$; the change since the last observed value,
    $(x - x_\text{last}) / s$; and 1 where it was observed. All three are 0 where it was not. Where
    each series has its own scale there is also $\log(s / s_0)$. Covariates follow, standardised
    by the training data; NaN among them counts as their mean.

    A body that reads $z$ learns where the series lay in training, and goes astray where it has
    drifted since. With a `level` $m$ is the running mean of the recent past instead, and the body
    sees nothing of where the series lies, only how it moves.

    Args:
        size: D, numbers per step.
        covariates: C, numbers per step known in the future: those of the step to be predicted.
        scaling: see [`RunningScale`][throughtime.models.scaling.RunningScale].
        level: half-life in steps of the [`RunningLevel`][throughtime.models.level.RunningLevel]
            that $z$ is relative to; 0 takes the location of the scaling.

    Attributes:
        scale: the running scale.
        level: the running level, or None. The state of this layer is that of the scale, or with a
            level [`NumberState`][throughtime.models.inputs.NumberState].
        covariate_location: `[covariates]`; a buffer, 0 before `fit`.
        covariate_scale: `[covariates]`; a buffer, 1 before `fit`.
    """

    discrete = False
    covariate_location: Tensor
    covariate_scale: Tensor

    def __init__(
        self, size: int, *, covariates: int = 0, scaling: str = "fixed", level: float | int = 0.0
    ) -> None:
        super().__init__()
        check_size("NumberInputs", "size", size)
        self.size = size
        self.covariates = covariates
        self.scale = RunningScale(size, scaling)
        self.level = RunningLevel(size, level) if level else None
        self.own_scale = scaling in ("mean", "standard")
        self.output_size = (4 if self.own_scale else 3) * size + covariates
        self.register_buffer("covariate_location", torch.zeros(covariates))
        self.register_buffer("covariate_scale", torch.ones(covariates))

    @torch.no_grad()
    def fit(
        self, values: Tensor | Sequence[Tensor], covariates: Tensor | Sequence[Tensor] | None = None
    ) -> None:
        """Take the scales from training data, `[series, time, ...]` or one tensor per series."""
        self.scale.fit(values)
        if self.covariates and covariates is not None:
            c = pad(covariates).to(self.covariate_scale.device, torch.float64).flatten(0, 1)
            if c.shape[-1] != self.covariates:
                raise InputError(
                    f"covariates have {c.shape[-1]} numbers per step, expected {self.covariates}"
                )
            location = c.nanmean(0).nan_to_num()
            spread = (c - location).square().nanmean(0).sqrt().nan_to_num()
            self.covariate_location.copy_(location)
            self.covariate_scale.copy_(torch.where(spread > 1e-12 * location.abs(), spread, 1))

    def forward(
        self,
        x: Float[Tensor, "batch time size"],
        state: ScaleState | NumberState,
        mask: Bool[Tensor, "batch time"] | None = None,
        reset: Bool[Tensor, "batch time"] | None = None,
        covariates: Float[Tensor, "batch time covariates"] | None = None,
    ) -> tuple[Float[Tensor, "batch time features"], Scaling, ScaleState | NumberState]:
        """Features; the scaling is the context for the head."""
        known = state.scale if isinstance(state, NumberState) else state
        scaling, before, known = self.scale.observe(x, known, mask, reset)
        location, after = scaling.location, known
        if self.level is not None and isinstance(state, NumberState):
            # In units of the prior, so that a series far from zero loses no precision.
            y = (x - self.scale.prior_location) / self.scale.prior_scale
            level, running = self.level(y, state.level, mask, reset)
            location, after = self.scale.restore(level), NumberState(known, running)
        seen = ~x.isnan()
        value = torch.where(seen, x, 0)  # selected before the arithmetic: NaN has no way in
        z = torch.where(seen, (value - location) / scaling.scale, 0)
        change = torch.where(seen, (value - before) / scaling.scale, 0)
        parts = [z, change, seen.to(x.dtype)]
        if self.own_scale:
            parts.append((scaling.scale / self.scale.prior_scale).log())
        if covariates is not None:
            level = (covariates - self.covariate_location) / self.covariate_scale
            parts.append(torch.where(covariates.isnan(), 0, level))
        features = torch.cat(parts, dim=-1)
        if mask is not None:
            features = torch.where(mask.unsqueeze(-1), features, 0)
        return features, scaling, after

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> ScaleState | NumberState:
        """Nothing observed."""
        scale = self.scale.initial_state(batch_size, device=device, dtype=dtype)
        if self.level is None:
            return scale
        return NumberState(scale, self.level.initial_state(batch_size, device=device, dtype=dtype))

    def begin(self, batch_size: int) -> Float[Tensor, "batch 1 size"]:
        """NaN: nothing was observed."""
        return self.scale.prior_scale.new_full((batch_size, 1, self.size), torch.nan)
