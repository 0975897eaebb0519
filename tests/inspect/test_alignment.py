"""Which tokens of a source those of a target look at."""

import io
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

from throughtime.errors import InputError
from throughtime.inspect import alignment, draw_alignment
from throughtime.inspect.attention import attention_maps
from throughtime.inspect.drawing import style
from throughtime.inspect.theme import THEMES
from throughtime.layers import CrossAttention, Decoder, GlobalAttention
from throughtime.models import ModelConfig, build_encoder_decoder
from throughtime.models.config import ATTENTIONS

KINDS = [
    {"kind": "gru", "layers": 2},
    {"kind": "lstm", "attention": "multiplicative"},
    {"kind": "transformer", "layers": 2},
    {"kind": "transformer", "layers": 5, "kv_heads": 1, "norm_first": False},
    {"kind": "lstm", "encoder": "transformer"},
]
pairs = pytest.mark.parametrize(
    "options", KINDS, ids=lambda options: "-".join(map(str, options.values()))
)


def model_of(options):
    torch.manual_seed(0)
    sizes = {"tokens": 7, "source_tokens": 9, "width": 16, "heads": 2, "horizon": 20}
    model = build_encoder_decoder(ModelConfig(**{**sizes, **options})).double().eval()
    for weight in model.parameters():  # larger than at first, so that weights are far from even
        torch.nn.init.normal_(weight, std=0.5)
    return model


def ragged():
    """Pairs with padding at both ends and inside, and a source without tokens."""
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [0, 1, 0, 1, 1, 0], [0, 0, 0, 0, 0, 0]]).bool()
    y_mask = torch.tensor([[1, 1, 1, 0, 0], [1, 0, 1, 1, 1], [0, 1, 1, 1, 1]]).bool()
    return torch.randint(9, (3, 6)), torch.randint(7, (3, 5)), mask, y_mask


@pairs
def test_rows_add_up_to_one_over_real_steps(options):
    model, (x, y, mask, y_mask) = model_of(options), ragged()
    found = alignment(model, x, y, mask, y_mask)
    assert found.shape == (3, 5, 6)
    assert not found[~mask.unsqueeze(1).expand_as(found)].any()
    expected = (y_mask & mask.any(1, keepdim=True)).double()
    torch.testing.assert_close(found.sum(-1), expected)
    assert float(found.max()) > 1.5 / 6  # somewhere, something is looked at more than the rest


@pairs
def test_a_pair_in_a_batch_has_the_alignment_that_it_has_alone(options):
    model, (x, y, mask, y_mask) = model_of(options), ragged()
    found = alignment(model, x, y, mask, y_mask)
    for row in range(2):
        alone = alignment(model, x[row, mask[row]][None], y[row, y_mask[row]][None])[0]
        torch.testing.assert_close(found[row, y_mask[row]][:, mask[row]], alone)
    other = torch.where(mask, x, (x + 1) % 9), torch.where(y_mask, y, -1)
    torch.testing.assert_close(alignment(model, *other, mask, y_mask), found)


@pairs
def test_the_model_is_as_it_was(options):
    model, (x, y, mask, y_mask) = model_of(options), ragged()
    expected = model.log_prob(x, y, mask, y_mask)
    alignment(model, x, y, mask, y_mask)
    assert torch.equal(model.log_prob(x, y, mask, y_mask), expected)
    assert not any(part._forward_pre_hooks for part in model.modules())


def test_a_token_only_knows_those_before_it():
    model = model_of(KINDS[0])
    x, y = torch.randint(9, (1, 4)), torch.tensor([[0, 1, 2, 3]])
    other = torch.tensor([[0, 1, 5, 3]])
    one, two = alignment(model, x, y), alignment(model, x, other)
    assert torch.equal(
        one[:, :3], two[:, :3]
    )  # the step that foretells the third is fed the second
    assert not torch.allclose(one[:, 3], two[:, 3])


@pytest.mark.parametrize(("blocks", "counted"), [(1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (5, [3])])
def test_few_blocks_are_averaged_and_of_many_the_last_but_one_counts(blocks, counted):
    model = model_of({"kind": "transformer", "layers": blocks, "position": "sinusoidal"})
    x, y = torch.randint(9, (2, 4)), torch.randint(7, (2, 3))
    # Positions are the first of the decoder's layers, blocks follow.
    names = [f"decoder.body.layers.{block + 1}.cross_attention" for block in counted]
    each = [alignment(model, x, y, layer=name) for name in names]
    torch.testing.assert_close(alignment(model, x, y), torch.stack(each).mean(0))


def test_a_block_is_weighed_by_what_its_queries_and_keys_say():
    model = model_of({"kind": "transformer", "layers": 1, "heads": 1, "position": "none"})
    x, y = torch.randint(9, (1, 4)), torch.randint(7, (1, 3))
    body: Any = model.decoder.body
    block = body.layers[0]
    previous, _ = model.decoder.shift(y)
    read, _, _ = model.decoder.inputs(previous, (), None)
    read = read + block.attention(block.attention_norm(read)[0])[0]
    read = block.cross_attention_norm(read)[0]
    layer, memory = block.cross_attention, model.memory(x)
    q = read @ layer.weight_query.T + layer.bias_query
    k = memory @ layer.weight_memory[:16].T + layer.bias_memory[:16]
    torch.testing.assert_close(
        alignment(model, x, y), (q @ k.transpose(1, 2) / 16**0.5).softmax(-1)
    )


def test_a_decoder_without_attention_is_refused():
    assert "none" in ATTENTIONS
    model = model_of({"kind": "gru", "attention": "none"})
    with pytest.raises(InputError, match="no attention to its source"):
        alignment(model, *ragged()[:2])


def test_a_layer_that_there_is_not_is_refused():
    model = model_of({"kind": "transformer", "layers": 1})
    known = "decoder.body.layers.0.cross_attention"
    with pytest.raises(InputError, match=rf"layer is 'top', expected one of \['{known}'\]"):
        alignment(model, *ragged()[:2], layer="top")


def test_maps_of_an_encoder_decoder_hold_all_its_layers():
    model, (x, y, mask, y_mask) = model_of({"kind": "transformer", "layers": 2}), ragged()
    maps = attention_maps(model, x, y, mask, y_mask)
    shapes = {name: tuple(weights.shape) for name, weights in maps.items()}
    for block in (0, 1):
        assert shapes[f"encoder.layers.{block}.attention"] == (3, 2, 6, 6)
        # After the horizon of the state that the decoder began from.
        assert shapes[f"decoder.body.layers.{block}.attention"] == (3, 2, 5, 5)
        assert shapes[f"decoder.body.layers.{block}.cross_attention"] == (3, 2, 5, 6)
    assert len(shapes) == 6


@pytest.mark.parametrize(
    "layer", [CrossAttention(8, 2, memory_size=6), GlobalAttention(8, 6, score="multiplicative")]
)
def test_maps_are_what_a_layer_weighs_its_memory_with(layer):
    """Also after a reset, and without a memory; whatever stands in padding."""
    layer = layer.double()
    x, memory = torch.randn(2, 5, 8).double(), torch.randn(2, 4, 6).double()
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 0, 1, 1, 1]]).bool()
    reset = torch.tensor([[0, 0, 0, 1, 0], [0, 0, 0, 0, 0]]).bool()
    state = layer.remember(memory)
    expected = attention_maps(layer, x, state, mask)[""]
    poisoned = torch.where(mask.unsqueeze(-1), x, torch.nan)
    found = attention_maps(layer, poisoned, state, mask=mask, reset=reset)[""]
    assert not found[0, :, 3:].any()
    torch.testing.assert_close(found[0, :, :3], expected[0, :, :3])
    torch.testing.assert_close(found[1][:, mask[1]], expected[1][:, mask[1]])
    assert attention_maps(layer, x)[""].shape[2:] == (5, 0)


def test_weights_times_values_is_what_cross_attention_gives():
    layer = CrossAttention(8, 4, memory_size=6, kv_heads=2).double()
    x, memory = torch.randn(2, 5, 8).double(), torch.randn(2, 4, 6).double()
    real = torch.tensor([[1, 0, 1, 1], [0, 0, 0, 0]]).bool()
    state = layer.remember(torch.where(real.unsqueeze(-1), memory, torch.nan), real)
    values = state.values.repeat_interleave(2, dim=1)  # two heads of queries share one of these
    found = (layer.weights(x, state) @ values).transpose(1, 2).flatten(2)
    expected, _ = layer(x, state)
    assert layer.bias_output is not None
    torch.testing.assert_close(found @ layer.weight_output.T + layer.bias_output, expected)
    assert not layer.weights(x, state)[1].any()


def test_maps_of_a_decoder_without_a_memory_are_those_of_itself():
    maps = attention_maps(Decoder(8, 2, 1, horizon=4), torch.randn(1, 3, 8))
    assert [*maps] == ["layers.1.attention"]


@pytest.mark.parametrize("theme", THEMES)
def test_a_picture_has_a_row_for_each_token_of_the_target(theme):
    weights = torch.rand(5, 6)
    ax = draw_alignment(Figure().subplots(), weights, ["$", "a b", "한", "끝"], "ˈtʃə", theme=theme)
    (image,) = ax.get_images()
    assert image.get_array().tolist() == weights[:4, :4].tolist()  # pyright: ignore
    assert [label.get_text() for label in ax.get_xticklabels()] == ["$", "a␣b", "한", "끝"]
    assert [label.get_text() for label in ax.get_yticklabels()] == [*"ˈtʃə"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("source", "target")
    drawn = io.BytesIO()
    figure: Any = ax.get_figure()
    with style():  # no font here may know Korean, which must not be a warning
        figure.savefig(drawn, format="svg")
    assert "한" in drawn.getvalue().decode()


def test_long_names_of_columns_stand_upright():
    weights = torch.rand(4, 20)
    turned = [
        draw_alignment(Figure().subplots(), weights, words, "abcd")
        .get_xticklabels()[0]
        .get_rotation()
        for words in (["a"] * 20, ["bookkeeper"] * 20, ["two"] * 2)
    ]
    assert turned == [0, 90, 0]


def test_more_tokens_than_steps_are_refused():
    with pytest.raises(
        InputError, match=r"weights have shape \[2, 3\], expected at least \[2, 4\]"
    ):
        draw_alignment(Figure().subplots(), torch.rand(2, 3), "abcd", "ab")
