"""Why there is no TorchScript of these modules."""

from typing import NoReturn

import torch

from throughtime.errors import InputError


class Unscriptable:
    """Refuses `torch.jit.script` and `torch.jit.trace` in one line: a mixin of modules."""

    def __prepare_scriptable__(self) -> NoReturn:
        """What `torch.jit.script` asks of every module within a model.

        Errors:
            InputError: always.
        """
        raise InputError(_line(self, "script"))

    def refuse_trace(self) -> None:
        """Refuse to be recorded by `torch.jit.trace`.

        Errors:
            InputError: a trace is being recorded.
        """
        if not torch.compiler.is_compiling() and torch._C._is_tracing():
            raise InputError(_line(self, "trace"))


def _line(module: object, how: str) -> str:
    name = type(module).__name__
    return (
        f"{name}: torch.jit.{how} does not know throughtime's kernels; "
        f"use torch.export or torch.compile, or torch.nn.{name} with the same state_dict"
    )
