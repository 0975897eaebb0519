"""What attention owes beyond the laws."""

import pytest
import torch

from throughtime import kernels, state
from throughtime.layers import (
    LSTM,
    BlockState,
    CrossAttention,
    Decoder,
    Position,
    SelfAttention,
    Stack,
    TransformerBlock,
    attention,
    scaled_dot_product,
)
from throughtime.layers.line import unremembered
from throughtime.layers.position import POSITIONS, count_steps, rotate, sinusoidal, slopes, turn
from throughtime.testing import check_layer


def double(layer):
    return layer.double().eval()


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("causal", [True, False])
def test_order_is_lost_without_a_position_and_only_then(position, causal):
    """The last step of causal attention, and every step of the other, sees a set."""
    layer = double(SelfAttention(8, 2, horizon=9, position=position, causal=causal))
    x = torch.randn(2, 7, 8, dtype=torch.float64)
    order = torch.tensor([3, 0, 5, 1, 4, 2, 6])  # the last stays
    output, turned = layer(x)[0], layer(x[:, order])[0]
    if not causal:
        output = output[:, order]
    same = torch.allclose(turned[:, -1], output[:, -1], rtol=1e-9, atol=1e-9)
    assert same == (position == "none")


@pytest.mark.parametrize("position", POSITIONS)
def test_padding_on_either_side_or_none_is_the_same(position):
    layer = double(Decoder(8, 2, 2, horizon=4, position=position))
    x = torch.randn(1, 6, 8, dtype=torch.float64)
    junk = torch.full((1, 3, 8), torch.nan, dtype=torch.float64)
    real, padded = torch.ones(1, 6, dtype=torch.bool), torch.zeros(1, 3, dtype=torch.bool)
    alone, after = layer(x)
    right, after_right = layer(torch.cat([x, junk], 1), None, torch.cat([real, padded], 1))
    left, after_left = layer(torch.cat([junk, x], 1), None, torch.cat([padded, real], 1))
    torch.testing.assert_close(right[:, :6], alone, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(left[:, 3:], alone, rtol=1e-9, atol=1e-9)
    for other in (after_right, after_left):
        for one, two in zip(state.tensors(after), state.tensors(other), strict=True):
            torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("position", "steps"),
    [
        *((position, 120) for position in POSITIONS),
        pytest.param("rotary", 10_000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)]),
    ],
)
def test_a_stream_far_beyond_the_horizon_equals_the_whole_run(position, steps):
    """In float32, with memory that stays as it is."""
    layer = Decoder(16, 2, 2, horizon=8, position=position).eval()
    x = torch.randn(1, steps, 16)
    with torch.inference_mode():
        whole, _ = layer(x)
        now = layer.initial_state(1)
        size, worst = state.nbytes(now), 0.0
        for t in range(x.shape[1]):
            step, now = layer(x[:, t : t + 1], now)
            worst = max(worst, float((step[:, 0] - whole[:, t]).abs().max()))
    assert worst < 1e-5
    assert state.nbytes(now) == size


def test_rotation_keeps_its_precision_after_a_hundred_million_steps():
    """Scores depend on the distance alone, wherever in a stream the two steps are."""
    q, k = torch.randn(2, 1, 1, 1, 64)

    def score(at_query, at_key):
        by = [turn(torch.tensor([[place]]), 64, torch.float32) for place in (at_query, at_key)]
        return float(rotate(q, by[0]) @ rotate(k, by[1]).mT)

    assert abs(score(7, 0) - score(10**8 + 7, 10**8)) < 1e-5
    assert abs(score(7, 0) - score(8, 0)) > 1e-3


def test_sinusoidal_positions_are_those_of_the_paper():
    p = sinusoidal(torch.tensor([0, 1, 50]), 6, torch.float64)
    expected = [
        torch.sin(torch.tensor(50.0, dtype=torch.float64)),
        torch.cos(torch.tensor(50.0, dtype=torch.float64)),
        torch.sin(torch.tensor(50 / 10000 ** (2 / 6), dtype=torch.float64)),
        torch.cos(torch.tensor(50 / 10000 ** (2 / 6), dtype=torch.float64)),
    ]
    assert p[0].tolist() == [0, 1, 0, 1, 0, 1]
    torch.testing.assert_close(p[2, :4], torch.stack(expected), rtol=1e-12, atol=1e-12)


def test_slopes_of_eight_heads_are_powers_of_a_half():
    assert slopes(8) == [2.0**-n for n in range(1, 9)]


def test_learned_positions_begin_again_after_the_last():
    layer = Position(4, "learned", length=3)
    output, _ = layer(torch.zeros(1, 7, 4))
    assert torch.equal(output[0, 3:6], output[0, :3])
    assert torch.equal(output[0, 0], layer.weight[0])  # pyright: ignore


def test_steps_are_counted_by_hand():
    mask = torch.tensor([[True, False, True, True, True], [False, False, False, False, False]])
    reset = torch.tensor([[False, False, False, True, False], [False, True, False, False, False]])
    steps = count_steps(torch.empty(2, 5, 1), torch.tensor([10, 20]), mask, reset)
    assert steps.place[0, [0, 2, 3, 4]].tolist() == [10, 11, 0, 1]
    assert steps.after.tolist() == [2, 0]
    assert steps.segment is not None
    assert steps.segment.tolist() == [[0, 0, 0, 1, 1], [0, 1, 1, 1, 1]]


@pytest.mark.parametrize("norm_first", [True, False])
def test_a_decoder_block_is_torchs(norm_first):
    ours = double(TransformerBlock(8, 2, memory_size=8, activation="relu", norm_first=norm_first))
    theirs = torch.nn.TransformerDecoderLayer(
        8, 2, 32, 0.0, batch_first=True, norm_first=norm_first, dtype=torch.float64
    ).eval()
    cross: CrossAttention = ours.cross_attention  # pyright: ignore[reportAssignmentType]
    pairs = {
        "self_attn.in_proj_": ("attention.{}_input", None),
        "self_attn.out_proj.": ("attention.{}_output", None),
        "multihead_attn.out_proj.": ("cross_attention.{}_output", None),
        "linear1.": ("feed_forward.{}_input", None),
        "linear2.": ("feed_forward.{}_output", None),
        "norm1.": ("attention_norm.{}", None),
        "norm2.": ("cross_attention_norm.{}", None),
        "norm3.": ("feed_forward_norm.{}", None),
    }
    weights: dict[str, torch.Tensor] = dict(ours.named_parameters())
    for weight in weights.values():
        weight.data += 0.1 * torch.randn_like(weight)
    loaded = {
        name + part: weights[own.format(part)] for name, (own, _) in pairs.items()
        for part in ("weight", "bias")
    }  # fmt: skip
    loaded["multihead_attn.in_proj_weight"] = torch.cat([cross.weight_query, cross.weight_memory])
    loaded["multihead_attn.in_proj_bias"] = torch.cat([cross.bias_query, cross.bias_memory])  # pyright: ignore
    theirs.load_state_dict(loaded)
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    memory = torch.randn(3, 4, 8, dtype=torch.float64)
    real = torch.tensor([[True] * 4, [True, True, False, False], [True, False, False, False]])
    output, _ = ours(x, ours.remember(memory, real))
    future = torch.nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
    expected = theirs(x, memory, tgt_mask=future, tgt_is_causal=True, memory_key_padding_mask=~real)
    torch.testing.assert_close(output, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("how", ["fused", "reference"])
def test_nothing_to_attend_to_gives_zeros_and_finite_gradients(how):
    layer = CrossAttention(4, 2, bias=False)
    x = torch.randn(2, 3, 4, requires_grad=True)
    memory = torch.full((2, 5, 4), torch.nan)
    memory[0] = torch.randn(5, 4)
    real = torch.tensor([[True] * 5, [False] * 5])
    with kernels.use(how):
        output, _ = layer(x, layer.remember(memory, real))
        output.square().sum().backward()
    assert output[0].abs().sum() > 0
    assert not output[1].any()
    assert x.grad is not None
    for part in (x.grad, *(weight.grad for weight in layer.parameters())):
        assert part.isfinite().all()  # pyright: ignore


def test_a_memory_of_no_steps_gives_zeros():
    layer = CrossAttention(4, 2, bias=False)
    assert not layer(torch.randn(2, 3, 4))[0].any()


def test_the_memory_is_computed_once():
    layer = CrossAttention(4, 2)
    before = layer.remember(torch.randn(2, 3, 4))
    _, after = layer(torch.randn(2, 5, 4), before)
    assert after is before


def test_the_equation():
    q, k, v = torch.randn(3, 2, 4, 5, 8)
    allowed = torch.rand(2, 1, 5, 5) > 0.4
    expected = torch.zeros(2, 4, 5, 8)
    for b in range(2):
        for h in range(4):
            for t in range(5):
                seen = [s for s in range(5) if allowed[b, 0, t, s]]
                if seen:
                    scores = torch.stack([q[b, h, t] @ k[b, h, s] / 8**0.5 for s in seen])
                    shares = scores.softmax(0)
                    expected[b, h, t] = sum(
                        w * v[b, h, s] for w, s in zip(shares, seen, strict=True)
                    )
    torch.testing.assert_close(scaled_dot_product(q, k, v, allowed, None), expected)
    torch.testing.assert_close(kernels.attention(q, k, v, allowed=allowed), expected)


@pytest.mark.parametrize("causal", [True, False])
def test_weights_are_what_values_are_weighed_with(causal):
    layer = double(SelfAttention(6, 3, horizon=3, position="alibi", kv_heads=1, causal=causal))
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    mask = torch.tensor([[True] * 5, [False, True, True, False, True]])
    before = layer(torch.randn_like(x))[1] if causal else None
    weights = layer.weights(x, before, mask)
    assert weights.shape == (2, 3, 5, 8 if causal else 5)
    real = mask[:, None, :, None].expand_as(weights[..., :1])[..., 0]
    torch.testing.assert_close(weights.sum(-1)[real], torch.ones_like(weights.sum(-1)[real]))
    assert not weights[1, :, :, -5:][..., ~mask[1]].any()
    values = torch.nn.functional.linear(x, layer.weight_input, layer.bias_input)[..., -2:]
    values = torch.where(mask[..., None], values, 0)
    if before is not None:
        values = torch.cat([before.values[:, 0], values], dim=1)
    heads = (weights @ values[:, None]).transpose(1, 2).flatten(2)
    expected = torch.nn.functional.linear(heads, layer.weight_output, layer.bias_output)
    output, _ = layer(x, before, mask)
    torch.testing.assert_close(output[mask], expected[mask], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("position", POSITIONS)
def test_long_calls_are_cut_into_stretches_and_nothing_changes(position, monkeypatch):
    layer = double(SelfAttention(4, 2, horizon=3, position=position))
    x = torch.randn(2, 31, 4, dtype=torch.float64, requires_grad=True)
    reset = torch.zeros(2, 31, dtype=torch.bool)
    reset[0, 9] = reset[1, 20] = True
    before = state.detach(layer(torch.randn(2, 5, 4, dtype=torch.float64))[1])
    results = []
    for block in (128, 4):
        monkeypatch.setattr(attention, "BLOCK", block)
        for marks in ((None, None), (None, reset), (before, None), (before, reset)):
            output, after = layer(x, marks[0], None, marks[1])
            (gradient,) = torch.autograd.grad(output.square().sum(), x)
            results.append((output, gradient, *state.tensors(after)))
    for whole, cut in zip(results[:4], results[4:], strict=True):
        for one, two in zip(whole, cut, strict=True):
            torch.testing.assert_close(two, one, rtol=1e-9, atol=1e-9)
    monkeypatch.setattr(attention, "BLOCK", 2)
    check_layer(layer, receptive_field=4, laws=["chunkable", "causal", "resets", "gradients"])


def test_the_memory_of_a_long_call_follows_the_horizon(monkeypatch):
    layer = SelfAttention(4, 1, horizon=64)
    sizes = []

    def watched(q, k, v, **options):
        sizes.append((q.shape[2], k.shape[2]))
        return torch.zeros_like(q)

    monkeypatch.setattr(attention.kernels, "attention", watched)
    layer(torch.randn(1, 1000, 4))
    assert sum(time for time, _ in sizes) == 1000
    assert max(reach for _, reach in sizes) <= 128 + 64


def test_gradients_reach_into_the_past_as_far_as_the_horizon():
    """And stop where the state is detached: windows of a text as in Transformer-XL."""
    layer = double(SelfAttention(4, 2, horizon=3))
    x = torch.randn(1, 4, 4, dtype=torch.float64, requires_grad=True)
    _, before = layer(x)
    output, _ = layer(torch.randn(1, 1, 4, dtype=torch.float64), before)
    (reached,) = torch.autograd.grad(output.sum(), x, retain_graph=True)
    assert reached.abs().sum(-1).gt(0).tolist() == [[False, True, True, True]]
    cut, _ = layer(torch.randn(1, 1, 4, dtype=torch.float64), state.detach(before))
    assert torch.autograd.grad(cut.sum(), x, allow_unused=True)[0] is None


def test_a_deep_decoder_starts_calm():
    shallow, deep = (Decoder(32, 4, layers, horizon=8).eval() for layers in (1, 16))
    x = torch.randn(2, 8, 32)
    sizes = []
    for decoder in (shallow, deep):
        y = x
        for layer in decoder.layers[:-1]:  # without the last norm
            y, _ = layer(y)
        sizes.append(float(y.detach().std()))
    assert sizes[1] < 1.5 * sizes[0]


def test_recurrence_and_attention_carry_one_state():
    stack = double(Stack(LSTM(3, 8), TransformerBlock(8, 2, horizon=4), LSTM(8, 3)))
    x = torch.randn(2, 9, 3, dtype=torch.float64)
    whole, after = stack(x)
    first, between = stack(x[:, :4])
    rest, now = stack(x[:, 4:], between)
    torch.testing.assert_close(torch.cat([first, rest], 1), whole, rtol=1e-9, atol=1e-9)
    assert state.structure(now) == state.structure(after)


def test_the_state_may_be_left_out():
    layer = SelfAttention(8, 2, horizon=4)
    x, mask = torch.randn(2, 7, 8), torch.rand(2, 7) > 0.3
    expected, before = layer(x, mask=mask)
    with unremembered():
        output, nothing = layer(x, mask=mask)
    assert torch.equal(output, expected)
    assert nothing == ()
    again, after = layer(x, mask=mask)
    assert torch.equal(after.keys, before.keys)
    assert torch.equal(again, expected)


def test_a_memory_without_a_past_is_one_with_an_empty_past():
    decoder = Decoder(8, 2, 2, horizon=5, memory_size=6, position="rotary")
    memory, mask = torch.randn(3, 4, 6), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]])
    begin = decoder.remember(memory, mask.bool())
    empty = tuple(
        BlockState(block.attention.initial_state(3), one.memory)
        if isinstance(block, TransformerBlock) and isinstance(one, BlockState)
        else one
        for block, one in zip(decoder.layers, begin, strict=True)
    )
    x, real = torch.randn(3, 9, 8), torch.rand(3, 9) > 0.3
    for marks in (None, real):
        output, after = decoder(x, begin, marks)
        expected, rest = decoder(x, empty, marks)
        assert torch.allclose(output, expected, atol=1e-6)
        for one, other in zip(state.tensors(after), state.tensors(rest), strict=True):
            assert torch.allclose(one, other, atol=1e-6)
