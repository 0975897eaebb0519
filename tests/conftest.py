import pytest
import torch


def pytest_addoption(parser):
    parser.addoption("--device", default="cpu", help="where the laws run: cpu, cuda, cuda:1 ...")
    parser.addoption("--dtype", default="float64", help="the type they run in")


@pytest.fixture(scope="session")
def device(pytestconfig):
    name = pytestconfig.getoption("--device")
    if name.startswith("cuda") and not torch.cuda.is_available():
        pytest.exit(f"--device {name}: there is no CUDA device here", returncode=2)
    return name


@pytest.fixture(scope="session")
def dtype(pytestconfig):
    return getattr(torch, pytestconfig.getoption("--dtype"))


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def threads():
    # Tests compute on tiny tensors, where a second thread only costs.
    torch.set_num_threads(1)
