"""Rows without steps, which torch.nn refuses to pack."""

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence

from throughtime import torch_nn
from throughtime.torch_nn.utils.rnn import (
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
)

LENGTHS = [3, 0, 5, 0, 1]
KINDS = [
    pytest.param(name, options, id=f"{name}-{'-'.join(options)}")
    for name in ("RNN", "LSTM", "GRU")
    for options in ({}, {"bidirectional": True, "num_layers": 2})
] + [pytest.param("LSTM", {"proj_size": 2}, id="LSTM-proj_size")]
oneDNN = pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")


def made(name, options):
    torch.manual_seed(0)
    layer = getattr(torch_nn, name)(3, 4, **options).double()
    count = (1 + layer.bidirectional) * layer.num_layers
    hx = torch.randn(count, 5, layer.proj_size or 4, dtype=torch.float64)
    if name == "LSTM":
        hx = hx, torch.randn(count, 5, 4, dtype=torch.float64)
    return layer, torch.randn(5, 6, 3, dtype=torch.float64), hx


def parts(hx):
    return hx if isinstance(hx, tuple) else (hx,)


@oneDNN
@pytest.mark.parametrize(("name", "options"), KINDS)
@pytest.mark.parametrize("given", [True, False])
def test_a_row_is_as_alone_and_one_without_steps_keeps_its_state(name, options, given):
    layer, x, hx = made(name, options)
    packed = pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    output, after = layer(packed, hx if given else None)
    rows, lengths = pad_packed_sequence(output, batch_first=True, total_length=6)
    assert lengths.tolist() == LENGTHS
    for at, length in enumerate(LENGTHS):
        begun = tuple(part[:, at].contiguous() for part in parts(hx)) if given else None
        if length:
            before = begun if begun is None or name == "LSTM" else begun[0]
            alone, expected = layer(x[at, :length], before)
            torch.testing.assert_close(rows[at, :length], alone)
        else:
            expected = begun or tuple(torch.zeros_like(part[:, at]) for part in parts(hx))
        assert not rows[at, length:].any()
        for part, one in zip(parts(after), parts(expected), strict=True):
            torch.testing.assert_close(part[:, at], one)


@oneDNN
@pytest.mark.parametrize(("name", "options"), KINDS)
def test_gradients_reach_the_state_of_a_row_without_steps(name, options):
    layer, x, hx = made(name, options)
    x.requires_grad_()
    begun = [part.requires_grad_() for part in parts(hx)]
    packed = pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    _, after = layer(packed, hx)
    torch.stack([part.sum() for part in parts(after)]).sum().backward()
    for part in begun:
        assert part.grad is not None
        torch.testing.assert_close(part.grad[:, 1], torch.ones_like(part[:, 1]))
    assert x.grad is not None
    assert x.grad[:, 5].abs().sum() == 0 != x.grad[0, 0].abs().sum()


@pytest.mark.parametrize(("name", "options"), KINDS[:6])
def test_nobody_has_a_step(name, options):
    layer, x, hx = made(name, options)
    packed = pack_padded_sequence(x, [0] * 5, batch_first=True, enforce_sorted=False)
    output, after = layer(packed, hx)
    for part, before in zip(parts(after), parts(hx), strict=True):
        assert torch.equal(part, before)
    rows, lengths = pad_packed_sequence(output, total_length=2)
    assert rows.shape == (2, 5, 4 * (1 + layer.bidirectional))
    assert not rows.any()
    assert lengths.tolist() == [0] * 5


def test_with_steps_everywhere_it_is_what_torch_packs():
    x = torch.randn(4, 3, 2)
    for lengths, ordered in (([4, 2, 1], True), ([1, 4, 2], False)):
        ours = pack_padded_sequence(x, lengths, enforce_sorted=ordered)
        theirs = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=ordered)
        assert isinstance(ours, PackedSequence)
        for one, other in zip(ours, theirs, strict=True):
            assert one is other is None or torch.equal(one, other)  # pyright: ignore
        for one, other in zip(
            pad_packed_sequence(ours), torch.nn.utils.rnn.pad_packed_sequence(theirs), strict=True
        ):
            assert torch.equal(one, other)


def test_packing_and_padding_are_each_others_inverse():
    x = torch.randn(6, 5, 2)
    for batch_first in (False, True):
        given = x.transpose(0, 1) if batch_first else x
        packed = pack_padded_sequence(given, LENGTHS, batch_first, enforce_sorted=False)
        padded, lengths = pad_packed_sequence(packed, batch_first, -1.0)
        padded = padded if batch_first else padded.transpose(0, 1)
        assert lengths.tolist() == LENGTHS
        for row, length in enumerate(LENGTHS):
            assert torch.equal(padded[row, :length], x[:length, row])
            assert bool((padded[row, length:] == -1).all())
    rows = [x[:length, at] for at, length in enumerate(LENGTHS)]
    again = pack_sequence(rows, enforce_sorted=False)
    assert torch.equal(again.data, pack_padded_sequence(x, LENGTHS, enforce_sorted=False).data)


def test_what_torch_refuses_otherwise_is_still_refused():
    x = torch.randn(4, 3, 2)
    with pytest.raises(RuntimeError, match="sorted in decreasing order"):
        pack_padded_sequence(x, [0, 4, 2])
    with pytest.raises(RuntimeError, match="greater than 0"):
        pack_padded_sequence(x, [4, -1, 2], enforce_sorted=False)
    assert pack_padded_sequence(x, [4, 2, 0]).batch_sizes.tolist() == [2, 2, 1, 1]


def test_every_other_name_is_torchs():
    assert torch_nn.utils.rnn.pack_padded_sequence is pack_padded_sequence
    assert torch_nn.utils.rnn.PackedSequence is PackedSequence
    assert torch_nn.utils.rnn.unpad_sequence is torch.nn.utils.rnn.unpad_sequence
    assert torch_nn.utils.clip_grad_norm_ is torch.nn.utils.clip_grad_norm_
    assert "clip_grad_norm_" in dir(torch_nn.utils)
    assert "unpad_sequence" in dir(torch_nn.utils.rnn)
