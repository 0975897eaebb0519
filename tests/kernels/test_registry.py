import pytest
import torch

from throughtime import kernels
from throughtime.errors import InputError
from throughtime.kernels import registry


@pytest.fixture
def fast_double(monkeypatch):
    """A second implementation of the LSTM that only takes float64 on the CPU."""

    def refuses(device, dtype):
        return None if dtype == torch.float64 else f"it computes float64 only, not {dtype}"

    calls = []

    def function(x, hidden, cell, *rest):
        calls.append(x.dtype)
        return x.new_zeros(x.shape[0], x.shape[1], hidden.shape[1]), hidden, cell

    fast = registry.Implementation("fast", function, refuses)
    every = dict(registry._OPERATIONS)
    monkeypatch.setattr(registry, "_OPERATIONS", every)
    registry.register("lstm", fast, *every["lstm"])
    return calls


def test_the_reference_is_always_there():
    assert {choice.name for choice in kernels.active().values()} == {"reference"}
    assert "fastest of 1 installed" in kernels.active()["gru"].reason


def test_the_type_decides(fast_double):
    assert kernels.active(dtype=torch.float64)["lstm"].name == "fast"
    slow = kernels.active(dtype=torch.float32)["lstm"]
    assert slow.name == "reference"
    assert slow.reason == "fast: it computes float64 only, not torch.float32"


def test_layers_run_the_active_implementation(fast_double):
    from throughtime.layers import LSTM

    LSTM(2, 3).double()(torch.zeros(1, 2, 2).double())
    LSTM(2, 3)(torch.zeros(1, 2, 2))
    assert fast_double == [torch.float64]


def test_use_forces_and_gives_back(fast_double):
    with kernels.use("reference"):
        choice = kernels.active(dtype=torch.float64)["lstm"]
        assert choice == ("reference", "forced by kernels.use")
    assert kernels.active(dtype=torch.float64)["lstm"].name == "fast"
    kernels.use("reference")
    assert kernels.active(dtype=torch.float64)["lstm"].name == "reference"
    kernels.use(None)
    assert kernels.active(dtype=torch.float64)["lstm"].name == "fast"


def test_what_cannot_run_is_not_forced_in_silence(fast_double):
    with kernels.use("fast"), pytest.raises(InputError, match="fast was forced, but it computes"):
        registry.choose("lstm", torch.device("cpu"), torch.float32)


def test_an_unknown_name_is_refused():
    with pytest.raises(InputError, match=r"no implementation is called 'warp', there are \['ref"):
        kernels.use("warp")
    assert kernels.active()["rnn"].name == "reference"
