"""Whatever shapes, marks, types and threads: the compiled kernels give what the reference gives."""

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.kernels.support import (
    ISAS,
    KINDS,
    Problem,
    answer,
    beyond,
    isa_of,
    needs_extension,
    reference,
    threads_of,
)
from throughtime import kernels

pytestmark = needs_extension

TOLERANCES = {torch.float64: 1e-11, torch.float32: 1e-3}


@st.composite
def problems(draw):
    kind = draw(st.sampled_from([*KINDS]))
    size = st.one_of(st.integers(1, 70), st.sampled_from([96, 128, 130]))
    hidden, features = draw(size), draw(size)
    batch, time = draw(st.integers(0, 20)), draw(st.integers(0, 40))
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**20)))

    def marks(shares):
        share = draw(st.sampled_from([None, *shares]))
        return None if share is None else torch.rand(batch, time, generator=random) < share

    mask, reset = marks([0, 0.3, 0.8, 1]), marks([0.02, 0.3, 1])
    dtype = draw(st.sampled_from([*TOLERANCES]))
    return Problem(kind, hidden, features, batch, time, dtype, mask, reset)


@settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(problem=problems(), isa=st.sampled_from(ISAS or [""]), data=st.data())
def test_the_same(poisoned, problem, isa, data):
    gates = not problem.kind.startswith("rnn") and data.draw(st.booleans(), label="gates")
    names = [*problem.arguments()]
    fixed = data.draw(st.sets(st.sampled_from(names), max_size=len(names)), label="fixed")
    threads = data.draw(st.sampled_from([1, 2, 3, 16]), label="threads")

    def arguments():
        made = problem.arguments()
        return {name: t.requires_grad_(name not in fixed) for name, t in made.items()}

    with kernels.use("cpu"), isa_of(isa), threads_of(threads):
        found = answer(problem, arguments(), gates=gates)
    expected = reference(problem, arguments(), gates=gates)
    assert not beyond(TOLERANCES[problem.dtype], found, expected)
