"""The compiled kernels: a library of raw pointers and sizes that knows nothing of torch.

Attributes:
    library: the extension, None where it is not installed or not wanted.
    missing: why it is None.

The environment variable `THROUGHTIME_ISA` names the instruction set to use instead of the best
that the processor has (`throughtime doctor` lists them), or `none` to do without the kernels.
"""

import importlib
import os
import warnings
from typing import Any

# First of all: its threads are the ones that the kernels use.
import torch  # noqa: F401


def _load() -> tuple[Any, str]:
    wanted = os.environ.get("THROUGHTIME_ISA", "")
    if wanted == "none":
        return None, "THROUGHTIME_ISA is 'none'"
    try:
        _native = importlib.import_module(f"{__name__}._native")
    except ModuleNotFoundError:
        return None, "the kernels were not compiled at installation (no C++ compiler?)"
    except ImportError as error:
        return None, f"the compiled kernels cannot be loaded: {error}"
    try:
        _native.use_isa(wanted)
    except ValueError as error:
        # No error: whoever cannot import the package cannot read what is wrong either.
        warnings.warn(f"THROUGHTIME_ISA {error}; using {_native.isa()}", stacklevel=2)
    return _native, ""


library, missing = _load()
