import pytest
import torch

from throughtime import kernels


@pytest.fixture
def double():
    """Layers are made in float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture(params=["chosen", "reference"])
def implementation(request):
    with kernels.use(None if request.param == "chosen" else "reference"):
        yield request.param
