"""Checks in a process of their own: what checks shapes in the tests cannot be traced."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def report_of(module: str, *arguments: Any, timeout: int = 280) -> Any:
    """What `python -m module` prints last, as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])
