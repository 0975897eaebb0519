"""A beam search in native code finds what the loop in Python finds."""

import pytest
import torch
from torch import nn

from tests.decoding.test_compiled import (
    TOKENS,
    PartsStepper,
    assert_same_state,
    feed,
    make,
    warm,
)
from tests.kernels.support import needs_extension
from throughtime.decoding import CompiledStepper, ModelStepper, beam_search
from throughtime.decoding.compiled import Compiled
from throughtime.errors import InputError

pytestmark = [needs_extension, pytest.mark.filterwarnings("ignore:beam_search. of")]


class InPython:
    """A compiled step, driven by the loop in Python: it has no search of its own."""

    def __init__(self, model, state):
        self._step = CompiledStepper(model, state)
        self.select = self._step.select

    def __call__(self, tokens):
        return self._step(tokens)

    @property
    def state(self):
        return self._step.state


def assert_same_outputs(found, expected):
    assert torch.equal(found.tokens, expected.tokens)
    assert torch.equal(found.lengths, expected.lengths)
    assert torch.equal(found.ended, expected.ended)
    torch.testing.assert_close(found.scores, expected.scores, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.log_probs, expected.log_probs, atol=1e-5, rtol=1e-5)


CASES = [
    {
        "beams": (1, 2, 4, 7, 25)[i % 5], "n_best": (1, 2, 5)[i % 3],
        "stop": ((), (3,), (0, 5), (1, 2, 3, 4, 5, 6))[i % 4],
        "length_penalty": (0.0, 1.0, 0.6, -0.5, 2.0)[i // 2 % 5], "steps": (1, 4, 15)[i // 3 % 3],
        "memory": (0, 5, 40)[i // 4 % 3], "horizon": (7, 40, 2)[i // 5 % 3],
        "kv_heads": (None, 2)[i % 2], "threads": 1 + (i % 7 == 3), "rows": (3, 1, 6)[i // 7 % 3],
    }
    for i in range(60)
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case.values())))
def test_it_finds_what_the_loop_in_python_finds(case):
    case = dict(case)
    steps, memory, rows = case.pop("steps"), case.pop("memory"), case.pop("rows")
    case["n_best"] = min(case["n_best"], case["beams"])
    options = {"horizon": case.pop("horizon"), "kv_heads": case.pop("kv_heads")}
    model = make(position="learned", memory_size=6 if memory else None, **options)
    nn.init.normal_(model.body.layers[0].weight, std=2)  # something else at each step
    state = warm(model, rows, memory=torch.randn(rows, memory, 6) if memory else None)
    last, threads = torch.randint(TOKENS, (rows, 1)), case.pop("threads")
    fast = beam_search(
        model, last, steps, state=state, stepper=Compiled(model, threads=threads), **case
    )
    assert_same_outputs(
        fast, beam_search(model, last, steps, state=state, stepper=InPython, **case)
    )
    if not memory:  # the model as a whole refuses a state with a memory that was begun by hand
        plain = beam_search(model, last, steps, state=state, stepper=ModelStepper, **case)
        assert_same_outputs(fast, plain)


def test_of_equals_the_earlier_hypothesis_and_then_the_lower_id():
    model = make()
    nn.init.zeros_(model.head.output.weight)
    nn.init.zeros_(model.head.output.bias)
    for ends in ((), (0,), (2, 4)):
        options = {"beams": 4, "n_best": 4, "stop": ends}
        begin = [torch.tensor([1])]
        fast = beam_search(model, begin, 3, stepper=CompiledStepper, **options)
        assert_same_outputs(fast, beam_search(model, begin, 3, stepper=ModelStepper, **options))


def test_what_cannot_come_is_no_hypothesis():
    model = make()
    with torch.no_grad():
        model.head.output.bias[2:] = -torch.inf
    options = {"beams": 5, "n_best": 5, "stop": (1,)}
    fast = beam_search(model, [torch.tensor([1])], 3, stepper=CompiledStepper, **options)
    plain = beam_search(model, [torch.tensor([1])], 3, stepper=ModelStepper, **options)
    assert_same_outputs(fast, plain)
    assert (fast.tokens < 2).all()


def test_a_search_leaves_the_state():
    model = make(memory_size=6)
    state = warm(model, 3, memory=torch.randn(3, 5, 6))
    step = CompiledStepper(model, state)
    last = torch.tensor([1, 2, 3])
    found = [step.search(last, 9, (3,), beams=4) for _ in range(2)]
    assert torch.equal(found[0].tokens, found[1].tokens)  # pyright: ignore
    expected = CompiledStepper(model, state)(last)
    assert torch.equal(step(last), expected)


@pytest.mark.parametrize("rows", [2, 5])
def test_a_model_that_gives_nan_is_refused(rows):
    model = make()
    with torch.no_grad():
        model.inputs.embedding.weight[4] = torch.nan
    for last in (4, 1):
        prompts = torch.full((rows, 1), 1)
        prompts[1] = last
        if last == 1:
            with torch.no_grad():
                model.head.output.bias[7] = torch.nan
        for stepper in (CompiledStepper, ModelStepper):
            with pytest.raises(InputError, match="gives NaN"):
                beam_search(model, prompts, 5, stop=(3,), stepper=stepper)


# What rows remember


def test_a_row_that_goes_on_once_is_not_copied():
    model = make(memory_size=6)
    step = CompiledStepper(model, warm(model, 4, memory=torch.randn(4, 5, 6)))
    cache = step._cache
    assert cache is not None
    before = cache.addresses()
    step.select([3, 1, 1, 0])
    assert cache.places.tolist() == [3, 1, 2, 0]
    assert cache.memories.tolist() == [3, 1, 1, 0]
    step.select([2, 0])
    assert cache.places.tolist() == [2, 3]
    assert cache.addresses() == before
    step.select([1, 1, 1, 0, 0, 0])
    assert cache.rows == 6
    assert cache.memories.tolist() == [3, 3, 3, 1, 1, 1]
    assert cache.addresses()[5:] == before[5:]


@pytest.mark.parametrize("horizon", [3, 40])
def test_rows_are_taken_at_random(horizon):
    model = make(memory_size=6, position="rotary", horizon=horizon)
    state = warm(model, 6, memory=torch.randn(6, 5, 6))
    fast, plain, rows = CompiledStepper(model, state), PartsStepper(model, state), 6
    for width in (6, 3, 11, 11, 1, 4, 20, 2, 2):
        taken = torch.randint(rows, (width,)).tolist()
        fast.select(taken)
        plain.select(taken)
        feed((plain, fast), width, 3, atol=1e-4)
        assert_same_state(fast.state, plain.state)
        rows = width
