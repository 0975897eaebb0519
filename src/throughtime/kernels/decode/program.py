"""A network compiled: its weights packed, and the calls of native code."""

from collections.abc import Collection
from typing import Any, NamedTuple

import torch

from throughtime.errors import InputError
from throughtime.kernels import native
from throughtime.kernels.decode.cache import Cache
from throughtime.kernels.decode.network import ACTIVATIONS, Matrix, Network, Norm
from throughtime.kernels.decode.packing import Store, byte_panels, padded, panels, to_bytes, whole
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

    def __init__(self, network: Network, *, weights: str = "float32", threads: int = 1) -> None:
        if threads < 1:
            raise InputError(f"threads is {threads}, expected at least 1")
        if weights not in WEIGHTS:
            raise InputError(f"weights is {weights!r}, expected one of {[*WEIGHTS]}")
        self.network = network
        self.weights = weights
        self.threads = threads
        self.tokens = network.head.weight.shape[0]
        self.plan, self.memory = _plan(network, weights)

    def cache(self, rows: int) -> Cache:
        """Nothing remembered yet."""
        return Cache(self.network, rows)

    def step(self, cache: Cache, tokens: Int[Tensor, " rows"]) -> Float[Tensor, "rows tokens"]:
        """Feed one token a row; the logits of the next one."""
        logits = torch.empty(cache.rows, whole(self.tokens))
        self._run(cache, tokens.contiguous(), logits)
        return logits[:, : self.tokens]

    def write(
        self,
        cache: Cache,
        tokens: Int[Tensor, " rows"],
        steps: int,
        stop: Collection[int] = (),
        choosing: Choosing = GREEDY,
    ) -> Written:
        """Go on with a token for each row, and again, until a token stops it.

        A row that has ended is fed no more.
        """
        tokens = tokens.clone(memory_format=torch.contiguous_format)
        written = Written(torch.full((cache.rows, steps), -1), torch.zeros(cache.rows, steps))
        stops = torch.zeros(self.tokens, dtype=torch.bool)
        stops[list(stop)] = True
        logits = torch.empty(cache.rows, whole(self.tokens))
        if steps and cache.rows:
            self._run(cache, tokens, logits, steps, written, stops, choosing)
        return written

    def _run(
        self,
        cache: Cache,
        tokens: Tensor,
        logits: Tensor,
        steps: int = 1,
        written: Written | None = None,
        stops: Tensor | None = None,
        choosing: Choosing = GREEDY,
    ) -> None:
        held = [  # as native code reads them, and as long as it does
            None if choosing.uniforms is None else choosing.uniforms.double().contiguous(),
            None if choosing.seen is None else choosing.seen.clone(),
        ]
        threads = self.threads
        scratch = cache.scratch(threads, self.plan.scratch)
        native.library.decode(
            self.plan, threads, cache.rows, steps, *cache.addresses(),
            tokens.data_ptr(), logits.data_ptr(),
            *((0, 0) if written is None else (part.data_ptr() for part in written)),
            0 if stops is None else stops.data_ptr(),
            (*choosing[:6], *(0 if part is None else part.data_ptr() for part in held)), scratch,
        )  # fmt: skip


def _plan(network: Network, weights: str) -> tuple[Any, Tensor]:
    """The native plan, and the memory that it points to."""
    store = Store()
    absent = -1

    def vector(tensor: Tensor | None, dtype: torch.dtype = torch.float32) -> int:
        return absent if tensor is None else store.add(tensor.detach().to(dtype))

    def norm(one: Norm | None) -> tuple[int, int, float, bool]:
        if one is None:
            return absent, absent, 0.0, False
        bias = None if one.bias is None else padded(one.bias)
        return vector(padded(one.weight)), vector(bias), one.epsilon, one.rms

    def matrix(one: Matrix | None) -> tuple[int, int, int, int, int]:
        if one is None:
            return absent, absent, absent, 0, 0
        weight, scale = one.weight.detach(), absent
        if weights == "int8":
            steps, scales = to_bytes(weight)
            packed, scale = store.add(byte_panels(steps)), vector(padded(scales))
        else:
            packed = store.add(panels(weight))
        bias = torch.zeros(len(weight)) if one.bias is None else one.bias
        rows, depth = weight.shape
        return packed, scale, vector(padded(bias)), rows, depth

    embedding = vector(network.embedding)
    positions = [
        vector(network.learned),
        vector(network.waves, torch.float64),
        vector(network.turns, torch.float64),
        vector(network.slopes),
    ]
    blocks = [
        (
            norm(block.attention_norm), matrix(block.attention_input),
            matrix(block.attention_output), norm(block.memory_norm), matrix(block.memory_query),
            matrix(block.memory_output), norm(block.feed_norm), matrix(block.feed_input),
            matrix(block.feed_output),
        )
        for block in network.blocks
    ]  # fmt: skip
    last = norm(network.last_norm), matrix(network.head)
    base = store.close()

    def placed(offsets: tuple[Any, ...], count: int) -> tuple[Any, ...]:
        """The first `count` offsets as addresses."""
        at = tuple(0 if offset == absent else base + offset for offset in offsets[:count])
        return at + offsets[count:]

    def both(norm: tuple[Any, ...], *matrices: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        return [placed(norm, 2), *(placed(matrix, 3) for matrix in matrices)]

    plan = native.library.DecodePlan()
    for name in ("size", "heads", "kv_heads", "head_size", "hidden", "horizon", "norm_first"):
        setattr(plan, name, getattr(network, name))
    plan.length = 0 if network.learned is None else len(network.learned)
    plan.activation(ACTIVATIONS.index(network.activation))
    plan.embedding(base + embedding, len(network.embedding))
    plan.positions(*placed(tuple(positions), 4))
    for parts in blocks:
        plan.block(*both(*parts[:3]), *both(*parts[3:6]), *both(*parts[6:]))
    plan.head(*both(*last))
    assert store.memory is not None
    return plan, store.memory
