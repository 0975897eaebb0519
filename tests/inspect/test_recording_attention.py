"""Maps of attention seen and replaced, against their definition."""

import pytest
import torch
from torch.nn.functional import linear

from tests.inspect.watching import MASK, RESET, close
from throughtime.inspect import intervene, record, tap_names
from throughtime.layers import (
    CrossAttention,
    GlobalAttention,
    SelfAttention,
    TransformerBlock,
)

pytestmark = pytest.mark.usefixtures("double")


def shares(layer, x, mask=None):
    """The weights of causal or full self-attention without positions, by their definition."""
    q, k, _ = (
        part.unflatten(-1, (-1, layer.head_size)).transpose(1, 2)
        for part in linear(x, layer.weight_input, layer.bias_input).split(layer.blocks, dim=-1)
    )
    k = k.repeat_interleave(layer.heads // layer.kv_heads, dim=1)
    scores = q @ k.transpose(-1, -2) / layer.head_size**0.5
    steps = torch.arange(x.shape[1])
    ago = steps.unsqueeze(1) - steps
    allowed = torch.ones_like(ago, dtype=torch.bool)
    if layer.causal:
        allowed = (ago >= 0) & (ago <= layer.horizon)
    if mask is not None:
        allowed = allowed & mask[:, None, None]
    scores = scores.masked_fill(~allowed, -torch.inf)
    return scores, scores.softmax(-1).nan_to_num(0)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("kv_heads", [2, 1])
@pytest.mark.parametrize("detach", [True, False])
def test_maps_are_those_of_the_definition(causal, kv_heads, detach, implementation):
    layer = SelfAttention(8, 2, horizon=9, causal=causal, kv_heads=kv_heads)
    x = torch.randn(2, 6, 8)
    for mask in (None, MASK):
        with record(layer, detach=detach) as trace:
            output, _ = layer(x, None, mask)
        real = torch.ones_like(MASK) if mask is None else mask
        rows = real[:, None, :, None]
        # Positions count real steps: with padding inside a row a horizon above its length is plain.
        scores, weights = shares(layer, x, mask)
        if not (causal and mask is not None):
            close(trace["scores"], torch.where(rows, scores, 0))
            close(trace["attention"], torch.where(rows, weights, 0))
        close(trace["attention"].sum(-1, keepdim=True), rows.expand(-1, 2, -1, 1).double())
        values = trace["values"].repeat_interleave(2 // kv_heads, dim=1)
        close(trace["heads"], trace["attention"] @ values)
        found = trace["heads"].transpose(1, 2).flatten(2)
        mixed = linear(found, layer.weight_output, layer.bias_output)
        close(trace["output"], torch.where(real.unsqueeze(-1), mixed, 0))
        close(trace["output"], output)
        assert list(trace) == list(tap_names(layer))


@pytest.mark.parametrize("position", ["none", "rotary", "alibi", "learned"])
def test_maps_go_on_from_a_state(position):
    """Steps of a call see those of the state, whose maps stand before them."""
    layer = SelfAttention(8, 2, horizon=4, position=position)
    x = torch.randn(1, 7, 8)
    with record(layer, "attention") as whole:
        layer(x)
    _, state = layer(x[:, :5])
    with record(layer, "attention") as rest:
        layer(x[:, 5:], state)
    assert rest["attention"].shape == (1, 2, 2, 6)  # the horizon, and two steps
    close(rest["attention"], whole["attention"][:, :, 5:, 1:])


def test_long_calls_are_seen_whole():
    """Longer than what is attended to at a time."""
    layer = SelfAttention(4, 1, horizon=3)
    x = torch.randn(1, 300, 4)
    with record(layer) as trace:
        output, _ = layer(x)
    close(trace["attention"][0, 0], shares(layer, x)[1][0, 0])
    close(trace["heads"], trace["attention"] @ trace["values"])
    close(trace["output"], output)


@pytest.mark.parametrize("norm_first", [True, False])
def test_silencing_a_head_is_leaving_out_its_columns(norm_first):
    block = TransformerBlock(8, 2, horizon=8, norm_first=norm_first).eval()
    x = torch.randn(2, 6, 8)

    def silence(heads):
        return heads.index_fill(1, torch.tensor([1]), 0.0)

    with record(block) as trace, intervene(block, {"attention.heads": silence}):
        output, _ = block(x, None, MASK)
    by_hand = TransformerBlock(8, 2, horizon=8, norm_first=norm_first).eval()
    by_hand.load_state_dict(block.state_dict())
    with torch.no_grad():
        by_hand.attention.weight_output[:, 4:] = 0
    close(output, by_hand(x, None, MASK)[0])
    assert (trace["attention.heads"][:, 1] == 0).all()
    close(trace["residual"], output.detach())


def test_attention_that_is_replaced_weighs_the_values():
    layer = SelfAttention(8, 2, horizon=8)
    x = torch.randn(2, 6, 8)

    def look_at_itself(value):
        return torch.eye(6).expand_as(value)

    with record(layer) as trace, intervene(layer, {"attention": look_at_itself}):
        output, _ = layer(x, None, MASK)
    close(trace["heads"], trace["values"])  # zeros in padded steps, both
    real = MASK.unsqueeze(-1)
    values = trace["values"].transpose(1, 2).flatten(2)
    mixed = linear(values, layer.weight_output, layer.bias_output)
    close(output, torch.where(real, mixed, 0))


def test_scores_that_are_replaced_cannot_see_what_is_hidden():
    layer = SelfAttention(8, 2, horizon=8)
    with record(layer) as trace, intervene(layer, {"scores": torch.zeros_like}):
        layer(torch.randn(1, 4, 8))
    even = torch.ones(4, 4).tril() / torch.arange(1.0, 5).unsqueeze(1)
    close(trace["attention"], even.expand(1, 2, 4, 4))


def test_keys_that_are_replaced_are_remembered():
    layer = SelfAttention(8, 2, horizon=3)
    with intervene(layer, {"keys": torch.ones_like}):
        _, state = layer(torch.randn(1, 4, 8))
    assert (state.keys == 1).all()


def test_with_history_there_is_a_gradient_in_attention():
    layer, x = SelfAttention(8, 2, horizon=8), torch.randn(1, 4, 8)
    with record(layer, "attention", "values", detach=False) as trace:
        output, _ = layer(x)
    weight = torch.randn(1, 4, 8)
    (found,) = torch.autograd.grad((output * weight).sum(), trace["attention"], retain_graph=True)
    in_heads = (weight @ layer.weight_output).unflatten(-1, (2, 4)).transpose(1, 2)
    close(found, in_heads @ trace["values"].transpose(-1, -2))
    assert torch.autograd.grad(trace["attention"].square().sum(), layer.weight_input)[0].any()


def test_cross_attention():
    layer, x, memory = (
        CrossAttention(8, 2, memory_size=5),
        torch.randn(2, 6, 8),
        torch.randn(2, 3, 5),
    )
    real = torch.tensor([[True, True, False], [True, True, True]])
    state = layer.remember(memory, real)
    with record(layer) as trace:
        output, _ = layer(x, state, MASK)
    assert list(trace) == list(tap_names(layer))
    close(trace["keys"], state.keys)
    close(trace["attention"], layer.weights(x, state, MASK) * MASK[:, None, :, None])
    close(trace["heads"], trace["attention"] @ trace["values"])
    close(trace["output"], output)
    assert (trace["attention"][0, ..., 2] == 0).all()


def test_an_empty_memory_is_seen_too():
    layer = CrossAttention(8, 2)
    with record(layer) as trace:
        layer(torch.randn(2, 6, 8))
    assert trace["attention"].shape == (2, 2, 6, 0)
    assert (trace["heads"] == 0).all()


@pytest.mark.parametrize("score", ["additive", "multiplicative"])
def test_global_attention(score):
    layer, x, memory = (
        GlobalAttention(4, 3, score=score),
        torch.randn(2, 6, 4),
        torch.randn(2, 5, 3),
    )
    state = layer.remember(memory)
    with record(layer) as trace:
        output, _ = layer(x, state)
    close(trace["attention"].squeeze(1), layer.weights(x, state))
    close(trace["scores"].softmax(-1), trace["attention"])
    close(trace["output"], output)
    with intervene(layer, {"attention": lambda v: torch.full_like(v, 1 / 5)}):
        evenly, _ = layer(x, state)
    found = memory.mean(1, keepdim=True).expand(-1, 6, -1)
    mixed = linear(torch.cat([found, x], -1), layer.weight_output, layer.bias).tanh()
    close(evenly, mixed)


@pytest.mark.parametrize("make", [CrossAttention, GlobalAttention])
def test_from_a_reset_on_nothing_of_a_memory_is_seen(make):
    layer = make(4, 1) if make is CrossAttention else make(4)
    x, state = torch.randn(2, 6, 4), layer.remember(torch.randn(2, 3, 4))
    with record(layer) as trace:
        output, _ = layer(x, state, None, RESET)
    begun = RESET.cumsum(1) > 0
    seen = trace["attention"][:, 0].sum(-1)
    close(seen, (~begun).double())
    assert len(trace.calls("attention")) == 1
    close(trace["output"], output)


@pytest.mark.parametrize(
    ("make", "name"), [(CrossAttention, "heads"), (CrossAttention, "attention"),
                       (GlobalAttention, "attention")]
)  # fmt: skip
def test_what_is_replaced_after_a_reset_counts_there_too(make, name):
    layer = make(4, 1) if make is CrossAttention else make(4)
    x, state = torch.randn(2, 6, 4), layer.remember(torch.randn(2, 3, 4))
    plain, _ = layer(x, state, None, RESET)
    with intervene(layer, {name: lambda value: value + 0.5}):
        output, _ = layer(x, state, None, RESET)
    assert ((output - plain).abs().amax(-1) > 1e-6).all()


@pytest.mark.parametrize("make", [CrossAttention, GlobalAttention])
def test_with_history_there_is_a_gradient_after_a_reset(make):
    layer = make(4, 1) if make is CrossAttention else make(4)
    x, state = torch.randn(2, 6, 4), layer.remember(torch.randn(2, 3, 4))
    with record(layer, "attention", detach=False) as trace:
        output, _ = layer(x, state, None, RESET)
    (gradient,) = torch.autograd.grad(output.sum(), [trace["attention"]])
    assert (gradient[:, 0].abs().sum(-1) > 0).all()
