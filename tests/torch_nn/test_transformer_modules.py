"""The Transformer family as modules: weights, copies, parts of others, mistakes."""

import copy
import pickle
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.torch_nn.transformers import (
    BATCH,
    HEADS,
    INNER,
    KINDS,
    OPTIONS,
    SIZE,
    TIME,
    inputs,
    make,
    masks,
)
from throughtime import torch_nn
from throughtime.errors import InputError
from throughtime.torch_nn import transformer as ours

# torch.nn's own words on the ways that it takes
pytestmark = [
    pytest.mark.filterwarnings("ignore:enable_nested_tensor is True, but:UserWarning"),
    pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("option", OPTIONS)
def test_same_seed_same_weights_and_state_dict_both_ways(kind, option):
    made = []
    for library in (nn, ours):
        torch.manual_seed(3)
        options = OPTIONS[option]
        if kind == "Transformer":
            made.append(library.Transformer(SIZE, HEADS, 1, 2, INNER, **options))
        else:
            part = "Encoder" if "Encoder" in kind else "Decoder"
            layer = getattr(library, f"Transformer{part}Layer")(SIZE, HEADS, INNER, **options)
            made.append(layer)
    theirs, module = made
    one, other = module.state_dict(), theirs.state_dict()
    assert [*one] == [*other]
    assert all(torch.equal(one[name], other[name]) for name in one)
    theirs.load_state_dict(one)
    module.load_state_dict(other)


def test_no_warnings_of_ways_not_taken():
    warnings.simplefilter("error")
    torch_nn.Transformer(SIZE, HEADS, 1, 1, INNER)
    layer = torch_nn.TransformerEncoderLayer(SIZE, HEADS, INNER, norm_first=True)
    encoder = torch_nn.TransformerEncoder(layer, 1)
    assert encoder.enable_nested_tensor
    hidden = torch.zeros(2, 3).bool()
    encoder(torch.randn(3, 2, SIZE), torch.zeros(3, 3), src_key_padding_mask=hidden)


@pytest.mark.parametrize("kind", KINDS)
def test_copies(kind):
    module = make(ours, kind, "after", "batch first")
    given = inputs(kind, "batch first", torch.float32).values()
    options, _ = masks(kind, "padding", "batch first", torch.float32)
    expected = module(*given, **options)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert type(other) is type(module)
        torch.testing.assert_close(other(*given, **options), expected, rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_from_torch_keeps_everything(kind):
    theirs = make(nn, kind, "function", "batch first", dropout=0.4).eval()
    module = type(make(ours, kind, "after", "batch first")).from_torch(theirs)
    assert isinstance(module, type(theirs))
    before, after = ([*m.named_modules()] for m in (theirs, module))
    assert [name for name, _ in before] == [name for name, _ in after]
    for (_, one), (_, other) in zip(before, after, strict=True):
        assert one.training == other.training
        assert other.__class__.__module__.startswith("throughtime") or type(one) is type(other)
    assert all(a is b for a, b in zip(module.parameters(), theirs.parameters(), strict=True))
    assert not any(type(part) is nn.MultiheadAttention for _, part in after)
    assert any(type(part) is nn.MultiheadAttention for _, part in before)  # left as it was


def test_shared_layers_stay_shared():
    theirs = make(nn, "Encoder", "after", "batch first")
    theirs.layers[1] = theirs.layers[0]
    module = ours.TransformerEncoder.from_torch(theirs)
    assert module.layers[0] is module.layers[1]


def test_layers_of_others_run_as_torch_runs_them():
    """torch.nn's layer in our stack, ours in torch.nn's, which evaluates nested tensors."""
    theirs = make(nn, "Encoder", "after", "batch first")
    mixed = ours.TransformerEncoder(theirs.layers[0], 2, theirs.norm)
    mixed.load_state_dict(theirs.state_dict())
    turned = nn.TransformerEncoder(make(ours, "EncoderLayer", "after", "batch first"), 2)
    turned.norm = theirs.norm
    turned.load_state_dict(theirs.state_dict())
    x = torch.randn(BATCH, TIME, SIZE)
    options, real = masks("Encoder", "padding", "batch first", torch.float32)
    for training in (True, False):
        with torch.set_grad_enabled(training):
            expected = theirs.train(training)(x, **options)
            for module in (mixed, turned):
                found = module.train(training)(x, **options)
                torch.testing.assert_close(found[real], expected[real])


def test_custom_encoder_and_decoder():
    encoder, decoder = nn.Identity(), nn.Identity()
    model = torch_nn.Transformer(SIZE, HEADS, custom_encoder=encoder, custom_decoder=decoder)
    assert model.encoder is encoder
    assert model.decoder is decoder
    assert ours.Transformer.from_torch(
        nn.Transformer(SIZE, HEADS, custom_encoder=encoder, custom_decoder=decoder)
    ).encoder is encoder  # fmt: skip


def test_errors():
    with pytest.raises(InputError, match=r"TransformerEncoderLayer: d_model is 7, expected a mult"):
        ours.TransformerEncoderLayer(7, 2)
    with pytest.raises(InputError, match=r"activation is 'tanh', expected 'relu', 'gelu' or"):
        ours.TransformerDecoderLayer(8, 2, activation="tanh")
    encoder = make(ours, "Encoder", "after", "batch first")
    x = torch.zeros(2, 3, SIZE)
    with pytest.raises(InputError, match=r"key_padding_mask has shape \[3, 2\], expected \[2, 3\]"):
        encoder(x, src_key_padding_mask=torch.zeros(3, 2).bool())
    with pytest.raises(InputError, match=r"attn_mask has shape \[2, 2\], expected \[3, 3\]"):
        encoder(x, torch.zeros(2, 2), src_key_padding_mask=torch.zeros(2, 3).bool())
    with pytest.raises(InputError, match=r"expected a torch.nn.TransformerEncoder$"):
        ours.TransformerEncoder.from_torch(encoder)
    assert functional.relu is encoder.layers[0].activation


@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_torchscript_is_refused_in_one_line(kind):
    with pytest.raises(InputError, match=r"torch\.jit\.script") as caught:
        torch.jit.script(make(ours, kind, "after", "batch first"))
    assert "\n" not in str(caught.value)
