"""Compiled and exported graphs of the kernels give what they give eagerly."""

import pytest

from tests.alone import report_of
from tests.kernels.graphs import CHECKS
from tests.kernels.support import needs_extension

pytestmark = needs_extension


@pytest.fixture(scope="module")
def results():
    return report_of("tests.kernels.graphs")


@pytest.mark.parametrize("name", CHECKS)
def test_graph(name, results):
    assert results[name] is None
