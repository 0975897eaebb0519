"""Marian: the same logits and the same translations as transformers."""

import json

import pytest
import torch
from torch import nn

from tests.interop.hugging import perturbed, reread, right_padding, same, saved
from throughtime.decoding import beam_search, refuses
from throughtime.decoding.stepper import ModelStepper
from throughtime.errors import InputError
from throughtime.interop import load, load_marian, save_marian
from throughtime.models import ModelConfig, build_encoder_decoder

transformers = pytest.importorskip("transformers")

TOKENS, PAD, END, ROOM = 37, 36, 0, 38
SIZES = {
    "vocab_size": TOKENS, "d_model": 16, "encoder_layers": 2, "decoder_layers": 2,
    "encoder_attention_heads": 4, "decoder_attention_heads": 2, "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 20, "max_position_embeddings": 40, "pad_token_id": PAD,
    "decoder_start_token_id": PAD, "eos_token_id": END, "forced_eos_token_id": None,
    "scale_embedding": True, "activation_function": "swish",
}  # fmt: skip
APART = {"share_encoder_decoder_embeddings": False, "decoder_vocab_size": 41}
OPTIONS = {
    "as-published": {},
    "relu-unscaled": {"activation_function": "relu", "scale_embedding": False},
    "vocabularies-apart": {**APART, "activation_function": "gelu"},
    "nothing-tied": {**APART, "tie_word_embeddings": False, "decoder_layers": 1},
    "head-apart": {"tie_word_embeddings": False, "decoder_start_token_id": 4},
    "width-of-two-heads": {"d_model": 6, "encoder_attention_heads": 1, "encoder_layers": 1},
}


def peer(seed=0, **options):
    config = transformers.MarianConfig(**{**SIZES, **options})
    model = perturbed(transformers.MarianMTModel, config, seed)
    model.final_logits_bias.normal_()
    return model


def given(model):
    return model.state_dict(), model.config.to_dict()


def sources(*lengths):
    """Texts with an end, and which steps are real."""
    mask = right_padding(*lengths)
    ends = torch.arange(mask.shape[1]) == torch.tensor(lengths).unsqueeze(1) - 1
    drawn = torch.randint(1, PAD, mask.shape)
    return torch.where(ends, END, torch.where(mask, drawn, PAD)), mask


def assert_same_logits(ours, model, tolerance=None):
    x, mask = sources(9, 5, 1)
    y = torch.randint(1, PAD, (3, 7))
    begin = torch.full((3, 1), model.config.decoder_start_token_id)
    fed = torch.cat([begin, y], 1)
    expected = model(input_ids=x, attention_mask=mask.long(), decoder_input_ids=fed).logits
    found, _ = ours(x, torch.cat([ours.decoder.begin(3), y], 1), mask)
    if tolerance is None:
        same(found, expected)
    else:
        torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@torch.no_grad()
def test_logits_are_those_of_transformers_and_so_are_they_back_again(options, tmp_path):
    model = peer(**options)
    ours = load_marian(saved(model, tmp_path / "theirs"))
    assert not ours.training
    assert_same_logits(ours, model)
    assert_same_logits(load_marian(*given(model)), model)
    begin = model.config.decoder_start_token_id
    save_marian(ours, tmp_path / "ours", {"pad_token_id": begin, "max_position_embeddings": 40})
    back = reread(transformers.MarianMTModel, tmp_path / "ours")
    unused = "model.shared.weight"  # where nothing is tied, transformers computes without it
    tied = model.config.tie_word_embeddings
    for name, weight in back.state_dict().items():
        if name != unused or tied:
            assert torch.equal(weight, model.state_dict()[name]), name
    assert_same_logits(ours, back)


@torch.no_grad()
def test_half_precision_and_positions_in_the_file():
    model = peer()
    tensors, config = given(model)
    half = {name: tensor.half() for name, tensor in tensors.items()}
    assert_same_logits(load_marian(half, config), model, 0.03)
    name = "model.decoder.embed_positions.weight"
    assert name in tensors
    with pytest.raises(InputError, match=r"decoder\.embed_positions\.weight is not what"):
        load_marian(tensors | {name: tensors[name].roll(1, 0)}, config)


@torch.no_grad()
def test_step_by_step_it_is_the_same():
    ours = load_marian(*given(peer()))
    x, mask = sources(9, 5)
    y = torch.cat([ours.decoder.begin(2), torch.randint(1, PAD, (2, 6))], 1)
    expected, _ = ours(x, y, mask)
    state = ours.encode(x, mask)
    for t in range(7):
        found, state = ours.decoder(y[:, t : t + 1], state)
        torch.testing.assert_close(found[:, 0], expected[:, t], atol=1e-5, rtol=1e-5)


# Translations


@pytest.fixture(scope="module")
def trained():
    """A model that has learnt a little: how long texts are, and which tokens are in them."""
    model = peer(1, activation_function="relu", dropout=0.0).train()
    rate = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(150):
        lengths = torch.randint(2, 10, (32,))
        x, mask = sources(*lengths.tolist(), 9)
        labels = torch.where(mask, torch.where(x == END, END, x % 35 + 1), -100)
        loss = model(input_ids=x, attention_mask=mask.long(), labels=labels).loss
        rate.zero_grad()
        loss.backward()
        rate.step()
    return model.eval()


def sharpened(model, factor):
    """The same, surer of what it says."""
    torch.manual_seed(0)
    other = transformers.MarianMTModel(model.config).eval()
    other.load_state_dict(model.state_dict())
    last = other.model.decoder.layers[-1].final_layer_norm
    with torch.no_grad():
        last.weight.mul_(factor)
        last.bias.mul_(factor)
    return other


def searched(ours, x, mask, **options):
    """Our four beams; what was found, padded as transformers does it."""
    state, begin = ours.encode(x, mask), ours.decoder.begin(len(x))
    found = beam_search(
        ours.decoder, begin, ROOM - 1, state=state, beams=4, stop=[END], **options
    )  # fmt: skip
    assert found.ended.all()
    return torch.where(found.tokens[:, 0] < 0, PAD, found.tokens[:, 0]), found.scores[:, 0]


def theirs(model, x, mask, **options):
    """The four beams of transformers, without the token that it begins with."""
    found = model.generate(
        x, attention_mask=mask.long(), num_beams=4, do_sample=False, max_length=ROOM,
        return_dict_in_generate=True, output_scores=True, **options,
    )  # fmt: skip
    return found.sequences[:, 1:], found.sequences_scores


def assert_same_texts(found, expected):
    longest = max(found.shape[1], expected.shape[1])
    found, expected = (
        nn.functional.pad(one, (0, longest - one.shape[1]), value=PAD) for one in (found, expected)
    )
    assert torch.equal(found, expected)


LENGTHS = (9, 5, 7, 2, 8, 1, 3, 4, 6)


@pytest.mark.parametrize("length_penalty", [-0.5, 0.0, 0.6, 1.0])
@torch.no_grad()
def test_beam_search_writes_what_transformers_writes(trained, length_penalty):
    ours = load_marian(*given(trained))
    x, mask = sources(*LENGTHS)
    expected, scores = theirs(
        trained, x, mask, early_stopping="never", length_penalty=length_penalty
    )
    assert len({tuple(row) for row in expected.tolist()}) > 4
    found, ours_scores = searched(ours, x, mask, length_penalty=length_penalty)
    assert_same_texts(found, expected)
    torch.testing.assert_close(ours_scores, scores, atol=1e-5, rtol=1e-5)
    plain, _ = searched(ours, x, mask, length_penalty=length_penalty, stepper=ModelStepper)
    assert torch.equal(plain, found)


@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1.0])
@torch.no_grad()
def test_a_model_that_is_sure_gives_the_same_with_the_defaults_of_transformers(
    trained, length_penalty
):
    model = sharpened(trained, 3)
    ours = load_marian(*given(model))
    assert "activation" not in str(refuses(ours.decoder))
    x, mask = sources(*LENGTHS)
    expected, _ = theirs(model, x, mask, length_penalty=length_penalty)
    assert_same_texts(searched(ours, x, mask, length_penalty=length_penalty)[0], expected)


@torch.no_grad()
def test_where_transformers_stops_early_ours_is_never_worse(trained):
    x, mask = sources(*LENGTHS)
    _, scores = theirs(trained, x, mask)
    _, ours_scores = searched(load_marian(*given(trained)), x, mask)
    assert (ours_scores >= scores - 1e-5).all()


@torch.no_grad()
def test_tokens_that_are_ruled_out_are_never_written(trained, tmp_path):
    model = sharpened(trained, 1)
    model.final_logits_bias[0, PAD] = 9.0  # so that it would be written everywhere
    config = {"bad_words_ids": [[PAD]]}
    x, mask = sources(*LENGTHS)
    expected, _ = theirs(model, x, mask, early_stopping="never", renormalize_logits=True, **config)
    ours = load_marian(model.state_dict(), model.config.to_dict() | config)
    found, _ = searched(ours, x, mask)
    assert_same_texts(found, expected)
    # In a file of its own, as transformers writes it now.
    save_marian(ours, tmp_path, {"pad_token_id": PAD, "max_position_embeddings": 40})
    apart = json.loads((tmp_path / "generation_config.json").read_text())
    assert apart["bad_words_ids"] == [[PAD]]
    again = load(tmp_path)
    assert_same_texts(searched(again, x, mask)[0], expected)
    back = reread(transformers.MarianMTModel, tmp_path)
    assert back.generation_config.bad_words_ids == [[PAD]]
    assert back.final_logits_bias.isfinite().all()


# What it cannot do


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normalize_before": True}, "normalize_before is True, expected False"),
        ({"normalize_embedding": True}, "normalize_embedding is True, expected False"),
        ({"add_final_layer_norm": True}, "add_final_layer_norm is True"),
        ({"static_position_embeddings": False}, "static_position_embeddings is False"),
        ({"encoder_layerdrop": 0.1}, "encoder_layerdrop is 0.1, expected 0"),
        ({"activation_function": "mish"}, "activation_function is 'mish'"),
        ({"d_model": 15}, "d_model is 15, expected an even number"),
        ({"bad_words_ids": [[1, 2]]}, r"bad_words_ids is \[\[1, 2\]\], expected lists of one id"),
        ({"decoder_start_token_id": 99}, "decoder_start_token_id is 99, expected an id below 37"),
        ({"decoder_vocab_size": 41}, "decoder_vocab_size is 41, expected 37"),
        ({"num_hidden_layers": 3}, "num_hidden_layers is 3, expected 2"),
        ({"sparse": True}, "does not know: sparse = True"),
        ({"decoder_layers": 3}, r"tensor decoder\.layers\.2\.self_attn\.q_proj\.weight is missing"),
        ({"decoder_layers": 1}, r"no place for: model\.decoder\.layers\.1\..* and 18 more"),
    ],
)
def test_what_it_cannot_do_it_refuses_by_name(options, message):
    tensors, config = given(peer())
    with pytest.raises(InputError, match=message):
        load_marian(tensors, config | options)


def of_ours(**options):
    sizes = {
        "tokens": TOKENS, "source_tokens": TOKENS, "width": 16, "heads": 2, "layers": 1,
        "position": "sinusoidal", "norm_first": False, "hidden": 24, "horizon": 20,
    }  # fmt: skip
    return build_encoder_decoder(ModelConfig("transformer", **sizes | options))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("shared", [True, False])
@torch.no_grad()
def test_a_model_of_ours_leaves(shared, tied, tmp_path):
    torch.manual_seed(0)
    model = of_ours(shared=shared, tied=tied, dropout=0.1).eval()
    save_marian(model, tmp_path, {"pad_token_id": PAD, "eos_token_id": 2})
    back = reread(transformers.MarianMTModel, tmp_path)
    assert (back.config.eos_token_id, back.config.dropout) == (2, 0.1)
    assert back.config.max_position_embeddings == 21
    assert_same_logits_but_padding(model, back)
    assert_same_logits_but_padding(load(tmp_path), back)


def assert_same_logits_but_padding(ours, model):
    """The vector of padding was that of the beginning, which counts where it is tied."""
    x, mask = sources(9, 5)
    y = torch.randint(1, PAD, (2, 6))
    fed = torch.cat([torch.full((2, 1), PAD), y], 1)
    expected = model(input_ids=x, attention_mask=mask.long(), decoder_input_ids=fed).logits
    found, _ = ours(x, torch.cat([ours.decoder.begin(2), y], 1), mask)
    same(found[..., :PAD], expected[..., :PAD])


def test_a_model_of_another_shape_does_not_leave(tmp_path):
    pad = {"pad_token_id": PAD}
    for model, options, message in (
        (of_ours(), {}, "pad_token_id is None, expected an id of both vocabularies"),
        (of_ours(), {"pad_token_id": TOKENS}, "pad_token_id is 37"),
        (of_ours(norm_first=True), pad, "norm_first is True, expected False"),
        (of_ours(position="learned"), pad, "position is 'learned', expected 'sinusoidal'"),
        (of_ours(encoder="gru"), pad, "the encoder is a Stack, no Encoder"),
        (of_ours(kv_heads=1), pad, "kv_heads is 1, expected 2"),
    ):
        with pytest.raises(InputError, match=message):
            save_marian(model, tmp_path / "none", options)
    assert not (tmp_path / "none").exists()
