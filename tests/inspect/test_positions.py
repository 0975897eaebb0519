"""How alike positions are, and how scores fall with distance."""

import math

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from throughtime.errors import InputError
from throughtime.inspect.position_figures import (
    draw_position_similarity,
    draw_position_waves,
    draw_score_by_distance,
)
from throughtime.inspect.positions import position_similarity, position_vectors, score_by_distance
from throughtime.inspect.theme import DARK, LIGHT, THEMES
from throughtime.layers import ImagePatches, Position, SelfAttention


def angles(size):
    return 10_000.0 ** (-torch.arange(0, size, 2).double() / size)


def learned(vectors):
    layer = Position(vectors.shape[1], "learned", length=len(vectors))
    with torch.no_grad():
        layer.weight.copy_(vectors)  # pyright: ignore
    return layer


# Vectors and how alike they are


def test_sinusoids_are_alike_by_distance_alone():
    found = position_similarity("sinusoidal", 40, size=16)
    away = (torch.arange(40).view(-1, 1) - torch.arange(40)).double()
    expected = (away.unsqueeze(-1) * angles(16)).cos().mean(-1)
    torch.testing.assert_close(found, expected)
    layer = position_similarity(Position(16), 40)
    torch.testing.assert_close(layer.double(), expected, atol=1e-5, rtol=0)


def test_in_two_dimensions_rows_and_columns_count_half_each():
    found = position_similarity("sinusoidal", (3, 5), size=16)
    assert found.shape == (3, 5, 3, 5)

    def line(steps):
        return position_similarity("sinusoidal", steps, size=8)

    expected = (line(3)[:, None, :, None] + line(5)[None, :, None, :]) / 2
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=0)
    patches = ImagePatches((6, 10), 2, 16, position="sinusoidal")
    torch.testing.assert_close(position_similarity(patches), found)


def test_learned_vectors_are_those_of_the_layer():
    vectors = torch.tensor([[2.0, 0], [0, 3], [-1, 0], [1, 1]])
    half = math.sqrt(0.5)
    expected = [[1, 0, -1, half], [0, 1, 0, half], [-1, 0, 1, -half], [half, half, -half, 1]]
    layer = learned(vectors)
    torch.testing.assert_close(position_similarity(layer), torch.tensor(expected))
    torch.testing.assert_close(position_similarity(layer, 2), torch.eye(2))
    assert torch.equal(position_vectors(layer), vectors)
    assert not position_vectors(layer).requires_grad


def test_attention_has_positions_of_its_own():
    layer = SelfAttention(8, 2, horizon=3, position="learned")
    assert torch.equal(position_vectors(layer), layer.encoding.weight)  # pyright: ignore
    layer = SelfAttention(8, 2, position="sinusoidal")
    found = position_similarity(layer, 5)
    torch.testing.assert_close(found.double(), position_similarity("sinusoidal", 5, size=8))


def test_patches_have_learned_positions_and_interpolate_others():
    patches = ImagePatches((4, 4), 2, 2, position="learned")
    with torch.no_grad():
        patches.position_weight.copy_(torch.tensor([[[1.0, 0], [0, 1]], [[-1, 0], [1, 0]]]))  # pyright: ignore
    found = position_similarity(patches)
    assert found[0, 0].tolist() == [[1, 0], [-1, 1]]
    assert position_similarity(patches, (3, 1)).shape == (3, 1, 3, 1)


def test_no_random_number_is_drawn():
    state = torch.get_rng_state()
    position_similarity("sinusoidal", (3, 5), size=16)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (
            ("rotary", 3),
            {"size": 4},
            "source is 'rotary', expected 'sinusoidal' or a layer that adds positions; "
            "score_by_distance shows rotary and alibi",
        ),
        (("sinusoidal",), {"size": 4}, "steps is None, expected a number for 'sinusoidal'"),
        (("sinusoidal", 4), {}, "size is None, expected a number for 'sinusoidal'"),
        (
            ("sinusoidal", 4),
            {"size": 3},
            "size is 3, expected an even number for sinusoidal",
        ),
        (
            (SelfAttention(8, 2, position="alibi"),),
            {},
            "position is 'alibi', expected one that is added; score_by_distance shows those that "
            "are part of the scores",
        ),
        ((ImagePatches((4, 4), 2, 8),), {}, "the patches have no positions, expected some"),
        (
            (ImagePatches((4, 4), 2, 8, position="learned"), 3),
            {},
            "steps is 3, expected rows and columns",
        ),
        (
            (Position(4, "learned", length=5), 6),
            {},
            "steps are 6, expected at most the 5 learned",
        ),
        ((Position(4), (2, 3)), {}, "steps are (2, 3), expected one number for Position"),
    ],
)
def test_sources_without_vectors_are_refused_in_one_line(arguments, options, message):
    with pytest.raises(InputError) as refused:
        position_similarity(*arguments, **options)
    assert str(refused.value) == f"position_vectors: {message}"


# Scores


def test_rotary_scores_fall_as_the_mean_cosine():
    distances = [0, 1, 7, 100, 5000]
    found = score_by_distance("rotary", distances, head_size=16)
    expected = [math.sqrt(16) * float((k * angles(16)).cos().mean()) for k in distances]
    assert found.shape == (1, 5)
    assert found[0].tolist() == pytest.approx(expected)
    assert score_by_distance("rotary", [-7], head_size=16)[0].item() == pytest.approx(expected[2])


def test_content_says_which_turns_count():
    slow, fast = torch.zeros(8), torch.zeros(8)
    fast[[0, 4]] = 1  # pairs are features i and i + 4
    slow[3] = 2
    k = [0, 1, 2]
    found = score_by_distance("rotary", k, head_size=8, content=fast)[0]
    assert found.tolist() == pytest.approx([2 / math.sqrt(8) * math.cos(each) for each in k])
    found = score_by_distance("rotary", k, head_size=8, content=slow)[0]
    turns = [math.cos(each * 10_000**-0.75) for each in k]
    assert found.tolist() == pytest.approx([4 / math.sqrt(8) * each for each in turns])


def test_alibi_scores_fall_in_straight_lines():
    found = score_by_distance("alibi", [0, 3, 10], head_size=4, heads=4)
    slopes = [2**-2, 2**-4, 2**-6, 2**-8]
    for line, slope in zip(found.tolist(), slopes, strict=True):
        assert line == pytest.approx([2, 2 - 3 * slope, 2 - 10 * slope])
    assert score_by_distance("none", [0, 9], head_size=4).tolist() == [[2, 2]]


def test_they_are_the_scores_of_the_layer():
    # A layer whose queries and keys are what comes in: its weights are the softmax of these scores.
    for position in ("rotary", "alibi"):
        layer = SelfAttention(8, 2, position=position, causal=False).double()
        with torch.no_grad():
            layer.weight_input[:8] = layer.weight_input[8:16] = torch.eye(8)
        x = torch.ones(1, 12, 8).double()
        scores = score_by_distance(layer, range(12))
        expected = scores.softmax(-1).expand(2, 12)
        torch.testing.assert_close(layer.weights(x)[0, :, 0], expected)


def test_positions_outside_the_scores_are_refused():
    for call, message in (
        (
            lambda: score_by_distance("sinusoidal", [0]),
            "score_by_distance: position is 'sinusoidal', expected one of "
            "['none', 'rotary', 'alibi']",
        ),
        (
            lambda: score_by_distance("rotary", [0], head_size=3),
            "score_by_distance: size per head is 3, expected an even number for rotary",
        ),
        (
            lambda: score_by_distance("rotary", [0], head_size=4, content=torch.ones(3)),
            "score_by_distance: content has shape [3], expected [4]",
        ),
    ):
        with pytest.raises(InputError) as refused:
            call()
        assert str(refused.value) == message


# Figures


def title(ax):
    return ax.get_title(loc="left")


@pytest.mark.parametrize("theme", THEMES)
def test_likeness_is_drawn_with_its_scale(theme):
    figure = Figure()
    found = position_similarity("sinusoidal", 60, size=64)
    ax = draw_position_similarity(figure.subplots(), found, theme=theme)
    (image,) = ax.get_images()
    np.testing.assert_allclose(np.asarray(image.get_array()), found.numpy())
    assert image.get_clim() == (0, 1)  # no two are opposite
    along = [float(found.diagonal(k).mean()) for k in range(60)]
    first = next(k for k, alike in enumerate(along) if alike < 0.5)
    assert title(ax) == f"Less than half alike from {first} steps on"
    assert to_hex(ax.xaxis.label.get_color()) == theme.muted
    figure.canvas.draw()
    (scale,) = ax.child_axes
    assert [label.get_text() for label in scale.get_yticklabels()] == ["0", "1"]


def test_opposites_make_the_scale_go_below_zero():
    ax = draw_position_similarity(
        Figure().subplots(), position_similarity(learned(torch.tensor([[1.0, 0], [-1, 0]])))
    )
    assert ax.get_images()[0].get_clim() == (-1, 1)


def test_the_title_says_how_far_positions_are_alike():
    def found(similarity, **options):
        return title(draw_position_similarity(Figure().subplots(), similarity, **options))

    assert found(torch.eye(9)) == "Neighbours are no more alike than others"
    assert found(torch.ones(9, 9)) == "Neighbours are no more alike than others"
    near = 1 - 0.05 * (torch.arange(9).view(-1, 1) - torch.arange(9)).abs()
    assert found(near) == "All positions are alike"
    assert found(1 - 2 * (1 - near)) == "Less than half alike from 6 steps on"
    assert found(torch.ones(1, 1)) == "How alike positions are"
    assert found(near, title="한국어 $x") == "한국어 $x"


def test_each_patch_has_a_map_at_its_place():
    seen = position_similarity("sinusoidal", (2, 3), size=8)
    ax = draw_position_similarity(Figure().subplots(), seen, theme=DARK)
    drawn = np.ma.filled(np.ma.asarray(ax.get_images()[0].get_array()), np.nan)
    assert drawn.shape == (2 * 3 - 1, 3 * 4 - 1)
    assert np.isnan(drawn[2]).all()
    assert np.isnan(drawn[:, [3, 7]]).all()
    for row in range(2):
        for column in range(3):
            tile = drawn[3 * row : 3 * row + 2, 4 * column : 4 * column + 3]
            np.testing.assert_allclose(tile, seen[row, column].numpy(), rtol=1e-6)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "2", "3"]
    assert ax.get_xticks().tolist() == [1, 5, 9]
    assert ax.get_yticks().tolist() == [0.5, 3.5]
    assert title(ax) == "Patches of a row or a column are more alike"


def test_many_patches_are_numbered_with_gaps():
    ax = draw_position_similarity(Figure().subplots(), torch.rand(20, 2, 20, 2))
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "1",
        "4",
        "7",
        "10",
        "13",
        "16",
        "19",
    ]


def test_rows_alone_and_none():
    row = torch.arange(4)
    same = (row.view(-1, 1, 1, 1) == row.view(1, 1, -1, 1)).expand(4, 4, 4, 4).float()
    assert title(draw_position_similarity(Figure().subplots(), same)) == (
        "Patches of a row are more alike"
    )
    itself = torch.eye(16).view(4, 4, 4, 4)
    assert title(draw_position_similarity(Figure().subplots(), itself)) == (
        "Neither rows nor columns are told apart"
    )
    one = torch.ones(1, 1, 1, 1)
    assert "Neither" in title(draw_position_similarity(Figure().subplots(), one))


def test_another_form_is_refused():
    for shape in ((3, 4), (2, 2, 2), (2, 3, 3, 2)):
        with pytest.raises(InputError) as refused:
            draw_position_similarity(Figure().subplots(), torch.zeros(shape))
        assert str(refused.value) == (
            f"draw_position_similarity: similarity has shape {list(shape)}, expected "
            "[steps, steps] or [rows, columns, rows, columns]"
        )


@pytest.mark.parametrize("theme", THEMES)
def test_waves_are_the_sinusoids_below_each_other(theme):
    ax = draw_position_waves(Figure().subplots(), 64, 100, waves=4, theme=theme)
    lines = ax.get_lines()
    assert len(lines) == 8
    for place, (sine, cosine) in enumerate(zip(lines[::2], lines[1::2], strict=True)):
        name = ax.get_yticklabels()[place].get_text()
        pair = int(name.split(",")[0]) // 2
        turns = torch.tensor(np.asarray(sine.get_xdata())) * angles(64)[pair]
        down = ax.get_yticks()[place]
        np.testing.assert_allclose(sine.get_ydata(), turns.sin() + down, atol=1e-9)  # pyright: ignore
        np.testing.assert_allclose(cosine.get_ydata(), turns.cos() + down, atol=1e-9)  # pyright: ignore
        length = 2 * math.pi / float(angles(64)[pair])
        assert name.endswith(f": {length:,.{1 if length < 100 else 0}f}")
        assert sine.get_color() in theme.palette
    assert title(ax) == "Waves of 6.3 to 47,117 steps"
    assert ax.get_yticklabels()[0].get_text() == "0, 1: 6.3"


def test_of_waves_that_stand_still_one_is_shown():
    ax = draw_position_waves(Figure().subplots(), 64, 10, waves=32)
    pairs = [int(label.get_text().split(",")[0]) // 2 for label in ax.get_yticklabels()]
    lengths = [2 * math.pi / float(angles(64)[pair]) for pair in pairs]
    assert [length >= 8 * 9 for length in lengths] == [False] * (len(lengths) - 1) + [True]
    ax = draw_position_waves(Figure().subplots(), 2, 1, waves=3)
    assert len(ax.get_lines()) == 2
    with pytest.raises(InputError, match=r"^draw_position_waves: waves is 0, expected at least 1$"):
        draw_position_waves(Figure().subplots(), 4, 5, waves=0)
    with pytest.raises(InputError, match=r"^draw_position_waves: size is 3, expected an even"):
        draw_position_waves(Figure().subplots(), 3, 5)


@pytest.mark.parametrize("theme", THEMES)
def test_scores_are_drawn_as_what_they_lose(theme):
    distances = range(0, 60, 2)
    alibi = score_by_distance("alibi", distances, heads=2)
    scores = {"rotary": score_by_distance("rotary", distances)[0], "steep": alibi[0]}
    ax = draw_score_by_distance(Figure().subplots(), distances, scores, theme=theme)
    for line, score in zip(ax.get_lines(), scores.values(), strict=True):
        np.testing.assert_allclose(line.get_ydata(), score - score[0])  # pyright: ignore
        assert line.get_color() in theme.palette
    names = [text.get_text() for text in ax.get_legend().get_texts()]  # pyright: ignore
    assert names[1] == "steep: half at 12"  # 0.0625 a step, and log 2 is 0.693
    ax = draw_score_by_distance(Figure().subplots(), [0, 1], {"flat": torch.zeros(2)}, theme=theme)
    assert ax.get_legend().get_texts()[0].get_text() == "flat: never half"  # pyright: ignore


def test_a_score_that_falls_without_end_is_cut_off():
    far = score_by_distance("alibi", range(500), heads=8)
    ax = draw_score_by_distance(Figure().subplots(), range(500), {"alibi": far[0]})
    assert -13 < ax.get_ylim()[0] < -12
    assert ax.get_ylim()[1] >= 0


def test_a_colour_that_comes_again_is_dashed():
    scores = {f"head {at}": torch.arange(3.0) * -at for at in range(8)}
    lines = draw_score_by_distance(Figure().subplots(), range(3), scores).get_lines()
    assert [line.get_linestyle() for line in lines] == ["-"] * 7 + ["--"]
    assert lines[7].get_color() == lines[0].get_color() == LIGHT.palette[0]


def test_scores_of_another_number_are_refused():
    for distances, score in (([0, 1], torch.zeros(3)), ([], torch.zeros(0))):
        with pytest.raises(InputError) as refused:
            draw_score_by_distance(Figure().subplots(), distances, {"x": score})
        assert str(refused.value) == (
            f"draw_score_by_distance: x has {len(score)} scores, expected one for each of "
            f"{len(distances)} distances, at least 1"
        )
