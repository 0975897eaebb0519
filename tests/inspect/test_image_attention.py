"""Where in an image a classifier looked."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from throughtime.data.images import load_digits
from throughtime.errors import InputError
from throughtime.inspect.attention import attention_layers, attention_rollout, watched
from throughtime.inspect.attention_measures import attention_distance
from throughtime.inspect.image_attention import (
    draw_image_attention,
    image_attention,
    patch_attention,
    patch_places,
)
from throughtime.inspect.theme import THEMES
from throughtime.layers import GRU, Bidirectional, Decoder, Encoder, ImagePatches, TransformerBlock
from throughtime.models import Classifier, VisionTransformer
from throughtime.models.image_inputs import ImageInputs
from throughtime.models.inputs import TokenInputs

POOLINGS = ("token", "mean", "max", "attention", "last", "none")


def by_hand(pooling, *, target=2, layers=2) -> Any:
    """Four patches, known by where they lie alone; every step looks at patch `target` alone.

    Blocks add nothing to the stream, so that each layer's map is the same.
    """
    model: Any = VisionTransformer((4, 4), 2, 8, 1, layers, classes=3, pooling=pooling).double()
    with torch.no_grad():
        patches = model.inputs.patches
        patches.weight.zero_()
        places = torch.eye(8)[[0, 5, 6, 7]].double()
        places[0, :5] = 1  # the first patch has the largest value of five features
        patches.position_weight.copy_(places.view(2, 2, 8))
        if model.token is not None:
            model.token.zero_()
        for block in model.body.modules():
            if isinstance(block, TransformerBlock):
                attention: Any = block.attention
                attention.weight_input.zero_()
                attention.weight_input[8:16] = torch.eye(8)  # keys are what stands there
                attention.bias_input.zero_()
                feature = [0, 5, 6, 7][target]
                attention.bias_input[:8] = 1000 * torch.eye(8)[feature]  # each asks for the same
                attention.weight_output.zero_()
                block.feed_forward.weight_output.zero_()
    return model


def expected_from(takes, *, target=2, layers=2):
    """Of each step half stays in each layer, and half comes from the target."""
    stays = 0.5**layers
    shares = stays * torch.tensor(takes).double()
    shares[target] += 1 - stays
    return (shares / shares.sum()).view(1, 2, 2)


X = torch.zeros(1, 1, 4, 4)


def test_the_token_gets_all_from_the_patch_that_it_looks_at():
    found = patch_attention(by_hand("token"), X)
    torch.testing.assert_close(found, torch.tensor([[[0.0, 0], [1, 0]]]).double())


@pytest.mark.parametrize("layers", [1, 3])
def test_the_mean_takes_of_all_patches_alike(layers):
    found = patch_attention(by_hand("mean", layers=layers), X)
    torch.testing.assert_close(found, expected_from([0.25] * 4, layers=layers))


def test_the_maximum_takes_where_the_largest_values_stand():
    found = patch_attention(by_hand("max"), X)
    torch.testing.assert_close(found, expected_from([5 / 8, 1 / 8, 1 / 8, 1 / 8]))


def test_the_last_step_takes_of_the_last_patch():
    torch.testing.assert_close(patch_attention(by_hand("last"), X), expected_from([0.0, 0, 0, 1]))


def test_attention_takes_by_its_own_shares():
    model = by_hand("attention", target=3)
    with torch.no_grad():
        model.pooling.weight.copy_(100 * torch.eye(8))
        model.pooling.query.copy_(50 * torch.eye(8)[5])  # the feature of patch 1
    found = patch_attention(model, X)
    torch.testing.assert_close(found, expected_from([0.0, 1, 0, 0], target=3))
    with torch.no_grad():
        model.pooling.query.zero_()  # the plain mean
    found = patch_attention(model, X)
    torch.testing.assert_close(found, expected_from([0.25] * 4, target=3))


def test_ends_take_half_of_the_last_patch_and_half_of_the_first():
    patches = ImagePatches((4, 4), 2, 8, position="learned")
    model = Classifier(ImageInputs(patches), Encoder(8, 1, 1), 3, pooling="ends")
    maps = watched(attention_layers(model), lambda: model.answer(X))
    rollout = attention_rollout(maps)
    expected = (rollout[:, 0] + rollout[:, -1]) / 2
    torch.testing.assert_close(patch_attention(model, X), expected.view(1, 2, 2))


def test_a_residual_of_nothing_and_another_fusion_reach_the_rollout():
    x = torch.rand(2, 1, 8, 8)
    model = VisionTransformer((8, 8), 2, 8, 2, 2, 3, pooling="mean")
    maps = watched(attention_layers(model), lambda: model.answer(x))
    expected = attention_rollout(maps, head_fusion="max", residual=0.0).mean(1)
    found = patch_attention(model, x, head_fusion="max", residual=0.0)
    torch.testing.assert_close(found, expected.view(2, 4, 4))


def test_even_attention_sees_an_even_image():
    model = VisionTransformer((6, 4), 2, 8, 2, 2, 3, channels=3)
    with torch.no_grad():
        for layer in attention_layers(model).values():
            part: Any = layer
            part.weight_input.zero_()
    seen = image_attention(model, torch.rand(2, 3, 6, 4))
    torch.testing.assert_close(seen, torch.ones(2, 6, 4))


@pytest.mark.parametrize("pooling", POOLINGS[:-1])
def test_shares_add_up_to_one_and_pixels_to_an_even_mean(pooling):
    model = VisionTransformer((8, 8), (2, 4), 8, 2, 2, 3, pooling=pooling)
    x = torch.rand(3, 1, 8, 8)
    shares = patch_attention(model, x)
    assert shares.shape == (3, 4, 2)
    assert (shares > 0).all()
    torch.testing.assert_close(shares.sum((1, 2)), torch.ones(3))
    seen = image_attention(model, x)
    assert seen.shape == (3, 8, 8)
    torch.testing.assert_close(seen.mean((1, 2)), torch.ones(3))


def test_a_patch_of_one_pixel_is_as_it_is_and_others_are_interpolated():
    model = VisionTransformer((3, 3), 1, 8, 1, 1, 3)
    x = torch.rand(2, 1, 3, 3)
    torch.testing.assert_close(image_attention(model, x), 9 * patch_attention(model, x))
    seen = image_attention(by_hand("token"), X)[0]
    assert float(seen[3, 0]) == pytest.approx(4)  # its corner: all of four patches' shares
    assert float(seen[3, 1]) == pytest.approx(3)  # a quarter of the way to the next patch
    assert float(seen[0, 3]) == 0


def test_images_of_another_size_and_none_at_all():
    model = VisionTransformer((8, 8), 4, 8, 2, 1, 3)
    assert image_attention(model, torch.rand(1, 1, 12, 8)).shape == (1, 12, 8)
    assert patch_attention(model, torch.rand(1, 1, 12, 8)).shape == (1, 3, 2)
    assert image_attention(model, torch.rand(0, 1, 8, 8)).shape == (0, 8, 8)


def test_the_model_is_as_it_was_and_dropout_is_off():
    model = VisionTransformer((8, 8), 4, 8, 2, 1, 3, dropout=0.5).train()
    x = torch.rand(1, 1, 8, 8)
    state = torch.get_rng_state()
    assert torch.equal(image_attention(model, x), image_attention(model, x))
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert not model.body._forward_hooks
    with pytest.raises(InputError):
        image_attention(model, torch.rand(1, 2, 8, 8))
    assert not model.body._forward_hooks
    assert not image_attention(model, x).requires_grad


def test_a_causal_body_looks_back_only():
    patches = ImagePatches((4, 4), 2, 8)
    model = Classifier(ImageInputs(patches), Decoder(8, 2, 2), 3, pooling="max").eval()
    found = patch_attention(model, torch.rand(2, 1, 4, 4))
    torch.testing.assert_close(found.sum((1, 2)), torch.ones(2))
    last = Classifier(ImageInputs(patches), Decoder(8, 2, 2, horizon=1), 3, pooling="last")
    assert patch_attention(last, torch.rand(1, 1, 4, 4))[0, 0, 0] == 0  # two layers reach 2 back


def images(body, **options):
    return Classifier(ImageInputs(ImagePatches((4, 4), 2, 8)), body, 3, **options)


def test_what_cannot_be_told_is_refused_in_one_line():
    both = Bidirectional(GRU(8, 4), GRU(8, 4))
    for model, message in (
        (
            Classifier(TokenInputs(9, 8), Encoder(8, 2, 1), 3, pooling="mean"),
            "patch_attention: model is Classifier, expected a classifier of images",
        ),
        (
            images(both, pooling="mean"),
            "patch_attention: the body has a GRU, expected attention and nothing recurrent: only "
            "attention says which steps it takes from",
        ),
        (
            images(Encoder(8, 2, 1), pooling="none"),
            "patch_attention: pooling is 'none', expected another one, for an answer to the image",
        ),
    ):
        with pytest.raises(InputError) as refused:
            image_attention(model, X)
        assert str(refused.value) == message
    for shape in ((1, 4, 4), (1, 2, 4, 4), (1, 1, 5, 4)):
        with pytest.raises(InputError):
            image_attention(images(Encoder(8, 2, 1), pooling="mean"), torch.rand(shape))


# Where patches lie


def test_places_are_the_middles_of_patches():
    model = VisionTransformer((4, 6), (2, 3), 8, 1, 1, 3, pooling="mean")
    assert patch_places(model).tolist() == [[1, 1.5], [1, 4.5], [3, 1.5], [3, 4.5]]
    assert patch_places(model, (2, 9)).tolist() == [[1, 1.5], [1, 4.5], [1, 7.5]]
    with pytest.raises(InputError, match="patch's 3"):
        patch_places(model, (2, 8))


def test_the_distance_of_a_head_is_in_pixels_and_leaves_the_token_out():
    model = by_hand("token")
    maps = watched(attention_layers(model), lambda: model.answer(X))
    # Patch 2 lies below patch 0 and left of patch 3: two pixels from both, and none from itself.
    expected = (2 + math.hypot(2, 2) + 0 + 2) / 4
    for weights in maps.values():
        found = attention_distance(weights, places=patch_places(model))
        assert found.tolist() == pytest.approx([expected])


# The figure


@pytest.mark.parametrize("theme", THEMES)
def test_orange_lies_where_it_looked_more_than_evenly(theme):
    attention = torch.tensor([[0.0, 0.5], [0.5, 3.0]])
    image = torch.tensor([[[0, 255], [128, 0]]], dtype=torch.uint8)
    figure = Figure()
    ax = draw_image_attention(figure.subplots(), image, attention, theme=theme)
    below, veil = (np.asarray(each.get_array()) for each in ax.get_images())
    assert below.shape == (2, 2, 3)
    assert below[0, 1, 0] > below[1, 0, 0] > below[0, 0, 0] == below[1, 1, 2]
    np.testing.assert_allclose(veil[..., 3], [[0, 0], [0, 0.8]], rtol=1e-6)
    assert ax.get_title(loc="left") == "Half of the attention on 25 % of it"
    assert [text.get_text() for text in ax.texts] == ["orange: up to 3 times an even share"]
    assert to_hex(ax.spines["top"].get_edgecolor()) == theme.grid
    figure.canvas.draw()


def test_a_little_more_than_evenly_is_a_little_orange():
    ax = draw_image_attention(
        Figure().subplots(), torch.rand(3, 1, 2), torch.tensor([[0.9, 1.1]]), title="found"
    )
    image, veil = (np.asarray(each.get_array()) for each in ax.get_images())
    np.testing.assert_allclose(veil[..., 3], [[0, 0.08]], atol=1e-6)
    assert image.shape == (1, 2, 3)
    assert ax.get_title(loc="left") == "found"


def test_other_channels_are_shown_as_their_mean():
    for channels in (1, 2, 5):
        image = torch.rand(channels, 2, 2)
        ax = draw_image_attention(Figure().subplots(), image, torch.ones(2, 2))
        drawn = np.asarray(ax.get_images()[0].get_array())
        np.testing.assert_allclose(drawn[..., 0], drawn[..., 2])
        np.testing.assert_allclose(drawn[..., 1], 0.12 + 0.63 * image.mean(0), rtol=1e-5)
    with pytest.raises(InputError) as refused:
        draw_image_attention(Figure().subplots(), torch.rand(2, 2), torch.ones(2, 2))
    assert str(refused.value) == (
        "draw_image_attention: image has shape [2, 2], expected [channels, 2, 2], as its attention "
        "has"
    )


def test_built_in_digits_are_seen():
    pytest.importorskip("sklearn")
    x = torch.from_numpy(load_digits().values[:3])
    model = VisionTransformer((8, 8), 2, 8, 2, 1, 10)
    seen = image_attention(model, x)
    ax = draw_image_attention(Figure().subplots(), x[0], seen[0])
    assert ax.get_title(loc="left").endswith("% of it")
