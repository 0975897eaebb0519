"""Maps of attention, taken on the way, rolled out and drawn."""

import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from throughtime.errors import InputError
from throughtime.inspect.attention import (
    attention_maps,
    attention_rollout,
    draw_attention,
    draw_heads,
    largest,
)
from throughtime.inspect.recording import record
from throughtime.inspect.theme import DARK, THEMES
from throughtime.layers import Bidirectional, SelfAttention
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


def test_maps_against_time_are_in_the_order_of_the_input():
    layer, x = Bidirectional(SelfAttention(4, 2)), torch.randn(2, 5, 4)
    mask = torch.tensor([[True] * 5, [True, True, True, False, False]])
    maps = attention_maps(layer, x, None, mask)
    assert not maps["over"].triu(1).any()
    real = mask[:, None, :, None]
    weights = torch.where(real, maps["against"], 0)
    assert not weights.tril(-1).any()
    with record(layer, "against.attention") as trace:
        layer(x, None, mask)
    torch.testing.assert_close(weights, trace["against.attention"])


@pytest.mark.parametrize("theme", THEMES)
def test_a_map_has_a_row_and_a_column_for_each_step(model, theme):
    weights = next(iter(attention_maps(model, torch.randint(9, (1, 3))).values()))[0, 0]
    ax = draw_attention(Figure().subplots(), weights, "abc", title="a map", theme=theme)
    (image,) = ax.get_images()
    assert image.get_array().shape == (3, 3)  # pyright: ignore
    assert [label.get_text() for label in ax.get_xticklabels()] == ["a", "b", "c"]
    assert ax.get_title(loc="left") == "a map"


# Rollout


def softmaxed(*shape, causal=False):
    scores = torch.randn(*shape).double()
    if causal:
        scores = scores.masked_fill(torch.ones(shape[-2:]).triu(1).bool(), -torch.inf)
    return scores.softmax(-1)


def test_even_attention_rolls_out_to_a_power_of_a_half():
    # (I/2 + U/2)^L = I / 2^L + (1 - 1/2^L) U, for U is a projection.
    even = torch.full((1, 3, 5, 5), 0.2).double()
    for layers in (1, 2, 4):
        rest = 0.5**layers
        expected = rest * torch.eye(5).double() + (1 - rest) / 5
        torch.testing.assert_close(attention_rollout([even] * layers)[0], expected)


def test_a_residual_of_other_size_stays_to_its_power():
    first = torch.eye(4).double()[[0, 0, 0, 0]].view(1, 1, 4, 4)
    found = attention_rollout([first] * 3, residual=0.9)[0]
    expected = 0.9**3 * torch.eye(4).double()
    expected[:, 0] += 1 - 0.9**3
    torch.testing.assert_close(found, expected)
    assert torch.equal(attention_rollout([first], residual=0.0)[0], first[0, 0])


def test_the_layers_are_multiplied_from_the_bottom_to_the_top():
    lower = torch.eye(3)[[1, 1, 2]].view(1, 1, 3, 3)  # 0 looks at 1
    upper = torch.eye(3)[[0, 1, 0]].view(1, 1, 3, 3)  # then 2 looks at 0
    found = attention_rollout({"1": lower, "2": upper})[0]
    assert found[2].tolist() == [0.25, 0.25, 0.5]  # 2 has half of 0, which has half of 1
    assert attention_rollout({"2": upper, "1": lower})[0, 2].tolist() == [0.5, 0, 0.5]


def test_heads_are_fused_by_mean_maximum_or_minimum_and_rows_made_whole():
    one = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0.25, 0.25, 0.5]])
    other = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0.5, 0.25, 0.25]])
    maps = [torch.stack([one, other])[None]]
    stays = torch.eye(3)[2]
    for how, row in (
        ("mean", [0.375, 0.25, 0.375]),
        ("max", [0.4, 0.2, 0.4]),
        ("min", [1 / 3, 1 / 3, 1 / 3]),
    ):
        found = attention_rollout(maps, head_fusion=how)[0]
        torch.testing.assert_close(found[2], (stays + torch.tensor(row)) / 2)
        torch.testing.assert_close(found.sum(-1), torch.ones(3))
    assert found[1].tolist() == [0, 1, 0]  # the minimum leaves nothing to look at: it stays


def test_a_causal_models_rollout_is_causal_and_keeps_everything(model):
    maps = attention_maps(model, torch.randint(9, (3, 7)))
    found = attention_rollout(maps)
    assert not found.triu(1).any()
    torch.testing.assert_close(found.sum(-1), torch.ones(3, 7))
    expected = torch.eye(7)
    for weights in maps.values():
        expected = (weights.mean(1) + torch.eye(7)) / 2 @ expected
    torch.testing.assert_close(found, expected.expand(3, 7, 7))
    assert found[:, -1, 0].all()  # two layers reach further than one of horizon 5


@pytest.mark.parametrize("causal", [True, False])
def test_padding_is_nowhere_in_a_rollout(causal):
    short = [softmaxed(1, 2, 3, 3, causal=causal) for _ in range(3)]
    long = [softmaxed(1, 2, 5, 5, causal=causal) for _ in range(3)]
    real = torch.tensor([[True, False, True, True, False], [True] * 5])
    ragged = []
    for few, many in zip(short, long, strict=True):
        padded = torch.full((1, 2, 5, 5), torch.nan).double()
        padded[:, :, real[0]] = 0
        padded[:, :, real[0].nonzero(), real[0].nonzero().T] = few
        ragged.append(torch.cat([padded, many]))
    found = attention_rollout(ragged, real)
    torch.testing.assert_close(found[0][real[0]][:, real[0]], attention_rollout(short)[0])
    torch.testing.assert_close(found[1], attention_rollout(long)[0])
    assert not found[0][~real[0]].any()
    assert not found[0][:, ~real[0]].any()


def test_a_ragged_models_rollout_is_that_of_its_rows(model):
    x = torch.randint(9, (2, 6))
    mask = torch.tensor([[True] * 4 + [False] * 2, [True] * 6])
    found = attention_rollout(attention_maps(model, x, None, mask), mask)
    alone = attention_rollout(attention_maps(model, x[:1, :4]))
    torch.testing.assert_close(found[0, :4, :4], alone[0], atol=1e-5, rtol=1e-5)
    assert not found[0, 4:].any()


def test_half_precision_is_made_single():
    maps = [softmaxed(2, 2, 4, 4).bfloat16()]
    found = attention_rollout(maps)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.sum(-1), torch.ones(2, 4))


@pytest.mark.parametrize(
    ("maps", "options", "message"),
    [
        ([], {}, "attention_rollout: got no maps, expected one for each layer of self-attention"),
        (
            {"up": torch.rand(1, 2, 3, 5)},
            {},
            "attention_rollout: the map of 'up' has shape [1, 2, 3, 5], expected "
            "[batch, heads, time, time], as of self-attention without a state",
        ),
        (
            [torch.rand(1, 2, 3, 3), torch.rand(1, 4, 4, 4)],
            {},
            "attention_rollout: the map of '1' has shape [1, 4, 4, 4], expected "
            "[1, heads, 3, 3], as of '0'",
        ),
        (
            [torch.rand(1, 2, 3, 3)],
            {"head_fusion": "sum"},
            "attention_rollout: head_fusion is 'sum', expected one of ['mean', 'max', 'min']",
        ),
        (
            [torch.rand(1, 2, 3, 3)],
            {"residual": 1.0},
            "attention_rollout: residual is 1.0, expected a share in [0, 1)",
        ),
        (
            [torch.rand(1, 2, 3, 3)],
            {"mask": torch.ones(2, 3).bool()},
            "attention_rollout: mask has shape [2, 3], expected [1, 3]",
        ),
    ],
)
def test_maps_that_do_not_fit_are_refused_in_one_line(maps, options, message):
    with pytest.raises(InputError) as refused:
        attention_rollout(maps, **options)
    assert str(refused.value) == message


# All heads of a layer


def test_the_deepest_shade_is_that_of_a_row_with_a_choice():
    assert largest(torch.tensor([[1.0, 0], [0.25, 0.75]])) == 0.75
    assert largest(torch.tensor([[1.0, 0], [0, 1]])) == 1  # none has one
    assert largest(torch.zeros(0, 3)) == 0


@pytest.mark.parametrize("theme", THEMES)
def test_each_head_has_a_map_with_its_name_and_its_largest_weight(theme):
    weights = softmaxed(3, 4, 4, causal=True).float()
    figure = Figure(figsize=(9, 3))
    axes = draw_heads(figure, weights, list("가b$d"), title="한 층 $x", theme=theme)
    assert len(axes) == 3
    for head, ax in enumerate(axes):
        (image,) = ax.get_images()
        torch.testing.assert_close(torch.tensor(image.get_array()), weights[head])  # pyright: ignore
        assert image.get_clim() == (0, pytest.approx(float(weights[head, 1:].max())))
        assert ax.get_xlabel() == f"head {head} · up to {weights[head, 1:].max():.2g}"
        assert to_hex(ax.xaxis.label.get_color()) == theme.ink
        assert [label.get_text() for label in ax.get_xticklabels()] == list("가b$d")
    assert [label.get_text() for label in axes[0].get_yticklabels()] == list("가b$d")
    assert not axes[1].get_yticklabels()  # rows are named once
    assert figure.get_suptitle() == "한 층 $x"
    figure.canvas.draw()


def test_heads_are_placed_where_they_have_most_room():
    for size, across in (((9, 2), 4), ((3, 9), 1), ((5, 5), 2)):
        axes = draw_heads(Figure(figsize=size), torch.rand(4, 3, 3), "abc")
        assert axes[0].get_gridspec().ncols == across  # pyright: ignore
    figure = Figure(figsize=(6, 3.9))
    assert len(draw_heads(figure, torch.rand(5, 3, 3), "abc")) == 5
    assert sum(ax.axison for ax in figure.axes) == 5  # what is left of the grid is not drawn


def test_many_steps_are_counted_and_the_last_names_count():
    axes = draw_heads(Figure(), torch.rand(1, 40, 40), [f"step {at}" for at in range(40)])
    assert not any("step" in label.get_text() for label in labels(axes[0]))
    weights = torch.rand(2, 3, 5)
    axes = draw_heads(Figure(), weights, "ab", "xyz", names=["former", "latter"], theme=DARK)
    (image,) = axes[1].get_images()
    torch.testing.assert_close(torch.tensor(image.get_array()), weights[1, :, 3:])  # pyright: ignore
    assert axes[1].get_xlabel().startswith("latter · ")
    assert [label.get_text() for label in axes[0].get_yticklabels()] == list("xyz")


def labels(ax):
    return [*ax.get_xticklabels(), *ax.get_yticklabels()]


def test_names_of_another_number_are_refused():
    with pytest.raises(InputError) as refused:
        draw_heads(Figure(), torch.rand(2, 3, 3), "abcd", "abc")
    assert str(refused.value) == (
        "draw_heads: weights have shape [2, 3, 3], expected [2, 3, 4], by the names of heads, "
        "rows and columns"
    )
    with pytest.raises(InputError, match=r"expected \[1, 3, 3\]"):
        draw_heads(Figure(), torch.rand(2, 3, 3), "abc", names=["one"])
