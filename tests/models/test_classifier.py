"""Classifiers: a row's answer is its own, whatever is beside it, and however it comes."""

import pytest
import torch

from throughtime.errors import InputError
from throughtime.layers import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    Decoder,
    Encoder,
    GramBag,
    Linear,
    Stack,
)
from throughtime.models import Classifier, ImageInputs, NumberInputs, TokenInputs, VisionTransformer

BODIES = {
    "rnn": lambda size: RNN(size, 8),
    "lstm": lambda size: LSTM(size, 8),
    "gru": lambda size: GRU(size, 8),
    "bidirectional": lambda size: Stack(Bidirectional(GRU(size, 4)), Bidirectional(LSTM(8, 4))),
    "encoder": lambda size: Stack(Linear(size, 8), Encoder(8, 2, 2)),
    "encoder-rotary": lambda size: Stack(Linear(size, 8), Encoder(8, 2, 2, position="rotary")),
    "decoder": lambda size: Stack(Linear(size, 8), Decoder(8, 2, 2, horizon=40)),
}
SEES_ALL = ("bidirectional", "encoder", "encoder-rotary")
POOLINGS = ("last", "ends", "mean", "max", "attention", "token", "none")


def ready(model):
    """With weights at the end, which start at zero."""
    for weight in model.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.5)
    return model.eval()


def classifier(body, pooling, inputs=None):
    inputs = NumberInputs(2) if inputs is None else inputs
    return ready(Classifier(inputs, BODIES[body](inputs.output_size), 3, pooling=pooling))


PAIRS = [
    (body, pooling)
    for body in BODIES
    for pooling in POOLINGS
    if body in SEES_ALL or pooling not in ("ends", "token")
]


@pytest.mark.parametrize(("body", "pooling"), PAIRS)
def test_a_ragged_batch_gives_each_row_the_answer_it_has_alone(body, pooling):
    model = classifier(body, pooling)
    lengths = [1, 2, 5, 11, 17]
    rows = [torch.randn(length, 2) for length in lengths]
    rows[2][1, 0] = torch.nan
    x = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=torch.nan)
    mask = torch.arange(17) < torch.tensor(lengths).unsqueeze(1)
    if pooling == "none":
        together = model(x, mask=mask)[0]
        assert not together[~mask].any()
        for row, alone, length in zip(together, rows, lengths, strict=True):
            assert torch.allclose(row[:length], model(alone[None])[0][0], atol=1e-5)
        return
    together = model.answer(x, mask)
    for row, alone in zip(together, rows, strict=True):
        assert torch.allclose(row, model.answer(alone[None])[0], atol=1e-5)


@pytest.mark.parametrize(("body", "pooling"), [pair for pair in PAIRS if pair[1] != "none"])
def test_the_answer_is_the_output_at_the_last_real_step(body, pooling):
    model = classifier(body, pooling)
    x, mask = torch.randn(3, 9, 2), torch.arange(9) < torch.tensor([[9], [4], [1]])
    output, _ = model(x, mask=mask)
    at = mask.sum(1) - 1
    assert torch.allclose(output[torch.arange(3), at], model.answer(x, mask), atol=1e-5)


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention"])
@pytest.mark.parametrize("body", ["gru", "decoder"])
def test_answers_step_by_step_are_those_of_each_beginning(body, pooling):
    model = classifier(body, pooling, TokenInputs(7, 5))
    x, state = torch.randint(7, (2, 8)), None
    for step in range(8):
        output, state = model(x[:, step : step + 1], state)
        assert torch.allclose(output[:, 0], model.answer(x[:, : step + 1]), atol=1e-5)


def beside(body, pooling="mean"):
    inputs = TokenInputs(7, 5)
    bags = [GramBag(8, 3, buckets=100), GramBag(8, 3, lengths=(2, 3), buckets=100)]
    return ready(Classifier(inputs, BODIES[body](5), 3, pooling=pooling, beside=bags))


@pytest.mark.parametrize("pooling", ["last", "max"])
@pytest.mark.parametrize("body", ["gru", "bidirectional"])
def test_the_answer_is_the_mean_of_what_the_body_and_others_say(body, pooling):
    model = beside(body, pooling)
    x, mask = torch.randint(7, (3, 9)), torch.arange(9) < torch.tensor([[9], [4], [1]])
    alone = Classifier(model.inputs, model.body, 3, pooling=pooling).eval()
    alone.load_state_dict(
        {name: value for name, value in model.state_dict().items() if name in alone.state_dict()}
    )
    at = torch.arange(3), mask.sum(1) - 1
    said = [alone.answer(x, mask), *(bag(x, None, mask)[0][at] for bag in model.beside)]
    for found, each in zip(model.answers(x, mask), said, strict=True):
        torch.testing.assert_close(found, each)
    torch.testing.assert_close(model.answer(x, mask), sum(said) / 3)
    model.temperature.fill_(2.0)
    model.shares.copy_(torch.tensor([0.6, 0.3, 0.1]))
    pooled = 0.6 * said[0] + 0.3 * said[1] + 0.1 * said[2]
    torch.testing.assert_close(model.answer(x, mask), pooled / 2)
    torch.testing.assert_close(model(x, mask=mask)[0][at], pooled / 2)
    model.train()
    torch.testing.assert_close(model.answer(x, mask), pooled)


def test_what_answers_beside_a_body_streams_with_it():
    model = beside("gru")
    x, state = torch.randint(7, (2, 8)), None
    for step in range(8):
        output, state = model(x[:, step : step + 1], state)
        torch.testing.assert_close(output[:, 0], model.answer(x[:, : step + 1]))


def test_beside_a_body_that_sees_all_rows_of_several_sequences():
    model = beside("bidirectional")
    x = torch.randint(7, (1, 7))
    reset = torch.tensor([[True, False, False, True, False, False, False]])
    output, _ = model(x, None, None, reset)
    torch.testing.assert_close(output[:, 2], model.answer(x[:, :3]))
    torch.testing.assert_close(output[:, 6], model.answer(x[:, 3:]))


def test_images_of_other_sizes_and_types():
    model = ready(VisionTransformer((8, 12), (4, 2), 16, heads=2, layers=2, classes=5))
    images = torch.randint(256, (6, 1, 8, 12), dtype=torch.uint8)
    model.inputs.fit(images)
    whole = model.answer(images)
    assert torch.allclose(whole, model.answer(images.float() / 255), atol=1e-5)
    for row, image in zip(whole, images, strict=True):
        assert torch.allclose(row, model.answer(image[None])[0], atol=1e-5)
    assert model.answer(images.repeat(1, 1, 2, 1)).shape == (6, 5)
    with pytest.raises(InputError, match=r"10 pixels high.*multiple of the patch's 4.*8 and 12"):
        model.answer(torch.rand(2, 1, 10, 12))


@pytest.mark.parametrize("position", ["learned", "sinusoidal", "none"])
def test_an_image_is_more_than_its_patches_only_with_positions(position):
    model = ready(VisionTransformer((8, 8), 4, 16, 2, 2, 3, position=position, pooling="mean"))
    if position == "learned":
        torch.nn.init.normal_(model.inputs.patches.position_weight)
    image = torch.rand(1, 1, 8, 8)
    turned = image.roll(4, dims=3)  # its patches in another order
    same = torch.allclose(model.answer(image), model.answer(turned), atol=1e-5)
    assert same == (position == "none")


def test_the_scale_of_images_is_that_of_each_channel():
    images = torch.rand(3000, 2, 4, 4) * torch.tensor([1.0, 0.1]).view(2, 1, 1) + 0.3
    inputs = ImageInputs(VisionTransformer((4, 4), 2, 8, 2, 1, 2, channels=2).inputs.patches)
    inputs.fit(images)
    assert torch.allclose(inputs.location, images.mean((0, 2, 3)), atol=1e-4)
    assert torch.allclose(inputs.scale, images.std((0, 2, 3)), rtol=1e-3)


def test_temperature_is_for_answers_and_not_for_training():
    model = classifier("gru", "last")
    x = torch.randn(2, 5, 2)
    before = model.answer(x)
    model.temperature.fill_(2.0)
    assert torch.allclose(model.answer(x), before / 2)
    assert torch.allclose(model.train().answer(x), before, atol=1e-6)


def test_stochastic_depth_is_for_training_and_takes_whole_rows():
    model = VisionTransformer((4, 4), 2, 8, 2, 3, 2, stochastic_depth=0.5)
    assert [block.stochastic_depth for block in model.body.layers[:3]] == [0, 0.25, 0.5]
    ready(model)
    x = torch.rand(1, 1, 4, 4).expand(64, -1, -1, -1)
    assert torch.allclose(model.answer(x)[0], model.answer(x)[1])
    drawn = model.train().answer(x)
    assert 1 < len(drawn.round(decimals=4).unique(dim=0)) <= 16


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: classifier("gru", "ends"), "'ends', which is for a body that sees the whole"),
        (lambda: classifier("gru", "token"), "'token', which is for a body"),
        (lambda: classifier("gru", "sum"), "pooling is 'sum', expected one of"),
        (lambda: Classifier(NumberInputs(2), GRU(5, 4), 3), "takes 5 features, the input layer gi"),
        (lambda: classifier("gru", "last")(torch.zeros(2, 3)), "shape [2, 3], expected"),
        (
            lambda: classifier("gru", "last", TokenInputs(4, 3))(torch.zeros(2, 3)),
            "x is torch.float32 of shape [2, 3], expected token ids",
        ),
        (lambda: classifier("gru", "none").answer(torch.zeros(1, 2, 2)), "every step has a class"),
        (
            lambda: VisionTransformer((4, 4), 2, 8, 2, 1, 2).answer(torch.zeros(1, 3, 4, 4)),
            "shape [1, 3, 4, 4], expected [batch, 1, height, width]",
        ),
        (lambda: VisionTransformer((5, 4), 2, 8, 2, 1, 2), "5 pixels high"),
        (
            lambda: Classifier(TokenInputs(7, 5), GRU(5, 4), 3, beside=[GramBag(8, 2)]),
            "GramBag beside the body, expected a causal layer with 3 outputs",
        ),
        (
            lambda: Classifier(NumberInputs(2), GRU(6, 4), 3, beside=[GRU(2, 3)]),
            "beside is for tokens, and the input layer is NumberInputs",
        ),
        (
            lambda: Classifier(
                TokenInputs(7, 5), GRU(5, 4), 3, pooling="none", beside=[GramBag(8, 3)]
            ),
            "beside is for one answer to a sequence",
        ),
    ],
)
def test_parts_that_do_not_fit(make, words):
    with pytest.raises(InputError) as error:
        make()
    assert words in str(error.value)
    assert "\n" not in str(error.value)
