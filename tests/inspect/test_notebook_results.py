"""What was measured shows itself in a notebook: a drawing, and below it what it prints."""

import base64
import html
import re

import pytest
import torch

from throughtime.inspect import (
    ContextCurve,
    Showing,
    gate_activity,
    gradient_flow,
    recurrent_jacobians,
)
from throughtime.layers import GRU, LSTM, Stack

CURVE = ContextCurve("lstm", (0, 1, 4), (2.5, 1.25, 1.0), 1.0, 1200)


def flow():
    return gradient_flow(Stack(LSTM(3, 4), GRU(4, 4)), torch.randn(1, 12, 3))


@pytest.mark.parametrize(
    ("make", "title", "drawn"),
    [
        (flow, "Gradient through time", "0.LSTM"),
        (lambda: CURVE, "lstm: 4 steps of context count", "nats per value"),
        (
            lambda: recurrent_jacobians(LSTM(3, 4), torch.randn(1, 12, 3)),
            "Each step’s Jacobian",
            "largest singular value",
        ),
        (
            lambda: gate_activity(LSTM(3, 4), torch.randn(1, 12, 3)),
            "saturates most",
            "% of steps below 0.1",
        ),
    ],
)
def test_a_result_is_drawn_and_printed(make, title, drawn):
    torch.manual_seed(0)
    found = make()
    assert isinstance(found, Showing)
    text = found._repr_html_()
    dark, light = (
        base64.b64decode(one).decode() for one in re.findall(r"svg\+xml;base64,([^\"]+)", text)
    )
    assert dark != light
    assert drawn in light
    assert drawn in dark
    (alt,) = re.findall('alt="([^"]*)"', text)
    assert title in html.unescape(alt)
    assert f"{html.escape(str(found))}</pre>" in text


def test_how_much_context_counts_is_a_table():
    head, lengths, nats = str(CURVE).splitlines()
    assert head == "lstm: 4 steps of context count (1,200 values scored)"
    assert lengths.split() == ["steps", "of", "context", "0", "1", "4", "all"]
    assert nats.split() == ["nats", "per", "value", "2.5", "1.25", "1", "1"]


@pytest.mark.parametrize(
    ("nats", "shuffled", "said"),
    [
        ((2.0, 1.0, 1.0), False, "1 step of context counts"),
        ((2.0, 1.0, 1.0), True, "the order of 1 step counts"),
        ((2.0, 2.0, 2.0), False, "more than 4 steps of context count"),
        ((2.0, 2.0, 2.0), True, "the order of more than 4 steps counts"),
        ((1.0, 1.0, 1.0), False, "0 steps of context count"),
    ],
)
def test_one_step_is_said_as_one(nats, shuffled, said):
    curve = ContextCurve("gru", (0, 1, 4), nats, 1.0, 3, shuffled)
    assert f": {said} (3 values scored)" in str(curve)
