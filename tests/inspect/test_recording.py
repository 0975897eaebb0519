"""Which values are seen: names, patterns, refusals, threads."""

import threading

import pytest
import torch

from tests.inspect.watching import close
from throughtime.decoding import Compiled, Sampling, generate
from throughtime.decoding.compiled import refuses
from throughtime.errors import InputError
from throughtime.inspect import intervene, record, recording, tap_names
from throughtime.layers import (
    GRU,
    LSTM,
    RNN,
    Dropout,
    Linear,
    SelfAttention,
    Stack,
)
from throughtime.models import (
    ModelConfig,
    build,
)

pytestmark = pytest.mark.usefixtures("double")


@pytest.fixture
def model():
    return Stack(LSTM(3, 5), Dropout(0.1), Stack(GRU(5, 4), SelfAttention(4, 2)))


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["layers.0.forget"], ["layers.0.forget"]),
        (["*.hidden"], ["layers.0.hidden", "layers.2.layers.0.hidden"]),
        (["layers.?.cell", "*.attention"], ["layers.0.cell", "layers.2.layers.1.attention"]),
        (["*.attention", "layers.0.c*"], None),
        (["layers.2.layers.0.[ru]*"], ["layers.2.layers.0.reset", "layers.2.layers.0.update"]),
    ],
)
def test_patterns(model, patterns, names):
    with record(model, *patterns) as trace:
        model(torch.randn(1, 3, 3))
    if names is None:  # in the order in which they are computed, not asked for
        names = ["layers.0.candidate", "layers.0.cell", "layers.2.layers.1.attention"]
    assert list(trace) == names


def test_no_pattern_is_everything(model):
    with record(model) as trace:
        model(torch.randn(1, 3, 3))
    assert set(trace) == set(tap_names(model))


def test_a_layer_alone_matches_as_in_a_model():
    layer = SelfAttention(4, 2)
    with record(layer, "*.attention") as trace:
        layer(torch.randn(1, 3, 4))
    assert list(trace) == ["attention"]


def test_names_come_with_shapes(model):
    described = tap_names(model)
    assert described["layers.0.forget"].endswith("0 to 1: [batch, time, hidden]")
    assert all("[batch" in what for what in described.values())


def test_a_layer_in_two_places_has_its_first_name():
    shared = RNN(4, 4)
    model = Stack(shared, shared)
    with record(model) as trace:
        output, _ = model(torch.randn(1, 3, 4))
    assert list(trace) == ["layers.0.hidden"]
    assert len(trace.calls("layers.0.hidden")) == 2
    close(trace["layers.0.hidden"], output.detach())


# What is refused


def only_line(caught):
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("ask", [record, lambda m, p: intervene(m, {p: torch.zeros_like})])
def test_a_pattern_that_names_nothing(model, ask):
    with pytest.raises(InputError) as caught, ask(model, "layers.0.forgot"):
        pass
    assert "'layers.0.forgot' names nothing in Stack; nearest: layers.0.forget" in only_line(caught)


def test_a_module_without_values():
    with (
        pytest.raises(InputError, match="nothing to see in Linear") as caught,
        record(torch.nn.Linear(2, 2)),
    ):
        pass
    only_line(caught)
    assert tap_names(Linear(2, 2)) == {}


def test_something_that_is_no_module():
    with pytest.raises(InputError, match=r"record: model is a str, expected a torch.nn.Module"):
        recording.named("model", "record")


def test_a_compiled_model(model):
    compiled = torch.compile(model, backend="eager")
    for wrapped in (compiled, torch.nn.Sequential(compiled)):  # pyright: ignore[reportCallIssue, reportArgumentType]
        with (
            pytest.raises(InputError, match=r"compiled, which hides .* model._orig_mod") as caught,
            record(wrapped, "*.forget"),  # pyright: ignore[reportArgumentType]
        ):
            pass
        only_line(caught)
    model.layers[0].compile(backend="eager")
    with pytest.raises(InputError, match=r"'layers.0' in the model is compiled"):
        tap_names(model)


def test_nothing_computed(model):
    with (
        pytest.raises(InputError, match="nothing was computed inside the block") as caught,
        record(model),
    ):
        pass
    assert "stepper=ModelStepper" in only_line(caught)


def test_an_error_inside_is_not_covered_up(model):
    with pytest.raises(ZeroDivisionError), record(model):
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), intervene(model, {"*.hidden": torch.zeros_like}):
        raise ZeroDivisionError
    plain, _ = model.eval()(x := torch.randn(1, 3, 3))
    close(model(x)[0], plain)


def test_decoding_runs_the_layers_that_are_watched():
    """A program compiled for generation would pass them by."""
    config = ModelConfig("transformer", tokens=9, width=8, heads=2)
    model = build(config).float().eval()
    if (reason := refuses(model)) is not None:
        pytest.skip(reason)
    compiled, prompt, greedy = Compiled(model), torch.tensor([[3]]), Sampling(greedy=True)
    with record(model, "*.residual") as trace:
        assert "is watched" in (refuses(model) or "")
        generate(model, prompt, 2, sampling=greedy)
    assert len(trace) == config.layers
    with (
        pytest.raises(InputError, match="is watched, expected ModelStepper") as caught,
        record(model, "*.residual"),
    ):
        generate(model, prompt, 2, sampling=greedy, stepper=compiled)
    only_line(caught)
    plain = generate(model, prompt, 4, sampling=greedy)
    with intervene(model, {"*.residual": lambda value: value}):
        same = generate(model, prompt, 4, sampling=greedy)
    assert torch.equal(plain.tokens, same.tokens)


def test_an_intervention_that_meets_nothing(model):
    with (
        pytest.raises(InputError, match=r"'\*.attention' was never computed") as caught,
        intervene(model, {"*.attention": torch.zeros_like, "*.forget": torch.zeros_like}),
    ):
        model.layers[0](torch.randn(1, 3, 3))
    only_line(caught)


@pytest.mark.parametrize(
    ("function", "came"),
    [
        (lambda value: value[..., :2], r"float64\[1, 1, 2\], expected float64\[1, 1, 5\]"),
        (lambda value: value.float(), r"float32\[1, 1, 5\], expected float64\[1, 1, 5\]"),
        (lambda value: None, "a NoneType, expected float64"),
    ],
)
def test_a_function_that_gives_something_else(model, function, came):
    with (
        pytest.raises(InputError, match=f"'layers.0.forget' gave {came}") as caught,
        intervene(model, {"layers.0.forget": function}),
    ):
        model(torch.randn(1, 3, 3))
    only_line(caught)


def test_something_that_is_no_function():
    with pytest.raises(InputError, match=r"'\*.forget' is given a float, expected a function"):
        recording.checked(0.0, "body.forget", "*.forget", set())


def test_inside_a_transform_nothing_is_recorded():
    layer, x = RNN(3, 4), torch.randn(1, 2, 3)
    with pytest.raises(InputError, match=r"transform of torch.func") as caught, record(layer):
        torch.func.jacrev(lambda x: layer(x)[0])(x)
    only_line(caught)


def test_threads_and_models_are_apart(model):
    """Another thread runs the same model plainly meanwhile, and another model is not touched."""
    model.eval()
    x, other = torch.randn(1, 3, 3), LSTM(3, 5)
    plain, untouched, found = model(x)[0], other(x)[0], []
    with record(model, "*.forget") as trace, intervene(model, {"*.forget": torch.ones_like}):
        worker = threading.Thread(target=lambda: found.append(model(x)[0]))
        worker.start()
        worker.join()
        assert torch.equal(other(x)[0], untouched)
        assert not torch.equal(model(x)[0], plain)
    assert torch.equal(found[0], plain)
    assert len(trace.calls("layers.0.forget")) == 1
