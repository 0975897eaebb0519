"""Each case with each implementation of its kernels: the laws hold whichever runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import torch

from tests.laws.cases import CASES, Case
from throughtime import kernels
from throughtime.kernels import native
from throughtime.kernels.compiled import refuses
from throughtime.layers import CrossAttention, Recurrent, SelfAttention


@dataclass(frozen=True)
class Trial:
    """A case, and the implementation that is forced; None where it has no kernel."""

    case: Case
    implementation: str | None

    @property
    def name(self) -> str:
        return "-".join(filter(None, (self.case.name, self.implementation)))

    @contextmanager
    def forced(self) -> Iterator[None]:
        with kernels.use(self.implementation):
            yield

    def skip_where_it_cannot_run(self, device: str, dtype: torch.dtype) -> None:
        if self.implementation == "cpu" and (why := refuses(torch.device(device), dtype)):
            pytest.skip(why)


def implementations(case: Case) -> list[str | None]:
    parts = list(case.make().modules())
    names: list[str | None] = []
    if any(isinstance(part, Recurrent) for part in parts) and native.library is not None:
        names.append("cpu")
    if any(isinstance(part, SelfAttention | CrossAttention) for part in parts):
        names.append("fused")
    recurs = any(isinstance(part, Recurrent) for part in parts)
    return ["reference", *names] if names or recurs else [None]


TRIALS = [Trial(case, name) for case in CASES for name in implementations(case)]

ALONE = ("rnn-tanh", "lstm", "gru", "self-attention-rotary", "cross-attention")
"""Cases whose reference stands for that of all that are made of such layers."""

BRIEF = [
    trial for trial in TRIALS if trial.implementation != "reference" or trial.case.name in ALONE
]
"""What users run, and the reference of single layers."""
