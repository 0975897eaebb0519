"""Compiled and exported layers give what they give uncompiled."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.laws.trials import BRIEF, TRIALS

PARTS = 4


@cache
def results(part, which):
    # In a process of its own: the shape checks of the tests cannot be traced.
    done = subprocess.run(
        [sys.executable, "-m", "tests.laws.compiled", str(part), str(PARTS), which],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def check(trial, how, trials, which):
    found = results(trials.index(trial) % PARTS, which)
    assert found[f"{trial.name}-{how}"] is None


@pytest.mark.parametrize("how", ["compile", "export"])
@pytest.mark.parametrize("trial", BRIEF, ids=lambda trial: trial.name)
def test_the_same_when(trial, how):
    check(trial, how, BRIEF, "brief")


REST = [trial for trial in TRIALS if trial not in BRIEF]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["compile", "export"])
@pytest.mark.parametrize("trial", REST, ids=lambda trial: trial.name)
def test_the_reference_of_what_is_put_together_is_the_same_when(trial, how):
    check(trial, how, REST, "rest")
