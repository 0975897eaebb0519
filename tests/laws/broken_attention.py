"""Attention that breaks the contract on purpose."""

from typing import Any

import torch

from tests.laws.cases import Annotated
from throughtime.layers import SelfAttention, SelfAttentionState

functional: Any = torch.nn.functional


class LooksAhead(SelfAttention):
    """The mask of the future is forgotten, as in an encoder."""

    def run(self, x, state, mask, reset):
        _, after = super().run(x, state, mask, reset)
        head = [
            part.unflatten(-1, (-1, self.head_size)).transpose(1, 2)
            for part in functional.linear(x, self.weight_input, self.bias_input).split(
                self.blocks, -1
            )
        ]
        seen = functional.scaled_dot_product_attention(*head).transpose(1, 2).flatten(2)
        return functional.linear(seen, self.weight_output, self.bias_output), after


class CountsPadding(SelfAttention):
    """Positions of the padded batch instead of those of the sequence."""

    def __init__(self):
        super().__init__(4, 2, horizon=30, position="learned")

    def run(self, x, state, mask, reset):
        at = torch.arange(x.shape[1]) + (0 if state is None else state.seen.unsqueeze(1))
        encoding: Any = self.encoding
        placed = x + encoding.weight[at % encoding.length]
        encode, encoding.encode = encoding.encode, lambda index, dtype: 0
        try:
            return super().run(placed, state, mask, reset)
        finally:
            encoding.encode = encode


class ForgetsPosition(SelfAttention):
    """A stream that begins to count anew with every call."""

    def __init__(self):
        super().__init__(4, 2, horizon=30, position="sinusoidal")

    def run(self, x, state, mask, reset):
        if state is not None:
            state = state._replace(seen=torch.zeros_like(state.seen))
        output, after = super().run(x, state, mask, reset)
        return output, after


class SeesAllInTraining(SelfAttention):
    """The horizon binds the state only: whole runs see further than streams."""

    def run(self, x, state, mask, reset):
        kept = self.horizon
        self.horizon = 99
        try:
            if state is not None:
                more = 99 - kept
                state = SelfAttentionState(
                    functional.pad(state.keys, (0, 0, more, 0)),
                    functional.pad(state.values, (0, 0, more, 0)),
                    functional.pad(state.real, (more, 0)),
                    state.seen,
                )
            output, after = super().run(x, state, mask, reset)
        finally:
            self.horizon = kept
        keys, values = after.keys[:, :, -kept:], after.values[:, :, -kept:]
        return output, SelfAttentionState(keys, values, after.real[:, -kept:], after.seen)


class AttendsAcrossResets(SelfAttention):
    def run(self, x, state, mask, reset):
        return super().run(x, state, mask, None)


class IgnoresResetsAtTheStart(SelfAttention):
    """The short way for calls with nothing before them forgets that there may be a reset."""

    def run(self, x, state, mask, reset):
        return super().run(x, state, mask, reset if state is not None else None)


class LooksAtPadding(Annotated):
    """Steps of the memory that are not real get their share."""

    def look(self, x, memory, mask, begun=None):
        memory = memory._replace(real=torch.ones_like(memory.real))
        return super().look(x, memory, mask, begun)
