"""Compiled and exported layers give what they give uncompiled."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.laws.trials import TRIALS

PARTS = 4


@cache
def results(part):
    # In a process of its own: the shape checks of the tests cannot be traced.
    done = subprocess.run(
        [sys.executable, "-m", "tests.laws.compiled", str(part), str(PARTS)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("how", ["compile", "export"])
@pytest.mark.parametrize("trial", TRIALS, ids=lambda trial: trial.name)
def test_the_same_when(trial, how):
    assert results(TRIALS.index(trial) % PARTS)[f"{trial.name}-{how}"] is None
