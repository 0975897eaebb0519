"""Files give what models give, at sizes they were not traced at, with any padding."""

from functools import cache

import pytest

from tests.alone import report_of
from tests.exporting.cases import BRIEF, CASES

FORMS = ["onnx", "pt2"]


def run_alone(folder, form, names):
    return report_of("tests.exporting.alone", folder, form, *names, timeout=3000)


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    return cache(lambda form, names: run_alone(tmp_path_factory.mktemp(form), form, names))


def check(found):
    assert "error" not in found, found["error"]
    assert "whole" in found
    for graph, difference in found.items():
        assert difference < 1e-5, graph


@pytest.mark.parametrize("name", BRIEF)
def test_onnx_gives_the_same(results, name):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    found = results("onnx", BRIEF)[name]
    check(found)
    assert {"step", "streamed"} <= set(found)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", CASES)
def test_every_kind_gives_the_same(results, name, form):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    check(results(form, tuple(CASES))[name])
