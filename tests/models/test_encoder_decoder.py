"""Models from one sequence to another."""

import pytest
import torch

from throughtime.decoding import Sampling, generate
from throughtime.errors import InputError
from throughtime.layers import GRU, RNN, Bidirectional, Decoder, RecurrentDecoder
from throughtime.models import (
    Autoregressive,
    Categorical,
    EncoderDecoder,
    ModelConfig,
    TokenInputs,
    build,
    build_encoder_decoder,
    fit_width,
    make,
    parameters,
)
from throughtime.models.sizing import count
from throughtime.state import concatenate, load, save, select

KINDS = [
    {"kind": "rnn"},
    {"kind": "lstm", "layers": 2, "attention": "multiplicative"},
    {"kind": "gru", "attention": "none"},
    {"kind": "transformer"},
    {"kind": "transformer", "norm_first": False, "position": "sinusoidal", "kv_heads": 1},
    {"kind": "transformer", "encoder": "gru", "encoder_layers": 2},
    {"kind": "lstm", "encoder": "transformer"},
]


def config(**options):
    base = {"tokens": 7, "source_tokens": 9, "width": 16, "heads": 2, "horizon": 20}
    return ModelConfig(**{**base, **options})


def model_of(options):
    torch.manual_seed(0)
    return build_encoder_decoder(config(**options)).double().eval()


pairs = pytest.mark.parametrize(
    "options", KINDS, ids=lambda options: "-".join(map(str, options.values()))
)


@pairs
def test_ragged_is_alone(options):
    """A pair in a batch has the log probabilities it has by itself, wherever padding stands."""
    model = model_of(options)
    sources = [torch.randint(9, (length,)) for length in (5, 1, 8)]
    targets = [torch.randint(7, (length,)) for length in (4, 6, 1)]
    x, mask = torch.zeros(3, 9, dtype=torch.long), torch.zeros(3, 9, dtype=torch.bool)
    y, y_mask = torch.zeros(3, 8, dtype=torch.long), torch.zeros(3, 8, dtype=torch.bool)
    for row, (source, target) in enumerate(zip(sources, targets, strict=True)):
        places = torch.randperm(9)[: len(source)].sort().values
        x[row, places], mask[row, places] = source, True
        places = torch.randperm(8)[: len(target)].sort().values
        y[row, places], y_mask[row, places] = target, True
    together = model.log_prob(x, y, mask, y_mask)
    assert (together[~y_mask] == 0).all()
    for row, (source, target) in enumerate(zip(sources, targets, strict=True)):
        alone = model.log_prob(source[None], target[None])[0]
        torch.testing.assert_close(together[row][y_mask[row]], alone)


@pairs
def test_probabilities_of_all_targets_add_up(options):
    model = build_encoder_decoder(config(**{**options, "tokens": 3})).double().eval()
    x = torch.randint(9, (1, 4)).expand(9, -1)
    y = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    total = model.log_prob(x, y).sum(1).exp().sum()
    torch.testing.assert_close(total, torch.ones((), dtype=torch.float64))


@pairs
def test_whole_is_chunks_is_steps(options):
    model = model_of(options)
    x, y = torch.randint(9, (2, 5)), torch.randint(7, (2, 6))
    whole, _ = model(x, y)
    state, parts = model.encode(x), []
    for piece in y.split([1, 3, 2], dim=1):
        logits, state = model.decoder(piece, state)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, 1), whole)


@pairs
def test_the_state_is_a_value(options, tmp_path):
    """Rows of it can be chosen, joined, written and read: what beams and sessions need."""
    model = model_of(options)
    x, y = torch.randint(9, (3, 5)), torch.randint(7, (3, 2))
    _, state = model(x, y)
    last = torch.randint(7, (3, 1))
    expected, _ = model.decoder(last, state)
    chosen, _ = model.decoder(last[[2, 2, 0]], select(state, [2, 2, 0]))
    torch.testing.assert_close(chosen, expected[[2, 2, 0]])
    joined = concatenate([select(state, [1]), select(state, [0])])
    torch.testing.assert_close(model.decoder(last[[1, 0]], joined)[0], expected[[1, 0]])
    save(state, tmp_path / "state.safetensors")
    again, _ = model.decoder(last, load(tmp_path / "state.safetensors"))
    torch.testing.assert_close(again, expected)


@pairs
def test_the_source_matters(options):
    model = model_of(options)
    y = torch.randint(7, (1, 3)).expand(2, -1)
    one, two = model.log_prob(torch.tensor([[1, 2, 3], [4, 2, 3]]), y)
    assert not torch.allclose(one, two)


@pairs
def test_generation_is_the_decoders(options):
    """Greedy by hand, from the beginning each time, writes what `generate` writes by steps."""
    model = build_encoder_decoder(config(**options)).eval()
    x = torch.randint(9, (2, 5))
    written = model.decoder.begin(2)
    for _ in range(5):
        logits, _ = model(x, written)
        written = torch.cat([written, logits[:, -1:].argmax(-1)], dim=1)
    found = generate(
        model.decoder, model.decoder.begin(2), 5, state=model.encode(x),
        sampling=Sampling(greedy=True),
    )  # fmt: skip
    assert torch.equal(found.tokens, written[:, 1:])


@pairs
def test_every_weight_learns(options):
    model = build_encoder_decoder(config(**options, dropout=0.1))
    model.log_prob(torch.randint(9, (2, 5)), torch.randint(7, (2, 4))).sum().backward()
    assert [name for name, one in model.named_parameters() if one.grad is None] == []


def test_shared_vectors_are_one_tensor():
    shared = config(tokens=9, tied=True, shared=True, kind="transformer")
    model = build_encoder_decoder(shared)
    assert model.source is model.decoder.inputs
    apart = build_encoder_decoder(config(tokens=9, kind="transformer"))
    # Apart: vectors of the source, and those of the head, a row less for the beginning.
    assert parameters(apart) - parameters(model) == 10 * 16 + 9 * 16


def test_tied_vectors_are_read_at_the_size_of_free_ones():
    inputs = TokenInputs(50, 64, tied=True, scaled=True)
    features, context, _ = inputs(torch.arange(50)[None], ())
    assert 0.9 < features.std().item() < 1.1
    assert context is not None
    torch.testing.assert_close(features[0], context[:50] * 8)


def test_sizes_are_solved_for():
    for options in KINDS:
        sized = fit_width(config(**options), 60_000)
        assert abs(count(sized) - 60_000) < 6_000
        assert parameters(make(sized)) == count(sized)


def test_parts_that_do_not_fit():
    inputs, head = TokenInputs(9, 8), Categorical(6, 9)
    looking = RecurrentDecoder(8, 6, memory_size=12)
    blind = Autoregressive(inputs, GRU(8, 6), head)
    with pytest.raises(InputError, match="body is a GRU, expected one that takes a memory"):
        EncoderDecoder(inputs, Bidirectional(GRU(8, 6)), blind)
    deaf = Autoregressive(inputs, Decoder(8, 2, 1), Categorical(8, 9))
    with pytest.raises(InputError, match="body is a Decoder, expected one that takes a memory"):
        EncoderDecoder(inputs, Bidirectional(GRU(8, 6)), deaf)
    with pytest.raises(InputError, match="gives 10 features, the decoder's memory_size is 12"):
        EncoderDecoder(inputs, Bidirectional(GRU(8, 5)), Autoregressive(inputs, looking, head))
    with pytest.raises(InputError, match="source gives 8 features, the encoder takes 7"):
        EncoderDecoder(inputs, Bidirectional(GRU(7, 6)), Autoregressive(inputs, looking, head))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"kind": "window"}, "kind is 'window', expected one of"),
        ({"encoder": "window"}, "encoder is 'window', expected one of"),
        ({"attention": "soft"}, "attention is 'soft', expected one of"),
        ({"tokens": 0, "head": "categorical"}, "tokens"),
        ({"shared": True}, "shared: source_tokens is 9 and tokens 7, expected the same"),
        ({"source_tokens": 0, "encoder": "gru"}, "encoder is for an encoder-decoder"),
        ({"source_tokens": 0, "attention": "none"}, "attention is for an encoder-decoder"),
        ({"smoothing": 1.0}, "smoothing is 1.0, expected a probability"),
        ({"encoder": "transformer", "width": 18}, "width is 18, expected a multiple of 4"),
    ],
)
def test_configurations_that_cannot_be(options, told):
    with pytest.raises(InputError, match=told):
        config(**options)


def test_configurations_come_back():
    one = config(kind="gru", encoder="transformer", attention="multiplicative", smoothing=0.1)
    assert ModelConfig.from_json(one.to_json()) == one


def test_each_builder_for_its_own():
    with pytest.raises(InputError, match="has a source, expected build_encoder_decoder"):
        build(config())
    with pytest.raises(InputError, match="source_tokens is 0, expected a source"):
        build_encoder_decoder(ModelConfig(tokens=3))


def test_cells_are_of_the_form_that_is_asked_for():
    """In the decoder as in the encoder."""
    before = build_encoder_decoder(config(kind="gru", reset_after=False))
    forms = [layer.bias_hidden is not None for layer in before.modules() if isinstance(layer, GRU)]
    assert forms == [False] * 3
    bent = build_encoder_decoder(config(kind="rnn", activation="relu"))
    bends = [layer.activation for layer in bent.modules() if isinstance(layer, RNN)]
    assert bends == ["relu"] * 3
