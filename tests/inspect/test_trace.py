"""What was recorded, as a mapping and in words."""

import pytest
import torch

from tests.inspect.watching import close
from throughtime import inspect
from throughtime.errors import InputError
from throughtime.inspect import NotRecorded, Trace, record
from throughtime.layers import (
    LSTM,
    SelfAttention,
)

pytestmark = pytest.mark.usefixtures("double")


def test_a_trace_in_words():
    layer = LSTM(3, 5)
    with record(layer, "cell", "hidden") as trace:
        layer(torch.randn(2, 7, 3))
    assert repr(trace) == "Trace of 2 values\n  cell    [2, 7, 5]\n  hidden  [2, 7, 5]"
    with record(layer, "cell") as trace:
        layer(torch.randn(2, 7, 3))
        layer(torch.randn(2, 4, 3))
    assert repr(trace) == "Trace of 1 value\n  cell  [2, 4, 5] in the last of 2 calls"
    assert "<td style='text-align: left'>cell</td>" in trace._repr_html_()


def test_html_is_escaped():
    trace = Trace(["<b>"])
    trace.add("<b>", torch.zeros(1))
    assert "<b>" not in trace._repr_html_()
    assert "&lt;b&gt;" in trace._repr_html_()


def test_a_trace_is_a_mapping():
    trace = Trace(["cell", "hidden"])
    trace.add("cell", torch.ones(1, 2, 3))
    assert dict(trace).keys() == {"cell"}
    assert "hidden" not in trace
    assert trace.get("hidden") is None
    with pytest.raises(NotRecorded, match="'hidden' was not computed while recording"):
        trace["hidden"]
    with pytest.raises(KeyError, match="'other' was not asked for; there is cell"):
        trace["other"]


def test_calls_join_along_time():
    layer, x = SelfAttention(4, 2, horizon=3), torch.randn(1, 9, 4)
    whole, _ = layer(x)
    state = None
    with record(layer) as trace:
        for piece in x.split([1, 5, 3], dim=1):
            _, state = layer(piece, state)
    close(trace.joined("output"), whole.detach())
    assert trace.joined("heads").shape == (1, 2, 9, 2)
    with pytest.raises(InputError, match="calls of 'attention' do not join, maps of different"):
        trace.joined("attention")


def test_the_package_offers_it():
    assert {"record", "intervene", "tap_names", "Trace", "NotRecorded"} <= set(inspect.__all__)
