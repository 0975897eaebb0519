"""Imports point one way, and importing the package asks for little."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src"

# From the top to the bottom. A module may import what stands below its own line, and its own
# package; those on one line do not know each other.
ORDER = [
    ["__main__"],
    ["cli"],
    ["commands"],
    ["recipes"],
    ["serving", "exporting"],
    ["inspect"],
    ["training"],
    ["tasks", "interop"],
    ["decoding"],
    ["models", "data", "testing"],
    ["accelerating"],
    ["torch_nn"],
    ["layers"],
    ["kernels"],
    ["state", "taps"],
    ["errors", "shapes"],
]
# What the package itself offers is made of `accelerate` and below, so that is where it stands.
RANK = {part: rank for rank, parts in enumerate(ORDER) for part in parts}
RANK["throughtime"] = RANK["accelerating"]


def part_of(module):
    """`throughtime.layers.lstm` -> `layers`; the package itself -> `throughtime`."""
    names = module.split(".")
    return names[1] if len(names) > 1 else names[0]


def imported(code, module):
    """The parts of throughtime that a module's code imports, with line numbers."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, (
                f"{module}:{node.lineno}: relative imports hide where they point"
            )
            names = [node.module or ""]
            if node.module == "throughtime":  # `from throughtime import kernels` is of kernels
                names = [
                    f"throughtime.{alias.name}" if alias.name in RANK else "throughtime"
                    for alias in node.names
                ]
        else:
            continue
        found += [
            (part_of(name), node.lineno) for name in names if name.split(".")[0] == "throughtime"
        ]
    return found


def violations(code, module):
    """Imports that point up or to the side, as sentences."""
    own = part_of(module)
    wrong = []
    for part, line in imported(code, module):
        assert part in RANK, f"{module}:{line}: {part} has no place in ORDER"
        if part != own and RANK[part] <= RANK[own]:
            wrong.append(f"{module}:{line} imports {part}, which does not stand below {own}")
    return wrong


def modules():
    for path in sorted((SOURCE / "throughtime").rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def test_every_part_has_a_place():
    parts = {part_of(module) for module, _ in modules()}
    assert parts - set(RANK) == set()
    assert {"layers", "kernels", "state", "inspect"} <= parts  # the walk found the package


def test_imports_point_one_way():
    wrong = []
    for module, path in modules():
        if module == "throughtime":  # what it gathers is what gives it its place
            lowest = {part for part, _ in imported(path.read_text(), module)}
            assert all(RANK[part] >= RANK["throughtime"] for part in lowest)
            continue
        wrong += violations(path.read_text(encoding="utf-8"), module)
    assert wrong == []


@pytest.mark.parametrize(
    ("module", "code"),
    [
        ("throughtime.layers.lstm", "from throughtime.training.bptt import step"),
        ("throughtime.models.config", "import throughtime.data.series"),
        ("throughtime.data.series", "def late():\n    from throughtime.models import build"),
        ("throughtime.training.loop", "from throughtime.inspect import report"),
        ("throughtime.state", "from throughtime import kernels"),
        ("throughtime.kernels.lstm", "from throughtime import LSTM"),
    ],
)
def test_a_wrong_import_is_found(module, code):
    assert len(violations(code, module)) == 1


@pytest.mark.parametrize(
    ("module", "code"),
    [
        ("throughtime.layers.lstm", "from throughtime import kernels\nimport torch"),
        ("throughtime.layers.lstm", "from throughtime.layers.base import Layer"),
        ("throughtime.inspect.report", "from throughtime import __version__"),
        ("throughtime.commands.compare", "from throughtime.recipes import forecasting"),
    ],
)
def test_a_right_import_passes(module, code):
    assert violations(code, module) == []


def test_importing_the_package_loads_no_extra():
    heavy = [
        "polars",
        "tokenizers",
        "matplotlib",
        "typer",
        "rich",
        "jinja2",
        "jaxtyping",
        "beartype",
        "pandas",
    ]
    # jaxtyping comes with the tests, and `shapes` uses it where it is: hide it, as for a user.
    code = (
        "import sys\n"
        "sys.modules['jaxtyping'] = None\n"
        "import throughtime\n"
        f"loaded = [name for name in {heavy!r} if sys.modules.get(name) is not None]\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
