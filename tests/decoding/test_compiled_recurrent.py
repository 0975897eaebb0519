"""Recurrent decoders, compiled: the same as the model itself, step by step."""

from typing import Any

import pytest
import torch
from torch import nn

from tests.decoding.test_compiled import PartsStepper, assert_same_state, feed
from tests.kernels.support import ISAS, isa_of, needs_extension
from throughtime.decoding import ModelStepper, Sampling, beam_search, generate
from throughtime.decoding.compiled import Compiled, CompiledStepper, refuses, stepper
from throughtime.errors import InputError
from throughtime.kernels.decode import plans
from throughtime.layers import GRU, LSTM, GlobalAttention, RecurrentDecoder
from throughtime.layers.rnn import RNN
from throughtime.models.autoregressive import Autoregressive, AutoregressiveState
from throughtime.models.encoder_decoder import EncoderDecoder
from throughtime.models.heads import Categorical
from throughtime.models.inputs import TokenInputs
from throughtime.state import map_tensors

pytestmark = needs_extension

TOKENS = 19
CELLS = ["lstm", "gru", "rnn"]
ATTENTIONS = ["additive", "multiplicative", "none"]


def make(
    *, width=12, size=20, layers=2, cell="lstm", memory=9, attention="additive", tied=False,
    dropout=0.0, tokens=TOKENS, std=None,
) -> Any:  # fmt: skip
    model = Autoregressive(
        TokenInputs(tokens, width, tied=tied, scaled=tied),
        RecurrentDecoder(
            width, size, layers,
            cell=cell, memory_size=memory, attention=attention, dropout=dropout,
        ),
        Categorical(size, tokens, tied=tied),
    )  # fmt: skip
    std = std or (0.2 if cell == "rnn" else 0.4)  # more, and its states are chaos
    for weight in model.parameters():
        nn.init.normal_(weight, std=std)
    return model.eval()


def warm(model, batch, steps=7, time=4) -> Any:
    """A state after some tokens, and a memory with gaps that hold NaN."""
    seen = torch.rand(batch, steps) > 0.3
    if batch > 1:
        seen[1] = False
    memory = torch.randn(batch, steps, model.body.memory_size)
    memory[~seen] = torch.nan
    start = AutoregressiveState((), model.body.remember(memory, seen))
    step = PartsStepper(model, start)
    step(torch.randint(TOKENS, (batch, time)))
    return step.state


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    ("layers", "size", "tied", "dropout", "batch"),
    [(1, 5, False, 0.0, 1), (2, 32, True, 0.2, 3), (3, 33, False, 0.1, 5)],
)
def test_it_gives_the_logits_and_the_state_of_the_model(
    cell, attention, layers, size, tied, dropout, batch
):
    model = make(
        width=size if tied else 12, size=size, layers=layers, cell=cell, attention=attention,
        tied=tied, dropout=dropout,
    )  # fmt: skip
    state = warm(model, batch)
    fast, plain = CompiledStepper(model, state), PartsStepper(model, state)
    assert_same_state(fast.state, state)
    feed((plain, fast), batch, 9, atol=1e-4)
    assert_same_state(fast.state, plain.state)
    for rows in ([batch - 1] * 4, [3, 0, 0, 1], [2, 3]):
        fast.select(rows)
        plain.select(rows)
        feed((plain, fast), len(rows), 2, atol=1e-4)
        assert_same_state(fast.state, plain.state)


@pytest.mark.parametrize("steps", [0, 1, 31, 32, 50])
@pytest.mark.parametrize("attention", ["additive", "multiplicative"])
def test_a_memory_has_any_number_of_steps(attention, steps):
    model = make(attention=attention)
    state = warm(model, 3, steps)
    feed((PartsStepper(model, state), CompiledStepper(model, state)), 3, 4, atol=1e-4)


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid"])
def test_an_rnn_has_any_activation(activation):
    model = make(cell="rnn")
    for layer in model.body.modules():
        if isinstance(layer, RNN):
            layer.activation = activation
    state = warm(model, 3)
    feed((PartsStepper(model, state), CompiledStepper(model, state)), 3, 4, atol=1e-4)


@pytest.mark.parametrize("weights", ["float32", "int8"])
@pytest.mark.parametrize("isa", ISAS)
def test_every_instruction_set_gives_the_same(isa, weights):
    for cell in CELLS:
        model = make(size=72, cell=cell, attention="additive")
        state = warm(model, 5, 40)
        steppers = [CompiledStepper(model, state, weights=weights) for _ in range(2)]
        for _ in range(4):
            with isa_of(ISAS[0]):
                expected = steppers[0](torch.arange(5))
            with isa_of(isa):
                found = steppers[1](torch.arange(5))
            close = (found - expected).abs() < 1e-4
            assert close.all() if weights == "float32" else close.float().mean() > 0.8


def test_a_table_of_products_changes_nothing(monkeypatch):
    model = make()
    state = warm(model, 3)
    with_table = CompiledStepper(model, state)
    monkeypatch.setattr(plans, "TABLE", 0)
    feed((with_table, CompiledStepper(model, state)), 3, 5)


def test_int8_stays_near_float32():
    model = make(width=64, size=64, std=0.2)
    state = warm(model, 5)
    plain, fast = ModelStepper(model, state), CompiledStepper(model, state, weights="int8")
    for _ in range(10):
        tokens = torch.randint(TOKENS, (5,))
        expected, found = plain(tokens), fast(tokens)
        off = (found - expected).norm() / expected.norm()
        assert 1e-4 < off < 0.05


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("threads", [1, 2])
def test_it_writes_what_the_model_writes(cell, attention, threads):
    model = make(cell=cell, attention=attention)
    state, begin = warm(model, 5), model.begin(5)
    compiled = Compiled(model, threads=threads)
    for sampling in (Sampling(greedy=True), Sampling(top_k=5, temperature=0.7)):
        options = {"state": state, "sampling": sampling, "seed": 1, "stop": [3, 11]}
        plain = generate(model, begin, 30, stepper=ModelStepper, **options)
        fast = generate(model, begin, 30, stepper=compiled, **options)
        assert torch.equal(fast.tokens, plain.tokens)
        torch.testing.assert_close(fast.log_probs, plain.log_probs, atol=1e-5, rtol=1e-5)
    step = compiled(model, state)
    tokens = step.write(begin[:, 0], 6).tokens
    _, expected = model(torch.cat([begin, tokens[:, :-1]], 1), state)
    assert_same_state(step.state, expected)


@pytest.mark.filterwarnings("ignore:beam_search. of")
@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("threads", [1, 2])
def test_it_finds_what_the_model_finds(cell, attention, threads):
    model = make(cell=cell, attention=attention)
    state, begin = warm(model, 4), model.begin(4)
    options = {"state": state, "beams": 5, "n_best": 3, "stop": [3, 11]}
    plain = beam_search(model, begin, 12, stepper=ModelStepper, **options)
    fast = beam_search(model, begin, 12, stepper=Compiled(model, threads=threads), **options)
    assert torch.equal(fast.tokens, plain.tokens)
    torch.testing.assert_close(fast.scores, plain.scores, atol=1e-5, rtol=1e-5)
    ruled = beam_search(model, begin, 12, no_repeat=2, stepper=CompiledStepper, **options)
    expected = beam_search(model, begin, 12, no_repeat=2, stepper=ModelStepper, **options)
    assert torch.equal(ruled.tokens, expected.tokens)


def translator(width):
    """Whose encoder gives so many features."""
    source = TokenInputs(9, 8)
    return EncoderDecoder(source, GRU(8, width), make(cell="gru", memory=width)).eval()


def test_it_refuses_a_state_of_another_model():
    wide, narrow = translator(64), translator(32)
    x = torch.randint(9, (64, 6))
    begin = wide.decoder.begin(64)
    with torch.no_grad():
        assert generate(wide.decoder, begin, 6, state=wide.encode(x)).tokens.shape == (64, 6)
        state = narrow.encode(x)
    for search in (generate, beam_search):
        with pytest.raises(InputError, match="expected"):
            search(wide.decoder, begin, 6, state=state)


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_it_refuses_a_state_of_another_form(cell, attention):
    options = {"cell": cell, "attention": attention}
    model = make(**options)
    state = warm(model, 3)
    wrong = [warm(make(**options, size=16), 3), warm(make(**options, layers=3), 3)]
    wrong += [warm(make(cell=other, attention=attention), 3) for other in CELLS if other != cell]
    wrong.append(map_tensors(lambda part: part.double(), state))
    cut = iter([3] + 20 * [2])
    wrong.append(map_tensors(lambda part: part[: next(cut)], state))
    wrong += [AutoregressiveState((), state.body[0]), AutoregressiveState((), [*state.body])]
    for one in wrong:
        with pytest.raises(InputError):
            CompiledStepper(model, one)
    for rows in (2, 5):
        with pytest.raises(InputError, match="one per row"):
            generate(model, model.begin(rows), 4, state=state)


def test_what_a_state_leaves_out_is_initial():
    model = make()
    whole = model.initial_state(3)
    body = (whole.body[0], *(None for _ in whole.body[1:]))
    for state in (AutoregressiveState((), None), AutoregressiveState((), body)):
        options = {"state": state, "sampling": Sampling(greedy=True)}
        plain = generate(model, model.begin(3), 5, stepper=ModelStepper, **options)
        fast = generate(model, model.begin(3), 5, **options)
        assert torch.equal(fast.tokens, plain.tokens)
        assert torch.equal(
            beam_search(model, model.begin(3), 5, state=state).tokens,
            beam_search(model, model.begin(3), 5, state=state, stepper=ModelStepper).tokens,
        )


def test_which_models_can_be_compiled():
    model = make()
    assert refuses(model) is None
    assert isinstance(stepper(model, warm(model, 2)), CompiledStepper)
    with pytest.raises(InputError, match="expected a state of the model"):
        CompiledStepper(model, ((),))

    class Other(LSTM):
        pass

    other = make()
    other.body.layers[0] = Other(12, 20)
    assert "Other" in str(refuses(other))
    early = make(cell="gru")
    early.body.layers[0] = GRU(12, 20, reset_after=False)
    assert "reset gates" in str(refuses(early))

    class Looking(GlobalAttention):
        pass

    other = make()
    other.body.layers[1] = Looking(20, 9)
    assert "Looking" in str(refuses(other))
