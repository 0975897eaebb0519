import pytest

from tests.kernels.support import ISAS, Poisoning, isa_of
from throughtime.kernels import calls, native


@pytest.fixture(params=ISAS)
def isa(request):
    """Each instruction set that this processor has, one after the other."""
    with isa_of(request.param):
        yield request.param


@pytest.fixture
def poisoned(monkeypatch):
    """NaN in all memory that the kernels use, results and scratch."""
    monkeypatch.setattr(calls, "POOLED", 0)  # all of it comes from the pool
    monkeypatch.setattr(native, "library", Poisoning(native.library))
