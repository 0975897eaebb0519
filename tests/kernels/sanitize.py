"""The kernels under AddressSanitizer and UndefinedBehaviorSanitizer: `make sanitize`.

Builds the extension once more, into build/sanitize, with the instruction set `wide`, which is
AVX-512's logic on AVX2; then runs what feeds it every shape, in a process of its own that loads
this build in place of the installed one. Arguments are handed to pytest.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "sanitize"
NAME = "throughtime.kernels.native._native"
TESTS = (
    "functions",
    "agreement",
    "ragged",
    "fuzz",
    "recompute",
    "steps",
    "errors",
    "torch",
    "threads",
)
# A sanitizer sees more of memory that is not pooled.
LEFT_OUT = "tests/kernels/test_torch.py::test_memory_comes_back"
# Python and torch keep what they have until the end: no leaks are looked for. Fresh memory is NaN.
OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=0:max_malloc_fill_size=1000000000:malloc_fill_byte=255",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "OMP_NUM_THREADS": "2",
}


def build():
    """The path of the sanitized extension."""
    asked = [sys.executable, "-m", "nanobind", "--cmake_dir"]
    nanobind = subprocess.check_output(asked, text=True).strip()
    configure = [
        *("cmake", "-S", str(ROOT), "-B", str(BUILD), "-G", "Ninja"),
        *("-D", "THROUGHTIME_SANITIZE=ON", "-D", "THROUGHTIME_WIDE=ON"),
        *("-D", f"Python_EXECUTABLE={sys.executable}"),
        *("-D", f"nanobind_DIR={nanobind}"),
    ]
    subprocess.run(configure, check=True)
    subprocess.run(["cmake", "--build", str(BUILD)], check=True)
    (found,) = BUILD.glob("_native*.so")
    return found


def runtimes():
    """The sanitizers' own libraries, which must be loaded before everything else."""
    compiler = os.environ.get("CXX", "g++")
    names = ("libasan.so", "libubsan.so")
    asked = ([compiler, f"-print-file-name={name}"] for name in names)
    return ":".join(subprocess.check_output(command, text=True).strip() for command in asked)


class Header:
    """Says in pytest's first lines which build is tested."""

    def pytest_report_header(self):
        from throughtime.kernels import native

        assert native.library is sys.modules[NAME]
        return f"kernels: {native.library.__file__}, {native.library.isas()}"


def run(extension, arguments):
    import pytest
    import torch  # noqa: F401, its threads before the extension's

    spec = importlib.util.spec_from_file_location(NAME, extension)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[NAME] = module  # what `import` finds first
    return pytest.main(arguments, plugins=[Header()])


def main(arguments):
    if arguments[:1] == ["--run"]:
        return run(arguments[1], arguments[2:])
    extension = build()
    if not any("test_" in argument for argument in arguments):
        files = (f"tests/kernels/test_{name}.py" for name in TESTS)
        decoding = (
            f"tests/decoding/test_compiled{part}.py" for part in ("", "_recurrent", "_beams")
        )
        files = [*files, *decoding]
        arguments = [*files, "--deselect", LEFT_OUT, *arguments]
    # A sanitizer stops the process: pytest must not hold back what it prints.
    command = [sys.executable, "-m", __spec__.name, "--run", str(extension), "-s"]
    environment = os.environ | OPTIONS | {"LD_PRELOAD": runtimes()}
    return subprocess.run([*command, *arguments], cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
