"""Maps of attention, taken on the way and drawn."""

import pytest
import torch
from matplotlib.figure import Figure

from throughtime.inspect.attention import attention_maps, draw_attention
from throughtime.inspect.theme import THEMES
from throughtime.layers import SelfAttention
from throughtime.models import ModelConfig, build


@pytest.fixture
def model():
    return build(ModelConfig("transformer", tokens=9, width=8, layers=2, heads=2, horizon=5))


def test_each_layer_has_a_map_and_the_model_is_as_it_was(model):
    x = torch.randint(9, (3, 7))
    expected, _ = model(x)
    maps = attention_maps(model, x)
    names = {name for name, part in model.named_modules() if isinstance(part, SelfAttention)}
    assert set(maps) == names
    for weights in maps.values():
        assert weights.shape == (3, 2, 7, 7)
        torch.testing.assert_close(weights.sum(-1), torch.ones(3, 2, 7))
        assert not weights.triu(1).any()
        assert not weights.tril(-6).any()
    assert torch.equal(model(x)[0], expected)
    assert not any(part._forward_pre_hooks for part in model.modules())


def test_the_hooks_go_when_the_model_fails(model):
    with pytest.raises(IndexError):
        attention_maps(model, torch.tensor([[99]]))
    assert not any(part._forward_pre_hooks for part in model.modules())


@pytest.mark.parametrize("theme", THEMES)
def test_a_map_has_a_row_and_a_column_for_each_step(model, theme):
    weights = next(iter(attention_maps(model, torch.randint(9, (1, 3))).values()))[0, 0]
    ax = draw_attention(Figure().subplots(), weights, "abc", title="a map", theme=theme)
    (image,) = ax.get_images()
    assert image.get_array().shape == (3, 3)  # pyright: ignore
    assert [label.get_text() for label in ax.get_xticklabels()] == ["a", "b", "c"]
    assert ax.get_title(loc="left") == "a map"
