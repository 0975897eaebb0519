"""What a kernel would read or write beyond its end is refused, in one line that names it."""

import pytest
import torch

from tests.kernels.support import (
    KINDS,
    Problem,
    in_child,
    native_inputs,
    needs_extension,
    needs_fork,
)
from throughtime.errors import InputError

pytestmark = needs_extension

CODES = {kind: code for code, kind in enumerate(KINDS)}
MARKS = torch.ones(3, 5, dtype=torch.bool)


def inputs_of(kind):
    problem = Problem(kind, 4, 2, 3, 5, torch.float32, MARKS, MARKS)
    return native_inputs(problem, {n: t.detach() for n, t in problem.arguments().items()})


def present(inputs):
    return {name: t for name, t in inputs._asdict().items() if t is not None}


def run(kind, inputs, code=None):
    operator = getattr(torch.ops.throughtime, KINDS[kind].operation)
    return operator(CODES[kind] if code is None else code, *inputs, True)


def check_refused(kind, inputs, *words):
    with pytest.raises(InputError) as caught:
        run(kind, inputs)
    message = str(caught.value)
    assert "\n" not in message
    for word in (f"{KINDS[kind].operation}:", *words):
        assert word in message


@pytest.mark.parametrize("kind", ["rnn-tanh", "lstm", "gru"])
def test_shapes(kind):
    """One number more or less on each axis of each argument."""
    inputs = inputs_of(kind)
    run(kind, inputs)
    for name, tensor in present(inputs).items():
        # The sizes are read from x and hidden: where these are wrong, others are named.
        words = (f"{name} is torch.", f"expected {tensor.dtype} {list(tensor.shape)}")
        for axis in range(tensor.ndim):
            for size in (tensor.shape[axis] + 1, tensor.shape[axis] - 1):
                wrong = tensor.new_zeros([*tensor.shape[:axis], size, *tensor.shape[axis + 1 :]])
                given = inputs._replace(**{name: wrong})
                check_refused(kind, given, *(() if name in ("x", "hidden") else words))


@pytest.mark.parametrize("kind", ["rnn-tanh", "lstm", "gru"])
def test_axes(kind):
    inputs = inputs_of(kind)
    check_refused(kind, inputs._replace(x=inputs.x[0]), "x and hidden have shapes [5, 2]")
    check_refused(kind, inputs._replace(hidden=inputs.hidden[None]), "[1, 3, 4], expected [batch")


@pytest.mark.parametrize("kind", ["rnn-tanh", "lstm", "gru"])
def test_types(kind):
    inputs = inputs_of(kind)
    for name, tensor in present(inputs).items():
        if name == "x":  # it says what type all the others have
            continue
        wrong = torch.float64 if tensor.is_floating_point() else torch.uint8
        words = f"{name} is {wrong}", f"expected {tensor.dtype}"
        check_refused(kind, inputs._replace(**{name: tensor.to(wrong)}), *words)


# In a process of its own each, since what is not refused may end it.


def changed(kind, **changes):
    return kind, inputs_of(kind)._replace(**changes), CODES[kind]


WRONG = {
    "lstm without a cell": lambda: changed("lstm", cell=None, initial_cell=None),
    "gru without its second bias": lambda: changed("gru", bias_hidden=None),
    "rnn with a cell": lambda: changed("rnn-tanh", cell=inputs_of("lstm").cell),
    "a reset and nothing to begin with": lambda: changed("gru", initial_hidden=None),
    "a reset and half a state": lambda: changed("lstm", initial_cell=None),
    "another kind's code": lambda: ("rnn-tanh", inputs_of("rnn-tanh"), CODES["lstm"]),
    "no such code": lambda: ("rnn-tanh", inputs_of("rnn-tanh"), 99),
    "a code below zero": lambda: ("rnn-tanh", inputs_of("rnn-tanh"), -1),
}
for _dtype in (torch.float16, torch.bfloat16, torch.int32, torch.complex64):
    WRONG[f"all in {_dtype}"] = lambda dtype=_dtype: changed(
        "lstm",
        **{n: t.to(dtype) for n, t in present(inputs_of("lstm")).items() if t.dtype != torch.bool},
    )


@needs_fork
@pytest.mark.parametrize("what", WRONG)
def test_what_would_not_end_well(what):
    kind, inputs, code = WRONG[what]()

    def refused():
        try:
            run(kind, inputs, code)
        except InputError as error:
            return "\n" not in str(error)
        return False

    assert in_child(refused)
