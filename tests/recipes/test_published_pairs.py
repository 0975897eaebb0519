"""Recipes of pronunciation and translation: what they are, and that they begin to learn."""

import math
from dataclasses import replace

import pytest

from throughtime import recipes
from throughtime.errors import InputError
from throughtime.layers import GRU, LSTM, Bidirectional, TransformerBlock
from throughtime.models import build_encoder_decoder, parameters
from throughtime.tasks.data_config import DataConfig
from throughtime.tasks.opening import open_data
from throughtime.training.fitting import fit


@pytest.fixture(scope="module")
def spoken():
    return open_data(DataConfig("numerals"))


@pytest.fixture(scope="module")
def reversed_words():
    return open_data(DataConfig("reversal", tokens="characters", joint=True))


@pytest.mark.parametrize(("kind", "cell"), [("lstm", LSTM), ("gru", GRU)])
def test_recurrent_pronunciation_is_two_layers_of_256(spoken, kind, cell):
    config = recipes.PUBLISHED[f"pronunciation-{kind}"](spoken)
    model = build_encoder_decoder(config.model)
    both = [layer for layer in model.encoder.modules() if isinstance(layer, Bidirectional)]
    assert [layer.output_size for layer in both] == [512, 512]
    above = [layer for layer in model.decoder.modules() if isinstance(layer, cell)]
    assert [layer.hidden_size for layer in above] == [256, 256]
    assert config.training.measure == "wer"
    assert config.training.patience is None


def test_the_transformers_have_the_blocks_they_say(spoken, reversed_words):
    deep = build_encoder_decoder(recipes.PUBLISHED["pronunciation-transformer"](spoken).model)
    tiny = build_encoder_decoder(recipes.PUBLISHED["captions-transformer"](reversed_words).model)
    for model, blocks, size in ((deep, 6, 256), (tiny, 8, 128)):
        found = [layer for layer in model.modules() if isinstance(layer, TransformerBlock)]
        assert [block.input_size for block in found] == [size] * blocks
    assert tiny.source is tiny.decoder.inputs
    # Wu et al. 2021 give 2.6 million with 10,000 tokens: what is not vectors is 1.3 million.
    assert parameters(tiny) - 128 * (tiny.head.size + 1) == pytest.approx(1.3e6, rel=0.05)


@pytest.mark.parametrize("name", ["pronunciation-gru", "pronunciation-transformer"])
def test_a_few_steps_teach_something(spoken, name):
    config = recipes.PUBLISHED[name](
        spoken, training={"max_steps": 12, "batch_size": 256, "warmup": 2, "measure": "loss"}
    )
    config = replace(config, model=replace(config.model, width=32, layers=1))
    fitted = fit(config, spoken)
    assert fitted.result is not None
    guessing = math.log(config.model.tokens)
    assert fitted.result.validation["loss"] < guessing - 0.03


def test_data_of_another_kind_are_refused(spoken, reversed_words):
    with pytest.raises(InputError, match="pronunciation-gru is for pairs: --tokens characters,wor"):
        recipes.pronunciation(reversed_words, "gru")
    with pytest.raises(InputError, match="captions-transformer is for pairs: --tokens bpe --voc"):
        recipes.captions(spoken)
    with pytest.raises(InputError, match="captions-gru is for pairs"):
        recipes.PUBLISHED["captions-gru"](open_data(DataConfig("words")))
