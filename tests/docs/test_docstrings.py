"""Every example in a docstring runs, and gives what it says."""

import ast
import doctest
import importlib
from pathlib import Path

import pytest
import torch

from throughtime.errors import MissingExtra

SOURCE = Path(__file__).parents[2] / "src"


def docstrings(path):
    """The docstrings with examples in a module: dotted name, text, line.

    They are read from the source: checked functions are wrapped, and doctest's own search would
    take them for another module's.
    """
    module = ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
    pending = [(module, ast.parse(path.read_text(encoding="utf-8")))]
    while pending:
        name, node = pending.pop()
        text = ast.get_docstring(node, clean=False)
        if text and ">>>" in text:
            yield module, name, text, getattr(node, "lineno", 0)
        for child in node.body:
            if isinstance(child, ast.ClassDef | ast.FunctionDef):
                pending.append((f"{name}.{child.name}", child))


EXAMPLES = [
    pytest.param(path, *example, id=example[1])
    for path in sorted((SOURCE / "throughtime").rglob("*.py"))
    for example in docstrings(path)
]


def run(text, name, namespace, path="", line=0):
    """The report of what differs; empty where all is as it says."""
    test = doctest.DocTestParser().get_doctest(text, namespace, name, path, line)
    said = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.append)
    return "".join(said)


def test_examples_were_found():
    names = {param.id for param in EXAMPLES}
    assert {"throughtime.state.detach", "throughtime.layers.lstm.LSTM"} <= names


@pytest.mark.parametrize(("path", "module", "name", "text", "line"), EXAMPLES)
def test_example_runs(path, module, name, text, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        namespace = {**vars(importlib.import_module(module)), "torch": torch}
    except MissingExtra as missing:
        pytest.skip(str(missing))
    wrong = run(text, name, namespace, str(path), line)
    assert not wrong, wrong


def test_a_wrong_example_is_found():
    assert "Expected:" in run(">>> 1 + 1\n3\n", "wrong", {})
    assert run(">>> 1 + 1\n2\n", "right", {}) == ""
