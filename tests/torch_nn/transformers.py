"""Transformers of torch.nn and ours with the same numbers, and how far apart they are."""

import itertools
from typing import Any

import torch
from torch import nn

from tests.torch_nn.configurations import numbers

SIZE, HEADS, INNER, BATCH, TIME, KEYS = 8, 2, 12, 3, 5, 4
KINDS = ("EncoderLayer", "DecoderLayer", "Encoder", "Decoder", "Transformer")
OPTIONS = {
    "after": {},
    "first": {"norm_first": True, "activation": "gelu"},
    "bare": {"bias": False, "layer_norm_eps": 1e-3},
    "function": {"activation": torch.tanh, "norm_first": True},
}
LAYOUTS = ("time first", "batch first", "unbatched")
MASKS = (
    "none", "causal", "causal added", "causal hint", "each head", "padding", "added padding",
    "causal and padding", "added and padding",
)  # fmt: skip
DTYPES = (torch.float32, torch.float64)
ANSWERS = [*itertools.product(OPTIONS, DTYPES)]


def uses(kind):
    """Each layout with each mask; options and type in turn."""
    for n, (layout, mask) in enumerate(itertools.product(LAYOUTS, MASKS)):
        yield layout, mask, *ANSWERS[(n + 3 * KINDS.index(kind)) % len(ANSWERS)]


def make(library, kind, option, layout, dtype=torch.float32, dropout=0.0) -> Any:
    """A module with numbers in every parameter."""
    options = {**OPTIONS[option], "dtype": dtype, "batch_first": layout == "batch first"}
    if kind == "Transformer":
        module = library.Transformer(SIZE, HEADS, 2, 2, INNER, dropout, **options)
    else:
        part = "Encoder" if "Encoder" in kind else "Decoder"
        module = getattr(library, f"Transformer{part}Layer")(SIZE, HEADS, INNER, dropout, **options)
        if kind == part:
            norm = nn.LayerNorm(SIZE, dtype=dtype)
            module = getattr(library, f"Transformer{part}")(module, 2, norm)
    with torch.no_grad():
        for n, parameter in enumerate(module.parameters()):
            parameter.copy_(numbers(n, *parameter.shape) / SIZE**0.5)
    return module


def hides(layout, time, lengths):
    """True in padding."""
    hidden = torch.arange(time) >= torch.tensor(lengths)[:, None]
    return hidden[1] if layout == "unbatched" else hidden


def masks(kind, mask, layout, dtype) -> Any:
    """Keyword arguments, and where steps of the output are real."""
    decodes = kind in ("DecoderLayer", "Decoder", "Transformer")
    name = "tgt" if decodes else "src"
    form = "mask" if kind == "Encoder" else f"{name}_mask"
    hint = f"{name}_is_causal" if decodes else "is_causal"
    rows = 1 if layout == "unbatched" else BATCH
    causal = torch.ones(TIME, TIME).triu(1).bool()
    added = numbers(41, TIME, TIME).to(dtype).masked_fill(causal, -torch.inf)
    found, real = {}, None
    if mask == "causal" or mask == "causal and padding":
        found[form] = causal
    if mask in ("causal added", "causal hint"):
        found[form] = torch.zeros(TIME, TIME, dtype=dtype).masked_fill(causal, -torch.inf)
    if mask == "causal hint":
        found[hint] = True
    if mask == "each head":
        found[form] = (numbers(42, rows * HEADS, TIME, TIME) > 0) & ~torch.eye(TIME).bool()
        if decodes and kind != "Transformer":
            found["memory_mask"] = numbers(43, rows * HEADS, TIME, KEYS).to(dtype)
    if mask == "added and padding":
        found[form] = added
    if "padding" in mask:
        hidden = hides(layout, TIME, [5, 3, 1])
        memory = hides(layout, KEYS, [2, 3, 4])
        real = ~hidden
        if "added" in mask:
            low = 0.1 if mask == "added padding" else 0
            hidden = torch.full(hidden.shape, low, dtype=dtype).masked_fill(hidden, -torch.inf)
            memory = torch.zeros(memory.shape, dtype=dtype).masked_fill(memory, -torch.inf)
        found[f"{name}_key_padding_mask"] = hidden
        if decodes:
            found["memory_key_padding_mask"] = memory
        if kind == "Transformer":
            found["src_key_padding_mask"] = memory
    return found, real


def inputs(kind, layout, dtype):
    """What goes in, as leaves."""
    decodes = kind in ("DecoderLayer", "Decoder", "Transformer")
    times = {"tgt": TIME, "memory": KEYS} if decodes else {"src": TIME}
    found = {}
    for n, (name, time) in enumerate(times.items()):
        shape = {"time first": (time, BATCH), "batch first": (BATCH, time), "unbatched": (time,)}
        found[name] = numbers(50 + n, *shape[layout], SIZE).to(dtype).requires_grad_()
    if kind == "Transformer":
        return {"src": found["memory"], "tgt": found["tgt"]}
    return found


def kept(output, real, layout):
    """The output with zeros in padded steps."""
    if real is None:
        return output
    return torch.where((real.T if layout == "time first" else real).unsqueeze(-1), output, 0)


def answer(module, kind, layout, mask):
    """The real steps of the output, and all gradients of a number from these."""
    dtype = next(module.parameters()).dtype
    given = inputs(kind, layout, dtype)
    options, real = masks(kind, mask, layout, dtype)
    output = kept(module(*given.values(), **options), real, layout)
    leaves = {**given, **dict(module.named_parameters())}
    weighed = (output * numbers(9, *output.shape).to(dtype)).sum()
    gradients = torch.autograd.grad(weighed, [*leaves.values()])
    found = {"output": output.detach()}
    return found | {f"gradient of {n}": g for n, g in zip(leaves, gradients, strict=True)}


def beyond(found, theirs, truth):
    """What is further from the truth than twice torch's own error and a few roundings.

    torch's error is that in float32, of which float64 has its share. Roundings of the largest
    gradient of all: some are small differences of large numbers.
    """
    worse = {}
    largest = max(value.abs().max().item() for value in truth.values())
    assert found.keys() == theirs.keys() == truth.keys()
    for name, exact in truth.items():
        eps = torch.finfo(found[name].dtype).eps
        off, allowed = ((x[name].double() - exact).abs().max().item() for x in (found, theirs))
        allowed *= eps / torch.finfo(torch.float32).eps
        if not off <= 2 * allowed + 16 * eps * largest:
            worse[name] = (off, allowed)
    return worse
