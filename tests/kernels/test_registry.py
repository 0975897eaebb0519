import os
import subprocess
import sys

import pytest
import torch

from tests.kernels.support import needs_extension
from throughtime import kernels
from throughtime.errors import InputError
from throughtime.kernels import native, registry

RECURRENT = ("rnn", "lstm", "gru")


@pytest.fixture
def fast_double(monkeypatch):
    """Another implementation of the LSTM, which only takes float64 on the CPU."""

    def refuses(device, dtype):
        return None if dtype == torch.float64 else f"it computes float64 only, not {dtype}"

    calls = []

    def function(x, hidden, cell, *rest, **options):
        calls.append(x.dtype)
        return x.new_zeros(x.shape[0], x.shape[1], hidden.shape[1]), hidden, cell

    fast = registry.Implementation("fast", function, refuses)
    every = dict(registry._OPERATIONS)
    monkeypatch.setattr(registry, "_OPERATIONS", every)
    registry.register("lstm", fast, every["lstm"][-1])
    return calls


def test_the_reference_is_always_there():
    for operation in kernels.active():
        assert registry._OPERATIONS[operation][-1].name == "reference"
    with kernels.use("reference"):
        assert {choice.name for choice in kernels.active().values()} == {"reference"}


@needs_extension
def test_the_compiled_kernels_come_first():
    active = kernels.active()
    assert {active[kind].name for kind in RECURRENT} == {"cpu"}
    assert active["attention"].name == "fused"
    assert kernels.active()["gru"].reason == "the fastest of 2 installed"


@needs_extension
@pytest.mark.parametrize(
    ("device", "dtype", "reason"),
    [
        ("meta", torch.float32, "cpu: it runs on the CPU, not on meta"),
        ("cpu", torch.bfloat16, "cpu: it computes float32 and float64, not bfloat16"),
    ],
)
def test_where_they_cannot_run_the_reference_does(device, dtype, reason):
    for kind in RECURRENT:
        assert kernels.active(device, dtype)[kind] == ("reference", reason)


def test_without_the_extension(monkeypatch):
    monkeypatch.setattr(native, "library", None)
    monkeypatch.setattr(native, "missing", "there is none")
    assert kernels.active()["rnn"] == ("reference", "cpu: there is none")
    with kernels.use("cpu"), pytest.raises(InputError, match="cpu was forced, but there is none"):
        registry.choose("rnn", torch.device("cpu"), torch.float32)


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
    before = kernels.active()["rnn"]
    with pytest.raises(InputError, match=r"no implementation is called 'warp', there are \['cpu"):
        kernels.use("warp")
    assert kernels.active()["rnn"] == before


# The environment is read once, so each of these needs a process.


def python(isa, code):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"THROUGHTIME_ISA": isa},
        timeout=120,
    )


def test_none_in_the_environment():
    done = python(
        "none",
        "import torch; from throughtime import LSTM, kernels;"
        "LSTM(2, 3)(torch.zeros(1, 2, 2));"
        "print(kernels.active()['lstm'])",
    )
    assert done.stdout.strip() == (
        "Choice(name='reference', reason=\"cpu: THROUGHTIME_ISA is 'none'\")"
    )


@needs_extension
def test_an_instruction_set_in_the_environment():
    done = python("baseline", "from throughtime.kernels import native; print(native.library.isa())")
    assert done.stdout == "baseline\n", done.stderr


@needs_extension
def test_an_unknown_instruction_set_in_the_environment():
    """A warning that says what there is, and the best of that."""
    done = python("mmx", "from throughtime.kernels import native; print(native.library.isa())")
    best = native.library.isas()[0]
    assert done.stdout == f"{best}\n"
    warning, _source = done.stderr.splitlines()
    assert warning.endswith(
        f"Warning: THROUGHTIME_ISA is 'mmx', expected one of none, "
        f"{', '.join(native.library.isas())}; using {best}"
    )
