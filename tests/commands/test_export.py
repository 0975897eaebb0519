"""`throughtime export`: files that run without throughtime, and refusals."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.commands.conftest import refusal
from tests.serving.runs import forecast_data, make_run
from throughtime.decoding import Sampling, write
from throughtime.exporting import exporter, programs
from throughtime.exporting.checking import no_larger
from throughtime.tasks.data_config import DataConfig

HERE = Path(__file__).parents[2]


def export_alone(run, folder, *each):
    """Outcomes of `throughtime export RUN`, for several lists of arguments."""
    rest = [argument for arguments in each for argument in (*arguments, "--")]
    done = subprocess.run(
        [sys.executable, "-m", "tests.commands.exports_alone", str(run), str(folder), *rest],
        capture_output=True, text=True, cwd=HERE, timeout=3000, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    for outcome in outcomes:
        assert outcome["code"] in (0, None), outcome
    return outcomes


@pytest.fixture(scope="module")
def text_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    path = folder / "cat.txt"
    path.write_text("the cat sat on the mat and the dog ran to the cat.\n" * 40)
    # Weights of deviation 1/2 and layers this narrow: int8 must cost something, but not much.
    return make_run(folder / "run", DataConfig(str(path)), kind="lstm", width=16)


@pytest.fixture(scope="module")
def exported(text_run, tmp_path_factory):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("exported")
    return folder, export_alone(
        text_run.folder, folder, ("--step", "--int8", "--json"), ("--format", "torch", "--whole")
    )


def test_it_says_what_was_written_and_how_near_it_is(exported):
    folder, (onnx, packaged) = exported
    found = json.loads(onnx["out"])
    names = [Path(one["path"]).name for one in found["files"]]
    assert names == ["step.onnx", "step.int8.onnx"]
    assert found["files"][0]["difference"] < 1e-5
    assert found["steps"] > 100
    assert set(found["measures"]) == {"throughtime", "onnx", "int8"}
    assert all(values["step_microseconds"] > 0 for values in found["measures"].values())
    assert found["files"][1]["bytes"] < found["files"][0]["bytes"]
    (line,) = packaged["out"].splitlines()
    assert line.startswith(f"{folder / '1' / 'whole.pt2'}: ")
    assert "steps of validation" in line


def test_numpy_and_onnx_runtime_are_enough_to_write_text(
    exported, text_run, tmp_path, monkeypatch, capsys
):
    """By the code of the guide, which is the same in both languages."""
    english, korean = (
        (HERE / "docs" / folder / "exporting.md").read_text(encoding="utf-8").split("```py\n")[1:]
        for folder in ("", "ko")
    )
    codes = [part.split("```")[0] for part in english]
    assert codes == [part.split("```")[0] for part in korean]
    shutil.copytree(exported[0] / "0", tmp_path / "export")
    monkeypatch.chdir(tmp_path)
    exec(compile(codes[0], "exporting.md", "exec"), {"__name__": "page"})
    model = text_run.model.float()
    expected = write(model, text_run.vocabulary, [""], 200, sampling=Sampling(greedy=True))
    model.double()
    assert capsys.readouterr().out == expected[0]


def test_the_files_hold_no_path_of_the_machine(exported):
    for path in (exported[0] / "0").iterdir():
        assert str(HERE).encode() not in path.read_bytes(), path


@pytest.mark.slow
def test_a_package_loads_where_the_operators_are_known(exported, text_run):
    code = (
        "import sys, torch, throughtime.exporting\n"
        "module = torch.export.load(sys.argv[1]).module()\n"
        "found = module(torch.zeros(1, 9).long(), torch.ones(1, 9).bool())\n"
        "print(found[0].flatten().tolist())\n"
    )
    path = exported[0] / "1" / "whole.pt2"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(path)],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    expected, _ = text_run.model(torch.zeros(1, 9).long())
    np.testing.assert_allclose(
        json.loads(done.stdout), expected.flatten().tolist(), rtol=1e-4, atol=1e-4
    )


@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_what_int8_costs_is_measured_on_series(tmp_path, files):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    run = make_run(tmp_path / "run", forecast_data(files.series), kind="lstm", width=16)
    (outcome,) = export_alone(run.folder, tmp_path / "out", ("--int8", "--json"))
    measures = json.loads(outcome["out"])["measures"]
    assert measures["onnx"]["loss"] == pytest.approx(measures["throughtime"]["loss"], rel=1e-5)
    assert measures["int8"]["loss"] != measures["onnx"]["loss"]
    assert measures["int8"]["loss"] == pytest.approx(measures["onnx"]["loss"], rel=0.2)


# Refusals


def test_no_run(tmp_path):
    assert "no run folder" in refusal("export", tmp_path)
    assert "does not exist" in refusal("export", tmp_path / "none" / "such")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--format", "paper"), "form is 'paper', expected onnx or torch"),
        (("--format", "torch", "--int8"), "int8 is for onnx, and form is 'torch'"),
    ],
)
def test_options_that_do_not_go_together(text_run, arguments, said):
    assert said in refusal("export", text_run.folder, *arguments)


def test_a_folder_with_other_files(text_run, tmp_path):
    (tmp_path / "thesis.txt").write_text("do not touch")
    said = refusal("export", text_run.folder, "--out", tmp_path, "--format", "torch")
    assert said.endswith("holds thesis.txt, expected an empty folder")
    said = refusal("export", text_run.folder, "--out", tmp_path / "thesis.txt", "--format", "torch")
    assert "is a file, expected a folder" in said
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_earlier_export_is_replaced_when_all_is_well(text_run, tmp_path, monkeypatch):
    """Files are made here by nobody: what is looked at is where they go."""
    out = tmp_path / "out"
    (out / ".unfinished-killed").mkdir(parents=True)
    for name in ("export.json", "step.onnx", "whole.onnx.data"):
        (out / name).write_text("old")
    monkeypatch.setattr(programs, "write_package", lambda graph, path: path.write_text("new"))
    monkeypatch.setattr(programs, "open_package", lambda path: lambda *given: given)
    before = {path.name for path in out.iterdir()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "_check", lambda *_: no_larger(1.0, "whole.pt2"))
        assert "whole.pt2 differs" in refusal(
            "export", text_run.folder, "--out", out, "--format", "torch"
        )
    assert {path.name for path in out.iterdir()} == before
    monkeypatch.setattr(exporter, "_check", lambda *_: 0.0)
    found = exporter.export_run(text_run.folder, out, form="torch", step=False)
    assert [one.path for one in found.files] == [out / "whole.pt2"]
    assert sorted(path.name for path in out.iterdir()) == ["export.json", "whole.pt2"]
    assert (out / "whole.pt2").read_text() == "new"


def test_files_with_names_like_ours(text_run, tmp_path):
    (tmp_path / "whole.onnx").write_text("of somebody else")
    said = refusal("export", text_run.folder, "--out", tmp_path, "--format", "torch")
    assert said.endswith("holds whole.onnx without export.json, expected an empty folder")


def test_a_baseline_of_counts(tmp_path, text_run):
    run = make_run(tmp_path / "counts", text_run.config.data, kind="ngram")
    said = refusal("export", run.folder, "--format", "torch")
    assert "an ngram model counts in tables" in said
    assert not (run.folder / "export").exists()


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_extra_is_named_before_anything_is_written(text_run, tmp_path, package):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, package, None)
        said = refusal("export", text_run.folder, "--out", tmp_path / "out")
    assert said == f"export to ONNX needs {package}: pip install 'throughtime[interop]'"
    assert not (tmp_path / "out").exists()
