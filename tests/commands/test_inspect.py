"""`throughtime inspect`: what it writes and prints, and what it refuses, in one line."""

import json
import shutil

import pytest

from tests.commands.conftest import call, fine, one_line, refusal
from tests.inspect.inside_runs import run_of, write_run
from throughtime.inspect import memory_parts, page, subjects
from throughtime.inspect.showing import Uris


@pytest.fixture(autouse=True)
def _blank(monkeypatch):
    """Without pictures, which take most of the time."""

    def draw(*given, file=None, **options):
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"")
        return Uris("data:,", "data:,")

    monkeypatch.setattr(page, "draw_both", draw)


def folder(name):
    return run_of(name).folder


def words(out):
    """Those of the page's first sequence."""
    text = (out / "index.html").read_text("utf-8")
    data = text.split('id="page-data">')[1].split("</script>")[0]
    return next(iter(json.loads(data)["steps"].values()))["words"]


def refused(name, *more):
    return refusal("inspect", folder(name), *more)


# -- what it writes ------------------------------------------------------------------------------


def test_a_row_of_the_test_part_by_default(tmp_path):
    said = call("inspect", folder("lstm"), "--out", tmp_path / "a")
    again = call("inspect", folder("lstm"), "--row", "0", "--out", tmp_path / "b")
    assert said.code in (0, None), said
    assert said.out == again.out
    assert words(tmp_path / "a") == words(tmp_path / "b")
    assert len(words(tmp_path / "a")) == subjects.TOKENS + 1
    assert "bits of surprise per character" in said.out
    assert "a cut after 32 steps" in said.out
    assert said.err.splitlines()[-1] == f"page: {tmp_path / 'a' / 'index.html'}"
    assert (tmp_path / "a" / "gradient-flow.png").exists()


def test_it_writes_into_the_run_and_replaces_what_it_wrote(tmp_path):
    run = write_run(tmp_path / "run", "words", "rnn")
    for text in ("bana", "nebel"):
        fine("inspect", run, "--text", text)
        assert words(run / "inspect") == ["<begin>", *text]


def test_results_for_machines(tmp_path):
    out = tmp_path / "deep" / "out"
    found = json.loads(fine("inspect", folder("digits"), "--row", "3", "--json", "--out", out))
    assert found["page"] == str(out / "index.html")
    assert sorted(found["figures"]) == sorted(map(str, out.glob("*.png")))
    assert found["shown"] == "row 3 of the test part"
    assert any("with probability" in sentence for sentence in found["found"])


def test_the_command_that_made_it_stands_in_the_page(tmp_path):
    out = tmp_path / "o ut"
    fine("inspect", folder("rnn"), "--text", "ab", "--layers", "*.0", "--out", out)
    text = (out / "index.html").read_text("utf-8")
    command = f"throughtime inspect {folder('rnn')} --text ab --out '{out}' --layers '*.0'"
    assert f"<pre>{command.replace(chr(39), '&#39;')}</pre>" in text


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("pairs", ("--source", "42")),
        ("pairs", ("--source", "42", "--target", "forty two")),
        ("texts", ("--text", "good fine")),
        ("series", ("--row", "2")),
        ("examples", ()),
    ],
)
def test_what_is_shown_can_be_chosen(name, options, tmp_path):
    assert fine("inspect", folder(name), *options, "--out", tmp_path / "out").strip()
    assert (tmp_path / "out" / "index.html").exists()


def test_an_image_of_ones_own(tmp_path):
    from PIL import Image

    Image.new("L", (20, 30), "white").save(tmp_path / "mine.png")
    fine("inspect", folder("digits"), "--image", tmp_path / "mine.png", "--out", tmp_path / "out")
    assert "mine.png" in (tmp_path / "out" / "index.html").read_text("utf-8")


def test_quiet_says_only_what_was_found(tmp_path):
    found = call("inspect", folder("rnn"), "--text", "bana", "--quiet", "--out", tmp_path / "a")
    assert found.err == ""
    assert found.out


def test_what_cutting_the_gradient_costs(tmp_path, monkeypatch):
    monkeypatch.setattr(memory_parts, "PLACES", 1)
    monkeypatch.setattr(memory_parts, "ROWS", 1)
    out = tmp_path / "out"
    said = fine("inspect", folder("rnn"), "--text", "bana", "--truncation", "--out", out)
    text = (out / "index.html").read_text("utf-8")
    assert "What cutting the gradient costs" in text
    assert (out / "truncation.png").exists()
    assert "bias" in said
    assert "--truncation</pre>" in text


# -- what it refuses -------------------------------------------------------------------------------


def test_no_run(tmp_path):
    assert "does not exist; throughtime fit makes one" in refusal("inspect", tmp_path / "gone")
    assert "config.json is missing" in refusal("inspect", tmp_path)


@pytest.mark.parametrize(
    ("name", "option", "instead"),
    [
        ("lstm", "--image", "--text or --row"),
        ("lstm", "--source", "--text or --row"),
        ("series", "--text", "--row"),
        ("pairs", "--text", "--source or --row"),
        ("digits", "--text", "--image or --row"),
        ("texts", "--source", "--text or --row"),
        ("examples", "--image", "--row"),
    ],
)
def test_options_of_another_kind_of_run(name, option, instead):
    said = refused(name, option, "x")
    assert said.endswith(f"takes no {option}; give {instead}")


def test_two_things_to_show():
    assert "got --text and --row, expected one" in refused("lstm", "--text", "a", "--row", "1")
    assert "--target stands beside --source" in refused("pairs", "--target", "a")


@pytest.mark.parametrize(
    ("name", "what"),
    [("lstm", "stretches of 128 characters"), ("series", "series"), ("pairs", "pairs"),
     ("digits", "examples"), ("texts", "examples")],
)  # fmt: skip
def test_no_such_row(name, what):
    for row in ("99999", "-1"):
        said = refused(name, "--row", row)
        assert said.startswith(f"--row is {row}, expected 0 to ")
        assert said.endswith(what)


def test_text_that_the_run_does_not_know():
    said = refused("lstm", "--text", "bana7")
    assert said.startswith("--text: character '7' at position 4")
    assert "expected some with characters in it" in refused("lstm", "--text", "")


def test_a_pattern_that_no_layer_has():
    said = refused("lstm", "--text", "a", "--layers", "decoder*")
    assert said == "--layers is 'decoder*', which no layer has; there are body.layers.0"


@pytest.mark.parametrize("name", ["window", "transformer", "pairs", "digits-rows"])
def test_no_gradient_is_cut_in_models_that_carry_no_state(name):
    assert "carries no state from window to window" in refused(name, "--truncation")


def test_images_that_are_none(tmp_path):
    assert "there is no such file" in refused("digits", "--image", tmp_path / "gone.png")
    assert "is a folder, expected one image" in refused("digits", "--image", tmp_path)
    (tmp_path / "bad.png").write_text("no image")
    assert "bad.png" in refused("digits", "--image", tmp_path / "bad.png")
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    for name in ("bad.png", "table.csv"):
        said = refused("digits", "--image", tmp_path / name)
        assert f"--image {tmp_path / name} cannot be read as an image" in said
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "red.png")
    said = refused("digits", "--image", tmp_path / "red.png")
    assert said.endswith(
        "an image of shape [3, 8, 8], expected [1, 8, 8] (channels, height, width)"
    )


def test_folders_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    for out in ("file", "file/below"):
        assert "is a file, expected a folder" in refused("lstm", "--out", tmp_path / out)
    assert "is not empty; choose a new folder" in refused("lstm", "--out", tmp_path / "full")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]


def test_data_that_are_gone_ask_for_something_to_show(tmp_path):
    (tmp_path / "text.txt").write_text("the cat sat on the mat. " * 60)
    run = write_run(tmp_path / "run", tmp_path / "text.txt", "lstm")
    (tmp_path / "text.txt").unlink()
    said = refusal("inspect", run)
    assert "there is no such file" in said
    assert said.endswith("give --text")
    fine("inspect", run, "--text", "the cat")


def test_a_damaged_run(tmp_path):
    run = shutil.copytree(folder("rnn"), tmp_path / "run")
    (run / "model.safetensors").unlink()
    assert "has no weights yet" in refusal("inspect", run)


def test_ctrl_c_is_one_line_at_most(monkeypatch):
    def interrupted(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr("throughtime.inspect.looking.look", interrupted)
    outcome = call("inspect", folder("rnn"), "--text", "bana")
    assert outcome.code == 130
    assert outcome.err.strip() in ("", "Aborted!")


def test_bad_options_are_refused_in_one_line():
    outcome = call("inspect", folder("rnn"), "--rows", "1")
    assert outcome.code == 2
    assert one_line  # typer says it in its own frame, as for every command
    assert "No such option" in outcome.err
