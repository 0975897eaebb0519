"""MultiheadAttention against torch.nn's: every option, every mask, by twice torch's own error."""

import copy
import itertools
import pickle
import warnings

import pytest
import torch
from torch import nn

from tests.torch_nn.configurations import beyond, numbers
from throughtime.errors import InputError
from throughtime.torch_nn.attention import MultiheadAttention

SIZE, HEADS, BATCH, TIME, KEYS = 6, 2, 3, 4, 5
OPTIONS = {
    "plain": {},
    "bare": {"bias": False},
    "more keys": {"add_bias_kv": True, "add_zero_attn": True},
    "sizes": {"kdim": 3, "vdim": 2},
}
QUERIES = ("itself", "one memory", "keys and values")
LAYOUTS = ("time first", "batch first", "unbatched")
MASKS = ("none", "padding", "added padding", "hidden", "added", "each head", "both", "both added")
WEIGHTS = ("no weights", "mean", "each head")
DTYPES = (torch.float32, torch.float64)
KINDS = [(o, q) for o in OPTIONS for q in QUERIES if o != "sizes" or q == "keys and values"]
ANSWERS = [*itertools.product(WEIGHTS, DTYPES)]


def uses(kind):
    """Each layout with each mask; what is asked for, and the type, in turn."""
    for n, (layout, mask) in enumerate(itertools.product(LAYOUTS, MASKS)):
        yield layout, mask, *ANSWERS[(n + KINDS.index(kind)) % len(ANSWERS)]


def make(library, option, layout, dtype):
    """A module with numbers in every parameter; torch's shifts start at zero."""
    options = {**OPTIONS[option], "batch_first": layout == "batch first"}
    module = library(SIZE, HEADS, **options, dtype=dtype)
    with torch.no_grad():
        for n, parameter in enumerate(module.parameters()):
            parameter.copy_(numbers(n, *parameter.shape) / SIZE**0.5)
    return module


def inputs(option, queries, layout, dtype):
    """Who asks and what is there, as leaves."""
    sizes = {"query": SIZE, "key": SIZE, "value": SIZE}
    if option == "sizes":
        sizes |= {"key": 3, "value": 2}
    leaves = {}
    for n, (name, size) in enumerate(sizes.items()):
        time = TIME if name == "query" else KEYS
        shape = {"time first": (time, BATCH), "batch first": (BATCH, time), "unbatched": (time,)}
        leaves[name] = numbers(20 + n, *shape[layout], size).to(dtype).requires_grad_()
    if queries == "itself":
        return {"query": leaves["query"]}, [leaves["query"]] * 3
    if queries == "one memory":
        del leaves["value"]
        return leaves, [leaves["query"], leaves["key"], leaves["key"]]
    return leaves, [*leaves.values()]


def masks(mask, queries, layout, dtype):
    """The two masks of torch.nn; nobody is left with nothing."""
    rows, keys = (1 if layout == "unbatched" else BATCH), TIME if queries == "itself" else KEYS
    padding = torch.arange(keys) >= torch.tensor([keys - 2, keys, 2])[:rows, None]
    padding = padding[0] if layout == "unbatched" else padding
    hidden = numbers(31, rows * HEADS, TIME, keys) > 0.3
    hidden[..., 0] = False
    added = numbers(32, TIME, keys).to(dtype).masked_fill(hidden[0], -torch.inf)
    low = (numbers(33, *padding.shape).to(dtype) / 2).masked_fill(padding, -torch.inf)
    return {
        "none": (None, None),
        "padding": (padding, None),
        "added padding": (low, None),
        "hidden": (None, hidden[0]),
        "added": (None, added),
        "each head": (None, hidden),
        "both": (padding, hidden[0]),
        "both added": (low, added),
    }[mask]


def answer(module, option, queries, layout, mask, weights):
    """Output, weights, and all gradients."""
    dtype = module.out_proj.weight.dtype
    leaves, given = inputs(option, queries, layout, dtype)
    padding, hidden = masks(mask, queries, layout, dtype)
    output, shown = module(*given, padding, weights != "no weights", hidden, weights == "mean")
    found = {"output": output} | ({} if shown is None else {"weights": shown})
    weighed = sum((o * numbers(9, *o.shape).to(dtype)).sum() for o in found.values())
    leaves |= dict(module.named_parameters())
    gradients = torch.autograd.grad(weighed, [*leaves.values()])  # pyright: ignore
    found |= {f"gradient of {n}": g for n, g in zip(leaves, gradients, strict=True)}
    return {name: value.detach() for name, value in found.items()}


@pytest.mark.parametrize(("option", "queries"), KINDS)
def test_as_torch(option, queries):
    """Each use of each kind."""
    for layout, mask, weights, dtype in uses((option, queries)):
        case = (option, queries, layout, mask, weights)
        theirs = make(nn.MultiheadAttention, option, layout, dtype)
        truth = answer(make(nn.MultiheadAttention, option, layout, torch.float64), *case)
        ours = answer(make(MultiheadAttention, option, layout, dtype), *case)
        assert beyond(ours, answer(theirs, *case), truth) == {}, (case, dtype)


def test_enough_is_compared():
    cases = {(*kind, *use) for kind in KINDS for use in uses(kind)}
    assert len(cases) == 240
    for part, values in enumerate((OPTIONS, QUERIES, LAYOUTS, MASKS, WEIGHTS, DTYPES)):
        assert {case[part] for case in cases} == {*values}
    assert len({case[3:] for case in cases}) == len(MASKS) * len(ANSWERS)


@pytest.mark.parametrize("queries", QUERIES)
@pytest.mark.parametrize("mask", ["none", "padding", "hidden", "each head", "both"])
def test_evaluation_as_torch(queries, mask):
    """torch.nn has another way for inference."""
    theirs = make(nn.MultiheadAttention, "plain", "batch first", torch.float32).eval()
    ours = MultiheadAttention.from_torch(theirs)
    assert not ours.training
    _, given = inputs("plain", queries, "batch first", torch.float32)
    padding, hidden = masks(mask, queries, "batch first", torch.float32)
    with torch.no_grad(), warnings.catch_warnings():
        expected = theirs(*given, padding, attn_mask=hidden)
        found = ours(*given, padding, attn_mask=hidden)
        alone, nothing = ours(*given, padding, attn_mask=hidden, need_weights=False)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(alone, expected[0])
    assert nothing is None


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("need_weights", [False, True])
def test_causal_hint(padded, need_weights):
    theirs = make(nn.MultiheadAttention, "plain", "batch first", torch.float64)
    ours = MultiheadAttention.from_torch(theirs)
    x = numbers(1, BATCH, TIME, SIZE)
    padding = torch.arange(TIME) >= torch.tensor([[2], [4], [1]]) if padded else None
    causal = torch.ones(TIME, TIME).triu(1).bool()
    expected = theirs(x, x, x, padding, need_weights, causal)
    for hint, mask in ((True, causal), (False, causal), (True, None)):
        found = ours(x, x, x, padding, need_weights, mask, is_causal=hint)
        torch.testing.assert_close(found, expected)


def test_learned_mask_gets_its_gradient():
    theirs = make(nn.MultiheadAttention, "plain", "batch first", torch.float64)
    ours = MultiheadAttention.from_torch(theirs)
    x, mask = numbers(1, BATCH, TIME, SIZE), numbers(2, TIME, TIME).requires_grad_()
    for need_weights in (False, True):
        one, other = (
            torch.autograd.grad(m(x, x, x, None, need_weights, mask)[0].sin().sum(), mask)
            for m in (ours, theirs)
        )
        torch.testing.assert_close(one, other)
        assert one[0].norm() > 1e-3


def test_a_query_without_keys_gets_zeros():
    """torch.nn gives NaN, and NaN to every weight."""
    theirs = make(nn.MultiheadAttention, "plain", "batch first", torch.float64)
    ours = MultiheadAttention.from_torch(theirs)
    x = numbers(1, BATCH, TIME, SIZE).requires_grad_()
    padding = torch.zeros(BATCH, TIME).bool()
    padding[1] = True
    added = torch.zeros(TIME, TIME).double()
    added[2] = -torch.inf
    for need_weights, options in itertools.product(
        (True, False),
        ({"key_padding_mask": padding}, {"attn_mask": added}, {"attn_mask": added == -torch.inf}),
    ):
        output, weights = ours(x, x, x, need_weights=need_weights, **options)
        nothing = (1,) if "key_padding_mask" in options else (slice(None), 2)
        expected = ours.out_proj.bias.expand_as(output[nothing])
        torch.testing.assert_close(output[nothing], expected)
        assert weights is None or (weights[nothing] == 0).all()
        rest = torch.ones(BATCH, TIME).bool()
        rest[nothing] = False
        leaves = [x, *ours.parameters()]
        for gradient in torch.autograd.grad(output.square().sum(), leaves):
            assert gradient.isfinite().all()
        plain = theirs(x, x, x, need_weights=need_weights, **options)[0]
        torch.testing.assert_close(output[rest], plain[rest])
    assert theirs(x, x, x, padding)[0][1].isnan().all()


@pytest.mark.parametrize("need_weights", [True, False])
def test_hidden_keys_may_hold_anything(need_weights):
    layer = make(MultiheadAttention, "plain", "batch first", torch.float64)
    x, memory = numbers(1, BATCH, TIME, SIZE), numbers(2, BATCH, KEYS, SIZE)
    padding = torch.arange(KEYS) >= torch.tensor([[2], [5], [0]])
    poisoned = memory.masked_fill(padding.unsqueeze(-1), torch.nan).requires_grad_()
    expected = layer(x, memory, memory, padding, need_weights)[0]
    for value in (poisoned, poisoned.clone()):  # keys and values as one, and apart
        output = layer(x, poisoned, value, padding, need_weights)[0]
        torch.testing.assert_close(output, expected)
        for gradient in torch.autograd.grad(output.sum(), [poisoned, *layer.parameters()]):
            assert gradient.isfinite().all()


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize(("rows", "time", "keys"), [(2, 0, 3), (2, 3, 0), (2, 0, 0), (0, 3, 3)])
def test_nothing_to_do(rows, time, keys, need_weights):
    layer = make(MultiheadAttention, "plain", "batch first", torch.float32)
    x = torch.randn(rows, time, SIZE, requires_grad=True)
    memory = torch.randn(rows, keys, SIZE, requires_grad=True)
    for padding in (None, torch.zeros(rows, keys).bool()):
        output, weights = layer(x, memory, memory, padding, need_weights)
        assert output.shape == x.shape
        assert weights is None or weights.shape == (rows, time, keys)
        torch.testing.assert_close(
            output, output if keys else layer.out_proj.bias.expand_as(output)
        )
        torch.autograd.grad(output.sum(), [x, memory, layer.in_proj_weight], allow_unused=True)


def test_dropout_of_weights():
    layer = make(MultiheadAttention, "plain", "batch first", torch.float32)
    layer.dropout = 0.25
    x = torch.randn(1, 100, SIZE)
    torch.manual_seed(0)
    output, weights = layer(x, x, x, average_attn_weights=False)
    torch.manual_seed(0)
    again, _ = layer(x, x, x, need_weights=False)
    torch.testing.assert_close(output, again)  # the same way, with weights or without
    assert abs((weights == 0).double().mean() - 0.25) < 0.02
    assert abs(weights.sum(-1).mean() - 1) < 0.02
    layer.eval()
    assert (layer(x, x, x)[1] != 0).all()


def test_same_seed_same_weights_and_state_dict_both_ways():
    for options in OPTIONS.values():
        torch.manual_seed(1)
        theirs = nn.MultiheadAttention(SIZE, HEADS, **options)
        torch.manual_seed(1)
        ours = MultiheadAttention(SIZE, HEADS, **options)
        for (a, one), (b, other) in zip(
            ours.state_dict().items(), theirs.state_dict().items(), strict=True
        ):
            assert a == b
            torch.testing.assert_close(one, other, rtol=0, atol=0)
        theirs.load_state_dict(ours.state_dict())
        ours.load_state_dict(theirs.state_dict())


def test_copies():
    layer = make(MultiheadAttention, "more keys", "batch first", torch.float32)
    x = torch.randn(2, 3, SIZE)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert type(other) is MultiheadAttention
        torch.testing.assert_close(other(x, x, x), layer(x, x, x), rtol=0, atol=0)


def test_from_torch_keeps_everything():
    theirs = nn.MultiheadAttention(SIZE, HEADS, 0.3, add_bias_kv=True, batch_first=True).eval()
    seen = []
    handle = theirs.register_forward_hook(lambda *_: seen.append(1))
    ours = MultiheadAttention.from_torch(theirs)
    assert isinstance(ours, nn.MultiheadAttention)
    assert all(a is b for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    assert (ours.dropout, ours.batch_first, ours.training) == (0.3, True, False)
    ours(*[torch.randn(2, 3, SIZE)] * 3)
    handle.remove()
    ours(*[torch.randn(2, 3, SIZE)] * 3)
    assert seen == [1]
    ours.train()
    ours.bias_k = None
    assert not theirs.training
    assert theirs.bias_k is not None


def test_from_torch_refuses():
    class Mine(nn.MultiheadAttention):
        pass

    with pytest.raises(InputError, match=r"Mine, expected a torch.nn.MultiheadAttention$"):
        MultiheadAttention.from_torch(Mine(SIZE, HEADS))
    patched = nn.MultiheadAttention(SIZE, HEADS)
    patched.forward = lambda *x: x  # pyright: ignore
    with pytest.raises(InputError, match="module has forward of its own"):
        MultiheadAttention.from_torch(patched)


@pytest.mark.parametrize(
    ("message", "given", "options"),
    [
        ("query has shape [3], expected", [(3,)] * 3, {}),
        ("key has 2 axes, query has 3", [(2, 3, 6), (2, 6), (2, 6)], {}),
        ("key has 5 features, expected 6", [(2, 3, 6), (2, 3, 5), (2, 3, 6)], {}),
        ("value has shape [2, 4, 6]", [(2, 3, 6), (2, 3, 6), (2, 4, 6)], {}),
        ("key has 3 rows, query has 2", [(2, 3, 6), (3, 3, 6), (3, 3, 6)], {}),
        ("attn_mask has shape [3, 4], expected [3, 3]", [(2, 3, 6)] * 3, {"attn_mask": (3, 4)}),
        ("expected [4, 3, 3]", [(2, 3, 6)] * 3, {"attn_mask": (2, 3, 3)}),
        ("key_padding_mask has shape", [(2, 3, 6)] * 3, {"key_padding_mask": (3, 2)}),
    ],
)
def test_errors(message, given, options):
    layer = MultiheadAttention(SIZE, HEADS, batch_first=True)
    marks = {name: torch.zeros(shape).bool() for name, shape in options.items()}
    with pytest.raises(InputError) as caught:
        layer(*(torch.zeros(shape) for shape in given), **marks)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_errors_of_options():
    with pytest.raises(InputError, match="embed_dim is 5, expected a multiple of num_heads, 2"):
        MultiheadAttention(5, 2)
    layer, x = MultiheadAttention(SIZE, HEADS), torch.zeros(3, 2, SIZE)
    with pytest.raises(InputError, match=r"attn_mask is torch.int64, expected torch.bool"):
        layer(x, x, x, attn_mask=torch.zeros(3, 3).long())


@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
def test_torchscript_is_refused_in_one_line():
    with pytest.raises(InputError, match=r"MultiheadAttention: torch\.jit\.script"):
        torch.jit.script(MultiheadAttention(SIZE, HEADS))
