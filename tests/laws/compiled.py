"""Compile and export every case, by each implementation.

Run by test_compile.py in processes without shape checks: `python -m tests.laws.compiled 0 4 brief`
takes the first of every four of those that are not slow.
"""

import json
import sys
import warnings
from typing import Any

import torch

from tests.laws.trials import BRIEF, TRIALS
from throughtime.state import detach
from throughtime.testing import Subject


def differs(ours, theirs):
    return not torch.allclose(ours, theirs, rtol=1e-9, atol=1e-9)


def check(case, how):
    torch.manual_seed(0)
    claims = {key: value for key, value in case.claims.items() if key == "inputs"}
    subject = Subject(case.make(), **claims)
    layer: Any = subject.layer
    x = subject.x(2, 5)
    mask = torch.tensor([[True] * 5, [True, False, True, True, False]])
    before = detach(layer.initial_state(2))  # its history is walked once for each way
    output, after = layer(x, before, mask)
    if how == "compile":
        # The graph in one piece, forwards and backwards; what a backend makes of it is its affair.
        torch.compiler.reset()
        other: Any = torch.compile(layer, fullgraph=True, backend="aot_eager")
    else:
        other: Any = torch.export.export(layer, (x, before, mask)).module()
    again, after_again = other(x, before, mask)
    if differs(again, output) or type(after) is not type(after_again):
        return "another output"
    if how == "compile" and any(p.requires_grad for p in layer.parameters()):
        weights = [p for p in layer.parameters() if p.requires_grad]
        ours = torch.autograd.grad(output.square().sum(), weights, allow_unused=True)
        theirs = torch.autograd.grad(again.square().sum(), weights, allow_unused=True)
        for one, two in zip(ours, theirs, strict=True):
            if (one is None) != (two is None) or (one is not None and differs(one, two)):
                return "another gradient"
    return None


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    results = {}
    part, parts = (int(argument) for argument in sys.argv[1:3])
    rest = [trial for trial in TRIALS if trial not in BRIEF]
    for trial in (BRIEF if sys.argv[3] == "brief" else rest)[part::parts]:
        for how in ("compile", "export"):
            try:
                with trial.forced():
                    results[f"{trial.name}-{how}"] = check(trial.case, how)
            except Exception as error:
                results[f"{trial.name}-{how}"] = f"{type(error).__name__}: {str(error)[:300]}"
    json.dump(results, sys.stdout)
