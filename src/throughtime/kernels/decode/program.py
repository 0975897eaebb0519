"""A network compiled: its weights packed, and the calls of native code."""

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import torch

from throughtime.errors import InputError
from throughtime.kernels import native
from throughtime.kernels.decode.cache import Cache, Rings, States
from throughtime.kernels.decode.network import Network, RecurrentNetwork
from throughtime.kernels.decode.packing import whole
from throughtime.kernels.decode.plans import plan
from throughtime.shapes import Bool, Float, Int, Tensor

WEIGHTS = ("float32", "int8")
"""How weights are kept."""


class Choosing(NamedTuple):
    """How tokens are chosen; the numbers of [`Sampling`][throughtime.decoding.Sampling].

    Attributes:
        greedy: the likeliest, whatever else is said but the penalty.
        temperature, top_k, top_p, min_p, repetition_penalty: 0 is no limit.
        uniforms: `[rows, steps]`, in [0, 1), float64; None with `greedy`.
        seen: `[rows, tokens]`, which tokens each row has had; None where there is no penalty.
    """

    greedy: bool = True
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 0.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    uniforms: Float[Tensor, "rows steps"] | None = None
    seen: Bool[Tensor, "rows tokens"] | None = None


GREEDY = Choosing()


class Written(NamedTuple):
    """What was written.

    Attributes:
        tokens: `[rows, steps]`, ids; -1 after the end of a row.
        log_probs: `[rows, steps]`, of these tokens, in nats; 0 after the end.
    """

    tokens: Int[Tensor, "rows steps"]
    log_probs: Float[Tensor, "rows steps"]


class Searched(NamedTuple):
    """What a beam search found, the best of each row first; lengths of 0 where there is no more.

    Attributes:
        tokens: `[rows, n_best, steps]`, ids; -1 after the end of each.
        lengths: `[rows, n_best]`, tokens of each.
        log_probs: `[rows, n_best]`, in nats; -inf where there is none.
        scores: `[rows, n_best]`, likewise.
        ended: `[rows, n_best]`, whether it ended with a stop token.
    """

    tokens: Int[Tensor, "rows n_best steps"]
    lengths: Int[Tensor, "rows n_best"]
    log_probs: Float[Tensor, "rows n_best"]
    scores: Float[Tensor, "rows n_best"]
    ended: Bool[Tensor, "rows n_best"]


class Program:
    """A network with its weights packed for products with few rows.

    Args:
        network: the network; its weights are copied, later changes do not reach the program.
        weights: `float32`, or `int8`: each row of a matrix as whole numbers from -127 to 127 and a
            scale, and each vector that it is multiplied with likewise.
        threads: that share a step. They meet some five times in each block: one that waits for a
            core makes all wait, and one thread alone is near what memory gives.

    Errors:
        InputError: weights of another kind, or no threads.
    """

    def __init__(
        self, network: Network | RecurrentNetwork, *, weights: str = "float32", threads: int = 1
    ) -> None:
        if threads < 1:
            raise InputError(f"threads is {threads}, expected at least 1")
        if weights not in WEIGHTS:
            raise InputError(f"weights is {weights!r}, expected one of {[*WEIGHTS]}")
        self.network = network
        self.weights = weights
        self.threads = threads
        self.tokens = network.head.weight.shape[0]
        self.plan, self.memory = plan(network, weights)

    def rings(self, rows: int) -> Rings:
        """Of a Transformer: nothing remembered yet."""
        assert isinstance(self.network, Network)
        return Rings(self.plan, self.network, rows)

    def states(self, rows: int) -> States:
        """Of recurrent layers: nothing remembered yet."""
        assert isinstance(self.network, RecurrentNetwork)
        return States(self.plan, self.network, rows)

    def step(self, cache: Cache, tokens: Tensor) -> Float[Tensor, "rows tokens"]:
        """Feed one token a row, `[rows]`; the logits of the next one.

        Errors:
            InputError: tokens that are not one id of the vocabulary per row; here and below.
        """
        tokens, logits = ids_of(tokens, cache.rows), self._logits(cache.rows)
        self._run(native.library.decode_step, self._call(cache, tokens, logits))
        return logits[:, : self.tokens]

    def write(
        self,
        cache: Cache,
        tokens: Tensor,
        steps: int,
        stop: Collection[int] = (),
        choosing: Choosing = GREEDY,
    ) -> Written:
        """Go on with a token for each row, and again, until a token stops it.

        A row that has ended is fed no more.
        """
        tokens = ids_of(tokens, cache.rows).clone()
        written = Written(torch.full((cache.rows, steps), -1), torch.zeros(cache.rows, steps))
        if not steps or not cache.rows:
            return written
        stops, logits = self._stops(stop), self._logits(cache.rows)
        _check(choosing, (cache.rows, steps), (cache.rows, self.tokens))
        held = [  # as native code reads them, and as long as it does
            None if choosing.uniforms is None else choosing.uniforms.double().contiguous(),
            None
            if choosing.seen is None
            else choosing.seen.clone(memory_format=torch.contiguous_format),
        ]
        self._run(
            native.library.decode_write, self._call(cache, tokens, logits), steps, stops.data_ptr(),
            *(part.data_ptr() for part in written),
            (*choosing[:6], *(0 if part is None else part.data_ptr() for part in held)),
        )  # fmt: skip
        return written

    def search(
        self,
        cache: Cache,
        tokens: Tensor,
        steps: int,
        stop: Collection[int] = (),
        *,
        beams: int,
        n_best: int = 1,
        length_penalty: float = 1.0,
    ) -> Searched | None:
        """Look for the likeliest outputs; None if the network gives NaN.

        The cache stays as it was. See [`beam_search`][throughtime.decoding.beam_search].
        """
        rows, stops = cache.rows, self._stops(stop)
        tokens = ids_of(tokens, rows)
        each = rows, n_best
        found = Searched(
            torch.full((*each, steps), -1), torch.zeros(each, dtype=torch.long),
            torch.full(each, -torch.inf), torch.full(each, -torch.inf),
            torch.zeros(each, dtype=torch.bool),
        )  # fmt: skip
        wide, logits = cache.spread(beams), self._logits(rows * beams)
        fine = self._run(
            native.library.decode_search,
            self._call(wide, tokens, logits, rows * beams), steps, stops.data_ptr(),
            int(stops.sum()), beams, n_best, length_penalty,
            tuple(part.data_ptr() for part in found),
        )  # fmt: skip
        return found if fine else None

    def _run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(self.plan, *arguments)
        except IndexError:
            raise InputError("tokens hold an id outside the vocabulary") from None

    def _logits(self, rows: int) -> Float[Tensor, "rows whole"]:
        return torch.empty(rows, whole(self.tokens))

    def _stops(self, stop: Collection[int]) -> Bool[Tensor, " tokens"]:
        stops = torch.zeros(self.tokens, dtype=torch.bool)
        stops[list(stop)] = True
        return stops

    def _call(
        self, cache: Cache, tokens: Tensor, logits: Tensor, rows: int | None = None
    ) -> tuple[Any, ...]:
        """What all calls have; room for so many rows."""
        scratch = cache.scratch(cache.rows if rows is None else rows, self.threads)
        return (
            cache.addresses(), cache.places.data_ptr(), cache.rows, self.threads,
            tokens.data_ptr(), logits.data_ptr(), scratch,
        )  # fmt: skip


def _check(choosing: Choosing, drawn: tuple[int, int], known: tuple[int, int]) -> None:
    """Refuse numbers and marks that native code would read beyond."""
    uniforms, seen = choosing.uniforms, choosing.seen
    if not choosing.greedy and uniforms is None:
        raise InputError("uniforms is None, expected random numbers, for tokens are drawn")
    if uniforms is not None and uniforms.shape != drawn:
        raise InputError(f"uniforms has shape {list(uniforms.shape)}, expected {[*drawn]}")
    if seen is not None and (seen.shape != known or seen.dtype != torch.bool):
        raise InputError(
            f"seen is {seen.dtype} of shape {list(seen.shape)}, expected torch.bool of {[*known]}"
        )


def ids_of(tokens: Tensor, rows: int) -> Int[Tensor, " rows"]:
    """Tokens as native code reads them, by their address: one id of 64 bits per row.

    Errors:
        InputError: another number of them, no whole numbers, or on another device.
    """
    dtype = tokens.dtype
    whole_numbers = not (dtype.is_floating_point or dtype.is_complex or dtype == torch.bool)
    if tokens.shape != (rows,) or not whole_numbers or tokens.device.type != "cpu":
        raise InputError(
            f"tokens are {dtype} of shape {list(tokens.shape)} on {tokens.device}, "
            f"expected ids of shape [{rows}] on the CPU, one per row"
        )
    return tokens.to(torch.long).contiguous()
