"""Prompts: what comes before, brought into one form and fed to the model in chunks."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.nn.utils.rnn import pad_sequence

from throughtime.errors import InputError
from throughtime.models.autoregressive import Autoregressive
from throughtime.models.chain import evaluating
from throughtime.shapes import Bool, Int, Tensor
from throughtime.state import State

Prompts = Tensor | Sequence[Tensor]
"""`[batch, time]` of token ids, or a tensor `[time]` for each row; a row may be empty.

The id after the last of the vocabulary is the marker of the beginning, `model.begin`. It is fed
before prompts that are the beginning; whoever brings a state may give it as the token to be fed.
"""


class Lines(NamedTuple):
    """Rows of tokens, padded at the right.

    Attributes:
        tokens: `[batch, longest]`; 0 in padding.
        lengths: `[batch]`, real tokens of each row.
    """

    tokens: Int[Tensor, "batch longest"]
    lengths: Int[Tensor, " batch"]

    @property
    def mask(self) -> Bool[Tensor, "batch longest"]:
        """Which tokens are real."""
        places = torch.arange(self.tokens.shape[1], device=self.tokens.device)
        return places < self.lengths.unsqueeze(1)


def lines_of(model: Autoregressive, prompts: Prompts, mask: Tensor | None) -> Lines:
    """Prompts of any form as lines on the device of the model.

    Errors:
        InputError: no prompts, something that is no ids, or ids outside the vocabulary.
    """
    device = model.begin(1).device
    if isinstance(prompts, Tensor):
        _check_ids("prompts", prompts, 2)
        tokens = prompts.to(device)
        real = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask.to(device)
        if real.dtype != torch.bool or real.shape != tokens.shape:
            raise InputError(
                f"mask is {real.dtype} of shape {list(real.shape)}, "
                f"expected torch.bool of {list(tokens.shape)}, the shape of prompts"
            )
        # Real tokens to the left, in their order.
        order = real.long().argsort(dim=1, descending=True, stable=True)
        lines = Lines(tokens.gather(1, order), real.sum(1))
        lines = lines._replace(tokens=torch.where(lines.mask, lines.tokens, 0))
    else:
        if mask is not None:
            raise InputError("got a mask beside a list of prompts, expected none")
        for row, prompt in enumerate(prompts):
            _check_ids(f"prompt {row}", prompt, 1)
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
        padded = [prompt.to(device=device, dtype=torch.long) for prompt in prompts]
        tokens = pad_sequence(padded, batch_first=True) if padded else lengths.view(0, 0).long()
        lines = Lines(tokens, lengths)
    if not len(lines.lengths):
        raise InputError("prompts hold no rows, expected at least one (it may be empty)")
    if lines.tokens.numel():
        low, high = (int(end) for end in torch.aminmax(lines.tokens))
        if low < 0 or high > model.head.size:
            raise InputError(
                f"prompts hold id {low if low < 0 else high}, expected 0 to "
                f"{model.head.size - 1}, or {model.head.size} for the beginning"
            )
    return lines


@torch.no_grad()
def read(
    model: Autoregressive, lines: Lines, state: State, chunk: int
) -> tuple[Int[Tensor, " batch"], State]:
    """Feed all but the last token of each row, a chunk at a time, the state carried along.

    What stands in a chunk is all that lies in memory beside the state, and no logits are made.

    Args:
        model: the model.
        lines: the prompts.
        state: where they go on from; None means that they are the beginning, and the marker of the
            beginning is fed before them.
        chunk: steps fed at a time.

    Returns:
        The last token of each row, which is the next to be fed, and the state before it.

    Errors:
        InputError: a state and an empty prompt: the last token must be given, for it was not fed.
    """
    tokens, lengths = lines
    if state is None:
        state = model.initial_state(len(lengths))
        tokens = torch.cat([model.begin(len(lengths)), tokens], dim=1)
        lengths = lengths + 1
    elif int(lengths.min()) == 0:
        row = int(lengths.argmin())
        raise InputError(
            f"got a state and prompt {row} is empty, expected its last token; "
            "it is the next to be fed"
        )
    rows = torch.arange(len(lengths), device=tokens.device)
    mask = Lines(tokens, lengths - 1).mask
    longest = int(lengths.max()) - 1
    with evaluating(model):
        for start in range(0, longest, chunk):
            part = slice(start, min(start + chunk, longest))
            real = mask[:, part]
            _, _, state = model.features(tokens[:, part], state, None if bool(real.all()) else real)
    return tokens[rows, lengths - 1], state


def seen_in(lines: Lines, size: int) -> Bool[Tensor, "batch tokens"]:
    """Which tokens of the vocabulary each row holds; the marker of the beginning is none."""
    seen = torch.zeros(len(lines.lengths), size + 1, dtype=torch.bool, device=lines.tokens.device)
    seen.scatter_(1, torch.where(lines.mask, lines.tokens, size), True)  # noqa: FBT003
    return seen[:, :size]


def _check_ids(name: str, ids: Tensor, axes: int) -> None:
    if not isinstance(ids, Tensor):
        raise InputError(
            f"{name} is a {type(ids).__name__}, expected a tensor of ids; "
            "throughtime.decoding.write takes texts"
        )
    whole = not (ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool)
    if ids.ndim != axes or not (whole or not ids.numel()):
        form = "[time]" if axes == 1 else "[batch, time]"
        raise InputError(f"{name} is {ids.dtype} of shape {list(ids.shape)}, expected ids {form}")
