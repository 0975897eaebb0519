"""The Python in README and guide runs, prints what stands below it, and so do the examples."""

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```\s*$", re.MULTILINE | re.DOTALL)


def blocks(text):
    """Each block of Python, with the output that stands right below it, or None."""
    found = list(FENCE.finditer(text))
    for place, block in enumerate(found):
        if block[1] != "python":
            continue
        after = found[place + 1] if place + 1 < len(found) else None
        below = after and after[1] == "text" and not text[block.end() : after.start()].strip()
        yield block[2], after[2] if after and below else None


def run(text, name):
    """Run the blocks of a page one after another, as a reader would."""
    namespace = {"__name__": "page"}
    for number, (code, expected) in enumerate(blocks(text), start=1):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, f"{name}, block {number}", "exec"), namespace)
        if expected is not None:
            assert printed.getvalue() == expected, f"{name}, block {number}"


PAGES = [
    path
    for path in [*sorted(ROOT.glob("README*.md")), *sorted((ROOT / "docs").glob("*.md"))]
    if any(blocks(path.read_text(encoding="utf-8")))
]
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_page_runs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(path.read_text(encoding="utf-8"), path.name)


def test_both_languages_have_the_same_code():
    """So it is enough to run the English one."""
    for path in (ROOT / "docs").glob("*.md"):
        other = ROOT / "docs" / "ko" / path.name
        assert other.exists(), f"{path.name} is not there in Korean"
        english, korean = path.read_text(encoding="utf-8"), other.read_text(encoding="utf-8")
        assert list(blocks(english)) == list(blocks(korean)), path.name
        assert english.count("\n#") == korean.count("\n#"), f"{path.name}: other headings"


def marked(path):
    """Scripts that say so in a comment of their own are left to `make test-all`."""
    slow = "\n# slow" in path.read_text(encoding="utf-8")
    return pytest.param(path, id=path.name, marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize("path", [marked(path) for path in SCRIPTS])
def test_script_runs(path, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path)],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip(), "an example that shows nothing"


def test_a_page_that_is_wrong_is_found():
    page = "```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n"
    with pytest.raises(AssertionError, match="block 1"):
        run(page, "wrong")
    with pytest.raises(ZeroDivisionError):
        run("```python\n1 / 0\n```\n", "wrong")
    run(page.replace("3", "2"), "right")
