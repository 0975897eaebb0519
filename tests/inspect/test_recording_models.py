"""Values seen and replaced in blocks and whole models."""

import pytest
import torch
from torch.nn.functional import linear

from tests.inspect.watching import MASK, close
from throughtime.inspect import intervene, record, tap_names
from throughtime.layers import (
    GRU,
    LSTM,
    Bidirectional,
    Decoder,
    Encoder,
    FeedForward,
    RecurrentDecoder,
    TransformerBlock,
)
from throughtime.models import (
    Autoregressive,
    Categorical,
    Classifier,
    EncoderDecoder,
    Normal,
    NumberInputs,
    TokenInputs,
    VisionTransformer,
)

pytestmark = pytest.mark.usefixtures("double")


@pytest.mark.parametrize("activation", ["relu", "swiglu"])
def test_feed_forward(activation):
    layer, x = FeedForward(4, 6, activation=activation), torch.randn(2, 6, 4)
    with record(layer) as trace:
        output, _ = layer(x, None, MASK)
    assert trace["inner"].shape == (2, 6, 6)
    mixed = linear(trace["inner"], layer.weight_output, layer.bias_output)
    close(trace["output"], torch.where(MASK.unsqueeze(-1), mixed, 0))
    close(trace["output"], output)


def test_a_block_shows_real_steps_in_their_places():
    """Feed-forward runs over the real steps alone, side by side: what is seen is not."""
    block, x = TransformerBlock(8, 2, horizon=8), torch.randn(2, 6, 8)
    with record(block) as trace:
        output, _ = block(x, None, MASK)
    close(trace["after_attention"] + trace["feed_forward.output"], output.detach())
    close(trace["residual"], output.detach())
    start = torch.where(MASK.unsqueeze(-1), x, 0)
    close(trace["after_attention"], start + trace["attention.output"])
    assert "after_cross_attention" not in tap_names(block)

    def where_it_stands(value):
        return torch.arange(6.0).view(1, 6, 1).expand_as(value)

    with intervene(block, {"feed_forward.output": where_it_stands}):
        moved, _ = block(x, None, MASK)
    expected = trace["after_attention"] + where_it_stands(x)
    close(moved, torch.where(MASK.unsqueeze(-1), expected, 0))


def test_dropout_draws_the_same_numbers_while_watched():
    block, x = TransformerBlock(8, 2, horizon=8, dropout=0.5), torch.randn(2, 6, 8)
    torch.manual_seed(3)
    plain, _ = block(x, None, MASK)
    torch.manual_seed(3)
    with record(block):
        watched, _ = block(x, None, MASK)
    assert torch.equal(plain, watched)


def encoder_decoder(body):
    return EncoderDecoder(
        TokenInputs(10, 8),
        Encoder(8, 2, 1) if isinstance(body, Decoder) else Bidirectional(GRU(8, 4)),
        Autoregressive(TokenInputs(9, 8), body, Categorical(8, 9)),
    ).eval()


def test_encoder_decoder_of_attention():
    model = encoder_decoder(Decoder(8, 2, 1, memory_size=8))
    x, y = torch.randint(10, (2, 7)), torch.randint(9, (2, 5))
    mask = torch.ones(2, 7, dtype=torch.bool)
    mask[0, 4:] = False
    with record(model, "*.attention", "*.after_cross_attention", "decoder.logits") as trace:
        logits, _ = model(x, y, mask)
    block = "decoder.body.layers.1"
    assert list(trace) == [
        "encoder.layers.1.attention.attention",
        f"{block}.attention.attention",
        f"{block}.cross_attention.attention",
        f"{block}.after_cross_attention",
        "decoder.logits",
    ]
    assert trace[f"{block}.cross_attention.attention"].shape == (2, 2, 5, 7)
    assert (trace[f"{block}.cross_attention.attention"][0, ..., 4:] == 0).all()
    close(trace["decoder.logits"], logits.detach())


def test_encoder_decoder_of_recurrence():
    model = encoder_decoder(RecurrentDecoder(8, 8, 2, memory_size=8, dropout=0.1))
    x, y = torch.randint(10, (2, 7)), torch.randint(9, (2, 5))
    with record(model, "decoder.*") as trace:
        model(x, y)
    assert [name for name in trace if name.endswith("attention")] == [
        "decoder.body.layers.2.attention"
    ]
    assert trace["decoder.body.layers.2.attention"].shape == (2, 1, 5, 7)
    assert trace["decoder.body.layers.4.layer.cell"].shape == (2, 5, 8)


def test_logits_that_are_replaced_decide_what_is_said():
    model = Autoregressive(TokenInputs(9, 8), GRU(8, 8), Categorical(8, 9))
    favourite = torch.zeros(9).index_fill(0, torch.tensor([4]), 50.0)
    with intervene(model, {"logits": lambda value: value + favourite}):
        drawn = model.sample(6, batch_size=3)
    assert (drawn == 4).all()


def test_numbers_have_parameters():
    model = Autoregressive(NumberInputs(1), LSTM(NumberInputs(1).output_size, 4), Normal(4, 1))
    x = torch.randn(2, 5, 1)
    with record(model, "parameters") as trace:
        output, _ = model(x, None, MASK[:, :5])
    close(trace["parameters"], output.detach())


def test_classifier():
    model = Classifier(TokenInputs(10, 8), GRU(8, 6), 3, pooling="mean").eval()
    torch.nn.init.normal_(model.weight)
    x = torch.randint(10, (2, 6))
    with record(model) as trace:
        output, _ = model(x, None, MASK)
        answer = model.answer(x, MASK)
    after_each, at_the_end = trace.calls("logits")
    close(after_each, output.detach())
    close(at_the_end, answer.detach())
    with intervene(model, {"body.hidden": torch.zeros_like}):
        close(model.answer(x), model.bias.expand(2, 3))


def test_vision_transformer():
    model = VisionTransformer((8, 8), 4, 8, heads=2, layers=2, classes=3).eval()
    with record(model, "*.attention", "logits") as trace:
        answer = model.answer(torch.rand(2, 1, 8, 8))
    assert [list(value.shape) for value in trace.values()] == [
        [2, 2, 5, 5],  # the token, and four patches
        [2, 2, 5, 5],
        [2, 3],
    ]
    close(trace["logits"], answer.detach())
