"""The pages of the twenty points: their Python and their commands run and print what they say."""

import contextlib
import io
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.commands.conftest import call
from tests.docs.test_examples import FENCE

ROOT = Path(__file__).parents[2]
POINTS = ROOT / "docs" / "points"
KOREAN = ROOT / "docs" / "ko" / "points"
PAGES = sorted(path for path in POINTS.glob("*.md") if path.name != "index.md")
NUMBER = re.compile(r"<?\d[\d,]*(\.\d+)?(e-?\d+)?")
RULE = re.compile(r"[━─]+")


def steps(text):
    """Each block of Python or of commands, with the output right below it, or None."""
    found = list(FENCE.finditer(text))
    for place, block in enumerate(found):
        if block[1] not in ("python", "sh"):
            continue
        after = found[place + 1] if place + 1 < len(found) else None
        below = after and after[1] == "text" and not text[block.end() : after.start()].strip()
        yield block[1], block[2], after[2] if after and below else None


def run(text, name):
    """Do what a reader does: one block after another, in the folder where one stands."""
    namespace = {"__name__": "page"}
    for number, (language, code, expected) in enumerate(steps(text), start=1):
        where = f"{name}, block {number}"
        if language == "python":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(code, where, "exec"), namespace)
            if expected is not None:
                assert printed.getvalue() == expected, where
            continue
        lines = [shape(line) for line in commands(code).splitlines()]
        for line in (expected or "").splitlines():
            assert shape(line) in lines, f"{where}: {line!r} was not printed"


def commands(code):
    """What some lines for a shell print. Those of throughtime run in this process."""
    printed = ""
    for line in code.replace("\\\n", " ").splitlines():
        first, pipe, second = line.partition(" | ")
        fed = ""
        if pipe:
            fed = subprocess.run(["sh", "-c", first], capture_output=True, text=True, check=True)
            fed, first = fed.stdout, second
        program, *arguments = shlex.split(first)
        assert program == "throughtime", line
        outcome = call(*arguments, stdin=fed)
        assert outcome.code in (0, None), f"{line}\n{outcome.err}"
        printed += outcome.out + outcome.err
    return printed


def shape(line):
    """A line without what differs between machines: numbers, and the widths that follow them."""
    return " ".join(RULE.sub("-", NUMBER.sub("#", line)).split())


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_page_runs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(path.read_text(encoding="utf-8"), path.stem)


def test_there_are_twenty_pages_in_both_languages():
    names = [path.name for path in PAGES]
    assert [int(name[:2]) for name in names] == [*range(1, 21)]
    assert sorted(path.name for path in KOREAN.glob("*.md")) == [*names, "index.md"]


@pytest.mark.parametrize("path", [*PAGES, POINTS / "index.md"], ids=lambda path: path.stem)
def test_both_languages_have_the_same_code(path):
    """So it is enough to run the English one."""
    english = path.read_text(encoding="utf-8")
    korean = (KOREAN / path.name).read_text(encoding="utf-8")
    assert [block.groups() for block in FENCE.finditer(english)] == [
        block.groups() for block in FENCE.finditer(korean)
    ]
    assert equations(english) == equations(korean)
    assert english.count("\n#") == korean.count("\n#"), "other headings"
    figures = re.findall(r"\(\.\./(figures/[^)]*)\)", english)
    assert figures == re.findall(r"\(\.\./\.\./(figures/[^)]*)\)", korean)
    assert sorted(links(english)) == sorted(links(korean))


def equations(text):
    return re.findall(r"\$\$.*?\$\$", text, re.DOTALL)


def links(text):
    """Pages that are linked to. In Korean headings differ, and the reference lies deeper."""
    found = re.findall(r"(?<!!)\[[^\]]*\]\(([^)]*\.md)(?:#[^)]*)?\)", text)
    return [re.sub(r"^(\.\./)+reference", "reference", link) for link in found]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_page_has_its_parts(path):
    text = path.read_text(encoding="utf-8")
    title, *headings = re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.MULTILINE)
    assert title.startswith(f"{int(path.name[:2])} · ")
    assert headings[0] == "In code"
    assert headings[-3:] == ["What to look at", "In practice", "Try"]
    assert equations(text), "no equation"
    assert any(expected for _, _, expected in steps(text)), "nothing is shown"
    assert "../reference/" in text


@pytest.mark.parametrize("folder", [POINTS, KOREAN], ids=["english", "korean"])
def test_the_index_and_the_list_beside_it_name_every_page(folder):
    index = (folder / "index.md").read_text(encoding="utf-8")
    beside = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r"^ +- (?:.*: )?(\S+\.md)$", beside, re.MULTILINE)
    prefix = folder.relative_to(ROOT / "docs").as_posix()
    assert [link for link in links(index) if link[:2].isdigit()] == [path.name for path in PAGES]
    assert [name for name in listed if name.startswith(f"{prefix}/")] == [
        f"{prefix}/{name}" for name in ["index.md", *(path.name for path in PAGES)]
    ]


def test_links_between_pages_lead_somewhere():
    for path in [*POINTS.glob("*.md"), *KOREAN.glob("*.md")]:
        for link in re.findall(r"\]\(([^)#]*\.md)", path.read_text(encoding="utf-8")):
            if "reference/" not in link:  # made when the pages are built
                assert (path.parent / link).exists(), f"{path.name}: {link}"


def test_source_files_that_are_named_exist():
    for path in PAGES:
        *_, last = re.findall(r"^In the code: (.*)$", path.read_text(encoding="utf-8"), re.M)
        files = re.findall(r"`([a-z_/]+\.py)`", last)
        assert files, path.name
        for file in files:
            assert (ROOT / "src" / "throughtime" / file).exists(), f"{path.name}: {file}"


def test_a_page_that_is_wrong_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = "```python\nx = 2\n```\n\n```python\nprint(x)\n```\n\n```text\n3\n```\n"
    with pytest.raises(AssertionError, match="block 2"):
        run(page, "wrong")
    run(page.replace("3", "2"), "right")
    listing = "```sh\nthroughtime data words\n```\n\n```text\n characters  19,267\n lines 7\n```\n"
    run(listing, "right, but for numbers")
    with pytest.raises(AssertionError, match="letters 9' was not printed"):
        run(listing.replace("lines 7", "letters 9"), "wrong")
    with pytest.raises(AssertionError, match="no such file"):
        run("```sh\nthroughtime data nothing-of-that-name\n```\n", "wrong")
    with pytest.raises(AssertionError, match="rm"):
        run("```sh\nrm -r run\n```\n", "wrong")


def test_shapes_of_lines():
    assert shape("│ gru  │  <0.1 │ 1,234 │ 1e-05") == shape("│ gru │   0.3 │ 56 │ 2e-13")
    assert shape("├──┼───┤") == shape("├─────┼─┤")
    assert shape("Best model: gru, 2") != shape("Best model: rnn, 2")
