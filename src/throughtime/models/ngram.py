"""The n-gram: counts of what came after the last few tokens, smoothed with those of fewer."""

from typing import Any, NamedTuple

import torch

from throughtime.errors import InputError
from throughtime.layers.base import Layer, check_size
from throughtime.layers.window import Window, WindowState
from throughtime.models.baseline import Baseline, real_steps
from throughtime.models.chain import befores, hide
from throughtime.models.heads import Categorical
from throughtime.models.inputs import Inputs
from throughtime.models.ngram_counts import GramCounts
from throughtime.shapes import Bool, Float, Int, Tensor
from throughtime.state import State, register

CHUNK = 1 << 22
"""Probabilities that are worked out at a time: bounds the memory beside the answer."""


@register
class NGramState(NamedTuple):
    """What an n-gram remembers.

    Attributes:
        tokens: `[batch, order - 1]`, the last token ids, the oldest first; the begin id stands
            where the sequence had not begun.
    """

    tokens: Int[Tensor, "batch past"]


class NGram(Baseline):
    r"""Counts of n-grams with interpolated modified Kneser-Ney smoothing.

    With $c$ the last $k$ tokens, $c'$ all of them but the oldest and $a$ a count,

    $$p_k(x \mid c) = \frac{a(c x) - D(a(c x))}{\sum_y a(c y)} + \gamma(c) \, p_{k-1}(x \mid c'),
    \qquad \gamma(c) = \frac{\sum_y D(a(c y))}{\sum_y a(c y)}$$

    down to $p_{-1} = 1 / V$, so that every token has a chance after everything. A context that was
    never seen passes on to the shorter one unchanged. At the greatest k, and where c reaches
    back to the beginning of its sequence, a is how often $c x$ occurred; elsewhere it is how many
    different tokens stood before $c x$, for the shorter context is asked only where the longer
    ones know little. The discount D is 0 for a count of 0 and one of three numbers for counts of
    1, 2, and more, in closed form from the counts of counts $n_1 \ldots n_4$ of each k:

    $$D(a) = a - (a + 1) \, \frac{n_1}{n_1 + 2 n_2} \, \frac{n_{a+1}}{n_a}, \quad a = 1, 2, 3$$

    and a / 2 where that does not lie between 0 and a (few data, few tokens).

    Nothing here is trained by gradient; see `fit`. Before it every token is equally likely.

    Args:
        order: n; a token is predicted from the `order - 1` before it. 5 to 7 does well on
            characters, 3 on words. With 1 it is the frequency of each token.
        tokens: V, size of the vocabulary.

    Shapes:
        - `x`: `[batch, time]`, token ids; V is the begin id.
        - `state`: the state of its body is an `NGramState`; `None` is the beginning of a sequence.
        - `mask`, `reset`: `[batch, time]`, see [`Layer`][throughtime.layers.Layer].
        - `output`: `[batch, time, V]`, log-probabilities; zeros in padded steps.

    Laws:
        - Causal, with a receptive field of exactly `order - 1` real steps.
        - Chunkable: any split of time gives the same output and state.
        - Padding-invariant: what stands in a padded step changes nothing.

    Examples:
        >>> text = torch.tensor([[0, 1, 0, 1, 0, 1, 0, 1]])
        >>> model = NGram(order=2, tokens=2).fit(text)
        >>> bool(model.perplexity(text) < 1.6)
        True

    References:
        Chen and Goodman 1999, "An empirical study of smoothing techniques for language modeling";
        Kneser and Ney 1995, "Improved backing-off for m-gram language modeling".
    """

    head: "GramHead"

    def __init__(self, order: int, tokens: int) -> None:
        check_size("NGram", "order", order)
        check_size("NGram", "tokens", tokens)
        super().__init__(TokenIds(tokens), Past(order - 1, begin=tokens), GramHead(tokens))
        self.order = order
        self.tokens = tokens

    def fit(self, data: Any) -> "NGram":
        """Count, in one pass; what was counted before is forgotten.

        A million steps take about a fifth of a second; the memory grows with the number of
        different n-grams.

        Args:
            data: a source, windows, a batch, or a tensor of ids `[batch, time]`, where ids below 0
                are missing and not counted.

        Errors:
            InputError: no tokens, or ids outside the vocabulary.
        """
        counts = GramCounts(self.order, self.tokens)
        state: State = None
        for fresh, steps in self.windows(data):
            if fresh:
                state = self.body.initial_state(len(steps.inputs))
            for piece in steps.split(max(1, CHUNK // (self.order * max(1, len(steps.inputs))))):
                contexts, state = self.body(piece.inputs, state, piece.mask, piece.reset)
                grams = torch.cat([contexts.flip(-1), piece.targets.unsqueeze(-1)], dim=-1)
                grams = grams[real_steps(piece) & (piece.targets >= 0)]
                self.head.check_ids(grams[:, :-1], grams[:, -1])
                counts.add(grams.numpy(force=True))
        tree = counts.tree()
        if not len(tree.gram_keys):
            raise InputError("NGram: data hold no tokens, expected at least one")
        like = self.head.backoff
        for name, values in tree._asdict().items():
            dtype = like.dtype if values.dtype.kind == "f" else torch.long
            setattr(self.head, name, torch.as_tensor(values, dtype=dtype, device=like.device))
        return self

    @torch.no_grad()
    def log_prob(
        self,
        x: Int[Tensor, "batch time"],
        mask: Bool[Tensor, "batch time"] | None = None,
        covariates: Tensor | None = None,
    ) -> Float[Tensor, "batch time"]:
        """In nats per token; looks up these tokens only, whatever the size of the vocabulary."""
        line, _ = befores(self.begin(x.shape[0]), x, mask)
        contexts, _ = self.body(line[:, :-1], None, mask, None)
        return self.head.score(contexts, hide(x, mask))


class TokenIds(Inputs):
    """Token ids as they are.

    Args:
        tokens: V, size of the vocabulary, and the begin id.
    """

    discrete = True
    covariates = 0
    output_size = 1
    anchor: Tensor

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.size = tokens
        self.register_buffer("anchor", torch.empty(0), persistent=False)

    def forward(
        self,
        x: Int[Tensor, "batch time"],
        state: tuple[()],
        mask: Tensor | None = None,
        reset: Tensor | None = None,
        covariates: Tensor | None = None,
    ) -> tuple[Int[Tensor, "batch time"], None, tuple[()]]:
        """Pass."""
        return x, None, ()

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> tuple[()]:
        """Nothing."""
        return ()

    def begin(self, batch_size: int) -> Int[Tensor, "batch 1"]:
        """The id after the last of the vocabulary."""
        return torch.full((batch_size, 1), self.size, device=self.anchor.device)


class Past(Layer):
    """A window for token ids: the output, as the state, is the last `size` of them.

    Args:
        size: tokens; the present one is among them. 0 is possible.
        begin: the id that stands where nothing came before.

    Shapes:
        - `x`: `[batch, time]`, ids.
        - `state`: `NGramState`.
        - `output`: `[batch, time, size]`, the oldest first; zeros in padded steps.
    """

    anchor: Tensor

    def __init__(self, size: int, begin: int) -> None:
        super().__init__()
        self.size = self.output_size = size
        self.input_size = None
        self.start = begin
        self.window = Window(size + 1)  # it remembers one step less than it shows
        self.register_buffer("anchor", torch.empty(0, dtype=torch.long), persistent=False)

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> NGramState:
        """The begin id everywhere."""
        return NGramState(self.anchor.new_full((batch_size, self.size), self.start, device=device))

    def check(self, x: Tensor, state: State, mask: Tensor | None, reset: Tensor | None) -> None:
        """Token ids have no axis of features; their form the model has checked."""
        self.check_marks(x, mask, reset)
        self.check_state(state, x.shape[0])

    def run(
        self,
        x: Int[Tensor, "batch time"],
        state: NGramState,
        mask: Bool[Tensor, "batch time"] | None,
        reset: Bool[Tensor, "batch time"] | None,
    ) -> tuple[Int[Tensor, "batch time size"], NGramState]:
        """A window over the ids, counted down from the begin id.

        A window holds zeros where nothing came before; counted this way that is the begin id.
        """
        before = WindowState((self.start - state.tokens).double().unsqueeze(-1))
        codes, after = self.window.run((self.start - x).double().unsqueeze(-1), before, mask, reset)
        contexts = self.start - codes[..., 1:].long()
        if mask is not None:
            contexts = torch.where(mask.unsqueeze(-1), contexts, 0)
        return contexts, NGramState(self.start - after.past.squeeze(-1).long())


class GramHead(Categorical):
    r"""Looks up what follows a context.

    Args:
        tokens: V, size of the vocabulary.

    Attributes:
        context_keys: `[contexts - 1]`, ascending. Contexts are the nodes of a tree that grows into
            the past: number 0 is the empty context; number i > 0 has `context_keys[i - 1]` = number
            of the context that is one token shorter * (V + 1) + its oldest token.
        backoff: $\gamma$, `[contexts]`.
        gram_keys: `[n-grams]`, ascending: number of the context * V + the token that follows.
        mass: the first term of $p_k$, `[n-grams]`.
    """

    context_keys: Tensor
    backoff: Tensor
    gram_keys: Tensor
    mass: Tensor

    def __init__(self, tokens: int) -> None:
        super().__init__(None, tokens)
        self.register_buffer("context_keys", torch.empty(0, dtype=torch.long))
        self.register_buffer("backoff", torch.ones(1))
        self.register_buffer("gram_keys", torch.empty(0, dtype=torch.long))
        self.register_buffer("mass", torch.empty(0))

    def forward(
        self, features: Int[Tensor, "batch time past"], context: None = None
    ) -> Float[Tensor, "batch time tokens"]:
        """Log-probabilities of every token after the contexts `features`."""
        contexts = features.flatten(0, 1)
        self.check_ids(contexts)
        result = self.backoff.new_empty(len(contexts), self.size)
        rows = max(1, CHUNK // self.size)
        for start in range(0, len(contexts), rows):
            result[start : start + rows] = self.row(contexts[start : start + rows])
        return result.view(*features.shape[:2], self.size)

    def row(self, contexts: Int[Tensor, "rows past"]) -> Float[Tensor, "rows tokens"]:
        """All log-probabilities after some contexts."""
        p = self.backoff.new_full((1, self.size), 1 / self.size, dtype=torch.float64)
        empty, *longer = self.nodes(contexts)
        p = self.extend(p, empty.new_zeros(1)).repeat(len(contexts), 1)  # once for all of them
        for node in longer:
            p = self.extend(p, node)
        return p.log().to(self.backoff.dtype)

    def extend(
        self, p: Float[Tensor, "rows tokens"], node: Int[Tensor, " rows"]
    ) -> Float[Tensor, "rows tokens"]:
        """The probabilities after contexts from those after contexts that are a token shorter."""
        p = p * torch.where(node >= 0, self.backoff[node], 1).double().unsqueeze(1)
        # What follows a context stands side by side: from its first key to the next context's.
        first, behind = torch.searchsorted(
            self.gram_keys, torch.stack([node * self.size, (node + 1) * self.size])
        )
        many = torch.where(node >= 0, behind - first, 0)
        row = torch.arange(len(node), device=node.device).repeat_interleave(many)
        nth = torch.arange(len(row), device=node.device) - (many.cumsum(0) - many)[row]
        place = first[row] + nth
        p[row, self.gram_keys[place] % self.size] += self.mass[place].double()
        return p

    def score(
        self, contexts: Int[Tensor, "batch time past"], targets: Int[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time"]:
        """Log-probabilities of the targets only; 0 where they are missing (below 0)."""
        known = targets >= 0
        chosen = targets[known]
        self.check_ids(contexts[known], chosen)
        p = self.backoff.new_full(chosen.shape, 1 / self.size, dtype=torch.float64)
        for node in self.nodes(contexts[known]):
            gram = find(self.gram_keys, node * self.size + chosen, where=node >= 0)
            mass = torch.where(gram >= 0, pick(self.mass, gram), 0)
            p = mass + torch.where(node >= 0, self.backoff[node], 1) * p
        result = self.backoff.new_zeros(targets.shape)
        result[known] = p.log().to(result.dtype)
        return result

    def nodes(self, contexts: Int[Tensor, "rows past"]) -> list[Int[Tensor, " rows"]]:
        """The numbers of the last 0, 1, 2 ... tokens as contexts; -1 where one was never seen."""
        node = torch.zeros(len(contexts), dtype=torch.long, device=contexts.device)
        found = [node]
        for token in contexts.flip(-1).unbind(-1):
            place = find(self.context_keys, node * (self.size + 1) + token, where=node >= 0)
            node = torch.where(place >= 0, place + 1, -1)
            found.append(node)
        return found

    def check_ids(self, contexts: Tensor, targets: Tensor | None = None) -> None:
        """Refuse ids outside the vocabulary: looked up, they would pass for others."""
        for name, ids, greatest in (
            ("x", contexts, self.size),
            ("targets", targets, self.size - 1),
        ):
            if ids is None or not ids.numel():
                continue
            low, high = (int(end) for end in torch.aminmax(ids))
            if low < 0 or high > greatest:
                raise InputError(
                    f"NGram: {name} hold id {low if low < 0 else high}, expected 0 to {greatest}"
                )

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Tensor],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,  # noqa: FBT001
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """The buffers take the sizes of what is loaded."""
        for name, buffer in list(self._buffers.items()):
            loaded = state_dict.get(prefix + name)
            if buffer is not None and loaded is not None and loaded.ndim == buffer.ndim:
                setattr(self, name, buffer.new_empty(loaded.shape))
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )


def find(keys: Tensor, wanted: Tensor, where: Tensor) -> Tensor:
    """The places of numbers in ascending `keys`; -1 where they are not there, or not asked for."""
    if not len(keys):
        return torch.full_like(wanted, -1)
    place = torch.searchsorted(keys, wanted)
    return torch.where(where & (pick(keys, place) == wanted), place, -1)


def pick(values: Tensor, place: Tensor) -> Tensor:
    """`values[place]`, and anything at all where the place does not exist."""
    if not len(values):
        return values.new_zeros(place.shape)
    return values[place.clamp(0, len(values) - 1)]
