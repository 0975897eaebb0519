"""A layer on trial: what it claims, what it is fed, and how results are compared."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from throughtime import state
from throughtime.shapes import Tensor

Peer = Callable[[Any, Tensor, Any], tuple[Tensor, Any]]
"""`peer(layer, x, state)`: the same computation by other means, using the layer's own weights."""


class LawBroken(AssertionError):
    """A layer does not keep a law; the message names the law and what differs."""

    __module__ = "throughtime.testing"


@dataclass
class Subject:
    """A layer, and what it claims.

    Args:
        layer: keeps `output, state = layer(x, state, mask, reset)`.
        inputs: makes `x` from batch and time; by default normal numbers of the layer's input_size.
        causal: outputs depend on their own step and earlier ones only.
        memory: earlier steps matter; False for layers whose state is `()`.
        receptive_field: how many real steps back an output sees, itself included; None is all.
        second_derivatives: whether they are promised.
        peer: another implementation to agree with.
        dtype: the type to compute in.
        device: where.
    """

    layer: nn.Module
    inputs: Callable[[int, int], Tensor] | None = None
    causal: bool = True
    memory: bool = True
    receptive_field: int | None = None
    second_derivatives: bool = True
    peer: Peer | None = None
    dtype: torch.dtype = torch.float64
    device: str = "cpu"
    tolerance: float = field(init=False)

    def __post_init__(self) -> None:
        self.tolerance = 1e-9 if self.dtype == torch.float64 else 2e-4
        self.layer = self.layer.to(device=self.device, dtype=self.dtype).eval()
        with torch.no_grad():  # zeros hide mistakes: a bias of 0, a learned state of 0
            for weight in self.layer.parameters():
                weight += 0.1 * torch.randn_like(weight)

    def x(self, batch: int = 3, time: int = 16) -> Tensor:
        """Fresh random inputs."""
        if self.inputs is not None:
            made = self.inputs(batch, time)
            return made.to(self.device, self.dtype if made.is_floating_point() else made.dtype)
        size: int = getattr(self.layer, "input_size", None) or 3
        return torch.randn(batch, time, size, dtype=self.dtype, device=self.device)

    def warm(self, batch: int = 3) -> Any:
        """A state that has seen something, without history, ready for gradients."""
        if not self.causal:
            return None
        with torch.no_grad():
            _, after = self.layer(self.x(batch, 5))
        return state.map_tensors(
            lambda part: part.detach().clone().requires_grad_(part.is_floating_point()), after
        )

    def marks(self, *rows: str) -> Tensor:
        """A truth value per step from words such as `"0110"`."""
        return torch.tensor([[mark == "1" for mark in row] for row in rows], device=self.device)

    def same(self, law: str, what: str, a: Tensor, b: Tensor) -> None:
        """Raise unless two tensors are equal within the tolerance, form and type included."""
        if a.shape != b.shape or a.dtype != b.dtype or a.device != b.device:
            raise LawBroken(f"{law}: {what} is {state.structure(a)}, expected {state.structure(b)}")
        a, b = a.detach(), b.detach()
        if not torch.allclose(a, b, rtol=self.tolerance, atol=self.tolerance, equal_nan=True):
            worst = (a.double() - b.double()).abs().nan_to_num(torch.inf).max()
            raise LawBroken(f"{law}: {what} differs by {worst:.2g}")

    def same_state(self, law: str, what: str, a: Any, b: Any) -> None:
        """Raise unless two states are equal within the tolerance, structure included."""
        if _form(a) != _form(b):
            raise LawBroken(f"{law}: {what} is {state.structure(a)}, expected {state.structure(b)}")
        for one, other in zip(state.tensors(a), state.tensors(b), strict=True):
            self.same(law, what, one, other)


def _form(value: Any) -> Any:
    return (type(value), [_form(v) for v in value]) if isinstance(value, tuple) else type(value)


def weigh(output: Tensor, after: Any) -> Tensor:
    """One number that depends on everything, each value with its own weight."""
    total = output.new_zeros(())
    for tensor in (output, *state.tensors(after)):
        if tensor.is_floating_point():
            weights = torch.linspace(0.5, 1.5, tensor.numel(), dtype=tensor.dtype).view_as(tensor)
            total = total + (tensor * weights.to(tensor.device)).sum()
    return total


def leaves_of(subject: Subject, x: Tensor, before: Any) -> list[Tensor]:
    """What gradients are taken of: input, first state, weights."""
    parts = [x] if x.is_floating_point() else []
    parts += [part for part in state.tensors(before or ()) if part.is_floating_point()]
    return parts + [weight for weight in subject.layer.parameters() if weight.requires_grad]


def gradients_of(total: Tensor, leaves: Sequence[Tensor]) -> list[Tensor]:
    """The gradient of `total` in each leaf; zeros where it does not reach."""
    if not leaves or not total.requires_grad:
        return [torch.zeros_like(leaf) for leaf in leaves]
    found = torch.autograd.grad(total, leaves, allow_unused=True, retain_graph=True)
    return [
        torch.zeros_like(leaf) if g is None else g for g, leaf in zip(found, leaves, strict=True)
    ]


def clone(x: Tensor) -> Tensor:
    """A leaf of its own, ready for gradients."""
    return x.detach().clone().requires_grad_(x.is_floating_point())


def places(split: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Where each piece of a split begins, and its size."""
    first = 0
    for size in split:
        yield first, size
        first += size
