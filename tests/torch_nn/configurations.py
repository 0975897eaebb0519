"""Every way to use a recurrent module of torch.nn, and how ours is compared with it."""

import itertools
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from throughtime import torch_nn

INPUT, HIDDEN, PROJECTED, BATCH, TIME = 3, 5, 2, 4, 6
LENGTHS = (4, 6, 1, 6)
KINDS = ("RNN-tanh", "RNN-relu", "GRU", "LSTM", "LSTM-projected")
FORMS = ("time first", "batch first", "unbatched", "packed", "packed, unsorted")


@dataclass(frozen=True)
class Layer:
    """The arguments of a layer."""

    kind: str
    layers: int
    bidirectional: bool
    bias: bool

    def make(self, library, dtype=torch.float32, **options):
        """From torch.nn or from ours."""
        name, _, which = self.kind.partition("-")
        if name == "RNN":
            options["nonlinearity"] = which
        if which == "projected":
            options["proj_size"] = PROJECTED
        return getattr(library, name)(
            INPUT, HIDDEN, self.layers, bias=self.bias, bidirectional=self.bidirectional,
            dtype=dtype, **options,
        )  # fmt: skip

    @property
    def sizes(self):
        """Of the parts of the state."""
        shown = PROJECTED if self.kind.endswith("projected") else HIDDEN
        return [shown, HIDDEN] if self.kind.startswith("LSTM") else [shown]

    def __str__(self):
        directions = "both" if self.bidirectional else "one"
        return f"{self.kind}-{self.layers}-{directions}-{'bias' if self.bias else 'bare'}"


@dataclass(frozen=True)
class Use:
    """How it is called."""

    form: str
    dtype: torch.dtype
    stateful: bool


LAYERS = [Layer(*each) for each in itertools.product(KINDS, (1, 2), (False, True), (False, True))]
USES = [
    Use(*each) for each in itertools.product(FORMS, (torch.float32, torch.float64), (False, True))
]

Answer = dict[str, torch.Tensor]


def numbers(seed, *shape):
    """Random numbers that every type holds."""
    random = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=random).double()


def given(layer, form, stateful, dtype):
    """The input and the state, ready for gradients; and the input as the module takes it."""
    shape = {"unbatched": (TIME, INPUT), "batch first": (BATCH, TIME, INPUT)}
    x = numbers(1, *shape.get(form, (TIME, BATCH, INPUT))).to(dtype).requires_grad_()
    count = layer.layers * (2 if layer.bidirectional else 1)
    rows = () if form == "unbatched" else (BATCH,)
    state = [
        numbers(2 + n, count, *rows, size).to(dtype).requires_grad_()
        for n, size in enumerate(layer.sizes)
    ] if stateful else []  # fmt: skip
    taken = x
    if form == "packed":
        taken = pack_padded_sequence(x, sorted(LENGTHS, reverse=True))
    if form == "packed, unsorted":
        taken = pack_padded_sequence(x, [*LENGTHS], enforce_sorted=False)
    return x, state, taken


def answer(module, layer, form, stateful) -> Answer:
    """Output, state after, and all gradients."""
    dtype = next(module.parameters()).dtype
    x, state, taken = given(layer, form, stateful, dtype)
    pair = len(layer.sizes) > 1
    hx = (tuple(state) if pair else state[0]) if state else None
    output, after = module(taken, hx)
    after = after if pair else (after,)
    if isinstance(taken, PackedSequence):
        assert isinstance(output, PackedSequence)
        for mine, theirs in zip(output[1:], taken[1:], strict=True):
            assert mine is theirs  # batch sizes and orders
        output = output.data
    found = {"output": output, **{f"state {n}": part for n, part in enumerate(after)}}
    weighed = sum((o * numbers(9, *o.shape).to(dtype)).sum() for o in found.values())
    leaves = {"input": x, **{f"hx {n}": part for n, part in enumerate(state)}}
    leaves |= dict(module.named_parameters())
    gradients = torch.autograd.grad(weighed, [*leaves.values()])  # pyright: ignore
    found |= {f"gradient of {n}": g for n, g in zip(leaves, gradients, strict=True)}
    return {name: value.detach() for name, value in found.items()}


def beyond(ours: Answer, theirs: Answer, truth: Answer) -> dict[str, tuple[float, float]]:
    """The results that are further from the truth than twice torch's own and a few roundings.

    Distances are the largest ones, relative to the largest number.
    """
    assert ours.keys() == theirs.keys() == truth.keys()
    worse = {}
    for name, exact in truth.items():
        one, other = ours[name], theirs[name]
        assert one.shape == other.shape, name
        assert one.dtype == other.dtype, name
        assert name.startswith("gradient") or one.is_contiguous() or not other.is_contiguous(), name
        scale = exact.abs().max().item()
        off, allowed = ((value.double() - exact).abs().max().item() for value in (one, other))
        if not off <= 2 * allowed + 8 * torch.finfo(one.dtype).eps * scale:
            worse[name] = (off, allowed)
    return worse


def pair(layer, dtype, **options):
    """Ours and torch's with the same weights, and torch's in float64 as the truth."""
    torch.manual_seed(0)
    truth = layer.make(nn, **options)
    ours, theirs = (layer.make(library, dtype, **options) for library in (torch_nn, nn))
    for module in (ours, theirs):
        module.load_state_dict(truth.state_dict())
    return ours, theirs, truth.double()
