"""Beginner's mistakes that annotations, which the tests check, would find before our own lines."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from throughtime import accelerate, torch_nn
from throughtime.errors import InputError

SCRIPT = """
import numpy, torch
from throughtime import accelerate, torch_nn as nn

x, state, narrow = torch.zeros(1, 1, 4), torch.zeros(1, 1, 4), torch.zeros(1, 4).double()
for mistake in (
    lambda: nn.LSTM(4, 4)(numpy.zeros((1, 1, 4))),
    lambda: nn.GRUCell(4, 4)([1.0]),
    lambda: nn.GRUCell(4, 4)(x[0], (state[0],)),
    lambda: nn.MultiheadAttention(4, 2)(x, None, x),
    lambda: nn.MultiheadAttention(4, 2)(None, x, x),
    lambda: accelerate("model.pt"),
    lambda: accelerate(torch.nn.LSTM),
):
    try:
        mistake()
    except ValueError as error:
        print(error)
"""

LINES = """\
LSTM: input is ndarray, expected a tensor or a PackedSequence
GRUCell: input is list, expected a tensor
GRUCell: hx is tuple, expected a tensor
MultiheadAttention: key is NoneType, expected a tensor
MultiheadAttention: query is NoneType, expected a tensor
accelerate: model is str, expected a torch.nn.Module
accelerate: model is the class LSTM, expected a torch.nn.Module
"""


def test_what_is_no_tensor_is_told_in_one_line():
    command = [sys.executable, "-c", SCRIPT]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout == LINES


def wrong(kind, *shapes, pair=False):
    """A module called with doubles behind its first argument, or in it."""
    layer = getattr(torch_nn, kind)(4, 2 if kind == "MultiheadAttention" else 4)
    *first, last = (torch.zeros(shape) for shape in shapes)
    return lambda: layer(*first, (last.double(),) * 2 if pair else last.double())


TYPES = {
    "GRU: hx is torch.float64": wrong("GRU", (1, 1, 4), (1, 1, 4)),
    "LSTM: hx[0] is torch.float64": wrong("LSTM", (1, 1, 4), (1, 1, 4), pair=True),
    "GRUCell: input is torch.float64": wrong("GRUCell", (1, 4)),
    "GRUCell: hx is torch.float64": wrong("GRUCell", (1, 4), (1, 4)),
    "LSTMCell: hx[0] is torch.float64": wrong("LSTMCell", (1, 4), (1, 4), pair=True),
    "MultiheadAttention: value is torch.float64": wrong("MultiheadAttention", *[(1, 1, 4)] * 3),
}


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("line", TYPES)
def test_other_types_are_told_in_one_line(line, gradients):
    end = ", the layer is torch.float32; convert one of them with .to()"
    with torch.set_grad_enabled(gradients), pytest.raises(InputError) as caught:
        TYPES[line]()
    assert str(caught.value) == line + end


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_code_that_looks_for_a_layer_by_its_class(kind):
    """`torch.compile` refuses torch's recurrent classes, so ours are none; the guide says so."""
    model = nn.Sequential(getattr(nn, kind)(3, 5))
    accelerate(model)
    assert not isinstance(model[0], getattr(nn, kind))
    assert isinstance(model[0], (getattr(nn, kind), getattr(torch_nn, kind)))
