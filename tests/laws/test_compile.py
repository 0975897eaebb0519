"""Compiled and exported layers give what they give uncompiled."""

from functools import cache

import pytest

from tests.alone import report_of
from tests.laws.trials import BRIEF, TRIALS

PARTS = 4


@cache
def results(part, which):
    return report_of("tests.laws.compiled", part, PARTS, which)


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
