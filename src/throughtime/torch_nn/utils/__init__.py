"""`torch.nn.utils`, with a `rnn` that knows rows without steps."""

from typing import Any

import torch

from throughtime.torch_nn.utils import rnn as rnn


def __getattr__(name: str) -> Any:
    return getattr(torch.nn.utils, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(torch.nn.utils)})
