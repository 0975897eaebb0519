"""Derivatives of what a layer remembers by what it remembered: one step's, and through many."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from throughtime.errors import InputError
from throughtime.inspect.showing import Showing
from throughtime.inspect.theme import LIGHT, Theme
from throughtime.layers import Layer, Recurrent
from throughtime.shapes import Bool, Float, Int, Tensor
from throughtime.state import State, map_tensors, tensors, to

if TYPE_CHECKING:
    from throughtime.inspect.drawing import Axes
else:
    Axes = Any  # matplotlib is imported where something is drawn

__all__ = ["Jacobians", "recurrent_jacobians"]

TIMES = 8
"""Steps whose losses are propagated back, at most."""

Nodes = dict[str, list[tuple[Tensor, ...]]]
"""By name, at each step, the tensors that together are what a gradient is taken of."""


@dataclass(frozen=True, eq=False)
class Jacobians(Showing):
    r"""How a small change of the state is carried on, step by step, along one sequence.

    Attributes:
        matrices: $J_t = \partial s_{t+1} / \partial s_t$, `[time, state, state]`; the state is its
            parts side by side (hidden, then cell).
        spectral_radius: `[time]`, the largest $|\lambda|$ of each step: what one matrix, repeated,
            would grow by in the long run.
        singular_values: `[time, state]`, descending: by how much a step stretches at most, ...,
            at least.
        exponents: `[state]`, Lyapunov exponents in nats per step, descending: how fast a change
            grows along the whole sequence.
    """

    matrices: Float[Tensor, "time state state"]
    spectral_radius: Float[Tensor, " time"]
    singular_values: Float[Tensor, "time state"]
    exponents: Float[Tensor, " state"]

    @property
    def lyapunov(self) -> float:
        r"""The largest exponent $\lambda_1$: gradients change by $e^{\lambda_1}$ per step.

        Below 0 they vanish and the layer forgets where it began; above 0 they explode and it is
        chaotic.
        """
        return float(self.exponents[0])

    def __str__(self) -> str:
        stretch = self.singular_values[:, 0]
        return (
            f"{len(self.matrices)} steps, {self.matrices.shape[1]} numbers in the state: largest "
            f"Lyapunov exponent {self.lyapunov:.3g} nats per step (a factor of "
            f"{self.exponents[0].exp():.3g}), spectral radius {self.spectral_radius.mean():.3g} "
            f"and largest singular value {stretch.mean():.3g} on average"
        )

    def draw(self, ax: Axes, theme: Theme = LIGHT) -> Axes:
        """[`draw_jacobians`][throughtime.inspect.draw_jacobians], as notebooks show it."""
        from throughtime.inspect.sequence_figures import draw_jacobians

        return draw_jacobians(ax, self, theme=theme)


def recurrent_jacobians(
    layer: Layer,
    x: Tensor,
    state: State = None,
    *,
    warmup: int | None = None,
) -> Jacobians:
    r"""The Jacobian of each step of a recurrent layer, and what their product does.

    $$J_t = \frac{\partial s_{t+1}}{\partial s_t}, \qquad \lambda_1 = \lim_{T \to \infty}
    \frac1T \log \lVert J_{T-1} \cdots J_1 J_0 \rVert$$

    The product itself would underflow or overflow. A frame of orthonormal directions is carried
    along and made orthonormal again at each step, $J_t Q_t = Q_{t+1} R_{t+1}$, and the exponents
    are the means of $\log |R_{ii}|$ (Benettin et al. 1980). All is computed in float64, without
    dropout; time and memory grow with the square of the state's size, and decompositions with its
    cube.

    Args:
        layer: RNN, LSTM, GRU, or another whose state is all that it remembers.
        x: `[1, time, input_size]`, one sequence.
        state: before the first step; the initial one by default.
        warmup: steps at the beginning in which the frame turns towards what grows, and which do not
            count for the exponents; by default a quarter of all.

    Errors:
        InputError: a layer that is not recurrent; more than one sequence, or one without steps;
            a warm-up that leaves none.

    Examples:
        >>> from throughtime import RNN
        >>> layer = RNN(1, 4)
        >>> with torch.no_grad():
        ...     _ = layer.weight_hidden.mul_(0.5)  # half of an orthogonal matrix
        >>> found = recurrent_jacobians(layer, torch.zeros(1, 20, 1))
        >>> round(found.lyapunov, 6), round(torch.tensor(0.5).log().item(), 6)
        (-0.693147, -0.693147)

    References:
        Benettin et al. 1980, "Lyapunov characteristic exponents for smooth dynamical systems and
        for Hamiltonian systems; a method for computing all of them"; Engelken, Wolf and Abbott
        2023, "Lyapunov spectra of chaotic recurrent neural networks"; Pascanu, Mikolov and Bengio
        2013, "On the difficulty of training recurrent neural networks".
    """
    if not isinstance(layer, Recurrent):
        raise InputError(
            f"recurrent_jacobians: layer is {type(layer).__name__}, expected a recurrent one, such "
            "as RNN, LSTM or GRU"
        )
    if x.ndim != 3 or x.shape[0] != 1 or x.shape[1] == 0:
        raise InputError(
            f"recurrent_jacobians: x has shape {list(x.shape)}, expected [1, time, features] with "
            "at least one step"
        )
    time = x.shape[1]
    skipped = time // 4 if warmup is None else warmup
    if not 0 <= skipped < time:
        raise InputError(
            f"recurrent_jacobians: warmup is {skipped}, expected from 0 to {time - 1} steps"
        )
    exact = copy.deepcopy(layer).double().eval()
    first = exact.initial_state(1) if state is None else to(state, dtype=torch.float64)
    matrices = _of_each_step(exact, x.detach().double(), map_tensors(Tensor.detach, first))
    return Jacobians(
        matrices=matrices,
        spectral_radius=torch.linalg.eigvals(matrices).abs().amax(-1),
        singular_values=torch.linalg.svdvals(matrices),
        exponents=_exponents(matrices, skipped),
    )


def _of_each_step(
    layer: Recurrent, x: Float[Tensor, "1 time features"], first: Any
) -> Float[Tensor, "time state state"]:
    with torch.no_grad():
        _, nodes = step_by_step(layer, {"": layer}, x, first, None)
    befores = [tuple(first), *nodes[""][:-1]]
    s = torch.stack([torch.cat(parts, dim=-1)[0] for parts in befores])  # -> (T, S)
    sizes = [part.shape[-1] for part in first]

    def after(s: Tensor) -> Tensor:
        """The state after each step, from those before: all steps at once, as rows of a batch."""
        state = layer.State(*s.split(sizes, dim=-1))
        _, state = layer(x.transpose(0, 1), state)
        return torch.cat(tuple(state), dim=-1)

    # A step's result depends on its own row alone, so the derivative of the sum has them all.
    rows: Any = torch.func.jacrev(lambda s: after(s).sum(0))(s)  # (S, T, S)
    return rows.transpose(0, 1).detach()


def _exponents(matrices: Float[Tensor, "time state state"], skipped: int) -> Tensor:
    """The mean logarithm of how each direction of a frame is stretched."""
    q = torch.eye(matrices.shape[1], dtype=matrices.dtype, device=matrices.device)
    stretched = []
    for j in matrices:
        q, r = torch.linalg.qr(j @ q)
        stretched.append(r.diagonal().abs())
    return torch.stack(stretched[skipped:]).log().mean(0).sort(descending=True).values


# Through many steps: what recurrent layers remember after each, as nodes of one graph


class Line(NamedTuple):
    """Real steps without gaps, so that all rows end together: padding stands before them.

    Attributes:
        order: which step stands where.
        real: where there is one.
    """

    order: Int[Tensor, "batch steps"]
    real: Bool[Tensor, "batch steps"]


def in_line(name: str, x: Tensor, mask: Tensor | None) -> Line:
    if x.ndim < 2 or 0 in x.shape[:2] or (mask is not None and not mask.any()):
        raise InputError(f"{name}: x of shape {list(x.shape)} has no real step, expected some")
    real = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if mask is None else mask
    longest = int(real.sum(1).max())
    order = real.int().argsort(dim=1, stable=True)[:, x.shape[1] - longest :]
    return Line(order, real.gather(1, order))


def taken(x: Tensor, order: Tensor) -> Tensor:
    """The steps in that order."""
    return x.gather(1, order if x.ndim == 2 else order.unsqueeze(-1).expand(-1, -1, x.shape[2]))


def recurrent_layers(layer: Layer) -> dict[str, Recurrent]:
    """Recurrent layers by place and type: `layers.0.layer` in a stack is `0.LSTM`."""
    found = {}
    for path, part in layer.named_modules():
        if isinstance(part, Recurrent):
            places = [place for place in path.split(".") if place not in ("", "layers", "layer")]
            found[".".join([*places, type(part).__name__])] = part
    return found


def leaf(part: Tensor) -> Tensor:
    """A copy that gradients can be taken of; counts and truth values have none."""
    return part.detach().clone().requires_grad_(part.is_floating_point())


def step_by_step(
    layer: Layer,
    names: Mapping[str, Recurrent],
    x: Tensor,
    state: State,
    real: Bool[Tensor, "batch time"] | None,
) -> tuple[Tensor, Nodes]:
    """All outputs, and what each of some recurrent layers remembers after each step."""
    outputs: list[Tensor] = []
    nodes: Nodes = {name: [] for name in names}
    with _watched(names) as latest:
        for t in range(x.shape[1]):
            marks = None if real is None else real[:, t : t + 1]
            output, state = layer(x[:, t : t + 1], state, marks)
            outputs.append(output)
            for name, after in latest.items():
                nodes[name].append(after)
    return torch.cat(outputs, dim=1), nodes


@contextmanager
def _watched(names: Mapping[str, Recurrent]) -> Iterator[dict[str, tuple[Tensor, ...]]]:
    """What each layer remembered when it last ran."""
    latest: dict[str, tuple[Tensor, ...]] = {}

    def look(name: str) -> Any:
        def hook(layer: Recurrent, arguments: Any, result: tuple[Tensor, Any]) -> Any:
            output, state = result
            latest[name] = tuple(part for part in tensors(state) if part.is_floating_point())
            return _read_off(state, output), state

        return hook

    hooks = [part.register_forward_hook(look(name)) for name, part in names.items()]
    try:
        yield latest
    finally:
        for one in hooks:
            one.remove()


def _read_off(state: Any, output: Tensor) -> Tensor:
    """The output as part of the state that it equals, which is where lag 0 passes.

    A layer gives its hidden state twice, as output and as state, and to autograd these are two. In
    padded steps they differ.
    """
    hidden = getattr(state, "hidden", None)
    if hidden is None or hidden.shape != (output.shape[0], output.shape[2]):
        return output
    hidden = hidden.unsqueeze(1)
    return torch.where((output == hidden).all(-1, keepdim=True), hidden, output)


def mean_norms(
    losses: Float[Tensor, "batch time"],
    nodes: Nodes,
    real: Bool[Tensor, "batch time"],
    lags: Sequence[int],
) -> dict[str, tuple[float, ...]]:
    """The norm of a loss by the node of each lag before it: the mean over times and rows.

    Args:
        losses: of each step.
        nodes: what a gradient is taken of, at each step.
        real: where there is a step.
        lags: ascending; a loss counts at those steps that have all of them behind.
    """
    norms: dict[str, list[Tensor]] = {name: [] for name in nodes}
    counted = []
    for t in _evenly(lags[-1], losses.shape[1] - 1, TIMES):
        wanted = [part for states in nodes.values() for k in lags for part in states[t - k]]
        gradients = torch.autograd.grad(  # of a sum over rows: each row has its own
            losses[real[:, t], t].sum(), wanted, retain_graph=True, materialize_grads=True
        )
        found = iter(gradients)
        for name, states in nodes.items():
            at = [_norm([next(found) for _ in states[t - k]]) for k in lags]
            norms[name].append(torch.stack(at, dim=1))
        counted.append(real[:, t : t + 1] & real[:, [t - k for k in lags]])
    counts = torch.stack(counted)  # (N, B, K)
    return {name: _mean(torch.stack(found), counts) for name, found in norms.items()}


def _norm(parts: Sequence[Tensor]) -> Tensor:
    """Of all parts together, in each row; float64, as squares of small numbers underflow."""
    return torch.cat([part.flatten(1) for part in parts], dim=1).double().norm(dim=1)


def _mean(norms: Tensor, counts: Tensor) -> tuple[float, ...]:
    total = torch.where(counts, norms, 0).sum((0, 1))
    return tuple((total / counts.sum((0, 1))).tolist())


def _evenly(first: int, last: int, most: int) -> list[int]:
    """So many whole numbers from the first to the last, or as many as there are."""
    spread = torch.linspace(first, last, min(most, last - first + 1), dtype=torch.float64)
    return sorted({last, *(round(place) for place in spread.tolist())})
