"""What only a process of its own can show: pipes, signals, crashes, packages that are missing."""

import json
import signal
import subprocess
import sys
import time

import pytest

from tests.commands.conftest import environment, fine, one_line, refusal, run_alone, start
from throughtime.training.checkpoint import load_checkpoint

LONG = (
    "--horizon", "4", "--width", "6", "--window", "4", "--batch-size", "1", "--epochs", "60",
    "--steps", "80", "--patience", "99", "--dropout", "0.1", "--truncation", "unbiased",
    "--depth", "16", "--head", "normal", "--checkpoint-every", "2", "--quiet",
)  # fmt: skip
"""A run of a few seconds, in which everything random is random."""


# -- one line in, one answer out -------------------------------------------------------------------


@pytest.mark.timeout(60)  # an answer that waits for more lines would never come
def test_each_line_is_answered_at_once_and_in_order(runs):
    lines = ["y", "1.5", "-0.5", "", "2"]
    expected = fine("stream", runs["plain"], stdin="\n".join(lines)).splitlines(keepends=True)
    with start("stream", runs["plain"]) as process:
        process.stdin.write("y\n1.5\n")
        process.stdin.flush()
        assert [process.stdout.readline(), process.stdout.readline()] == expected[:2]
        for line, answer in zip(("-0.5", "\n2"), expected[2:], strict=True):
            process.stdin.write(line + "\n")
            process.stdin.flush()
            assert process.stdout.readline() == answer
        process.stdin.close()
        assert process.stdout.read() == ""
        assert process.wait() == 0
        assert process.stderr.read() == ""


@pytest.mark.timeout(60)
def test_ctrl_c_ends_a_stream_and_keeps_its_state(runs, tmp_path):
    state = tmp_path / "state"
    process = start("stream", runs["plain"], "--state", state)
    with process:
        process.stdin.write("1\n2\n")
        process.stdin.flush()
        first = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert "Traceback" not in process.stderr.read()
    second = json.loads(fine("stream", runs["plain"], "--state", state, stdin="3\n"))
    whole = fine("stream", runs["plain"], stdin="1\n2\n3\n").splitlines()
    assert [*first, second] == [json.loads(line) for line in whole]


@pytest.mark.timeout(60)
def test_a_reader_that_leaves_is_no_error(runs, tmp_path):
    path = tmp_path / "lines"
    path.write_text("1\n" * 500)
    with path.open() as lines, start("stream", runs["plain"], stdin=lines) as process:
        assert process.stdout.readline().startswith("{")
        process.stdout.close()
        process.wait()
        assert process.stderr.read() == ""


# -- killed, interrupted, resumed ------------------------------------------------------------------


@pytest.fixture(scope="module")
def uninterrupted(files, tmp_path_factory):
    """The weights of a run that was never stopped: the best, and the last."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    fine("fit", files.plain, *LONG, "--out", folder)
    return weights_of(folder)


def weights_of(folder):
    last = load_checkpoint(folder)["weights"]
    return (folder / "model.safetensors").read_bytes(), {k: v.tolist() for k, v in last.items()}


def stop_in_the_middle(process, folder, how):
    """Send a signal once some training is behind and much is ahead."""
    metrics = folder / "metrics.jsonl"
    until = time.monotonic() + 120
    while not metrics.exists() or metrics.read_text().count("\n") < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.005)
    process.send_signal(how)
    _, err = process.communicate(timeout=60)
    return err


def steps_done(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return json.loads(lines[-1])["step"]


def test_a_run_killed_in_mid_training_resumes_to_the_same_weights(files, tmp_path, uninterrupted):
    folder = tmp_path / "run"
    process = start("fit", files.plain, *LONG, "--out", folder)
    stop_in_the_middle(process, folder, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert 0 < steps_done(folder) < 80
    assert not (folder / "model.safetensors").exists()
    assert "has no weights yet" in refusal("predict", folder)
    done = run_alone("fit", "--resume", folder, "--quiet")
    assert done.code == 0, done
    assert steps_done(folder) == 80
    assert weights_of(folder) == uninterrupted


def test_ctrl_c_leaves_a_checkpoint_to_go_on_from(files, tmp_path, uninterrupted):
    folder = tmp_path / "run"
    process = start("fit", files.plain, *LONG, "--out", folder)
    err = stop_in_the_middle(process, folder, signal.SIGINT)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert f"go on with: throughtime fit --resume {folder}" in err
    assert (folder / "checkpoint" / "latest.safetensors").is_file()
    assert 0 < steps_done(folder) < 80
    fine("fit", "--resume", folder, "--quiet")
    assert weights_of(folder) == uninterrupted
    assert "<html" in (folder / "report.html").read_text()
    # What is finished stays as it is when resumed once more.
    fine("fit", "--resume", folder, "--quiet")
    assert weights_of(folder) == uninterrupted


def test_a_run_in_float64_resumes_beside_its_baselines(files, tmp_path):
    folder = tmp_path / "run"
    fine("fit", files.plain, "--steps", 2, "--horizon", 4, "--width", 3, "--quiet", "--dtype",
         "float64", "--out", folder)  # fmt: skip
    found = json.loads(fine("fit", "--resume", folder, "--quiet", "--json"))
    assert {"lstm", "last", "linear"} <= set(found["metrics"])


# -- packages that are not installed ---------------------------------------------------------------

WITHOUT = """
import runpy, sys
missing = sys.argv.pop(1)
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
sys.argv[0] = "throughtime"
runpy.run_module("throughtime", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    ("package", "extra", "command"),
    [
        ("typer", "cli", "doctor"),
        ("matplotlib", "plots", "fit"),
        ("polars", "data", "fit"),
        pytest.param("rich", "cli", "doctor", marks=pytest.mark.slow),
        pytest.param("jinja2", "cli", "fit", marks=pytest.mark.slow),
    ],
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    files, tmp_path, package, extra, command
):
    more = [str(files.series), "--out", str(tmp_path / "run")] if command == "fit" else []
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, package, command, *more],
        env=environment(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    said = one_line(done.stderr)
    assert f"needs {package}: pip install 'throughtime[{extra}]'" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_text_needs_no_polars(files):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, "polars", "data", str(files.text), "--json"],
        env=environment(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done
    assert json.loads(done.stdout)["characters"] > 1000
