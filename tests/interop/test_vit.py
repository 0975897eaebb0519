"""ViT: the same logits as transformers."""

import json

import pytest
import torch

from tests.interop.hugging import perturbed, reread, same, saved
from throughtime.errors import InputError
from throughtime.interop import load, load_vit, save_vit
from throughtime.models import VisionTransformer

transformers = pytest.importorskip("transformers")

CLASSES = 7
OPTIONS = {
    "as-published": {},
    "oblong": {"image_size": [12, 20], "patch_size": [3, 4], "num_channels": 1},
    "no-shifts": {"qkv_bias": False, "hidden_act": "gelu_new", "layer_norm_eps": 1e-3},
    "silu": {"hidden_act": "silu", "num_hidden_layers": 1, "hidden_dropout_prob": 0.1},
}


def peer(**options):
    sizes = {
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 8,
        "intermediate_size": 24, "patch_size": 4, "num_labels": CLASSES,
    }  # fmt: skip
    config = transformers.ViTConfig(**{**sizes, **options})
    return perturbed(transformers.ViTForImageClassification, config)


def given(model):
    return model.state_dict(), model.config.to_dict()


def pixels(model, rows=3):
    size = model.config.image_size
    sides = (size, size) if isinstance(size, int) else size
    return torch.randn(rows, model.config.num_channels, *sides)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@torch.no_grad()
def test_logits_are_those_of_transformers_and_so_are_they_back_again(options, tmp_path):
    model = peer(**options)
    x = pixels(model)
    expected = model(x).logits
    ours = load_vit(saved(model, tmp_path / "theirs"))
    assert isinstance(ours, VisionTransformer)
    assert not ours.training
    assert ours.dropout.p == 0
    same(ours.answer(x), expected)
    same(load_vit(*given(model)).answer(x), expected)  # names of modules are not those of files
    save_vit(ours, tmp_path / "ours")
    back = reread(transformers.ViTForImageClassification, tmp_path / "ours")
    same(back(x).logits, expected)


@torch.no_grad()
def test_images_of_other_sizes():
    model = peer()
    x = torch.randn(2, 3, 12, 20)
    ours = load_vit(*given(model))
    same(ours.answer(x), model(x, interpolate_pos_encoding=True).logits)


@torch.no_grad()
def test_pixels_are_brought_to_the_scale_of_the_processor(tmp_path):
    model = peer()
    x = torch.randint(256, (2, 3, 8, 8), dtype=torch.uint8)
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.3, 0.5]
    shift, scale = (torch.tensor(values).view(-1, 1, 1) for values in (mean, std))
    expected = model((x / 255 - shift) / scale).logits
    ours = load_vit(*given(model), mean=mean, std=std)
    same(ours.answer(x), expected)
    same(ours.answer(x / 255), expected)
    save_vit(ours, tmp_path)
    processor = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert processor["image_mean"] == pytest.approx(mean)
    assert processor["image_std"] == pytest.approx(std)
    assert processor["size"] == {"height": 8, "width": 8}
    half = load_vit(*given(model), mean=0.5, std=0.5)
    same(half.answer(x), model((x / 255 - 0.5) / 0.5).logits)
    with pytest.raises(InputError, match=r"mean is \[0\.1, 0\.2\], expected a number or 3"):
        load_vit(*given(model), mean=[0.1, 0.2])


@torch.no_grad()
def test_a_body_without_classes_gets_new_ones():
    model = peer()
    body, config = model.vit.state_dict(), model.config.to_dict()
    ours = load_vit(body, config, classes=3)
    x = pixels(model)
    assert not ours.answer(x).any()
    hidden = model.vit(x).last_hidden_state
    features, _ = ours._features(x, None)
    same(ours.body(features)[0], hidden)
    with pytest.raises(InputError, match=r"there is none, expected classifier\.weight"):
        load_vit(body, config)
    with pytest.raises(InputError, match="has a classifier and classes is 3"):
        load_vit(*given(model), classes=3)
    pooled = body | {"pooler.dense.weight": torch.zeros(16, 16)}
    with pytest.raises(InputError, match=r"no place for: pooler\.dense\.weight"):
        load_vit(pooled, config, classes=3)
    load_vit(pooled, config, classes=3, without=["pooler."])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_act": "quick_gelu"}, "hidden_act is 'quick_gelu', expected one of"),
        ({"image_size": [8, 8, 8]}, r"image_size is \[8, 8, 8\], expected a whole number"),
        ({"patch_size": 0}, "patch_size is 0, expected a whole number"),
        ({"patch_size": 3}, "the image is 8 pixels high, expected a multiple"),
        ({"image_size": 16}, r"position_embeddings is torch\.float32 of shape \[1, 5, 16\]"),
        ({"head_dim": 8}, "head_dim is 8, expected 4"),
        ({"qkv_bias": None, "layer_scale": 0.1}, "does not know: layer_scale = 0.1"),
    ],
)
def test_what_it_cannot_do_it_refuses_by_name(options, message):
    tensors, config = given(peer())
    with pytest.raises(InputError, match=message):
        load_vit(tensors, config | options)


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        ({"std": 0.0}, "std is 0.0, expected a number or 3, above 0"),
        ({"std": -1.0}, "std is -1.0, expected"),
        ({"mean": [0.5, 0.5]}, r"mean is \[0.5, 0.5\], expected a number or 3"),
        ({"mean": float("nan")}, "mean is nan, expected"),
    ],
)
def test_scales_that_are_none(scale, message):
    with pytest.raises(InputError, match=message):
        load_vit(*given(peer()), **scale)


@torch.no_grad()
def test_a_model_of_ours_leaves(tmp_path):
    torch.manual_seed(0)
    ours = VisionTransformer((8, 12), 4, 16, 2, 2, 3, dropout=0.1, stochastic_depth=0.1).eval()
    torch.nn.init.normal_(ours.weight)
    ours.temperature.fill_(2.0)
    save_vit(ours, tmp_path, {"id2label": {0: "a", 1: "b", 2: "c"}})
    back = reread(transformers.ViTForImageClassification, tmp_path)
    assert back.config.id2label == {0: "a", 1: "b", 2: "c"}
    x = torch.rand(2, 1, 8, 12)
    same(back(x).logits, ours.answer(x))
    same(load(tmp_path).answer(x), ours.answer(x))  # pyright: ignore


def test_a_model_of_another_shape_does_not_leave(tmp_path):
    def of(**options):
        return VisionTransformer((8, 8), 4, 16, 2, 1, 3, **options)

    for model, message in (
        (of(position="sinusoidal"), "position is 'sinusoidal', expected 'learned'"),
        (of(pooling="mean"), "pooling is 'mean', expected 'token'"),
        (of(norm="rms"), "norm is 'rms', expected 'layer'"),
        (of(kv_heads=1), "kv_heads is 1, expected 2"),
    ):
        with pytest.raises(InputError, match=message):
            save_vit(model, tmp_path)
