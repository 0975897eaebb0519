"""What graphs take and give, and what cannot be exported."""

import pytest
import torch

from tests.exporting.cases import BRIEF, CASES, model
from throughtime import kernels
from throughtime.errors import InputError
from throughtime.exporting import graphs_of, operators
from throughtime.exporting.checking import difference, made_up, no_larger
from throughtime.exporting.graphs import blank
from throughtime.exporting.level import LoopedLevel
from throughtime.models import ModelConfig
from throughtime.models.building import make
from throughtime.models.level import RunningLevel


def ports(graph):
    return (
        {port.name: port.shape for port in graph.takes},
        {port.name: port.shape for port in graph.gives},
    )


def test_whole_sequences_go_in_with_a_mask():
    takes, gives = ports(graphs_of(model("lstm-numbers"), step=False)[0])
    steps = ("batch", "time")
    assert takes == {"x": (*steps, 2), "mask": steps, "covariates": (*steps, 2)}
    assert gives == dict.fromkeys(("location", "scale", "freedom"), (*steps, 2))


def test_the_state_goes_in_and_comes_out_by_name():
    takes, gives = ports(graphs_of(model("lstm-tokens"), whole=False)[0])
    names = [f"state.body.{layer}.{part}" for layer in (0, 1) for part in ("hidden", "cell")]
    assert takes == {"tokens": ("batch",), **dict.fromkeys(names, ("batch", 6))}
    assert gives == {
        "logits": ("batch", 7), **{f"{name}.next": ("batch", 6) for name in names}
    }  # fmt: skip


def test_what_a_source_says_does_not_come_out_again():
    encoder, step = graphs_of(model("pairs-transformer"), whole=False)
    takes, gives = ports(step)
    memory = {name for name in takes if ".memory." in name}
    assert memory
    assert takes["state.body.1.memory.keys"] == ("batch", 2, "steps", 4)
    assert not any(".memory." in name for name in gives)
    assert {name.removesuffix(".next") for name in gives} - {"logits"} == (
        set(takes) - memory - {"tokens"}
    )
    assert [port.name for port in encoder.gives] == [n for n in takes if n != "tokens"]


def test_classes_are_probabilities_at_the_temperature():
    made = model("classes-mean")
    made.temperature.fill_(3.0)
    whole, step = graphs_of(made)
    given = made_up(whole, {"batch": 3, "time": 4}, torch.Generator().manual_seed(0))
    found = whole(*given)[0]
    torch.testing.assert_close(found, made.answer(*given).softmax(-1))
    assert step.gives[0].name == "probabilities"
    several = graphs_of(made, step=False, several=True)[0]
    torch.testing.assert_close(several(*given)[0], made.answer(*given).sigmoid())


def test_exporting_leaves_the_model_as_it_was():
    made = model("lstm-numbers")
    before = {name: type(module) for name, module in made.named_modules()}
    graphs_of(made)
    assert {name: type(module) for name, module in made.named_modules()} == before
    assert RunningLevel in before.values()
    with pytest.raises(InputError, match="features"):  # it still checks
        made(torch.zeros(2, 3, 5))


@pytest.mark.parametrize("name", ["classes-ends", "images"])
def test_what_sees_all_has_no_step(name):
    made = model(name)
    assert [graph.name for graph in graphs_of(made)] == ["whole"]
    with pytest.raises(InputError, match="it has no step; expected --whole"):
        graphs_of(made, whole=False)


def test_counts_cannot_be_exported():
    counts = make(ModelConfig(kind="ngram", tokens=5))
    with pytest.raises(InputError, match="ngram model counts in tables"):
        graphs_of(counts)


@pytest.mark.parametrize("name", [*CASES, *BRIEF])
def test_a_step_takes_what_a_step_gives(name):
    for graph in graphs_of(model(name)):
        given = blank(graph, {"batch": 2, "time": 3, "steps": 4})
        found = graph(*given)
        assert len(found) == len(graph.gives)
        for port, part in zip(graph.gives, found, strict=True):
            assert part.shape == port.sized({"batch": 2, "time": 3, "steps": 4}), port
            assert part.dtype == port.dtype, port


# Operators


def test_recurrences_are_operators_only_while_exporting():
    before = kernels.active()
    with kernels.use("reference"), operators.graph_kernels():
        assert kernels.active()["lstm"].name == "graph"
    assert kernels.active() == before


def test_an_operator_computes_what_its_layer_does():
    x, h, c = torch.randn(2, 5, 3), torch.randn(2, 4), torch.randn(2, 4)
    w, u, b = torch.randn(16, 3), torch.randn(16, 4), torch.randn(16)
    mask = torch.tensor([[True] * 5, [False, True, True, False, True]])
    expected = kernels.lstm(x, h, c, w, u, b, initial_hidden=h, initial_cell=c, mask=mask)
    found = torch.ops.throughtime_export.lstm(x, mask, h, c, w, u, b)
    torch.testing.assert_close(found, expected)
    nothing = torch.ops.throughtime_export.lstm(x[:, :0], mask[:, :0], h, c, w, u, b)
    torch.testing.assert_close(nothing[1:], (h, c))


def test_a_reset_is_refused_by_name():
    layer = model("operators").body.layers[0]
    reset = torch.zeros(1, 2, dtype=torch.bool)
    with operators.graph_kernels(), pytest.raises(InputError, match="LSTM: got reset"):
        layer(torch.zeros(1, 2, layer.input_size), None, None, reset)


def test_a_level_by_a_loop_is_the_level():
    layer = RunningLevel(2, half_life=1.5)
    x = torch.randn(3, 30, 2)
    x[0, 4:9] = torch.nan
    mask = torch.rand(3, 30) < 0.7
    expected, state = layer(x, None, mask)
    layer.__class__ = LoopedLevel
    found, after = layer(x, None, mask)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(tuple(after), tuple(state), rtol=1e-5, atol=1e-5)


# Checking


def test_a_difference_is_relative_and_sees_nan():
    one = torch.tensor([1.0, torch.nan, torch.inf])
    assert difference([one], [one.clone()]) == 0
    assert difference([torch.tensor([99.0])], [torch.tensor([100.0])]) == pytest.approx(0.01)
    assert difference([one], [torch.tensor([1.0, 0.0, torch.inf])]) == torch.inf
    assert difference([one], [torch.tensor([1.0, torch.nan, 5.0])]) == torch.inf
    with pytest.raises(InputError, match=r"expected torch\.float32"):
        difference([one], [one.double()])


def test_a_large_difference_is_refused():
    assert no_larger(9e-5, "whole.onnx") == 9e-5
    for worst in (2e-4, float("nan")):
        with pytest.raises(InputError, match=r"whole\.onnx differs from the model by"):
            no_larger(worst, "whole.onnx")
