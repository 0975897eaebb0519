"""What tests of values seen inside share: marks, states, and how close is equal."""

import torch

MASK = torch.tensor(
    [[True, True, False, True, True, True], [False, True, True, True, False, False]]
)
RESET = torch.tensor([[False, False, True, False, True, False], [False] * 3 + [True, False, False]])


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def warm(layer, rows=2):
    """A state that is not zero."""
    return layer.State(*(torch.randn(rows, layer.hidden_size) for _ in layer.State._fields))
