"""The Transformer family against torch.nn's: options, masks, layouts, by twice torch's error."""

import copy

import pytest
import torch
from torch import nn

from tests.torch_nn.transformers import (
    ANSWERS,
    BATCH,
    DTYPES,
    KINDS,
    LAYOUTS,
    MASKS,
    OPTIONS,
    SIZE,
    TIME,
    answer,
    beyond,
    inputs,
    kept,
    make,
    masks,
    uses,
)
from throughtime.torch_nn import transformer as ours

# torch.nn's own words on the ways that it takes
pytestmark = [
    pytest.mark.filterwarnings("ignore:enable_nested_tensor is True, but:UserWarning"),
    pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning"),
]


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
