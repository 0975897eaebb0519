"""What the output of a search must hold, and what it must not."""

from collections.abc import Sequence

import torch
from torch.nn.utils.rnn import pad_sequence

from throughtime.errors import InputError
from throughtime.shapes import Bool, Float, Int, Tensor


def forced(
    log_probs: Float[Tensor, "batch tokens"], ids: Int[Tensor, " batch"]
) -> Float[Tensor, "batch tokens"]:
    """Nothing but the token of each row, where there is one: -1 leaves it free."""
    ids = ids.unsqueeze(1)
    every = torch.arange(log_probs.shape[1], device=ids.device)
    return torch.where((ids < 0) | (ids == every), log_probs, -torch.inf)


def without_repeats(
    log_probs: Float[Tensor, "batch tokens"], written: Int[Tensor, "batch length"], n: int
) -> Float[Tensor, "batch tokens"]:
    """No token that would make the last n tokens the same as n that stand before.

    References:
        Paulus, Xiong and Socher 2018, "A deep reinforced model for abstractive summarization",
        https://arxiv.org/abs/1705.04304
    """
    length = written.shape[1]
    if length < n:
        return log_probs
    grams = written.unfold(1, n, 1)  # [batch, places, n]
    ending = written[:, length - n + 1 :].unsqueeze(1)
    rows, places = (grams[:, :, :-1] == ending).all(2).nonzero(as_tuple=True)
    log_probs = log_probs.clone()
    log_probs[rows, grams[rows, places, -1]] = -torch.inf
    return log_probs


class Phrases:
    r"""Which phrases have been written of each row, and how much of the next.

    What was written so far matters only by its longest end that begins a phrase: a node. From each
    node a token leads to another one (Aho and Corasick 1975), so a phrase that breaks off falls
    back to what is left of it: of "a a b", after "a a" and a third a, "a a" is still there. A
    phrase counts as written wherever it stands; phrases may overlap, and one given twice is met by
    one occurrence.

    The nodes of all rows are numbered through, and only steps that lead to a node other than the
    row's first are kept, sorted by `node * (tokens + 1) + token`: looking up is one binary search.

    Args:
        phrases: of each row, sequences of ids.
        size: tokens in the vocabulary.
        device: where the search runs.

    Attributes:
        first: `[rows]`, the node at the beginning.
        sizes: `[nodes, phrases]`, tokens of each phrase; 0 where a row has fewer phrases.
        reach: `[nodes, phrases]`, how much of each phrase the node ends with.
        wants: `[nodes, phrases]`, the token of each phrase that comes next; -1 after its last.

    References:
        Aho and Corasick 1975, "Efficient string matching: an aid to bibliographic search".
    """

    def __init__(
        self,
        phrases: Sequence[Sequence[Sequence[int]]],
        size: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.size = size
        most = max(len(row) for row in phrases)
        first: list[int] = []
        home: list[int] = []
        sizes: list[list[int]] = []
        reach: list[list[int]] = []
        wants: list[list[int]] = []
        steps: dict[int, int] = {}
        for row in phrases:
            every = [tuple(phrase) for phrase in row] + [()] * (most - len(row))
            begun = {phrase[:k] for phrase in every for k in range(len(phrase) + 1)} | {()}
            number = {node: len(home) + at for at, node in enumerate(sorted(begun))}
            first.append(number[()])
            for node in sorted(begun):
                home.append(number[()])
                lengths = [_overlap(node, phrase) for phrase in every]
                sizes.append([len(phrase) for phrase in every])
                reach.append(lengths)
                wants.append([
                    phrase[k] if k < len(phrase) else -1
                    for phrase, k in zip(every, lengths, strict=True)
                ])  # fmt: skip
                for token in {token for phrase in every for token in phrase}:
                    line = (*node, token)
                    end = next(line[k:] for k in range(len(line) + 1) if line[k:] in begun)
                    if end:
                        steps[number[node] * (size + 1) + token] = number[end]
        keys = sorted(steps)
        self.first, self.home, self.keys, self.targets = (
            torch.tensor(part, dtype=torch.long, device=device)
            for part in (first, home, keys, [steps[key] for key in keys])
        )
        self.sizes, self.reach, self.wants = (
            torch.tensor(part, dtype=torch.long, device=device).view(len(home), most)
            for part in (sizes, reach, wants)
        )

    def begin(self) -> tuple[Int[Tensor, "rows 1"], Bool[Tensor, "rows 1 phrases"]]:
        """Where each row stands when nothing was written, and which phrases it has met."""
        node = self.first.unsqueeze(1)
        return node, self.sizes[node] == 0

    def advance(
        self,
        node: Int[Tensor, "rows some"],
        met: Bool[Tensor, "rows some phrases"],
        tokens: Int[Tensor, "rows some"],
    ) -> tuple[Int[Tensor, "rows some"], Bool[Tensor, "rows some phrases"]]:
        """Write one token more."""
        keys = node * (self.size + 1) + tokens
        if len(self.keys):
            at = torch.searchsorted(self.keys, keys).clamp(max=len(self.keys) - 1)
            node = torch.where(self.keys[at] == keys, self.targets[at], self.home[node])
        return node, met | (self.reach[node] == self.sizes[node])

    def wanted(
        self, node: Int[Tensor, " batch"], met: Bool[Tensor, "batch phrases"]
    ) -> Int[Tensor, "batch phrases"]:
        """The tokens that bring a phrase forward, each once; -1 elsewhere."""
        ids = torch.where(met, -1, self.wants[node])
        twice = (ids.unsqueeze(2) == ids.unsqueeze(1)).tril(-1).any(2)
        return torch.where(twice, -1, ids)

    def progress(
        self, node: Int[Tensor, "rows some"], met: Bool[Tensor, "rows some phrases"]
    ) -> Int[Tensor, "rows some"]:
        """Tokens of phrases that are met, and of the one that has come furthest of the others."""
        whole = torch.where(met, self.sizes[node], 0).sum(2)
        return whole + torch.where(met, 0, self.reach[node]).amax(2)


def in_turns(
    banks: Int[Tensor, "rows some"], log_probs: Float[Tensor, "rows some"]
) -> Int[Tensor, "rows some"]:
    r"""The order in which candidates take places: the best of each bank, the second best, ...

    A bank holds the candidates that have come equally far with the phrases; the one furthest along
    has the first turn. So each bank gets an equal share of the beam, and what one cannot fill goes
    to the others: the dynamic allocation of Post and Vilar.

    References:
        Post and Vilar 2018, "Fast lexically constrained decoding with dynamic beam allocation for
        neural machine translation", https://arxiv.org/abs/1804.06609
    """
    order = log_probs.argsort(dim=1, descending=True, stable=True)
    dead = log_probs == -torch.inf
    most = int(banks.max()) + 1
    ranked = torch.where(dead, most, banks).gather(1, order)
    grouped, group = ranked.sort(dim=1, stable=True)
    place = torch.arange(banks.shape[1], device=banks.device).expand_as(banks)
    starts = torch.ones_like(dead)
    starts[:, 1:] = grouped[:, 1:] != grouped[:, :-1]
    turn = place - torch.where(starts, place, 0).cummax(1).values
    key = turn * most + (most - 1 - grouped)
    key = torch.where(grouped == most, banks.shape[1] * most, key)
    return order.gather(1, group).gather(1, key.argsort(dim=1, stable=True))


def prefix_ids(
    prefix: Sequence[Tensor], rows: int, size: int, steps: int, stop: Sequence[int]
) -> Int[Tensor, "rows longest"]:
    """The forced tokens of each row, -1 after them.

    Errors:
        InputError: not one per row, no ids, ids outside the vocabulary, a stop token, or too long.
    """
    if len(prefix) != rows:
        raise InputError(f"prefix has {len(prefix)} rows, expected {rows}, one per prompt")
    lines = [_ids(f"prefix {row}", line, size, steps, stop) for row, line in enumerate(prefix)]
    return pad_sequence(lines, batch_first=True, padding_value=-1)


def phrase_ids(
    phrases: Sequence[Sequence[Sequence[int] | Tensor]],
    rows: int,
    size: int,
    steps: int,
    stop: Sequence[int],
) -> list[list[list[int]]]:
    """The phrases of each row as lists.

    Errors:
        InputError: as `prefix_ids`, or an empty phrase.
    """
    if len(phrases) != rows:
        raise InputError(f"phrases has {len(phrases)} rows, expected {rows}, one per prompt")
    found: list[list[list[int]]] = []
    for row, several in enumerate(phrases):
        if not isinstance(several, list | tuple):
            raise InputError(
                f"phrases of row {row} are a {type(several).__name__}, expected a list of phrases"
            )
        lines = [
            _ids(f"phrase {at} of row {row}", one, size, steps, stop)
            for at, one in enumerate(several)
        ]
        for at, line in enumerate(lines):
            if not len(line):
                raise InputError(f"phrase {at} of row {row} is empty, expected at least one id")
        found.append([line.tolist() for line in lines])
    return found


def _ids(
    name: str, ids: Sequence[int] | Tensor, size: int, steps: int, stop: Sequence[int]
) -> Tensor:
    try:
        line = torch.as_tensor(ids)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"{name} is {ids!r}, expected ids [time]") from None
    whole = not (line.is_floating_point() or line.is_complex() or line.dtype == torch.bool)
    if line.ndim != 1 or not (whole or not line.numel()):
        raise InputError(f"{name} is {line.dtype} of shape {list(line.shape)}, expected ids [time]")
    for token in line.tolist():
        if not 0 <= token < size:
            raise InputError(f"{name} holds id {int(token)}, expected 0 to {size - 1}")
        if token in stop:
            raise InputError(f"{name} holds the stop token {token}, which ends the output")
    if len(line) > steps:
        raise InputError(f"{name} has {len(line)} tokens, expected at most steps = {steps}")
    return line.long().cpu()


def _overlap(line: tuple[int, ...], phrase: tuple[int, ...]) -> int:
    """The longest beginning of a phrase that a line ends with."""
    return next(
        k for k in range(min(len(line), len(phrase)), -1, -1) if line[len(line) - k :] == phrase[:k]
    )
