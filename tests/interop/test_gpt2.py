"""GPT-2: the same logits and the same texts as transformers."""

import pytest
import torch
from torch import nn

from tests.interop.hugging import perturbed, reread, right_padding, same, saved
from throughtime.decoding import Compiled, Sampling, generate
from throughtime.decoding.compiled import refuses
from throughtime.errors import InputError
from throughtime.interop import load, load_gpt2, save_gpt2
from throughtime.layers import GRU
from throughtime.models import (
    Autoregressive,
    Categorical,
    ModelConfig,
    TokenInputs,
    build,
)

transformers = pytest.importorskip("transformers")

TOKENS, LENGTH, BEGIN = 23, 12, 3
GREEDY = Sampling(greedy=True)
OPTIONS = {
    "as-published": {},
    "other-sizes": {"n_inner": 20, "layer_norm_epsilon": 1e-3, "n_head": 1, "n_layer": 3},
    "gelu": {"activation_function": "gelu", "tie_word_embeddings": False},
    "relu": {"activation_function": "relu", "bos_token_id": None},
    "silu": {"activation_function": "silu"},
    "swish": {"activation_function": "swish", "reorder_and_upcast_attn": True},
    "gelu_fast": {"activation_function": "gelu_fast"},
    "gelu_pytorch_tanh": {"activation_function": "gelu_pytorch_tanh"},
}


def peer(**options):
    sizes = {"vocab_size": TOKENS, "n_positions": LENGTH, "n_embd": 16, "n_layer": 2, "n_head": 4}
    tokens = {"bos_token_id": BEGIN, "eos_token_id": 0}
    config = transformers.GPT2Config(**{**sizes, **tokens, **options})
    return perturbed(transformers.GPT2LMHeadModel, config)


def given(model):
    return model.state_dict(), model.config.to_dict()


def ids(*shape):
    return torch.randint(TOKENS, shape)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@torch.no_grad()
def test_logits_are_those_of_transformers_and_so_are_they_back_again(options, tmp_path):
    model, x = peer(**options), ids(3, LENGTH)
    expected = model(x).logits
    ours = load_gpt2(saved(model, tmp_path / "theirs"))
    same(ours(x)[0], expected)
    assert not ours.training
    save_gpt2(ours, tmp_path / "ours")
    back = reread(transformers.GPT2LMHeadModel, tmp_path / "ours")
    for name, weight in model.state_dict().items():
        assert torch.equal(back.state_dict()[name], weight), name
    same(back(x).logits, expected)  # gelu may be written otherwise


@torch.no_grad()
def test_padding_is_a_mask():
    model, x, mask = peer(), ids(3, LENGTH), right_padding(LENGTH, 5, 1)
    ours = load_gpt2(*given(model))
    same(ours(x, None, mask)[0], model(x, attention_mask=mask.long()).logits, mask)
    left, places = mask.flip(1), (mask.flip(1).cumsum(1) - 1).clamp(min=0)
    expected = model(x, attention_mask=left.long(), position_ids=places).logits
    same(ours(x, None, left)[0], expected, left)


@torch.no_grad()
def test_a_model_without_a_head_and_half_precision():
    model, x = peer(), ids(2, 5)
    ours = load_gpt2(model.transformer.state_dict(), model.config.to_dict())
    same(ours(x)[0], model(x).logits)
    half = {name: tensor.half() for name, tensor in model.state_dict().items()}
    found = load_gpt2(half, model.config.to_dict())(x)[0]
    torch.testing.assert_close(found, model(x).logits, atol=0.02, rtol=0.02)
    assert found.dtype == torch.float32


@torch.no_grad()
def test_step_by_step_it_is_the_same():
    model, x = peer(), ids(2, LENGTH)
    ours = load_gpt2(*given(model))
    outputs, state = [], None
    for t in range(LENGTH):
        output, state = ours(x[:, t : t + 1], state)
        outputs.append(output)
    same(torch.cat(outputs, 1), model(x).logits)


def test_the_likeliest_text_is_that_of_transformers():
    model, x = peer(), ids(3, 4)
    nn.init.normal_(model.transformer.wpe.weight)  # else texts repeat themselves
    ours = load_gpt2(*given(model))
    options = {"do_sample": False, "eos_token_id": None, "max_new_tokens": 8}
    expected = model.generate(x, attention_mask=torch.ones_like(x), **options)[:, 4:]
    found = generate(ours, x, 8, sampling=GREEDY, state=ours.initial_state(3))
    assert torch.equal(found.tokens, expected)
    assert len(expected.unique()) > 4
    # From the beginning of a document, which has a token of its own.
    begun = torch.cat([torch.full((3, 1), BEGIN), x], 1)
    options["max_new_tokens"] = 7
    expected = model.generate(begun, attention_mask=torch.ones_like(begun), **options)[:, 5:]
    assert torch.equal(generate(ours, x, 7, sampling=GREEDY).tokens, expected)


def test_a_text_goes_on_where_gpt2_ends():
    ours = load_gpt2(*given(peer()))
    found = generate(ours, ids(1, 4), 3 * LENGTH, sampling=GREEDY)
    assert found.log_probs.isfinite().all()


@pytest.mark.parametrize("activation", ["gelu_new", "gelu", "relu", "silu"])
def test_the_compiled_step_writes_the_same(activation):
    x = ids(2, 4)
    ours = load_gpt2(*given(peer(activation_function=activation)))
    if refuses(ours) is not None:
        pytest.skip("there are no compiled kernels here")
    plain = generate(ours, x, 9, sampling=GREEDY)
    fast = generate(ours, x, 9, sampling=GREEDY, stepper=Compiled(ours))
    assert torch.equal(plain.tokens, fast.tokens)


def test_masks_in_old_files_are_looked_at():
    tensors, config = given(peer())
    seen = torch.ones(1, 1, LENGTH, LENGTH)
    old = {"transformer.h.0.attn.bias": seen.tril().byte()}
    old["transformer.h.1.attn.masked_bias"] = torch.tensor(-1e4)
    load_gpt2(tensors | old, config)
    with pytest.raises(InputError, match=r"tensor h\.0\.attn\.bias is not what"):
        load_gpt2(tensors | {"transformer.h.0.attn.bias": seen}, config)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True"),
        ({"scale_attn_weights": False}, "scale_attn_weights is False, expected True"),
        ({"add_cross_attention": True}, "add_cross_attention is True, expected False"),
        ({"activation_function": "quick_gelu"}, "activation_function is 'quick_gelu'"),
        ({"embd_pdrop": 0.2}, "embd_pdrop is 0.2, expected 0.1"),
        ({"resid_pdrop": 1}, "resid_pdrop is 1, expected a probability"),
        ({"n_head": 0}, "n_head is 0, expected a whole number of at least 1"),
        ({"n_ctx": 7}, "n_ctx is 7, expected 12"),
        ({"layer_norm_epsilon": "small"}, "layer_norm_epsilon is 'small', expected a number"),
        ({"tie_word_embeddings": 1}, "tie_word_embeddings is 1, expected true or false"),
        ({"model_type": "llama"}, "model_type is 'llama', expected gpt2"),
        ({"rope_theta": 10_000}, "does not know: rope_theta = 10000"),
        ({"vocab_size": 24}, r"tensor wte.weight is torch.float32 of shape \[23, 16\], expected"),
    ],
)
def test_what_it_cannot_do_it_refuses_by_name(options, message):
    tensors, config = given(peer())
    with pytest.raises(InputError, match=message) as caught:
        load_gpt2(tensors, config | options)
    assert "\n" not in str(caught.value)


def test_every_tensor_is_used_or_named():
    tensors, config = given(peer())
    more = {"score.weight": torch.zeros(2, 16)}
    with pytest.raises(InputError, match=r"has no place for: score\.weight; `without`"):
        load_gpt2(tensors | more, config)
    load_gpt2(tensors | more, config, without=["score."])
    with pytest.raises(InputError, match="without holds 'scores', expected a beginning"):
        load_gpt2(tensors, config, without=["scores"])
    few = {name: one for name, one in tensors.items() if "h.1.ln_2.bias" not in name}
    with pytest.raises(InputError, match=r"tensor h\.1\.ln_2\.bias is missing"):
        load_gpt2(few, config)
    other = tensors | {"lm_head.weight": torch.zeros(TOKENS, 16)}
    with pytest.raises(InputError, match=r"lm_head\.weight is not what"):
        load_gpt2(other, config)
    with pytest.raises(InputError, match="are the same tensor"):
        load_gpt2(tensors | {"wpe.weight": torch.zeros(LENGTH, 16)}, config)


@pytest.mark.parametrize("tied", [True, False])
@torch.no_grad()
def test_a_model_of_ours_leaves(tied, tmp_path):
    torch.manual_seed(1)
    config = ModelConfig(
        "transformer", tokens=TOKENS, width=16, heads=2, layers=2, horizon=7, tied=tied,
        position="learned", feed_forward="gelu_tanh", dropout=0.1, hidden=24,
    )  # fmt: skip
    model = build(config).eval()
    nn.init.normal_(model.body.layers[0].weight)  # pyright: ignore
    save_gpt2(model, tmp_path, {"eos_token_id": 5, "n_embd": 1})
    theirs = reread(transformers.GPT2LMHeadModel, tmp_path)
    assert (theirs.config.eos_token_id, theirs.config.n_positions) == (5, 8)
    assert (theirs.config.n_embd, theirs.config.resid_pdrop) == (16, 0.1)
    x = ids(2, 8)
    same(model(x)[0], theirs(x).logits)
    again = load(tmp_path)
    same(again(x)[0], theirs(x).logits)


def test_a_model_of_another_shape_does_not_leave(tmp_path):
    def of(**options):
        return build(ModelConfig("transformer", **{"tokens": 9, "position": "learned"} | options))

    shifted = of(tied=True)
    nn.init.ones_(shifted.head.bias)  # pyright: ignore
    recurrent = Autoregressive(TokenInputs(5, 4), GRU(4, 8), Categorical(8, 5))
    for model, message in (
        (of(position="rotary"), "position is 'none', expected 'learned'"),
        (of(norm="rms"), "norm is 'rms', expected 'layer'"),
        (of(kv_heads=2), "kv_heads is 2, expected 4"),
        (of(norm_first=False), "norm_first is False, expected True"),
        (of(feed_forward="swiglu"), "activation is 'swiglu', expected one of"),
        (of(tokens=0), "one of numbers, expected one of tokens"),
        (shifted, "the head has a shift that is not zero"),
        (recurrent, "the body is a GRU, expected a Decoder"),
    ):
        with pytest.raises(InputError, match=message):
            save_gpt2(model, tmp_path / "none")  # pyright: ignore
    assert not (tmp_path / "none").exists()
