"""The Transformer family against torch.nn's: options, masks, layouts, by twice torch's error."""

import copy
import itertools
import pickle
import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.torch_nn.configurations import numbers
from throughtime import torch_nn
from throughtime.errors import InputError
from throughtime.torch_nn import transformer as ours

SIZE, HEADS, INNER, BATCH, TIME, KEYS = 8, 2, 12, 3, 5, 4
KINDS = ("EncoderLayer", "DecoderLayer", "Encoder", "Decoder", "Transformer")
# torch.nn's own words on the ways that it takes
pytestmark = [
    pytest.mark.filterwarnings("ignore:enable_nested_tensor is True, but:UserWarning"),
    pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning"),
]
OPTIONS = {
    "after": {},
    "first": {"norm_first": True, "activation": "gelu"},
    "bare": {"bias": False, "layer_norm_eps": 1e-3},
    "function": {"activation": torch.tanh, "norm_first": True},
}
LAYOUTS = ("time first", "batch first", "unbatched")
MASKS = (
    "none", "causal", "causal added", "causal hint", "each head", "padding", "added padding",
    "causal and padding", "added and padding",
)  # fmt: skip
DTYPES = (torch.float32, torch.float64)
ANSWERS = [*itertools.product(OPTIONS, DTYPES)]


def uses(kind):
    """Each layout with each mask; options and type in turn."""
    for n, (layout, mask) in enumerate(itertools.product(LAYOUTS, MASKS)):
        yield layout, mask, *ANSWERS[(n + 3 * KINDS.index(kind)) % len(ANSWERS)]


def make(library, kind, option, layout, dtype=torch.float32, dropout=0.0) -> Any:
    """A module with numbers in every parameter."""
    options = {**OPTIONS[option], "dtype": dtype, "batch_first": layout == "batch first"}
    if kind == "Transformer":
        module = library.Transformer(SIZE, HEADS, 2, 2, INNER, dropout, **options)
    else:
        part = "Encoder" if "Encoder" in kind else "Decoder"
        module = getattr(library, f"Transformer{part}Layer")(SIZE, HEADS, INNER, dropout, **options)
        if kind == part:
            norm = nn.LayerNorm(SIZE, dtype=dtype)
            module = getattr(library, f"Transformer{part}")(module, 2, norm)
    with torch.no_grad():
        for n, parameter in enumerate(module.parameters()):
            parameter.copy_(numbers(n, *parameter.shape) / SIZE**0.5)
    return module


def hides(layout, time, lengths):
    """True in padding."""
    hidden = torch.arange(time) >= torch.tensor(lengths)[:, None]
    return hidden[1] if layout == "unbatched" else hidden


def masks(kind, mask, layout, dtype) -> Any:
    """Keyword arguments, and where steps of the output are real."""
    decodes = kind in ("DecoderLayer", "Decoder", "Transformer")
    name = "tgt" if decodes else "src"
    form = "mask" if kind == "Encoder" else f"{name}_mask"
    hint = f"{name}_is_causal" if decodes else "is_causal"
    rows = 1 if layout == "unbatched" else BATCH
    causal = torch.ones(TIME, TIME).triu(1).bool()
    added = numbers(41, TIME, TIME).to(dtype).masked_fill(causal, -torch.inf)
    found, real = {}, None
    if mask == "causal" or mask == "causal and padding":
        found[form] = causal
    if mask in ("causal added", "causal hint"):
        found[form] = torch.zeros(TIME, TIME, dtype=dtype).masked_fill(causal, -torch.inf)
    if mask == "causal hint":
        found[hint] = True
    if mask == "each head":
        found[form] = (numbers(42, rows * HEADS, TIME, TIME) > 0) & ~torch.eye(TIME).bool()
        if decodes and kind != "Transformer":
            found["memory_mask"] = numbers(43, rows * HEADS, TIME, KEYS).to(dtype)
    if mask == "added and padding":
        found[form] = added
    if "padding" in mask:
        hidden = hides(layout, TIME, [5, 3, 1])
        memory = hides(layout, KEYS, [2, 3, 4])
        real = ~hidden
        if "added" in mask:
            low = 0.1 if mask == "added padding" else 0
            hidden = torch.full(hidden.shape, low, dtype=dtype).masked_fill(hidden, -torch.inf)
            memory = torch.zeros(memory.shape, dtype=dtype).masked_fill(memory, -torch.inf)
        found[f"{name}_key_padding_mask"] = hidden
        if decodes:
            found["memory_key_padding_mask"] = memory
        if kind == "Transformer":
            found["src_key_padding_mask"] = memory
    return found, real


def inputs(kind, layout, dtype):
    """What goes in, as leaves."""
    decodes = kind in ("DecoderLayer", "Decoder", "Transformer")
    times = {"tgt": TIME, "memory": KEYS} if decodes else {"src": TIME}
    found = {}
    for n, (name, time) in enumerate(times.items()):
        shape = {"time first": (time, BATCH), "batch first": (BATCH, time), "unbatched": (time,)}
        found[name] = numbers(50 + n, *shape[layout], SIZE).to(dtype).requires_grad_()
    if kind == "Transformer":
        return {"src": found["memory"], "tgt": found["tgt"]}
    return found


def kept(output, real, layout):
    """The output with zeros in padded steps."""
    if real is None:
        return output
    return torch.where((real.T if layout == "time first" else real).unsqueeze(-1), output, 0)


def answer(module, kind, layout, mask):
    """The real steps of the output, and all gradients of a number from these."""
    dtype = next(module.parameters()).dtype
    given = inputs(kind, layout, dtype)
    options, real = masks(kind, mask, layout, dtype)
    output = kept(module(*given.values(), **options), real, layout)
    leaves = {**given, **dict(module.named_parameters())}
    weighed = (output * numbers(9, *output.shape).to(dtype)).sum()
    gradients = torch.autograd.grad(weighed, [*leaves.values()])
    found = {"output": output.detach()}
    return found | {f"gradient of {n}": g for n, g in zip(leaves, gradients, strict=True)}


def beyond(found, theirs, truth):
    """What is further from the truth than twice torch's own error and a few roundings.

    torch's error is that in float32, of which float64 has its share. Roundings of the largest
    gradient of all: some are small differences of large numbers.
    """
    worse = {}
    largest = max(value.abs().max().item() for value in truth.values())
    assert found.keys() == theirs.keys() == truth.keys()
    for name, exact in truth.items():
        eps = torch.finfo(found[name].dtype).eps
        off, allowed = ((x[name].double() - exact).abs().max().item() for x in (found, theirs))
        allowed *= eps / torch.finfo(torch.float32).eps
        if not off <= 2 * allowed + 16 * eps * largest:
            worse[name] = (off, allowed)
    return worse


@pytest.mark.parametrize("kind", KINDS)
def test_as_torch(kind):
    """Options and masks in every layout."""
    for layout, mask, option, dtype in uses(kind):
        truth, theirs = (
            answer(make(nn, kind, option, layout, of), kind, layout, mask)
            for of in (torch.float64, torch.float32)
        )
        found = answer(make(ours, kind, option, layout, dtype), kind, layout, mask)
        assert all(value.dtype == dtype for value in found.values())
        assert beyond(found, theirs, truth) == {}, (layout, mask, option, dtype)


def test_enough_is_compared():
    cases = {(kind, *use) for kind in KINDS for use in uses(kind)}
    assert len(cases) == 135
    for part, values in enumerate((KINDS, LAYOUTS, MASKS, OPTIONS, DTYPES)):
        assert {case[part] for case in cases} == {*values}
    assert len({case[2:] for case in cases}) >= len(MASKS) * len(ANSWERS) * 0.8


@pytest.mark.parametrize("kind", KINDS)
def test_training_and_evaluation_agree(kind):
    """And both with torch.nn's evaluation, which has ways of its own, at all real steps."""
    layout = "batch first"
    for mask in MASKS:
        theirs = make(nn, kind, "after", layout).eval()
        module = type(make(ours, kind, "after", layout)).from_torch(theirs)
        given = [x.detach() for x in inputs(kind, layout, torch.float32).values()]
        options, real = masks(kind, mask, layout, torch.float32)
        # torch.nn's short way takes floats for truth values: NaN, or an error.
        torch.backends.mha.set_fastpath_enabled("added" not in mask)
        try:
            with torch.no_grad():
                expected = kept(theirs(*given, **options), real, layout)
        finally:
            torch.backends.mha.set_fastpath_enabled(True)
        with torch.no_grad():
            evaluated = module(*given, **options)
            trained = module.train()(*given, **options)
        torch.testing.assert_close(evaluated, trained, rtol=0, atol=0)
        torch.testing.assert_close(kept(evaluated, real, layout), expected)
        torch.testing.assert_close(module(*given, **options), trained)  # with a graph


@pytest.mark.parametrize("kind", ["Encoder", "Decoder", "Transformer"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_padded_steps_give_zeros_and_may_hold_anything(kind, layout):
    module = make(ours, kind, "first", layout)
    options, real = masks(kind, "causal and padding", layout, torch.float32)
    given = inputs(kind, layout, torch.float32)
    expected = module(*given.values(), **options)
    torch.testing.assert_close(expected, kept(expected, real, layout), rtol=0, atol=0)
    poisoned = {}
    for name, x in given.items():
        hidden = options[f"{name}_key_padding_mask"]
        hidden = hidden.T if layout == "time first" else hidden
        poisoned[name] = x.detach().masked_fill(hidden.unsqueeze(-1), torch.nan).requires_grad_()
    output = module(*poisoned.values(), **options)
    torch.testing.assert_close(output, expected)
    leaves = [*poisoned.values(), *module.parameters()]
    gradients = torch.autograd.grad(output.square().sum(), leaves)
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("kind", ["Encoder", "Decoder"])
@pytest.mark.parametrize("mask", ["padding", "added and padding"])
def test_every_step_is_computed_if_asked_for(kind, mask):
    theirs = make(nn, kind, "after", "batch first")
    module = type(make(ours, kind, "after", "batch first")).from_torch(theirs)
    module.enable_nested_tensor = False
    given = inputs(kind, "batch first", torch.float32).values()
    options, real = masks(kind, mask, "batch first", torch.float32)
    output = module(*given, **options)
    torch.testing.assert_close(output, theirs(*given, **options))
    assert (output[~real] != 0).any()


@pytest.mark.parametrize("kind", ["Encoder", "Decoder"])
@pytest.mark.parametrize("what", ["hook of a layer", "hook inside", "subclass", "patched", "norm"])
def test_who_looks_at_the_layers_sees_padded_steps(kind, what):
    """Nobody is shown steps side by side; the results are the same."""
    module = make(ours, kind, "after", "batch first")
    plain = copy.deepcopy(module)
    layer, shapes = module.layers[0], []

    def look(module, given, output):
        shapes.append(output.shape)

    if what == "hook of a layer":
        layer.register_forward_hook(look)
    elif what == "hook inside":
        layer.linear2.register_forward_hook(look)
    elif what == "norm":
        module.norm.register_forward_hook(look)
    else:
        before = layer._ff_block

        def feed(*given):
            shapes.append(given[-1].shape)
            return before(given[-1])

        if what == "patched":
            layer._ff_block = feed
        else:
            layer.__class__ = type("Mine", (type(layer),), {"_ff_block": feed})
            before = lambda x: type(layer).__mro__[1]._ff_block(layer, x)  # noqa: E731
    given = inputs(kind, "batch first", torch.float32).values()
    options, _ = masks(kind, "causal and padding", "batch first", torch.float32)
    torch.testing.assert_close(module(*given, **options), plain(*given, **options))
    assert shapes == [(BATCH, TIME, SIZE)]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_with_nothing_real(kind):
    """torch.nn gives NaN to the row, and as gradient to every weight."""
    module = make(ours, kind, "after", "batch first")
    given = inputs(kind, "batch first", torch.float32)
    options, _ = masks(kind, "padding", "batch first", torch.float32)
    emptied = {name: hidden.clone() for name, hidden in options.items()}
    for hidden in emptied.values():
        hidden[1] = True
    output, expected = (module(*given.values(), **o) for o in (emptied, options))
    assert output.isfinite().all()
    others = torch.tensor([0, 2])
    torch.testing.assert_close(output[others], expected[others])
    if not kind.endswith("Layer"):
        assert (output[1] == 0).all()
    leaves = [*given.values(), *module.parameters()]
    for gradient in torch.autograd.grad(output.square().sum(), leaves):
        assert gradient.isfinite().all()
    for hidden in emptied.values():  # not one real step in the batch
        hidden[:] = True
    assert module(*given.values(), **emptied).isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rows", "time"), [(2, 0), (0, 3), (0, 0)])
def test_nothing_to_do(kind, rows, time):
    module = make(ours, kind, "after", "batch first")
    count = len(inputs(kind, "batch first", torch.float32))
    given = [torch.randn(rows, time, SIZE, requires_grad=True) for _ in range(count)]
    options, _ = masks(kind, "padding", "batch first", torch.float32)
    hidden = torch.zeros(rows, time).bool()
    for marks in ({}, dict.fromkeys(options, hidden)):
        output = module(*given, **marks)
        assert output.shape == (rows, time, SIZE)
        output.sum().backward()


def test_a_memory_without_steps_gives_the_decoder_zeros_to_add():
    module = make(ours, "Decoder", "first", "batch first")
    x = torch.randn(2, 3, SIZE)
    expected = module(x, torch.zeros(2, 0, SIZE))
    hidden = torch.ones(2, 4).bool()
    output = module(x, torch.randn(2, 4, SIZE), memory_key_padding_mask=hidden)
    torch.testing.assert_close(output, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_in_training_only(kind):
    module = make(ours, kind, "after", "batch first", dropout=0.3)
    given = inputs(kind, "batch first", torch.float32).values()
    for mask in ("none", "padding"):
        options, _ = masks(kind, mask, "batch first", torch.float32)
        torch.manual_seed(0)
        once = module.train()(*given, **options)
        torch.manual_seed(0)
        torch.testing.assert_close(module(*given, **options), once, rtol=0, atol=0)
        assert (module(*given, **options) != once).any()
        settled = module.eval()(*given, **options)
        torch.testing.assert_close(module(*given, **options), settled, rtol=0, atol=0)
        assert (settled != once).any()


def test_dropout_has_torchs_distribution():
    """Mean and spread of an output over many draws."""
    theirs = make(nn, "Encoder", "first", "batch first", dropout=0.2)
    module = ours.TransformerEncoder.from_torch(theirs)
    torch.manual_seed(0)
    x = torch.randn(1, 3, SIZE).expand(4000, 3, SIZE)
    hidden = torch.tensor([[False, False, True]]).expand(4000, 3)
    with torch.no_grad():
        one, other = (m(x, src_key_padding_mask=hidden)[:, :2] for m in (module, theirs))
    for measure in (torch.mean, torch.std):
        torch.testing.assert_close(measure(one, 0), measure(other, 0), rtol=0, atol=0.03)
    assert one.std(0).mean() > 0.1


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
