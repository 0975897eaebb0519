"""The laws every layer keeps, as functions, and `check_layer` to hold a layer of your own to them.

A law takes a [`Subject`][throughtime.testing.Subject], which is a layer with what it claims, and
raises [`LawBroken`][throughtime.testing.LawBroken] with one line that says what differs. The tests
of throughtime run every law over every layer, in float64 at 1e-9, and over deliberately broken
layers, each of which some law must catch.

Examples:
    >>> from throughtime import LSTM
    >>> check_layer(LSTM(3, 5))
"""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import nn

from throughtime import state
from throughtime.errors import InputError
from throughtime.shapes import Tensor
from throughtime.testing.laws import LAWS
from throughtime.testing.subject import LawBroken, Peer, Subject

__all__ = ["LAWS", "LawBroken", "Peer", "Subject", "check_layer"]


def check_layer(
    layer: nn.Module,
    inputs: Callable[[int, int], Tensor] | None = None,
    *,
    causal: bool | None = None,
    memory: bool | None = None,
    receptive_field: int | None = None,
    second_derivatives: bool = True,
    peer: Peer | None = None,
    laws: Sequence[str] | None = None,
    dtype: torch.dtype = torch.float64,
    device: str = "cpu",
) -> None:
    """Hold a layer to the laws; the layer itself is left as it was.

    Args:
        layer: the layer; anything with `initial_state` that keeps the contract.
        inputs: makes `x` from batch and time; by default normal numbers of `layer.input_size`.
        causal: what it claims; by default `layer.causal`, or True.
        memory: by default whether its initial state holds anything.
        receptive_field: how many steps an output sees, itself included; None is all of them.
        second_derivatives: whether they are promised.
        peer: `peer(layer, x, state)`, the same by other means, to agree with.
        laws: names of laws; all by default.
        dtype: float64 is held to 1e-9, other types to 2e-4.
        device: where to compute.

    Errors:
        LawBroken: the first law that does not hold, and what differs.
        InputError: a law nobody knows.

    Examples:
        >>> from throughtime import GRU
        >>> class Forgetful(GRU):
        ...     def run(self, x, state, mask, reset):
        ...         return super().run(x, self.initial_state(len(x)), mask, reset)
        >>> check_layer(Forgetful(2, 3), laws=["chunkable"])
        Traceback (most recent call last):
        throughtime.testing.LawBroken: chunkable (6, 10): the output differs by ...
    """
    unknown = set(laws or ()) - set(LAWS)
    if unknown:
        raise InputError(f"check_layer: no law is called {sorted(unknown)}, there are {[*LAWS]}")
    if causal is None:
        causal = bool(getattr(layer, "causal", True))
    if memory is None:
        initial = layer.initial_state(1)  # pyright: ignore[reportCallIssue]
        memory = not causal or bool(state.tensors(initial))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for name in laws or LAWS:
            LAWS[name](
                Subject(
                    copy.deepcopy(layer),
                    inputs,
                    causal=causal,
                    memory=memory,
                    receptive_field=receptive_field,
                    second_derivatives=second_derivatives,
                    peer=peer,
                    dtype=dtype,
                    device=device,
                )
            )
