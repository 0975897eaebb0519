import pytest
import torch

from throughtime import LSTM, Bidirectional, InputError
from throughtime.interop.reverse import Reverse
from throughtime.testing import LAWS, check_layer


def test_it_keeps_the_laws():
    # all but that of causality, which asks of others that each output depends on every step
    laws = [law for law in LAWS if law != "causal"]
    check_layer(Reverse(LSTM(3, 4)), laws=laws, second_derivatives=False)


def test_it_is_half_of_both_directions():
    layer = LSTM(3, 4)
    x = torch.randn(4, 6, 3)
    mask = torch.arange(6) < torch.tensor([6, 3, 1, 0])[:, None]
    reset = torch.zeros(4, 6, dtype=torch.bool)
    reset[0, 2] = True
    both, _ = Bidirectional(LSTM(3, 4), layer)(x, mask=mask, reset=reset)
    half, state = Reverse(layer)(x, mask=mask, reset=reset)
    assert torch.equal(half, both[..., 4:])
    assert state == ()


def test_no_steps():
    reset = torch.zeros(2, 0, dtype=torch.bool)
    output, _ = Reverse(LSTM(3, 4))(torch.randn(2, 0, 3), mask=reset, reset=reset)
    assert output.shape == (2, 0, 4)


def test_what_it_refuses():
    with pytest.raises(InputError, match=r"^Reverse: Bidirectional sees both directions already$"):
        Reverse(Bidirectional(LSTM(3, 4)))
    with pytest.raises(InputError, match=r"^Reverse: got a state"):
        Reverse(LSTM(3, 4))(torch.randn(2, 5, 3), LSTM(3, 4).initial_state(2))
