import itertools
import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from tests.kernels.support import ISAS, isa_of, needs_extension
from throughtime import kernels
from throughtime.decoding import ModelStepper, Sampling, beam_search, generate
from throughtime.decoding.compiled import Compiled, CompiledStepper, refuses
from throughtime.errors import InputError
from throughtime.kernels import native
from throughtime.layers import GRU, Decoder
from throughtime.layers.block import BlockState
from throughtime.models.autoregressive import Autoregressive, AutoregressiveState
from throughtime.models.heads import Categorical
from throughtime.models.inputs import TokenInputs
from throughtime.state import map_tensors, tensors

pytestmark = needs_extension

TOKENS = 19


def make(*, size=24, heads=4, layers=2, horizon=7, tied=False, tokens=TOKENS, **options) -> Any:
    model = Autoregressive(
        TokenInputs(tokens, size, tied=tied),
        Decoder(size, heads, layers, horizon=horizon, **options),
        Categorical(size, tokens, tied=tied),
    )
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.3)
    return model.eval()


class PartsStepper(ModelStepper):
    """Part by part: the model as a whole refuses a state with a memory."""

    @torch.no_grad()
    def __call__(self, tokens, mask=None):
        x = tokens.view(len(tokens), -1)
        features, context, _ = self.model.inputs(x, (), mask)
        hidden, body = self.model.body(features, self._state.body, mask)
        self._state = AutoregressiveState((), body)
        return self.model.head(hidden, context)[:, -1]


def warm(model, batch, time=9, memory=None):
    """A state after prompts with padding anywhere, of different lengths."""
    x = torch.randint(TOKENS, (batch, time))
    mask = torch.rand(batch, time) > 0.4
    if batch > 1:
        mask[1] = False
    start = model.initial_state(batch)
    if memory is not None:
        seen = torch.rand(memory.shape[:2]) > 0.3
        start = AutoregressiveState((), model.body.remember(memory, seen))
    step = PartsStepper(model, start)
    step(x, mask)
    return step.state


def feed(steppers, batch, steps, atol=2e-5):
    """Feed all the same; the largest logits were about 10."""
    tokens = torch.full((batch,), TOKENS)
    for _ in range(steps):
        expected, found = (step(tokens) for step in steppers)
        torch.testing.assert_close(found, expected, atol=atol, rtol=1e-5)
        tokens = torch.randint(TOKENS, (batch,))


def assert_same_state(found, expected):
    for one, other in zip(tensors(found), tensors(expected), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


# Each option beside each of the others, not all of them at once.
OPTIONS = [
    {
        "position": position, "norm_first": norm_first, "activation": activation,
        "norm": ("layer", "rms")[(i + i // 2) % 2], "kv_heads": (None, 2, 1)[i % 3],
        "tied": i % 4 < 2, "bias": i % 5 < 3, "horizon": (7, 40, 1)[i % 3 if i % 2 else 0],
        "size": (24, 32, 8, 20)[i % 4], "batch": (1, 5)[i // 2 % 2],
    }
    for i, (position, norm_first, activation) in enumerate(itertools.product(
        ["none", "rotary", "alibi", "sinusoidal", "learned"],
        [True, False],
        ["gelu", "relu", "swiglu"],
    ))
]  # fmt: skip
OPTIONS += [
    {"position": "learned", "activation": activation} for activation in ("gelu_tanh", "silu")
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(map(str, o.values())))
def test_it_gives_the_logits_and_the_state_of_the_model(options):
    batch = options.pop("batch", 1)
    if options["position"] == "rotary" and options["size"] == 20:
        options["size"] = 24
    model = make(**options)
    state = warm(model, batch)
    fast, plain = Compiled(model)(model, state), ModelStepper(model, state)
    for one, other in zip(tensors(fast.state), tensors(state), strict=True):
        assert torch.equal(one, other)
    feed((plain, fast), batch, 11)
    assert_same_state(fast.state, plain.state)
    rows = [0] * 3 if batch == 1 else [4, 1, 1]
    fast.select(rows)
    plain.select(rows)
    feed((plain, fast), 3, 2)
    assert_same_state(fast.state, plain.state)


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("kv_heads", [None, 2])
@pytest.mark.parametrize("steps", [0, 5, 40])
def test_it_looks_at_a_memory(norm_first, kv_heads, steps):
    model = make(memory_size=6, norm_first=norm_first, kv_heads=kv_heads, position="rotary")
    memory = torch.randn(3, steps, 6)
    state = warm(model, 3, memory=memory)
    fast, plain = CompiledStepper(model, state), PartsStepper(model, state)
    feed((plain, fast), 3, 9)
    fast.select([2, 2, 0])
    plain.select([2, 2, 0])
    feed((plain, fast), 3, 2)
    assert_same_state(fast.state, plain.state)


@pytest.mark.parametrize("weights", ["float32", "int8"])
@pytest.mark.parametrize("isa", ISAS)
def test_every_instruction_set_gives_the_same(isa, weights):
    model = make(size=72, heads=6, kv_heads=2, position="alibi", activation="swiglu", horizon=33)
    state = warm(model, 5, 50)
    steppers = [CompiledStepper(model, state, weights=weights) for _ in range(2)]
    tokens = torch.arange(5)
    for _ in range(5):
        with isa_of(ISAS[0]):
            expected = steppers[0](tokens)
        with isa_of(isa):
            found = steppers[1](tokens)
        close = (found - expected).abs() < 1e-4
        # With bytes a sum that is rounded otherwise may now and then be a step off.
        assert close.all() if weights == "float32" else close.float().mean() > 0.8


def test_the_baseline_alone():
    code = (
        "import torch; from tests.decoding.test_compiled import *\n"
        "from throughtime.kernels import native; assert native.library.isa() == 'baseline'\n"
        "torch.manual_seed(0); model = make(); state = warm(model, 2)\n"
        "feed((ModelStepper(model, state), CompiledStepper(model, state)), 2, 9)"
    )
    environment = os.environ | {"THROUGHTIME_ISA": "baseline"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


# Greedy decoding in native code


@torch.no_grad()
def greedy(step, last, steps, stop):
    """Token after token, a row at a time until it ends."""
    tokens = torch.full((len(last), steps), -1)
    nats = torch.zeros(len(last), steps)
    going = torch.ones(len(last), dtype=torch.bool)
    for t in range(steps):
        logits = step(last)
        last = logits.argmax(-1)
        chances = logits.log_softmax(-1).gather(1, last[:, None])[:, 0]
        tokens[:, t] = torch.where(going, last, -1)
        nats[:, t] = torch.where(going, chances, 0)
        going &= ~torch.isin(last, torch.tensor(stop, dtype=torch.long))
    return tokens, nats


@pytest.mark.parametrize("batch", [1, 5])
def test_the_native_loop_takes_the_likeliest_token(batch):
    model = make(position="learned", horizon=5)
    nn.init.normal_(model.body.layers[0].weight, std=3)  # something else at each step
    state = warm(model, batch)
    last = torch.randint(TOKENS, (batch,))
    expected, nats = greedy(ModelStepper(model, state), last, 12, [])
    step = CompiledStepper(model, state)
    written = step.write(last, 12)
    assert torch.equal(written.tokens, expected)
    torch.testing.assert_close(written.log_probs, nats, atol=1e-5, rtol=1e-5)
    assert_same_state(step.state, _after(model, state, last, expected))

    stop = [int(expected[0, 4])]
    expected, nats = greedy(ModelStepper(model, state), last, 12, stop)
    assert (expected[0, 5:] == -1).all()
    step = CompiledStepper(model, state)
    written = step.write(last, 12, stop)
    assert torch.equal(written.tokens, expected)
    torch.testing.assert_close(written.log_probs, nats, atol=1e-5, rtol=1e-5)
    fed = (expected >= 0).sum(1)
    assert torch.equal(step.state.body[0].seen, state.body[0].seen + fed)


@torch.no_grad()
def _after(model, state, last, written):
    fed = torch.cat([last[:, None], written[:, :-1]], dim=1)
    return model(fed, state)[1]


def test_of_equals_the_first_and_nan_first_of_all():
    model = make()
    nn.init.zeros_(model.head.output.weight)
    nn.init.zeros_(model.head.output.bias)
    state = model.initial_state(1)
    written = CompiledStepper(model, state).write(torch.tensor([1]), 3)
    assert written.tokens.tolist() == [[0, 0, 0]]
    assert written.log_probs.exp().tolist() == [pytest.approx([1 / TOKENS] * 3)]
    with torch.no_grad():
        model.head.output.bias[4] = torch.nan
    written = CompiledStepper(model, state).write(torch.tensor([1]), 2)
    assert written.tokens.tolist() == [[4, 4]]
    assert written.log_probs.isnan().all()


@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_nan_is_not_hidden(weights):
    model = make()
    with torch.no_grad():
        model.inputs.embedding.weight[2] = torch.nan
    step = CompiledStepper(model, model.initial_state(2), weights=weights)
    logits = step(torch.tensor([2, 3]))
    assert logits[0].isnan().all()
    assert logits[1].isfinite().all()


@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_threads_share_a_step(weights):
    model = make(size=40, heads=5, position="rotary", memory_size=6)
    state = warm(model, 2, memory=torch.randn(2, 5, 6))
    alone = Compiled(model, weights=weights)(model, state)
    shared = Compiled(model, weights=weights, threads=3)(model, state)
    last = torch.tensor([1, 2])
    assert torch.equal(shared.write(last, 20).tokens, alone.write(last, 20).tokens)
    with pytest.raises(InputError, match="threads is 0"):
        Compiled(model, threads=0)


# Bytes


def rounded(x):
    scale = x.double().abs().amax(-1, keepdim=True).float() / 127
    steps = (x.double() * (127 / x.abs().amax(-1, keepdim=True)).double()).round()
    return torch.where(scale > 0, steps, 0), scale.double()


def product_of_bytes(x, weight, bias=None):
    """What int8 computes, in float64."""
    (x, of_x), (weight, of_weight) = rounded(x), rounded(weight)
    y = (x @ weight.mT) * of_x * of_weight.squeeze(-1)
    return (y if bias is None else y + bias).float()


@pytest.fixture
def bytes_everywhere(monkeypatch):
    for module in ("attention", "feed_forward", "cross_attention"):
        monkeypatch.setattr(f"throughtime.layers.{module}.linear", product_of_bytes)
    monkeypatch.setattr("torch.nn.functional.linear", product_of_bytes)


@pytest.mark.parametrize("extreme", [False, True])
def test_int8_computes_what_it_says(bytes_everywhere, extreme):
    model = make(size=64, heads=4, position="rotary", activation="relu")
    if extreme:  # all at the ends of the range, where 16 bits are nearly full
        with torch.no_grad():
            for weight in model.parameters():
                weight.copy_(torch.where(weight < 0, -0.1, 0.1))
    state = model.initial_state(3)
    plain, fast = ModelStepper(model, state), CompiledStepper(model, state, weights="int8")
    wrong = []
    for _ in range(10):
        tokens = torch.randint(TOKENS, (3,))
        expected = plain(tokens)
        wrong.append((fast(tokens) - expected).abs() / expected.abs().amax())
    # Where a number lies between two steps, another order of sums may take the other.
    assert torch.stack(wrong).median() < 1e-5
    assert torch.stack(wrong).max() < 0.05


def test_int8_stays_near_float32():
    model = make(size=64, heads=4, position="learned")
    state = warm(model, 5)
    plain, fast = ModelStepper(model, state), CompiledStepper(model, state, weights="int8")
    for _ in range(10):
        tokens = torch.randint(TOKENS, (5,))
        expected, found = plain(tokens), fast(tokens)
        off = (found - expected).norm() / expected.norm()
        assert 1e-4 < off < 0.05  # 0.02 was seen


# The functions


def test_gelu_is_as_exact_as_that_of_torch():
    # Whole vectors are read and written.
    x = torch.cat([torch.linspace(-12, 12, 399_996), torch.tensor([-1e30, 1e30, -0.0, 0.0])])
    y = torch.empty(len(x) + 32)
    native.library.bend(0, len(x), x.data_ptr(), y.data_ptr())
    exact = nn.functional.gelu(x.double())
    off = ((y[: len(x)] - exact).abs() / x.abs().clamp(min=1e-3)).max()
    assert off < 3e-7  # 2.6e-7; torch's own 2.6e-7
    x[0], x[1], x[2] = torch.nan, torch.inf, -torch.inf
    native.library.bend(0, len(x), x.data_ptr(), y.data_ptr())
    assert y[0].isnan()
    assert y[1:3].tolist() == [torch.inf, 0]


# What it refuses


def test_which_models_can_be_compiled():
    assert refuses(make()) is None
    other = Autoregressive(TokenInputs(5, 4), GRU(4, 8), Categorical(8, 5))
    assert "GRU" in str(refuses(other))
    assert "float64" in str(refuses(make().double()))
    with kernels.use("reference"):
        assert "reference" in str(refuses(make()))
    hooked = make()
    hooked.body.layers[1].register_forward_hook(print)
    assert "hook" in str(refuses(hooked))
    with pytest.raises(InputError, match="its body is a GRU"):
        Compiled(other)
    with pytest.raises(InputError, match="weights is 'int4'"):
        Compiled(make(), weights="int4")


def test_without_the_extension(monkeypatch):
    monkeypatch.setattr(native, "library", None)
    monkeypatch.setattr(native, "missing", "there is none")
    assert refuses(make()) == "there is none"


def test_it_refuses_what_does_not_fit():
    model = make()
    step = CompiledStepper(model, model.initial_state(2))
    with pytest.raises(InputError, match="one per row"):
        step(torch.tensor([1]))
    for wrong in (TOKENS + 1, -1):
        for call in calls_of(step):
            with pytest.raises(InputError, match="vocabulary"):
                call(torch.tensor([1, wrong]))
    state = model.initial_state(2)
    uneven = map_tensors(lambda part: part.clone(), state)
    uneven.body[1].seen[0] = 3
    with pytest.raises(InputError, match="count different steps"):
        CompiledStepper(model, uneven)
    state = map_tensors(lambda part: part.clone(), state)
    for layer in state.body:
        if layer:
            layer.seen[0] = -1
    with pytest.raises(InputError, match="fewer steps"):
        CompiledStepper(model, state)


def calls_of(step) -> Any:
    """All that tokens are given to."""
    return (
        step,
        lambda tokens: step.write(tokens, 3),
        lambda tokens: step.search(tokens, 3, beams=2),
    )


@pytest.mark.parametrize("rows", [2, None])
def test_it_takes_one_id_per_row(rows):
    model = make()
    state = AutoregressiveState((), None) if rows is None else model.initial_state(rows)
    begun = Compiled(model)
    wrong = [
        torch.tensor([1.0, 2.0]), torch.tensor([True, False]), torch.tensor([[1], [2]]),
        torch.tensor(1), torch.empty(2, dtype=torch.long, device="meta"),
    ]  # fmt: skip
    wrong += [] if rows is None else [torch.tensor([1]), torch.tensor([1, 2, 3])]
    for tokens in wrong:
        for call in calls_of(begun(model, state)):
            with pytest.raises(InputError, match="one per row"):
                call(tokens)
    tokens = torch.tensor([3, 4])
    expected: list[Any] = [call(tokens) for call in calls_of(begun(model, state))]
    every_other = torch.tensor([3, 9, 4, 9])[::2]
    same = [tokens.to(dtype) for dtype in (torch.int32, torch.uint8, torch.int16)]
    for given in (*same, every_other):
        found: list[Any] = [call(given) for call in calls_of(begun(model, state))]
        assert torch.equal(found[0], expected[0])
        assert torch.equal(found[1].tokens, expected[1].tokens)
        assert torch.equal(found[2].tokens, expected[2].tokens)


def test_numbers_and_marks_have_a_form():
    model = make()
    step, tokens = CompiledStepper(model, model.initial_state(2)), torch.tensor([1, 2])
    with pytest.raises(InputError, match="uniforms is None"):
        step.write(tokens, 3, sampling=Sampling())
    with pytest.raises(InputError, match=r"uniforms has shape \[2, 2\]"):
        step.write(tokens, 3, sampling=Sampling(), uniforms=torch.rand(2, 2))
    seen = torch.zeros(2, TOKENS - 1, dtype=torch.bool)
    with pytest.raises(InputError, match="seen is "):
        step.write(tokens, 3, sampling=Sampling(greedy=True), seen=seen)


def test_what_a_state_leaves_out_is_initial():
    prompts = torch.tensor([[1], [2], [3]])
    for memory_size in (None, 6):
        model = make(memory_size=memory_size, position="learned")
        whole = model.initial_state(3)
        parts = [None, *whole.body[1:]]
        states = [AutoregressiveState((), None), AutoregressiveState((), tuple(parts))]
        if memory_size is not None:
            parts[1] = whole.body[1]._replace(past=None)
            parts[2] = whole.body[2]._replace(memory=None)
            states.append(AutoregressiveState((), tuple(parts)))
        for state in states:
            options = {"state": state, "sampling": Sampling(greedy=True)}
            plain = generate(model, prompts, 5, stepper=ModelStepper, **options)
            fast = generate(model, prompts, 5, **options)
            assert torch.equal(fast.tokens, plain.tokens)
        step = CompiledStepper(model, states[0])
        assert step.state is states[0]
        with pytest.raises(InputError, match="none yet"):
            step.select([0])
        step(torch.tensor([1, 2]))
        step.select([1, 1, 0])
        assert len(step.state.body[0].seen) == 3


def test_it_refuses_a_state_of_something_else():
    model = make(memory_size=6)
    state = warm(model, 3, memory=torch.randn(3, 5, 6))
    others = [
        make(), make(size=32, memory_size=6), make(memory_size=6, kv_heads=2),
        make(memory_size=6, horizon=8), make(memory_size=6, layers=3),
        Autoregressive(TokenInputs(TOKENS, 24), GRU(24, 8), Categorical(8, TOKENS)),
    ]  # fmt: skip
    wrong: list[Any] = [other.initial_state(3) for other in others]
    wrong.append(map_tensors(lambda part: part.double(), state))
    wrong.append(map_tensors(lambda part: part[:, :-1] if part.ndim == 2 else part, state))
    some = iter([3] + 100 * [2])
    wrong.append(map_tensors(lambda part: part[: next(some)], state))
    wrong += [(), ((),), "state", AutoregressiveState((), ()), AutoregressiveState((), "body")]
    wrong.append(AutoregressiveState(torch.zeros(3), state.body))
    for one in wrong:
        with pytest.raises(InputError):
            CompiledStepper(model, one)
    body = list(state.body)
    at = next(i for i, part in enumerate(body) if isinstance(part, BlockState))
    memory = body[at].memory
    shorter = type(memory)(memory.keys[:, :, 1:], memory.values[:, :, 1:], memory.real[:, 1:])
    body[at] = body[at]._replace(memory=shorter)
    with pytest.raises(InputError, match="different memories"):
        CompiledStepper(model, AutoregressiveState((), tuple(body)))


@pytest.mark.parametrize("rows", [2, 5])
def test_there_are_as_many_prompts_as_rows(rows):
    model = make()
    state = warm(model, 3)
    for search in (generate, beam_search):
        with pytest.raises(InputError, match="one per row"):
            search(model, model.begin(rows), 4, state=state)


def test_generation_takes_it():
    model = make(position="rotary")
    prompts = [torch.tensor([1, 2, 3]), torch.tensor([4]), torch.tensor([], dtype=torch.long)]
    for sampling in (Sampling(greedy=True), Sampling(top_k=5)):
        plain = generate(model, prompts, 9, sampling=sampling, seed=1, stepper=ModelStepper)
        fast = generate(model, prompts, 9, sampling=sampling, seed=1, stepper=Compiled(model))
        assert torch.equal(fast.tokens, plain.tokens)
        torch.testing.assert_close(fast.log_probs, plain.log_probs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(), Sampling(temperature=0.3), Sampling(top_k=3), Sampling(top_p=0.6),
        Sampling(min_p=0.2), Sampling(repetition_penalty=1.7),
        Sampling(greedy=True, repetition_penalty=1.3),
        Sampling(temperature=1.5, top_k=9, top_p=0.8, min_p=0.05, repetition_penalty=1.2),
    ],
    ids=str,
)  # fmt: skip
def test_the_native_loop_draws_as_sampling_says(sampling):
    model = make(position="rotary")
    prompts = [torch.tensor([1, 2, 3]), torch.tensor([4]), torch.tensor([], dtype=torch.long)]
    options = {"sampling": sampling, "seed": 3, "stop": [5, 6]}
    plain = generate(model, prompts, 70, stepper=ModelStepper, **options)
    for stepper in (Compiled(model), CompiledStepper):
        fast = generate(model, prompts, 70, stepper=stepper, **options)
        assert torch.equal(fast.tokens, plain.tokens)
        assert torch.equal(fast.lengths, plain.lengths)
        torch.testing.assert_close(fast.log_probs, plain.log_probs, atol=1e-5, rtol=1e-5)
    stepped = generate(model, prompts, 70, until=lambda text: False, **options)
    assert torch.equal(stepped.tokens, plain.tokens)


def test_generation_says_when_a_model_gives_nan():
    model = make()
    nn.init.constant_(model.head.output.bias, torch.nan)
    for sampling in (Sampling(), Sampling(greedy=True)):
        with pytest.raises(InputError, match="gives NaN"):
            generate(model, torch.tensor([[1]]), 3, sampling=sampling, seed=0)
