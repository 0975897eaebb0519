import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernels.support import needs_extension


@pytest.mark.slow
@needs_extension
def test_it_writes_its_results(tmp_path):
    options = ["--small", "--steps", "6", "--seconds", "0.05", "--threads", "1"]
    subprocess.run(
        [sys.executable, "-m", "benchmarks.generation", *options, "--save", tmp_path],
        cwd=Path(__file__).parents[2], check=True, capture_output=True,
    )  # fmt: skip
    rows = json.loads((tmp_path / "generation.json").read_text())["rows"]
    page = (tmp_path / "generation.md").read_text()
    assert all(row["name"] in page for row in rows)
    ours = next(row for row in rows if row["name"] == "throughtime, float32")
    assert ours["same"] == 1
    assert (tmp_path / "generation.png").stat().st_size > 10_000
