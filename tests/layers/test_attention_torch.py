"""Attention among torch's own tools, and what it says to mistakes."""

import copy
import subprocess
import sys

import pytest
import torch
from torch.func import grad, vmap
from torch.utils.checkpoint import checkpoint

from tests.layers.test_attention import double
from throughtime import kernels, state
from throughtime.errors import InputError
from throughtime.kernels.attention import fused
from throughtime.layers import (
    CrossAttention,
    Decoder,
    Encoder,
    FeedForward,
    Linear,
    PatchEmbedding,
    Position,
    SelfAttention,
    Stack,
    TransformerBlock,
)


def test_gradients_of_single_rows():
    """vmap over grad, which torch's fused attention cannot do."""
    layer = double(TransformerBlock(4, 2, horizon=3, position="rotary"))
    weights = {name: weight.detach() for name, weight in layer.named_parameters()}

    def loss(weights, row):
        output, _ = torch.func.functional_call(layer, weights, (row.unsqueeze(0),))
        return output.square().sum()

    x = torch.randn(3, 5, 4, dtype=torch.float64)
    found = vmap(grad(loss), in_dims=(None, 0))(weights, x)
    for row in range(3):
        alone = grad(loss)(weights, x[row])
        for name, value in alone.items():
            torch.testing.assert_close(found[name][row], value, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("precision", [torch.bfloat16])
def test_autocast_keeps_the_type_of_the_state(precision):
    layer = Decoder(16, 2, 2, horizon=8, position="rotary")
    x = torch.randn(2, 5, 16)
    exact, _ = layer(x)
    with torch.autocast("cpu", precision):
        output, after = layer(x)
        again, _ = layer(x, after)
    assert {part.dtype for part in state.tensors(after)} == {torch.float32, torch.bool, torch.long}
    torch.testing.assert_close(output.float(), exact, rtol=0.1, atol=0.1)
    assert again.isfinite().all()


def test_autocast_may_narrow_what_comes_in():
    """As a linear layer below does."""
    layer = Stack(Linear(3, 4), SelfAttention(4, 2, horizon=4))
    x = torch.randn(1, 3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        _, after = layer(x)
        layer(x, after)
    assert after[1].keys.dtype == torch.float32


def test_second_derivatives_where_the_memory_needs_none():
    layer = double(CrossAttention(4, 2))
    memory = state.detach(layer.remember(torch.randn(1, 3, 4, dtype=torch.float64)))
    x = torch.randn(1, 2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: layer(x, memory)[0], x)


def test_a_checkpoint_runs_each_layer_once_more(monkeypatch):
    calls = []
    plain_sdpa = fused._sdpa

    def counted(*arguments):
        calls.append(1)
        return plain_sdpa(*arguments)

    monkeypatch.setattr(fused, "_sdpa", counted)
    layer = Decoder(8, 2, 3, horizon=9)
    x = torch.randn(1, 5, 8, requires_grad=True)
    checkpoint(lambda x: layer(x)[0], x, use_reentrant=False).sum().backward()  # pyright: ignore
    assert len(calls) == 6


def test_exported_with_a_free_time_axis():
    done = subprocess.run([sys.executable, "-c", EXPORT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


EXPORT = """
import torch, warnings
from itertools import product
warnings.simplefilter("ignore")
from throughtime.layers import Decoder, SelfAttention

layers = [SelfAttention(8, 2, horizon=6, position=position)
          for position in ("none", "rotary", "alibi", "learned")] + [Decoder(8, 2, 2, horizon=6)]
for layer, begins in product(layers, (True, False)):
    before = None if begins else layer(torch.randn(2, 4, 8))[1]
    time = {1: torch.export.Dim("time", max=1000)}
    given = (torch.randn(2, 5, 8),) if begins else (torch.randn(2, 5, 8), before)
    shapes = (time,) if begins else (time, torch.utils._pytree.tree_map(lambda part: None, before))
    exported = torch.export.export(layer, given, dynamic_shapes=shapes).module()
    for steps in (2, 7, 30):
        x = torch.randn(2, steps, 8)
        output = exported(x) if begins else exported(x, before)
        torch.testing.assert_close(output[0], layer(x, before)[0])
"""
"""In a process of its own: the shape checks of the tests cannot be traced."""


def test_pruning_and_other_hooks_work_in_every_part_of_a_block():
    block = TransformerBlock(8, 2, memory_size=8, dropout=0.1)
    called = []
    for name, part in block.named_children():
        part.register_forward_pre_hook(lambda *_, name=name: called.append(name))
    block(torch.randn(1, 3, 8), block.remember(torch.randn(1, 2, 8)))
    assert set(called) == {name for name, _ in block.named_children()}


def test_a_layer_made_without_memory_is_filled_later():
    with torch.device("meta"):
        layer = SelfAttention(8, 2, position="alibi")
    layer = layer.to_empty(device="cpu")
    layer.reset_parameters()
    other = SelfAttention(8, 2, position="alibi")
    other.load_state_dict(layer.state_dict())
    x = torch.randn(1, 5, 8)
    assert torch.equal(layer(x)[0], other(x)[0])


def test_copies_share_nothing():
    layer = Encoder(8, 2, 1)
    other = copy.deepcopy(layer)
    with torch.no_grad():
        other.layers[1].attention.weight_output.zero_()  # pyright: ignore
    assert layer.layers[1].attention.weight_output.any()  # pyright: ignore


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: SelfAttention(6, 4), "SelfAttention: size is 6, expected a multiple of heads, 4"),
        (
            lambda: SelfAttention(8, 4, kv_heads=3),
            "SelfAttention: heads is 4, expected a multiple of kv_heads, 3",
        ),
        (
            lambda: SelfAttention(6, 2, position="rotary"),
            "SelfAttention: size per head is 3, expected an even number for rotary",
        ),
        (
            lambda: SelfAttention(8, 2, position="absolute"),
            "SelfAttention: position is 'absolute', expected one of "
            "['none', 'sinusoidal', 'learned', 'rotary', 'alibi']",
        ),
        (
            lambda: SelfAttention(8, 2, horizon=0),
            "SelfAttention: horizon is 0, expected a whole number of at least 1",
        ),
        (lambda: Position(5), "Position: size is 5, expected an even number for sinusoidal"),
        (
            lambda: FeedForward(4, activation="tanh"),
            "FeedForward: activation is 'tanh', expected one of "
            "['gelu', 'gelu_tanh', 'relu', 'silu', 'swiglu']",
        ),
        (
            lambda: Decoder(8, 2, 1).remember(torch.zeros(1, 2, 8)),
            "Decoder: has no cross-attention, for it was made without memory_size",
        ),
        (
            lambda: CrossAttention(8, 2, memory_size=3).remember(torch.zeros(1, 2, 8)),
            "CrossAttention: memory has shape [1, 2, 8], expected [batch, steps, 3]",
        ),
        (
            lambda: Encoder(8, 2, 1)(torch.zeros(1, 2, 8), (torch.zeros(1),)),
            "Encoder: got a state, but this layer sees the whole input at once (its outputs depend "
            "on later steps), so it cannot go on from one",
        ),
        (
            lambda: TransformerBlock(8, 2, memory_size=8, causal=False),
            "TransformerBlock: a memory is for causal blocks, whose state it is part of",
        ),
        (
            lambda: TransformerBlock(8, 2)(
                torch.zeros(1, 2, 8),
                TransformerBlock(8, 2, memory_size=8).remember(torch.zeros(1, 1, 8)),
            ),
            "TransformerBlock: state is BlockState(",
        ),
        (lambda: Encoder(8, 2, 1, causal=True), "Encoder: got causal, expected Decoder for"),
        (lambda: Decoder(8, 2, 1, causal=False), "Decoder: got causal, expected Encoder for"),
        (lambda: Decoder(8, 2, 1, horizon=0), "Decoder: horizon is 0, expected a whole number"),
        (
            lambda: CrossAttention(8, 2).remember(torch.zeros(1, 2, 8).double()),
            "CrossAttention: x is torch.float64, the layer is torch.float32",
        ),
        (
            lambda: CrossAttention(8, 2)(
                torch.zeros(1, 2, 8),
                CrossAttention(8, 2).initial_state(1)._replace(real=torch.zeros(1, 0)),
            ),
            "CrossAttention: state is MemoryState(",
        ),
        (
            lambda: kernels.attention(*torch.zeros(3, 1, 1, 2, 4), bias=torch.zeros(1, 1, 2, 2),
                                      causal=True),
            "attention: got causal and allowed or bias, expected one or the other",
        ),
        (lambda: Decoder(8, 2, 0), "Decoder: layers is 0, expected a whole number of at least 1"),
        (
            lambda: PatchEmbedding(0, 1, 8),
            "PatchEmbedding: patch is 0, expected a whole number of at least 1",
        ),
        (
            lambda: SelfAttention(4, 2, horizon=3)(
                torch.zeros(1, 2, 4), SelfAttention(4, 2, horizon=2).initial_state(1)
            ),
            "SelfAttention: state is SelfAttentionState(keys=float32[1, 2, 2, 2], "
            "values=float32[1, 2, 2, 2], real=bool[1, 2], seen=int64[1]), "
            "expected SelfAttentionState(keys=float32[1, 2, 3, 2], "
            "values=float32[1, 2, 3, 2], real=bool[1, 3], seen=int64[1])",
        ),
    ],
)  # fmt: skip
def test_mistakes_are_named_in_one_line(make, says):
    with pytest.raises(InputError) as error:
        make()
    assert str(error.value).startswith(says)
    assert "\n" not in str(error.value)
