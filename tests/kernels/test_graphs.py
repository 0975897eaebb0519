"""Compiled and exported graphs of the kernels give what they give eagerly."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernels.graphs import CHECKS
from tests.kernels.support import needs_extension

pytestmark = needs_extension


@pytest.fixture(scope="module")
def results():
    done = subprocess.run(
        [sys.executable, "-m", "tests.kernels.graphs"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", CHECKS)
def test_graph(name, results):
    assert results[name] is None
